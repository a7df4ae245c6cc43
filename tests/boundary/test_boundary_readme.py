"""What the boundary's README says is so: its example runs, its table is the policy's, its cases come out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from shop import DEFAULT

import boundary
from boundary.cases import run_cases
from boundary.rules import FAMILY_OF

TEXT = (Path(boundary.__file__).parent / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.*?) ?\|$", TEXT, flags=re.MULTILINE)


def test_the_example_runs_and_withholds() -> None:
    """Nappies are sensitive, a lamp lasts, tea is fine."""
    block = next(code for code in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL) if "Gate(" in code)
    room: dict[str, Any] = {}
    exec(block, room)
    told = room["verdict"].to_frame()
    assert told["reasons"].to_list() == [["sensitive_category"], ["owned"], []]
    assert told["kept"].to_list() == [False, False, True]


def test_the_table_has_every_reason_with_its_family() -> None:
    """No code is missing and none is made up."""
    assert {reason: family for reason, family, _, _ in LINES} == {reason: str(f) for reason, f in FAMILY_OF.items()}


@pytest.mark.parametrize(("reason", "told"), [(line[0], line[3]) for line in LINES], ids=[line[0] for line in LINES])
def test_the_defaults_are_the_policys(reason: str, told: str) -> None:
    """Each ``setting number`` of the table is the default policy's."""
    found = re.findall(r"([a-z_]+) ([\d.]+)(?=[,; ]|$)", told.split(";", maxsplit=1)[0])
    rules = [rule for rule in DEFAULT.rules.values() if rule.reason == reason]
    for name, value in found:
        assert all(getattr(rule, name) == float(value) for rule in rules), (name, value)
    assert bool(told) or not any(
        isinstance(value, int | float) and not isinstance(value, bool)
        for rule in rules
        for value in rule.model_dump().values()
    )


def test_the_cases_come_out(tmp_path: Path) -> None:
    """They are cases of the default policy."""
    block = next(code for code in re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL) if "[[case]]" in code)
    (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
    outcomes = run_cases(DEFAULT, tmp_path)
    assert [str(one) for one in outcomes if not one.passed] == []
    assert len(outcomes) == 2
