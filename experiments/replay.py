"""Do we follow people around? Past visits are replayed through a ledger, each knowing only what came before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.history import SHOWN, History
from boundary.ledger import open_ledger
from boundary.ledger.base import Columns, Ledger
from boundary.words import MICROSECONDS_A_DAY, SOURCE_NAMES, TIER_NAMES, Source, Tier
from experiments.figures import write_figures
from experiments.visits import LabError, Stage, some_users
from recsys.answer import remembered
from recsys.memory import exposures_of
from recsys.propose import Request

if TYPE_CHECKING:
    from boundary.policy import Policy
    from boundary.verdict import Verdict
    from recsys.bundle import Bundle

Progress = Callable[[str, float], None]
CAPS = {"item_cap": "item", "category_cap": "category", "brand_cap": "brand"}
TOUCHED_DAYS = 14  # looked at or bought so lately counts as being followed


@dataclass(frozen=True)
class Day:
    """What was decided for those who came on one day, (U,), whose slates were noted, and what all had done before it."""

    now: int
    users: npt.NDArray[np.int64]
    tier: npt.NDArray[np.uint8]
    noted: npt.NDArray[np.bool_]
    verdict: Verdict
    history: History


def replayed(
    stage: Stage, users: npt.NDArray[np.int64], *, since: int, until: int, n: int, surface: str, intent: str,
    ledger: Ledger, progress: Progress | None = None,
) -> Iterator[Day]:  # fmt: skip
    """Serve users on each day on which they have an event, and note in the ledger what the engine would note.

    A visit falls on midnight UTC of its day, so that nothing of the day itself is known.

    Args:
        stage: bundle and policy.
        users: rows of the bundle.
        since: first moment, microseconds UTC.
        until: last moment.
        n: slots.
        surface: where it is shown.
        intent: what the shoppers want.
        ledger: an empty one.
        progress: is told the day and the share done.
    """
    history = stage.bundle.history.take(users)
    due = (history.at >= since) & (history.at <= until)
    visits = np.unique(np.stack([history.at[due] // MICROSECONDS_A_DAY, history.user_row[due]]), axis=1)
    days, begins = np.unique(visits[0], return_index=True)
    window = int(stage.policy.longest_window_days * MICROSECONDS_A_DAY)
    row_of, ids = stage.bundle.catalogue.row_of, stage.bundle.catalogue.item_ids
    for place, (day, coming) in enumerate(zip(days.tolist(), np.split(visits[1], begins[1:]), strict=True)):
        if progress is not None:
            progress("replaying visits", place / len(days))
        now, block = day * MICROSECONDS_A_DAY, users[coming]
        names = [stage.bundle.user_ids[user] for user in block.tolist()]
        snapshot = ledger.read_block(names, max(now - window, 0))
        exposures = exposures_of(snapshot, row_of, released=now)
        proposal = stage.propose(block, Request(surface, intent, n, now), exposures=exposures)
        verdict = stage.screen(proposal, exposures=exposures)
        noted = remembered(proposal, surface)
        _note(ledger, names, verdict, noted, snapshot.turns, surface, now, ids)
        yield Day(now, block, proposal.shoppers.tier, noted, verdict, proposal.history)


def replay(
    bundle: Bundle, policy: Policy, out: Path, *, days: int = 365, users: int | None = 500, n: int = 10,
    surface: str = "home", intent: str = "browse", ledger: str = "sqlite://", seed: int = 7,
    progress: Progress | None = None,
) -> dict[str, float]:  # fmt: skip
    """Replay the last ``days`` of visits and measure how often people see the same things again.

    Args:
        bundle: fitted; its model has learned from all of its events, its rules and lists see those before each visit.
        policy: the rules.
        out: gets figures.json, exposures.parquet, weeks.csv.
        days: how far back, from the moment of the fit.
        users: how many shoppers, drawn by the seed; None is all.
        n: slots.
        surface: where it is shown.
        intent: what the shoppers want.
        ledger: address of an empty ledger; in memory where none is named.
        seed: of the draw and of the random slates.
        progress: is told what is being done.

    Returns:
        visits, impressions, over_cap_rate (and each cap's), longest_run and that of guests, of whom only
        messages are remembered, followed, followed.random, followed_category, followed_category.random, fill and that of each tier.
    """
    if days < 1:
        raise LabError(f"`days` must be at least 1 but got {days}")
    tell = progress or (lambda _what, _share: None)
    stage, chosen = Stage(bundle, policy), some_users(bundle, users, seed)
    until = int(bundle.facts["fitted_for"])
    book = open_ledger(ledger)
    open_to = np.flatnonzero(stage.gate.item_mask("crowd", surface=surface, intent=intent) & ~bundle.catalogue.gesture)
    random, parts, visits, near = np.random.default_rng(seed), [], [], np.zeros((2, 2))
    try:
        for day in replayed(stage, chosen, since=until - days * MICROSECONDS_A_DAY, until=until, n=n, surface=surface,
                            intent=intent, ledger=book, progress=tell):  # fmt: skip
            parts.append(_impressions(day))
            widths = np.bincount(day.verdict.candidates.user_row[day.verdict.kept], minlength=len(day.users))
            visits.append(pl.DataFrame({"at": day.now, "user": day.users, "tier": day.tier, "shown": widths}))
            near += _followed(day, bundle.catalogue.category, random, open_to)
    finally:
        book.close()
    if not parts:
        raise LabError(f"there is no visit in the last {days} days before the fit; give more `days` or another bundle")
    seen, served = pl.concat(parts), pl.concat(visits)
    impressions = max(len(seen), 1)
    figures: dict[str, float] = {"visits": len(served), "impressions": len(seen)}
    figures |= over_caps(seen, stage, surface=surface, intent=intent)
    for word, tiers in (("longest_run", ("newcomer", "regular")), ("longest_run.guest", ("guest",))):
        mine = pl.col("tier").is_in([TIER_NAMES.index(tier) for tier in tiers])
        figures[word] = longest_run(seen.filter(mine), served.filter(mine))
    for place, word in enumerate(("followed", "followed_category")):
        figures |= {word: float(near[place, 0]) / impressions, f"{word}.random": float(near[place, 1]) / impressions}
    figures["fill"] = len(seen) / (n * len(served))
    for tier, shown in served.group_by("tier").agg(pl.col("shown").mean()).sort("tier").iter_rows():
        figures[f"fill.{TIER_NAMES[tier]}"] = shown / n
    _write(out, seen, served, bundle, n)
    write_figures(out, figures, policy=policy, bundle=bundle)
    tell("done", 1.0)
    return figures


def over_caps(seen: pl.DataFrame, stage: Stage, *, surface: str, intent: str) -> dict[str, float]:
    """Return the share of impressions that were over a cap when they were made: counted anew, without the rules.

    Args:
        seen: one row an impression: user, item, at (microseconds UTC), source, tier, and
            whether the ledger noted it.
        stage: gives the caps and the items' categories and brands.
        surface: where all was shown.
        intent: what the shoppers wanted.
    """
    catalogue = stage.bundle.catalogue
    items = seen["item"].to_numpy()
    code = {"item": items, "category": catalogue.category[items], "brand": catalogue.brand[items]}
    user, at, level = (seen[name].to_numpy() for name in ("user", "at", "tier"))
    noted, source = seen["noted"].to_numpy(), seen["source"].to_numpy()
    over_any, rates = np.zeros(len(seen), bool), {}
    for reason, scope in CAPS.items():
        over = np.zeros(len(seen), bool)
        for tier in Tier:
            for rule in stage.policy.rules_for(surface=surface, intent=intent, tier=tier).values():
                times, days = getattr(rule, "times", None), getattr(rule, "days", None)
                if rule.reason != reason or rule.enforce != "enforce" or times is None or days is None:
                    continue
                mine = (level == tier) & (code[scope] >= 0)
                mine &= np.isin(source, [SOURCE_NAMES.index(word) for word in rule.sources])
                nth = nth_in_window(user, code[scope], at, noted, days)
                over |= mine & (nth > times)
        rates[f"over_cap_rate.{reason}"] = float(over.mean()) if len(over) else 0.0
        over_any |= over
    return {"over_cap_rate": float(over_any.mean()) if len(over_any) else 0.0, **rates}


def longest_run(seen: pl.DataFrame, served: pl.DataFrame) -> int:
    """Return the most visits in a row on which one shopper saw the same item.

    Example:
        >>> served = pl.DataFrame({"user": [1, 1, 1], "at": [10, 20, 30]})
        >>> seen = pl.DataFrame({"user": [1, 1, 1], "item": [5, 5, 6], "at": [10, 20, 30]})
        >>> longest_run(seen, served)
        2
    """
    order = served.select("user", "at").sort("user", "at").with_columns(visit=pl.int_range(pl.len()).over("user"))
    runs = (
        seen.select("user", "item", "at").unique().join(order, on=["user", "at"]).sort("user", "item", "visit")
        .with_columns(run=pl.col("visit") - pl.int_range(pl.len()).over("user", "item"))
        .group_by("user", "item", "run").len()
    )  # fmt: skip
    longest = runs["len"].max()
    return 0 if longest is None else int(longest)  # type: ignore[arg-type]


def nth_in_window(
    user: npt.NDArray[np.int64], code: npt.NDArray[np.integer], at: npt.NDArray[np.int64], noted: npt.NDArray[np.bool_],
    days: float,
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Return of each impression which one it is of its user and code in the days up to it, from 1; 0 where not noted.

    Example:
        >>> day = MICROSECONDS_A_DAY
        >>> one, at = np.zeros(3, np.int64), np.array([0, 3, 9]) * day
        >>> nth_in_window(one, one, at, np.ones(3, bool), days=7).tolist()
        [1, 2, 2]
    """
    order = np.lexsort((np.arange(len(at)), at, code, user))
    order = order[noted[order]]
    if not len(order):
        return np.zeros(len(at), np.int64)
    who, what, when = user[order], code[order], at[order]
    begins = np.flatnonzero(np.append(True, (who[1:] != who[:-1]) | (what[1:] != what[:-1])))
    out = np.zeros(len(at), np.int64)
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
        part = when[begin:end]
        before = np.searchsorted(part, part - round(days * MICROSECONDS_A_DAY), side="right")
        out[order[begin:end]] = np.arange(1, end - begin + 1) - before
    return out


def _impressions(day: Day) -> pl.DataFrame:
    rows, kept = day.verdict.candidates, day.verdict.kept
    owner = rows.user_row[kept]
    return pl.DataFrame(
        {
            "user": day.users[owner], "item": rows.item_row[kept].astype(np.int64), "at": np.full(len(owner), day.now),
            "source": rows.source[kept], "tier": day.tier[owner], "noted": day.noted[owner], "position": day.verdict.positions[kept],
        }
    )  # fmt: skip


def _followed(
    day: Day, category: npt.NDArray[np.int32], random: np.random.Generator, open_to: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Count impressions of items, and of categories, touched lately by their shopper: of slates, of random ones."""
    rows, kept = day.verdict.candidates, day.verdict.kept
    sold = kept & (rows.source != Source.GESTURE)
    owner, item = rows.user_row[sold].astype(np.int64), rows.item_row[sold].astype(np.int64)
    drawn = random.choice(open_to, len(item)) if len(open_to) else item
    lately = (day.history.at >= day.now - TOUCHED_DAYS * MICROSECONDS_A_DAY) & (day.history.item_row >= 0)
    who, what = day.history.user_row[lately], day.history.item_row[lately].astype(np.int64)
    counts = np.zeros((2, 2))
    for line, code in enumerate((np.arange(len(category)), category.astype(np.int64))):
        size = int(code.max(initial=0)) + 2
        touched = who * size + code[what]
        for column, shown_item in enumerate((item, drawn)):
            counts[line, column] = np.isin(owner * size + code[shown_item], touched).sum()
    return counts


def _note(
    ledger: Ledger, names: list[str], verdict: Verdict, noted: npt.NDArray[np.bool_], turns: npt.NDArray[np.int64],
    surface: str, now: int, ids: tuple[str, ...],
) -> None:  # fmt: skip
    """Write what was shown to those of whom exposures are remembered."""
    rows = verdict.candidates
    kept = np.flatnonzero(verdict.kept & noted[rows.user_row])
    entries = Columns(
        kind=np.full(len(kept), SHOWN, np.uint8), item_id=[ids[row] for row in rows.item_row[kept].tolist()],
        surface=np.zeros(len(kept), np.int32), at=np.full(len(kept), now, np.int64), slate=rows.user_row[kept],
        position=verdict.positions[kept], source=rows.source[kept], confirmed=np.ones(len(kept), bool),
        surfaces=(surface,), slates=tuple(f"{verdict.decision_id}-{user}" for user in range(rows.users)),
    )  # fmt: skip
    widths = np.bincount(rows.user_row[kept], minlength=rows.users)
    taken = ledger.append_block(names, np.concatenate([[0], np.cumsum(widths)]), entries, expected_turns=turns)
    if not taken.all():
        raise LabError("the ledger is used by others while visits are replayed; give one of its own")


def _write(out: Path, seen: pl.DataFrame, served: pl.DataFrame, bundle: Bundle, n: int) -> None:
    """Write the impressions, and week by week how full slates were and where slots came from."""
    out.mkdir(parents=True, exist_ok=True)
    moment = pl.from_epoch("at", time_unit="us").dt.replace_time_zone("UTC")
    week = moment.dt.truncate("1w").dt.date().alias("week")
    names = pl.Series(bundle.catalogue.item_ids, dtype=pl.String)
    seen.select(
        pl.Series("user_id", list(bundle.user_ids)).gather(seen["user"]), names.gather(seen["item"]).alias("item_id"),
        moment.alias("at"), "position", pl.Series(SOURCE_NAMES).gather(seen["source"]).alias("source"),
    ).write_parquet(out / "exposures.parquet")  # fmt: skip
    slots = seen.with_columns(word=pl.Series(SOURCE_NAMES).gather(seen["source"])).group_by(week, "word").len()
    slots = slots.pivot("word", index="week", values="len").fill_null(0)
    filled = served.group_by(week).agg(visits=pl.len(), fill=pl.col("shown").mean() / n)
    filled.join(slots, on="week", how="left").sort("week").write_csv(out / "weeks.csv")
