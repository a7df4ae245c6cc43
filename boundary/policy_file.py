"""What a policy file may say: its parts with their bounds, and every mistake in one with its path, bound and value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from boundary.mistakes import close, mistakes_of, nearest, quoted
from boundary.rules import RULES
from boundary.rules.base import ENFORCEMENTS, Rule
from boundary.terms import AdmitTerms, BlindTerms, FeedbackTerms, LedgerTerms, Part, TierTerms
from boundary.words import INTENTS, KIND_NAMES, TIER_NAMES, Tier

SCHEMA = 1
SCOPES: dict[str, tuple[str, ...] | None] = {"surface": None, "intent": INTENTS, "tier": TIER_NAMES}
EVERYTHING = {"sources": None, "channels": None, "surfaces": None, "families": "all"}  # lists, and what stands for all
KNOWN_TIERS = ("newcomer", "regular")  # a guest has no terms: nothing is remembered


class PolicyError(ValueError):
    """The policy file has mistakes; ``mistakes`` lists all of them, a line each."""

    def __init__(self, where: str, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__(f"{where}: " + "; ".join(mistakes))


PARTS: dict[str, type[Part]] = {
    "admit": AdmitTerms,
    "blind": BlindTerms,
    "feedback": FeedbackTerms,
    "ledger": LedgerTerms,
}


def read_policy(tree: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what a policy is made of, as arguments of ``boundary.policy.Policy``, and every mistake."""
    mistakes = list(_odd_keys(tree, "policy"))
    if mistakes:
        return {}, mistakes
    known = ("name", "schema", "tiers", "rules", "overrides", *PARTS)
    mistakes += [f"{key} is no part of a policy; {nearest(key, known)}" for key in tree if key not in known]
    name = tree.get("name")
    if not isinstance(name, str) or not name:
        mistakes.append(f"name must be a word but {_got(tree, 'name')}")
    if tree.get("schema") != SCHEMA or isinstance(tree.get("schema"), bool):
        mistakes.append(f"schema must be {SCHEMA} but {_got(tree, 'schema')}")
    mistakes += [f"{part} is missing; add it" for part in PARTS if part not in tree]
    parts: dict[str, Any] = {
        part: _read(kind, tree[part], part, mistakes) for part, kind in PARTS.items() if part in tree
    }
    parts["name"] = name
    parts["tiers"] = _tiers(tree.get("tiers"), mistakes)
    parts["rules"] = _rules(tree.get("rules"), mistakes)
    broken = set(tree["rules"]) - set(parts["rules"]) if isinstance(tree.get("rules"), dict) else set()
    parts["overrides"] = _overrides(tree.get("overrides", {}), parts["rules"], broken, mistakes)
    return parts, mistakes


def _odd_keys(tree: object, path: str) -> Iterator[str]:
    """Say where a table is none, or has a name that is no text, as only one that was not read from TOML can."""
    if path == "policy" and not isinstance(tree, Mapping):
        yield f"{path} must be a table but got {quoted(tree)}"
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if not isinstance(key, str):
                yield f"{path} must name its settings in text but got {quoted(key)}"
            yield from _odd_keys(value, f"{path}.{key}")


def plain(part: BaseModel) -> dict[str, Any]:
    """Return a part as a file would write it; rules for every surface name none."""
    values = part.model_dump(mode="json")
    return {name: value for name, value in values.items() if not (name == "surfaces" and value is None)}


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema of policy files, for editors."""
    rules = {reason: _schema_of(rule) for reason, rule in RULES.items()}
    for reason, schema in rules.items():
        schema["properties"]["reason"] = {"const": reason}
    named = {
        "allOf": [
            {"if": {"properties": {"reason": {"const": reason}}, "required": ["reason"]}, "then": schema}
            for reason, schema in rules.items()
        ],
        "properties": {"reason": {"enum": list(RULES)}},
        "required": ["reason"],
    }
    settings: dict[str, Any] = {}
    for schema in rules.values():
        for name, terms in schema["properties"].items():
            settings.setdefault(name, []).append(terms)
    any_setting = {name: {"anyOf": _distinct(terms)} for name, terms in settings.items() if name != "reason"}
    changes: dict[str, Any] = {
        "type": "object",
        "properties": {
            reason: {key: value for key, value in schema.items() if key != "required"}
            for reason, schema in rules.items()
        },
        "additionalProperties": {"type": "object", "properties": any_setting, "additionalProperties": False},
    }
    tier = _schema_of(TierTerms)
    tier["properties"]["evidence"]["items"] = {"enum": list(KIND_NAMES)}
    tree: dict[str, Any] = {
        "name": {"type": "string", "minLength": 1},
        "schema": {"const": SCHEMA},
        "tiers": _closed(dict.fromkeys(KNOWN_TIERS, tier), required=KNOWN_TIERS),
        "rules": {"type": "object", "properties": rules, "additionalProperties": named},
        "overrides": _closed(
            {
                "surface": {"type": "object", "additionalProperties": {"$ref": "#/$defs/changes"}},
                "intent": _closed({name: {"$ref": "#/$defs/changes"} for name in INTENTS}),
                "tier": _closed({name: {"$ref": "#/$defs/changes"} for name in TIER_NAMES}),
            }
        ),
    }
    tree |= {name: _schema_of(kind) for name, kind in PARTS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cornerstore boundary policy",
        **_closed(tree, required=[name for name in tree if name != "overrides"]),
        "$defs": {"changes": changes},
    }


def _schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def _closed(properties: Mapping[str, Any], *, required: Iterable[str] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False}


def _distinct(terms: list[Any]) -> list[Any]:
    return [json.loads(text) for text in dict.fromkeys(json.dumps(term, sort_keys=True) for term in terms)]


def _read(kind: type[BaseModel], value: object, path: str, mistakes: list[str]) -> Any:
    if not isinstance(value, dict):
        mistakes.append(f"{path} must be a table of settings but got {quoted(value)}")
        return None
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        mistakes.extend(mistakes_of(error, kind, path))
        return None


def _tiers(value: object, mistakes: list[str]) -> dict[Tier, TierTerms]:
    tiers = {Tier.GUEST: TierTerms(days=0, purchases=0, ticket=0, retention_days=0, evidence=())}
    if not isinstance(value, dict):
        mistakes.append("tiers is missing; add tiers.newcomer and tiers.regular")
        return tiers
    for name in KNOWN_TIERS:
        if name not in value:
            mistakes.append(f"tiers.{name} is missing; add it")
            continue
        terms = _read(TierTerms, value[name], f"tiers.{name}", mistakes)
        tiers[Tier[name.upper()]] = terms
        kinds = ", ".join(KIND_NAMES)
        mistakes += [
            f"tiers.{name}.evidence must name kinds of event ({kinds}) but got {quoted(word)}"
            for word in (terms.evidence if terms else ())
            if word not in KIND_NAMES
        ]
    mistakes += [
        f"tiers.{name} is no tier with terms; there are {' and '.join(KNOWN_TIERS)}"
        for name in value
        if name not in KNOWN_TIERS
    ]
    return tiers


def _rules(value: object, mistakes: list[str]) -> dict[str, Rule]:
    if not isinstance(value, dict):
        mistakes.append("rules is missing; add a table for each rule")
        return {}
    rules: dict[str, Rule] = {}
    for name, terms in value.items():
        path = f"rules.{name}"
        if "." in name or not name:
            mistakes.append(f"{path} must have a name without a dot; rename it")
            continue
        reason = terms.get("reason", name) if isinstance(terms, dict) else name
        kind = RULES.get(reason) if isinstance(reason, str) else None
        if kind is None:
            mistakes.append(f"{path} has no reason code: {quoted(reason)} is none; {nearest(str(reason), RULES)}")
            continue
        settings = {key: given for key, given in terms.items() if key != "reason"} if isinstance(terms, dict) else terms
        rule = _read(kind, settings, path, mistakes)
        if rule is not None:
            rules[name] = rule
    return rules


def _overrides(value: object, rules: dict[str, Rule], broken: set[str], mistakes: list[str]) -> dict[str, Any]:
    """Return the overrides with their values as a file would write them; what changes nothing is left out."""
    changed: dict[str, Any] = {}
    for scope, words in _tables(value, "overrides", mistakes):
        if scope not in SCOPES:
            mistakes.append(f"overrides.{scope} is none; there are {', '.join(SCOPES)}")
            continue
        for word, changes in _tables(words, f"overrides.{scope}", mistakes):
            path, allowed = f"overrides.{scope}.{word}", SCOPES[scope]
            if "." in word or (allowed is not None and word not in allowed):
                mistakes.append(
                    f"{path} must be " + (f"one of {', '.join(allowed)}" if allowed else "a word without a dot")
                )
            for name, terms in _tables(changes, path, mistakes):
                if name in broken or (name not in rules and close(name, sorted(broken))):
                    continue  # the rule's own line tells the mend
                if name not in rules:
                    mistakes.append(f"{path}.{name} is no rule of this policy; {nearest(name, rules)}")
                elif not isinstance(terms, dict):
                    mistakes.append(f"{path}.{name} must be a table of settings but got {quoted(terms)}")
                else:
                    rule = _read(type(rules[name]), rules[name].model_dump() | terms, f"{path}.{name}", mistakes)
                    if rule is not None and terms:
                        written = plain(rule)
                        layer = changed.setdefault(scope, {}).setdefault(word, {})
                        layer[name] = {key: written[key] for key in terms if key in written}
    return changed


def _tables(value: object, path: str, mistakes: list[str]) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    mistakes.append(f"{path} must be a table but got {quoted(value)}")
    return ()


def _got(tree: Mapping[str, Any], key: str) -> str:
    return f"got {quoted(tree[key])}" if key in tree else "is missing"


def stricter(kind: type[BaseModel], name: str, one: Any, other: Any) -> Any:
    """Return the stricter of two values of a rule's setting: where it lists words, all of both.

    A setting without a direction takes the later one.

    Example:
        >>> stricter(RULES["item_cap"], "times", None, 3)
        3
    """
    if name == "enforce":
        return max(one, other, key=ENFORCEMENTS.index)
    direction = direction_of(kind, name)
    if direction is None and name in EVERYTHING:
        everything = EVERYTHING[name]
        return everything if everything in (one, other) else tuple(dict.fromkeys((*one, *other)))
    if direction is None:
        return other
    if one is None or other is None:
        return other if one is None else one
    return min(one, other) if direction == "lower" else max(one, other)


def direction_of(kind: type[BaseModel], name: str) -> str | None:
    """Return whether a setting is stricter when ``lower`` or ``higher``; None where it has no direction."""
    field = kind.model_fields[name]
    extras = [field.json_schema_extra, *(getattr(meta, "json_schema_extra", None) for meta in field.metadata)]
    for extra in extras:
        if isinstance(extra, dict) and "stricter" in extra:
            return str(extra["stricter"])
    return None
