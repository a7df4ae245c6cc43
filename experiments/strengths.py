"""How strong should the blindfold be? For each strength what a policy's lists keep of the recommender, and what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from experiments.attack import leak_remaining, mean_leak
from experiments.crossfit import Households, Lists
from experiments.figures import write_figures
from experiments.judge import FREE, fit_both
from experiments.leak import Progress, attacked, kept_of, weeks_of
from experiments.leak_found import Labels, Terms
from experiments.visits import LabError
from recsys.quality import raw_lists

if TYPE_CHECKING:
    from boundary.policy import Policy
    from boundary.taxonomy import Taxonomy
    from recsys.shop import Choice, Shop


def strengths_of(told: str) -> list[float]:
    """Read strengths as they are given on the command line, in rising order.

    Raises:
        LabError: one is no number from 0 to 1.

    Example:
        >>> strengths_of(".65, 0.5")
        [0.5, 0.65]
    """
    found = []
    for word in told.split(","):
        try:
            strength = float(word)
        except ValueError:
            strength = -1.0
        if not 0 <= strength <= 1:
            raise LabError(f"`strengths` must be numbers from 0 to 1, divided by commas, but got {word.strip()!r}")
        found.append(strength)
    return sorted(set(found))


def measure_strengths(
    shop: Shop,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    choice: Choice,
    out: Path,
    strengths: Sequence[float],
    deals: int = 2,
    terms: Terms | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Judge a policy at each strength of its blindfold; fitted once, since the factors do not know of it.

    What is kept is of the lists as they are served; the leak of lists whose proxies and blindfold were learned on other
    households, guessed by the quick attacker of the same kind (ridge), the mean over the judged families.

    Args:
        shop: tables.
        taxonomy: which categories are sensitive.
        policy: all but its strength stays as it is.
        choice: of the recommender.
        out: gets figures.json, strengths.md (what people read) and strengths.csv.
        strengths: to try.
        deals: times that the households are dealt into parts; the leak is the mean.
        terms: of the attack; ``boosting`` is not looked at.
        progress: is told what is being done, and the share of the whole that is done.

    Raises:
        LabError: no sensitive family can be judged, or nothing is to be tried.
    """
    terms, tell = terms or Terms(validate=True), progress or (lambda _what, _share: None)
    if not strengths or deals < 1:
        raise LabError(f"`strengths` and `deals` must be at least one each but got {len(strengths)} and {deals}")
    cut, until = weeks_of(shop, terms)
    bundles = fit_both(
        shop, taxonomy=taxonomy, policy=policy, choice=choice, cut=cut, until=until, strength=max(strengths),
        tell=lambda what, share: tell(f"fitting {what}", 0.3 * share),
    )  # fmt: skip
    home = Households(bundles.bounded, now=cut)
    admitted, raw = home.evidence(policy), raw_lists(bundles.raw, home.ids, k=terms.n, now=cut)
    steps, done = len(strengths) * (deals + 1) + deals, 0

    def step(what: str) -> None:
        nonlocal done
        tell(what, 0.3 + 0.7 * done / steps)
        done += 1

    def shown(strength: float, parts: int, seed: int) -> tuple[Lists, Lists]:
        changed = policy.replace({"blind.strength": strength})
        learned = home.crossed(changed, admitted, parts=parts, seed=seed)
        proposals = home.proposed(learned, changed, n=terms.n)
        own, whole = (home.screened(learned, proposals, rules) for rules in (changed.replace(FREE), changed))
        return own, whole

    served = {"raw": Lists(raw.offsets.astype(np.int64), raw.item_row)}
    for strength in strengths:
        step(f"listing at {strength:g}")
        served[f"profile {strength:g}"], served[f"default {strength:g}"] = shown(strength, 1, terms.seed)
    kept = kept_of(home, served, bundles, terms.n)[0]
    labels = Labels(home.families, home.told.astype(np.float64), len(home.families))
    leaks: dict[str, list[float]] = {}
    for deal in range(deals):
        dealt, lists = replace(terms, seed=terms.seed + deal), {"raw": served["raw"]}
        for strength in strengths:
            step(f"listing at {strength:g}, deal {deal + 1} of {deals}")
            lists[f"profile {strength:g}"], lists[f"default {strength:g}"] = shown(strength, terms.parts, dealt.seed)
        step(f"attacking, deal {deal + 1} of {deals}")
        found = attacked(home, lists, labels, replace(dealt, boosting=False), tell=lambda *_: None, attacker="ridge")
        for name in lists:
            remaining = leak_remaining(
                found[name], found["activity"], found["history"], fewest=terms.fewest, room=terms.room
            )
            leaks.setdefault(name, []).append(mean_leak(remaining))
    if np.isnan(leaks["raw"]).any():
        raise LabError("no sensitive family can be judged; give more shoppers, a lower `fewest` or a wider taxonomy")
    figures = {f"ndcg_kept.{name.replace(' ', '.')}": value for name, value in kept.items()}
    figures |= {f"leak_remaining.{name.replace(' ', '.')}": float(np.mean(told)) for name, told in leaks.items()}
    write_figures(out, figures, policy=policy, bundle=bundles.bounded)
    _write_table(out, policy, strengths, figures)
    tell("done", 1.0)
    return figures


def _write_table(out: Path, policy: Policy, strengths: Sequence[float], figures: dict[str, float]) -> None:
    rows = [
        {
            "strength": strength,
            **{
                f"{kind}_{name}": figures[f"{word}.{name}.{strength:g}"]
                for kind, word in (("kept", "ndcg_kept"), ("leak", "leak_remaining"))
                for name in ("profile", "default")
            },
        }
        for strength in strengths
    ]
    pl.DataFrame(rows).write_csv(out / "strengths.csv")
    lines = ["| strength | profile's list | whole slate | leak of the slate |", "|---|---|---|---|"]
    for row in rows:
        word = f"**{row['strength']:g}**" if row["strength"] == policy.blind.strength else f"{row['strength']:g}"
        lines.append(f"| {word} | {row['kept_profile']:.1%} | {row['kept_default']:.1%} | {row['leak_default']:.3f} |")
    (out / "strengths.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
