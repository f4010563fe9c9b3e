"""Several exposures of one object, as model.waves has them: coded masks, one chirp, a defocused pupil, the near field; with the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from untwin.checks import int_argument, number_argument, seed_argument
from untwin.data.measurement import Pattern
from untwin.data.optics import Optics
from untwin.errors import InputError
from untwin.model.physics import default_physics
from untwin.random import derive

ROUGH, SMOOTH = 1.5, 6.0  # pixels: lengths over which magnitudes and phases vary
RINGS = 2  # of segments about the middle one of a pupil: 19 in all
DEFOCUS = 8.0  # rad, peak to valley, between two planes


@dataclass(frozen=True, eq=False)
class Exposed:
    """counts: (exposures, *detector), with masks the zero frequency at N // 2. image: (*grid) complex, the truth, in sqrt(photons).
    support: (*grid) bool. real: the object is real and at least zero."""

    counts: np.ndarray
    optics: Optics
    image: np.ndarray
    support: np.ndarray
    real: bool = False


def coded(size: int = 128, exposures: int = 3, photons: float = 1e7, seed: int = 0) -> Exposed:
    """A complex object behind random masks of pure phase (Fannjiang and Liao, J. Opt. Soc. Am. A 29, 2012)."""
    image = _object(size, seed, phase=3.0)
    masks = np.exp(2j * np.pi * _generator(seed, "masks").random((exposures, size, size)))
    return _exposed(image, np.ones(image.shape, dtype=bool), Optics(masks), photons, seed)


def chirp(size: int = 128, exposures: int = 1, photons: float = 1e7, seed: int = 0) -> Exposed:
    """A real object in half of the array behind one curved wave, half a period from the middle of its edge to its own middle."""
    if exposures != 1:
        raise InputError(f"{exposures} exposures of a chirp; expected 1: with several take coded masks")
    box = size // 2
    image = np.zeros((size, size), dtype=complex)
    inside = slice(size // 2 - box // 2, size // 2 - box // 2 + box)
    image[inside, inside] = np.abs(_object(box, seed, phase=0.0))
    r = (np.arange(size) - size // 2) / (box / 2)
    mask = np.exp(1j * np.pi * (r[:, None] ** 2 + r**2))
    return _exposed(image, image != 0, Optics(mask[None]), photons, seed, real=True)


def defocus(size: int = 128, exposures: int = 2, photons: float = 1e6, seed: int = 0) -> Exposed:
    """The phase of a segmented pupil from images in and out of focus (phase diversity: Gonsalves, Opt. Eng. 21, 1982). Each segment has a
    piston and tilts of its own. The pupil fills half of the array, so that the images are sampled well enough."""
    pupil, segments = segmented(size)
    r = (np.arange(size) - size // 2) / (size / 4)
    square = r[:, None] ** 2 + r**2
    generator = _generator(seed, "segments")
    phase = np.zeros((size, size))
    for k in range(1, int(segments.max()) + 1):
        inside = segments == k
        y, x = (c - c[inside].mean() for c in np.meshgrid(r, r, indexing="ij"))
        piston, tip, tilt = generator.normal(size=3) * (0.6, 1.0, 1.0)
        phase[inside] += (piston + tip * y + tilt * x)[inside]
    planes = np.linspace(0, 1, exposures) if exposures > 1 else np.zeros(1)
    masks = pupil * np.exp(1j * DEFOCUS * planes[:, None, None] * (square - 0.5))
    return _exposed(pupil * np.exp(1j * phase), pupil > 0, Optics(masks), photons, seed)


def near(size: int = 128, exposures: int = 4, photons: float = 1e8, seed: int = 0) -> Exposed:
    """A weakly absorbing object in the near field at several distances."""
    image = _object(size, seed, phase=1.0, magnitude=(0.9, 1.0))
    numbers = tuple(float(v) for v in np.geomspace(1.5, 8.0, exposures) / size)
    return _exposed(image, np.ones(image.shape, dtype=bool), Optics(fresnel_numbers=numbers), photons, seed)


KINDS: dict[str, Callable[..., Exposed]] = {"coded": coded, "chirp": chirp, "defocus": defocus, "near": near}


def exposures(kind: str, size: int = 128, count: int | None = None, photons: float | None = None, seed: int = 0) -> Exposed:
    """Of a kind: coded, chirp, defocus, near. size: pixels along each axis. count: exposures. photons: expected in all; these two are by
    default the kind's own. Raises InputError."""
    if kind not in KINDS:
        raise InputError(f"kind {kind!r}; expected one of {', '.join(KINDS)}")
    own = {} if count is None else {"exposures": int_argument("exposures", count, 1, 1000)}
    own |= {} if photons is None else {"photons": number_argument("photons", photons, 0, 1e15, above=True)}
    return KINDS[kind](size=int_argument("size", size, 16, 8192), seed=seed_argument(seed), **own)


def segmented(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A pupil of hexagonal segments with gaps, 0 or 1, and the number of the segment of each pixel, from 1; both (size, size)."""
    r = (np.arange(size) - size // 2) / (size / 4)
    y, x = np.meshgrid(r, r, indexing="ij")
    pitch = 2 / (2 * RINGS + 1)
    segments = np.zeros((size, size), dtype=int)
    for q in range(-RINGS, RINGS + 1):
        for p in range(-RINGS, RINGS + 1):
            if abs(q + p) > RINGS:
                continue
            u, v = x - pitch * (q + p / 2), y - pitch * p * np.sqrt(3) / 2
            extent = np.max([np.abs(u * np.cos(a) + v * np.sin(a)) for a in np.pi * np.array([0, 1, 2]) / 3], axis=0)
            segments[extent < 0.47 * pitch] = segments.max() + 1
    return (segments > 0).astype(float), segments


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive(seed, "exposures", purpose))


def _object(size: int, seed: int, phase: float, magnitude: tuple[float, float] = (0.3, 1.0)) -> np.ndarray:
    """(size, size) complex, smooth magnitudes and phases. phase: from least to largest, rad."""
    from scipy import ndimage

    def field(purpose: str, length: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(_generator(seed, purpose).normal(size=(size, size)), length, mode="wrap")
        return (noise - noise.min()) / np.ptp(noise)

    low, high = magnitude
    return (low + (high - low) * field("magnitude", ROUGH)) * np.exp(1j * phase * (field("phase", SMOOTH) - 0.5))


def _exposed(image: np.ndarray, support: np.ndarray, optics: Optics, photons: float, seed: int, real: bool = False) -> Exposed:
    """Counts of an object, so bright that this many photons are expected in all."""
    import torch

    count = len(optics.fresnel_numbers) if optics.masks is None else len(optics.masks)
    pattern = Pattern.of_waves(np.ones((count, *image.shape)), optics=optics)
    waves = default_physics(pattern).on(pattern).waves
    x = torch.from_numpy(image)[None]
    expected = waves(x)[0].numpy()
    scale = photons / expected.sum()
    counts = _generator(seed, "counts").poisson(scale * expected)
    return Exposed(optics.centred(counts), optics, np.sqrt(scale) * image, support, real)
