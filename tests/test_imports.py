"""What a shop imports stays light: heavy packages are loaded by what needs them alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

SELDOM = {
    "dataframely",
    "fastapi",
    "implicit",
    "mlflow",
    "optuna",
    "plotly",
    "pyspark",
    "redis",
    "sklearn",
    "sqlalchemy",
}
HEAVY = SELDOM | {"numba", "numpy", "polars", "pydantic", "scipy"}


@pytest.mark.parametrize(
    ("statement", "seconds", "barred"),
    [
        ("import boundary", 0.5, HEAVY),
        ("import recsys", 1.0, HEAVY),
        ("from boundary import Gate", None, SELDOM | {"polars"}),
        ("from recsys import Engine", None, SELDOM - {"implicit"}),
    ],
)
def test_imports_stay_light(statement: str, seconds: float | None, barred: set[str]) -> None:
    """Processor seconds of the bare package, and which packages are not loaded."""
    told = (
        f"import sys, time; start = time.process_time(); {statement}; print(time.process_time() - start, *sys.modules)"
    )
    spent, *loaded = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not barred & set(loaded)
    assert seconds is None or float(spent) < seconds
