"""What would another policy change for the shoppers of a bundle? They are named by aliases, never by id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from boundary.compare import Block, Comparison, compare
from boundary.gate import Gate
from boundary.policy import Policy
from recsys.beside import block_of
from recsys.engine import Engine


def compare_over(
    engine: Engine, other: Policy, user_ids: Sequence[str], *, n: int, surface: str, intent: str, now: int,
    read_ledger: bool, block: int = 512, progress: Callable[[int, int], None] | None = None,
) -> Comparison:  # fmt: skip
    """Say what another policy would change for real shoppers and their candidates; shoppers have aliases, no ids.

    Args:
        engine: with the policy in force; it proposes the candidates.
        other: the policy that would take its place.
        user_ids: whom.
        n: as in ``Engine.score``.
        surface: as there.
        intent: as there.
        now: microseconds UTC.
        read_ledger: take what was shown before from the ledger; else nothing counts as shown.
        block: shoppers at once.
        progress: is told shoppers done and shoppers in all.
    """

    def blocks() -> Iterator[Block]:
        for start in range(0, len(user_ids), block):
            part = user_ids[start : start + block]
            answer = engine.score_block(
                part, n=n, surface=surface, intent=intent, now=now, read_ledger=read_ledger
            )  # fmt: skip
            yield block_of(answer)
            if progress is not None:
                progress(start + len(part), len(user_ids))

    found = compare(engine.gate, Gate(engine.gate.catalogue, other), blocks())
    touched = found.changes["shopper"].unique()
    alias = [engine.aliases.of(user, now=now) for user in touched.to_list()]
    named = found.changes.with_columns(pl.col("shopper").replace_strict(touched, alias, return_dtype=pl.String))
    return Comparison(named, found.standings)
