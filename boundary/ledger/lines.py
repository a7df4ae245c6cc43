"""How does an entry stand in a store? As part of a line: a run of entries that share all but item and place.

A slate is one line, so that a store writes and reads one row a slate and not one an item.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, groupby, pairwise, repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from boundary.history import SHOWN
from boundary.ledger.base import KINDS, SOURCES, Columns, Entry, LedgerDamaged, LedgerInvalid, Snapshot

LATEST: Final = 2**53  # the scores of a Redis set keep integers exactly up to here; year 2255

_KIND_CODE: Final = {name: code for code, name in enumerate(KINDS)}
_SOURCE_CODE: Final = {name: code for code, name in enumerate(SOURCES)}
_SOURCE_OF: Final = {str(code): name for code, name in enumerate(SOURCES)}
_SHARED: Final = attrgetter("kind", "surface", "at", "slate_id", "confirmed")
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

NOTHING: Final = Columns(
    *(np.empty(0, np.uint8), [], np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int32)),
    *(np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, bool), (), ()),
)


class Line(NamedTuple):
    """A row of a store.

    Attributes:
        at: microseconds UTC.
        shown: the entries are exposures, not feedback.
        slate_id: the slate of all of them.
        confirmed: they stand confirmed.
        size: how many entries.
        text: JSON, ``[at, kind, surface, slate_id, [item_id, ...], positions, sources]``; positions in a row
            are told by the first of them, sources by one digit each.
    """

    at: int
    shown: bool
    slate_id: str
    confirmed: bool
    size: int
    text: str


def user_key(user_id: str) -> bytes:
    """Digest a user id (BLAKE2b, 16 bytes): stores keep this name of a user and never the id.

    >>> user_key("1228").hex()
    'a7a445510b140a53f9a2a80bf51b8cd1'
    """
    if not isinstance(user_id, str) or not user_id:
        raise LedgerInvalid(f"`user_id` must be a text of at least 1 character but got {user_id!r}")
    return hashlib.blake2b(utf8(user_id, "user_id"), digest_size=16, person=b"cornerstore").digest()


def utf8(text: str, name: str) -> bytes:
    """Encode a text, or say which of its characters cannot be."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LedgerInvalid(
            f"`{name}` must be Unicode but has a lone surrogate at character {error.start}: {text!r:.80}"
        ) from None


def bounded(number: int) -> int:
    """Bring a time or a turn into the range that stores can hold; the ends of the range are never reached."""
    return int(min(max(number, 0), LATEST))


def lines_of(entries: Iterable[Entry]) -> list[Line]:
    """Gather neighbouring entries into lines.

    >>> milk = Entry("shown", "milk", "home", 5, "s1", 0, "crowd", False)
    >>> [line.text for line in lines_of([milk, milk._replace(item_id="tea", position=1)])]
    ['[5,0,"home","s1",["milk","tea"],0,"11"]']
    """
    lines = []
    for (kind, surface, at, slate_id, confirmed), run in groupby(entries, _SHARED):
        _, items, _, _, _, positions, sources, _ = zip(*run, strict=True)
        codes = [_code(_SOURCE_CODE, source, "source") for source in sources]
        shared = (_code(_KIND_CODE, kind, "kind"), surface, at, slate_id, confirmed)
        lines.append(_line(*shared, items=items, positions=positions, sources=codes))
    return lines


def checked_block(
    user_ids: Sequence[str],
    offsets: npt.NDArray[np.int64],
    entries: Columns,
    expected_turns: npt.NDArray[np.int64],
) -> Iterator[tuple[bytes, list[Line], int]]:
    """Give each user's key, lines and expected turn; all is checked before the first is given."""
    users, size = len(user_ids), len(entries.item_id)
    lengths = {"offsets": (offsets, users + 1), "expected_turns": (expected_turns, users)}
    codes = {
        "kind": len(KINDS),
        "source": len(SOURCES),
        "surface": len(entries.surfaces),
        "slate": len(entries.slates),
    }
    for name in (*codes, "at", "position", "confirmed"):
        lengths[name] = getattr(entries, name), size
    for name, (array, length) in lengths.items():
        if array.shape != (length,):
            raise LedgerInvalid(f"`{name}` must have the shape ({length},) but has {array.shape}")
    for name, count in codes.items():
        array = getattr(entries, name)
        if size and not 0 <= int(array.min()) <= int(array.max()) < count:
            raise LedgerInvalid(f"`{name}` must lie from 0 to {count - 1} but got {array.min()}..{array.max()}")
    if offsets[0] != 0 or offsets[-1] != size or (np.diff(offsets) < 0).any():
        raise LedgerInvalid(f"`offsets` must rise from 0 to {size}, the number of entries")
    keys = [user_key(user_id) for user_id in user_ids]
    lines = [_user_lines(entries, first, last) for first, last in pairwise(offsets.tolist())]
    return zip(keys, lines, map(bounded, expected_turns.tolist()), strict=True)


def entries_of(rows: Sequence[tuple[Any, str]]) -> list[Entry]:
    """Read lines, given as (confirmed, text), back into entries."""
    entries: list[Entry] = []
    for (confirmed, _), line in zip(rows, _decoded(rows), strict=True):
        at, kind, surface, slate_id, items, positions, sources = line
        shared = repeat(KINDS[kind]), repeat(surface), repeat(at), repeat(slate_id), repeat(bool(confirmed))
        kinds, surfaces, times, slates, sure = shared
        names, places = map(_SOURCE_OF.__getitem__, sources), _places(positions, len(items))
        entries.extend(map(Entry._make, zip(kinds, items, surfaces, times, slates, places, names, sure)))  # noqa: B905
    return entries


def columns_of(entries: Iterable[Entry]) -> Columns:
    """Lay entries out as columns.

    >>> columns_of([Entry("shown", "milk", "home", 5, "s1", 0, "crowd", False)]).surfaces
    ('home',)
    """
    return snapshot_of([[(line.confirmed, line.text) for line in lines_of(entries)]], [0]).entries


def snapshot_of(blocks: Sequence[Sequence[tuple[Any, str]]], turns: Sequence[int]) -> Snapshot:
    """Lay out the lines of a block of users, one sequence of (confirmed, text) a user."""
    rows = list(chain.from_iterable(blocks))
    if not rows:
        return Snapshot(np.zeros(len(blocks) + 1, np.int64), NOTHING, np.array(turns, np.int64))
    lines = _decoded(rows)
    at, kind, surface, slate, items, positions, sources = zip(*lines, strict=True)
    counts = np.fromiter(map(len, items), np.int64, len(lines))
    ends = np.zeros(len(lines) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    surfaces = {name: code for code, name in enumerate(dict.fromkeys(surface))}
    slates = {name: code for code, name in enumerate(dict.fromkeys(slate))}
    columns = Columns(
        kind=np.array(kind, np.uint8).repeat(counts),
        item_id=list(chain.from_iterable(items)),
        surface=np.array([surfaces[name] for name in surface], np.int32).repeat(counts),
        at=np.array(at, np.int64).repeat(counts),
        slate=np.array([slates[name] for name in slate], np.int32).repeat(counts),
        position=np.fromiter(chain.from_iterable(map(_places, positions, counts.tolist())), np.int32, ends[-1]),
        source=np.frombuffer("".join(sources).encode(), np.uint8) - np.uint8(ord("0")),
        confirmed=np.array([confirmed for confirmed, _ in rows], bool).repeat(counts),
        surfaces=tuple(surfaces),
        slates=tuple(slates),
    )
    last_line = list(accumulate(map(len, blocks), initial=0))
    return Snapshot(ends[last_line], columns, np.array(turns, np.int64))


def decoded(texts: str) -> list[Any]:
    """Parse the text of one line, or of a JSON list of them."""
    try:
        found: list[Any] = json.loads(texts)
    except ValueError as error:
        raise LedgerDamaged(f"the ledger holds a line that cannot be read: {error}") from None
    return found


def _user_lines(entries: Columns, first: int, last: int) -> list[Line]:
    """Gather one user's part of the columns into lines."""
    part = slice(first, last)
    arrays = (entries.kind, entries.surface, entries.at, entries.slate, entries.confirmed)
    shared = zip(*(array[part].tolist() for array in arrays), strict=True)
    lines, start = [], first
    for (kind, surface, at, slate, confirmed), run in groupby(shared):
        here = slice(start, start + sum(1 for _ in run))
        columns = entries.position[here].tolist(), entries.source[here].tolist()
        names = kind, entries.surfaces[surface], at, entries.slates[slate], confirmed
        lines.append(_line(*names, items=entries.item_id[here], positions=columns[0], sources=columns[1]))
        start = here.stop
    return lines


def _line(
    kind: int,
    surface: str,
    at: int,
    slate_id: str,
    confirmed: bool,
    *,
    items: Sequence[str],
    positions: Sequence[int],
    sources: Sequence[int],
) -> Line:
    """Check one line's values and write it down."""
    single = (
        ("surface", surface, str),
        ("slate_id", slate_id, str),
        ("at", at, int),
        ("confirmed", confirmed, bool),
    )
    for name, value, kept in single:
        if type(value) is not kept:
            raise LedgerInvalid(f"`{name}` must be {kept.__name__} but got {type(value).__name__}: {value!r:.80}")
    for name, values, kept in (("item_id", items, str), ("position", positions, int)):
        if set(map(type, values)) != {kept}:
            wrong = next(value for value in values if type(value) is not kept)
            raise LedgerInvalid(f"`{name}` must be {kept.__name__} but got {type(wrong).__name__}: {wrong!r:.80}")
    if not 0 <= at < LATEST:
        raise LedgerInvalid(f"`at` must be microseconds UTC from 0 to {LATEST - 1} but got {at}")
    if not 0 <= min(positions) <= max(positions) < 2**31:
        raise LedgerInvalid(f"`position` must lie from 0 to {2**31 - 1} but got {min(positions)}..{max(positions)}")
    first = positions[0]
    places = first if list(positions) == list(_places(first, len(positions))) else positions
    text = _encode([at, kind, surface, slate_id, items, places, "".join(map(str, sources))])
    try:
        text.encode()
    except UnicodeEncodeError:
        for name, value in (
            ("surface", surface),
            ("slate_id", slate_id),
            *(("item_id", item) for item in items),
        ):
            utf8(value, name)
    return Line(at, kind == SHOWN, slate_id, confirmed, len(items), text)


def _places(positions: int | list[int], count: int) -> Sequence[int]:
    """Spell out the positions of a line: most are a slate's, one after the other."""
    return range(positions, positions + count) if isinstance(positions, int) else positions


def _decoded(rows: Sequence[tuple[Any, str]]) -> list[Any]:
    """Parse the texts of many lines at once."""
    return decoded(f"[{','.join([text for _, text in rows])}]")


def _code(codes: dict[str, int], value: str, name: str) -> int:
    if value not in codes:
        raise LedgerInvalid(f"`{name}` must be one of {', '.join(map(repr, codes))} but got {value!r:.80}")
    return codes[value]
