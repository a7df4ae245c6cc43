"""Models ranked by block products, each list made exact by the past items' parts of its promising items."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from recsys.models.base import Floats, Mask, Moments, Rows, checked, require
from recsys.models.served import Served, refuse
from recsys.topk import TopK

STEP = 256  # users ranked at once
MEASURED = 4096  # training users, evenly spaced, over whom spreads and moments are measured
DOUBT = 1e-4  # of the largest score in a row: what a block product may be off by


class DenseModel(Served):
    """A model that scores every item for everybody and has neither vectors nor a similarity that says it all."""

    @property
    def items(self) -> int:
        return len(self.trained)

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
        refuse(vectors)
        evidence = checked(evidence, items=len(self.trained))
        allowed = self.trained if within is None else self.trained & within
        found: list[Rows] = []
        for start in range(0, evidence.shape[0], STEP):
            block = slice(start, start + STEP)
            found += _promising(
                self.dense(evidence[block]), k, allowed, evidence[block], None if exclude is None else exclude[block]
            )
        return self._ranked(evidence, found, k)

    def scores(
        self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows, *, vectors: Floats | None = None
    ) -> Floats:
        """Return (R,) scores of given pairs, the sums of their parts."""
        refuse(vectors)
        return self.summed(evidence, user_of_row, item_row)

    def measure(self, sample: csr_matrix) -> Moments:
        """Return the moments of the scores over some users."""
        users, items = sample.shape
        total, squares = np.zeros(items), np.zeros(items)
        for start in range(0, users, STEP):
            scores = self.dense(sample[start : start + STEP]).astype(np.float64)
            total += scores.sum(axis=0)
            squares += np.square(scores).sum(axis=0)
        mean = total / max(users, 1)
        std = np.sqrt(np.maximum(squares / max(users, 1) - mean**2, 0))
        return Moments(mean.astype(np.float32), std.astype(np.float32))

    def _ranked(self, evidence: csr_matrix, found: list[Rows], k: int) -> TopK:
        """Score promising rows exactly and keep the k best of each user, ties by lower row."""
        widths = np.array([len(rows) for rows in found], np.int64)
        owner = np.repeat(np.arange(len(found), dtype=np.int32), widths)
        rows = np.concatenate([np.empty(0, np.int32), *found])
        score = self.summed(evidence, owner, rows)
        order = np.lexsort((rows, -score, owner))
        starts = np.cumsum(widths) - widths
        order = order[np.arange(len(order)) - np.repeat(starts, widths) < k]
        offsets = np.concatenate([[0], np.cumsum(np.minimum(widths, k))]).astype(np.int64)
        return TopK(offsets, rows[order], score[order])


def some_users(matrix: csr_matrix) -> csr_matrix:
    """Return at most 4,096 rows, evenly spaced.

    Example:
        >>> some_users(csr_matrix((10_000, 3))).shape
        (4096, 3)
    """
    rows = np.unique(np.linspace(0, max(matrix.shape[0] - 1, 0), MEASURED).astype(np.int64))
    return matrix[rows[: matrix.shape[0]]]


def _promising(scores: Floats, k: int, allowed: Mask, evidence: csr_matrix, exclude: csr_matrix | None) -> list[Rows]:
    """Return the rows that may be among each user's k best, sorted; ``scores`` (U, I) are written over."""
    scores[:, ~allowed] = -np.inf
    if exclude is not None:
        scores[np.repeat(np.arange(len(scores)), np.diff(exclude.indptr)), exclude.indices] = -np.inf
    found = []
    for user, row in enumerate(scores):
        if evidence.indptr[user] == evidence.indptr[user + 1]:
            found.append(np.empty(0, np.int32))
            continue
        bar = np.partition(row, len(row) - k)[len(row) - k] if k < len(row) else -np.inf
        doubt = DOUBT * np.abs(row[np.isfinite(row)]).max(initial=0)
        found.append(np.flatnonzero((row >= bar - doubt) & np.isfinite(row)).astype(np.int32))
    return found
