"""The whole way once, on real data: prepare, fit, score every household, measure, and tell it on one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.catalogue import Catalogue
from boundary.history import History
from boundary.ledger import open_ledger
from boundary.policy import Policy
from boundary.rules import FAMILY_OF
from boundary.rules.personal import SensitiveProxy
from boundary.taxonomy import Taxonomy
from boundary.words import Source, Tier
from recsys.batch import Order, score_users, slate_rows
from recsys.batch_files import merge_parts
from recsys.bundle import Bundle
from recsys.engine import Answer, Engine
from recsys.people import note_copies
from recsys.quality import discoveries, ndcg, raw_lists, temporal_cut, without_boundary
from recsys.shop import Choice, Shop, fit_shop

Tell = Callable[[str, float], None]
AT = 20  # length of the lists that are compared
SHOWN = 10  # length of the lists that are shown


@dataclass(frozen=True)
class Comparison:
    """Discovery quality with and without the boundary, on the weeks that the fit did not see."""

    households: int
    raw: float
    profile: float
    slate: float
    cut: int
    raw_bundle: Bundle
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
    users = [user for user in bundle.user_ids if user]
    later = shop.events.filter(pl.col("at").dt.timestamp("us") > cut)
    after = History.from_frame(later, users, bundle.catalogue.row_of)
    truth = discoveries(bundle.history, after, items=bundle.catalogue.items)
    answer = engine.score_block(users, n=AT, now=cut, read_ledger=False)
    own = profile.score_block(users, n=AT, now=cut, read_ledger=False)
    raw = raw_lists(raw_bundle, users, k=AT, now=cut)
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
        raw_bundle=raw_bundle,
        engine=engine,
        raw_answer=raw,
        answer=answer,
        truth=truth,
    )


def score_everybody(engine: Engine, out: Path, *, now: int, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Score every household of the bundle and write ``slates.parquet`` and ``withheld.parquet``."""
    users = [user for user in engine.bundle.user_ids if user]
    order = Order(n=SHOWN, surface="home", intent="browse", now=now, withheld=True)
    parts = out / "parts"
    manifest = score_users(engine, users, parts, order, progress=progress)
    if engine.bundle.path is not None:
        note_copies(engine.bundle.path, out)
    for name in ("slates", "withheld"):
        merge_parts(parts / name, out / f"{name}.parquet")
    return manifest


def open_for_demo(bundle: Path, ledger: Path) -> Engine:
    """Open a bundle with a new SQLite ledger beside it."""
    engine = Engine(Bundle.load(bundle), ledger=open_ledger(f"sqlite:///{ledger}"))
    engine.warm_up()
    return engine


def examples(comparison: Comparison, count: int = 3) -> list[dict[str, Any]]:
    """Choose shoppers on whose lists the boundary did most, and lay both lists of ten side by side."""
    engine, raw = comparison.engine, comparison.raw_answer
    users = _most_changed(comparison)[:count].tolist()
    names = [comparison.answer.candidates.user_ids[user] for user in users]
    answer = engine.score_block(names, n=SHOWN, now=comparison.cut, read_ledger=False)
    shown = slate_rows(answer)
    return [
        {
            "raw": [
                {"title": engine.bundle.titles[row], "fate": fate}
                for row, fate in _fates(answer, place, raw.item_row[raw.offsets[user] :][:SHOWN], engine.gate.catalogue)
            ],
            "slate": shown.filter(pl.col("user_id") == name).sort("position").to_dicts(),
        }
        for place, (user, name) in enumerate(zip(users, names, strict=True))
    ]


def _most_changed(comparison: Comparison) -> npt.NDArray[np.int64]:
    """Order users by how many sensitive items their raw list holds, those with a full profile first."""
    answer, raw = comparison.answer, comparison.raw_answer
    own = answer.verdict.kept & (answer.candidates.source == Source.PERSONAL)
    strangers = np.bincount(answer.candidates.user_row[own], minlength=answer.candidates.users) < AT // 2
    owner = np.repeat(np.arange(len(strangers)), np.diff(raw.offsets))
    sensitive = comparison.engine.gate.catalogue.family_bits[raw.item_row] != 0
    return np.lexsort((-np.bincount(owner[sensitive], minlength=len(strangers)), strangers))


def _fates(answer: Answer, user: int, rows: npt.NDArray[np.int32], catalogue: Catalogue) -> list[tuple[int, str]]:
    """Say of each item of a raw list what became of it: shown, why it was withheld, or that it ranks lower now."""
    listed = answer.candidates
    places = range(int(listed.offsets[user]), int(listed.offsets[user + 1]))
    seen = {int(listed.item_row[place]): place for place in reversed(places)}
    shown = {int(listed.item_row[place]) for place in places if answer.verdict.kept[place]}

    def fate(row: int) -> str:
        if row in shown:  # if not from the profile, then as one of the crowd's
            return "shown"
        if catalogue.family_bits[row]:
            return "sensitive_category"
        return ", ".join(answer.verdict.reasons(seen[row])) if row in seen else "ranks lower"

    return [(row, fate(row)) for row in rows.tolist()]


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
        "families": telltale(engine),
        "examples": examples(judged),
        "limits": "Prices and promotions of the comparison are those of the last week, also for the weeks before it.",
    }


def telltale(engine: Engine, count: int = 4) -> list[dict[str, Any]]:
    """List for each sensitive family how many harmless items give it away, and the ``count`` that do so most.

    An item counts whose lift and z both reach the limits of the policy's sensitive_proxy rule; ranked by z.
    """
    bundle, catalogue = engine.bundle, engine.gate.catalogue
    rule = engine.policy.rules_for(surface="home", intent="browse", tier=Tier.REGULAR).get("sensitive_proxy")
    if not isinstance(rule, SensitiveProxy) or rule.z is None:
        return []
    told = []
    for row, family in enumerate(catalogue.families):
        lift, z = bundle.proxies.lift[row], bundle.proxies.z[row]
        found = np.flatnonzero((lift >= rule.lift) & (z >= rule.z) & (catalogue.family_bits == 0))
        most = found[np.argsort(-z[found], kind="stable")][:count]
        words = list(dict.fromkeys(bundle.titles[item] for item in most.tolist()))
        judged = row not in bundle.proxies.left_out
        told.append({"family": family, "items": len(found), "judged": judged, "examples": words})
    return told


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
