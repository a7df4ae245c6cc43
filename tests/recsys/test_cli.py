"""The commands, as a shop runs them on its own CSV tables: what they leave, and how they end on bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from corner import POLICY, catalogue_frame, customers_frame, events_frame, shopper

from recsys.bundle import Bundle

Run = Callable[..., tuple[int, str, str]]
TAXONOMY = '[[entries]]\nfamily = "health"\ncategory = "aisle-9"\n'


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small shop as CSV files, lists joined by semicolons."""
    folder = tmp_path_factory.mktemp("shop")
    lists = pl.selectors.by_dtype(pl.List(pl.String)).list.join(";")
    for name, frame in (("events", events_frame()), ("catalogue", catalogue_frame()), ("customers", customers_frame())):
        frame.with_columns(lists).write_csv(folder / f"{name}.csv")
    (folder / "families.toml").write_text(TAXONOMY)
    (folder / "rules.toml").write_text(POLICY.to_toml())
    return folder


def test_a_shop_of_its_own_from_tables_to_slates_and_out_again(run: Run, tables: Path, tmp_path: Path):
    """Fit, score, explain, forget and status work on one folder, and what they leave agrees."""
    bundle, out = tmp_path / "bundle", tmp_path / "slates"
    code, told, _ = run(
        "fit", "--data", tables, "--taxonomy", tables / "families.toml", "--out", bundle, "--setting", "factors=6",
        "--policy", tables / "rules.toml",
        "--model", "als",
    )  # fmt: skip
    assert (code, "60 shoppers, 80 items" in told) == (0, True)
    code, told, _ = run("score", "--bundle", bundle, "--out", out, "-n", 5)
    manifest = json.loads((out / "manifest.json").read_text())
    slates = pl.read_parquet(out / "slates")
    assert (code, manifest["scored"], len(slates)) == (0, 60, manifest["shown"])
    assert slates.group_by("user_id").len()["len"].max() <= 5
    code, told, _ = run("score", "--bundle", bundle, "--user", shopper(57), "--user", "nobody", "-n", 5)
    assert (code, "left alone: opted_out" in told, "left alone: unknown" in told) == (0, True, True)
    code, told, _ = run("explain", shopper(3), "item-20", "--bundle", bundle, "--json")
    assert (code, json.loads(told)["item_id"]) == (0, "item-20")
    code, told, _ = run("forget", shopper(3), "--bundle", bundle, "--slates", out)
    assert (code, shopper(3) in pl.read_parquet(out / "slates")["user_id"].to_list()) == (0, False)
    code, told, _ = run("status", "--bundle", bundle)
    assert (code, json.loads(told)["forgotten"]["count"]) == (0, 1)


@pytest.mark.parametrize(
    ("families", "told"),
    [
        ("entries = []", "it has no entries"),
        ('[[entries]]\nfamily = "faith"\ncategory = "candles"', "not one entry matches"),
    ],
)
def test_a_taxonomy_that_protects_nobody_is_told(run: Run, tables: Path, tmp_path: Path, families: str, told: str):
    """Without a sensitive family in sight a shop learns at once that nothing counts as sensitive."""
    (tmp_path / "families.toml").write_text(families)
    code, said, _ = run(
        "fit", "--data", tables, "--taxonomy", tmp_path / "families.toml", "--out", tmp_path / "bundle",
        "--setting", "factors=6",
    )  # fmt: skip
    assert (code, told in said, "nothing here counts as sensitive" in said.replace("\n", " ")) == (0, True, True)


def test_a_tuned_fit_prints_its_trials_and_keeps_the_best(run: Run, tables: Path, tmp_path: Path):
    """As many rows as trials, settings in words, and the bundle's model is that of the first row."""
    code, told, _ = run(
        "fit", "--data", tables, "--taxonomy", tables / "families.toml", "--policy", tables / "rules.toml", "--tune", 2,
        "--model", "spectral", "--out", tmp_path / "bundle",
    )  # fmt: skip
    rows = [line for line in told.splitlines() if line.startswith(("│ spectral", "| spectral"))]
    assert (code, len(rows)) == (0, 2)
    best, other = (float(row.replace("|", "│").split("│")[3]) for row in rows)
    assert best >= other
    assert "factors 256" in told
    kept = Bundle.load(tmp_path / "bundle").model
    assert (kept.name, f"factors {kept.settings['factors']}" in rows[0]) == ("spectral", True)


def test_the_ledger_is_used_unless_none_is_wanted(run: Run, bundle: Bundle, tmp_path: Path):
    """Beside the bundle by default; with none everybody gets the crowd shelf, and is told so."""
    home = bundle.save(tmp_path / "bundle")
    code, told, _ = run("score", "--bundle", home, "--user", shopper(3), "-n", 5)
    assert (code, "because you bought" in told, (tmp_path / "ledger.db").exists()) == (0, True, True)
    code, told, _ = run("score", "--bundle", home, "--user", shopper(3), "-n", 5, "--ledger", "none")
    assert (code, "because you bought" in told, "left alone: ledger_down" in told) == (0, False, True)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("catalogue", lambda frame: frame.drop("price"), "catalogue: column 'price' is missing"),
        ("events", lambda frame: frame.rename({"item_id": "article"}), "events: column 'item_id' is missing"),
        ("customers", lambda frame: frame.drop("consent"), "customers: column 'consent' is missing"),
    ],
)
def test_a_missing_column_ends_in_one_line(run: Run, tables: Path, tmp_path: Path, name: str, change, line: str):
    """The line names table, column and mend; nothing is left behind."""
    for path in tables.glob("*.csv"):
        frame = pl.read_csv(path, infer_schema=False)
        (change(frame) if path.stem == name else frame).write_csv(tmp_path / path.name)
    code, _, told = run("fit", "--data", tmp_path, "--out", tmp_path / "bundle")
    assert (code, told.count("\n"), line in told, "add it" in told) == (2, 1, True, True)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fit", "--data", "nowhere"], "put the shop's events there"),
        (["score", "--bundle", "nowhere"], "make one with `cornerstore fit`"),
        (["score", "--bundle", "BUNDLE", "--policy", "nowhere.toml", "--user", "x"], "nowhere.toml"),
        (["explain", "x", "no such item", "--bundle", "BUNDLE"], "look it up in catalogue.parquet"),
        (["score", "--bundle", "BUNDLE", "-n", "-1", "--user", "x"], "`n` must be at least 0 but got -1"),
        (["score", "--bundle", "BUNDLE", "--ledger", "mysql://x"], "must look like sqlite:///ledger.db"),
        (["score", "--bundle", "BUNDLE", "--now", "yesterday"], "--now must be a time like"),
    ],
)
def test_what_a_user_can_mend_is_one_line(run: Run, bundle: Bundle, tmp_path: Path, words: list[str], line: str):
    """No traceback, code 2."""
    home = bundle.save(tmp_path / "bundle")
    code, _, told = run(*[str(home) if word == "BUNDLE" else word for word in words])
    assert (code, told.count("\n"), line in told) == (2, 1, True), told


def test_every_help_shows_an_example(run: Run):
    """Also of the nested commands."""
    names = ["demo", "prepare", "fit", "score", "explain", "forget", "status"]
    for words in ([name] for name in names):
        code, told, _ = run(*words, "--help")
        assert (code, f"cornerstore {words[0]}" in told) == (0, True), words
    for name in ("check", "diff", "schema"):
        code, told, _ = run("policy", name, "--help")
        assert (code, f"cornerstore policy {name}" in told) == (0, True), name
