"""Compiled loops from events to evidence: what each counts, and each user's distinct items; twins in the tests."""

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba compiles by the arrays it meets; their shapes stand in each docstring


@njit(nogil=True, cache=True, error_model="numpy")
def weigh(
    kind: Array, at: Array, now: int, of_kind: Array, life: float, mask: Array, fresh: Array, out: Array
) -> None:  # fmt: skip
    """Write what each event, (E,), counts: by its kind, halved every ``life`` microseconds; 0 outside the mask.

    ``of_kind`` (kinds,) are weights; a life of 0 lasts for ever; what lies ahead counts as new. An event that is
    ``fresh``, (E,) or nothing, counts as much as the strongest kind.
    """
    strongest = of_kind.max()
    for event in range(len(out)):
        out[event] = 0
        if len(mask) and not mask[event]:
            continue
        if len(fresh) and fresh[event]:
            out[event] = strongest
        elif kind[event] < len(of_kind):
            out[event] = of_kind[kind[event]]
            if life > 0 and out[event] > 0:
                out[event] *= np.float32(np.exp2(-(max(now - at[event], 0) / life)))


@njit(nogil=True, cache=True)
def gather(
    offsets: Array, item_row: Array, weight: Array, items: int, indptr: Array, rows: Array, sums: Array
) -> None:  # fmt: skip
    """Write each user's distinct items below ``items``, rising, and the sums of their events' weights above zero.

    Events (E,) are grouped by ``offsets`` (U + 1,); user u's answers are at ``indptr[u]:indptr[u + 1]`` of rows and
    sums, which have room for E. Weights are summed in the order of the events.
    """
    most = 0
    for user in range(len(offsets) - 1):
        most = max(most, offsets[user + 1] - offsets[user])
    keys = np.empty(most, np.int64)
    at = 0
    indptr[0] = 0
    for user in range(len(offsets) - 1):
        start, count = offsets[user], 0
        rising = True
        for event in range(start, offsets[user + 1]):
            if weight[event] > 0 and 0 <= item_row[event] < items:
                keys[count] = (np.int64(item_row[event]) << 32) | (event - start)
                rising = rising and (count == 0 or keys[count] > keys[count - 1])
                count += 1
        if not rising:
            keys[:count].sort()
        last = -1
        for place in range(count):
            row, event = keys[place] >> 32, start + (keys[place] & 0xFFFFFFFF)
            if row != last:
                rows[at], sums[at], last = row, 0, row
                at += 1
            sums[at - 1] += weight[event]
        indptr[user + 1] = at
