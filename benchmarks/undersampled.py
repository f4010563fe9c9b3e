"""What oversampling below 2 still gives, by what else is known of the object.

    python benchmarks/undersampled.py [--seed 0] [--objects 6] [--quick]

Objects of 64 x 64 pixels whose box is 64 / oversampling wide along each axis, their exact intensities without noise, eight random starts of
20 x (80 HIO + 20 ER) in the support that is known; of a sparse object, whose pixels lie anywhere, RRR until it is solved. An object counts
where the start that explains the intensities best has come to it (E below 0.1 after shift and twin). Writes
benchmarks/results/undersampled.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.processes import one_thread
from untwin.random import derive

RESULTS = Path(__file__).parent / "results" / "undersampled.json"
N = 64
SAMPLINGS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
STARTS = 8
RECIPE = "20*(80*HIO + 20*ER)"
SPARSE = "Until(Solved(power=0.999), 20000*RRR) + 50*ER"
FEW = (0.01, 0.02, 0.03, 0.05)  # of the pixels of a sparse object
KNOWN = (
    "complex, its box",
    "complex, its outline",
    "real and nonnegative, its box",
    "real and nonnegative, its outline",
    *(f"real and nonnegative, {round(share * N * N)} pixels anywhere" for share in FEW),
)


def textured(rng: np.random.Generator) -> np.ndarray:
    """Noise of a correlation length of about two pixels, from 0 to 1."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.normal(size=(N, N)), 1.0, mode="wrap")
    return (noise - noise.min()) / np.ptp(noise)


def sample(known: str, sampling: float, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(object, the support that is known); (64, 64), FFT order."""
    rng = np.random.default_rng(derive(seed, "undersampled", known, round(100 * sampling)))
    if "anywhere" in known:
        k = int(known.split()[3])
        x = np.zeros((N, N))
        x.flat[rng.choice(N * N, k, replace=False)] = rng.uniform(0.2, 1, k)
        return x, None
    width = round(N / sampling)
    box = np.zeros((N, N), bool)
    box[:width, :width] = True
    u, v = (np.indices((N, N)) + 0.5) / width
    triangle = box & (u + 0.7 * v < 1.15) & (v - 0.4 * u < 0.75)  # no centre of symmetry, three fifths of the box
    inside = triangle if "outline" in known else box
    values = 0.2 + textured(rng)
    if known.startswith("complex"):
        values = values * np.exp(2j * np.pi * textured(rng))
    return np.where(inside, values, 0), inside


def comes_back(known: str, sampling: float, seed: int) -> bool:
    import torch

    x, support = sample(known, sampling, seed)
    pattern = ut.Pattern(np.abs(np.fft.fft2(x, norm="ortho")) ** 2, np.ones(x.shape, bool))
    constraint = ut.constraints.Support() & ut.constraints.Nonnegative() if known.startswith("real") else ut.constraints.Support()
    if support is None:
        constraint = ut.constraints.Nonnegative() & ut.constraints.Sparse(int((x != 0).sum()))
    problem = ut.Problem(pattern, constraint=constraint)
    inside = None if support is None else torch.from_numpy(support)
    state = ut.begin(problem, tuple(derive(seed, "start", i) for i in range(STARTS)), inside)
    for state in ut.iterate(problem, ut.parse(SPARSE if support is None else RECIPE), state, 100):  # noqa: B020, B007
        pass
    images = problem.project_object(state.image, state.support).to(torch.complex64)
    best = int(problem.misfit(images.real if problem.real else images).argmin())
    error = problem.symmetry.align(images[[best]], torch.from_numpy(x).to(torch.complex64)).error
    return float(error[0]) < 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    objects = 1 if options.quick else options.objects
    print("| what is known | " + " | ".join(f"{s:g}" for s in SAMPLINGS) + " |\n|---" * 1 + "|---" * len(SAMPLINGS) + "|")
    rows = []
    for known in KNOWN:
        samplings = SAMPLINGS[:1] if "anywhere" in known else SAMPLINGS
        found = {s: sum(comes_back(known, s, options.seed + i) for i in range(objects)) for s in samplings}
        rows.append({"known": known, "objects": objects, "seed": options.seed, "found": found})
        print(f"| {known} | " + " | ".join(f"{found[s]} of {objects}" if s in found else "" for s in SAMPLINGS) + " |", flush=True)
    if not options.quick:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    with one_thread():
        main()
