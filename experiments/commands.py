"""The commands that learn from a shop's data, and those that decide which policy the shop serves with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from experiments.options import (
    BundleAt,
    DataAt,
    Model,
    Out,
    PolicyName,
    Rules,
    Seed,
    Settings,
    TaxonomyAt,
    TrackingUri,
    chosen,
    console,
    opened,
    steps,
    tell,
)
from recsys.display import noted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from experiments.attack import Doubles

Figures = Annotated[
    list[Path] | None, typer.Option("--figures", "-f", help="Folder of a command that measured this policy; repeat.")
]
Name = Annotated[str, typer.Option(help="Of the registered model.")]
Alias = Annotated[str, typer.Option(help="What the version is called.")]
MEASURED = ("attack", "replay", "pressure")  # rooms whose figures the guard rails are about


def attack(
    data: DataAt, out: Out = Path("runs/lab/attack"), policy: Rules = "default", taxonomy: TaxonomyAt = None,
    model: Model = "", setting: Settings = None,
    groups: Annotated[
        Path | None, typer.Option(help="TOML file of groups; default: the Complete Journey's, where DATA knows people.")
    ] = None,
    parts: Annotated[int, typer.Option(help="Proxies and blindfold are learned without the part attacked.")] = 2,
    seeds: Annotated[int, typer.Option(help="Divisions into folds.")] = 5,
    fewest: Annotated[int, typer.Option(help="Members that a family needs to be judged.")] = 100,
    room: Annotated[float, typer.Option(help="AUC by which the whole history must tell more than activity.")] = 0.03,
    boosting: Annotated[bool, typer.Option(help="Set a second attacker of another kind on too (slow).")] = True,
    validate: Annotated[
        bool, typer.Option("--validate", help="For choosing: fit on 60 % of the weeks, judge by those up to 80 %.")
    ] = False,
    strengths: Annotated[
        str, typer.Option(help="Instead of all this a table: the policy at these blindfold strengths, by commas.")
    ] = "",
    seed: Seed = 7,
) -> None:  # fmt: skip
    """Guess from the lists alone who bought what is sensitive: raw, each means alone, the policy, the crowd shelf.

    Fits on the first 80 % of the weeks; proxies and blindfold are learned on other households than the attacked.

    Example: [bold]cornerstore-lab attack --data runs/complete_journey --out runs/lab/attack[/]
    """
    from experiments.leak import measure_leak
    from experiments.leak_found import Terms
    from experiments.strengths import measure_strengths, strengths_of
    from recsys.engine import policy_of

    rules = policy_of(policy)
    terms = Terms(parts=parts, seeds=seeds, fewest=fewest, room=room, boosting=boosting, validate=validate)
    tried = strengths_of(strengths) if strengths else []
    shop, families = opened(data, taxonomy, out)
    if tried:
        with steps("Trying strengths") as progress:
            measure_strengths(
                shop, taxonomy=families, policy=rules, choice=chosen(model, setting, seed), out=out, strengths=tried,
                terms=terms, progress=progress,
            )  # fmt: skip
        console.print((out / "strengths.md").read_text(encoding="utf-8").strip())
        tell(out, "strengths.md", "strengths.csv")
        return
    with steps("Attacking the lists") as progress:
        figures = measure_leak(
            shop, taxonomy=families, policy=rules, choice=chosen(model, setting, seed), out=out, terms=terms,
            groups=_groups(data, groups), progress=progress,
        )  # fmt: skip
    console.print(
        Text.assemble(
            f"leak that remains, mean of {figures['families.judged']:.0f} families: ",
            f"{figures['leak_remaining.raw']:.3f} raw, ",
            (f"{figures['leak_remaining.default']:.3f} {rules.name}", "bold"),
            f"; discovery kept: {figures['ndcg_kept.profile']:.1%} by the profile's list, "
            f"{figures['ndcg_kept.default']:.1%} by the whole slate",
        )
    )
    tell(out, "attack.html", "families.csv")


def tune(
    data: DataAt, out: Out = Path("runs/lab/tune"), policy: Rules = "default", taxonomy: TaxonomyAt = None,
    model: Model = "", setting: Settings = None,
    trials: Annotated[int, typer.Option(help="How many in all; a run that was cut off goes on.")] = 100,
    bounds: Annotated[
        Path | None, typer.Option(help="TOML file of what may be turned and what is wanted; default: tune.toml here.")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Judge on this many shoppers, drawn; default: all.")] = None,
    seed: Seed = 7, tracking_uri: TrackingUri = None,
) -> None:  # fmt: skip
    """Turn a policy's settings within bounds, keep every trial in MLflow, and recommend one by a stated rule.

    Judged on weeks before the test weeks. Look at the runs with [bold]mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db[/]

    Example: [bold]cornerstore-lab tune --data runs/complete_journey --trials 100 --out runs/lab/tune[/]
    """
    from experiments.space import SHIPPED, Space
    from experiments.tune import tune as turn
    from recsys.engine import policy_of

    rules, space = policy_of(policy), Space.load(bounds or SHIPPED)
    shop, families = opened(data, taxonomy, out)
    with steps("Tuning") as progress:
        turn(
            shop, taxonomy=families, policy=rules, choice=chosen(model, setting, seed), out=out, trials=trials,
            space=space, users=users, seed=seed, tracking_uri=tracking_uri, progress=progress,
        )  # fmt: skip
    console.print((out / "recommended.txt").read_text(encoding="utf-8").strip())
    tell(out, "frontier.html", "trials.parquet", *(["recommended.toml"] if (out / "recommended.toml").exists() else []))


def report(
    bundle: BundleAt,
    runs: Annotated[Path, typer.Option("--runs", help="Folder with the other commands' folders.")] = Path("runs/lab"),
    out: Out = Path("runs/lab/report"), policy: PolicyName = "",
    users: Annotated[int, typer.Option(help="Count what is withheld on this many shoppers, drawn.")] = 1000,
    seed: Seed = 7, tracking_uri: TrackingUri = None,
) -> None:  # fmt: skip
    """Write one page for a shop manager from what the other commands left behind, and log it in MLflow.

    Example: [bold]cornerstore-lab report --bundle runs/bundle --runs runs/lab --out runs/lab/report[/]
    """
    from experiments.report import report as write
    from recsys.bundle import Bundle
    from recsys.engine import policy_of

    shop, rules = Bundle.load(bundle), policy_of(policy) if policy else None
    with steps("Reporting") as progress:
        write(runs, shop, out, policy=rules, users=users, seed=seed, tracking_uri=tracking_uri, progress=progress)
    tell(out, "lab.html")


def promote(
    bundle: BundleAt,
    figures: Figures = None,
    runs: Annotated[
        Path, typer.Option("--runs", help="Folder with attack, replay and pressure, where no --figures are given.")
    ] = Path("runs/lab"),
    out: Out = Path("runs/lab/registry"), policy: PolicyName = "",
    rails: Annotated[Path | None, typer.Option(help="TOML file of guard rails; default: guard_rails.toml here.")] = None,
    name: Name = "cornerstore", alias: Alias = "champion",
    ledger: Annotated[str | None, typer.Option("--ledger", help="Where the served model keeps its ledger.")] = None,
    tracking_uri: TrackingUri = None,
) -> None:  # fmt: skip
    """Register bundle and policy in MLflow under an alias, if every guard rail holds; else say which do not.

    Then [bold]Engine.load("models:/cornerstore@champion")[/] serves it, where MLFLOW_TRACKING_URI names the store.

    Example: [bold]cornerstore-lab promote --bundle runs/bundle --runs runs/lab --out runs/lab/registry[/]
    """
    from experiments.figures import write_figures
    from experiments.registry import RAILS, PromotionError
    from experiments.registry import promote as register
    from experiments.tracking import embedded
    from recsys.bundle import Bundle
    from recsys.engine import policy_of

    rules = policy_of(policy) if policy else Bundle.load(bundle).policy
    measured = figures or [runs / room for room in MEASURED if (runs / room / "figures.json").exists()]
    try:
        with steps("Promoting") as progress:
            told = register(
                bundle, out, policy=rules, figures=measured, rails=rails or RAILS, name=name, alias=alias,
                ledger=ledger, tracking_uri=tracking_uri, progress=progress,
            )  # fmt: skip
    except PromotionError as refused:
        console.print(noted("not promoted:", f"{len(refused.failing)} guard rails do not hold", "red"))
        for line in refused.failing:
            console.print(f"  {line}")
        raise typer.Exit(1) from None
    write_figures(out, told, policy=rules, bundle=None)
    console.print(f"{name} version {told['version']:.0f} is the {alias}; {told['guard_rails']:.0f} guard rails hold")
    console.print(f"MLFLOW_TRACKING_URI={tracking_uri or embedded(out)}", soft_wrap=True)
    tell(out)


def rollback(
    out: Out = Path("runs/lab/registry"), name: Name = "cornerstore", alias: Alias = "champion",
    tracking_uri: TrackingUri = None,
) -> None:  # fmt: skip
    """Give the alias back to the version that had it before.

    Example: [bold]cornerstore-lab rollback --out runs/lab/registry[/]
    """
    from experiments.figures import write_figures
    from experiments.registry import rollback as give_back

    told = give_back(out, name=name, alias=alias, tracking_uri=tracking_uri)
    write_figures(out, told, policy=None, bundle=None)
    console.print(f"{name} version {told['to']:.0f} is the {alias} again; it was version {told['from']:.0f}")
    tell(out)


def _groups(data: Path, groups: Path | None) -> Callable[[Sequence[str]], tuple[list[str], Doubles]] | None:
    """Return how the attackers' groups are read; None where nothing is known of people."""
    import polars as pl

    from data.complete_journey import GROUPS
    from experiments.groups import read_groups

    people = data / "attackers" / "demographics.parquet"
    if not people.exists():
        return None
    return lambda ids: read_groups(groups or GROUPS, pl.read_parquet(people), ids)
