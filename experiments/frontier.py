"""Which policies are worth a look? Those that no other beats in everything, and by a stated rule the one to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import polars as pl

if TYPE_CHECKING:
    from experiments.space import Rule

INK, SOFT, LEAF, CLAY, SEA = "#1d2733", "#5b6875", "#2f7d5b", "#b4552d", "#2b6a94"
STYLE = """
body { margin: 0; background: #fbfaf7; color: #1d2733; font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px }
h1 { font-size: 28px; margin: 0 0 6px } h2 { font-size: 20px; margin: 18px 0 4px } p { margin: 4px 0 12px }
section { background: #fff; border: 1px solid #dde3e8; border-radius: 12px; padding: 6px 24px 18px; margin-top: 20px }
.soft { color: #5b6875 } .figures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; margin-top: 18px }
.figure { background: #fff; border: 1px solid #dde3e8; border-radius: 12px; padding: 14px 18px }
.figure b { display: block; font-size: 26px } .figure span { color: #5b6875; font-size: 14px }
table { border-collapse: collapse; font-size: 13px; background: #fff } section table { width: 100% }
td, th { padding: 4px 9px 4px 0; border-bottom: 1px solid #dde3e8; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums } .chosen td { background: #ddefe6; font-weight: 600 }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 24px } .gone { color: #5b6875; text-decoration: line-through }
.wide { overflow-x: auto } .tag { font-size: 12px; padding: 0 7px; border-radius: 9px; background: #eef1f3; color: #5b6875 }
.tag.personal { background: #f6e6dd; color: #8d3f1e } .tag.crowd { background: #dcebf4; color: #1d5377 }
.tag.explore { background: #f6ecd0; color: #7c5a06 } .tag.gesture { background: #ddefe6; color: #1e5c41 }
@media (max-width: 760px) { .figures, .two { grid-template-columns: 1fr 1fr } }
"""
FONT = {"size": 13, "color": INK, "family": "system-ui, DejaVu Sans, sans-serif"}


def non_dominated(figures: npt.NDArray[np.float64], directions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which lines, (T,), no other line of (T, K) beats: as good in every column and better in one.

    Example:
        >>> non_dominated(np.array([[1.0, 5.0], [2.0, 4.0], [0.5, 6.0]]), ["maximize", "minimize"]).tolist()
        [False, True, False]
    """
    gain = figures * np.array([1.0 if way == "maximize" else -1.0 for way in directions])
    no_worse = (gain[:, None, :] >= gain[None, :, :]).all(axis=2)
    better = (gain[:, None, :] > gain[None, :, :]).any(axis=2)
    kept: npt.NDArray[np.bool_] = ~(no_worse & better).any(axis=0)
    return kept


def recommended(trials: pl.DataFrame, rule: Rule) -> int | None:
    """Return the number of the trial that the rule chooses, the earliest of equals; None where none reaches the floors.

    A figure that is missing or no finite number reaches no floor and is never the least.

    Example:
        >>> from experiments.space import Rule
        >>> trials = pl.DataFrame({"trial": [0, 1, 2], "kept": [0.99, 0.96, 0.90], "leak": [0.4, 0.2, 0.1]})
        >>> recommended(trials, Rule("leak", {"kept": 0.95}))
        1
    """
    finite = (pl.col(name).is_finite() for name in (rule.least, *rule.at_least))
    reached = trials.filter(*finite, *(pl.col(name) >= floor for name, floor in rule.at_least.items()))
    if reached.is_empty():
        return None
    return int(reached.sort(rule.least, "trial").item(0, "trial"))


def told(rule: Rule, trials: pl.DataFrame, chosen: int | None) -> str:
    """Say in a sentence which policy the rule chose, or why none."""
    if chosen is not None:
        return f"Recommended is trial {chosen}: {rule}."
    best = ", ".join(f"{name} {_short(trials[name].max())}" for name in rule.at_least)
    return f"None of {len(trials)} policies qualifies: wanted is {rule}; the best of each alone is {best}."


def picture(
    trials: pl.DataFrame, *, across: str, up: str, chosen: int | None, base: int | None, settings: Sequence[str]
) -> go.Figure:
    """Draw all trials, the frontier of two figures, the chosen trial and the base; hovering tells the settings."""
    edge = trials.filter(pl.Series(non_dominated(trials.select(across, up).to_numpy(), ["maximize", "minimize"]))).sort(
        across
    )
    figure = go.Figure()
    for name, rows, style in (
        ("every policy tried", trials, {"color": "#b9c2ca", "size": 8}),
        ("frontier: no policy is better in both", edge, {"color": SEA, "size": 10}),
        (
            "the policy it began from",
            trials.filter(pl.col("trial") == (-1 if base is None else base)),
            {"color": INK, "size": 13, "symbol": "square"},
        ),
        (
            "recommended",
            trials.filter(pl.col("trial") == (-1 if chosen is None else chosen)),
            {"color": LEAF, "size": 18, "symbol": "star"},
        ),
    ):
        if rows.is_empty():
            continue
        notes = ["<br>".join(f"{key} = {_short(row[key])}" for key in settings) for row in rows.iter_rows(named=True)]
        figure.add_scatter(
            x=rows[across].to_list(), y=rows[up].to_list(), name=name, marker=style,
            mode="lines+markers" if rows is edge else "markers", line={"shape": "vh", "color": SEA, "width": 1},
            customdata=[[number, note] for number, note in zip(rows["trial"].to_list(), notes, strict=True)],
            hovertemplate="trial %{customdata[0]}<br>"
             f"{across} %{{x:.3f}}, {up} %{{y:.3f}}<br>%{{customdata[1]}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        height=460, plot_bgcolor="white", paper_bgcolor="white", font=FONT, margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": 1.12}, hoverlabel={"align": "left", "bgcolor": "white"},
        xaxis={"title": "discovery quality kept (1 = the recommender alone)", "gridcolor": "#eef1f3"},
        yaxis={"title": "leak that remains (0 = tells nothing)", "gridcolor": "#eef1f3"},
    )  # fmt: skip
    return figure


def piece(figure: go.Figure) -> str:
    """Return a figure as a piece of HTML, without plotly's library."""
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    return html


def table(rows: pl.DataFrame, *, mark: int | None = None) -> str:
    """Return a frame as an HTML table; the line of trial ``mark`` stands out."""
    from html import escape

    head = "".join(f"<th>{escape(name)}</th>" for name in rows.columns)
    lines = []
    for row in rows.iter_rows(named=True):
        strong = ' class="chosen"' if mark is not None and row.get("trial") == mark else ""
        cells = "".join(
            f"<td{' class=n' if isinstance(value, int | float) else ''}>{escape(_short(value))}</td>"
            for value in row.values()
        )
        lines.append(f"<tr{strong}>{cells}</tr>")
    return f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def page(title: str, pieces: Sequence[str]) -> str:
    """Return one self-contained HTML page."""
    from plotly.offline import get_plotlyjs

    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head><body><main><h1>{title}</h1>{''.join(pieces)}</main></body></html>"
    )


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_frame(lines: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return trials as a frame, one line each; what only some have is null in the others."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    columns = {name: [line.get(name) for line in lines] for name in names}
    mixed = {name for name, values in columns.items() if len({isinstance(v, str) for v in values if v is not None}) > 1}
    return pl.DataFrame(
        {name: [str(v) for v in values] if name in mixed else values for name, values in columns.items()}, strict=False
    )
