"""Maps of a scanning tunnelling microscope: what surrounds a defect at each energy, and where the defects are.

python examples/10_what_repeats.py maps.png
"""

# %% Simulated maps at four energies: rings of quasi-particle interference around point defects, and noise of the same variance.
import sys

import untwin as ut
from untwin.model.motifs import correlation
from untwin.simulate import quasiparticles

drawn = quasiparticles((96, 96), channels=4, size=15, density=0.006, snr=1.0, seed=11)
print(f"{drawn.overlap:.1f} motifs lie on a pixel, {int((drawn.maps > 0).sum())} defects")

# %% The motif and the map from the maps alone. The size is a guess: 12 for 15 pixels.
result = ut.deconvolve_sparse(drawn.values, size=12, seed=0)
print(result.verdict.text)

# %% Against what was drawn: any shift and sign of the motif is the same answer.
print(f"correlation of the motif with the true one: {correlation(result.motifs[0], drawn.motifs[0]):.3f}")
figure = result.plot()
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
