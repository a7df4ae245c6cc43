"""The two doors: ``admit`` decides which events may become evidence, ``screen`` which candidates may be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.facts import Context, Facts, ItemFacts
from boundary.rules import BIT
from boundary.rules.base import Flags, Quota, Rule
from boundary.rules.guard import GUARDS, RULE_ERROR, SLATE_FULL
from boundary.shoppers import PERSONALISE, Shoppers
from boundary.verdict import Verdict
from boundary.words import KIND_NAMES, MICROSECONDS_A_DAY, SOURCE_NAMES, Tier

if TYPE_CHECKING:
    from boundary.candidates import Candidates
    from boundary.catalogue import Catalogue
    from boundary.history import Exposures, History
    from boundary.policy import Policy
    from boundary.shoppers import Customers

Bits = npt.NDArray[np.uint64]
ROWS_AT_ONCE = 1 << 16  # a block's rows are judged in pieces that stay in the cache


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
        self._items = ItemFacts(catalogue)
        self._item_bits: dict[tuple[Rule, ...], npt.NDArray[np.uint64] | None] = {}

    def meet(
        self, customers: Customers, history: History, exposures: Exposures | None, *, now: int
    ) -> Shoppers:
        """Compute who the shoppers of a block are to the shop; see ``boundary.shoppers.Shoppers.meet``."""
        return Shoppers.meet(customers, history, exposures, policy=self.policy, now=now)

    def admit(self, history: History, shoppers: Shoppers, *, now: int) -> Admission:
        """Decide which of a block's events may be remembered as evidence.

        Args:
            history: events of U users.
            shoppers: (U,) from ``meet``.
            now: microseconds UTC.
        """
        customers, tiers = shoppers.customers, shoppers.tier
        mask = np.ones(len(history.at), bool)
        counts: dict[str, int] = {}
        owner, terms = history.user_row, self.policy.admit

        def turn_away(reason: str, which: Flags) -> None:
            found = int(np.count_nonzero(which))
            if found:
                counts[reason] = counts.get(reason, 0) + found
                np.logical_and(mask, ~which, out=mask)

        known = (history.item_row >= 0) & (history.item_row < self.catalogue.items)
        turn_away("unknown", ~known)
        if self.catalogue.items:
            item = np.where(known, history.item_row, 0)
            turn_away("unknown", known & self.catalogue.unclassified[item])
            if terms.sensitive == "enforce":
                asked = customers.optin_bits[owner] if customers.optin_bits.any() else np.uint32(0)
                turn_away("sensitive_category", known & ((self.catalogue.family_bits[item] & ~asked) != 0))
            if terms.proxy_z is not None:
                speaks = (self.catalogue.proxy_lift >= terms.proxy_lift) & (self.catalogue.proxy_z >= terms.proxy_z)
                turn_away("sensitive_proxy", known & speaks.any(axis=0)[item])
        turn_away("no_consent", ~customers.agreed_to(PERSONALISE)[owner])
        turn_away("opted_out", customers.opted_out[owner])
        retention = np.array([self.policy.tiers[tier].retention_days for tier in Tier]) * MICROSECONDS_A_DAY
        turn_away("stale", now - history.at > retention[tiers][owner])
        allowed = np.array([[kind in self.policy.tiers[tier].evidence for kind in KIND_NAMES] for tier in Tier])
        turn_away("disproportionate", ~allowed[tiers[owner], history.kind])
        return Admission(mask, counts)

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
        """
        kept, enforced, shadowed = _blank(candidates.rows)
        pieces = _pieces(candidates, shoppers.tier)
        for users, rows in pieces:
            whole = len(pieces) == 1
            facts = Facts(
                context,
                self.catalogue,
                shoppers if whole else shoppers.take(users),
                candidates if whole else candidates.take(users),
                history=history if whole else history.take(users),
                exposures=exposures if whole or exposures is None else exposures.take(users),
            )
            kept[rows], enforced[rows], shadowed[rows] = self._judge(facts)
        return Verdict(
            candidates, self.catalogue.item_ids, context, kept, enforced, shadowed, self.policy.digest
        )

    def item_mask(self, source: str, *, surface: str = "", intent: str = "browse") -> Flags:
        """Return the items, (I,), that no rule about items alone withholds from a source, for a regular shopper."""
        rules = self.policy.rules_for(surface=surface, intent=intent, tier=Tier.REGULAR)
        judged = tuple(
            rule for rule in rules.values()
            if rule.enforce == "enforce" and source in rule.sources and rule.grain == "item"
        )  # fmt: skip
        bits = self._bits_of_items(judged)
        if bits is None:
            return np.zeros(self.catalogue.items, bool)
        open_to: Flags = (bits == 0) & ~self.catalogue.unclassified & (self.catalogue.family_bits == 0)
        return open_to

    def _judge(self, facts: Facts) -> tuple[Flags, Bits, Bits]:
        """Judge the rows of shoppers of one tier: row rules first, then the quotas down each list."""
        kept, enforced, shadowed = _blank(facts.size)
        for reason, guard in GUARDS.items():
            _mark(enforced, guard(facts), BIT[reason])
        if not facts.size:
            return kept, enforced, shadowed
        context = facts.context
        tier = Tier(int(facts.shoppers.tier[0]))
        rules = self.policy.rules_for(surface=context.surface, intent=context.intent, tier=tier)
        live = list(dict.fromkeys(rule for rule in rules.values() if rule.enforce != "off"))
        covered: dict[tuple[str, ...], Flags | None] = {}
        groups: dict[tuple[tuple[str, ...], bool], list[Rule]] = {}
        alone: list[Rule] = []
        for rule in live:
            if rule.sources not in covered:
                covered[rule.sources] = _covered(facts, rule.sources)
            if rule.grain == "item":
                groups.setdefault((rule.sources, rule.enforce == "enforce"), []).append(rule)
            elif rule.grain == "row":
                alone.append(rule)
        for (sources, enforce), together in groups.items():
            bits = self._bits_of_items(tuple(together))
            if bits is None:
                alone.extend(together)
                continue
            if self.catalogue.items:
                found, here = bits[facts.item_row], covered[sources]
                (enforced if enforce else shadowed)[...] |= found if here is None else np.where(here, found, 0)
        for rule in alone:
            mask, broken = _ask(rule, facts)
            here = covered[rule.sources]
            if here is not None:
                mask &= here
            _mark(enforced if rule.enforce == "enforce" else shadowed, mask, BIT[rule.reason])
            if broken is not None:
                _mark(enforced if rule.enforce == "enforce" else shadowed, broken, BIT[RULE_ERROR])
        _spend(facts, [rule for rule in live if isinstance(rule, Quota)], kept, enforced, shadowed)
        return kept, enforced, shadowed

    def _bits_of_items(self, rules: tuple[Rule, ...]) -> Bits | None:
        """Return the reasons of each item, (I,); None where a rule cannot judge the catalogue as a whole."""
        if rules not in self._item_bits:
            bits: Bits | None = np.zeros(self.catalogue.items, np.uint64)
            try:
                for rule in rules:
                    _mark(bits, rule(self._items), BIT[rule.reason])  # type: ignore[arg-type]
            except Exception:  # noqa: BLE001 (any failure of a rule means: ask it row by row)
                bits = None
            self._item_bits[rules] = bits
        return self._item_bits[rules]


def _blank(size: int) -> tuple[Flags, Bits, Bits]:
    return np.zeros(size, bool), np.zeros(size, np.uint64), np.zeros(size, np.uint64)


def _mark(bits: Bits, mask: Flags, bit: np.uint64) -> None:
    if mask.any():
        bits |= np.where(mask, bit, np.uint64(0))


def _covered(facts: Facts, sources: tuple[str, ...]) -> Flags | None:
    """Return which rows come from the sources; None is all of them."""
    table = np.array([name in sources for name in SOURCE_NAMES])
    present = facts.candidates.source
    if table.all():
        return None
    flags: Flags = table[np.minimum(present, len(SOURCE_NAMES) - 1)]
    return flags


def _ask(rule: Callable[[Facts], Flags], facts: Facts) -> tuple[Flags, Flags | None]:
    """Ask a rule about all rows at once; if it breaks, about each alone, and tell on which rows it broke."""
    try:
        mask = np.array(rule(facts), dtype=bool)
        if mask.shape == (facts.size,):
            return mask, None
    except Exception:  # noqa: BLE001, S110 (whatever it is, no row may pass because of it)
        pass
    mask, broken = np.zeros(facts.size, bool), np.zeros(facts.size, bool)
    for row in range(facts.size):
        try:
            mask[row] = bool(np.asarray(rule(facts.one(row))).reshape(-1)[0])
        except Exception:  # noqa: BLE001
            broken[row] = True
    return mask, broken


def _pieces(candidates: Candidates, tier: npt.NDArray[np.uint8]) -> list[tuple[npt.NDArray[np.int64], Flags | slice]]:
    """Cut a block into pieces of one tier each, small enough for the cache; with the rows each piece holds."""
    from boundary.candidates import rows_of_users

    present = np.unique(tier)
    if len(present) <= 1 and candidates.rows <= ROWS_AT_ONCE:
        return [(np.arange(candidates.users), slice(None))]
    pieces: list[tuple[npt.NDArray[np.int64], Flags | slice]] = []
    widths = np.diff(candidates.offsets)
    for one in present:
        users = np.flatnonzero(tier == one)
        piece = np.cumsum(widths[users]) // ROWS_AT_ONCE
        for part in np.split(users, np.flatnonzero(np.diff(piece)) + 1):
            rows, _ = rows_of_users(candidates.offsets, part)
            pieces.append((part, rows))  # type: ignore[arg-type]
    return pieces


def _spend(facts: Facts, rules: list[Quota], kept: Flags, enforced: Bits, shadowed: Bits) -> None:
    """Lay the quotas out as arrays and let the kernel spend them."""
    users, n = facts.shoppers.users, max(facts.context.n, 0)
    quotas = [(rule, terms) for rule in rules if (terms := rule.terms()) is not None]

    def column(values: Iterable[object], dtype: type) -> npt.NDArray[np.generic]:
        return np.fromiter(values, dtype, len(quotas))

    share = np.empty((len(quotas), users), np.float64)
    for place, (_, terms) in enumerate(quotas):
        share[place] = terms.share * (1.0 if terms.eased_by is None else facts.shoppers.ease[terms.eased_by])
    kernel.spend_quotas(
        facts.candidates.offsets, facts.item_row, facts.repeats[1], BIT["not_a_candidate"], enforced != 0, np.full(users, n, np.int64), facts.item("promoted"),
        np.minimum(facts.candidates.source, len(SOURCE_NAMES) - 1), facts.item("category"), facts.item("brand"),
        column((terms.kind for _, terms in quotas), np.int64),
        column((rule.enforce == "enforce" for rule, _ in quotas), np.bool_),
        column((sum(1 << SOURCE_NAMES.index(name) for name in rule.sources) for rule, _ in quotas), np.int64),
        column((terms.promoted_only for _, terms in quotas), np.bool_),
        column((terms.first for _, terms in quotas), np.int64),
        column((terms.second for _, terms in quotas), np.int64),
        column((terms.by_brand for _, terms in quotas), np.bool_),
        np.floor(share * n + 1e-9).astype(np.int64), share,
        column((BIT[rule.reason] for rule, _ in quotas), np.uint64),
        BIT[SLATE_FULL], kept, enforced, shadowed,
    )  # fmt: skip
