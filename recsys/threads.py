"""Who works on what: crowds of users shared out over threads, and BLAS kept to one thread while they work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


def workers(threads: int | None) -> int:
    """Count the threads to use: as many as asked for, or one for each core this process may use.

    Example:
        >>> workers(3), workers(None) >= 1
        (3, True)
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1 but got {threads}; None takes every core")
    return threads


def share_out(
    work: Callable[[int, int], Result], crowds: Sequence[tuple[int, int]], threads: int | None
) -> list[Result]:
    """Call `work(first, last)` for each crowd, the next free thread taking the next crowd; results in order.

    Example:
        >>> share_out(lambda first, last: last - first, [(0, 2), (2, 5)], None)
        [2, 3]
    """
    hands = min(workers(threads), len(crowds))
    if hands <= 1:
        return [work(first, last) for first, last in crowds]
    with ThreadPoolExecutor(hands) as pool:
        return list(pool.map(lambda crowd: work(*crowd), crowds))


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  compiled code calls scipy's BLAS: it must be loaded to be held

    return ThreadpoolController()


class _Hold:
    """One hold on BLAS shared by all who need it: the first in sets it, the last out lets go."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0
        self.limit = ExitStack()

    def enter(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.limit.enter_context(_blas().limit(limits=1, user_api="blas"))
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limit.close()


_hold = _Hold()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep every BLAS in the process to one thread while anybody is inside, from however many threads."""
    _hold.enter()
    try:
        yield
    finally:
        _hold.leave()
