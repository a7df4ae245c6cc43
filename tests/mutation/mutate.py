"""Change the boundary a little, again and again, and see whether a test notices: ``python tests/mutation/mutate.py``.

Cosmic Ray (``pip install cosmic-ray``) makes most mutants. Its own runner starts Python anew for each, which takes many
seconds; here the tests are loaded once, with the kernels uncompiled, and each mutant takes the place of the function's
code while those tests run that reach its lines, likeliest first, until one fails. That test must pass again without the
mutant, or it is left out. Shops that the mutant has no part in are built once. Laws draw few examples and do not shrink,
and what lived through ``--seconds`` of tests has survived for now: ``--again`` looks once more at that, with more of
both. With ``--out`` a run goes on where the last one ended, what the tests reach is looked up once a tree, and
``--part 1/2`` beside ``--part 2/2`` uses two processors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from pathlib import Path

from judge import HERE, KILLED, SURVIVED, TESTS, Judge
from mutants import Mutant, mutants, name_of, rooms
from reach import Trace

OPTIONS = (
    "-q -p no:cacheprovider -p no:xdist -p no:terminalreporter -o addopts= --doctest-modules -W ignore --tb=native"
)


def main() -> None:
    """Draw mutants, test each, and print what survived."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--minutes", type=float, default=60, help="begin no other mutant after this long")
    ask.add_argument("--most", type=int, default=1_000_000, help="mutants at most of a room")
    ask.add_argument("--seconds", type=float, default=10, help="of processor time, begin no other test of a mutant")
    ask.add_argument("--seed", type=int, default=7, help="of the draw")
    ask.add_argument("--examples", type=int, default=4, help="of each law")
    ask.add_argument("--part", default="1/1", help="which of how many parts: 1/2 is every other mutant")
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
    trace = Trace()
    with trace.noting() as loading:
        for room in rooms():
            import_module(name_of(room))
    drawn = mutants(asked.only.split(","), seed=asked.seed, most=asked.most)
    if asked.again is not None:
        drawn = [
            one for one, outcome in outcomes(asked.again).items() if outcome in SURVIVED and asked.only in one.room
        ]
    part, parts = (int(number) for number in asked.part.split("/"))
    drawn = drawn[part - 1 :: parts]
    done = outcomes(asked.out) if asked.out is not None and asked.out.exists() else {}
    drawn = [one for one in drawn if one not in done]
    print(f"{len(drawn)} mutants in {len({one.room for one in drawn})} rooms, {len(done)} judged before", flush=True)
    learned = {}
    for file in (asked.again, asked.out):
        if file is not None and file.exists():
            learned |= {one: line["by"] for one, line in lines_of(file).items() if line["outcome"] == KILLED}
    judge = Judge(
        drawn, loading=loading, learned=learned, minutes=asked.minutes, seconds=asked.seconds,
        examples=asked.examples, out=asked.out,
    )  # fmt: skip
    sys.exit(int(pytest.main([*OPTIONS.split(), *asked.tests], plugins=[judge])))


def lines_of(file: Path) -> dict[Mutant, dict]:
    """Return what a run wrote down, a line a mutant."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {Mutant(*line["mutant"]): line for line in lines}


def outcomes(file: Path) -> dict[Mutant, str]:
    """Return how the mutants of a run came out."""
    return {one: line["outcome"] for one, line in lines_of(file).items()}


if __name__ == "__main__":
    main()
