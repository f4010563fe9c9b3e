"""Where starts run does not change where they end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch

from events import LIMIT
from samples import close, lopsided, pattern, problem, state, thing, wave
from untwin.judge.metrics import r_factor
from untwin.model.constraints import Nonnegative, Support
from untwin.runs import launch
from untwin.runs.checkpoint import Checkpoint
from untwin.runs.launch import BATCH_PIXELS, Launcher, brief, cores, launcher, one_thread, residual, run_here
from untwin.runs.names import parse
from untwin.solve.recipe import Algorithm, length
from untwin.solve.run import iterate
from untwin.solve.state import State

RECIPE = parse("2*(5*RAAR + ShrinkWrap(threshold=Draw(0.3, 0.9), sigma=Ramp(2, 0.5))) + Until(Plateau(patience=4), 6*HIO) + 4*Mean(ER)")


def setting(starts=5):
    p = problem(pattern(thing((16, 15), 1), photons=1e4))
    return p, state(wave((16, 15), 2, starts), lopsided((16, 15)), tuple(range(20, 20 + starts)))


def test_the_size_of_a_batch_does_not_change_the_outcome():
    p, s = setting()
    whole = Launcher(1, batch=5).map(p, [(RECIPE, s)])[0].state
    for batch in (1, 2, 3, 4):
        got = Launcher(1, batch=batch).map(p, [(RECIPE, s)])[0].state
        assert got.seeds == whole.seeds
        assert close(got.x, whole.x) < 1e-9 and close(got.image, whole.image) < 1e-9
        assert torch.equal(got.support, whole.support) and torch.equal(got.bounds, whole.bounds)


def test_several_jobs_come_back_in_order():
    p, s = setting(4)
    other = parse("3*ER")
    one, two = Launcher(1, batch=3).map(p, [(other, s), (RECIPE, s[[3, 0]])])
    assert one.state.seeds == s.seeds and two.state.seeds == (23, 20)
    last = list(iterate(p, other, s))[-1]
    assert close(one.state.x, last.x) < 1e-12
    assert close(two.state.x, Launcher(1).map(p, [(RECIPE, s[[3, 0]])])[0].state.x) < 1e-9


def test_a_pool_of_processes_ends_where_this_process_does():
    p, s = setting(2)
    recipe = parse("14*RAAR + ShrinkWrap(threshold=0.5) + 7*ER")
    here = Launcher(1).map(p, [(recipe, s)], samples=4)[0]
    reports = []
    launcher = Launcher(2)
    pool = launcher.map(p, [(recipe, s)], samples=4, report=lambda steps, r: reports.append((steps, r)))[0]
    assert close(pool.state.x, here.state.x) < 1e-10 and torch.equal(pool.state.support, here.state.support)
    assert pool.state.seeds == here.state.seeds and launcher.cpu_seconds > 0
    assert [steps for steps, _ in pool.traces] == [steps for steps, _ in here.traces]
    assert pool.traces[1][1] == pytest.approx(here.traces[1][1])
    assert sum(n for n, _ in reports) == 2 * length(recipe) and min(r for _, r in reports) > 0
    from loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


def test_threads_end_where_this_process_does_with_the_same_bits():
    p, s = setting(4)
    recipe = parse("2*(5*RAAR + ShrinkWrap(threshold=Draw(0.3, 0.9), sigma=Ramp(2, 0.5))) + 6*HIO + 4*Mean(ER)")
    here, threads = Launcher(1, 1), Launcher(2, 1, threads=True)
    one, two = (way.map(p, [(recipe, s), (parse("3*ER"), s)], samples=4) for way in (here, threads))
    for a, b in zip(one, two):
        assert torch.equal(a.state.x, b.state.x) and torch.equal(a.state.support, b.state.support)
        assert a.traces == b.traces and a.state.seeds == b.state.seeds
    assert threads.cpu_seconds == 0.0, "this process counts them"


class Awaited(Algorithm):
    """Steps that count themselves. The first comes to an end only when `other` has begun."""

    brief = True

    def __init__(self, other: threading.Event):
        self.other, self.begun, self.steps = other, threading.Event(), 0

    def step(self, problem, state):
        self.begun.set()
        assert self.other.wait(LIMIT)
        self.steps += 1
        return state.replace(x=state.x * 0.999)


def pair() -> tuple[Awaited, Awaited]:
    """Two algorithms that begin together in two threads."""
    first = Awaited(threading.Event())
    second = Awaited(first.begun)
    first.other = second.begun
    return first, second


def test_threads_stop_at_their_next_step_and_keep_where_they_stand(tmp_path):
    p, s = setting(1)
    checkpoint, (short, long) = Checkpoint(tmp_path / "kept"), pair()
    checkpoint.begin({})

    def report(steps, r):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Launcher(2, 1, checkpoint, threads=True).map(p, [(2 * short, s), (10**6 * long, s)], report=report)
    checkpoint.keep()
    assert short.steps == 2 and 1 <= long.steps < 10**6
    parts = [part for file in (tmp_path / "kept").iterdir() if not file.suffix and (part := checkpoint.read(file.name))]
    assert sorted((part.ended, part.state.step) for part in parts) == [(False, long.steps), (True, 0)]


def test_threads_stop_where_the_interpreter_ends(monkeypatch):
    p, s = setting(1)
    (one, other), interpreter = pair(), SimpleNamespace(_shutdown=False)
    monkeypatch.setattr(launch, "thread", interpreter)
    one.begin = lambda problem, state: vars(interpreter).update(_shutdown=True) or state
    with pytest.raises(KeyboardInterrupt):
        Launcher(2, 1, threads=True).map(p, [(10**6 * one, s), (10**6 * other, s)])
    assert max(one.steps, other.steps) < 10**6


def test_what_fails_in_a_thread_stops_the_others():
    p, s = setting(1)
    bad, long = pair()
    bad.begin = lambda problem, state: long.begun.wait(LIMIT) and 1 / 0
    with pytest.raises(ZeroDivisionError):
        Launcher(2, 1, threads=True).map(p, [(bad, s), (10**6 * long, s)])
    assert 0 <= long.steps < 10**6


@pytest.mark.parametrize(
    ("recipe", "short"),
    [
        ("BoxSupport + RandomStart + 2*(5*Damped(HIO) + ShrinkWrap) + Capped(RAAR) + Mean(Proximal(ER)) + Rescale", True),
        ("5*HIO + Until(Plateau(), 5*ER)", False),
        ("3*Fit(DoubleDIP(Skip()))", False),
        ("ER + MaximumLikelihood", False),
    ],
)
def test_threads_take_what_is_brief(recipe, short):
    assert brief(parse(recipe)) is short


@dataclass(frozen=True)
class Own(type(Nonnegative())):
    """A constraint that somebody has written."""


def test_threads_have_large_arrays_and_what_is_untwins_own():
    big = problem(pattern(thing((192, 192))))
    assert launcher(big, 2).threads and not launcher(big, 3).threads, "more workers than this array has work for"
    assert not launcher(replace(big, constraint=Support() & Own()), 2).threads
    assert not launcher(problem(pattern(thing((130, 130)))), 2).threads


def test_a_step_that_is_not_brief_runs_in_processes(monkeypatch):
    p, s = setting(1)
    places = []
    monkeypatch.setattr(Launcher, "_in_pool", lambda *of: places.append("pool"))
    monkeypatch.setattr(Launcher, "_in_threads", lambda *of: places.append("threads"))
    for recipe in ("3*ER", "ER + MaximumLikelihood"):
        with pytest.raises(KeyError):
            Launcher(2, 1, threads=True).map(p, [(parse(recipe), s)])
    assert places == ["threads", "pool"]


def test_the_r_factor_is_looked_at_on_the_way():
    p, s = setting(3)
    ended = Launcher(1, batch=2).map(p, [(parse("60*RAAR"), s)], samples=3)[0]
    assert len(ended.traces) == 3 and all(steps == (20, 40, 60) and len(r) == 3 for steps, r in ended.traces)
    f = p.predict(p.project_object(ended.state.image, ended.state.support))
    want = r_factor(f, p.counts.intensity, p.counts.measured).tolist()
    assert [r[-1] for _, r in ended.traces] == pytest.approx(want) == list(residual(p, ended.state))
    assert Launcher(1).map(p, [(parse("3*ER"), s)])[0].traces == (((), ()),) * 3


@pytest.mark.parametrize(("steps", "at"), [(9, ()), (100, range(10, 101, 10)), (150, range(10, 151, 10)), (500, range(20, 501, 20))])
def test_looking_does_not_shorten_the_stretches_in_which_steps_are_taken(steps, at, monkeypatch):
    p, s = setting(1)
    taken = []

    def advance(self, x, support, row, steps=1):
        taken.append(steps)
        return x, x, x.abs().flatten(1).sum(1)

    monkeypatch.setattr(type(p), "advance", advance)
    ended = Launcher(1).map(p, [(parse(f"{steps}*RAAR"), s)], samples=25)[0]
    assert ended.traces[0][0] == tuple(at) and set(taken) <= {10, steps % 10}


def test_reports_add_up_to_all_steps():
    p, s = setting(5)
    taken = []
    Launcher(1, batch=2).map(p, [(parse("16*ER"), s), (parse("2*ER"), s)], samples=2, report=lambda n, r: taken.append((n, r)))
    assert sum(n for n, _ in taken) == 5 * 18 and all(r is None or r > 0 for _, r in taken)


def test_a_trace_has_one_r_factor_per_step_with_rules_too():
    p, s = setting(5)
    recipe = parse("Until(Plateau(patience=2, tolerance=0.05), 60*HIO) + 4*ER")
    ended = Launcher(1, batch=1).map(p, [(recipe, s)], samples=64)[0]
    assert all(len(r) == len(steps) == len(set(steps)) for steps, r in ended.traces)


def test_taking_and_joining_undo_each_other_and_leave_the_past_behind():
    _, s = setting(4)
    s = replace(s, step=7, at=7, memory=(1,), rule_state=2)
    back = State.concatenate([s[[0]], s[[1, 2]], s[[3]]])
    assert torch.equal(back.x, s.x) and back.seeds == s.seeds and back.at == back.step == 0
    assert back.memory is None and back.rule_state is None
    assert torch.equal(s[[2, 2]].x[1], s.x[2]) and s[[2, 2]].seeds == (22, 22)


def test_one_thread_is_one_thread_and_then_what_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_small_arrays_stay_in_this_process():
    p, _ = setting()
    assert launcher(p).workers == 1 and p.counts.amplitude.numel() <= BATCH_PIXELS
    big = problem(pattern(thing((130, 130))))
    assert launcher(big, 3).workers == 3 and launcher(big).workers == cores() >= 1


def test_a_recipe_without_steps_ends_where_it_began():
    p, s = setting(2)
    assert torch.equal(run_here(p, parse("0*ER"), s).state.x, s.x)


def test_a_state_has_no_field_but_its_own():
    s = State.of(torch.ones(2, 4, 4))
    assert s.replace(step=3).step == 3 and s.step == 0
    with pytest.raises(TypeError, match="no imaeg; it has at, bounds"):
        s.replace(imaeg=s.x)
