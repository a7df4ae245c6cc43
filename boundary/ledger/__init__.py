"""Remembers what was shown to whom and what they said about it: one promise, kept by SQLite and by Redis."""

from boundary.ledger.base import (
    Columns,
    Entry,
    Ledger,
    LedgerDamaged,
    LedgerError,
    LedgerInvalid,
    LedgerUnavailable,
    Snapshot,
)

__all__ = [
    "Columns",
    "Entry",
    "Ledger",
    "LedgerDamaged",
    "LedgerError",
    "LedgerInvalid",
    "LedgerUnavailable",
    "Snapshot",
    "open_ledger",
]


def open_ledger(url: str, *, timeout: float = 1.0, keep_days: float | None = None) -> Ledger:
    """Open the ledger at an address; raise ``LedgerInvalid`` for one that is none.

    ``sqlite:///ledger.db`` is a file beside the program, ``sqlite:////var/lib/ledger.db`` one at a full path;
    ``sqlite://`` is kept in memory, which suits one process only: another process, or a child of this one,
    cannot see it. ``redis://host:6379/0`` (``rediss://`` where encrypted) serves processes and machines.

    Args:
        url: the address.
        timeout: seconds that a call waits for the store before it raises ``LedgerUnavailable``.
        keep_days: days after the last entry at which Redis drops a shopper's ledger by itself; not less than
            the longest window of the policy. None: it stays until ``prune`` or ``forget``. SQLite needs none.

    >>> ledger = open_ledger("sqlite://")
    >>> entries, turn = ledger.read("1228", since=0)
    >>> milk = Entry("shown", "milk", "home", 1_700_000_000_000_000, "slate-1", 0, "crowd", False)
    >>> ledger.append("1228", [milk], expected_turn=turn), ledger.append("1228", [milk], expected_turn=turn)
    (True, False)
    >>> ledger.close()
    """
    if not timeout > 0:
        raise LedgerInvalid(f"`timeout` must be more than 0 seconds but got {timeout}")
    if keep_days is not None and not keep_days > 0:
        raise LedgerInvalid(f"`keep_days` must be more than 0 days but got {keep_days}")
    scheme, found, rest = url.partition("://")
    if found and scheme == "sqlite" and rest in {"", "/:memory:"}:
        from boundary.ledger.sqlite import SqliteLedger

        return SqliteLedger(None, timeout=timeout)
    if found and scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        from boundary.ledger.sqlite import SqliteLedger

        return SqliteLedger(rest[1:], timeout=timeout)
    if found and scheme in {"redis", "rediss"}:
        from boundary.ledger.redis import RedisLedger

        return RedisLedger(url, timeout=timeout, keep_days=keep_days)
    known = "sqlite:///ledger.db, sqlite:////full/path/ledger.db or redis://host:6379/0"
    shown = f"{scheme}://{rest.rpartition('@')[2]}" if found else url  # never a password
    raise LedgerInvalid(f"the ledger's address must look like {known} but got {shown!r}")
