"""Forgetting leaves nothing behind, in any file, and nobody can tell the forgotten from a guest."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corner import DAY, NOW, POLICY, SENSITIVE, USERS, catalogue_frame, customers_frame, events_frame, fitted, shopper

from boundary.ledger import open_ledger
from recsys import batch
from recsys.batch import Order, score_users
from recsys.batch_files import merge_parts
from recsys.bundle import Bundle
from recsys.engine import Engine, EngineError
from recsys.forgetting import Forgotten, Mark
from recsys.slates import Slate

Open = Callable[..., Engine]
WHO = shopper(3)


def traces(folder: Path, user_id: str) -> list[str]:
    """Files below a folder, hidden ones too, that hold the id in their bytes."""
    return [str(file) for file in folder.rglob("*") if file.is_file() and user_id.encode() in file.read_bytes()]


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def test_no_byte_of_the_shopper_is_left_anywhere(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After forgetting, no file of bundle, ledger, batches, manifests or logs holds the id."""
    caplog.set_level(logging.DEBUG)
    engine = opened()
    score_users(
        engine, [shopper(u) for u in range(6)], tmp_path / "batch", Order(5, "home", "browse", NOW, 4, True, True)
    )
    merge_parts(tmp_path / "batch" / "slates", tmp_path / "batch" / "slates.parquet")
    pl.read_parquet(tmp_path / "batch" / "slates.parquet").write_parquet(tmp_path / "mine.parquet")
    engine.shown(engine.score(WHO, now=NOW))
    engine.feedback(WHO, "item-01", "dismiss", now=NOW)
    assert traces(tmp_path, WHO)
    gone = engine.forget(WHO, now=NOW, slates=[tmp_path / "mine.parquet"])
    assert gone.events > 10
    assert gone.exposures > 5
    assert gone.slate_rows >= 10
    (tmp_path / "log.txt").write_text(caplog.text)
    assert traces(tmp_path, WHO) == []
    assert "forgot shopper ~" in caplog.text
    assert len(pl.read_parquet(tmp_path / "batch" / "slates.parquet")["user_id"].unique()) == 5


def test_the_next_slate_is_a_guests(opened: Open) -> None:
    """The forgotten, a stranger and nobody get one and the same slate, and nothing of it is stored."""
    engine = opened()
    assert engine.score(WHO, now=NOW).tier == "regular"
    engine.forget(WHO, now=NOW)
    slate, guest = engine.score(WHO, now=NOW), engine.score(None, now=NOW)
    assert (slate.tier, slate.items, slate.reserved) == ("guest", guest.items, False)
    assert engine.score("stranger", now=NOW).items == guest.items
    assert engine.ledger is not None
    assert engine.ledger.read(WHO, 0)[0] == []


def test_everybody_else_keeps_their_slate(opened: Open) -> None:
    """Nobody's slate but the forgotten one's changes."""
    engine = opened()
    others = [shopper(u) for u in range(USERS) if u != 3]
    before = [ids(engine.score(user, now=NOW, reserve=False)) for user in others]
    engine.forget(WHO, now=NOW)
    assert [ids(engine.score(user, now=NOW, reserve=False)) for user in others] == before
    again = opened()
    assert [ids(again.score(user, now=NOW, reserve=False)) for user in others] == before


def test_another_engine_follows_at_its_next_call(opened: Open) -> None:
    """An engine of another process on the same directory knows the shopper no more, without a reload."""
    here, there = opened(), opened()
    assert there.score(WHO, now=NOW).tier == "regular"
    here.forget(WHO, now=NOW)
    assert there.score(WHO, now=NOW).tier == "guest"
    assert WHO not in there.bundle.user_ids


def test_arrays_that_somebody_reads_are_not_written(home: Path) -> None:
    """A bundle opened before keeps every event it had mapped."""
    old = Bundle.load(home)
    held = {name: getattr(old.history, name) for name in ("offsets", "item_row", "at")}
    copies = {name: array.copy() for name, array in held.items()}
    Engine(Bundle.load(home), ledger=None).forget(WHO, now=NOW)
    for name, array in held.items():
        np.testing.assert_array_equal(array, copies[name])
    assert len(Bundle.load(home).history.at) < len(old.history.at)


def test_status_tells_the_deadline_and_nobody(opened: Open) -> None:
    """Status shows how many were forgotten and until when a fit is due; then that it is overdue."""
    engine = opened()
    assert engine.status(now=NOW)["forgotten"] == {"count": 0, "waiting": 0, "retrain_by": None, "overdue": False}
    told = engine.forget(WHO, now=NOW)
    assert told.retrain_by == NOW + 30 * DAY
    status = engine.status(now=NOW)
    assert status["ledger"] == {"up": True, "error": None}
    assert status["forgotten"]["waiting"] == 1
    assert "forgotten" not in status["facts"]  # told once
    assert status["forgotten"]["retrain_by"].startswith("2026-04-01T12:00")
    assert engine.status(now=NOW + 31 * DAY)["forgotten"]["overdue"]
    assert WHO not in json.dumps(status, default=str)


def test_the_next_fit_leaves_their_old_events_out(opened: Open, home: Path) -> None:
    """The events of before are turned away and counted, the deadline is met, what comes later counts."""
    opened().forget(WHO, now=NOW)
    marks = Forgotten.load(home)
    late = (
        events_frame()
        .filter(pl.col("user_id") == WHO)
        .head(2)
        .with_columns(at=pl.lit(NOW + DAY).cast(pl.Datetime("us", "UTC")))
    )
    again = fitted(pl.concat([events_frame(), late]), forgotten=marks, now=NOW + 2 * DAY)
    own = events_frame().filter(pl.col("user_id") == WHO)
    assert again.facts["events_turned_away"]["forgotten"] == len(own)
    row = again.user_row[WHO]
    assert int(again.history.offsets[row + 1] - again.history.offsets[row]) == 2
    assert again.customers_table is not None
    assert WHO not in again.customers_table["user_id"].to_list()
    again.save(home)
    assert opened().status(now=NOW)["forgotten"] == {"count": 1, "waiting": 0, "retrain_by": None, "overdue": False}


def test_who_is_forgotten_while_a_fit_runs_is_not_in_what_it_saves(opened: Open, home: Path, tmp_path: Path) -> None:
    """A bundle fitted before and saved after the forgetting does not bring the shopper back."""
    running = fitted()
    opened().forget(WHO, now=NOW)
    running.save(home)
    assert traces(home, WHO) == []
    assert opened().status(now=NOW)["forgotten"]["waiting"] == 1


def test_forgetting_twice_or_a_stranger_changes_nothing_more(opened: Open) -> None:
    """The call may be repeated; an id that nobody has is no error."""
    engine = opened()
    first = engine.forget(WHO, now=NOW)
    again = engine.forget(WHO, now=NOW + DAY)
    assert (again.events, again.exposures, again.retrain_by) == (0, 0, first.retrain_by)
    assert engine.forget("stranger", now=NOW).retrain_by is None
    assert engine.status(now=NOW)["forgotten"]["count"] == 2


@pytest.mark.parametrize("nobody", ["", "\ud800"])
def test_nobody_cannot_be_forgotten(opened: Open, nobody: str) -> None:
    """An empty id, or one that no table can hold, is refused in one line."""
    engine = opened()
    with pytest.raises(EngineError, match="`user_id` must"):
        engine.forget(nobody, now=NOW)


def test_a_shop_in_memory_forgets_too(bundle: Bundle) -> None:
    """Without a directory the engine's own memory changes, the bundle it was made of does not."""
    engine = Engine(bundle, ledger=open_ledger("sqlite://"))
    assert engine.forget(WHO, now=NOW).events > 0
    assert engine.score(WHO, now=NOW).tier == "guest"
    assert WHO not in engine.bundle.user_ids
    assert WHO in bundle.user_ids


def test_what_a_kill_left_behind_is_cleared(opened: Open, home: Path) -> None:
    """A draft of a writer that was killed, ids and all, is gone after the next change."""
    left = home.parent / f".{home.name}.draft-x"
    left.mkdir()
    (left / "users").write_text(WHO)
    opened().forget(WHO, now=NOW)
    assert not left.exists()


def test_many_forget_at_once_and_none_is_lost(opened: Open) -> None:
    """Engines that forget different shoppers at the same moment all succeed."""
    engines = [opened() for _ in range(3)]
    people = [shopper(u) for u in range(9)]
    workers = [
        threading.Thread(target=lambda e=e, part=part: [e.forget(user, now=NOW) for user in part])
        for e, part in zip(engines, (people[:3], people[3:6], people[6:]), strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    left = opened().bundle.user_ids
    assert not set(people) & set(left)
    assert sum(map(bool, left)) == USERS - len(people)


def test_a_call_under_way_brings_nothing_back(opened: Open) -> None:
    """A call that read before the forgetting stores nothing after it."""
    here, there = opened(), opened()
    ledger = there.ledger
    assert ledger is not None

    class Slow:
        """A ledger whose read ends after the shopper was forgotten elsewhere."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def read_block(self, user_ids: Sequence[str], since: int) -> Any:
            there.ledger = ledger
            here.forget(user_ids[0], now=NOW)
            return ledger.read_block(user_ids, since)

    there.ledger = Slow()  # type: ignore[assignment]
    slate = there.score(WHO, now=NOW)
    assert (slate.tier, slate.reserved) == ("guest", False)
    assert ledger.read(WHO, 0)[0] == []


def test_withdrawal_without_deletion_keeps_the_caps(opened: Open, home: Path) -> None:
    """Who opts out becomes a guest; what they were shown stays in the ledger and counts when they come back."""
    engine = opened()
    for _ in range(3):
        engine.shown(engine.score(WHO, now=NOW))
    assert engine.ledger is not None
    before = engine.ledger.read(WHO, 0)[0]
    people = customers_frame().with_columns(opted_out=pl.col("opted_out") | (pl.col("user_id") == WHO))
    fitted(customers=people).save(home)
    engine.reload(home)
    slate = engine.score(WHO, now=NOW)
    assert (slate.tier, slate.items) == ("guest", engine.score(None, now=NOW).items)
    assert engine.ledger.read(WHO, 0)[0] == before
    fitted().save(home)
    engine.reload(home)
    assert engine.score(WHO, now=NOW).withheld["item_cap"] > 0


def test_only_the_named_wait_for_a_fit() -> None:
    """Their deadline is so many days after the moment; one that stands, and the others' marks, stay as they are."""
    marks = Forgotten().adding("ann", Mark(5, None)).adding("bob", Mark(6, 9)).adding("cyd", Mark(7, None))
    due = marks.joined(Forgotten().adding("dan", Mark(8, None))).awaiting(["ann", "bob", "dan", "eve", ""], days=1)
    found = {name: due.find(name) for name in ("ann", "bob", "cyd", "dan", "eve")}
    assert found == {
        "ann": Mark(5, 5 + DAY),
        "bob": Mark(6, 9),
        "cyd": Mark(7, None),
        "dan": Mark(8, 8 + DAY),
        "eve": None,
    }
    assert (len(due), due.waiting) == (4, 3)


def test_marks_join_to_the_later_moment_and_the_earlier_deadline() -> None:
    """Lists made under different keys still find everybody."""
    one = Forgotten().adding("ann", Mark(1, 50)).adding("ann", Mark(9, 60))
    other = Forgotten().adding("bob", Mark(3, 70))
    both = one.joined(other)
    assert (len(both), both.find("ann"), both.find("bob")) == (2, Mark(9, 50), Mark(3, 70))
    assert (both.waiting, both.retrain_by) == (2, 50)
    assert len(one.newer_than(both)) == 0
    assert "ann" not in json.dumps(both.lists)


def test_an_engine_that_changes_follows_first(opened: Open) -> None:
    """News, another policy, or a copy saved elsewhere do not bring back who was forgotten by another engine."""
    here, there, third, fourth = opened(), opened(), opened(), opened()
    here.forget(WHO, now=NOW)
    there.update(events_frame(seed=6).head(3), now=NOW)
    third.reload(policy=there.policy.replace({"rules.profile_share.most": 0.3}))
    copy = Engine.load(fourth.save(fourth.bundle.path.with_name("copy")), ledger=None)  # type: ignore[union-attr]
    for engine in (there, third, copy):
        assert engine.score(WHO, now=NOW).tier == "guest"
        assert WHO not in engine.bundle.user_ids
        assert engine.status(now=NOW)["forgotten"]["count"] == 1


def test_who_is_forgotten_while_a_bundle_is_opened_is_followed(opened: Open, home: Path) -> None:
    """Between reading the shoppers and the first call somebody leaves: the first call knows."""
    read = Bundle.load(home)
    opened().forget(WHO, now=NOW)
    assert WHO in read.user_ids
    assert Engine(read, ledger=None).score(WHO, now=NOW).closed == ("unknown", "ledger_down")


def test_a_fitted_engine_belongs_to_where_it_was_saved(tmp_path: Path) -> None:
    """Forgetting after the first save reaches that directory."""
    engine = Engine(fitted(), ledger=None)
    engine.save(tmp_path / "shop")
    engine.forget(WHO, now=NOW)
    assert traces(tmp_path, WHO) == []
    assert WHO not in Engine.load(tmp_path / "shop", ledger=None).bundle.user_ids


def test_a_fit_that_knew_of_no_marks_waits_for_one_that_does(opened: Open, home: Path) -> None:
    """Saved over a bundle whose forgotten it learned from: their old events go, new ones stay, and a fit is due."""
    opened().forget(WHO, now=NOW)
    fitted(forgotten=Forgotten.load(home)).save(home)
    assert opened().status(now=NOW)["forgotten"]["waiting"] == 0
    back = events_frame().filter(pl.col("user_id") == WHO).head(2)
    back = back.with_columns(at=pl.lit(NOW + DAY).cast(pl.Datetime("us", "UTC")))
    fitted(pl.concat([events_frame(), back]), now=NOW + 2 * DAY).save(home)
    engine = opened()
    row = engine.bundle.user_row[WHO]
    assert int(np.diff(engine.bundle.history.offsets)[row]) == 2
    told = engine.status(now=NOW)["forgotten"]
    assert (told["count"], told["waiting"]) == (1, 1)
    assert told["retrain_by"] is not None
    assert engine.status(now=NOW)["facts"]["users"] == USERS


def test_an_engine_that_fits_anew_leaves_the_forgotten_out(opened: Open, home: Path, tmp_path: Path) -> None:
    """Given the bundle it follows, a fit from Python does what the command does."""
    opened().forget(WHO, now=NOW)
    tables = (events_frame(), catalogue_frame(), customers_frame())
    engine = Engine.fit(*tables, taxonomy=SENSITIVE, policy=POLICY, now=NOW, forgotten=home)
    assert WHO not in engine.bundle.user_ids
    engine.save(home)
    assert opened().status(now=NOW)["forgotten"] == {"count": 1, "waiting": 0, "retrain_by": None, "overdue": False}


def test_what_an_unsaved_update_learned_is_waited_for(opened: Open, tmp_path: Path) -> None:
    """A shopper who came with news that no disk holds yet has taught the items too."""
    engine = opened()
    news = events_frame().filter(pl.col("user_id") == WHO).with_columns(user_id=pl.lit("newcomer"))
    engine.update(news, now=NOW)
    told = engine.forget("newcomer", now=NOW)
    assert (told.events, told.retrain_by) == (len(news), NOW + 30 * DAY)
    engine.save(tmp_path / "elsewhere")
    assert Engine.load(tmp_path / "elsewhere", ledger=None).status(now=NOW)["forgotten"]["waiting"] == 1


def test_a_broken_file_of_slates_stops_nothing_else(opened: Open, tmp_path: Path) -> None:
    """Ledger and other files are done; the broken ones are named, and the call may be repeated."""
    engine = opened()
    order = Order(5, "home", "browse", NOW, 2, record=True)
    score_users(engine, [shopper(u) for u in range(6)], tmp_path / "batch", order)
    broken = tmp_path / "batch" / "slates" / "part-000000.parquet"
    broken.write_bytes(b"PAR1 no more")
    (tmp_path / "empty.parquet").touch()
    with pytest.raises(EngineError, match=r"empty\.parquet .*part-000000\.parquet .*forget again"):
        engine.forget(WHO, now=NOW, slates=[tmp_path / "empty.parquet", tmp_path / "gone.parquet"])
    assert engine.ledger is not None
    assert engine.ledger.read(WHO, 0)[0] == []
    assert traces(tmp_path, WHO) == []
    (engine.bundle.path / "copies.json").write_text("[")  # type: ignore[operator]
    with pytest.raises(EngineError, match=r"copies\.json is damaged"):
        engine.forget(WHO, now=NOW)


@pytest.mark.parametrize(
    ("moment", "record"), [("answered", False), ("answered", True), ("planned", True), ("recorded", True)]
)
def test_who_leaves_while_a_batch_writes_is_in_no_file(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, record: bool
) -> None:
    """Forgotten by another engine after the block was answered, planned or recorded: no part holds the shopper."""
    here, there = opened(), opened()
    name = {"answered": "slate_rows", "planned": "_recorded", "recorded": "_record"}[moment]
    real = getattr(batch, name)

    def leaving(*given: Any) -> Any:
        out = real(*given) if name != "_recorded" else None
        if WHO in there.bundle.user_ids:
            there.forget(WHO, now=NOW)
        return real(*given) if name == "_recorded" else out

    monkeypatch.setattr(batch, name, leaving)
    order = Order(5, "home", "browse", NOW, 3, withheld=True, record=record)
    told = score_users(here, [shopper(u) for u in range(6)], tmp_path / "batch", order, workers=1)
    assert WHO not in there.bundle.user_ids
    assert traces(tmp_path, WHO) == []
    assert told["shown"] == 25
