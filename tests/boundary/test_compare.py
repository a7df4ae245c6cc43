"""What another policy would change, counted again from the two verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from shop import DEFAULT, World, one_row, policy
from test_laws import policies, worlds

from boundary import Candidates, Gate, Policy
from boundary.compare import STANDINGS, Block, Comparison, compare, stand


def block(world: World) -> Block:
    return Block(world.candidates, world.customers, world.history, world.exposures, world.context)


def fault(reasons: list[str]) -> bool:
    """Say whether a row is withheld for more than that something else has the slot."""
    return bool(set(reasons) - {"slate_full", "repeated"})


@given(worlds(), worlds(), policies(), policies())
def test_a_comparison_is_what_the_two_verdicts_say(one: World, two: World, live: Policy, shadow: Policy) -> None:
    """Every lost and gained row with the other's reasons, every shopper's standing, and the counts by reason."""
    two = replace(two, catalogue=one.catalogue)
    found = compare(Gate(one.catalogue, live), Gate(one.catalogue, shadow), [block(one), block(two)])
    changes, standings = [], Counter[str]()
    for world in (one, two):
        here, there = world.screen(live), world.screen(shadow)
        rows = world.candidates
        for change, mine, theirs in (("lost", here, there), ("gained", there, here)):
            changes += [
                (rows.user_ids[rows.user_row[row]], f"i{rows.item_row[row]}", change, theirs.reasons(row))
                for row in np.flatnonzero(mine.kept & ~theirs.kept).tolist()
            ]
        for user in range(rows.users):
            mine = range(rows.offsets[user], rows.offsets[user + 1])
            stricter = any(here.kept[row] and fault(there.reasons(row)) for row in mine)
            looser = any(there.kept[row] and fault(here.reasons(row)) for row in mine)
            standings[STANDINGS[stricter + 2 * looser]] += 1
    assert found.changes.rows() == changes
    assert found.standings == {name: standings[name] for name in STANDINGS}
    rows_of, shoppers_of = Counter(), {}
    for who, _, change, told in changes:
        for reason in told:
            rows_of[change, reason] += 1
            shoppers_of.setdefault((change, reason), set()).add(who)
    told = {(change, reason): (rows, shoppers) for change, reason, rows, shoppers in found.by_reason().rows()}
    assert told == {key: (rows_of[key], len(shoppers_of[key])) for key in rows_of}
    assert found.by_reason()["rows"].to_list() == sorted(rows_of.values(), reverse=True)


def test_changes_are_told_in_one_order() -> None:
    """Most rows first; of as many, what is gained before what is lost, and reasons by the alphabet."""
    changes = pl.DataFrame(
        {
            "shopper": ["ann", "ann", "bob", "ann"],
            "item_id": ["tea", "pen", "cup", "mug"],
            "change": ["lost", "gained", "gained", "lost"],
            "reasons": [["owned"], ["upsell", "owned"], ["owned"], ["item_cap"]],
        }
    )
    assert Comparison(changes, {}).by_reason().rows() == [
        ("gained", "owned", 2, 2), ("gained", "upsell", 1, 1), ("lost", "item_cap", 1, 1), ("lost", "owned", 1, 1),
    ]  # fmt: skip


def test_a_row_that_makes_room_for_its_twin_is_no_difference() -> None:
    """Let through from the profile, an item leaves the crowd's list: a change of the slate, and nobody is refused."""
    rows = Candidates.of(
        ["ann"], [0, 2], item_row=[0, 0], score=[2, 1], source=[0, 1], closeness=[4.5, 1], trace_share=[0.3, 0.3],
        evidence_row=[1, 1],
    )  # fmt: skip
    world = replace(one_row(), candidates=rows)
    tight, wide = world.screen(DEFAULT), world.screen(policy(too_close__most=9.0))
    assert (tight.kept.tolist(), wide.kept.tolist()) == ([False, True], [True, False])
    assert (stand(tight, wide), stand(wide, tight)) == (["looser"], ["stricter"])
