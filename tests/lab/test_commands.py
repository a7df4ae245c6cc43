"""Do the commands do what they say, and end with one line where somebody can mend something?"""

import json
import sys

import pytest
from noise import MLFLOW
from typer.testing import CliRunner

from data.synthetic import TAXONOMY
from experiments import cli
from experiments.figures import write_figures
from experiments.registry import read_rails

pytestmark = MLFLOW
SMALL = ["--model", "als", "--setting", "factors=8", "--setting", "iterations=3"]


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.fixture
def measured(lab, tmp_path):
    """Figures that hold, of the bundle's policy."""
    good = {rail.figure: rail.at_most if rail.at_most is not None else rail.at_least for rail in read_rails()}
    write_figures(tmp_path / "runs" / "attack", good, policy=lab.policy, bundle=None)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["replay", "--users", 40, "--days", 60], "over a cap: 0.00%"),
        (["pressure"], "claims without evidence: 0; slots that other margins would change: 0"),
        (["shadow", "default"], "0.0% of the slots would change under default"),
    ],
)
def test_what_was_measured_is_told_in_a_sentence(lab, tmp_path, words, told):
    """Who looks at the screen alone learns the main figures; the rest is in the files."""
    done = run(*words, "--bundle", lab.folder, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert told in " ".join(done.output.split())
    assert json.loads((tmp_path / "figures.json").read_text())


@pytest.mark.parametrize(
    "command", ["weigh", "attack", "tune", "report", "promote", "rollback", "replay", "pressure", "shadow"]
)
def test_help_shows_an_example(command):
    """As every command does."""
    told = run(command, "--help").output
    assert f"cornerstore-lab {command}" in " ".join(told.split())
    assert "--out" in told


def test_attack_and_tune_measure_a_folder_of_tables(lab, tmp_path):
    """From the shop's own tables to figures and pages; then the report has its picture."""
    shop = lab.folder.parent / "shop"
    told = run("attack", "--data", shop, "--taxonomy", TAXONOMY, *SMALL, "--seeds", 1, "--fewest", 24, "--room", -1, "--no-boosting",
               "--out", tmp_path / "attack")  # fmt: skip
    assert told.exit_code == 0, told.output
    figures = json.loads((tmp_path / "attack" / "figures.json").read_text())
    assert {"leak_remaining.raw", "leak_remaining.default", "auc.crowd", "auc.activity", "ndcg_kept.default"} <= set(
        figures
    )
    assert (tmp_path / "attack" / "attack.html").exists()
    bounds = tmp_path / "bounds.toml"
    bounds.write_text(SPACE)
    words = ["tune", "--data", shop, "--taxonomy", TAXONOMY, *SMALL, "--bounds", bounds, "--out", tmp_path / "tune"]
    told = run(*words, "--trials", 2)
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "tune" / "figures.json").read_text())["trials"] == 2
    told = run("report", "--bundle", lab.folder, "--runs", tmp_path, "--users", 50, "--out", tmp_path / "report")
    assert told.exit_code == 0, told.output
    page = (tmp_path / "report" / "lab.html").read_text(encoding="utf-8")
    assert "What do we lose if we are kinder?" in page


SPACE = """
n = 8
rounds = 2
round_users = 30
fewest = 10
room = 0.0
validation = 0.8

[settings]
"blind.strength" = { choices = [0.65] }
"rules.profile_share.most" = { low = 0.5, high = 1.0, step = 0.1 }

[objectives]
kept = "maximize"
leak = "minimize"

[recommend]
least = "leak"
at_least = { kept = 0.5 }
"""


def test_promote_gives_the_alias_and_rollback_takes_it_back(lab, measured):
    """Twice there, once back, and no further."""
    from recsys.engine import Engine

    words = ["--bundle", lab.folder, "--runs", measured / "runs", "--out", measured / "store"]
    for version in (1, 2):
        told = run("promote", *words)
        assert told.exit_code == 0, told.output
        assert f"version {version} is the champion" in told.output
    assert run("rollback", "--out", measured / "store").exit_code == 0
    assert json.loads((measured / "store" / "figures.json").read_text()) == {"from": 2.0, "to": 1.0}
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{measured / 'store' / 'mlflow.db'}")
    try:
        engine = Engine.load("models:/cornerstore@champion", ledger=None)
    finally:
        mlflow.set_tracking_uri(before)
    assert engine.policy.digest == lab.policy.digest


def test_promote_refuses_with_the_figures_that_do_not_hold(lab, measured):
    """A line each, and a code that a script sees."""
    write_figures(measured / "runs" / "replay", {"over_cap_rate": 0.5}, policy=lab.policy, bundle=None)
    told = run("promote", "--bundle", lab.folder, "--runs", measured / "runs", "--out", measured / "store")
    assert told.exit_code == 1
    assert "over_cap_rate must be at most 0 but is 0.5" in told.output
    assert not (measured / "store" / "mlflow.db").exists()


def test_nothing_measured_is_nothing_promoted(lab, tmp_path):
    """Every rail is named."""
    told = run("promote", "--bundle", lab.folder, "--runs", tmp_path, "--out", tmp_path / "store")
    assert told.exit_code == 1
    assert told.output.count("was not measured") == len(read_rails())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollback", "--out", "{here}/none"], "promote one first"),
        (["report", "--bundle", "{bundle}", "--runs", "{here}"], "holds no results"),
        (["attack", "--data", "{here}"], "holds no events"),
        (["attack", "--data", "{here}", "--seeds", "0"], "`seeds` must be at least 1 but got 0"),
        (["tune", "--data", "{here}", "--bounds", "{here}/no.toml"], "cannot be read"),
        (["promote", "--bundle", "{here}/no"], "no"),
        (
            ["tune", "--data", "{shop}", "--tracking-uri", "nonsense://x"],
            "--tracking-uri 'nonsense://x' cannot be used (",
        ),
        (["rollback", "--tracking-uri", "nonsense://x"], "--tracking-uri 'nonsense://x' cannot be used ("),
        (["attack", "--data", "{here}", "--seed", "-1"], "`seed` must be at least 0 but got -1"),
        (["evaluate", "--data", "{here}", "--seed", "-1"], "`seed` must be at least 0 but got -1"),
        (["pressure", "--bundle", "{bundle}", "--out", "/proc/x"], "/proc/x: No such file or directory"),
    ],
)
def test_what_can_be_mended_ends_as_one_line(lab, tmp_path, monkeypatch, capsys, words, said):
    """Never a traceback, and code 2."""
    filled = [word.format(here=tmp_path, bundle=lab.folder, shop=lab.folder.parent / "shop") for word in words]
    monkeypatch.setattr(sys, "argv", ["cornerstore-lab", *filled])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main()
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert said in told
    assert told.count("\n") == 1
