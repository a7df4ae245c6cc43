"""How good the lists are: the command on small shops, its protocols, its parts, and what it refuses."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from data.synthetic import TAXONOMY, make_shop
from experiments import metrics
from experiments.cli import app
from experiments.cohorts import activity_groups
from experiments.entries import Entry, read_entries
from experiments.evaluate import evaluate, judge
from experiments.split import Split, SplitError, leave_out, read_lightgcn
from recsys.models import ModelError, make_model

QUIET = Console(quiet=True)
LISTS = """
[[temporal]]
label = "popular"
model = "popular"
role = "baseline"

[[temporal]]
label = "degree"
model = "item_item"
role = "chosen"
half_life_days = 90
settings = { weighting = "degree" }

[[lightgcn]]
label = "sharp"
model = "sharp"
role = "chosen"
settings = { factors = 2, strength = 0.3 }
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small invented shop's tables, and a file of entries."""
    folder = tmp_path_factory.mktemp("evaluate")
    make_shop(folder, users=80, items=250, events=3_000, seed=5)
    (folder / "entries.toml").write_text(LISTS)
    return folder


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tastes in LightGCN's files: even users take even items, and the one they miss is the test."""
    folder = tmp_path_factory.mktemp("boards")
    lines = {"train": [], "test": []}
    for user in range(24):
        mine = list(range(user % 2, 16, 2))
        missing = mine.pop(user // 2 % 8)
        lines["train"].append(" ".join(map(str, [user, *mine])))
        lines["test"].append(f"{user} {missing}")
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    (folder / "entries.toml").write_text(LISTS)
    return folder


def run(*words: object) -> str:
    """Run the command; its words are what it prints."""
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_temporal_command_leaves_figures_and_a_table(shop: Path, tmp_path: Path):
    """Per model and protocol, per group of shoppers, the chosen one's without a label, and the list of repeats."""
    run(
        "--data", shop, "--entries", shop / "entries.toml", "--taxonomy", TAXONOMY, "--min-buyers", 1, "--out", tmp_path
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["discovery.ndcg@20"] == figures["degree.discovery.ndcg@20"] > 0
    assert figures["discovery.baseline.ndcg@20"] == figures["popular.discovery.ndcg@20"]
    ratio = figures["degree.discovery.ndcg@20"] / figures["popular.discovery.ndcg@20"]
    assert figures["discovery.over_baseline"] == pytest.approx(ratio)
    assert figures["discovery.over_baseline.low"] <= ratio <= figures["discovery.over_baseline.high"]
    assert figures["find.ndcg@20.low"] < figures["find.ndcg@20"] < figures["find.ndcg@20.high"]
    whole = figures["degree.discovery.users"]
    assert sum(figures[f"degree.discovery.{name}.users"] for name in ("quietest", "quiet", "busy", "busiest")) == whole
    tiers = [name for name in ("guest", "newcomer", "regular") if f"degree.discovery.{name}.users" in figures]
    assert sum(figures[f"degree.discovery.{name}.users"] for name in tiers) == whole
    assert figures["served.raw.kept"] == 1
    assert {name for name in figures if name.endswith(".profile.kept")} == {
        f"served.{policy}.profile.kept" for policy in ("gentle", "default", "strict")
    }
    words = (tmp_path / "table.md").read_text()
    assert f"{figures['discovery.ndcg@20']:.4f}" in words
    assert f"| strict | {figures['served.strict.ndcg@20']:.4f}" in words
    assert "| model | quietest" in words


def test_the_lightgcn_command_tells_bare_figures(boards: Path, tmp_path: Path):
    """A sharpened neighbourhood finds every missing square; the figures stand under the papers' names."""
    words = run("--split", "lightgcn", "--data", boards, "--entries", boards / "entries.toml", "--out", tmp_path)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["recall@20"] == figures["ndcg@20"] == figures["sharp.discovery.ndcg@20"] == 1
    assert "table.md" in words


def test_models_can_be_picked_and_users_drawn(shop: Path, tmp_path: Path):
    """Only the named entries, and no more users than asked for."""
    run(
        "--data", shop, "--entries", shop / "entries.toml", "--taxonomy", TAXONOMY, "--models", "popular", "--users", 40,
        "--min-buyers", 1, "--out", tmp_path, "--policies", "none",
    )  # fmt: skip
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert not any(name.startswith("served.") for name in figures)
    assert "degree.fit_seconds" not in figures
    assert figures["popular.discovery.users"] <= 40


@pytest.mark.parametrize("split", ["temporal", "lightgcn"])
def test_the_validation_part_does_not_move_with_the_test(split: str, shop: Path, boards: Path, tmp_path: Path):
    """Whatever happens after the cut, settings are chosen on the same figures."""
    import polars as pl

    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        if split == "lightgcn":
            (tmp_path / name / "train.txt").write_text((boards / "train.txt").read_text())
            last = (boards / "test.txt").read_text() if name == "before" else "0 2\n1 3\n"
            (tmp_path / name / "test.txt").write_text(last)
        else:
            events = pl.read_parquet(shop / "events.parquet").sort("at")
            late = events["at"] >= events["at"].max() - (events["at"].max() - events["at"].min()) / 10
            changed = events.with_columns(item_id=pl.when(late).then(pl.lit(events["item_id"][0])).otherwise("item_id"))
            (events if name == "before" else changed).write_parquet(tmp_path / name / "events.parquet")
            (tmp_path / name / "catalogue.parquet").write_bytes((shop / "catalogue.parquet").read_bytes())
    found = [
        evaluate(
            split=split, data=tmp_path / name, out=tmp_path / name, part="validation", min_buyers=1, console=QUIET, k=3,
            entries=[Entry("degree", "item_item", {"weighting": "degree"})], taxonomy=TAXONOMY,
        )["degree.discovery.ndcg@3"]
        for name in ("before", "after")
    ]  # fmt: skip
    assert found[0] == found[1] > 0


@given(seed=st.integers(0, 999))
@settings(max_examples=6, deadline=None)
def test_finding_ranks_what_was_taken_and_nothing_else(seed: int):
    """The truth of repeats and that of discoveries part the test between them; lists hold only past items."""
    random = np.random.default_rng(seed)
    train, test = (csr_matrix((random.random((9, 12)) < 0.4).astype(np.float32)) for _ in range(2))
    split = Split(train, test, train, np.bincount(train.indices, minlength=12))
    assert (split.again + split.new != split.test).nnz == 0
    assert split.again.multiply(split.taken).nnz == split.again.nnz
    own = judge(make_model("own").fit(train, seed=0), split, protocol="find", k=12, seed=0)
    assert np.nanmax(own.ndcg, initial=0) <= 1
    assert own.figures["users"] == (np.diff(split.again.indptr) > 0).sum()
    some = np.array([2, 5])
    part = judge(make_model("own").fit(train, seed=0), split, protocol="find", k=12, seed=0, rows=some)
    assert np.array_equal(part.ndcg, own.ndcg[some], equal_nan=True)


@given(sizes=st.lists(st.integers(0, 9), min_size=4, max_size=30))
@settings(max_examples=40, deadline=None)
def test_activity_groups_part_the_users_evenly(sizes: list[int]):
    """Everybody is in one group; no busier group holds anybody quieter than a quieter group's busiest."""
    taken = csr_matrix(np.array([[1] * size + [0] * (9 - size) for size in sizes], np.float32))
    groups = list(activity_groups(taken).values())
    assert np.sum(groups, axis=0).tolist() == [1] * len(sizes)
    assert max(map(np.sum, groups)) - min(map(np.sum, groups)) <= 1
    widths = np.array(sizes)
    for quiet, busy in pairwise(groups):
        assert widths[quiet].max() <= widths[busy].min()


def test_a_ratio_is_paired_and_knows_nobody():
    """Users without both figures are left out; nobody at all is no ratio."""
    assert metrics.ratio_interval([1.0, np.nan, 9.0], [2.0, 1.0, np.nan], seed=0)[:1] == (0.5,)
    assert np.isnan(metrics.ratio_interval([np.nan], [1.0], seed=0).mean)


def test_the_repositorys_entries_are_sound():
    """Each section names one chosen entry and its baselines; all settings are within their bounds."""
    for split in ("temporal", "lightgcn"):
        roles = [entry.role for entry in read_entries(split)]
        assert roles.count("chosen") == 1
        assert "baseline" in roles


def test_an_evaluation_says_what_it_cannot_do(shop: Path, boards: Path, tmp_path: Path):
    """Unknown split, part, protocol or entry, labels twice, no data: one line each."""
    one = Entry("a", "popular")
    with pytest.raises(SplitError, match="`split` must be one of temporal, lightgcn but got 'random'"):
        evaluate(split="random", data=tmp_path, out=tmp_path, entries=[one], console=QUIET)
    with pytest.raises(SplitError, match="`part` must be one of test, validation but got 'all'"):
        evaluate(split="lightgcn", data=boards, out=tmp_path, entries=[one], part="all", console=QUIET)
    with pytest.raises(SplitError, match="`entries` must be at least one"):
        evaluate(split="temporal", data=shop, out=tmp_path, entries=[one, one], console=QUIET)
    with pytest.raises(SplitError, match="the lightgcn split has none"):
        evaluate(split="lightgcn", data=boards, out=tmp_path, entries=[Entry("a", "popular", {}, 9.0)], console=QUIET)
    with pytest.raises(SplitError, match="`protocol` must be one of discovery, full, find but got 'luck'"):
        judge(make_model("popular"), leave_out(read_lightgcn(boards), share=0.2, seed=0), protocol="luck", k=3, seed=0)
    with pytest.raises(SplitError, match="`models` must be among popular, degree but got magic"):
        read_entries("temporal", path=shop / "entries.toml", labels=["magic"])
    with pytest.raises(SplitError, match=r"holds no \[\[luck\]\]; it holds temporal, lightgcn"):
        read_entries("luck", path=shop / "entries.toml")
    with pytest.raises(SplitError, match=r"without dots but got 'a\.b'"):
        Entry("a.b", "popular")
    with pytest.raises(SplitError, match="`role` of a must be one of baseline, candidate, chosen but got 'king'"):
        Entry("a", "popular", role="king")
    with pytest.raises(ModelError, match="`model` must be one of"):
        Entry("a", "magic")
