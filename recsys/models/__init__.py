"""The models that propose: one protocol, several ways to answer it."""

from pathlib import Path
from typing import Any

from recsys.models.als import ALS
from recsys.models.base import (
    Affine,
    Contributions,
    ModelError,
    Moments,
    Recommender,
    Trace,
)
from recsys.models.blend import Blend
from recsys.models.ease import EASE
from recsys.models.item_item import ItemItem, Own
from recsys.models.popular import Popular
from recsys.models.sharp import Sharp
from recsys.models.spectral import Spectral
from recsys.models.store import load_model as _read
from recsys.topk import TopK

__all__ = [
    "ALS",
    "EASE",
    "MODELS",
    "Affine",
    "Blend",
    "Contributions",
    "ItemItem",
    "ModelError",
    "Moments",
    "Own",
    "Popular",
    "Recommender",
    "Sharp",
    "Spectral",
    "TopK",
    "Trace",
    "load_model",
    "make_model",
]

MODELS: dict[str, type[Any]] = {
    model.name: model for model in (ALS, Spectral, Blend, EASE, ItemItem, Sharp, Popular, Own)
}


def make_model(name: str, **settings: Any) -> Recommender:
    """Return an unfitted model by name.

    Raises:
        ModelError: there is no such model, or it has no such setting.

    Example:
        >>> make_model("als", factors=8).settings["factors"]
        8
    """
    if name not in MODELS:
        raise ModelError(f"`model` must be one of {', '.join(MODELS)} but got {name!r}")
    try:
        model: Recommender = MODELS[name](**settings)
    except TypeError as error:
        raise ModelError(f"model {name!r}: {error}") from error
    return model


def load_model(path: Path) -> Recommender:
    """Open the fitted model in a directory, whichever it is."""
    name, _, _ = _read(path)
    if name not in MODELS:
        raise ModelError(f"{path} holds a model {name!r}, which this version does not know; fit again")
    model: Recommender = MODELS[name].load(path)
    return model
