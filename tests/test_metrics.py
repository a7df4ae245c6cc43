"""Metrics against a plain-Python twin, their bounds, and the splits they are measured on."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from experiments import metrics
from experiments.metrics import Lists
from experiments.split import (
    SplitError,
    at,
    by_weeks,
    earlier,
    items_of,
    leave_last,
    leave_out,
    read_lightgcn,
    split_of,
    users_of,
)  # fmt: skip
from recsys.interactions import Weighing
from recsys.quality import ndcg

START = datetime(2024, 1, 1, 9, tzinfo=UTC)
ITEMS = 8
cases = st.lists(
    st.tuples(
        st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS),
        st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS),
    ),
    min_size=1,
    max_size=6,
)


def lists_of(lists: list[list[int]]) -> Lists:
    offsets = np.cumsum([0, *(len(rows) for rows in lists)]).astype(np.int64)
    return Lists(offsets, np.array([row for rows in lists for row in rows], np.int32))


def truth_of(taken: list[list[int]]) -> csr_matrix:
    dense = np.zeros((len(taken), ITEMS), np.float32)
    for user, rows in enumerate(taken):
        dense[user, rows] = 1
    return csr_matrix(dense)


def ndcg_of(lists: Lists, truth: csr_matrix, *, k: int) -> np.ndarray:
    """NDCG has its room below, for the recommender tunes itself by it."""
    return ndcg(lists.offsets, lists.item_row, truth, k=k)


def twin(rows: list[int], taken: list[int], k: int) -> tuple[float, float, float]:
    """NDCG, recall and average precision of one list, by the book."""
    if not taken:
        return (math.nan,) * 3
    hit = [row in taken for row in rows[:k]]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(taken))))
    gain = sum(1 / math.log2(place + 2) for place, found in enumerate(hit) if found)
    precision = sum(sum(hit[: place + 1]) / (place + 1) for place, found in enumerate(hit) if found)
    return gain / ideal, sum(hit) / len(taken), precision / min(k, len(taken))


@given(cases=cases, k=st.integers(1, 10))
@settings(max_examples=80, deadline=None)
def test_accuracy_is_its_plain_twin(cases: list[tuple[list[int], list[int]]], k: int):
    """All users at once equal one by one, within 0 and 1, NaN where nothing was taken."""
    lists, truth = lists_of([rows for rows, _ in cases]), truth_of([taken for _, taken in cases])
    expected = np.array([twin(rows, taken, k) for rows, taken in cases])
    for measure, wanted in zip((ndcg_of, metrics.recall, metrics.average_precision), expected.T, strict=True):
        got = measure(lists, truth, k=k)
        assert got == pytest.approx(wanted, nan_ok=True)
        assert (((got >= 0) & (got <= 1 + 1e-12)) | np.isnan(got)).all()


@given(cases=cases, k=st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_a_list_of_hits_first_is_perfect(cases: list[tuple[list[int], list[int]]], k: int):
    """The ideal order gives NDCG and average precision of one, however many items were taken."""
    taken = [rows for _, rows in cases]
    lists, truth = lists_of(taken), truth_of(taken)
    some = np.array([len(rows) > 0 for rows in taken])
    assert ndcg_of(lists, truth, k=k)[some] == pytest.approx(1)
    assert metrics.average_precision(lists, truth, k=k)[some] == pytest.approx(1)


def test_recall_is_over_all_taken_not_over_k():
    """Two of four found is a half even where only two places are looked at."""
    assert metrics.recall(lists_of([[0, 1]]), truth_of([[0, 1, 2, 3]]), k=2).tolist() == [0.5]


def test_serendipity_counts_hits_the_popular_list_would_not_have_shown():
    """Of two hits one is among the k most bought."""
    lists, truth = lists_of([[0, 5]]), truth_of([[0, 5]])
    buyers = np.array([9, 8, 1, 1, 1, 1, 1, 1])
    assert metrics.serendipity(lists, truth, k=2, buyers=buyers).tolist() == [0.5]


def test_novelty_is_bits_of_surprise():
    """Bought by one in eight: three bits; by everybody: none."""
    buyers = np.array([8, 1, 0, 0, 0, 0, 0, 0])
    got = metrics.novelty(lists_of([[0, 1], []]), k=2, buyers=buyers, users=8)
    assert got == pytest.approx([1.5, math.nan], nan_ok=True)


def test_diversity_is_the_share_of_unlike_pairs():
    """One kind: zero; all kinds differ: one; a single item has no pair."""
    kinds = np.array([0, 0, 0, 1, 2, 3, 4, 5])
    got = metrics.diversity(lists_of([[0, 1, 2], [2, 3, 4], [5]]), k=3, category=kinds)
    assert got == pytest.approx([0, 1, math.nan], nan_ok=True)


def test_coverage_and_gini_of_known_shelves():
    """One item for all of four users against one each."""
    same, each = lists_of([[0], [0], [0], [0]]), lists_of([[0], [1], [2], [3]])
    assert metrics.coverage(same, k=1, items=4) == 0.25
    assert metrics.coverage(each, k=1, items=4) == 1.0
    assert metrics.gini(same, k=1, items=4) == pytest.approx(0.75)
    assert metrics.gini(each, k=1, items=4) == pytest.approx(0.0)
    assert math.isnan(metrics.gini(lists_of([[]]), k=1, items=4))


def test_the_interval_holds_the_mean_and_shrinks_with_users():
    """More users, less doubt; a constant has none; nobody has no mean."""
    random = np.random.default_rng(0)
    few, many = (metrics.interval(random.random(size), seed=1) for size in (30, 3000))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert metrics.interval([0.5] * 9, seed=0)[:3] == (0.5, 0.5, 0.5)
    assert metrics.interval([math.nan], seed=0).users == 0


def test_lists_that_do_not_fit_the_truth_are_refused():
    """Another number of users, or a row that is no item."""
    with pytest.raises(ValueError, match="lists are of 2 users but truth is of 1"):
        metrics.hits(lists_of([[0], [1]]), truth_of([[0]]))
    with pytest.raises(ValueError, match="`item_row` must be from 0 to 7"):
        metrics.hits(lists_of([[-1]]), truth_of([[0]]))
    with pytest.raises(ValueError, match="`k` must be at least 1 but got 0"):
        metrics.recall(lists_of([[0]]), truth_of([[0]]), k=0)


def shop(weeks: int = 10) -> pl.DataFrame:
    """Two tastes; in each week every user takes the next item of theirs."""
    rows = [
        (f"u{user}", f"i{(2 * ((week + user // 2) % 5)) + user % 2}", "purchase", START + timedelta(days=7 * week))
        for user in range(12)
        for week in range(weeks)
    ]
    return pl.DataFrame(
        rows,
        schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "at": pl.Datetime("us", "UTC")},
        orient="row",
    )


@given(share=st.floats(0.05, 0.95), weeks=st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_a_cut_in_time_loses_nothing_and_mixes_nothing(share: float, weeks: int):
    """Every event is on one side, all of one before all of the other, at a whole week."""
    events = shop(weeks)
    if int(weeks * share) < 1:
        with pytest.raises(SplitError, match="leaves 0 events before it"):
            by_weeks(events, train_share=share)
        return
    cut = by_weeks(events, train_share=share)
    assert len(cut.train) + len(cut.test) == len(events)
    assert cut.train["at"].max() < cut.at <= cut.test["at"].min()
    assert (cut.at - START.replace(hour=0)) % timedelta(days=7) == timedelta(0)


def test_settings_are_chosen_inside_the_training_part():
    """The inner cut sees nothing of the test weeks."""
    cut = by_weeks(shop(), train_share=0.8)
    inner = earlier(cut, weeks=2)
    assert inner.at == cut.at - timedelta(days=14)
    assert len(inner.train) + len(inner.test) == len(cut.train)
    with pytest.raises(SplitError, match="leaves 0 events before it"):
        at(cut.train, START)


def test_the_last_event_of_each_user_can_be_left_out():
    """One event a user, the latest."""
    cut = leave_last(by_weeks(shop(), train_share=0.8))
    assert cut.test["user_id"].sort().to_list() == sorted({f"u{user}" for user in range(12)})
    assert cut.test["at"].min() == cut.train["at"].max() + timedelta(days=7)


def test_new_items_are_those_not_taken_before():
    """Truth of discovery is the test minus what was taken, of items that enough users took."""
    weighing = Weighing({"purchase": 1.0})
    cut = by_weeks(shop(4), train_share=0.5)
    split = split_of(cut, weighing=weighing, min_buyers=2)
    assert split.new.multiply(split.taken).nnz == 0
    assert (split.new + split.test.multiply(split.taken) - split.test).nnz == 0
    assert split.buyers.min() >= 2
    assert split.buyers.tolist() == np.asarray(split.taken.sum(axis=0)).ravel().tolist()
    assert len(items_of(cut, kinds=["purchase"], min_buyers=99)) == 0
    for fewest in (1, 4, 99):
        users = users_of(cut, kinds=["purchase"], min_buyers=fewest)
        assert len(users) == split_of(cut, weighing=weighing, min_buyers=fewest).train.shape[0]


def test_hiding_a_share_leaves_every_user_something():
    """Hidden and kept entries are the training entries, each once; the same seed hides the same."""
    split = split_of(by_weeks(shop(), train_share=0.8), weighing=Weighing({"purchase": 1.0}), min_buyers=1)
    inner, again = (leave_out(split, share=0.2, seed=4) for _ in range(2))
    assert inner.taken.multiply(inner.test).nnz == 0
    assert (inner.taken + inner.test != split.taken).nnz == 0
    assert (inner.test != again.test).nnz == 0
    assert np.diff(inner.taken.indptr).min() > 0
    assert np.diff(inner.test.indptr).min() > 0


def test_lightgcn_files_are_read(tmp_path: Path):
    """One user a line; users without items keep their row; a bad line is named."""
    (tmp_path / "train.txt").write_text("0 1 2\n1 0\n2\n")
    (tmp_path / "test.txt").write_text("0 0\n1 3\n")
    split = read_lightgcn(tmp_path)
    assert split.train.toarray().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert split.test.toarray().tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    (tmp_path / "test.txt").write_text("0 0\n1 x\n")
    with pytest.raises(SplitError, match="line 2: must be a user's number"):
        read_lightgcn(tmp_path)
    with pytest.raises(SplitError, match=r"train.txt is missing"):
        read_lightgcn(tmp_path / "nowhere")
