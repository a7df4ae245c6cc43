"""Laws of proxies and blindfold: what they may never do, then what they must find."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.associations import (
    Blindfold,
    Proxies,
    banned,
    labels,
    learn_blindfold,
    learn_proxies,
    quantile_bins,
)

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)


def shop(seed: int, *, users: int = 240, d: int = 6, families: int = 3):
    """Vectors whose activity, labels and taste hang together, as in a shop."""
    rng = np.random.default_rng(seed)
    activity = np.column_stack([rng.normal(size=users), rng.normal(size=users)])
    taste = rng.normal(size=(users, d))
    vectors = taste + activity @ rng.normal(size=(2, d)) + rng.normal(size=d) * 3
    told = taste @ rng.normal(size=(d, families)) + activity[:, :1] + rng.normal(size=(users, families))
    return vectors.astype(np.float32), told > 0.3, activity


def freed(label: Array, activity: Array):
    """The label less what activity explains."""
    design = np.column_stack([np.ones(len(label)), activity])
    return label - design @ np.linalg.lstsq(design, label, rcond=None)[0]


def told_by(vectors: Array, member: Array, activity: Array):
    """The largest correlation of any coordinate with any label, given activity."""
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    size = np.linalg.norm(centred, axis=0) + 1e-3 * np.linalg.norm(centred)
    return max(
        np.abs(centred.T @ left / size).max() / np.linalg.norm(left)
        for left in (freed(label, activity) for label in member.astype(float).T)
    )


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_no_linear_probe_is_left_at_full_strength(seed: int):
    """Blinded training vectors and labels are uncorrelated given activity."""
    vectors, member, activity = shop(seed)
    blind = learn_blindfold(vectors, member, activity, strength=1.0)
    assert told_by(vectors, member, activity) > 0.1
    assert told_by(blind.apply(vectors), member, activity) < 1e-4


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0, 1))
def test_what_is_left_shrinks_by_the_strength(seed: int, strength: float):
    """At strength s every covariance with a label is 1 - s of what it was."""
    vectors, member, activity = shop(seed)
    left = np.stack([freed(label, activity) for label in member.astype(float).T], axis=1)
    before = vectors.T.astype(np.float64) @ left
    after = learn_blindfold(vectors, member, activity, strength=strength).apply(vectors).T.astype(np.float64) @ left
    np.testing.assert_allclose(after, (1 - strength) * before, atol=2e-4 * np.abs(before).max())


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_strength_nought_changes_nothing(seed: int):
    """The map at strength 0 is the identity, bit for bit."""
    vectors, member, activity = shop(seed)
    blind = learn_blindfold(vectors, member, activity, strength=0.0)
    assert np.array_equal(blind.apply(vectors), vectors)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_twice_equals_once_at_full_strength(seed: int):
    """What is forgotten cannot be forgotten again."""
    vectors, member, activity = shop(seed)
    blind = learn_blindfold(vectors, member, activity, strength=1.0)
    once = blind.apply(vectors)
    np.testing.assert_allclose(blind.apply(once), once, atol=2e-4 * np.abs(vectors).max())


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_the_mean_vector_stays(seed: int, copies: int):
    """Forgetting moves nobody on average, also with more dimensions than users and repeated columns."""
    vectors, member, activity = shop(seed, users=90, d=40)
    wide = np.tile(vectors, (1, copies))
    blind = learn_blindfold(wide, member, activity, strength=1.0, min_positives=10)
    blinded = blind.apply(wide)
    assert np.isfinite(blinded).all()
    np.testing.assert_allclose(blinded.mean(axis=0), wide.mean(axis=0), atol=2e-3)
    assert told_by(blinded, member, activity) < 2e-3


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_one_vector_is_a_row_of_many(seed: int):
    """A single shopper gets what the block gets."""
    vectors, member, activity = shop(seed)
    blind = learn_blindfold(vectors, member, activity, strength=0.7)
    np.testing.assert_allclose(blind.apply(vectors[3]), blind.apply(vectors)[3], rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_order_of_users_and_labels_does_not_matter(seed: int):
    """Shuffled shoppers and families give the same map."""
    vectors, member, activity = shop(seed)
    turn = np.random.default_rng(seed).permutation(len(vectors))
    a = learn_blindfold(vectors, member, activity, strength=0.8)
    b = learn_blindfold(vectors[turn], member[turn][:, ::-1], activity[turn], strength=0.8)
    np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-5)


def test_more_users_than_dimensions_is_not_needed():
    """With fewer users than dimensions the map exists and forgets."""
    vectors, member, activity = shop(5, users=60, d=100)
    blind = learn_blindfold(vectors, member, activity, strength=1.0, min_positives=10)
    assert told_by(blind.apply(vectors), member, activity) < 1e-3


def test_a_label_known_of_some_is_learned_from_those():
    """Unknown labels count neither as members nor as others."""
    vectors, member, activity = shop(1)
    partly = member.astype(float)
    partly[::2, 0] = np.nan
    blind = learn_blindfold(vectors, partly, activity, strength=1.0)
    assert told_by(blind.apply(vectors[1::2]), member[1::2, :1], activity[1::2]) < 1e-4
    assert told_by(blind.apply(vectors), member[:, 1:], activity) < 1e-4


def test_labels_too_rare_or_constant_are_listed_and_left():
    """A label with too few members, or too few others, is not erased."""
    vectors, member, activity = shop(2)
    rare = np.zeros(len(member))
    rare[:29] = 1
    told = np.column_stack([rare, np.ones(len(member)), 1 - rare, member[:, 0]])
    blind = learn_blindfold(vectors, told, activity, strength=1.0, min_positives=30)
    assert blind.left_out == (0, 1, 2)
    alone = learn_blindfold(vectors, member[:, :1], activity, strength=1.0)
    np.testing.assert_allclose(blind.matrix, alone.matrix, atol=1e-6)


def test_a_label_that_is_activity_itself_takes_nothing():
    """What activity explains whole is no secret of the vectors."""
    vectors, _, activity = shop(3)
    busy = activity[:, 0] > 0
    blind = learn_blindfold(vectors, busy[:, None], busy.astype(float), strength=1.0)
    assert np.array_equal(blind.matrix, np.eye(vectors.shape[1], dtype=np.float32))


def test_no_labels_and_no_spread_are_safe():
    """Nothing to forget, or nobody to tell apart: the identity."""
    vectors, member, activity = shop(4)
    assert np.array_equal(
        learn_blindfold(vectors, member[:, :0], activity, strength=1.0).matrix, np.eye(6, dtype=np.float32)
    )
    same = np.ones_like(vectors)
    assert np.array_equal(learn_blindfold(same, member, activity, strength=1.0).apply(same), same)


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan")])
def test_strength_has_bounds(strength: float):
    """Only a share can be erased."""
    vectors, member, activity = shop(0)
    with pytest.raises(ValueError, match="`strength` must be between 0 and 1"):
        learn_blindfold(vectors, member, activity, strength=strength)


def test_labels_must_have_a_row_a_user():
    """A table of other shoppers is refused."""
    vectors, member, activity = shop(0)
    with pytest.raises(ValueError, match="`labels` must have one row for each of the 240 users but has 239"):
        learn_blindfold(vectors, member[1:], activity, strength=1.0)
    with pytest.raises(ValueError, match="two dimensions"):
        learn_blindfold(vectors, member[:, 0], activity, strength=1.0)
    with pytest.raises(ValueError, match="`activity` must have one row for each of the 240 users but has 239"):
        learn_blindfold(vectors, member, activity[1:], strength=1.0)


def test_both_survive_a_round_trip(tmp_path: Path):
    """Saved and loaded is equal, and no label is in the file."""
    vectors, member, activity = shop(6)
    blind = learn_blindfold(vectors, member, activity, strength=0.6)
    blind.save(tmp_path / "blind.npz")
    again = Blindfold.load(tmp_path / "blind.npz")
    assert np.array_equal(again.matrix, blind.matrix)
    assert np.array_equal(again.offset, blind.offset)
    assert again.left_out == blind.left_out
    with np.load(tmp_path / "blind.npz") as kept:
        assert all(len(member) not in array.shape for array in kept.values())
    proxies = Proxies(np.float32([[1.5]]), np.float32([[4.0]]), (2,))
    proxies.save(tmp_path / "proxies.npz")
    back = Proxies.load(tmp_path / "proxies.npz")
    assert (back.lift, back.z, back.left_out) == (proxies.lift, proxies.z, (2,))


# --- labels -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_labels_equal_the_plain_count(seed: int, least: int):
    """A member bought at least so many different items whose bit is set."""
    rng = np.random.default_rng(seed)
    bought = rng.integers(0, 3, size=(8, 12)) * rng.integers(0, 2, size=(8, 12))
    bits = rng.integers(0, 2**32, size=12, dtype=np.uint64).astype(np.uint32)
    plain = [
        [sum(bool(bought[u, i]) and bool(int(bits[i]) >> f & 1) for i in range(12)) >= least for f in range(32)]
        for u in range(8)
    ]
    assert labels(sp.csr_matrix(bought), bits, 32, min_items=least).tolist() == plain


def test_labels_refuse_what_they_cannot_hold():
    """Bounds are told by name."""
    bought = sp.csr_matrix((2, 3))
    bits = np.zeros(3, np.uint32)
    with pytest.raises(ValueError, match="`n_families` must be between 1 and 32 but got 33"):
        labels(bought, bits, 33)
    with pytest.raises(ValueError, match="`min_items` must be at least 1 but got 0"):
        labels(bought, bits, 3, min_items=0)
    with pytest.raises(ValueError, match="`family_bits` must have one row for each of the 3 items but has 2"):
        labels(bought, bits[:2], 3)


# --- proxies ----------------------------------------------------------------------------------------------------------


def plain_proxies(bought: Array, told: Array, bins: int, min_buyers: int):
    """Lift and z as the docstring says them, with loops."""
    users, items = bought.shape
    place = quantile_bins((bought > 0).sum(axis=1), bins)
    lift, z = np.zeros((told.shape[1], items)), np.zeros((told.shape[1], items))
    for f in range(told.shape[1]):
        known = ~np.isnan(told[:, f])
        p = [
            np.mean(told[known & (place == place[u]), f]) if (known & (place == place[u])).any() else 0.0
            for u in range(users)
        ]
        for i in range(items):
            who = [u for u in range(users) if bought[u, i] > 0 and known[u]]
            expected, spread = sum(p[u] for u in who), sum(p[u] * (1 - p[u]) for u in who)
            if len(who) < min_buyers or expected <= 0:
                continue
            lift[f, i] = sum(told[u, f] for u in who) / expected
            if spread > 0:
                z[f, i] = (sum(told[u, f] for u in who) - expected) / np.sqrt(spread)
    return lift, z


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 5))
def test_proxies_equal_their_plain_twin(seed: int, bins: int, min_buyers: int):
    """Matrix products and loops agree, unknown labels among them."""
    rng = np.random.default_rng(seed)
    bought = rng.integers(0, 2, size=(30, 7)) * rng.integers(1, 4, size=(30, 7))
    told = rng.choice([0.0, 1.0, np.nan], size=(30, 2), p=[0.4, 0.4, 0.2])
    told[:4] = [[0, 0], [0, 0], [1, 1], [1, 1]]
    got = learn_proxies(sp.csr_matrix(bought), told, bins=bins, min_buyers=min_buyers, min_positives=1)
    lift, z = plain_proxies(bought, told, bins, min_buyers)
    np.testing.assert_allclose(got.lift, lift, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.z, z, rtol=1e-4, atol=1e-5)


def test_a_planted_proxy_is_found_and_activity_is_not_one():
    """An item that members buy is banned; an item that busy shoppers buy is not, though naive lift says so."""
    rng = np.random.default_rng(7)
    busy = np.repeat([False, True], 1000)
    member = rng.random(2000) < np.where(busy, 0.5, 0.05)
    columns = rng.random((2000, 60)) < np.where(busy, 0.6, 0.1)[:, None]
    columns[:, 0] = (rng.random(2000) < np.where(member, 0.5, 0.1)) & busy
    bought = sp.csr_matrix(columns.astype(np.float32))
    naive = (columns[:, 1:] & member[:, None]).sum(0) / columns[:, 1:].sum(0) / member.mean()
    assert (naive > 1.3).all()
    found = banned(learn_proxies(bought, member[:, None]), lift=1.3, z=4)
    assert found[0]
    assert not found[1:].any()


@pytest.mark.parametrize("name", ["bins", "min_buyers", "min_positives"])
def test_nothing_is_learned_of_nobody(name: str):
    """Each number is one at least."""
    bought, told = sp.csr_matrix(np.ones((4, 2), np.float32)), np.array([[1], [1], [0], [0]])
    assert learn_proxies(bought, told, **({"bins": 1, "min_buyers": 1, "min_positives": 1} | {name: 1})).lift.all()
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1 but got 0"):
        learn_proxies(bought, told, **({"bins": 1, "min_buyers": 1, "min_positives": 1} | {name: 0}))
    with pytest.raises(ValueError, match="`activity` must have one row for each of the 4 users but has 3"):
        learn_proxies(bought, told, activity=[1, 2, 3])
    with pytest.raises(ValueError, match="`activity` must have one row for each of the 4 users but has 5"):
        learn_proxies(bought, told, activity=[1, 2, 3, 4, 5])


def test_who_is_as_busy_as_nobody_known_counts_for_nobody():
    """A level of activity at which nobody's label is known takes no part, and spoils nothing."""
    bought = sp.csr_matrix(np.float32([[1, 0], [1, 0], [1, 0], [1, 0], [1, 1], [1, 1]]))
    told = np.array([[1], [1], [0], [0], [np.nan], [np.nan]])
    found = learn_proxies(bought, told, bins=2, min_buyers=1, min_positives=1)
    assert found.lift.tolist() == [[1, 0]]
    assert found.z.tolist() == [[0, 0]]


def test_who_is_expected_in_no_family_tells_of_none():
    """An item of shoppers among whom nobody is a member has lift 0, not none."""
    bought = sp.csr_matrix(np.float32([[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1]]))
    found = learn_proxies(bought, [[0], [0], [0], [1]], bins=2, min_buyers=1, min_positives=1)
    assert found.lift.tolist() == [[0, 1, 1]]
    assert found.z.tolist() == [[0, 0, 0]]


def test_what_is_certain_tells_nothing():
    """Where activity alone tells the label there is nothing left to be surprised at."""
    bought = sp.csr_matrix(np.float32([[1, 0], [1, 0], [1, 1], [1, 1]]))
    found = learn_proxies(bought, [[0], [0], [1], [1]], bins=2, min_buyers=1, min_positives=1)
    assert found.lift.tolist() == [[1, 1]]
    assert found.z.tolist() == [[0, 0]]


def test_a_label_told_twice_is_one_label():
    """What two labels say alike is erased once, and nothing with it that neither says."""
    vectors, member, activity = shop(3)
    once, twice = (
        learn_blindfold(vectors, labelled, activity, strength=1.0) for labelled in (member, np.tile(member, (1, 2)))
    )
    np.testing.assert_allclose(twice.matrix, once.matrix, atol=1e-5)


def test_an_entry_stored_twice_is_one_purchase():
    """So is an entry of two; one of nought is none, nor is one that was sent back."""
    plain = sp.csr_matrix(np.float32([[1, 0], [1, 1], [0, 1], [0, 1]]))
    odd = sp.csr_matrix(
        (np.float32([1, 1, 0, 2, 1, 3, 1, -1.0]), np.int32([0, 0, 1, 0, 1, 1, 1, 0]), np.int32([0, 3, 5, 6, 8])),
        shape=(4, 2),
    )
    told, terms = [[1], [1], [0], [1]], {"bins": 2, "min_buyers": 2, "min_positives": 1}
    found, expected = learn_proxies(odd, told, **terms), learn_proxies(plain, told, **terms)
    np.testing.assert_array_equal(found.lift, expected.lift)
    np.testing.assert_array_equal(found.z, expected.z)
    assert found.lift.any()
    wide = odd.astype(np.float64)
    before = [part.copy() for part in (wide.data, wide.indices, wide.indptr)]
    learn_proxies(wide, told, **terms)
    for part, copy in zip((wide.data, wide.indices, wide.indptr), before, strict=True):
        np.testing.assert_array_equal(part, copy)
    with pytest.raises(ValueError, match="`labels` must have two dimensions, users and families, but got 3"):
        learn_proxies(plain, [[[1]]] * 4, **terms)


def test_a_file_that_would_run_is_refused(tmp_path: Path):
    """Tables are numbers: nothing in them is unpickled."""
    with (tmp_path / "p.npz").open("wb") as file:
        np.savez(file, lift=np.array([{}], dtype=object), z=np.zeros((1, 1)), left_out=np.zeros(0, np.int32))
    with (tmp_path / "b.npz").open("wb") as file:
        np.savez(file, matrix=np.array([{}], dtype=object), offset=np.zeros(1), left_out=np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        Proxies.load(tmp_path / "p.npz")
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        Blindfold.load(tmp_path / "b.npz")


def test_where_no_family_can_be_judged_nothing_is_learned():
    """Nobody in one, everybody in the other."""
    found = learn_proxies(sp.csr_matrix(np.ones((4, 3), np.float32)), [[0, 1]] * 4, min_buyers=1, min_positives=1)
    assert found.left_out == (0, 1)
    assert found.lift.tolist() == found.z.tolist() == [[0, 0, 0]] * 2


def test_rare_items_and_rare_families_are_not_judged():
    """One buyer in a family of one says nothing about anybody."""
    bought = sp.csr_matrix(np.ones((40, 2), np.float32))
    told = np.zeros((40, 2))
    told[0, 0], told[:20, 1] = 1, 1
    judged = learn_proxies(bought, told, min_buyers=41, min_positives=20)
    assert judged.left_out == (0,)
    assert not judged.lift.any()
    enough = learn_proxies(bought, told, min_buyers=40, min_positives=20)
    assert enough.lift[1].tolist() == [1.0, 1.0]
    assert not enough.lift[0].any()


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0, 3), st.floats(0, 1), st.floats(-2, 5), st.floats(0, 2))
def test_a_stricter_limit_bans_no_less(seed: int, lift: float, less_lift: float, z: float, less_z: float):
    """Lowering either limit keeps every ban."""
    rng = np.random.default_rng(seed)
    table = Proxies(rng.uniform(0, 3, (3, 20)).astype(np.float32), rng.normal(0, 3, (3, 20)).astype(np.float32))
    loose, strict = banned(table, lift=lift, z=z), banned(table, lift=lift - less_lift, z=z - less_z)
    assert (strict | ~loose).all()


def test_both_limits_count_and_are_met_at_equality():
    """At the limit is over the limit, and one family must reach both."""
    table = Proxies(np.float32([[1.3, 1.3, 2.0], [0.0, 2.0, 0.0]]), np.float32([[4.0, 3.9, 0.0], [9, 0, 9]]))
    assert banned(table, lift=1.3, z=4).tolist() == [True, False, False]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 6))
def test_quantile_bins_keep_order_and_ties(levels: list[int], bins: int):
    """Equal levels share a bin, a higher level never has a lower one, and none lies outside."""
    place = quantile_bins(levels, bins)
    assert all(0 <= p < bins for p in place)
    pairs = sorted(zip(levels, place.tolist(), strict=True))
    assert all(a[1] <= b[1] for a, b in pairwise(pairs))
    assert all(a[1] == b[1] for a, b in pairwise(pairs) if a[0] == b[0])
