"""What people read of an attack: one page with a picture, a table of the families, and what could not be judged."""

from __future__ import annotations

import csv
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from experiments import frontier
from experiments.attack import mean_leak
from experiments.leak_found import MEANING
from recsys.report import bars

if TYPE_CHECKING:
    from boundary.policy import Policy
    from experiments.leak_found import Leak, Terms

SHOWN = ("raw", "evidence", "doors", "blindfold", "profile", "default", "crowd")
PAGE, TABLE = "attack.html", "families.csv"


def write_page(out: Path, leak: Leak, *, policy: Policy, terms: Terms) -> Path:
    """Write ``attack.html`` and, as a table for machines, ``families.csv``."""
    told = [name for name in SHOWN if name in leak.remaining]
    mean = {name: mean_leak(leaks[leak.told]) for name, leaks in leak.remaining.items()}
    kept = leak.kept
    head = _cells(
        (f"{mean['raw']:.0%}", "of what a household's whole history tells, the raw recommender's lists tell too"),
        (f"{mean['default']:.0%}", f"is what is left of it under the policy “{policy.name}”"),
        (f"{kept['profile']:.1%}", "of discovery quality kept by the list from the profile alone"),
        (f"{kept['default']:.1%}", "kept by the whole slate, unpersonal slots and all"),
    )
    about = (
        f"Policy <b>{escape(policy.name)}</b> ({policy.digest}). {leak.households[0]:,} households, lists of {terms.n}, "
        f"{terms.seeds} divisions into folds. Proxies and blindfold were learned on other households than the attacked."
    )
    pieces = [
        f"<p class=soft>{about}</p>",
        head,
        _section(
            "What the lists tell, and what each means costs",
            "Each point is a way to make the lists: lower tells less, further right finds more of what households go on "
            "to buy. 0 on the left scale is what anybody knows from how much a household buys. The leak is that of lists whose "
            "proxies and blindfold were learned on others; the quality is that of the lists that are served.",
            frontier.piece(_trade(told, mean, kept, MEANING)),
        ),
        _section(
            "Family by family",
            "How often the attacker ranks a buyer above an equally active non-buyer: one half is a coin. The bar is "
            "the interval (95 %) over households and folds.",
            frontier.piece(_families(leak)),
        ),
        _section(
            "The same as a table",
            "Each cell is AUC [interval], and the part of the history's secret that is left (negative: less than chance, "
            "counted as 0 in the mean).",
            _table(leak, told),
        ),
        _section("Not judged", "Too few members, or a history that tells no more than activity.", _rare(leak, terms)),
        _second(mean),
        _section(
            "What each rule costs",
            "Points of the raw recommender's discovery quality that the list from the profile alone would gain without "
            "the rule, or without all rules of a family. What the blindfold costs is in the picture above.",
            bars(_costs(leak), [frontier.SEA] * len(_costs(leak)), form="+.2f"),
        ),
        "<p class=soft>" + " ".join(f"<b>{name}</b>: {escape(MEANING[name])}." for name in MEANING) + "</p>",
    ]
    out.mkdir(parents=True, exist_ok=True)
    page = out / PAGE
    page.write_text(frontier.page("What do the lists tell?", pieces), encoding="utf-8")
    _write_table(out / TABLE, leak)
    return page


def _trade(told: list[str], mean: dict[str, float], kept: object, meaning: dict[str, str]) -> go.Figure:
    quality: dict[str, float] = dict(kept)  # type: ignore[call-overload]
    colours = {"raw": frontier.CLAY, "profile": frontier.LEAF, "default": frontier.LEAF}
    figure = go.Figure(
        go.Scatter(
            x=[quality[name] for name in told], y=[mean[name] for name in told], mode="markers+text", text=told,
            textposition=["bottom center" if place % 2 else "top center" for place in range(len(told))],
            cliponaxis=False, marker={"size": 15, "color": [colours.get(name, frontier.SEA) for name in told]},
            hovertext=[meaning[name] for name in told], hoverinfo="text",
        )
    )  # fmt: skip
    figure.update_layout(
        height=380, plot_bgcolor="white", paper_bgcolor="white", font=frontier.FONT,
        margin={"l": 60, "r": 40, "t": 20, "b": 50},
        xaxis={"title": "discovery quality kept", "tickformat": ".0%", "gridcolor": "#eef1f3"},
        yaxis={"title": "leak that remains", "tickformat": ".0%", "gridcolor": "#eef1f3", "rangemode": "tozero"},
    )  # fmt: skip
    return figure


def _families(leak: Leak) -> go.Figure:
    labels = np.flatnonzero(leak.judged)
    figure = go.Figure()
    styles = {
        "activity": ("activity only", "#b9c2ca", "line-ns-open"), "default": ("the policy's slate", frontier.LEAF, "circle"),
        "raw": ("the recommender alone", frontier.CLAY, "circle"), "history": ("the whole history", frontier.INK, "diamond"),
    }  # fmt: skip
    for shift, (name, (words, colour, symbol)) in enumerate(styles.items()):
        found = leak.aucs[name]
        mean = found.mean[labels]
        figure.add_scatter(
            x=mean, y=np.arange(len(labels)) + 0.18 * (shift - 1.5), name=words, mode="markers",
            marker={"size": 10, "color": colour, "symbol": symbol},
            error_x={"array": found.high[labels] - mean, "color": colour, "thickness": 1.5, "width": 0},
            hovertemplate="%{x:.3f}<extra>" + words + "</extra>",
        )  # fmt: skip
    figure.add_vline(x=0.5, line={"color": frontier.SOFT, "dash": "dot", "width": 1})
    figure.update_layout(
        height=90 + 44 * len(labels), plot_bgcolor="white", paper_bgcolor="white", font=frontier.FONT,
        margin={"l": 10, "r": 20, "t": 10, "b": 40}, legend={"orientation": "h", "y": 1.08},
        xaxis={"title": "AUC among equally active households", "gridcolor": "#eef1f3"},
        yaxis={
            "tickmode": "array", "tickvals": list(range(len(labels))), "ticktext": [_words(leak.names[i]) for i in labels],
            "autorange": "reversed", "automargin": True, "gridcolor": "#eef1f3",
        },
    )  # fmt: skip
    return figure


def _table(leak: Leak, told: list[str]) -> str:
    columns = ["activity", "history", *told]
    rows = []
    for label in np.flatnonzero(leak.judged):
        cells = "".join(f"<td class=n>{_cell(leak, name, int(label))}</td>" for name in columns)
        kind = "" if label < leak.families else " <span class=tag>group</span>"
        rows.append(
            f"<tr><td>{escape(_words(leak.names[label]))}{kind}</td><td class=n>{leak.positives[label]}</td>{cells}</tr>"
        )
    means = "".join(
        f"<td class=n>{mean_leak(leak.remaining[name][leak.told]):.2f}</td>" if name in leak.remaining else "<td></td>"
        for name in columns
    )
    rows.append(f"<tr class=chosen><td>mean leak of the families</td><td></td>{means}</tr>")
    quality = "".join(
        f"<td class=n>{leak.kept[name]:.1%}</td>" if name in leak.kept else "<td></td>" for name in columns
    )
    rows.append(f"<tr><td>discovery quality kept</td><td></td>{quality}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    return (
        f"<div class=wide><table><tr><th>family</th><th>members</th>{head}</tr>{''.join(rows)}</table></div>"
    )  # fmt: skip


def _cell(leak: Leak, name: str, label: int) -> str:
    found = leak.aucs[name]
    text = f"{found.mean[label]:.3f}<br><span class=soft>[{found.low[label]:.2f}–{found.high[label]:.2f}]</span>"
    return text if name not in leak.remaining else f"{text}<br><b>{leak.remaining[name][label]:.2f}</b>"


def _costs(leak: Leak) -> dict[str, float]:
    return {rule: 100 * cost for rule, cost in sorted(leak.costs.items(), key=lambda pair: -pair[1]) if cost > 0}


def _rare(leak: Leak, terms: Terms) -> str:
    names = [
        f"<li>{escape(_words(leak.names[i]))}: {leak.positives[i]} members"
        + ("" if leak.positives[i] < terms.fewest else ", but their history tells no more than activity") + "</li>"
        for i in np.flatnonzero(~leak.judged)
    ]  # fmt: skip
    return f"<ul>{''.join(names)}</ul>" if names else "<p>none: all were judged</p>"


def _second(mean: dict[str, float]) -> str:
    told = [name for name in mean if name.startswith("boosting.")]
    if not told:
        return ""
    words = "; ".join(f"{name.removeprefix('boosting.')}: <b>{mean[name]:.2f}</b>" for name in told)
    return _section(
        "A second attacker",
        "Gradient boosting instead of logistic regression: mean leak that remains.",
        f"<p>{words}</p>",
    )


def _write_table(path: Path, leak: Leak) -> None:
    draft = path.with_name(f".{path.name}.part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["label", "kind", "members", "judged", "list", "auc", "low", "high", "leak_remaining"])
        for label, name in enumerate(leak.names):
            kind = "family" if label < leak.families else "group"
            for shown, found in leak.aucs.items():
                left = leak.remaining[shown][label] if shown in leak.remaining else math.nan
                numbers = [
                    "" if math.isnan(value) else f"{value:.6f}"
                    for value in (found.mean[label], found.low[label], found.high[label], left)
                ]
                table.writerow([name, kind, leak.positives[label], bool(leak.judged[label]), shown, *numbers])
    draft.replace(path)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cells(*told: tuple[str, str]) -> str:
    cells = "".join(f"<div class=figure><b>{value}</b><span>{escape(words)}</span></div>" for value, words in told)
    return f"<div class=figures>{cells}</div>"


def _section(title: str, words: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p class=soft>{words}</p>{body}</section>"
