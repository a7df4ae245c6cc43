"""A small fitted shop: 60 shoppers, 80 items, one sensitive family, a gesture, promoted items, short ALS vectors."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from boundary.policy import Policy
from boundary.tables import read_table
from boundary.taxonomy import Entry, Taxonomy
from recsys.bundle import Bundle
from recsys.fitting import fit_bundle
from recsys.forgetting import Forgotten
from recsys.interactions import Weighing
from recsys.models import Recommender, make_model

MOMENT = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)
NOW = int(MOMENT.timestamp() * 1_000_000)
MINUTE, DAY = 60_000_000, 86_400_000_000
USERS, ITEMS, CATEGORIES = 60, 80, 10
SENSITIVE = Taxonomy(entries=(Entry(family="health", category="aisle-9"),))
POLICY = Policy.named("default").replace({
    "rules.low_support.k": 2, "rules.sensitive_proxy.enforce": "off", "blind.fewest_buyers": 5, "blind.strength": 0.5,
    "rules.too_close.most": 50, "overrides.tier.newcomer.too_close.most": 50, "rules.disproportionate.enforce": "off",
})  # fmt: skip


def shopper(number: int) -> str:
    """The id of a shopper, long enough to be searched for in bytes."""
    return f"shopper-{number:04}-jane.doe@example.org"


def catalogue_frame() -> pl.DataFrame:
    """79 products in ten aisles, of which aisle 9 is sensitive, and one gesture."""
    number = np.arange(ITEMS)
    return read_table(
        pl.DataFrame({
            "item_id": [f"item-{i:02}" for i in number],
            "title": [f"Thing {i:02}" for i in number],
            "category": [f"aisle-{i % CATEGORIES}" for i in number],
            "brand": [f"brand-{i % 17}" for i in number],
            "price": [None if i == ITEMS - 1 else 1.0 + i % 3 / 10 for i in number],
            "kind": ["gesture" if i == ITEMS - 1 else "product" for i in number],
            "created_at": [MOMENT - dt.timedelta(days=500)] * ITEMS,
            "promoted": [bool(i % 13 == 0) for i in number],
            "replenish_days": [3.0] * ITEMS,
            "conditions": [""] * ITEMS,
            "tracker": [False] * ITEMS,
        }),
        "catalogue",
    ).rows  # fmt: skip


def events_frame(seed: int = 5) -> pl.DataFrame:
    """About thirty purchases a shopper over sixty days, more in the aisles that the shopper likes."""
    draw = np.random.default_rng(seed)
    lines = []
    for user in range(USERS):
        liked = (user + np.array([0, 1])) % CATEGORIES
        for _ in range(30):
            aisle = draw.choice(liked) if draw.random() < 0.7 else draw.integers(CATEGORIES)
            item = int(aisle + CATEGORIES * draw.integers((ITEMS - 1 - aisle) // CATEGORIES + 1))
            if item == ITEMS - 1:
                continue
            at = MOMENT - dt.timedelta(days=float(draw.uniform(4, 64)))
            lines.append((shopper(user), f"item-{item:02}", "purchase", at, 1.0, 1.0))
    return read_table(
        pl.DataFrame(lines, schema=["user_id", "item_id", "kind", "at", "quantity", "unit_price"], orient="row"),
        "events",
    ).rows


def customers_frame() -> pl.DataFrame:
    """Everybody agreed, but shopper 57 opted out, 58 did not agree, and 59 has no row."""
    users = range(USERS - 1)
    return read_table(
        pl.DataFrame({
            "user_id": [shopper(u) for u in users],
            "consent": [["email"] if u == 58 else ["personalise", "email", "push"] for u in users],
            "opted_out": [u == 57 for u in users],
            "channels": [["email"]] * (USERS - 1),
            "timezone": ["UTC"] * (USERS - 1),
            "since": [MOMENT - dt.timedelta(days=300)] * (USERS - 1),
        }),
        "customers",
    ).rows  # fmt: skip


def fitted(
    events: pl.DataFrame | None = None,
    customers: pl.DataFrame | None = None,
    catalogue: pl.DataFrame | None = None,
    *,
    forgotten: Forgotten | None = None,
    policy: Policy = POLICY,
    model: Recommender | None = None,
    now: int = NOW,
) -> Bundle:
    """Fit the small shop, or a variation of it."""
    return fit_bundle(
        events_frame() if events is None else events,
        catalogue_frame() if catalogue is None else catalogue,
        customers_frame() if customers is None else customers,
        taxonomy=SENSITIVE,
        policy=policy,
        model=model or make_model("als", factors=6, iterations=4, regularization=1.0),
        weighing=Weighing({"purchase": 1.0, "cart": 1.0, "view": 0.3}),
        now=now,
        seed=3,
        forgotten=forgotten,
    )
