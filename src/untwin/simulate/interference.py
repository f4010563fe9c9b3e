"""Maps of a scanning tunnelling microscope: rings of quasi-particle interference around point defects, at several energies.

Around a point defect at the origin the local density of states changes by Im(t H0(kr)^2), with the Hankel function H0 of the first kind and
the defect's scattering amplitude t (Crommie, Lutz and Eigler, Nature 363, 1993): rings whose wave number 2k follows the dispersion, here
that of a parabolic band, k^2 = k0^2 + (k1^2 - k0^2) e. A lifetime damps them, the band's anisotropy gives them petals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from untwin.checks import int_argument, number_argument, seed_argument
from untwin.errors import InputError
from untwin.random import derive

RINGS = (2.2, 4.0)  # wavelengths of 2k across a motif, at the lowest and at the highest energy
PETALS = (2, 4, 6)  # symmetries of the anisotropy, drawn for each kind of defect
MOST = 2**28  # numbers in all channels


@dataclass(frozen=True, eq=False)
class Quasiparticles:
    """values: (channels, height, width) float32. motifs: (kinds, channels, size, size), norm 1 over all channels. maps: (kinds, height,
    width), how strong a defect is where it stands in the pictures, in the middle of its motif. energies: (channels,) from 0 to 1. sigma: of
    the noise. settings: what it was drawn with."""

    values: np.ndarray
    motifs: np.ndarray
    maps: np.ndarray
    energies: np.ndarray
    sigma: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def overlap(self) -> float:
        """Motifs that lie on a pixel, in the mean."""
        return float((self.maps != 0).mean(dtype=np.float64) * self.maps.shape[0] * np.prod(self.motifs.shape[2:]))


def quasiparticles(
    shape: tuple[int, int] = (128, 128),
    channels: int = 5,
    size: int = 15,
    density: float = 0.005,
    snr: float = 4.0,
    kinds: int = 1,
    *,
    spread: float = 0.0,
    lattice: float = 0.0,
    drift: float = 0.0,
    periodic: bool = False,
    seed: int = 0,
) -> Quasiparticles:
    """Maps of one field of view at several energies.

    shape: pixels. channels: energies. size: of the motif, pixels. density: defects of each kind for each pixel; they stand outside the
    field, too, and reach in. snr: variance of the signal over that of the noise, for each pixel. kinds: of defects. spread: of their
    strengths, relative. lattice: amplitude of a square lattice that is the same in every channel, in standard deviations of the signal.
    drift: largest displacement of a line of the scan, pixels. periodic: defects on one border go on at the other one. seed: all of it.
    Raises InputError where a setting is impossible.
    """
    settings = _checked(shape, channels, size, density, snr, kinds, spread, lattice, drift, periodic, seed)
    seed, size, density = settings["seed"], settings["size"], settings["density"]
    rng = np.random.default_rng(derive(seed, "defects"))
    motifs = np.stack(
        [motif(size, settings["channels"], np.random.default_rng(derive(seed, "motif", k))) for k in range(settings["kinds"])]
    )
    margin = 0 if periodic else size + math.ceil(drift)
    field_shape = tuple(n + 2 * margin for n in settings["shape"])
    chance = rng.random((settings["kinds"], *field_shape))
    strength = np.maximum(0.1, 1 + spread * rng.standard_normal(chance.shape))
    maps = np.where(chance < density, strength, 0.0)
    inside = tuple(slice(margin, margin + n) for n in settings["shape"])
    for kind, one in enumerate(maps):
        if not one[inside].any():
            area = " x ".join(map(str, settings["shape"]))
            raise InputError(f"no defect of kind {kind + 1} lies on {area} pixels with density={density}; raise it, or take another seed")
    clean = _convolved(motifs, maps)
    scale = float(clean[:, *inside].std(axis=(1, 2)).mean())
    if lattice:
        clean = clean + lattice * scale * _lattice(field_shape, rng)
    values, maps = _scanned(clean, maps, drift, inside, rng)
    variance = float(_convolved(motifs, np.where(chance < density, strength, 0.0))[:, *inside].var(axis=(1, 2)).mean())
    sigma = math.sqrt(variance / snr)
    values = values + sigma * np.random.default_rng(derive(seed, "noise")).standard_normal(values.shape)
    energies = np.linspace(0, 1, settings["channels"])
    single = [a.astype(np.float32) for a in (values, motifs, maps)]
    return Quasiparticles(single[0], single[1], single[2], energies, sigma, settings)


def motif(size: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """(channels, size, size), norm 1: the rings around one kind of defect, energies from 0 to 1."""
    from scipy.special import hankel1

    r = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(r, r, indexing="ij")
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    petals, axis, depth = rng.choice(PETALS), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
    phase, slope = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1)  # of t, and how it changes with energy
    low, high = (np.pi * n / size for n in RINGS)
    out = np.empty((channels, size, size))
    for at, e in zip(out, np.linspace(0, 1, channels)):
        k = math.sqrt(low**2 + (high**2 - low**2) * e)
        green = hankel1(0, k * np.hypot(radius, 0.7))  # the tip rounds what is nearer than a pixel
        rings = np.imag(np.exp(1j * (phase + slope * e)) * green**2) * np.hypot(radius, 0.7) ** 0.5
        at[:] = rings * (1 + depth * np.cos(petals * (angle - axis))) * np.exp(-radius / (0.3 * size))
    out *= np.exp(-((radius / (0.45 * size)) ** 6))
    return out / np.linalg.norm(out)


def _checked(shape: Any, channels: Any, size: Any, density: Any, snr: Any, kinds: Any, spread: Any, lattice: Any, drift: Any,
             periodic: bool, seed: Any) -> dict[str, Any]:  # fmt: skip
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        raise InputError(f"shape={shape!r}: expected (height, width)")
    shape = tuple(int_argument("shape", n, 16, 16384) for n in shape)
    channels, size = int_argument("channels", channels, 1, 4096), int_argument("size", size, 5, 1023)
    if channels * shape[0] * shape[1] > MOST:
        raise InputError(f"{channels} channels of {shape[0]} x {shape[1]} pixels are too many numbers; expected {MOST:,} at most")
    if size > min(shape):
        raise InputError(f"size={size} is larger than the maps, {shape[0]} x {shape[1]} pixels; choose a smaller motif or larger maps")
    if periodic and drift:
        raise InputError("drift and periodic exclude each other; leave one of them out")
    return {
        "shape": shape,
        "channels": channels,
        "size": size,
        "density": number_argument("density", density, 0, 1, above=True),
        "snr": number_argument("snr", snr, 0, above=True),
        "kinds": int_argument("kinds", kinds, 1, 16),
        "spread": number_argument("spread", spread, 0, 1),
        "lattice": number_argument("lattice", lattice, 0),
        "drift": number_argument("drift", drift, 0, min(shape) / 4),
        "periodic": bool(periodic),
        "seed": seed_argument(seed),
    }


def _convolved(motifs: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """(channels, *field): periodic, a map's pixel is the middle of its motif."""
    from scipy.fft import irfft2, rfft2

    shape, middle = maps.shape[1:], motifs.shape[-1] // 2
    product = np.sum(np.asarray(rfft2(motifs, s=shape)) * np.asarray(rfft2(np.roll(maps, (-middle, -middle), (1, 2))))[:, None], axis=0)
    return np.asarray(irfft2(product, s=shape))


def _lattice(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """(*shape): two cosines at a right angle, about four pixels long, of variance 1 together."""
    tilt, length = rng.uniform(0, np.pi / 2), rng.uniform(3.5, 4.5)
    y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    along = [(np.cos(tilt) * x + np.sin(tilt) * y), (np.cos(tilt) * y - np.sin(tilt) * x)]
    return np.sum([np.cos(2 * np.pi * a / length + rng.uniform(0, 2 * np.pi)) for a in along], axis=0)


def _scanned(clean: np.ndarray, maps: np.ndarray, drift: float, inside: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What the tip passes over, line by line, each line displaced by the drift; the defects at the pixels at which they are scanned."""
    if not drift:
        return clean[:, *inside], maps[:, *inside]
    from scipy.ndimage import map_coordinates

    rows, columns = (np.arange(s.start, s.stop) for s in inside)
    t = np.linspace(0, 1, len(rows))
    paths = [np.sum([rng.standard_normal() * np.sin(np.pi * (n + 0.5) * t) / (n + 1) for n in range(3)], axis=0) for _ in range(2)]
    down, right = (drift * p / max(float(np.abs(np.stack(paths)).max()), 1e-9) for p in paths)
    at = np.stack([np.broadcast_to((rows + down)[:, None], (len(rows), len(columns))), columns + right[:, None]])
    values = np.stack([map_coordinates(c, at, order=3, mode="nearest") for c in clean])
    scanned = np.zeros((len(maps), len(rows), len(columns)))
    for k, i, j in zip(*np.nonzero(maps)):
        line = int(np.abs(rows + down - i).argmin())
        column = round(j - columns[0] - right[line])
        if abs(rows[line] + down[line] - i) <= 1 and 0 <= column < len(columns):
            scanned[k, line, column] = maps[k, i, j]
    return values, scanned
