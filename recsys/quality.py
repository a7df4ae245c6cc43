"""How good a ranking of discoveries is: a cut in time, what was discovered after it, and NDCG over whole lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from boundary.words import KIND_NAMES
from recsys.evidence import evidence_of, purchases

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from boundary.history import History
    from boundary.policy import Policy
    from recsys.bundle import Bundle
    from recsys.models import TopK


def temporal_cut(events: pl.DataFrame, share: float = 0.8) -> int:
    """Return the moment (microseconds UTC) that has ``share`` of the whole weeks of the events before it."""
    times = events["at"].dt.timestamp("us").to_numpy()
    first, last = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    week = 7 * 86_400_000_000
    weeks = max((last - first) // week + 1, 1)
    return first + max(int(weeks * share + 1e-9), 1) * week


def discoveries(before: History, after: History, *, items: int) -> csr_matrix:
    """Return users x items, 1.0 where a user bought after the cut what they had not bought before it.

    Only items that anybody bought before the cut count: nobody could have ranked the others.
    """
    old, new = purchases(before, items=items), purchases(after, items=items)
    fresh: csr_matrix = (new - new.multiply(old)).tocsr()
    sold = np.asarray((old > 0).sum(axis=0)).ravel() > 0
    fresh.data *= sold[fresh.indices]
    fresh.eliminate_zeros()
    return fresh


def ndcg(
    offsets: npt.NDArray[np.int64], item_row: npt.NDArray[np.int32], truth: csr_matrix, *, k: int
) -> npt.NDArray[np.float64]:
    """Return each user's NDCG at k, (U,), NaN where the user discovered nothing.

    Gain 1 for an item of the truth at place p (from 1), discounted by log2(p + 1); the ideal list holds
    min(k, number of discoveries) of them (Jarvelin and Kekalainen 2002, binary).

    Example:
        >>> truth = csr_matrix(np.array([[1, 0, 1]]))
        >>> ndcg(np.array([0, 2]), np.array([2, 1], np.int32), truth, k=2).round(3).tolist()
        [0.613]
        >>> ndcg(np.array([0, 0]), np.array([], np.int32), truth, k=2).tolist()
        [0.0]
    """
    users = len(offsets) - 1
    owner = np.repeat(np.arange(users), np.diff(offsets))
    place = np.arange(len(item_row)) - offsets[:-1][owner]
    top = place < k
    found = np.repeat(np.arange(users), np.diff(truth.indptr)) * truth.shape[1] + truth.indices
    hit = np.isin(owner[top] * truth.shape[1] + item_row[top], found)
    gains = np.bincount(owner[top], weights=hit / np.log2(place[top] + 2), minlength=users)
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    best = ideal[np.minimum(np.diff(truth.indptr), k)]
    judged: npt.NDArray[np.float64] = np.divide(gains, best, out=np.full(users, np.nan), where=best > 0)
    return judged


def raw_lists(bundle: Bundle, user_ids: Sequence[str], *, k: int, now: int) -> TopK:
    """Rank what no boundary has touched: for measuring against, never to be shown, and so no way out of an engine.

    All events are evidence, nothing is blinded or withheld; what a user bought before is left out.

    Args:
        bundle: fitted under ``without_boundary``.
        user_ids: (U,); of who is not known nothing is listed.
        k: at most as many items each.
        now: microseconds UTC.
    """
    rows = np.fromiter((bundle.user_row.get(user, -1) for user in user_ids), np.int64, len(user_ids))
    history = bundle.history.take(rows)
    known, items = history.only(history.item_row >= 0), bundle.catalogue.items
    evidence = evidence_of(known, bundle.weighing, items=items, now=now)
    return bundle.model.top(evidence, k=k, exclude=purchases(known, items=items))


def without_boundary(policy: Policy) -> Policy:
    """Return the policy under which everything is remembered and nothing is blinded: what others do."""
    forever, tiers = 3660, ("newcomer", "regular")
    return policy.replace(
        {
            "admit.sensitive": "off",
            "admit.proxy_z": None,
            "blind.strength": 0,
            **{f"tiers.{tier}.retention_days": forever for tier in tiers},
            **{f"tiers.{tier}.evidence": list(KIND_NAMES) for tier in tiers},
        }
    )
