"""Which lines of the boundary run, and the shops of the tests, built once for all mutants that do not touch them."""

from __future__ import annotations

import functools
import pickle
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mutants import BOUNDARY

Lines = dict[str, set[int]]  # numbers of lines, by room
HOME = len(str(BOUNDARY)) + 1
BUILDERS = {
    "shop": ("random_world", "one_row", "catalogue", "customers"),
    "boundary.cases": ("_catalogue", "_customers"),
}


class Trace:
    """Notes the lines of the boundary that run; what is noted within counts outside too."""

    def __init__(self) -> None:
        self.open: list[Lines] = []

    @contextmanager
    def noting(self) -> Iterator[Lines]:
        lines: Lines = defaultdict(set)
        before = sys.gettrace()
        self.open.append(lines)
        sys.settrace(self._called)
        try:
            yield lines
        finally:
            sys.settrace(before)
            self.open.pop()
            self.add(lines)

    def add(self, lines: Lines) -> None:
        for room, numbers in lines.items() if self.open else ():
            self.open[-1][room] |= numbers

    def _called(self, frame, *_):
        file = frame.f_code.co_filename
        if not file.startswith(str(BOUNDARY)):
            return None
        note = self.open[-1][file[HOME:]].add

        def within(frame, event, _):
            if event == "line":
                note(frame.f_lineno)
            return within

        return within


class Shops:
    """Stands before the functions that build the shops of the tests: most of a test's time is theirs.

    What is built once, without a mutant, is copied for whoever asks again, unless building it runs a line that the
    mutant touches: then it is built anew, with the mutant.
    """

    def __init__(self, trace: Trace, without_mutant: Callable[[], Any]) -> None:
        self.trace, self.without_mutant = trace, without_mutant
        self.kept: dict[tuple[str, bytes], tuple[bytes, Lines]] = {}
        self.anew: dict[tuple[str, bytes], bytes] = {}
        self.handed = 0  # shops, to whoever asked
        self.mutant: Lines = {}

    def stand(self) -> None:
        """Take the builders' places, wherever they were imported to."""
        modules = [module for module in list(sys.modules.values()) if getattr(module, "__dict__", None) is not None]
        for home, names in BUILDERS.items():
            if home not in sys.modules:
                continue
            for name in names:
                built = getattr(sys.modules[home], name)
                ours = self._before(built)
                for module in modules:
                    if vars(module).get(name) is built:
                        setattr(module, name, ours)

    def begin(self, mutant: Lines) -> None:
        """Begin with a mutant that touches these lines, or with none."""
        self.mutant = mutant
        self.anew.clear()

    def _before(self, build: Callable[..., Any]) -> Callable[..., Any]:
        plain = getattr(build, "__wrapped__", build)

        @functools.wraps(plain)
        def builder(*args: Any, **terms: Any) -> Any:
            try:
                key = (plain.__name__, pickle.dumps((args, sorted(terms.items()))))
            except (TypeError, AttributeError, pickle.PicklingError):  # a generator; it can be read only once
                return plain(*args, **terms)
            if key not in self.kept:
                try:
                    with self.without_mutant(), self.trace.noting() as lines:
                        shop = plain(*args, **terms)
                except Exception:  # noqa: BLE001 (a shop that is refused: the mutant may refuse it otherwise, or not)
                    return plain(*args, **terms)
                self.kept[key] = (pickle.dumps(shop), lines)
            shop, lines = self.kept[key]
            self.handed += 1
            self.trace.add(lines)
            if any(numbers & lines.get(room, set()) for room, numbers in self.mutant.items()):
                if key not in self.anew:
                    self.anew[key] = pickle.dumps(plain(*args, **terms))
                shop = self.anew[key]
            return pickle.loads(shop)

        return builder
