"""How one ranked list is made of several sources: the profile first, then the crowd's and explored items in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from boundary.candidates import Candidates
from boundary.words import MICROSECONDS_A_DAY, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = npt.NDArray[np.int32]
CROWD_FOR_EACH_EXPLORE = 2


def user_seed(user_id: str) -> int:
    """Return a number that is fixed for an id and tells nothing of it; 64 bits.

    Example:
        >>> user_seed("1228") == user_seed("1228")
        True
    """
    digest = hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8, person=b"explore")
    return int.from_bytes(digest.digest(), "little")


def explore_draws(pool: Rows, seeds: npt.NDArray[np.uint64], *, draws: int, now: int) -> tuple[Rows, float]:
    """Draw items for each user without looking at any profile; the same draw all day, another one tomorrow.

    A user walks the pool from a random start with a random step, so that draws differ from each other.

    Args:
        pool: (P,) item rows.
        seeds: (U,) uint64.
        draws: number wanted for each user.
        now: microseconds UTC.

    Returns:
        (U, D) item rows with D = min(draws, P), and the probability with which a pool item is drawn.
    """
    size = _prime_below(len(pool))
    draws = min(draws, size)
    if draws <= 0:
        return np.empty((len(seeds), 0), np.int32), 0.0
    day = np.uint64(now // MICROSECONDS_A_DAY)
    start = _mix(seeds ^ _mix(np.array([day], np.uint64))) % np.uint64(size)
    step = _mix(start ^ seeds) % np.uint64(max(size - 1, 1)) + np.uint64(1)
    walk = (start[:, None] + step[:, None] * np.arange(draws, dtype=np.uint64)) % np.uint64(size)
    return pool[walk.astype(np.int64)], draws / size


def compose(
    user_ids: Sequence[str],
    personal: Candidates,
    *,
    crowd: Rows,
    explore: Rows,
    propensity: float,
    gestures: Rows,
    guest: npt.NDArray[np.bool_],
    hidden: npt.NDArray[np.bool_],
) -> Candidates:
    """Append to each user's ranked rows the crowd's and the explored ones in turn, and the gestures last.

    Args:
        user_ids: (U,).
        personal: the users' own rows, ranked; source personal or session.
        crowd: (C,) the shelf that is the same for everybody, best first.
        explore: (U, D) drawn item rows.
        propensity: of each explore row.
        gestures: (G,) item rows that are not for sale.
        guest: (U,) who explores nothing: a guest's list is the same for everybody.
        hidden: (U, C) what of the shelf a user is known to have bought, and so is no discovery; none of a guest's.
    """
    users, draws = explore.shape
    crowd_rows, gesture_rows = len(crowd), len(gestures)
    order, source = _turns(crowd_rows, draws, gesture_rows)
    tail = np.empty((users, crowd_rows + draws + gesture_rows), np.int32)
    tail[:, :crowd_rows], tail[:, crowd_rows : crowd_rows + draws], tail[:, crowd_rows + draws :] = (
        crowd, explore, gestures,
    )  # fmt: skip
    tail = tail[:, order]
    there = ~(guest[:, None] & (source == Source.EXPLORE))
    there[:, source == Source.CROWD] &= ~hidden
    offsets = np.zeros(users + 1, np.int64)
    np.cumsum(np.diff(personal.offsets) + there.sum(axis=1), out=offsets[1:])
    filled = _beside(personal, there, offsets)
    return Candidates(
        user_ids=user_ids,
        offsets=offsets,
        item_row=filled(personal.item_row, tail),
        score=filled(personal.score, -np.arange(tail.shape[1])),
        source=filled(personal.source, source),
        closeness=filled(personal.closeness, np.nan),
        trace_share=filled(personal.trace_share, np.nan),
        evidence_row=filled(personal.evidence_row, -1),
        propensity=filled(personal.propensity, np.where(source == Source.EXPLORE, propensity, np.nan)),
    )


@lru_cache(maxsize=64)
def _turns(crowd: int, draws: int, gestures: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return the order in which the crowd's, the drawn and the gestures' places come, and each place's source."""
    turns = [np.arange(crowd) // CROWD_FOR_EACH_EXPLORE, np.arange(draws) + 0.5, np.full(gestures, np.inf)]
    order = np.argsort(np.concatenate(turns), kind="stable")
    kinds = [Source.CROWD, Source.EXPLORE, Source.GESTURE]
    return order, np.repeat(kinds, [crowd, draws, gestures])[order].astype(np.uint8)


def _beside(
    personal: Candidates, there: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int64]
) -> Callable[[npt.NDArray[Any], npt.ArrayLike], npt.NDArray[Any]]:
    """Return what joins each user's own column with that of the others, where those are ``there``, (U, T)."""
    if len(there) == 1:
        shown, size = there[0], np.count_nonzero(there)

        def joined(mine: npt.NDArray[Any], others: npt.ArrayLike) -> npt.NDArray[Any]:
            out = np.empty(int(offsets[-1]), mine.dtype)
            out[: len(mine)] = mine
            more = np.asarray(others)
            out[len(out) - size :] = more if more.ndim == 0 else more.reshape(-1)[shown]
            return out

        return joined
    own = np.arange(personal.rows, dtype=np.int64)
    own += np.repeat(offsets[:-1] - personal.offsets[:-1], np.diff(personal.offsets))
    is_added = np.ones(int(offsets[-1]), bool)
    is_added[own] = False

    def filled(mine: npt.NDArray[Any], others: npt.ArrayLike) -> npt.NDArray[Any]:
        out = np.empty(int(offsets[-1]), mine.dtype)
        out[own] = mine
        out[is_added] = np.broadcast_to(np.asarray(others, mine.dtype), there.shape)[there]
        return out

    return filled


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter 64-bit numbers (the finalizer of splitmix64, Steele et al. 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@lru_cache(maxsize=64)
def _prime_below(number: int) -> int:
    """Return the largest prime up to a number, so that any step walks the whole pool; 0 or 1 below two."""
    for candidate in range(number, 1, -1):
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            return candidate
    return max(min(number, 1), 0)
