"""Which model, with which settings, finds best what shoppers buy next? Tried on time the fit has not seen.

A trial weighs the events before a cut, fits a model to them, ranks what each user had not bought before, and is
judged by NDCG on what they bought after it. Nothing here looks past the end of the events it is given.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from recsys.interactions import Weighing
from recsys.models import ModelError, make_model
from recsys.quality import ndcg

if TYPE_CHECKING:
    import optuna

COLUMNS = {
    "model": pl.String,
    "half_life_days": pl.Float64,
    "settings": pl.String,
    "ndcg": pl.Float64,
    "seconds": pl.Float64,
}
HALF_LIVES = (30, 60, 90, 180, 365, None)  # days
Weigh = Callable[[Weighing], csr_matrix]
Tell = Callable[[int, int, float, str], None]  # trials done, trials in all, best figure (NaN before any), model now
Space = Callable[["optuna.Trial"], dict[str, Any]]


def _als(trial: optuna.Trial, prefix: str = "als") -> dict[str, Any]:
    return {
        "factors": trial.suggest_categorical(f"{prefix}.factors", [64, 96, 128, 192]),
        "regularization": trial.suggest_float(f"{prefix}.regularization", 5.0, 100.0, log=True),
        "alpha": trial.suggest_float(f"{prefix}.alpha", 0.5, 5.0, log=True),
        "power": trial.suggest_float(f"{prefix}.power", 0.2, 1.0),
    }


def _spectral(trial: optuna.Trial, prefix: str = "spectral") -> dict[str, Any]:
    return {
        "factors": trial.suggest_categorical(f"{prefix}.factors", [128, 256]),
        "ridge": trial.suggest_float(f"{prefix}.ridge", 0.0002, 0.015, log=True),
        "steepness": trial.suggest_float(f"{prefix}.steepness", 1.0, 6.0, log=True),
        "power": trial.suggest_float(f"{prefix}.power", 0.0, 0.7),
        "item_exponent": trial.suggest_float(f"{prefix}.item_exponent", 0.0, 0.3),
    }


def _blend(trial: optuna.Trial) -> dict[str, Any]:
    share = trial.suggest_float("blend.share", 0.1, 0.9)
    return {
        "parts": [
            {"model": "als", "weight": share, **_als(trial)},
            {"model": "spectral", "weight": 1 - share, **_spectral(trial)},
        ]
    }


def _item_item(trial: optuna.Trial) -> dict[str, Any]:
    weighting = trial.suggest_categorical("item_item.weighting", ["bm25", "degree"])
    chosen: dict[str, Any] = {"weighting": weighting, "power": trial.suggest_float("item_item.power", 0.0, 1.0)}
    if weighting == "degree":
        for name, most in (("user_exponent", 1.0), ("past_exponent", 0.8), ("item_exponent", 0.6)):
            chosen[name] = trial.suggest_float(f"item_item.{name}", 0.0, most)
    return chosen


def _sharp(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "strength": trial.suggest_float("sharp.strength", 0.2, 1.0),
        "sharpness": trial.suggest_float("sharp.sharpness", 0.9, 1.4),
        "power": trial.suggest_float("sharp.power", 0.0, 0.7),
        "user_exponent": trial.suggest_float("sharp.user_exponent", 0.3, 1.0),
        "past_exponent": trial.suggest_float("sharp.past_exponent", 0.3, 0.8),
        "item_exponent": trial.suggest_float("sharp.item_exponent", 0.0, 0.6),
    }


def _ease(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "regularization": trial.suggest_float("ease.regularization", 10.0, 10_000.0, log=True),
        "power": trial.suggest_float("ease.power", 0.0, 0.7),
    }


SPACES: Mapping[str, Space] = {
    "als": _als, "spectral": _spectral, "blend": _blend, "item_item": _item_item, "sharp": _sharp, "ease": _ease,
}  # fmt: skip
WITH_VECTORS = ("als", "spectral", "blend")  # which take a blindfold
_ALS = {"als.factors": 128, "als.regularization": 30.0, "als.alpha": 1.5, "als.power": 0.5}
_SPECTRAL = {
    "spectral.factors": 256, "spectral.ridge": 0.0005, "spectral.steepness": 4.0, "spectral.power": 0.25,
    "spectral.item_exponent": 0.0,
}  # fmt: skip
STARTS: tuple[Mapping[str, Any], ...] = (  # tried first: what a fit takes unasked, and what proved good elsewhere
    {"model": "als", "half_life_days": None} | _ALS | {"als.factors": 192, "als.alpha": 1.0, "als.power": 1.0},
    {"model": "blend", "half_life_days": 180, "blend.share": 0.4} | _ALS | _SPECTRAL,
    {"model": "spectral", "half_life_days": 180} | _SPECTRAL,
)


@dataclass(frozen=True)
class Tuned:
    """The best trial, and all of them.

    Attributes:
        model: name of the best model.
        settings: its settings.
        weighing: how events weigh in it.
        figure: its NDCG.
        table: one row a trial, best first: model, half_life_days, settings (JSON), ndcg, seconds.
    """

    model: str
    settings: dict[str, Any]
    weighing: Weighing
    figure: float
    table: pl.DataFrame


def tune(
    weigh: Weigh,
    truth: csr_matrix,
    taken: csr_matrix,
    *,
    trials: int,
    seed: int,
    kinds: Mapping[str, float],
    k: int = 20,
    models: Mapping[str, Space] = SPACES,
    half_lives: tuple[float | None, ...] = HALF_LIVES,
    within: npt.NDArray[np.bool_] | None = None,
    starts: Sequence[Mapping[str, Any]] = STARTS,
    progress: Tell | None = None,
) -> Tuned:
    """Search models, settings and half-lives for the best discovery NDCG at k on later events.

    After the ``starts``, settings are drawn by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

    Args:
        weigh: gives the (U, I) matrix to learn from, of the events before the cut, for a weighing.
        truth: (U, I) stored where the user took after the cut what they had not taken before.
        taken: (U, I) stored where the user took before the cut; not ranked.
        trials: how many fits, at least 1.
        seed: for the search and for every fit.
        kinds: weight of each event kind, see ``Weighing``.
        k: length judged.
        models: name of a model to the settings to try.
        half_lives: days to try; None = age does not matter.
        within: (I,) bool, items ranked; None = all that are trained on.
        starts: Optuna's parameters of the first trials; of a model or half-life that is not searched they are left out.
        progress: is told before each trial, which model is tried, and at the end, when none is.

    Raises:
        ModelError: no trial is asked for.

    Example:
        >>> board = csr_matrix(np.kron(np.eye(2), np.ones((4, 4))) - np.eye(8), dtype=np.float32)
        >>> best = tune(lambda _: board, csr_matrix(np.eye(8)), board, trials=2, seed=0, kinds={"purchase": 1.0},
        ...     models={"item_item": SPACES["item_item"]}, half_lives=(None,), k=1)
        >>> best.model, best.figure, len(best.table)
        ('item_item', 1.0, 2)
    """
    import optuna

    if trials < 1:
        raise ModelError(f"`trials` must be at least 1 but got {trials}")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[dict[str, Any]] = []
    matrices: dict[float | None, csr_matrix] = {}

    def weighing_of(days: float | None) -> Weighing:
        return Weighing(dict(kinds), None if days is None else timedelta(days=days))

    def say(now: str) -> None:
        if progress is not None:
            progress(len(rows), trials, max((row["ndcg"] for row in rows), default=float("nan")), now)

    def attempt(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("model", list(models))
        days = trial.suggest_categorical("half_life_days", list(half_lives))
        settings = models[name](trial)
        say(name)
        if days not in matrices:
            matrices[days] = weigh(weighing_of(days))
        started = time.perf_counter()
        model = make_model(name, **settings).fit(matrices[days], seed=seed)
        found = model.top(matrices[days], k=k, exclude=taken, within=within)
        figures = ndcg(found.offsets, found.item_row, truth, k=k) if len(found.item_row) else np.zeros(1)
        figure = 0.0 if np.isnan(figures).all() else float(np.nanmean(figures))
        rows.append(
            {
                "model": name,
                "half_life_days": days,
                "settings": json.dumps(settings),
                "ndcg": figure,
                "seconds": time.perf_counter() - started,
            }
        )
        return figure

    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for start in starts:
            if start["model"] in models and start["half_life_days"] in half_lives:
                study.enqueue_trial(dict(start))
        study.optimize(attempt, n_trials=trials)
        say("")
    finally:
        optuna.logging.set_verbosity(before)
    table = pl.DataFrame(rows, schema=COLUMNS).sort("ndcg", descending=True, maintain_order=True)
    best = table.row(0, named=True)
    return Tuned(
        model=best["model"],
        settings=json.loads(best["settings"]),
        weighing=weighing_of(best["half_life_days"]),
        figure=best["ndcg"],
        table=table,
    )


def words_of(settings: Mapping[str, Any]) -> str:
    """Return a model's settings as people read them, numbers to three digits; a blend's parts one a line.

    Example:
        >>> words_of({"factors": 128, "ridge": 0.00116876848546411})
        'factors 128, ridge 0.00117'
        >>> print(words_of({"parts": [{"model": "als", "weight": 0.8861, "factors": 64}, {"model": "ease", "weight": 1}]}))
        0.886 als: factors 64
        1 ease
    """
    if "parts" in settings:
        lines = []
        for part in settings["parts"]:
            own = words_of({name: value for name, value in part.items() if name not in {"model", "weight"}})
            lines.append(f"{part['weight']:.3g} {part['model']}" + (f": {own}" if own else ""))
        return "\n".join(lines)
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
