"""Operators and denoisers of deepinv: with stand-ins that have its documented interface, and with deepinv itself where it is installed."""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import untwin as ut
from untwin.errors import InputError
from untwin.model.deepinv import Operator, from_deepinv
from untwin.solve.normal import maps

SIZE = (1, 12, 16)


class Physics(torch.nn.Module):
    """As deepinv has it: A without noise, a call with it."""

    def __init__(self, A: Any = None) -> None:
        super().__init__()
        self.forw, self.noise_model = A, torch.nn.Identity()

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return self.forw(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.A(x) + 0.1 * torch.randn(1)

    def clone(self) -> Physics:
        return self


class LinearPhysics(Physics):
    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Inpainting(LinearPhysics):
    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.img_size = tuple(mask.shape)
        self.register_buffer("mask", mask)

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return self.mask * x

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.mask * y


class CompressedSensing(LinearPhysics):
    """y: (starts, m)."""

    def __init__(self, m: int, img_size: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.img_size = img_size
        n = img_size[1] * img_size[2]
        a = torch.randn(m, n, dtype=dtype, generator=torch.Generator().manual_seed(0)) / m**0.5
        self.register_buffer("_A", a)

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("in, mn->im", x.reshape(len(x), -1), self._A)

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return torch.einsum("im, mn->in", y.to(self._A.dtype), self._A.conj()).reshape(-1, *self.img_size)


class PhaseRetrieval(Physics):
    def __init__(self, m: int, img_size: tuple[int, ...]) -> None:
        super().__init__()
        self.img_size, self.B = img_size, CompressedSensing(m, img_size, torch.complex64)

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return self.B.A(x).abs() ** 2


class Denoiser(torch.nn.Module):
    pass


class Median(Denoiser):
    """Of three along a row, scaled by a number that could be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        assert not self.training
        return self.one * torch.stack([x, x.roll(1, -1), x.roll(-1, -1)]).median(0).values


def stand_in() -> SimpleNamespace:
    mask = (torch.rand(SIZE, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    return SimpleNamespace(
        linear={"holes": Inpainting(mask), "compressed": CompressedSensing(300, SIZE)},
        phases=PhaseRetrieval(1200, SIZE),
        square=Physics(lambda x: x**2),
        denoiser=Median(),
    )


def real() -> SimpleNamespace:
    d = pytest.importorskip("deepinv", reason="deepinv is not installed (it needs torchvision): pip install deepinv")
    random = torch.Generator().manual_seed(0)
    mask = (torch.rand(SIZE, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    kernel = torch.rand(1, 1, 3, 3, generator=random)
    return SimpleNamespace(
        linear={
            "nothing": d.physics.Denoising(),
            "holes": d.physics.Inpainting(img_size=SIZE, mask=mask),
            "blur": d.physics.Blur(filter=kernel, padding="valid"),
            "blur by FFT": d.physics.BlurFFT(img_size=SIZE, filter=kernel),
            "coarse": d.physics.Downsampling(img_size=SIZE, filter="gaussian", factor=2),
            "MRI": d.physics.MRI(mask=mask[0]),
            "compressed": d.physics.CompressedSensing(m=300, img_size=SIZE, rng=random),
            "automatic adjoint": d.physics.LinearPhysics(A=lambda x: x.roll(1, -1) - x, img_size=SIZE),
        },
        phases=d.physics.RandomPhaseRetrieval(m=1200, img_size=SIZE, rng=random),
        square=d.physics.Physics(A=lambda x: x**2),
        denoiser=d.models.MedianFilter(kernel_size=3),
    )


@pytest.fixture(params=[stand_in, real], ids=["stand-in", "deepinv"])
def deepinv(request) -> SimpleNamespace:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that deepinv has complex modules
        return request.param()


def picture(channels: int = 1) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE[1]), torch.linspace(-1, 1, SIZE[2]), indexing="ij")
    return (0.2 + 0.6 * ((y**2 + x**2) < 0.5).float()).expand(channels, -1, -1).contiguous()


def test_an_operator_is_linear_and_its_adjoint_is_that_of_deepinv(deepinv):
    for name, operator in deepinv.linear.items():
        shape = (2, *SIZE[1:]) if name == "MRI" else (1, 16, 18) if name == "blur" else SIZE
        physics = from_deepinv(operator, grid=shape[1:] if name in ("blur", "nothing", "coarse") else None)
        assert isinstance(physics, Operator)
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(2, *shape, generator=generator)
        y = physics(x)
        problem = ut.Picture(y[0], physics, channels=shape[0])
        assert problem.shape == shape, name
        w = torch.randn(y.shape, generator=generator)
        forward, adjoint = maps(problem, x)
        expected = operator.A_adjoint(w.squeeze(1) if name == "compressed" else w)
        assert torch.equal(forward(x), y) and torch.allclose(adjoint(w), expected, atol=1e-5), name


def test_a_picture_is_restored_by_an_operator_and_a_denoiser(deepinv):
    operator, truth = deepinv.linear["holes"], picture()
    y = operator.A(truth[None])[0]
    prior = ut.priors.Denoiser(deepinv.denoiser)
    state = list(ut.iterate(ut.Picture(y, from_deepinv(operator)), 20 * ut.algorithms.HQS(prior), ut.State.of(torch.zeros(1, *SIZE))))[-1]
    assert not state.image.requires_grad
    assert (state.image[0] - truth).square().mean() < 0.3 * (y - truth).square().mean()
    restored = ut.restore(y, from_deepinv(operator), prior, sigma=0.01)
    assert (restored.image - truth).square().mean() < 0.3 * (y - truth).square().mean()
    assert type(deepinv.denoiser).__name__ in repr(prior)


def test_a_denoiser_has_a_gradient_where_one_is_asked_for(deepinv):
    prior, x = ut.priors.Denoiser(deepinv.denoiser, channels=1), picture(3)[None].requires_grad_()
    prior(x, 0.1).sum().backward()
    assert x.grad is not None and bool(x.grad.any())
    assert not prior(x.detach(), 0.1).requires_grad


def test_phases_are_retrieved_behind_an_operator(deepinv):
    truth = torch.polar(picture(), picture() * 2)
    waves = from_deepinv(deepinv.phases)
    pattern = ut.Pattern.of_waves(deepinv.phases.A(truth[None])[0])
    problem = ut.Problem(pattern, waves)
    solution = ut.reconstruct(problem, "Spectral + 100*DM + 20*ER", starts=2, seed=0)
    overlap = (solution.image.conj() * truth[0]).sum().abs() / (solution.image.norm() * truth.norm())
    assert overlap > 0.999


def test_a_real_object_goes_through_a_complex_operator(deepinv):
    x = picture()
    waves = from_deepinv(deepinv.phases).on(ut.Pattern.of_waves(deepinv.phases.A(x[None] + 0j)[0]))
    assert torch.allclose(waves.propagate(x), waves.propagate(x + 0j))


def test_another_physics_is_a_function(deepinv):
    physics = from_deepinv(deepinv.square, grid=SIZE[1:])
    assert isinstance(physics, ut.physics.Forward) and torch.equal(physics(picture()[None]), picture()[None] ** 2)


def test_the_noise_of_deepinv_is_no_part_of_the_physics(deepinv):
    with pytest.raises(InputError, match="from_deepinv"):
        ut.Picture(picture(), deepinv.linear["holes"])


class Unsized(PhaseRetrieval):
    def __init__(self, m: int, img_size: tuple[int, ...]) -> None:
        super().__init__(m, img_size)
        self.img_size = None


class Stacked(LinearPhysics):
    def A(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        return [x, x]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_deepinv(torch.nn.Identity()), "no Physics of deepinv; untwin takes any function"),
        (lambda: from_deepinv(Median()), r"a denoiser is a prior: Denoiser\(model\)"),
        (lambda: from_deepinv(Unsized(9, SIZE)), "does not say the shape of its object"),
        (lambda: from_deepinv(Stacked())(picture()[None]), "gives a list; expected one tensor"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    pytest.importorskip("deepinv", reason="deepinv is not installed (it needs torchvision): pip install deepinv")
    page = Path(__file__).parents[1] / "docs" / "deepinv.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(tmp_path / "page.py"), run_name="__main__")


@pytest.mark.parametrize("size", [(12, 16), (2, 12, 16), (1, 2, 12, 16)])
def test_the_grid_of_an_mri_is_the_end_of_its_size(size):
    """MRI takes the shape of x, with the batch or without; documented in its docstring."""

    class MRI(LinearPhysics):
        img_size, three_d = size, False

    assert from_deepinv(MRI(lambda x: x)).grid == (12, 16)
    MRI.three_d, MRI.img_size = True, (*size[:-2], 8, 12, 16)
    assert from_deepinv(MRI(lambda x: x)).grid == (8, 12, 16)
