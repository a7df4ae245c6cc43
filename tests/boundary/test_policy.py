"""Policies as code: every mistake at once, the digest, overrides, and the policies that ship."""

from __future__ import annotations

import copy
import math
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import DEFAULT, NOW, QUOTAS, one_row, policy, random_world, reasons

import boundary
from boundary import Context, Gate, Policy, PolicyError
from boundary.policy import direction_of, json_schema, stricter
from boundary.rules import RULES
from boundary.words import INTENTS, Tier

SHIPPED = Path(boundary.__file__).parent / "policies"
NAMES = ("default", "gentle", "strict")


def tree(name: str = "default") -> dict[str, Any]:
    return tomllib.loads((SHIPPED / f"{name}.toml").read_text(encoding="utf-8"))


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the default policy's tree with one setting replaced, unchecked."""
    whole = copy.deepcopy(tree())
    *way, last = path.split(".")
    place = whole
    for step in way:
        place = place.setdefault(step, {})
    place[last] = value
    return whole


MISTAKES: list[tuple[str, Any, str]] = [
    ("rules.item_cap.times", -1, 'rules.item_cap.times must be at least 0 or "none" but got -1'),
    ("rules.item_cap.times", 1.5, 'rules.item_cap.times must be a whole number or "none" but got 1.5'),
    ("rules.item_cap.times", True, 'rules.item_cap.times must be a whole number or "none" but got true'),
    ("rules.item_cap.times", "öfter", 'rules.item_cap.times must be a whole number or "none" but got "öfter"'),
    ("rules.item_cap.times", "often", 'rules.item_cap.times must be a whole number or "none" but got "often"'),
    ("rules.item_cap.times", 1_000_000_001, 'rules.item_cap.times must be at most 1000000000 or "none" but got 1000000001'),
    ("rules.promoted_gap.slots", 1001, "rules.promoted_gap.slots must be at most 1000 but got 1001"),
    ("rules.upsell.most", 2e9, 'rules.upsell.most must be at most 1000000000 or "none" but got 2000000000.0'),
    ("rules.upsell.most", float("nan"), 'rules.upsell.most must be a finite number or "none" but got NaN'),
    ("tiers.regular.purchases", 2_000_000_000, "tiers.regular.purchases must be at most 1000000000 but got 2000000000"),
    ("rules.item_cap.times", [], 'rules.item_cap.times must be a whole number or "none" but got []'),
    ("rules.quiet_hours.tims", 3, "rules.quiet_hours.tims is no setting of this part; there are enforce, sources, surfaces, start, end"),
    ("rules.sensitive_proxy.z", -1, 'rules.sensitive_proxy.z must be at least 0 or "none" but got -1'),
    ("rules.item_cap.days", -0.5, "rules.item_cap.days must be at least 0 but got -0.5"),
    ("rules.item_cap.days", 3661, "rules.item_cap.days must be at most 3660 but got 3661"),
    ("rules.item_cap.days", float("inf"), "rules.item_cap.days must be a finite number but got Infinity"),
    ("rules.item_cap.enforce", "on", "rules.item_cap.enforce must be one of 'enforce', 'shadow' or 'off' but got \"on\""),
    ("rules.item_cap.tims", 3, "rules.item_cap.tims is no setting of this part; did you mean times?"),
    ("rules.item_cap.sources", "personal", 'rules.item_cap.sources must be a list of words but got "personal"'),
    ("rules.item_cap", 3, "rules.item_cap must be a table of settings but got 3"),
    ("rules.itm_cap", {"times": 3}, 'rules.itm_cap has no reason code: "itm_cap" is none; did you mean item_cap?'),
    ("rules.mine", {"reason": 7}, "rules.mine has no reason code: 7 is none; there are sensitive_category"),
    ("rules.single_trace.most", 1.01, 'rules.single_trace.most must be at most 1 or "none" but got 1.01'),
    ("rules.dismissed.most", 0, "rules.dismissed.most must be at least 1 but got 0"),
    ("rules.quiet_hours.start", 25, "rules.quiet_hours.start must be at most 24 but got 25"),
    ("rules.sensitive_category.families", 7, "rules.sensitive_category.families must be a list of words but got 7"),
    ("tiers.regular.days", "long", 'tiers.regular.days must be a number but got "long"'),
    ("tiers.regular.evidence", ["buy"], 'tiers.regular.evidence must name kinds of event (view, cart, purchase, dismiss) but got "buy"'),
    ("tiers.guest", {}, "tiers.guest is no tier with terms; there are newcomer and regular"),
    ("tiers", 3, "tiers is missing; add tiers.newcomer and tiers.regular"),
    ("admit.sensitive", "shadow", "admit.sensitive must be one of 'enforce' or 'off' but got \"shadow\""),
    ("feedback.relax_days", 0, "feedback.relax_days must be more than 0 but got 0"),
    ("blind.strength", 2, "blind.strength must be at most 1 but got 2"),
    ("ledger", [], "ledger must be a table of settings but got []"),
    ("schema", 2, "schema must be 1 but got 2"),
    ("schema", True, "schema must be 1 but got true"),
    ("name", "", 'name must be a word but got ""'),
    ("ruls", {}, "ruls is no part of a policy; did you mean rules?"),
    ("rules", [], "rules is missing; add a table for each rule"),
    ("overrides", 1, "overrides must be a table but got 1"),
    ("overrides.place", {}, "overrides.place is none; there are surface, intent, tier"),
    ("overrides.intent.dael", {}, "overrides.intent.dael must be one of find, discover, deal, research, browse"),
    ("overrides.tier.vip", {}, "overrides.tier.vip must be one of guest, newcomer, regular"),
    ("overrides.surface.email.item_cap", 3, "overrides.surface.email.item_cap must be a table of settings but got 3"),
    ("overrides.surface.email.item_cap.times", -2, 'overrides.surface.email.item_cap.times must be at least 0 or "none" but got -2'),
    ("overrides.surface.email.cap", {"times": 1}, "overrides.surface.email.cap is no rule of this policy; there are"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "line"), MISTAKES, ids=[f"{path}={value}" for path, value, _ in MISTAKES])
def test_a_mistake_is_told_with_path_bound_and_value(path: str, value: Any, line: str) -> None:
    """A mistake is one line that names the setting, what it must be, and what it is."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(changed(path, value), where="mine.toml")
    assert any(told.startswith(line) for told in caught.value.mistakes), caught.value.mistakes
    assert str(caught.value).startswith("mine.toml: ")


def test_a_misspelt_rule_brings_no_hint_for_its_overrides() -> None:
    """The rule's own line tells the mend; where nothing is misspelt the override's does."""
    whole = tree()
    whole["overrides"]["surface"]["email"]["item_cap"] = {"times": 1}
    whole["rules"]["item_cpa"] = whole["rules"].pop("item_cap")
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(whole)
    assert caught.value.mistakes == ['rules.item_cpa has no reason code: "item_cpa" is none; did you mean item_cap?']
    del whole["rules"]["item_cpa"]
    with pytest.raises(PolicyError, match=r"overrides\.surface\.email\.item_cap is no rule of this policy"):
        Policy.from_dict(whole)


def test_all_mistakes_are_told_at_once() -> None:
    """One run of the check is enough, however many mistakes there are; none is told twice."""
    whole = tree()
    whole["rules"]["item_cap"] |= {"times": -1, "days": -1}
    whole["rules"]["owned"]["enforce"] = "maybe"
    del whole["feedback"], whole["rules"]["upsell"]["most"], whole["tiers"]["newcomer"]
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(whole)
    told = caught.value.mistakes
    assert len(told) == len(set(told)) == 6
    assert {line.split()[0] for line in told} == {
        "feedback", "tiers.newcomer", "rules.item_cap.times", "rules.item_cap.days", "rules.owned.enforce",
        "rules.upsell.most",
    }  # fmt: skip


def test_every_mistake_is_told_at_once() -> None:
    """One mistake hides no other: of tiers, of rules, of settings, of overrides."""
    wrong = tree() | {
        "tiers": {"vip": {}},
        "overrides": {"surface": {"a.b": {}, "c.d": {}}, "place": {"x": {"y": {}}}, "spot": {}},
    }
    wrong["rules"] = {"a.b": {}, "c": {}, "d": 7, "item_cap": {"times": -1, "days": -1}} | wrong["rules"]
    wrong["ledger"] = []
    wrong["rules"]["item_cap"] = {"times": -1, "days": -1}
    wrong["rules"]["sensitive_category"] |= {"families": 7, "much": 1}
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(wrong)
    starts = [
        "ledger must be a table", "tiers.newcomer is missing", "tiers.regular is missing", "tiers.vip is no tier", "rules.a.b must have a name",
        "rules.c has no reason code", "rules.d has no reason code", "rules.item_cap.times must be at least 0",
        "rules.item_cap.days must be at least 0", "rules.item_cap.enforce is missing", "rules.sensitive_category.families must be", "rules.sensitive_category.much is no setting", "rules.item_cap.sources is missing",
        "overrides.surface.a.b must be a word",
        "overrides.surface.c.d must be a word", "overrides.place is none", "overrides.spot is none",
    ]  # fmt: skip
    for start in starts:
        assert sum(line.startswith(start) for line in caught.value.mistakes) == 1, start
    assert len(caught.value.mistakes) == len(starts), caught.value.mistakes


@pytest.mark.parametrize("name", ["a_cap", "z_cap"])
def test_a_second_rule_of_a_reason_survives_the_round_trip(name: str) -> None:
    """Under whatever name, before or after its reason in the alphabet."""
    whole = DEFAULT.to_dict()
    whole["rules"][name] = whole["rules"]["item_cap"] | {"reason": "item_cap", "times": 7}
    rules = Policy.from_dict(whole)
    assert Policy.parse(rules.to_toml()).to_dict() == rules.to_dict()
    assert (rules.rules[name].reason, rules.rules[name].times) == ("item_cap", 7)


def test_of_two_overrides_without_a_stricter_one_the_later_counts() -> None:
    """An hour at which the night begins is neither: the intent is asked after the surface."""
    changes = {"overrides.surface.email.quiet_hours.start": 23, "overrides.intent.deal.quiet_hours.start": 20}
    rules = DEFAULT.replace(changes)
    deal, browse = (rules.rules_for(surface="email", intent=word, tier=Tier.REGULAR) for word in ("deal", "browse"))
    assert (deal["quiet_hours"].start, browse["quiet_hours"].start) == (20, 23)


def test_every_part_and_every_word_is_in_the_digest() -> None:
    """Sources, families, kinds of evidence and surfaces: other words, another policy; another order, the same."""
    changes = [
        {"rules.item_cap.sources": ["personal"]}, {"rules.item_cap.sources": ["crowd"]},
        {"rules.item_cap.surfaces": ["home"]}, {"rules.item_cap.surfaces": ["email"]},
        {"rules.sensitive_category.families": ["baby"]}, {"rules.sensitive_category.families": ["health"]},
        {"tiers.regular.evidence": ["view"]}, {"tiers.regular.evidence": ["cart"]},
        {"admit.proxy_lift": 7.5}, {"blind.strength": 0.125}, {"feedback.step": 0.125}, {"ledger.release_minutes": 7.5},
        {"tiers.newcomer.ticket": 7.5}, {"overrides.tier.guest.item_cap.times": 1},
    ]  # fmt: skip
    for change in changes[8:12]:
        assert [path for path, _, _ in DEFAULT.differences(DEFAULT.replace(change))] == list(change)
    assert len({DEFAULT.digest, *(DEFAULT.replace(change).digest for change in changes)}) == 1 + len(changes)
    one, other = (DEFAULT.replace({"tiers.regular.evidence": order}) for order in (["view", "cart"], ["cart", "view"]))
    assert one.digest == other.digest


@pytest.mark.parametrize(
    "path", ["rules.item_cop.times", "rules.item_cap.tims", "ruls.item_cap.times", "name.x", "admit.x.y"]
)
def test_a_path_that_is_none_is_refused(path: str) -> None:
    """By its own name, before anything is read."""
    with pytest.raises(PolicyError, match=f"^default: {path} is no setting of this policy$"):
        DEFAULT.replace({path: 1})


@pytest.mark.parametrize(("text", "line"), [("rules = [", "is not TOML"), ("", "name must be a word but is missing")])
def test_text_that_is_no_policy_is_refused(text: str, line: str) -> None:
    """An empty file and one that is not TOML are mistakes like any other."""
    with pytest.raises(PolicyError, match=line):
        Policy.parse(text)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "bytes.toml"):
        with pytest.raises(PolicyError, match=f"{name}.*cannot be read"):
            Policy.load(tmp_path / name)
    with pytest.raises(PolicyError, match="one of default, gentle, strict"):
        Policy.named("lenient")


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_policies_are_whole(name: str) -> None:
    """Each holds every rule of the default one, fits the schema, and loads under its name."""
    shipped = Policy.named(name)
    assert shipped.name == name
    assert set(shipped.rules) == set(DEFAULT.rules)
    assert {rule.reason for rule in shipped.rules.values()} == set(RULES)
    schema = jsonschema.Draft202012Validator(json_schema())
    assert list(schema.iter_errors(tree(name))) == []
    assert list(schema.iter_errors(tomllib.loads(shipped.to_toml()))) == []


def test_the_schema_is_one_and_refuses_what_the_check_refuses() -> None:
    """An editor that knows the schema marks the mistakes that the check tells."""
    schema = jsonschema.Draft202012Validator(json_schema())
    schema.check_schema(json_schema())
    blind = {"overrides.surface.email.cap", "rules.sensitive_category.families", "overrides"}
    for path, value, _ in MISTAKES:
        if path not in blind and not (isinstance(value, float) and not math.isfinite(value)):
            assert not schema.is_valid(changed(path, value)), (path, value)


def test_the_schema_knows_rules_by_their_reason_and_by_other_names() -> None:
    """A rule under a name of its own has its reason's settings, and an override may change any setting there is."""
    schema = jsonschema.Draft202012Validator(json_schema())
    mine = tree()["rules"]["item_cap"] | {"reason": "item_cap"}
    fine = [
        ("rules.mine", mine), ("rules.mine", mine | {"times": "none"}), ("name", "x"),
        ("overrides.surface.email.mine", {"times": 0, "z": 2.5, "days": 2, "enforce": "off"}), ("overrides.tier.guest.item_cap", {"times": 2}),
        ("overrides.intent.deal.upsell", {"most": "none"}), ("tiers.regular.evidence", ["view", "purchase"]),
    ]  # fmt: skip
    wrong = [
        ("rules.mine", mine | {"reason": "cap"}), ("rules.mine", {**mine, "times": -1}), ("rules.mine", {"reason": "item_cap"}),
        ("rules.mine", {key: value for key, value in mine.items() if key != "reason"}), ("rules.mine", mine | {"most": 1}),
        ("rules.item_cap", mine | {"reason": "owned"}), ("overrides.surface.email.mine", {"tims": 1}),
        ("overrides.surface.email.mine", {"times": -1}), ("overrides.surface.email.item_cap", {"most": 1}),
        ("overrides.tier.guest.item_cap", {"times": -2}), ("overrides.intent.deal.upsell", {"most": -1}),
        ("tiers.regular.evidence", ["bought"]), ("tiers.regular.friends", 3), ("tiers.newcomer", {}), ("blind.power", 1),
        ("feedback", {}),
    ]  # fmt: skip
    assert [(path, value) for path, value in fine if not schema.is_valid(changed(path, value))] == []
    assert [(path, value) for path, value in wrong if schema.is_valid(changed(path, value))] == []
    for part in ("name", "schema", "tiers", "rules", "admit", "blind", "feedback", "ledger"):
        assert not schema.is_valid({name: value for name, value in tree().items() if name != part}), part
    assert schema.is_valid({name: value for name, value in tree().items() if name != "overrides"})


def _looser(one: Any, other: Any, kind: Any, setting: str) -> bool:
    return bool(stricter(kind, setting, one, other) == other)


@pytest.mark.parametrize(("loose", "strict"), [("gentle", "default"), ("default", "strict")])
def test_settings_go_one_way(loose: str, strict: str) -> None:
    """No row rule's setting is looser in the stricter of two shipped policies."""
    one, other = Policy.named(loose), Policy.named(strict)
    for name, rule in one.rules.items():
        for setting in type(rule).model_fields:
            if setting == "enforce" or direction_of(type(rule), setting):
                assert _looser(getattr(rule, setting), getattr(other.rules[name], setting), type(rule), setting), (
                    name,
                    setting,
                )


@pytest.mark.parametrize(("loose", "strict"), [("gentle", "default"), ("default", "strict")])
@settings(max_examples=25)
@given(seed=st.integers(0, 99), surface=st.sampled_from(["home", "email"]), intent=st.sampled_from(INTENTS))
def test_a_stricter_shipped_policy_shows_a_subset(
    loose: str, strict: str, seed: int, surface: str, intent: str
) -> None:
    """Of shoppers whose tier both see alike, row rules of the stricter policy let a subset pass."""
    world = random_world(seed)
    off = {f"rules.{quota}.enforce": "off" for quota in QUOTAS}
    one, other = (Policy.named(name).replace(off) for name in (loose, strict))
    for rules in (one, other):
        for layers in rules.overrides.values():
            for layer in layers.values():
                for quota in QUOTAS:
                    layer.pop(quota, None)
    wide, narrow = (world.screen(rules, n=1000, surface=surface, intent=intent) for rules in (one, other))
    alike = world.meet(one).tier == world.meet(other).tier
    for user in range(world.candidates.users):
        if alike[user]:
            shown = [set(v.candidates.item_row[v.kept_rows(user)].tolist()) for v in (narrow, wide)]
            assert shown[0] <= shown[1]


def test_overrides_meet_and_the_stricter_wins() -> None:
    """An override replaces the base value, looser or not; where two meet the stricter holds."""
    rules = DEFAULT.replace(
        {
            "overrides.surface.home.item_cap": {"times": 9},
            "overrides.intent.deal.item_cap": {"times": 5, "enforce": "shadow"},
            "overrides.tier.regular.item_cap": {"times": "none", "enforce": "off"},
        }
    )

    def cap(surface: str, intent: str, tier: Tier) -> tuple[Any, str]:
        rule: Any = rules.rules_for(surface=surface, intent=intent, tier=tier)["item_cap"]
        return rule.times, rule.enforce

    assert cap("elsewhere", "browse", Tier.NEWCOMER) == (3, "enforce")
    assert cap("home", "browse", Tier.NEWCOMER) == (9, "enforce")
    assert cap("home", "deal", Tier.NEWCOMER) == (5, "shadow")
    assert cap("home", "deal", Tier.REGULAR) == (5, "shadow")
    assert cap("home", "browse", Tier.REGULAR) == (9, "off")
    assert cap("elsewhere", "browse", Tier.REGULAR) == (None, "off")


def test_enforcement_applies_counts_or_leaves_out() -> None:
    """``enforce`` withholds, ``shadow`` only counts, ``off`` does neither; for row rules, item rules and quotas."""
    for world, rule, reason in (
        (one_row(row={"closeness": 9}), "too_close", "too_close"),
        (one_row({"was_price": 3.0}), "false_discount", "false_discount"),
        (one_row({"promoted": True}, row={"source": "crowd"}), "promoted_lead", "promoted_lead"),
        (one_row(shopper={"consent": ["personalise"]}, row={"source": "crowd"}, surface="email"), "no_email_consent", "no_consent"),
    ):  # fmt: skip
        rest = {"promoted_share__most": "none"} if rule == "promoted_lead" else {}
        for how in ("enforce", "shadow", "off"):
            verdict = world.screen(policy(**{f"{rule}__enforce": how}, **rest))
            assert verdict.kept.tolist() == [how != "enforce"]
            assert verdict.counts() == ({reason: 1} if how == "enforce" else {})
            assert verdict.shadow_counts() == ({reason: 1} if how == "shadow" else {})


def test_a_surface_of_the_rule_and_no_other() -> None:
    """A rule that names surfaces holds nowhere else, and there however the surface is written."""
    rules = policy(too_close__surfaces=["product", "home"])
    for surface, withheld in (("home", True), ("product", True), ("cart", False), ("", False), ("HOME", True)):
        assert ("too_close" in reasons(one_row(row={"closeness": 9}), rules, surface=surface)) == withheld
    assert policy(too_close__surfaces=None).digest == DEFAULT.digest


def test_the_digest_is_blind_to_writing_alone() -> None:
    """Order of tables and words, 3 or 3.0, and empty overrides are writing; a value is not."""
    whole = tree()
    shuffled = {key: whole[key] for key in reversed(whole)} | {"rules": dict(reversed(whole["rules"].items()))}
    assert Policy.from_dict(shuffled).digest == DEFAULT.digest
    for path, value in (
        ("rules.item_cap.days", 7.0), ("rules.owned.sources", ["session", "explore", "crowd", "personal", "personal"]),
        ("rules.false_discount.tolerance", -0.0), ("overrides.surface.shop", {}), ("overrides.intent.browse.owned", {}),
        ("rules.owned.reason", "owned"), ("name", "another"),
    ):  # fmt: skip
        assert Policy.from_dict(changed(path, value)).digest == DEFAULT.digest, path
    for path, value in (
        ("rules.item_cap.days", 7.0000001), ("rules.owned.enforce", "shadow"), ("overrides.surface.email.item_cap.times", 2),
        ("rules.owned.sources", ["personal"]), ("tiers.regular.evidence", ["view"]), ("rules.owned.surfaces", ["home"]),
    ):  # fmt: skip
        assert Policy.from_dict(changed(path, value)).digest != DEFAULT.digest, path


def test_replace_refuses_what_is_not_there() -> None:
    """A misspelt path is an error, never a new setting; None is no cap."""
    for path in ("rules.item_cap.tmes", "rules.none.times", "blind.strength.x", "nothing"):
        with pytest.raises(PolicyError, match=r"is no setting of this policy"):
            DEFAULT.replace({path: 1})
    assert DEFAULT.replace({"rules.item_cap.times": None}).rules["item_cap"].times is None  # type: ignore[attr-defined]
    assert DEFAULT.rules["item_cap"].times == 3  # type: ignore[attr-defined]


def test_differences_name_both_values() -> None:
    """What differs is told by path, with the value on either side."""
    other = DEFAULT.replace({"rules.item_cap.times": 1, "overrides.surface.shop.owned": {"enforce": "off"}})
    assert list(DEFAULT.differences(other)) == [
        ("overrides.surface.shop.owned.enforce", None, "off"),
        ("rules.item_cap.times", 3, 1),
    ]


def test_the_ledger_is_kept_as_long_as_a_rule_looks_back() -> None:
    """Also where only an override looks that far; rules about events ask nothing of the ledger."""
    assert DEFAULT.longest_window_days == DEFAULT.feedback.relax_days
    assert policy(following__days=3000).longest_window_days == DEFAULT.feedback.relax_days
    assert policy(item_cap__days=300).longest_window_days == 300
    assert policy(dismissed__days=100).longest_window_days == 4 * 100 + 28
    assert policy(channel_gap__hours=24 * 200).longest_window_days == 200
    assert DEFAULT.replace({"overrides.surface.email.item_cap": {"days": 333}}).longest_window_days == 333


def test_words_of_a_caller_do_not_fill_the_memory() -> None:
    """However many surfaces callers make up, a gate keeps plans for those that the policy names."""
    world = one_row()
    gate, rules = Gate(world.catalogue, DEFAULT), Policy.from_dict(tree())
    for number in range(50):
        gate.screen(
            world.candidates, shoppers=world.meet(rules), history=world.history, exposures=world.exposures,
            context=Context(f"surface {number}", "browse", 3, NOW),
        )  # fmt: skip
        rules.rules_for(surface=f"surface {number}", intent=f"intent {number}", tier=Tier.REGULAR)
    assert len(gate._plans) == 1
    assert len(rules._resolved) == 1


def test_ten_thousand_rules_in_one_policy() -> None:
    """They are read, written and judged like any other number, and the strictest of them decides."""
    whole = tree()
    cap = whole["rules"]["item_cap"]
    whole["rules"] |= {
        f"cap {number}": cap | {"reason": "item_cap", "times": 4 + number % 100, "days": 1 + number % 97}
        for number in range(10_000)
    }
    rules = Policy.from_dict(whole)
    assert Policy.parse(rules.to_toml()).digest == rules.digest
    from test_reasons import entries

    assert reasons(one_row(entries=entries(2)), rules) == []
    assert reasons(one_row(entries=entries(3)), rules) == ["item_cap"]
    assert reasons(one_row(entries=entries(4)), policy(item_cap__times="none")) == []
