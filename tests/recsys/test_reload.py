"""Callers never notice a new bundle or policy but by its answers: no call is dropped, none is of two worlds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corner import NOW, POLICY, catalogue_frame, events_frame, fitted, shopper

from recsys.bundle import Bundle, BundleError
from recsys.engine import Engine
from recsys.models import make_model


def test_calls_under_a_changing_engine_are_whole(opened: Callable[..., Engine], home: Path, tmp_path: Path) -> None:
    """Items are all of the bundle, and the digest of the policy, that one moment had in force."""
    renamed = catalogue_frame().with_columns(item_id="new-" + catalogue_frame()["item_id"])
    events = events_frame().with_columns(item_id="new-" + events_frame()["item_id"])
    gentle = POLICY.replace({"rules.profile_share.most": 0.3})
    other = fitted(events, catalogue=renamed, policy=gentle).save(tmp_path / "other")
    engine = opened()
    worlds = {POLICY.digest: "item-", gentle.digest: "new-"}
    wrong: list[object] = []
    done, counts = threading.Event(), [0, 0, 0]

    def call(number: int) -> None:
        while not done.is_set():
            try:
                slate = engine.score(shopper(number), now=NOW, reserve=number == 0)
                world = worlds[slate.policy_digest]
                if not (slate.items or number == 0) or not all(s.item_id.startswith(world) for s in slate.items):
                    wrong.append(slate)
            except Exception as error:  # noqa: BLE001
                wrong.append(error)
            counts[number] += 1

    callers = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for turn in range(6):
        engine.reload(other if turn % 2 == 0 else home)
    engine.reload(policy=POLICY)
    done.set()
    for caller in callers:
        caller.join()
    assert wrong == []
    assert min(counts) > 0
    assert engine.policy.digest == POLICY.digest


def test_a_bundle_replaced_while_it_is_read_is_read_again(home: Path, tmp_path: Path) -> None:
    """Readers and a writer on one directory: every read gives a whole bundle."""
    from recsys.bundle import Bundle

    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            try:
                bundle = Bundle.load(home)
                assert int(bundle.history.offsets[-1]) == len(bundle.history.at)
            except Exception as error:  # noqa: BLE001
                wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(8):
        Engine(Bundle.load(home), ledger=None).forget(shopper(number), now=NOW)
    done.set()
    reader.join()
    assert wrong == []


def test_a_policy_blinds_as_much_as_it_says(opened: Callable[..., Engine], home: Path, tmp_path: Path) -> None:
    """Given to an engine, reloaded or saved: what is erased is in proportion to the policy's strength."""
    engine = opened()

    def erased(bundle: Bundle) -> float:
        assert bundle.blindfold is not None
        return float(np.abs(bundle.blindfold.matrix - np.eye(len(bundle.blindfold.matrix))).sum())

    half = erased(engine.bundle)
    full = POLICY.replace({"blind.strength": 1.0})
    strict = opened(policy=full)
    assert erased(strict.bundle) == pytest.approx(2 * half, rel=1e-5)
    strict.save(tmp_path / "strict")
    again = Engine.load(tmp_path / "strict", ledger=None)
    assert erased(again.bundle) == pytest.approx(2 * half, rel=1e-5)
    again.reload(policy=POLICY)
    assert erased(again.bundle) == pytest.approx(half, rel=1e-5)
    np.testing.assert_allclose(again.bundle.moments.std, engine.bundle.moments.std, rtol=1e-4)
    engine.reload(policy=full)
    engine.reload(home)
    assert erased(engine.bundle) == pytest.approx(half)
    for name in ("update", "forget"):
        strict.update(events_frame(seed=9).head(2), now=NOW) if name == "update" else strict.forget(shopper(2), now=NOW)
        assert erased(strict.bundle) > 1.5 * half


def test_a_bundle_that_erases_nothing_cannot_be_blinded(tmp_path: Path) -> None:
    """A policy that blinds is refused in one line; a model without vectors has nothing to blind."""
    bare = POLICY.replace({"blind.strength": 0.0})
    with pytest.raises(BundleError, match=r"`blind.strength` 0.5 cannot be had of a bundle that was fitted at 0"):
        Engine(fitted(policy=bare), ledger=None, policy=POLICY)
    neighbours = fitted(policy=bare, model=make_model("item_item"))
    assert Engine(neighbours, ledger=None, policy=POLICY).policy == POLICY
