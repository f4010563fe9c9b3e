"""Blind deblurring: a picture and the kernel that blurred it, in a box much larger than the kernel, and whether to believe them.

1. The kernel from the brightness alone, coarse to fine (solve.marginal), from two levels of noise: two searches that can be compared. Where
   the noise is strong, in the picture as a denoiser leaves it.
2. From the first of them picture and kernel together, by an untrained network and a softmax in a box a little larger than the kernel.
3. Kernel: cut, trimmed, centred. Picture: half-quadratic splitting with a denoiser (Zhang et al., DPIR), every channel.
4. Verdict: do the two searches agree, is the picture explained, does the kernel lie well within its box. If not, the blurred picture is
   given back.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.judge.blur import BlurEvidence, blur_verdict, kernel_similarity
from untwin.judge.trust import Verdict
from untwin.model.denoiser import Denoiser
from untwin.model.image.blur import Blur
from untwin.model.losses import Squared
from untwin.model.networks.skip import Skip
from untwin.model.noise_level import clipped_at, estimate_sigma
from untwin.model.picture import Picture
from untwin.model.priors.grid import Grid
from untwin.model.priors.kernel import Softmax
from untwin.model.priors.untrained import Untrained
from untwin.model.regularizers import GradientRatio
from untwin.model.unknown import Unknown
from untwin.random import derive
from untwin.runs import plugplay
from untwin.runs.checkpoint import Checkpoint, PartState
from untwin.runs.solution import Restored
from untwin.solve.fit import Fit
from untwin.solve.kernels import surrounded, trimmed
from untwin.solve.marginal import Marginal
from untwin.solve.run import iterate
from untwin.solve.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
LEAST = 32  # pixels along an axis


def _joint() -> Fit:
    """Rates and weight: docs/deblurring.md. A weight of l1/l2 a hundred times larger makes the picture collapse."""
    network = Skip(depth=4, width=16, skip=16, inputs=8)
    return Fit(
        Untrained(network, jitter=0.001, rate=0.01),
        kernel=Softmax(Grid(spread=0.01, rate=0.01)),
        regularizer=GradientRatio(2e-6),
        average=0.95,
        decay=0.1,
    )


@dataclass(frozen=True, repr=False)
class Blind:
    """The settings of a blind deblurring.

    noise: deviation of the noise; by default estimated from the picture. first_noises: where the searches begin, at least two.
    quiet: deviation of the noise above which the kernel is sought in the picture as a denoiser leaves it, and below which each kernel is
        worked out `again` times anew at full size.
    search: the settings of the searches. fit, steps: picture and kernel together, from the first search. margin: pixels around its kernel
        for that. again: see quiet.
    denoiser: of the search and of the picture. strength: the noise for which the picture is restored, in deviations: the kernel's error is
        noise, too; and `least_level` at least.
    """

    noise: float | None = None
    first_noises: tuple[float, ...] = (0.02, 0.04)
    quiet: float = 0.015
    again: int = 2
    search: Marginal = field(default_factory=Marginal)
    fit: Fit = field(default_factory=_joint)
    steps: int = 300
    margin: int = 4
    denoiser: Denoiser = field(default_factory=Denoiser)
    strength: float = 1.2
    least_level: float = 0.02

    def __post_init__(self) -> None:
        if self.noise is not None:
            require_number(self, "noise", 0, 1)
        if len(self.first_noises) < 2 or not all(isinstance(v, float) and 0 < v < 1 for v in self.first_noises):
            raise InputError(f"Blind(first_noises={self.first_noises!r}): expected two numbers at least, from 0 to 1: a verdict compares")
        for name, low in (("again", 0), ("steps", 0), ("margin", 0)):
            require_int(self, name, low, 1_000_000)
        for name in ("quiet", "strength", "least_level"):
            require_number(self, name, 0)
        if not isinstance(self.search, Marginal):
            raise InputError(f"Blind(search={self.search!r}): expected Marginal()")
        if not isinstance(self.denoiser, Denoiser):
            raise InputError(f"Blind(denoiser={self.denoiser!r}): expected Denoiser(), or Denoiser(function)")
        if not isinstance(self.fit, Fit) or self.fit.kernel is None:
            raise InputError(f"Blind(fit={self.fit!r}): expected a Fit with the prior of a kernel, such as Fit(kernel=Softmax())")

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, eq=False)
class Deblurred:
    """What a blind deblurring leaves. image: (channels, height, width), the frame of the picture. kernel: of sum 1, odd sizes, its centre
    of mass in the middle. kernels: of each search."""

    image: Tensor
    kernel: Tensor
    kernels: tuple[Tensor, ...]
    verdict: Verdict
    numbers: dict[str, float]
    warnings: tuple[str, ...]


def check(problem: Picture, settings: Blind) -> None:
    """Raise InputError where a picture is none for a blind deblurring, before anything is computed."""
    grid = problem.pixels
    if len(grid) != 2 or min(grid) < LEAST or problem.y.is_complex():
        kind = "complex" if problem.y.is_complex() else f"of {grid}"
        raise InputError(
            f"blind deblurring takes real pictures of two axes with {LEAST} pixels at least along each, this one is {kind}; give the "
            f"kernel, or try a Fit with kernel=Softmax()"
        )
    if not isinstance(problem.loss, Squared):
        raise InputError(f"blind deblurring is for white Gaussian noise, Squared(), and the loss is {problem.loss!r}; give the kernel")
    values = problem.y[problem.measured]
    if not bool((values != values[:1]).any()):
        raise InputError("the picture has the same value everywhere: it has no edge that shows a blur; expected a photograph")
    settings.denoiser.check(problem)


def restored(
    problem: Picture, settings: Blind, seed: int, provenance: dict[str, str | int], checkpoint: Checkpoint,
    report: Callable[[int, float | None, int], None] | None, about: dict[str, str],
) -> Restored:  # fmt: skip
    """What `restore` gives for a blur that is not known. report: called with steps since, None, and steps in all."""
    check(problem, settings)
    clock, cpu, total = time.perf_counter(), time.process_time(), steps(problem, settings)
    recipe = repr(settings)
    checkpoint.begin({**provenance, **about, "recipe": recipe, "seed": seed})
    result = deblur(problem, settings, seed, checkpoint, lambda count: report(count, None, total) if report and count else None)
    seconds = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
    return Restored(
        image=result.image,
        recipe=recipe,
        seed=seed,
        numbers=result.numbers | seconds,
        warnings=result.warnings,
        made=provenance,
        data=problem.y.cpu(),
        choice="blind deblurring: the kernel from the picture, the picture by a trained denoiser",
        kernel=result.kernel,
        verdict=result.verdict,
    )


def deblur(problem: Picture, settings: Blind, seed: int, checkpoint: Checkpoint, tick: Callable[[int], None]) -> Deblurred:
    """The picture behind a blurred one, and the kernel. tick: called with how many steps were taken since."""
    brightness, known, clipped = _brightness(problem)
    sigma = estimate_sigma(brightness[None].numpy(), known[None].numpy()) if settings.noise is None else settings.noise
    rows, columns = problem.unknown_shapes["kernel"]
    box = (rows, columns)
    searches = [_searched(brightness, known, sigma, box, level, settings, tick) for level in settings.first_noises]
    agreement = min(kernel_similarity(searches[0], other) for other in searches[1:])
    kernel = searches[0]
    if settings.steps:
        kernel = _together(brightness, known, kernel, box, settings, derive(seed, "together"), checkpoint, tick)
    image, left = _picture(problem, kernel, sigma, settings)
    reach = max(n / b for n, b in zip(kernel.shape, box))
    evidence = BlurEvidence(agreement, left / max(sigma, 1e-3), reach, sigma)
    verdict = blur_verdict(evidence)
    warnings = []
    if clipped > 0:
        warnings.append(f"{100 * clipped:.2g} % of the pixels are saturated and were left out while the kernel was sought")
    if verdict.trusted is False:
        warnings.append(f"what is shown is the blurred picture: {verdict.text}")
        image = problem.y.cpu()
    elif verdict.trusted is None:
        warnings.append(f"the kernel is doubtful: {verdict.text}")
    numbers = {
        "noise": sigma,
        "kernel_agreement": agreement,
        "kernel_height": float(kernel.shape[0]),
        "kernel_width": float(kernel.shape[1]),
        "misfit_over_noise": evidence.misfit,
        "saturated_fraction": clipped,
        "steps": float(steps(problem, settings)),
        "best_at": float(steps(problem, settings)),
        "stopped_itself": 1.0,
    }
    return Deblurred(image, kernel, tuple(searches), verdict, numbers, tuple(warnings))


def steps(problem: Picture, settings: Blind) -> int:
    """Ticks of `deblur`, at most."""
    rows, columns = problem.unknown_shapes["kernel"]
    search = settings.search
    one = search.steps(problem.pixels, (rows, columns)) + settings.again * search.iterations
    return one * len(settings.first_noises) + settings.steps


def _brightness(problem: Picture) -> tuple[Tensor, Tensor, float]:
    """(height, width): the luminance, what of it was measured and not saturated, and the share that was."""
    import torch

    y, known = problem.y.cpu().float(), problem.measured.cpu()
    weights = y.new_tensor(LUMINANCE if len(y) == 3 else [1 / len(y)] * len(y))
    high = clipped_at(y[known].numpy())[1]
    saturated = (y >= high) & known if math.isfinite(high) else torch.zeros_like(known)
    clipped = float(saturated.any(0).double().mean())
    return torch.einsum("c,chw->hw", weights, y), (known & ~saturated).all(0), clipped


def _searched(
    y: Tensor, known: Tensor, sigma: float, box: tuple[int, int], level: float, settings: Blind, tick: Callable[[int], None]
) -> Tensor:
    """A kernel from one first level of noise, trimmed."""
    import torch

    search = replace(settings.search, first_noise=level)
    with torch.no_grad():
        quiet = settings.denoiser(y[None, None], sigma)[0, 0] if sigma > settings.quiet else y
        kernel = search.kernel(quiet, known, box, lambda: tick(1))
        if sigma <= settings.quiet:
            for _ in range(settings.again):
                kernel = search.polished(quiet, known, kernel, box, lambda: tick(1))
    return trimmed(kernel)


def _together(
    y: Tensor, known: Tensor, kernel: Tensor, box: tuple[int, int], settings: Blind, seed: int, checkpoint: Checkpoint,
    tick: Callable[[int], None],
) -> Tensor:  # fmt: skip
    """The kernel after picture and kernel were fitted together from this one, trimmed."""
    import torch

    room = tuple(min(b, n + 2 * settings.margin) for n, b in zip(kernel.shape, box))
    problem = Picture(y[None], Blur(Unknown(), box=room), known[None])
    name = checkpoint.name("together")
    part = checkpoint.read(name)
    if part is None:
        x = torch.zeros(1, *problem.shape)
        part = PartState(State.of(x, seeds=(seed,)).replace(nuisance={"kernel": surrounded(kernel, room)[None]}), [])
    state = part.state
    tick(state.step)
    with checkpoint.part(name) as reached:
        for state in iterate(problem, settings.steps * settings.fit, state):  # noqa: B020
            tick(1)
            reached(state, [])
    return trimmed(state.nuisance["kernel"][0])


def _picture(problem: Picture, kernel: Tensor, sigma: float, settings: Blind) -> tuple[Tensor, float]:
    """(channels, height, width) in the frame of y, and the root mean square of what is left of y."""
    import torch

    known = Picture(problem.y.cpu(), Blur(kernel), problem.measured.cpu())
    level = max(settings.strength * sigma, settings.least_level)
    with torch.no_grad():
        x = plugplay.image(known, plugplay.recipe_for(known, settings.denoiser, level))
        left = math.sqrt(float(known.misfit(x[None])[0] / known.measured.sum()))
    inside = tuple(slice((k - 1) // 2, (k - 1) // 2 + n) for k, n in zip(kernel.shape, known.pixels))
    return x[(slice(None), *inside)].contiguous(), left
