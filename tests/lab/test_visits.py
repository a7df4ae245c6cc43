"""Does the stage see what the engine sees, and does the blindfold scale?"""

import numpy as np
import pytest

from boundary.history import Exposures
from boundary.words import MICROSECONDS_A_DAY
from experiments.visits import Stage, shown, some_users
from recsys.bundle import BundleError
from recsys.engine import Engine
from recsys.propose import Request
from recsys.shop import fit_shop, latest


def test_the_stage_shows_what_the_engine_shows(lab):
    """At the moment of the fit both know the same, so they decide the same."""
    now, blank = latest(lab.shop.events), Exposures.empty(len(lab.bundle.user_ids))
    stage = Stage(lab.bundle, lab.policy)
    proposal = stage.propose(some_users(lab.bundle, None, 0), Request("home", "browse", 6, now), exposures=blank)
    verdict = stage.screen(proposal, exposures=blank)
    answer = Engine(lab.bundle, ledger=None).score_block(list(lab.bundle.user_ids), n=6, now=now, read_ledger=False)
    assert np.array_equal(verdict.candidates.item_row, answer.candidates.item_row)
    assert np.array_equal(verdict.enforced, answer.verdict.enforced)


def test_nothing_that_lies_ahead_is_known(lab):
    """A visit of the past rests on earlier events alone."""
    then = latest(lab.shop.events) - 40 * MICROSECONDS_A_DAY
    users = some_users(lab.bundle, 50, 1)
    stage = Stage(lab.bundle, lab.policy)
    proposal = stage.propose(users, Request("home", "browse", 6, then), exposures=Exposures.empty(50))
    assert (proposal.history.at < then).all()
    assert len(proposal.history.at) < len(lab.bundle.history.take(users).at)


def test_a_scaled_blindfold_is_the_one_learned_at_that_strength(lab):
    """What is erased is a multiple of the strength, so one fit serves all of them."""
    settings = {"taxonomy": lab.taxonomy, "choice": lab.choice, "now": latest(lab.shop.events)}
    fewest = {"blind.fewest_buyers": 10}
    full, half = (
        fit_shop(lab.shop, policy=lab.policy.replace({**fewest, "blind.strength": strength}), **settings)
        for strength in (1.0, 0.5)
    )
    scaled = full.under(half.policy)
    assert np.allclose(scaled.blindfold.matrix, half.blindfold.matrix, atol=1e-5)
    assert np.allclose(scaled.blindfold.offset, half.blindfold.offset, atol=1e-5)
    assert np.allclose(scaled.moments.mean, half.moments.mean, atol=1e-4)


def test_a_bundle_fitted_without_blindfold_cannot_be_blinded(lab):
    """There is nothing to take a multiple of."""
    bare = fit_shop(lab.shop, taxonomy=lab.taxonomy, choice=lab.choice, now=latest(lab.shop.events),
                    policy=lab.policy.replace({"blind.strength": 0.0}))  # fmt: skip
    with pytest.raises(BundleError, match="fitted at 0"):
        bare.under(lab.policy.replace({"blind.strength": 0.5}))


def test_shown_rows_are_laid_out_by_user(lab):
    """Offsets count the kept rows of each user."""
    blank = Exposures.empty(20)
    stage, now = Stage(lab.bundle, lab.policy), latest(lab.shop.events)
    proposal = stage.propose(np.arange(20), Request("home", "browse", 4, now), exposures=blank)
    verdict = stage.screen(proposal, exposures=blank)
    offsets, rows = shown(verdict)
    assert offsets[-1] == len(rows) == verdict.kept.sum()
    assert (np.diff(offsets) <= 4).all()
