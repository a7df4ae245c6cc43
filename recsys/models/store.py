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
    """Open a csr matrix that ``save_csr`` wrote, memory-mapped and without copying; all of it is looked at.

    Raises:
        ValueError: the stored arrays do not fit the shape, or a number is not finite.
    """
    data, indices, indptr = (_mapped(path / f"{name}.{part}.npy") for part in _PARTS)
    if len(indptr) != shape[0] + 1:
        raise ValueError(f"{path / name} must have {shape[0]} rows but has {len(indptr) - 1}")
    check_finite(f"{name}.data", data)
    matrix = csr_matrix((data, indices, indptr), shape=shape, copy=False)
    matrix.check_format(full_check=True)
    return matrix


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

    Every number is looked at, in place: nothing is copied, and serving reads them all anyway. Whether shapes fit each
    other is the model's to know.

    Raises:
        ValueError: the directory holds no model, an array is broken, or a number is not finite.
    """
    about = about_model(path)
    arrays = {
        key: _load_array(path, key) if shape is None else load_csr(path, key, shape=(shape[0], shape[1]))
        for key, shape in about["arrays"].items()
    }
    return about["name"], about["settings"], arrays


def about_model(path: Path) -> dict[str, Any]:
    """Return what stands in a model's directory beside the arrays: name, settings, shapes of csr matrices.

    Raises:
        ValueError: the directory holds no model.
    """
    about_path = path / "model.json"
    if not about_path.exists():
        raise ValueError(f"{path} holds no model: model.json is missing; run `cornerstore fit` first")
    about: dict[str, Any] = json.loads(about_path.read_text(encoding="utf-8"))
    return about


def check_shapes(arrays: Mapping[str, npt.NDArray[Any] | csr_matrix], **shapes: tuple[int, ...]) -> None:
    """Refuse arrays of another shape than the one that is stated.

    Example:
        >>> check_shapes({"mean": np.zeros(2)}, mean=(3,))
        Traceback (most recent call last):
        ValueError: mean must be of shape (3,) but is of (2,)
    """
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} must be of shape {shape} but is of {arrays[name].shape}")


def check_finite(name: str, array: npt.NDArray[Any]) -> None:
    """Refuse float32 with NaN or infinity: one pass that copies nothing, since their sum is then not finite either.

    Example:
        >>> check_finite("mean", np.array([1, np.nan], np.float32))
        Traceback (most recent call last):
        ValueError: mean must hold finite numbers alone
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore"):
        total = array.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise ValueError(f"{name} must hold finite numbers alone")


def _load_array(path: Path, name: str) -> npt.NDArray[Any]:
    array = _mapped(path / f"{name}.npy")
    check_finite(name, array)
    return array


def _mapped(path: Path) -> npt.NDArray[Any]:
    """Map a file privately: never written back, yet a plain writable array to the compiler."""
    mapped: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped.view(np.ndarray)
