"""What would have been shown at a moment of the past? A bundle under a policy, knowing only what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary.facts import Context
from boundary.gate import Gate
from boundary.history import Exposures, History
from recsys.propose import Proposer, Request

if TYPE_CHECKING:
    from boundary.candidates import Candidates
    from boundary.policy import Policy
    from boundary.shoppers import Shoppers
    from boundary.verdict import Verdict
    from recsys.bundle import Bundle

Users = npt.NDArray[np.int64]


class LabError(ValueError):
    """What is asked of the laboratory cannot be done as it stands."""


@dataclass(frozen=True)
class Proposal:
    """What is proposed to a block of users at one moment, before it is decided what of it is shown."""

    request: Request
    history: History
    shoppers: Shoppers
    candidates: Candidates

    @property
    def context(self) -> Context:
        return Context(self.request.surface, self.request.intent, self.request.n, self.request.now)


class Stage:
    """A bundle under a policy, at any moment of its past.

    Args:
        bundle: a fitted shop; what the model has learned is of the moment of the fit, whatever moment is asked for.
        policy: the rules.
    """

    def __init__(self, bundle: Bundle, policy: Policy) -> None:
        self.bundle = bundle.under(policy)
        self.policy = policy
        self.gate = Gate(bundle.catalogue, policy)
        self.proposer = Proposer(self.bundle, self.gate)

    def propose(self, users: Users, request: Request, *, exposures: Exposures | None) -> Proposal:
        """Propose to users, (U,) rows of the bundle, from what they did before ``request.now``.

        Args:
            users: (U,) rows of the bundle.
            request: what is asked.
            exposures: (U,) what they were shown before; None where nobody can tell.
        """
        known = self.bundle.history.take(users)
        before = known.only(known.at < request.now)
        shoppers = self.gate.meet(self.bundle.customers.take(users), before, exposures, now=request.now)
        ids = [self.bundle.user_ids[user] for user in users.tolist()]
        candidates, history, _ = self.proposer.propose(ids, before, shoppers, request)
        return Proposal(request, history, shoppers, candidates)

    def screen(self, proposal: Proposal, *, exposures: Exposures | None) -> Verdict:
        """Decide what of a proposal is shown."""
        return screen(self.gate, proposal, exposures=exposures)


def screen(gate: Gate, proposal: Proposal, *, exposures: Exposures | None) -> Verdict:
    """Decide under a gate's policy what of a proposal is shown; the proposal may have been made under another one."""
    return gate.screen(
        proposal.candidates,
        shoppers=proposal.shoppers,
        history=proposal.history,
        exposures=exposures,
        context=proposal.context,
    )


def shown(verdict: Verdict) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the shown rows of a block as offsets, (U + 1,), and item rows."""
    rows = verdict.candidates
    offsets: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(verdict.kept)])[rows.offsets].astype(np.int64)
    return offsets, rows.item_row[verdict.kept]


def some_users(bundle: Bundle, count: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Return rows of shoppers who were not forgotten: all, or ``count`` of them drawn by the seed, in order."""
    there = np.array([row for row, user in enumerate(bundle.user_ids) if user], np.int64)
    if count is None or count >= len(there):
        return there
    return np.sort(np.random.default_rng(seed).choice(there, count, replace=False))
