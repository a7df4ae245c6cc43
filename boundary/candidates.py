"""What any recommender hands over: the ranked rows of a block of users, as flat arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


_COLUMNS: dict[str, type[Any]] = {
    "offsets": np.int64, "item_row": np.int32, "score": np.float32, "source": np.uint8, "closeness": np.float32,
    "trace_share": np.float32, "evidence_row": np.int32, "propensity": np.float32,
}  # fmt: skip
_TYPES = {kind: np.dtype(kind) for kind in (np.int64, np.int32, np.uint8, np.float32)}


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

    Arrays of another type or layout are converted: a row that is no whole number, or none that fits, becomes -1, and a
    source that is no code becomes 255; both are withheld.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_ids", id_texts(self.user_ids))
        lay_out(self, _COLUMNS, CandidateError)
        check_offsets(self.offsets, users=len(self.user_ids), size=len(self.item_row))

    @classmethod
    def written(cls, user_ids: Sequence[str], *columns: npt.NDArray[Any]) -> Candidates:
        """Take columns, offsets first, that a kernel wrote to fit together: they are not looked at again."""
        block = object.__new__(cls)
        object.__setattr__(block, "user_ids", user_ids)
        for name, column in zip(_COLUMNS, columns, strict=True):
            object.__setattr__(block, name, column)
        return block

    @property
    def user_row(self) -> Rows:
        """(R,) the user position of each row."""
        return np.repeat(np.arange(self.users, dtype=np.int32), self.offsets[1:] - self.offsets[:-1])

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
        score: npt.ArrayLike | None,
        source: npt.ArrayLike | None = None,
        closeness: npt.ArrayLike | None = None,
        trace_share: npt.ArrayLike | None = None,
        evidence_row: npt.ArrayLike | None = None,
        propensity: npt.ArrayLike | None = None,
    ) -> Candidates:
        """Build a block from array-likes; what is left out counts as unmeasured, a missing source as personal."""
        size = len(np.atleast_1d(np.asarray(item_row)))

        def given(values: npt.ArrayLike | None, missing: float) -> Any:
            return np.full(size, missing) if values is None else values

        return cls(
            user_ids=user_ids,
            offsets=given(offsets, 0),
            item_row=given(item_row, -1),
            score=given(score, np.nan),
            source=given(source, 0),
            closeness=given(closeness, np.nan),
            trace_share=given(trace_share, np.nan),
            evidence_row=given(evidence_row, -1),
            propensity=given(propensity, np.nan),
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
            CandidateError: no polars frame, a column is missing or of no use, a user is null, or a source is no such word.

        Example:
            >>> import polars as pl
            >>> plain = pl.DataFrame({"user_id": ["ann", "ann"], "item_id": ["tea", "?"], "score": [0.9, 0.4]})
            >>> Candidates.from_frame(plain, {"tea": 0}).item_row.tolist()
            [0, -1]
        """
        import polars as pl

        _check_frame(frame)
        ids = frame["user_id"].cast(pl.String)
        if ids.null_count():
            raise CandidateError("candidates have a null user_id; give every row the user it is for")
        users = ids.unique(maintain_order=True)
        owner = frame.select(_codes(ids, users, range(len(users)))).to_series().to_numpy()
        order = np.argsort(owner, kind="stable")
        known = pl.Series(list(row_of_item), dtype=pl.String)

        def rows_of(column: str) -> Rows:
            rows = _codes(frame[column].cast(pl.String), known, list(row_of_item.values()))
            return frame.select(rows).to_series().to_numpy()[order]

        def floats(column: str) -> Floats | None:
            if column not in frame.columns:
                return None
            return frame[column].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()[order]

        source = None
        if "source" in frame.columns:
            words = frame["source"].cast(pl.String)
            wrong = sorted(str(word) for word in words.unique().to_list() if word not in SOURCE_NAMES)
            if wrong:
                raise CandidateError(f"source must be one of {', '.join(SOURCE_NAMES)} but got {wrong[0]!r}")
            codes = _codes(words, pl.Series(SOURCE_NAMES), range(len(SOURCE_NAMES)))
            source = frame.select(codes).to_series().to_numpy()[order]
        return cls.of(
            users.to_list(),
            np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]),
            item_row=rows_of("item_id"),
            score=floats("score"),
            source=source,
            closeness=floats("closeness"),
            trace_share=floats("trace_share"),
            evidence_row=rows_of("evidence_id") if "evidence_id" in frame.columns else None,
            propensity=floats("propensity"),
        )

    def take(self, users: npt.NDArray[np.int64]) -> Candidates:
        """Return the block of the given user positions, in that order."""
        rows, offsets = rows_of_users(self.offsets, users)
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS if name != "offsets"}
        return Candidates(user_ids=[self.user_ids[u] for u in users], offsets=offsets, **columns)


def lay_out(part: object, columns: Mapping[str, type[Any]], error: type[Exception]) -> None:
    """Convert the columns of a frozen part for the kernels; all but ``offsets`` must be of one length.

    Raises:
        error: one of them is of another length, or holds what is no number.
    """
    sizes = {}
    for name, kind in columns.items():
        given = getattr(part, name)
        try:
            plain = flat(given, kind)
        except (TypeError, ValueError, OverflowError) as wrong:
            found = " ".join(repr(given).split())
            raise error(f"{name} must be an array of numbers but got {found:.80}; convert it first") from wrong
        if plain is not given:
            object.__setattr__(part, name, plain)
        if name != "offsets":
            sizes[name] = len(plain)
    if len(set(sizes.values())) > 1:
        rows = sizes["item_row"]
        name, size = next((name, size) for name, size in sizes.items() if size != rows)
        raise error(f"{name} must have {rows} rows but has {size}")


def flat(values: npt.ArrayLike, kind: type[Any]) -> npt.NDArray[Any]:
    """Return an array as the kernels read it: of this type, one dimension, in one piece.

    A whole number that is none or does not fit becomes -1, or 255 where only a code from 0 on fits. Moments become
    microseconds; what a mask hides is missing.

    Raises:
        TypeError, ValueError, OverflowError: it holds what is no number.

    Example:
        >>> flat([1.0, 1.5, 2**40, float("nan")], np.int32).tolist(), flat([1, 256], np.uint8).tolist()
        ([1, -1, -1, -1], [1, 255])
    """
    if type(values) is np.ndarray and values.dtype is _TYPES.get(kind) and values.ndim == 1:
        flags = values.flags
        if flags.c_contiguous and flags.writeable:
            return values
    masked = isinstance(values, np.ma.MaskedArray)
    found = values.astype(np.float64).filled(np.nan) if masked else np.asarray(values)  # type: ignore[union-attr]
    if found.dtype.kind in "cm":
        raise TypeError(f"{found.dtype} is no number")
    if found.dtype.kind == "M":  # a moment is microseconds, and none is missing
        found = np.where(np.isnat(found), -1, found.astype("M8[us]").astype(np.int64))
    if found.dtype == kind:
        fits = found
    elif issubclass(kind, np.floating):
        with np.errstate(over="ignore"):
            fits = found.astype(kind)
    else:
        bounds, missing = np.iinfo(kind), (255 if kind is np.uint8 else -1)
        numbers = found.astype(np.float64) if found.dtype.kind not in "iub" else found
        fine = (numbers >= bounds.min) & (numbers <= bounds.max) & (numbers == np.floor(numbers))
        fits = np.where(fine, numbers, missing).astype(kind)
    flags = fits.flags
    if fits.ndim == 1 and flags.c_contiguous and flags.writeable:
        return fits
    return np.array(fits.reshape(-1))


def id_texts(user_ids: Sequence[str | int]) -> Sequence[str]:
    """Return ids as text: whole numbers are written out, as ``boundary.tables`` does it.

    Raises:
        CandidateError: something else is among them, or it is one text and no list.

    Example:
        >>> id_texts(["ann", 7])
        ['ann', '7']
    """
    if isinstance(user_ids, str | bytes) or not isinstance(user_ids, Iterable):
        raise CandidateError(f"user_ids must be a list of ids but got {user_ids!r:.80}")
    if type(user_ids) in {list, tuple} and set(map(type, user_ids)) <= {str}:
        return user_ids  # type: ignore[return-value]  # all of them are text
    ids: list[str] = []
    for one in user_ids:
        if isinstance(one, bool | np.bool_) or not isinstance(one, str | int | np.integer):
            raise CandidateError(f"user_ids must be text or whole numbers but got {one!r:.80}")
        ids.append(str(one))
    return ids


def encodable(user_ids: Sequence[str]) -> list[str | None]:
    """Return ids as a table can hold them: one with a lone surrogate is in no table, so it is None."""
    ids = id_texts(user_ids)
    try:
        "".join(ids).encode()
    except UnicodeEncodeError:
        return [None if any("\ud800" <= sign <= "\udfff" for sign in user) else user for user in ids]
    return list(ids)


def check_offsets(offsets: Offsets, *, users: int, size: int) -> None:
    """Refuse offsets that do not part ``size`` rows among ``users``.

    Raises:
        CandidateError: with what they must be.
    """
    if users < 0:
        raise CandidateError("offsets must have one entry, 0, where there are no users, but have none")
    if len(offsets) != users + 1:
        raise CandidateError(f"offsets must have {users + 1} entries (users + 1) but have {len(offsets)}")
    if offsets[0] != 0 or offsets[-1] != size or (users > 1 and (offsets[1:] < offsets[:-1]).any()):
        raise CandidateError(f"offsets must rise from 0 to the number of rows, {size}")


def _check_frame(frame: pl.DataFrame) -> None:
    """Refuse a frame without a needed column, or with one whose cells cannot be what its name says."""
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
        raise CandidateError(f"candidates must be a polars.DataFrame but got a {kind}; convert or collect it first")
    for name in ("user_id", "item_id", "score"):
        if name not in frame.columns:
            raise CandidateError(f"candidates need a column `{name}`; found {', '.join(frame.columns)}")
    for name, dtype in frame.schema.items():
        plain = isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)
        number = dtype.is_numeric() or dtype == pl.Boolean
        if name in {"user_id", "item_id", "evidence_id"} and not (plain or dtype.is_integer()):
            raise CandidateError(f"candidates: column `{name}` holds {dtype}; give text or whole numbers")
        if name in {"score", "closeness", "trace_share", "propensity"} and not (plain or number):
            raise CandidateError(f"candidates: column `{name}` holds {dtype}; give numbers")


def _codes(values: pl.Series, words: pl.Series, codes: Sequence[int]) -> pl.Expr:
    import polars as pl

    return pl.lit(values).replace_strict(words, pl.Series(codes, dtype=pl.Int64), default=-1, return_dtype=pl.Int64)


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
