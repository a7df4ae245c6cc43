"""The one composition root: tables, model, boundary and ledger become a scoring function."""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from boundary.candidates import Candidates
from boundary.explain import RuleVerdict, explain_row, for_shopper
from boundary.facts import Context, Facts
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.ledger.base import Entry, Ledger, LedgerError
from boundary.policy import Policy
from boundary.shoppers import Shoppers
from boundary.words import COMPLAINTS, INTENTS, MICROSECONDS_A_DAY, SOURCE_NAMES, TIER_NAMES, Kind, Tier
from recsys.bundle import Bundle
from recsys.models import TopK
from recsys.memory import exposures_of, remember, rows_of_entries
from recsys.propose import Proposer, Request
from recsys.slates import Slate, Suggestion, why

if TYPE_CHECKING:
    from boundary.verdict import Verdict

log = logging.getLogger("cornerstore")
TRIES = 5  # how often a call reads again when another call of the same shopper came between
OUTBOUND = ("email", "push")


class EngineError(ValueError):
    """A call that cannot be answered as it stands."""


@dataclass(frozen=True)
class Answer:
    """A block of users, scored: what was proposed, what was decided, and what both rested on."""

    verdict: Verdict
    shoppers: Shoppers
    history: History
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
class _State:
    """What one call works with from its beginning to its end, whatever is reloaded meanwhile."""

    bundle: Bundle
    policy: Policy
    gate: Gate
    proposer: Proposer


class Engine:
    """Suggests within the boundary; safe to call from many threads.

    Args:
        bundle: a fitted shop.
        ledger: where exposures are remembered; None remembers nothing and so shows the crowd shelf.
        policy: rules in place of the bundle's own.
    """

    def __init__(self, bundle: Bundle, *, ledger: Ledger | None, policy: Policy | None = None) -> None:
        self.ledger = ledger
        self._state = _state(bundle, policy or bundle.policy)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        ledger: str | Ledger | None = None,
        policy: Policy | str | Path | None = None,
    ) -> Engine:
        """Open a bundle.

        Args:
            path: a bundle's directory.
            ledger: ``sqlite:///file.db``, ``redis://host:port/0``, or a ledger. A ledger that cannot be opened is
                down: the engine shows the crowd shelf until it can be.
            policy: a policy, the name of a shipped one, or a TOML file, in place of the bundle's own.

        Raises:
            BundleError: there is no usable bundle at the path.
            PolicyError: the policy has mistakes.
        """
        bundle = Bundle.load(path)
        rules = None if policy is None else policy_of(policy)
        engine = cls(bundle, ledger=None, policy=rules)
        keep = (rules or bundle.policy).longest_window_days
        engine.ledger = open_or_down(ledger, keep_days=keep) if isinstance(ledger, str) else ledger
        engine.warm_up()
        return engine

    @property
    def bundle(self) -> Bundle:
        return self._state.bundle

    @property
    def policy(self) -> Policy:
        return self._state.policy

    @property
    def gate(self) -> Gate:
        return self._state.gate

    def save(self, path: str | Path) -> Path:
        """Write the bundle, with the policy in force, into a directory."""
        return replace(self.bundle, policy=self.policy).save(path)

    def reload(self, path: str | Path | None = None, *, policy: Policy | str | Path | None = None) -> None:
        """Take a new bundle, a new policy or both; calls under way end with what they began with."""
        bundle = self.bundle if path is None else Bundle.load(path)
        kept = self.policy if path is None else bundle.policy
        rules = kept if policy is None else policy_of(policy)
        self._state = _state(bundle, rules)
        self.warm_up()

    def warm_up(self) -> None:
        """Compile and touch everything a call needs, so that the first call is as quick as the next."""
        users = [user for user in self.bundle.user_ids[:64] if user][:2] or ["somebody"]
        now = int(self.bundle.facts.get("fitted_for", 0))
        for intent in ("browse", "find"):
            self.score_block(users, n=3, intent=intent, now=now, read_ledger=False)

    def score(
        self,
        user_id: str | None = None,
        *,
        n: int = 10,
        surface: str = "home",
        intent: str = "browse",
        session: Sequence[str] = (),
        within: str | Sequence[str] | None = None,
        now: dt.datetime | int | None = None,
        reserve: bool = True,
    ) -> Slate:
        """Suggest at most ``n`` items to one visitor.

        Args:
            user_id: the shopper; None or unknown is a guest.
            n: slots, at least 0.
            surface: where it is shown: home, product, email, push, ...
            intent: find, discover, deal, research or browse.
            session: ids of items looked at right now; of a guest nothing is stored.
            within: a category, or ids, that the suggestions must come from.
            now: a time with a zone, or microseconds UTC; the clock's where it is None.
            reserve: count the slate as shown until it is confirmed or runs out; see ``shown``.

        Raises:
            EngineError: n is negative, the intent is none of the five, or ``now`` has no zone.

        Example:
            ``engine.score("1228", n=10, surface="home", intent="browse").items``
        """
        state, moment = self._state, _micros(now)
        who = user_id or ""
        request = Request(
            surface=surface, intent=intent, n=n, now=moment, within=within, sessions=((*session,),)
        )
        _check(request)
        for _ in range(TRIES):
            answer = self._answer(state, [who], request)
            slate = _slate(state, answer, 0, surface=surface, intent=intent, user_id=user_id)
            if not (reserve and slate.items and self._remembers(answer, surface)):
                return slate
            try:
                if self._reserve(who, slate, moment, int(answer.turns[0])):
                    return replace(slate, reserved=True)
            except LedgerError:
                log.warning("ledger is down: serving the crowd shelf")
                break
        answer = self._answer(state, [who], request, read_ledger=False)
        return _slate(state, answer, 0, surface=surface, intent=intent, user_id=user_id)

    def score_block(
        self,
        user_ids: Sequence[str],
        *,
        n: int = 10,
        surface: str = "home",
        intent: str = "browse",
        now: dt.datetime | int | None = None,
        read_ledger: bool = True,
    ) -> Answer:
        """Score many users at once, by the very path of ``score``; nothing is reserved.

        Without ``read_ledger`` the shoppers count as having been shown nothing yet.
        """
        request = Request(surface=surface, intent=intent, n=n, now=_micros(now))
        _check(request)
        if read_ledger:
            return self._answer(self._state, user_ids, request)
        return self._answer(self._state, user_ids, request, exposures=Exposures.empty(len(user_ids)))

    def unbounded(self, user_ids: Sequence[str], *, k: int, now: dt.datetime | int) -> TopK:
        """Return what the recommender alone would list: for measuring against, never to be shown."""
        state = self._state
        rows = np.fromiter(
            (state.bundle.user_row.get(user, -1) for user in user_ids), np.int64, len(user_ids)
        )
        return state.proposer.unbounded(state.bundle.history.take(rows), k=k, now=_micros(now))

    def slates(self, answer: Answer, *, surface: str, intent: str) -> list[Slate]:
        """Put a block's answer into slates, one a user."""
        ids = answer.candidates.user_ids
        return [
            _slate(self._state, answer, user, surface=surface, intent=intent, user_id=ids[user])
            for user in range(len(ids))
        ]

    def shown(self, slate: Slate) -> bool:
        """Confirm that a reserved slate was really shown; False where it was released or forgotten meanwhile."""
        if self.ledger is None or slate.user_id is None or not slate.reserved:
            return False
        return self.ledger.confirm(slate.user_id, slate.slate_id) > 0

    def feedback(
        self,
        user_id: str,
        item_id: str | None,
        kind: str,
        *,
        surface: str = "home",
        now: dt.datetime | int | None = None,
    ) -> None:
        """Take what a shopper says: dismiss (an item), too_personal, too_often or too_pushy.

        Raises:
            EngineError: an unknown kind, a dismissal without an item, or no ledger.
            LedgerError: the ledger could not be written; nothing was taken.
        """
        if kind not in ("dismiss", *COMPLAINTS):
            raise EngineError(f"`kind` must be one of dismiss, {', '.join(COMPLAINTS)} but got {kind!r}")
        if kind == "dismiss" and not item_id:
            raise EngineError("`item_id` must name what is dismissed but is empty")
        if self.ledger is None:
            raise EngineError("there is no ledger to keep feedback in; give Engine.load a `ledger`")
        entry = Entry(kind, item_id or "", surface, _micros(now), uuid.uuid4().hex, 0, "", confirmed=True)
        for _ in range(TRIES * 20):
            _, turn = self.ledger.read(user_id, entry.at)
            if self.ledger.append(user_id, [entry], expected_turn=turn):
                return
        raise LedgerError("the ledger is too busy to take feedback; try again")

    def explain(
        self,
        user_id: str,
        item_id: str,
        *,
        n: int = 10,
        surface: str = "home",
        intent: str = "browse",
        now: dt.datetime | int | None = None,
    ) -> Explanation:
        """Say what every rule makes of an item for a shopper, and what would change it.

        Raises:
            EngineError: the catalogue has no such item.
        """
        state = self._state
        row = state.gate.catalogue.row_of.get(item_id)
        if row is None:
            raise EngineError(
                f"`item_id` {item_id!r} is not in the catalogue; look it up in catalogue.parquet"
            )
        request = Request(surface=surface, intent=intent, n=n, now=_micros(now), also=row)
        _check(request)
        answer = self._answer(state, [user_id], request)
        found = np.flatnonzero(answer.candidates.item_row == row)
        place = int(found[0])
        facts = Facts(
            answer.verdict.context, state.gate.catalogue, answer.shoppers, answer.candidates,
            history=answer.history, exposures=answer.exposures,
        )  # fmt: skip
        verdict = answer.verdict
        rules = explain_row(state.policy, facts.one(place), int(verdict.enforced[place]))
        reasons = verdict.reasons(place)
        return Explanation(
            user_id=user_id,
            item_id=item_id,
            tier=TIER_NAMES[int(answer.shoppers.tier[0])],
            rank=place,
            shown=bool(verdict.kept[place]),
            source=SOURCE_NAMES[int(answer.candidates.source[place])],
            score=float(answer.candidates.score[place]),
            reasons=tuple(reasons),
            rules=tuple(rules),
            to_shopper=for_shopper(reasons),
            complaints={str(family): float(ease[0]) for family, ease in answer.shoppers.ease.items()},
        )

    def _answer(
        self,
        state: _State,
        user_ids: Sequence[str],
        request: Request,
        *,
        read_ledger: bool = True,
        exposures: Exposures | None = None,
    ) -> Answer:
        """Score a block: everything that is ever shown goes through here, and so through ``screen``."""
        bundle = state.bundle
        rows = np.fromiter((bundle.user_row.get(user, -1) for user in user_ids), np.int64, len(user_ids))
        history = bundle.history.take(rows)
        turns = np.zeros(len(user_ids), np.int64)
        if exposures is None and read_ledger:
            exposures, turns = self._exposures(state, user_ids, request.now)
        shoppers = state.gate.meet(bundle.customers.take(rows), history, exposures, now=request.now)
        candidates, history = state.proposer.propose(user_ids, history, shoppers, request)
        context = Context(request.surface, request.intent, request.n, request.now)
        verdict = state.gate.screen(
            candidates, shoppers=shoppers, history=history, exposures=exposures, context=context
        )
        return Answer(verdict, shoppers, history, exposures, turns)

    def _exposures(
        self, state: _State, user_ids: Sequence[str], now: int
    ) -> tuple[Exposures | None, npt.NDArray[np.int64]]:
        """Read what the users were shown; None where the ledger cannot tell."""
        users = len(user_ids)
        if self.ledger is None:
            return None, np.zeros(users, np.int64)
        since = max(now - int(state.policy.longest_window_days * MICROSECONDS_A_DAY), 0)
        released = now - int(state.policy.ledger.release_minutes * 60_000_000)
        rows = state.gate.catalogue.row_of
        try:
            if users == 1:
                if not user_ids[0]:
                    return Exposures.empty(1), np.zeros(1, np.int64)
                entries, turn = self.ledger.read(user_ids[0], since)
                return rows_of_entries(entries, rows, released=released), np.array([turn], np.int64)
            snapshot = self.ledger.read_block(user_ids, since)
        except LedgerError:
            log.warning("ledger is down: serving the crowd shelf")
            return None, np.zeros(users, np.int64)
        return exposures_of(snapshot, rows, released=released), snapshot.turns

    def _remembers(self, answer: Answer, surface: str) -> bool:
        """Of a guest nothing is stored, but for messages sent to a shopper who is known."""
        if self.ledger is None or answer.exposures is None:
            return False
        return bool(
            answer.shoppers.tier[0] != Tier.GUEST or (answer.shoppers.known[0] and surface in OUTBOUND)
        )

    def _reserve(self, user_id: str, slate: Slate, now: int, turn: int) -> bool:
        assert self.ledger is not None  # noqa: S101 (``_remembers`` looked)
        return self.ledger.append(user_id, remember(slate, now), expected_turn=turn)


def open_or_down(url: str, *, keep_days: float) -> Ledger:
    """Open a ledger; one that cannot be opened now is tried again at each call and is down until then."""
    from boundary.ledger import open_ledger
    from recsys.memory import Reopening

    return Reopening(lambda: open_ledger(url, keep_days=keep_days))


def _state(bundle: Bundle, policy: Policy) -> _State:
    gate = Gate(bundle.catalogue, policy)
    return _State(bundle, policy, gate, Proposer(bundle, gate))


def policy_of(policy: Policy | str | Path) -> Policy:
    """Return a policy, the one of a TOML file, or the shipped one of a name."""
    if isinstance(policy, Policy):
        return policy
    return Policy.load(policy) if Path(policy).suffix else Policy.named(str(policy))


def _check(request: Request) -> None:
    if request.n < 0:
        raise EngineError(f"`n` must be at least 0 but got {request.n}")
    if request.intent not in INTENTS:
        raise EngineError(f"`intent` must be one of {', '.join(INTENTS)} but got {request.intent!r}")


def _micros(now: dt.datetime | int | None) -> int:
    if now is None:
        return time.time_ns() // 1000
    if isinstance(now, int):
        return now
    if now.tzinfo is None:
        raise EngineError(f"`now` must have a time zone but got {now}; add tzinfo, e.g. datetime.UTC")
    return int(now.timestamp() * 1_000_000)


def _slate(
    state: _State, answer: Answer, user: int, *, surface: str, intent: str, user_id: str | None
) -> Slate:
    verdict, rows = answer.verdict, answer.candidates
    catalogue, titles = state.gate.catalogue, state.bundle.titles
    kept = verdict.kept_rows(user)
    past = rows.evidence_row[kept]
    kinds = answer.history.strongest_kinds(np.full(len(kept), user), past)
    items = []
    for row, item, kind in zip(kept.tolist(), past.tolist(), kinds.tolist(), strict=True):
        source, named = int(rows.source[row]), item >= 0 and bool(catalogue.speakable[item])
        items.append(
            Suggestion(
                item_id=catalogue.item_ids[int(rows.item_row[row])],
                score=float(rows.score[row]),
                source=SOURCE_NAMES[source],
                why=why(source, titles[item] if named else None, kind),
            )
        )
    start, end = int(rows.offsets[user]), int(rows.offsets[user + 1])
    return Slate(
        slate_id=uuid.uuid4().hex,
        user_id=user_id,
        surface=surface,
        intent=intent,
        tier=TIER_NAMES[int(answer.shoppers.tier[user])],
        items=tuple(items),
        withheld=verdict.counts_of(user),
        shadow={} if not verdict.shadowed[start:end].any() else verdict.shadow_counts_of(user),
        policy_digest=verdict.policy_digest,
        reserved=False,
    )
