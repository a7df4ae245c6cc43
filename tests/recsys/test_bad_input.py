"""What a shop may get wrong: every command ends with one line that names the mend, and data are printed as they stand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from corner import POLICY, SENSITIVE, catalogue_frame, customers_frame, events_frame, fitted, shopper
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from boundary import Taxonomy
from boundary.tables import read_table
from recsys.bundle import Bundle, BundleError
from recsys.display import console as screen
from recsys.display import grid_of, noted, steps
from recsys.fitting import unblinded
from recsys.shop import Shop, checked_tables, default_choice, fit_shop, latest, read_shop, tell_unknown_words
from recsys.terminal import ready_for

Run = Callable[..., tuple[int, str, str]]
ODD = ["Olive [/soap]", "New [thing]", "[red]Tea[/red]", "back\\", "slash\\[b]", ":smile: cup", "[/x]", "100 % {x}"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose titles and ids look like markup."""
    titles = {f"item-{at:02}": ODD[at % len(ODD)] for at in range(80)}
    catalogue = catalogue_frame().with_columns(
        title=pl.col("item_id").replace(titles), item_id=pl.col("item_id").replace({"item-20": "[/i]"})
    )
    who = {"user_id": pl.col("user_id").replace({shopper(3): "[/x]"})}
    events = events_frame().with_columns(**who, item_id=pl.col("item_id").replace({"item-20": "[/i]"}))
    bundle = fitted(events, customers_frame().with_columns(**who), catalogue)
    return bundle.save(tmp_path_factory.mktemp("odd") / "bundle")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write the small shop as CSV, some of its tables changed."""

    def write(**changes: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
        lists = pl.selectors.by_dtype(pl.List(pl.String)).list.join(";")
        frames = {"events": events_frame(), "catalogue": catalogue_frame(), "customers": customers_frame()}
        for name, frame in frames.items():
            changes.get(name, lambda same: same)(frame.with_columns(lists)).write_csv(tmp_path / f"{name}.csv")
        return tmp_path

    return write


def test_titles_and_ids_that_look_like_markup_are_printed_whole(run: Run, odd: Path):
    """On every screen that shows them."""
    code, told, _ = run("explain", "[/x]", "[/i]", "--bundle", odd)
    assert (code, f"{ODD[20 % len(ODD)]} for a regular" in told) == (0, True)
    code, told, _ = run("score", "--bundle", odd, "--user", "[/x]", "--user", "[/nobody]", "-n", 30)
    assert (code, "[/x]: regular" in told, "[/nobody]: guest" in told) == (0, True, True)
    assert sum(title in told for title in ODD) >= 5
    code, told, _ = run("policy", "diff", "default", "strict", "--bundle", odd, "--users", 20)
    assert (code, any(title in told for title in ODD)) == (0, True)


texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(
    lambda text: Console().render_str(text, markup=False, emoji=False).cell_len == len(text)
)


@settings(deadline=None, max_examples=60)
@given(texts | st.sampled_from(ODD), texts | st.sampled_from(ODD))
def test_any_text_is_printed_whole(one: str, other: str):
    """In a line, in a coloured line, in a table and its title."""
    told = Console(file=io.StringIO(), width=200, highlight=False, soft_wrap=True, markup=False, emoji=False)
    assert (screen._markup, screen._emoji) == (told._markup, told._emoji) == (False, False)
    grid = grid_of(one, title=f"{other}: guest")
    grid.add_row(other)
    for thing in (one, noted(one, other), grid):
        told.print(thing)
    line, coloured, *table = told.file.getvalue().split("\n")
    assert (line, coloured) == (one, f"{one} {other}")
    assert all(part in "\n".join(table) for part in (f"{other}: guest", one, other))


def test_a_word_wider_than_the_screen_is_not_cut():
    """It goes on in the next line of its cell."""
    told = Console(file=io.StringIO(), width=40, markup=False, emoji=False)
    grid = grid_of("item", "title")
    grid.add_row("i" * 30, "t" * 70)
    told.print(grid)
    assert (told.file.getvalue().count("i"), told.file.getvalue().count("t")) == (30 + 2, 70 + 3)


def test_paths_that_look_like_markup_are_printed_whole(run: Run, tmp_path: Path):
    """A file that is there and one that is not."""
    (tmp_path / "a[").mkdir()
    (tmp_path / "a[" / "b].toml").write_text(POLICY.to_toml())
    code, told, _ = run("policy", "check", tmp_path / "a[/b].toml")
    assert (code, "a[/b].toml: " in told) == (0, True)
    code, told, _ = run("policy", "check", tmp_path / "no[/b].toml")
    assert (code, "no[/b].toml: cannot be read" in told) == (2, True)


def one_line(run: Run, *words: object, code: int = 2) -> str:
    """The line with which a command ends."""
    ended, _, told = run(*words)
    assert (ended, told.count("\n"), told[:7]) == (code, 1, "error: "), told
    return told


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fit", "--data", "SHOP", "--seed", "-1"], "`seed` must be at least 0 but got -1"),
        (["fit", "--data", "SHOP", "--seed", 2**32], "`seed` must be at most 4294967295 but got 4294967296"),
        (["fit", "--data", "SHOP", "--out", "/proc/x/y"], "/proc/x: No such file or directory; check the path"),
        (["fit", "--data", "SHOP", "--out", "SHOP/events.csv"], "events.csv: Not a directory; check the path"),
        (["fit", "--data", "SHOP", "--setting", "factors=banana"], "`factors` of als must be a whole number but got 'banana'"),
        (["fit", "--data", "SHOP", "--setting", "factor=3"], "als has no setting 'factor'; did you mean factors?"),
        (["fit", "--data", "SHOP", "--model", "popular", "--setting", "x=3"], "popular has no setting 'x'; remove it"),
        (["fit", "--data", "SHOP", "--model", "blend"], "blend needs a setting `parts`"),
        (["fit", "--data", "SHOP", "--model", "alss"], "but got 'alss'; did you mean als?"),
        (["fit", "--data", "SHOP", "--setting", "banana"], "--setting must be name=value but got 'banana'"),
        (["fit", "--data", "SHOP", "--setting", "factors=3", "--tune", 2], "--setting must be left out with --tune"),
        (["fit", "--data", "SHOP", "--tune", -2], "--tune must be at least 0 but got -2"),
        (["fit", "--data", "SHOP", "--engine", "x"], "--engine must be local or spark but got 'x'"),
        (["fit", "--data", "SHOP", "--out", "SHOP"], "holds other files than a bundle's, which it would replace"),
        (["fit", "--data", "SHOP", "--now", "2020-01-01"], "`now` must be after one of the 1,779 events, of which the first is at 2025-12-"),
        (["score", "--bundle", "BUNDLE", "--out", "/proc/x"], "/proc/x: No such file or directory; check the path"),
        (["score", "--bundle", "BUNDLE", "--out", "SHOP/events.csv"], "check the path"),
        (["policy", "diff", "default", "strict", "--users", "-5"], "--users must be at least 1 but got -5"),
        (["policy", "diff", "default", "strict", "--out", "x.csv"], "--out must be the name of a .parquet file but got 'x.csv'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(
    run: Run, folder, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
):
    """Field, bound, value and mend; no traceback."""
    monkeypatch.chdir(tmp_path)
    shop, home = folder(), tmp_path / "bundle"
    if "BUNDLE" in words:
        bundle.save(home)
    assert line in one_line(run, *[str(word).replace("SHOP", str(shop)).replace("BUNDLE", str(home)) for word in words])


@pytest.mark.parametrize(
    ("table", "change", "line"),
    [
        ("events", lambda frame: frame.clear(), "events: not one row can be used"),
        ("events", lambda frame: frame.with_columns(at=pl.lit("soon")), "events: not one row can be used"),
        ("events", lambda frame: frame.with_columns(item_id=pl.lit("x")), "names an item that the catalogue holds"),
        ("catalogue", lambda frame: frame.clear(), "catalogue: not one row can be used"),
    ],
)
def test_a_shop_with_nothing_to_learn_from_is_refused(run: Run, folder, tmp_path: Path, table: str, change, line: str):
    """There would be a bundle that shows nothing."""
    assert line in one_line(run, "fit", "--data", folder(**{table: change}), "--out", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_rejects_are_told_with_what_is_not_named_and_go_when_all_is_well(tmp_path: Path):
    """The most frequent reasons, then how many more; a clean reading leaves no old file."""
    lines = (
        ["ann,a,view,2026-01-01"]
        + [f"ann,a,view,day {at}" for at in range(3)]
        + ["ann,a,buy,2026-01-01", ",a,view,2026-01-01"]
    )
    lines += ["ann,,view,2026-01-02", "ann,a,buy,soon", "ann,a,view,2026-01-01", "ann,a,view,2026-01-01,x"]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,kind,at", *lines]) + "\n")
    catalogue_frame().with_columns(pl.col("conditions").fill_null("")).write_parquet(tmp_path / "catalogue.parquet")
    told = Console(file=io.StringIO(), width=500)
    read_shop(tmp_path, rejects=tmp_path / "r", console=told)
    line = next(line for line in told.file.getvalue().splitlines() if "bad rows" in line)
    assert line.startswith(f"  9 bad rows kept aside in {tmp_path / 'r' / 'events.parquet'}: 3 at.unreadable, ")
    assert line.endswith(", and 3 for 3 more reasons")
    assert set(pl.read_parquet(tmp_path / "r" / "events.parquet")["reason"]) >= {"row.too_many_fields", "duplicate"}
    (tmp_path / "events.csv").write_text("user_id,item_id,kind,at\nann,item-01,view,2026-01-01\n")
    read_shop(tmp_path, rejects=tmp_path / "r", console=Console(quiet=True))
    assert not (tmp_path / "r" / "events.parquet").exists()


def test_a_call_with_frames_leaves_no_old_rejects_either(tmp_path: Path):
    good = events_frame().head(3)
    for frame, there in ((good.with_columns(kind=pl.lit("buy")), True), (good, False)):
        checked_tables({"events": frame}, rejects=tmp_path)
        assert (tmp_path / "events.parquet").exists() == there


def test_an_update_keeps_bad_rows_beside_the_data(run: Run, home: Path, tmp_path: Path):
    """As `--help` and the README say; a word of consent that nobody asks for is told too."""
    today = tmp_path / "today"
    today.mkdir()
    lists = pl.selectors.by_dtype(pl.List(pl.String)).list.join(";")
    slips = customers_frame().head(4).with_columns(consent=pl.lit(["persnalise", "email"]))
    slips.with_columns(lists).write_csv(today / "customers.csv")
    (today / "events.csv").write_text("user_id,item_id,kind,at\nann,item-01,view,soon\n")
    code, told, _ = run("update", "--bundle", home, "--data", today)
    assert (code, (tmp_path / "today.rejects" / "events.parquet").exists()) == (0, True)
    assert "customers: 4 rows have a consent or channel that the policy knows nothing of" in told
    assert "'persnalise'; there are email, personalise, push" in told


def test_up_to_three_unknown_words_are_named_and_known_ones_are_not():
    """Purposes, channels and surfaces of rules and overrides are known."""
    words = [["personalise"], ["email", "sms"], ["post"], ["fax"], ["telex", "sms"], []]
    frame = read_table(
        pl.DataFrame({
            "user_id": [f"u{at}" for at in range(6)], "consent": words, "opted_out": [False] * 6,
            "channels": [["push"]] * 5 + [["e-mail"]], "timezone": ["UTC"] * 6, "since": ["2026-01-01"] * 6,
        }),
        "customers",
    ).rows  # fmt: skip
    told = Console(file=io.StringIO(), width=500)
    tell_unknown_words(frame, POLICY, told)
    assert told.file.getvalue().startswith("customers: 5 rows have a consent or channel")
    assert "'sms', " in told.file.getvalue()
    assert " and 2 more; there are email, personalise, push" in told.file.getvalue()
    told = Console(file=io.StringIO())
    tell_unknown_words(frame.head(1), POLICY, told)
    tell_unknown_words(frame.head(2), POLICY.replace({"overrides.surface.sms.item_cap.times": 1}), told)
    tell_unknown_words(None, POLICY, told)
    assert not told.file.getvalue()


def test_ids_in_a_file_are_stripped_and_strangers_counted(run: Run, home: Path, tmp_path: Path):
    """Blanks around an id make no stranger."""
    (tmp_path / "ids.txt").write_text(f"\ufeff {shopper(3)} \n{shopper(4)}\t\n\n  \nnobody\n{shopper(3)}\n")
    code, told, _ = run("score", "--bundle", home, "--users", tmp_path / "ids.txt", "--out", tmp_path / "slates")
    assert (code, "1 of 3 shoppers are not in the bundle: they get a guest's list" in told) == (0, True)
    assert set(pl.read_parquet(tmp_path / "slates" / "slates")["user_id"]) >= {shopper(3), shopper(4)}


@pytest.mark.parametrize(
    ("changes", "families", "model", "why"),
    [
        ({"blind.strength": 0}, SENSITIVE, "als", "the policy's blind.strength is 0"),
        ({}, SENSITIVE, "popular", "the model has no user vectors"),
        ({}, Taxonomy(entries=()), "als", "the taxonomy has no families"),
        ({"blind.fewest_buyers": 50}, SENSITIVE, "als", "no sensitive family was bought by 50 shoppers and left by as many"),
        ({}, SENSITIVE, "als", None),
    ],
)  # fmt: skip
def test_why_nothing_is_erased_is_told_as_it_is(
    changes: dict[str, float], families: Taxonomy, model: str, why: str | None
):
    """The true cause of several."""
    shop = Shop(events_frame(), catalogue_frame(), customers_frame())
    terms = {"factors": 4, "iterations": 1} if model == "als" else {}
    choice = default_choice(1, model=model, settings=terms)
    rules = POLICY.replace(changes)
    told = unblinded(fit_shop(shop, taxonomy=families, policy=rules, choice=choice, now=latest(shop.events)))
    assert told == why or (why is not None and told is not None and told.startswith(why))


def test_nothing_is_erased_where_nobody_may_be_learned_from():
    shop = Shop(events_frame(), catalogue_frame(), customers_frame().with_columns(opted_out=True))
    choice = default_choice(1, model="als", settings={"factors": 4, "iterations": 1})
    bundle = fit_shop(shop, taxonomy=SENSITIVE, policy=POLICY, choice=choice, now=latest(shop.events))
    assert unblinded(bundle) == "fewer than two shoppers have events that may be learned from"


def test_a_bar_is_gone_before_an_error_is_told():
    """On a screen and in a log."""
    for terminal in (True, False):
        told = Console(file=io.StringIO(), force_terminal=terminal, width=100)
        with pytest.raises(ValueError, match="broken"), steps("Fitting", on=told) as tell:
            tell("training", 0.5)
            raise ValueError("broken")
        if terminal:
            assert told.file.getvalue().endswith("\x1b[1A\x1b[2K")
        else:
            assert "Fitting" not in told.file.getvalue()


def test_a_number_of_buyers_is_a_whole_one(run: Run, folder, tmp_path: Path):
    code, told, _ = run("fit", "--data", folder(), "--out", tmp_path / "b", "--setting", "factors=4")
    assert (code, "items have fewer than 30 buyers" in told) == (0, True)


def test_a_place_for_a_bundle_is_new_or_empty_or_a_bundle(home: Path, tmp_path: Path):
    """Its parent is made; what else lies there is never replaced."""
    (tmp_path / "empty").mkdir()
    for place in (home, tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        ready_for(place)
        assert place.parent.is_dir()
    (tmp_path / "empty" / "thesis.txt").touch()
    with pytest.raises(BundleError, match="holds other files than a bundle's"):
        ready_for(tmp_path / "empty")
