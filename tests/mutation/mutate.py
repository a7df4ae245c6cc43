"""Change the boundary a little, again and again, and see whether a test notices: ``python tests/mutation/mutate.py``.

Cosmic Ray (``pip install cosmic-ray``) makes most mutants. Its own runner starts Python anew for each, which takes many
seconds; here the tests are loaded once, with the kernels uncompiled, and each mutant takes the place of the function's
code while those tests run that reach its lines, quickest first, until one fails. That test must pass again without the
mutant, or the run ends. Laws draw few examples and do not shrink, and what lived through ``--seconds`` of tests has
survived for now: ``--again`` looks once more at that, with more of both. With ``--out`` a run goes on where the last one
ended, and what the tests reach is looked up once a tree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType

from mutants import BOUNDARY, Mutant, mutants

HERE = BOUNDARY.parent
TESTS = ("tests/boundary", "tests/test_associations.py", "tests/test_tables.py", "tests/test_taxonomy.py", "boundary")
SLOW = 20.0  # seconds of processor time, uncompiled, above which a test is left out
SURVIVED, KILLED = ("survived", "not reached"), "killed"


def codes(code: CodeType, way: tuple[str, ...] = ()) -> dict[tuple[str, ...], CodeType]:
    """Return the code of the functions of a module and its classes, by the names that lead there."""
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and not inner.co_name.startswith("<"):
            path = (*way, inner.co_name)
            if inner.co_flags & 2:  # a function; a class has no fast locals
                found[path] = inner
            else:
                found |= codes(inner, path)
    return found


def function(module: object, way: tuple[str, ...]) -> FunctionType | None:
    """Return the function at the end of names, out of whatever wraps it."""
    found = module
    for step in way:
        found = vars(found).get(step)
        if found is None:
            return None
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, cached_property):
        found = found.func
    elif isinstance(found, (classmethod, staticmethod)):
        found = found.__func__
    for wrapper in ("wrapped", "__wrapped__"):
        found = getattr(found, wrapper, found)
    return found if isinstance(found, FunctionType) else None


class Late(BaseException):
    """A test does not come to an end."""


class Judge:
    """Takes the place of pytest's loop over the tests: runs them for each mutant, until one fails."""

    def __init__(self, drawn: list[Mutant], *, minutes: float, seconds: float, examples: int, out: Path | None) -> None:
        self.drawn, self.minutes, self.seconds, self.examples, self.out = drawn, minutes, seconds, examples, out
        self.told = ""
        self.cost: dict[str, float] = {}
        self.reach: dict[tuple[str, int], list] = defaultdict(list)  # the tests that run a line
        self.globs: dict[str, dict] = {}
        self.killed, self.tried = defaultdict(Counter), defaultdict(Counter)  # how often, in a room and in a function

    def pytest_runtestloop(self, session) -> bool:
        self._look(session)
        begin, tally, by_room = time.monotonic(), Counter(), defaultdict(Counter)
        for number, mutant in enumerate(self.drawn):
            if time.monotonic() - begin > self.minutes * 60:
                break
            outcome, killer = self._judge(session, mutant)
            tally[outcome] += 1
            by_room[mutant.room][outcome] += 1
            if outcome in SURVIVED:
                print(f"{outcome}: {mutant.diff}", flush=True)
            if self.out is not None:
                line = {"mutant": mutant, "outcome": outcome, "by": killer, "diff": mutant.diff}
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
        kept = self.out.with_suffix(f".{tree()}-{self.examples}.reach") if self.out is not None else None
        known = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
        for number, item in enumerate(session.items):
            self._prepare(item)
            if "ten_thousand" in item.name:
                continue
            if item.nodeid not in known:
                known[item.nodeid] = self._run_traced(session, item)
            cost, lines = known[item.nodeid]
            if cost > SLOW:
                print(f"left out, {cost:.0f} seconds: {item.nodeid}", flush=True)
                continue
            self.cost[item.nodeid] = cost
            for room, numbers in lines.items():
                for line in numbers:
                    self.reach[room, line].append(item)
            if number % 100 == 99 and kept is not None:
                kept.write_text(json.dumps(known))
                print(f"... {number + 1} tests looked at", flush=True)
        if kept is not None:
            kept.write_text(json.dumps(known))
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

    def _run_traced(self, session, item) -> tuple[float, dict[str, list[int]]]:
        clean()
        lines: dict[str, set[int]] = defaultdict(set)
        begin = time.thread_time()
        sys.settrace(tracer(lines))
        try:
            passed = self._passes(session, item, patience=600)
        finally:
            sys.settrace(None)
        if not passed:
            print(f"left out, it fails without any mutant: {item.nodeid}\n{self.told}", flush=True)
            return float("inf"), {}
        home = len(str(BOUNDARY)) + 1
        return time.thread_time() - begin, {file[home:]: sorted(found) for file, found in lines.items()}

    def _judge(self, session, mutant: Mutant) -> tuple[str, str]:
        room = mutant.room
        file = str(BOUNDARY / room)
        module = import_module(("boundary." + room.removesuffix(".py").replace("/", ".")).removesuffix(".__init__"))
        try:
            old, new = (codes(compile(text, file, "exec", dont_inherit=True)) for text in (mutant.before, mutant.after))
        except SyntaxError:
            return "none", ""
        ways = [way for way in old if old[way] != new.get(way)]
        changes = [(one, new[way]) for one, way in ((function(module, way), way) for way in ways) if one and way in new]
        if not changes:
            return "outside functions", ""
        concerned = {item.nodeid: item for line in mutant.lines for item in self.reach.get((room, line), ())}
        if not concerned:
            return "not reached", ""
        keys = [(room,), (room, *ways)]

        def worth(item) -> float:
            """Seconds a kill, as far as is known: tests that killed here before come first."""
            killed, tried = (sum(counts[key][item.nodeid] for key in keys) for counts in (self.killed, self.tried))
            return self.cost[item.nodeid] * (tried + 1) / (killed + 0.1)

        order = sorted(concerned.values(), key=worth)
        kept = [(one, one.__code__) for one, _ in changes]
        killer = None
        clean(module)
        begin = time.thread_time()
        try:
            for one, code in changes:
                one.__code__ = code
            for item in order:
                if time.thread_time() - begin > self.seconds:
                    break
                for key in keys:
                    self.tried[key][item.nodeid] += 1
                if not self._passes(session, item, patience=10 * self.cost[item.nodeid] + 2):
                    killer = item
                    break
        finally:
            for one, code in kept:
                one.__code__ = code
            clean(module)
        if killer is None:
            return "survived", ""
        if not self._passes(session, killer, patience=600):
            sys.exit(f"{killer.nodeid} fails without its mutant: {mutant.diff}\n{self.told}")
        for key in keys:
            self.killed[key][killer.nodeid] += 1
        return KILLED, killer.nodeid

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


def tracer(lines: dict[str, set[int]]):
    """Return a trace function that notes the lines of the boundary that run."""
    home = str(BOUNDARY)

    def called(frame, *_):
        if not frame.f_code.co_filename.startswith(home):
            return None
        note = lines[frame.f_code.co_filename].add

        def within(frame, event, _):
            if event == "line":
                note(frame.f_lineno)
            return within

        return within

    return called


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


def clean(module: object = None) -> None:
    """Forget what was worked out under a mutant, or without one."""
    from boundary import measure, shoppers

    measure._store.__dict__.clear()
    shoppers._granting.cache_clear()
    for found in vars(module).values() if module is not None else ():
        if hasattr(found, "cache_clear") and hasattr(found, "__wrapped__"):
            found.cache_clear()
    shop = sys.modules.get("shop")
    if shop is not None:
        shop.random_world.cache_clear()
        shop.DEFAULT._resolved.clear()
        for name in ("digest", "needs", "longest_window_days", "_surfaces"):
            shop.DEFAULT.__dict__.pop(name, None)


def main() -> None:
    """Draw mutants, test each, and print what survived."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--minutes", type=float, default=60, help="begin no other mutant after this long")
    ask.add_argument("--most", type=int, default=1_000_000, help="mutants at most of a room")
    ask.add_argument("--seconds", type=float, default=10, help="of processor time, begin no other test of a mutant")
    ask.add_argument("--seed", type=int, default=7, help="of the draw")
    ask.add_argument("--examples", type=int, default=4, help="of each law")
    ask.add_argument("--only", default="", help="rooms whose path begins so; several with commas")
    ask.add_argument("--tests", nargs="+", default=TESTS, help="files and folders of tests; all of the boundary's else")
    ask.add_argument("--out", type=Path, help="also write the outcomes, one JSON line a mutant; those there are kept")
    ask.add_argument("--again", type=Path, help="judge only what survived in this file")
    asked = ask.parse_args()
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "LAW_EXAMPLES": str(asked.examples)}
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    import numpy as np
    import pytest

    np.seterr(all="ignore")
    drawn = mutants(asked.only.split(","), seed=asked.seed, most=asked.most)
    if asked.again is not None:
        drawn = [
            one for one, outcome in outcomes(asked.again).items() if outcome in SURVIVED and asked.only in one.room
        ]
    done = outcomes(asked.out) if asked.out is not None and asked.out.exists() else {}
    drawn = [one for one in drawn if one not in done]
    print(f"{len(drawn)} mutants in {len({one.room for one in drawn})} rooms, {len(done)} judged before", flush=True)
    judge = Judge(drawn, minutes=asked.minutes, seconds=asked.seconds, examples=asked.examples, out=asked.out)
    options = "-q -p no:cacheprovider -p no:xdist -p no:terminalreporter -o addopts= --doctest-modules -W ignore"
    sys.exit(int(pytest.main([*options.split(), *asked.tests], plugins=[judge])))


def outcomes(file: Path) -> dict[Mutant, str]:
    """Return what a run wrote down."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {Mutant(*line["mutant"]): line["outcome"] for line in lines}


if __name__ == "__main__":
    main()
