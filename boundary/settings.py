"""The numbers and words that a policy file may set: their types, their bounds, and in which direction they are stricter."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

NO_CAP = "none"  # TOML has no null: the word that stands for it in a policy file
MOST = 1_000_000_000


def _none_word(value: object) -> object:
    return None if value == NO_CAP else value


def setting(stricter: Literal["lower", "higher"], **bounds: float) -> Any:
    """Declare a number's bounds, and in which direction it becomes stricter."""
    bounds.setdefault("le", MOST)
    return Field(json_schema_extra={"stricter": stricter}, allow_inf_nan=False, **bounds)  # type: ignore[call-overload]


def _number_or_none(kind: Any, way: str, most: float) -> Any:
    """Return the type of a number that may be no cap."""
    word = "integer" if kind is int else "number"
    schema = {
        "anyOf": [{"type": word, "minimum": 0, "maximum": most}, {"const": NO_CAP}],
        "stricter": way,
    }
    bounds = Field(ge=0, le=most) if kind is int else Field(ge=0, le=most, allow_inf_nan=False)
    return Annotated[
        Annotated[kind, bounds] | None,
        BeforeValidator(_none_word),
        PlainSerializer(lambda value: NO_CAP if value is None else value),
        WithJsonSchema(schema),
        Field(json_schema_extra={"stricter": way}),
    ]


def as_set(order: tuple[str, ...] | None) -> BeforeValidator:
    """Read a list of words as a set in a fixed order, so that writing it otherwise is no other policy."""

    def read(value: object) -> object:
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            return value
        known = order or ()
        return tuple(sorted(set(value), key=lambda word: (known.index(word) if word in known else len(known), word)))

    return BeforeValidator(read)


Count: Any = _number_or_none(int, "lower", MOST)
Share: Any = _number_or_none(float, "lower", 1)
Ceiling: Any = _number_or_none(float, "lower", MOST)
Floor: Any = _number_or_none(float, "higher", MOST)
Days = Annotated[float, setting("higher", ge=0, le=3660)]
Words = Annotated[tuple[str, ...], as_set(None)]
