"""How does one file keep the ledger of a shop, with many threads and processes at it? SQLite, in WAL mode.

One connection a process, guarded by one lock: a call holds it for some ten microseconds, and a fork finds it idle.
A commit survives the death of the process; the loss of power may take the last commits, never the file
(``synchronous=NORMAL``). The file must lie on a local disk: WAL does not work over a network.
"""

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from boundary.ledger.base import Columns, Entry, LedgerDamaged, LedgerInvalid, LedgerUnavailable, Snapshot
from boundary.ledger.lines import Line, bounded, checked_block, entries_of, lines_of, snapshot_of, user_key, utf8

VERSION: Final = 1
USERS_AT_ONCE: Final = 500  # a block is written in steps, so that a page view never waits for a whole batch
SETTINGS: Final = (
    "secure_delete=ON",
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    "wal_autocheckpoint=4000",
)
# `lines` lies in the order of its key: a shopper's lines are neighbours, and a walk along them goes from old to new.
# `floor` is the turn of whoever has none: it rises above every turn that is dropped, so no turn comes back.
SCHEMA: Final = """
CREATE TABLE turns(user BLOB PRIMARY KEY, turn INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE floor(turn INTEGER NOT NULL);
INSERT INTO floor VALUES (1);
CREATE TABLE lines(
    user BLOB, at INTEGER, turn INTEGER, part INTEGER,
    shown INTEGER NOT NULL, slate TEXT NOT NULL, confirmed INTEGER NOT NULL, size INTEGER NOT NULL,
    text TEXT NOT NULL, PRIMARY KEY (user, at, turn, part)
) WITHOUT ROWID;
CREATE INDEX reserved ON lines(at) WHERE shown = 1 AND confirmed = 0;
"""
READ: Final = """
SELECT coalesce((SELECT turn FROM turns WHERE user = ?1), (SELECT turn FROM floor)), confirmed, text
FROM (SELECT 1) LEFT JOIN lines ON user = ?1 AND at >= ?2
"""
# ?1 is the keys of many users, 16 bytes each, one after the other
READ_BLOCK: Final = """
WITH RECURSIVE place(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM place WHERE n + 1 < length(?1) / 16)
SELECT n, confirmed, text FROM place CROSS JOIN lines ON user = substr(?1, 16 * n + 1, 16) AND at >= ?2
"""
READ_TURNS: Final = """
WITH RECURSIVE place(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM place WHERE n + 1 < length(?1) / 16)
SELECT coalesce((SELECT turn FROM turns WHERE user = substr(?1, 16 * n + 1, 16)), (SELECT turn FROM floor)) FROM place
"""
TURN_ON: Final = "UPDATE turns SET turn = turn + 1 WHERE user = ?1 AND turn = ?2"
TURN_FIRST: Final = "INSERT OR IGNORE INTO turns SELECT ?1, turn + 1 FROM floor WHERE turn = ?2"
WRITE: Final = "INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
NEXT_USERS: Final = "SELECT user FROM turns WHERE user > ? ORDER BY user LIMIT ?"
CONFIRM: Final = "UPDATE lines SET confirmed = 1 WHERE user = ? AND slate = ? AND shown = 1 RETURNING size"
RESERVED: Final = "shown = 1 AND confirmed = 0 AND at < ?"
RELEASE: Final = f"DELETE FROM lines WHERE user = ? AND {RESERVED} RETURNING size"
PRUNE: Final = "DELETE FROM lines WHERE user = ? AND at < ? RETURNING size"
RETIRE: Final = "DELETE FROM turns WHERE user = ?1 AND NOT EXISTS (SELECT 1 FROM lines WHERE user = ?1) RETURNING turn"
RAISE_FLOOR: Final = "UPDATE floor SET turn = max(turn, ?) + 1"
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
CHUNK: Final = 1 << 20

_opened: "weakref.WeakSet[SqliteLedger]" = weakref.WeakSet()
_resting: "list[SqliteLedger]" = []
_descriptors: dict[tuple[int, int], int] = {}
_descriptors_lock = threading.Lock()


class SqliteLedger:
    """A ledger in one SQLite file; without a path in memory, for one process."""

    def __init__(self, path: str | None, *, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = ""
        with self._held():
            _opened.add(self)

    def read(self, user_id: str, since: int) -> tuple[list[Entry], int]:
        key = user_key(user_id)
        with self._held() as db:
            rows = db.execute(READ, (key, bounded(since))).fetchall()
        turn, _, text = rows[0]
        return ([] if text is None else entries_of([row[1:] for row in rows])), turn

    def append(self, user_id: str, entries: Sequence[Entry], *, expected_turn: int) -> bool:
        key, lines = user_key(user_id), lines_of(entries)
        if not lines:
            return True
        with self._held() as db, _writing(db):
            return _append(db, key, lines, bounded(expected_turn))

    def confirm(self, user_id: str, slate_id: str) -> int:
        key, _ = user_key(user_id), utf8(slate_id, "slate_id")
        with self._held() as db, _writing(db):
            return _total(db.execute(CONFIRM, (key, slate_id)))

    def release(self, before: int) -> int:
        with self._held() as db:
            users = db.execute(f"SELECT DISTINCT user FROM lines WHERE {RESERVED}", (bounded(before),)).fetchall()
        dropped = 0
        for step in _steps(len(users)):
            with self._held() as db, _writing(db):
                dropped += sum(_total(db.execute(RELEASE, (user, bounded(before)))) for (user,) in users[step])
        return dropped

    def prune(self, before: int) -> int:
        dropped, last = 0, b""
        while True:
            with self._held() as db, _writing(db):
                users = [user for (user,) in db.execute(NEXT_USERS, (last, USERS_AT_ONCE))]
                dropped += sum(_total(db.execute(PRUNE, (user, bounded(before)))) for user in users)
                _retire(db, users)
            if not users:
                return dropped
            last = users[-1]

    def forget(self, user_id: str) -> int:
        key = user_key(user_id)
        with self._held() as db, _writing(db):
            forgotten = _total(db.execute("DELETE FROM lines WHERE user = ? RETURNING size", (key,)))
            _retire(db, [key])
            db.execute(RAISE_FLOOR, (0,))  # also who read a shopper without a turn is stale now
        if self.path is not None:
            with self._held() as db:
                self._empty_log(db)
            if _holds(self.path, key):  # a page that was split keeps copies which `secure_delete` does not reach
                with self._held() as db:
                    db.execute("VACUUM")
                    self._empty_log(db)
        return forgotten

    def read_block(self, user_ids: Sequence[str], since: int) -> Snapshot:
        keys = [user_key(user_id) for user_id in user_ids]
        blocks: list[list[tuple[int, str]]] = [[] for _ in keys]
        turns: list[int] = []
        for step in _steps(len(keys)):
            joined = b"".join(keys[step])
            with self._held() as db:  # turns first: who appends between the two makes the turn stale, not the lines
                turns += [turn for (turn,) in db.execute(READ_TURNS, (joined,))]
                rows = db.execute(READ_BLOCK, (joined, bounded(since))).fetchall()
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
                self._closed = "it lives in the memory of its parent process: give it a file, as sqlite:///ledger.db"
        else:
            self._lock.release()

    @contextlib.contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread; say in one line what went wrong with it."""
        if not self._lock.acquire(timeout=self.timeout):
            raise LedgerUnavailable(f"{self} is busy in this process for {self.timeout} s: try again or raise `timeout`")
        try:
            if self._closed:
                raise LedgerUnavailable(f"{self} cannot be used: {self._closed}")
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
            if code in BUSY:
                told = f"{self} stays locked by another process for {self.timeout} s: try again or raise `timeout`"
                raise LedgerUnavailable(told) from error
            if self.path is not None:
                self._disconnect()  # the next call opens it anew, and finds it mended
            if code in DAMAGE:
                raise LedgerDamaged(f"{self} is damaged ({error}): move it away, an empty one is then made") from error
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
            if _number(db, "PRAGMA user_version") != VERSION:
                self._turn_to_wal(db)
                with _writing(db):
                    self._lay_out(db)
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

    def _lay_out(self, db: sqlite3.Connection) -> None:
        version = _number(db, "PRAGMA user_version")
        if version == VERSION:  # another process was quicker
            return
        if version != 0:
            raise LedgerDamaged(f"{self} has the layout {version}, this program knows {VERSION}: use the newer program")
        if _number(db, "SELECT count(*) FROM sqlite_master"):
            raise LedgerInvalid(f"{self} is the database of another program: give the ledger a file of its own")
        for statement in SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version={VERSION}")

    def _empty_log(self, db: sqlite3.Connection) -> None:
        """Move all of the write-ahead log into the file and cut the log to nothing."""
        if _number(db, "PRAGMA wal_checkpoint(TRUNCATE)"):
            raise LedgerUnavailable(
                f"{self} has readers that keep its log from being emptied for {self.timeout} s: forget once more"
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


def _append(db: sqlite3.Connection, key: bytes, lines: Sequence[Line], expected_turn: int) -> bool:
    """Compare and append, inside a transaction."""
    if not (
        db.execute(TURN_ON, (key, expected_turn)).rowcount or db.execute(TURN_FIRST, (key, expected_turn)).rowcount
    ):
        return False
    for part, line in enumerate(lines):
        db.execute(WRITE, (key, line.at, expected_turn + 1, part, *line[1:]))
    return True


def _retire(db: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Drop the turns of users without lines, and raise the floor above them."""
    turns = [turn for key in keys for (turn,) in db.execute(RETIRE, (key,)).fetchall()]
    if turns:
        db.execute(RAISE_FLOOR, (max(turns),))


def _total(sizes: sqlite3.Cursor) -> int:
    return sum(size for (size,) in sizes.fetchall())


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _steps(count: int) -> Iterator[slice]:
    return (slice(start, start + USERS_AT_ONCE) for start in range(0, count, USERS_AT_ONCE))


def _holds(path: str, needle: bytes) -> bool:
    """Look for bytes anywhere in a file.

    The descriptor stays open for good: closing any descriptor of a file drops every lock that this process has on
    it, those of SQLite included.
    """
    status = Path(path).stat()
    file = status.st_dev, status.st_ino
    with _descriptors_lock:
        if file not in _descriptors:
            _descriptors[file] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    position, tail = 0, b""
    while chunk := os.pread(_descriptors[file], CHUNK, position):
        if needle in tail + chunk:
            return True
        position, tail = position + len(chunk), chunk[1 - len(needle) :]
    return False


def _rest_all() -> None:
    _resting.extend(_opened)
    for ledger in _resting:
        ledger.rest()


def _resume_all(*, child: bool) -> None:
    for ledger in _resting:
        ledger.resume(child=child)
    _resting.clear()


os.register_at_fork(
    before=_rest_all,
    after_in_parent=lambda: _resume_all(child=False),
    after_in_child=lambda: _resume_all(child=True),
)
