"""Change the boundary a little, again and again, and see whether a test notices: ``python tests/mutation/mutate.py``.

Cosmic Ray (``pip install cosmic-ray``) makes the mutants. Its own runner starts Python anew for each, which takes many
seconds; here the tests are loaded once, with the kernels uncompiled, and each mutant takes the place of the function's
code while they run, until the first fails. That test must pass again without the mutant, or the run ends. Mutants
outside functions (settings' bounds, tables of words) are left out and counted.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType

HERE = Path(__file__).resolve().parents[2]
ROOMS = (
    "rules/personal.py", "rules/frequent.py", "rules/conversion.py", "rules/base.py", "rules/kernel.py", "gate.py",
    "plan.py", "measure.py", "kernel.py", "policy.py", "shoppers.py", "facts.py", "claims.py", "history.py", "verdict.py",
)  # fmt: skip
TESTS = ("test_reasons.py", "test_edges.py", "test_kernels.py", "test_policy.py", "test_cases.py", "test_laws.py")
SIGNS = r"(Eq|NotEq|Lt|LtE|Gt|GtE)"
WANTED = re.compile(
    rf"core/(ReplaceComparisonOperator_{SIGNS}_{SIGNS}|ReplaceComparisonOperator_(Is_IsNot|IsNot_Is)|ReplaceAndWithOr"
    r"|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue|AddNot|ReplaceUnaryOperator_Delete_Not"
    r"|ReplaceBinaryOperator_(BitAnd_BitOr|BitOr_BitAnd|Add_Sub|Sub_Add|Mul_Div|Div_Mul)|NumberReplacer"
    r"|ReplaceContinueWithBreak|ReplaceBreakWithContinue|ZeroIterationForLoop)$"
)
Mutant = tuple[str, str, int]


def mutants() -> list[Mutant]:
    """Return every mutant as room, operator and occurrence."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    found = []
    operators = {name: get_operator(name)() for name in operator_names() if WANTED.match(name)}
    for room in ROOMS:
        nodes = list(ast_nodes(get_ast((HERE / "boundary" / room).read_text(encoding="utf-8"))))
        for name, operator in operators.items():
            places = sum(len(list(operator.mutation_positions(node))) for node in nodes)
            found += [(room, name, place) for place in range(places)]
    return found


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
    return found if isinstance(found, FunctionType) else None


class Late(BaseException):
    """A test does not come to an end."""


class Judge:
    """Takes the place of pytest's loop over the tests: runs them for each mutant, until one fails."""

    def __init__(self, drawn: list[Mutant], *, minutes: float, out: Path | None) -> None:
        self.drawn, self.minutes, self.out = drawn, minutes, out
        self.told = ""

    def pytest_runtestloop(self, session) -> bool:
        items = [item for item in session.items if "ten_thousand" not in item.name]
        slow = []
        for item in items:
            begin = time.thread_time()
            if not self._passes(session, item, patience=600):
                sys.exit(f"a test fails without any mutant: {item.nodeid}\n{self.told}")
            slow.append(time.thread_time() - begin)
        cost = dict(zip((item.nodeid for item in items), slow, strict=True))
        print(f"{len(items)} tests pass in {sum(slow):.0f} seconds of processor time", flush=True)
        items.sort(key=lambda item: cost[item.nodeid])
        begin, tally, by_room = time.monotonic(), Counter(), {}
        for mutant in self.drawn:
            if time.monotonic() - begin > self.minutes * 60:
                break
            outcome, diff, killer = self._judge(session, items, cost, mutant)
            tally[outcome] += 1
            by_room.setdefault(mutant[0], Counter())[outcome] += 1
            if outcome == "survived":
                print(diff, flush=True)
            if self.out is not None:
                with self.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"mutant": mutant, "outcome": outcome, "by": killer, "diff": diff}) + "\n")
        print(
            f"\n{sum(tally.values())} of {len(self.drawn)} mutants: " + ", ".join(f"{n} {w}" for w, n in tally.items())
        )
        for room, counts in sorted(by_room.items()):
            print(f"  {room}: " + ", ".join(f"{n} {w}" for w, n in counts.items()))
        return True

    def _judge(self, session, items, cost, mutant: Mutant) -> tuple[str, str, str]:
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        room, name, place = mutant
        file = HERE / "boundary" / room
        before = file.read_text(encoding="utf-8")
        after = str(mutate_code(before, get_operator(name)(), place) or before)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), room, f"{name} {place}", n=0, lineterm="")
        diff = "\n".join(lines)
        module = import_module("boundary." + room.removesuffix(".py").replace("/", "."))
        old, new = (codes(compile(text, str(file), "exec", dont_inherit=True)) for text in (before, after))
        changes = [(function(module, way), new[way]) for way in old if old[way] != new.get(way)]
        changes = [(one, code) for one, code in changes if one is not None]
        if not changes:
            return "outside functions", diff, ""
        kept = [(one, one.__code__) for one, _ in changes]
        killer = None
        try:
            for one, code in changes:
                one.__code__ = code
            for item in items:
                if not self._passes(session, item, patience=20 * cost[item.nodeid] + 3):
                    killer = item
                    break
        finally:
            for one, code in kept:
                one.__code__ = code
            _clean()
        if killer is None:
            return "survived", diff, ""
        if not self._passes(session, killer, patience=600):
            sys.exit(f"{killer.nodeid} fails without its mutant: {diff}")
        return "killed", diff, killer.nodeid

    def _passes(self, session, item, *, patience: float) -> bool:
        from _pytest.runner import runtestprotocol

        signal.signal(signal.SIGALRM, _late)
        signal.setitimer(signal.ITIMER_REAL, 20 * patience)
        signal.setitimer(signal.ITIMER_VIRTUAL, patience)
        signal.signal(signal.SIGVTALRM, _late)
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


def _late(*_: object) -> None:
    raise Late


def _clean() -> None:
    """Forget what a broken kernel may have left behind."""
    from boundary import measure

    measure._store.__dict__.clear()
    shop = sys.modules.get("shop")
    if shop is not None:
        shop.random_world.cache_clear()
        shop.DEFAULT._resolved.clear()


def main() -> None:
    """Draw mutants, test each, and print what survived."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--minutes", type=float, default=40, help="begin no other mutant after this long")
    ask.add_argument("--most", type=int, default=1_000_000, help="mutants at most")
    ask.add_argument("--seed", type=int, default=7, help="of the draw")
    ask.add_argument("--examples", type=int, default=4, help="of each law")
    ask.add_argument("--only", default="", help="rooms whose name contains this")
    ask.add_argument("--out", type=Path, help="also write the outcomes, one JSON line a mutant")
    asked = ask.parse_args()
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "LAW_EXAMPLES": str(asked.examples)}
    import numpy as np
    import pytest

    np.seterr(all="ignore")
    drawn = [mutant for mutant in mutants() if asked.only in mutant[0]]
    print(f"{len(drawn)} mutants in {len({room for room, _, _ in drawn})} rooms", flush=True)
    random.Random(asked.seed).shuffle(drawn)
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    judge = Judge(drawn[: asked.most], minutes=asked.minutes, out=asked.out)
    files = [f"tests/boundary/{name}" for name in TESTS]
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:terminalreporter",
        "-o",
        "addopts=",
        "-W",
        "ignore",
    ]
    sys.exit(int(pytest.main([*options, *files], plugins=[judge])))


if __name__ == "__main__":
    main()
