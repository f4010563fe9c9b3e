"""Defaults: which of them have a measurement or a paper behind them, and measurements of two that had none.

    python benchmarks/defaults.py                                # the inventory of docs/defaults.md
    python benchmarks/defaults.py --ratio --seed 61 --json benchmarks/results/defaults.json
    python benchmarks/defaults.py --line --seed 61 --json benchmarks/results/defaults.json

The inventory is made of the classes that recipes, rules, priors, losses and physics are written with; what is known of a default stands in
KNOWN below, and whatever does not stand there was measured by nobody. --ratio: weights of GradientRatio beside a mean squared loss, deep
image prior (32 channels) on four pictures of 64 x 64, sigma 0.1: dB of the mean output at the stop of Discrepancy(sigma), and the best.
--line: 1024 samples along one axis, six signals, sigma 0.08: priors and stops against Savitzky-Golay at the window and order that are best
for that very signal (an oracle), and at a fixed one (window 31, order 3).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch
from scipy.signal import savgol_filter

import untwin as ut
from stopping import clean, psnr
from untwin.processes import one_thread
from untwin.runs.names import MODEL, NAMES

STOPPING, TABLES = "docs/deep-priors.md, When to stop", "docs/benchmarks.md"
OFF = ("regularizer", "loss", "root", "average", "grow", "imitate", "rate", "warm", "decay", "bfloat16", "constraints")
KNOWN = {  # of a class, or of one of its settings: (kind, source)
    "HIO": ("published", "Fienup, 1982"),
    "RAAR": ("published", "Luke, 2005"),
    "DM": ("published", "Elser, 2003"),
    "RRR": ("published", "Elser, Lan and Bendory, 2018"),
    "Solved": ("published", "Elser, Lan and Bendory, 2018"),
    "Shifts": ("measured", "docs/sparse-objects.md, Starts that agree"),
    "Spectral.weights": ("published", "Mondelli and Montanari, 2019"),
    "Spectral.every": ("rule", "one of two families"),
    "TruncatedAmplitudeFlow.gamma": ("published", "Wang, Giannakis and Eldar, 2018"),
    "RandomField.order": ("measured", "docs/exposures.md, A weak phase object in the near field"),
    "RandomField.corner": ("measured", "docs/exposures.md, A weak phase object in the near field"),
    "RandomField.margin": ("rule", "off"),
    "Zernike.modes": ("rule", "how many are known"),
    "Zernike.first": ("rule", "piston is no aberration"),
    "Masked": ("rule", "of the file"),
    "Fresnel": ("rule", "of the file"),
    "Gaussian": ("rule", "of the measurement"),
    "Sparse.k": ("rule", "counted"),
    "HPR": ("published", "Bauschke, Combettes and Luke, 2003"),
    "Adam": ("published", "Kingma and Ba, 2015"),
    "Skip": ("published", "Ulyanov et al., 2018"),
    "DeepDecoder": ("published", "Heckel and Hand, 2019"),
    "ConvDecoder": ("published", "Darestani and Heckel, 2021"),
    "Siren.w0": ("published", "Sitzmann et al., 2020"),
    "Untrained": ("published", "Ulyanov et al., 2018"),
    "Projector": ("published", "Li et al., 2023; rate, width, depth and TV measured beside it: " + STOPPING),
    "TV": ("published", "Li et al., 2023, for the projector; 0.2 and 0.8 are no better: " + STOPPING),
    "WMV": ("measured", STOPPING),
    "EMV": ("measured", STOPPING),
    "HeldOut.patience": ("measured", STOPPING),
    "HeldOut.share": ("unmeasured", "one value was used in all tables"),
    "SelfValidation": ("published", "Li et al., 2021"),
    "Discrepancy.tau": ("measured", STOPPING),
    "GradientRatio": ("measured", "docs/defaults.md"),
    "Gamma": ("measured", "docs/deep-priors.md, Speckle"),
    "HQS": ("measured", "docs/denoisers.md"),
    "PnP": ("measured", "docs/denoisers.md"),
    "PnP.level": ("unmeasured", "the benchmark gives half of the noise"),
    "Denoiser": ("measured", "docs/denoisers.md"),
    "Penalized.weight": ("measured", TABLES + ", Pictures"),
    "Predict": ("measured", "docs/learn.md, with every=1"),
    "Guess": ("unmeasured", "as of Predict"),
    "Strays": ("measured", TABLES),
    "Coherence": ("measured", TABLES),
    "Contain": ("measured", TABLES),
    "Refine": ("measured", "docs/deep-priors.md"),
    "DoubleDIP": ("measured", "docs/deep-priors.md, What a prior adds to the classical recipe"),
    "Search": ("rule", "the plans say how many"),
    "Guide": ("rule", "the plans say"),
    "Reserve": ("rule", "the plans say"),
    "Finish": ("rule", "the plans say"),
    "Inspect": ("rule", "a switch"),
    "Modulus": ("rule", "off"),
    "Physics": ("rule", "the ideal far field"),
    "Picture": ("rule", "what is usual"),
    "MRI": ("rule", "one coil"),
    "FarField": ("rule", "of the pattern"),
    "Sensitivity": ("rule", "of the file"),
    "Unknown": ("rule", "no limits"),
    "Ramp": ("rule", "a switch"),
    "Uniform": ("rule", "a unit"),
    "Poisson": ("rule", "the likelihood itself"),
    "Downsample": ("rule", "the least factor; Lanczos as deep image prior has it"),
    "Cartesian": ("rule", "a switch"),
    "Polar": ("rule", "a switch"),
    **{f"Fit.{n}": ("rule", "off") for n in OFF},
    "Fit.prior": ("published", "Ulyanov et al., 2018"),
    "Fit.descent": ("published", "Kingma and Ba, 2015"),
    "Fit.box": ("rule", "oversampling of 2"),
}
SAME = ("seed", "mean", "axes", "sigma", "measured", "channels")  # settings that are no tuning anywhere


def defaults() -> list[tuple[str, str, str, str, str]]:
    """(class, setting, default, kind, source) of each."""
    rows = []
    for name, kind in {**NAMES, **MODEL}.items():
        for f in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
            plain = f.default is not dataclasses.MISSING
            if f.name.startswith("_") or f.name in SAME or (not plain and f.default_factory is dataclasses.MISSING):
                continue
            value = f.default if plain else f.default_factory()
            how, source = KNOWN.get(f"{name}.{f.name}") or KNOWN.get(name) or ("unmeasured", "")
            rows.append((name, f.name, f"{value:.3g}" if isinstance(value, float) else repr(value), how, source))
    return rows


def inventory() -> list[str]:
    lines, rows = ["| class | settings that nobody measured | remark |", "|---|---|---|"], defaults()
    for name in dict.fromkeys(r[0] for r in rows if r[3] == "unmeasured"):
        own = [r for r in rows if r[0] == name and r[3] == "unmeasured"]
        cells = ", ".join(f"{setting} {value}" for _, setting, value, _, _ in own)
        lines.append(f"| `{name}` | {cells} | {'; '.join(dict.fromkeys(r[4] for r in own if r[4]))} |")
    lines += ["", "| class | settings | what is behind them |", "|---|---|---|"]
    for name, how, source in dict.fromkeys((r[0], r[3], r[4]) for r in rows if r[3] in ("measured", "published")):
        own = ", ".join(r[1] for r in rows if (r[0], r[3], r[4]) == (name, how, source))
        lines.append(f"| `{name}` | {own} | {how}: {source} |")
    counts = {how: sum(r[3] == how for r in rows) for how in ("measured", "published", "rule", "unmeasured")}
    return [f"{len(rows)} defaults: " + ", ".join(f"{n} {how}" for how, n in counts.items()) + ".", "", *lines]


def followed(
    problem: ut.Picture, fit: ut.algorithms.Fit, truth: torch.Tensor, stops: dict[str, ut.rules.Rule], seed: int, steps: int
) -> dict:
    """dB of the best image of a fit, and of those that the rules return, each from a run of its own where it hides something."""
    zero = ut.State.of(torch.zeros(1, *problem.shape), seeds=(seed,))
    clock = time.process_time()
    values = [psnr(s.image[0], truth) for s in ut.iterate(problem, steps * fit, zero)]
    ends, cpu = {}, time.process_time() - clock
    for name, rule in stops.items():
        clock = time.process_time()
        state = list(ut.iterate(problem, ut.algorithms.Until(rule, steps * fit), zero))[-1]
        ends[name] = {"dB": psnr(state.image[0], truth), "steps": state.step, "cpu": time.process_time() - clock}
    return {"best": max(values), "best_at": 1 + int(np.argmax(values)), "last": values[-1], "cpu": cpu, "stops": ends}


WEIGHTS = (0.0, 2e-5, 2e-4, 2e-3, 2e-2)


def ratio(seed: int, weight: float, image: str, size: int = 64) -> dict:
    truth = clean(image, size)
    y = truth + 0.1 * torch.from_numpy(np.random.default_rng([seed, len(image)]).normal(size=truth.shape)).float()
    regularizer = ut.losses.GradientRatio(weight) if weight else None
    fit = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(width=32)), average=0.99, regularizer=regularizer)
    return {"what": "ratio", "image": image, "weight": weight, "seed": seed} | followed(
        ut.Picture(y), fit, truth, {"Discrepancy(sigma)": ut.rules.Discrepancy(0.1)}, seed, 500
    )


def _signal(number: int, rng: np.random.Generator, n: int = 1024) -> np.ndarray:
    """Chirp with steps, peaks, sines, each twice with other numbers; 0 to 1."""
    t = np.arange(n) / n
    if number % 3 == 0:
        x = np.sin(2 * np.pi * (rng.uniform(4, 10) * t + rng.uniform(10, 25) * t**2)) * np.exp(-(((t - 0.5) / 0.25) ** 2))
        x = 0.2 * x + sum(h * (t > c) for h, c in zip((0.1, -0.15), rng.uniform(0.1, 0.9, 2)))
    elif number % 3 == 1:
        places, widths, heights = rng.uniform(0.05, 0.95, 12), rng.uniform(0.004, 0.03, 12), rng.uniform(0.2, 0.7, 12)
        x = sum(h * np.exp(-(((t - c) / w) ** 2) / 2) for c, w, h in zip(places, widths, heights))
    else:
        x = sum(a * np.sin(2 * np.pi * f * t + p) for a, f, p in zip((0.15, 0.1, 0.08, 0.05), rng.uniform(1, 20, 4), rng.uniform(0, 6, 4)))
    x = np.asarray(x) - np.min(x)
    return 0.1 + 0.8 * x / x.max()


LINES = {
    "drp": ut.algorithms.Fit(ut.priors.Projector(), regularizer=ut.losses.TV(0.45), root=True, average=0.9),
    "Skip(depth=5, width=32)": ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=5, width=32)), average=0.99),
    "Skip(depth=5, width=32, skip=0)": ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=5, width=32, skip=0)), average=0.99),
    "DeepDecoder()": ut.algorithms.Fit(ut.priors.Untrained(ut.priors.DeepDecoder(), jitter=0.0), average=0.9),
}


def line(seed: int, name: str, number: int) -> dict:
    rng = np.random.default_rng([seed, number])
    x = _signal(number, rng)
    y = x + 0.08 * rng.normal(size=x.shape)
    truth = torch.from_numpy(x)[None].float()

    def against(v: np.ndarray) -> float:
        return psnr(torch.from_numpy(v)[None], truth)

    windows = [(w, p) for w in (5, 9, 13, 17, 21, 31, 41, 61, 81, 121) for p in (2, 3, 4) if p < w]
    best = max(against(savgol_filter(y, w, p)) for w, p in windows)
    stops = {"EMV": ut.rules.EMV(patience=50)} if name == "drp" else {"HeldOut": ut.rules.HeldOut(patience=100)}
    run = followed(
        ut.Picture(torch.from_numpy(y)[None].float()), LINES[name], truth, stops | {"Discrepancy": ut.rules.Discrepancy()}, seed, 600
    )
    return {"what": "line", "prior": name, "signal": number, "seed": seed, "noisy": against(y), "oracle": best,
            "fixed": against(savgol_filter(y, 31, 3))} | run  # fmt: skip


def tables(runs: list[dict]) -> list[str]:
    lines = ["| weight | runs | best: dB | Discrepancy(sigma): dB | at the end (500 steps) |", "|---|---|---|---|---|"]
    for weight in sorted({r["weight"] for r in runs if r["what"] == "ratio"}):
        own = [r for r in runs if r["what"] == "ratio" and r["weight"] == weight]
        stop = np.mean([r["stops"]["Discrepancy(sigma)"]["dB"] for r in own])
        lines.append(
            f"| {weight:g} | {len(own)} | {np.mean([r['best'] for r in own]):.2f} | {stop:.2f} | {np.mean([r['last'] for r in own]):.2f} |"
        )
    lines += [
        "",
        "| prior | runs | noisy | Savitzky-Golay fixed, oracle | best of the run | stopped by: dB (steps, CPU s) |",
        "|---|---|---|---|---|---|",
    ]
    for prior in dict.fromkeys(r["prior"] for r in runs if r["what"] == "line"):
        own = [r for r in runs if r["what"] == "line" and r["prior"] == prior]
        m = {k: np.mean([r[k] for r in own]) for k in ("noisy", "fixed", "oracle", "best")}
        stops = "; ".join(
            "{} {:.2f} ({:.0f}, {:.1f})".format(s, *(np.mean([r["stops"][s][k] for r in own]) for k in ("dB", "steps", "cpu")))
            for s in own[0]["stops"]
        )
        lines.append(f"| {prior} | {len(own)} | {m['noisy']:.2f} | {m['fixed']:.2f}, {m['oracle']:.2f} | {m['best']:.2f} | {stops} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=61)
    parser.add_argument("--ratio", action="store_true")
    parser.add_argument("--line", action="store_true")
    parser.add_argument("--images", default="astronaut,camera,coffee,chelsea")
    parser.add_argument("--quick", action="store_true", help="one signal, one prior")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not (args.ratio or args.line or args.quick):
        print("\n".join(inventory()))
        return
    began = time.monotonic()
    runs = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    jobs = [(ratio, (weight, image)) for image in args.images.split(",") for weight in WEIGHTS] if args.ratio else []
    jobs += [(line, (name, number)) for number in range(6) for name in LINES] if args.line else []
    jobs = [(line, ("DeepDecoder()", 0))] if args.quick else jobs
    for make, settings in jobs:
        key = dict(zip(("what", "weight", "image") if make is ratio else ("what", "prior", "signal"), (make.__name__, *settings)))
        if (
            any(all(r.get(k) == v for k, v in {**key, "seed": args.seed}.items()) for r in runs)
            or time.monotonic() - began > 60 * args.budget
        ):
            continue
        with one_thread():
            runs.append(make(args.seed, *settings))
        print({k: v for k, v in runs[-1].items() if k != "seed"}, flush=True)
        if args.json:
            head = {"script": "defaults", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
            args.json.write_text(json.dumps({**head, "runs": runs}))
    print("\n" + "\n".join(tables(runs)))


if __name__ == "__main__":
    main()
