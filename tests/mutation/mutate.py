"""Change the boundary a little, again and again, and see whether a test notices: ``python tests/mutation/mutate.py``.

Cosmic Ray (``pip install cosmic-ray``) makes the mutants; on top of its own, each rule of the default policy is dropped
once. Cosmic Ray's runner starts Python anew for each mutant, which takes seconds; here every mutant is tested in a fork
of a process that has the libraries loaded, with the kernels uncompiled. A mutant that the quick tests let live is put to
the laws and the kernels' twins as well. Drawn by ``--seed``, judged until ``--minutes`` are over; what survived is
printed as a diff.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
ROOMS = (
    "rules/personal.py", "rules/frequent.py", "rules/conversion.py", "rules/base.py", "rules/kernel.py", "gate.py",
    "plan.py", "measure.py", "kernel.py", "policy.py", "shoppers.py", "facts.py", "claims.py", "history.py", "verdict.py",
)  # fmt: skip
QUICK = ("test_cases.py", "test_reasons.py", "test_edges.py", "test_policy.py", "test_any_recommender.py")
SLOW = ("test_kernels.py", "test_laws.py")
EXAMPLES = 6  # of each law, for a mutant
SIGNS = r"(Eq|NotEq|Lt|LtE|Gt|GtE)"
WANTED = re.compile(
    rf"core/(ReplaceComparisonOperator_{SIGNS}_{SIGNS}|ReplaceComparisonOperator_(Is_IsNot|IsNot_Is)|ReplaceAndWithOr"
    r"|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue|AddNot|ReplaceUnaryOperator_Delete_Not"
    r"|ReplaceBinaryOperator_(BitAnd_BitOr|BitOr_BitAnd|Add_Sub|Sub_Add|Mul_Div|Div_Mul)|NumberReplacer"
    r"|ReplaceContinueWithBreak|ReplaceBreakWithContinue|ZeroIterationForLoop)$"
)
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


def mutants() -> list[tuple[str, str, int]]:
    """Return every mutant as room, operator and occurrence; or policy file, "drop" and the place of the rule."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    found = []
    operators = {name: get_operator(name)() for name in operator_names() if WANTED.match(name)}
    for room in ROOMS:
        nodes = list(ast_nodes(get_ast((HERE / "boundary" / room).read_text(encoding="utf-8"))))
        for name, operator in operators.items():
            places = sum(len(list(operator.mutation_positions(node))) for node in nodes)
            found += [(room, name, place) for place in range(places)]
    rules = (HERE / "boundary/policies/default.toml").read_text(encoding="utf-8").count("\n[rules.")
    return found + [("policies/default.toml", "drop", place) for place in range(rules)]


def changed(room: str, name: str, place: int) -> str:
    """Return the text of a mutant."""
    text = (HERE / "boundary" / room).read_text(encoding="utf-8")
    if name == "drop":
        parts = re.split(r"(?=^\[rules\.)", text, flags=re.MULTILINE)
        parts[place + 1] = parts[place + 1].replace('enforce = "enforce"', 'enforce = "off"', 1)
        return "".join(parts)
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    return str(mutate_code(text, get_operator(name)(), place) or text)


def does(text: str) -> str:
    """Return what a text does: its syntax without the annotations of functions, which nobody evaluates."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.dump(tree)


def attempt(yard: Path, tests: tuple[str, ...], seconds: float) -> str:
    """Run tests in a fork, in the yard; say what became of the mutant that stands there."""
    child = os.fork()
    if not child:
        _in_child(yard, tests)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return SURVIVED if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else KILLED
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMEOUT


def _in_child(yard: Path, tests: tuple[str, ...]) -> None:
    import numpy as np
    import pytest

    os.environ["LAW_EXAMPLES"] = str(EXAMPLES)
    os.chdir(yard)
    sys.path[:0] = [str(yard), str(yard / "tests/boundary")]
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    np.seterr(all="ignore")
    files = [f"tests/boundary/{name}" for name in tests]
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", "-o", "addopts=",
                              "-W", "ignore", *files])))  # fmt: skip


def main() -> None:
    """Draw mutants, test each, and print what survived."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--minutes", type=float, default=40, help="stop drawing mutants after this long")
    ask.add_argument("--most", type=int, default=1_000_000, help="mutants at most")
    ask.add_argument("--seed", type=int, default=7)
    ask.add_argument("--only", default="", help="rooms that contain this word")
    ask.add_argument("--again", type=Path, help="only the survivors that an earlier --out file names")
    ask.add_argument("--out", type=Path, help="also write the outcomes, one JSON line a mutant")
    asked = ask.parse_args()
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    for library in (
        "polars",
        "numpy",
        "numba",
        "pydantic",
        "hypothesis",
        "pytest",
        "dataframely",
        "tomli_w",
        "jsonschema",
    ):
        __import__(library)
    if asked.again:
        lines = [json.loads(line) for line in asked.again.read_text(encoding="utf-8").splitlines()]
        drawn = [tuple(line["mutant"]) for line in lines if line["outcome"] == SURVIVED]
    else:
        drawn = [mutant for mutant in mutants() if asked.only in mutant[0]]
    print(f"{len(drawn)} mutants in {len({room for room, _, _ in drawn})} rooms", flush=True)
    random.Random(asked.seed).shuffle(drawn)
    with tempfile.TemporaryDirectory() as folder:
        yard = Path(folder) / "yard"
        leave = shutil.ignore_patterns("__pycache__", ".hypothesis")
        for part in ("boundary", "tests/boundary"):
            shutil.copytree(HERE / part, yard / part, ignore=leave)
        shutil.copy(HERE / "pyproject.toml", yard)
        begin = time.monotonic()
        for tests in (QUICK, SLOW):
            if attempt(yard, tests, 3600) != SURVIVED:
                sys.exit(f"the tests fail without any mutant: {', '.join(tests)}")
        patience = 10 * (time.monotonic() - begin) + 10
        print(f"the tests pass in {time.monotonic() - begin:.0f} seconds", flush=True)
        sys.dont_write_bytecode = True
        _judge(drawn[: asked.most], yard, patience=patience, end=begin + asked.minutes * 60, out=asked.out)


def _judge(drawn: list[tuple[str, str, int]], yard: Path, *, patience: float, end: float, out: Path | None) -> None:
    tally: Counter[str] = Counter()
    by_room: dict[str, Counter[str]] = {}
    for room, name, place in drawn:
        if time.monotonic() > end:
            break
        target, before = yard / "boundary" / room, (HERE / "boundary" / room).read_text(encoding="utf-8")
        after = changed(room, name, place)
        if after == before or (room.endswith(".py") and does(after) == does(before)):
            continue
        stamp = target.stat()
        target.write_text(after, encoding="utf-8")
        outcome = attempt(yard, QUICK, patience)
        if outcome == SURVIVED:
            outcome = attempt(yard, SLOW, patience)
        target.write_text(before, encoding="utf-8")
        os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        tally[outcome] += 1
        by_room.setdefault(room, Counter())[outcome] += 1
        if outcome == SURVIVED:
            diff = difflib.unified_diff(
                before.splitlines(), after.splitlines(), room, f"{name} {place}", n=0, lineterm=""
            )
            print("\n".join(diff), flush=True)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"mutant": [room, name, place], "outcome": outcome}) + "\n")
    print(f"\n{sum(tally.values())} of {len(drawn)} mutants tried: " + ", ".join(f"{n} {w}" for w, n in tally.items()))
    for room, counts in sorted(by_room.items()):
        print(f"  {room}: " + ", ".join(f"{n} {w}" for w, n in counts.items()))


if __name__ == "__main__":
    main()
