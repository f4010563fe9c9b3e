"""Positron emission tomography: a picture from counts along lines. Photons that the fit never saw choose the step. MLEM is beside it.

python examples/11_positron_emission.py pet.png
"""

# %% 60 views of a phantom: rotate and sum, about 200,000 counts. A linear physics has an adjoint, which MLEM needs.
import sys

import numpy as np
import torch
from skimage import data, transform

import untwin as ut
from untwin.algorithms import Fit
from untwin.losses import Poisson
from untwin.model.image.base import Linear
from untwin.priors import Skip, Untrained
from untwin.rules import Thinned

n, views = 64, 60
truth = torch.from_numpy(transform.resize(data.shepp_logan_phantom(), (n, n), anti_aliasing=True)).float()[None]


class Views(Linear):
    axes = 2
    angles = torch.arange(views) * torch.pi / views
    rotations = torch.stack([angles.cos(), -angles.sin(), 0 * angles, angles.sin(), angles.cos(), 0 * angles], 1).reshape(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(rotations, [views, 1, n, n], align_corners=False)
    gain = 2e5 / (views * float(truth.sum()))

    def object_grid(self, measured):
        return (n, n)

    def __call__(self, x):
        turned = torch.nn.functional.grid_sample(x.expand(views, 1, n, n), self.grid, align_corners=False)
        return self.gain * turned.sum(2).reshape(1, 1, views, n)


physics = Views()
counts = torch.from_numpy(np.random.default_rng(0).poisson(physics(truth[None])[0].numpy())).float()

# %% MLEM (Shepp and Vardi, 1982), and where it is best: which only the truth tells.
x, sensitivity, curve = torch.full((1, 1, n, n), 0.3), physics.adjoint(torch.ones(1, 1, views, n)).clamp(min=1e-6), []
for _ in range(60):
    x = x * physics.adjoint(counts[None] / physics(x).clamp(min=1e-6)) / sensitivity
    curve.append((-10 * float((x[0] - truth).square().mean().log10()), x[0]))
oracle = max(curve, key=lambda v: v[0])

# %% A deep image prior on nine tenths of the photons; the other tenth chooses the step whose image is kept, of 500 at most.
fit = Fit(Untrained(Skip(depth=4, width=16, inputs=8)), average=0.97)
restored = ut.restore(counts, physics, fit, Thinned(patience=60), loss=Poisson(0.1), steps=500)
reached = -10 * float((restored.image - truth).square().mean().log10())
print(f"MLEM at its best {oracle[0]:.2f} dB, after 60 iterations {curve[-1][0]:.2f} dB")
print(f"the fit {reached:.2f} dB, the image of step {restored.numbers['best_at']:.0f}; over MLEM at its best {reached - oracle[0]:+.2f} dB")
if len(sys.argv) > 1:
    restored.plot().savefig(sys.argv[1], dpi=120)
