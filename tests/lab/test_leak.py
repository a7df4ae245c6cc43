"""Is what the boundary learned kept from those it is judged on, and does the attack see what is served?"""

import csv
import json

import numpy as np
import pytest

from boundary.taxonomy import Taxonomy
from experiments.crossfit import Households, Lists, proxies_of
from experiments.leak import history_features, measure_leak
from experiments.leak_found import Terms
from experiments.visits import LabError
from recsys.engine import Engine
from recsys.quality import without_boundary
from recsys.shop import fit_shop, latest

TERMS = Terms(n=8, seeds=1, fewest=24, room=-1.0, boosting=False)


@pytest.fixture(scope="module")
def home(lab):
    return Households(lab.bundle, now=latest(lab.shop.events))


def lists_of(shown):
    return [row.tolist() for row in np.split(shown.item_row, shown.offsets[1:-1])]


def measured(lab, out, **changes):
    asked = {"taxonomy": lab.taxonomy, "policy": lab.policy, "choice": lab.choice, "terms": TERMS} | changes
    return measure_leak(lab.shop, out=out, **asked)


@pytest.fixture(scope="module")
def attacked(lab, tmp_path_factory):
    out = tmp_path_factory.mktemp("attack")
    terms = Terms(n=8, seeds=1, fewest=24, room=-1.0, boosting=True)

    def groups(ids):
        odd = np.array([[float(int(user[-1], 36) % 2), np.nan] for user in ids])
        return ["odd", "nobody"], odd

    return out, measured(lab, out, terms=terms, groups=groups)


# --- learned on others ------------------------------------------------------------------------------------------------


def test_a_part_is_served_what_the_others_taught(lab, home):
    """Whoever the households of a part are, what they are served was learned without them."""
    evidence, policy = home.evidence(lab.policy), lab.policy.replace({"blind.fewest_buyers": 10})
    before = home.crossed(policy, evidence, parts=2, seed=1)
    others = Households(lab.bundle, now=home.now)
    others.told = home.told.copy()
    others.told[before[0].rows] = np.roll(others.told[before[0].rows], 1, axis=0)
    after = others.crossed(policy, evidence, parts=2, seed=1)
    assert np.array_equal(before[0].bundle.blindfold.matrix, after[0].bundle.blindfold.matrix)
    assert np.array_equal(before[0].bundle.proxies.lift, after[0].bundle.proxies.lift)
    assert not np.array_equal(before[1].bundle.blindfold.matrix, after[1].bundle.blindfold.matrix)
    assert not np.array_equal(before[1].bundle.proxies.lift, after[1].bundle.proxies.lift)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_every_household_is_in_one_part_and_lists_keep_their_order(lab, home, parts):
    """Dealt, listed and put together again."""
    evidence = home.evidence(None)
    learned = home.crossed(lab.policy, evidence, parts=parts, seed=4)
    assert sorted(np.concatenate([part.rows for part in learned]).tolist()) == list(range(len(home.ids)))
    listed = home.ranked(learned, n=5, evidence=evidence)
    whole = home.bundle.model.top(evidence, k=5, exclude=home.bought)
    assert np.array_equal(listed.offsets, whole.offsets)
    assert np.array_equal(listed.item_row, whole.item_row)


def test_learned_on_all_the_slates_are_those_that_the_engine_serves(lab, home):
    """One way out: what is attacked is what would be shown."""
    learned = home.crossed(lab.policy, home.evidence(lab.policy), parts=1, seed=0)
    slates = home.screened(learned, home.proposed(learned, lab.policy, n=8), lab.policy)
    answer = Engine(lab.bundle, ledger=None).score_block(home.ids, n=8, now=home.now, read_ledger=False)
    shown = answer.candidates.item_row[answer.verdict.kept]
    assert np.array_equal(slates.item_row, shown)


def test_means_alone_do_what_they_say(lab, home):
    """The evidence holds what is sensitive of those alone who opted in; the second door shows neither it nor proxies."""
    admitted = home.evidence(lab.policy)
    owner = np.repeat(np.arange(len(home.ids)), np.diff(admitted.indptr))[home.sensitive[admitted.indices]]
    assert (home.bundle.customers.take(home.users).optin_bits[owner] != 0).all()
    assert home.sensitive[home.evidence(None).indices].sum() > len(owner)
    learned = home.crossed(lab.policy, home.evidence(None), parts=2, seed=0)
    closed = [home.sensitive | proxies_of(part.bundle, lab.policy) for part in learned]
    listed = home.ranked(
        learned, n=8, evidence=home.evidence(None), closed=lambda part: closed[0 if part is learned[0] else 1]
    )
    rows = lists_of(listed)
    assert not any(closed[place][rows[user]].any() for place, part in enumerate(learned) for user in part.rows)


def test_the_guests_see_one_list(lab, home):
    """Whoever asks."""
    rows = lists_of(home.guests(lab.policy, n=6))
    assert len(rows) == len(home.ids)
    assert all(row == rows[0] for row in rows)


def test_a_proxy_rule_that_is_null_closes_nothing(lab, home):
    """No cap is no cap."""
    open_policy = lab.policy.replace({"rules.sensitive_proxy.z": None})
    part = home.crossed(lab.policy, home.evidence(None), parts=1, seed=0)[0]
    assert not proxies_of(part.bundle, open_policy).any()
    assert proxies_of(
        part.bundle, lab.policy.replace({"rules.sensitive_proxy.z": 0, "rules.sensitive_proxy.lift": 0})
    ).any()


def test_a_rule_costs_what_the_list_would_keep_without_it(attacked):
    """What all of a family cost is told too, and a rule that changes no list is not."""
    _, figures = attacked
    costs = {name for name in figures if name.startswith("ndcg_cost.")}
    assert "ndcg_cost.quiet_hours" not in costs
    assert "ndcg_cost.all_conversion" in costs
    assert costs.isdisjoint({"ndcg_cost.no_consent", "ndcg_cost.opted_out", "ndcg_cost.profile_share"})
    assert all(-1 < figures[name] < 10 for name in costs)


# --- the whole attack -------------------------------------------------------------------------------------------------


def test_the_crowd_shelf_tells_nothing_and_the_history_most(attacked):
    """Exactly one half, and above every list."""
    out, figures = attacked
    assert figures["auc.crowd"] == 0.5
    assert figures["leak_remaining.crowd"] == 0.0
    assert figures["ndcg_kept.raw"] == 1.0
    assert {"leak_remaining.raw", "leak_remaining.default", "auc.activity", "ndcg_kept.default", "ndcg_kept.profile", "ndcg_kept.default_crossfit", "ndcg_kept.profile_crossfit",
            "leak_remaining.boosting.default", "groups.leak_remaining.default"} <= set(figures)  # fmt: skip
    assert figures["auc.history"] > figures["auc.activity"]
    assert json.loads((out / "figures.json").read_text())["auc.crowd"] == 0.5


def test_what_is_too_rare_is_listed_and_not_averaged_in(lab, attacked):
    """A group that nobody is known to be in is told, with no figure."""
    out, figures = attacked
    assert "nobody: 0 members" in (out / "attack.html").read_text(encoding="utf-8")
    assert not any(name.endswith(".nobody") for name in figures)
    rows = list(csv.DictReader((out / "families.csv").read_text(encoding="utf-8").splitlines()))
    judged = {row["label"] for row in rows if row["judged"] == "True"}
    assert len(judged) == figures["families.judged"] + figures["groups.judged"]
    leaks = [
        max(float(row["leak_remaining"]), 0)
        for row in rows
        if row["list"] == "default" and row["kind"] == "family" and row["judged"] == "True"
    ]
    assert figures["leak_remaining.default"] == pytest.approx(np.mean(leaks), abs=1e-5)


def test_the_same_command_twice_gives_the_same_numbers(lab, attacked, tmp_path):
    """Fits, folds and attackers are seeded."""
    again = measured(lab, tmp_path)
    assert again == {name: value for name, value in attacked[1].items() if name in again and "groups" not in name} | {
        name: again[name] for name in ("groups.judged",)
    }


def test_a_policy_without_a_boundary_keeps_what_the_recommender_gives(lab, tmp_path):
    """No blindfold: a blindfold alone takes nothing away."""
    figures = measured(lab, tmp_path, policy=without_boundary(lab.policy))
    assert figures["leak_remaining.blindfold"] == figures["leak_remaining.raw"]
    assert figures["ndcg_kept.blindfold"] == 1.0


def test_settings_are_chosen_on_weeks_that_are_not_the_test_weeks(lab, tmp_path):
    """Whatever happens after the first 80 % of the weeks, the choice is the same."""
    from dataclasses import replace

    import polars as pl

    from recsys.quality import temporal_cut

    terms = replace(TERMS, validate=True)
    last = temporal_cut(lab.shop.events)
    at = pl.col("at").dt.timestamp("us")
    late = lab.shop.events.filter(at > last).with_columns(item_id=pl.col("item_id").reverse())
    other = replace(lab.shop, events=pl.concat([lab.shop.events.filter(at <= last), late]))
    asked = {"taxonomy": lab.taxonomy, "policy": lab.policy, "choice": lab.choice, "terms": terms}
    first = measure_leak(lab.shop, out=tmp_path / "a", **asked)
    assert measure_leak(other, out=tmp_path / "b", **asked) == first
    assert first != measured(lab, tmp_path / "c")


def test_a_shop_in_which_nothing_can_be_judged_is_told(lab, tmp_path):
    """Rather than a leak of nothing."""
    with pytest.raises(LabError, match="no sensitive family can be judged"):
        measured(lab, tmp_path, terms=Terms(n=8, seeds=1, fewest=10_000, boosting=False))
    with pytest.raises(LabError, match="`seeds` must be at least 1 but got 0"):
        Terms(seeds=0)


def test_a_model_without_vectors_has_nothing_to_blind(lab):
    """Its lists are those of before."""
    from dataclasses import replace

    now = latest(lab.shop.events)
    choice = replace(lab.choice, model="item_item", settings={})
    bundle = fit_shop(lab.shop, taxonomy=lab.taxonomy, policy=lab.policy, choice=choice, now=now)
    home = Households(bundle, now=now)
    evidence = home.evidence(None)
    learned = home.crossed(lab.policy, evidence, parts=2, seed=0)
    assert all(part.bundle.blindfold is None for part in learned)
    plain, blind = (home.ranked(learned, n=5, evidence=evidence, blinded=blinded) for blinded in (False, True))
    assert np.array_equal(plain.item_row, blind.item_row)


def test_counted_categories_are_in_the_history(lab, home):
    """As many columns more as there are categories, and the matrix given stays as it is."""
    before = home.harmless.indices.copy()
    category = np.maximum(home.category, 0)
    seen = history_features(home.harmless, category)
    assert seen.shape == (len(home.ids), home.items + category.max() + 1)
    assert np.array_equal(home.harmless.indices, before)


def test_attacking_leaves_the_lists_as_they_were():
    """Order is quality: what is read off a list must not sort it."""
    from experiments.attack import slate_features

    shown = Lists(np.array([0, 3]), np.array([2, 0, 1], np.int32))
    slate_features(shown, items=3)
    assert shown.item_row.tolist() == [2, 0, 1]


def test_the_taxonomy_of_the_bundle_says_what_is_sensitive(lab, home):
    """The families that are attacked are those that are protected."""
    bundle = fit_shop(
        lab.shop, taxonomy=Taxonomy(entries=()), policy=lab.policy, choice=lab.choice, now=latest(lab.shop.events)
    )
    assert Households(bundle, now=home.now).families == []
    assert len(home.families) == len(lab.taxonomy.families)
