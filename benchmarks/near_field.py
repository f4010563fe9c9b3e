"""Near-field holograms of a weak phase object at four distances, against the contrast transfer function regularised by an oracle.

    python benchmarks/near_field.py --json benchmarks/results/near_field.json

Object: a grey picture of 128 x 128, blurred by a pixel, as a phase from 0 to 0.3 rad that fades to 0 at the edge of the field of view;
nothing is absorbed. Four holograms by the angular spectrum on 256 x 256, Fresnel numbers of a pixel 0.012, 0.0108, 0.0085, 0.006, of which
the middle 128 x 128 are measured: 1e4 photons per pixel, Poisson, 1 % noise. Error: |φ − truth| / |truth| over the field of view, both
without their mean.
CTF (Cloetens et al., Appl. Phys. Lett. 75, 1999): φ^ = Σ H_j (I_j − 1)^ / (Σ H_j² + ε), H_j = 2 sin(π f² / N_j), the holograms padded with
the empty beam; ε is the one of 49 that the truth says is best, constant or times f⁴ / 0.03⁴: two oracles, which nobody has at a beamline.
untwin knows the counts, the Fresnel numbers and that nothing lies outside; pixels that the fit never sees say when to stop.
What the JSON file holds already is not done again.
--noise: instead, the error that noise leaves (`noise_error`) as it is estimated in near fields, and as it is elsewhere, by more pairs of
L-BFGS and to the end: of objects at four distances, and of complex, real and pure phase objects in line at one.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy import ndimage
from skimage import data, transform

import untwin as ut
from untwin.runs import halves

NUMBERS = (0.012, 0.0108, 0.0085, 0.006)
VIEW, ARRAY = 128, 256
MARGIN = (ARRAY - VIEW) // 2
MIDDLE = (slice(MARGIN, MARGIN + VIEW),) * 2
PICTURES = ("camera", "moon", "coins", "chelsea", "astronaut")
FIELD = f"Fit(Polar(Uniform(), RandomField(margin={MARGIN}), vector=False), LBFGS(history=20))"
OURS: dict[str, str | None] = {
    "untwin, smooth field, stopped by hidden pixels": f"Until(HeldOut(patience=100), 800*{FIELD})",
}
NOISE = (  # kind, pixels along an axis, photons in all, Fresnel number of a pixel: the least
    ("weak", 64, 1e6, 0.02),
    ("weak", 64, 1e6, 0.06),
    ("weak", 96, 1e7, 0.0156),
    ("weak", 96, 1e8, 0.0156),
    ("complex", 64, 1e7, 0.05),
    ("complex", 64, 1e8, 0.1),
    ("real", 64, 1e6, 0.05),
    ("real", 64, 1e6, 0.2),
    ("real", 96, 1e8, 0.02),
    ("phase", 64, 1e7, 0.05),
    ("phase", 64, 1e7, 0.2),
)
AUTOMATIC: dict[str, str | None] = {"untwin, automatic plan": None}


def phase(name: str) -> np.ndarray:
    """(128, 128), rad, 0 to 0.3."""
    picture = np.asarray(getattr(data, name)(), float)
    picture = picture.mean(-1) if picture.ndim == 3 else picture
    picture = ndimage.gaussian_filter(transform.resize(picture, (VIEW, VIEW), anti_aliasing=True), 1.0)
    picture = (picture - picture.min()) / np.ptp(picture)
    i = (np.arange(VIEW) - (VIEW - 1) / 2) / (VIEW / 2)
    fade = np.cos(np.pi / 2 * np.clip((np.hypot(i[:, None], i[None]) - 0.65) / 0.25, 0, 1)) ** 2
    return 0.3 * picture * fade


def frequencies(n: int) -> np.ndarray:
    """(n, n): |f|², cycles per pixel."""
    f = np.fft.fftfreq(n)
    return f[:, None] ** 2 + f[None] ** 2


def holograms(phi: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """(4, 128, 128): counts over `photons`."""
    wave = np.fft.fft2(np.exp(1j * np.pad(phi, MARGIN)))
    mean = np.stack([np.abs(np.fft.ifft2(np.exp(-1j * np.pi * frequencies(ARRAY) / n) * wave)) ** 2 for n in NUMBERS])
    return rng.poisson(photons * mean[:, *MIDDLE]) / photons


def error(phi: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(phi - phi.mean() - truth + truth.mean()) / np.linalg.norm(truth - truth.mean()))


def ctf(y: np.ndarray, truth: np.ndarray) -> dict[str, dict]:
    """The contrast transfer function at the ε that is best for this very object."""
    began = time.process_time()
    square = frequencies(ARRAY)
    h = np.stack([2 * np.sin(np.pi * square / n) for n in NUMBERS])
    above, below = (h * np.fft.fft2(np.pad(y - 1, ((0, 0), (MARGIN,) * 2, (MARGIN,) * 2)))).sum(0), (h**2).sum(0)
    took, best = time.process_time() - began, {}
    for name, weight in (("constant", np.ones_like(square)), ("f⁴", square**2 / 0.03**4)):
        tried = []
        for epsilon in 10.0 ** np.arange(-10, 2.01, 0.25):
            began = time.process_time()
            phi = np.fft.ifft2(above / (below + epsilon * weight + 1e-15)).real[MIDDLE]
            tried.append((error(phi, truth), float(epsilon), took + time.process_time() - began))
        least = min(tried)
        best[f"CTF, ε {name}, chosen by the truth"] = {"error": least[0], "epsilon": least[1], "cpu": least[2]}
    return best


def ours(y: np.ndarray, truth: np.ndarray, photons: float, recipe: str | None) -> dict:
    counts, measured = np.zeros((len(NUMBERS), ARRAY, ARRAY), np.float32), np.zeros((len(NUMBERS), ARRAY, ARRAY), bool)
    counts[:, *MIDDLE], measured[:, *MIDDLE] = photons * y, True
    began = time.process_time()
    pattern = ut.Pattern(counts, measured, optics=ut.Optics(fresnel_numbers=NUMBERS))
    problem = ut.Problem(pattern, constraint=ut.constraints.Support() & ut.constraints.PhaseOnly())
    solution = ut.reconstruct(problem, recipe, starts=1 if recipe else None, seed=0, workers=1)
    cpu = time.process_time() - began
    x = solution.image.numpy()[MIDDLE]
    return {"error": error(np.angle(x / np.exp(1j * np.angle(x.sum()))), truth), "cpu": cpu}


def table(runs: list[dict]) -> str:
    """Contestants down, pictures across."""
    pictures = list(dict.fromkeys(r["picture"] for r in runs))
    lines = ["| error | " + " | ".join(pictures) + " | worst | CPU s: median |", "|---" * (len(pictures) + 3) + "|"]
    for name in dict.fromkeys(r["name"] for r in runs):
        rows = [r for r in runs if r["name"] == name]
        cells = [f"{np.mean([r['error'] for r in rows if r['picture'] == p]):.3f}" for p in pictures]
        cells += [f"{max(r['error'] for r in rows):.3f}", f"{np.median([r['cpu'] for r in rows]):.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def noise_problem(kind: str, size: int, photons: float, number: float, seed: int) -> ut.Problem:
    """kind: weak (four distances), complex (three), real or phase (one). photons: in all. number: the least Fresnel number."""
    rng = np.random.default_rng([seed, size, round(photons), round(1 / number)])
    rough, smooth = (ndimage.gaussian_filter(rng.normal(size=(size, size)), s, mode="wrap") for s in (1.5, 6.0))
    grey, turn = ((v - v.min()) / np.ptp(v) for v in (rough, smooth))
    magnitude = {"weak": 0.9 + 0.1 * grey, "complex": 0.3 + 0.7 * grey, "real": 0.3 + 0.7 * grey, "phase": np.ones_like(grey)}[kind]
    x = magnitude * np.exp(1j * (0 if kind == "real" else 1) * turn)
    numbers = tuple(number * np.geomspace(1, 5, {"weak": 4, "complex": 3}.get(kind, 1)))
    waves = [np.fft.ifft2(np.exp(-1j * np.pi * frequencies(size) / n) * np.fft.fft2(x)) for n in numbers]
    mean = np.abs(np.stack(waves)) ** 2
    counts = rng.poisson(photons * mean / mean.sum()).astype(np.float32)
    constraint = {"real": ut.constraints.Nonnegative(), "phase": ut.constraints.PhaseOnly()}.get(kind, ut.constraints.Support())
    pattern = ut.Pattern(counts, np.ones(counts.shape, bool), optics=ut.Optics(fresnel_numbers=numbers))
    return ut.Problem(pattern, constraint=ut.constraints.Support() & constraint)


def noise(seed: int) -> list[dict]:
    """Of one reconstruction of each, both estimates and their CPU seconds."""
    rows = []
    print("| object | pixels | photons | Fresnel number | near | full | CPU s: near, full | trusted |\n" + "|---" * 8 + "|")
    for kind, size, photons, number in NOISE:
        problem = noise_problem(kind, size, photons, number, seed)
        solution = ut.reconstruct(problem, starts=2, seed=0, workers=1)
        row: dict = {"kind": kind, "size": size, "photons": photons, "number": number, "trusted": solution.verdict.trusted}
        to_the_end = halves.TOLERANCE * problem.pattern.measured.sum()
        for name, pairs, tolerance in (("near", halves.NEAR_PAIRS, halves.NEAR_TOLERANCE), ("full", halves.MEMORY, to_the_end)):
            with mock.patch.multiple(halves, NEAR_PAIRS=pairs, NEAR_TOLERANCE=tolerance):
                began = time.process_time()
                row[name] = halves.noise_error(problem, solution.image, solution.support)
                row[f"{name} cpu"] = time.process_time() - began
        rows.append(row)
        told = "| {kind} | {size} | {photons:.0e} | {number:g} | {near:.4f} | {full:.4f} | {near cpu:.1f}, {full cpu:.1f} | {trusted} |"
        print(told.format(**row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20540)
    parser.add_argument("--count", type=int, default=3, help="noises for each picture")
    parser.add_argument("--pictures", default=",".join(PICTURES))
    parser.add_argument("--photons", type=float, default=1e4, help="per pixel of the empty beam")
    parser.add_argument("--automatic", action="store_true", help="the automatic plan, too, which does not know that nothing lies outside")
    parser.add_argument("--noise", action="store_true", help="instead: both estimates of the error that noise leaves")
    parser.add_argument("--quick", action="store_true", help="one picture, one noise")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.noise:
        rows = noise(args.seed)
        if args.json:
            args.json.write_text(json.dumps({"script": "near_field --noise", "rows": rows}, indent=1) + "\n")
        return
    pictures = args.pictures.split(",")[: 1 if args.quick else None]
    contestants = OURS | (AUTOMATIC if args.automatic else {})
    runs = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    for number, picture in enumerate(pictures):
        truth = phase(picture)
        for i in range(1 if args.quick else args.count):
            key = {"picture": picture, "photons": args.photons, "seed": [args.seed, i, number]}
            done = {r["name"] for r in runs if all(r[k] == v for k, v in key.items())}
            y = holograms(truth, args.photons, np.random.default_rng(key["seed"]))
            runs += [key | {"name": name} | r for name, r in ctf(y, truth).items() if name not in done]
            runs += [key | {"name": n} | ours(y, truth, args.photons, recipe) for n, recipe in contestants.items() if n not in done]
            if args.json:
                head = {"script": "near_field", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                args.json.parent.mkdir(parents=True, exist_ok=True)
                args.json.write_text(json.dumps({**head, "runs": runs}, indent=1))
    print(table(runs))


if __name__ == "__main__":
    main()
