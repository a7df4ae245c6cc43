"""Which rows may cross the door: schemas of the tables, and reading that gives a bad row its reason."""

import csv
import types
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dataframely as dy
import polars as pl

from boundary.casts import cast_column
from boundary.errors import TableError as TableError  # noqa: PLC0414 (its old address)
from boundary.ragged import encoding_fault, read_ragged

EVENT_KINDS = ("view", "cart", "purchase", "dismiss")
CATALOGUE_KINDS = ("product", "gesture")
SOURCES = ("personal", "crowd", "explore", "gesture")

TOO_LONG = "row.too_many_fields"
_OPTIONAL = {"optional": True}
_ROW = "row\x1f"


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(zoneinfo.available_timezones() - {"localtime", "Factory"}))  # neither says where


def _time(*, nullable: bool = False, optional: bool = False) -> dy.Datetime:
    return dy.Datetime(nullable=nullable, time_unit="us", time_zone="UTC", metadata=_OPTIONAL if optional else None)


def _name() -> dy.String:
    return dy.String(nullable=False, min_length=1)


class Events(dy.Schema):
    """What shoppers did; a purchase needs quantity and unit_price."""

    user_id = _name()
    item_id = _name()
    kind = dy.String(nullable=False, check=lambda kind: kind.is_in(EVENT_KINDS))
    at = _time()
    quantity = dy.Float64(nullable=True, min_exclusive=0, metadata=_OPTIONAL)
    unit_price = dy.Float64(nullable=True, min=0, metadata=_OPTIONAL)

    @dy.rule()
    def purchase_without_quantity(cls) -> pl.Expr:  # noqa: N805 (dataframely passes the schema)
        return pl.col("kind").ne_missing("purchase") | pl.col("quantity").is_not_null()

    @dy.rule()
    def purchase_without_price(cls) -> pl.Expr:  # noqa: N805 (dataframely passes the schema)
        return pl.col("kind").ne_missing("purchase") | pl.col("unit_price").is_not_null()


class Catalogue(dy.Schema):
    """What can be suggested: products, and gestures that are not for sale."""

    item_id = dy.String(primary_key=True, min_length=1)
    title = _name()
    category = dy.String(nullable=True)
    brand = dy.String(nullable=True)
    price = dy.Float64(nullable=True, min=0)
    kind = dy.String(nullable=False, check=lambda kind: kind.is_in(CATALOGUE_KINDS))
    created_at = _time()
    department = dy.String(nullable=True, metadata=_OPTIONAL)
    type = dy.String(nullable=True, metadata=_OPTIONAL)
    promoted = dy.Bool(nullable=True, metadata=_OPTIONAL)
    margin = dy.Float64(nullable=True, metadata=_OPTIONAL)
    was_price = dy.Float64(nullable=True, min=0, metadata=_OPTIONAL)
    low_30d = dy.Float64(nullable=True, min=0, metadata=_OPTIONAL)
    badge = dy.String(nullable=True, metadata=_OPTIONAL)
    badge_stock = dy.Int64(nullable=True, min=0, metadata=_OPTIONAL)
    badge_until = _time(nullable=True, optional=True)
    badge_count = dy.Int64(nullable=True, min=0, metadata=_OPTIONAL)
    replenish_days = dy.Float64(nullable=True, min_exclusive=0, metadata=_OPTIONAL)
    conditions = dy.String(nullable=True, metadata=_OPTIONAL)
    tracker = dy.Bool(nullable=True, metadata=_OPTIONAL)

    @dy.rule()
    def product_without_price(cls) -> pl.Expr:  # noqa: N805 (dataframely passes the schema)
        return pl.col("kind").ne_missing("product") | pl.col("price").is_not_null()


class Customers(dy.Schema):
    """What each shopper agreed to; a shopper without a row is a guest."""

    user_id = dy.String(primary_key=True, min_length=1)
    consent = dy.List(dy.String(), nullable=False)
    opted_out = dy.Bool(nullable=False)
    channels = dy.List(dy.String(), nullable=False)
    timezone = dy.String(nullable=False, check=lambda zone: zone.is_in(_zones()))
    since = _time()
    sensitive_optin = dy.List(dy.String(), nullable=True, metadata=_OPTIONAL)


class Exposures(dy.Schema):
    """What was shown to whom, where, and from which source."""

    user_id = _name()
    item_id = _name()
    surface = _name()
    at = _time()
    slate_id = _name()
    position = dy.Int64(nullable=False, min=0)
    source = dy.String(nullable=False, check=lambda source: source.is_in(SOURCES))


SCHEMAS: dict[str, type[dy.Schema]] = {
    "events": Events,
    "catalogue": Catalogue,
    "customers": Customers,
    "exposures": Exposures,
}

_WORDS = {
    "nullability": "missing",
    "min_length": "empty",
    "min": "too_small",
    "min_exclusive": "too_small",
    "nan": "not_a_number",
    "inf": "infinite",
    "check": "unknown",
    "primary_key": "ambiguous",
}


@dataclass(frozen=True)
class Table:
    """One table read: the kept `rows`, and the `rejects` as they came, with a `reason` column."""

    name: str
    rows: pl.DataFrame
    rejects: pl.DataFrame
    counts: dict[str, int]
    """`read` = `kept` + `rejected`, then one count a reason; a row with two reasons is in two counts."""
    ignored: tuple[str, ...] = ()
    """Columns that were found but belong to no schema, and so were left out."""


def read_table(source: str | Path | pl.DataFrame | pl.LazyFrame, table: str, *, until: int | None = None) -> Table:
    """Read one table from Parquet, CSV or a frame, and part good rows from bad ones.

    Whole-number ids become text, times become UTC microseconds (a time without a zone is UTC), lists in CSV
    are split at ';'. Of rows that are equal in every column one is kept; rows of the catalogue or of the
    customers that share an id and differ are all rejected, since none of them is known to be the true one. A row of a
    CSV file with more fields than its header is rejected, with the fields beyond in a column `surplus`.

    Args:
        source: path of a `.parquet` or `.csv` file or of a directory of Parquet files, or a polars frame.
        table: `events`, `catalogue`, `customers` or `exposures`.
        until: microseconds UTC; an event or exposure after it is rejected as ahead. None lets all times be.

    Raises:
        TableError: the source cannot be opened, is no UTF-8 text, lacks a column, or has one that cannot be cast.

    Examples:
        >>> frame = pl.DataFrame({"user_id": [7, 7], "item_id": ["a", "b"], "kind": ["view", "buy"],
        ...                       "at": ["2026-01-02T08:00", "2026-01-02T08:05Z"]})
        >>> events = read_table(frame, "events")
        >>> events.rows["user_id"].to_list(), events.rejects["reason"].to_list()
        (['7'], ['kind.unknown'])
        >>> events.counts
        {'read': 2, 'kept': 1, 'rejected': 1, 'kind.unknown': 1}
    """
    if table not in SCHEMAS:
        raise TableError(f"there is no table {table!r}: use one of {', '.join(SCHEMAS)}")
    schema = SCHEMAS[table]
    raw, longer = _open(source, table)
    columns = schema.columns()
    typed = raw.with_columns(_typed(raw, table, schema)).select(pl.col(*columns))
    unreadable = raw.select(
        (_given(name, raw.schema[name]) & typed[name].is_null()).alias(name) for name in columns if name in raw.columns
    )
    first = _first(_key(typed, unreadable, raw))
    reasons = _reasons(typed, unreadable, first, schema, until)
    kept = reasons.is_null()
    rejects = raw.with_columns(reasons.alias("reason")).filter(~kept)
    if longer is not None:
        rejects = pl.concat([rejects, longer.with_columns(reason=pl.lit(TOO_LONG))], how="diagonal")
    good = int(kept.sum())
    counts = {"read": good + rejects.height, "kept": good, "rejected": rejects.height}
    each = rejects["reason"].str.split("; ").explode().drop_nulls().value_counts().sort("reason")
    counts.update(each.iter_rows())
    return Table(
        name=table,
        rows=typed.filter(kept),
        rejects=rejects,
        counts=counts,
        ignored=tuple(name for name in raw.columns if name not in columns),
    )


def write_rejects(table: Table, path: str | Path) -> Path:
    """Write the rejected rows with their reasons to a `.csv` or `.parquet` file, whole or not at all."""
    path = Path(path)
    if path.suffix == ".parquet":
        return write_parquet_atomic(table.rejects, path)
    if path.suffix != ".csv":
        raise TableError(f"{table.name}: rejects cannot go to {path.name}: name it .csv or .parquet")
    lists = [name for name, dtype in table.rejects.schema.items() if isinstance(dtype, pl.List)]
    flat = table.rejects.with_columns(pl.col(lists).cast(pl.List(pl.String)).list.join(";"))
    return _replace(path, flat.write_csv)


def write_parquet_atomic(frame: pl.DataFrame, path: str | Path) -> Path:
    """Write a Parquet file beside its final place and move it there, so that no reader sees half a file."""
    return _replace(Path(path), frame.write_parquet)


def _replace(path: Path, write: Callable[[Path], object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _open(source: str | Path | pl.DataFrame | pl.LazyFrame, table: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Give what the source holds, and apart from it the rows that are longer than the header, if there are any."""
    try:
        if isinstance(source, pl.DataFrame):
            return source, None
        if isinstance(source, pl.LazyFrame):
            return source.collect(), None
        path = Path(source)
        if not path.exists():
            raise TableError(f"{table}: there is no file {path}: check the path")
        if path.is_dir() or path.suffix == ".parquet":
            return pl.read_parquet(path), None
        if path.name.endswith((".csv", ".csv.gz")):
            return _read_csv(path, table)
    except (pl.exceptions.PolarsError, OSError, EOFError, csv.Error) as error:
        found = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TableError(f"{table}: {source!s:.200} cannot be read ({found}): write it again") from None
    raise TableError(f"{table}: {path.name} is neither .parquet nor .csv: convert it or rename it")


def _read_csv(path: Path, table: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    try:
        frame = pl.read_csv(path, infer_schema=False)
        if not any("\0" in name for name in frame.columns):
            return frame, None
    except pl.exceptions.ComputeError as error:
        if "more fields" not in str(error) and encoding_fault(path) is None:
            raise
    fault = encoding_fault(path)
    if fault is not None:
        raise TableError(f"{table}: {path!s:.200} cannot be read as text ({fault}): save it as UTF-8")
    return read_ragged(path)


def _typed(raw: pl.DataFrame, table: str, schema: type[dy.Schema]) -> list[pl.Expr]:
    """Give every schema column of a raw frame, cast; null where a cell or an optional column is not there."""
    columns = []
    for name, column in schema.columns().items():
        if name not in raw.columns and not (column.metadata or {}).get("optional"):
            found = ", ".join(raw.columns) or "no columns"
            raise TableError(f"{table}: column {name!r} is missing (found {found}): add it or rename yours")
        dtype = raw.schema.get(name, pl.Null())
        cell = cast_column(name, dtype, column)
        if cell is None:
            mend = "give text or whole numbers" if column.dtype == pl.String else f"cast it to {column.dtype}"
            raise TableError(f"{table}: column {name!r} holds {dtype}, not {column.dtype}: {mend}")
        columns.append(cell)
    return columns


def _given(name: str, found: pl.DataType) -> pl.Expr:
    """Is there anything in a cell? Blank text is nothing."""
    cell = pl.col(name)
    return cell.is_not_null() & (cell.str.strip_chars() != "") if found == pl.String else cell.is_not_null()


def _key(typed: pl.DataFrame, unreadable: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Columns that tell two rows apart: an unreadable cell is the same as one that holds the same."""
    lists = [name for name, dtype in typed.schema.items() if isinstance(dtype, pl.List)]
    broken = [name for name in unreadable.columns if unreadable[name].any()]
    found = [raw[name].zip_with(unreadable[name], raw[name].clear(n=raw.height)) for name in broken]
    cells = [cell.alias(f"{cell.name}\x1funreadable") for cell in found]
    return typed.with_columns(pl.col(lists).list.join("\x1f")).with_columns(cells)


def _first(key: pl.DataFrame) -> pl.Series:
    """Tell the first of each set of equal rows; only rows whose hashes meet are compared."""
    meet = key.hash_rows().is_duplicated()
    first = key.filter(meet).select(pl.struct(pl.all()).is_first_distinct()).to_series()
    later = meet.arg_true().filter(~first)
    return pl.ones(key.height, pl.UInt8, eager=True).scatter(later, 0).cast(pl.Boolean)


@cache
def _numbered(schema: type[dy.Schema]) -> type[dy.Schema]:
    """Give the schema with a row number, so that a failure can be led back to its row."""
    return types.new_class(
        f"Numbered{schema.__name__}",
        (schema,),
        exec_body=lambda body: body.update({_ROW: dy.UInt32(), "__module__": __name__}),
    )


def _reasons(
    typed: pl.DataFrame, unreadable: pl.DataFrame, first: pl.Series, schema: type[dy.Schema], until: int | None
) -> pl.Series:
    """Give each row's reasons joined by '; ', null for a good row."""
    told = {f"{name}.unreadable": unreadable[name] for name in unreadable.columns if unreadable[name].any()}
    told["duplicate"] = ~first
    if until is not None and "at" in typed.columns:
        told["at.ahead"] = (typed["at"].dt.timestamp("us") > until).fill_null(value=False)
    rows = typed.with_row_index(_ROW).filter(first)
    details = _numbered(schema).filter(rows).failure.details()
    failed = details.select(pl.col(details.columns[len(rows.columns) :]) == "invalid")
    for rule, found in zip(failed.columns, failed.select(pl.all().any()).row(0), strict=True):
        if not found:
            continue
        at = details[_ROW].filter(failed[rule])
        broken = pl.zeros(typed.height, pl.UInt8, eager=True).scatter(at, 1).cast(pl.Boolean)
        name, _, what = rule.partition("|")
        if what == "nullability" and name in unreadable.columns:
            broken &= ~unreadable[name]
        if name == "primary_key":
            name, what = schema.primary_key()[0], name
        told[f"{name}.{_WORDS[what]}" if what else name] = broken
    each = [pl.when(mask).then(pl.lit(reason)).alias(reason) for reason, mask in told.items()]
    joined = typed.select(each).select(pl.concat_str(pl.all(), separator="; ", ignore_nulls=True))
    return joined.to_series().replace("", None)
