"""Small shops for the boundary's tests: one built by hand, and random ones for laws."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, settings

from boundary import Candidates, Catalogue, Context, Customers, Exposures, Gate, History, Policy, Taxonomy, Verdict
from boundary.history import ENTRY_KINDS
from boundary.shoppers import Shoppers
from boundary.tables import read_table
from boundary.taxonomy import Entry
from boundary.words import KIND_NAMES, SOURCE_NAMES

settings.register_profile(  # as many examples as fit in a minute, the same ones each time
    "boundary",
    max_examples=int(os.environ.get("LAW_EXAMPLES", "40")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("boundary")

MOMENT = dt.datetime(2026, 1, 15, 12, 0, tzinfo=dt.UTC)
NOW = int(MOMENT.timestamp() * 1_000_000)
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
SENSITIVE = Taxonomy(
    entries=(Entry(family="health", category="medicine"), Entry(family="baby", category=("nappies", "baby food")))
)
DEFAULT = Policy.named("default")
QUOTAS = ("promoted_share", "promoted_lead", "promoted_gap", "profile_share", "crowded", "crowded_brand")


def policy(**changes: Any) -> Policy:
    """Return the default policy with settings replaced; ``__`` stands for a dot: ``item_cap__times=1``."""
    return DEFAULT.replace({f"rules.{name.replace('__', '.')}": value for name, value in changes.items()})


def only(*names: str, **changes: Any) -> Policy:
    """Return the default policy with every rule off but the named ones."""
    off = {f"rules.{name}.enforce": "off" for name in DEFAULT.rules if name not in names}
    tree = DEFAULT.replace(off).to_dict() | {"overrides": {}}
    return Policy.from_dict(tree).replace(
        {f"rules.{name.replace('__', '.')}": value for name, value in changes.items()}
    )


def item(item_id: str, **terms: Any) -> dict[str, Any]:
    """Return a harmless catalogue row with some columns replaced."""
    plain = {
        "item_id": item_id, "title": item_id, "category": "bread", "brand": None, "price": 2.0, "kind": "product",
        "created_at": MOMENT - dt.timedelta(days=400), "promoted": False, "margin": None, "was_price": None,
        "low_30d": None, "badge": None, "badge_stock": None, "badge_until": None, "badge_count": None,
        "replenish_days": 7.0, "conditions": None, "tracker": None, "department": None, "type": None,
    }  # fmt: skip
    return plain | terms


def catalogue(
    items: Iterable[Mapping[str, Any]],
    *,
    taxonomy: Taxonomy = SENSITIVE,
    support: Sequence[float] | None = None,
    lift: Sequence[Sequence[float]] | None = None,
    z: Sequence[Sequence[float]] | None = None,
) -> Catalogue:
    """Compile items through the front door, with support and harmless proxies where nothing else is given."""
    lines = list(items)
    frame = read_table(pl.DataFrame(lines or [item("x")], infer_schema_length=None), "catalogue").rows
    frame = frame if lines else frame.clear()
    families = len(taxonomy.families)
    return Catalogue.compile(
        frame,
        taxonomy,
        support=np.full(len(frame), 100.0) if support is None else support,
        proxy_lift=np.ones((families, len(frame))) if lift is None else lift,
        proxy_z=np.zeros((families, len(frame))) if z is None else z,
    )


def event(item_row: int, *, kind: str = "purchase", ago: int = DAY, price: float | None = None) -> tuple[Any, ...]:
    """Return an event ``ago`` microseconds before now, for ``history``."""
    paid = 2.0 if price is None and kind == "purchase" else price
    return (item_row, KIND_NAMES.index(kind), NOW - ago, np.nan if paid is None else paid, 1.0)


def history(*users: Sequence[tuple[Any, ...]]) -> History:
    """Return the events of users, each a list of ``event``."""
    flat = [line for user in users for line in sorted(user, key=lambda line: line[2])]
    columns = list(zip(*flat, strict=True)) or [()] * 5
    offsets = np.cumsum([0, *(len(user) for user in users)])
    return History(
        offsets.astype(np.int64), np.array(columns[0], np.int32), np.array(columns[1], np.uint8),
        np.array(columns[2], np.int64), np.array(columns[3], np.float32), np.array(columns[4], np.float32),
    )  # fmt: skip


def shown(
    item_row: int, *, ago: int = DAY, surface: str = "home", slate: int = 0, kind: str = "shown"
) -> tuple[Any, ...]:
    """Return a ledger entry ``ago`` microseconds before now, for ``exposures``."""
    return (item_row, ENTRY_KINDS.index(kind), surface, NOW - ago, slate)


def exposures(*users: Sequence[tuple[Any, ...]]) -> Exposures:
    """Return the ledger entries of users, each a list of ``shown``."""
    flat = [line for user in users for line in user]
    surfaces = tuple(dict.fromkeys(line[2] for line in flat))
    offsets = np.cumsum([0, *(len(user) for user in users)])
    return Exposures(
        offsets.astype(np.int64), np.array([line[0] for line in flat], np.int32),
        np.array([line[1] for line in flat], np.uint8),
        np.array([surfaces.index(line[2]) for line in flat], np.int32),
        np.array([line[3] for line in flat], np.int64), np.array([line[4] for line in flat], np.int32), surfaces,
    )  # fmt: skip


def customer(user_id: str, **terms: Any) -> dict[str, Any]:
    """Return a customer of 400 days who agreed to everything, with some columns replaced."""
    plain = {
        "user_id": user_id, "consent": ["personalise", "email", "push"], "opted_out": False, "channels": [],
        "timezone": "UTC", "since": MOMENT - dt.timedelta(days=400), "sensitive_optin": [],
    }  # fmt: skip
    return plain | terms


def customers(lines: Iterable[Mapping[str, Any]], user_ids: Sequence[str]) -> Customers:
    """Compile customers for the given users."""
    rows = list(lines)
    columns = {"consent": pl.List(pl.String), "channels": pl.List(pl.String), "sensitive_optin": pl.List(pl.String)}
    frame = pl.DataFrame(rows, schema_overrides=columns, infer_schema_length=None) if rows else None
    return Customers.compile(frame, user_ids, SENSITIVE.families)


@dataclass(frozen=True, repr=False)
class World:
    """Everything ``screen`` reads, for a block of users; ``exposures`` None is a ledger that is down."""

    catalogue: Catalogue
    candidates: Candidates
    customers: Customers
    history: History
    exposures: Exposures | None
    context: Context = Context("home", "browse", 10, NOW)  # noqa: RUF009 (frozen)
    seed: int | None = None

    def __repr__(self) -> str:
        return f"random_world({self.seed}) asked for {self.context}"

    def take(self, users: Sequence[int]) -> World:
        """Return the world of the given user positions, in that order."""
        at = np.asarray(users, np.int64)
        return replace(
            self,
            candidates=self.candidates.take(at),
            customers=self.customers.take(at),
            history=self.history.take(at),
            exposures=None if self.exposures is None else self.exposures.take(at),
        )

    def meet(self, rules: Policy) -> Shoppers:
        return Gate(self.catalogue, rules).meet(self.customers, self.history, self.exposures, now=self.context.now)

    def screen(self, rules: Policy, **context: Any) -> Verdict:
        """Meet and screen, with parts of the context replaced."""
        asked = replace(self.context, **context)
        gate = Gate(self.catalogue, rules)
        shoppers = gate.meet(self.customers, self.history, self.exposures, now=asked.now)
        return gate.screen(
            self.candidates, shoppers=shoppers, history=self.history, exposures=self.exposures, context=asked
        )


REGULAR = (*(event(1, ago=(100 + day) * DAY) for day in range(10)), event(1, ago=20 * DAY))


def one_row(
    terms: Mapping[str, Any] | None = None,
    *,
    row: Mapping[str, Any] | None = None,
    shopper: Mapping[str, Any] | None = None,
    events: Sequence[tuple[Any, ...]] = (),
    entries: Sequence[tuple[Any, ...]] | None = (),
    support: float = 100,
    lift: float = 1,
    z: float = 0,
    **context: Any,
) -> World:
    """Return the world of a regular shopper with one candidate row, item 0, that nothing is wrong with.

    The shopper bought item 1, the row's evidence, often and 20 days ago for the last time; ``events`` come on top.
    """
    things = catalogue(
        [item("it", **(terms or {})), item("why", category="tea")], support=[support, 100], lift=[[lift, 1]] * 2,
        z=[[z, 0]] * 2,
    )  # fmt: skip
    columns = {
        "source": "personal",
        "score": 1.0,
        "closeness": 1.0,
        "trace_share": 0.3,
        "evidence_row": 1,
        "item_row": 0,
    }
    columns |= row or {}
    source = columns.pop("source")
    code = SOURCE_NAMES.index(source) if isinstance(source, str) else source
    block = Candidates.of(["ann"], [0, 1], source=[code], **{name: [value] for name, value in columns.items()})
    people = [] if shopper is not None and shopper.get("stranger") else [customer("ann", **(shopper or {}))]
    return World(
        things,
        block,
        customers(people, ["ann"]),
        history([*REGULAR, *events]),
        None if entries is None else exposures(entries),
        replace(World.context, **context),
    )


def reasons(world: World, rules: Policy = DEFAULT, **context: Any) -> list[str]:
    """Return the reasons that withhold the only row of a world."""
    return world.screen(rules, **context).reasons(0)


def slate(
    lines: Sequence[Mapping[str, Any]], *, rules: Policy, n: int = 10, sources: Sequence[str] | None = None
) -> list[str]:
    """Return the ids that a shopper is shown of ranked items that only quotas can forbid."""
    things = catalogue([item(f"i{place}", **line) for place, line in enumerate(lines)])
    where = ["crowd"] * len(lines) if sources is None else sources
    block = Candidates.of(
        ["ann"], [0, len(lines)], item_row=np.arange(len(lines)), score=-np.arange(len(lines), dtype=float),
        source=[SOURCE_NAMES.index(name) for name in where],
    )  # fmt: skip
    world = World(things, block, customers([customer("ann")], ["ann"]), history(list(REGULAR[:0])), exposures([]))
    verdict = world.screen(rules, n=n)
    return [things.item_ids[row] for row in block.item_row[verdict.kept_rows(0)]]


@cache
def random_world(seed: int, *, users: int = 3, items: int = 12, rows: int = 8, now: int = NOW) -> World:
    """Return a shop in which every rule finds something to withhold and something to let pass."""
    rng = np.random.default_rng(seed)
    badges = [None, "Hurry, ends soon", "Only 3 left", "500 people bought this", "Low stock", "Bestseller", "New"]
    kinds = rng.choice(["product"] * 9 + ["gesture"], items)
    lines = [
        item(
            f"i{number}",
            category=rng.choice(
                ["bread", "tea", "fruit", "medicine", "nappies", None], p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05]
            ),
            brand=rng.choice(["mill", "leaf", None]),
            price=float(rng.choice([0.0, 1.0, 2.0, 3.0, 10.0])),
            kind=str(kinds[number]),
            promoted=rng.choice([True, False, None], p=[0.3, 0.6, 0.1]),
            was_price=rng.choice([None, 4.0], p=[0.8, 0.2]),
            low_30d=rng.choice([None, 2.0, 4.0]),
            badge=rng.choice(badges, p=[0.5, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1]),
            badge_stock=rng.choice([None, 1, 4]),
            badge_count=rng.choice([None, 40, 600]),
            badge_until=rng.choice([None, MOMENT - dt.timedelta(days=1), MOMENT + dt.timedelta(days=1)]),
            replenish_days=rng.choice([None, 7.0, 30.0]),
            conditions=rng.choice([None, "", "buy two"]),
            tracker=rng.choice([None, True, False]),
        )
        for number in range(items)
    ]
    things = catalogue(
        lines,
        support=rng.choice([10.0, 30.0, 200.0, np.nan], items, p=[0.1, 0.2, 0.6, 0.1]),
        lift=rng.choice([0.5, 1.3, 2.0, np.nan], (2, items), p=[0.5, 0.3, 0.15, 0.05]),
        z=rng.choice([-1.0, 3.0, 4.0, 6.0], (2, items), p=[0.4, 0.3, 0.1, 0.2]),
    )
    ids = [f"u{number}" for number in range(users)]
    people = [
        customer(
            name,
            consent=list(rng.choice(["personalise", "email", "push"], rng.integers(0, 4), replace=False)) if rng.random() < 0.4
            else ["personalise", "email", "push"],
            opted_out=bool(rng.random() < 0.1),
            timezone=str(rng.choice(["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])),
            since=MOMENT - dt.timedelta(days=int(rng.choice([2, 20, 200]))),
            sensitive_optin=list(rng.choice(["health", "baby"], rng.integers(0, 3), replace=False)),
        )
        for name in ids
        if rng.random() < 0.9
    ]  # fmt: skip
    nowhere = (-1, items, items + 7)[seed % 3]  # before the shop's items, just beyond them, or far

    def somewhere() -> int:
        found = int(rng.integers(-1, items))
        return nowhere if found < 0 else found

    past = [
        [
            (
                somewhere(), int(rng.integers(0, 4)), now - int(rng.integers(-1, 130) * DAY),
                float(rng.choice([0.0, 1.0, 2.0, np.nan])), 1.0,
            )
            for _ in range(rng.integers(0, 14))
        ]
        for _ in ids
    ]  # fmt: skip
    entries = [
        [
            (
                somewhere(), int(rng.choice(5, p=[0.8, 0.08, 0.04, 0.04, 0.04])),
                str(rng.choice(["home", "email", "push"])), now - int(rng.integers(-1, 12 * 24) * HOUR),
                int(rng.integers(0, 4)),
            )
            for _ in range(rng.integers(0, 40))
        ]
        for _ in ids
    ]  # fmt: skip
    widths = rng.integers(0, rows + 1, users)
    size = int(widths.sum())
    unsure = np.where(rng.random(size) < 0.05, np.nan, 1.0)
    item_row = rng.integers(-1, items + 1, size)
    block = Candidates.of(
        ids,
        np.concatenate([[0], np.cumsum(widths)]),
        item_row=np.where(item_row == items, items + 7 * (seed % 2), item_row),
        score=np.where(rng.random(size) < 0.05, rng.choice([np.nan, np.inf, -3.4e38]), rng.normal(size=size)),
        source=rng.choice(6, size, p=[0.5, 0.2, 0.15, 0.05, 0.08, 0.02]),
        closeness=rng.normal(1.5, 1.5, size) * unsure,
        trace_share=rng.random(size) * unsure,
        evidence_row=[somewhere() for _ in range(size)],
    )
    return World(
        things,
        block,
        customers(people, ids),
        history(*past),
        exposures(*entries),
        Context("home", "browse", 10, now),
        seed,
    )
