"""How much should each part of a blend weigh? Learned on the validation part, told with what it gains on other users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix

from experiments import metrics
from experiments.entries import Entry
from experiments.figures import write_figures
from experiments.ground import open_ground
from experiments.soft import Shortlists, crossed, learn_weights
from experiments.split import Split, SplitError
from recsys.models import Blend

STEP = 512  # users scored at once
Tell = Callable[[str, float], None]


def weigh(
    *,
    split: str,
    data: Path,
    out: Path,
    entry: Entry,
    users: int | None = None,
    candidates: int = 120,
    softness: float = 0.07,
    min_buyers: int = 10,
    k: int = 20,
    seed: int = 0,
    console: Console | None = None,
    tell: Tell | None = None,
) -> dict[str, float]:
    """Learn the weights of a blend's parts; write ``figures.json`` and ``weighed.toml``, the entry with the new ones.

    The blend is fitted as it stands, its best candidates are collected for each user, and weights are sought that rank
    them best. ``crossed`` figures are of users judged under weights that four fifths of the others taught; ``learned``
    ones are of all users under what they taught themselves. Only the validation part is ever read.

    Args:
        split: ``temporal`` or ``lightgcn``, see ``evaluate``.
        data: a folder with a shop's tables, or with the two text files.
        out: folder to write to, made where missing.
        entry: the blend, with the weights to start from.
        users: how many users are learned from, drawn by the seed; None is all.
        candidates: how many of each user's best are ranked anew, at least k.
        softness: difference of scores that counts as a near tie, in spreads of a user's candidates, above 0.
        min_buyers: for temporal, the fewest users who took an item that is ranked.
        k: length of the lists.
        seed: for fits, draws, folds and bootstrap.
        console: where to print; None = standard output.
        tell: is told what is done, and the share of it.

    Raises:
        SplitError: the entry is no blend, too few candidates, or data that is not there.
    """
    console, tell = console or Console(markup=False, emoji=False), tell or (lambda _what, _share: None)
    if entry.model != Blend.name:
        raise SplitError(f"`model` must be a blend but {entry.label} is {entry.model!r}")
    if candidates < k:
        raise SplitError(f"`candidates` must be at least {k} but got {candidates}")
    tell("reading", 0.0)
    ground = open_ground(
        split, Path(data), part="validation", train_share=0.8, min_buyers=min_buyers, seed=seed, rejects=out / "rejects",
        taxonomy=None, console=console,
    )  # fmt: skip
    parts = ground.split(entry.half_life_days)
    tell(f"fitting {entry.label}", 0.05)
    blend = Blend(**entry.settings).fit(
        parts.train, seed=seed, progress=lambda done, whole: tell(f"fitting {entry.label}", 0.05 + 0.5 * done / whole)
    )
    lists = shortlists(
        blend, parts, _drawn(parts, users, seed), candidates, lambda share: tell("scoring", 0.55 + 0.25 * share)
    )
    start = [part["weight"] for part in blend.parts]
    tell("learning on folds", 0.8)
    judged, folds = crossed(lists, start, k=k, softness=softness, seed=seed)
    tell("learning on all", 0.95)
    learned = learn_weights(lists, start, k=k, softness=softness)
    before = lists.ndcg(start, k=k)
    ratio = metrics.ratio_interval(judged, before, seed=seed)
    figures = {
        f"ndcg@{k}.before": float(np.nanmean(before)),
        f"ndcg@{k}.crossed": float(np.nanmean(judged)),
        f"ndcg@{k}.learned": float(np.nanmean(lists.ndcg(learned, k=k))),
        "crossed_over_before": ratio.mean, "crossed_over_before.low": ratio.low, "crossed_over_before.high": ratio.high,
        "users": float(ratio.users),
    }  # fmt: skip
    names = [part["model"] for part in blend.parts]
    figures |= {f"weight.{place}.{name}": float(learned[place]) for place, name in enumerate(names)}
    write_figures(out, figures, policy=None, bundle=None)
    (out / "weighed.toml").write_text(tomli_w.dumps({split: [_table(weighed(entry, learned))]}), encoding="utf-8")
    console.print(_shown(entry.label, names, np.array([start, folds.min(axis=0), folds.max(axis=0), learned])))
    console.print(
        f"NDCG@{k} of {ratio.users:,} users: {figures[f'ndcg@{k}.before']:.4f} before, "
        f"{figures[f'ndcg@{k}.crossed']:.4f} by weights learned on others, {ratio.mean:.4f} times it "
        f"({ratio.low:.4f} – {ratio.high:.4f}, 95 %)"
    )
    tell("done", 1.0)
    return figures


def shortlists(
    blend: Blend, split: Split, rows: npt.NDArray[np.int64], candidates: int, told: Callable[[float], None]
) -> Shortlists:
    """Return what each part says of the blend's best candidates among the items new to each user.

    Args:
        blend: fitted to ``split.train``.
        split: what was learned from and is judged on.
        rows: (U,), the users.
        candidates: how many each.
        told: is told the share that is done.
    """
    known = blend.known
    weights = np.array([part["weight"] for part in blend.parts])
    units = np.array(known.scales) / weights
    count = min(candidates, split.train.shape[1])
    opinions = np.empty((len(rows), count, len(units)), np.float32)
    found, offered = (np.empty((len(rows), count), bool) for _ in range(2))
    truth: csr_matrix = split.new[rows]
    for start in range(0, len(rows), STEP):
        block = slice(start, start + STEP)
        evidence, taken = split.train[rows[block]], split.taken[rows[block]]
        said = [model.dense(evidence) * np.float32(unit) for model, unit in zip(known.models, units, strict=True)]
        whole = np.zeros(evidence.shape, np.float32)
        for one, weight in zip(said, weights, strict=True):
            whole += one * np.float32(weight)
        whole[:, ~known.trained] = -np.inf
        whole[np.repeat(np.arange(len(whole)), np.diff(taken.indptr)), taken.indices] = -np.inf
        best = np.sort(np.argpartition(-whole, count - 1, axis=1)[:, :count], axis=1)
        offered[block] = np.isfinite(np.take_along_axis(whole, best, axis=1))
        for place, one in enumerate(said):
            opinions[block, :, place] = np.take_along_axis(one, best, axis=1)
        found[block] = np.take_along_axis(truth[block].toarray() > 0, best, axis=1)
        told(min(start + STEP, len(rows)) / len(rows))
    return Shortlists(opinions, found, offered, np.diff(truth.indptr))


def weighed(entry: Entry, weights: npt.ArrayLike) -> Entry:
    """Return the blend with other weights, to three digits after the point.

    Raises:
        ModelError: a weight that is 0 so rounded.

    Example:
        >>> one = Entry("one", "blend", {"parts": [{"model": "als", "weight": 1.0}]})
        >>> weighed(one, [0.25]).settings["parts"][0]["weight"]
        0.25
    """
    parts = [
        {**part, "weight": round(float(weight), 3)}
        for part, weight in zip(entry.settings["parts"], np.asarray(weights), strict=True)
    ]
    return replace(entry, settings={**entry.settings, "parts": parts})


def _drawn(split: Split, count: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Return rows of users with something to find, sorted."""
    rows = np.flatnonzero(np.diff(split.new.indptr))
    if count is None or count >= len(rows):
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def _table(entry: Entry) -> dict[str, Any]:
    told = {
        "label": entry.label, "model": entry.model, "role": entry.role, "half_life_days": entry.half_life_days,
        "settings": entry.settings,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}


def _shown(label: str, names: list[str], weights: npt.NDArray[np.float64]) -> Table:
    """Return the table of weights (4, P): before, least and most of the folds, learned on all."""
    table = Table(title=f"What the parts of {label} weigh")
    for name in ("part", "before", "folds from", "to", "learned"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for name, column in zip(names, weights.T, strict=True):
        table.add_row(name, *(f"{weight:.3f}" for weight in column))
    return table
