"""What is measured of a candidate row, and against which limit: the checks of row rules as columns for the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.words import COMPLAINTS, SOURCE_NAMES, Family

Flags = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]
SOURCES = len(SOURCE_NAMES)
EASED = tuple(COMPLAINTS.values())
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
