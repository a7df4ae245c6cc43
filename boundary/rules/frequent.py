"""Too frequent: rules about not following a shopper around with the same thing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from boundary import kernel
from boundary.facts import Facts, ItemFacts
from boundary.rules.base import Count, Days, Flags, Floats, FlagRule, Rule, Words, in_days, rows_of, setting
from boundary.words import MICROSECONDS_AN_HOUR, Family


class Frequent(Rule):
    family: ClassVar[Family] = Family.FREQUENT


class WindowCap(Frequent):
    """Shown ``times`` already in the last ``days``: a sliding window, once more would be over the cap."""

    scope: ClassVar[str]
    times: Count
    days: Days

    def value(self, facts: Facts | ItemFacts) -> Floats:
        return rows_of(facts).shown(self.scope, self.days) + 1

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        return None if self.times is None else np.floor(self.times * rows_of(facts).ease(Family.FREQUENT))

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return None if not self.times else f"within {self.days:g} days"


class ItemCap(WindowCap):
    """The item was shown to the shopper too often in the window."""

    reason: ClassVar[str] = "item_cap"
    scope: ClassVar[str] = "item_row"


class CategoryCap(WindowCap):
    """Items of this category were shown to the shopper too often in the window."""

    reason: ClassVar[str] = "category_cap"
    scope: ClassVar[str] = "category"


class BrandCap(WindowCap):
    """Items of this brand were shown to the shopper too often in the window."""

    reason: ClassVar[str] = "brand_cap"
    scope: ClassVar[str] = "brand"


class SurfaceCap(Frequent):
    """The shopper got too many messages on this surface in the window."""

    reason: ClassVar[str] = "surface_cap"
    times: Count
    days: Days

    def value(self, facts: Facts | ItemFacts) -> Floats:
        rows = rows_of(facts)
        return rows.of_shopper(rows.messages((rows.context.surface,), self.days)[0]) + 1

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        return None if self.times is None else np.floor(self.times * rows_of(facts).ease(Family.FREQUENT))

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return None if not self.times else f"within {self.days:g} days"


class ChannelGap(Frequent, FlagRule):
    """The last message on any of the channels is too recent."""

    reason: ClassVar[str] = "channel_gap"
    hours: Annotated[float, setting("higher", ge=0, le=8760)]
    channels: Words

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        return rows.of_shopper(rows.age_days(rows.messages(self.channels, 0.0)[1]) * 24 < self.hours)

    def remedy(self, facts: Facts) -> str | None:
        ago = (facts.context.now - int(facts.messages(self.channels, 0.0)[1][0])) / MICROSECONDS_AN_HOUR
        return in_days(max(0.0, self.hours - ago) / 24)


class QuietHours(Frequent, FlagRule):
    """It is night where the shopper lives, or nobody knows what time it is there."""

    reason: ClassVar[str] = "quiet_hours"
    start: Annotated[float, Field(ge=0, le=24)]
    end: Annotated[float, Field(ge=0, le=24)]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        hour = rows.shoppers.local_hours(rows.context.now)
        if self.start <= self.end:
            awake = (hour < self.start) | (hour >= self.end)
        else:
            awake = (hour < self.start) & (hour >= self.end)
        return rows.of_shopper(~awake)

    def remedy(self, facts: Facts) -> str | None:
        hour = float(facts.shoppers.local_hours(facts.context.now)[0])
        return None if np.isnan(hour) else in_days(((self.end - hour) % 24) / 24)


class Dismissed(Frequent):
    """The shopper said no: not for ``days`` times the number of dismissals, then slowly more often again.

    In the ramp the time between two showings shrinks in a straight line from ``days`` to nothing over ``ramp_days``.
    """

    reason: ClassVar[str] = "dismissed"
    days: Days
    most: Annotated[int, setting("higher", ge=1)]
    ramp_days: Days

    def value(self, facts: Facts | ItemFacts) -> Floats:
        """Return the days still to wait."""
        rows = rows_of(facts)
        times, last = rows.dismissed
        wait = np.zeros(rows.size, np.float32)
        said_no = times > 0
        if not said_no.any():
            return wait
        over = rows.age_days(last)[said_no] - self.days * np.minimum(times[said_no], self.most)
        rest = np.maximum(-over, 0)
        if self.ramp_days > 0:
            apart = self.days * np.clip(1 - over / self.ramp_days, 0, 1)
            since = rows.age_days(rows.last_shown_at)[said_no]
            rest = np.where(over < 0, rest, np.maximum(apart - since, 0))
        wait[said_no] = np.where(times[said_no] > 0, rest, 0)
        return wait

    def remedy(self, facts: Facts) -> str | None:
        return in_days(float(self.value(facts)[0]))


class Fatigued(Frequent):
    """Shown ``times`` since the shopper last took an interest."""

    reason: ClassVar[str] = "fatigued"
    times: Count

    def value(self, facts: Facts | ItemFacts) -> Floats:
        return rows_of(facts).shown_since_interest + 1

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        return None if self.times is None else np.floor(self.times * rows_of(facts).ease(Family.FREQUENT))

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002
        return "if you looked at it"


class Owned(Frequent, FlagRule):
    """The shopper bought it and it lasts."""

    reason: ClassVar[str] = "owned"

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        flagged: Flags = (rows.bought_at != kernel.NEVER) & np.isnan(rows.item("replenish_days"))
        return flagged


class ReplenishEarly(Frequent, FlagRule):
    """The shopper bought it and it is not used up: before ``share`` of its cycle."""

    reason: ClassVar[str] = "replenish_early"
    share: Annotated[float, setting("higher", ge=0, le=10)]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        early: Flags = rows.age_days(rows.bought_at) < self.share * rows.item("replenish_days")
        return early

    def remedy(self, facts: Facts) -> str | None:
        rest = self.share * facts.item("replenish_days") - facts.age_days(facts.bought_at)
        return in_days(max(0.0, float(rest[0])))


