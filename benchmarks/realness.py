"""What is said of an object being real, by its phase and by the photons: real, complex, or that nobody can tell.

    python benchmarks/realness.py [--runs | --stored] [--quick]

Crystals with a smooth phase (peak to peak, without a ramp), 10 to 40 % of the field along an axis, 64 x 64 and 32 x 32 x 32; as counts,
behind a stop of radius 4, as 8 bits, whose noise nobody knows, and with a body and a phase that are point-symmetric, which no symmetry
tells from a real object. Writes benchmarks/results/realness.json. --runs: reconstructs some with positivity, and counts what the verdict
says of it (realness_runs.json). --stored: complex crystals whose numbers are no counts any more, reconstructed without: correlation
with the truth and verdict (realness_stored.json).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.data.noise import Noise
from untwin.data.realness import realness
from untwin.errors import InputError
from untwin.judge.compare import compare
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

RESULTS = Path(__file__).parent / "results"
PHASES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.6, 1.0)  # rad peak to peak
PHOTONS = (1e4, 1e5, 1e6, 1e7, 1e8)
KINDS = ("counts", "stop", "8 bits", "point-symmetric")


def crystal(shape: tuple[int, ...], phase: float, rng: np.random.Generator, even: bool = False) -> np.ndarray:
    """A convex body around index 0 with a smooth phase; both their own mirror images where `even`."""
    d, size = len(shape), rng.uniform(0.1, 0.4)
    u = [a / (size * n / 2) for a, n in zip(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), shape)]
    inside = np.prod([np.abs(a) < 1 for a in u], axis=0).astype(bool)
    for normal in rng.normal(size=(5 if d == 2 else 10, d)):
        along = sum(n * a for n, a in zip(normal / np.linalg.norm(normal), u))
        inside &= (np.abs(along) if even else along) < rng.uniform(0.6, 1.0)
    values = sum(rng.normal() * a * b for i, a in enumerate(u) for b in u[i:])
    if not even:
        values = values + sum(rng.normal() * a**3 for a in u) + np.sin(2 * u[0] + rng.uniform(0, 6)) * np.cos(2 * u[-1] + rng.uniform(0, 6))
    flat = np.stack([np.ones(inside.sum()), *(a[inside] for a in u)], 1)
    rest = values[inside] - flat @ np.linalg.lstsq(flat, values[inside], rcond=None)[0]
    x = np.zeros(shape, dtype=complex)
    x[inside] = np.exp(1j * phase * rest / max(np.ptp(rest), 1e-9))
    return np.fft.ifftshift(x)


def measured(x: np.ndarray, photons: float, kind: str, rng: np.random.Generator) -> ut.Pattern:
    mean = np.abs(np.fft.fftn(x)) ** 2
    counts = rng.poisson(mean * photons / mean.sum()).astype(np.float64)
    radius = np.sqrt(sum(np.ix_(*(np.fft.fftfreq(n, 1 / n) ** 2 for n in x.shape)), np.zeros(x.shape)))
    seen = radius > 4 if kind == "stop" else np.ones(x.shape, bool)
    if kind == "8 bits":
        return ut.Pattern(np.round(counts / counts.max() * 255), seen, noise=Noise("unknown"))
    return ut.Pattern(counts * seen, seen)


def rates(shape: tuple[int, ...], kind: str, photons: float, phase: float, number: int) -> dict:
    said = {"real": 0, "complex": 0, "unknown": 0, "phase above what was said": 0}
    for seed in range(number):
        rng = np.random.default_rng([seed, len(shape), round(np.log10(photons)), round(1000 * phase), KINDS.index(kind)])
        x = crystal(shape, phase, rng, kind == "point-symmetric")
        answer = realness(measured(x, photons, kind, rng))
        said[answer.answer] += 1
        said["phase above what was said"] += answer.real and float(np.angle(x[np.abs(x) > 0]).std()) > answer.phase
    return {"shape": shape, "kind": kind, "photons": photons, "phase": phase, "patterns": number, **said}


def looks(quick: bool) -> list[dict]:
    rows = []
    for shape, kind, photons in itertools.product(((64, 64), (32, 32, 32)), KINDS, PHOTONS):
        own = [rates(shape, kind, photons, phase, 3 if quick else 25) for phase in PHASES]
        rows += own
        cells = " | ".join(f"{r['real']} / {r['complex']} / {r['unknown']}" for r in own)
        print(f"| {' x '.join(map(str, shape))} | {kind} | {photons:.0e} | {cells} |", flush=True)
    plain = [r for r in rows if r["kind"] != "point-symmetric"]
    wrong, number = (sum(r[key] for r in plain) for key in ("phase above what was said", "patterns"))
    print(f"called real with a phase above what was said, point-symmetric ones aside: {wrong} of {number}")
    return rows


def runs(quick: bool) -> list[dict]:
    """With positivity: how many are trusted, and how many doubted because of a phase."""
    rows = []
    for kind, photons, phase in itertools.product(("counts", "point-symmetric", "8 bits"), (1e5, 1e6), (0.0, 0.1, 0.3, 0.6)):
        row = {"kind": kind, "photons": photons, "phase": phase, "runs": 0, "refused": 0, "trusted": 0, "doubted": 0}
        row |= {"deviations": [], "explained": []}
        for seed in range(1 if quick else 4):
            rng = np.random.default_rng([seed, round(np.log10(photons)), round(1000 * phase), KINDS.index(kind), 5])
            pattern = measured(crystal((64, 64), phase, rng, kind == "point-symmetric"), photons, kind, rng)
            row["runs"] += 1
            try:
                s = ut.reconstruct(pattern, positivity=True, starts=4, seed=seed, workers=1)
            except InputError:
                row["refused"] += 1
                continue
            row["trusted"] += s.verdict.trusted is True
            row["doubted"] += "erases it" in s.verdict.text
            row["deviations"].append(round(s.numbers["phase_deviations"], 1))
            row["explained"].append(round(s.numbers["phase_explained"], 3))
        rows.append(row)
        print(row, flush=True)
    return rows


STORED = {
    "8 bits": lambda counts, rng: np.round(counts / counts.max() * 255),
    "divided by the maximum": lambda counts, rng: counts / counts.max(),
    "amplitudes in 8 bits, squared": lambda counts, rng: np.round(np.sqrt(counts / counts.max()) * 255) ** 2,
    "divided by a flat field of 15 %": lambda counts, rng: counts / rng.normal(1, 0.15, counts.shape).clip(0.4),
    "amplitudes taken for intensities": lambda counts, rng: np.sqrt(counts),
}


def stored(quick: bool) -> list[dict]:
    """64 x 64, whole arrays, one object of each class."""
    rows = []
    for photons, name, way in itertools.product((1e6, 1e5), ("poly", "defect", "complex"), STORED):
        rng = np.random.default_rng([2, 3])
        x = CLASSES[name]((64, 64), rng)
        pattern = measure(x, photons, rng)[0]
        numbers = STORED[way](pattern.intensity.astype(np.float64), rng)
        s = ut.reconstruct(ut.Pattern(numbers, pattern.measured, noise=Noise("unknown")), seed=1, workers=1)
        correlation = float(compare(s.image.numpy(), np.ascontiguousarray(x, dtype=np.complex64)).correlation)
        row = {"class": name, "photons": photons, "stored": way, "correlation": round(correlation, 4), "trusted": s.verdict.trusted}
        rows.append(row | {"agreement": round(s.numbers["agreement"], 4)})
        print(rows[-1], flush=True)
        if quick:
            break
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", action="store_true")
    parser.add_argument("--stored", action="store_true")
    args = parser.parse_args()
    rows = runs(args.quick) if args.runs else stored(args.quick) if args.stored else looks(args.quick)
    if args.quick:
        print("a quick run writes nothing")
        return
    command = " ".join(["python benchmarks/realness.py", *sys.argv[1:]])
    file = RESULTS / ("realness_runs.json" if args.runs else "realness_stored.json" if args.stored else "realness.json")
    file.write_text(json.dumps({"command": command, "untwin": ut.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
