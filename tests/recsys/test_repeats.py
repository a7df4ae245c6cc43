"""What somebody takes again: only what they bought, recent before old, habitual before rare; twins and laws."""

from __future__ import annotations

import datetime as dt

import corner
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from boundary.ledger import open_ledger
from recsys.engine import Engine
from recsys.repeats import PULL, repeats, usual

DAY = dt.timedelta(days=1)


@st.composite
def pasts(draw: st.DrawFn) -> tuple[csr_matrix, csr_matrix, np.ndarray]:
    """What 4 users bought of 9 items, the evidence they left, and a mask of items."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    bought = random.random((4, 9)) < draw(st.sampled_from([0.0, 0.3, 0.8]))
    evidence = random.integers(0, 4, (4, 9)).astype(np.float32)
    return csr_matrix(bought.astype(np.float32)), csr_matrix(evidence), random.random(9) < 0.7


@given(past=pasts(), k=st.integers(1, 10), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_loop_over_users_ranks_alike(past: tuple[csr_matrix, csr_matrix, np.ndarray], k: int, seed: int):
    """Bought, with evidence, within: by evidence plus pull times habit, then by row; and a block is its users."""
    bought, evidence, within = past
    habit = np.random.default_rng(seed).integers(0, 3, 9).astype(np.float32)
    found = repeats(bought, evidence, k, within, habit=habit)
    for user in range(4):
        worth = {
            item: evidence[user, item] + PULL * habit[item]
            for item in range(9)
            if bought[user, item] and evidence[user, item] and within[item]
        }
        best = sorted(worth, key=lambda item: (-worth[item], item))[:k]
        part = slice(found.offsets[user], found.offsets[user + 1])
        assert found.item_row[part].tolist() == best
        assert found.score[part] == pytest.approx([worth[item] for item in best])
        alone = repeats(bought[[user]], evidence[[user]], k, within, habit=habit)
        assert alone.item_row.tolist() == best


@given(past=pasts(), level=st.floats(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_habit_that_all_items_share_moves_nothing(past: tuple[csr_matrix, csr_matrix, np.ndarray], level: float):
    """Only differences between items pull."""
    bought, evidence, within = past
    even = repeats(bought, evidence, 9, within, habit=np.full(9, level, np.float32))
    assert even.item_row.tolist() == repeats(bought, evidence, 9, within).item_row.tolist()


@given(past=pasts())
@settings(max_examples=30, deadline=None)
def test_what_is_usual_is_the_mean_of_who_took_it(past: tuple[csr_matrix, csr_matrix, np.ndarray]):
    """And nobody's item has no habit."""
    counts = past[1].toarray()
    plain = [column[column > 0].mean() if (column > 0).any() else 0.0 for column in counts.T]
    assert usual(csr_matrix(counts)) == pytest.approx(plain)


def test_find_lists_the_recent_before_the_old_and_the_habitual_before_the_rare():
    """Of two things bought as often, the one bought later leads; of two bought alike, the one others come back for."""
    shop = corner.events_frame()
    new = dt.timedelta(days=2)
    rows = [("item-10", new), ("item-11", new + 20 * DAY), ("item-12", new), ("item-14", new)]
    others = [(corner.shopper(user), "item-14", new + day * DAY) for user in range(1, 20) for day in range(9)]
    others += [(corner.shopper(user), item, new) for user in range(20, 24) for item, _ in rows]
    mine = [(corner.shopper(0), item, ago) for item, ago in rows]
    lines = pl.DataFrame(
        [(user, item, corner.MOMENT - ago) for user, item, ago in mine + others],
        schema={"user_id": pl.String, "item_id": pl.String, "at": shop.schema["at"]}, orient="row",
    )  # fmt: skip
    theirs = shop.filter((pl.col("user_id") != corner.shopper(0)) & ~pl.col("item_id").is_in([i for i, _ in rows]))
    added = lines.with_columns(
        kind=pl.lit("purchase").cast(shop.schema["kind"]), quantity=pl.lit(1.0), unit_price=pl.lit(1.0)
    ).select(shop.columns)
    engine = Engine(corner.fitted(events=pl.concat([theirs, added])), ledger=open_ledger("sqlite://"))
    assert engine.bundle.usual[14] > engine.bundle.usual[12] > 0
    slate = engine.score(corner.shopper(0), n=4, intent="find", now=corner.NOW, reserve=False)
    order = [item.item_id for item in slate.items if item.source == "personal"]
    assert order[0] == "item-14"
    assert order.index("item-10") < order.index("item-11")
