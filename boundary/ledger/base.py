"""What is an entry of the ledger, and what does every store of entries promise?

A ledger remembers what was shown to whom, and what they said about it. It counts nothing: the caller reads
a shopper's entries together with a *turn*, does the cap arithmetic, and appends under that turn. The store
refuses the append when the turn has moved, so two callers can never both spend the last place under a cap.

Errors::

    LedgerError
    ├── LedgerInvalid        an argument cannot be kept: address, id, entry
    ├── LedgerUnavailable    the store is out of reach, busy or closed: nothing is known to be written
    └── LedgerDamaged        the store answers, but what it holds is no ledger
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from boundary.history import ENTRY_KINDS
from boundary.words import SOURCE_NAMES

KINDS: Final = ENTRY_KINDS
SOURCES: Final = (*SOURCE_NAMES, "")


class LedgerError(Exception):
    """Anything a ledger cannot do."""


class LedgerInvalid(LedgerError):  # noqa: N818  (the family ends in Error, its members name a state)
    """An argument that no ledger can keep."""


class LedgerUnavailable(LedgerError):  # noqa: N818
    """A store that is out of reach, busy for longer than the timeout, or closed."""


class LedgerDamaged(LedgerError):  # noqa: N818
    """A store whose content is not a ledger, or no longer one."""


class Entry(NamedTuple):
    """One entry: what was shown to a shopper, or what they said about it.

    Attributes:
        kind: one of ``KINDS``.
        item_id: "" where the entry is about no item.
        surface: where it was shown.
        at: microseconds UTC, from 0 to 2**53 - 1.
        slate_id: "" where the entry belongs to no slate.
        position: place in the slate, from 0.
        source: one of ``SOURCES``; "" where the entry is no exposure.
        confirmed: False while a shown entry is only reserved.
    """

    kind: str
    item_id: str
    surface: str
    at: int
    slate_id: str
    position: int
    source: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """The same entries as flat arrays of one length E.

    Attributes:
        kind: uint8, place in ``KINDS``.
        item_id: list of str.
        surface: int32, place in ``surfaces``.
        at: int64, microseconds UTC.
        slate: int32, place in ``slates``.
        position: int32.
        source: uint8, place in ``SOURCES``.
        confirmed: bool.
        surfaces: distinct names of the surfaces.
        slates: distinct ids of the slates.
    """

    kind: npt.NDArray[np.uint8]
    item_id: Sequence[str]
    surface: npt.NDArray[np.int32]
    at: npt.NDArray[np.int64]
    slate: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    source: npt.NDArray[np.uint8]
    confirmed: npt.NDArray[np.bool_]
    surfaces: tuple[str, ...]
    slates: tuple[str, ...]

    def entries(self) -> list[Entry]:
        """Give the columns back as a list of entries, in their order."""
        return list(
            map(
                Entry,
                [KINDS[code] for code in self.kind],
                self.item_id,
                [self.surfaces[code] for code in self.surface],
                self.at.tolist(),
                [self.slates[code] for code in self.slate],
                self.position.tolist(),
                [SOURCES[code] for code in self.source],
                self.confirmed.tolist(),
            )
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a ledger holds for a block of U users.

    Attributes:
        offsets: int64 (U + 1,); user u owns ``entries[offsets[u]:offsets[u + 1]]``, oldest first.
        entries: the columns of all of them.
        turns: int64 (U,).
    """

    offsets: npt.NDArray[np.int64]
    entries: Columns
    turns: npt.NDArray[np.int64]


class Ledger(Protocol):
    """Who was shown what. Every method may raise ``LedgerError``; entries may come in any order of time."""

    def read(self, user_id: str, since: int) -> tuple[list[Entry], int]:
        """Give a user's entries at or after ``since`` (microseconds UTC), oldest first, and the turn."""
        ...

    def append(self, user_id: str, entries: Sequence[Entry], *, expected_turn: int) -> bool:
        """Write all entries and move the turn on; False, and nothing written, when the turn is stale.

        Without entries nothing is written and no turn moves: the answer is True.
        After ``LedgerUnavailable`` the entries stand in the store once or not at all.
        """
        ...

    def confirm(self, user_id: str, slate_id: str) -> int:
        """Mark a slate's reserved entries as really shown; give how many of its entries now stand confirmed.

        Repeating it changes nothing. 0 means that the slate is not known, was released or was forgotten.
        """
        ...

    def release(self, before: int) -> int:
        """Drop shown entries older than ``before`` that nobody confirmed; give how many."""
        ...

    def forget(self, user_id: str) -> int:
        """Remove a user's entries and turn; give how many entries. An append that read before is stale."""
        ...

    def read_block(self, user_ids: Sequence[str], since: int) -> Snapshot:
        """Do what ``read`` does for many users, into flat arrays."""
        ...

    def append_block(
        self,
        user_ids: Sequence[str],
        offsets: npt.NDArray[np.int64],
        entries: Columns,
        *,
        expected_turns: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.bool_]:
        """Do what ``append`` does for each user of a block on its own; one answer a user, bool (U,)."""
        ...

    def keep(self, days: float) -> None:
        """Let no store of its own accord drop a user's entries sooner than so many days after the last append.

        It holds from each user's next append on, and never makes the time shorter.
        """
        ...

    def prune(self, before: int) -> int:
        """Drop every entry older than ``before``, and the turns of users with none left; give how many."""
        ...

    def close(self) -> None:
        """Let go of the store; later calls raise ``LedgerUnavailable``."""
        ...
