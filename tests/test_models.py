"""One contract, many models: on a checkerboard whose right answer is known, and laws on random matrices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, vstack

from recsys.models import MODELS, ModelError, Recommender, load_model, make_model
from recsys.models.factors import taken
from recsys.topk import TopK

ALS = {"factors": 6, "regularization": 0.5, "iterations": 8}
SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "als": ("als", ALS),
    "als-sqrt": ("als", {**ALS, "power": 0.5, "alpha": 2.0}),
    "spectral": ("spectral", {"factors": 6, "ridge": 0.1}),
    "spectral-graph": (
        "spectral", {"factors": 5, "user_exponent": 0.5, "item_exponent": 0.5, "ridge": 0.0, "power": 0.0},
    ),
    "blend": (
        "blend",
        {"parts": [{"model": "als", "weight": 1, **ALS}, {"model": "spectral", "weight": 0.5, "factors": 4}]},
    ),
    "mixed": (
        "blend",
        {"parts": [
            {"model": "item_item", "weight": 1, "weighting": "degree", "power": 0.0},
            {"model": "spectral", "weight": -0.2, "factors": 3, "steepness": 2.0, "ridge": 10.0, "item_exponent": 0.5,
             "out_exponent": 0.0},
            {"model": "als", "weight": 0.3, **ALS},
            {"model": "popular", "weight": 0.01},
        ]},
    ),
    "filters": (
        "blend",
        {"parts": [
            {"model": "sharp", "weight": 1, "factors": 2, "strength": 1.3},
            {"model": "item_item", "weight": 0.9, "weighting": "degree", "power": 0.0, "user_exponent": 1.0},
            {"model": "spectral", "weight": 0.3, "factors": 5, "power": 0.0, "user_exponent": 0.5, "item_exponent": 0.5},
            {"model": "spectral", "weight": -0.2, "factors": 2, "power": 0.0, "user_exponent": 0.5, "item_exponent": 0.5},
            {"model": "als", "weight": 0.9, **ALS},
        ]},
    ),
    "sharp": ("sharp", {"factors": 3, "strength": 0.6, "sharpness": 1.2}),
    "ease": ("ease", {"regularization": 2.0}),
    "ease-pruned": ("ease", {"regularization": 2.0, "neighbours": 4, "power": 0.5}),
    "cosine": ("item_item", {"weighting": "cosine"}),
    "bm25": ("item_item", {"weighting": "bm25"}),
    "degree": ("item_item", {"weighting": "degree", "power": 0.0, "sharpness": 1.2}),
}  # fmt: skip
PERSONAL = sorted(SUBJECTS)
FACTORS = ["als", "als-sqrt", "spectral", "spectral-graph", "blend"]
EVERY = [*PERSONAL, "popular", "own"]
SIDE = 6


@dataclass(frozen=True)
class Bent:
    """An affine map to try a blindfold with."""

    matrix: np.ndarray
    offset: np.ndarray


def make(subject: str) -> Recommender:
    name, chosen = SUBJECTS.get(subject, (subject, {}))
    return make_model(name, **chosen)


def checkerboard(size: int = 12) -> csr_matrix:
    """Even users take even items, odd users odd ones; each misses the item two places on."""
    user, item = np.indices((size, size))
    board = ((user + item) % 2 == 0).astype(np.float32)
    board[np.arange(size), (np.arange(size) + 2) % size] = 0
    return csr_matrix(board)


def purchases(seed: int, users: int = 40, items: int = 30) -> csr_matrix:
    """Counts with skew; some items nobody takes."""
    random = np.random.default_rng(seed)
    taste = random.random((users, 3)) @ random.random((3, items)) * random.random(items) ** 2
    counts = random.poisson(taste * 1.5).astype(np.float32)
    counts[:, random.integers(0, items, 3)] = 0
    return csr_matrix(counts)


FITTED: dict[str, Recommender] = {}
TRAIN = purchases(1)


def fitted(subject: str) -> Recommender:
    """Fit each subject on ``TRAIN`` once."""
    if subject not in FITTED:
        FITTED[subject] = make(subject).fit(TRAIN, seed=3)
    return FITTED[subject]


def rows_of(found: TopK, user: int) -> tuple[np.ndarray, np.ndarray]:
    part = slice(found.offsets[user], found.offsets[user + 1])
    return found.item_row[part], found.score[part]


def dense(model: Recommender, evidence: csr_matrix) -> np.ndarray:
    users, items = evidence.shape
    user, item = np.divmod(np.arange(users * items, dtype=np.int32), items)
    return model.scores(evidence, user.astype(np.int32), item.astype(np.int32)).reshape(users, items)


def bent(model: Recommender, evidence: csr_matrix, seed: int = 0) -> Bent | None:
    vectors = model.vectors(evidence)
    if vectors is None:
        return None
    random, size = np.random.default_rng(seed), vectors.shape[1]
    matrix = np.eye(size) - random.normal(size=(size, 1)) @ random.normal(size=(1, size)) / size
    return Bent(matrix.astype(np.float32), random.normal(size=size).astype(np.float32) * 0.1)


evidences = st.integers(0, 2**32 - 1).map(
    lambda seed: vstack([purchases(seed, users=4), csr_matrix((1, 30), dtype=np.float32)], format="csr")
)
laws = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("subject", PERSONAL)
def test_the_missing_square_of_a_checkerboard_comes_first(subject: str):
    """Each user's one missing item of the own colour is found."""
    board = checkerboard()
    found = make(subject).fit(board, seed=0).top(board, k=1, exclude=board)
    assert found.item_row.tolist() == [(user + 2) % 12 for user in range(12)]


@pytest.mark.parametrize("subject", PERSONAL)
def test_a_session_of_nobody_in_training_is_answered(subject: str):
    """Two even items ask for even items."""
    session = csr_matrix((np.ones(2, np.float32), ([0, 0], [0, 4])), shape=(1, 12))
    found = make(subject).fit(checkerboard(), seed=0).top(session, k=3, exclude=session)
    assert len(found.item_row) == 3
    assert set(found.item_row % 2) == {0}


@pytest.mark.parametrize("subject", EVERY)
@given(evidence=evidences, k=st.integers(1, 35), seed=st.integers(0, 99))
@laws
def test_the_ranking_is_the_scores_sorted(subject: str, evidence: csr_matrix, k: int, seed: int):
    """Nothing excluded, outside ``within`` or untrained, no padding, best first, none better left."""
    model, random = fitted(subject), np.random.default_rng(seed)
    within = random.random(30) < 0.7
    exclude = csr_matrix((random.random(evidence.shape) < 0.2).astype(np.float32))
    found, scores = model.top(evidence, k=k, exclude=exclude, within=within), dense(model, evidence)
    allowed = within & (np.asarray(TRAIN.sum(axis=0)).ravel() > 0) & (exclude.toarray() == 0)
    for user in range(evidence.shape[0]):
        rows, score = rows_of(found, user)
        assert len(set(rows)) == len(rows) <= k
        assert allowed[user, rows].all()
        assert score == pytest.approx(scores[user, rows], abs=1e-4)
        assert (np.diff(score) <= 0).all()
        spoken_for = (
            allowed[user] if subject in [*FACTORS, "popular", "mixed", "sharp"] else allowed[user] & (scores[user] != 0)
        )
        left = np.setdiff1d(np.flatnonzero(spoken_for), rows)
        if evidence[user].nnz == 0:
            assert not len(rows)
        elif len(rows) == k and len(left):
            assert scores[user, left].max() <= score[-1] + 1e-4
        elif len(rows) < k:
            assert not len(left)


@pytest.mark.parametrize("subject", EVERY)
@given(evidence=evidences)
@laws
def test_one_user_alone_gets_what_they_get_in_a_block(subject: str, evidence: csr_matrix):
    """Vectors, lists and traces are the same bits."""
    model = fitted(subject)
    block, block_vectors = model.top(evidence, k=5), model.vectors(evidence)
    traced = model.trace(evidence, block.offsets, block.item_row)
    solved = model.solved(evidence)
    assert block_vectors is None or (solved.vectors == block_vectors).all()
    taken_up = model.trace(evidence, block.offsets, block.item_row, systems=solved.systems)
    assert (taken_up.share.tolist(), taken_up.evidence_row.tolist()) == (
        traced.share.tolist(), traced.evidence_row.tolist(),
    )  # fmt: skip
    for user in range(evidence.shape[0]):
        alone = model.top(evidence[user], k=5)
        rows, score = rows_of(block, user)
        assert alone.item_row.tolist() == rows.tolist()
        assert alone.score.tolist() == score.tolist()
        part = slice(block.offsets[user], block.offsets[user + 1])
        again = model.trace(evidence[user], alone.offsets, alone.item_row)
        assert again.share.tolist() == traced.share[part].tolist()
        if block_vectors is not None:
            assert (model.vectors(evidence[user])[0] == block_vectors[user]).all()


@pytest.mark.parametrize("blinded", [False, True])
@pytest.mark.parametrize("subject", EVERY)
@given(evidence=evidences)
@laws
def test_contributions_sum_to_the_served_score_and_the_trace_is_their_summary(
    subject: str, blinded: bool, evidence: csr_matrix
):
    """And the trace sums them up; for blinded vectors too: the map goes through the parts, its offset is the base."""
    model = fitted(subject)
    blind = bent(model, evidence) if blinded else None
    vectors = model.vectors(evidence)
    if blind is not None:
        vectors = (vectors @ blind.matrix.T + blind.offset).astype(np.float32)
    found = model.top(evidence, k=6, vectors=vectors)
    traced = model.trace(evidence, found.offsets, found.item_row, blind=blind)
    for user in range(evidence.shape[0]):
        rows, score = rows_of(found, user)
        told = model.contributions(evidence[user], rows, blind=blind)
        assert told.parts.sum(axis=1) + told.base == pytest.approx(score, rel=1e-3, abs=1e-4)
        for at, parts in enumerate(told.parts, start=found.offsets[user]):
            positive = np.maximum(parts, 0)
            if positive.sum() > 0:
                assert traced.share[at] == pytest.approx(positive.max() / positive.sum(), rel=1e-3)
                assert positive[told.evidence_row == traced.evidence_row[at]] == pytest.approx(positive.max())
            else:
                assert (traced.share[at], traced.evidence_row[at]) == (0, -1)


@pytest.mark.parametrize("blinded", [False, True])
@pytest.mark.parametrize("subject", EVERY)
def test_moments_are_those_of_the_training_users_scores(subject: str, blinded: bool):
    """The closed form equals the mean and deviation measured over all of them."""
    model = fitted(subject)
    blind, vectors = (bent(model, TRAIN) if blinded else None), model.vectors(TRAIN)
    users, items = TRAIN.shape
    user, item = (part.astype(np.int32) for part in np.divmod(np.arange(users * items), items))
    if blind is not None:
        vectors = (vectors @ blind.matrix.T + blind.offset).astype(np.float32)
    scores = model.scores(TRAIN, user, item, vectors=vectors).reshape(users, items).astype(np.float64)
    mean, std = model.moments(blind)
    assert mean == pytest.approx(scores.mean(axis=0), rel=1e-3, abs=1e-4)
    assert std == pytest.approx(scores.std(axis=0), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("subject", EVERY)
def test_a_saved_model_answers_as_before_and_holds_no_pickle(subject: str, tmp_path: Path):
    """Same lists, same settings; every array opens with pickling forbidden."""
    model = fitted(subject)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.settings == model.settings
    first, second = model.top(TRAIN, k=7, exclude=TRAIN), again.top(TRAIN, k=7, exclude=TRAIN)
    assert first.item_row.tolist() == second.item_row.tolist()
    assert first.score.tolist() == second.score.tolist()
    for path in (tmp_path / "model").rglob("*.npy"):
        np.load(path, allow_pickle=False)


@pytest.mark.parametrize("subject", EVERY)
def test_a_saved_model_with_a_broken_array_is_not_opened(subject: str, tmp_path: Path):
    """One number that is none, one that is missing, or an item that is not there; whichever array it is."""
    model, folder = fitted(subject), tmp_path / "model"
    model.save(folder)
    assert load_model(folder, items=model.items, dimensions=model.dimensions).settings == model.settings
    for word in ("items", "dimensions"):
        with pytest.raises(ModelError, match=f"must be of 31 {word} but is of"):
            load_model(folder, **{word: 31})
    for file in folder.rglob("*.npy"):
        whole = np.load(file)
        broken = whole.copy()
        broken.flat[-1] = np.nan if whole.dtype.kind == "f" else 99
        for array in [whole[:-1], *([broken] if whole.dtype != bool else [])]:
            np.save(file, array)
            with pytest.raises(ValueError, match=r"must|has|index|indices|array|bound"):
                load_model(folder, items=model.items, dimensions=model.dimensions)
        np.save(file, whole)


@pytest.mark.parametrize("subject", EVERY)
def test_same_seed_same_model(subject: str):
    """A second fit gives the same bits."""
    first, second = (make(subject).fit(TRAIN, seed=11).top(TRAIN, k=5) for _ in range(2))
    assert first.item_row.tolist() == second.item_row.tolist()
    assert first.score.tolist() == second.score.tolist()


@pytest.mark.parametrize("subject", EVERY)
def test_a_shop_without_purchases_gets_empty_lists(subject: str):
    """Nothing learned, nothing offered, no crash."""
    model = make(subject).fit(csr_matrix((3, 4), dtype=np.float32), seed=0)
    found = model.top(csr_matrix(np.ones((2, 4), np.float32)), k=3)
    assert found.offsets.tolist() == [0, 0, 0] or subject == "own"
    assert model.moments().mean.shape == (4,)


@pytest.mark.parametrize("subject", EVERY)
def test_progress_ends_at_the_whole(subject: str):
    """Where progress is told, the last word is all of it."""
    told: list[tuple[int, int]] = []
    make(subject).fit(TRAIN, seed=0, progress=lambda done, whole: told.append((done, whole)))
    assert all(done <= whole for done, whole in told)
    assert not told or told[-1][0] == told[-1][1]


@pytest.mark.parametrize("subject", EVERY)
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_weights_are_refused(subject: str, bad: float):
    """A negative, missing or infinite weight is an error in the fit and in the evidence."""
    matrix = csr_matrix(np.array([[1.0, bad], [1.0, 1.0]], np.float32))
    with pytest.raises(ModelError, match="weights must be finite and at least 0"):
        make(subject).fit(matrix, seed=0)


@pytest.mark.parametrize("subject", EVERY)
def test_evidence_of_another_catalogue_is_refused(subject: str):
    """The number of items must be that of the training."""
    with pytest.raises(ModelError, match="evidence must have 30 items as in training but has 7"):
        fitted(subject).top(csr_matrix(np.ones((1, 7), np.float32)), k=1)


@pytest.mark.parametrize("subject", EVERY)
def test_a_list_of_no_length_is_refused(subject: str):
    """``k`` starts at one."""
    with pytest.raises(ModelError, match="`k` must be at least 1 but got 0"):
        fitted(subject).top(TRAIN, k=0)


@pytest.mark.parametrize("subject", EVERY)
def test_an_unfitted_model_says_so(subject: str):
    """Asked before the fit, a model names the mend."""
    with pytest.raises(ModelError, match="call `fit` first"):
        make(subject).top(TRAIN, k=1)


def test_stored_zeros_are_no_evidence():
    """Weight zero is nothing taken, to the power of zero too."""
    zero = TRAIN.copy()
    zero.data[:] = 0
    for subject in EVERY:
        assert not len(fitted(subject).top(zero, k=3).item_row)


def test_without_vectors_there_is_no_blindfold():
    """A model that has no user vectors refuses both, so a blindfold is never silently dropped."""
    for subject in set(EVERY) - set(FACTORS):
        model = fitted(subject)
        assert model.vectors(TRAIN) is None
        with pytest.raises(ModelError, match="neither vectors nor a blindfold"):
            model.moments(Bent(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)))


@pytest.mark.parametrize("subject", FACTORS)
def test_a_blindfold_of_another_size_is_refused(subject: str):
    """The map must be as wide as the vectors."""
    with pytest.raises(ModelError, match="blindfold must be"):
        fitted(subject).moments(Bent(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)))


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("als", {"factors": 0}, "`factors` must be at least 1 but got 0"),
        ("als", {"regularization": float("nan")}, "`regularization` must be above 0 but got nan"),
        (
            "als",
            {"depth": 3},
            "als has no setting 'depth'; there are factors, regularization, alpha, power, iterations",
        ),
        ("als", {"factor": 3}, "als has no setting 'factor'; did you mean factors"),
        ("als", {"factors": "banana"}, "`factors` of als must be a whole number but got 'banana'"),
        ("als", {"factors": True}, "`factors` of als must be a whole number but got True"),
        ("als", {"factors": 2.5}, "`factors` of als must be a whole number but got 2.5"),
        ("als", {"state": None}, "als has no setting 'state'"),
        ("als", {"alpha": None}, "`alpha` of als must be a number but got None"),
        ("ease", {"neighbours": "all"}, "`neighbours` of ease must be a whole number or null but got 'all'"),
        ("item_item", {"weighting": 3}, "`weighting` of item_item must be a word but got 3"),
        ("popular", {"x": 3}, "popular has no setting 'x'; remove it"),
        ("blend", {}, "blend needs a setting `parts`"),
        ("blend", {"parts": 3}, r"`parts` must be a list like \[.*\] but got 3"),
        (
            "blend",
            {"parts": [{"model": "als", "weight": "x"}]},
            "`weight` must be a finite number and not 0 but got 'x'",
        ),
        ("alss", {}, "but got 'alss'; did you mean als"),
        ("spectral", {"ridge": -0.1}, "`ridge` must be at least 0 but got -0.1"),
        ("ease", {"regularization": 0}, "`regularization` must be above 0 but got 0"),
        ("item_item", {"weighting": "magic"}, "`weighting` must be cosine, bm25 or degree but got 'magic'"),
        ("item_item", {"b": 1.5}, "`b` must be at most 1 but got 1.5"),
        ("sharp", {"strength": 2.1}, "`strength` must be at most 2 but got 2.1"),
        ("sharp", {"sharpness": 0}, "`sharpness` must be above 0 but got 0"),
        ("own", {"power": 0}, "`power` must be above 0 but got 0"),
        ("blend", {"parts": []}, "`parts` must name at least one model"),
        ("blend", {"parts": [{"model": "als"}]}, "a part needs `model` and `weight`"),
        ("blend", {"parts": [{"model": "als", "weight": 0}]}, "`weight` must be a finite number and not 0 but got 0"),
        ("blend", {"parts": [{"model": "blend", "weight": 1, "parts": []}]}, "`parts` must name at least one"),
        ("spectral", {"steepness": 0}, "`steepness` must be above 0 but got 0"),
        ("oracle", {}, "`model` must be one of .* but got 'oracle'"),
    ],
)
def test_a_setting_out_of_bounds_is_named(name: str, wrong: dict[str, Any], told: str):
    """Setting, bound and value stand in the error."""
    with pytest.raises(ModelError, match=told):
        make_model(name, **wrong)


def test_ease_has_one_answer_whichever_side_is_shorter():
    """The small system and the large one give the closed form of the paper."""
    for matrix in (TRAIN, TRAIN[:12]):
        binary = (matrix.toarray() > 0).astype(np.float64)
        inverse = np.linalg.inv(binary.T @ binary + 3.0 * np.eye(30))
        expected = -inverse / np.diag(inverse)
        np.fill_diagonal(expected, 0)
        model = make_model("ease", regularization=3.0, neighbours=None).fit(matrix, seed=0)
        one = csr_matrix(np.eye(30, dtype=np.float32))
        seen = binary.any(axis=0)
        assert dense(model, one)[np.ix_(seen, seen)] == pytest.approx(expected[np.ix_(seen, seen)], abs=1e-4)


def test_ease_refuses_a_catalogue_it_cannot_hold():
    """The bound is a setting, and named."""
    with pytest.raises(ModelError, match=r"`most_items` must be at least \d+, the items taken, but is 5"):
        make_model("ease", most_items=5).fit(TRAIN, seed=0)


def test_als_vectors_solve_the_normal_equations():
    """The kernel's answer is numpy's."""
    model = fitted("als-sqrt")
    item = model.known.item.astype(np.float64)
    for user in range(3):
        confidence = np.zeros(30)
        confidence[TRAIN[user].indices] = 2.0 * np.sqrt(TRAIN[user].data)
        one = np.where(confidence > 0, confidence, 1.0)
        system = item.T @ (item * one[:, None]) + 0.5 * np.eye(6)
        assert model.vectors(TRAIN[user])[0] == pytest.approx(np.linalg.solve(system, item.T @ confidence), abs=1e-4)


def test_every_model_has_a_subject():
    """A new model cannot stay out of the contract."""
    covered = {SUBJECTS.get(subject, (subject,))[0] for subject in EVERY}
    assert covered == set(MODELS)
    assert all(isinstance(fitted(subject), Recommender) for subject in EVERY)


@pytest.mark.parametrize("subject", EVERY)
def test_a_new_item_that_somebody_took_is_found_and_one_that_nobody_took_is_no_ghost(subject: str, tmp_path: Path):
    """The catalogue grows by the even colour's fourteenth square, which some even users took, and by an untaken one."""
    board = checkerboard()
    news = np.zeros((12, 2), np.float32)
    news[[0, 4, 8], 0] = 1
    grown = make(subject).fit(board, seed=0).grown(csr_matrix(np.hstack([board.toarray(), news])), seed=0)
    session = csr_matrix((np.ones(3, np.float32), ([0, 0, 0], [0, 4, 6])), shape=(1, 14))
    found = grown.top(session, k=14, exclude=None if subject == "own" else session)
    assert 13 not in found.item_row
    assert np.isfinite(found.score).all()
    if subject in PERSONAL:
        assert 12 in found.item_row[:6]
    blind = bent(grown, session)
    assert len(grown.moments(blind).mean) == 14
    grown.save(tmp_path)
    again = load_model(tmp_path).top(session, k=14, exclude=None if subject == "own" else session)
    assert again.item_row.tolist() == found.item_row.tolist()


@pytest.mark.parametrize("subject", EVERY)
@given(seed=st.integers(0, 99))
@laws
def test_a_catalogue_that_has_not_grown_leaves_the_model_as_it_is(subject: str, seed: int):
    """Whoever took what meanwhile, of the items that somebody took in training; a smaller one is refused."""
    model = fitted(subject)
    evidence = csr_matrix(purchases(seed).multiply(taken(TRAIN)), dtype=np.float32)
    same = model.grown(evidence, seed=1)
    one, other = (which.top(evidence, k=9) for which in (model, same))
    assert one.item_row.tolist() == other.item_row.tolist()
    assert one.score.tolist() == other.score.tolist()
    with pytest.raises(ModelError, match="30 items known"):
        model.grown(evidence[:, :20], seed=1)


@pytest.mark.parametrize("subject", EVERY)
@given(seed=st.integers(0, 99), many=st.integers(0, 3))
@laws
def test_a_catalogue_and_its_takers_one_after_the_other_are_both_at_once(subject: str, seed: int, many: int):
    """Also where the item was in the catalogue of the fit and nobody had taken it."""
    items = 30 + many
    model = fitted(subject)
    news = csr_matrix(np.hstack([TRAIN.toarray(), np.zeros((40, many), np.float32)]))
    takers = np.zeros((40, items), np.float32)
    fresh = np.flatnonzero(~np.concatenate([taken(TRAIN), np.zeros(many, bool)]))
    takers[:, fresh] = np.random.default_rng(seed).random((40, len(fresh))) < 0.2
    evidence = csr_matrix(news + csr_matrix(takers))
    once, later = model.grown(evidence, seed=3), model.grown(news, seed=3).grown(evidence, seed=3)
    assert once.trained.tolist() == later.trained.tolist() == taken(evidence).tolist()
    one, other = (which.top(evidence, k=9) for which in (once, later))
    assert one.item_row.tolist() == other.item_row.tolist()
    assert one.score.tolist() == other.score.tolist()
    if subject.startswith("als"):
        assert once.known.item[:30][taken(TRAIN)].tolist() == model.known.item[taken(TRAIN)].tolist()


@pytest.mark.parametrize("subject", ["ease", "cosine", "own"])
def test_a_similarity_that_does_not_tell_what_was_trained_takes_the_items_that_have_one(subject: str, tmp_path: Path):
    """On these boards they are the same."""
    model = fitted(subject)
    model.save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    del about["arrays"]["trained"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert load_model(tmp_path).trained.tolist() == model.trained.tolist() == taken(TRAIN).tolist()


@given(seed=st.integers(0, 999), many=st.integers(1, 5))
@laws
def test_a_new_items_vector_is_the_least_squares_answer_to_its_takers(seed: int, many: int):
    """And the old items' vectors are those of before, bit for bit."""
    model, evidence = fitted("als"), purchases(seed, items=30 + many)
    grown, seen = model.grown(evidence, seed=0), taken(TRAIN)
    assert grown.known.item[:30][seen].tolist() == model.known.item[seen].tolist()
    users = model.vectors(csr_matrix(evidence[:, :30])).astype(np.float64)
    ridge = model.settings["regularization"] * np.eye(users.shape[1])
    for item in [*np.flatnonzero(~seen), *range(30, 30 + many)]:
        weight = evidence[:, item].toarray().ravel().astype(np.float64)
        if not weight.any():
            assert not grown.known.trained[item]
            assert not grown.known.item[item].any()
            continue
        seen = weight > 0
        left = users.T @ users + ridge + (users * np.where(seen, weight - 1, 0)[:, None]).T @ users
        best = np.linalg.solve(left, (users * np.where(seen, weight, 0)[:, None]).sum(axis=0))
        assert grown.known.item[item] == pytest.approx(best, rel=2e-3, abs=1e-4)
