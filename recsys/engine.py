"""The one composition root: tables, model, boundary and ledger become a scoring function."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.candidates import id_texts
from boundary.facts import Context
from boundary.gate import Gate
from boundary.history import Exposures, History
from boundary.ledger.base import Entry, Ledger, LedgerError
from boundary.policy import Policy
from boundary.shoppers import Customers
from boundary.words import (
    COMPLAINTS,
    GUEST,
    MICROSECONDS_A_DAY,
    MICROSECONDS_A_MINUTE,
    TIER_NAMES,
)
from recsys.answer import Answer, Explanation, Farewell, State, explanation_of, remembered, slate_of
from recsys.asked import EngineError, check, check_surface, id_list, id_text, iso, micros, policy_of, shopper_id
from recsys.beside import Beside
from recsys.bundle import Bundle
from recsys.forgetting import ForgottenError, Mark, scrub
from recsys.memory import exposures_of, remember, spread_out
from recsys.people import copies_of, marks_of
from recsys.privacy import Aliases
from recsys.propose import Proposer, Request
from recsys.reopening import BESIDE, ledger_beside, open_or_down
from recsys.slates import Kept, Slate

__all__ = [
    "Answer",
    "Engine",
    "EngineError",
    "Explanation",
    "Farewell",
    "policy_of",
    "remembered",
]

if TYPE_CHECKING:
    from boundary.taxonomy import Taxonomy
    from recsys.fitting import Step
    from recsys.shop import Choice
    from recsys.updating import News

log = logging.getLogger("cornerstore")
TRIES = 5  # how often a call reads again when another call of the same shopper came between


class Engine:
    """Suggests within the boundary; safe to call from many threads.

    Args:
        bundle: a fitted shop.
        ledger: where exposures are remembered; None remembers nothing and so shows the crowd shelf.
        policy: rules in place of the bundle's own.
        shadow_policy: rules that are tried beside them on every slate; what they would do is counted in ``beside``.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        ledger: Ledger | None,
        policy: Policy | None = None,
        shadow_policy: Policy | None = None,
    ) -> None:
        self.ledger = ledger
        if ledger is not None:
            ledger.keep((policy or bundle.policy).longest_window_days)
        self.beside = None if shadow_policy is None else Beside(shadow_policy)
        self.aliases = Aliases()
        self._changing = threading.RLock()
        self._state = _state(bundle, policy or bundle.policy)

    @classmethod
    def fit(
        cls,
        events: pl.DataFrame | str | Path,
        catalogue: pl.DataFrame | str | Path,
        customers: pl.DataFrame | str | Path | None = None,
        *,
        taxonomy: Taxonomy,
        policy: Policy | str | Path = "default",
        choice: Choice | None = None,
        ledger: str | Ledger | None = None,
        now: dt.datetime | int | None = None,
        seed: int = 7,
        rejects: str | Path | None = None,
        forgotten: str | Path | None = None,
        tell: Step | None = None,
    ) -> Engine:
        """Fit a shop and open it; ``save`` keeps what was fitted.

        Args:
            events: a frame, or the path of a Parquet or CSV file; columns as in ``boundary.tables``.
            catalogue: likewise.
            customers: likewise; without them nobody has agreed to anything, and everybody gets the crowd shelf.
            taxonomy: which categories are sensitive.
            policy: as in ``load``.
            choice: model, settings and weights; see ``recsys.shop.default_choice``.
            ledger: as in ``load``, but none by default: what was not saved stands beside nothing.
            now: events after it are left out; where it is None, the moment after the last one that does not lie
                ahead of the clock.
            seed: of everything random, where no ``choice`` says otherwise.
            rejects: folder for the rows that cannot be used, each with its reason; an event that lies ahead of the
                clock, and of ``now``, is one of them.
            forgotten: the directory of the bundle that this one follows: what its forgotten did before is left out.
            tell: is told what is being done, and how much of it is done.

        Raises:
            TableError: a column is missing, or there are bad rows and no ``rejects`` to keep them in.
            PolicyError: the policy has mistakes.
            ModelError: there is no such model or setting.
        """
        from recsys.shop import checked_shop, default_choice, fit_shop, latest

        moment = None if now is None else micros(now)
        shop = checked_shop(events, catalogue, customers, rejects=rejects, now=moment)
        rules = policy_of(policy)
        bundle = fit_shop(
            shop, taxonomy=taxonomy, policy=rules, choice=choice or default_choice(seed),
            now=latest(shop.events, until=micros(None)) if moment is None else moment, tell=tell,
            forgotten=None if forgotten is None else marks_of(forgotten),
        )  # fmt: skip
        keep = rules.longest_window_days
        engine = cls(bundle, ledger=open_or_down(ledger, keep_days=keep) if isinstance(ledger, str) else ledger)
        engine.warm_up()
        return engine

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        ledger: str | Ledger | None = BESIDE,
        policy: Policy | str | Path | None = None,
        shadow_policy: Policy | str | Path | None = None,
    ) -> Engine:
        """Open a bundle.

        Args:
            path: a bundle's directory, or a registered model, ``models:/cornerstore@champion``.
            ledger: ``sqlite:///file.db``, ``redis://host:port/0``, or a ledger; by default SQLite, ``ledger.db``
                beside the bundle. One that cannot be opened is down: the engine shows the crowd shelf until it can
                be. None remembers nothing and so shows the crowd shelf, as does a registered bundle (``models:/``),
                which stands beside nothing, without a ledger.
            policy: a policy, the name of a shipped one, or a TOML file, in place of the bundle's own.
            shadow_policy: another one that is only counted, in ``engine.beside.counts``.

        Raises:
            BundleError: there is no usable bundle at the path.
            PolicyError: the policy has mistakes.
            LedgerInvalid: the ledger's address is none, or Redis's package is missing.
        """
        bundle = Bundle.load(path)
        rules = None if policy is None else policy_of(policy)
        tried = None if shadow_policy is None else policy_of(shadow_policy)
        if ledger == BESIDE:
            ledger = ledger_beside(path)
        if isinstance(ledger, str):
            ledger = open_or_down(ledger, keep_days=(rules or bundle.policy).longest_window_days)
        engine = cls(bundle, ledger=ledger, policy=rules, shadow_policy=tried)
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
        """Write the bundle, with the policy in force, into a directory; nobody who was forgotten is in it.

        An engine that was fitted and lay nowhere belongs to that directory from then on.
        """
        with self._changing:
            state = self._current()
            place = state.bundle.save(path)
            if state.bundle.path is None:
                self._adopt(replace(state.bundle, path=place.absolute()))
        return place

    def reload(self, path: str | Path | None = None, *, policy: Policy | str | Path | None = None) -> None:
        """Take a new bundle, a new policy or both; no call waits for it, and none mixes old and new."""
        with self._changing:
            bundle = self._current().bundle if path is None else Bundle.load(path)
            kept = self.policy if path is None else bundle.policy
            rules = kept if policy is None else policy_of(policy)
            state = _state(bundle, rules)
            self._warm_up(state)
            if self.ledger is not None:
                self.ledger.keep(rules.longest_window_days)
            self._state = state

    def update(
        self,
        events: pl.DataFrame | str | Path | None = None,
        catalogue: pl.DataFrame | str | Path | None = None,
        customers: pl.DataFrame | str | Path | None = None,
        *,
        now: dt.datetime | int | None = None,
        rejects: str | Path | None = None,
        tell: Step | None = None,
    ) -> News:
        """Take up new events, shoppers and items without training anew; no call waits for it. ``save`` keeps it.

        Args:
            events: new rows, as in ``fit``; those known already are not taken twice.
            catalogue: new items, and known ones that changed.
            customers: new shoppers, and known ones who changed what they agree to.
            now: events after it are left out; where it is None, the moment after the last one, known or new, that
                does not lie ahead of the clock.
            rejects: as in ``fit``.
            tell: as in ``fit``.

        Returns:
            How much there was; see ``recsys.updating.update_bundle`` for what counts at once and what waits for a fit.

        Raises:
            TableError: as in ``fit``.
        """
        from recsys.shop import checked_tables
        from recsys.updating import update_bundle

        moment = None if now is None else micros(now)
        tables = checked_tables(
            {"events": events, "catalogue": catalogue, "customers": customers}, rejects=rejects, now=moment
        )
        with self._changing:
            news = update_bundle(self._current().bundle, now=moment, **tables, step=tell)
            state = _state(news.bundle, self.policy)
            self._warm_up(state)
            self._state = state
        return news

    def warm_up(self) -> None:
        """Compile and touch everything a call needs, so that the first call is as quick as the next."""
        self._warm_up(self._state)

    def _warm_up(self, state: State) -> None:
        users = [user for user in state.bundle.user_ids[:64] if user][:2] or ["somebody"]
        now = int(state.bundle.facts.get("fitted_for", 0))
        for intent in ("browse", "find"):
            request = Request(surface="home", intent=intent, n=3, now=now)
            for block in (users, users[:1]):
                answer = self._answer(state, block, request, exposures=Exposures.empty(len(block)))
                slate_of(state, answer, 0, surface="home", intent=intent, user_id=block[0])

    def score(
        self,
        user_id: str | int | None = None,
        *,
        n: int = 10,
        surface: str = "home",
        intent: str = "browse",
        session: Sequence[str | int] = (),
        within: str | Sequence[str | int] | None = None,
        now: dt.datetime | int | None = None,
        reserve: bool = True,
    ) -> Slate:
        """Suggest at most ``n`` items to one visitor.

        Args:
            user_id: the shopper; None or unknown is a guest. A whole number, here and in other ids, is written out.
            n: slots, at least 0.
            surface: where it is shown: home, product, email, push, ...
            intent: find, discover, deal, research or browse.
            session: ids of items looked at right now; of a guest nothing is stored.
            within: a category, or ids, that the suggestions must come from.
            now: a time with a zone, or microseconds UTC; the clock's where it is None.
            reserve: count the slate as shown until it is confirmed or runs out; see ``shown``.

        Raises:
            EngineError: n is negative, the intent is none of the five, an id neither text nor whole number, or ``now`` has no zone.

        Example:
            ``engine.score("1228", n=10, surface="home", intent="browse").items``
        """
        who = None if user_id is None else id_text(user_id, "user_id")
        part = within if within is None or isinstance(within, str) else id_list(within, "within")
        request = Request(
            surface=surface, intent=intent, n=n, now=micros(now), within=part, sessions=(id_list(session, "session"),)
        )
        check(request)
        return self._serve(who, request, reserve=reserve)

    def serve(
        self,
        user_id: str | int,
        kept: Slate | pl.DataFrame,
        *,
        n: int = 10,
        surface: str = "home",
        intent: str = "browse",
        now: dt.datetime | int | None = None,
        reserve: bool = True,
    ) -> Slate:
        """Show a slate that was made earlier, after judging it again by what holds now.

        Items keep their order; what may no longer be shown is left out and nothing takes its place. To a shopper who
        is a guest by now, forgotten or without consent, the kept slate would still tell of the profile: they get
        what ``score`` gives a guest.

        Args:
            user_id: whose slate it is.
            kept: a slate, or the shopper's rows of a batch's ``slates.parquet``.
            n: slots, at least 0.
            surface: where it is shown.
            intent: as in ``score``.
            now: as in ``score``.
            reserve: as in ``score``.

        Raises:
            EngineError: the slate is somebody else's, a column is missing, or what ``score`` raises.
        """
        who = id_text(user_id, "user_id")
        rows = Kept.of(kept, who)
        if rows is None:
            raise EngineError("`kept` must be a slate of `user_id` alone but holds rows of somebody else")
        request = Request(surface=surface, intent=intent, n=n, now=micros(now))
        check(request)
        return self._serve(who, request, reserve=reserve, kept=rows)

    def _serve(self, user_id: str | None, request: Request, *, reserve: bool, kept: Kept | None = None) -> Slate:
        """Answer a call, and reserve what it shows; who comes between two of its steps makes it begin anew."""
        who, down = user_id or "", False
        for _ in range(TRIES):
            state = self._current()
            answer = self._answer(state, [who], request, read_ledger=not down, kept=kept)
            wanted = reserve and not down and self._remembers(answer, request.surface)
            slate = slate_of(
                state, answer, 0, surface=request.surface, intent=request.intent, user_id=user_id, reserved=wanted
            )
            if not slate.reserved:
                return self._weighed(answer, slate)
            try:
                if self._current() is state and self._reserve(who, slate, request.now, int(answer.turns[0])):
                    return self._weighed(answer, slate)
            except LedgerError as error:
                self._tell_down(error)
                down = True
        state = self._current()
        answer = self._answer(state, [who], request, read_ledger=False, kept=kept)
        slate = slate_of(state, answer, 0, surface=request.surface, intent=request.intent, user_id=user_id)
        return self._weighed(answer, slate)

    def _weighed(self, answer: Answer, slate: Slate) -> Slate:
        """Let the shadow policy decide too, if there is one; the slate stays as it is."""
        if self.beside is not None:
            self.beside.weigh(answer)
        return slate

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

        Raises:
            EngineError: as in ``score``.
            CandidateError: an id is neither text nor a whole number.
        """
        request = Request(surface=surface, intent=intent, n=n, now=micros(now))
        check(request)
        state, user_ids = self._current(), id_texts(user_ids)
        if read_ledger:
            return self._answer(state, user_ids, request)
        return self._answer(state, user_ids, request, exposures=Exposures.empty(len(user_ids)))

    def slates(self, answer: Answer, *, surface: str, intent: str) -> list[Slate]:
        """Put a block's answer into slates, one a user."""
        ids = answer.candidates.user_ids
        return [
            slate_of(answer.state, answer, user, surface=surface, intent=intent, user_id=ids[user])
            for user in range(len(ids))
        ]

    def shown(self, slate: Slate) -> bool:
        """Confirm that a reserved slate was really shown; False where it was released or forgotten meanwhile.

        Raises:
            EngineError: it is no slate.
        """
        if not isinstance(slate, Slate):
            raise EngineError(f"`slate` must be what `score` or `serve` returned but got {slate!r:.80}")
        if self.ledger is None or slate.user_id is None or not slate.reserved:
            return False
        return self.ledger.confirm(slate.user_id, slate.slate_id) > 0

    def feedback(
        self,
        user_id: str | int,
        item_id: str | int | None,
        kind: str,
        *,
        surface: str = "home",
        now: dt.datetime | int | None = None,
    ) -> None:
        """Take what a shopper says: dismiss (an item), too_personal, too_often or too_pushy.

        Raises:
            EngineError: an unknown kind, a dismissal without an item of the catalogue, no surface, or no ledger.
            LedgerError: the ledger could not be written; nothing was taken.
        """
        if kind not in ("dismiss", *COMPLAINTS):
            raise EngineError(f"`kind` must be one of dismiss, {', '.join(COMPLAINTS)} but got {kind!r}")
        who, item = shopper_id(user_id), "" if item_id is None else id_text(item_id, "item_id")
        check_surface(surface)
        if kind == "dismiss" and not item:
            raise EngineError("`item_id` must name what is dismissed but is empty")
        if item and item not in self.gate.catalogue.row_of:
            raise EngineError(f"`item_id` {item!r} is not in the catalogue; look it up in catalogue.parquet")
        if self.ledger is None:
            raise EngineError("there is no ledger to keep feedback in; give Engine.load a `ledger`")
        entry = Entry(kind, item, surface, micros(now), uuid.uuid4().hex, 0, "", confirmed=True)
        for _ in range(TRIES * 20):
            _, turn = self.ledger.read(who, entry.at)
            if self.ledger.append(who, [entry], expected_turn=turn):
                return
        raise LedgerError("the ledger is too busy to take feedback; try again")

    def forget(
        self, user_id: str | int, *, now: dt.datetime | int | None = None, slates: Sequence[str | Path] = ()
    ) -> Farewell:
        """Remove what is kept of a shopper: events, customer row, ledger entries, feedback, slates of batches.

        The bundle on disk changes first, then this engine, then the ledger, then the slates; other engines on the same
        directory follow at their next call. Whatever fails, the call may be repeated. Item factors have learned from
        the shopper until the next fit; it is due by ``retrain_by`` and leaves the shopper's events of before out. A
        bundle that was saved elsewhere too is another shop's: forget there as well.

        Args:
            user_id: whom.
            now: as in ``score``.
            slates: Parquet files, or folders of them, that hold slates besides those of this bundle's batches.

        Raises:
            EngineError: the id is empty or no Unicode, or a file of slates cannot be read; all the rest is gone.
            LedgerError: the ledger is down; the events are gone, the rest still stands: forget again.
        """
        who = shopper_id(user_id)
        moment = micros(now)
        mark = Mark(moment, moment + int(self.policy.ledger.retrain_days * MICROSECONDS_A_DAY))
        with self._changing:
            bundle, events = self.bundle.forget(who, mark)
            self._adopt(bundle)
        told = bundle.forgotten.find(who)
        exposures = 0 if self.ledger is None else self.ledger.forget(who)
        try:
            rows = scrub([*slates, *(copies_of(bundle.path) if bundle.path else ())], who)
        except ForgottenError as error:
            raise EngineError(f"slates may still name the shopper: {error}") from error
        log.info("forgot shopper %s: %d events, %d exposures", self.aliases.of(who, now=moment), events, exposures)
        return Farewell(events, exposures, rows, None if told is None else told.retrain_by)

    def status(self, *, now: dt.datetime | int | None = None) -> dict[str, Any]:
        """Return what the engine runs on: bundle, policy, ledger, and who was forgotten as numbers only.

        ``retrain_by`` is when a new fit is due, ISO 8601, None where nobody waits for one; ``overdue`` says whether
        that moment is over.
        """
        state, moment = self._current(), micros(now)
        forgotten = state.bundle.forgotten
        due = forgotten.retrain_by
        return {
            "bundle": None if state.bundle.path is None else str(state.bundle.path),
            "facts": _readable(state.bundle.facts),
            "policy": {"name": state.policy.name, "digest": state.policy.digest},
            "ledger": self._ledger_state(moment),
            "beside": None if self.beside is None else {"digest": self.beside.policy.digest, **self.beside.counts},
            "forgotten": {
                "count": len(forgotten),
                "waiting": forgotten.waiting,
                "retrain_by": None if due is None else iso(due),
                "overdue": due is not None and due < moment,
            },
        }

    def _ledger_state(self, now: int) -> dict[str, Any]:
        if self.ledger is None:
            return {"up": False, "error": "there is none"}
        try:
            self.ledger.read("nobody", now)
        except LedgerError as error:
            return {"up": False, "error": str(error)}
        return {"up": True, "error": None}

    def explain(
        self,
        user_id: str | int,
        item_id: str | int,
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
        who, item, state = id_text(user_id, "user_id"), id_text(item_id, "item_id"), self._current()
        row = state.gate.catalogue.row_of.get(item)
        if row is None:
            raise EngineError(f"`item_id` {item_id!r} is not in the catalogue; look it up in catalogue.parquet")
        request = Request(surface=surface, intent=intent, n=n, now=micros(now), also=row)
        check(request)
        answer = self._answer(state, [who], request)
        return explanation_of(answer, row, who, item)

    def _answer(
        self,
        state: State,
        user_ids: Sequence[str],
        request: Request,
        *,
        read_ledger: bool = True,
        exposures: Exposures | None = None,
        kept: Kept | None = None,
    ) -> Answer:
        """Score a block: everything that is ever shown goes through here, and so through ``screen``."""
        bundle, users = state.bundle, len(user_ids)
        rows = np.fromiter((bundle.user_row.get(user, -1) for user in user_ids), np.int64, users)
        if users == 1 and rows[0] < 0:
            history, customers = History.empty(1), Customers.strangers(1)
        else:
            history, customers = bundle.history.take(rows), bundle.customers.take(rows)
        turns = np.zeros(users, np.int64)
        if exposures is None and read_ledger:
            exposures, turns = self._exposures(state, user_ids, rows >= 0, request.now)
        shoppers = state.gate.meet(customers, history, exposures, now=request.now)
        if kept is not None and shoppers.tier[0] != GUEST:
            candidates, spoke = state.proposer.again(user_ids, history, shoppers, request, kept)
        else:
            candidates, history, spoke = state.proposer.propose(user_ids, history, shoppers, request)
        context = Context(request.surface, request.intent, request.n, request.now)
        verdict = state.gate.screen(
            candidates, shoppers=shoppers, history=history, exposures=exposures, context=context
        )
        return Answer(state, verdict, shoppers, history, spoke, exposures, turns)

    def _exposures(
        self, state: State, user_ids: Sequence[str], known: npt.NDArray[np.bool_], now: int
    ) -> tuple[Exposures | None, npt.NDArray[np.int64]]:
        """Read what the users were shown; None where the ledger cannot tell. Of who is not known nothing is asked."""
        users = len(user_ids)
        turns = np.zeros(users, np.int64)
        if self.ledger is None:
            return None, turns
        if not np.count_nonzero(known):
            return Exposures.empty(users), turns
        since = max(now - int(state.policy.longest_window_days * MICROSECONDS_A_DAY), 0)
        released = now - int(state.policy.ledger.release_minutes * MICROSECONDS_A_MINUTE)
        rows = state.gate.catalogue.row_of
        try:
            asked = [user for user, one in zip(user_ids, known.tolist(), strict=True) if one]
            snapshot = self.ledger.read_block(asked, since)
        except LedgerError as error:
            self._tell_down(error)
            return None, turns
        turns[known] = snapshot.turns
        return spread_out(exposures_of(snapshot, rows, released=released), known), turns

    def _tell_down(self, error: LedgerError) -> None:
        log.warning("ledger is down, serving the crowd shelf: %s", type(error).__name__)

    def _current(self) -> State:
        """Return the state in force, after following what another engine forgot on disk."""
        state = self._state
        if state.bundle.path is None or state.bundle.mark == state.bundle.seen:
            return state
        with self._changing:
            state = self._state
            if state.bundle.mark != state.bundle.seen:
                try:
                    self._adopt(state.bundle.followed())
                except (OSError, ValueError, KeyError, RuntimeError) as error:
                    log.warning("the bundle on disk cannot be followed: %s", type(error).__name__)
            return self._state

    def _adopt(self, bundle: Bundle) -> None:
        """Go on with a bundle of the same items."""
        state = self._state
        proposer = Proposer(bundle, state.gate)
        self._state = State(bundle, state.policy, state.gate, proposer)

    def _remembers(self, answer: Answer, surface: str) -> bool:
        if self.ledger is None or answer.exposures is None:
            return False
        return bool(remembered(answer, surface)[0])

    def _reserve(self, user_id: str, slate: Slate, now: int, turn: int) -> bool:
        assert self.ledger is not None  # noqa: S101 (``_remembers`` looked)
        return self.ledger.append(user_id, remember(slate, now), expected_turn=turn)


def _readable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle's facts with moments as ISO 8601 tells them and tiers by name; who is forgotten stands elsewhere."""
    told = {
        name: iso(value) if name.endswith("_for") else value for name, value in facts.items() if name != "forgotten"
    }
    return told | ({"tiers": dict(zip(TIER_NAMES, facts["tiers"], strict=True))} if "tiers" in facts else {})


def _state(bundle: Bundle, policy: Policy) -> State:
    bundle = bundle.under(policy)
    gate = Gate(bundle.catalogue, policy)
    return State(bundle, policy, gate, Proposer(bundle, gate))
