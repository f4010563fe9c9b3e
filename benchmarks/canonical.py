"""How many objects jump to another representative under noise: `canonical` of an object and of the same object with complex Gaussian
noise inside its support. Also the largest difference between the representatives of symmetric copies, which should be rounding.

    python benchmarks/canonical.py [--quick]

Writes benchmarks/results/canonical.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from untwin import fourier
from untwin.model.alignment import canonical, rolled, twin
from untwin.simulate.dataset import Crystals

RESULTS = Path(__file__).parent / "results"
JUMP = 0.3  # relative difference beyond which an object has gone to another representative: noise alone makes less


def copies(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    turned = (torch.rand(len(x), generator=g) < 0.5)[:, None, None]
    by = torch.randint(0, x.shape[-1], (len(x), 2), generator=g)
    phase = torch.exp(2j * torch.pi * torch.rand(len(x), 1, 1, generator=g, dtype=torch.float64))
    return rolled(torch.where(turned, twin(x, 2), x), by, 2) * phase


def apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).flatten(1).norm(dim=1) / a.flatten(1).norm(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    count, rows = 40 if quick else 1000, []
    for recipe in ("cdi-nn", "crystals-2d", "crystals-2d/strong-phase", "cells"):
        g = torch.Generator().manual_seed(0)
        x = fourier.cornered(Crystals(recipe, 900_001, count).batch(range(count)).image, 2).to(torch.complex128)
        chosen, _ = canonical(x, 2)
        rounding = float(max(apart(chosen, canonical(copies(x, g), 2)[0]).max() for _ in range(1 if quick else 4)))
        for noise in (0.005, 0.02, 0.05):
            e = torch.view_as_complex(torch.randn(*x.shape, 2, generator=g, dtype=torch.float64)) / 2**0.5
            other, _ = canonical(x + noise * x.abs().amax((1, 2), keepdim=True) * e * (x != 0), 2)
            moved = apart(chosen, other)
            rows.append({"recipe": recipe, "noise": noise, "jump": float((moved > JUMP).double().mean()), "median": float(moved.median())})
            rows[-1] |= {"copies_differ": rounding, "objects": count}
            print(f"{recipe:>26}, noise {noise:.3f}: {100 * rows[-1]['jump']:.1f} % jump, median change {rows[-1]['median']:.3f}")
    if quick:
        print("a quick run writes nothing")
        return
    told = {"command": " ".join(["python benchmarks/canonical.py", *sys.argv[1:]]), "rows": rows}
    (RESULTS / "canonical.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
