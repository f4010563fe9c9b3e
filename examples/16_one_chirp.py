"""One exposure behind a curved wave: a real picture without its twin and at its place.

python examples/16_one_chirp.py picture.png
"""

# %% A picture of 64 x 64 pixels in an array twice as wide, behind a wave that is curved by half a period at the edge.
import sys

import numpy as np
import skimage.data
import torch

import untwin as ut
from untwin.constraints import Nonnegative, Support
from untwin.physics import Masked, NoSymmetry

n = 64
picture = skimage.data.camera().reshape(n, 8, n, 8).mean((1, 3)) / 255
inside = np.zeros((2 * n, 2 * n), dtype=bool)
inside[n // 2 : n // 2 + n, n // 2 : n // 2 + n] = True
x = np.zeros(inside.shape)
x[inside] = 100 * picture.ravel()

# %% Half a period of phase from the middle of the box to that of its edge.
r = (np.arange(2 * n) - n) / (n / 2)
chirp = np.exp(1j * np.pi * (r[:, None] ** 2 + r**2))

# %% What a detector counts of it, in the order of a Fourier transform. Without the chirp it is a far field like any other.
rng = np.random.default_rng(1)
for name, mask in (("chirp", chirp), ("no chirp", np.ones_like(chirp))):
    counts = rng.poisson(np.abs(np.fft.fft2(x * mask, norm="ortho")) ** 2)
    measured = ut.Problem(ut.Pattern.of_waves(counts[None]), Masked(mask[None]), Support() & Nonnegative())
    solution = ut.reconstruct(measured, "400*RAAR + 200*ER", support=inside, starts=8, seed=2)
    error = float(NoSymmetry().align(solution.image[None], torch.from_numpy(x).to(torch.complex64)).error)
    print(f"{name}: error {error:.3f}, nothing moved or turned; {solution.verdict.text}")
    if name == "chirp" and len(sys.argv) > 1:
        solution.plot().savefig(sys.argv[1], dpi=110)
