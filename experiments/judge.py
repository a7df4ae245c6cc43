"""What does a policy give and cost? Candidates are computed once; a policy is judged by screening them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from boundary.associations import labels
from boundary.gate import Gate
from boundary.history import SHOWN, Exposures, History
from boundary.words import MICROSECONDS_A_DAY
from experiments.light_attack import LightAttacker
from experiments.pressure import pushed, upsell_ratios
from experiments.space import PROPOSING
from experiments.visits import Proposal, Stage, screen, shown, some_users
from recsys.evidence import purchases
from recsys.fitting import activity
from recsys.propose import Request
from recsys.quality import discoveries, ndcg, raw_lists, without_boundary
from recsys.shop import Choice, Shop, fit_shop

if TYPE_CHECKING:
    from boundary.catalogue import Catalogue
    from boundary.policy import Policy
    from boundary.taxonomy import Taxonomy
    from boundary.verdict import Verdict
    from experiments.space import Space
    from recsys.bundle import Bundle

Tell = Callable[[str, float], None]
FREE = {"rules.profile_share.most": 1.0}  # what makes a slate the profile's own list


@dataclass(frozen=True)
class Bundles:
    """The same shop fitted twice at one moment: within the boundary, and as others do."""

    bounded: Bundle
    raw: Bundle
    later: pl.DataFrame
    cut: int


def fit_both(
    shop: Shop, *, taxonomy: Taxonomy, policy: Policy, choice: Choice, cut: int, until: int, strength: float, tell: Tell
) -> Bundles:
    """Fit on the events before ``cut``, with the blindfold at ``strength``; judge by those from it to ``until``."""
    at = pl.col("at").dt.timestamp("us")
    fitted = [
        fit_shop(
            shop, taxonomy=taxonomy, policy=rules, choice=choice, now=cut,
            tell=_half(tell, word, place / 2),
        )
        for place, (word, rules) in enumerate(
            [("with", policy.replace({"blind.strength": strength})), ("without", without_boundary(policy))]
        )
    ]  # fmt: skip
    return Bundles(fitted[0], fitted[1], shop.events.filter((at > cut) & (at <= until)), cut)


def _half(tell: Tell, word: str, begin: float) -> Tell:
    return lambda what, share: tell(f"{word} the boundary: {what}", begin + share / 2)


class Judge:
    """Judges policies on one shop at one moment.

    Args:
        bundles: from ``fit_both``.
        policy: the base that policies are changes of; explored items are drawn from what it lets through.
        space: says how long slates are, which candidates are needed, and how many visits are counted.
        users: how many shoppers, drawn by the seed; None is all.
        seed: of every draw.
        tell: is told what is being done.
    """

    def __init__(
        self, bundles: Bundles, policy: Policy, space: Space, *, users: int | None, seed: int, tell: Tell
    ) -> None:
        bundle, self._space, self._base = bundles.bounded, space, policy
        self.catalogue = bundle.catalogue
        self.users = some_users(bundle, users, seed)
        ids = [bundle.user_ids[user] for user in self.users.tolist()]
        items, before = self.catalogue.items, bundle.history.take(self.users)
        request = Request(surface="home", intent="browse", n=space.n, now=bundles.cut)
        self._blank = Exposures.empty(len(ids))
        after = History.from_frame(bundles.later, ids, self.catalogue.row_of)
        self._truth = discoveries(before, after, items=items)
        tell("ranking without the boundary", 0.0)
        raw = raw_lists(bundles.raw, ids, k=space.n, now=bundles.cut)
        self._judged_users = ndcg(raw.offsets, raw.item_row, self._truth, k=space.n)
        self.raw = float(np.nanmean(self._judged_users)) if np.isfinite(self._judged_users).any() else float("nan")
        self._attacker = _attacker(before, bundle.catalogue, space, seed)
        self.families = bundle.catalogue.families
        self.raw_leak = self._leak(raw.offsets, raw.item_row)
        self._proposals: dict[str, tuple[Proposal, npt.NDArray[np.float64]]] = {}
        combinations = list(space.proposals())
        for place, changes in enumerate(combinations):
            tell("computing candidates", 0.1 + 0.9 * place / len(combinations))
            changed = policy.replace(changes)
            proposal = Stage(bundle, changed).propose(self.users, request, exposures=self._blank)
            ratios = upsell_ratios(self.catalogue, proposal, self._blank)
            self._proposals[_key(changed)] = proposal, ratios
        rounds = np.random.default_rng(seed).permutation(len(ids))[: space.round_users]
        self._returning = np.sort(rounds)

    def figures(self, policy: Policy) -> dict[str, float]:
        """Judge a policy; see ``tune.toml`` for what the figures are."""
        proposal, ratios = self._proposals[_key(policy)]
        gate = Gate(self.catalogue, policy)
        verdict = screen(gate, proposal, exposures=self._blank)
        own = screen(Gate(self.catalogue, policy.replace(FREE)), proposal, exposures=self._blank)
        leaks = self._leak(*shown(verdict))
        push = pushed(self.catalogue, verdict, ratios)
        repeat, fill = self._visits(gate, proposal)
        over = push["upsell.p90"] - 1
        return {
            "kept": self._ndcg(verdict) / self.raw,
            "kept_profile": self._ndcg(own) / self.raw,
            "leak": float(np.mean(list(leaks.values()))) if leaks else float("nan"),
            "repeat": repeat,
            "pressure": push["promoted_share"] + (max(over, 0.0) if np.isfinite(over) else 0.0),
            "fill": fill,
            **push,
            **{f"leak.{self.families[family]}": value for family, value in leaks.items()},
        }

    def raw_figures(self) -> dict[str, float]:
        """Return what the recommender alone reaches: ndcg, leak, and how many shoppers and families are judged."""
        leaks = self.raw_leak
        return {
            "raw.ndcg": self.raw,
            "raw.leak": float(np.mean(list(leaks.values()))) if leaks else float("nan"),
            "judged.shoppers": int(np.isfinite(self._judged_users).sum()),
            "judged.families": len(leaks),
            **{f"raw.leak.{self.families[family]}": value for family, value in leaks.items()},
        }

    def _leak(self, offsets: npt.NDArray[np.int64], item_row: npt.NDArray[np.int32]) -> dict[int, float]:
        return self._attacker.leak_remaining(offsets, item_row, items=self.catalogue.items)

    def _ndcg(self, verdict: Verdict) -> float:
        return float(np.nanmean(ndcg(*shown(verdict), self._truth, k=self._space.n)))

    def _visits(self, gate: Gate, proposal: Proposal) -> tuple[float, float]:
        """Show slates on several days; return the share of later slots that were shown before, and the fill of all."""
        users, items = self._returning, self.catalogue.items
        part = Proposal(
            proposal.request,
            proposal.history.take(users),
            proposal.shoppers.take(users),
            proposal.candidates.take(users),
        )
        seen = np.empty(0, np.int64)
        exposures, repeated, later, slots = Exposures.empty(len(users)), 0, 0, 0
        for visit in range(self._space.rounds):
            now = proposal.request.now + visit * MICROSECONDS_A_DAY
            moved = Proposal(_at(proposal.request, now), part.history, part.shoppers, part.candidates)
            verdict = screen(gate, moved, exposures=exposures)
            offsets, rows = shown(verdict)
            owner = np.repeat(np.arange(len(users)), np.diff(offsets))
            pairs = owner * items + rows
            if visit:
                repeated, later = repeated + int(np.isin(pairs, seen).sum()), later + len(pairs)
            seen, slots = np.union1d(seen, pairs), slots + len(pairs)
            exposures = added(exposures, owner, rows, now)
        asked = self._space.n * len(users) * self._space.rounds
        return (repeated / later if later else 0.0), (slots / asked if asked else 0.0)


def added(exposures: Exposures, owner: npt.NDArray[np.int64], rows: npt.NDArray[np.int32], now: int) -> Exposures:
    """Return a block's exposures with slates shown on the home page at ``now`` added; ``owner`` rises."""
    users = exposures.users
    before = np.repeat(np.arange(users), np.diff(exposures.offsets))
    order = np.argsort(np.concatenate([before, owner]), kind="stable")
    fresh, slate = len(rows), int(exposures.slate.max(initial=-1)) + 1

    def joined(old: npt.NDArray[Any], value: npt.ArrayLike) -> npt.NDArray[Any]:
        return np.concatenate([old, np.broadcast_to(np.asarray(value, old.dtype), fresh)])[order]

    return Exposures(
        exposures.offsets + np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=users))]),
        joined(exposures.item_row, rows), joined(exposures.kind, SHOWN), joined(exposures.surface, 0),
        joined(exposures.at, now), joined(exposures.slate, slate), exposures.surfaces or ("home",),
    )  # fmt: skip


def _at(request: Request, now: int) -> Request:
    return Request(surface=request.surface, intent=request.intent, n=request.n, now=now)


def _key(policy: Policy) -> str:
    """Return what of a policy decides on the candidates."""
    tree = policy.to_dict()
    return json.dumps({part: tree[part] for part in PROPOSING}, sort_keys=True)


def _attacker(history: History, catalogue: Catalogue, space: Space, seed: int) -> LightAttacker:
    """Return an attacker on who bought in which family; the history it may learn from holds nothing sensitive."""
    bought = purchases(history, items=catalogue.items)
    told = labels(bought, catalogue.family_bits, max(len(catalogue.families), 1))[:, : len(catalogue.families)]
    harmless = csr_matrix(bought.multiply((catalogue.family_bits == 0)[None, :].astype(np.float32)))
    harmless.eliminate_zeros()
    return LightAttacker(
        told, activity(history).mean(axis=1), harmless, fewest=space.fewest, room=space.room, seed=seed
    )
