"""What the plan of sparse objects was chosen by: the algorithm, the number of values, and how alike two starts end.

    python benchmarks/sparse_choices.py [algorithm values agreement count] [--seed 0] [--quick]

Cells of untwin.simulate.atoms. algorithm: iterations until a start is solved. values: the same with more or fewer values than 8 for each
atom. agreement: E between pairs of solved starts and to the truth, after what is done at their ends. count: what CountValues says of cells
whose number nobody told it. Writes benchmarks/results/sparse_choices.json. Iterations are counted in tens.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.processes import one_thread
from untwin.simulate.atoms import Cell, cell
from untwin.solve.projections import Projection
from untwin.solve.solved import power_share

RESULTS = Path(__file__).parent / "results" / "sparse_choices.json"
POWER, LOOK, SAME = 0.95, 10, 0.4
ALGORITHMS = ("RRR(beta=0.3)", "RRR(beta=0.5)", "RRR(beta=0.7)", "HPR(beta=0.4)", "HPR(beta=0.5)", "HPR(beta=0.6)", "HPR(beta=0.7)")
SHARES = (0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)
ENDS = ("50*ER", "500*ER", *(f"50*ER + {n}*Shifts(fractions={f}, steps=30)" for f, n in ((4, 2), (8, 1), (8, 2), (8, 4))))
PLAN = "HPR(beta=0.6)"  # the first steps of the automatic plan


def problem_of(sample: Cell, k: int | None) -> ut.Problem:
    return ut.Problem(sample.pattern, constraint=ut.constraints.Nonnegative() & ut.constraints.Sparse(k))


def error(problem: ut.Problem, images, sample: Cell):
    """E to the truth, for each."""
    import torch

    truth = torch.from_numpy(sample.density).to(torch.complex64)
    return problem.symmetry.align(images.to(torch.complex64), truth).error


def iterations(problem: ut.Problem, sample: Cell, method: str, seed: int, limit: int, by_truth: bool = False) -> int:
    """Until a start is solved, -1 where it is not. by_truth: where the constraint is another one, the truth says it."""
    algorithm = ut.parse(method)
    assert isinstance(algorithm, Projection)
    state, taken = ut.begin(problem, (seed,)), 0
    x = state.x
    while taken < limit:
        x, y, _ = problem.advance(x, state.support, algorithm.coefficients(), LOOK)
        taken += LOOK
        if by_truth and taken % (5 * LOOK):
            continue
        if by_truth or float(power_share(problem, state.replace(image=y))[0]) >= POWER:
            if float(error(problem, y, sample)[0]) < SAME:
                return taken
            if not by_truth:
                return -1
    return -1


def line(values: list[int]) -> str:
    good = [n for n in values if n >= 0]
    return f"{len(good)} of {len(values)}" + (f", {np.median(good):,.0f}, {np.mean(good):,.0f}" if good else "")


def algorithm(seed: int, quick: bool) -> dict:
    """method -> cell -> iterations."""
    cells = ((100, "medium"), (140, "medium"), (175, "easy"), (200, "easy"))[: 1 if quick else None]
    rows: dict = {}
    print("| solved, median, mean | " + " | ".join(f"{n} {g}" for n, g in cells) + " |\n|---|" + "---|" * len(cells))
    for method in ALGORITHMS:
        for atoms, grade in cells:
            sample = cell(atoms, grade, seed)
            problem = problem_of(sample, sample.support)
            runs = [iterations(problem, sample, method, 1000 + s, 60_000) for s in range(2 if quick else 20)]
            rows.setdefault(method, {})[f"{atoms} {grade}"] = runs
        print(f"| {method} | " + " | ".join(map(line, rows[method].values())) + " |", flush=True)
    return rows


def values(seed: int, quick: bool) -> dict:
    """cell -> share of 8 values for each atom -> iterations."""
    rows: dict = {}
    print("| solved, median, mean | " + " | ".join(f"{s:g}" for s in SHARES) + " |\n|---|" + "---|" * len(SHARES))
    for atoms, grade in ((100, "medium"), (140, "medium"), (175, "easy"))[: 1 if quick else None]:
        sample = cell(atoms, grade, seed)
        row = {}
        for share in SHARES:
            problem = problem_of(sample, round(share * sample.support))
            row[share] = [iterations(problem, sample, PLAN, 2000 + s, 10_000, by_truth=True) for s in range(2 if quick else 8)]
        rows[f"{atoms} {grade}"] = row
        print(f"| {atoms} {grade} | " + " | ".join(map(line, row.values())) + " |", flush=True)
    return rows


def agreement(seed: int, quick: bool) -> dict:
    """end -> cell -> share of pairs with E < 0.1, mean E between pairs, mean E to the truth."""
    import torch

    rows: dict = {}
    print("| at the end | cell | pairs with E < 0.1 | E between pairs | E to the truth |\n|---|---|---|---|---|")
    for atoms, grade in ((100, "easy"), (140, "medium"), (200, "easy"))[: 1 if quick else None]:
        sample, count = cell(atoms, grade, seed + 3), 2 if quick else 6
        problem = problem_of(sample, sample.support)
        first = ut.begin(problem, tuple(range(count)))
        for first in ut.iterate(problem, ut.parse(f"Until(Solved(), 100000*{PLAN})"), first, LOOK):  # noqa: B007, B020
            pass
        for end in ENDS:
            state = first.replace(at=0)
            for state in ut.iterate(problem, ut.parse(end), state, LOOK):  # noqa: B007, B020
                pass
            x = problem.project_object(state.image, state.support).to(torch.complex64)
            pairs = problem.symmetry.distances(x).numpy()[np.triu_indices(count, 1)]
            truth = float(error(problem, x, sample).mean())
            rows.setdefault(end, {})[f"{atoms} {grade}"] = [float((pairs < 0.1).mean()), float(pairs.mean()), truth]
            print(f"| {end} | {atoms} {grade} | {100 * (pairs < 0.1).mean():.0f} % | {pairs.mean():.3f} | {truth:.3f} |", flush=True)
    return rows


def count(seed: int, quick: bool) -> dict:
    """cell -> the number that CountValues says."""
    rows: dict = {}
    print("| cell | 8 for each atom | CountValues |\n|---|---|---|")
    for atoms, grade in ((60, "medium"), (100, "easy"), (100, "medium"), (140, "easy"), (140, "hard"))[: 1 if quick else None]:
        sample = cell(atoms, grade, seed + 5)
        solution = ut.reconstruct(problem_of(sample, None), effort=0.1, workers=1)
        rows[f"{atoms} {grade}"] = solution.numbers["values"]
        print(f"| {atoms} {grade} | {sample.support} | {solution.numbers['values']:.0f} |", flush=True)
    return rows


PARTS = {"algorithm": algorithm, "values": values, "agreement": agreement, "count": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name in options.parts:
        rows[name] = PARTS[name](options.seed, options.quick)
        if not options.quick:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    with one_thread():
        main()
