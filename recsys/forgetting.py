"""Who was forgotten, told to nobody: keyed hashes with a time, so that old events stay out of the next fit."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from boundary.words import MICROSECONDS_A_DAY
from recsys.privacy import keyed_hash

if TYPE_CHECKING:
    import polars as pl

FILE = "forgotten.json"


class ForgottenError(ValueError):
    """What is kept of those who were forgotten, or of where their slates lie, cannot be read."""


class Mark(NamedTuple):
    """That somebody was forgotten.

    Attributes:
        at: microseconds UTC; what they did before is not to be used again.
        retrain_by: microseconds UTC until when the factors of items must be learned without them; None: they are.
    """

    at: int
    retrain_by: int | None


@dataclass(frozen=True)
class Forgotten:
    """The marks of all who were forgotten, by key and keyed hash; without an id nobody can be found in it.

    Example:
        >>> gone = Forgotten().adding("1228", Mark(at=5, retrain_by=9))
        >>> gone.find("1228"), gone.find("1229"), gone.retrain_by
        (Mark(at=5, retrain_by=9), None, 9)
        >>> gone.retrained().find("1228")
        Mark(at=5, retrain_by=None)
    """

    lists: Mapping[str, Mapping[str, Mark]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(marks) for marks in self.lists.values())

    @property
    def retrain_by(self) -> int | None:
        """When the next fit is due, microseconds UTC; None where nobody waits for one."""
        return min((mark.retrain_by for mark in self._marks() if mark.retrain_by is not None), default=None)

    @property
    def waiting(self) -> int:
        """How many wait for a fit without them."""
        return sum(mark.retrain_by is not None for mark in self._marks())

    def find(self, user_id: str) -> Mark | None:
        """Return the shopper's last mark."""
        found = [
            mark
            for key, marks in self.lists.items()
            if (mark := marks.get(keyed_hash(user_id, bytes.fromhex(key)))) is not None
        ]
        return max(found, key=lambda mark: mark.at, default=None)

    def adding(self, user_id: str, mark: Mark) -> Forgotten:
        """Return the marks with one more; an older one of the same shopper gives way, its deadline stays."""
        key = next(iter(self.lists), None) or secrets.token_hex(32)
        name, marks = keyed_hash(user_id, bytes.fromhex(key)), dict(self.lists.get(key, {}))
        marks[name] = _later(marks.get(name), mark)
        return Forgotten({**self.lists, key: marks})

    def retrained(self) -> Forgotten:
        """Return the marks as they are after a fit that left everybody's old events out."""
        return Forgotten(
            {key: {name: Mark(mark.at, None) for name, mark in marks.items()} for key, marks in self.lists.items()}
        )

    def awaiting(self, user_ids: Iterable[str], *, days: float) -> Forgotten:
        """Return the marks, with a deadline so many days after the moment where one of the users has none."""
        lists = {key: dict(marks) for key, marks in self.lists.items()}
        for user in self.among(user_ids):
            for key, marks in lists.items():
                mark = marks.get(name := keyed_hash(user, bytes.fromhex(key)))
                if mark is not None and mark.retrain_by is None:
                    marks[name] = Mark(mark.at, mark.at + int(days * MICROSECONDS_A_DAY))
        return Forgotten(lists)

    def newer_than(self, other: Forgotten) -> Forgotten:
        """Return the marks that the other list does not know, or knows of an earlier time only."""
        kept = {
            key: {
                name: mark
                for name, mark in marks.items()
                if name not in other.lists.get(key, {}) or other.lists[key][name].at < mark.at
            }
            for key, marks in self.lists.items()
        }
        return Forgotten({key: marks for key, marks in kept.items() if marks})

    def joined(self, newer: Forgotten) -> Forgotten:
        """Return the marks of both lists."""
        lists = {key: dict(marks) for key, marks in self.lists.items()}
        for key, marks in newer.lists.items():
            mine = lists.setdefault(key, {})
            for name, mark in marks.items():
                mine[name] = _later(mine.get(name), mark)
        return Forgotten(lists)

    def among(self, user_ids: Iterable[str]) -> list[str]:
        """Return those of the ids that have a mark."""
        return [user for user in user_ids if user and self.find(user) is not None] if len(self) else []

    def leave_out(
        self, events: pl.DataFrame, customers: pl.DataFrame | None
    ) -> tuple[pl.DataFrame, pl.DataFrame | None, int]:
        """Return what a fit may use, and how many events it must not: all from before somebody was forgotten.

        A customer row stays out until its ``since`` lies after that moment: who comes back, joins anew.
        """
        import polars as pl

        if not len(self):
            return events, customers, 0
        people: set[str] = set(events["user_id"].unique().to_list())
        if customers is not None:
            people.update(customers["user_id"].to_list())
        found = {user: mark.at for user in sorted(people) if (mark := self.find(user)) is not None}
        if not found:
            return events, customers, 0
        moments = pl.DataFrame(
            {"user_id": list(found), "forgotten_at": list(found.values())},
            schema={"user_id": pl.String, "forgotten_at": pl.Int64},
        )

        def kept(frame: pl.DataFrame, time: str) -> pl.DataFrame:
            marked = frame.join(moments, on="user_id", how="left", maintain_order="left")
            after = pl.col(time).dt.timestamp("us") > pl.col("forgotten_at")
            return marked.filter(pl.col("forgotten_at").is_null() | after.fill_null(False)).drop("forgotten_at")

        used = kept(events, "at")
        return used, None if customers is None else kept(customers, "since"), len(events) - len(used)

    def told(self) -> dict[str, Any]:
        """Return what may be told: how many, how many wait for a fit, and until when, microseconds UTC."""
        return {"count": len(self), "waiting": self.waiting, "retrain_by": self.retrain_by}

    def save(self, folder: Path) -> None:
        """Write the marks into a directory."""
        lists = [
            {"key": key, "marks": {name: list(mark) for name, mark in marks.items()}}
            for key, marks in self.lists.items()
        ]
        draft = folder / f".{FILE}.part"
        draft.write_text(json.dumps(lists, indent=1), encoding="utf-8")
        draft.replace(folder / FILE)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read the marks of a bundle's directory; none where there is no such file.

        Raises:
            ForgottenError: the file holds something else.
        """
        file = Path(folder) / FILE
        if not file.exists():
            return cls()
        try:
            lists = json.loads(file.read_text(encoding="utf-8"))
            return cls({one["key"]: {name: Mark(*mark) for name, mark in one["marks"].items()} for one in lists})
        except (KeyError, TypeError, ValueError) as error:
            raise ForgottenError(f"{file} is damaged ({error}); restore it: it keeps the forgotten out") from error

    def _marks(self) -> Iterable[Mark]:
        return (mark for marks in self.lists.values() for mark in marks.values())


def _later(old: Mark | None, new: Mark) -> Mark:
    """Join two marks of one shopper: the later moment, the earlier deadline."""
    if old is None:
        return new
    deadlines = [mark.retrain_by for mark in (old, new) if mark.retrain_by is not None]
    return Mark(max(old.at, new.at), min(deadlines, default=None))


def scrub(places: Sequence[str | Path], user_id: str) -> int:
    """Remove a shopper's rows from Parquet files, or from all below a directory; return how many rows.

    Files without a column ``user_id`` stay as they are. One that is gone by now holds nobody.

    Raises:
        ForgottenError: a file cannot be read or written; the others are done.
    """
    import polars as pl

    from boundary.tables import write_parquet_atomic

    removed, broken = 0, []
    for place in map(Path, places):
        for file in sorted(place.rglob("*.parquet")) if place.is_dir() else [place] if place.exists() else []:
            try:
                if "user_id" not in pl.read_parquet_schema(file):
                    continue
                rows = pl.read_parquet(file)
                left = rows.filter(pl.col("user_id").cast(pl.String).ne_missing(user_id))
                if len(left) < len(rows):
                    write_parquet_atomic(left, file)
                    removed += len(rows) - len(left)
            except FileNotFoundError:
                continue
            except (OSError, pl.exceptions.PolarsError) as error:
                broken.append(f"{file} ({error})")
    if broken:
        raise ForgottenError(
            f"{'; '.join(broken)}; mend or remove {'it' if len(broken) == 1 else 'them'}, and forget again"
        )
    return removed
