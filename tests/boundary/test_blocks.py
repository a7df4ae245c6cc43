"""What is known of a block of users can be taken apart and put together: the slow way, with lists, says the same."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import DAY, DEFAULT, HOUR, MOMENT, NOW, catalogue, customer, customers, exposures, item, random_world, shown
from test_laws import policies, shops, worlds

from boundary import Candidates, Customers, Exposures, History, TableError, Taxonomy, Verdict
from boundary.candidates import CandidateError, check_offsets, flat
from boundary.facts import Facts
from boundary.plan import _classes
from boundary.rules import REASONS
from boundary.words import KIND_NAMES, SOURCE_NAMES, Kind, Tier

PAST = ("item_row", "kind", "at", "unit_price", "quantity")
SHOWN = ("item_row", "kind", "surface", "at", "slate")


def lines(part: Any, columns: tuple[str, ...]) -> list[list[tuple[Any, ...]]]:
    """Return each user's lines as tuples; NaN is None."""
    flat = list(zip(*(np.where(np.isnan(getattr(part, c)), None, getattr(part, c)) for c in columns), strict=True))
    return [flat[start:end] for start, end in zip(part.offsets[:-1], part.offsets[1:], strict=True)]


@given(shops, st.lists(st.integers(-1, 2), max_size=5))
def test_taken_users_bring_their_own_lines(seed: int, users: list[int]) -> None:
    """In the order asked for, as often as asked for; a position of -1 has no events."""
    world, at = random_world(seed), np.array(users, np.int64)
    past = lines(world.history, PAST)
    assert lines(world.history.take(at), PAST) == [past[user] if user >= 0 else [] for user in users]
    told = [user for user in users if user >= 0]
    entries = lines(world.exposures, SHOWN)
    assert lines(world.exposures.take(np.array(told, np.int64)), SHOWN) == [entries[user] for user in told]
    rows = ("item_row", "score", "source", "closeness", "trace_share", "evidence_row", "propensity")
    block = world.candidates.take(np.array(told, np.int64))
    assert lines(block, rows) == [lines(world.candidates, rows)[user] for user in told]
    assert list(block.user_ids) == [world.candidates.user_ids[user] for user in told]


@given(shops, st.randoms(use_true_random=False))
def test_only_what_is_masked_stays_with_its_user(seed: int, dice: Any) -> None:
    """Of events and of entries."""
    world = random_world(seed)
    for part, columns in ((world.history, PAST), (world.exposures, SHOWN)):
        mask = np.array([dice.random() < 0.5 for _ in part.at], bool)
        kept = iter(mask.tolist())
        slow = [[line for line in user if next(kept)] for user in lines(part, columns)]
        assert lines(part.only(mask), columns) == slow


@given(shops, st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=3, max_size=3))
def test_added_views_come_last_and_are_told(seed: int, rows: list[list[int]]) -> None:
    """Each user's own events first, then the views, of which the mask is True."""
    past = random_world(seed).history
    joined, added = past.with_views(rows, at=NOW)
    before = lines(past, PAST)
    views = [[(row, int(Kind.VIEW), NOW, None, None) for row in user] for user in rows]
    assert lines(joined, PAST) == [old + new for old, new in zip(before, views, strict=True)]
    told = [flag for old, new in zip(before, views, strict=True) for flag in [False] * len(old) + [True] * len(new)]
    assert added.tolist() == told
    assert joined.user_row.tolist() == [user for user in range(3) for _ in before[user] + views[user]]


def test_a_table_of_events_is_grouped_by_user_and_sorted_by_time() -> None:
    """Events of others are left out, unknown items are -1, and a user asked for twice comes twice."""
    late, early = MOMENT, MOMENT - dt.timedelta(days=3)
    frame = pl.DataFrame(
        {
            "user_id": ["bob", "ann", "cem", "ann"], "item_id": ["tea", "tea", "tea", "?"],
            "kind": ["view", "purchase", "cart", "dismiss"], "at": [late, late, early, early],
            "quantity": [None, 2.0, None, None], "unit_price": [None, 3.5, None, None],
        }
    )  # fmt: skip
    found = History.from_frame(frame, ["ann", "bob", "ann", "dee"], {"cup": 0, "tea": 1})
    codes = {name: place for place, name in enumerate(KIND_NAMES)}
    ann = [(-1, codes["dismiss"], NOW - 3 * DAY, None, None), (1, codes["purchase"], NOW, 3.5, 2.0)]
    assert lines(found, PAST) == [ann, [(1, codes["view"], NOW, None, None)], ann, []]
    assert (found.users, History.empty(2).users, Exposures.empty(2).users) == (4, 2, 2)
    assert History.empty(2).offsets.tolist() == Exposures.empty(2).offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("offsets", [[0, 1], [0, 2, 1, 3], [1, 3, 3], [0, 1, 2], [0, 1, 4]])
def test_offsets_that_part_no_rows_are_refused(offsets: list[int]) -> None:
    """They rise from 0 to the number of rows, one more than users."""
    with pytest.raises(CandidateError, match="offsets must"):
        check_offsets(np.array(offsets), users=3 if len(offsets) == 4 else 2, size=3)
    check_offsets(np.array([0, 0, 3]), users=2, size=3)
    with pytest.raises(CandidateError, match="score must have 2 rows but has 1"):
        Candidates.of(["ann"], [0, 2], item_row=[1, 2], score=[1.0])
    with pytest.raises(CandidateError, match="surface must be a place in the 1 surfaces"):
        replace(exposures([shown(0)]), surface=np.array([1], np.int32))
    with pytest.raises(CandidateError, match="surface must be a place in the 1 surfaces"):
        replace(exposures([shown(0)]), surface=np.array([-1], np.int32))


# --- customers


def test_what_customers_agreed_to_is_theirs_alone() -> None:
    """Taken, repeated or asked of a stranger; a channel grants its messages and never the profile."""
    people = [
        customer("ann", consent=["personalise"], timezone="UTC", since=MOMENT),
        customer("bob", consent=[], channels=["email", "personalise"], opted_out=True, sensitive_optin=["baby"]),
    ]
    found = customers(people, ["bob", "cem", "ann"])
    for told, order in ((found, [0, 1, 2]), (found.take(np.array([2, -1, 0])), [2, 1, 0])):
        place = [order.index(at) for at in (0, 1, 2)]  # of bob, the stranger and ann
        assert told.known[place].tolist() == [True, False, True]
        assert told.opted_out[place].tolist() == [True, False, False]
        assert told.agreed_to("personalise")[place].tolist() == [False, False, True]
        assert told.agreed_to("email")[place].tolist() == [True, False, False]
        assert told.agreed_to("push").tolist() == [False] * 3
        assert told.since[place].tolist() == [NOW - 400 * DAY, 0, NOW]
        assert told.optin_bits[place].tolist() == [2, 0, 0]
        assert [told.zones[at] if at >= 0 else None for at in told.zone[place]] == ["UTC", None, "UTC"]
    assert found.take(np.array([2, 0])).known.tolist() == [True, True]
    nobody = Customers.strangers(0).take(np.array([-1, -1]))
    assert nobody.known.tolist() == nobody.agreed_to("personalise").tolist() == [False, False]


def test_an_opt_out_stands_whichever_row_says_so() -> None:
    """Of two rows of one shopper the last counts, but not against the signal; an unsaid signal is one."""
    twice = [customer("ann", opted_out=True), customer("ann", timezone="Asia/Tokyo"), customer("bob", opted_out=None)]
    found = customers(twice, ["ann", "bob"])
    assert found.opted_out.tolist() == [True, True]
    assert found.zones[found.zone[0]] == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("terms", "down", "why"),
    [
        ({}, False, ()),
        ({"consent": []}, False, ("no_consent",)),
        ({"opted_out": True}, False, ("opted_out",)),
        ({"opted_out": True, "consent": ["email"]}, True, ("opted_out", "no_consent", "ledger_down")),
        ({"since": MOMENT - dt.timedelta(hours=1)}, False, ("disproportionate",)),
        (None, False, ("unknown",)),
    ],
)  # fmt: skip
def test_why_a_profile_is_left_alone(terms: dict[str, Any] | None, down: bool, why: tuple[str, ...]) -> None:
    """Every reason of a guest's; none of who is known well enough."""
    from shop import one_row

    world = one_row(shopper={"stranger": True} if terms is None else terms, entries=None if down else ())
    past = History.empty(1) if terms is None or "since" in terms else world.history
    assert replace(world, history=past).meet(DEFAULT).closed(0) == why


# --- the catalogue


def test_arrays_that_fit_no_catalogue_are_refused() -> None:
    """One number an item, and one a family and item."""
    with pytest.raises(TableError, match=r"catalogue: support must be of shape \(2,\) but is of \(1,\)"):
        catalogue([item("a"), item("b")], support=[1.0])
    with pytest.raises(TableError, match=r"proxy_lift must be of shape \(2, 1\) but is of \(1, 1\)"):
        catalogue([item("a")], lift=[[1.0]])
    assert catalogue([]).support.shape == (0,)
    for support in ([1.0, 2.0, 3.0], [[1.0, 2.0]], 1.0):
        with pytest.raises(TableError, match=r"support must be of shape \(2,\) but is of "):
            catalogue([item("a"), item("b")], support=support)
    assert catalogue([item("a"), item("b")], taxonomy=Taxonomy(entries=()), lift=[], z=[]).proxy_lift.shape == (0, 2)
    for support in ([1.0], 1.0):
        with pytest.raises(TableError, match=r"support must be of shape \(0,\) but is of "):
            catalogue([], support=support)


def test_what_a_shop_does_not_say_counts_against_showing() -> None:
    """Unsaid is promoted and tracked; a gesture is never promoted, and blank conditions are none."""
    things = catalogue(
        [
            item("a", promoted=None), item("b", promoted=True, kind="gesture", price=None, tracker=False, conditions=" "),
            item("c", tracker=True, conditions="buy two"), item("d", category=None, kind="gesture", price=None),
            item("e", category=None, price=1e300),
        ]
    )  # fmt: skip
    assert things.promoted.tolist() == [True, False, False, False, False]
    assert things.tracker.tolist() == [True, False, True, True, True]
    assert catalogue([item("a", conditions="?")]).conditions.tolist() == [True]
    assert things.conditions.tolist() == [False, False, True, False, False]
    assert things.unclassified.tolist() == [False, False, False, False, True]
    assert things.speakable.tolist() == [True, True, True, True, False]
    assert [things.category_names[code] if code >= 0 else None for code in things.category] == ["bread"] * 3 + [
        None
    ] * 2
    assert np.isinf(things.price[4])
    assert (things.row_of["c"], things.items, things.created_at.tolist()[0]) == (2, 5, NOW - 400 * DAY)


# --- the verdict


@given(worlds(), policies())
def test_every_view_of_a_verdict_counts_the_same_rows(world: Any, rules: Any) -> None:
    """Counts, pairs, one shopper's counts, positions and the frame, each counted again from the rows' reasons."""
    verdict = world.screen(rules)
    rows = world.candidates
    told = [verdict.reasons(row) for row in range(rows.rows)]
    assert verdict.counts() == Counter(reason for row in told for reason in row)
    pairs = Counter((one, other) for row in told for at, one in enumerate(row) for other in row[at + 1 :])
    assert verdict.co_counts() == pairs
    noted = [[reason for place, reason in enumerate(REASONS) if int(bits) >> place & 1] for bits in verdict.shadowed]
    assert verdict.shadow_counts() == Counter(reason for row in noted for reason in row)
    frame = verdict.to_frame()
    assert frame["reasons"].to_list() == told
    assert frame["shadow_reasons"].to_list() == noted
    assert frame["source"].to_list() == [(*SOURCE_NAMES, "unknown")[min(code, 5)] for code in rows.source]
    assert frame["item_id"].to_list() == [
        f"i{row}" if 0 <= row < world.catalogue.items else None for row in rows.item_row
    ]
    for user in range(rows.users):
        mine = range(rows.offsets[user], rows.offsets[user + 1])
        assert verdict.counts_of(user) == Counter(reason for row in mine for reason in told[row])
        assert verdict.shadow_counts_of(user) == Counter(reason for row in mine for reason in noted[row])
        shown_rows = [row for row in mine if not told[row]]
        assert verdict.kept_rows(user).tolist() == shown_rows
        place = {row: at for at, row in enumerate(shown_rows)}
        assert frame["position"].to_list()[mine.start : mine.stop] == [place.get(row) for row in mine]
        assert frame["user_id"].to_list()[mine.start : mine.stop] == [rows.user_ids[user]] * len(mine)


def test_a_decision_has_another_id_where_anything_differs() -> None:
    """Another policy, place, time, shopper, item or reason."""
    verdict = random_world(3).screen(DEFAULT)
    asked, rows = verdict.context, verdict.candidates
    others: list[Verdict] = [
        replace(verdict, policy_digest="another"),
        *(replace(verdict, context=replace(asked, **{name: value})) for name, value in (
            ("surface", "email"), ("intent", "deal"), ("n", 3), ("now", NOW + HOUR))),
        replace(verdict, candidates=replace(rows, user_ids=["x", *rows.user_ids[1:]])),
        replace(verdict, candidates=replace(rows, item_row=rows.item_row[::-1].copy())),
        replace(verdict, enforced=verdict.enforced ^ np.uint64(1)),
    ]  # fmt: skip
    assert len({one.decision_id for one in (verdict, *others)}) == 1 + len(others)


def test_two_columns_that_meet_in_one_number_stay_two() -> None:
    """Classes of items are found by a hash; where two different columns collide, the columns themselves decide."""
    golden = 0x9E3779B97F4A7C15
    bits = np.array([[1, 0, 1], [0, golden, 0]], np.uint64)
    over = np.array([[1, 0], [2**64 - golden, 0]], np.uint64)  # the first has all that the second has, and more
    assert np.diff(_classes(over)[1]).any()
    assert np.diff(_classes(over[:, ::-1].copy())[1]).any()
    first, same = _classes(bits)
    assert same[0] == same[2] != same[1]
    assert (bits[:, first[same]] == bits).all()


def test_columns_that_a_kernel_wrote_are_taken_as_they_are() -> None:
    """In the order of the columns, offsets first."""
    block = random_world(3).candidates
    names = ("offsets", "item_row", "score", "source", "closeness", "trace_share", "evidence_row", "propensity")
    again = Candidates.written(block.user_ids, *(getattr(block, name) for name in names))
    assert again.user_ids is block.user_ids
    for name in names:
        assert getattr(again, name) is getattr(block, name)


def test_a_lone_number_is_a_column_of_one() -> None:
    assert flat(np.array(5, np.int32), np.int32).shape == flat(np.array(0.5, np.float32), np.float32).shape == (1,)
    assert flat(5, np.int32).shape == flat(np.float32(0.5), np.float32).shape == (1,)


def test_whole_numbers_stay_exact_and_what_does_not_fit_is_none() -> None:
    """Times in microseconds are wider than a double's whole numbers; text that is a number is one."""
    wide = 2**60 + 1
    assert flat(np.array([wide, 2**64 - 1], np.uint64), np.int64).tolist() == [wide, -1]
    assert flat(np.array([wide], np.int64), np.int64).tolist() == [wide]
    assert flat(np.array([True, False]), np.int32).tolist() == [1, 0]
    assert flat(np.array(["7", "7.5"], dtype=object), np.int32).tolist() == [7, -1]
    assert flat([2**31 - 1, 2**31, -(2**31), -(2**31) - 1], np.int32).tolist() == [2**31 - 1, -1, -(2**31), -1]
    assert flat([255, 256, -1], np.uint8).tolist() == [255, 255, 255]
    locked, strided = np.arange(4, dtype=np.int32), np.arange(8, dtype=np.int32)[::2]
    locked.flags.writeable = False
    for found_as, kind in ((np.int32, np.int64), (np.uint8, np.int32), (np.float64, np.float32), (np.int64, np.uint8)):
        assert flat(np.arange(3, dtype=found_as), kind).dtype == kind
    for odd in (locked, strided, locked.astype(np.int64)[::-1]):
        found = flat(odd, np.int32)
        assert found.tolist() == odd.tolist()
        assert found.flags.c_contiguous
        assert found.flags.writeable
    for kind in (np.int32, np.int64):
        assert flat(np.array([[1, 2], [3, 4]], kind), np.int32).tolist() == [1, 2, 3, 4]


def test_what_was_shown_of_items_that_are_none_is_no_showing() -> None:
    """A ledger may name rows that this catalogue does not have, whichever side they lie on."""
    world = random_world(3)
    rows, things = world.candidates.take(np.array([0])), world.catalogue
    strange = np.array([-1, things.items, things.items + 5], np.int32)
    entries = Exposures(
        np.array([0, 3]), strange, np.zeros(3, np.uint8), np.zeros(3, np.int32), np.full(3, NOW - DAY),
        np.arange(3, dtype=np.int32), ("home",),
    )  # fmt: skip
    facts = Facts(
        world.context, things, world.meet(DEFAULT).take(np.array([0])), rows, history=world.history.take(np.array([0])),
        exposures=entries,
    )  # fmt: skip
    assert len(rows.item_row) > 0
    for scope in ("item", "category", "brand"):
        assert facts.times_shown(scope, 30).tolist() == []


@given(shops)
def test_a_tier_is_judged_by_its_own_terms_alone(seed: int) -> None:
    """What only newcomers must not see is not withheld from the others of the block."""
    harsh = DEFAULT.replace({"overrides.tier.newcomer.low_support.k": 1e6})
    world = random_world(seed)
    tier = world.meet(harsh).tier
    one, other = (world.screen(policy) for policy in (DEFAULT, harsh))
    rows = tier[world.candidates.user_row] != Tier.NEWCOMER
    assert one.enforced[rows].tolist() == other.enforced[rows].tolist()
    assert one.kept[rows].tolist() == other.kept[rows].tolist()
