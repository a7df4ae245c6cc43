"""Neighbourhood models: items taken together speak for each other, in three ways; and one for repeats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags
from threadpoolctl import threadpool_limits

from recsys.models.base import ModelError, Progress, checked, raised, require
from recsys.models.factors import taken
from recsys.models.similar import Similarity, SimilarityModel, strongest
from recsys.models.store import load_model


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemItem(SimilarityModel):
    """Items speak for those they were taken with; ``weighting`` says how co-occurrence becomes similarity.

    ``cosine`` and ``bm25`` are implicit's. ``degree`` sums over the users who took both items
    user_degree ** -user_exponent, and divides by past_degree ** past_exponent * item_degree ** item_exponent
    (degrees are sums of weights): a graph filter between cosine and popularity.

    Args:
        weighting: cosine, bm25 or degree.
        neighbours: most past items that speak for one item, the strongest; null = all that co-occur.
        power: of the weights; 1 = as given, 0.5 = square roots, 0 = taken or not.
        sharpness: similarities are raised to it; above 0.
        k1: saturation of bm25, at least 0.
        b: length normalization of bm25, from 0 to 1.
        user_exponent: for degree, at least 0.
        past_exponent: for degree, at least 0.
        item_exponent: for degree, at least 0.

    Example:
        >>> boards = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32))
        >>> model = ItemItem(weighting="degree").fit(boards, seed=0)
        >>> session = csr_matrix(np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32))
        >>> model.top(session, k=5, exclude=session).item_row.tolist()
        [2, 3]
    """

    name: ClassVar[str] = "item_item"

    weighting: str = "bm25"
    neighbours: int | None = 200
    power: float = 1.0
    sharpness: float = 1.0
    k1: float = 1.2
    b: float = 0.75
    user_exponent: float = 0.6
    past_exponent: float = 0.5
    item_exponent: float = 0.3
    state: Similarity | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.weighting not in {"cosine", "bm25", "degree"}:
            raise ModelError(f"`weighting` must be cosine, bm25 or degree but got {self.weighting!r}")
        if self.neighbours is not None:
            require("neighbours", self.neighbours, at_least=1)
        require("sharpness", self.sharpness, above=0)
        require("b", self.b, at_least=0, at_most=1)
        for name in ("power", "k1", "user_exponent", "past_exponent", "item_exponent"):
            require(name, getattr(self, name), at_least=0)

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Return the model fitted to users x items; nothing is drawn, so the seed does not matter."""
        given = raised(checked(matrix), self.power)
        weights = self.similarity(given)
        if progress is not None:
            progress(1, 2)
        state = Similarity.of(weights, given)
        if progress is not None:
            progress(2, 2)
        return replace(self, state=state)

    def similarity(self, given: csr_matrix) -> csr_matrix:
        """Return (I, I) weights, row: a past item; ``given`` is the evidence to the model's power."""
        with threadpool_limits(1, "blas"):
            weights = self._degree(given) if self.weighting == "degree" else self._implicit(given)
        weights.setdiag(0)
        weights.eliminate_zeros()
        weights.sort_indices()
        weights.data **= np.float32(self.sharpness)
        return strongest(weights, self.neighbours)

    def _degree(self, given: csr_matrix) -> csr_matrix:
        user = np.asarray(given.sum(axis=1), np.float64).ravel()
        item = np.asarray(given.sum(axis=0), np.float64).ravel()
        weighed = diags(_power(user, -self.user_exponent)) @ given
        together = csr_matrix(given.T @ weighed)
        past, other = _power(item, -self.past_exponent), _power(item, -self.item_exponent)
        row = np.repeat(np.arange(len(item)), np.diff(together.indptr))
        data = (together.data * past[row] * other[together.indices]).astype(np.float32)
        return csr_matrix((data, together.indices, together.indptr), shape=together.shape)

    def _implicit(self, given: csr_matrix) -> csr_matrix:
        from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight, normalize

        if not given.nnz:
            return csr_matrix(np.zeros((given.shape[1], given.shape[1]), np.float32))
        most = given.shape[1] if self.neighbours is None else min(self.neighbours + 1, given.shape[1])
        weighed = bm25_weight(given.T, self.k1, self.b) if self.weighting == "bm25" else normalize(given.T)
        learner = ItemItemRecommender(K=most)
        learner.fit(csr_matrix(weighed.T), show_progress=False)
        return csr_matrix(learner.similarity, dtype=np.float32).T.tocsr()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        return cls(**settings, state=Similarity.of_arrays(arrays))


@dataclass(frozen=True, kw_only=True, eq=False)
class Own(SimilarityModel):
    """Every past item speaks for itself alone: what somebody takes again and again, for lists of repeats.

    Args:
        power: of the weights; it scales scores but does not reorder them.

    Example:
        >>> own = Own().fit(csr_matrix(np.ones((1, 3), np.float32)), seed=0)
        >>> own.top(csr_matrix(np.array([[1, 0, 3]], np.float32)), k=9).item_row.tolist()
        [2, 0]
    """

    name: ClassVar[str] = "own"

    power: float = 1.0
    state: Similarity | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require("power", self.power, above=0)

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Return the model for the items of users x items."""
        given = raised(checked(matrix), self.power)
        return replace(self, state=Similarity.of(csr_matrix(diags(taken(given).astype(np.float32))), given))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        return cls(**settings, state=Similarity.of_arrays(arrays))


def _power(degree: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    return np.where(degree > 0, np.maximum(degree, np.finfo(np.float64).tiny) ** exponent, 0.0)
