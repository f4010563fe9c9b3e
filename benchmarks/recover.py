"""Success rates of the automatic reconstruction on fresh simulated objects of four classes.

    python benchmarks/recover.py --seed 1 --count 50 --json benchmarks/results/recover.json

E is the error modulo sub-pixel shift, twin and global phase. Floor: E of error reduction started at the truth with the true support.
Success: E <= max(0.12, 1.5 floor). Usable: E <= max(0.25, that limit). Photons are the total on measured pixels. "one start" is the share of
single starts (before generations and finish) that succeed. Verdict: how many were trusted, how many of those are successes (right), how many
of the successes were trusted (found). CPU: seconds per problem of all processes, everything after import.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.launch import one_thread, run_here

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
    state = ut.State(x=x[None], image=x[None], support=inside, bounds=inside, seeds=(0,))
    state = run_here(problem, ut.parse("50*ER"), state).state
    return float(ut.align(problem.project_object(state.image, state.support), truth, truth.ndim).error[0])


def one(kind: str, positivity: bool, photons: float, stop: float, seed: tuple[int, ...], shape: tuple[int, ...], recipe: str | None) -> dict:
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


def table(rows: list[dict]) -> str:
    """Markdown."""
    head = "| class | photons | n | success (usable) | median E | floor | one start | trusted / right / found | CPU s |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        lines.append(
            f"| {r['class']} | {r['condition']} | {r['n']} | {r['success']:.2f} ({r['usable']:.2f}) | {r['median_error']:.3f} | {r['median_floor']:.3f} "
            f"| {r['one_start']:.2f} | {r['trusted']:.2f} / {r['right']:.2f} / {r['found']:.2f} | {r['cpu']:.1f} |"
        )
    return "\n".join(lines)


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
    rows = []
    for name, photons, stop in CONDITIONS:
        if args.conditions and name not in args.conditions.split(";"):
            continue
        for kind, positivity in ROWS:
            if kind not in args.classes.split(","):
                continue
            positivity = positivity and not args.no_positivity
            all_of = [one(kind, positivity, photons, stop, (args.seed, i), (64, 64), args.recipe) for i in range(count)]
            trusted = [o for o in all_of if o["trusted"]]
            good = [o for o in all_of if o["success"]]
            both = sum(o["success"] for o in trusted)
            rows.append(
                {
                    "class": kind + (", positivity" if positivity else ""),
                    "condition": name,
                    "n": count,
                    "success": float(np.mean([o["success"] for o in all_of])),
                    "usable": float(np.mean([o["usable"] for o in all_of])),
                    "median_error": float(np.median([o["error"] for o in all_of])),
                    "median_floor": float(np.median([o["floor"] for o in all_of])),
                    "one_start": float(np.mean([o["one_start"] for o in all_of])),
                    "trusted": len(trusted) / count,
                    "right": _share(both, len(trusted)),
                    "found": _share(both, len(good)),
                    "cpu": float(np.mean([o["cpu"] for o in all_of])),
                    "cpu_max": float(np.max([o["cpu"] for o in all_of])),
                    "objects": all_of,
                }
            )
            print(table(rows).splitlines()[0 if len(rows) == 1 else -1], flush=True)
            if len(rows) == 1:
                print("\n".join(table(rows).splitlines()[1:]), flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                told = {"seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.processor(), "rows": rows}
                args.json.write_text(json.dumps(told, indent=1))
    objects = [o for r in rows for o in r["objects"]]
    trusted = [o for o in objects if o["trusted"]]
    right, good = sum(o["success"] for o in trusted), sum(o["success"] for o in objects)
    doubted = [o for o in objects if o["trusted"] is False]
    print(
        f"\nverdict on {len(objects)} objects: {len(trusted)} trusted, of which {_share(right, len(trusted)):.3f} are successes; of {good} successes "
        f"{_share(right, good):.3f} were trusted; {len(doubted)} not trusted, of which {_share(sum(not o['success'] for o in doubted), len(doubted)):.3f} are failures; "
        f"{len(objects) - len(trusted) - len(doubted)} undecided"
    )


if __name__ == "__main__":
    main()
