"""The invented shop: clean tables, equal for equal arguments, skewed as asked, with what was planted."""

import datetime as dt
import hashlib
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.claims import Claim, classify
from boundary.tables import SCHEMAS, TableError, read_table
from boundary.taxonomy import Taxonomy
from data import wares
from data.knobs import Knobs
from data.synthetic import Counts, make_shop

SOME = 300
"""Products of a tiny shop: few more than there are types."""


class Shop:
    """A shop written and read again through the boundary's door."""

    def __init__(self, out: Path, counts: Counts) -> None:
        self.out, self.counts = out, counts
        self.tables = {name: read_table(self.read(name), name) for name in ("events", "catalogue", "customers")}
        self.events, self.catalogue, self.customers = (table.rows for table in self.tables.values())

    def read(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.out / f"{name}.parquet")

    @property
    def bought(self) -> pl.DataFrame:
        return self.events.filter(kind="purchase")


def make(
    out: str | Path, *, users: int = 60, items: int = SOME, events: int = 3000, seed: int = 1, **knobs: float
) -> Shop:
    counts = make_shop(out, users=users, items=items, events=events, seed=seed, knobs=Knobs(**knobs))
    return Shop(Path(out), counts)


def digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop large enough for shares and lifts."""
    return make(tmp_path_factory.mktemp("town"), users=3000, items=1000, events=240_000, seed=11)


bounded = st.fixed_dictionaries(
    {
        field.name: st.integers(1, 60) if field.type is int else st.floats(low, high)
        for field in fields(Knobs)
        if field.metadata and field.name not in {"weakest", "strongest"}
        for low, high in [(field.metadata["low"], field.metadata["high"])]
    }
)


@settings(max_examples=8, deadline=None)
@given(users=st.integers(1, 50), events=st.integers(0, 800), seed=st.integers(0, 2**40), knobs=bounded)
def test_whatever_the_knobs_no_row_is_rejected_and_events_make_sense(
    users: int, events: int, seed: int, knobs: dict[str, float]
) -> None:
    """Tables cross the door whole, and nobody acts before the shopper or the product was there."""
    with tempfile.TemporaryDirectory() as folder:
        shop = make(folder, users=users, events=events, seed=seed, **knobs)
        start = dt.datetime.combine(Knobs().end, dt.time(), dt.UTC)
        for name, table in shop.tables.items():
            assert table.counts["rejected"] == 0, table.counts
            assert table.counts["kept"] == shop.counts[name]["kept"]
            assert set(shop.read(name).columns) == set(SCHEMAS[name].columns())
        assert shop.events.height == events
        assert shop.catalogue.height == SOME + len(wares.GESTURES)
        assert shop.customers.height + shop.counts["customers"]["guests"] == users
        assert shop.events.equals(shop.events.sort("user_id", "at", maintain_order=True))
        seen = shop.events.join(shop.catalogue, on="item_id").join(shop.customers, on="user_id", how="left")
        assert seen.height == events
        assert seen.filter(pl.col("at") < pl.col("created_at")).is_empty()
        assert seen.filter(pl.col("at") < pl.col("since")).is_empty()
        weeks = dt.timedelta(weeks=knobs["weeks"])
        assert seen.filter(~pl.col("at").is_between(start - weeks, start, closed="left")).is_empty()
        assert (shop.events["kind"] == "purchase").equals(shop.events["quantity"].is_not_null())


def test_equal_arguments_give_equal_files(tmp_path: Path) -> None:
    """Byte for byte; another seed gives others."""
    one, two, other = (make(tmp_path / name, seed=seed) for name, seed in (("one", 5), ("two", 5), ("other", 6)))
    assert digests(one.out) == digests(two.out)
    assert not one.events.equals(other.events)
    assert not one.catalogue.equals(other.catalogue)


def test_how_many_blocks_are_worked_at_once_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block draws from its own seed, and is written in its turn."""
    monkeypatch.setattr("data.synthetic._BLOCK_EVENTS", 250)
    size = {"users": 61, "items": SOME, "events": 3001, "seed": 3}
    for at_once in (1, 2, 7):
        make_shop(tmp_path / str(at_once), **size, at_once=at_once)
    assert digests(tmp_path / "1") == digests(tmp_path / "2") == digests(tmp_path / "7")
    assert read_table(tmp_path / "1" / "events.parquet", "events").counts == {
        "read": 3001, "kept": 3001, "rejected": 0,
    }  # fmt: skip


def test_progress_grows_and_what_fails_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events appear whole or not at all."""
    monkeypatch.setattr("data.synthetic._BLOCK_EVENTS", 250)
    size = {"users": 40, "items": SOME, "events": 2000, "seed": 3}
    steps: list[tuple[str, float]] = []
    make_shop(tmp_path / "whole", **size, progress=lambda step, share: steps.append((step, share)))
    shares = [share for step, share in steps if step == "writing the events"]
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0

    def stop(_step: str, share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shop(tmp_path / "half", **size, progress=stop)
    assert not list((tmp_path / "half").rglob("*.tmp"))
    assert not (tmp_path / "half" / "events.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"users": 0}, "`users` must be at least 1 but got 0"),
        ({"items": 10}, "`items` must be at least [0-9]+ but got 10"),
        ({"events": -1}, "`events` must be at least 0 but got -1"),
        ({"seed": -1}, "`seed` must be at least 0 but got -1"),
        ({"guests": 1.5}, "`guests` must be between 0 and 1 but got 1.5"),
        ({"weeks": 0}, "`weeks` must be between 1 and 520 but got 0"),
        ({"taste": math.nan}, "`taste` must be between 0 and 3 but got nan"),
        ({"weakest": 5, "strongest": 2}, "`strongest` must be at least `weakest`, 5, but got 2"),
    ],
)
def test_a_setting_out_of_bounds_is_named(tmp_path: Path, arguments: dict[str, float], said: str) -> None:
    """Setting, bound and value."""
    with pytest.raises(TableError, match=said):
        make(tmp_path / "never", **arguments)
    assert not (tmp_path / "never").exists()


def test_the_recipe_and_the_counts_lie_beside_the_tables(town: Shop) -> None:
    """Whoever finds the folder can make it again."""
    recipe = json.loads((town.out / "recipe.json").read_text(encoding="utf-8"))
    assert {name: recipe[name] for name in ("users", "items", "events", "seed")} == {
        "users": 3000, "items": 1000, "events": 240_000, "seed": 11,
    }  # fmt: skip
    assert recipe["knobs"]["popularity"] == Knobs().popularity
    assert json.loads((town.out / "counts.json").read_text(encoding="utf-8")) == town.counts
    kinds = dict(town.events["kind"].value_counts().iter_rows())
    assert kinds == {kind: town.counts["events"][kind] for kind in ("view", "cart", "purchase", "dismiss")}


def test_the_crowd_is_as_asked(town: Shop) -> None:
    """Guests, newcomers, opt-outs and consent have their shares; zones and titles are not all alike."""
    customers, end = town.customers, dt.datetime.combine(Knobs().end, dt.time(), dt.UTC)
    new = (end - customers["since"]) <= dt.timedelta(days=31)
    assert 1 - customers.height / 3000 == pytest.approx(Knobs().guests, abs=0.03)
    assert new.mean() == pytest.approx(Knobs().newcomers, abs=0.06)
    assert customers["opted_out"].mean() == pytest.approx(Knobs().opted_out, abs=0.03)
    agreed = customers["consent"].list.contains("personalise")
    assert 1 - agreed.mean() == pytest.approx(Knobs().no_consent, abs=0.03)
    assert customers.filter(pl.col("channels").list.set_difference("consent").list.len() > 0).is_empty()
    assert set(customers["timezone"]) == set(wares.ZONES)
    assert town.catalogue.filter(pl.col("title").str.contains(r"\P{Ascii}")).height > 200


def test_people_come_by_day_where_they_live(town: Shop) -> None:
    """Between one and five at night, local time, hardly anybody shops."""
    local = town.events.join(town.customers.select("user_id", "timezone"), on="user_id")
    night = [
        each.select(pl.col("at").dt.convert_time_zone(zone).dt.hour().is_between(1, 4)).to_series()
        for (zone,), each in local.group_by("timezone")
        if ZoneInfo(zone)
    ]
    assert pl.concat(night).mean() < 0.05


def test_popularity_and_activity_are_skewed_and_can_be_flat(town: Shop, tmp_path: Path) -> None:
    """The most popular tenth of the products is bought far more often than a tenth of the time."""

    def head(shop: Shop) -> float:
        sold = shop.bought["item_id"].value_counts(sort=True)["count"]
        return sold.head(100).sum() / sold.sum()

    def spread(shop: Shop) -> float:
        done = shop.events["user_id"].value_counts()["count"].cast(pl.Float64).log()
        return done.std()

    flat = make(
        tmp_path,
        users=1000,
        items=1000,
        events=60_000,
        popularity=0,
        activity=0,
        taste=0,
        proxies=0,
        newcomers=0,
    )
    assert head(town) > 0.4
    assert head(flat) < 0.2
    assert spread(town) > 0.9
    assert spread(flat) < 0.7  # some came late


def test_tastes_give_structure_and_without_them_there_is_none(tmp_path: Path) -> None:
    """Two purchases of one shopper fall into one category more often than those of two shoppers."""

    def together(taste: float) -> float:
        shop = make(tmp_path / str(taste), users=400, items=600, events=40_000, taste=taste, membership=0)
        pairs = shop.bought.unique(["user_id", "item_id"]).join(shop.catalogue, on="item_id")
        sold = pairs.group_by("category").len()["len"].to_numpy()
        shares = (
            pairs.group_by("user_id", "category")
            .len()
            .group_by("user_id")
            .agg((pl.col("len") * (pl.col("len") - 1)).sum().alias("same"), pl.col("len").sum().alias("all"))
        )
        within = shares["same"].sum() / (shares["all"] * (shares["all"] - 1)).sum()
        return within / ((sold / sold.sum()) ** 2).sum()

    assert together(0) < 1.1
    assert together(1) > 1.5


def test_a_purchase_follows_a_view_and_a_cart_of_the_same_visit(town: Shop) -> None:
    """Half an hour holds them all."""
    steps = town.events.with_columns(then="at").sort("at")
    for kind in ("view", "cart"):
        before = town.bought.sort("at").join_asof(
            steps.filter(kind=kind), on="at", by=["user_id", "item_id"], check_sortedness=False
        )
        gap = before["at"] - before["then"]
        assert gap.null_count() == 0
        assert gap.max() < dt.timedelta(minutes=30)
        assert gap.min() > dt.timedelta(0)


def test_what_lasts_is_bought_once_and_the_rest_at_its_rhythm(town: Shop) -> None:
    """In each cycle after the first purchase at most one more."""
    bought = town.bought.join(town.catalogue.select("item_id", "replenish_days"), on="item_id")
    durable = bought.filter(pl.col("replenish_days").is_null()).group_by("user_id", "item_id").len()
    assert durable["len"].max() == 1
    again = bought.drop_nulls("replenish_days").group_by("user_id", "item_id").agg(
        (pl.len() - 1).alias("times"),
        ((pl.col("at").max() - pl.col("at").min()).dt.total_days() + 2).alias("days"),
        pl.col("replenish_days").first(),
    )  # fmt: skip
    assert (again["times"] <= (again["days"] / (again["replenish_days"] - 0.1)).ceil()).all()
    assert again["times"].max() > 3


def test_prices_are_those_of_the_week_and_promotions_pull(town: Shop) -> None:
    """A promoted product costs what the promotions say, less than usual, and is looked at more often."""
    promotions, start = town.read("promotions"), dt.datetime.combine(Knobs().end, dt.time(), dt.UTC)
    last = promotions.filter(pl.col("week_start") == start - dt.timedelta(weeks=1))
    told = set(town.catalogue.filter("promoted")["item_id"])
    assert set(last["item_id"]) <= told
    sold = (  # away from the week's ends, where the local week is another than that in UTC
        town.bought.with_columns(pl.col("at").dt.truncate("1w").alias("week_start"))
        .filter((pl.col("at") - pl.col("week_start")).dt.total_hours().is_between(14, 144))
        .join(promotions, on=["item_id", "week_start"], how="left")
    )
    promoted = sold.filter(pl.col("promoted").is_not_null())
    assert promoted.height / sold.height > Knobs().promotions + 0.5 * Knobs().pull
    assert (promoted["unit_price"] == promoted["price"]).all()
    usual = sold.filter(pl.col("promoted").is_null()).group_by("item_id").agg(pl.col("unit_price").median())
    both = promoted.join(usual, on="item_id", suffix="_usual")
    assert (both["unit_price"] / both["unit_price_usual"]).median() < 0.9


@pytest.mark.parametrize("false", [0.0, 1.0])
def test_discounts_and_badges_are_as_true_as_asked(tmp_path: Path, false: float) -> None:
    """All honest or none: against the lowest price of 30 days, and against stock, end and count."""
    shop = make(tmp_path, items=2000, false_discounts=false, false_badges=false, promotions=0.2, badges=0.5)
    marked = shop.catalogue.filter(pl.col("was_price").is_not_null())
    honest = (marked["price"] < marked["was_price"]) & (marked["was_price"] <= marked["low_30d"])
    end = dt.datetime.combine(Knobs().end, dt.time(), dt.UTC)
    badges = shop.catalogue.filter(pl.col("badge").is_not_null())
    claims = np.array([classify(badge) for badge in badges["badge"]])
    borne_out = np.select(
        [claims & Claim.SCARCITY > 0, claims & Claim.URGENCY > 0, claims & Claim.SOCIAL_PROOF > 0],
        [
            (badges["badge_stock"] <= 3).fill_null(value=False),
            (badges["badge_until"] > end).fill_null(value=False),
            (badges["badge_count"] >= 1200).fill_null(value=False),
        ],
        default=not false,
    )
    assert marked.height > 100
    assert badges.height > 500
    assert (claims > 0).any()
    assert honest.all() if not false else not honest.any()
    assert borne_out.all() if not false else not borne_out.any()


def test_the_last_gestures_are_traps(town: Shop) -> None:
    """A price, a condition or a tracker; the others have none of them, and nobody buys a gesture."""
    gestures = town.catalogue.filter(kind="gesture").sort("item_id")
    strings = (pl.col("price").fill_null(0) > 0) | pl.col("conditions").is_not_null() | pl.col("tracker")
    trap = gestures.select(strings).to_series().to_list()
    assert trap == [False] * (len(wares.GESTURES) - wares.TRAPS) + [True] * wares.TRAPS
    assert not set(gestures["item_id"]) & set(town.events["item_id"])


def test_a_margin_moves_nothing_else(tmp_path: Path) -> None:
    """Whatever the shop earns, people do the same and every other column stays."""
    low, high = (make(tmp_path / str(margin), margin=margin) for margin in (0.1, 0.6))
    assert low.events.equals(high.events)
    assert low.catalogue.drop("margin").equals(high.catalogue.drop("margin"))
    assert low.catalogue["margin"].mean() < high.catalogue["margin"].mean()
    assert low.read("truth").equals(high.read("truth"))


def test_the_taxonomy_beside_the_tables_fits_the_shop(town: Shop) -> None:
    """Every entry matches something, exceptions stay harmless, and the families are those of the members."""
    taxonomy = Taxonomy.load(town.out / "taxonomy.toml")
    bits = taxonomy.family_bits(town.catalogue)
    assert taxonomy.families == tuple(wares.FAMILIES)
    assert not taxonomy.idle(town.catalogue)
    assert (bits > 0).sum() == town.counts["catalogue"]["sensitive"]
    harmless = town.catalogue.filter(pl.Series(bits == 0))
    assert {"Plasters", "Alcohol-free beer", "Granola"} <= set(harmless["type"])
    assert "Slimming shake" not in set(harmless["type"])


@cache
def _members(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "attackers" / "members.parquet")


def lifts(shop: Shop) -> Iterator[tuple[str, float, float]]:
    """Give each family, how much more often its members buy its proxies, and what the truth says."""
    pairs = shop.bought.unique(["user_id", "item_id"]).select("user_id", "item_id")
    for (family,), proxies in shop.read("truth").group_by("family"):
        members = _members(shop.out).filter(family=family).select("user_id", member=True)
        seen = pairs.join(proxies, on="item_id", how="left").join(members, on="user_id", how="left")
        rate = seen.group_by(pl.col("member").fill_null(value=False)).agg(pl.col("strength").is_not_null().mean())
        share = dict(rate.iter_rows())
        yield str(family), share[True] / share[False], proxies["strength"].mean()


def test_members_buy_the_planted_proxies_as_much_more_as_the_truth_says(tmp_path: Path) -> None:
    """And none of the proxies is sensitive itself, or told of in the tables."""
    shop = make(tmp_path, users=3000, items=1000, events=240_000, weakest=4, strongest=4, activity=0.5)
    truth, taxonomy = shop.read("truth"), Taxonomy.load(shop.out / "taxonomy.toml")
    planted = shop.catalogue.join(truth, on="item_id", how="semi")
    assert planted.height == truth.height == len(wares.FAMILIES) * round(Knobs().proxies * 1000)
    assert not taxonomy.family_bits(planted).any()
    assert truth["strength"].is_between(1, 4.001).all()
    found = list(lifts(shop))
    assert len(found) == len(wares.FAMILIES)
    for family, lift, strength in found:
        assert lift == pytest.approx(strength, rel=0.4), family
    assert float(np.median([lift / strength for _, lift, strength in found])) == pytest.approx(1, abs=0.15)


def test_members_have_their_share_and_buy_in_their_family(town: Shop) -> None:
    """They lie apart, and who buys in a family is mostly, not always, one of its members."""
    members = _members(town.out)
    bits = Taxonomy.load(town.out / "taxonomy.toml").family_bits(town.catalogue)
    assert members.height == members.unique().height == town.counts["members"]["kept"]
    for place, (family, share) in enumerate(wares.FAMILIES.items()):
        of = set(members.filter(family=family)["user_id"])
        items = town.catalogue.filter(pl.Series((bits >> place) & 1 == 1))["item_id"].implode()
        buyers = set(town.bought.filter(pl.col("item_id").is_in(items))["user_id"])
        assert len(of) / 3000 == pytest.approx(share, abs=0.03)
        assert len(of & buyers) / len(of) > 4 * len(buyers - of) / (3000 - len(of))
    tables = [*town.events.columns, *town.catalogue.columns, *town.customers.columns]
    assert not {"family", "member", "strength"} & set(tables)
