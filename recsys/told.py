"""What the shop's commands say when they are done: of a slate, of the demo, and of what a fit leaves to be mended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.display import console, grid_of, noted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boundary.taxonomy import Taxonomy
    from recsys.bundle import Bundle
    from recsys.engine import Engine
    from recsys.slates import Slate

ENOUGH = 100  # items with enough buyers that slates need not stay short
IDLE_TOLD = 3  # entries of a taxonomy that are named one by one


def show(slate: Slate, engine: Engine) -> None:
    """Print a slate as a table, and what was withheld."""
    grid = grid_of("", "item", "title", "source", "why", title=f"{slate.user_id}: {slate.tier}")
    for place, item in enumerate(slate.items, 1):
        title = engine.bundle.titles[engine.gate.catalogue.row_of[item.item_id]]
        grid.add_row(str(place), item.item_id, title, item.source, item.why)
    console.print(grid)
    console.print(f"withheld: {counts_in(slate.withheld)}")
    if slate.closed:
        console.print(f"the profile was left alone: {', '.join(slate.closed)}")


def counts_in(counts: Mapping[str, int]) -> str:
    """Return counts by reason as a line."""
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items()) or "nothing"


def tell_rare(bundle: Bundle) -> None:
    """Warn where most of the catalogue was bought by too few to be suggested: slates stay short."""
    from boundary.rules.personal import LowSupport

    products = ~bundle.catalogue.gesture
    least = max((rule.k or 0 for rule in bundle.policy.rules.values() if isinstance(rule, LowSupport)), default=0)
    rare, size = int((bundle.support[products] < least).sum()), int(products.sum())
    if rare > size // 2 and size - rare < ENOUGH:
        told = f"{rare:,} of {size:,} items have fewer than {least:.10g} buyers and can only be explored, so slates stay short"
        console.print(noted("catalogue:", f"{told}; the policy's rules.low_support.k says how many are asked for"))


def tell_idle(taxonomy: Taxonomy, bundle: Bundle) -> None:
    """Warn of entries that protect nobody, most of all where that is every one."""
    idle, entries = taxonomy.idle(bundle.catalogue_table), taxonomy.entries
    if len(idle) == len(entries):
        why = "not one entry matches an item" if entries else "it has no entries"
        mend = "; write the shop's own families and give them as --taxonomy"
        console.print(noted("taxonomy:", f"{why}, so ").append("nothing here counts as sensitive", "bold").append(mend))
        return
    for entry in idle[:IDLE_TOLD]:
        places = entry.department or entry.category or entry.type
        console.print(noted("taxonomy:", f"an entry of {entry.family!r} matches no item: {', '.join(places)}"))
    if len(idle) > IDLE_TOLD:
        console.print(noted("taxonomy:", f"nor do {len(idle) - IDLE_TOLD} more of the {len(entries)} entries"))


def tell_demo(manifest: dict[str, Any], judged: Any, out: Path, report: Path, seconds: float) -> None:
    """Print what the demo has shown, withheld and kept of the quality, and where it lies."""
    console.print()
    slots = manifest["sources"]
    told = ", ".join(f"{count:,} {name}" for name, count in slots.items())
    console.print(
        noted(f"{manifest['scored']:,} households", f"scored, {manifest['shown']:,} slots shown: {told}", "bold")
    )
    top = [(r, c) for r, c in manifest["withheld"].items() if r not in {"slate_full", "repeated"}][:6]
    console.print("withheld most often: " + ", ".join(f"{reason} {count:,}" for reason, count in top))
    console.print(
        f"discovery NDCG@20 on later weeks: {judged.raw:.4f} without the boundary, {judged.profile:.4f} for the "
        f"profile's list with it, {judged.slate:.4f} for the whole slate ({100 * judged.slate / judged.raw:.0f} % kept)"
    )
    for label, name in (
        ("slates", "slates.parquet"), ("withheld", "withheld.parquet"), ("bundle", "bundle"), ("report", report.name),
    ):  # fmt: skip
        console.print(f"  {label:<9} {out / name}")
    console.print(f"done in {seconds:.0f} seconds")
