"""What a stranger hands in wrongly written: it is withheld, or refused in one clear line, and never passes for less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from shop import (
    DAY,
    DEFAULT,
    MOMENT,
    NOW,
    SENSITIVE,
    World,
    catalogue,
    customer,
    event,
    exposures,
    history,
    item,
    only,
    shown,
)

from boundary import Candidates, Customers, Exposures, Gate, History, Policy, PolicyError
from boundary.candidates import CandidateError
from boundary.facts import ContextError
from boundary.policy import stricter
from boundary.rules import RULES
from boundary.shoppers import Shoppers
from boundary.words import Tier


def met(**terms: Any) -> tuple[World, Shoppers]:
    """Return a regular's world of one personal row with nothing wrong about it, some parts replaced."""
    plain: dict[str, Any] = {
        "catalogue": catalogue([item("it"), item("other")]),
        "candidates": Candidates.of(
            ["ann"], [0, 1], item_row=[0], score=[1], closeness=[1], trace_share=[0.3], evidence_row=[1]
        ),
        "customers": people(),
        "history": history(KNOWN),
        "exposures": Exposures.empty(1),
    }
    world = World(**(plain | terms))
    return world, world.meet(DEFAULT)


def people(**terms: Any) -> Customers:
    frame = pl.DataFrame([customer("ann", **terms)], schema_overrides={"channels": pl.List(pl.String)})
    return Customers.compile(frame, ["ann"], SENSITIVE.families)


KNOWN = [event(1, ago=(20 + 7 * week) * DAY) for week in range(8)]


def why(policy: Policy = DEFAULT, surface: str = "home", **terms: Any) -> list[str]:
    world, _ = met(**terms)
    return world.screen(policy, surface=surface).reasons(0)


def test_the_plain_row_is_shown() -> None:
    """Or nothing below would say anything."""
    assert why() == []


# --- what lies ahead


def test_a_purchase_ahead_lets_no_row_pass() -> None:
    """It is no evidence, pays no price, and excuses no pursuit; nor does a view ahead end a fatigue."""
    ahead = event(0, ago=-DAY)
    looked = event(0, kind="view", ago=3 * DAY)
    assert "following" in why(history=history([*KNOWN, looked, ahead]))
    assert "stale" in why(
        history=history([event(0, ago=(20 + 7 * week) * DAY) for week in range(8)] + [event(1, ago=-DAY)])
    )
    dear = catalogue([item("it", price=50.0), item("other")])
    assert why(catalogue=dear, history=history([*KNOWN, event(1, ago=-DAY, price=4000.0)])) == ["upsell"]
    tired = exposures([shown(0, ago=(9 + day) * DAY, slate=day) for day in range(10)])
    assert why(exposures=tired, history=history([*KNOWN, event(0, kind="view", ago=-DAY)])) == ["fatigued", "following"]


def test_an_event_before_all_time_has_no_time() -> None:
    """The first moment that fits stands for none: such an event is never evidence."""
    world, shoppers = met()
    lost = History([0, 1], [1], [2], [-(2**63)], [1.0], [1.0])
    assert Gate(world.catalogue, DEFAULT).admit(lost, shoppers, now=NOW).mask.tolist() == [False]


def test_a_badge_without_an_end_hurries_before_1970_too() -> None:
    world, _ = met(catalogue=catalogue([item("it", badge="Hurry!"), item("other")]))
    assert "urgency" in world.screen(DEFAULT, now=-5).reasons(0)


# --- what is written otherwise


@pytest.mark.parametrize("surface", ["Email", "EMAIL", " email", "e-mail", "E-Mail\n"])
def test_a_message_is_one_however_its_surface_is_written(surface: str) -> None:
    """Consent, caps and quiet hours hold of it, and it counts among the messages."""
    silent = people(consent=["personalise"])
    assert why(surface=surface, customers=silent) == why(surface="email", customers=silent) == ["no_consent"]
    sent = exposures([shown(1, ago=DAY // 24, surface=surface)])
    assert why(surface="push", exposures=sent) == ["channel_gap"]
    changed = DEFAULT.replace({f"overrides.surface.{surface}.too_close.most": 0})
    assert why(changed, surface="email") == ["too_close"]
    narrowed = DEFAULT.replace({"rules.too_close.most": 0, "rules.too_close.surfaces": [surface]})
    assert why(narrowed, surface="email") == ["too_close"]
    assert why(narrowed, surface="home") == []


@pytest.mark.parametrize("word", ["news\x1fpersonalise", "news\x1epersonalise", "\x1e", "personalise\x1e"])
def test_no_sign_in_a_consent_parts_it_in_two(word: str) -> None:
    """A purpose is granted where it stands alone."""
    assert not people(consent=[word]).agreed_to("personalise").any()
    assert people(consent=[word]).agreed_to(word).all()


def test_whole_numbers_are_ids_and_other_things_are_none() -> None:
    """An id is text, as the tables write it."""
    block = Candidates.of([7, np.int64(8)], [0, 1, 1], item_row=[0], score=[1])  # type: ignore[list-item]
    assert list(block.user_ids) == ["7", "8"]
    for wrong in ("ann", None, [None], [1.5], [True]):
        with pytest.raises(CandidateError, match="user_ids must be"):
            Candidates.of(wrong, [0, 1], item_row=[0], score=[1])  # type: ignore[arg-type]


def test_who_is_no_text_a_table_can_hold_is_a_stranger_everywhere() -> None:
    """A lone surrogate is in no table, and is written as its code."""
    ids = ["a\ud800", "ann"]
    block = Candidates.of(ids, [0, 1, 2], item_row=[0, 0], score=[1, 1], source=[1, 1])
    shopping = pl.DataFrame(
        {
            "user_id": ["ann"],
            "item_id": ["it"],
            "kind": ["view"],
            "at": [MOMENT],
            "unit_price": [1.0],
            "quantity": [1.0],
        }
    )
    past = History.from_frame(shopping, ids, {"it": 0})
    assert past.offsets.tolist() == [0, 0, 1]
    customers = Customers.compile(pl.DataFrame([customer("ann")]), ids, ())
    assert customers.known.tolist() == [False, True]
    world, _ = met(candidates=block, history=past, customers=customers, exposures=Exposures.empty(2))
    assert world.screen(DEFAULT).to_frame()["user_id"].to_list() == ["a\\ud800", "ann"]


def test_ids_with_signs_between_them_are_no_other_ids() -> None:
    """Two blocks that differ only in where an id ends are two decisions."""
    verdicts = [
        met(candidates=Candidates.of(ids, [0, 0, 0], item_row=[], score=[]), history=History.empty(2),
            customers=Customers.strangers(2), exposures=Exposures.empty(2))[0].screen(DEFAULT)
        for ids in (["a\0b", "c"], ["a", "b\0c"])
    ]  # fmt: skip
    assert verdicts[0].decision_id != verdicts[1].decision_id


@pytest.mark.parametrize("unit", ["us", "ms", "s", "ns"])
def test_moments_are_microseconds_in_whatever_unit_they_come(unit: str) -> None:
    at = np.array([NOW - day * DAY for day in (1, 2, 3)], "M8[us]").astype(f"M8[{unit}]")
    past = Exposures([0, 3], [0] * 3, [0] * 3, [0] * 3, at, [0, 1, 2], ("home",))
    assert why(exposures=past) == ["item_cap"]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Candidates.of(["ann"], [0, 1], item_row=[0], score=["high"]), "score must be an array of numbers"),
    (lambda: Candidates.of(["ann"], [0, 1], item_row=[0], score=[1j]), "score must be an array of numbers"),
    (lambda: Candidates.of(["ann"], [0, 1], item_row=[0], score=[10**400]), "score must be an array of numbers"),
    (lambda: Candidates.of(["ann"], [0, 1], item_row=["it"], score=[1]), "item_row must be an array of numbers"),
    (lambda: History([], [], [], [], [], []), "offsets must have one entry"),
    (lambda: Exposures([0, 1], [0], [9], [0], [NOW], [0], ("home",)), "kind must be a place in .* but got 9"),
    (lambda: Exposures([0, 1], [0], [0], [0], [np.nan], [0], ("home",)), "at must be the microseconds"),
    (lambda: Exposures([0, 1], [0], [0], [0], np.array(["NaT"], "M8[us]"), [0], ("home",)), "at must be the micro"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED)
def test_what_is_no_number_is_refused_by_name(make: Callable[[], object], told: str) -> None:
    """One line: which array, what it must be, what it is."""
    with pytest.raises(CandidateError, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_what_a_mask_hides_is_no_score() -> None:
    block = Candidates.of(["ann"], [0, 1], item_row=[0], score=np.ma.array([1.0], mask=[True]))
    assert np.isnan(block.score).all()


@pytest.mark.parametrize("now", [MOMENT, None, "noon", 2.5, True, 2**63])
def test_both_doors_refuse_a_moment_that_is_none(now: Any) -> None:
    world, shoppers = met()
    gate = Gate(world.catalogue, DEFAULT)
    with pytest.raises(ContextError, match="`now` must be"):
        gate.meet(world.customers, world.history, world.exposures, now=now)
    with pytest.raises(ContextError, match="`now` must be"):
        gate.admit(world.history, shoppers, now=now)


# --- policies


@pytest.mark.parametrize(
    ("setting", "one", "other", "both"),
    [
        ("sources", ("crowd",), ("personal",), {"crowd", "personal"}),
        ("surfaces", ("email",), ("push",), {"email", "push"}),
        ("surfaces", None, ("push",), None),
        ("channels", ("email",), (), {"email"}),
        ("families", "all", ("baby",), "all"),
        ("families", ("baby",), ("health",), {"baby", "health"}),
    ],
)
def test_where_two_lists_meet_all_of_both_hold(setting: str, one: Any, other: Any, both: Any) -> None:
    """More sources, surfaces, channels or families is stricter, whichever override comes last."""
    kind = RULES["sensitive_category" if setting == "families" else "channel_gap"]
    for pair in ((one, other), (other, one)):
        found = stricter(kind, setting, *pair)
        assert (set(found) if isinstance(found, tuple) else found) == both


def test_two_overrides_of_sources_judge_the_rows_of_both() -> None:
    """A place that names fewer sources takes none from another place that names more."""
    tree = only("too_close", too_close__most=0).to_dict()
    tree["overrides"] = {
        "surface": {"home": {"too_close": {"sources": ["crowd", "personal"]}}},
        "tier": {"regular": {"too_close": {"sources": ["crowd"]}}},
    }
    rules = Policy.from_dict(tree).rules_for(surface="home", intent="browse", tier=Tier.REGULAR)
    assert rules["too_close"].sources == ("personal", "crowd")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = 1" + "0" * 5000, "is not TOML"),
        ("x = " + "[" * 50_000, "is not TOML"),
    ],
)
def test_text_that_breaks_its_reader_is_no_toml(text: str, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        Policy.parse(text)


@pytest.mark.parametrize(
    "tree",
    [
        [],
        None,
        {1: 2},
        DEFAULT.to_dict() | {"rules": {1: {}}},
        DEFAULT.to_dict() | {"overrides": {"surface": {None: {}}}},
    ],
)
def test_what_is_no_table_of_words_is_no_policy(tree: Any) -> None:
    """As a file in another language than TOML could bring it."""
    with pytest.raises(PolicyError, match=r"must be a table|in text but got"):
        Policy.from_dict(tree)


def test_a_file_may_begin_with_the_sign_that_editors_put_there(tmp_path: Any) -> None:
    """A byte order mark is no mistake; a path that cannot be one is."""
    file = tmp_path / "mine.toml"
    file.write_text("\ufeff" + DEFAULT.to_toml(), encoding="utf-8")
    assert Policy.load(file).digest == DEFAULT.digest
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load("mine\0.toml")


def test_ten_thousand_mistakes_are_told_in_short_lines() -> None:
    """Each names its path; none lists ten thousand words or is held against them."""
    tree = DEFAULT.to_dict()
    cap = tree["rules"]["item_cap"]
    tree["rules"] |= {f"cap_{at}": cap | {"reason": "item_cap"} for at in range(2000)}
    tree["overrides"] = {"surface": {"home": {f"kap_{at}": {"times": 1} for at in range(10_000)}}}
    with pytest.raises(PolicyError) as refused:
        Policy.from_dict(tree)
    assert len(refused.value.mistakes) == 10_000
    assert max(map(len, refused.value.mistakes)) < 2000
