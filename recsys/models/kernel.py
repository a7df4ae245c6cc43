"""Compiled loops over users: solving for their vectors, tracing their candidates.

Every user is computed alone, by the same steps, so a block gives the numbers that single calls give. The kernels
release the interpreter; ``shared`` spreads a block over threads and keeps BLAS at one thread meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from threadpoolctl import ThreadpoolController

from recsys.models.base import Floats, Offsets, Rows

SMALL = 16  # users; fewer are not worth starting threads for


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def shared(work: Callable[[int, int], Any], users: int) -> None:
    """Call ``work(start, stop)`` over parts of ``range(users)``, in threads when there are many."""
    if users <= SMALL:
        work(0, users)
        return
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    edges = np.linspace(0, users, min(users // SMALL, 4 * threads) + 1).astype(int).tolist()
    with _blas().limit(limits=1), ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)]:
            done.result()


@njit(nogil=True, cache=True)
def solve(
    gram: Floats, item: Floats, indptr: Rows, indices: Rows, confidence: Floats, start: int, stop: int, out: Floats
) -> None:
    """Fill out[u] with the solution of (gram + sum (c - 1) y y') x = sum c y over the user's items.

    Hu, Koren, Volinsky (2008), equation 4; ``gram`` is Y'Y + regularization, and an empty row stays zero.
    """
    for user in range(start, stop):
        low, high = indptr[user], indptr[user + 1]
        if low == high:
            continue
        mine = item[indices[low:high]]
        weight = confidence[low:high]
        system = gram + np.dot(mine.T, mine * (weight - np.float32(1)).reshape(-1, 1))
        out[user] = np.linalg.solve(system, np.dot(mine.T, weight))


@njit(nogil=True, cache=True)
def push(
    gram: Floats, item: Floats, rows: Rows, confidence: Floats, towards: Floats
) -> Floats:
    """Return contributions (k, h) of h past items to the scores along the k rows of ``towards``."""
    mine = item[rows]
    system = gram + np.dot(mine.T, mine * (confidence - np.float32(1)).reshape(-1, 1))
    return np.dot(np.linalg.solve(system, towards.T).T, mine.T) * confidence


@njit(nogil=True, cache=True)
def largest(parts: Floats, rows: Rows, at: int, share: Floats, evidence_row: Rows) -> None:
    """Write, for each row of ``parts``, the largest positive part's share of the positive sum, and whose it is."""
    for c in range(len(parts)):
        total, most, who = np.float32(0), np.float32(0), np.int32(-1)
        for h in range(len(rows)):
            part = parts[c, h]
            if part > 0:
                total += part
                if part > most:
                    most, who = part, rows[h]
        if who >= 0:
            share[at + c], evidence_row[at + c] = most / total, who


@njit(nogil=True, cache=True)
def trace_solved(
    gram: Floats,
    item: Floats,
    towards: Floats,
    indptr: Rows,
    indices: Rows,
    confidence: Floats,
    offsets: Offsets,
    item_row: Rows,
    start: int,
    stop: int,
    share: Floats,
    evidence_row: Rows,
) -> None:
    """Trace candidates of users whose vectors were solved for; ``towards`` (I, d) is what vectors are scored along."""
    for user in range(start, stop):
        low, high = indptr[user], indptr[user + 1]
        first, last = offsets[user], offsets[user + 1]
        if low == high or first == last:
            continue
        rows = indices[low:high]
        parts = push(gram, item, rows, confidence[low:high], towards[item_row[first:last]])
        largest(parts, rows, first, share, evidence_row)


@njit(nogil=True, cache=True)
def trace_summed(
    item: Floats,
    towards: Floats,
    indptr: Rows,
    indices: Rows,
    weight: Floats,
    offsets: Offsets,
    item_row: Rows,
    start: int,
    stop: int,
    share: Floats,
    evidence_row: Rows,
) -> None:
    """Trace candidates of users whose vectors are weighted sums of rows of ``item`` (I, d)."""
    for user in range(start, stop):
        low, high = indptr[user], indptr[user + 1]
        first, last = offsets[user], offsets[user + 1]
        if low == high or first == last:
            continue
        rows = indices[low:high]
        parts = np.dot(towards[item_row[first:last]], item[rows].T) * weight[low:high]
        largest(parts, rows, first, share, evidence_row)
