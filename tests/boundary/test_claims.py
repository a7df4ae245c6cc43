"""What a badge says, phrase by phrase: the kinds of pressure and their numbers, and texts that press nobody."""

from __future__ import annotations

import math

import pytest

from boundary.claims import Claim, claimed_number, classify

HURRY, FEW, LOVED = Claim.URGENCY, Claim.SCARCITY, Claim.SOCIAL_PROOF


@pytest.mark.parametrize(
    ("badge", "claim"),
    [
        *[(text, HURRY) for text in (
            "Hurry!", "ACT NOW", "act fast", "Ends today", "ends in 3 hours", "Ending soon", "Last chance", "Last hours",
            "Today only", "weekend only", "Only today", "Limited time", "limited-time offer", "Flash sale", "flash deal",
            "Before it's gone", "Before it’s too late", "Don't miss it", "Don’t wait", "Now or never", "Countdown",
            "3 hours left", "2 days left", "Time is running out", "Offer expires soon", "While offer lasts",
            "Order within 2 hours", "02:59 left",
        )],
        *[(text, FEW) for text in (
            "Only 3 left", "only three remaining", "Last 2", "Last one", "last items", "3 left", "Low stock", "low in stock",
            "Few left", "Selling fast", "Almost gone", "almost sold out", "Nearly gone", "Going fast",
            "While stocks last", "while supplies last", "Limited edition", "limited quantities", "Rare", "High demand",
            "Sells out quickly", "In 12 other carts", "in your basket", "In 20+ baskets", "in 9 carts",
        )],
        *[(text, LOVED) for text in (
            "Bestseller", "best-seller", "Best selling", "Top rated", "Most popular", "Popular", "Trending", "Viral",
            "Customer favourite", "customers love it", "Fan favorite", "500 people", "1,200+ customers", "Bought 40 times",
            "40 sold", "12 viewing", "Everyone loves it", "People are watching", "#1", "The #1 choice", "Number one", "4.5 stars", "5★",
            "Recommended by 9 in 10",
        )],
        ("Only 3 left - hurry, bestseller", HURRY | FEW | LOVED),
        *[(text, Claim.NONE) for text in (
            None, "", " ", "New", "New this week", "Organic", "Made in Prague", "Left-handed", "Vegan", "Last year's design",
            "Fresh every day", "Gluten free", "250 g", "Rarely ironed", "Peoples' choir", "Carton of 6", "Size #12",
        )],
    ],
)  # fmt: skip
def test_a_badge_makes_the_claims_of_its_words(badge: str | None, claim: Claim) -> None:
    """Each phrase of the lexicon by an example of its own, and texts that come near."""
    assert classify(badge) == claim


@pytest.mark.parametrize(
    ("badge", "claim", "number"),
    [
        ("Only 3 left", FEW, 3.0), ("ONLY THREE LEFT", FEW, 3.0), ("Only a dozen left", FEW, 12.0),
        ("Last 2, only 5 left", FEW, 2.0), ("Low stock", FEW, math.nan), ("1,200 people bought this", LOVED, 1200.0),
        ("1.200 people", LOVED, 1200.0), ("2k sold", LOVED, 2000.0), ("1.5k customers", LOVED, 1500.0),
        ("hundreds of people", LOVED, 200.0), ("40 sold, 500 people looking", LOVED, 500.0),
        ("Only 3 left", LOVED, math.nan), (None, FEW, math.nan), ("", LOVED, math.nan), ("Bought 1,5 times", LOVED, 1.5),
        ("1.2.3 people", LOVED, math.nan), ("Only ３ left", FEW, 3.0), ("1,234,567 customers", LOVED, 1234567.0),
    ],
)  # fmt: skip
def test_the_number_of_a_claim_is_the_one_in_its_words(badge: str | None, claim: Claim, number: float) -> None:
    """The smallest that are left, the largest that want it; a text of no number has none."""
    assert claimed_number(badge, claim) == pytest.approx(number, nan_ok=True)
