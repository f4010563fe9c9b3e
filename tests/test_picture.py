"""Physics of pictures: adjoints, known values, sizes that do not fit; and the problem that they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import untwin as ut
from laws import adjoint
from samples import close
from test_fit import DIP, blank, last
from untwin.errors import InputError


def noise(shape, seed=0, complex_=False) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.complex128 if complex_ else torch.float64)


def seen(shape, seed=5) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6


GRIDS = [(12, 14), (13, 11), (6, 7, 8)]
PHYSICS = [
    lambda grid: (ut.physics.Identity(axes=len(grid)), grid),
    lambda grid: (ut.physics.Mask(seen(grid)), grid),
    lambda grid: (ut.physics.Blur(noise(tuple(3 + k for k in range(len(grid))))), grid),
    lambda grid: (ut.physics.Downsample(2, axes=len(grid)), tuple(n // 2 for n in grid)),
    lambda grid: (ut.physics.Downsample(3, mean=True, axes=len(grid)), tuple(n // 3 for n in grid)),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("make", PHYSICS)
@pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])
def test_the_adjoint_is_the_adjoint(make, grid, complex_):
    physics, measured = make(grid)
    x, w = noise((2, 3, *physics.object_grid(measured)), 1, complex_), noise((2, 3, *measured), 2, complex_)
    assert physics(x).shape == w.shape
    adjoint(physics, physics.adjoint, x, w)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("coils", [None, 3])
def test_the_adjoint_of_mri_is_the_adjoint(grid, coils):
    s = None if coils is None else noise((coils, *grid), 3, True)
    physics = ut.physics.MRI(seen(grid), s)
    adjoint(physics, physics.adjoint, noise((2, 1, *grid), 1, True), noise((2, coils or 1, *grid), 2, True))
    if coils is None:
        x = noise((1, 1, *grid), 4, True)
        assert (
            close(ut.physics.MRI(torch.ones(grid, dtype=torch.bool)).adjoint(ut.physics.MRI(torch.ones(grid, dtype=torch.bool))(x)), x)
            < 1e-12
        )


@pytest.mark.parametrize("make", PHYSICS)
def test_the_physics_are_linear(make):
    physics, measured = make((12, 14))
    a, b = (noise((1, 1, *physics.object_grid(measured)), s) for s in (1, 2))
    assert close(physics(2 * a - 3 * b), 2 * physics(a) - 3 * physics(b)) < 1e-12


def test_a_blur_is_a_convolution_without_a_border():
    x, k = noise((1, 1, 9, 10)), noise((3, 4), 1)
    want = torch.nn.functional.conv2d(x, k.flip((0, 1))[None, None])
    assert close(ut.physics.Blur(k)(x), want) < 1e-12
    assert ut.physics.Blur(k).object_grid((7, 7)) == (9, 10)


def test_a_kernel_is_transformed_once_for_a_grid(monkeypatch):
    k, x = noise((3, 4)), noise((2, 9, 10))
    calls = []
    transform = torch.fft.rfftn
    monkeypatch.setattr(torch.fft, "rfftn", lambda t, **more: calls.append(t.shape) or transform(t, **more))
    blur = ut.physics.Blur(k)
    first = blur.adjoint(torch.ones(2, 7, 7, dtype=x.dtype))  # within torch.func, whose tensors must not stay
    with torch.inference_mode():
        ut.physics.Blur(k)(x), blur(x)
    y = blur(x.clone().requires_grad_())
    y.sum().backward()
    assert calls.count(k.shape) == 2 and torch.equal(first, blur.adjoint(torch.ones(2, 7, 7, dtype=x.dtype)))
    assert blur(x.float()).dtype == torch.float32 and torch.equal(blur(noise((9, 10))), ut.physics.Blur(k)(noise((9, 10))))


def test_a_kernel_can_be_differentiated():
    k = noise((3, 4)).requires_grad_()
    blur, x = ut.physics.Blur(k), noise((1, 9, 10))
    for _ in range(2):
        (slope,) = torch.autograd.grad(blur(x).sum(), k)
    assert slope.shape == k.shape and float(slope.abs().max()) > 0


def test_coarse_pixels_keep_a_constant_and_their_place():
    for physics in (ut.physics.Downsample(4), ut.physics.Downsample(4, mean=True)):
        assert torch.allclose(physics(torch.full((1, 1, 16, 24), 0.7)), torch.tensor(0.7))
        ramp = torch.arange(32.0).reshape(1, 1, 1, 32).expand(1, 1, 8, 32)
        inside = physics(ramp)[0, 0, 0, 2:-2]
        assert torch.allclose(inside, torch.arange(2, 6) * 4 + 1.5, atol=1e-4), "the middle of four pixels"
    ramp = torch.arange(30.0).expand(1, 1, 30, 30)
    for physics in (ut.physics.Downsample(3), ut.physics.Downsample(3, mean=True)):
        assert torch.allclose(physics(ramp)[0, 0, :, 2:-2], (torch.arange(2.0, 8) * 3 + 1).expand(10, 6), atol=1e-4), "of three"


def test_the_zero_frequency_of_mri_is_in_the_middle():
    w = ut.physics.MRI(torch.ones(6, 7, dtype=torch.bool))(torch.ones(1, 1, 6, 7))
    for sampled in (torch.ones(6, 7), np.ones((6, 7), np.uint8)):
        assert torch.equal(ut.physics.MRI(sampled)(torch.ones(1, 1, 6, 7)), w)
    assert int(w.abs().flatten().argmax()) == 3 * 7 + 3


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda: ut.physics.Mask(seen((4, 5))).object_grid((5, 4)), r"\(4, 5\).*\(5, 4\)"),
        (lambda: ut.physics.Blur(noise((9, 3))).object_grid((8, 8)), "no larger than the image"),
        (lambda: ut.physics.Blur(noise((3,))).object_grid((8, 8)), "as many axes"),
        (lambda: ut.physics.Downsample(4)(noise((1, 1, 10, 8))), r"does not divide.*crop it to \(8, 8\)"),
        (lambda: ut.physics.Downsample(2.5), "whole number"),
        (lambda: ut.physics.MRI(seen((4, 4))).object_grid((4, 5)), "sampling pattern"),
        (lambda: ut.Picture(torch.full((1, 4, 4), float("nan"))), "NaN"),
        (lambda: ut.Picture(torch.zeros(4)), "height, width"),
        (lambda: ut.Picture(torch.zeros(1, 4, 4), measured=seen((3, 3))), "mask"),
        (lambda: ut.Picture(torch.zeros(1, 4, 4), 3), "no physics"),
        (lambda: ut.Picture(torch.zeros(1, 4, 4), lambda x: x[..., :2]).misfit(torch.zeros(1, 1, 4, 4)), "the physics gives"),
    ],
)
def test_what_does_not_fit_is_said(do, says):
    with pytest.raises(InputError, match=says):
        do()


def test_nan_behind_the_mask_is_no_matter():
    y = torch.zeros(1, 4, 4)
    y[0, 1, 1] = float("nan")
    assert float(ut.Picture(y, measured=~y.isnan()).misfit(torch.ones(1, 1, 4, 4))) == 15


@pytest.mark.parametrize(
    ("loss", "want"),
    [(ut.losses.Squared(), 0.01 + 0.09), (ut.losses.Absolute(), 0.4), (ut.losses.Huber(0.2), 0.005 + 0.2 * (0.3 - 0.1))],
    ids=repr,
)
def test_losses_of_pictures(loss, want):
    y = torch.tensor([[[0.5, 0.5, 9.0]]])
    f = torch.tensor([[[[0.6, 0.2, 0.0]]]])
    assert float(loss(f, y, torch.tensor([[[True, True, False]]]))) == pytest.approx(want, rel=1e-5)
    assert float(loss(1j * f, 1j * y, torch.tensor([[[True, True, False]]]))) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.complex128])
def test_a_picture_may_be_an_array_of_numpy(dtype):
    y = np.arange(48).reshape(1, 6, 8).astype(dtype)
    p = ut.Picture(y, ut.physics.Blur(torch.ones(3, 3) / 9), measured=y.real > 3)
    assert p.y.dtype == (torch.complex64 if np.iscomplexobj(y) else torch.float32) and int(p.measured.sum()) == 44
    assert p.shape == (1, 8, 10) and "Picture" in p._repr_html_()


def test_any_function_is_a_physics():
    g = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 12, 12, generator=g)

    def gamma(x):
        return x.square() + 0.1

    p = ut.Picture(gamma(truth), gamma)
    after = last(p, 200 * ut.algorithms.Fit(ut.priors.Grid(rate=0.03)), blank(p))
    assert close(after.x[0].abs(), truth) < 0.05
    wide = ut.Picture(gamma(truth)[:, ::2], ut.physics.Forward(lambda x: gamma(x)[..., ::2, :], grid=(12, 12)))
    assert wide.shape == (1, 12, 12) and last(wide, 2 * ut.algorithms.Fit(DIP), blank(wide)).x.shape == (1, 1, 12, 12)
