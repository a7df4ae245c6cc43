"""What lies in a batch's directory: its order, lists of shoppers and parts; who is forgotten leaves all of them."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from boundary.tables import write_parquet_atomic

if TYPE_CHECKING:
    from recsys.forgetting import Forgotten

MANIFEST = "manifest.json"


class BatchError(RuntimeError):
    """A batch cannot start or go on."""


def claim(
    out: Path, todo: dict[str, Any], user_ids: Sequence[str], *, forgotten: Forgotten, resume: bool
) -> list[list[str]]:
    """Begin a batch in a directory, or find the one to go on with; return its blocks of shoppers.

    The lists lie beside the slates, where forgetting finds them: a block keeps its number when somebody leaves it.
    """
    plan = out / "order.json"
    for folder in ("users", "slates", "withheld", "counts", "plan"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    if not plan.exists():
        size = int(todo["order"]["block"])
        blocks = [list(user_ids[start : start + size]) for start in range(0, len(user_ids), size)]
        for number, users in enumerate(blocks):
            frame = pl.DataFrame({"user_id": pl.Series(users, dtype=pl.String)})
            write_parquet_atomic(frame, out / "users" / f"part-{number:06}.parquet")
        write_json(plan, todo | {"batch": uuid.uuid4().hex, "blocks": len(blocks)})
        return blocks
    if not resume:
        raise BatchError(f"{out} already holds a batch; add --resume to go on with it, or choose another folder")
    first = begun(out)
    blocks = [listed(out, number) for number in range(first.get("blocks", 0))]
    there = {user for users in blocks for user in users}
    asked = [user for user in user_ids if user in there or forgotten.find(user) is None]
    same = asked == [user for users in blocks for user in users]
    if todo | {name: first.get(name) for name in ("batch", "blocks")} != first or not same:
        raise BatchError(
            f"{out} holds a batch of another order, bundle, policy or list of shoppers; choose another folder"
        )
    return blocks


def counts_file(out: Path, number: int) -> Path:
    """Return the file that says that a block is done."""
    return out / "counts" / f"part-{number:06}.json"


def begun(out: Path) -> dict[str, Any]:
    """Return what a batch was begun as."""
    told: dict[str, Any] = json.loads((out / "order.json").read_text(encoding="utf-8"))
    return told


def totals(out: Path) -> dict[str, Any]:
    """Add up what the parts of a batch counted."""
    sums: dict[str, Any] = {"candidates": 0, "shown": 0, "beyond": 0, "scored": 0, "moved_on": 0}
    tallies: dict[str, Counter[str]] = {name: Counter() for name in ("withheld", "shadow", "sources", "beside")}
    for part in _parts(out):
        sums["scored"] += part["users"]
        for key in ("candidates", "shown", "beyond", "moved_on"):
            sums[key] += part.get(key, 0)
        for key, tally in tallies.items():
            tally.update(part.get(key, {}))
    return sums | {key: dict(tally.most_common()) for key, tally in tallies.items()}


def _parts(out: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((out / "counts").glob("part-*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that appears whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(json.dumps(content, indent=2), encoding="utf-8")
    draft.replace(path)


def listed(out: Path, number: int) -> list[str]:
    """Return the shoppers of a block, without who was forgotten since the batch began."""
    return pl.read_parquet(out / "users" / f"part-{number:06}.parquet")["user_id"].to_list()


def write_part(rows: pl.DataFrame, out: Path, folder: str, number: int) -> pl.DataFrame:
    """Write rows of a block, and return them; who is not listed any more when they lie there is taken out again.

    Forgetting clears the lists first and the rest after them, so nobody slips between the two.
    """
    file = out / folder / f"part-{number:06}.parquet"
    write_parquet_atomic(rows, file)
    left = rows.filter(pl.col("user_id").is_in(listed(out, number)))
    if len(left) < len(rows):
        write_parquet_atomic(left, file)
    return left


def merge_parts(folder: Path, target: Path) -> None:
    """Join a batch's parts, in order, into one Parquet file."""
    draft = target.with_name(f".{target.name}.part")
    pl.scan_parquet(sorted(folder.glob("part-*.parquet"))).sink_parquet(draft)
    draft.replace(target)
