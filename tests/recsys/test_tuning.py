"""Does a search over models and settings find what ranks best, again and again, with every model's bounds?"""

from __future__ import annotations

import json

import corner
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.interactions import Weighing
from recsys.models import ModelError, make_model
from recsys.quality import ndcg
from recsys.shop import Shop, tune_shop
from recsys.tuning import SPACES, STARTS, WITH_VECTORS, Tuned, tune


def boards(seed: int = 0) -> tuple[csr_matrix, csr_matrix]:
    """Two tastes of eight items: each user took five of theirs, and discovers the others."""
    random = np.random.default_rng(seed)
    taste = np.kron(np.eye(2), np.ones((12, 8)))
    took = np.zeros_like(taste)
    for user, mine in enumerate(taste):
        took[user, random.choice(np.flatnonzero(mine), 5, replace=False)] = random.integers(1, 4, 5)
    return csr_matrix(took.astype(np.float32)), csr_matrix(((taste > 0) & (took == 0)).astype(np.float32))


def search(model: str, *, trials: int = 2, seed: int = 1) -> Tuned:
    before, later = boards()
    return tune(
        lambda _: before, later, before, trials=trials, seed=seed, kinds={"purchase": 1.0}, k=5,
        models={model: SPACES[model]}, half_lives=(30, None),
    )  # fmt: skip


@pytest.mark.parametrize("model", sorted(SPACES))
def test_the_best_trial_can_be_made_again(model: str):
    """Every model's space gives settings it accepts; the winner, fitted again, has the figure that was told."""
    best = search(model)
    assert best.table["ndcg"].to_list() == sorted(best.table["ndcg"], reverse=True)
    assert best.figure == best.table["ndcg"][0] > 0.4
    before, later = boards()
    found = make_model(best.model, **best.settings).fit(before, seed=1).top(before, k=5, exclude=before)
    assert np.nanmean(ndcg(found.offsets, found.item_row, later, k=5)) == best.figure


def test_the_same_seed_searches_the_same_way():
    """Settings, figures and the weighing are those of the first run."""
    first, second = (search("item_item", trials=4) for _ in range(2))
    assert first.table.drop("seconds").equals(second.table.drop("seconds"))
    assert first.weighing == second.weighing
    assert isinstance(first.weighing, Weighing)


def test_each_trial_is_told_before_it_begins():
    """What is tried, how many are done, and the best so far, which never falls; at the end nothing is tried."""
    before, later = boards()
    said = []
    found = tune(
        lambda _: before, later, before, trials=3, seed=1, kinds={"purchase": 1.0}, k=5, half_lives=(None,),
        models={"ease": SPACES["ease"]}, progress=lambda *words: said.append(words),
    )  # fmt: skip
    assert [(done, of, now) for done, of, _, now in said] == [
        (0, 3, "ease"),
        (1, 3, "ease"),
        (2, 3, "ease"),
        (3, 3, ""),
    ]
    best = [figure for _, _, figure, _ in said]
    assert np.isnan(best[0])
    assert best[1:] == sorted(best[1:])
    assert best[-1] == found.figure


def test_no_trials_are_refused():
    """At least one is needed."""
    with pytest.raises(ModelError, match="`trials` must be at least 1 but got 0"):
        search("ease", trials=0)


def test_what_a_fit_takes_unasked_is_tried_first():
    """The first trials are the starts, so that no search ends below them; a start that is not searched is left out."""
    before, later = boards()
    found = tune(
        lambda _: before, later, before, trials=len(STARTS), seed=1, kinds={"purchase": 1.0}, k=5,
        models={name: SPACES[name] for name in WITH_VECTORS}, half_lives=(180, None),
    )  # fmt: skip
    assert sorted(found.table["model"]) == sorted(str(start["model"]) for start in STARTS)
    for start in STARTS[::2]:
        name = str(start["model"])
        settings = json.loads(found.table.filter(model=name).row(0, named=True)["settings"])
        assert settings == {key.partition(".")[2]: value for key, value in start.items() if key.startswith(f"{name}.")}
    assert search("ease", trials=1).model == "ease"


@pytest.mark.parametrize(
    ("strength", "model", "tried"), [(0.5, "", set(WITH_VECTORS)), (0.5, "ease", {"ease"}), (0, "", set(SPACES))]
)
def test_where_the_policy_blinds_only_what_takes_a_blindfold_is_tried(strength: float, model: str, tried: set[str]):
    """Unless a model is named; without a blindfold all models may be."""
    shop = Shop(corner.events_frame(), corner.catalogue_frame(), corner.customers_frame())
    found = tune_shop(
        shop, taxonomy=corner.SENSITIVE, policy=corner.POLICY.replace({"blind.strength": strength}), trials=6, seed=1,
        now=corner.NOW, model=model,
    )  # fmt: skip
    assert set(found.table["model"]) <= tried
    if strength == 0:
        assert set(found.table["model"]) - set(WITH_VECTORS)


def test_a_model_that_cannot_be_tuned_is_named():
    """Popularity has no settings."""
    shop = Shop(corner.events_frame(), corner.catalogue_frame(), corner.customers_frame())
    with pytest.raises(ModelError, match=r"`model` must be one of als, .* to be tuned but got 'popular'"):
        tune_shop(
            shop, taxonomy=corner.SENSITIVE, policy=corner.POLICY, trials=1, seed=1, now=corner.NOW, model="popular"
        )
