"""The laboratory's commands: each measures, prints what people read, and leaves ``figures.json`` in ``--out``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments import commands, judging
from experiments.options import BundleAt, Out, PolicyName, console, steps
from recsys.display import end

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.bundle import Bundle

app = typer.Typer(
    help="Measure, tune and promote: what do we lose if we are kinder?", no_args_is_help=True,
    add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
)  # fmt: skip
bench_app = typer.Typer(help="Time us against a peer, both sides in one run.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
for command in (
    judging.evaluate,
    judging.weigh,
    commands.attack,
    commands.tune,
    commands.report,
    commands.promote,
    commands.rollback,
):
    app.command()(command)

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


@bench_app.command("call")
def bench_call(out: Out = Path("runs/bench")) -> None:
    """Race one scoring call, ledger and all, against implicit's bare recommend for one user.

    Example: [bold]cornerstore-lab bench call --out runs/bench[/]
    """
    from experiments.bench.call import bench_call as measure

    out.mkdir(parents=True, exist_ok=True)
    measure(out)
    _tell(out)


@bench_app.command("batch")
def bench_batch(
    out: Out = Path("runs/bench"),
    gowalla: Gowalla = Path("../shared/datasets/gowalla"),
    rounds: Annotated[int, typer.Option(help="Interleaved runs; the median counts.")] = 3,
) -> None:
    """Race the whole batch, Parquet and all, against implicit's bare recommend for the same users.

    Example: [bold]cornerstore-lab bench batch --out runs/bench[/]
    """
    from experiments.bench.batch import bench_batch as measure

    out.mkdir(parents=True, exist_ok=True)
    measure(out, gowalla_folder=gowalla, rounds=rounds)
    _tell(out)


@bench_app.command("gate")
def bench_gate(
    out: Out = Path("runs/bench"),
    rounds: Annotated[int, typer.Option(help="Screenings of the block; the median counts.")] = 9,
) -> None:
    """Time the boundary alone on one core, every default rule in force, and say where the time goes.

    Example: [bold]cornerstore-lab bench gate --out runs/bench[/]
    """
    from experiments.bench.gate import bench_gate as measure

    out.mkdir(parents=True, exist_ok=True)
    measure(out, rounds=rounds)
    _tell(out)


@bench_app.command("million")
def bench_million(out: Out = Path("runs/bench"), gowalla: Gowalla = Path("../shared/datasets/gowalla")) -> None:
    """Time one shopper's exact list in a catalogue of a million items, and what the index takes to build.

    Example: [bold]cornerstore-lab bench million --out runs/bench[/]
    """
    from experiments.bench import bench_million as measure

    measure(out, gowalla_folder=gowalla)
    _tell(out)


@bench_app.command("scale")
def bench_scale(
    out: Out = Path("runs/scale"),
    size: Annotated[
        list[str] | None, typer.Option(help="shoppers x products x events, such as 10k x 10k x 1M; repeat.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave shops, bundles and slates there.")] = False,
) -> None:
    """Make, fit and score invented shops of several sizes: time, memory, and where the time of a batch goes.

    The largest of the usual sizes takes most of an hour and 10 GB of disk. Cut off, the same command goes on.

    Example: [bold]cornerstore-lab bench scale --size "10k x 10k x 1M" --size "100k x 30k x 10M" --out runs/scale[/]
    """
    from experiments.bench.scale import SIZES, Size
    from experiments.bench.scale import bench_scale as measure

    measure(out, sizes=[Size.of(one) for one in size or SIZES], keep=keep)
    _tell(out)


@app.command()
def replay(
    bundle: BundleAt, out: Out = Path("runs/lab/replay"), policy: PolicyName = "",
    days: Annotated[int, typer.Option(help="How far back.")] = 365,
    users: Annotated[int, typer.Option(help="How many shoppers, drawn.")] = 500,
) -> None:  # fmt: skip
    """Replay real visits through a ledger: over-cap rate, longest run of one item, what follows people, fill.

    Example: [bold]cornerstore-lab replay --bundle runs/demo/bundle --out runs/lab/replay[/]
    """
    from experiments.replay import replay as measure

    shop, rules = _opened(bundle, policy)
    with steps("Replaying") as progress:
        found = measure(shop, rules, out, days=days, users=users, progress=progress)
    console.print(
        f"{found['visits']:,.0f} visits, {found['impressions']:,.0f} impressions, {found['fill']:.1%} of the slots filled; "
        f"over a cap: {found['over_cap_rate']:.2%}; longest run of one item: {found['longest_run']:.0f} visits within {days} days; "
        f"touched by the shopper lately: {found['followed']:.2%} of the slots (a random slate: {found['followed.random']:.2%})"
    )
    _tell(out)


@app.command()
def pressure(bundle: BundleAt, out: Out = Path("runs/lab/pressure"), policy: PolicyName = "") -> None:
    """Measure how hard the slates push: promoted share, upsell, claims, and that margins move nothing.

    Example: [bold]cornerstore-lab pressure --bundle runs/demo/bundle --out runs/lab/pressure[/]
    """
    from experiments.pressure import pressure as measure

    shop, rules = _opened(bundle, policy)
    with steps("Measuring the pressure") as progress:
        found = measure(shop, rules, out, progress=progress)
    console.print(
        f"{found['pressure.slots']:,.0f} slots, {found['promoted_share']:.1%} of them promoted; price over what the shopper pays: "
        f"median {found['upsell.p50']:.2f}, nine in ten below {found['upsell.p90']:.2f}; claims without evidence: "
        f"{found['claims_without_evidence']:.0f}; slots that other margins would change: {found['margin_permutation_moves']:.0f}"
    )
    _tell(out)


@app.command()
def shadow(
    other: Annotated[str, typer.Argument(help="The policy that is asked about.")],
    bundle: BundleAt, out: Out = Path("runs/lab/shadow"), policy: PolicyName = "",
    days: Annotated[int, typer.Option(help="How far back.")] = 7,
) -> None:  # fmt: skip
    """Serve last week's visits under two policies: who would have seen what, by reason.

    Example: [bold]cornerstore-lab shadow strict --bundle runs/demo/bundle --out runs/lab/shadow[/]
    """
    from experiments.shadow import shadow as measure
    from recsys.engine import policy_of

    shop, rules = _opened(bundle, policy)
    with steps("Serving last week twice") as progress:
        found = measure(shop, rules, policy_of(other), out, days=days, progress=progress)
    gone = sorted(((count, name) for name, count in found.items() if name.startswith("gone.")), reverse=True)
    console.print(
        f"{found['visits']:,.0f} visits: {found['changed']:.1%} of the slots would change under {other}; gone for "
        + (", ".join(f"{name.removeprefix('gone.')} {count:,.0f}" for count, name in gone[:5]) or "nothing")
        + f"; the picture is {out / 'shadow.html'}, the table {out / 'reasons.csv'}"
    )
    _tell(out)


@app.command()
def planted(
    bundle: BundleAt,
    truth: Annotated[Path, typer.Option(help="truth.parquet of the invented shop that the bundle is fitted on.")],
    out: Out = Path("runs/lab/planted"), policy: PolicyName = "",
) -> None:  # fmt: skip
    """Count the planted proxies of an invented shop that the boundary finds, and those that it misses.

    Example: [bold]cornerstore-lab planted --bundle runs/bundle --truth runs/shop/truth.parquet --out runs/lab/planted[/]
    """
    import polars as pl

    from experiments.options import show
    from experiments.planted import banded
    from experiments.planted import planted as measure

    shop, rules = _opened(bundle, policy)
    found = measure(shop, rules, truth, out)
    show(found.by(pl.col("family")).sort("family"))
    show(found.by(banded()))
    console.print(f"flagged without having been planted: {found.alarms:,} of {found.harmless:,} harmless items")
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


def _opened(bundle: Path, policy: str) -> tuple[Bundle, Policy]:
    from recsys.bundle import Bundle as Shop
    from recsys.engine import policy_of

    shop = Shop.load(bundle)
    return shop, policy_of(policy) if policy else shop.policy


def _tell(out: Path) -> None:
    console.print(f"figures are in {out / 'figures.json'}")


def main() -> None:
    """Run a command; what a user can mend ends as one line and code 2, never as a traceback."""
    try:
        app(standalone_mode=True)
    except Exception as error:
        from experiments.split import SplitError
        from experiments.visits import LabError
        from recsys.errors import MENDABLE

        if not isinstance(error, (*MENDABLE, LabError, SplitError, *_of_mlflow())):
            raise
        end(error)


def _of_mlflow() -> tuple[type[Exception], ...]:
    """What MLflow says where a store cannot be used; nothing where MLflow was not needed."""
    known = sys.modules.get("mlflow.exceptions")
    return () if known is None else (known.MlflowException,)


if __name__ == "__main__":
    main()
