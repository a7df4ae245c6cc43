"""What both stores promise, one plain sentence a test."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boundary.ledger import Entry, Ledger, LedgerInvalid, LedgerUnavailable, open_ledger
from boundary.ledger.lines import LATEST, columns_of

MILK = Entry("shown", "milk", "home", 1_700_000_000_000_000, "s1", 0, "crowd", False)
LONE = "a\ud800b"


def test_what_is_appended_is_read(ledger: Ledger, user: str) -> None:
    """Everything said of an entry comes back, oldest first."""
    later = MILK._replace(at=MILK.at + 1, item_id="tea", position=3, source="explore", confirmed=True)
    word = Entry("too_often", "", "home", MILK.at - 1, "", 0, "", confirmed=True)
    _, turn = ledger.read(user, 0)
    assert ledger.append(user, [later, MILK, word], expected_turn=turn)
    entries, moved = ledger.read(user, 0)
    assert entries == [word, MILK, later]
    assert moved > turn


def test_since_includes_its_moment(ledger: Ledger, user: str) -> None:
    """An entry at `since` is read, one a microsecond older is not."""
    ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])
    assert ledger.read(user, MILK.at)[0] == [MILK]
    assert ledger.read(user, MILK.at + 1)[0] == []


def test_a_stale_turn_writes_nothing(ledger: Ledger, user: str) -> None:
    """Of two callers who read the same turn, the second is refused."""
    _, turn = ledger.read(user, 0)
    assert ledger.append(user, [MILK], expected_turn=turn)
    assert not ledger.append(user, [MILK._replace(item_id="tea")], expected_turn=turn)
    assert ledger.read(user, 0)[0] == [MILK]


@pytest.mark.parametrize("turn", [-1, 0, 2**53, 2**70])
def test_a_turn_that_never_was_is_stale(ledger: Ledger, user: str, turn: int) -> None:
    """No number made up by the caller passes for a turn."""
    assert not ledger.append(user, [MILK], expected_turn=turn)


def test_nothing_to_append_moves_nothing(ledger: Ledger, user: str) -> None:
    """An empty append is granted and leaves the turn alone."""
    _, turn = ledger.read(user, 0)
    assert ledger.append(user, [], expected_turn=turn - 1)
    assert ledger.read(user, 0) == ([], turn)


def test_one_of_many_racing_threads_wins(ledger: Ledger, user: str) -> None:
    """Sixteen threads append under one turn: one is granted, and its entry alone is kept."""
    _, turn = ledger.read(user, 0)
    granted: list[str] = []
    gate = threading.Barrier(16)

    def rush(name: str) -> None:
        gate.wait()
        if ledger.append(user, [MILK._replace(item_id=name)], expected_turn=turn):
            granted.append(name)

    threads = [threading.Thread(target=rush, args=(str(number),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.item_id for entry in ledger.read(user, 0)[0]] == granted
    assert len(granted) == 1


def test_confirming_twice_is_confirming_once(ledger: Ledger, user: str) -> None:
    """Only the slate's exposures are confirmed, however often; feedback on the slate is not an exposure."""
    other = MILK._replace(slate_id="s2")
    word = MILK._replace(kind="dismiss", source="")
    ledger.append(user, [MILK, other, word], expected_turn=ledger.read(user, 0)[1])
    before = ledger.read(user, 0)[1]
    assert [ledger.confirm(user, "s1"), ledger.confirm(user, "s1"), ledger.confirm(user, "s3")] == [1, 1, 0]
    entries, turn = ledger.read(user, 0)
    assert [entry.confirmed for entry in entries] == [True, False, False]
    assert turn == before


def test_release_drops_what_nobody_confirmed(ledger: Ledger, user: str) -> None:
    """A reserved exposure older than the moment goes; confirmed ones, newer ones and feedback stay."""
    ledger.release(LATEST)
    old = MILK._replace(at=100)
    sure = MILK._replace(at=100, slate_id="s2")
    edge = MILK._replace(at=200)
    word = MILK._replace(at=100, kind="dismiss", slate_id="")
    ledger.append(user, [old, sure, edge, word], expected_turn=ledger.read(user, 0)[1])
    ledger.confirm(user, "s2")
    assert ledger.release(200) == 1
    assert ledger.read(user, 0)[0] == [sure._replace(confirmed=True), word, edge]
    assert ledger.confirm(user, "s1") == 1  # of the edge; the released one is gone for good


def test_prune_drops_what_is_older(ledger: Ledger, user: str) -> None:
    """Everything before the moment goes, whatever it is; what lies at the moment stays."""
    ledger.prune(LATEST)
    kept = MILK._replace(at=200)
    ledger.append(user, [MILK._replace(at=199, confirmed=True), kept], expected_turn=ledger.read(user, 0)[1])
    assert ledger.prune(200) == 1
    assert ledger.read(user, 0)[0] == [kept]


@pytest.mark.parametrize("known", [True, False])
def test_nobody_writes_on_what_was_forgotten(ledger: Ledger, user: str, known: bool) -> None:
    """An append that read before `forget` is refused, also for a user of whom nothing was kept."""
    if known:
        ledger.append(user, [MILK], expected_turn=ledger.read(user, 0)[1])
    _, turn = ledger.read(user, 0)
    assert ledger.forget(user) == known
    assert ledger.forget(user) == 0
    assert not ledger.append(user, [MILK], expected_turn=turn)
    entries, moved = ledger.read(user, 0)
    assert (entries, moved > turn) == ([], True)
    assert ledger.append(user, [MILK], expected_turn=moved)


def test_pruning_a_user_away_makes_their_turn_stale(ledger: Ledger, user: str) -> None:
    """A turn never comes back, neither when a user leaves the ledger nor when they return."""
    seen = []
    for _ in range(3):
        _, turn = ledger.read(user, 0)
        ledger.append(user, [MILK], expected_turn=turn)
        seen += [turn, ledger.read(user, 0)[1]]
        ledger.prune(LATEST)
    assert seen == sorted(set(seen))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(0, 3), max_size=8), stale=st.sets(st.integers(0, 7)))
def test_a_block_is_each_alone(ledger: Ledger, user: str, counts: list[int], stale: set[int]) -> None:
    """Appending for many users grants, refuses and keeps what appending for each alone would."""
    sides = [[f"{user}-{side}-{place}" for place in range(len(counts))] for side in "ab"]
    for name in sides[0] + sides[1]:
        ledger.forget(name)
    entries = [[MILK._replace(item_id=str(place))] * count for place, count in enumerate(counts)]
    turns = [
        [turn - (place in stale) for place, turn in enumerate(ledger.read_block(names, 0).turns)] for names in sides
    ]
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    columns = columns_of([entry for part in entries for entry in part])
    block = ledger.append_block(sides[0], offsets, columns, expected_turns=np.array(turns[0], np.int64))
    alone = [
        ledger.append(name, part, expected_turn=int(turn))
        for name, part, turn in zip(sides[1], entries, turns[1], strict=True)
    ]
    assert block.tolist() == alone
    assert [ledger.read(name, 0)[0] for name in sides[0]] == [ledger.read(name, 0)[0] for name in sides[1]]


def test_a_user_twice_in_a_block_is_written_once(ledger: Ledger, user: str) -> None:
    """The second part of the same user finds the turn moved by the first."""
    turns = ledger.read_block([user, user], 0).turns
    columns = columns_of([MILK, MILK._replace(item_id="tea")])
    assert ledger.append_block([user, user], np.array([0, 1, 2]), columns, expected_turns=turns).tolist() == [
        True,
        False,
    ]
    assert ledger.read(user, 0)[0] == [MILK]


def test_a_large_block_is_read_and_written(ledger: Ledger, user: str) -> None:
    """A block of more users than a store takes in one step is whole."""
    names = [f"{user}-{place}" for place in range(1203)]
    offsets = np.arange(len(names) + 1)
    columns = columns_of([MILK._replace(item_id=name) for name in names])
    turns = ledger.read_block(names, 0).turns
    assert ledger.append_block(names, offsets, columns, expected_turns=turns).all()
    block = ledger.read_block(names[::-1], 0)
    assert (block.offsets.tolist(), block.entries.item_id) == (offsets.tolist(), names[::-1])
    assert ledger.release(MILK.at + 1) >= len(names)
    assert ledger.prune(LATEST) == 0


def test_no_users_no_answer(ledger: Ledger) -> None:
    """A block of nobody is empty."""
    block = ledger.read_block([], 0)
    assert (block.offsets.tolist(), block.entries.item_id, block.turns.tolist()) == ([0], [], [])
    nothing = ledger.append_block([], np.array([0]), columns_of([]), expected_turns=block.turns)
    assert nothing.shape == (0,)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("kind", "seen", "`kind` must be one of 'shown'.* but got 'seen'"),
        ("source", "ads", "`source` must be one of 'personal'.* but got 'ads'"),
        ("item_id", LONE, "`item_id` must be Unicode but has a lone surrogate at character 1"),
        ("slate_id", LONE, "`slate_id` must be Unicode"),
        ("surface", LONE, "`surface` must be Unicode"),
        ("item_id", 7, "`item_id` must be str but got int: 7"),
        ("surface", None, "`surface` must be str but got NoneType"),
        ("position", 1.5, "`position` must be int but got float: 1.5"),
        ("position", -1, "`position` must lie from 0 to 2147483647 but got -1"),
        ("at", -1, "`at` must be microseconds UTC from 0 to"),
        ("at", 2**53, "`at` must be microseconds UTC from 0 to"),
        ("at", 1.0, "`at` must be int but got float"),
        ("confirmed", 1, "`confirmed` must be bool but got int"),
    ],
)
def test_an_entry_that_cannot_be_kept_is_named(ledger: Ledger, user: str, field: str, value: object, told: str) -> None:
    """A wrong value is refused in one line, with nothing written."""
    _, turn = ledger.read(user, 0)
    with pytest.raises(LedgerInvalid, match=f"^{told}"):
        ledger.append(user, [MILK, MILK._replace(**{field: value})], expected_turn=turn)  # type: ignore[arg-type]
    assert ledger.read(user, 0) == ([], turn)


@pytest.mark.parametrize(("name", "told"), [("", "at least 1 character"), (None, "but got None"), (LONE, "surrogate")])
def test_a_user_that_cannot_be_kept_is_named(ledger: Ledger, name: str, told: str) -> None:
    """Nobody's ledger is not a ledger: a guest has none."""
    for call in (
        lambda: ledger.read(name, 0),
        lambda: ledger.forget(name),
        lambda: ledger.read_block([name], 0),
    ):
        with pytest.raises(LedgerInvalid, match=told):
            call()


def test_a_slate_that_cannot_be_kept_is_named(ledger: Ledger, user: str) -> None:
    """A lone surrogate is told, not looked for."""
    with pytest.raises(LedgerInvalid, match="`slate_id` must be Unicode"):
        ledger.confirm(user, LONE)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"offsets": np.array([0, 2])}, "`offsets` must rise from 0 to 1"),
        ({"offsets": np.array([0, 1, 1])}, r"`offsets` must have the shape \(2,\)"),
        ({"expected_turns": np.array([], np.int64)}, r"`expected_turns` must have the shape \(1,\)"),
        ({"kind": np.array([9], np.uint8)}, "`kind` must lie from 0 to 4 but got 9"),
        ({"position": np.array([0, 1], np.int32)}, r"`position` must have the shape \(1,\)"),
    ],
)
def test_a_block_that_does_not_fit_is_named(ledger: Ledger, user: str, change: dict[str, object], told: str) -> None:
    """Arrays of wrong length or with unknown codes are refused before anything is written."""
    columns = columns_of([MILK])
    parts = {name: change.get(name, getattr(columns, name)) for name in columns.__slots__}
    offsets = change.get("offsets", np.array([0, 1]))
    turns = change.get("expected_turns", ledger.read_block([user], 0).turns)
    with pytest.raises(LedgerInvalid, match=told):
        ledger.append_block([user], offsets, type(columns)(**parts), expected_turns=turns)  # type: ignore[arg-type]
    assert ledger.read(user, 0)[0] == []


def test_a_closed_ledger_says_so(url: str) -> None:
    """After `close` every call fails as a store that is away does."""
    ledger = open_ledger(url)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        ledger.read("ann", 0)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ledger.db", "must look like sqlite:///ledger.db.* but got 'ledger.db'"),
        ("sqlite:///", "but got 'sqlite:///'"),
        ("sqlite://ledger.db", "but got 'sqlite://ledger.db'"),
        ("mysql://ann:secret@host/db", "but got 'mysql://host/db'"),
        ("redis://host:port", "cannot be read"),
    ],
)
def test_an_address_that_is_none_is_named(address: str, told: str) -> None:
    """An unknown address is refused in one line that shows a right one and no password."""
    with pytest.raises(LedgerInvalid, match=told) as caught:
        open_ledger(address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("setting", "value"), [("timeout", 0.0), ("timeout", float("nan")), ("keep_days", 0.0)])
def test_a_setting_out_of_bounds_is_named(setting: str, value: float) -> None:
    """Zero seconds and zero days are refused."""
    with pytest.raises(LedgerInvalid, match=f"`{setting}` must be more than 0"):
        open_ledger("sqlite://", **{setting: value})


def test_the_package_is_light() -> None:
    """Neither store is loaded before it is opened."""
    code = "import sys, boundary.ledger; print({'sqlite3', 'redis', 'polars'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "set()"
