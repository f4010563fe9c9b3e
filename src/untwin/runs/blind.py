"""Blind deblurring: a picture and the kernel that blurred it, in a box much larger than the kernel, and whether to believe them.

1. The kernel from the brightness alone, coarse to fine (solve.marginal). Where the noise is strong, in the picture as a denoiser leaves it.
2. Independent of it, picture and kernel together, by an untrained network and a perceptron with a softmax over the box, from two seeds; of
   large pictures in a window.
3. Kernels: cut, trimmed, centred. Picture: half-quadratic splitting with a denoiser (Zhang et al., DPIR), every channel, with one of the
   two kernels that agree best.
4. Verdict: do independent kernels agree, is the picture explained, does the kernel lie well within its box. If not, the blurred picture is
   the result, and the attempt is there to be looked at.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.judge.blur import MAX_MISFIT, WIDE, BlurEvidence, blur_verdict, kernel_similarity
from untwin.judge.trust import Verdict
from untwin.model.denoiser import Denoiser
from untwin.model.image.blur import Blur
from untwin.model.losses import Squared
from untwin.model.networks.skip import Skip
from untwin.model.noise_level import clipped_at, estimate_sigma
from untwin.model.picture import Picture
from untwin.model.priors.kernel import Perceptron, Softmax
from untwin.model.priors.untrained import Untrained
from untwin.model.regularizers import GradientRatio
from untwin.model.unknown import Unknown
from untwin.random import derive
from untwin.runs import plugplay
from untwin.runs.checkpoint import Checkpoint, PartState
from untwin.runs.solution import Restored
from untwin.solve.fit import Fit
from untwin.solve.kernels import trimmed
from untwin.solve.marginal import Marginal
from untwin.solve.run import iterate
from untwin.solve.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
LEAST = 32  # pixels along an axis
ALIKE = 0.8  # agreement of kernels that may stand for each other: what they leave tells which is better (six kernels at noise 0.01)


def _joint() -> Fit:
    """Rates as in docs/deblurring.md. The weight of l1/l2 at noise 0.05 and 200 steps (camera, one path): similarity of the kernel 0.856
    with 4e-4, 0.883 with 1.5e-3, 0.859 with 4e-3."""
    network = Skip(depth=4, width=16, skip=16, inputs=8)
    return Fit(
        Untrained(network, jitter=0.001, rate=0.01),
        kernel=Softmax(Perceptron(rate=1e-3)),
        regularizer=GradientRatio(1.5e-3),
        decay=0.25,
    )


@dataclass(frozen=True, repr=False)
class Blind:
    """The settings of a blind deblurring.

    noise: deviation of the noise; by default estimated from the picture.
    search: the settings of the search. quiet: deviation of the noise above which it is in the picture as a denoiser leaves it, and below
        which its kernel is worked out `again` times anew at full size.
    fit, starts, steps: picture and kernel together, so many times with another seed. noisy_steps: the same where the noise is above
        `strong`: later the picture follows the noise, and the kernel loses. window: pixels along each axis of the part of a picture for
        that, at most; a box half as large at most.
    denoiser: of the search and of the picture. strength: the noise for which the picture is restored, in deviations; `least_level` at
        least.
    """

    noise: float | None = None
    quiet: float = 0.015
    again: int = 2
    search: Marginal = field(default_factory=Marginal)
    fit: Fit = field(default_factory=_joint)
    starts: int = 2
    steps: int = 400
    noisy_steps: int = 200
    strong: float = 0.03
    window: int = 128
    denoiser: Denoiser = field(default_factory=Denoiser)
    strength: float = 1.0
    least_level: float = 0.016

    def __post_init__(self) -> None:
        if self.noise is not None:
            require_number(self, "noise", 0, 1)
        for name, low in (("again", 0), ("starts", 1), ("steps", 1), ("noisy_steps", 1), ("window", LEAST)):
            require_int(self, name, low, 1_000_000)
        for name in ("quiet", "strong", "strength", "least_level"):
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
    of mass in the middle. kernels: of the search and of each fit. attempt: as image, where the verdict is no and image is the blurred
    picture."""

    image: Tensor
    kernel: Tensor
    kernels: tuple[Tensor, ...]
    verdict: Verdict
    numbers: dict[str, float]
    warnings: tuple[str, ...]
    attempt: Tensor | None = None


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
        attempt=result.attempt,
    )


def deblur(problem: Picture, settings: Blind, seed: int, checkpoint: Checkpoint, tick: Callable[[int], None]) -> Deblurred:
    """The picture behind a blurred one, and the kernel. tick: called with how many steps were taken since."""
    brightness, known, clipped = _brightness(problem)
    sigma = estimate_sigma(brightness[None].numpy(), known[None].numpy()) if settings.noise is None else settings.noise
    rows, columns = problem.unknown_shapes["kernel"]
    kernels = [_searched(brightness, known, sigma, (rows, columns), settings, tick)]
    for number in range(settings.starts):
        kernels.append(_together(brightness, known, sigma, (rows, columns), settings, derive(seed, "start", number), checkpoint, tick))
    pictures = [_picture(problem, kernel, sigma, settings) for kernel in kernels]
    misfits = [left / max(sigma, 1e-3) for _, left in pictures]
    reaches = [max(n / b for n, b in zip(kernel.shape, (rows, columns))) for kernel in kernels]
    best, agreement = chosen(kernels, misfits, [m <= MAX_MISFIT and r <= WIDE for m, r in zip(misfits, reaches)])
    kernel, image = kernels[best], pictures[best][0]
    evidence = BlurEvidence(agreement, misfits[best], reaches[best], sigma, float(kernel.max()))
    verdict = blur_verdict(evidence)
    warnings, attempt = [], None
    if clipped > 0:
        warnings.append(f"{100 * clipped:.2g} % of the pixels are saturated and were left out while the kernel was sought")
    if verdict.trusted is False:
        warnings.append(f"what is shown is the blurred picture (the attempt is beside it, attempt.png): {verdict.text}")
        image, attempt = problem.y.cpu(), image
    elif verdict.trusted is None:
        warnings.append(f"the kernel is doubtful: {verdict.text}")
    total = float(steps(problem, settings))
    numbers = {
        "noise": sigma,
        "kernel_agreement": agreement,
        "kernel_height": float(kernel.shape[0]),
        "kernel_width": float(kernel.shape[1]),
        "misfit_over_noise": evidence.misfit,
        "saturated_fraction": clipped,
        "steps": total,
        "best_at": total,
        "stopped_itself": 1.0,
    }
    return Deblurred(image, kernel, tuple(kernels), verdict, numbers, tuple(warnings), attempt)


def chosen(kernels: list[Tensor], misfits: list[float], sound: list[bool]) -> tuple[int, float]:
    """Which of several independent kernels, and how well it agrees with others.

    Of the sound ones (which explain the picture and lie in their box) the two that agree best, and what agrees with one of them to ALIKE;
    of all those the one that leaves least of the picture. Where fewer than two are sound, that which leaves least.
    """
    pairs = {(a, b): kernel_similarity(kernels[a], kernels[b]) for a, b in combinations(range(len(kernels)), 2)}
    usable = {pair: value for pair, value in pairs.items() if sound[pair[0]] and sound[pair[1]]}
    if not usable:
        best = min(range(len(kernels)), key=lambda i: misfits[i])
        return best, max(value for pair, value in pairs.items() if best in pair)
    best = max(usable, key=lambda pair: usable[pair])
    alike = {i for pair, value in usable.items() if value >= ALIKE and set(pair) & set(best) for i in pair}
    return min({*best, *alike}, key=lambda i: misfits[i]), usable[best]


def steps(problem: Picture, settings: Blind) -> int:
    """Ticks of `deblur`, at most."""
    rows, columns = problem.unknown_shapes["kernel"]
    search = settings.search.steps(problem.pixels, (rows, columns)) + settings.again * settings.search.iterations
    return search + settings.starts * max(settings.steps, settings.noisy_steps)


def _brightness(problem: Picture) -> tuple[Tensor, Tensor, float]:
    """(height, width): the luminance, what of it was measured and not saturated, and the share that was."""
    import torch

    y, known = problem.y.cpu().float(), problem.measured.cpu()
    weights = y.new_tensor(LUMINANCE if len(y) == 3 else [1 / len(y)] * len(y))
    high = clipped_at(y[known].numpy())[1]
    saturated = (y >= high) & known if math.isfinite(high) else torch.zeros_like(known)
    clipped = float(saturated.any(0).double().mean())
    return torch.einsum("c,chw->hw", weights, y), (known & ~saturated).all(0), clipped


def _searched(y: Tensor, known: Tensor, sigma: float, box: tuple[int, int], settings: Blind, tick: Callable[[int], None]) -> Tensor:
    """The kernel of a search from coarse to fine, trimmed."""
    import torch

    search = settings.search
    with torch.no_grad():
        quiet = settings.denoiser(y[None, None], sigma)[0, 0] if sigma > settings.quiet else y
        kernel = search.kernel(quiet, known, box, lambda: tick(1))
        if sigma <= settings.quiet:
            for _ in range(settings.again):
                kernel = search.polished(quiet, known, kernel, box, lambda: tick(1))
    return trimmed(kernel)


def _together(
    y: Tensor, known: Tensor, sigma: float, box: tuple[int, int], settings: Blind, seed: int, checkpoint: Checkpoint,
    tick: Callable[[int], None],
) -> Tensor:  # fmt: skip
    """The kernel that was fitted together with the middle of the picture, trimmed."""
    import torch

    window = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n in y.shape for m in [min(n, settings.window)])
    room = tuple(min(b, max(1, (s.stop - s.start) // 2 - 1 | 1) if s.stop - s.start < n else b) for b, s, n in zip(box, window, y.shape))
    problem = Picture(y[window][None], Blur(Unknown(), box=room), known[window][None])
    name = checkpoint.name("together", seed)
    part = checkpoint.read(name) or PartState(State.of(torch.zeros(1, *problem.shape), seeds=(seed,)), [])
    state = part.state
    tick(state.step)
    count = settings.noisy_steps if sigma > settings.strong else settings.steps
    with checkpoint.part(name) as reached:
        for state in iterate(problem, count * settings.fit, state):  # noqa: B020
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
