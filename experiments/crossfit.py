"""What would each household see if the shop had learned its proxies and its blindfold on other households?

Whatever is learned from who bought what is judged on those it was not learned from: the households are dealt into
parts, and each part gets a bundle whose proxies and blindfold know the other parts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from boundary.associations import Blindfold, banned, labels, learn_blindfold, learn_proxies
from boundary.gate import Gate
from boundary.history import Exposures
from experiments.attack import parts_of
from experiments.visits import Proposal, Stage, screen, shown, some_users
from recsys.engine import Engine
from recsys.evidence import evidence_of, purchases
from recsys.fitting import activity
from recsys.propose import Request

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.bundle import Bundle

Offsets = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
PROXY_BUYERS = 30  # as in ``learn_proxies``, of all households


class Lists(NamedTuple):
    """Ranked lists: household u's are ``item_row[offsets[u]:offsets[u + 1]]``."""

    offsets: Offsets
    item_row: Rows


@dataclass(frozen=True)
class Learned:
    """A bundle whose proxies and blindfold were learned without the households it is for.

    Attributes:
        bundle: for the households of ``rows``.
        rows: (P,) places in the block of households.
    """

    bundle: Bundle
    rows: npt.NDArray[np.int64]


class Households:
    """All households of a fitted bundle, and what an attacker would like to know of them.

    Args:
        bundle: fitted; everything in it is of the moment ``now``.
        now: microseconds UTC.
    """

    def __init__(self, bundle: Bundle, *, now: int) -> None:
        self.bundle, self.now = bundle, now
        self.users = some_users(bundle, None, 0)
        self.ids = [bundle.user_ids[row] for row in self.users.tolist()]
        self.history = bundle.history.take(self.users)
        catalogue = bundle.catalogue
        self.families, self.items = list(catalogue.families), catalogue.items
        self.category = catalogue.category
        self.sensitive: Bools = catalogue.family_bits != 0
        self.bought = purchases(self.history, items=self.items)
        self.told = labels(self.bought, catalogue.family_bits, max(len(self.families), 1))[:, : len(self.families)]
        self.busy = activity(self.history)

    @property
    def harmless(self) -> csr_matrix:
        """(U, I) what an attacker with the whole history sees, without what the labels are made of."""
        left = csr_matrix(self.bought.multiply((~self.sensitive)[None, :].astype(np.float32)))
        left.eliminate_zeros()
        return left

    def evidence(self, policy: Policy | None) -> csr_matrix:
        """Return (U, I) weights of what a policy admits; of everything where there is none."""
        catalogue, history = self.bundle.catalogue, self.history
        if policy is None:
            admitted = history.only(history.item_row >= 0)
        else:
            gate = Gate(catalogue, policy)
            people = self.bundle.customers.take(self.users)
            shoppers = gate.meet(people, history, Exposures.empty(len(self.ids)), now=self.now)
            admitted = history.only(gate.admit(history, shoppers, now=self.now).mask)
        return evidence_of(admitted, self.bundle.weighing, items=self.items, now=self.now)

    def crossed(self, policy: Policy, evidence: csr_matrix, *, parts: int, seed: int) -> list[Learned]:
        """Return a bundle for each part of the households; with one part, everything is learned on all of them.

        Args:
            policy: its blindfold's strength is applied.
            evidence: (U, I) what the vectors rest on, from ``evidence``.
            parts: into how many the households are dealt; each is served what the others taught.
            seed: deals them.
        """
        dealt = parts_of(len(self.ids), parts=parts, seed=seed)
        vectors = self.bundle.model.vectors(evidence)
        learned = []
        for part in range(parts):
            teachers = np.flatnonzero(dealt != part) if parts > 1 else np.arange(len(self.ids))
            fewest = self._fewer(policy.blind.fewest_buyers, teachers)
            proxies = learn_proxies(
                self.bought[teachers], self.told[teachers], min_positives=fewest,
                min_buyers=self._fewer(PROXY_BUYERS, teachers),
            )  # fmt: skip
            blind = self._blindfold(vectors, teachers, policy.blind.strength, fewest)
            bundle = replace(
                self.bundle, policy=policy, proxies=proxies, blindfold=blind, moments=self.bundle.model.moments(blind)
            )
            learned.append(Learned(bundle, np.flatnonzero(dealt == part)))
        return learned

    def _fewer(self, count: int, teachers: npt.NDArray[np.int64]) -> int:
        """Return how many of the teachers stand for so many of all, so that the same families are judged."""
        return max(round(count * len(teachers) / max(len(self.ids), 1)), 1)

    def _blindfold(
        self, vectors: npt.NDArray[np.float32] | None, teachers: npt.NDArray[np.int64], strength: float, fewest: int
    ) -> Blindfold | None:
        """Learn the blindfold on some households; None where the model has no vectors or the strength is 0."""
        if vectors is None or strength == 0 or not self.families:
            return None
        known = teachers[np.abs(vectors[teachers]).sum(axis=1) > 0]
        return learn_blindfold(
            vectors[known], self.told[known], self.busy[known], strength=strength, min_positives=fewest
        )

    def proposed(self, learned: list[Learned], policy: Policy, *, n: int) -> list[Proposal]:
        """Return what a policy proposes to each part, to be screened by it or by another that proposes alike."""
        request = Request(surface="home", intent="browse", n=n, now=self.now)
        return [
            Stage(part.bundle, policy).propose(
                self.users[part.rows], request, exposures=Exposures.empty(len(part.rows))
            )
            for part in learned
        ]  # fmt: skip

    def screened(self, learned: list[Learned], proposals: list[Proposal], policy: Policy) -> Lists:
        """Return the slates that a policy makes of proposals."""
        pieces = []
        for part, proposal in zip(learned, proposals, strict=True):
            gate = Gate(part.bundle.catalogue, policy)
            pieces.append(Lists(*shown(screen(gate, proposal, exposures=Exposures.empty(len(part.rows))))))
        return self._joined(learned, pieces)

    def guests(self, policy: Policy, *, n: int) -> Lists:
        """Return what all would see if nobody were known."""
        engine = Engine(replace(self.bundle, policy=policy), ledger=None, policy=policy)
        strangers = [f"stranger {place}" for place in range(len(self.ids))]
        answer = engine.score_block(strangers, n=n, now=self.now, read_ledger=False)
        return Lists(*shown(answer.verdict))

    def ranked(
        self,
        learned: list[Learned],
        *,
        n: int,
        evidence: csr_matrix,
        closed: Callable[[Learned], Bools] | None = None,
        blinded: bool = False,
    ) -> Lists:
        """Return what the model lists of what was not bought, with nothing but the named means in its way.

        Args:
            learned: from ``crossed``.
            n: length.
            evidence: (U, I), from ``evidence``.
            closed: (I,) what must not be shown to a part; None is nothing.
            blinded: whether the blindfold is on.
        """
        pieces = []
        for part in learned:
            model, own = self.bundle.model, evidence[part.rows]
            vectors = model.vectors(own)
            if blinded and vectors is not None and part.bundle.blindfold is not None:
                vectors = part.bundle.blindfold.apply(vectors)
            within = None if closed is None else ~closed(part)
            found = model.top(own, k=n, exclude=self.bought[part.rows], within=within, vectors=vectors)
            pieces.append(Lists(found.offsets.astype(np.int64), found.item_row))
        return self._joined(learned, pieces)

    def _joined(self, learned: list[Learned], pieces: list[Lists]) -> Lists:
        """Return the lists of all parts in the order of the households."""
        widths = np.zeros(len(self.ids), np.int64)
        for part, piece in zip(learned, pieces, strict=True):
            widths[part.rows] = np.diff(piece.offsets)
        offsets = np.concatenate([[0], np.cumsum(widths)])
        rows = np.zeros(int(offsets[-1]), np.int32)
        for part, piece in zip(learned, pieces, strict=True):
            start = np.repeat(offsets[part.rows] - piece.offsets[:-1], np.diff(piece.offsets))
            rows[start + np.arange(len(piece.item_row))] = piece.item_row
        return Lists(offsets, rows)


def proxies_of(bundle: Bundle, policy: Policy) -> Bools:
    """Return the items that the policy's ``sensitive_proxy`` rules withhold, (I,)."""
    out = np.zeros(bundle.catalogue.items, bool)
    for name, terms in policy.to_dict()["rules"].items():
        if terms.get("reason", name) == "sensitive_proxy" and terms["z"] != "none":
            out |= banned(bundle.proxies, lift=terms["lift"], z=terms["z"])
    return out
