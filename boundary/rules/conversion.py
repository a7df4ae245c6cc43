"""Too conversion-driven: rules about not always selling."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np

from boundary import kernel
from boundary.claims import Claim
from boundary.facts import Facts, View
from boundary.measure import Measure
from boundary.rules import kernel as quota
from boundary.rules.base import (
    Bound,
    FlagRule,
    Flags,
    Grain,
    Measured,
    Quota,
    QuotaTerms,
    Rule,
    Values,
    in_days,
    items_of,
)
from boundary.settings import Ceiling, Count, Days, Share, setting
from boundary.words import Family


class Conversion(Rule):
    family: ClassVar[Family] = Family.CONVERSION


class Following(Conversion, Measured):
    """Viewed or put in the cart less than ``days`` ago, not bought since: no discovery, only pursuit."""

    reason: ClassVar[str] = "following"
    bound: ClassVar[Bound] = "at least"
    days: Days

    def measure(self) -> Measure:
        return Measure(kernel.FOLLOWED, self.days)

    def remedy(self, facts: Facts) -> str | None:
        return in_days(self.days - float(np.asarray(self.value(facts)).reshape(-1)[0]))


class Upsell(Conversion, Measured):
    """The unit price is over what this shopper pays in the category; who never bought there is not upsold."""

    reason: ClassVar[str] = "upsell"
    most: Ceiling

    def measure(self) -> Measure | None:
        if self.most is None:
            return None
        return Measure(kernel.RATIO, self.most, single=True, eased_by=Family.CONVERSION)


class Urgency(Conversion, Measured):
    """The badge says hurry, and no end date that still lies ahead is behind it; the value is 1 where that is so."""

    reason: ClassVar[str] = "urgency"

    def measure(self) -> Measure:
        return Measure(kernel.HURRIED, 0)


class Scarcity(Conversion):
    """The badge says few are left, and the stock does not bear it out: more than ``few``, or than the badge says.

    The value is the stock; the limit the most that there may be.
    """

    reason: ClassVar[str] = "scarcity"
    grain: ClassVar[Grain] = "item"
    few: Annotated[int, setting("lower", ge=0)]

    def value(self, facts: View) -> Values:
        view = items_of(facts)
        claimed = (view.item("claim") & Claim.SCARCITY) != 0
        return np.where(claimed, view.item("badge_stock"), np.float32(-np.inf))

    def limit(self, facts: View) -> Values:
        return np.fmin(items_of(facts).item("badge_few"), np.float32(self.few))


class SocialProof(Conversion):
    """The badge says others want it, and no count is behind it: fewer than ``fewest``, or than the badge says."""

    reason: ClassVar[str] = "social_proof"
    grain: ClassVar[Grain] = "item"
    bound: ClassVar[Bound] = "at least"
    fewest: Annotated[int, setting("higher", ge=0)]

    def value(self, facts: View) -> Values:
        view = items_of(facts)
        claimed = (view.item("claim") & Claim.SOCIAL_PROOF) != 0
        return np.where(claimed, view.item("badge_count"), np.float32(np.inf))

    def limit(self, facts: View) -> Values:
        return np.fmax(items_of(facts).item("badge_many"), np.float32(self.fewest))


class FalseDiscount(Conversion, FlagRule):
    """The "discount" is none, or strikes out a price that was not the lowest of the last 30 days.

    After Directive 98/6/EC, Article 6a: the reference price is the lowest of the 30 days before.
    """

    reason: ClassVar[str] = "false_discount"
    grain: ClassVar[Grain] = "item"
    tolerance: Annotated[float, setting("lower", ge=0, le=1)]

    def flagged(self, facts: View) -> Flags:
        view = items_of(facts)
        price, was, low = view.item("price"), view.item("was_price"), view.item("low_30d")
        claimed = ~np.isnan(was)
        flagged: Flags = claimed & ~((price < was) & (was <= low * np.float32(1 + self.tolerance)))
        return flagged


class ConditionalGift(Conversion, FlagRule):
    """A gesture that has a price, a purchase condition or a tracker is not a gesture."""

    reason: ClassVar[str] = "conditional_gift"
    grain: ClassVar[Grain] = "item"

    def flagged(self, facts: View) -> Flags:
        view = items_of(facts)
        strings = (view.item("price") > 0) | view.item("conditions") | view.item("tracker")
        flagged: Flags = view.item("gesture") & strings
        return flagged


class PromotedShare(Conversion, Quota):
    """At most this share of the slate is promoted."""

    reason: ClassVar[str] = "promoted_share"
    most: Share

    def terms(self) -> QuotaTerms | None:
        if self.most is None:
            return None
        return QuotaTerms(quota.SHARE, promoted_only=True, share=self.most, eased_by=Family.CONVERSION)


class PromotedLead(Conversion, Quota):
    """No promoted item in first place."""

    reason: ClassVar[str] = "promoted_lead"

    def terms(self) -> QuotaTerms:
        return QuotaTerms(quota.LEAD, promoted_only=True)


class PromotedGap(Conversion, Quota):
    """At least this many slots lie between two promoted items."""

    reason: ClassVar[str] = "promoted_gap"
    slots: Annotated[int, setting("higher", ge=0, le=1000)]

    def terms(self) -> QuotaTerms:
        return QuotaTerms(quota.GAP, promoted_only=True, first=self.slots)


class ProfileShare(Conversion, Quota):
    """At most this share of the slots asked for is chosen from the profile: the floor of exploration, as a cap."""

    reason: ClassVar[str] = "profile_share"
    most: Share

    def terms(self) -> QuotaTerms | None:
        return None if self.most is None else QuotaTerms(quota.SHARE, share=self.most, eased_by=Family.PERSONAL)


class Crowded(Conversion, Quota):
    """At most ``most`` of one category (or brand) in any ``of`` slots that follow each other."""

    reason: ClassVar[str] = "crowded"
    most: Count
    of: Annotated[int, setting("higher", ge=1, le=10_000)]
    by: Literal["category", "brand"]

    def terms(self) -> QuotaTerms | None:
        if self.most is None:
            return None
        return QuotaTerms(quota.CROWD, first=self.most, second=self.of, by_brand=self.by == "brand")
