"""Does a search over models and settings find what ranks best, again and again, with every model's bounds?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.interactions import Weighing
from recsys.models import ModelError, make_model
from recsys.quality import ndcg
from recsys.tuning import SPACES, Tuned, tune


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


def test_no_trials_are_refused():
    """At least one is needed."""
    with pytest.raises(ModelError, match="`trials` must be at least 1 but got 0"):
        search("ease", trials=0)
