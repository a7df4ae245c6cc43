"""The policy: a versioned TOML file of tiers, doors and rules; its digest, its mistakes, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from boundary.rules import RULES
from boundary.rules.base import ENFORCEMENTS, NO_CAP, Ceiling, Rule, Words, setting
from boundary.words import INTENTS, KIND_NAMES, TIER_NAMES, Tier

SCHEMA = 1
SCOPES: dict[str, tuple[str, ...] | None] = {"surface": None, "intent": INTENTS, "tier": TIER_NAMES}


class PolicyError(ValueError):
    """The policy file has mistakes; ``mistakes`` lists all of them, a line each."""

    def __init__(self, where: str, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__(f"{where}: " + "; ".join(mistakes))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TierTerms(_Part):
    """From when on a shopper belongs to a tier, and what may then be remembered."""

    days: Annotated[float, setting("higher", ge=0, le=3660)]
    purchases: Annotated[int, setting("higher", ge=0)]
    ticket: Annotated[float, setting("higher", ge=0)]
    retention_days: Annotated[float, setting("lower", ge=0, le=3660)]
    evidence: Words


class AdmitTerms(_Part):
    """The first door: what may become evidence."""

    sensitive: Annotated[Literal["enforce", "off"], Field(description="sensitive items are no evidence")]
    proxy_lift: Annotated[float, setting("lower", ge=0)]
    proxy_z: Ceiling


class BlindTerms(_Part):
    """The blindfold: how much of the sensitive directions is erased from a user vector."""

    strength: Annotated[float, setting("higher", ge=0, le=1)]
    fewest_buyers: Annotated[int, setting("lower", ge=2)]


class FeedbackTerms(_Part):
    """What a complaint does: one ``step`` off a family's limits, fading over ``relax_days``, ``most`` steps at once."""

    step: Annotated[float, setting("higher", ge=0, le=1)]
    most: Annotated[int, setting("higher", ge=0, le=10)]
    relax_days: Annotated[float, setting("higher", gt=0, le=3660)]


class LedgerTerms(_Part):
    """How long an exposure counts that nobody confirmed, and how long forgetting may take in the item factors."""

    release_minutes: Annotated[float, setting("higher", gt=0)]
    retrain_days: Annotated[float, setting("lower", gt=0, le=366)]


class Policy:
    """A checked policy.

    Example:
        >>> policy = Policy.named("default")
        >>> policy.rules_for(surface="home", intent="browse", tier=Tier.REGULAR)["item_cap"].times
        3
        >>> Policy.parse(policy.to_toml()).digest == policy.digest
        True
    """

    def __init__(
        self,
        *,
        name: str,
        tiers: dict[Tier, TierTerms],
        admit: AdmitTerms,
        blind: BlindTerms,
        feedback: FeedbackTerms,
        ledger: LedgerTerms,
        rules: dict[str, Rule],
        overrides: dict[str, dict[str, dict[str, dict[str, Any]]]],
    ) -> None:
        self.name = name
        self.tiers = tiers
        self.admit = admit
        self.blind = blind
        self.feedback = feedback
        self.ledger = ledger
        self.rules = rules
        self.overrides = overrides
        self._resolved: dict[tuple[str, str, Tier], dict[str, Rule]] = {}

    @classmethod
    def named(cls, name: str) -> Policy:
        """Load a policy that ships with the boundary: default, gentle or strict."""
        path = Path(__file__).parent / "policies" / f"{name}.toml"
        if not path.is_file():
            shipped = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml")))
            raise PolicyError(name, [f"no such policy; give a path to a TOML file or one of {shipped}"])
        return cls.load(path)

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read and check a policy file.

        Raises:
            PolicyError: with every mistake in the file.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(str(path), [f"cannot be read: {error}"]) from error
        return cls.parse(text, where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str = "policy") -> Policy:
        """Check a policy's text; see ``load``."""
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(where, [f"is not TOML: {error}"]) from error
        return cls.from_dict(tree, where=where)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], *, where: str = "policy") -> Policy:
        """Check a policy given as nested dicts, as ``tomllib`` reads them."""
        mistakes: list[str] = []
        parts = {
            name: _part(kind, tree.get(name), name, mistakes)
            for name, kind in (
                ("admit", AdmitTerms), ("blind", BlindTerms), ("feedback", FeedbackTerms), ("ledger", LedgerTerms),
            )
        }  # fmt: skip
        known = {"name", "schema", "tiers", "rules", "overrides", *parts}
        mistakes += [f"{key}: is no part of a policy; remove it" for key in tree if key not in known]
        name = tree.get("name")
        if not isinstance(name, str) or not name:
            mistakes.append(f"name: must be a word but got {name!r}")
        if tree.get("schema") != SCHEMA:
            mistakes.append(f"schema: must be {SCHEMA} but got {tree.get('schema')!r}")
        tiers = _tiers(tree.get("tiers"), mistakes)
        rules = _rules(tree.get("rules"), mistakes)
        overrides = _overrides(tree.get("overrides", {}), rules, mistakes)
        if mistakes:
            raise PolicyError(where, mistakes)
        return cls(name=str(name), tiers=tiers, rules=rules, overrides=overrides, **parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as nested dicts that ``from_dict`` reads back."""
        return {
            "name": self.name,
            "schema": SCHEMA,
            "tiers": {TIER_NAMES[t]: _plain(terms) for t, terms in self.tiers.items() if t != Tier.GUEST},
            "admit": _plain(self.admit),
            "blind": _plain(self.blind),
            "feedback": _plain(self.feedback),
            "ledger": _plain(self.ledger),
            "rules": {
                name: ({"reason": rule.reason} if rule.reason != name else {}) | _plain(rule)
                for name, rule in self.rules.items()
            },
            "overrides": self.overrides,
        }

    def to_toml(self) -> str:
        """Return the policy as TOML text."""
        return tomli_w.dumps(self.to_dict())

    @cached_property
    def digest(self) -> str:
        """Return a fingerprint that changes if and only if a value does; the order in the file does not matter."""
        tree = {key: value for key, value in self.to_dict().items() if key != "name"}
        text = json.dumps(_numbers_alike(tree), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _surfaces(self) -> frozenset[str]:
        named = (word for rule in self.rules.values() for word in rule.surfaces or ())
        return frozenset(self.overrides.get("surface", {})) | frozenset(named)

    def place(self, surface: str, intent: str) -> tuple[str, str]:
        """Return surface and intent as far as the policy tells them apart; "" is any other one."""
        return (surface if surface in self._surfaces else ""), (intent if intent in self.overrides.get("intent", {}) else "")

    def rules_for(self, *, surface: str, intent: str, tier: Tier) -> dict[str, Rule]:
        """Return the rules that hold there, by name: an override replaces a base value, and where two meet the stricter wins."""
        surface, intent = self.place(surface, intent)
        key = (surface, intent, tier)
        if key not in self._resolved:
            places = (("surface", surface), ("intent", intent), ("tier", TIER_NAMES[tier]))
            layers = [self.overrides.get(scope, {}).get(word, {}) for scope, word in places]
            self._resolved[key] = {
                name: _override(rule, [layer[name] for layer in layers if name in layer])
                for name, rule in self.rules.items()
                if rule.surfaces is None or surface in rule.surfaces
            }
        return self._resolved[key]

    def replace(self, changes: Mapping[str, Any]) -> Policy:
        """Return a policy with dotted settings replaced, e.g. ``{"rules.item_cap.times": 2}``.

        Raises:
            PolicyError: a path does not exist or a value is out of bounds.
        """
        tree = json.loads(json.dumps(self.to_dict()))
        for path, value in changes.items():
            *way, last = path.split(".")
            place = tree
            for step in way:
                if not isinstance(place.get(step), dict):
                    raise PolicyError(self.name, [f"{path}: there is no such setting"])
                place = place[step]
            if last not in place and way[0] != "overrides":
                raise PolicyError(self.name, [f"{path}: there is no such setting"])
            place[last] = NO_CAP if value is None else value
        return Policy.from_dict(tree, where=self.name)

    def differences(self, other: Policy) -> Iterator[tuple[str, Any, Any]]:
        """Yield (path, value here, value there) for every setting that differs; None where it is absent."""
        mine, theirs = dict(_leaves(self.to_dict())), dict(_leaves(other.to_dict()))
        for path in sorted(mine.keys() | theirs.keys()):
            if mine.get(path) != theirs.get(path):
                yield path, mine.get(path), theirs.get(path)

    @cached_property
    def longest_window_days(self) -> float:
        """Return the days for which the ledger must keep what was shown."""
        days = [0.0, self.feedback.relax_days]
        for rule in self.rules.values():
            window = float(getattr(rule, "days", 0) or 0)
            days.append(window * getattr(rule, "most", 1) if rule.reason == "dismissed" else window)
            days.append(float(getattr(rule, "ramp_days", 0)) + days[-1])
            days.append(float(getattr(rule, "hours", 0)) / 24)
        return max(days)


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema of policy files, for editors."""
    rules = {reason: TypeAdapter(rule).json_schema() for reason, rule in RULES.items()}
    part = {
        name: TypeAdapter(kind).json_schema()
        for name, kind in (
            ("admit", AdmitTerms), ("blind", BlindTerms), ("feedback", FeedbackTerms), ("ledger", LedgerTerms),
        )
    }  # fmt: skip
    named = {
        "allOf": [
            {
                "if": {"properties": {"reason": {"const": reason}}, "required": ["reason"]},
                "then": schema | {"properties": schema["properties"] | {"reason": {"const": reason}}},
            }
            for reason, schema in rules.items()
        ],
        "required": ["reason"],
    }
    tier = TypeAdapter(TierTerms).json_schema()
    changes = {"type": "object", "additionalProperties": {"type": "object"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cornerstore boundary policy",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "schema", "tiers", "admit", "blind", "feedback", "ledger", "rules"],
        "properties": {
            "name": {"type": "string"},
            "schema": {"const": SCHEMA},
            "tiers": {
                "type": "object",
                "properties": {"newcomer": tier, "regular": tier},
                "required": ["newcomer", "regular"],
                "additionalProperties": False,
            },
            "rules": {"type": "object", "properties": rules, "additionalProperties": named},
            "overrides": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "surface": {"type": "object", "additionalProperties": changes},
                    "intent": {"type": "object", "properties": dict.fromkeys(INTENTS, changes)},
                    "tier": {"type": "object", "properties": dict.fromkeys(TIER_NAMES, changes)},
                },
            },
        }
        | part,
    }


def _part(kind: type[_Part], value: object, path: str, mistakes: list[str]) -> Any:
    try:
        return kind.model_validate(value if value is not None else {})
    except ValidationError as error:
        mistakes.extend(_lines(error, path))
        return None


def _lines(error: ValidationError, path: str) -> Iterator[str]:
    for one in error.errors(include_url=False):
        where = ".".join([path, *(str(step) for step in one["loc"])])
        got = "" if one["type"] == "missing" else f" but got {one['input']!r}"
        mend = "; the setting is missing, add it" if one["type"] == "missing" else ""
        if one["type"] == "extra_forbidden":
            yield f"{where}: is no setting of this part; remove it or mend its spelling"
            continue
        text = one["msg"].removeprefix("Input should be").strip() if not mend else "required"
        yield f"{where}: must be {text}{got}{mend}"


def _tiers(value: object, mistakes: list[str]) -> dict[Tier, TierTerms]:
    tiers = {
        Tier.GUEST: TierTerms(days=0, purchases=0, ticket=0, retention_days=0, evidence=()),
    }
    tree = value if isinstance(value, dict) else {}
    for name in ("newcomer", "regular"):
        tiers[Tier[name.upper()]] = _part(TierTerms, tree.get(name), f"tiers.{name}", mistakes)
    for name in tree.keys() - {"newcomer", "regular"}:
        mistakes.append(f"tiers.{name}: is no tier with terms; there are newcomer and regular")
    for tier, terms in tiers.items():
        wrong = sorted(set(terms.evidence) - set(KIND_NAMES)) if terms else []
        if wrong:
            mistakes.append(
                f"tiers.{TIER_NAMES[tier]}.evidence: must name kinds of event ({', '.join(KIND_NAMES)}) but got {wrong[0]!r}"
            )
    return tiers


def _rules(value: object, mistakes: list[str]) -> dict[str, Rule]:
    if not isinstance(value, dict):
        mistakes.append("rules: must be a table of rules but is missing")
        return {}
    rules: dict[str, Rule] = {}
    for name, terms in value.items():
        if not isinstance(terms, dict):
            mistakes.append(f"rules.{name}: must be a table of settings but got {terms!r}")
            continue
        reason = terms.get("reason", name)
        kind = RULES.get(reason) if isinstance(reason, str) else None
        if kind is None:
            mistakes.append(f"rules.{name}: {reason!r} is no reason code; there are {', '.join(RULES)}")
            continue
        try:
            rules[name] = kind.model_validate({key: given for key, given in terms.items() if key != "reason"})
        except ValidationError as error:
            mistakes.extend(_lines(error, f"rules.{name}"))
    return rules


def _overrides(value: object, rules: dict[str, Rule], mistakes: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        mistakes.append("overrides: must be a table")
        return {}
    for scope, words in value.items():
        if scope not in SCOPES:
            mistakes.append(f"overrides.{scope}: there are {', '.join(SCOPES)}")
            continue
        for word, changes in words.items() if isinstance(words, dict) else ():
            path = f"overrides.{scope}.{word}"
            allowed = SCOPES[scope]
            if allowed is not None and word not in allowed:
                mistakes.append(f"{path}: must be one of {', '.join(allowed)}")
            for name, terms in changes.items() if isinstance(changes, dict) else ():
                if name not in rules:
                    mistakes.append(f"{path}.{name}: there is no rule of this name to override")
                    continue
                try:
                    type(rules[name]).model_validate(rules[name].model_dump() | terms)
                except (ValidationError, TypeError) as error:
                    if isinstance(error, ValidationError):
                        mistakes.extend(_lines(error, f"{path}.{name}"))
                    else:
                        mistakes.append(f"{path}.{name}: must be a table of settings")
    return value


def _override(rule: Rule, layers: list[dict[str, Any]]) -> Rule:
    changed: dict[str, Any] = {}
    for layer in layers:
        given = type(rule).model_validate(rule.model_dump() | layer)
        for name in layer:
            value = getattr(given, name)
            changed[name] = stricter(type(rule), name, changed[name], value) if name in changed else value
    return type(rule).model_validate(rule.model_dump() | changed) if changed else rule


def stricter(kind: type[Rule], name: str, one: Any, other: Any) -> Any:
    """Return the stricter of two values of a rule's setting; a setting without a direction takes the later one.

    Example:
        >>> stricter(RULES["item_cap"], "times", None, 3)
        3
    """
    if name == "enforce":
        return max(one, other, key=ENFORCEMENTS.index)
    direction = direction_of(kind, name)
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


def _plain(part: BaseModel) -> dict[str, Any]:
    values: dict[str, Any] = part.model_dump(mode="json")
    return {name: NO_CAP if value is None and name != "surfaces" else value for name, value in values.items()
            if not (name == "surfaces" and value is None)}  # fmt: skip


def _numbers_alike(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _numbers_alike(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_numbers_alike(value) for value in tree]
    return float(tree) if isinstance(tree, int) and not isinstance(tree, bool) else tree


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
