"""What every rule says of one row, and what would change it: the remedy tried out is the remedy told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import DAY, DEFAULT, HOUR, MINUTE, NOW, World, event, one_row, policy, shown

from boundary import Policy
from boundary.explain import RuleVerdict, explain_row, for_shopper
from boundary.facts import Facts
from boundary.rules.base import Rule
from boundary.words import MICROSECONDS_AN_HOUR

CROWD = {"source": "crowd"}


def explained(world: World, rules: Policy = DEFAULT, **context: Any) -> dict[str, RuleVerdict]:
    """Ask every rule about the only row of a world."""
    asked = replace(world, context=replace(world.context, **context))
    verdict, shoppers = asked.screen(rules), asked.meet(rules)
    facts = Facts(
        asked.context, asked.catalogue, shoppers, asked.candidates, history=asked.history, exposures=asked.exposures
    )
    return {one.rule: one for one in explain_row(rules, facts.one(0), int(verdict.enforced[0]))}


def remedy(world: World, rule: str, rules: Policy = DEFAULT, **context: Any) -> str | None:
    told = explained(world, rules, **context)[rule]
    assert told.withheld
    return told.remedy


LAST = [shown(0, ago=DAY + n, slate=n) for n in range(3)]
SPREAD = [shown(0, ago=(5 if n < 10 else 3) * DAY, slate=n) for n in range(20)] + [shown(1, slate=n) for n in range(15)]
MAIL = {"surface": "email"}
MAILS = [shown(1, ago=(17 + n) * HOUR, surface="email", slate=n) for n in range(5)]


@pytest.mark.parametrize(
    ("rule", "told", "world", "context"),
    [
        ("item_cap", "in 6 days", lambda: one_row(entries=LAST), {}),
        ("item_cap", "in 1 hour", lambda: one_row(entries=[shown(0, ago=7 * DAY - n, slate=n) for n in (1, 2, 3)]), {}),
        ("item_cap", "in 5 days", lambda: one_row(entries=[*LAST[1:], shown(0, ago=2 * DAY), shown(0, ago=6 * DAY)]), {}),
        ("item_cap", "in 6 days", lambda: one_row(entries=[*LAST, *(shown(0, ago=days * DAY) for days in (7, 8, 90))]), {}),
        ("category_cap", "in 4 days", lambda: one_row(entries=[shown(0, ago=3 * DAY, slate=n) for n in range(20)]), {}),
        ("category_cap", "in 2 days", lambda: one_row({"category": "z"}, entries=SPREAD), {}),
        ("surface_cap", "within 1 day", lambda: one_row(row=CROWD, entries=MAILS), MAIL),
        ("channel_gap", "in 6 hours", lambda: one_row(row=CROWD, entries=[shown(1, ago=10 * HOUR, surface="push")]), MAIL),
        ("quiet_hours", "in 7 hours", lambda: one_row(row=CROWD), MAIL | {"now": NOW + 11 * HOUR}),
        ("quiet_hours", "in 8 hours", lambda: one_row(row=CROWD), MAIL | {"now": NOW + 11 * HOUR - MINUTE}),
        ("dismissed", "in 5 days", lambda: one_row(events=[event(0, kind="dismiss", ago=2 * DAY)]), {}),
        ("dismissed", "in 12 days", lambda: one_row(events=[event(0, kind="dismiss", ago=n * DAY) for n in (2, 3)]), {}),
        ("fatigued", "if you looked at it", lambda: one_row(entries=[shown(0, ago=(9 + n) * DAY) for n in range(10)]), {}),
        ("owned", None, lambda: one_row({"replenish_days": None}, events=[event(0)]), {}),
        ("replenish_early", "in 5 days", lambda: one_row(events=[event(0)]), {}),
        ("following", "in 13 days", lambda: one_row(events=[event(0, kind="view")]), {}),
        ("sensitive_category", "if you opted in", lambda: one_row({"category": "medicine"}), {}),
        ("low_support", "if 1 more shopper bought it", lambda: one_row(support=29), {}),
        ("low_support", "if 30 more shoppers bought it", lambda: one_row(support=0), {}),
        ("low_support", None, lambda: one_row(support=float("nan")), {}),
        ("no_consent", "if you agreed to personalise", lambda: one_row(shopper={"consent": []}), {}),
        ("opted_out", "if you took back your opt-out", lambda: one_row(shopper={"opted_out": True}), {}),
        ("upsell", None, lambda: one_row({"price": 9.0, "category": "tea"}), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_would_change_it(rule: str, told: str | None, world: Callable[[], World], context: dict[str, Any]) -> None:
    """A time, a word of the shopper's, or nothing."""
    assert remedy(world(), rule, **context) == told


@pytest.mark.parametrize("rule", ["item_cap", "fatigued"])
def test_never_has_no_remedy(rule: str) -> None:
    """What is shown to nobody does not come back with time."""
    assert remedy(one_row(), rule, policy(**{f"{rule}__times": 0})) is None


def test_a_newcomer_may_be_known_better_later() -> None:
    """The days that the relationship still lacks."""
    newcomer = one_row(shopper={"since": dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)})
    assert remedy(newcomer, "disproportionate") == "in 4 days"


@pytest.mark.parametrize(
    ("zone", "now", "told"),
    [
        ("Europe/Paris", dt.datetime(2026, 3, 28, 22, tzinfo=dt.UTC), "in 6 hours"),  # 23:00, and an hour is left out
        ("Europe/Paris", dt.datetime(2026, 3, 27, 22, tzinfo=dt.UTC), "in 7 hours"),
        ("Europe/Paris", dt.datetime(2026, 10, 24, 21, tzinfo=dt.UTC), "in 8 hours"),  # 23:00, and one comes twice
        ("America/New_York", dt.datetime(2026, 11, 1, 6, 30, tzinfo=dt.UTC), "in 5 hours"),  # 01:30 for the second time
        ("Asia/Kathmandu", dt.datetime(2026, 1, 15, 16, 15, tzinfo=dt.UTC), "in 8 hours"),
    ],
)
def test_the_night_ends_by_the_shoppers_clock(zone: str, now: dt.datetime, told: str) -> None:
    """Also where the clock changes in that night."""
    world = one_row(row=CROWD, shopper={"timezone": zone})
    assert remedy(world, "quiet_hours", surface="push", now=int(now.timestamp()) * 1_000_000) == told


def test_the_second_of_two_equal_hours_has_its_own_end() -> None:
    """In the night of a clock change: half past two has been before, and so has a quarter to three."""
    now = int(dt.datetime(2026, 10, 25, 1, 30, tzinfo=dt.UTC).timestamp()) * 1_000_000
    shoppers = one_row(shopper={"timezone": "Europe/Prague"}).meet(DEFAULT)
    assert shoppers.hours_until(2, now - 30 * MINUTE).tolist() == [24]  # it shows two now
    for local in (0, 30):
        assert shoppers.local_hours(now - (30 - local) * MINUTE).tolist() == [2 + local / 60]
        assert shoppers.hours_until(2.75, now - (30 - local) * MINUTE).tolist() == [(45 - local) / 60]
        assert shoppers.hours_until(3, now - (30 - local) * MINUTE).tolist() == [(60 - local) / 60]
        assert shoppers.hours_until(2.75, now - (90 - local) * MINUTE).tolist() == [(45 - local) / 60]


def test_nobody_knows_when_the_night_ends_nowhere() -> None:
    """Without a known zone there is no hour to name."""
    assert remedy(one_row(row=CROWD, shopper={"timezone": "Mars/Base"}), "quiet_hours", surface="push") is None


nights = st.tuples(
    st.sampled_from(["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]),
    st.integers(0, 366 * 24 * 4),
    st.sampled_from([(22.0, 6.0), (1.0, 2.5), (2.5, 1.75), (0.0, 24.0), (23.0, 0.0)]),
)


@given(nights)
def test_after_the_hours_told_the_clock_shows_the_end_of_the_night(night: tuple[str, int, tuple[float, float]]) -> None:
    """Not before, and not a whole day late; where the clock leaves that hour out it is past it."""
    zone, quarter, (_, end) = night
    now = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6) + quarter * MICROSECONDS_AN_HOUR // 4
    shoppers = one_row(shopper={"timezone": zone}).meet(DEFAULT)
    wait = float(shoppers.hours_until(end, now)[0])
    assert 0 < wait <= 25
    then = float(shoppers.local_hours(now + round(wait * MICROSECONDS_AN_HOUR))[0])
    assert min((then - end) % 24, (end - then) % 24) < 1e-3 or 0 < (then - end) % 24 <= 1
    before = [float(shoppers.local_hours(now + round(wait * share * MICROSECONDS_AN_HOUR))[0]) for share in (0.3, 0.9)]
    here = float(shoppers.local_hours(now)[0])
    assert all((one - here) % 24 <= (end - here - 1e-4) % 24 + 1 for one in before)


def test_a_rule_that_breaks_withholds_and_tells_nothing() -> None:
    """In the explanation as in the gate."""

    class Broken(type(DEFAULT.rules["owned"])):  # type: ignore[misc]
        def value(self, facts: Any) -> Any:
            raise RuntimeError

    rules = policy()
    rules.rules["owned"] = Broken(**rules.rules["owned"].model_dump())
    told = explained(one_row(), rules)["owned"]
    assert (told.withheld, told.value, told.limit, told.remedy) == (True, None, None, None)


def test_staff_see_value_and_limit() -> None:
    """Of a rule that does not judge the source nothing is told; a quota has no value; infinite is no number."""
    told = explained(one_row(entries=LAST))
    cap = told["item_cap"]
    assert (cap.withheld, cap.value, cap.limit, cap.bound) == (True, 4.0, 3.0, "at most")
    assert told["following"].bound == "at least"
    assert (told["following"].withheld, told["following"].value) == (False, None)
    assert (told["profile_share"].withheld, told["profile_share"].value) == (False, None)
    crowd = explained(one_row(row=CROWD), policy(owned__enforce="off"))
    assert (crowd["too_close"].withheld, crowd["owned"].withheld) == (None, None)
    assert explained(one_row(row=CROWD), n=0)["slate_full"].withheld
    shadow = explained(one_row(entries=LAST), policy(item_cap__enforce="shadow"))["item_cap"]
    assert not told["unknown"].withheld
    assert not told["slate_full"].withheld
    assert not told["category_cap"].withheld
    assert not told["brand_cap"].withheld
    uncapped = explained(one_row(), policy(too_close__most="none"))["too_close"]
    assert (uncapped.withheld, uncapped.value, uncapped.limit) == (False, 0.0, None)
    strange = explained(one_row(row={"source": 255}))
    assert strange["not_a_candidate"].withheld
    assert (shadow.withheld, shadow.value, shadow.remedy, shadow.enforce) == (True, 4.0, "in 6 days", "shadow")
    assert explained(one_row({"promoted": True}))["promoted_lead"].withheld
    assert cap.to_dict() == {
        "rule": "item_cap", "reason": "item_cap", "family": "frequent", "enforce": "enforce", "withheld": True,
        "value": 4.0, "limit": 3.0, "remedy": "in 6 days", "bound": "at most",
    }  # fmt: skip


def test_the_shopper_hears_of_the_most_private_family_alone() -> None:
    """One sentence, and never the reason."""
    assert for_shopper(["owned", "promoted_share"]) == "we do not want to repeat ourselves"
    assert for_shopper(["promoted_share", "unknown"]) == "we do not want to push"
    assert for_shopper(["unknown", "slate_full"]) == "we are not sure enough about it"
    assert for_shopper(["slate_full"]) == "there was no room left"
    assert np.array([isinstance(rule, Rule) for rule in DEFAULT.rules.values()]).all()
