"""Compiled loops that lay out each user's list: what is drawn for them, and their own rows before the others' in turn.

Each has a plain-Python twin in the tests.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba compiles by the arrays it meets; their shapes stand in each docstring
GUEST = 0  # as in boundary.words.Tier
PERSONAL, EXPLORE, SESSION = 0, 2, 4  # as in boundary.words.Source


@njit(nogil=True, cache=True)
def mix(value: int) -> Any:
    """Scatter a 64-bit number (the finalizer of splitmix64, Steele et al. 2014)."""
    mixed = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@njit(nogil=True, cache=True)
def draw(seeds: Array, day: int, pool: Array, size: int, out: Array) -> None:
    """Walk the first ``size`` places of the pool from each seed's start with its step; write the rows met, (U, D)."""
    whole, today = np.uint64(size), mix(np.uint64(day))
    for user in range(len(seeds)):
        start = mix(seeds[user] ^ today) % whole
        step = mix(start ^ seeds[user]) % np.uint64(max(size - 1, 1)) + np.uint64(1)
        for place in range(out.shape[1]):
            out[user, place] = pool[np.int64((start + step * np.uint64(place)) % whole)]


@njit(nogil=True, cache=True)
def mark_taken(indptr: Array, rows: Array, place_of: Array, out: Array) -> None:
    """Write True for each user, (U, C), at the place of each item they have; ``place_of`` (I,) is -1 for no place."""
    for user in range(len(indptr) - 1):
        for at in range(indptr[user], indptr[user + 1]):
            if place_of[rows[at]] >= 0:
                out[user, place_of[rows[at]]] = True


@njit(nogil=True, cache=True, error_model="numpy")
def measure(
    offsets: Array, item: Array, score: Array, mean: Array, std: Array, tier: Array, out_close: Array, out_source: Array
) -> None:  # fmt: skip
    """Write how many deviations each row's score lies above the item's mean, NaN where there is no deviation.

    And its source: a guest's rows rest on the session alone. ``mean`` and ``std`` (I,), ``tier`` (U,), the rest (R,).
    """
    for user in range(len(offsets) - 1):
        source = SESSION if tier[user] == GUEST else PERSONAL
        for row in range(offsets[user], offsets[user + 1]):
            spread = std[item[row]]
            out_close[row] = (score[row] - mean[item[row]]) / spread if spread > 0 else np.nan
            out_source[row] = source


@njit(nogil=True, cache=True)
def space_out(offsets: Array, promoted: Array, lead: int, gap: int, out_item: Array, out_score: Array) -> None:
    """Move promoted rows down as far as it takes that ``lead`` others come first and ``gap`` lie between two of them.

    Else each user's rows keep their order, (R,) with ``promoted`` (I,); where the others run out the rest follows as it is.
    """
    for user in range(len(offsets) - 1):
        start, end = offsets[user], offsets[user + 1]
        item, score = out_item[start:end].copy(), out_score[start:end].copy()
        plain = loud = 0  # the next row of either kind
        wait = lead
        for place in range(start, end):
            while plain < len(item) and promoted[item[plain]]:
                plain += 1
            while loud < len(item) and not promoted[item[loud]]:
                loud += 1
            if plain < len(item) and (wait > 0 or plain < loud):
                row, wait = plain, max(wait - 1, 0)
                plain += 1
            else:
                row, wait = loud, gap
                loud += 1
            out_item[place], out_score[place] = item[row], score[row]


@njit(nogil=True, cache=True)
def lay_out(
    offsets: Array, item: Array, score: Array, source: Array, close: Array, share: Array, past: Array, chance: Array,
    crowd: Array, explore: Array, gestures: Array, order: Array, turn: Array, propensity: float, guest: Array,
    hidden: Array, out_offsets: Array, out_item: Array, out_score: Array, out_source: Array, out_close: Array,
    out_share: Array, out_past: Array, out_chance: Array,
) -> None:  # fmt: skip
    """Copy each user's own rows, and after them the crowd's, the explored ones and gestures in ``order``.

    ``order`` (T,) are places in crowd (C,), a user's row of explore (U, D) and gestures (G,), one after the other, and
    ``turn`` (T,) their sources. A guest explores nothing; of the crowd's, what is ``hidden`` (U, C) is left out. The
    score of each of them is minus its place in the order.
    """
    n_crowd, n_explore = len(crowd), explore.shape[1]
    at = 0
    out_offsets[0] = 0
    for user in range(len(offsets) - 1):
        for row in range(offsets[user], offsets[user + 1]):
            out_item[at], out_score[at], out_source[at] = item[row], score[row], source[row]
            out_close[at], out_share[at], out_past[at] = close[row], share[row], past[row]
            out_chance[at] = chance[row]
            at += 1
        for place in range(len(order)):
            which = order[place]
            if which < n_crowd:
                if hidden[user, which]:
                    continue
                out_item[at] = crowd[which]
            elif which < n_crowd + n_explore:
                if guest[user]:
                    continue
                out_item[at] = explore[user, which - n_crowd]
            else:
                out_item[at] = gestures[which - n_crowd - n_explore]
            out_score[at], out_source[at] = np.float32(-place), turn[place]
            out_close[at], out_share[at], out_past[at] = np.nan, np.nan, -1
            out_chance[at] = propensity if turn[place] == EXPLORE else np.nan
            at += 1
        out_offsets[user + 1] = at
