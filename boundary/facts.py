"""The columns that rules read: of every item of the catalogue, of a block's shoppers, and of its candidate rows.

The three views answer the same questions, so a rule that reads items alone is written once and judged once an item,
and one that reads shoppers alone once a shopper. Nothing here looks at a clock, a file or a random number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.candidates import Candidates, rows_of_users
from boundary.history import SHOWN, Exposures, History
from boundary.measure import EASED
from boundary.past import kernel as past
from boundary.words import GUEST, INTENTS, MICROSECONDS_A_DAY, MICROSECONDS_AN_HOUR, Family, plain_surface

if TYPE_CHECKING:
    from boundary.catalogue import Catalogue
    from boundary.shoppers import Shoppers

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]
T = TypeVar("T")
Answer = tuple[Flags, Flags | None]  # what a rule withholds, and where it broke; None is nowhere


class ContextError(ValueError):
    """What is asked cannot be asked."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is asked: ``n`` slots on a surface, with an intent, at ``now`` (microseconds UTC).

    Raises:
        ContextError: the surface is no text, the intent none of the five, n or now no whole number, or now too far off.
    """

    surface: str
    intent: str
    n: int
    now: int

    def __post_init__(self) -> None:
        if not isinstance(self.surface, str):
            raise ContextError(f"`surface` must be a word but got {self.surface!r}")
        if self.intent not in INTENTS:
            raise ContextError(f"`intent` must be one of {', '.join(INTENTS)} but got {self.intent!r}")
        if isinstance(self.n, bool) or not isinstance(self.n, int | np.integer):
            raise ContextError(f"`n` must be a whole number but got {self.n!r}")
        check_now(self.now)


def check_now(now: int) -> None:
    """Refuse a moment that is none.

    Raises:
        ContextError: with what it must be.
    """
    if isinstance(now, bool) or not isinstance(now, int | np.integer):
        raise ContextError(f"`now` must be a whole number but got {now!r}; give microseconds UTC")
    if not -(2**63) <= now < 2**63:
        raise ContextError(f"`now` must be microseconds that fit 64 bits but got {now}")


class ItemFacts:
    """Facts of every item of the catalogue, (I,) a column."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.size = catalogue.items

    def item(self, name: str) -> npt.NDArray[Any]:
        """Return a column of ``boundary.catalogue.Catalogue``."""
        column: npt.NDArray[Any] = getattr(self.catalogue, name)
        return column


class ShopperFacts:
    """Facts of a block's shoppers, (U,) a column.

    Args:
        context: what is asked.
        shoppers: (U,).
        exposures: (U,) their entries; None where the ledger is down.
    """

    def __init__(self, context: Context, shoppers: Shoppers, exposures: Exposures | None) -> None:
        self.context = context
        self.shoppers = shoppers
        self.size = shoppers.users
        self.ledger_down = exposures is None
        self.exposures = Exposures.empty(shoppers.users) if exposures is None else exposures

    def one(self, line: int) -> ShopperFacts:
        """Return the facts of a single shopper."""
        user = np.array([line], np.int64)
        return ShopperFacts(
            self.context, self.shoppers.take(user), None if self.ledger_down else self.exposures.take(user)
        )

    @cached_property
    def everybody(self) -> npt.NDArray[np.int64]:
        """Positions of all shoppers of the block."""
        return np.arange(self.shoppers.users, dtype=np.int64)

    @cached_property
    def guest(self) -> Flags:
        """Who may not be known: what they see is the same for everybody."""
        return np.asarray(self.shoppers.tier == GUEST)

    @cached_property
    def optin_bits(self) -> npt.NDArray[np.uint32]:
        """Sensitive families each shopper asked for; none of a guest."""
        return np.where(self.guest, np.uint32(0), self.shoppers.customers.optin_bits)

    def of_shopper(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return one value a shopper, (U,), as one value a line of this view."""
        return values

    def ease(self, family: Family, *, guests: bool = False) -> npt.NDArray[np.float32] | float:
        """Return how much of a limit each line's shopper leaves after their complaints; 1.0 where nobody complained.

        A guest's complaints count for messages alone (``guests``), which the shop sends to an address it knows.
        """
        values = self.shoppers.ease[family]
        if (values == 1).all():
            return 1.0
        return self.of_shopper(values if guests else np.where(self.guest, np.float32(1), values))

    def messages(self, surfaces: tuple[str, ...], days: float) -> tuple[Floats, Floats]:
        """Count the slates each shopper got on the surfaces in the last ``days``; with hours since the last one, (U,).

        Both are NaN where the ledger is down: nobody can tell.
        """
        counts, last = np.zeros(self.shoppers.users, np.float32), np.full(self.shoppers.users, kernel.NEVER)
        if self.ledger_down:
            return np.full(len(counts), np.nan, np.float32), np.full(len(counts), np.nan)
        entries = self.exposures
        wanted = np.array([plain_surface(name) in map(plain_surface, surfaces) for name in entries.surfaces], bool)
        if wanted.any():
            past.count_messages(
                entries.offsets, entries.kind, entries.surface, entries.at, entries.slate, wanted,
                since(self.context.now, days), counts, last,
            )  # fmt: skip
        return counts, hours_since(last, self.context.now)


class Facts(ShopperFacts):
    """Facts of the candidate rows of a block of shoppers, (R,) a column.

    A guest's history is not read, nor what they were shown: what a guest sees is the same for everybody.

    Args:
        context: what is asked.
        catalogue: the shop's items.
        shoppers: (U,).
        candidates: (R,) rows of these U shoppers.
        history: (U,) their events.
        exposures: (U,) their entries; None where the ledger is down.
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
        super().__init__(context, shoppers, exposures)
        self.catalogue = catalogue
        self.candidates = candidates
        self.size = candidates.rows
        self.history = history
        self._answers: dict[int, tuple[object, Answer]] = {}

    @cached_property
    def item_known(self) -> Flags:
        """Rows whose item is in the catalogue."""
        return np.asarray((self.candidates.item_row >= 0) & (self.candidates.item_row < self.catalogue.items))

    @cached_property
    def item_row(self) -> npt.NDArray[np.int32]:
        """The item of each row; 0 where it is not known, and no rule's verdict counts."""
        return np.where(self.item_known, self.candidates.item_row, np.int32(0))

    def item(self, name: str) -> npt.NDArray[Any]:
        """Return a column of the catalogue at each row's item."""
        column: npt.NDArray[Any] = getattr(self.catalogue, name)
        if not self.catalogue.items:
            return np.zeros((*column.shape[:-1], self.size), column.dtype)
        return column[..., self.item_row]

    def of_shopper(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Spread one value a shopper, (U,), over that shopper's rows."""
        if len(values) == 1:
            return np.broadcast_to(values, (self.size,))
        return values[self.candidates.user_row]

    @cached_property
    def bare(self) -> ShopperFacts:
        """The same shoppers without their rows."""
        return ShopperFacts(self.context, self.shoppers, None if self.ledger_down else self.exposures)

    def once(self, rule: T, answer: Callable[[T, Facts], Answer]) -> Answer:
        """Return what is answered of a rule about these facts; one rule is asked once, whatever plans it is in."""
        found = self._answers.get(id(rule))
        if found is None:
            found = self._answers[id(rule)] = rule, answer(rule, self)  # the rule is held, so no other gets its id
        return found[1]

    @cached_property
    def reads(self) -> Flags:
        """Shoppers whose history and exposures may be looked at."""
        return ~self.guest

    @cached_property
    def eases(self) -> npt.NDArray[np.float64]:
        """What complaints leave of a limit, (families, U)."""
        eases = np.array([self.shoppers.ease[family] for family in EASED], np.float64)
        if np.count_nonzero(eases != 1):
            eases[:, self.guest] = 1
        return eases

    def of_users(self, users: npt.NDArray[np.int64]) -> tuple[Facts, npt.NDArray[np.int64]]:
        """Return the facts of some of the shoppers, (P,), and the places of their rows among these."""
        if len(users) == self.shoppers.users:
            return self, np.arange(self.size)
        at, _ = rows_of_users(self.candidates.offsets, users)
        exposures = None if self.ledger_down else self.exposures.take(users)
        return Facts(
            self.context, self.catalogue, self.shoppers.take(users), self.candidates.take(users),
            history=self.history.take(users), exposures=exposures,
        ), at  # fmt: skip

    def one(self, line: int) -> Facts:
        """Return the facts of a single row, for asking a rule about that row alone."""
        user = np.array([self.candidates.user_row[line]], np.int64)
        columns = (
            "item_row", "score", "source", "closeness", "trace_share", "evidence_row", "propensity",
        )  # fmt: skip
        chosen = {name: getattr(self.candidates, name)[line : line + 1] for name in columns}
        return Facts(
            self.context,
            self.catalogue,
            self.shoppers.take(user),
            Candidates([self.candidates.user_ids[user[0]]], np.array([0, 1], np.int64), **chosen),
            history=self.history.take(user),
            exposures=None if self.ledger_down else self.exposures.take(user),
        )

    def times_shown(self, scope: str, days: float) -> Times:
        """Return when in the last ``days`` the first row's item, category or brand was shown, oldest first."""
        row, user = int(self.item_row[0]), int(self.candidates.user_row[0])
        entries = self.exposures
        part = slice(int(entries.offsets[user]), int(entries.offsets[user + 1]))
        items, kinds, times = entries.item_row[part], entries.kind[part], entries.at[part]
        mine = (items >= 0) & (items < self.catalogue.items) & (kinds == SHOWN)
        mine &= times > since(self.context.now, days)
        codes = np.arange(self.catalogue.items) if scope == "item" else getattr(self.catalogue, scope)
        return np.sort(times[mine][codes[items[mine]] == codes[row]])


View = ItemFacts | ShopperFacts | Facts


def since(now: int, days: float) -> int:
    """Return the moment ``days`` before now, microseconds UTC; whatever is later lies in the window."""
    return now - round(days * MICROSECONDS_A_DAY)


def hours_since(times: Times, now: int) -> Floats:
    """Return hours from ``times`` to ``now``: infinite where the time is NEVER, 0 where it lies ahead.

    Example:
        >>> hours_since(np.array([0, kernel.NEVER]), now=5_400_000_000).tolist()
        [1.5, inf]
    """
    never = times == kernel.NEVER
    hours: Floats = np.maximum(now - np.where(never, now, times), 0) / MICROSECONDS_AN_HOUR
    hours[never] = np.inf
    return hours
