"""What commands take alike, how they show what they are doing, and how they read a moment, a ledger and settings."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recsys.engine import Engine

console = Console(highlight=False, soft_wrap=True)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
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


@contextmanager
def steps(title: str, on: Console = console) -> Iterator[Callable[[str, float], None]]:
    """Show a bar that is told what is being done and how much of it is done."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<54.54}"),
        BarColumn(bar_width=12),
        TimeElapsedColumn(),
        console=on,
    ) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda what, share: bar.update(task, description=f"{title}: {what}", completed=share)
        bar.update(task, description=title, completed=1.0)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar that counts, with the time that remains."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description:<30.30}"), BarColumn(bar_width=12), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
            raise typer.BadParameter(f"--setting must be name=value but got {one!r}")
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
        from recsys.engine import EngineError

        raise EngineError(f"--now must be a time like 2026-01-31T12:00 but got {now!r}; write it so") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
