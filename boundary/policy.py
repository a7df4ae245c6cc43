"""The policy: a versioned TOML file of tiers, doors and rules; its digest, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from boundary.policy_file import (
    SCHEMA,
    PolicyError,
    direction_of,
    json_schema,
    plain,
    read_policy,
    stricter,
)
from boundary.rules.base import Rule
from boundary.settings import NO_CAP
from boundary.shoppers import PERSONALISE
from boundary.terms import AdmitTerms, BlindTerms, FeedbackTerms, LedgerTerms, TierTerms
from boundary.words import TIER_NAMES, Family, Tier, plain_surface

__all__ = ["Policy", "PolicyError", "direction_of", "json_schema", "stricter"]


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
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise PolicyError(str(path), [f"cannot be read: {error}"]) from error
        return cls.parse(text, where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str = "policy") -> Policy:
        """Check a policy's text; see ``load``."""
        try:
            tree = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise PolicyError(where, [f"is not TOML: {error}"]) from error
        return cls.from_dict(tree, where=where)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], *, where: str = "policy") -> Policy:
        """Check a policy given as nested dicts, as ``tomllib`` reads them."""
        parts, mistakes = read_policy(tree)
        if mistakes:
            raise PolicyError(where, mistakes)
        return cls(**parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as nested dicts that ``from_dict`` reads back."""
        return {
            "name": self.name,
            "schema": SCHEMA,
            "tiers": {TIER_NAMES[t]: plain(terms) for t, terms in self.tiers.items() if t != Tier.GUEST},
            "admit": plain(self.admit),
            "blind": plain(self.blind),
            "feedback": plain(self.feedback),
            "ledger": plain(self.ledger),
            "rules": {
                name: ({"reason": rule.reason} if rule.reason != name else {}) | plain(rule)
                for name, rule in self.rules.items()
            },
            "overrides": json.loads(json.dumps(self.overrides)),
        }

    def to_toml(self) -> str:
        """Return the policy as TOML text."""
        return tomli_w.dumps(self.to_dict())

    @cached_property
    def digest(self) -> str:
        """Return a fingerprint that changes if and only if a value does; the order in the file does not matter."""
        tree = {key: value for key, value in self.to_dict().items() if key != "name"}
        text = json.dumps(_numbers_alike(tree), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @cached_property
    def needs(self) -> npt.NDArray[np.float32]:
        """What each tier asks for, (tiers, 3): days, purchases and mean spend of a basket."""
        terms = [self.tiers[tier] for tier in Tier]
        return np.array([[one.days, one.purchases, one.ticket] for one in terms], np.float32)

    @cached_property
    def _surfaces(self) -> frozenset[str]:
        named = (word for rule in self.rules.values() for word in rule.surfaces or ())
        changed = (
            word
            for scope in self.overrides.values()
            for layer in scope.values()
            for terms in layer.values()
            for word in terms.get("surfaces") or ()
        )
        return frozenset(map(plain_surface, (*self.overrides.get("surface", {}), *named, *changed)))

    @cached_property
    def agreements(self) -> frozenset[str]:
        """The words of consent and channels that mean something here: purposes, channels and surfaces of the rules."""
        changed = (terms for scope in self.overrides.values() for layer in scope.values() for terms in layer.values())
        words = {PERSONALISE, *self.overrides.get("surface", {})}
        for terms in (*(rule.model_dump() for rule in self.rules.values()), *changed):
            words.update(terms.get("surfaces") or (), terms.get("channels") or ())
            words.update({terms["purpose"]} if "purpose" in terms else ())
        return frozenset(words)

    def place(self, surface: str, intent: str) -> tuple[str, str]:
        """Return surface and intent as far as the policy tells them apart; "" is any other one."""
        intents, surface = self.overrides.get("intent", {}), plain_surface(surface)
        return (surface if surface in self._surfaces else ""), (intent if intent in intents else "")

    def rules_for(self, *, surface: str, intent: str, tier: Tier) -> dict[str, Rule]:
        """Return the rules that hold there, by name.

        An override replaces a base value, and where two overrides meet the stricter value wins.
        """
        surface, intent = self.place(surface, intent)
        key = (surface, intent, tier)
        if key not in self._resolved:
            places = (("intent", intent), ("tier", TIER_NAMES[tier]))
            named = self.overrides.get("surface", {}).items()
            layers = [layer for word, layer in named if plain_surface(word) == surface]
            layers += [self.overrides.get(scope, {}).get(word, {}) for scope, word in places]
            found = {
                name: _override(rule, [layer[name] for layer in layers if name in layer])
                for name, rule in self.rules.items()
            }
            self._resolved[key] = {
                name: rule
                for name, rule in found.items()
                if rule.surfaces is None or surface in map(plain_surface, rule.surfaces)
            }
        return self._resolved[key]

    def replace(self, changes: Mapping[str, Any]) -> Policy:
        """Return a policy with dotted settings replaced, e.g. ``{"rules.item_cap.times": 2}``.

        Raises:
            PolicyError: a path does not exist or a value is out of bounds.
        """
        tree = self.to_dict()
        for path, value in changes.items():
            *way, last = path.split(".")
            place: Any = tree
            for step in way:
                if not isinstance(place.get(step), dict):
                    if not path.startswith("overrides."):
                        raise PolicyError(self.name, [f"{path} is no setting of this policy"])
                    place[step] = {}
                place = place[step]
            if last not in place and not path.startswith("overrides.") and last != "surfaces":
                raise PolicyError(self.name, [f"{path} is no setting of this policy"])
            if value is None and last == "surfaces":
                place.pop(last, None)
            else:
                place[last] = NO_CAP if value is None else value
        return Policy.from_dict(tree, where=self.name)

    def differences(self, other: Policy) -> Iterator[tuple[str, Any, Any]]:
        """Yield (path, value here, value there) for every setting that differs; None where it is absent."""
        mine, theirs = dict(_leaves(self.to_dict())), dict(_leaves(other.to_dict()))
        for path in sorted(mine.keys() | theirs.keys()):
            if path != "name" and mine.get(path) != theirs.get(path):
                yield path, mine.get(path), theirs.get(path)

    @cached_property
    def longest_window_days(self) -> float:
        """Return the days for which the ledger must keep what was shown: as far as a rule anywhere looks back."""
        changes: dict[str, list[dict[str, Any]]] = {}
        for layer in (layer for scope in self.overrides.values() for layer in scope.values()):
            for name, terms in layer.items():
                changes.setdefault(name, []).append(terms)
        days = [self.feedback.relax_days]
        for name, rule in self.rules.items():
            if rule.family != Family.FREQUENT:
                continue
            for variant in (rule, *(_override(rule, [terms]) for terms in changes.get(name, ()))):
                window = float(getattr(variant, "days", 0))
                if variant.reason == "dismissed":
                    window = window * getattr(variant, "most", 1) + float(getattr(variant, "ramp_days", 0))
                days += [window, float(getattr(variant, "hours", 0)) / 24]
        return max(days)


def _override(rule: Rule, layers: list[dict[str, Any]]) -> Rule:
    changed: dict[str, Any] = {}
    for layer in layers:
        given = type(rule).model_validate(rule.model_dump() | layer)
        for name in layer:
            value = getattr(given, name)
            changed[name] = stricter(type(rule), name, changed[name], value) if name in changed else value
    return type(rule).model_validate(rule.model_dump() | changed) if changed else rule


def _numbers_alike(tree: Any) -> Any:
    """Write 3 and 3.0 alike, and 0.0 and -0.0."""
    if isinstance(tree, dict):
        return {key: _numbers_alike(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_numbers_alike(value) for value in tree]
    return float(tree) + 0.0 if isinstance(tree, int | float) and not isinstance(tree, bool) else tree


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
