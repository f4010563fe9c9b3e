"""How often the shipped network says of its own prediction that the pattern is unlike its training data, for data like and unlike these,
and how far off the predictions are that it says it of, and the others.

    python benchmarks/strange.py [--quick]

Writes benchmarks/results/strange.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from untwin import fourier
from untwin.errors import InputError
from untwin.model.alignment import align
from untwin.model.inference import layout_for, predict
from untwin.model.networks import weights
from untwin.simulate.dataset import Crystals

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    model, count, rows = weights.load("cdi-nn"), 8 if quick else 100, []
    for recipe in ("cdi-nn", "cdi-nn-64", "crystals-2d", "crystals-2d/strong-phase", "crystals-2d/domains", "cells"):
        data = Crystals(recipe, 900_002, count)
        errors, flagged, refused = [], [], 0
        for i in range(count):
            pattern = data.pattern(i)
            try:
                layout_for(pattern, model)
            except InputError:
                refused += 1
                continue
            said = next(predict([pattern], model))
            x, truth = (fourier.cornered(v, 2) for v in (torch.from_numpy(said.image), data[i]["image"]))
            errors.append(float(align(x.unsqueeze(0), truth, 2).error))
            flagged.append(bool(said.warnings))
        e, f = np.array(errors), np.array(flagged)
        row = {"recipe": recipe, "patterns": count, "refused": refused, "flagged": float(f.mean()), "error": float(np.median(e))}
        row |= {
            "error_flagged": float(np.median(e[f])) if f.any() else None,
            "error_passed": float(np.median(e[~f])) if (~f).any() else None,
        }
        rows.append(row)
        print(row, flush=True)
    if quick:
        print("a quick run writes nothing")
        return
    told = {"command": " ".join(["python benchmarks/strange.py", *sys.argv[1:]]), "rows": rows}
    (RESULTS / "strange.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
