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
from recsys.models.base import LARGEST_SEED, require
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
REASONS_TOLD, WORDS_TOLD = 4, 3  # how many are named on screen
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

    def __post_init__(self) -> None:
        require("seed", self.seed, at_least=0, at_most=LARGEST_SEED)


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
        _warn(console, "no customers table:", "nobody has agreed to anything, so everybody gets the crowd shelf")
    known = set(tables["catalogue"].rows["item_id"])
    strangers = int((~tables["events"].rows["item_id"].is_in(list(known))).sum())
    if strangers:
        _warn(console, "events:", f"{strangers:,} name an item that the catalogue does not hold: no evidence")
    if tables["catalogue"].rows["promoted"].is_null().all() and len(tables["catalogue"].rows):
        _warn(
            console,
            "catalogue:",
            "no word on what is promoted: every item counts as promoted, so slates stay short; give a column `promoted`",
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
        if len(table.rejects) and rejects is None:
            reason, count = table.rejects["reason"].value_counts(sort=True).row(0)
            raise TableError(
                f"{name}: {len(table.rejects):,} bad rows, most of them {reason} ({count:,}): "
                "mend them, or give `rejects`, a folder to keep them in"
            )
        if rejects is not None:
            kept_aside(table, rejects)
    return {name: table.rows for name, table in tables.items()}


def _read(folder: str | Path, rejects: str | Path, console: Console, now: int | None) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for name in NAMES:
        path = next(
            (Path(folder) / f"{name}{end}" for end in SUFFIXES if (Path(folder) / f"{name}{end}").exists()), None
        )
        if path is not None:
            tables[name] = read_table(path, name, until=_possible(now))
            tell_rejects(tables[name], kept_aside(tables[name], rejects), console)
        else:
            _rejects_of(name, rejects).unlink(missing_ok=True)
    return tables


def kept_aside(table: Table, folder: str | Path) -> Path:
    """Write what was rejected in place of what an earlier reading left there; without any the file is gone."""
    path = _rejects_of(table.name, folder)
    if len(table.rejects):
        return write_rejects(table, path)
    path.unlink(missing_ok=True)
    return path


def tell_rejects(table: Table, path: Path, console: Console) -> None:
    """Say how much was rejected, where it is, and why."""
    console.print(f"{table.name}: {len(table.rows):,} rows")
    if len(table.rejects):
        reasons = table.rejects["reason"].value_counts(sort=True)
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.head(REASONS_TOLD).iter_rows())
        rest = reasons["count"][REASONS_TOLD:]
        more = f", and {rest.sum():,} for {len(rest):,} more reasons" if len(rest) else ""
        _warn(console, f"  {len(table.rejects):,} bad rows kept aside", f"in {path}: {told}{more}")


def tell_unknown_words(customers: pl.DataFrame | None, policy: Policy, console: Console) -> None:
    """Warn of words of consent and channels that no rule asks for, such as a slip: they grant nothing."""
    if customers is None:
        return
    words = customers.select(
        pl.concat_list("consent", "channels").list.set_difference(sorted(policy.agreements)).alias("word")
    )["word"]
    rows = int((words.list.len() > 0).sum())
    if not rows:
        return
    often = words.explode().drop_nulls().value_counts(sort=True)["word"]
    named = ", ".join(map(repr, often.head(WORDS_TOLD))) + (
        f" and {len(often) - WORDS_TOLD:,} more" if len(often) > WORDS_TOLD else ""
    )
    _warn(
        console,
        "customers:",
        f"{rows:,} rows have a consent or channel that the policy knows nothing of, so it grants nothing: {named}; "
        f"there are {', '.join(sorted(policy.agreements))}",
    )


def _warn(console: Console, head: str, text: str) -> None:
    from recsys.display import noted

    console.print(noted(head, text))


def _rejects_of(name: str, folder: str | Path) -> Path:
    return Path(folder) / f"{name}.parquet"


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
        TableError: no event, or no item, is left to learn from.
        ModelError: there is no such model or setting, or the model cannot be trained on Spark.
    """
    if not len(shop.catalogue):
        raise TableError("catalogue: not one row can be used; give at least one item")
    events = (
        shop.events if latest(shop.events) <= now + 1 else shop.events.filter(pl.col("at").dt.timestamp("us") <= now)
    )
    if not events["item_id"].is_in(shop.catalogue["item_id"].implode()).any():
        raise TableError(_unusable(shop.events, events))
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


def _unusable(given: pl.DataFrame, until_now: pl.DataFrame) -> str:
    """Say why there is no event to learn from."""
    if not len(given):
        return "events: not one row can be used; give at least one event of an item of the catalogue"
    if not len(until_now):
        first = given["at"].sort().dt.to_string("%FT%T")[0]
        return f"events: `now` must be after one of the {len(given):,} events, of which the first is at {first}"
    return f"events: none of {len(until_now):,} names an item that the catalogue holds; use the catalogue's item_id"


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
