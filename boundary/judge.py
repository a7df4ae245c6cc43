"""One pass of the compiled rules over candidate rows: which reasons each row carries, or what is measured of it."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.facts import Facts
from boundary.measure import MOST_WINDOWS, SOURCES, Bits, Check, Checks, Flags, Measure

PADDING_SCORE = np.float32(1e38)  # some recommenders fill up with -3.4e38
NOTHING = np.uint64(0)
NO_VALUES = np.empty((0, 0))
NO_CLASSES = (np.zeros(0, np.int32), np.zeros((SOURCES + 1, 1), np.uint64), np.zeros((SOURCES + 1, 1), np.uint64))
_store = threading.local()


class RowBits(NamedTuple):
    """The reasons of rows, (R,) each, and as what source and whether as a twin the quotas shall read them."""

    judged: npt.NDArray[np.uint8]
    twin: Flags
    enforced: Bits
    shadowed: Bits

    @classmethod
    def blank(cls, size: int) -> RowBits:
        return cls(np.zeros(size, np.uint8), np.zeros(size, bool), np.zeros(size, np.uint64), np.zeros(size, np.uint64))


def judge_rows(
    facts: Facts, checks: Checks, classes: tuple[npt.NDArray[np.int32], Bits, Bits], people: tuple[Bits, Bits],
    guards: tuple[np.uint64, np.uint64, np.uint64], out: RowBits, *, users: npt.NDArray[np.int64], again: bool,
    values: npt.NDArray[np.float64] | None = None,
) -> None:  # fmt: skip
    """Run the kernel over the rows of some of the users; see ``boundary.kernel.judge_rows``."""
    rows, things, past, entries = facts.candidates, facts.catalogue, facts.history, facts.exposures
    groups = len(things.category_names)
    kernel.judge_rows(
        users, facts.reads, rows.offsets, rows.item_row, rows.evidence_row, rows.source, rows.score, rows.closeness,
        rows.trace_share, past.offsets, past.item_row, past.kind, past.at, past.unit_price, entries.offsets,
        entries.item_row, entries.kind, entries.at, things.things, things.category, things.brand, *classes,
        *people, int(facts.context.now),
        PADDING_SCORE, *guards, scratch("slot_of", (things.items,), np.int32, -1),
        scratch("paid", (groups + 1,), np.float64, 0), scratch("times_paid", (groups + 1,), np.int32, 0),
        scratch("tally", (MOST_WINDOWS, max(groups, len(things.brand_names))), np.int32, 0), *checks.columns,
        facts.eases, *checks.consequences, again, *out, NO_VALUES if values is None else values,
    )  # fmt: skip


def measured(facts: Facts, measure: Measure) -> npt.NDArray[np.float64]:
    """Return a measure of each row, (R,); NaN where the item is not known."""
    values = np.full((1, facts.size), np.nan)
    nobody = np.zeros((SOURCES + 1, facts.shoppers.users), np.uint64)
    one = Checks([Check(measure, 0, np.ones(SOURCES + 1, bool), NOTHING, False)])
    judge_rows(
        facts, one, NO_CLASSES, (nobody, nobody), (NOTHING, NOTHING, NOTHING), RowBits.blank(facts.size),
        users=facts.everybody, again=True, values=values,
    )  # fmt: skip
    return values[0]


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, fill: int) -> npt.NDArray[Any]:
    """Return this thread's clean scratch array; the kernels hand it back clean."""
    arrays: dict[str, npt.NDArray[Any]] = _store.__dict__.setdefault("arrays", {})
    if name not in arrays or arrays[name].shape != shape:
        arrays[name] = np.full(shape, fill, dtype)
    return arrays[name]
