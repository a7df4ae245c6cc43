"""The registry: every reason code, its family, and the class that decides it."""

from __future__ import annotations

import numpy as np

from boundary.rules import conversion, frequent, personal
from boundary.rules.base import Rule
from boundary.rules.guard import GUARDS, RULE_ERROR, SLATE
from boundary.words import Family

RULES: dict[str, type[Rule]] = {
    rule.reason: rule
    for room in (personal, frequent, conversion)
    for rule in vars(room).values()
    if isinstance(rule, type) and issubclass(rule, Rule) and "reason" in vars(rule)
}
FAMILY_OF: dict[str, Family] = (
    {reason: rule.family for reason, rule in RULES.items()}
    | dict.fromkeys((*GUARDS, RULE_ERROR), Family.GUARD)
    | dict.fromkeys(SLATE, Family.SLATE)
)
REASONS: tuple[str, ...] = tuple(FAMILY_OF)
BIT: dict[str, np.uint64] = {reason: np.uint64(1) << np.uint64(place) for place, reason in enumerate(REASONS)}
SLATE_BITS = np.bitwise_or.reduce([BIT[reason] for reason in SLATE])
