"""A short race on both stores, and the judge of races itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer

from boundary.ledger import Entry, Ledger, open_ledger
from experiments.race import Figures, judge, race
from experiments.racers import Notes, Terms

TERMS = Terms(cap=1, window=1e-6)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def raced(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that several processes can open."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url
    return f"sqlite:///{tmp_path}/ledger.db"


def test_no_cap_breaks_when_everybody_asks_at_once(raced: str, tmp_path: Path) -> None:
    """Racing threads and killed processes exceed no cap, and lose and double no exposure."""
    (tmp_path / "figures.json").write_text('{"other": 1}')
    figures = race(raced, seconds=2.0, threads=16, processes=4, out=tmp_path, terms=Terms(shoppers=4, items=8))
    assert figures.held
    assert (figures.killed, figures.failed) == (2, 0)
    assert min(figures.granted, figures.stale, figures.capped) > 0
    told = json.loads((tmp_path / "figures.json").read_text())
    assert told["other"] == 1
    assert told[f"race_{raced.partition(':')[0]}_granted"] == figures.granted
    ledger = open_ledger(raced)
    assert ledger.prune(2**53) == 0
    ledger.close()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = open_ledger("sqlite://")
    yield opened
    opened.close()


def judged(ledger: Ledger, kept: list[Entry], notes: Notes) -> Figures:
    """Hold notes against a store that holds the given entries of one shopper."""
    ledger.append("ann", kept, expected_turn=ledger.read("ann", 0)[1])
    return judge(ledger, ["ann"], notes, TERMS, seconds=1.0, killed=0, whole=True)


def shown(attempt: str, *, at: int = 5, item: str = "milk", confirmed: bool = False) -> Entry:
    return Entry("shown", item, "home", at, attempt, 0, "crowd", confirmed)


def noted(*answers: str) -> Notes:
    """Notes of attempts a, b, ... at the times 5, 6, ..., each with its answer; "" is none."""
    notes = Notes()
    for place, answer in enumerate(answers):
        name = "abc"[place]
        notes.take("try", name, "ann", 5 + place, ["milk"])
        if answer:
            notes.take(answer, name, *([1000] if answer == "yes" else []))
    return notes


@pytest.mark.parametrize(
    ("kept", "answers", "broken"),
    [
        ([shown("a")], ["yes"], {}),
        ([shown("a"), shown("b", at=6)], ["yes", "yes"], {}),
        ([shown("a")], [""], {}),
        ([], ["", "no", "fail"], {}),
        ([], ["yes"], {"lost": 1}),
        ([shown("a", item="tea")], ["yes"], {"lost": 1}),
        ([shown("a"), shown("a")], ["yes"], {"doubled": 1, "over_cap": 1}),
        ([shown("b")], ["yes", "no"], {"lost": 2, "refused_kept": 1}),
        ([shown("unheard of")], [], {"doubled": 1}),
    ],
)
def test_the_judge_sees_what_is_wrong(
    ledger: Ledger, kept: list[Entry], answers: list[str], broken: dict[str, int]
) -> None:
    """Each way to break the promise is counted under its name, and nothing else is."""
    figures = judged(ledger, kept, noted(*answers))
    names = ("over_cap", "lost", "doubled", "refused_kept", "unconfirmed")
    assert {name: getattr(figures, name) for name in names if getattr(figures, name)} == broken
    assert figures.held == (not broken)


def test_the_judge_counts_confirmations(ledger: Ledger) -> None:
    """A confirmation that was answered must stand in the store."""
    notes = noted("yes", "yes")
    notes.take("sure", "a")
    notes.take("sure", "b")
    figures = judged(ledger, [shown("a", confirmed=True), shown("b", at=6)], notes)
    assert (figures.unconfirmed, figures.held) == (1, False)
