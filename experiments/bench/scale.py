"""How do time and memory grow with the shop: making it, fitting it, scoring everybody in it?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from experiments.bench.batch import stages
from experiments.bench.figures import add_figures
from experiments.visits import LabError
from recsys.batch import Order
from recsys.batch_files import MANIFEST, write_json
from recsys.bundle import Bundle
from recsys.engine import Engine

SIZES = ("10k x 10k x 1M", "100k x 30k x 10M", "250k x 50k x 25M", "1M x 100k x 100M")
STEPS = ("make", "fit", "score")
PROGRAM = "from recsys.cli import main; main()"
MAKER = (
    "import sys; from data.synthetic import make_shop;"
    "make_shop(sys.argv[1], users=int(sys.argv[2]), items=int(sys.argv[3]), events=int(sys.argv[4]), seed=int(sys.argv[5]))"
)


@dataclass(frozen=True)
class Size:
    """How large a shop is."""

    users: int
    items: int
    events: int

    @classmethod
    def of(cls, text: str) -> Size:
        """Read ``users x items x events``, with k and M.

        Example:
            >>> Size.of("10k x 10k x 1M")
            Size(users=10000, items=10000, events=1000000)
        """
        try:
            users, items, events = (_count(part) for part in text.split("x"))
        except ValueError:
            raise LabError(f"`size` must be users x items x events, such as 10k x 10k x 1M, but got {text!r}") from None
        return cls(users, items, events)

    @property
    def label(self) -> str:
        """The name of the size's folder and figures."""
        return f"{self.users}x{self.items}x{self.events}"


@dataclass(frozen=True)
class Cost:
    """What one program took: seconds on the clock, seconds of processor, and the most memory held, in GB.

    Memory is the resident set's peak, so pages of mapped files that were touched count too.
    """

    seconds: float
    processor: float
    memory: float


def bench_scale(
    out: Path, *, sizes: Sequence[Size], dimensions: int = 64, sample: int = 8, seed: int = 7, keep: bool = False
) -> dict[str, float]:
    """Make, fit and score invented shops of several sizes, each step a program of its own, and say what each took.

    A step that is done stays done: the same command goes on where it was cut off.

    Args:
        out: gets ``scale.csv``, ``where.csv`` and ``figures.json``, and the shops.
        sizes: the shops.
        dimensions: of the factors.
        sample: blocks that are scored once more, to see where the time goes.
        seed: of everything drawn.
        keep: leave shops, bundles and slates of done sizes there; the larger ones take gigabytes.

    Raises:
        LabError: a step failed.
    """
    figures: dict[str, float] = {}
    rows, where = [], []
    for size in sizes:
        folder = out / size.label
        folder.mkdir(parents=True, exist_ok=True)
        told = _known(folder)
        for step in STEPS:
            if step not in told:
                _say(f"{size.label}: {step}")
                told[step] = asdict(_run(_command(step, folder, size, dimensions, seed), folder / f"{step}.log"))
                _keep(folder, told)
        if "where" not in told:
            told["where"] = _where(folder, sample)
            told["scored"] = json.loads((folder / "slates" / MANIFEST).read_text(encoding="utf-8"))["scored"]
            _keep(folder, told)
        if not keep:
            for name in ("shop", "bundle", "slates", "profiled"):
                shutil.rmtree(folder / name, ignore_errors=True)
        row = asdict(size) | {
            f"{step}_{name}": told[step][name] for step in STEPS for name in ("seconds", "processor", "memory")
        }
        row["shoppers_a_second"] = told["scored"] / told["score"]["seconds"]
        rows.append(row)
        where.append({"users": size.users} | told["where"])
        for name, value in row.items():
            figures[f"scale.{size.label}.{name}"] = float(value)
        figures |= {f"scale.{size.label}.share.{stage}": part for stage, part in told["where"].items()}
        _say(
            f"{size.label}: " + "; ".join(
                f"{step} {told[step]['seconds']:,.0f} s, {told[step]['memory']:.2f} GB" for step in STEPS
            ) + f"; {row['shoppers_a_second']:,.0f} shoppers a second"
        )  # fmt: skip
        pl.DataFrame(rows).write_csv(out / "scale.csv")
        pl.DataFrame(where).write_csv(out / "where.csv")
        add_figures(out, figures)
    return figures


def _command(step: str, folder: Path, size: Size, dimensions: int, seed: int) -> list[str]:
    shop, bundle, slates = folder / "shop", folder / "bundle", folder / "slates"
    if step == "make":
        return ["-c", MAKER, *map(str, (shop, size.users, size.items, size.events, seed))]
    if step == "fit":
        told = ["--data", shop, "--taxonomy", shop / "taxonomy.toml", "--out", bundle, "--seed", seed]
        return ["-c", PROGRAM, "fit", *map(str, told), "--model", "als", "--setting", f"factors={dimensions}"]
    ledger = f"sqlite:///{(folder / 'ledger.db').absolute()}"
    told = ["--bundle", bundle, "--out", slates, "--ledger", ledger, *(["--resume"] if slates.exists() else [])]
    return ["-c", PROGRAM, "score", *map(str, told)]


def _run(command: Sequence[str], log: Path) -> Cost:
    """Run a program to its end and return what it took.

    Raises:
        LabError: it failed; its last words are told.
    """
    start = perf_counter()
    with log.open("w", encoding="utf-8") as said:
        program = subprocess.Popen([sys.executable, *command], stdout=said, stderr=subprocess.STDOUT)  # noqa: S603
        _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:] or ["nothing"]
        raise LabError(f"a step ended with {program.returncode}: {last[0]}; all it said is in {log}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e9)


def _where(folder: Path, sample: int) -> dict[str, float]:
    bundle = Bundle.load(folder / "bundle")
    engine = Engine.load(folder / "bundle", ledger=f"sqlite:///{(folder / 'ledger.db').absolute()}")
    order = Order(n=10, surface="home", intent="browse", now=int(bundle.facts["fitted_for"]))
    users = [user for user in bundle.user_ids[: sample * order.block] if user]
    return stages(engine, users, order, folder / "profiled")


def _known(folder: Path) -> dict[str, Any]:
    path = folder / "steps.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _keep(folder: Path, told: dict[str, Any]) -> None:
    write_json(folder / "steps.json", told)


def _count(text: str) -> int:
    """Read a count with k or M.

    Example:
        >>> _count("250k"), _count(" 1M ")
        (250000, 1000000)
    """
    word = text.strip()
    unit = {"k": 1_000, "M": 1_000_000}.get(word[-1:], 0)
    return int(word[:-1]) * unit if unit else int(word)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
