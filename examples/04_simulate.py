"""Simulated objects and their patterns: samples of the recipes of 64 x 64 pixels, and a data set that a network can be trained on.

python examples/04_simulate.py samples.png
"""

# %% A recipe is an object, a text, or one of the names; sample i depends on recipe, seed and i, not on the other samples.
import sys

import numpy as np
from torch.utils.data import DataLoader

from untwin.show.contact import contact_sheet
from untwin.simulate import RECIPES, Crystals, simulation

mine = simulation("Simulation(Polygon(Between(3, 5)), (Waves(1.0), Dislocations(2)), oversampling=3.0, detector=Detector(Peak(1e4)))")
print(mine.draw(seed=0, indices=[41]).labels[0]["defects"][0])

# %% A map-style data set for torch: made on the fly, the same in every worker.
loader = DataLoader(Crystals("cdi-nn", seed=1, count=512), batch_size=128)
print({name: tuple(t.shape) for name, t in next(iter(loader)).items()})

# %% Four samples of every recipe at 64 x 64, pattern beside object (brightness is magnitude, hue is phase).
names = [n for n, r in RECIPES.items() if r.shape == (64, 64)]
samples = []
for name in names:
    drawn = RECIPES[name].draw(seed=3, indices=range(4))
    for k in range(4):
        counts, bad = (np.fft.fftshift(t[k].numpy()) for t in (drawn.intensity, ~drawn.measured))
        image, support = drawn.image[k].numpy(), drawn.support[k].numpy()
        samples.append({"counts": counts, "mask": bad, "image": image, "support": support, "index": k, "labels": {"body": name}})
figure = contact_sheet(samples, "four samples of every recipe", columns=4)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
