"""Compiled loops of the exact top-k: which items can still matter to a user, and which of them win.

Both searches share one selection. A user's buffer takes every item whose score reaches the user's bar; when
it is full, the bar rises to the k-th best score so far. Scores out of a block product are approximate, so the
bar lies a rounding margin lower, and what is left is scored again by one fixed dot product: a list never
depends on who else was in the block.

One file: the compiler's cache on disk notices a change in the file of a function, not in what it calls.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

Array = Any  # numba compiles for the arrays it meets; what they hold stands in each docstring

LOWEST = np.float32(-np.finfo(np.float32).max)
NEVER = np.float32(-np.inf)
SIGN = np.uint32(0x80000000)
LANES = 32
FEW = 4
BUCKETS = 256
ROUNDING = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)


class Users(NamedTuple):
    """A crowd of U users, and the items they must not get.

    Vectors (U, d) float32; their lengths and rounding margins (U,) float64; what is excluded for user u is
    places[starts[u]:ends[u]], rising.
    """

    vectors: Array
    reach: Array
    margins: Array
    starts: Array
    ends: Array
    places: Array


class Items(NamedTuple):
    """Items by falling norm.

    Factors (m, d) float32 and norms (m,) float64; the row (m,) of each place and the place (n,) of each row,
    int32, -1 = none.
    """

    factors: Array
    norms: Array
    rows: Array
    place_of: Array


class Sparse(NamedTuple):
    """A CSR matrix: indptr int64, rows int32 (its column indices), weights float32."""

    indptr: Array
    rows: Array
    weights: Array


class Lists(NamedTuple):
    """Where a crowd's answers go: user u's at offsets[u]:offsets[u + 1]; visited (U,) int64 counts products."""

    offsets: Array
    rows: Array
    scores: Array
    visited: Array


class Space(NamedTuple):
    """Working memory of one thread, for buffers of one capacity: int32 but keys, uint64, and query, float64."""

    buckets: Array
    tally: Array
    rows: Array
    keys: Array
    query: Array


@njit(cache=True, nogil=True)
def make_space(capacity: int, dimensions: int) -> Any:
    return Space(
        np.empty(capacity, dtype=np.int32),
        np.empty(BUCKETS, dtype=np.int32),
        np.empty(capacity, dtype=np.int32),
        np.empty(capacity, dtype=np.uint64),
        np.empty(dimensions, dtype=np.float64),
    )


@njit(cache=True, nogil=True, forceinline=True, fastmath={"reassoc", "contract"})  # as in models/kernel.py
def rescore(vector: Array, factors: Array, scores: Array, places: Array, count: int, query: Array) -> None:
    """Replace approximate scores by products summed in float64, always in the same order; no minus zero."""
    for i in range(query.shape[0]):
        query[i] = vector[i]
    for j in range(count):
        item = factors[np.uint32(places[j])]
        total = 0.0
        for i in range(query.shape[0]):
            total += query[i] * np.float64(item[i])
        scores[j] = np.float32(total) if total != 0 else np.float32(0.0)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def multiply_few(queries: Array, items: Array, tile: Array) -> None:
    """Fill `tile` (queries x items) without BLAS, which does not pay for a handful of queries."""
    for q in range(queries.shape[0]):
        query = queries[q]
        for j in range(items.shape[0]):
            item = items[j]
            total = np.float32(0.0)
            for i in range(query.shape[0]):
                total += query[i] * item[i]
            tile[q, j] = total


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def extremes(scores: Array, first: int, last: int) -> Any:
    """Return the least and the greatest of scores[first:last]."""
    low = high = scores[first]
    for j in range(first, last):
        low = min(low, scores[j])
        high = max(high, scores[j])
    return low, high


@njit(cache=True, nogil=True)
def spread(scores: Array, count: int, space: Any) -> Any:
    """Deal scores out to evenly wide buckets, the best to bucket 0, and count each; return high, low and width."""
    low, high = extremes(scores, 0, count)
    top = np.float64(high)
    last = space.tally.shape[0] - 1
    scale = last / (top - low) if high > low else 0.0
    space.tally[:] = 0
    for j in range(count):
        space.buckets[j] = np.int32((top - scores[j]) * scale)
    for j in range(count):
        space.tally[space.buckets[j]] += 1
    return top, np.float64(low), (top - low) / last


@njit(cache=True, nogil=True)
def raise_bar(scores: Array, rows: Array, count: int, k: int, margin: float, space: Any) -> Any:
    """Drop what at least k entries beat by more than `margin`; return how many stay, and the new bar."""
    high, low, width = spread(scores, count, space)
    seen = 0
    edge = 0
    while seen < k:
        seen += space.tally[edge]
        edge += 1
    slack = margin + ROUNDING * max(abs(high), abs(low))
    bar = max(np.float32(high - edge * width - slack), LOWEST)
    kept = 0
    for j in range(count):
        score = scores[j]
        scores[kept] = score
        rows[kept] = rows[j]
        kept += score >= bar
    return kept, bar


@njit(cache=True, nogil=True)
def sort_up(values: Array) -> None:
    """Sort in place by Shell's method, with Knuth's gaps: lists are short, and it compiles quickly."""
    total = values.shape[0]
    gap = 1
    while 3 * gap < total:
        gap = 3 * gap + 1
    while gap > 0:
        for j in range(gap, total):
            value = values[j]
            i = j
            while i >= gap and values[i - gap] > value:
                values[i] = values[i - gap]
                i -= gap
            values[i] = value
        gap //= 3


@njit(cache=True, nogil=True)
def settle(scores: Array, rows: Array, count: int, k: int, space: Any) -> int:
    """Sort entries by score, best first, then by row; return how many of them stay: at most k.

    A key holds the bits of the score, turned so that they fall as it rises, above the row.
    """
    if count == 0:
        return 0
    spread(scores, count, space)
    tally, keys = space.tally, space.keys
    seen = 0
    for bucket in range(tally.shape[0]):
        seen, tally[bucket] = seen + tally[bucket], seen
    words = scores.view(np.uint32)
    for j in range(count):
        falling = words[j] if words[j] & SIGN else ~(words[j] | SIGN)
        bucket = space.buckets[j]
        keys[tally[bucket]] = (np.uint64(np.uint32(falling)) << np.uint64(32)) | np.uint64(rows[j])
        tally[bucket] += 1
    kept = min(k, count)
    start = 0
    for bucket in range(tally.shape[0]):
        if start >= kept:
            break
        sort_up(keys[start : tally[bucket]])
        start = tally[bucket]
    for j in range(kept):
        falling = np.uint32(keys[j] >> np.uint64(32))
        words[j] = falling if falling & SIGN else np.uint32(~falling) & ~SIGN
        rows[j] = np.int32(keys[j] & np.uint64(0xFFFFFFFF))
    return kept


@njit(cache=True, nogil=True)
def sort_places(places: Array, total: int, spare: Array, tally: Array) -> None:
    """Sort places below `total` in place: dealt out to buckets first when there are many."""
    count = places.shape[0]
    if count < BUCKETS // FEW:
        sort_up(places)
        return
    shift = 0
    while total >> shift > BUCKETS:
        shift += 1
    tally[:] = 0
    for j in range(count):
        tally[places[j] >> shift] += 1
    seen = 0
    for bucket in range(BUCKETS):
        seen, tally[bucket] = seen + tally[bucket], seen
    for j in range(count):
        bucket = places[j] >> shift
        spare[tally[bucket]] = places[j]
        tally[bucket] += 1
    start = 0
    for bucket in range(BUCKETS):
        if tally[bucket] - start > 1:
            sort_up(spare[start : tally[bucket]])
        start = tally[bucket]
    for j in range(count):
        places[j] = spare[j]


@njit(cache=True, nogil=True)
def rises(values: Array) -> Any:
    """Tell whether no value is less than the one before."""
    fine = True
    for j in range(1, len(values)):
        fine &= values[j] >= values[j - 1]
    return fine


@njit(cache=True, nogil=True)
def below(rows: Array, items: int) -> Any:
    """Tell whether every row lies from 0 to below ``items``."""
    fine = True
    for row in rows:
        fine &= 0 <= row < items
    return fine


@njit(cache=True, nogil=True)
def prepare(
    vectors: Array, indptr: Array, indices: Array, items: Any, longest: float, k: int, widths: Array
) -> Any:  # fmt: skip
    """Return a crowd ready for the search, and write how long each one's list will be, (U,).

    ``indices[indptr[u]:indptr[u + 1]]`` are the rows that user u must not get. The margin is how far a product in
    float32 may lie from the exact one (Higham 2002, section 3.1). A vector longer than ``longest``, or not finite, has
    length 0 and gets an empty list.
    """
    crowd, size, total, base = len(vectors), vectors.shape[1], len(items.norms), indptr[0]
    reach, margins = np.empty(crowd), np.empty(crowd)
    starts, ends = np.empty(crowd, np.int64), np.empty(crowd, np.int64)
    places = np.empty(indptr[crowd] - base, dtype=np.int32)
    most = 0
    for user in range(crowd):
        most = max(most, indptr[user + 1] - indptr[user])
    spare = np.empty(most, dtype=np.int32)
    tally = np.empty(BUCKETS, dtype=np.int32)
    for user in range(crowd):
        squares = 0.0
        for i in range(size):
            squares += np.float64(vectors[user, i]) ** 2
        length = np.sqrt(squares)
        sound = length <= longest
        reach[user] = length if sound else 0.0
        margins[user] = reach[user] * (size + 4) * ROUNDING * items.norms[0] + 4 * size * TINY
        start = indptr[user] - base
        stop = start
        for j in range(indptr[user], indptr[user + 1]):
            place = items.place_of[indices[j]]
            if place >= 0:
                places[stop] = place
                stop += 1
        sort_places(places[start:stop], total, spare, tally)
        kept = start
        for j in range(start, stop):
            if j == start or places[j] != places[kept - 1]:
                places[kept] = places[j]
                kept += 1
        starts[user], ends[user] = start, kept
        widths[user] = min(k, total - (kept - start)) if sound else 0
    return Users(vectors, reach, margins, starts, ends, places)


@njit(cache=True, nogil=True)
def holds(rising: Array, value: int) -> Any:
    """Tell by bisection whether the rising values hold this one."""
    low, high = 0, rising.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if rising[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < rising.shape[0] and rising[low] == value


@njit(cache=True, nogil=True)
def take_lowest(place_of: Array, places: Array, rows: Array) -> None:
    """Fill `rows` with the lowest rows not excluded: the list of a user to whom all items are equal."""
    found = 0
    row = 0
    while found < rows.shape[0]:
        place = place_of[row]
        if place >= 0 and not holds(places, place):
            rows[found] = row
            found += 1
        row += 1


@njit(cache=True, nogil=True)
def rank(vector: Array, items: Any, scores: Array, places: Array, count: int, k: int, rows: Array, space: Any) -> Any:
    """Score candidates by the fixed product and sort them; return how many stay, their rows in `rows`."""
    rescore(vector, items.factors, scores, places, count, space.query)
    for j in range(count):
        rows[j] = items.rows[places[j]]
    return settle(scores, rows, count, k, space)


@njit(cache=True, nogil=True)
def collect(
    line: Array, start: int, items: Any, vector: Array, scores: Array, places: Array,
    count: int, bar: float, k: int, margin: float, space: Any,
) -> Any:  # fmt: skip
    """Take the entries of one user's line of products that reach the bar; return the new count and bar."""
    capacity = scores.shape[0]
    for near in range(0, line.shape[0], LANES):
        far = min(near + LANES, line.shape[0])
        if far == near + LANES and extremes(line, near, near + LANES)[1] < bar:
            continue
        for j in range(near, far):
            if line[j] >= bar:
                scores[count] = line[j]
                places[count] = start + j
                count += 1
        if count > capacity - LANES:
            count, bar = raise_bar(scores, places, count, k, margin, space)
            if count > capacity - 2 * LANES:
                count = rank(vector, items, scores, places, count, k, space.rows, space)
                for j in range(count):
                    places[j] = items.place_of[space.rows[j]]
    if count >= k + k // 2 or (count >= k and bar == LOWEST):
        count, bar = raise_bar(scores, places, count, k, margin, space)
    return count, bar


@njit(cache=True, nogil=True)
def keep_hopeful(active: Array, left: int, reach: Array, norm: float, bars: Array) -> Any:
    """Close ranks over the users whom an item of this norm could still reach; return how many are left."""
    kept = 0
    for a in range(left):
        u = active[a]
        active[kept] = u
        kept += reach[u] * norm >= bars[u]
    return kept


@njit(cache=True, nogil=True)
def block_out(line: Array, start: int, places: Array, cursor: int, end: int) -> int:
    """Strike the excluded places out of a line of products that begins at `start`; return the next cursor."""
    while cursor < end and places[cursor] < start + line.shape[0]:
        line[places[cursor] - start] = NEVER
        cursor += 1
    return cursor


@njit(cache=True, nogil=True)
def finish(
    users: Any, items: Any, k: int, user: int, scores: Array, places: Array, count: int, space: Any, lists: Any
) -> None:
    """Score one user's last candidates by the fixed product, and write the best to the user's list."""
    begin, end = lists.offsets[user], lists.offsets[user + 1]
    if users.reach[user] == 0:
        excluded = users.places[users.starts[user] : users.ends[user]]
        take_lowest(items.place_of, excluded, lists.rows[begin:end])
        lists.scores[begin:end] = 0
        return
    if count > k:
        count, _ = raise_bar(scores, places, count, k, users.margins[user], space)
    rank(users.vectors[user], items, scores, places, count, k, space.rows, space)
    for j in range(end - begin):
        lists.rows[begin + j] = space.rows[j]
        lists.scores[begin + j] = scores[j]


@njit(cache=True, nogil=True)
def search_factors(
    vectors: Array, indptr: Array, indices: Array, items: Any, k: int, longest: float, first: int, last: int,
    width: int, height: int,
) -> Any:  # fmt: skip
    """Return the lists of users [first, last): their lengths, then rows and scores one list after another, and visits.

    Items stand by falling norm, so a user is done when the length of its vector times the norm of the next
    block stays under its bar (Cauchy-Schwarz). The others are packed for each block of `width` items and
    multiplied `height` at a time, and the product is searched while it is in the cache.
    """
    crowd = last - first
    widths = np.empty(crowd, dtype=np.int64)
    users = prepare(vectors[first:last], indptr[first : last + 1], indices, items, longest, k, widths)
    offsets = np.zeros(crowd + 1, dtype=np.int64)
    for u in range(crowd):
        offsets[u + 1] = offsets[u] + widths[u]
    lists = Lists(
        offsets,
        np.empty(offsets[crowd], dtype=np.int32),
        np.empty(offsets[crowd], dtype=np.float32),
        np.zeros(crowd, dtype=np.int64),
    )
    capacity = 2 * k + 2 * LANES
    space = make_space(capacity, vectors.shape[1])
    scores = np.empty((crowd, capacity), dtype=np.float32)
    places = np.empty((crowd, capacity), dtype=np.int32)
    counts = np.zeros(crowd, dtype=np.int64)
    bars = np.full(crowd, LOWEST)
    cursors = users.starts.copy()
    queries = np.empty((min(crowd, height), vectors.shape[1]), dtype=np.float32)
    products = np.empty(min(crowd, height) * width, dtype=np.float32)
    active = np.empty(crowd, dtype=np.int64)
    left = 0
    for u in range(crowd):
        active[left] = u
        left += widths[u] > 0 and users.reach[u] > 0
    for start in range(0, items.norms.shape[0], width):
        block = items.factors[start : start + width]
        left = keep_hopeful(active, left, users.reach, items.norms[start], bars)
        for low in range(0, left, height):
            group = active[low : min(low + height, left)]
            some = queries[: group.shape[0]]
            for a in range(group.shape[0]):
                for i in range(some.shape[1]):
                    some[a, i] = users.vectors[group[a], i]
            tile = products[: group.shape[0] * block.shape[0]].reshape(group.shape[0], block.shape[0])
            if group.shape[0] < FEW:
                multiply_few(some, block, tile)
            else:
                np.dot(some, block.T, tile)
            for a in range(group.shape[0]):
                u = group[a]
                cursors[u] = block_out(tile[a], start, users.places, cursors[u], users.ends[u])
                counts[u], bars[u] = collect(
                    tile[a], start, items, some[a], scores[u], places[u],
                    counts[u], bars[u], k, users.margins[u], space,
                )  # fmt: skip
                lists.visited[u] += block.shape[0]
    for u in range(crowd):
        finish(users, items, k, u, scores[u], places[u], counts[u], space, lists)
    return widths, lists.rows, lists.scores, lists.visited


@njit(cache=True, nogil=True)
def add_up(similar: Any, past: Any, user: int, sums: Array, owner: Array, touched: Array) -> Any:
    """Add up weight x similarity, in float64, in the order given; return how many items were touched.

    A user with a weight that is not finite touches none.
    """
    reached = 0
    for e in range(past.indptr[user], past.indptr[user + 1]):
        weight = np.float64(past.weights[e])
        if not np.isfinite(weight):
            return 0
        for s in range(similar.indptr[past.rows[e]], similar.indptr[past.rows[e] + 1]):
            row = similar.rows[s]
            if owner[row] != user:
                owner[row] = user
                sums[row] = 0.0
                touched[reached] = row
                reached += 1
            sums[row] += weight * np.float64(similar.weights[s])
    return reached


@njit(cache=True, nogil=True)
def search_neighbours(
    similar: Any, past: Any, indptr: Array, excluded: Array, allowed: Array, k: int,
    first: int, last: int, lengths: Array, out_rows: Array, out_scores: Array,
) -> int:  # fmt: skip
    """Write the lists of users [first, last) one after another; return how long they are together."""
    total = allowed.shape[0]
    capacity = 2 * k + 2 * LANES
    space = make_space(capacity, 0)
    sums = np.empty(total, dtype=np.float64)
    owner = np.full(total, -1, dtype=np.int64)
    touched = np.empty(total, dtype=np.int32)
    scores = np.empty(capacity, dtype=np.float32)
    rows = np.empty(capacity, dtype=np.int32)
    written = 0
    for user in range(first, last):
        reached = add_up(similar, past, user, sums, owner, touched)
        for e in range(indptr[user], indptr[user + 1]):
            sums[excluded[e]] = np.nan
        count = np.int64(0)
        bar = LOWEST
        for t in range(reached):
            row = touched[t]
            score = np.float32(sums[row])
            if score >= bar and score < np.inf and allowed[row]:
                scores[count] = score if score != 0 else np.float32(0.0)
                rows[count] = row
                count += 1
                if count == capacity:
                    count, bar = raise_bar(scores, rows, count, k, 0.0, space)
                    if count > capacity - LANES:
                        count = settle(scores, rows, count, k, space)
        count = settle(scores, rows, count, k, space)
        lengths[user] = count
        for j in range(count):
            out_rows[written + j] = rows[j]
            out_scores[written + j] = scores[j]
        written += count
    return written
