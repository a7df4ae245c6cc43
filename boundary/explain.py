"""Why a suggestion was shown or withheld: every rule's verdict for staff, and one plain sentence for the shopper."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundary.rules import BIT, FAMILY_OF
from boundary.rules.base import Quota
from boundary.rules.guard import GUARDS, RULE_ERROR, SLATE
from boundary.words import SOURCE_NAMES, Family, Tier

if TYPE_CHECKING:
    from boundary.facts import Facts
    from boundary.policy import Policy

_TO_SHOPPER = {
    Family.PERSONAL: "we would rather not guess that closely",
    Family.FREQUENT: "we do not want to repeat ourselves",
    Family.CONVERSION: "we do not want to push",
    Family.GUARD: "we are not sure enough about it",
    Family.SLATE: "there was no room left",
}
_MOST_PRIVATE_FIRST = (Family.PERSONAL, Family.FREQUENT, Family.CONVERSION, Family.GUARD, Family.SLATE)


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule says of one row, for staff.

    Attributes:
        rule: name in the policy; a guard has its reason's name.
        reason: reason code.
        family: family of reasons.
        enforce: ``enforce``, ``shadow`` or ``off``.
        withheld: the rule withholds the row; None where the rule does not judge rows of this source.
        value: what was measured; a yes is 1; None where it is no finite number.
        limit: where the value must stay ``bound`` (``at most``, ``at least`` or ``below``); None is no cap or a quota.
        bound: see ``limit``.
        remedy: what would change the verdict.
    """

    rule: str
    reason: str
    family: str
    enforce: str
    withheld: bool | None
    value: float | None
    limit: float | None
    remedy: str | None
    bound: str = "at most"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain words and numbers."""
        return asdict(self)


def explain_row(policy: Policy, facts: Facts, enforced: int) -> list[RuleVerdict]:
    """Ask every rule about a single row.

    Args:
        policy: the rules.
        facts: of one row, see ``Facts.one``.
        enforced: the row's reasons as the gate decided them in its list; quotas are read from here.
    """
    source = SOURCE_NAMES[min(int(facts.candidates.source[0]), len(SOURCE_NAMES) - 1)]
    tier = Tier(int(facts.shoppers.tier[0]))
    told = [_guard(reason, bool(enforced & int(BIT[reason]))) for reason in (*GUARDS, RULE_ERROR, *SLATE)]
    rules = policy.rules_for(surface=facts.context.surface, intent=facts.context.intent, tier=tier)
    for name, rule in rules.items():
        common = (name, rule.reason, str(rule.family), rule.enforce)
        if source not in rule.sources or rule.enforce == "off":
            told.append(RuleVerdict(*common, None, None, None, None))
        elif isinstance(rule, Quota):
            told.append(RuleVerdict(*common, bool(enforced & int(BIT[rule.reason])), None, None, None))
        else:
            try:
                withheld = bool(rule(facts)[0]) or (rule.spends and bool(enforced & int(BIT[rule.reason])))
                value, limit = _number(rule.value(facts)), _number(rule.limit(facts))
                remedy = rule.remedy(facts) if withheld else None
            except Exception:  # noqa: BLE001 (a broken rule withholds, here as in the gate)
                withheld, value, limit, remedy = True, None, None, None
            told.append(RuleVerdict(*common, withheld, value, limit, remedy, rule.bound))
    return told


def for_shopper(reasons: list[str]) -> str:
    """Say in plain words why something is not shown; a family only, never what was inferred.

    Example:
        >>> for_shopper(["item_cap", "sensitive_category"])
        'we would rather not guess that closely'
        >>> for_shopper([])
        'it may be shown'
    """
    families = {FAMILY_OF[reason] for reason in reasons}
    for family in _MOST_PRIVATE_FIRST:
        if family in families:
            return _TO_SHOPPER[family]
    return "it may be shown"


def _guard(reason: str, withheld: bool) -> RuleVerdict:
    return RuleVerdict(reason, reason, str(FAMILY_OF[reason]), "enforce", withheld, None, None, None)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(np.asarray(value).reshape(-1)[0])
    return number if np.isfinite(number) else None
