"""The detector: photons, noise, and what hides pixels."""

from __future__ import annotations

import numpy as np

from untwin.data.measurement import Geometry, Pattern, Source
from untwin.errors import InputError


def beamstop(shape: tuple[int, ...], radius: float) -> np.ndarray:
    """bool, FFT order: True outside a disk (ball) of `radius` pixels around the zero frequency; radius 0 hides nothing."""
    square = np.zeros(shape)
    for axis, n in enumerate(shape):
        k = np.fft.fftfreq(n, 1 / n)
        square = square + (k**2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return square > radius**2 if radius > 0 else np.ones(shape, dtype=bool)


def measure(
    image: np.ndarray, photons: float, rng: np.random.Generator, stop: float = 0.0, geometry: Geometry | None = None
) -> tuple[Pattern, np.ndarray]:
    """Poisson counts of |F x|² with `photons` in total on the measured pixels, and the object scaled to them (unitary F).

    image: (*grid) complex, centred at N//2. photons: above 0; inf leaves the noise out and scales to 1e9. stop: radius, pixels.
    Returns the Pattern (FFT order) and the scaled object (centred).
    """
    if not photons > 0:
        raise InputError(f"photons must be above 0, got {photons}; 1e6 is a good pattern at 64 x 64")
    measured = beamstop(image.shape, stop)
    wave = np.fft.fftn(np.fft.ifftshift(image.astype(np.complex128)), norm="ortho")
    mean = np.abs(wave) ** 2
    scale = (photons if np.isfinite(photons) else 1e9) / mean[measured].sum()
    counts = rng.poisson(mean * scale).astype(np.float64) if np.isfinite(photons) else mean * scale
    pattern = Pattern(
        intensity=np.where(measured, counts, 0).astype(np.float32),
        measured=measured,
        geometry=geometry or Geometry(),
        source=Source(shape=image.shape, centre=tuple(n // 2 for n in image.shape)),
    )
    return pattern, (image * np.sqrt(scale)).astype(np.complex64)
