"""A slate says why the profile was left alone; the ledger that belongs to a bundle lies beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from corner import DAY, NOW, shopper

from boundary.ledger import open_ledger
from recsys.bundle import Bundle
from recsys.engine import Engine


@pytest.mark.parametrize(
    ("user", "later", "closed"),
    [
        (shopper(3), 0, ()),
        (shopper(3), 2000, ("stale",)),
        (shopper(57), 0, ("opted_out",)),
        (shopper(58), 0, ("no_consent",)),
        (shopper(59), 0, ("no_consent",)),
        ("a stranger", 0, ("unknown",)),
        (None, 0, ("unknown",)),
    ],
)
def test_a_slate_without_the_profile_says_why(engine: Engine, user: str | None, later: int, closed: tuple[str, ...]):
    """Each reason is told, and the profile speaks exactly where none is."""
    slate = engine.score(user, now=NOW + later * DAY, reserve=False)
    assert slate.closed == closed
    assert ("personal" in {item.source for item in slate.items}) == (not closed)
    assert slate.to_dict()["closed"] == closed


def test_a_place_without_candidates_is_not_called_stale(engine: Engine):
    """An aisle that holds nothing is no reason of the profile's."""
    slate = engine.score(shopper(3), now=NOW, within="no such aisle", reserve=False)
    assert (slate.items, slate.closed) == ((), ())


def test_a_shopper_of_too_short_a_relationship_is_disproportionate(bundle: Bundle):
    """Who has not reached a newcomer's terms is a guest for that reason."""
    engine = Engine(bundle, ledger=open_ledger("sqlite://"), policy=bundle.policy.replace({"tiers.newcomer.days": 365}))
    assert engine.score(shopper(3), now=NOW, reserve=False).closed == ("disproportionate",)


def test_no_ledger_is_told_as_one_that_is_down(bundle: Bundle):
    """Nobody knows what was shown."""
    slate = Engine(bundle, ledger=None).score(shopper(3), now=NOW)
    assert slate.closed == ("ledger_down",)


def test_the_ledger_lies_beside_the_bundle_where_none_is_named(home: Path):
    """An engine that is opened without more remembers, and another one finds what it remembered."""
    one, other = Engine.load(home), Engine.load(home)
    slate = one.score(shopper(3), now=NOW)
    assert slate.reserved
    assert (home.parent / "ledger.db").exists()
    assert other.shown(slate)
