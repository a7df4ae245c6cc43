"""What do ranked lists find of what users took later? Accuracy with intervals, by group, and what lies beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from experiments import metrics
from recsys.quality import ndcg

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Flat figures, and the NDCG of each user, (U,), NaN for who has nothing to find."""

    figures: dict[str, float]
    ndcg: Doubles


def measure(
    lists: metrics.Lists,
    truth: csr_matrix,
    *,
    buyers: npt.NDArray[np.int64],
    k: int,
    seed: int,
    category: npt.NDArray[np.integer[Any]] | None = None,
    groups: Mapping[str, Mask] | None = None,
) -> Judged:
    """Measure ranked lists; each accuracy has its ``.low`` and ``.high`` (95 %).

    Args:
        lists: of U users.
        truth: (U, I) stored where a user took an item afterwards; who took nothing is left out, ``users`` counts the rest.
        buyers: (I,) how many users took each item before.
        k: length of the lists.
        seed: for the bootstrap.
        category: (I,) codes for diversity; None leaves it out.
        groups: name to (U,) bool; NDCG is also told for each group, as ``name.ndcg@k``.

    Example:
        >>> lists = metrics.Lists(np.array([0, 2]), np.array([1, 0], np.int32))
        >>> found = measure(lists, csr_matrix([[0, 1]]), buyers=np.array([3, 2]), k=2, seed=0)
        >>> found.figures["ndcg@2"], found.figures["recall@2"]
        (1.0, 1.0)
    """
    items, users = int((buyers > 0).sum()), truth.shape[0]
    accuracy = {
        f"ndcg@{k}": ndcg(lists.offsets, lists.item_row, truth, k=k),
        f"recall@{k}": metrics.recall(lists, truth, k=k),
        f"map@{k}": metrics.average_precision(lists, truth, k=k),
        f"serendipity@{k}": metrics.serendipity(lists, truth, k=k, buyers=buyers),
    }
    figures: dict[str, float] = {}
    for name, values in accuracy.items():
        figures |= interval_of(name, values, seed)
    figures["users"] = float((~np.isnan(accuracy[f"ndcg@{k}"])).sum())
    figures[f"novelty@{k}"] = _mean(metrics.novelty(lists, k=k, buyers=buyers, users=users))
    if category is not None:
        figures[f"diversity@{k}"] = _mean(metrics.diversity(lists, k=k, category=category))
    figures[f"coverage@{k}"] = metrics.coverage(lists, k=k, items=items)
    figures[f"gini@{k}"] = metrics.gini(lists, k=k, items=items)
    for group, mask in (groups or {}).items():
        values = accuracy[f"ndcg@{k}"][mask]
        figures |= interval_of(f"{group}.ndcg@{k}", values, seed)
        figures[f"{group}.users"] = float((~np.isnan(values)).sum())
    return Judged(figures, accuracy[f"ndcg@{k}"])


def interval_of(name: str, values: Doubles, seed: int) -> dict[str, float]:
    """Return the mean of values a user, (U,), as a figure with its ``.low`` and ``.high``."""
    found = metrics.interval(values, seed=seed)
    return {name: found.mean, f"{name}.low": found.low, f"{name}.high": found.high}


def _mean(values: Doubles) -> float:
    """Return the mean of what is a number; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
