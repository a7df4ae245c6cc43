"""One call, whatever it is asked: a defined answer, never a wrong person's list, never a traceback."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corner import (
    DAY,
    ITEMS,
    MOMENT,
    NOW,
    POLICY,
    USERS,
    catalogue_frame,
    customers_frame,
    events_frame,
    fitted,
    shopper,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.ledger import open_ledger
from boundary.rules import RULES
from boundary.words import INTENTS
from recsys.bundle import Bundle
from recsys.engine import Engine, EngineError
from recsys.slates import Slate

WHO = shopper(3)
AISLE = dict(zip(catalogue_frame()["item_id"], catalogue_frame()["category"], strict=True))


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


# --- who ---


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.one_of(st.none(), st.text(), st.text(alphabet=st.characters(categories=["Cs"]), max_size=3)))
def test_any_id_that_nobody_has_is_a_guest(user_id: str | None) -> None:
    """Unicode of any kind, lone surrogates and the empty id get the guest's slate, and nothing is stored."""
    engine = _shared_engine()
    slate = engine.score(user_id, now=NOW)
    assert (slate.tier, slate.items, slate.reserved) == ("guest", engine.score(None, now=NOW).items, False)
    assert slate.user_id == user_id


def test_ids_of_any_script_are_known_again() -> None:
    """A shopper may be called anything that a table holds, and has a profile, a ledger and a farewell."""
    names = {shopper(0): "Ωmega\u202e🦆 \x00\n'; DROP", shopper(1): " "}
    engine = Engine(
        fitted(_renamed(events_frame(), names), _renamed(customers_frame(), names)), ledger=open_ledger("sqlite://")
    )
    for name in names.values():
        slate = engine.score(name, now=NOW)
        assert (slate.tier, slate.reserved, engine.shown(slate)) == ("regular", True, True)
        assert engine.forget(name, now=NOW).exposures == len(slate.items)
        assert engine.score(name, now=NOW).tier == "guest"


def test_a_whole_number_is_the_id_that_the_tables_write_out() -> None:
    """Shops number their shoppers and items: 7 is "7" in every call, as it is in the tables."""
    names, numbers = {shopper(3): "7"}, pl.col("item_id").replace({"item-11": "11", "item-21": "21"})
    engine = Engine(
        fitted(
            _renamed(events_frame(), names).with_columns(numbers),
            _renamed(customers_frame(), names),
            catalogue_frame().with_columns(numbers),
        ),
        ledger=open_ledger("sqlite://"),
    )
    asked = {"within": ["21", 11, np.int32(21)], "now": NOW, "reserve": False}
    same = engine.score("7", session=["11"], **asked)  # type: ignore[arg-type]
    for who in (7, np.int64(7)):
        slate = engine.score(who, session=[11], **asked)  # type: ignore[arg-type]
        assert (slate.user_id, slate.tier, slate.items) == ("7", "regular", same.items)
    assert ids(slate)
    assert set(ids(slate)) <= {"11", "21"}
    assert ids(engine.serve(7, slate, now=NOW, reserve=False)) == ids(slate)
    assert engine.score_block([7], now=NOW).candidates.user_ids == ["7"]
    engine.feedback(7, 21, "dismiss", now=NOW)
    told = engine.explain(7, 21, now=NOW)
    assert (told.user_id, told.item_id) == ("7", "21")
    assert "dismissed" in told.reasons
    assert engine.forget(7, now=NOW).exposures == 1
    assert engine.score(7, now=NOW).tier == "guest"


def test_slots_may_be_counted_in_numpy(engine: Engine) -> None:
    """A whole number of any kind is one."""
    few = engine.score(WHO, n=np.int64(4), now=NOW, reserve=False)  # type: ignore[arg-type]
    assert few.items == engine.score(WHO, n=4, now=NOW, reserve=False).items


@pytest.mark.parametrize("given", [7.0, True, b"7", ["7"], float("nan")])
def test_an_id_that_is_none_is_told_in_one_line(engine: Engine, given: object) -> None:
    """Neither text nor a whole number: the line names the argument; nobody's list is given instead."""
    calls = (
        lambda: engine.score(given, now=NOW),  # type: ignore[arg-type]
        lambda: engine.feedback(given, None, "too_often", now=NOW),  # type: ignore[arg-type]
        lambda: engine.explain(given, "item-21", now=NOW),  # type: ignore[arg-type]
        lambda: engine.forget(given, now=NOW),  # type: ignore[arg-type]
    )
    for call in calls:
        with pytest.raises(EngineError, match="`user_id` must be text or a whole number"):
            call()
    for name in ("session", "within"):
        with pytest.raises(EngineError, match=f"`{name}` must be text or a whole number"):
            engine.score(WHO, **{name: [given], "now": NOW})  # type: ignore[arg-type]


@pytest.mark.parametrize("user", [shopper(57), shopper(58), shopper(59)])
def test_who_did_not_agree_is_a_guest(engine: Engine, user: str) -> None:
    """Opted out, without consent, or without a row: the guest's slate, whole."""
    slate = engine.score(user, now=NOW)
    assert (slate.tier, slate.items, slate.reserved) == ("guest", engine.score(None, now=NOW).items, False)


# --- how many, of what ---


@pytest.mark.parametrize("n", [0, 1, 10, ITEMS, 10_000])
def test_any_number_of_slots_is_an_upper_bound(engine: Engine, n: int) -> None:
    """No slot is filled with padding or twice; none at all is an empty slate that reserves nothing."""
    slate = engine.score(WHO, n=n, now=NOW)
    assert len(slate.items) <= min(n, ITEMS)
    assert len(set(ids(slate))) == len(slate.items)
    assert slate.reserved == bool(slate.items)
    assert (n == 0) == (not slate.items)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n": -1}, "`n` must be at least 0"),
        ({"n": 2.5}, "`n` must be a whole number"),
        ({"n": True}, "`n` must be a whole number"),
        ({"intent": "haggle"}, "`intent` must be one of"),
        ({"surface": ""}, "`surface` must be a word"),
        ({"session": "item-01"}, "`session` must be a list"),
        ({"session": None}, "`session` must be a list"),
        ({"session": b"item-01"}, "`session` must be a list"),
        ({"within": 7}, "`within` must be a list"),
        ({"now": dt.datetime(2026, 3, 2)}, "`now` must have a time zone"),  # noqa: DTZ001 (that is the point)
        ({"now": -1}, "`now` must be a time"),
        ({"now": 1.5}, "`now` must be a time"),
        ({"now": 10**18}, "`now` must be a time"),
        ({"now": NOW // 1_000_000}, "`now` must be a time"),  # seconds
        ({"now": NOW // 1_000}, "`now` must be a time"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(engine: Engine, asked: dict[str, object], told: str) -> None:
    """The line names the argument, what was given and the mend."""
    with pytest.raises(EngineError, match=told):
        engine.score(WHO, **{"now": NOW, **asked})  # type: ignore[arg-type]


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize("user", [WHO, None])
def test_within_is_kept_to(engine: Engine, intent: str, user: str | None) -> None:
    """A category or a list is the whole choice, but for gestures; an unknown one leaves nothing."""

    def products(within: object) -> set[str]:
        slate = engine.score(user, n=20, intent=intent, within=within, now=NOW, reserve=False)  # type: ignore[arg-type]
        return {item.item_id for item in slate.items if item.source != "gesture"}

    assert {AISLE[item] for item in products("aisle-4")} <= {"aisle-4"}
    assert products(["item-12", "item-13", "?"]) <= {"item-12", "item-13"}
    assert products("no such aisle") == products([]) == products("") == set()


def test_find_repeats_and_the_others_discover(engine: Engine) -> None:
    """``find`` lists what the shopper bought; no other intent shows them that as their own."""
    bundle = engine.bundle
    row = bundle.user_row[WHO]
    part = slice(int(bundle.history.offsets[row]), int(bundle.history.offsets[row + 1]))
    bought = {bundle.catalogue.item_ids[item] for item in bundle.history.item_row[part]}
    for intent in INTENTS:
        own = {
            s.item_id for s in engine.score(WHO, intent=intent, now=NOW, reserve=False).items if s.source == "personal"
        }
        assert own
        assert own <= bought if intent == "find" else not own & bought


def test_deals_are_shown_to_who_asks_for_them_only(engine: Engine) -> None:
    """With ``deal`` promoted items lead; otherwise at most one in ten is, and never the first."""
    promoted = set(catalogue_frame().filter("promoted")["item_id"])
    deal = ids(engine.score(WHO, intent="deal", now=NOW, reserve=False))
    browse = ids(engine.score(WHO, now=NOW, reserve=False))
    assert deal[0] in promoted
    assert browse[0] not in promoted
    assert len(set(browse) & promoted) <= 1


def test_no_sensitive_item_on_any_way(engine: Engine) -> None:
    """Not for any shopper, intent or session."""
    for user in (shopper(u) for u in range(0, USERS, 7)):
        for intent in INTENTS:
            slate = engine.score(user, n=60, intent=intent, session=["item-09", "item-19"], now=NOW, reserve=False)
            assert not {item for item in ids(slate) if AISLE[item] == "aisle-9"}
            assert "Thing 09" not in " ".join(s.why for s in slate.items)


# --- sessions ---


def test_a_session_speaks_for_a_guest_and_is_not_stored(engine: Engine) -> None:
    """What is looked at now leads to items of its kind, says why, and leaves no entry anywhere."""
    looked = ["item-11", "item-21", "item-31"]
    slate = engine.score(None, session=looked, now=NOW)
    assert {s.source for s in slate.items} & {"session"}
    assert any(s.why.startswith("because you looked at") for s in slate.items if s.source == "session")
    assert not slate.reserved
    assert not engine.shown(slate)
    assert ids(engine.score(None, now=NOW)) != ids(slate)
    assert engine.ledger is not None
    assert len(engine.ledger.read_block([shopper(u) for u in range(USERS)], 0).entries.at) == 0


@pytest.mark.parametrize("session", [["?"], ["", "\ud800"], ["item-09"], [f"item-{ITEMS - 1}"], []])
def test_a_session_of_nothing_that_may_speak_changes_nothing(engine: Engine, session: list[str]) -> None:
    """Unknown ids, sensitive items and gestures in a session leave the guest's slate as it is."""
    assert engine.score(None, session=session, now=NOW).items == engine.score(None, now=NOW).items


@pytest.mark.parametrize("who", [57, 58, 59])
def test_what_may_not_be_known_is_not_told_in_a_why(engine: Engine, who: int) -> None:
    """Who opted out, agreed to nothing or has no row looks at what they bought: they are told what a stranger is."""
    bought = events_frame().filter(pl.col("user_id") == shopper(who))["item_id"].unique().sort().to_list()
    for item in bought:
        own = engine.score(shopper(who), n=10, session=[item], now=NOW)
        assert own.items == engine.score(None, n=10, session=[item], now=NOW).items
        assert not any("bought" in one.why for one in own.items)
    block = engine.score_block([shopper(who)], now=NOW)
    assert not block.spoke.any()


def test_what_is_on_the_screen_is_no_repeat(engine: Engine) -> None:
    """A list of what was bought holds neither what is only looked at, nor what is looked at and was bought."""
    kept = ids(engine.score(WHO, n=6, intent="find", now=NOW, reserve=False))
    bought = set(events_frame().filter(pl.col("user_id") == WHO)["item_id"])
    strange = next(item for item in AISLE if item not in bought)
    for item in (strange, kept[0]):
        slate = engine.score(WHO, n=6, intent="find", session=[item], now=NOW, reserve=False)
        assert item not in {one.item_id for one in slate.items if one.source == "personal"}
        assert {one.item_id for one in slate.items if one.source == "personal"} <= bought
    assert kept[0] in bought


# --- gestures ---


def with_gestures(**strings: object) -> Engine:
    """The shop with a tip on the shelf of thanks and, where ``strings`` are given, a second one that has them."""
    stock = catalogue_frame()
    gift = stock.filter(pl.col("kind") == "gesture").with_columns(category=pl.lit("thanks"), item_id=pl.lit("tip"))
    tied = [gift.with_columns(pl.lit("tied").alias("item_id"), **strings)] if strings else []
    return Engine(fitted(catalogue=pl.concat([stock.filter(pl.col("kind") == "product"), gift, *tied])),
                  ledger=open_ledger("sqlite://"))  # fmt: skip


def test_a_gesture_comes_forward_one_day_in_five() -> None:
    """A thank-you with no strings, for everybody on the same day, and never on the same day of the week alone."""
    engine, came = with_gestures(), []
    for day in range(35):
        now = NOW + day * DAY
        slates = [engine.score(who, n=10, now=now, reserve=False) for who in (WHO, None)]
        thanked = ["tip" in ids(slate) for slate in slates]
        assert thanked[0] == thanked[1]
        came.append(thanked[0])
    assert [day for day, one in enumerate(came) if one] == list(range(came.index(True), 35, 5))


def test_a_gesture_with_strings_has_no_turn() -> None:
    """Among two, the one that must be earned is never the candidate; alone it is, and is withheld."""
    engine = with_gestures(conditions=pl.lit("buy two"))
    for day in range(10):
        slate = engine.score(WHO, n=100, now=NOW + day * DAY, reserve=False)
        assert [one.item_id for one in slate.items if one.source == "gesture"] == ["tip"]
        assert "conditional_gift" not in slate.withheld


def test_explaining_a_gesture_judges_it_as_one() -> None:
    """It is no product of the profile, whatever day it is, and its own rule says what is wrong with it."""
    engine = with_gestures(tracker=pl.lit(value=True))
    for day in range(5):
        for item, reasons in (("tip", set()), ("tied", {"conditional_gift"})):
            told = engine.explain(WHO, item, n=100, now=NOW + day * DAY)
            assert (told.source, set(told.reasons)) == ("gesture", reasons)


# --- time ---


def test_a_clock_that_goes_backwards_opens_no_cap(engine: Engine) -> None:
    """What was shown at a later moment counts at an earlier one, so nothing is shown more often than its cap."""
    times: dict[str, int] = {}
    for step in range(12):
        slate = engine.score(WHO, n=5, now=NOW - step * 3_600_000_000)
        engine.shown(slate)
        for item in ids(slate):
            times[item] = times.get(item, 0) + 1
    assert max(times.values()) <= 3


def test_a_time_may_be_given_in_any_zone(engine: Engine) -> None:
    """The same moment, the same slate."""
    east = MOMENT.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert ids(engine.score(WHO, now=east, reserve=False)) == ids(engine.score(WHO, now=NOW, reserve=False))


def test_events_that_went_stale_speak_no_more(engine: Engine) -> None:
    """A year later nothing of the profile is left in the slate."""
    slate = engine.score(WHO, now=NOW + 365 * DAY, reserve=False)
    assert slate.items
    assert "personal" not in {item.source for item in slate.items}


def test_unconfirmed_slates_are_released(engine: Engine) -> None:
    """Reserved and never confirmed, a slate counts for half an hour; confirmed, for the week."""
    first = engine.score(WHO, now=NOW)
    for _ in range(2):
        engine.score(WHO, now=NOW)
    busy = engine.score(WHO, now=NOW, reserve=False)
    later = engine.score(WHO, now=NOW + 31 * 60_000_000, reserve=False)
    assert not set(ids(busy)) & set(ids(first))
    assert ids(later) == ids(first)


# --- shops at their limits ---


def test_an_empty_catalogue_has_nothing_to_show(tmp_path: Path) -> None:
    """Fitting, saving, loading and scoring work; every slate is empty."""
    bundle = fitted(events_frame().clear(), customers_frame(), catalogue_frame().clear())
    engine = Engine.load(bundle.save(tmp_path / "bundle"), ledger="sqlite://")
    for user in (WHO, None):
        assert engine.score(user, session=["item-01"], within="aisle-1", now=NOW).items == ()
    assert engine.forget(WHO, now=NOW).events == 0


def test_a_shop_without_events_knows_nobody(tmp_path: Path) -> None:
    """There is no shelf yet; a slate holds gestures and drawn items at most."""
    engine = Engine.load(fitted(events_frame().clear()).save(tmp_path / "bundle"), ledger="sqlite://")
    for user in (WHO, None):
        assert {s.source for s in engine.score(user, now=NOW).items} <= {"gesture", "explore"}


def test_a_shopper_with_fifty_thousand_events() -> None:
    """Their slate is made like any other."""
    rows = 50_000
    many = events_frame().filter(pl.col("user_id") == WHO).sample(rows, with_replacement=True, seed=1)
    many = many.with_columns(at=pl.col("at") - pl.duration(seconds=pl.int_range(1, rows + 1)))
    engine = Engine(fitted(pl.concat([events_frame(), many])), ledger=open_ledger("sqlite://"))
    assert len(engine.bundle.history.at) > rows
    assert engine.score(WHO, now=NOW).items
    assert engine.forget(WHO, now=NOW).events > rows


def test_a_model_of_nan_serves_the_crowd_shelf(bundle: Bundle) -> None:
    """Factors that are no numbers never reach a slate."""
    broken = replace(bundle.model.state, item=np.full_like(bundle.model.state.item, np.nan))  # type: ignore[attr-defined]
    engine = Engine(replace(bundle, model=replace(bundle.model, state=broken)), ledger=open_ledger("sqlite://"))
    slate = engine.score(WHO, now=NOW)
    assert slate.items
    assert "personal" not in {item.source for item in slate.items}


def test_scores_that_are_nan_are_bad(bundle: Bundle) -> None:
    """One item without numbers is never shown as the shopper's own; moments that are NaN withhold all of those."""
    moments = bundle.moments._replace(mean=np.full_like(bundle.moments.mean, np.nan))
    engine = Engine(replace(bundle, moments=moments), ledger=open_ledger("sqlite://"))
    slate = engine.score(WHO, now=NOW)
    assert "personal" not in {item.source for item in slate.items}
    assert slate.withheld["too_close"] > 0


class Raising:
    """A recommender whose every answer is an exception."""

    name = "raising"

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"secret of {WHO}")


def test_a_recommender_that_raises_is_the_crowd_shelf_with_a_guards_reason(bundle: Bundle) -> None:
    """The call is answered, and the failure is counted."""
    engine = Engine(replace(bundle, model=Raising()), ledger=open_ledger("sqlite://"))  # type: ignore[arg-type]
    slate = engine.score(WHO, now=NOW)
    assert slate.items
    assert {item.source for item in slate.items} <= {"crowd", "explore", "gesture"}
    assert slate.withheld["bad_score"] > 0
    kept = Engine(bundle, ledger=open_ledger("sqlite://")).score(WHO, now=NOW)
    assert "personal" not in {item.source for item in engine.serve(WHO, kept, now=NOW).items}


def test_a_rule_that_breaks_withholds(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a broken rule should have judged are withheld with ``rule_error``."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RULES["opted_out"], "__call__", broken)
    slate = Engine(bundle, ledger=open_ledger("sqlite://")).score(WHO, now=NOW)
    assert {item.source for item in slate.items} == {"crowd"}
    assert slate.withheld["rule_error"] > 0


def test_explain_answers_for_any_item_and_anybody(engine: Engine) -> None:
    """Also for a guest and for what nothing would propose; reasons and ``shown`` agree."""
    for user in (WHO, shopper(57), "stranger", ""):
        for item in ("item-34", "item-09", f"item-{ITEMS - 1}"):
            told = engine.explain(user, item, now=NOW)
            assert told.shown == (not told.reasons)
            assert told.to_dict()["rules"]
    assert "sensitive_category" in engine.explain(WHO, "item-09", now=NOW).reasons
    with pytest.raises(EngineError, match="not in the catalogue"):
        engine.explain(WHO, "?", now=NOW)


def test_a_slate_is_plain_words_and_numbers(engine: Engine) -> None:
    """``to_dict`` is ready for JSON and names no family in its whys."""
    import json

    slate = engine.score(WHO, surface="product", now=NOW)
    told = json.loads(json.dumps(slate.to_dict()))
    assert told["policy_digest"] == POLICY.digest
    assert all("health" not in item["why"] for item in told["items"])


def _renamed(frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return frame.with_columns(pl.col("user_id").replace(names))


_engines: list[Engine] = []


def _shared_engine() -> Engine:
    if not _engines:
        _engines.append(Engine(fitted(), ledger=open_ledger("sqlite://")))
    return _engines[0]
