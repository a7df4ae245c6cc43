"""How well do models rank? Fit on the past, judged on what came after, told as a table and as flat figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.sparse import csr_matrix

from experiments import metrics
from experiments.entries import Entry
from experiments.figures import write_figures
from experiments.ground import Ground, open_ground
from experiments.measure import Judged, measure
from experiments.scoreboard import markdown_of, markdown_of_served, table_of, table_of_served
from experiments.served import judge_policies
from experiments.split import Split, SplitError
from recsys.models import Recommender, make_model
from recsys.repeats import HALF_LIFE, repeats, usual

if TYPE_CHECKING:
    from boundary.policy import Policy

PROTOCOLS = ("discovery", "full", "find")
STEP = 4096  # users ranked at once
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Tell = Callable[[str, float], None]


def judge(
    model: Recommender,
    split: Split,
    *,
    protocol: str,
    k: int,
    seed: int,
    category: npt.NDArray[np.integer[Any]] | None = None,
    groups: Mapping[str, Mask] | None = None,
    rows: npt.NDArray[np.integer[Any]] | None = None,
) -> Judged:
    """Rank for the training users; each accuracy has its ``.low`` and ``.high`` (95 %).

    ``discovery`` ranks what the user had not taken, against what of it they took afterwards; ``full`` ranks
    everything, against everything taken afterwards; ``find`` ranks what the user had taken, against what of it they
    took again. Users with nothing to find are left out; ``users`` counts the others.

    Args:
        model: fitted to ``split.train``.
        split: what was learned from and is judged on.
        protocol: discovery, full or find.
        k: length of the lists.
        seed: for the bootstrap.
        category: (I,) codes for diversity; None leaves it out.
        groups: name to (U,) bool; NDCG is also told for each group, as ``name.ndcg@k``.
        rows: users judged; None is all.
    """
    if protocol not in PROTOCOLS:
        raise SplitError(f"`protocol` must be one of {', '.join(PROTOCOLS)} but got {protocol!r}")
    part = split if rows is None else split.of_users(rows)
    lists = _find(model, part, k) if protocol == "find" else _rank(model, part, protocol=protocol, k=k)
    chosen = {name: mask if rows is None else mask[rows] for name, mask in (groups or {}).items()}
    return measure(lists, _truth(part, protocol), buyers=split.buyers, k=k, seed=seed, category=category, groups=chosen)


def _truth(split: Split, protocol: str) -> csr_matrix:
    return {"discovery": split.new, "full": split.test, "find": split.again}[protocol]


def evaluate(
    *,
    split: str,
    data: Path,
    out: Path,
    entries: Sequence[Entry],
    part: str = "test",
    protocols: Sequence[str] = (),
    train_share: float = 0.8,
    min_buyers: int = 10,
    users: int | None = None,
    k: int = 20,
    seed: int = 0,
    taxonomy: Path | None = None,
    policies: Mapping[str, Policy] | None = None,
    console: Console | None = None,
    tell: Tell | None = None,
) -> dict[str, float]:
    """Fit and judge each entry; print a table, write it (table.md) and ``figures.json`` into ``out``.

    Figures are flat: ``label.protocol.figure``, such as ``als.discovery.ndcg@20``, beside ``label.fit_seconds``. Those
    of the chosen entry stand without its label too: ``recall@20`` and ``ndcg@20`` for lightgcn,
    ``discovery.ndcg@20`` for temporal, where ``find.ndcg@20`` is that of the list which ``intent="find"`` serves
    and ``find.own_counts.ndcg@20`` that of each user's bare counts.
    ``over_baseline`` is the chosen entry's NDCG over the best baseline's, with the interval of a paired bootstrap.

    Args:
        split: ``temporal`` (events cut in time) or ``lightgcn`` (train.txt and test.txt).
        data: a folder with a shop's tables, or with the two text files.
        out: folder to write to, made where missing.
        entries: what to judge; labels must differ.
        part: ``test``, or ``validation`` to choose settings on: a part of train, the test unseen.
        protocols: which of discovery, full and find; () is all for temporal and discovery for lightgcn.
        train_share: for temporal, the share of weeks to learn from.
        min_buyers: for temporal, the fewest users who took an item that is ranked.
        users: how many users are judged, drawn by the seed; None is all.
        k: length of the lists.
        seed: for fits, draws and bootstrap.
        taxonomy: for temporal, TOML file of sensitive families; None is the Complete Journey's.
        policies: for temporal, whose slates are judged beside the recommender alone, by name; see ``judge_policies``.
        console: where to print; None = standard output.
        tell: is told what is done, and the share of it.

    Raises:
        SplitError: an unknown split, part or protocol, equal labels, or data that is not there.
    """
    console, tell = console or Console(markup=False, emoji=False), tell or (lambda _what, _share: None)
    labels = [entry.label for entry in entries]
    if not entries or len(set(labels)) < len(labels):
        raise SplitError(f"`entries` must be at least one, each with a label of its own, but are {labels}")
    tell("reading", 0.0)
    ground = open_ground(
        split, Path(data), part=part, train_share=train_share, min_buyers=min_buyers, seed=seed, rejects=out / "rejects",
        taxonomy=taxonomy, console=console,
    )  # fmt: skip
    protocols = protocols or (PROTOCOLS if split == "temporal" else PROTOCOLS[:1])
    rows = _drawn(ground.users, users, seed)
    figures: dict[str, float] = {}
    ndcgs: dict[tuple[str, str], Doubles] = {}
    whole = len(entries) + len(policies or ())
    for place, entry in enumerate(entries):
        share = place / whole
        tell(f"fitting {entry.label}", share)
        matrices = ground.split(entry.half_life_days)
        started = time.perf_counter()
        model = make_model(entry.model, **entry.settings).fit(matrices.train, seed=seed)
        figures[f"{entry.label}.fit_seconds"] = time.perf_counter() - started
        for protocol in protocols:
            tell(f"judging {entry.label}, {protocol}", share + 0.5 / whole)
            judged = judge(
                model, matrices, protocol=protocol, k=k, seed=seed, category=ground.category, groups=ground.groups,
                rows=rows,
            )  # fmt: skip
            figures |= {f"{entry.label}.{protocol}.{name}": value for name, value in judged.figures.items()}
            ndcgs[entry.label, protocol] = judged.ndcg
        del model
    figures |= _standing(entries, protocols, figures, ndcgs, split=split, k=k, seed=seed)
    if "find" in protocols:
        figures |= _served_find(ground, rows, k, seed)
    console.print(table_of(figures, labels=labels, protocols=protocols, k=k))
    words = markdown_of(
        figures, labels=labels, protocols=protocols, groups=list(ground.groups), k=k, about=ground.about
    )
    if policies and ground.shop is not None and ground.cut is not None:
        served = judge_policies(
            ground.shop, ground.cut, policies=policies, taxonomy=ground.families, k=k, seed=seed,
            tell=lambda what, share: tell(what, (len(entries) + len(policies) * share) / whole),
        )  # fmt: skip
        figures |= served.figures
        console.print(table_of_served(served, k=k))
        words += "\n" + markdown_of_served(served, k=k)
    write_figures(out, figures, policy=None, bundle=None)
    (out / "table.md").write_text(words, encoding="utf-8")
    tell("done", 1.0)
    return figures


def _standing(
    entries: Sequence[Entry], protocols: Sequence[str], figures: Mapping[str, float],
    ndcgs: Mapping[tuple[str, str], Doubles], *, split: str, k: int, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Return the chosen entry's figures without its label, and how it stands to the best baseline."""
    chosen = next((entry.label for entry in entries if entry.role == "chosen"), None)
    if chosen is None:
        return {}
    found: dict[str, float] = {}
    for protocol in protocols:
        if protocol == "find":
            continue
        bare = "" if split == "lightgcn" else f"{protocol}."
        for name in (f"ndcg@{k}", f"recall@{k}"):
            found[f"{bare}{name}"] = figures[f"{chosen}.{protocol}.{name}"]
        baselines = [entry.label for entry in entries if entry.role == "baseline"]
        if baselines:
            best = max(baselines, key=lambda label: figures[f"{label}.{protocol}.ndcg@{k}"])
            found[f"{bare}baseline.ndcg@{k}"] = figures[f"{best}.{protocol}.ndcg@{k}"]
            ratio = metrics.ratio_interval(ndcgs[chosen, protocol], ndcgs[best, protocol], seed=seed)
            name = f"{bare}over_baseline"
            found |= {name: ratio.mean, f"{name}.low": ratio.low, f"{name}.high": ratio.high}
    return found


def _served_find(ground: Ground, rows: npt.NDArray[np.int64] | None, k: int, seed: int) -> dict[str, float]:
    """Judge the list of repeats that the engine serves, beside the bare counts of each user."""
    counts, recent = ground.split(None), ground.split(HALF_LIFE / timedelta(days=1))
    habit, everything = usual(counts.train), np.ones(counts.train.shape[1], bool)
    served, own = (
        _judged_repeats(
            part if rows is None else part.of_users(rows), everything, habit=pull, ground=ground, k=k, seed=seed
        )
        for part, pull in ((recent, habit), (counts, None))
    )
    figures = {f"find.{name}": value for name, value in served.figures.items()}
    figures |= {f"find.own_counts.{name}": value for name, value in own.figures.items()}
    ratio = metrics.ratio_interval(served.ndcg, own.ndcg, seed=seed)
    name = "find.over_own_counts"
    return figures | {name: ratio.mean, f"{name}.low": ratio.low, f"{name}.high": ratio.high}


def _judged_repeats(
    part: Split, within: Mask, *, habit: npt.NDArray[np.float32] | None, ground: Ground, k: int, seed: int
) -> Judged:
    found = repeats(part.taken, part.train, k, within, habit=habit)
    lists = metrics.Lists(found.offsets, found.item_row)
    return measure(lists, part.again, buyers=part.buyers, k=k, seed=seed, category=ground.category)


def _drawn(users: int, count: int | None, seed: int) -> npt.NDArray[np.int64] | None:
    if count is None or count >= users:
        return None
    return np.sort(np.random.default_rng(seed).choice(users, count, replace=False))


def _rank(model: Recommender, split: Split, *, protocol: str, k: int) -> metrics.Lists:
    offsets, rows = [np.zeros(1, np.int64)], []
    for start in range(0, split.train.shape[0], STEP):
        block = slice(start, start + STEP)
        exclude = split.taken[block] if protocol == "discovery" else None
        found = model.top(split.train[block], k=k, exclude=exclude)
        offsets.append(found.offsets[1:] + offsets[-1][-1])
        rows.append(found.item_row)
    return metrics.Lists(np.concatenate(offsets), np.concatenate(rows))


def _find(model: Recommender, split: Split, k: int) -> metrics.Lists:
    """Rank what each user had taken by the model's scores, ties by row."""
    taken = split.taken
    owner = np.repeat(np.arange(taken.shape[0], dtype=np.int32), np.diff(taken.indptr))
    scores = csr_matrix((model.scores(split.train, owner, taken.indices), taken.indices, taken.indptr), taken.shape)
    found = repeats(taken, scores, k, np.ones(taken.shape[1], bool))
    return metrics.Lists(found.offsets, found.item_row)
