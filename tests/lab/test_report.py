"""Is the page whole, and does it need nothing else?"""

import re

import pytest
from noise import MLFLOW

from experiments.replay import replay
from experiments.report import report
from experiments.shadow import shadow
from experiments.visits import LabError

pytestmark = MLFLOW


def test_the_page_holds_a_section_for_what_was_measured_and_for_nothing_else(lab, tmp_path):
    """It fetches nothing, and it is logged."""
    from mlflow import MlflowClient

    runs = tmp_path / "runs"
    measured = replay(lab.bundle, lab.policy, runs / "replay", days=30, users=40, n=6)
    strict = lab.policy.replace({"rules.profile_share.most": 0.2, "rules.low_support.k": 60})
    shadow(lab.bundle, lab.policy, strict, runs / "shadow", days=10, users=40)
    figures = report(runs, lab.bundle, tmp_path / "out", users=100)
    page = (tmp_path / "out" / "lab.html").read_text(encoding="utf-8")
    for title in ("Withheld, and why", "Slots by source", "How often people see", "What another policy", "Shopper 1"):
        assert title in page
    assert "What do we lose" not in page
    for shopper in page.split("<h2>Shopper ")[1:]:
        raw, slate = shopper.split("</table><table>")
        struck = set(re.findall("<td class=gone>(.*?)</td>", raw))
        assert struck
        assert not struck & set(re.findall("<td>(.*?)<br>", slate)), "struck out here and shown there"
    assert 'src="http' not in page
    assert figures["over_cap_rate"] == measured["over_cap_rate"]
    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    place = client.get_experiment_by_name("cornerstore-report").experiment_id
    run = client.search_runs([place])[0].info.run_id
    assert {file.path for file in client.list_artifacts(run)} == {"lab.html", "figures.json"}


def test_without_results_there_is_nothing_to_report(lab, tmp_path):
    """It is said where they would be looked for."""
    with pytest.raises(LabError, match="holds no results"):
        report(tmp_path, lab.bundle, tmp_path / "out")
