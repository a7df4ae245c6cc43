"""What was answered? A block of shoppers, scored, and what of it one of them may be told."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from boundary.candidates import Candidates
from boundary.explain import RuleVerdict, explain_row, for_shopper
from boundary.facts import Facts
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.policy import Policy
from boundary.shoppers import Shoppers
from boundary.verdict import Verdict
from boundary.words import GUEST, PERSONAL, SOURCE_NAMES, TIER_NAMES, plain_surface
from recsys.bundle import Bundle
from recsys.propose import Proposer
from recsys.slates import Slate, Suggestion, why

OUTBOUND = ("email", "push")


@dataclass(frozen=True)
class Answer:
    """A block of users, scored: what was proposed, what was decided, and what both rested on.

    ``spoke``, (E,), tells which events of ``history`` may be told of: what the first door admitted, and the sessions.
    """

    state: State
    verdict: Verdict
    shoppers: Shoppers
    history: History
    spoke: npt.NDArray[np.bool_]
    exposures: Exposures | None
    turns: npt.NDArray[np.int64]

    @property
    def candidates(self) -> Candidates:
        return self.verdict.candidates


@dataclass(frozen=True)
class Explanation:
    """Why an item is shown to a shopper or not, in both voices."""

    user_id: str
    item_id: str
    tier: str
    rank: int | None
    shown: bool
    source: str
    score: float
    reasons: tuple[str, ...]
    rules: tuple[RuleVerdict, ...]
    to_shopper: str
    complaints: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain words and numbers."""
        return {**self.__dict__, "rules": [rule.to_dict() for rule in self.rules]}


@dataclass(frozen=True)
class Farewell:
    """What was removed of a shopper: events, ledger entries, rows of cached slates; and when a new fit is due.

    ``retrain_by`` is microseconds UTC, None where the factors of items never learned from the shopper.
    """

    events: int
    exposures: int
    slate_rows: int
    retrain_by: int | None


@dataclass(frozen=True)
class State:
    """What one try of a call works with from its beginning to its end, whatever is reloaded meanwhile."""

    bundle: Bundle
    policy: Policy
    gate: Gate
    proposer: Proposer


class Judged(Protocol):
    """What is judged of a block of shoppers: an answer, or another's proposal."""

    @property
    def shoppers(self) -> Shoppers:
        """Who they are to the shop."""


def remembered(answer: Judged, surface: str) -> npt.NDArray[np.bool_]:
    """Return whose slates the ledger notes, (U,): no guest's, but for messages to one who is known."""
    told: npt.NDArray[np.bool_] = answer.shoppers.tier != GUEST
    return told | answer.shoppers.known if plain_surface(surface) in OUTBOUND else told


def explanation_of(answer: Answer, item_row: int, user_id: str, item_id: str) -> Explanation:
    """Say what every rule makes of one candidate item of an answer's only user."""
    state, verdict, rows = answer.state, answer.verdict, answer.candidates
    found = np.flatnonzero(rows.item_row == item_row)
    place = int(found[np.argmax(verdict.kept[found])])
    facts = Facts(
        verdict.context, state.gate.catalogue, answer.shoppers, rows, history=answer.history,
        exposures=answer.exposures,
    )  # fmt: skip
    reasons = verdict.reasons(place)
    return Explanation(
        user_id=user_id,
        item_id=item_id,
        tier=TIER_NAMES[int(answer.shoppers.tier[0])],
        rank=place,
        shown=bool(verdict.kept[place]),
        source=SOURCE_NAMES[int(rows.source[place])],
        score=float(rows.score[place]),
        reasons=tuple(reasons),
        rules=tuple(explain_row(state.policy, facts.one(place), int(verdict.enforced[place]))),
        to_shopper=for_shopper(reasons),
        complaints={str(family): float(ease[0]) for family, ease in answer.shoppers.ease.items()},
    )


def closed_for(state: State, answer: Answer, user: int) -> tuple[str, ...]:
    """Return why the profile was left alone, see ``Slate.closed``."""
    reasons = answer.shoppers.closed(user)
    part = slice(int(answer.candidates.offsets[user]), int(answer.candidates.offsets[user + 1]))
    if reasons or np.count_nonzero(answer.candidates.source[part] == PERSONAL):
        return reasons
    own = answer.history.take(np.array([user], np.int64))
    admitted = state.gate.admit(own, answer.shoppers.take(np.array([user])), now=answer.verdict.context.now)
    return () if admitted.mask.any() else ("stale",)


def slate_of(
    state: State,
    answer: Answer,
    user: int,
    *,
    surface: str,
    intent: str,
    user_id: str | None,
    reserved: bool = False,
) -> Slate:
    """Put one user's part of an answer into a slate: items with their why, and what was withheld.

    ``reserved`` is to be said of a slate that is about to be; one without items never is.
    """
    verdict, rows = answer.verdict, answer.candidates
    catalogue, titles = state.gate.catalogue, state.bundle.titles
    kept = verdict.kept_rows(user)
    past = rows.evidence_row[kept]
    named = past >= 0
    if catalogue.items:
        named &= catalogue.speakable[np.where(named, past, 0)]
    kinds = answer.history.strongest_kinds(np.full(len(kept), user), past, answer.spoke)
    told = (rows.item_row[kept], rows.score[kept], rows.source[kept], past, named, kinds)
    items = [
        Suggestion(
            catalogue.item_ids[item], score, SOURCE_NAMES[source], why(source, titles[event] if tell else None, kind)
        )
        for item, score, source, event, tell, kind in zip(*(column.tolist() for column in told), strict=True)
    ]
    start, end = int(rows.offsets[user]), int(rows.offsets[user + 1])
    return Slate(
        slate_id=secrets.token_hex(16),
        user_id=user_id,
        surface=surface,
        intent=intent,
        tier=TIER_NAMES[int(answer.shoppers.tier[user])],
        items=tuple(items),
        closed=closed_for(state, answer, user),
        withheld=verdict.counts_of(user),
        shadow=verdict.shadow_counts_of(user) if np.count_nonzero(verdict.shadowed[start:end]) else {},
        policy_digest=verdict.policy_digest,
        reserved=reserved and bool(items),
    )
