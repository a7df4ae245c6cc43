"""How well do models rank? Fit on the past, judged on what came after, told as a table and as flat figures."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console
from rich.table import Table

from experiments import metrics
from experiments.split import Split, SplitError, by_weeks, items_of, read_lightgcn, split_of
from recsys.interactions import Weighing
from recsys.models import Recommender, make_model

PROTOCOLS = ("discovery", "full")
STEP = 4096  # users ranked at once


@dataclass(frozen=True)
class Entry:
    """One line of an evaluation: a label, the model, its settings, and the half-life its events weigh by.

    Example:
        >>> Entry("plain", "als", {"factors": 8}).half_life_days is None
        True
    """

    label: str
    model: str
    settings: Mapping[str, Any]
    half_life_days: float | None = None


def judge(
    model: Recommender,
    split: Split,
    *,
    protocol: str,
    k: int,
    seed: int,
    category: npt.NDArray[np.integer[Any]] | None = None,
) -> dict[str, float]:
    """Rank for every training user and return flat figures; each accuracy has its ``.low`` and ``.high`` (95 %).

    ``discovery`` ranks what the user had not taken, against what of it they took afterwards; ``full`` ranks
    everything, against everything taken afterwards. Users with nothing to find are left out; ``users`` counts
    the others.

    Args:
        model: fitted to ``split.train``.
        split: what was learned from and is judged on.
        protocol: discovery or full.
        k: length of the lists.
        seed: for the bootstrap.
        category: (I,) codes for diversity; None leaves it out.
    """
    if protocol not in PROTOCOLS:
        raise SplitError(f"`protocol` must be one of {', '.join(PROTOCOLS)} but got {protocol!r}")
    lists = _rank(model, split, protocol=protocol, k=k)
    truth = split.new if protocol == "discovery" else split.test
    items, users = int((split.buyers > 0).sum()), split.train.shape[0]
    accuracy = {
        f"ndcg@{k}": metrics.ndcg(lists, truth, k=k),
        f"recall@{k}": metrics.recall(lists, truth, k=k),
        f"map@{k}": metrics.average_precision(lists, truth, k=k),
        f"serendipity@{k}": metrics.serendipity(lists, truth, k=k, buyers=split.buyers),
    }
    figures: dict[str, float] = {}
    for name, values in accuracy.items():
        found = metrics.interval(values, seed=seed)
        figures |= {name: found.mean, f"{name}.low": found.low, f"{name}.high": found.high, "users": found.users}
    figures[f"novelty@{k}"] = float(np.nanmean(metrics.novelty(lists, k=k, buyers=split.buyers, users=users)))
    if category is not None:
        figures[f"diversity@{k}"] = float(np.nanmean(metrics.diversity(lists, k=k, category=category)))
    figures[f"coverage@{k}"] = metrics.coverage(lists, k=k, items=items)
    figures[f"gini@{k}"] = metrics.gini(lists, k=k, items=items)
    return figures


def evaluate(
    *,
    split: str,
    data: Path,
    out: Path,
    entries: Sequence[Entry],
    protocols: Sequence[str] = PROTOCOLS,
    train_share: float = 0.8,
    min_buyers: int = 1,
    kinds: Mapping[str, float] | None = None,
    k: int = 20,
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, float]:
    """Fit and judge each entry; print a table, write ``figures.json`` into ``out`` and return what it holds.

    Figures are flat: ``label.protocol.figure``, such as ``als.discovery.ndcg@20``, beside ``label.fit_seconds``.

    Args:
        split: ``weeks`` (events cut in time) or ``lightgcn`` (train.txt and test.txt).
        data: a folder with events.parquet and, for diversity, catalogue.parquet; or with the two text files.
        out: folder to write to, made where missing.
        entries: what to judge; labels must differ.
        protocols: which of discovery and full.
        train_share: for weeks, the share of weeks to learn from.
        min_buyers: for weeks, the fewest users who took an item that is ranked.
        kinds: for weeks, the weight of each event kind; None = purchases alone.
        k: length of the lists.
        seed: for fits and bootstrap.
        console: where to print; None = standard output.

    Raises:
        SplitError: an unknown split or protocol, equal labels, or data that is not there.
    """
    console = console or Console()
    labels = [entry.label for entry in entries]
    if not entries or len(set(labels)) < len(labels):
        raise SplitError(f"`entries` must be at least one, each with a label of its own, but are {labels}")
    matrices = _Matrices(split, Path(data), train_share=train_share, min_buyers=min_buyers, kinds=kinds)
    figures: dict[str, float] = {}
    for entry in entries:
        part = matrices.of(entry.half_life_days)
        started = time.perf_counter()
        with console.status(f"fitting {entry.label}"):
            model = make_model(entry.model, **entry.settings).fit(part.train, seed=seed)
        figures[f"{entry.label}.fit_seconds"] = time.perf_counter() - started
        for protocol in protocols:
            told = judge(model, part, protocol=protocol, k=k, seed=seed, category=matrices.category)
            figures |= {f"{entry.label}.{protocol}.{name}": value for name, value in told.items()}
    console.print(table_of(figures, labels=labels, protocols=protocols, k=k))
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def table_of(figures: Mapping[str, float], *, labels: Sequence[str], protocols: Sequence[str], k: int) -> Table:
    """Return flat figures as a table: a line for each label and protocol, NDCG with its interval."""
    shown = ["recall", "map", "serendipity", "novelty", "diversity", "coverage", "gini"]
    table = Table(title=f"Full ranking, first {k}; intervals are 95 % over users")
    for name in ["model", "protocol", "users", "NDCG", "interval", *shown, "fit s"]:
        table.add_column(name, justify="left" if name in {"model", "protocol"} else "right")
    for label in labels:
        for protocol in protocols:
            start = f"{label}.{protocol}."
            ndcg = f"{start}ndcg@{k}"
            table.add_row(
                label,
                protocol,
                f"{figures[start + 'users']:,.0f}",
                f"{figures[ndcg]:.4f}",
                f"{figures[ndcg + '.low']:.4f} – {figures[ndcg + '.high']:.4f}",
                *(f"{figures[key]:.4f}" if (key := f"{start}{name}@{k}") in figures else "" for name in shown),
                f"{figures[label + '.fit_seconds']:.1f}",
            )
    return table


class _Matrices:
    """The split's matrices for each half-life asked, and the items' category codes."""

    def __init__(
        self, split: str, data: Path, *, train_share: float, min_buyers: int, kinds: Mapping[str, float] | None
    ) -> None:
        self._kinds = dict(kinds or {"purchase": 1.0})
        self._min_buyers = min_buyers
        self._made: dict[float | None, Split] = {}
        self.category: npt.NDArray[np.integer[Any]] | None = None
        if split == "lightgcn":
            self._whole: Split | None = read_lightgcn(data)
        elif split == "weeks":
            self._whole = None
            if not (data / "events.parquet").exists():
                raise SplitError(f"{data} holds no events.parquet; write the shop's events there first")
            self._cut = by_weeks(pl.read_parquet(data / "events.parquet"), train_share=train_share)
            self.category = self._categories(data / "catalogue.parquet")
        else:
            raise SplitError(f"`split` must be weeks or lightgcn but got {split!r}")

    def of(self, half_life_days: float | None) -> Split:
        if self._whole is not None:
            if half_life_days is not None:
                raise SplitError("`half_life_days` needs events in time; the lightgcn split has none")
            return self._whole
        if half_life_days not in self._made:
            self._made[half_life_days] = split_of(
                self._cut, weighing=self._weighing(half_life_days), min_buyers=self._min_buyers
            )
        return self._made[half_life_days]

    def _weighing(self, half_life_days: float | None) -> Weighing:
        return Weighing(self._kinds, None if half_life_days is None else timedelta(days=half_life_days))

    def _categories(self, path: Path) -> npt.NDArray[np.integer[Any]] | None:
        if not path.exists():
            return None
        of_item = pl.read_parquet(path, columns=["item_id", "category"])
        items = items_of(self._cut, kinds=self._kinds, min_buyers=self._min_buyers)
        named = items.to_frame("item_id").join(of_item, on="item_id", how="left", maintain_order="left")
        return named["category"].fill_null("").rank("dense").to_numpy().astype(np.int64)


def _rank(model: Recommender, split: Split, *, protocol: str, k: int) -> metrics.Lists:
    offsets, rows = [np.zeros(1, np.int64)], []
    for start in range(0, split.train.shape[0], STEP):
        block = slice(start, start + STEP)
        exclude = split.taken[block] if protocol == "discovery" else None
        found = model.top(split.train[block], k=k, exclude=exclude)
        offsets.append(found.offsets[1:] + offsets[-1][-1])
        rows.append(found.item_row)
    return metrics.Lists(np.concatenate(offsets), np.concatenate(rows))
