"""Who took what, how much: events become a sparse matrix, ids become rows. The only id translation.

Outside, users and items are ids (str). Inside they are rows (int32): an item's row is its row in the
catalogue, a user's row is its place among the sorted user ids. Ids the maps do not hold are reported, never
guessed: a look-up returns the rows of the known ids and a mask that says which ones those are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from boundary.words import KIND_NAMES
from recsys.models.store import load_csr, save_csr

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


class InteractionError(ValueError):
    """Events, ids or rows that cannot be translated."""


@dataclass(frozen=True)
class Weighing:
    """How much one event counts as evidence.

    Args:
        kinds: weight of each event kind that counts; kinds left out do not count.
        half_life: an event this old counts half; null = age does not matter.

    Raises:
        InteractionError: no kind, a weight not positive and finite, or a half-life not positive.

    Example:
        >>> Weighing({"purchase": 1.0, "cart": 0.3}, half_life=timedelta(days=90)).to_dict()
        {'kinds': {'purchase': 1.0, 'cart': 0.3}, 'half_life_days': 90.0}
    """

    kinds: Mapping[str, float]
    half_life: timedelta | None = None

    def __post_init__(self) -> None:
        if not self.kinds:
            raise InteractionError("`kinds` must name at least one event kind but is empty")
        for kind, weight in self.kinds.items():
            if not (0 < weight < np.inf):
                raise InteractionError(f"weight of {kind!r} must be positive and finite but got {weight}")
        if self.half_life is not None and self.half_life <= timedelta(0):
            raise InteractionError(f"`half_life` must be positive but got {self.half_life}; null turns it off")

    def weigh(self, events: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """Return user_id, item_id and the weight of every event whose kind counts.

        Raises:
            InteractionError: an event lies after ``now``.
        """
        late = events["at"].max()
        if isinstance(late, datetime) and late > now:
            raise InteractionError(f"`at` must not be after now, {now}, but got {late}; pass events up to now")
        kinds = pl.DataFrame(
            {"kind": list(self.kinds), "weight": list(self.kinds.values())},
            schema={"kind": pl.String, "weight": pl.Float64},
        )
        weighed = events.select("user_id", "item_id", "kind", "at").join(kinds, on="kind", maintain_order="left")
        if self.half_life is not None:
            lives = (pl.lit(now) - pl.col("at")).dt.total_microseconds() / (self.half_life / timedelta(microseconds=1))
            weighed = weighed.with_columns(weight=pl.col("weight") * pl.lit(0.5).pow(lives))
        return weighed.select("user_id", "item_id", "weight")

    @cached_property
    def of_kind(self) -> npt.NDArray[np.float32]:
        """The weight of each kind of event, by its code; 0 of one that does not count.

        Example:
            >>> Weighing({"purchase": 1.0, "view": 0.25}).of_kind.tolist()
            [0.25, 0.0, 1.0, 0.0]
        """
        return np.array([self.kinds.get(name, 0.0) for name in KIND_NAMES], np.float32)

    @cached_property
    def life(self) -> float:
        """The half-life in microseconds; 0 lasts for ever."""
        return 0.0 if self.half_life is None else self.half_life / timedelta(microseconds=1)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Weighing:
        """Read what ``to_dict`` wrote."""
        days = settings["half_life_days"]
        return cls(dict(settings["kinds"]), half_life=None if days is None else timedelta(days=days))

    def to_dict(self) -> dict[str, object]:
        """Return the settings as plain words and numbers."""
        days = None if self.half_life is None else self.half_life / timedelta(days=1)
        return {"kinds": dict(self.kinds), "half_life_days": days}


@dataclass(frozen=True, slots=True)
class Interactions:
    """The matrix of all users' evidence, and both id maps.

    Attributes:
        user_id: (U,) user ids, sorted; a user's row is its place here.
        item_id: (I,) item ids in the catalogue's order; an item's row is its place here.
        matrix: (U, I) csr float32, sorted indices, no stored zeros.
        unknown: item_id and count of events whose item the catalogue does not hold; not in the matrix.

    Raises:
        InteractionError: shapes differ, an id is missing or twice, or a weight is negative, NaN or infinite.

    Example:
        >>> events = pl.DataFrame(
        ...     {"user_id": ["bo", "al", "bo"], "item_id": ["tea", "jam", "rum"], "weight": [1, 2, 3]}
        ... )
        >>> taken = Interactions.of_weights(events, item_id=["jam", "tea"])
        >>> taken.matrix.toarray().tolist(), taken.unknown.rows()
        ([[2.0, 0.0], [0.0, 1.0]], [('rum', 1)])
        >>> rows, known = taken.user_rows(["bo", "stranger"])
        >>> rows.tolist(), known.tolist()
        ([1], [True, False])
    """

    user_id: pl.Series
    item_id: pl.Series
    matrix: csr_matrix
    unknown: pl.DataFrame = field(repr=False)
    _row_of_user: dict[str, int] = field(init=False, repr=False, compare=False)
    _row_of_item: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.user_id), len(self.item_id)):
            wanted = (len(self.user_id), len(self.item_id))
            raise InteractionError(f"matrix must be {wanted} users x items but is {self.matrix.shape}")
        _refuse_bad_weights(self.matrix.data)
        if not self.user_id.is_sorted():
            raise InteractionError("`user_id` must be sorted")
        object.__setattr__(self, "_row_of_user", _map_of(self.user_id, "user_id"))
        object.__setattr__(self, "_row_of_item", _map_of(self.item_id, "item_id"))

    @classmethod
    def of(cls, events: pl.DataFrame, *, item_id: Sequence[str] | pl.Series, weighing: Weighing, now: datetime) -> Self:
        """Translate an events frame; the weights of a user's events on one item add up.

        Args:
            events: user_id, item_id, kind, at (UTC); further columns are ignored.
            item_id: the catalogue's ids in the catalogue's order.
            weighing: how much one event counts.
            now: events after it are refused, ages are counted from it.
        """
        return cls.of_weights(weighing.weigh(events, now), item_id=item_id)

    @classmethod
    def of_weights(cls, weights: pl.DataFrame, *, item_id: Sequence[str] | pl.Series) -> Self:
        """Translate a frame of user_id, item_id, weight; equal pairs add up, zero weights are dropped."""
        items = pl.Series("item_id", item_id, dtype=pl.String).rechunk()
        _map_of(items, "item_id")
        weights = weights.select(
            pl.col("user_id").cast(pl.String),
            pl.col("item_id").cast(pl.String),
            pl.col("weight").cast(pl.Float64),
        )
        _refuse_bad_weights(weights["weight"].fill_null(np.nan).to_numpy())
        for name in ("user_id", "item_id"):
            if weights[name].null_count():
                raise InteractionError(f"`{name}` must not be null but is in {weights[name].null_count()} rows")
        catalogue = pl.DataFrame({"item_id": items}).with_row_index("item_row")
        joined = weights.join(catalogue, on="item_id", how="left", maintain_order="left")
        unknown = joined.filter(pl.col("item_row").is_null()).group_by("item_id").len("count").sort("item_id")
        pairs = (
            joined.filter(pl.col("item_row").is_not_null())
            .group_by("user_id", "item_row")
            .agg(pl.col("weight").sum())
            .filter(pl.col("weight") > 0)
            .sort("user_id", "item_row")
        )
        users = pairs["user_id"].unique().sort().rechunk()
        people = pl.DataFrame({"user_id": users}).with_row_index("user_row")
        owner = pairs.join(people, on="user_id", how="left", maintain_order="left")["user_row"].to_numpy()
        indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]).astype(np.int32)
        matrix = csr_matrix(
            (
                pairs["weight"].cast(pl.Float32).to_numpy().copy(),
                pairs["item_row"].cast(pl.Int32).to_numpy().copy(),
                indptr,
            ),
            shape=(len(users), len(items)),
        )
        return cls(user_id=users, item_id=items, matrix=matrix, unknown=unknown)

    def user_rows(self, ids: Iterable[str]) -> tuple[Rows, Mask]:
        """Return the rows of the known user ids, in their order, and a mask over all given ids."""
        return _look_up(self._row_of_user, ids)

    def item_rows(self, ids: Iterable[str]) -> tuple[Rows, Mask]:
        """Return the rows of the known item ids, in their order, and a mask over all given ids."""
        return _look_up(self._row_of_item, ids)

    def users_at(self, rows: npt.ArrayLike) -> list[str]:
        """Return the ids of user rows; a row outside the map is an error, never somebody else."""
        return _ids_at(self.user_id, rows, "user_row")

    def items_at(self, rows: npt.ArrayLike) -> list[str]:
        """Return the ids of item rows; a row outside the map is an error, never another item."""
        return _ids_at(self.item_id, rows, "item_row")

    def evidence(self, user_ids: Sequence[str]) -> tuple[csr_matrix, Mask]:
        """Return one evidence row a given user, empty for those not known, and the mask of the known."""
        rows, known = self.user_rows(user_ids)
        found = self.matrix[rows]
        widths = np.zeros(len(known), dtype=np.int64)
        widths[known] = np.diff(found.indptr)
        indptr = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
        return csr_matrix((found.data, found.indices, indptr), shape=(len(known), len(self.item_id))), known

    def session(self, weights: Mapping[str, float]) -> tuple[csr_matrix, list[str]]:
        """Return one evidence row for item ids with weights, and the ids the catalogue does not hold.

        Example:
            >>> schema = {"user_id": pl.String, "item_id": pl.String, "weight": pl.Float64}
            >>> nobody = Interactions.of_weights(pl.DataFrame(schema=schema), item_id=["jam", "tea"])
            >>> row, unknown = nobody.session({"tea": 1.0, "rum": 1.0})
            >>> row.toarray().tolist(), unknown
            ([[0.0, 1.0]], ['rum'])
        """
        rows, known = self.item_rows(weights)
        values = np.fromiter(weights.values(), np.float64, len(weights))[known]
        _refuse_bad_weights(values)
        order = np.argsort(rows)
        order = order[values[order] > 0]
        row = csr_matrix(
            (values[order].astype(np.float32), rows[order], np.array([0, len(order)], np.int32)),
            shape=(1, len(self.item_id)),
        )
        return row, [name for name, found in zip(weights, known, strict=True) if not found]

    def save(self, path: Path) -> None:
        """Write the maps and the matrix into a directory, readable without unpickling."""
        path.mkdir(parents=True, exist_ok=True)
        self.user_id.to_frame("user_id").write_ipc(path / "users.arrow")
        self.item_id.to_frame("item_id").write_ipc(path / "items.arrow")
        (path / "unknown.json").write_text(json.dumps(self.unknown.to_dict(as_series=False)), encoding="utf-8")
        save_csr(path, "matrix", self.matrix)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote; the matrix stays memory-mapped."""
        unknown = json.loads((path / "unknown.json").read_text(encoding="utf-8"))
        users = pl.read_ipc(path / "users.arrow")["user_id"]
        items = pl.read_ipc(path / "items.arrow")["item_id"]
        return cls(
            user_id=users,
            item_id=items,
            matrix=load_csr(path, "matrix", shape=(len(users), len(items))),
            unknown=pl.DataFrame(unknown, schema={"item_id": pl.String, "count": pl.UInt32}),
        )


def _refuse_bad_weights(weights: npt.NDArray[np.floating]) -> None:
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise InteractionError(
            f"weight must be finite and at least 0 but got {weights[bad][0]} ({int(bad.sum())} rows)"
        )


def _map_of(ids: pl.Series, name: str) -> dict[str, int]:
    if ids.null_count():
        raise InteractionError(f"`{name}` must not be null but is at place {ids.is_null().arg_max()}")
    rows = dict(zip(ids.to_list(), range(len(ids)), strict=True))
    if len(rows) != len(ids):
        twice = ids.filter(ids.is_duplicated())[0]
        raise InteractionError(f"`{name}` must name each id once but has {twice!r} twice")
    return rows


def _look_up(row_of: dict[str, int], ids: Iterable[str]) -> tuple[Rows, Mask]:
    found = [row_of.get(given) for given in ids]
    known = np.fromiter((row is not None for row in found), np.bool_, len(found))
    return np.array([row for row in found if row is not None], dtype=np.int32), known


def _ids_at(ids: pl.Series, rows: npt.ArrayLike, name: str) -> list[str]:
    wanted = np.asarray(rows, dtype=np.int64)
    outside = (wanted < 0) | (wanted >= len(ids))
    if outside.any():
        raise InteractionError(f"`{name}` must be from 0 to {len(ids) - 1} but got {wanted[outside][0]}")
    return [str(found) for found in ids.gather(wanted)]
