"""Memory: said before it is taken, and refused where it is not there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import untwin as ut
from short_runs import thing
from untwin import cli
from untwin.data.measurement import Pattern
from untwin.runs import auto, memory
from untwin.runs.launch import launcher


def large(n: int = 32, d: int = 3) -> ut.Problem:
    return ut.Problem.of(Pattern(np.ones((n,) * d, np.float32), np.ones((n,) * d, bool)))


def test_more_of_anything_takes_more(monkeypatch):
    monkeypatch.setattr(memory, "_resident", lambda: 0)
    problem = large(96)

    def needed(text: str, workers: int = 1, problem: ut.Problem = problem) -> int:
        return memory.estimate(problem, ut.parse(text), launcher(problem, workers))

    least = needed("Plan(Search(5*HIO, starts=2))")
    for more in (
        "Plan(Search(5*HIO, starts=12))",
        "Plan(Search(Until(WMV(window=40), 5*HIO), starts=2))",
        "Plan(Search(5*HIO, starts=2), Finish((5*ER,), deal=8, rounds=1))",
        "Plan(Search(5*HIO, starts=12, families=2), Refine(5*Fit(Grid())))",
    ):
        assert needed(more) > least, more
    assert needed("Plan(Search(5*ADMM, starts=2))", 2) > needed("Plan(Search(5*HIO, starts=2))", 2)
    assert needed("Plan(Search(5*HIO, starts=4))", 2) > needed("Plan(Search(5*HIO, starts=4))", 1)
    assert needed("Plan(Search(5*HIO, starts=2))", 1, large(128)) > least


def test_a_run_that_does_not_fit_is_refused_with_a_setting_that_does(monkeypatch):
    monkeypatch.setattr(memory, "_resident", lambda: 0)
    problem = large(96)
    plan = auto.plan(problem)
    by = {w: memory.estimate(problem, plan, launcher(problem, w)) - memory._resident() for w in (1, 2, 4)}
    one = memory.estimate(problem, ut.parse("Plan(Search(5*HIO, starts=1))"), launcher(problem, 1)) - memory._resident()
    for there, said in (
        (by[4], ""),
        (by[2], r"try workers=2 \(--workers 2\)"),
        (by[1], r"try workers=1 \(--workers 1\)"),
        (one // 4, "try a smaller array: crop"),
    ):
        monkeypatch.setattr(memory, "available", lambda there=there: there + 10**6)
        if not said:
            assert memory.require(problem, plan, launcher(problem, 4)) > 0
            continue
        with pytest.raises(ut.InputError, match=rf"this run takes about .* GiB, .* GiB are free; {said}"):
            memory.require(problem, plan, launcher(problem, 4))
    few = memory.estimate(problem, plan.with_starts(3), launcher(problem, 1)) - memory._resident()
    monkeypatch.setattr(memory, "available", lambda: few + 10**6)
    with pytest.raises(ut.InputError, match=r"try workers=1, starts=(\d+) \(--workers 1 --starts \1\)"):
        memory.require(problem, plan, launcher(problem, 4))
    monkeypatch.setattr(memory, "available", lambda: None)
    assert memory.require(problem, plan, launcher(problem, 4)) > 0, "nobody knows how much there is"


def test_a_refusal_has_exit_code_2_and_leaves_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    np.savez(tmp_path / "p.npz", intensity=np.fft.fftshift(thing().intensity))
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", str(tmp_path / "p.npz"), "-o", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "GiB are free" in said and not (tmp_path / "out").exists()


def test_what_this_machine_has_is_known():
    there = memory.available()
    assert there is None or 10**7 < there < 10**14
    assert not Path("/proc/self/statm").exists() or 10**7 < memory._resident() < 10**11


TELLING = """
import atexit, sys
from untwin.cli import main
atexit.register(lambda: print(open("/proc/self/status").read()))
main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the peak is read as Linux tells it")
def test_the_estimate_is_near_the_peak_of_a_run(tmp_path):
    """The whole command on one array; benchmarks/memory.py has more."""
    np.savez(tmp_path / "p.npz", intensity=np.fft.fftshift(thing().intensity))
    command = [sys.executable, "-c", TELLING, "reconstruct", "p.npz", "-o", "out", "--recipe", "5*HIO + ShrinkWrap + ER", "--starts", "2"]
    env = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", said)[0]) * 1024
    told = json.loads((tmp_path / "out" / "summary.json").read_text())["made"]["memory_estimated"]
    assert 0.9 * peak < told < 1.3 * peak
