"""A process that compiles the loops and one that loads what was compiled give the same numbers, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WORK = """
import hashlib
import numpy as np
from recsys.models import kernel
from recsys.topk import ItemIndex, topk

draw = np.random.default_rng(0)
for size in (5, 64):
    item = draw.normal(scale=0.3, size=(300, size)).astype(np.float32)
    gram = (item.T @ item + np.eye(size)).astype(np.float32)
    rows = np.concatenate([np.sort(draw.choice(300, 12, replace=False)) for _ in range(20)]).astype(np.int32)
    ends, few, tables = np.arange(0, 241, 12), np.arange(0, 201, 10), np.arange(0, 2401, 120)
    given = np.where(draw.random(len(rows)) < 0.7, 1, draw.uniform(1, 9, len(rows))).astype(np.float32)
    users, systems = np.zeros((20, size), np.float32), np.empty((20, size, size), np.float32)
    kernel.solve(gram, kernel.root_of(gram), item, ends, rows, given, 0, 20, users, systems)
    parts, along = np.zeros(2400, np.float32), draw.normal(size=(200, size)).astype(np.float32)
    kernel.add_solved_parts(gram, kernel.root_of(gram), item, along, ends, rows, given, systems, few, tables, 1.0, 0, 20, parts)
    found = topk(ItemIndex.build(item), users, 50)
    bits = b"".join(part.tobytes() for part in (users, np.triu(systems), parts, found.item_row, found.score))
    print(size, hashlib.sha256(bits).hexdigest())
"""


def test_the_process_that_compiles_and_those_that_load_agree(tmp_path: Path):
    """Before, the last bits of solved vectors differed: the two ran separately optimized copies of what a loop calls."""
    command = [sys.executable, "-c", WORK]
    there = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    said = [subprocess.run(command, env=there, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert any(tmp_path.rglob("*.nbc"))
    assert len(said[0].split()) == 4
    assert said[0] == said[1]
