"""How one ranked list is made of several sources: the profile first, then the crowd's and explored items in turn."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from boundary.candidates import Candidates
from boundary.words import MICROSECONDS_A_DAY, Source
from recsys.compose import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = npt.NDArray[np.int32]
CROWD_FOR_EACH_EXPLORE = 2
COLUMNS = ("item_row", "score", "source", "closeness", "trace_share", "evidence_row", "propensity")


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
    draws = max(min(draws, size), 0)
    drawn = np.empty((len(seeds), draws), np.int32)
    if not draws:
        return drawn, 0.0
    kernel.draw(seeds, now // MICROSECONDS_A_DAY, pool, size, drawn)
    return drawn, draws / size


def taken_from(shelf_place: Rows, places: int, bought: csr_matrix) -> npt.NDArray[np.bool_]:
    """Return which places of a shelf each user has bought what stands there, (U, places).

    Args:
        shelf_place: (I,) an item's place on the shelf, -1 is none.
        places: how many there are.
        bought: (U, I) stored where bought.
    """
    taken = np.zeros((bought.shape[0], places), bool)
    kernel.mark_taken(bought.indptr, bought.indices, shelf_place, taken)
    return taken


def compose(
    user_ids: Sequence[str],
    personal: Candidates,
    *,
    crowd: Rows,
    explore: Rows,
    propensity: float,
    gestures: Rows,
    forward: bool,
    guest: npt.NDArray[np.bool_],
    hidden: npt.NDArray[np.bool_],
) -> Candidates:
    """Append to each user's ranked rows the crowd's and the explored ones in turn, and the gestures.

    Args:
        user_ids: (U,).
        personal: the users' own rows, ranked; source personal or session.
        crowd: (C,) the shelf that is the same for everybody, best first.
        explore: (U, D) drawn item rows.
        propensity: of each explore row.
        gestures: (G,) item rows that are not for sale.
        forward: they come after the first explored item; else last.
        guest: (U,) who explores nothing: a guest's list is the same for everybody.
        hidden: (U, C) what of the shelf a user is known to have bought, and so is no discovery; none of a guest's.
    """
    order, turn = _turns(len(crowd), explore.shape[1], len(gestures), forward)
    most = personal.rows + len(explore) * len(order)
    offsets = np.empty(len(explore) + 1, np.int64)
    mine = [getattr(personal, name) for name in COLUMNS]
    joined = [np.empty(most, column.dtype) for column in mine]
    kernel.lay_out(
        personal.offsets, *mine, crowd, explore, gestures, order, turn, propensity, guest, hidden, offsets, *joined
    )
    end = int(offsets[-1])
    return Candidates.written(user_ids, offsets, *(column[:end] for column in joined))


@lru_cache(maxsize=64)
def _turns(crowd: int, draws: int, gestures: int, forward: bool) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return the order in which the crowd's, the drawn and the gestures' places come, and each place's source."""
    turns = [
        np.arange(crowd) // CROWD_FOR_EACH_EXPLORE,
        np.arange(draws) + 0.5,
        np.full(gestures, 0.75 if forward else np.inf),
    ]
    order = np.argsort(np.concatenate(turns), kind="stable")
    kinds = [Source.CROWD, Source.EXPLORE, Source.GESTURE]
    return order, np.repeat(kinds, [crowd, draws, gestures])[order].astype(np.uint8)


@lru_cache(maxsize=64)
def _prime_below(number: int) -> int:
    """Return the largest prime up to a number, so that any step walks the whole pool; 0 or 1 below two."""
    for candidate in range(number, 1, -1):
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            return candidate
    return max(min(number, 1), 0)
