"""Compiled loops over what lies behind: how well each shopper is known, what of it may become evidence, what they got.

Each has a plain-Python twin in the tests.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators
from __future__ import annotations

import numba
import numpy as np

from boundary.kernel import DAY, ENTRY_SHOWN, NEVER, PURCHASE

GUEST = 0
ADMITTED = (
    "unknown", "sensitive_category", "sensitive_proxy", "no_consent", "opted_out", "stale", "disproportionate",
)  # fmt: skip
UNKNOWN, SENSITIVE, PROXY, NO_CONSENT, OPTED_OUT, STALE, DISPROPORTIONATE = range(len(ADMITTED))

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def meet(
    offsets, kinds, times, prices, quantities, now, since, in_table, willing, needs, reachable, out_tier,
    out_known, out_tenure, out_purchases, out_baskets, out_ticket,
):  # fmt: skip
    """Write how well each of U shoppers is known by what they did up to now; events in order of time within a user.

    ``since`` (U,) is when they joined, 0 is unknown; ``in_table`` (U,) who has a customer row; ``willing`` (U,) who
    agreed and did not opt out. ``needs`` (tiers, 3) float32 are the days, purchases and mean spend of a basket that a
    tier asks for; who does not reach one does not reach the next. Where nobody is ``reachable`` all are guests.
    """
    for user in range(len(offsets) - 1):
        first, last = NEVER, NEVER
        purchases, baskets, spend = np.float32(0), np.float32(0), np.float32(0)
        for event in range(offsets[user], offsets[user + 1]):
            if times[event] > now:
                continue
            if first == NEVER:
                first = times[event]
            if kinds[event] != PURCHASE:
                continue
            purchases += np.float32(1)
            if times[event] != last:
                baskets += np.float32(1)
                last = times[event]
            if not (np.isnan(prices[event]) or np.isnan(quantities[event])):
                spend += prices[event] * quantities[event]
        joined = since[user] if since[user] > 0 else first if first != NEVER else now
        tenure = np.float32(max(np.float64(now) - np.float64(joined), 0.0) / DAY)  # whole numbers would run over
        ticket = spend / baskets if baskets > 0 else np.float32(0)
        tier = GUEST
        while (
            reachable and willing[user] and tier + 1 < len(needs) and tenure >= needs[tier + 1, 0]
            and purchases >= needs[tier + 1, 1] and ticket >= needs[tier + 1, 2]
        ):  # fmt: skip
            tier += 1
        out_tier[user] = tier
        out_known[user] = in_table[user] or first != NEVER
        out_tenure[user] = tenure
        out_purchases[user] = purchases
        out_baskets[user] = baskets
        out_ticket[user] = ticket


@_compiled
def admit(
    offsets, items, kinds, times, now, unclassified, family_bits, proxy_bits, asked, tier, agreed, opted_out,
    retention, allowed, out_mask, out_counts,
):  # fmt: skip
    """Write which events may become evidence, (E,), and how many have each reason of ``ADMITTED`` against it.

    ``unclassified``, ``family_bits`` and ``proxy_bits`` (I,) tell of items; ``asked`` are the families that each of U
    shoppers opted into, ``agreed`` and ``opted_out`` (U,) what they said; ``retention`` (tiers,) microseconds and
    ``allowed`` (tiers, kinds) what their tier grants.
    """
    n_items, n_kinds = len(unclassified), allowed.shape[1]
    for user in range(len(offsets) - 1):
        told, left = ~asked[user], retention[tier[user]]
        for event in range(offsets[user], offsets[user + 1]):
            item, kind, fine = items[event], kinds[event], True
            is_known = 0 <= item < n_items
            if not is_known or not NEVER < times[event] <= now or kind >= n_kinds or unclassified[item]:
                out_counts[UNKNOWN] += 1
                fine = False
            if is_known and family_bits[item] & told:
                out_counts[SENSITIVE] += 1
                fine = False
            if is_known and proxy_bits[item] & told:
                out_counts[PROXY] += 1
                fine = False
            if not agreed[user]:
                out_counts[NO_CONSENT] += 1
                fine = False
            if opted_out[user]:
                out_counts[OPTED_OUT] += 1
                fine = False
            if np.float64(now) - np.float64(times[event]) > left:
                out_counts[STALE] += 1
                fine = False
            if kind >= n_kinds or not allowed[tier[user], kind]:
                out_counts[DISPROPORTIONATE] += 1
                fine = False
            out_mask[event] = fine


@_compiled
def count_messages(offsets, kinds, surfaces, times, slates, wanted, since, out_count, out_last):
    """Count each user's distinct slates later than ``since`` on the ``wanted`` surfaces; write the last time too."""
    for user in range(len(offsets) - 1):
        start = offsets[user]
        out_count[user] = 0
        out_last[user] = NEVER
        for entry in range(start, offsets[user + 1]):
            if kinds[entry] != ENTRY_SHOWN or not wanted[surfaces[entry]]:
                continue
            out_last[user] = max(out_last[user], times[entry])
            if times[entry] <= since:
                continue
            new = True
            for other in range(start, entry):
                if (
                    slates[other] == slates[entry] and kinds[other] == ENTRY_SHOWN and wanted[surfaces[other]]
                    and times[other] > since
                ):  # fmt: skip
                    new = False
                    break
            out_count[user] += new


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
def strongest_kinds(users, item_row, offsets, items, kinds, mask, out):
    """Write for each pair of user and item the strongest kind, up to purchase, of those events of both in the mask."""
    for row in range(len(users)):
        for event in range(offsets[users[row]], offsets[users[row] + 1]):
            if mask[event] and items[event] == item_row[row] and out[row] < kinds[event] <= PURCHASE:
                out[row] = kinds[event]
