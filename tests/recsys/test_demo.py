"""The demo's page on a small shop: its figures agree with each other, and its examples are what would be shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corner import DAY, ITEMS, NOW, POLICY, SENSITIVE, catalogue_frame, customers_frame, events_frame

from boundary.associations import Proxies
from boundary.ledger import open_ledger
from recsys.bundle import Bundle
from recsys.demo import SHOWN, Comparison, compare, page, score_everybody, telltale
from recsys.engine import Engine
from recsys.interactions import Weighing
from recsys.report import write_report
from recsys.shop import Choice, Shop


@pytest.fixture(scope="module")
def judged() -> Comparison:
    """The small shop, fitted on its first weeks and judged by the others."""
    shop = Shop(events_frame(), catalogue_frame(), customers_frame())
    choice = Choice("als", {"factors": 6, "iterations": 4, "regularization": 1.0}, Weighing({"purchase": 1.0}), 3)
    steps: list[float] = []
    comparison = compare(
        shop, taxonomy=SENSITIVE, policy=POLICY, choice=choice, tell=lambda _what, share: steps.append(share)
    )
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    return comparison


def test_the_lists_are_judged_by_weeks_that_the_fit_did_not_see(judged: Comparison):
    """Nothing after the cut is evidence, and every figure is an NDCG."""
    assert NOW - 64 * DAY < judged.cut < NOW
    assert judged.engine.bundle.history.at.max() <= judged.cut
    assert judged.raw_bundle.history.at.max() <= judged.cut
    assert 0 < judged.households <= 60
    assert all(0 <= value <= 1 for value in (judged.raw, judged.profile, judged.slate))


def test_the_page_tells_what_was_scored(judged: Comparison, bundle: Bundle, tmp_path: Path):
    """Counts are the manifest's, examples are slates of the engine, and the page stands alone."""
    engine = Engine(bundle, ledger=open_ledger("sqlite://"))
    manifest = score_everybody(engine, tmp_path, now=NOW, progress=lambda _done, _total: None)
    told = page(engine, manifest, judged)
    assert told["shown"] == sum(told["sources"].values())
    assert sum(sum(counts.values()) for counts in told["by_family"].values()) == sum(manifest["withheld"].values())
    assert len(told["examples"]) == 3
    for example in told["examples"]:
        assert len(example["slate"]) <= SHOWN
        assert len(example["raw"]) <= SHOWN
        name = example["slate"][0]["user_id"]
        slate = judged.engine.score_block([name], n=SHOWN, now=judged.cut, read_ledger=False)
        assert len(example["slate"]) == int(slate.verdict.kept.sum())
        kept = {entry["item_id"] for entry in example["slate"]}
        titles = {judged.engine.bundle.titles[judged.engine.gate.catalogue.row_of[item]] for item in kept}
        assert {item["title"] for item in example["raw"] if item["fate"] == "shown"} <= titles
    text = write_report(tmp_path / "report.html", told).read_text()
    assert "shopper-00" not in text
    assert "<script src" not in text


def test_what_gives_a_family_away_is_what_the_rule_withholds(bundle: Bundle):
    """One line a family, the clearest first; both limits are reached, and the sensitive items are left out."""
    lift, z = np.zeros((1, ITEMS), np.float32), np.zeros((1, ITEMS), np.float32)
    lift[0, [9, 10, 11, 12, 13]] = [2.0, 1.3, 1.5, 1.29, 2.0]  # item 9 is itself in the family
    z[0, [9, 10, 11, 12, 13]] = [9.0, 4.0, 5.0, 9.0, 3.9]
    shop = replace(bundle, proxies=Proxies(lift, z))
    rules = {
        f"rules.sensitive_proxy.{name}": value for name, value in (("enforce", "enforce"), ("lift", 1.3), ("z", 4))
    }
    told = telltale(Engine(shop, ledger=None, policy=bundle.policy.replace(rules)))
    assert told == [{"family": "health", "items": 2, "judged": True, "examples": ["Thing 11", "Thing 10"]}]
    assert telltale(Engine(shop, ledger=None, policy=bundle.policy.replace({"rules.sensitive_proxy.z": None}))) == []
