"""Too frequent: rules about not following a shopper around with the same thing."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from boundary import kernel
from boundary.facts import Facts, View
from boundary.measure import Measure
from boundary.rules import kernel as quota
from boundary.rules.base import Bound, FlagRule, Flags, Grain, Measured, QuotaTerms, Rule, Values, in_days, shoppers_of
from boundary.settings import Count, Days, Words, setting
from boundary.words import MICROSECONDS_A_DAY, Family


class Frequent(Rule):
    family: ClassVar[Family] = Family.FREQUENT


class WindowCap(Frequent, Measured):
    """Shown ``times`` already in the last ``days``: a sliding window, once more would be over the cap."""

    scope: ClassVar[str]
    counts: ClassVar[int]
    times: Count
    days: Days

    def measure(self) -> Measure | None:
        if self.times is None:
            return None
        return Measure(self.counts, self.times, self.days, whole=True, eased_by=Family.FREQUENT)

    def remedy(self, facts: Facts) -> str | None:
        most = self.limit(facts)
        shown = facts.times_shown(self.scope, self.days)
        too_many = len(shown) - int(np.asarray(most).reshape(-1)[0]) if most is not None else -1
        if not 0 <= too_many < len(shown):
            return None
        return in_days(float(shown[too_many] - facts.context.now) / MICROSECONDS_A_DAY + self.days)


class ItemCap(WindowCap):
    """The item was shown to the shopper too often in the window."""

    reason: ClassVar[str] = "item_cap"
    scope: ClassVar[str] = "item"
    counts: ClassVar[int] = kernel.SHOWN_ITEM


class WideCap(WindowCap):
    """A cap that several rows of one slate share: what the slate shows already counts like what was shown before."""

    spends: ClassVar[bool] = True

    def terms(self) -> QuotaTerms | None:
        if self.times is None:
            return None
        by_brand = self.scope == "brand"
        return QuotaTerms(quota.WINDOW, first=self.times, days=self.days, by_brand=by_brand, eased_by=Family.FREQUENT)


class CategoryCap(WideCap):
    """Items of this category were shown to the shopper too often in the window."""

    reason: ClassVar[str] = "category_cap"
    scope: ClassVar[str] = "category"
    counts: ClassVar[int] = kernel.SHOWN_CATEGORY


class BrandCap(WideCap):
    """Items of this brand were shown to the shopper too often in the window."""

    reason: ClassVar[str] = "brand_cap"
    scope: ClassVar[str] = "brand"
    counts: ClassVar[int] = kernel.SHOWN_BRAND


class SurfaceCap(Frequent):
    """The shopper got too many messages on this surface in the window, or nobody can tell how many."""

    reason: ClassVar[str] = "surface_cap"
    grain: ClassVar[Grain] = "shopper"
    times: Count
    days: Days

    def value(self, facts: View) -> Values:
        view = shoppers_of(facts)
        return view.of_shopper(view.messages((view.context.surface,), self.days)[0] + 1)

    def limit(self, facts: View) -> Values | None:
        view = shoppers_of(facts)
        if self.times is None:
            return None
        return Measure(0, self.times, whole=True).left(view.ease(Family.FREQUENT, guests=True))

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return None if not self.times else f"within {self.days:g} day{'' if self.days == 1 else 's'}"


class ChannelGap(Frequent):
    """The last message on any of the channels is too few hours ago, or nobody can tell; complaints widen the gap."""

    reason: ClassVar[str] = "channel_gap"
    grain: ClassVar[Grain] = "shopper"
    bound: ClassVar[Bound] = "at least"
    hours: Annotated[float, setting("higher", ge=0, le=8760)]
    channels: Words

    def value(self, facts: View) -> Values:
        view = shoppers_of(facts)
        return view.of_shopper(view.messages(self.channels, 0.0)[1])

    def limit(self, facts: View) -> Values:
        ease = shoppers_of(facts).ease(Family.FREQUENT, guests=True)
        return self.hours / np.maximum(ease, 1e-3)

    def remedy(self, facts: Facts) -> str | None:
        rest = float((np.asarray(self.limit(facts)) - self.value(facts)).reshape(-1)[0])
        return in_days(rest / 24) if np.isfinite(rest) else None


class QuietHours(Frequent, FlagRule):
    """It is night where the shopper lives, or nobody knows what time it is there; from ``start`` up to ``end``.

    Where both are the same hour there is no night.
    """

    reason: ClassVar[str] = "quiet_hours"
    grain: ClassVar[Grain] = "shopper"
    start: Annotated[float, Field(ge=0, le=24, allow_inf_nan=False)]
    end: Annotated[float, Field(ge=0, le=24, allow_inf_nan=False)]

    def flagged(self, facts: View) -> Flags:
        view = shoppers_of(facts)
        hour = view.shoppers.local_hours(view.context.now)
        if self.start <= self.end:
            awake = (hour < self.start) | (hour >= self.end)
        else:
            awake = (hour < self.start) & (hour >= self.end)
        return view.of_shopper(~awake)

    def remedy(self, facts: Facts) -> str | None:
        hours = float(facts.shoppers.hours_until(self.end, facts.context.now)[0])
        return None if np.isnan(hours) else in_days(hours / 24)


class Dismissed(Frequent, Measured):
    """The shopper said no: not for ``days`` times the number of dismissals, then slowly more often again.

    In the ramp the time between two showings shrinks in a straight line from ``days`` to nothing over ``ramp_days``.
    The value is the days still to wait.
    """

    reason: ClassVar[str] = "dismissed"
    days: Days
    most: Annotated[int, setting("higher", ge=1)]
    ramp_days: Days

    def measure(self) -> Measure:
        return Measure(kernel.WAIT, 0, self.days, self.most, self.ramp_days)

    def remedy(self, facts: Facts) -> str | None:
        return in_days(float(np.asarray(self.value(facts)).reshape(-1)[0]))


class Fatigued(Frequent, Measured):
    """Shown ``times`` since the shopper last took an interest."""

    reason: ClassVar[str] = "fatigued"
    times: Count

    def measure(self) -> Measure | None:
        if self.times is None:
            return None
        return Measure(kernel.UNHEEDED, self.times, whole=True, eased_by=Family.FREQUENT)

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return "if you looked at it" if self.times else None


class Owned(Frequent, Measured):
    """The shopper bought it and it lasts."""

    reason: ClassVar[str] = "owned"

    def measure(self) -> Measure:
        return Measure(kernel.OWNED, 0)


class ReplenishEarly(Frequent, Measured):
    """The shopper bought it and it is not used up: before ``share`` of its cycle."""

    reason: ClassVar[str] = "replenish_early"
    bound: ClassVar[Bound] = "at least"
    share: Annotated[float, setting("higher", ge=0, le=10)]

    def measure(self) -> Measure:
        return Measure(kernel.CYCLE, self.share)

    def remedy(self, facts: Facts) -> str | None:
        rest = (self.share - np.asarray(self.value(facts))) * facts.item("replenish_days")
        return in_days(float(rest.reshape(-1)[0]))
