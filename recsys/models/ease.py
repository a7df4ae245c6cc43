"""EASE: the item-item weights that rebuild every user's row best, in closed form (Steck 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.sparse import csr_matrix, hstack

from recsys.models.base import ModelError, Progress, Rows, checked, raised, require
from recsys.models.factors import taken
from recsys.models.similar import Similarity, SimilarityModel
from recsys.models.store import load_model

STEP = 256  # items solved for at once


@dataclass(frozen=True, kw_only=True, eq=False)
class EASE(SimilarityModel):
    """Linear autoencoder without self-similarity; a system of min(users, items) unknowns is solved once.

    Args:
        regularization: ridge, above 0.
        power: of the weights; 1 = as given, 0.5 = square roots, 0 = taken or not.
        neighbours: most past items that speak for one item, the strongest by size; null = all.
        most_items: refuse larger catalogues, as weights take items squared.

    Example:
        >>> boards = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32))
        >>> model = EASE(regularization=1.0).fit(boards, seed=0)
        >>> session = csr_matrix(np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32))
        >>> model.top(session, k=2, exclude=session).item_row.tolist()
        [2, 3]
    """

    name: ClassVar[str] = "ease"

    regularization: float = 1000.0
    power: float = 0.0
    neighbours: int | None = 2000
    most_items: int = 20_000
    state: Similarity | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require("regularization", self.regularization, above=0)
        require("power", self.power, at_least=0)
        require("most_items", self.most_items, at_least=1)
        if self.neighbours is not None:
            require("neighbours", self.neighbours, at_least=1)

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Return the model fitted to users x items; nothing is drawn, so the seed does not matter."""
        given = raised(checked(matrix), self.power)
        seen = np.flatnonzero(taken(given))
        if len(seen) > self.most_items:
            raise ModelError(
                f"`most_items` must be at least {len(seen)}, the items taken, but is {self.most_items}; "
                "raise it or choose another model"
            )
        if not len(seen):
            return replace(self, state=Similarity.of(csr_matrix((given.shape[1], given.shape[1])), given))
        weights = _weights(given[:, seen], self.regularization, self.neighbours, progress)
        whole = csr_matrix(
            (weights.data, seen[weights.indices], _spread(weights.indptr, seen, given.shape[1])),
            shape=(given.shape[1], given.shape[1]),
        )
        return replace(self, state=Similarity.of(whole, given))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        return cls(**settings, state=Similarity.of_arrays(arrays))


def _weights(given: csr_matrix, regularization: float, neighbours: int | None, progress: Progress | None) -> csr_matrix:
    """Return a_ij / (1 - a_jj) off the diagonal, a = G (G + r I)^-1 for the Gram matrix G, block by block.

    With fewer users than items, a = X' (X X' + r I)^-1 X spares the items-squared system.
    """
    users, items = given.shape
    ridge = np.float32(regularization)
    short = users < items
    gram = (given @ given.T if short else given.T @ given).toarray()
    gram[np.diag_indices_from(gram)] += ridge
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    blocks = []
    for start in range(0, items, STEP):
        stop = min(start + STEP, items)
        if short:
            solved = scipy.linalg.cho_solve(factor, given[:, start:stop].toarray(), check_finite=False)
            part = given.T @ solved
        else:
            unit = np.eye(items, stop - start, -start, dtype=np.float32)
            part = unit - ridge * scipy.linalg.cho_solve(factor, unit, check_finite=False)
        own = np.arange(stop - start)
        part /= 1 - part[own + start, own]
        part[own + start, own] = 0
        if neighbours is not None and neighbours < items:
            bar = np.partition(np.abs(part), items - neighbours, axis=0)[items - neighbours]
            part[np.abs(part) < bar] = 0
        blocks.append(csr_matrix(part))
        if progress is not None:
            progress(stop, items)
    return csr_matrix(hstack(blocks, format="csr", dtype=np.float32))


def _spread(indptr: Rows, seen: npt.NDArray[np.intp], items: int) -> Rows:
    """Return row ends over all items of a matrix that has rows for ``seen`` alone."""
    widths = np.zeros(items, np.int64)
    widths[seen] = np.diff(indptr)
    return np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
