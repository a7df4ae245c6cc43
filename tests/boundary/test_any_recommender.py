"""The boundary in front of any recommender: a plain frame of (user, item, score) that no other code of this tree made.

Read from top to bottom this is the shortest way to use the boundary alone: tables in, a frame of candidates in, a
verdict out.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from boundary import (
    Candidates,
    Catalogue,
    Context,
    Customers,
    Exposures,
    Gate,
    History,
    Policy,
    Taxonomy,
    read_table,
)
from boundary.candidates import CandidateError
from boundary.taxonomy import Entry

NOW = dt.datetime(2026, 6, 1, 9, tzinfo=dt.UTC)
MICROS = int(NOW.timestamp() * 1_000_000)
CONTEXT = Context(surface="home", intent="browse", n=3, now=MICROS)

CATALOGUE = pl.DataFrame(
    {
        "item_id": ["bread", "tea", "čaj 🍵", "nappies", "lamp"],
        "title": ["Rye bread", "Green tea", "Čaj", "Nappies", "Reading lamp"],
        "category": ["bakery", "tea", "tea", "baby care", "lamps"],
        "brand": ["mill", "leaf", "leaf", "soft", None],
        "price": [2.0, 4.0, 4.0, 9.0, 0.0],
        "kind": ["product"] * 5,
        "created_at": [NOW - dt.timedelta(days=900)] * 5,
        "promoted": [False, False, False, False, True],
        "replenish_days": [3.0, 30.0, 30.0, 14.0, None],
    }
)
EVENTS = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "bob"],
        "item_id": ["bread", "lamp", "tea"],
        "kind": ["purchase", "purchase", "view"],
        "at": [NOW - dt.timedelta(days=9), NOW - dt.timedelta(days=99), NOW - dt.timedelta(days=1)],
        "quantity": [1.0, 1.0, None],
        "unit_price": [2.0, 30.0, None],
    }
)
CUSTOMERS = pl.DataFrame(
    {
        "user_id": ["ann", "bob"],
        "consent": [["personalise"], []],
        "opted_out": [False, False],
        "channels": [[], []],
        "timezone": ["Europe/Prague", "UTC"],
        "since": [NOW - dt.timedelta(days=500), NOW - dt.timedelta(days=500)],
    },
    schema_overrides={"consent": pl.List(pl.String), "channels": pl.List(pl.String)},
)
PLAIN = pl.DataFrame(  # what any recommender can give: who, what, how well it fits; best first
    {
        "user_id": ["ann", "ann", "ann", "ann", "bob", "bob", "bob"],
        "item_id": ["čaj 🍵", "nappies", "lamp", "bread", "tea", "bread", "unheard of"],
        "score": [0.9, 0.8, 0.7, 0.6, 0.9, 0.5, 0.4],
        "source": ["crowd"] * 7,
    }
)


def decide(frame: pl.DataFrame, policy: Policy, context: Context = CONTEXT):
    """Put a frame of candidates to the boundary: six lines are all that it takes."""
    taxonomy = Taxonomy(entries=(Entry(family="baby", category=("baby care",)),))
    things = Catalogue.compile(
        read_table(CATALOGUE, "catalogue").rows, taxonomy, support=np.full(5, 50), proxy_lift=np.ones((1, 5)), proxy_z=np.zeros((1, 5))
    )  # fmt: skip
    candidates = Candidates.from_frame(frame, things.row_of)
    ids = candidates.user_ids
    history = History.from_frame(read_table(EVENTS, "events").rows, ids, things.row_of)
    customers = Customers.compile(read_table(CUSTOMERS, "customers").rows, ids, things.families)
    exposures = Exposures.empty(len(ids))
    gate = Gate(things, policy)
    shoppers = gate.meet(customers, history, exposures, now=context.now)
    return gate.screen(candidates, shoppers=shoppers, history=history, exposures=exposures, context=context)


def test_a_plain_frame_goes_in_and_a_frame_with_reasons_comes_out() -> None:
    """Every row comes back in its order, kept or with its reasons."""
    told = decide(PLAIN, Policy.named("default")).to_frame()
    assert told["user_id"].to_list() == PLAIN["user_id"].to_list()
    assert told["score"].to_list() == pytest.approx(PLAIN["score"].to_list())
    assert told["item_id"].to_list() == ["čaj 🍵", "nappies", "lamp", "bread", "tea", "bread", None]
    assert told["reasons"].to_list() == [
        [],
        ["sensitive_category"],
        ["owned"],  # a lamp lasts
        [],
        [],  # bob agreed to nothing: that he looked at tea is not known here
        [],
        ["unknown"],
    ]
    assert told["kept"].to_list() == [not reasons for reasons in told["reasons"].to_list()]
    assert told["position"].to_list() == [0, None, None, 1, 0, 1, None]


def test_without_a_source_every_row_counts_as_personal() -> None:
    """What a recommender does not say is taken in the strict sense: unmeasured is not close enough to be shown."""
    told = decide(PLAIN.drop("source"), Policy.named("default")).to_frame()
    assert not told["kept"].any()
    assert all({"too_close", "single_trace", "unexplainable"} <= set(r) for r in told["reasons"].to_list()[:-1])


def test_what_is_measured_opens_the_door() -> None:
    """With closeness, trace and evidence a personal row can be shown; the same row too close cannot."""
    rich = PLAIN.head(1).with_columns(
        source=pl.lit("personal"), closeness=pl.lit(1.0), trace_share=pl.lit(0.4), evidence_id=pl.lit("bread")
    )
    regular = {f"tiers.{tier}.purchases": 0 for tier in ("newcomer", "regular")}
    policy = Policy.named("default").replace(regular | {"rules.profile_share.most": 1})
    assert decide(rich, policy).kept.tolist() == [True]
    assert decide(rich.with_columns(closeness=pl.lit(9.0)), policy).reasons(0) == ["too_close"]
    assert decide(rich.with_columns(evidence_id=pl.lit("nappies")), policy).reasons(0) == ["stale", "unexplainable"]


def test_rows_of_one_user_may_lie_apart() -> None:
    """Users keep the order of their first row, and rows their order within the user."""
    mixed = PLAIN[[4, 0, 5, 1, 2, 6, 3]]
    block = Candidates.from_frame(mixed, {"bread": 0})
    assert list(block.user_ids) == ["bob", "ann"]
    assert block.offsets.tolist() == [0, 3, 7]
    assert block.score.tolist() == pytest.approx([0.9, 0.5, 0.4, 0.9, 0.8, 0.7, 0.6])
    assert block.item_row.tolist() == [-1, 0, -1, -1, -1, -1, 0]


def test_an_empty_frame_is_a_block_of_nobody() -> None:
    """Nothing in, nothing out."""
    verdict = decide(PLAIN.head(0), Policy.named("default"))
    assert verdict.candidates.users == verdict.candidates.rows == len(verdict.to_frame()) == 0
    assert verdict.counts() == {}


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (PLAIN.drop("score"), "candidates need a column `score`; found user_id, item_id, source"),
        (PLAIN.with_columns(user_id=pl.lit(None, pl.String)), "candidates have a null user_id"),
        (
            PLAIN.with_columns(source=pl.Series(["friends", "ads"] * 9).head(len(PLAIN))),
            "source must be one of personal, .* but got 'ads'",
        ),
        (PLAIN.with_columns(source=pl.lit("friends")), "source must be one of personal, .* but got 'friends'"),
        (PLAIN.with_columns(source=pl.lit(None, pl.String)), "but got 'None'"),
        (PLAIN.with_columns(user_id=pl.lit(7.0)), "column `user_id` holds Float64; give text or whole numbers"),
        (PLAIN.with_columns(item_id=pl.lit([1])), "column `item_id` holds .*; give text or whole numbers"),
        (PLAIN.with_columns(evidence_id=pl.lit(0.5)), "column `evidence_id` holds Float64"),
        (PLAIN.with_columns(score=pl.lit([1.0])), "column `score` holds List.*; give numbers"),
        (PLAIN.with_columns(closeness=pl.lit(NOW)), "column `closeness` holds Datetime.*; give numbers"),
        (PLAIN.lazy(), "must be a polars.DataFrame but got a polars.LazyFrame; convert or collect it first"),
        ({"user_id": ["ann"]}, "must be a polars.DataFrame but got a builtins.dict"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused(frame: pl.DataFrame, line: str) -> None:
    """The line names the column and what was found."""
    with pytest.raises(CandidateError, match=line):
        Candidates.from_frame(frame, {})


@pytest.mark.parametrize(
    "kind", [pl.Categorical, pl.Enum(sorted({*PLAIN["user_id"], *PLAIN["item_id"], "crowd"})), pl.String]
)
def test_ids_may_be_categories(kind: pl.DataType) -> None:
    """However a frame keeps its words, they are the same words."""
    told = Candidates.from_frame(
        PLAIN.with_columns(
            pl.col("user_id", "item_id", "source").cast(kind), score=pl.col("score").cast(pl.Decimal(9, 2))
        ),
        {"tea": 0, "bread": 1},
    )
    assert list(told.user_ids) == ["ann", "bob"]
    assert told.item_row.tolist() == [-1, -1, -1, 1, 0, 1, -1]
    assert told.score.tolist() == pytest.approx(PLAIN["score"].to_list())


def test_odd_cells_are_withheld_and_not_guessed() -> None:
    """A null item, a score that is no number and numeric ids go through as what they are."""
    odd = pl.DataFrame({"user_id": [7, 7, 7], "item_id": ["tea", None, "bread"], "score": ["0.5", "0.4", "many"]})
    block = Candidates.from_frame(odd, {"tea": 0, "bread": 1})
    assert list(block.user_ids) == ["7"]
    assert block.item_row.tolist() == [0, -1, 1]
    assert np.isnan(block.score).tolist() == [False, False, True]


def test_the_boundary_needs_no_recommender() -> None:
    """Importing and using it loads none of the other floors, nor any library of theirs."""
    code = (
        "import sys, boundary, boundary.gate, boundary.policy, boundary.cases\n"
        "print(sorted({n.split('.')[0] for n in sys.modules} & "
        "{'recsys', 'experiments', 'data', 'implicit', 'mlflow', 'sklearn', 'redis', 'fastapi'}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
    light = subprocess.run(
        [sys.executable, "-c", "import sys, boundary; print({'polars', 'numba', 'pydantic'} & set(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert light.stdout.strip() == "set()"
