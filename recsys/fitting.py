"""From validated tables to a bundle: what is admitted, what is learned from it, and what for the boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from boundary.associations import Blindfold, labels, learn_blindfold, learn_proxies
from boundary.catalogue import Catalogue
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.shoppers import Customers
from recsys.bundle import Bundle
from recsys.evidence import evidence_of, purchases
from recsys.forgetting import Forgotten
from recsys.interactions import Weighing

if TYPE_CHECKING:
    from boundary.policy import Policy
    from boundary.shoppers import Shoppers
    from boundary.taxonomy import Taxonomy
    from recsys.models import Recommender

    Train = Callable[[csr_matrix, Callable[[int, int], None]], Recommender]

Step = Callable[[str, float], None]  # what is being done, and the share of the whole that is done


@dataclass(frozen=True)
class Shelf:
    """How long the crowd shelf is, and how many items explore slots draw from."""

    crowd: int = 200
    explore: int = 5000


def fit_bundle(
    events: pl.DataFrame,
    catalogue: pl.DataFrame,
    customers: pl.DataFrame | None,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    model: Recommender,
    weighing: Weighing,
    now: int,
    seed: int,
    shelf: Shelf | None = None,
    forgotten: Forgotten | None = None,
    step: Step | None = None,
) -> Bundle:
    """Fit a shop.

    Args:
        events: validated rows of ``boundary.tables``.
        catalogue: likewise.
        customers: likewise; without them nobody has agreed to anything, and everybody gets the crowd shelf.
        taxonomy: which categories are sensitive.
        policy: the rules; its ``admit`` part decides what is learned from.
        model: an unfitted recommender.
        weighing: how much an event counts.
        now: microseconds UTC; events after it are refused.
        seed: for the model.
        shelf: lengths of the crowd shelf and the explore pool.
        forgotten: whose events of before are left out; from the bundle that this one takes the place of.
        step: is told what is being done.
    """
    tell = step or (lambda _what, _share: None)
    tell("grouping events by shopper", 0.0)
    forgotten = forgotten or Forgotten()
    events, customers, left_out = forgotten.leave_out(events, customers)
    user_ids = _users(events, customers)
    row_of = {item: row for row, item in enumerate(catalogue["item_id"].to_list())}
    return bundle_of(
        History.from_frame(events, user_ids, row_of), user_ids, catalogue, customers, taxonomy=taxonomy, policy=policy,
        weighing=weighing, now=now, seed=seed, shelf=shelf or Shelf(), forgotten=forgotten.retrained(),
        left_out=left_out, tell=tell,
        train=lambda evidence, progress: model.fit(evidence, seed=seed, progress=progress),
    )  # fmt: skip


def bundle_of(
    history: History,
    user_ids: list[str],
    catalogue: pl.DataFrame,
    customers: pl.DataFrame | None,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    weighing: Weighing,
    now: int,
    seed: int,
    shelf: Shelf,
    forgotten: Forgotten,
    left_out: int,
    train: Train,
    tell: Step,
) -> Bundle:
    """Learn for the boundary from all events, train on what it admits, and put both into a bundle.

    ``history`` holds the events of ``user_ids``, in the order of their rows; ``train`` returns a fitted model for users
    x items of evidence; the bundle gets the marks ``forgotten``; ``left_out`` counts the events that were not used
    since their shopper was forgotten. The rest is as in ``fit_bundle``.
    """
    items = len(catalogue)
    bought = purchases(history, items=items)
    support = np.asarray((bought > 0).sum(axis=0), np.float32).ravel()

    tell("learning which items give sensitive families away", 0.15)
    plain = Catalogue.compile(catalogue, taxonomy, support=support)
    told = labels(bought, plain.family_bits, max(len(plain.families), 1))[:, : len(plain.families)]
    proxies = learn_proxies(bought, told, min_positives=policy.blind.fewest_buyers)
    known = replace(plain, proxy_lift=proxies.lift, proxy_z=proxies.z)

    tell("admitting evidence", 0.25)
    gate = Gate(known, policy)
    people = Customers.compile(customers, user_ids, known.families)
    shoppers = gate.meet(people, history, Exposures.empty(len(user_ids)), now=now)
    admission = gate.admit(history, shoppers, now=now)
    turned_away = admission.counts | ({"forgotten": left_out} if left_out else {})
    admitted = history.only(admission.mask)
    evidence = evidence_of(admitted, weighing, items=items, now=now)

    tell("training", 0.3)
    fitted = train(evidence, lambda done, of: tell("training", 0.3 + 0.5 * done / max(of, 1)))
    tell("learning the blindfold", 0.85)
    blindfold = learn_blind(fitted, evidence, told, history, policy=policy)
    moments = fitted.moments(blindfold)
    tell("done", 1.0)
    return Bundle(
        catalogue_table=catalogue,
        customers_table=customers,
        taxonomy=taxonomy,
        policy=policy,
        user_ids=user_ids,
        history=history,
        weighing=weighing,
        model=fitted,
        moments=moments,
        support=support,
        crowd=_crowd(admitted, items, shelf.crowd),
        explore=_explore(known, policy, shelf.explore),
        proxies=proxies,
        blindfold=blindfold,
        facts=_facts(known, user_ids, history, shoppers, turned_away, fitted, blindfold, now, seed),
        forgotten=forgotten,
    )


def learn_blind(
    model: Recommender,
    evidence: csr_matrix,
    told: npt.NDArray[np.bool_],
    history: History,
    *,
    policy: Policy,
) -> Blindfold | None:
    """Learn the map that erases the sensitive directions of the user vectors; None for a model without vectors."""
    vectors = model.vectors(evidence)
    if vectors is None or policy.blind.strength == 0 or not told.shape[1]:
        return None
    known = np.diff(evidence.indptr) > 0
    if known.sum() < 2:
        return None
    return learn_blindfold(
        vectors[known],
        told[known],
        activity(history)[known],
        strength=policy.blind.strength,
        min_positives=policy.blind.fewest_buyers,
    )


def unblinded(bundle: Bundle) -> str | None:
    """Say why nothing is erased from a bundle's user vectors; None where something is."""
    families, terms = bundle.taxonomy.families, bundle.policy.blind
    if bundle.blindfold is not None and len(bundle.blindfold.left_out) < len(families):
        return None
    if terms.strength == 0:
        return "the policy's blind.strength is 0"
    nobody = csr_matrix(np.zeros((1, len(bundle.catalogue_table)), np.float32))
    if bundle.model.vectors(nobody) is None:
        return "the model has no user vectors"
    if not families:
        return "the taxonomy has no families"
    if bundle.blindfold is None:
        return "fewer than two shoppers have events that may be learned from"
    return (
        f"no sensitive family was bought by {terms.fewest_buyers:,} shoppers and left by as many; "
        "the policy's blind.fewest_buyers says how many are asked for"
    )


def activity(history: History) -> npt.NDArray[np.float64]:
    """Return how busy each user is, (U, 3): logarithms of baskets, of different items and of spend."""
    from boundary.kernel import NEVER
    from boundary.past.kernel import relationship

    users = history.users
    first = np.full(users, NEVER, np.int64)
    bought, baskets, spend = (np.zeros(users, np.float32) for _ in range(3))
    relationship(
        history.offsets,
        history.kind,
        history.at,
        history.unit_price,
        history.quantity,
        first,
        bought,
        baskets,
        spend,
    )
    width = int(history.item_row.max(initial=-1)) + 2  # row -1 is an unknown item
    pairs = np.unique(history.user_row.astype(np.int64) * width + history.item_row + 1)
    different = np.bincount(pairs // width, minlength=users)
    busy: npt.NDArray[np.float64] = np.log1p(np.stack([baskets, different, spend], axis=1)).astype(np.float64)
    return busy


def _users(events: pl.DataFrame, customers: pl.DataFrame | None) -> list[str]:
    known = [events["user_id"]] + ([customers["user_id"]] if customers is not None else [])
    return pl.concat([ids.cast(pl.String) for ids in known]).unique().sort().to_list()


def _crowd(admitted: History, items: int, length: int) -> npt.NDArray[np.int32]:
    """Rank items by how many different shoppers bought them in the admitted events; ties by row."""
    buyers = np.asarray((purchases(admitted, items=items) > 0).sum(axis=0)).ravel()
    best = np.argsort(-buyers, kind="stable")[:length]
    return best[buyers[best] > 0].astype(np.int32)


def _explore(catalogue: Catalogue, policy: Policy, length: int) -> npt.NDArray[np.int32]:
    """Return what explore slots draw from: half the newest, half the least known that anybody bought.

    All of it is what no rule about items alone withholds. Where one half has too few, the other fills up; ties go to
    the newer item, then to the lower row.
    """
    open_to = Gate(catalogue, policy).item_mask("explore")
    pool = np.flatnonzero(open_to & ~catalogue.gesture & ~catalogue.promoted)
    buyers, age = np.nan_to_num(catalogue.support[pool]), -catalogue.created_at[pool]
    newest = pool[np.argsort(age, kind="stable")][: length - length // 2]
    least_known = pool[np.lexsort((age, buyers, buyers == 0))]
    rest = least_known[~np.isin(least_known, newest)][: length - len(newest)]
    return np.sort(np.concatenate([newest, rest])).astype(np.int32)


def _facts(
    catalogue: Catalogue,
    user_ids: list[str],
    history: History,
    shoppers: Shoppers,
    turned_away: dict[str, int],
    model: Recommender,
    blindfold: Blindfold | None,
    now: int,
    seed: int,
) -> dict[str, Any]:
    return {
        "users": len(user_ids),
        "items": catalogue.items,
        "events": len(history.at),
        "events_turned_away": turned_away,
        "tiers": np.bincount(shoppers.tier, minlength=3).tolist(),
        "model": model.name,
        "settings": model.settings,
        "blindfold": None if blindfold is None else {"dimensions": len(blindfold.offset)},
        "fitted_for": now,
        "seed": seed,
    }
