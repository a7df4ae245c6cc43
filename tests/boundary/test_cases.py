"""The folder of sample cases, and what is told of cases that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shop import DEFAULT, only, policy

from boundary import Policy
from boundary.cases import SHIPPED, Case, CaseError, Outcome, decide, read_cases, run_cases
from boundary.rules import REASONS

CASES = read_cases(SHIPPED)


@pytest.mark.parametrize(("file", "case"), CASES, ids=[f"{file}: {case.says}" for file, case in CASES])
def test_the_default_policy_decides_each_case_as_it_says(file: str, case: Case) -> None:
    """Every case of the folder comes out as its author expects."""
    outcome = Outcome(file, case, decide(DEFAULT, case))
    assert outcome.passed, str(outcome)


def test_every_reason_is_the_expectation_of_some_case() -> None:
    """No reason code goes without a sample, and no file without a case that is allowed."""
    told = {reason for _, case in CASES for reason in case.withheld}
    assert told | {"rule_error"} == set(REASONS)
    files = {file for file, _ in CASES}
    assert {file for file, case in CASES if case.allowed} == files - {"promoted_lead.toml"}


PLAIN = [  # one rule alone, its limits, what a case names besides, and whether the plain row stays within
    ("upsell", {"most": 1.0}, {"history": [{"kind": "purchase", "price": 2.0, "days": 60}]}, True),
    ("upsell", {"most": 1.0}, {"history": [{"kind": "purchase", "price": 1.99, "days": 60}]}, False),
    ("upsell", {"most": 1.0}, {}, True),
    ("upsell", {"most": 1.0}, {"item": {"price": 2.01}}, False),
    ("low_support", {"k": 1000}, {}, True),
    ("low_support", {"k": 1001}, {}, False),
    ("sensitive_proxy", {"lift": 1, "z": 0}, {}, False),
    ("sensitive_proxy", {"lift": 1.01, "z": 0}, {}, True),
    ("sensitive_proxy", {"lift": 1, "z": 0.01}, {}, True),
    ("too_close", {"most": 1}, {}, True),
    ("too_close", {"most": 0.99}, {}, False),
    ("single_trace", {"most": 0.3}, {}, True),
    ("single_trace", {"most": 0.29}, {}, False),
    ("stale", {"days": 20}, {}, True),
    ("stale", {"days": 19.99}, {}, False),
    ("disproportionate", {"days": 400, "ticket": 3}, {}, True),
    ("disproportionate", {"days": 400.1, "ticket": 3}, {}, False),
    ("disproportionate", {"days": 401, "ticket": 2}, {}, True),
    ("disproportionate", {"days": 401, "ticket": 2.01}, {}, False),
    ("replenish_early", {"share": 0.75}, {"history": [{"kind": "purchase", "days": 5.25}]}, True),
    ("replenish_early", {"share": 0.76}, {"history": [{"kind": "purchase", "days": 5.25}]}, False),
    ("quiet_hours", {"start": 12, "end": 13, "sources": ["personal"]}, {}, False),
    ("quiet_hours", {"start": 11, "end": 12, "sources": ["personal"]}, {}, True),
    ("quiet_hours", {"start": 11, "end": 13, "sources": ["personal"]}, {}, False),
    ("quiet_hours", {"start": 9, "end": 11, "sources": ["personal"]}, {}, True),
    ("quiet_hours", {"start": 13, "end": 15, "sources": ["personal"]}, {}, True),
    ("quiet_hours", {"start": 11, "end": 9, "sources": ["personal"]}, {}, False),
    ("quiet_hours", {"start": 15, "end": 13, "sources": ["personal"]}, {}, False),
    ("quiet_hours", {"start": 13, "end": 11, "sources": ["personal"]}, {}, True),
    ("quiet_hours", {"start": 12, "end": 12, "sources": ["personal"]}, {}, True),
    ("crowded_brand", {"most": 0}, {}, True),
    ("crowded", {"most": 0}, {}, False),
    ("promoted_lead", {}, {}, True),
    ("category_cap", {"times": 1}, {"shown": [{"what": "other"}]}, False),
    ("item_cap", {"times": 1}, {"shown": [{"what": "other"}]}, True),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "limits", "terms", "within"), PLAIN)
def test_a_plain_case_is_what_the_head_of_the_file_says(rule: str, limits: Any, terms: Any, *, within: bool) -> None:
    """An author need name nothing of it: each number at its limit, and just over."""
    rules = only(rule, **{f"{rule}__{name}": value for name, value in limits.items()}).replace(
        {f"rules.{rule}.surfaces": None}
    )
    case = Case(says="plain", allowed=True, **terms)
    assert Outcome("", case, decide(rules, case)).passed == within


def test_a_plain_shopper_bought_the_other_item_twelve_times() -> None:
    """On days of their own, two euros each: so many baskets a tier may ask for."""
    case = Case(says="plain", allowed=True)
    for purchases, allowed in ((12, True), (13, False)):
        rules = only("profile_share", profile_share__most=1).replace({"tiers.regular.purchases": purchases})
        tree = rules.to_dict() | {"overrides": {"tier": {"newcomer": {"profile_share": {"most": 0}}}}}
        assert (decide(Policy.from_dict(tree), case) == ()) == allowed


def test_events_of_a_case_may_stand_in_any_order() -> None:
    """What came first is told by the days."""
    events = [
        {"kind": "purchase", "days": 300, "what": "other", "times": 2},
        {"kind": "view", "days": 3},
        {"kind": "purchase", "days": 300.5, "what": "other"},
        {"kind": "dismiss", "days": 40},
    ]
    terms = {"says": "mixed", "allowed": True, "shopper": {"days": 0, "consent": ["personalise"]}}
    found = {
        decide(DEFAULT, Case(history=[events[place] for place in order], **terms))
        for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1))
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("now", "quiet"),
    [("2026-01-15T12:00:00", True), ("2026-01-15T12:00:00Z", True), ("2026-01-15T12:00:00+02:00", False)],
)
def test_a_moment_without_an_offset_is_utc(now: str, *, quiet: bool) -> None:
    """One with an offset is what it says."""
    rules = only("quiet_hours", quiet_hours__start=12, quiet_hours__end=13, quiet_hours__sources=["personal"])
    case = Case(says="when", allowed=True, context={"now": now})
    assert decide(rules.replace({"rules.quiet_hours.surfaces": None}), case) == (("quiet_hours",) if quiet else ())


def test_a_row_may_rest_on_nothing() -> None:
    """Then nobody can say why it is there; the item itself is no evidence."""
    case = Case(says="no why", allowed=True, row={"evidence": None})
    assert decide(only("unexplainable"), case) == ("unexplainable",)


def test_what_was_bought_at_one_time_is_one_basket() -> None:
    """Also where something else is told of in between: fourteen baskets, of 12.43 each."""
    bought = [{"kind": "purchase", "what": "other", "price": 50, "days": days} for days in (300, 250, 300)]
    case = Case(says="baskets", allowed=True, history=bought)
    for ticket, allowed in ((12.4, True), (12.5, False)):
        rules = only("disproportionate", disproportionate__days=401, disproportionate__ticket=ticket)
        assert (decide(rules, case) == ()) == allowed


def test_rows_of_a_slate_are_items_by_their_places() -> None:
    """What was done with the second row is told of ``row 2``."""
    terms = {"says": "second", "allowed": True, "slate": [{"source": "crowd"}, {"source": "crowd", "category": "tea"}]}
    bought = [{"kind": "view", "what": "row 2", "days": 1}]
    told = [decide(DEFAULT, Case(history=bought, place=place, **terms)) for place in (1, 2)]
    assert told == [(), ("following",)]


@pytest.mark.parametrize("name", DEFAULT.rules)
def test_no_rule_can_be_dropped_unnoticed(name: str) -> None:
    """Without any one rule of the default policy some case comes out otherwise."""
    without = DEFAULT.replace({f"rules.{name}.enforce": "off"})
    file = f"{DEFAULT.rules[name].reason}.toml"
    cases = [case for where, case in CASES if where == file and case.withheld]
    assert not all(set(case.withheld) <= set(decide(without, case)) for case in cases)


def test_a_case_that_comes_out_otherwise_is_told(tmp_path: Path) -> None:
    """The line names file and case, what was expected and what came."""
    for name in ("item_cap.toml", "owned.toml"):
        (tmp_path / name).write_text((SHIPPED / name).read_text(encoding="utf-8"), encoding="utf-8")
    outcomes = [one for one in run_cases(policy(item_cap__times=9), tmp_path) if not one.passed]
    assert {one.file for one in outcomes} == {"item_cap.toml"}
    assert str(outcomes[0]) == (
        "item_cap.toml: a fourth time within seven days: must be withheld for item_cap but is allowed"
    )
    strict = [one for one in run_cases(policy(item_cap__times=0), tmp_path) if not one.passed and one.case.allowed]
    assert str(strict[0]).endswith("must be allowed but is withheld for item_cap")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[case]]\nsays = 'x'", "mine.toml: case 1: must say either withheld"),
        ("[[case]]\nsays = 'x'\nallowed = true\nwithheld = ['owned']", "must say either withheld"),
        ("[[case]]\nallowed = true", "mine.toml: case 1: says is missing; add it"),
        ("[[case]]\nsays = 'x'\nwithheld = ['item_capp']", r'case 1: withheld must name reason codes but got "item_capp"; did you mean item_cap\?'),
        ("[[case]]\nsays = 'x'\nwithhold = ['owned']", r"case 1: withhold is no setting .* did you mean withheld\?"),
        ("[[case]]\nsays = 'x'\nallowed = true\nrow = { sorce = 'x' }", r"row\.sorce is no setting .* did you mean source\?"),
        ("[[case]]\nsays = ''\nallowed = true", 'case 1: says must be a word but got ""'),
        ("[[case]]\nsays = 'x'\nallowed = true\nplace = 2", "place must be at most 1 but got 2"),
        ("[[case]]\nsays = 'x'\nallowed = true\nshown = [{ day = 1 }]", r"case 1: shown\.0\.day"),
        ("[[case]]\nsays = 'x'\nallowed = true\nshown = [{ what = 'cup' }]", r"there is no item .cup.; there are it, other"),
        ("[[case]]\nsays = 'x'\nallowed = true\nitem = { price = -1 }", "the item is none: price.too_small"),
        ("[[case]]\nsays = 'x'\nallowed = true\nitem = { prize = 1 }", "there is no column prize"),
        ("cases = 3", r"mine.toml must hold \[\[case\]\] tables alone but has cases"),
        ("[[case]", "mine.toml cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_case_is_told_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    """Whoever wrote the case reads which one it is and what is wrong with it."""
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=line):
        run_cases(DEFAULT, tmp_path)


def test_mistakes_of_all_files_are_told(tmp_path: Path) -> None:
    """One file that cannot be read hides no other, and one case no other."""
    (tmp_path / "a.toml").write_text("[[case]")
    (tmp_path / "b.toml").write_text("cases = 3")
    (tmp_path / "c.toml").write_text("[[case]]\nsays = 'x'\n[[case]]\nallowed = true\n")
    (tmp_path / "d.toml").write_text("[[case]]\nsays = 'x'\nwithheld = ['item_capp', 'ownd']\n")
    (tmp_path / "e.toml").write_text("more = 3\n[[case]]\nsays = 'x'\nallowed = true\n")
    with pytest.raises(CaseError) as caught:
        read_cases(tmp_path)
    assert caught.value.mistakes.pop() == "e.toml must hold [[case]] tables alone but has more"
    assert [line[:16] for line in caught.value.mistakes] == [
        "a.toml cannot be", "b.toml must hold", "c.toml: case 1: ", "c.toml: case 2: ", "d.toml: case 1: ",
    ]  # fmt: skip
    assert 'withheld must name reason codes but got "item_capp"' in caught.value.mistakes[-1]


def test_a_folder_without_cases_is_told(tmp_path: Path) -> None:
    """An empty folder proves nothing."""
    with pytest.raises(CaseError, match=r"put a \.toml file"):
        list(read_cases(tmp_path))


def test_a_row_repeats_only_a_row_before_it(tmp_path: Path) -> None:
    """``same_as`` names a place that is there already."""
    for wrong in ("2", "3", "0", '"one"'):
        text = f'[[case]]\nsays = "x"\nallowed = true\nslate = [{{}}, {{ same_as = {wrong} }}]\n'
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(CaseError, match="same_as must be the place of a row before it, but row 2 got"):
            read_cases(tmp_path)
