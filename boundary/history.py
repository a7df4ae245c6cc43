"""What is known of a block of users, as flat arrays grouped by user: their events, and what they were shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from boundary.candidates import CandidateError, check_offsets, encodable, id_texts, lay_out, rows_of_users
from boundary.words import KIND_NAMES, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

Times = npt.NDArray[np.int64]
ENTRY_KINDS = ("shown", "dismiss", "too_personal", "too_often", "too_pushy")
SHOWN, DISMISSED = 0, 1
_EVENT_COLUMNS: dict[str, type[Any]] = {
    "offsets": np.int64, "item_row": np.int32, "kind": np.uint8, "at": np.int64, "unit_price": np.float32,
    "quantity": np.float32,
}  # fmt: skip
_ENTRY_COLUMNS: dict[str, type[Any]] = {
    "offsets": np.int64, "item_row": np.int32, "kind": np.uint8, "surface": np.int32, "at": np.int64, "slate": np.int32,
}  # fmt: skip


def _checked(part: History | Exposures, columns: dict[str, type[Any]]) -> None:
    """Convert a part's columns for the kernels, and refuse what does not fit together."""
    lay_out(part, columns, CandidateError)
    check_offsets(part.offsets, users=len(part.offsets) - 1, size=len(part.at))


def _history(*columns: npt.NDArray[Any]) -> History:
    """Make a history of a checked one's columns, which need no second look."""
    part = object.__new__(History)
    for name, column in zip(_EVENT_COLUMNS, columns, strict=True):
        object.__setattr__(part, name, column)
    return part


@dataclass(frozen=True, slots=True)
class History:
    """Events of a block of users, grouped by user and in order of time within a user.

    Arrays of another type are converted as in ``boundary.candidates.Candidates``.

    Attributes:
        offsets: (U + 1,) int64.
        item_row: (E,) int32, -1 for an item that is not in the catalogue.
        kind: (E,) uint8, see ``boundary.words.Kind``.
        at: (E,) int64, microseconds UTC.
        unit_price: (E,) float32, NaN where there is none.
        quantity: (E,) float32, NaN where there is none.
    """

    offsets: npt.NDArray[np.int64]
    item_row: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    at: Times
    unit_price: npt.NDArray[np.float32]
    quantity: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        _checked(self, _EVENT_COLUMNS)

    @property
    def users(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def empty(cls, users: int) -> History:
        return cls(
            np.zeros(users + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64),
            np.empty(0, np.float32), np.empty(0, np.float32),
        )  # fmt: skip

    @classmethod
    def from_frame(cls, events: pl.DataFrame, user_ids: Sequence[str], row_of_item: Mapping[str, int]) -> History:
        """Group a validated events table by the given users; events of other users are left out.

        Example:
            >>> import polars as pl, datetime as dt
            >>> at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
            >>> events = pl.DataFrame({"user_id": ["ann"], "item_id": ["tea"], "kind": ["view"], "at": [at],
            ...     "quantity": [None], "unit_price": [None]},
            ...     schema_overrides={"quantity": pl.Float64, "unit_price": pl.Float64})
            >>> History.from_frame(events, ["bob", "ann"], {"tea": 0}).offsets.tolist()
            [0, 0, 1]
        """
        import polars as pl

        user_ids = id_texts(user_ids)
        distinct = list(dict.fromkeys(user_ids))
        if len(distinct) < len(user_ids):
            place = {user: row for row, user in enumerate(distinct)}
            return cls.from_frame(events, distinct, row_of_item).take(np.array([place[user] for user in user_ids]))

        def column(expression: pl.Expr) -> npt.NDArray[Any]:
            return events.select(expression).to_series().to_numpy()

        def codes(name: str, words: Sequence[str | None], places: Sequence[int], kind: pl.DataType) -> pl.Expr:
            return pl.col(name).cast(pl.String).replace_strict(
                pl.Series(words, dtype=pl.String), pl.Series(places, dtype=kind), default=-1, return_dtype=kind
            )  # fmt: skip

        users = column(codes("user_id", encodable(user_ids), range(len(user_ids)), pl.Int32()))
        at = column(pl.col("at").dt.timestamp("us"))
        order = np.lexsort((at, users))  # each column is gathered alone: the largest tables fill the memory
        order = order[np.searchsorted(users[order], 0) :]
        offsets = np.zeros(len(user_ids) + 1, np.int64)
        np.cumsum(np.bincount(users[users >= 0], minlength=len(user_ids)), out=offsets[1:])
        return cls(
            offsets,
            column(codes("item_id", list(row_of_item), list(row_of_item.values()), pl.Int32()))[order],
            column(codes("kind", KIND_NAMES, range(len(KIND_NAMES)), pl.Int16()).cast(pl.UInt8))[order],
            at[order],
            column(pl.col("unit_price").cast(pl.Float32).fill_null(float("nan")))[order],
            column(pl.col("quantity").cast(pl.Float32).fill_null(float("nan")))[order],
        )

    def take(self, users: npt.NDArray[np.int64]) -> History:
        """Return the history of the given user positions, in that order; a position of -1 has none."""
        if len(users) == 1 and users[0] >= 0:  # one user's events lie together: a view will do
            start, stop = self.offsets[users[0] : users[0] + 2].tolist()
            return self._where(slice(start, stop), np.array([0, stop - start], np.int64))
        rows, offsets = rows_of_users(np.append(self.offsets, self.offsets[-1]), users % (self.users + 1))
        return self._where(rows, offsets)

    def only(self, mask: npt.NDArray[np.bool_]) -> History:
        """Return the events where the mask holds, for the same users."""
        counts = np.concatenate([[0], np.cumsum(mask)])
        return self._where(mask, counts[self.offsets])

    def with_views(self, rows: Sequence[Sequence[int]], *, at: int) -> tuple[History, npt.NDArray[np.bool_]]:
        """Return the history with views of item rows added to each user at ``at``, and which events those are."""
        widths = np.array([len(user) for user in rows], np.int64)
        added = np.array([row for user in rows for row in user], np.int32)
        users = np.repeat(np.arange(self.users), widths)
        owner = np.concatenate([self.user_row, users])
        order = np.argsort(owner, kind="stable")
        blank = np.full(len(added), np.nan, np.float32)
        joined = History(
            self.offsets + np.concatenate([[0], np.cumsum(widths)]),
            np.concatenate([self.item_row, added])[order],
            np.concatenate([self.kind, np.full(len(added), Kind.VIEW, np.uint8)])[order],
            np.concatenate([self.at, np.full(len(added), at, np.int64)])[order],
            np.concatenate([self.unit_price, blank])[order],
            np.concatenate([self.quantity, blank])[order],
        )
        return joined, order >= len(self.at)

    def strongest_kinds(
        self, users: npt.NDArray[np.integer], item_row: npt.NDArray[np.int32], mask: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.uint8]:
        """Return for pairs of user position and item, (R,), the strongest kind: purchase before cart before view.

        Only events where ``mask``, (E,), is true are looked at.
        """
        from boundary.past import kernel

        out = np.zeros(len(item_row), np.uint8)
        kernel.strongest_kinds(users.astype(np.int64), item_row, self.offsets, self.item_row, self.kind, mask, out)
        return out

    def _where(self, rows: slice | npt.NDArray[np.generic], offsets: npt.NDArray[np.int64]) -> History:
        return _history(
            offsets, self.item_row[rows], self.kind[rows], self.at[rows], self.unit_price[rows],
            self.quantity[rows],
        )  # fmt: skip

    @property
    def user_row(self) -> npt.NDArray[np.int64]:
        """(E,) the user position of each event."""
        return np.repeat(np.arange(self.users), self.offsets[1:] - self.offsets[:-1])


@dataclass(frozen=True, slots=True)
class Exposures:
    """Ledger entries of a block of users, grouped by user: what was shown, and the feedback that came.

    Attributes:
        offsets: (U + 1,) int64.
        item_row: (E,) int32, -1 where the entry is about no item of the catalogue.
        kind: (E,) uint8, place in ``ENTRY_KINDS``.
        surface: (E,) int32, place in ``surfaces``.
        at: (E,) int64, microseconds UTC.
        slate: (E,) int32, equal within one user for entries of one slate.
        surfaces: names of the surfaces.
    """

    offsets: npt.NDArray[np.int64]
    item_row: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    surface: npt.NDArray[np.int32]
    at: Times
    slate: npt.NDArray[np.int32]
    surfaces: tuple[str, ...]

    def __post_init__(self) -> None:
        _checked(self, _ENTRY_COLUMNS)
        if len(self.surface) and not 0 <= int(self.surface.min()) <= int(self.surface.max()) < len(self.surfaces):
            raise CandidateError(f"surface must be a place in the {len(self.surfaces)} surfaces")
        if len(self.kind) and (most := int(self.kind.max())) >= len(ENTRY_KINDS):
            raise CandidateError(f"kind must be a place in {', '.join(ENTRY_KINDS)} (0 to 4) but got {most}")
        if (self.at == -1).any():  # what has no time would never count
            raise CandidateError("at must be the microseconds of each entry but one is missing; leave that entry out")

    @property
    def users(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def empty(cls, users: int) -> Exposures:
        none = np.empty(0, np.int32)
        return cls(np.zeros(users + 1, np.int64), none, np.empty(0, np.uint8), none, np.empty(0, np.int64), none, ())

    def take(self, users: npt.NDArray[np.int64]) -> Exposures:
        """Return the entries of the given user positions, in that order."""
        rows, offsets = rows_of_users(self.offsets, users)
        return self._where(rows, offsets)

    def only(self, mask: npt.NDArray[np.bool_]) -> Exposures:
        """Return the entries where the mask holds, for the same users."""
        counts = np.concatenate([[0], np.cumsum(mask)])
        return self._where(mask, counts[self.offsets])

    def _where(self, rows: npt.NDArray[np.generic], offsets: npt.NDArray[np.int64]) -> Exposures:
        return Exposures(
            offsets, self.item_row[rows], self.kind[rows], self.surface[rows], self.at[rows], self.slate[rows],
            self.surfaces,
        )  # fmt: skip
