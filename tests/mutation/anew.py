"""Judge what runs when the boundary is loaded: each mutant in a new process, which loads the boundary with it.

``python tests/mutation/anew.py m.jsonl`` takes the mutants that ``mutate.py --out m.jsonl`` could not judge for this
reason. A room's tests run, quickest first, until one fails; those that failed run once more without a mutant.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from importlib.machinery import SourceFileLoader
from pathlib import Path

from judge import HERE, KILLED, LOADED, OUTSIDE, Judge, tree
from mutants import BOUNDARY, Mutant
from mutate import OPTIONS, lines_of, outcomes


class Once(Judge):
    """Runs some tests, until one fails."""

    def __init__(self, tests: list[str], *, examples: int, seconds: float) -> None:
        super().__init__([], loading={}, learned={}, minutes=0, seconds=seconds, examples=examples, out=None)
        self.tests = tests
        self.failed = ""

    def pytest_runtestloop(self, session) -> bool:
        import time

        self.shops.stand()
        items = {item.nodeid: item for item in session.items}
        begin = time.thread_time()
        for name in self.tests:
            if time.thread_time() - begin > self.seconds:
                break
            self._prepare(items[name])
            if not self._passes(session, items[name], patience=60):
                self.failed = name
                break
        return True


def judged(mutant: Mutant | None, tests: list[str], *, examples: int, seconds: float) -> str:
    """Return the first test that fails in a process that loads the boundary with the mutant; empty is none."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        with os.fdopen(ours) as told:
            failed = told.read()
        os.waitpid(child, 0)
        return failed
    import pytest

    if mutant is not None:
        room, text, usual = str(BOUNDARY / mutant.room), mutant.after, SourceFileLoader.get_code
        SourceFileLoader.get_code = lambda loader, name: (
            compile(text, room, "exec", dont_inherit=True) if loader.path == room else usual(loader, name)
        )
    once = Once(tests, examples=examples, seconds=seconds)
    files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            status = int(pytest.main([*OPTIONS.split(), "--assert=plain", *files], plugins=[once]))
        except BaseException:  # noqa: BLE001 (whatever stops the tests notices the mutant)
            status = 3
    os.write(theirs, (once.failed or (f"pytest ends with {status}" if status in {2, 3, 4} else "")).encode())
    os._exit(0)


def main() -> None:
    """Judge the mutants of a run that could not judge them, and print what survived."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("file", type=Path, help="the outcomes of mutate.py")
    ask.add_argument("--seconds", type=float, default=20, help="of processor time, begin no other test of a mutant")
    ask.add_argument("--examples", type=int, default=4, help="of each law")
    ask.add_argument(
        "--out", type=Path, required=True, help="the outcomes, one JSON line a mutant; those there are kept"
    )
    asked = ask.parse_args()
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "LAW_EXAMPLES": str(asked.examples)}
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    import hypothesis  # noqa: F401 (loaded once, for all the processes)
    import numpy as np
    import pydantic  # noqa: F401

    np.seterr(all="ignore")
    known = json.loads((asked.file.parent / f"{tree()}-{asked.examples}.reach").read_text())
    known.pop("shops")
    done = outcomes(asked.out) if asked.out.exists() else {}
    killers = set()
    told = lines_of(asked.file)
    for mutant, line in told.items():
        if line["outcome"] not in {LOADED, OUTSIDE} or mutant in done:
            continue
        kills = Counter(line["by"] for one, line in told.items() if one.room == mutant.room)
        worth = {n: seconds / (kills[n] + 0.1) for n, (seconds, lines, _) in known.items() if mutant.room in lines}
        failed = judged(mutant, sorted(worth, key=worth.__getitem__), examples=asked.examples, seconds=asked.seconds)
        killers.add(failed)
        written = {"mutant": mutant, "outcome": KILLED if failed else "survived", "by": failed, "diff": mutant.diff}
        if not failed:
            print(mutant.diff, flush=True)
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(written) + "\n")
    for name in sorted(killers - {""}):
        if "::" in name and judged(None, [name], examples=asked.examples, seconds=asked.seconds):
            sys.exit(f"{name} fails without a mutant")


if __name__ == "__main__":
    main()
