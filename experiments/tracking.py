"""Where do runs and models go? MLflow's embedded store beside the results, or the server that is named."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.visits import LabError

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_AT_ONCE = 100  # params of one call to the store


@contextmanager
def tracked(out: Path, uri: str | None) -> Iterator[MlflowClient]:
    """Point MLflow at a store for a while, and give its client.

    Args:
        out: folder of the embedded store: ``mlflow.db``, with the artifacts beside it.
        uri: a server's address, or any that MLflow takes; None is the embedded store.

    Raises:
        LabError: there is no store at the address.
    """
    import mlflow

    before = mlflow.get_tracking_uri()
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(uri or embedded(out))
    try:
        yield _client(uri)
    finally:
        mlflow.set_tracking_uri(before)


def _client(uri: str | None) -> MlflowClient:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient()
        if uri is not None:
            client.search_experiments(max_results=1)
    except MlflowException as error:
        said = " ".join(str(error).split()).partition(". ")[0]
        raise LabError(
            f"--tracking-uri {uri!r} cannot be used ({said:.200}); give a server's address or leave it out"
        ) from error
    return client


def embedded(out: Path) -> str:
    """Return the address of the store in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(out / 'mlflow.db').absolute()}"


def experiment(client: MlflowClient, name: str, out: Path, uri: str | None) -> str:
    """Return the id of an experiment, made if need be; the embedded store keeps its artifacts in ``out/artifacts``."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None if uri else (out / "artifacts").absolute().as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def log_values(
    client: MlflowClient,
    run_id: str,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    at: int,
    step: int = 0,
) -> None:
    """Log params and metrics at a time, milliseconds; what is no number, NaN, is left out."""
    from mlflow.entities import Metric, Param

    kept = [Metric(_named(name), float(value), at, step) for name, value in metrics.items() if value == value]  # noqa: PLR0124
    told = [Param(_named(name), str(value)) for name, value in params.items()]
    for start in range(0, max(len(told), 1), MOST_AT_ONCE):
        client.log_batch(run_id, metrics=kept if not start else [], params=told[start : start + MOST_AT_ONCE])


def code_version() -> str:
    """Return the package's version, with the commit where the code lies in a repository."""
    try:
        number = version("cornerstore")
    except PackageNotFoundError:
        number = "unknown"
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=5, check=False).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return f"{number}+{commit}" if commit else number


def _named(name: str) -> str:
    """Return a name in letters that every store of MLflow takes.

    Example:
        >>> _named("leak[infant & parenting]")
        'leak_infant _ parenting_'
    """
    return "".join(letter if letter.isalnum() or letter in "_-. /:" else "_" for letter in name)
