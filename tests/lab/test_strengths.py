"""Does the table of strengths say of each strength what the attack says of that policy?"""

import csv
import json

import pytest

from experiments.leak import measure_leak
from experiments.leak_found import Terms
from experiments.strengths import measure_strengths, strengths_of
from experiments.visits import LabError

TERMS = Terms(n=8, seeds=1, fewest=24, room=-1.0, boosting=False)


@pytest.fixture(scope="module")
def asked(lab):
    return {"taxonomy": lab.taxonomy, "policy": lab.policy, "choice": lab.choice, "terms": TERMS}


@pytest.fixture(scope="module")
def tried(lab, asked, tmp_path_factory):
    out = tmp_path_factory.mktemp("strengths")
    return out, measure_strengths(lab.shop, out=out, strengths=[0.0, 1.0], deals=2, **asked)


def test_what_is_kept_is_what_the_attack_says_of_such_a_policy(lab, asked, tried, tmp_path):
    """Fitted once for all strengths, and yet the same lists."""
    other = asked | {"policy": lab.policy.replace({"blind.strength": 1.0})}
    found = measure_leak(lab.shop, out=tmp_path, **other)
    for name in ("profile", "default"):
        assert tried[1][f"ndcg_kept.{name}.1"] == pytest.approx(found[f"ndcg_kept.{name}"])


def test_the_table_says_what_the_figures_say(lab, tried):
    """A line for each strength, the policy's own in bold."""
    out, figures = tried
    assert json.loads((out / "figures.json").read_text()) == pytest.approx(figures)
    rows = list(csv.DictReader((out / "strengths.csv").read_text().splitlines()))
    assert [float(row["strength"]) for row in rows] == [0.0, 1.0]
    assert float(rows[1]["leak_default"]) == pytest.approx(figures["leak_remaining.default.1"])
    lines = (out / "strengths.md").read_text().splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(f"| 0 | {figures['ndcg_kept.profile.0']:.1%} |")


def test_one_deal_of_two_is_half_of_the_mean(lab, asked, tried, tmp_path):
    """Households are dealt anew, and the leak is the mean of the deals."""
    one = measure_strengths(lab.shop, out=tmp_path, strengths=[0.0, 1.0], deals=1, **asked)
    assert one["ndcg_kept.default.1"] == tried[1]["ndcg_kept.default.1"]
    assert one["leak_remaining.default.1"] != tried[1]["leak_remaining.default.1"]


@pytest.mark.parametrize("told", ["", "0.5,", "half", "1.2", "-0.1", "nan"])
def test_strengths_that_are_none_are_refused(told):
    """One line that says which."""
    with pytest.raises(LabError, match="`strengths` must be numbers from 0 to 1"):
        strengths_of(told)


def test_nothing_to_try_is_refused(lab, asked, tmp_path):
    """Before anything is fitted."""
    with pytest.raises(LabError, match="at least one each but got 0 and 2"):
        measure_strengths(lab.shop, out=tmp_path, strengths=[], **asked)
