"""Does the command that untwin advises help? Simulated patterns whose result is not trusted, and the same after the advised work.

    python benchmarks/next_step.py --seed 52000 --count 40 --json benchmarks/results/next_step.json

Objects of four classes, 64 x 64, with 3e4 to 1e6 photons and stops of up to 3 pixels. Every result that is not trusted and whose advice is
more effort is made again with it. right: error to the truth below 0.1, modulo shift, twin and phase. The table counts what became of them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.runs.launch import one_thread
from untwin.show.advice import advice
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

PHOTONS, STOPS = (3e4, 1e5, 1e6), (0, 2, 3)


def error(solution: ut.results.Reconstruction, truth: torch.Tensor) -> float:
    return float(ut.align(solution.image[None], truth, 2).error)


def words(solution: ut.results.Reconstruction, truth: torch.Tensor) -> str:
    right = "right" if error(solution, truth) < 0.1 else "wrong"
    return {True: "TRUST", False: "DO NOT TRUST", None: "CANNOT SAY"}[solution.verdict.trusted] + f", {right}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=52000)
    parser.add_argument("--count", type=int, default=40, help="objects")
    parser.add_argument("--quick", action="store_true", help="four objects")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    first, after, kinds = Counter(), Counter(), list(CLASSES)
    count = 4 if a.quick else a.count
    for i in range(count):
        rng = np.random.default_rng(a.seed + i)
        kind, photons, stop = kinds[i % len(kinds)], PHOTONS[i % len(PHOTONS)], STOPS[(i // 3) % len(STOPS)]
        pattern, truth = measure(CLASSES[kind]((64, 64), rng), photons, rng, stop)
        truth = torch.as_tensor(truth)
        with one_thread():
            solution = ut.reconstruct(pattern, seed=i)
            command = advice(solution, Path("out"), {"file": "scan.cxi"}).command
            first[words(solution, truth)] += 1
            effort = re.search(r"--effort (\S+)", command)
            if effort:
                again = ut.reconstruct(pattern, seed=i, effort=float(effort[1]))
                after[f"{words(solution, truth)} -> {words(again, truth)}"] += 1
        print(i, kind, f"{photons:g}", stop, f"E {error(solution, truth):.3f}", words(solution, truth), command, flush=True)
    print("| first result | count |\n|---|---|")
    for name, n in first.most_common():
        print(f"| {name} | {n} |")
    print("\n| with the effort that is advised | count |\n|---|---|")
    for name, n in after.most_common():
        print(f"| {name} | {n} |")
    if a.json:
        a.json.write_text(json.dumps({"seed": a.seed, "objects": count, "first": first, "after": after}, indent=1) + "\n")


if __name__ == "__main__":
    main()
