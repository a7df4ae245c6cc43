"""How is a mistake in a file told? By its place, the bound, the value, and the nearest word that would do."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from boundary.settings import NO_CAP

MOST_COMPARED = 60  # words that a mistake is held against: with thousands of rules each line would take seconds


def mistakes_of(error: ValidationError, kind: type[BaseModel], path: str = "") -> Iterator[str]:
    """Say each mistake once: path, bound and value."""
    told = set()
    for one in error.errors(include_url=False):
        steps = [step for step in one["loc"] if "[" not in str(step) and str(step) != "tuple"]
        where = ".".join(word for word in (path, *map(str, steps)) if word)
        if where in told:
            continue
        told.add(where)
        yield f"{where} {_saying(one, kind, steps)}".strip()


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word.

    Example:
        >>> nearest("categroy", ["category", "type"]), nearest("x", ["category", "type"])
        ('did you mean category?', 'there are category, type')
    """
    words = list(known)
    near = close(word, words)
    more = f" and {len(words) - MOST_COMPARED} more" if len(words) > MOST_COMPARED else ""
    listed = ", ".join(words[:MOST_COMPARED]) + more
    return f"did you mean {near}?" if near else f"there are {listed}" if words else "remove it"


def close(word: str, known: Sequence[str]) -> str | None:
    """Return the one known word that this one may be a slip of."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None) if len(known) <= MOST_COMPARED else None


def quoted(value: Any) -> str:
    """Write a value as a file would."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _saying(one: Any, kind: type[BaseModel], steps: Sequence[int | str]) -> str:
    what, bounds, got = one["type"], one.get("ctx", {}), quoted(one["input"])
    if what == "missing":
        return "is missing; add it"
    if what == "extra_forbidden":
        return f"is no setting of this part; {nearest(str(one['loc'][-1]), _settings(_part(kind, steps[:-1])))}"
    if what == "value_error":
        return str(bounds["error"])
    name = str(steps[0]) if steps else ""
    field = kind.model_fields.get(name)
    none = (
        f' or "{NO_CAP}"'
        if field is not None and type(None) in get_args(field.annotation) and name != "surfaces"
        else ""
    )
    must = {
        "greater_than_equal": f"at least {_number(bounds.get('ge'))}{none}",
        "greater_than": f"more than {_number(bounds.get('gt'))}{none}",
        "less_than_equal": f"at most {_number(bounds.get('le'))}{none}",
        "less_than": f"less than {_number(bounds.get('lt'))}{none}",
        "finite_number": f"a finite number{none}",
        "int_type": f"a whole number{none}",
        "int_from_float": f"a whole number{none}",
        "float_type": f"a number{none}",
        "literal_error": f"one of {bounds.get('expected', '')}",
        "string_type": "a word",
        "string_too_short": "a word",
        "tuple_type": "a list of words",
        "dict_type": "a table of settings",
        "model_type": "a table of settings",
    }.get(what, str(one["msg"]).removeprefix("Input should be").strip())
    return f"must be {must} but got {got}"


def _part(kind: type[BaseModel], steps: Sequence[int | str]) -> type[BaseModel]:
    """Return the model that the steps lead to, as far as they lead through models."""
    for step in steps:
        field = kind.model_fields.get(str(step))
        places = () if field is None else (field.annotation, *get_args(field.annotation))
        kind = next((one for one in places if isinstance(one, type) and issubclass(one, BaseModel)), kind)
    return kind


def _settings(kind: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def _number(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, int | float) else ""
