"""How a command shows what it is doing, and how it ends where somebody can mend something."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

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
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)  # data are printed as they stand


@contextmanager
def steps(title: str, on: Console = console) -> Iterator[Callable[[str, float], None]]:
    """Show a bar that is told what is being done and how much of it is done."""
    with (
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<54.54}", markup=False),
            BarColumn(bar_width=12),
            TimeElapsedColumn(),
            console=on,
        ) as bar,
        _gone_on_error(bar),
    ):
        task = bar.add_task(title, total=1.0)
        yield lambda what, share: bar.update(task, description=f"{title}: {what}", completed=share)
        bar.update(task, description=title, completed=1.0)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar that counts, with the time that remains."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description:<30.30}", markup=False), BarColumn(bar_width=12), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console,
    ) as bar, _gone_on_error(bar):  # fmt: skip
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _gone_on_error(bar: Progress) -> Iterator[None]:
    """Take a bar off the screen where what it shows breaks off: an error's line stands alone."""
    try:
        yield
    except BaseException:
        bar.live.transient = True
        raise


def grid_of(*names: str, title: str | None = None) -> Table:
    """Return an empty table in which a word that is wider than its column goes on below, so that none is cut."""
    return Table(*(Column(name, overflow="fold") for name in names), title=title)


def noted(head: str, text: str, style: str = "yellow") -> Text:
    """Return a line whose first words have a colour; what it holds of data stands there whole."""
    return Text.assemble((head, style), " ", text)


def end(error: Exception) -> NoReturn:
    """End a command with one line, and code 2."""
    said = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        said = f"{error.filename}: {error.strerror}; check the path, who may write there, and the room that is left"
    line = "".join(sign if sign.isprintable() else " " for sign in said)
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(
        noted("error:", " ".join(line.split()), "red")
    )
    sys.exit(2)
