"""One self-contained page that tells what the boundary did, for people who would rather look than read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

FAMILY_COLOURS = {
    "personal": "#b4552d",
    "frequent": "#2b6a94",
    "conversion": "#c9961a",
    "guard": "#5b6875",
}
SOURCE_COLOURS = {"personal": "#b4552d", "crowd": "#2b6a94", "explore": "#c9961a", "gesture": "#2f7d5b"}
MEANING = {
    "sensitive_category": "bought in a sensitive family",
    "sensitive_proxy": "gives a sensitive family away",
    "stale": "older than the shop may remember",
    "no_consent": "the shopper never agreed",
    "opted_out": "the shopper opted out",
    "unknown": "the item is unknown, or nobody said what it is",
    "disproportionate": "a kind of event this relationship does not justify",
}


def bars(values: dict[str, float], colours: list[str], *, form: str = ",.0f", height: int | None = None) -> str:
    """Return horizontal bars as a piece of HTML; the first value stands on top."""
    names, numbers = list(values), list(values.values())
    figure = go.Figure(
        go.Bar(
            x=numbers,
            y=names,
            orientation="h",
            marker_color=colours,
            text=[format(n, form) for n in numbers],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_layout(
        height=height or 60 + 26 * len(names),
        margin={"l": 10, "r": 70, "t": 6, "b": 6},
        plot_bgcolor="white",
        paper_bgcolor="white",
        font={"size": 13, "color": "#1d2733", "family": "system-ui, DejaVu Sans, sans-serif"},
        bargap=0.28,
        xaxis={"visible": False, "range": [0, max([*numbers, 1e-9]) * 1.12]},
        yaxis={"autorange": "reversed", "ticksuffix": "  ", "automargin": True},
    )
    piece: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    return piece


def withheld_chart(by_family: dict[str, dict[str, int]]) -> str:
    """Return the reasons as bars, a colour a family, most frequent first within the family."""
    values: dict[str, float] = {}
    colours: list[str] = []
    for family, colour in FAMILY_COLOURS.items():
        for reason, count in sorted(by_family.get(family, {}).items(), key=lambda pair: -pair[1]):
            values[f"{family}: {reason}"] = count
            colours.append(colour)
    return bars(values, colours)


def write_report(path: Path, told: dict[str, Any]) -> Path:
    """Write the page.

    Args:
        path: the HTML file.
        told: what the template shows: shop, policy, digest, note, users, shown, withheld_rows, by_family, sources,
            quality (name to NDCG), kept_share (per cent), households, cut (microseconds UTC), at, events, turned_away,
            families, examples, limits.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
    )
    charts = {
        "withheld": withheld_chart(told["by_family"]),
        "sources": bars(told["sources"], [SOURCE_COLOURS.get(name, "#5b6875") for name in told["sources"]], height=190),
        "quality": bars(told["quality"], ["#5b6875", "#2f7d5b", "#2f7d5b"], form=".4f", height=150),
    }
    day = dt.datetime.fromtimestamp(told["cut"] / 1e6, tz=dt.UTC).strftime("%-d %B %Y")
    page = environment.get_template("report.html.j2").render(
        **{**told, "cut": day},
        charts=charts,
        meaning=MEANING,
        library=f"<script>{get_plotlyjs()}</script>",
    )
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)
    return path
