"""Ids go in and come out exactly; weights add up; what is unknown or bad is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.history import History
from recsys.evidence import evidence_of
from recsys.interactions import InteractionError, Interactions, Weighing

NOW = datetime(2024, 6, 1, tzinfo=UTC)
PLAIN = Weighing({"purchase": 1.0})
ids = st.text(min_size=1, max_size=4)
pairs = st.lists(
    st.tuples(ids, st.sampled_from(["a", "b", "ß", "0", "00", "nowhere"]), st.floats(0.0, 9.0)), max_size=30
)
CATALOGUE = ["ß", "00", "b", "0", "a", "never"]


def weights_of(rows: list[tuple[str, str, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "weight": pl.Float64}, orient="row")


def events_of(*rows: tuple[str, str, str, datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows),
        schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "at": pl.Datetime("us", "UTC")},
        orient="row",
    )


@given(rows=pairs)
@settings(max_examples=60, deadline=None)
def test_every_weight_lands_on_its_user_and_item(rows: list[tuple[str, str, float]]):
    """Read back through the ids, the matrix is the sum of the frame, and nothing else."""
    taken = Interactions.of_weights(weights_of(rows), item_id=CATALOGUE)
    wanted: dict[tuple[str, str], float] = {}
    for user, item, weight in rows:
        if item in CATALOGUE and weight > 0:
            wanted[user, item] = wanted.get((user, item), 0.0) + weight
    stored = taken.matrix.tocoo()
    read = {
        (user, item): float(weight)
        for user, item, weight in zip(taken.users_at(stored.row), taken.items_at(stored.col), stored.data, strict=True)
    }
    assert read == {pair: pytest.approx(weight, rel=1e-5) for pair, weight in wanted.items()}
    assert taken.user_id.to_list() == sorted({user for user, _ in wanted})
    assert taken.item_id.to_list() == CATALOGUE
    assert dict(taken.unknown.rows()) == (
        {"nowhere": lost} if (lost := sum(item == "nowhere" for _, item, _ in rows)) else {}
    )


@given(rows=pairs, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_order_of_events_does_not_matter(rows: list[tuple[str, str, float]], seed: int):
    """Shuffled rows give the same maps and, but for rounding, the same matrix."""
    frame = weights_of(rows)
    first = Interactions.of_weights(frame, item_id=CATALOGUE)
    second = Interactions.of_weights(frame.sample(fraction=1, shuffle=True, seed=seed), item_id=CATALOGUE)
    assert first.user_id.equals(second.user_id)
    assert first.matrix.toarray() == pytest.approx(second.matrix.toarray(), rel=1e-5)


@given(asked=st.lists(st.sampled_from(["al", "bo", "stranger", ""]), max_size=8))
@settings(max_examples=30, deadline=None)
def test_unknown_users_are_reported_and_get_empty_evidence(asked: list[str]):
    """One row an id, in order; a stranger's row is empty, never somebody else's."""
    taken = Interactions.of_weights(weights_of([("al", "a", 2.0), ("bo", "b", 3.0)]), item_id=CATALOGUE)
    rows, known = taken.user_rows(asked)
    assert taken.users_at(rows) == [user for user in asked if user in {"al", "bo"}]
    evidence, also_known = taken.evidence(asked)
    assert known.tolist() == also_known.tolist() == [user in {"al", "bo"} for user in asked]
    assert evidence.shape == (len(asked), len(CATALOGUE))
    assert evidence.sum(axis=1).ravel().tolist()[0] == [{"al": 2, "bo": 3}.get(user, 0) for user in asked]


def test_kinds_weigh_as_told_and_others_do_not_count():
    """A view may count a little, a dismissal not at all."""
    events = events_of(("al", "a", "purchase", NOW), ("al", "a", "view", NOW), ("al", "b", "dismiss", NOW))
    taken = Interactions.of(events, item_id=CATALOGUE, weighing=Weighing({"purchase": 1.0, "view": 0.25}), now=NOW)
    assert dict(zip(taken.items_at(taken.matrix.indices), taken.matrix.data, strict=True)) == {"a": 1.25}


def test_an_event_one_half_life_old_counts_half():
    """Both ways of weighing, over a frame and over flat arrays, agree."""
    weighing = Weighing({"purchase": 1.0}, half_life=timedelta(days=10))
    events = events_of(("al", "a", "purchase", NOW - timedelta(days=10)), ("al", "b", "purchase", NOW))
    taken = Interactions.of(events, item_id=CATALOGUE, weighing=weighing, now=NOW)
    of_item = dict(zip(taken.items_at(taken.matrix.indices), taken.matrix.data.tolist(), strict=True))
    assert of_item == {"a": 0.5, "b": 1.0}
    whole = events.with_columns(quantity=pl.lit(1.0), unit_price=pl.lit(1.0))
    history = History.from_frame(whole, ["al"], {name: row for row, name in enumerate(CATALOGUE)})
    now = int(NOW.timestamp()) * 1_000_000
    flat = evidence_of(history, weighing, items=len(CATALOGUE), now=now)
    assert dict(zip(taken.items_at(flat.indices), flat.data.tolist(), strict=True)) == of_item
    assert Weighing.from_dict(weighing.to_dict()) == weighing


def test_events_after_now_are_refused():
    """The future is not evidence; at ``now`` itself is."""
    Interactions.of(events_of(("al", "a", "purchase", NOW)), item_id=CATALOGUE, weighing=PLAIN, now=NOW)
    late = events_of(("al", "a", "purchase", NOW + timedelta(microseconds=1)))
    with pytest.raises(InteractionError, match="`at` must not be after now"):
        Interactions.of(late, item_id=CATALOGUE, weighing=PLAIN, now=NOW)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), None])
def test_bad_weights_are_refused(bad: float | None):
    """Negative, not a number, infinite, missing."""
    with pytest.raises(InteractionError, match="weight must be finite and at least 0"):
        Interactions.of_weights(weights_of([("al", "a", bad)]), item_id=CATALOGUE)  # type: ignore[list-item]


@pytest.mark.parametrize("row", [-1, 6])
def test_rows_outside_the_map_are_refused(row: int):
    """Row -1 is not the last item."""
    taken = Interactions.of_weights(weights_of([("al", "a", 1.0)]), item_id=CATALOGUE)
    with pytest.raises(InteractionError, match=f"`item_row` must be from 0 to 5 but got {row}"):
        taken.items_at([row])


def test_an_id_twice_in_the_catalogue_is_refused():
    """Two rows for one id would make one of them a ghost."""
    with pytest.raises(InteractionError, match="`item_id` must name each id once but has 'a' twice"):
        Interactions.of_weights(weights_of([]), item_id=["a", "b", "a"])


@pytest.mark.parametrize(
    ("kinds", "half_life", "told"),
    [
        ({}, None, "`kinds` must name at least one event kind"),
        ({"view": 0.0}, None, "weight of 'view' must be positive and finite but got 0.0"),
        ({"view": float("nan")}, None, "weight of 'view' must be positive and finite but got nan"),
        ({"view": 1.0}, timedelta(0), "`half_life` must be positive"),
    ],
)
def test_a_weighing_out_of_bounds_is_named(kinds: dict[str, float], half_life: timedelta | None, told: str):
    """Setting, bound and value stand in the error."""
    with pytest.raises(InteractionError, match=told):
        Weighing(kinds, half_life)


def test_a_session_names_what_it_does_not_know():
    """Known items make one row, the others are listed; bad weights are refused."""
    taken = Interactions.of_weights(weights_of([]), item_id=CATALOGUE)
    row, unknown = taken.session({"b": 2.0, "rum": 1.0, "a": 0.0})
    assert row.toarray().tolist() == [[0, 0, 2, 0, 0, 0]]
    assert unknown == ["rum"]
    with pytest.raises(InteractionError, match="weight must be finite"):
        taken.session({"b": float("nan")})


def test_saved_and_loaded_are_the_same(tmp_path: Path):
    """Maps, matrix and what was unknown come back; no pickle is needed."""
    taken = Interactions.of_weights(
        weights_of([("al", "a", 2.0), ("bo", "ß", 3.0), ("bo", "nowhere", 1.0)]), item_id=CATALOGUE
    )
    taken.save(tmp_path / "interactions")
    again = Interactions.load(tmp_path / "interactions")
    assert again.user_id.equals(taken.user_id)
    assert again.item_id.equals(taken.item_id)
    assert again.unknown.equals(taken.unknown)
    assert (again.matrix != taken.matrix).nnz == 0


def test_a_matrix_that_does_not_fit_its_maps_is_refused():
    """Shape, order and weights are checked where the parts are joined."""
    taken = Interactions.of_weights(weights_of([("al", "a", 1.0), ("bo", "a", 1.0)]), item_id=CATALOGUE)
    with pytest.raises(InteractionError, match="matrix must be"):
        Interactions(taken.user_id, taken.item_id[:-1], taken.matrix, taken.unknown)
    with pytest.raises(InteractionError, match="`user_id` must be sorted"):
        Interactions(taken.user_id.reverse(), taken.item_id, taken.matrix, taken.unknown)
    with pytest.raises(InteractionError, match="weight must be finite"):
        Interactions(taken.user_id, taken.item_id, -taken.matrix, taken.unknown)
