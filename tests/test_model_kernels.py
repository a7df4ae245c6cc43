"""The compiled solvers against numpy's, in any number of dimensions, past items and candidates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.models import kernel

ITEMS = 40
systems = st.tuples(
    st.integers(1, 100), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**16),
    st.sampled_from([0.0, 0.8, 1.0]), st.sampled_from([0.0, 1.0]),
)  # fmt: skip


def world(size: int, past: int, candidates: int, seed: int, plain: float, least: float) -> tuple[np.ndarray, ...]:
    """Item vectors, their regularized Gram matrix, a user's items and confidences, and vectors to be met; and the system.

    A share ``plain`` of the confidences is one, the others are no less than ``least``.
    """
    draw = np.random.default_rng(seed)
    item = draw.normal(scale=0.5, size=(ITEMS, size)).astype(np.float32)
    gram = (item.T @ item + np.eye(size)).astype(np.float32)
    rows = draw.choice(ITEMS, past, replace=False).astype(np.int32)
    confidence = np.where(draw.random(past) < plain, 1, draw.uniform(least, 9, past)).astype(np.float32)
    along = draw.normal(size=(candidates, size)).astype(np.float32)
    own = item[rows].astype(np.float64)
    return item, gram, rows, confidence, along, gram + (own.T * (confidence - 1)) @ own


@given(systems)
@settings(deadline=None, max_examples=60)
def test_solved_vectors_and_their_parts_are_numpys(asked: tuple[int, int, int, int, float, float]) -> None:
    """Whichever side is the shorter, with the factors at hand or made anew; and the parts of a score sum to it."""
    size, past, candidates, *_ = asked
    item, gram, rows, confidence, along, system = world(*asked)
    ends, tables = np.array([0, past]), np.array([0, candidates * past])
    vectors, factors = np.zeros((1, size), np.float32), np.empty((1, size, size), np.float32)
    kernel.solve(gram, kernel.root_of(gram), item, ends, rows, confidence, 0, 1, vectors, factors)
    assert np.allclose(vectors[0], np.linalg.solve(system, item[rows].T @ confidence), rtol=1e-3, atol=1e-4)
    assert np.allclose(factors[0].T @ factors[0], system, rtol=1e-3, atol=1e-3)
    want = along @ np.linalg.solve(system, item[rows].T) * confidence
    for kept in (factors, factors[:0]):
        parts = np.zeros(candidates * past, np.float32)
        kernel.add_solved_parts(
            gram,
            kernel.root_of(gram),
            item,
            along,
            ends,
            rows,
            confidence,
            kept,
            np.array([0, candidates]),
            tables,
            0.5,
            0,
            1,
            parts,
        )
        assert np.allclose(parts, 0.5 * want.ravel(), rtol=1e-3, atol=1e-4)
    assert np.allclose(want.sum(axis=1), along @ vectors[0], rtol=1e-3, atol=1e-3)


@given(systems)
@settings(deadline=None, max_examples=60)
def test_parts_of_sums_are_products(asked: tuple[int, int, int, int, float, float]) -> None:
    """Of vectors that sum past items, what one adds to a score is its weight times a dot product; they come on top."""
    _, past, candidates, *_ = asked
    item, _, rows, confidence, along, _ = world(*asked)
    parts = np.ones(candidates * past, np.float32)
    kernel.add_summed_parts(
        item, along, np.array([0, past]), rows, confidence, np.array([0, candidates]), np.array([0, len(parts)]), -2.0,
        0, 1, parts,
    )  # fmt: skip
    assert np.allclose(parts, 1 - 2 * (along @ item[rows].T * confidence).ravel(), rtol=1e-3, atol=1e-3)
