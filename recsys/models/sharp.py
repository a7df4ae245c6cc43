"""An item-item model made sharper: from what neighbours say, part of what most people have in common is taken away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags
from threadpoolctl import threadpool_limits

from recsys.models import kernel
from recsys.models.base import Affine, Floats, Mask, ModelError, Moments, Progress, Rows, checked, raised, require
from recsys.models.dense import DenseModel, some_users
from recsys.models.factors import taken
from recsys.models.item_item import ItemItem
from recsys.models.served import Block, refuse, shared
from recsys.models.store import check_shapes, load_model


@dataclass(frozen=True, slots=True, eq=False)
class Sharpness:
    """What is learned: evidence e scores ``e @ weights - (e @ past) @ item.T``.

    Attributes:
        weights: (I, I) csr float32; row: a past item, column: what it speaks for.
        past: (I, d) float32, where a past item sends a user among the common directions.
        item: (I, d) float32, what is taken away from each item along them.
        trained: (I,) bool, taken by anybody in training.
        mean: (I,) float32, mean score over some training users.
        std: (I,) float32, standard deviation of it.
    """

    weights: csr_matrix
    past: Floats
    item: Floats
    trained: Mask
    mean: Floats
    std: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Sharp(DenseModel):
    """Scores S of a degree-normalised item-item model less ``strength`` * S V s^2 V', a blurred copy of themselves.

    V and s <= 1 are the leading right singular vectors and values of the matrix divided by the square roots of user
    and item degrees: the smooth directions of the interaction graph. Blurring, then sharpening follows BSPM (Choi et
    al. 2023), with one step each and a low-rank filter. Moments are measured over 4,096 training users.

    Args:
        strength: from 0 (the item-item model itself) over 1 (directions that everybody shares are gone) to 2 (they speak
            against).
        factors: singular vectors, at least 1; at most min(users, items) are used.
        rounds: power iterations of the randomized solver, at least 0.
        neighbours: see ``ItemItem``, as are the others.
        power: of the weights.
        sharpness: similarities are raised to it; above 0.
        user_exponent: at least 0.
        past_exponent: at least 0.
        item_exponent: at least 0.

    Example:
        >>> boards = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32))
        >>> model = Sharp(factors=2, strength=0.5).fit(boards, seed=0)
        >>> session = csr_matrix(np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32))
        >>> model.top(session, k=2, exclude=session).item_row.tolist()
        [2, 3]
    """

    name: ClassVar[str] = "sharp"

    strength: float = 0.5
    factors: int = 256
    rounds: int = 3
    neighbours: int | None = None
    power: float = 0.0
    sharpness: float = 1.0
    user_exponent: float = 0.6
    past_exponent: float = 0.6
    item_exponent: float = 0.3
    state: Sharpness | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require("strength", self.strength, at_least=0, at_most=2)
        require("factors", self.factors, at_least=1)
        require("rounds", self.rounds, at_least=0)
        self._blurred()

    @property
    def known(self) -> Sharpness:
        """What the fit has learned."""
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    @property
    def trained(self) -> Mask:
        return self.known.trained

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Return the model fitted to users x items (randomized SVD, Halko, Martinsson, Tropp 2011)."""
        given = raised(checked(matrix), self.power)
        tell = progress or (lambda _done, _whole: None)
        weights = self._blurred().similarity(given)
        tell(1, 3)
        item, values = self._smooth(given, seed)
        past = np.asarray(weights @ (item * values**2), np.float32) * np.float32(self.strength)
        tell(2, 3)
        nothing = np.zeros(given.shape[1], np.float32)
        draft = replace(self, state=Sharpness(weights, past, item, taken(given), nothing, nothing))
        mean, std = draft.measure(some_users(checked(matrix)))
        tell(3, 3)
        return replace(self, state=replace(draft.known, mean=mean, std=std))

    def vectors(self, evidence: csr_matrix) -> None:
        """Return None: there are no user vectors, so no blindfold either."""

    def dense(self, evidence: csr_matrix) -> Floats:
        """Return (U, I) scores by block products."""
        given, known = self._given(evidence), self.known
        scores: Floats = np.asarray((given @ known.weights).toarray(), np.float32)
        scores -= np.asarray(given @ known.past, np.float32) @ known.item.T
        return scores

    def moments(self, blind: Affine | None = None) -> Moments:
        """Return each item's mean score and deviation over some training users, measured in the fit."""
        refuse(blind)
        return Moments(self.known.mean, self.known.std)

    def base(self, item_row: Rows, *, blind: Affine | None) -> Floats:
        """Return zeros: every score is carried by past items."""
        refuse(blind)
        return np.zeros(len(item_row), np.float32)

    def add_parts(self, block: Block, *, blind: Affine | None, weight: float) -> None:
        """Add what each past item says of each candidate, less what of it everybody shares."""
        refuse(blind)
        given, known = self._given(block.evidence), self.known
        along = np.ascontiguousarray(known.item[block.item_row])

        def add(start: int, stop: int) -> None:
            kernel.add_similar_parts(
                known.weights.indptr, known.weights.indices, known.weights.data, given.indptr, given.indices,
                given.data, block.offsets, block.item_row, block.starts, weight, start, stop, block.parts,
            )  # fmt: skip
            kernel.add_summed_parts(
                known.past, along, given.indptr, given.indices, given.data, block.offsets, block.starts, -weight,
                start, stop, block.parts,
            )  # fmt: skip

        shared(add, block.users)

    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return what is to be saved beside the settings."""
        names = ("weights", "past", "item", "trained", "mean", "std")
        return {name: getattr(self.known, name) for name in names}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        items, size = arrays["item"].shape
        check_shapes(arrays, weights=(items, items), past=(items, size), trained=(items,), mean=(items,), std=(items,))
        return cls(**settings, state=Sharpness(**arrays))

    def _blurred(self) -> ItemItem:
        """Return the item-item model that is sharpened, not fitted; its settings' bounds are checked."""
        return ItemItem(
            weighting="degree", neighbours=self.neighbours, power=self.power, sharpness=self.sharpness,
            user_exponent=self.user_exponent, past_exponent=self.past_exponent, item_exponent=self.item_exponent,
        )  # fmt: skip

    def _smooth(self, given: csr_matrix, seed: int) -> tuple[Floats, Floats]:
        """Return the leading right singular vectors, (I, d), of the normalised matrix, and their values, (d,)."""
        from sklearn.utils.extmath import randomized_svd

        item, values = np.zeros((given.shape[1], self.factors), np.float32), np.zeros(self.factors, np.float32)
        if given.nnz:
            rows, columns = (diags(_root(given.sum(axis=axis))) for axis in (1, 0))
            size = min(self.factors, *given.shape)
            with threadpool_limits(1, "blas"):
                _, values[:size], right = randomized_svd(
                    csr_matrix(rows @ given @ columns, dtype=np.float32),
                    size,
                    n_iter=self.rounds,
                    random_state=int(seed),
                )
            item[:, :size] = right.T
            item[~taken(given)] = 0
        return item, values

    def _given(self, evidence: csr_matrix) -> csr_matrix:
        return raised(checked(evidence, items=len(self.known.trained)), self.power)


def _root(degree: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return degree ** -0.5, one where there is none."""
    plain = np.asarray(degree, np.float64).ravel()
    return np.where(plain > 0, plain, 1.0) ** -0.5
