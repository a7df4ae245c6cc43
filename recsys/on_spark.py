"""A Spark session of this process, and what went wrong in one; opened alike for training and for scoring."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.speculation": "false",  # a block is never scored twice at once
    "spark.log.level": "ERROR",
}


class SparkError(RuntimeError):
    """Spark is missing, cannot be reached, or gave up."""


@contextmanager
def session(master: str, *, conf: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """Give the Spark session that is open in this process, or open one and close it at the end.

    Args:
        master: ``local[2]``, ``spark://host:7077``, ``yarn``, ``k8s://...``.
        conf: Spark settings, over those set here. Executors run this Python unless ``spark.pyspark.python`` or the
            environment's PYSPARK_PYTHON says otherwise; Cornerstore must be installed there.

    Raises:
        SparkError: pyspark or Java is missing, or the master does not answer.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SparkError(f"Spark is not installed ({error}); run pip install -e '.[spark]'") from error
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise SparkError("Spark needs Java but there is none; run apt-get install openjdk-17-jre-headless")
    given = SparkSession.getActiveSession()
    if given is not None:
        yield given
        return
    settings = QUIET | {"spark.pyspark.python": sys.executable, "spark.pyspark.driver.python": sys.executable}
    if master.startswith(("local", "spark://127.0.0.1:")):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    settings |= dict(conf or {})
    os.environ.setdefault("PYSPARK_PYTHON", settings["spark.pyspark.python"])  # the setting alone reaches no executor
    builder = SparkSession.builder.master(master).appName("cornerstore")
    for name, value in settings.items():
        builder = builder.config(name, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        try:
            opened = builder.getOrCreate()
        except Exception as error:
            raise SparkError(f"no Spark session at {master} ({cause(error)}); is the master running?") from error
        try:
            yield opened
        finally:
            opened.stop()


def cause(error: Exception) -> str:
    """Return the line of a Spark error that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line and not line.startswith(("at ", "Caused", "File", "org."))]
    return (raised or lines or [type(error).__name__])[0][:300]
