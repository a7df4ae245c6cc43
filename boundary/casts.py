"""How a column as a shop keeps it becomes the type its schema asks for; a cell that cannot becomes null."""

import dataframely as dy
import polars as pl

_LISTS = (pl.List(pl.String), pl.List(pl.Null), pl.List(pl.Categorical), pl.List(pl.Int64))


def cast_column(name: str, found: pl.DataType, column: dy.Column) -> pl.Expr | None:
    """Give the expression that turns a column of type `found` into the schema's, or None if nothing can.

    Text, whole numbers and categories become text; text and numbers become numbers; times become UTC
    microseconds (without a zone: UTC); text is split at ';' into a list. A cell that cannot be read is null.

    Examples:
        >>> frame = pl.DataFrame({"at": ["2026-01-02T10:00+02:00", "2026-01-02", "soon"]})
        >>> cell = cast_column("at", pl.String(), dy.Datetime(time_unit="us", time_zone="UTC"))
        >>> frame.select(cell)["at"].dt.to_string("%FT%T%z").to_list()
        ['2026-01-02T08:00:00+0000', '2026-01-02T00:00:00+0000', None]
    """
    if found == pl.Null:
        return pl.lit(None, dtype=column.dtype).alias(name)
    text = isinstance(found, (pl.String, pl.Categorical, pl.Enum))
    cell = pl.col(name).cast(pl.String).str.strip_chars() if text else pl.col(name)
    match column:
        case dy.String() if text or found.is_integer():
            typed = pl.col(name).cast(pl.String)
            typed = pl.when(cell.cast(pl.String) != "").then(typed) if column.nullable else typed
        case dy.Float64() if text or found.is_numeric():
            typed = cell.cast(pl.Float64, strict=False)
        case dy.Int64() if text or found.is_integer() or found.is_float():
            typed = _whole(cell, floating=found.is_float())
        case dy.Bool() if text or found.is_integer() or found == pl.Boolean:
            typed = cell if found == pl.Boolean else _truth(cell)
        case dy.Datetime() if text or found == pl.Date or isinstance(found, pl.Datetime):
            typed = _read_time(cell) if text else _to_utc(cell, found)
        case dy.List() if text or found in _LISTS:
            typed = _words(cell, text=text)
        case _:
            return None
    return typed.alias(name)


def _whole(cell: pl.Expr, *, floating: bool) -> pl.Expr:
    return (pl.when(cell == cell.floor()).then(cell) if floating else cell).cast(pl.Int64, strict=False)


def _truth(cell: pl.Expr) -> pl.Expr:
    return (
        cell.cast(pl.String)
        .str.to_lowercase()
        .replace_strict(
            {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False},
            default=None,
            return_dtype=pl.Boolean,
        )
    )


def _to_utc(cell: pl.Expr, found: pl.DataType) -> pl.Expr:
    zone = found.time_zone if isinstance(found, pl.Datetime) else None
    at = cell.cast(pl.Datetime("us", zone), strict=False)
    return at.dt.convert_time_zone("UTC") if zone else at.dt.replace_time_zone("UTC")


def _read_time(text: pl.Expr) -> pl.Expr:
    """Read ISO 8601 text: a date, or a date and a time; with an offset, 'Z', or neither (then UTC)."""
    parts = text.str.extract_groups(
        r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?\s?(Z|[+-]\d{2}:?\d{2})?)?$"
    )
    part = parts.struct.field
    whole = pl.concat_str(
        part("1"),
        pl.lit("T"),
        part("2").fill_null("00:00"),
        part("3").fill_null(":00"),
        part("4").replace("Z", "+00:00").fill_null("+00:00"),
    )
    read = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return read.dt.convert_time_zone("UTC")


def _words(cell: pl.Expr, *, text: bool) -> pl.Expr:
    """Give the sorted, distinct, non-empty words of a list; in text an empty cell is an empty list."""
    listed = cell.fill_null("").str.split(";") if text else cell.cast(pl.List(pl.String))
    each = pl.element().str.strip_chars()
    return listed.list.eval(each.filter(each.str.len_chars() > 0).unique().sort())
