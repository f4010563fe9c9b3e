"""Atoms in a periodic cell (untwin.simulate.atoms): is every start solved, after how many iterations, and how fast?

    python benchmarks/sparse_atoms.py [--program PATH] [--atoms 100 140] [--grades easy hard] [--methods "HPR(beta=0.5)"] [--quick]

Per number of atoms and grade one cell and `--starts` random starts of each method, the automatic plan's search ("untwin": HPR, then RRR)
and the published RRR(beta=0.5) as untwin has it, with the data first; each until the constraint keeps 0.95 of the power of its estimate,
which is the published criterion, or for `--limit` iterations. One that has come to another object than the truth (E of 0.4 or more) is
not solved.
PATH: a program that takes what the authors' RRR takes, DATAFILE SUPPORT POWER BETA LIMIT TRIALS RESULTFILE, and writes its iterations as
that one does; it is run on the same counts. Writes benchmarks/results/sparse_atoms.json after every start and goes on from what is there;
--table prints it. Times are of the CPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.processes import one_thread
from untwin.simulate.atoms import CONTRAST, Cell, cell
from untwin.solve.projections import Projection
from untwin.solve.solved import power_share

RESULTS = Path(__file__).parent / "results" / "sparse_atoms.json"
ATOMS = (100, 140, 175, 200, 225)
POWER, BETA = 0.95, 0.5  # as published
PLAN = ((10_000, "HPR(beta=0.6)"), (None, "RRR(beta=0.5)"))  # of the automatic plan: so many iterations at most, then the next
METHODS = ("untwin", "RRR(beta=0.5)")
LOOK = 10  # iterations from one look to the next
SAME = 0.4  # E below which an estimate is that of the truth, right when it is found (0.2); others have 0.7
# log10 of the iterations per solution: table of arXiv 1706.00399, easy, medium, hard
PUBLISHED = {
    100: (1.87, 2.15, 3.01),
    140: (2.37, 3.00, 3.93),
    175: (3.23, 3.55, 5.20),
    200: (3.42, 4.57, 5.48),
    225: (3.47, 5.12, 6.92),
}


def solved(problem: ut.Problem, sample: Cell, method: str, seed: int, limit: int) -> tuple[int, float, float, int]:
    """Iterations of one start until it is solved (-1: it is not), E to the truth, CPU seconds, iterations that they paid for."""
    import torch

    schedule = [(most, ut.parse(text)) for most, text in (PLAN if method == "untwin" else ((None, method),))]
    state = ut.begin(problem, (seed,))
    problem.advance(state.x, state.support, ut.algorithms.RRR().coefficients(), LOOK)  # machine code is compiled once
    began, taken, x, share = time.process_time(), 0, state.x, 0.0
    while share < POWER and taken < limit:
        algorithm = next(a for most, a in schedule if most is None or taken < most)
        assert isinstance(algorithm, Projection)
        x, y, _ = problem.advance(x, state.support, algorithm.coefficients(), LOOK)
        state, taken = state.replace(image=y), taken + LOOK
        share = float(power_share(problem, state)[0])
    seconds = time.process_time() - began
    truth = torch.from_numpy(sample.density).to(torch.complex64)
    error = float(problem.symmetry.align(state.image.to(torch.complex64), truth).error[0])
    return (taken if share >= POWER and error < SAME else -1), error, seconds, taken


def run_untwin(sample: Cell, method: str, row: dict, starts: int, limit: int, save) -> None:
    problem = ut.Problem(sample.pattern, constraint=ut.constraints.Nonnegative() & ut.constraints.Sparse(sample.support))
    mine = row.setdefault(method, {"iterations": [], "errors": [], "seconds": [], "taken": []})
    while len(mine["iterations"]) < starts:
        values = solved(problem, sample, method, len(mine["iterations"]), limit)
        for name, value in zip(("iterations", "errors", "seconds", "taken"), values):
            mine[name].append(round(value, 4))
        save()


def run_program(program: str, sample: Cell, row: dict, starts: int, limit: int, save) -> None:
    if "program" in row:
        return
    with tempfile.TemporaryDirectory() as folder:
        sample.write(Path(folder) / "data")
        call = [str(Path(program).resolve()), "data", sample.support, POWER, BETA, limit, starts, "result"]
        subprocess.run([str(c) for c in call], cwd=folder, check=True)
        text = (Path(folder) / "result").read_text()
    lines = [line.split() for line in text.splitlines()]
    iterations = [int(words[1]) for words in lines if len(words) == 2 and words[0].isdigit()]
    speed = next(float(words[-1]) for words in lines if words[:3] == ["iterations", "per", "sec:"])
    row["program"] = {"iterations": iterations, "per_second": round(speed)}
    save()


def summary(values: dict | None) -> str:
    """Solved of starts, median and mean of the iterations."""
    if values is None:
        return ""
    good = [n for n in values["iterations"] if n >= 0]
    return f"{len(good)} of {len(values['iterations'])}" + (f", {np.median(good):,.0f}, {np.mean(good):,.0f}" if good else "")


def speed(values: dict | None) -> str:
    """Iterations per second."""
    if values is None:
        return ""
    return f"{values['per_second'] if 'per_second' in values else sum(values['taken']) / max(sum(values['seconds']), 1e-9):,.0f}"


def table(rows: dict) -> None:
    names = list(dict.fromkeys([*METHODS, "program", *(m for row in rows.values() for m in row)]))
    print("| N, grade | published mean | " + " | ".join(f"{m}: solved, median, mean" for m in names) + " | per second: untwin | program |")
    print("|---" * (4 + len(names)) + "|")
    for name, row in rows.items():
        atoms, grade = name.split()
        published = 10 ** PUBLISHED[int(atoms)][list(CONTRAST).index(grade)] if int(atoms) in PUBLISHED else float("nan")
        cells = [name, f"{published:,.0f}", *(summary(row.get(m)) for m in names), speed(row.get("untwin")), speed(row.get("program"))]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=ATOMS)
    parser.add_argument("--grades", nargs="+", default=("easy", "medium"))
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--limit", type=int, default=1_500_000)
    parser.add_argument("--program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = json.loads(options.json.read_text()) if options.json.exists() else {}
    if options.table:
        return table(rows)
    if options.quick:
        options.atoms, options.starts, options.json = (100,), 2, Path(tempfile.mkdtemp()) / "sparse_atoms.json"

    def save() -> None:
        options.json.write_text(json.dumps(rows, indent=1))

    for atoms in options.atoms:
        for grade in options.grades:
            sample = cell(atoms, grade, options.seed)
            row = rows.setdefault(f"{atoms} {grade}", {})
            for method in options.methods:
                run_untwin(sample, method, row, options.starts, options.limit, save)
            if options.program:
                run_program(options.program, sample, row, options.starts, options.limit, save)
    return table(rows)


if __name__ == "__main__":
    with one_thread():
        main()
