"""How hard do the slates push? Promoted, dearer than usual, claims without evidence; and does margin move a rank?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.facts import Facts
from boundary.history import Exposures
from boundary.rules import RULES
from boundary.words import Source
from experiments.figures import write_figures
from experiments.visits import Proposal, Stage, some_users
from recsys.propose import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from boundary.catalogue import Catalogue
    from boundary.policy import Policy
    from boundary.verdict import Verdict
    from recsys.bundle import Bundle

    Progress = Callable[[str, float], None]

CLAIMS = ("urgency", "scarcity", "social_proof", "false_discount", "conditional_gift")


def upsell_ratios(catalogue: Catalogue, proposal: Proposal, exposures: Exposures | None) -> npt.NDArray[np.float64]:
    """Return each candidate's price over what its shopper pays in the category, (R,); 0 where they never paid there."""
    rule = RULES["upsell"].model_validate({"enforce": "enforce", "sources": ["personal"], "most": 1.0})
    return np.asarray(rule.value(_facts(catalogue, proposal, exposures)), np.float64)


def pushed(catalogue: Catalogue, verdict: Verdict, ratios: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return promoted_share of the slots for sale, and the median and 90th percentile of price over usual price."""
    rows, kept = verdict.candidates, verdict.kept
    sold = kept & (rows.source != Source.GESTURE)
    usual = ratios[sold]
    usual = usual[np.isfinite(usual) & (usual > 0)]
    p50, p90 = np.quantile(usual, [0.5, 0.9]).tolist() if len(usual) else (float("nan"),) * 2
    return {
        "promoted_share": float(catalogue.promoted[rows.item_row[sold]].mean()) if sold.any() else 0.0,
        "upsell.p50": p50,
        "upsell.p90": p90,
    }


def unproven(policy: Policy, catalogue: Catalogue, proposal: Proposal, verdict: Verdict) -> dict[str, int]:
    """Count the shown slots that make a claim without evidence, for each kind of claim, enforced or not."""
    facts = _facts(catalogue, proposal, None)
    found = {reason: np.zeros(facts.size, bool) for reason in CLAIMS}
    for rule in policy.rules.values():
        if rule.reason in found:
            asked = {"sources": ["personal", "crowd", "explore", "gesture", "session"], "surfaces": None}
            if rule.reason == "conditional_gift":
                asked["sources"] = ["gesture"]
            held = rule.model_copy(update={"enforce": "enforce", **asked})(facts)
            if rule.reason == "conditional_gift":
                held = held & (proposal.candidates.source == Source.GESTURE)
            found[rule.reason] |= held
    return {reason: int((held & verdict.kept).sum()) for reason, held in found.items()}


def margin_moves(bundle: Bundle, policy: Policy, users: npt.NDArray[np.int64], request: Request, *, seed: int) -> int:
    """Count the slots that change when the margins are dealt out anew; they are invented where absent."""
    random = np.random.default_rng(seed)
    told = bundle.catalogue_table
    margin = random.random(len(told)) if told["margin"].is_null().all() else told["margin"].fill_null(0).to_numpy()
    blank = Exposures.empty(len(users))
    answers = []
    for order in (np.arange(len(told)), random.permutation(len(told))):
        table = told.with_columns(pl.Series("margin", margin[order]))
        stage = Stage(replace(bundle, catalogue_table=table), policy)
        verdict = stage.screen(stage.propose(users, request, exposures=blank), exposures=blank)
        answers.append(verdict)
    one, other = answers
    if not np.array_equal(one.candidates.item_row, other.candidates.item_row):
        return int(max(one.kept.sum(), other.kept.sum()))
    return int((one.kept != other.kept).sum())


def pressure(
    bundle: Bundle,
    policy: Policy,
    out: Path,
    *,
    n: int = 10,
    surface: str = "home",
    intent: str = "browse",
    users: int | None = None,
    seed: int = 7,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Measure how hard the slates push, at the moment of the fit and with nothing shown before.

    Args:
        bundle: fitted.
        policy: the rules.
        out: gets ``figures.json`` and ``claims.csv``.
        n: slots.
        surface: where they are shown.
        intent: what the shoppers want.
        users: how many shoppers, drawn by the seed; None is all.
        seed: of the draw and of the permutation.
        progress: is told what is being done.

    Returns:
        promoted_share, upsell.p50, upsell.p90, claims_without_evidence, margin_permutation_moves, pressure.slots.
    """
    tell = progress or (lambda _what, _share: None)
    chosen = some_users(bundle, users, seed)
    request = Request(surface=surface, intent=intent, n=n, now=int(bundle.facts["fitted_for"]))
    stage, blank = Stage(bundle, policy), Exposures.empty(len(chosen))
    tell("scoring", 0.0)
    proposal = stage.propose(chosen, request, exposures=blank)
    verdict = stage.screen(proposal, exposures=blank)
    tell("measuring", 0.4)
    claims = unproven(policy, bundle.catalogue, proposal, verdict)
    figures: dict[str, float] = pushed(bundle.catalogue, verdict, upsell_ratios(bundle.catalogue, proposal, blank))
    figures["claims_without_evidence"] = sum(claims.values())
    tell("dealing the margins out anew", 0.5)
    figures["margin_permutation_moves"] = margin_moves(bundle, policy, chosen, request, seed=seed)
    figures["pressure.slots"] = int(verdict.kept.sum())
    out.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"claim": list(claims), "shown_without_evidence": list(claims.values())}).write_csv(out / "claims.csv")
    write_figures(out, figures, policy=policy, bundle=bundle)
    tell("done", 1.0)
    return figures


def _facts(catalogue: Catalogue, proposal: Proposal, exposures: Exposures | None) -> Facts:
    blank = Exposures.empty(proposal.shoppers.users) if exposures is None else exposures
    return Facts(
        proposal.context, catalogue, proposal.shoppers, proposal.candidates, history=proposal.history, exposures=blank
    )
