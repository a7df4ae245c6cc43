"""What is an evaluation's ground? The split's matrices for each half-life asked, and what is known of users and items."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console

from boundary.policy import Policy
from boundary.taxonomy import Taxonomy
from data.complete_journey import TAXONOMY
from experiments.cohorts import Mask, activity_groups, tier_groups
from experiments.split import (
    Cut,
    Split,
    SplitError,
    by_weeks,
    items_of,
    leave_out,
    read_lightgcn,
    split_of,
    users_of,
)  # fmt: skip
from recsys.interactions import Weighing
from recsys.shop import Shop, read_shop

SPLITS = ("temporal", "lightgcn")
PARTS = ("test", "validation")
HIDDEN = 0.2  # of each user's training items, to choose settings on where there is no time
KINDS = {"purchase": 1.0}


@dataclass
class Ground:
    """What entries are fitted to and judged on.

    Attributes:
        users: how many.
        groups: name to (U,) bool.
        category: (I,) codes, None where there are none.
        about: one sentence that states the protocol.
        cut: the events in time; None where there is no time.
        min_buyers: fewest users who took an item that is ranked.
        shop: the tables; None where there are none.
        families: the shop's sensitive families.
    """

    users: int
    groups: dict[str, Mask]
    category: npt.NDArray[np.integer[Any]] | None
    about: str
    cut: Cut | None
    min_buyers: int
    shop: Shop | None = None
    families: Taxonomy = field(default_factory=lambda: Taxonomy(entries=()))
    _made: dict[float | None, Split] = field(default_factory=dict)

    def split(self, half_life_days: float | None) -> Split:
        """Return the matrices whose events weigh by a half-life; made once."""
        if half_life_days not in self._made:
            if self.cut is None:
                raise SplitError("`half_life_days` needs events in time; the lightgcn split has none")
            life = None if half_life_days is None else timedelta(days=half_life_days)
            self._made[half_life_days] = split_of(self.cut, weighing=Weighing(KINDS, life), min_buyers=self.min_buyers)
        return self._made[half_life_days]


def open_ground(
    split: str, data: Path, *, part: str, train_share: float, min_buyers: int, seed: int, rejects: Path,
    taxonomy: Path | None, console: Console,
) -> Ground:  # fmt: skip
    """Read the data and cut it; ``validation`` is cut out of the training part and never sees the test.

    Raises:
        SplitError: an unknown split or part, or data that is not there.
        TableError: a shop's table or column is missing.
    """
    if split not in SPLITS:
        raise SplitError(f"`split` must be one of {', '.join(SPLITS)} but got {split!r}")
    if part not in PARTS:
        raise SplitError(f"`part` must be one of {', '.join(PARTS)} but got {part!r}")
    if split == "lightgcn":
        return _lightgcn(data, part=part, seed=seed)
    shop = read_shop(data, rejects=rejects, console=console)
    return _temporal(shop, part=part, train_share=train_share, min_buyers=min_buyers, taxonomy=taxonomy)


def _lightgcn(data: Path, *, part: str, seed: int) -> Ground:
    whole = read_lightgcn(data)
    about = "every item ranked but the user's training items; truth: the test items; mean over users who have some"
    if part == "validation":
        whole = leave_out(whole, share=HIDDEN, seed=seed)
        about = f"{HIDDEN:.0%} of each user's training items hidden and ranked for; the test items are not read into it"
    return Ground(whole.train.shape[0], activity_groups(whole.taken), None, about, None, 1, _made={None: whole})


def _temporal(shop: Shop, *, part: str, train_share: float, min_buyers: int, taxonomy: Path | None) -> Ground:
    cut = by_weeks(shop.events, train_share=train_share)
    if part == "validation":
        cut = by_weeks(cut.train, train_share=train_share)
    users = users_of(cut, kinds=KINDS, min_buyers=min_buyers)
    families = Taxonomy.load(taxonomy or TAXONOMY)
    ground = Ground(
        users=len(users), groups={}, category=_categories(cut, shop, min_buyers), cut=cut, min_buyers=min_buyers,
        about=f"purchases before {cut.at:%Y-%m-%d} are learned from, those from it on are truth; items that at least "
        f"{min_buyers} shoppers had bought before are ranked; mean over shoppers with something to find",
        shop=shop, families=families,
    )  # fmt: skip
    at = round(cut.at.timestamp() * 1e6)
    ground.groups = activity_groups(ground.split(None).taken) | tier_groups(
        shop, users, at=at, taxonomy=families, policy=Policy.named("default")
    )
    return ground


def _categories(cut: Cut, shop: Shop, min_buyers: int) -> npt.NDArray[np.integer[Any]]:
    items = items_of(cut, kinds=KINDS, min_buyers=min_buyers)
    named = items.to_frame("item_id").join(
        shop.catalogue.select("item_id", pl.col("category").cast(pl.String)), on="item_id", how="left",
        maintain_order="left",
    )  # fmt: skip
    return named["category"].fill_null("").rank("dense").to_numpy().astype(np.int64)
