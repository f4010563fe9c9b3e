"""What `untwin.read` makes of stacks of frames: volumes, exposures of one pattern, patterns of their own.

    python benchmarks/stacks.py --seed 17001 --count 300 --json benchmarks/results/stacks.json

Volumes: crystals (convex, prisms along the axes, textures, vortices) in 12 to 242 frames of 32 to 64 pixels, oversampling 2 to 43 along the
rocking axis, 3e3 to 1e9 photons; some with dark frames at both ends, a peak that drifts, few frames about the peak, a background, a beam
that varies by 10 %, a scan cut short, the rocking axis last. Exposures: 2 to 128 of 1e2 to 1e7 photons each, the beam up and down by 30 %
in half of them. Objects: 2 to 100 patterns of different objects, their brightness alike or not. Positions: of a scan with an overlapping
beam. Series: an object that changes slowly or fast. All with gaps, stops and hot pixels in some, as counts, x gain.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.errors import InputError

Rng = np.random.Generator
SIZES = (32, 48, 64)
BACKGROUNDS = (0.001, 0.01, 0.1, 1.0)  # counts per pixel


def grids(shape: tuple[int, ...], extent: tuple[float, ...]) -> list[np.ndarray]:
    """Coordinates in units of the object, one open array per axis."""
    return list(np.ix_(*((np.arange(n) - n // 2) / e for n, e in zip(shape, extent))))


def waves(u: list[np.ndarray], count: int, spread: float, rng: Rng) -> np.ndarray:
    """A smooth random field."""
    field = np.zeros(np.broadcast_shapes(*(a.shape for a in u)))
    for _ in range(count):
        f = rng.normal(size=len(u)) * spread
        field = field + np.cos(2 * np.pi * sum(c * a for c, a in zip(f, u)) + rng.uniform(0, 2 * np.pi))
    return field


def thing(shape: tuple[int, ...], extent: tuple[float, ...], rng: Rng) -> np.ndarray:
    """A complex object of so many pixels along each axis."""
    u, d = grids(shape, extent), len(shape)
    kind = rng.choice(["polytope", "prism", "blob", "texture", "vortex"])
    inside = np.prod(np.broadcast_arrays(*((np.abs(a) < 0.5).astype(float) for a in u)), axis=0)
    if kind != "prism":
        for _ in range(10 if d == 3 else 6):
            v = rng.normal(size=d)
            inside = inside * (sum(c * a for c, a in zip(v / np.linalg.norm(v), u)) < 0.5 * rng.uniform(0.7, 1.0))
    magnitude = np.clip(1 + 0.25 * waves(u, 12, 3, rng), 0.05, None) if kind in ("texture", "blob") else 1.0
    phase = rng.choice([0, 1], p=[0.25, 0.75]) * rng.uniform(0, 1.5) * waves(u, 4, 0.7, rng)
    if kind == "vortex":
        phase = phase + np.arctan2(u[-1] + 0.1, u[-2] - 0.07)
    return inside * magnitude * np.exp(1j * phase)


def farfield(x: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))) ** 2


def volume(rng: Rng) -> np.ndarray:
    """Expected counts (frames, height, width)."""
    n, h, w = int(rng.choice([16, 20, 24, 32, 41, 48, 64, 96, 128])), int(rng.choice(SIZES)), int(rng.choice(SIZES))
    thick = max(3.0, n / np.exp(rng.uniform(np.log(2), np.log(60 if n > 64 else 16))))
    extent = (thick, h / rng.uniform(2, 4), w / rng.uniform(2, 4))
    x = thing((n, h, w), extent, rng)
    while np.count_nonzero(x.any((1, 2))) < 3:
        x = thing((n, h, w), extent, rng)
    I = farfield(x)
    I *= 10 ** rng.uniform(3.5, 9) / I.sum()
    if rng.random() < 0.25:
        p = int(rng.integers(1, n // 2 + 1))
        tail = 0.5 ** np.arange(1, p + 1)[:, None, None]
        I = np.concatenate([I[0] * tail[::-1], I, I[-1] * tail])
    if rng.random() < 0.25:
        far = rng.uniform(-8, 8)
        I = np.stack([np.roll(f, round(far * (k / len(I) - 0.5)), axis=0) for k, f in enumerate(I)])
    if rng.random() < 0.2 and len(I) >= 24:
        m = max(12, int(rng.uniform(0.5, 0.9) * len(I)))
        I = I[len(I) // 2 - m // 2 :][:m]
    if rng.random() < 0.2:
        I = I * np.clip(1 + 0.1 * rng.normal(size=len(I)), 0.5, 1.5)[:, None, None]
    return I


def flat_pattern(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    """One pattern: of a 2D object, or a slice of a 3D one."""
    extent = tuple(n / rng.uniform(2, 4) for n in shape)
    if rng.random() < 0.3:
        return farfield(thing((32, *shape), (32 / rng.uniform(2, 4), *extent), rng))[16 + rng.integers(0, 3)]
    return farfield(thing(shape, extent, rng))


def exposures(rng: Rng) -> np.ndarray:
    n, shape = int(np.exp(rng.uniform(np.log(2), np.log(128)))), (int(rng.choice(SIZES)), int(rng.choice(SIZES)))
    I = flat_pattern(shape, rng)
    beam, way = np.ones(n), rng.random()
    if way < 0.25:
        beam = np.clip(1 + rng.uniform(0, 0.3) * rng.normal(size=n), 0.4, 1.6)
    elif way < 0.4:
        beam = np.linspace(1.3, 0.7, n)
    elif way < 0.5:
        beam = np.where(np.arange(n) < n / 2, 1.3, 0.7)
    return I / I.sum() * 10 ** rng.uniform(2, 7) * beam[:, None, None]


def objects(rng: Rng) -> np.ndarray:
    n, shape = int(np.exp(rng.uniform(np.log(2), np.log(100)))), (int(rng.choice(SIZES)), int(rng.choice(SIZES)))
    I = np.stack([flat_pattern(shape, rng) for _ in range(n)])
    I /= I.sum((1, 2), keepdims=True)
    if rng.random() < 0.5:
        I *= np.exp(rng.normal(size=n))[:, None, None]
    return I * 10 ** rng.uniform(3.5, 7)


def positions(rng: Rng) -> np.ndarray:
    n, h = int(np.exp(rng.uniform(np.log(2), np.log(100)))), int(rng.choice(SIZES))
    u = grids((160, 160), (160, 160))
    sample = np.exp(1j * rng.uniform(0.5, 1.5) * 0.5 * waves(u, 60, 12, rng))
    radius = h / rng.uniform(4, 6)
    step, side, (y, x) = radius * rng.uniform(0.2, 0.8), int(np.ceil(np.sqrt(n))), np.ogrid[-(h // 2) : h - h // 2, -(h // 2) : h - h // 2]
    probe = (np.hypot(y, x) < radius) * np.exp(-(y**2 + x**2) / radius**2)
    corners = [(min(160 - h, int(k // side * step)), min(160 - h, int(k % side * step))) for k in range(n)]
    I = np.stack([farfield(probe * sample[a : a + h, b : b + h]) for a, b in corners])
    return I / I.sum((1, 2)).mean() * 10 ** rng.uniform(3.5, 7)


def series(rng: Rng) -> np.ndarray:
    n, shape, speed = int(np.exp(rng.uniform(np.log(2), np.log(100)))), (48, 48), rng.uniform(0.05, 1)
    y, x = grids(shape, shape)
    inside = (np.abs(y) < 0.16) & (np.abs(x) < 0.14) & (x + y < 0.2)
    f, a, speeds = rng.normal(size=(12, 2)) * 8, rng.uniform(0, 2 * np.pi, 12), rng.normal(size=12) * speed
    phases = [sum(np.cos(2 * np.pi * (f[i, 0] * y + f[i, 1] * x) + a[i] + speeds[i] * k) for i in range(12)) for k in range(n)]
    I = np.stack([farfield(inside * np.exp(1j * p)) for p in phases])
    return I / I.sum((1, 2)).mean() * 10 ** rng.uniform(3.5, 7)


KINDS: dict[str, Callable[[Rng], np.ndarray]] = {
    "volume": volume,
    "exposures": exposures,
    "objects": objects,
    "positions": positions,
    "series": series,
}
SHARE = {"objects": 0.5, "positions": 0.25, "series": 0.25}  # of --count


def detected(I: np.ndarray, kind: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Counts as a detector gives them, and its mask (nonzero = bad)."""
    if rng.random() < 0.3:
        I = I + rng.choice(BACKGROUNDS)
    counts, bad = rng.poisson(I).astype(np.float64), np.zeros(I.shape, bool)
    n, h, w = I.shape
    if kind == "volume" and rng.random() < 0.15:
        counts[int(n * rng.uniform(0.6, 0.95)) :] = 0
    elif kind == "exposures" and n > 2 and rng.random() < 0.2:
        counts[rng.integers(n)] = 0
    else:
        for _ in range(rng.integers(1, 5) if rng.random() < 0.3 else 0):
            bright = counts.max() * rng.choice([0.1, 1, 10]) * (1 if rng.random() < 0.5 else rng.uniform(0, 1, n))
            counts[:, rng.integers(h), rng.integers(w)] = np.rint(bright)
    if rng.random() < 0.3:
        column = rng.integers(0, w)
        bad[:, :, column : column + 3] = True
    if rng.random() < 0.25:
        y, x = np.ogrid[-(h // 2) : h - h // 2, -(w // 2) : w - w // 2]
        bad[:, np.hypot(y, x) < rng.uniform(1, 4)] = True
    if kind in ("volume", "exposures") and rng.random() < (0.2 if kind == "volume" else 0.1):
        counts, bad = np.moveaxis(counts, 0, 2), np.moveaxis(bad, 0, 2)
    way = rng.random()
    scale = 1 if way < 0.6 else rng.choice([0.37, 3.7, 0.02])
    return (counts * scale).astype(np.float32), bad


def outcome(counts: np.ndarray, bad: np.ndarray) -> str:
    """What `read` makes of it."""
    middle = tuple(n // 2 for n in counts.shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pattern = ut.read(counts, mask=bad, centre=middle)
    except InputError as error:
        return "refused" if "frames" in str(error) else f"error: {str(error)[:80]}"
    doubted = ", doubted" if pattern.doubts else ""
    return ("volume" if pattern.ndim == 3 else "summed") + doubted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=17001)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="name each that is not read as it should be")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    count, rows = 20 if a.quick else a.count, []
    right = {"volume": "volume", "exposures": "summed"}
    for number, (kind, draw) in enumerate(KINDS.items()):
        results: Counter[str] = Counter()
        for i in range(int(count * SHARE.get(kind, 1))):
            rng = np.random.default_rng([a.seed, number, i])
            counts, bad = detected(draw(rng), kind, rng)
            result = outcome(counts, bad)
            results[result] += 1
            if a.verbose and result != right.get(kind, "refused"):
                print("   ", kind, i, counts.shape, result, flush=True)
        rows.append({"kind": kind, "count": results.total(), **results})
        print(f"| {kind} | {results.total()} | " + ", ".join(f"{n} {name}" for name, n in results.most_common()) + " |", flush=True)
    if a.json:
        a.json.write_text(json.dumps({"seed": a.seed, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
