"""The bench of growing shops runs real programs, goes on where it was cut off, and says what failed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.scale import Size, bench_scale
from experiments.visits import LabError


@given(st.tuples(*[st.integers(1, 10**9)] * 3))
def test_a_size_survives_being_written_down(counts: tuple[int, int, int]) -> None:
    assert Size.of("x".join(map(str, counts))) == Size(*counts)


@pytest.mark.parametrize("text", ["", "10k", "10k x 10k", "a x b x c", "1 x 2 x 3 x 4", "10m x 1 x 1"])
def test_a_size_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LabError, match="10k x 10k x 1M"):
        Size.of(text)


def test_it_measures_each_step_and_does_none_twice(tmp_path: Path) -> None:
    size = Size(300, 250, 9_000)
    figures = bench_scale(tmp_path, sizes=[size], dimensions=8, sample=1)
    assert pl.read_csv(tmp_path / "scale.csv")["users"].to_list() == [300]
    for step in ("make", "fit", "score"):
        assert figures[f"scale.{size.label}.{step}_seconds"] > 0
        assert 0.01 < figures[f"scale.{size.label}.{step}_memory"] < 8
    shares = [part for name, part in figures.items() if ".share." in name]
    assert sum(shares) == pytest.approx(1)
    assert not (tmp_path / size.label / "shop").exists()
    assert bench_scale(tmp_path, sizes=[size], dimensions=8, sample=1) == figures
    assert json.loads((tmp_path / "figures.json").read_text()) == pytest.approx(figures)


def test_a_step_that_fails_says_where_its_words_are(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"make\.log"):
        bench_scale(tmp_path, sizes=[Size(10, 10, 100)])  # fewer products than there are types
