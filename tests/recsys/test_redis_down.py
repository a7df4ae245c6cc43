"""A real Redis that goes away in the middle: the crowd shelf within a bounded time, and back without a restart."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from corner import NOW, shopper
from redis_server import RedisServer

from boundary.ledger import open_ledger
from recsys.bundle import Bundle
from recsys.engine import Engine
from recsys.slates import Slate

WHO, TIMEOUT = shopper(3), 0.5
pytestmark = pytest.mark.redis


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of the test's own, so that stopping it disturbs no other; missing is a failure in CI."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is not installed: apt-get install redis-server")
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


def timed(engine: Engine) -> tuple[Slate, float]:
    began = time.monotonic()
    return engine.score(WHO, now=NOW), time.monotonic() - began


def is_crowd_shelf(slate: Slate) -> bool:
    crowd = {item.source for item in slate.items} == {"crowd"}
    return crowd and slate.withheld["ledger_down"] > 0 and (slate.tier, slate.reserved) == ("guest", False)


@pytest.mark.parametrize("gone", ["stopped", "frozen"])
def test_redis_goes_away_in_the_middle(bundle: Bundle, server: RedisServer, gone: str) -> None:
    """Refused or unanswered, no call waits much longer than the ledger's timeout, and no slot is remembered."""
    ledger = open_ledger(server.url, timeout=TIMEOUT)
    engine = Engine(bundle, ledger=ledger)
    first, _ = timed(engine)
    assert (first.tier, first.reserved, engine.shown(first)) == ("regular", True, True)
    server.stop() if gone == "stopped" else server.freeze()
    slates, seconds = zip(*(timed(engine) for _ in range(6)), strict=True)
    assert all(map(is_crowd_shelf, slates))
    assert max(seconds) < TIMEOUT + 2  # nobody hangs
    assert min(seconds) < TIMEOUT  # who comes while it is known to be away does not even try
    server.start() if gone == "stopped" else server.thaw()
    deadline = time.monotonic() + 30
    while is_crowd_shelf(back := engine.score(WHO, now=NOW)):
        assert time.monotonic() < deadline, "the engine did not find the server again"
    assert (back.tier, back.reserved) == ("regular", True)
    entries, _ = ledger.read(WHO, 0)
    assert {entry.slate_id for entry in entries} == {first.slate_id, back.slate_id}  # none lost, none of the crowd's
    assert sum(entry.confirmed for entry in entries) == len(first.items)
    ledger.close()
