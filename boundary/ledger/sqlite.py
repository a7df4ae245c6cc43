"""How does one file keep the ledger of a shop, with many threads and processes at it? SQLite, in WAL mode.

One connection a process, guarded by one lock: a call holds it for some ten microseconds, and a fork finds it
idle. A commit survives the death of the process; the loss of power may take the last commits, never the file
(``synchronous=NORMAL``). The file must lie on a local disk: WAL does not work over a network.
"""

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from boundary.ledger import statements as sql
from boundary.ledger.base import Columns, Entry, LedgerDamaged, LedgerInvalid, LedgerUnavailable, Snapshot
from boundary.ledger.lines import (
    Line,
    bounded,
    checked_block,
    entries_of,
    lines_of,
    snapshot_of,
    user_key,
    utf8,
)
from boundary.ledger.traces import holds

VERSION: Final = 1
USERS_AT_ONCE: Final = 500  # a block is written in steps, so that a page view never waits for a whole batch
SETTINGS: Final = (
    "secure_delete=ON",
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    "wal_autocheckpoint=4000",
)
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})

_opened: "weakref.WeakSet[SqliteLedger]" = weakref.WeakSet()
_resting: "list[SqliteLedger]" = []
_registry = threading.Lock()


class SqliteLedger:
    """A ledger in one SQLite file; without a path in memory, for one process."""

    def __init__(self, path: str | None, *, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = ""
        with _registry:
            _opened.add(self)
        with self._held():  # an address that does not work is told at once
            pass

    def read(self, user_id: str, since: int) -> tuple[list[Entry], int]:
        key = user_key(user_id)
        with self._held() as db:
            lines, turn = _read(db, key, since)
        return entries_of(lines), turn

    def append(self, user_id: str, entries: Sequence[Entry], *, expected_turn: int) -> bool:
        key, lines = user_key(user_id), lines_of(entries)
        if not lines:
            return True
        with self._held() as db, _writing(db):
            return _append(db, key, lines, bounded(expected_turn))

    def confirm(self, user_id: str, slate_id: str) -> int:
        key, _ = user_key(user_id), utf8(slate_id, "slate_id")
        with self._held() as db, _writing(db):
            return _total(db.execute(sql.CONFIRM, (key, slate_id)))

    def release(self, before: int) -> int:
        with self._held() as db:
            users = db.execute(sql.RESERVED, (bounded(before),)).fetchall()
        dropped = 0
        for step in _steps(len(users)):
            with self._held() as db, _writing(db):
                for (user,) in users[step]:
                    dropped += _total(db.execute(sql.RELEASE, (user, bounded(before))))
        return dropped

    def keep(self, days: float) -> None:
        """Do nothing: a file drops nothing by itself."""

    def prune(self, before: int) -> int:
        dropped, last = 0, b""
        while True:
            with self._held() as db, _writing(db):
                users = [user for (user,) in db.execute(sql.NEXT_USERS, (last, USERS_AT_ONCE))]
                dropped += sum(_total(db.execute(sql.PRUNE, (user, bounded(before)))) for user in users)
                _retire(db, users)
            if not users:
                return dropped
            last = users[-1]

    def forget(self, user_id: str) -> int:
        key = user_key(user_id)
        with self._held() as db, _writing(db):
            forgotten = _total(db.execute(sql.FORGET, (key,)))
            _retire(db, [key])
            db.execute(sql.RAISE_FLOOR, (0,))  # also who read a shopper without a turn is stale now
        if self.path is not None:
            with self._held() as db:
                self._empty_log(db)
            if holds(self.path, key):  # `secure_delete` misses the copies that a page keeps when it is split
                with self._held() as db:
                    db.execute("VACUUM")
                    self._empty_log(db)
        return forgotten

    def read_block(self, user_ids: Sequence[str], since: int) -> Snapshot:
        keys = [user_key(user_id) for user_id in user_ids]
        if len(keys) == 1:
            with self._held() as db:
                lines, turn = _read(db, keys[0], since)
            return snapshot_of([lines], [turn])
        blocks: list[list[tuple[int, str]]] = [[] for _ in keys]
        turns: list[int] = []
        for step in _steps(len(keys)):
            joined = b"".join(keys[step])
            # turns first: whoever appends between the two makes the turn stale, never the lines
            with self._held() as db:
                turns += [turn for (turn,) in db.execute(sql.READ_TURNS, (joined,))]
                rows = db.execute(sql.READ_BLOCK, (joined, bounded(since))).fetchall()
            for place, confirmed, text in rows:
                blocks[step.start + place].append((confirmed, text))
        return snapshot_of(blocks, turns)

    def append_block(
        self,
        user_ids: Sequence[str],
        offsets: npt.NDArray[np.int64],
        entries: Columns,
        *,
        expected_turns: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.bool_]:
        block = list(checked_block(user_ids, offsets, entries, expected_turns))
        written = np.ones(len(block), bool)
        for step in _steps(len(block)):
            with self._held() as db, _writing(db):
                for place, (key, lines, turn) in enumerate(block[step], step.start):
                    written[place] = not lines or _append(db, key, lines, turn)
        return written

    def close(self) -> None:
        with self._lock:
            self._closed = "it was closed: open it again"
            self._disconnect()

    def rest(self) -> None:
        """Stop for a fork: a connection, and its locks on the file, must not cross into a child."""
        self._lock.acquire()
        if self.path is not None:
            self._disconnect()

    def resume(self, *, child: bool) -> None:
        """Go on after a fork."""
        if child:
            self._lock = threading.Lock()
            if self.path is None:
                self._closed = "it lives in the memory of another process: give it a file, sqlite:///ledger.db"
        else:
            self._lock.release()

    @contextlib.contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread; say in one line what went wrong with it."""
        if not self._lock.acquire(timeout=self.timeout):
            raise LedgerUnavailable(f"{self} is busy for {self.timeout} s: try again or raise `timeout`")
        try:
            if self._closed:
                raise LedgerUnavailable(f"{self} cannot be used: {self._closed}")
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
            if code in BUSY:
                told = f"{self} is locked by another process for {self.timeout} s: try again or raise `timeout`"
                raise LedgerUnavailable(told) from error
            if self.path is not None:
                self._disconnect()  # the next call opens it anew, and finds it mended
            if code in DAMAGE:
                mend = "move it away, an empty one is then made"
                raise LedgerDamaged(f"{self} is damaged ({error}): {mend}") from error
            mend = "check its folder, permissions and free space"
            raise LedgerUnavailable(f"{self} cannot be used ({error}): {mend}") from error
        finally:
            self._lock.release()

    def _connect(self) -> sqlite3.Connection:
        place = self.path or ":memory:"
        db = sqlite3.connect(place, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        try:
            for setting in SETTINGS:
                db.execute(f"PRAGMA {setting}")
            if not self._is_laid_out(db):
                self._turn_to_wal(db)
                with _writing(db):
                    if not self._is_laid_out(db):  # no other process was quicker
                        for statement in (*sql.SCHEMA.split(";"), f"PRAGMA user_version={VERSION}"):
                            db.execute(statement)
        except BaseException:
            db.close()
            raise
        return db

    def _turn_to_wal(self, db: sqlite3.Connection) -> None:
        """Set the journal mode; SQLite itself does not wait when several processes do this at once."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                db.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(self.timeout / 100)
            else:
                return

    def _is_laid_out(self, db: sqlite3.Connection) -> bool:
        version = _number(db, "PRAGMA user_version")
        if version not in {0, VERSION}:
            raise LedgerDamaged(f"{self} has layout {version}, this program reads {VERSION}: use a newer program")
        if version == 0 and _number(db, "SELECT count(*) FROM sqlite_master"):
            raise LedgerInvalid(f"{self} is another program's database: give the ledger a file of its own")
        return version == VERSION

    def _empty_log(self, db: sqlite3.Connection) -> None:
        """Move all of the write-ahead log into the file and cut the log to nothing."""
        if _number(db, "PRAGMA wal_checkpoint(TRUNCATE)"):
            raise LedgerUnavailable(
                f"{self} is being read and cannot empty its log for {self.timeout} s: forget once more"
            )

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __str__(self) -> str:
        return f"the ledger {self.path or 'in memory'}"


@contextlib.contextmanager
def _writing(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _read(db: sqlite3.Connection, key: bytes, since: int) -> tuple[list[tuple[int, str]], int]:
    rows = db.execute(sql.READ, (key, bounded(since))).fetchall()
    return [(confirmed, text) for _, confirmed, text in rows if text is not None], rows[0][0]


def _append(db: sqlite3.Connection, key: bytes, lines: Sequence[Line], expected_turn: int) -> bool:
    """Compare and append, inside a transaction."""
    if not (
        db.execute(sql.TURN_ON, (key, expected_turn)).rowcount
        or db.execute(sql.TURN_FIRST, (key, expected_turn)).rowcount
    ):
        return False
    for part, line in enumerate(lines):
        db.execute(sql.WRITE, (key, line.at, expected_turn + 1, part, *line[1:]))
    return True


def _retire(db: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Drop the turns of users without lines, and raise the floor above them."""
    turns = [turn for key in keys for (turn,) in db.execute(sql.RETIRE, (key,)).fetchall()]
    if turns:
        db.execute(sql.RAISE_FLOOR, (max(turns),))


def _total(sizes: sqlite3.Cursor) -> int:
    return sum(size for (size,) in sizes.fetchall())


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _steps(count: int) -> Iterator[slice]:
    return (slice(start, start + USERS_AT_ONCE) for start in range(0, count, USERS_AT_ONCE))


def _rest_all() -> None:
    _registry.acquire()
    _resting.extend(_opened)
    for ledger in _resting:
        ledger.rest()


def _resume_all(*, child: bool) -> None:
    for ledger in _resting:
        ledger.resume(child=child)
    _resting.clear()
    _registry.release()


os.register_at_fork(
    before=_rest_all,
    after_in_parent=lambda: _resume_all(child=False),
    after_in_child=lambda: _resume_all(child=True),
)
