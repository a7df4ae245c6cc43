"""Which groups would an attacker like to place a household in? Declared in a small TOML file beside the data."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from experiments.visits import LabError

Doubles = npt.NDArray[np.float64]


def read_groups(path: Path, people: pl.DataFrame, user_ids: Sequence[str]) -> tuple[list[str], Doubles]:
    """Return the groups' names and who belongs, (U, G): 1, 0, or NaN where it is not known of somebody.

    Args:
        path: TOML with a table for each group: ``column`` and the ``values`` that make a member.
        people: user_id and the columns, whatever is known.
        user_ids: (U,).

    Raises:
        LabError: the file cannot be read, says something else, or names a column that is not there.

    Example:
        >>> import tempfile
        >>> people = pl.DataFrame({"user_id": ["a", "b"], "age": ["19-24", None]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "groups.toml"
        ...     _ = file.write_text('[groups."under 25"]' + chr(10) + 'column = "age"' + chr(10) + 'values = ["19-24"]')
        ...     read_groups(file, people, ["b", "a", "c"])[1].ravel().tolist()
        [nan, 1.0, nan]
    """
    try:
        groups = tomllib.loads(path.read_text(encoding="utf-8")).get("groups")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{path} cannot be read: {error}") from error
    if not isinstance(groups, dict):
        raise LabError(f"{path}: must have a table `groups` with one for each group")
    known = pl.DataFrame({"user_id": list(user_ids)}, schema={"user_id": pl.String}).join(
        people.with_columns(pl.col("user_id").cast(pl.String)).unique("user_id", keep="first"),
        on="user_id", how="left", maintain_order="left",
    )  # fmt: skip
    columns = []
    for name, terms in groups.items():
        if not isinstance(terms, dict) or set(terms) != {"column", "values"} or not isinstance(terms["values"], list):
            raise LabError(f"{path}: groups.{name}: must have `column` and a list `values` but got {terms}")
        if terms["column"] not in known.columns:
            raise LabError(f"{path}: groups.{name}: there is no column {terms['column']!r}")
        told = known[terms["column"]].cast(pl.String)
        member = told.is_in([str(value) for value in terms["values"]]).cast(pl.Float64)
        columns.append(pl.Series(np.where(told.is_null().to_numpy(), np.nan, member.fill_null(0.0).to_numpy())))
    table = np.stack([column.to_numpy() for column in columns], axis=1) if columns else np.zeros((len(user_ids), 0))
    return list(groups), table.astype(np.float64)
