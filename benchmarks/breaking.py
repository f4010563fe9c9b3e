"""Gaussian phase retrieval, y = |A x|², by a fully connected net: error before and after breaking the symmetry, against the number of
training samples (Tayal, Lai, Kumar and Sun, arXiv 2003.09077, whose finding this re-runs with settings of its own).

x: standard normal, real (sign symmetry) or complex (phase symmetry), n entries; A: 4 n standard normal rows, fixed. The error is the
smallest over the symmetry, |x̂ s − x| / |x|, whatever the targets were. Writes benchmarks/results/breaking.json.

    python benchmarks/breaking.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

from untwin.model.alignment import standing

RESULTS = Path(__file__).parent / "results"
TESTED = 4_000


def samples(n: int, count: int, kind: torch.dtype, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.randn(4 * n, n, dtype=kind, generator=torch.Generator().manual_seed(0))
    x = torch.randn(count, n, dtype=kind, generator=torch.Generator().manual_seed(seed))
    return x, (x @ a.T).abs().square()


def real(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x).flatten(1) if x.is_complex() else x


def error(said: torch.Tensor, x: torch.Tensor) -> float:
    """Median over the samples, modulo the symmetry."""
    z = torch.view_as_complex(said.reshape(len(x), -1, 2)) if x.is_complex() else said
    overlap = (z.conj() * x).sum(1)
    turned = z * (overlap / overlap.abs().clamp(min=1e-30)).unsqueeze(1)
    return float(((turned - x).norm(dim=1) / x.norm(dim=1)).median())


def trained(n: int, count: int, kind: torch.dtype, broken: bool, steps: int) -> float:
    x, y = samples(n, count, kind, 1)
    test, seen = samples(n, TESTED, kind, 2)
    target = real(standing(x) if broken else x)
    mean, spread = y.mean(0), y.std(0)
    torch.manual_seed(0)
    width = 256
    net = nn.Sequential(
        nn.Linear(4 * n, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, target.shape[1]),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    g = torch.Generator().manual_seed(3)
    for _ in range(steps):
        rows = torch.randint(0, count, (256,), generator=g)
        loss = (net((y[rows] - mean) / spread) - target[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return error(net((seen - mean) / spread), test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    sizes, counts, steps = ((3,), (1_000,), 50) if quick else ((5, 10), (2_000, 20_000, 200_000), 2_000)
    rows = []
    for kind, name in ((torch.float32, "real"), (torch.complex64, "complex")):
        for n in sizes:
            for count in counts:
                cpu = time.process_time()
                before, after = (trained(n, count, kind, broken, steps) for broken in (False, True))
                rows.append(
                    {"kind": name, "n": n, "samples": count, "before": before, "after": after, "cpu_seconds": time.process_time() - cpu}
                )
                print(f"{name:>8} n = {n:>2}, {count:>7,} samples: error {before:.3f} before, {after:.3f} after breaking", flush=True)
    if quick:
        print("a quick run writes nothing")
        return
    told = {"command": " ".join(["python benchmarks/breaking.py", *sys.argv[1:]]), "steps": steps, "tested": TESTED, "rows": rows}
    (RESULTS / "breaking.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
