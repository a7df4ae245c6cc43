"""A shop of any size, invented: realistic skew, planted secrets, and memory that does not grow with it."""

import dataclasses
import json
import shutil
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from boundary.tables import write_parquet_atomic
from boundary.taxonomy import Taxonomy
from boundary.words import KIND_NAMES
from data import wares
from data.assortment import Assortment, Shelves, names
from data.crowd import CONSENTS, Events, Shoppers, Town
from data.knobs import Knobs, check
from data.storefront import catalogue, item_ids, moments, promotions, truth

TAXONOMY = Path(__file__).parent / "taxonomies" / "synthetic.toml"

Progress = Callable[[str, float], None]
Counts = dict[str, dict[str, int]]

_BLOCK_EVENTS, _BLOCK_USERS = 500_000, 50_000
"""A block has about so many events, and at most so many shoppers: the memory of a block."""


def make_shop(
    out: str | Path,
    *,
    users: int,
    items: int,
    events: int,
    seed: int,
    knobs: Knobs | None = None,
    at_once: int = 2,
    progress: Progress | None = None,
) -> Counts:
    """Write the tables of an invented shop, and apart from them what was planted in it.

    `events`, `catalogue`, `customers`, `promotions` (item_id, week_start, price, promoted) and
    `taxonomy.toml` go to `out`; `truth.parquet` tells the planted proxies (item_id, family, strength) and
    `attackers/members.parquet` who belongs to which family (user_id, family): those who test the recommender
    may use these two, the recommender may not. Equal arguments give equal files, whatever `at_once`.

    Args:
        out: folder to write to; made if need be, files of the same name are replaced.
        users: shoppers, guests among them.
        items: products; the gestures come on top.
        events: rows of `events`, exactly so many, by user and time; a row group for each block of users.
        seed: of all that is drawn.
        knobs: how the shop is.
        at_once: blocks worked at once, each in a thread; memory grows with it, by less than 0.1 GB each.
        progress: called with a step's name and the share done, from 0 to 1.

    Returns:
        For each table how many rows are `kept`, and of which sort they are.

    Raises:
        TableError: an argument is out of its bounds.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     counts = make_shop(folder, users=30, items=300, events=1000, seed=1)
        >>> counts["events"]["kept"], counts["catalogue"]["gestures"]
        (1000, 10)
    """
    asked = {"users": users, "items": items, "events": events, "seed": seed}
    for name, value in {**asked, "at_once": at_once}.items():
        check(name, value, int(name in {"users", "at_once"}))
    out, knobs = Path(out), knobs or Knobs()
    tell = progress or (lambda _step, _share: None)
    tell("inventing the products", 0.0)
    stock = Assortment.stock(Shelves.read(Taxonomy.load(TAXONOMY)), items=items, knobs=knobs, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TAXONOMY, out / "taxonomy.toml")
    counts = {}
    for name, table in (("catalogue", catalogue), ("promotions", promotions), ("truth", truth)):
        frame = table(stock)
        write_parquet_atomic(frame, out / f"{name}.parquet")
        counts[name] = {"kept": frame.height}
    counts["catalogue"]["sensitive"] = int((stock.family >= 0).sum())
    counts["catalogue"]["gestures"] = counts["catalogue"]["kept"] - items
    counts |= _write_people(out, stock, users, events, at_once, tell)
    recipe = {**asked, "knobs": dataclasses.asdict(knobs)}
    (out / "recipe.json").write_text(json.dumps(recipe, indent=2, default=str) + "\n", encoding="utf-8")
    (out / "counts.json").write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    tell("done", 1.0)
    return counts


class _Parquet:
    """A Parquet file that grows block by block beside its place, and is moved there when all went well."""

    def __init__(self, path: Path, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._beside = path, path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        self._options = options
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def add(self, table: pa.Table) -> None:
        """Write a block as one row group."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._beside, table.schema, compression="zstd", store_schema=False, **self._options
            )
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is None:
            self._beside.replace(self._path)
        self._beside.unlink(missing_ok=True)


def _write_people(
    out: Path, stock: Assortment, users: int, events: int, at_once: int, tell: Callable[[str, float], None]
) -> Counts:
    """Write events, customers and members block by block, and count them."""
    item_id = item_ids(stock).to_arrow().cast(pa.string())
    town = Town.build(stock)
    done, done_customers, done_members = Counter(kept=0), Counter(kept=0), Counter(kept=0)
    wordy = ["user_id", "item_id", "kind", "quantity", "unit_price"]
    with (
        _Parquet(
            out / "events.parquet",
            use_dictionary=wordy,
            column_encoding={"at": "DELTA_BINARY_PACKED"},
            dictionary_pagesize_limit=1 << 26,
        ) as event_file,
        _Parquet(out / "customers.parquet") as customer_file,
        _Parquet(out / "attackers" / "members.parquet") as member_file,
    ):
        for first, shoppers, happened in _blocks(town, users, events, at_once):
            user_id = names("u", np.arange(first, first + shoppers.users), users)
            event_file.add(_event_table(happened, user_id, item_id))
            customers, members = _customers(shoppers, user_id, stock), _members(shoppers, user_id)
            customer_file.add(_arrow(customers))
            member_file.add(_arrow(members))
            kinds = np.bincount(happened.kind, minlength=len(KIND_NAMES)).tolist()
            done.update({"kept": len(happened.kind), **dict(zip(KIND_NAMES, kinds, strict=True))})
            done_customers.update(_standings(shoppers))
            done_members.update({"kept": members.height, **dict(members["family"].value_counts().iter_rows())})
            tell("writing the events", (first + shoppers.users) / users)
    return {
        "events": dict(done),
        "customers": dict(done_customers),
        "members": dict(sorted(done_members.items())),
    }


def _blocks(town: Town, users: int, events: int, at_once: int) -> Iterator[tuple[int, Shoppers, Events]]:
    """Give the blocks in order, so many at once under work; their bounds depend on users and events alone."""
    size = max(1, min(_BLOCK_USERS, _BLOCK_EVENTS * users // max(1, events)))
    starts = deque(enumerate(range(0, users, size)))
    with ThreadPoolExecutor(at_once) as workers:
        begun: deque[tuple[int, Any]] = deque()
        while starts or begun:
            while starts and len(begun) < at_once:
                number, first = starts.popleft()
                last = min(first + size, users)
                share = events * last // users - events * first // users
                begun.append((first, workers.submit(town.block, number, last - first, share)))
            first, block = begun.popleft()
            yield (first, *block.result())


def _event_table(events: Events, user_id: pl.Series, item_id: pa.StringArray) -> pa.Table:
    used = np.zeros(len(item_id), bool)
    used[events.item] = True
    place = np.cumsum(used, dtype=np.int32) - 1
    times = pa.array(events.at).cast(pa.timestamp("us", tz="UTC"))
    user = pa.DictionaryArray.from_arrays(events.user, user_id.to_arrow().cast(pa.string()))
    item = pa.DictionaryArray.from_arrays(place[events.item], item_id.filter(pa.array(used)))
    kind = pa.DictionaryArray.from_arrays(events.kind, list(KIND_NAMES))
    quantity = pa.array(events.quantity, mask=np.isnan(events.quantity))
    unit_price = pa.array(events.unit_price, mask=np.isnan(events.unit_price))
    return pa.table(
        {
            "user_id": user, "item_id": item, "kind": kind, "at": times,
            "quantity": quantity, "unit_price": unit_price,
        }
    )  # fmt: skip


def _customers(shoppers: Shoppers, user_id: pl.Series, stock: Assortment) -> pl.DataFrame:
    """Give what the shoppers agreed to, without the guests."""
    lists = pl.List(pl.String)
    consents = pl.Series([list(words) for words in CONSENTS], dtype=lists)
    channels = pl.Series([[word for word in words if word != "personalise"] for words in CONSENTS], dtype=lists)
    asked = pl.Series([*([family] for family in wares.FAMILIES), []], dtype=lists)
    frame = pl.DataFrame(
        {
            "user_id": user_id,
            "consent": consents[shoppers.consent],
            "opted_out": shoppers.opted_out,
            "channels": channels[shoppers.consent],
            "timezone": pl.Series(list(wares.ZONES))[shoppers.zone],
            "since": moments(stock, shoppers.since),
            "sensitive_optin": asked[shoppers.optin.astype(np.int64) % len(asked)],
        }
    )
    return frame.filter(pl.Series(~shoppers.guest))


def _members(shoppers: Shoppers, user_id: pl.Series) -> pl.DataFrame:
    """Give who belongs to which family: user_id, family."""
    user, family = np.nonzero(shoppers.member)
    return pl.DataFrame({"user_id": user_id[user], "family": pl.Series(list(wares.FAMILIES))[family]})


def _standings(shoppers: Shoppers) -> dict[str, int]:
    known = ~shoppers.guest
    return {
        "kept": int(known.sum()),
        "guests": int(shoppers.guest.sum()),
        "newcomers": int((known & shoppers.newcomer).sum()),
        "no_consent": int((known & (shoppers.consent < 2)).sum()),
        "opted_out": int((known & shoppers.opted_out).sum()),
    }


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
