"""Which items score best for each user? Exact top-k over factors, or over item-item similarities.

Both searches return the same shape, share their rules (short lists stay short, ties go to the lower row, a
user whose vector is not finite gets an empty list) and give one user the same list, bit for bit, alone or in
a block.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys import kernel
from recsys.threads import one_blas_thread, share_out, workers

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

WIDTH = 512  # items in a block: with HEIGHT users a product of 1 MiB, which stays in the cache
HEIGHT = 512
CROWD = 1024  # users a thread takes at a time
BUFFERED = 1 << 22  # entries that the buffers of one crowd may hold
LONGEST = 1e18  # a longer vector is not a vector: its products leave float32


@dataclass(frozen=True, slots=True)
class TopK:
    """Lists of items, one after another: user u's are at offsets[u]:offsets[u + 1], best first.

    Args:
        offsets: (U + 1,) int64.
        item_row: (R,) int32.
        score: (R,) float32.
        visited: user-item pairs that were multiplied to find them.
    """

    offsets: Offsets
    item_row: Rows
    score: Floats
    visited: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """Item factors by falling norm, so that a search can stop when no later item is long enough to matter.

    Args:
        factors: (m, d) float32, longest first.
        norms: (m,) float64, falling.
        item_row: (m,) int32, the row of each place.
        place_of: (n,) int32, the place of each row; -1 = not in the index.

    Example:
        >>> index = ItemIndex.build(np.array([[1, 0], [0, 3], [2, 2]], dtype=np.float32))
        >>> index.item_row.tolist(), len(index)
        ([1, 2, 0], 3)
    """

    factors: Floats
    norms: npt.NDArray[np.float64]
    item_row: Rows
    place_of: Rows

    @classmethod
    def build(cls, factors: npt.NDArray[Any]) -> ItemIndex:
        """Index (n, d) item factors; a row that is not finite is left out, so it is never found."""
        if factors.ndim != 2:
            raise ValueError(f"`factors` must be items x dimensions but has shape {factors.shape}")
        single = _plain(factors, np.float32)
        norms = _norms(single)
        order = np.argsort(-norms, kind="stable").astype(np.int32)
        return cls._of(single, norms, order[norms[order] <= LONGEST])

    @classmethod
    def _of(cls, factors: Floats, norms: npt.NDArray[np.float64], order: Rows) -> ItemIndex:
        place_of = np.full(len(factors), -1, dtype=np.int32)
        place_of[order] = np.arange(len(order), dtype=np.int32)
        return cls(np.ascontiguousarray(factors[order]), norms[order], order, place_of)

    def within(self, mask: Mask) -> ItemIndex:
        """Keep only the items whose entry in `mask`, (n,) bool, is true; rows stay what they were."""
        kept = _checked(mask, len(self.place_of))[self.item_row]
        item_row = self.item_row[kept]
        place_of = np.full(len(self.place_of), -1, dtype=np.int32)
        place_of[item_row] = np.arange(len(item_row), dtype=np.int32)
        return ItemIndex(np.ascontiguousarray(self.factors[kept]), self.norms[kept], item_row, place_of)

    def __len__(self) -> int:
        return len(self.item_row)


def topk(
    index: ItemIndex,
    vectors: npt.NDArray[Any],
    k: int,
    exclude_indptr: npt.NDArray[Any] | None = None,
    exclude_indices: npt.NDArray[Any] | None = None,
    *,
    within: Mask | None = None,
    threads: int | None = None,
) -> TopK:
    """Find the k items with the largest dot product for each of U users, exactly.

    The items of user u at exclude_indices[exclude_indptr[u]:exclude_indptr[u + 1]] are left out, and so is
    every item whose entry in `within`, (n,) bool, is false. Scores are summed in float64 and rounded to
    float32; ties go to the lower row. A user whose vector, of (U, d), is not finite gets an empty list.

    Stopping by norm follows Teflioudi, Gemulla and Mykytiuk, "LEMP" (SIGMOD 2015).

    Raises:
        ValueError: shapes that do not fit, a negative k, or an excluded row that is no item.

    Example:
        >>> index = ItemIndex.build(np.array([[1, 0], [0, 3], [2, 2]], dtype=np.float32))
        >>> found = topk(index, np.array([[1, 0], [0, 1]]), 2, np.array([0, 1, 1]), np.array([2]))
        >>> found.offsets.tolist(), found.item_row.tolist(), found.score.tolist()
        ([0, 2, 4], [0, 1, 1, 2], [1.0, 0.0, 3.0, 2.0])
    """
    if vectors.ndim != 2 or vectors.shape[1] != index.factors.shape[1]:
        raise ValueError(f"`vectors` must be users x {index.factors.shape[1]} but has shape {vectors.shape}")
    _check_count("k", k, least=0)
    users = _plain(vectors, np.float32)
    indptr, indices = _exclusions(exclude_indptr, exclude_indices, len(users), len(index.place_of))
    if within is not None:
        index = index.within(within)
    k = min(k, len(index))
    if k == 0 or len(users) == 0:
        return TopK(np.zeros(len(users) + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    items = kernel.Items(index.factors, index.norms, index.item_row, index.place_of)
    crowds = _crowds(len(users), k, workers(threads))
    with one_blas_thread() if len(users) >= kernel.FEW else nullcontext():  # fewer never reach BLAS
        found = share_out(
            lambda first, last: kernel.search_factors(
                users, indptr, indices, items, k, LONGEST, first, last, WIDTH, HEIGHT
            ),
            crowds,
            threads,
        )
    widths, rows, scores, visited = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
    offsets = np.zeros(len(users) + 1, dtype=np.int64)
    np.cumsum(widths, out=offsets[1:])
    return TopK(offsets, rows, scores, int(visited.sum()))


def topk_sparse(
    similarity: csr_matrix,
    evidence: csr_matrix,
    k: int,
    exclude_indptr: npt.NDArray[Any] | None = None,
    exclude_indices: npt.NDArray[Any] | None = None,
    *,
    within: Mask | None = None,
    threads: int | None = None,
) -> TopK:
    """Find the k items with the largest evidence x similarity for each user, exactly.

    `similarity` is items x items (row: a past item, column: what it speaks for), `evidence` users x items.
    Only items that some past item speaks for are found, so a list may be short. The rest is as in `topk`.

    Raises:
        ValueError: shapes that do not fit, a negative k, or an excluded row that is no item.

    Example:
        >>> similarity = csr_matrix(np.array([[0, 2, 1], [2, 0, 0], [1, 0, 0]], dtype=np.float32))
        >>> found = topk_sparse(similarity, csr_matrix(np.array([[3, 0, 0], [0, 0, 1]], dtype=np.float32)), 2)
        >>> found.offsets.tolist(), found.item_row.tolist(), found.score.tolist()
        ([0, 2, 3], [1, 2, 0], [6.0, 3.0, 1.0])
    """
    users, items = evidence.shape
    if similarity.shape != (items, items):
        raise ValueError(f"`similarity` must be {items} x {items} like `evidence` but is {similarity.shape}")
    _check_count("k", k, least=0)
    indptr, indices = _exclusions(exclude_indptr, exclude_indices, users, items)
    allowed = np.ones(items, dtype=np.bool_) if within is None else _plain(_checked(within, items), np.bool_)
    workers(threads)
    k = min(k, items)
    lengths = np.zeros(users, dtype=np.int64)
    similar = _sparse(similarity)
    past = _sparse(evidence)

    def search(first: int, last: int) -> tuple[Rows, Floats]:
        rows = np.empty((last - first) * k, dtype=np.int32)
        scores = np.empty((last - first) * k, dtype=np.float32)
        size = kernel.search_neighbours(similar, past, indptr, indices, allowed, k, first, last, lengths, rows, scores)
        return rows[:size], scores[:size]

    found = share_out(search, _crowds(users, k, workers(threads)), threads) if k > 0 else []
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TopK(
        offsets,
        np.concatenate([np.empty(0, np.int32), *(rows for rows, _ in found)]),
        np.concatenate([np.empty(0, np.float32), *(scores for _, scores in found)]),
    )


def warm_up() -> None:
    """Compile what a first call would have to compile (seconds once, then kept on disk)."""
    topk(ItemIndex.build(np.eye(2, dtype=np.float32)), np.eye(2, dtype=np.float32), 1)
    topk_sparse(csr_matrix(np.eye(2, dtype=np.float32)), csr_matrix(np.eye(2, dtype=np.float32)), 1)


def _norms(vectors: Floats) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):
        squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


def _plain(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """One kind of array for the compiler: contiguous, of one dtype, writable."""
    if type(array) is np.ndarray and array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable:
        return array
    with np.errstate(over="ignore"):
        plain = np.ascontiguousarray(array, dtype=dtype)
    return plain if plain.flags.writeable else plain.copy()


def _sparse(matrix: csr_matrix) -> kernel.Sparse:
    return kernel.Sparse(
        _plain(matrix.indptr, np.int64), _plain(matrix.indices, np.int32), _plain(matrix.data, np.float32)
    )


def _exclusions(
    indptr: npt.NDArray[Any] | None, indices: npt.NDArray[Any] | None, users: int, items: int
) -> tuple[Offsets, Rows]:
    if (indptr is None) != (indices is None):
        raise ValueError(f"`exclude_{'indptr' if indptr is None else 'indices'}` is missing: give both or none")
    if indptr is None or indices is None:
        return np.zeros(users + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    starts, rows = _plain(indptr, np.int64), _plain(indices, np.int32)
    if starts.shape != (users + 1,) or starts[0] != 0 or starts[-1] != len(rows) or not kernel.rises(starts):
        raise ValueError(f"`exclude_indptr` must rise from 0 to {len(rows)} over {users + 1} entries")
    if not kernel.below(rows, items):
        raise ValueError(f"`exclude_indices` must be rows below {items} but span {rows.min()} to {rows.max()}")
    return starts, rows


def _checked(mask: Mask, items: int) -> Mask:
    if mask.shape != (items,) or mask.dtype != np.bool_:
        raise ValueError(f"`within` must be {items} bool but is {mask.shape} {mask.dtype}")
    return mask


def _check_count(name: str, value: int, *, least: int) -> None:
    if value < least:
        raise ValueError(f"`{name}` must be at least {least} but got {value}")


def _crowds(users: int, k: int, threads: int) -> list[tuple[int, int]]:
    fair = -(-users // threads)
    size = max(1, min(CROWD, max(fair, HEIGHT), BUFFERED // (2 * k + 1)))
    return [(first, min(first + size, users)) for first in range(0, users, size)]
