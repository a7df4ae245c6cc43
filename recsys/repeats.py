"""What does somebody take again? Their own past, the recent more, pulled towards how often others come back for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recsys.topk import TopK

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

HALF_LIFE = timedelta(days=182)  # of an event in a list of repeats
PULL = 0.5  # how many times what is usual of an item counts beside the shopper's own evidence
Floats = npt.NDArray[np.float32]


def usual(taken: csr_matrix) -> Floats:
    """Return how much of each item those who took it took on average, (I,); 0 of what nobody took.

    Args:
        taken: (U, I) how often each user took each item.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> usual(csr_matrix(np.array([[3, 0, 1], [1, 0, 0]]))).tolist()
        [2.0, 0.0, 1.0]
    """
    items = taken.shape[1]
    sums = np.bincount(taken.indices, weights=taken.data, minlength=items)
    takers = np.bincount(taken.indices[taken.data > 0], minlength=items)
    return (sums / np.maximum(takers, 1)).astype(np.float32)


def repeats(
    bought: csr_matrix, evidence: csr_matrix, k: int, within: npt.NDArray[np.bool_], *, habit: Floats | None = None
) -> TopK:
    """Rank what each user bought before by how much evidence they left of it, ``PULL`` times its habit added; ties by row.

    One purchase tells little of how often somebody will come back: its own evidence is pulled towards what is usual of
    the item, as the mean of a Gamma-Poisson count is.

    Args:
        bought: (U, I) stored where bought.
        evidence: (U, I) weights.
        k: most for each user.
        within: (I,) only these.
        habit: (I,) what is ``usual``; None ranks by the own evidence alone.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> own = csr_matrix(np.array([[1.0, 1.0, 3.0]], np.float32))
        >>> repeats(own, own, 3, np.ones(3, bool), habit=np.array([1, 4, 1], np.float32)).item_row.tolist()
        [2, 1, 0]
    """
    own = evidence.multiply(bought).tocsr()
    kept = within[own.indices]
    owner = np.repeat(np.arange(own.shape[0]), np.diff(own.indptr))[kept]
    rows, weight = own.indices[kept].astype(np.int32), own.data[kept].astype(np.float32)
    if habit is not None:
        weight = weight + np.float32(PULL) * habit[rows]
    order = np.lexsort((rows, -weight, owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=own.shape[0]))]).astype(np.int64)
    place = np.arange(len(order)) - np.repeat(offsets[:-1], np.diff(offsets))
    order = order[place < k]
    short = np.concatenate([[0], np.cumsum(np.minimum(np.diff(offsets), k))]).astype(np.int64)
    return TopK(short, rows[order], weight[order])
