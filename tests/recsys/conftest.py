"""Fixtures over the small shop of ``corner``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corner import fitted

from boundary.ledger import open_ledger
from recsys.bundle import Bundle
from recsys.cli import main
from recsys.engine import Engine


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The fitted shop, in memory; never changed."""
    return fitted()


@pytest.fixture
def home(bundle: Bundle, tmp_path: Path) -> Path:
    """The fitted shop on disk, for one test."""
    return bundle.save(tmp_path / "bundle")


@pytest.fixture
def opened(home: Path, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Open engines over the bundle on disk and one SQLite ledger beside it."""
    engines: list[Engine] = []

    def build(**settings: object) -> Engine:
        engine = Engine.load(home, **{"ledger": f"sqlite:///{tmp_path / 'ledger.db'}", **settings})  # type: ignore[arg-type]
        engines.append(engine)
        return engine

    yield build
    for engine in engines:
        if engine.ledger is not None:
            engine.ledger.close()


@pytest.fixture
def engine(bundle: Bundle) -> Iterator[Engine]:
    """The shop in memory with a ledger in memory."""
    ledger = open_ledger("sqlite://")
    yield Engine(bundle, ledger=ledger)
    ledger.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command as a console would; return its exit code, what it printed and what it complained of."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cornerstore", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return call
