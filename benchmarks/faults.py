"""How often a detector's faults are seen when a pattern is read, before its centre is sought, and how often light is taken for one.

    python benchmarks/faults.py --seed 17001 --count 24 --json benchmarks/results/faults.json

Pattern i of a row is a function of the seed, the row and i: an object of one of ten shapes (the four classes of `simulate/shapes.py`,
white noise, a rectangle, a Gaussian, an ellipse, a letter, two slits) of 10 to 48 % of the field (20 to 48 % in 3D), in one of seven
exactly 50 %; 24 to 400 pixels along an axis in 2D, 20 to 140 in 3D. Light: 10 times `--count` patterns (in 3D 4 times) without a fault for
each way of storing, 1e3 to 1e8 photons; alarms: those in which anything is masked or refused. Faults: `--count` patterns each. Seen: the
share of the light that the fault adds or takes away which is masked, mean of patterns in which it is 100 photons at least; all: that of
patterns in which nine tenths are; else: pixels masked of those that are sound, mean; refused: holes of more than a fifth of the array.
--large: instead, 25 times `--count` patterns in 2D of objects of 50 to 70 and of 70 to 85 % of the field along each axis, half of them with
their phases left out, 1e4 to 1e7 photons: in how many something is masked, and by which test; in_plan: hot pixels that the plan masks.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from untwin.data.faults import without_faults
from untwin.data.measurement import Pattern
from untwin.data.outliers import isolated
from untwin.errors import InputError
from untwin.simulate.shapes import CLASSES

KINDS = (*CLASSES, "noise", "rectangle", "gaussian", "ellipse", "letter", "slits")
Fault = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # changes counts (y, x) or (frames, y, x) and says where


def body(kind: str, d: int, rng: np.random.Generator) -> np.ndarray:
    """An object in its own box."""
    if kind in CLASSES:
        x = CLASSES[kind]((64,) * 2 if d == 2 else (28,) * 3, rng).astype(complex)
        inside = np.argwhere(np.abs(x) > 0.02 * np.abs(x).max())
        return x[tuple(slice(a, b + 1) for a, b in zip(inside.min(0), inside.max(0)))]
    shape = tuple(rng.integers(12, 40 if d == 2 else 14, d))
    r2 = np.add.reduce(np.meshgrid(*(np.linspace(-1, 1, n) ** 2 for n in shape), indexing="ij"))
    x = np.ones(shape, dtype=complex)
    if kind == "noise":
        x = rng.random(shape) * np.exp(2j * np.pi * rng.random(shape))
    elif kind == "gaussian":
        x = np.exp(-4 * r2).astype(complex)
    elif kind == "ellipse":
        x = (r2 <= 1).astype(complex)
    elif kind == "letter":
        for k in (1, 3):
            x[k * shape[0] // 5 : (k + 1) * shape[0] // 5, shape[1] // 3 :] = 0
    elif kind == "slits":
        x[..., shape[-1] // 4 : -(shape[-1] // 4)] = 0
    return x


def expected(i: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Of one photon in all, centred."""
    x = body(KINDS[i % len(KINDS)], d, rng)
    size = 0.5 if i % 7 == 6 else rng.uniform(0.1 if d == 2 else 0.2, 0.48)
    mean = np.fft.fftshift(np.abs(np.fft.fftn(x, [int(np.ceil(n / size)) for n in x.shape], range(x.ndim))) ** 2)
    return mean / mean.sum()


def counts(mean: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(np.minimum(mean * photons, 2e9)).astype(np.float32)


def thresholded(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(c < 10 ** rng.uniform(0.3, 2), 0, c)


def noisy(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.maximum(40 * c + rng.normal(0, rng.uniform(1, 60), c.shape), 0).astype(np.float32)


STORED = {
    "counts": lambda c, rng: c,
    "FFT order": lambda c, rng: np.fft.ifftshift(c),
    "scaled by 1e-9 to 1e4": lambda c, rng: c * np.float32(10 ** rng.uniform(-9, 4)),
    "flat-fielded, 5 %": lambda c, rng: c / rng.normal(1, 0.05, c.shape).clip(0.5).astype(np.float32),
    "40 per photon, noise 1 to 60, cut at 0": noisy,
    "8 bits": lambda c, rng: np.rint(c / c.max() * 255),
    "below 2 to 100 set to 0": thresholded,
}


def free(mean: np.ndarray, photons: float) -> np.ndarray:
    return (mean * photons).astype(np.float32)


def neighbours(c: np.ndarray, y: int, x: int) -> float:
    """The brightest about a pixel."""
    around = c[..., max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].copy()
    return float(around.max())


def hot(times: float, number: int = 1, frames: bool = True, touching: int = 1) -> Fault:
    """So many times the brightest neighbour (of 7 counts at least), anywhere but within 3 pixels of the peak."""

    def fault(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        where = np.zeros(c.shape, bool)
        peak = np.unravel_index(c.argmax(), c.shape)[-2:]
        while where.sum() < number * touching * (c.shape[0] if c.ndim == 3 and frames else 1):
            y, x = (int(rng.integers(0, n)) for n in c.shape[-2:])
            if max(abs(y - peak[0]), abs(x - peak[1])) <= 3 or x + touching > c.shape[-1]:
                continue
            at = (slice(None),) if c.ndim == 3 and frames else (int(rng.integers(c.shape[0])),) if c.ndim == 3 else ()
            pixel = (*at, y, slice(x, x + touching))
            value = times * max(7.0, neighbours(c, y, x))
            c[pixel], where[pixel] = value, True
        return where

    return fault


def peak_corner(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    where = np.zeros(c.shape, bool)
    where[..., 5, 7] = True
    c[where] = 10 * c.max()
    return where


def column(half: bool) -> Fault:
    def fault(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        where = np.zeros(c.shape, bool)
        x = int(rng.integers(2, c.shape[-1] // 3))
        where[..., : c.shape[-2] // 2 if half else None, x] = True
        level = 20 * max(7.0, float(np.median(c[..., x - 1 : x + 2])))
        c[where] += rng.poisson(level, int(where.sum()))
        return where

    return fault


def zeros(choose: Callable[[np.ndarray, np.ndarray, tuple[int, int], np.random.Generator], np.ndarray]) -> Fault:
    """0 where `choose` (of coordinates from the peak and the shape) says so, in all frames."""

    def fault(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        peak = np.unravel_index(c.argmax(), c.shape)[-2:]
        y, x = np.meshgrid(*(np.arange(n) - p for n, p in zip(c.shape[-2:], peak)), indexing="ij")
        where = np.broadcast_to(choose(y, x, c.shape[-2:], rng), c.shape).copy()
        c[where] = 0
        return where

    return fault


def gap(width: int, crossing: bool = False, half: bool = False) -> Fault:
    """At 2 pixels and more from the peak."""

    def choose(y, x, shape, rng):
        a, b = (int(rng.integers(2, 7)) * int(rng.choice([-1, 1])) for _ in range(2))
        rows = (y >= a) & (y < a + width) if a > 0 else (y <= a) & (y > a - width)
        columns = (x >= b) & (x < b + width) if b > 0 else (x <= b) & (x > b - width)
        return rows | columns if crossing else rows & (x > 3 - 20) if half else rows

    return zeros(choose)


def stop(radius: float, arm: bool = False) -> Fault:
    return zeros(lambda y, x, shape, rng: (np.hypot(y, x) <= radius) | (arm & (np.abs(x) <= 2) & (y > 0)))


def tile(y, x, shape, rng):
    return (y > 3) & (y <= 3 + shape[0] // 5) & (x > 1)


def margin(y, x, shape, rng):
    return (y <= -shape[0] // 6) | (y > shape[0] // 5) | (x > shape[1] // 6)


def dead_module(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    where = np.zeros(c.shape, bool)
    where[..., 3:15, 4:18] = True
    c[where] = 16384
    return where


HOT = {
    **{f"1 hot pixel, {t:g} times its neighbours": hot(t) for t in (10, 20, 50, 1e2, 1e3, 1e4, 1e6)},
    "5 hot pixels, 100 times": hot(100, 5),
    "3 touching, 100 times": hot(100, 1, touching=3),
    "1 hot pixel in one frame, 100 times": hot(100, frames=False),
    "10 times the peak, at (5, 7)": peak_corner,
    "a column": column(False),
    "half a column": column(True),
}
GAPS = {
    **{f"gap of {w}": gap(w) for w in (1, 2, 3, 6, 17)},
    "gaps of 4, crossing": gap(4, crossing=True),
    "gap of 3, not all of the row": gap(3, half=True),
    "stop of radius 3": stop(3),
    "stop of radius 7": stop(7),
    "stop of radius 5 with an arm": stop(5, True),
    "a tile": zeros(tile),
    "margins": zeros(margin),
    "a module of one value": dead_module,
}


def masked(c: np.ndarray) -> np.ndarray | None:
    """Where; None where it is refused."""
    try:
        return ~without_faults(c, np.ones(c.shape, bool), "pattern", [])[1]
    except InputError:
        return None


def light_row(name: str, d: int, seed: int, count: int) -> dict:
    alarms = 0
    for i in range(count):
        rng = np.random.default_rng([seed, d, i, len(name)])
        mean, photons = expected(i, d, rng), 10 ** rng.uniform(3, 8)
        values = free(mean, photons) if name == "without noise" else STORED[name](counts(mean, photons, rng), rng)
        hidden = masked(values) if values.any() else np.zeros(1)
        alarms += hidden is None or bool(hidden.any())
    return {"stored": name, "dimensions": d, "patterns": count, "alarms": alarms}


def large_row(least: float, most: float, seed: int, count: int) -> dict:
    """Of objects of this share of the field."""
    row = {"field": [least, most], "patterns": count, "holes": 0, "refused": 0, "isolated": 0, "lines": 0, "in_plan": 0}
    for i in range(count):
        rng = np.random.default_rng([seed, i, int(100 * least)])
        x = body(KINDS[i % len(KINDS)], 2, rng)
        x = np.abs(x) if i // len(KINDS) % 2 else x
        size, guesses = rng.uniform(least, most), []
        mean = np.fft.fftshift(np.abs(np.fft.fftn(x, [int(np.ceil(n / size)) for n in x.shape], (0, 1))) ** 2)
        c = counts(mean / mean.sum(), 10 ** rng.uniform(4, 7), rng)
        try:
            without_faults(c, np.ones(c.shape, bool), "pattern", guesses)
        except InputError:
            row["refused"] += 1
        for name, sign in (("holes", "hold 0|are 0"), ("isolated", "isolated"), ("lines", "in lines along")):
            row[name] += any(re.search(sign, text) for text in guesses)
        row["in_plan"] += bool(isolated(Pattern(np.fft.ifftshift(c), np.ones(c.shape, bool))).any())
    return row


def fault_row(name: str, fault: Fault, photons: float, d: int, seed: int, count: int, stored: str = "counts") -> dict:
    shares, sound, refused = [], [], 0
    for i in range(count):
        rng = np.random.default_rng([seed, d, i, len(name), 1])
        c = counts(expected(i, d, rng), photons, rng)
        before = c.copy()
        where = fault(c, rng)
        lost = np.where(where, np.abs(before - c), 0)
        if lost.sum() < 100:
            continue
        hidden = masked(STORED[stored](c, rng))
        refused += hidden is None
        if hidden is not None:
            shares.append(float(lost[hidden].sum() / lost.sum()))
            sound.append(int((hidden & ~where).sum()))
    s = np.array(shares)
    row = {"fault": name, "stored": stored, "photons": photons, "dimensions": d, "patterns": count, "refused": refused}
    return row | {"seen": float(s.mean()), "all": float((s >= 0.9).mean()), "else": float(np.mean(sound))}


def seconds() -> dict:
    """CPU of a pattern without a fault, the strong and the weak one."""
    rows = {}
    for shape in ((512, 512), (2048, 2048), (256, 256, 256)):
        rng = np.random.default_rng(0)
        x = np.zeros(shape, dtype=np.complex64)
        box = tuple(slice(0, n * 2 // 5) for n in shape)
        x[box] = np.exp(6j * rng.random(x[box].shape))
        mean = np.fft.fftshift(np.abs(np.fft.fftn(x)) ** 2)
        for photons in (1e5, 1e9):
            c, start = counts(mean / mean.sum(), photons, rng), time.process_time()
            masked(c)
            rows[f"{'x'.join(map(str, shape))}, {photons:g} photons"] = round(time.process_time() - start, 2)
    return rows


def write(path: Path | None, rows: list[dict], **more) -> None:
    if path:
        command = " ".join(["python benchmarks/faults.py", *sys.argv[1:]])
        path.write_text(json.dumps({"command": command, "rows": rows, **more}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=17001)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--large", action="store_true", help="instead: light of objects of more than half of the field")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[dict] = []
    if args.large:
        for least, most in ((0.5, 0.7), (0.7, 0.85)):
            rows.append(large_row(least, most, args.seed, 25 * args.count))
            print(rows[-1], flush=True)
        write(args.json, rows)
        return
    for d in (2, 3):
        for name in [*STORED, "without noise"]:
            rows.append(light_row(name, d, args.seed, 10 * args.count if d == 2 else 4 * args.count))
            print("{stored:40} {dimensions}D {patterns:5} patterns {alarms} alarms".format(**rows[-1]), flush=True)
    for d in (2, 3):
        for name, fault in {**HOT, **GAPS}.items():
            for photons in (1e4, 1e6) if name in GAPS else (1e6,):
                for stored in ("counts", "flat-fielded, 5 %"):
                    rows.append(fault_row(name, fault, photons, d, args.seed, args.count, stored))
                    told = "{fault:40} {stored:18} {photons:7.0e} {dimensions}D seen {seen:.3f} all {all:.2f} else {else:.1f}"
                    print(told.format(**rows[-1]), "refused", rows[-1]["refused"], flush=True)
    times = seconds()
    print(times)
    write(args.json, rows, cpu_seconds=times)


if __name__ == "__main__":
    main()
