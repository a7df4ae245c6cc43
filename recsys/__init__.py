"""Proposes: recommenders behind one protocol, and the engine that puts them behind the boundary.

Names are loaded when they are first used, so ``import recsys`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.bundle import Bundle, BundleError
    from recsys.engine import Engine, EngineError
    from recsys.slates import Slate, Suggestion

__all__ = ["Bundle", "BundleError", "Engine", "EngineError", "Slate", "Suggestion"]

_ROOMS = {
    "Bundle": "bundle",
    "BundleError": "bundle",
    "Engine": "engine",
    "EngineError": "engine",
    "Slate": "slates",
    "Suggestion": "slates",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
