"""A slate made earlier is judged again when it is served: it can lose items, never gain one, never change hands."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from corner import DAY, NOW, USERS, catalogue_frame, shopper

from recsys.batch import slate_rows
from recsys.engine import Engine, EngineError
from recsys.slates import Slate, Suggestion

WHO = shopper(3)
AISLE = dict(zip(catalogue_frame()["item_id"], catalogue_frame()["category"], strict=True))


def kept_rows(engine: Engine) -> pl.DataFrame:
    """The slates of all shoppers as a batch writes them."""
    return slate_rows(engine.score_block([shopper(u) for u in range(USERS)], now=NOW))


def test_nothing_changed_so_every_slate_is_served_whole(engine: Engine) -> None:
    """Served at once, each shopper gets the batch's slate: items, scores, sources and whys."""
    rows = kept_rows(engine)
    for user in (shopper(u) for u in range(0, USERS, 4)):
        mine = rows.filter(pl.col("user_id") == user)
        slate = engine.serve(user, mine.sample(fraction=1.0, shuffle=True, seed=1), now=NOW, reserve=False)
        assert [s.item_id for s in slate.items] == mine["item_id"].to_list()
        assert [s.why for s in slate.items] == mine["why"].to_list()
        personal = (mine["source"] == "personal").to_list()
        assert [s.score for s, own in zip(slate.items, personal, strict=True) if own] == pytest.approx(
            mine.filter(pl.col("source") == "personal")["score"].to_list(), rel=1e-4
        )


def test_caps_count_what_was_shown_since(engine: Engine) -> None:
    """The fourth serving within the week shows none of the items any more."""
    slate = engine.score(WHO, now=NOW, reserve=False)
    for _ in range(3):
        again = engine.serve(WHO, slate, now=NOW)
        assert again.reserved
        assert engine.shown(again)
    last = engine.serve(WHO, slate, now=NOW)
    assert last.items == ()
    assert last.withheld["item_cap"] == len(slate.items)


def test_served_slates_only_lose_items(engine: Engine) -> None:
    """Whatever the moment, what is served is a part of what was kept, in its order."""
    slate = engine.score(WHO, now=NOW, reserve=False)
    kept = [s.item_id for s in slate.items]
    for days in (-30, 0, 2, 90):
        served = [s.item_id for s in engine.serve(WHO, slate, now=NOW + days * DAY, reserve=False).items]
        tier = engine.serve(WHO, slate, now=NOW + days * DAY, reserve=False).tier
        assert tier == "guest" or served == [item for item in kept if item in served]


def test_a_slate_never_changes_hands(engine: Engine) -> None:
    """Rows of somebody else, of two shoppers, or of nobody known are refused in one line."""
    rows = kept_rows(engine)
    theirs = rows.filter(pl.col("user_id") == shopper(4))
    mine = rows.filter(pl.col("user_id") == WHO)
    for wrong in (
        theirs,
        pl.concat([mine, theirs]),
        mine.drop("user_id"),
        mine.with_columns(user_id=pl.lit(None, pl.String)),
    ):
        with pytest.raises(EngineError, match="slate of `user_id` alone"):
            engine.serve(WHO, wrong, now=NOW)
    with pytest.raises(EngineError, match="slate of `user_id` alone"):
        engine.serve(WHO, engine.score(shopper(4), now=NOW, reserve=False), now=NOW)


def test_a_guest_by_now_gets_the_guests_slate(engine: Engine) -> None:
    """After forgetting, a slate kept elsewhere tells nothing any more."""
    slate = engine.score(WHO, now=NOW, reserve=False)
    engine.forget(WHO, now=NOW)
    assert engine.serve(WHO, slate, now=NOW).items == engine.score(None, now=NOW).items


def test_a_source_that_is_not_true_is_withheld(engine: Engine) -> None:
    """Rows that claim to be the crowd's, drawn, a gift, of a session or of nothing known are not believed."""
    product, sensitive = "item-12", "item-09"
    shelf = {engine.bundle.catalogue.item_ids[row] for row in engine.bundle.crowd}
    off_shelf = (
        next(item for item, aisle in AISLE.items() if item not in shelf and aisle != "aisle-9")
        if len(shelf) < 70
        else None
    )
    claims = [
        (product, "gesture"),
        (product, "session"),
        (product, "magic"),
        (sensitive, "crowd"),
        (sensitive, "personal"),
        ("?", "crowd"),
    ]
    claims += [(off_shelf, "crowd")] if off_shelf else []
    for item, source in claims:
        kept = replace(_slate_of(engine), items=(Suggestion(item, 1.0, source, ""),))
        served = engine.serve(WHO, kept, now=NOW, reserve=False)
        assert served.items == (), (item, source)
        assert served.withheld


def test_an_item_kept_twice_is_served_once(engine: Engine) -> None:
    """A repeated row is no second slot."""
    kept = _slate_of(engine)
    served = engine.serve(WHO, replace(kept, items=(*kept.items, *kept.items)), n=50, now=NOW, reserve=False)
    assert [s.item_id for s in served.items] == [s.item_id for s in kept.items]


def _slate_of(engine: Engine) -> Slate:
    return engine.score(WHO, now=NOW, reserve=False)
