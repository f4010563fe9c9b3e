"""How large an error noise alone leaves: two objects, each from data of its own.

Where starts cannot end anywhere else, as with several exposures, that they agree says nothing of noise: they all fit the same. Photons that
are dealt to two halves at random are two independent measurements (thinning of a Poisson process), and each half doubles the variance of
the error: E of the one against the other is twice the error of all of them together, to first order. Of numbers that are no counts the
noise is what the fit leaves, its variance in proportion to the intensity: it is drawn once more, and added to the data for the one and
subtracted for the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError
from untwin.judge import metrics
from untwin.random import derive
from untwin.solve.likelihood import MEMORY, TOLERANCE, most_likely

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

ITERATIONS = 400  # of L-BFGS, at most (unmeasured)
# In a near field of counts, whose fits are long, fewer pairs are kept, and the last step lowers the loss by this share, per pixel:
NEAR_PAIRS, NEAR_TOLERANCE = 10, 4e-4  # E stays within 4 % of what it was (benchmarks/near_field.py --noise)
LEAST = 0.02  # of the numbers that must be left beside the unknowns for what the fit leaves to tell the noise (unmeasured)


def noise_error(problem: Problem, image: Tensor, support: Tensor) -> float:
    """E that the noise leaves in the most likely object, about; NaN where nothing tells the noise. image, support: (*grid)."""
    import torch

    data = _halves(problem) or _redrawn(problem, image, support)
    if data is None:
        return math.nan
    brightness, pair = data
    if not all(part.any() for part in pair):
        return 1.0
    pairs, tolerance = MEMORY, TOLERANCE
    if problem.pattern.counted and problem.pattern.optics and problem.pattern.optics.fresnel_numbers:
        pairs, tolerance = NEAR_PAIRS, NEAR_TOLERANCE / int(problem.pattern.measured.sum())
    objects = [
        most_likely(recounted, image * brightness, support, iterations=ITERATIONS, pairs=pairs, tolerance=tolerance)[0]
        for recounted in (problem.recounted(part.astype(np.float32)) for part in pair)
    ]
    error = float(problem.symmetry.align(torch.stack(objects[:1]), objects[1]).error)
    return error / 2


def _halves(problem: Problem) -> tuple[float, tuple[np.ndarray, np.ndarray]] | None:
    """The photons dealt to two, and by how much each object is fainter; None where these are no whole counts."""
    try:
        counts = problem.photons()
    except InputError:
        return None
    if not problem.pattern.counted:
        return None
    photons = np.where(problem.pattern.measured, np.rint(counts), 0).astype(np.int64)
    half = np.random.default_rng(derive(0, "halves of the photons")).binomial(photons, 0.5)
    return math.sqrt(0.5), (half, photons - half)


def _redrawn(problem: Problem, image: Tensor, support: Tensor) -> tuple[float, tuple[np.ndarray, np.ndarray]] | None:
    """The data with as much noise more as they have, and with as much less."""
    measured, y = problem.pattern.measured, problem.pattern.intensity.astype(np.float64)
    x = problem.project_object(image[None], support[None])
    f = problem.predict(x)[0].double().cpu().numpy()
    rest = int(measured.sum()) - float(metrics.unknowns(x, support[None]))
    if rest < LEAST * measured.sum():
        return None
    floor = 1e-3 * f[measured].mean()
    variance = (np.square(y - f) / np.maximum(f, floor))[measured].sum() / rest
    noise = np.sqrt(variance * np.maximum(f, floor)) * np.random.default_rng(derive(0, "noise once more")).normal(size=y.shape)
    noise[~measured] = 0
    return 1.0, (np.maximum(y + noise, 0), np.maximum(y - noise, 0))
