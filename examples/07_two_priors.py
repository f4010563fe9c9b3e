"""Deep image prior against deep random projector: the same noisy picture, the same processor.

python examples/07_two_priors.py priors.png
"""

# %% A picture in colour, and noise.
import sys

import numpy as np
from skimage import data, transform

import untwin as ut
from untwin.algorithms import Fit
from untwin.priors import Projector, Skip, Untrained

truth = np.moveaxis(transform.resize(data.astronaut(), (40, 40), anti_aliasing=True), -1, 0).astype(np.float32)
noisy = np.clip(truth + 0.2 * np.random.default_rng(0).normal(size=truth.shape), 0, 1).astype(np.float32)

# %% Each has a rule of its own, within 220 steps: EMV for the projector, pixels that it does not see for the network.
small = Skip(depth=3, width=24, inputs=8)
priors = {
    "deep image prior": Fit(Untrained(small), average=0.98),
    "deep random projector": Projector(Skip(depth=1, width=32, inputs=3)),
}
results = {name: ut.restore(noisy, prior=prior, steps=220) for name, prior in priors.items()}

# %% What came out, and what it cost.


def psnr(image) -> float:
    return -10 * float(np.log10(np.mean((np.asarray(image) - truth) ** 2)))


for name, r in results.items():
    n = r.numbers
    print(f"{name}: {psnr(r.image):.2f} dB, the image of step {n['best_at']:.0f} of {n['steps']:.0f}, {n['cpu_seconds']:.1f} s")

# %% Side by side.
from matplotlib.figure import Figure  # noqa: E402

shown = {"noisy": noisy, **{name: r.image.numpy() for name, r in results.items()}, "truth": truth}
figure = Figure(figsize=(10, 3), layout="constrained")
for axis, (name, image) in zip(figure.subplots(1, 4), shown.items()):
    axis.imshow(np.moveaxis(np.clip(image, 0, 1), 0, -1))
    axis.set_title(name if name == "truth" else f"{name}\n{psnr(image):.1f} dB", fontsize=9)
    axis.axis("off")
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
