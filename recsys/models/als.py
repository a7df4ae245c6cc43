"""Implicit-feedback matrix factorisation: implicit's ALS learns the item factors, a user is solved from their evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys.models import kernel
from recsys.models.base import (
    Affine,
    Contributions,
    Floats,
    Mask,
    ModelError,
    Moments,
    Offsets,
    Progress,
    Rows,
    TopK,
    Trace,
    best_rows,
    checked,
    stacked,
)
from recsys.models.store import load_model, save_model


class ALS:
    """Weighted matrix factorisation (Hu, Koren and Volinsky 2008) with weights as confidence.

    Args:
        factors: length of a vector, at least 1.
        regularization: ridge, at least 0.
        alpha: confidence of one unit of weight.
        iterations: rounds of alternating least squares.

    Example:
        >>> board = csr_matrix(np.kron(np.eye(2), np.ones((3, 3))).astype(np.float32))
        >>> model = ALS(factors=2, iterations=5).fit(board, seed=0)
        >>> alike = csr_matrix(np.array([[1, 0, 0, 0, 0, 0]], np.float32))
        >>> sorted(model.top(alike, k=2, exclude=alike).item_row.tolist())
        [1, 2]
    """

    name = "als"

    def __init__(
        self, *, factors: int = 128, regularization: float = 30.0, alpha: float = 1.0, iterations: int = 15
    ) -> None:
        if factors < 1:
            raise ModelError(f"`factors` must be at least 1 but got {factors}")
        if iterations < 1:
            raise ModelError(f"`iterations` must be at least 1 but got {iterations}")
        if regularization < 0:
            raise ModelError(f"`regularization` must be at least 0 but got {regularization}")
        if alpha <= 0:
            raise ModelError(f"`alpha` must be above 0 but got {alpha}")
        self.settings: dict[str, Any] = {
            "factors": factors,
            "regularization": regularization,
            "alpha": alpha,
            "iterations": iterations,
        }

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Learn item factors, and mean and covariance of the users' vectors."""
        from implicit.cpu.als import AlternatingLeastSquares

        matrix = checked(matrix)
        users, items = matrix.shape
        taken = np.asarray((matrix > 0).sum(axis=0)).ravel() > 0
        if not matrix.nnz:
            self._learned(np.zeros((items, self.settings["factors"]), np.float32), taken, np.zeros((1, 1)))
            return self
        learner = AlternatingLeastSquares(
            **self.settings, random_state=int(seed), num_threads=0
        )
        rounds = self.settings["iterations"]

        def tell(iteration: int, *_: object) -> None:
            if progress is not None:
                progress(iteration + 1, rounds)

        with threadpool_limits(1, "blas"):
            learner.fit(matrix, show_progress=False, callback=tell)
        factors = np.array(learner.item_factors, np.float32)
        factors[~taken] = 0
        self._learned(factors, taken, matrix)
        return self

    def _learned(self, factors: Floats, taken: Mask, matrix: Any) -> None:
        self.factors, self.taken = factors, taken
        self._prepare()
        vectors = self.vectors(matrix) if isinstance(matrix, csr_matrix) else np.zeros((1, factors.shape[1]), np.float32)
        wide = vectors.astype(np.float64)
        self.mean = wide.mean(axis=0)
        self.covariance = np.cov(wide, rowvar=False, bias=True).reshape(len(self.mean), len(self.mean))

    def _prepare(self) -> None:
        self._wide = self.factors.astype(np.float64)
        ridge = self.settings["regularization"] * np.eye(self.factors.shape[1])
        self._gram = self._wide.T @ self._wide + ridge
        self._all_taken = bool(self.taken.all())

    def vectors(self, evidence: csr_matrix) -> Floats:
        """Solve each user's least-squares problem, (U, d)."""
        evidence = checked(evidence, items=len(self.factors))
        out = np.zeros((evidence.shape[0], self.factors.shape[1]), np.float32)
        with threadpool_limits(1, "blas"):
            kernel.solve_users(
                self._wide, self._gram, evidence.indptr, evidence.indices, self._weights(evidence), out
            )
        return out

    def _weights(self, evidence: csr_matrix) -> Floats:
        return np.asarray(evidence.data * np.float32(self.settings["alpha"]), np.float32)

    def top(
        self,
        evidence: csr_matrix,
        *,
        k: int,
        exclude: csr_matrix | None = None,
        within: Mask | None = None,
        vectors: Floats | None = None,
    ) -> TopK:
        """See ``Recommender.top``."""
        if k < 1:
            raise ModelError(f"`k` must be at least 1 but got {k}")
        given = self.vectors(evidence) if vectors is None else vectors
        silent = np.diff(evidence.indptr) == 0
        if silent.any():
            given = np.where(silent[:, None], np.float32(np.nan), given)
        if not self._all_taken:
            within = self.taken if within is None else within & self.taken
        allowed = np.ones(len(self.factors), bool) if within is None else within
        rows, scores = best_rows(given @ self.factors.T, k=k, allowed=allowed, exclude=exclude)
        return stacked(rows, scores)

    def scores(
        self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows, *, vectors: Floats | None = None
    ) -> Floats:
        """See ``Recommender.scores``."""
        given = self.vectors(evidence) if vectors is None else vectors
        wide = given[user_of_row].astype(np.float64)
        return np.asarray((wide * self._wide[item_row]).sum(axis=1), np.float32)

    def moments(self, blind: Affine | None = None) -> Moments:
        """Give mean and deviation in closed form from mean and covariance of the users' vectors."""
        mean, covariance = self.mean, self.covariance
        if blind is not None:
            matrix = blind.matrix.astype(np.float64)
            mean, covariance = matrix @ mean + blind.offset, matrix @ covariance @ matrix.T
        spread = np.einsum("id,de,ie->i", self._wide, covariance, self._wide, optimize=True)
        return Moments(
            np.asarray(self._wide @ mean, np.float32), np.sqrt(np.maximum(spread, 0)).astype(np.float32)
        )

    def trace(
        self, evidence: csr_matrix, offsets: Offsets, item_row: Rows, *, blind: Affine | None = None
    ) -> Trace:
        """See ``Recommender.trace``."""
        share, past = np.zeros(len(item_row), np.float32), np.full(len(item_row), -1, np.int32)
        with threadpool_limits(1, "blas"):
            kernel.trace_users(
                self._wide, self._gram, self._turned(blind), evidence.indptr, evidence.indices,
                self._weights(evidence), offsets, item_row, share, past,
            )  # fmt: skip
        return Trace(share, past)

    def _turned(self, blind: Affine | None) -> Any:
        if blind is None:
            return self._wide
        if getattr(self, "_turned_by", None) is not blind:
            self._turned_items = self._wide @ blind.matrix.astype(np.float64)
            self._turned_by = blind
        return self._turned_items

    def contributions(
        self, evidence: csr_matrix, item_row: Rows, *, blind: Affine | None = None
    ) -> Contributions:
        """See ``Recommender.contributions``."""
        rows, weights = evidence.indices.astype(np.int32), self._weights(evidence)
        normal = kernel.normal_matrix(self._wide, self._gram, rows, weights)
        solved = np.linalg.solve(normal, self._turned(blind)[item_row].T)
        parts = solved.T @ (self._wide[rows] * weights[:, None]).T
        base = np.zeros(len(item_row)) if blind is None else self._wide[item_row] @ blind.offset
        return Contributions(rows, parts.astype(np.float32), np.asarray(base, np.float32))

    def save(self, path: Path) -> None:
        """Write factors and moments."""
        arrays = {"factors": self.factors, "taken": self.taken, "mean": self.mean, "covariance": self.covariance}
        save_model(path, name=self.name, settings=self.settings, arrays=arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        _, settings, arrays = load_model(path)
        model = cls(**settings)
        model.factors, model.taken = arrays["factors"], arrays["taken"]
        model.mean, model.covariance = arrays["mean"], arrays["covariance"]
        model._prepare()
        return model
