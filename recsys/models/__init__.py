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
from recsys.models.store import about_model
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


def load_model(path: Path, *, items: int | None = None, dimensions: int | None = None) -> Recommender:
    """Open the fitted model in a directory, whichever it is, and make sure that it is of so many items and dimensions.

    Raises:
        ModelError: this version does not know the model, or its items or user vectors are not as stated.
        ValueError: there is none, its arrays do not fit together, or a number in them is not finite.
    """
    name = about_model(path)["name"]
    if name not in MODELS:
        raise ModelError(f"{path} holds a model {name!r}, which this version does not know; fit again")
    loaded = MODELS[name].load(path)
    for word, wanted in (("items", items), ("dimensions", dimensions)):
        if wanted is not None and (found := getattr(loaded, word)) != wanted:
            raise ModelError(f"the model must be of {wanted} {word} but is of {found}")
    model: Recommender = loaded
    return model
