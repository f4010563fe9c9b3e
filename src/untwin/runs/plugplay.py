"""Plug-and-play runs: which pictures suit a denoiser, which steps they take, and what is made of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin.checks import number_argument
from untwin.errors import InputError, NumericalFailure
from untwin.model.denoiser import LEAST, Denoiser
from untwin.model.image.base import Identity
from untwin.model.image.blur import Blur
from untwin.model.image.downsample import Downsample
from untwin.model.image.mri import MRI
from untwin.model.losses import Squared
from untwin.model.noise_level import estimate_sigma
from untwin.model.picture import Picture
from untwin.random import derive
from untwin.runs.checkpoint import Checkpoint, PartState
from untwin.runs.kspace import real_in_kspace
from untwin.runs.live import picture_view
from untwin.runs.solution import Restored
from untwin.solve.normal import require_linear
from untwin.solve.pnp import HQS, PnP, Smooth
from untwin.solve.recipe import Ramp, Recipe, length, require_suited
from untwin.solve.run import iterate
from untwin.solve.state import State
from untwin.solve.variation import PrimalDual

if TYPE_CHECKING:
    from torch import Tensor

# Means in dB over coins, moon, clock and camera, 128 x 128, one seed; the tables of docs/denoisers.md share only camera, with another seed.
WEIGHT = 0.3  # of HQS: deblurring at 1 and 5 % 34.3 and 29.2; with 0.25 34.3 and 29.1, with 0.15 33.3 and 23.1 (it begins to diverge)
STEPS = 12  # of HQS, deblurring: 0.1 to 0.2 better than the 8 of DPIR, 24 are no better
SHARP_STEPS, SHARP_WEIGHT = 16, 0.23  # where what was measured is as sharp as the picture (holes, coarse pixels, k-space),
SHARP_FIRST, SHARP_LAST = 0.05, 0.01  # levels there, where the noise is below: 36.4 (60 % hidden); 35.8 from 49/255, 36.0 from 0.025
KSPACE_FIRST, KSPACE_STEPS = 0.1, 30  # a third of k-space: 31.0 (camera, coins, retina); 27.4 from 0.05 in 16, 30.1 from 0.2 in 16
BIHARMONIC = Smooth() + Smooth(weight=1e-4, order=2)  # 0.1 better than Smooth() as their start; the numbers of inpaint_biharmonic to 0.02
# Of the data, which tells how much of each to take: smooth pictures with few pixels are the biharmonic's. Half of each, 60 % hidden, five
# pictures (camera, coins, moon, cell, retina): 36.4 against 35.9 and 35.4 alone; with noise of 0.05 32.1, 31.6 and 31.5
LEFT_OUT = 0.1
RAISED = 1.4  # times the noise: the level at which an interpolated picture is denoised; of 0.6, 1 and 1.4 the best on each of the five
LEAST_WEIGHT = 0.05  # below, the other is taken alone
LEAST_NOISE, LEAST_SHARP_NOISE = 0.001, 0.005  # of HQS: a blur without noise 36.2 (0.002: 35.8, 0.005: 34.8; 3 pictures)
COARSE = 0.015  # what fine texture adds to the estimate where pixels are coarse; super-resolution by 4 27.6 with it for noise, 27.9 without
# Coarse pixels by 4, half denoiser and half total variation: 29.6 dB, with the biharmonic as data tell that were left out 29.5, each alone
# 29.5; with noise of 0.02 28.3, alone 28.3 and 27.8; by 6 26.7, alone 26.3 and 26.7 (camera, coins, moon, retina; noise as estimated)
HALF = 0.5
COARSE_FROM = 4  # by 3 the denoiser alone is 0.1 better than the half, by 2 0.5 (the same pictures)
# Of total variation, times the noise: the best of 0.05 to 1 for each (camera, coins, moon): noise alone 0.1 and 0.05 29.3 and 33.0, holes
# 28.4, a blur 31.4 and 28.7 (of 31.6 and 28.7), k-space 34.0, coarse pixels 27.4 (27.6 with 0.1, too strong where texture looks like noise)
VARIED = {Identity: 0.7, Downsample: 0.05, Blur: 0.2}
VARIED_ELSE = 0.5
# Least noise there: without any 31.5 of 31.5 (holes), 29.5 of 29.5 (coarse), and it does not come to nothing
LEAST_VARIED, LEAST_COARSE = 0.001, 0.004
VARIED_STEPS = 200  # 100 are the same to 0.2 dB
CLEAN = 0.007  # what the estimate makes of pictures without noise: 0.002 to 0.006, of a meadow 0.03 (10 pictures of 256 x 256)


def unsuited(problem: Picture) -> str:
    """Why a denoiser of photographs is not taken for a picture unless the user asks for it; empty where it is."""
    if not isinstance(problem.loss, Squared):
        return f"the noise is not white and Gaussian (the loss is {problem.loss!r})"
    if problem.unknowns:
        return f"numbers of the physics are unknown ({', '.join(problem.unknowns)})"
    if problem.y.is_complex() and not isinstance(problem.physics, MRI):
        return "the data are complex"
    if len(problem.grid) != 2:
        return f"it has {len(problem.grid)} axes, and a photograph has two"
    if problem.shape[0] not in (1, 3):
        return f"it has {problem.shape[0]} channels, neither grey nor colour"
    if min(problem.grid) < LEAST:
        return f"it is smaller than {LEAST} pixels"
    try:
        require_linear(PnP(), problem)
    except InputError:
        return "the physics is not linear"
    return ""


def recipe_for(problem: Picture, denoiser: Denoiser | None, sigma: float) -> Recipe:
    """For a picture whose noise has this deviation: D(y) where only noise is to go, else HQS from a smooth picture. Without a denoiser
    total variation."""
    if denoiser is None:
        return variation_for(problem, sigma)
    if isinstance(problem.physics, Identity) and bool(problem.measured.all()):
        return 1 * PnP(denoiser, level=sigma)
    if isinstance(problem.physics, Blur):
        return Smooth() + STEPS * HQS(denoiser, noise=max(sigma, LEAST_NOISE), weight=WEIGHT)
    last, kspace = max(sigma, SHARP_LAST), isinstance(problem.physics, MRI)
    level = Ramp(max(KSPACE_FIRST if kspace else SHARP_FIRST, last), last)
    noise = max(sigma, LEAST_SHARP_NOISE)
    if kspace:
        return Smooth() + KSPACE_STEPS * HQS(denoiser, noise=noise, level=level, weight=SHARP_WEIGHT)
    return BIHARMONIC + SHARP_STEPS * HQS(denoiser, noise=noise, level=level, weight=SHARP_WEIGHT, polish=sigma < CLEAN)


def variation_for(problem: Picture, sigma: float) -> Recipe:
    """Total variation with the weight that suits noise of this deviation: no network, no seed."""
    factor = VARIED.get(type(problem.physics), VARIED_ELSE) if bool(problem.measured.all()) else VARIED_ELSE
    least = LEAST_COARSE if isinstance(problem.physics, Downsample) else LEAST_VARIED
    begin = Smooth() if problem.y.is_complex() or isinstance(problem.physics, Blur | Identity) and factor != VARIED_ELSE else BIHARMONIC
    return begin + VARIED_STEPS * PrimalDual(factor * max(sigma, least))


def smooth_for(problem: Picture, denoiser: Denoiser, sigma: float) -> Recipe | None:
    """What may be nearer to the picture than the denoiser where pixels are missing or coarse; None elsewhere."""
    if problem.y.is_complex() or isinstance(problem.physics, Blur) or length(recipe_for(problem, denoiser, sigma)) == 1:
        return None
    return BIHARMONIC + 1 * PnP(denoiser, level=RAISED * sigma) if sigma else BIHARMONIC


def weight_of(problem: Picture, recipes: tuple[Recipe, Recipe], seed: int) -> float:
    """Of the first of two recipes in the mean of their images that comes nearest to a tenth of the data, which neither is shown."""
    import torch

    drawn = torch.rand(problem.y.shape, generator=torch.Generator().manual_seed(derive(seed, "left out")))
    hidden = problem.measured & (drawn < LEFT_OUT).to(problem.device)
    fewer = problem.without(hidden)
    a, b = (problem.predict(image(fewer, r).unsqueeze(0))[0][hidden] for r in recipes)
    between, left = a - b, problem.y[hidden] - b
    weight = (between.conj() * left).real.double().sum() / (between.conj() * between).real.double().sum().clamp(min=1e-30)
    return float(weight.clamp(0, 1))


def image(problem: Picture, recipe: Recipe) -> Tensor:
    """(channels, *grid): where the recipe comes to from zeros. Raises NumericalFailure where that is no picture."""
    return _run(problem, recipe, Checkpoint(), None)[0]


def deblurred(y: Tensor, kernel: Tensor, sigma: float, denoiser: Denoiser | None = None) -> Tensor:
    """The picture (channels, *grid of y) behind y (channels, height, width), 0 to 1, blurred by a kernel, with noise of this deviation.

    The border is free; what lies beyond the frame of y is cut off, the kernel's middle at (k - 1) // 2 of each axis. A kernel that is only
    nearly right wants a larger sigma than that of the noise: 0.03 for one with a similarity of 0.9.
    """
    problem = Picture(y, Blur(kernel))
    x = image(problem, recipe_for(problem, denoiser or Denoiser(), sigma))
    return x[(slice(None), *(slice((k - 1) // 2, (k - 1) // 2 + n) for k, n in zip(kernel.shape, y.shape[1:])))].contiguous()


@dataclass(frozen=True)
class Mixture:
    """weight times what a recipe comes to, and the rest of another. choice: the prior in words, and why."""

    recipe: Recipe
    choice: str
    other: Recipe | None = None
    weight: float = 1.0


def mixture(problem: Picture, recipe: Recipe, denoiser: Denoiser, sigma: float, seed: int, choice: str) -> Mixture:
    """What the automatic choice makes of a denoiser's recipe: coarse pixels are half total variation's; where pixels are missing, data that
    were left out tell how much is the biharmonic's."""
    if isinstance(problem.physics, Downsample) and problem.physics.factor >= COARSE_FROM and bool(problem.measured.all()):
        text = f"{choice}; half of it is total variation, since coarse pixels gain by both (--prior pnp or tv: one alone)"
        return Mixture(recipe, text, variation_for(problem, sigma), HALF)
    smooth = smooth_for(problem, denoiser, sigma)
    if smooth is None:
        return Mixture(recipe, choice)
    weight = weight_of(problem, (recipe, smooth), seed)
    if weight < LEAST_WEIGHT:
        return Mixture(
            smooth, "biharmonic interpolation, because a trained denoiser came no nearer to a tenth of the data that was left out"
        )
    if weight >= 1 - LEAST_WEIGHT:
        return Mixture(recipe, choice)
    text = f"{choice}; {100 * (1 - weight):.0f} % of it is biharmonic interpolation, as a tenth of the data tells that was left out"
    return Mixture(recipe, text, smooth, weight)


def restored(
    problem: Picture,
    denoiser: Denoiser | None,
    sigma: float | None,
    seed: int,
    choice: str,
    automatic: bool,
    provenance: dict[str, str | int],
    checkpoint: Checkpoint,
    report: Callable[[int, float | None, int], None] | None,
    about: dict[str, Any],
) -> Restored:
    """The picture by plug-and-play, without a denoiser by total variation.

    sigma: of the noise, of |noise| where y is complex; by default estimated. choice: why this prior. automatic: nobody asked for it, so
    that it may be mixed with a smooth picture, as much as brings it nearest to data that were left out. about: what the run is, beside
    its recipe.
    Raises InputError where the denoiser, the physics or the loss do not suit, before anything is computed.
    """
    require_suited(problem, 1 * (PrimalDual() if denoiser is None else HQS(denoiser)))
    clock, cpu = time.perf_counter(), time.process_time()
    estimated = sigma is None
    noise, doubts = _estimated(problem) if sigma is None else (number_argument("sigma", sigma, 0), ())
    part = noise / math.sqrt(2) if problem.y.is_complex() else noise
    recipe = recipe_for(problem, denoiser, part)
    checkpoint.begin({**provenance, **about, "recipe": repr(recipe), "automatic": automatic, "seed": seed})
    mixed = mixture(problem, recipe, denoiser, part, seed, choice) if automatic and denoiser is not None else Mixture(recipe, choice)
    recipe, other, weight, choice = mixed.recipe, mixed.other, mixed.weight, mixed.choice
    choice += "; the picture is real, as its k-space tells" if real_in_kspace(problem) else ""
    x, taken = _run(problem, recipe, checkpoint, report)
    if other is not None:
        x = weight * x + (1 - weight) * image(problem, other)
    misfit = float((problem.misfit(x.unsqueeze(0)) / problem.measured.sum())[0])
    numbers = {"steps": float(taken), "best_at": float(taken), "stopped_itself": 1.0, "misfit": misfit, "sigma": noise}
    numbers |= {"sigma_estimated": float(estimated), "measured_fraction": float(problem.measured.double().mean())}
    numbers |= {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
    text = repr(recipe) if other is None else f"{weight:.2f} of {recipe!r}, {1 - weight:.2f} of {other!r}"
    numbers |= {} if other is None else {"weight": weight}
    return Restored(
        image=x.detach().cpu(), recipe=text, seed=seed, numbers=numbers, warnings=doubts, made=provenance,
        data=problem.y.cpu(), choice=choice,
    )  # fmt: skip


def _estimated(problem: Picture) -> tuple[float, tuple[str, ...]]:
    """The deviation of the noise, 0 where it cannot be told from none; and a sentence about that."""
    import torch

    probe = 1 + torch.cos(torch.arange(math.prod(problem.shape), device=problem.y.device, dtype=torch.float32)).reshape(1, *problem.shape)
    sampled = problem.measured & (problem.predict(probe)[0] != 0)  # a physics may itself say that something was not measured
    try:
        noise = estimate_sigma(problem.y.cpu().numpy(), sampled.cpu().numpy())
    except InputError:
        return 0.0, ("too few pixels were measured to tell the noise, which is taken as none; give sigma= (--sigma) if there is some",)
    if isinstance(problem.physics, Downsample):
        noise = math.sqrt(max(noise**2 - COARSE**2, 0.0))
    if noise >= CLEAN:
        return noise, ()
    text = f"noise of {noise:.2g} is no more than what fine texture looks like, and is taken as none"
    return 0.0, (f"{text}; give sigma= (--sigma) if there is some",)


def _run(
    problem: Picture, recipe: Recipe, checkpoint: Checkpoint, report: Callable[[int, float | None, int], None] | None
) -> tuple[Tensor, int]:
    """(channels, *grid) and the steps taken, from zeros or from where the checkpoint stands."""
    import torch

    name = checkpoint.name("plug and play") if checkpoint.folder else ""
    dtype = torch.float32 if real_in_kspace(problem) else problem.y.dtype
    zeros = torch.zeros(1, *problem.shape, device=problem.y.device, dtype=dtype)
    part = (checkpoint.read(name, problem.device) if name else None) or PartState(State.of(zeros), [])
    state, total = part.state, length(recipe)
    if report and state.step:
        report(state.step, None, total)
    with checkpoint.part(name, picture_view) as reached:
        for state in iterate(problem, recipe, state):  # noqa: B020
            if report:
                report(1, None, total)
            reached(state, [])
    if not bool(state.finite().all()) or not bool(state.image.isfinite().all()):
        raise NumericalFailure("plug-and-play failed (NaN); try a larger weight of HQS, or another prior")
    return state.image[0], state.step
