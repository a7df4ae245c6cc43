"""A shop's own tables from a folder, validated, and how a recommender is made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from boundary.catalogue import Catalogue
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.shoppers import Customers
from boundary.tables import Table, TableError, read_table, write_rejects
from recsys.asked import micros
from recsys.evidence import evidence_of, purchases
from recsys.fitting import Step, fit_bundle
from recsys.interactions import Weighing
from recsys.models import ModelError, make_model
from recsys.quality import discoveries, temporal_cut
from recsys.tuning import SPACES, WITH_VECTORS, Tuned, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from boundary.policy import Policy
    from boundary.taxonomy import Taxonomy
    from recsys.bundle import Bundle
    from recsys.forgetting import Forgotten
    from recsys.models import Recommender

KINDS = {"purchase": 1.0, "cart": 1.0, "view": 0.3}  # how much an event of a kind weighs as evidence
NAMES, SUFFIXES = ("events", "catalogue", "customers"), (".parquet", ".csv")
FACTORS = {"factors": 192}  # the more, the less of the taste is lost with each direction that the blindfold erases


@dataclass(frozen=True)
class Shop:
    """The three tables of a shop, validated; ``customers`` may be None."""

    events: pl.DataFrame
    catalogue: pl.DataFrame
    customers: pl.DataFrame | None


@dataclass(frozen=True)
class Choice:
    """How the recommender is made: model, its settings, how events weigh, and the seed."""

    model: str
    settings: dict[str, Any]
    weighing: Weighing
    seed: int


def default_choice(seed: int, *, model: str = "", settings: dict[str, Any] | None = None) -> Choice:
    """Return how a recommender is made where nobody says otherwise; settings of another model are that model's own.

    Example:
        >>> default_choice(7).model, default_choice(7, model="ease").settings
        ('als', {})
    """
    own = {} if model else FACTORS
    return Choice(model or "als", own | (settings or {}), Weighing(KINDS), seed)


def read_shop(folder: str | Path, *, rejects: str | Path, console: Console, now: int | None = None) -> Shop:
    """Read events, catalogue and (where there is one) customers as Parquet or CSV from a folder.

    Bad rows go to ``rejects`` with their reason and are counted on screen. Bad is also an event that lies ahead of the
    clock, or of ``now``, microseconds UTC, where that is later.

    Raises:
        TableError: a table or a column is missing, or a file cannot be read.
    """
    tables = _read(folder, rejects, console, now)
    for name in ("events", "catalogue"):
        if name not in tables:
            raise TableError(f"{folder} holds no {name}.parquet or {name}.csv; put the shop's {name} there")
    if "customers" not in tables:
        console.print("[yellow]no customers table:[/] nobody has agreed to anything, so everybody gets the crowd shelf")
    known = set(tables["catalogue"].rows["item_id"])
    strangers = int((~tables["events"].rows["item_id"].is_in(list(known))).sum())
    if strangers:
        console.print(f"[yellow]events:[/] {strangers:,} name an item that the catalogue does not hold: no evidence")
    if tables["catalogue"].rows["promoted"].is_null().all() and len(tables["catalogue"].rows):
        console.print(
            "[yellow]catalogue:[/] no word on what is promoted: every item counts as promoted, so slates stay short;"
            " give a column `promoted`"
        )
    customers = tables.get("customers")
    return Shop(tables["events"].rows, tables["catalogue"].rows, None if customers is None else customers.rows)


def read_news(
    folder: str | Path, *, rejects: str | Path, console: Console, now: int | None = None
) -> dict[str, pl.DataFrame]:
    """Read what is new, as ``read_shop`` does; a table that has no news may be missing.

    Raises:
        TableError: there is none at all, a column is missing, or a file cannot be read.
    """
    tables = _read(folder, rejects, console, now)
    if not tables:
        raise TableError(f"{folder} holds none of {', '.join(NAMES)}, as .parquet or .csv; put the news there")
    return {name: table.rows for name, table in tables.items()}


def checked_shop(
    events: pl.DataFrame | str | Path,
    catalogue: pl.DataFrame | str | Path,
    customers: pl.DataFrame | str | Path | None,
    *,
    rejects: str | Path | None,
    now: int | None = None,
) -> Shop:
    """Validate three tables; bad rows are written to the folder ``rejects``, with their reason.

    There, ``now`` is as in ``read_shop``; without a folder an event that lies ahead is no bad row.

    Raises:
        TableError: a column is missing, a file cannot be read, or there are bad rows and no folder to keep them in.
    """
    tables = checked_tables(
        {"events": events, "catalogue": catalogue, "customers": customers}, rejects=rejects, now=now
    )
    return Shop(tables["events"], tables["catalogue"], tables.get("customers"))


def checked_tables(
    given: Mapping[str, pl.DataFrame | str | Path | None], *, rejects: str | Path | None, now: int | None = None
) -> dict[str, pl.DataFrame]:
    """Validate tables by name, as ``checked_shop`` does; None is left out.

    Raises:
        TableError: a column is missing, a file cannot be read, or there are bad rows and no folder to keep them in.
    """
    until = None if rejects is None else _possible(now)
    tables = {name: read_table(source, name, until=until) for name, source in given.items() if source is not None}
    for name, table in tables.items():
        if not len(table.rejects):
            continue
        if rejects is None:
            reason, count = table.rejects["reason"].value_counts(sort=True).row(0)
            raise TableError(
                f"{name}: {len(table.rejects):,} bad rows, most of them {reason} ({count:,}): "
                "mend them, or give `rejects`, a folder to keep them in"
            )
        write_rejects(table, Path(rejects) / f"{name}.parquet")
    return {name: table.rows for name, table in tables.items()}


def _read(folder: str | Path, rejects: str | Path, console: Console, now: int | None) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for name in NAMES:
        path = next(
            (Path(folder) / f"{name}{end}" for end in SUFFIXES if (Path(folder) / f"{name}{end}").exists()), None
        )
        if path is not None:
            tables[name] = read_table(path, name, until=_possible(now))
            tell_rejects(tables[name], Path(rejects) / f"{name}.parquet", console)
    return tables


def tell_rejects(table: Table, path: Path, console: Console) -> None:
    """Write what was rejected and say how much and why."""
    console.print(f"{table.name}: {len(table.rows):,} rows")
    if len(table.rejects):
        write_rejects(table, path)
        reasons = table.rejects["reason"].value_counts(sort=True).head(4).iter_rows()
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        console.print(f"  [yellow]{len(table.rejects):,} bad rows kept aside[/] in {path}: {told}")


def fit_shop(
    shop: Shop,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    choice: Choice,
    now: int,
    tell: Step | None = None,
    spark: str | None = None,
    forgotten: Forgotten | None = None,
) -> Bundle:
    """Fit a shop as chosen, on its events up to ``now``; ``spark`` is a master on which the factors are trained.

    The later events are counted among those turned away, as ``ahead``.

    Raises:
        ModelError: there is no such model or setting, or the model cannot be trained on Spark.
    """
    events = (
        shop.events if latest(shop.events) <= now + 1 else shop.events.filter(pl.col("at").dt.timestamp("us") <= now)
    )
    bundle = fit_bundle(
        events,
        shop.catalogue,
        shop.customers,
        taxonomy=taxonomy,
        policy=policy,
        model=_model(choice, spark),
        weighing=choice.weighing,
        now=now,
        seed=choice.seed,
        step=tell,
        forgotten=forgotten,
    )
    if len(events) == len(shop.events):
        return bundle
    turned_away = bundle.facts["events_turned_away"] | {"ahead": len(shop.events) - len(events)}
    return replace(bundle, facts=bundle.facts | {"events_turned_away": turned_away})


def tune_shop(
    shop: Shop,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    trials: int,
    seed: int,
    now: int,
    model: str = "",
    progress: Callable[[int, int, float, str], None] | None = None,
) -> Tuned:
    """Search model and settings on what the first 80 % of the weeks admit, judged by the discoveries of the rest.

    Where the policy blinds, only models that take a blindfold are tried, unless ``model`` names the one to tune.

    Raises:
        ModelError: ``model`` is none that can be tuned.
    """
    if model and model not in SPACES:
        raise ModelError(f"`model` must be one of {', '.join(SPACES)} to be tuned but got {model!r}")
    names = [model] if model else WITH_VECTORS if policy.blind.strength > 0 else list(SPACES)
    events = shop.events.filter(pl.col("at").dt.timestamp("us") <= now)
    cut = temporal_cut(events)
    items = Catalogue.compile(shop.catalogue, taxonomy)
    users = events["user_id"].unique().sort().to_list()
    early = pl.col("at").dt.timestamp("us") <= cut
    before = History.from_frame(events.filter(early), users, items.row_of)
    after = History.from_frame(events.filter(~early), users, items.row_of)
    gate = Gate(items, policy.replace({"admit.proxy_z": None}))
    customers = Customers.compile(shop.customers, users, items.families)
    shoppers = gate.meet(customers, before, Exposures.empty(len(users)), now=cut)
    admitted = before.only(gate.admit(before, shoppers, now=cut).mask)
    return tune(
        lambda weighing: evidence_of(admitted, weighing, items=items.items, now=cut),
        discoveries(before, after, items=items.items),
        purchases(before, items=items.items),
        trials=trials,
        seed=seed,
        kinds=KINDS,
        models={name: SPACES[name] for name in names},
        progress=progress,
    )


def latest(events: pl.DataFrame, *, until: int | None = None) -> int:
    """Return the moment just after the last event, of those not after ``until``, microseconds UTC; 0 without any."""
    moments = events["at"].dt.timestamp("us")
    last = (moments if until is None else moments.filter(moments <= until)).max()
    return 0 if last is None else int(last) + 1  # type: ignore[arg-type]


def _possible(now: int | None) -> int:
    """Return the last moment that an event can be of: the clock's, or ``now`` where that is later."""
    return max(micros(None), 0 if now is None else now)


def _model(choice: Choice, spark: str | None) -> Recommender:
    model = make_model(choice.model, **choice.settings)
    if spark is None:
        return model
    from recsys.models import ALS
    from recsys.models.spark_als import SparkALS

    if not isinstance(model, ALS):
        raise ModelError(f"`model` must be als to be trained on Spark but got {choice.model!r}")
    return SparkALS(als=model, master=spark)  # type: ignore[return-value]
