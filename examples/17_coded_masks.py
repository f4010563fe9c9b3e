"""Coded diffraction: a complex object from three exposures behind random masks, without a support.

python examples/17_coded_masks.py object.png
"""

# %% Three exposures of one object, as `untwin simulate exposures --kind coded` writes them.
import sys

import numpy as np
import torch

import untwin as ut
from untwin.data.exposures import write_exposures
from untwin.physics import GlobalPhase, Masked
from untwin.simulate.exposures import exposures

drawn = exposures("coded", size=64, count=3, photons=1e7, seed=5)
path = write_exposures("coded.h5", drawn.counts, drawn.optics)

# %% The file says what the waves were, and no support is needed. Half of the starts begin at the spectral estimate.
pattern = ut.read(path)
solution = ut.reconstruct(pattern, seed=1)
print(solution.verdict.text)
error = float(GlobalPhase().align(solution.image[None], torch.from_numpy(drawn.image).to(torch.complex64)).error)
print(f"error {error:.3f}; foretold from two halves of the photons: {solution.numbers['noise_error']:.3f}")

# %% The same by hand: any masks, any exposures, any recipe.
problem = ut.Problem(ut.Pattern.of_waves(np.fft.ifftshift(drawn.counts, (1, 2))), Masked(drawn.optics.masks))
for state in ut.iterate(problem, ut.parse("Spectral + 200*DM + 50*ER"), ut.begin(problem, seeds=[1]), every=50):
    f = problem.predict(problem.project_object(state.image, state.support))
    misfit = float((f.sqrt() - problem.counts.amplitude).square().mean())
    print(f"step {state.step}: {4 * misfit:.2f} times what noise would leave")
if len(sys.argv) > 1:
    solution.plot().savefig(sys.argv[1], dpi=110)
