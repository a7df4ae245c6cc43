"""Models whose score is evidence times an item-item similarity: what past items say of others adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.models import kernel
from recsys.models.base import Affine, Floats, Mask, ModelError, Moments, Rows, checked, raised, require
from recsys.models.factors import taken
from recsys.models.served import Block, Served, refuse, shared
from recsys.models.store import check_shapes
from recsys.topk import TopK, topk_sparse

STEP = 256  # users measured at once


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """What is learned.

    Attributes:
        weights: (I, I) csr float32; row: a past item, column: what it speaks for.
        mean: (I,) float32, mean score over the training users.
        std: (I,) float32, standard deviation of it.
        trained: (I,) bool, taken by anybody in training.
    """

    weights: csr_matrix
    mean: Floats
    std: Floats
    trained: Mask

    @classmethod
    def of(cls, weights: csr_matrix, given: csr_matrix) -> Self:
        """Measure the scores of the training users, whose (transformed) evidence is ``given``."""
        users, items = given.shape
        total, squares = np.zeros(items), np.zeros(items)
        for start in range(0, users, STEP):
            scores = given[start : start + STEP] @ weights
            total += np.bincount(scores.indices, weights=scores.data, minlength=items)
            squares += np.bincount(scores.indices, weights=scores.data.astype(np.float64) ** 2, minlength=items)
        mean = total / max(users, 1)
        std = np.sqrt(np.maximum(squares / max(users, 1) - mean**2, 0))
        return cls(weights, mean.astype(np.float32), std.astype(np.float32), taken(given))

    @classmethod
    def of_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Take up what ``arrays`` gave; where it does not tell the trained items, they are those with any similarity.

        Raises:
            ValueError: shapes do not fit.
        """
        items = (len(arrays["mean"]),)
        check_shapes(arrays, weights=2 * items, std=items)
        speaking = np.diff(arrays["weights"].indptr) > 0
        arrays = {"trained": speaking | taken(arrays["weights"])} | arrays
        check_shapes(arrays, trained=items)
        return cls(**arrays)


class SimilarityModel(Served):
    """A model of past items that speak for others; a subclass fits the similarity."""

    power: float
    state: Similarity | None

    @property
    def known(self) -> Similarity:
        """What the fit has learned."""
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    @property
    def items(self) -> int:
        return int(self.known.weights.shape[0])

    @property
    def trained(self) -> Mask:
        return self.known.trained

    def vectors(self, evidence: csr_matrix) -> None:
        """Return None: there are no user vectors, so no blindfold either."""

    def top(
        self,
        evidence: csr_matrix,
        *,
        k: int,
        exclude: csr_matrix | None = None,
        within: Mask | None = None,
        vectors: Floats | None = None,
    ) -> TopK:
        """Return each user's at most k best items that a past item speaks for, see ``Recommender.top``."""
        require("k", k, at_least=1)
        refuse(vectors)
        given = self.given(evidence)
        if exclude is None:
            return topk_sparse(self.known.weights, given, k, within=within)
        return topk_sparse(self.known.weights, given, k, exclude.indptr, exclude.indices, within=within)

    def scores(
        self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows, *, vectors: Floats | None = None
    ) -> Floats:
        """Return (R,) scores of given pairs."""
        refuse(vectors)
        given, weights = self.given(evidence), self.known.weights
        user_of_row, out = np.asarray(user_of_row), np.zeros(len(item_row), np.float32)
        for start in range(0, given.shape[0], STEP):
            here = (user_of_row >= start) & (user_of_row < start + STEP)
            if not here.any():
                continue
            scores = given[start : start + STEP] @ weights
            out[here] = np.asarray(scores[user_of_row[here] - start, item_row[here]]).ravel()
        return out

    def dense(self, evidence: csr_matrix) -> Floats:
        """Return (U, I) scores."""
        return np.asarray((self.given(evidence) @ self.known.weights).toarray(), np.float32)

    def moments(self, blind: Affine | None = None) -> Moments:
        """Return each item's mean score and deviation over the training users, measured in the fit."""
        refuse(blind)
        return Moments(self.known.mean, self.known.std)

    def base(self, item_row: Rows, *, blind: Affine | None) -> Floats:
        """Return zeros: every score is carried by past items."""
        refuse(blind)
        return np.zeros(len(item_row), np.float32)

    def add_parts(self, block: Block, *, blind: Affine | None, weight: float) -> None:
        """Add ``weight`` times evidence times similarity to ``block.parts``."""
        refuse(blind)
        given, sim = self.given(block.evidence), self.known.weights
        shared(
            lambda start, stop: kernel.add_similar_parts(
                sim.indptr, sim.indices, sim.data, given.indptr, given.indices, given.data,
                block.offsets, block.item_row, block.starts, weight, start, stop, block.parts,
            ),
            block.users,
        )  # fmt: skip

    def given(self, evidence: csr_matrix) -> csr_matrix:
        """Return the evidence as the similarity takes it: weights to the model's power."""
        return raised(checked(evidence, items=self.known.weights.shape[0]), self.power)

    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return what is to be saved beside the settings."""
        names = ("weights", "mean", "std", "trained")
        return {name: getattr(self.known, name) for name in names}


def strongest(weights: csr_matrix, neighbours: int | None) -> csr_matrix:
    """Return the similarity with at most this many past items speaking for each item, the strongest by size.

    Example:
        >>> strongest(csr_matrix(np.array([[0, 2.0], [1.0, -3.0]])), 1).toarray().tolist()
        [[0.0, 0.0], [1.0, -3.0]]
    """
    if neighbours is None or neighbours >= weights.shape[0]:
        return weights
    columns = weights.tocsc()
    widths = np.diff(columns.indptr)
    order = np.lexsort((-np.abs(columns.data), np.repeat(np.arange(len(widths)), widths)))
    place = np.arange(columns.nnz) - np.repeat(columns.indptr[:-1], widths)
    columns.data[order[place >= neighbours]] = 0
    kept = csr_matrix(columns)
    kept.eliminate_zeros()
    kept.sort_indices()
    return kept
