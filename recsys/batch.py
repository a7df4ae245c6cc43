"""Scoring many users: in blocks, into Parquet parts that appear whole or not at all, resumable after a kill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from boundary.history import SHOWN
from boundary.ledger.base import Columns, LedgerError
from boundary.rules import BIT, SLATE_BITS
from boundary.rules.guard import SLATE_FULL
from boundary.verdict import reason_lists
from boundary.words import KIND_NAMES, SOURCE_NAMES
from recsys.asked import check, micros
from recsys.batch_files import (
    MANIFEST,
    BatchError,
    begun,
    claim,
    counts_file,
    listed,
    totals,
    write_json,
    write_part,
)
from recsys.engine import TRIES, remembered
from recsys.people import note_copies
from recsys.propose import Request
from recsys.slates import why

if TYPE_CHECKING:
    from recsys.engine import Answer, Engine

Progress = Callable[[int, int], None]  # users done, users in all


@dataclass(frozen=True)
class Order:
    """What a batch is to do.

    Attributes:
        n, surface, intent: as in ``Engine.score``.
        now: microseconds UTC.
        block: users scored at once.
        withheld: also write every withheld row with its reasons.
        record: reserve and confirm the exposures in the ledger: the batch is the sending.

    Raises:
        EngineError: as in ``Engine.score``.
        BatchError: the block is empty.
    """

    n: int
    surface: str
    intent: str
    now: int
    block: int = 1024
    withheld: bool = False
    record: bool = False

    def __post_init__(self) -> None:
        check(Request(self.surface, self.intent, self.n, micros(self.now)))
        if self.block < 1:
            raise BatchError(f"`block` must be at least 1 but got {self.block}")

    def to_dict(self) -> dict[str, Any]:
        """Return the order as plain words and numbers."""
        return dict(self.__dict__)


def score_users(
    engine: Engine,
    user_ids: Sequence[str],
    out: str | Path,
    order: Order,
    *,
    resume: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score users into ``out/slates/part-*.parquet`` and return the manifest that is written beside them.

    Args:
        engine: the shop.
        user_ids: each once; they keep their order. Who is forgotten while it runs or rests is left out.
        out: directory; must be empty of parts unless ``resume``.
        order: what to do.
        resume: go on with a batch that was cut off; parts that are there stay as they are.
        workers: blocks scored at the same time.
        progress: is told users done and users in all.

    Raises:
        BatchError: the directory holds another batch, or one that would be written over; or the engine was reloaded.
    """
    out = Path(out)
    if order.record and engine.ledger is None:
        raise BatchError("`record` needs a ledger but there is none; give one")
    bundle = engine.bundle
    todo = {"order": order.to_dict(), "policy_digest": engine.policy.digest, "fit_id": bundle.fit_id}
    if engine.beside is not None:
        todo["beside_digest"] = engine.beside.policy.digest
    if bundle.path is not None:
        note_copies(bundle.path, out)
    blocks = claim(out, todo, user_ids, forgotten=bundle.forgotten, resume=resume)
    everybody = sum(map(len, blocks))

    def work(number: int) -> int:
        if blocks[number] and not counts_file(out, number).exists():
            score_part(engine, out, number, order)
        return len(blocks[number])

    done = 0
    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        for finished in pool.map(work, range(len(blocks))):
            done += finished
            if progress is not None:
                progress(done, everybody)
    manifest = todo | {"users": everybody} | totals(out) | {"complete": True}
    write_json(out / MANIFEST, manifest)
    return manifest


def slate_rows(answer: Answer) -> pl.DataFrame:
    """Return one row a shown slot: user_id, position, item_id, title, score, source, why."""
    rows, verdict, bundle = answer.candidates, answer.verdict, answer.state.bundle
    catalogue = answer.state.gate.catalogue
    kept = np.flatnonzero(verdict.kept)
    past = rows.evidence_row[kept]
    named = past >= 0
    if catalogue.items:
        named &= catalogue.speakable[np.where(named, past, 0)]
    kinds = answer.history.strongest_kinds(rows.user_row[kept], past, answer.spoke)
    titles = bundle.catalogue_table["title"]
    place = pl.Series(np.where(named, past, -1)).replace(-1, None)
    frame = pl.DataFrame(
        {
            "user_id": pl.Series(list(rows.user_ids), dtype=pl.String).gather(rows.user_row[kept]),
            "position": verdict.positions[kept],
            "item_id": bundle.catalogue_table["item_id"].gather(rows.item_row[kept]),
            "title": titles.gather(rows.item_row[kept]),
            "score": rows.score[kept],
            "source": pl.Series(SOURCE_NAMES).gather(rows.source[kept]),
            "past": titles.gather(place),
            "form": (rows.source[kept].astype(np.int16) * len(KIND_NAMES) + kinds) * 2 + named,
        }
    )
    forms = [
        (source * len(KIND_NAMES) + kind) * 2 + known
        for source in range(len(SOURCE_NAMES)) for kind in range(3) for known in (0, 1)
    ]  # fmt: skip
    texts = [
        why(form // 2 // len(KIND_NAMES), "{}" if form % 2 else None, form // 2 % len(KIND_NAMES)) for form in forms
    ]
    form = pl.col("form").replace_strict(forms, texts, return_dtype=pl.String)
    return frame.with_columns(
        why=pl.when(form.str.ends_with("{}")).then(form.str.strip_suffix("{}") + pl.col("past")).otherwise(form)
    ).drop("past", "form")


def withheld_rows(answer: Answer) -> pl.DataFrame:
    """Return one row a candidate that the boundary withheld: user_id, item_id, source, reasons."""
    rows, verdict = answer.candidates, answer.verdict
    bits = verdict.enforced & ~SLATE_BITS
    held = np.flatnonzero(bits)
    known = (rows.item_row[held] >= 0) & (rows.item_row[held] < answer.state.gate.catalogue.items)
    place = pl.Series(np.where(known, rows.item_row[held], -1)).replace(-1, None)
    return pl.DataFrame(
        {
            "user_id": pl.Series(list(rows.user_ids), dtype=pl.String).gather(rows.user_row[held]),
            "item_id": answer.state.bundle.catalogue_table["item_id"].gather(place),
            "source": pl.Series([*SOURCE_NAMES, "unknown"]).gather(np.minimum(rows.source[held], len(SOURCE_NAMES))),
            "reasons": reason_lists(bits[held]),
        }
    )


def score_part(engine: Engine, out: Path, number: int, order: Order) -> None:
    """Score a block; what is to be recorded is written down first, so that a kill neither loses nor repeats it."""
    name = f"part-{number:06}"
    plan = out / "plan" / f"{name}.parquet"
    if not plan.exists():
        user_ids = listed(out, number)
        answer = _answer(engine, user_ids, out, order)
        if order.withheld:
            write_part(withheld_rows(answer), out, "withheld", number)
        counts = {
            "users": len(user_ids),
            "candidates": answer.candidates.rows,
            "beyond": int(np.count_nonzero(answer.verdict.enforced == BIT[SLATE_FULL])),
            "withheld": answer.verdict.counts(),
            "shadow": answer.verdict.shadow_counts(),
            "beside": {} if engine.beside is None else engine.beside.weigh(answer),
        }
        if not order.record:
            _finish(out, number, slate_rows(answer), counts)
            return
        write_json(out / "plan" / f"{name}.json", counts)
        write_part(_planned(answer, order), out, "plan", number)
    counts = json.loads((out / "plan" / f"{name}.json").read_text(encoding="utf-8"))
    slates, lost = _recorded(engine, plan, out, number, order)
    _finish(out, number, slates, counts | ({"moved_on": lost} if lost else {}))


def _answer(engine: Engine, user_ids: Sequence[str], out: Path, order: Order) -> Answer:
    """Score users under the very bundle and policy with which the batch began."""
    answer = engine.score_block(user_ids, n=order.n, surface=order.surface, intent=order.intent, now=order.now)
    if order.record and answer.exposures is None:
        raise BatchError("the ledger is down, so nothing can be recorded; mend it and resume")
    first = begun(out)
    if (answer.state.bundle.fit_id, answer.state.policy.digest) != (first["fit_id"], first["policy_digest"]):
        raise BatchError(f"{out} was begun under another bundle or policy; go back to it and resume, or start anew")
    return answer


def _planned(answer: Answer, order: Order) -> pl.DataFrame:
    """Return slates with the turn of the ledger that they rest on, and whether it is to note them."""
    rows = answer.candidates.user_row[np.flatnonzero(answer.verdict.kept)]
    told = remembered(answer, order.surface)
    return slate_rows(answer).with_columns(turn=pl.Series(answer.turns[rows]), told=pl.Series(told[rows]))


def _recorded(engine: Engine, plan: Path, out: Path, number: int, order: Order) -> tuple[pl.DataFrame, int]:
    """Record a plan; return the slates that stand in the ledger, and how many shoppers would not stand still.

    Whose turn moved on since the plan was made is scored again, a few times at most.
    """
    slate_id = f"{begun(out)['batch']}-{number}"
    for _ in range(TRIES):
        slates = pl.read_parquet(plan)
        missed = _record(engine, slates, order, slate_id)
        if not missed:
            break
        there = {user: place for place, user in enumerate(listed(out, number))}
        rows = slates.filter(~pl.col("user_id").is_in(missed))
        missed = [user for user in missed if user in there]
        rows = pl.concat([rows, _planned(_answer(engine, missed, out, order), order)])
        places = pl.col("user_id").replace_strict(there, default=None, return_dtype=pl.Int64)
        write_part(rows.sort(places, "position"), out, "plan", number)
    return slates.filter(~pl.col("user_id").is_in(missed)).drop("turn", "told"), len(missed)


def _finish(out: Path, number: int, slates: pl.DataFrame, counts: dict[str, Any]) -> None:
    slates = write_part(slates, out, "slates", number)
    sources = dict(Counter(slates["source"].to_list()))
    write_json(counts_file(out, number), counts | {"shown": len(slates), "sources": sources})
    for suffix in ("json", "parquet"):
        (out / "plan" / f"part-{number:06}.{suffix}").unlink(missing_ok=True)


def _record(engine: Engine, slates: pl.DataFrame, order: Order, slate_id: str) -> list[str]:
    """Write a block's exposures under the turns that were read; return who moved on meanwhile and loses the slate.

    Whose exposures stand in the ledger already, from before a kill, is not recorded again.
    """
    assert engine.ledger is not None  # noqa: S101 (``score_users`` looked)
    rows = slates.filter("told")
    user_ids = rows["user_id"].unique(maintain_order=True).to_list()
    if not user_ids:
        return []
    try:
        before = engine.ledger.read_block(user_ids, order.now)
        names = before.entries.slates
        owner = np.repeat(np.arange(len(user_ids)), np.diff(before.offsets))
        done = {user_ids[u] for u, s in zip(owner.tolist(), before.entries.slate.tolist(), strict=True)
                if names[s] == slate_id}  # fmt: skip
        rows = rows.filter(~pl.col("user_id").is_in(done))
        left = [user for user in user_ids if user not in done]
        if not left:
            return []
        per_user = rows.group_by("user_id", maintain_order=True).agg(pl.len(), pl.col("turn").first())
        size = len(rows)
        entries = Columns(
            kind=np.full(size, SHOWN, np.uint8),
            item_id=rows["item_id"].to_list(),
            surface=np.zeros(size, np.int32),
            at=np.full(size, order.now, np.int64),
            slate=np.zeros(size, np.int32),
            position=rows["position"].to_numpy(),
            source=rows["source"]
            .replace_strict(list(SOURCE_NAMES), range(len(SOURCE_NAMES)))
            .to_numpy()
            .astype(np.uint8),
            confirmed=np.ones(size, bool),
            surfaces=(order.surface,),
            slates=(slate_id,),
        )
        taken = engine.ledger.append_block(
            left,
            np.concatenate([[0], np.cumsum(per_user["len"].to_numpy())]).astype(np.int64),
            entries,
            expected_turns=per_user["turn"].to_numpy().astype(np.int64),
        )
    except LedgerError as error:
        raise BatchError(f"the ledger could not record a block ({error}); mend it and resume") from error
    return [user for user, one in zip(left, taken.tolist(), strict=True) if not one]
