"""The folder of sample cases, and what is told of cases that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop import DEFAULT, policy

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
        ("[[case]]\nallowed = true", "mine.toml: case 1: says: Field required"),
        ("[[case]]\nsays = 'x'\nwithheld = ['item_capp']", "case 1: withheld: 'item_capp' is no reason code"),
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
