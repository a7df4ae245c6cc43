"""Guards: what is broken, missing or unknown is withheld. They have no settings and cannot be switched off.

They are decided where a row's judging begins, in ``boundary.plan`` and ``boundary.kernel.judge_rows``.
"""

GUARDS: dict[str, str] = {
    "unknown": "the item is not in the catalogue, nobody said what it is, or a stranger gets a personal row",
    "ledger_down": "nobody can tell what the shopper was shown: nothing but the crowd shelf",
    "bad_score": "the score is not a number, infinite, or padding",
    "not_a_candidate": "the row repeats one of its source, is from no source there is, or takes a gesture for a product or back",
}
RULE_ERROR = "rule_error"
SLATE_FULL = "slate_full"
REPEATED = "repeated"
SLATE: dict[str, str] = {  # no fault of the row: something else has the slot
    SLATE_FULL: "the row came after the last slot",
    REPEATED: "the item already has a slot, from another source",
}
