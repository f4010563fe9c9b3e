"""Where the stopping rules end, over images x noises x levels, and what the priors cost until then.

    python benchmarks/stopping.py --seed 3 --size 64 --images astronaut,camera,coffee,chelsea --priors drp --steps 400
    python benchmarks/stopping.py --seed 3 --size 64 --images astronaut,camera,coffee,chelsea --priors dip --noises gaussian --steps 900
    (both with --json benchmarks/results/stopping_fresh.json)

Each run is one trajectory of one prior on one noisy picture with 5 % of its pixels hidden from the fit (for HeldOut). Every statistic
follows it, and each rule, which is a statistic with a patience and a tolerance, ends where it would have ended it. Discrepancy looks at the
pixels that the fit sees, at Gaussian noise only, whose sigma it is given, or estimates. The run goes on until all rules but those with the
published window or patience have stopped, or to --steps. Gap: dB between the image that a rule returns and the best image of that kind in
the run ("raw" an output of the network, "mean" the moving mean of the outputs). PSNR is against the clean
picture, on all pixels. Noise is clipped to [0, 1]. Images: those of scikit-image that are CC0 or in the public domain.
A run that is in the JSON already is not made again; --budget ends the script after so many minutes with what is complete.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.processes import one_thread

IMAGES = ("astronaut", "camera", "coffee", "chelsea", "brick", "cell", "retina")
NOISES = {  # name: (levels low and high, loss)
    "gaussian": ((0.12, 0.26), ut.losses.Squared()),
    "impulse": ((0.30, 0.70), ut.losses.Absolute()),
    "shot": ((25.0, 5.0), ut.losses.Poisson(0.01)),
    "speckle": ((0.20, 0.45), ut.losses.Squared()),
}
FITS = {
    "dip": ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(width=32)), average=0.99),
    "dip without jitter": ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(width=32), jitter=0.0), average=0.9),
    "drp": ut.algorithms.Fit(ut.priors.Projector(), regularizer=ut.losses.TV(0.45), root=True, average=0.9),
}
SEARCHED = {  # the deep random projector, one setting changed
    "drp TV 0.2": ut.algorithms.Fit(ut.priors.Projector(), regularizer=ut.losses.TV(0.2), root=True, average=0.9),
    "drp TV 0.8": ut.algorithms.Fit(ut.priors.Projector(), regularizer=ut.losses.TV(0.8), root=True, average=0.9),
    "drp rate 0.03": ut.algorithms.Fit(ut.priors.Projector(rate=0.03), regularizer=ut.losses.TV(0.45), root=True, average=0.9),
    "drp average 0.97": ut.algorithms.Fit(ut.priors.Projector(), regularizer=ut.losses.TV(0.45), root=True, average=0.97),
    "drp width 32": ut.algorithms.Fit(
        ut.priors.Projector(ut.priors.Skip(depth=1, width=32, inputs=3)), regularizer=ut.losses.TV(0.45), root=True, average=0.9
    ),
    "drp depth 2": ut.algorithms.Fit(
        ut.priors.Projector(ut.priors.Skip(depth=2, width=64, inputs=3)), regularizer=ut.losses.TV(0.45), root=True, average=0.9
    ),
    "drp isotropic": ut.algorithms.Fit(ut.priors.Projector(), regularizer=ut.losses.IsotropicTV(0.6), root=True, average=0.9),
}
STATISTICS = {
    "WMV, W = 20": ut.rules.WMV(window=20),
    "WMV, W = 50": ut.rules.WMV(window=50),
    "WMV, W = 100": ut.rules.WMV(window=100),
    "EMV": ut.rules.EMV(burn_in=0),
    "EMV, α = 0.1": ut.rules.EMV(alpha=0.1, burn_in=0),
    "HeldOut": ut.rules.HeldOut(),
}
RULES: dict[str, tuple[str, int, float, int]] = {  # statistic, patience, tolerance, burn-in
    "WMV, W = 20": ("WMV, W = 20", 100, 0.02, 20),
    "WMV, W = 20, patience 50": ("WMV, W = 20", 50, 0.02, 20),
    "WMV, W = 20, patience 200": ("WMV, W = 20", 200, 0.02, 20),
    "WMV, W = 50": ("WMV, W = 50", 100, 0.02, 20),
    "WMV, W = 100, patience 200": ("WMV, W = 100", 200, 0.02, 0),
    "EMV": ("EMV", 100, 0.02, 20),
    "EMV, patience 50": ("EMV", 50, 0.02, 20),
    "EMV, α = 0.1": ("EMV, α = 0.1", 100, 0.02, 20),
    "EMV, α = 0.1, patience 200": ("EMV, α = 0.1", 200, 0.02, 20),
    "HeldOut": ("HeldOut", 100, 1e-3, 0),
    "HeldOut, patience 200": ("HeldOut", 200, 1e-3, 0),
    "WMV, published": ("WMV, W = 100", 1000, 0.0, 0),
    "EMV, published": ("EMV, α = 0.1", 1000, 0.0, 100),
}


def clean(name: str, size: int) -> torch.Tensor:
    """(channels, size, size), 0 to 1: the middle square of the image, averaged to about twice the size and brought to it."""
    from skimage import data, transform

    image = np.asarray(getattr(data, name)(), dtype=np.float64)
    image = image / 255 if image.max() > 1 else image
    image = image if image.ndim == 3 else image[..., None]
    n = min(image.shape[:2])
    top, left = (image.shape[0] - n) // 2, (image.shape[1] - n) // 2
    small = transform.resize(image[top : top + n, left : left + n], (size, size), anti_aliasing=True)
    return torch.from_numpy(np.moveaxis(small, -1, 0).copy()).float()


def noisy(x: torch.Tensor, noise: str, level: float, rng: np.random.Generator) -> torch.Tensor:
    """Clipped to [0, 1]."""
    a = x.numpy().astype(np.float64)
    if noise == "gaussian":
        y = a + level * rng.normal(size=a.shape)
    elif noise == "impulse":
        y = np.where(rng.random(a.shape) < level, rng.integers(0, 2, a.shape), a)
    elif noise == "shot":
        y = rng.poisson(a * level) / level
    else:
        y = a + a * level * rng.normal(size=a.shape)
    return torch.from_numpy(np.clip(y, 0, 1)).float()


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float((x - truth).square().mean()))


def walked(values: list[float], patience: int, tolerance: float, burn_in: int) -> tuple[int, int | None]:
    """Where a rule with this statistic keeps its image, and where it stops (None: not yet), counted from step 1."""
    best, at, since = math.inf, len(values), 0
    for k, value in enumerate(values, 1):
        if k > burn_in and value < best * (1 - tolerance):
            best, at, since = value, k, 0
        elif math.isfinite(best):
            since += 1
            if since >= patience:
                return at, k
    return at, None


def trajectory(
    truth: torch.Tensor, y: torch.Tensor, loss: ut.losses.Loss, fit: ut.algorithms.Fit, seed: int, steps: int, sigma: float | None = None
) -> dict:
    """One run with every statistic looking on. sigma: of Gaussian noise, which Discrepancy is given, and which it estimates."""
    problem = ut.Picture(y, loss=loss)
    given = STATISTICS["HeldOut"].problem_for_steps(problem)
    zero = torch.zeros(1, *problem.shape)
    begun = ut.State.of(zero, seeds=(seed,))
    statistics: dict[str, ut.rules.Rule] = {**STATISTICS}
    if sigma is not None:
        statistics |= {"Discrepancy, σ given": ut.rules.Discrepancy(sigma), "Discrepancy, σ estimated": ut.rules.Discrepancy()}
    watches = {name: rule.begin(problem, begun).rule_state for name, rule in statistics.items()}
    values: dict[str, list[float]] = {name: [] for name in statistics}
    looking = dict.fromkeys(statistics, 0.0)
    raw, mean, fitting, decisive = [], [], 0.0, [rule for rule in RULES.values() if rule[0] != "WMV, W = 100" and rule[1] < 1000]
    clock = time.process_time()
    for state in ut.iterate(given, steps * fit, begun):
        fitting += time.process_time() - clock
        raw.append(psnr(state.x[0], truth))
        mean.append(psnr(state.image[0], truth))
        for name, rule in statistics.items():
            clock = time.process_time()
            seen = given if isinstance(rule, ut.rules.Discrepancy) else problem
            watches[name] = rule.observe(seen, state.replace(rule_state=watches[name])).rule_state
            looking[name] += time.process_time() - clock
            values[name].append(float(watches[name].value[0]))
        if state.step % 20 == 0 and all(walked(values[s], p, t, b)[1] for s, p, t, b in decisive):
            break
        clock = time.process_time()
    n = len(raw)
    ended = {}
    for name, (statistic, patience, tolerance, burn_in) in RULES.items():
        at, stop = walked(values[statistic], patience, tolerance, burn_in)
        cpu = (fitting + looking[statistic]) / n * (stop or n)
        ended[name] = {"raw": raw[at - 1], "image": mean[at - 1], "best_at": at, "stopped_at": stop, "cpu": cpu}
    for name in statistics.keys() - STATISTICS.keys():
        stop = next((k for k, value in enumerate(values[name], 1) if value <= ut.rules.Discrepancy().tau), None)
        cpu = (fitting + looking[name]) / n * (stop or n)
        ended[name] = {"raw": raw[(stop or n) - 1], "image": mean[(stop or n) - 1], "best_at": stop or n, "stopped_at": stop, "cpu": cpu}
        ended[name]["sigma"] = problem.noise(None)["sigma"]
    return {
        "steps": n,
        "cpu_step": fitting / n,
        "cpu_look": {name: t / n for name, t in looking.items()},
        "noisy": psnr(y, truth),
        "best_raw": max(raw),
        "best_raw_at": 1 + int(np.argmax(raw)),
        "best_mean": max(mean),
        "best_mean_at": 1 + int(np.argmax(mean)),
        "rules": ended,
        "raw": [round(v, 2) for v in raw[::10]],
        "mean": [round(v, 2) for v in mean[::10]],
    }


def told(runs: list[dict]) -> list[str]:
    """The table, one line for each prior and rule."""
    lines = [
        "| prior | pixels | rule | runs | gap of the mean output: mean, worst | gap of the raw output: mean, worst | over best raw frame | "
        "stopped at (not at all) | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for prior, size in dict.fromkeys((r["prior"], r["size"]) for r in runs):
        same = [r for r in runs if (r["prior"], r["size"]) == (prior, size)]
        for name in (*RULES, "Discrepancy, σ given", "Discrepancy, σ estimated"):
            mine = [r for r in same if name in r["rules"]]
            if not mine:
                continue
            own = [r["rules"][name] for r in mine]
            image = [r["best_mean"] - o["image"] for r, o in zip(mine, own)]
            frame = [r["best_raw"] - o["raw"] for r, o in zip(mine, own)]
            over = [o["image"] - r["best_raw"] for r, o in zip(mine, own)]
            never = sum(o["stopped_at"] is None for o in own)
            cells = (
                prior,
                str(size),
                name,
                str(len(mine)),
                f"{np.mean(image):.2f}, {np.max(image):.2f}",
                f"{np.mean(frame):.2f}, {np.max(frame):.2f}",
                f"{np.mean(over):+.2f}",
                f"{np.median([o['stopped_at'] or r['steps'] for r, o in zip(mine, own)]):.0f} ({never})",
                f"{np.mean([o['cpu'] for o in own]):.1f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def compared(
    runs: list[dict], ours: str = "drp", stop: str = "EMV, patience 50", theirs: str = "dip", their_stop: str = "HeldOut"
) -> list[str]:
    """The projector against deep image prior on the same noisy picture, each to its own stop."""
    lines = [
        f"| image | pixels | noise | {ours}, {stop}: dB | {theirs}, {their_stop}: dB | difference | CPU s | CPU s | times |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    where = ("image", "size", "noise", "level", "seed")
    other = {tuple(r[k] for k in where): r for r in runs if r["prior"] == theirs}
    both = [(r, other[k]) for r in runs if r["prior"] == ours and stop in r["rules"] and (k := tuple(r[k] for k in where)) in other]
    rows = []
    for r, o in both:
        a, b = r["rules"][stop], o["rules"][their_stop]
        rows.append((a["image"], b["image"], a["image"] - b["image"], a["cpu"], b["cpu"], b["cpu"] / a["cpu"]))
        lines.append(f"| {r['image']} | {r['size']} | {r['noise']} {r['level']:g} | " + _dB(rows[-1]))
    return [*lines, "| mean |  |  | " + _dB(tuple(np.mean(rows, axis=0)))] if rows else []


def frontier(runs: list[dict]) -> list[str]:
    """What the projector loses and gains against the deep image prior with HeldOut, by size and stop, in the mean of the pictures."""
    lines = ["| pixels | the projector's stop | runs | difference, dB: mean, worst | times cheaper, mean |", "|---|---|---|---|---|"]
    where = ("image", "size", "noise", "level", "seed")
    other = {tuple(r[k] for k in where): r["rules"]["HeldOut"] for r in runs if r["prior"] == "dip"}
    for size in sorted({r["size"] for r in runs}):
        for stop in ("Discrepancy, σ given", "Discrepancy, σ estimated", "EMV, patience 50", "HeldOut"):
            own = [
                r for r in runs if (r["prior"], r["size"]) == ("drp", size) and stop in r["rules"] and tuple(r[k] for k in where) in other
            ]
            pairs = [(r["rules"][stop], other[tuple(r[k] for k in where)]) for r in own]
            if pairs:
                by = [a["image"] - b["image"] for a, b in pairs]
                times = np.mean([b["cpu"] for _, b in pairs]) / np.mean([a["cpu"] for a, _ in pairs])
                lines.append(f"| {size} | {stop} | {len(pairs)} | {np.mean(by):+.2f}, {min(by):+.2f} | {times:.1f} |")
    return lines


def _dB(row: tuple[float, ...]) -> str:
    a, b, by, cpu, other, ratio = row
    return f"{a:.2f} | {b:.2f} | {by:+.2f} | {cpu:.1f} | {other:.1f} | {ratio:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--noises", default=",".join(NOISES))
    parser.add_argument("--priors", default=",".join(FITS))
    parser.add_argument("--quick", action="store_true", help="one image at 64 pixels, 60 steps")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--frontier", type=Path, nargs="+", help="compute nothing: the two priors against each other, from these JSON files"
    )
    args = parser.parse_args()
    if args.frontier:
        print("\n".join(frontier([r for path in args.frontier for r in json.loads(path.read_text())["runs"]])))
        return
    if args.quick:
        args.images, args.size, args.steps = "astronaut", 64, 60
    began = time.monotonic()
    kept = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    runs = {(r["image"], r["noise"], r["level"], r["prior"], r["size"], r["seed"]): r for r in kept}
    for prior in args.priors.split(","):
        for image in args.images.split(","):
            for noise in args.noises.split(","):
                for level in NOISES[noise][0]:
                    key = (image, noise, level, prior, args.size, args.seed)
                    if key in runs or time.monotonic() - began > 60 * args.budget:
                        continue
                    truth = clean(image, args.size)
                    rng = np.random.default_rng([args.seed, IMAGES.index(image), list(NOISES).index(noise), round(100 * level)])
                    y = noisy(truth, noise, level, rng)
                    with one_thread():
                        sigma = level if noise == "gaussian" else None
                        run = trajectory(truth, y, NOISES[noise][1], (FITS | SEARCHED)[prior], args.seed, args.steps, sigma)
                    runs[key] = dict(zip(("image", "noise", "level", "prior", "size", "seed"), key)) | run
                    own = ", ".join(
                        f"{k} {v['image']:.2f} at {v['best_at']}/{v['stopped_at']}"
                        for k, v in run["rules"].items()
                        if k in ("WMV, W = 20", "EMV", "HeldOut")
                    )
                    print(f"{key}: best {run['best_raw']:.2f} raw, {run['best_mean']:.2f} mean; {own}", flush=True)
                    if args.json:
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        head = {"script": "stopping", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                        args.json.write_text(json.dumps({**head, "rules": RULES, "runs": list(runs.values())}))
    print("\n" + "\n".join([*told(list(runs.values())), "", *compared(list(runs.values()))]))


if __name__ == "__main__":
    main()
