"""A trained network's guess in milliseconds, and an iterative search that goes on from it.

python examples/05_predict.py predicted.png
"""

# %% A crystal that the network has not seen: the first one of the recipe cdi-nn-64 with seed 41.
import sys

import numpy as np

import untwin as ut
from untwin.judge.compare import compare
from untwin.model.networks import weights
from untwin.show.object import compare_figure

crystals = ut.simulate.Crystals("cdi-nn-64", seed=41, count=4)
pattern, truth = crystals.pattern(0), crystals[0]["image"].numpy()

# %% What the network says, and how well that explains the pattern.
model = weights.load("cdi-nn")
guess = next(ut.predict([pattern], model))
print(f"{model.card['samples']:,} samples seen; misfit {guess.misfit:.2f}; E to the truth {compare(guess.image, truth).error:.2f}")

# %% The guess as the start of a search: every second start begins at it, the others at random, so that agreement means something.
recipe = "Predict + 10*(20*HIO + ShrinkWrap(sigma=Ramp(2.0, 0.5))) + 10*(20*RAAR + ShrinkWrap(sigma=0.5)) + 50*ER"
solution = ut.reconstruct(pattern, recipe, starts=4, workers=1)
print(solution.verdict.text)

# %% Both beside the truth.
found = compare(solution.image.numpy(), truth)
print(f"E to the truth {found.error:.2f}")
figure = compare_figure(found.aligned, np.asarray(truth), names=("refined", "truth"))
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
