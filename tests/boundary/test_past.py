"""Who shoppers are and what of their past may be remembered: the compiled passes against the slow way."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import (
    DAY,
    DEFAULT,
    MOMENT,
    NOW,
    catalogue,
    customer,
    customers,
    event,
    exposures,
    history,
    item,
    random_world,
)
from test_laws import shops

from boundary import Gate, Policy, kernel
from boundary.history import Exposures, History
from boundary.rules import BIT, REASONS
from boundary.shoppers import Customers, Shoppers
from boundary.verdict import _tally
from boundary.words import KIND_NAMES, Kind, Tier

moments = st.sampled_from([NOW - 400 * DAY, NOW - 30 * DAY, NOW - DAY, NOW, NOW + DAY])
terms = st.builds(
    lambda purchases, ticket, days, sensitive, proxy: DEFAULT.replace({
        "tiers.regular.purchases": max(purchases, DEFAULT.tiers[Tier.NEWCOMER].purchases),
        "tiers.regular.ticket": ticket, "tiers.regular.retention_days": days, "admit.sensitive": sensitive,
        "admit.proxy_z": proxy,
    }),
    st.sampled_from([0, 3, 6]), st.sampled_from([0.0, 2.0, 9.0]), st.sampled_from([1, 30, 90]),
    st.sampled_from(["enforce", "off"]), st.sampled_from([None, 0.0, 4.0]),
)  # fmt: skip


def admitted_the_slow_way(seed: int, rules: Policy, now: int) -> tuple[list[bool], Counter[str]]:
    world = random_world(seed)
    things, past = world.catalogue, world.history
    shoppers = Gate(things, rules).meet(world.customers, past, world.exposures, now=now)
    agreed = world.customers.agreed_to("personalise")
    mask, counts = [], Counter[str]()
    for place, user in enumerate(past.user_row.tolist()):
        item, kind, at = int(past.item_row[place]), int(past.kind[place]), int(past.at[place])
        tier = rules.tiers[Tier(int(shoppers.tier[user]))]
        known = 0 <= item < things.items
        asked = int(world.customers.optin_bits[user])
        reasons = set()
        if not known or at > now or kind >= len(KIND_NAMES) or things.unclassified[item]:
            reasons.add("unknown")
        if known and rules.admit.sensitive == "enforce" and int(things.family_bits[item]) & ~asked:
            reasons.add("sensitive_category")
        if known and rules.admit.proxy_z is not None:
            for family in range(len(things.families)):
                lift, z = things.proxy_lift[family, item], things.proxy_z[family, item]
                told = np.isnan(lift) or np.isnan(z)
                told = told or (lift >= np.float32(rules.admit.proxy_lift) and z >= np.float32(rules.admit.proxy_z))
                if told and not asked >> family & 1:
                    reasons.add("sensitive_proxy")
        if not agreed[user]:
            reasons.add("no_consent")
        if world.customers.opted_out[user]:
            reasons.add("opted_out")
        if now - at > tier.retention_days * DAY:
            reasons.add("stale")
        if kind >= len(KIND_NAMES) or KIND_NAMES[kind] not in tier.evidence:
            reasons.add("disproportionate")
        counts.update(reasons)
        mask.append(not reasons)
    return mask, counts


@given(shops, terms, moments)
def test_what_is_admitted_is_what_the_slow_way_admits(seed: int, rules: Policy, now: int) -> None:
    """Every event, and how many each reason turned away."""
    world = random_world(seed)
    gate = Gate(world.catalogue, rules)
    shoppers = gate.meet(world.customers, world.history, world.exposures, now=now)
    admission = gate.admit(world.history, shoppers, now=now)
    mask, counts = admitted_the_slow_way(seed, rules, now)
    assert admission.mask.tolist() == mask
    assert admission.counts == dict(counts)


@given(shops, terms, moments, st.booleans())
def test_who_they_are_is_what_the_slow_way_finds(seed: int, rules: Policy, now: int, down: bool) -> None:
    """Tier, tenure, purchases, baskets and ticket of each; what lies ahead has not happened."""
    world = random_world(seed)
    order = np.lexsort((world.history.at, world.history.user_row))
    past = replace(
        world.history,
        **{name: getattr(world.history, name)[order] for name in ("item_row", "kind", "at", "unit_price", "quantity")},
    )
    gate = Gate(world.catalogue, rules)
    found = gate.meet(world.customers, past, None if down else world.exposures, now=now)
    told = world.customers
    for user in range(past.users):
        part = [e for e in range(*past.offsets[user : user + 2].tolist()) if past.at[e] <= now]
        bought = [e for e in part if past.kind[e] == Kind.PURCHASE]
        baskets = len({int(past.at[e]) for e in bought})
        spend = np.nansum([past.unit_price[e] * past.quantity[e] for e in bought])
        since = int(told.since[user]) or (int(past.at[part[0]]) if part else now)
        assert found.known[user] == (told.known[user] or bool(part))
        assert (found.purchases[user], found.baskets[user]) == (len(bought), baskets)
        assert found.ticket[user] == pytest.approx(spend / baskets if baskets else 0, rel=1e-5)
        assert found.tenure_days[user] == pytest.approx(max(now - since, 0) / DAY)
        tier = Tier.GUEST
        for step in (Tier.NEWCOMER, Tier.REGULAR):
            needs = rules.tiers[step]
            reached = found.tenure_days[user] >= needs.days and len(bought) >= needs.purchases
            tier = step if tier == step - 1 and reached and found.ticket[user] >= needs.ticket else tier
        if down or told.opted_out[user] or not told.agreed_to("personalise")[user]:
            tier = Tier.GUEST
        assert found.tier[user] == tier


@given(st.lists(st.frozensets(st.sampled_from(REASONS)), max_size=30))
def test_reasons_are_counted_as_the_slow_way_counts_them(rows: list[frozenset[str]]) -> None:
    """A row counts for each of its reasons; the most frequent comes first, ties in the order of the reasons."""
    bits = np.array([sum(int(BIT[reason]) for reason in row) for row in rows], np.uint64)
    slow = Counter(reason for row in rows for reason in row)
    assert _tally(bits) == dict(slow)
    assert list(_tally(bits)) == sorted(slow, key=lambda reason: (-slow[reason], REASONS.index(reason)))
    out = np.zeros(len(REASONS), np.int64)
    kernel.count_bits(bits, out)
    assert out.tolist() == [slow[reason] for reason in REASONS]


@pytest.mark.parametrize("kind", [len(KIND_NAMES), 77, 255])
def test_a_kind_of_event_that_is_none_is_no_evidence(kind: int) -> None:
    """Whatever code it has: unknown, and none of the tier's kinds."""
    world = random_world(0)
    past = replace(world.history, kind=np.full(len(world.history.at), kind, np.uint8))
    gate = Gate(world.catalogue, DEFAULT)
    admission = gate.admit(past, gate.meet(world.customers, past, world.exposures, now=NOW), now=NOW)
    assert not admission.mask.any()
    assert admission.counts["unknown"] == admission.counts["disproportionate"] == len(past.at) > 0


REGULAR = DEFAULT.tiers[Tier.REGULAR]
REGULAR_PAST = [event(0, ago=(100 + day) * DAY) for day in range(12)]
KNOWN = {"days": 30.0, "purchases": 3, "ticket": 5.0}


def met(rules: Policy, people: Customers, past: History, entries: Exposures) -> Shoppers:
    return Shoppers.meet(people, past, entries, needs=rules.needs, feedback=rules.feedback, now=NOW)


@pytest.mark.parametrize(
    ("days", "purchases", "price", "tier"),
    [
        (30.0, 3, 5.0, Tier.REGULAR),
        (400.0, 9, 50.0, Tier.REGULAR),
        (29.999, 3, 5.0, Tier.NEWCOMER),
        (30.0, 2, 5.0, Tier.NEWCOMER),
        (30.0, 3, 4.99, Tier.NEWCOMER),
        (2.0, 1, 0.5, Tier.NEWCOMER),
        (1.999, 3, 50.0, Tier.GUEST),
        (400.0, 0, 50.0, Tier.GUEST),
        (400.0, 9, 0.49, Tier.GUEST),
    ],
)
def test_a_tier_needs_days_purchases_and_ticket(days: float, purchases: int, price: float, tier: Tier) -> None:
    """All three, from the limit on; and the lower tier before the higher."""
    needs = {f"tiers.regular.{name}": value for name, value in KNOWN.items()}
    needs |= {"tiers.newcomer.days": 2.0, "tiers.newcomer.purchases": 1, "tiers.newcomer.ticket": 0.5}
    since = MOMENT - dt.timedelta(days=days)
    past = history([event(0, ago=DAY * (1 + n) // 99, price=price) for n in range(purchases)])
    for people in ([customer("ann", since=since)], [customer("ann", since=None)]):
        told = customers(people, ["ann"])
        if people[0]["since"] is None:  # then the first event says since when
            past = history([*(event(0, ago=DAY * (1 + n) // 99, price=price) for n in range(purchases)),
                            event(0, kind="view", ago=round(days * DAY))])  # fmt: skip
        shoppers = met(DEFAULT.replace(needs), told, past, exposures([]))
        assert shoppers.tier.tolist() == [tier]
        assert shoppers.tenure_days.tolist() == pytest.approx([days])
        assert (shoppers.purchases.tolist(), shoppers.baskets.tolist()) == ([purchases], [purchases])
        assert shoppers.ticket.tolist() == pytest.approx([price if purchases else 0])


def test_two_things_in_one_basket_are_one_basket() -> None:
    """The ticket is what a basket costs; what has no price or quantity costs nothing, and what lies ahead is not yet."""
    lines = [event(0, price=3.0), event(1, price=2.0), event(0, ago=2 * DAY, price=5.0), event(0, ago=-1, price=99.0)]
    shoppers = met(DEFAULT, customers([], ["ann"]), history(lines), exposures([]))
    assert (shoppers.purchases.tolist(), shoppers.baskets.tolist(), shoppers.ticket.tolist()) == ([3], [2], [5.0])
    assert shoppers.known.tolist() == [True]
    nobody = met(DEFAULT, customers([], ["ann"]), history(lines[3:]), exposures([]))
    assert (nobody.known.tolist(), nobody.tenure_days.tolist(), nobody.ticket.tolist()) == ([False], [0], [0])
    unpriced = replace(history(lines[:2]), quantity=np.array([np.nan, 2], np.float32))
    found = met(DEFAULT, customers([], ["ann"]), unpriced, exposures([]))
    assert found.ticket.tolist() == [4.0]


@pytest.mark.parametrize(
    ("line", "terms", "reason"),
    [
        (event(0), {}, None),
        (event(-1), {}, "unknown"),
        (event(4), {}, "unknown"),
        (event(9), {}, "unknown"),
        (event(3), {}, "unknown"),
        (event(0, ago=-1), {}, "unknown"),
        (event(0, ago=0), {}, None),
        (event(1), {}, "sensitive_category"),
        (event(1), {"sensitive_optin": ["health"]}, None),
        (event(1), {"sensitive_optin": ["baby"]}, "sensitive_category"),
        (event(2), {}, "sensitive_proxy"),
        (event(2), {"sensitive_optin": ["health"]}, None),
        (event(0), {"opted_out": True}, "opted_out"),
        (event(0), {"consent": ["email"]}, "no_consent"),
        (event(0, ago=round(REGULAR.retention_days * DAY)), {}, None),
        (event(0, ago=round(REGULAR.retention_days * DAY) + 1), {}, "stale"),
        (event(0, kind="dismiss"), {}, "disproportionate"),
    ],
)
def test_an_event_is_turned_away_for_its_own_reason(line: Any, terms: dict[str, Any], reason: str | None) -> None:
    """Once each, and for no other one; a guest's are stale and none of the tier's besides."""
    things = catalogue(
        [item("a"), item("b", category="medicine"), item("c"), item("d", category=None)],
        lift=[[1, 1, 2, 1], [1] * 4], z=[[0, 0, 9, 0], [0] * 4],
    )  # fmt: skip
    gate, past = Gate(things, DEFAULT.replace({"admit.proxy_z": 4})), history([line, *REGULAR_PAST])
    shoppers = gate.meet(customers([customer("ann", **terms)], ["ann"]), past, exposures([]), now=NOW)
    guest = {"opted_out", "no_consent"} & {reason}
    assert shoppers.tier.tolist() == [Tier.GUEST if guest else Tier.REGULAR]
    admission = gate.admit(history([line]), shoppers, now=NOW)
    expected = {reason: 1} | ({"stale": 1, "disproportionate": 1} if guest else {}) if reason else {}
    assert admission.counts == expected
    assert admission.mask.tolist() == [reason is None]
