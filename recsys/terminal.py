"""What commands take alike, and how they read a moment, a ledger, settings and a place to write to."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from recsys.engine import Engine, EngineError


def seed_within(seed: int) -> int:
    """Return a seed that everybody who draws takes."""
    from recsys.models.base import LARGEST_SEED, require

    require("seed", seed, at_least=0, at_most=LARGEST_SEED)
    return seed


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", callback=seed_within)]
PolicyName = Annotated[str, typer.Option("--policy", help="default, gentle, strict, or a TOML file.")]
LedgerUrl = Annotated[
    str,
    typer.Option(
        "--ledger", help="sqlite:///file.db, redis://host:6379/0, or none; default: ledger.db beside the bundle."
    ),
]
BundleAt = Annotated[Path, typer.Option("--bundle", "-b", help="Folder that `cornerstore fit` wrote.")]
Now = Annotated[
    str | None,
    typer.Option(help="Moment to act at, ISO 8601 (UTC); default: the last event that is not ahead of the clock."),
]
Slots = Annotated[int, typer.Option("-n", help="Slots.")]
Surface = Annotated[str, typer.Option(help="home, product, email, push, ...")]
Intent = Annotated[str, typer.Option(help="find, discover, deal, research or browse.")]


def refused(line: str) -> EngineError:
    """Return the error that says what an option must be."""
    from recsys.engine import EngineError

    return EngineError(line)


def ready_for(out: Path) -> None:
    """Make the folder in which a bundle is to stand; better now than after an hour of fitting.

    Raises:
        OSError: it cannot be made or written into, or a file stands in the place.
        BundleError: there are other files than a bundle's, which would be replaced.
    """
    from recsys.bundle import check_place

    if out.exists() and not out.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(out))
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out.parent))


def ledger_of(bundle: Path, given: str) -> str | None:
    """Return the ledger's address that is meant: none, one that is named, or the one beside the bundle."""
    from recsys.reopening import ledger_beside

    return {"": ledger_beside(bundle), "none": None}.get(given, given)


def settings_of(given: list[str]) -> dict[str, Any]:
    """Read a model's settings from ``name=value``; a value that is no JSON is a word."""
    settings: dict[str, Any] = {}
    for one in given:
        name, found, value = one.partition("=")
        if not found:
            raise refused(f"--setting must be name=value but got {one!r}; write it so")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def moment_of(now: str | None, engine: Engine) -> int:
    """Return the moment to act at, microseconds UTC: the given one, or that of the bundle's last event."""
    return int(engine.bundle.facts["fitted_for"]) if now is None else read_moment(now)


def read_moment(now: str) -> int:
    """Read a moment, ISO 8601, as microseconds UTC."""
    try:
        moment = datetime.fromisoformat(now)
    except ValueError as error:
        raise refused(f"--now must be a time like 2026-01-31T12:00 but got {now!r}; write it so") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
