"""Alternating least squares: implicit fits the item vectors, this file serves them.

A user's vector is the exact least-squares answer to the evidence row, never the one left over from training:
a shopper seen in training, a new one and a session go one way, and the past items' parts add up to the score.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys.models import kernel
from recsys.models.base import Floats, ModelError, Progress, Solved, checked, raised, require
from recsys.models.factors import FactorModel, Factors, taken
from recsys.models.served import Block, shared
from recsys.models.store import load_model


@dataclass(frozen=True, kw_only=True, eq=False)
class ALS(FactorModel):
    """Weighted matrix factorization (Hu, Koren, Volinsky 2008); confidence is ``alpha * weight ** power``.

    Args:
        factors: length of a vector, at least 1.
        regularization: ridge, above 0.
        alpha: confidence in an item of weight one, above 0; an item not taken has confidence one.
        power: of the weights; 1 = as given, 0.5 = square roots, 0 = taken or not.
        iterations: rounds of alternating least squares, at least 1.

    Example:
        >>> boards = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32))
        >>> als = ALS(factors=2, regularization=0.1, iterations=5).fit(boards, seed=1)
        >>> session = csr_matrix(np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32))
        >>> sorted(als.top(session, k=2, exclude=session).item_row.tolist())
        [2, 3]
    """

    name: ClassVar[str] = "als"

    factors: int = 128
    regularization: float = 30.0
    alpha: float = 1.0
    power: float = 1.0
    iterations: int = 10
    state: Factors | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require("factors", self.factors, at_least=1)
        require("regularization", self.regularization, above=0)
        require("alpha", self.alpha, above=0)
        require("power", self.power, at_least=0)
        require("iterations", self.iterations, at_least=1)

    @property
    def known(self) -> Factors:
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Return the model fitted to users x items; ``progress`` is told after every iteration."""
        from implicit.cpu.als import AlternatingLeastSquares

        matrix = checked(matrix)
        seen = taken(matrix)
        item = np.zeros((matrix.shape[1], self.factors), np.float32)
        if seen.any():
            with threadpool_limits(1, "blas"):
                learner = AlternatingLeastSquares(
                    factors=self.factors, regularization=self.regularization, iterations=self.iterations,
                    random_state=int(seed),
                )  # fmt: skip
                confidence = csr_matrix((self._confidence(matrix), matrix.indices, matrix.indptr), matrix.shape)
                learner.fit(
                    confidence,
                    show_progress=False,
                    callback=lambda done, *_: progress and progress(done + 1, self.iterations),
                )
            item[seen] = learner.item_factors[seen]
        draft = replace(self, state=Factors.of(item, np.zeros((0, self.factors), np.float32), seen))
        return replace(self, state=Factors.of(item, draft.vectors(matrix), seen))

    def grown(self, evidence: csr_matrix, *, seed: int) -> Self:  # noqa: ARG002
        """Return the model with a vector for each untrained item that anybody took: the least-squares answer to its takers.

        The takers' vectors come from the trained items, whose own vectors stay as they are. The seed does not matter.
        """
        evidence = checked(evidence)
        old, items = self.items, evidence.shape[1]
        if items < old:
            raise ModelError(f"evidence must have the {old} items known so far but has {items}")
        known = self.known.padded(items)
        fresh = np.flatnonzero(taken(evidence) & ~known.trained)
        if len(fresh):
            users = replace(self, state=known).vectors(evidence)
            takers = csr_matrix(evidence[:, fresh].T)
            takers.sort_indices()
            gram = users.T @ users + np.float32(self.regularization) * np.eye(users.shape[1], dtype=np.float32)
            root = kernel.root_of(gram)
            found = np.zeros((len(fresh), users.shape[1]), np.float32)
            confidence, systems = self._confidence(takers), np.empty((0, *gram.shape), np.float32)
            shared(
                lambda start, stop: kernel.solve(
                    gram, root, users, takers.indptr, takers.indices, confidence, start, stop, found, systems
                ),
                len(fresh),
            )
            known.item[fresh], known.trained[fresh] = found, True
        return replace(self, state=Factors.of(known.item, replace(self, state=known).vectors(evidence), known.trained))

    def vectors(self, evidence: csr_matrix) -> Floats:
        """Solve each user's least-squares problem, (U, d), with the same numbers alone and in a block."""
        return self._solve(evidence, keep=False)[0]

    def solved(self, evidence: csr_matrix) -> Solved:
        """Return ``vectors`` with the systems that they solve."""
        return Solved(*self._solve(evidence, keep=True))

    def _solve(self, evidence: csr_matrix, *, keep: bool) -> tuple[Floats, Floats]:
        item = self.known.item
        evidence = checked(evidence, items=len(item))
        confidence = self._confidence(evidence)
        users, size = evidence.shape[0], item.shape[1]
        out, systems = np.zeros((users, size), np.float32), np.empty((users if keep else 0, size, size), np.float32)
        shared(
            lambda start, stop: kernel.solve(
                self._gram, self._root, item, evidence.indptr, evidence.indices, confidence, start, stop, out, systems
            ),
            users,
        )
        return out, systems

    def add_parts_along(self, block: Block, along: Floats, *, weight: float) -> None:
        """Add c_j along' A^-1 y_j for every past item j, A being the user's least-squares system."""
        evidence, confidence = block.evidence, self._confidence(block.evidence)
        systems = self._unsolved if block.systems is None else block.systems
        shared(
            lambda start, stop: kernel.add_solved_parts(
                self._gram, self._root, self.known.item, along, evidence.indptr, evidence.indices, confidence, systems,
                block.offsets, block.starts, weight, start, stop, block.parts,
            ),
            block.users,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        return cls(**settings, state=Factors.of_arrays(arrays))

    @cached_property
    def _unsolved(self) -> Floats:
        """No systems."""
        return np.empty((0, self.factors, self.factors), np.float32)

    @cached_property
    def _gram(self) -> Floats:
        item = self.known.item
        return item.T @ item + np.float32(self.regularization) * np.eye(item.shape[1], dtype=np.float32)

    @cached_property
    def _root(self) -> Floats:
        return np.asarray(kernel.root_of(self._gram))

    def _confidence(self, evidence: csr_matrix) -> Floats:
        return np.asarray(raised(evidence, self.power).data * np.float32(self.alpha), np.float32)
