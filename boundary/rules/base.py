"""What a rule is: frozen settings, a reason code, and a mask that says which rows to withhold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from boundary.facts import Facts, ItemFacts
from boundary.words import Family

Floats: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Enforcement = Literal["enforce", "shadow", "off"]
ENFORCEMENTS: tuple[Enforcement, ...] = ("off", "shadow", "enforce")  # from loose to strict
NO_CAP = "none"  # TOML has no null: the word that stands for it in a policy file


def _none_word(value: object) -> object:
    return None if value == NO_CAP else value


def setting(stricter: Literal["lower", "higher"], **bounds: float) -> Any:
    """Declare a number's bounds, and in which direction it becomes stricter."""
    return Field(json_schema_extra={"stricter": stricter}, allow_inf_nan=False, **bounds)  # type: ignore[call-overload]


_word = (BeforeValidator(_none_word), PlainSerializer(lambda value: NO_CAP if value is None else value))
_lower, _higher = (Field(json_schema_extra={"stricter": way}) for way in ("lower", "higher"))
_number = Field(ge=0, allow_inf_nan=False)

Count = Annotated[Annotated[int, Field(ge=0)] | None, *_word, _lower]
Share = Annotated[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None, *_word, _lower]
Ceiling = Annotated[Annotated[float, _number] | None, *_word, _lower]
Floor = Annotated[Annotated[float, _number] | None, *_word, _higher]
Days = Annotated[float, setting("higher", ge=0, le=3660)]
_listed = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Words = Annotated[tuple[str, ...], _listed]
SourceName = Literal["personal", "crowd", "explore", "gesture", "session"]


class Rule(BaseModel):
    """A row rule: ``rule(facts)`` is a mask over rows, True where the row is withheld.

    A subclass gives ``value`` and ``limit`` and so withholds what is not provably at or under the limit: NaN, the value
    of what was not measured, is withheld. It may override ``__call__`` where the comparison is another one.

    Attributes:
        reason: the code that a withheld row carries; a stable word.
        family: the family of reasons.
        grain: ``item`` where the rule reads nothing but ``facts.item``, else ``row``.
        enforce: apply it, only count it, or leave it out.
        sources: the rule judges rows of these sources.
        surfaces: the rule judges on these surfaces; null is everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: ClassVar[str]
    family: ClassVar[Family]
    grain: ClassVar[Literal["item", "row", "quota"]] = "row"

    enforce: Enforcement
    sources: Annotated[tuple[SourceName, ...], _listed]
    surfaces: Words | None = None

    def value(self, facts: Facts | ItemFacts) -> npt.NDArray[Any]:
        """Return what is measured, (R,); more is worse."""
        raise NotImplementedError

    def limit(self, facts: Facts | ItemFacts) -> npt.NDArray[Any] | float | None:  # noqa: ARG002 (for the subclass)
        """Return the most that may be shown, one number or (R,); None is no cap."""
        return 0.0

    def __call__(self, facts: Facts | ItemFacts) -> Flags:
        limit = self.limit(facts)
        if limit is None:
            return np.zeros(facts.size, bool)
        withheld: Flags = ~(self.value(facts) <= limit)
        return withheld

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002 (for the subclass)
        """Say what would change the verdict of a single row; None where nothing the shopper or time does would."""
        return None


class FlagRule(Rule):
    """A row rule about a yes or no: ``value`` is 1.0 where the row is withheld."""

    def value(self, facts: Facts | ItemFacts) -> Floats:
        return self.flagged(facts).astype(np.float32)

    def flagged(self, facts: Facts | ItemFacts) -> Flags:
        """Return True where the row is withheld."""
        raise NotImplementedError


@dataclass(frozen=True)
class QuotaTerms:
    """A quota as the kernel reads it; see ``boundary.kernel.spend_quotas``."""

    kind: int
    promoted_only: bool = False
    share: float = 1.0
    eased_by: Family | None = None
    first: int = 0
    second: int = 0
    by_brand: bool = False


class Quota(Rule):
    """A rule about the slate as a whole: the kernel spends it down the ranked rows."""

    grain: ClassVar[Literal["item", "row", "quota"]] = "quota"

    def terms(self) -> QuotaTerms | None:
        """Return the quota for the kernel; None is no cap."""
        raise NotImplementedError

    def __call__(self, facts: Facts | ItemFacts) -> Flags:
        """Withhold nothing: a quota has no verdict on a row alone."""
        return np.zeros(facts.size, bool)


def in_days(days: float) -> str:
    """Say when, in whole days or hours.

    Example:
        >>> in_days(1.2), in_days(0.2), in_days(1)
        ('in 2 days', 'in 5 hours', 'in 1 day')
    """
    if days < 1:
        hours = max(1, int(np.ceil(days * 24)))
        return f"in {hours} hour{'s' if hours > 1 else ''}"
    whole = int(np.ceil(days))
    return f"in {whole} day{'s' if whole > 1 else ''}"


def rows_of(facts: Facts | ItemFacts) -> Facts:
    """Return the facts of rows; a rule that reads more than items cannot judge the bare catalogue."""
    if not isinstance(facts, Facts):
        raise TypeError("this rule judges rows, not the bare catalogue")
    return facts
