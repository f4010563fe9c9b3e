"""Put what a training has reached into the package: weights as float16, tried on samples that neither the training nor its validation has
seen, the model card, and the curve of the training.

    untwin train cdi-nn --from cdi-nn --steps 11000 --batch 32 --held 1024 --seed 1 -o FOLDER
    python benchmarks/ship.py FOLDER

Writes src/untwin/model/networks/shipped/cdi-nn.{safetensors,md} and benchmarks/results/cdi-nn-curve.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from untwin.learn.train import CHECKPOINT, WEIGHTS
from untwin.learn.validate import validated
from untwin.model.networks import weights
from untwin.show.learning import card_text
from untwin.simulate.dataset import Crystals

RESULTS = Path(__file__).parent / "results"
HELD, SEED = 1_024, 2_000_003


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of an untwin train that has ended")
    parser.add_argument("--name", default="cdi-nn")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = weights.load(args.folder / WEIGHTS)
    card = {**trained.card, "validation_samples": HELD, "validation_seed": SEED}
    held = Crystals(card["training"]["data"], SEED, 2**40).batch(range(HELD))
    path = weights.SHIPPED / f"{args.name}{weights.ENDING}"
    weights.save(path, trained.net, trained.architecture, card, half=True)
    card["metrics"] = validated(trained.architecture, weights.load(args.name).net, held)
    weights.save(path, trained.net, trained.architecture, card, half=True)
    note = f"\nWeights are stored as float16; the figures are of those, on samples of seed {SEED}.\n"
    path.with_suffix(".md").write_text(card_text(args.name, {**card, "architecture": repr(trained.architecture)}) + note)
    told = weights.opened(args.folder / CHECKPOINT)[1]
    curve = {"training": told["training"], "origin": told.get("origin", {}), "rows": told["rows"]}
    (RESULTS / f"{args.name}-curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    print(path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
