"""For whom is it good? Shoppers by how much they took, and by how well the boundary lets the shop know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from boundary.catalogue import Catalogue
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.shoppers import Customers
from boundary.words import TIER_NAMES

if TYPE_CHECKING:
    from boundary.policy import Policy
    from boundary.taxonomy import Taxonomy
    from recsys.shop import Shop

Mask = npt.NDArray[np.bool_]
QUARTERS = ("quietest", "quiet", "busy", "busiest")


def activity_groups(taken: csr_matrix) -> dict[str, Mask]:
    """Return four groups of equal size, (U,) bool each, by how many different items a user took; ties by row.

    Example:
        >>> groups = activity_groups(csr_matrix(np.tril(np.ones((4, 4)))))
        >>> {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()}
        {'quietest': [0], 'quiet': [1], 'busy': [2], 'busiest': [3]}
    """
    order = np.argsort(np.diff(taken.indptr), kind="stable")
    groups = {}
    for name, rows in zip(QUARTERS, np.array_split(order, len(QUARTERS)), strict=True):
        groups[name] = np.zeros(len(order), bool)
        groups[name][rows] = True
    return groups


def tier_groups(shop: Shop, user_ids: list[str], *, at: int, taxonomy: Taxonomy, policy: Policy) -> dict[str, Mask]:
    """Return who is a guest, a newcomer, a regular to the shop at a moment, (U,) bool each; tiers of nobody are left out.

    Args:
        shop: its tables; without customers everybody is a guest.
        user_ids: the users, sorted.
        at: microseconds UTC; only events before it are known.
        taxonomy: the shop's sensitive families.
        policy: says when a newcomer becomes a regular.
    """
    items = Catalogue.compile(shop.catalogue, taxonomy)
    early = shop.events.filter((pl.col("at").dt.timestamp("us") < at) & pl.col("user_id").is_in(user_ids))
    history = History.from_frame(early, user_ids, items.row_of)
    customers = Customers.compile(shop.customers, user_ids, items.families)
    gate = Gate(items, policy.replace({"admit.proxy_z": None}))
    tier = gate.meet(customers, history, Exposures.empty(len(user_ids)), now=at).tier
    return {name: tier == code for code, name in enumerate(TIER_NAMES) if (tier == code).any()}
