"""Many reconstructions in one process leave nothing behind (200 of them: benchmarks/soak.py)."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

import untwin as ut
from samples import pattern, thing
from untwin.data.cxi import write_pattern
from untwin.data.dataset import simulated
from untwin.runs.archive import load


def held() -> tuple[int, int, float]:
    """Open files, threads, resident megabytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what a process holds is read from /proc")
def test_a_dozen_reconstructions_leave_no_file_no_thread_and_little_memory(tmp_path):
    p = pattern(thing((48, 48), 0), photons=1e6)
    path = write_pattern(tmp_path / "p.cxi", simulated(p.intensity, p.measured), process={})
    seen = []
    for seed in range(14):
        solution = ut.reconstruct(ut.read(path), "2*(5*HIO + 5*ER) + 5*ER", starts=2, seed=seed, workers=1)
        solution.save(tmp_path / "run", overwrite=True)
        load(tmp_path / "run")
        seen.append(held())
    (files, threads, _), (files_, threads_, after) = seen[2], seen[-1]
    assert files_ <= files and threads_ <= threads
    assert after - seen[2][2] < 5, "MB; a rough limit, since libraries still grow in the first rounds"
