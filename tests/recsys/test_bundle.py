"""A bundle's directory is whole, or it is not opened; what is wrong is said in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corner import ITEMS, NOW, POLICY, catalogue_frame, events_frame, shopper

from boundary.associations import Proxies
from boundary.taxonomy import Taxonomy
from recsys.bundle import Bundle, BundleError
from recsys.cli import main
from recsys.engine import Engine
from recsys.fitting import fit_bundle
from recsys.forgetting import FILE, ForgottenError
from recsys.interactions import Weighing
from recsys.models import make_model
from recsys.people import marks_of

Change = Callable[[Any], Any]
MARKS, BLINDFOLD = FILE, "blindfold.npz"


def manifest_of(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "bundle.json").read_text())
    return found


def rewrite(file: Path, change: Change, *, of: str | None) -> None:
    """Write an array, or one of several in an archive, anew."""
    held = np.load(file)
    if of is None:
        np.save(file, change(np.array(held)))
        return
    arrays = {name: held[name] for name in held.files}
    held.close()
    np.savez(file, **arrays | {of: change(arrays[of])})


def test_a_bundle_that_lacks_a_part_is_not_opened(home: Path):
    """Whichever it is, it is named; the manifest lists every file but itself."""
    parts = manifest_of(home)["parts"]
    assert {*parts, "bundle.json", "copies.json"} >= {
        file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()
    }
    assert {MARKS, BLINDFOLD, "customers.parquet", "model/item.npy"} < set(parts)
    for part in parts:
        (home / part).rename(home / "aside")
        with pytest.raises(BundleError, match=rf"lacks {part}; .*restore it") as caught:
            Bundle.load(home)
        assert "\n" not in str(caught.value)
        (home / "aside").rename(home / part)
    Bundle.load(home)


def test_who_was_forgotten_is_not_to_be_had_by_another_fit(home: Path):
    """The marks can only be restored; a bundle that somebody was forgotten in lists its parts still."""
    Bundle.load(home)
    Engine.load(home, ledger=None).forget(shopper(3), now=NOW)
    assert len(Bundle.load(home).forgotten) == 1
    (home / MARKS).unlink()
    with pytest.raises(BundleError, match=r"lacks forgotten\.json; restore it: it keeps the forgotten out"):
        Engine.load(home)


@pytest.mark.parametrize(
    ("gone", "fact", "opens"),
    [(None, 6, True), (MARKS, 6, False), (BLINDFOLD, 6, False), (BLINDFOLD, None, True), (BLINDFOLD, ..., False)],
)
def test_a_bundle_that_lists_no_parts_is_opened_if_its_facts_tell_that_none_is_missing(
    home: Path, gone: str | None, fact: object, opens: bool
):
    """No blindfold is right only where the facts say that there is none."""
    manifest = manifest_of(home)
    del manifest["parts"], manifest["facts"]["blindfold"]
    if fact is not ...:
        manifest["facts"]["blindfold"] = None if fact is None else {"dimensions": fact}
    (home / "bundle.json").write_text(json.dumps(manifest))
    if gone is not None:
        (home / gone).unlink()
    if opens:
        assert Bundle.load(home).fit_id == manifest["fit_id"]
        return
    with pytest.raises(BundleError):
        Bundle.load(home)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_part_that_is_cut_short_is_told_in_one_line(home: Path, share: float):
    """Empty or half, whichever part it is."""
    for part in ["bundle.json", *manifest_of(home)["parts"]]:
        whole = (home / part).read_bytes()
        (home / part).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(BundleError) as caught:
            Bundle.load(home)
        assert "\n" not in str(caught.value), part
        (home / part).write_bytes(whole)


def spoilt(place: tuple[int, ...] | int, value: float) -> Change:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


@pytest.mark.parametrize(
    ("file", "of", "change", "said"),
    [
        ("moments.npz", "mean", lambda a: a[:5], "mean score must be of shape (80,) but is of (5,)"),
        ("moments.npz", "std", lambda a: a[:5], "its deviation must be of shape (80,) but is of (5,)"),
        ("moments.npz", "mean", spoilt(3, np.nan), "mean score must hold finite numbers alone"),
        ("proxies.npz", "lift", lambda a: a[:, 1:], "proxy lift must be of shape (1, 80) but is of (1, 79)"),
        ("proxies.npz", "z", lambda a: a[0], "proxy z must be of shape (1, 80) but is of (80,)"),
        (BLINDFOLD, "matrix", spoilt((0, 1), np.inf), "blindfold must hold finite numbers alone"),
        (BLINDFOLD, "offset", spoilt(5, np.nan), "its offset must hold finite numbers alone"),
        (BLINDFOLD, "matrix", lambda a: a[:5], "blindfold must be of shape (6, 6) but is of (5, 6)"),
        (BLINDFOLD, "offset", lambda a: a[:5], "model must be of 5 dimensions but is of 6"),
        ("support.npy", None, lambda a: a[:79], "support must be of shape (80,) but is of (79,)"),
        ("support.npy", None, spoilt(0, np.nan), "support must hold finite numbers alone"),
        ("crowd.npy", None, spoilt(0, ITEMS), "crowd must be from 0 to 79 but is from"),
        ("crowd.npy", None, spoilt(0, -1), "crowd must be from 0 to 79 but is from -1"),
        ("crowd.npy", None, lambda a: a.astype(np.float32), "crowd must be a list of whole numbers"),
        ("explore.npy", None, spoilt(0, ITEMS), "explore must be from 0 to 79 but is from"),
        ("history.item_row.npy", None, spoilt(9, ITEMS), "history.item_row must be from -1 to 79 but is from"),
        ("history.item_row.npy", None, spoilt(9, -2), "history.item_row must be from -1 to 79 but is from -2"),
        ("history.kind.npy", None, spoilt(9, 4), "history.kind must be from 0 to 3 but is from"),
        ("history.offsets.npy", None, lambda a: np.append(a, a[-1]), "history.offsets must be of shape (61,)"),
        ("history.offsets.npy", None, spoilt(3, 10**6), "damaged"),
        ("history.at.npy", None, lambda a: a[1:], "damaged"),
        ("model/item.npy", None, lambda a: a[:70], "trained must be of shape (70,) but is of (80,)"),
        ("model/item.npy", None, spoilt((7, 2), np.nan), "item must hold finite numbers alone"),
        ("model/covariance.npy", None, lambda a: a[:5], "covariance must be of shape (6, 6) but is of (5, 6)"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together_are_told_in_one_line(
    home: Path, file: str, of: str | None, change: Change, said: str
):
    """Lengths, rows out of range, and numbers that are none."""
    rewrite(home / file, change, of=of)
    with pytest.raises(BundleError) as caught:
        Bundle.load(home)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_fewer_items_is_told(home: Path):
    """Also where its own arrays fit each other."""
    for name in ("item", "trained"):
        rewrite(home / f"model/{name}.npy", lambda array: array[:70], of=None)
    with pytest.raises(BundleError, match="the model must be of 80 items but is of 70"):
        Bundle.load(home)


def test_what_a_shop_may_lack_is_no_damage(bundle: Bundle, tmp_path: Path):
    """Items that are not in the catalogue have the row -1; there may be no family, no blindfold, no table of customers."""
    outside = bundle.history.item_row.copy()
    outside[0] = -1
    nothing = np.empty((0, ITEMS), np.float32)
    bare = replace(
        bundle, history=replace(bundle.history, item_row=outside), taxonomy=Taxonomy(entries=()),
        proxies=Proxies(nothing, nothing), blindfold=None, customers_table=None,
    )  # fmt: skip
    again = Bundle.load(bare.save(tmp_path / "bundle"))
    assert (again.history.item_row[0], again.blindfold, again.customers_table) == (-1, None, None)


def test_a_shop_without_families_events_or_shoppers_is_opened(tmp_path: Path):
    """Nothing is learned of it, and that fits together."""
    none = fit_bundle(
        events_frame().clear(), catalogue_frame(), None, taxonomy=Taxonomy(entries=()), policy=POLICY, now=NOW, seed=3,
        model=make_model("als", factors=6), weighing=Weighing({"purchase": 1.0}),
    )  # fmt: skip
    assert not Bundle.load(none.save(tmp_path / "bundle")).user_ids


def test_the_command_ends_with_the_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """No traceback, code 2."""
    whole = (home / "moments.npz").read_bytes()
    (home / "moments.npz").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(sys, "argv", ["cornerstore", "status", "--bundle", str(home)])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr().err
    assert (end.value.code, told.count("\n"), "moments.npz: File is not a zip file" in told) == (2, 1, True), told


def test_a_bundle_takes_the_place_of_no_other_files(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    """An empty folder and an older bundle may be replaced; a shop's tables may not."""
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", home):
        assert Bundle.load(bundle.save(place)).fit_id == bundle.fit_id
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "events.csv").write_text("mine")
    with pytest.raises(BundleError, match=r"shop holds other files than a bundle's, which it would replace"):
        bundle.save(tmp_path / "shop")
    assert (tmp_path / "shop" / "events.csv").read_text() == "mine"


def test_a_bundle_that_lost_its_marks_is_not_replaced(bundle: Bundle, home: Path) -> None:
    """What kept the forgotten out is missed before a new fit takes its place; a new folder has none to miss."""
    assert len(marks_of(home.parent / "new")) == 0
    (home / "forgotten.json").unlink()
    with pytest.raises(ForgottenError, match=r"forgotten\.json is missing; restore it"):
        bundle.save(home)
