"""What Redis alone must stand: a server that stops, freezes, forgets, and comes back."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from redis_server import RedisServer

from boundary.ledger import Entry, Ledger, LedgerUnavailable, open_ledger
from boundary.ledger.lines import user_key

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.redis
MILK = Entry("shown", "milk", "home", 1_700_000_000_000_000, "s1", 0, "crowd", False)
TIMEOUT = 0.2


@pytest.fixture
def ledger(redis_server: RedisServer) -> Iterator[Ledger]:
    """A ledger with a short timeout on the running server."""
    opened = open_ledger(redis_server.url, timeout=TIMEOUT)
    yield opened
    opened.close()


def fails_within(ledger: Ledger, seconds: float) -> str:
    """Give what a call says that must fail in time."""
    started = time.monotonic()
    with pytest.raises(LedgerUnavailable) as caught:
        ledger.read("ann", 0)
    assert time.monotonic() - started < seconds
    return str(caught.value)


def read_again(ledger: Ledger, user: str) -> list[Entry]:
    """Call until the ledger has found its server again."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return ledger.read(user, 0)[0]
        except LedgerUnavailable:
            continue
    raise AssertionError("the ledger did not find its server again within 30 s")


def test_a_server_that_stops_is_told_and_found_again(redis_server: RedisServer, ledger: Ledger, user: str) -> None:
    """Calls fail quickly while the server is away, and work after its restart, with everything kept."""
    ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])
    redis_server.stop()
    try:
        assert "does not answer" in fails_within(ledger, 2 + 2 * TIMEOUT)
        assert "next try in" in fails_within(ledger, TIMEOUT / 2)
    finally:
        redis_server.start()
    assert read_again(ledger, user) == [MILK]
    assert ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])


def test_a_server_that_freezes_is_told_in_time(redis_server: RedisServer, ledger: Ledger, user: str) -> None:
    """A server that takes the question and never answers costs one timeout, the next calls nothing."""
    _, turn = ledger.read(user, 0)
    redis_server.freeze()
    try:
        started = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="does not answer"):
            ledger.append(user, [MILK], expected_turn=turn)
        assert time.monotonic() - started < 2 + 2 * TIMEOUT
        assert "next try in" in fails_within(ledger, TIMEOUT / 2)
    finally:
        redis_server.thaw()
    assert len(read_again(ledger, user)) <= 1  # the frozen server may still do what nobody heard it do, once


def test_a_call_without_an_answer_is_not_sent_again(user: str) -> None:
    """A line that breaks before the answer ends the call: the server may have done it already."""
    calls = 0
    with socket.create_server(("127.0.0.1", 0)) as door:

        def hang_up() -> None:
            nonlocal calls
            with contextlib.suppress(OSError):
                while True:
                    door.accept()[0].close()
                    calls += 1

        thread = threading.Thread(target=hang_up)
        thread.start()
        ledger = open_ledger(f"redis://127.0.0.1:{door.getsockname()[1]}/0", timeout=TIMEOUT)
        with pytest.raises(LedgerUnavailable, match="does not answer"):
            ledger.append(user, [MILK], expected_turn=1)
        ledger.close()
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert calls == 1


def test_a_ledger_opens_while_the_server_is_away(redis_server: RedisServer) -> None:
    """A shop starts without its ledger and finds it later."""
    redis_server.stop()
    try:
        ledger = open_ledger(redis_server.url, timeout=TIMEOUT)
        fails_within(ledger, 2 + 2 * TIMEOUT)
    finally:
        redis_server.start()
    assert read_again(ledger, "nobody") == []
    ledger.close()


def test_a_turn_from_before_the_loss_is_stale(redis_server: RedisServer, ledger: Ledger, user: str) -> None:
    """A server that lost everything does not take an append that read the old world."""
    ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])
    turns = [ledger.read(name, 0)[1] for name in (user, user + "-new")]
    redis_server.lose_everything()
    redis_server.start()
    assert read_again(ledger, user) == ledger.read(user + "-new", 0)[0] == []
    assert not ledger.append(user, [MILK], expected_turn=turns[0])
    assert not ledger.append(user + "-new", [MILK], expected_turn=turns[1])


def test_nothing_of_a_forgotten_user_is_left(redis_server: RedisServer, ledger: Ledger, user: str) -> None:
    """No key and no value of the server speaks of the forgotten; ids stand nowhere in clear."""
    other = user + "-other"
    for name in (user, other):
        slate = MILK._replace(slate_id=f"slate-of-{user_key(name).hex()}")
        ledger.append(name, [slate], expected_turn=ledger.read(name, 0)[1])
    ledger.forget(user)
    client = redis.Redis.from_url(redis_server.url)
    left = b" ".join(key + b" " + (client.dump(key) or b"") for key in client.scan_iter())
    client.close()
    assert user_key(user).hex().encode() not in left
    assert user.encode() not in left
    assert user_key(other).hex().encode() in left


def lives(url: str, ledger: Ledger, name: str) -> list[int]:
    """Give the days that a user's keys have to live, rounded."""
    client = redis.Redis.from_url(url)
    key = user_key(name).hex()
    found = [client.pttl(found) for kind in ("lines", "turn") for found in client.scan_iter(f"*:{kind}:{key}")]
    client.close()
    return [round(milliseconds / 86_400_000) for milliseconds in found]


def test_an_idle_user_expires_after_the_longest_window(redis_server: RedisServer, user: str) -> None:
    """Keys live as long as asked, longer for an entry ahead of the clock, never shorter than before."""
    ledger = open_ledger(redis_server.url, timeout=5, keep_days=30)
    ahead = MILK._replace(at=time.time_ns() // 1000 + 10 * 86_400_000_000)
    for entry, days in ((MILK, 30), (ahead, 40), (MILK, 40)):
        ledger.append(user, [entry], expected_turn=ledger.read(user, 0)[1])
        assert lives(redis_server.url, ledger, user) == [days, days]
    ledger.close()


def test_a_longer_window_keeps_entries_longer(redis_server: RedisServer, user: str) -> None:
    """From the next append on; a shorter one changes nothing, and what never expires goes on so."""
    ledger = open_ledger(redis_server.url, timeout=5, keep_days=30)
    for days, left in ((30, 30), (90, 90), (7, 90)):
        ledger.keep(days)
        ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])
        assert lives(redis_server.url, ledger, user) == [left, left]
    ledger.close()


def test_without_keep_days_nothing_expires(redis_server: RedisServer, user: str) -> None:
    """Keys stay until they are pruned or forgotten."""
    ledger = open_ledger(redis_server.url, timeout=5)
    ledger.keep(7)
    ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])
    client = redis.Redis.from_url(redis_server.url)
    key = user_key(user).hex()
    assert [client.pttl(found) for found in client.scan_iter(f"*:{key}")] == [-1, -1]
    client.close()
    ledger.close()


def test_a_server_that_refuses_is_named_in_one_line(redis_server: RedisServer, ledger: Ledger, user: str) -> None:
    """A full server refuses an append: the ledger says so, and reading goes on."""
    _, turn = ledger.read(user, 0)
    client = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(LedgerUnavailable, match="refuses") as caught:
            ledger.append(user, [MILK], expected_turn=turn)
    finally:
        client.config_set("maxmemory", 0)
        client.close()
    assert "\n" not in str(caught.value)
    assert ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])


def test_a_password_is_never_told() -> None:
    """The address in an error shows host and port alone."""
    ledger = open_ledger("redis://:secret@127.0.0.1:1/0", timeout=TIMEOUT)
    told = fails_within(ledger, 2 + 2 * TIMEOUT)
    assert "127.0.0.1:1" in told
    assert "secret" not in told
    ledger.close()


def test_a_missing_package_is_named() -> None:
    """Without the redis package the extra is named."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from boundary.ledger import open_ledger, LedgerInvalid\n"
        "try: open_ledger('redis://host:6379/0')\n"
        "except LedgerInvalid as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install -e '.[redis]'" in told.stdout
