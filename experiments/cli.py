"""The laboratory's commands: each measures, prints what people read, and leaves ``figures.json`` in ``--out``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(highlight=False)
app = typer.Typer(
    help="Measure, tune and promote: what do we lose if we are kinder?", no_args_is_help=True,
    add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
)  # fmt: skip
bench_app = typer.Typer(help="Time us against a peer, both sides in one run.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for figures.json and what people read.")]
Gowalla = Annotated[Path, typer.Option(help="Folder with LightGCN's train.txt and test.txt.")]


@bench_app.command("topk")
def bench_topk(
    out: Out = Path("runs/bench"),
    gowalla: Gowalla = Path("../shared/datasets/gowalla"),
    rounds: Annotated[int, typer.Option(help="Interleaved runs; the median counts.")] = 3,
) -> None:
    """Race the exact top-k of all users against implicit's recommend.

    Example: [bold]cornerstore-lab bench topk --out runs/bench[/]
    """
    from experiments.bench import bench_topk as measure

    measure(out, gowalla_folder=gowalla, rounds=rounds)
    _tell(out)


@app.command()
def race(
    ledger: Annotated[str, typer.Option(help="sqlite:///race.db or redis://host:6379/0.")] = "sqlite:///runs/race.db",
    out: Out = Path("runs/race"),
    seconds: Annotated[float, typer.Option(help="How long.")] = 60.0,
    threads: Annotated[int, typer.Option(help="In all.")] = 64,
    processes: Annotated[int, typer.Option(help="At a time.")] = 8,
    kill: Annotated[bool, typer.Option(help="Kill processes now and then.")] = True,
) -> None:
    """Race many callers on the same shoppers' ledgers, kill some, and prove that no cap was exceeded.

    Example: [bold]cornerstore-lab race --ledger sqlite:///runs/race.db --seconds 60 --out runs/race[/]
    """
    from experiments.race import race as run

    out.mkdir(parents=True, exist_ok=True)
    figures = run(ledger, seconds=seconds, threads=threads, processes=processes, kill=kill, out=out)
    if not figures.held:
        raise typer.Exit(1)


def _tell(out: Path) -> None:
    console.print(f"figures are in {out / 'figures.json'}")


def main() -> None:
    """Run a command; what a user can mend ends as one line and code 2, never as a traceback."""
    try:
        app(standalone_mode=True)
    except Exception as error:
        from recsys.errors import MENDABLE

        if not isinstance(error, (*MENDABLE, FileNotFoundError)):
            raise
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/] {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
