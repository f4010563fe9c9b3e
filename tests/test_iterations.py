"""Iterations as machine code: the same as the passes and transforms in float64, one start or many, together or singly."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from untwin import engine
from untwin.data.measurement import Pattern
from untwin.engine import Coefficients, ConstraintFlags, Fienup, plain
from untwin.model.constraints import Support
from untwin.model.problem import Problem
from untwin.runs.names import parse
from untwin.solve.begin import begin
from untwin.solve.projections import DM, ER, HIO, RAAR
from untwin.solve.run import iterate

iterations = pytest.importorskip("untwin.engine.iterations", reason="machine code needs the extra [fast]")
transform = pytest.importorskip("untwin.engine.transform")

GRIDS = [(16, 16), (7, 24), (8, 20), (9, 30), (2, 2), (12, 10, 16), (5, 6, 14)]
ROWS = [a.coefficients() for a in (ER(), RAAR(0.8), DM())] + [Coefficients(a=1, c=-0.9, s=1, u=-1, v=1.9), Fienup(0.8)]


def setting(grid, starts, real, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(starts, *grid, generator=g, dtype=torch.complex64)
    target = torch.fft.fftn(torch.randn(grid, generator=g), norm="ortho").abs()  # its own mirror image, as that of a real object
    if not real:
        target[torch.rand(grid, generator=g) < 0.1] = -1
    support = torch.rand(starts, *grid, generator=g) < 0.3
    return x.real.contiguous() if real else x, target, support, 0.9 + 0.1 * torch.rand(starts, generator=g)


def reference(x, target, support, row, flags, rho, hole, steps):
    """In float64, by torch."""
    z, axes = x.double() if not x.is_complex() else x.to(torch.complex128), tuple(range(1, x.ndim))
    for _ in range(steps):
        w = torch.fft.fftn(z, dim=axes, norm="ortho")
        error = plain.modulus(w, target.double(), rho, hole, 0)
        y = torch.fft.ifftn(w, dim=axes, norm="ortho")
        y = y if x.is_complex() else y.real.contiguous()
        z = plain.fienup(z, y, support, row.beta) if isinstance(row, Fienup) else plain.update(z, y, support, row, flags)
    return z, y, error


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_two_iterations_are_those_of_the_reference(grid, real):
    x, target, support, hole = setting(grid, 3, real)
    arranged = iterations.arranged(target)
    for row, rho, capped, positive in itertools.product(ROWS, (0.0, 0.3), (False, True), (False, True)):
        if (positive and not real) or (isinstance(row, Fienup) and (capped or not real)):
            continue
        flags = ConstraintFlags(positive, capped)
        found = iterations.run(x, support, arranged, row, flags, rho, hole, 2)
        for a, b in zip(found, reference(x, target, support, row, flags, rho, hole, 2)):
            assert float((a - b).norm() / b.norm()) < 2e-5, (row, rho, flags)


def test_frequencies_stand_where_the_order_says():
    assert [transform.radices(n) for n in (1, 64, 30, 49, 11, 26)] == [(), (8, 8), (2, 3, 5), (7, 7), None, None]
    for n in (8, 12, 30, 49, 64, 90):
        assert sorted(transform.order(n)) == list(range(n))
    assert [transform.lanes(g) for g in ((64, 64), (6, 12), (7, 10, 30), (64, 65), (64, 22), (22, 64), (64,), (1, 64))] == [
        8,
        4,
        2,
        *(None,) * 5,
    ]


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
def test_a_start_ends_in_the_same_bits_in_any_company(real):
    x, target, support, hole = setting((12, 10), 11, real)
    arranged, row, flags = iterations.arranged(target), ROWS[1], ConstraintFlags(capped=True)
    whole = iterations.run(x, support, arranged, row, flags, 0.3, hole, 5)
    for rows in ([0], [3, 9], list(reversed(range(11)))):
        some = iterations.run(x[rows], support[rows], arranged, row, flags, 0.3, hole[rows], 5)
        assert all(torch.equal(a, b[rows]) for a, b in zip(some, whole))


@pytest.mark.parametrize("grid", [(400, 320), (48, 50, 64)], ids=str)
def test_two_threads_come_to_the_same(grid):
    x, target, support, hole = setting(grid, 2, False)
    arranged, before, ends = iterations.arranged(target), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ends.append(
            [
                iterations.run(x, support, arranged, ROWS[1], flags, 0.0, hole, 3)
                for flags in (ConstraintFlags(), ConstraintFlags(capped=True))
                for _ in range(3)
            ]
        )
    torch.set_num_threads(before)
    for one, two in zip(*ends):
        assert all(float((a - b).norm()) <= 1e-6 * float(a.norm()) for a, b in zip(one, two))


@pytest.mark.parametrize("form", ["machine code", "torch"])
def test_the_number_of_threads_does_not_move_a_projection_by_a_millionth(form, monkeypatch):
    p = problem((400, 320))
    if form == "torch":
        monkeypatch.setattr(engine, "compiled_for", lambda *a: None)
    state, before, ends = begin(p, (0,)), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ends.append(list(iterate(p, parse("10*HIO + 10*Capped(RAAR) + 10*ER"), state, 10))[-1])
    torch.set_num_threads(before)
    one, two = (end.image for end in ends)
    assert float((one - two).norm()) <= 1e-6 * float(one.norm())


def test_starts_may_share_one_support_and_leave_what_they_were_given():
    x, target, support, _ = setting((16, 16), 3, False)
    before, arranged = x.clone(), iterations.arranged(target)
    shared = iterations.run(x, support[:1].expand(3, 16, 16), arranged, ROWS[1], ConstraintFlags(), 0.0, 1.0, 2)
    copied = iterations.run(x, support[:1].repeat(3, 1, 1), arranged, ROWS[1], ConstraintFlags(), 0.0, 1.0, 2)
    assert all(torch.equal(a, b) for a, b in zip(shared, copied)) and torch.equal(x, before)


def test_nan_stays_in_its_lane_and_shows():
    x, target, support, _ = setting((16, 16), 3, False)
    x[1, 2, 3] = float("nan")
    for flags in (ConstraintFlags(), ConstraintFlags(capped=True)):
        after, y, error = iterations.run(x, support | True, iterations.arranged(target), ROWS[1], flags, 0.0, 1.0, 1)
        for tensor in (after.real, y.real, error):
            assert tensor.reshape(3, -1).isnan().any(1).tolist() == [False, True, False]


def problem(shape=(24, 20), positivity=False):
    counts = np.random.default_rng(0).poisson(50, shape).astype(np.float32)
    counts = counts + np.roll(np.flip(counts), 1, tuple(range(len(shape))))
    return Problem.of(Pattern(counts, np.ones(shape, bool)), positivity=positivity)


TEXT = "7*HIO + 3*(6*RAAR + ShrinkWrap(sigma=Ramp(2, 1))) + 5*Capped(Proximal(RAAR)) + 4*Mean(ER) + Until(Plateau, 5*HIO) + 7*ER"


@pytest.mark.parametrize("positivity", [False, True])
def test_steps_taken_together_are_the_steps_taken_singly(positivity):
    p = problem(positivity=positivity)
    recipe, state = parse(TEXT), begin(p, (0, 1, 2))
    singly = list(iterate(p, recipe, state))
    for every in (2, 5, 100):
        together = list(iterate(p, recipe, state, every))
        assert len(together) < len(singly) and all(t.step % every == 0 or t.at <= len(singly) for t in together)
        ends = {s.at: s for s in singly}
        for at, t in {t.at: t for t in together}.items():
            assert torch.equal(t.x, ends[at].x) and torch.equal(t.image, ends[at].image) and t.step == ends[at].step
        met = {t.step for t in together}
        assert {s.step for s in singly if s.step % every == 0} <= met
        middle = together[len(together) // 2]
        assert torch.equal(list(iterate(p, recipe, middle, every))[-1].x, singly[-1].x)  # and go on from there


@pytest.mark.parametrize("positivity", [False, True])
def test_it_is_what_passes_and_transforms_come_to(positivity, monkeypatch):
    p = problem(positivity=positivity)
    state = begin(p, (0, 1, 2))
    for algorithm in (ER(), HIO(), RAAR(), parse("Capped(RAAR)"), parse("Capped(HIO)"), parse("Damped(HIO, gamma=Draw(0.9, 1))")):
        together = algorithm.stretch(p, state, 3)
        with monkeypatch.context() as m:
            m.setattr(engine, "compiled_for", lambda *a: None)
            singly = algorithm.stretch(p, state, 3)
        assert torch.allclose(together.x, singly.x, atol=2e-4 * float(singly.x.abs().max())), algorithm
        assert torch.allclose(together.error, singly.error, rtol=1e-3)


def test_a_stretch_of_steps_is_one_call_for_each_start(monkeypatch):
    p = problem((16, 16))
    state = begin(p, (0, 1, 2))
    HIO().step(p, state)
    calls = []
    original = iterations.CompiledFunction.__call__
    monkeypatch.setattr(
        iterations.CompiledFunction,
        "__call__",
        lambda self, threads, steps, *rest: calls.append(steps) or original(self, threads, steps, *rest),
    )
    list(iterate(p, 40 * HIO(), state, 20))
    assert calls == [20] * 6


def test_what_it_cannot_iterate_goes_step_by_step():
    p = problem()
    x, support = begin(p, (0, 1)).x, begin(p, (0, 1)).support
    assert engine.compiled_for(x, support, ConstraintFlags())
    for other in (x.to(torch.complex128), x.transpose(1, 2), x.clone().requires_grad_()):
        assert engine.compiled_for(other, support, ConstraintFlags()) is None
    assert engine.compiled_for(x, support.transpose(1, 2), ConstraintFlags()) is None
    assert engine.compiled_for(x, support, ConstraintFlags(positive=True)) is None

    class Own(Support):
        flags = None

    state = begin(p, (0, 1))
    own = HIO().stretch(replace(p, constraint=Own()), state, 3)
    assert torch.allclose(own.x, HIO().stretch(p, state, 3).x, atol=1e-3)


def test_machine_code_that_is_wrong_is_left_aside(monkeypatch):
    p = problem()
    state = begin(p, (0, 1))
    iterations.usable.cache_clear()
    monkeypatch.setattr(iterations, "run", lambda x, *rest: (x, x, torch.zeros(len(x), dtype=torch.float64)))
    assert engine.compiled_for(state.x, state.support, ConstraintFlags()) is None
    iterations.usable.cache_clear()


def test_without_llvmlite_it_goes_on():
    code = (
        "import sys; sys.modules['llvmlite'] = None\n"
        "import torch; from untwin import engine, doctor\n"
        "x = torch.zeros(1, 8, 8, dtype=torch.complex64)\n"
        "print(engine.compiled_for(x, x.real > 0, engine.ConstraintFlags()), doctor._engine())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.startswith("None torch alone"), said.stderr + said.stdout
