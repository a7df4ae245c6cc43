"""Which shops are batches raced on? Gowalla's visits with an invented catalogue, and an invented shop."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from boundary.policy import Policy
from boundary.tables import read_table
from boundary.taxonomy import Taxonomy
from data.synthetic import make_shop
from experiments.bench.factors import gowalla
from recsys.bundle import Bundle
from recsys.fitting import fit_bundle
from recsys.interactions import Weighing
from recsys.models import make_model

END = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
CATEGORIES, BRANDS, SENSITIVE = 100, 500, 3
DAYS, YEARS_KNOWN = 25, 2
Tables = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


def gowalla_tables(folder: Path, *, seed: int) -> tuple[Tables, Taxonomy]:
    """Make a shop of Gowalla: every visit a purchase of the last days, all known well and willing.

    Prices, categories, brands and moments are drawn; three of a hundred categories are sensitive.
    """
    visits, draw = gowalla(folder), np.random.default_rng(seed)
    users, items = visits.shape
    price = np.round(np.exp(draw.normal(2.0, 0.8, items)), 2)
    rows = pl.Series(np.repeat(np.arange(users), np.diff(visits.indptr)))
    ago = pl.Series((draw.random(visits.nnz) * DAYS * 86_400_000_000).astype(np.int64) + 1)
    events = pl.DataFrame(
        {
            "user_id": rows.cast(pl.String),
            "item_id": pl.Series(visits.indices).cast(pl.String),
            "kind": pl.Series(["purchase"]).new_from_index(0, visits.nnz),
            "at": pl.Series([END]).new_from_index(0, visits.nnz).dt.cast_time_unit("us") - ago.cast(pl.Duration("us")),
            "quantity": np.ones(visits.nnz),
            "unit_price": price[visits.indices],
        }
    )
    numbers = pl.Series(np.arange(items)).cast(pl.String)
    catalogue = pl.DataFrame(
        {
            "item_id": numbers,
            "title": "place " + numbers,
            "category": "category " + pl.Series(draw.integers(0, CATEGORIES, items)).cast(pl.String),
            "brand": "brand " + pl.Series(draw.integers(0, BRANDS, items)).cast(pl.String),
            "price": price,
            "kind": pl.Series(["product"]).new_from_index(0, items),
            "created_at": pl.Series([END - dt.timedelta(days=365 * YEARS_KNOWN)]).new_from_index(0, items),
            "promoted": draw.random(items) < 0.05,
            "margin": draw.random(items),
            "replenish_days": pl.Series(np.full(items, 7.0)),
        }
    )
    everybody = pl.Series(np.arange(users)).cast(pl.String)
    customers = pl.DataFrame(
        {
            "user_id": everybody,
            "consent": pl.Series([["personalise", "email"]]).new_from_index(0, users),
            "opted_out": np.zeros(users, bool),
            "channels": pl.Series([["email"]]).new_from_index(0, users),
            "timezone": pl.Series(["UTC"]).new_from_index(0, users),
            "since": pl.Series([END - dt.timedelta(days=365 * YEARS_KNOWN)]).new_from_index(0, users),
        }
    )
    told = [{"family": f"family_{one}", "category": f"category {one}"} for one in range(SENSITIVE)]
    return (events, catalogue, customers), Taxonomy.model_validate({"entries": told})


def synthetic_tables(folder: Path, *, users: int, items: int, events: int, seed: int) -> tuple[Tables, Taxonomy]:
    """Write an invented shop into a folder and read it."""
    make_shop(folder, users=users, items=items, events=events, seed=seed)
    read = [pl.read_parquet(folder / f"{name}.parquet") for name in ("events", "catalogue", "customers")]
    return (read[0], read[1], read[2]), Taxonomy.load(folder / "taxonomy.toml")


def fitted(path: Path, made: tuple[Tables, Taxonomy], *, dimensions: int, policy: Policy, seed: int) -> Bundle:
    """Fit a shop by ALS and keep the bundle."""
    tables, taxonomy = made
    events, catalogue, customers = (
        read_table(table, name).rows for table, name in zip(tables, ("events", "catalogue", "customers"), strict=True)
    )
    last = events["at"].dt.timestamp("us").max()
    bundle = fit_bundle(
        events,
        catalogue,
        customers,
        taxonomy=taxonomy,
        policy=policy,
        model=make_model("als", factors=dimensions),
        weighing=Weighing({"purchase": 1.0, "cart": 1.0, "view": 0.3}),
        now=int(last) + 1,  # type: ignore[arg-type]
        seed=seed,
    )
    return Bundle.load(bundle.save(path))
