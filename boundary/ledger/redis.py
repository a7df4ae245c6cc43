"""How do many processes and machines share one ledger? Redis, a shopper's three keys in one hash tag.

Each shopper belongs to one of ``BUCKETS`` hash tags (so a cluster keeps the keys of a script together)::

    cornerstore:{tag}:lines:<user key>   sorted set: a line under its time
    cornerstore:{tag}:turn:<user key>    the turn
    cornerstore:{tag}:floor              the turn of whoever has none; it rises above all turns dropped

The scripts compare and append; they know nothing of caps. Redis must be 6 or newer, with ``maxmemory-policy
noeviction`` and ``appendonly yes``: a ledger that is evicted or lost starts from nothing. After ``forget``
the server's append-only file keeps the removed lines until it is rewritten (``BGREWRITEAOF``).
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boundary.ledger.base import Columns, Entry, LedgerInvalid, LedgerUnavailable, Snapshot
from boundary.ledger.lines import (
    Line,
    bounded,
    checked_block,
    decoded,
    entries_of,
    lines_of,
    snapshot_of,
    user_key,
    utf8,
)

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.maint_notifications import MaintNotificationsConfig
    from redis.retry import Retry
except ImportError as error:
    raise LedgerInvalid("a redis:// ledger needs the redis package: pip install -e '.[redis]'") from error

BUCKETS: Final = 4096
USERS_AT_ONCE: Final = 500
MILLISECONDS_A_DAY: Final = 86_400_000
FLAGS: Final = 24  # a line in Redis: turn (16 digits), part (8), shown (1), confirmed (1), text
TEXT: Final = 26

# KEYS: lines, turn, floor.  ARGV: since, a turn to start from
READ: Final = """
local turn = redis.call('GET', KEYS[2]) or redis.call('GET', KEYS[3])
if not turn then
  turn = ARGV[2]
  redis.call('SET', KEYS[3], turn)
end
return {turn, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')}
"""
# ARGV: the turn expected, the turn after it, milliseconds to live or 0, then a time and a line, and so on
APPEND: Final = """
local turn = redis.call('GET', KEYS[2]) or redis.call('GET', KEYS[3])
if turn ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'KEEPTTL')
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
local keep = tonumber(ARGV[3])
for i = 1, 2 do
  if keep > 0 and keep > redis.call('PTTL', KEYS[i]) then redis.call('PEXPIRE', KEYS[i], keep) end
end
return 1
"""
# ARGV: then a time, a line as it stands and as it shall stand, and so on; a line that has gone stays gone
REPLACE: Final = """
for i = 1, #ARGV, 3 do
  if redis.call('ZREM', KEYS[1], ARGV[i + 1]) == 1 then redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 2]) end
end
"""
# ARGV: 1 where only a shopper without lines goes, a turn to start from
FORGET: Final = """
local lines = redis.call('ZRANGE', KEYS[1], 0, -1)
if ARGV[1] == '1' and #lines > 0 then return {} end
local turn = redis.call('GET', KEYS[2]) or '0'
local floor = redis.call('GET', KEYS[3]) or ARGV[2]
redis.call('SET', KEYS[3], string.format('%.0f', math.max(tonumber(turn), tonumber(floor)) + 1))
redis.call('UNLINK', KEYS[1], KEYS[2])
return lines
"""


class RedisLedger:
    """A ledger in Redis. It connects at the first call, so a shop can start while the server is away.

    After a call that the server did not answer, the calls of the next ``timeout`` seconds fail at once; then
    one call tries again. No command is ever sent twice: without an answer nobody knows whether it was done.
    """

    def __init__(self, url: str, *, timeout: float, keep_days: float | None) -> None:
        limits = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
        }
        quiet = MaintNotificationsConfig(enabled=False)  # a notice from the server must not lengthen the timeout
        try:
            self._client = redis.Redis.from_url(url, **limits, maint_notifications_config=quiet)
        except ValueError as error:
            raise LedgerInvalid(f"the ledger's address cannot be read: {error}") from None
        place = self._client.get_connection_kwargs()
        self._name = f"the ledger at Redis {place.get('host') or 'localhost'}:{place.get('port') or 6379}"
        self._timeout = timeout
        self._keep = 0 if keep_days is None else int(keep_days * MILLISECONDS_A_DAY)
        self._down_until = 0.0
        self._closed = False

    def read(self, user_id: str, since: int) -> tuple[list[Entry], int]:
        keys = _keys(user_key(user_id))
        with self._reached() as client:
            turn, members = client.eval(READ, 3, *keys, bounded(since), _seed())
        return entries_of(_rows(members)), int(turn)

    def append(self, user_id: str, entries: Sequence[Entry], *, expected_turn: int) -> bool:
        keys, lines = _keys(user_key(user_id)), lines_of(entries)
        if not lines:
            return True
        arguments = self._append_arguments(lines, bounded(expected_turn))
        with self._reached() as client:
            return bool(client.eval(APPEND, 3, *keys, *arguments))

    def confirm(self, user_id: str, slate_id: str) -> int:
        keys, _ = _keys(user_key(user_id)), utf8(slate_id, "slate_id")
        while True:
            with self._reached() as client:
                members = client.zrange(keys[0], 0, -1, withscores=True)
            slate = [(line, at) for line, at in members if _is_shown(line) and _slate_of(line) == slate_id]
            waiting = [(line, at) for line, at in slate if not _is_confirmed(line)]
            if not waiting:
                return sum(_size(line) for line, _ in slate)
            arguments = ((int(at), line, line[: TEXT - 1] + b"1" + line[TEXT:]) for line, at in waiting)
            with self._reached() as client:
                client.eval(REPLACE, 1, keys[0], *chain.from_iterable(arguments))

    def release(self, before: int) -> int:
        return self._drop(before, lambda line: _is_shown(line) and not _is_confirmed(line))

    def forget(self, user_id: str) -> int:
        keys = _keys(user_key(user_id))
        with self._reached() as client:
            return sum(map(_size, client.eval(FORGET, 3, *keys, 0, _seed())))

    def read_block(self, user_ids: Sequence[str], since: int) -> Snapshot:
        keys = [_keys(user_key(user_id)) for user_id in user_ids]
        replies = self._many((READ, 3, *three, bounded(since), _seed()) for three in keys)
        turns, members = zip(*replies, strict=True) if replies else ((), ())
        return snapshot_of([_rows(lines) for lines in members], [int(turn) for turn in turns])

    def append_block(
        self,
        user_ids: Sequence[str],
        offsets: npt.NDArray[np.int64],
        entries: Columns,
        *,
        expected_turns: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.bool_]:
        block = list(checked_block(user_ids, offsets, entries, expected_turns))
        written = np.array([not lines for _, lines, _ in block], bool)
        calls = ((APPEND, 3, *_keys(key), *self._append_arguments(lines, turn)) for key, lines, turn in block if lines)
        written[~written] = np.array(self._many(calls), bool)
        return written

    def keep(self, days: float) -> None:
        if self._keep:  # 0 is for ever
            self._keep = max(self._keep, int(days * MILLISECONDS_A_DAY))

    def prune(self, before: int) -> int:
        dropped = self._drop(before, lambda _: True)
        for found in self._scan("turn"):
            idle = [turn.replace(b":turn:", b":lines:") for turn in found]
            floors = [turn[: turn.index(b"}") + 1] + b":floor" for turn in found]
            self._many((FORGET, 3, *three, 1, _seed()) for three in zip(idle, found, floors, strict=True))
        return dropped

    def close(self) -> None:
        self._closed = True
        self._client.close()

    def _append_arguments(self, lines: Sequence[Line], expected_turn: int) -> list[Any]:
        """Spell out the arguments of ``APPEND``; what lies ahead of the clock lives the longer for it."""
        ahead = max(0, max(line.at for line in lines) // 1000 - time.time_ns() // 1_000_000)
        arguments: list[Any] = [expected_turn, expected_turn + 1, self._keep and self._keep + ahead]
        for part, line in enumerate(lines):
            head = f"{expected_turn + 1:016d}{part:08d}{line.shown:d}{line.confirmed:d}"
            arguments += line.at, head + line.text
        return arguments

    def _many(self, calls: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Run scripts one after the other, many to a journey."""
        replies: list[Any] = []
        rest = iter(calls)
        while step := list(islice(rest, USERS_AT_ONCE)):
            with self._reached() as client, client.pipeline(transaction=False) as pipeline:
                for call in step:
                    pipeline.eval(*call)
                replies += _checked(pipeline.execute(raise_on_error=False))
        return replies

    def _drop(self, before: int, chosen: Callable[[bytes], bool]) -> int:
        """Remove the chosen lines from before a time, of all users; a line that changed meanwhile stays."""
        dropped = 0
        for keys in self._scan("lines"):
            with self._reached() as client, client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.zrangebyscore(key, "-inf", f"({bounded(before)}")
                found = _checked(pipeline.execute(raise_on_error=False))
                lines = [(key, line) for key, old in zip(keys, found, strict=True) for line in old if chosen(line)]
                for key, line in lines:
                    pipeline.zrem(key, line)
                removed = _checked(pipeline.execute(raise_on_error=False))
            dropped += sum(_size(line) for (_, line), gone in zip(lines, removed, strict=True) if gone)
        return dropped

    def _scan(self, kind: str) -> Iterator[list[bytes]]:
        """Walk over the keys of one kind, of all users."""
        cursor = 0
        while True:
            with self._reached() as client:
                cursor, keys = client.scan(cursor, match=f"cornerstore:{{*}}:{kind}:*", count=USERS_AT_ONCE)
            if keys:
                yield keys
            if not cursor:
                return

    @contextlib.contextmanager
    def _reached(self) -> Iterator[Any]:
        """Lend the client; fail at once while the server is away, and say in one line what went wrong."""
        if self._closed:
            raise LedgerUnavailable(f"{self._name} cannot be used: it was closed, open it again")
        now = time.monotonic()
        if now < self._down_until:
            raise LedgerUnavailable(f"{self._name} did not answer: next try in {self._down_until - now:.2f} s")
        if self._down_until:
            self._down_until = now + self._timeout  # this call tries, the others go on failing at once
        try:
            yield self._client
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            self._down_until = time.monotonic() + self._timeout
            told = f"{self._name} does not answer ({_line_of(error)}): start it or check the address"
            raise LedgerUnavailable(told) from error
        except redis.RedisError as error:
            raise LedgerUnavailable(f"{self._name} refuses ({_line_of(error)}): check its settings") from error
        self._down_until = 0.0


def _keys(key: bytes) -> tuple[str, str, str]:
    """Name a user's lines, turn and floor."""
    tag = f"cornerstore:{{{int.from_bytes(key[:2]) % BUCKETS}}}"
    return f"{tag}:lines:{key.hex()}", f"{tag}:turn:{key.hex()}", f"{tag}:floor"


def _seed() -> int:
    """Draw a turn to start from, so that a server that lost everything never repeats one."""
    return 1 + secrets.randbits(48)


def _rows(members: Iterable[bytes]) -> list[tuple[bool, str]]:
    return [(_is_confirmed(line), line[TEXT:].decode()) for line in members]


def _is_shown(line: bytes) -> bool:
    return line[FLAGS : FLAGS + 1] == b"1"


def _is_confirmed(line: bytes) -> bool:
    return line[FLAGS + 1 : TEXT] == b"1"


def _slate_of(line: bytes) -> str:
    return str(decoded(line[TEXT:].decode())[3])


def _size(line: bytes) -> int:
    return len(decoded(line[TEXT:].decode())[4])


def _checked(replies: list[Any]) -> list[Any]:
    """Raise the first error among the replies of a pipeline."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _line_of(error: Exception) -> str:
    return str(error).partition("\n")[0]
