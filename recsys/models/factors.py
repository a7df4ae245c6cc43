"""Models whose score is user vector times item vector: ranking, moments, and taking a blindfold along."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.models.base import Affine, Floats, Mask, ModelError, Moments, Rows, checked, require
from recsys.models.served import Block, Served
from recsys.models.store import check_shapes
from recsys.topk import ItemIndex, TopK, topk

SHELVES = 4  # indexes kept, for the masks asked last


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Item vectors, and how user vectors lie in training.

    Attributes:
        item: (I, d) float32 item vectors.
        trained: (I,) bool, taken by anybody in training; only these are ranked.
        mean: (d,) float32, mean of the training users' vectors.
        covariance: (d, d) float32, their covariance.
    """

    item: Floats
    trained: Mask
    mean: Floats
    covariance: Floats
    _index_of: dict[int | bytes, tuple[Mask | None, ItemIndex]] = field(default_factory=dict, init=False, repr=False)
    _along: dict[str, tuple[Affine, Floats]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, item: Floats, users: Floats, trained: Mask) -> Self:
        """Measure the training users' vectors, (U, d); nobody at all counts as one user of zeros."""
        if not len(users):
            users = np.zeros((1, item.shape[1]), np.float32)
        mean = users.mean(axis=0, dtype=np.float64)
        centred = users - mean.astype(np.float32)
        covariance = centred.T @ centred / np.float32(len(users))
        return cls(np.ascontiguousarray(item, np.float32), trained, mean.astype(np.float32), covariance)

    @classmethod
    def of_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Take up what ``arrays`` gave; raise ``ValueError`` where shapes do not fit."""
        items, size = arrays["item"].shape
        check_shapes(arrays, trained=(items,), mean=(size,), covariance=(size, size))
        return cls(*(arrays[name] for name in ("item", "trained", "mean", "covariance")))

    def padded(self, items: int) -> Factors:
        """Return factors of so many items; the new ones, at the end, are zeros and not trained."""
        more = items - len(self.item)
        item = np.concatenate([self.item, np.zeros((more, self.item.shape[1]), np.float32)])
        return Factors(item, np.concatenate([self.trained, np.zeros(more, bool)]), self.mean, self.covariance)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is to be saved."""
        return {name: getattr(self, name) for name in ("item", "trained", "mean", "covariance")}

    def index(self, within: Mask | None) -> ItemIndex:
        """Return the index of the trained items in the mask; the ones asked last are kept.

        A mask that cannot be written to is known again by its identity, any other by what it holds.
        """
        key: int | bytes = b""
        if within is not None:
            key = within.tobytes() if within.flags.writeable else id(within)
        held, index = self._index_of.get(key, (None, None))
        if index is None or (isinstance(key, int) and held is not within):
            index = ItemIndex.build(self.item).within(self.trained if within is None else self.trained & within)
            while len(self._index_of) >= SHELVES:
                self._index_of.pop(next(iter(self._index_of)), None)
            self._index_of[key] = within, index  # the mask is held, so that no other gets its id
        return index

    def along(self, blind: Affine) -> Floats:
        """Return (I, d): what an unblinded vector meets in each item; the one asked last is kept."""
        known, along = self._along.get("last", (None, self.item))
        if known is not blind:
            along = np.ascontiguousarray(self.item @ blind.matrix, np.float32)
            self._along["last"] = blind, along
        return along


class FactorModel(Served):
    """A model with user vectors; a subclass fits, makes vectors and adds parts."""

    @property
    def items(self) -> int:
        return len(self.known.item)

    @property
    def trained(self) -> Mask:
        return self.known.trained

    @property
    def dimensions(self) -> int:
        return int(self.known.item.shape[1])

    @abstractmethod
    def vectors(self, evidence: csr_matrix) -> Floats:
        """Return (U, d) user vectors computed from the evidence row alone."""

    @property
    @abstractmethod
    def known(self) -> Factors:
        """What the fit has learned."""

    def top(
        self,
        evidence: csr_matrix,
        *,
        k: int,
        exclude: csr_matrix | None = None,
        within: Mask | None = None,
        vectors: Floats | None = None,
    ) -> TopK:
        """Return each user's at most k best items that anybody took in training, see ``Recommender.top``."""
        require("k", k, at_least=1)
        evidence = checked(evidence)
        given = self.vectors(evidence) if vectors is None else vectors
        silent = evidence.indptr[1:] == evidence.indptr[:-1]
        if np.count_nonzero(silent):  # a vector that is no number gets an empty list, and so does no evidence
            given = np.where(silent[:, None], np.float32(np.nan), given)
        index = self.known.index(within)
        if exclude is None:
            return topk(index, given, k)
        return topk(index, given, k, exclude.indptr, exclude.indices)

    def scores(
        self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows, *, vectors: Floats | None = None
    ) -> Floats:
        """Return (R,) scores of given pairs, summed in float64 and rounded as the ranking's are."""
        given = self.vectors(evidence) if vectors is None else vectors
        left, right = given[user_of_row].astype(np.float64), self.known.item[item_row]
        return np.asarray(np.einsum("rd,rd->r", left, right), np.float32)

    def dense(self, evidence: csr_matrix) -> Floats:
        """Return (U, I) scores by one block product."""
        return np.asarray(self.vectors(evidence) @ self.known.item.T, np.float32)

    def moments(self, blind: Affine | None = None) -> Moments:
        """Return each item's mean score and deviation, in closed form from the user vectors' moments."""
        known = self.known
        along = self.along(slice(None), blind=blind)
        mean = along @ known.mean + self.base(slice(None), blind=blind)
        spread = np.einsum("id,id->i", along @ known.covariance, along)
        return Moments(mean.astype(np.float32), np.sqrt(np.maximum(spread, 0)).astype(np.float32))

    def along(self, item_row: Rows | slice, *, blind: Affine | None) -> Floats:
        """Return (R, d): what an unblinded vector meets to give the served score, but for the base."""
        item = self.known.item
        if blind is None:
            return item[item_row]
        size = item.shape[1]
        if blind.matrix.shape != (size, size):
            raise ModelError(f"blindfold must be {size} x {size} like the vectors but is {blind.matrix.shape}")
        return self.known.along(blind)[item_row]

    def base(self, item_row: Rows | slice, *, blind: Affine | None) -> Floats:
        """Return (R,): what a blindfold's offset adds for everybody."""
        item = self.known.item[item_row]
        return np.zeros(len(item), np.float32) if blind is None else np.asarray(item @ blind.offset, np.float32)

    def add_parts(self, block: Block, *, blind: Affine | None, weight: float) -> None:
        """Add ``weight`` times what each past item adds to each candidate's score to ``block.parts``."""
        self.add_parts_along(block, self.along(block.item_row, blind=blind), weight=weight)

    @abstractmethod
    def add_parts_along(self, block: Block, along: Floats, *, weight: float) -> None:
        """Add the parts of vector times ``along`` (R, d), what the vector meets in each candidate."""

    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return what is to be saved beside the settings."""
        return {**self.known.arrays()}


def taken(matrix: csr_matrix) -> Mask:
    """Return which items anybody took, (I,) bool.

    Example:
        >>> taken(csr_matrix(np.array([[0, 2], [0, 1]]))).tolist()
        [False, True]
    """
    return np.asarray(np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0)
