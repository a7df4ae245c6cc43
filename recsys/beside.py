"""What would another policy have done? It decides about the very candidates of the live one, and is only counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from boundary.compare import STANDINGS, Block, stand
from boundary.gate import Gate

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.answer import Answer

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
