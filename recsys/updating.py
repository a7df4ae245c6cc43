"""What does a fitted shop make of today's news? New events, shoppers and items, without training anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from boundary.history import History
from recsys.asked import micros
from recsys.fitting import Shelf, Step, bundle_of
from recsys.shop import latest

if TYPE_CHECKING:
    from recsys.bundle import Bundle

    Flags = npt.NDArray[np.bool_]

_EVENT = pl.Schema({"user_id": pl.String(), "at": pl.Datetime("us", "UTC")})
_COLUMNS = ("item_row", "kind", "at", "unit_price", "quantity")


class News(NamedTuple):
    """A bundle that knows the news, and how many users, items and events it knows more than before.

    ``known_before`` counts the events that were there already, and so were not taken twice; ``ahead`` those that lie
    after ``now``, and so were left out.
    """

    bundle: Bundle
    users: int
    items: int
    events: int
    known_before: int
    ahead: int


def update_bundle(
    bundle: Bundle,
    *,
    now: int | None = None,
    events: pl.DataFrame | None = None,
    catalogue: pl.DataFrame | None = None,
    customers: pl.DataFrame | None = None,
    step: Step | None = None,
) -> News:
    """Take up news; the same news twice changes nothing more.

    New shoppers and new events count at once, since a shopper's vector is computed from their events. An item that was
    not taken in training gets a vector from the first who take it, where the model can do this (``Recommender.grown``);
    one that nobody took is in no profile's list and is met through explore slots. An event of an item that the catalogue
    does not hold is no evidence; it becomes one when it comes again and the catalogue holds the item. What the boundary learns, proxies, support, blindfold and crowd
    shelf, is learned from all events again. Rows of items and shoppers stay what they were.

    Args:
        bundle: fitted.
        now: microseconds UTC, events after it are left out; None is after the last one, known or new, that does not
            lie ahead of the clock.
        events: new rows of ``boundary.tables``.
        catalogue: rows of new items, and of known ones in place of what was known of them.
        customers: likewise of shoppers; whoever has no row here keeps the one they have.
        step: is told what is being done.
    """
    tell = step or (lambda _what, _share: None)
    tell("reading the news", 0.0)
    if now is None:
        now = _reached(bundle, events)
    stock = _upserted(bundle.catalogue_table, catalogue, "item_id")
    come = pl.DataFrame(schema=_EVENT) if events is None else events
    if events is not None:
        come = come.filter(pl.col("at").dt.timestamp("us") <= now)
    ahead = 0 if events is None else len(events) - len(come)
    come, told, left_out = bundle.forgotten.leave_out(come, customers)
    fresh = pl.concat([come["user_id"].cast(pl.String), *([] if told is None else [told["user_id"].cast(pl.String)])])
    strangers = [user for user in fresh.unique().sort().to_list() if user not in bundle.user_row]
    user_ids = [*bundle.user_ids, *strangers]
    history, known_before = bundle.history, 0
    if len(come):
        row_of = {item: row for row, item in enumerate(stock["item_id"].to_list())}
        history, known_before = joined(history, _grouped(come, user_ids, row_of))
    elif strangers:
        history, _ = joined(history, History.empty(len(user_ids)))
    people = bundle.customers_table if told is None else _upserted(bundle.customers_table, told, "user_id")
    made = bundle_of(
        history, user_ids, stock, people, taxonomy=bundle.taxonomy, policy=bundle.policy, weighing=bundle.weighing,
        now=now, seed=int(bundle.facts["seed"]), shelf=Shelf(), forgotten=bundle.forgotten, left_out=left_out, tell=tell,
        train=lambda evidence, _progress: bundle.model.grown(evidence, seed=int(bundle.facts["seed"])),
    )  # fmt: skip
    trained = bundle.facts.get("trained_for", bundle.facts["fitted_for"])
    made = replace(made, facts=made.facts | {"trained_for": trained}, path=bundle.path, seen=bundle.seen)
    return News(
        made,
        users=len(strangers),
        items=len(stock) - len(bundle.catalogue_table),
        events=len(history.at) - len(bundle.history.at),
        known_before=known_before,
        ahead=ahead,
    )


def _reached(bundle: Bundle, events: pl.DataFrame | None) -> int:
    """Return the moment after the last event, known or new, that does not lie ahead of the clock."""
    present, fitted_for = micros(None), int(bundle.facts["fitted_for"])
    if fitted_for > present:  # an event with a wrong date got into the fit
        reached = bundle.history.at[bundle.history.at < present]
        fitted_for = int(reached.max()) + 1 if len(reached) else present
    return max(fitted_for, 0 if events is None else latest(events, until=present))


def joined(old: History, new: History) -> tuple[History, int]:
    """Join the events of the same shoppers, more of whom may be in ``new``; what is in both counts once.

    Two events are the same where shopper, item, kind, moment, price and quantity are. Of items that the catalogue does
    not hold no id is kept: of their events that agree in all else there are then as many as in ``old`` or in ``new``,
    whichever has more. One of ``old`` gives way to a new event of a known item that agrees in all else: the item is known
    by now. Returns also how many of ``new`` were known, those that something gave way to included.

    Example:
        >>> one = History(np.array([0, 1]), np.array([3]), np.array([2]), np.array([5]), np.ones(1), np.ones(1))
        >>> both, known = joined(one, one)
        >>> len(both.at), known
        (1, 1)
    """
    users = np.concatenate([old.user_row, new.user_row])
    columns = [np.concatenate([getattr(old, name), getattr(new, name)]) for name in _COLUMNS]
    item, kind, at, price, quantity = columns
    from_new = np.arange(len(users)) >= len(old.at)
    order = np.lexsort((from_new, item, quantity, price, kind, at, users))
    alike = np.ones(len(order), bool)  # to the one before it, but for the item
    for column in (users, at, kind, price, quantity):
        one, other = column[order[1:]], column[order[:-1]]
        alike[1:] &= (one == other) | ((one != one) & (other != other))  # noqa: PLR0124 (NaN is not itself)
    alike[:1] = False
    item, from_new = item[order], from_new[order]
    same = alike.copy()
    same[1:] &= item[1:] == item[:-1]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))  # of each run of equal events
    known = same & from_new & ~from_new[first] & (item >= 0)
    gone = _settled(alike, item < 0, from_new, known)
    kept = np.sort(order[~(known | gone)])
    owner = users[kept]
    kept = kept[np.lexsort((at[kept], owner))]
    sizes = np.bincount(users[kept], minlength=new.users)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return History(offsets, *(column[kept] for column in columns)), int(known.sum() + gone.sum())


def _settled(alike: Flags, unknown: Flags, from_new: Flags, known: Flags) -> Flags:
    """Return which events of unknown items, (E,), count as another one: new ones as old ones, old ones as learned ones.

    The events lie in runs of those that are ``alike`` but for the item: unknown items first, and of them the old ones. A
    learned event is a new one of a known item that is not ``known`` yet.
    """
    if not (unknown & ~from_new).any():
        return np.zeros_like(unknown)
    run = np.cumsum(~alike) - 1

    def count(mask: Flags) -> npt.NDArray[np.int64]:
        return np.bincount(run[mask], minlength=run[-1] + 1)

    old, new, learned = count(unknown & ~from_new), count(unknown & from_new), count(~unknown & from_new & ~known)
    again = np.minimum(old, new)
    replaced = np.minimum(learned, old - again)
    place = np.arange(len(run)) - np.flatnonzero(~alike)[run]
    place = np.where(from_new, place - old[run], place)
    return unknown & (place < np.where(from_new, again[run], replaced[run]))


def _grouped(events: pl.DataFrame, user_ids: list[str], row_of: dict[str, int]) -> History:
    """Group events by shopper; the empty id is the row of somebody who was forgotten, and has none."""
    distinct = [user or f"\0{row}" for row, user in enumerate(user_ids)]
    return History.from_frame(events, distinct, row_of)


def _upserted(old: pl.DataFrame | None, new: pl.DataFrame | None, key: str) -> pl.DataFrame:
    """Return a table with rows replaced by newer ones of the same key, in their place, and the others at the end."""
    if new is None or old is None:
        found = old if new is None else new
        assert found is not None  # noqa: S101 (one of the two is there)
        return found
    newest = new.unique(key, keep="last", maintain_order=True).select(
        pl.col(name).cast(kind) if name in new.columns else pl.lit(None, kind).alias(name)
        for name, kind in old.schema.items()
    )
    places = old.select(pl.col(key)).with_row_index("place")
    ordered = newest.join(places, on=key, how="left", maintain_order="left")
    kept = old.with_row_index("place").join(newest.select(key), on=key, how="anti", maintain_order="left")
    both = pl.concat([kept.select(*old.columns, "place"), ordered.select(*old.columns, "place")])
    return both.sort("place", nulls_last=True, maintain_order=True).drop("place")
