"""Does a tuning run come to the same numbers again, cut off or not, and does MLflow hold what it should?"""

import json
import re
from urllib.parse import unquote

import polars as pl
import pytest
from noise import MLFLOW

from boundary.policy import Policy
from experiments.space import Space
from experiments.tune import tune
from experiments.visits import LabError

pytestmark = MLFLOW
TRIALS = 5


def run(lab, out, trials, **changes):
    asked = {"taxonomy": lab.taxonomy, "policy": lab.policy, "choice": lab.choice, "space": lab.space} | changes
    return tune(lab.shop, out=out, trials=trials, **asked)


@pytest.fixture(scope="module")
def tuned(lab, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned")
    return out, run(lab, out, TRIALS)


def test_a_run_that_was_cut_off_comes_to_the_numbers_of_one_that_was_not(lab, tuned, tmp_path):
    """Two trials, then the rest: trial by trial the same."""
    run(lab, tmp_path, 2)
    figures = run(lab, tmp_path, TRIALS)
    assert figures == pytest.approx(tuned[1], nan_ok=True)
    assert pl.read_parquet(tmp_path / "trials.parquet").equals(pl.read_parquet(tuned[0] / "trials.parquet"))


def test_the_base_is_the_first_trial(lab, tuned):
    """So that everything is compared with what is in force."""
    out, figures = tuned
    assert figures["base.trial"] == 0
    assert pl.read_parquet(out / "trials.parquet")["policy_digest"][0] == lab.policy.digest
    assert json.loads((out / "figures.json").read_text())["trials"] == TRIALS


def test_what_is_recommended_is_a_policy_that_the_rule_allows(lab, tuned):
    """Or it is said that none qualifies."""
    out, figures = tuned
    sentence = (out / "recommended.txt").read_text()
    if not figures["recommended.found"]:
        assert sentence.startswith("None of")
        assert not (out / "recommended.toml").exists()
        return
    policy = Policy.load(out / "recommended.toml")
    trials = pl.read_parquet(out / "trials.parquet")
    row = trials.filter(pl.col("trial") == figures["recommended.trial"])
    assert row["policy_digest"][0] == policy.digest
    assert all(row[name][0] >= floor for name, floor in lab.space.recommend.at_least.items())


def test_mlflow_holds_a_parent_with_a_run_for_each_trial(lab, tuned):
    """Params, metrics, policy, digest, data sets; the parent has picture and table."""
    from mlflow import MlflowClient

    out, _ = tuned
    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    place = client.get_experiment_by_name("cornerstore-tune").experiment_id
    runs = client.search_runs([place])
    parent = next(one for one in runs if "mlflow.parentRunId" not in one.data.tags)
    nested = [one for one in runs if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(nested) == TRIALS
    assert {one.info.status for one in runs} == {"FINISHED"}
    assert {"bundle", "code_version", "policy_digest", "recommended"} <= set(parent.data.tags)
    frontier = set(pl.read_csv(out / "frontier.csv")["trial"].to_list())
    compared = {run.info.run_id for run in runs if int(run.data.tags.get("trial", -1)) in frontier}
    assert set(re.findall("[0-9a-f]{32}", unquote(parent.data.tags["mlflow.note.content"]))) == compared
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"frontier.html", "frontier.csv", "frontier.json", "figures.json"} <= files
    for one in nested:
        assert set(lab.space.objectives) <= set(one.data.metrics)
        assert len(one.data.params) == len(lab.space.settings)
        assert [file.path for file in client.list_artifacts(one.info.run_id)] == ["policy.toml"]
        assert {given.dataset.name for given in one.inputs.dataset_inputs} == {"events", "catalogue"}


def test_another_run_is_not_mixed_into_a_folder(lab, tuned):
    """The setting that differs is named."""
    with pytest.raises(LabError, match="another `seed`"):
        run(lab, tuned[0], TRIALS, seed=8)


def test_a_shop_in_which_nothing_can_leak_is_told(lab, tmp_path):
    """Rather than a leak of nothing."""
    from dataclasses import replace

    space = replace(Space.load(), fewest=100_000)
    with pytest.raises(LabError, match="no sensitive family"):
        run(lab, tmp_path, 1, space=space)
