"""Guards: what is broken, missing or unknown is withheld. They have no settings and cannot be switched off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boundary.facts import Facts
from boundary.rules.base import Flags
from boundary.words import Source

PADDING_SCORE = np.float32(1e38)


def unknown(facts: Facts) -> Flags:
    """The item, or what it is, is unknown; or a personal row is for somebody the shop does not know."""
    stranger = ~facts.shopper("known") & (facts.candidates.source == Source.PERSONAL)
    flagged: Flags = ~facts.item_known | facts.item("unclassified") | stranger
    return flagged


def ledger_down(facts: Facts) -> Flags:
    """Nobody can tell what the shopper was shown: nothing but the crowd shelf."""
    if not facts.ledger_down:
        return np.zeros(facts.size, bool)
    flagged: Flags = facts.candidates.source != Source.CROWD
    return flagged


def bad_score(facts: Facts) -> Flags:
    """The score is not a number, infinite, or the padding that some recommenders return for what they ran out of."""
    flagged: Flags = ~(np.abs(facts.candidates.score) < PADDING_SCORE)
    return flagged


def not_a_candidate(facts: Facts) -> Flags:
    """The row repeats one of the same source, or is from no source there is, or a gesture comes as a product."""
    rows = facts.candidates
    flagged: Flags = rows.source >= len(Source)
    flagged |= facts.item("gesture") != (rows.source == Source.GESTURE)
    flagged |= facts.repeats[0]
    return flagged


GUARDS: dict[str, Callable[[Facts], Flags]] = {
    "unknown": unknown,
    "ledger_down": ledger_down,
    "bad_score": bad_score,
    "not_a_candidate": not_a_candidate,
}
RULE_ERROR = "rule_error"
SLATE_FULL = "slate_full"
