"""At the edges: windows and clocks, strangers and guests, broken rules, arrays that are none, shops that are empty."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from shop import (
    DAY,
    DEFAULT,
    HOUR,
    MINUTE,
    MOMENT,
    NOW,
    SENSITIVE,
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
    random_world,
    reasons,
    shown,
)

from boundary import Candidates, Catalogue, Context, Exposures, Gate, History, Policy, TableError, kernel
from boundary.candidates import CandidateError
from boundary.facts import ContextError, Facts, View
from boundary.rules import RULES
from boundary.rules.base import Flags, Quota, QuotaTerms, Rule, Values
from boundary.rules.frequent import SurfaceCap
from boundary.rules.personal import SensitiveCategory, TooClose
from boundary.words import Family, Tier

CROWD = {"source": "crowd"}


def micros(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(dt.datetime(year, month, day, hour, minute, tzinfo=dt.UTC).timestamp() * 1_000_000)


# --- windows and clocks


def test_a_window_slides_over_midnight() -> None:
    """23:59 and 00:01 lie two minutes apart, whatever the calendar says."""
    midnight = micros(2026, 1, 16)
    world = replace(one_row(), exposures=exposures([(0, 0, "home", midnight - MINUTE, n) for n in range(3)]))
    assert reasons(world, now=midnight + MINUTE) == ["item_cap"]
    assert reasons(world, now=midnight - MINUTE + 7 * DAY - 1) == ["item_cap"]
    assert reasons(world, now=midnight - MINUTE + 7 * DAY) == []


def test_windows_of_several_rules_are_joined_by_and() -> None:
    """The most restrictive of three caps decides, in whatever order they stand."""
    tree = DEFAULT.to_dict()
    cap = tree["rules"]["item_cap"] | {"reason": "item_cap"}
    tree["rules"] |= {"a": cap | {"times": 1, "days": 1}, "z": cap | {"times": 5, "days": 90}}
    rules = Policy.from_dict(tree)
    assert reasons(one_row(entries=[shown(0, ago=2 * DAY)]), rules) == []
    assert reasons(one_row(entries=[shown(0, ago=DAY - 1)]), rules) == ["item_cap"]
    assert reasons(one_row(entries=[shown(0, ago=(10 + n) * DAY) for n in range(5)]), rules) == ["item_cap"]


@pytest.mark.parametrize(
    ("zone", "hour", "quiet"),
    [
        ("Europe/Paris", micros(2026, 3, 28, 4, 30), True),  # 05:30, the day before summer time
        ("Europe/Paris", micros(2026, 3, 29, 4, 30), False),  # 06:30 by the new clock
        ("Europe/Paris", micros(2026, 10, 24, 4, 30), False),  # 06:30
        ("Europe/Paris", micros(2026, 10, 25, 4, 30), True),  # 05:30 by the old clock
        ("America/New_York", micros(2026, 11, 1, 5, 30), True),  # 01:30, for the first time that night
        ("America/New_York", micros(2026, 11, 1, 6, 30), True),  # 01:30 once more
        ("Asia/Kathmandu", micros(2026, 1, 15, 16, 14), False),  # 21:59
        ("Asia/Kathmandu", micros(2026, 1, 15, 16, 15), True),  # 22:00
        ("Pacific/Kiritimati", micros(2026, 1, 14, 16, 0), False),  # 06:00 of the day after
        ("Pacific/Kiritimati", micros(2026, 1, 14, 15, 59), True),
        ("Australia/Lord_Howe", micros(2026, 1, 15, 11, 0), True),  # 22:00, an offset of eleven hours
        ("UTC", micros(2026, 1, 15, 23, 59), True),
        ("UTC", micros(2026, 1, 16, 0, 1), True),
    ],
)
def test_quiet_hours_follow_the_shoppers_clock(zone: str, hour: int, quiet: bool) -> None:
    """Summer time, quarter-hour zones and the far side of the date line included."""
    world = one_row(row=CROWD, shopper={"timezone": zone}, surface="push")
    assert ("quiet_hours" in reasons(world, now=hour)) == quiet


def test_one_strange_zone_does_not_silence_the_others() -> None:
    """Who lives nowhere gets no message; everybody else does."""
    things = catalogue([item("a")])
    zones = ["Europe/Paris", "America", "../etc/passwd", "", "Mars/Base", "UTC"]
    people = [customer(f"u{n}", timezone=zone) for n, zone in enumerate(zones)]
    ids = [f"u{n}" for n in range(6)]
    block = Candidates.of(ids, np.arange(7), item_row=[0] * 6, score=[1.0] * 6, source=[1] * 6)
    world = World(things, block, customers(people, ids), History.empty(6), Exposures.empty(6))
    assert world.screen(DEFAULT, surface="email").kept.tolist() == [True, False, False, False, False, True]


def test_what_lies_ahead_counts_against_showing_and_never_for_it() -> None:
    """A clock that runs ahead may make the shop more careful, not less."""
    assert reasons(one_row(entries=[shown(0, ago=-HOUR, slate=n) for n in range(3)])) == ["item_cap"]
    assert reasons(one_row(events=[event(0, kind="view", ago=-HOUR)])) == ["following"]
    assert reasons(one_row({"replenish_days": None}, events=[event(0, ago=-HOUR)])) == ["owned"]
    early = one_row(shopper={"since": MOMENT + dt.timedelta(days=9)})
    assert "disproportionate" in reasons(early)
    newcomer = replace(one_row(), history=history([event(1, ago=-n * HOUR) for n in range(1, 9)]))
    assert newcomer.meet(DEFAULT).tier.tolist() == [Tier.GUEST]
    admitted = Gate(newcomer.catalogue, DEFAULT).admit(newcomer.history, one_row().meet(DEFAULT), now=NOW)
    assert admitted.counts == {"unknown": 8}


def test_times_before_and_after_all_calendars_do_no_harm() -> None:
    """Times far off are old or new, and a moment without a date is no hour of the day."""
    far = [event(0, kind="view", ago=NOW + 5 * DAY), event(1, ago=NOW + 99_999 * DAY)]
    assert reasons(one_row(events=far)) == []
    world = one_row(row=CROWD, surface="email")
    assert "rule_error" in reasons(world, now=2**62)


# --- shoppers


@pytest.mark.parametrize("down", [False, True])
def test_a_rule_about_shoppers_that_breaks_on_many_is_asked_about_each(down: bool) -> None:
    """Alone it has the same facts: who was sent what, and whether anybody can tell."""

    class Shy(SurfaceCap):
        def value(self, facts: View) -> Values:
            if facts.size > 1:
                raise ValueError
            return super().value(facts)

    sent = [[shown(1, surface="email", ago=20 * HOUR + n, slate=n) for n in range(times)] for times in (0, 5, 4)]
    ids = ["ann", "bob", "cem"]
    world = World(
        catalogue([item("a"), item("b")]),
        Candidates.of(ids, np.arange(4), item_row=[0] * 3, score=[1.0] * 3, source=[1] * 3),
        customers([customer(name) for name in ids], ids), History.empty(3), None if down else exposures(*sent),
    )  # fmt: skip
    rules = only("surface_cap", surface_cap__times=5)
    shy = only("surface_cap", surface_cap__times=5)
    shy.rules["surface_cap"] = Shy(**shy.rules["surface_cap"].model_dump())
    expected = [["surface_cap"]] * 3 if down else [[], ["surface_cap"], []]
    for asked in (rules, shy):
        verdict = world.screen(asked, surface="email")
        assert [verdict.reasons(row) for row in range(3)] == expected


def test_an_opt_in_is_nobody_elses_work() -> None:
    """A rule that yields to an opt-in is asked row by row about the rows of those who opted in, and of nobody else."""
    asked: list[int] = []

    class Noted(SensitiveCategory):
        def flagged(self, facts: View) -> Flags:
            asked.append(facts.size)
            return super().flagged(facts)

    world = random_world(11, users=6)
    widths = np.diff(world.candidates.offsets)
    (who, *_) = np.flatnonzero((world.meet(DEFAULT).tier != Tier.GUEST) & (widths > 0))
    asks = np.where(np.arange(6) == who, 1, 0).astype(np.uint32)
    world = replace(world, customers=replace(world.customers, optin_bits=asks))
    rules = policy()
    rules.rules["sensitive_category"] = Noted(**rules.rules["sensitive_category"].model_dump())
    noted, plain = world.screen(rules), world.screen(DEFAULT)
    assert set(asked) == {world.catalogue.items, int(widths[who])}
    assert widths[who] < world.candidates.rows
    np.testing.assert_array_equal(noted.enforced, plain.enforced)


def test_an_opt_in_changes_nothing_for_a_guest() -> None:
    """A shelf that is the same for everybody cannot show what one shopper asked for."""
    terms: dict[str, Any] = {"sensitive_optin": ["health"]}
    medicine = {"category": "medicine"}
    assert reasons(one_row(medicine, row=CROWD, shopper=terms)) == []
    assert reasons(one_row(medicine, row=CROWD, shopper=terms | {"consent": []})) == ["sensitive_category"]
    assert reasons(one_row(medicine, row=CROWD, shopper=terms | {"opted_out": True})) == ["sensitive_category"]
    assert reasons(one_row(medicine, row=CROWD, shopper=terms, entries=None)) == ["sensitive_category"]


@pytest.mark.parametrize("terms", [{"consent": []}, {"opted_out": True}, {"stranger": True}, {"since": MOMENT}])
def test_nothing_that_was_done_or_shown_moves_a_guest_shelf(terms: dict[str, Any]) -> None:
    """Owned, seen, dismissed, complained of: a guest's shelf does not subtract it, for that would tell."""
    done = [event(0), event(0, kind="view", ago=HOUR), event(0, kind="dismiss", ago=HOUR)]
    said = [shown(0, ago=HOUR, slate=n) for n in range(30)] + [shown(0, kind=kind) for kind in ("dismiss", "too_pushy")]
    world = one_row({"replenish_days": None}, row=CROWD, shopper=terms, events=done, entries=said)
    guest = replace(world, history=world.history if "since" not in terms else history(done[1:]))
    assert guest.meet(DEFAULT).tier.tolist() == [Tier.GUEST]
    assert reasons(guest) == []


def test_a_guest_who_complains_of_messages_gets_fewer() -> None:
    """Messages go to an address the shop knows, so what was said of them counts without a profile."""
    complaints = [shown(-1, kind="too_often", ago=MINUTE)] * 3
    mails = [shown(1, ago=(17 + n) * HOUR, surface="email", slate=n) for n in range(2)]
    terms = {"consent": ["email"]}
    assert reasons(one_row(row=CROWD, shopper=terms, entries=mails), surface="email") == []
    told = reasons(one_row(row=CROWD, shopper=terms, entries=mails + complaints), surface="email")
    assert told == ["surface_cap", "channel_gap"]


def test_the_session_of_a_visitor_is_not_a_profile() -> None:
    """What somebody looks at right now may speak for this one call, also for a guest; what tells of health may not."""
    session = {"source": "session", "closeness": np.nan, "trace_share": np.nan}
    visitor = {"stranger": True}
    assert reasons(one_row(row=session, shopper=visitor)) == []
    assert reasons(one_row(row=session, shopper=visitor, lift=2, z=9)) == ["sensitive_proxy"]
    assert reasons(one_row({"category": "medicine"}, row=session, shopper=visitor)) == ["sensitive_category"]
    assert reasons(one_row(row=session, shopper=visitor, support=3)) == ["low_support"]


@pytest.mark.parametrize(
    ("days", "purchases", "terms", "tier"),
    [
        (400, 11, {}, Tier.REGULAR),
        (30, 5, {}, Tier.REGULAR),
        (29.99, 5, {}, Tier.NEWCOMER),
        (400, 4, {}, Tier.NEWCOMER),
        (400, 1, {}, Tier.NEWCOMER),
        (400, 0, {}, Tier.GUEST),
        (400, 11, {"consent": ["email"]}, Tier.GUEST),
        (400, 11, {"opted_out": True}, Tier.GUEST),
        (400, 11, {"opted_out": None}, Tier.GUEST),
        (400, 11, {"stranger": True}, Tier.GUEST),
    ],
)
def test_tiers_grow_with_consent_tenure_and_purchases(
    days: float, purchases: int, terms: dict[str, Any], tier: Tier
) -> None:
    """Each limit at its edge; without consent nothing counts."""
    world = one_row(shopper={"since": MOMENT - dt.timedelta(days=days)} | terms)
    world = replace(world, history=history([event(1, ago=(n + 1) * HOUR) for n in range(purchases)]))
    assert world.meet(DEFAULT).tier.tolist() == [tier]


def test_a_cheap_shop_may_ask_for_a_larger_ticket() -> None:
    """Ticket size is a limit of the tiers like any other: the mean spend of a basket."""
    world = one_row()
    for ticket, tier in ((2.0, Tier.REGULAR), (2.01, Tier.NEWCOMER)):
        assert world.meet(DEFAULT.replace({"tiers.regular.ticket": ticket})).tier.tolist() == [tier]
    assert world.meet(DEFAULT).baskets.tolist() == [11]


def test_complaints_tighten_their_family_and_fade() -> None:
    """Each complaint takes a step off, together no more than so many, and after a while it is forgotten."""

    def ease(*complaints: tuple[Any, ...]) -> dict[str, float]:
        return {str(f): float(v[0]) for f, v in one_row(entries=complaints).meet(DEFAULT).ease.items()}

    said = shown(-1, kind="too_pushy", ago=0)
    assert ease() == {"personal": 1, "frequent": 1, "conversion": 1}
    assert ease(said) == {"personal": 1, "frequent": 1, "conversion": 0.75}
    assert ease(*[said] * 9)["conversion"] == 0.25
    assert ease(shown(-1, kind="too_pushy", ago=70 * DAY))["conversion"] == 0.875
    for days in (140, 141, 400):
        assert ease(shown(-1, kind="too_pushy", ago=days * DAY))["conversion"] == 1
    once = [shown(0, kind="too_personal", ago=0)]
    assert reasons(one_row(row={"closeness": 3.0}, entries=once)) == []
    assert reasons(one_row(row={"closeness": 3.01}, entries=once)) == ["too_close"]
    often = [shown(-1, kind="too_often", ago=0)]
    assert reasons(one_row(entries=[*often, shown(0), shown(0, ago=HOUR)])) == ["item_cap"]
    assert (
        reasons(one_row(entries=[*often * 9]), policy(item_cap__times=1)) == []
    )  # complaints never bring a cap to never


# --- both doors


@pytest.mark.parametrize(
    ("rule", "complaint", "before", "after"),
    [
        ("profile_share", "too_personal", 7, 5),
        ("profile_share", "too_pushy", 7, 7),
        ("promoted_share", "too_pushy", 5, 3),
        ("promoted_share", "too_personal", 5, 5),
    ],
)
def test_a_complaint_takes_slots_from_its_quota(rule: str, complaint: str, before: int, after: int) -> None:
    """A step of a quarter off the share, in whole slots; a complaint of another family takes nothing."""
    promoted = rule == "promoted_share"
    things = catalogue([item(f"i{number}", promoted=promoted and number < 10) for number in range(20)])
    rows = Candidates.of(
        ["ann"], [0, 20], item_row=np.arange(20), score=np.ones(20), source=[0] * 10 + [0 if promoted else 1] * 10
    )
    world = replace(one_row(), catalogue=things, candidates=rows)
    rules = only(rule, **({"promoted_share__most": 0.5} if promoted else {"profile_share__most": 0.7})).replace(
        {"feedback.step": 0.25}
    )
    kept = [
        replace(world, exposures=exposures(entries)).screen(rules).kept[:10].sum()
        for entries in ([], [shown(-1, kind=complaint, ago=0)])
    ]
    assert kept == [before, after]


def test_the_first_door_counts_what_it_turns_away() -> None:
    """Sensitive, unknown, old and unfit events never become evidence; each is counted by its reason."""
    things = catalogue([item("bread"), item("pill", category="medicine"), item("box", category=None), item("hint")], lift=[[1, 1, 1, 2]] * 2, z=[[0, 0, 0, 9]] * 2)  # fmt: skip
    year = DEFAULT.tiers[Tier.REGULAR].retention_days
    past = history(
        [event(0), event(0, kind="view"), event(0, kind="dismiss"), event(1), event(2), event(-1), event(9), event(3),
         event(0, ago=int(year * DAY)), event(0, ago=int(year * DAY) + 1)]
    )  # fmt: skip
    regular = one_row().meet(DEFAULT)
    admitted = Gate(things, DEFAULT).admit(past, regular, now=NOW)
    assert admitted.counts == {"sensitive_category": 1, "unknown": 3, "stale": 1, "disproportionate": 1}
    assert admitted.mask.sum() == 4
    with pytest.raises(CandidateError, match="history must be of the block's 1 users but is of 2"):
        Gate(things, DEFAULT).admit(history([], []), regular, now=NOW)
    for z, turned_away in ((9, 1), (9.01, 0)):
        counts = Gate(things, DEFAULT.replace({"admit.proxy_z": z})).admit(past, regular, now=NOW).counts
        assert counts.get("sensitive_proxy", 0) == turned_away
    strict = DEFAULT.replace({"admit.proxy_z": 4})
    assert Gate(things, strict).admit(past, regular, now=NOW).counts["sensitive_proxy"] == 1  # the hint
    blank = replace(things, proxy_z=np.full((2, 4), np.nan, np.float32))
    assert not Gate(blank, strict).admit(past, regular, now=NOW).mask.any()
    off = DEFAULT.replace({"admit.sensitive": "off"})
    assert "sensitive_category" not in Gate(things, off).admit(past, regular, now=NOW).counts
    asked = one_row(shopper={"sensitive_optin": ["health"]}).meet(DEFAULT)
    assert "sensitive_category" not in Gate(things, DEFAULT).admit(past, asked, now=NOW).counts


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"consent": []}, {"no_consent": 12, "stale": 12, "disproportionate": 12}),
        ({"opted_out": True}, {"opted_out": 12, "stale": 12, "disproportionate": 12}),
    ],
)
def test_nothing_is_remembered_of_who_did_not_agree(terms: dict[str, Any], told: dict[str, int]) -> None:
    """Of a guest no event becomes evidence."""
    world = one_row(shopper=terms, events=[event(0)])
    admitted = Gate(world.catalogue, DEFAULT).admit(world.history, world.meet(DEFAULT), now=NOW)
    assert admitted.counts == told
    assert not admitted.mask.any()


def test_a_newcomer_leaves_purchases_of_a_month() -> None:
    """Views and carts of a newcomer are not remembered, nor what is older than thirty days."""
    world = one_row(shopper={"since": MOMENT - dt.timedelta(days=20)})
    past = history([event(0, ago=30 * DAY), event(0, ago=30 * DAY + 1), event(0, kind="view"), event(0, kind="cart")])
    admitted = Gate(world.catalogue, DEFAULT).admit(past, world.meet(DEFAULT), now=NOW)
    assert admitted.counts == {"stale": 1, "disproportionate": 2}


def test_items_open_to_a_source_are_those_no_item_rule_withholds() -> None:
    """What is sensitive, unknown or falsely praised is not drawn; what is seldom bought may only be explored."""
    things = catalogue([item("a"), item("b", category="medicine"), item("c", category=None), item("d"), item("e", badge="Hurry, bestseller")], support=[99, 99, 99, 9, 99])  # fmt: skip
    gate = Gate(things, DEFAULT)
    assert gate.item_mask("explore").tolist() == [True, False, False, True, False]
    assert gate.item_mask("personal").tolist() == [True, False, False, False, False]
    assert gate.item_mask("gesture").tolist() == [False] * 5


# --- broken rules


class Picky(Rule):
    """Breaks on items that are priced at three."""

    reason: ClassVar[str] = "too_close"
    family: ClassVar[Family] = Family.PERSONAL

    def value(self, facts: Any) -> Values:
        if (facts.item("price") == 3).any():
            raise ZeroDivisionError("secret")
        return np.zeros(facts.size)


def three_rows() -> World:
    things = catalogue([item("a"), item("b", price=3.0), item("c")])
    block = Candidates.of(["ann"], [0, 3], item_row=[0, 1, 2], score=[3, 2, 1], source=[1, 1, 1])
    return World(things, block, customers([customer("ann")], ["ann"]), history([]), exposures([]))


def with_rule(rule: Rule) -> Policy:
    found = Policy.from_dict(only().to_dict())
    found.rules["picky"] = rule
    return found


@pytest.mark.parametrize("how", ["enforce", "shadow", "off"])
def test_an_exception_in_a_rule_withholds_that_row_alone(how: Any) -> None:
    """The others are judged, the request is answered, and the failure has its own code."""
    verdict = three_rows().screen(with_rule(Picky(enforce=how, sources=("crowd",))))
    told = [["rule_error"] if how == "enforce" and row == 1 else [] for row in range(3)]
    assert [verdict.reasons(row) for row in range(3)] == told
    assert verdict.shadow_counts() == ({"rule_error": 1} if how == "shadow" else {})
    elsewhere = three_rows().screen(with_rule(Picky(enforce=how, sources=("personal",))))
    assert elsewhere.kept.all()


class OfItems(Picky):
    grain: ClassVar[Any] = "item"


class OfShoppers(Picky):
    grain: ClassVar[Any] = "shopper"

    def value(self, facts: Any) -> Values:
        if facts.shoppers.customers.opted_out.any():
            raise KeyError("secret")
        return facts.of_shopper(np.zeros(facts.shoppers.users))


class Shapeless(Picky):
    def value(self, facts: Any) -> Values:
        return np.zeros((facts.size, 2)) if facts.size > 1 else np.ones(1)


class Torn(Quota):
    reason: ClassVar[str] = "crowded"
    family: ClassVar[Family] = Family.CONVERSION

    def terms(self) -> QuotaTerms:
        raise OSError("secret")


def test_broken_rules_about_items_break_on_their_items_alone() -> None:
    """A rule that cannot judge the whole catalogue is asked row by row."""
    verdict = three_rows().screen(with_rule(OfItems(enforce="enforce", sources=("crowd",))))
    assert [verdict.reasons(row) for row in range(3)] == [[], ["rule_error"], []]
    gate = Gate(three_rows().catalogue, with_rule(OfItems(enforce="enforce", sources=("explore",))))
    assert not gate.item_mask("explore").any()
    assert gate.item_mask("crowd").all()


def test_broken_rules_about_shoppers_break_on_their_shoppers_alone() -> None:
    """One shopper a rule cannot judge costs the others nothing."""
    things = catalogue([item("a")])
    block = Candidates.of(["ann", "bob"], [0, 1, 2], item_row=[0, 0], score=[1, 1], source=[1, 1])
    people = customers([customer("ann"), customer("bob", opted_out=True)], ["ann", "bob"])
    world = World(things, block, people, history([], []), exposures([], []))
    verdict = world.screen(with_rule(OfShoppers(enforce="enforce", sources=("crowd",))))
    assert [verdict.reasons(row) for row in range(2)] == [[], ["rule_error"]]


@pytest.mark.parametrize(
    ("terms", "reason"), [({"consent": ["email"]}, "no_consent"), ({"opted_out": True}, "opted_out")]
)
def test_who_did_not_agree_is_not_remembered_in_any_tier(terms: dict[str, Any], reason: str) -> None:
    """Whatever tier somebody has put them in, and whatever else stands against the event."""
    world = one_row(shopper=terms)
    regular = replace(world.meet(DEFAULT), tier=np.array([Tier.REGULAR], np.uint8))
    admitted = Gate(world.catalogue, DEFAULT).admit(history([event(0), event(-1)]), regular, now=NOW)
    assert not admitted.mask.any()
    assert admitted.counts[reason] == 2


class OfMessages(Picky):
    def value(self, facts: Any) -> Values:
        return facts.of_shopper(facts.messages(("home",), 7.0)[0])


def test_a_rule_that_is_asked_sees_what_the_ledger_holds() -> None:
    """Also where the block's shoppers are of two tiers, and it is asked about some of them."""
    things = catalogue([item("a"), item("why", category="tea")])
    block = Candidates.of(["ann", "bob"], [0, 1, 2], item_row=[0, 0], score=[1, 1], source=[1, 1])
    people = customers([customer("ann"), customer("bob", consent=[])], ["ann", "bob"])
    past = history([event(1, ago=(30 + n) * DAY) for n in range(9)], [])
    world = World(things, block, people, past, exposures([shown(1)], []))
    rules = with_rule(OfMessages(enforce="enforce", sources=("crowd",)))
    assert set(world.meet(rules).tier.tolist()) == {Tier.REGULAR, Tier.GUEST}
    assert [world.screen(rules).reasons(row) for row in range(2)] == [["too_close"], []]


def test_families_may_be_named_one_by_one() -> None:
    """The others are not withheld by this rule."""
    for family, category, other in (("health", "medicine", "nappies"), ("baby", "nappies", "medicine")):
        rules = only("sensitive_category", sensitive_category__families=[family])
        assert reasons(one_row({"category": category}), rules) == ["sensitive_category"]
        assert reasons(one_row({"category": other}), rules) == []


class Kinder(TooClose):
    """Measures in its own way."""

    def value(self, facts: Any) -> Values:
        return np.zeros(facts.size)


def test_a_rule_that_measures_in_its_own_way_is_asked() -> None:
    """The compiled pass judges stock rules alone."""
    rules = policy()
    rules.rules["too_close"] = Kinder(**rules.rules["too_close"].model_dump())
    assert reasons(one_row(row={"closeness": 99}), policy()) == ["too_close"]
    assert reasons(one_row(row={"closeness": 99}), rules) == []


def test_a_gate_asked_of_many_places_answers_of_each() -> None:
    """More sets of rules about items than it keeps."""
    tree = DEFAULT.to_dict()
    for number in range(40):
        tree["overrides"].setdefault("surface", {})[f"shelf{number}"] = {"low_support": {"k": number}}
    rules, world = Policy.from_dict(tree), one_row(support=20)
    gate = Gate(world.catalogue, rules)
    shoppers = gate.meet(world.customers, world.history, world.exposures, now=NOW)
    for number in (*range(40), *range(40)):
        asked = replace(world.context, surface=f"shelf{number}")
        verdict = gate.screen(
            world.candidates, shoppers=shoppers, history=world.history, exposures=world.exposures, context=asked
        )
        assert verdict.reasons(0) == (["low_support"] if number > 20 else [])


def test_a_broken_quota_hides_no_other() -> None:
    """What comes after it is spent."""
    rules = only("crowded", crowded__most=1)
    rules.rules = {"torn": Torn(enforce="shadow", sources=("crowd",)), **rules.rules}
    verdict = three_rows().screen(rules)
    assert verdict.kept.tolist() == [True, False, False]


def test_a_rule_in_shadow_counts_rows_that_are_shown() -> None:
    """Whichever rule it is."""
    for rule, terms in (("sensitive_category", {"category": "medicine"}), ("false_discount", {"was_price": 2.0})):
        verdict = one_row(terms).screen(policy(**{f"{rule}__enforce": "shadow"}))
        assert (verdict.kept.tolist(), verdict.shadow_counts()) == ([True], {rule: 1})


def test_complaints_move_no_limit_that_is_of_nobodys_patience() -> None:
    """Evidence grows stale, goods are used up and views are followed as before."""
    said = [shown(-1, kind=kind, ago=0) for kind in ("too_pushy", "too_often", "too_personal")] * 3
    assert reasons(one_row(entries=said), only("stale", stale__days=20)) == []
    assert reasons(one_row(events=[event(0, kind="view", ago=13 * DAY)], entries=said), only("following")) == [
        "following"
    ]
    assert reasons(one_row(events=[event(0, ago=5 * DAY)], entries=said), only("replenish_early")) == [
        "replenish_early"
    ]


def test_an_answer_of_another_shape_is_no_answer() -> None:
    """It is asked again row by row; a quota without terms breaks on every row."""
    verdict = three_rows().screen(with_rule(Shapeless(enforce="enforce", sources=("crowd",))))
    assert verdict.counts() == {"too_close": 3}
    assert three_rows().screen(with_rule(Torn(enforce="enforce", sources=("crowd",)))).counts() == {"rule_error": 3}


@pytest.mark.parametrize("name", ["value", "limit", "measure", "__call__"])
@pytest.mark.parametrize("reason", ["upsell", "item_cap", "low_support", "no_consent"])
def test_any_rule_that_breaks_withholds(reason: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever part of a shipped rule fails, the rows it should have judged do not pass."""
    if not hasattr(RULES[reason], name):
        return

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(RULES[reason], name, broken)
    assert reasons(one_row()) == ["rule_error"]


# --- arrays and tables


def test_a_shop_without_items_shows_nothing() -> None:
    """Every row is unknown, and nothing breaks."""
    world = replace(one_row(events=[event(0)], entries=[shown(0)]), catalogue=catalogue([]))
    verdict = world.screen(DEFAULT)
    assert "unknown" in verdict.reasons(0)
    assert "rule_error" not in verdict.reasons(0)
    admitted = Gate(world.catalogue, DEFAULT).admit(world.history, world.meet(DEFAULT), now=NOW)
    assert not admitted.mask.any()
    assert Gate(world.catalogue, DEFAULT).item_mask("explore").tolist() == []
    assert verdict.to_frame()["item_id"].to_list() == [None]


def test_a_shop_without_sensitive_families_has_no_proxies() -> None:
    """Nothing is sensitive there, so nothing can give it away."""
    from boundary.taxonomy import Taxonomy

    things = catalogue([item("it"), item("why", category="tea")], taxonomy=Taxonomy(entries=()))
    assert reasons(replace(one_row(), catalogue=things)) == []


def test_nobody_gets_nothing() -> None:
    """A block without users, and users without rows."""
    nobody = World(
        one_row().catalogue, Candidates.of([], [0], item_row=[], score=[]), customers([], []), history(), exposures()
    )
    assert nobody.screen(DEFAULT).kept.tolist() == []
    rowless = replace(one_row(), candidates=Candidates.of(["ann"], [0, 0], item_row=[], score=[]))
    assert rowless.screen(DEFAULT).kept.tolist() == []
    assert len(rowless.screen(DEFAULT).to_frame()) == 0


def test_a_shopper_twice_in_a_block_is_decided_twice_alike() -> None:
    """Also where history and customers are looked up by id."""
    events = pl.DataFrame(
        {"user_id": ["ann", "bob"], "item_id": ["it", "why"], "kind": ["view", "view"], "at": [MOMENT, MOMENT],
         "quantity": [None, None], "unit_price": [None, None]},
        schema_overrides={"quantity": pl.Float64, "unit_price": pl.Float64},
    )  # fmt: skip
    past = History.from_frame(events, ["ann", "bob", "ann"], {"it": 0, "why": 1})
    assert past.offsets.tolist() == [0, 1, 2, 3]
    assert past.item_row.tolist() == [0, 1, 0]
    people = customers([customer("ann", opted_out=True), customer("bob")], ["ann", "bob", "ann", "cy"])
    assert people.opted_out.tolist() == [True, False, True, False]
    assert people.known.tolist() == [True, True, True, False]
    assert people.take(np.array([1, -1, 0])).known.tolist() == [True, False, True]


def test_rows_that_are_no_rows_are_withheld() -> None:
    """A number that does not fit is never cut down to one that does."""
    block = Candidates.of(
        ["ann"], [0, 5], item_row=[2**32, 0.5, np.nan, -7, 0], score=[1e300, 1, 1, 1, 1], source=[256, -1, 0.5, 1, 1]
    )
    assert block.item_row.tolist() == [-1, -1, -1, -7, 0]
    assert block.source.tolist() == [255, 255, 255, 1, 1]
    assert np.isinf(block.score[0])
    verdict = replace(one_row(), candidates=block).screen(DEFAULT)
    assert verdict.kept.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("offsets", "line"),
    [
        ([0, 1], r"offsets must have 3 entries \(users \+ 1\) but have 2"),
        ([0, 1, 2, 2], r"offsets must have 3 entries \(users \+ 1\) but have 4"),
        ([-1, 1, 2], "offsets must rise from 0 to the number of rows, 2"),
        ([0, 1, 1], "offsets must rise from 0 to the number of rows, 2"),
        ([1, 1, 2], "offsets must rise from 0 to the number of rows, 2"),
        ([0, 3, 2], "offsets must rise from 0 to the number of rows, 2"),
        ([0, 1, 3], "offsets must rise from 0 to the number of rows, 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(offsets: list[int], line: str) -> None:
    """Candidates, history and exposures refuse offsets and columns that do not belong together."""
    with pytest.raises(CandidateError, match=line):
        Candidates.of(["a", "b"], offsets, item_row=[0, 1], score=[1, 1])
    if len(offsets) == 3:
        with pytest.raises(CandidateError, match=line):
            replace(history([event(0)], [event(1)]), offsets=np.array(offsets))


def test_columns_of_another_length_are_refused() -> None:
    """The line names the column; a block's parts must be of the same users."""
    with pytest.raises(CandidateError, match="score must have 2 rows but has 1"):
        Candidates.of(["a"], [0, 2], item_row=[0, 1], score=[1])
    with pytest.raises(CandidateError, match="kind must have 1 rows but has 2"):
        replace(history([event(0)]), kind=np.zeros(2, np.uint8))
    with pytest.raises(CandidateError, match="surface must be a place in the 1 surfaces"):
        replace(exposures([shown(0)]), surface=np.array([1]))
    for place in (-1, 5):
        with pytest.raises(CandidateError, match="surface must be a place in the 1 surfaces"):
            replace(exposures([shown(0)]), surface=np.array([place]))
    world = one_row()
    with pytest.raises(CandidateError, match="history must be of the block's 1 users but is of 2"):
        replace(world, history=history([], [])).screen(DEFAULT)
    shoppers = world.meet(DEFAULT)
    with pytest.raises(CandidateError, match="exposures must be of the block's 1 users but is of 0"):
        Gate(world.catalogue, DEFAULT).screen(
            world.candidates, shoppers=shoppers, history=world.history, exposures=exposures(), context=world.context
        )


def test_arrays_of_other_types_and_layouts_are_converted() -> None:
    """Lists, wider numbers, strides and read-only memory: the same decision."""
    world = random_world(5)
    rows = world.candidates
    wide = Candidates(
        list(rows.user_ids), rows.offsets.astype(np.int32), rows.item_row.astype(np.float64), rows.score.astype(np.float64),
        rows.source.astype(np.int64), np.repeat(rows.closeness, 2)[::2], rows.trace_share.tolist(), rows.evidence_row, rows.propensity,
    )  # fmt: skip
    wide.item_row.setflags(write=False)
    past = replace(world.history, at=world.history.at.astype(np.float64), kind=world.history.kind.tolist())
    one, other = world.screen(DEFAULT), replace(world, candidates=wide, history=past).screen(DEFAULT)
    np.testing.assert_array_equal(one.enforced, other.enforced)


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        ({"surface": ["home"]}, "`surface` must be a word but got"),
        ({"surface": None}, "`surface` must be a word but got None"),
        ({"intent": "buy"}, "`intent` must be one of find, discover, deal, research, browse but got 'buy'"),
        ({"n": 2.5}, "`n` must be a whole number but got 2.5"),
        ({"n": True}, "`n` must be a whole number but got True"),
        ({"now": "today"}, "`now` must be a whole number but got 'today'"),
        ({"now": -(2**63) - 1}, "`now` must be microseconds that fit 64 bits but got -9223372036854775809"),
        ({"now": 2**63}, "`now` must be microseconds that fit 64 bits but got 9223372036854775808"),
    ],
)
def test_a_question_that_is_none_is_refused(terms: dict[str, Any], line: str) -> None:
    """What is asked is checked where it comes in."""
    with pytest.raises(ContextError, match=line):
        Context(**({"surface": "home", "intent": "browse", "n": 3, "now": NOW} | terms))


@pytest.mark.parametrize("now", [-(2**63), -1, 0, 2**63 - 1])
def test_any_moment_that_fits_may_be_asked_of(now: int) -> None:
    assert Context("home", "browse", 3, now).now == now


def test_ids_may_be_any_text() -> None:
    """Unicode, spaces, line ends and lone surrogates are ids like any other."""
    names = ["žluťoučký kůň", "日本語", "a b\nc", "\x00", "🍞", ""]
    things = catalogue([item(name or "x") for name in names])
    ids = [*names[:5], "u\udcff"]
    block = Candidates.of(ids, np.arange(7), item_row=np.arange(6), score=np.ones(6), source=np.ones(6))
    world = World(things, block, customers([], []).take(np.full(6, -1)), History.empty(6), Exposures.empty(6))
    verdict = world.screen(DEFAULT)
    assert verdict.kept.all()
    assert len(verdict.decision_id) == 24


def test_zero_prices_break_nothing() -> None:
    """A free item is no upsell, and what is free of a discount is none."""
    assert reasons(one_row({"price": 0.0}, events=[event(0, ago=60 * DAY, price=0.0)])) == []
    assert reasons(one_row({"price": 0.0, "was_price": 0.0, "low_30d": 0.0})) == ["false_discount"]
    assert reasons(one_row({"price": 0.0, "was_price": 1.0, "low_30d": 1.0})) == []


def test_numbers_too_large_are_infinite() -> None:
    """A price beyond single precision is over every limit, and warns nobody."""
    assert reasons(one_row({"price": 1e308})) == ["upsell"]


def test_the_end_of_time_does_not_run_over() -> None:
    """What happened before all calendars is long ago, not just now."""
    assert reasons(one_row(events=[(0, 0, kernel.NEVER + 1, 1.0, 1.0)])) == []
    assert kernel.days_since(kernel.NEVER + 1, 2**63 - 1) > 1e8


def test_an_opt_out_stands_in_whichever_row_it_is() -> None:
    """Two rows of one shopper: the last counts, but a signal is not taken back by a row that does not know of it."""
    for flags in ((True, False), (False, True), (None, False)):
        lines = [customer("ann", opted_out=flag) for flag in flags]
        assert customers(lines, ["ann"]).opted_out.tolist() == [True]
    assert customers([customer("ann"), customer("bob", opted_out=True)], ["ann"]).opted_out.tolist() == [False]


def test_a_catalogue_that_was_not_read_is_refused() -> None:
    """The line names the column and the mend."""
    with pytest.raises(TableError, match=r"catalogue: column 'was_price' is missing: read the table with"):
        Catalogue.compile(pl.DataFrame([item("x")]).drop("was_price"), SENSITIVE)


@pytest.mark.parametrize("moment", ["2026-03-29T00:30", "2026-03-29T01:30", "2026-10-25T00:30", "2026-10-25T01:30"])
def test_the_hour_that_is_not_and_the_hour_that_is_twice(moment: str) -> None:
    """In Prague the clock jumps from two to three, and back: it is night all the same, and noon is noon."""
    now = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)
    local = {"shopper": {"timezone": "Europe/Prague"}, "surface": "email"}
    told = reasons(one_row(now=int(now.timestamp()) * 1_000_000, **local), only("quiet_hours"))
    assert told == ["quiet_hours"]
    noon = now.replace(hour=10)
    assert reasons(one_row(now=int(noon.timestamp()) * 1_000_000, **local), only("quiet_hours")) == []


@pytest.mark.parametrize("rows", [{"closeness": -np.inf}, {"trace_share": -5}, {"score": -1}])
def test_odd_numbers_on_the_right_side_are_on_the_right_side(rows: dict[str, Any]) -> None:
    """A negative score or share is a number like any other."""
    assert reasons(one_row(row=rows)) == []


def test_a_thousand_copies_of_a_row_are_one() -> None:
    """The first is shown, each other says why not."""
    copies = Candidates.of(["ann"], [0, 1000], item_row=[0] * 1000, score=[1.0] * 1000, source=[1] * 1000)
    verdict = replace(one_row(), candidates=copies).screen(DEFAULT)
    assert (verdict.kept_rows(0).tolist(), verdict.counts()) == ([0], {"not_a_candidate": 999})


def test_scratch_is_handed_back_clean() -> None:
    """Shops of different sizes may take turns in one thread."""
    worlds = [random_world(seed, items=items) for seed, items in ((1, 12), (2, 5), (3, 12), (4, 30))]
    first = [world.screen(DEFAULT).enforced for world in worlds]
    for world, before in zip(worlds[::-1], first[::-1], strict=True):
        np.testing.assert_array_equal(world.screen(DEFAULT).enforced, before)


def test_a_view_that_lacks_what_a_rule_reads_is_refused() -> None:
    """A rule about rows cannot judge a bare catalogue, nor one about items bare shoppers."""
    from boundary.facts import ItemFacts

    world = one_row()
    bare = Facts(
        world.context, world.catalogue, world.meet(DEFAULT), world.candidates, history=world.history, exposures=None
    ).bare
    with pytest.raises(TypeError, match="judges items"):
        DEFAULT.rules["low_support"](bare)
    with pytest.raises(TypeError, match="judges shoppers"):
        DEFAULT.rules["opted_out"](ItemFacts(world.catalogue))
    with pytest.raises(TypeError, match="judges rows"):
        DEFAULT.rules["stale"](ItemFacts(world.catalogue))


def test_catalogues_of_other_shops_are_compiled() -> None:
    """Only what the table demands; what is not told is taken in the careful sense."""
    from boundary.tables import read_table

    frame = pl.DataFrame(
        {"item_id": [1, 2], "title": ["a", "b"], "category": ["Bread", None], "brand": [None, None], "price": [1, None],
         "kind": ["product", "gesture"], "created_at": ["2026-01-01", "2026-01-01"]}
    )  # fmt: skip
    things = Catalogue.compile(read_table(frame, "catalogue").rows, SENSITIVE)
    assert things.item_ids == ("1", "2")
    assert things.promoted.tolist() == [True, False]
    assert things.tracker.tolist() == [True, True]
    assert np.isnan(things.support).all()
    assert things.brand_names == ()
