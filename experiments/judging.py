"""The commands that say how good the lists are, and what would make a blend's better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.options import Out, TaxonomyAt, console, steps
from recsys.terminal import seed_within


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
    seed: Annotated[int, typer.Option(help="For fits, draws and intervals.", callback=seed_within)] = 0,
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


def weigh(
    data: Annotated[Path, typer.Option("--data", "-d", help="A shop's tables, or train.txt and test.txt.")],
    model: Annotated[str, typer.Option(help="Label of an entry that is a blend.")],
    split: Annotated[str, typer.Option(help="temporal (events cut in time) or lightgcn (two text files).")] = "temporal",
    out: Out = Path("runs/lab/weigh"),
    entries: Annotated[Path | None, typer.Option(help="TOML file of entries, instead of the repository's.")] = None,
    users: Annotated[int | None, typer.Option(help="Learn from this many users, drawn; default: all.")] = None,
    candidates: Annotated[int, typer.Option(help="How many of each user's best are ranked anew.")] = 120,
    softness: Annotated[float, typer.Option(help="What counts as a near tie, in spreads of the candidates.")] = 0.15,
    min_buyers: Annotated[int, typer.Option(help="For temporal: fewest buyers of an item that is ranked.")] = 10,
    seed: Annotated[int, typer.Option(help="For fits, draws, folds and intervals.", callback=seed_within)] = 0,
) -> None:  # fmt: skip
    """Learn what the parts of a blend should weigh, on the validation part alone, and what others gain by it.

    Example: [bold]cornerstore-lab weigh --data runs/demo --model spectral_als --out runs/lab/weigh[/]

    Then: [bold]cornerstore-lab evaluate --data runs/demo --entries runs/lab/weigh/weighed.toml[/]
    """
    from experiments.entries import FILE, read_entries
    from experiments.weigh import weigh as learn

    (entry,) = read_entries(split, path=entries or FILE, labels=[model])
    with steps("Weighing") as tell:
        learn(
            split=split, data=data, out=out, entry=entry, users=users, candidates=candidates, softness=softness,
            min_buyers=min_buyers, seed=seed, console=console, tell=tell,
        )  # fmt: skip
    console.print(f"the entry is in {out / 'weighed.toml'}, the figures in {out / 'figures.json'}", soft_wrap=True)
