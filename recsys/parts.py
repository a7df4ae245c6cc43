"""Which parts must a bundle's directory have, and how is a broken one told?"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.forgetting import FILE
from recsys.models import Moments

Part = TypeVar("Part")
BLINDFOLD = "blindfold.npz"
BROKEN = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile,
    pl.exceptions.PolarsError,
)  # fmt: skip


def parts_in(folder: Path) -> list[str]:
    """Return the files below a folder, as a manifest lists them."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def missing_of(folder: Path, manifest: dict[str, Any]) -> str | None:
    """Say which parts a bundle cannot be without but lacks, and the mend; None where all are there.

    A manifest that lists none must have those that would not be missed in reading: the marks, and a blindfold unless
    its facts say that there is none.
    """
    if "parts" in manifest:
        needed = list(manifest["parts"])
    else:
        needed = [FILE] if manifest["facts"]["blindfold"] is None else [FILE, BLINDFOLD]
    missing = [part for part in needed if not (folder / part).is_file()]
    if not missing:
        return None
    mend = "restore it: it keeps the forgotten out" if FILE in missing else "fit again or restore it"
    return f"{folder} lacks {', '.join(missing)}; {mend}"


def read_part(path: Path, read: Callable[[Path], Part]) -> Part:
    """Read a part; where that cannot be done raise ``ValueError`` with its name."""
    try:
        return read(path)
    except BROKEN as error:
        raise ValueError(f"{path.name}: {line_of(error)}") from error


def line_of(error: Exception) -> str:
    r"""Return what an error says, in one line.

    Example:
        >>> line_of(ValueError("two\nlines")), line_of(EOFError())
        ('two lines', 'EOFError')
    """
    return " ".join(str(error).split()) or type(error).__name__


def read_moments(path: Path) -> Moments:
    """Read mean and std of an ``.npz`` file."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return Moments(kept["mean"], kept["std"])


def check_within(name: str, rows: npt.NDArray[Any], size: int, *, least: int = 0) -> None:
    """Refuse rows of which one is outside ``range(least, size)``; nothing is copied.

    Example:
        >>> check_within("crowd", np.array([3, 80]), 80)
        Traceback (most recent call last):
        ValueError: crowd must be from 0 to 79 but is from 3 to 80
    """
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a list of whole numbers")
    if len(rows) and not (least <= int(rows.min()) and int(rows.max()) < size):
        raise ValueError(f"{name} must be from {least} to {size - 1} but is from {rows.min()} to {rows.max()}")
