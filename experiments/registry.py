"""Which model is the champion? One that kept within the guard rails; else the one before stays, and it is said why."""

from __future__ import annotations

import math
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.figures import abouts_of, read_figures
from experiments.tracking import code_version, experiment, log_values, tracked
from experiments.visits import LabError
from recsys.bundle import Bundle
from recsys.forgetting import Forgotten
from recsys.people import marks_of
from recsys.registered import bundle_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from boundary.policy import Policy

Progress = Callable[[str, float], None]
RAILS = Path(__file__).with_name("guard_rails.toml")
CODE = Path(__file__).with_name("pyfunc_model.py")
NAME, ALIAS, EXPERIMENT = "cornerstore", "champion", "cornerstore-promote"


class PromotionError(LabError):
    """A model may not have the alias; ``failing`` lists every guard rail that does not hold."""

    def __init__(self, failing: list[str]) -> None:
        self.failing = failing
        super().__init__("not promoted: " + "; ".join(failing))


@dataclass(frozen=True)
class Rail:
    """A figure and the bounds it must keep."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def failing(self, figures: Mapping[str, float]) -> str | None:
        """Say how the rail does not hold; None where it does.

        Example:
            >>> Rail("fill", at_least=0.9).failing({"fill": 0.85})
            'fill must be at least 0.9 but is 0.85'
        """
        value = figures.get(self.figure)
        if value is None or math.isnan(value):
            return f"{self.figure} was not measured"
        if self.at_least is not None and value < self.at_least:
            return f"{self.figure} must be at least {self.at_least:g} but is {value:.6g}"
        if self.at_most is not None and value > self.at_most:
            return f"{self.figure} must be at most {self.at_most:g} but is {value:.6g}"
        return None


def read_rails(path: Path = RAILS) -> list[Rail]:
    """Read guard rails; raise ``LabError`` where the file says something else.

    Example:
        >>> [rail.at_most for rail in read_rails() if rail.figure == "over_cap_rate"]
        [0]
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{path} cannot be read: {error}") from error
    rails = tree.get("rails")
    if not isinstance(rails, dict) or not rails:
        raise LabError(f"{path}: must have a table `rails` with a line for each figure")
    for figure, bounds in rails.items():
        numbers = isinstance(bounds, dict) and all(isinstance(value, int | float) for value in bounds.values())
        if not numbers or not bounds or set(bounds) - {"at_least", "at_most"}:
            raise LabError(f"{path}: {figure}: must have `at_least`, `at_most` or both but got {bounds}")
    return [Rail(figure, **bounds) for figure, bounds in rails.items()]


def promote(
    bundle: Path,
    out: Path,
    *,
    policy: Policy | None = None,
    figures: Mapping[str, float] | list[Path],
    rails: Path = RAILS,
    name: str = NAME,
    alias: str = ALIAS,
    ledger: str | None = None,
    tracking_uri: str | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Register a bundle under a policy and give it the alias, if every guard rail holds.

    Whoever was forgotten in the version that has the alias so far is forgotten in the new one too.

    Args:
        bundle: folder that ``cornerstore fit`` wrote.
        out: folder of the embedded store; see ``tracked``.
        policy: the rules; the bundle's own where None. Another blindfold strength than the fitted one is applied.
        figures: what was measured: a mapping, or folders with ``figures.json``.
        rails: TOML file of guard rails.
        name: of the registered model.
        alias: what the version is called from now on.
        ledger: address that the served model keeps its ledger at; CORNERSTORE_LEDGER stands above it.
        tracking_uri: an MLflow server.
        progress: is told what is being done.

    Returns:
        version, the number of guard rails, and the figures they are about.

    Raises:
        PromotionError: a guard rail does not hold, or figures are of another policy or fit; nothing is registered.
        ForgottenError: the version that has the alias cannot tell who was forgotten; nothing is registered.
        BundleError: there is no bundle.
        RegisteredError: the version that has the alias holds no bundle.
    """
    tell = progress or (lambda _what, _share: None)
    fitted = Bundle.load(bundle)
    rules = policy or fitted.policy
    measured = dict(figures) if isinstance(figures, Mapping) else read_figures(*figures)
    wanted = read_rails(rails)
    failing = [said for rail in wanted if (said := rail.failing(measured)) is not None]
    abouts = {} if isinstance(figures, Mapping) else abouts_of(*figures)
    for word, name_of, own in (("policy", "policy_digest", rules.digest), ("fit", "fit_id", fitted.fit_id)):
        of = {folder: about.get(name_of) for folder, about in abouts.items()}
        failing += [
            f"{folder} measured {word} {one}, not {own}" for folder, one in of.items() if one not in {None, own}
        ]
    if failing:
        raise PromotionError(failing)
    tell("packing the bundle", 0.1)
    with tempfile.TemporaryDirectory() as draft, tracked(out, tracking_uri) as client:
        before = _holder(client, name, alias)
        missed = Forgotten() if before is None else _forgotten(name, before).newer_than(fitted.forgotten)
        packed = _packed(fitted.without(missed), rules, Path(draft))
        tell("registering", 0.4)
        number = _register(client, packed, rules, measured, wanted, out, tracking_uri, name=name, ledger=ledger)
        if before is not None:
            client.set_model_version_tag(name, number, f"before.{alias}", before)
        client.set_registered_model_alias(name, alias, number)
    tell("done", 1.0)
    kept = {rail.figure: measured[rail.figure] for rail in wanted}
    return {"version": float(number), "guard_rails": len(wanted), **kept}


def rollback(out: Path, *, name: str = NAME, alias: str = ALIAS, tracking_uri: str | None = None) -> dict[str, float]:
    """Return the alias to the version that had it before; ``from`` and ``to`` are the version numbers.

    Whoever was forgotten in the version that has the alias so far is forgotten in the one before first.

    Raises:
        LabError: nobody has the alias, or nobody had it before.
        ForgottenError: it cannot be told who was forgotten.
        BundleError: the bundle of the version before is broken.
        RegisteredError: one of the two versions holds no bundle.
    """
    with tracked(out, tracking_uri) as client:
        now = _holder(client, name, alias)
        if now is None:
            raise LabError(f"no version of {name} has the alias {alias!r}; promote one first")
        before = client.get_model_version(name, now).tags.get(f"before.{alias}")
        if before is None:
            raise LabError(
                f"version {now} of {name} is the first that had the alias {alias!r}; there is none to return to"
            )
        old = Bundle.load(f"models:/{name}/{before}")
        missed = _forgotten(name, now).newer_than(old.forgotten)
        if len(missed) and old.path is not None:
            old.without(missed).save(old.path)
        client.set_registered_model_alias(name, alias, before)
    return {"from": float(now), "to": float(before)}


def requirements(ledger: str | None = None) -> list[str]:
    """Return what the package needs to serve, pinned to what is installed; what is not stays as it is declared."""
    from packaging.requirements import Requirement

    needed = [one for line in requires("cornerstore") or () if (one := Requirement(line)).marker is None]
    if ledger is not None and ledger.startswith("redis"):
        needed.append(Requirement("redis"))
    return sorted(_pinned(one.name) or str(one) for one in needed)


def _pinned(name: str) -> str | None:
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return None


def signature() -> ModelSignature:
    """Return what the model takes and gives."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    text, whole = DataType.string, DataType.long
    asked = [
        ColSpec(text, "user_id"), ColSpec(whole, "n", required=False), ColSpec(text, "surface", required=False),
        ColSpec(text, "intent", required=False), ColSpec(text, "now", required=False),
    ]  # fmt: skip
    given = [
        ColSpec(text, "user_id"), ColSpec(whole, "position"), ColSpec(text, "item_id"),
        ColSpec(DataType.double, "score"),
        *(ColSpec(text, word) for word in ("source", "why", "slate_id", "tier", "policy_digest")),
    ]  # fmt: skip
    return ModelSignature(inputs=Schema(asked), outputs=Schema(given))


def _forgotten(name: str, number: str) -> Forgotten:
    """Return the marks of all who were forgotten in a version."""
    return marks_of(bundle_of(f"models:/{name}/{number}"))


def _packed(fitted: Bundle, rules: Policy, draft: Path) -> Path:
    """Write the bundle under the policy, its blindfold at the policy's strength."""
    return replace(fitted.under(rules), path=None).save(draft / "bundle")


def _register(
    client: MlflowClient,
    packed: Path,
    rules: Policy,
    measured: Mapping[str, float],
    wanted: list[Rail],
    out: Path,
    tracking_uri: str | None,
    *,
    name: str,
    ledger: str | None,
) -> str:
    """Log the model with its figures in a run of its own, and return its version number."""
    import mlflow
    import pandas as pd

    fit_id = Bundle.load(packed).fit_id
    tags = {"policy_digest": rules.digest, "bundle": fit_id, "code_version": code_version()}
    example = pd.DataFrame({"user_id": ["somebody"], "n": [10], "surface": ["home"], "intent": ["browse"]})
    place = experiment(client, EXPERIMENT, out, tracking_uri)
    bounds = {rail.figure: f"{rail.at_least} to {rail.at_most}" for rail in wanted}
    with (
        tempfile.TemporaryDirectory() as folder,
        mlflow.start_run(experiment_id=place, run_name=f"promote {rules.name}", tags=tags) as run,
    ):  # fmt: skip
        log_values(client, run.info.run_id, params=bounds, metrics=measured, at=run.info.start_time)
        client.log_text(run.info.run_id, rules.to_toml(), "policy.toml")
        logged: Any = mlflow.pyfunc.log_model(
            name=name, python_model=str(CODE), artifacts={"bundle": str(packed)}, signature=signature(),
            input_example=example, pip_requirements=requirements(ledger), code_paths=_code(Path(folder)),
            model_config={"ledger": ledger, "reserve": True}, registered_model_name=name,
        )  # fmt: skip
    number = str(logged.registered_model_version)
    for key, value in tags.items():
        client.set_model_version_tag(name, number, key, value)
    return number


def _code(folder: Path) -> list[str]:
    """Copy the packages that the model runs on, without what was compiled on this machine."""
    import boundary
    import recsys

    copies = []
    for package in (boundary, recsys):
        source = Path(str(package.__file__)).parent
        target = folder / source.name
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        copies.append(str(target))
    return copies


def _holder(client: MlflowClient, name: str, alias: str) -> str | None:
    """Return the version that has the alias, None where none has."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException:
        return None
