"""What may be asked of an engine? The arguments of its calls, checked and brought into one form."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from boundary.candidates import CandidateError, id_texts
from boundary.policy import Policy
from boundary.words import INTENTS
from recsys.propose import Request

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EARLIEST = 10**14  # microseconds, in 1973; what is less was counted in seconds or milliseconds
LATEST = 253_402_300_799_999_999  # the last microsecond of the year 9999


class EngineError(ValueError):
    """A call that cannot be answered as it stands."""


def policy_of(policy: Policy | str | Path) -> Policy:
    """Return a policy, the one of a TOML file, or the shipped one of a name."""
    if isinstance(policy, Policy):
        return policy
    return Policy.load(policy) if Path(policy).suffix else Policy.named(str(policy))


def check(request: Request) -> None:
    """Refuse a request that cannot be answered as it stands."""
    if isinstance(request.n, bool) or not isinstance(request.n, int | np.integer):
        raise EngineError(f"`n` must be a whole number but got {request.n!r}")
    if request.n < 0:
        raise EngineError(f"`n` must be at least 0 but got {request.n}")
    if request.intent not in INTENTS:
        raise EngineError(f"`intent` must be one of {', '.join(INTENTS)} but got {request.intent!r}")
    check_surface(request.surface)


def check_surface(surface: str) -> None:
    """Refuse a surface that is no word."""
    if not isinstance(surface, str) or not surface:
        raise EngineError(f"`surface` must be a word but got {surface!r}")


def id_text(given: str | int, name: str) -> str:
    """Return an id as text; a whole number is written out, as the tables do it.

    Example:
        >>> id_text(1228, "user_id")
        '1228'
    """
    try:
        (text,) = id_texts([given])
    except CandidateError:
        raise EngineError(f"`{name}` must be text or a whole number but got {given!r:.80}") from None
    return text


def shopper_id(user_id: str | int) -> str:
    """Return an id as text, unless it can be nobody's."""
    text = id_text(user_id, "user_id")
    if not text:
        raise EngineError("`user_id` must name a shopper but is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EngineError("`user_id` must be Unicode but has a lone surrogate") from None
    return text


def id_list(given: Iterable[str | int], name: str) -> tuple[str, ...]:
    """Return item ids as text; one text is no list of them."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise EngineError(f"`{name}` must be a list of item ids but got {given!r:.80}")
    return tuple(id_text(item, name) for item in given)


def micros(now: dt.datetime | int | None) -> int:
    """Return a moment as microseconds UTC; the clock's where it is None."""
    if now is None:
        return time.time_ns() // 1000
    if isinstance(now, dt.datetime):
        if now.tzinfo is None:
            raise EngineError(f"`now` must have a time zone but got {now}; add tzinfo, e.g. datetime.UTC")
        return (now - EPOCH) // dt.timedelta(microseconds=1)
    if isinstance(now, bool) or not isinstance(now, int | np.integer) or not EARLIEST <= now <= LATEST:
        raise EngineError(
            f"`now` must be a time with a zone, or microseconds UTC from {EARLIEST} to {LATEST}, but got {now!r}"
        )
    return int(now)


def iso(moment: int) -> str:
    """Return microseconds UTC as ISO 8601 tells them."""
    return (EPOCH + dt.timedelta(microseconds=moment)).isoformat()
