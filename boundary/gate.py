"""The two doors: ``admit`` decides which events may become evidence, ``screen`` which candidates may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary.candidates import CandidateError
from boundary.facts import Context, Facts, check_now
from boundary.judge import RowBits
from boundary.past import kernel
from boundary.plan import ItemLines, Plan, placed
from boundary.rules.base import Flags, Rule
from boundary.shoppers import PERSONALISE, Shoppers
from boundary.verdict import Verdict
from boundary.words import KIND_NAMES, MICROSECONDS_A_DAY, SOURCE_NAMES, Tier

if TYPE_CHECKING:
    from boundary.candidates import Candidates
    from boundary.catalogue import Catalogue
    from boundary.history import Exposures, History
    from boundary.policy import Policy
    from boundary.shoppers import Customers

MOST_LINES = 8  # answers about the whole catalogue that are kept


@dataclass(frozen=True)
class Admission:
    """Which events may become evidence: ``mask`` (E,), and how many were turned away for which reason."""

    mask: Flags
    counts: dict[str, int]


class Gate:
    """Both doors for one catalogue and one policy; what depends on items alone is judged once.

    Args:
        catalogue: the shop's items.
        policy: the rules.
    """

    def __init__(self, catalogue: Catalogue, policy: Policy) -> None:
        self.catalogue = catalogue
        self.policy = policy
        self._plans: dict[tuple[str, str, Tier, bool], Plan] = {}
        self._item_lines: dict[frozenset[Rule], ItemLines] = {}

    def meet(self, customers: Customers, history: History, exposures: Exposures | None, *, now: int) -> Shoppers:
        """Compute who the shoppers of a block are to the shop; see ``boundary.shoppers.Shoppers.meet``."""
        check_now(now)
        _same_users(len(customers.known), history=history, exposures=exposures)
        return Shoppers.meet(
            customers, history, exposures, needs=self.policy.needs, feedback=self.policy.feedback, now=now
        )

    def admit(self, history: History, shoppers: Shoppers, *, now: int) -> Admission:
        """Decide which of a block's events may be remembered as evidence.

        What is turned away: events with what the shop does not know or cannot place in time (``unknown``), sensitive
        items and, where the policy says so, their proxies, unless the shopper opted in; events of who did not agree or
        opted out; events older than the tier's retention (``stale``); kinds of event that are none of the tier's
        (``disproportionate``). An event counts for each of its reasons.

        Args:
            history: events of U users.
            shoppers: (U,) from ``meet``.
            now: microseconds UTC.

        Raises:
            CandidateError: history and shoppers are of different numbers of users.
        """
        check_now(now)
        _same_users(shoppers.users, history=history)
        customers, things = shoppers.customers, self.catalogue
        mask, counts = np.empty(len(history.at), bool), np.zeros(len(kernel.ADMITTED), np.int64)
        kernel.admit(
            history.offsets, history.item_row, history.kind, history.at, now, things.unclassified, *self._telling,
            customers.optin_bits, shoppers.tier, customers.agreed_to(PERSONALISE), customers.opted_out, *self._terms,
            mask, counts,
        )  # fmt: skip
        told = zip(kernel.ADMITTED, counts.tolist(), strict=True)
        return Admission(mask, {reason: count for reason, count in told if count})

    @cached_property
    def _telling(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """The sensitive families, (I,), that events with an item may not tell of: as its own, and as their proxy."""
        things, terms = self.catalogue, self.policy.admit
        nothing = np.zeros(things.items, np.uint32)
        proxies = nothing
        if terms.proxy_z is not None:
            unlearned = np.isnan(things.proxy_lift) | np.isnan(things.proxy_z)
            told = unlearned | ((things.proxy_lift >= terms.proxy_lift) & (things.proxy_z >= terms.proxy_z))
            proxies = (told.T << np.arange(len(told), dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
        return (things.family_bits if terms.sensitive == "enforce" else nothing), proxies

    @cached_property
    def _terms(self) -> tuple[npt.NDArray[np.float64], Flags]:
        """How long each tier's events may be remembered, (tiers,) microseconds, and of which kinds, (tiers, kinds)."""
        terms = [self.policy.tiers[tier] for tier in Tier]
        retention = np.array([one.retention_days for one in terms], np.float64) * MICROSECONDS_A_DAY
        return retention, np.array([[kind in one.evidence for kind in KIND_NAMES] for one in terms])

    def screen(
        self,
        candidates: Candidates,
        *,
        shoppers: Shoppers,
        history: History,
        exposures: Exposures | None,
        context: Context,
    ) -> Verdict:
        """Decide which candidates of a block may be shown.

        Args:
            candidates: ranked rows of U users, from any recommender.
            shoppers: (U,) from ``meet``.
            history: (U,) all their events, admitted as evidence or not.
            exposures: (U,) what they were shown; None where the ledger is down.
            context: surface, intent, slots and time.

        Raises:
            CandidateError: the parts are of different numbers of users.
        """
        _same_users(candidates.users, shoppers=shoppers, history=history, exposures=exposures)

        facts = Facts(context, self.catalogue, shoppers, candidates, history=history, exposures=exposures)
        rows, kept = RowBits.blank(candidates.rows), np.zeros(candidates.rows, bool)
        opted_in = facts.optin_bits != 0
        for tier, asked in sorted(set(zip(shoppers.tier.tolist(), opted_in.tolist(), strict=True))):
            users = np.flatnonzero((shoppers.tier == tier) & (opted_in == asked))
            self._plan(context, Tier(tier), opted_in=asked).judge(facts, users, rows, kept)
        return Verdict(
            candidates, self.catalogue.item_ids, context, kept, rows.enforced, rows.shadowed, self.policy.digest
        )

    def item_mask(self, source: str, *, surface: str = "", intent: str = "browse") -> Flags:
        """Return the items, (I,), that no rule about items alone withholds from a source, for a regular shopper."""
        rules = self.policy.rules_for(surface=surface, intent=intent, tier=Tier.REGULAR)
        enforced = frozenset(rule for rule in rules.values() if rule.enforce == "enforce" and rule.grain == "item")
        lines, place = self._lines(enforced), SOURCE_NAMES.index(source)
        if any(source in one.rule.sources for one in lines.left):
            return np.zeros(self.catalogue.items, bool)
        open_to: Flags = (lines.bits[place] == 0)[lines.item_class] & self.catalogue.speakable
        return open_to

    def _plan(self, context: Context, tier: Tier, *, opted_in: bool) -> Plan:
        """Return the plan of a place for shoppers of one tier; there are as many as places that the policy names."""
        key = (*self.policy.place(context.surface, context.intent), tier, opted_in)
        if key not in self._plans:
            rules = self.policy.rules_for(surface=context.surface, intent=context.intent, tier=tier)
            self._plans[key] = Plan(rules.values(), self._lines, opted_in=opted_in)
        return self._plans[key]

    def _lines(self, rules: frozenset[Rule]) -> ItemLines:
        """Return what rules about items say of the catalogue; the last few answers are kept."""
        if rules not in self._item_lines:
            while len(self._item_lines) >= MOST_LINES:
                self._item_lines.pop(next(iter(self._item_lines)), None)
            self._item_lines[rules] = ItemLines(self.catalogue, [placed(rule) for rule in rules])
        return self._item_lines[rules]


def _same_users(users: int, **parts: Shoppers | History | Exposures | None) -> None:
    for name, part in parts.items():
        if part is not None and part.users != users:
            raise CandidateError(f"{name} must be of the block's {users} users but is of {part.users}")
