"""Many machines: Spark trains, and spreads the very blocks of a batch over executors. No rule is written twice."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from boundary.policy import Policy
from recsys.batch import MANIFEST, BatchError, Order, Progress, claim, score_part, totals, write_json
from recsys.bundle import Bundle
from recsys.engine import Engine, policy_of
from recsys.models.als import ALS
from recsys.models.base import ModelError, checked, raised
from recsys.models.base import Progress as Steps
from recsys.models.factors import Factors, taken
from recsys.people import note_copies
from recsys.swap import locked

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    from pyspark.sql import SparkSession

MOST_TASKS = 10_000
LEAST_RATING = 1e-6  # MLlib takes a rating of 0 for no rating
GLANCE = 0.5  # seconds between two looks at the parts that are done
QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.speculation": "false",  # a block is never scored twice at once
    "spark.log.level": "ERROR",
}


@contextmanager
def session(master: str, *, conf: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """Give the Spark session that is open in this process, or open one and close it at the end.

    Args:
        master: ``local[2]``, ``spark://host:7077``, ``yarn``, ``k8s://...``.
        conf: Spark settings, over those set here. Executors run this Python unless ``spark.pyspark.python`` or the
            environment's PYSPARK_PYTHON says otherwise; Cornerstore must be installed there.

    Raises:
        BatchError: pyspark or Java is missing, or the master does not answer.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise BatchError(f"Spark is not installed ({error}); run pip install 'cornerstore[spark]'") from error
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise BatchError("Spark needs Java but there is none; run apt-get install openjdk-17-jre-headless")
    given = SparkSession.getActiveSession()
    if given is not None:
        yield given
        return
    settings = QUIET | {"spark.pyspark.python": sys.executable, "spark.pyspark.driver.python": sys.executable}
    if master.startswith(("local", "spark://127.0.0.1:")):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    settings |= dict(conf or {})
    os.environ.setdefault("PYSPARK_PYTHON", settings["spark.pyspark.python"])  # the setting alone reaches no executor
    builder = SparkSession.builder.master(master).appName("cornerstore")
    for name, value in settings.items():
        builder = builder.config(name, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        try:
            opened = builder.getOrCreate()
        except Exception as error:
            raise BatchError(f"no Spark session at {master} ({_cause(error)}); is the master running?") from error
        try:
            yield opened
        finally:
            opened.stop()


@dataclass(frozen=True)
class Job:
    """What an executor must know to score a block: where bundle, ledger and output are, and what is ordered."""

    bundle: Path
    fit_id: str
    policy: Policy
    ledger: str | None
    out: Path
    order: Order


def score_users_spark(
    bundle: str | Path,
    user_ids: Sequence[str],
    out: str | Path,
    order: Order,
    *,
    master: str,
    ledger: str | None = None,
    policy: Policy | str | Path | None = None,
    resume: bool = False,
    partitions: int | None = None,
    progress: Progress | None = None,
    conf: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Score users on Spark as ``batch.score_users`` does here: same blocks, same files, same manifest.

    Each executor process opens the bundle once, memory-mapped, and reads the ledger block by block. A block that
    an executor lost is scored again by another; its part appears whole, and in the same place. A run that was cut
    off may be resumed on Spark or on one machine.

    Args:
        bundle: a fitted shop; every machine sees it at this path.
        user_ids: each once; they keep their order.
        out: as in ``batch.score_users``; every machine sees it at this path.
        order: what to do.
        master: as in ``session``.
        ledger: ``redis://...``, or ``sqlite:///file.db`` where all executors are on one machine.
        policy: as in ``Engine.load``.
        resume: go on with a batch that was cut off.
        partitions: tasks; None is one a block.
        progress: is told users done and users in all.
        conf: as in ``session``.

    Raises:
        BatchError: what ``batch.score_users`` raises, or the cluster failed; what is done stays, and can be resumed.
    """
    if partitions is not None and partitions < 1:
        raise BatchError(f"`partitions` must be at least 1 but got {partitions}")
    shop = Bundle.load(bundle)
    rules = shop.policy if policy is None else policy_of(policy)
    job = Job(Path(bundle).absolute(), shop.fit_id, rules, _everywhere(ledger), Path(out).absolute(), order)
    todo = {"order": order.to_dict(), "policy_digest": rules.digest, "users": len(user_ids)}
    if order.record and ledger is None:
        raise BatchError("`record` needs a ledger but there is none; give one")
    claim(job.out, todo, user_ids, resume=resume)
    note_copies(job.bundle, job.out)
    blocks = [user_ids[start : start + order.block] for start in range(0, len(user_ids), order.block)]
    left = [number for number in range(len(blocks)) if not _counts(job.out, number).exists()]
    if left:
        with session(master, conf=conf) as spark, _watched(job.out, [len(block) for block in blocks], progress):
            done = _spread(spark, job, {number: blocks[number] for number in left}, partitions)
        if done != left:
            raise BatchError(f"{len(set(left) - set(done))} blocks came back from {master} unscored; resume")
    if progress is not None:
        progress(len(user_ids), len(user_ids))
    manifest = todo | totals(job.out) | {"complete": True}
    if manifest["scored"] != len(user_ids):
        raise BatchError(f"{job.out} counts {manifest['scored']} users but {len(user_ids)} were ordered; start anew")
    write_json(job.out / MANIFEST, manifest)
    return manifest


def _spread(spark: SparkSession, job: Job, blocks: Mapping[int, Sequence[str]], partitions: int | None) -> list[int]:
    """Score numbered blocks on the executors; return the numbers that came back, sorted."""
    import pyarrow as pa

    table = pa.table(
        {
            "part": pa.array(list(blocks), pa.int64()),
            "user_ids": pa.array([list(block) for block in blocks.values()], pa.list_(pa.string())),
        }
    )
    tasks = partitions or min(len(blocks), MOST_TASKS)
    try:
        frame = spark.createDataFrame(table).repartition(tasks)
        done = frame.mapInArrow(scorer(job), "part long").toArrow()
    except Exception as error:
        raise BatchError(f"Spark gave up ({_cause(error)}); mend it and resume") from error
    return sorted(done["part"].to_pylist())


def scorer(job: Job) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what an executor does with its rows of (part, user_ids): score each block, give back its number."""

    def score(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for some in rows:
            for part, users in zip(some["part"].to_pylist(), some["user_ids"].to_pylist(), strict=True):
                with _alone(job, part):
                    if not _counts(job.out, part).exists():
                        score_part(_engine(job), users, job.out, part, job.order)
            yield some.select(["part"])

    return score


def _alone(job: Job, part: int) -> AbstractContextManager[None]:
    """Hold a part that is recorded: an executor given up for lost may still be at it when another begins."""
    return locked(job.out / "plan" / f"part-{part:06}") if job.order.record else nullcontext()


_engines: dict[tuple[object, ...], Engine] = {}


def _engine(job: Job) -> Engine:
    """Return this process's engine for the job; the last one is kept for the blocks to come."""
    key = (job.bundle, job.fit_id, job.policy.digest, job.ledger)
    if key not in _engines:
        _engines.clear()
        engine = Engine.load(job.bundle, ledger=job.ledger, policy=job.policy)
        if engine.bundle.fit_id != job.fit_id:
            raise BatchError(f"{job.bundle} holds another fit on this machine than on the driver; copy it anew")
        _engines[key] = engine
    return _engines[key]


@contextmanager
def _watched(out: Path, sizes: Sequence[int], progress: Progress | None) -> Iterator[None]:
    """Tell now and then how many users are done, as the parts show it."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        told = -1
        while not over.wait(GLANCE):
            done = sum(size for number, size in enumerate(sizes) if _counts(out, number).exists())
            if done != told:
                told = done
                progress(done, sum(sizes))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _counts(out: Path, number: int) -> Path:
    return out / "counts" / f"part-{number:06}.json"


def _everywhere(ledger: str | None) -> str | None:
    """Return a ledger's address that means the same in every process."""
    if ledger is None or not ledger.startswith("sqlite://"):
        return ledger
    file = ledger.removeprefix("sqlite:///")
    if ledger == "sqlite://" or file == ":memory:":
        raise BatchError("a ledger in memory is unknown to executors; give a file's or a Redis server's address")
    return f"sqlite:///{Path(file).absolute()}"


def _cause(error: Exception) -> str:
    """Return the line of a Spark error that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line and not line.startswith(("at ", "Caused", "File", "org."))]
    return (raised or lines or [type(error).__name__])[0][:300]


@dataclass(frozen=True, kw_only=True)
class SparkALS:
    """ALS whose item vectors Spark MLlib trains; what ``fit`` returns is a plain ``ALS``, served without Spark.

    Two things differ from training here. MLlib's ridge grows with the entries of a row: it is scaled so that the
    pull on the product of both sides is that of ``regularization`` on the average. And MLlib knows no confidence
    below one: less counts as one.

    Attributes:
        als: the unfitted model with its settings.
        master, conf: as in ``session``.
    """

    als: ALS
    master: str
    conf: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        return self.als.name

    @property
    def settings(self) -> dict[str, Any]:
        return self.als.settings

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Steps | None = None) -> ALS:
        """Return the model fitted to users x items (csr float32).

        Raises:
            BatchError: the cluster failed.
            ModelError: see ``checked``.
        """
        matrix = checked(matrix)
        seen = taken(matrix)
        item = np.zeros((matrix.shape[1], self.als.factors), np.float32)
        if seen.any():
            with session(self.master, conf=self.conf) as spark:
                rows, vectors = _train(spark, self.als, matrix, seed)
            if not np.array_equal(rows, np.flatnonzero(seen)):
                raise ModelError(f"Spark trained {len(rows)} items but {int(seen.sum())} were taken")
            item[rows] = vectors * np.float32(_scale(matrix))
        if progress is not None:
            progress(self.als.iterations, self.als.iterations)
        nobody = np.zeros((0, self.als.factors), np.float32)
        draft = replace(self.als, state=Factors.of(item, nobody, seen))
        return replace(self.als, state=Factors.of(item, draft.vectors(matrix), seen))


def _entries_a_row(matrix: csr_matrix) -> tuple[float, float]:
    """Return the mean number of entries of the users, and of the items, that have any."""
    users = np.count_nonzero(np.diff(matrix.indptr))
    return matrix.nnz / users, matrix.nnz / np.count_nonzero(taken(matrix))


def _scale(matrix: csr_matrix) -> float:
    """Return by what MLlib's item vectors are stretched to be solved against under the plain ridge.

    MLlib's optimum has n_u |x|^2 = n_i |y|^2 summed over both sides, the plain ridge's |x|^2 = |y|^2.
    """
    of_user, of_item = _entries_a_row(matrix)
    return float((of_item / of_user) ** 0.25)


def _train(spark: SparkSession, als: ALS, matrix: csr_matrix, seed: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Return the rows MLlib trained, rising, and their vectors, float32."""
    import pyarrow as pa
    from pyspark.ml.recommendation import ALS as MLlib  # noqa: N811

    of_user, of_item = _entries_a_row(matrix)
    confidence = raised(matrix, als.power).data * np.float32(als.alpha)
    table = pa.table(
        {
            "user": np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr)),
            "item": matrix.indices.astype(np.int32),
            "rating": np.maximum(confidence - np.float32(1), np.float32(LEAST_RATING)),
        }
    )
    learner = MLlib(
        rank=als.factors, maxIter=als.iterations, regParam=als.regularization / float(np.sqrt(of_user * of_item)),
        implicitPrefs=True, alpha=1.0, seed=int(seed), userCol="user", itemCol="item", ratingCol="rating",
        checkpointInterval=-1,
    )  # fmt: skip
    try:
        found = learner.fit(spark.createDataFrame(table)).itemFactors.sort("id").toArrow()
    except Exception as error:
        raise BatchError(f"Spark could not train ({_cause(error)}); mend it and fit again") from error
    vectors = np.asarray(found["features"].combine_chunks().values, np.float32)
    return found["id"].to_numpy().astype(np.int64), vectors.reshape(-1, als.factors)
