"""Blind deblurring: a picture and the kernel that blurred it, in a box much larger than the kernel, and whether to believe them.

1. The brightness at half its resolution: picture and kernel together, by an untrained network and a perceptron with a softmax over a box,
   several times with other random numbers, networks and boxes. Where these kernels do not agree, so many again.
2. The mean of the kernels that agree, at full resolution, improved with the picture integrated out (solve.marginal), in the picture as a
   denoiser leaves it.
3. Picture: half-quadratic splitting with a denoiser (Zhang et al., DPIR), every channel, with that kernel.
4. Verdict: do independent kernels agree, does the improved one still resemble them, is the picture explained. If not, the blurred picture
   is the result, and the attempt is there to be looked at.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.judge.blur import POINT, BlurEvidence, blur_verdict, kernel_similarity
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
from untwin.processes import one_thread
from untwin.random import derive
from untwin.runs import plugplay
from untwin.runs.checkpoint import Checkpoint, PartState
from untwin.runs.live import picture_view
from untwin.runs.solution import Restored
from untwin.solve.fit import Fit
from untwin.solve.kernels import consensus, resized, trimmed
from untwin.solve.marginal import Marginal
from untwin.solve.run import iterate
from untwin.solve.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
LEAST = 32  # pixels along an axis
LEAST_REDUCED = 32  # pixels along an axis of a picture with fewer of them
ASTRAY = 0.7  # similarity to the first kernel, below which an improved one is not taken (brick: 0.58 of the truth became 0.39)


def _joint(depth: int) -> Fit:
    """Rates as in docs/deblurring.md."""
    network = Skip(depth=depth, width=32, skip=16, inputs=8)
    return Fit(
        Untrained(network, jitter=0.001, rate=0.01),
        kernel=Softmax(Perceptron(rate=1e-3)),
        regularizer=GradientRatio(1.5e-3),
        decay=0.25,
    )


@dataclass(frozen=True, repr=False)
class Blind:
    """The settings of a blind deblurring.

    noise: deviation of the noise of each channel; by default estimated from the picture.
    fits, shares, steps: picture and kernel together at half the resolution, once for each share of the box, with the fits in turn; at most
        `batches` times, as long as kernels agree less than `enough`. window: pixels along each axis of the part of a picture for that, at
        most; the second time twice as many where there are, with a quarter of the resolution.
    search, rounds: how the kernel is improved at full resolution, and how often; once where the noise is above `strong`.
    denoiser: of the kernel and of the picture. strength: the noise for which the picture is restored, in deviations; `least_level` at
        least.
    """

    noise: float | None = None
    fits: tuple[Fit, ...] = field(default_factory=lambda: (_joint(4), _joint(3)))
    shares: tuple[float, ...] = (0.5, 0.5, 0.67, 0.5, 0.35, 0.5, 1.0, 0.5)
    steps: int = 250
    batches: int = 2
    enough: float = 0.85
    window: int = 128
    search: Marginal = field(default_factory=Marginal)
    rounds: int = 2
    strong: float = 0.03
    denoiser: Denoiser = field(default_factory=Denoiser)
    strength: float = 1.0
    least_level: float = 0.016

    def __post_init__(self) -> None:
        if self.noise is not None:
            require_number(self, "noise", 0, 1)
        for name, low in (("steps", 1), ("batches", 1), ("rounds", 0), ("window", LEAST)):
            require_int(self, name, low, 1_000_000)
        for name in ("strong", "strength", "least_level", "enough"):
            require_number(self, name, 0)
        if not isinstance(self.search, Marginal):
            raise InputError(f"Blind(search={self.search!r}): expected Marginal()")
        if not isinstance(self.denoiser, Denoiser):
            raise InputError(f"Blind(denoiser={self.denoiser!r}): expected Denoiser(), or Denoiser(function)")
        if not self.fits or not all(isinstance(fit, Fit) and fit.kernel is not None for fit in self.fits):
            raise InputError(f"Blind(fits={self.fits!r}): expected Fits with the prior of a kernel, such as (Fit(kernel=Softmax()),)")
        if not self.shares or not all(isinstance(share, (int, float)) and 0 < share <= 1 for share in self.shares):
            raise InputError(f"Blind(shares={self.shares!r}): expected shares of the box above 0 and up to 1, such as (0.5, 0.5, 1.0)")

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, eq=False)
class Deblurred:
    """What a blind deblurring leaves. image: (channels, height, width), the frame of the picture. kernel: of sum 1, odd sizes, its centre
    of mass in the middle. kernels: of each fit, at full resolution. attempt: as image, where the verdict is no and image is the blurred
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
    with one_thread():  # beside other programs two made 0.2 steps a second of 40
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
    import torch

    counts: list[int] = []

    def counted(count: int) -> None:
        counts.append(count)
        tick(count)

    brightness, known, clipped = _brightness(problem)
    sigma = estimate_sigma(problem.y.cpu().numpy(), problem.measured.cpu().numpy()) if settings.noise is None else settings.noise
    grey = sigma * math.hypot(*_weights(len(problem.y)))  # of the brightness
    rows, columns = problem.unknown_shapes["kernel"]
    box = rows, columns
    kernels: list[Tensor] = []
    for batch in range(settings.batches):
        kernels += _together(brightness, known, box, settings, batch, seed, checkpoint, counted)
        blurs = [k for k in kernels if float(k.max()) < POINT]
        first, agreement, alike = consensus(blurs if 2 * len(blurs) >= len(kernels) else kernels)
        if agreement >= settings.enough:
            break
    with torch.no_grad():
        clean = settings.denoiser(brightness[None, None], grey)[0, 0]
    rounds = min(settings.rounds, 1) if grey > settings.strong else settings.rounds
    firsts = [first, *(consensus(half)[0] for half in (alike[::2], alike[1::2]) if half)]
    ends = [_improved(clean, known, kernel, box, settings.search, rounds, counted) for kernel in firsts]
    kernel, change = ends[0]
    repeat = kernel_similarity(ends[1][0], ends[2][0]) if len(ends) > 2 else 0.0
    image, left = _picture(problem, kernel, sigma, settings)
    reach = max(n / b for n, b in zip(kernel.shape, (rows, columns)))
    evidence = BlurEvidence(agreement, repeat, change, left / max(sigma, 1e-3), reach, float(first.max()), _gradient_ratio(clean, known))
    verdict = blur_verdict(evidence)
    warnings, attempt = [], None
    if clipped > 0:
        warnings.append(f"{100 * clipped:.2g} % of the pixels are saturated and were left out while the kernel was sought")
    if verdict.trusted is False:
        warnings.append(f"what is shown is the blurred picture (the attempt is beside it, attempt.png): {verdict.text}")
        image, attempt = torch.where(problem.measured.cpu(), problem.y.cpu(), image), image
    elif verdict.trusted is None:
        warnings.append(f"the kernel is doubtful: {verdict.text}")
    numbers = {
        "noise": sigma,
        "fits": float(len(kernels)),
        "fit_agreement": agreement,
        "kernel_agreement": repeat,
        "kernel_change": change,
        "first_peak": evidence.peak,
        "gradient_ratio": evidence.ratio,
        "kernel_height": float(kernel.shape[0]),
        "kernel_width": float(kernel.shape[1]),
        "misfit_over_noise": evidence.misfit,
        "saturated_fraction": clipped,
        "steps": float(sum(counts)),
        "best_at": float(sum(counts)),
        "stopped_itself": 1.0,
    }
    return Deblurred(image, kernel, tuple(kernels), verdict, numbers, tuple(warnings), attempt)


def steps(problem: Picture, settings: Blind) -> int:
    """Ticks of `deblur`, at most."""
    return settings.batches * len(settings.shares) * settings.steps + 3 * settings.rounds * settings.search.iterations


def _weights(channels: int) -> tuple[float, ...]:
    """Of the channels in the brightness."""
    return LUMINANCE if channels == 3 else (1 / channels,) * channels


def _brightness(problem: Picture) -> tuple[Tensor, Tensor, float]:
    """(height, width): the luminance, what of it was measured and not saturated, and the share that was."""
    import torch

    y, known = problem.y.cpu().float(), problem.measured.cpu()
    high = clipped_at(y[known].numpy())[1]
    saturated = (y >= high) & known if math.isfinite(high) else torch.zeros_like(known)
    clipped = float(saturated.any(0).double().mean())
    return torch.einsum("c,chw->hw", y.new_tensor(_weights(len(y))), y), (known & ~saturated).all(0), clipped


def _together(
    y: Tensor, known: Tensor, box: tuple[int, int], settings: Blind, batch: int, seed: int, checkpoint: Checkpoint,
    tick: Callable[[int], None],
) -> list[Tensor]:  # fmt: skip
    """The kernels that were fitted together with the middle of the picture, brought to full resolution."""
    import torch

    factor = 2 ** (batch + 1) if batch and min(y.shape) >= 2**batch * settings.window else 2
    size = [min(n, settings.window * factor // 2) for n in y.shape]
    while factor > 1 and min(size) // factor < LEAST_REDUCED:
        factor //= 2
    window = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(y.shape, size))
    small, sure = _reduced(y[window], known[window], factor)
    kernels = []
    for number, share in enumerate(settings.shares):
        room = tuple(min(max(3, int(share * b / factor)) | 1, b, (n - 1) // 2 | 1) for b, n in zip(box, small.shape))
        problem = Picture(small[None], Blur(Unknown(), box=room), sure[None])
        own = derive(seed, "start", batch, number)
        name = checkpoint.name("together", own)
        part = checkpoint.read(name) or PartState(State.of(torch.zeros(1, *problem.shape), seeds=(own,)), [])
        state = part.state
        tick(state.step)
        with checkpoint.part(name, picture_view) as reached:
            for state in iterate(problem, settings.steps * settings.fits[number % len(settings.fits)], state):  # noqa: B020
                tick(1)
                reached(state, [])
        kernel = trimmed(state.nuisance["kernel"][0])
        point = factor == 1 or float(kernel.max()) >= POINT  # a point is one at every resolution
        kernels.append(kernel if point else trimmed(resized(kernel, float(factor))))
    return kernels


def _gradient_ratio(y: Tensor, known: Tensor) -> float:
    """|∇|₁ / (|∇|₂ √n) between pixels that are known."""
    import torch

    pairs = [(y.diff(dim=axis), known.narrow(axis, 1, n - 1) & known.narrow(axis, 0, n - 1)) for axis, n in enumerate(y.shape)]
    gradients = torch.cat([difference[both] for difference, both in pairs])
    return float(gradients.abs().mean() / gradients.square().mean().sqrt().clamp(min=1e-12))


def _reduced(y: Tensor, known: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Means of factor x factor pixels, of what is known; bool where all are."""
    from torch.nn.functional import avg_pool2d

    share = avg_pool2d(known.to(y.dtype)[None, None], factor)[0, 0]
    return avg_pool2d((y * known)[None, None], factor)[0, 0] / share.clamp(min=1e-3), share > 0.999


def _improved(
    y: Tensor, known: Tensor, first: Tensor, box: tuple[int, int], search: Marginal, rounds: int, tick: Callable[[int], None]
) -> tuple[Tensor, float]:
    """The kernel from a picture that is integrated out, and its similarity to the first, from which it goes no further than ASTRAY."""
    import torch

    kernel, change = first, 1.0
    with torch.no_grad():
        for number in range(rounds):
            new = trimmed(search.improved(y, known, kernel, box, lambda: tick(1)))
            similarity = kernel_similarity(new, first)
            if similarity < ASTRAY:
                return kernel, change if number else similarity
            kernel, change = new, similarity
    return kernel, change


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
