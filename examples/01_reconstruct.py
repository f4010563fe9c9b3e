"""From a file to an object with a verdict: read, reconstruct, look.

python examples/01_reconstruct.py object.png
"""

# %% A file to begin with: a strained crystal in 64 x 64 pixels, a million photons. With data of your own, take the imports alone.
import sys
import tempfile
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

rng = np.random.default_rng(3)
simulated, truth = measure(CLASSES["poly"]((64, 64), rng), photons=1e6, rng=rng)
folder = Path(tempfile.mkdtemp())
np.savez(folder / "crystal.npz", intensity=np.fft.fftshift(simulated.intensity))

# %% Read it. Every guess that was made on the way in is a sentence in pattern.warnings.
pattern = ut.read(folder / "crystal.npz")
print(f"{pattern.shape}, {pattern.photons:,.0f} photons, guesses: {list(pattern.warnings)}")

# %% Reconstruct it. Nothing is known but the pattern: no support, no recipe.
solution = ut.reconstruct(pattern, starts=16, seed=0)
print(solution.verdict.text)

# %% Keep it: result.cxi, run.toml and summary.json in a folder; the report is a page of its own.
solution.save(folder / "result")
print(f"saved to {folder / 'result'}; untwin report {folder / 'result'} writes the pages")

# %% Here the truth is known. A shift, the twin and a constant phase are free, so align first.
from untwin.judge.compare import compare  # noqa: E402

found = compare(solution.image.numpy(), truth)
print(f"error against the truth {found.error:.3f}, {'the twin was nearer' if found.twin else 'not the twin'}")

# %% Look at it.
if len(sys.argv) > 1:
    solution.plot().savefig(sys.argv[1])
