"""Decides what may be remembered of a shopper and what may be shown; works in front of any recommender.

Names are loaded when they are first used, so ``import boundary`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boundary.candidates import Candidates
    from boundary.catalogue import Catalogue
    from boundary.facts import Context
    from boundary.gate import Gate
    from boundary.history import Exposures, History
    from boundary.policy import Policy, PolicyError
    from boundary.shoppers import Customers
    from boundary.tables import TableError, read_table
    from boundary.taxonomy import Taxonomy
    from boundary.verdict import Verdict

_ROOMS = {
    "Candidates": "candidates",
    "Catalogue": "catalogue",
    "Context": "facts",
    "Customers": "shoppers",
    "Exposures": "history",
    "Gate": "gate",
    "History": "history",
    "Policy": "policy",
    "PolicyError": "policy",
    "TableError": "tables",
    "Taxonomy": "taxonomy",
    "Verdict": "verdict",
    "read_table": "tables",
}

__all__ = [
    "Candidates",
    "Catalogue",
    "Context",
    "Customers",
    "Exposures",
    "Gate",
    "History",
    "Policy",
    "PolicyError",
    "TableError",
    "Taxonomy",
    "Verdict",
    "read_table",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
