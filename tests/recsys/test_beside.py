"""A policy beside the live one is counted and changes nothing; what another policy would change is told by alias."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from corner import MINUTE, NOW, POLICY, USERS, shopper
from typer.testing import CliRunner

from boundary.gate import Gate
from boundary.ledger import open_ledger
from boundary.policy import Policy
from recsys.batch import Order, score_users
from recsys.batch_files import BatchError
from recsys.beside import Beside, block_of
from recsys.bundle import Bundle
from recsys.cli import app
from recsys.compared import compare_over
from recsys.engine import Engine, EngineError

EVERYBODY = [shopper(u) for u in range(USERS)]
STRICTER = POLICY.replace({"rules.promoted_share.most": 0, "rules.item_cap.times": 0})
LOOSER = POLICY.replace({"rules.profile_share.most": 1, "overrides.tier.guest.profile_share.most": 1})


def standings(bundle: Bundle, policy: Policy, **asked: object) -> dict[str, int]:
    with closing(open_ledger("sqlite://")) as ledger:
        engine = Engine(bundle, ledger=ledger, shadow_policy=policy)
        for user in EVERYBODY[:12]:
            engine.score(user, now=NOW, **asked)
        assert engine.beside is not None
        assert engine.status(now=NOW)["beside"] == {"digest": policy.digest} | engine.beside.counts
        return engine.beside.counts


def test_the_same_policy_is_equal_for_everybody(bundle: Bundle) -> None:
    """Also where a visitor looks at something now, and where the intent is another."""
    same = Policy.parse(POLICY.to_toml())
    assert standings(bundle, same) == {"equal": 12, "stricter": 0, "looser": 0, "mixed": 0}
    assert standings(bundle, same, session=("item-03",), intent="find")["equal"] == 12


def test_stricter_and_looser_are_told_apart(bundle: Bundle) -> None:
    """Who refuses what is shown is stricter; who lets pass what is refused is looser."""
    strict, loose = standings(bundle, STRICTER), standings(bundle, LOOSER)
    assert (strict["stricter"], strict["looser"], strict["mixed"]) == (12, 0, 0)
    assert loose["looser"] > 0
    assert (loose["stricter"], loose["mixed"]) == (0, 0)


def test_no_slate_changes_by_being_weighed(bundle: Bundle) -> None:
    """With and without a shadow policy the same slates go out, under the live policy's digest."""
    with closing(open_ledger("sqlite://")) as one, closing(open_ledger("sqlite://")) as other:
        alone, weighed = Engine(bundle, ledger=one), Engine(bundle, ledger=other, shadow_policy=STRICTER)
        for turn, user in enumerate([*EVERYBODY[:6], *EVERYBODY[:6], "nobody"]):
            mine, theirs = (engine.score(user, now=NOW + turn * MINUTE) for engine in (alone, weighed))
            assert (mine.items, mine.withheld, mine.shadow) == (theirs.items, theirs.withheld, theirs.shadow)
            assert theirs.policy_digest == POLICY.digest


def test_a_shadow_that_breaks_costs_nobody_the_slate(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted as broken, and the slate goes out."""
    with closing(open_ledger("sqlite://")) as ledger:
        engine = Engine(bundle, ledger=ledger, shadow_policy=STRICTER)
        monkeypatch.setattr("recsys.beside.stand", lambda *_: 1 / 0)
        assert engine.score(EVERYBODY[0], now=NOW).items
        assert engine.beside is not None
        assert engine.beside.counts["broken"] == 1


def test_a_new_bundle_gets_a_new_gate(bundle: Bundle, home: Path) -> None:
    """After a reload the shadow judges by the new catalogue."""
    with closing(open_ledger("sqlite://")) as ledger:
        engine = Engine(bundle, ledger=ledger, shadow_policy=STRICTER)
        engine.score(EVERYBODY[0], now=NOW)
        engine.reload(home)
        engine.score(EVERYBODY[1], now=NOW)
        assert engine.beside is not None
        assert engine.beside._gate is not None
        assert engine.beside._gate.catalogue is engine.gate.catalogue
        assert engine.beside.counts["stricter"] == 2


def test_a_batch_counts_what_each_call_would(bundle: Bundle, tmp_path: Path) -> None:
    """The manifest's sums are those of all calls; a batch is not gone on with beside another policy."""
    order = Order(n=6, surface="home", intent="browse", now=NOW, block=16)
    with closing(open_ledger("sqlite://")) as ledger:
        engine = Engine(bundle, ledger=ledger, shadow_policy=STRICTER)
        manifest = score_users(engine, EVERYBODY, tmp_path / "out", order)
        calls = Beside(STRICTER)
        for user in EVERYBODY:
            calls.weigh(engine.score_block([user], n=6, now=NOW))
        assert manifest["beside"] == {name: count for name, count in calls.counts.items() if count}
        assert manifest["beside_digest"] == STRICTER.digest
        plain = Engine(bundle, ledger=ledger)
        with pytest.raises(BatchError, match="another order, bundle, policy"):
            score_users(plain, EVERYBODY, tmp_path / "out", order, resume=True)
        assert score_users(plain, EVERYBODY, tmp_path / "plain", order)["beside"] == {}


def test_changes_are_told_by_alias_and_by_reason(engine: Engine) -> None:
    """Each change is one of a kept row of one side; no id of a shopper is in it."""
    found = compare_over(engine, STRICTER, EVERYBODY, n=6, surface="home", intent="browse", now=NOW, read_ledger=True,
                         block=7)  # fmt: skip
    answer = engine.score_block(EVERYBODY, n=6, now=NOW)
    there = block_of(answer).screen(Gate(engine.gate.catalogue, STRICTER))
    lost = found.changes.filter(pl.col("change") == "lost")
    assert len(lost) == int((answer.verdict.kept & ~there.kept).sum()) > 0
    assert sum(found.standings.values()) == USERS
    assert found.changes["shopper"].str.contains("^~[0-9a-f]{16}$").all()
    assert set(found.by_reason().filter(pl.col("change") == "lost")["reason"]) >= {"item_cap"}
    nobody = compare_over(
        engine, POLICY, EVERYBODY[:9], n=6, surface="home", intent="browse", now=NOW, read_ledger=True
    )
    assert (len(nobody.changes), nobody.standings["equal"]) == (0, 9)


def test_the_commands(home: Path, opened: Callable[..., Engine], tmp_path: Path) -> None:
    """``score --shadow-policy`` and ``policy diff --bundle`` end with the counts and without an id."""
    opened()
    run, strict = CliRunner(), tmp_path / "strict.toml"
    strict.write_text(STRICTER.to_toml(), encoding="utf-8")
    ledger = ["--ledger", f"sqlite:///{tmp_path / 'ledger.db'}", "--bundle", str(home)]
    told = run.invoke(app, ["score", *ledger, "--shadow-policy", str(strict), "--out", str(tmp_path / "slates")])
    assert told.exit_code == 0, told.output
    assert "'stricter': " in told.output
    live = tmp_path / "live.toml"
    live.write_text(POLICY.to_toml(), encoding="utf-8")
    told = run.invoke(
        app, ["policy", "diff", str(live), str(strict), *ledger, "--out", str(tmp_path / "changes.parquet")]
    )
    assert told.exit_code == 0, told.output
    for word in ("rules.item_cap.times", "0 equal, 60 stricter", "item_cap", "lost"):
        assert word in told.output
    assert "jane.doe" not in told.output
    assert len(pl.read_parquet(tmp_path / "changes.parquet")) > 0
    wrong = run.invoke(
        app, ["score", *ledger, "--shadow-policy", str(strict), "--engine", "spark", "--out", str(tmp_path)]
    )
    assert isinstance(wrong.exception, EngineError)
    assert "--shadow-policy must be left out with --engine spark" in str(wrong.exception)


def test_check_puts_cases_to_a_policy(tmp_path: Path) -> None:
    """All cases that come out otherwise are listed, and the code says so; a wrong case is told with its place."""
    run, mine = CliRunner(), tmp_path / "mine.toml"
    fine = run.invoke(app, ["policy", "check", "default", "--cases", "shipped"])
    assert fine.exit_code == 0, fine.output
    assert "cases come out as they say" in fine.output
    mine.write_text(Policy.named("default").replace({"rules.item_cap.times": 0, "rules.owned.enforce": "off"}).to_toml(),
                    encoding="utf-8")  # fmt: skip
    told = run.invoke(app, ["policy", "check", str(mine), "--cases", "shipped"])
    assert told.exit_code == 1
    assert "owned.toml: " in told.output
    assert told.output.count("but is withheld for item_cap") > 5
    folder = tmp_path / "cases"
    folder.mkdir()
    (folder / "a.toml").write_text("[[case]]\nsays = 'x'\n[[case]]\nallowed = true", encoding="utf-8")
    (folder / "b.toml").write_text(
        "[[case]]\nsays = 'z'\nallowed = true\nitem = { prize = 3 }\n[[cas]]", encoding="utf-8"
    )
    told = run.invoke(app, ["policy", "check", "default", "--cases", str(folder)])
    assert told.exit_code == 2
    for line in (
        "a.toml: case 1: must say either",
        "a.toml: case 2: says is missing; add it",
        "b.toml must hold [[case]]",
    ):
        assert line in told.output
