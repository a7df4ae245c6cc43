"""How much do a shop's lists tell of its households, and what does each means of the boundary take away?

The attacker of ``attack`` on the raw recommender's lists, on each means alone, on the policy's slates, on the crowd
shelf: what the boundary learned is learned on other households than the attacked, and quality is judged by later weeks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from boundary.history import History
from boundary.rules import FAMILY_OF
from experiments.attack import (
    Attacker,
    Aucs,
    attack,
    leak_remaining,
    parts_of,
    pooled,
    slate_features,
)
from experiments.crossfit import Households, Learned, Lists, proxies_of
from experiments.figures import write_figures
from experiments.judge import FREE, Bundles, fit_both
from experiments.leak_found import Labels, Leak, Terms
from experiments.leak_page import write_page
from experiments.visits import LabError
from recsys.quality import discoveries, ndcg, raw_lists, temporal_cut
from recsys.shop import latest

if TYPE_CHECKING:
    from boundary.policy import Policy
    from boundary.taxonomy import Taxonomy
    from recsys.shop import Choice, Shop

Doubles = npt.NDArray[np.float64]
Progress = Callable[[str, float], None]
Seen = sp.csr_matrix
ITEMS = 1  # column of ``activity`` that makes the deciles: how many different items were bought
FOLDS = 5  # of the attacker
TEST, VALIDATION = (0.8, 1.0), (0.6, 0.8)  # shares of the weeks: learned from up to the first, judged up to the second
SERVED = {"profile": "profile_in_sample", "default": "default_in_sample"}  # as the shop that learned on all serves them
NEVER_SPARED = {"no_consent", "opted_out", "profile_share"}  # the last is off in the profile's list already
BOOSTED = ("raw", "default")  # lists that the second attacker, by far the slower, is set on


def measure_leak(
    shop: Shop,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    choice: Choice,
    out: Path,
    terms: Terms | None = None,
    groups: Callable[[Sequence[str]], tuple[list[str], Doubles]] | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Fit on the first 80 % of the weeks with and without the boundary, attack the lists, judge them by the rest.

    Args:
        shop: tables.
        taxonomy: which categories are sensitive.
        policy: the rules; "default" in the figures' names, whatever its own name.
        choice: of the recommender.
        out: gets figures.json, attack.html (what people read) and families.csv.
        terms: of the attack.
        groups: gives for household ids the groups' names and who belongs, (U, G).
        progress: is told what is being done, and the share of the whole that is done.

    Raises:
        LabError: no sensitive family can be judged.
    """
    terms, tell = terms or Terms(), progress or (lambda _what, _share: None)
    cut, until = weeks_of(shop, terms)
    bundles = fit_both(
        shop, taxonomy=taxonomy, policy=policy, choice=choice, cut=cut, until=until, strength=policy.blind.strength,
        tell=lambda what, share: tell(f"fitting {what}", 0.3 * share),
    )  # fmt: skip
    tell("listing", 0.3)
    home = Households(bundles.bounded, now=cut)
    lists, spared = listed(bundles, home, policy, terms)
    names, table = groups(home.ids) if groups is not None else ([], np.zeros((len(home.ids), 0)))
    labels = Labels([*home.families, *names], np.hstack([home.told.astype(np.float64), table]), len(home.families))
    found = attacked(home, lists, labels, terms, tell=lambda what, share: tell(what, 0.35 + 0.64 * share))
    kept, ndcg_raw, with_discoveries = kept_of(home, lists | spared, bundles, terms.n)
    costs = {rule: kept[rule] - kept[SERVED["profile"]] for rule in spared}
    crossed = {f"{name}_crossfit": kept[name] for name in SERVED}
    kept = {name: kept[SERVED.get(name, name)] for name in lists} | crossed
    leak = _leak(found, labels, terms, kept, costs, ndcg_raw, (len(home.ids), with_discoveries))
    if not leak.told.any():
        raise LabError(
            f"no sensitive family can be judged: none of {leak.families} has {terms.fewest} buyers whose whole "
            "history tells; give more shoppers, a lower `fewest` or a wider taxonomy"
        )
    figures = leak.figures()
    write_figures(out, figures, policy=policy, bundle=bundles.bounded)
    write_page(out, leak, policy=policy, terms=terms)
    tell("done", 1.0)
    return figures


def weeks_of(shop: Shop, terms: Terms) -> tuple[int, int]:
    """Return up to which moment is learned from, and up to which is judged, microseconds UTC."""
    weeks = VALIDATION if terms.validate else TEST
    until = temporal_cut(shop.events, weeks[1]) if terms.validate else latest(shop.events)
    return temporal_cut(shop.events, weeks[0]), until


def listed(
    bundles: Bundles, home: Households, policy: Policy, terms: Terms
) -> tuple[dict[str, Lists], dict[str, Lists]]:
    """Return the lists that are attacked, by name (see ``leak_found.MEANING``), and the profile's without each rule."""
    n, everything = terms.n, home.evidence(None)
    admitted = home.evidence(policy)
    learned = home.crossed(policy, admitted, parts=terms.parts, seed=terms.seed)
    proposed = home.proposed(learned, policy, n=n)
    alone = Households(bundles.raw, now=home.now)
    raw_learned = alone.crossed(policy, everything, parts=terms.parts, seed=terms.seed)
    whole = home.crossed(policy, admitted, parts=1, seed=terms.seed)
    raw = raw_lists(bundles.raw, home.ids, k=n, now=home.now)

    def withheld(part: Learned) -> npt.NDArray[np.bool_]:
        return home.sensitive | proxies_of(part.bundle, policy)

    own, served = policy.replace(FREE), home.proposed(whole, policy, n=n)
    lists = {
        "raw": Lists(raw.offsets.astype(np.int64), raw.item_row),
        "evidence": home.ranked(learned, n=n, evidence=admitted),
        "doors": home.ranked(learned, n=n, evidence=admitted, closed=withheld),
        "blindfold": alone.ranked(raw_learned, n=n, evidence=everything, blinded=True),
        "profile": home.screened(learned, proposed, own),
        "default": home.screened(learned, proposed, policy),
        "default_in_sample": home.screened(whole, served, policy),
        "profile_in_sample": home.screened(whole, served, own),
        "crowd": home.guests(policy, n=n),
    }
    spared = {
        name: home.screened(whole, served, own.replace({f"rules.{rule}.enforce": "off" for rule in rules}))
        for name, rules in _sparing(policy).items()
    }
    return lists, {name: shown for name, shown in spared.items() if not _same(shown, lists[SERVED["profile"]])}


def attacked(
    home: Households, lists: Mapping[str, Lists], labels: Labels, terms: Terms, *, tell: Progress,
    attacker: Attacker = "logistic",
) -> dict[str, Aucs]:  # fmt: skip
    """Set the attackers on every list, on activity and on the whole history.

    Each part of the households is attacked by itself, its attackers trained on lists of one and the same map.
    """
    category = np.where(home.category < 0, home.category.max(initial=-1) + 1, home.category)
    seen: dict[str, Seen] = {
        "activity": sp.csr_matrix(home.busy[:, [ITEMS]]),
        "history": history_features(home.harmless, category),
    }
    seen |= {name: slate_features(shown, items=home.items, category=category) for name, shown in lists.items()}
    dealt = parts_of(len(home.ids), parts=terms.parts, seed=terms.seed)
    enough = _enough(labels.table, terms.fewest)
    jobs: list[tuple[str, str, Attacker, int]] = [(name, name, attacker, terms.seeds) for name in seen]
    slow: list[tuple[str, str, Attacker, int]] = [
        (f"boosting.{name}", name, "boosting", 1) for name in BOOSTED if terms.boosting and name in seen
    ]
    done = 0

    def run(job: tuple[str, str, Attacker, int]) -> tuple[str, Aucs]:
        nonlocal done
        told, name, kind, seeds = job
        parts = [
            attack(
                seen[name][dealt == part], labels.table[dealt == part][:, enough], home.busy[dealt == part][:, ITEMS],
                seeds=range(seeds), attacker=kind,
            )
            for part in range(terms.parts)
        ]  # fmt: skip
        done += 1
        tell(f"attacked {told}, {done} of {len(jobs + slow)}", done / len(jobs + slow))
        return told, _spread(pooled(parts), enough, labels.table)

    if min(np.bincount(dealt, minlength=terms.parts)) < FOLDS:
        raise LabError(f"{len(home.ids)} households are too few for {terms.parts} parts of {FOLDS} folds")
    tell("attacking", 0.0)
    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        quick = pool.map(run, jobs)  # the second attacker keeps the main thread, which it wants for itself
        return dict([*map(run, slow), *quick])


def _sparing(policy: Policy) -> dict[str, list[str]]:
    """Return which rules are switched off together: each alone, and all of a family; never what consent forbids."""
    rules = {
        name: FAMILY_OF[terms.get("reason", name)]
        for name, terms in policy.to_dict()["rules"].items()
        if terms["enforce"] == "enforce" and terms.get("reason", name) not in NEVER_SPARED
    }
    together = {f"all {family}": [rule for rule in rules if rules[rule] == family] for family in set(rules.values())}
    return {rule: [rule] for rule in rules} | dict(sorted(together.items()))


def _same(one: Lists, other: Lists) -> bool:
    return np.array_equal(one.offsets, other.offsets) and np.array_equal(one.item_row, other.item_row)


def history_features(harmless: sp.csr_matrix, category: npt.NDArray[np.integer[Any]]) -> Seen:
    """Return what an attacker with the whole history sees: each item, and the logarithm of each category's count.

    Example:
        >>> bought = sp.csr_matrix(np.float32([[1, 1, 0]]))
        >>> history_features(bought, np.array([0, 0, 1])).toarray().astype(float).round(1).tolist()
        [[1.0, 1.0, 0.0, 1.1, 0.0]]
    """
    both = slate_features(
        Lists(harmless.indptr.astype(np.int64), harmless.indices), items=harmless.shape[1], category=category
    )
    of_item, of_category = both[:, : harmless.shape[1]], both[:, harmless.shape[1] :]
    of_category.data = np.log1p(of_category.data)
    return sp.csr_matrix(sp.hstack([of_item, of_category], format="csr"))


def _enough(table: Doubles, fewest: int) -> npt.NDArray[np.intp]:
    """Return the columns with enough members and others among those known."""
    members, others = (table > 0).sum(axis=0), (table == 0).sum(axis=0)
    return np.flatnonzero(np.minimum(members, others) >= fewest)


def _spread(found: Aucs, columns: npt.NDArray[np.intp], table: Doubles) -> Aucs:
    """Return the figures of some columns as those of all; NaN for the others."""
    wide = [np.full(table.shape[1], np.nan) for _ in range(3)]
    for place, values in zip(wide, found[:3], strict=True):
        place[columns] = values
    return Aucs(wide[0], wide[1], wide[2], (table > 0).sum(axis=0).astype(np.int64))


def _leak(
    found: Mapping[str, Aucs], labels: Labels, terms: Terms, kept: Mapping[str, float],
    costs: Mapping[str, float], raw_ndcg: float, households: tuple[int, int],
) -> Leak:  # fmt: skip
    activity, history = found["activity"], found["history"]
    with np.errstate(invalid="ignore"):
        remaining = {
            name: leak_remaining(aucs, activity, history, fewest=terms.fewest, room=terms.room)
            for name, aucs in found.items()
            if name not in {"activity", "history"}
        }
    judged = ~np.isnan(remaining["raw"])
    return Leak(
        labels.names, labels.families, judged, activity.positives, found, remaining, kept, costs, raw_ndcg, households
    )


def kept_of(
    home: Households, lists: Mapping[str, Lists], bundles: Bundles, k: int
) -> tuple[dict[str, float], float, int]:
    """Return each list's discovery NDCG over the recommender's, among those it knows; its own, and how many those are."""
    after = History.from_frame(bundles.later, home.ids, home.bundle.catalogue.row_of)
    truth = discoveries(home.history, after, items=home.items)
    known = np.diff(home.bought.indptr) > 0
    values = {name: ndcg(shown.offsets, shown.item_row, truth, k=k)[known] for name, shown in lists.items()}
    judged = int(np.isfinite(values["raw"]).sum())
    mean = {name: float(np.nanmean(value)) if judged else math.nan for name, value in values.items()}
    return {name: value / mean["raw"] if mean["raw"] else math.nan for name, value in mean.items()}, mean["raw"], judged
