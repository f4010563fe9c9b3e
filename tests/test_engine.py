"""The engine: every form of a pass or a transform is the same function to rounding, and an iteration costs what it should."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from untwin import engine, fourier
from untwin.data.measurement import Pattern
from untwin.engine import Coefficients, ConstraintFlags, memory, mkl, plain
from untwin.model.imposition import General
from untwin.model.problem import Problem
from untwin.solve.admm import ADMM
from untwin.solve.begin import begin
from untwin.solve.detwin import Detwin
from untwin.solve.projections import DM, ER, HIO, HPR, RAAR, RRR, SF
from untwin.solve.wrap import Capped, Proximal

GRIDS = [(1, 7), (16, 16), (9, 7), (400, 300), (12, 10, 14)]
ROWS = [a.coefficients() for a in (ER(), SF(), RAAR(0.8), HPR(0.7), RRR(0.5))] + [Coefficients(a=1, c=-1, s=1, u=-1, v=2)]


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def wave(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)


def target(grid, seed):
    t = torch.rand(grid, generator=torch.Generator().manual_seed(seed))
    return t.where(torch.rand(grid, generator=torch.Generator().manual_seed(seed + 1)) > 0.2, -torch.ones(()))


def some(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.6


@pytest.mark.parametrize("grid", [(9, 7), (8, 8), (6, 5, 4), (200, 611)])
def test_the_half_spectrum_of_a_real_object_tells_the_same_as_the_whole(grid, threads):
    d = len(grid)
    x = torch.randn(2, *grid, generator=torch.Generator().manual_seed(0))
    t = target(grid, 4)
    t = torch.maximum(t, t.flip(tuple(range(d))).roll((1,) * d, tuple(range(d))))  # as the pattern of a real object is
    whole = fourier.forward(x.to(torch.complex64), d)
    half = fourier.forward_half(x, d).contiguous()
    errors = plain.modulus(whole, t, 0.0, 0.9, 0), plain.modulus(half, t[..., : grid[-1] // 2 + 1].contiguous(), 0.0, 0.9, grid[-1])
    assert torch.allclose(errors[0], errors[1], rtol=1e-4)
    assert torch.allclose(fourier.inverse(whole, d).real, fourier.inverse_half(half, grid), atol=1e-5)


def test_the_plain_passes_do_not_depend_on_how_they_are_cut_up(monkeypatch):
    x, y, support, t = wave((2, 3000), 3), wave((2, 3000), 4), some((2, 3000), 5), target((3000,), 6)
    w, once = x.clone(), x.clone()
    whole = plain.update(x, y, support, ROWS[2], ConstraintFlags(capped=True)), plain.modulus(once, t, 0.3, 0.9, 0)
    monkeypatch.setattr(plain, "STRIPE", 2048)
    parts = plain.update(x, y, support, ROWS[2], ConstraintFlags(capped=True)), plain.modulus(w, t, 0.3, 0.9, 0)
    assert torch.allclose(whole[0], parts[0], atol=1e-6) and torch.equal(w, once) and torch.allclose(whole[1], parts[1])


def test_nan_is_not_hidden():
    w, t = wave((2, 64), 1), torch.rand(64)
    w[1, 5] = float("nan")
    error = plain.modulus(w, t)
    assert bool(error[0].isfinite()) and bool(error[1].isnan()) and bool(w[1, 5].isnan())
    x = plain.update(w, w.clone(), some((2, 64), 0) | True, ROWS[1], ConstraintFlags())
    assert bool(x[0].isfinite().all()) and bool(x[1, 5].isnan())


@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 5, 7), (1, 64, 64), (4, 6, 10, 9), (2, 3, 4, 5)])
def test_the_direct_transform_is_torchs(shape, threads):
    if not mkl.usable():
        pytest.skip("this torch does not show its MKL")
    d = min(3, len(shape))
    x = wave(shape, 1)
    axes = tuple(range(-d, 0))
    for inverse, reference in ((False, torch.fft.fftn), (True, torch.fft.ifftn)):
        want = reference(x, dim=axes, norm="ortho")
        assert mkl.takes(x) and torch.allclose(mkl.transform(x, d, inverse), want, atol=1e-5)
        used = x.clone()
        address = used.data_ptr()
        out = mkl.transform(used, d, inverse, spent=True)
        assert out.data_ptr() == address and torch.allclose(out, want, atol=1e-5)


def test_what_the_direct_transform_cannot_take_goes_to_torch():
    x = wave((8, 8), 1)
    for other in (x.to(torch.complex128), x.real, x.T, x.clone().requires_grad_(), x.conj(), x[:0]):
        assert not mkl.takes(other)
        if other.numel():
            assert torch.allclose(fourier.forward(other, 2), torch.fft.fftn(other, norm="ortho"), atol=1e-5)


def test_without_torchs_mkl_everything_goes_on(monkeypatch):
    monkeypatch.setattr(mkl, "library", lambda *names: None)
    mkl.usable.cache_clear()
    x = wave((8, 8), 1)
    assert not mkl.takes(x)
    assert torch.allclose(fourier.inverse(fourier.forward(x, 2), 2), x, atol=1e-5)
    mkl.usable.cache_clear()


def problem(shape, positivity=False):
    rng = np.random.default_rng(0)
    counts = rng.poisson(50, shape).astype(np.float32)
    axes = tuple(range(len(shape)))
    counts = counts + np.roll(np.flip(counts), 1, axes)  # its own mirror image
    return Problem.of(Pattern(counts, np.ones(shape, bool)), positivity=positivity)


@pytest.mark.parametrize("positivity", [False, True])
@pytest.mark.parametrize("algorithm", [ER(), HIO(), RAAR(), DM(), Capped(RAAR()), Proximal(HIO()), Capped(Proximal(RAAR()))], ids=repr)
def test_three_iterations_are_the_same_in_every_form(algorithm, positivity, monkeypatch):
    p = problem((24, 20), positivity)
    state = begin(p, (0, 1, 2))
    ends = []
    for form in ("machine code", "torch", "torch alone"):
        monkeypatch.setattr(engine, "PLAIN", form == "torch alone")
        if form == "torch":
            monkeypatch.setattr(engine, "compiled_for", lambda *a: None)
        s = state
        for _ in range(3):
            s = algorithm.step(p, s)
        ends.append(s)
    *fast, slow = ends
    for end in fast:
        assert torch.allclose(end.x, slow.x, atol=2e-4 * float(slow.x.abs().max()))
        assert torch.allclose(end.error, slow.error, rtol=1e-3)


@pytest.mark.parametrize("algorithm", [ER(), HIO(), RAAR(), DM(), Capped(RAAR()), Proximal(RAAR())], ids=repr)
@pytest.mark.parametrize("positivity", [False, True])
def test_an_iteration_is_one_pair_of_transforms(algorithm, positivity, monkeypatch):
    p = problem((16, 16), positivity)
    state = begin(p, (0, 1))
    monkeypatch.setattr(engine, "compiled_for", lambda *a: None)  # machine code: tests/test_iterations.py
    calls = []
    for name in ("forward", "inverse", "forward_half", "inverse_half"):
        original = getattr(fourier, name)
        monkeypatch.setattr(fourier, name, lambda *a, name=name, original=original, **k: calls.append(name) or original(*a, **k))
    algorithm.step(p, state)
    half = "_half" if positivity else ""
    assert calls == ["forward" + half, "inverse" + half]


def test_iterations_take_no_new_memory(monkeypatch):
    p = problem((64, 64, 64))
    state = begin(p, (0,))
    made = []
    original = memory._block
    monkeypatch.setattr(memory, "_block", lambda size: made.append(size) or original(size))
    memory.release()
    for i in range(12):
        state = HIO().step(p, state)
        if i == 3:
            settled = len(made)
    assert settled <= 5 and len(made) == settled  # two of the state, two of the next one, and room to work in
    kept = state.x.clone()
    for _ in range(3):
        other = HIO().step(p, state)
    assert torch.equal(state.x, kept) and other.x.data_ptr() != state.x.data_ptr()  # what is held is not written over


def test_a_block_comes_back_when_nothing_refers_to_it():
    memory.release()
    a = memory.empty((2**18,), torch.complex64)
    row, at = a[5:9], a.data_ptr()
    assert at % 64 == 0
    del a
    assert memory.empty((2**18,), torch.complex64).data_ptr() != at  # a view is still there
    del row
    assert memory.empty((2**18,), torch.complex64).data_ptr() == at
    memory.release()
    assert not memory._free


def test_the_user_can_leave_the_fast_forms_aside():
    code = (
        "from untwin import engine; import torch; x = torch.ones(1, 8, 8)\n"
        "print(engine.PLAIN, engine.compiled_for(x, x > 0, engine.ConstraintFlags()))"
    )
    environment = {**os.environ, "UNTWIN_ENGINE": "plain"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "None"]


def test_help_and_import_do_without_torch_and_llvmlite():
    code = "import sys, untwin, untwin.cli; print([m for m in ('torch', 'llvmlite', 'scipy', 'matplotlib') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize("algorithm", [ER(), DM(0.7), ADMM(), Detwin()], ids=repr)
def test_the_state_carries_the_error_of_what_was_projected(algorithm, monkeypatch):
    p = problem((24, 20))
    met = []
    original = General.impose
    monkeypatch.setattr(engine, "compiled_for", lambda *a: None)
    monkeypatch.setattr(General, "impose", lambda self, p, x: met.append(original(self, p, x)) or met[-1])
    state = algorithm.begin(p, begin(p, (0, 1)))
    assert algorithm.step(p, state).error is met[-1][1]


def test_the_error_is_the_distance_of_the_moduli():
    p = problem((24, 20))
    state = begin(p, (0, 1))
    after = ER().step(p, state)
    amplitude = p.predict(state.x).sqrt()
    want = ((amplitude - p.counts.amplitude) ** 2).flatten(1).sum(1).double()
    assert after.error is not None and torch.allclose(after.error, want, rtol=1e-4)
