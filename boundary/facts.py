"""The columns that rules read: one view for the whole catalogue, one for the candidate rows of a block.

Both views answer ``item(name)``, so a rule that reads items alone is written once and is judged once per item. Nothing
here looks at a clock, a file or a random number.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.candidates import Candidates
from boundary.history import DISMISSED, SHOWN, Exposures, History
from boundary.words import MICROSECONDS_A_DAY, Family, Tier

if TYPE_CHECKING:
    from boundary.catalogue import Catalogue
    from boundary.shoppers import Shoppers

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Context:
    """What is asked: ``n`` slots on a surface, with an intent, at ``now`` (microseconds UTC)."""

    surface: str
    intent: str
    n: int
    now: int


class ItemFacts:
    """Facts of every item of the catalogue, (I,) a column."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.size = catalogue.items

    def item(self, name: str) -> npt.NDArray[Any]:
        """Return a column of ``boundary.catalogue.Catalogue``."""
        column: npt.NDArray[Any] = getattr(self.catalogue, name)
        return column


class Facts:
    """Facts of the candidate rows of a block of shoppers of one tier, (R,) a column.

    A guest's history and exposures are not read: what a guest sees is the same for everybody.
    """

    def __init__(
        self,
        context: Context,
        catalogue: Catalogue,
        shoppers: Shoppers,
        candidates: Candidates,
        *,
        history: History,
        exposures: Exposures | None,
    ) -> None:
        self.context = context
        self.catalogue = catalogue
        self.shoppers = shoppers
        self.candidates = candidates
        self.size = candidates.rows
        self.ledger_down = exposures is None
        self.exposures = Exposures.empty(candidates.users) if exposures is None else exposures
        guest = shoppers.users > 0 and shoppers.tier[0] == Tier.GUEST
        self.history = History.empty(candidates.users) if guest else history
        self._seen = Exposures.empty(candidates.users) if guest else self.exposures
        known = (candidates.item_row >= 0) & (candidates.item_row < catalogue.items)
        self.item_known: Flags = known
        self.item_row = candidates.item_row if known.all() else np.where(known, candidates.item_row, 0)
        self.user_row = candidates.user_row
        self._counted: dict[tuple[str, float], tuple[Floats, Times]] = {}

    def item(self, name: str) -> npt.NDArray[Any]:
        """Return a column of the catalogue at each row's item."""
        column: npt.NDArray[Any] = getattr(self.catalogue, name)
        if not self.catalogue.items:
            return np.zeros((*column.shape[:-1], self.size), column.dtype)
        return column[..., self.item_row]

    def shopper(self, name: str) -> npt.NDArray[Any]:
        """Return a column of the block's shoppers at each row's shopper."""
        return self.of_shopper(getattr(self.shoppers, name))

    def of_shopper(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Spread one value a shopper, (U,), over that shopper's rows."""
        if len(values) == 1:
            return np.broadcast_to(values, (self.size,))
        return values[self.user_row]

    def ease(self, family: Family) -> Floats | float:
        """Return how much of a limit is left to each row after its shopper's complaints; 1.0 where nobody complained."""
        values = self.shoppers.ease[family]
        return 1.0 if (values == 1).all() else self.of_shopper(values)

    def age_days(self, times: Times) -> Floats:
        """Return days since ``times``; infinite where the time is NEVER, 0 where it lies ahead of ``now``."""
        age = (np.maximum(self.context.now - times.clip(0), 0) / MICROSECONDS_A_DAY).astype(np.float32)
        age[times == kernel.NEVER] = np.inf
        return age

    @cached_property
    def _pairs(self) -> dict[str, npt.NDArray[Any]]:
        size, catalogue, history = self.size, self.catalogue, self.history
        out = {
            name: np.full(size, kernel.NEVER, np.int64)
            for name in ("bought_at", "viewed_at", "carted_at", "dismissed_at", "evidence_at")
        }
        out["dismissals"] = np.zeros(size, np.float32)
        out["paid"] = np.full(size, np.nan, np.float32)
        if not len(history.at):
            return out
        groups = len(catalogue.category_names)
        kernel.history_facts(
            self.candidates.offsets, self.candidates.item_row, self.candidates.evidence_row, history.offsets,
            history.item_row, history.kind, history.at, history.unit_price, catalogue.category,
            *(_scratch(f"time{place}", catalogue.items, np.int64, kernel.NEVER) for place in range(4)),
            _scratch("dismissals", catalogue.items, np.int32, 0),
            _scratch("paid_sum", groups, np.float64, 0),
            _scratch("paid_count", groups, np.int32, 0),
            out["bought_at"], out["viewed_at"], out["carted_at"], out["dismissed_at"], out["dismissals"],
            out["paid"], out["evidence_at"],
        )  # fmt: skip
        return out

    @property
    def bought_at(self) -> Times:
        """Last purchase of the item by the shopper, NEVER without one."""
        return self._pairs["bought_at"]

    @property
    def looked_at(self) -> Times:
        """Last view or cart of the item by the shopper."""
        return np.maximum(self._pairs["viewed_at"], self._pairs["carted_at"])

    @property
    def paid(self) -> Floats:
        """The shopper's mean unit price in the item's category, NaN without a purchase there."""
        return self._pairs["paid"]

    @property
    def evidence_at(self) -> Times:
        """Last time the shopper did anything with the row's evidence item."""
        return self._pairs["evidence_at"]

    @cached_property
    def repeats(self) -> tuple[Flags, Flags]:
        """Rows whose item stands further up in the shopper's list: from the same source, and from another one."""
        repeat, twin = np.zeros(self.size, bool), np.zeros(self.size, bool)
        rows = self.candidates
        if self.catalogue.items:
            seen = _scratch("seen", self.catalogue.items, np.uint8, 0)
            kernel.find_repeats(rows.offsets, rows.item_row, rows.source, seen, repeat, twin)
        return repeat, twin

    @cached_property
    def dismissed(self) -> tuple[Floats, Times]:
        """Number of times the shopper dismissed the item, by event or by feedback, and the last time."""
        counts, last = self._count("item_row", DISMISSED, np.full(self.size, kernel.NEVER, np.int64))
        return counts + self._pairs["dismissals"], np.maximum(last, self._pairs["dismissed_at"])

    def shown(self, scope: str, days: float) -> Floats:
        """Count how often the shopper was shown the row's item, category or brand in the last ``days``."""
        return self._shown(scope, days)[0]

    @property
    def last_shown_at(self) -> Times:
        """Last time the item was shown to the shopper."""
        return self._shown("item_row", 0.0)[1]

    @property
    def shown_since_interest(self) -> Floats:
        """How often the item was shown since the shopper last viewed, carted or bought it."""
        return self._count("item_row", SHOWN, np.maximum(self.looked_at, self.bought_at))[0]

    def messages(self, surfaces: tuple[str, ...], days: float) -> tuple[Floats, Times]:
        """Count the slates each shopper got on the surfaces in the last ``days``, and when the last one was; (U,)."""
        entries, users = self.exposures, self.shoppers.users
        counts, last = np.zeros(users, np.float32), np.full(users, kernel.NEVER, np.int64)
        places = [place for place, name in enumerate(entries.surfaces) if name in surfaces]
        mine = np.isin(entries.surface, places) & (entries.kind == SHOWN)
        if not mine.any():
            return counts, last
        owner = np.repeat(np.arange(users), np.diff(entries.offsets))
        np.maximum.at(last, owner[mine], entries.at[mine])
        fresh = mine & (entries.at > self.context.now - days * MICROSECONDS_A_DAY)
        slates = np.unique(np.stack([owner[fresh], entries.slate[fresh]]), axis=1)
        return np.bincount(slates[0], minlength=users).astype(np.float32), last

    def one(self, row: int) -> Facts:
        """Return the facts of a single row, for asking a rule about that row alone."""
        user = np.array([self.user_row[row]], np.int64)
        columns = (
            "item_row", "score", "source", "closeness", "trace_share", "evidence_row", "propensity",
        )  # fmt: skip
        chosen = {name: getattr(self.candidates, name)[row : row + 1] for name in columns}
        return Facts(
            self.context,
            self.catalogue,
            self.shoppers.take(user),
            Candidates([self.candidates.user_ids[user[0]]], np.array([0, 1], np.int64), **chosen),
            history=self.history.take(user),
            exposures=None if self.ledger_down else self.exposures.take(user),
        )

    def _shown(self, scope: str, days: float) -> tuple[Floats, Times]:
        if (scope, days) not in self._counted:
            since = int(self.context.now - days * MICROSECONDS_A_DAY)
            self._counted[scope, days] = self._count(scope, SHOWN, np.full(self.size, since, np.int64))
        return self._counted[scope, days]

    def _count(self, scope: str, kind: int, since: Times) -> tuple[Floats, Times]:
        """Count entries of one kind whose item, category or brand is the row's."""
        counts, last = np.zeros(self.size, np.float32), np.full(self.size, kernel.NEVER, np.int64)
        entries = self._seen
        mine = (entries.kind == kind) & (entries.item_row >= 0)
        if not mine.any():
            return counts, last
        entries = entries.only(mine)
        if scope == "item_row":
            keys, row_keys, width = entries.item_row, self.candidates.item_row, self.catalogue.items
        else:
            column: npt.NDArray[np.int32] = getattr(self.catalogue, scope)
            keys, row_keys = column[entries.item_row], np.where(self.item_known, self.item(scope), -1)
            width = len(getattr(self.catalogue, f"{scope}_names"))
        kernel.count_entries(
            self.candidates.offsets, row_keys, since, entries.offsets, keys, entries.at,
            _scratch("head", width, np.int64, -1), np.empty(len(keys), np.int64), counts, last,
        )  # fmt: skip
        return counts, last


_store = threading.local()


def _scratch(name: str, size: int, dtype: npt.DTypeLike, fill: int) -> npt.NDArray[Any]:
    """Return this thread's clean scratch array; the kernels hand it back clean."""
    arrays: dict[tuple[str, int], npt.NDArray[Any]] = _store.__dict__.setdefault("arrays", {})
    if (name, size) not in arrays:
        for old in [key for key in arrays if key[0] == name]:
            del arrays[old]
        arrays[name, size] = np.full(size, fill, dtype)
    return arrays[name, size]
