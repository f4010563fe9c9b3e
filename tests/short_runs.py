"""A short reconstruction in several parts, kept as often as one likes, and when two of them ended with the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.runs import checkpoint, reconstruct
from untwin.simulate import shapes
from untwin.simulate.detector import measure

PLAN = ut.parse(
    "Plan(Search(4*(10*HIO + ShrinkWrap(sigma=Ramp(2.0, 0.5))) + 10*ER, starts=14, families=2), "
    "Guide((20*RAAR + 10*Mean(ER),), generations=1), "
    "Finish((ShrinkWrap(threshold=Deal((0.1, 0.2))) + 20*ADMM + Until(Plateau(patience=5), 20*ER),), deal=2, rounds=2))"
)


def thing(positivity: bool = False) -> ut.Pattern:
    rng = np.random.default_rng(0)
    return measure(shapes.poly((32, 32), rng).real.astype(complex) if positivity else shapes.poly((32, 32), rng), 1e6, rng)[0]


def solved(folder: Path | None = None, positivity: bool = False, workers: int = 1, **more) -> ut.results.Reconstruction:
    return ut.reconstruct(thing(positivity), PLAN, seed=3, positivity=positivity, workers=workers, checkpoint=folder, **more)


def same(a: ut.results.Reconstruction, b: ut.results.Reconstruction) -> bool:
    bits = all(torch.equal(x, y) for x, y in ((a.image, b.image), (a.support, b.support), (a.modes, b.modes)))
    seconds = ("seconds", "cpu_seconds")
    numbers = all(v == b.numbers[k] or v != v for k, v in a.numbers.items() if k not in seconds)
    return bits and numbers and a.starts == b.starts and a.history == b.history and a.verdict == b.verdict


def often() -> None:
    """From now on, in this process, a checkpoint after every step."""
    checkpoint.EVERY = reconstruct.EVERY = 0.0
    checkpoint.SHARE = 0.0
