"""3D: faceted crystals of smooth phase at 64^3, 3e7 photons; does any single start succeed?

    python benchmarks/crystal.py --seed 1 --count 10 --json benchmarks/results/crystal.json

One start is the first recipe of the automatic plan, with nothing chosen, guided or finished afterwards: one start per object, then with
--starts more of them. E, floor and success as in recover.py. CPU: seconds per start.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from recover import floor_of
from untwin.runs import auto
from untwin.runs.launch import launcher, one_thread
from untwin.runs.population import Population, objects
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.begin import begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10, help="objects")
    parser.add_argument("--starts", type=int, default=1, help="starts per object")
    parser.add_argument("--kind", default="poly", choices=sorted(CLASSES))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--photons", type=float, default=3e7)
    parser.add_argument("--stop", type=float, default=0.0)
    parser.add_argument("--quick", action="store_true", help="2 objects at 32^3")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    count, size = (2, 32) if args.quick else (args.count, args.size)
    photons = args.photons / 8 if args.quick else args.photons
    rows = []
    print("| object | starts | success | E of each | floor | CPU s per start |\n|---|---|---|---|---|---|")
    for i in range(count):
        rng = np.random.default_rng((args.seed, i))
        pattern, truth = measure(CLASSES[args.kind]((size,) * 3, rng), photons, rng, args.stop)
        problem, wanted = ut.Problem.of(pattern), torch.fft.ifftshift(torch.from_numpy(truth))
        with one_thread():
            floor = floor_of(problem, wanted)
        launch, cpu = launcher(problem), time.process_time()
        ended = launch.map(problem, [(auto.plan(problem).search.first, begin(problem, tuple(range(args.starts))))])[0]
        cpu = time.process_time() - cpu + launch.cpu_seconds
        with one_thread():
            errors = ut.align(objects(problem, Population.of(problem, ended.state)), wanted, 3).error.tolist()
        good = [e <= max(0.12, 1.5 * floor) for e in errors]
        rows.append({"floor": floor, "errors": errors, "success": float(np.mean(good)), "cpu": cpu / args.starts})
        told = ", ".join(f"{e:.3f}" for e in errors)
        print(f"| {i} | {args.starts} | {sum(good)} of {len(good)} | {told} | {floor:.3f} | {rows[-1]['cpu']:.1f} |", flush=True)
    share = float(np.mean([r["success"] for r in rows]))
    print(f"\n{args.kind} {size}^3, {photons:.0e} photons: {share:.2f} of {count * args.starts} single starts succeed")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {"kind": args.kind, "size": size, "photons": photons, "stop": args.stop, "starts": args.starts}
        told = {"script": "crystal", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__, **settings}
        args.json.write_text(json.dumps({**told, "success": share, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
