"""News: what was learned stays, what is new counts at once, and the same news twice changes nothing more."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from corner import DAY, ITEMS, MOMENT, NOW, USERS, catalogue_frame, customers_frame, events_frame, fitted, shopper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from boundary.history import History
from boundary.tables import TableError, read_table
from recsys.bundle import Bundle
from recsys.cli import app
from recsys.engine import Engine
from recsys.shop import latest
from recsys.updating import joined, update_bundle

OLD = fitted(events_frame().filter(pl.col("at") < MOMENT - dt.timedelta(days=30)))
LATE = events_frame().filter(pl.col("at") >= MOMENT - dt.timedelta(days=30))
HISTORY = ("offsets", "item_row", "kind", "at", "unit_price", "quantity")
AHEAD = st.integers(330_000, 2_500_000).map(lambda days: MOMENT + dt.timedelta(days=days))  # centuries
BASKET = ("item-01", "item-02", "item-03", "item-04")
laws = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def event(user: str, item: str, days: float = 5.0) -> dict[str, object]:
    at = MOMENT - dt.timedelta(days=days)
    return {"user_id": user, "item_id": item, "kind": "purchase", "at": at, "quantity": 1.0, "unit_price": 1.0}


def events_of(*lines: dict[str, object]) -> pl.DataFrame:
    return read_table(pl.DataFrame(list(lines)), "events").rows


def product(item: str, category: str) -> pl.DataFrame:
    first = catalogue_frame().head(1)
    return first.with_columns(
        item_id=pl.lit(item), title=pl.lit(item), category=pl.lit(category), promoted=pl.lit(value=False)
    )


def newcomer(user: str) -> pl.DataFrame:
    return customers_frame().head(1).with_columns(user_id=pl.lit(user))


def same_people(one: Bundle, other: Bundle) -> bool:
    return list(one.user_ids) == list(other.user_ids) and all(
        np.array_equal(getattr(one.history, name), getattr(other.history, name), equal_nan=name in HISTORY[4:])
        for name in HISTORY
    )


@given(cut=st.floats(4, 64), shuffled=st.integers(0, 99))
@laws
def test_old_events_and_new_ones_are_all_events(cut: float, shuffled: int) -> None:
    """What is known of shoppers, items and families afterwards is what a fit on everything knows."""
    all_of_them, now = events_frame(), NOW
    when = MOMENT - dt.timedelta(days=cut)
    before = fitted(all_of_them.filter(pl.col("at") < when))
    news = all_of_them.filter(pl.col("at") >= when).sample(fraction=1, shuffle=True, seed=shuffled)
    updated, whole = update_bundle(before, events=news, now=now), fitted()
    assert same_people(updated.bundle, whole)
    assert updated.events == len(news)
    assert updated.bundle.support.tolist() == whole.support.tolist()
    assert updated.bundle.crowd.tolist() == whole.crowd.tolist()
    assert updated.bundle.explore.tolist() == whole.explore.tolist()
    assert np.array_equal(updated.bundle.proxies.z, whole.proxies.z)


@given(part=st.floats(0, 1))
@laws
def test_the_same_news_twice_changes_nothing_more(part: float) -> None:
    """Nor does a part of it that was known."""
    once = update_bundle(OLD, events=LATE, now=NOW)
    again = update_bundle(once.bundle, events=LATE.sample(fraction=part, seed=1), now=NOW)
    assert (again.events, again.users, again.items) == (0, 0, 0)
    assert again.known_before == int(len(LATE) * part)
    assert same_people(once.bundle, again.bundle)
    assert once.bundle.model.known.item.tolist() == again.bundle.model.known.item.tolist()


def test_no_news_leaves_every_slate_as_it_is() -> None:
    same = update_bundle(OLD, now=NOW)
    assert same_people(OLD, same.bundle)
    one, other = (Engine(bundle, ledger=None).score_block(OLD.user_ids, n=8, now=NOW) for bundle in (OLD, same.bundle))
    assert one.candidates.item_row.tolist() == other.candidates.item_row.tolist()
    assert one.verdict.kept.tolist() == other.verdict.kept.tolist()


def test_new_events_speak_at_once_and_the_items_vectors_stay() -> None:
    engine = Engine(OLD, ledger=None)
    engine.update(LATE, now=NOW)
    assert engine.bundle.model.known.item.tolist() == OLD.model.known.item.tolist()
    assert engine.bundle.facts["trained_for"] == OLD.facts["fitted_for"]
    before, after = (
        one.score_block([shopper(3)], n=10, now=NOW, read_ledger=False) for one in (Engine(OLD, ledger=None), engine)
    )
    assert before.candidates.item_row.tolist() != after.candidates.item_row.tolist()
    bought = LATE.filter(pl.col("user_id") == shopper(3))["item_id"].to_list()
    names = [engine.gate.catalogue.item_ids[row] for row in after.candidates.item_row]
    assert not set(bought) & set(names)


def test_a_new_shopper_counts_at_once_and_a_stranger_without_consent_stays_one() -> None:
    lines = [
        event(user, f"item-{item:02}", days)
        for user in ("new", "silent")
        for item, days in ((3, 40), (13, 20), (23, 9), (33, 5))
    ]
    engine = Engine(OLD, ledger=None)
    told = engine.update(events_of(*lines), customers=newcomer("new"), now=NOW)
    assert told.users == 2
    answer = engine.score_block(["new", "silent"], n=10, now=NOW, read_ledger=False)
    sources = [set(answer.candidates.source[slice(*answer.candidates.offsets[u : u + 2])].tolist()) for u in (0, 1)]
    assert 0 in sources[0]
    assert 0 not in sources[1]


def test_who_opts_out_in_the_news_is_a_guest_from_then_on() -> None:
    engine = Engine(OLD, ledger=None)
    row = customers_frame().filter(pl.col("user_id") == shopper(3)).with_columns(opted_out=pl.lit(value=True))
    engine.update(customers=row, now=NOW)
    assert engine.score(shopper(3), now=NOW, reserve=False).closed[0] == "opted_out"
    assert len(engine.bundle.customers_table) == len(OLD.customers_table)


def test_a_new_item_is_suggested_from_its_takers_an_untaken_one_only_explored_and_a_sensitive_one_never() -> None:
    stock = pl.concat([product("fresh", "aisle-3"), product("alone", "aisle-3"), product("pills", "aisle-9")])
    takers = [u for u in range(USERS - 3) if u % 10 in {2, 3}]
    lines = [event(shopper(user), item) for user in takers[:-4] for item in ("fresh", "pills")]
    engine = Engine(OLD, ledger=None)
    told = engine.update(events_of(*lines), stock, now=NOW)
    assert told.items == 3
    catalogue = engine.gate.catalogue
    fresh, alone, pills = (catalogue.row_of[name] for name in ("fresh", "alone", "pills"))
    assert (fresh, alone, pills) == (ITEMS, ITEMS + 1, ITEMS + 2)
    answer = engine.score_block([shopper(user) for user in takers[-4:]], n=20, now=NOW, read_ledger=False)
    rows, source = answer.candidates.item_row, answer.candidates.source
    assert (rows[source == 0] == fresh).any()
    assert not (rows[source == 0] == alone).any()
    assert not (rows == pills).any()
    assert alone in engine.bundle.explore
    assert pills not in engine.bundle.explore


def test_a_changed_price_takes_the_place_of_the_old_one() -> None:
    dear = catalogue_frame().slice(4, 1).with_columns(price=pl.lit(99.0))
    made = update_bundle(OLD, catalogue=dear, now=NOW).bundle
    assert made.catalogue_table["price"][4] == 99.0
    assert made.catalogue_table["item_id"].to_list() == OLD.catalogue_table["item_id"].to_list()


def test_who_was_forgotten_does_not_come_back_by_old_news(tmp_path: Path) -> None:
    engine = Engine.load(fitted().save(tmp_path / "bundle"), ledger=None)
    engine.forget(shopper(3), now=NOW)
    engine.update(LATE, now=NOW)
    assert shopper(3) not in engine.bundle.user_ids
    back = events_of(event(shopper(3), "item-05", days=-1))
    engine.update(back, now=NOW + 2 * DAY)
    row = engine.bundle.user_row[shopper(3)]
    assert np.diff(engine.bundle.history.offsets)[row] == 1


def test_events_from_after_now_wait_and_bad_rows_are_refused() -> None:
    assert update_bundle(OLD, events=LATE, now=int(OLD.history.at.max())).events == 0
    engine = Engine(OLD, ledger=None)
    with pytest.raises(TableError, match="give `rejects`"):
        engine.update(LATE.with_columns(quantity=pl.lit(-1.0)))
    assert engine.bundle is OLD


@given(at=AHEAD, line=st.integers(0, len(LATE) - 1))
@laws
def test_one_event_with_a_wrong_date_changes_nothing(at: dt.datetime, line: int) -> None:
    """It is left out and counted, in the update and in the next one."""
    wrong = LATE[line].with_columns(at=pl.lit(at).cast(LATE.schema["at"]))
    before = fitted(early := events_frame().filter(pl.col("at") < LATE["at"].min()), now=latest(early))
    plain, news = (update_bundle(before, events=events) for events in (LATE, pl.concat([wrong, LATE])))
    again = update_bundle(news.bundle, events=wrong)
    for made in (news.bundle, again.bundle):
        assert made.facts["fitted_for"] == latest(LATE) == plain.bundle.facts["fitted_for"]
        assert same_people(made, plain.bundle)
        assert made.crowd.tolist() == plain.bundle.crowd.tolist() != []
        assert made.blindfold is not None
    assert (plain.ahead, news.ahead, again.ahead, news.events) == (0, 1, 1, len(LATE))


@given(at=AHEAD)
@laws
def test_a_bundle_of_the_future_comes_back_with_the_next_update(at: dt.datetime) -> None:
    """Also without news: to the last event that the clock has reached."""
    wrong = LATE[:1].with_columns(at=pl.lit(at).cast(LATE.schema["at"]))
    early = pl.concat([events_frame(), wrong])
    lost = fitted(early, now=latest(early))
    assert (len(lost.crowd), lost.blindfold) == (1, None)
    for events in (None, LATE):
        found = update_bundle(lost, events=events).bundle
        assert found.facts["fitted_for"] == latest(events_frame())
        assert len(found.crowd) > 1
        assert found.blindfold is not None


def test_the_command_keeps_events_of_the_future_aside(tmp_path: Path) -> None:
    """With the reason; where `--now` lies later still they are taken."""
    OLD.save(tmp_path / "bundle")
    (tmp_path / "today").mkdir()
    wrong = LATE[:1].with_columns(at=pl.datetime(2999, 1, 1, time_unit="us", time_zone="UTC"))
    pl.concat([LATE, wrong]).write_parquet(tmp_path / "today" / "events.parquet")
    asked = ["update", "--bundle", str(tmp_path / "bundle"), "--data", str(tmp_path / "today")]
    told = CliRunner().invoke(app, asked, catch_exceptions=False).output
    assert "1 bad rows kept aside" in told
    assert "1 at.ahead" in told
    assert pl.read_parquet(tmp_path / "today.rejects" / "events.parquet")["reason"].to_list() == ["at.ahead"]
    told = CliRunner().invoke(app, [*asked, "--now", "2026-02-01"], catch_exceptions=False).output
    late = LATE.filter(pl.col("at") > dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
    assert f"{len(late)} lie after now" in " ".join(told.split())
    told = CliRunner().invoke(app, [*asked, "--now", "3000-01-01"], catch_exceptions=False).output
    assert "1 new events" in told


def test_an_item_whose_buyers_come_a_day_later_is_suggested_like_one_that_comes_with_them() -> None:
    takers = [shopper(u) for u in range(USERS - 3) if u % 10 in {2, 3}]
    news, stock = events_of(*(event(user, "fresh") for user in takers)), product("fresh", "aisle-3")
    once = update_bundle(OLD, events=news, catalogue=stock, now=NOW).bundle
    first = update_bundle(OLD, catalogue=stock, now=NOW).bundle
    later = update_bundle(first, events=news, now=NOW).bundle
    assert not first.model.known.trained[ITEMS]
    assert later.model.known.trained.tolist() == once.model.known.trained.tolist()
    assert later.model.known.trained[ITEMS]
    assert later.model.known.item.tolist() == once.model.known.item.tolist()
    assert later.model.known.item[:ITEMS].tolist() == OLD.model.known.item.tolist()


parts = st.sets(st.sampled_from(BASKET))


@given(came=parts, known=parts, learned=parts, again=parts)
@laws
def test_an_item_that_comes_to_be_known_is_not_bought_twice(
    came: set[str], known: set[str], learned: set[str], again: set[str]
) -> None:
    """Four items of one basket at one price: some came, some were known; then all come, and some once more."""

    def taken(items: set[str], stock: set[str]) -> History:
        return History.from_frame(
            events_of(*(event("ann", item) for item in sorted(items)), event("ann", "item-00", 9)),
            ["ann"],
            {item: row for row, item in enumerate(BASKET) if item in stock},
        )

    before, stock = taken(came, known), known | learned
    both, known_before = joined(before, taken(set(BASKET), stock))
    assert sorted(both.item_row) == sorted(taken(set(BASKET), stock).item_row)
    assert known_before == len(before.at)
    same, known_before = joined(both, taken(again, stock))
    assert same.item_row.tolist() == both.item_row.tolist()
    assert known_before == len(again) + 1


def test_an_event_of_an_unknown_item_is_replaced_when_the_item_is_known() -> None:
    """Two of them in one basket are two, and stay two when the catalogue holds one."""
    user = shopper(3)
    row = OLD.user_row[user]

    def counts(bundle: Bundle) -> tuple[int, int]:
        items = bundle.history.take(np.array([row])).item_row
        return len(items), int((items < 0).sum())

    size, _ = counts(OLD)
    basket = events_of(event(user, "new-a"), event(user, "new-b"))
    one = update_bundle(OLD, events=basket[:1], now=NOW)
    two = update_bundle(one.bundle, events=basket, now=NOW)
    learned = update_bundle(two.bundle, events=basket, catalogue=product("new-b", "aisle-3"), now=NOW)
    again = update_bundle(learned.bundle, events=basket, now=NOW)
    assert [counts(news.bundle) for news in (one, two, learned, again)] == [
        (size + 1, 1), (size + 2, 2), (size + 2, 1), (size + 2, 1),
    ]  # fmt: skip
    assert [(news.events, news.known_before) for news in (one, two, learned, again)] == [(1, 0), (1, 1), (0, 2), (0, 2)]
    assert learned.bundle.model.known.trained[ITEMS]


def test_the_command_writes_the_bundle_and_says_what_it_took(tmp_path: Path) -> None:
    OLD.save(tmp_path / "bundle")
    (tmp_path / "today").mkdir()
    LATE.write_parquet(tmp_path / "today" / "events.parquet")
    asked = ["update", "--bundle", str(tmp_path / "bundle"), "--data", str(tmp_path / "today")]
    for told in (f"{len(LATE)} new events; 0 events were known", f"0 new events; {len(LATE)} events were known"):
        ran = CliRunner().invoke(app, asked, catch_exceptions=False)
        assert told in " ".join(ran.output.split()).replace(",", "").replace(" new items 0", "")
    assert same_people(Bundle.load(tmp_path / "bundle"), fitted())
    (tmp_path / "none").mkdir()
    with pytest.raises(TableError, match="holds none of events, catalogue, customers"):
        CliRunner().invoke(app, [*asked[:-1], str(tmp_path / "none")], catch_exceptions=False)


def test_two_commands_at_once_lose_no_news(tmp_path: Path) -> None:
    """Each begins with what the other left: the news of both are in the bundle."""
    OLD.save(tmp_path / "bundle")
    runs = []
    for name, part in (("one", LATE[::2]), ("other", LATE[1::2])):
        (tmp_path / name).mkdir()
        part.write_parquet(tmp_path / name / "events.parquet")
        asked = [
            sys.executable,
            "-c",
            "from recsys.cli import main; main()",
            "update",
            "--bundle",
            tmp_path / "bundle",
            "--data",
            tmp_path / name,
        ]
        runs.append(subprocess.Popen(asked, stdout=subprocess.DEVNULL))
    assert [run.wait(120) for run in runs] == [0, 0]
    assert same_people(Bundle.load(tmp_path / "bundle"), fitted())
