"""Laws of the exact top-k: a plain twin in numpy is the oracle."""

from __future__ import annotations

import random
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from recsys.topk import ItemIndex, TopK, topk, topk_sparse, warm_up

pytestmark = pytest.mark.usefixtures("compiled")
lawful = settings(deadline=None)

Lists = list[tuple[list[int], list[float]]]
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float32]
Case = tuple[Array, Array, int, list[list[int]], Mask]


@pytest.fixture(scope="module")
def compiled() -> None:
    """Compile before the first clock runs."""
    warm_up()


def lists(found: TopK) -> Lists:
    bounds = list(zip(found.offsets[:-1], found.offsets[1:], strict=True))
    return [(found.item_row[a:b].tolist(), found.score[a:b].tolist()) for a, b in bounds]


def rank(scores: Array, k: int, left_out: npt.ArrayLike, mask: Mask) -> tuple[list[int], list[float]]:
    """Pick the k best of (n,) scores by plain sorting: best first, then the lower row."""
    allowed = mask.copy()
    allowed[np.asarray(left_out, dtype=int)] = False
    order = [row for row in np.lexsort((np.arange(len(scores)), -scores)) if allowed[row]][:k]
    return order, scores[order].tolist()


def brute(items: Array, users: Array, k: int, excluded: list[list[int]], mask: Mask) -> Lists:
    """Score everything in float64, round to float32 and sort."""
    sound = mask & np.isfinite(items).all(axis=1)
    scores = (np.nan_to_num(users, posinf=0).astype(np.float64) @ np.nan_to_num(items).astype(np.float64).T).astype(
        np.float32
    ) + 0
    whole = np.isfinite(users).all(axis=1)
    return [rank(scores[u], k, excluded[u], sound) if whole[u] else ([], []) for u in range(len(users))]


def flat(excluded: list[list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    indptr = np.cumsum([0, *map(len, excluded)], dtype=np.int64)
    return indptr, np.array([row for rows in excluded for row in rows], dtype=np.int32)


# Eighths multiply and add without rounding, so ties are true ties and the twin has no excuse.
eighths = st.integers(-16, 16).map(lambda i: i / 8)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n, u, d = draw(st.integers(0, 90)), draw(st.integers(0, 7)), draw(st.integers(1, 5))
    items = draw(hnp.arrays(np.float32, (n, d), elements=eighths, fill=eighths))
    users = draw(hnp.arrays(np.float32, (u, d), elements=eighths | st.just(np.nan) | st.just(np.inf)))
    rows = st.lists(st.integers(0, max(n - 1, 0)), max_size=n)
    excluded = [draw(rows) for _ in range(u)]
    return items, users, draw(st.integers(0, n + 3)), excluded, draw(hnp.arrays(np.bool_, n))


@lawful
@given(cases())
def test_equals_brute_force(case: Case):
    """Ids, scores, ties, exclusions, the mask, k of 0 or beyond, nothing to choose from, broken vectors."""
    items, users, k, excluded, mask = case

    found = topk(ItemIndex.build(items), users, k, *flat(excluded), within=mask, threads=1)

    assert lists(found) == brute(items, users, k, excluded, mask)


@lawful
@given(cases(), st.randoms(use_true_random=False))
def test_order_of_users_and_company_do_not_matter(case: Case, mixer: random.Random):
    """All at once equals one by one, and shuffled users get their own lists, bit for bit."""
    items, users, k, excluded, _ = case
    index = ItemIndex.build(items * np.float32(0.1))
    order = list(range(len(users)))
    mixer.shuffle(order)

    together = lists(topk(index, users, k, *flat(excluded), threads=1))
    shuffled = lists(topk(index, users[order], k, *flat([excluded[u] for u in order]), threads=2))
    alone = [lists(topk(index, users[u : u + 1], k, *flat([excluded[u]])))[0] for u in range(len(users))]

    assert together == alone
    assert shuffled == [together[u] for u in order]


def skewed(seed: int, n: int = 6_000, d: int = 16) -> Array:
    """Gaussian items with long-tailed norms, many times a block, with twins and zeros among them."""
    draw = np.random.default_rng(seed)
    items = (draw.standard_normal((n, d)) * draw.pareto(2, (n, 1))).astype(np.float32)
    items[draw.integers(0, n, 500)] = 0
    items[draw.integers(0, n, 500)] = items[draw.integers(0, n, 500)]
    return items


@pytest.mark.parametrize("k", [1, 20, 200, 5_000])
@pytest.mark.parametrize("users", [1, 3, 700])
def test_large_blocks_equal_brute_force(k: int, users: int):
    """Several blocks of items and crowds of users, where buffers fill and users stop early."""
    items = skewed(1)
    draw = np.random.default_rng(2)
    vectors = draw.standard_normal((users, items.shape[1])).astype(np.float32)
    excluded = [draw.integers(0, len(items), 300).tolist() for _ in range(users)]
    looked_at = range(0, users, 29)

    found = lists(topk(ItemIndex.build(items), vectors, k, *flat(excluded), threads=2))

    everything = np.ones(len(items), dtype=np.bool_)
    expected = brute(items, vectors[looked_at], k, [excluded[u] for u in looked_at], everything)
    assert [found[u] for u in looked_at] == expected


def test_a_user_gets_the_same_list_alone_and_in_a_crowd_bit_for_bit():
    """The block product rounds by its shape; the lists do not."""
    index = ItemIndex.build(skewed(3))
    vectors = np.random.default_rng(4).standard_normal((600, 16)).astype(np.float32)

    together = lists(topk(index, vectors, 50))

    for u in range(0, 600, 37):
        assert lists(topk(index, vectors[u : u + 1], 50))[0] == together[u]
        assert lists(topk(index, vectors[u : u + 9], 50))[0] == together[u]


def test_long_items_first_lets_a_search_stop():
    """Under skewed norms most products are never made."""
    index = ItemIndex.build(skewed(5))
    vectors = np.random.default_rng(6).standard_normal((50, 16)).astype(np.float32)

    found = topk(index, vectors, 10)

    assert found.visited < 0.5 * len(index) * len(vectors)


@pytest.mark.parametrize("k", [1, 7, 300])
def test_a_thousand_equal_items_come_by_row(k: int):
    """A plateau longer than the buffer is cut by row, also for a user to whom all items are equal."""
    items = np.ones((1_000, 2), dtype=np.float32)
    vectors = np.array([[1, 1], [0, 0], [-1, -1], [1e-30, 1e-30], [1e-45, 0]], dtype=np.float32)

    found = topk(ItemIndex.build(items), vectors, k, np.array([0, 1, 2, 3, 4, 5]), np.zeros(5, dtype=np.int64))

    assert found.item_row.reshape(5, k).tolist() == [list(range(1, k + 1))] * 5


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e-6, 1e6, 1e15])
def test_any_scale(scale: float):
    """Underflow, and sums near the end of float32, change no list."""
    items = (skewed(7, n=800) * scale).astype(np.float32)
    vectors = np.random.default_rng(8).standard_normal((5, 16)).astype(np.float32)

    found = lists(topk(ItemIndex.build(items), vectors, 30))

    assert found == brute(items, vectors, 30, [[]] * 5, np.ones(800, dtype=np.bool_))


def test_vectors_too_long_to_multiply_get_an_empty_list():
    """Products beyond float32 would be infinite: such a user, like one with NaN, is served nobody's list."""
    index = ItemIndex.build(np.eye(3, dtype=np.float32))
    vectors = np.array([[1e300, 0, 0], [1e30, 0, 0], [np.nan, 1, 1], [np.inf, 1, 1], [1, 0, 0]])

    assert [rows for rows, _ in lists(topk(index, vectors, 1))] == [[], [], [], [], [0]]


def test_items_that_are_not_finite_are_never_found():
    """A broken factor takes its item out and no other."""
    items = np.array([[np.nan, 0], [1, 0], [np.inf, 1], [3, 0]], dtype=np.float32)

    assert lists(topk(ItemIndex.build(items), np.array([[1.0, 0.0]]), 9)) == [([3, 1], [3.0, 1.0])]


def test_inputs_are_left_as_they_were():
    """Read-only arrays of any layout are welcome, and nothing is written into them."""
    index = ItemIndex.build(np.asfortranarray(np.eye(4)))
    vectors = np.asfortranarray(np.eye(4)[:2])
    indptr, indices = np.array([0, 2, 2]), np.array([1, 0])
    for array in (vectors, indptr, indices):
        array.flags.writeable = False

    assert lists(topk(index, vectors, 1, indptr, indices)) == [([2], [0.0]), ([1], [1.0])]


BAD = [
    ({"k": -1}, "`k` must be at least 0 but got -1"),
    ({"threads": 0}, "`threads` must be at least 1 but got 0"),
    ({"exclude_indptr": [0, 1, 1], "exclude_indices": [3]}, "`exclude_indices` must be rows below 3"),
    ({"exclude_indptr": [0, 1, 1], "exclude_indices": [-1]}, "`exclude_indices` must be rows below 3"),
    ({"exclude_indptr": [0, 1], "exclude_indices": [0]}, "`exclude_indptr` must rise from 0 to 1 over 3"),
    ({"exclude_indptr": [0, 2, 1], "exclude_indices": [0]}, "`exclude_indptr` must rise from 0 to 1 over 3"),
    ({"exclude_indptr": [0, 0, 0]}, "`exclude_indices` is missing"),
    ({"within": [True]}, "`within` must be 3 bool"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str):
    """An error names the argument, the bound and the value; both searches speak alike."""
    given = {key: np.array(value) if isinstance(value, list) else value for key, value in change.items()}
    arguments = {"k": 1} | given
    eye = csr_matrix(np.eye(3, dtype=np.float32))

    with pytest.raises(ValueError, match=message):
        topk(ItemIndex.build(np.eye(3, dtype=np.float32)), np.eye(3, dtype=np.float32)[:2], **arguments)
    with pytest.raises(ValueError, match=message):
        topk_sparse(eye, eye[:2], **arguments)


def test_shapes_that_do_not_fit_are_refused():
    """Dimensions are named."""
    index = ItemIndex.build(np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="`vectors` must be users x 3"):
        topk(index, np.zeros((1, 2)), 1)
    with pytest.raises(ValueError, match="`factors` must be items x dimensions"):
        ItemIndex.build(np.zeros(3))
    with pytest.raises(ValueError, match="`similarity` must be 3 x 3"):
        topk_sparse(csr_matrix(np.eye(2)), csr_matrix(np.eye(3)), 1)


def brute_sparse(similarity: Array, evidence: Array, k: int, excluded: list[list[int]], mask: Mask) -> Lists:
    """Score everything in float64, and keep what some past item speaks for."""
    scores = (evidence.astype(np.float64) @ similarity.astype(np.float64)).astype(np.float32) + 0
    spoken = (evidence != 0).astype(int) @ (similarity != 0).astype(int) > 0
    return [rank(scores[u], k, excluded[u], mask & spoken[u]) for u in range(len(evidence))]


@st.composite
def sparse_cases(draw: st.DrawFn) -> Case:
    n, u = draw(st.integers(1, 30)), draw(st.integers(0, 6))
    entry = st.just(0.0) | eighths
    similarity = draw(hnp.arrays(np.float32, (n, n), elements=entry, fill=st.just(0.0)))
    evidence = draw(hnp.arrays(np.float32, (u, n), elements=entry, fill=st.just(0.0)))
    excluded = [draw(st.lists(st.integers(0, n - 1), max_size=n)) for _ in range(u)]
    return similarity, evidence, draw(st.integers(0, n + 2)), excluded, draw(hnp.arrays(np.bool_, n))


@lawful
@given(sparse_cases())
def test_neighbours_equal_brute_force(case: Case):
    """Item-item: only items that the past speaks for, best first, then by row."""
    similarity, evidence, k, excluded, mask = case

    found = topk_sparse(csr_matrix(similarity), csr_matrix(evidence), k, *flat(excluded), within=mask, threads=2)

    assert lists(found) == brute_sparse(similarity, evidence, k, excluded, mask)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1, 20, 150]))
def test_many_neighbours_equal_brute_force_alone_and_together(seed: int, k: int):
    """Buffers fill, plateaus of equal scores are cut by row, and company does not matter."""
    draw = np.random.default_rng(seed)
    similarity = csr_matrix(
        random_array((900, 900), density=0.05, rng=draw, data_sampler=lambda size: draw.integers(1, 4, size)),
        dtype=np.float32,
    )
    evidence = csr_matrix(random_array((12, 900), density=0.05, rng=draw), dtype=np.float32)
    evidence.data[:] = 1
    excluded = [evidence.indices[a:b].tolist() for a, b in zip(evidence.indptr[:-1], evidence.indptr[1:], strict=True)]

    found = lists(topk_sparse(similarity, evidence, k, evidence.indptr, evidence.indices))

    expected = brute_sparse(similarity.toarray(), evidence.toarray(), k, excluded, np.ones(900, dtype=np.bool_))
    assert found == expected
    assert [lists(topk_sparse(similarity, evidence[u], k, *flat([excluded[u]])))[0] for u in range(12)] == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_evidence_that_is_not_finite_gets_an_empty_list(bad: float):
    """Fail closed, for that user alone; a broken similarity takes out the items it touches."""
    similarity = csr_matrix(np.array([[0, 1, 1], [1, 0, 1], [1, bad, 0]], dtype=np.float32))
    evidence = csr_matrix(np.array([[bad, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32))

    assert [rows for rows, _ in lists(topk_sparse(similarity, evidence, 3))] == [[], [1, 2], [0]]
