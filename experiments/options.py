"""What do the laboratory's commands take, and how do they show what they are doing?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys import display, terminal

if TYPE_CHECKING:
    import polars as pl

    from boundary.taxonomy import Taxonomy
    from recsys.shop import Choice, Shop

console = Console(highlight=False, markup=False, emoji=False)
steps = partial(display.steps, on=console)
Seed = terminal.Seed

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
TrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", help="An MLflow server; default: a store of its own in a folder.")
]


def opened(data: Path, taxonomy: Path | None, out: Path) -> tuple[Shop, Taxonomy]:
    """Read a shop's tables and its taxonomy; bad rows are kept aside in ``out``."""
    from boundary.taxonomy import Taxonomy as Families
    from data.complete_journey import TAXONOMY
    from recsys.shop import read_shop

    return read_shop(data, rejects=out / "rejects", console=console), Families.load(taxonomy or TAXONOMY)


def chosen(model: str, settings: list[str] | None, seed: int) -> Choice:
    """Return the recommender that is asked for, the one of ``cornerstore fit`` where nothing is."""
    from recsys.shop import default_choice

    return default_choice(seed, model=model, settings=terminal.settings_of(settings or []))


def show(frame: pl.DataFrame) -> None:
    """Print a small frame as a table, numbers to the right."""
    table = Table()
    for name, kind in frame.schema.items():
        table.add_column(name.replace("_", " "), justify="right" if kind.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(f"{one:,.2f}" if isinstance(one, float) else f"{one:,}" if isinstance(one, int) else str(one)
                        for one in row))  # fmt: skip
    console.print(table)


def tell(out: Path, *names: str) -> None:
    """Say where what people read is, and where the figures are."""
    for name in names:
        console.print(f"  {out / name}")
    console.print(f"figures are in {out / 'figures.json'}")
