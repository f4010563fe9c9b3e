"""Phase retrieval beyond one far field: Gaussian measurements, coded masks, one chirp, the near field of strong objects.

    python benchmarks/waves.py --seed 2000 --json benchmarks/results/waves.json

gaussian: complex, n = 64, no noise, 50 trials each with another matrix: share with an error below 1e-3 against measurements per unknown, by
    recipe and start. real: the same with real matrix and object, n = 256: the ratio at which half succeed.
noise: m / n = 6, Poisson counts of 100 in the mean: root mean square error against the Cramer-Rao bound (with the phase free), 50 trials.
coded: complex objects 128 x 128 (a picture as magnitude, another as phase), random masks of pure phase, without noise.
chirp: real nonnegative pictures 64 x 64 padded to 128, one curved wave, half a period at the edge, random starts.
verdict: the automatic plan on every kind of exposures with counts: what it says, and whether it is right (E < 0.1).
Pictures: those of scikit-image that are CC0 or in the public domain.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.measurement import Pattern
from untwin.processes import one_thread
from untwin.random import derive
from untwin.simulate.exposures import Exposed, exposures

EXACT = 1e-3  # error below which a trial without noise counts as solved
RECIPES = {
    "Spectral + DM": "Spectral(variety=0) + 940*DM + 60*ER",
    "random + DM": "940*DM + 60*ER",
    "Spectral + RAAR": "Spectral(variety=0) + 940*RAAR + 60*ER",
    "random + RAAR": "940*RAAR + 60*ER",
    "Spectral + AmplitudeFlow": "Spectral(variety=0) + 1000*AmplitudeFlow",
    "Spectral + TruncatedAmplitudeFlow": "Spectral(variety=0) + 1000*TruncatedAmplitudeFlow",
    "Spectral + ReweightedAmplitudeFlow": "Spectral(variety=0) + 1000*ReweightedAmplitudeFlow",
    "Spectral + WirtingerFlow": "Spectral(variety=0) + 1000*WirtingerFlow",
}
COMPLEX_RATIOS, REAL_RATIOS = (2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0), (1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0)


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float(ut.physics.GlobalPhase().align(found[None].to(torch.complex128), truth.to(torch.complex128)).error)


def ended(problem: ut.Problem, recipe: str, seed: int, support: torch.Tensor | None = None) -> torch.Tensor:
    *_, state = ut.iterate(problem, ut.parse(recipe), ut.begin(problem, [seed], support), 10)
    return problem.project_object(state.image, state.support)[0]


def gaussian(seed: int, trial: int, ratio: float, real: bool, recipe: str) -> bool:
    n = 256 if real else 64
    waves = ut.physics.Gaussian(n, round(ratio * n), seed=derive(seed, "matrix", trial), real=real)
    x = torch.from_numpy(np.random.default_rng(derive(seed, "object", trial)).normal(size=(2, n)))
    x = x[0] if real else torch.complex(x[0], x[1])
    constraint = ut.constraints.RealValued() if real else ut.constraints.Support()
    problem = ut.Problem(Pattern.of_waves(waves(x[None])[0]), waves, constraint)
    return error(ended(problem, recipe, derive(seed, "start", trial)), x) < EXACT


def noise(seed: int, trial: int) -> tuple[float, float]:
    """Squared error of the most likely object, up to its phase, and the trace of the inverse Fisher information (without the phase)."""
    n, m, mean = 64, 384, 100.0
    waves = ut.physics.Gaussian(n, m, seed=derive(seed, "matrix", trial))
    rng = np.random.default_rng(derive(seed, "object", trial))
    x = torch.from_numpy((rng.normal(size=n) + 1j * rng.normal(size=n)) / math.sqrt(2))
    x = x * math.sqrt(mean) / x.norm()  # a Gaussian row of mean square 1 each, real and imaginary: |<a, x>|² = 2 |x|² in the mean
    expected = waves(x[None])[0].numpy()
    scale = mean / expected.mean()
    x, expected = x * math.sqrt(scale), expected * scale
    problem = ut.Problem(Pattern.of_waves(rng.poisson(expected)), waves)
    found = ended(problem, "Spectral(variety=0) + 300*DM + 100*RAAR + MaximumLikelihood(300)", derive(seed, "start", trial)).to(x.dtype)
    found = found * torch.sgn((found.conj() * x).sum())
    a = waves.matrix
    w = a @ x
    slope = torch.cat([2 * (w.conj()[:, None] * a).real, 2 * (w.conj()[:, None] * (1j * a)).real], 1)  # of the expected counts
    fisher = slope.T @ (slope / torch.from_numpy(expected)[:, None])
    values = torch.linalg.eigvalsh(fisher)
    return float((found - x).abs().square().sum()), float((1 / values[1:]).sum())  # the least is the global phase


def picture(name: str, size: int) -> np.ndarray:
    import skimage.data

    values = np.asarray(getattr(skimage.data, name)(), dtype=float)
    values = values.mean(-1) if values.ndim == 3 else values
    values = values[: min(values.shape), : min(values.shape)]
    values = values[:512, :512] if len(values) >= 512 else values
    k = len(values) // size
    return values[: k * size, : k * size].reshape(size, k, size, k).mean((1, 3)) / 255


PICTURES = ("camera", "moon", "astronaut", "coffee", "chelsea", "brick", "grass", "gravel", "coins", "rocket")


def coded(seed: int, trial: int, masks: int, recipe: str) -> float:
    n, names = 128, PICTURES
    magnitude, phase = (picture(names[(trial + k) % len(names)], n) for k in (0, 1))
    x = torch.from_numpy((0.2 + 0.8 * magnitude) * np.exp(1j * math.pi * (phase - 0.5)))
    m = np.exp(2j * np.pi * np.random.default_rng(derive(seed, "masks", trial)).random((masks, n, n)))
    waves = ut.physics.Masked(m).on(Pattern.of_waves(np.ones((masks, n, n))))
    problem = ut.Problem(Pattern.of_waves(waves(x[None])[0]), waves)
    return error(ended(problem, recipe, derive(seed, "start", trial)), x)


def chirp(seed: int, trial: int, recipe: str, phase: float = 0.0) -> float:
    """phase: from least to largest, rad; above 0 the object is complex, and its box is all that is known of it."""
    n = 64
    inside = np.zeros((2 * n, 2 * n), dtype=bool)
    inside[n // 2 : n // 2 + n, n // 2 : n // 2 + n] = True
    x = np.zeros(inside.shape)
    x[inside] = picture(PICTURES[trial % len(PICTURES)], n).ravel()
    r = (np.arange(2 * n) - n) / (n / 2)
    mask = np.exp(1j * np.pi * (r[:, None] ** 2 + r**2))
    waves = ut.physics.Masked(mask[None]).on(Pattern.of_waves(np.ones((1, 2 * n, 2 * n))))
    truth = torch.from_numpy(x).to(torch.complex128)
    if phase:
        truth[torch.from_numpy(inside)] *= torch.polar(
            torch.ones(n * n).double(), torch.from_numpy(phase * picture(PICTURES[(trial + 1) % len(PICTURES)], n).ravel())
        )
    problem = ut.Problem(
        Pattern.of_waves(waves(truth[None])[0]),
        waves,
        ut.constraints.Support() if phase else ut.constraints.Support() & ut.constraints.Nonnegative(),
    )
    found = ended(problem, recipe, derive(seed, "start", trial), torch.from_numpy(inside))
    return float(ut.physics.GlobalPhase().align(found[None].to(torch.complex128), truth).error)


def verdict(seed: int, trial: int, kind: str, photons: float) -> tuple[bool | None, float, float, float]:
    """What it says; the error; CPU seconds; and the error that it foretells from two halves of the photons."""
    drawn = exposures(kind, 64, photons=photons, seed=derive(seed, kind, trial) >> 2)
    constraint = ut.constraints.Support() & ut.constraints.Nonnegative() if drawn.real else ut.constraints.Support()
    problem = ut.Problem(
        Pattern.of_waves(np.ascontiguousarray(drawn.optics.cornered(drawn.counts)), optics=drawn.optics), constraint=constraint
    )
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = ut.reconstruct(problem, seed=trial, support=drawn.support if drawn.real else None, workers=1)
    return solution.verdict.trusted, error(solution.image, truth_of(drawn)), time.process_time() - began, solution.numbers["noise_error"]


def truth_of(drawn: Exposed) -> torch.Tensor:
    return torch.from_numpy(drawn.image)


def tables(rows: dict[str, list]) -> list[str]:
    lines = ["| recipe | " + " | ".join(f"m/n {r:g}" for r in COMPLEX_RATIOS) + " |", "|---" * (1 + len(COMPLEX_RATIOS)) + "|"]
    for kind, ratios in (("complex", COMPLEX_RATIOS), ("real", REAL_RATIOS)):
        if kind == "real":
            lines += ["", "| real, recipe | " + " | ".join(f"m/n {r:g}" for r in REAL_RATIOS) + " |", "|---" * (1 + len(REAL_RATIOS)) + "|"]
        for name in RECIPES:
            cells = [rows.get(f"{kind} {name} {ratio:g}", []) for ratio in ratios]
            if any(cells):
                lines.append(f"| {name} | " + " | ".join(f"{sum(c)} of {len(c)}" if c else "" for c in cells) + " |")
    if pairs := rows.get("noise"):
        found, bound = np.array(pairs).T
        lines += ["", f"Noise: root mean square error {math.sqrt(found.mean() / bound.mean()):.3f} times the bound ({len(pairs)} trials)."]
    for name, values in rows.items():
        if name.startswith(("coded", "chirp")):
            lines.append(f"{name}: {sum(v < EXACT for v in values)} of {len(values)} exact, median error {np.median(values):.2g}")
    lines += [
        "",
        "| exposures | photons | runs | trusted, right | trusted, wrong | not trusted, right | median E | foretold | CPU s |",
        "|---" * 9 + "|",
    ]
    for name, values in rows.items():
        if name.startswith("verdict"):
            _, kind, photons = name.split()
            trusted, right = np.array([v[0] is True for v in values]), np.array([v[1] < 0.1 for v in values])
            counts = [(trusted & right).sum(), (trusted & ~right).sum(), (~trusted & right).sum()]
            lines.append(
                f"| {kind} | {photons} | {len(values)} | {' | '.join(map(str, counts))} | "
                f"{np.median([v[1] for v in values]):.3f} | {np.median([v[3] for v in values]):.3f} | "
                f"{np.mean([v[2] for v in values]):.1f} |"
            )
    return lines


def jobs(seed: int, trials: int, few: int) -> dict[str, tuple[int, Callable[[int], object]]]:
    """What there is to measure, by name: how many trials, and one of them."""
    table: dict[str, tuple[int, Callable[[int], object]]] = {}
    for kind, ratios in (("complex", COMPLEX_RATIOS), ("real", REAL_RATIOS)):
        for name, recipe in RECIPES.items():
            for ratio in ratios:
                if kind == "real" and "Flow" in name:
                    continue
                table[f"{kind} {name} {ratio:g}"] = (
                    trials if kind == "complex" else few,
                    lambda t, ratio=ratio, real=kind == "real", recipe=recipe: gaussian(seed, t, ratio, real, recipe),
                )
    table["noise"] = (trials, lambda t: noise(seed, t))
    dm = "Spectral(variety=0) + 300*DM + 60*ER"
    table["coded, 3 masks, Spectral"] = (few, lambda t: coded(seed, t, 3, dm))
    table["coded, 3 masks, random"] = (few, lambda t: coded(seed, t, 3, "900*DM + 60*ER"))
    table["coded, 2 masks, Spectral"] = (few, lambda t: coded(seed, t, 2, "Spectral(variety=0) + 2000*DM + 60*ER"))
    table["chirp, RAAR, random"] = (few, lambda t: chirp(seed, t, "400*RAAR + 200*ER"))
    table["chirp, DM, random"] = (few, lambda t: chirp(seed, t, "400*DM + 200*ER"))
    table["chirp, AmplitudeFlow, random"] = (few, lambda t: chirp(seed, t, "1000*AmplitudeFlow"))
    table["chirp, complex object, RAAR, random"] = (few, lambda t: chirp(seed, t, "800*RAAR + 200*ER", 3.0))
    table["chirp, complex object, DM, random"] = (few, lambda t: chirp(seed, t, "800*DM + 200*ER", 3.0))
    for kind, levels in (("coded", ("1e5", "1e7")), ("chirp", ("1e5", "1e7")), ("defocus", ("1e5", "1e6")), ("near", ("1e6", "1e8"))):
        for photons in levels:
            table[f"verdict {kind} {photons}"] = (few, lambda t, kind=kind, photons=photons: verdict(seed, t, kind, float(photons)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--few", type=int, default=20, help="trials of what takes longer")
    parser.add_argument("--only", default="", help="names that begin so")
    parser.add_argument("--quick", action="store_true", help="two trials each")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    trials, few = (2, 2) if args.quick else (args.trials, args.few)
    stored = json.loads(args.json.read_text()) if args.json and args.json.exists() else {"seed": args.seed, "rows": {}}
    rows: dict[str, list] = stored["rows"]
    for name, (count, one) in jobs(args.seed, trials, few).items():
        if not name.startswith(args.only):
            continue
        values = rows.setdefault(name, [])
        with one_thread():
            while len(values) < count:
                values.append(one(len(values)))
        print(name, flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps({"script": "waves", "untwin": ut.__version__, "seed": args.seed, "rows": rows}))
    print("\n" + "\n".join(tables(rows)))


if __name__ == "__main__":
    main()
