"""How long does a whole batch take, through the boundary and onto disk, against implicit's bare `recommend`?"""

from __future__ import annotations

import cProfile
import pstats
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from boundary.policy import Policy
from boundary.tables import write_parquet_atomic
from boundary.words import MICROSECONDS_A_DAY
from experiments.bench.figures import add_figures, interleave
from experiments.bench.shops import fitted, gowalla_tables, synthetic_tables
from recsys.batch import Order, score_users, slate_rows
from recsys.bundle import Bundle, BundleError
from recsys.engine import Engine
from recsys.evidence import evidence_of, purchases
from recsys.threads import one_blas_thread

OURS, PEER, PEER_BLAS = "seconds", "implicit_seconds", "implicit_blas_threads_seconds"
STAGES = {
    "ledger": ("engine.py", "_exposures"),
    "who they are": ("gate.py", "meet"),
    "evidence admitted": ("gate.py", "admit"),
    "user vectors": ("als.py", "solved"),
    "best items": ("topk.py", "topk"),
    "traces": ("served.py", "trace"),
    "lists composed": ("__init__.py", "compose"),
    "rules and quotas": ("gate.py", "screen"),
    "rows with words": ("batch.py", "slate_rows"),
    "Parquet": ("tables.py", "write_parquet_atomic"),
}


@dataclass(frozen=True)
class Size:
    """How large the invented shop is."""

    users: int = 20_000
    items: int = 10_000
    events: int = 1_000_000


def bench_batch(
    out: Path,
    *,
    gowalla_folder: Path = Path("../shared/datasets/gowalla"),
    size: Size | None = None,
    only: Sequence[str] = ("gowalla", "synthetic"),
    dimensions: int = 64,
    n: int = 10,
    depth: int = 100,
    block: int = 1024,
    rounds: int = 3,
    seed: int = 1,
) -> dict[str, float]:
    """Race the whole batch of everybody against implicit's `recommend` for the same users; print and keep both sides.

    Ours: candidates (100 a user, each taken apart), facts, the default rules, quotas, a ledger that holds
    yesterday's slates, why in words, and Parquet. Theirs: user and item vectors as they lie in memory, `N` = the
    number of slots, what was bought filtered out; nothing is written. `batch_over_implicit.<shop>` is our median
    over the median of implicit's better side, BLAS held to one thread or as it comes; `.depth` is the same with
    `N` = ``depth``, as many as the boundary chooses from. Shops are fitted once and kept in `out`.

    Raises:
        FileNotFoundError: Gowalla is missing.
    """
    warnings.filterwarnings("ignore", message="OpenBLAS|Method expects CSR", module="implicit")
    policy, size = Policy.named("default"), size or Size()
    makers = {
        "gowalla": lambda: gowalla_tables(gowalla_folder, seed=seed),
        "synthetic": lambda: synthetic_tables(
            out / "shop", users=size.users, items=size.items, events=size.events, seed=seed
        ),
    }
    figures: dict[str, float] = {}
    for name in only:
        path = out / f"{name}-{dimensions}.bundle"
        try:
            bundle = Bundle.load(path)
        except BundleError:
            bundle = fitted(path, makers[name](), dimensions=dimensions, policy=policy, seed=seed)
        figures |= _race(name, bundle, out / f"{name}-batch", n=n, depth=depth, block=block, rounds=rounds)
    add_figures(out, figures)
    return figures


def _race(name: str, bundle: Bundle, work: Path, *, n: int, depth: int, block: int, rounds: int) -> dict[str, float]:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    now = int(bundle.facts["fitted_for"])
    engine = Engine.load(str(bundle.path), ledger=f"sqlite:///{work.absolute() / 'ledger.db'}")
    users = [user for user in bundle.user_ids if user]
    order = Order(n=n, surface="home", intent="browse", now=now, block=block)
    score_users(engine, users, work / "yesterday", replace(order, now=now - MICROSECONDS_A_DAY, record=True))
    done = iter(range(rounds + 1))
    manifest: dict[str, object] = {}

    def ours() -> None:
        manifest.update(score_users(engine, users, work / f"run-{next(done)}", order))

    rows = np.array([bundle.user_row[user] for user in users])
    peer, owned, everybody = _implicit(bundle, rows, now)

    def theirs(many: int) -> None:
        peer.recommend(everybody, owned, N=many, filter_already_liked_items=True)

    def theirs_one_blas_thread(many: int) -> None:
        with threadpool_limits(limits=1, user_api="blas"):
            theirs(many)

    seconds = interleave(
        {
            OURS: ours,
            PEER: lambda: theirs_one_blas_thread(n),
            PEER_BLAS: lambda: theirs(n),
            "depth_one": lambda: theirs_one_blas_thread(depth),
            "depth": lambda: theirs(depth),
        },
        rounds=rounds,
    )
    best = min(seconds[PEER], seconds[PEER_BLAS])
    deep = min(seconds["depth_one"], seconds["depth"])
    label = f"batch_over_implicit.{name}"
    _say(f"{name}: {len(users):,} users, {len(bundle.catalogue_table):,} items, {bundle.facts['events']:,} events")
    _say(f"  ours, whole batch, {n} slots    {seconds[OURS]:9.3f} s   {len(users) / seconds[OURS]:9,.0f} users/s")
    _say(f"  implicit recommend, N = {n:<6} {best:10.3f} s   ratio {seconds[OURS] / best:.2f}")
    _say(f"  implicit recommend, N = {depth:<6} {deep:10.3f} s   ratio {seconds[OURS] / deep:.2f}")
    _say(f"  shown {manifest['shown']}, by source {manifest['sources']}")
    figures = {
        label: seconds[OURS] / best,
        f"{label}.depth": seconds[OURS] / deep,
        f"{label}.{OURS}": seconds[OURS],
        f"{label}.{PEER}": best,
        f"{label}.depth.{PEER}": deep,
    }
    shares = stages(engine, users[: 8 * block], order, work / "profiled")
    for stage, part in shares.items():
        _say(f"  {stage:20} {part:6.1%}")
        figures[f"{label}.share.{stage.replace(' ', '_')}"] = part
    return figures


def _implicit(bundle: Bundle, rows: np.ndarray, now: int) -> tuple[AlternatingLeastSquares, csr_matrix, np.ndarray]:
    """Return implicit's own model with our vectors, what the users bought, and everybody's number."""
    history, items = bundle.history.take(rows), len(bundle.catalogue_table)
    evidence = evidence_of(history, bundle.weighing, items=items, now=now)
    vectors = bundle.model.vectors(evidence)
    assert vectors is not None  # noqa: S101 (ALS has vectors)
    model = AlternatingLeastSquares(factors=vectors.shape[1])
    model.user_factors, model.item_factors = vectors, np.array(bundle.model.known.item)  # type: ignore[attr-defined]
    return model, purchases(history, items=items), np.arange(len(rows))


def stages(engine: Engine, users: Sequence[str], order: Order, out: Path) -> dict[str, float]:
    """Return where the time of a batch goes: the share of each stage, blocks scored one after another.

    A stage's share holds all that it calls, but no other stage's.
    """
    out.mkdir(parents=True, exist_ok=True)
    blocks = [users[start : start + order.block] for start in range(0, len(users), order.block)]
    profile = cProfile.Profile()
    with one_blas_thread(), profile:
        for number, block in enumerate(blocks):
            answer = engine.score_block(block, n=order.n, surface=order.surface, intent=order.intent, now=order.now)
            write_parquet_atomic(slate_rows(answer), out / f"part-{number:06}.parquet")
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    took = {
        stage: sum(spent[3] for (path, _, name), spent in found.items() if name == what and Path(path).name == file)
        for stage, (file, what) in STAGES.items()
    }
    whole = pstats.Stats(profile).total_tt  # type: ignore[attr-defined]
    return {stage: part / whole for stage, part in took.items()} | {"other": 1 - sum(took.values()) / whole}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
