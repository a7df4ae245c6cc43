"""The compiled kernels against plain-Python twins that say the same in the simplest way."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import (
    DAY,
    DEFAULT,
    HOUR,
    NOW,
    World,
    customer,
    customers,
    event,
    exposures,
    history,
    one_row,
    random_world,
    shown,
)
from test_laws import long_lists, policies, shops, spending, worlds

from boundary import Candidates, Context, Policy, kernel
from boundary.claims import Claim
from boundary.facts import Facts, hours_since
from boundary.history import ENTRY_KINDS
from boundary.judge import measured
from boundary.measure import MOST_CHECKS, MOST_WINDOWS, Check, Checks, Measure
from boundary.past.kernel import relationship
from boundary.plan import ItemLines, _classes, placed
from boundary.rules import BIT, RULES
from boundary.rules import kernel as quota
from boundary.rules.base import Measured, Quota, Rule
from boundary.rules.guard import SLATE_FULL
from boundary.shoppers import Shoppers
from boundary.words import SOURCE_NAMES, Kind, Tier

NEVER = kernel.NEVER


def facts_of(world: World, rules: Policy = DEFAULT, *, shoppers: Shoppers | None = None) -> Facts:
    return Facts(
        world.context, world.catalogue, shoppers or world.meet(rules), world.candidates, history=world.history,
        exposures=world.exposures,
    )  # fmt: skip


def days(time: int | None, now: int) -> float:
    return math.inf if time is None else max(now - time, 0) / DAY


def measure_of_row(world: World, shoppers: Any, row: int, measure: Measure) -> float:
    """Measure one row the slow way: look through all that its shopper did and was shown."""
    rows, things, now = world.candidates, world.catalogue, world.context.now
    user, item, past = int(rows.user_row[row]), int(rows.item_row[row]), int(rows.evidence_row[row])
    guest = shoppers.tier[user] == Tier.GUEST
    whose = slice(*world.history.offsets[user : user + 2])
    events = [] if guest else list(
        zip(*(getattr(world.history, name)[whose].tolist() for name in ("item_row", "kind", "at", "unit_price")), strict=True)
    )  # fmt: skip
    whose = slice(*world.exposures.offsets[user : user + 2])
    entries = [] if guest else list(
        zip(*(getattr(world.exposures, name)[whose].tolist() for name in ("item_row", "kind", "at")), strict=True)
    )  # fmt: skip
    entries = [entry for entry in entries if 0 <= entry[0] < things.items]

    def last(which: int, *kinds: int) -> int | None:
        return max((at for it, kind, at, _ in events if it == which and kind in kinds), default=None)

    bought, looked = last(item, Kind.PURCHASE), last(item, Kind.VIEW, Kind.CART)
    happened = [event for event in events if event[2] <= now]

    def before(which: int, *kinds: int) -> int | None:
        return max((at for it, kind, at, _ in happened if it == which and kind in kinds), default=None)

    settled, interest = before(item, Kind.PURCHASE), before(item, Kind.VIEW, Kind.CART, Kind.PURCHASE)
    shown = [at for it, kind, at in entries if it == item and kind == ENTRY_KINDS.index("shown")]

    def counted(codes: Any) -> float:
        since = now - round(measure.first * DAY)
        if codes[item] < 0:
            return 1
        return 1 + sum(codes[it] == codes[item] and kind == 0 and at > since for it, kind, at in entries)

    kind = measure.kind
    if kind == kernel.CLOSENESS:
        return float(rows.closeness[row])
    if kind == kernel.TRACE:
        return float(rows.trace_share[row])
    if kind == kernel.EVIDENCE:
        return days(before(past, Kind.VIEW, Kind.CART, Kind.PURCHASE), now) if 0 <= past < things.items else math.inf
    if kind == kernel.UNTOLD:
        return 0.0 if 0 <= past < things.items and things.speakable[past] else 1.0
    if kind == kernel.FOLLOWED:
        return days(looked, now) if looked is not None and (settled is None or looked > settled) else math.inf
    if kind == kernel.OWNED:
        return float(bought is not None and np.isnan(things.replenish_days[item]))
    if kind == kernel.CYCLE:
        lasts = float(things.replenish_days[item])
        return math.inf if bought is None or math.isnan(lasts) else days(bought, now) / lasts
    if kind == kernel.RATIO:
        if np.isnan(things.price[item]):
            return 0.0 if things.gesture[item] else math.nan
        paid = [price for it, how, _, price in happened if how == Kind.PURCHASE and 0 <= it < things.items
                and things.category[it] == things.category[item] >= 0 and not math.isnan(price)]  # fmt: skip
        if not paid or things.price[item] == 0:
            return 0.0
        mean = sum(paid) / len(paid)
        return float(np.float32(things.price[item] / mean)) if mean > 0 else math.inf
    if kind == kernel.UNHEEDED:
        return 1.0 + sum(at > (NEVER if interest is None else interest) for at in shown)
    if kind == kernel.HURRIED:
        return float(bool(things.claim[item] & Claim.URGENCY) and not things.badge_until[item] > now)
    if kind == kernel.SHOWN_ITEM:
        return counted(np.arange(things.items))
    if kind == kernel.SHOWN_CATEGORY:
        return counted(things.category)
    if kind == kernel.SHOWN_BRAND:
        return counted(things.brand)
    refusals = {at for it, how, at, _ in events if it == item and how == Kind.DISMISS}
    refusals |= {at for it, how, at in entries if it == item and how == ENTRY_KINDS.index("dismiss")}
    if not refusals:
        return 0.0
    over = days(max(refusals), now) - measure.first * min(len(refusals), measure.second)
    if over < 0:
        return -over
    apart = measure.first * max(0.0, 1 - over / measure.third) if measure.third else 0.0
    return max(0.0, apart - days(max(shown, default=None), now))


WIDE = 200  # categories, and brands: more than eight times what anybody did


def widened(world: World, seed: int) -> World:
    """Return the world with many categories and brands, most of them without an item."""
    rng = np.random.default_rng(seed)
    names = tuple(f"{number:03}" for number in range(WIDE))
    category, brand = rng.choice([-1, 0, 7, WIDE - 1], (2, world.catalogue.items)).astype(np.int32)
    things = replace(world.catalogue, category=category, brand=brand, category_names=names, brand_names=names)
    return replace(world, catalogue=things)


@st.composite
def any_worlds(draw: st.DrawFn) -> World:
    seed = draw(shops)
    world = random_world(seed)
    return widened(world, seed) if draw(st.booleans()) else world


@st.composite
def measures(draw: st.DrawFn, kind: int) -> Measure:
    first, second = draw(st.sampled_from([7, 0, 1, 1.5])), draw(st.sampled_from([2, 1, 4]))
    return Measure(kind, 0, first, second, draw(st.sampled_from([28, 0, 0.5])))


@pytest.mark.parametrize("kind", range(kernel.HURRIED + 1), ids=lambda kind: f"measure {kind}")
@given(data=st.data(), world=any_worlds())
def test_what_is_measured_is_what_the_slow_way_measures(kind: int, data: st.DataObject, world: World) -> None:
    """Each measure of each row, from events and entries in any order."""
    measure = data.draw(measures(kind))
    facts = facts_of(world)
    found = measured(facts, measure)
    for row in range(world.candidates.rows):
        if facts.item_known[row]:
            expected = measure_of_row(world, facts.shoppers, row, measure)
            np.testing.assert_allclose(found[row], expected, rtol=1e-12, err_msg=f"row {row}")
        else:
            assert np.isnan(found[row])


@given(worlds(), policies(), st.booleans())
def test_the_gates_reasons_are_those_of_its_rules(world: World, rules: Policy, wide: bool) -> None:
    """The compiled pass gives a row the reason of a rule exactly where the rule itself withholds the row."""
    world = widened(world, world.seed) if wide else world
    verdict, facts = world.screen(rules), facts_of(world, rules)
    judged = facts.item_known & (world.candidates.source < len(SOURCE_NAMES))
    for tier in Tier:
        mine = judged & (facts.shoppers.tier[world.candidates.user_row] == tier)
        told = {how: np.zeros(world.candidates.rows, np.uint64) for how in ("enforce", "shadow", "off")}
        of_rules = np.uint64(0)
        for rule in rules.rules_for(surface=world.context.surface, intent=world.context.intent, tier=tier).values():
            if isinstance(rule, Quota):
                continue
            covered = np.isin(world.candidates.source, [SOURCE_NAMES.index(name) for name in rule.sources])
            told[rule.enforce] |= np.where(rule(facts) & covered, BIT[rule.reason], np.uint64(0))
            of_rules |= BIT[rule.reason]
        np.testing.assert_array_equal((verdict.enforced & of_rules)[mine], told["enforce"][mine])
        np.testing.assert_array_equal((verdict.shadowed & of_rules)[mine], told["shadow"][mine])


@given(worlds())
def test_what_is_asked_of_one_row_is_what_is_asked_of_all(world: World) -> None:
    """A rule says of a row alone what it says of it among others; so does its value."""
    facts = facts_of(world)
    for rule in DEFAULT.rules.values():
        whole = rule(facts)
        assert whole.shape == (facts.size,)
        for row in np.flatnonzero(facts.item_known)[:4]:
            alone = facts.one(int(row))
            assert rule(alone).tolist() == [whole[row]], rule.reason


def spend_slowly(
    world: World, verdict_rows: list[int], open_rows: Any, rules: list[Rule], n: int, ease: Any, guest: bool,
    shown: list[tuple[int, int]],
) -> dict[int, set[str]]:  # fmt: skip
    """Spend the quotas of one user's rows: walk, look back, and begin again with less where the slate stays short."""
    rows, things = world.candidates, world.catalogue

    def room(rule: Rule, slate: list[int], row: int) -> bool:
        """Say whether a cap over days has room for one more, with those shown before and those in the slate."""
        terms = rule.terms()
        codes = things.brand if terms.by_brand else things.category
        code = codes[rows.item_row[row]]
        alike = sum(codes[rows.item_row[other]] == code for other in slate)
        if code < 0 or not alike:
            return True
        since = world.context.now - round(terms.days * 86_400_000_000)
        before = sum(at > since and 0 <= item < things.items and codes[item] == code for item, at in shown)
        left = terms.first * (1.0 if guest else float(ease[terms.eased_by]))
        return before + alike < max(math.floor(left + 1e-6), min(terms.first, 1))

    def share(rule: Rule) -> float:
        terms = rule.terms()
        return terms.share * (1.0 if guest or terms.eased_by is None else float(ease[terms.eased_by]))

    def concerns(rule: Rule, row: int) -> bool:
        told = SOURCE_NAMES[rows.source[row]] in rule.sources
        return told and (not rule.terms().promoted_only or bool(things.promoted[rows.item_row[row]]))

    live = [rule for rule in rules if rule.enforce == "enforce" and rule.terms() is not None]
    caps = {place: math.floor(share(rule) * n + 1e-9) for place, rule in enumerate(live)}
    while True:
        slate: list[int] = []
        told: dict[int, set[str]] = {}
        for row in verdict_rows:
            if not open_rows[row]:
                continue
            if len(slate) >= n:
                told[row] = {SLATE_FULL}
                continue
            if any(rows.item_row[other] == rows.item_row[row] for other in slate):
                told[row] = {"repeated"}
                continue
            reasons = set()
            for place, rule in enumerate(live):
                terms = rule.terms()
                if not concerns(rule, row):
                    continue
                before = [at for at, other in enumerate(slate) if concerns(rule, other)]
                if terms.kind == quota.SHARE:
                    over = len(before) >= caps[place]
                elif terms.kind == quota.LEAD:
                    over = not slate
                elif terms.kind == quota.GAP:
                    over = bool(before) and len(slate) - before[-1] - 1 < terms.first
                elif terms.kind == quota.WINDOW:
                    over = not room(rule, slate, row)
                else:
                    codes = things.brand if terms.by_brand else things.category
                    code = codes[rows.item_row[row]]
                    back = range(max(0, len(slate) - terms.second + 1), len(slate))
                    alike = sum(at in before and codes[rows.item_row[slate[at]]] == code for at in back)
                    over = code >= 0 and alike >= terms.first
                if over:
                    reasons.add(rule.reason)
            told[row] = reasons
            if not reasons:
                slate.append(row)
        short = False
        for place, rule in enumerate(live):
            terms = rule.terms()
            if terms.kind == quota.SHARE and terms.promoted_only and len(slate) < n:
                count = sum(concerns(rule, row) for row in slate)
                if count > math.floor(share(rule) * len(slate) + 1e-9):
                    caps[place], short = count - 1, True
        if not short:
            return told


@given(st.tuples(worlds(), policies()) | st.tuples(long_lists(), spending()), st.sampled_from([0, 1, 2, 4, 10, 30]))
def test_quotas_are_spent_as_the_slow_way_spends_them(asked: tuple[World, Policy], n: int) -> None:
    """Row for row the same reasons, and so the same slate."""
    world, rules = asked
    verdict, facts = world.screen(rules, n=n), facts_of(world, rules)
    quotas = [rule for rule in RULES.values() if rule.spends]
    bits = np.bitwise_or.reduce([BIT[rule.reason] for rule in quotas] + [BIT[SLATE_FULL]])
    twin = BIT["repeated"]
    for user in range(world.candidates.users):
        mine = list(range(*world.candidates.offsets[user : user + 2]))
        tier = Tier(int(facts.shoppers.tier[user]))
        found = rules.rules_for(surface=world.context.surface, intent=world.context.intent, tier=tier).values()
        seen: set[tuple[int, int]] = set()
        open_rows = {}
        for row in mine:
            key = (int(world.candidates.item_row[row]), int(world.candidates.source[row]))
            open_rows[row] = not (verdict.enforced[row] & ~bits & ~twin) and key not in seen
            misplaced = (
                world.catalogue.gesture[key[0]] != (key[1] == 3) if 0 <= key[0] < world.catalogue.items else False
            )
            open_rows[row] &= not misplaced and key[1] < len(SOURCE_NAMES)
            seen.add(key)
        for rule in found:
            if not isinstance(rule, Quota) and rule.spends and rule.enforce == "enforce":
                over, codes = rule(facts), [SOURCE_NAMES.index(name) for name in rule.sources]
                open_rows |= {
                    r: ok and not (over[r] and world.candidates.source[r] in codes) for r, ok in open_rows.items()
                }
        ease = {family: values[user] for family, values in facts.shoppers.ease.items()}
        entries = facts.exposures
        told = range(*entries.offsets[user : user + 2]) if tier != Tier.GUEST else range(0)
        shown = [
            (int(entries.item_row[e]), int(entries.at[e])) for e in told if ENTRY_KINDS[entries.kind[e]] == "shown"
        ]
        slow = spend_slowly(world, mine, open_rows, [r for r in found if r.spends], n, ease, tier == Tier.GUEST, shown)
        for row, reasons in slow.items():
            assert set(verdict.reasons(row)) == reasons
            assert verdict.kept[row] == (not reasons)


@given(shops)
def test_messages_are_counted_as_the_slow_way_counts_them(seed: int) -> None:
    """Distinct slates on the surfaces in the window, and hours since the last one."""
    world = random_world(seed)
    facts, entries = facts_of(world), world.exposures
    for surfaces in (("email",), ("email", "push"), ("nowhere",)):
        counts, hours = facts.messages(surfaces, 1.5)
        for user in range(world.candidates.users):
            part = slice(*entries.offsets[user : user + 2])
            mine = [
                (int(slate), int(at))
                for kind, surface, slate, at in zip(entries.kind[part], entries.surface[part], entries.slate[part], entries.at[part], strict=True)
                if kind == 0 and entries.surfaces[surface] in surfaces
            ]  # fmt: skip
            assert counts[user] == len({slate for slate, at in mine if at > NOW - round(1.5 * DAY)})
            last = max((at for _, at in mine), default=NEVER)
            assert hours[user] == hours_since(np.array([last]), NOW)[0]


@given(shops)
def test_relationships_are_weighed_as_the_slow_way_weighs_them(seed: int) -> None:
    """First event, purchases, baskets and spend of each user."""
    past = random_world(seed).history
    order = np.lexsort((past.at, past.user_row))
    past = replace(
        past, **{name: getattr(past, name)[order] for name in ("item_row", "kind", "at", "unit_price", "quantity")}
    )
    first = np.full(past.users, NEVER)
    bought, baskets, spend = (np.zeros(past.users, np.float32) for _ in range(3))
    relationship(past.offsets, past.kind, past.at, past.unit_price, past.quantity, first, bought, baskets, spend)
    for user in range(past.users):
        part = slice(*past.offsets[user : user + 2])
        is_purchase = past.kind[part] == Kind.PURCHASE
        assert first[user] == min(past.at[part].tolist(), default=NEVER)
        assert bought[user] == is_purchase.sum()
        assert baskets[user] == len(set(past.at[part][is_purchase].tolist()))
        assert spend[user] == pytest.approx(
            np.nansum(past.unit_price[part][is_purchase] * past.quantity[part][is_purchase])
        )


def test_a_basket_is_what_was_bought_at_one_time() -> None:
    """Two pairs at two each and one more at one time, and a pair at five later, with a view in between."""
    kinds = np.array([2, 2, 0, 2], np.uint8)
    first, bought, baskets, spend = np.full(1, NEVER), *(np.zeros(1, np.float32) for _ in range(3))
    relationship(
        np.array([0, 4]), kinds, np.array([5, 5, 7, 9]), np.float32([2, 2, 1, 5]), np.float32([2, 1, 1, 2]), first,
        bought, baskets, spend,
    )  # fmt: skip
    assert [int(one[0]) for one in (first, bought, baskets, spend)] == [5, 3, 2, 16]


@given(shops)
def test_the_strongest_kind_is_the_strongest(seed: int) -> None:
    """Of all a user did with an item and may be told of: purchase before cart before view; no is nothing."""
    past = random_world(seed).history
    told = np.random.default_rng(seed).random(len(past.at)) < 0.7
    pairs = [(user, item) for user in range(past.users) for item in range(12)]
    users, items = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    found = past.strongest_kinds(users, items, told)
    for (user, item), kind in zip(pairs, found.tolist(), strict=True):
        part = slice(*past.offsets[user : user + 2])
        done = [
            k
            for i, k, spoke in zip(past.item_row[part], past.kind[part], told[part], strict=True)
            if spoke and i == item and k <= Kind.PURCHASE
        ]
        assert kind == max(done, default=0)


@pytest.mark.parametrize(
    ("bound", "below", "at", "above"), [(0, True, True, False), (1, False, True, True), (2, True, False, False)]
)
def test_sides_of_a_limit(bound: int, below: bool, at: bool, above: bool) -> None:
    """At most, at least, below; what is no number is on no side."""
    right, days_since = (getattr(one, "py_func", one) for one in (kernel.right, kernel.days_since))
    for value, fine in ((1.0, below), (2.0, at), (3.0, above), (math.nan, False)):
        assert kernel.right(value, 2.0, bound) == fine
        assert right(value, 2.0, bound) == fine
    assert days_since(NEVER, NOW) == math.inf
    assert kernel.days_since(NOW - DAY, NOW) == days_since(NOW - DAY, NOW) == 1
    assert kernel.days_since(NOW + DAY, NOW) == 0


def test_checks_come_in_batches_that_decide_alike() -> None:
    """More windows or tests than one pass takes are taken in several."""
    cap = DEFAULT.rules["item_cap"]
    rules = [cap.model_copy(update={"days": float(1 + number)}) for number in range(3 * MOST_WINDOWS)]
    one = placed(cap)
    tests = [Check(rule.measure(), 0, one.covered, one.bit, True) for rule in rules if isinstance(rule, Measured)]
    assert [len(batch.columns[0]) for batch in Checks.batches(tests)] == [MOST_WINDOWS] * 3
    many = [Check(Measure(kernel.OWNED, 0), 0, one.covered, one.bit, True)] * (MOST_CHECKS + 1)
    assert [len(batch.columns[0]) for batch in Checks.batches(many)] == [MOST_CHECKS, 1]
    assert [len(batch.columns[0]) for batch in Checks.batches([])] == [0]


@settings(max_examples=10)
@given(worlds(), st.lists(st.sampled_from([0.5, 1.0, 2.5, 7.0, 11.0]), min_size=20, max_size=20), st.booleans())
def test_more_windows_than_one_pass_takes_decide_as_each_alone(world: World, days: list[float], shadow: bool) -> None:
    """Reasons of all passes stand beside each other, those of the guards and of items among them."""
    tree = DEFAULT.to_dict()
    for place, (name, window) in enumerate(
        zip(["item_cap", "category_cap", "brand_cap", "item_cap"] * 5, days, strict=True)
    ):
        terms = {
            "reason": name,
            "days": window,
            "times": place % 4,
            "enforce": "shadow" if shadow and place % 2 else "enforce",
        }
        tree["rules"][f"more{place}"] = tree["rules"][name] | terms
    rules = Policy.from_dict(tree)
    verdict, facts = world.screen(rules, n=1000), facts_of(world, rules)
    plain = world.screen(DEFAULT, n=1000)
    judged = facts.item_known & (world.candidates.source < len(SOURCE_NAMES))
    told, noted = (np.zeros(world.candidates.rows, np.uint64) for _ in range(2))
    for tier in Tier:
        mine = judged & (facts.shoppers.tier[world.candidates.user_row] == tier)
        for rule in rules.rules_for(surface=world.context.surface, intent=world.context.intent, tier=tier).values():
            if rule.reason in {"item_cap", "category_cap", "brand_cap"}:
                covered = mine & np.isin(world.candidates.source, [SOURCE_NAMES.index(name) for name in rule.sources])
                kinds = told if rule.enforce == "enforce" else noted
                kinds |= np.where(rule(facts) & covered, BIT[rule.reason], np.uint64(0))
    caps = BIT["item_cap"] | BIT["category_cap"] | BIT["brand_cap"]
    assert not (told & ~verdict.enforced).any()
    assert not (noted & ~verdict.shadowed).any()
    assert not (verdict.enforced & BIT["item_cap"] & ~told).any()
    rest = ~(caps | BIT["slate_full"] | BIT["repeated"] | BIT["crowded"] | BIT["profile_share"] | BIT["promoted_share"])
    rest &= ~(BIT["promoted_lead"] | BIT["promoted_gap"])
    np.testing.assert_array_equal(verdict.enforced & rest, plain.enforced & rest)


@given(any_worlds(), st.sampled_from([len(Kind), 77, 255]))
def test_an_event_of_no_kind_is_neither_interest_nor_refusal(world: World, code: int) -> None:
    """Whatever is measured, it is as if the event were not there."""
    past = world.history
    odd = np.arange(len(past.at)) % 2 == 0
    kind = np.where(odd, np.uint8(code), past.kind)
    there, gone = replace(world, history=replace(past, kind=kind)), replace(world, history=past.only(~odd))
    shoppers = world.meet(DEFAULT)
    for number in range(kernel.HURRIED + 1):
        measure = Measure(number, 0, 7, 2, 28)
        one, other = (measured(facts_of(w, shoppers=shoppers), measure) for w in (there, gone))
        np.testing.assert_array_equal(one, other)


def test_the_next_shopper_was_shown_nothing_of_the_last_one() -> None:
    """What is measured of one list leaves nothing to the next."""
    said = [shown(0, kind="dismiss", ago=8 * DAY)]
    for first, second in (([shown(0)], said), ([*said, shown(0)] * 3, [shown(1)]), ([shown(1)], [*said, shown(1)])):
        rows = Candidates.of(["ann", "bob"], [0, 1, 2], item_row=[0, 0], score=[1, 1], closeness=[1, 1], trace_share=[0, 0], evidence_row=[1, 1])  # fmt: skip
        mine = [event(1, ago=(100 + n) * DAY) for n in range(9)]
        world = replace(
            one_row(), candidates=rows, customers=customers([customer("ann"), customer("bob")], ["ann", "bob"]),
            history=history([*mine, event(0, kind="view"), event(0, ago=2 * DAY)], mine), exposures=exposures(first, second),
        )  # fmt: skip
        facts, alone = facts_of(world), facts_of(world.take([1]))
        for kind in range(kernel.HURRIED + 1):
            measure = Measure(kind, 0, 7, 2, 28)
            assert measured(facts, measure)[1] == measured(alone, measure)[0], kind


def test_what_the_last_one_paid_is_not_the_next_ones_price() -> None:
    """Of the first item of a wide shop too, and of an event with no item at all."""
    for wide in (False, True):
        world = one_row({"price": 5.0})
        things = world.catalogue
        if wide:
            names = tuple(map(str, range(WIDE)))
            things = replace(things, category=np.int32([3, 9]), category_names=names)
        rows = Candidates.of(["ann", "bob"], [0, 1, 3], item_row=[0, 0, 1], score=[1, 1, 1])
        past = history([event(0, price=1.0), event(0, price=1.0)], [event(-1, price=0.01)])
        people = customers([customer("ann"), customer("bob")], ["ann", "bob"])
        both = replace(
            world, catalogue=things, candidates=rows, customers=people, history=past, exposures=exposures([], [])
        )
        tiers = replace(both.meet(DEFAULT), tier=np.array([Tier.REGULAR] * 2, np.uint8))
        facts = Facts(both.context, things, tiers, rows, history=past, exposures=both.exposures)
        assert measured(facts, Measure(kernel.RATIO, 0)).tolist() == [5, 0, 0]


def test_what_was_bought_the_moment_it_was_viewed_is_not_followed() -> None:
    """It is not pursued: it was bought."""
    world = one_row(events=[event(0, kind="view", ago=60 * DAY), event(0, ago=60 * DAY)])
    assert measured(facts_of(world), Measure(kernel.FOLLOWED, 0)).tolist() == [math.inf]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_of_no_item_is_not_looked_up(seed: int) -> None:
    """Before the shop's items, just behind them, or far: as if it were not there, in a wide shop too."""
    for world in (random_world(seed), widened(random_world(seed), seed)):
        past, seen, many = world.history, world.exposures, world.catalogue.items
        odd, strange = np.arange(len(past.at)) % 3 == 0, np.arange(len(seen.at)) % 3 == 0
        there = replace(
            world,
            history=replace(past, item_row=np.where(odd, np.resize([many, -1, many + 7], len(odd)), past.item_row)),
            exposures=replace(seen, item_row=np.where(strange, np.resize([many + 7, many, -1], len(strange)), seen.item_row)),
        )  # fmt: skip
        gone = replace(world, history=past.only(~odd), exposures=seen.only(~strange))
        shoppers = world.meet(DEFAULT)
        for number in range(kernel.HURRIED + 1):
            one, other = (measured(facts_of(w, shoppers=shoppers), Measure(number, 0, 7, 2, 28)) for w in (there, gone))
            np.testing.assert_array_equal(one, other)


def test_items_far_down_the_catalogue_are_told_apart() -> None:
    """Also those that share the low bits by which a shopper's items are first looked for."""
    many = 9000
    world = random_world(7)
    arrays = {
        field: np.ascontiguousarray(value[..., np.arange(many) % world.catalogue.items])
        for field, value in vars(world.catalogue).items()
        if isinstance(value, np.ndarray) and field != "things"
    }
    things = replace(
        world.catalogue, **{name: value for name, value in arrays.items() if name in world.catalogue.__dataclass_fields__},
        item_ids=tuple(map(str, range(many))),
    )  # fmt: skip
    places = [0, 1, 4094, 4095, 4096, 4097, 8190, 8191, 8192, 8999]
    block = Candidates.of(
        ["ann"], [0, len(places)], item_row=places, score=np.ones(len(places)), evidence_row=places[::-1],
        closeness=np.ones(len(places)), trace_share=np.zeros(len(places)),
    )  # fmt: skip
    past = history([event(row, kind=kind, ago=days * DAY) for days, (row, kind) in enumerate([(4095, "view"), (8191, "purchase"), (0, "purchase"), (4097, "dismiss"), (8190, "view")], 1)])  # fmt: skip
    seen = exposures([shown(row, ago=HOUR, slate=n) for n, row in enumerate([4096, 4096, 8192, 0, 8999])])
    world = World(things, block, customers([customer("ann")], ["ann"]), past, seen)
    facts = facts_of(world)
    for kind in range(kernel.HURRIED + 1):
        measure = Measure(kind, 0, 7, 2, 28)
        expected = [measure_of_row(world, facts.shoppers, row, measure) for row in range(len(places))]
        np.testing.assert_allclose(measured(facts, measure), expected, rtol=1e-6)


def test_items_of_one_class_have_the_same_reasons() -> None:
    """Classes are told apart exactly, also where two columns meet in one number."""
    world = random_world(7)
    rules = [placed(rule) for rule in DEFAULT.rules.values() if rule.grain == "item"]
    lines = ItemLines(world.catalogue, rules)
    assert lines.left == []
    for one in rules:
        from boundary.facts import ItemFacts

        found = one.rule(ItemFacts(world.catalogue))
        for source in np.flatnonzero(one.covered):
            np.testing.assert_array_equal((lines.bits[source][lines.item_class] & one.bit) != 0, found)
    odd = np.uint64(0x9E3779B97F4A7C15)
    clash = np.array([[1, 0], [0, odd]], np.uint64)
    first, same = _classes(clash)
    np.testing.assert_array_equal(clash[:, first][:, same], clash)
    assert len(first) == 2


def test_the_kernels_words_are_the_boundarys() -> None:
    """Codes that are written twice are the same."""
    assert tuple(Kind) == (kernel.VIEW, kernel.CART, kernel.PURCHASE, kernel.DISMISS)
    assert (ENTRY_KINDS.index("shown"), ENTRY_KINDS.index("dismiss")) == (kernel.ENTRY_SHOWN, kernel.ENTRY_DISMISSED)
    assert len(SOURCE_NAMES) < 8  # the sources of an item are bits of one byte
    assert len(BIT) <= 64
    assert isinstance(DEFAULT.rules["owned"], Rule)
    assert Context("home", "browse", 1, NOW).n == 1
