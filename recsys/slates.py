"""What a scoring call answers: suggestions with a why in plain words, and what was withheld."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from boundary.words import Kind, Source

if TYPE_CHECKING:
    import polars as pl

JUST_BECAUSE = "just because"
PROFILED = (int(Source.PERSONAL), int(Source.SESSION))
SAID = {int(Source.CROWD): "many neighbours like it", int(Source.GESTURE): "with our thanks, no strings attached"}
DONE = {int(Kind.PURCHASE): "bought", int(Kind.CART): "put aside", int(Kind.VIEW): "looked at"}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One slot: the item, its score (comparable within one source), where it comes from, and why it is there."""

    item_id: str
    score: float
    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Slate:
    """The answer to one call.

    Attributes:
        slate_id: the name under which its exposures stand in the ledger.
        user_id: for whom; None is nobody in particular.
        surface, intent: what was asked.
        tier: how well the shop may know the shopper.
        items: at most n suggestions, best first.
        closed: why the profile was left alone: unknown, opted_out, no_consent, disproportionate (too short a
            relationship), ledger_down, or stale (nothing recent enough to speak); empty where it spoke.
        withheld: number of candidates that each reason withheld.
        shadow: the same for rules in shadow.
        policy_digest: fingerprint of the policy that decided.
        reserved: the exposures stand in the ledger, to be confirmed with ``Engine.shown``.
    """

    slate_id: str
    user_id: str | None
    surface: str
    intent: str
    tier: str
    items: tuple[Suggestion, ...]
    closed: tuple[str, ...]
    withheld: dict[str, int]
    shadow: dict[str, int]
    policy_digest: str
    reserved: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the slate as plain words and numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a slate to be shown later: item ids and the words of their sources, best first."""

    item_ids: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, kept: Slate | pl.DataFrame, user_id: str) -> Kept | None:
        """Take a slate, or the rows of a batch's ``slates.parquet``; None where they are not of that shopper alone."""
        if isinstance(kept, Slate):
            if kept.user_id != user_id:
                return None
            return cls(tuple(item.item_id for item in kept.items), tuple(item.source for item in kept.items))
        if not {"user_id", "position", "item_id", "source"} <= set(kept.columns):
            return None
        if not bool((kept["user_id"].cast(str).eq_missing(user_id)).all()):
            return None
        rows = kept.sort("position", nulls_last=True)
        return cls(tuple(rows["item_id"].cast(str)), tuple(rows["source"].cast(str)))


def why(source: int, title: str | None, kind: int) -> str:
    """Say in plain words why a slot is there.

    Args:
        source: code of ``boundary.words.Source``.
        title: what the evidence item is called, None where there is none.
        kind: code of ``boundary.words.Kind``, what the shopper did with it.

    Example:
        >>> why(Source.PERSONAL, "Rye bread", Kind.PURCHASE)
        'because you bought Rye bread'
        >>> why(Source.EXPLORE, None, Kind.VIEW)
        'just because'
    """
    if title is not None and source in PROFILED:
        return f"because you {DONE[kind]} {title}"
    return SAID.get(source, JUST_BECAUSE)
