"""Compiled loops over shoppers: what is measured of their rows in history and ledger, and the reasons that follow.

Each kernel has a plain-Python twin in the tests. Every loop is per user and touches only that user's rows, so a block
of one and a block of a million run the same code. ``users`` (P,) are the positions of a block's (U,) users that are
looked at. Scratch arrays are handed in clean and handed back clean.
"""

from __future__ import annotations

import numba
import numpy as np

VIEW, CART, PURCHASE, DISMISS = 0, 1, 2, 3
ENTRY_SHOWN, ENTRY_DISMISSED = 0, 1
NEVER = np.iinfo(np.int64).min
AT_MOST, AT_LEAST, BELOW = 0, 1, 2
(
    CLOSENESS, TRACE, EVIDENCE, UNTOLD, RATIO, SHOWN_CATEGORY, SHOWN_BRAND, FOLLOWED, CYCLE, UNHEEDED,
    SHOWN_ITEM, OWNED,
    WAIT, HURRIED,
) = range(14)  # fmt: skip
WINDOWS = (SHOWN_ITEM, SHOWN_CATEGORY, SHOWN_BRAND)
DAY = 86_400_000_000.0
CLEAR = 8  # so many cells in a row are cleared in the time of one that is looked up
MAYBE = 4095  # an item whose last bits were not seen among a user's rows need not be looked up

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def days_since(time, now):
    """Return days from ``time`` to ``now``, microseconds UTC: infinite for NEVER, 0 for a time that lies ahead."""
    if time == NEVER:
        return np.inf
    return max(np.float64(now) - np.float64(time), 0.0) / DAY  # whole numbers would run over at the end of time


@_compiled
def right(value, limit, bound):
    """Return whether a value is on the right side of its limit; NaN never is."""
    if bound == AT_MOST:
        return value <= limit
    if bound == AT_LEAST:
        return value >= limit
    return value < limit


@_compiled
def judge_rows(
    users, reads, row_offsets, item_row, evidence_row, source, score, closeness, trace_share, offsets, items,
    kinds, times,
    prices, entry_offsets, entry_items, entry_kinds, entry_times, things, category, brand, item_class, class_bits,
    class_shadow, user_bits, user_shadow, now, padding, unknown_bit, score_bit, candidate_bit, slot_of, paid,
    times_paid, tally, kind, first,
    second, third, bound, limit, single, whole, eased_by, ease, covered, bit, enforced, again, out_judged, out_twin,
    out_enforced, out_shadowed, out_values,
):  # fmt: skip
    """Give each candidate row its reasons: the guards', its item's, its shopper's, and those of T checks of the row.

    Events and entries are grouped by user; of a user whose ``reads`` is False none is looked at. ``things`` (I,) is
    ``Catalogue.things``, ``category`` and ``brand`` (I,) again on their own; items of one ``item_class`` (I,) have the
    same ``class_bits`` (sources + 1, classes).
    ``user_bits`` are (sources + 1, U). The last line of both is for rows that no rule judges, because the item or the
    source is unknown. Scratch: ``slot_of`` (I, -1), ``paid`` and ``times_paid`` (categories + 1, 0), ``tally``
    (windows, categories or brands, 0).

    A check measures something of the row and holds it against a limit; NaN is never on the right side. An event that
    lies ahead counts where that withholds a row, and not where it would let one pass. Checks are (T,):
    ``kind`` of measure with three numbers, ``bound``, ``limit``, whether the limit is a ``single`` precision or a
    ``whole`` number, the line of ``ease`` (families, U) it is multiplied by (-1 is none), ``covered`` (T, sources + 1),
    ``bit``, and whether it is ``enforced``. Measures:

        CLOSENESS, TRACE: as handed over.
        EVIDENCE: days since the shopper last viewed, carted or bought the evidence item.
        UNTOLD: 1 where the evidence item is not known or may not be named to the shopper.
        FOLLOWED: days since the last view or cart of the item, where no purchase came after it.
        OWNED: 1 where the item was bought and lasts.
        CYCLE: share of the item's cycle gone since the last purchase.
        RATIO: price by the shopper's mean unit price in the category; 0 where they never bought there.
        UNHEEDED: times shown since the shopper last viewed, carted or bought the item, and once more.
        HURRIED: 1 where the badge says hurry and its end does not lie ahead.
        SHOWN_ITEM, SHOWN_CATEGORY, SHOWN_BRAND: times shown in the last ``first`` days, and once more.
        WAIT: days to wait after dismissals, at most ``second`` of which count ``first`` days each; then the time
            between two showings shrinks from ``first`` days to nothing over ``third`` days.

    With ``again`` the rows were started before and only get the checks' reasons. ``out_values`` (T, R) takes what was
    measured, if it has room.
    """
    n_sources, n_items, n_groups, checks = class_bits.shape[0] - 1, len(things), len(paid) - 1, len(kind)
    wanted = out_values.shape[1] > 0
    most = 0
    for place in range(len(users)):
        most = max(most, row_offsets[users[place] + 1] - row_offsets[users[place]])
    slot_at = np.empty(most, np.int32)
    group_at = np.empty(most, np.int32)
    brand_at = np.empty(most, np.int32)
    price_at = np.empty(most, np.float32)
    lasts_at = np.empty(most, np.float32)
    item_of = np.empty(2 * most, np.int32)
    seen = np.empty(2 * most, np.uint8)
    touched = np.empty(2 * most, np.bool_)
    past_at = np.empty(most, np.int32)
    value_at = np.empty(most, np.float64)
    everyone = np.empty(most, np.int32)
    few = np.empty(most, np.int32)
    found_of = np.empty(n_sources + 1, np.uint64)
    noted_of = np.empty(n_sources + 1, np.uint64)
    bought = np.empty(2 * most, np.int64)
    looked = np.empty(2 * most, np.int64)
    settled = np.empty(2 * most, np.int64)
    heeded = np.empty(2 * most, np.int64)
    last_shown = np.empty(2 * most, np.int64)
    unheeded = np.empty(2 * most, np.int32)
    refusals = np.empty(2 * most, np.int32)
    refused = np.empty(2 * most, np.int64)
    maybe = np.zeros(MAYBE + 1, np.bool_)
    window_of = np.full(checks, -1, np.int64)
    since = np.empty(checks, np.int64)
    scope = np.empty(checks, np.int64)
    windows = 0
    for check in range(checks):
        if kind[check] == SHOWN_ITEM or kind[check] == SHOWN_CATEGORY or kind[check] == SHOWN_BRAND:
            since[windows], scope[windows] = now - np.int64(np.round(first[check] * DAY)), kind[check]
            window_of[check] = windows
            windows += 1
    times_shown = np.empty((windows, 2 * most), np.int32)
    counted = np.zeros(windows, np.bool_)
    for place in range(len(users)):
        user = users[place]
        start, width = row_offsets[user], row_offsets[user + 1] - row_offsets[user]
        hurried = False
        slots = 0
        for at in range(width):
            item = item_row[start + at]
            slot_at[at], group_at[at], brand_at[at] = -1, -1, -1
            if 0 <= item < n_items:
                if slot_of[item] < 0:
                    slot_of[item], item_of[slots], maybe[item & MAYBE] = slots, item, True
                    slots += 1
                thing = things[item]
                slot_at[at], group_at[at], brand_at[at] = slot_of[item], thing["category"], thing["brand"]
                price_at[at], lasts_at[at] = thing["price"], thing["replenish_days"]
                hurried = hurried or thing["hurries"]
        for at in range(width):
            past = evidence_row[start + at]
            past_at[at] = -1
            if 0 <= past < n_items:
                if slot_of[past] < 0:
                    slot_of[past], item_of[slots], maybe[past & MAYBE] = slots, past, True
                    slots += 1
                past_at[at] = slot_of[past]
        touched[:slots] = False
        seen[:slots] = 0
        unheeded[:slots] = 0
        refusals[:slots] = 0
        bought[:slots] = NEVER
        looked[:slots] = NEVER
        settled[:slots] = NEVER
        heeded[:slots] = NEVER
        refused[:slots] = NEVER
        last_shown[:slots] = NEVER
        for window in range(windows):
            times_shown[window, :slots] = 0
            counted[window] = False

        event_end = offsets[user + 1] if reads[user] else offsets[user]
        for event in range(offsets[user], event_end):
            item, kind_of = items[event], kinds[event]
            if item < 0 or item >= n_items:
                continue
            group, price = category[item], prices[event]
            counts = kind_of == PURCHASE and group >= 0 and price >= 0 and times[event] <= now
            paid[group if counts else n_groups] += price if counts else 0.0
            times_paid[group if counts else n_groups] += counts
            slot = slot_of[item] if maybe[item & MAYBE] else -1
            if slot < 0:
                continue
            touched[slot] = True
            if times[event] <= now and kind_of <= PURCHASE:
                heeded[slot] = max(heeded[slot], times[event])
                if kind_of == PURCHASE:
                    settled[slot] = max(settled[slot], times[event])
            if kind_of == PURCHASE:
                bought[slot] = max(bought[slot], times[event])
            elif kind_of == DISMISS:
                refusals[slot] += times[event] != refused[slot]
                refused[slot] = max(refused[slot], times[event])
            elif kind_of <= CART:
                looked[slot] = max(looked[slot], times[event])

        entry_end = entry_offsets[user + 1] if reads[user] else entry_offsets[user]
        for entry in range(entry_offsets[user], entry_end):
            item, time = entry_items[entry], entry_times[entry]
            if item < 0 or item >= n_items:
                continue
            slot = slot_of[item] if maybe[item & MAYBE] else -1
            if slot >= 0:
                touched[slot] = True
            if entry_kinds[entry] == ENTRY_SHOWN:
                if slot >= 0:
                    last_shown[slot] = max(last_shown[slot], time)
                    unheeded[slot] += time > heeded[slot]
                for window in range(windows):
                    if time <= since[window]:
                        continue
                    if scope[window] == SHOWN_ITEM:
                        if slot >= 0:
                            times_shown[window, slot] += 1
                    else:
                        code = category[item] if scope[window] == SHOWN_CATEGORY else brand[item]
                        if code >= 0:
                            tally[window, code] += 1
                            counted[window] = True
            elif slot >= 0 and entry_kinds[entry] == ENTRY_DISMISSED:
                refusals[slot] += time != refused[slot]
                refused[slot] = max(refused[slot], time)

        for judged in range(n_sources + 1):
            found_of[judged], noted_of[judged] = user_bits[judged, user], user_shadow[judged, user]
        for at in range(0 if again else width):
            row, slot = start + at, slot_at[at]
            judged = min(source[row], n_sources)
            found, noted = found_of[judged], noted_of[judged]
            out_twin[row] = False
            if slot >= 0:
                same = item_class[item_row[row]]
                found |= class_bits[judged, same]
                noted |= class_shadow[judged, same]
                brought = np.uint8(1 << min(source[row], 7))
                if seen[slot] & brought:
                    found |= candidate_bit
                elif seen[slot]:
                    out_twin[row] = True
                seen[slot] |= brought
            else:
                found |= unknown_bit
                judged = n_sources
            if not abs(score[row]) < padding:
                found |= score_bit
            if source[row] >= n_sources:
                found |= candidate_bit
            out_judged[row] = judged
            out_enforced[row] = found
            out_shadowed[row] = noted

        some, known = 0, 0
        for at in range(width):
            if slot_at[at] >= 0:
                everyone[known] = at
                known += 1
                if touched[slot_at[at]]:
                    few[some] = at
                    some += 1
        for check in range(checks):
            measure, window = kind[check], window_of[check]
            left = limit[check] * (ease[eased_by[check], user] if eased_by[check] >= 0 else 1.0)
            if whole[check]:
                left = max(np.floor(left + 1e-6), min(limit[check], 1.0))
            elif single[check]:
                left = np.float64(np.float32(left))
            rows, count = everyone, known
            if not wanted and measure >= SHOWN_CATEGORY:  # rows of which nothing is known need not be looked at
                usual = (
                    1.0
                    if measure <= SHOWN_BRAND
                    else np.inf
                    if measure <= CYCLE
                    else 1.0
                    if measure <= SHOWN_ITEM
                    else 0.0
                )
                if right(usual, left, bound[check]):
                    if measure <= SHOWN_BRAND:
                        count = known if counted[window] else 0
                    elif measure <= WAIT:
                        rows, count = few, some
                    elif not hurried:
                        count = 0
            if count == 0:
                continue
            if measure == CLOSENESS:
                for listed in range(count):
                    value_at[listed] = closeness[start + rows[listed]]
            elif measure == TRACE:
                for listed in range(count):
                    value_at[listed] = trace_share[start + rows[listed]]
            elif measure == EVIDENCE:
                for listed in range(count):
                    slot = past_at[rows[listed]]
                    value_at[listed] = np.inf if slot < 0 else days_since(heeded[slot], now)
            elif measure == UNTOLD:
                for listed in range(count):
                    past = evidence_row[start + rows[listed]]
                    value_at[listed] = 0.0 if past_at[rows[listed]] >= 0 and things[past]["speakable"] else 1.0
            elif measure == RATIO:
                for listed in range(count):
                    at = rows[listed]
                    group = group_at[at] if group_at[at] >= 0 else n_groups
                    mean = paid[group] / times_paid[group] if times_paid[group] > 0 else np.inf
                    ratio = np.float64(np.float32(price_at[at] / mean))
                    if np.isnan(ratio) and (price_at[at] == 0 or things[item_row[start + at]]["gesture"]):
                        ratio = 0.0
                    value_at[listed] = ratio
            elif measure <= SHOWN_BRAND:
                code_at = group_at if measure == SHOWN_CATEGORY else brand_at
                for listed in range(count):
                    code = code_at[rows[listed]]
                    value_at[listed] = 1.0 if code < 0 else tally[window, code] + 1.0
            elif measure == FOLLOWED:
                for listed in range(count):
                    slot = slot_at[rows[listed]]
                    value_at[listed] = days_since(looked[slot], now) if looked[slot] > settled[slot] else np.inf
            elif measure == CYCLE:
                for listed in range(count):
                    slot, lasts = slot_at[rows[listed]], lasts_at[rows[listed]]
                    gone = bought[slot] != NEVER and lasts > 0
                    value_at[listed] = days_since(bought[slot], now) / lasts if gone else np.inf
            elif measure == UNHEEDED:
                for listed in range(count):
                    value_at[listed] = unheeded[slot_at[rows[listed]]] + 1.0
            elif measure == SHOWN_ITEM:
                for listed in range(count):
                    value_at[listed] = times_shown[window, slot_at[rows[listed]]] + 1.0
            elif measure == OWNED:
                for listed in range(count):
                    slot = slot_at[rows[listed]]
                    value_at[listed] = 1.0 if bought[slot] != NEVER and np.isnan(lasts_at[rows[listed]]) else 0.0
            elif measure == WAIT:
                for listed in range(count):
                    slot, rest = slot_at[rows[listed]], 0.0
                    if refusals[slot] > 0:
                        over = days_since(refused[slot], now) - first[check] * min(refusals[slot], second[check])
                        if over < 0:
                            rest = -over
                        elif third[check] > 0:
                            apart = first[check] * max(0.0, 1.0 - over / third[check])
                            rest = max(0.0, apart - days_since(last_shown[slot], now))
                    value_at[listed] = rest
            else:
                for listed in range(count):
                    thing = things[item_row[start + rows[listed]]]
                    value_at[listed] = 1.0 if thing["hurries"] and not thing["badge_until"] > now else 0.0
            if wanted:
                for listed in range(count):
                    out_values[check, start + rows[listed]] = value_at[listed]
                continue
            side, reason, applied = bound[check], bit[check], enforced[check]
            for listed in range(count):
                row = start + rows[listed]
                if covered[check, out_judged[row]] and not right(value_at[listed], left, side):
                    if applied:
                        out_enforced[row] |= reason
                    else:
                        out_shadowed[row] |= reason

        for slot in range(slots):
            slot_of[item_of[slot]] = -1
            maybe[item_of[slot] & MAYBE] = False
        if n_groups <= CLEAR * (event_end - offsets[user]):
            paid[:] = 0
            times_paid[:] = 0
        else:
            for event in range(offsets[user], event_end):
                if 0 <= items[event] < n_items and category[items[event]] >= 0:
                    paid[category[items[event]]] = 0
                    times_paid[category[items[event]]] = 0
        for window in range(windows):
            if not counted[window]:
                continue
            if tally.shape[1] <= CLEAR * (entry_end - entry_offsets[user]):
                tally[window] = 0
                continue
            for entry in range(entry_offsets[user], entry_end):
                item = entry_items[entry]
                if 0 <= item < n_items:
                    code = category[item] if scope[window] == SHOWN_CATEGORY else brand[item]
                    if code >= 0:
                        tally[window, code] = 0


@_compiled
def count_bits(bits, out):
    """Add to ``out`` (B,) how many of the ``bits`` have each of the B lowest set; no other may be set."""
    for row in range(len(bits)):
        left, place = bits[row], 0
        while left:
            out[place] += np.int64(left & np.uint64(1))
            left >>= np.uint64(1)
            place += 1
