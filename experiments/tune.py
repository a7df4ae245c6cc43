"""Which settings lose least when we are kinder? Optuna turns them, MLflow keeps the trials, a picture tells."""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from boundary.policy import Policy
from experiments import frontier
from experiments.figures import write_figures
from experiments.judge import Judge, fit_both
from experiments.space import Space
from experiments.tracking import code_version, experiment, log_values, tracked
from experiments.visits import LabError
from recsys.quality import temporal_cut

if TYPE_CHECKING:
    import optuna
    from mlflow import MlflowClient

    from boundary.taxonomy import Taxonomy
    from recsys.shop import Choice, Shop

Progress = Callable[[str, float], None]
STUDY, EXPERIMENT = "tune", "cornerstore-tune"
STARTUP = 20  # trials drawn at random before those before are learned from


@dataclass(frozen=True)
class Runs:
    """Where trials are told to: MLflow's client, the parent run and its experiment."""

    client: MlflowClient
    experiment_id: str
    parent: str


def tune(
    shop: Shop,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    choice: Choice,
    out: Path,
    trials: int = 100,
    space: Space | None = None,
    users: int | None = None,
    seed: int = 7,
    tracking_uri: str | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Turn the settings of a policy and recommend one by the rule of the bounds.

    Fitted on the first part of the weeks that a final test learns from, judged on the rest of them: the test weeks
    stay untouched. Runs go on where they were cut off, and come to the same numbers.

    Args:
        shop: tables.
        taxonomy: which categories are sensitive.
        policy: the base and the first trial; bounds that do not hold it are widened.
        choice: of the recommender.
        out: gets figures.json, trials.parquet, frontier.csv, frontier.html, recommended.toml, timing.json, and without
            ``tracking_uri`` MLflow's store.
        trials: how many in all.
        space: bounds and wishes; the shipped ones where None.
        users: how many shoppers are judged on; None is all.
        seed: of everything random.
        tracking_uri: an MLflow server.
        progress: is told what is being done, with the best so far, and the share of the whole that is done.

    Raises:
        LabError: the folder holds another tuning run, there is no store at ``tracking_uri``, or no sensitive family can
            be judged.
        PolicyError: the bounds name a setting that the policy lacks, or values it forbids.
    """
    space, tell = space or Space.load(), progress or (lambda _what, _share: None)
    space.check(policy)
    space = space.around(policy)
    if trials < 1:
        raise LabError(f"`trials` must be at least 1 but got {trials}")
    out.mkdir(parents=True, exist_ok=True)
    if tracking_uri is not None:
        with tracked(out, tracking_uri):  # a store that cannot be used is told before anything is fitted
            pass
    test = temporal_cut(shop.events)
    cut = temporal_cut(shop.events.filter(pl.col("at").dt.timestamp("us") <= test), space.validation)
    plan = _plan(shop, policy, choice, space, users=users, seed=seed, cut=cut)
    study = _study(out, space, plan)
    strengths = [policy.replace(changes).blind.strength for changes in space.proposals()]
    clock = time.process_time(), time.perf_counter()
    bundles = fit_both(
        shop, taxonomy=taxonomy, policy=policy, choice=choice, cut=cut, until=test, strength=max(strengths),
        tell=lambda what, share: tell(f"fitting {what}", 0.3 * share),
    )  # fmt: skip
    fit = (time.process_time() - clock[0]) / 2, (time.perf_counter() - clock[1]) / 2
    judge = Judge(
        bundles, policy, space, users=users, seed=seed, tell=lambda what, share: tell(what, 0.3 + 0.1 * share)
    )
    if not judge.raw_leak:
        raise LabError("no sensitive family has enough buyers to be judged; give more shoppers or a wider taxonomy")
    with tracked(out, tracking_uri) as client:
        runs = _parent(client, study, out, tracking_uri, policy, plan, bundles.bounded.fit_id, choice)
        inputs = _datasets(client, runs.parent, {"events": shop.events, "catalogue": shop.catalogue})
        _tidy(runs, len(study.trials))
        cost = _run(study, judge, policy, space, runs, inputs, trials=trials, seed=seed, tell=tell)
        figures = _conclude(study, judge, policy, space, runs, out)
    timing = {
        "fit_cpu_seconds": fit[0], "fit_seconds": fit[1],
        "trial_cpu_seconds": statistics.median(c[0] for c in cost) if cost else None,
        "trial_seconds": statistics.median(c[1] for c in cost) if cost else None,
        "judging_cpu_seconds": statistics.median(c[2] for c in cost) if cost else None,
        "trial_over_fit": statistics.median(c[0] for c in cost) / fit[0] if cost else None,
    }  # fmt: skip
    (out / "timing.json").write_text(json.dumps(timing, indent=2) + "\n", encoding="utf-8")
    tell("done", 1.0)
    return figures


def _plan(
    shop: Shop, policy: Policy, choice: Choice, space: Space, *, users: int | None, seed: int, cut: int
) -> dict[str, Any]:
    """Say what a tuning run is of, so that another is not mixed into it."""
    bounds = hashlib.sha256(repr(space).encode()).hexdigest()[:16]
    return {
        "policy_digest": policy.digest, "bounds": bounds, "seed": seed, "users": users, "cut": cut,
        "events": len(shop.events), "items": len(shop.catalogue), "model": choice.model, "settings": choice.settings,
    }  # fmt: skip


def _study(out: Path, space: Space, plan: dict[str, Any]) -> optuna.Study:
    """Open the study in a folder, or begin one; it holds finished trials alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{(out / 'optuna.db').absolute()}", study_name=STUDY, load_if_exists=True,
        directions=list(space.objectives.values()),
    )  # fmt: skip
    kept = study.user_attrs.get("plan")
    if kept is not None and kept != json.loads(json.dumps(plan)):
        other = next(name for name in plan if kept.get(name) != json.loads(json.dumps(plan[name])))
        raise LabError(f"{out} holds a tuning run of another `{other}`; choose another folder")
    if kept is None:
        study.set_user_attr("plan", plan)
    return study


def _run(
    study: optuna.Study,
    judge: Judge,
    policy: Policy,
    space: Space,
    runs: Runs,
    inputs: list[Any],
    *,
    trials: int,
    seed: int,
    tell: Progress,
) -> list[tuple[float, float, float]]:
    """Run what is left of the trials; return what each cost: CPU seconds, seconds, CPU seconds of judging alone."""
    import optuna

    cost = []
    quick = optuna.create_study(directions=study.directions)  # in memory: the store is told once a trial
    quick.add_trials(study.get_trials(deepcopy=False))
    drawn_from, base = {setting.path: setting.distribution for setting in space.settings}, space.of_policy(policy)
    judge.figures(policy.replace(next(space.proposals())))  # everything compiled before the first is timed
    for place in range(len(quick.trials), trials):
        tell(_best(quick, space, place, trials), 0.4 + 0.6 * place / trials)
        began = time.process_time(), time.perf_counter()
        quick.sampler = optuna.samplers.TPESampler(seed=seed + place, n_startup_trials=STARTUP)
        if not place and base is not None:
            quick.enqueue_trial(base)
        trial = quick.ask(drawn_from)
        settings = {setting.path: setting.plain(trial.params[setting.path]) for setting in space.settings}
        tried = policy.replace(settings)
        before = time.process_time()
        figures = judge.figures(tried)
        judging = time.process_time() - before
        trial.set_user_attr("figures", figures)
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("policy_digest", tried.digest)
        _log_trial(runs, place, settings, figures, tried, inputs)
        study.add_trial(quick.tell(trial, [figures[name] for name in space.objectives]))
        cost.append((time.process_time() - began[0], time.perf_counter() - began[1], judging))
    return cost


def _best(study: optuna.Study, space: Space, place: int, trials: int) -> str:
    table = _table(study)
    chosen = None if table.is_empty() else frontier.recommended(table, space.recommend)
    if chosen is None:
        return f"trial {place + 1} of {trials}, none qualifies yet"
    row = table.row(by_predicate=pl.col("trial") == chosen, named=True)
    return f"trial {place + 1} of {trials}, best: leak {row['leak']:.3f}, kept {row['kept']:.2f}"


def _table(study: optuna.Study) -> pl.DataFrame:
    """Return one line a finished trial: trial, objectives and other figures, settings, digest."""
    return frontier.as_frame(
        [
            {"trial": trial.number, **trial.user_attrs["figures"], **trial.user_attrs["settings"],
             "policy_digest": trial.user_attrs["policy_digest"]}
            for trial in study.get_trials(deepcopy=False)
        ]
    )  # fmt: skip


def _parent(
    client: MlflowClient, study: optuna.Study, out: Path, uri: str | None, policy: Policy, plan: dict[str, Any],
    fit_id: str, choice: Choice,
) -> Runs:  # fmt: skip
    """Return the parent run, the one of before where a run goes on."""
    from mlflow.exceptions import MlflowException

    experiment_id = experiment(client, EXPERIMENT, out, uri)
    run_id = study.user_attrs.get("parent_run")
    if run_id is not None:
        try:
            client.update_run(run_id, status="RUNNING")
            return Runs(client, experiment_id, run_id)
        except MlflowException:
            pass  # the store of before is gone: a new one begins
    tags = {
        "mlflow.runName": f"tune {policy.name}", "policy_digest": policy.digest, "bundle": fit_id,
        "code_version": code_version(), "model": choice.model,
    }  # fmt: skip
    parent = client.create_run(experiment_id, tags=tags).info.run_id
    log_values(client, parent, params=plan, metrics={}, at=_millis())
    client.log_text(parent, policy.to_toml(), "base_policy.toml")
    study.set_user_attr("parent_run", parent)
    return Runs(client, experiment_id, parent)


def _datasets(client: MlflowClient, parent: str, tables: dict[str, pl.DataFrame]) -> list[Any]:
    """Name the tables in the parent run; return them so that trials name them too."""
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag

    tag = [InputTag("mlflow.data.context", "tuning")]
    inputs = [
        DatasetInput(mlflow.data.from_polars(_flat(table), name=name)._to_mlflow_entity(), tag)  # noqa: SLF001 (the client takes nothing else)
        for name, table in tables.items()
    ]
    client.log_inputs(parent, inputs)
    return inputs


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with types that MLflow's schemas know."""
    return table.with_columns(
        pl.col(pl.Datetime).dt.replace_time_zone(None), pl.col(pl.Categorical, pl.Enum).cast(pl.String)
    )


def _tidy(runs: Runs, done: int) -> None:
    """Remove nested runs of trials that were cut off before they counted."""
    query = f"tags.mlflow.parentRunId = '{runs.parent}'"
    for run in runs.client.search_runs([runs.experiment_id], query, max_results=5000):
        if int(run.data.tags.get("trial", done)) >= done:
            runs.client.delete_run(run.info.run_id)


def _log_trial(
    runs: Runs, place: int, settings: dict[str, Any], figures: dict[str, float], tried: Policy, inputs: list[Any]
) -> None:
    tags = {
        "mlflow.parentRunId": runs.parent, "mlflow.runName": f"trial {place:03}", "trial": str(place),
        "policy_digest": tried.digest,
    }  # fmt: skip
    run = runs.client.create_run(runs.experiment_id, tags=tags).info.run_id
    log_values(runs.client, run, params=settings, metrics=figures, at=_millis())
    runs.client.log_inputs(run, inputs)
    runs.client.log_text(run, tried.to_toml(), "policy.toml")
    runs.client.set_terminated(run)


def _conclude(
    study: optuna.Study, judge: Judge, policy: Policy, space: Space, runs: Runs, out: Path
) -> dict[str, float]:
    """Write the frontier as picture and table, and the recommended policy; log them with the parent run."""
    trials, names = _table(study), list(space.objectives)
    paths = [setting.path for setting in space.settings]
    best = trials.filter(
        pl.Series(frontier.non_dominated(trials.select(names).to_numpy(), list(space.objectives.values())))
    ).sort(space.recommend.least, "trial")
    chosen = frontier.recommended(trials, space.recommend)
    base = trials.filter(pl.col("policy_digest") == policy.digest)
    began = None if base.is_empty() else int(base.item(0, "trial"))
    sentence = frontier.told(space.recommend, trials, chosen)
    figures: dict[str, float] = {**judge.raw_figures(), "trials": len(trials), "frontier": len(best)}
    for word, number in (("base", began), ("recommended", chosen)):
        figures[f"{word}.found"] = float(number is not None)
        if number is not None:
            row = trials.row(by_predicate=pl.col("trial") == number, named=True)
            figures |= {
                f"{word}.{name}": row[name] for name in [*names, "kept_profile", "promoted_share", "upsell.p90"]
            }
            figures[f"{word}.trial"] = number
    trials.write_parquet(out / "trials.parquet")
    best.write_csv(out / "frontier.csv")
    shape = frontier.picture(trials, across="kept", up="leak", chosen=chosen, base=began, settings=paths)
    columns = ["trial", *names, "kept_profile", *paths]
    pieces = [
        f"<p>{sentence}</p>", frontier.piece(shape), "<h2>Policies that no other beats</h2>",
        frontier.table(best.select(columns), mark=chosen),
    ]  # fmt: skip
    (out / "frontier.html").write_text(frontier.page("What do we lose if we are kinder?", pieces), encoding="utf-8")
    (out / "recommended.txt").write_text(sentence + "\n", encoding="utf-8")
    chosen_file = out / "recommended.toml"
    chosen_file.unlink(missing_ok=True)
    kept = None
    if chosen is not None:
        row = trials.row(by_predicate=pl.col("trial") == chosen, named=True)
        kept = _named(policy.replace({path: row[path] for path in paths}), "recommended")
        chosen_file.write_text(kept.to_toml(), encoding="utf-8")
    write_figures(out, figures, policy=kept, bundle=None)
    client, parent = runs.client, runs.parent
    log_values(client, parent, params={}, metrics=figures, at=_millis())
    client.set_tag(parent, "recommended", sentence)
    client.set_tag(parent, "mlflow.note.content", f"{sentence}\n\n{_comparison(runs, best['trial'].to_list())}")
    client.log_table(parent, best.select(columns).to_dict(as_series=False), "frontier.json")
    for name in ("frontier.html", "frontier.csv", "trials.parquet", "figures.json", "recommended.txt"):
        client.log_artifact(parent, str(out / name))
    if chosen is not None:
        client.log_artifact(parent, str(chosen_file))
    client.set_terminated(parent)
    return figures


def _comparison(runs: Runs, trials: list[int]) -> str:
    """Return a link, for the parent's description, to MLflow's parallel coordinates of some trials."""
    query = f"tags.mlflow.parentRunId = '{runs.parent}'"
    found = runs.client.search_runs([runs.experiment_id], query, max_results=5000)
    run_of = {int(run.data.tags["trial"]): run.info.run_id for run in found if "trial" in run.data.tags}
    asked = {"runs": [run_of[trial] for trial in trials if trial in run_of], "experiments": [runs.experiment_id]}
    words = "&".join(f"{name}={quote(json.dumps(ids, separators=(',', ':')))}" for name, ids in asked.items())
    return f"[Parallel coordinates of the policies that no other beats](#/compare-runs?{words})"


def _named(policy: Policy, name: str) -> Policy:
    return Policy.from_dict(policy.to_dict() | {"name": name})


def _millis() -> int:
    return time.time_ns() // 1_000_000


logging.getLogger("optuna").setLevel(logging.WARNING)
