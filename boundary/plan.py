"""Which rules hold in one place, laid out once so that judging a block is few passes over its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from boundary.facts import Answer, Facts, ItemFacts, View
from boundary.judge import NOTHING, RowBits, judge_rows, scratch
from boundary.measure import EASED, SOURCES, Bits, Check, Checks, Flags
from boundary.rules import BIT
from boundary.rules import kernel as quota
from boundary.rules.base import BOUNDS, Measured, QuotaTerms, Rule
from boundary.rules.guard import REPEATED, RULE_ERROR, SLATE_FULL
from boundary.words import SOURCE_NAMES, Source

if TYPE_CHECKING:
    from boundary.catalogue import Catalogue

Users = npt.NDArray[np.int64]
GUARD_BITS = (BIT["unknown"], BIT["bad_score"], BIT["not_a_candidate"])


class Placed(NamedTuple):
    """A rule, with what the kernels need of it."""

    rule: Rule
    covered: Flags
    bit: np.uint64
    enforce: bool


def placed(rule: Rule) -> Placed:
    """Lay out a rule for the kernels."""
    covered = np.array([name in rule.sources for name in SOURCE_NAMES] + [False], bool)
    return Placed(rule, covered, BIT[rule.reason], rule.enforce == "enforce")


class ItemLines:
    """The reasons that items alone decide: the guards' and those of rules that read nothing else.

    Attributes:
        item_class: (I,) int32; items of one class have the same reasons.
        bits, shadow: (sources + 1, classes) reasons in force, and reasons only counted.
        left: rules that could not judge the catalogue as a whole.
    """

    def __init__(self, catalogue: Catalogue, rules: Iterable[Placed]) -> None:
        bits = np.zeros((2 * (SOURCES + 1), catalogue.items), np.uint64)  # in force, then only counted
        in_force, counted = bits[: SOURCES + 1], bits[SOURCES + 1 :]
        self.left: list[Placed] = []
        in_force[:, catalogue.unclassified] |= BIT["unknown"]
        for source in Source:
            misplaced = catalogue.gesture != (source == Source.GESTURE)
            in_force[source, misplaced] |= BIT["not_a_candidate"]
        facts = ItemFacts(catalogue)
        for one in rules:
            found = _try(one.rule, facts)
            if found is None:
                self.left.append(one)
            else:
                (in_force if one.enforce else counted)[one.covered] |= np.where(found, one.bit, NOTHING)
        first, self.item_class = _classes(bits)
        self.bits, self.shadow = in_force[:, first].copy(), counted[:, first].copy()

    @property
    def classes(self) -> tuple[npt.NDArray[np.int32], Bits, Bits]:
        return self.item_class, self.bits, self.shadow


def _classes(bits: Bits) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return one place of each distinct column, and for each column which one it equals."""
    mixed = np.zeros(bits.shape[1], np.uint64)
    for line in bits:
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + line
    _, first, same = np.unique(mixed, return_index=True, return_inverse=True)
    if not (bits[:, first[same]] == bits).all():  # two different columns met in one number
        _, first, same = np.unique(bits, axis=1, return_index=True, return_inverse=True)
    return first, same.reshape(-1).astype(np.int32)


class Plan:
    """The rules of one surface, intent and tier for one catalogue.

    Args:
        rules: the rules that hold there; the order does not matter, nor whether one stands there twice.
        lines: gives the ``ItemLines`` of rules; plans with the same rules about items share them.
        opted_in: some shopper asked for a sensitive family, so rules that yield to this must be asked row by row.
    """

    def __init__(
        self, rules: Iterable[Rule], lines: Callable[[frozenset[Rule]], ItemLines], *, opted_in: bool = False
    ) -> None:
        live = [placed(rule) for rule in dict.fromkeys(rules) if rule.enforce != "off"]
        yields = {one.rule for one in live if opted_in and one.rule.yields_to_optin}
        self.items = lines(frozenset(one.rule for one in live if one.rule.grain == "item") - yields)
        self.shoppers = [one for one in live if one.rule.grain == "shopper"]
        checks, asked = _checks([one for one in live if one.rule.grain == "row"])
        self.checks = list(Checks.batches(checks))
        spent, broken = _terms([one for one in live if one.rule.spends])
        self.quotas = Quotas(spent)
        self.asked = asked + broken + [one for one in live if one.rule in yields] + self.items.left

    def judge(self, facts: Facts, users: Users, rows: RowBits, kept: Flags) -> None:
        """Judge the rows of these users, all of the plan's tier: guards, row rules, then the quotas down each list."""
        people = self._of_shoppers(facts)
        for place, checks in enumerate(self.checks):
            judge_rows(facts, checks, self.items.classes, people, GUARD_BITS, rows, users=users, again=place > 0)
        if self.asked:
            mine, at = facts.of_users(users)
            for one in self.asked:
                _ask(one, mine, at, rows)
        self.quotas.spend(facts, users, rows, kept)

    def _of_shoppers(self, facts: Facts) -> tuple[Bits, Bits]:
        """Return the reasons that hold for whole shoppers, (sources + 1, U): in force, and only counted."""
        size = facts.shoppers.users
        in_force, counted = np.zeros((2, SOURCES + 1, size), np.uint64)
        if np.count_nonzero(facts.shoppers.known) < size:
            in_force[Source.PERSONAL, ~facts.shoppers.known] = BIT["unknown"]
        if facts.ledger_down:
            in_force[np.arange(SOURCES + 1) != Source.CROWD] |= BIT["ledger_down"]
        for one in self.shoppers:
            lines = in_force if one.enforce else counted
            found, broken = facts.once(one.rule, _ask_shoppers)
            if broken is not None and np.count_nonzero(broken):
                lines[one.covered] |= np.where(broken, BIT[RULE_ERROR], NOTHING)
            if np.count_nonzero(found):
                lines[one.covered] |= np.where(found, one.bit, NOTHING)
        return in_force, counted


class Quotas:
    """The quotas of a plan as the columns that the kernel spends; those about promoted items come last."""

    def __init__(self, spent: Iterable[tuple[Placed, QuotaTerms]]) -> None:
        found = sorted(spent, key=lambda pair: pair[1].promoted_only)
        terms = [term for _, term in found]
        self.columns = (
            np.array([term.kind for term in terms], np.int64),
            np.array([one.enforce for one, _ in found], np.bool_),
            np.array([one.covered for one, _ in found], np.bool_).reshape(len(found), SOURCES + 1),
            np.array([term.promoted_only for term in terms], np.bool_),
            np.array([term.first for term in terms], np.int64),
            np.array([term.second for term in terms], np.int64),
            np.array([term.days for term in terms], np.float64),
            np.array([term.by_brand for term in terms], np.bool_),
            np.array([term.share for term in terms], np.float64),
            np.array([-1 if term.eased_by is None else EASED.index(term.eased_by) for term in terms], np.int64),
        )
        self.bit = np.array([one.bit for one, _ in found], np.uint64)

    def spend(self, facts: Facts, users: Users, rows: RowBits, kept: Flags) -> None:
        """Keep the rows that no quota forbids, and give the others their reason."""
        length = min(max(int(facts.context.n), 0), 1 << 40)
        things, entries = facts.catalogue, facts.exposures
        width = max(len(things.category_names), len(things.brand_names))
        quota.spend_quotas(
            users, facts.reads, facts.candidates.offsets, facts.candidates.item_row, rows.judged, rows.twin,
            BIT[REPEATED], length, entries.offsets, entries.item_row, entries.kind, entries.at,
            int(facts.context.now),
            things.things, *self.columns, facts.eases, self.bit, BIT[SLATE_FULL],
            scratch("crowds", (len(self.bit), width), np.int32, 0),
            scratch("shown", (len(self.bit), width), np.int32, -1), kept, rows.enforced, rows.shadowed,
        )  # fmt: skip


def _checks(rules: Iterable[Placed]) -> tuple[list[Check], list[Placed]]:
    """Return the checks of rules that the kernel can judge, and the rules that must be asked."""
    checks, asked = [], []
    for one in rules:
        rule = one.rule
        try:
            stock = isinstance(rule, Measured) and rule.is_stock()
            measure = rule.measure() if stock and isinstance(rule, Measured) else None
        except Exception:  # noqa: BLE001 (a broken rule withholds: it is asked, and breaks again)
            stock = False
        if not stock:
            asked.append(one)
        elif measure is not None:
            checks.append(Check(measure, BOUNDS.index(rule.bound), one.covered, one.bit, one.enforce))
    return checks, asked


def _terms(rules: Iterable[Placed]) -> tuple[list[tuple[Placed, QuotaTerms]], list[Placed]]:
    """Return the quotas that the kernel can spend, and those that are broken."""
    spent, broken = [], []
    for one in rules:
        try:
            terms = one.rule.terms()
        except Exception:  # noqa: BLE001 (it is asked, and breaks again)
            broken.append(one)
            continue
        if terms is not None:
            spent.append((one, terms))
    return spent, broken


def _try(rule: Rule, view: View) -> Flags | None:
    """Ask a rule about all lines of a view; None where it breaks, whatever the failure."""
    try:
        found = np.asarray(rule(view), bool)
    except Exception:  # noqa: BLE001 (a broken rule withholds; who asks next asks about each line alone)
        return None
    return found if found.shape == (view.size,) else None


def _ask(one: Placed, facts: Facts, at: Users, rows: RowBits) -> None:
    """Ask a rule about all rows at once; if it breaks, about each alone, and say on which rows it broke.

    The facts are of the rows ``at`` these places of the block.
    """
    out, judged = rows.enforced if one.enforce else rows.shadowed, one.covered[rows.judged[at]]
    found = _try(one.rule, facts)
    if found is None:
        found, broken = _one_by_one(one.rule, facts.size, facts.one)
        out[at[broken & judged]] |= BIT[RULE_ERROR]
    out[at[found & judged]] |= one.bit


def _ask_shoppers(rule: Rule, facts: Facts) -> Answer:
    """Ask a rule about all shoppers at once; if it breaks, about each alone, and say at which it broke, if at any."""
    view = facts.bare
    found = _try(rule, view)
    return _one_by_one(rule, view.size, view.one) if found is None else (found, None)


def _one_by_one(rule: Rule, size: int, alone: Callable[[int], View]) -> tuple[Flags, Flags]:
    """Ask a rule about each line alone; return what it withholds, and where it breaks."""
    found, broken = np.zeros(size, bool), np.zeros(size, bool)
    for line in range(size):
        try:
            found[line] = bool(np.asarray(rule(alone(line))).reshape(-1)[0])
        except Exception:  # noqa: BLE001
            broken[line] = True
    return found, broken
