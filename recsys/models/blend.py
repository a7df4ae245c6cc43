"""Several models as one: their scores, made comparable and weighted, add up, and so do past items' parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.models.base import Affine, Floats, Mask, ModelError, Moments, Progress, Rows, checked, require
from recsys.models.dense import STEP, DenseModel, some_users
from recsys.models.factors import FactorModel, Factors, taken
from recsys.models.served import Block, Served, refuse
from recsys.models.store import check_shapes, load_model
from recsys.topk import TopK


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined(FactorModel):
    """The weighted sum of models that all have user vectors: one such model, with the vectors joined."""

    name: ClassVar[str] = "joined"

    models: tuple[FactorModel, ...]
    scales: tuple[float, ...]
    joined: Factors

    @property
    def known(self) -> Factors:
        return self.joined

    def vectors(self, evidence: csr_matrix) -> Floats:
        """Return (U, d): the models' vectors, scaled and joined."""
        return np.concatenate(
            [model.vectors(evidence) * np.float32(s) for model, s in zip(self.models, self.scales, strict=True)],
            axis=1,
        )

    def add_parts_along(self, block: Block, along: Floats, *, weight: float) -> None:
        """Add each model's parts along its own share of the joined vector."""
        start = 0
        for model, scale in zip(self.models, self.scales, strict=True):
            stop = start + model.known.item.shape[1]
            model.add_parts_along(block, np.ascontiguousarray(along[:, start:stop]), weight=weight * scale)
            start = stop


@dataclass(frozen=True, slots=True, eq=False)
class Blended:
    """Fitted models and the factor on each one's score; ``joined`` is None where a model has no vectors.

    ``trained`` (I,) tells the items taken in training, ``measured`` holds the moments of the blended scores.
    """

    models: tuple[Served, ...]
    scales: tuple[float, ...]
    trained: Mask
    measured: Moments
    joined: Joined | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Blend(DenseModel):
    """The weighted sum of other models, each one's scores first brought to a spread of one.

    The spread is the root mean variance, over training users, of a user's scores over the trained items. Where all
    models have user vectors the blend has them too, joined, and takes a blindfold; otherwise it has none, ranks by
    block products made exact by the past items' parts, and its moments are measured over 4,096 training users.

    Args:
        parts: for each model its ``model`` (name), ``weight`` (not zero; below zero it speaks against), and settings.

    Example:
        >>> boards = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32))
        >>> parts = [{"model": name, "weight": 1, "factors": 2} for name in ("spectral", "als")]
        >>> model = Blend(parts=parts).fit(boards, seed=0)
        >>> session = csr_matrix(np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32))
        >>> model.vectors(session).shape, sorted(model.top(session, k=2, exclude=session).item_row.tolist())
        ((1, 4), [2, 3])
    """

    name: ClassVar[str] = "blend"

    parts: Sequence[Mapping[str, Any]]
    state: Blended | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (
            isinstance(self.parts, str)
            or not isinstance(self.parts, Sequence)
            or not all(isinstance(part, Mapping) for part in self.parts)
        ):
            raise ModelError(f'`parts` must be a list like [{{"model": "als", "weight": 1}}] but got {self.parts!r}')
        if not self.parts:
            raise ModelError("`parts` must name at least one model but is empty")
        for part in self.parts:
            if "model" not in part or "weight" not in part:
                raise ModelError(f"a part needs `model` and `weight` but has {', '.join(part) or 'nothing'}")
            weight = part["weight"]
            if not isinstance(weight, Real) or not np.isfinite(float(weight)) or weight == 0:
                raise ModelError(f"`weight` must be a finite number and not 0 but got {weight!r}")
        self.unfitted()

    def unfitted(self) -> tuple[Served, ...]:
        """Return the models of the parts, not fitted."""
        from recsys.models import make_model

        made = []
        for part in self.parts:
            model = make_model(part["model"], **{k: v for k, v in part.items() if k not in {"model", "weight"}})
            if not isinstance(model, Served) or isinstance(model, Blend):
                raise ModelError(f"a blend takes models of other kinds but got {part['model']!r}")
            made.append(model)
        return tuple(made)

    @property
    def known(self) -> Blended:
        """What the fit has learned."""
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Return the blend of models each fitted to users x items; ``progress`` counts fitted models."""
        matrix = checked(matrix)
        trained = taken(matrix)
        sample = some_users(matrix)
        models: list[Served] = []
        scales: list[float] = []
        for part, model in zip(self.parts, self.unfitted(), strict=True):
            fitted = model.fit(matrix, seed=seed)  # type: ignore[attr-defined]
            models.append(fitted)
            scales.append(float(part["weight"]) / _spread(fitted, sample, trained))
            if progress is not None:
                progress(len(models), len(self.parts))
        joined = _join(models, scales, matrix, trained)
        items = matrix.shape[1]
        nothing = Moments(np.zeros(items, np.float32), np.zeros(items, np.float32))
        draft = replace(self, state=Blended(tuple(models), tuple(scales), trained, nothing, joined))
        measured = joined.moments() if joined is not None else draft.measure(sample)
        return replace(self, state=Blended(tuple(models), tuple(scales), trained, measured, joined))

    @property
    def trained(self) -> Mask:
        return self.known.trained

    @property
    def dimensions(self) -> int | None:
        return None if self.known.joined is None else self.known.joined.dimensions

    def vectors(self, evidence: csr_matrix) -> Floats | None:
        """Return (U, d) joined user vectors, or None if a part has none."""
        return None if self.known.joined is None else self.known.joined.vectors(evidence)

    def top(
        self,
        evidence: csr_matrix,
        *,
        k: int,
        exclude: csr_matrix | None = None,
        within: Mask | None = None,
        vectors: Floats | None = None,
    ) -> TopK:
        """Return each user's at most k best items that anybody took in training, see ``Recommender.top``."""
        require("k", k, at_least=1)
        known = self.known
        if known.joined is not None:
            return known.joined.top(evidence, k=k, exclude=exclude, within=within, vectors=vectors)
        return super().top(evidence, k=k, exclude=exclude, within=within, vectors=vectors)

    def scores(
        self, evidence: csr_matrix, user_of_row: Rows, item_row: Rows, *, vectors: Floats | None = None
    ) -> Floats:
        """Return (R,) scores of given pairs."""
        if self.known.joined is not None:
            return self.known.joined.scores(evidence, user_of_row, item_row, vectors=vectors)
        return super().scores(evidence, user_of_row, item_row, vectors=vectors)

    def dense(self, evidence: csr_matrix) -> Floats:
        """Return (U, I) scores by block products."""
        total = np.zeros(evidence.shape, np.float32)
        for model, scale in zip(self.known.models, self.known.scales, strict=True):
            total += model.dense(evidence) * np.float32(scale)
        return total

    def moments(self, blind: Affine | None = None) -> Moments:
        """Return each item's mean score and deviation over the training users."""
        if self.known.joined is not None:
            return self.known.joined.moments(blind)
        refuse(blind)
        return self.known.measured

    def base(self, item_row: Rows, *, blind: Affine | None) -> Floats:
        """Return (R,): what no past item carries."""
        if self.known.joined is not None:
            return self.known.joined.base(item_row, blind=blind)
        refuse(blind)
        parts = zip(self.known.models, self.known.scales, strict=True)
        return np.sum([model.base(item_row, blind=None) * np.float32(scale) for model, scale in parts], axis=0)

    def add_parts(self, block: Block, *, blind: Affine | None, weight: float) -> None:
        """Add every model's parts."""
        if self.known.joined is not None:
            self.known.joined.add_parts(block, blind=blind, weight=weight)
            return
        refuse(blind)
        for model, scale in zip(self.known.models, self.known.scales, strict=True):
            model.add_parts(block, blind=None, weight=weight * scale)

    def arrays(self) -> dict[str, npt.NDArray[Any] | csr_matrix]:
        """Return what is to be saved beside the models."""
        known = self.known
        own: dict[str, npt.NDArray[Any] | csr_matrix] = {
            "scales": np.array(known.scales), "trained": known.trained, "mean": known.measured.mean,
            "std": known.measured.std,
        }  # fmt: skip
        if known.joined is not None:
            own |= {"user_mean": known.joined.known.mean, "user_covariance": known.joined.known.covariance}
        return own

    def save(self, path: Path) -> None:
        """Write the blend and each of its models into a directory."""
        super().save(path)
        for place, model in enumerate(self.known.models):
            model.save(path / f"part{place}")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        draft = cls(**settings)
        models = [
            type(model).load(path / f"part{place}")  # type: ignore[attr-defined]
            for place, model in enumerate(draft.unfitted())
        ]
        scales, trained = tuple(arrays["scales"].tolist()), arrays["trained"]
        items = (len(trained),)
        check_shapes(arrays, scales=(len(models),), mean=items, std=items)
        if others := {model.items for model in models} - {len(trained)}:
            raise ModelError(f"the parts of the blend in {path} must be of {len(trained)} items but are of {others}")
        joined = None
        if "user_mean" in arrays:
            item = np.concatenate([model.known.item for model in models], axis=1)
            vectors = Factors.of_arrays(
                {"item": item, "trained": trained, "mean": arrays["user_mean"], "covariance": arrays["user_covariance"]}
            )
            joined = Joined(models=tuple(models), scales=scales, joined=vectors)
        measured = Moments(arrays["mean"], arrays["std"])
        return replace(draft, state=Blended(tuple(models), scales, trained, measured, joined))


def _join(models: Sequence[Served], scales: Sequence[float], matrix: csr_matrix, trained: Mask) -> Joined | None:
    factors = [model for model in models if isinstance(model, FactorModel)]
    if len(factors) < len(models):
        return None
    item = np.concatenate([model.known.item for model in factors], axis=1)
    nobody = Factors.of(item, np.zeros((0, item.shape[1]), np.float32), trained)
    draft = Joined(models=tuple(factors), scales=tuple(scales), joined=nobody)
    return replace(draft, joined=Factors.of(item, draft.vectors(matrix), trained))


def _spread(model: Served, sample: csr_matrix, trained: Mask) -> float:
    """Return the root mean variance, over the sample's users, of a user's scores over the trained items; one if none."""
    if not sample.shape[0] or not trained.any():
        return 1.0
    variances = [
        model.dense(sample[start : start + STEP])[:, trained].var(axis=1, dtype=np.float64)
        for start in range(0, sample.shape[0], STEP)
    ]
    return float(np.sqrt(np.concatenate(variances).mean())) or 1.0
