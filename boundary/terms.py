"""The parts of a policy that are no rules: tiers, the first door, the blindfold, feedback and ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from boundary.settings import Ceiling, Words, setting


class Part(BaseModel):
    """A part of a policy file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TierTerms(Part):
    """From when on a shopper belongs to a tier, and what may then be remembered."""

    days: Annotated[float, setting("higher", ge=0, le=3660)]
    purchases: Annotated[int, setting("higher", ge=0)]
    ticket: Annotated[float, setting("higher", ge=0)]
    retention_days: Annotated[float, setting("lower", ge=0, le=3660)]
    evidence: Words


class AdmitTerms(Part):
    """The first door: what may become evidence."""

    sensitive: Annotated[Literal["enforce", "off"], Field(description="sensitive items are no evidence")]
    proxy_lift: Annotated[float, setting("lower", ge=0)]
    proxy_z: Ceiling


class BlindTerms(Part):
    """The blindfold: how much of the sensitive directions is erased from a user vector."""

    strength: Annotated[float, setting("higher", ge=0, le=1)]
    fewest_buyers: Annotated[int, setting("lower", ge=2)]


class FeedbackTerms(Part):
    """What a complaint does: one ``step`` off a family's limits, fading over ``relax_days``, ``most`` steps at once."""

    step: Annotated[float, setting("higher", ge=0, le=1)]
    most: Annotated[int, setting("higher", ge=0, le=10)]
    relax_days: Annotated[float, setting("higher", gt=0, le=3660)]


class LedgerTerms(Part):
    """How long an exposure counts that nobody confirmed, and how long forgetting may take in the item factors."""

    release_minutes: Annotated[float, setting("higher", gt=0)]
    retrain_days: Annotated[float, setting("lower", gt=0, le=366)]
