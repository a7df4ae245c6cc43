"""Too personal: rules about what the shop may let a shopper see that it knows."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from boundary.facts import Facts, ItemFacts
from boundary.rules.base import Ceiling, Days, Flags, Floats, FlagRule, Floor, Rule, Share, Words, in_days, rows_of, setting
from boundary.shoppers import PERSONALISE
from boundary.words import Family


class Personal(Rule):
    family: ClassVar[Family] = Family.PERSONAL


class SensitiveCategory(Personal, FlagRule):
    """The item is in a sensitive family that the shopper did not opt into."""

    reason: ClassVar[str] = "sensitive_category"
    families: Words | Literal["all"]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        bits = facts.item("family_bits")
        if self.families != "all":
            names = facts.catalogue.families
            chosen = sum(1 << place for place, name in enumerate(names) if name in self.families)
            bits = bits & np.uint32(chosen)
        if isinstance(facts, Facts) and facts.shoppers.customers.optin_bits.any():
            bits = bits & ~facts.of_shopper(facts.shoppers.customers.optin_bits)
        flagged: Flags = bits != 0
        return flagged

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return "if you opted in"


class SensitiveProxy(Personal):
    """A purchase of the item says too much about a sensitive family: lift and z-score both reach their limits."""

    reason: ClassVar[str] = "sensitive_proxy"
    grain: ClassVar[Literal["item", "row", "quota"]] = "item"
    lift: Annotated[float, setting("lower", ge=0)]
    z: Ceiling

    def value(self, facts: Facts | ItemFacts) -> Floats:
        lift, z = facts.item("proxy_lift"), facts.item("proxy_z")
        if not len(lift):
            return np.zeros(facts.size, np.float32)
        worst: Floats = np.where(np.isnan(lift) | np.isnan(z), np.nan, np.where(lift >= self.lift, z, 0)).max(axis=0)
        return worst

    def limit(self, facts: Facts | ItemFacts) -> float | None:  # noqa: ARG002
        return self.z

    def __call__(self, facts: Facts | ItemFacts) -> Flags:
        if self.z is None:
            return np.zeros(facts.size, bool)
        reached: Flags = ~(self.value(facts) < max(self.z, np.nextafter(0, 1)))
        return reached


class LowSupport(Personal):
    """Fewer than k distinct shoppers bought the item."""

    reason: ClassVar[str] = "low_support"
    grain: ClassVar[Literal["item", "row", "quota"]] = "item"
    k: Floor

    def value(self, facts: Facts | ItemFacts) -> npt.NDArray[Any]:
        return -facts.item("support")

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        if self.k is None:
            return None
        return np.where(facts.item("gesture"), np.inf, -self.k)

    def __call__(self, facts: Facts | ItemFacts) -> Flags:
        if self.k is None:
            return np.zeros(facts.size, bool)
        lonely: Flags = ~(facts.item("support") >= self.k) & ~facts.item("gesture")
        return lonely


class TooClose(Personal):
    """The suggestion fits this shopper so much better than anybody else that it shows how well they are known."""

    reason: ClassVar[str] = "too_close"
    most: Ceiling

    def value(self, facts: Facts | ItemFacts) -> Floats:
        return rows_of(facts).candidates.closeness

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        return None if self.most is None else self.most * rows_of(facts).ease(Family.PERSONAL)


class SingleTrace(Personal):
    """One past event carries more than a share of the score."""

    reason: ClassVar[str] = "single_trace"
    most: Share

    def value(self, facts: Facts | ItemFacts) -> Floats:
        return rows_of(facts).candidates.trace_share

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        return None if self.most is None else self.most * rows_of(facts).ease(Family.PERSONAL)


class NoConsent(Personal, FlagRule):
    """The purpose was not granted."""

    reason: ClassVar[str] = "no_consent"
    purpose: str = PERSONALISE

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        return ~rows.of_shopper(rows.shoppers.customers.agreed_to(self.purpose))

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return f"if you agreed to {self.purpose}"


class OptedOut(Personal, FlagRule):
    """An opt-out signal stands: the profile is not touched at all."""

    reason: ClassVar[str] = "opted_out"

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        return rows.of_shopper(rows.shoppers.customers.opted_out)

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return "if you took back your opt-out"


class Stale(Personal):
    """The suggestion rests on an event older than the retention, or on one that is no longer there."""

    reason: ClassVar[str] = "stale"
    days: Annotated[float, setting("lower", ge=0, le=3660)]

    def value(self, facts: Facts | ItemFacts) -> Floats:
        rows = rows_of(facts)
        return rows.age_days(rows.evidence_at)

    def limit(self, facts: Facts | ItemFacts) -> float:  # noqa: ARG002
        return self.days


class Disproportionate(Personal, FlagRule):
    """A low ticket and a short relationship do not justify a personal suggestion."""

    reason: ClassVar[str] = "disproportionate"
    days: Days
    ticket: Annotated[float, setting("higher", ge=0)]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        who = rows_of(facts).shoppers
        return rows_of(facts).of_shopper(~((who.tenure_days >= self.days) | (who.ticket >= self.ticket)))

    def remedy(self, facts: Facts) -> str | None:
        return in_days(max(0.0, self.days - float(facts.shoppers.tenure_days[0])))


class Unexplainable(Personal, FlagRule):
    """There is no evidence that could be shown to the shopper as the why."""

    reason: ClassVar[str] = "unexplainable"

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        past = rows.candidates.evidence_row
        there = (past >= 0) & (past < rows.catalogue.items)
        if not rows.catalogue.items:
            return ~there
        flagged: Flags = ~there | ~rows.catalogue.speakable[np.where(there, past, 0)]
        return flagged
