"""Who shops in the invented shop, and what they do: a block of shoppers, all at once, from its own seed."""

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from boundary.words import Kind
from data import wares
from data.assortment import Assortment, Flags, Floats, Ints
from data.knobs import SECONDS_A_DAY, Knobs

Longs = npt.NDArray[np.int64]

CONSENTS = ((), ("email",), ("personalise",), ("email", "personalise"), ("personalise", "push"),
            ("email", "personalise", "push"))  # fmt: skip
"""What shoppers agreed to; the first two without `personalise`."""
_CONSENTED = (0.3, 0.35, 0.1, 0.25)
_ASKED = 0.02
"""Share of the members of families who asked to be shown one of them."""
_TASTES = (0.6, 0.25, 0.15)
"""Shares of a shopper's three tastes."""
_SHOPPERS = 9
_BOUGHT, _CARTED, _LOOKED, _REFUSED, _AGAIN = range(5)
"""What a line becomes; looked at again is what would have been bought too early."""
_STEPS = np.array(
    [
        [Kind.VIEW, Kind.CART, Kind.PURCHASE], [Kind.VIEW, Kind.CART, 0], [Kind.VIEW, 0, 0],
        [Kind.DISMISS, 0, 0], [Kind.VIEW, Kind.VIEW, Kind.VIEW],
    ], np.int8)  # fmt: skip
_LENGTH = np.array([3, 2, 1, 1, 3])
_CHECKOUT = 1500
"""Seconds from the beginning of a visit to its checkout; everything else lies before."""
_HOURS = np.array([1, 1, 1, 1, 1, 2, 5, 9, 13, 16, 18, 19, 20, 18, 16, 16, 18, 22, 26, 28, 25, 17, 9, 3], float)
_WEEKDAYS = np.array([0.9, 0.9, 0.95, 1, 1.2, 1.4, 0.65])


@dataclass(frozen=True)
class Calendar:
    """When people come: the told days, and how far local time is from UTC on each."""

    knobs: Knobs
    offset: Longs
    """(zones, days), seconds."""
    busy: Floats
    """(days + 1,), how busy the days are, summed up; the first and last are not: no zone leaves the weeks."""

    @classmethod
    def of(cls, knobs: Knobs) -> "Calendar":
        days = [knobs.end - dt.timedelta(days=left) for left in range(knobs.days, 0, -1)]
        noons = [dt.datetime.combine(day, dt.time(12), dt.UTC) for day in days]
        away = [[noon.astimezone(ZoneInfo(zone)).utcoffset() for noon in noons] for zone in wares.ZONES]
        offset = np.array([[0 if a is None else int(a.total_seconds()) for a in row] for row in away], np.int64)
        season = [1 + 0.25 * np.cos(2 * np.pi * (day.timetuple().tm_yday - 350) / 365) for day in days]
        busy = np.array(season) * _WEEKDAYS[[day.weekday() for day in days]]
        busy[[0, -1]] = 0
        return cls(knobs, offset, np.concatenate([[0], np.cumsum(busy)]))


@dataclass(frozen=True)
class Shoppers:
    """The shoppers of a block, (U,) each.

    Attributes:
        events: int64, how many things they will do.
        joined: int32, day on which they came, and after which they shop; negative: before the first told.
        since: int64, the moment of it, seconds after the first told one.
        zone: int64, place among `data.wares.ZONES`.
        member: bool (U, F), who belongs to which sensitive family.
        tastes: int64 (U, 3), the most loved first.
        consent: int64, place among `CONSENTS`.
        optin: int8, the family whose products the shopper asked to be shown, -1 is none.
        guest, newcomer, opted_out: bool.
    """

    events: Longs
    joined: Ints
    since: Longs
    zone: Longs
    member: Flags
    tastes: Longs
    consent: Longs
    optin: npt.NDArray[np.int8]
    guest: Flags
    newcomer: Flags
    opted_out: Flags

    @property
    def users(self) -> int:
        return len(self.events)

    @classmethod
    def meet(cls, rng: np.random.Generator, users: int, events: int, stock: Assortment) -> "Shoppers":
        """Invent shoppers who do exactly so many things together."""
        knobs = stock.knobs
        last = knobs.days - 3
        came = rng.random(users)
        newcomer = came < knobs.newcomers
        lately = rng.integers(max(0, last - 27), last + 1, users)
        during = rng.integers(0, last + 1, users)
        before = -np.ceil(rng.exponential(600, users))
        joined = np.where(newcomer, lately, np.where(came > 1 - 0.25 * (1 - knobs.newcomers), during, before))
        active = rng.lognormal(0, knobs.activity, users) * np.minimum(1, (knobs.days - joined) / knobs.days)
        summed = np.floor(np.cumsum(active) / active.sum() * events + 0.5).astype(np.int64)
        zones = np.cumsum(list(wares.ZONES.values()))
        shares = knobs.membership * np.array(list(wares.FAMILIES.values()))
        agreed = np.searchsorted(np.cumsum(_CONSENTED)[:-1], rng.random(users), side="right") + 2
        refused = rng.random(users) < knobs.no_consent
        member = rng.random((users, len(shares))) < shares
        asked = member.any(axis=1) & (rng.random(users) < _ASKED)
        return cls(
            events=np.diff(summed, prepend=0),
            joined=joined.astype(np.int32),
            since=joined.astype(np.int64) * SECONDS_A_DAY + rng.integers(0, 10 * 3600, users),
            zone=np.searchsorted(zones[:-1], rng.random(users), side="right"),
            member=member,
            tastes=np.searchsorted(np.cumsum(stock.prior)[:-1], rng.random((users, 3)), side="right"),
            consent=np.where(refused, rng.integers(0, 2, users), agreed),
            optin=np.where(asked, member.argmax(axis=1), -1).astype(np.int8),
            guest=rng.random(users) < knobs.guests,
            newcomer=newcomer,
            opted_out=rng.random(users) < knobs.opted_out,
        )


@dataclass(frozen=True)
class Events:
    """What the shoppers of a block did, (E,) each, by shopper and time.

    Attributes:
        user: int32, place of the shopper in the block.
        item: int32, row of the product.
        kind: int8, see `boundary.words.Kind`.
        at: int64, microseconds since 1970.
        quantity, unit_price: float64, NaN for what was not bought.
    """

    user: Ints
    item: Ints
    kind: npt.NDArray[np.int8]
    at: Longs
    quantity: Floats
    unit_price: Floats


@dataclass(frozen=True)
class Town:
    """Where shoppers shop: the products, the calendar, and which products are promoted when."""

    stock: Assortment
    calendar: Calendar
    flyers: Ints
    flyer_starts: Longs

    @classmethod
    def build(cls, stock: Assortment) -> "Town":
        flyers, starts = stock.flyers()
        harmless = np.concatenate([[0], np.cumsum(stock.family[flyers] < 0)])
        return cls(stock, Calendar.of(stock.knobs), flyers[stock.family[flyers] < 0], harmless[starts])

    def block(self, number: int, users: int, events: int) -> tuple[Shoppers, Events]:
        """Invent the shoppers of a numbered block and what they do, from the seed and the number alone."""
        rng = np.random.default_rng([self.stock.seed, _SHOPPERS, number])
        shoppers = Shoppers.meet(rng, users, events, self.stock)
        return shoppers, self._events(rng, shoppers)

    def _events(self, rng: np.random.Generator, shoppers: Shoppers) -> Events:
        """Plan what each line becomes, then when, then of which product; then write it out in its steps."""
        counts = _chains(rng, shoppers.events, self.stock.knobs)
        lines = counts.sum(axis=1)
        user = np.repeat(np.arange(shoppers.users, dtype=np.int32), lines)
        chain = np.repeat(np.tile(np.arange(4, dtype=np.int8), shoppers.users), counts.ravel())
        day, begin = self._visits(rng, shoppers, lines, user)
        item = self._items(rng, shoppers, lines, user, day)
        _too_early(chain, user, item, day, self.stock)
        pace = 10 + rng.integers(0, 80, len(user))
        within = rng.integers(0, _CHECKOUT - 200, len(user))
        number = np.arange(len(user)) - _begins(lines)[user]  # makes the times of a shopper's lines differ
        price = self.stock.price(item, day // 7)
        quantity = 1.0 + np.where(np.isinf(self.stock.cycle[item]), 0, rng.geometric(0.75, len(user)) - 1)

        length = _LENGTH[chain]
        line = np.repeat(np.arange(len(user)), length)
        step = np.arange(len(line)) - _begins(length)[line]
        kind = _STEPS[chain[line], step]
        bought = kind == Kind.PURCHASE
        at = 1_000_000 * (begin[line] + within[line] + step * pace[line]) + number[line] % 1_000_000
        at[bought] = 1_000_000 * (begin + _CHECKOUT)[line[bought]]
        order = np.lexsort((at, user[line]))
        line, bought = line[order], bought[order]
        return Events(
            user=user[line],
            item=item[line],
            kind=kind[order],
            at=at[order],
            quantity=np.where(bought, quantity[line], np.nan),
            unit_price=np.where(bought, price[line], np.nan),
        )

    def _visits(self, rng: np.random.Generator, shoppers: Shoppers, lines: Longs, user: Ints) -> tuple[Ints, Longs]:
        """Give for each line the local day of its visit, and when the visit begins, in seconds since 1970."""
        calendar, knobs = self.calendar, self.stock.knobs
        visits = np.ceil(lines / knobs.basket).astype(np.int64)
        of = np.repeat(np.arange(shoppers.users), visits)
        earliest = calendar.busy[np.maximum(shoppers.joined + 1, 0)][of]
        moment = earliest + rng.random(len(of)) * (calendar.busy[-1] - earliest)
        day = np.clip(np.searchsorted(calendar.busy, moment, side="right") - 1, 1, knobs.days - 2)
        hours = np.cumsum(_HOURS / _HOURS.sum())
        second = 3600 * np.searchsorted(hours[:-1], rng.random(len(of)), side="right")
        second += rng.integers(0, 3600 - _CHECKOUT // 2, len(of))
        away = calendar.offset[shoppers.zone[of], day]
        begin = knobs.start + day * SECONDS_A_DAY + second - away
        visit = _begins(visits)[user] + (rng.random(len(user)) * visits[user]).astype(np.int64)
        return day.astype(np.int32)[visit], begin[visit]

    def _items(self, rng: np.random.Generator, shoppers: Shoppers, lines: Longs, user: Ints, day: Ints) -> Ints:
        """Give the product of each line: one the shopper likes, or one that is promoted."""
        stock, knobs = self.stock, self.stock.knobs
        known = np.ceil(lines**knobs.variety).astype(np.int64) * (lines > 0)
        liked = self._liked(rng, shoppers, np.repeat(np.arange(shoppers.users), known))
        draw = rng.random(len(user))
        item = liked[_begins(known)[user] + (draw * draw * known[user]).astype(np.int64)]
        pulled = np.flatnonzero(rng.random(len(user)) < knobs.pull)
        week = day[pulled] // 7
        size = np.diff(self.flyer_starts)[week]
        pulled, week, size = pulled[size > 0], week[size > 0], size[size > 0]
        item[pulled] = self.flyers[self.flyer_starts[week] + (rng.random(len(week)) * size).astype(np.int64)]
        top = stock.starts[stock.cell[item]].astype(np.int32)
        return np.asarray(np.where(stock.launch[item] > day, top, item))

    def _liked(self, rng: np.random.Generator, shoppers: Shoppers, user: Longs) -> Ints:
        """Give a product for each entry: from the pool of a family of the shopper's, or from a taste."""
        stock = self.stock
        cells = len(stock.starts) - 1
        place = np.searchsorted(np.cumsum(_TASTES)[:-1], rng.random(len(user)), side="right")
        taste = shoppers.tastes[user, place]
        found = np.searchsorted(stock.tastes, taste + rng.random(len(user)), side="right")
        cell = np.clip(found - taste * cells, 0, cells - 1)
        low, high = stock.reach[stock.starts[cell]], stock.reach[stock.starts[cell + 1]]
        found = np.searchsorted(stock.reach, low + rng.random(len(user)) * (high - low), side="right") - 1
        item = np.clip(found, stock.starts[cell], stock.starts[cell + 1] - 1).astype(np.int32)
        drawn = np.cumsum(shoppers.member * np.array([share for *_, share in stock.pools]), axis=1)
        drawn *= np.minimum(1, 0.8 / np.maximum(drawn[:, -1:], 1e-9))
        draw = rng.random(len(user))
        inside = np.flatnonzero(draw < drawn[user, -1])
        family = (draw[inside, None] >= drawn[user[inside]]).sum(axis=1)
        for of, (rows, summed, _) in enumerate(stock.pools):
            here = inside[family == of]
            item[here] = rows[np.searchsorted(summed[:-1], rng.random(len(here)), side="right")]
        return np.asarray(item)


def _begins(counts: Longs) -> Longs:
    """Give where each run begins if runs of these lengths follow each other."""
    return np.cumsum(counts) - counts


def _chains(rng: np.random.Generator, events: Longs, knobs: Knobs) -> Longs:
    """Part events into chains, (U, 4): bought (3 events each), carted (2), looked (1), refused (1)."""

    def about(number: npt.NDArray[np.floating], most: Longs) -> Longs:
        return np.minimum(np.floor(number + rng.random(len(number))).astype(np.int64), most)

    keen = np.minimum(knobs.bought * rng.lognormal(-0.03, 0.25, len(events)), 1)
    bought = about(events * keen / 3, events // 3)
    left = events - 3 * bought
    carted = about(left * knobs.carted / 2, left // 2)
    left = left - 2 * carted
    refused = about(left * knobs.dismissed, left)
    return np.stack([bought, carted, left - refused, refused], axis=1)


def _too_early(chain: npt.NDArray[np.int8], user: Ints, item: Ints, day: Ints, out_of: Assortment) -> None:
    """Let shoppers only look again at what they own still; `chain` is changed.

    Counted from the first purchase, an item is bought at most once in each of its cycles; what lasts, once.
    """
    lines = np.flatnonzero(chain == _BOUGHT)
    key = user[lines].astype(np.int64) * out_of.items + item[lines]
    order = np.lexsort((day[lines], key))
    lines, key = lines[order], key[order]
    first = np.diff(key, prepend=-1) != 0
    since = day[lines] - day[lines[np.flatnonzero(first)[np.cumsum(first) - 1]]] if len(lines) else lines
    cycle = np.floor(since / out_of.cycle[item[lines]])
    again = ~first & (np.diff(cycle, prepend=-1) == 0)
    chain[lines[again]] = _AGAIN
