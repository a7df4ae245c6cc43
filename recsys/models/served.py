"""What every fitted model does alike: taking scores apart, lying on disk, spreading a block over threads.

A model only says how much each past item adds to each candidate (``add_parts``); traces follow.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.models import kernel
from recsys.models.base import Affine, Contributions, Floats, Mask, ModelError, Offsets, Rows, Solved, Trace, checked
from recsys.models.store import save_model

ROOM = 1 << 24  # parts held at once
FEW = 16  # users; fewer are not worth starting threads for


@dataclass(frozen=True, slots=True)
class Block:
    """Candidates of U users and room for the parts of their scores.

    Attributes:
        evidence: (U, I).
        offsets: (U + 1,), where each user's candidates are.
        item_row: (R,), the candidates.
        starts: (U + 1,), where each user's table of (candidates, past items) is in ``parts``.
        parts: (starts[U],) float32, zero at first.
        systems: (U, d, d) float32, see ``base.Solved``; None is not solved yet.
    """

    evidence: csr_matrix
    offsets: Offsets
    item_row: Rows
    starts: Offsets
    parts: Floats
    systems: Floats | None = None

    @classmethod
    def of(cls, evidence: csr_matrix, offsets: Offsets, item_row: Rows, systems: Floats | None = None) -> Block:
        """Make zeroed room."""
        starts = _starts(offsets, evidence)
        return cls(evidence, offsets, item_row, starts, np.zeros(starts[-1], np.float32), systems)

    @property
    def users(self) -> int:
        return len(self.offsets) - 1


class Served(ABC):
    """A model, fitted or not; a subclass is a frozen dataclass whose fields but ``state`` are settings."""

    name: ClassVar[str]
    state: Any

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the data that shapes the fit."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "state"}  # type: ignore[arg-type]

    @abstractmethod
    def add_parts(self, block: Block, *, blind: Affine | None, weight: float) -> None:
        """Add ``weight`` times what each past item adds to each candidate's score to ``block.parts``."""

    @abstractmethod
    def dense(self, evidence: csr_matrix) -> Floats:
        """Return (U, I) scores by block products, a new array; not the same bits alone and in a block."""

    @abstractmethod
    def base(self, item_row: Rows, *, blind: Affine | None) -> Floats:
        """Return (R,): the part of the scores that no past item carries."""

    @property
    @abstractmethod
    def items(self) -> int:
        """How many items the fitted model knows."""

    @property
    @abstractmethod
    def trained(self) -> Mask:
        """(I,) bool: taken by anybody in training; only these are ranked."""

    @property
    def dimensions(self) -> int | None:
        """Length of the fitted model's user vectors, None of a model that has none."""
        return None

    def grown(self, evidence: csr_matrix, *, seed: int) -> Self:
        """Return the model fitted anew if items are new, or taken for the first time; see ``base.Recommender.grown``."""
        evidence = checked(evidence)
        if evidence.shape[1] < self.items:
            raise ModelError(f"evidence must have the {self.items} items known so far but has {evidence.shape[1]}")
        if evidence.shape[1] == self.items and self.trained[evidence.indices].all():
            return self
        return self.fit(evidence, seed=seed)  # type: ignore[attr-defined]

    @abstractmethod
    def vectors(self, evidence: csr_matrix) -> Floats | None:
        """Return (U, d) user vectors, None of a model that has none."""

    def solved(self, evidence: csr_matrix) -> Solved:
        """Return ``vectors``; a model whose traces can take up what they rest on hands that over too."""
        return Solved(self.vectors(evidence), None)

    def trace(
        self,
        evidence: csr_matrix,
        offsets: Offsets,
        item_row: Rows,
        *,
        blind: Affine | None = None,
        systems: Floats | None = None,
    ) -> Trace:
        """Return what carries each candidate; see ``base.Recommender.trace``."""
        evidence = checked(evidence)
        share, who = np.zeros(len(item_row), np.float32), np.full(len(item_row), -1, np.int32)
        for first, last in _bites(offsets, evidence):
            low, high = offsets[first], offsets[last]
            whole = last - first == len(offsets) - 1
            block = Block.of(
                evidence if whole else evidence[first:last],
                offsets[first : last + 1] - low,
                np.ascontiguousarray(item_row[low:high], np.int32),
                None if systems is None else systems[first:last],
            )
            self.add_parts(block, blind=blind, weight=1.0)
            kernel.largest(
                block.evidence.indptr, block.evidence.indices, block.offsets, block.starts, block.parts,
                0, block.users, share[low:high], who[low:high],
            )  # fmt: skip
        return Trace(share, who)

    def contributions(self, evidence: csr_matrix, item_row: Rows, *, blind: Affine | None = None) -> Contributions:
        """Take the scores of one user (evidence of one row) for some items apart, item by past item."""
        evidence = checked(evidence)
        if evidence.shape[0] != 1:
            raise ModelError(f"contributions are told of one user but evidence has {evidence.shape[0]} rows")
        rows, place = np.unique(np.asarray(item_row, np.int32), return_inverse=True)
        block = Block.of(evidence, np.array([0, len(rows)], np.int64), rows)
        self.add_parts(block, blind=blind, weight=1.0)
        parts = block.parts.reshape(len(rows), evidence.nnz)[place]
        return Contributions(evidence.indices.astype(np.int32), parts, self.base(rows, blind=blind)[place])

    def summed(self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows) -> Floats:
        """Return (R,) scores of given pairs as the sums of their parts."""
        evidence = checked(evidence)
        items = evidence.shape[1]
        pairs, place = np.unique(np.asarray(user_of_row, np.int64) * items + item_row, return_inverse=True)
        out = np.zeros(len(pairs), np.float32)
        ends = np.searchsorted(pairs, np.arange(evidence.shape[0] + 1, dtype=np.int64) * items)
        for first, last in _bites(ends, evidence):
            low, high = ends[first], ends[last]
            rows = (pairs[low:high] % items).astype(np.int32)
            block = Block.of(evidence[first:last], (ends[first : last + 1] - low).astype(np.int64), rows)
            self.add_parts(block, blind=None, weight=1.0)
            past = np.repeat(np.diff(block.evidence.indptr), np.diff(block.offsets))
            sums, some = np.zeros(len(rows)), past > 0
            if some.any():
                sums[some] = np.add.reduceat(block.parts.astype(np.float64), (np.cumsum(past) - past)[some])
            out[low:high] = sums + self.base(rows, blind=None)
        return out[place]

    @abstractmethod
    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return what is to be saved beside the settings."""

    def save(self, path: Path) -> None:
        """Write the fitted model into a directory."""
        save_model(path, name=self.name, settings=self.settings, arrays=self.arrays())


def refuse(blinding: object) -> None:
    """Refuse vectors or a blindfold where there are no user vectors, rather than drop it silently."""
    if blinding is not None:
        raise ModelError("a model without user vectors takes neither vectors nor a blindfold")


def _bites(offsets: Offsets, evidence: csr_matrix) -> list[tuple[int, int]]:
    """Return spans of users whose parts fit the room."""
    if len(offsets) == 2:
        return [(0, 1)]
    room = _starts(offsets, evidence)[1:] // ROOM
    return list(pairwise([0, *(np.flatnonzero(np.diff(room)) + 1).tolist(), len(offsets) - 1]))


def _starts(offsets: Offsets, evidence: csr_matrix) -> Offsets:
    """Return (U + 1,) where the tables of users' (candidates, past items) begin, one after another."""
    starts = np.zeros(len(offsets), np.int64)
    ((offsets[1:] - offsets[:-1]) * (evidence.indptr[1:] - evidence.indptr[:-1])).cumsum(out=starts[1:])
    return starts


def shared(work: Callable[[int, int], None], users: int) -> None:
    """Call ``work(start, stop)`` over parts of ``range(users)``, in threads if they are many."""
    if users <= FEW:
        work(0, users)
        return
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    edges = np.linspace(0, users, min(users // FEW, 4 * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *part) for part in pairwise(edges)]:
            done.result()
