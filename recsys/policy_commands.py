"""The commands about policies: check, compare, and describe them for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from recsys.display import console, counting, grid_of, noted
from recsys.terminal import Intent, LedgerUrl, Now, Slots, Surface, ledger_of, moment_of

policy_app = typer.Typer(help="Check and compare policy files.", no_args_is_help=True)


@policy_app.command()
def check(
    file: Annotated[str, typer.Argument(help="A TOML file, or default, gentle, strict.")],
    cases: Annotated[
        str | None, typer.Option(help="Folder of sample cases in TOML, or `shipped` for the default policy's.")
    ] = None,
) -> None:
    """Report every mistake in a policy file at once, and every sample case that it decides otherwise.

    Example: [bold]cornerstore policy check my_policy.toml --cases my_cases[/]
    """
    from boundary.cases import SHIPPED, CaseError, run_cases
    from boundary.policy import PolicyError
    from recsys.engine import policy_of

    try:
        policy = policy_of(file)
        outcomes = [] if cases is None else run_cases(policy, SHIPPED if cases == "shipped" else cases)
    except (PolicyError, CaseError) as error:
        where = file if isinstance(error, PolicyError) else cases
        for mistake in error.mistakes:
            console.print(noted(f"{where}:", mistake, "red"))
        raise typer.Exit(2) from error
    console.print(f"{file}: {len(policy.rules)} rules, no mistakes, digest {policy.digest}")
    failed = [one for one in outcomes if not one.passed]
    for one in failed:
        console.print(str(one), style="red")
    if outcomes:
        console.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases come out as they say")
    if failed:
        raise typer.Exit(1)


@policy_app.command()
def diff(
    one: Annotated[str, typer.Argument(help="A policy.")],
    other: Annotated[str, typer.Argument(help="Another.")],
    bundle: Annotated[Path | None, typer.Option("--bundle", "-b", help="Also try both on its shoppers.")] = None,
    ledger: LedgerUrl = "",
    users: Annotated[int, typer.Option(help="How many shoppers, the first ones; at least 1.")] = 2000,
    n: Slots = 10,
    surface: Surface = "home",
    intent: Intent = "browse",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Parquet of every change; shoppers by alias.")] = None,
    now: Now = None,
) -> None:
    """Show the settings in which two policies differ, and what would change for the shoppers of a bundle, by reason.

    Candidates are those of the first policy, the same for both. A shopper is named by an alias that holds for this run.

    Example: [bold]cornerstore policy diff default strict --bundle runs/demo/bundle[/]
    """
    from boundary.tables import TableError, write_parquet_atomic
    from recsys.engine import Engine, EngineError, policy_of

    if users < 1:
        raise EngineError(f"--users must be at least 1 but got {users}")
    if out is not None and out.suffix != ".parquet":
        raise TableError(f"--out must be the name of a .parquet file but got {str(out)!r}; rename it")
    here, there = policy_of(one), policy_of(other)
    grid = grid_of("setting", one, other)
    grid.columns[0].no_wrap = True
    for path, mine, theirs in here.differences(there):
        grid.add_row(path, str(mine), str(theirs))
    console.print(grid)
    if bundle is None:
        return
    from recsys.compared import compare_over

    url = ledger_of(bundle, ledger)
    engine = Engine.load(bundle, ledger=url, policy=here)
    moment = moment_of(now, engine)
    ids = [user for user in engine.bundle.user_ids if user][:users]
    with counting("Comparing") as progress:
        found = compare_over(engine, there, ids, n=n, surface=surface, intent=intent, now=moment,
                             read_ledger=url is not None, progress=progress)  # fmt: skip
    touched = found.changes["shopper"].n_unique()
    told = ", ".join(f"{count:,} {word}" for word, count in found.standings.items())
    console.print(f"{other} beside {one}, {len(ids):,} shoppers: {told}; {touched:,} would see another slate")
    reasons = grid_of("change", "reason", "slots", "shoppers")
    for change, reason, slots, shoppers in found.by_reason().iter_rows():
        reasons.add_row(change, reason, f"{slots:,}", f"{shoppers:,}")
    console.print(reasons)
    some = grid_of("shopper", "change", "item", "why")
    for who, item, change, why in found.changes.head(12).iter_rows():
        some.add_row(who, change, engine.bundle.titles[engine.gate.catalogue.row_of[item]], ", ".join(why))
    console.print(some)
    if out is not None:
        write_parquet_atomic(found.changes, out)
        console.print(f"every change is in {out}")


@policy_app.command()
def schema() -> None:
    """Print a JSON Schema of policy files, for editors.

    Example: [bold]cornerstore policy schema > policy.schema.json[/]
    """
    from boundary.policy import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
