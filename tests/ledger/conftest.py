"""The stores under test: SQLite in a file, SQLite in memory, and a real Redis server."""

import itertools
import os
import shutil
from collections.abc import Iterator

import pytest
from redis_server import RedisServer

from boundary.ledger import Ledger, open_ledger

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server; without the program the test is skipped, in CI it fails."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is not installed: apt-get install redis-server")
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["sqlite", "memory", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store, one after the other."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"


@pytest.fixture(scope="module")
def ledger(url: str) -> Iterator[Ledger]:
    """One open store for a whole room of tests, which ask for users of their own."""
    opened = open_ledger(url, timeout=20.0)
    yield opened
    opened.close()


@pytest.fixture
def user() -> str:
    """A user that no other test knows."""
    return f"user-{os.getpid()}-{next(_numbers)}"
