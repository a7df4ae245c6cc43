"""What does one caller of a race do, and what does it write down of it?

A racer notes each append before it begins and each answer when it comes, in a file that outlives its death.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boundary.ledger import Entry, Ledger, LedgerError, open_ledger

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Terms:
    """What is raced for.

    Attributes:
        shoppers: how many shoppers all callers share.
        items: how many items they may be shown.
        slate: items wanted by one call.
        cap: how often one item may be shown to one shopper in a window.
        window: seconds.
        timeout: seconds that the ledger may take.
        confirmed: share of the granted slates that are confirmed.
    """

    shoppers: int = 8
    items: int = 12
    slate: int = 3
    cap: int = 3
    window: float = 1.0
    timeout: float = 20.0
    confirmed: float = 0.3


@dataclass
class Notes:
    """What the racers wrote down, by the name of the attempt, which is also the slate's id.

    Attributes:
        tries: shopper, time and items of every append that was begun.
        answers: "yes", "no" or "fail" for every one that came back.
        sure: attempts whose confirmation came back.
        times: microseconds of every granted call.
        capped: calls that found nothing below its cap.
        failed: calls that ended in a ``LedgerError``.
    """

    tries: dict[str, tuple[str, int, list[str]]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    sure: set[str] = field(default_factory=set)
    times: list[int] = field(default_factory=list)
    capped: int = 0
    failed: int = 0

    @classmethod
    def gather(cls, folder: Path) -> "Notes":
        """Read the notes of all racers, the dead ones too."""
        notes = cls()
        for file in folder.glob("*.notes"):
            for line in file.read_text().split("\n")[:-1]:
                notes.take(*json.loads(line))
        return notes

    def take(self, word: str, attempt: str, *rest: Any) -> None:
        """Take in one line."""
        match word:
            case "try":
                self.tries[attempt] = (rest[0], rest[1], rest[2])
            case "sure":
                self.sure.add(attempt)
            case "full":
                self.capped += 1
            case _:
                self.answers[attempt] = word
                self.times.extend(rest)
                self.failed += word == "fail"


def work(number: int, url: str, folder: Path, shoppers: Sequence[str], terms: Terms, threads: int, seed: int) -> None:
    """Be one process of the race."""
    notes = os.open(folder / f"{number}.notes", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with closing(open_ledger(url, timeout=terms.timeout)) as ledger:
        (folder / f"{number}.ready").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        end = float((folder / "go").read_text())

        def run(thread: int) -> None:
            draw, place = random.Random(f"{seed} {number} {thread}"), 0
            while time.time() < end:
                place += 1
                for word in _call(ledger, f"{number}-{thread}-{place}", shoppers, terms, draw):
                    os.write(notes, json.dumps(word).encode() + b"\n")

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(threads)))


def _call(
    ledger: Ledger, attempt: str, shoppers: Sequence[str], terms: Terms, draw: random.Random
) -> Iterator[list[Any]]:
    """Read, count and append once; give each word to be noted at the moment it becomes true."""
    shopper, now, started = draw.choice(shoppers), time.time_ns() // 1000, time.perf_counter_ns()
    wanted = draw.sample(range(terms.items), terms.slate)
    since = now - int(terms.window * MICROSECONDS)
    try:
        entries, turn = ledger.read(shopper, since)
        shown = Counter(entry.item_id for entry in entries if entry.at > since)
        items = [f"item-{item}" for item in wanted if shown[f"item-{item}"] < terms.cap]
        if not items:
            yield ["full", attempt]
            return
        slate = [
            Entry("shown", item, "home", now, attempt, place, "crowd", confirmed=False)
            for place, item in enumerate(items)
        ]
        yield ["try", attempt, shopper, now, items]
        granted = ledger.append(shopper, slate, expected_turn=turn)
    except LedgerError:
        yield ["fail", attempt]
        return
    if not granted:
        yield ["no", attempt]
        return
    yield ["yes", attempt, (time.perf_counter_ns() - started) // 1000]
    if draw.random() < terms.confirmed:
        try:
            confirmed = ledger.confirm(shopper, attempt)
        except LedgerError:
            return
        if confirmed == len(items):
            yield ["sure", attempt]
