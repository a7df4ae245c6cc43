"""How long does one shopper's list take in a catalogue of a million?"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from experiments.bench.call import drawn_bundle
from experiments.bench.factors import Floats, complete_journey, gowalla, trained
from experiments.bench.figures import add_figures
from recsys.engine import Engine
from recsys.models import ALS
from recsys.models.factors import Factors
from recsys.topk import ItemIndex, topk, warm_up

CELLS, TAUGHT, PROBES, ENOUGH = 2048, 100_000, (32, 64, 128, 256, 512, 1024), 0.99  # of faiss's inverted file
SHOPPERS, EVENTS = 2_000, 60  # of the shop in which the whole call is timed


def grow(factors: Floats, items: int, *, noise: float, seed: int) -> Floats:
    """Grow (n, d) trained factors into a larger catalogue of the same structure.

    Each new item is a trained one, drawn evenly, moved by `noise` times its own length in a direction drawn from
    the covariance of all: norms stay skewed and directions clustered, and the head grows along with the tail.

    Example:
        >>> grow(np.eye(3, dtype=np.float32), 10, noise=0.5, seed=1).shape
        (10, 3)
    """
    draw = np.random.default_rng(seed)
    origin = draw.integers(0, len(factors), items)
    spread, axes = np.linalg.eigh(np.cov(factors.T))
    moves = draw.standard_normal((items, factors.shape[1]), dtype=np.float32)
    moves *= np.sqrt(np.maximum(spread, 0) / spread.sum()).astype(np.float32)
    lengths = np.linalg.norm(factors, axis=1)[origin, None]
    grown: Floats = factors[origin] + (moves @ axes.T.astype(np.float32)) * lengths * np.float32(noise)
    return grown


def bench_million(
    out: Path,
    *,
    gowalla_folder: Path = Path("../shared/datasets/gowalla"),
    items: int = 1_000_000,
    dimensions: int = 64,
    k: int = 200,
    noise: float = 0.5,
    singles: int = 200,
) -> dict[str, float]:
    """Time single users' lists over catalogues grown from trained factors, and over even Gaussian ones.

    Ours is exact, so its recall is 1. Beside it, where faiss is installed, its inverted file (IVF-Flat, inner product,
    one thread): the narrowest search whose recall reaches 0.99, or the widest tried. Then the whole of
    ``Engine.score``, ledger and all, in a shop of as many items, whose factors are the grown ones.

    Figures are milliseconds (median and 95th percentile), the share of items multiplied, recall, and the seconds that
    each index takes to build.

    Raises:
        FileNotFoundError: a data set is missing.
    """
    warm_up()
    figures: dict[str, float] = {}
    draw = np.random.default_rng(1)
    sets = {"gowalla": lambda: gowalla(gowalla_folder), "complete_journey": complete_journey}
    for name, read in sets.items():
        race = trained(out, name, read, dimensions=dimensions)
        users = race.users[draw.integers(0, len(race.users), singles)]
        grown = grow(race.items, items, noise=noise, seed=1)
        figures |= _timed(name, grown, users, k)
        figures |= _called(name, out / "million", grown, race.users, calls=singles)
    even, users = (draw.standard_normal((n, dimensions), dtype=np.float32) for n in (items, singles))
    figures |= _timed("flat", even, users, k)
    add_figures(out, figures)
    return figures


def _timed(name: str, factors: Floats, users: Floats, k: int) -> dict[str, float]:
    start = perf_counter()
    index = ItemIndex.build(factors)
    built = perf_counter() - start
    seconds: npt.NDArray[np.float64] = np.empty(len(users))
    visited, exact = 0, []
    for u in range(len(users)):
        start = perf_counter()
        found = topk(index, users[u : u + 1], k)
        seconds[u] = perf_counter() - start
        visited += found.visited
        exact.append(found.item_row)
    middle, slow = np.percentile(seconds, [50, 95]) * 1_000
    share = visited / len(users) / len(index)
    _say(f"million.{name:24} {middle:6.2f} ms, p95 {slow:6.2f} ms, visited {share:.1%}, built {built:.2f} s")
    label = f"million.{name}"
    return {
        f"{label}.milliseconds": float(middle),
        f"{label}.p95_milliseconds": float(slow),
        f"{label}.visited_share": share,
        f"{label}.build_seconds": built,
        **_approximate(label, factors, users, exact),
    }


def _approximate(
    label: str, factors: Floats, users: Floats, exact: Sequence[npt.NDArray[np.int32]]
) -> dict[str, float]:
    """Time an inverted file over the same factors; nothing where faiss is not installed."""
    if find_spec("faiss") is None:
        _say("  faiss is not installed, so no approximate index was raced: pip install -e '.[bench]'")
        return {}
    import faiss

    faiss.omp_set_num_threads(1)
    size, k = factors.shape[1], max(len(rows) for rows in exact)
    start = perf_counter()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, CELLS, faiss.METRIC_INNER_PRODUCT)
    index.train(factors[np.random.default_rng(1).choice(len(factors), min(len(factors), TAUGHT), replace=False)])
    index.add(factors)
    built = perf_counter() - start
    middle = recall = 0.0
    for width in PROBES:
        index.nprobe = width
        seconds, hits = [], []
        for u, rows in enumerate(exact):
            start = perf_counter()
            _, found = index.search(users[u : u + 1], k)
            seconds.append(perf_counter() - start)
            hits.append(np.isin(rows, found[0]).mean())
        middle, recall = float(np.median(seconds)) * 1_000, float(np.mean(hits))
        if recall >= ENOUGH:
            break
    _say(f"  faiss, {width} of {CELLS} cells   {middle:6.2f} ms, recall {recall:.3f}, built {built:.1f} s")
    return {
        f"{label}.faiss.milliseconds": middle,
        f"{label}.faiss.recall": recall,
        f"{label}.faiss.build_seconds": built,
    }


def _called(name: str, folder: Path, factors: Floats, users: Floats, *, calls: int) -> dict[str, float]:
    """Time ``Engine.score`` where so many items have these vectors; shoppers and purchases are drawn."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bundle = drawn_bundle(items=len(factors), users=SHOPPERS, events=EVENTS, dimensions=factors.shape[1])
    assert isinstance(bundle.model, ALS)  # noqa: S101 (that is what was drawn)
    model = replace(bundle.model, state=Factors.of(factors, users, np.ones(len(factors), bool)))
    bundle = replace(bundle, model=model, moments=model.moments(bundle.blindfold))
    start = perf_counter()
    engine = Engine.load(bundle.save(folder / "bundle"), ledger=f"sqlite:///{(folder / 'ledger.db').absolute()}")
    opened = perf_counter() - start
    draw, now = np.random.default_rng(2), int(bundle.facts["fitted_for"])
    seconds = []
    for turn, user in enumerate(draw.integers(len(bundle.user_ids), size=calls).tolist()):
        start = perf_counter()
        slate = engine.score(bundle.user_ids[user], n=10, now=now + turn)
        seconds.append(perf_counter() - start)
        engine.shown(slate)
    middle, slow = np.percentile(seconds, [50, 95]) * 1_000
    _say(f"  the whole call             {middle:6.2f} ms, p95 {slow:6.2f} ms; the engine opened in {opened:.1f} s")
    label = f"million.{name}.call"
    return {
        f"{label}.milliseconds": float(middle),
        f"{label}.p95_milliseconds": float(slow),
        f"{label}.open_seconds": opened,
    }


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
