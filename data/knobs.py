"""How an invented shop is: its settings, each with bounds."""

import datetime as dt
from dataclasses import dataclass, field, fields
from typing import Any

from boundary.tables import TableError

SECONDS_A_DAY = 86_400


def _within(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Knobs:
    """How the invented shop is; each has bounds, and shares are of 1.

    Raises:
        TableError: a knob is out of its bounds.

    Examples:
        >>> Knobs(promotions=1.2)
        Traceback (most recent call last):
        boundary.errors.TableError: `promotions` must be between 0 and 0.5 but got 1.2
    """

    end: dt.date = dt.date(2026, 1, 5)
    """The first day that is not told any more, in UTC,"""
    weeks: int = _within(26, 1, 520)
    """and how many weeks before it are."""
    popularity: float = _within(0.7, 0, 2)
    """Exponent of the power law: the r-th most popular item is wanted r to the minus this often."""
    activity: float = _within(1.1, 0, 3)
    """Standard deviation of the logarithm of how active shoppers are."""
    tastes: int = _within(32, 1, 512)
    """Taste clusters (topics); a shopper has three of them,"""
    taste: float = _within(1, 0, 3)
    """and so far they lie apart: 0 is no structure beyond popularity."""
    variety: float = _within(0.85, 0, 1)
    """A shopper who looks n times knows n to the power of this many different items at most."""
    basket: float = _within(6, 1, 100)
    """Items looked at in a visit."""
    bought: float = _within(0.6, 0, 1)
    """Share of the events that lead to a purchase: a view, a cart and the purchase;"""
    carted: float = _within(0.1, 0, 1)
    """of the others, share of views and carts that were left behind;"""
    dismissed: float = _within(0.03, 0, 1)
    """of what is left, share of dismissals; the rest are views."""
    membership: float = _within(1, 0, 3)
    """Multiplies the shares of shoppers in the sensitive families (`data.wares.FAMILIES`)."""
    devotion: float = _within(0.06, 0, 0.3)
    """Share of what a member wants that is of the family itself;"""
    stray: float = _within(0.05, 0, 1)
    """who is no member wants it by this factor less than anything else of that popularity."""
    proxies: float = _within(0.003, 0, 0.02)
    """Share of the items that is planted as proxies, for each family (at least two items, or none at 0);"""
    weakest: float = _within(1.5, 1, 100)
    """a member wants the weakest this many times as often as others,"""
    strongest: float = _within(8, 1, 100)
    """and the strongest this many times."""
    promotions: float = _within(0.04, 0, 0.5)
    """Share of the items that is promoted in a week,"""
    pull: float = _within(0.04, 0, 1)
    """and share of what is looked at because it is."""
    false_discounts: float = _within(0.3, 0, 1)
    """Share of the marked-down prices that are above, or strike out more than, the lowest of 30 days."""
    badges: float = _within(0.08, 0, 1)
    """Share of the products with a badge,"""
    false_badges: float = _within(0.5, 0, 1)
    """and share of the claims among them without evidence."""
    new_items: float = _within(0.1, 0, 0.9)
    """Share of the products that came during the told weeks."""
    margin: float = _within(0.3, 0, 1)
    """Mean margin; nothing else depends on it."""
    guests: float = _within(0.08, 0, 1)
    """Share of the shoppers who are in no customers table;"""
    newcomers: float = _within(0.12, 0, 1)
    """share who came in the last 30 days,"""
    no_consent: float = _within(0.1, 0, 1)
    """who did not agree to `personalise`,"""
    opted_out: float = _within(0.05, 0, 1)
    """and who opted out."""

    def __post_init__(self) -> None:
        for knob in fields(self):
            if knob.metadata:
                check(knob.name, getattr(self, knob.name), knob.metadata["low"], knob.metadata["high"])
        if self.strongest < self.weakest:
            raise TableError(f"`strongest` must be at least `weakest`, {self.weakest}, but got {self.strongest}")

    @property
    def days(self) -> int:
        return 7 * self.weeks

    @property
    def start(self) -> int:
        """First moment that is told, seconds since 1970."""
        midnight = dt.datetime.combine(self.end, dt.time(), dt.UTC)
        return int(midnight.timestamp()) - self.days * SECONDS_A_DAY


def check(name: str, value: float, low: float, high: float | None = None) -> None:
    """Raise TableError unless a setting lies in its bounds."""
    if not (low <= value and (high is None or value <= high)):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        raise TableError(f"`{name}` must be {bound} but got {value}")
