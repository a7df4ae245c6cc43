"""Which harmless items give a sensitive family away, and which directions of a user vector do?

Pure numpy: knows incidence, vectors and labels, never a model. How much a shopper buys explains most of who
buys in any family, so both answers are given among shoppers of equal activity.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True)
class Proxies:
    """What each item says about each family; `left_out` are the families with too few buyers to tell.

    Args:
        lift: float32 (families, items), members among the buyers per member that activity alone lets expect.
        z: float32 (families, items), the same difference in standard deviations; both are 0 where unknown.
        left_out: rows of the families that were not judged.
    """

    lift: Floats
    z: Floats
    left_out: tuple[int, ...] = ()

    def save(self, path: str | Path) -> None:
        """Write the two tables to an `.npz` file."""
        _save(path, lift=self.lift, z=self.z, left_out=np.asarray(self.left_out, np.int32))

    @classmethod
    def load(cls, path: str | Path) -> Proxies:
        """Read what `save` wrote."""
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return cls(kept["lift"], kept["z"], tuple(kept["left_out"].tolist()))


@dataclasses.dataclass(frozen=True, slots=True)
class Blindfold:
    """An affine map `vector @ matrix.T + offset` that forgets the sensitive directions; it keeps no label.

    Args:
        matrix: float32 (d, d).
        offset: float32 (d,).
        left_out: columns of the labels with too few known members, or too few known others, to be erased.
    """

    matrix: Floats
    offset: Floats
    left_out: tuple[int, ...] = ()

    def apply(self, vectors: Floats) -> Floats:
        """Return the blinded user vectors, float32 (users, d) or (d,).

        >>> Blindfold(np.diag(np.float32([0, 1])), np.float32([3, 0])).apply(np.float32([5, 7])).tolist()
        [3.0, 7.0]
        """
        return np.asarray(vectors @ self.matrix.T + self.offset, np.float32)

    def save(self, path: str | Path) -> None:
        """Write the map to an `.npz` file."""
        _save(path, matrix=self.matrix, offset=self.offset, left_out=np.asarray(self.left_out, np.int32))

    @classmethod
    def load(cls, path: str | Path) -> Blindfold:
        """Read what `save` wrote."""
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return cls(kept["matrix"], kept["offset"], tuple(kept["left_out"].tolist()))


def labels(incidence: sp.csr_matrix, family_bits: NDArray[np.uint32], n_families: int, *, min_items: int = 1) -> Bools:
    """Return who bought at least `min_items` different items of each family, bool (users, families).

    Bit f of `family_bits`, uint32 (items,), says that the item belongs to family f.

    >>> bought = sp.csr_matrix(np.float32([[1, 0, 2], [0, 1, 0]]))
    >>> labels(bought, np.array([0b01, 0b00, 0b11], np.uint32), 2).tolist()
    [[True, True], [False, False]]
    """
    _require("n_families", n_families, 1, 32)
    _require("min_items", min_items, 1)
    bits = np.asarray(family_bits, np.uint32)
    _same_length("family_bits", bits.size, "items", incidence.shape[1])
    member = (bits[:, None] >> np.arange(n_families, dtype=np.uint32)) & np.uint32(1)
    return np.asarray(_once(incidence) @ member.astype(np.float64) >= min_items)


def learn_proxies(
    incidence: sp.csr_matrix,
    labels: ArrayLike,
    *,
    activity: ArrayLike | None = None,
    bins: int = 10,
    min_buyers: int = 30,
    min_positives: int = 30,
) -> Proxies:
    """Compare each item's buyers in a family with what their activity alone lets expect.

    A shopper's expected membership is the rate of the family in the shopper's activity bin (`bins` quantiles
    of `activity`, (users,), by default the number of different items bought). With p the expectations of an
    item's buyers: lift = members / sum p, z = (members - sum p) / sqrt(sum p (1 - p)). Labels are (users,
    families), true, false or NaN for unknown; unknown shoppers count in neither sum. Items with fewer than
    `min_buyers` known buyers get 0; families with fewer than `min_positives` members or others are left out.

    >>> bought = sp.csr_matrix(np.float32([[1, 1], [1, 1], [0, 1], [0, 1]]))
    >>> learn_proxies(bought, [[1], [1], [0], [0]], bins=1, min_buyers=1, min_positives=1).lift.tolist()
    [[2.0, 1.0]]
    """
    _require("bins", bins, 1)
    _require("min_buyers", min_buyers, 1)
    bought = _once(incidence)
    known, member = _known(labels, bought.shape[0])
    level = np.diff(bought.indptr) if activity is None else np.asarray(activity, np.float64)
    _same_length("activity", level.size, "users", bought.shape[0])
    places = quantile_bins(level, bins)
    judged, left_out = _judged(known, member, min_positives)
    lift = np.zeros((member.shape[1], bought.shape[1]), np.float32)
    z = np.zeros_like(lift)
    if not judged.size:
        return Proxies(lift, z, left_out)
    seen, mine = known[:, judged].astype(np.float64), member[:, judged].astype(np.float64)
    inside = np.eye(bins)[places]
    rate = (inside.T @ mine) / np.maximum(inside.T @ seen, 1.0)
    p = rate[places] * seen
    buyers, observed, expected, spread = (bought.T @ column for column in (seen, mine, p, p * (1.0 - p)))
    enough = (buyers >= min_buyers) & (expected > 0.0)
    lift[judged] = np.where(enough, observed / np.where(enough, expected, 1.0), 0.0).T
    certain = enough & (spread > 0.0)
    z[judged] = np.where(certain, (observed - expected) / np.sqrt(np.where(certain, spread, 1.0)), 0.0).T
    return Proxies(lift, z, left_out)


def banned(proxies: Proxies, *, lift: float, z: float) -> Bools:
    """Return the items that give any family away, bool (items,): both limits reached for one family.

    >>> table = Proxies(np.float32([[1.4, 1.4, 1.0]]), np.float32([[5.0, 1.0, 5.0]]))
    >>> banned(table, lift=1.3, z=4).tolist()
    [True, False, False]
    """
    hit = (proxies.lift >= np.float32(lift)) & (proxies.z >= np.float32(z))
    return np.asarray(hit.any(axis=0))


def learn_blindfold(
    vectors: Floats,
    labels: ArrayLike,
    activity: ArrayLike,
    *,
    strength: float,
    min_positives: int = 30,
) -> Blindfold:
    """Erase from user vectors, float32 (users, d), what tells the labels, (users, labels), given activity.

    LEACE (Belrose et al. 2023, arXiv 2306.03819, theorem 4.3): with W the whitening of the vectors and P the
    orthogonal projection onto the span of W cov(vector, label), the map is v - strength W+ P W (v - mean).
    The labels are first freed of what `activity`, (users,) or (users, columns), explains linearly, so that
    at strength 1 no linear probe on these vectors beats activity. Labels may be NaN for shoppers of whom
    they are unknown; these serve the whitening alone.

    >>> rng = np.random.default_rng(0)
    >>> vectors = rng.normal(size=(200, 3)).astype(np.float32)
    >>> member = vectors[:, :1] > 0
    >>> blind = learn_blindfold(vectors, member, np.ones(200), strength=1.0)
    >>> bool(abs(np.cov(blind.apply(vectors)[:, 0], member[:, 0])[0, 1]) < 1e-6)
    True
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"`strength` must be between 0 and 1 but got {strength}")
    known, member = _known(labels, len(vectors))
    _same_length("activity", len(np.asarray(activity)), "users", len(vectors))
    judged, left_out = _judged(known, member, min_positives)
    size = vectors.shape[1]
    if strength == 0.0 or not judged.size:
        return Blindfold(np.eye(size, dtype=np.float32), np.zeros(size, np.float32), left_out)
    wide = np.asarray(vectors, np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    told = np.stack([centred.T @ _residual(member[:, f], activity, known[:, f]) for f in judged], axis=1) / len(wide)
    values, basis = np.linalg.eigh(centred.T @ centred / len(wide))
    kept = values > values[-1] * size * np.finfo(np.float32).eps
    root, basis = np.sqrt(values[kept]), basis[:, kept]
    left, weight, _ = np.linalg.svd((basis.T @ told) / root[:, None], full_matrices=False)
    left = left[:, weight > weight[:1].max(initial=0.0) * max(told.shape) * np.finfo(np.float64).eps]
    erase = strength * ((basis * root) @ left) @ ((basis / root) @ left).T
    return Blindfold((np.eye(size) - erase).astype(np.float32), (erase @ mean).astype(np.float32), left_out)


def quantile_bins(level: ArrayLike, bins: int) -> NDArray[np.int64]:
    """Return the quantile of each level, int64 (users,) from 0 to `bins` - 1; equal levels share one.

    >>> quantile_bins([5, 1, 1, 9], 2).tolist()
    [1, 0, 0, 1]
    """
    levels = np.asarray(level, np.float64)
    first = np.searchsorted(np.sort(levels), levels, side="left")
    return np.asarray(np.minimum(first * bins // max(levels.size, 1), bins - 1), np.int64)


def _residual(member: Bools, activity: ArrayLike, known: Bools) -> Doubles:
    """Return the label less its least-squares fit on activity over the known users, 0 elsewhere."""
    columns = np.asarray(activity, np.float64).reshape(member.size, -1)
    design = np.column_stack([np.ones(member.size), columns])[known]
    label = member[known].astype(np.float64)
    scale = np.maximum(np.abs(design).max(axis=0), np.finfo(np.float64).tiny)
    fit = np.linalg.lstsq(design / scale, label, rcond=None)[0]
    left = label - design / scale @ fit
    out = np.zeros(member.size)
    if np.linalg.norm(left) > 1e-9 * np.linalg.norm(label):  # a label that activity explains whole tells nothing
        out[known] = left
    return out


def _known(labels: ArrayLike, users: int) -> tuple[Bools, Bools]:
    table = np.asarray(labels, np.float64)
    if table.ndim != 2:
        raise ValueError(f"`labels` must have two dimensions, users and families, but got {table.ndim}")
    _same_length("labels", len(table), "users", users)
    known = ~np.isnan(table)
    return known, known & (table > 0.0)


def _judged(known: Bools, member: Bools, least: int) -> tuple[NDArray[np.intp], tuple[int, ...]]:
    _require("min_positives", least, 1)
    positives = member.sum(axis=0)
    enough = np.minimum(positives, known.sum(axis=0) - positives) >= least
    return np.flatnonzero(enough), tuple(np.flatnonzero(~enough).tolist())


def _once(incidence: sp.csr_matrix) -> sp.csr_matrix:
    """Return the incidence with every stored positive entry as 1.0, explicit zeros dropped."""
    once = sp.csr_matrix(incidence, dtype=np.float64, copy=True)
    once.sum_duplicates()
    once.data = (once.data > 0.0).astype(np.float64)
    once.eliminate_zeros()
    return once


def _require(name: str, value: int, low: int, high: int | None = None) -> None:
    if value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"`{name}` must be {bound} but got {value}")


def _same_length(name: str, got: int, of: str, want: int) -> None:
    if got != want:
        raise ValueError(f"`{name}` must have one row for each of the {want} {of} but has {got}")


def _save(path: str | Path, **arrays: NDArray[np.generic]) -> None:
    with Path(path).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
