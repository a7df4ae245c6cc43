"""The commands of the shop: every one ends with a short summary, or with one line that says what to mend."""

from __future__ import annotations

import json
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from recsys.display import console, counting, end, grid_of, noted, steps
from recsys.policy_commands import policy_app
from recsys.terminal import (
    BundleAt,
    Intent,
    LedgerUrl,
    Now,
    Out,
    PolicyName,
    Seed,
    Slots,
    Surface,
    ledger_of,
    moment_of,
    read_moment,
    ready_for,
    refused,
    settings_of,
)
from recsys.told import counts_in, show, tell_demo, tell_idle, tell_rare

if TYPE_CHECKING:
    from recsys.shop import Choice

app = typer.Typer(
    help="Recommendations that know when to stop.", no_args_is_help=True, add_completion=False,
    rich_markup_mode="rich", pretty_exceptions_enable=False,
)  # fmt: skip
app.add_typer(policy_app, name="policy")


@app.command()
def demo(out: Out = Path("runs/demo"), seed: Seed = 7, policy: PolicyName = "default") -> None:
    """Run the whole way on real data: prepare, fit, score every household, measure, report.

    Example: [bold]cornerstore demo --out runs/demo[/]
    """
    from boundary.taxonomy import Taxonomy
    from data.complete_journey import TAXONOMY
    from data.complete_journey import prepare as prepare_tables
    from recsys import demo as room
    from recsys.engine import policy_of
    from recsys.report import write_report
    from recsys.shop import default_choice, fit_shop, latest, read_shop

    began = time.perf_counter()
    rules, taxonomy, choice = policy_of(policy), Taxonomy.load(TAXONOMY), default_choice(seed)
    with steps("Preparing the Complete Journey") as tell:
        counts = prepare_tables(out, progress=tell)
    for name in ("events", "catalogue", "customers"):
        kept, rejected = counts[name]["kept"], counts[name]["rejected"]
        console.print(f"  {name}: {kept:,} rows kept, {rejected:,} kept aside with a reason in {out / 'rejects'}")
    shop = read_shop(out, rejects=out / "rejects" / "again", console=Console(quiet=True))
    now = latest(shop.events)
    with steps("Fitting the shop") as tell:
        bundle = fit_shop(shop, taxonomy=taxonomy, policy=rules, choice=choice, now=now, tell=tell)
        bundle.save(out / "bundle")
    with ThreadPoolExecutor(1) as beside:  # compiling keeps one core busy, fitting lets it
        opening = beside.submit(room.open_for_demo, out / "bundle", out / "ledger.db")
        with steps("Judging the lists by later weeks") as tell:
            judged = room.compare(shop, taxonomy=taxonomy, policy=rules, choice=choice, tell=tell)
        engine = opening.result()
    with counting("Scoring through the boundary") as progress:
        manifest = room.score_everybody(engine, out, now=now, progress=progress)
    report = write_report(out / "report.html", room.page(engine, manifest, judged))
    tell_demo(manifest, judged, out, report, time.perf_counter() - began)


@app.command()
def prepare(out: Out = Path("runs/complete_journey")) -> None:
    """Turn the Complete Journey grocery data into events, catalogue and customers.

    Example: [bold]cornerstore prepare --out runs/complete_journey[/]
    """
    from data.complete_journey import prepare as prepare_tables

    with steps("Preparing the Complete Journey") as tell:
        counts = prepare_tables(out, progress=tell)
    for name, told in counts.items():
        console.print(f"  {name}: " + ", ".join(f"{count:,} {what}" for what, count in told.items()))
    console.print(f"tables are in {out}")


@app.command()
def fit(
    data: Annotated[Path, typer.Option("--data", "-d", help="Folder with events, catalogue and customers.")],
    taxonomy: Annotated[
        Path | None, typer.Option(help="TOML file of sensitive families; default: the Complete Journey's.")
    ] = None,
    out: Out = Path("runs/bundle"),
    policy: PolicyName = "default",
    model: Annotated[str, typer.Option(help="Which recommender.")] = "",
    setting: Annotated[list[str] | None, typer.Option(help="A model's setting, name=value; repeat.")] = None,
    engine_kind: Annotated[str, typer.Option("--engine", help="local, or spark to train with MLlib.")] = "local",
    master: Annotated[str, typer.Option(help="Spark's master, e.g. spark://host:7077.")] = "local[*]",
    tune: Annotated[int, typer.Option(help="Try this many models, or settings of --model, on later weeks.")] = 0,
    now: Now = None,
    seed: Seed = 7,
) -> None:
    """Fit a recommender and what the boundary needs to a shop's own Parquet or CSV tables.

    Example: [bold]cornerstore fit --data runs/complete_journey --out runs/bundle[/]
    """
    from boundary.taxonomy import Taxonomy
    from data.complete_journey import TAXONOMY
    from recsys.engine import policy_of
    from recsys.fitting import unblinded
    from recsys.models import make_model
    from recsys.people import marks_of
    from recsys.shop import default_choice, fit_shop, latest, read_shop, tell_unknown_words

    rules, families, on_spark = policy_of(policy), Taxonomy.load(taxonomy or TAXONOMY), _on_spark(engine_kind)
    if tune and setting:
        raise refused("--setting must be left out with --tune, which searches the settings")
    if tune < 0:
        raise refused(f"--tune must be at least 0 but got {tune}")
    asked = None if now is None else read_moment(now)
    choice = default_choice(seed, model=model, settings=settings_of(setting or []))
    if not tune:
        make_model(choice.model, **choice.settings)  # what is wrong with them is told before the tables are read
    ready_for(out)
    shop = read_shop(data, rejects=out.parent / f"{out.name}.rejects", console=console, now=asked)
    tell_unknown_words(shop.customers, rules, console)
    moment = latest(shop.events) if asked is None else asked
    if tune:
        choice = _tuned(shop, taxonomy=families, policy=rules, trials=tune, seed=seed, now=moment, model=model)
    with steps("Fitting the shop") as tell:
        bundle = fit_shop(
            shop, taxonomy=families, policy=rules, choice=choice, now=moment, tell=tell,
            spark=master if on_spark else None, forgotten=marks_of(out),
        )  # fmt: skip
        bundle.save(out)
    tell_idle(families, bundle)
    console.print(
        f"{bundle.facts['users']:,} shoppers, {bundle.facts['items']:,} items, {bundle.facts['events']:,} events; "
        f"turned away at the first door: {counts_in(bundle.facts['events_turned_away'])}"
    )
    tell_rare(bundle)
    if (why := unblinded(bundle)) is not None:
        console.print(noted(f"{choice.model}:", f"no blindfold: {why}"))
    console.print(f"bundle is in {out}")


@app.command()
def update(
    bundle: BundleAt,
    data: Annotated[Path, typer.Option("--data", "-d", help="Folder with new events, catalogue rows or customers.")],
    now: Now = None,
) -> None:
    """Take up new events, shoppers and items without training anew; an engine that serves the bundle must reload it.

    Bad rows are kept aside beside the data, in a folder of its name with .rejects, each with its reason.

    The same news twice changes nothing more, so a run that was cut off is simply run again.

    Example: [bold]cornerstore update --bundle runs/bundle --data runs/today[/]
    """
    from recsys.bundle import Bundle
    from recsys.shop import read_news, tell_unknown_words
    from recsys.swap import locked
    from recsys.updating import update_bundle

    moment = None if now is None else read_moment(now)
    tables = read_news(data, rejects=data.parent / f"{data.name}.rejects", console=console, now=moment)
    with locked(bundle.with_name(f"{bundle.name}.update")), steps("Taking up the news") as tell:
        shop = Bundle.load(bundle)  # as the last update left it: two at once would lose one
        tell_unknown_words(tables.get("customers"), shop.policy, console)
        news = update_bundle(shop, now=moment, **tables, step=tell)
        news.bundle.save(bundle)
    console.print(
        f"{news.users:,} new shoppers, {news.items:,} new items, {news.events:,} new events; "
        f"{news.known_before:,} events were known already; the bundle is in {bundle}"
    )
    if news.ahead:
        console.print(noted("events:", f"{news.ahead:,} lie after now and were left out"))


@app.command()
def score(
    bundle: BundleAt,
    out: Out = Path("runs/slates"),
    users: Annotated[Path | None, typer.Option(help="Text file with a user id a line; default: every shopper.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="Only this shopper, on screen; repeat.")] = None,
    n: Slots = 10,
    surface: Surface = "home",
    intent: Intent = "browse",
    ledger: LedgerUrl = "",
    policy: Annotated[str | None, typer.Option(help="Instead of the bundle's policy.")] = None,
    shadow_policy: Annotated[str | None, typer.Option(help="Try this policy beside it: counted, never shown.")] = None,
    record: Annotated[bool, typer.Option(help="Record the exposures: the batch is the sending.")] = False,
    withheld: Annotated[bool, typer.Option(help="Also write withheld rows with their reasons.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with a batch that was cut off.")] = False,
    block: Annotated[int, typer.Option(help="Shoppers scored at once.")] = 1024,
    engine_kind: Annotated[str, typer.Option("--engine", help="local or spark.")] = "local",
    master: Annotated[str, typer.Option(help="Spark's master, e.g. spark://host:7077.")] = "local[*]",
    now: Now = None,
) -> None:
    """Score shoppers through the boundary, into Parquet.

    With --ledger none nobody can tell what was shown before, so everybody gets the crowd shelf.

    Example: [bold]cornerstore score --bundle runs/bundle --out runs/slates[/]
    """
    from recsys.batch import Order, score_users
    from recsys.engine import Engine

    url = ledger_of(bundle, ledger)
    if shadow_policy is not None and _on_spark(engine_kind):
        raise refused("--shadow-policy must be left out with --engine spark: executors keep no counts")
    engine = Engine.load(bundle, ledger=url, policy=policy, shadow_policy=shadow_policy)
    moment = moment_of(now, engine)
    if url is None:
        console.print(noted("no ledger:", "nothing is known of earlier exposures; everybody gets the crowd shelf"))
    if user:
        for one in user:
            show(engine.score(one, n=n, surface=surface, intent=intent, now=moment, reserve=record), engine)
        return
    ids = _lines(users) if users else [one for one in engine.bundle.user_ids if one]
    strangers = sum(one not in engine.bundle.user_row for one in ids)
    if strangers:
        console.print(
            noted(f"{strangers:,} of {len(ids):,} shoppers", "are not in the bundle: they get a guest's list")
        )
    order = Order(n=n, surface=surface, intent=intent, now=moment, block=block, withheld=withheld, record=record)
    with counting("Scoring") as progress:
        if _on_spark(engine_kind):
            from recsys.spark import score_users_spark

            manifest = score_users_spark(
                bundle, ids, out, order, master=master, ledger=url, policy=policy, resume=resume, progress=progress
            )
        else:
            manifest = score_users(engine, ids, out, order, resume=resume, progress=progress)
    console.print(f"{manifest['scored']:,} shoppers, {manifest['shown']:,} slots: {manifest['sources']}")
    console.print(f"withheld: {manifest['withheld']}")
    if manifest.get("beside"):
        console.print(f"{shadow_policy} would be, for so many shoppers: {manifest['beside']}")
    console.print(f"slates are in {out / 'slates'}, the manifest in {out / 'manifest.json'}")


@app.command()
def explain(
    user_id: str,
    item_id: str,
    bundle: BundleAt = Path("runs/demo/bundle"),
    ledger: LedgerUrl = "",
    surface: Surface = "home",
    intent: Intent = "browse",
    n: Slots = 10,
    now: Now = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what every rule makes of an item for a shopper, and what would change it.

    Example: [bold]cornerstore explain 1228 1029743 --bundle runs/demo/bundle[/]
    """
    from recsys.engine import Engine

    engine = Engine.load(bundle, ledger=ledger_of(bundle, ledger))
    moment = moment_of(now, engine)
    told = engine.explain(user_id, item_id, n=n, surface=surface, intent=intent, now=moment)
    if as_json:
        sys.stdout.write(json.dumps(told.to_dict(), indent=2) + "\n")
        return
    title = engine.bundle.titles[engine.gate.catalogue.row_of[item_id]]
    verdict = "shown" if told.shown else "withheld: " + ", ".join(told.reasons)
    place = f"place {(told.rank or 0) + 1} of the candidates ({told.source})"
    console.print(noted(title, f"for a {told.tier}, {place}: {verdict}", "bold"))
    grid = grid_of("rule", "verdict", "value", "limit", "what would change it")
    grid.columns[0].no_wrap = True
    for rule in sorted(told.rules, key=lambda r: (not r.withheld, r.withheld is None)):
        word = "-" if rule.withheld is None else "withheld" if rule.withheld else "passed"
        shadow = " (shadow)" if rule.enforce == "shadow" else ""
        cell = Text.assemble((word, "red" if rule.withheld else ""), shadow)
        grid.add_row(rule.rule, cell, _number(rule.value), _number(rule.limit), rule.remedy or "")
    console.print(grid)
    console.print(f"to the shopper: {told.to_shopper}")


@app.command()
def forget(
    user_id: str,
    bundle: BundleAt,
    ledger: LedgerUrl = "",
    slates: Annotated[list[Path] | None, typer.Option(help="Parquet, or folders of it, with kept slates.")] = None,
) -> None:
    """Remove what is kept of a shopper: events, ledger entries, feedback, kept slates; the next slate is a guest's.

    Example: [bold]cornerstore forget 1228 --bundle runs/bundle[/]
    """
    from recsys.engine import Engine

    engine = Engine.load(bundle, ledger=ledger_of(bundle, ledger))
    gone = engine.forget(user_id, slates=slates or [])
    console.print(
        f"removed {gone.events:,} events, {gone.exposures:,} exposures, {gone.slate_rows:,} rows of kept slates"
    )
    if engine.ledger is None:
        console.print(noted("no ledger:", "what a ledger keeps of the shopper still stands there"))
    if gone.retrain_by is not None:
        due = datetime.fromtimestamp(gone.retrain_by / 1e6, tz=UTC)
        console.print(f"item factors learned from the shopper: fit again by {due:%Y-%m-%d}")


@app.command()
def status(bundle: BundleAt, ledger: LedgerUrl = "") -> None:
    """Show what a bundle holds, whether the ledger answers, and by when a new fit is due.

    Example: [bold]cornerstore status --bundle runs/bundle[/]
    """
    from recsys.engine import Engine

    sys.stdout.write(json.dumps(Engine.load(bundle, ledger=ledger_of(bundle, ledger)).status(), indent=2) + "\n")


def _on_spark(kind: str) -> bool:
    if kind not in {"local", "spark"}:
        raise refused(f"--engine must be local or spark but got {kind!r}")
    return kind == "spark"


def _tuned(shop: Any, *, taxonomy: Any, policy: Any, trials: int, seed: int, now: int, model: str) -> Choice:
    """Search model and settings by later weeks, print the trials, and return the choice."""
    from recsys.shop import Choice, tune_shop
    from recsys.tuning import words_of

    def told(done: int, of: int, figure: float, now: str) -> str:
        words = f"{done} of {of}" + (f", now {now}" if now else "")
        return words if math.isnan(figure) else f"{words}, best NDCG@20 {figure:.4f}"

    with steps("Tuning") as tell:
        best = tune_shop(
            shop, taxonomy=taxonomy, policy=policy, trials=trials, seed=seed, now=now, model=model,
            progress=lambda done, of, figure, now: tell(told(done, of, figure, now), done / of),
        )  # fmt: skip
    grid = grid_of("model", "half-life", "NDCG@20", "seconds", "settings")
    for row in best.table.iter_rows(named=True):
        days = "none" if row["half_life_days"] is None else f"{row['half_life_days']:g} d"
        grid.add_row(
            row["model"], days, f"{row['ndcg']:.4f}", f"{row['seconds']:.1f}", words_of(json.loads(row["settings"]))
        )
    console.print(grid)
    return Choice(best.model, best.settings, best.weighing, seed)


def _lines(path: Path) -> list[str]:
    from boundary.tables import TableError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path} cannot be read ({error}); give a text file with a user id a line") from error
    return list(dict.fromkeys(user for line in lines if (user := line.strip())))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def main() -> None:
    """Run a command; what a user can mend ends as one line and code 2, never as a traceback."""
    try:
        app(standalone_mode=True)
    except Exception as error:
        from recsys.errors import MENDABLE

        if not isinstance(error, MENDABLE):
            raise
        end(error)


if __name__ == "__main__":
    main()
