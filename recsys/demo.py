"""The whole way once, on real data: prepare, fit, score every household, measure, and tell it on one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from boundary.history import History
from boundary.ledger import open_ledger
from boundary.policy import Policy
from boundary.rules import FAMILY_OF
from boundary.taxonomy import Taxonomy
from boundary.words import Source
from recsys.batch import Order, merge_parts, score_users, slate_rows
from recsys.bundle import Bundle
from recsys.engine import Answer, Engine
from recsys.quality import discoveries, ndcg, temporal_cut, without_boundary
from recsys.shop import Choice, Shop, fit_shop

Tell = Callable[[str, float], None]
AT = 20  # length of the lists that are compared


@dataclass(frozen=True)
class Comparison:
    """Discovery quality with and without the boundary, on the weeks that the fit did not see."""

    households: int
    raw: float
    profile: float
    slate: float
    cut: int
    raw_engine: Engine
    engine: Engine
    raw_answer: Any
    answer: Answer
    truth: Any


def compare(shop: Shop, *, taxonomy: Taxonomy, policy: Policy, choice: Choice, tell: Tell) -> Comparison:
    """Fit on the first 80 % of the weeks with and without the boundary, and judge both by the rest."""
    cut = temporal_cut(shop.events)
    bundle = fit_shop(
        shop, taxonomy=taxonomy, policy=policy, choice=choice, now=cut,
        tell=lambda what, share: tell(f"with the boundary: {what}", share * 0.45),
    )  # fmt: skip
    open_policy = without_boundary(policy)
    raw_bundle = fit_shop(
        shop, taxonomy=taxonomy, policy=open_policy, choice=choice, now=cut,
        tell=lambda what, share: tell(f"without the boundary: {what}", 0.45 + share * 0.45),
    )  # fmt: skip
    tell("comparing the lists", 0.9)
    engine = Engine(bundle, ledger=None)
    profile = Engine(bundle, ledger=None, policy=policy.replace({"rules.profile_share.most": 1.0}))
    raw_engine = Engine(raw_bundle, ledger=None, policy=open_policy)
    users = [user for user in bundle.user_ids if user]
    later = shop.events.filter(pl.col("at").dt.timestamp("us") > cut)
    after = History.from_frame(later, users, bundle.catalogue.row_of)
    truth = discoveries(bundle.history, after, items=bundle.catalogue.items)
    answer = engine.score_block(users, n=AT, now=cut, read_ledger=False)
    own = profile.score_block(users, n=AT, now=cut, read_ledger=False)
    raw = raw_engine.unbounded(users, k=AT, now=cut)
    scores = {
        "raw": ndcg(raw.offsets, raw.item_row, truth, k=AT),
        "slate": ndcg(*_kept(answer), truth, k=AT),
        "profile": ndcg(*_kept(own), truth, k=AT),
    }
    tell("done", 1.0)
    return Comparison(
        households=int(np.isfinite(scores["raw"]).sum()),
        **{name: float(np.nanmean(values)) for name, values in scores.items()},
        cut=cut,
        raw_engine=raw_engine,
        engine=engine,
        raw_answer=raw,
        answer=answer,
        truth=truth,
    )


def score_everybody(engine: Engine, out: Path, *, now: int, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Score every household of the bundle and write ``slates.parquet`` and ``withheld.parquet``."""
    users = [user for user in engine.bundle.user_ids if user]
    order = Order(n=10, surface="home", intent="browse", now=now, withheld=True)
    parts = out / "parts"
    manifest = score_users(engine, users, parts, order, progress=progress)
    for name in ("slates", "withheld"):
        merge_parts(parts / name, out / f"{name}.parquet")
    return manifest


def open_for_demo(bundle: Path, ledger: Path) -> Engine:
    """Open a bundle with a new SQLite ledger beside it."""
    engine = Engine(Bundle.load(bundle), ledger=open_ledger(f"sqlite:///{ledger}"))
    engine.warm_up()
    return engine


def examples(comparison: Comparison, count: int = 3) -> list[dict[str, Any]]:
    """Choose shoppers on whose lists the boundary did most, and lay both lists side by side."""
    answer, raw = comparison.answer, comparison.raw_answer
    bundle = comparison.engine.bundle
    catalogue, titles = comparison.engine.gate.catalogue, bundle.titles
    shown = slate_rows(comparison.engine, answer)
    own = answer.verdict.kept & (answer.candidates.source == Source.PERSONAL)
    known_well = np.bincount(answer.candidates.user_row[own], minlength=answer.candidates.users) >= AT // 2
    sensitive = np.add.reduceat(
        np.append(catalogue.family_bits[raw.item_row] != 0, False).astype(int), raw.offsets[:-1]
    ) * (np.diff(raw.offsets) > 0)
    order = np.lexsort((np.arange(len(known_well)), -sensitive, ~known_well))[:count]
    told = []
    for user in order.tolist():
        name = answer.candidates.user_ids[user]
        part = slice(int(raw.offsets[user]), int(raw.offsets[user + 1]))
        verdicts = {
            int(row): answer.verdict.reasons(place)
            for place, row in zip(
                range(int(answer.candidates.offsets[user]), int(answer.candidates.offsets[user + 1])),
                answer.candidates.item_row[
                    int(answer.candidates.offsets[user]) : int(answer.candidates.offsets[user + 1])
                ].tolist(),
                strict=True,
            )
            if int(answer.candidates.source[place]) == Source.PERSONAL
        }
        told.append(
            {
                "raw": [
                    {
                        "title": titles[row],
                        "reasons": verdicts.get(row, []),
                        "sensitive": bool(catalogue.family_bits[row]),
                    }
                    for row in raw.item_row[part].tolist()[:10]
                ],
                "slate": shown.filter(pl.col("user_id") == name).sort("position").head(10).to_dicts(),
            }
        )
    return told


def page(engine: Engine, manifest: dict[str, Any], judged: Comparison) -> dict[str, Any]:
    """Gather what the report shows."""
    facts = engine.bundle.facts
    return {
        "shop": "The Complete Journey, a year of grocery shopping",
        "note": "The data are simulated after real patterns, for education; they claim nothing about real shoppers.",
        "policy": engine.policy.name,
        "digest": engine.policy.digest,
        "users": manifest["scored"],
        "shown": manifest["shown"],
        "withheld_rows": manifest["candidates"] - manifest["shown"] - manifest["beyond"],
        "by_family": by_family(manifest["withheld"]),
        "sources": manifest["sources"],
        "quality": {
            "recommender alone": judged.raw,
            "profile's list, within the boundary": judged.profile,
            "whole slate": judged.slate,
        },
        "kept_share": 100 * judged.slate / judged.raw if judged.raw else 0.0,
        "households": judged.households,
        "cut": judged.cut,
        "at": AT,
        "events": facts["events"],
        "turned_away": facts["events_turned_away"],
        "examples": examples(judged),
        "limits": "Prices and promotions of the comparison are those of the last week, also for the weeks before it.",
    }


def by_family(withheld: dict[str, int]) -> dict[str, dict[str, int]]:
    """Group counts of reasons by their family."""
    grouped: dict[str, dict[str, int]] = {}
    for reason, count in withheld.items():
        grouped.setdefault(str(FAMILY_OF[reason]), {})[reason] = count
    return grouped


def _kept(answer: Answer) -> tuple[Any, Any]:
    """Return the shown rows of a block as offsets and item rows."""
    kept, rows = answer.verdict.kept, answer.candidates
    offsets = np.concatenate([[0], np.cumsum(kept)])[rows.offsets]
    return offsets, rows.item_row[kept]
