"""Who shoppers are and what of their past may be remembered: the compiled passes against the slow way."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import DAY, DEFAULT, NOW, random_world
from test_laws import shops

from boundary import Gate, Policy, kernel
from boundary.rules import BIT, REASONS
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
    for event, user in enumerate(past.user_row.tolist()):
        item, kind, at = int(past.item_row[event]), int(past.kind[event]), int(past.at[event])
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
