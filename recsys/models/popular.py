"""The same list for everybody: what most people took."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.models.base import Affine, Floats, Mask, ModelError, Moments, Progress, Rows, checked, require
from recsys.models.served import Block, Served, refuse
from recsys.models.store import load_model
from recsys.topk import ItemIndex, TopK, topk


@dataclass(frozen=True, kw_only=True, eq=False)
class Popular(Served):
    """Items by how many took them; no past item speaks for any of them, and no evidence gives no list.

    Example:
        >>> model = Popular().fit(csr_matrix(np.array([[1, 1, 0], [0, 5, 0]], np.float32)), seed=0)
        >>> model.top(csr_matrix(np.array([[0, 0, 1]], np.float32)), k=9).item_row.tolist()
        [1, 0]
    """

    name: ClassVar[str] = "popular"

    state: Floats | None = field(default=None, repr=False)

    @property
    def known(self) -> Floats:
        """(I,): how many took each item."""
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    @property
    def items(self) -> int:
        return len(self.known)

    @property
    def trained(self) -> Mask:
        return self.known > 0

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Count users x items; the seed does not matter."""
        matrix = checked(matrix)
        return replace(self, state=np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float32))

    def vectors(self, evidence: csr_matrix) -> None:
        """Return None: there are no user vectors."""

    def top(
        self,
        evidence: csr_matrix,
        *,
        k: int,
        exclude: csr_matrix | None = None,
        within: Mask | None = None,
        vectors: Floats | None = None,
    ) -> TopK:
        """Return each user's at most k most taken items, see ``Recommender.top``."""
        require("k", k, at_least=1)
        refuse(vectors)
        evidence = checked(evidence, items=len(self.known))
        mask = self.known > 0 if within is None else (self.known > 0) & within
        index = ItemIndex.build(self.known[:, None]).within(mask)
        ones = np.where(np.diff(evidence.indptr) > 0, np.float32(1), np.float32(np.nan))[:, None]
        if exclude is None:
            return topk(index, ones, k)
        return topk(index, ones, k, exclude.indptr, exclude.indices)

    def scores(
        self,
        evidence: csr_matrix,  # noqa: ARG002
        user_of_row: Rows,  # noqa: ARG002
        item_row: Rows,
        *,
        vectors: Floats | None = None,
    ) -> Floats:
        """Return (R,) counts of given items."""
        refuse(vectors)
        return self.known[item_row]

    def dense(self, evidence: csr_matrix) -> Floats:
        """Return (U, I): the counts for everybody."""
        return np.tile(self.known, (evidence.shape[0], 1))

    def moments(self, blind: Affine | None = None) -> Moments:
        """Return the counts, which do not vary between users."""
        refuse(blind)
        return Moments(self.known, np.zeros_like(self.known))

    def base(self, item_row: Rows, *, blind: Affine | None) -> Floats:
        """Return the whole score: no past item carries any of it."""
        refuse(blind)
        return self.known[item_row]

    def add_parts(self, block: Block, *, blind: Affine | None, weight: float) -> None:
        """Add nothing."""

    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return the counts."""
        return {"buyers": self.known}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        _, settings, arrays = load_model(path)
        return cls(**settings, state=arrays["buyers"])
