"""A linear filter of the interaction graph: past items are projected on what shoppers have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags
from threadpoolctl import threadpool_limits

from recsys.models import kernel
from recsys.models.base import Floats, ModelError, Progress, checked, raised, require
from recsys.models.factors import FactorModel, Factors, taken
from recsys.models.served import Block, shared
from recsys.models.store import check_shapes, load_model


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """What is learned: where a past item sends a user, and how vectors meet items.

    Attributes:
        past: (I, d) float32; a user's vector is the weighted sum of the past items' rows.
        factors: item vectors and moments.
    """

    past: Floats
    factors: Factors


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectral(FactorModel):
    """Truncated singular vectors of the weighted matrix, each kept by (s^2 / (s^2 + ridge * sum s^2)) ** steepness.

    With all factors, steepness one and no exponents this is ridge regression of every item on all items,
    which EASE is but for its diagonal (Steck 2019); exponents 0.5 and no ridge are the low-pass of GF-CF
    (Shen et al. 2021).

    Args:
        factors: length of a vector, at least 1; at most min(users, items) are used.
        ridge: share of all squared weights, at least 0; more smooths more.
        steepness: how sharply the filter falls from strong directions to weak ones, above 0.
        power: of the weights; 1 = as given, 0.5 = square roots, 0 = taken or not.
        user_exponent: rows are divided by their sum to it, at least 0.
        item_exponent: columns are divided by their sum to it, at least 0.
        out_exponent: scores are multiplied by the column's sum to it; null = back by ``item_exponent``.
        rounds: power iterations of the randomized solver, at least 0.

    Example:
        >>> boards = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32))
        >>> model = Spectral(factors=2).fit(boards, seed=0)
        >>> session = csr_matrix(np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32))
        >>> sorted(model.top(session, k=2, exclude=session).item_row.tolist())
        [2, 3]
    """

    name: ClassVar[str] = "spectral"

    factors: int = 256
    ridge: float = 0.003
    steepness: float = 1.0
    power: float = 0.5
    user_exponent: float = 0.0
    item_exponent: float = 0.0
    out_exponent: float | None = None
    rounds: int = 4
    state: Filter | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require("factors", self.factors, at_least=1)
        require("steepness", self.steepness, above=0)
        for name in ("ridge", "power", "user_exponent", "item_exponent", "rounds"):
            require(name, getattr(self, name), at_least=0)

    @property
    def known(self) -> Factors:
        return self._filter.factors

    @property
    def _filter(self) -> Filter:
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Return the model fitted to users x items (randomized SVD, Halko, Martinsson, Tropp 2011)."""
        from sklearn.utils.extmath import randomized_svd

        matrix = checked(matrix)
        given, seen = raised(matrix, self.power), taken(matrix)
        scale = _scale(given, axis=0, exponent=self.item_exponent)
        weighed = csr_matrix(self._rows(given) @ diags(scale), dtype=np.float32)
        size = min(self.factors, *given.shape)
        past, item = (np.zeros((given.shape[1], self.factors), np.float32) for _ in range(2))
        if given.nnz:
            with threadpool_limits(1, "blas"):
                _, values, right = randomized_svd(weighed, size, n_iter=self.rounds, random_state=int(seed))
            whole = float(np.square(weighed.data, dtype=np.float64).sum())
            kept = (values**2 / (values**2 + self.ridge * whole)) ** self.steepness
            past[:, :size] = right.T * scale[:, None]
            out = scale if self.out_exponent is None else _scale(given, axis=0, exponent=self.out_exponent)
            item[seen, :size] = (right.T * kept)[seen] / out[seen, None]
        if progress is not None:
            progress(1, 1)
        users = np.asarray(self._rows(given) @ past, np.float32)
        return replace(self, state=Filter(past, Factors.of(item, users, seen)))

    def vectors(self, evidence: csr_matrix) -> Floats:
        """Return (U, d): the past items' rows, weighed and summed."""
        past = self._filter.past
        evidence = checked(evidence, items=len(past))
        return np.asarray(self._rows(raised(evidence, self.power)) @ past, np.float32)

    def add_parts_along(self, block: Block, along: Floats, *, weight: float) -> None:
        """Add w_j along' p_j for every past item j."""
        given = self._rows(raised(block.evidence, self.power))
        shared(
            lambda start, stop: kernel.add_summed_parts(
                self._filter.past, along, given.indptr, given.indices, given.data,
                block.offsets, block.starts, weight, start, stop, block.parts,
            ),
            block.users,
        )  # fmt: skip

    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return what is to be saved beside the settings."""
        return {"past": self._filter.past, **self.known.arrays()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        check_shapes(arrays, past=arrays["item"].shape)
        return cls(**settings, state=Filter(arrays["past"], Factors.of_arrays(arrays)))

    def _rows(self, given: csr_matrix) -> csr_matrix:
        if self.user_exponent == 0:
            return given
        scale = _scale(given, axis=1, exponent=self.user_exponent)
        data = given.data * np.repeat(scale, np.diff(given.indptr))
        return csr_matrix((data, given.indices, given.indptr), shape=given.shape)


def _scale(given: csr_matrix, *, axis: int, exponent: float) -> Floats:
    """Return sum ** -exponent along an axis, one where the sum is zero."""
    total = np.asarray(given.sum(axis=axis), np.float64).ravel()
    return (np.where(total > 0, total, 1.0) ** -exponent).astype(np.float32)
