"""Whether a test notices a mutant: the tests that reach it run one by one, the likeliest first, until one fails."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType

from functions import codes, function, lines_of
from mutants import BOUNDARY, Mutant, name_of
from reach import Lines, Shops, Trace

HERE = BOUNDARY.parent
TESTS = ("tests/boundary", "tests/test_associations.py", "tests/test_tables.py", "tests/test_taxonomy.py", "boundary")
SLOW = 20.0  # seconds of processor time, uncompiled, above which a test is left out
UNFIT = 5  # tests that may fail without a mutant before the run ends
BUILD = 0.03  # seconds that a shop takes
LOADED = "runs when loaded"  # so that no test can tell: see anew.py
OUTSIDE = "outside functions"
SURVIVED, KILLED = ("survived", "not reached", LOADED), "killed"


class Late(BaseException):
    """A test does not come to an end."""


class Judge:
    """Takes the place of pytest's loop over the tests: runs them for each mutant, until one fails."""

    def __init__(
        self,
        drawn: list[Mutant],
        *,
        loading: Lines,
        learned: dict[Mutant, str],
        minutes: float,
        seconds: float,
        examples: int,
        out: Path | None,
    ) -> None:
        self.drawn, self.loading = drawn, loading  # the mutants; the lines that run when the boundary is loaded
        self.minutes, self.seconds, self.examples, self.out = minutes, seconds, examples, out
        self.told = ""
        self.cost: dict[str, float] = {}
        self.asks: dict[str, int] = {}  # how many shops a test asks for
        self.builds: Lines = defaultdict(set)  # the lines that run where shops are built
        self.focus: dict[str, dict[str, float]] = defaultdict(dict)  # the share of a room in the lines a test runs
        self.reach: dict[tuple[str, int], list] = defaultdict(list)  # the tests that run a line
        self.globs: dict[str, dict] = {}
        self.killed, self.tried = defaultdict(Counter), defaultdict(Counter)  # how often, in a room and in a function
        self.changes: list[tuple[FunctionType, CodeType, CodeType]] = []  # each function's code without and with
        self.unfit: set[str] = set()  # tests that failed without a mutant
        self.trace = Trace()
        for mutant, killer in learned.items():
            for key in ((), (mutant.room,)):
                self.killed[key][killer] += 1
                self.tried[key][killer] += 1
        self.shops = Shops(self.trace, self._without)

    def pytest_runtestloop(self, session) -> bool:
        self.shops.stand()
        self._look(session)
        begin, tally, by_room = time.monotonic(), Counter(), defaultdict(Counter)
        for number, mutant in enumerate(self.drawn):
            if time.monotonic() - begin > self.minutes * 60:
                break
            started = time.thread_time()
            outcome, killer = self._judge(session, mutant)
            tally[outcome] += 1
            by_room[mutant.room][outcome] += 1
            if outcome in SURVIVED:
                print(f"{outcome}: {mutant.diff}", flush=True)
            if self.out is not None:
                taken = round(time.thread_time() - started, 2)
                line = {"mutant": mutant, "outcome": outcome, "by": killer, "seconds": taken, "diff": mutant.diff}
                with self.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            if number % 100 == 99:
                print(f"... {number + 1} of {len(self.drawn)} in {time.monotonic() - begin:.0f} seconds", flush=True)
        print(f"\n{tally.total()} of {len(self.drawn)} mutants: {told(tally)}")
        for room, counts in sorted(by_room.items()):
            print(f"  {room}: {told(counts)}")
        return True

    def _look(self, session) -> None:
        """Learn of every test, without a mutant, what it costs and which lines of the boundary it runs."""
        kept = self.out.parent / f"{tree()}-{self.examples}.reach" if self.out is not None else None
        known = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
        built = known.pop("shops", {})
        for number, item in enumerate(session.items):
            self._prepare(item)
            if "ten_thousand" in item.name:
                continue
            if item.nodeid not in known:
                known[item.nodeid] = self._run_traced(session, item)
                if number % 100 == 99:
                    print(f"... {number + 1} tests looked at", flush=True)
            cost, lines, self.asks[item.nodeid] = known[item.nodeid]
            if cost > SLOW:
                print(f"left out, {cost:.0f} seconds: {item.nodeid}", flush=True)
                continue
            self.cost[item.nodeid] = cost
            seen = sum(len(numbers) for numbers in lines.values())
            for room, numbers in lines.items():
                self.focus[room][item.nodeid] = len(numbers) / seen
                for line in numbers:
                    self.reach[room, line].append(item)
        for lines in (built, *(lines for _, lines in self.shops.kept.values())):
            for room, numbers in lines.items():
                self.builds[room] |= set(numbers)
        if kept is not None:
            shops = {room: sorted(numbers) for room, numbers in self.builds.items()}
            kept.write_text(json.dumps(known | {"shops": shops}))
        print(f"{len(self.cost)} tests pass in {sum(self.cost.values()):.0f} seconds, traced", flush=True)

    def _prepare(self, item) -> None:
        """Let a law draw few examples and no smaller ones, and keep what a doctest would clear."""
        from hypothesis import Phase, settings

        law = getattr(getattr(item, "obj", None), "hypothesis", None)
        if law is not None:
            usual = getattr(item.obj, "_hypothesis_internal_use_settings", None) or settings.default
            item.obj._hypothesis_internal_use_settings = settings(
                usual, max_examples=min(usual.max_examples, self.examples), phases=[Phase.explicit, Phase.generate]
            )
        if hasattr(item, "dtest"):
            self.globs[item.nodeid] = dict(item.dtest.globs)

    def _run_traced(self, session, item) -> tuple[float, dict[str, list[int]], int]:
        clean()
        before = self.shops.handed
        begin = time.thread_time()
        with self.trace.noting() as lines:
            passed = self._passes(session, item, patience=600)
        if not passed:
            print(f"left out, it fails without any mutant: {item.nodeid}\n{self.told}", flush=True)
            return float("inf"), {}, 0
        taken = time.thread_time() - begin
        return taken, {room: sorted(found) for room, found in lines.items()}, self.shops.handed - before

    def _judge(self, session, mutant: Mutant) -> tuple[str, str]:
        room = mutant.room
        file = str(BOUNDARY / room)
        module = import_module(name_of(room))
        try:
            old, new = (codes(compile(text, file, "exec", dont_inherit=True)) for text in (mutant.before, mutant.after))
        except SyntaxError:
            return "none", ""
        ways = [way for way in old if old[way] != new.get(way)]
        found = [(function(module, way), way) for way in ways]
        changes = [
            (
                one,
                one.__code__,
                new[way].replace(co_freevars=one.__code__.co_freevars),
            )  # also where super() is left out
            for one, way in found
            if one and way in new
        ]
        if not changes:
            return OUTSIDE, ""
        loads = any(self.loading.get(room, set()) & set(lines_of(old[way])) for way in ways)
        concerned = {item.nodeid: item for line in mutant.lines for item in self.reach.get((room, line), ())}
        concerned = {name: item for name, item in concerned.items() if name not in self.unfit}
        if not concerned:
            return LOADED if loads else "not reached", ""
        keys = [(), (room,), (room, *ways)]
        dear = BUILD if mutant.lines & self.builds[room] else 0.0  # shops are built anew

        def worth(item) -> float:
            """Seconds a kill, as far as is known: from how much of the test this room is, and from earlier mutants."""
            chance = self.focus[room][item.nodeid] / 2
            for key in keys:
                chance = (self.killed[key][item.nodeid] + 2 * chance) / (self.tried[key][item.nodeid] + 2)
            return (self.cost[item.nodeid] + dear * self.asks[item.nodeid]) / chance

        killer = None
        with self._with(changes, {room: mutant.lines}):
            begin = time.thread_time()
            for item in sorted(concerned.values(), key=worth):
                if time.thread_time() - begin > self.seconds:
                    break
                for key in keys:
                    self.tried[key][item.nodeid] += 1
                if not self._passes(session, item, patience=10 * self.cost[item.nodeid] + 2):
                    killer = item
                    break
        if killer is None:
            return LOADED if loads else "survived", ""
        if not self._passes(session, killer, patience=600):
            print(f"left out, it fails without its mutant: {killer.nodeid}: {mutant.diff}\n{self.told}", flush=True)
            self.unfit.add(killer.nodeid)
            if len(self.unfit) > UNFIT:
                sys.exit("too many tests fail without a mutant")
            return self._judge(session, mutant)
        for key in keys:
            self.killed[key][killer.nodeid] += 1
        return KILLED, killer.nodeid

    @contextmanager
    def _with(self, changes: list[tuple[FunctionType, CodeType, CodeType]], lines: Lines) -> Iterator[None]:
        """Put a mutant's code in its place, and the usual code back."""
        clean()
        self.changes = changes
        self.shops.begin(lines)
        for one, _, code in changes:
            one.__code__ = code
        try:
            yield
        finally:
            for one, code, _ in changes:
                one.__code__ = code
            self.changes = []
            self.shops.begin({})
            clean()

    @contextmanager
    def _without(self) -> Iterator[None]:
        """Put the usual code back for a while."""
        with_mutant = [(one, one.__code__) for one, _, _ in self.changes]
        clean()
        for one, code, _ in self.changes:
            one.__code__ = code
        try:
            yield
        finally:
            for one, code in with_mutant:
                one.__code__ = code
            clean()

    def _passes(self, session, item, *, patience: float) -> bool:
        from _pytest.runner import runtestprotocol

        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 20 * patience)
        signal.setitimer(signal.ITIMER_VIRTUAL, patience)
        signal.signal(signal.SIGVTALRM, late)
        if hasattr(item, "dtest"):
            item.dtest.globs = dict(self.globs[item.nodeid])
        try:
            reports = runtestprotocol(item, log=False, nextitem=None)
        except Late:
            return False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        failed = [report for report in reports if report.failed]
        self.told = failed[0].longreprtext if failed else ""
        return not failed


def tree() -> str:
    """Return a fingerprint of the boundary and of its tests."""
    digest = hashlib.blake2b(digest_size=6)
    for place in TESTS:
        folder = HERE / place
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def late(*_: object) -> None:
    raise Late


def told(counts: Counter) -> str:
    return ", ".join(f"{number} {word}" for word, number in counts.most_common())


def clean() -> None:
    """Forget what was worked out under a mutant, or without one."""
    from boundary import measure

    measure._store.__dict__.clear()
    for name, module in list(sys.modules.items()):
        for found in list(vars(module).values()) if name.startswith("boundary") else ():
            if hasattr(found, "cache_clear") and hasattr(found, "__wrapped__"):
                found.cache_clear()
    shop = sys.modules.get("shop")
    if shop is not None:
        shop.DEFAULT._resolved.clear()
        for name in ("digest", "needs", "longest_window_days", "_surfaces"):
            shop.DEFAULT.__dict__.pop(name, None)
