"""Which items are sensitive: the shop's own categories and types, mapped to families people keep private."""

import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from boundary.errors import TableError
from boundary.mistakes import mistakes_of, quoted

MOST_FAMILIES = 32
"""Families are bits of one uint32."""


class TaxonomyError(TableError):
    """A taxonomy cannot be used; the message names the file, the entry, what was found, and the mend."""


def _plain(word: str) -> str:
    """Give a word without regard to case, spacing, invisible signs and the way its letters are coded."""
    seen = (sign for sign in unicodedata.normalize("NFKC", word) if unicodedata.category(sign) != "Cf")
    return " ".join("".join(seen).split()).lower()


def _words(value: object) -> object:
    """Read one word or a list of words, without regard to case and spacing."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"must be a word or a list of words but got {quoted(value)}")
    return tuple(_plain(word) for word in words)


def _family(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        plain = re.sub(r"[^a-z0-9]+", "_", _plain(name)).strip("_0123456789")
        mend = f"; write {plain}" if plain else ""
        raise ValueError(f"must be of small letters, digits and _, a letter first, but got {quoted(name)}{mend}")
    return name


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class Entry(BaseModel):
    """An item in all of the named places belongs to `family`, unless its type is excepted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Annotated[str, AfterValidator(_family)]
    department: Words = ()
    category: Words = ()
    type: Words = ()
    excepted: Words = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _names_something(self) -> "Entry":
        if not (self.department or self.category or self.type):
            raise ValueError("names no department, category or type: add one")
        return self

    def matches(self) -> pl.Expr:
        """Give the mask of catalogue rows in this entry; the columns must be plain already."""
        places = {"department": self.department, "category": self.category, "type": self.type}
        inside = [pl.col(name).is_in(words).fill_null(value=False) for name, words in places.items() if words]
        return pl.all_horizontal(*inside, ~pl.col("type").is_in(self.excepted).fill_null(value=False))


class Taxonomy(BaseModel):
    """Sensitive families of one shop; bit k of an item is set when it belongs to `families[k]`.

    Examples:
        >>> taxonomy = Taxonomy(entries=[
        ...     Entry(family="tobacco", category="CIGARETTES"),
        ...     Entry(family="baby", category="Vitamins", type="CHILDREN"),
        ...     Entry(family="health", category="Vitamins", **{"except": ["EASTER BASKETS"]}),
        ... ])
        >>> taxonomy.families
        ('tobacco', 'baby', 'health')
        >>> items = pl.DataFrame({"category": ["cigarettes", "VITAMINS", "VITAMINS", "SOUP", None],
        ...                       "type": [None, "Children", "Easter baskets", "Canned", None]})
        >>> taxonomy.family_bits(items).tolist()
        [1, 6, 0, 0, 0]
        >>> taxonomy.unclassified(items).tolist()
        [False, False, False, False, True]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: tuple[Entry, ...]

    @model_validator(mode="after")
    def _fits_the_bits(self) -> "Taxonomy":
        if len(self.families) > MOST_FAMILIES:
            raise ValueError(f"has {len(self.families)} families, at most {MOST_FAMILIES} fit: merge some")
        return self

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families, each once, in the order of their first entry."""
        return tuple(dict.fromkeys(entry.family for entry in self.entries))

    @classmethod
    def load(cls, path: str | Path) -> "Taxonomy":
        """Read a TOML file of `[[entries]]`: `family`, then `category`, `type`, `department` and `except`.

        Raises:
            TaxonomyError: no such file, not TOML, an entry that says nothing, or more than 32 families; all mistakes
                are told.
        """
        path = Path(path)
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise TaxonomyError(f"taxonomy {path} cannot be read ({error}): check the path") from None
        except tomllib.TOMLDecodeError as error:
            raise TaxonomyError(f"taxonomy {path} is not TOML ({error}): mend that line") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise TaxonomyError(f"taxonomy {path}: {'; '.join(_told(error, content))}") from None

    def family_bits(self, catalogue: pl.DataFrame) -> npt.NDArray[np.uint32]:
        """Give the sensitive families of each item, (n_items,) uint32; 0 is harmless as far as is known.

        Reads `category`, `type` and `department`; a column that is absent counts as null everywhere.
        """
        bits = np.zeros(catalogue.height, dtype=np.uint32)
        masks = self._masks(catalogue)
        for entry, mask in zip(self.entries, masks, strict=True):
            bits[mask] |= np.uint32(1 << self.families.index(entry.family))
        return bits

    def unclassified(self, catalogue: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Say of each item whether it has neither category nor type, (n_items,): nobody knows what it is."""
        nothing = _places(catalogue).select(pl.col("category").is_null() & pl.col("type").is_null())
        return nothing.to_series().to_numpy().astype(np.bool_)

    def idle(self, catalogue: pl.DataFrame) -> tuple[Entry, ...]:
        """Give the entries that match no item: a renamed category protects nobody, so look at these."""
        return tuple(entry for entry, mask in zip(self.entries, self._masks(catalogue), strict=True) if not mask.any())

    def _masks(self, catalogue: pl.DataFrame) -> list[npt.NDArray[np.bool_]]:
        masks = _places(catalogue).select(entry.matches().alias(str(at)) for at, entry in enumerate(self.entries))
        return [masks[name].to_numpy().astype(np.bool_) for name in masks.columns]


def _places(catalogue: pl.DataFrame) -> pl.DataFrame:
    """Give department, category and type of each item, plain as in ``_plain``; blank is null."""
    columns = {
        name: pl.col(name).cast(pl.String) if name in catalogue.columns else pl.lit(None, dtype=pl.String)
        for name in ("department", "category", "type")
    }
    plain = (
        cell.str.normalize("NFKC")
        .str.replace_all(r"\p{Cf}", "")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
        .str.to_lowercase()
        .replace("", None)
        .alias(name)
        for name, cell in columns.items()
    )
    return catalogue.with_columns(plain).select(columns.keys())


def _told(error: ValidationError, content: dict[str, object]) -> list[str]:
    """Say every mistake, those of an entry with its place and family."""
    entries = content.get("entries")
    told = []
    if not isinstance(entries, list):
        found = quoted(entries) if "entries" in content else "nothing"
        told.append(f"entries must be tables, each headed [[entries]], or entries = [] for none, but got {found}")
    for line in mistakes_of(error, Taxonomy):
        place, _, said = line.partition(" ")
        where = re.fullmatch(r"entries\.(\d+)\.?(.*)", place)
        if isinstance(entries, list) and where is not None:
            entry = entries[int(where[1])]
            family = entry.get("family") if isinstance(entry, dict) else None
            told.append(f"entry {int(where[1]) + 1} (family {family!r}): " + f"{where[2]} {said}".strip())
        elif place != "entries":
            told.append(line)
    return told
