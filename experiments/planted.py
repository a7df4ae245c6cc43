"""How many of the proxies that were planted in an invented shop does the boundary find, and which does it miss?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.facts import ItemFacts
from boundary.rules.personal import SensitiveProxy
from experiments.figures import write_figures
from experiments.visits import LabError

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.bundle import Bundle

COLUMNS = ("item_id", "family", "strength")
BANDS = (1.0, 2.0, 3.0, 5.0, float("inf"))  # of strength


@dataclass(frozen=True)
class Planted:
    """What became of the planted proxies.

    Attributes:
        proxies: a row each: item_id, family, strength, buyers, lift and z as learned, found (both reach the policy's
            limits for that family) and withheld (no slot may show it, for whatever reason that the item alone gives).
        alarms: harmless items that were flagged without having been planted.
        harmless: how many harmless items there are that were not planted.
    """

    proxies: pl.DataFrame
    alarms: int
    harmless: int

    def by(self, key: pl.Expr) -> pl.DataFrame:
        """Count planted, found, withheld and missed for each value of a key, weakest proxies first."""
        missed = ~pl.col("withheld")
        return (
            self.proxies.sort("strength")
            .group_by(key, maintain_order=True)
            .agg(
                planted=pl.len(),
                found=pl.col("found").sum(),
                withheld=pl.col("withheld").sum(),
                missed=missed.sum(),
                median_lift=pl.col("lift").median(),
                median_buyers=pl.col("buyers").median(),
            )
        )

    @property
    def figures(self) -> dict[str, float]:
        """Return recall over all and by band of strength, and how many harmless items are flagged."""
        total = {"planted": len(self.proxies), "found": self.proxies["found"].sum()}
        total |= {"withheld": self.proxies["withheld"].sum()}
        figures = {f"proxies.{name}": float(count) for name, count in total.items()}
        figures["proxies.recall"] = _share(self.proxies["found"])
        figures["proxies.withheld_share"] = _share(self.proxies["withheld"])
        figures["proxies.false_alarms"] = float(self.alarms)
        figures["proxies.false_alarm_rate"] = self.alarms / self.harmless if self.harmless else 0.0
        for low, high in itertools.pairwise(BANDS):
            band = self.proxies.filter((pl.col("strength") >= low) & (pl.col("strength") < high))
            if len(band):
                figures[f"proxies.recall.strength_{low:g}_to_{high:g}"] = _share(band["found"])
        return figures


def find_planted(bundle: Bundle, policy: Policy, truth: pl.DataFrame) -> Planted:
    """Hold what the fit learned against the truth, by the policy's rule about proxies.

    Args:
        bundle: fitted on the invented shop.
        policy: its ``sensitive_proxy`` rule says which lift and z give a family away.
        truth: item_id, family, strength; see ``data.synthetic``.

    Raises:
        LabError: a column is missing, a family or item is not the bundle's, or the policy has no such rule.
    """
    catalogue = bundle.catalogue
    rule = next((rule for rule in policy.rules.values() if isinstance(rule, SensitiveProxy)), None)
    if rule is None or rule.z is None:
        raise LabError("the policy has no `sensitive_proxy` rule with a limit, so nothing can be found; give it one")
    missing = [name for name in COLUMNS if name not in truth.columns]
    if missing:
        raise LabError(f"`truth` needs the columns {', '.join(COLUMNS)} but lacks {', '.join(missing)}")
    row = np.array([catalogue.row_of.get(item, -1) for item in truth["item_id"].to_list()], np.int64)
    place = {name: number for number, name in enumerate(catalogue.families)}
    family = np.array([place.get(name, -1) for name in truth["family"].to_list()], np.int64)
    if len(truth) and (row.min() < 0 or family.min() < 0):
        raise LabError("`truth` names items or families that the bundle does not know; is it of the same shop?")
    lift, z = catalogue.proxy_lift, catalogue.proxy_z
    told = (lift >= rule.lift) & (z >= rule.z)
    flagged = np.asarray(rule(ItemFacts(catalogue)), bool)
    held = ~_open_to(bundle, policy)
    harmless = (catalogue.family_bits == 0) & ~catalogue.gesture
    harmless[row] = False
    return Planted(
        proxies=truth.select(COLUMNS).with_columns(
            buyers=bundle.support[row],
            lift=lift[family, row],
            z=z[family, row],
            found=told[family, row],
            withheld=held[row],
        ),
        alarms=int((flagged & harmless).sum()),
        harmless=int(harmless.sum()),
    )


def planted(bundle: Bundle, policy: Policy, truth: str | Path, out: Path) -> Planted:
    """Report what the boundary finds of the planted proxies: ``planted.csv``, ``families.csv`` and ``figures.json``.

    Raises:
        LabError: as ``find_planted``, or the file of the truth cannot be read.
    """
    try:
        known = pl.read_parquet(truth)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LabError(f"{truth} cannot be read ({error}); give the truth.parquet of an invented shop") from None
    found = find_planted(bundle, policy, known)
    out.mkdir(parents=True, exist_ok=True)
    found.proxies.write_csv(out / "planted.csv")
    found.by(pl.col("family")).sort("family").write_csv(out / "families.csv")
    write_figures(out, found.figures, policy=policy, bundle=bundle)
    return found


def banded() -> pl.Expr:
    """Return the band of a proxy's strength, as words."""
    words = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(BANDS[:-1])] + [f"{BANDS[-2]:g} and more"]
    below = [pl.col("strength") < high for high in BANDS[1:]]
    return pl.coalesce(pl.when(one).then(pl.lit(word)) for one, word in zip(below, words, strict=True)).alias(
        "strength"
    )


def _open_to(bundle: Bundle, policy: Policy) -> npt.NDArray[np.bool_]:
    from boundary.gate import Gate

    return Gate(bundle.catalogue, policy).item_mask("personal")


def _share(flags: pl.Series) -> float:
    return float(flags.mean()) if len(flags) else 0.0  # type: ignore[arg-type]
