"""What does a CSV file hold that is no plain table: rows with a field too many, or text that is not UTF-8?"""

import csv
import gzip
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import polars as pl

SURPLUS = "surplus"
"""The column of rejects that keeps the fields for which there is no column, joined by commas."""

_AT_ONCE = 100_000  # rows
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def encoding_fault(path: Path) -> str | None:
    """Say where a file is not UTF-8 text; None where it is."""
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            found = _MARKS.get(line[:2]) if number == 1 else None
            if found is not None or b"\0" in line:
                return f"line {number} is {found or 'UTF-16 or no text at all'}"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"line {number} is in another encoding"
    return None


def read_ragged(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a CSV file row by row as text: the rows that fit its header, and those with more fields, these with ``SURPLUS``.

    Slower than polars, which refuses such a file whole; else it reads alike: a row that is too short ends in nulls.

    Raises:
        csv.Error: a cell is longer than 128 kB.
    """
    with _opened(path) as raw:
        rows = csv.reader(line.decode("utf-8") for line in raw)
        header = _names(next(rows))
        fitting, longer = [_frame([], header)], [_frame([], [*header, SURPLUS])]
        while block := list(islice(rows, _AT_ONCE)):
            width = len(header)
            fitting.append(_frame((row for row in block if len(row) <= width), header))
            beyond = ([*row[:width], ",".join(row[width:])] for row in block if len(row) > width)
            longer.append(_frame(beyond, [*header, SURPLUS]))
    return pl.concat(fitting), pl.concat(longer)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _names(header: list[str]) -> list[str]:
    """Tell columns of one name apart, as polars does."""
    names = [SURPLUS]
    for place, cell in enumerate(header):
        name = plain = cell if place else cell.removeprefix("\ufeff")
        again = 0
        while name in names:
            name, again = f"{plain}_duplicated_{again}", again + 1
        names.append(name)
    return names[1:]


def _frame(rows: Iterable[list[str]], names: list[str]) -> pl.DataFrame:
    full: Iterator[list[str | None]] = (
        [cell or None for cell in row] + [None] * (len(names) - len(row)) for row in rows
    )
    return pl.DataFrame(list(full), schema=dict.fromkeys(names, pl.String), orient="row")
