"""The catalogue as columns that rules read, compiled once: one array an attribute, one place an item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary.claims import Claim, claimed_number, classify

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from boundary.taxonomy import Taxonomy

NO_TIME = -(2**63)  # before every moment
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
THING = np.dtype(
    [
        ("badge_until", np.int64), ("price", np.float32), ("replenish_days", np.float32), ("category", np.int32),
        ("brand", np.int32), ("promoted", np.bool_), ("gesture", np.bool_), ("speakable", np.bool_),
        ("hurries", np.bool_),
    ],
    align=True,
)  # fmt: skip


_READ = (
    "item_id", "category", "brand", "price", "was_price", "low_30d", "replenish_days", "promoted", "kind", "conditions",
    "tracker", "badge", "badge_stock", "badge_count", "badge_until", "created_at",
)  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """Facts of the shop's items, (I,) each. A margin is never among them, so none can move a rank.

    Attributes:
        item_ids: ids in catalogue order; the place is the ``item_row``.
        row_of: id to row.
        families: names of the sensitive families, in order of their bit.
        family_bits: uint32, the sensitive families of the item.
        unclassified: the shop never said what the item is.
        category, brand: int32 codes; -1 is none.
        category_names, brand_names: word of each code.
        price, was_price, low_30d, replenish_days: float32, NaN where there is none; days without a number mean durable.
        promoted: True also where the shop does not say.
        gesture: not for sale.
        conditions, tracker: True also where a gesture does not say.
        claim: uint8, see ``boundary.claims.Claim``; with the evidence behind it:
        badge_few, badge_many: float32, the number that the badge says are left, and that it says want it; NaN is none.
        badge_stock, badge_count: float32; badge_until: int64 microseconds UTC, NO_TIME is none.
        created_at: int64 microseconds UTC, NO_TIME is unknown.
        support: float32, distinct buyers; NaN is not counted yet.
        proxy_lift, proxy_z: (F, I) float32, how strongly a purchase speaks of each family; NaN is not learned.
    """

    item_ids: tuple[str, ...]
    row_of: dict[str, int]
    families: tuple[str, ...]
    family_bits: npt.NDArray[np.uint32]
    unclassified: Flags
    category: npt.NDArray[np.int32]
    brand: npt.NDArray[np.int32]
    category_names: tuple[str, ...]
    brand_names: tuple[str, ...]
    price: Floats
    was_price: Floats
    low_30d: Floats
    replenish_days: Floats
    promoted: Flags
    gesture: Flags
    conditions: Flags
    tracker: Flags
    claim: npt.NDArray[np.uint8]
    badge_few: Floats
    badge_many: Floats
    badge_stock: Floats
    badge_count: Floats
    badge_until: npt.NDArray[np.int64]
    created_at: npt.NDArray[np.int64]
    support: Floats
    proxy_lift: Floats
    proxy_z: Floats

    @property
    def items(self) -> int:
        return len(self.item_ids)

    @cached_property
    def speakable(self) -> Flags:
        """Items that may be named to a shopper as evidence: classified, and in no sensitive family."""
        return (self.family_bits == 0) & ~self.unclassified

    @cached_property
    def things(self) -> npt.NDArray[np.void]:
        """(I,) what the kernels read of an item, side by side in memory; see ``THING``."""
        things = np.zeros(self.items, THING)
        for name in THING.names or ():
            things[name] = (self.claim & Claim.URGENCY) != 0 if name == "hurries" else getattr(self, name)
        return things

    @classmethod
    def compile(
        cls,
        frame: pl.DataFrame,
        taxonomy: Taxonomy,
        *,
        support: npt.ArrayLike | None = None,
        proxy_lift: npt.ArrayLike | None = None,
        proxy_z: npt.ArrayLike | None = None,
    ) -> Catalogue:
        """Compile a validated catalogue table.

        Args:
            frame: rows of ``boundary.tables`` table "catalogue", (I,).
            taxonomy: which of the shop's categories are sensitive.
            support: (I,) distinct buyers.
            proxy_lift: (F, I) from ``boundary.associations``.
            proxy_z: (F, I) likewise.

        Raises:
            TableError: a column is missing, or an array does not fit the items and families.
        """
        from boundary.tables import TableError

        if missing := [name for name in _READ if name not in frame.columns]:
            raise TableError(
                f"catalogue: column {missing[0]!r} is missing: read the table with boundary.read_table first"
            )
        size, names = len(frame), taxonomy.families

        def floats(column: str) -> Floats:
            with np.errstate(over="ignore"):  # what is too large is infinite
                return np.array(frame[column].cast(float).fill_null(float("nan")).to_numpy(), dtype=np.float32)

        def given(name: str, values: npt.ArrayLike | None, shape: tuple[int, ...]) -> Floats:
            found = np.full(shape, np.nan, np.float32) if values is None else np.asarray(values, np.float32)
            if found.shape != shape and found.size + int(np.prod(shape)) > 0:
                raise TableError(f"catalogue: {name} must be of shape {shape} but is of {found.shape}")
            return found.reshape(shape)

        def codes(column: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
            words = tuple(sorted(frame[column].drop_nulls().unique().to_list()))
            place = {word: code for code, word in enumerate(words)}
            found = (place.get(word, -1) for word in frame[column].to_list())
            return np.fromiter(found, np.int32, size), words

        def micros(column: str) -> npt.NDArray[np.int64]:
            return np.array(frame[column].dt.timestamp("us").fill_null(NO_TIME).to_numpy(), dtype=np.int64)

        category, category_names = codes("category")
        brand, brand_names = codes("brand")
        ids = tuple(frame["item_id"].to_list())
        badges, badge_words = codes("badge")

        def told(say: Callable[[str | None], float]) -> Floats:
            return np.array([*map(say, badge_words), say(None)], np.float32)[badges]

        gesture = (frame["kind"] == "gesture").to_numpy()
        said = frame["conditions"].fill_null("").str.strip_chars().str.len_chars().to_numpy()
        return cls(
            item_ids=ids,
            row_of={item: row for row, item in enumerate(ids)},
            families=tuple(names),
            family_bits=taxonomy.family_bits(frame),
            unclassified=taxonomy.unclassified(frame) & ~gesture,
            category=category,
            brand=brand,
            category_names=category_names,
            brand_names=brand_names,
            price=floats("price"),
            was_price=floats("was_price"),
            low_30d=floats("low_30d"),
            replenish_days=floats("replenish_days"),
            promoted=frame["promoted"].fill_null(value=True).to_numpy() & ~gesture,
            gesture=gesture,
            conditions=said > 0,
            tracker=frame["tracker"].fill_null(value=True).to_numpy(),
            claim=told(lambda badge: int(classify(badge))).astype(np.uint8),
            badge_few=told(lambda badge: claimed_number(badge, Claim.SCARCITY)),
            badge_many=told(lambda badge: claimed_number(badge, Claim.SOCIAL_PROOF)),
            badge_stock=floats("badge_stock"),
            badge_count=floats("badge_count"),
            badge_until=micros("badge_until"),
            created_at=micros("created_at"),
            support=given("support", support, (size,)),
            proxy_lift=given("proxy_lift", proxy_lift, (len(names), size)),
            proxy_z=given("proxy_z", proxy_z, (len(names), size)),
        )
