"""How long do all users' lists take, against implicit's own `recommend` for all users?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from boundary.words import Tier
from experiments.bench.factors import Trained, complete_journey, flat, gowalla, trained
from experiments.bench.figures import add_figures, interleave
from recsys.compose.kernel import measure
from recsys.models import ALS
from recsys.models.factors import Factors
from recsys.topk import ItemIndex, topk, topk_sparse, warm_up

BLOCK = 1024  # users told of at once

OURS, PEER, PEER_BLAS = "seconds", "implicit_seconds", "implicit_blas_threads_seconds"


def bench_topk(
    out: Path,
    *,
    gowalla_folder: Path = Path("../shared/datasets/gowalla"),
    lengths: Sequence[int] = (200, 50, 20),
    dimensions: Sequence[int] = (64, 128),
    neighbours: int = 100,
    rounds: int = 3,
    singles: int = 200,
) -> dict[str, float]:
    """Race the exact top-k and the item-item search against implicit, print and keep the figures.

    Factors are trained once and kept in `out`. A ratio is our median seconds over the median of implicit's
    better side: BLAS held to one thread, or as it comes. `topk_over_implicit.<data>` has the first of
    `lengths` and of `dimensions`; others carry both in their names, and further dimensions are raced at the
    first length. Single-user calls are medians over `singles` users, with BLAS held to one thread.
    `telling_over_topk.<data>` is what closeness, contributions and evidence of the ten best of each user take, over
    what finding the first of `lengths` takes.

    Raises:
        FileNotFoundError: a data set is missing.
    """
    warnings.filterwarnings("ignore", message="OpenBLAS|Method expects CSR", module="implicit")
    warm_up()
    figures: dict[str, float] = {}
    sets = {"gowalla": lambda: gowalla(gowalla_folder), "complete_journey": complete_journey}
    for d in dimensions:
        races = {name: trained(out, name, read, dimensions=d) for name, read in sets.items()}
        races["flat"] = flat(users=8_000, items=20_000, dimensions=d)
        for name, race in races.items():
            for k in lengths if d == dimensions[0] else lengths[:1]:
                plain = (d, k) == (dimensions[0], lengths[0])
                label = name if plain else f"{name}.{d}d.k{k}"
                figures |= _told(f"topk_over_implicit.{label}", _race_factors(race, k, rounds=rounds))
            figures |= _told(f"topk_single.{name}.{d}d", _race_single(race, lengths[0], singles=singles))
    for name, read in sets.items():
        race = trained(out, name, read, dimensions=dimensions[0])
        figures |= _telling(f"telling_over_topk.{name}", race, lengths[0], rounds=rounds)
        owned = race.owned
        figures |= _told(
            f"item_item_over_implicit.{name}", _race_neighbours(owned, lengths[0], neighbours, rounds=rounds)
        )
    add_figures(out, figures)
    return figures


def _told(label: str, seconds: dict[str, float]) -> dict[str, float]:
    ours = seconds.pop(OURS)
    best = min(value for key, value in seconds.items() if key in {PEER, PEER_BLAS})
    print(f"{label:48} {ours / best:6.2f}   ours {ours:9.5f} s, implicit {best:9.5f} s", flush=True)  # noqa: T201
    extra = {f"{label}.{key}": value for key, value in seconds.items()}
    return {label: ours / best, f"{label}.{OURS}": ours} | extra


def _implicit(race: Trained) -> AlternatingLeastSquares:
    model = AlternatingLeastSquares(factors=race.users.shape[1])
    model.user_factors, model.item_factors = race.users, race.items
    return model


def _race_factors(race: Trained, k: int, *, rounds: int) -> dict[str, float]:
    model, index, everybody = _implicit(race), ItemIndex.build(race.items), np.arange(len(race.users))

    def peer() -> None:
        model.recommend(everybody, race.owned, N=k, filter_already_liked_items=True)

    def peer_one_blas_thread() -> None:
        with threadpool_limits(limits=1, user_api="blas"):
            peer()

    def ours() -> None:
        topk(index, race.users, k, race.owned.indptr, race.owned.indices)

    seconds = interleave({PEER_BLAS: peer, OURS: ours, PEER: peer_one_blas_thread}, rounds=rounds)
    found = topk(index, race.users, k, race.owned.indptr, race.owned.indices)
    theirs, _ = model.recommend(everybody, race.owned, N=k, filter_already_liked_items=True)
    bounds = zip(found.offsets[:-1], found.offsets[1:], theirs, strict=True)
    same = sum(len(np.intersect1d(found.item_row[a:b], row)) for a, b, row in bounds)
    return seconds | {
        "visited_share": found.visited / race.owned.shape[0] / race.owned.shape[1],
        "same_items": same / len(found.item_row),
    }


def _telling(label: str, race: Trained, k: int, *, rounds: int, kept: int = 10) -> dict[str, float]:
    """Time what is measured of the kept candidates beside the search; the users' systems are solved before."""
    index, users = ItemIndex.build(race.items), len(race.users)
    model = ALS(factors=race.items.shape[1], regularization=0.01)
    model = replace(model, state=Factors.of(race.items, race.users, np.ones(len(race.items), bool)))
    moments = model.moments()
    found = topk(index, race.users, kept, race.owned.indptr, race.owned.indices)
    blocks = []
    for start in range(0, users, BLOCK):
        stop, owned = min(start + BLOCK, users), race.owned[start : start + BLOCK]
        part = slice(int(found.offsets[start]), int(found.offsets[stop]))
        offsets = found.offsets[start : stop + 1] - found.offsets[start]
        blocks.append((owned, offsets, found.item_row[part], found.score[part]))

    def tell() -> float:
        spent = 0.0
        for owned, offsets, rows, score in blocks:
            _, systems = model.solved(owned)  # the search needs the vectors anyway
            begun = perf_counter()
            close, source = np.empty(len(rows), np.float32), np.empty(len(rows), np.uint8)
            measure(offsets, rows, score, *moments, np.full(len(offsets) - 1, Tier.REGULAR, np.uint8), close, source)
            model.trace(owned, offsets, rows, systems=systems)
            spent += perf_counter() - begun
        return spent

    tell()
    told, searched = [], []
    for _ in range(rounds):
        told.append(tell())
        begun = perf_counter()
        topk(index, race.users, k, race.owned.indptr, race.owned.indices)
        searched.append(perf_counter() - begun)
    ratio = median(told) / median(searched)
    print(f"{label:48} {ratio:6.2f}   told {median(told):9.5f} s, searched {median(searched):9.5f} s", flush=True)  # noqa: T201
    return {label: ratio, f"{label}.seconds": median(told)}


def _race_single(race: Trained, k: int, *, singles: int) -> dict[str, float]:
    model, index = _implicit(race), ItemIndex.build(race.items)
    asked = np.random.default_rng(1).choice(len(race.users), singles, replace=False)
    rows = {int(user): race.owned[int(user)] for user in asked}
    turns = {OURS: iter([*asked[:1], *asked]), PEER: iter([*asked[:1], *asked])}

    def peer() -> None:
        user = int(next(turns[PEER]))
        model.recommend(user, rows[user], N=k, filter_already_liked_items=True)

    def ours() -> None:
        user = int(next(turns[OURS]))
        topk(index, race.users[user : user + 1], k, rows[user].indptr, rows[user].indices)

    with threadpool_limits(limits=1, user_api="blas"):
        return interleave({PEER: peer, OURS: ours}, rounds=singles)


def _race_neighbours(owned: csr_matrix, k: int, neighbours: int, *, rounds: int) -> dict[str, float]:
    model, everybody = CosineRecommender(K=neighbours), np.arange(owned.shape[0])
    model.fit(csr_matrix(owned, dtype=np.float64), show_progress=False)
    similarity, evidence = model.similarity.astype(np.float32), owned.astype(np.float64)

    def peer() -> None:
        model.recommend(everybody, evidence, N=k, filter_already_liked_items=True)

    def ours() -> None:
        topk_sparse(similarity, owned, k, owned.indptr, owned.indices)

    return interleave({PEER: peer, OURS: ours}, rounds=rounds)
