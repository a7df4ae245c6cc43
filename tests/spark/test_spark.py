"""Spark runs the batch's own blocks: the same slates, whatever dies on the way; what it trains is a plain model."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from spark_cluster import Cluster

from boundary.ledger import open_ledger
from recsys.batch import Order, score_users
from recsys.batch_files import BatchError, claim
from recsys.engine import Engine
from recsys.forgetting import Forgotten
from recsys.models import load_model
from recsys.models.als import ALS
from recsys.models.spark_als import SparkALS
from recsys.on_spark import session
from recsys.spark import Job, score_users_spark, scorer

SMALL = {
    "spark.executor.memory": "512m",
    "spark.driver.memory": "512m",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.shuffle.partitions": "2",
}


@pytest.fixture(scope="module")
def shop(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, list[str], str]:
    """The engine on a ledger with something in it, everybody it knows and a stranger, and the ledger's address."""
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"
    engine = Engine.load(bundle, ledger=url)
    users = [*engine.bundle.user_ids, "a stranger"]
    before = int(engine.bundle.facts["fitted_for"]) - 3_600_000_000
    for user in users[:50]:
        engine.score(user, n=3, now=before)
        engine.shown(engine.score(user, n=3, now=before))
    return engine, users, url


@pytest.fixture
def order_of(shop: tuple[Engine, list[str], str]) -> Callable[..., Order]:
    """Make an order of small blocks at the time of the fit."""
    now = int(shop[0].bundle.facts["fitted_for"])
    return lambda **changes: Order(**{"n": 5, "surface": "home", "intent": "browse", "now": now, "block": 8} | changes)


def slates(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / "slates").glob("part-*.parquet")))


def test_an_executor_scores_blocks_as_the_batch_does(
    shop: tuple[Engine, list[str], str], order_of: Callable[..., Order], bundle: Path, tmp_path: Path
):
    """What runs inside Spark, run here: same files, and a part that is there is left alone."""
    engine, users, url = shop
    score_users(engine, users[:24], tmp_path / "here", order_of())
    todo = {"order": order_of().to_dict(), "policy_digest": engine.policy.digest, "fit_id": engine.bundle.fit_id}
    claim(tmp_path / "there", todo, users[:24], forgotten=Forgotten(), resume=False)
    job = Job(bundle, engine.bundle.fit_id, engine.policy, url, tmp_path / "there", order_of())
    rows = pa.RecordBatch.from_pydict({"part": [2, 0, 1, 0]})

    done = list(scorer(job)(iter([rows])))

    assert done[0]["part"].to_pylist() == [2, 0, 1, 0]
    assert slates(tmp_path / "there").equals(slates(tmp_path / "here"))


def test_an_executor_with_another_fit_scores_nothing(
    shop: tuple[Engine, list[str], str], order_of: Callable[..., Order], bundle: Path, tmp_path: Path
):
    """A machine that holds an old copy of the bundle must not mix its slates in."""
    job = Job(bundle, "another", shop[0].policy, None, tmp_path, order_of())
    rows = pa.RecordBatch.from_pydict({"part": [0]})
    with pytest.raises(BatchError, match="holds another fit"):
        list(scorer(job)(iter([rows])))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(url: str, order_of: Callable[..., Order], bundle: Path, tmp_path: Path):
    """Executors could not see it, and would say nothing about that."""
    with pytest.raises(BatchError, match="in memory is unknown to executors"):
        score_users_spark(bundle, ["a"], tmp_path / "out", order_of(), master="local[2]", ledger=url)
    assert not (tmp_path / "out").exists()


def test_no_partitions_are_refused(order_of: Callable[..., Order], bundle: Path, tmp_path: Path):
    """Zero is a value, and not a default."""
    with pytest.raises(BatchError, match="`partitions` must be at least 1 but got 0"):
        score_users_spark(bundle, ["a"], tmp_path, order_of(), master="local[2]", partitions=0)


@pytest.mark.spark
def test_what_spark_trains_is_served_without_it(java: None, tmp_path: Path):
    """On a checkerboard of two tastes the next item is of the own colour, alone, in a block and after loading."""
    boards = csr_matrix(np.kron(np.eye(2), np.ones((8, 8))).astype(np.float32))
    als = ALS(factors=4, regularization=1.0, iterations=4)

    with session("local[2]", conf=SMALL) as opened:
        assert opened.sparkContext.pythonExec == sys.executable  # whatever python3 the path leads to
        fitted = SparkALS(als=als, master="local[2]").fit(boards, seed=1)
    fitted.save(tmp_path / "model")
    found = load_model(tmp_path / "model")

    visit = csr_matrix(np.eye(1, 16, k=3, dtype=np.float32))
    best = found.top(visit, k=7, exclude=visit)
    assert found.settings == als.settings
    assert sorted(best.item_row.tolist()) == [0, 1, 2, 4, 5, 6, 7]
    ours = als.fit(boards, seed=1)
    theirs, here = (np.asarray(one.known.item @ one.vectors(boards).T) for one in (found, ours))
    assert np.allclose(theirs, here, atol=0.05)


@pytest.mark.spark
def test_a_killed_executor_loses_nothing(
    cluster: Cluster,
    shop: tuple[Engine, list[str], str],
    order_of: Callable[..., Order],
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """On a master and two workers: the local run's slates, item by item, each recorded once, though one died."""
    engine, users, url = shop
    here = score_users(engine, users, tmp_path / "here", order_of())
    monkeypatch.setattr("recsys.spark.GLANCE", 0.02)
    killed: list[int] = []

    def kill_once(done: int, of: int) -> None:
        if not killed and 0 < done < of:
            killed.extend(cluster.executors()[:1])
            os.kill(killed[0], signal.SIGKILL)

    there = score_users_spark(
        bundle, users, tmp_path / "there", order_of(record=True), master=cluster.master, ledger=url,
        progress=kill_once, conf=SMALL,
    )  # fmt: skip

    assert killed
    shown = slates(tmp_path / "there")
    assert shown.equals(slates(tmp_path / "here"))
    assert shown.select("user_id", "item_id").is_unique().all()
    assert {**there, "order": here["order"]} == here
    assert there["scored"] == len(users)
    known = [user for user in users if shown.filter(user_id=user).height]
    with_turns = open_ledger(url).read_block(known, order_of().now)
    recorded = pl.DataFrame(
        {
            "user_id": np.repeat(known, np.diff(with_turns.offsets)),
            "item_id": with_turns.entries.item_id,
        }
    )
    assert recorded.is_unique().all()
    personal = shown.filter(pl.col("source") == "personal").select("user_id", "item_id")
    assert personal.join(recorded, on=["user_id", "item_id"], how="anti").is_empty()
