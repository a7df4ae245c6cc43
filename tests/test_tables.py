"""Reading tables: every row is kept or rejected with a reason, and never silently used."""

import datetime as dt
import gzip
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from boundary.tables import SCHEMAS, TableError, read_table, write_parquet_atomic, write_rejects

GOOD = {
    "events": {
        "user_id": "u1", "item_id": "i1", "kind": "purchase", "at": "2026-01-02T03:04:05Z",
        "quantity": "2", "unit_price": "1.5",
    },
    "catalogue": {
        "item_id": "i1", "title": "Tea", "category": "TEAS", "brand": "maker 1", "price": "2.5",
        "kind": "product", "created_at": "2026-01-01", "department": "GROCERY", "type": "BLACK TEA",
        "promoted": "true", "margin": "-0.1", "was_price": "3", "low_30d": "2.5", "badge": "only 3 left",
        "badge_stock": "3", "badge_until": "2026-02-01", "badge_count": "0", "replenish_days": "30",
        "conditions": "with a purchase", "tracker": "no",
    },
    "customers": {
        "user_id": "u1", "consent": "personalise;email", "opted_out": "false", "channels": "email",
        "timezone": "Europe/Berlin", "since": "2025-01-01", "sensitive_optin": "alcohol",
    },
    "exposures": {
        "user_id": "u1", "item_id": "i1", "surface": "home", "at": "2026-01-02 03:04:05+01:00",
        "slate_id": "s1", "position": "0", "source": "crowd",
    },
}  # fmt: skip
BAD = [
    *((table, column, None, "missing") for table in SCHEMAS for column in ("user_id", "item_id", "at", "kind")),
    ("events", "user_id", "", "missing"),
    ("events", "kind", "bought", "unknown"),
    ("events", "at", "yesterday", "unreadable"),
    ("events", "at", "2026-02-30", "unreadable"),
    ("events", "at", "02/01/2026", "unreadable"),
    ("events", "quantity", "0", "too_small"),
    ("events", "quantity", "-1", "too_small"),
    ("events", "quantity", "nan", "not_a_number"),
    ("events", "quantity", "inf", "infinite"),
    ("events", "quantity", "many", "unreadable"),
    ("events", "unit_price", "-0.01", "too_small"),
    ("events", "unit_price", "NaN", "not_a_number"),
    ("catalogue", "title", None, "missing"),
    ("catalogue", "price", "-1", "too_small"),
    ("catalogue", "kind", "gift", "unknown"),
    ("catalogue", "created_at", None, "missing"),
    ("catalogue", "promoted", "maybe", "unreadable"),
    ("catalogue", "margin", "nan", "not_a_number"),
    ("catalogue", "was_price", "-1", "too_small"),
    ("catalogue", "low_30d", "-1", "too_small"),
    ("catalogue", "badge_stock", "-1", "too_small"),
    ("catalogue", "badge_stock", "1.5", "unreadable"),
    ("catalogue", "badge_count", "-1", "too_small"),
    ("catalogue", "badge_until", "soon", "unreadable"),
    ("catalogue", "replenish_days", "0", "too_small"),
    ("customers", "opted_out", "perhaps", "unreadable"),
    ("customers", "opted_out", None, "missing"),
    ("customers", "timezone", "Mars/Olympus", "unknown"),
    ("customers", "timezone", None, "missing"),
    ("customers", "since", None, "missing"),
    ("exposures", "position", "-1", "too_small"),
    ("exposures", "position", None, "missing"),
    ("exposures", "source", "advert", "unknown"),
    ("exposures", "surface", None, "missing"),
    ("exposures", "slate_id", None, "missing"),
]
NEAR = [
    ("events", "quantity", "0.001"),
    ("events", "unit_price", "0"),
    ("events", "at", "2026-02-28"),
    ("events", "at", "2026-02-28T10:00"),
    ("catalogue", "price", "0"),
    ("catalogue", "brand", None),
    ("catalogue", "category", None),
    ("catalogue", "badge_stock", "0"),
    ("catalogue", "replenish_days", "0.5"),
    ("catalogue", "promoted", None),
    ("customers", "consent", ""),
    ("customers", "timezone", "UTC"),
    ("customers", "opted_out", "YES"),
    ("exposures", "position", "0"),
]


def frame_of(table: str, *changes: dict[str, str | None]) -> pl.DataFrame:
    rows = [GOOD[table] | change for change in changes or ({},)]
    return pl.DataFrame(rows, schema=dict.fromkeys(GOOD[table], pl.String))


def cells(table: str) -> st.SearchStrategy[pl.DataFrame]:
    """Rows of good and bad cells, often equal to each other, often sharing an id."""
    bad: dict[str, list[str | None]] = {column: [value, None] for column, value in GOOD[table].items()}
    for name, column, value, _ in BAD:
        if name == table and column in bad:
            bad[column].append(value)
    bad["user_id" if "user_id" in bad else "item_id"] += ["u1", "u2", "u3"]
    row = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in bad.items()})
    return st.lists(row, max_size=8).map(lambda rows: frame_of(table, *rows) if rows else frame_of(table).clear())


tables = st.sampled_from(sorted(SCHEMAS))
raw_tables = tables.flatmap(lambda table: st.tuples(st.just(table), cells(table)))
quick = settings(deadline=None, max_examples=20)


@quick
@given(raw_tables)
def test_every_row_is_kept_or_rejected_with_a_reason(drawn: tuple[str, pl.DataFrame]) -> None:
    """Nothing is lost, nothing is in both heaps, and the counts say the same."""
    name, raw = drawn
    table = read_table(raw, name)
    assert table.rows.height + table.rejects.height == raw.height
    assert table.rejects["reason"].is_not_null().all()
    assert table.rejects["reason"].str.len_chars().min() != 0
    assert (table.counts["read"], table.counts["kept"]) == (raw.height, table.rows.height)
    assert table.counts["rejected"] == table.rejects.height


@quick
@given(raw_tables)
def test_reading_what_was_kept_rejects_nothing(drawn: tuple[str, pl.DataFrame]) -> None:
    """Reading is idempotent."""
    name, raw = drawn
    once = read_table(raw, name).rows
    again = read_table(once, name)
    assert again.rejects.is_empty()
    assert_frame_equal(again.rows, once)


@quick
@given(raw_tables, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(drawn: tuple[str, pl.DataFrame], dice: random.Random) -> None:
    """The same rows in another order are kept."""
    name, raw = drawn
    order = list(range(raw.height))
    dice.shuffle(order)
    kept = read_table(raw, name).rows
    shuffled = read_table(raw[order], name).rows
    assert sorted(map(str, kept.rows())) == sorted(map(str, shuffled.rows()))


@quick
@given(cells("events"))
def test_events_all_at_once_are_events_one_by_one(raw: pl.DataFrame) -> None:
    """An event is judged alone; only an equal one beside it can make a difference."""
    together = set(read_table(raw, "events").rows.rows())
    alone = {row for at in range(raw.height) for row in read_table(raw[at], "events").rows.rows()}
    assert together == alone


@quick
@given(drawn=raw_tables)
def test_a_file_reads_like_a_frame(drawn: tuple[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> None:
    """CSV, Parquet and a frame give the same table."""
    name, raw = drawn
    folder = tmp_path_factory.mktemp("files")
    raw.write_csv(folder / "t.csv")
    raw.write_parquet(folder / "t.parquet")
    frame = read_table(raw, name)
    for source in (folder / "t.csv", str(folder / "t.parquet"), raw.lazy()):
        table = read_table(source, name)
        assert_frame_equal(table.rows, frame.rows)
        assert table.counts == frame.counts


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_good_row_is_kept_with_the_types_of_its_schema(name: str) -> None:
    table = read_table(frame_of(name), name)
    assert table.counts == {"read": 1, "kept": 1, "rejected": 0}
    SCHEMAS[name].validate(table.rows)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_no_rows_are_fine(name: str) -> None:
    table = read_table(frame_of(name).clear(), name)
    assert table.counts == {"read": 0, "kept": 0, "rejected": 0}
    SCHEMAS[name].validate(table.rows)


@pytest.mark.parametrize(("name", "column", "value", "why"), [case for case in BAD if case[1] in GOOD[case[0]]])
def test_a_bad_cell_is_rejected_and_named(name: str, column: str, value: str | None, why: str, tmp_path: Path) -> None:
    """The good row beside it stays."""
    key = "user_id" if name == "customers" else "item_id"
    raw = frame_of(name, {key: "other"}, {column: value})
    raw.write_csv(tmp_path / "t.csv")
    for source in (tmp_path / "t.csv", raw):
        table = read_table(source, name)
        assert table.rows[key].to_list() == ["other"]
        expected = {f"{column}.{why}", f"{column}.{'empty' if value == '' else why}"}
        assert set(table.rejects["reason"][0].split("; ")) & expected


@pytest.mark.parametrize(("name", "column", "value"), NEAR)
def test_a_cell_on_the_edge_is_kept(name: str, column: str, value: str | None) -> None:
    assert read_table(frame_of(name, {column: value}), name).rejects.is_empty()


def test_a_row_with_two_faults_has_two_reasons() -> None:
    table = read_table(frame_of("events", {"kind": "x", "at": "x"}), "events")
    assert table.rejects["reason"].to_list() == ["at.unreadable; kind.unknown"]
    assert table.counts == {"read": 1, "kept": 0, "rejected": 1, "at.unreadable": 1, "kind.unknown": 1}


@pytest.mark.parametrize("column", ["quantity", "unit_price"])
def test_a_purchase_needs_quantity_and_price_and_a_view_does_not(column: str) -> None:
    rows = read_table(frame_of("events", {column: None}, {column: None, "kind": "view"}), "events")
    assert rows.rows["kind"].to_list() == ["view"]
    assert rows.rejects["reason"].to_list() == [f"purchase_without_{column.removeprefix('unit_')}"]


def test_only_a_gesture_may_lack_a_price() -> None:
    table = read_table(
        frame_of("catalogue", {"price": None}, {"item_id": "b", "price": None, "kind": "gesture"}),
        "catalogue",
    )
    assert table.rows["kind"].to_list() == ["gesture"]
    assert table.rejects["reason"].to_list() == ["product_without_price"]


def test_an_event_after_the_moment_that_is_named_is_rejected_and_one_at_it_is_kept() -> None:
    raw = frame_of("events", {"at": "2026-01-02T00:00:00.000001"}, {"at": "2026-01-02"}, {"at": "x"})
    table = read_table(raw, "events", until=int(dt.datetime(2026, 1, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000)
    assert table.rejects["reason"].to_list() == ["at.ahead", "at.unreadable"]
    assert table.rows["at"].to_list() == [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_of_equal_rows_one_is_kept(name: str) -> None:
    table = read_table(frame_of(name, {}, {}, {}), name)
    assert table.counts == {"read": 3, "kept": 1, "rejected": 2, "duplicate": 2}


def test_an_event_that_differs_in_any_column_is_another_event() -> None:
    changes = [{}, {"quantity": "3"}, {"unit_price": "1"}, {"at": "2026-01-03"}, {"kind": "view"}]
    assert read_table(frame_of("events", *changes), "events").rejects.is_empty()


@pytest.mark.parametrize(("name", "key", "column", "value"), [
    ("catalogue", "item_id", "price", "9"), ("customers", "user_id", "opted_out", "true"),
])  # fmt: skip
def test_rows_that_contradict_each_other_are_all_rejected(name: str, key: str, column: str, value: str) -> None:
    """Nobody knows whether the shopper opted out: so neither row may speak for them."""
    table = read_table(frame_of(name, {}, {column: value}, {key: "other"}), name)
    assert table.rows[key].to_list() == ["other"]
    assert table.counts[f"{key}.ambiguous"] == 2


def test_an_unreadable_cell_is_not_a_duplicate_of_an_empty_one() -> None:
    raw = frame_of("events", {"kind": "view", "quantity": None}, {"kind": "view", "quantity": "x"})
    for rows in (raw, raw.reverse()):
        assert read_table(rows, "events").counts == {
            "read": 2,
            "kept": 1,
            "rejected": 1,
            "quantity.unreadable": 1,
        }


def test_types_are_cast() -> None:
    """Whole-number ids, categories, dates, naive and zoned times, any time unit."""
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 678000)  # noqa: DTZ001 (naive on purpose)
    moment = at.replace(tzinfo=dt.UTC)
    base = pl.DataFrame({"user_id": [7], "item_id": pl.Series(["i"], dtype=pl.Categorical), "kind": ["view"]})
    for unit in ("ms", "us", "ns"):
        for time in (
            pl.lit(at).cast(pl.Datetime(unit)),
            pl.lit(moment).cast(pl.Datetime(unit, "UTC")).dt.convert_time_zone("Asia/Tokyo"),
        ):
            rows = read_table(base.with_columns(at=time), "events").rows
            assert rows["at"].to_list() == [moment]
            assert rows["user_id"].to_list() == ["7"]
            assert rows["quantity"].to_list() == [None]
    day = read_table(base.with_columns(at=pl.date(2026, 1, 2)), "events").rows
    assert day["at"].to_list() == [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)]


@pytest.mark.parametrize(("text", "hour"), [
    ("2026-01-02T08:00:00Z", 8), ("2026-01-02 08:00", 8), ("2026-01-02T08:00:00.123456789+02:00", 6),
    ("2026-01-02T08:00:00-0330", 11), ("2026-01-02", 0),
])  # fmt: skip
def test_iso_times_are_read_as_utc(text: str, hour: int) -> None:
    assert read_table(frame_of("events", {"at": text}), "events").rows["at"][0].hour == hour


def test_blank_text_is_nothing_where_nothing_may_stand() -> None:
    """A brand of spaces is no brand; letters keep the spaces around them."""
    lines = [frame_of("catalogue", {"item_id": name, "brand": brand}) for name, brand in (("a", "  "), ("b", " x "))]
    assert read_table(pl.concat(lines), "catalogue").rows["brand"].to_list() == [None, " x "]


def test_rejects_go_to_files_of_two_kinds(tmp_path: Path) -> None:
    """In folders that need not be there yet."""
    table = read_table(frame_of("customers", {"timezone": "Berlin"}), "customers")
    assert write_rejects(table, tmp_path / "a" / "b" / "rejects.csv").exists()
    for name in ("rejects.arrow", "rejects", "rejects.xlsx"):
        with pytest.raises(TableError, match=r"name it \.csv or \.parquet"):
            write_rejects(table, tmp_path / name)


def test_a_refusal_says_what_was_found_and_what_to_do() -> None:
    """The columns that are there; a type that ids may have, or the cast that is needed."""
    raw = frame_of("events")
    with pytest.raises(TableError, match=r"column 'user_id' is missing \(found item_id, .*\): add it or rename yours"):
        read_table(raw.drop("user_id"), "events")
    with pytest.raises(TableError, match=r"\(found no columns\)"):
        read_table(pl.DataFrame(), "events")
    with pytest.raises(TableError, match="'user_id' holds Float64, not String: give text or whole numbers"):
        read_table(raw.with_columns(user_id=pl.lit(7.0)), "events")
    with pytest.raises(TableError, match=r"'quantity' holds List.*, not Float64: cast it to Float64"):
        read_table(raw.with_columns(quantity=pl.lit([1.0])), "events")


def test_a_half_is_no_whole_number() -> None:
    """Of a column that holds floats, as spreadsheets write them."""
    whole, half = (frame_of("catalogue").with_columns(badge_stock=pl.lit(stock)) for stock in (2.0, 2.5))
    assert read_table(whole, "catalogue").rows["badge_stock"].to_list() == [2]
    assert read_table(half, "catalogue").rejects["reason"].to_list() == ["badge_stock.unreadable"]


def test_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    """Leading noughts are part of an id, in a file too."""
    frame_of("events", {"user_id": "007", "item_id": "1e3"}).write_csv(tmp_path / "t.csv")
    rows = read_table(tmp_path / "t.csv", "events").rows
    assert (rows["user_id"].to_list(), rows["item_id"].to_list()) == (["007"], ["1e3"])


@pytest.mark.parametrize(("word", "said"), [
    ("true", True), ("1", True), ("yes", True), ("YES", True), (" True ", True),
    ("false", False), ("0", False), ("no", False), ("No", False), ("maybe", None), ("2", None),
])  # fmt: skip
def test_a_yes_is_read_in_several_words(word: str, said: bool | None) -> None:
    """What is neither yes nor no is unreadable."""
    read = read_table(frame_of("customers", {"opted_out": word}), "customers")
    assert read.rows["opted_out"].to_list() == ([] if said is None else [said])
    whole = read_table(frame_of("customers").with_columns(opted_out=pl.lit(int(bool(said)))), "customers")
    assert whole.rows["opted_out"].to_list() == [bool(said)]


def test_lists_are_split_sorted_and_distinct() -> None:
    raw = frame_of("customers", {"consent": " push;email; ;push", "channels": None})
    rows = read_table(raw, "customers").rows
    assert rows["consent"].to_list() == [["email", "push"]]
    assert rows["channels"].to_list() == [[]]


def test_a_word_may_be_one_letter() -> None:
    rows = read_table(frame_of("customers", {"channels": "a;bb; ;c"}), "customers").rows
    assert rows["channels"].to_list() == [["a", "bb", "c"]]


def test_a_missing_list_in_a_frame_is_no_consent_at_all() -> None:
    """In CSV an empty cell is an empty list; a null in a list column is an unanswered question."""
    rows = read_table(frame_of("customers"), "customers").rows
    asked = rows.with_columns(consent=pl.lit(None, dtype=pl.List(pl.String)))
    assert read_table(asked, "customers").rejects["reason"].to_list() == ["consent.missing"]


def test_an_absent_optional_column_is_null() -> None:
    raw = frame_of("catalogue").drop("margin", "promoted", "badge_until", "tracker", "replenish_days")
    rows = read_table(raw, "catalogue").rows
    assert rows.select("margin", "promoted", "badge_until", "tracker", "replenish_days").null_count().row(0) == (1,) * 5


def test_unknown_columns_are_left_out_and_named() -> None:
    table = read_table(frame_of("events").with_columns(pl.lit(1).alias("age"), pl.lit("x").alias("city")), "events")
    assert table.ignored == ("age", "city")
    assert "age" not in table.rows.columns


@pytest.mark.parametrize("column", ["user_id", "item_id", "kind", "at"])
def test_a_missing_column_is_told_in_one_line(column: str) -> None:
    with pytest.raises(
        TableError, match=rf"^events: column '{column}' is missing \(found .*\): add it or rename yours$"
    ):
        read_table(frame_of("events").drop(column), "events")


@pytest.mark.parametrize(("column", "values"), [
    ("user_id", [1.0]), ("at", [1_700_000_000]), ("quantity", [True]), ("kind", [["view"]]),
])  # fmt: skip
def test_a_column_of_another_kind_is_told_in_one_line(column: str, values: list[object]) -> None:
    """A float id would become '7.0' and match nothing; a bare number has no unit of time."""
    raw = frame_of("events").with_columns(pl.Series(column, values))
    with pytest.raises(TableError, match=rf"^events: column '{column}' holds .*, not .*: .+$"):
        read_table(raw, "events")


@pytest.mark.parametrize(("name", "content"), [
    ("broken.parquet", b"not parquet at all"), ("empty.csv", b""), ("broken.csv", b'a,b\n"x,2\n3,4\n'),
    ("note.txt", b"x"),
])  # fmt: skip
def test_an_unreadable_file_is_told_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    told = "is neither" if name.endswith(".txt") else r"cannot be read \([^\n]+\): write it again"
    with pytest.raises(TableError, match=rf"^events: [^\n]*{name} {told}[^\n]*$"):
        read_table(tmp_path / name, "events")


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 3), ("utf-16", 1), ("utf-16-le", 1), ("utf-16-be", 1)])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_text_in_another_encoding_is_told_in_one_line(encoding: str, line: int, ending: str, tmp_path: Path) -> None:
    """The line names the file, its line and the mend, in letters that a screen can show."""
    text = frame_of("events", {}, {"user_id": "Jos\xe9"}).write_csv().encode(encoding)
    path = tmp_path / f"events.{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    with pytest.raises(
        TableError, match=rf"^events: [^\n]*events\.{ending} .*\(line {line} is .*\): save it as UTF-8$"
    ) as told:
        read_table(path, "events")
    assert str(told.value).isprintable()


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_row_with_a_field_too_many_is_kept_aside(ending: str, tmp_path: Path) -> None:
    """The rest is read as if it were not there, and every cell of it is kept, in its place."""
    good = frame_of(
        "catalogue", {}, {"item_id": "b", "title": 'Tea, "green"', "badge": None}, {"item_id": "c", "price": "-1"}
    )
    text = good.write_csv().rstrip("\n")
    long = [
        "d,Olives, green,jars",
        ",".join(["e", *GOOD["catalogue"].values()]),
        ",".join([*GOOD["catalogue"].values(), ""]),
    ]
    blank = ["", "f,Too short"]
    path = tmp_path / f"catalogue.{ending}"
    whole = "\ufeff" + "\n".join([text, *blank, *(f"{one}{',' * (22 - one.count(','))}x" for one in long)]) + "\n"
    path.write_bytes(gzip.compress(whole.encode()) if ending.endswith("gz") else whole.encode())
    table = read_table(path, "catalogue")
    assert table.rows["item_id"].to_list() == ["i1", "b"]
    assert table.rows["title"].to_list() == ["Tea", 'Tea, "green"']
    reasons = table.rejects["reason"].to_list()
    assert reasons.count("row.too_many_fields") == table.counts["row.too_many_fields"] == 3
    assert reasons.count("price.too_small") == 1
    assert (table.counts["read"], table.counts["kept"]) == (8, 2)
    assert table.rejects["title"].to_list()[-3] == "Olives"
    assert table.rejects["surplus"].drop_nulls().str.ends_with("x").sum() == 3


def test_what_a_ragged_file_keeps_is_what_a_plain_one_keeps(tmp_path: Path) -> None:
    """One long row changes nothing about the others: empty cells, short rows, quotes and blank lines."""
    lines = ["user_id,item_id,kind,at,quantity,unit_price", 'u1,"a ""b"", c",view,2026-01-02,,', "u2,i,view,2026-01-02",
             "", '"u\n3",i,purchase,2026-01-02,1,2', ",i,view,2026-01-02,,", "u2,i,view,2026-01-02,,"]  # fmt: skip
    for name, more in (("plain", []), ("ragged", ["u4,i,view,2026-01-02,,,x"])):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines + more) + "\n")
    plain, ragged = (read_table(tmp_path / f"{name}.csv", "events") for name in ("plain", "ragged"))
    assert_frame_equal(ragged.rows, plain.rows)
    assert ragged.rejects["reason"].to_list() == [*plain.rejects["reason"], "row.too_many_fields"]


def test_columns_of_one_name_do_not_hinder_a_ragged_file(tmp_path: Path) -> None:
    """Nor does a column that is called like the one of the fields beyond."""
    header, line = "user_id,item_id,kind,at,kind,surplus", "u,i,view,2026-01-02,x,y"
    for name, more in (("plain", ""), ("ragged", f"{line},z\n")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{line}\n{more}")
    plain, ragged = (read_table(tmp_path / f"{name}.csv", "events") for name in ("plain", "ragged"))
    assert_frame_equal(ragged.rows, plain.rows)
    assert ragged.rejects["surplus"].to_list() == ["z"]


def test_rows_with_different_unreadable_cells_are_no_duplicates() -> None:
    """Only where the cells are alike too."""
    rows = frame_of("events", {"at": "soon"}, {"at": "later"}, {"at": "later"}, {"at": "later", "quantity": "x"})
    assert read_table(rows, "events").rejects["reason"].to_list() == [
        "at.unreadable", "at.unreadable", "at.unreadable; duplicate", "at.unreadable; quantity.unreadable; purchase_without_quantity",
    ]  # fmt: skip
    halves = frame_of("catalogue", {}, {}).with_columns(badge_stock=pl.Series([1.5, 2.5]))
    assert read_table(halves, "catalogue").rejects["reason"].to_list() == [
        "badge_stock.unreadable; item_id.ambiguous", "badge_stock.unreadable; item_id.ambiguous",
    ]  # fmt: skip


def test_a_byte_order_mark_and_a_folder_are_read(tmp_path: Path) -> None:
    """Spreadsheets write the mark; batch jobs write folders."""
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + frame_of("events").write_csv().encode())
    assert read_table(tmp_path / "t.csv", "events").counts["kept"] == 1
    for part in "ab":
        write_parquet_atomic(frame_of("events", {"item_id": part}), tmp_path / "parts" / f"{part}.parquet")
    assert read_table(tmp_path / "parts", "events").counts["kept"] == 2


def test_an_absent_file_and_an_unknown_table_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no file"):
        read_table(tmp_path / "none.csv", "events")
    with pytest.raises(TableError, match="there is no table 'event': use one of events, catalogue"):
        read_table(frame_of("events"), "event")


def test_rejects_are_written_and_can_be_mended(tmp_path: Path) -> None:
    """The file holds the cells as they came, so a mended file can be read again."""
    raw = frame_of("customers", {"timezone": "Berlin"})
    for source in (raw, raw.with_columns(pl.col("consent").str.split(";"))):
        table = read_table(source, "customers")
        for file in (tmp_path / "rejects.csv", tmp_path / "rejects.parquet"):
            write_rejects(table, file)
            again = read_table(file, "customers")
            assert again.counts == table.counts
            assert again.ignored == ("reason",)
    with pytest.raises(TableError, match=r"name it \.csv or \.parquet"):
        write_rejects(table, tmp_path / "rejects.txt")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    write_parquet_atomic(frame_of("events"), target)
    before = target.read_bytes()
    with pytest.raises(Exception, match=r".+"):
        write_parquet_atomic(pl.DataFrame({"a": [object()]}), target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_importing_the_boundary_is_quick() -> None:
    """The tables load neither pandas nor anything heavier than their schemas."""
    heavy = ("pandas", "numba", "mlflow", "scipy")
    code = f"import sys, boundary.tables; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
