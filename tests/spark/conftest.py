"""A small shop fitted once, and a cluster to score it on."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from spark_cluster import Cluster

from boundary.taxonomy import Taxonomy
from data.synthetic import make_shop
from recsys.engine import policy_of
from recsys.interactions import Weighing
from recsys.shop import Choice, fit_shop, latest, read_shop


@pytest.fixture(scope="session")
def java() -> None:
    """Java and pyspark, or the test is skipped; in CI it fails."""
    missing = [] if shutil.which("java") else ["java is not installed: apt-get install openjdk-17-jre-headless"]
    try:
        import pyspark  # noqa: F401
    except ImportError:
        missing.append("pyspark is not installed: pip install -e '.[spark]'")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing[0])
    if missing:
        pytest.skip(missing[0])


@pytest.fixture(scope="session")
def cluster(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster; each executor has one core."""
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted shop of 400 shoppers."""
    folder = tmp_path_factory.mktemp("shop")
    make_shop(folder, users=400, items=300, events=20_000, seed=3)
    shop = read_shop(folder, rejects=folder / "rejects", console=Console(quiet=True))
    choice = Choice("als", {"factors": 8, "iterations": 3}, Weighing({"purchase": 1.0, "view": 0.3}), seed=1)
    fitted = fit_shop(
        shop,
        taxonomy=Taxonomy.load(folder / "taxonomy.toml"),
        policy=policy_of("default"),
        choice=choice,
        now=latest(shop.events),
    )
    return fitted.save(folder / "bundle")
