"""What is learned from, what is judged on: events cut by time, matrices cut once, and LightGCN's files read.

Every split ends as a ``Split``: two matrices over the same users and items. Settings are chosen on a split
made inside the training part (``earlier`` for time, ``leave_out`` without time), never on the test part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from recsys.interactions import Interactions, Weighing

WEEK = timedelta(days=7)


class SplitError(ValueError):
    """A split that cannot be made."""


class Cut(NamedTuple):
    """Events before a moment and events from it on."""

    train: pl.DataFrame
    test: pl.DataFrame
    at: datetime


@dataclass(frozen=True, slots=True)
class Split:
    """Two matrices over the same users and items.

    Attributes:
        train: (U, I) csr float32, the weights learned from.
        test: (U, I) csr float32 of ones, what was taken afterwards, of items that are trained on.
        taken: (U, I) csr of ones, what was taken before, by whatever weight.
        buyers: (I,) int64, how many users took each item in training.
    """

    train: csr_matrix
    test: csr_matrix
    taken: csr_matrix
    buyers: npt.NDArray[np.int64]

    @property
    def new(self) -> csr_matrix:
        """(U, I): the part of the test that the user had not taken before (the discovery truth)."""
        return _stored(self.test - self.test.multiply(self.taken))

    @property
    def again(self) -> csr_matrix:
        """(U, I): the part of the test that the user had taken before (the truth of repeats)."""
        return _stored(self.test.multiply(self.taken))

    def of_users(self, rows: npt.NDArray[np.integer[Any]]) -> Split:
        """Return the split of some users; buyers stay those of all."""
        return replace(self, train=self.train[rows], test=self.test[rows], taken=self.taken[rows])

    def __post_init__(self) -> None:
        if not self.train.shape == self.test.shape == self.taken.shape:
            raise SplitError(f"train is {self.train.shape}, test {self.test.shape}, taken {self.taken.shape}")


def by_weeks(events: pl.DataFrame, *, train_share: float) -> Cut:
    """Cut after the first share of the weeks; weeks are spans of 7 days from midnight before the first event.

    The number of training weeks is rounded down: 53 weeks at 0.8 leave 42 to learn from.

    Raises:
        SplitError: the share is not between 0 and 1, or a side would be empty.

    Example:
        >>> days = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 31), "1d", eager=True)
        >>> cut = by_weeks(pl.DataFrame({"at": days}), train_share=0.8)
        >>> len(cut.train), len(cut.test), cut.at
        (28, 3, datetime.datetime(2024, 1, 29, 0, 0))
    """
    if not 0 < train_share < 1:
        raise SplitError(f"`train_share` must be between 0 and 1 but got {train_share}")
    if events.is_empty():
        raise SplitError("there are no events to split")
    first, last = events["at"].min(), events["at"].max()
    assert isinstance(first, datetime)  # noqa: S101  narrows the type
    assert isinstance(last, datetime)  # noqa: S101
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    weeks = (last - start) // WEEK + 1
    return at(events, start + int(weeks * train_share) * WEEK)


def earlier(cut: Cut, *, weeks: int) -> Cut:
    """Cut the training part again, its last weeks becoming the part to choose settings on."""
    if weeks < 1:
        raise SplitError(f"`weeks` must be at least 1 but got {weeks}")
    return at(cut.train, cut.at - weeks * WEEK)


def at(events: pl.DataFrame, moment: datetime) -> Cut:
    """Cut at a moment; both sides must hold events."""
    before = events["at"] < moment
    train, test = events.filter(before), events.filter(~before)
    if train.is_empty() or test.is_empty():
        raise SplitError(f"a cut at {moment} leaves {len(train)} events before it and {len(test)} after it")
    return Cut(train, test, moment)


def split_of(cut: Cut, *, weighing: Weighing, min_buyers: int) -> Split:
    """Turn a cut into matrices: users of the training part, items that at least ``min_buyers`` of them took.

    Events that the weighing leaves out count neither as taken nor as truth.
    """
    kinds = list(weighing.kinds)
    train, test = (part.filter(pl.col("kind").is_in(kinds)) for part in (cut.train, cut.test))
    items = items_of(cut, kinds=kinds, min_buyers=min_buyers)
    learned = Interactions.of(train, item_id=items, weighing=weighing, now=cut.at)
    once = Weighing(dict.fromkeys(kinds, 1.0))
    later = Interactions.of(test, item_id=items, weighing=once, now=test["at"].max())  # type: ignore[arg-type]
    truth, _ = later.evidence(learned.user_id.to_list())
    taken = _ones(learned.matrix)
    return Split(learned.matrix, _ones(truth), taken, _buyers(taken))


def items_of(cut: Cut, *, kinds: Iterable[str], min_buyers: int) -> pl.Series:
    """Return the ids, sorted, of items that at least ``min_buyers`` users took in the training part."""
    train = cut.train.filter(pl.col("kind").is_in(list(kinds)))
    support = train.group_by("item_id").agg(pl.col("user_id").n_unique().alias("buyers"))
    return support.filter(pl.col("buyers") >= min_buyers)["item_id"].sort()


def users_of(cut: Cut, *, kinds: Iterable[str], min_buyers: int) -> list[str]:
    """Return the ids, sorted, of who took a ranked item in the training part: the users of the matrices."""
    wanted = list(kinds)
    ranked = items_of(cut, kinds=wanted, min_buyers=min_buyers)
    rows = pl.col("kind").is_in(wanted) & pl.col("item_id").is_in(ranked.implode())
    return cut.train.filter(rows)["user_id"].unique().sort().to_list()


def leave_out(split: Split, *, share: float, seed: int) -> Split:
    """Hide a share of each user's training entries, drawn at random, and judge on those: for data without time.

    Of n entries floor(n * share) are hidden, but at least one of two or more, as in the split of NGCF and LightGCN.
    """
    if not 0 < share < 1:
        raise SplitError(f"`share` must be between 0 and 1 but got {share}")
    widths = np.diff(split.train.indptr)
    owner = np.repeat(np.arange(len(widths)), widths)
    order = np.lexsort((np.random.default_rng(seed).random(split.train.nnz), owner))
    place = np.empty(split.train.nnz, np.int64)
    place[order] = np.arange(split.train.nnz) - np.repeat(split.train.indptr[:-1], widths)
    most = np.where(widths > 1, np.maximum(1, (widths * share).astype(np.int64)), 0)
    hidden = place < most[owner]
    kept, left = _only(split.train, ~hidden), _only(split.train, hidden)
    taken = _ones(kept)
    return replace(split, train=kept, test=_ones(left), taken=taken, buyers=_buyers(taken))


def leave_last(cut: Cut) -> Cut:
    """Take each user's last event of the training part as the part to choose settings on."""
    last = cut.train.with_row_index("_row").sort("at", maintain_order=True).group_by("user_id").last()["_row"]
    mark = np.zeros(len(cut.train), bool)
    mark[last.to_numpy()] = True
    return Cut(cut.train.filter(pl.Series(~mark)), cut.train.filter(pl.Series(mark)), cut.at)


def read_lightgcn(folder: Path) -> Split:
    """Read train.txt and test.txt, one user a line: the user's number, then the items'.

    Raises:
        SplitError: a file is missing or a line holds something else.
    """
    parts = [_read_lines(folder / name) for name in ("train.txt", "test.txt")]
    users = max(size for _, _, size in parts)
    items = max(int(item.max(initial=-1)) + 1 for _, item, _ in parts)
    train, test = (
        _ones(csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=(users, items)))
        for user, item, _ in parts
    )
    return Split(train, test, train, _buyers(train))


def _read_lines(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return the users and items of all pairs, and how many users there are at least."""
    if not path.exists():
        raise SplitError(f"{path} is missing")
    users: list[int] = []
    items: list[int] = []
    last = -1
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            user, *taken = (int(word) for word in line.split())
        except ValueError:
            raise SplitError(f"{path}, line {number}: must be a user's number, then items' numbers") from None
        users += [user] * len(taken)
        items += taken
        last = max(last, user)
    return np.array(users, np.int64), np.array(items, np.int64), last + 1


def _stored(matrix: csr_matrix) -> csr_matrix:
    plain = csr_matrix(matrix, dtype=np.float32)
    plain.eliminate_zeros()
    plain.sort_indices()
    return plain


def _ones(matrix: csr_matrix) -> csr_matrix:
    ones = matrix.copy()
    ones.sum_duplicates()
    ones.data = np.ones(ones.nnz, np.float32)
    return ones


def _only(matrix: csr_matrix, kept: npt.NDArray[np.bool_]) -> csr_matrix:
    ends = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr].astype(np.int32)
    return csr_matrix((matrix.data[kept], matrix.indices[kept], ends), shape=matrix.shape)


def _buyers(taken: csr_matrix) -> npt.NDArray[np.int64]:
    return np.bincount(taken.indices, minlength=taken.shape[1])
