"""Which policies does no other beat, and which is recommended?"""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import frontier
from experiments.space import Rule

WAYS = ("maximize", "minimize", "maximize")
lines = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=20)


def beats(one, other):
    gain = [(a - b) * (1 if way == "maximize" else -1) for a, b, way in zip(one, other, WAYS, strict=True)]
    return min(gain) >= 0 and max(gain) > 0


@settings(deadline=None, max_examples=80, derandomize=True)
@given(lines)
def test_a_line_is_on_the_frontier_exactly_where_none_beats_it(rows):
    """Compared pair by pair."""
    kept = frontier.non_dominated(np.array(rows, float), WAYS)
    assert kept.tolist() == [not any(beats(other, one) for other in rows) for one in rows]


def test_the_rule_takes_the_least_among_those_that_reach_the_floors():
    """The first of equals; a policy below a floor is never taken."""
    trials = pl.DataFrame({"trial": [0, 1, 2, 3], "kept": [0.99, 0.96, 0.94, 0.95], "leak": [0.4, 0.2, 0.0, 0.2]})
    assert frontier.recommended(trials, Rule("leak", {"kept": 0.95})) == 1


@pytest.mark.parametrize(
    ("kept", "leak"), [(np.nan, 0.0), (np.inf, 0.0), (None, 0.0), (0.99, np.nan), (0.99, None), (0.99, -np.inf)]
)
def test_what_was_not_measured_is_never_recommended(kept, leak):
    """Neither as a floor nor as the least; alone it leaves none."""
    rule = Rule("leak", {"kept": 0.95})
    trials = pl.DataFrame({"trial": [0, 1], "kept": [kept, 0.96], "leak": [leak, 0.4]}, strict=False)
    assert frontier.recommended(trials, rule) == 1
    assert frontier.recommended(trials.head(1), rule) is None


def test_where_none_qualifies_it_is_said():
    """With the best that was reached."""
    trials = pl.DataFrame({"trial": [0], "kept": [0.5], "leak": [0.1]})
    rule = Rule("leak", {"kept": 0.95})
    assert frontier.recommended(trials, rule) is None
    assert frontier.told(rule, trials, None).startswith("None of 1 policies qualifies")
    assert "kept 0.5" in frontier.told(rule, trials, None)


def test_a_page_is_self_contained():
    """It fetches nothing, and what is written into it is escaped."""
    page = frontier.page("t", [frontier.table(pl.DataFrame({"trial": [1], "word": ["<b>"]}), mark=1)])
    assert "<b>" not in page.split("<main>")[1]
    assert 'src="http' not in page
    assert 'class="chosen"' in page
