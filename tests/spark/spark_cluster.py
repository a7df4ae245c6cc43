"""A master and two workers on loopback, for the tests."""

import os
import subprocess
import sys
from pathlib import Path

CLUSTER = Path(__file__).parents[2] / ".ci" / "spark-cluster"


class Cluster:
    """What `.ci/spark-cluster` started: its address, and the processes that run executors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        python = os.environ | {"PYTHON": sys.executable}
        told = subprocess.run([CLUSTER, "start", folder], env=python, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        self.master = told.stdout.split()[-1]

    def stop(self) -> None:
        subprocess.run([CLUSTER, "stop", self.folder], check=True)

    def executors(self) -> list[int]:
        """Return the processes that the workers have started."""
        workers = (self.folder / "pids").read_text().split()[1:]
        tasks = [task for worker in workers for task in Path(f"/proc/{worker}/task").iterdir()]
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
