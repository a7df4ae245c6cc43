"""The models that propose: one protocol, several ways to answer it."""

from dataclasses import MISSING, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from boundary.mistakes import close, nearest
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
KINDS: dict[str, tuple[str, type]] = {
    "int": ("a whole number", Integral),
    "float": ("a number", Real),
    "str": ("a word", str),
}


def make_model(name: str, **settings: Any) -> Recommender:
    """Return an unfitted model by name.

    Raises:
        ModelError: there is no such model, it has no such setting, or a value is none for it.

    Example:
        >>> make_model("als", factors=8).settings["factors"]
        8
    """
    if name not in MODELS:
        meant = close(name, list(MODELS))
        mend = f"; did you mean {meant}?" if meant else ""
        raise ModelError(f"`model` must be one of {', '.join(MODELS)} but got {name!r}{mend}")
    known = [field for field in fields(MODELS[name]) if field.init and field.name != "state"]
    for setting, value in settings.items():
        kind = next((str(field.type) for field in known if field.name == setting), None)
        if kind is None:
            raise ModelError(f"{name} has no setting {setting!r}; {nearest(setting, [field.name for field in known])}")
        _check(name, setting, kind, value)
    for field in known:
        if field.default is MISSING and field.name not in settings:
            raise ModelError(f"{name} needs a setting `{field.name}`; give it")
    try:
        model: Recommender = MODELS[name](**settings)
    except TypeError as error:
        raise ModelError(f"model {name!r}: {error}") from error
    return model


def _check(model: str, setting: str, kind: str, value: object) -> None:
    """Refuse a value that is none of a setting's kind, which is written as in the model's class."""
    plain = kind.removesuffix(" | None")
    words, wanted = KINDS.get(plain, ("", object))
    if (isinstance(value, wanted) and not isinstance(value, bool)) or (value is None and plain != kind):
        return
    or_none = " or null" if plain != kind else ""
    raise ModelError(f"`{setting}` of {model} must be {words}{or_none} but got {value!r}")


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
