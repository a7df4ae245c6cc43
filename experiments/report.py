"""One page for a shop manager: what is withheld, what that costs, what still leaks, how often people see the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from boundary.rules.guard import SLATE
from boundary.words import Source
from experiments import frontier
from experiments.figures import read_figures, write_figures
from experiments.tracking import code_version, experiment, log_values, tracked
from experiments.visits import LabError, some_users
from recsys.batch import slate_rows
from recsys.demo import by_family
from recsys.engine import Answer, Engine
from recsys.quality import raw_lists
from recsys.report import SOURCE_COLOURS, bars, withheld_chart

if TYPE_CHECKING:
    from boundary.policy import Policy
    from recsys.bundle import Bundle

Progress = Callable[[str, float], None]
ROOMS = ("evaluate", "attack", "replay", "pressure", "tune", "shadow")
EXPERIMENT = "cornerstore-report"
SLOTS = 10
PLAIN = {
    "kept_profile": "quality kept by the profile's list", "kept": "quality kept by the whole slate", "fill": "slots filled",
}  # fmt: skip
TOLD = {
    "raw": "the recommender alone", "evidence": "nothing sensitive remembered", "doors": "nor anything sensitive shown",
    "default": "this policy", "crowd": "the same list for everybody",
}  # fmt: skip


def report(
    runs: Path, bundle: Bundle, out: Path, *, policy: Policy | None = None, users: int | None = 1000, seed: int = 7,
    tracking_uri: str | None = None, progress: Progress | None = None,
) -> dict[str, float]:  # fmt: skip
    """Write ``lab.html`` from what the other commands left behind, and log it as an artifact.

    Args:
        runs: folder with the results of commands in folders of their names: attack, replay, pressure, tune, ...;
            sections of which there is none are left out.
        bundle: fitted.
        out: gets lab.html and figures.json, and without ``tracking_uri`` MLflow's store.
        policy: the rules; the bundle's own where None.
        users: how many shoppers the withheld are counted on, drawn by the seed; None is all.
        seed: of the draw.
        tracking_uri: an MLflow server.
        progress: is told what is being done.

    Returns:
        The figures of all the commands, each once.
    """
    tell = progress or (lambda _what, _share: None)
    found = {room: read_figures(runs / room) for room in ROOMS if (runs / room / "figures.json").exists()}
    if not found:
        raise LabError(
            f"{runs} holds no results; run commands with --out {runs}/attack, {runs}/replay, {runs}/tune, ..."
        )
    rules = policy or bundle.policy
    tell("scoring shoppers", 0.1)
    engine = Engine(bundle, ledger=None, policy=rules)
    ids = [bundle.user_ids[row] for row in some_users(bundle, users, seed).tolist()]
    now = int(bundle.facts["fitted_for"])
    answer = engine.score_block(ids, n=SLOTS, now=now, read_ledger=False)
    tell("drawing", 0.6)
    figures = {name: value for told in found.values() for name, value in told.items()}
    sections = [
        _head(figures, answer),
        *_frontier(runs / "tune", found.get("tune", {})),
        _withheld(answer),
        *_leak(found),
        *_weeks(runs / "replay"),
        *_exposures(runs / "replay", found.get("replay", {})),
        *_shadow(runs / "shadow"),
        *_examples(engine, answer, ids, now),
    ]
    out.mkdir(parents=True, exist_ok=True)
    who = f"{len(ids):,} shoppers, {SLOTS} slots each"
    note = f"<p class=soft>Policy <b>{escape(rules.name)}</b> ({rules.digest}), {who}.</p>"
    page = out / "lab.html"
    page.write_text(frontier.page("The boundary, measured", [note, *sections]), encoding="utf-8")
    write_figures(out, figures, policy=rules, bundle=bundle)
    tell("logging", 0.9)
    with tracked(out, tracking_uri) as client:
        place = experiment(client, EXPERIMENT, out, tracking_uri)
        tags = {"mlflow.runName": f"report {rules.name}", "policy_digest": rules.digest, "code_version": code_version()}
        run = client.create_run(place, tags=tags | {"bundle": bundle.fit_id})
        log_values(client, run.info.run_id, params={}, metrics=figures, at=run.info.start_time)
        for name in ("lab.html", "figures.json"):
            client.log_artifact(run.info.run_id, str(out / name))
        client.set_terminated(run.info.run_id)
    tell("done", 1.0)
    return figures


def _head(figures: Mapping[str, float], answer: Answer) -> str:
    """Return up to four figures in large type."""
    told = [
        (f"{len(answer.verdict.kept):,}", "candidates were proposed"),
        (f"{int(answer.verdict.kept.sum()):,}", "of them were shown"),
    ]
    for name, form, words in (
        ("ndcg_kept.default", "{:.0%}", "of discovery quality kept"),
        ("leak_remaining.default", "{:.0%}", "of what the history tells still shows"),
        ("over_cap_rate", "{:.1%}", "of impressions over a cap"),
        ("fill", "{:.0%}", "of slots filled, visit by visit"),
    ):
        if name in figures and np.isfinite(figures[name]):
            told.append((form.format(figures[name]), words))
    cells = "".join(f"<div class=figure><b>{value}</b><span>{words}</span></div>" for value, words in told[-4:])
    return f"<div class=figures>{cells}</div>"


def _frontier(folder: Path, figures: Mapping[str, float]) -> list[str]:
    """Return the trade-off, where settings were tuned."""
    if not (folder / "trials.parquet").exists():
        return []
    trials = pl.read_parquet(folder / "trials.parquet")
    paths = [name for name in trials.columns if name.split(".")[0] in {"rules", "admit", "blind", "tiers", "feedback"}]
    chosen = int(figures["recommended.trial"]) if figures.get("recommended.found") else None
    base = int(figures["base.trial"]) if figures.get("base.found") else None
    shape = frontier.picture(trials, across="kept", up="leak", chosen=chosen, base=base, settings=paths)
    sentence = (folder / "recommended.txt").read_text(encoding="utf-8").strip()
    for word, plain in PLAIN.items():
        sentence = sentence.replace(f"{word} at least", f"{plain} at least")
    return [
        _section(
            "What do we lose if we are kinder?",
            f"Each point is a policy. Right keeps more discovery quality, down tells less. {escape(sentence)}",
            frontier.piece(shape),
        )
    ]


def _withheld(answer: Answer) -> str:
    counts = {reason: count for reason, count in answer.verdict.counts().items() if reason not in SLATE}
    return _section(
        "Withheld, and why",
        "Candidates the boundary did not let through, by reason; the colour is the family. One can have several reasons.",
        withheld_chart(by_family(counts)),
    )


def _leak(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return what lists tell before and after: the attack's where there is one, else the tuning run's quick one."""
    attack, tune = found.get("attack", {}), found.get("tune", {})
    names = {f"leak_remaining.{name}": words for name, words in TOLD.items()}
    values = {words: attack[name] for name, words in names.items() if np.isfinite(attack.get(name, float("nan")))}
    words = "Share of what the whole history tells about sensitive purchases that the lists still tell; 0 is nothing."
    if not values:
        quick = {
            "the recommender alone": "raw.leak",
            "the policy that tuning began from": "base.leak",
            "the policy that is recommended": "recommended.leak",
        }
        values = {word: tune[name] for word, name in quick.items() if np.isfinite(tune.get(name, float("nan")))}
        words += " By the quick attacker of the tuning run."
    if not values:
        return []
    colours = [frontier.CLAY if "alone" in name else frontier.LEAF for name in values]
    positive = {name: max(value, 0.0) for name, value in values.items()}
    return [
        _section(
            "What the lists tell, before and after", words, bars(positive, colours, form=".0%") + _by_family(attack)
        )
    ]


def _by_family(attack: Mapping[str, float]) -> str:
    """Return the same family by family, as a table; nothing without an attack."""
    start = "leak_remaining.raw."
    families = sorted(name.removeprefix(start) for name in attack if name.startswith(start))
    lines = []
    for family in families:
        before, after = (max(attack[f"leak_remaining.{name}.{family}"], 0.0) for name in ("raw", "default"))
        words = escape(family.replace("_", " "))
        lines.append(f"<tr><td>{words}</td><td class=n>{before:.0%}</td><td class=n>{after:.0%}</td></tr>")
    if not lines:
        return ""
    head = "<tr><th>family or group</th><th>the recommender alone</th><th>this policy</th></tr>"
    return f"<table>{head}{''.join(lines)}</table>"


def _weeks(folder: Path) -> list[str]:
    """Return where slots came from week by week, and how full the slates were."""
    if not (folder / "weeks.csv").exists():
        return []
    weeks = pl.read_csv(folder / "weeks.csv", try_parse_dates=True)
    figure, x = go.Figure(), weeks["week"].to_list()
    sources = [name for name in SOURCE_COLOURS if name in weeks.columns]
    total = weeks.select(pl.sum_horizontal(*sources)).to_series().to_numpy()
    for name in sources:
        share = weeks[name].fill_null(0).to_numpy() / np.maximum(total, 1)
        figure.add_bar(x=x, y=share.tolist(), name=name, marker_color=SOURCE_COLOURS[name])
    figure.add_scatter(
        x=x, y=weeks["fill"].to_list(), name="slots filled", mode="lines", line={"color": frontier.INK, "width": 2}
    )
    figure.update_layout(
        barmode="stack", height=340, bargap=0.15, plot_bgcolor="white", paper_bgcolor="white", font=frontier.FONT,
        margin={"l": 50, "r": 10, "t": 10, "b": 40}, legend={"orientation": "h", "y": 1.15},
        yaxis={"tickformat": ".0%", "range": [0, 1.04], "gridcolor": "#eef1f3"},
    )  # fmt: skip
    words = "Share of the slots of each week by where they come from, and the share of slots that were filled (line)."
    return [_section("Slots by source, over time", words, frontier.piece(figure))]


def _exposures(folder: Path, figures: Mapping[str, float]) -> list[str]:
    """Return how often one shopper saw one item."""
    if not (folder / "exposures.parquet").exists():
        return []
    times = (
        pl.read_parquet(folder / "exposures.parquet", columns=["user_id", "item_id"])
        .group_by("user_id", "item_id")
        .len()
    )
    most = 12
    counted = times.with_columns(pl.col("len").clip(upper_bound=most)).group_by("len").agg(pairs=pl.len()).sort("len")
    names = [f"{n} or more" if n == most else str(n) for n in counted["len"].to_list()]
    figure = go.Figure(go.Bar(x=names, y=counted["pairs"].to_list(), marker_color=frontier.SEA, hoverinfo="y"))
    figure.update_layout(
        height=280, plot_bgcolor="white", paper_bgcolor="white", font=frontier.FONT, bargap=0.2,
        margin={"l": 60, "r": 10, "t": 10, "b": 45}, yaxis={"gridcolor": "#eef1f3"},
        xaxis={"title": "times one shopper saw one item in the whole time", "type": "category"},
    )  # fmt: skip
    told = (
        f"{figures.get('visits', 0):,.0f} real visits replayed. {figures.get('over_cap_rate', 0):.2%} of impressions were over "
        f"a cap; the same item came at most {figures.get('longest_run', 0):.0f} visits in a row. "
        f"{figures.get('followed', 0):.1%} of slots show what the shopper touched in the last two weeks; a random slate would "
        f"show {figures.get('followed.random', 0):.1%}."
    )
    return [_section("How often people see the same thing", told, frontier.piece(figure))]


def _shadow(folder: Path) -> list[str]:
    if not (folder / "reasons.csv").exists():
        return []
    from experiments.shadow import picture

    reasons = pl.read_csv(folder / "reasons.csv")
    words = (
        "Last week's visits under the policy in force and under the other one: the slots that would change, by reason."
    )
    return (
        [_section("What another policy would change", words, frontier.piece(picture(reasons)))] if len(reasons) else []
    )


def _examples(engine: Engine, answer: Answer, ids: list[str], now: int, count: int = 3) -> list[str]:
    """Lay the recommender's own list beside the slate for the shoppers on whose lists most was withheld."""
    raw = raw_lists(engine.bundle, ids, k=SLOTS, now=now)
    rows, verdict, titles = answer.candidates, answer.verdict, engine.bundle.titles
    bits = engine.gate.catalogue.family_bits
    sensitive = np.bincount(
        np.repeat(np.arange(len(ids)), np.diff(raw.offsets)), weights=bits[raw.item_row] != 0, minlength=len(ids)
    )
    own = np.bincount(rows.user_row[verdict.kept & (rows.source == Source.PERSONAL)], minlength=len(ids))
    shown = slate_rows(answer)
    pieces = []
    for place, user in enumerate(
        np.lexsort((np.arange(len(ids)), -sensitive, -(own > SLOTS // 3).astype(int)))[:count].tolist(), 1
    ):
        part = range(int(rows.offsets[user]), int(rows.offsets[user + 1]))
        reasons = {int(rows.item_row[row]): verdict.reasons(row) for row in part if rows.source[row] == Source.PERSONAL}
        seen = {int(rows.item_row[row]) for row in part if verdict.kept[row]}
        left = "".join(
            _line(titles[item], gone, ", ".join(gone) if gone else "shown")
            for item in raw.item_row[int(raw.offsets[user]) : int(raw.offsets[user + 1])].tolist()
            for gone in [[] if item in seen else _why_gone(reasons.get(item), bits[item])]
        )
        right = "".join(
            f"<tr><td>{escape(slot['title'])}<br><span class=soft>{escape(slot['why'])}</span></td>"
            f'<td><span class="tag {slot["source"]}">{slot["source"]}</span></td></tr>'
            for slot in shown.filter(pl.col("user_id") == ids[user]).sort("position").to_dicts()
        )
        pieces.append(
            _section(
                f"Shopper {place}",
                "Left what the recommender alone would list, right what the shopper sees.",
                f"<div class=two><table>{left}</table><table>{right}</table></div>",
            )
        )
    return pieces


def _why_gone(reasons: list[str] | None, sensitive: Any) -> list[str]:
    """Return why an item of the raw list is not shown; one the first door kept from being proposed has no verdict."""
    if reasons is None:
        return ["sensitive_category"] if sensitive else ["not proposed"]
    return reasons


def _line(title: str, gone: list[str], words: str) -> str:
    style = " class=gone" if gone else ""
    return f"<tr><td{style}>{escape(title)}</td><td class=soft>{escape(words)}</td></tr>"


def _section(title: str, words: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p class=soft>{words}</p>{body}</section>"
