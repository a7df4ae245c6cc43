"""From a block of shoppers to ranked candidates: evidence through the first door, vectors, best items, traces."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from boundary.candidates import Candidates
from boundary.history import History
from boundary.rules.conversion import PromotedGap, PromotedLead
from boundary.words import GUEST, MICROSECONDS_A_DAY, PURCHASE, SOURCE_NAMES, Source, Tier
from recsys.compose import compose, explore_draws, taken_from, user_seed
from recsys.compose.kernel import measure, space_out
from recsys.evidence import evidence_of, stored
from recsys.models import TopK, Trace, kernel
from recsys.repeats import HALF_LIFE, repeats

if TYPE_CHECKING:
    from boundary.gate import Gate
    from boundary.shoppers import Shoppers
    from recsys.bundle import Bundle
    from recsys.interactions import Weighing
    from recsys.slates import Kept

log = logging.getLogger("cornerstore")
Floats = npt.NDArray[np.float32]
DEPTH, DEPTH_A_SLOT = 50, 5  # personal candidates: a floor, and how many for each slot asked for
SHELF, SHELF_A_SLOT = 100, 5  # candidates from the crowd shelf, likewise
SLOTS_A_DRAW = 10  # one item is explored for as many slots
GESTURE_DAYS = 5  # one day in so many a gesture comes forward; no day of the week is always or never that day


@dataclass(frozen=True)
class Request:
    """What is asked for a block of users.

    Attributes:
        surface, intent, n, now: as in ``boundary.facts.Context``.
        within: a category, or item ids; None is the whole catalogue.
        sessions: for each user the ids of items looked at right now; () is none for anybody.
        also: an item row that is proposed to everybody whatever its rank, for explaining it.
    """

    surface: str
    intent: str
    n: int
    now: int
    within: str | Sequence[str] | None = None
    sessions: tuple[tuple[str, ...], ...] = ()
    also: int | None = None


class Proposer:
    """Proposes for one bundle under one policy; everything it returns still has to pass ``screen``."""

    def __init__(self, bundle: Bundle, gate: Gate) -> None:
        self.bundle = bundle
        self.gate = gate
        self.catalogue = gate.catalogue
        self._category = lru_cache(maxsize=256)(self._in_category)
        self._spacing = lru_cache(maxsize=256)(self._spaces)

    @cached_property
    def gestures(self) -> npt.NDArray[np.int32]:
        """Item rows that are not for sale."""
        return np.flatnonzero(self.catalogue.gesture).astype(np.int32)

    @cached_property
    def products(self) -> npt.NDArray[np.bool_]:
        """(I,) what the model may propose."""
        products = ~self.catalogue.gesture
        products.flags.writeable = False  # the model knows the mask again without reading it
        return products

    def propose(
        self, user_ids: Sequence[str], history: History, shoppers: Shoppers, request: Request
    ) -> tuple[Candidates, History, npt.NDArray[np.bool_]]:
        """Return the block's candidates, the history they rest on, own and of sessions, and which of it may speak."""
        history, from_session = self._with_sessions(history, request)
        mask = self.gate.admit(history, shoppers, now=request.now).mask
        bought = self._bought(history, shoppers)
        seen = bought
        if from_session is not None:
            mask |= from_session & self._session_mask(history)
            seen = bought | from_session
        within = self._within(request.within)
        taken = stored(history, items=self.catalogue.items, mask=seen)
        try:
            own = taken
            if request.intent == "find" and from_session is not None:
                repeatable = bought & ~_alike(history, from_session)  # what is on the screen is no repeat
                own = stored(history, items=self.catalogue.items, mask=repeatable)
            personal = self._personal(user_ids, history, mask, from_session, own, shoppers, request, within)
        except Exception as error:  # noqa: BLE001 (whatever it is, nothing personal is shown)
            _tell_failure(error)
            personal = _broken(user_ids)
        shelf, explore = self.bundle.crowd, self.bundle.explore
        hidden = taken_from(self._place_on_shelf, len(shelf), taken)
        if within is not None:
            on_shelf = np.flatnonzero(within[shelf])
            shelf, hidden, explore = shelf[on_shelf], hidden.take(on_shelf, axis=1), explore[within[explore]]
        length = max(SHELF, SHELF_A_SLOT * request.n)
        seeds = np.fromiter((user_seed(user) for user in user_ids), np.uint64, len(user_ids))
        drawn, chance = explore_draws(explore, seeds, draws=-(-request.n // SLOTS_A_DRAW), now=request.now)
        gesture, forward = self._gesture(request)
        block = compose(
            user_ids,
            personal,
            crowd=shelf[:length],
            explore=drawn,
            propensity=chance,
            gestures=gesture,
            forward=forward,
            guest=shoppers.tier == GUEST,
            hidden=hidden,
        )
        if request.also is not None and not (block.item_row == request.also).any():
            block = _unproposed(block, request.also)
        return block, history, mask

    def again(
        self, user_ids: Sequence[str], history: History, shoppers: Shoppers, request: Request, kept: Kept
    ) -> tuple[Candidates, npt.NDArray[np.bool_]]:
        """Return one user's kept items as candidates, in their order, measured by what is known of the user now.

        Returns also which events of the history may speak.

        An item whose source can no longer be made true is no candidate: its score is NaN, and the guard withholds it.
        """
        mask = self.gate.admit(history, shoppers, now=request.now).mask
        items, model = self.catalogue.items, self.bundle.model
        rows = np.fromiter((self.catalogue.row_of.get(item, -1) for item in kept.item_ids), np.int32)
        words = {name: code for code, name in enumerate(SOURCE_NAMES)}
        source = np.fromiter((words.get(word, len(words)) for word in kept.sources), np.uint8)
        score = np.full(len(rows), np.nan, np.float32)
        for code, pool in (
            (Source.CROWD, self.bundle.crowd),
            (Source.EXPLORE, self.bundle.explore),
            (Source.GESTURE, self.gestures),
        ):
            score[(source == code) & np.isin(rows, pool)] = 0
        close, share = np.full(len(rows), np.nan, np.float32), np.full(len(rows), np.nan, np.float32)
        past = np.full(len(rows), -1, np.int32)
        own = np.flatnonzero((source == Source.PERSONAL) & (rows >= 0))
        evidence = evidence_of(history, self.bundle.weighing, items=items, now=request.now, mask=mask)
        if len(own) and evidence.nnz:
            try:
                plain, systems = model.solved(evidence)
                vectors = self._blinded(plain)
                scores = model.scores(evidence, np.zeros(len(own), np.int32), rows[own], vectors=vectors)
                best = TopK(np.array([0, len(own)], np.int64), rows[own], scores)
                found = self._measured(user_ids, best, evidence, shoppers, request, systems)
                score[own], close[own] = found.score, found.closeness
                share[own], past[own] = found.trace_share, found.evidence_row
            except Exception as error:  # noqa: BLE001 (whatever it is, nothing personal is shown)
                _tell_failure(error)
        return Candidates.of(
            user_ids, [0, len(rows)], item_row=rows, score=score, source=source, closeness=close, trace_share=share,
            evidence_row=past,
        ), mask  # fmt: skip

    def _gesture(self, request: Request) -> tuple[npt.NDArray[np.int32], bool]:
        """Return the gesture of these days, and whether today it comes forward: one day in ``GESTURE_DAYS``.

        On other days it comes last, for a list that would be short. Those with strings attached have no turn while
        there are others; all is the same for everybody.
        """
        if request.also is not None and self.catalogue.gesture[request.also]:
            return np.array([request.also], np.int32), False
        today = request.now // MICROSECONDS_A_DAY
        place = today // GESTURE_DAYS % max(len(self._in_turn), 1)
        return self._in_turn[place : place + 1], today % GESTURE_DAYS == 0

    @cached_property
    def _in_turn(self) -> npt.NDArray[np.int32]:
        """Gestures that take turns: those that no rule about items withholds, or all where there is none of them."""
        free = self.gestures[self.gate.item_mask("gesture")[self.gestures]]
        return free if len(free) else self.gestures

    @cached_property
    def _habits(self) -> Weighing:
        """How events weigh in a list of repeats."""
        return replace(self.bundle.weighing, half_life=HALF_LIFE)

    @cached_property
    def _place_on_shelf(self) -> npt.NDArray[np.int32]:
        """(I,) place on the crowd shelf, -1 for what is not on it."""
        place = np.full(self.catalogue.items, -1, np.int32)
        place[self.bundle.crowd] = np.arange(len(self.bundle.crowd), dtype=np.int32)
        return place

    def _with_sessions(self, history: History, request: Request) -> tuple[History, npt.NDArray[np.bool_] | None]:
        """Add what each user looks at right now as views at ``now``; with which events are such, None where none."""
        rows = [
            [self.catalogue.row_of[item] for item in dict.fromkeys(items) if item in self.catalogue.row_of]
            for items in request.sessions
        ]
        if not any(rows):
            return history, None
        return history.with_views(rows, at=request.now)

    def _session_mask(self, history: History) -> npt.NDArray[np.bool_]:
        """What is looked at right now may speak for this one call, unless it is sensitive or unknown."""
        return self.catalogue.speakable[history.item_row] if self.catalogue.items else np.zeros(len(history.at), bool)

    def _personal(
        self,
        user_ids: Sequence[str],
        history: History,
        mask: npt.NDArray[np.bool_],
        from_session: npt.NDArray[np.bool_] | None,
        bought: csr_matrix,
        shoppers: Shoppers,
        request: Request,
        within: npt.NDArray[np.bool_] | None,
    ) -> Candidates:
        items, model = self.catalogue.items, self.bundle.model
        weighing = self._habits if request.intent == "find" else self.bundle.weighing
        evidence = evidence_of(history, weighing, items=items, now=request.now, mask=mask, fresh=from_session)
        if not items or not evidence.nnz:
            return _nothing(user_ids)
        plain, systems = self.bundle.model.solved(evidence)
        vectors = self._blinded(plain)
        open_to = self.products if within is None else self.products & within
        best = self._best(evidence, bought, vectors, open_to, request)
        if request.also is not None and not self.catalogue.gesture[request.also]:
            best = _also(model, evidence, vectors, best, request.also)
        return self._measured(user_ids, best, evidence, shoppers, request, systems)

    def _blinded(self, vectors: Floats | None) -> Floats | None:
        """Return the user vectors, (U, d), blinded; the same numbers for a user alone and in a block."""
        if vectors is None or self.bundle.blindfold is None:
            return vectors
        blinded = np.empty_like(vectors)
        kernel.blind(*self._blindfold, vectors, blinded)
        return blinded

    @cached_property
    def _blindfold(self) -> tuple[Floats, Floats]:
        """The blindfold as the compiler likes it."""
        assert self.bundle.blindfold is not None  # noqa: S101 (``_vectors`` looked)
        matrix, offset = self.bundle.blindfold.matrix, self.bundle.blindfold.offset
        return np.ascontiguousarray(matrix, np.float32), np.ascontiguousarray(offset, np.float32)

    def _measured(
        self,
        user_ids: Sequence[str],
        best: TopK,
        evidence: csr_matrix,
        shoppers: Shoppers,
        request: Request,
        systems: Floats | None,
    ) -> Candidates:
        """Say of each item how close it comes and what of the evidence carries it."""
        model, blind = self.bundle.model, self.bundle.blindfold
        score, size = best.score, len(best.score)
        close, source = np.empty(size, np.float32), np.empty(size, np.uint8)
        measure(best.offsets, best.item_row, score, *self.bundle.moments, shoppers.tier, close, source)
        trace = (
            Trace(np.ones(len(score), np.float32), best.item_row)  # what is bought again speaks for itself
            if request.intent == "find"
            else model.trace(evidence, best.offsets, best.item_row, blind=blind, systems=systems)
        )
        chance = np.full(size, np.nan, np.float32)
        return Candidates(
            user_ids, best.offsets, best.item_row, score, source, close, trace.share, trace.evidence_row, chance
        )

    def _best(
        self,
        evidence: csr_matrix,
        bought: csr_matrix,
        vectors: Floats | None,
        open_to: npt.NDArray[np.bool_],
        request: Request,
    ) -> TopK:
        """Rank: what was never bought, or for ``find`` only what was; for ``deal`` what is promoted comes first.

        Else what is promoted neither leads nor crowds: it would be withheld there, and lost to the slate, where a few
        places further down it may stand.
        """
        model, depth = self.bundle.model, max(DEPTH, DEPTH_A_SLOT * request.n)
        if request.intent == "find":
            return repeats(bought, evidence, depth, open_to, habit=self.bundle.usual)
        best = model.top(evidence, k=depth, exclude=bought, within=open_to, vectors=vectors)
        if request.intent == "deal":
            deals = model.top(
                evidence, k=depth, exclude=bought, within=open_to & self.catalogue.promoted, vectors=vectors
            )
            return _first(deals, best)
        lead, gap = self._spacing(*self.gate.policy.place(request.surface, request.intent))
        space_out(best.offsets, self.catalogue.promoted, lead, gap, best.item_row, best.score)
        return best

    def _spaces(self, surface: str, intent: str) -> tuple[int, int]:
        """Return how many slots the policy wants there before a promoted one and between two, of whichever tier."""
        tiers = (self.gate.policy.rules_for(surface=surface, intent=intent, tier=tier) for tier in Tier)
        rules = [rule for found in tiers for rule in found.values() if rule.enforce == "enforce"]
        gap = max((rule.slots for rule in rules if isinstance(rule, PromotedGap)), default=0)
        return int(any(isinstance(rule, PromotedLead) for rule in rules)), gap

    def _bought(self, history: History, shoppers: Shoppers) -> npt.NDArray[np.bool_]:
        """Purchases that may be known of: none of a guest's."""
        bought: npt.NDArray[np.bool_] = history.kind == PURCHASE
        guest = shoppers.tier == GUEST
        if np.count_nonzero(guest):
            bought &= ~guest[history.user_row]
        return bought

    def _within(self, within: str | Sequence[str] | None) -> npt.NDArray[np.bool_] | None:
        if within is None:
            return None
        if isinstance(within, str):
            return self._category(within)
        mask = np.zeros(self.catalogue.items, bool)
        mask[[self.catalogue.row_of[item] for item in within if item in self.catalogue.row_of]] = True
        return mask

    def _in_category(self, name: str) -> npt.NDArray[np.bool_]:
        names = self.catalogue.category_names
        code = names.index(name) if name in names else -2
        return np.asarray(self.catalogue.category == code)


def _alike(history: History, some: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which events, (E,), are of the same user and item as one of ``some``."""
    pairs = history.user_row << 32 | history.item_row
    return np.isin(pairs, pairs[some])


def _first(first: TopK, rest: TopK) -> TopK:
    """Put one ranking before another, each item once."""
    users = len(first.offsets) - 1
    rows, scores, widths = [], [], np.zeros(users, np.int64)
    for user in range(users):
        a, b = slice(*first.offsets[user : user + 2]), slice(*rest.offsets[user : user + 2])
        new = ~np.isin(rest.item_row[b], first.item_row[a])
        rows.append(np.concatenate([first.item_row[a], rest.item_row[b][new]]))
        scores.append(np.concatenate([first.score[a], rest.score[b][new]]))
        widths[user] = len(rows[-1])
    return TopK(
        np.concatenate([[0], np.cumsum(widths)]).astype(np.int64),
        np.concatenate(rows),
        np.concatenate(scores),
    )


def _also(model: object, evidence: csr_matrix, vectors: Floats | None, best: TopK, row: int) -> TopK:
    """Append an item to the lists in which it is not."""
    users = len(best.offsets) - 1
    scores = model.scores(  # type: ignore[attr-defined]
        evidence, np.arange(users, dtype=np.int32), np.full(users, row, np.int32), vectors=vectors
    )
    one = TopK(np.arange(users + 1, dtype=np.int64), np.full(users, row, np.int32), scores)
    return _first(best, one)


def _unproposed(block: Candidates, row: int) -> Candidates:
    """Append to one user's list an item that nothing speaks for, so that what withholds it can be told."""
    more = Candidates.of(block.user_ids, [0, 1], item_row=[row], score=[-block.rows])
    columns = {
        f.name: np.concatenate([getattr(block, f.name), getattr(more, f.name)])
        for f in fields(block)
        if f.name not in {"user_ids", "offsets", "user_row"}
    }
    return Candidates(block.user_ids, np.array([0, block.rows + 1], np.int64), **columns)


def _tell_failure(error: Exception) -> None:
    """Log what failed and where, but not its text: that may name a shopper."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("the recommender failed (%s): nothing personal is proposed\n%s", type(error).__name__, where)


def _nothing(user_ids: Sequence[str]) -> Candidates:
    return Candidates.of(user_ids, np.zeros(len(user_ids) + 1), item_row=[], score=[])


def _broken(user_ids: Sequence[str]) -> Candidates:
    """Return one row a user that no guard lets through, so that the failure is counted."""
    users = len(user_ids)
    return Candidates.of(user_ids, np.arange(users + 1), item_row=np.full(users, -1), score=np.full(users, np.nan))
