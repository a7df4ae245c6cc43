"""How long does one shopper's list take in a catalogue of a million?"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from experiments.bench.factors import Floats, complete_journey, gowalla, trained
from experiments.bench.figures import add_figures
from recsys.topk import ItemIndex, topk, warm_up


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
    """Time exact lists of single users over catalogues grown from trained factors, and over even Gaussian ones.

    Figures are milliseconds (median and 95th percentile), the share of items multiplied, and the seconds that
    the index takes to build. The search is exact, so its recall is 1.

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
        figures |= _timed(name, grow(race.items, items, noise=noise, seed=1), users, k)
    even, users = (draw.standard_normal((n, dimensions), dtype=np.float32) for n in (items, singles))
    figures |= _timed("flat", even, users, k)
    add_figures(out, figures)
    return figures


def _timed(name: str, factors: Floats, users: Floats, k: int) -> dict[str, float]:
    start = perf_counter()
    index = ItemIndex.build(factors)
    built = perf_counter() - start
    seconds: npt.NDArray[np.float64] = np.empty(len(users))
    visited = 0
    for u in range(len(users)):
        start = perf_counter()
        visited += topk(index, users[u : u + 1], k).visited
        seconds[u] = perf_counter() - start
    middle, slow = np.percentile(seconds, [50, 95]) * 1_000
    share = visited / len(users) / len(index)
    print(f"million.{name:24} {middle:6.2f} ms, p95 {slow:6.2f} ms, visited {share:.1%}, built {built:.2f} s")  # noqa: T201
    label = f"million.{name}"
    return {
        f"{label}.milliseconds": float(middle),
        f"{label}.p95_milliseconds": float(slow),
        f"{label}.visited_share": share,
        f"{label}.build_seconds": built,
    }
