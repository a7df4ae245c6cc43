"""Many machines: Spark spreads the very blocks of a batch over executors. No rule is written twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boundary.policy import Policy
from recsys.batch import Order, Progress, score_part
from recsys.batch_files import MANIFEST, BatchError, claim, counts_file, totals, write_json
from recsys.bundle import Bundle
from recsys.engine import Engine, policy_of
from recsys.on_spark import SparkError, cause, session
from recsys.people import note_copies
from recsys.swap import locked

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    from pyspark.sql import SparkSession

MOST_TASKS = 10_000
GLANCE = 0.5  # seconds between two looks at the parts that are done


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
        master: as in ``recsys.on_spark.session``.
        ledger: ``redis://...``, or ``sqlite:///file.db`` where all executors are on one machine.
        policy: as in ``Engine.load``.
        resume: go on with a batch that was cut off.
        partitions: tasks; None is one a block.
        progress: is told users done and users in all.
        conf: as in ``recsys.on_spark.session``.

    Raises:
        BatchError: what ``batch.score_users`` raises.
        SparkError: the cluster failed; what is done stays, and can be resumed.
    """
    if partitions is not None and partitions < 1:
        raise BatchError(f"`partitions` must be at least 1 but got {partitions}")
    shop = Bundle.load(bundle)
    rules = shop.policy if policy is None else policy_of(policy)
    job = Job(Path(bundle).absolute(), shop.fit_id, rules, _everywhere(ledger), Path(out).absolute(), order)
    todo = {"order": order.to_dict(), "policy_digest": rules.digest, "fit_id": shop.fit_id}
    if order.record and ledger is None:
        raise BatchError("`record` needs a ledger but there is none; give one")
    note_copies(job.bundle, job.out)
    blocks = claim(job.out, todo, user_ids, forgotten=shop.forgotten, resume=resume)
    everybody = sum(map(len, blocks))
    left = [number for number, users in enumerate(blocks) if users and not counts_file(job.out, number).exists()]
    if left:
        with session(master, conf=conf) as spark, _watched(job.out, [len(block) for block in blocks], progress):
            done = _spread(spark, job, left, partitions)
        if done != left:
            raise BatchError(f"{len(set(left) - set(done))} blocks came back from {master} unscored; resume")
    if progress is not None:
        progress(everybody, everybody)
    missing = [number for number, users in enumerate(blocks) if users and not counts_file(job.out, number).exists()]
    if missing:
        raise BatchError(f"{job.out} lacks {len(missing)} of {len(blocks)} parts; resume")
    manifest = todo | {"users": everybody} | totals(job.out) | {"complete": True}
    write_json(job.out / MANIFEST, manifest)
    return manifest


def _spread(spark: SparkSession, job: Job, left: Sequence[int], partitions: int | None) -> list[int]:
    """Score numbered blocks on the executors; return the numbers that came back, sorted."""
    import pyarrow as pa

    table = pa.table({"part": pa.array(left, pa.int64())})
    tasks = partitions or min(len(left), MOST_TASKS)
    try:
        frame = spark.createDataFrame(table).repartition(tasks)
        done = frame.mapInArrow(scorer(job), "part long").toArrow()
    except Exception as error:
        raise SparkError(f"Spark gave up ({cause(error)}); mend it and resume") from error
    return sorted(done["part"].to_pylist())


def scorer(job: Job) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what an executor does with its numbers of blocks: score each block, give its number back."""

    def score(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for some in rows:
            for part in some["part"].to_pylist():
                with _alone(job, part):
                    if not counts_file(job.out, part).exists():
                        score_part(_engine(job), job.out, part, job.order)
            yield some

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
            done = sum(size for number, size in enumerate(sizes) if counts_file(out, number).exists())
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


def _everywhere(ledger: str | None) -> str | None:
    """Return a ledger's address that means the same in every process."""
    if ledger is None or not ledger.startswith("sqlite://"):
        return ledger
    file = ledger.removeprefix("sqlite:///")
    if ledger == "sqlite://" or file == ":memory:":
        raise BatchError("a ledger in memory is unknown to executors; give a file's or a Redis server's address")
    return f"sqlite:///{Path(file).absolute()}"
