"""Every reason code: one row that gets it, and one that just does not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from shop import (
    DAY,
    DEFAULT,
    HOUR,
    MOMENT,
    NOW,
    SECOND,
    World,
    catalogue,
    customer,
    customers,
    event,
    exposures,
    history,
    item,
    one_row,
    only,
    policy,
    reasons,
    shown,
    slate,
)

from boundary import Candidates, Policy
from boundary.rules import FAMILY_OF, REASONS, RULES
from boundary.rules.base import FlagRule
from boundary.words import Family

Ask = Callable[[], list[str]]
GIFT = {"kind": "gesture", "price": None, "tracker": False, "category": None}
CROWD = {"source": "crowd"}


def ask(world: Callable[[], World], rules: Policy = DEFAULT, **context: Any) -> Ask:
    """Ask for the reasons of the only row of a world, which is built within the test."""
    return lambda: reasons(world(), rules, **context)


def fill(
    lines: list[dict[str, Any]],
    reason: str,
    *,
    n: int = 10,
    at: int = 0,
    sources: list[str] | None = None,
    **changes: Any,
) -> Ask:
    """Ask for the reasons of one of several ranked rows under one quota."""
    names = {"crowded": ("crowded", "crowded_brand")}.get(reason, (reason,))

    def told() -> list[str]:
        things = catalogue([item(f"i{place}", **line) for place, line in enumerate(lines)])
        codes = [["personal", "crowd", "explore"].index(name) for name in sources or ["crowd"] * len(lines)]
        block = Candidates.of(
            ["ann"], [0, len(lines)], item_row=np.arange(len(lines)), score=np.ones(len(lines)), source=codes
        )
        world = World(things, block, customers([customer("ann")], ["ann"]), history([]), exposures([]))
        return world.screen(only(*names, **changes), n=n).reasons(at)

    return told


def lists_twice(first: int, second: int, *, closeness: float = 1.0) -> Ask:
    """Ask for the reasons of the second of two rows with one item, from these sources."""
    block = Candidates.of(
        ["ann"], [0, 2], item_row=[0, 0], score=[2, 1], source=[first, second], closeness=[closeness, 1.0],
        trace_share=[0.3, 0.3], evidence_row=[1, 1],
    )  # fmt: skip
    return lambda: replace(one_row(), candidates=block).screen(DEFAULT).reasons(1)


def entries(times: int, *, ago: int = DAY, row: int = 0, **terms: Any) -> list[tuple[Any, ...]]:
    return [shown(row, ago=ago + 100 * SECOND * number, slate=number, **terms) for number in range(times)]


PLAIN = {"category": "tea"}
LOUD = {"category": "tea", "promoted": True}
YEAR = 365 * DAY

WITHHELD: list[tuple[str, str, Ask]] = [
    ("sensitive_category", "medicine", ask(lambda: one_row({"category": "medicine"}))),
    ("sensitive_category", "on the crowd shelf too", ask(lambda: one_row({"category": "medicine"}, row=CROWD))),
    ("sensitive_category", "opted into another family", ask(lambda: one_row({"category": "medicine"}, shopper={"sensitive_optin": ["baby"]}))),
    ("sensitive_proxy", "lift and z at their limits", ask(lambda: one_row(lift=1.3, z=5))),
    ("sensitive_proxy", "opted into another family", ask(lambda: one_row(shopper={"sensitive_optin": ["health"]}, lift=9, z=9))),
    ("sensitive_proxy", "lift not learned", ask(lambda: one_row(lift=np.nan, z=0))),
    ("sensitive_proxy", "z not learned", ask(lambda: one_row(lift=1, z=np.nan))),
    ("low_support", "29 buyers", ask(lambda: one_row(support=29))),
    ("low_support", "never counted", ask(lambda: one_row(support=np.nan))),
    ("too_close", "just above 4", ask(lambda: one_row(row={"closeness": 4.0001}))),
    ("too_close", "not measured", ask(lambda: one_row(row={"closeness": np.nan}))),
    ("too_close", "a newcomer above 2", ask(lambda: one_row(row={"closeness": 2.0001}, shopper={"since": MOMENT - dt.timedelta(days=29)}))),
    ("single_trace", "just above 0.8", ask(lambda: one_row(row={"trace_share": 0.8001}))),
    ("single_trace", "not measured", ask(lambda: one_row(row={"trace_share": np.nan}))),
    ("no_consent", "no purpose granted", ask(lambda: one_row(shopper={"consent": []}))),
    ("no_consent", "another purpose granted", ask(lambda: one_row(shopper={"consent": ["email"]}))),
    ("no_consent", "a channel is no purpose", ask(lambda: one_row(shopper={"consent": [], "channels": ["personalise"]}))),
    ("no_consent", "mail was not agreed to", ask(lambda: one_row(row=CROWD, shopper={"consent": ["personalise"]}), surface="email")),
    ("no_consent", "push was not agreed to", ask(lambda: one_row(row=CROWD, shopper={"consent": ["email"]}), surface="push")),
    ("opted_out", "an opt-out stands", ask(lambda: one_row(shopper={"opted_out": True}))),
    ("opted_out", "nobody knows", ask(lambda: one_row(shopper={"opted_out": None}))),
    ("stale", "a second older than a year", ask(lambda: one_row(row={"evidence_row": 0}, events=[event(0, ago=YEAR + SECOND)]), policy(stale__days=365))),
    ("stale", "the evidence is no event of theirs", ask(lambda: one_row(row={"evidence_row": 0}))),
    ("disproportionate", "13 days and a ticket of 2", ask(lambda: one_row(shopper={"since": MOMENT - dt.timedelta(days=13)}))),
    ("disproportionate", "a second short of 14 days", ask(lambda: one_row(shopper={"since": MOMENT - dt.timedelta(days=14, seconds=-1)}))),
    ("unexplainable", "no evidence", ask(lambda: one_row(row={"evidence_row": -1}))),
    ("unexplainable", "evidence beyond the catalogue", ask(lambda: one_row(row={"evidence_row": 2}))),
    ("unexplainable", "evidence that may not be told", ask(lambda: one_row({"category": "medicine"}, row={"evidence_row": 0}, events=[event(0)]))),
    ("item_cap", "the fourth time in 7 days", ask(lambda: one_row(entries=entries(3)))),
    ("item_cap", "the third time at a second short of 7 days", ask(lambda: one_row(entries=[*entries(2), shown(0, ago=7 * DAY - SECOND)]))),
    ("item_cap", "0 is never", ask(one_row, policy(item_cap__times=0))),
    ("item_cap", "once by mail", ask(lambda: one_row(row=CROWD, entries=entries(1, surface="home")), surface="email")),
    ("category_cap", "the 21st of the category", ask(lambda: one_row(entries=entries(20, row=0)), policy(item_cap__times="none", fatigued__times="none"))),
    ("brand_cap", "the 21st of the brand", ask(lambda: one_row({"brand": "mill"}, entries=entries(20)))),
    ("surface_cap", "the sixth mail in a day", ask(lambda: one_row(row=CROWD, entries=entries(5, row=1, ago=17 * HOUR, surface="email")), surface="email")),
    ("surface_cap", "the ledger is down", ask(lambda: one_row(row=CROWD, entries=None), surface="email")),
    ("channel_gap", "a push a second less than 16 hours ago", ask(lambda: one_row(row=CROWD, entries=[shown(1, ago=16 * HOUR - SECOND, surface="push")]), surface="email")),
    ("channel_gap", "the ledger is down", ask(lambda: one_row(row=CROWD, entries=None), surface="email")),
    ("quiet_hours", "22:00 in Paris", ask(lambda: one_row(row=CROWD, shopper={"timezone": "Europe/Paris"}), surface="email", now=NOW + 9 * HOUR)),
    ("quiet_hours", "05:59:59 in Paris", ask(lambda: one_row(row=CROWD, shopper={"timezone": "Europe/Paris"}), surface="email", now=NOW - 7 * HOUR - SECOND)),
    ("quiet_hours", "nobody knows where", ask(lambda: one_row(row=CROWD, shopper={"timezone": "Mars/Olympus"}), surface="email")),
    ("dismissed", "a second short of 7 days ago", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=7 * DAY - SECOND)]))),
    ("dismissed", "by feedback", ask(lambda: one_row(entries=[shown(0, kind="dismiss", ago=6 * DAY)]))),
    ("dismissed", "twice, a second short of 14 days ago", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=ago) for ago in (14 * DAY - SECOND, 20 * DAY)]))),
    ("dismissed", "in the ramp, shown half a gap ago", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=21 * DAY)], entries=[shown(0, ago=3 * DAY)]))),
    ("fatigued", "the eleventh time without interest", ask(lambda: one_row(entries=entries(10, ago=30 * DAY)))),
    ("owned", "bought and durable", ask(lambda: one_row({"replenish_days": None}, events=[event(0, ago=300 * DAY)]))),
    ("replenish_early", "a second before 8 of 10 days", ask(lambda: one_row({"replenish_days": 10.0}, events=[event(0, ago=8 * DAY - SECOND)]))),
    ("following", "viewed a second less than 14 days ago", ask(lambda: one_row(events=[event(0, kind="view", ago=14 * DAY - SECOND)]))),
    ("following", "in the cart", ask(lambda: one_row(events=[event(0, kind="cart")]))),
    ("following", "viewed again after buying", ask(lambda: one_row(events=[event(0, ago=9 * DAY), event(0, kind="view", ago=8 * DAY)]))),
    ("upsell", "a cent over", ask(lambda: one_row({"category": "tea", "price": 3.01}), policy(upsell__most=1.5))),
    ("upsell", "they pay nothing there", ask(lambda: one_row({"category": "milk", "price": 0.01}, events=[event(0, ago=9 * DAY, price=0.0)]))),
    ("upsell", "no price", ask(lambda: replace(one_row(), catalogue=replace(one_row().catalogue, price=np.array([np.nan, 2], np.float32))))),
    ("urgency", "no end", ask(lambda: one_row({"badge": "Hurry!"}))),
    ("urgency", "the end is now", ask(lambda: one_row({"badge": "Ends today", "badge_until": MOMENT}))),
    ("scarcity", "no stock given", ask(lambda: one_row({"badge": "Only 3 left"}))),
    ("scarcity", "four of three", ask(lambda: one_row({"badge": "Only 3 left", "badge_stock": 4}))),
    ("scarcity", "six is not few", ask(lambda: one_row({"badge": "Low stock", "badge_stock": 6}))),
    ("scarcity", "true, and not few", ask(lambda: one_row({"badge": "Only 9 left", "badge_stock": 9}))),
    ("scarcity", "in words", ask(lambda: one_row({"badge": "only three left, was 24.99", "badge_stock": 4}))),
    ("social_proof", "no count given", ask(lambda: one_row({"badge": "Bestseller"}))),
    ("social_proof", "29 are few", ask(lambda: one_row({"badge": "Bestseller", "badge_count": 29}))),
    ("social_proof", "499 of 500", ask(lambda: one_row({"badge": "500 people bought this", "badge_count": 499}))),
    ("false_discount", "a cent above the low", ask(lambda: one_row({"was_price": 3.0, "low_30d": 1.99}))),
    ("false_discount", "struck out what was not the lowest", ask(lambda: one_row({"was_price": 3.0, "low_30d": 2.5}))),
    ("false_discount", "no discount at all", ask(lambda: one_row({"was_price": 2.0, "low_30d": 2.0}))),
    ("false_discount", "the low is not known", ask(lambda: one_row({"was_price": 3.0}))),
    ("conditional_gift", "has a price", ask(lambda: one_row(GIFT | {"price": 0.01}, row={"source": "gesture"}))),
    ("conditional_gift", "has a condition", ask(lambda: one_row(GIFT | {"conditions": "buy two"}, row={"source": "gesture"}))),
    ("conditional_gift", "has a tracker", ask(lambda: one_row(GIFT | {"tracker": True}, row={"source": "gesture"}))),
    ("conditional_gift", "may have a tracker", ask(lambda: one_row(GIFT | {"tracker": None}, row={"source": "gesture"}))),
    ("promoted_share", "the third of ten", fill([PLAIN, *[LOUD] * 3, *[PLAIN] * 8], "promoted_share", at=3)),
    ("promoted_share", "the second of seven", fill([PLAIN, LOUD, LOUD, *[PLAIN] * 9], "promoted_share", n=7, at=2)),
    ("promoted_share", "the slate stays short", fill([PLAIN, LOUD, PLAIN], "promoted_share", at=1)),
    ("promoted_share", "nobody says whether", fill([{"promoted": None}] * 2, "promoted_share", at=1, n=9)),
    ("promoted_lead", "first of all", fill([LOUD, PLAIN], "promoted_lead")),
    ("promoted_gap", "next to each other", fill([LOUD, LOUD, PLAIN], "promoted_gap", at=1)),
    ("profile_share", "the fifth of ten", fill([PLAIN] * 5, "profile_share", at=4, sources=["personal"] * 5)),
    ("crowded", "the fourth of ten", fill([PLAIN] * 4, "crowded", at=3)),
    ("crowded", "the fourth of ten, apart", fill([*[PLAIN] * 3, *[{"category": f"c{n}"} for n in range(6)], PLAIN], "crowded", at=9)),
    ("crowded", "by brand", fill([{"category": f"c{n}", "brand": "mill"} for n in range(4)], "crowded", at=3)),
    ("unknown", "no such item", ask(lambda: one_row(row={"item_row": 2}))),
    ("unknown", "row -1", ask(lambda: one_row(row={"item_row": -1}))),
    ("unknown", "nobody said what it is", ask(lambda: one_row({"category": None}))),
    ("ledger_down", "a personal row", ask(lambda: one_row(entries=None))),
    ("ledger_down", "a gesture", ask(lambda: one_row(GIFT, row={"source": "gesture"}, entries=None))),
    ("ledger_down", "an explored row", ask(lambda: one_row(row={"source": "explore"}, entries=None))),
    ("ledger_down", "a session's row", ask(lambda: one_row(row={"source": "session"}, entries=None))),
    *[("bad_score", str(score), ask(lambda score=score: one_row(row={"score": score}))) for score in (np.nan, np.inf, -np.inf, -3.4028e38, 1e38)],
    ("not_a_candidate", "no such source", ask(lambda: one_row(row={"source": 5}))),
    ("not_a_candidate", "no such source at all", ask(lambda: one_row(row={"source": 255}))),
    ("not_a_candidate", "a gesture as a product", ask(lambda: one_row(GIFT))),
    ("not_a_candidate", "a product as a gesture", ask(lambda: one_row(row={"source": "gesture"}))),
    ("slate_full", "no slots", ask(lambda: one_row(row=CROWD), n=0)),
    ("slate_full", "fewer than none", ask(lambda: one_row(row=CROWD), n=-3)),
    ("not_a_candidate", "what the crowd listed already", lists_twice(1, 1)),
    ("repeated", "what the profile listed already", lists_twice(0, 1)),
    ("slate_full", "the second of one", fill([PLAIN, PLAIN], "promoted_gap", n=1, at=1)),
]  # fmt: skip

KEPT: list[tuple[str, str, Ask]] = [
    ("sensitive_category", "bread", ask(one_row)),
    ("sensitive_category", "asked for", ask(lambda: one_row({"category": "medicine"}, shopper={"sensitive_optin": ["health"]}))),
    ("sensitive_proxy", "asked for", ask(lambda: one_row(shopper={"sensitive_optin": ["health", "baby"]}, lift=9, z=9))),
    ("sensitive_category", "not a family of the rule", ask(lambda: one_row({"category": "medicine"}), policy(sensitive_category__families=["baby"]))),
    ("sensitive_proxy", "lift just under", ask(lambda: one_row(lift=1.2999, z=9))),
    ("sensitive_proxy", "z just under", ask(lambda: one_row(lift=9, z=4.9999))),
    ("sensitive_proxy", "from the crowd", ask(lambda: one_row(row=CROWD, lift=9, z=9))),
    ("sensitive_proxy", "no cap", ask(lambda: one_row(lift=9, z=9), policy(sensitive_proxy__z="none"))),
    ("low_support", "30 buyers", ask(lambda: one_row(support=30))),
    ("low_support", "a gesture", ask(lambda: one_row(GIFT, row={"source": "gesture"}, support=0), policy(low_support__sources=["gesture"]))),
    ("too_close", "4", ask(lambda: one_row(row={"closeness": 4.0}))),
    ("too_close", "a newcomer at 2", ask(lambda: one_row(row={"closeness": 2.0}, shopper={"since": MOMENT - dt.timedelta(days=29)}))),
    ("too_close", "no cap", ask(lambda: one_row(row={"closeness": np.nan}), policy(too_close__most="none"))),
    ("single_trace", "0.8", ask(lambda: one_row(row={"trace_share": 0.8}))),
    ("no_consent", "granted", ask(lambda: one_row(shopper={"consent": ["personalise"]}))),
    ("no_consent", "the crowd shelf needs none", ask(lambda: one_row(row=CROWD, shopper={"consent": []}))),
    ("no_consent", "the channel was given", ask(lambda: one_row(row=CROWD, shopper={"consent": [], "channels": ["email"]}), surface="email")),
    ("opted_out", "the crowd shelf is open", ask(lambda: one_row(row=CROWD, shopper={"opted_out": True}))),
    ("stale", "a year to the microsecond", ask(lambda: one_row(row={"evidence_row": 0}, events=[event(0, ago=YEAR)]), policy(stale__days=365))),
    ("disproportionate", "14 days", ask(lambda: one_row(shopper={"since": MOMENT - dt.timedelta(days=14)}))),
    ("disproportionate", "13 days and a ticket of 20", ask(lambda: one_row(shopper={"since": MOMENT - dt.timedelta(days=13)}, events=[event(1, ago=DAY, price=238.0)]), policy(disproportionate__ticket=20))),
    ("unexplainable", "the crowd needs no why", ask(lambda: one_row(row=CROWD | {"evidence_row": -1}))),
    ("item_cap", "the third time in 7 days", ask(lambda: one_row(entries=entries(2)))),
    ("item_cap", "the fourth, one 7 days ago to the microsecond", ask(lambda: one_row(entries=[*entries(2), shown(0, ago=7 * DAY)]))),
    ("item_cap", "other items", ask(lambda: one_row(entries=entries(9, row=1)))),
    ("item_cap", "items that are no more", ask(lambda: one_row(entries=[*entries(9, row=-1), *entries(9, row=77)]))),
    ("item_cap", "no cap", ask(lambda: one_row(entries=entries(9)), policy(item_cap__times="none"))),
    ("category_cap", "the 20th", ask(lambda: one_row(entries=entries(19)), only("category_cap"))),
    ("category_cap", "no category, no cap", ask(lambda: one_row({"category": None, "type": "loaf"}, entries=entries(20)), only("category_cap"))),
    ("brand_cap", "the 20th", ask(lambda: one_row({"brand": "mill"}, entries=entries(19)), only("brand_cap"))),
    ("brand_cap", "own label", ask(lambda: one_row(entries=entries(20)), only("brand_cap"))),
    ("surface_cap", "five items in one mail", ask(lambda: one_row(row=CROWD, entries=[shown(1, ago=17 * HOUR, surface="email", slate=1)] * 5), surface="email")),
    ("surface_cap", "five mails, one a day ago", ask(lambda: one_row(row=CROWD, entries=[*entries(4, row=1, ago=17 * HOUR, surface="email"), shown(1, ago=DAY, surface="email", slate=9)]), surface="email")),
    ("surface_cap", "five pushes", ask(lambda: one_row(row=CROWD, entries=entries(5, row=1, ago=17 * HOUR, surface="push")), surface="email")),
    ("surface_cap", "none is kept at home", ask(lambda: one_row(row=CROWD, entries=entries(5, row=1)))),
    ("channel_gap", "16 hours", ask(lambda: one_row(row=CROWD, entries=[shown(1, ago=16 * HOUR, surface="push")]), surface="email")),
    ("channel_gap", "home is no channel", ask(lambda: one_row(row=CROWD, entries=[shown(1, ago=HOUR)]), surface="email")),
    ("quiet_hours", "21:59:59 in Paris", ask(lambda: one_row(row=CROWD, shopper={"timezone": "Europe/Paris"}), surface="email", now=NOW + 9 * HOUR - SECOND)),
    ("quiet_hours", "06:00 in Paris", ask(lambda: one_row(row=CROWD, shopper={"timezone": "Europe/Paris"}), surface="email", now=NOW - 7 * HOUR)),
    ("quiet_hours", "the page may be opened at night", ask(lambda: one_row(row=CROWD, shopper={"timezone": "Asia/Tokyo"}, now=NOW + 6 * HOUR))),
    ("quiet_hours", "no night", ask(lambda: one_row(row=CROWD), policy(quiet_hours__start=12, quiet_hours__end=12), surface="email")),
    ("dismissed", "7 days and 28 of ramp ago", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=35 * DAY)], entries=[shown(0, ago=1)]))),
    ("dismissed", "7 days ago, not shown since", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=7 * DAY)]))),
    ("dismissed", "in the ramp, shown a gap ago", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=21 * DAY)], entries=[shown(0, ago=7 * DAY // 2)]))),
    ("dismissed", "the same moment twice is once", ask(lambda: one_row(events=[event(0, kind="dismiss", ago=8 * DAY)] * 2))),
    ("dismissed", "another item", ask(lambda: one_row(events=[event(1, kind="dismiss")]))),
    ("fatigued", "the tenth time", ask(lambda: one_row(entries=entries(9, ago=30 * DAY)))),
    ("fatigued", "looked at in between", ask(lambda: one_row(entries=entries(10, ago=30 * DAY), events=[event(0, kind="view", ago=29 * DAY)]))),
    ("owned", "not bought", ask(lambda: one_row({"replenish_days": None}))),
    ("owned", "only looked at, long ago", ask(lambda: one_row({"replenish_days": None}, events=[event(0, kind="cart", ago=99 * DAY)]))),
    ("replenish_early", "8 of 10 days", ask(lambda: one_row({"replenish_days": 10.0}, events=[event(0, ago=8 * DAY)]))),
    ("following", "14 days", ask(lambda: one_row(events=[event(0, kind="view", ago=14 * DAY)]))),
    ("following", "bought since", ask(lambda: one_row(events=[event(0, kind="view", ago=9 * DAY), event(0, ago=8 * DAY)]))),
    ("following", "viewed and bought at once", ask(lambda: one_row(events=[event(0, kind="view", ago=9 * DAY), event(0, ago=9 * DAY)]))),
    ("upsell", "one and a half times", ask(lambda: one_row({"category": "tea", "price": 3.0}), policy(upsell__most=1.5))),
    ("upsell", "never bought there", ask(lambda: one_row({"category": "milk", "price": 999.0}))),
    ("upsell", "free where they pay nothing", ask(lambda: one_row({"category": "milk", "price": 0.0}, events=[event(0, ago=9 * DAY, price=0.0)]))),
    ("upsell", "a gesture has no price", ask(lambda: one_row(GIFT, row={"source": "gesture"}), policy(upsell__sources=["gesture"]))),
    ("urgency", "the end lies ahead", ask(lambda: one_row({"badge": "Hurry!", "badge_until": MOMENT + dt.timedelta(seconds=1)}))),
    ("urgency", "no claim", ask(lambda: one_row({"badge": "New", "badge_until": MOMENT}))),
    ("scarcity", "three of three", ask(lambda: one_row({"badge": "Only 3 left", "badge_stock": 3}))),
    ("scarcity", "five are few", ask(lambda: one_row({"badge": "Low stock", "badge_stock": 5}))),
    ("social_proof", "30", ask(lambda: one_row({"badge": "Bestseller", "badge_count": 30}))),
    ("social_proof", "500 of 500", ask(lambda: one_row({"badge": "500 people bought this", "badge_count": 500}))),
    ("false_discount", "lower than ever", ask(lambda: one_row({"was_price": 3.0, "low_30d": 3.0}))),
    ("false_discount", "within the tolerance", lambda: reasons(
        one_row({"price": 2.0, "was_price": 2.1, "low_30d": 2.0}), policy(false_discount__tolerance=0.1))),
    ("false_discount", "no claim of any", ask(lambda: one_row({"low_30d": 1.0}))),
    ("conditional_gift", "no strings", ask(lambda: one_row(GIFT, row={"source": "gesture"}))),
    ("conditional_gift", "free of charge", ask(lambda: one_row(GIFT | {"price": 0.0, "conditions": "  "}, row={"source": "gesture"}))),
    ("promoted_share", "the second of ten", fill([PLAIN, LOUD, LOUD, *[PLAIN] * 8], "promoted_share", at=2)),
    ("promoted_share", "no cap", fill([LOUD] * 4, "promoted_share", at=3, promoted_share__most="none")),
    ("promoted_lead", "second", fill([PLAIN, LOUD], "promoted_lead", at=1)),
    ("promoted_gap", "one slot between", fill([LOUD, PLAIN, LOUD], "promoted_gap", at=2)),
    ("profile_share", "the fourth of ten", fill([PLAIN] * 5, "profile_share", at=3, sources=["personal"] * 5)),
    ("crowded", "the third of ten", fill([PLAIN] * 4, "crowded", at=2)),
    ("crowded", "the fourth of eleven", fill([*[PLAIN] * 3, *[{"category": f"c{n}"} for n in range(7)], PLAIN], "crowded", n=20, at=10)),
    ("crowded", "unbranded", fill([{"category": f"c{n}"} for n in range(4)], "crowded", at=3)),
    ("unknown", "a stranger's crowd shelf", ask(lambda: one_row(row=CROWD, shopper={"stranger": True}))),
    ("unknown", "a type is enough", ask(lambda: one_row({"category": None, "type": "loaf"}))),
    ("ledger_down", "the crowd shelf", ask(lambda: one_row(row=CROWD, entries=None))),
    ("bad_score", "a large one", ask(lambda: one_row(row={"score": -9.9e37}))),
    ("bad_score", "zero", ask(lambda: one_row(row={"score": 0.0}))),
    ("not_a_candidate", "a gesture among gestures", ask(lambda: one_row(GIFT, row={"source": "gesture"}))),
    ("repeated", "the profile's was too close to be shown", lists_twice(0, 1, closeness=9.0)),
    ("slate_full", "one slot", ask(lambda: one_row(row=CROWD), n=1)),
    ("slate_full", "as many slots as there are", ask(lambda: one_row(row=CROWD), n=10**30)),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "told"), [pytest.param(r, a, id=f"{r}-{name}") for r, name, a in WITHHELD])
def test_a_row_gets_its_reason(reason: str, told: Ask) -> None:
    """What the rule is about is withheld with the rule's code."""
    assert reason in told()


@pytest.mark.parametrize(("reason", "told"), [pytest.param(r, a, id=f"{r}-{name}") for r, name, a in KEPT])
def test_a_near_miss_is_shown(reason: str, told: Ask) -> None:
    """What just does not meet the rule is shown: it gets neither this reason nor any other."""
    assert told() == []


def test_every_reason_has_both() -> None:
    """No reason code goes without a row that gets it and one that just does not."""
    assert {reason for reason, _, _ in WITHHELD} | {"rule_error"} == set(REASONS)
    assert {reason for reason, _, _ in KEPT} | {"rule_error"} == set(REASONS)


def test_an_unknown_shopper_gets_nothing_personal() -> None:
    """A personal row for somebody the shop does not know is withheld as unknown."""
    world = one_row(shopper={"stranger": True})
    stranger = replace(world, history=history([]))
    assert "unknown" in reasons(stranger)
    assert "unknown" not in reasons(world)  # events are enough to be known


def test_a_repeated_row_is_shown_once() -> None:
    """Of an item that comes twice from one source the first row counts; from another source it fills no second slot."""
    things = catalogue([item("a"), item("b")])
    block = Candidates.of(["ann"], [0, 4], item_row=[0, 0, 0, 1], score=[4, 3, 2, 1], source=[1, 1, 2, 1])
    world = World(things, block, customers([customer("ann")], ["ann"]), history([]), exposures([]))
    verdict = world.screen(DEFAULT)
    assert verdict.kept.tolist() == [True, False, False, True]
    assert [verdict.reasons(row) for row in (1, 2)] == [["not_a_candidate"], ["repeated"]]
    withheld = replace(world, catalogue=replace(things, family_bits=np.array([1, 0], np.uint32)))
    assert "repeated" not in withheld.screen(DEFAULT).reasons(2)


def test_a_second_source_may_bring_what_the_first_could_not() -> None:
    """An item too close to be personal may still stand on the crowd shelf."""
    things = one_row().catalogue
    block = Candidates.of(["ann"], [0, 2], item_row=[0, 0], score=[2, 1], source=[0, 1])
    world = replace(one_row(), catalogue=things, candidates=block)
    assert world.screen(DEFAULT).kept.tolist() == [False, True]


def test_all_reasons_are_collected() -> None:
    """A row that breaks many rules carries the code of each."""
    world = one_row(
        {"category": "medicine", "badge": "Hurry! Only 3 left, bestseller", "was_price": 3.0, "replenish_days": None},
        row={"closeness": 9, "trace_share": 0.9, "evidence_row": -1}, support=3, lift=9, z=9,
        events=[event(0, ago=9 * DAY), event(0, kind="view", ago=8 * DAY), event(0, kind="dismiss")], entries=entries(12),
    )  # fmt: skip
    assert set(reasons(world)) == {
        "sensitive_category", "sensitive_proxy", "low_support", "too_close", "single_trace", "stale", "unexplainable",
        "item_cap", "dismissed", "fatigued", "owned", "following", "urgency", "scarcity", "social_proof", "false_discount",
    }  # fmt: skip


def test_short_slates_fill_from_the_next_candidates() -> None:
    """What a quota refuses is replaced by the next row in rank order."""
    lines = [LOUD, PLAIN, LOUD, LOUD, PLAIN | {"category": "milk"}, PLAIN | {"category": "jam"}]
    assert slate(lines, rules=only("promoted_lead", "promoted_gap"), n=3) == ["i1", "i2", "i4"]


def test_families_and_codes_belong_together() -> None:
    """Each code has one family, and rules about a yes or no have no limit to argue about."""
    assert set(FAMILY_OF.values()) == set(Family)
    for reason, rule in RULES.items():
        assert rule.reason == reason
        assert FAMILY_OF[reason] == rule.family
    assert not issubclass(RULES["item_cap"], FlagRule)
