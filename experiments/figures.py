"""What does every command leave behind? ``figures.json``, flat, and ``about.json``, which says what was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boundary.policy import Policy
    from recsys.bundle import Bundle

FIGURES, ABOUT = "figures.json", "about.json"


def write_figures(out: Path, figures: Mapping[str, float], *, policy: Policy | None, bundle: Bundle | None) -> Path:
    """Write a command's figures, and of which policy and bundle they are; null is not finite."""
    out.mkdir(parents=True, exist_ok=True)
    plain = {name: value if math.isfinite(value) else None for name, value in sorted(figures.items())}
    about = {
        "policy": None if policy is None else policy.name,
        "policy_digest": None if policy is None else policy.digest,
        "fit_id": None if bundle is None else bundle.fit_id,
    }
    _write(out / ABOUT, about)
    return _write(out / FIGURES, plain)


def read_figures(*folders: Path) -> dict[str, float]:
    """Join the figures of several commands; null becomes NaN, and of one name the last counts.

    Raises:
        OSError: a folder holds none.
    """
    joined: dict[str, float] = {}
    for folder in folders:
        told: dict[str, Any] = json.loads(_file(folder).read_text(encoding="utf-8"))
        joined |= {name: float("nan") if value is None else float(value) for name, value in told.items()}
    return joined


def abouts_of(*folders: Path) -> dict[str, dict[str, Any]]:
    """Return what each folder's figures are of, where it says so; see ``write_figures``."""
    files = {str(folder): _file(folder).with_name(ABOUT) for folder in folders}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def _file(folder: Path) -> Path:
    return folder if folder.suffix == ".json" else folder / FIGURES


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
    return path
