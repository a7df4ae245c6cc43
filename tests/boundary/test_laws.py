"""Laws of the boundary, on random shops: whatever is proposed, these hold."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import DEFAULT, NOW, SENSITIVE, World, item, random_world

from boundary import Catalogue, Context, Gate, Policy, Verdict
from boundary.policy import direction_of
from boundary.rules import BIT, RULES
from boundary.rules.base import ENFORCEMENTS, Quota
from boundary.rules.guard import SLATE
from boundary.tables import read_table
from boundary.words import INTENTS, SOURCE_NAMES, Tier

SURFACES = ("home", "email", "push", "somewhere")
ROOM = 1000  # slots enough for every candidate
LADDERS: dict[str, list[Any]] = {  # values of a setting, from strict to loose where "lower" is stricter
    "times": [0, 1, 2, 3, 10, "none"],
    "most": [0, 0.2, 1, 3, "none"],
    "k": [0, 10, 30, 100],
    "few": [0, 1, 3, 5],
    "fewest": [0, 30, 100],
    "lift": [0, 1.3, 2],
    "z": [0, 3, 4, 6, "none"],
    "share": [0, 0.5, 0.8, 2],
    "tolerance": [0, 0.5, 1],
    "hours": [0, 1, 16, 100],
    "slots": [0, 1, 3],
    "ticket": [0, 2, 20],
    "ramp_days": [0, 14, 28],
    "days": [0, 1, 7, 30, 90],
    "of": [1, 3, 10],
}
SPENDING = [name for name, rule in DEFAULT.rules.items() if rule.spends]
SHARES = ("single_trace", "promoted_share", "profile_share")

seeds = st.integers(0, 2**32 - 1)
shops = st.integers(0, 99)  # they are built once
contexts = st.builds(
    Context,
    surface=st.sampled_from(SURFACES),
    intent=st.sampled_from(INTENTS),
    n=st.sampled_from([0, 1, 3, 10, ROOM]),
    now=st.just(NOW),
)
enforcements = st.dictionaries(st.sampled_from(sorted(DEFAULT.rules)), st.sampled_from(ENFORCEMENTS), max_size=4)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Return the default policy with a few settings and enforcements changed at random."""
    changes: dict[str, Any] = {f"rules.{name}.enforce": how for name, how in draw(enforcements).items()}
    for name in draw(st.lists(st.sampled_from(sorted(DEFAULT.rules)), max_size=6, unique=True)):
        for setting in _ordered(DEFAULT.rules[name].reason):
            changes[f"rules.{name}.{setting}"] = draw(st.sampled_from(_ladder(DEFAULT.rules[name].reason, setting)))
    return DEFAULT.replace(changes)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return replace(random_world(draw(shops)), context=draw(contexts))


@st.composite
def long_lists(draw: st.DrawFn) -> World:
    """Return a shop whose lists are long enough for quotas to meet."""
    return replace(random_world(draw(st.integers(100, 139)), items=30, rows=40), context=draw(contexts))


@st.composite
def spending(draw: st.DrawFn) -> Policy:
    """Return a policy of quotas and of caps that one slate can reach, and of hardly any other rule."""
    changes: dict[str, Any] = {
        f"rules.{name}.enforce": draw(st.sampled_from(ENFORCEMENTS)) if rule.spends else "off"
        for name, rule in DEFAULT.rules.items()
    }
    for name in ("category_cap", "brand_cap"):
        changes[f"rules.{name}.times"] = draw(st.integers(1, 6))
    for name in ("crowded", "crowded_brand"):
        changes[f"rules.{name}.most"] = draw(st.integers(1, 4))
        changes[f"rules.{name}.of"] = draw(st.sampled_from([10, 5, 3, 2, 1]))
    changes["rules.promoted_gap.slots"] = draw(st.integers(0, 3))
    changes["rules.promoted_share.most"] = draw(st.sampled_from([0.25, 0, 0.5, 0.7, 1.0]))
    changes["rules.profile_share.most"] = draw(st.sampled_from([0.3, 0, 0.7, 1.0]))
    return Policy.from_dict(DEFAULT.replace(changes).to_dict() | {"overrides": {}})


def _ordered(reason: str) -> list[str]:
    return [name for name in RULES[reason].model_fields if name != "enforce" and direction_of(RULES[reason], name)]


def _ladder(reason: str, setting: str) -> list[Any]:
    if (reason, setting) == ("dismissed", "most"):
        return [1, 2, 4]
    if (reason, setting) == ("crowded", "most"):
        return [0, 1, 3, "none"]
    if setting == "most" and reason in SHARES:
        return [0, 0.1, 0.5, 0.7, 1, "none"]
    return LADDERS[setting]


def same(one: Verdict, other: Verdict) -> None:
    np.testing.assert_array_equal(one.kept, other.kept)
    np.testing.assert_array_equal(one.enforced, other.enforced)
    np.testing.assert_array_equal(one.shadowed, other.shadowed)


@given(worlds(), policies())
def test_all_users_at_once_are_each_alone(world: World, rules: Policy) -> None:
    """A block of many users is decided exactly as each of its users alone."""
    whole = world.screen(rules)
    for user in range(world.candidates.users):
        alone = world.take([user]).screen(rules)
        part = slice(*world.candidates.offsets[user : user + 2])
        np.testing.assert_array_equal(whole.kept[part], alone.kept)
        np.testing.assert_array_equal(whole.enforced[part], alone.enforced)
        np.testing.assert_array_equal(whole.shadowed[part], alone.shadowed)


@given(worlds(), policies(), st.permutations(range(3)))
def test_the_order_of_users_does_not_matter(world: World, rules: Policy, order: list[int]) -> None:
    """Shuffling the users of a block shuffles the decisions and changes none."""
    same(world.take(order).screen(rules), _taken(world.screen(rules), order))


def _taken(verdict: Verdict, users: list[int]) -> Verdict:
    offsets = verdict.candidates.offsets
    rows = np.concatenate([np.arange(*offsets[user : user + 2]) for user in users]).astype(int)
    return replace(verdict, kept=verdict.kept[rows], enforced=verdict.enforced[rows], shadowed=verdict.shadowed[rows])


@given(worlds(), policies(), seeds)
def test_the_order_and_number_of_rules_does_not_matter(world: World, rules: Policy, seed: int) -> None:
    """Permuting rules, or writing one twice under another name, changes nothing."""
    tree = rules.to_dict()
    lines = [(name, {"reason": DEFAULT.rules[name].reason} | terms) for name, terms in tree["rules"].items()]
    shuffler = random.Random(seed)
    twins = [(f"again_{name}", terms) for name, terms in shuffler.sample(lines, 5)]
    for layers in tree["overrides"].values():
        for layer in layers.values():
            layer |= {
                twin: layer[twin.removeprefix("again_")] for twin, _ in twins if twin.removeprefix("again_") in layer
            }
    mixed = [*lines, *twins]
    shuffler.shuffle(mixed)
    same(world.screen(rules), world.screen(Policy.from_dict(tree | {"rules": dict(mixed)})))


@given(worlds(), policies())
def test_every_row_is_kept_or_has_a_reason(world: World, rules: Policy) -> None:
    """Kept or reasoned: never both, never neither."""
    verdict = world.screen(rules)
    np.testing.assert_array_equal(verdict.kept, verdict.enforced == 0)
    assert verdict.kept.dtype == bool
    assert set(verdict.counts()) <= set(BIT)


@given(worlds(), policies())
def test_what_is_handed_over_is_not_touched(world: World, rules: Policy) -> None:
    """Scores, order and everything else handed over stay as they are; the kept rows stand in their order."""
    parts = [world.candidates, world.history, world.exposures, world.customers]
    names = [
        [field for field in part.__dataclass_fields__ if isinstance(getattr(part, field), np.ndarray)] for part in parts
    ]
    before = [[getattr(part, name).copy() for name in columns] for part, columns in zip(parts, names, strict=True)]
    verdict = world.screen(rules)
    for part, columns, copies in zip(parts, names, before, strict=True):
        for name, copy in zip(columns, copies, strict=True):
            np.testing.assert_array_equal(getattr(part, name), copy)
    assert verdict.candidates is world.candidates
    for user in range(world.candidates.users):
        kept = verdict.kept_rows(user)
        assert (np.diff(kept) > 0).all()
        assert (world.candidates.user_row[kept] == user).all()


@given(worlds(), policies())
def test_nothing_unknown_is_kept(world: World, rules: Policy) -> None:
    """An item, a source, a score or a shopper that is not known never comes through."""
    verdict, rows, things = world.screen(rules), world.candidates, world.catalogue
    known = (rows.item_row >= 0) & (rows.item_row < things.items)
    assert not verdict.kept[~known].any()
    assert not verdict.kept[~np.isfinite(rows.score)].any()
    assert not verdict.kept[rows.source >= len(SOURCE_NAMES)].any()
    kept = rows.item_row[verdict.kept]
    assert not things.unclassified[kept].any()
    for user in range(rows.users):
        shown = rows.item_row[verdict.kept_rows(user)].tolist()
        assert len(shown) == len(set(shown))
        assert len(shown) <= max(world.context.n, 0)


@given(worlds())
def test_a_measure_that_is_missing_is_not_under_its_limit(world: World) -> None:
    """Personal rows without closeness, trace or support are withheld."""
    verdict, rows = world.screen(DEFAULT, intent="browse"), world.candidates
    personal = rows.source[verdict.kept] == 0
    for column in (rows.closeness, rows.trace_share, world.catalogue.support[rows.item_row.clip(0, 11)]):
        assert not np.isnan(column[verdict.kept][personal]).any()


@pytest.mark.parametrize(
    ("name", "setting"),
    [(name, setting) for name, rule in DEFAULT.rules.items() if not isinstance(rule, Quota)
     for setting in [*_ordered(rule.reason), "enforce", "sources"]],
)  # fmt: skip
@settings(max_examples=12)
@given(world=worlds(), data=st.data())
def test_a_stricter_row_rule_keeps_a_subset(name: str, setting: str, world: World, data: st.DataObject) -> None:
    """Where no quota fills up from below, a stricter setting never shows a row that a looser one withholds."""
    rule = DEFAULT.rules[name]
    if setting == "enforce":
        ladder: list[Any] = ["enforce", "shadow", "off"]
    elif setting == "sources":
        ladder = [list(SOURCE_NAMES), ["personal", "crowd", "session"], ["personal"], []]
    else:
        ladder = _ladder(rule.reason, setting)
        ladder = ladder if direction_of(type(rule), setting) == "lower" else ladder[::-1]
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(ladder) - 1)] * 2)))
    base = DEFAULT.replace({f"rules.{other}.enforce": "off" for other in SPENDING if other != name})
    base = Policy.from_dict(base.to_dict() | {"overrides": {}})
    strict, loose = (
        world.screen(base.replace({f"rules.{name}.{setting}": ladder[place]}), n=ROOM) for place in (low, high)
    )
    for user in range(world.candidates.users):
        assert shown(strict, user) <= shown(loose, user)
    if setting not in {"enforce", "sources"}:
        bit = BIT[rule.reason]
        assert not ((loose.enforced & bit) & ~(strict.enforced & bit)).any()


def shown(verdict: Verdict, user: int) -> set[int]:
    """Return the items shown to a user: of two rows with one item only one is shown, whichever that is."""
    return set(verdict.candidates.item_row[verdict.kept_rows(user)].tolist())


@given(worlds(), policies(), st.sampled_from(sorted(DEFAULT.rules)))
def test_a_rule_more_never_lets_a_row_pass(world: World, rules: Policy, name: str) -> None:
    """With a row rule in force every reason that stood without it still stands."""
    if isinstance(rules.rules[name], Quota):
        return
    without, within = (
        world.screen(rules.replace({f"rules.{name}.enforce": how}), n=ROOM) for how in ("off", "enforce")
    )
    quotas = np.bitwise_or.reduce([BIT[reason] for reason in _quota_reasons()])
    assert not (without.enforced & ~within.enforced & ~quotas).any()


def _quota_reasons() -> list[str]:
    return [*dict.fromkeys(DEFAULT.rules[name].reason for name in SPENDING), *SLATE]


@given(worlds(), policies(), st.integers(0, 12), st.integers(0, 12))
def test_row_reasons_do_not_depend_on_the_number_of_slots(world: World, rules: Policy, n: int, more: int) -> None:
    """More slots never add a reason of a row rule."""
    quotas = np.bitwise_or.reduce([BIT[reason] for reason in _quota_reasons()])
    few, many = world.screen(rules, n=n), world.screen(rules, n=n + more)
    np.testing.assert_array_equal(few.enforced & ~quotas, many.enforced & ~quotas)


@given(st.tuples(worlds(), policies()) | st.tuples(long_lists(), spending()))
def test_no_quota_is_exceeded(case: tuple[World, Policy]) -> None:
    """What is shown satisfies every quota in force, counted again from the slate itself."""
    world, rules = case
    verdict, rows, things = world.screen(rules), world.candidates, world.catalogue
    shoppers, asked = world.meet(rules), world.context
    for user in range(rows.users):
        kept = verdict.kept_rows(user)
        items, sources = rows.item_row[kept], rows.source[kept]
        tier = Tier(int(shoppers.tier[user]))
        ease = {f: 1.0 if tier == Tier.GUEST else float(v[user]) for f, v in shoppers.ease.items()}
        for rule in rules.rules_for(surface=asked.surface, intent=asked.intent, tier=tier).values():
            if not isinstance(rule, Quota) or rule.enforce != "enforce":
                continue
            counted = np.isin(sources, [SOURCE_NAMES.index(name) for name in rule.sources])
            told = counted & things.promoted[items]
            terms = rule.terms()
            if terms is None:
                continue
            if rule.reason == "promoted_share":
                allowed = terms.share * ease[rule.family] + 1e-9
                assert told.sum() <= np.floor(allowed * asked.n)
                assert told.sum() <= allowed * len(kept) + 1e-9
            elif rule.reason == "profile_share":
                assert counted.sum() <= np.floor(terms.share * ease["personal"] * asked.n + 1e-9)
            elif rule.reason == "promoted_lead":
                assert not told[:1].any()
            elif rule.reason == "promoted_gap":
                assert (np.diff(np.flatnonzero(told)) > terms.first).all()
            else:
                codes = (things.brand if terms.by_brand else things.category)[items]
                for start in range(len(kept)):
                    window = slice(start, start + terms.second)
                    ours = codes[window][counted[window] & (codes[window] >= 0)]
                    assert np.bincount(ours, minlength=1).max() <= terms.first


@given(long_lists(), spending())
def test_no_cap_over_days_is_exceeded_with_the_slate_itself(world: World, rules: Policy) -> None:
    """What was shown in the window and what the slate shows are together within each cap, slot by slot."""
    verdict, rows, things = world.screen(rules, n=ROOM), world.candidates, world.catalogue
    shoppers, entries = world.meet(rules), world.exposures
    for user in range(rows.users):
        tier = Tier(int(shoppers.tier[user]))
        if tier == Tier.GUEST or entries is None:
            continue
        items = rows.item_row[verdict.kept_rows(user)]
        sources = rows.source[verdict.kept_rows(user)]
        mine = slice(int(entries.offsets[user]), int(entries.offsets[user + 1]))
        shown = (entries.kind[mine] == 0) & (entries.item_row[mine] >= 0) & (entries.item_row[mine] < things.items)
        past, times = entries.item_row[mine][shown], entries.at[mine][shown]
        for rule in rules.rules_for(surface=world.context.surface, intent=world.context.intent, tier=tier).values():
            if rule.reason not in {"item_cap", "category_cap", "brand_cap"} or rule.enforce != "enforce":
                continue
            if rule.times is None:  # type: ignore[attr-defined]
                continue
            scope = {"item_cap": np.arange(things.items), "category_cap": things.category, "brand_cap": things.brand}
            codes = scope[rule.reason]
            recent = codes[past[times > world.context.now - round(rule.days * 86_400e6)]]  # type: ignore[attr-defined]
            for place, one in enumerate(items):
                if SOURCE_NAMES[sources[place]] in rule.sources and codes[one] >= 0:
                    total = (recent == codes[one]).sum() + (codes[items[: place + 1]] == codes[one]).sum()
                    assert total <= rule.times  # type: ignore[attr-defined]


@given(worlds())
def test_a_guest_shelf_is_the_same_for_everybody(world: World) -> None:
    """Who may not be known gets of the same candidates the same list, whatever they did, said or were shown."""
    rows = world.candidates
    of_first = rows.take(np.zeros(rows.users, np.int64))
    shared = replace(of_first, source=np.where(of_first.source == 0, 1, of_first.source).astype(np.uint8))
    names = [f"v{user}" for user in range(rows.users)]
    everybody = replace(world, candidates=replace(shared, user_ids=names))
    surface = "home" if world.context.surface in {"email", "push"} else world.context.surface
    verdict = everybody.screen(DEFAULT, surface=surface)
    tier = everybody.meet(DEFAULT).tier
    lists = {tuple(shared.item_row[verdict.kept_rows(user)].tolist())
             for user in np.flatnonzero(tier == Tier.GUEST)}  # fmt: skip
    assert len(lists) <= 1


@given(worlds(), seeds)
def test_a_margin_cannot_move_anything(world: World, seed: int) -> None:
    """Whatever the margins are, and to whatever item they are moved, the output is identical."""
    rng = np.random.default_rng(seed)
    lines = [item(name, margin=float(margin)) for name, margin in
             zip(world.catalogue.item_ids, rng.normal(0, 1e9, world.catalogue.items), strict=True)]  # fmt: skip
    table = read_table(pl.DataFrame(lines, infer_schema_length=None), "catalogue").rows
    moved = table.with_columns(pl.col("margin").shuffle(seed=seed))
    one, other = (
        replace(world, catalogue=Catalogue.compile(frame, SENSITIVE, support=world.catalogue.support))
        for frame in (table, moved)
    )
    same(one.screen(DEFAULT), other.screen(DEFAULT))
    assert "margin" not in Catalogue.__dataclass_fields__


@given(policies())
def test_a_policy_survives_its_round_trip(rules: Policy) -> None:
    """As text and back a policy is the same, to the digest."""
    again = Policy.parse(rules.to_toml())
    assert again.to_dict() == rules.to_dict()
    assert again.digest == rules.digest
    assert list(again.differences(rules)) == []


@given(policies(), policies())
def test_the_digest_changes_if_and_only_if_a_value_does(one: Policy, other: Policy) -> None:
    """Equal digests mean no difference, and the other way round."""
    assert (one.digest == other.digest) == (list(one.differences(other)) == [])


@given(worlds(), policies())
def test_a_verdict_is_repeatable(world: World, rules: Policy) -> None:
    """The same question has the same answer and the same id; another n has another id."""
    once, twice = world.screen(rules), world.screen(rules)
    same(once, twice)
    assert once.decision_id == twice.decision_id
    assert once.decision_id != world.screen(rules, n=world.context.n + 1).decision_id


@settings(max_examples=4)
@given(worlds(), policies())
def test_one_gate_for_all_calls_is_a_gate_for_each(world: World, rules: Policy) -> None:
    """What a gate keeps between calls changes no decision."""
    gate = Gate(world.catalogue, rules)
    for surface in SURFACES:
        for intent in INTENTS:
            asked = Context(surface, intent, 3, NOW)
            kept = gate.screen(
                world.candidates, shoppers=world.meet(rules), history=world.history, exposures=world.exposures,
                context=asked,
            )  # fmt: skip
            same(kept, world.screen(rules, surface=surface, intent=intent, n=3))
