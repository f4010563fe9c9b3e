"""The blurred magnitude of volumes as machine code: the same as torch in float64, one start or many, together or singly."""

from __future__ import annotations

import pytest
import torch

from samples import lopsided, pattern, problem, state, thing, wave
from untwin import engine, fourier
from untwin.solve.shrinkwrap import ShrinkWrap

blur = pytest.importorskip("untwin.engine.blur", reason="machine code needs the extra [fast]")

GRIDS = [(4, 6, 16), (10, 6, 28), (4, 2, 8), (16, 12, 24), (6, 10, 14)]
SIGMAS = (0.3, 1.0, 2.5)


def setting(grid, real=False, starts=3):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(starts, *grid, generator=g, dtype=torch.complex64)
    return x.real.contiguous() if real else x, torch.rand(starts, *grid, generator=g) < 0.3


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_blur_and_its_figures_are_those_of_the_reference(grid, real):
    x, support = setting(grid, real)
    found, figures = blur.run(x, SIGMAS, support)
    m = fourier.blur(x.abs().double(), torch.tensor(SIGMAS), 3)
    square = (m * support).square().flatten(1)
    assert torch.allclose(found.double(), m, atol=3e-6)
    assert torch.allclose(figures, torch.stack([square.sum(1), square.square().sum(1), m.flatten(1).amax(1)], 1), rtol=1e-5)


def test_a_start_in_a_batch_has_the_bits_of_one_alone():
    x, support = setting((12, 8, 16))
    together, figures = blur.run(x, SIGMAS, support)
    for i, sigma in enumerate(SIGMAS):
        alone, own = blur.run(x[i : i + 1], (sigma,), support[i : i + 1])
        assert torch.equal(alone[0], together[i]) and torch.equal(own[0], figures[i])


def test_two_threads_blur_as_one_does():
    x, support = setting((48, 48, 48), starts=1)
    one, figures = blur.run(x, (1.0,), support)
    torch.set_num_threads(2)
    try:
        two, others = blur.run(x, (1.0,), support)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two) and torch.allclose(figures, others, rtol=1e-12)


@pytest.mark.parametrize("level", ["rms", "weighted", "max"])
def test_a_support_update_by_machine_code_is_that_of_torch(level, monkeypatch):
    p, x = problem(pattern(thing((12, 10, 16)))), wave((12, 10, 16), 0, 2) * 0.1 + 3 * thing((12, 10, 16), 1)
    s = state(x.to(torch.complex64), lopsided((12, 10, 16)))
    s = s.replace(bounds=s.bounds[:1].expand(s.bounds.shape))
    wrap = ShrinkWrap(threshold=0.4, sigma=0.8, level=level, smallest=0, largest=100)
    assert engine.blur_for(s.image, s.support) is blur
    blurred, value = wrap._blurred(p, s)
    monkeypatch.setattr(engine, "PLAIN", True)
    reference, expected = wrap._blurred(p, s)
    assert torch.allclose(blurred, reference, atol=1e-5) and torch.allclose(value.double(), expected.double(), rtol=1e-5)
    clear = (reference - 0.4 * expected.reshape(-1, 1, 1, 1)).abs() > 1e-4
    plain = wrap.step(p, s).support
    monkeypatch.undo()
    found = wrap.step(p, s).support
    assert torch.equal(found[clear], plain[clear]) and clear.float().mean() > 0.99 and 0 < int(found.sum()) < found.numel()


@pytest.mark.parametrize("grid", [(9, 8, 16), (8, 7, 16), (16, 16), (8, 8, 11), (2, 8, 16)], ids=str)
def test_what_it_does_not_take_goes_through_torch(grid):
    x = torch.randn(1, *grid, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    inside = torch.ones_like(x, dtype=torch.bool)
    assert engine.blur_for(x, inside) is None and engine.blur_for(x.to(torch.complex128), inside) is None
    p = problem(pattern(thing(grid)))
    support = ShrinkWrap(threshold=1.0).step(p, state(x, inside[0])).support
    assert 0 < int(support.sum()) < support.numel()
