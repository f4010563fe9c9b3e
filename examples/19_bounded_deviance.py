"""Phase retrieval with a bound: the object of least total variation whose misfit is what noise would leave. No weight to choose.

python examples/19_bounded_deviance.py object.png
"""

# %% A phantom of flat regions behind two random masks, few photons.
import sys

import numpy as np
import skimage.data
import skimage.transform
import torch

import untwin as ut
from untwin.algorithms import Fit
from untwin.constraints import AtMost, Nonnegative, Support
from untwin.losses import TV, Poisson
from untwin.physics import GlobalPhase, Masked
from untwin.priors import Grid

x = skimage.transform.resize(skimage.data.shepp_logan_phantom(), (64, 64), anti_aliasing=True)
rng = np.random.default_rng(1)
masks = np.exp(2j * np.pi * rng.random((2, 64, 64)))
expected = np.abs(np.fft.fft2(x * masks, norm="ortho")) ** 2
counts = rng.poisson(1e5 / expected.sum() * expected)

# %% Projections explain the counts, noise included: half the deviance is below what is expected of the truth.
problem = ut.Problem(ut.Pattern.of_waves(counts), Masked(masks), Support() & Nonnegative())
first = ut.reconstruct(problem, "Spectral + 300*DM + 60*ER", starts=4, seed=1)
print(first.verdict.text)

# %% From there: least total variation, half the deviance at most what is expected.
bound = first.numbers["log_likelihood_expected"]
fit = Fit(Grid(), regularizer=TV(1.0), constraints=[AtMost(Poisson(), bound)], grow=0, imitate=100)
*_, state = ut.iterate(problem, 1000 * fit, ut.begin(problem, seeds=[1], x=first.image.real[None]))

# %% Against the truth.
truth = torch.from_numpy(x).to(torch.complex64)
for name, image in (("projections", first.image.real[None]), ("with the bound", state.image)):
    misfit = float(problem.misfit(image)) / counts.size
    error = float(GlobalPhase().align(image.to(truth.dtype), truth).error)
    print(f"{name}: half deviance {misfit:.3f} per number (expected of the truth {bound:.3f}), error {error:.3f}")
if len(sys.argv) > 1:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 4))
    for axis, (title, picture) in zip(axes, {"truth": x, "projections": first.image.real, "with the bound": state.image[0]}.items()):
        axis.imshow(np.asarray(picture), cmap="gray")
        axis.set_title(title)
    figure.savefig(sys.argv[1], dpi=110)
