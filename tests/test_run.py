"""The loop: steps, progress, resuming from anywhere, and stopping by a rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace

import pytest
import torch

from samples import REAL, lopsided, pattern, problem, state, thing, wave
from untwin.model.problem import Problem
from untwin.runs.names import parse
from untwin.solve.recipe import Algorithm, Rule, Until, length
from untwin.solve.run import iterate
from untwin.solve.state import State
from untwin.solve.stopping import Plateau


def setting(shape=(12, 11), starts=3, real=False) -> tuple[Problem, State]:
    p = problem(pattern(thing(shape, 1, real), photons=2e4), REAL if real else None)
    x = wave(shape, 2, starts)
    return p, state(x.real.abs() if real else x, lopsided(shape), tuple(range(starts)))


@dataclass(frozen=True)
class Look(Algorithm):
    """Writes down what it is handed; adds `add` to x."""

    log: list
    add: float = 1.0

    def __hash__(self):
        return hash(self.add)

    def begin(self, problem, state):
        self.log.append("begin")
        return state.replace(memory=0)

    def step(self, problem, state):
        self.log.append((state.progress, state.memory))
        return state.replace(x=state.x + self.add, image=state.x + self.add, memory=state.memory + 1)


# steps


def test_steps_are_counted_and_yielded_one_by_one():
    p, s = setting()
    recipe = parse("3*(2*ER + HIO + ShrinkWrap) + 2*(2*RAAR)")
    ats = [(t.step, t.at) for t in iterate(p, recipe, s)]
    assert ats == [(i, i) for i in range(1, length(recipe) + 1)] and len(ats) == 16
    assert list(iterate(p, parse("0*ER"), s)) == []


def test_the_state_that_was_handed_in_is_left_alone():
    p, s = setting()
    copy = s.x.clone()
    list(iterate(p, parse("5*RAAR + 3*Mean(HIO) + ShrinkWrap + Detwin"), s))
    assert torch.equal(s.x, copy) and s.step == s.at == 0


def test_progress_runs_from_0_to_1_over_all_repetitions_of_a_step():
    p, s = setting()
    log, other = [], []
    a, b = Look(log), Look(other, 2.0)
    list(iterate(p, 2 * (2 * a + b) + a, s))
    assert [e[0] for e in log if e != "begin"] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert [e[0] for e in other if e != "begin"] == [0, 1]
    alone: list = []
    list(iterate(p, Look(alone), s))
    assert alone == ["begin", (1.0, 0)]


def test_memory_begins_anew_where_another_step_came_between():
    p, s = setting()
    log, other = [], []
    list(iterate(p, 2 * (2 * Look(log) + Look(other, 2.0)), s))
    assert [e if e == "begin" else e[1] for e in log] == ["begin", 0, 1, "begin", 0, 1]
    assert [e if e == "begin" else e[1] for e in other] == ["begin", 0, "begin", 0]


def test_equal_steps_are_one_run_however_they_are_written():
    p, s = setting()
    ends = [list(iterate(p, parse(text), s))[-1].x for text in ("4*ADMM", "2*(2*ADMM)", "2*ADMM + ADMM + ADMM", "ADMM + 3*ADMM")]
    assert all(torch.equal(ends[0], e) for e in ends)


# resuming


def same(a, b) -> bool:
    """Bit for bit, through tuples and dataclasses."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def resumed_like(p: Problem, recipe, s: State) -> None:
    """From any state that the run yields, the rest of it comes out again."""
    whole = list(iterate(p, recipe, s))
    for i, middle in enumerate(whole):
        rest = list(iterate(p, recipe, middle))
        assert len(rest) == len(whole) - 1 - i
        assert all(map(same, rest, whole[i + 1 :]))


RECIPES = [
    "6*RAAR + 3*ER",
    "4*ADMM + 2*HIO + 4*ADMM",
    "4*Mean(ADMM) + Rescale + 2*ADMM",
    "2*(3*Mean(Proximal(RAAR)) + ShrinkWrap(sigma=Ramp(2, 0.5), threshold=Draw(0.1, 0.5))) + Rescale",
    "3*(2*HIO + AreaWrap(area=Ramp(0.9, 0.5))) + Detwin + 3*DM(beta=0.7)",
    "2*ER + Until(Plateau(patience=50), 6*HIO) + 2*ER",
    "Until(Plateau(patience=50), 4*ADMM + 2*ER) + 2*RAAR",
    "Until(Plateau(patience=50), 3*Mean(RAAR)) + RandomStart + 2*ER",
]


@pytest.mark.parametrize("text", RECIPES)
@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
def test_a_run_goes_on_from_any_of_its_states_as_if_it_had_not_stopped(text, real):
    p, s = setting(real=real)
    resumed_like(p, parse(text), s)


@pytest.mark.parametrize(
    "text",
    ["2*Until(Plateau(patience=50), 3*ER)", "Until(Plateau(patience=50), 3*Mean(RAAR)) + HIO + Until(Plateau(patience=40), 2*ER) + ER"],
)
def test_a_run_with_two_rules_goes_on_from_any_of_its_states(text):
    p, s = setting()
    resumed_like(p, parse(text), s)


@pytest.mark.parametrize("text", [pytest.param("Until(Plateau(patience=2, tolerance=0.9), 20*ER) + 2*HIO")])
def test_a_run_that_was_stopped_by_its_rule_goes_on_from_any_of_its_states(text):
    p, s = setting()
    resumed_like(p, parse(text), s)


def test_a_step_after_a_segment_that_was_cut_short_is_begun():
    p, s = setting()
    recipe = parse("Until(Plateau(patience=2, tolerance=0.9), 10*ER + 3*ADMM) + 3*ADMM")
    whole = list(iterate(p, recipe, s))
    kept = next(i for i, t in enumerate(whole) if t.at == 13)
    assert whole[kept].step < 10 and whole[kept].rule_state is None
    rest = list(iterate(p, recipe, whole[kept]))
    assert len(rest) == 3 and all(map(same, rest, whole[kept + 1 :]))


def test_the_kept_image_is_what_the_next_step_starts_from():
    p, s = setting()
    whole = list(iterate(p, parse("Until(Plateau(patience=3, tolerance=0.9), 20*ADMM) + ADMM"), s))
    kept = next(t for t in whole if t.at == 20)
    want = list(iterate(p, parse("ADMM"), replace(kept, at=0)))[-1]
    assert torch.allclose(whole[-1].x, want.x)


# rules


@dataclass(frozen=True)
class Script(Algorithm):
    """Step k makes the estimate of start s a multiple of the truth that gives it the misfit factor plan[s][k]."""

    truth: object
    plan: tuple

    def __hash__(self):
        return hash(self.plan)

    def step(self, problem, state):
        k = state.step
        scale = torch.tensor([1 + row[min(k, len(row) - 1)] for row in self.plan], dtype=torch.float64)
        x = self.truth * scale.reshape(-1, 1, 1)
        return state.replace(x=x, image=x)


def scripted(
    *plan: tuple[float, ...], patience: int = 3, tolerance: float = 1e-3, n: int = 12
) -> tuple[Problem, list[State], list[list[float]]]:
    x = thing((12, 11), 1)
    p = problem(pattern(x))
    s = state(x.expand(len(plan), 12, 11), lopsided((12, 11)))
    states = list(iterate(p, Until(Plateau(patience, tolerance), n * Script(x, plan)), s))
    return p, states, [p.misfit(p.project_object(t.image, t.support)).tolist() for t in states]


def test_plateau_stops_when_the_misfit_has_not_fallen_for_so_many_steps_and_keeps_the_best():
    plan = (0.9, 0.5, 0.3, 0.6, 0.7, 0.8, 0.1)
    _, states, misfit = scripted(plan, patience=3)
    assert [t.step for t in states] == [1, 2, 3, 4, 5, 6, 6]  # six steps, and the kept one
    assert misfit[-1][0] == min(m[0] for m in misfit) == misfit[2][0]
    assert states[-1].rule_state is None and states[-1].at == 12 and torch.equal(states[-1].x, states[2].x)


def test_each_start_is_stopped_by_its_own_decision():
    slow = tuple(1 / (k + 2) for k in range(12))
    quick = (0.5, 0.2, 0.3, 0.3, 0.3, 0.01, 0.0)  # better again after it was stopped: too late
    _, states, misfit = scripted(quick, slow, patience=3)
    assert len(states) == 13
    stopped = [t.rule_state.stopped.tolist() for t in states[:-1]]
    assert [row[0] for row in stopped] == [False] * 4 + [True] * 8 and not any(row[1] for row in stopped)
    assert misfit[-1][0] == misfit[1][0] and misfit[-1][1] == misfit[-2][1]


def test_a_start_in_a_batch_keeps_what_it_would_keep_alone():
    plans = ((0.5, 0.2, 0.3, 0.3, 0.3, 0.01), (0.9, 0.8, 0.7, 0.75, 0.8, 0.9), tuple(1 / (k + 2) for k in range(12)))
    _, together, _ = scripted(*plans)
    for row, plan in enumerate(plans):
        _, alone, _ = scripted(plan)
        assert torch.equal(together[-1].image[row], alone[-1].image[0])


@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 0.2])
def test_a_rule_keeps_the_least_of_its_own_statistic(tolerance):
    """To within the tolerance: smaller gains do not count."""
    p, s = setting((16, 15), 4)
    states = list(iterate(p, parse(f"Until(Plateau(patience=5, tolerance={tolerance}), 40*HIO)"), s))
    misfit = torch.stack([p.misfit(p.project_object(t.image, t.support)) for t in states])
    before = torch.stack([torch.zeros(4, dtype=torch.bool), *(t.rule_state.stopped for t in states[:-2])])  # later steps do not count
    least = misfit[:-1].masked_fill(before, math.inf).min(0).values
    assert bool((misfit[-1] * (1 - tolerance) <= least).all()) and bool((misfit[-1] >= least).all())
    if tolerance == 0:
        assert torch.equal(misfit[-1], least) and bool(before.any())


def test_the_support_that_was_kept_belongs_to_the_image_that_was_kept():
    p, s = setting((16, 15), 4)
    wrap = "ShrinkWrap(threshold=Ramp(0.2, 1.0), sigma=Ramp(3, 0.5))"
    states = list(iterate(p, parse(f"Until(Plateau(patience=100), 6*(3*HIO + {wrap}))"), s))
    kept = p.misfit(p.project_object(states[-1].image, states[-1].support))
    assert torch.allclose(kept, states[-2].rule_state.best)


def test_gains_below_the_tolerance_do_not_count():
    creeping = tuple(0.5 * (1 - 1e-5) ** k for k in range(30))
    _, states, _ = scripted(creeping, patience=4, tolerance=1e-2, n=30)
    assert states[-2].step == 5
    _, states, _ = scripted(creeping, patience=4, tolerance=0.0, n=30)
    assert states[-2].step == 30


def test_a_rule_that_never_fires_changes_nothing_but_keeps_the_best():
    p, s = setting((16, 15))
    plain = list(iterate(p, parse("15*HIO"), s))
    ruled = list(iterate(p, parse("Until(Plateau(patience=100), 15*HIO)"), s))
    assert all(torch.equal(a.x, b.x) for a, b in zip(plain, ruled)) and len(ruled) == 16


def test_a_rule_begins_afresh_in_each_repetition_of_its_segment():
    p, s = setting()
    states = list(iterate(p, parse("2*Until(Plateau(patience=2, tolerance=0.9), 9*ER)"), s))
    kept = [i for i, t in enumerate(states) if t.rule_state is None]
    assert len(kept) == 2 and states[kept[0]].at == 9 and states[kept[1]].at == 18
    assert kept[1] - kept[0] >= 3  # two steps at least, and the kept one


def test_nothing_but_nan_never_counts_as_the_best():
    @dataclass(frozen=True)
    class Break(Algorithm):
        def step(self, problem, state):
            x = state.x * (math.nan if state.step == 2 else 1)
            return state.replace(x=x, image=x)

    p, s = setting()
    states = list(iterate(p, Until(Plateau(patience=4), 10 * Break()), s))
    assert bool(states[-1].image.isfinite().all())


def test_rules_and_algorithms_are_abstract():
    for cls in (Rule, Algorithm):
        with pytest.raises(TypeError):
            cls()
