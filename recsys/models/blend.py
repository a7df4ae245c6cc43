"""Several models as one: their scores, made comparable and weighted, add up, and so do past items' parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from recsys.models.base import Floats, ModelError, Progress, checked, require
from recsys.models.factors import FactorModel, Factors, taken
from recsys.models.served import Block
from recsys.models.store import load_model


@dataclass(frozen=True, slots=True, eq=False)
class Blended:
    """Fitted models, the factor on each one's score, and the joined vectors.

    Attributes:
        models: the fitted models.
        scales: factor on each model's score.
        factors: joined item vectors; a user's vector is the models' vectors times their scale, joined.
    """

    models: tuple[FactorModel, ...]
    scales: tuple[float, ...]
    factors: Factors


@dataclass(frozen=True, kw_only=True, eq=False)
class Blend(FactorModel):
    """The weighted sum of models with user vectors; each one's scores are first brought to a spread of one.

    The spread is the root mean variance, over training users, of a user's scores over the trained items.

    Args:
        parts: for each model its ``model`` (name), ``weight`` (above 0), and its own settings.

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
        if not self.parts:
            raise ModelError("`parts` must name at least one model but is empty")
        for part in self.parts:
            if "model" not in part or "weight" not in part:
                raise ModelError(f"a part needs `model` and `weight` but has {', '.join(part) or 'nothing'}")
            require("weight", part["weight"], above=0)
        self.unfitted()

    def unfitted(self) -> tuple[FactorModel, ...]:
        """Return the models of the parts, not fitted."""
        from recsys.models import make_model

        models = []
        for part in self.parts:
            own = {key: value for key, value in part.items() if key not in {"model", "weight"}}
            model = make_model(part["model"], **own)
            if not isinstance(model, FactorModel):
                raise ModelError(f"a blend takes models with user vectors; {part['model']!r} has none")
            models.append(model)
        return tuple(models)

    @property
    def known(self) -> Factors:
        return self._blended.factors

    @property
    def _blended(self) -> Blended:
        if self.state is None:
            raise ModelError("the model is not fitted; call `fit` first")
        return self.state

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> Self:
        """Return the blend of models each fitted to users x items; ``progress`` counts fitted models."""
        matrix = checked(matrix)
        models, scales = [], []
        for part, model in zip(self.parts, self.unfitted(), strict=True):
            fitted = model.fit(matrix, seed=seed)  # type: ignore[attr-defined]
            models.append(fitted)
            scales.append(float(part["weight"]) / (_spread(fitted.known) or 1.0))
            if progress is not None:
                progress(len(models), len(self.parts))
        item = np.concatenate([model.known.item for model in models], axis=1)
        users = _joined(models, scales, matrix)
        return replace(self, state=Blended(tuple(models), tuple(scales), Factors.of(item, users, taken(matrix))))

    def vectors(self, evidence: csr_matrix) -> Floats:
        """Return (U, d): the models' vectors, scaled and joined."""
        return _joined(self._blended.models, self._blended.scales, evidence)

    def add_parts_along(self, block: Block, along: Floats, *, weight: float) -> None:
        """Add each model's parts along its own share of the joined vector."""
        start = 0
        for model, scale in zip(self._blended.models, self._blended.scales, strict=True):
            stop = start + model.known.item.shape[1]
            model.add_parts_along(block, np.ascontiguousarray(along[:, start:stop]), weight=weight * scale)
            start = stop

    def save(self, path: Path) -> None:
        """Write the joined vectors and each model into a directory."""
        super().save(path)
        np.save(path / "scales.npy", np.array(self._blended.scales), allow_pickle=False)
        for place, model in enumerate(self._blended.models):
            model.save(path / f"part{place}")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, arrays memory-mapped."""
        _, settings, arrays = load_model(path)
        draft = cls(**settings)
        models = tuple(
            type(model).load(path / f"part{place}")  # type: ignore[attr-defined]
            for place, model in enumerate(draft.unfitted())
        )
        scales = tuple(np.load(path / "scales.npy", allow_pickle=False).tolist())
        return replace(draft, state=Blended(models, scales, Factors.of_arrays(arrays)))


def _joined(models: Sequence[FactorModel], scales: Sequence[float], evidence: csr_matrix) -> Floats:
    scaled = [model.vectors(evidence) * np.float32(s) for model, s in zip(models, scales, strict=True)]
    return np.concatenate(scaled, axis=1)


def _spread(known: Factors) -> float:
    """Return sqrt(E v' C v): C, the covariance of the trained items' vectors; v, a training user's vector."""
    item = known.item[known.trained].astype(np.float64)
    if not len(item):
        return 0.0
    items = np.cov(item, rowvar=False, bias=True).reshape(item.shape[1], -1)
    users = known.covariance + np.outer(known.mean, known.mean)
    return float(np.sqrt(max((items * users).sum(), 0.0)))
