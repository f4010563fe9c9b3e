"""Does a real object have a phase after all? A likelihood-ratio test of the result against a complex object in the same support.

The antisymmetric part of the counts is what no real object explains; but a point-symmetric object with such a phase has none. So the phase
is set free, from the most likely real object, and what that explains is compared with what chance would: half a unit for each unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from untwin.data.realness import PHASE, SHARE, realness
from untwin.judge import metrics, trust
from untwin.model.constraints import Nonnegative, RealValued, Support
from untwin.random import derive
from untwin.runs.launch import run_here
from untwin.runs.names import parse
from untwin.solve.likelihood import most_likely
from untwin.solve.state import State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

ITERATIONS = 100  # of a fit
PUSHES = ((0.3, 3.0), (0.5, 12.0))  # rad rms, pixels: what the phase begins with, since of a symmetric pattern 0 is a saddle
NEAR = (0.05, 3.0)  # without a search: as good as the real object at least
RECIPE = "200*HIO + 50*ER"  # before the fit, which alone stays beside the real object (a point-symmetric phase of 0.3 to 1 rad)
SURE = 6.0  # standard deviations of the ratio: benchmarks/realness.py --runs
EXPLAINED = 0.3  # of what the real object misses beyond noise: with less, something else is wrong
OF_ALL = 0.15  # of all that it misses, where nobody knows the noise: real objects as 8 bits at most 0.10, phases of 0.6 rad 0.2 to 0.43
LARGEST = 2**18  # pixels, which take half a minute; above that the symmetry of the counts alone is asked (unmeasured)


@dataclass(frozen=True)
class FreedPhase:
    """deviations: by how many standard deviations of chance a complex object is more likely. explained: its share of what the real one
    misses. size: half the likelihood ratio over the photons, about half the variance of the phase."""

    deviations: float
    explained: float
    size: float = math.inf

    def doubts(self, counts: bool) -> bool:
        """Without counts the least phase that matters is PHASE: no noise says what is little."""
        if not self.deviations > SURE:
            return False
        return self.explained > EXPLAINED if counts else self.explained > OF_ALL and self.size > PHASE**2 / SHARE

    def numbers(self) -> dict[str, float]:
        return {"phase_deviations": self.deviations, "phase_explained": self.explained}


def freed(problem: Problem, image: Tensor, support: Tensor) -> FreedPhase | None:
    """image, support: (*grid). None where the object is not real, or something else is known of it, too."""
    if problem.pattern.optics is not None:
        return None
    known = all(type(c) in (Support, Nonnegative, RealValued) for c in problem.constraint.parts())
    if not (problem.real and known and problem.model.waves.unitary):
        return None
    if image.numel() > LARGEST:
        asymmetric = realness(problem.pattern).answer == "complex"
        return FreedPhase(math.inf, 1.0) if asymmetric else None
    real, _, loss = most_likely(problem, image, support, iterations=ITERATIONS)
    x, less = _complex(problem, real, support)
    if not (math.isfinite(loss) and math.isfinite(less)):
        return None
    pixels = int(problem.measured.sum())
    more = float(metrics.unknowns(x[None], support[None]) - metrics.unknowns(real[None], support[None]))
    rest = max(1.0, pixels - float(metrics.unknowns(x[None], support[None])))
    dispersion = max(2 * less / rest, 1.0 if problem.pattern.counted else 1e-30)
    gain = loss - less
    noise = float(metrics.expected_half_deviance(problem.predict(real[None]), problem.measured)) if problem.pattern.counted else 0.0
    right = problem.pattern.counted and less < trust.MAX_MISFIT * noise
    explained = 1.0 if right else gain / max(loss - noise, 1e-30)
    return FreedPhase((gain / dispersion - more / 2) / math.sqrt(max(more, 1.0) / 2), explained, gain / max(problem.pattern.photons, 1e-30))


def _complex(problem: Problem, real: Tensor, support: Tensor) -> tuple[Tensor, float]:
    """The most likely complex object in the support of a real one, and its half deviance."""
    import torch

    free = replace(problem, constraint=Support(), counts=None)
    free = (free.sharpened() if problem.counts.sharpened else free).without(~problem.measured)
    pushed = torch.stack([real * _push(real, size, length) for size, length in PUSHES])
    searched = run_here(free, parse(RECIPE), State.of(pushed, support)).state.image
    begun = [*searched, real * _push(real, *NEAR)]
    fits = [most_likely(free, x, support, iterations=ITERATIONS) for x in begun if bool(x.isfinite().all())]
    x, _, less = min(fits, key=lambda fit: fit[2], default=(real, {}, math.inf))
    return x, less


def _push(x: Tensor, size: float, length: float) -> Tensor:
    """exp(i φ), φ random, smooth over `length` pixels, like x."""
    import torch
    from scipy import ndimage

    noise = np.random.default_rng(derive(0, "a phase to begin with")).normal(size=tuple(x.shape))
    phase = np.asarray(ndimage.gaussian_filter(noise, length, mode="wrap"))
    return torch.polar(torch.ones_like(x), torch.from_numpy(size * phase / phase.std()).to(x))
