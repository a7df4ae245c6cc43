"""Taxonomies: every sensitive row is found, however spelled, and a file that cannot be used says why."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.tables import TableError
from boundary.taxonomy import MOST_FAMILIES, Entry, Taxonomy, TaxonomyError

PLACES = ("department", "category", "type")
words = st.sampled_from(["A", "a", " A ", "B", "c  d", "C D", "E"])
some = st.lists(words, max_size=2).map(tuple)
items = st.lists(
    st.fixed_dictionaries({place: st.one_of(st.none(), words, st.just(" ")) for place in PLACES}), max_size=6
).map(lambda rows: pl.DataFrame(rows, schema=dict.fromkeys(PLACES, pl.String)))
entries = st.fixed_dictionaries(
    {
        "family": st.sampled_from(["one", "two", "three"]),
        "department": some,
        "category": some,
        "type": some,
        "except": some,
    }
).filter(lambda entry: entry["department"] or entry["category"] or entry["type"])
taxonomies = st.lists(entries, max_size=5).map(lambda found: Taxonomy.model_validate({"entries": found}))
quick = settings(deadline=None, max_examples=60)


def bits_by_hand(taxonomy: Taxonomy, row: dict[str, str | None]) -> int:
    """The same question in plain Python, one row at a time."""
    plain = {place: " ".join((row[place] or "").lower().split()) for place in PLACES}
    bits = 0
    for entry in taxonomy.entries:
        asked = {"department": entry.department, "category": entry.category, "type": entry.type}
        inside = all(plain[place] in wanted for place, wanted in asked.items() if wanted)
        if inside and plain["type"] not in entry.excepted:
            bits |= 1 << taxonomy.families.index(entry.family)
    return bits


@quick
@given(taxonomies, items)
def test_all_at_once_is_one_by_one(taxonomy: Taxonomy, catalogue: pl.DataFrame) -> None:
    """The columnar answer is the plain one, row by row."""
    found = taxonomy.family_bits(catalogue)
    assert found.dtype == np.uint32
    assert found.tolist() == [bits_by_hand(taxonomy, row) for row in catalogue.iter_rows(named=True)]


@quick
@given(taxonomies, entries, items)
def test_another_entry_only_adds(taxonomy: Taxonomy, entry: dict[str, object], catalogue: pl.DataFrame) -> None:
    """No entry can take a row out of a family again."""
    more = Taxonomy(entries=(*taxonomy.entries, Entry.model_validate(entry)))
    assert more.families[: len(taxonomy.families)] == taxonomy.families
    before, after = taxonomy.family_bits(catalogue), more.family_bits(catalogue)
    assert ((before & after) == before).all()


@quick
@given(taxonomies, items)
def test_idle_entries_are_those_without_which_nothing_changes_alone(
    taxonomy: Taxonomy, catalogue: pl.DataFrame
) -> None:
    """An entry is idle exactly if it matches no row by itself."""
    alone = [entry for entry in taxonomy.entries if not Taxonomy(entries=(entry,)).family_bits(catalogue).any()]
    assert list(taxonomy.idle(catalogue)) == alone


@quick
@given(taxonomies, items)
def test_unclassified_is_neither_category_nor_type(taxonomy: Taxonomy, catalogue: pl.DataFrame) -> None:
    blank = [not (row["category"] or "").strip() and not (row["type"] or "").strip() for row in catalogue.to_dicts()]
    assert taxonomy.unclassified(catalogue).tolist() == blank


@pytest.mark.parametrize(("row", "found"), [
    ({"category": "vitamins"}, True),
    ({"category": " Vita  mins"}, False),
    ({"category": "VITAMINS", "type": "Easter  Baskets"}, False),
    ({"category": "VITAMINS", "type": "EASTER BASKET"}, True),
    ({"category": "CANDY", "type": "VITAMINS"}, False),
    ({"category": None}, False),
    ({"department": "PHARMACY", "category": None}, True),
    ({"department": "GROCERY", "category": "TEAS", "type": "SUPPLEMENT"}, True),
    ({"department": "GROCERY", "category": "SOUP", "type": "SUPPLEMENT"}, False),
])  # fmt: skip
def test_entries_match_by_place_and_spare_their_exceptions(row: dict[str, str | None], found: bool) -> None:
    taxonomy = Taxonomy.model_validate({"entries": [
        {"family": "health", "category": "VITAMINS", "except": ["EASTER BASKETS"]},
        {"family": "health", "department": "PHARMACY"},
        {"family": "health", "category": ["TEAS", "COFFEE"], "type": "SUPPLEMENT"},
    ]})  # fmt: skip
    frame = pl.DataFrame([dict.fromkeys(PLACES) | row], schema=dict.fromkeys(PLACES, pl.String))
    assert bool(taxonomy.family_bits(frame)[0]) is found


def test_a_row_in_two_families_has_both_bits_and_all_bits_fit() -> None:
    entries = [{"family": f"f{at}", "category": "X"} for at in range(MOST_FAMILIES)]
    taxonomy = Taxonomy.model_validate({"entries": entries})
    assert taxonomy.family_bits(pl.DataFrame({"category": ["x", "y"]})).tolist() == [2**32 - 1, 0]


def test_an_empty_catalogue_and_an_empty_taxonomy_are_fine(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text("entries = []\n")
    taxonomy = Taxonomy.load(tmp_path / "none.toml")
    assert taxonomy.families == ()
    assert taxonomy.family_bits(pl.DataFrame({"category": ["x"]})).tolist() == [0]
    assert taxonomy.family_bits(pl.DataFrame({"category": []}, schema={"category": pl.String})).shape == (0,)


@pytest.mark.parametrize(("content", "told"), [
    ("entries = [", "is not TOML"),
    ("", r"entries must be tables, each headed \[\[entries\]\], .* but got nothing"),
    ("entries = 3", "entries must be tables, .* but got 3"),
    ('[entries]\nfamily = "a"', r"entries must be tables, .* but got \{"),
    ('[[entry]]\nfamily = "a"', r"but got nothing; entry is no setting .* did you mean entries\?"),
    ("entries = [3]", r"entry 1 \(family None\)"),
    ("families = []\nentries = []", "families is no setting of this part; there are entries"),
    ('[[entries]]\nfamily = "a"', r"entry 1 \(family 'a'\): names no department, category or type: add one"),
    ('[[entries]]\ncategory = "X"', r"entry 1 \(family None\): family is missing; add it"),
    ('[[entries]]\nfamily = "a"\ncategory = "X"\n[[entries]]\nfamily = "My Family"\ntype = "X"',
     r"entry 2 \(family 'My Family'\): family must be of small letters, .* but got \"My Family\"; write my_family"),
    ('[[entries]]\nfamily = "a"\ncategory = 3', r"entry 1 \(family 'a'\): category must be a word or a list of words but got 3"),
    ('[[entries]]\nfamily = "a"\ncategory = [" "]', r"entry 1 \(family 'a'\): category must be a word or a list of words but got"),
    ('[[entries]]\nfamily = "a"\nkategory = "X"', r"entry 1 \(family 'a'\): kategory is no setting of this part; did you mean category\?"),
    ('[[entries]]\nfamily = "a"\ncategroy = "X"\n[[entries]]\nfamily = "b"\ntype = 3\nexcpt = "X"',
     r"entry 1 .*did you mean category\?; entry 2 .*type must be .* but got 3; entry 2 .*did you mean except\?"),
    ("\n".join(f'[[entries]]\nfamily = "f{at}"\ntype = "X"' for at in range(33)),
     "has 33 families, at most 32 fit: merge some"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_told_in_one_line(content: str, told: str, tmp_path: Path) -> None:
    """The line names the file, the entry and what is wrong with it."""
    path = tmp_path / "shop.toml"
    path.write_text(content)
    with pytest.raises(TaxonomyError, match=rf"^taxonomy [^\n]*shop\.toml[^\n]*{told}[^\n]*$"):
        Taxonomy.load(path)


def test_an_absent_file_is_a_table_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        Taxonomy.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "written", ["Bébé & Co", "BE\u0301BE\u0301 & CO", "ｂébé ＆ co", "\ufeffbébé\u00a0& co", "bé\u00adbé\t&  co\u200b"]
)
def test_a_category_is_the_same_however_its_letters_are_coded(written: str) -> None:
    """Composed or not, wide or not, with signs that nobody sees."""
    assert Taxonomy.model_validate({"entries": [{"family": "baby", "category": "bébé & co"}]}).family_bits(
        pl.DataFrame({"category": [written]})
    ).tolist() == [1]
    assert Taxonomy.model_validate({"entries": [{"family": "baby", "category": written}]}).family_bits(
        pl.DataFrame({"category": ["Bébé & co"]})
    ).tolist() == [1]
