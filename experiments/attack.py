"""Who can tell from the slates alone what a shopper would keep private?

An attacker sees what was shown, nothing else, and guesses who bought in a sensitive family or belongs to a
group. How much a shopper buys explains most of that, so shoppers are compared with equally active ones only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

from boundary.associations import quantile_bins

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Attacker = Literal["ridge", "logistic", "boosting"]
_CENTRED_95 = 1.959963984540054


class Aucs(NamedTuple):
    """How well each label is told, among comparable shoppers; NaN where nobody can be compared.

    Attributes:
        mean: (L,) area under the curve, the mean over the seeds.
        low: (L,) end of the 95 % interval: households and seeds both vary.
        high: (L,) its other end.
        positives: (L,) int64, how many shoppers carry the label.
    """

    mean: Doubles
    low: Doubles
    high: Doubles
    positives: Rows


class Shown(Protocol):
    """Ranked lists: user u's are ``item_row[offsets[u]:offsets[u + 1]]``."""

    @property
    def offsets(self) -> npt.NDArray[np.integer]: ...
    @property
    def item_row(self) -> npt.NDArray[np.integer]: ...


def slate_features(
    shown: Shown, *, items: int, category: npt.NDArray[np.integer] | None = None, repeats: int = 1
) -> sp.csr_matrix:
    """Return what an attacker reads off slates: one column an item, then one count a category, csr (U, columns).

    Args:
        shown: slates; where ``repeats`` slates of each user follow one another, they are counted together.
        items: number of items in the catalogue.
        category: (items,) from 0; without it, items only.
        repeats: slates a user.

    Example:
        >>> class Two(NamedTuple):
        ...     offsets: npt.NDArray[np.int64]
        ...     item_row: npt.NDArray[np.int32]
        >>> slates = Two(np.array([0, 2, 3]), np.array([2, 0, 1], np.int32))
        >>> slate_features(slates, items=3, category=np.array([0, 1, 0])).toarray().astype(int).tolist()
        [[1, 0, 1, 2, 0], [0, 1, 0, 0, 1]]
    """
    offsets = np.asarray(shown.offsets, np.int64)[::repeats]
    once = sp.csr_matrix(
        (np.ones(len(shown.item_row), np.float32), np.array(shown.item_row, np.int32), offsets),  # sorted below: a copy
        shape=(len(offsets) - 1, items),
    )
    once.sum_duplicates()
    if category is None or not items:
        return once
    member = sp.csr_matrix((np.ones(items, np.float32), (np.arange(items), category)))
    return sp.csr_matrix(sp.hstack([once, once @ member], format="csr"))


def attack(
    features: sp.csr_matrix | npt.NDArray[np.floating],
    labels: npt.ArrayLike,
    activity: npt.ArrayLike,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    folds: int = 5,
    bins: int = 10,
    nearest: int = 0,
    attacker: Attacker = "logistic",
) -> Aucs:
    """Guess every label from the features, cross-validated, and return how often a member outranks a non-member.

    Only members and non-members of the same activity quantile are compared, or, with ``nearest``, each member
    with that many non-members most alike in all columns of activity. The interval adds the variance over
    households (DeLong et al. 1988, within quantiles) and over seeds.

    Args:
        features: (U, columns), what the attacker sees.
        labels: (U,) or (U, L): true, false, or NaN for unknown; unknown shoppers are left out for that label.
        activity: (U,) or (U, a); the first column makes the quantiles.
        seeds: one division into folds each.
        folds: parts; each is guessed by an attacker who learned from the others.
        bins: activity quantiles.
        nearest: non-members for each member, instead of quantiles; 0 = quantiles.
        attacker: "logistic" regression, "ridge" (its quick stand-in, all labels at once), or gradient
            "boosting".

    Raises:
        ValueError: lengths differ, or fewer shoppers than folds.

    Example:
        >>> group = np.arange(40) % 2 == 0
        >>> seen = sp.csr_matrix(np.stack([group, ~group], axis=1).astype(np.float32))
        >>> attack(seen, group, np.ones(40), seeds=[0], bins=1).mean.tolist()
        [1.0]
        >>> attack(np.ones((40, 1)), group, np.ones(40), seeds=[0], bins=1).mean.tolist()
        [0.5]
    """
    table = np.asarray(labels, np.float64).reshape(features.shape[0], -1)
    busy = np.asarray(activity, np.float64)
    busy = busy.reshape(len(busy), -1)
    if len(busy) != len(table):
        raise ValueError(f"`activity` must have one row for each of the {len(table)} users but has {len(busy)}")
    out = [np.full(table.shape[1], np.nan) for _ in range(3)]
    known = ~np.isnan(table)
    positives = (table > 0).sum(axis=0)
    alike, group = np.unique(known, axis=1, return_inverse=True)
    with threadpool_limits(1):  # 2 threads that wait for each other are slower than 1
        for which in range(alike.shape[1]):
            rows, columns = np.flatnonzero(alike[:, which]), np.flatnonzero(group == which)
            columns = columns[(positives[columns] > 0) & (positives[columns] < len(rows))]
            if not columns.size:
                continue
            if len(rows) < folds:
                raise ValueError(f"`folds` must be at most the {len(rows)} known users but got {folds}")
            member = table[np.ix_(rows, columns)] > 0
            judge = _judge(member, busy[rows], bins, nearest)
            seen = features[rows]
            guess = _ATTACKERS[attacker](seen)
            areas, spread = zip(*(judge(_guesses(guess, member, folds, seed)) for seed in seeds), strict=True)
            mean = np.mean(areas, axis=0)
            wide = _CENTRED_95 * np.sqrt(np.mean(spread, axis=0) + np.var(areas, axis=0) / len(seeds))
            for place, values in zip(out, (mean, mean - wide, mean + wide), strict=True):
                place[columns] = values
    return Aucs(out[0], out[1], out[2], positives.astype(np.int64))


def leak_remaining(slate: Aucs, activity: Aucs, history: Aucs, *, fewest: int, room: float) -> Doubles:
    """Return (slate - activity) / (history - activity) for each label; NaN where that cannot be judged.

    Activity counts as a coin at least: an attacker whom it misleads knows no less than one who does not look, so a list
    that tells nothing leaves no leak. Not judged: fewer than ``fewest`` members, or a full history that tells less than ``room`` more than activity.

    Example:
        >>> a, b, c = (Aucs(np.array([x]), np.array([x]), np.array([x]), np.array([200])) for x in (.6, .5, .7))
        >>> leak_remaining(a, b, c, fewest=100, room=0.03).round(3).tolist()
        [0.5]
    """
    known = np.maximum(activity.mean, 0.5)
    width = history.mean - known
    judged = (slate.positives >= fewest) & (width >= room)
    return np.where(judged, (slate.mean - known) / np.where(judged, width, 1.0), np.nan)


def mean_leak(leaks: Doubles) -> float:
    """Return the mean over the judged labels, each below 0 counted as 0; NaN where none is judged.

    Example:
        >>> mean_leak(np.array([0.2, -0.4, np.nan]))
        0.1
    """
    judged = leaks[~np.isnan(leaks)]
    return float(np.maximum(judged, 0.0).mean()) if judged.size else float("nan")


def pooled(parts: Sequence[Aucs]) -> Aucs:
    """Return the mean of attacks on disjoint parts of the households, say the two halves of a cross-fit.

    Example:
        >>> half = Aucs(np.array([0.6]), np.array([0.5]), np.array([0.7]), np.array([50]))
        >>> [float(x[0].round(3)) for x in pooled([half, half])][:3]
        [0.6, 0.529, 0.671]
    """
    mean = np.mean([part.mean for part in parts], axis=0)
    wide = np.sqrt(np.sum([((part.high - part.low) / 2) ** 2 for part in parts], axis=0)) / len(parts)
    return Aucs(mean, mean - wide, mean + wide, np.sum([part.positives for part in parts], axis=0))


def parts_of(users: int, *, parts: int, seed: int) -> Rows:
    """Deal the users into parts of equal size, int64 (U,): what is learned without a part is judged on it.

    Example:
        >>> np.bincount(parts_of(5, parts=2, seed=0)).tolist()
        [3, 2]
    """
    dealt = np.arange(users, dtype=np.int64) % parts
    np.random.default_rng(seed).shuffle(dealt)
    return dealt


_Guess = Callable[[Rows, Rows, Bools], Doubles]  # learners, judged, labels of the learners -> scores
_Judge = Callable[[Doubles], tuple[Doubles, Doubles]]  # scores -> areas and their variances


def _guesses(guess: _Guess, member: Bools, folds: int, seed: int) -> Doubles:
    """Score every user by an attacker who did not see that user's labels, (U, L)."""
    fold = parts_of(len(member), parts=folds, seed=seed)
    out = np.zeros(member.shape)
    for part in range(folds):
        learners, judged = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        out[judged] = guess(learners, judged, member[learners])
    return np.round(out, 6)  # identical slates must tie, whatever the order of additions


def _ridge(features: Any) -> _Guess:
    """Kernel ridge regression, penalty in units of the mean squared distance from the mean slate."""
    wide = sp.csr_matrix(features, dtype=np.float32)
    kernel = np.asarray((wide @ wide.T).toarray(), np.float32)
    kernel -= kernel.mean(axis=0)
    kernel -= kernel.mean(axis=1)[:, None]
    ridge = np.float32(max(_PENALTY * float(np.trace(kernel)) / max(len(kernel), 1), 1e-6))

    def guess(learners: Rows, judged: Rows, member: Bools) -> Doubles:
        system = kernel[np.ix_(learners, learners)]
        system[np.diag_indices_from(system)] += ridge
        target = (member - member.mean(axis=0)).astype(np.float32)
        weights = cho_solve(cho_factor(system, lower=True, overwrite_a=True, check_finite=False), target)
        return np.asarray(kernel[np.ix_(judged, learners)] @ weights, np.float64)

    return guess


def _logistic(features: Any) -> _Guess:
    from sklearn.linear_model import LogisticRegression

    wide = sp.csr_matrix(features, dtype=np.float64)
    mean = np.asarray(wide.mean(axis=0)).ravel()
    size = float(wide.multiply(wide).sum()) / max(wide.shape[0], 1) - float(mean @ mean)
    wide = wide / np.sqrt(size) if size > 1e-9 else wide * 0.0

    def one(learners: Rows, judged: Rows, label: Bools) -> Doubles:
        if label.all() or not label.any():
            return np.zeros(len(judged))
        fitted = LogisticRegression(C=_LOGISTIC_C, solver="liblinear", random_state=0)
        fitted.fit(wide[learners], label)
        level = fitted.decision_function(wide[learners]).mean()
        return np.asarray(fitted.decision_function(wide[judged]) - level, np.float64)

    return _each(one)


def _boosting(features: Any) -> _Guess:
    from sklearn.ensemble import HistGradientBoostingClassifier

    wide = sp.csc_matrix(features, dtype=np.float32)
    mean = np.asarray(wide.mean(axis=0)).ravel()
    varied = np.asarray(wide.multiply(wide).mean(axis=0)).ravel() - mean**2
    dense = wide[:, np.argsort(-varied, kind="stable")[:_BOOSTED_COLUMNS]].toarray()

    def one(learners: Rows, judged: Rows, label: Bools) -> Doubles:
        if label.all() or not label.any():
            return np.zeros(len(judged))
        fitted = HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.08, max_leaf_nodes=8, min_samples_leaf=20, early_stopping=False,
            random_state=0,
        )  # fmt: skip
        fitted.fit(dense[learners], label)
        level = fitted.decision_function(dense[learners]).mean()
        return np.asarray(fitted.decision_function(dense[judged]) - level, np.float64)

    return _each(one)


def _each(one: Callable[[Rows, Rows, Bools], Doubles]) -> _Guess:
    """Guess label by label."""
    return lambda learners, judged, member: np.stack([one(learners, judged, label) for label in member.T], axis=1)


_ATTACKERS: dict[str, Callable[[Any], _Guess]] = {
    "ridge": _ridge,
    "logistic": _logistic,
    "boosting": _boosting,
}
_PENALTY = 5.0  # of these three the values that made the attackers strongest on raw slates and full histories
_LOGISTIC_C = 1.0
_BOOSTED_COLUMNS = 256


def _judge(member: Bools, busy: Doubles, bins: int, nearest: int) -> _Judge:
    if nearest:
        partners = [_partners(label, busy, nearest) for label in member.T]
        return lambda scores: _columns([_among(scores[:, i], *pair) for i, pair in enumerate(partners)])
    places = quantile_bins(busy[:, 0], bins)
    strata = [np.flatnonzero(places == place) for place in np.unique(places)]
    return lambda scores: _columns([_within(scores[:, i], label, strata) for i, label in enumerate(member.T)])


def _columns(pairs: list[tuple[float, float]]) -> tuple[Doubles, Doubles]:
    both = np.asarray(pairs, np.float64)
    return both[:, 0], both[:, 1]


def _within(score: Doubles, label: Bools, strata: list[Rows]) -> tuple[float, float]:
    """Return the share of (member, other) pairs of one stratum that are in order, ties a half, and its variance."""
    won, pairs, variance = 0.0, 0, 0.0
    for rows in strata:
        inside, outside = np.sort(score[rows][label[rows]]), np.sort(score[rows][~label[rows]])
        m, n = len(inside), len(outside)
        if not m or not n:
            continue
        above = (np.searchsorted(outside, inside, "left") + np.searchsorted(outside, inside, "right")) / 2
        below = m - (np.searchsorted(inside, outside, "left") + np.searchsorted(inside, outside, "right")) / 2
        won, pairs = won + float(above.sum()), pairs + m * n
        # the share times m n, and the variances of both placements times (m n) ^ 2
        variance += (m * float(np.var(above)) if m > 1 else 0.0) + (n * float(np.var(below)) if n > 1 else 0.0)
    return (won / pairs, variance / pairs**2) if pairs else (float("nan"), float("nan"))


def _partners(label: Bools, busy: Doubles, nearest: int) -> tuple[Rows, Rows]:
    """Return the members, and for each the rows of the non-members most alike in standardized activity."""
    spread = busy.std(axis=0)
    alike = (busy - busy.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    inside, outside = np.flatnonzero(label), np.flatnonzero(~label)
    _, found = cKDTree(alike[outside]).query(alike[inside], k=min(nearest, len(outside)))
    return inside, outside[np.asarray(found, np.int64).reshape(len(inside), -1)]


def _among(score: Doubles, inside: Rows, others: Rows) -> tuple[float, float]:
    mine, theirs = score[inside][:, None], score[others]
    won = ((mine > theirs) + 0.5 * (mine == theirs)).mean(axis=1)
    return float(won.mean()), float(won.var() / max(len(won), 1))
