"""Quotas by example: what counts, what does not, and where exactly the limit lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from shop import (
    DAY,
    DEFAULT,
    NOW,
    World,
    catalogue,
    customer,
    customers,
    exposures,
    history,
    item,
    one_row,
    only,
    random_world,
    shown,
)

from boundary import Candidates


def shelf(lines: list[dict[str, Any]], entries: list[tuple[Any, ...]], *, sources: list[int] | None = None) -> World:
    """Return a world of a regular shopper with ranked rows from the crowd, of items alike but for what is named."""
    things = catalogue([item(f"i{place}", **line) for place, line in enumerate(lines)] + [item("why", category="tea")])
    size = len(lines)
    block = Candidates.of(
        ["ann"], [0, size], item_row=np.arange(size), score=-np.arange(size, dtype=float), source=sources or [1] * size
    )
    past = replace(one_row().history, item_row=np.full(len(one_row().history.at), size, np.int32))
    return World(things, block, customers([customer("ann")], ["ann"]), past, exposures(entries))


def kept(world: World, *names: str, n: int = 10, **changes: Any) -> list[int]:
    return np.flatnonzero(world.screen(only(*names, **changes), n=n).kept).tolist()


NOISE = [
    shown(0, kind="dismiss"),
    shown(2),
    shown(4),
    shown(6),
    shown(-1),
    shown(99),
    shown(0, ago=7 * DAY),
    shown(0, ago=30 * DAY),
]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], [0, 1, 2, 3, 4, 5, 6]),
        (NOISE, [0, 1, 2, 3, 4, 5, 6]),
        ([shown(0)], [0, 1, 2, 4, 5, 6]),
        ([shown(0), *NOISE], [0, 1, 2, 4, 5, 6]),
        ([shown(0, ago=7 * DAY - 1)], [0, 1, 2, 4, 5, 6]),
        ([shown(0), shown(3)], [0, 2, 4, 5, 6]),
        ([shown(0)] * 3, [2, 4, 5, 6]),
    ],
)
@pytest.mark.parametrize(("rule", "scope"), [("category_cap", "category"), ("brand_cap", "brand")])
def test_a_slate_and_what_was_shown_share_one_cap(
    rule: str, scope: str, entries: list[tuple[Any, ...]], expected: list[int]
) -> None:
    """Shown in the window, once each: no refusal, nothing older or of another kind; what has no category has no cap."""
    lines: list[dict[str, Any]] = [{scope: word, "type": "loaf"} for word in ("m", "m", "b", "m", None, None, "x")]
    assert kept(shelf(lines, entries), rule, **{f"{rule}__times": 3}) == expected


def test_promoted_rows_have_a_share_of_the_slots_that_are_filled() -> None:
    """Half of four is two; of a slate that stays short at three it is one, and the later one goes."""
    loud, plain = {"promoted": True}, {"promoted": False}
    changes = {"promoted_share__most": 0.5}
    assert kept(shelf([loud, plain, loud, plain, loud], []), "promoted_share", n=4, **changes) == [0, 1, 2, 3]
    assert kept(shelf([loud, plain, loud], []), "promoted_share", n=4, **changes) == [0, 1]
    assert kept(shelf([loud, loud], []), "promoted_share", n=4, **changes) == []
    assert kept(shelf([plain, loud], []), "promoted_share", n=2, **changes) == [0, 1]


def test_complaints_lower_the_share_of_a_short_slate_too() -> None:
    """Half, less a quarter of it: of five filled slots one, though of the eight asked for it were three."""
    loud, plain = {"promoted": True}, {"promoted": False}
    lines, half = [loud, plain, loud, plain, plain], {"promoted_share__most": 0.5}
    assert kept(shelf(lines, []), "promoted_share", n=8, **half) == [0, 1, 2, 3, 4]
    told = [shown(-1, kind="too_pushy", ago=0)]
    assert kept(shelf(lines, told), "promoted_share", n=8, **half) == [0, 1, 3, 4]


@pytest.mark.parametrize(("slots", "expected"), [(0, [0, 1, 4]), (1, [0, 2, 3, 4]), (2, [0, 2, 3, 4]), (3, [0, 2, 3])])
def test_slots_between_promoted_rows_are_counted(slots: int, expected: list[int]) -> None:
    """As many others between two of them as the rule asks for."""
    loud, plain = {"promoted": True}, {"promoted": False}
    world = shelf([loud, loud, plain, plain, loud], [])
    n = 3 if slots == 0 else 10
    found = kept(world, "promoted_gap", n=n, promoted_gap__slots=slots)
    assert found == ([0, 1, 2] if slots == 0 else expected)


def test_crowds_are_counted_in_any_slots_that_follow_each_other() -> None:
    """Two of a kind in three slots; the fourth slot has left the first behind."""
    a, b = {"category": "a"}, {"category": "b"}
    changes = {"crowded__most": 2, "crowded__of": 3}
    assert kept(shelf([a, a, a, b, a, a, a], []), "crowded", **changes) == [0, 1, 3, 4, 5]
    assert kept(shelf([a, a, a, a], []), "crowded", crowded__most=1, crowded__of=1) == [0, 1, 2, 3]
    assert kept(shelf([a, b, a, b], []), "crowded", crowded__most=0, crowded__of=1) == []
    brands = [{"brand": "x", "category": "a"}, {"brand": "x", "category": "b"}, {"brand": "y", "category": "b"}]
    wide = {"crowded_brand__most": 1, "crowded_brand__of": 10}
    assert kept(shelf(brands, []), "crowded_brand", **wide) == [0, 2]


def test_the_next_shopper_begins_with_a_clean_sheet() -> None:
    """What one list has used up is no other's, in whatever order they come."""
    one = shelf([{"category": "a"}] * 3, [shown(0)])
    both = replace(
        one,
        candidates=Candidates.of(["ann", "bob"], [0, 3, 6], item_row=[0, 1, 2] * 2, score=[3, 2, 1] * 2, source=[1] * 6),
        customers=customers([customer("ann"), customer("bob")], ["ann", "bob"]),
        history=history(*[[(int(i), 2, int(t), 2.0, 1.0) for i, t in zip(one.history.item_row, one.history.at, strict=True)]] * 2),
        exposures=exposures([shown(0)] * 2, [shown(1, ago=2 * DAY)]),
    )  # fmt: skip
    rules = only("category_cap", "crowded", "promoted_share", category_cap__times=3)
    assert both.context.now == NOW
    assert both.screen(rules).kept.tolist() == [True, False, False, True, True, False]
    assert both.take([1, 0]).screen(rules).kept.tolist() == [True, True, False, True, False, False]


def test_what_has_no_brand_crowds_no_brand() -> None:
    """Neither in any slots nor with what was shown: not even the last brand of the shop's list."""
    lines = [{"brand": brand} for brand in (None, None, None, "z", "a", "b", "c", None)]
    entries = [shown(7), shown(0), shown(1)]
    for rules in ({"crowded_brand__most": 1}, {"brand_cap__times": 2}):
        assert kept(shelf(lines, entries), next(iter(rules)).partition("__")[0], **rules) == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("of", "expected"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 1, 2, 3, 5]), (3, [0, 1, 2, 3])])
def test_a_long_list_leaves_nothing_to_the_next_shopper(of: int, expected: list[int]) -> None:
    """Whatever its last slots were of."""
    lines = [{"category": word} for word in ("a", "b", "c", "b", "b", "a")]
    first = shelf(lines, [])
    people = ["ann", "bob", "cid"]
    world = replace(
        first,
        candidates=Candidates.of(people, [0, 6, 12, 18], item_row=[*range(6), *range(5, -1, -1), *range(6)], score=[1] * 18, source=[1] * 18),
        customers=customers([customer(name) for name in people], people),
        history=history([], [], []),
        exposures=exposures([], [], []),
    )  # fmt: skip
    rules = only("crowded", crowded__most=1, crowded__of=of)
    whole = world.screen(rules).kept.reshape(3, 6)
    for user in range(3):
        assert whole[user].tolist() == world.take([user]).screen(rules).kept.tolist()
    assert np.flatnonzero(whole[0]).tolist() == np.flatnonzero(whole[2]).tolist()
    if of < 3:
        assert np.flatnonzero(whole[0]).tolist() == expected


def test_a_walk_begun_again_forgets_the_refusals_of_the_last() -> None:
    """What a promoted row crowded out has its place once that row must go, and no reason is left of it."""
    loud, plain = {"promoted": True}, {"promoted": False}
    lines = [loud | {"category": "a"}, loud | {"category": "b"}, plain | {"category": "b"}, plain | {"category": "c"}]
    verdict = shelf(lines, []).screen(
        only("promoted_share", "crowded", promoted_share__most=0.5, crowded__most=1), n=10
    )
    assert [verdict.reasons(row) for row in range(4)] == [[], ["promoted_share"], [], []]
    assert verdict.kept.tolist() == [True, False, True, True]
    noted = only("promoted_share", "crowded", promoted_share__most=0.5, crowded__most=1, crowded__enforce="shadow")
    assert shelf(lines[:3], []).screen(noted, n=10).shadow_counts() == {}
    besides = noted.replace({"rules.false_discount.enforce": "shadow", "rules.false_discount.sources": ["crowd"]})
    dear = [line | {"was_price": 2.0} for line in lines[:3]]
    assert shelf(dear, []).screen(besides, n=10).shadow_counts() == {"false_discount": 3}


def test_what_one_policy_counted_is_not_the_next_ones() -> None:
    """Shares look back on nothing, and leave nothing for those that do."""
    world = shelf([{"category": "a"}] * 4, [], sources=[0] * 4)
    for _ in range(2):
        assert kept(world, "profile_share", profile_share__most=0.3) == [0, 1, 2]
        assert kept(world, "crowded", crowded__most=2) == [0, 1]
        assert kept(world, "category_cap", category_cap__times=2) == [0, 1]


def test_what_was_shown_of_no_item_is_of_no_category() -> None:
    """Not of the last item's, and nothing is looked up behind it."""
    world = shelf([{"category": "tea"}] * 3, [shown(-1), shown(4), shown(5), shown(99)])
    assert kept(world, "category_cap", category_cap__times=3) == [0, 1, 2]


def test_a_share_of_a_short_slate_is_its_own() -> None:
    """Whatever other quotas there are, and whatever they are eased by."""
    loud, plain = {"promoted": True}, {"promoted": False}
    for others in ({"promoted_gap__slots": 0}, {"crowded__most": 10}, {"category_cap__times": 9}):
        names = ("promoted_share", next(iter(others)).partition("__")[0])
        world = shelf([loud, plain, loud], [shown(1)])
        assert kept(world, *names, n=4, promoted_share__most=0.5, **others) == [0, 1]


def test_seven_tenths_of_ten_are_seven() -> None:
    """Also where seven tenths in single precision are a little less."""
    said = [shown(-1, kind="too_often", ago=0), *[shown(1)] * 4]
    rules = only("category_cap", category_cap__times=10).replace({"feedback.step": 0.3})
    verdict = shelf([{"category": "a"}] * 5, said).screen(rules)
    assert np.flatnonzero(verdict.kept).tolist() == [0, 1, 2]
    shown_alone = only("item_cap", item_cap__times=10).replace({"feedback.step": 0.3})
    for times, fine in ((6, True), (7, False)):
        world = shelf([{"category": "a"}], [said[0], *[shown(0)] * times])
        assert world.screen(shown_alone).kept.tolist() == [fine]


def test_a_share_in_shadow_notes_each_row_that_is_over_it() -> None:
    """Two of ten, and none of these five is withheld."""
    world = shelf([{}] * 5, [], sources=[0] * 5)
    rules = only("profile_share", profile_share__most=0.2, profile_share__enforce="shadow")
    verdict = world.screen(rules, n=10)
    assert verdict.kept.all()
    assert verdict.shadow_counts() == {"profile_share": 3}


UNCAPPED = [
    (name, setting) for name, rule in DEFAULT.rules.items() for setting in ("times", "most", "k", "z")
    if setting in type(rule).model_fields and (name, setting) != ("dismissed", "most")
]  # fmt: skip


@pytest.mark.parametrize(("name", "setting"), UNCAPPED)
def test_no_cap_withholds_nothing(name: str, setting: str) -> None:
    """Of no rule that may have none."""
    rules = only(name, **{f"{name}__{setting}": "none"})
    for seed in range(3):
        assert DEFAULT.rules[name].reason not in random_world(seed).screen(rules, n=100).counts()
