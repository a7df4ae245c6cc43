"""What a recommender is to the engine: it fits a matrix, then answers for any evidence row, seen or not.

Evidence is a csr matrix of U users x I items (float32, non-negative, sorted indices): what each of U people
took. It need not be rows of the training matrix: a guest's session is a row too. Answers depend on the row
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.models import kernel
from recsys.topk import TopK

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]  # steps done, steps in all
LARGEST_SEED = 2**32 - 1  # that all who draw take


class ModelError(ValueError):
    """A setting, matrix or evidence a model cannot work with."""


class Affine(Protocol):
    """A map applied to user vectors as ``vectors @ matrix.T + offset``; the blindfold is one."""

    @property
    def matrix(self) -> Floats:
        """(d, d) float32."""

    @property
    def offset(self) -> Floats:
        """(d,) float32."""


class Moments(NamedTuple):
    """Mean and standard deviation of each item's score over the training users."""

    mean: Floats  # (I,) float32
    std: Floats  # (I,) float32


class Trace(NamedTuple):
    """What carries each candidate: one row a candidate."""

    share: Floats  # (R,) float32: largest positive contribution / sum of positive ones; 0 where none is positive
    evidence_row: Rows  # (R,) int32: the past item that contribution comes from; -1 where none is positive


class Solved(NamedTuple):
    """User vectors, and what finding them left behind that taking their scores apart needs again."""

    vectors: Floats | None  # (U, d) float32
    systems: Floats | None  # (U, d, d) float32: factorized least-squares systems, see ``kernel.factorize``


class Contributions(NamedTuple):
    """A score taken apart: ``base + parts.sum(axis=1)`` is the served score."""

    evidence_row: Rows  # (H,) int32: the past items
    parts: Floats  # (R, H) float32
    base: Floats  # (R,) float32: what no past item carries, such as a blindfold's offset


@runtime_checkable
class Recommender(Protocol):
    """A collaborative-filtering model; ``blind`` is None everywhere for a model without vectors."""

    @property
    def name(self) -> str:
        """The word under which the model is stored and listed."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the data that shaped the fit, as plain words and numbers."""

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Learn from users x items (csr float32); same matrix, settings and seed give the same model."""

    def grown(self, evidence: csr_matrix, *, seed: int) -> Self:
        """Return the fitted model for a catalogue that has grown to the evidence's items; the new ones come last.

        New to the model are also items that nobody had taken until now. Those it was trained on stay what they are in
        a model that can take up new ones alone; any other is fitted anew. An item that nobody took is never ranked.
        """

    def vectors(self, evidence: csr_matrix) -> Floats | None:
        """Return (U, d) user vectors computed from the evidence row alone, or None if the model has none."""

    def solved(self, evidence: csr_matrix) -> Solved:
        """Return ``vectors`` with what ``trace`` may take up, so that nothing is solved twice."""

    def top(
        self,
        evidence: csr_matrix,
        *,
        k: int,
        exclude: csr_matrix | None = None,
        within: Mask | None = None,
        vectors: Floats | None = None,
    ) -> TopK:
        """Return each user's at most k best items, exact, among those anybody took in training.

        An empty evidence row gives an empty list; a list shorter than k is not padded.

        Args:
            evidence: (U, I).
            k: at least 1.
            exclude: (U, I); the stored entries of row u are not offered to user u.
            within: (I,) bool; only these items are offered.
            vectors: (U, d), used in place of ``self.vectors(evidence)``, say after a blindfold.
        """

    def scores(
        self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows, *, vectors: Floats | None = None
    ) -> Floats:
        """Return (R,) scores of given pairs: row ``user_of_row[r]`` of the evidence, item ``item_row[r]``."""

    def moments(self, blind: Affine | None = None) -> Moments:
        """Return each item's mean score and standard deviation over the training users."""

    def trace(
        self,
        evidence: csr_matrix,
        offsets: Offsets,
        item_row: Rows,
        *,
        blind: Affine | None = None,
        systems: Floats | None = None,
    ) -> Trace:
        """Return what carries each candidate; user u's, each once, are ``offsets[u]:offsets[u + 1]``.

        ``systems`` are those of ``solved`` for the same evidence; without them they are made anew.
        """

    def contributions(self, evidence: csr_matrix, item_row: Rows, *, blind: Affine | None = None) -> Contributions:
        """Take the scores of one user (evidence of one row) for some items apart, item by past item."""

    def save(self, path: Path) -> None:
        """Write the fitted model into a directory."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""


def checked(matrix: csr_matrix, *, items: int | None = None) -> csr_matrix:
    """Return the matrix as csr float32, sorted, without stored zeros, or say what is wrong with it.

    Raises:
        ModelError: not csr, a wrong number of items, or a weight that is negative or not finite.

    Example:
        >>> checked(csr_matrix(np.eye(2))).dtype
        dtype('float32')
    """
    if not isinstance(matrix, csr_matrix):
        raise ModelError(f"matrix must be a scipy csr_matrix but is {type(matrix).__name__}")
    if items is not None and matrix.shape[1] != items:
        raise ModelError(f"evidence must have {items} items as in training but has {matrix.shape[1]}")
    if matrix.data.dtype != np.float32:
        with np.errstate(over="ignore"):
            matrix = matrix.astype(np.float32)
    sound, full = kernel.weights(matrix.data)
    if not sound:
        raise ModelError("weights must be finite and at least 0")
    if not full or not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def require(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> None:
    """Refuse a setting outside its bounds, NaN included.

    Example:
        >>> require("factors", 0, at_least=1)
        Traceback (most recent call last):
        recsys.models.base.ModelError: `factors` must be at least 1 but got 0
    """
    if at_least is not None and not value >= at_least:
        raise ModelError(f"`{name}` must be at least {at_least} but got {value}")
    if above is not None and not value > above:
        raise ModelError(f"`{name}` must be above {above} but got {value}")
    if at_most is not None and not value <= at_most:
        raise ModelError(f"`{name}` must be at most {at_most} but got {value}")


def raised(matrix: csr_matrix, power: float) -> csr_matrix:
    """Return the matrix with each stored weight to a power; the argument stays as it is."""
    if power == 1:
        return matrix
    return csr_matrix((matrix.data ** np.float32(power), matrix.indices, matrix.indptr), shape=matrix.shape)
