"""What a counting camera makes of the light on it: blur, sensitivity, dark counts, pixels that count all or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.simulate.stations import Camera

WHITE = 20_000  # counts per pixel of a white field: those of a measured one have 14,563 (34-ID-C, 2020)
DARK_FRAMES = 100  # that a dark field is the mean of
GRAIN = 0.5  # share of the sensitivity's variance that is smooth: thickness and threshold vary over a chip, the rest from pixel to pixel
SMOOTH = 40.0  # pixels over which it is smooth
WARM = 1e-3  # share of the pixels with dark counts, up to 3 per frame
HOT = (3.0, 6.0)  # decades: counts per frame of a hot pixel


@dataclass(frozen=True, eq=False)
class Chip:
    """The pixels of a camera, all of them. sensitivity: relative, mean 1, 0 in gaps and dead pixels. dark: counts per frame without light.
    bad: bool, gaps, dead and hot pixels."""

    sensitivity: np.ndarray
    dark: np.ndarray
    bad: np.ndarray

    def window(self, first: tuple[int, int], shape: tuple[int, int]) -> Chip:
        cut = tuple(slice(a, a + n) for a, n in zip(first, shape))
        return Chip(self.sensitivity[cut], self.dark[cut], self.bad[cut])

    def white_field(self, generator: np.random.Generator) -> np.ndarray:
        """uint32 counts of an even illumination."""
        return generator.poisson(WHITE * self.sensitivity + self.dark).astype(np.uint32)

    def dark_field(self, generator: np.random.Generator) -> np.ndarray:
        """float32, mean counts per frame of frames without light."""
        return (generator.poisson(DARK_FRAMES * self.dark) / DARK_FRAMES).astype(np.float32)


def chip(camera: Camera, spread: float, hot: float, dead: float, dark: bool, generator: np.random.Generator) -> Chip:
    """One of that kind. spread: rms of the relative sensitivity. hot, dead: shares of the pixels. dark: whether some are warm."""
    from scipy import ndimage

    n = camera.shape
    coarse = generator.standard_normal([int(size / SMOOTH) + 2 for size in n], dtype=np.float32)
    smooth = np.asarray(ndimage.zoom(coarse, np.array(n) / coarse.shape, order=3, mode="grid-wrap"))
    smooth *= GRAIN**0.5 / smooth.std()
    even = 1 + spread * (smooth + (1 - GRAIN) ** 0.5 * generator.standard_normal(n, dtype=np.float32))
    sensitivity = np.maximum(even, 0.2).astype(np.float64)
    lot, heat = generator.random(n), generator.random(n)
    gaps = camera.gaps()
    broken, burning = lot < dead, (lot >= dead) & (lot < dead + hot)
    warm = dark * (lot >= 1 - WARM) * 3 * heat
    counts = np.where(burning, 10 ** (HOT[0] + (HOT[1] - HOT[0]) * heat), warm)
    sensitivity[gaps | broken] = 0
    counts[gaps | broken] = 0
    return Chip(sensitivity / sensitivity[~gaps & ~broken].mean(), counts, gaps | broken | burning)


def blurred(light: np.ndarray, sigma: tuple[float, ...]) -> np.ndarray:
    """The intensity convolved with a Gaussian, sigma in pixels per axis: its cosine transform times exp(−2π² σ² ν²), ν the frequency per
    pixel. Exact inside for what was sampled well enough; the array goes on as its mirror image."""
    from scipy import fft

    if not any(sigma):
        return light
    waves = np.asarray(fft.dctn(light))
    for axis, (s, n) in enumerate(zip(sigma, light.shape)):
        fade = np.exp(-2 * (np.pi * s * np.arange(n) / (2 * n)) ** 2)
        waves *= fade.reshape([-1 if a == axis else 1 for a in range(light.ndim)])
    return np.maximum(np.asarray(fft.idctn(waves)), 0)
