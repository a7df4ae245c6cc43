"""How hard do the slates push, and would it be noticed?"""

import json

from experiments.pressure import pressure
from experiments.shadow import shadow

PROOFS = ("urgency", "scarcity", "social_proof", "false_discount", "conditional_gift")


def test_no_claim_without_evidence_and_no_margin_moves_a_rank(lab, tmp_path):
    """Under the default policy."""
    figures = pressure(lab.bundle, lab.policy, tmp_path, users=200)
    assert figures["claims_without_evidence"] == 0
    assert figures["margin_permutation_moves"] == 0
    assert figures["promoted_share"] <= 0.2
    assert set(json.loads((tmp_path / "figures.json").read_text())) == set(figures)


def test_claims_are_counted_though_no_rule_is_enforced(lab, tmp_path):
    """What is off is still measured."""
    off = lab.policy.replace({f"rules.{reason}.enforce": "off" for reason in PROOFS})
    assert pressure(lab.bundle, off, tmp_path, users=200)["claims_without_evidence"] > 0


def test_a_policy_differs_from_itself_in_nothing(lab, tmp_path):
    """Two ledgers, two replays, the same slates."""
    figures = shadow(lab.bundle, lab.policy, lab.policy, tmp_path, days=10, users=40)
    assert figures["gone"] == figures["come"] == 0
    assert figures["visits"] > 0


def test_every_difference_has_a_reason(lab, tmp_path):
    """And what is gone is what the first policy shows."""
    import polars as pl

    strict = lab.policy.replace({"rules.profile_share.most": 0.2, "rules.low_support.k": 60})
    figures = shadow(lab.bundle, lab.policy, strict, tmp_path, days=20, users=60)
    moved = pl.read_parquet(tmp_path / "differences.parquet")
    assert figures["gone"] == len(moved.filter(pl.col("shown_by") == "one")) > 0
    assert (moved["reasons"].list.len() > 0).all()
    assert "low_support" in pl.read_csv(tmp_path / "reasons.csv")["reason"].to_list()
    assert (tmp_path / "shadow.html").read_text(encoding="utf-8").count("<html") == 1
