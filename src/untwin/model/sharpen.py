"""What an ideal detector would have counted: a nonnegative deconvolution of the intensity, not of the object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from untwin import fourier
from untwin.model.detection import Background, Sensitivity, Series

if TYPE_CHECKING:
    from untwin.model.detection import Detection

ITERATIONS = 60  # of the quasi-Newton method: they are the regularisation (15 to 60 hardly differ)
LOCAL = 2.0**0.5  # pixels, σ of the Gaussian over which counts are averaged for their variance and for what a hidden pixel begins at


def sharpened(detection: Detection, intensity: np.ndarray, measured: np.ndarray, iterations: int = ITERATIONS) -> np.ndarray:
    """λ >= 0 (*grid) float64 with the least Σ (D(λ) − I)² / v over the measured pixels, v their variance as the counts tell it.

    By L-BFGS-B (Byrd et al., SIAM J. Sci. Comput. 16, 1995) in λ / √v, from the counts less D(0). Nonnegativity makes the difference to a
    division of the autocorrelation. Where D does no more than scale the pixels and lift them, it is max(I − D(0), 0) / s.
    intensity, measured: (*grid), FFT order.
    """
    import torch
    from scipy.optimize import minimize

    if _is_of_each_pixel(detection):
        return _divided(detection, intensity, measured)
    counts, inside = torch.from_numpy(np.asarray(intensity, dtype=np.float64))[None], torch.from_numpy(np.ascontiguousarray(measured))[None]
    d, weight = counts.ndim - 1, inside.double()
    sigma = torch.tensor([LOCAL], dtype=torch.float64)
    smooth = fourier.blur(counts * weight, sigma, d).clamp(min=0) / fourier.blur(weight, sigma, d).clamp(min=1e-2)
    variance = ((counts + smooth) / 2).where(inside, smooth) + 1
    root, floor = variance.sqrt(), detection.expected(torch.zeros_like(counts))

    def value(p: np.ndarray) -> tuple[float, np.ndarray]:
        f = torch.from_numpy(p).reshape(counts.shape) * root
        r = weight * (detection.expected(f) - counts) / variance
        return float((r * r * variance).sum() / 2), (root * detection.adjoint_derivative(f, r)).numpy().ravel()

    first = ((counts.where(inside, smooth) - floor).clamp(min=0) / root).numpy().ravel()
    options = {"maxiter": iterations, "maxcor": 10, "maxfun": 2 * iterations}
    scaled = minimize(value, first, jac=True, method="L-BFGS-B", bounds=[(0, None)] * first.size, options=options).x
    return scaled.reshape(intensity.shape) * root[0].numpy()


def _is_of_each_pixel(detection: Detection) -> bool:
    """Sensitivity, and what is the same in every pixel before it."""
    parts = detection.parts if isinstance(detection, Series) else (detection,)
    kinds = [type(part) for part in parts]
    return Sensitivity in kinds and set(kinds) <= {Sensitivity, Background}


def _divided(detection: Detection, intensity: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """max(I − D(0), 0) / (D(1) − D(0)) where measured, 0 elsewhere."""
    import torch

    dark, lit = (detection.expected(torch.full((1, *intensity.shape), v, dtype=torch.float64))[0].numpy() for v in (0.0, 1.0))
    return np.where(measured, np.maximum(intensity - dark, 0) / (lit - dark), 0)
