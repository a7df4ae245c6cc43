"""Which models does an evaluation judge, with which settings? Read from a TOML file, one section a split."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.split import SplitError
from recsys.models import make_model

FILE = Path(__file__).parent / "entries.toml"
ROLES = ("baseline", "candidate", "chosen")


@dataclass(frozen=True)
class Entry:
    """One line of an evaluation.

    Args:
        label: the name it is told under; no dots.
        model: name of the model.
        settings: its settings.
        half_life_days: by which its events weigh; None = age does not matter.
        role: a ``baseline`` to beat, the ``chosen`` one whose figures stand for the split, or a ``candidate``.

    Raises:
        SplitError: a label with a dot, or a role that is none.
        ModelError: there is no such model or setting.

    Example:
        >>> Entry("plain", "als", {"factors": 8}).role
        'candidate'
    """

    label: str
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    half_life_days: float | None = None
    role: str = "candidate"

    def __post_init__(self) -> None:
        if not self.label or "." in self.label:
            raise SplitError(f"`label` must be a word without dots but got {self.label!r}")
        if self.role not in ROLES:
            raise SplitError(f"`role` of {self.label} must be one of {', '.join(ROLES)} but got {self.role!r}")
        make_model(self.model, **self.settings)


def read_entries(split: str, *, path: Path = FILE, labels: Sequence[str] = ()) -> list[Entry]:
    """Return the entries of a split, or those of them that are named.

    Args:
        split: the section's name, such as ``temporal``.
        path: a TOML file of ``[[temporal]]`` tables: label, model, and where wanted settings, half_life_days, role.
        labels: only these; () is all.

    Raises:
        SplitError: no such file or section, a table that is no entry, or a label the section does not hold.

    Example:
        >>> [entry.label for entry in read_entries("temporal", labels=["popular", "bm25"])]
        ['popular', 'bm25']
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SplitError(f"{path} cannot be read ({error}); give a TOML file of entries") from error
    if not tables.get(split):
        raise SplitError(f"{path} holds no [[{split}]]; it holds {', '.join(tables) or 'nothing'}")
    try:
        entries = {table["label"]: Entry(**table) for table in tables[split]}
    except (TypeError, KeyError) as error:
        raise SplitError(f"{path}, [[{split}]]: an entry needs label and model, and has no {error}") from error
    unknown = [label for label in labels if label not in entries]
    if unknown:
        raise SplitError(f"`models` must be among {', '.join(entries)} but got {', '.join(unknown)}")
    return [entries[label] for label in labels or entries]
