"""What the boundary decided of a block: the rows it kept, and every reason of every row it did not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boundary import kernel
from boundary.rules import REASONS
from boundary.words import SOURCE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from boundary.candidates import Candidates
    from boundary.facts import Context

Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Verdict:
    """The decision about a block of candidates; rows keep their order and scores.

    Attributes:
        candidates: the block, as it was handed over.
        item_ids: the catalogue's ids.
        context: what was asked.
        kept: (R,) True where the row is shown.
        enforced: (R,) uint64, the reasons that withhold the row; 0 exactly where it is kept.
        shadowed: (R,) uint64, reasons that are counted and not applied.
        policy_digest: fingerprint of the policy that decided.
    """

    candidates: Candidates
    item_ids: tuple[str, ...]
    context: Context
    kept: npt.NDArray[np.bool_]
    enforced: Bits
    shadowed: Bits
    policy_digest: str

    @cached_property
    def decision_id(self) -> str:
        """Fingerprint of what was asked and what was decided: equal decisions, equal ids."""
        digest = hashlib.blake2b(digest_size=12)
        asked = self.context
        digest.update(f"{self.policy_digest}|{asked.surface}|{asked.intent}|{asked.n}|{asked.now}".encode())
        ids = [user.encode("utf-8", "surrogatepass") for user in self.candidates.user_ids]
        digest.update(b"".join(b"%d:%b" % (len(user), user) for user in ids))
        for part in (self.candidates.offsets, self.candidates.item_row, self.enforced):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def kept_rows(self, user: int) -> npt.NDArray[np.int64]:
        """Return the row numbers shown to the user at this position of the block, in order."""
        start, end = int(self.candidates.offsets[user]), int(self.candidates.offsets[user + 1])
        return start + np.flatnonzero(self.kept[start:end])

    def reasons(self, row: int) -> list[str]:
        """Return all reasons that withhold a row."""
        return _words(int(self.enforced[row]))

    def counts(self) -> dict[str, int]:
        """Return how many rows each reason withholds; a row counts for each of its reasons."""
        return _tally(self.enforced)

    def shadow_counts(self) -> dict[str, int]:
        """Return how many rows each rule in shadow would withhold."""
        return _tally(self.shadowed)

    def counts_of(self, user: int) -> dict[str, int]:
        """Return ``counts`` of one user's rows."""
        start, end = int(self.candidates.offsets[user]), int(self.candidates.offsets[user + 1])
        return _tally(self.enforced[start:end])

    def shadow_counts_of(self, user: int) -> dict[str, int]:
        """Return ``shadow_counts`` of one user's rows."""
        start, end = int(self.candidates.offsets[user]), int(self.candidates.offsets[user + 1])
        return _tally(self.shadowed[start:end])

    def co_counts(self) -> dict[tuple[str, str], int]:
        """Return how many rows carry both reasons of a pair."""
        sets, times = np.unique(self.enforced, return_counts=True)
        pairs: dict[tuple[str, str], int] = {}
        for bits, count in zip(sets.tolist(), times.tolist(), strict=True):
            words = _words(bits)
            for place, one in enumerate(words):
                for other in words[place + 1 :]:
                    pairs[one, other] = pairs.get((one, other), 0) + count
        return pairs

    @property
    def positions(self) -> npt.NDArray[np.int32]:
        """(R,) place in the slate from 0, -1 where the row is withheld."""
        running = np.cumsum(self.kept)
        before = np.concatenate([[0], running])[self.candidates.offsets[:-1]]
        places = running - 1 - before[self.candidates.user_row]
        return np.where(self.kept, places, -1).astype(np.int32)

    def to_frame(self) -> pl.DataFrame:
        """Return one row a candidate: user_id, item_id, score, source, kept, position, reasons, shadow_reasons."""
        import polars as pl

        rows = self.candidates
        positions = self.positions
        known = (rows.item_row >= 0) & (rows.item_row < len(self.item_ids))
        return pl.DataFrame(
            {
                "user_id": pl.Series(shown_ids(rows.user_ids), dtype=pl.String).gather(rows.user_row),
                "item_id": pl.Series([self.item_ids[i] if ok else None for i, ok in zip(
                    rows.item_row.tolist(), known.tolist(), strict=True)], dtype=pl.String),
                "score": rows.score,
                "source": pl.Series([*SOURCE_NAMES, "unknown"]).gather(np.minimum(rows.source, len(SOURCE_NAMES))),
                "kept": self.kept,
                "position": pl.Series(positions).replace(-1, None),
                "reasons": reason_lists(self.enforced),
                "shadow_reasons": reason_lists(self.shadowed),
            }
        )  # fmt: skip


def shown_ids(user_ids: Sequence[str]) -> list[str]:
    """Return ids as a frame can hold them; a lone surrogate is written as its code."""
    return [user.encode("utf-8", "backslashreplace").decode() for user in user_ids]


def reason_lists(bits: Bits) -> pl.Series:
    """Return reason bits as a list of words a row."""
    import polars as pl

    sets, place = np.unique(bits, return_inverse=True)
    return pl.Series([_words(one) for one in sets.tolist()], dtype=pl.List(pl.String)).gather(place)


def _words(bits: int) -> list[str]:
    return [reason for place, reason in enumerate(REASONS) if bits >> place & 1]


def _tally(bits: Bits) -> dict[str, int]:
    """Count the rows of each reason, the most frequent first; ties in the order of the reasons."""
    counts = np.zeros(len(REASONS), np.int64)
    kernel.count_bits(bits, counts)
    found = [(count, reason) for count, reason in zip(counts.tolist(), REASONS, strict=True) if count]
    return {reason: count for count, reason in sorted(found, key=lambda pair: -pair[0])}
