"""Gaussian phase retrieval: from how many measurements on is it solved, and by which way?

python examples/18_gaussian_transition.py transition.png
"""

# %% One trial: a random object of 48 numbers, m random measurements of it without a phase, a recipe.
import sys

import torch

import untwin as ut
from untwin.physics import Gaussian, GlobalPhase

n, trials = 48, 10


def solved(ratio: float, recipe: str, seed: int) -> bool:
    waves = Gaussian(n, round(ratio * n), seed=seed)
    x = torch.randn(n, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))
    problem = ut.Problem(ut.Pattern.of_waves(waves(x[None])[0]), waves)
    *_, state = ut.iterate(problem, ut.parse(recipe), ut.begin(problem, [seed]), every=10)
    return float(GlobalPhase().align(state.image.to(x.dtype), x).error) < 1e-3


# %% The difference map goes between waves; amplitude flow goes downhill. A good start helps it.
recipes = {
    "spectral start, difference map": "Spectral + 440*DM + 60*ER",
    "random start, difference map": "440*DM + 60*ER",
    "spectral start, amplitude flow": "Spectral + 500*AmplitudeFlow",
    "random start, amplitude flow": "500*AmplitudeFlow",
}
ratios = (2.0, 2.5, 3.0, 4.0, 5.0)
shares = {name: [sum(solved(r, recipe, s) for s in range(trials)) / trials for r in ratios] for name, recipe in recipes.items()}
for name, values in shares.items():
    print(f"{name:32} " + "  ".join(f"m/n = {r:g}: {v:.1f}" for r, v in zip(ratios, values)))

# %% As a figure.
if len(sys.argv) > 1:
    import matplotlib.pyplot as plt

    for name, values in shares.items():
        plt.plot(ratios, values, ".-", label=name)
    plt.xlabel("measurements per unknown")
    plt.ylabel(f"share of {trials} trials that are solved")
    plt.legend()
    plt.savefig(sys.argv[1], dpi=110)
