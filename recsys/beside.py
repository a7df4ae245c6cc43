"""What would another policy have done? It decides about the very candidates of the live one, and is only counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from boundary.compare import STANDINGS, Block, Comparison, compare, stand
from boundary.gate import Gate

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.answer import Answer
    from recsys.engine import Engine

log = logging.getLogger("cornerstore")
BROKEN = "broken"


class Beside:
    """A policy in the shadow of the live one; safe to ask from many threads.

    Args:
        policy: the rules that are tried.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._lock = threading.Lock()
        self._gate: Gate | None = None
        self._counts = Counter[str]()

    def weigh(self, answer: Answer) -> dict[str, int]:
        """Count for how many shoppers of an answer it is ``equal``, ``stricter``, ``looser`` or ``mixed``.

        Whatever breaks here is counted as ``broken`` and told in the log; the live answer stands as it is.
        """
        try:
            gate = self._gate
            if gate is None or gate.catalogue is not answer.state.gate.catalogue:
                gate = self._gate = Gate(answer.state.gate.catalogue, self.policy)
            found = Counter(stand(answer.verdict, block_of(answer).screen(gate)))
        except Exception as error:  # noqa: BLE001 (a trial must never cost anybody the slate)
            log.warning("the shadow policy could not decide: %s", type(error).__name__)
            found = Counter({BROKEN: answer.candidates.users})
        with self._lock:
            self._counts.update(found)
        return dict(found)

    @property
    def counts(self) -> dict[str, int]:
        """How many shoppers' slates were weighed so far, by outcome."""
        with self._lock:
            return {name: self._counts[name] for name in (*STANDINGS, BROKEN) if name != BROKEN or self._counts[name]}


def block_of(answer: Answer) -> Block:
    """Return everything that an answer's decision was made from."""
    return Block(answer.candidates, answer.shoppers.customers, answer.history, answer.exposures, answer.verdict.context)


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
