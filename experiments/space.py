"""Which settings may a tuning run turn, between which bounds, and what does it want? Read from a small TOML file."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.visits import LabError

if TYPE_CHECKING:
    import optuna

    from boundary.policy import Policy

SHIPPED = Path(__file__).with_name("tune.toml")
PROPOSING = ("admit", "blind", "tiers")  # parts of a policy that change what is proposed
KEYS = {"n", "rounds", "round_users", "fewest", "room", "validation", "settings", "objectives", "recommend"}


@dataclass(frozen=True)
class Setting:
    """The bounds of one setting: ``choices``, or ``low`` to ``high`` in steps."""

    path: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None

    @property
    def proposes(self) -> bool:
        """Whether the candidates change with it."""
        return self.path.split(".")[0] in PROPOSING

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed by the policy for all to be."""
        return self.choices or (self.low, self.high)

    @property
    def distribution(self) -> optuna.distributions.BaseDistribution:
        """What Optuna draws from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, step=self.step)

    def plain(self, value: Any) -> Any:
        """Return a drawn value without the dust of adding steps up."""
        return round(value, 9) if isinstance(value, float) else value

    def including(self, value: object) -> Setting:
        """Return the setting with bounds just wide enough for a value; as it is where that is no number of its kind.

        Example:
            >>> Setting("rules.upsell.most", low=1.0, high=4.0, step=0.5).including(5.2)
            Setting(path='rules.upsell.most', choices=(), low=1.0, high=5.2, step=None)
        """
        if self.holds(value) or (not self.choices and (value is None or isinstance(value, str | bool))):
            return self
        if self.choices:
            return replace(self, choices=(*self.choices, value))
        number: Any = value
        whole = isinstance(self.low, int) and isinstance(self.high, int) and number == int(number)
        kind = int if whole else float
        return replace(self, low=kind(min(self.low, number)), high=kind(max(self.high, number)), step=None)

    def holds(self, value: object) -> bool:
        """Say whether a value could be drawn."""
        if self.choices:
            return value in self.choices
        if value is None or isinstance(value, str | bool) or not self.low <= float(value) <= self.high:  # type: ignore[arg-type]
            return False
        steps = (float(value) - self.low) / (self.step or 1)  # type: ignore[arg-type]
        return (self.step is None and not isinstance(self.low, int)) or abs(steps - round(steps)) < 1e-9


@dataclass(frozen=True)
class Rule:
    """Which policy is recommended: the least of one figure among those that reach all the floors."""

    least: str
    at_least: Mapping[str, float]

    def __str__(self) -> str:
        floors = " and ".join(f"{name} at least {floor:g}" for name, floor in self.at_least.items())
        return f"least {self.least} among policies with {floors}"


@dataclass(frozen=True)
class Space:
    """A tuning run's bounds and wishes; see ``tune.toml``."""

    n: int
    rounds: int
    round_users: int
    fewest: int
    room: float
    validation: float
    settings: tuple[Setting, ...]
    objectives: Mapping[str, str]
    recommend: Rule

    @classmethod
    def load(cls, path: str | Path = SHIPPED) -> Space:
        """Read the bounds.

        Raises:
            LabError: a part is missing or says something else.

        Example:
            >>> Space.load().objectives["leak"]
            'minimize'
        """
        try:
            tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise LabError(f"{path} cannot be read: {error}") from error
        return cls.of(tree, where=str(path))

    @classmethod
    def of(cls, tree: Mapping[str, Any], *, where: str = "bounds") -> Space:
        """Check bounds given as nested dicts; see ``load``."""
        wrong = sorted(KEYS ^ tree.keys())
        if wrong:
            raise LabError(f"{where}: must have exactly the parts {', '.join(sorted(KEYS))}; mend {wrong[0]!r}")
        settings = tuple(_setting(name, terms, where) for name, terms in tree["settings"].items())
        if not tree["objectives"] or not set(tree["objectives"].values()) <= {"minimize", "maximize"}:
            raise LabError(f"{where}: objectives: each must be minimize or maximize but got {tree['objectives']}")
        wanted = tree["recommend"]
        return cls(
            settings=settings,
            recommend=Rule(wanted["least"], dict(wanted["at_least"])),
            **{name: tree[name] for name in KEYS - {"settings", "recommend"}},
        )

    def check(self, policy: Policy) -> None:
        """Raise ``PolicyError`` where the policy has no such setting or forbids an end of its bounds."""
        for setting in self.settings:
            for value in setting.ends:
                policy.replace({setting.path: value})

    def proposals(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of the settings that change the candidates."""
        turned = [setting for setting in self.settings if setting.proposes]
        for values in itertools.product(*(setting.choices for setting in turned)):
            yield {setting.path: value for setting, value in zip(turned, values, strict=True)}

    def around(self, policy: Policy) -> Space:
        """Return the bounds widened to hold a policy, so that it can be compared with all that is tried."""
        return replace(self, settings=tuple(one.including(_value(policy, one.path)) for one in self.settings))

    def of_policy(self, policy: Policy) -> dict[str, Any] | None:
        """Return the values of a policy's settings, None where one of them lies outside the bounds."""
        found = {setting.path: _value(policy, setting.path) for setting in self.settings}
        return found if all(setting.holds(found[setting.path]) for setting in self.settings) else None


def _value(policy: Policy, path: str) -> Any:
    place: Any = policy.to_dict()
    for step in path.split("."):
        place = place.get(step) if isinstance(place, dict) else None
    return place


def _setting(path: str, terms: Mapping[str, Any], where: str) -> Setting:
    known = {"choices"} if "choices" in terms else {"low", "high", "step"}
    if not terms or set(terms) - known or ("choices" not in terms and not {"low", "high"} <= set(terms)):
        raise LabError(f"{where}: {path}: must have `choices`, or `low` and `high`, but got {dict(terms)}")
    given: dict[str, Any] = {name: tuple(value) if name == "choices" else value for name, value in terms.items()}
    setting = Setting(path, **given)
    if setting.proposes and not setting.choices:
        raise LabError(f"{where}: {path}: changes the candidates, so it must have `choices`")
    if not setting.choices and setting.low > setting.high:
        raise LabError(f"{where}: {path}: `low` must be at most `high` but got {setting.low} and {setting.high}")
    return setting
