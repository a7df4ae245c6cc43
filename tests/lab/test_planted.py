"""What the boundary finds of what was planted: a stricter rule finds no less, and nothing is found that is not there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from boundary.policy import Policy
from boundary.taxonomy import Taxonomy
from data.synthetic import make_shop
from experiments.planted import banded, find_planted, planted
from experiments.visits import LabError
from recsys.bundle import Bundle
from recsys.engine import Engine
from recsys.interactions import Weighing
from recsys.shop import Choice

DEFAULT = Policy.named("default")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    make_shop(folder, users=1500, items=800, events=120_000, seed=7)
    return folder


@pytest.fixture(scope="module")
def bundle(shop: Path) -> Bundle:
    tables = [shop / f"{name}.parquet" for name in ("events", "catalogue", "customers")]
    choice = Choice("als", {"factors": 8, "iterations": 1}, Weighing({"purchase": 1.0, "view": 0.3}), 7)
    return Engine.fit(*tables, taxonomy=Taxonomy.load(shop / "taxonomy.toml"), choice=choice).bundle


@pytest.fixture(scope="module")
def truth(shop: Path) -> pl.DataFrame:
    return pl.read_parquet(shop / "truth.parquet")


def test_a_stricter_rule_finds_no_less_and_what_is_found_is_withheld(bundle: Bundle, truth: pl.DataFrame) -> None:
    before = 0
    for lift, z in ((4.0, 8.0), (2.0, 4.0), (1.3, 2.0), (1.0, 0.0)):
        policy = DEFAULT.replace({"rules.sensitive_proxy.lift": lift, "rules.sensitive_proxy.z": z})
        found = find_planted(bundle, policy, truth)
        now = int(found.proxies["found"].sum())
        assert now >= before
        assert found.proxies.filter(pl.col("found") & ~pl.col("withheld")).is_empty()
        before = now
    assert before > 0


def test_the_default_finds_more_of_the_strong_than_of_the_weak(bundle: Bundle, truth: pl.DataFrame) -> None:
    found = find_planted(bundle, DEFAULT, truth)
    by = found.by(banded())
    assert by["planted"].sum() == len(truth)
    assert by["withheld"].sum() + by["missed"].sum() == len(truth)
    half = found.proxies.sort("strength")
    assert half.head(len(half) // 2)["lift"].median() < half.tail(len(half) // 2)["lift"].median()


def test_a_shop_without_planted_proxies_has_nothing_to_find(bundle: Bundle, truth: pl.DataFrame) -> None:
    found = find_planted(bundle, DEFAULT, truth.clear())
    assert found.figures["proxies.planted"] == 0
    assert found.figures["proxies.recall"] == 0
    assert found.alarms >= find_planted(bundle, DEFAULT, truth).alarms


def test_it_is_written_down(bundle: Bundle, shop: Path, tmp_path: Path) -> None:
    found = planted(bundle, DEFAULT, shop / "truth.parquet", tmp_path)
    told = pl.read_csv(tmp_path / "planted.csv")
    assert told["found"].sum() == found.figures["proxies.found"]
    assert pl.read_csv(tmp_path / "families.csv")["planted"].sum() == len(told)
    assert (tmp_path / "figures.json").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda truth: truth.drop("strength"), "lacks strength"),
        (lambda truth: truth.with_columns(item_id=pl.lit("nowhere")), "does not know"),
        (lambda truth: truth.with_columns(family=pl.lit("nobody")), "does not know"),
    ],
)
def test_a_truth_of_another_shop_is_refused(bundle: Bundle, truth: pl.DataFrame, change, word: str) -> None:
    with pytest.raises(LabError, match=word):
        find_planted(bundle, DEFAULT, change(truth))


def test_a_policy_that_looks_for_nothing_is_refused(bundle: Bundle, truth: pl.DataFrame) -> None:
    with pytest.raises(LabError, match="sensitive_proxy"):
        find_planted(bundle, DEFAULT.replace({"rules.sensitive_proxy.z": None}), truth)
    with pytest.raises(LabError, match=r"truth\.parquet"):
        planted(bundle, DEFAULT, "nothing.parquet", Path("nowhere"))
