"""What does the ledger say to SQLite?"""

from typing import Final

# `lines` lies in the order of its key: a shopper's lines are neighbours, and a walk along them goes from old
# to new. `floor` is the turn of whoever has none: it rises above all turns dropped, so no turn comes back.
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
SELECT coalesce((SELECT turn FROM turns WHERE user = substr(?1, 16 * n + 1, 16)), (SELECT turn FROM floor))
FROM place
"""
TURN_ON: Final = "UPDATE turns SET turn = turn + 1 WHERE user = ?1 AND turn = ?2"
TURN_FIRST: Final = "INSERT OR IGNORE INTO turns SELECT ?1, turn + 1 FROM floor WHERE turn = ?2"
WRITE: Final = "INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
NEXT_USERS: Final = "SELECT user FROM turns WHERE user > ? ORDER BY user LIMIT ?"
CONFIRM: Final = "UPDATE lines SET confirmed = 1 WHERE user = ? AND slate = ? AND shown = 1 RETURNING size"
RESERVED: Final = "SELECT DISTINCT user FROM lines WHERE shown = 1 AND confirmed = 0 AND at < ?"
RELEASE: Final = "DELETE FROM lines WHERE user = ? AND shown = 1 AND confirmed = 0 AND at < ? RETURNING size"
PRUNE: Final = "DELETE FROM lines WHERE user = ? AND at < ? RETURNING size"
RETIRE: Final = "DELETE FROM turns WHERE user = ?1 AND NOT EXISTS (SELECT 1 FROM lines WHERE user = ?1) RETURNING turn"
FORGET: Final = "DELETE FROM lines WHERE user = ? RETURNING size"
RAISE_FLOOR: Final = "UPDATE floor SET turn = max(turn, ?) + 1"
