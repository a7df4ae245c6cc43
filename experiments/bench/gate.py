"""How many candidate rows a second does one core put through the boundary, every rule of a policy in force?"""

from __future__ import annotations

import cProfile
import datetime as dt
import pstats
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.candidates import Candidates
from boundary.catalogue import Catalogue
from boundary.compare import Block
from boundary.facts import Context
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.policy import Policy
from boundary.rules import FAMILY_OF
from boundary.shoppers import Customers
from boundary.tables import read_table
from boundary.taxonomy import Entry, Taxonomy
from boundary.verdict import Verdict
from boundary.words import MICROSECONDS_A_DAY, Family, Source
from experiments.bench.figures import add_figures

MOMENT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
NOW = int(MOMENT.timestamp()) * 1_000_000
SURFACES = ("home", "email")  # rules about messages hold on the second alone
FAMILIES = ("health", "baby", "alcohol")
PERSONAL, SHELF = 100, 100  # candidates a shopper, as the engine proposes them
KINDS = (0.30, 0.08, 0.60, 0.02)  # views, carts, purchases, dismissals


class BenchError(RuntimeError):
    """What was to be timed is not what was meant."""


def bench_gate(
    out: Path,
    *,
    policy: str = "default",
    users: int = 1_024,
    items: int = 50_000,
    events: int = 120,
    entries: int = 40,
    rounds: int = 9,
) -> dict[str, float]:
    """Time ``Gate.screen`` on one core, print where the time goes and keep the figures.

    The block is drawn: ``users`` shoppers of every tier with ``events`` of their own, ``entries`` in the ledger and 202
    candidates each (100 personal, 100 from the crowd shelf, one explored, one gesture), in a shop of ``items`` with a
    Zipf demand. A round screens it once for the home page and once for a mail, so every rule of the policy is in
    force; a reason that no row gets would be a rule without work, and is an error.

    ``gate_rows_per_second`` counts the thread's own processor time, which other work on the machine does not lengthen;
    ``gate_wall_rows_per_second`` the wall clock. Both are of the median round. ``gate_call_seconds`` is the median for
    the block's shoppers one by one.

    Raises:
        BenchError: a reason of the policy has no row.
    """
    rules = Policy.named(policy)
    gate, block = drawn_block(rules, users=users, items=items, events=events, entries=entries)
    asked = [block._replace(context=Context(surface, "browse", 10, NOW)) for surface in SURFACES]
    screens = [_screen(gate, one) for one in asked]
    counts = Counter[str]()
    for screen in screens:
        counts.update(screen().counts())
    reasons = {rule.reason for rule in rules.rules.values() if rule.enforce == "enforce"}
    if idle := sorted(reason for reason in reasons if not counts[reason]):
        raise BenchError(f"no row is withheld for {', '.join(idle)}; draw a block that gives every rule work")
    rows = block.candidates.rows * len(screens)
    spent, waited = _timed(screens, rounds)
    alone = _alone(gate, asked[0], min(users, 256))
    figures = {
        "gate_rows_per_second": rows / median(spent),
        "gate_wall_rows_per_second": rows / median(waited),
        "gate_best_rows_per_second": rows / min(spent),
        "gate_call_seconds": median(alone),
        "gate_rows": float(rows),
        "gate_rules": float(len(reasons)),
    }
    told = f"{len(reasons)} reasons of the {policy} policy, {rows:,} rows of {users:,} shoppers, {items:,} items"
    speed = f"{figures['gate_rows_per_second'] / 1e6:.2f} M rows a second and core"
    best = f"best round {figures['gate_best_rows_per_second'] / 1e6:.2f}"
    wall = f"by the wall clock {figures['gate_wall_rows_per_second'] / 1e6:.2f}"
    one = f"one shopper {figures['gate_call_seconds'] * 1e6:.0f} us"
    print(f"{told}: {speed} ({best}, {wall}); {one}", flush=True)  # noqa: T201
    for line in _where(screens):
        print(line, flush=True)  # noqa: T201
    for family in (Family.PERSONAL, Family.FREQUENT, Family.CONVERSION, Family.GUARD, Family.SLATE):
        mine = [f"{reason} {count:,}" for reason, count in counts.most_common() if FAMILY_OF[reason] == family]
        print(f"  {family}: {', '.join(mine) or 'none'}", flush=True)  # noqa: T201
    add_figures(out, figures)
    return figures


def drawn_block(
    policy: Policy, *, users: int, items: int, events: int, entries: int, seed: int = 7
) -> tuple[Gate, Block]:
    """Draw a shop and a block of its shoppers in which every rule of a policy finds something to withhold."""
    draw = np.random.default_rng(seed)
    things = _shop(draw, items)
    demand = 1 / (np.arange(items) + 20.0) ** 0.9
    heard = np.cumsum(demand / demand.sum())
    shuffled = draw.permutation(items).astype(np.int32)

    def some(size: tuple[int, ...]) -> npt.NDArray[np.int32]:
        return shuffled[np.searchsorted(heard, draw.random(size)).clip(0, items - 1)]

    ago = np.sort(draw.uniform(0, 400, (users, events)) ** 2 / 400, axis=1)[:, ::-1]  # half within a hundred days
    mine = some((users, events))
    history = History(
        np.arange(users + 1) * events, mine.ravel(), draw.choice(len(KINDS), users * events, p=KINDS).astype(np.uint8),
        (NOW - ago.ravel() * MICROSECONDS_A_DAY).astype(np.int64), draw.gamma(2, 2, users * events).astype(np.float32),
        np.ones(users * events, np.float32),
    )  # fmt: skip
    shelf = shuffled[:SHELF]
    was_shown = np.where(
        draw.random((users, entries)) < 0.5, draw.choice(shelf, (users, entries)), some((users, entries))
    )
    pursued = np.arange(users) % 20 == 19  # by one item, day and night
    was_shown[pursued] = was_shown[pursued, :1]
    where = np.where(pursued[:, None], 1, draw.choice(3, (users, entries), p=(0.85, 0.1, 0.05)))
    span = np.where(pursued, 2, 10)[:, None] * MICROSECONDS_A_DAY
    exposures = Exposures(
        np.arange(users + 1) * entries, was_shown.ravel(),
        draw.choice(5, users * entries, p=(0.95, 0.03, 0.01, 0.005, 0.005)).astype(np.uint8),
        where.ravel().astype(np.int32), NOW - (draw.random((users, entries)) * span).astype(np.int64).ravel(),
        draw.integers(0, 8, users * entries, np.int32),
        ("home", "email", "push"),
    )  # fmt: skip
    candidates = _candidates(draw, some((users, PERSONAL)), mine, shelf, things)
    customers = _customers(draw, users, things.families)
    return Gate(things, policy), Block(candidates, customers, history, exposures, Context("home", "browse", 10, NOW))


def _candidates(
    draw: np.random.Generator, close: npt.NDArray[np.int32], mine: npt.NDArray[np.int32], shelf: npt.NDArray[np.int32],
    things: Catalogue,
) -> Candidates:  # fmt: skip
    """Give each shopper personal rows, the shelf, one explored item and one gesture."""
    users = len(close)
    known = np.take_along_axis(mine, draw.integers(mine.shape[1], size=close.shape), axis=1)
    close = np.where(draw.random(close.shape) < 0.05, known, close)  # now and then what they have seen before
    odd = draw.integers(things.items, size=(users, 1))
    gestures = np.flatnonzero(things.gesture)
    gift = draw.choice(gestures, (users, 1))
    item = np.concatenate([close, np.tile(shelf, (users, 1)), odd, gift], axis=1)
    width = item.shape[1]
    source = np.repeat([Source.PERSONAL, Source.CROWD, Source.EXPLORE, Source.GESTURE], [PERSONAL, SHELF, 1, 1])
    personal = source == Source.PERSONAL
    past = np.full(item.shape, -1)
    past[:, personal] = np.take_along_axis(mine, draw.integers(mine.shape[1], size=close.shape), axis=1)
    blank = np.where(personal, 1.0, np.nan)
    score = np.sort(draw.random(item.shape), axis=1)[:, ::-1].astype(np.float32)
    score[draw.random(item.shape) < 0.001] = np.nan
    item[draw.random(item.shape) < 0.001] = -1
    return Candidates.of(
        [f"shopper-{user:05}" for user in range(users)], np.arange(users + 1) * width, item_row=item.ravel(),
        score=score.ravel(), source=np.tile(source, users), closeness=(draw.normal(1.5, 1.2, item.shape) * blank).ravel(),
        trace_share=(draw.beta(2, 4, item.shape) * blank).ravel(), evidence_row=past.ravel(),
    )  # fmt: skip


def _shop(draw: np.random.Generator, items: int) -> Catalogue:
    """Draw items with badges, discounts and gestures, some of them as no shop should have them."""
    ids = [f"item-{row:06}" for row in range(items)]
    price = draw.gamma(2, 2, items).round(2) + 0.5
    cut = draw.random(items) < 0.1
    badges = pl.Series([None, "Hurry, ends soon", "Only 3 left", "500 people bought this", "New"])
    gift = np.arange(items) % 100 == 99

    def maybe(values: npt.NDArray[np.float64], share: npt.NDArray[np.bool_]) -> pl.Series:
        return pl.select(pl.when(pl.lit(pl.Series(share))).then(pl.lit(pl.Series(values)))).to_series()

    table = pl.DataFrame(
        {
            "item_id": ids, "title": ids, "category": [f"aisle-{aisle}" for aisle in _unequal(draw, 300, items)],
            "brand": [f"brand-{brand}" for brand in _unequal(draw, 900, items)], "price": maybe(price, ~gift),
            "kind": np.where(gift, "gesture", "product"), "created_at": MOMENT - dt.timedelta(days=400),
            "promoted": draw.random(items) < 0.1, "was_price": maybe(price * 1.4, cut & ~gift),
            "low_30d": maybe(price * np.where(draw.random(items) < 0.5, 1.4, 0.9), cut & ~gift),
            "badge": badges.gather(draw.choice(5, items, p=(0.85, 0.03, 0.03, 0.03, 0.06))),
            "badge_stock": draw.integers(0, 8, items), "badge_count": draw.integers(0, 1000, items),
            "badge_until": pl.Series(draw.choice([-1, 1], items) * MICROSECONDS_A_DAY + NOW).cast(pl.Datetime("us", "UTC")),
            "replenish_days": maybe(draw.choice([7.0, 14.0, 60.0], items), draw.random(items) < 0.9),
            "tracker": ~(draw.random(items) < 0.9),
        }
    )  # fmt: skip
    taxonomy = Taxonomy(
        entries=tuple(Entry(family=name, category=(f"aisle-{20 * at + 20}",)) for at, name in enumerate(FAMILIES))
    )
    return Catalogue.compile(
        read_table(table, "catalogue").rows, taxonomy, support=draw.gamma(1, 200, items),
        proxy_lift=draw.gamma(4, 0.25, (len(FAMILIES), items)), proxy_z=draw.normal(0, 2, (len(FAMILIES), items)),
    )  # fmt: skip


def _unequal(draw: np.random.Generator, groups: int, items: int) -> list[int]:
    """Draw the group of each item, the first groups the largest."""
    return [int(group) for group in groups * draw.random(items) ** 3]


def _customers(draw: np.random.Generator, users: int, families: tuple[str, ...]) -> Customers:
    """Draw shoppers: most agreed and stayed long, some are new, some opted out, some asked for a sensitive family."""
    words = (frozenset[str](), frozenset({"personalise"}), frozenset({"personalise", "email"}))
    joined = np.where(draw.random(users) < 0.2, draw.uniform(1, 29, users), draw.uniform(90, 900, users))
    asked = (draw.random((len(families), users)) < 0.02).astype(np.uint32)
    return Customers(
        known=np.ones(users, bool), agreed=draw.choice(3, users, p=(0.05, 0.15, 0.8)).astype(np.int32), purposes=words,
        opted_out=draw.random(users) < 0.03, since=(NOW - joined * MICROSECONDS_A_DAY).astype(np.int64),
        zone=draw.integers(-1, 3, users).astype(np.int32), zones=("UTC", "America/New_York", "Asia/Tokyo"),
        optin_bits=(asked << np.arange(len(families), dtype=np.uint32)[:, None]).sum(axis=0, dtype=np.uint32),
    )  # fmt: skip


def _screen(gate: Gate, block: Block) -> Callable[[], Verdict]:
    who = gate.meet(block.customers, block.history, block.exposures, now=block.context.now)

    def screen() -> Verdict:
        return gate.screen(
            block.candidates, shoppers=who, history=block.history, exposures=block.exposures, context=block.context
        )

    return screen


def _timed(screens: list[Callable[[], Verdict]], rounds: int) -> tuple[list[float], list[float]]:
    """Return for each round the seconds of processor time and of wall clock."""
    spent, waited = [], []
    for _ in range(rounds):
        start, cpu = perf_counter(), thread_time()
        for screen in screens:
            screen()
        spent.append(thread_time() - cpu)
        waited.append(perf_counter() - start)
    return spent, waited


def _alone(gate: Gate, block: Block, users: int) -> list[float]:
    """Return the processor seconds that each of the first shoppers takes as a block of one."""
    seconds = []
    for user in range(-1, users):
        at = np.array([max(user, 0)])
        exposures = None if block.exposures is None else block.exposures.take(at)
        one = Block(
            block.candidates.take(at), block.customers.take(at), block.history.take(at), exposures, block.context
        )  # fmt: skip
        screen = _screen(gate, one)
        cpu = thread_time()
        screen()
        seconds.append(thread_time() - cpu)
    return seconds[1:]


def _where(screens: list[Callable[[], Verdict]]) -> list[str]:
    """Say which functions of the gate the processor time goes to, from a round of its own under a profiler."""
    profile = cProfile.Profile(thread_time)
    profile.enable()
    for screen in screens:
        screen()
    profile.disable()
    lines: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        room = "/".join(Path(file).with_suffix("").parts[-2:])
        lines[f"{room}.{name}" if "boundary" in Path(file).parts else "numpy and the interpreter"] += own
    whole = sum(lines.values())
    return [f"  {seconds / whole:5.1%}  {name}" for name, seconds in lines.most_common(6)]
