"""What a learned start is worth: the same search from random starts and from a trained network's, on objects that neither has seen, at
equal processor time, and what the network costs.

    python benchmarks/starts.py --model cdi-nn --recipe cdi-nn-64 [--objects 100] [--quick]

Success: the start that explains the counts best is within E < 0.2 of the truth after alignment.
Writes benchmarks/results/starts-NAME.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch

from untwin import fourier
from untwin.data.measurement import Pattern
from untwin.errors import InputError
from untwin.model.alignment import align
from untwin.model.inference import layout_for, predict
from untwin.model.networks import weights
from untwin.model.problem import Problem
from untwin.runs.launch import run_here
from untwin.runs.names import parse
from untwin.runs.population import Population, objects
from untwin.simulate.crystals import simulation
from untwin.simulate.dataset import Crystals
from untwin.solve.begin import begin

RESULTS = Path(__file__).parent / "results"
WRAP = "ShrinkWrap(threshold=Draw(0.12, 0.32), sigma=Ramp(2.0, 0.5))"
SEARCH = f"10*(20*HIO + {WRAP}) + 10*(20*RAAR + {WRAP}) + 30*ER"
SUCCESS = 0.2
STARTS = (1, 2, 4)
SEED = 900_001  # of no training and no validation


def tried(problem: Problem, truth: torch.Tensor, recipe: str, first: str, starts: int) -> tuple[list[float], list[float], float]:
    """E and half deviance of each start, and the processor seconds of all."""
    cpu = time.process_time()
    steps = parse(f"{first} + {recipe}" if first else recipe)
    ended = run_here(problem, steps, begin(problem, tuple(range(starts))))
    spent = time.process_time() - cpu
    found = Population.of(problem, ended.state)
    errors = align(objects(problem, found), truth, problem.ndim).error
    return errors.tolist(), found.deviance.tolist(), spent


def best(errors: list[float], deviances: list[float], k: int) -> float:
    """E of the one of the first k starts that explains the counts best."""
    return errors[int(np.argmin(deviances[:k]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cdi-nn")
    parser.add_argument("--recipe", default="cdi-nn-64")
    parser.add_argument("--size", help="pixels along each axis, such as 32,32,32; by default the recipe's")
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--search", default=SEARCH)
    parser.add_argument("--name", help="of the results, by default the recipe's")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    starts, count = (STARTS, options.objects) if not options.quick else (STARTS[:2], 2)
    model = weights.load(options.model)
    changes = {"shape": tuple(int(n) for n in options.size.split(","))} if options.size else {}
    data = Crystals(simulation(options.recipe, **changes), SEED, 10**6)
    names = {"random": "", "predicted": f"Predict({options.model!r}, every=1)"}
    cpu = dict.fromkeys(names, 0.0)
    outcome: dict[str, list[list[float]]] = {name: [] for name in names}
    alone, refused, i = [], 0, 0
    while len(alone) < count and i < 4 * count:
        pattern: Pattern = data.pattern(i)
        truth = fourier.cornered(data[i]["image"], pattern.ndim)
        i += 1
        try:
            layout_for(pattern, model)
        except InputError:
            refused += 1
            continue
        said = fourier.cornered(torch.from_numpy(next(predict([pattern], model)).image), pattern.ndim)
        alone.append(float(align(said.unsqueeze(0), truth, pattern.ndim).error))
        problem = Problem.of(pattern)
        for name, first in names.items():
            errors, deviances, spent = tried(problem, truth, options.search, first, max(starts))
            cpu[name] += spent
            outcome[name].append([best(errors, deviances, k) for k in starts])
    rows = []
    for name, table in outcome.items():
        for column, k in enumerate(starts):
            e = np.array([row[column] for row in table])
            rows.append(
                {"start": name, "starts": k, "success": float((e < SUCCESS).mean()), "median_error": float(np.median(e)),
                 "cpu_seconds": cpu[name] / len(table) * k / max(starts)}
            )  # fmt: skip
            row = rows[-1]
            print(f"{name:>10} x {k}: success {row['success']:.2f}, median E {row['median_error']:.3f}, {row['cpu_seconds']:.3f} s")
    print(f"prediction alone: median E {np.median(alone):.3f}; {refused} of {i} patterns refused by the network")
    if options.quick:
        print("a quick run writes nothing")
        return
    told = {
        "command": shlex.join(["python", "benchmarks/starts.py", *sys.argv[1:]]),
        "objects": len(alone),
        "refused": refused,
        "search": options.search,
    }
    told |= {"model": options.model, "recipe": options.recipe, "prediction_median_error": float(np.median(alone)), "rows": rows}
    (RESULTS / f"starts-{options.name or options.recipe.replace('/', '-')}.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
