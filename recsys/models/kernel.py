"""Compiled loops over users: solving for their vectors, taking their scores apart.

Every user is computed alone, by the same steps, so a block gives the numbers that single calls give.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba compiles by the arrays it meets; their shapes stand in each docstring


@njit(nogil=True, cache=True)
def system_of(gram: Array, mine: Array, confidence: Array) -> Array:
    """Return gram (d, d) + sum (c - 1) y y' over a user's items, ``mine`` (h, d)."""
    return gram + np.dot(mine.T, mine * (confidence - np.float32(1)).reshape(-1, 1))


@njit(nogil=True, cache=True)
def solve(
    gram: Array,
    item: Array,
    indptr: Array,
    indices: Array,
    confidence: Array,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """Fill out (U, d) with the x that solve (gram + sum (c - 1) y y') x = sum c y; no items, no change."""
    for user in range(start, stop):
        low, high = indptr[user], indptr[user + 1]
        if low < high:
            mine, weight = item[indices[low:high]], confidence[low:high]
            out[user] = np.linalg.solve(system_of(gram, mine, weight), np.dot(mine.T, weight))


@njit(nogil=True, cache=True)
def add_solved_parts(
    gram: Array,
    item: Array,
    along: Array,
    indptr: Array,
    indices: Array,
    confidence: Array,
    offsets: Array,
    starts: Array,
    weight: float,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """Add to out, flat (candidates, past items) tables at ``starts``, the parts of solved vectors' scores.

    ``along`` (R, d) is what a vector meets in a candidate: the part of past item j is c_j along' A^-1 y_j.
    """
    for user in range(start, stop):
        low, high, first, last = indptr[user], indptr[user + 1], offsets[user], offsets[user + 1]
        if low == high or first == last:
            continue
        mine, given = item[indices[low:high]], confidence[low:high]
        system, rows = system_of(gram, mine, given), along[first:last]
        if high - low < last - first:  # the system is symmetric: solved for the side that is shorter
            parts = np.dot(rows, np.linalg.solve(system, np.ascontiguousarray(mine.T)))
        else:
            solved = np.linalg.solve(system, np.ascontiguousarray(rows.T))
            parts = np.dot(np.ascontiguousarray(solved.T), np.ascontiguousarray(mine.T))
        at = starts[user]
        for c in range(last - first):
            for h in range(high - low):
                out[at] += weight * parts[c, h] * given[h]
                at += 1


@njit(nogil=True, cache=True)
def add_summed_parts(
    item: Array,
    along: Array,
    indptr: Array,
    indices: Array,
    given: Array,
    offsets: Array,
    starts: Array,
    weight: float,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """Add to out the parts of scores whose user vectors sum ``given`` times rows of ``item`` (I, d)."""
    for user in range(start, stop):
        low, high, first, last = indptr[user], indptr[user + 1], offsets[user], offsets[user + 1]
        if low == high or first == last:
            continue
        mine = item[indices[low:high]]
        parts = np.dot(along[first:last], np.ascontiguousarray(mine.T))
        at = starts[user]
        for c in range(last - first):
            for h in range(high - low):
                out[at] += weight * parts[c, h] * given[low + h]
                at += 1


@njit(nogil=True, cache=True)
def add_similar_parts(
    sim_indptr: Array,
    sim_indices: Array,
    sim: Array,
    indptr: Array,
    indices: Array,
    given: Array,
    offsets: Array,
    item_row: Array,
    starts: Array,
    weight: float,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """Add to out the parts of scores that are sums of ``given`` times rows of a csr similarity (I, I)."""
    place = np.full(len(sim_indptr) - 1, -1, np.int32)
    for user in range(start, stop):
        low, high, first, last = indptr[user], indptr[user + 1], offsets[user], offsets[user + 1]
        past = high - low
        for c in range(first, last):
            place[item_row[c]] = c - first
        for h in range(past):
            row = indices[low + h]
            for n in range(sim_indptr[row], sim_indptr[row + 1]):
                c = place[sim_indices[n]]
                if c >= 0:
                    out[starts[user] + c * past + h] += weight * sim[n] * given[low + h]
        for c in range(first, last):
            place[item_row[c]] = -1


@njit(nogil=True, cache=True)
def largest(
    indptr: Array,
    indices: Array,
    offsets: Array,
    starts: Array,
    parts: Array,
    start: int,
    stop: int,
    share: Array,
    evidence_row: Array,
) -> None:
    """Write each candidate's largest positive part over the sum of the positive ones, and whose it is."""
    for user in range(start, stop):
        low, past = indptr[user], indptr[user + 1] - indptr[user]
        at = starts[user]
        for c in range(offsets[user], offsets[user + 1]):
            total, most, who = np.float32(0), np.float32(0), -1
            for h in range(past):
                part = parts[at + h]
                if part > 0:
                    total += part
                    if part > most:
                        most, who = part, h
            at += past
            if who >= 0:
                share[c], evidence_row[c] = most / total, indices[low + who]


@njit(nogil=True, cache=True)
def blind(matrix: Array, offset: Array, vectors: Array, out: Array) -> None:
    """Fill out (U, d) with matrix (d, d) x vector + offset (d,) for each of the vectors (U, d), one by one."""
    for user in range(len(vectors)):
        out[user] = np.dot(matrix, vectors[user]) + offset
