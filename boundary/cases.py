"""Sample cases of a policy, in TOML: what must be allowed and what withheld, written and extended without Python.

A file holds cases that differ from a plain one in what they name. Plain is: a regular shopper of 400 days who agreed to
everything, lives in UTC, and bought the item ``other`` often, the last time 20 days ago; and one personal row with the
item ``it``, priced 2.00 in the category "bread", with nothing wrong about it, at noon. A case is::

    [[case]]
    says = "a fourth time within seven days"
    withheld = ["item_cap"]                       # these reasons, whatever else; or: allowed = true
    item = { category = "tea", price = 2.5 }      # columns of the catalogue; also support, lift, z, sensitive = "family"
    items.cup = { category = "cups" }             # further items, to be named below
    row = { source = "crowd", closeness = 1.0, trace_share = 0.3, score = 1.0, evidence = "other" }
    shopper = { consent = ["personalise"], days = 400, timezone = "Europe/Paris", stranger = false }
    history = [{ kind = "view", what = "it", days = 3, price = 2.0 }]      # days, hours, minutes, seconds ago
    shown = [{ what = "it", days = 1, surface = "home", times = 3 }]       # kind = "dismiss", "too_often", ...
    ledger_down = false
    context = { surface = "email", intent = "browse", n = 10, now = 2026-01-15T12:00:00Z }
    slate = [{ promoted = true }, { source = "explore" }]   # ranked rows of their own items, in place of the one;
                                                             # same_as = 1 repeats the item of the first row
    place = 2                                                # the expectation is about this one, counted from 1
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from boundary.candidates import Candidates
from boundary.catalogue import Catalogue
from boundary.compare import Block
from boundary.facts import Context
from boundary.gate import Gate
from boundary.history import ENTRY_KINDS, Exposures, History
from boundary.mistakes import mistakes_of, nearest, quoted
from boundary.policy import Policy
from boundary.rules import REASONS
from boundary.shoppers import Customers
from boundary.tables import TableError, read_table
from boundary.taxonomy import Entry, Taxonomy
from boundary.words import KIND_NAMES, SOURCE_NAMES

SHIPPED = Path(__file__).parent / "policies" / "cases"  # of the default policy, at least one for each reason
NOON = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
SHOPPER = "shopper"
IT, OTHER = "it", "other"
MEASURES = ("support", "lift", "z")

SourceName = Literal["personal", "crowd", "explore", "gesture", "session"]


class CaseError(ValueError):
    """Cases cannot be read; ``mistakes`` lists all that is wrong, a line each."""

    def __init__(self, *mistakes: str) -> None:
        self.mistakes = list(mistakes)
        super().__init__("; ".join(mistakes))


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Ago(_Table):
    what: str = IT
    days: float = 0
    hours: float = 0
    minutes: float = 0
    seconds: float = 0
    times: Annotated[int, Field(ge=0)] = 1

    @property
    def ago(self) -> dt.timedelta:
        return dt.timedelta(days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds)


class _Event(_Ago):
    kind: Literal["view", "cart", "purchase", "dismiss"]
    price: Annotated[float, Field(ge=0)] = 2.0
    quantity: Annotated[float, Field(gt=0)] = 1.0


class _Shown(_Ago):
    kind: Literal["shown", "dismiss", "too_personal", "too_often", "too_pushy"] = "shown"
    surface: str = "home"
    slate: int | None = None


class _Row(_Table):
    source: SourceName = "personal"
    score: float = 1.0
    closeness: float = 1.0
    trace_share: float = 0.3
    evidence: str | None = OTHER


class _Shopper(_Table):
    consent: tuple[str, ...] = ("personalise", "email", "push")
    channels: tuple[str, ...] = ()
    opted_out: bool = False
    timezone: str = "UTC"
    days: float = 400
    sensitive_optin: tuple[str, ...] = ()
    stranger: bool = False


class _Context(_Table):
    surface: str = "home"
    intent: Literal["find", "discover", "deal", "research", "browse"] = "browse"
    n: int = 10
    now: dt.datetime = NOON


def _known_reasons(words: Any) -> Any:
    unknown = [word for word in words if word not in REASONS] if isinstance(words, list) else []
    if unknown:
        raise ValueError(f"must name reason codes but got {quoted(unknown[0])}; {nearest(str(unknown[0]), REASONS)}")
    return words


class Case(_Table):
    """One sample; see the module."""

    says: Annotated[str, Field(min_length=1)]
    withheld: Annotated[tuple[str, ...], BeforeValidator(_known_reasons)] = ()
    allowed: bool = False
    item: dict[str, Any] = {}
    items: dict[str, dict[str, Any]] = {}
    row: _Row = _Row()
    shopper: _Shopper = _Shopper()
    history: tuple[_Event, ...] = ()
    shown: tuple[_Shown, ...] = ()
    ledger_down: bool = False
    context: _Context = _Context()
    slate: tuple[dict[str, Any], ...] = ()
    place: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _expects_something(self) -> Case:
        if self.allowed == bool(self.withheld):
            raise ValueError("must say either withheld = [reasons] or allowed = true")
        for at, line in enumerate(self.slate, 1):
            if line.get("same_as", 1) not in range(1, max(at, 2)):
                raise ValueError(f"same_as must be the place of a row before it, but row {at} got {line['same_as']!r}")
        if self.place > max(len(self.slate), 1):
            raise ValueError(f"place must be at most {max(len(self.slate), 1)} but got {self.place}")
        return self


@dataclass(frozen=True)
class Outcome:
    """What a policy makes of a case: the reasons it gives, and whether that is what the case expects."""

    file: str
    case: Case
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.reasons if self.case.allowed else set(self.case.withheld) <= set(self.reasons)

    def __str__(self) -> str:
        expected = "allowed" if self.case.allowed else f"withheld for {', '.join(self.case.withheld)}"
        got = f"withheld for {', '.join(self.reasons)}" if self.reasons else "allowed"
        return f"{self.file}: {self.case.says}: must be {expected} but is {got}"


def read_cases(folder: str | Path) -> list[tuple[str, Case]]:
    """Return the cases of every TOML file in a folder, in order of the files' names, with the file's name.

    Raises:
        CaseError: with every file and case that cannot be read, and what is wrong.
    """
    files = sorted(Path(folder).glob("*.toml"))
    if not files:
        raise CaseError(f"there is no case in {folder}: put a .toml file with a [[case]] there")
    cases: list[tuple[str, Case]] = []
    mistakes: list[str] = []
    for file in files:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            mistakes.append(f"{file.name} cannot be read: {error}")
            continue
        extra = tree.keys() - {"case"}
        if extra or not isinstance(tree.get("case"), list):
            got = ", ".join(sorted(extra)) or "none"
            mistakes.append(f"{file.name} must hold [[case]] tables alone but has {got}")
            continue
        for number, case in enumerate(tree["case"], 1):
            try:
                cases.append((file.name, Case.model_validate(case)))
            except ValidationError as error:
                mistakes += [f"{file.name}: case {number}: {line}" for line in mistakes_of(error, Case)]
    if mistakes:
        raise CaseError(*mistakes)
    return cases


def run_cases(policy: Policy, folder: str | Path) -> list[Outcome]:
    """Put every case of a folder to a policy.

    Raises:
        CaseError: with every case that cannot be read or names an item that is none.

    Example:
        >>> all(outcome.passed for outcome in run_cases(Policy.named("default"), SHIPPED))
        True
    """
    outcomes, mistakes = [], []
    for file, case in read_cases(folder):
        try:
            outcomes.append(Outcome(file, case, decide(policy, case)))
        except TableError as error:
            mistakes.append(f"{file}: {case.says}: {error}")
    if mistakes:
        raise CaseError(*mistakes)
    return outcomes


def decide(policy: Policy, case: Case) -> tuple[str, ...]:
    """Return the reasons for which a policy withholds what a case is about."""
    lines = [_item(f"row {place}", line) for place, line in enumerate(case.slate, 1)] or [_item(IT, case.item)]
    lines += [_item(OTHER, {}), *(_item(name, terms) for name, terms in case.items.items())]
    names = [str(line["item_id"]) for line in lines]
    things = _catalogue(lines)
    rows = [case.row.model_copy(update={"source": line.get("source", case.row.source)}) for line in case.slate] or [
        case.row
    ]

    def place_of(name: str | None) -> int:
        if name is not None and name not in names:
            raise TableError(f"there is no item {name!r}; there are {', '.join(names)}")
        return -1 if name is None else names.index(name)

    candidates = Candidates.of(
        [SHOPPER],
        [0, len(rows)],
        item_row=[line.get("same_as", at) - 1 for at, line in enumerate(case.slate, 1)] or [0],
        score=[row.score for row in rows],
        source=[SOURCE_NAMES.index(row.source) for row in rows],
        closeness=[row.closeness for row in rows],
        trace_share=[row.trace_share for row in rows],
        evidence_row=[place_of(row.evidence) for row in rows],
    )
    now = case.context.now if case.context.now.tzinfo else case.context.now.replace(tzinfo=dt.UTC)
    context = Context(case.context.surface, case.context.intent, case.context.n, _micros(now))
    block = Block(
        candidates,
        _customers(case.shopper, now, things.families),
        _history(case, now, place_of),
        None if case.ledger_down else _exposures(case.shown, now, place_of),
        context,
    )
    return tuple(block.screen(Gate(things, policy)).reasons(case.place - 1))


def _item(name: str, terms: dict[str, Any]) -> dict[str, Any]:
    plain = {"item_id": name, "title": name, "category": "bread", "brand": None, "price": 2.0, "kind": "product",
             "created_at": NOON, "promoted": False, "replenish_days": 7.0, "tracker": False}  # fmt: skip
    found = plain | {
        key: None if value == "none" else value for key, value in terms.items() if key not in {"source", "same_as"}
    }
    if found.get("sensitive"):
        found["type"] = f"of {found['sensitive']}"
    return found


def _catalogue(lines: Sequence[dict[str, Any]]) -> Catalogue:
    families = list(dict.fromkeys(str(line["sensitive"]) for line in lines if line.get("sensitive"))) or ["none_here"]
    taxonomy = Taxonomy(entries=tuple(Entry(family=name, type=(f"of {name}",)) for name in families))
    columns = [{key: value for key, value in line.items() if key not in {"sensitive", *MEASURES}} for line in lines]
    table = read_table(pl.DataFrame(columns, infer_schema_length=None), "catalogue")
    if len(table.rejects) or table.ignored:
        wrong = table.rejects["reason"].to_list() + [f"there is no column {name}" for name in table.ignored]
        raise TableError(f"the item is none: {wrong[0]}")
    support, lift, z = (
        np.array([float(line.get(name, usual)) for line in lines])
        for name, usual in zip(MEASURES, (1000, 1, 0), strict=True)
    )
    return Catalogue.compile(
        table.rows,
        taxonomy,
        support=support,
        proxy_lift=np.tile(lift, (len(families), 1)),
        proxy_z=np.tile(z, (len(families), 1)),
    )


def _customers(terms: _Shopper, now: dt.datetime, families: Sequence[str]) -> Customers:
    if terms.stranger:
        return Customers.strangers(1)
    row = terms.model_dump(exclude={"stranger", "days"}) | {
        "user_id": SHOPPER, "since": now - dt.timedelta(days=terms.days),
        "consent": list(terms.consent), "channels": list(terms.channels), "sensitive_optin": list(terms.sensitive_optin),
    }  # fmt: skip
    words = {name: pl.List(pl.String) for name in ("consent", "channels", "sensitive_optin")}
    frame = pl.DataFrame([row], schema_overrides=words)
    return Customers.compile(frame, [SHOPPER], families)


def _history(case: Case, now: dt.datetime, place_of: Any) -> History:
    often = (
        () if case.shopper.stranger else tuple(_Event(kind="purchase", what=OTHER, days=20 + 10 * n) for n in range(12))
    )
    events = [event for event in (*often, *case.history) for _ in range(event.times)]
    events.sort(key=lambda event: event.ago, reverse=True)
    return History(
        np.array([0, len(events)]),
        np.array([place_of(event.what) for event in events], np.int32),
        np.array([KIND_NAMES.index(event.kind) for event in events], np.uint8),
        np.array([_micros(now - event.ago) for event in events], np.int64),
        np.array([event.price if event.kind == "purchase" else np.nan for event in events], np.float32),
        np.array([event.quantity for event in events], np.float32),
    )


def _exposures(shown: Sequence[_Shown], now: dt.datetime, place_of: Any) -> Exposures:
    lines = [(entry, number) for number, entry in enumerate(shown) for _ in range(entry.times)]
    surfaces = tuple(dict.fromkeys(entry.surface for entry in shown))
    return Exposures(
        np.array([0, len(lines)]),
        np.array([place_of(entry.what) for entry, _ in lines], np.int32),
        np.array([ENTRY_KINDS.index(entry.kind) for entry, _ in lines], np.uint8),
        np.array([surfaces.index(entry.surface) for entry, _ in lines], np.int32),
        np.array([_micros(now - entry.ago) for entry, _ in lines], np.int64),
        np.array([1000 + at if entry.slate is None else entry.slate for at, (entry, _) in enumerate(lines)], np.int32),
        surfaces,
    )


def _micros(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
