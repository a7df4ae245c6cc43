"""Laws of the attacker: blind where there is nothing to see, right where there is, fair between the busy and not."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.attack import (
    Aucs,
    _among,
    _partners,
    _within,
    attack,
    leak_remaining,
    mean_leak,
    parts_of,
    pooled,
    slate_features,
)

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
ATTACKERS = ["ridge", "logistic", "boosting"]


class Slates(NamedTuple):
    """Slates as any recommender hands them over."""

    offsets: Array
    item_row: Array


def slates_of(rows: list[list[int]]) -> Slates:
    return Slates(
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.array([i for row in rows for i in row])
    )


def town(seed: int, *, telling: float, users: int = 400) -> tuple[sp.csr_matrix, Array, Array]:
    """Slates of three items of thirty; members are shown one of the first ten more often by ``telling``."""
    rng = np.random.default_rng(seed)
    activity = rng.gamma(2.0, 50.0, size=users)
    member = rng.random(users) < np.clip(activity / 200, 0.1, 0.9)
    first = np.where(rng.random(users) < telling * member, rng.integers(0, 10, users), rng.integers(10, 30, users))
    other = rng.integers(10, 30, (users, 2))
    rows = [sorted({int(f), *(int(i) for i in o)}) for f, o in zip(first, other, strict=True)]
    return slate_features(slates_of(rows), items=30), member, activity


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_the_same_slate_for_everybody_tells_nothing(attacker: str):
    """The crowd shelf gives exactly one half, whatever the attacker."""
    _, member, activity = town(0, telling=0.0, users=200)
    same = slate_features(slates_of([[1, 2, 3]] * 200), items=5, category=np.array([0, 1, 0, 1, 0]))
    assert attack(same, member, activity, seeds=[0, 1], attacker=attacker).mean.tolist() == [0.5]


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_slates_that_tell_are_read(attacker: str):
    """Half of the members get a telling item: the area is near three quarters and the interval holds it."""
    features, member, activity = town(1, telling=0.5)
    found = attack(features, member, activity, seeds=[0, 1], attacker=attacker)
    assert 0.6 < found.mean[0] < 0.8
    assert found.low[0] < found.mean[0] < found.high[0]
    assert found.high[0] - found.low[0] < 0.15


def test_slates_that_do_not_tell_are_within_chance():
    """Members and others are shown alike: the interval reaches one half, though members are busier."""
    features, member, activity = town(2, telling=0.0)
    found = attack(features, member, activity, seeds=[0, 1, 2])
    assert found.low[0] < 0.5 < found.high[0]
    assert found.positives.tolist() == [member.sum()]


def test_activity_alone_is_no_leak_among_equals():
    """What shows only how much a shopper buys tells much in all, and nothing among the equally active."""
    rng = np.random.default_rng(3)
    activity = np.repeat(np.arange(10.0), 60)
    member = rng.random(600) < activity / 10
    seen = activity[:, None] + 0.0
    assert attack(seen, member, activity, seeds=[0], bins=1).mean[0] > 0.75
    assert attack(seen, member, activity, seeds=[0], bins=10).mean[0] == pytest.approx(0.5, abs=0.05)
    assert attack(seen, member, activity, seeds=[0], nearest=5).mean[0] == pytest.approx(0.5, abs=0.05)


def test_nearest_neighbours_read_what_quantiles_read():
    """Both ways of holding activity fixed find a telling slate."""
    features, member, activity = town(4, telling=0.5)
    columns = np.stack([activity, np.sqrt(activity)], axis=1)
    assert 0.65 < attack(features, member, columns, seeds=[0], nearest=10, attacker="ridge").mean[0] < 0.82


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_all_labels_at_once_equal_each_alone(seed: int):
    """One label's figure does not depend on its company, also when it is unknown for some."""
    features, member, activity = town(seed % 1000, telling=0.4, users=150)
    second = np.random.default_rng(seed).random(150).round()
    second[:20] = np.nan
    table = np.stack([member.astype(float), second, 1.0 - member], axis=1)
    both = attack(features, table, activity, seeds=[1], bins=3, attacker="ridge")
    for column in range(3):
        alone = attack(features, table[:, column], activity, seeds=[1], bins=3, attacker="ridge")
        assert alone.mean[0] == pytest.approx(both.mean[column], abs=2e-3)
        assert alone.positives[0] == both.positives[column]


def test_the_same_seeds_give_the_same_figures():
    """An attack is repeatable; another seed divides otherwise."""
    features, member, activity = town(6, telling=0.3, users=200)
    one, two, other = (attack(features, member, activity, seeds=[s], attacker="ridge").mean for s in (0, 0, 1))
    assert one.tolist() == two.tolist() != other.tolist()


def test_a_label_of_nobody_or_everybody_is_not_judged():
    """Without members, or without others, there is nobody to compare."""
    features, member, activity = town(7, telling=0.3, users=100)
    table = np.stack([np.zeros(100), np.ones(100), np.full(100, np.nan), member], axis=1)
    found = attack(features, table, activity, seeds=[0], attacker="ridge")
    assert np.isnan(found.mean).tolist() == [True, True, True, False]
    assert found.positives[:3].tolist() == [0, 100, 0]


def test_lengths_and_folds_are_checked():
    """Another shop's activity, or more folds than shoppers, is refused."""
    features, member, activity = town(8, telling=0.3, users=20)
    with pytest.raises(ValueError, match="`activity` must have one row for each of the 20 users but has 19"):
        attack(features, member, activity[1:])
    with pytest.raises(ValueError, match="`folds` must be at most the 20 known users but got 21"):
        attack(features, member, activity, folds=21)


# --- the measure ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2)), min_size=1, max_size=30))
def test_area_equals_the_count_of_ordered_pairs(people: list[tuple[int, bool, int]]):
    """Pairs of one stratum only, ties a half."""
    score, label, stratum = (np.array(column) for column in zip(*people, strict=True))
    pairs = [
        (score[i] > score[j]) + 0.5 * (score[i] == score[j])
        for i in np.flatnonzero(label)
        for j in np.flatnonzero(~label)
        if stratum[i] == stratum[j]
    ]
    area, variance = _within(score.astype(float), label, [np.flatnonzero(stratum == s) for s in range(3)])
    if not pairs:
        assert np.isnan(area)
    else:
        assert area == pytest.approx(np.mean(pairs))
        assert variance >= 0


def test_the_interval_is_as_wide_as_chance_makes_it():
    """The variance of the area over many towns is the one that a single town reports."""
    rng = np.random.default_rng(9)
    areas, told = [], []
    for _ in range(300):
        label = rng.random(200) < 0.3
        area, variance = _within(rng.normal(size=200) + 0.5 * label, label, [np.arange(100), np.arange(100, 200)])
        areas.append(area)
        told.append(variance)
    assert np.mean(told) == pytest.approx(np.var(areas), rel=0.25)


def test_partners_are_the_most_alike():
    """Each member meets the non-members nearest in standardized activity."""
    busy = np.array([[1.0, 0], [2, 0], [10, 0], [11, 0]])
    inside, others = _partners(np.array([True, False, True, False]), busy, 1)
    assert inside.tolist() == [0, 2]
    assert others.tolist() == [[1], [3]]
    assert _among(np.array([1.0, 0, 3, 3]), inside, others)[0] == 0.75


@given(st.lists(st.lists(st.integers(0, 6), max_size=4, unique=True), min_size=1, max_size=6), st.integers(1, 3))
def test_slates_are_counted_as_shown(rows: list[list[int]], repeats: int):
    """Features are how often each item, and each category, was shown to each user."""
    category = np.array([0, 1, 2, 0, 1, 2, 0])
    kept = rows[: len(rows) // repeats * repeats]
    seen = slate_features(slates_of(kept), items=7, category=category, repeats=repeats).toarray()
    for user in range(len(kept) // repeats):
        shown = [i for row in kept[user * repeats : (user + 1) * repeats] for i in row]
        assert seen[user, :7].tolist() == np.bincount(shown, minlength=7).tolist()
        assert seen[user, 7:].tolist() == np.bincount(category[np.array(shown, int)], minlength=3).tolist()


def test_leak_counts_what_can_be_judged():
    """Rare labels and histories that tell no more than activity are left out; below nothing is nothing."""

    def figures(*means: float) -> Aucs:
        mean = np.array(means)
        return Aucs(mean, mean, mean, np.array([200, 200, 99, 200]))

    leaks = leak_remaining(
        figures(0.55, 0.48, 0.6, 0.6), figures(0.5, 0.5, 0.5, 0.5), figures(0.7, 0.7, 0.7, 0.51),
        fewest=100, room=0.03,
    )  # fmt: skip
    np.testing.assert_allclose(leaks, [0.25, -0.1, np.nan, np.nan])
    assert mean_leak(leaks) == pytest.approx(0.125)
    assert np.isnan(mean_leak(np.array([np.nan])))


def test_a_list_that_tells_nothing_leaves_no_leak():
    """Also where the guess by activity happened to be worse than a coin."""

    def figures(mean: float) -> Aucs:
        return Aucs(*(np.array([mean]) for _ in range(3)), np.array([200]))

    assert leak_remaining(figures(0.5), figures(0.4), figures(0.7), fewest=100, room=0.03).tolist() == [0.0]


@given(st.integers(1, 50), st.integers(1, 5), SEEDS)
def test_parts_are_even_and_repeatable(users: int, parts: int, seed: int):
    """Sizes differ by one at most; the seed decides."""
    dealt = parts_of(users, parts=parts, seed=seed)
    sizes = np.bincount(dealt, minlength=parts)
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(dealt, parts_of(users, parts=parts, seed=seed))


def test_halves_pool_to_their_mean():
    """Two halves count the same, and their interval is narrower than either."""
    a = Aucs(np.array([0.6]), np.array([0.5]), np.array([0.7]), np.array([10]))
    b = Aucs(np.array([0.5]), np.array([0.4]), np.array([0.6]), np.array([20]))
    both = pooled([a, b])
    assert both.mean[0] == pytest.approx(0.55)
    assert both.high[0] - both.low[0] == pytest.approx(0.2 / np.sqrt(2))
    assert both.positives.tolist() == [30]
