"""Compiled loops over users: solving for their vectors, taking their scores apart.

Every user is computed alone, by the same steps, so a block gives the numbers that single calls give. BLAS is not
called: its threads would wait for each other longer than these small systems take.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba compiles by the arrays it meets; their shapes stand in each docstring
LOOSE = {"reassoc", "contract", "nsz"}  # sums may be reordered to fill vector registers; NaN stays NaN


@njit(nogil=True, cache=True)
def weights(data: Array) -> Any:
    """Tell of weights (E,) whether all are finite and at least 0, and whether none is 0."""
    sound, full = True, True
    for weight in data:
        sound &= 0 <= weight < np.inf
        full &= weight != 0
    return sound, full


@njit(nogil=True, cache=True, fastmath=LOOSE)
def factorize(gram: Array, item: Array, rows: Array, confidence: Array, lower: Array) -> None:
    """Fill the lower triangle (d, d) with Cholesky's L of gram + sum (c - 1) y y' over a user's items."""
    size = len(gram)
    for i in range(size):
        for j in range(i + 1):
            lower[i, j] = gram[i, j]
    past = len(rows)
    for start in range(0, past, 4):
        a, b = rows[start], rows[min(start + 1, past - 1)]
        c, d = rows[min(start + 2, past - 1)], rows[min(start + 3, past - 1)]
        wa = confidence[start] - np.float32(1)
        wb = confidence[start + 1] - np.float32(1) if start + 1 < past else np.float32(0)
        wc = confidence[start + 2] - np.float32(1) if start + 2 < past else np.float32(0)
        wd = confidence[start + 3] - np.float32(1) if start + 3 < past else np.float32(0)
        for i in range(size):
            ya, yb, yc, yd = wa * item[a, i], wb * item[b, i], wc * item[c, i], wd * item[d, i]
            for j in range(i + 1):
                lower[i, j] += ya * item[a, j] + yb * item[b, j] + yc * item[c, j] + yd * item[d, j]
    for i in range(size):
        for j in range(i + 1):
            total = np.float32(0)
            for f in range(j):
                total += lower[i, f] * lower[j, f]
            if i == j:
                lower[i, i] = np.sqrt(lower[i, i] - total)
            else:
                lower[i, j] = (lower[i, j] - total) / lower[j, j]


@njit(nogil=True, cache=True, fastmath=LOOSE)
def substitute(lower: Array, vector: Array) -> None:
    """Replace the vector (d,) by the x that solves L L' x = vector."""
    size = len(vector)
    for i in range(size):
        total = np.float32(0)
        for f in range(i):
            total += lower[i, f] * vector[f]
        vector[i] = (vector[i] - total) / lower[i, i]
    for i in range(size - 1, -1, -1):
        vector[i] /= lower[i, i]
        known = vector[i]
        for f in range(i):
            vector[f] -= known * lower[i, f]


@njit(nogil=True, cache=True, fastmath=LOOSE)
def substitute_all(lower: Array, table: Array) -> None:
    """Replace each column of the table (d, n) by the x that solves L L' x = column."""
    size, count = table.shape
    for i in range(size):
        for f in range(i):
            factor = lower[i, f]
            for n in range(count):
                table[i, n] -= factor * table[f, n]
        scale = np.float32(1) / lower[i, i]
        for n in range(count):
            table[i, n] *= scale
    for i in range(size - 1, -1, -1):
        scale = np.float32(1) / lower[i, i]
        for n in range(count):
            table[i, n] *= scale
        for f in range(i):
            factor = lower[i, f]
            for n in range(count):
                table[f, n] -= factor * table[i, n]


@njit(nogil=True, cache=True, fastmath=LOOSE)
def solve(
    gram: Array,
    item: Array,
    indptr: Array,
    indices: Array,
    confidence: Array,
    start: int,
    stop: int,
    out: Array,
    systems: Array,
) -> None:
    """Fill out (U, d) with the x that solve (gram + sum (c - 1) y y') x = sum c y; no items, no change.

    ``systems`` (U, d, d) take the Cholesky factors, or are empty.
    """
    lower = np.empty((item.shape[1], item.shape[1]), np.float32)
    for user in range(start, stop):
        low, high = indptr[user], indptr[user + 1]
        if low == high:
            continue
        if len(systems):
            lower = systems[user]
        factorize(gram, item, indices[low:high], confidence[low:high], lower)
        vector = np.zeros(item.shape[1], np.float32)
        for h in range(low, high):
            for f in range(len(vector)):
                vector[f] += confidence[h] * item[indices[h], f]
        substitute(lower, vector)
        out[user] = vector


@njit(nogil=True, cache=True, fastmath=LOOSE)
def blind(matrix: Array, offset: Array, vectors: Array, out: Array) -> None:
    """Fill out (U, d) with matrix (d, d) x vector + offset (d,) for each of the vectors (U, d), one by one."""
    for user in range(len(vectors)):
        for row in range(len(offset)):
            total = np.float32(0)
            for f in range(len(offset)):
                total += matrix[row, f] * vectors[user, f]
            out[user, row] = total + offset[row]


@njit(nogil=True, cache=True, fastmath=LOOSE)
def add_products(left: Array, right: Array, given: Array, weight: float, out: Array) -> None:
    """Add to out, flat (k, h), weight * given (h,) * (left' @ right) of left (d, k) and right (d, h)."""
    size, count, past = left.shape[0], left.shape[1], right.shape[1]
    sums = np.empty((2, past), np.float32)
    for c in range(0, count, 2):
        other = min(c + 1, count - 1)
        sums[:] = 0
        for f in range(0, size - 3, 4):
            a0, a1, a2, a3 = left[f, c], left[f + 1, c], left[f + 2, c], left[f + 3, c]
            b0, b1, b2, b3 = left[f, other], left[f + 1, other], left[f + 2, other], left[f + 3, other]
            for h in range(past):
                r0, r1, r2, r3 = right[f, h], right[f + 1, h], right[f + 2, h], right[f + 3, h]
                sums[0, h] += a0 * r0 + a1 * r1 + a2 * r2 + a3 * r3
                sums[1, h] += b0 * r0 + b1 * r1 + b2 * r2 + b3 * r3
        for f in range(size - size % 4, size):
            for h in range(past):
                sums[0, h] += left[f, c] * right[f, h]
                sums[1, h] += left[f, other] * right[f, h]
        for h in range(past):
            out[c * past + h] += np.float32(weight) * given[h] * sums[0, h]
        if other > c:
            for h in range(past):
                out[other * past + h] += np.float32(weight) * given[h] * sums[1, h]


@njit(nogil=True, cache=True)
def add_solved_parts(
    gram: Array,
    item: Array,
    along: Array,
    indptr: Array,
    indices: Array,
    confidence: Array,
    systems: Array,
    offsets: Array,
    starts: Array,
    weight: float,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """Add to out, flat (candidates, past items) tables at ``starts``, the parts of solved vectors' scores.

    ``along`` (R, d) is what a vector meets in a candidate: the part of past item j is c_j along' A^-1 y_j. ``systems``
    (U, d, d) are what ``solve`` kept of the users, or empty.
    """
    lower = np.empty((item.shape[1], item.shape[1]), np.float32)
    for user in range(start, stop):
        low, high, first, last = indptr[user], indptr[user + 1], offsets[user], offsets[user + 1]
        if low == high or first == last:
            continue
        rows, given = indices[low:high], confidence[low:high]
        if len(systems):
            lower = systems[user]
        else:
            factorize(gram, item, rows, given, lower)
        left, right = along[first:last].T.copy(), item[rows].T.copy()
        substitute_all(lower, left if last - first <= high - low else right)
        add_products(left, right, given, weight, out[starts[user] : starts[user + 1]])


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
        left, right = along[first:last].T.copy(), item[indices[low:high]].T.copy()
        add_products(left, right, given[low:high], weight, out[starts[user] : starts[user + 1]])


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


@njit(nogil=True, cache=True, fastmath=LOOSE | {"nnan"})
def strength(parts: Array) -> Any:
    """Return the sum of the positive parts and the largest part, at least zero."""
    total, most = np.float32(0), np.float32(0)
    for h in range(len(parts)):
        part = max(parts[h], np.float32(0))
        total += part
        most = max(most, part)
    return total, most


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
            mine = parts[at : at + past]
            at += past
            total, most = strength(mine)
            if most > 0:
                who = 0
                while mine[who] != most:
                    who += 1
                share[c], evidence_row[c] = most / total, indices[low + who]
