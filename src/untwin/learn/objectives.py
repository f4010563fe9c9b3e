"""What a network is asked for: four answers to the fact that shift, twin and phase cannot be told from a pattern.

Each is a function of (architecture, output, truth, amplitude): the network's output, the objects (batch, *box), centred, of largest
magnitude 1, and the measured amplitude (batch, *shape), FFT order, NaN where not measured. It returns the loss, a mean over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from untwin import fourier
from untwin.model.alignment import at_origin, extent, flipped, handedness, nearest, rolled
from untwin.model.networks.architecture import padded

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.networks.architecture import Architecture


def supervised(net: Architecture, output: Tensor, truth: Tensor, amplitude: Tensor) -> Tensor:
    """The object as it was drawn: right where the data break the symmetries themselves, a mean of the copies where they do not."""
    return net.fit(output, truth)


def canonical(net: Architecture, output: Tensor, truth: Tensor, amplitude: Tensor) -> Tensor:
    """Active symmetry breaking (Tayal et al., arXiv 2003.09077; Zhang et al., arXiv 2403.15448): one representative of each orbit."""
    return net.fit(output, upright(truth))


def invariant(net: Architecture, output: Tensor, truth: Tensor, amplitude: Tensor) -> Tensor:
    """The copy of the object that is nearest to what the network predicts: the minimum over shift and twin, by FFT."""
    return net.fit(output, nearest_copy(net, truth, net.image(output.detach()), turn=False))


def passive(net: Architecture, output: Tensor, truth: Tensor, amplitude: Tensor) -> Tensor:
    """The pattern alone (Manekar et al., 2020; AutoPhaseNN: Yao et al., npj Comput. Mater. 8, 124, 2022): Σ (s |F x| − A)² / Σ A² over
    the measured pixels, with the scale s that fits best. The object is never seen."""
    predicted = magnitudes(net, net.image(output))
    measured = amplitude.isfinite()
    a, f = amplitude.nan_to_num(0).flatten(1), predicted.where(measured, predicted.new_zeros(())).flatten(1)
    power = a.square().sum(1).clamp(min=1e-30)
    overlap = (a * f).sum(1)
    return (1 - overlap.square() / (f.square().sum(1).clamp(min=1e-30) * power)).mean()


OBJECTIVES: dict[str, Callable[[Architecture, Tensor, Tensor, Tensor], Tensor]] = {
    f.__name__: f for f in (supervised, canonical, invariant, passive)
}


def nearest_copy(net: Architecture, truth: Tensor, prediction: Tensor, turn: bool = True) -> Tensor:
    """Of the symmetric copies of each object (batch, *box), centred, the one nearest to the prediction. Where the box is the whole array a
    shift goes around its edges, else it stays within: the pattern is that of the larger array."""
    d = truth.ndim - 1
    aligned = nearest(fourier.cornered(truth, d), fourier.cornered(prediction, d), d, turn, wrap=net.box == net.shape)
    return fourier.centred(aligned, d)


def magnitudes(net: Architecture, image: Tensor) -> Tensor:
    """|F x| of objects (batch, *box) in an array of the pattern's shape, FFT order."""
    d = image.ndim - 1
    wave = fourier.forward(fourier.cornered(padded(image, net.shape), d), d)
    return wave.abs()


def upright(truth: Tensor) -> Tensor:
    """Of each object (batch, *box), centred, and its twin the one of positive `handedness`, its bounding box in the middle."""
    import torch

    d = truth.ndim - 1
    is_twin = handedness(at_origin(fourier.cornered(truth, d), d), d) < 0
    x = torch.where(is_twin.reshape((-1,) + (1,) * d), flipped(truth, d), truth)
    low, high = extent(x, d)
    middle = torch.tensor([n // 2 for n in x.shape[1:]], device=x.device)
    return rolled(x, middle - torch.div(low + high + 1, 2, rounding_mode="floor"), d)
