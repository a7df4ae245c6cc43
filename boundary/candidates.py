"""What any recommender hands over: the ranked rows of a block of users, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary.words import SOURCE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


class CandidateError(ValueError):
    """The arrays of a block do not fit together."""


def _unmeasured(size: int) -> Floats:
    return np.full(size, np.nan, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Ranked rows of a block of users, best first; rows of user u are ``offsets[u]:offsets[u + 1]``.

    What is not measured is NaN (or -1 for a row), and a rule that needs it withholds the row.

    Attributes:
        user_ids: (U,) ids of the block's users.
        offsets: (U + 1,) int64.
        item_row: (R,) int32, row in the catalogue; -1 is an item the catalogue does not know.
        score: (R,) float32, comparable within one user and source.
        source: (R,) uint8, see ``boundary.words.Source``.
        closeness: (R,) float32, standard deviations above the item's mean score over all users.
        trace_share: (R,) float32, the largest share of the score that one past item carries.
        evidence_row: (R,) int32, the past item that carries most of the score; -1 is none.
        propensity: (R,) float32, probability with which an explore row was drawn.

    Raises:
        CandidateError: lengths differ or offsets do not rise from 0 to R.

    Example:
        >>> block = Candidates.of(["ann"], [0, 2], item_row=[4, 7], score=[0.9, 0.4])
        >>> block.users, block.rows
        (1, 2)
    """

    user_ids: Sequence[str]
    offsets: Offsets
    item_row: Rows
    score: Floats
    source: npt.NDArray[np.uint8]
    closeness: Floats
    trace_share: Floats
    evidence_row: Rows
    propensity: Floats
    user_row: Rows = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = len(self.item_row)
        if len(self.offsets) != len(self.user_ids) + 1:
            raise CandidateError(
                f"offsets must have {len(self.user_ids) + 1} entries (users + 1) but have {len(self.offsets)}"
            )
        widths = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != size or (widths < 0).any():
            raise CandidateError(f"offsets must rise from 0 to the number of rows, {size}")
        for name in ("score", "source", "closeness", "trace_share", "evidence_row", "propensity"):
            if len(getattr(self, name)) != size:
                raise CandidateError(f"{name} must have {size} rows but has {len(getattr(self, name))}")
        object.__setattr__(
            self, "user_row", np.repeat(np.arange(len(self.user_ids), dtype=np.int32), widths)
        )

    @property
    def users(self) -> int:
        return len(self.user_ids)

    @property
    def rows(self) -> int:
        return len(self.item_row)

    @classmethod
    def of(
        cls,
        user_ids: Sequence[str],
        offsets: npt.ArrayLike,
        *,
        item_row: npt.ArrayLike,
        score: npt.ArrayLike,
        source: npt.ArrayLike | None = None,
        closeness: npt.ArrayLike | None = None,
        trace_share: npt.ArrayLike | None = None,
        evidence_row: npt.ArrayLike | None = None,
        propensity: npt.ArrayLike | None = None,
    ) -> Candidates:
        """Build a block from array-likes; what is left out counts as unmeasured, a missing source as personal."""
        items = np.asarray(item_row, dtype=np.int32)
        size = len(items)

        def floats(given: npt.ArrayLike | None) -> Floats:
            return _unmeasured(size) if given is None else np.asarray(given, dtype=np.float32)

        return cls(
            user_ids=user_ids,
            offsets=np.asarray(offsets, dtype=np.int64),
            item_row=items,
            score=np.asarray(score, dtype=np.float32),
            source=np.zeros(size, np.uint8) if source is None else np.asarray(source, dtype=np.uint8),
            closeness=floats(closeness),
            trace_share=floats(trace_share),
            evidence_row=np.full(size, -1, np.int32)
            if evidence_row is None
            else np.asarray(evidence_row, dtype=np.int32),
            propensity=floats(propensity),
        )

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, row_of_item: Mapping[str, int]) -> Candidates:
        """Take a plain frame of (user_id, item_id, score) in rank order, whoever made it.

        Optional columns: source (word), closeness, trace_share, evidence_id, propensity. Users keep the order of
        their first row, rows keep their order within the user. An unknown item becomes row -1 and is withheld.

        Args:
            frame: one row a candidate.
            row_of_item: item id to catalogue row.

        Raises:
            CandidateError: a column is missing or a source is not one of the four words.

        Example:
            >>> import polars as pl
            >>> plain = pl.DataFrame({"user_id": ["ann", "ann"], "item_id": ["tea", "?"], "score": [0.9, 0.4]})
            >>> Candidates.from_frame(plain, {"tea": 0}).item_row.tolist()
            [0, -1]
        """
        for name in ("user_id", "item_id", "score"):
            if name not in frame.columns:
                raise CandidateError(f"candidates need a column `{name}`; found {', '.join(frame.columns)}")
        users = list(dict.fromkeys(frame["user_id"].cast(str).to_list()))
        if None in users:
            raise CandidateError("candidates have a null user_id; give every row the user it is for")
        place = {user: row for row, user in enumerate(users)}
        owner = np.fromiter((place[u] for u in frame["user_id"].cast(str)), np.int64, len(frame))
        order = np.argsort(owner, kind="stable")
        names = frame.columns

        def rows_of(column: str) -> Rows:
            ids = frame[column].cast(str).to_list()
            rows = np.fromiter((row_of_item.get(i, -1) for i in ids), np.int32, len(ids))
            return rows[order]

        def floats(column: str) -> Floats | None:
            if column not in names:
                return None
            values = frame[column].cast(float, strict=False).fill_null(float("nan"))
            return values.to_numpy().astype(np.float32)[order]

        source = None
        if "source" in names:
            words = frame["source"].to_list()
            wrong = sorted({str(word) for word in words} - set(SOURCE_NAMES))
            if wrong:
                raise CandidateError(f"source must be one of {', '.join(SOURCE_NAMES)} but got {wrong[0]!r}")
            source = np.array([SOURCE_NAMES.index(word) for word in words], np.uint8)[order]
        score = floats("score")
        return cls.of(
            users,
            np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]),
            item_row=rows_of("item_id"),
            score=score if score is not None else _unmeasured(len(frame)),
            source=source,
            closeness=floats("closeness"),
            trace_share=floats("trace_share"),
            evidence_row=rows_of("evidence_id") if "evidence_id" in names else None,
            propensity=floats("propensity"),
        )

    def take(self, users: npt.NDArray[np.int64]) -> Candidates:
        """Return the block of the given user positions, in that order."""
        rows, offsets = rows_of_users(self.offsets, users)
        columns = {
            f.name: getattr(self, f.name)[rows]
            for f in fields(self)
            if f.name not in {"user_ids", "offsets", "user_row"}
        }
        return Candidates(user_ids=[self.user_ids[u] for u in users], offsets=offsets, **columns)


def rows_of_users(offsets: Offsets, users: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Offsets]:
    """Return the row numbers that belong to the given user positions, and their new offsets.

    Example:
        >>> rows, new = rows_of_users(np.array([0, 2, 3]), np.array([1, 0]))
        >>> rows.tolist(), new.tolist()
        ([2, 0, 1], [0, 1, 3])
    """
    starts, widths = offsets[users], offsets[users + 1] - offsets[users]
    new = np.zeros(len(users) + 1, dtype=np.int64)
    np.cumsum(widths, out=new[1:])
    rows = np.arange(new[-1], dtype=np.int64) + np.repeat(starts - new[:-1], widths)
    return rows, new
