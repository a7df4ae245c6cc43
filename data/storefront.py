"""How the invented shop presents its products: titles, struck-out prices, badges, gestures, true or not."""

import datetime as dt

import numpy as np
import numpy.typing as npt
import polars as pl

from data import wares
from data.assortment import Assortment, Flags, Floats, generator, names
from data.knobs import SECONDS_A_DAY

_TIME = pl.Datetime("us", "UTC")
_LOW_WEEKS = 5
"""The 30 days before a week touch this many."""


def item_ids(stock: Assortment) -> pl.Series:
    """Give the id of each product, (I,), in the order of its rows."""
    return names("i", stock.number, stock.items)


def catalogue(stock: Assortment) -> pl.DataFrame:
    """Give the catalogue as of the last week, products and gestures, by id."""
    rng = generator(stock.seed, of="catalogue")
    margin = generator(stock.seed, of="margins")
    types, rows = stock.types, np.arange(stock.items, dtype=np.int32)
    last = stock.knobs.weeks - 1
    price, promoted = stock.price(rows, last), stock.promoted(rows, last)
    was, low = _struck_out(stock, rng, price, promoted)
    brand, title = _named(stock, rng)
    place = stock.shelves.table[types]
    frame = pl.DataFrame(
        {
            "item_id": item_ids(stock),
            "title": title,
            "category": place["category"],
            "brand": brand,
            "price": price,
            "kind": "product",
            "created_at": moments(stock, (stock.launch.astype(np.int64) - 1) * SECONDS_A_DAY),  # nowhere sold before
            "department": place["department"],
            "type": place["type"],
            "promoted": promoted,
            "margin": np.round(np.clip(margin.normal(stock.knobs.margin, 0.1, stock.items), -0.2, 0.9), 3),
            "was_price": was,
            "low_30d": low,
            **_badges(stock, rng),
            "replenish_days": pl.Series(np.where(np.isinf(stock.cycle), np.nan, np.round(stock.cycle, 1))),
            "conditions": pl.Series([None] * stock.items, dtype=pl.String),
            "tracker": False,
        }
    )
    frame = frame.with_columns(pl.col("was_price", "low_30d", "replenish_days").fill_nan(None))
    return pl.concat([_gestures(stock), frame.sort("item_id")], how="diagonal").select(frame.columns)


def promotions(stock: Assortment) -> pl.DataFrame:
    """Give what was promoted in each week and what it cost: item_id, week_start, price, promoted."""
    rows, starts = stock.flyers()
    weeks = np.repeat(np.arange(stock.knobs.weeks), np.diff(starts))
    return pl.DataFrame(
        {
            "item_id": item_ids(stock)[rows],
            "week_start": moments(stock, weeks * 7 * SECONDS_A_DAY),
            "price": stock.price(rows, weeks),
            "promoted": np.ones(len(rows), bool),
        }
    ).sort("week_start", "item_id")


def truth(stock: Assortment) -> pl.DataFrame:
    """Give the planted proxies: item_id, family, strength."""
    families = pl.Series(list(wares.FAMILIES), dtype=pl.String)
    return pl.DataFrame(
        {
            "item_id": item_ids(stock)[stock.proxy],
            "family": families[stock.proxy_family],
            "strength": stock.strength,
        }
    ).sort("item_id")


def moments(stock: Assortment, seconds: npt.NDArray[np.int64]) -> pl.Series:
    """Give moments that many seconds after the first told one."""
    return pl.Series(1_000_000 * (stock.knobs.start + seconds)).cast(_TIME)


def _struck_out(stock: Assortment, rng: np.random.Generator, price: Floats, promoted: Flags) -> tuple[Floats, Floats]:
    """Give the struck-out and the lowest price of the 30 days before the last week, NaN where there is none.

    An honest discount strikes out that lowest price, and is below it (Directive 98/6/EC, Article 6a). A false
    one strikes out more than that, or makes a discount of a price that is no lower.
    """
    last, rows = stock.knobs.weeks - 1, np.arange(stock.items, dtype=np.int32)
    low = np.full(stock.items, np.inf)
    for week in range(max(0, last - _LOW_WEEKS), last):
        sold = stock.launch < 7 * (week + 1)
        low = np.where(sold, np.minimum(low, stock.price(rows, week)), low)
    low = np.where(np.isinf(low), np.nan, low)
    honest = promoted & (price < low)
    false = promoted & (rng.random(stock.items) < stock.knobs.false_discounts)
    more = np.round(np.fmax(price, low) * rng.uniform(1.15, 1.6, stock.items) + 0.05, 2)
    return np.where(false, more, np.where(honest, low, np.nan)), low


def _named(stock: Assortment, rng: np.random.Generator) -> tuple[pl.Series, pl.Series]:
    """Give brand (null: the shop's own label) and title of each product."""
    brands = pl.Series([brand for _, each in wares.STRANDS for brand in each])
    strand = stock.cell_strand[stock.cell]
    each = len(wares.STRANDS[0][1])
    own = (strand == 0) & (rng.random(stock.items) < 0.6)
    brand = brands[strand * each + rng.integers(0, each, stock.items)].set(pl.Series(own), None)
    touch = pl.Series(wares.TOUCHES)[rng.integers(0, len(wares.TOUCHES), stock.items)]
    size = pl.Series(wares.SIZES)[rng.integers(0, len(wares.SIZES), stock.items)]
    named = pl.select(
        pl.concat_str(brand, stock.shelves.table["type"][stock.types], touch, separator=" ", ignore_nulls=True)
    ).to_series()
    return brand, named + size


def _badges(stock: Assortment, rng: np.random.Generator) -> dict[str, pl.Series]:
    """Give badges, and the evidence behind those that are true."""
    kinds = (wares.CALM_BADGES, wares.URGENT_BADGES, wares.SCARCE_BADGES, wares.SOCIAL_BADGES)
    texts = pl.Series([text for each in kinds for text in each])
    kind_of = np.repeat(np.arange(len(kinds)), [len(each) for each in kinds])
    text = rng.integers(0, len(texts), stock.items)
    has = rng.random(stock.items) < stock.knobs.badges
    true = rng.random(stock.items) >= stock.knobs.false_badges
    kind, end = np.where(has, kind_of[text], 0), dt.datetime.combine(stock.knobs.end, dt.time(), dt.UTC)
    told = rng.random(stock.items) < 0.5  # half of the false claims come with evidence, against them
    stock_left = np.where(true, rng.integers(1, 3, stock.items), rng.integers(40, 400, stock.items))
    count = np.where(true, rng.integers(1200, 9000, stock.items), rng.integers(0, 25, stock.items))
    until = np.where(true, rng.integers(1, 6, stock.items), -rng.integers(1, 60, stock.items))
    until_at = pl.Series(until * SECONDS_A_DAY * 1_000_000 + int(end.timestamp()) * 1_000_000).cast(_TIME)

    def where(shown: Flags, values: pl.Series) -> pl.Series:
        return values.set(pl.Series(~shown), None)

    return {
        "badge": where(has, texts[text]),
        "badge_stock": where((kind == 2) & (true | told), pl.Series(stock_left)),
        "badge_until": where(np.isin(kind, (1, 2)) & (true | told), until_at),
        "badge_count": where((kind == 3) & (true | told), pl.Series(count)),
    }


def _gestures(stock: Assortment) -> pl.DataFrame:
    title, price, conditions, tracker = zip(*wares.GESTURES, strict=True)
    size = len(title)
    return pl.DataFrame(
        {
            "item_id": names("gesture-", np.arange(size), size),
            "title": title,
            "category": "Gestures",
            "price": pl.Series(price, dtype=pl.Float64),
            "kind": "gesture",
            "created_at": moments(stock, np.zeros(size, np.int64)),
            "promoted": False,
            "conditions": pl.Series(conditions, dtype=pl.String),
            "tracker": tracker,
        }
    )
