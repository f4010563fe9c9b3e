"""The automatic reconstruction, without an option, on patterns of a detector as it is: blurred, on a background, with strays, clipped.

    python benchmarks/detector.py --seed 16001 --count 8 --json benchmarks/results/detector.json
    python benchmarks/detector.py --list

After a kill the same command goes on where it stopped: every object is in the file as soon as it is done. Object i of a class is a
function of the seed, the class and i (that of benchmarks/recover.py), the same under every condition, and so is its noise where the
condition draws nothing itself.

E is the error modulo sub-pixel shift, twin and global phase. Floor: E of the most likely object in the true support, by 60 steps of
L-BFGS from the truth, under the true model: blur, background and stray light are known, hot and clipped pixels are left out. Success:
E <= max(0.12, 1.5 floor). Usable: E <= max(0.25, that limit). Wrong & trusted: trusted with E above 0.25 / above 0.12. σ and background
are medians of what the reconstruction says (coherence_sigma, background; -: it says nothing). CPU: seconds per problem of all
processes, everything after import. A reconstruction that fails counts with E = 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import optimize

import untwin as ut
from untwin import fourier
from untwin.data.dataset import simulated
from untwin.errors import NumericalFailure
from untwin.runs.launch import one_thread
from untwin.simulate.detector import Detector, Exposure, Total
from untwin.simulate.shapes import CLASSES
from untwin.simulate.streams import Streams

SHAPE, PHOTONS = (64, 64), 1e6
KINDS = ("poly", "defect", "complex")
GAP = 4  # pixels


@dataclass(frozen=True)
class Condition:
    """A detector, and the first column of a gap of 4 pixels, from the centre; None: there is no gap."""

    detector: Detector
    gap: int | None = None


def ideal(**settings: Any) -> Detector:
    """The ideal detector but for these settings."""
    return Detector(Total(PHOTONS), **settings)


CONDITIONS = {
    "none": Condition(ideal()),
    "coherence 0.2": Condition(ideal(coherence=0.2)),
    "coherence 0.3": Condition(ideal(coherence=0.3)),
    "coherence 0.5": Condition(ideal(coherence=0.5)),
    "coherence 0.5 x 0.2 at 35 degrees": Condition(ideal(coherence=0.5, coherence_across=0.2, coherence_angle=35.0)),
    "background 1": Condition(ideal(background=1.0)),
    "background 5": Condition(ideal(background=5.0)),
    "smooth background 5": Condition(ideal(air_scatter=5.0)),
    "coherence 0.35 + background 3": Condition(ideal(coherence=0.35, background=3.0)),
    "coherence 0.35 + background 3 + gap": Condition(ideal(coherence=0.35, background=3.0), gap=6),
    "streak 1 %": Condition(ideal(streak=0.01)),
    "10 hot of 1000": Condition(ideal(hot_unmasked=10, hot_counts=1000)),
    "clipped 2 %": Condition(ideal(clipped=0.02)),
    "gap through the centre": Condition(ideal(), gap=-2),
}


# one object


def expose(kind: str, detector: Detector, seed: int, index: int) -> Exposure:
    """Object `index` on a detector; both draw from one generator, the object first."""
    streams = Streams(seed, [index])
    return detector.expose(torch.from_numpy(CLASSES[kind](SHAPE, streams.generators[0]))[None], streams)


def most_likely(x: torch.Tensor, inside: torch.Tensor, counts: torch.Tensor, used: torch.Tensor, extra: torch.Tensor, transfer: Any):
    """Minimum of Σ m − I + I ln(I / m) over the object inside its support, from x: m = K |F x|² + extra. FFT order, double precision."""
    unit = float(x[inside].abs().square().mean().sqrt())
    entropy = torch.xlogy(counts, counts) - counts

    def object_of(v: np.ndarray, grad: bool) -> tuple[torch.Tensor, torch.Tensor]:
        parts = torch.from_numpy(v.reshape(2, -1).copy()).requires_grad_(grad)
        return torch.zeros_like(x).masked_scatter(inside, torch.complex(parts[0], parts[1]) * unit), parts

    def value(v: np.ndarray) -> tuple[float, np.ndarray]:
        image, parts = object_of(v, True)
        f = torch.fft.fft2(image, norm="ortho").abs().square()
        if transfer is not None:
            f = torch.fft.irfft2(torch.fft.rfft2(f) * transfer, s=f.shape).clamp(min=0)
        m = f + extra + 1e-3
        loss = (m - counts * m.log() + entropy)[used].sum()
        (slope,) = torch.autograd.grad(loss, parts)
        return float(loss.detach()), slope.numpy().ravel()

    start = (x[inside] / unit).numpy()
    v = optimize.minimize(
        value, np.concatenate([start.real, start.imag]), jac=True, method="L-BFGS-B", options={"maxiter": 60, "maxcor": 20}
    ).x
    return object_of(v, False)[0]


def floor_of(kind: str, condition: Condition, seed: int, index: int, exposure: Exposure, measured: torch.Tensor) -> float:
    """E of the most likely object under the true model, in the true support."""
    marked = replace(condition.detector, hot_unmasked=0, clipped=0.0)
    truth = torch.fft.ifftshift(exposure.x[0]).to(torch.complex128)
    outlier = expose(kind, marked, seed, index).intensity[0] != exposure.intensity[0]
    mean = expose(kind, replace(marked, noise=False), seed, index).intensity[0].double()
    f = torch.fft.fft2(truth, norm="ortho").abs().square()
    label, transfer = exposure.labels[0], None
    if label["coherence"] > 0:
        covariance = label.get("covariance", [label["coherence"] ** 2])
        transfer = fourier.gaussian_of(SHAPE, covariance, f)
        f = torch.fft.irfft2(torch.fft.rfft2(f) * transfer, s=SHAPE).clamp(min=0)
    extra = (mean - f).clamp(min=0)
    inside = truth.abs() > 1e-3 * truth.abs().max()
    best = most_likely(truth, inside, exposure.intensity[0].double(), measured & ~outlier, extra, transfer)
    return float(ut.align(best[None].to(torch.complex64), truth.to(torch.complex64), 2).error[0])


def one(kind: str, name: str, seed: int, index: int, workers: int | None) -> dict:
    """Simulate, reconstruct and score one object."""
    condition = CONDITIONS[name]
    exposure = expose(kind, condition.detector, seed, index)
    measured = exposure.measured[0]
    if condition.gap is not None:
        measured = measured.clone()
        measured[:, [column % SHAPE[1] for column in range(condition.gap, condition.gap + GAP)]] = False
    pattern = simulated(exposure.intensity[0].where(measured, torch.zeros(())).numpy(), measured.numpy())
    with one_thread():
        floor = floor_of(kind, condition, seed, index, exposure, measured)
    common = {"condition": name, "class": kind, "index": index, "seed": seed, "floor": floor, "labels": exposure.labels[0]}
    try:
        solution = ut.reconstruct(pattern, seed=0, workers=workers)
    except NumericalFailure as failure:
        return common | {"error": 1.0, "trusted": None, "failure": str(failure)}
    truth = torch.fft.ifftshift(exposure.x[0])
    numbers = solution.numbers
    return common | {
        "error": float(ut.align(torch.fft.ifftshift(solution.image)[None], truth, 2).error[0]),
        "trusted": solution.verdict.trusted,
        "verdict": solution.verdict.text,
        "agreement": numbers["agreement"],
        "r_factor": numbers["r_factor"],
        "chi_square_amplitude": numbers["chi_square_amplitude"],
        "support": numbers["support_pixels"],
        "true_support": int((truth != 0).sum()),
        "cpu": numbers["cpu_seconds"],
        "detector": {k: v for k, v in numbers.items() if k.startswith(("coherence", "background"))},
    }


# tables


def limit(o: dict) -> float:
    return max(0.12, 1.5 * o["floor"])


def succeeds(o: dict) -> bool:
    return o["error"] <= limit(o)


def usable(o: dict) -> bool:
    return o["error"] <= max(0.25, limit(o))


def median(values: list[float]) -> float:
    """NaN where there is none."""
    return float(np.median(values)) if values else math.nan


def summary(name: str, objects: list[dict]) -> dict:
    """The figures of one row."""
    trusted = [o for o in objects if o["trusted"]]
    per_class = {kind: [succeeds(o) for o in objects if o["class"] == kind] for kind in KINDS}
    cpu = [o["cpu"] for o in objects if "cpu" in o]
    return {
        "condition": name,
        "n": len(objects),
        "per_class": {kind: f"{sum(hits)}/{len(hits)}" for kind, hits in per_class.items() if hits},
        "success": float(np.mean([succeeds(o) for o in objects])),
        "usable": float(np.mean([usable(o) for o in objects])),
        "median_error": median([o["error"] for o in objects]),
        "median_floor": median([o["floor"] for o in objects]),
        "r_factor": median([o["r_factor"] for o in objects if "r_factor" in o]),
        "chi_square_amplitude": median([o["chi_square_amplitude"] for o in objects if "r_factor" in o]),
        "support_ratio": median([o["support"] / o["true_support"] for o in objects if "support" in o]),
        "trusted": len(trusted),
        "trusted_above_0.25": sum(o["error"] > 0.25 for o in trusted),
        "trusted_above_0.12": sum(o["error"] > 0.12 for o in trusted),
        "sigma": median([v for o in objects if (v := o.get("detector", {}).get("coherence_sigma")) is not None]),
        "background": median([v for o in objects if (v := o.get("detector", {}).get("background")) is not None]),
        "cpu": float(np.mean(cpu)) if cpu else math.nan,
        "cpu_max": max(cpu, default=math.nan),
    }


HEAD = f"""| condition | {" / ".join(KINDS)} | n | success (usable) | median E | floor | R | chi2 | support / true | trusted | wrong & trusted | σ | background | CPU s (max) |
|{"---|" * 14}"""  # noqa: E501


def line(r: dict) -> str:
    """A row of the Markdown table."""
    cells = (
        r["condition"],
        " / ".join(r["per_class"].get(kind, "-") for kind in KINDS),
        str(r["n"]),
        f"{r['success']:.2f} ({r['usable']:.2f})",
        *(f"{r[k]:.3f}" for k in ("median_error", "median_floor", "r_factor")),
        *(f"{r[k]:.2f}" for k in ("chi_square_amplitude", "support_ratio")),
        f"{r['trusted']}/{r['n']}",
        f"{r['trusted_above_0.25']} / {r['trusted_above_0.12']}",
        *("-" if math.isnan(r[k]) else f"{r[k]:.2f}" for k in ("sigma", "background")),
        f"{r['cpu']:.1f} ({r['cpu_max']:.1f})",
    )
    return "| " + " | ".join(cells) + " |"


def verdicts(objects: list[dict]) -> str:
    """How often the verdict was right, over everything."""
    trusted = [o for o in objects if o["trusted"]]
    good = [o for o in objects if succeeds(o)]
    doubted = [o for o in objects if o["trusted"] is False]
    over = [sum(o["error"] > e for o in trusted) for e in (0.25, 0.12)]
    return (
        f"Verdict on {len(objects)} objects: {len(trusted)} trusted, of which {over[0]} have E above 0.25 and {over[1]} above 0.12; of "
        f"{len(good)} successes {sum(bool(o['trusted']) for o in good)} were trusted; {len(doubted)} not trusted, of which "
        f"{sum(not succeeds(o) for o in doubted)} are failures; {len(objects) - len(trusted) - len(doubted)} undecided; "
        f"{sum('failure' in o for o in objects)} failed."
    )


# the file


class Record:
    """The objects that are done, in a file where there is one."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self.path, self.seed = path, seed
        self.objects: dict[tuple[str, str, int], dict] = {}
        if path is not None and path.exists():
            past = json.loads(path.read_text())
            own = ("detector", seed, PHOTONS, ut.__version__)
            if (other := tuple(past.get(k) for k in ("script", "seed", "photons", "untwin"))) != own:
                sys.exit(f"{path} holds (script, seed, photons, untwin) = {other}, and this is {own}; choose another name, or remove it")
            self.objects = {(o["condition"], o["class"], o["index"]): o for o in past["objects"]}

    def add(self, o: dict) -> None:
        self.objects[o["condition"], o["class"], o["index"]] = o
        self.write()

    def write(self) -> None:
        if self.path is None:
            return
        everything = list(self.objects.values())
        names = [name for name in CONDITIONS if any(o["condition"] == name for o in everything)]
        rows = [summary(name, [o for o in everything if o["condition"] == name]) for name in names]
        content = {"script": "detector", "seed": self.seed, "photons": PHOTONS, "untwin": ut.__version__, "torch": torch.__version__}
        content |= {"machine": platform.machine(), "verdict": verdicts(everything), "rows": rows, "objects": everything}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(content, indent=1))
        os.replace(new, self.path)


def listed(parser: argparse.ArgumentParser, text: str, known: list[str], option: str, separator: str) -> list[str]:
    """The names in a text, all of them where it is empty; an unknown one ends the program."""
    names = [name.strip() for name in text.split(separator) if name.strip()] or known
    for name in names:
        if name not in known:
            parser.error(f"{option}: no {name!r}; known: {(separator + ' ').join(known)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=8, help="objects per class and condition")
    parser.add_argument("--quick", action="store_true", help="one object per class and condition")
    parser.add_argument("--json", type=Path, help="written after every object; what it holds already is not done again")
    parser.add_argument("--conditions", default="", help="such as 'none;coherence 0.3', by default all")
    parser.add_argument("--classes", default="", help="such as poly,complex, by default " + ",".join(KINDS))
    parser.add_argument("--workers", type=int, default=1, help="processes of a reconstruction; they change no bit")
    parser.add_argument("--verbose", action="store_true", help="a line for every object, on the standard error")
    parser.add_argument("--list", action="store_true", help="the conditions, as recipes of the detector")
    args = parser.parse_args()
    names = listed(parser, args.conditions, list(CONDITIONS), "--conditions", ";")
    kinds = listed(parser, args.classes, list(KINDS), "--classes", ",")
    if args.list:
        for name in names:
            condition = CONDITIONS[name]
            gap = "" if condition.gap is None else f", columns {condition.gap} to {condition.gap + GAP - 1} from the centre masked"
            print(f"{name}: {condition.detector!r}{gap}")
        return
    count = 1 if args.quick else args.count
    if count < 1:
        parser.error(f"--count {count}: expected 1 or more")
    record = Record(args.json, args.seed)
    keys = {name: [(name, kind, i) for kind in kinds for i in range(count)] for name in names}
    print(HEAD, flush=True)
    for name in names:
        for key in keys[name]:
            if key not in record.objects:
                record.add(one(key[1], name, args.seed, key[2], args.workers))
                if args.verbose:
                    o = record.objects[key]
                    print(f"{key}: E {o['error']:.3f}, floor {o['floor']:.3f}, {o['trusted']}, {o.get('cpu', 0):.1f} s", file=sys.stderr)
        print(line(summary(name, [record.objects[key] for key in keys[name]])), flush=True)
    print("\n" + verdicts([record.objects[key] for name in names for key in keys[name]]))


if __name__ == "__main__":
    main()
