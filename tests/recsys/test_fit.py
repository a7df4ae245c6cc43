"""An engine is fitted from a shop's tables in one call, and is then the engine that is loaded."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from corner import NOW, POLICY, SENSITIVE, catalogue_frame, customers_frame, events_frame, shopper

from boundary.errors import TableError
from boundary.ledger import open_ledger
from recsys.engine import Engine
from recsys.interactions import Weighing
from recsys.shop import Choice, latest

CHOICE = Choice("als", {"factors": 6, "iterations": 4, "regularization": 1.0}, Weighing({"purchase": 1.0}), 3)


def fitted(events: pl.DataFrame | Path, *, now: int | None = NOW, **more: object) -> Engine:
    """Fit the small shop."""
    return Engine.fit(
        events, catalogue_frame(), customers_frame(), taxonomy=SENSITIVE, policy=POLICY, choice=CHOICE, now=now,
        ledger=open_ledger("sqlite://"), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_what_is_fitted_saved_and_loaded_suggests_the_same(tmp_path: Path):
    """Also where the events come from a file."""
    events_frame().write_parquet(tmp_path / "events.parquet")
    engine = fitted(tmp_path / "events.parquet")
    engine.save(tmp_path / "bundle")
    loaded = Engine.load(tmp_path / "bundle", ledger="sqlite://")
    one, other = (which.score(shopper(3), now=NOW, reserve=False) for which in (engine, loaded))
    assert one.items == other.items
    assert "personal" in {item.source for item in one.items}
    assert engine.bundle.facts["fitted_for"] == NOW


def test_bad_rows_are_kept_or_refused_but_never_dropped(tmp_path: Path):
    """Without a folder for them the fit does not begin; with one they lie there with their reason."""
    bad = pl.concat([events_frame(), events_frame().head(2).with_columns(quantity=pl.lit(-1.0))])
    with pytest.raises(TableError, match=r"events: 2 bad rows, most of them quantity.* give `rejects`"):
        fitted(bad)
    fitted(bad, rejects=tmp_path)
    assert len(pl.read_parquet(tmp_path / "events.parquet")) == 2


def test_an_event_that_lies_ahead_of_the_clock_is_left_out_and_told(tmp_path: Path):
    """The shop is that of the other events; the row is counted, or lies in the folder with its reason."""
    wrong = events_frame().head(1).with_columns(at=pl.datetime(2999, 1, 1, time_unit="us", time_zone="UTC"))
    events = pl.concat([events_frame(), wrong])
    plain, left = fitted(events_frame(), now=None).bundle, fitted(events, now=None).bundle
    kept = fitted(events, now=None, rejects=tmp_path).bundle
    assert pl.read_parquet(tmp_path / "events.parquet")["reason"].to_list() == ["at.ahead"]
    for bundle in (left, kept):
        assert bundle.facts["fitted_for"] == plain.facts["fitted_for"] == latest(events_frame())
        assert bundle.crowd.tolist() == plain.crowd.tolist() != []
        assert bundle.blindfold is not None
    assert left.facts["events_turned_away"]["ahead"] == 1
    assert kept.facts == plain.facts


def test_a_missing_column_is_named():
    """One line with the mend."""
    with pytest.raises(TableError, match="column 'item_id' is missing"):
        fitted(events_frame().drop("item_id"))
