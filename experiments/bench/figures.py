"""Where the figures of all benches meet, and how two sides are timed fairly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

FILE = "figures.json"


def interleave(sides: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Time every side once a round, after one untimed call each; return the median seconds of each.

    Sides take turns, so that whatever else the machine does falls on all of them.

    Raises:
        ValueError: fewer than one round.

    Example:
        >>> sorted(interleave({"here": lambda: 1, "there": lambda: 2}, rounds=3))
        ['here', 'there']
    """
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1 but got {rounds}")
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = perf_counter()
            side()
            seconds[name].append(perf_counter() - start)
    return {name: median(times) for name, times in seconds.items()}


def read_figures(out: Path) -> dict[str, float]:
    """Read the figures that benches left in `out`; none yet is an empty dictionary."""
    file = out / FILE
    figures: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    return figures


def add_figures(out: Path, figures: Mapping[str, float]) -> None:
    """Add figures to those in `out`, in place of older ones of the same name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     add_figures(Path(folder), {"b": 1.0, "a": 2.0})
        ...     add_figures(Path(folder), {"b": 3.0})
        ...     read_figures(Path(folder))
        {'a': 2.0, 'b': 3.0}
    """
    out.mkdir(parents=True, exist_ok=True)
    everything = dict(sorted({**read_figures(out), **figures}.items()))
    (out / FILE).write_text(json.dumps(everything, indent=2) + "\n")
