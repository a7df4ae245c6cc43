"""What policies leave: all of it without rules, the shelf without personal rows, and the figures hang together."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from boundary import Policy, Taxonomy
from data.synthetic import TAXONOMY, make_shop
from experiments.scoreboard import markdown_of_served
from experiments.served import Served, judge_policies
from experiments.split import Cut, by_weeks
from recsys.quality import without_boundary
from recsys.shop import Shop, checked_shop

K = 10
DEFAULT = Policy.named("default").replace({"rules.low_support.k": 2})
OFF = without_boundary(DEFAULT).replace({f"rules.{name}.enforce": "off" for name in DEFAULT.rules} | {"overrides": {}})
SHELF = DEFAULT.replace({"rules.low_support.k": 10_000, "rules.low_support.sources": ["personal"]})
POLICIES = {"off": OFF, "default": DEFAULT, "shelf": SHELF}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Cut]:
    """A small invented shop in which everybody agreed to everything."""
    folder = tmp_path_factory.mktemp("served")
    make_shop(folder, users=80, items=250, events=3_000, seed=5)
    tables = {name: folder / f"{name}.parquet" for name in ("events", "catalogue", "customers")}
    shop = checked_shop(tables["events"], tables["catalogue"], tables["customers"], rejects=folder / "rejects")
    assert shop.customers is not None
    agreed = shop.customers.with_columns(consent=pl.lit(["personalise"]), opted_out=pl.lit(value=False))
    events = shop.events.filter(pl.col("user_id").is_in(agreed["user_id"].to_list()))
    return replace(shop, events=events, customers=agreed), by_weeks(events, train_share=0.8)


@pytest.fixture(scope="module")
def served(town: tuple[Shop, Cut]) -> Served:
    shop, cut = town
    families = Taxonomy.load(TAXONOMY)
    return judge_policies(shop, cut, policies=POLICIES, taxonomy=families, k=K, seed=3, tell=lambda *_: None)


def test_a_policy_without_rules_keeps_everything(served: Served) -> None:
    """Then a slate is the recommender's own list, to the last figure."""
    raw = {name: value for name, value in served.figures.items() if name.startswith("served.raw.")}
    for name, value in raw.items():
        if not name.endswith("fit_seconds"):
            assert served.figures[name.replace(".raw.", ".off.profile.")] == value, name


def test_without_a_personal_row_both_slates_are_the_shelf(served: Served) -> None:
    """Whatever share the profile may take, it has nothing to put there."""
    for name in (f"ndcg@{K}", f"recall@{K}", f"coverage@{K}", "filled", "kept"):
        assert served.figures[f"served.shelf.{name}"] == served.figures[f"served.shelf.profile.{name}"]


def test_what_is_kept_is_one_figure_over_the_other(served: Served) -> None:
    """With an interval around it, and no slate is longer than asked for."""
    figures = served.figures
    for label in served.lists:
        ratio = figures[f"served.{label}.ndcg@{K}"] / figures[f"served.raw.ndcg@{K}"]
        assert figures[f"served.{label}.kept"] == pytest.approx(ratio)
        assert figures[f"served.{label}.kept.low"] <= ratio <= figures[f"served.{label}.kept.high"]
        assert 0 < figures[f"served.{label}.filled"] <= 1
    assert served.lists == ("raw", "off", "off.profile", "default", "default.profile", "shelf", "shelf.profile")
    words = markdown_of_served(served, k=K)
    assert all(f"| {label} | {figures[f'served.{label}.ndcg@{K}']:.4f}" in words for label in served.lists)
    assert all(f"{group} (" in words for group in served.groups)
