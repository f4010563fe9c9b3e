"""Has a change moved a bit? The images of ten runs and four restores as SHA-256, to be recorded before a change and compared after it.

    python benchmarks/bits.py --json before.json
    python benchmarks/bits.py --json after.json --against before.json

Bits are those of one machine and its versions: a table made elsewhere says nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

OWN = (
    "3*(10*HIO + 5*DM(beta=0.7) + ShrinkWrap(threshold=Draw(0.1, 0.2), sigma=Ramp(2.0, 0.7))) + Detwin + 10*ADMM + 10*HPR + 5*SF "
    "+ 10*Capped(Proximal(RAAR)) + 5*Mean(Proximal(ER)) + Rescale + Until(Plateau(patience=5), 20*ER)"
)


def far(kind: str, shape: tuple[int, ...], photons: float = 1e6, stop: float = 0.0, seed: int = 7) -> ut.Pattern:
    rng = np.random.default_rng(seed)
    x = CLASSES[kind](shape, rng)
    return measure(x, photons, rng, stop)[0]


def photograph(size: int = 48) -> torch.Tensor:
    rows = torch.linspace(0.2, 0.8, size).reshape(1, -1, 1).expand(1, size, size).clone()
    rows[:, 12:30, 16:36] = 0.9
    return (rows + 0.1 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def interrupted(pattern: ut.Pattern) -> ut.results.Solution:
    """A run that is stopped by its user after a third of its reports, and gone on with."""
    with tempfile.TemporaryDirectory() as folder:
        calls = 0

        def stop(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 5:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            ut.reconstruct(pattern, seed=3, starts=4, workers=1, checkpoint=folder, report=stop)
        return ut.reconstruct(pattern, seed=3, starts=4, workers=1, checkpoint=folder)


def cases() -> dict[str, Callable[[], torch.Tensor]]:
    def run(pattern: ut.Pattern, *args: object, **options: object) -> torch.Tensor:
        return ut.reconstruct(pattern, *args, workers=1, **options).image  # type: ignore[arg-type]

    def restored(physics: object = None, prior: object = "drp", **options: object) -> torch.Tensor:
        y = photograph()
        y = y if physics is None else physics(y[None])[0]  # type: ignore[operator]
        return ut.restore(y, physics, prior, steps=60, **options).image  # type: ignore[arg-type]

    holes = torch.rand(48, 48, generator=torch.Generator().manual_seed(1)) > 0.3
    return {
        "2D complex, automatic": lambda: run(far("poly", (48, 48))),
        "2D real behind a stop": lambda: run(far("real", (48, 48), stop=5.0), positivity=True, starts=4),
        "2D real, few photons": lambda: run(far("real", (48, 48), 3e4), positivity=True, starts=4),
        "3D": lambda: run(far("poly", (36, 36, 36), 1e7), starts=2),
        "3D, small": lambda: run(far("poly", (20, 20, 20), 1e6), method="classical", starts=4),
        "a recipe of one's own": lambda: run(far("poly", (47, 50)), OWN, starts=3, seed=1),
        "refine": lambda: run(far("poly", (32, 32), 1e5), method="refine", starts=4),
        "double DIP": lambda: run(far("poly", (32, 32), 1e5), method="double-dip", starts=2),
        "predicted starts": lambda: run(far("poly", (64, 64)), "3*(20*HIO + ShrinkWrap) + 20*ER", start="predict", starts=4),
        "a resumed run": lambda: interrupted(far("poly", (40, 40))).image,
        "restore: denoise": lambda: restored(),
        "restore: inpaint": lambda: restored(ut.physics.Mask(holes), "dip"),
        "restore: deblur": lambda: restored(ut.physics.Blur(torch.ones(3, 3) / 9), "dip"),
        "restore: MRI": lambda: restored(
            ut.physics.MRI(holes), ut.algorithms.Fit(ut.priors.Cartesian(ut.priors.Projector(), ut.priors.Projector()), average=0.99)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    before = json.loads(args.against.read_text()) if args.against else {}
    digests: dict[str, str] = {}
    for name, make in cases().items():
        if args.only not in name:
            continue
        image = make()
        from untwin.runs.checkpoint import digest

        digests[name] = digest(image)
        verdict = "" if name not in before else "same" if before[name] == digests[name] else "DIFFERS"
        print(f"{name:24} {digests[name][:16]}  {float(image.abs().square().sum()):.9g}  {verdict}", flush=True)
        args.json.write_text(json.dumps(digests, indent=1) + "\n")
    if any(before.get(name, d) != d for name, d in digests.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
