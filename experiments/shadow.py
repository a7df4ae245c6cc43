"""What would change? The visits of the last days under two policies: who would have seen what, and for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl

from boundary.ledger import open_ledger
from boundary.rules import BIT, FAMILY_OF, REASONS
from boundary.verdict import reason_lists
from boundary.words import MICROSECONDS_A_DAY, SOURCE_NAMES
from experiments import frontier
from experiments.figures import write_figures
from experiments.replay import Day, replayed
from experiments.visits import LabError, Stage, some_users
from recsys.report import FAMILY_COLOURS

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.bundle import Bundle

Progress = Callable[[str, float], None]


def shadow(
    bundle: Bundle, one: Policy, other: Policy, out: Path, *, days: int = 7, users: int | None = None, n: int = 10,
    surface: str = "home", intent: str = "browse", seed: int = 7, progress: Progress | None = None,
) -> dict[str, float]:  # fmt: skip
    """Serve the last days' visits under two policies, each with a ledger of its own, and say what differs.

    Args:
        bundle: fitted.
        one: the policy in force.
        other: the one that is asked about.
        out: gets figures.json, differences.parquet, reasons.csv, shadow.html.
        days: how far back from the moment of the fit.
        users: how many shoppers, drawn by the seed; None is all.
        n: slots.
        surface: where it is shown.
        intent: what the shoppers want.
        seed: of the draw.
        progress: is told what is being done.

    Returns:
        visits, slots.one, slots.other, gone (shown by the first alone), come (by the other alone), shoppers_touched,
        changed (share of the first's slots that are gone), gone.REASON.
    """
    tell = progress or (lambda _what, _share: None)
    until = int(bundle.facts["fitted_for"])
    chosen = some_users(bundle, users, seed)
    logs = []
    for place, policy in enumerate((one, other)):
        stage, book = Stage(bundle, policy), open_ledger("sqlite://")
        try:
            week = replayed(stage, chosen, since=until - days * MICROSECONDS_A_DAY, until=until, n=n, surface=surface,
                            intent=intent, ledger=book, progress=_half(tell, policy.name, place / 2))  # fmt: skip
            logs.append([_candidates(day) for day in week])
        finally:
            book.close()
    if not logs[0]:
        raise LabError(f"there is no visit in the last {days} days before the fit; give more `days` or another bundle")
    first, second = (pl.concat(parts) for parts in logs)
    moved = differences(first, second)
    gone, come = moved.filter(pl.col("shown_by") == "one"), moved.filter(pl.col("shown_by") == "other")
    reasons = _reasons(gone, come)
    slots = int(first["shown"].sum())
    figures: dict[str, float] = {
        "visits": first.select("user", "at").n_unique(), "slots.one": slots, "slots.other": int(second["shown"].sum()),
        "gone": len(gone), "come": len(come), "shoppers_touched": moved["user"].n_unique(),
        "changed": len(gone) / slots if slots else 0.0,
        **{f"gone.{reason}": count for reason, count in reasons.select("reason", "gone").iter_rows() if count},
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    named = _named(moved, bundle)
    named.write_parquet(out / "differences.parquet")
    reasons.write_csv(out / "reasons.csv")
    (out / "shadow.html").write_text(_page(one, other, figures, reasons, named), encoding="utf-8")
    write_figures(out, figures, policy=other, bundle=bundle)
    tell("done", 1.0)
    return figures


def differences(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Return what only one of two policies shows: user, at, item, source, shown_by and the other one's reasons.

    An item that the other policy's list did not even reach has the reason ``not_a_candidate``.

    Args:
        first: one row a candidate: user, at, item, source, shown, reasons (uint64 bits).
        second: the same under the other policy.
    """
    key = ["user", "at", "item"]
    parts = []
    for word, mine, theirs in (("one", first, second), ("other", second, first)):
        seen = mine.filter("shown").select(*key, "source")
        told = theirs.group_by(key).agg(
            shown=pl.col("shown").any(), reasons=pl.col("reasons").sort_by("shown", descending=True).first()
        )
        joined = seen.join(told, on=key, how="left").filter(~pl.col("shown").fill_null(value=False))
        bits = joined["reasons"].fill_null(int(BIT["not_a_candidate"])).to_numpy()
        parts.append(joined.select(*key, "source").with_columns(shown_by=pl.lit(word), reasons=reason_lists(bits)))
    return pl.concat(parts).sort(*key, "shown_by")


def _candidates(day: Day) -> pl.DataFrame:
    rows, verdict = day.verdict.candidates, day.verdict
    return pl.DataFrame(
        {
            "user": day.users[rows.user_row], "at": np.full(rows.rows, day.now), "item": rows.item_row,
            "source": rows.source, "shown": verdict.kept, "reasons": verdict.enforced,
        }
    )  # fmt: skip


def _half(tell: Progress, word: str, begin: float) -> Progress:
    return lambda what, share: tell(f"{word}: {what}", begin + share / 2)


def _reasons(gone: pl.DataFrame, come: pl.DataFrame) -> pl.DataFrame:
    """Count for each reason the slots that are gone for it, and those that it kept away before."""
    counts = [Counter(word for words in part["reasons"].to_list() for word in words) for part in (gone, come)]
    found = [reason for reason in REASONS if counts[0][reason] or counts[1][reason]]
    found.sort(key=lambda reason: -counts[0][reason] - counts[1][reason])
    return pl.DataFrame(
        {
            "reason": found,
            "family": [str(FAMILY_OF[reason]) for reason in found],
            "gone": [counts[0][reason] for reason in found],
            "come": [counts[1][reason] for reason in found],
        },
        schema={"reason": pl.String, "family": pl.String, "gone": pl.Int64, "come": pl.Int64},
    )


def _named(moved: pl.DataFrame, bundle: Bundle) -> pl.DataFrame:
    """Return the differences with ids and titles."""
    item = moved["item"]
    return moved.select(
        pl.Series("user_id", list(bundle.user_ids)).gather(moved["user"]),
        pl.from_epoch("at", time_unit="us").dt.replace_time_zone("UTC").alias("at"),
        pl.Series("item_id", bundle.catalogue.item_ids, dtype=pl.String).gather(item),
        pl.Series("title", bundle.titles, dtype=pl.String).gather(item),
        pl.Series("word", SOURCE_NAMES).gather(moved["source"]).alias("source"),
        "shown_by",
        "reasons",
    )


def picture(reasons: pl.DataFrame) -> go.Figure:
    """Draw for each reason the slots that would go, to the left, and those that would come, to the right."""
    shown = reasons.head(16)
    colours = [FAMILY_COLOURS.get(family, frontier.SOFT) for family in shown["family"]]
    figure = go.Figure()
    for word, sign in (("gone", -1), ("come", 1)):
        values = shown[word].to_list()
        figure.add_bar(
            x=[sign * value for value in values], y=shown["reason"].to_list(), orientation="h", marker_color=colours,
            text=[f"{value:,}" if value else "" for value in values], opacity=1 if word == "gone" else 0.55,
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    figure.update_layout(
        barmode="relative", height=80 + 28 * len(shown), plot_bgcolor="white", paper_bgcolor="white", font=frontier.FONT,
        margin={"l": 10, "r": 20, "t": 10, "b": 40}, yaxis={"autorange": "reversed", "automargin": True},
        xaxis={"title": "slots gone (left), slots that come instead (right)", "gridcolor": "#eef1f3"},
    )  # fmt: skip
    return figure


def _page(one: Policy, other: Policy, figures: dict[str, float], reasons: pl.DataFrame, named: pl.DataFrame) -> str:
    said = (
        f"<p>{figures['visits']:,.0f} visits. "
        f"Under <b>{one.name}</b> ({one.digest}) {figures['slots.one']:,.0f} slots, "
        f"under <b>{other.name}</b> ({other.digest}) {figures['slots.other']:,.0f}. "
        f"{figures['gone']:,.0f} slots would be gone and {figures['come']:,.0f} come instead, for {figures['shoppers_touched']:,.0f} shoppers.</p>"
        "<p>Left: what the second policy withholds and the first shows. Right: what the first withholds. "
        "A slot counts for each of its reasons; <i>slate_full</i> gave way to something else, "
        "<i>not_a_candidate</i> was not proposed.</p>"
    )
    first = named.head(200).with_columns(pl.col("reasons").list.join(", "), pl.col("at").dt.strftime("%Y-%m-%d"))
    return frontier.page(
        f"{one.name} and {other.name}, side by side",
        [said, frontier.piece(picture(reasons)), "<h2>By reason</h2>", frontier.table(reasons),
         f"<h2>The first {len(first)} of {len(named):,} slots that differ</h2>", frontier.table(first)],
    )  # fmt: skip
