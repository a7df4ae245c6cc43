"""Compiled loops over users: solving for their vectors, taking their scores apart.

Every user is computed alone, by the same steps, so a block gives the numbers that single calls give. BLAS is not
called: its threads would wait for each other longer than these small systems take. What a loop calls is forced into
it: a separate copy would be optimized otherwise in the process that compiles than in those that load what it compiled,
and the last bits of their scores would differ.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba compiles by the arrays it meets; their shapes stand in each docstring
LANES = 32  # numbers that a loop takes at once: four registers of eight
FEW = 6  # as many items as this goes into the size of a root raise it; more cost more than beginning anew
LOOSE = {"reassoc", "contract", "nsz"}  # sums may be reordered to fill vector registers; NaN stays NaN


@njit(nogil=True, cache=True)
def weights(data: Array) -> Any:
    """Tell of weights (E,) whether all are finite and at least 0, and whether none is 0."""
    sound, full = True, True
    for weight in data:
        sound &= 0 <= weight < np.inf
        full &= weight != 0
    return sound, full


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def add_squares(item: Array, rows: Array, weight: Array, upper: Array) -> None:
    """Add sum weight y y' over rows of the items to the upper half of a matrix (d, d).

    Rows begin at a whole number of ``LANES`` before the diagonal, so that every loop runs along whole vector registers.
    """
    size, last = len(upper), len(rows) - 1
    more = np.zeros(8, np.float32)
    for start in range(0, len(rows), 8):
        for k in range(8):
            more[k] = weight[start + k] if start + k <= last else np.float32(0)
        a, b, c, d = rows[start], rows[min(start + 1, last)], rows[min(start + 2, last)], rows[min(start + 3, last)]
        e, f = rows[min(start + 4, last)], rows[min(start + 5, last)]
        g, h = rows[min(start + 6, last)], rows[min(start + 7, last)]
        for i in range(size):
            at = i // LANES * LANES
            wa, wb, wc, wd = more[0] * item[a, i], more[1] * item[b, i], more[2] * item[c, i], more[3] * item[d, i]
            we, wf, wg, wh = more[4] * item[e, i], more[5] * item[f, i], more[6] * item[g, i], more[7] * item[h, i]
            out, ya, yb, yc, yd = upper[i, at:], item[a, at:], item[b, at:], item[c, at:], item[d, at:]
            ye, yf, yg, yh = item[e, at:], item[f, at:], item[g, at:], item[h, at:]
            for n in range(len(out)):
                out[n] += wa * ya[n] + wb * yb[n] + wc * yc[n] + wd * yd[n]
                out[n] += we * ye[n] + wf * yf[n] + wg * yg[n] + wh * yh[n]


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def cholesky(upper: Array) -> None:
    """Turn the upper half of a matrix (d, d) into the U, zero below its diagonal, for which U'U is the matrix."""
    for i in range(len(upper)):
        at = i // LANES * LANES
        out = upper[i, at:]
        for j in range(0, i - 3, 4):
            wa, wb, wc, wd = upper[j, i], upper[j + 1, i], upper[j + 2, i], upper[j + 3, i]
            ya, yb, yc, yd = upper[j, at:], upper[j + 1, at:], upper[j + 2, at:], upper[j + 3, at:]
            for n in range(len(out)):
                out[n] -= wa * ya[n] + wb * yb[n] + wc * yc[n] + wd * yd[n]
        for j in range(i - i % 4, i):
            wa, ya = upper[j, i], upper[j, at:]
            for n in range(len(out)):
                out[n] -= wa * ya[n]
        scale = np.float32(1) / np.sqrt(upper[i, i])
        for n in range(len(out)):
            out[n] *= scale
        for n in range(i):
            upper[i, n] = np.float32(0)


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def raise_root(upper: Array, vector: Array) -> None:
    """Turn U into the root of U'U + x x' by Givens rotations (Gill, Golub, Murray, Saunders 1974); x (d,) is used up."""
    for i in range(len(upper)):
        at, old, over = i // LANES * LANES, upper[i, i], vector[i]
        new = np.sqrt(old * old + over * over)
        cosine, sine = old / new, over / new
        row, rest = upper[i, at:], vector[at:]
        for n in range(len(row)):
            above = row[n]
            row[n] = cosine * above + sine * rest[n]
            rest[n] = cosine * rest[n] - sine * above
        upper[i, i], vector[i] = new, np.float32(0)


@njit(nogil=True, cache=True)
def root_of(gram: Array) -> Any:
    """Return the U (d, d) for which U'U = gram."""
    upper = gram.copy()
    cholesky(upper)
    return upper


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def factorize(gram: Array, root: Array, item: Array, rows: Array, confidence: Array, upper: Array) -> None:
    """Fill (d, d) with the U, zero below its diagonal, for which U'U = gram + sum (c - 1) y y' over a user's items.

    An item of confidence one is in the Gram matrix as it should be. With few others, none below one, the Gram
    matrix's ``root`` is raised by each; with many the sum is factorized anew.
    """
    size, heavy, least = len(gram), 0, np.float32(1)
    kept, weight = np.empty(len(rows), rows.dtype), np.empty(len(rows), np.float32)
    for n in range(len(rows)):
        if confidence[n] != 1:
            kept[heavy], weight[heavy] = rows[n], confidence[n] - np.float32(1)
            least = min(least, weight[heavy])
            heavy += 1
    few = heavy * FEW <= size and least > 0
    start = root if few else gram
    for i in range(size):
        for n in range(size):
            upper[i, n] = start[i, n]
    if not few:
        add_squares(item, kept[:heavy], weight[:heavy], upper)
        cholesky(upper)
        return
    vector = np.empty(size, np.float32)
    for k in range(heavy):
        times = np.sqrt(weight[k])
        for n in range(size):
            vector[n] = times * item[kept[k], n]
        raise_root(upper, vector)


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def substitute(upper: Array, vector: Array) -> None:
    """Replace the vector (d,) by the x that solves U'U x = vector."""
    size = len(vector)
    for i in range(size):
        known, rest, row = vector[i] / upper[i, i], vector[i // LANES * LANES :], upper[i, i // LANES * LANES :]
        for n in range(len(row)):
            rest[n] -= known * row[n]
        vector[i] = known
    for i in range(size - 1, -1, -1):
        known, rest, row = vector[i], vector[i // LANES * LANES :], upper[i, i // LANES * LANES :]
        vector[i] = np.float32(0)
        total = np.float32(0)
        for n in range(len(row)):
            total += row[n] * rest[n]
        vector[i] = (known - total) / upper[i, i]


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def substitute_all(upper: Array, table: Array) -> None:
    """Replace each row of the table (n, d), n a multiple of four, by the x that solves U'U x = row."""
    size = len(upper)
    for r in range(0, len(table), 4):
        for i in range(size):
            at, scale = i // LANES * LANES, np.float32(1) / upper[i, i]
            a, b, c, d = table[r, i] * scale, table[r + 1, i] * scale, table[r + 2, i] * scale, table[r + 3, i] * scale
            row, ra, rb, rc, rd = upper[i, at:], table[r, at:], table[r + 1, at:], table[r + 2, at:], table[r + 3, at:]
            for n in range(len(row)):
                ra[n] -= a * row[n]
                rb[n] -= b * row[n]
                rc[n] -= c * row[n]
                rd[n] -= d * row[n]
            table[r, i], table[r + 1, i], table[r + 2, i], table[r + 3, i] = a, b, c, d
        for i in range(size - 1, -1, -1):
            at, scale = i // LANES * LANES, np.float32(1) / upper[i, i]
            a, b, c, d = table[r, i], table[r + 1, i], table[r + 2, i], table[r + 3, i]
            table[r, i] = table[r + 1, i] = table[r + 2, i] = table[r + 3, i] = np.float32(0)
            row, ra, rb, rc, rd = upper[i, at:], table[r, at:], table[r + 1, at:], table[r + 2, at:], table[r + 3, at:]
            ta = tb = tc = td = np.float32(0)
            for n in range(len(row)):
                ta += row[n] * ra[n]
                tb += row[n] * rb[n]
                tc += row[n] * rc[n]
                td += row[n] * rd[n]
            table[r, i], table[r + 1, i] = (a - ta) * scale, (b - tb) * scale
            table[r + 2, i], table[r + 3, i] = (c - tc) * scale, (d - td) * scale


@njit(nogil=True, cache=True, fastmath=LOOSE)
def solve(
    gram: Array,
    root: Array,
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

    ``root`` is ``root_of(gram)``. ``systems`` (U, d, d) take the factors, see ``factorize``, or are empty.
    """
    upper = np.empty((item.shape[1], item.shape[1]), np.float32)
    for user in range(start, stop):
        low, high = indptr[user], indptr[user + 1]
        if low == high:
            continue
        if len(systems):
            upper = systems[user]
        factorize(gram, root, item, indices[low:high], confidence[low:high], upper)
        vector = np.zeros(item.shape[1], np.float32)
        for h in range(low, high):
            for f in range(len(vector)):
                vector[f] += confidence[h] * item[indices[h], f]
        substitute(upper, vector)
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


@njit(nogil=True, cache=True, forceinline=True)
def in_fours(rows: Array) -> Any:
    """Return a copy of rows (n, d) with rows of zeros up to the next multiple of four."""
    copied = np.zeros((len(rows) + 3 & ~3, rows.shape[1]), np.float32)
    copied[: len(rows)] = rows
    return copied


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE)
def add_products(left: Array, right: Array, rows: Array, given: Array, weight: float, out: Array) -> None:
    """Add to out, flat (k, h), weight * given (h,) * left . right of left, k vectors ``in_fours``, and right[rows] (h, d)."""
    past, count = len(rows), len(out) // max(len(rows), 1)
    for c in range(0, count, 4):
        la, lb, lc, ld = left[c], left[c + 1], left[c + 2], left[c + 3]
        for h in range(past):
            y = right[rows[h]]
            ta = tb = tc = td = np.float32(0)
            for f in range(len(y)):
                ta += la[f] * y[f]
                tb += lb[f] * y[f]
                tc += lc[f] * y[f]
                td += ld[f] * y[f]
            times = np.float32(weight) * given[h]
            out[c * past + h] += times * ta
            if c + 1 < count:
                out[(c + 1) * past + h] += times * tb
            if c + 2 < count:
                out[(c + 2) * past + h] += times * tc
            if c + 3 < count:
                out[(c + 3) * past + h] += times * td


@njit(nogil=True, cache=True)
def add_solved_parts(
    gram: Array,
    root: Array,
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
    (U, d, d) are what ``solve`` kept of the users, or empty. The fewer of the two sides are solved for.
    """
    upper = np.empty((item.shape[1], item.shape[1]), np.float32)
    for user in range(start, stop):
        low, high, first, last = indptr[user], indptr[user + 1], offsets[user], offsets[user + 1]
        if low == high or first == last:
            continue
        rows, given, mine = indices[low:high], confidence[low:high], out[starts[user] : starts[user + 1]]
        if len(systems):
            upper = systems[user]
        else:
            factorize(gram, root, item, rows, given, upper)
        left = in_fours(along[first:last])
        if last - first <= high - low:
            substitute_all(upper, left)
            add_products(left, item, rows, given, weight, mine)
        else:
            right = in_fours(item[rows])
            substitute_all(upper, right)
            add_products(left, right, np.arange(high - low), given, weight, mine)


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
        mine = out[starts[user] : starts[user + 1]]
        add_products(in_fours(along[first:last]), item, indices[low:high], given[low:high], weight, mine)


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


@njit(nogil=True, cache=True, forceinline=True, fastmath=LOOSE | {"nnan"})
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
