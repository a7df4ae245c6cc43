"""What a rule is: frozen settings, a reason code, and a value that must stay on the right side of a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from boundary.facts import Facts, ItemFacts, ShopperFacts, View
from boundary.judge import measured
from boundary.measure import Measure
from boundary.settings import Words, as_set
from boundary.words import SOURCE_NAMES, Family

Flags: TypeAlias = npt.NDArray[np.bool_]
Values: TypeAlias = npt.NDArray[Any] | float
Grain = Literal["item", "shopper", "row", "quota"]
Bound = Literal["at most", "at least", "below"]
Enforcement = Literal["enforce", "shadow", "off"]
BOUNDS: tuple[Bound, ...] = ("at most", "at least", "below")  # the place is the kernel's code
ENFORCEMENTS: tuple[Enforcement, ...] = ("off", "shadow", "enforce")  # from loose to strict
SourceName = Literal["personal", "crowd", "explore", "gesture", "session"]


class Rule(BaseModel):
    """A row rule: withholds the rows whose ``value`` is not provably on the right side of ``limit``.

    NaN, the value of what was not measured, is never on the right side. ``rule(facts)`` is a mask over the lines of a
    view, True where the line is withheld: over candidate rows always, and over all items or all shoppers where the
    ``grain`` says that it reads nothing else.

    Attributes:
        reason: the code that a withheld row carries; a stable word.
        family: the family of reasons.
        grain: ``item`` where the rule reads nothing but ``facts.item``, ``shopper`` where it reads nothing but the
            shopper, the context and messages, else ``row``.
        bound: whether the value must be ``at most``, ``at least`` or ``below`` the limit.
        yields_to_optin: a shopper's opt-in to a sensitive family changes the verdict.
        spends: the rule has ``terms`` that the kernel spends down the ranked rows.
        enforce: apply it, only count it, or leave it out.
        sources: the rule judges rows of these sources.
        surfaces: the rule judges on these surfaces; null is everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: ClassVar[str]
    family: ClassVar[Family]
    grain: ClassVar[Grain] = "row"
    bound: ClassVar[Bound] = "at most"
    yields_to_optin: ClassVar[bool] = False
    spends: ClassVar[bool] = False

    enforce: Enforcement
    sources: Annotated[tuple[SourceName, ...], as_set(SOURCE_NAMES)]
    surfaces: Words | None = None

    def value(self, facts: View) -> Values:
        """Return what is measured, one number for all lines or one a line."""
        raise NotImplementedError

    def limit(self, facts: View) -> Values | None:  # noqa: ARG002 (for the subclass)
        """Return the limit, one number or one a line; None is no cap."""
        return 0.0

    def __call__(self, facts: View) -> Flags:
        limit = self.limit(facts)
        if limit is None:
            return np.zeros(facts.size, bool)
        value = np.asarray(self.value(facts))
        most = np.asarray(limit, value.dtype)
        fine = value <= most if self.bound == "at most" else value >= most if self.bound == "at least" else value < most
        withheld: Flags = ~fine
        return withheld if withheld.shape == (facts.size,) else np.broadcast_to(withheld, (facts.size,))

    def terms(self) -> QuotaTerms | None:
        """Return what the kernel spends down the slate; None is no cap."""
        raise NotImplementedError

    def remedy(self, facts: Facts) -> str | None:  # noqa: ARG002 (for the subclass)
        """Say what would change the verdict of a single row; None where nothing the shopper or time does would."""
        return None


class FlagRule(Rule):
    """A rule about a yes or no: ``value`` is True where the line is withheld."""

    def value(self, facts: View) -> Values:
        return self.flagged(facts)

    def flagged(self, facts: View) -> Flags:
        """Return True where the line is withheld."""
        raise NotImplementedError


class Measured(Rule):
    """A row rule that the kernel judges: it says what is measured of a row, and the limit."""

    def measure(self) -> Measure | None:
        """Return what is measured; None is no cap."""
        raise NotImplementedError

    def is_stock(self) -> bool:
        """Say whether the measure is all there is to the rule; one that compares in its own way must be asked."""
        kind = type(self)
        return kind.value is Measured.value and kind.limit is Measured.limit and kind.__call__ is Rule.__call__

    def value(self, facts: View) -> Values:
        measure = self.measure()
        return 0.0 if measure is None else measured(rows_of(facts), measure)

    def limit(self, facts: View) -> Values | None:
        measure = self.measure()
        if measure is None:
            return None
        return measure.left(1.0 if measure.eased_by is None else rows_of(facts).ease(measure.eased_by))


@dataclass(frozen=True)
class QuotaTerms:
    """A quota as the kernel reads it; see ``boundary.rules.kernel.spend_quotas``."""

    kind: int
    promoted_only: bool = False
    share: float = 1.0
    eased_by: Family | None = None
    first: int = 0
    second: int = 0
    days: float = 0.0
    by_brand: bool = False


class Quota(Rule):
    """A rule about the slate as a whole: the kernel spends it down the ranked rows."""

    grain: ClassVar[Grain] = "quota"
    spends: ClassVar[bool] = True

    def value(self, facts: View) -> Values:  # noqa: ARG002
        """Withhold nothing: a quota has no verdict on a row alone, unless its terms cannot be read."""
        self.terms()
        return 0.0


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


def items_of(facts: View) -> ItemFacts | Facts:
    """Return facts that know items."""
    if not isinstance(facts, ItemFacts | Facts):
        raise TypeError("this rule judges items, not bare shoppers")
    return facts


def shoppers_of(facts: View) -> ShopperFacts:
    """Return facts that know shoppers; a rule that reads more than items cannot judge the bare catalogue."""
    if not isinstance(facts, ShopperFacts):
        raise TypeError("this rule judges shoppers, not the bare catalogue")
    return facts


def rows_of(facts: View) -> Facts:
    """Return the facts of rows; a rule that reads items and shoppers can judge neither alone."""
    if not isinstance(facts, Facts):
        raise TypeError("this rule judges rows, not the bare catalogue or bare shoppers")
    return facts
