"""A double deep prior for phase retrieval: HIO, the prior from random numbers, and the same prior started from the result of HIO.

python examples/08_double_dip.py double.png
"""

# %% An object of varying magnitude and strong phase.
import sys
from dataclasses import replace

import numpy as np
import torch

import untwin as ut
from untwin.algorithms import ER, HIO, RAAR, Fit, Ramp, ShrinkWrap, Until
from untwin.losses import TV, Amplitude, Poisson
from untwin.priors import DoubleDIP, Skip
from untwin.rules import EMV
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

rng = np.random.default_rng(6)
pattern, truth = measure(CLASSES["complex"]((48, 48), rng), photons=1e5, rng=rng)
wanted = torch.fft.ifftshift(torch.from_numpy(truth))
problem = ut.Problem.of(pattern)


def last(recipe, state):
    """The state after the recipe, and its start of the lowest misfit."""
    for after in ut.iterate(problem, recipe, state):
        state = after
    return state, int(problem.misfit(problem.project_object(state.image, state.support)).argmin())


# %% imitate=60 fits the networks to the image that came before; then they go on with the data.
wrap = ShrinkWrap(threshold=0.18, sigma=Ramp(2.0, 0.7))
classical = 12 * (20 * HIO() + wrap) + 8 * (20 * RAAR() + wrap) + 40 * ER()
prior = DoubleDIP(Skip(depth=2, width=16, inputs=8, padding="replicate"))
alone = Until(EMV(patience=50), 150 * Fit(prior, loss=Amplitude()))
after = 160 * Fit(prior, loss=Poisson(0.1), regularizer=TV(0.5), grow=2, imitate=60, rate=0.2, warm=20, decay=0.05)

# %% Four starts of the first, one of the second; the third goes on from the best of the four.
found, best = last(classical, ut.begin(problem, seeds=(0, 1, 2, 3)))
one = ut.begin(problem, (0,), support=found.support[best], x=problem.project_object(found.image, found.support)[[best]])
states = {"HIO, RAAR, ER": one, "double DIP alone": last(alone, ut.begin(problem, seeds=(0,)))[0]}
states["HIO, then double DIP"] = last(after, replace(one, image=one.x))[0]
images = {}
for name, state in states.items():
    a = ut.align(problem.project_object(state.image, state.support), wanted, 2)
    images[f"{name}\nerror {float(a.error[0]):.3f}"] = a.x[0]
    print(f"{name}: error {float(a.error[0]):.3f}")

# %% Magnitude.
from matplotlib.figure import Figure  # noqa: E402

figure = Figure(figsize=(10, 3), layout="constrained")
for axis, (name, image) in zip(figure.subplots(1, 4), {**images, "truth": wanted}.items()):
    axis.imshow(torch.fft.fftshift(image).abs().numpy()[8:40, 8:40], cmap="gray")
    axis.set_title(name, fontsize=9)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
