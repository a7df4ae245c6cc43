"""The bench of the gate times what it says: every rule with work, and figures where every command leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from boundary.policy import Policy
from experiments.bench import gate as room
from experiments.bench.figures import read_figures


def test_figures_and_where_the_time_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small block gives every reason of the default policy a row, and the figures are written."""
    figures = room.bench_gate(tmp_path, users=400, items=3_000, rounds=2)
    assert read_figures(tmp_path) == figures
    assert figures["gate_rows"] == 2 * 400 * 202
    assert 0 < figures["gate_rows_per_second"] <= figures["gate_best_rows_per_second"]
    told = capsys.readouterr().out
    assert "M rows a second and core" in told
    assert "kernel.judge_rows" in told
    assert "promoted_gap" in told


def test_a_rule_without_work_is_an_error(tmp_path: Path) -> None:
    """What never withholds a row cannot be said to have been timed."""
    with pytest.raises(room.BenchError, match=r"no row is withheld for .*channel_gap"):
        room.bench_gate(tmp_path, users=20, items=300, events=3, entries=0, rounds=1)


def test_the_block_is_the_same_each_time() -> None:
    """The seed draws it, so two runs time the same rows."""
    one, other = (room.drawn_block(Policy.named("default"), users=9, items=400, events=5, entries=4) for _ in range(2))
    verdicts = [block.screen(gate) for gate, block in (one, other)]
    assert verdicts[0].decision_id == verdicts[1].decision_id
