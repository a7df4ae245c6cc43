"""Who a block's shoppers are to the shop: what they agreed to, how well they are known, what they complained of."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary.candidates import encodable, id_texts
from boundary.history import DISMISSED, ENTRY_KINDS
from boundary.past import kernel
from boundary.words import COMPLAINTS, GUEST, MICROSECONDS_A_DAY, Family

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from boundary.history import Exposures, History
    from boundary.terms import FeedbackTerms

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
PERSONALISE = "personalise"
SHARED = {"customers", "ease", "ledger_down"}  # what is not one value a shopper


@dataclass(frozen=True)
class Customers:
    """What shoppers agreed to, (U,) each; a shopper without a row in the table is not ``known``.

    Attributes:
        known: the table has a row.
        agreed: int32 place in ``purposes``.
        purposes: the distinct sets of purposes and channels; a channel never grants the use of the profile.
        opted_out: an opt-out signal stands, or nobody knows whether one does; False for who is not known.
        since: int64 microseconds UTC, 0 is unknown.
        zone: int32 place in ``zones``, -1 is unknown.
        zones: IANA names.
        optin_bits: uint32, sensitive families the shopper asked for.
    """

    known: Flags
    agreed: npt.NDArray[np.int32]
    purposes: tuple[frozenset[str], ...]
    opted_out: Flags
    since: npt.NDArray[np.int64]
    zone: npt.NDArray[np.int32]
    zones: tuple[str, ...]
    optin_bits: npt.NDArray[np.uint32]

    @classmethod
    def strangers(cls, users: int) -> Customers:
        """Return customers of whom nothing is known."""
        return cls(
            np.zeros(users, bool), np.zeros(users, np.int32), (frozenset(),), np.zeros(users, bool),
            np.zeros(users, np.int64), np.full(users, -1, np.int32), (), np.zeros(users, np.uint32),
        )  # fmt: skip

    @classmethod
    def compile(cls, frame: pl.DataFrame | None, user_ids: Sequence[str], families: Sequence[str]) -> Customers:
        """Compile a validated customers table for the given users, in their order; None is no table.

        Of several rows of one shopper the last counts, but an opt-out signal stands whichever row it is in.
        """
        user_ids = id_texts(user_ids)
        customers = cls.strangers(len(user_ids))
        if frame is None or not len(frame):
            return customers
        import polars as pl

        users = pl.DataFrame({"user_id": pl.Series(encodable(user_ids), dtype=pl.String)}).with_row_index("row")
        signal = pl.col("opted_out").fill_null(value=True).any().over("user_id")
        told = frame.with_columns(signal).unique("user_id", keep="last").with_columns(pl.col("user_id").cast(pl.String))
        lines = users.join(told, on="user_id")
        at = lines["row"].to_numpy()
        agreed, purposes = _agreements(lines)
        named = lines["timezone"].drop_nulls().unique(maintain_order=True).to_list()
        customers.known[at] = True
        customers.agreed[at] = agreed
        customers.opted_out[at] = lines["opted_out"].fill_null(value=True).to_numpy()
        customers.since[at] = lines["since"].dt.timestamp("us").fill_null(0).to_numpy()
        customers.zone[at] = lines["timezone"].replace_strict(
            named, range(len(named)), default=-1, return_dtype=pl.Int32
        ).fill_null(-1).to_numpy()  # fmt: skip
        if "sensitive_optin" in lines.columns and lines["sensitive_optin"].dtype == pl.List(pl.String):
            for place, family in enumerate(families):
                asked = lines["sensitive_optin"].list.contains(family).fill_null(value=False).to_numpy()
                customers.optin_bits[at[asked]] |= np.uint32(1 << place)
        return cls(
            customers.known, customers.agreed, purposes, customers.opted_out, customers.since, customers.zone,
            tuple(named), customers.optin_bits,
        )  # fmt: skip

    def take(self, users: npt.NDArray[np.int64]) -> Customers:
        """Return the given positions; -1 is a stranger."""
        seen = users >= 0
        if not len(self.known):
            return Customers.strangers(len(users))
        if np.count_nonzero(seen) == len(seen):
            return Customers(
                self.known[users], self.agreed[users], self.purposes, self.opted_out[users], self.since[users],
                self.zone[users], self.zones, self.optin_bits[users],
            )  # fmt: skip
        at = np.where(seen, users, 0)
        return Customers(
            self.known[at] & seen, np.where(seen, self.agreed[at], 0), self.purposes, self.opted_out[at] & seen,
            np.where(seen, self.since[at], 0), np.where(seen, self.zone[at], -1), self.zones,
            np.where(seen, self.optin_bits[at], 0).astype(np.uint32),
        )  # fmt: skip

    def agreed_to(self, purpose: str) -> Flags:
        """Return who granted a purpose (or channel)."""
        return self.known & _granting(self.purposes, purpose)[self.agreed]


@dataclass(frozen=True)
class Shoppers:
    """Facts of a block of users at one moment, (U,) each.

    Attributes:
        customers: what they agreed to.
        tier: uint8, see ``boundary.words.Tier``.
        known: the shop has a customer row or events of them.
        tenure_days: float32 since they joined or first came.
        purchases, baskets: float32 counts.
        ticket: float32, mean spend of a basket.
        ease: family to float32 from 0 to 1; 1 without complaints, less where they complained.
        ledger_down: nobody knows what they were shown.
    """

    customers: Customers
    tier: npt.NDArray[np.uint8]
    known: Flags
    tenure_days: Floats
    purchases: Floats
    baskets: Floats
    ticket: Floats
    ease: dict[Family, Floats]
    ledger_down: bool = False

    @property
    def users(self) -> int:
        return len(self.tier)

    @classmethod
    def meet(
        cls,
        customers: Customers,
        history: History,
        exposures: Exposures | None,
        *,
        needs: Floats,
        feedback: FeedbackTerms,
        now: int,
    ) -> Shoppers:
        """Compute the tier and standing of each shopper of a block.

        A shopper whose ledger cannot be read (``exposures`` is None) is a guest. What lies ahead has not happened.

        Args:
            customers: (U,) of the block.
            history: (U,) all their events, admitted or not.
            exposures: (U,) their ledger entries, None where the ledger is down.
            needs: (tiers, 3) days, purchases and mean spend that each tier asks for; see ``Policy.needs``.
            feedback: what a complaint does.
            now: microseconds UTC.
        """
        users = history.users
        tier, known = np.empty(users, np.uint8), np.empty(users, bool)
        tenure, purchases, baskets, ticket = np.empty((4, users), np.float32)
        kernel.meet(
            history.offsets, history.kind, history.at, history.unit_price, history.quantity, now, customers.since,
            customers.known, customers.agreed_to(PERSONALISE) & ~customers.opted_out, needs,
            exposures is not None, tier, known, tenure, purchases, baskets, ticket,
        )  # fmt: skip
        return cls(
            customers=customers,
            tier=tier,
            known=known,
            tenure_days=tenure,
            purchases=purchases,
            baskets=baskets,
            ticket=ticket,
            ease=_ease(exposures, users, feedback, now=now),
            ledger_down=exposures is None,
        )

    def closed(self, user: int) -> tuple[str, ...]:
        """Return the reasons for which a guest's profile is left alone; none of a newcomer and a regular."""
        if self.tier[user] != GUEST:
            return ()
        reasons = {
            "unknown": not self.known[user],
            "opted_out": self.customers.opted_out[user],
            "no_consent": self.known[user] and not self.customers.agreed_to(PERSONALISE)[user],
            "ledger_down": self.ledger_down,
        }
        return tuple(reason for reason, holds in reasons.items() if holds) or ("disproportionate",)

    def take(self, users: npt.NDArray[np.int64]) -> Shoppers:
        """Return the given positions of the block."""
        columns = {f.name: getattr(self, f.name)[users] for f in fields(self) if f.name not in SHARED}
        ease = {family: values[users] for family, values in self.ease.items()}
        return replace(self, customers=self.customers.take(users), ease=ease, **columns)

    def local_hours(self, now: int) -> Floats:
        """Return each shopper's local time of day in hours; NaN where the time zone is not known."""
        return self._by_zone(now, lambda local: local.hour + local.minute / 60 + local.second / 3600)

    def hours_until(self, hour: float, now: int) -> Floats:
        """Return the hours until each shopper's clock shows an hour, clock changes counted; NaN where no zone is known."""

        def wait(local: dt.datetime) -> float:
            shown = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + dt.timedelta(hours=hour)
            shown += dt.timedelta(days=shown <= local)
            moments = (shown.replace(fold=fold).timestamp() - local.timestamp() for fold in (0, 1))
            return next(seconds for seconds in moments if seconds > 0) / 3600

        return self._by_zone(now, wait)

    def _by_zone(self, now: int, ask: Callable[[dt.datetime], float]) -> Floats:
        """Ask something of the local time in each zone, and return it for each shopper; NaN where no zone is known."""
        moment = dt.datetime.fromtimestamp(now / 1_000_000, tz=dt.UTC)
        hours = np.full(len(self.customers.zones) + 1, np.nan, np.float32)
        for place, name in enumerate(self.customers.zones):
            try:
                local = moment.astimezone(zoneinfo.ZoneInfo(name))
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                continue
            hours[place] = ask(local)
        return hours[self.customers.zone]


@lru_cache(maxsize=256)
def _granting(sets: tuple[frozenset[str], ...], purpose: str) -> Flags:
    """Return which sets of purposes hold a purpose."""
    return np.array([purpose in purposes for purposes in sets], dtype=bool)


def _agreements(lines: pl.DataFrame) -> tuple[npt.NDArray[np.int32], tuple[frozenset[str], ...]]:
    """Return for each line the place of its set of purposes, and the distinct sets; the first is the empty one."""
    import polars as pl

    words = lines.select(
        pl.col(name).cast(pl.List(pl.String)).fill_null([]).list.drop_nulls().list.sort()
        for name in ("consent", "channels")
    )
    distinct = words.unique(maintain_order=True)
    sets: dict[frozenset[str], int] = {frozenset(): 0}
    places = []
    for consent, channels in distinct.iter_rows():
        agreed = (set(consent) | (set(channels) - {PERSONALISE})) - {""}
        places.append(sets.setdefault(frozenset(agreed), len(sets)))
    told = distinct.with_columns(place=pl.Series(places, dtype=pl.Int32))
    found = words.join(told, on=["consent", "channels"], how="left", maintain_order="left")
    return found["place"].to_numpy(), tuple(sets)


def _ease(exposures: Exposures | None, users: int, terms: FeedbackTerms, *, now: int) -> dict[Family, Floats]:
    """Weigh the complaints: each costs one step, fades over ``relax_days``, and all together cost at most ``most``.

    No more than all of a limit can be taken, however large the steps.
    """
    ease = {family: np.ones(users, np.float32) for family in COMPLAINTS.values()}
    if exposures is None or not np.count_nonzero(exposures.kind > DISMISSED):
        return ease
    owner = np.repeat(np.arange(users), np.diff(exposures.offsets))
    age = np.maximum(now - exposures.at, 0) / MICROSECONDS_A_DAY
    weight = np.clip(1 - age / terms.relax_days, 0, 1)
    for complaint, family in COMPLAINTS.items():
        said = exposures.kind == ENTRY_KINDS.index(complaint)
        if said.any():
            heard = np.bincount(owner[said], weights=weight[said], minlength=users)
            ease[family] = np.maximum(1 - terms.step * np.minimum(heard, terms.most), 0).astype(np.float32)
    return ease
