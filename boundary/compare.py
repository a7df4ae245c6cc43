"""What another policy would change: which shoppers would see what, for which reason, and who would be treated stricter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from boundary.rules import SLATE_BITS
from boundary.verdict import reason_lists, shown_ids

if TYPE_CHECKING:
    import polars as pl

    from boundary.candidates import Candidates
    from boundary.facts import Context
    from boundary.gate import Gate
    from boundary.history import Exposures, History
    from boundary.shoppers import Customers
    from boundary.verdict import Verdict

STANDINGS = ("equal", "stricter", "looser", "mixed")


class Block(NamedTuple):
    """Everything that a decision about U users is made from."""

    candidates: Candidates
    customers: Customers
    history: History
    exposures: Exposures | None
    context: Context

    def screen(self, gate: Gate) -> Verdict:
        """Return what a gate decides; whom it takes for a regular is up to its policy too."""
        shoppers = gate.meet(self.customers, self.history, self.exposures, now=self.context.now)
        return gate.screen(
            self.candidates,
            shoppers=shoppers,
            history=self.history,
            exposures=self.exposures,
            context=self.context,
        )


@dataclass(frozen=True)
class Comparison:
    """How two gates differ over some blocks.

    Attributes:
        changes: a row for each item that a shopper would see with one gate alone: shopper, item_id, change (``lost`` or
            ``gained``), reasons (why the other gate withholds it; ``slate_full`` or ``repeated`` where something else took its place).
        standings: number of shoppers who would be treated ``equal``, ``stricter``, ``looser`` or ``mixed``.
    """

    changes: pl.DataFrame
    standings: dict[str, int]

    def by_reason(self) -> pl.DataFrame:
        """Return for each change and reason the number of rows and of shoppers, most rows first."""
        import polars as pl

        told = self.changes.explode("reasons", empty_as_null=False).rename({"reasons": "reason"})
        grouped = told.group_by("change", "reason").agg(rows=pl.len(), shoppers=pl.col("shopper").n_unique())
        return grouped.sort(["rows", "change", "reason"], descending=[True, False, False])


def compare(one: Gate, other: Gate, blocks: Iterable[Block]) -> Comparison:
    """Let two gates decide about the same candidates and say what would change from the one to the other.

    The candidates are taken as they are: what another policy would admit as evidence is not part of the comparison.

    Args:
        one: the gate in force.
        other: the gate that would take its place; of the same catalogue.
        blocks: real candidates of real shoppers.
    """
    import polars as pl

    frames, standings = [], Counter[str]()
    for block in blocks:
        here, there = block.screen(one), block.screen(other)
        frames.append(_changes(here, there))
        standings.update(stand(here, there))
    none = pl.DataFrame(
        schema={"shopper": pl.String, "item_id": pl.String, "change": pl.String, "reasons": pl.List(pl.String)}
    )
    return Comparison(pl.concat([none, *frames]), {name: standings[name] for name in STANDINGS})


def stand(live: Verdict, shadow: Verdict) -> list[str]:
    """Say for each user whether the shadow treats them ``equal``, ``stricter``, ``looser`` or ``mixed``.

    What merely moves up or down because a place in the slate came free is no difference: stricter is to refuse, for a
    reason, something that is shown live; looser is to show something that is refused live for a reason.
    """
    refused = live.kept & _refused(shadow)
    let_through = shadow.kept & _refused(live)
    owner, users = live.candidates.user_row, live.candidates.users
    stricter = np.bincount(owner[refused], minlength=users) > 0
    looser = np.bincount(owner[let_through], minlength=users) > 0
    return [STANDINGS[place] for place in (stricter + 2 * looser).tolist()]


def _refused(verdict: Verdict) -> npt.NDArray[np.bool_]:
    return (verdict.enforced & ~SLATE_BITS) != 0


def _changes(here: Verdict, there: Verdict) -> pl.DataFrame:
    import polars as pl

    rows = here.candidates
    frames = []
    for change, shown, withheld in (("lost", here, there), ("gained", there, here)):
        at = np.flatnonzero(shown.kept & ~withheld.kept)
        ids = pl.Series(shown_ids(rows.user_ids), dtype=pl.String)
        items = pl.Series(here.item_ids, dtype=pl.String)
        frames.append(
            pl.DataFrame(
                {
                    "shopper": ids.gather(rows.user_row[at]),
                    "item_id": items.gather(rows.item_row[at]),
                    "change": pl.Series([change] * len(at), dtype=pl.String),
                    "reasons": reason_lists(withheld.enforced[at]),
                }
            )
        )
    return pl.concat(frames)
