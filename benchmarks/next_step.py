"""Is the next step that untwin advises true? Simulated patterns whose result is not trusted, and the same after the step.

    python benchmarks/next_step.py --seed 54000 --count 120 --json benchmarks/results/next_step.json

Objects of four classes, 64 x 64, with 3e4 to 1e6 photons and stops of up to 3 pixels: nothing is wrong with mask, centre or model. Every
result that is not trusted is made again: with four times the effort, whatever is advised, and from four times the photons of the same
object. right: error E to the truth below 0.1, modulo shift, twin and phase. The tables count the first results, the advice, and what
became of them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.runs.launch import one_thread
from untwin.show.advice import EFFORT, advice
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
    parser.add_argument("--seed", type=int, default=54000)
    parser.add_argument("--count", type=int, default=120, help="objects")
    parser.add_argument("--quick", action="store_true", help="four objects")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    kinds, count = list(CLASSES), 4 if a.quick else a.count
    first, advised = Counter(), Counter()
    after = {"four times the effort": Counter(), "four times the photons": Counter()}
    for i in range(count):
        rng = np.random.default_rng(a.seed + i)
        kind, photons, stop = kinds[i % len(kinds)], PHOTONS[i % len(PHOTONS)], STOPS[(i // 3) % len(STOPS)]
        body = CLASSES[kind]((64, 64), rng)
        pattern, truth = measure(body, photons, rng, stop)
        truth, became = torch.as_tensor(truth), ""
        with one_thread():
            solution = ut.reconstruct(pattern, seed=i)
            said = words(solution, truth)
            first[said] += 1
            if not solution.verdict.trusted:
                told = advice(solution, Path("out"), {"file": "scan.cxi"}).text
                advised[told] += 1
                brighter, again_truth = measure(body, 4 * photons, rng, stop)
                worked = ut.reconstruct(pattern, seed=i, effort=EFFORT)
                counted = ut.reconstruct(brighter, seed=i)
                for (way, counts), s, t in zip(after.items(), (worked, counted), (truth, torch.as_tensor(again_truth))):
                    counts[f"{told}: {words(s, t)}"] += 1
                    became += f"; {way}: {words(s, t)}, E {error(s, t):.3f}"
        print(f"{i} {kind} {photons:g} {stop}: {said}, E {error(solution, truth):.3f}{became}", flush=True)
    for title, counts in (("first result", first), ("advice", advised), *after.items()):
        print(f"\n| {title} | count |\n|---|---|")
        for name, n in counts.most_common():
            print(f"| {name} | {n} |")
    if a.json:
        a.json.write_text(json.dumps({"seed": a.seed, "objects": count, "first": first, "advice": advised, **after}, indent=1) + "\n")


if __name__ == "__main__":
    main()
