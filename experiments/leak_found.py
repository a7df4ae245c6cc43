"""What did an attack find? How it was made, what was guessed, and what of it is quoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.attack import Aucs, mean_leak
from experiments.visits import LabError

Doubles = npt.NDArray[np.float64]
MEANING = {
    "raw": "the recommender alone",
    "evidence": "evidence door only: sensitive items are not learned from",
    "doors": "both doors: nor are they, or their proxies, shown",
    "blindfold": "blindfold only",
    "profile": "the policy's list from the profile alone",
    "default": "the policy's whole slate",
    "default_in_sample": "the same, proxies and blindfold learned on the attacked too",
    "profile_in_sample": "likewise the list from the profile alone",
    "crowd": "the crowd shelf",
}


@dataclass(frozen=True)
class Terms:
    """How the attack is made.

    Attributes:
        n: length of the lists.
        parts: into how many the households are dealt; each is served what the others taught, and attacked alone.
        seeds: divisions into folds.
        fewest: members and others that a family or group needs to be judged.
        room: by how much (AUC) the whole history must tell more than activity, else there is nothing to hide.
        boosting: whether the second attacker is set on too.
        seed: deals the households.
        validate: for choosing settings: fitted on the first 60 % of the weeks, judged on those up to 80 %; else
            fitted on 80 % and judged on the rest, the test.
    """

    n: int = 20
    parts: int = 2
    seeds: int = 5
    fewest: int = 100
    room: float = 0.03
    boosting: bool = True
    seed: int = 0
    validate: bool = False

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("parts", 1), ("seeds", 1), ("fewest", 2)):
            if getattr(self, name) < least:
                raise LabError(f"`{name}` must be at least {least} but got {getattr(self, name)}")


@dataclass(frozen=True)
class Labels:
    """What is guessed: (U, L) true, false or NaN, a name for each column, and how many of them are families."""

    names: list[str]
    table: Doubles
    families: int


@dataclass(frozen=True)
class Leak:
    """What an attack found.

    Attributes:
        names: (L,) families first, then groups.
        families: how many of them are families.
        judged: (L,) whether there are enough members, and the whole history tells.
        positives: (L,) members.
        aucs: for each list, and for activity and history, what was found; the second attacker's are "boosting.<list>".
        remaining: for each list, (L,) the part of the history's secret that it tells; NaN where not judged.
        kept: for each list its discovery NDCG over that of the recommender alone; "profile" and "default" as they are
            served, learned on all households, and with "_crossfit" as they are attacked.
        costs: how much more the profile's list would keep without a rule, or without all of a family.
        raw_ndcg: of the recommender alone.
        households: attacked, and with something to discover.
    """

    names: list[str]
    families: int
    judged: npt.NDArray[np.bool_]
    positives: npt.NDArray[np.int64]
    aucs: Mapping[str, Aucs]
    remaining: Mapping[str, Doubles]
    kept: Mapping[str, float]
    costs: Mapping[str, float]
    raw_ndcg: float
    households: tuple[int, int]

    @property
    def told(self) -> npt.NDArray[np.bool_]:
        """(L,) which judged labels are families."""
        return self.judged & (np.arange(len(self.names)) < self.families)

    def figures(self) -> dict[str, float]:
        """Return all of it, flat."""
        told, out = self.told, {"ndcg.raw": self.raw_ndcg}
        groups = self.judged & ~told
        for name, leaks in self.remaining.items():
            out[f"leak_remaining.{name}"] = mean_leak(leaks[told])
            if groups.any():
                out[f"groups.leak_remaining.{name}"] = mean_leak(leaks[groups])
            for label in np.flatnonzero(self.judged):
                out[f"leak_remaining.{name}.{self.names[label]}"] = float(leaks[label])
        for name, found in self.aucs.items():
            out[f"auc.{name}"] = float(found.mean[told].mean())
            for label in np.flatnonzero(self.judged):
                key = f"auc.{name}.{self.names[label]}"
                values = found.mean[label], found.low[label], found.high[label]
                out |= dict(zip((key, f"{key}.low", f"{key}.high"), map(float, values), strict=True))
        out |= {f"ndcg_kept.{name}": value for name, value in self.kept.items()}
        out |= {f"ndcg_cost.{rule.replace(' ', '_')}": value for rule, value in self.costs.items()}
        counted = {
            "families.judged": int(told.sum()), "families.not_judged": self.families - int(told.sum()),
            "groups.judged": int(groups.sum()), "households": self.households[0],
            "households.with_discoveries": self.households[1],
        }  # fmt: skip
        return out | counted
