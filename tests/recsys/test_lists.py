"""From events to evidence, and from ranked rows to one list: the compiled loops against the slow way."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.candidates import Candidates
from boundary.history import History
from boundary.words import KIND_NAMES, Source, Tier
from recsys.compose import compose, explore_draws, taken_from
from recsys.compose.kernel import measure, mix, space_out
from recsys.evidence import evidence_of, stored
from recsys.interactions import Weighing

ITEMS, NOW, DAY = 7, 40 * 86_400_000_000, 86_400_000_000
WEIGHTS = {"purchase": 1.0, "view": 0.25}
event = st.tuples(st.integers(-1, ITEMS), st.integers(0, 4), st.integers(0, 41), st.booleans(), st.booleans())
blocks = st.lists(st.lists(event, max_size=12), min_size=1, max_size=4)


def history_of(block: list[list[tuple[int, int, int, bool, bool]]]) -> tuple[History, np.ndarray, np.ndarray]:
    flat = [line for user in block for line in user]
    columns = list(zip(*flat, strict=True)) or [()] * 5
    size = len(flat)
    past = History(
        np.concatenate([[0], np.cumsum([len(user) for user in block])]), np.array(columns[0], np.int32),
        np.array(columns[1], np.uint8), np.array(columns[2], np.int64) * DAY, np.ones(size, np.float32),
        np.ones(size, np.float32),
    )  # fmt: skip
    return past, np.array(columns[3], bool), np.array(columns[4], bool)


@settings(deadline=None)
@given(blocks, st.sampled_from([None, 10]), st.booleans(), st.booleans())
def test_evidence_is_what_the_slow_way_adds_up(block, days, masked, lively) -> None:
    """Only what is masked in, known and of a kind that counts; halved by age; a session's event counts fully."""
    past, mask, fresh = history_of(block)
    weighing = Weighing(WEIGHTS, half_life=None if days is None else dt.timedelta(days=days))
    found = evidence_of(
        past, weighing, items=ITEMS, now=NOW, mask=mask if masked else None, fresh=fresh if lively else None
    )
    slow = np.zeros((len(block), ITEMS))
    for user, lines in enumerate(block):
        for item, kind, at, counts, now in lines:
            weight = WEIGHTS.get(KIND_NAMES[kind], 0.0) if kind < len(KIND_NAMES) else 0.0
            if days is not None:
                weight *= 0.5 ** (max(NOW - at * DAY, 0) / DAY / days)
            if lively and now:
                weight = 1.0
            if 0 <= item < ITEMS and (counts or not masked):
                slow[user, item] += weight
    assert found.toarray() == pytest.approx(slow, rel=1e-5)
    assert found.has_sorted_indices
    assert found.data.all()


@given(blocks)
def test_what_is_stored_is_each_item_once(block) -> None:
    """1.0 where any event of the mask is, and rows that scipy itself would make."""
    past, mask, _ = history_of(block)
    found = stored(past, items=ITEMS, mask=mask)
    slow = [sorted({line[0] for line in user if line[3] and 0 <= line[0] < ITEMS}) for user in block]
    assert [found[user].indices.tolist() for user in range(len(block))] == slow
    assert (found.data == 1).all()
    assert (found + found).nnz == found.nnz


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.integers(0, 9), st.integers(0, 30))
def test_draws_walk_the_pool(seeds: list[int], draws: int, size: int) -> None:
    """From the seed's start with its step, in whole numbers of any size; no item twice, the day changes the walk."""
    wide = 2**64

    def scatter(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) % wide
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % wide
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % wide
        return value ^ (value >> 31)

    pool = np.arange(100, 100 + size, dtype=np.int32)
    found, chance = explore_draws(pool, np.array(seeds, np.uint64), draws=draws, now=3 * DAY + 5)
    prime = max((p for p in range(2, size + 1) if all(p % d for d in range(2, p))), default=min(size, 1))
    assert found.shape == (len(seeds), min(draws, prime))
    assert chance == (found.shape[1] / prime if found.shape[1] else 0.0)
    for seed, row in zip(seeds, found.tolist(), strict=True):
        start = scatter(seed ^ scatter(3)) % max(prime, 1)
        step = scatter(start ^ seed) % max(prime - 1, 1) + 1
        assert row == [100 + (start + step * place) % prime for place in range(len(row))]
        assert len(set(row)) == len(row)
        assert int(mix(np.uint64(seed))) == scatter(seed)


lists = st.lists(st.lists(st.integers(0, 20), max_size=4), min_size=1, max_size=4)


@given(
    lists,
    st.integers(0, 5),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 2**20 - 1),
    st.integers(0, 15),
    st.booleans(),
)
def test_lists_are_composed_as_the_slow_way_does(own, n_crowd, n_explore, n_gestures, bought, guests, forward) -> None:
    """The user's own rows; then two of the crowd's for each explored one; gestures last or forward; what is hidden left out."""
    users = len(own)
    rows = [item for user in own for item in user]
    mine = Candidates.of(
        [str(user) for user in range(users)], np.concatenate([[0], np.cumsum([len(user) for user in own])]),
        item_row=rows, score=np.arange(len(rows)) + 0.5, source=np.full(len(rows), Source.SESSION),
        closeness=np.arange(len(rows)) * 2.0, trace_share=np.arange(len(rows)) / 10, evidence_row=rows[::-1],
        propensity=np.ones(len(rows)),
    )  # fmt: skip
    crowd, gestures = np.arange(30, 30 + n_crowd, dtype=np.int32), np.arange(90, 90 + n_gestures, dtype=np.int32)
    explore = np.arange(50, 50 + users * n_explore, dtype=np.int32).reshape(users, n_explore)
    hidden = np.array([[bought >> (5 * user + place) & 1 for place in range(n_crowd)] for user in range(users)], bool)
    guest = np.array([guests >> user & 1 for user in range(users)], bool)
    found = compose(
        mine.user_ids, mine, crowd=crowd, explore=explore, propensity=0.25, gestures=gestures, guest=guest,
        hidden=hidden.reshape(users, n_crowd), forward=forward,
    )  # fmt: skip
    turns = [(place // 2, "crowd", place) for place in range(n_crowd)]
    turns += [(place + 0.5, "explore", place) for place in range(n_explore)]
    turns += [(0.75 if forward else 9, "gesture", place) for place in range(n_gestures)]
    turns = sorted(turns, key=lambda turn: turn[0])
    for user in range(users):
        slow = [(row, Source.SESSION, score) for row, score in zip(
            own[user], mine.score[mine.offsets[user] : mine.offsets[user + 1]].tolist(), strict=True)]  # fmt: skip
        for order, (_, kind, place) in enumerate(turns):
            if kind == "crowd" and not hidden[user, place]:
                slow.append((30 + place, Source.CROWD, -order))
            elif kind == "explore" and not guest[user]:
                slow.append((int(explore[user, place]), Source.EXPLORE, -order))
            elif kind == "gesture":
                slow.append((90 + place, Source.GESTURE, -order))
        one = found.take(np.array([user]))
        assert list(zip(one.item_row.tolist(), one.source.tolist(), one.score.tolist(), strict=True)) == slow
        assert one.propensity[one.source == Source.EXPLORE].tolist() == [0.25] * int(
            (one.source == Source.EXPLORE).sum()
        )
        others = one.source != Source.SESSION
        assert np.isnan(one.closeness[others]).all()
        assert (one.evidence_row[others] == -1).all()
        assert one.closeness[~others].tolist() == mine.take(np.array([user])).closeness.tolist()


def test_what_is_taken_from_a_shelf_is_where_it_stands() -> None:
    """An item that stands nowhere is passed over."""
    past, *_ = history_of([[(2, 2, 1, True, False), (5, 2, 1, True, False)], []])
    place = np.full(ITEMS, -1, np.int32)
    place[5] = 1
    assert taken_from(place, 3, stored(past, items=ITEMS)).tolist() == [[False, True, False], [False] * 3]


def test_closeness_is_deviations_above_the_mean() -> None:
    """Where an item never deviates nobody can say; a guest's rows rest on the session."""
    close, source = np.empty(3, np.float32), np.empty(3, np.uint8)
    measure(
        np.array([0, 2, 3]), np.array([0, 1, 0], np.int32), np.array([3, 3, 1], np.float32),
        np.array([1, 1], np.float32), np.array([2, 0], np.float32), np.array([Tier.REGULAR, Tier.GUEST], np.uint8),
        close, source,
    )  # fmt: skip
    assert close[[0, 2]].tolist() == [1.0, 0.0]
    assert np.isnan(close[1])
    assert source.tolist() == [Source.PERSONAL, Source.PERSONAL, Source.SESSION]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=8), min_size=1, max_size=4),
    st.sets(st.integers(0, ITEMS - 1)),
    st.integers(0, 2),
    st.integers(0, 4),
)
def test_what_is_promoted_neither_leads_nor_crowds(lists, loud, lead, gap) -> None:
    """At each place stands the highest row that may, with its score; nothing is lost, and either kind keeps its order."""
    promoted = np.isin(np.arange(ITEMS), list(loud))
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in lists])]).astype(np.int64)
    items = np.array([item for rows in lists for item in rows], np.int32)
    scores = np.arange(len(items), 0, -1, dtype=np.float32)
    slow = []
    for start, rows in zip(offsets.tolist(), lists, strict=False):
        left, placed = list(zip(rows, scores[start:].tolist(), strict=False)), []
        while left:
            near = placed[-gap:] if gap else []
            fits = [pair for pair in left if not promoted[pair[0]]]
            if len(placed) >= lead and not any(promoted[item] for item, _ in near):
                fits = left
            placed.append(fits[0] if fits else left[0])
            left.remove(placed[-1])
        slow += placed
    space_out(offsets, promoted, lead, gap, items, scores)
    assert list(zip(items.tolist(), scores.tolist(), strict=True)) == slow
