"""How long does the shop wait for one slate, against implicit's bare list for one user?"""

from __future__ import annotations

import datetime as dt
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from boundary.policy import Policy
from boundary.taxonomy import Entry, Taxonomy
from experiments.bench.figures import add_figures
from recsys.engine import Engine
from recsys.evidence import purchases
from recsys.fitting import fit_bundle
from recsys.interactions import Weighing
from recsys.models import ALS

MOMENT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
CATEGORIES, BRANDS = 200, 500


def bench_call(
    out: Path,
    *,
    items: int = 50_000,
    users: int = 2_000,
    events: int = 60,
    dimensions: int = 64,
    n: int = 10,
    calls: int = 600,
) -> dict[str, float]:
    """Time ``Engine.score`` with a SQLite ledger and implicit's ``recommend`` in turns, print and keep the figures.

    The shop is drawn: so many items with a Zipf demand, so many purchases a shopper in ninety days; both sides use
    the same trained item factors. BLAS is held to one thread. ``call_over_implicit`` is the ratio of the medians,
    ``call_p99_over_p50`` how far the slowest hundredth of our calls lies from the median.
    """
    warnings.filterwarnings("ignore", message="OpenBLAS|Method expects CSR", module="implicit")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(limits=1, user_api="blas"):
        engine, peer, bought = _sides(Path(folder), items, users, events, dimensions)
        ours, theirs = _race(engine, peer, bought, n=n, calls=calls)
        if engine.ledger is not None:
            engine.ledger.close()
    p50, p99, bare = float(np.median(ours)), float(np.quantile(ours, 0.99)), float(np.median(theirs))
    figures = {
        "call_over_implicit": p50 / bare,
        "call_p99_over_p50": p99 / p50,
        "call_seconds": p50,
        "call_p99_seconds": p99,
        "call_implicit_seconds": bare,
    }
    ours_told = f"ours {p50 * 1e3:.2f} ms (p99 {p99 * 1e3:.2f})"
    told = f"one call, {items:,} items, {dimensions} dimensions: {ours_told}, implicit {bare * 1e3:.2f} ms"
    print(f"{told}: {p50 / bare:.2f} times", flush=True)  # noqa: T201
    add_figures(out, figures)
    return figures


def _race(
    engine: Engine, peer: AlternatingLeastSquares, bought: csr_matrix, *, n: int, calls: int
) -> tuple[list[float], list[float]]:
    draw, now = np.random.default_rng(1), int(MOMENT.timestamp() * 1_000_000)
    ours, theirs = [], []
    ids = engine.bundle.user_ids
    for turn, user in enumerate([0, *draw.integers(len(ids), size=calls).tolist()]):
        own = bought[user]
        start = perf_counter()
        slate = engine.score(ids[user], n=n, now=now + turn)
        middle = perf_counter()
        peer.recommend(user, own, N=n, filter_already_liked_items=True)
        end = perf_counter()
        engine.shown(slate)
        if turn:
            ours.append(middle - start)
            theirs.append(end - middle)
    return ours, theirs


def _sides(
    folder: Path, items: int, users: int, events: int, dimensions: int
) -> tuple[Engine, AlternatingLeastSquares, csr_matrix]:
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
    bundle = fit_bundle(
        lines, catalogue, customers, taxonomy=Taxonomy(entries=(Entry(family="health", category=("aisle-199",)),)),
        policy=Policy.named("default"), model=ALS(factors=dimensions, iterations=3),
        weighing=Weighing({"purchase": 1.0}), now=int(MOMENT.timestamp() * 1e6), seed=1,
    )  # fmt: skip
    engine = Engine.load(bundle.save(folder / "bundle"), ledger=f"sqlite:///{folder / 'ledger.db'}")
    bought = purchases(bundle.history, items=items)
    peer = AlternatingLeastSquares(factors=dimensions)
    peer.item_factors = bundle.model.known.item  # type: ignore[attr-defined]
    peer.user_factors = bundle.model.vectors(bought)
    return engine, peer, bought
