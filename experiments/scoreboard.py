"""What did an evaluation find? Its flat figures as tables that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from experiments.served import Served

NDCG = "NDCG (95 %)"
SHOWN = ("recall", "map", "serendipity", "novelty", "diversity", "coverage", "gini")


def table_of(figures: Mapping[str, float], *, labels: Sequence[str], protocols: Sequence[str], k: int) -> Table:
    """Return the main figures as a table that fits a terminal: a line for each label and protocol."""
    head, rows = _head(), _rows(figures, labels, protocols, k)
    shown = [head.index(name) for name in ("model", "protocol", "users", NDCG, "recall")]
    return _on_screen(
        f"Full ranking, first {k}", [head[at] for at in shown], [[row[at] for at in shown] for row in rows]
    )


def markdown_of(
    figures: Mapping[str, float], *, labels: Sequence[str], protocols: Sequence[str], groups: Sequence[str], k: int,
    about: str,
) -> str:  # fmt: skip
    """Return the table in Markdown, what the protocol is, and for each group of users the NDCG with its interval."""
    lines = [f"Full ranking, first {k}; {about}. Intervals are 95 % over users.", ""]
    lines += _markdown(_head(), _rows(figures, labels, protocols, k))
    for protocol in protocols if groups else ():
        first = f"{labels[0]}.{protocol}."
        sizes = [f"{name} ({figures[f'{first}{name}.users']:,.0f})" for name in groups]
        rows = [
            [label, *(_told(figures, f"{label}.{protocol}.{name}.ndcg@{k}") for name in groups)] for label in labels
        ]
        lines += ["", f"NDCG@{k} by group of shoppers, {protocol}:", "", *_markdown(["model", *sizes], rows)]
    for name in [name for name in figures if name.endswith("over_baseline")]:
        lines += ["", f"`{name}`: {_told(figures, name)}"]
    if f"find.ndcg@{k}" in figures:
        served, own, ratio = (
            _told(figures, f"find.{name}") for name in (f"ndcg@{k}", f"own_counts.ndcg@{k}", "over_own_counts")
        )
        words = f"NDCG@{k} {served}; each shopper's bare counts, ties by item: {own}; one over the other: {ratio}"
        lines += ["", f'The list that `intent="find"` serves: {words}']
    return "\n".join(lines) + "\n"


def table_of_served(served: Served, *, k: int) -> Table:
    """Return what is kept as a table that fits a terminal."""
    head, rows = _served_head(k), _served_rows(served, k)
    shown = [head.index(name) for name in ("list", NDCG, "kept (95 %)", "filled")]
    cells = [[row[at] for at in shown] for row in rows]
    return _on_screen(f"What policies leave of the recommender alone, {k} slots", [head[at] for at in shown], cells)


def markdown_of_served(served: Served, *, k: int) -> str:
    """Return the table in Markdown, and for each group of shoppers the NDCG with its interval."""
    figures = served.figures
    sizes = [f"{name} ({figures[f'served.{served.lists[0]}.{name}.users']:,.0f})" for name in served.groups]
    by_group = [
        [label, *(_told(figures, f"served.{label}.{name}.ndcg@{k}") for name in served.groups)]
        for label in served.lists
    ]
    lines = [
        f"What policies leave of the recommender alone: slates of {k} to shoppers who had bought before.",
        "Truth is what they bought then and not before. `kept` is over `raw`, paired by shopper; `.profile` has every slot",
        "from the profile.",
        "", *_markdown(_served_head(k), _served_rows(served, k)), "", f"NDCG@{k} by group of shoppers:", "",
        *_markdown(["list", *sizes], by_group),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _served_head(k: int) -> list[str]:
    return ["list", NDCG, "kept (95 %)", f"recall@{k}", "novelty", "diversity", "coverage", "gini", "filled"]


def _served_rows(served: Served, k: int) -> list[list[str]]:
    figures = served.figures
    return [
        [
            label,
            _told(figures, f"served.{label}.ndcg@{k}"),
            _told(figures, f"served.{label}.kept"),
            *(f"{figures[f'served.{label}.{name}@{k}']:.4f}" for name in ("recall", "novelty", "diversity", "coverage", "gini")),
            f"{figures[f'served.{label}.filled']:.1%}",
        ]
        for label in served.lists
    ]  # fmt: skip


def _head() -> list[str]:
    return ["model", "protocol", "users", NDCG, *SHOWN, "fit s"]


def _rows(figures: Mapping[str, float], labels: Sequence[str], protocols: Sequence[str], k: int) -> list[list[str]]:
    return [
        [
            label,
            protocol,
            f"{figures[f'{label}.{protocol}.users']:,.0f}",
            _told(figures, f"{label}.{protocol}.ndcg@{k}"),
            *(f"{figures[key]:.4f}" if (key := f"{label}.{protocol}.{name}@{k}") in figures else "" for name in SHOWN),
            f"{figures[label + '.fit_seconds']:.1f}",
        ]
        for protocol in protocols
        for label in labels
    ]


def _told(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.4f} ({figures[name + '.low']:.4f}–{figures[name + '.high']:.4f})"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _on_screen(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=f"{title}; more in table.md", box=box.SIMPLE, pad_edge=False)
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place and name != "protocol" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
