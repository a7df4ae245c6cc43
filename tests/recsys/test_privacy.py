"""Logs name nobody: only a keyed hash, whose key rotates, and that of another process differs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corner import DAY, NOW, shopper
from hypothesis import given
from hypothesis import strategies as st

from boundary.ledger import open_ledger
from recsys.bundle import Bundle
from recsys.engine import Engine
from recsys.privacy import Aliases, keyed_hash

SECRET = b"0123456789abcdef"


@given(st.text(), st.text(), st.integers(0, 2**52))
def test_an_alias_is_stable_within_a_rotation_and_tells_nothing(one: str, other: str, now: int) -> None:
    """Same shopper and day, same alias; another shopper, day or secret, another alias."""
    aliases = Aliases(SECRET)
    start = now - now % DAY
    assert aliases.of(one, now=now) == aliases.of(one, now=start)
    assert (aliases.of(one, now=now) == aliases.of(other, now=now)) == (one == other)
    assert aliases.of(one, now=now) != aliases.of(one, now=now + DAY)
    assert aliases.of(one, now=now) != Aliases().of(one, now=now)


@pytest.mark.parametrize(("given_", "told"), [({"secret": b"short"}, "`secret`"), ({"rotation": 0}, "`rotation`")])
def test_a_weak_secret_is_refused(given_: dict[str, Any], told: str) -> None:
    """One line names the bound."""
    with pytest.raises(ValueError, match=told):
        Aliases(**given_)


def test_a_hash_needs_its_key() -> None:
    """Lone surrogates too have a hash; another key gives another."""
    assert keyed_hash("\ud800", b"a" * 32) != keyed_hash("\ud800", b"b" * 32)


class Telling:
    """A recommender whose failure names a shopper."""

    name = "telling"

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no factors for {shopper(3)}")


def test_nothing_in_the_log_names_a_shopper(bundle: Bundle, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scoring, feedback, failures and forgetting leave no id in the log."""
    caplog.set_level(logging.DEBUG)
    who = shopper(3)
    engine = Engine(bundle, ledger=open_ledger("sqlite://"))
    engine.shown(engine.score(who, now=NOW))
    engine.feedback(who, "item-01", "dismiss", now=NOW)
    engine.explain(who, "item-01", now=NOW)
    engine.forget(who, now=NOW)
    Engine.load(home, ledger="sqlite:////proc/nope/x.db").score(who, now=NOW)
    Engine(replace(bundle, model=Telling()), ledger=open_ledger("sqlite://")).score(who, now=NOW)  # type: ignore[arg-type]
    assert "the recommender failed" in caplog.text
    assert "ledger is down" in caplog.text
    assert "forgot shopper ~" in caplog.text
    assert who not in caplog.text
    assert engine.aliases.of(who, now=NOW) in caplog.text
