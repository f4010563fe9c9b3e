"""The double-DIP question: untrained priors against, after and before the classical recipe, on fresh simulated objects.

    python benchmarks/priors.py --seed 31 --count 20 --methods refine --json benchmarks/results/priors.json
    python benchmarks/priors.py --seed 31 --count 20 --methods double-dip,siren,drp --json benchmarks/results/priors.json

auto: the automatic plan. refine: a double deep prior that starts from the result of each family (--method refine); the plan before it is
that of the line auto, so that both are paired. double-dip, siren, drp: --method of that name; "alone" is the image of its first start
before the polish, without a support. E, floor, success and usable as in recover.py.
CPU: seconds for each object, the plan before included.
An object that is in the JSON already is not made again; --budget ends the script after so many minutes with what is complete.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve import auto
from untwin.solve.begin import begin
from untwin.solve.ensemble import Population, breed
from untwin.solve.launch import launcher, one_thread, run_here
from untwin.solve.recipe import Then, length, parse
from untwin.solve.reconstruct import _judged

CONDITIONS = {"1e6": (1e6, 0), "1e6, stop 2": (1e6, 2), "1e6, stop 3": (1e6, 3), "1e5": (1e5, 0), "2e4": (2e4, 0), "1e4": (1e4, 0)}


def floor_of(problem: ut.Problem, truth: torch.Tensor) -> float:
    """E of 50 error reductions from the truth with its own support."""
    inside = truth.abs()[None] > 1e-3 * truth.abs().max()
    state = ut.State(x=truth[None], image=truth[None], support=inside, bounds=inside, seeds=(0,))
    state = run_here(problem, parse("50*ER"), state).state
    return float(ut.align(problem.project_object(state.image, state.support), truth, truth.ndim).error[0])


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(ut.align(image[None], truth, truth.ndim).error[0])


def refined(problem: ut.Problem, truth: torch.Tensor) -> dict[str, dict]:
    """auto, and refine from the very same results."""
    plan = auto.plan(problem)
    clock = time.process_time()
    launch = launcher(problem, 1)
    outcome = breed(problem, plan, 0, launch)
    plain = _judged(problem, plan, outcome, 0, (time.perf_counter(), clock))
    middle = time.process_time()
    again = auto.method("refine", problem)
    assert again.refine is not None
    results = Population.of(problem, launch.map(problem, [(again.refine, outcome.results.state)])[0].state)
    better = _judged(problem, again, replace(outcome, results=results, candidates=results), 0, (time.perf_counter(), clock))
    told = {}
    for name, s, cpu in (("auto", plain, middle - clock), ("refine", better, time.process_time() - clock)):
        own = {"error": error(torch.fft.ifftshift(s.image), truth), "trusted": s.verdict.trusted, "cpu": cpu}
        told[name] = own | {"half_deviance": s.numbers["log_likelihood"], "r_factor": s.numbers["r_factor"]}
    return told


def scratch(problem: ut.Problem, name: str, truth: torch.Tensor) -> dict[str, dict]:
    """A prior from random numbers: its first start alone, and the whole method."""
    plan = auto.method(name, problem)
    clock = time.process_time()
    assert isinstance(plan.first, Then)
    with one_thread():
        state = run_here(problem, plan.first.parts[0], begin(problem, (0,))).state
    alone = {
        "error": error(problem.project_object(state.image, state.support)[0], truth),
        "trusted": None,
        "cpu": time.process_time() - clock,
    }
    alone |= {"steps": state.step, "of": length(plan.first.parts[0])}
    clock = time.process_time()
    s = ut.reconstruct(problem, plan, seed=0, workers=1)
    whole = {"error": error(torch.fft.ifftshift(s.image), truth), "trusted": s.verdict.trusted, "cpu": time.process_time() - clock}
    return {f"{name} alone": alone, f"{name}, then classical": whole}


def told(objects: list[dict]) -> list[str]:
    """A line for each class, condition and method."""
    lines = [
        "| class | photons | method | n | success (usable) | median E | floor | E minus that of auto, median (worst) | trusted | CPU s |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for kind, condition in dict.fromkeys((o["class"], o["condition"]) for o in objects):
        mine = [o for o in objects if (o["class"], o["condition"]) == (kind, condition)]
        for name in dict.fromkeys(m for o in mine for m in o["methods"]):
            own = [(o, o["methods"][name]) for o in mine if name in o["methods"]]
            e, floor = np.array([m["error"] for _, m in own]), np.array([o["floor"] for o, _ in own])
            limit = np.maximum(0.12, 1.5 * floor)
            paired = np.array([m["error"] - o["methods"]["auto"]["error"] for o, m in own if "auto" in o["methods"]])
            cells = (
                kind,
                condition,
                name,
                str(len(own)),
                f"{np.mean(e <= limit):.2f} ({np.mean(e <= np.maximum(0.25, limit)):.2f})",
                f"{np.median(e):.3f}",
                f"{np.median(floor):.3f}",
                f"{np.median(paired):+.3f} ({paired.max():+.3f})" if len(paired) and name != "auto" else "",
                f"{np.mean([m['trusted'] is True for _, m in own]):.2f}",
                f"{np.mean([m['cpu'] for _, m in own]):.1f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--count", type=int, default=20, help="objects per class and condition")
    parser.add_argument("--classes", default="defect,complex,poly,real")
    parser.add_argument("--conditions", default="1e5;1e6;1e6, stop 3;2e4", help="separated by ;")
    parser.add_argument("--methods", default="refine,double-dip,siren")
    parser.add_argument("--shape", default="64,64")
    parser.add_argument("--quick", action="store_true", help="one defect at 1e5 photons, refine only")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.count, args.classes, args.conditions, args.methods = 1, "defect", "1e5", "refine"
    began = time.monotonic()
    shape = tuple(int(n) for n in args.shape.split(","))
    kept = json.loads(args.json.read_text())["objects"] if args.json and args.json.exists() else []
    objects = {(o["class"], o["condition"], o["seed"], o["index"], tuple(o["shape"])): o for o in kept}
    for i in range(args.count):
        for condition in args.conditions.split(";"):
            for kind in args.classes.split(","):
                for name in args.methods.split(","):
                    key = (kind, condition, args.seed, i, shape)
                    own = objects.get(key)
                    done = own is not None and any(m == name or m.startswith(f"{name} ") for m in own["methods"])
                    if done or time.monotonic() - began > 60 * args.budget:
                        continue
                    photons, stop = CONDITIONS[condition]
                    rng = np.random.default_rng((args.seed, i))
                    pattern, truth = measure(CLASSES[kind](shape, rng), photons, rng, stop)
                    wanted = torch.fft.ifftshift(torch.from_numpy(truth))
                    problem = ut.Problem.of(pattern)
                    if own is None:
                        with one_thread():
                            own = {"class": kind, "condition": condition, "seed": args.seed, "index": i, "shape": list(shape)}
                            own |= {"floor": floor_of(problem, wanted), "methods": {}}
                    with one_thread():
                        own["methods"] |= refined(problem, wanted) if name == "refine" else scratch(problem, name, wanted)
                    objects[key] = own
                    said = ", ".join(f"{m} {v['error']:.3f} ({v['cpu']:.1f} s)" for m, v in own["methods"].items())
                    print(f"{kind}, {condition}, {i}: floor {own['floor']:.3f}, {said}", flush=True)
                    if args.json:
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        head = {"script": "priors", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                        head |= {"plans": {m: repr(auto.method(m, problem)) for m in auto.METHODS}}
                        args.json.write_text(json.dumps({**head, "objects": list(objects.values())}))
    print("\n" + "\n".join(told(list(objects.values()))))


if __name__ == "__main__":
    main()
