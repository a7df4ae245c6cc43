"""What a fit leaves behind: one directory with everything a scoring call needs, and nothing pickled."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from boundary.associations import Blindfold, Proxies
from boundary.catalogue import Catalogue
from boundary.history import History
from boundary.policy import Policy
from boundary.shoppers import Customers
from boundary.taxonomy import Taxonomy
from boundary.words import Kind
from recsys.evidence import evidence_of
from recsys.forgetting import FILE, Forgotten, Mark
from recsys.interactions import Weighing
from recsys.models import Moments, Recommender, load_model
from recsys.models.store import check_finite, check_shapes
from recsys.parts import BLINDFOLD, BROKEN, check_within, line_of, missing_of, parts_in, read_moments, read_part
from recsys.people import (
    CUSTOMERS,
    HISTORY,
    MANIFEST,
    copies_of,
    counts_of,
    forget_on_disk,
    mapped,
    marks_of,
    people_of,
    without,
    without_past,
    write_copies,
    write_users,
)
from recsys.registered import bundle_of, is_registered
from recsys.repeats import usual
from recsys.swap import drafted, inode, locked

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
TRIES = 20  # how often a bundle that is replaced while it is read is read again


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
        forgotten: the marks of all who were forgotten.
        fit_id: equal for bundles of one fit, whose rows mean the same.
        path: the directory it was opened from; None for one that lies nowhere.
        seen: the ``mark`` of that directory when its shoppers were read, or earlier.
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
    forgotten: Forgotten = field(default_factory=Forgotten)
    fit_id: str = field(default_factory=lambda: secrets.token_hex(16))
    path: Path | None = None
    seen: tuple[int, int, int] | None = None

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
    def usual(self) -> npt.NDArray[np.float32]:
        """(I,) how often those who bought an item bought it, on average."""
        once = Weighing({"purchase": 1.0})
        return usual(evidence_of(self.history, once, items=len(self.catalogue_table), now=0))

    @cached_property
    def titles(self) -> list[str]:
        """(I,) what an item is called."""
        return self.catalogue_table["title"].to_list()

    def save(self, path: str | Path) -> Path:
        """Write the bundle into a directory that appears whole or not at all; an older one is replaced.

        Whoever was forgotten in the older one since this one was fitted is forgotten in this one too.

        Raises:
            BundleError: other files than a bundle's stand there.
            ForgottenError: what an older one keeps of the forgotten cannot be read.
        """
        path = Path(path)
        check_place(path)
        with locked(path):
            missed = marks_of(path).newer_than(self.forgotten)
            copies = copies_of(path)
            bundle = self._late_without(missed) if len(missed) else self
            with drafted(path) as draft:
                bundle._write(draft)  # noqa: SLF001 (the same class)
                write_copies(draft, copies)
        return path

    def without(self, missed: Forgotten) -> Bundle:
        """Return the bundle without those whom the marks are of; their rows stay, empty."""
        return self._left(without(self.user_ids, self.history, self.customers_table, missed), missed)

    def _late_without(self, missed: Forgotten) -> Bundle:
        """Return the bundle without what it should not have learned from: a fit that did not know of the marks.

        Who came back stays, without what was before; the items' factors wait for a fit that knows.
        """
        due = missed.awaiting(self.user_ids, days=self.policy.ledger.retrain_days)
        return self._left(without_past(self.user_ids, self.history, self.customers_table, missed), due)

    def _left(self, people: dict[str, Any], marks: Forgotten) -> Bundle:
        forgotten = self.forgotten.joined(marks)
        facts = self.facts | counts_of(people["user_ids"], people["history"]) | {"forgotten": forgotten.told()}
        return self._of_same_items(**people, forgotten=forgotten, facts=facts)

    def under(self, policy: Policy) -> Bundle:
        """Return the bundle with another policy in force, and its blindfold at that policy's strength.

        What a blindfold erases is a multiple of the strength, so none can be had where nothing was erased.

        Raises:
            BundleError: the policy blinds, and this one does not.
        """
        at, strength = self.policy.blind.strength, policy.blind.strength
        if strength == at:
            return self if policy is self.policy else self._of_same_items(policy=policy)
        if at == 0:
            nobody = csr_matrix(np.empty((0, len(self.catalogue_table)), np.float32))
            if self.model.vectors(nobody) is not None:
                raise BundleError(
                    f"`blind.strength` {strength} cannot be had of a bundle that was fitted at 0; fit again with more"
                )
        if self.blindfold is None:
            return self._of_same_items(policy=policy)
        times, whole = np.float32(strength / at), np.eye(len(self.blindfold.matrix), dtype=np.float32)
        blind = Blindfold(
            whole + times * (self.blindfold.matrix - whole), times * self.blindfold.offset, self.blindfold.left_out
        )
        return self._of_same_items(policy=policy, blindfold=blind, moments=self.model.moments(blind))

    def _of_same_items(self, **changes: Any) -> Bundle:
        """Return the bundle with changes that leave rows as they are; what was compiled is kept."""
        bundle = replace(self, **changes)
        for name in ("catalogue", "customers", "titles"):
            if name in self.__dict__:
                bundle.__dict__[name] = self.__dict__[name]
        return bundle

    @property
    def mark(self) -> tuple[int, int, int] | None:
        """What changes when somebody is forgotten on disk, quick to ask; None where nobody ever was."""
        return None if self.path is None else _mark(self._mark_file)

    @cached_property
    def _mark_file(self) -> str:
        return str(self.path / FILE) if self.path is not None else ""

    def followed(self) -> Bundle:
        """Return the bundle as it lies on disk by now; of another fit only who was forgotten there is taken over."""
        if self.path is None:
            return self
        for _ in range(TRIES):
            before, seen = inode(self.path), self.mark
            try:
                missed = marks_of(self.path).newer_than(self.forgotten)
                manifest = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
                if manifest["fit_id"] != self.fit_id:
                    return replace(self.without(missed), seen=seen)
                people = people_of(self.path) | {"facts": manifest["facts"], "seen": seen}
            except (OSError, ValueError, KeyError):
                if before == inode(self.path):
                    raise
                continue
            if before == inode(self.path):
                return self._of_same_items(**people)
        raise BundleError(f"{self.path} changes faster than it can be read; try again")

    def forget(self, user_id: str, mark: Mark) -> tuple[Bundle, int]:
        """Return the bundle without a shopper, and the number of their events; on disk it changes first.

        The directory is replaced by one with new files: arrays that somebody has mapped are never written into.
        """
        if self.path is None:
            row = self.user_row.get(user_id)
            events = 0 if row is None else int(self.history.offsets[row + 1] - self.history.offsets[row])
            due = mark if row is not None else Mark(mark.at, None)
            return self.without(Forgotten().adding(user_id, due)), events
        with locked(self.path):
            events = forget_on_disk(self.path, user_id, mark, known=user_id in self.user_row)
        row = self.user_row.get(user_id)
        here = 0 if row is None else int(self.history.offsets[row + 1] - self.history.offsets[row])
        return self.followed(), max(events, here)

    def _write(self, path: Path) -> None:
        self.catalogue_table.write_parquet(path / "catalogue.parquet")
        if self.customers_table is not None:
            self.customers_table.write_parquet(path / CUSTOMERS)
        (path / "taxonomy.json").write_text(self.taxonomy.model_dump_json(by_alias=True), encoding="utf-8")
        (path / "policy.toml").write_text(self.policy.to_toml(), encoding="utf-8")
        write_users(path, self.user_ids)
        for name in HISTORY:
            np.save(path / f"history.{name}.npy", getattr(self.history, name), allow_pickle=False)
        for name in ("support", "crowd", "explore"):
            np.save(path / f"{name}.npy", getattr(self, name), allow_pickle=False)
        np.savez(path / "moments.npz", mean=self.moments.mean, std=self.moments.std)
        self.proxies.save(path / "proxies.npz")
        if self.blindfold is not None:
            self.blindfold.save(path / "blindfold.npz")
        self.model.save(path / "model")
        self.forgotten.save(path)
        manifest = {
            "format": FORMAT,
            "parts": parts_in(path),
            "fit_id": self.fit_id,
            "weighing": self.weighing.to_dict(),
            "policy_digest": self.policy.digest,
            "facts": self.facts,
        }
        (path / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Open a bundle's folder, or that of a registered model, ``models:/name@alias``; large arrays stay memory-mapped.

        Every part that the manifest lists must be there, and all must fit together. Looked through, in place, are the
        model's numbers, which serving reads anyway, and each event's item and kind, five bytes an event; prices,
        quantities and times are not.

        Raises:
            BundleError: there is none at the path, or a part is missing or broken.
            RegisteredError: there is no such registered model.
        """
        path = (bundle_of(str(path)) if is_registered(path) else Path(path)).absolute()
        for _ in range(TRIES):
            before, seen = inode(path), _mark(str(path / FILE))
            try:
                bundle = cls._open(path)
            except BundleError:
                if before == inode(path):
                    raise
                continue
            if before == inode(path):
                return replace(bundle, seen=seen)
        raise BundleError(f"{path} changes faster than it can be read; try again")

    @classmethod
    def _open(cls, path: Path) -> Bundle:
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} is no bundle ({error}); make one with `cornerstore fit`") from error
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise BundleError(f"{path} has format {found!r} but this version reads {FORMAT}; fit again")
        try:
            if missing := missing_of(path, manifest):
                raise BundleError(missing)
            bundle = cls._read(path, manifest)
            bundle._check()  # noqa: SLF001 (the same class)
        except BROKEN as error:
            raise BundleError(f"{path} is damaged ({line_of(error)}); fit again or restore it") from error
        return bundle

    @classmethod
    def _read(cls, path: Path, manifest: dict[str, Any]) -> Bundle:
        stock = pl.read_parquet(path / "catalogue.parquet")
        blindfold = path / BLINDFOLD
        blind = read_part(blindfold, Blindfold.load) if blindfold.exists() else None
        size = None if blind is None else len(blind.offset)
        return cls(
            catalogue_table=stock,
            taxonomy=Taxonomy.model_validate_json((path / "taxonomy.json").read_text(encoding="utf-8")),
            policy=Policy.load(path / "policy.toml"),
            weighing=Weighing.from_dict(manifest["weighing"]),
            model=read_part(path / "model", lambda folder: load_model(folder, items=len(stock), dimensions=size)),
            moments=read_part(path / "moments.npz", read_moments),
            support=np.array(read_part(path / "support.npy", mapped)),
            crowd=np.array(read_part(path / "crowd.npy", mapped)),
            explore=np.array(read_part(path / "explore.npy", mapped)),
            proxies=read_part(path / "proxies.npz", Proxies.load),
            blindfold=blind,
            facts=dict(manifest["facts"]),
            fit_id=manifest["fit_id"],
            path=path,
            **people_of(path),
        )

    def _check(self) -> None:
        """Refuse parts that do not fit together, since compiled code would read past their ends."""
        items, history = len(self.catalogue_table), self.history
        of_items = {"mean score": self.moments.mean, "its deviation": self.moments.std, "support": self.support}
        for name, array in of_items.items():
            check_shapes({name: array}, **{name: (items,)})
            check_finite(name, array)
        learned = {"proxy lift": self.proxies.lift, "proxy z": self.proxies.z}
        check_shapes(learned, **dict.fromkeys(learned, (len(self.taxonomy.families), items)))
        if self.blindfold is not None:
            blind = {"blindfold": self.blindfold.matrix, "its offset": self.blindfold.offset}
            check_shapes(blind, blindfold=2 * self.blindfold.offset.shape)
            for name, array in blind.items():
                check_finite(name, array)
        check_shapes({"history.offsets": history.offsets}, **{"history.offsets": (len(self.user_ids) + 1,)})
        check_within("crowd", self.crowd, items)
        check_within("explore", self.explore, items)
        check_within("history.item_row", history.item_row, items, least=-1)
        check_within("history.kind", history.kind, len(Kind))


def check_place(path: Path) -> None:
    """Refuse a directory in which a bundle would take the place of other files.

    Raises:
        BundleError: with the mend.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).exists():
        raise BundleError(f"{path} holds other files than a bundle's, which it would replace; choose a new folder")


def _mark(file: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116 (asked at every call, and Path is slow)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
