"""How good are the lists? Accuracy over the full ranking beside NDCG (``recsys.quality``), what lies beyond it, how sure.

Lists are flat arrays: user u's are ``item_row[offsets[u]:offsets[u + 1]]``, best first, each item at most
once. Truth is a csr matrix of users x items whose stored entries are what the user took afterwards. A figure
of a user who took nothing is NaN: such users are left out of means, whose count is reported beside them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


class Lists(NamedTuple):
    """Ranked lists of U users; any object with these fields does as well."""

    offsets: Offsets  # (U + 1,)
    item_row: Rows  # (R,)


class Interval(NamedTuple):
    """A mean over users with a bootstrap interval."""

    mean: float
    low: float
    high: float
    users: int


def hits(lists: Lists, truth: csr_matrix) -> npt.NDArray[np.bool_]:
    """Return for each row whether the user took that item, (R,).

    Raises:
        ValueError: the numbers of users differ, or a list holds a row outside the truth's items.

    Example:
        >>> hits(Lists(np.array([0, 2]), np.array([3, 1])), csr_matrix([[0, 1, 0, 0]])).tolist()
        [False, True]
    """
    users, items = truth.shape
    if len(lists.offsets) != users + 1:
        raise ValueError(f"lists are of {len(lists.offsets) - 1} users but truth is of {users}")
    if len(lists.item_row) and not 0 <= lists.item_row.min() <= lists.item_row.max() < items:
        raise ValueError(f"`item_row` must be from 0 to {items - 1}")
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(lists.offsets))
    taken = np.repeat(np.arange(users, dtype=np.int64), np.diff(truth.indptr)) * items + truth.indices
    return np.isin(owner * items + lists.item_row, taken)


def recall(lists: Lists, truth: csr_matrix, *, k: int) -> Doubles:
    """Return each user's hits among the first k over all the items taken.

    Example:
        >>> recall(Lists(np.array([0, 2]), np.array([0, 1])), csr_matrix([[0, 1, 1]]), k=2).tolist()
        [0.5]
    """
    found, _ = _within(lists, truth, k)
    return _share(_sum(found, lists), np.diff(truth.indptr))


def average_precision(lists: Lists, truth: csr_matrix, *, k: int) -> Doubles:
    """Return each user's precision at the ranks of hits among the first k, summed, over min(k, items taken).

    Example:
        >>> lists = Lists(np.array([0, 2]), np.array([0, 1]))
        >>> average_precision(lists, csr_matrix([[0, 1, 1]]), k=2).tolist()
        [0.25]
    """
    found, rank = _within(lists, truth, k)
    so_far = np.concatenate([[0], np.cumsum(found)])
    before = np.repeat(so_far[lists.offsets[:-1]], np.diff(lists.offsets))
    precision = np.where(found, (so_far[1:] - before) / (rank + 1), 0.0)
    return _share(_sum(precision, lists), np.minimum(np.diff(truth.indptr), k))


def serendipity(lists: Lists, truth: csr_matrix, *, k: int, buyers: npt.NDArray[np.integer]) -> Doubles:
    """Return each user's hits among the first k that are not among the k most bought items, over k.

    After Ge, Delgado-Battenfeld, Jannach (2010): useful, and not what an unpersonal list would have shown.

    Args:
        lists: ranked lists.
        truth: what was taken afterwards.
        k: length looked at.
        buyers: (I,), how many took each item in training.
    """
    expected = np.zeros(truth.shape[1], bool)
    expected[np.argsort(-buyers, kind="stable")[:k]] = True
    found, _ = _within(lists, truth, k)
    return _share(_sum(found & ~expected[lists.item_row], lists), np.where(np.diff(truth.indptr) > 0, k, 0))


def novelty(lists: Lists, *, k: int, buyers: npt.NDArray[np.integer], users: int) -> Doubles:
    """Return each list's mean of -log2(buyers / users) over its first k, in bits (Vargas, Castells 2011).

    Example:
        >>> novelty(Lists(np.array([0, 2]), np.array([0, 1])), k=2, buyers=np.array([4, 1]), users=4).tolist()
        [1.0]
    """
    surprise = -np.log2(np.maximum(buyers, 1) / users)
    first = _rank(lists) < k
    return _share(_sum(np.where(first, surprise[lists.item_row], 0.0), lists), _sum(first, lists))


def diversity(lists: Lists, *, k: int, category: npt.NDArray[np.integer]) -> Doubles:
    """Return each list's share of pairs, among its first k, whose categories differ; NaN below two items.

    Example:
        >>> lists = Lists(np.array([0, 3]), np.array([0, 1, 2]))
        >>> diversity(lists, k=3, category=np.array([7, 7, 2])).round(3).tolist()
        [0.667]
    """
    first = _rank(lists) < k
    owner = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets))[first]
    pairs, count = np.unique(np.stack([owner, category[lists.item_row][first]]), axis=1, return_counts=True)
    alike = np.bincount(pairs[0], weights=count * (count - 1), minlength=len(lists.offsets) - 1)
    size = _sum(first, lists)
    return 1.0 - _share(alike, size * (size - 1))


def coverage(lists: Lists, *, k: int, items: int) -> float:
    """Return how many different items the first k of all lists show, over the items that can be shown.

    Example:
        >>> coverage(Lists(np.array([0, 1, 2]), np.array([0, 0])), k=1, items=4)
        0.25
    """
    return len(np.unique(lists.item_row[_rank(lists) < k])) / items


def gini(lists: Lists, *, k: int, items: int) -> float:
    """Return how unequally the items that can be shown share the slots: 0 = alike, near 1 = one has all.

    Example:
        >>> gini(Lists(np.array([0, 2]), np.array([0, 1])), k=2, items=2)
        0.0
    """
    shown = np.bincount(lists.item_row[_rank(lists) < k])
    slots = np.sort(np.concatenate([shown[shown > 0], np.zeros(max(0, items - int((shown > 0).sum())))]))
    if not slots.sum():
        return float("nan")
    place = np.arange(1, len(slots) + 1)
    return float(((2 * place - len(slots) - 1) * slots).sum() / (len(slots) * slots.sum()))


def interval(values: npt.ArrayLike, *, seed: int, level: float = 0.95, draws: int = 1000) -> Interval:
    """Return the mean over users that are not NaN, with a percentile bootstrap interval (Efron 1979).

    Example:
        >>> interval([0.0, 1.0, float("nan")], seed=0).users
        2
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    random = np.random.default_rng(seed)
    means = [known[random.integers(0, len(known), len(known))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(known.mean()), float(low), float(high), len(known))


def ratio_interval(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, *, seed: int, level: float = 0.95, draws: int = 1000
) -> Interval:
    """Return mean over mean of two figures of the same users, with a paired percentile bootstrap interval.

    Example:
        >>> ratio_interval([2.0, 4.0], [1.0, 2.0], seed=0)
        Interval(mean=2.0, low=2.0, high=2.0, users=2)
    """
    pair = np.stack([np.asarray(ours, np.float64), np.asarray(theirs, np.float64)])
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    if not pair.shape[1] or not pair[1].any():
        return Interval(float("nan"), float("nan"), float("nan"), pair.shape[1])
    random, users = np.random.default_rng(seed), pair.shape[1]
    sums = np.stack([pair[:, random.integers(0, users, users)].sum(axis=1) for _ in range(draws)])
    ratios = np.divide(sums[:, 0], sums[:, 1], out=np.full(draws, np.nan), where=sums[:, 1] > 0)
    low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(pair[0].sum() / pair[1].sum()), float(low), float(high), users)


def _rank(lists: Lists) -> npt.NDArray[np.int64]:
    return np.arange(len(lists.item_row)) - np.repeat(lists.offsets[:-1], np.diff(lists.offsets))


def _within(lists: Lists, truth: csr_matrix, k: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    if k < 1:
        raise ValueError(f"`k` must be at least 1 but got {k}")
    rank = _rank(lists)
    return hits(lists, truth) & (rank < k), rank


def _sum(values: npt.NDArray[np.generic], lists: Lists) -> Doubles:
    so_far = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.asarray(so_far[lists.offsets[1:]] - so_far[lists.offsets[:-1]])


def _share(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Doubles:
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out
