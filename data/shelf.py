"""What receipts tell about a shop's shelf: prices, markdowns, and how soon people buy in a category again."""

import datetime as dt

import polars as pl

_SEVEN_DAYS = dt.timedelta(days=7) // dt.timedelta(microseconds=1)


def prices(lines: pl.DataFrame, week: dt.datetime, *, price_days: int, low_days: int) -> pl.DataFrame:
    """Give each item's price and its lowest price before this week.

    A product sold in the week that begins at `week` costs the median of that week; any other, the median of
    `price_days` before its last sale. The `low_days` before the week are cut into stretches of seven days,
    each with the median of its sales. The lowest of these is what a discount must be measured by (Directive
    98/6/EC, Article 6a).

    Args:
        lines: sales with `item_id`, `at` and `shelf` (price of one on the shelf).
        week: beginning of the latest week; no line is later than that week.
        price_days: length of the window for products not sold this week.
        low_days: length of the window for the usual and the lowest price.

    Returns:
        One row an item: `item_id`, `price`, `low_30d` (null: not sold).

    Examples:
        >>> week = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
        >>> days = [week + dt.timedelta(days=day) for day in (-20, -10, -3, 1)]
        >>> sales = pl.DataFrame({"item_id": ["tea"] * 4, "at": days, "shelf": [3.0, 4.0, 4.0, 3.5]})
        >>> prices(sales, week, price_days=28, low_days=30).rows()
        [('tea', 3.5, 3.0)]
    """
    sold = lines.filter(pl.col("shelf") > 0)
    last = pl.col("at").max().over("item_id")
    begins = pl.when(last >= week).then(pl.lit(week)).otherwise(last - pl.duration(days=price_days))
    now = sold.filter(pl.col("at") >= begins).group_by("item_id").agg(price=pl.col("shelf").median().round(2))
    before = (
        sold.filter((pl.col("at") < week) & (pl.col("at") >= week - dt.timedelta(days=low_days)))
        .group_by("item_id", stretch=(pl.lit(week) - pl.col("at")).dt.total_microseconds() // _SEVEN_DAYS)
        .agg(pl.col("shelf").median())
        .group_by("item_id")
        .agg(low_30d=pl.col("shelf").min().round(2))
    )
    return now.join(before, on="item_id", how="left").select("item_id", "price", "low_30d")


def rhythm(lines: pl.DataFrame, timezone: str, *, repeat_share: float, repeat_buyers: int) -> pl.DataFrame:
    """Give the days after which a household usually buys in a category again.

    Each household counts once, with the median of its gaps between shopping days; the rhythm of a category is
    the median of those. It has none, and its products count as durable, when fewer than `repeat_buyers`
    households bought in it or a smaller share than `repeat_share` of them came back for it on another day.

    Args:
        lines: sales with `user_id`, `category` and `at`.
        timezone: where the shop's days begin and end.
        repeat_share: least share of a category's buyers that bought in it on two days or more.
        repeat_buyers: least number of buyers.

    Returns:
        One row a category that has a rhythm, with `category` and `replenish_days`.

    Examples:
        >>> at = [dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC) for day in (1, 4, 9, 5)]
        >>> sales = pl.DataFrame({"user_id": ["a", "a", "a", "b"], "category": "MILK", "at": at})
        >>> rhythm(sales, "UTC", repeat_share=0.5, repeat_buyers=2).rows()
        [('MILK', 4.0)]
    """
    day = pl.col("at").dt.convert_time_zone(timezone).dt.date()
    gaps = (
        lines.select("user_id", "category", day=day)
        .unique()
        .sort("day")
        .group_by("user_id", "category")
        .agg(gap=pl.col("day").diff().dt.total_days().median())
    )
    return (
        gaps.group_by("category")
        .agg(buyers=pl.len(), again=pl.col("gap").is_not_null().mean(), replenish_days=pl.col("gap").median())
        .filter((pl.col("buyers") >= repeat_buyers) & (pl.col("again") >= repeat_share))
        .select("category", "replenish_days")
        .drop_nulls()
    )
