"""Are people followed around, and would the replay notice?"""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundary.ledger import open_ledger
from boundary.words import MICROSECONDS_A_DAY, SOURCE_NAMES, Tier
from experiments.replay import longest_run, nth_in_window, over_caps, replay, replayed
from experiments.visits import LabError, Stage, some_users
from recsys.engine import Engine
from recsys.shop import latest

DAY = MICROSECONDS_A_DAY


def test_no_cap_is_exceeded(lab, tmp_path):
    """Under the default policy, over half a year of visits."""
    figures = replay(lab.bundle, lab.policy, tmp_path, days=180, users=40, n=6)
    assert figures["over_cap_rate"] == 0
    assert 0 < figures["fill"] <= 1
    assert figures["visits"] > 40
    assert json.loads((tmp_path / "figures.json").read_text()) == pytest.approx(figures)
    weeks = pl.read_csv(tmp_path / "weeks.csv")
    assert weeks["visits"].sum() == figures["visits"]
    assert len(pl.read_parquet(tmp_path / "exposures.parquet")) == figures["impressions"]


def test_without_the_cap_the_replay_finds_what_is_over_it(lab):
    """The count is made without the rules, so it does not believe them."""
    loose = lab.policy.replace(
        {"rules.item_cap.times": None, "overrides.surface.home": {}, "rules.fatigued.times": None}
    )
    counted = []
    for policy in (loose, lab.policy):
        stage, book = Stage(lab.bundle, policy), open_ledger("sqlite://")
        until = latest(lab.shop.events)
        days = replayed(stage, some_users(lab.bundle, 60, 1), since=until - 60 * DAY, until=until, n=6, surface="home",
                        intent="browse", ledger=book)  # fmt: skip
        parts = []
        for day in days:
            kept, owner = day.verdict.kept, day.verdict.candidates.user_row
            parts.append(pl.DataFrame({
                "user": day.users[owner[kept]], "item": day.verdict.candidates.item_row[kept].astype(np.int64),
                "at": np.full(kept.sum(), day.now), "source": day.verdict.candidates.source[kept],
                "tier": day.tier[owner[kept]], "noted": day.noted[owner[kept]],
            }))  # fmt: skip
        book.close()
        strict = Stage(lab.bundle, lab.policy.replace({"rules.item_cap.times": 1}))
        rates = over_caps(pl.concat(parts), strict, surface="home", intent="browse")
        counted.append(rates["over_cap_rate.item_cap"])
    assert counted[0] >= counted[1] > 0


@pytest.mark.parametrize(("surface", "noted"), [("home", False), ("email", True)])
def test_the_ledger_is_left_as_the_engine_leaves_it(lab, surface, noted):
    """Of shoppers who did not agree only messages are noted, of the others everything, visit by visit."""
    bundle, until = lab.bundle, latest(lab.shop.events)
    agreed = bundle.customers.agreed_to("personalise")
    told = bundle.customers.known & bundle.customers.agreed_to("email")
    users = np.concatenate([np.flatnonzero(told & ~agreed)[:12], np.flatnonzero(told & agreed)[:3]])
    book, own = open_ledger("sqlite://"), open_ledger("sqlite://")
    stage = Stage(bundle, lab.policy.replace({"rules.channel_gap.enforce": "off", "rules.quiet_hours.enforce": "off"}))
    days = replayed(stage, np.sort(users), since=until - 30 * DAY, until=until, n=6, surface=surface, intent="browse",
                    ledger=book)  # fmt: skip
    for day in days:
        past = replace(bundle, path=None, history=bundle.history.only(bundle.history.at < day.now))
        engine = Engine(past, ledger=own, policy=stage.policy)
        for user in day.users.tolist():
            slate = engine.score(bundle.user_ids[user], n=6, surface=surface, now=day.now)
            assert engine.shown(slate) == slate.reserved
    left = {user: [lines(ledger, bundle.user_ids[user]) for ledger in (book, own)] for user in users.tolist()}
    book.close()
    own.close()
    for one, other in left.values():
        assert one == other
    assert any(left[user][0] for user in users.tolist() if not agreed[user]) == noted
    assert any(left[user][0] for user in users.tolist() if agreed[user])


def lines(ledger, user_id):
    """What a ledger holds of a shopper, but for the slates' names."""
    return sorted((e.at, e.item_id, e.surface, e.position, e.source, e.confirmed) for e in ledger.read(user_id, 0)[0])


def test_a_guest_who_gets_the_same_message_too_often_is_over_the_cap(lab):
    """Messages are noted of guests too, so their caps are counted; elsewhere nothing of them is."""
    now = latest(lab.shop.events)
    seen = pl.DataFrame({"user": [1] * 5, "item": [4] * 5, "at": [now + day * DAY for day in range(5)],
                         "source": [SOURCE_NAMES.index("crowd")] * 5, "tier": [int(Tier.GUEST)] * 5})  # fmt: skip
    stage = Stage(lab.bundle, lab.policy.replace({"overrides.surface.email": {}}))
    rates = [
        over_caps(seen.with_columns(noted=pl.lit(noted)), stage, surface="email", intent="browse")
        for noted in (True, False)
    ]
    assert [rate["over_cap_rate.item_cap"] for rate in rates] == [0.4, 0.0]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 20), st.booleans()), max_size=30),
    st.integers(0, 8),
)
def test_the_place_in_the_window_is_counted_as_one_would_by_hand(rows, days):
    """Noted impressions of the same user and code, later than the window's begin."""
    user, code, at, noted = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.empty(0, int)] * 4
    found = nth_in_window(user, code, at * DAY, noted.astype(bool), days)
    for place, (one, what, when, counts) in enumerate(rows):
        mine = [p for p, r in enumerate(rows) if r[:2] == (one, what) and r[3] and (r[2], p) <= (when, place)]
        inside = [p for p in mine if rows[p][2] > when - days]
        assert found[place] == (len(inside) if counts else 0) or (counts and days == 0)


def test_a_run_ends_where_a_visit_goes_without_the_item():
    """Two in a row, one without, one more: the longest is two."""
    served = pl.DataFrame({"user": [1] * 4, "at": [1, 2, 3, 4]})
    seen = pl.DataFrame({"user": [1] * 3, "item": [5] * 3, "at": [1, 2, 4]})
    assert longest_run(seen, served) == 2


def test_a_time_without_visits_is_told(lab, tmp_path):
    """In one line."""
    with pytest.raises(LabError, match="`days` must be at least 1"):
        replay(lab.bundle, lab.policy, tmp_path, days=0)
