"""Too personal: rules about what the shop may let a shopper see that it knows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np

from boundary import kernel
from boundary.facts import Facts, View
from boundary.measure import Measure
from boundary.rules.base import Bound, FlagRule, Flags, Grain, Measured, Rule, Values, in_days, items_of, shoppers_of
from boundary.settings import Ceiling, Days, Floor, Share, Words, setting
from boundary.shoppers import PERSONALISE
from boundary.words import Family


class Personal(Rule):
    family: ClassVar[Family] = Family.PERSONAL


class SensitiveCategory(Personal, FlagRule):
    """The item is in a sensitive family that the shopper did not opt into."""

    reason: ClassVar[str] = "sensitive_category"
    grain: ClassVar[Grain] = "item"
    yields_to_optin: ClassVar[bool] = True
    families: Words | Literal["all"]

    def flagged(self, facts: View) -> Flags:
        view = items_of(facts)
        bits = view.item("family_bits")
        if self.families != "all":
            names = view.catalogue.families
            chosen = sum(1 << place for place, name in enumerate(names) if name in self.families)
            bits = bits & np.uint32(chosen)
        if isinstance(view, Facts):
            bits = bits & ~view.of_shopper(view.optin_bits)
        flagged: Flags = bits != 0
        return flagged

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return "if you opted in"


class SensitiveProxy(Personal):
    """A purchase of the item says too much about a sensitive family: lift and z-score both reach their limits.

    The value is the largest z-score among the families whose lift is reached and that the shopper did not opt into.
    """

    reason: ClassVar[str] = "sensitive_proxy"
    grain: ClassVar[Grain] = "item"
    bound: ClassVar[Bound] = "below"
    yields_to_optin: ClassVar[bool] = True
    lift: Annotated[float, setting("lower", ge=0)]
    z: Ceiling

    def value(self, facts: View) -> Values:
        view = items_of(facts)
        lift, z = view.item("proxy_lift"), view.item("proxy_z")
        told = np.where(np.isnan(lift) | np.isnan(z), np.nan, np.where(lift >= self.lift, z, -np.inf))
        if isinstance(view, Facts):
            asked = view.of_shopper(view.optin_bits)
            for family in range(len(told)):
                told[family, (asked >> np.uint32(family)) & 1 != 0] = -np.inf
        return told.max(axis=0, initial=-np.inf).astype(np.float32)

    def limit(self, facts: View) -> Values | None:  # noqa: ARG002
        return self.z


class LowSupport(Personal):
    """Fewer than k distinct shoppers bought the item; a gesture needs none."""

    reason: ClassVar[str] = "low_support"
    grain: ClassVar[Grain] = "item"
    bound: ClassVar[Bound] = "at least"
    k: Floor

    def value(self, facts: View) -> Values:
        view = items_of(facts)
        return np.where(view.item("gesture"), np.float32(np.inf), view.item("support"))

    def limit(self, facts: View) -> Values | None:  # noqa: ARG002
        return self.k

    def remedy(self, facts: Facts) -> str | None:
        missing = (self.k or 0) - float(facts.item("support")[0])
        if np.isnan(missing):  # nobody counted
            return None
        return f"if {np.ceil(missing):.0f} more shopper{'s' if missing > 1 else ''} bought it"


class TooClose(Personal, Measured):
    """The suggestion fits this shopper so much better than anybody else that it shows how well they are known."""

    reason: ClassVar[str] = "too_close"
    most: Ceiling

    def measure(self) -> Measure | None:
        if self.most is None:
            return None
        return Measure(kernel.CLOSENESS, self.most, single=True, eased_by=Family.PERSONAL)


class SingleTrace(Personal, Measured):
    """One past event carries more than a share of the score."""

    reason: ClassVar[str] = "single_trace"
    most: Share

    def measure(self) -> Measure | None:
        if self.most is None:
            return None
        return Measure(kernel.TRACE, self.most, single=True, eased_by=Family.PERSONAL)


class NoConsent(Personal, FlagRule):
    """The purpose was not granted."""

    reason: ClassVar[str] = "no_consent"
    grain: ClassVar[Grain] = "shopper"
    purpose: str = PERSONALISE

    def flagged(self, facts: View) -> Flags:
        view = shoppers_of(facts)
        return view.of_shopper(~view.shoppers.customers.agreed_to(self.purpose))

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return f"if you agreed to {self.purpose}"


class OptedOut(Personal, FlagRule):
    """An opt-out signal stands: the profile is not touched at all."""

    reason: ClassVar[str] = "opted_out"
    grain: ClassVar[Grain] = "shopper"

    def flagged(self, facts: View) -> Flags:
        view = shoppers_of(facts)
        return view.of_shopper(view.shoppers.customers.opted_out)

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return "if you took back your opt-out"


class Stale(Personal, Measured):
    """The suggestion rests on an event older than the retention, or on one that is no longer there."""

    reason: ClassVar[str] = "stale"
    days: Annotated[float, setting("lower", ge=0, le=3660)]

    def measure(self) -> Measure:
        return Measure(kernel.EVIDENCE, self.days)


class Disproportionate(Personal):
    """A low ticket and a short relationship do not justify a personal suggestion; the value is days of relationship."""

    reason: ClassVar[str] = "disproportionate"
    grain: ClassVar[Grain] = "shopper"
    bound: ClassVar[Bound] = "at least"
    days: Days
    ticket: Annotated[float, setting("higher", ge=0)]

    def value(self, facts: View) -> Values:
        view = shoppers_of(facts)
        who = view.shoppers
        return view.of_shopper(np.where(who.ticket >= self.ticket, np.inf, who.tenure_days))

    def limit(self, facts: View) -> Values:  # noqa: ARG002
        return self.days

    def remedy(self, facts: Facts) -> str | None:
        return in_days(self.days - float(facts.shoppers.tenure_days[0]))


class Unexplainable(Personal, Measured):
    """There is no evidence that could be shown to the shopper as the why."""

    reason: ClassVar[str] = "unexplainable"

    def measure(self) -> Measure:
        return Measure(kernel.UNTOLD, 0)
