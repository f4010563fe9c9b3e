"""What a prediction costs: milliseconds per 32 x 32 pattern, both nets of CDI NN, in batches, on one core; beside the 620 iterations of the
paper's recipe and the automatic plan on the 64 x 64 patterns of the same objects, and beside what the processor can do at best: the rate of
a large product of matrices. Writes benchmarks/results/inference.json.

    python benchmarks/inference.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import torch

import untwin
from untwin.model.inference import BATCH
from untwin.model.networks import weights
from untwin.model.problem import Problem
from untwin.runs.launch import run_here
from untwin.runs.names import parse
from untwin.simulate.dataset import Crystals
from untwin.solve.begin import begin

RESULTS = Path(__file__).parent / "results"
PAPER = "3*(9*(20*HIO + ShrinkWrap(threshold=0.1, level='max', sigma=Ramp(3.0, 1.0))) + 20*ER) + 20*Mean(ER)"


def seconds(action, repeats: int) -> float:
    """The quickest of some runs, processor seconds of this process."""
    action()
    found = []
    for _ in range(repeats):
        cpu = time.process_time()
        action()
        found.append(time.process_time() - cpu)
    return min(found)


def said(of, net, batch, size: int) -> list:
    """In chunks that stay in the cache, as untwin.predict takes them."""
    parts = [slice(k, min(k + BATCH, size)) for k in range(0, size, BATCH)]
    return [of.image(net(of.take(batch.intensity[p], batch.measured[p])).float()) for p in parts]


def counted(of, net, batch) -> float:
    """Multiplications and additions for one pattern, both nets."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(of.take(batch.intensity[:1], batch.measured[:1]))
    return float(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    model = weights.load("cdi-nn")
    of, rows = model.architecture, []
    batch = Crystals("cdi-nn", 900_001, 256).batch(range(256))
    kinds = {"float32": torch.float32}
    if torch.backends.cpu.get_cpu_capability() == "AVX512" and not quick:
        kinds["bfloat16"] = torch.bfloat16
    for name, kind in kinds.items():
        net = model.net.to(memory_format=torch.channels_last)
        for size in (1, 16, 256):
            with torch.inference_mode(), torch.autocast("cpu", kind, enabled=kind != torch.float32):
                s = seconds(lambda: said(of, net, batch, size), 2 if quick else 7)  # noqa: B023
            rows.append({"what": f"both nets, {name}, batch {size}", "ms": 1e3 * s / size})
            print(f"{rows[-1]['what']}: {rows[-1]['ms']:.2f} ms per pattern", flush=True)
    operations = counted(of, model.net, batch)
    a = torch.randn(1024, 1024)
    peak = 2 * 1024**3 / seconds(lambda: a @ a, 9)
    best = min(r["ms"] for r in rows)
    print(f"{operations / 1e6:.0f} million operations per pattern: {operations / best / 1e6:.0f} GFLOP/s; matrix product {peak / 1e9:.0f}")
    pattern = Crystals("cdi-nn-64", 900_001, 256).pattern(0)
    problem = Problem.of(pattern)
    s = seconds(lambda: run_here(problem, parse(PAPER), begin(problem, (0,))), 1 if quick else 5)
    rows.append({"what": "620 iterations, one start, 64 x 64", "ms": 1e3 * s})
    if not quick:
        s = seconds(lambda: untwin.reconstruct(pattern, workers=1), 1)
        rows.append({"what": "automatic plan, 64 x 64", "ms": 1e3 * s})
    base = min(r["ms"] for r in rows if "batch 256" in r["what"])
    for row in rows[-2:]:
        print(f"{row['what']}: {row['ms']:,.0f} ms, {row['ms'] / base:,.0f} times the network")
    if quick:
        print("a quick run writes nothing")
        return
    told = {"command": " ".join(["python benchmarks/inference.py", *sys.argv[1:]]), "machine": platform.processor() or platform.machine()}
    told |= {"operations": operations, "peak": peak}
    told |= {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "rows": rows}
    (RESULTS / "inference.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
