"""What does a bundle's directory hold of single shoppers, and how does one of them leave it?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.history import History
from recsys.forgetting import FILE, Forgotten, ForgottenError, Mark
from recsys.swap import drafted, link_tree, locked

HISTORY = ("offsets", "item_row", "kind", "at", "unit_price", "quantity")
MANIFEST, USERS, CUSTOMERS = "bundle.json", "users.parquet", "customers.parquet"
COPIES = "copies.json"  # where batches left slates with ids in them
COPIED = ("users", "slates", "withheld", "plan", "slates.parquet", "withheld.parquet")  # in a batch's folder
NO_EVENTS = pl.DataFrame(schema={"user_id": pl.String, "at": pl.Datetime("us", "UTC")})
PERSONAL = frozenset({MANIFEST, USERS, CUSTOMERS, FILE, *(f"history.{name}.npy" for name in HISTORY)})


def copies_of(path: str | Path) -> list[str]:
    """Return the files and folders in which batches of a bundle left slates, there or not.

    Raises:
        ForgottenError: the list of them is damaged.
    """
    file = Path(path) / COPIES
    if not file.exists():
        return []
    try:
        return [str(place) for place in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise ForgottenError(
            f"{file} is damaged ({error}); write into it where batches left slates, as JSON"
        ) from error


def marks_of(path: str | Path) -> Forgotten:
    """Return the marks of all who were forgotten in a bundle's directory; none where there is no bundle.

    Raises:
        ForgottenError: the bundle there has lost its marks, or they are damaged.
    """
    folder = Path(path)
    if (folder / MANIFEST).exists() and not (folder / FILE).exists():
        raise ForgottenError(f"{folder / FILE} is missing; restore it: it keeps the forgotten out")
    return Forgotten.load(folder)


def note_copies(path: Path, folder: Path) -> None:
    """Note that a batch leaves slates in a folder, so that forgetting finds them there."""
    with locked(path):
        copies = copies_of(path)
        places = [str(folder.absolute() / name) for name in COPIED]
        if not set(places) <= set(copies):
            write_copies(path, list(dict.fromkeys([*copies, *places])))


def write_copies(path: Path, copies: list[str]) -> None:
    draft = path / f".{COPIES}.part"
    draft.write_text(json.dumps(copies, indent=1), encoding="utf-8")
    draft.replace(path / COPIES)


def write_users(path: Path, user_ids: Sequence[str]) -> None:
    pl.DataFrame({"user_id": pl.Series(list(user_ids), dtype=pl.String)}).write_parquet(path / USERS)


def people_of(path: Path) -> dict[str, Any]:
    """Read all of a bundle that is about single shoppers."""
    customers = path / CUSTOMERS
    return {
        "customers_table": pl.read_parquet(customers) if customers.exists() else None,
        "user_ids": pl.read_parquet(path / USERS)["user_id"].to_list(),
        "history": _history(path),
        "forgotten": marks_of(path),
    }


def _history(path: Path) -> History:
    return History(**{name: mapped(path / f"history.{name}.npy") for name in HISTORY})


def forget_on_disk(path: Path, user_id: str, mark: Mark, *, known: bool) -> int:
    """Replace the directory by one without the shopper; return the number of events that are gone.

    ``known`` says that somebody has taken up events of theirs that are not on disk yet: a fit without them is due.
    """
    users = pl.read_parquet(path / USERS)["user_id"].to_list()
    customers = pl.read_parquet(path / CUSTOMERS) if (path / CUSTOMERS).exists() else None
    joined = customers is not None and bool((customers["user_id"] == user_id).any())
    rows = [row for row, user in enumerate(users) if user == user_id]
    forgotten = marks_of(path).adding(user_id, mark if rows or known else Mark(mark.at, None))
    if not rows and not joined:
        forgotten.save(path)
        return 0
    history = _history(path)
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    with drafted(path) as draft:
        link_tree(path, draft, skip=PERSONAL)
        left_users = ["" if user == user_id else user for user in users]
        write_users(draft, left_users)
        if customers is not None:
            customers.filter(pl.col("user_id") != user_id).write_parquet(draft / CUSTOMERS)
        left = _save_cut(draft, history, rows)
        forgotten.save(draft)
        manifest["facts"] |= counts_of(left_users, left) | {"forgotten": forgotten.told()}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    return len(history.at) - len(left.at)


def without(
    user_ids: Sequence[str], history: History, customers: pl.DataFrame | None, missed: Forgotten
) -> dict[str, Any]:
    """Return what is left of shoppers without those whom the marks are of; their rows stay, empty."""
    gone = set(missed.among(user_ids))
    if customers is not None:
        gone.update(missed.among(customers["user_id"].to_list()))
        customers = customers.filter(~pl.col("user_id").is_in(sorted(gone)))
    kept = np.ones(len(history.at), bool)
    for row, user in enumerate(user_ids):
        if user in gone:
            kept[history.offsets[row] : history.offsets[row + 1]] = False
    left = history if kept.all() else history.only(kept)
    return _people(["" if user in gone else user for user in user_ids], left, customers)


def without_past(
    user_ids: Sequence[str], history: History, customers: pl.DataFrame | None, missed: Forgotten
) -> dict[str, Any]:
    """Return what is left of shoppers without what they did before their marks; who came back stays."""
    ends = {row: mark.at for row, user in enumerate(user_ids) if user and (mark := missed.find(user)) is not None}
    later = np.ones(len(history.at), bool)
    for row, moment in ends.items():
        part = slice(int(history.offsets[row]), int(history.offsets[row + 1]))
        later[part] = history.at[part] > moment
    left = history.only(later)
    _, customers, _ = missed.leave_out(NO_EVENTS, customers)
    joined = set() if customers is None else set(customers["user_id"].to_list())
    back = np.diff(left.offsets) > 0
    gone = {row for row in ends if not back[row] and user_ids[row] not in joined}
    return _people(["" if row in gone else user for row, user in enumerate(user_ids)], left, customers)


def _people(user_ids: list[str], history: History, customers: pl.DataFrame | None) -> dict[str, Any]:
    return {"user_ids": user_ids, "history": history, "customers_table": customers}


def counts_of(user_ids: Sequence[str], history: History) -> dict[str, int]:
    return {"users": sum(map(bool, user_ids)), "events": len(history.at)}


def _save_cut(folder: Path, history: History, rows: Sequence[int]) -> History:
    """Write the history without the events of some rows, piece by piece, and return it mapped."""
    starts, stops = (history.offsets[np.asarray(rows, np.int64) + more] for more in (0, 1))
    offsets = history.offsets.copy()
    for row, width in zip(rows, stops - starts, strict=True):
        offsets[row + 1 :] -= width
    np.save(folder / "history.offsets.npy", offsets, allow_pickle=False)
    pieces = list(zip([0, *stops], [*starts, len(history.at)], strict=True))
    for name in HISTORY[1:]:
        array = getattr(history, name)
        with (folder / f"history.{name}.npy").open("wb") as file:
            about = {"descr": array.dtype.str, "fortran_order": False, "shape": (int(offsets[-1]),)}
            np.lib.format.write_array_header_1_0(file, about)
            for start, stop in pieces:
                array[start:stop].tofile(file)
    return _history(folder)


def mapped(file: Path) -> npt.NDArray[Any]:
    """Map a file privately: never written back, yet a plain array to the compiler."""
    loaded: npt.NDArray[Any] = np.load(file, mmap_mode="c", allow_pickle=False)
    return loaded.view(np.ndarray)
