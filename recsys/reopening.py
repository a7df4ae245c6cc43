"""A ledger by its address; one that cannot be opened now is down, and is tried again at each call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boundary.ledger.base import Entry, Ledger, LedgerError, LedgerInvalid, Snapshot
from recsys.registered import is_registered

log = logging.getLogger("cornerstore")
BESIDE = "beside"  # the ledger that belongs to a bundle's directory


def ledger_beside(path: str | Path) -> str | None:
    """Return the address of the ledger that belongs to a bundle's directory; None of a registered bundle.

    Example:
        >>> ledger_beside("/shop/runs/bundle")
        'sqlite:////shop/runs/ledger.db'
    """
    return None if is_registered(path) else f"sqlite:///{Path(path).absolute().parent / 'ledger.db'}"


def open_or_down(url: str, *, keep_days: float) -> Ledger:
    """Open a ledger; one that cannot be opened now is tried again at each call and is down until then."""
    from boundary.ledger import open_ledger

    ledger = Reopening(lambda days: open_ledger(url, keep_days=days), keep_days)
    try:
        ledger.open()
    except LedgerInvalid:
        raise  # no waiting mends an address that is none, or a package that is missing
    except LedgerError as error:
        log.warning("ledger is down: %s", type(error).__name__)
    return ledger


class Reopening:
    """A ledger that is opened at its first use; while it cannot be, every call says so and the next one tries again."""

    def __init__(self, opener: Callable[[float], Ledger], keep_days: float) -> None:
        self._opener = opener
        self._keep_days = keep_days
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()

    def open(self) -> Ledger:
        if self._ledger is None:
            with self._lock:
                if self._ledger is None:
                    self._ledger = self._opener(self._keep_days)
        return self._ledger

    def read(self, user_id: str, since: int) -> tuple[list[Entry], int]:
        return self.open().read(user_id, since)

    def append(self, user_id: str, entries: Sequence[Entry], *, expected_turn: int) -> bool:
        return self.open().append(user_id, entries, expected_turn=expected_turn)

    def confirm(self, user_id: str, slate_id: str) -> int:
        return self.open().confirm(user_id, slate_id)

    def release(self, before: int) -> int:
        return self.open().release(before)

    def forget(self, user_id: str) -> int:
        return self.open().forget(user_id)

    def read_block(self, user_ids: Sequence[str], since: int) -> Snapshot:
        return self.open().read_block(user_ids, since)

    def append_block(
        self,
        user_ids: Sequence[str],
        offsets: npt.NDArray[np.int64],
        entries: Any,
        *,
        expected_turns: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.bool_]:
        return self.open().append_block(user_ids, offsets, entries, expected_turns=expected_turns)

    def keep(self, days: float) -> None:
        with self._lock:
            self._keep_days = max(self._keep_days, days)
            if self._ledger is not None:
                self._ledger.keep(days)

    def prune(self, before: int) -> int:
        return self.open().prune(before)

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
