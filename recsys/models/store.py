"""How a model lies on disk: settings as JSON, arrays as memory-mappable .npy files, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

_PARTS = ("data", "indices", "indptr")


def save_csr(path: Path, name: str, matrix: csr_matrix) -> None:
    """Write a csr matrix as three .npy files; its shape is the reader's to know."""
    for part in _PARTS:
        np.save(path / f"{name}.{part}.npy", getattr(matrix, part), allow_pickle=False)


def load_csr(path: Path, name: str, *, shape: tuple[int, int]) -> csr_matrix:
    """Open a csr matrix that ``save_csr`` wrote, memory-mapped and without copying.

    Raises:
        ValueError: the stored arrays do not fit the shape.
    """
    data, indices, indptr = (_mapped(path / f"{name}.{part}.npy") for part in _PARTS)
    if len(indptr) != shape[0] + 1:
        raise ValueError(f"{path / name} must have {shape[0]} rows but has {len(indptr) - 1}")
    return csr_matrix((data, indices, indptr), shape=shape, copy=False)


def save_model(
    path: Path, *, name: str, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any] | csr_matrix]
) -> None:
    """Write a model's name, settings and arrays into a directory."""
    path.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, Any] = {}
    for key, array in arrays.items():
        if isinstance(array, csr_matrix):
            shapes[key] = list(array.shape)
            save_csr(path, key, array)
        else:
            np.save(path / f"{key}.npy", array, allow_pickle=False)
            shapes[key] = None
    about = {"name": name, "settings": dict(settings), "arrays": shapes}
    (path / "model.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def load_model(path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the name, the settings and the memory-mapped arrays that ``save_model`` wrote.

    Raises:
        ValueError: the directory holds no model.
    """
    about_path = path / "model.json"
    if not about_path.exists():
        raise ValueError(f"{path} holds no model: model.json is missing; run `cornerstore fit` first")
    about = json.loads(about_path.read_text(encoding="utf-8"))
    arrays = {
        key: _mapped(path / f"{key}.npy") if shape is None else load_csr(path, key, shape=(shape[0], shape[1]))
        for key, shape in about["arrays"].items()
    }
    return about["name"], about["settings"], arrays


def _mapped(path: Path) -> npt.NDArray[Any]:
    """Map a file privately: never written back, yet a plain writable array to the compiler."""
    mapped: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped.view(np.ndarray)
