"""A differentiable function of torch is a physics: a camera that saw the picture through a moving slit, with a curve of its own.

python examples/09_an_operator_of_your_own.py operator.png
"""

# %% The operator: one column in three, and a detector that saturates softly.
import sys

import numpy as np
import torch
from skimage import data, transform

import untwin as ut
from untwin.algorithms import Fit
from untwin.physics import Forward
from untwin.priors import Skip, Untrained


def camera(x: torch.Tensor) -> torch.Tensor:
    """(1, channels, height, width) -> (1, channels, height, width / 3)."""
    return torch.tanh(2 * x[..., ::3])


# %% What it measured.
truth = torch.from_numpy(transform.resize(data.camera(), (36, 36), anti_aliasing=True)).float()[None]
y = camera(truth[None])[0]
y = y + 0.02 * torch.from_numpy(np.random.default_rng(0).normal(size=y.shape)).float()

# %% Its physics says on which grid the picture lies. Gradients come from torch.
physics = Forward(camera, grid=(36, 36))
fit = Fit(Untrained(Skip(depth=3, width=24, inputs=8)), average=0.95)
restored = ut.restore(y, physics, prior=fit, steps=200)
error = -10 * float((restored.image - truth).square().mean().log10())
print(f"{error:.1f} dB, the image of step {restored.numbers['best_at']:.0f}; {restored.recipe}")

# %% Measured, restored, true.
from matplotlib.figure import Figure  # noqa: E402

figure = Figure(figsize=(8, 3), layout="constrained")
for axis, (name, image) in zip(figure.subplots(1, 3), {"measured": y, "restored": restored.image, "truth": truth}.items()):
    axis.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}, {' x '.join(map(str, image.shape[1:]))}")
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
