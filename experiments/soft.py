"""Which weights of several opinions rank best? NDCG is made smooth enough to climb, and checked on other users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from experiments.split import SplitError

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FAR = 30.0  # where a logistic curve is flat
EDGE = 2.0  # places over which the end of a list is blurred


@dataclass(frozen=True, slots=True)
class Shortlists:
    """The candidates of U users: what each of P opinions says of them, and which of them were taken.

    Attributes:
        opinions: (U, K, P) float.
        taken: (U, K) bool.
        offered: (U, K) bool; the others are in no list.
        wanted: (U,) int, how many items each user took in all, candidates or not.
    """

    opinions: npt.NDArray[np.floating[Any]]
    taken: Mask
    offered: Mask
    wanted: npt.NDArray[np.integer[Any]]

    def of_users(self, users: Mask) -> Shortlists:
        """Return the lists of some users."""
        return Shortlists(self.opinions[users], self.taken[users], self.offered[users], self.wanted[users])

    def ndcg(self, weights: npt.ArrayLike, *, k: int) -> Doubles:
        """Return each user's NDCG at k when candidates are ranked by the weighted sum, NaN for who took nothing.

        Example:
            >>> lists = Shortlists(np.array([[[2.0], [1.0]]]), np.array([[False, True]]), np.ones((1, 2), bool), np.array([1]))
            >>> lists.ndcg([1.0], k=2).round(3).tolist(), lists.ndcg([-1.0], k=2).tolist()
            ([0.631], [1.0])
        """
        scores = np.where(self.offered, self.opinions @ np.asarray(weights), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        gains = np.take_along_axis(self.taken & self.offered, order, axis=1) @ _discount(order.shape[1])
        return np.where(self.wanted > 0, gains / _ideal(self.wanted, k), np.nan)


def smooth_ndcg(
    lists: Shortlists, weights: npt.ArrayLike, *, k: int, softness: float, unit: Doubles
) -> tuple[float, Doubles]:
    """Return a smooth NDCG at k, the mean over users who took something, and its gradient by the weights, (P,).

    An item's place is 1 + the sum over the others of the logistic function of (their score - its own) / softness
    (ApproxNDCG; Qin, Liu, Li 2010); places beyond k fade out in the same manner.

    Args:
        lists: the candidates.
        weights: (P,).
        k: length of the lists.
        softness: difference of scores that counts as a near tie, above 0, in units.
        unit: (U,), what one unit is for each user.

    Example:
        >>> lists = Shortlists(np.array([[[2.0], [1.0]]]), np.array([[False, True]]), np.ones((1, 2), bool), np.array([1]))
        >>> value, gradient = smooth_ndcg(lists, [1.0], k=20, softness=0.1, unit=np.ones(1))
        >>> round(value, 2), bool(gradient < 0)
        (0.63, True)
    """
    some = lists.wanted > 0
    user, item = np.nonzero(lists.taken & lists.offered & some[:, None])
    scores = (lists.opinions @ np.asarray(weights, np.float64)) / (softness * unit[:, None])
    ahead = 1 / (1 + np.exp(-np.clip(scores[user] - scores[user, item][:, None], -FAR, FAR)))
    ahead *= lists.offered[user]
    ahead[np.arange(len(user)), item] = 0
    place = 1 + ahead.sum(axis=1)
    inside = 1 / (1 + np.exp(-np.clip((k + 0.5 - place) / EDGE, -FAR, FAR)))
    gain = 1 / np.log2(1 + place)
    share = 1 / (_ideal(lists.wanted[user], k) * max(some.sum(), 1))
    falls = gain**2 / ((1 + place) * np.log(2)) * inside + gain * inside * (1 - inside) / EDGE
    pull = ahead * (1 - ahead) * (falls * share)[:, None]
    pull[np.arange(len(user)), item] = -pull.sum(axis=1)
    owner = csr_matrix((np.ones(len(user)), (user, np.arange(len(user)))), shape=(len(some), len(user)))
    moved = np.asarray(owner @ pull) / (softness * unit[:, None])
    return float((gain * inside * share).sum()), -np.einsum("uk,ukp->p", moved, lists.opinions)


def learn_weights(lists: Shortlists, start: npt.ArrayLike, *, k: int, softness: float, rounds: int = 60) -> Doubles:
    """Return weights (P,) of the same length as the start that climb the smooth NDCG from there (L-BFGS).

    A unit is the spread of a user's candidates under the starting weights, so users count alike.

    Raises:
        SplitError: a softness that is not above 0, or a start of zeros.
    """
    if not softness > 0:
        raise SplitError(f"`softness` must be above 0 but got {softness}")
    first = np.asarray(start, np.float64)
    length = float(np.linalg.norm(first))
    if not length > 0:
        raise SplitError("the weights to start from must not all be 0")
    spread = (lists.opinions @ first).std(axis=1, dtype=np.float64)
    unit = np.where(spread > 0, spread, 1.0)

    def loss(free: Doubles) -> tuple[float, Doubles]:
        size = float(np.linalg.norm(free))
        along = free / size
        value, gradient = smooth_ndcg(lists, along * length, k=k, softness=softness, unit=unit)
        return -value, -(gradient - along * (along @ gradient)) * length / size

    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": rounds}).x
    return np.asarray(found / np.linalg.norm(found) * length)


def crossed(
    lists: Shortlists, start: npt.ArrayLike, *, k: int, softness: float, seed: int, folds: int = 5
) -> tuple[Doubles, Doubles]:
    """Return each user's NDCG, (U,), under weights learned on the other folds' users, and those weights, (folds, P).

    Users are dealt into folds of equal size by the seed; row f of the weights is what fold f is judged under.

    Raises:
        SplitError: fewer than two folds, or fewer users than folds.
    """
    users = len(lists.wanted)
    if not 2 <= folds <= users:
        raise SplitError(f"`folds` must be from 2 to the number of users, {users}, but got {folds}")
    fold = np.random.default_rng(seed).permutation(users) % folds
    judged, learned = np.full(users, np.nan), []
    for one in range(folds):
        weights = learn_weights(lists.of_users(fold != one), start, k=k, softness=softness)
        judged[fold == one] = lists.of_users(fold == one).ndcg(weights, k=k)
        learned.append(weights)
    return judged, np.array(learned)


def _discount(places: int) -> Doubles:
    return np.asarray(1 / np.log2(np.arange(places) + 2))


def _ideal(wanted: npt.NDArray[np.integer[Any]], k: int) -> Doubles:
    """Return the gain of the best list for each user, one for who took nothing."""
    whole = np.concatenate([[1.0], np.cumsum(_discount(k))])
    return np.asarray(whole[np.minimum(wanted, k)])
