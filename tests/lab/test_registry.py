"""Who becomes champion, who does not, and does the registered model answer as the engine does?"""

import datetime as dt
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from noise import MLFLOW

from boundary.policy import Policy
from experiments.figures import write_figures
from experiments.registry import PromotionError, promote, read_rails, requirements, rollback
from experiments.visits import LabError
from recsys.bundle import Bundle
from recsys.engine import Engine
from recsys.forgetting import FILE, ForgottenError
from recsys.registered import RegisteredError, bundle_of
from recsys.shop import latest

pytestmark = MLFLOW
CHAMPION = "models:/cornerstore@champion"


@pytest.fixture(scope="module")
def good():
    return {rail.figure: rail.at_most if rail.at_most is not None else rail.at_least for rail in read_rails()}


@pytest.fixture(scope="module")
def store(lab, good, tmp_path_factory):
    """A store with two versions, the second one with another policy."""
    out = tmp_path_factory.mktemp("store")
    promote(lab.folder, out, figures=good)
    promote(lab.folder, out, figures=good, policy=Policy.named("gentle"))
    return out, f"sqlite:///{out / 'mlflow.db'}"


def test_every_guard_rail_that_does_not_hold_is_named(lab, tmp_path, good):
    """And nothing is registered."""
    measured = good | {"over_cap_rate": 0.01, "fill": float("nan")}
    del measured["auc.crowd"]
    with pytest.raises(PromotionError, match="not promoted") as caught:
        promote(lab.folder, tmp_path, figures=measured)
    assert sorted(caught.value.failing) == [
        "auc.crowd was not measured", "fill was not measured", "over_cap_rate must be at most 0 but is 0.01",
    ]  # fmt: skip
    assert not (tmp_path / "mlflow.db").exists()


def test_figures_of_another_policy_do_not_count(lab, tmp_path, good):
    """What was measured is what is promoted."""
    write_figures(tmp_path / "attack", good, policy=Policy.named("strict"), bundle=None)
    with pytest.raises(PromotionError, match="measured policy"):
        promote(lab.folder, tmp_path, figures=[tmp_path / "attack"])


def test_figures_of_another_fit_do_not_count(lab, tmp_path, good):
    """Those of another shop, or of another fit of this one; figures that are of no one bundle do."""
    write_figures(tmp_path / "replay", good, policy=None, bundle=replace(lab.bundle, fit_id="other"))
    with pytest.raises(PromotionError, match="replay measured fit other, not "):
        promote(lab.folder, tmp_path, figures=[tmp_path / "replay"])
    write_figures(tmp_path / "attack", good, policy=lab.policy, bundle=None)
    assert promote(lab.folder, tmp_path / "store", figures=[tmp_path / "attack"])["version"] == 1


def test_guard_rails_that_say_nothing_are_an_error(tmp_path):
    """With the figure they are about."""
    file = tmp_path / "rails.toml"
    file.write_text("[rails]\nfill = { most = 1 }\n")
    with pytest.raises(LabError, match="fill: must have `at_least`"):
        read_rails(file)


def test_requirements_are_pinned():
    """To what is installed here."""
    import polars as pl

    assert f"polars=={pl.__version__}" in requirements()
    assert any(line.startswith("redis") for line in requirements("redis://host:6379/0"))


def test_the_champion_is_the_last_that_was_promoted_and_rollback_returns_to_the_one_before(store):
    """There and back; before the first there is none."""
    out, uri = store
    assert Bundle.load(bundle_of(CHAMPION, uri)).policy.name == "gentle"
    assert rollback(out) == {"from": 2.0, "to": 1.0}
    assert Bundle.load(bundle_of(CHAMPION, uri)).policy.name == "default"
    with pytest.raises(LabError, match="there is none to return to"):
        rollback(out)
    with pytest.raises(LabError, match="has the alias 'nobody'"):
        rollback(out, alias="nobody")


def test_whoever_was_forgotten_in_the_champion_comes_back_neither_by_promoting_nor_by_rolling_back(lab, good, tmp_path):
    """The next version knows them no more, though the bundle it is made from does; nor does the one before."""
    one, other, third = [user for user in lab.bundle.user_ids if user][:3]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for number, user in enumerate((one, other), 1):
        promote(lab.folder, tmp_path, figures=good)
        Engine.load(bundle_of(f"models:/cornerstore/{number}", uri), ledger=None).forget(user)
    second = Bundle.load(bundle_of(CHAMPION, uri))
    assert not {one, other} & set(second.user_ids)
    assert {third} < set(second.user_ids)
    assert second.forgotten.waiting == 2
    assert rollback(tmp_path)["to"] == 1
    first = Bundle.load(bundle_of(CHAMPION, uri))
    assert not {one, other} & {*first.user_ids, *first.customers_table["user_id"]}
    assert first.forgotten.find(other) == second.forgotten.find(other)
    assert one in Bundle.load(lab.folder).user_ids


@pytest.mark.parametrize("said", [None, "[{}]"])
def test_a_champion_that_cannot_tell_who_was_forgotten_has_no_successor(lab, good, tmp_path, said):
    """Else they would come back; it is said in one line, and nothing is registered."""
    promote(lab.folder, tmp_path, figures=good)
    marks = bundle_of(CHAMPION, f"sqlite:///{tmp_path / 'mlflow.db'}") / FILE
    marks.unlink() if said is None else marks.write_text(said)
    with pytest.raises(ForgottenError, match=f"{FILE}.*restore it"):
        promote(lab.folder, tmp_path, figures=good)
    with pytest.raises(LabError, match="the first that had the alias"):
        rollback(tmp_path)


@pytest.mark.parametrize("uri", ["models:/cornerstore@nobody", "models:/other/1", "models:/cornerstore", "runs/bundle"])
def test_an_address_without_a_model_is_told(store, uri):
    """In one line."""
    with pytest.raises(RegisteredError):
        bundle_of(uri, store[1])


def asked(lab):
    moment = dt.datetime.fromtimestamp(latest(lab.shop.events) / 1e6, tz=dt.UTC)
    known = [user for user in lab.bundle.user_ids if user]
    return [*known[:3], "a stranger"], moment


def test_the_registered_model_answers_as_the_engine_does(lab, store, tmp_path, monkeypatch):
    """Items, scores, sources and words, each with a ledger of its own."""
    import mlflow
    import pandas as pd

    monkeypatch.setenv("CORNERSTORE_LEDGER", f"sqlite:///{tmp_path / 'model.db'}")
    users, moment = asked(lab)
    folder = bundle_of("models:/cornerstore/1", store[1])
    model = mlflow.pyfunc.load_model(str(folder.parents[1]))
    frame = pd.DataFrame({"user_id": users, "n": [5] * 4, "now": [moment.isoformat()] * 4})
    told = model.predict(frame)
    engine = Engine.load(folder, ledger=f"sqlite:///{tmp_path / 'engine.db'}")
    for user in users:
        mine = told[told["user_id"] == user]
        slate = engine.score(user, n=5, now=moment)
        assert mine["item_id"].tolist() == [item.item_id for item in slate.items]
        assert mine["score"].tolist() == [item.score for item in slate.items]
        assert mine["source"].tolist() == [item.source for item in slate.items]
        assert mine["why"].tolist() == [item.why for item in slate.items]
        assert set(mine["policy_digest"]) <= {slate.policy_digest}
    assert model.metadata.signature is not None
    assert (folder.parents[1] / "input_example.json").exists()


def test_mlflow_serves_the_registered_model(lab, store, tmp_path):
    """Over HTTP, on this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    users, moment = asked(lab)
    folder = bundle_of("models:/cornerstore/1", store[1])
    place = {"CORNERSTORE_LEDGER": f"sqlite:///{tmp_path / 'served.db'}", "MLFLOW_TRACKING_URI": store[1]}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/cornerstore/1", "--env-manager",
               "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"]  # fmt: skip
    with (tmp_path / "served.log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | place | {"PATH": path}, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, tmp_path / "served.log")
            body = {"dataframe_records": [{"user_id": users[0], "n": 4, "now": moment.isoformat()}]}
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                told = json.loads(answer.read())["predictions"]
        finally:
            server.terminate()
            server.wait(timeout=30)
    slate = Engine.load(folder, ledger=f"sqlite:///{tmp_path / 'engine.db'}").score(users[0], n=4, now=moment)
    assert [row["item_id"] for row in told] == [item.item_id for item in slate.items]


def wait_for(address, server, log):
    """Ask until the server answers; connecting is what is waited for, not a clock."""
    until = time.monotonic() + 300
    pause = threading.Event()
    while time.monotonic() < until:
        if server.poll() is not None:
            raise AssertionError(log.read_text(errors="replace")[-2000:])
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pause.wait(0.2)
    raise AssertionError("the server did not answer within five minutes")
