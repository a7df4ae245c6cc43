"""What did an evaluation find? Its flat figures as tables that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

SHOWN = ("recall", "map", "serendipity", "novelty", "diversity", "coverage", "gini")


def table_of(figures: Mapping[str, float], *, labels: Sequence[str], protocols: Sequence[str], k: int) -> Table:
    """Return flat figures as a table: a line for each label and protocol, NDCG with its interval."""
    table = Table(title=f"Full ranking, first {k}; intervals are 95 % over users")
    for name in _head():
        table.add_column(name, justify="left" if name in {"model", "protocol"} else "right")
    for row in _rows(figures, labels, protocols, k):
        table.add_row(*row)
    return table


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


def _head() -> list[str]:
    return ["model", "protocol", "users", "NDCG (95 %)", *SHOWN, "fit s"]


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
    return f"{figures[name]:.4f} ({figures[name + '.low']:.4f} – {figures[name + '.high']:.4f})"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
