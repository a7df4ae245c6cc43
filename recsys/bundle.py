"""What a fit leaves behind: one directory with everything a scoring call needs, and nothing pickled."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.associations import Blindfold, Proxies
from boundary.catalogue import Catalogue
from boundary.history import History
from boundary.policy import Policy
from boundary.shoppers import Customers
from boundary.taxonomy import Taxonomy
from recsys.interactions import Weighing
from recsys.models import Moments, Recommender, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
HISTORY = ("offsets", "item_row", "kind", "at", "unit_price", "quantity")


class BundleError(RuntimeError):
    """A directory is no bundle of this version, or its parts do not fit together."""


@dataclass(frozen=True)
class Bundle:
    """A fitted shop: tables, policy, model and what was learned for the boundary.

    Attributes:
        catalogue_table: validated rows, in the order of ``item_row``.
        customers_table: validated rows, None where the shop has no such table.
        taxonomy: which categories are sensitive.
        policy: the rules.
        user_ids: (U,) in the order of ``user_row``; "" is a shopper who was forgotten.
        history: (U,) all events of the shoppers.
        weighing: how much an event counts as evidence.
        model: the recommender.
        moments: each item's mean score and its standard deviation, for closeness.
        support: (I,) distinct buyers.
        crowd: (C,) item rows of the crowd shelf, best first.
        explore: (P,) item rows that explore slots draw from.
        proxies: what items say of the sensitive families.
        blindfold: the map that forgets, None for a model without vectors.
        facts: what ``cornerstore status`` shows.
    """

    catalogue_table: pl.DataFrame
    customers_table: pl.DataFrame | None
    taxonomy: Taxonomy
    policy: Policy
    user_ids: Sequence[str]
    history: History
    weighing: Weighing
    model: Recommender
    moments: Moments
    support: npt.NDArray[np.float32]
    crowd: npt.NDArray[np.int32]
    explore: npt.NDArray[np.int32]
    proxies: Proxies
    blindfold: Blindfold | None
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items as columns that rules read."""
        return Catalogue.compile(
            self.catalogue_table,
            self.taxonomy,
            support=self.support,
            proxy_lift=self.proxies.lift,
            proxy_z=self.proxies.z,
        )

    @cached_property
    def customers(self) -> Customers:
        """What the shoppers of ``user_ids`` agreed to."""
        return Customers.compile(self.customers_table, self.user_ids, self.taxonomy.families)

    @cached_property
    def user_row(self) -> dict[str, int]:
        """Id to row; a forgotten shopper has none."""
        return {user: row for row, user in enumerate(self.user_ids) if user}

    @cached_property
    def titles(self) -> list[str]:
        """(I,) what an item is called."""
        return self.catalogue_table["title"].to_list()

    def save(self, path: str | Path) -> Path:
        """Write the bundle into a directory that appears whole or not at all; an older one is replaced."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            self._write(draft)
            old = draft.with_name(draft.name + ".old")
            if path.exists():
                path.rename(old)
            draft.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return path

    def _write(self, path: Path) -> None:
        self.catalogue_table.write_parquet(path / "catalogue.parquet")
        if self.customers_table is not None:
            self.customers_table.write_parquet(path / "customers.parquet")
        (path / "taxonomy.json").write_text(self.taxonomy.model_dump_json(by_alias=True), encoding="utf-8")
        (path / "policy.toml").write_text(self.policy.to_toml(), encoding="utf-8")
        pl.DataFrame({"user_id": pl.Series(list(self.user_ids), dtype=pl.String)}).write_parquet(
            path / "users.parquet"
        )
        for name in HISTORY:
            np.save(path / f"history.{name}.npy", getattr(self.history, name), allow_pickle=False)
        for name in ("support", "crowd", "explore"):
            np.save(path / f"{name}.npy", getattr(self, name), allow_pickle=False)
        np.savez(path / "moments.npz", mean=self.moments.mean, std=self.moments.std)
        self.proxies.save(path / "proxies.npz")
        if self.blindfold is not None:
            self.blindfold.save(path / "blindfold.npz")
        self.model.save(path / "model")
        manifest = {
            "format": FORMAT,
            "weighing": self.weighing.to_dict(),
            "policy_digest": self.policy.digest,
            "facts": self.facts,
        }
        (path / "bundle.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Open a bundle; large arrays stay memory-mapped.

        Raises:
            BundleError: there is none at the path, or a part is missing or broken.
        """
        path = Path(path)
        try:
            manifest = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} is no bundle ({error}); make one with `cornerstore fit`") from error
        if manifest.get("format") != FORMAT:
            raise BundleError(
                f"{path} has format {manifest.get('format')!r} but this version reads {FORMAT}; fit again"
            )
        try:
            return cls._read(path, manifest)
        except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
            raise BundleError(f"{path} is damaged ({error}); fit again or restore it") from error

    @classmethod
    def _read(cls, path: Path, manifest: dict[str, Any]) -> Bundle:
        def array(name: str) -> npt.NDArray[Any]:
            loaded: npt.NDArray[Any] = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            return loaded

        customers, blindfold = path / "customers.parquet", path / "blindfold.npz"
        moments = np.load(path / "moments.npz")
        return cls(
            catalogue_table=pl.read_parquet(path / "catalogue.parquet"),
            customers_table=pl.read_parquet(customers) if customers.exists() else None,
            taxonomy=Taxonomy.model_validate_json((path / "taxonomy.json").read_text(encoding="utf-8")),
            policy=Policy.load(path / "policy.toml"),
            user_ids=pl.read_parquet(path / "users.parquet")["user_id"].to_list(),
            history=History(**{name: array(f"history.{name}") for name in HISTORY}),
            weighing=Weighing.from_dict(manifest["weighing"]),
            model=load_model(path / "model"),
            moments=Moments(moments["mean"], moments["std"]),
            support=np.array(array("support")),
            crowd=np.array(array("crowd")),
            explore=np.array(array("explore")),
            proxies=Proxies.load(path / "proxies.npz"),
            blindfold=Blindfold.load(blindfold) if blindfold.exists() else None,
            facts=manifest["facts"],
        )
