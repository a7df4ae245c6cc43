"""The compiled walk down ranked rows that spends the slate quotas; its plain-Python twin is in the tests."""

# mypy: allow-untyped-defs, allow-untyped-decorators
from __future__ import annotations

import numba
import numpy as np

SHARE, LEAD, GAP, CROWD, WINDOW = 0, 1, 2, 3, 4
DAY = 86_400_000_000
ENTRY_SHOWN = 0

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def count_slot(things, item_row, judged, covered, by_brand, tally, quota, row, change):
    """Count a row in or out of the slots that a CROWD quota looks back on."""
    thing = things[item_row[row]]
    code = thing["brand"] if by_brand[quota] else thing["category"]
    if code >= 0 and covered[quota, judged[row]]:
        tally[quota, code] += change


@_compiled
def count_shown(things, items, kinds, times, first, last, since, by_brand, code):
    """Count a user's entries ``first`` to ``last`` that show items of a category or brand later than ``since``."""
    shown = 0
    for entry in range(first, last):
        item = items[entry]
        if kinds[entry] == ENTRY_SHOWN and times[entry] > since and 0 <= item < len(things):
            shown += (things[item]["brand"] if by_brand else things[item]["category"]) == code
    return shown


@_compiled
def spend_quotas(
    users, reads, row_offsets, item_row, judged, twin, twin_bit, length, entry_offsets, entry_items, entry_kinds,
    entry_times, now, things, kind, enforced, covered, promoted_only, first, second, days,
    by_brand, share, eased_by, ease, bit, full_bit, tally, shown, out_kept, out_enforced, out_shadowed,
):  # fmt: skip
    """Walk down each user's ranked rows and keep those that no slate quota forbids; rows are only ever removed.

    Rows that already have a reason are passed over; a ``twin`` is refused where another source already brought its
    item. A user gets at most ``length`` slots. There are Q quotas, (Q,) each: ``kind``, whether it is ``enforced`` or
    only noted, ``covered`` (Q, sources + 1), whether it counts ``promoted_only`` (these come last), two numbers, a
    ``share``, which line of ``ease`` (families, U) it is multiplied by (-1 is none), and its ``bit``. ``things`` (I,)
    is ``Catalogue.things``; ``tally`` and ``shown`` are scratch (Q, categories or brands, zeros and -1). Entries are
    grouped by user; of a user whose ``reads`` is False none is looked at.

    SHARE keeps at most that share of ``length`` rows; a promoted share must hold of the slots really filled as well, so
    where a slate stays short the walk is done again with a lower cap. LEAD keeps none in first place. GAP wants
    ``first`` other slots between two. CROWD keeps at most ``first`` of one category (or brand) in any ``second`` slots
    that follow each other. WINDOW keeps no second one of a category (or brand) where the slots so far and what was
    shown in the last ``days`` are ``first`` already; whether a first one may be shown, its row rule has judged.
    """
    quotas = len(kind)
    counted = np.empty(quotas, np.int64)
    caps = np.empty(quotas, np.int64)
    last = np.empty(quotas, np.int64)
    quota_bits = np.uint64(0)
    others = quotas - np.sum(promoted_only)
    most = 0
    for quota in range(quotas):
        quota_bits |= bit[quota]
    for user in users:
        most = max(most, row_offsets[user + 1] - row_offsets[user])
    ranked = np.empty(most, np.int64)
    slots = np.empty(most, np.int64)
    for user in users:
        waiting = 0
        for row in range(row_offsets[user], row_offsets[user + 1]):
            if out_enforced[row] == 0:
                ranked[waiting] = row
                waiting += 1
        for quota in range(quotas):
            left = share[quota] * (ease[eased_by[quota], user] if eased_by[quota] >= 0 else 1.0)
            caps[quota] = np.int64(np.floor(left * length + 1e-9))
        while True:
            counted[:] = 0
            last[:] = -1
            kept = 0
            for place in range(waiting):
                row = ranked[place]
                item, source = item_row[row], judged[row]
                out_kept[row] = False
                out_enforced[row] = np.uint64(0)
                out_shadowed[row] &= ~quota_bits
                if kept >= length:
                    out_enforced[row] = full_bit
                    continue
                refused = False
                if twin[row]:
                    for slot in range(kept):
                        if item_row[slots[slot]] == item:
                            out_enforced[row] = twin_bit
                            refused = True
                            break
                    if refused:
                        continue
                concerned = quotas if things[item]["promoted"] else others
                for quota in range(concerned):
                    if not covered[quota, source]:
                        continue
                    over = False
                    if kind[quota] == SHARE:
                        over = counted[quota] >= caps[quota]
                    elif kind[quota] == LEAD:
                        over = kept == 0
                    elif kind[quota] == GAP:
                        over = last[quota] >= 0 and kept - last[quota] - 1 < first[quota]
                    else:
                        code = things[item]["brand"] if by_brand[quota] else things[item]["category"]
                        if kind[quota] == CROWD:
                            over = code >= 0 and tally[quota, code] >= first[quota]
                        elif code >= 0 and tally[quota, code] > 0:
                            if shown[quota, code] < 0:
                                end = entry_offsets[user + 1] if reads[user] else entry_offsets[user]
                                shown[quota, code] = count_shown(
                                    things, entry_items, entry_kinds, entry_times, entry_offsets[user], end,
                                    now - np.int64(np.round(days[quota] * DAY)), by_brand[quota], code,
                                )  # fmt: skip
                            left = first[quota] * (ease[eased_by[quota], user] if eased_by[quota] >= 0 else 1.0)
                            left = max(np.floor(left + 1e-6), min(np.float64(first[quota]), 1.0))
                            over = shown[quota, code] + tally[quota, code] + 1 > left
                    if over and enforced[quota]:
                        out_enforced[row] |= bit[quota]
                        refused = True
                    elif over:
                        out_shadowed[row] |= bit[quota]
                if refused:
                    continue
                out_kept[row] = True
                slots[kept] = row
                for quota in range(concerned):
                    if covered[quota, source]:
                        counted[quota] += 1
                        last[quota] = kept
                for quota in range(others):
                    if kind[quota] == CROWD:
                        count_slot(things, item_row, judged, covered, by_brand, tally, quota, row, 1)
                        if kept >= second[quota] - 1:
                            left_behind = slots[kept - second[quota] + 1]
                            count_slot(things, item_row, judged, covered, by_brand, tally, quota, left_behind, -1)
                    elif kind[quota] == WINDOW:
                        code = things[item]["brand"] if by_brand[quota] else things[item]["category"]
                        if code >= 0:
                            tally[quota, code] += 1
                kept += 1
            for quota in range(others):
                if kind[quota] == CROWD:
                    for slot in range(max(kept - second[quota] + 1, 0), kept):
                        count_slot(things, item_row, judged, covered, by_brand, tally, quota, slots[slot], -1)
                elif kind[quota] == WINDOW:
                    for slot in range(kept):
                        thing = things[item_row[slots[slot]]]
                        code = thing["brand"] if by_brand[quota] else thing["category"]
                        if code >= 0:
                            tally[quota, code], shown[quota, code] = 0, -1
            again = False
            if kept < length:
                for quota in range(quotas):
                    if kind[quota] == SHARE and promoted_only[quota] and enforced[quota]:
                        left = share[quota] * (ease[eased_by[quota], user] if eased_by[quota] >= 0 else 1.0)
                        if counted[quota] > np.floor(left * kept + 1e-9):
                            caps[quota] = counted[quota] - 1
                            again = True
            if not again:
                break
