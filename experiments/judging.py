"""The command that says how good the lists are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.options import Out, TaxonomyAt, console, steps


def evaluate(
    data: Annotated[Path, typer.Option("--data", "-d", help="A shop's tables, or train.txt and test.txt.")],
    split: Annotated[str, typer.Option(help="temporal (events cut in time) or lightgcn (two text files).")] = "temporal",
    out: Out = Path("runs/lab/evaluate"),
    models: Annotated[str, typer.Option(help="Labels of entries, with commas; default: all of the split.")] = "",
    entries: Annotated[Path | None, typer.Option(help="TOML file of entries, instead of the repository's.")] = None,
    part: Annotated[str, typer.Option(help="test, or validation: a part of train, to choose settings on.")] = "test",
    users: Annotated[int | None, typer.Option(help="Judge this many users, drawn; default: all.")] = None,
    min_buyers: Annotated[int, typer.Option(help="For temporal: fewest buyers of an item that is ranked.")] = 10,
    taxonomy: TaxonomyAt = None,
    policies: Annotated[
        str, typer.Option(help="For temporal: whose slates are judged too, with commas; names or TOML files, or none.")
    ] = "gentle,default,strict",
    seed: Annotated[int, typer.Option(help="For fits, draws and intervals.")] = 0,
) -> None:  # fmt: skip
    """Measure how well models rank what people took later: NDCG, recall and more, by group, with intervals.

    Example: [bold]cornerstore-lab evaluate --split temporal --data runs/demo --out runs/lab/evaluate[/]

    Beside the models it judges what policies leave of the default recommender: raw, each whole slate, each profile's list.

    To choose settings: [bold]cornerstore-lab evaluate --data runs/demo --part validation --entries mine.toml[/]
    """
    from experiments.entries import FILE, read_entries
    from experiments.evaluate import evaluate as measure
    from recsys.engine import policy_of

    labels = [label.strip() for label in models.split(",") if label.strip()]
    chosen = read_entries(split, path=entries or FILE, labels=labels)
    words = [word.strip() for word in policies.split(",") if word.strip() not in {"", "none"}]
    rules = {Path(word).stem: policy_of(word) for word in words} if split == "temporal" else {}
    with steps("Evaluating") as tell:
        measure(
            split=split, data=data, out=out, entries=chosen, part=part, min_buyers=min_buyers, users=users, seed=seed,
            taxonomy=taxonomy, policies=rules, console=console, tell=tell,
        )  # fmt: skip
    console.print(f"the tables are in {out / 'table.md'}, the figures in {out / 'figures.json'}", soft_wrap=True)
