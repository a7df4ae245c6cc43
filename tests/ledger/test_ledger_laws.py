"""Whatever is done in whatever order, a store answers like a list in memory."""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from boundary.ledger import Entry, Ledger
from boundary.ledger.base import KINDS, SOURCES
from boundary.ledger.lines import LATEST, columns_of

USERS = ["ann", "Ann", "a\x00b", "{ann}", "ünï-☃-🦉", " "]
NAMES = st.sampled_from(["", "milk", "tea", "a\x00", "é", "e\u0301", "🦉", '"\\'])
TIMES = st.integers(0, 30) | st.just(LATEST - 1)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(KINDS),
    item_id=NAMES | st.text(max_size=8),
    surface=NAMES,
    at=TIMES,
    slate_id=st.sampled_from(["", "s1", "s2", "s\x003"]),
    position=st.integers(0, 2**31 - 1),
    source=st.sampled_from(SOURCES),
    confirmed=st.booleans(),
)
FEW = st.lists(ENTRIES, max_size=5)


class TwinMachine(RuleBasedStateMachine):
    """Drive a store and a list side by side.

    A reading is ``sure`` while its append must succeed, ``spent`` once it must fail. In between lies a user
    without a turn after somebody was forgotten or pruned: there a store may ask for a new reading.
    """

    ledger: Ledger

    @initialize()
    def start(self) -> None:
        for user in USERS:
            self.ledger.forget(user)
        self.kept: dict[str, list[Entry]] = {user: [] for user in USERS}
        self.readings: dict[str, tuple[int, str]] = {}

    def age(self, user: str, state: str) -> None:
        turn, old = self.readings.get(user, (0, "none"))
        if old not in {"none", "spent"}:
            self.readings[user] = turn, state

    @rule(user=st.sampled_from(USERS), since=st.integers(-5, 40))
    def read(self, user: str, since: int) -> None:
        entries, turn = self.ledger.read(user, since)
        assert entries == sorted((e for e in self.kept[user] if e.at >= since), key=lambda e: e.at)
        self.readings[user] = turn, "sure"

    @rule(user=st.sampled_from(USERS), entries=FEW, alone=st.booleans())
    def append(self, user: str, entries: list[Entry], alone: bool) -> None:
        turn, state = self.readings.get(user, (0, "spent"))
        if alone:
            done = self.ledger.append(user, entries, expected_turn=turn)
        else:
            offsets, turns = np.array([0, len(entries)]), np.array([turn])
            done = bool(self.ledger.append_block([user], offsets, columns_of(entries), expected_turns=turns)[0])
        if not entries:
            assert done
        elif state != "doubtful":
            assert done == (state == "sure")
        if done and entries:
            self.kept[user] += entries
            self.age(user, "spent")

    @rule(user=st.sampled_from(USERS), slate=st.sampled_from(["", "s1", "s2", "s\x003", "unknown"]))
    def confirm(self, user: str, slate: str) -> None:
        mine = [e.kind == "shown" and e.slate_id == slate for e in self.kept[user]]
        self.kept[user] = [
            e._replace(confirmed=True) if own else e for e, own in zip(self.kept[user], mine, strict=True)
        ]
        assert self.ledger.confirm(user, slate) == self.ledger.confirm(user, slate) == sum(mine)

    @rule(before=st.integers(-1, 32) | st.just(LATEST))
    def release(self, before: int) -> None:
        self.drop(self.ledger.release(before), lambda e: e.kind == "shown" and not e.confirmed and e.at < before)

    @rule(before=st.integers(-1, 32) | st.just(LATEST))
    def prune(self, before: int) -> None:
        self.drop(self.ledger.prune(before), lambda e: e.at < before)
        for user in USERS:
            if not self.kept[user]:
                self.age(user, "doubtful")

    def drop(self, told: int, gone: Any) -> None:
        assert told == sum(gone(e) for entries in self.kept.values() for e in entries)
        self.kept = {user: [e for e in entries if not gone(e)] for user, entries in self.kept.items()}

    @rule(user=st.sampled_from(USERS))
    def forget(self, user: str) -> None:
        assert self.ledger.forget(user) == len(self.kept[user])
        self.kept[user] = []
        for other in USERS:
            if not self.kept[other]:
                self.age(other, "doubtful")
        self.age(user, "spent")

    @invariant()
    def all_at_once_is_each_alone(self) -> None:
        if not hasattr(self, "kept"):
            return
        asked = [*USERS, USERS[0]]
        block = self.ledger.read_block(asked, 10)
        entries = block.entries.entries()
        alone = [self.ledger.read(user, 10) for user in asked]
        assert [entries[a:b] for a, b in zip(block.offsets, block.offsets[1:], strict=False)] == [e for e, _ in alone]
        assert block.turns.tolist() == [turn for _, turn in alone]


def test_a_store_answers_like_a_list(ledger: Ledger) -> None:
    """Read, append, confirm, release, prune and forget in any order agree with a list in memory."""
    ledger.prune(LATEST)
    machine = type("Machine", (TwinMachine,), {"ledger": ledger})
    health = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=health),
    )
