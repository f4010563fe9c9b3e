"""Does half the deviance after a refinement tell right from wrong? Four families of the automatic plan, all of them refined.

    python benchmarks/certificate.py --seed 9501 --count 4 --json benchmarks/results/certificate.json

64 x 64, 1e6 photons, behind stops where the families often differ. Every family is one result: E to the truth (as in recover.py), and half
its deviance over what is expected of the truth, before and after the refinement of reconstruct. The second table is what a plan makes of
each object: the best score (as it is), the least half deviance after the refinement, and that one only where it is below the limit,
trust.MAX_DEVIANCE_RATIO. Right, usable: E up to trust.SIMILAR_ERROR (1.5 times the floor where that is more).
An object that is in the JSON already is not made again.
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
from priors import floor_of
from untwin.judge import metrics, trust
from untwin.runs import auto
from untwin.runs.launch import launcher, one_thread
from untwin.runs.population import Population, objects
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES


def judged(problem: ut.Problem, results: Population, truth: torch.Tensor) -> dict[str, list]:
    """E and half deviance over the expected one, of each result; and E between them."""
    x, t = objects(problem, results), problem.counts
    f = problem.predict(x)
    half = metrics.log_likelihood(f, t.intensity, t.measured)
    expected = metrics.expected_half_deviance(f, t.measured) / t.measured.sum()
    between = problem.symmetry.distances(x).tolist() if len(x) > 1 else [[0.0]]
    return {"error": ut.align(x, truth, problem.ndim).error.tolist(), "half": (half / expected).tolist(), "between": between}


def one(kind: str, photons: float, stop: float, seed: int, index: int) -> dict:
    rng = np.random.default_rng((seed, index))
    pattern, truth = measure(CLASSES[kind]((64, 64), rng), photons, rng, stop)
    wanted, problem = torch.fft.ifftshift(torch.from_numpy(truth)), ut.Problem.of(pattern)
    plan, clock = auto.method("refine", problem).without(Reserve), time.process_time()
    plan = plan.with_stage(replace(plan.search, families=4))
    refine = plan.stage(Refine)
    assert refine is not None
    launch = launcher(problem, 1)
    results = plan.without(Refine).run(problem, 0, launch).results
    middle = time.process_time()
    refined = Population.of(problem, launch.map(problem, [(refine.recipe, results.state)])[0].state)
    found = {"class": kind, "photons": photons, "stop": stop, "seed": seed, "index": index, "floor": floor_of(problem, wanted)}
    found |= {"plain": judged(problem, results, wanted), "refined": judged(problem, refined, wanted)}
    return found | {"cpu": [middle - clock, time.process_time() - clock]}


def limit_of(o: dict) -> float:
    return max(trust.SIMILAR_ERROR, 1.5 * o["floor"])


def spread(values: np.ndarray) -> str:
    return f"{len(values)}: {np.median(values):.2f} ({values.min():.2f} to {values.max():.2f})" if len(values) else "0"


def families(rows: list[dict]) -> list[str]:
    lines = [
        "| class | photons, stop | right, plain | wrong, plain | right, refined | wrong, refined | refined, below the limit: n, largest E |"
    ]
    lines.append("|---" * 7 + "|")
    for kind, photons, stop in [*dict.fromkeys((o["class"], o["photons"], o["stop"]) for o in rows), ("all", 0, 0)]:
        own = [o for o in rows if kind == "all" or (o["class"], o["photons"], o["stop"]) == (kind, photons, stop)]
        cells = [kind, f"{photons:g}, {stop:g}" if photons else ""]
        for which in ("plain", "refined"):
            e = np.array([v / limit_of(o) for o in own for v in o[which]["error"]])
            half = np.array([v for o in own for v in o[which]["half"]])
            cells += [spread(half[e <= 1]), spread(half[e > 1])]
        sure = np.array(
            [e for o in own for e, half in zip(o["refined"]["error"], o["refined"]["half"]) if half <= trust.MAX_DEVIANCE_RATIO]
        )
        cells.append(f"{len(sure)}, {sure.max():.3f}" if len(sure) else "0")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def chosen(rows: list[dict]) -> list[str]:
    lines = [
        "| photons, stop | n | two families alike | usable: best score | usable: least half deviance | "
        "no two alike: n, best score, least | of these below the limit: n, usable | CPU s |"
    ]
    lines.append("|---" * 8 + "|")
    for photons, stop in [*dict.fromkeys((o["photons"], o["stop"]) for o in rows), (0, 0)]:
        own = [o for o in rows if not photons or (o["photons"], o["stop"]) == (photons, stop)]
        table = []
        for o in own:
            best = int(np.argmin(o["refined"]["half"]))
            apart = np.array(o["plain"]["between"]) + 9 * np.eye(len(o["plain"]["between"]))
            usable = (o["plain"]["error"][0] <= limit_of(o), o["refined"]["error"][best] <= limit_of(o))
            table.append((*usable, apart.min() < trust.SIMILAR_ERROR, o["refined"]["half"][best] <= trust.MAX_DEVIANCE_RATIO))
        t = np.array(table)
        apart = t[~t[:, 2]]
        sure = apart[apart[:, 3]]
        cells = [f"{photons:g}, {stop:g}" if photons else "all", str(len(own)), f"{t[:, 2].sum()}", f"{t[:, 0].sum()}", f"{t[:, 1].sum()}"]
        cells += [f"{len(apart)}, {apart[:, 0].sum()}, {apart[:, 1].sum()}", f"{len(sure)}, {sure[:, 1].sum()}"]
        cells.append("{:.1f}, {:.1f}".format(*np.mean([o["cpu"] for o in own], 0)))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=9501)
    parser.add_argument("--count", type=int, default=4, help="objects per class and condition")
    parser.add_argument("--classes", default="defect,complex,poly,real")
    parser.add_argument("--conditions", default="1e6,3;1e6,4;1e6,5", help="photons,radius of the stop; separated by ;")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    rows = json.loads(args.json.read_text())["objects"] if args.json and args.json.exists() else []
    known = {(o["class"], o["photons"], o["stop"], o["seed"], o["index"]) for o in rows}
    for i in range(args.count):
        for condition in args.conditions.split(";"):
            photons, stop = (float(v) for v in condition.split(","))
            for kind in args.classes.split(","):
                if (kind, photons, stop, args.seed, i) in known or time.monotonic() - began > 60 * args.budget:
                    continue
                with one_thread():
                    rows.append(one(kind, photons, stop, args.seed, i))
                o = rows[-1]
                pairs = ", ".join(
                    f"{a:.3f} {b:.2f} -> {c:.3f} {d:.2f}"
                    for a, b, c, d in zip(o["plain"]["error"], o["plain"]["half"], o["refined"]["error"], o["refined"]["half"])
                )
                print(f"{kind}, {condition}, {i}: {pairs}; {o['cpu'][1]:.1f} s", flush=True)
                if args.json:
                    head = {"script": "certificate", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                    args.json.write_text(json.dumps({**head, "objects": rows}))
    if rows:
        print("\n" + "\n".join([*families(rows), "", *chosen(rows)]))


if __name__ == "__main__":
    main()
