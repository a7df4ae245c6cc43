"""What does each policy leave of the recommender alone? The slates it serves, judged as a model's lists are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary.history import Exposures, History
from experiments import metrics
from experiments.cohorts import activity_groups, tier_groups
from experiments.judge import FREE
from experiments.measure import measure
from experiments.visits import Stage, shown, some_users
from recsys.evidence import purchases
from recsys.propose import Request
from recsys.quality import discoveries, raw_lists, without_boundary
from recsys.shop import default_choice, fit_shop

if TYPE_CHECKING:
    from boundary.policy import Policy
    from boundary.taxonomy import Taxonomy
    from experiments.split import Cut
    from recsys.bundle import Bundle
    from recsys.shop import Shop

RAW, PROFILE = "raw", ".profile"
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Served:
    """What policies leave: flat figures, ``served.LIST.figure``, and the lists and groups that they tell of.

    A list is ``raw``, the recommender alone; a policy's name, its whole slate; or that with ``.profile``, its slate with
    every slot from the profile. ``kept`` is a list's NDCG over that of ``raw``, paired by shopper.
    """

    figures: dict[str, float]
    lists: tuple[str, ...]
    groups: tuple[str, ...]


def judge_policies(
    shop: Shop,
    cut: Cut,
    *,
    policies: Mapping[str, Policy],
    taxonomy: Taxonomy,
    k: int,
    seed: int,
    tell: Tell,
) -> Served:
    """Fit the shop's default recommender before a cut without the boundary and under each policy, and judge the slates.

    The truth is what a shopper bought after the cut and not before, of items that anybody had bought. Shoppers without
    a purchase before the cut are left out: of them the recommender alone knows nothing.

    Args:
        shop: tables.
        cut: events that are learned from, and those that are truth.
        policies: by name.
        taxonomy: the shop's sensitive families.
        k: slots.
        seed: of fits, draws and bootstrap.
        tell: is told what is done, and the share of it.
    """
    now, choice = round(cut.at.timestamp() * 1e6) - 1, default_choice(seed)
    figures: dict[str, float] = {}
    found: dict[str, metrics.Lists] = {}
    home: Bundle | None = None
    for place, (name, rules) in enumerate({RAW: without_boundary(next(iter(policies.values()))), **policies}.items()):
        step = _part(tell, name, place, len(policies) + 1)
        started = time.perf_counter()
        bundle = fit_shop(shop, taxonomy=taxonomy, policy=rules, choice=choice, now=now, tell=step)
        figures[f"served.{name}.fit_seconds"] = time.perf_counter() - started
        if home is None:
            home = bundle
            users = some_users(bundle, None, seed)
            bought = purchases(bundle.history.take(users), items=bundle.catalogue.items)
            users, bought = users[np.diff(bought.indptr) > 0], bought[np.diff(bought.indptr) > 0]
            ids = [bundle.user_ids[row] for row in users.tolist()]
            best = raw_lists(bundle, ids, k=k, now=now)
            found[name] = metrics.Lists(best.offsets, best.item_row)
            continue
        rows = np.array([bundle.user_row[user] for user in ids], np.int64)
        for label, variant in ((name, rules), (name + PROFILE, rules.replace(FREE))):
            found[label] = _slates(bundle, variant, rows, k=k, now=now)
    assert home is not None  # noqa: S101 (raw comes first)
    truth = discoveries(
        home.history.take(users), History.from_frame(cut.test, ids, home.catalogue.row_of), items=home.catalogue.items
    )
    groups = activity_groups(bought) | tier_groups(
        shop, ids, at=now + 1, taxonomy=taxonomy, policy=next(iter(policies.values()))
    )
    buyers = np.bincount(bought.indices, minlength=home.catalogue.items)
    judged = {
        label: measure(
            lists, truth, buyers=buyers, k=k, seed=seed, category=home.catalogue.category, groups=groups
        )
        for label, lists in found.items()
    }  # fmt: skip
    for label, one in judged.items():
        figures |= {f"served.{label}.{name}": value for name, value in one.figures.items()}
        figures[f"served.{label}.filled"] = len(found[label].item_row) / (k * len(ids))
        kept = metrics.ratio_interval(one.ndcg, judged[RAW].ndcg, seed=seed)
        name = f"served.{label}.kept"
        figures |= {name: kept.mean, f"{name}.low": kept.low, f"{name}.high": kept.high}
    return Served(figures, tuple(found), tuple(groups))


def _slates(bundle: Bundle, policy: Policy, users: npt.NDArray[np.int64], *, k: int, now: int) -> metrics.Lists:
    """Return the slates that a policy serves to users who were shown nothing yet."""
    stage, nothing = Stage(bundle, policy), Exposures.empty(len(users))
    proposal = stage.propose(users, Request(surface="home", intent="browse", n=k, now=now), exposures=nothing)
    return metrics.Lists(*shown(stage.screen(proposal, exposures=nothing)))


def _part(tell: Tell, name: str, place: int, parts: int) -> Tell:
    return lambda what, share: tell(f"{name}: {what}", (place + share) / parts)
