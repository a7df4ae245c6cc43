"""How long does the shop wait for one slate, against implicit's bare list for one user?"""

from __future__ import annotations

import datetime as dt
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, thread_time

import numpy as np
import polars as pl
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import ThreadpoolController, threadpool_limits

from boundary.policy import Policy
from boundary.taxonomy import Entry, Taxonomy
from boundary.words import MICROSECONDS_A_DAY
from experiments.bench.figures import add_figures
from recsys.bundle import Bundle
from recsys.engine import Engine
from recsys.evidence import purchases
from recsys.fitting import fit_bundle
from recsys.interactions import Weighing
from recsys.models import ALS
from recsys.shop import FACTORS

MOMENT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
CATEGORIES, BRANDS, ROUNDS = 200, 500, 5
ONE, FREE = "one thread", "as it comes"
PEERS = {ONE: 1, FREE: 0}  # implicit's num_threads; 0 is its default, every core


def bench_call(
    out: Path,
    *,
    items: int = 50_000,
    users: int = 2_000,
    events: int = 60,
    dimensions: Sequence[int] = (FACTORS["factors"], 128, 64),
    n: int = 10,
    calls: int = 1000,
) -> dict[str, float]:
    """Time ``Engine.score`` with a SQLite ledger and implicit's ``recommend`` in turns, print and keep the figures.

    The shop is drawn: so many items with a Zipf demand, so many purchases a shopper in ninety days; both sides use
    the same trained item factors, and the same shopper comes to both, one after the other. Ours reads the ledger and
    reserves the slate; theirs is handed the shopper's vector and row as they lie in memory. implicit runs as it is
    installed, its threads and BLAS held to one thread and as they come; the quicker of the two is what we are held
    against. ``call_over_implicit`` is the median over the rounds of the ratio of a round's medians,
    ``call_p99_over_p50`` how far the slowest hundredth of our calls lies from the median. ``call_cpu_over_implicit``
    is the first in time of the calling thread's processor, which other work on the machine disturbs less.

    All of it is done for each length of ``dimensions``: implicit's time grows with it, most of ours does not. The first,
    which is what a fit learns by default, has the bare names; others end in theirs, as in ``call_over_implicit.64d``.
    """
    warnings.filterwarnings("ignore", message="OpenBLAS|Method expects CSR", module="implicit")
    figures: dict[str, float] = {}
    for size in dimensions:
        found = _raced(items=items, users=users, events=events, dimensions=size, n=n, calls=calls)
        figures |= found if size == dimensions[0] else {f"{name}.{size}d": value for name, value in found.items()}
    add_figures(out, figures)
    return figures


def _raced(*, items: int, users: int, events: int, dimensions: int, n: int, calls: int) -> dict[str, float]:
    """Race both sides on one shop, print and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        with threadpool_limits(limits=1, user_api="blas"):
            engine, peers, bought = _sides(Path(folder), items, users, events, dimensions)
        ran = [_round(engine, peers, bought, n=n, calls=calls // ROUNDS, seed=seed) for seed in range(ROUNDS)]
        if engine.ledger is not None:
            engine.ledger.close()
    p50, p99 = (float(np.quantile([time for one in ran for time in one.ours], part)) for part in (0.5, 0.99))
    bare = {name: float(np.median([time for one in ran for time in one.theirs[name]])) for name in PEERS}
    figures = {
        "call_over_implicit": float(np.median([one.ratio for one in ran])),
        "call_cpu_over_implicit": float(np.median([one.cpu_ratio for one in ran])),
        "call_p99_over_p50": p99 / p50,
        "call_seconds": p50,
        "call_p99_seconds": p99,
        "call_implicit_seconds": min(bare.values()),
        **{f"call_implicit_seconds.{name}": seconds for name, seconds in bare.items()},
    }
    _say(f"one call, {items:,} items, {dimensions} dimensions, median of {ROUNDS} rounds of {calls // ROUNDS} calls")
    _say(f"  ours, with the ledger      {p50 * 1e3:7.2f} ms   p99 {p99 * 1e3:.2f} ms, {p99 / p50:.1f} times the median")
    for name, seconds in bare.items():
        _say(f"  implicit, {name:16} {seconds * 1e3:7.2f} ms")
    _say(f"  ours over implicit's better: {figures['call_over_implicit']:.2f} times")
    _say(f"  the same in processor time:  {figures['call_cpu_over_implicit']:.2f} times")
    return figures


@dataclass(frozen=True)
class Round:
    """Seconds of each call, and processor seconds of both sides held to one thread."""

    ours: list[float]
    theirs: dict[str, list[float]]
    ours_cpu: list[float]
    theirs_cpu: list[float]

    @property
    def ratio(self) -> float:
        """Our median over the better of implicit's."""
        return float(np.median(self.ours)) / min(float(np.median(seconds)) for seconds in self.theirs.values())

    @property
    def cpu_ratio(self) -> float:
        """The same in processor time of the calling thread."""
        return float(np.median(self.ours_cpu)) / float(np.median(self.theirs_cpu))


def _round(
    engine: Engine, peers: dict[str, AlternatingLeastSquares], bought: csr_matrix, *, n: int, calls: int, seed: int
) -> Round:
    """Let the same shoppers come to both sides in turns, to implicit with one thread and as it comes in turn too.

    The first call of each is not counted.
    """
    draw, now = np.random.default_rng(seed), int(MOMENT.timestamp() * 1_000_000) + seed * MICROSECONDS_A_DAY
    ids, found = engine.bundle.user_ids, Round([], {name: [] for name in PEERS}, [], [])
    comers = [0, 0, *draw.integers(len(ids), size=calls).tolist()]
    rows = [bought[user] for user in comers]
    blas = ThreadpoolController()
    for turn, (user, own) in enumerate(zip(comers, rows, strict=True)):
        name = (ONE, FREE)[turn % 2]
        with blas.limit(limits=1, user_api="blas") if name == ONE else nullcontext():
            begun, start = thread_time(), perf_counter()
            slate = engine.score(ids[user], n=n, now=now + turn)
            middle, half = perf_counter(), thread_time()
            peers[name].recommend(user, own, N=n, filter_already_liked_items=True)
            end, done = perf_counter(), thread_time()
        engine.shown(slate)
        if turn >= len(PEERS):
            found.ours.append(middle - start)
            found.theirs[name].append(end - middle)
            found.ours_cpu.append(half - begun)
            if name == ONE:
                found.theirs_cpu.append(done - half)
    return found


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def drawn_bundle(*, items: int, users: int, events: int, dimensions: int) -> Bundle:
    """Draw the shop of ``bench_call`` and fit it by ALS."""
    draw = np.random.default_rng(7)
    demand = 1 / (np.arange(items) + 20.0)
    taste = draw.permuted(np.tile(np.arange(CATEGORIES), (users, 1)), axis=1)[:, :8]
    took = draw.choice(items, size=(users, events), p=demand / demand.sum())
    own = draw.random((users, events)) < 0.5  # half of what they buy lies in the aisles they like
    aisle = np.take_along_axis(taste, draw.integers(8, size=(users, events)), axis=1)
    took = np.where(own, np.minimum(took - took % CATEGORIES + aisle, items - 1), took)
    ids = [f"item-{row:06}" for row in range(items)]
    catalogue = pl.DataFrame({
        "item_id": ids, "title": ids, "category": [f"aisle-{row % CATEGORIES}" for row in range(items)],
        "brand": [f"brand-{row % BRANDS}" for row in range(items)], "price": draw.uniform(1, 9, items),
        "kind": "product", "created_at": MOMENT - dt.timedelta(days=400), "department": None, "type": None,
        "promoted": draw.random(items) < 0.05, "margin": None, "was_price": None, "low_30d": None, "badge": None,
        "badge_stock": None, "badge_until": None, "badge_count": None, "replenish_days": 7.0, "conditions": None,
        "tracker": None,
    }, schema_overrides={"created_at": pl.Datetime("us", "UTC"), "badge_until": pl.Datetime("us", "UTC")})  # fmt: skip
    who = [f"shopper-{user:05}" for user in range(users)]
    ago = draw.uniform(8, 88, users * events) * 86_400e6
    lines = pl.DataFrame({
        "user_id": np.repeat(who, events), "item_id": pl.Series(ids).gather(took.ravel()), "kind": "purchase",
        "at": pl.Series(int(MOMENT.timestamp() * 1e6) - ago.astype(np.int64)).cast(pl.Datetime("us", "UTC")),
        "quantity": 1.0, "unit_price": 5.0,
    })  # fmt: skip
    customers = pl.DataFrame({
        "user_id": who, "consent": [["personalise"]] * users, "opted_out": False, "channels": [["email"]] * users,
        "timezone": "UTC", "since": MOMENT - dt.timedelta(days=300),
    }, schema_overrides={"since": pl.Datetime("us", "UTC")})  # fmt: skip
    return fit_bundle(
        lines, catalogue, customers, taxonomy=Taxonomy(entries=(Entry(family="health", category=("aisle-199",)),)),
        policy=Policy.named("default"), model=ALS(factors=dimensions, iterations=3),
        weighing=Weighing({"purchase": 1.0}), now=int(MOMENT.timestamp() * 1e6), seed=1,
    )  # fmt: skip


def _sides(
    folder: Path, items: int, users: int, events: int, dimensions: int
) -> tuple[Engine, dict[str, AlternatingLeastSquares], csr_matrix]:
    bundle = drawn_bundle(items=items, users=users, events=events, dimensions=dimensions)
    engine = Engine.load(bundle.save(folder / "bundle"), ledger=f"sqlite:///{folder / 'ledger.db'}")
    bought = purchases(bundle.history, items=items)
    peers = {}
    for name, threads in PEERS.items():
        peer = AlternatingLeastSquares(factors=dimensions, num_threads=threads)
        peer.item_factors = bundle.model.known.item  # type: ignore[attr-defined]
        peer.user_factors = bundle.model.vectors(bought)
        peers[name] = peer
    return engine, peers, bought
