"""How much do lists tell of their shoppers? A quick attacker, for ranking policies; what is quoted comes from `attack`.

Ridge regression on which items a list shows, solved once for all families, judged across folds by the AUC among
shoppers of equal activity.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from boundary.associations import quantile_bins

Doubles = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]
FEWEST = 5  # shoppers who see an item, below which it tells nothing


class LightAttacker:
    """Guesses from shown lists who belongs to a family.

    Args:
        labels: (U, F) bool, who belongs to each family.
        activity: (U,) how busy each shopper is.
        history: (U, I) csr, what an attacker with the whole history sees; leave out what the labels are made of.
        fewest: members and others that a family needs to be judged.
        room: by how much the history must beat activity for a family to be judged.
        bins: quantiles of activity.
        folds: parts, each guessed by what the others teach.
        features: most items that are looked at.
        penalty: of the ridge, as a share of the mean variance sum of a feature.
        seed: of the folds.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.bool_],
        activity: Doubles,
        history: csr_matrix,
        *,
        fewest: int = 40,
        room: float = 0.05,
        bins: int = 10,
        folds: int = 4,
        features: int = 600,
        penalty: float = 20.0,
        seed: int = 0,
    ) -> None:
        users = len(labels)
        level = quantile_bins(activity, bins)
        positives = labels.sum(axis=0)
        self.families = np.flatnonzero(np.minimum(positives, users - positives) >= fewest)
        self._labels = labels[:, self.families]
        self._fold = _folds(level, folds, seed)
        self._stratum = self._fold * bins + level
        self._target = self._labels - _mean_of(self._labels, level)
        self._features, self._penalty = features, penalty
        by_activity = csr_matrix(np.argsort(np.argsort(activity, kind="stable"))[:, None] / max(users, 1))
        self.activity = self._auc(by_activity)
        self.history = self._auc(history)
        self.judged = self.history - self.activity >= room

    def leak_remaining(self, offsets: Offsets, item_row: npt.NDArray[np.int32], *, items: int) -> dict[int, float]:
        """Return for each judged family what part of the history's secret the lists tell; below 0 counts as 0.

        (AUC of the lists - AUC of activity) / (AUC of the history - AUC of activity).
        """
        rows = np.array(item_row, np.int32)  # a copy: the matrix sorts what it holds
        lists = csr_matrix((np.ones(len(rows), np.float32), rows, offsets), shape=(len(offsets) - 1, items))
        lists.sum_duplicates()
        gained = np.maximum(self._auc(lists) - self.activity, 0)
        return {
            int(self.families[place]): float(gained[place] / (self.history[place] - self.activity[place]))
            for place in np.flatnonzero(self.judged)
        }

    def _auc(self, seen: csr_matrix) -> Doubles:
        """Return each family's AUC, (F,), pairs taken within a fold and activity bin."""
        seen = _telling(seen, self._features)
        guesses = np.zeros(self._target.shape)
        if seen.shape[1] and len(self.families):
            for fold in np.unique(self._fold):
                others = self._fold != fold
                guesses[~others] = seen[~others] @ _ridge(seen[others], self._target[others], self._penalty)
        return np.array(
            [auc_within(guesses[:, f], self._labels[:, f], self._stratum) for f in range(len(self.families))]
        )


def auc_within(score: Doubles, member: npt.NDArray[np.bool_], stratum: npt.NDArray[np.int64]) -> float:
    """Return the chance that a member outscores a non-member of the same stratum; ties count half, NaN without pairs.

    Example:
        >>> auc_within(np.array([3.0, 1.0, 9.0]), np.array([True, False, False]), np.array([0, 0, 1]))
        1.0
    """
    order = np.lexsort((score, stratum))
    values, mine, group = score[order], member[order], stratum[order]
    new_group = np.concatenate([[True], group[1:] != group[:-1]])
    new_tie = new_group | np.concatenate([[True], values[1:] != values[:-1]])
    tie = np.cumsum(new_tie) - 1
    others = np.concatenate([[0], np.cumsum(~mine)])
    starts = np.flatnonzero(new_tie)
    ends = np.append(starts[1:], len(order))
    group_start = np.maximum.accumulate(np.where(new_group, np.arange(len(order)), 0))
    below = others[starts][tie] - others[group_start]
    equal = (others[ends] - others[starts])[tie]
    won = float((below + equal / 2)[mine].sum())
    sizes = np.unique(group, return_inverse=True)[1]
    pairs = float((np.bincount(sizes, mine) * np.bincount(sizes, ~mine)).sum())
    return won / pairs if pairs else float("nan")


def _telling(seen: csr_matrix, most: int) -> csr_matrix:
    """Keep the columns that vary most between shoppers."""
    wide = csr_matrix(seen, dtype=np.float64)
    counts = np.bincount(wide.indices, minlength=wide.shape[1])
    spread = np.asarray(wide.multiply(wide).mean(axis=0)).ravel() - np.asarray(wide.mean(axis=0)).ravel() ** 2
    best = np.argsort(-spread, kind="stable")[:most]
    return wide[:, np.sort(best[(counts[best] >= FEWEST) & (spread[best] > 1e-9)])].tocsr()


def _ridge(seen: csr_matrix, target: Doubles, penalty: float) -> Doubles:
    """Return weights, (I, F), of the ridge regression with centred features."""
    users = seen.shape[0]
    mean = np.asarray(seen.mean(axis=0)).ravel()
    gram = np.asarray((seen.T @ seen).todense(), np.float64) - users * np.outer(mean, mean)
    told = seen.T @ target - np.outer(mean, target.sum(axis=0))
    gram[np.diag_indices_from(gram)] += max(penalty * float(np.trace(gram)) / len(gram), 1e-9)
    weights: Doubles = cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), told, check_finite=False)
    return weights


def _folds(level: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal shoppers into folds, alike in activity."""
    order = np.lexsort((np.random.default_rng(seed).random(len(level)), level))
    fold = np.empty(len(level), np.int64)
    fold[order] = np.arange(len(level)) % folds
    return fold


def _mean_of(labels: npt.NDArray[np.bool_], level: npt.NDArray[np.int64]) -> Doubles:
    sums = (
        np.stack([np.bincount(level, column) for column in labels.T], axis=1)
        if labels.shape[1]
        else np.zeros((level.max() + 1, 0))
    )
    return np.asarray((sums / np.maximum(np.bincount(level), 1)[:, None])[level])
