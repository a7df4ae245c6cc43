"""A batch gives everybody what one call would, once, whatever cuts it off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from corner import MINUTE, NOW, USERS, fitted, shopper
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.ledger import open_ledger
from boundary.words import INTENTS
from recsys import batch
from recsys.batch import Order, score_part, score_users, slate_rows, withheld_rows
from recsys.batch_files import BatchError, claim
from recsys.bundle import Bundle
from recsys.engine import Engine, EngineError
from recsys.people import note_copies

EVERYBODY = [shopper(u) for u in range(USERS)]


def order(**changes: object) -> Order:
    return Order(**{"n": 6, "surface": "home", "intent": "browse", "now": NOW, "block": 16, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize("surface", ["home", "email"])
def test_the_batch_is_each_call(engine: Engine, intent: str, surface: str) -> None:
    """For every shopper, with a ledger that holds something: same items, sources, scores, whys, counts."""
    for user in EVERYBODY[::5]:
        engine.shown(engine.score(user, now=NOW - MINUTE))
    answer = engine.score_block(EVERYBODY, n=6, surface=surface, intent=intent, now=NOW)
    rows = slate_rows(answer)
    for slate in engine.slates(answer, surface=surface, intent=intent):
        assert slate.user_id is not None
        alone = engine.score(slate.user_id, n=6, surface=surface, intent=intent, now=NOW, reserve=False)
        assert (alone.items, alone.withheld, alone.tier) == (slate.items, slate.withheld, slate.tier)
        mine = rows.filter(pl.col("user_id") == slate.user_id)
        assert mine["item_id"].to_list() == [s.item_id for s in alone.items]
        assert mine["why"].to_list() == [s.why for s in alone.items]
        assert mine["position"].to_list() == list(range(len(mine)))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.permutations([*range(0, USERS, 3), USERS + 1]), st.integers(1, 30))
def test_order_and_size_of_blocks_do_not_matter(people: list[int], block: int) -> None:
    """Cut and ordered in any way, strangers among them, everybody gets the same slate."""
    engine = _shared_engine()
    ids = [shopper(u) for u in people]
    parts = [engine.score_block(ids[i : i + block], n=5, now=NOW) for i in range(0, len(ids), block)]
    found = pl.concat([slate_rows(part) for part in parts]).sort("user_id", "position")
    whole = slate_rows(engine.score_block(sorted(ids), n=5, now=NOW)).sort("user_id", "position")
    assert found.equals(whole)


def test_parts_and_manifest_agree(engine: Engine, tmp_path: Path) -> None:
    """Every shopper stands in one part, in the given order; counts add up; withheld rows have their reasons."""
    told = score_users(engine, EVERYBODY, tmp_path, order(withheld=True))
    slates = pl.read_parquet(sorted((tmp_path / "slates").glob("*.parquet")))
    assert slates["user_id"].unique(maintain_order=True).to_list() == EVERYBODY
    assert (told["scored"], told["shown"], told["complete"]) == (USERS, len(slates), True)
    assert sum(told["sources"].values()) == len(slates)
    held = pl.read_parquet(sorted((tmp_path / "withheld").glob("*.parquet")))
    assert held["reasons"].list.len().min() >= 1
    answer = engine.score_block(EVERYBODY, n=6, now=NOW)
    assert len(withheld_rows(answer)) == len(held)


def test_a_batch_is_not_written_over(engine: Engine, tmp_path: Path) -> None:
    """Another batch, order, policy or list of shoppers needs another folder."""
    score_users(engine, EVERYBODY[:4], tmp_path, order())
    with pytest.raises(BatchError, match="already holds a batch"):
        score_users(engine, EVERYBODY[:4], tmp_path, order())
    for people, changed in ((EVERYBODY[:4], order(n=7)), (EVERYBODY[1:5], order()), (EVERYBODY[:4][::-1], order())):
        with pytest.raises(BatchError, match="another order, bundle, policy or list"):
            score_users(engine, people, tmp_path, changed, resume=True)


def test_recording_keeps_the_caps(engine: Engine, tmp_path: Path) -> None:
    """Batch after batch, nobody is sent an item more than three times a week; guests are noted nowhere."""
    for turn in range(5):
        score_users(engine, EVERYBODY, tmp_path / str(turn), order(record=True, now=NOW + turn * MINUTE))
    assert engine.ledger is not None
    held = engine.ledger.read_block(EVERYBODY, 0)
    owner = [u for u in range(USERS) for _ in range(int(held.offsets[u + 1] - held.offsets[u]))]
    times = pl.DataFrame({"user": owner, "item": held.entries.item_id}).group_by("user", "item").len()
    assert times["len"].max() == 3
    assert all(held.entries.confirmed)
    assert not set(owner) & {57, 58, 59}


@pytest.mark.parametrize("surface", ["email", "E-Mail"])
def test_messages_to_guests_are_noted_if_they_were_agreed_to(engine: Engine, tmp_path: Path, surface: str) -> None:
    """Shopper 58 agreed to e-mail alone: the crowd's e-mail, however it is written, is sent, noted, and its caps hold."""
    who = [shopper(58)]
    first = score_users(engine, who, tmp_path / "1", order(record=True, surface=surface))
    again = score_users(engine, who, tmp_path / "2", order(record=True, surface="email", now=NOW + MINUTE))
    assert (first["shown"] > 0, again["shown"], again["withheld"]["channel_gap"] > 0) == (True, 0, True)


def test_who_moved_on_meanwhile_loses_the_slate(bundle: Bundle, tmp_path: Path) -> None:
    """A shopper who was served between reading and recording is left out of the part and counted."""
    inner = open_ledger("sqlite://")

    class Busy:
        """A ledger in which shopper 1 is served by another caller just before the batch records."""

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def append_block(self, *given: object, **more: object) -> Any:
            Engine(bundle, ledger=inner).score(shopper(1), now=NOW)
            return inner.append_block(*given, **more)  # type: ignore[arg-type]

    told = score_users(Engine(bundle, ledger=Busy()), EVERYBODY[:4], tmp_path, order(record=True))  # type: ignore[arg-type]
    slates = pl.read_parquet(sorted((tmp_path / "slates").glob("*.parquet")))
    assert shopper(1) not in slates["user_id"].to_list()
    assert (told["moved_on"], slates["user_id"].n_unique()) == (1, 3)


def test_who_moved_on_once_is_scored_again(opened: Callable[..., Engine], tmp_path: Path, monkeypatch: Any) -> None:
    """A bystander who is forgotten between plan and ledger costs nobody the slate."""
    here, there, real = opened(), opened(), batch._record

    def record(*given: Any) -> Any:
        if shopper(9) in there.bundle.user_ids:
            there.forget(shopper(9), now=NOW)
        return real(*given)

    monkeypatch.setattr(batch, "_record", record)
    told = score_users(here, EVERYBODY[:8], tmp_path / "batch", order(record=True, block=4))
    slates = pl.read_parquet(sorted((tmp_path / "batch" / "slates").glob("*.parquet")))
    assert (told["moved_on"], slates["user_id"].unique(maintain_order=True).to_list()) == (0, EVERYBODY[:8])
    assert here.ledger is not None
    held = here.ledger.read_block(EVERYBODY[:8], 0)
    assert held.entries.item_id == slates["item_id"].to_list()


def test_a_batch_is_of_one_bundle_and_one_policy(opened: Callable[..., Engine], tmp_path: Path) -> None:
    """Neither a reload under way nor a resume under another fit mixes two; going back and on is possible."""
    engine, stopped = opened(), []

    def reload(done: int, of: int) -> None:
        if not stopped:
            stopped.append((done, of))
            engine.reload(policy=engine.policy.replace({"rules.profile_share.most": 0.2}))

    with pytest.raises(BatchError, match="begun under another bundle or policy"):
        score_users(engine, EVERYBODY, tmp_path, order(block=4), progress=reload, workers=1)
    other = Engine(fitted(), ledger=engine.ledger)
    with pytest.raises(BatchError, match="another order, bundle, policy or list"):
        score_users(other, EVERYBODY, tmp_path, order(block=4), resume=True)
    told = score_users(opened(), EVERYBODY, tmp_path, order(block=4), resume=True)
    assert (told["scored"], told["policy_digest"]) == (USERS, opened().policy.digest)


def test_a_batch_goes_on_after_somebody_left(opened: Callable[..., Engine], tmp_path: Path) -> None:
    """Forgotten between kill and resume: the others' blocks stay what they were, whether the list names them or not."""
    engine = opened()
    for number, still in enumerate(([], [shopper(1)])):
        gone, out = shopper(number), tmp_path / str(number)
        claim(out, {"order": order(block=4).to_dict(), "policy_digest": engine.policy.digest, "fit_id": engine.bundle.fit_id},
              EVERYBODY[number:8], forgotten=engine.bundle.forgotten, resume=False)  # fmt: skip
        note_copies(engine.bundle.path, out)  # type: ignore[arg-type]
        score_part(engine, out, 0, order(block=4))
        engine.forget(gone, now=NOW)
        people = sorted({*EVERYBODY[number + 1 : 8], *still})
        told = score_users(engine, people, out, order(block=4), resume=True)
        slates = pl.read_parquet(sorted((out / "slates").glob("*.parquet")))
        assert slates["user_id"].unique(maintain_order=True).to_list() == EVERYBODY[number + 1 : 8]
        assert told["users"] == 7 - number


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n": -1}, "`n` must be at least 0"),
        ({"intent": "buy"}, "`intent` must be one of"),
        ({"surface": ""}, "`surface` must be a word"),
        ({"now": 5}, "`now` must be a time"),
        ({"block": 0}, "`block` must be at least 1 but got 0"),
        ({"block": -5}, "`block` must be at least 1 but got -5"),
    ],
)
def test_an_order_that_cannot_be_done_claims_no_folder(changed: dict[str, Any], words: str) -> None:
    """It is refused before there is anything to write."""
    with pytest.raises((EngineError, BatchError), match=words):
        order(**changed)


KILLED = """
import os, signal, sys
from recsys import batch
from recsys.engine import Engine, EngineError
from recsys.people import note_copies
where, calls = sys.argv[4], [0]
real = {"before": batch._record, "after": batch._finish}

def record(*given):
    out = real["before"](*given)
    calls[0] += 1
    if where == "recorded" and calls[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return out

def finish(*given):
    if where == "planned" and calls[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    real["after"](*given)

batch._record, batch._finish = record, finish
engine = Engine.load(sys.argv[1], ledger=sys.argv[2])
people = [user for user in engine.bundle.user_ids if user]
batch.score_users(engine, people, sys.argv[3], batch.Order(6, "home", "browse", int(sys.argv[5]), 16, record=True), workers=1)
"""


@pytest.mark.parametrize("where", ["recorded", "planned"])
def test_a_killed_batch_goes_on_where_it_was(
    opened: Callable[..., Engine], home: Path, tmp_path: Path, where: str
) -> None:
    """Killed between recording and writing, then resumed: each shopper and each exposure stands once."""
    url, out = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "batch"
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), url, str(out), where, str(NOW)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL, run.stderr
    engine = opened()
    done = len(list((out / "counts").glob("*.json")))
    assert 0 < done < 4
    told = score_users(engine, EVERYBODY, out, order(record=True), resume=True)
    slates = pl.read_parquet(sorted((out / "slates").glob("*.parquet")))
    assert (told["scored"], told["moved_on"], slates["user_id"].n_unique()) == (USERS, 0, USERS)
    assert slates.select("user_id", "item_id").is_unique().all()
    assert engine.ledger is not None
    held = engine.ledger.read_block(EVERYBODY[:57], 0)
    sent = slates.filter(~pl.col("user_id").is_in(EVERYBODY[57:]))
    assert held.entries.item_id == sent["item_id"].to_list()
    assert not list((out / "plan").iterdir())


_engines: list[Engine] = []


def _shared_engine() -> Engine:
    from corner import fitted

    if not _engines:
        _engines.append(Engine(fitted(), ledger=open_ledger("sqlite://")))
    return _engines[0]
