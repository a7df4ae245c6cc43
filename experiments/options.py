"""What do the laboratory's commands take, and how do they show what they are doing?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    import polars as pl

    from boundary.taxonomy import Taxonomy
    from recsys.shop import Choice, Shop

console = Console(highlight=False)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for figures.json and what people read.")]
BundleAt = Annotated[Path, typer.Option("--bundle", "-b", help="Folder that `cornerstore fit` wrote.")]
PolicyName = Annotated[str, typer.Option("--policy", help="Instead of the bundle's policy.")]
Rules = Annotated[str, typer.Option("--policy", help="default, gentle, strict, or a TOML file.")]
DataAt = Annotated[Path, typer.Option("--data", "-d", help="Folder with events, catalogue and customers.")]
TaxonomyAt = Annotated[
    Path | None, typer.Option("--taxonomy", help="TOML file of sensitive families; default: the Complete Journey's.")
]
Model = Annotated[str, typer.Option(help="Which recommender; default: the one that `cornerstore fit` takes.")]
Settings = Annotated[list[str] | None, typer.Option("--setting", help="A model's setting, name=value; repeat.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
TrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", help="An MLflow server; default: a store of its own in a folder.")
]


@contextmanager
def steps(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show a bar that is told what is being done and how much of it is done."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description:<54.54}"), BarColumn(bar_width=12), TimeElapsedColumn(),
        console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task(title, total=1.0)
        yield lambda what, share: bar.update(task, description=f"{title}: {what}", completed=share)
        bar.update(task, description=title, completed=1.0)


def opened(data: Path, taxonomy: Path | None, out: Path) -> tuple[Shop, Taxonomy]:
    """Read a shop's tables and its taxonomy; bad rows are kept aside in ``out``."""
    from boundary.taxonomy import Taxonomy as Families
    from data.complete_journey import TAXONOMY
    from recsys.shop import read_shop

    return read_shop(data, rejects=out / "rejects", console=console), Families.load(taxonomy or TAXONOMY)


def chosen(model: str, settings: list[str] | None, seed: int) -> Choice:
    """Return the recommender that is asked for, the one of ``cornerstore fit`` where nothing is."""
    from recsys.shop import default_choice

    given: dict[str, Any] = {}
    for one in settings or []:
        name, found, value = one.partition("=")
        if not found:
            raise typer.BadParameter(f"--setting must be name=value but got {one!r}")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return default_choice(seed, model=model, settings=given)


def show(frame: pl.DataFrame) -> None:
    """Print a small frame as a table, numbers to the right."""
    table = Table()
    for name, kind in frame.schema.items():
        table.add_column(name.replace("_", " "), justify="right" if kind.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(f"{one:,.2f}" if isinstance(one, float) else f"{one:,}" if isinstance(one, int) else str(one)
                        for one in row))  # fmt: skip
    console.print(table)


def tell(out: Path, *names: str) -> None:
    """Say where what people read is, and where the figures are."""
    for name in names:
        console.print(f"  {out / name}")
    console.print(f"figures are in {out / 'figures.json'}")
