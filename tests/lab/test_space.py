"""Are the bounds of a tuning run checked before it starts?"""

import tomllib

import pytest

from boundary.policy import Policy, PolicyError
from experiments.space import SHIPPED, Space
from experiments.visits import LabError


def tree(**changes):
    return tomllib.loads(SHIPPED.read_text(encoding="utf-8")) | changes


def test_the_shipped_bounds_fit_the_shipped_policy():
    """And can be widened to hold it, so that it is the first trial."""
    space, policy = Space.load(), Policy.named("default")
    space.check(policy)
    assert space.around(policy).of_policy(policy) is not None


def test_every_combination_that_changes_candidates_is_prepared():
    """One for each strength."""
    space = Space.load()
    assert [p["blind.strength"] for p in space.proposals()] == [0.0, 0.35, 0.5, 0.65, 0.8]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rules.item_cap.times": {}}, "must have `choices`"),
        ({"rules.item_cap.times": {"low": 3, "high": 1}}, "`low` must be at most `high`"),
        ({"rules.item_cap.times": {"low": 3, "hihg": 1}}, "must have `choices`"),
        ({"blind.strength": {"low": 0.0, "high": 1.0}}, "changes the candidates"),
    ],
)
def test_wrong_bounds_are_named(settings, words):
    """With what they must be."""
    with pytest.raises(LabError, match=words):
        Space.of(tree(settings=settings))


def test_a_part_too_many_is_named():
    """As one too few is."""
    with pytest.raises(LabError, match="mend 'extra'"):
        Space.of(tree(extra=1))


def test_an_unknown_setting_or_a_forbidden_end_is_an_error_of_the_policy():
    """Before anything is fitted."""
    policy = Policy.named("default")
    with pytest.raises(PolicyError, match=r"rules\.nothing\.most"):
        Space.of(tree(settings={"rules.nothing.most": {"low": 0, "high": 1}})).check(policy)
    with pytest.raises(PolicyError, match="profile_share"):
        Space.of(tree(settings={"rules.profile_share.most": {"low": 0.0, "high": 2.0}})).check(policy)


@pytest.mark.parametrize("value", [0.5, 4.1, 99.0])
def test_bounds_are_widened_just_enough_for_the_base(value):
    """Between two steps, below and above."""
    policy = Policy.named("default").replace({"rules.too_close.most": value, "blind.strength": 0.33})
    wide = Space.load().around(policy)
    found = wide.of_policy(policy)
    assert found is not None
    assert (found["rules.too_close.most"], found["blind.strength"]) == (value, 0.33)
    for setting in wide.settings:
        assert setting.distribution._contains(setting.distribution.to_internal_repr(found[setting.path]))


def test_a_policy_beyond_the_bounds_is_no_first_trial():
    """Nor one between two steps."""
    space, policy = Space.load(), Policy.named("default")
    assert space.of_policy(policy.replace({"rules.too_close.most": 99.0})) is None
    assert space.of_policy(policy.replace({"rules.too_close.most": 4.1})) is None
