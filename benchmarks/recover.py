"""Success rates of the automatic reconstruction on fresh simulated objects of four classes.

    python benchmarks/recover.py --seed 1 --count 50 --json benchmarks/results/recover.json

E is the error modulo sub-pixel shift, twin and global phase. Floor: E of error reduction started at the truth with the true
support. Success: E <= max(0.12, 1.5 floor). Usable: E <= max(0.25, that limit). Photons are the total on measured pixels.
"one start" is the share of single starts (before generations and finish) that come within the limit of a solution that is a
success. Verdict: how many were trusted, how many of those are successes (right), how many of the successes were trusted (found).
CPU: seconds per problem of all processes, everything after import.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.runs.launch import one_thread, run_here
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

CONDITIONS = [  # name, photons, radius of the stop
    ("1e6", 1e6, 0),
    ("1e6, stop 2", 1e6, 2),
    ("1e6, stop 3", 1e6, 3),
    ("1e5", 1e5, 0),
]
ROWS = [("poly", False), ("complex", False), ("real", True), ("defect", False)]


def floor_of(problem: ut.Problem, truth: torch.Tensor) -> float:
    """E of 50 error reductions from the truth with its own support."""
    x = truth.real if problem.real else truth
    inside = truth.abs()[None] > 1e-3 * truth.abs().max()
    state = ut.State.of(x[None], inside)
    state = run_here(problem, ut.parse("50*ER"), state).state
    return float(ut.align(problem.project_object(state.image, state.support), truth, truth.ndim).error[0])


def one(
    kind: str, positivity: bool, photons: float, stop: float, seed: tuple[int, ...], shape: tuple[int, ...], recipe: str | None
) -> dict:
    """Simulate, reconstruct and score one object."""
    rng = np.random.default_rng(seed)
    pattern, truth = measure(CLASSES[kind](shape, rng), photons, rng, stop)
    wanted = torch.fft.ifftshift(torch.from_numpy(truth))
    with one_thread():
        floor = floor_of(ut.Problem.of(pattern, positivity), wanted)
    solution = ut.reconstruct(pattern, recipe, positivity=positivity, seed=0)
    found = torch.fft.ifftshift(solution.image)
    error = float(ut.align(found[None], wanted, len(shape)).error[0])
    limit = max(0.12, 1.5 * floor)
    return {
        "error": error,
        "floor": floor,
        "success": error <= limit,
        "usable": error <= max(0.25, limit),
        "trusted": solution.verdict.trusted,
        "agreement": solution.numbers["agreement"],
        "one_start": float(np.mean([_start_succeeds(s.error, error, limit) for s in solution.starts])),
        "r_factor": solution.numbers["r_factor"],
        "cpu": solution.numbers["cpu_seconds"],
    }


def _start_succeeds(to_solution: float, solution: float, limit: float) -> bool:
    """A single start is known by its distance to the solution; it is a success if it lies within the limit of a solution that is one."""
    return solution <= limit and to_solution <= limit


HEAD = """| class | photons | n | success (usable) | median E | floor | one start | trusted / right / found | CPU s (max) |
|---|---|---|---|---|---|---|---|---|"""


def line(r: dict) -> str:
    """A row of the Markdown table."""
    cells = (
        r["class"],
        r["condition"],
        str(r["n"]),
        f"{r['success']:.2f} ({r['usable']:.2f})",
        f"{r['median_error']:.3f}",
        f"{r['median_floor']:.3f}",
        f"{r['one_start']:.2f}",
        f"{r['trusted']:.2f} / {r['right']:.2f} / {r['found']:.2f}",
        f"{r['cpu']:.1f} ({r['cpu_max']:.1f})",
    )
    return "| " + " | ".join(cells) + " |"


def summary(name: str, condition: str, objects: list[dict]) -> dict:
    """The figures of one row."""
    trusted = [o for o in objects if o["trusted"]]
    good = [o for o in objects if o["success"]]
    both = sum(o["success"] for o in trusted)
    return {
        "class": name,
        "condition": condition,
        "n": len(objects),
        "success": len(good) / len(objects),
        "usable": float(np.mean([o["usable"] for o in objects])),
        "median_error": float(np.median([o["error"] for o in objects])),
        "median_floor": float(np.median([o["floor"] for o in objects])),
        "one_start": float(np.mean([o["one_start"] for o in objects])),
        "trusted": len(trusted) / len(objects),
        "right": _share(both, len(trusted)),
        "found": _share(both, len(good)),
        "cpu": float(np.mean([o["cpu"] for o in objects])),
        "cpu_max": float(np.max([o["cpu"] for o in objects])),
        "objects": objects,
    }


def verdicts(objects: list[dict]) -> str:
    """How often the verdict was right, over everything."""
    trusted = [o for o in objects if o["trusted"]]
    doubted = [o for o in objects if o["trusted"] is False]
    right, good = sum(o["success"] for o in trusted), sum(o["success"] for o in objects)
    wrong = sum(not o["success"] for o in doubted)
    return (
        f"Verdict on {len(objects)} objects: {len(trusted)} trusted, of which {_share(right, len(trusted)):.3f} are successes; "
        f"of {good} successes {_share(right, good):.3f} were trusted; {len(doubted)} not trusted, of which "
        f"{_share(wrong, len(doubted)):.3f} are failures; {len(objects) - len(trusted) - len(doubted)} undecided."
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50, help="objects per row")
    parser.add_argument("--quick", action="store_true", help="4 objects per row")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--classes", default="poly,complex,real,defect")
    parser.add_argument("--conditions", default="", help="such as '1e6;1e5', by default all")
    parser.add_argument("--recipe", help="another recipe than the automatic plan")
    parser.add_argument("--no-positivity", action="store_true")
    args = parser.parse_args()
    count = 4 if args.quick else args.count
    rows: list[dict] = []
    print(HEAD)
    for condition, photons, stop in CONDITIONS:
        if args.conditions and condition not in args.conditions.split(";"):
            continue
        for kind, real in ROWS:
            if kind not in args.classes.split(","):
                continue
            positivity = real and not args.no_positivity
            objects = [one(kind, positivity, photons, stop, (args.seed, i), (64, 64), args.recipe) for i in range(count)]
            rows.append(summary(kind + (", positivity" if positivity else ""), condition, objects))
            print(line(rows[-1]), flush=True)
    everything = [o for r in rows for o in r["objects"]]
    print("\n" + verdicts(everything))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"script": "recover", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
        told |= {"machine": platform.machine(), "verdict": verdicts(everything), "rows": rows}
        args.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
