"""Between slates and ledger: entries become the flat arrays that rules read, slates become entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import repeat

import numpy as np
import numpy.typing as npt

from boundary.history import SHOWN, Exposures
from boundary.ledger.base import Entry, Snapshot
from recsys.slates import Slate


def exposures_of(snapshot: Snapshot, row_of: Mapping[str, int], *, released: int) -> Exposures:
    """Lay a block's entries out as columns; reserved ones from before ``released`` (microseconds UTC) count no more.

    Example:
        >>> from boundary.ledger.lines import columns_of
        >>> reserved = columns_of([Entry("shown", "tea", "home", 5, "s1", 0, "crowd", False)])
        >>> one = Snapshot(np.array([0, 1]), reserved, np.zeros(1, np.int64))
        >>> [len(exposures_of(one, {"tea": 0}, released=moment).at) for moment in (5, 6)]
        [1, 0]
    """
    lines = snapshot.entries
    if not len(lines.at):
        return Exposures.empty(len(snapshot.offsets) - 1)
    block = Exposures(
        snapshot.offsets,
        np.fromiter(map(row_of.get, lines.item_id, repeat(-1)), np.int32, len(lines.at)),
        lines.kind,
        lines.surface,
        lines.at,
        lines.slate,
        lines.surfaces,
    )
    live = lines.confirmed | (lines.at >= released) | (lines.kind != SHOWN)
    return block if np.count_nonzero(live) == len(live) else block.only(live)


def spread_out(block: Exposures, known: npt.NDArray[np.bool_]) -> Exposures:
    """Return a block's entries among users who have none: the block's users stand where ``known``, (U,), is true."""
    if np.count_nonzero(known) == len(known):
        return block
    widths = np.zeros(len(known), np.int64)
    widths[known] = np.diff(block.offsets)
    return replace(block, offsets=np.concatenate([[0], np.cumsum(widths)]))


def remember(slate: Slate, now: int, *, confirmed: bool = False) -> list[Entry]:
    """Return the ledger entries of a slate."""
    return [
        Entry("shown", item.item_id, slate.surface, now, slate.slate_id, position, item.source, confirmed)
        for position, item in enumerate(slate.items)
    ]
