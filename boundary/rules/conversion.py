"""Too conversion-driven: rules about not always selling."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.claims import Claim
from boundary.facts import Facts, ItemFacts
from boundary.rules.base import (
    Ceiling,
    Count,
    Days,
    FlagRule,
    Flags,
    Floats,
    Quota,
    QuotaTerms,
    Rule,
    Share,
    in_days,
    rows_of,
    setting,
)
from boundary.words import Family


class Conversion(Rule):
    family: ClassVar[Family] = Family.CONVERSION


class Following(Conversion, FlagRule):
    """Viewed or put in the cart, not bought since: no discovery, only pursuit."""

    reason: ClassVar[str] = "following"
    days: Days

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        looked = rows.looked_at
        flagged: Flags = (looked > rows.bought_at) & (rows.age_days(looked) < self.days)
        return flagged

    def remedy(self, facts: Facts) -> str | None:
        return in_days(max(0.0, self.days - float(facts.age_days(facts.looked_at)[0])))


class Upsell(Conversion):
    """The unit price is over what this shopper pays in the category; who never bought there is not upsold."""

    reason: ClassVar[str] = "upsell"
    most: Ceiling

    def value(self, facts: Facts | ItemFacts) -> Floats:
        rows = rows_of(facts)
        paid, price = rows.paid, rows.item("price")
        free = (paid <= 0) & (price > 0)
        ratio = np.divide(price, paid, out=np.where(free, np.inf, 0).astype(np.float32), where=paid > 0)
        return np.where(np.isnan(price) & ~rows.item("gesture"), np.nan, ratio)

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:
        return None if self.most is None else self.most * rows_of(facts).ease(Family.CONVERSION)


class Urgency(Conversion, FlagRule):
    """The badge says hurry, and no end date that still lies ahead is behind it."""

    reason: ClassVar[str] = "urgency"

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        rows = rows_of(facts)
        claimed = (rows.item("claim") & Claim.URGENCY) != 0
        flagged: Flags = claimed & ~(rows.item("badge_until") > rows.context.now)
        return flagged


class Scarcity(Conversion, FlagRule):
    """The badge says few are left, and the stock does not bear it out."""

    reason: ClassVar[str] = "scarcity"
    grain: ClassVar[Literal["item", "row", "quota"]] = "item"
    few: Annotated[int, setting("lower", ge=0)]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        claimed = (facts.item("claim") & Claim.SCARCITY) != 0
        number, stock = facts.item("badge_number"), facts.item("badge_stock")
        true = stock <= np.where(np.isnan(number), self.few, np.minimum(number, self.few))
        flagged: Flags = claimed & ~true
        return flagged


class SocialProof(Conversion, FlagRule):
    """The badge says others want it, and no count of them is behind it."""

    reason: ClassVar[str] = "social_proof"
    grain: ClassVar[Literal["item", "row", "quota"]] = "item"
    fewest: Annotated[int, setting("higher", ge=0)]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        claimed = (facts.item("claim") & Claim.SOCIAL_PROOF) != 0
        number, count = facts.item("badge_number"), facts.item("badge_count")
        true = count >= np.where(np.isnan(number), self.fewest, np.maximum(number, self.fewest))
        flagged: Flags = claimed & ~true
        return flagged


class FalseDiscount(Conversion, FlagRule):
    """The "discount" is above the lowest price of the last 30 days, or strikes out a price that was not the lowest.

    After Directive 98/6/EC, Article 6a: the reference price is the lowest of the 30 days before.
    """

    reason: ClassVar[str] = "false_discount"
    grain: ClassVar[Literal["item", "row", "quota"]] = "item"
    tolerance: Annotated[float, setting("lower", ge=0, le=1)]

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        price, was, low = facts.item("price"), facts.item("was_price"), facts.item("low_30d")
        most = low * (1 + self.tolerance)
        claimed = ~np.isnan(was)
        flagged: Flags = claimed & ~((price < was) & (price <= most) & (was <= most))
        return flagged


class ConditionalGift(Conversion, FlagRule):
    """A gesture that has a price, a purchase condition or a tracker is not a gesture."""

    reason: ClassVar[str] = "conditional_gift"
    grain: ClassVar[Literal["item", "row", "quota"]] = "item"

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        strings = (facts.item("price") > 0) | facts.item("conditions") | facts.item("tracker")
        flagged: Flags = facts.item("gesture") & strings
        return flagged


class PromotedShare(Conversion, Quota):
    """At most this share of the slate is promoted."""

    reason: ClassVar[str] = "promoted_share"
    most: Share

    def terms(self) -> QuotaTerms | None:
        if self.most is None:
            return None
        return QuotaTerms(kernel.SHARE, promoted_only=True, share=self.most, eased_by=Family.CONVERSION)


class PromotedLead(Conversion, Quota):
    """No promoted item in first place."""

    reason: ClassVar[str] = "promoted_lead"

    def terms(self) -> QuotaTerms:
        return QuotaTerms(kernel.LEAD, promoted_only=True)


class PromotedGap(Conversion, Quota):
    """At least this many slots lie between two promoted items."""

    reason: ClassVar[str] = "promoted_gap"
    slots: Annotated[int, setting("higher", ge=0, le=1000)]

    def terms(self) -> QuotaTerms:
        return QuotaTerms(kernel.GAP, promoted_only=True, first=self.slots)


class ProfileShare(Conversion, Quota):
    """At most this share of the slots asked for is chosen from the profile: the floor of exploration, as a cap."""

    reason: ClassVar[str] = "profile_share"
    most: Share

    def terms(self) -> QuotaTerms | None:
        return None if self.most is None else QuotaTerms(kernel.SHARE, share=self.most, eased_by=Family.PERSONAL)


class Crowded(Conversion, Quota):
    """At most ``most`` of one category (or brand) in any ``of`` slots that follow each other."""

    reason: ClassVar[str] = "crowded"
    most: Count
    of: Annotated[int, setting("higher", ge=1, le=10_000)]
    by: Literal["category", "brand"]

    def terms(self) -> QuotaTerms | None:
        if self.most is None:
            return None
        return QuotaTerms(kernel.CROWD, first=self.most, second=self.of, by_brand=self.by == "brand")
