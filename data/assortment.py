"""What the invented shop sells: products in cells of taste, weekly prices, and what gives a family away."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.taxonomy import Taxonomy
from data import wares
from data.knobs import Knobs, check

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_ITEMS, _PROXIES, _CATALOGUE, _MARGINS = range(4)
"""What is drawn from a seed of its own, so that a setting of one leaves the others as they are."""
_CUTS = np.array([0.1, 0.15, 0.2, 0.25, 0.3, 0.4])
_MIDDLING = (0.002, 0.3)
"""Of the items by popularity, proxies are chosen from here to there, the more popular the likelier."""
_MOST_EXTRA = 0.15
"""If the proxies of a family would fill more of what a member wants, all of them are made weaker."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Shelves:
    """The types of the shop, (T,) each, in the order of `data.wares.SHELVES`."""

    table: pl.DataFrame
    """department, category, type, days (null: durable), price."""
    taxonomy: Taxonomy
    bits: npt.NDArray[np.uint32]

    @classmethod
    def read(cls, taxonomy: Taxonomy) -> "Shelves":
        rows = []
        for line in wares.SHELVES.strip().splitlines():
            department, category, days, price, types = (word.strip() for word in line.split("|"))
            cycle = None if days == "-" else float(days)
            rows += [(department, category, kind.strip(), cycle, float(price)) for kind in types.split(";")]
        table = pl.DataFrame(rows, schema=["department", "category", "type", "days", "price"], orient="row")
        return cls(table, taxonomy, taxonomy.family_bits(table))


@dataclass(frozen=True)
class Assortment:
    """All products, (I,) each: cell by cell, in a cell the most popular first. A cell is a type in a strand.

    Attributes:
        number: int32, what stands in the `item_id`; says nothing about popularity.
        cell: int32, place of the item's cell; of the cells, (C,): `starts`, (C + 1,), and `cell_type`.
        family: int8, the sensitive family, -1 is none.
        reach: float64 (I + 1,), popularity summed up.
        tastes: float64 (K * C,), row k is k + the summed shares of the cells in taste k.
        prior: float64 (K,), share of each taste.
        cents: float64, base price.
        cycle: float64, days until used up, infinite for what lasts.
        launch: int32, day on which it came; not positive: before the first told day.
        proxy: int32 (P,), rows of the planted proxies, with their `proxy_family` and `strength`.
        pools: for each family, what members want beside their tastes: rows, summed weights, and its share.
    """

    knobs: Knobs
    seed: int
    shelves: Shelves
    number: Ints
    cell: Ints
    starts: npt.NDArray[np.int64]
    cell_type: Ints
    cell_strand: Ints
    family: npt.NDArray[np.int8]
    reach: Floats
    tastes: Floats
    prior: Floats
    cents: Floats
    cycle: Floats
    launch: Ints
    proxy: Ints
    proxy_family: Ints
    strength: Floats
    pools: tuple[tuple[Ints, Floats, float], ...]

    @property
    def items(self) -> int:
        return len(self.number)

    @property
    def types(self) -> Ints:
        """Type of each item, (I,)."""
        return self.cell_type[self.cell]

    @classmethod
    def stock(cls, shelves: Shelves, *, items: int, knobs: Knobs, seed: int) -> "Assortment":
        """Invent the products of a shop.

        Raises:
            TableError: fewer items than types, of which each has one.
        """
        types = shelves.table.height
        check("items", items, types)
        rng = np.random.default_rng([seed, _ITEMS])
        strands = len(wares.STRANDS)
        size = (rng.lognormal(0, 0.7, types)[:, None] * rng.lognormal(0, 0.4, (types, strands))).ravel()
        count = rng.multinomial(items - types, size / size.sum())
        count[np.arange(types) * strands + rng.integers(0, strands, types)] += 1
        filled = np.flatnonzero(count)
        cell = np.repeat(np.arange(len(filled), dtype=np.int32), count[filled])
        starts = np.concatenate([[0], np.cumsum(count[filled])])
        wanted = np.power(rng.permutation(items) + 1.0, -knobs.popularity, dtype=np.float64)
        wanted = wanted[np.lexsort((-wanted, cell))]
        cell_type, strand = (filled // strands).astype(np.int32), (filled % strands).astype(np.int32)
        of_type = cell_type[cell]
        family = _lowest_bit(shelves.bits)[of_type]
        prices = shelves.table["price"].to_numpy()[of_type] * np.array(wares.STRAND_PRICES)[strand[cell]]
        days = shelves.table["days"].cast(pl.Float64).fill_null(np.inf).to_numpy()[of_type]
        fresh = (rng.random(items) < knobs.new_items) & (np.arange(items) != starts[cell])
        told = rng.integers(1, max(2, knobs.days - 2), items)
        before = -np.ceil(rng.exponential(500, items))
        reach = np.concatenate([[0], np.cumsum(wanted)])
        shares = _taste_shares(rng, shelves, cell_type, strand, np.diff(reach[starts]), knobs)
        prior = np.power(1.0 + np.arange(knobs.tastes), -0.5, dtype=np.float64)
        prior /= prior.sum()
        launch = np.where(fresh, told, before).astype(np.int32)
        chance = (prior @ shares)[cell] * wanted / np.diff(reach[starts])[cell]
        proxy, proxy_family, strength, pools = _plant(seed, family, launch, wanted, chance, knobs)
        return cls(
            knobs=knobs, seed=seed, shelves=shelves, number=rng.permutation(items).astype(np.int32),
            cell=cell, starts=starts, cell_type=cell_type, cell_strand=strand, family=family, reach=reach,
            tastes=_stairs(shares), prior=prior, cents=np.rint(100 * prices * rng.lognormal(0, 0.35, items)),
            cycle=days * rng.lognormal(0, 0.2, items), launch=launch, proxy=proxy, proxy_family=proxy_family,
            strength=strength, pools=pools,
        )  # fmt: skip

    def promoted(self, rows: Ints, week: npt.ArrayLike) -> Flags:
        """Say whether items are promoted in a numbered week, element by element."""
        return np.asarray(_noise(self.seed, 1, rows, week) < self.knobs.promotions)

    def price(self, rows: Ints, week: npt.ArrayLike) -> Floats:
        """Give what items cost in a week, element by element: new every four weeks, less if promoted."""
        level = 0.94 + 0.12 * _noise(self.seed, 0, rows, np.asarray(week) // 4)
        cut = _CUTS[(len(_CUTS) * _noise(self.seed, 2, rows, week)).astype(np.int64)]
        paid = self.cents[rows] * level * (1 - np.where(self.promoted(rows, week), cut, 0))
        return np.asarray(np.maximum(np.rint(paid), 5) / 100)

    def flyers(self) -> tuple[Ints, npt.NDArray[np.int64]]:
        """Give the promoted items week by week, and where each week begins among them, (weeks + 1,)."""
        rows = np.arange(self.items, dtype=np.int32)
        weeks = [rows[self.promoted(rows, week) & (self.launch < 7 * week)] for week in range(self.knobs.weeks)]
        return np.concatenate(weeks), np.concatenate([[0], np.cumsum([len(week) for week in weeks])])


def generator(seed: int, *, of: str) -> np.random.Generator:
    """Give the random numbers of the catalogue or of the margins."""
    return np.random.default_rng([seed, {"catalogue": _CATALOGUE, "margins": _MARGINS}[of]])


def _lowest_bit(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.int8]:
    place = np.full(len(bits), -1, np.int8)
    for family in reversed(range(32)):
        place[(bits >> np.uint32(family)) & 1 == 1] = family
    return place


def _taste_shares(
    rng: np.random.Generator, shelves: Shelves, cell_type: Ints, strand: Ints, weight: Floats, knobs: Knobs
) -> Floats:
    """Give the share of each cell in each taste, (K, C): its popularity times how the taste likes it.

    No taste likes what is sensitive more or less than another.
    """
    table = shelves.table
    department = table["department"].rank("dense").to_numpy().astype(np.int64) - 1
    likes = rng.normal(0, 2, (knobs.tastes, table["department"].n_unique()))[:, department[cell_type]]
    likes += rng.normal(0, 2, (knobs.tastes, table.height))[:, cell_type]
    likes += rng.normal(0, 1.4, (knobs.tastes, len(wares.STRANDS)))[:, strand]
    sensitive = shelves.bits[cell_type] > 0
    shares = weight * np.exp(knobs.taste * likes)
    shares *= weight[~sensitive].sum() / shares[:, ~sensitive].sum(axis=1, keepdims=True)
    shares[:, sensitive] = knobs.stray * weight[sensitive]
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _plant(
    seed: int, family: npt.NDArray[np.int8], launch: Ints, wanted: Floats, chance: Floats, knobs: Knobs
) -> tuple[Ints, Ints, Floats, tuple[tuple[Ints, Floats, float], ...]]:
    """Choose proxies among harmless items of middling popularity, and make members want them.

    Of what a member wants, the share q is drawn from the family's pool. If a proxy is to be wanted s times as
    often as by others, who want it with chance p, then its share of q must be (s - 1 + q) p, for all of them
    q - devotion together: so q = (sum (s - 1) p + devotion) / (1 - sum p).
    """
    rng = np.random.default_rng([seed, _PROXIES])
    families, items = len(wares.FAMILIES), len(family)
    each = max(2, round(knobs.proxies * items)) if knobs.proxies else 0
    free = np.flatnonzero((family < 0) & (launch <= 0))
    free = free[np.argsort(-chance[free], kind="stable")]
    first, last = (int(share * items) for share in _MIDDLING)
    free = free[first : max(last, first + each * families)]
    rank = np.log(1 + first + np.arange(len(free)))
    drawn = np.argsort(rank - rng.gumbel(size=len(free)), kind="stable")[: each * families]
    proxy = free[drawn].astype(np.int32)
    of = rng.permutation(np.arange(len(proxy)) % families).astype(np.int32)
    strength = np.exp(rng.uniform(np.log(knobs.weakest), np.log(knobs.strongest), len(proxy)))
    pools = []
    for place in range(families):
        mine, own = of == place, np.flatnonzero(family == place).astype(np.int32)
        p = chance[proxy[mine]]
        most = ((strength[mine] - 1) * p).sum()
        strength[mine] = 1 + (strength[mine] - 1) * min(1.0, _MOST_EXTRA / most if most else 1.0)
        extra = ((strength[mine] - 1) * p).sum()
        share = (extra + knobs.devotion) / (1 - p.sum())
        weights = [knobs.devotion * wanted[own] / wanted[own].sum(), (strength[mine] - 1 + share) * p]
        summed = np.cumsum(np.concatenate(weights))
        pools.append((np.concatenate([own, proxy[mine]]), summed / max(summed[-1], 1e-300), float(share)))
    return proxy, of, strength, tuple(pools)


def _stairs(shares: Floats) -> Floats:
    """Give all rows summed up one after the other, so that one search finds a cell in any row."""
    summed = np.cumsum(shares, axis=1)
    return np.asarray((summed / summed[:, -1:] + np.arange(len(shares))[:, None]).ravel())


def _noise(seed: int, stream: int, row: npt.ArrayLike, week: npt.ArrayLike) -> Floats:
    """Give a random number in [0, 1) for an item and a week, the same whenever it is asked for.

    The mixing is SplitMix64's (Steele, Lea and Flood 2014).
    """
    salt = ((seed + 1) * 0x9E3779B97F4A7C15 + (stream + 1) * 0xD1B54A32D192ED03) & _MASK
    mixed = np.asarray(row, np.uint64) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(salt)
    mixed = mixed ^ (np.asarray(week, np.uint64) * np.uint64(0x94D049BB133111EB))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def names(prefix: str, numbers: npt.ArrayLike, most: int) -> pl.Series:
    """Give ids of equal length, so that their order as text is that of the numbers."""
    width = len(str(max(most - 1, 0)))
    text = pl.Series(np.asarray(numbers)).cast(pl.String).str.zfill(width)
    return prefix + text
