"""How fast, against what? Each bench times both sides in one run and adds its ratios to `figures.json`."""

from experiments.bench.figures import add_figures, interleave, read_figures
from experiments.bench.million import bench_million
from experiments.bench.topk import bench_topk

__all__ = ["add_figures", "bench_million", "bench_topk", "interleave", "read_figures"]
