"""How much of an object the unmeasured pixels leave open: its unconstrained modes.

A wave that lies within the support S and, but for a share 1 - λ of its power, in unmeasured pixels H can be added to the object and the
data hardly notice. These are the eigenvectors of P_H F P_S F* P_H with eigenvalues near 1; F unitary, the projectors P keep the pixels of
H and S. Its elements are G_kk' = (transform of S at k - k') / N, its trace is the pixels of H times the share of the array that S fills:
the speckles that H covers. Behind a round stop those in the middle are lost. A straight gap covers as many, and each reaches over its edge.
"""

from __future__ import annotations

import numpy as np

from untwin.data.measurement import Pattern
from untwin.model.outline import smoothed

# Together: Σ λ^100 = 2.5 parts round stops as 12 speckles behind them do (once, without a script: 751 of 781 pairs of stop and ellipse, 10
# to 50 pixels in 64 x 64; all others between 11.9 and 15.9), and is at most 1.6 for gaps of 4 pixels and objects of 30
# In space (32^3, balls) Σ λ^12 = 2.5 stands for 12 to 14 speckles, and gaps of 4 in 64 hide less than 1: a ball has more surface.
SHARPNESS = {2: 100, 3: 12}  # modes count λ^SHARPNESS, per dimension: in the plane by half where 0.7 % of their power was measured
LIGHT = 0.1  # times the mean of the measured intensity: darker pixels hide too little to matter, as those in the corners
DENSE = 1200  # pixels up to which all eigenvalues are computed,
PROBES, STEPS = 6, 20  # beyond: random vectors (in 64^3 pixels, more in smaller arrays), and steps of Lanczos with each


def unconstrained_modes(pattern: Pattern, support: np.ndarray) -> float:
    """Number of modes in the support of which nothing was measured, Σ λ^p, p = SHARPNESS. support: (*grid) bool, shifted or not."""
    hidden = ~pattern.measured
    if not hidden.any() or not support.any():
        return 0.0
    mean = float(pattern.intensity[pattern.measured].mean(dtype=np.float64))
    at = np.argwhere(hidden & (smoothed(pattern) >= LIGHT * mean))
    if not len(at):
        return 0.0
    if len(at) <= DENSE:
        values = _eigenvalues(at, support)
        return float((values.clip(0, 1) ** SHARPNESS[pattern.ndim]).sum())
    return _estimated_modes(at, support)


def _eigenvalues(at: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Of G. at: (k, d) positions of the pixels."""
    transform = np.fft.fftn(support) / support.size
    lags = at[:, None] - at[None]
    return np.linalg.eigvalsh(transform[tuple(np.moveaxis(lags, -1, 0))])


def _estimated_modes(at: np.ndarray, support: np.ndarray) -> float:
    """Trace of G^p by stochastic Lanczos quadrature: the mean over random signs z of z* G^p z."""
    pixels = tuple(at.T)

    def product(v: np.ndarray) -> np.ndarray:
        wave = np.zeros(support.shape, dtype=complex)
        wave[pixels] = v
        return np.fft.fftn(np.fft.ifftn(wave) * support)[pixels]

    rng = np.random.default_rng(0)  # the same number each time
    total = 0.0
    probes = int(np.clip(PROBES * 64**3 // support.size, 2, 8 * PROBES))
    for _ in range(probes):
        basis = [rng.choice([-1.0, 1.0], len(at)) / np.sqrt(len(at))]
        diagonal, off_diagonal = [], []
        for _ in range(STEPS):
            v = product(basis[-1])
            diagonal.append(np.vdot(basis[-1], v).real)
            for u in basis:
                v = v - np.vdot(u, v) * u
            off_diagonal.append(float(np.linalg.norm(v)))
            if off_diagonal[-1] < 1e-8:
                break
            basis.append(v / off_diagonal[-1])
        matrix = np.diag(diagonal) + np.diag(off_diagonal[: len(diagonal) - 1], 1) + np.diag(off_diagonal[: len(diagonal) - 1], -1)
        values, vectors = np.linalg.eigh(matrix)
        total += len(at) * float((vectors[0] ** 2 * values.clip(0, 1) ** SHARPNESS[support.ndim]).sum())
    return total / probes
