"""The functions of a room: their code as it is compiled, and where they stand in the module that is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import CodeType, FunctionType


def codes(code: CodeType, way: tuple[str, ...] = ()) -> dict[tuple[str, ...], CodeType]:
    """Return the code of the functions of a module and its classes, by the names that lead there."""
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and not inner.co_name.startswith("<"):
            path = (*way, inner.co_name)
            if inner.co_flags & 2:  # a function; a class has no fast locals
                found[path] = inner
            else:
                found |= codes(inner, path)
    return found


def function(module: object, way: tuple[str, ...]) -> FunctionType | None:
    """Return the function at the end of names, out of whatever wraps it."""
    found = module
    for step in way:
        found = vars(found).get(step)
        if found is None:
            return None
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, cached_property):
        found = found.func
    elif isinstance(found, (classmethod, staticmethod)):
        found = found.__func__
    for wrapper in ("wrapped", "__wrapped__"):
        found = getattr(found, wrapper, found)
    return found if isinstance(found, FunctionType) else None


def lines_of(code: CodeType) -> Iterator[int]:
    """Yield the lines of a function and of those within it, without the first: its head is run where it is made."""
    yield from (line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from lines_of(inner)
