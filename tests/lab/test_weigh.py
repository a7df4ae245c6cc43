"""Weights of a blend: the smooth NDCG and its gradient, learning on some for others, the command."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from experiments.cli import app
from experiments.entries import Entry, read_entries
from experiments.soft import Shortlists, crossed, learn_weights, smooth_ndcg
from experiments.split import Split, SplitError, leave_out, read_lightgcn
from experiments.weigh import shortlists, weigh, weighed
from recsys.models import Blend
from recsys.quality import ndcg

QUIET = Console(quiet=True)
BLEND = """
[[lightgcn]]
label = "two"
model = "blend"
[[lightgcn.settings.parts]]
model = "popular"
weight = 1.0
[[lightgcn.settings.parts]]
model = "als"
weight = 0.2
factors = 3
iterations = 3
regularization = 0.1

[[lightgcn]]
label = "popular"
model = "popular"
role = "chosen"
"""


def drawn(seed: int, *, users: int = 12, items: int = 9, parts: int = 3) -> Shortlists:
    """Opinions of which the first knows a little, the others nothing; some items are in no list."""
    random = np.random.default_rng(seed)
    taken, offered = random.random((users, items)) < 0.3, random.random((users, items)) < 0.9
    opinions = random.standard_normal((users, items, parts))
    opinions[:, :, 0] += taken
    return Shortlists(opinions, taken & offered, offered, (taken & offered).sum(axis=1) + random.integers(0, 2, users))


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tastes in LightGCN's files, each user missing some squares of their colour, and a file of entries."""
    folder, random = tmp_path_factory.mktemp("weigh"), np.random.default_rng(3)
    lines = {"train": [], "test": []}
    for user in range(60):
        mine = random.permutation(np.arange(user % 2, 24, 2)).tolist()
        lines["train"].append(" ".join(map(str, [user, *mine[2:]])))
        lines["test"].append(" ".join(map(str, [user, *mine[:2]])))
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    (folder / "entries.toml").write_text(BLEND)
    return folder


@given(seed=st.integers(0, 999), softness=st.floats(0.1, 2))
@settings(max_examples=25, deadline=None)
def test_the_gradient_is_that_of_the_value(seed: int, softness: float):
    """A small step along each weight moves the value by the gradient."""
    lists, step = drawn(seed), 1e-5
    weights = np.random.default_rng(seed).standard_normal(3)
    unit = np.full(12, 1.3)
    _, gradient = smooth_ndcg(lists, weights, k=4, softness=softness, unit=unit)
    for part in range(3):
        ahead, behind = (
            smooth_ndcg(lists, weights + sign * step * np.eye(3)[part], k=4, softness=softness, unit=unit)[0]
            for sign in (1, -1)
        )
        assert gradient[part] == pytest.approx((ahead - behind) / (2 * step), abs=1e-6)


@given(seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_with_little_softness_it_is_the_ndcg(seed: int):
    """Lists far longer than the candidates are many have no edge to blur; what remains is the figure itself."""
    lists, weights = drawn(seed), np.array([1.0, 0.5, -0.25])
    value, _ = smooth_ndcg(lists, weights, k=60, softness=1e-4, unit=np.ones(12))
    assert value == pytest.approx(np.nanmean(lists.ndcg(weights, k=60)), abs=1e-3)


@given(seed=st.integers(0, 999), k=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_the_ndcg_of_shortlists_is_that_of_lists(seed: int, k: int):
    """Ranked and cut, the same candidates get the same figure from the evaluation; what is not offered is in no list."""
    lists, weights = drawn(seed), np.array([1.0, -0.5, 0.25])
    rows = []
    for scores, offered in zip(lists.opinions @ weights, lists.offered, strict=True):
        rows.append(sorted(np.flatnonzero(offered), key=lambda item, by=scores: -by[item])[:k])
    truth = np.zeros((12, 20))
    truth[:, :9] = lists.taken
    for user, more in enumerate(lists.wanted - lists.taken.sum(axis=1)):
        truth[user, 9 : 9 + more] = 1
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    wanted = ndcg(offsets, np.concatenate(rows).astype(np.int32), csr_matrix(truth), k=k)
    assert np.allclose(lists.ndcg(weights, k=k), wanted, equal_nan=True)


@given(seed=st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_learning_climbs_and_keeps_the_length(seed: int):
    """By the smooth figure the learned weights are no worse than the first; only their direction is learned."""
    lists, start = drawn(seed, users=40), np.array([0.2, 1.0, -0.5])
    learned = learn_weights(lists, start, k=5, softness=0.3)
    unit = (lists.opinions @ start).std(axis=1)
    before, after = (smooth_ndcg(lists, one, k=5, softness=0.3, unit=unit)[0] for one in (start, learned))
    assert after >= before
    assert np.linalg.norm(learned) == pytest.approx(np.linalg.norm(start))


def test_who_knows_is_heard():
    """Of three opinions the one that knows a little ends with nearly all the weight, and others gain by it too."""
    lists, start = drawn(1, users=400, items=30), [0.3, 1.0, 1.0]
    learned = learn_weights(lists, start, k=5, softness=0.15)
    assert learned[0] > 5 * np.abs(learned[1:]).max()
    judged, _ = crossed(lists, start, k=5, softness=0.15, seed=0)
    assert np.nanmean(judged) > 1.2 * np.nanmean(lists.ndcg(start, k=5))


@given(seed=st.integers(0, 99), fold=st.integers(0, 4))
@settings(max_examples=8, deadline=None)
def test_nobody_is_judged_by_weights_learned_on_them(seed: int, fold: int):
    """Whatever a fold took, the weights that it is judged under stay bit for bit what they were; others' move."""
    lists = drawn(seed, users=30)
    mine = np.random.default_rng(seed).permutation(30) % 5 == fold  # as `crossed` deals them
    other = Shortlists(lists.opinions, lists.taken.copy(), lists.offered, lists.wanted)
    other.taken[mine] = lists.offered[mine] & ~lists.taken[mine]
    before, after = (crossed(one, [1.0, 0.5, 0.5], k=5, softness=0.3, seed=seed)[1] for one in (lists, other))
    assert np.array_equal(before[fold], after[fold])
    assert not np.array_equal(before, after)


def test_shortlists_hold_the_blends_best_and_what_each_part_says(boards: Path):
    """Weighed as in the blend the opinions are its scores, and the best candidates are its list."""
    split = leave_out(read_lightgcn(boards), share=0.2, seed=0)
    (entry,) = read_entries("lightgcn", path=boards / "entries.toml", labels=["two"])
    blend = Blend(**entry.settings).fit(split.train, seed=0)
    rows, seen = np.array([3, 4, 50]), []
    lists = shortlists(blend, split, rows, 8, seen.append)
    top = blend.top(split.train[rows], k=8, exclude=split.taken[rows])
    scores = np.sort((lists.opinions @ [1.0, 0.2])[:, ::-1], axis=1)[:, ::-1]
    assert np.allclose(scores, top.score.reshape(3, 8), rtol=1e-3, atol=1e-4)
    assert lists.wanted.tolist() == np.diff(split.new[rows].indptr).tolist()
    assert seen == [1.0]


def test_what_is_not_offered_is_marked(boards: Path):
    """With more candidates asked for than are new to a user the rest is in no list, and never counts as found."""
    split = leave_out(read_lightgcn(boards), share=0.2, seed=0)
    whole = Split(split.train, split.taken, split.taken, split.buyers)
    (entry,) = read_entries("lightgcn", path=boards / "entries.toml", labels=["two"])
    blend = Blend(**entry.settings).fit(split.train, seed=0)
    lists = shortlists(blend, whole, np.array([3, 4]), 99, lambda _share: None)
    assert lists.offered.sum(axis=1).tolist() == (24 - np.diff(split.taken[[3, 4]].indptr)).tolist()
    assert not lists.taken.any()


def test_the_command_learns_and_leaves_an_entry(boards: Path, tmp_path: Path):
    """Popularity, heavy at first, gives way to who knows the colours; the written entry can be evaluated."""
    words = ["weigh", "--split", "lightgcn", "--data", boards, "--entries", boards / "entries.toml", "--model", "two"]
    told = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path)], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["weight.1.als"] > figures["weight.0.popular"]
    assert figures["ndcg@20.learned"] > figures["ndcg@20.before"]
    assert figures["crossed_over_before"] > 1
    (entry,) = read_entries("lightgcn", path=tmp_path / "weighed.toml")
    assert entry.settings["parts"][1]["weight"] == pytest.approx(figures["weight.1.als"], abs=5e-4)
    assert tomllib.loads((tmp_path / "weighed.toml").read_text())["lightgcn"][0]["label"] == "two"
    assert f"{figures['ndcg@20.before']:.4f} before" in " ".join(told.output.split())


def test_the_test_part_is_not_read_into_the_weights(boards: Path, tmp_path: Path):
    """Other test items, the same figures."""
    (tmp_path / "train.txt").write_text((boards / "train.txt").read_text())
    (tmp_path / "test.txt").write_text("0 1\n1 0\n")
    (entry,) = read_entries("lightgcn", path=boards / "entries.toml", labels=["two"])
    found = [
        weigh(split="lightgcn", data=data, out=tmp_path, entry=entry, users=40, console=QUIET)
        for data in (boards, tmp_path)
    ]
    assert found[0] == found[1]


def test_it_says_what_it_cannot_do(boards: Path, tmp_path: Path):
    """No blend, too few candidates, no softness, nothing to start from: one line each."""
    (entry,) = read_entries("lightgcn", path=boards / "entries.toml", labels=["two"])
    with pytest.raises(SplitError, match="`model` must be a blend but a is 'popular'"):
        weigh(split="lightgcn", data=boards, out=tmp_path, entry=Entry("a", "popular"), console=QUIET)
    with pytest.raises(SplitError, match="`candidates` must be at least 20 but got 19"):
        weigh(split="lightgcn", data=boards, out=tmp_path, entry=entry, candidates=19, console=QUIET)
    with pytest.raises(SplitError, match="`softness` must be above 0 but got 0"):
        learn_weights(drawn(0), [1, 1, 1], k=5, softness=0)
    with pytest.raises(SplitError, match="`folds` must be from 2 to the number of users, 12, but got 1"):
        crossed(drawn(0), [1, 1, 1], k=5, softness=1, seed=0, folds=1)
    with pytest.raises(SplitError, match="must not all be 0"):
        learn_weights(drawn(0), [0, 0, 0], k=5, softness=1)
    assert weighed(entry, [0.12345, 2]).settings["parts"][0]["weight"] == 0.123
