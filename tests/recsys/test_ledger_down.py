"""Without the ledger nobody knows what was shown: the crowd shelf, at once, and back without a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from corner import NOW, shopper

from boundary.ledger import LedgerUnavailable, open_ledger
from recsys.batch import Order, score_users
from recsys.batch_files import BatchError
from recsys.bundle import Bundle
from recsys.engine import Engine

WHO = shopper(3)


class Failing:
    """A ledger in memory that can be broken and mended, for reads or for writes."""

    def __init__(self) -> None:
        self._inner = open_ledger("sqlite://")
        self.broken: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name in self.broken:
            raise LedgerUnavailable("broken")
        return getattr(self._inner, name)


def test_a_path_that_cannot_be_written_is_a_ledger_that_is_down(home: Path) -> None:
    """Loading succeeds; slates are the crowd's with the guard's reason, status says why, nothing hangs."""
    engine = Engine.load(home, ledger="sqlite:////proc/nope/x.db")
    began = time.monotonic()
    slate = engine.score(WHO, now=NOW)
    assert time.monotonic() - began < 5
    assert slate.items
    assert {s.source for s in slate.items} == {"crowd"}
    assert slate.withheld["ledger_down"] > 0
    assert not slate.reserved
    assert engine.status(now=NOW)["ledger"]["up"] is False
    assert slate.items == engine.score(shopper(4), now=NOW).items


@pytest.mark.parametrize("broken", [{"read", "read_block"}, {"append"}])
def test_the_engine_recovers_without_a_restart(bundle: Bundle, broken: set[str]) -> None:
    """Whether reads or writes fail, the crowd shelf is served, and the shopper's own list as soon as it is mended."""
    ledger = Failing()
    engine = Engine(bundle, ledger=ledger)  # type: ignore[arg-type]
    before = engine.score(WHO, now=NOW, reserve=False)
    ledger.broken = broken
    down = engine.score(WHO, now=NOW)
    assert {s.source for s in down.items} == {"crowd"}
    assert (down.withheld["ledger_down"] > 0, down.tier, down.reserved) == (True, "guest", False)
    ledger.broken = set()
    after = engine.score(WHO, now=NOW)
    assert (after.items, after.reserved) == (before.items, True)


def test_a_ledger_that_comes_up_later_is_found(home: Path, tmp_path: Path) -> None:
    """A folder that appears after loading is enough."""
    engine = Engine.load(home, ledger=f"sqlite:///{tmp_path / 'later' / 'x.db'}")
    assert engine.score(WHO, now=NOW).tier == "guest"
    (tmp_path / "later").mkdir()
    assert engine.score(WHO, now=NOW).reserved
    assert engine.ledger is not None
    engine.ledger.close()


def test_no_ledger_at_all_is_the_crowd_shelf(bundle: Bundle) -> None:
    """Nobody's caps can be kept, so nobody is known."""
    slate = Engine(bundle, ledger=None).score(WHO, now=NOW)
    assert {s.source for s in slate.items} == {"crowd"}
    assert slate.withheld["ledger_down"] > 0


def test_a_batch_that_is_to_record_stops_in_one_line(bundle: Bundle, tmp_path: Path) -> None:
    """Nothing is sent that cannot be noted."""
    ledger = Failing()
    engine = Engine(bundle, ledger=ledger)  # type: ignore[arg-type]
    order = Order(5, "home", "browse", NOW, record=True)
    for broken in ({"read", "read_block"}, {"append_block"}):
        ledger.broken = broken
        with pytest.raises(BatchError, match="mend it and resume"):
            score_users(engine, [WHO], tmp_path / "batch", order, resume=True)
    ledger.broken = set()
    assert score_users(engine, [WHO], tmp_path / "batch", order, resume=True)["shown"] == 5
    with pytest.raises(BatchError, match="needs a ledger"):
        score_users(Engine(bundle, ledger=None), [WHO], tmp_path / "other", order)


def test_too_many_racing_callers_end_on_the_crowd_shelf(bundle: Bundle) -> None:
    """Who never gets a turn is served what needs none."""
    ledger = Failing()
    engine = Engine(bundle, ledger=ledger)  # type: ignore[arg-type]
    ledger.append = lambda *_args, **_more: False  # type: ignore[attr-defined]
    slate = engine.score(WHO, now=NOW)
    assert ({s.source for s in slate.items}, slate.reserved) == ({"crowd"}, False)


def test_withdrawn_consent_needs_no_ledger(bundle: Bundle) -> None:
    """A guest's slate is the same with the ledger up or down, but for gestures."""
    up, down = Engine(bundle, ledger=open_ledger("sqlite://")), Engine(bundle, ledger=None)
    for user in (None, shopper(57), shopper(58), "stranger"):
        crowd = [s for s in up.score(user, now=NOW).items if s.source == "crowd"]
        assert [s for s in down.score(user, now=NOW).items if s.source == "crowd"] == crowd
