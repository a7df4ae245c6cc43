"""What is measured of a candidate row, and against which limit: the checks of row rules as columns for the kernel."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.words import COMPLAINTS, SOURCE_NAMES, Family

if TYPE_CHECKING:
    from boundary.facts import Facts

Flags = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]
SOURCES = len(SOURCE_NAMES)
EASED = tuple(COMPLAINTS.values())
PADDING_SCORE = np.float32(1e38)  # some recommenders fill up with -3.4e38
MOST_CHECKS, MOST_WINDOWS = 64, 8  # in one pass over the rows


@dataclass(frozen=True)
class Measure:
    """What is measured, and the limit it is held against; see ``boundary.kernel.judge_rows``.

    Attributes:
        kind: code of the measure.
        limit: one number.
        first, second, third: settings of the measure.
        single: the measure is single precision, so the limit is as well.
        whole: the limit is a count; complaints lower it to the count below, and never to nothing.
        eased_by: whose complaints lower the limit.
    """

    kind: int
    limit: float
    first: float = 0
    second: float = 0
    third: float = 0
    single: bool = False
    whole: bool = False
    eased_by: Family | None = None

    def left(self, ease: npt.NDArray[np.float32] | float) -> npt.NDArray[np.float64]:
        """Return the limit after complaints.

        Example:
            >>> float(Measure(kernel.UNHEEDED, limit=3, whole=True).left(0.75))
            2.0
        """
        left = np.asarray(self.limit * np.asarray(ease, np.float64))
        if self.whole:
            return np.maximum(np.floor(left + 1e-6), min(self.limit, 1.0))
        return left.astype(np.float32).astype(np.float64) if self.single else left


class Check(NamedTuple):
    """A measure with what follows from it: which side is right, which rows it concerns, and the reason."""

    measure: Measure
    bound: int
    covered: Flags
    bit: np.uint64
    enforce: bool


class Checks:
    """Checks of row rules as columns, (T,); see ``boundary.kernel.judge_rows``."""

    def __init__(self, checks: Sequence[Check]) -> None:
        terms = [check.measure for check in checks]
        self.columns: tuple[npt.NDArray[Any], ...] = (
            np.array([term.kind for term in terms], np.int64),
            np.array([term.first for term in terms], np.float64),
            np.array([term.second for term in terms], np.float64),
            np.array([term.third for term in terms], np.float64),
            np.array([check.bound for check in checks], np.int64),
            np.array([term.limit for term in terms], np.float64),
            np.array([term.single for term in terms], np.bool_),
            np.array([term.whole for term in terms], np.bool_),
            np.array([-1 if term.eased_by is None else EASED.index(term.eased_by) for term in terms], np.int64),
        )
        self.consequences: tuple[npt.NDArray[Any], ...] = (
            np.array([check.covered for check in checks], np.bool_).reshape(len(checks), SOURCES + 1),
            np.array([check.bit for check in checks], np.uint64),
            np.array([check.enforce for check in checks], np.bool_),
        )

    @classmethod
    def batches(cls, checks: Iterable[Check]) -> Iterator[Checks]:
        """Yield the checks in batches that one pass over the rows can take; one at least."""
        batch: list[Check] = []
        windows = 0
        for check in checks:
            counts = check.measure.kind in kernel.WINDOWS
            if len(batch) == MOST_CHECKS or (counts and windows == MOST_WINDOWS):
                yield cls(batch)
                batch, windows = [], 0
            batch.append(check)
            windows += counts
        yield cls(batch)


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


NOTHING = np.uint64(0)
NO_VALUES = np.empty((0, 0))
NO_CLASSES = (np.zeros(0, np.int32), np.zeros((SOURCES + 1, 1), np.uint64), np.zeros((SOURCES + 1, 1), np.uint64))
_store = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, fill: int) -> npt.NDArray[Any]:
    """Return this thread's clean scratch array; the kernels hand it back clean."""
    arrays: dict[str, npt.NDArray[Any]] = _store.__dict__.setdefault("arrays", {})
    if name not in arrays or arrays[name].shape != shape:
        arrays[name] = np.full(shape, fill, dtype)
    return arrays[name]
