"""Exactly at a limit, and just over it; what a complaint leaves of a limit; and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    World,
    customer,
    customers,
    event,
    history,
    item,
    one_row,
    only,
    policy,
    shown,
)
from shop import catalogue as compiled

from boundary import Candidates, Exposures, Policy
from boundary.facts import Facts, ShopperFacts
from boundary.rules.base import Quota, in_days
from boundary.words import Family

plain = cache(one_row)  # nothing is wrong with its only row
limits = st.decimals(min_value="0.01", max_value="9.99", places=2).map(float)


def with_closeness(value: float) -> World:
    return replace(plain(), candidates=replace(plain().candidates, closeness=np.array([value], np.float32)))


def with_trace(value: float) -> World:
    return replace(plain(), candidates=replace(plain().candidates, trace_share=np.array([value], np.float32)))


def priced(value: float) -> World:
    """Return a row so many times as dear as what the shopper pays in its category."""
    things = plain().catalogue
    return replace(
        plain(),
        catalogue=replace(things, price=np.array([2 * np.float32(value), 2], np.float32), category=np.int32([0, 0])),
    )


def with_support(value: float) -> World:
    return replace(plain(), catalogue=replace(plain().catalogue, support=np.array([value, 100], np.float32)))


def with_proxy(value: float) -> World:
    things = plain().catalogue
    lift, z = things.proxy_lift.copy(), things.proxy_z.copy()
    lift[1, 0], z[1, 0] = value, 9
    return replace(plain(), catalogue=replace(things, proxy_lift=lift, proxy_z=z))


AT_MOST = [("too_close", "most", with_closeness), ("single_trace", "most", with_trace), ("upsell", "most", priced)]


@pytest.mark.parametrize(("rule", "setting", "world"), AT_MOST, ids=[name for name, _, _ in AT_MOST])
@given(limit=limits)
def test_a_value_at_its_limit_is_not_over_it(rule: str, setting: str, world: Any, limit: float) -> None:
    """A limit written with decimals is the single-precision number that measures are; the next one up is over it."""
    if rule == "single_trace":
        limit /= 10
    rules = only(rule, **{f"{rule}__{setting}": limit})
    over = float(np.nextafter(np.float32(limit), np.float32(np.inf)))
    assert world(limit).screen(rules).reasons(0) == []
    assert world(over).screen(rules).reasons(0) == [rule]
    assert not rules.rules[rule](facts_of(world(limit))).any()
    assert rules.rules[rule](facts_of(world(over))).all()


@given(limit=limits)
def test_a_value_at_the_least_is_enough(limit: float) -> None:
    """So is it with what must be reached: buyers, and the lift that makes a proxy of an item."""
    short = float(np.nextafter(np.float32(limit), np.float32(0)))
    support, proxy = only("low_support", low_support__k=limit), only("sensitive_proxy", sensitive_proxy__lift=limit)
    assert with_support(limit).screen(support).reasons(0) == []
    assert with_support(short).screen(support).reasons(0) == ["low_support"]
    assert with_proxy(limit).screen(proxy).reasons(0) == ["sensitive_proxy"]
    assert with_proxy(short).screen(proxy).reasons(0) == []
    things = with_proxy(9).catalogue
    surely = replace(plain(), catalogue=replace(things, proxy_z=np.float32([[0, 0], [limit, 0]])))
    assert surely.screen(only("sensitive_proxy", sensitive_proxy__z=limit)).reasons(0) == ["sensitive_proxy"]
    hardly = replace(plain(), catalogue=replace(things, proxy_z=np.float32([[0, 0], [short, 0]])))
    assert hardly.screen(only("sensitive_proxy", sensitive_proxy__z=limit)).reasons(0) == []


COMPLAINT = shown(-1, kind="too_often", ago=0)
MAIL = {"surface": "email", "n": 10}


@pytest.mark.parametrize("rule", ["item_cap", "category_cap", "brand_cap", "fatigued", "surface_cap"])
@pytest.mark.parametrize("shopper", [{}, {"consent": []}], ids=["known", "guest"])
def test_complaints_never_bring_a_count_to_nothing(rule: str, shopper: dict[str, Any]) -> None:
    """Once is the least there is, of four complaints as of one; a guest's count for messages alone."""
    entries = [COMPLAINT] * 4
    world = one_row({"brand": "mill"}, row={"source": "crowd"}, shopper=shopper, entries=entries, **MAIL)
    rules = only(rule, **{f"{rule}__times": 1, f"{rule}__sources": ["crowd"]})
    assert world.screen(rules).reasons(0) == []
    assert world.screen(rules.replace({f"rules.{rule}.times": 0})).reasons(0) == [rule]


@pytest.mark.parametrize(("complaints", "left"), [(0, 4), (1, 3), (2, 2), (3, 1), (4, 1)])
def test_each_complaint_takes_a_whole_showing(complaints: int, left: int) -> None:
    """Of four messages a day; what is left of one is nothing."""
    rules = only("surface_cap", surface_cap__times=4)
    for sent in range(5):
        entries = [COMPLAINT] * complaints + [shown(1, surface="email", ago=HOUR, slate=n) for n in range(sent)]
        world = one_row(row={"source": "crowd"}, entries=entries, **MAIL)
        assert world.screen(rules).reasons(0) == ([] if sent < left else ["surface_cap"])


def facts_of(world: World, rules: Policy | None = None) -> Facts:
    return Facts(
        world.context, world.catalogue, world.meet(rules or only()), world.candidates, history=world.history,
        exposures=world.exposures,
    )  # fmt: skip


def test_complaints_of_a_guest_ease_nothing_but_messages() -> None:
    """To the rest of the boundary a guest has said nothing."""
    facts = facts_of(one_row(shopper={"consent": []}, entries=[COMPLAINT]))
    assert facts.ease(Family.FREQUENT) == 1
    assert facts.ease(Family.FREQUENT, guests=True) == 0.75
    assert facts.eases.tolist() == [[1], [1], [1]]
    all_said = [shown(-1, kind=kind, ago=0) for kind in ("too_pushy", "too_often", "too_personal")]
    nothing_left = only().replace({"feedback.step": 1.0, "feedback.most": 1})
    assert facts_of(one_row(shopper={"consent": []}, entries=all_said), nothing_left).eases.tolist() == [[1], [1], [1]]


def test_a_gap_is_told_in_days_from_a_day_on() -> None:
    """Twenty-five hours are two days."""
    world = one_row(row={"source": "crowd"}, entries=[shown(1, surface="push", ago=10 * HOUR)], **MAIL)
    for hours, told in ((35, "in 2 days"), (34, "in 1 day"), (33, "in 23 hours")):
        assert policy(channel_gap__hours=hours).rules["channel_gap"].remedy(facts_of(world)) == told


def test_one_value_a_shopper_goes_to_that_shoppers_rows() -> None:
    """Also where there are as many rows as shoppers."""
    block = Candidates.of(["ann", "bob"], [0, 0, 2], item_row=[0, 0], score=[1, 1])
    people = customers([customer("ann"), customer("bob")], ["ann", "bob"])
    world = replace(plain(), candidates=block, customers=people, history=history([], []), exposures=Exposures.empty(2))
    assert facts_of(world).of_shopper(np.array([7, 8])).tolist() == [8, 8]
    assert ShopperFacts(world.context, world.meet(only()), None).of_shopper(np.array([7, 8])).tolist() == [7, 8]


def test_a_cap_that_the_slate_itself_fills_is_open_at_no_time() -> None:
    """Shown once of two, and once in this slate: it is not time that lets it pass."""
    rule = policy(category_cap__times=2).rules["category_cap"]
    for shown_before, told in ((1, None), (2, "in 6 days"), (3, "in 6 days")):
        entries = [shown(0, ago=DAY + n, slate=n) for n in range(shown_before)]
        assert rule.remedy(facts_of(one_row(entries=entries))) == told
    never = policy(category_cap__times=0).rules["category_cap"]
    assert never.remedy(facts_of(one_row(entries=[shown(0)]))) is None


@pytest.mark.parametrize(("step", "most"), [(0.25, 3), (0.5, 2), (1.0, 1), (0.5, 10), (1.0, 10)])
def test_complaints_take_no_more_than_all(step: float, most: int) -> None:
    """Of a share nothing is left; and the slate is still made of the others."""
    things = compiled([item(f"i{number}", category=f"c{number}", promoted=number < 3) for number in range(6)])
    rows = Candidates.of(["ann"], [0, 6], item_row=range(6), score=[1] * 6, source=[1] * 6)
    said = [shown(-1, kind=kind, ago=0) for kind in ("too_pushy", "too_often", "too_personal")] * 10
    world = replace(one_row(entries=said), catalogue=things, candidates=rows)
    rules = policy(crowded__most="none").replace({"feedback.step": step, "feedback.most": most})
    left = max(1 - step * most, 0)
    assert np.all(facts_of(world, rules).ease(Family.CONVERSION) == left)
    assert {float(ease[0]) for ease in world.meet(rules).ease.values()} == {left}
    verdict = world.screen(rules)
    assert verdict.kept[3:].all()
    assert verdict.kept[:3].sum() <= left


def test_what_is_shown_at_the_moment_of_interest_is_not_ignored_since() -> None:
    """Ten times later, and once at that moment: the tenth is the limit."""
    entries = [shown(0, ago=40 * DAY), *(shown(0, ago=(20 + n) * DAY) for n in range(9))]
    world = one_row(events=[event(0, kind="view", ago=40 * DAY)], entries=entries)
    assert world.screen(only("fatigued", fatigued__times=10)).reasons(0) == []
    assert world.screen(only("fatigued", fatigued__times=9)).reasons(0) == ["fatigued"]


def test_a_surface_without_a_cap_takes_any_message() -> None:
    """No rule breaks for want of a number."""
    sent = [shown(1, surface="email", ago=HOUR, slate=n) for n in range(9)]
    world = one_row(row={"source": "crowd"}, entries=sent, **MAIL)
    assert world.screen(only("surface_cap", surface_cap__times="none")).reasons(0) == []


def test_a_quota_says_nothing_of_a_row_alone() -> None:
    """It is spent down the list."""
    facts = facts_of(one_row())
    for rule in policy().rules.values():
        if isinstance(rule, Quota):
            assert not rule(facts).any()


def test_a_message_counts_while_a_part_of_it_lies_in_the_window() -> None:
    """Its first item was shown exactly a day ago, the second one later."""
    entries = [shown(1, surface="email", ago=DAY, slate=7), shown(0, surface="email", ago=DAY - 1, slate=7)]
    world = one_row(row={"source": "crowd"}, entries=entries, **MAIL)
    assert world.screen(only("surface_cap", surface_cap__times=1)).reasons(0) == ["surface_cap"]
    assert replace(world, history=history([])).screen(only("surface_cap", surface_cap__times=2)).reasons(0) == []


@pytest.mark.parametrize(
    ("lasts", "hours", "early"), [(0.5, 9, True), (0.5, 10, False), (0.25, 4, True), (0.25, 5, False)]
)
def test_what_lasts_hours_is_needed_again_in_hours(lasts: float, hours: int, early: bool) -> None:
    """Before four fifths of its cycle, however short that is."""
    world = one_row({"replenish_days": lasts}, events=[event(0, ago=hours * HOUR)])
    assert world.screen(only("replenish_early")).reasons(0) == (["replenish_early"] if early else [])


@pytest.mark.parametrize(("days", "told"), [(666, ["channel_gap"]), (668, [])])
def test_the_longest_gap_is_a_thousand_times_the_shortest(days: int, told: list[str]) -> None:
    """Sixteen hours, where complaints have left nothing of the limit."""
    gap = only("channel_gap").replace({"feedback.step": 1.0, "feedback.most": 1})
    entries = [COMPLAINT, shown(1, surface="push", ago=days * DAY)]
    assert one_row(row={"source": "crowd"}, entries=entries, **MAIL).screen(gap).reasons(0) == told


@pytest.mark.parametrize(("ramp", "waits"), [(0, False), (0.5, True), (1, True), (28, True)])
def test_a_ramp_begins_with_the_whole_gap(ramp: float, waits: bool) -> None:
    """Refused exactly seven days ago, and shown a day ago: six more days, but where there is no ramp."""
    entries = [shown(0, kind="dismiss", ago=7 * DAY), shown(0, ago=DAY)]
    rules = only("dismissed", dismissed__days=7, dismissed__ramp_days=ramp)
    world = one_row(entries=entries)
    assert world.screen(rules).reasons(0) == (["dismissed"] if waits else [])
    if waits:
        assert rules.rules["dismissed"].remedy(facts_of(world)) == "in 6 days"


def test_facts_of_an_empty_shop_have_a_value_a_row() -> None:
    """Whatever it is: no rule counts there, but none breaks."""
    facts = facts_of(replace(plain(), catalogue=compiled([])))
    assert facts.item("price").shape == (1,)
    assert facts.item("proxy_lift").shape == (2, 1)


def test_who_says_nothing_of_where_they_live_has_no_hour() -> None:
    """Nor who agreed to nothing another's consent: each has their own words, or none."""
    ids = ["ann", "bob", "cid"]
    people = customers(
        [
            customer("ann", timezone=None, consent=[]),
            customer("bob", timezone="Asia/Tokyo"),
            customer("cid", consent=["email"]),
        ],
        ids,
    )
    world = replace(plain(), customers=people, history=history([], [], []), exposures=Exposures.empty(3))
    shoppers = world.meet(only())
    assert np.isnan(shoppers.local_hours(world.context.now)).tolist() == [True, False, False]
    assert shoppers.local_hours(world.context.now)[1:].tolist() == [21, 12]
    assert people.agreed_to("personalise").tolist() == [False, True, False]
    assert people.agreed_to("email").tolist() == [False, True, True]
    moment = world.context.now + 30 * MINUTE + 36 * SECOND
    assert shoppers.local_hours(moment).tolist()[2] == np.float32(12.51)


def test_a_position_of_nobody_has_nothing() -> None:
    """Taken alone or among others, of one shopper or of two."""
    for users in (1, 2):
        ids = [f"u{number}" for number in range(users)]
        people = customers([customer(name, sensitive_optin=["baby"]) for name in ids], ids)
        past = history(*[[event(0), event(1)]] * users)
        for wanted in ([-1], [0, -1], [-1, users - 1], []):
            at = np.array(wanted, np.int64)
            taken, kept = people.take(at), past.take(at)
            assert taken.known.tolist() == [one >= 0 for one in wanted]
            assert taken.agreed_to("personalise").tolist() == [one >= 0 for one in wanted]
            assert taken.optin_bits.tolist() == [2 if one >= 0 else 0 for one in wanted]
            assert (taken.since > 0).tolist() == [one >= 0 for one in wanted]
            assert taken.zone.tolist() == [0 if one >= 0 else -1 for one in wanted]
            assert taken.opted_out.tolist() == [False] * len(wanted)
            assert np.diff(kept.offsets).tolist() == [2 if one >= 0 else 0 for one in wanted]
            assert kept.item_row.tolist() == [0, 1] * sum(one >= 0 for one in wanted)


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (0.0, "in 1 hour"),
        (1 / 24, "in 1 hour"),
        (1.01 / 24, "in 2 hours"),
        (2.5 / 24, "in 3 hours"),
        (0.99, "in 24 hours"),
        (1.0, "in 1 day"),
        (1.01, "in 2 days"),
        (2.0, "in 2 days"),
        (2.01, "in 3 days"),
    ],
)
def test_time_is_told_in_whole_hours_or_days(days: float, told: str) -> None:
    """Rounded up: after that time it is so."""
    assert in_days(days) == told


@pytest.mark.parametrize(("days", "told"), [(1, "within 1 day"), (0.5, "within 0.5 days"), (2, "within 2 days")])
def test_a_surface_is_open_again_within_its_window(days: float, told: str) -> None:
    """Nobody says when; a cap of never says nothing."""
    sent = [shown(1, surface="email", ago=HOUR, slate=n) for n in range(5)]
    facts = facts_of(one_row(row={"source": "crowd"}, entries=sent, **MAIL))
    assert policy(surface_cap__days=days).rules["surface_cap"].remedy(facts) == told
    assert policy(surface_cap__times=0).rules["surface_cap"].remedy(facts) is None
