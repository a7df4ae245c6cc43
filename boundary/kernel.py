"""Compiled loops over users: pair facts from history and ledger, and the spending of slate quotas.

Each kernel has a plain-Python twin in the tests. Every loop is per user and touches only that user's rows, so a block
of one and a block of a million run the same code. Scratch arrays are handed in clean and handed back clean.
"""

from __future__ import annotations

import numba
import numpy as np

VIEW, CART, PURCHASE, DISMISS = 0, 1, 2, 3
NEVER = np.iinfo(np.int64).min
SHARE, LEAD, GAP, CROWD = 0, 1, 2, 3

_compiled = numba.njit(cache=True, nogil=True)


@_compiled
def history_facts(
    row_offsets, item_row, evidence_row, offsets, items, kinds, times, prices, category, bought_at, viewed_at,
    carted_at, dismissed_at, dismissals, paid_sum, paid_count, out_bought, out_viewed, out_carted, out_dismissed,
    out_dismissals, out_paid, out_evidence,
):  # fmt: skip
    """Write, for each candidate row, when its shopper last bought, viewed, carted and dismissed the item.

    ``offsets, items, kinds, times, prices`` are the block's events grouped by user; the seven arrays that follow are
    scratch: four times (n_items, filled with NEVER), dismissals (n_items zeros), sums and counts (n_categories zeros).
    ``out_paid`` is the shopper's mean unit price in the row's category (NaN without a purchase there);
    ``out_evidence`` the last time of any event with ``evidence_row``.
    """
    n_items = len(bought_at)
    for user in range(len(row_offsets) - 1):
        for event in range(offsets[user], offsets[user + 1]):
            item = items[event]
            if item < 0 or item >= n_items:
                continue
            kind, time = kinds[event], times[event]
            if kind == PURCHASE:
                bought_at[item] = max(bought_at[item], time)
                if category[item] >= 0 and not np.isnan(prices[event]):
                    paid_sum[category[item]] += prices[event]
                    paid_count[category[item]] += 1
            elif kind == VIEW:
                viewed_at[item] = max(viewed_at[item], time)
            elif kind == CART:
                carted_at[item] = max(carted_at[item], time)
            else:
                dismissed_at[item] = max(dismissed_at[item], time)
                dismissals[item] += 1
        for row in range(row_offsets[user], row_offsets[user + 1]):
            item = item_row[row]
            if item < 0 or item >= n_items:
                continue
            out_bought[row] = bought_at[item]
            out_viewed[row] = viewed_at[item]
            out_carted[row] = carted_at[item]
            out_dismissed[row] = dismissed_at[item]
            out_dismissals[row] = dismissals[item]
            group = category[item]
            if group >= 0 and paid_count[group] > 0:
                out_paid[row] = paid_sum[group] / paid_count[group]
            past = evidence_row[row]
            if 0 <= past < n_items:
                out_evidence[row] = max(max(bought_at[past], viewed_at[past]), carted_at[past])
        for event in range(offsets[user], offsets[user + 1]):
            item = items[event]
            if item < 0 or item >= n_items:
                continue
            bought_at[item] = NEVER
            viewed_at[item] = NEVER
            carted_at[item] = NEVER
            dismissed_at[item] = NEVER
            dismissals[item] = 0
            if category[item] >= 0:
                paid_sum[category[item]] = 0.0
                paid_count[category[item]] = 0


@_compiled
def count_entries(row_offsets, row_key, since, offsets, keys, times, head, following, out_count, out_last):
    """Count, for each row, its shopper's ledger entries with the row's key later than ``since[row]``.

    ``head`` is scratch (n_keys, filled with -1), ``following`` scratch as long as the entries.
    ``out_last`` is the latest time of any entry with that key, NEVER without one.
    """
    n_keys = len(head)
    for user in range(len(row_offsets) - 1):
        if offsets[user] == offsets[user + 1]:
            continue
        for entry in range(offsets[user], offsets[user + 1]):
            key = keys[entry]
            if 0 <= key < n_keys:
                following[entry] = head[key]
                head[key] = entry
        for row in range(row_offsets[user], row_offsets[user + 1]):
            key = row_key[row]
            if key < 0 or key >= n_keys:
                continue
            entry = head[key]
            while entry >= 0:
                if times[entry] > since[row]:
                    out_count[row] += 1
                out_last[row] = max(out_last[row], times[entry])
                entry = following[entry]
        for entry in range(offsets[user], offsets[user + 1]):
            key = keys[entry]
            if 0 <= key < n_keys:
                head[key] = -1


@_compiled
def find_repeats(offsets, item_row, source, seen, out_repeat, out_twin):
    """Mark rows whose item stands further up in the same user's list: from the same source, or from another one.

    ``seen`` is scratch, (n_items, zeros): a bit for each source.
    """
    for user in range(len(offsets) - 1):
        for row in range(offsets[user], offsets[user + 1]):
            item = item_row[row]
            if item < 0 or item >= len(seen):
                continue
            bit = np.uint8(1 << min(source[row], 7))
            if seen[item] & bit:
                out_repeat[row] = True
            elif seen[item]:
                out_twin[row] = True
            seen[item] |= bit
        for row in range(offsets[user], offsets[user + 1]):
            if 0 <= item_row[row] < len(seen):
                seen[item_row[row]] = 0


@_compiled
def relationship(offsets, kinds, times, prices, quantities, out_first, out_purchases, out_baskets, out_spend):
    """Write each user's first event, number of purchases, of baskets (distinct times of purchase) and spend.

    Events must be in order of time within a user.
    """
    for user in range(len(offsets) - 1):
        last = NEVER
        for event in range(offsets[user], offsets[user + 1]):
            if event == offsets[user]:
                out_first[user] = times[event]
            if kinds[event] != PURCHASE:
                continue
            out_purchases[user] += 1
            if times[event] != last:
                out_baskets[user] += 1
                last = times[event]
            if not (np.isnan(prices[event]) or np.isnan(quantities[event])):
                out_spend[user] += prices[event] * quantities[event]


@_compiled
def strongest_kinds(users, item_row, offsets, items, kinds, out):
    """Write for each pair of user and item the strongest kind, up to purchase, of the user's events with the item."""
    for row in range(len(users)):
        for event in range(offsets[users[row]], offsets[users[row] + 1]):
            if items[event] == item_row[row] and out[row] < kinds[event] <= PURCHASE:
                out[row] = kinds[event]


@_compiled
def spend_quotas(
    offsets, item_row, twin, twin_bit, blocked, length, promoted, source, category, brand, kind, enforced, sources, promoted_only, first, second,
    by_brand, cap, share, bit, full_bit, out_kept, out_enforced, out_shadowed,
):  # fmt: skip
    """Walk down each user's ranked rows and keep those that no slate quota forbids; rows are only ever removed.

    ``blocked`` rows are passed over; a ``twin`` row is refused where another source already brought its item. A user gets at most ``length`` (U,) slots. There are Q quotas, (Q,) each: ``kind`` of
    quota, whether it is ``enforced`` or only noted, a bit mask of ``sources`` it counts, whether it counts
    ``promoted_only``, two numbers, the reason's ``bit``; ``cap`` and ``share`` are (Q, U).

    SHARE keeps at most ``cap`` counted rows; where a slate stays short, the last promoted rows are taken out until the
    share holds of the slots really filled. LEAD keeps none in first place. GAP wants ``first`` other slots between two.
    CROWD keeps at most ``first`` of one category (or brand) in any ``second`` slots that follow each other.
    """
    quotas = len(kind)
    counted = np.zeros(quotas, np.int64)
    last = np.full(quotas, -1, np.int64)
    for user in range(len(offsets) - 1):
        start, end = offsets[user], offsets[user + 1]
        counted[:] = 0
        last[:] = -1
        kept = 0
        slots = np.empty(max(min(length[user], end - start), 0), np.int64)
        for row in range(start, end):
            if blocked[row]:
                continue
            if kept >= length[user]:
                out_enforced[row] |= full_bit
                continue
            refused = False
            if twin[row]:
                for slot in range(kept):
                    if item_row[slots[slot]] == item_row[row]:
                        out_enforced[row] |= twin_bit
                        refused = True
                        break
                if refused:
                    continue
            for quota in range(quotas):
                if not ((sources[quota] >> source[row]) & 1) or (promoted_only[quota] and not promoted[row]):
                    continue
                over = False
                if kind[quota] == SHARE:
                    over = counted[quota] >= cap[quota, user]
                elif kind[quota] == LEAD:
                    over = kept == 0
                elif kind[quota] == GAP:
                    over = last[quota] >= 0 and kept - last[quota] - 1 < first[quota]
                else:
                    key = brand[row] if by_brand[quota] else category[row]
                    alike = 0
                    if key >= 0:
                        for slot in range(max(0, kept - second[quota] + 1), kept):
                            other = slots[slot]
                            if (brand[other] if by_brand[quota] else category[other]) == key:
                                alike += 1
                        over = alike >= first[quota]
                if over:
                    if enforced[quota]:
                        out_enforced[row] |= bit[quota]
                        refused = True
                    else:
                        out_shadowed[row] |= bit[quota]
            if refused:
                continue
            out_kept[row] = True
            slots[kept] = row
            for quota in range(quotas):
                if ((sources[quota] >> source[row]) & 1) and not (promoted_only[quota] and not promoted[row]):
                    counted[quota] += 1
                    last[quota] = kept
            kept += 1
        if kept >= length[user]:
            continue
        filled = kept
        for quota in range(quotas):
            if kind[quota] != SHARE or not promoted_only[quota] or not enforced[quota]:
                continue
            count = 0
            for slot in range(filled):
                row = slots[slot]
                if out_kept[row] and promoted[row] and ((sources[quota] >> source[row]) & 1):
                    count += 1
            slot = filled - 1
            while slot >= 0 and count > np.floor(share[quota, user] * kept + 1e-9):
                row = slots[slot]
                if out_kept[row] and promoted[row] and ((sources[quota] >> source[row]) & 1):
                    out_kept[row] = False
                    out_enforced[row] |= bit[quota]
                    count -= 1
                    kept -= 1
                slot -= 1
