"""How large an error counting noise alone leaves: two objects, each from its own half of the photons.

Where starts cannot end anywhere else, as with several exposures, that they agree says nothing of noise: they all fit the same. Photons that
are dealt to two halves at random are two independent measurements (thinning of a Poisson process), and each half doubles the variance of
the error: E of the one against the other is twice the error of all of them together, to first order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError
from untwin.random import derive
from untwin.solve.likelihood import most_likely

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

ITERATIONS = 400  # as in the plan for near fields: benchmarks/waves.py


def noise_error(problem: Problem, image: Tensor, support: Tensor) -> float:
    """E that the noise leaves in the most likely object, about; NaN where these are no whole counts. image, support: (*grid)."""
    import torch

    try:
        counts = problem.photons()
    except InputError:
        return math.nan
    if not problem.pattern.counted:
        return math.nan
    photons = np.where(problem.pattern.measured, np.rint(counts), 0).astype(np.int64)
    half = np.random.default_rng(derive(0, "halves of the photons")).binomial(photons, 0.5)
    objects = []
    for part in (half, photons - half):
        if not part.any():
            return 1.0
        own = problem.recounted(part.astype(np.float32))
        objects.append(most_likely(own, image / math.sqrt(2), support, iterations=ITERATIONS)[0])
    error = float(problem.symmetry.align(torch.stack(objects[:1]), objects[1]).error)
    return error / 2
