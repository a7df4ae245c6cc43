"""Does a cap hold when everybody asks at once, and some callers die in the middle?

Threads of several processes read, count and append for the same few shoppers; some processes are killed with
SIGKILL and replaced. At the end their notes are held against the store: every append that was granted stands
there once, every other one at most once, and no item was shown more often than the cap within any window.
"""

import json
import multiprocessing
import os
import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from boundary.ledger import Entry, Ledger, open_ledger
from experiments.racers import MICROSECONDS, Notes, Terms, work

SECONDS_A_DEATH = 6.0
DEATHS = 2  # at least


@dataclass(frozen=True)
class Figures:
    """What a race came to; the last block must be zero and ``reopened`` true.

    Attributes:
        seconds: how long it ran.
        attempts: calls that were answered, or died.
        granted: appends that the store took.
        stale: appends refused because somebody else was quicker.
        capped: calls that found every item at its cap.
        failed: calls that ended in a ``LedgerError``.
        unanswered: appends whose caller was killed before the answer.
        unanswered_kept: of those and of the failed, how many stand in the store.
        killed: processes killed.
        p50_ms: median time of a granted call: read, count, append.
        p99_ms: the same, 99th percentile.
        reopened: the store opened again, is whole, and takes an append.
        over_cap: windows in which an item was shown more often than the cap.
        lost: granted appends that are not in the store, or not whole.
        doubled: appends that stand there more than once.
        refused_kept: appends that were refused and stand there all the same.
        unconfirmed: confirmations that were answered and are not in the store.
    """

    seconds: float
    attempts: int
    granted: int
    stale: int
    capped: int
    failed: int
    unanswered: int
    unanswered_kept: int
    killed: int
    p50_ms: float
    p99_ms: float
    reopened: bool
    over_cap: int
    lost: int
    doubled: int
    refused_kept: int
    unconfirmed: int

    @property
    def held(self) -> bool:
        """No cap was exceeded and no exposure lost or counted twice."""
        broken = self.over_cap + self.lost + self.doubled + self.refused_kept + self.unconfirmed
        return self.reopened and broken == 0


def race(
    url: str,
    *,
    seconds: float = 60.0,
    threads: int = 64,
    processes: int = 8,
    kill: bool = True,
    out: Path | None = None,
    terms: Terms | None = None,
    seed: int = 0,
) -> Figures:
    """Race on the store at an address and say what came of it; the racers' entries are removed at the end.

    Args:
        url: address of the ledger, one that several processes can open.
        seconds: how long to race, counted from when all processes are ready.
        threads: in all, spread evenly over the processes.
        processes: how many at a time.
        kill: now and then kill a process with SIGKILL and start another; at least two of them.
        out: folder for ``figures.json``; what other measurements wrote there stays.
        terms: what is raced for.
        seed: of the draws; the order of events is the machine's.
    """
    terms = Terms() if terms is None else terms
    tag = f"{os.getpid()}-{time.time_ns()}"
    shoppers = [f"racer-{tag}-{place}" for place in range(terms.shoppers)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        deaths = max(DEATHS, int(seconds / SECONDS_A_DEATH)) if kill else 0
        task = (url, folder, shoppers, terms, threads // processes, seed)
        killed = _run(folder, task, seconds=seconds, processes=processes, deaths=deaths)
        notes = Notes.gather(folder)
    with closing(open_ledger(url, timeout=terms.timeout)) as ledger:
        figures = judge(ledger, shoppers, notes, terms, seconds=seconds, killed=killed, whole=_is_whole(url))
        for shopper in shoppers:
            ledger.forget(shopper)
    store = url.partition(":")[0]
    if out is not None:
        _write(out, {f"race_{store}_{name}": value for name, value in asdict(figures).items()})
    _show(f"{store}: {threads} threads in {processes} processes", figures)
    return figures


def _run(folder: Path, task: tuple[Any, ...], *, seconds: float, processes: int, deaths: int) -> int:
    """Let the racers run, kill some on the way; give how many were killed."""
    context = multiprocessing.get_context("spawn")
    racers: list[BaseProcess] = []

    def start() -> BaseProcess:
        racers.append(context.Process(target=work, args=(len(racers), *task), daemon=True))
        racers[-1].start()
        return racers[-1]

    running = [start() for _ in range(processes)]
    while len(list(folder.glob("*.ready"))) < processes:
        if any(racer.exitcode for racer in running):
            raise RuntimeError("a racer could not start: see its error above")
        time.sleep(0.01)
    (folder / "end").write_text(str(time.time() + seconds))
    (folder / "end").rename(folder / "go")
    draw = random.Random(0)
    for _ in range(deaths):
        time.sleep(seconds / (deaths + 2))
        place = draw.randrange(processes)
        running[place].kill()
        running[place].join()
        running[place] = start()
    for racer in running:
        racer.join()
        if racer.exitcode:
            raise RuntimeError(f"a racer died of itself with code {racer.exitcode}: see its error above")
    return deaths


def judge(
    ledger: Ledger,
    shoppers: Sequence[str],
    notes: Notes,
    terms: Terms,
    *,
    seconds: float,
    killed: int,
    whole: bool,
) -> Figures:
    """Hold the notes against the store."""
    block = ledger.read_block(shoppers, 0)
    entries = block.entries.entries()
    kept: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, shopper in enumerate(shoppers):
        for entry in entries[block.offsets[place] : block.offsets[place + 1]]:
            kept[entry.slate_id].append((shopper, entry.at, entry.item_id))
            times[shopper, entry.item_id].append(entry.at)
    meant = {name: [(shopper, at, item) for item in items] for name, (shopper, at, items) in notes.tries.items()}
    granted = {name for name, answer in notes.answers.items() if answer == "yes"}
    refused = {name for name, answer in notes.answers.items() if answer == "no"}
    unanswered = meant.keys() - notes.answers.keys()
    failed = {name for name, answer in notes.answers.items() if answer == "fail" and name in meant}
    sure = {entry.slate_id for entry in entries if entry.confirmed}
    spoke = [len(lines) > len(meant.get(name, ())) for name, lines in kept.items()]
    torn = [name for name, lines in kept.items() if len(lines) <= len(meant.get(name, ())) and lines != meant[name]]
    window = int(terms.window * MICROSECONDS)
    _, turn = ledger.read(shoppers[0], 0)
    last = Entry("shown", "last", "home", time.time_ns() // 1000, "last", 0, "crowd", confirmed=False)
    calls = sorted(notes.times) or [0]
    return Figures(
        seconds=seconds,
        attempts=len(notes.answers) + notes.capped + len(unanswered),
        granted=len(granted),
        stale=len(refused),
        capped=notes.capped,
        failed=notes.failed,
        unanswered=len(unanswered),
        unanswered_kept=len((unanswered | failed) & kept.keys()),
        killed=killed,
        p50_ms=calls[len(calls) // 2] / 1000,
        p99_ms=calls[len(calls) * 99 // 100] / 1000,
        reopened=whole and ledger.append(shoppers[0], [last], expected_turn=turn),
        over_cap=sum(_over(sorted(moments), terms.cap, window) for moments in times.values()),
        lost=len(granted - kept.keys()) + len(torn),
        doubled=sum(spoke),
        refused_kept=len(refused & kept.keys()),
        unconfirmed=len(notes.sure - sure),
    )


def _over(moments: Sequence[int], cap: int, window: int) -> int:
    """Count the moments at which more than ``cap`` lie within the window that ends there."""
    return sum(late - early < window for early, late in zip(moments, moments[cap:], strict=False))


def _is_whole(url: str) -> bool:
    """Ask SQLite whether its file is sound; Redis keeps no file that a caller could break."""
    if not url.startswith("sqlite:///"):
        return True
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as store:
        return bool(store.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def _write(out: Path, figures: dict[str, Any]) -> None:
    """Add figures to the folder's ``figures.json``."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "figures.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(before | figures, indent=2) + "\n")


def _show(title: str, figures: Figures) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", title=title)
    for name, value in asdict(figures).items():
        table.add_row(name, str(value))
    Console(markup=False, emoji=False).print(table)
