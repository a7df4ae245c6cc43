"""Where does a registered model keep its bundle? An address like ``models:/cornerstore@champion`` becomes a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

SCHEME = "models:/"
INSIDE = Path("artifacts") / "bundle"  # of a registered model


class RegisteredError(RuntimeError):
    """There is no such registered model, or it holds no bundle."""


def is_registered(path: str | Path) -> bool:
    """Say whether an address names a registered model rather than a folder.

    Example:
        >>> is_registered("models:/cornerstore@champion"), is_registered("runs/bundle")
        (True, False)
    """
    return str(path).startswith(SCHEME)


def bundle_of(uri: str, tracking_uri: str | None = None, *, cache: str | Path | None = None) -> Path:
    """Return the folder of a registered model's bundle.

    Where the store lies on this machine it is the store's own folder, so that whoever is forgotten there stays
    forgotten; from a server it is fetched once for each version and kept in ``cache``.

    Args:
        uri: ``models:/name@alias`` or ``models:/name/3``.
        tracking_uri: MLflow's store; ``MLFLOW_TRACKING_URI`` where None.
        cache: folder for fetched bundles; ``~/.cache/cornerstore`` where None.

    Raises:
        RegisteredError: the address is none, or the registry has no such model.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        name, version = _version(client, uri)
        source = client.get_model_version_download_uri(name, version)
        folder = _local(source)
        if folder is None:
            kept = Path(cache or Path.home() / ".cache" / "cornerstore") / "models" / urllib.parse.quote(name) / version
            folder = kept if kept.exists() else _fetch(source, kept, tracking_uri)
    except MlflowException as error:
        told = str(error).splitlines()[0]
        raise RegisteredError(f"{uri} cannot be had from {tracking_uri or 'the registry'}: {told}") from error
    if not (folder / INSIDE).is_dir():
        raise RegisteredError(f"{uri} holds no bundle; register one with `cornerstore-lab promote`")
    return folder / INSIDE


def _version(client: object, uri: str) -> tuple[str, str]:
    told = uri.removeprefix(SCHEME)
    name, at, alias = told.rpartition("@")
    if at and name and alias:
        found = client.get_model_version_by_alias(name, alias)  # type: ignore[attr-defined]
        return name, str(found.version)
    name, _, version = told.rpartition("/")
    if not is_registered(uri) or not name or not version.isdigit():
        raise RegisteredError(
            f"the address must look like models:/cornerstore@champion or models:/cornerstore/3 but got {uri!r}"
        )
    return name, version


def _local(source: str) -> Path | None:
    """Return the folder of an artifact address on this machine, None of any other."""
    parts = urllib.parse.urlparse(source)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(urllib.request.url2pathname(parts.path))


def _fetch(source: str, kept: Path, tracking_uri: str | None) -> Path:
    """Download a model so that it appears whole or not at all."""
    from mlflow.artifacts import download_artifacts

    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as draft:
        found = Path(download_artifacts(artifact_uri=source, dst_path=draft, tracking_uri=tracking_uri))
        try:
            os.replace(found, kept)  # noqa: PTH105 (fails where another process was quicker)
        except OSError:
            if not kept.exists():
                shutil.copytree(found, kept)
    return kept
