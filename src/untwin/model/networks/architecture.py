"""What a trained network is, apart from its weights: the patterns that it takes, the object that it gives, what it is asked for."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_int
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module


class Architecture(ABC):
    """shape: of the patterns, box: of the object, which is centred in an array of that shape and 0 outside; both (*grid)."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    @property
    @abstractmethod
    def box(self) -> tuple[int, ...]: ...

    @abstractmethod
    def build(self, generator: Generator | None = None) -> Module:
        """The network, its weights drawn: input -> output (batch, channels, *box)."""

    @abstractmethod
    def take(self, intensity: Tensor, measured: Tensor) -> Tensor:
        """Patterns (batch, *shape), FFT order, any scale -> the input of the network."""

    @abstractmethod
    def image(self, output: Tensor) -> Tensor:
        """What the output says the object is: (batch, *box), centred at N//2, magnitudes from 0 to 1."""

    @abstractmethod
    def fit(self, output: Tensor, truth: Tensor) -> Tensor:
        """The loss of an output against objects (batch, *box), centred, largest magnitude 1: (), a mean over the batch."""

    def truth(self, image: Tensor) -> Tensor:
        """Objects (batch, *shape), centred, as `fit` wants them: cut to the box, largest magnitude 1."""
        cut = image[(slice(None), *(slice(n // 2 - b // 2, n // 2 - b // 2 + b) for n, b in zip(self.shape, self.box)))]
        top = cut.abs().flatten(1).amax(1).clamp(min=1e-30)
        return cut / top.reshape((-1,) + (1,) * len(self.box))

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class CdiNN(Architecture):
    """The two nets of CDI NN, one for the magnitude and one for the phase (`cdinn.cdinn`).

    form: 32 takes 32 x 32 patterns of objects up to 32 pixels wide, as published (below the sampling that determines an object wider than
    16); 64 takes 64 x 64 patterns of objects in the central 32 x 32: the four interleaved 32 x 32 patterns are its input channels, so that
    it costs what the other does.
    Input: (I / its mean)^(1/4) brought to mean 1, zero frequency at N//2; unmeasured pixels 0. Asked for, as published: the binary
    cross-entropy, per pixel, against the magnitude and against (phase + π) / 2π, ½ where there is no object.
    """

    form: int = 32

    def __post_init__(self) -> None:
        if self.form not in (32, 64):
            raise InputError(f"CdiNN(form={self.form!r}): expected 32 or 64")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.form, self.form)

    @property
    def box(self) -> tuple[int, ...]:
        return (32, 32)

    def build(self, generator: Generator | None = None) -> Module:
        from untwin.model.networks.cdinn import cdinn

        channels = (self.form // 32) ** 2
        return _side_by_side()({name: cdinn(channels, generator) for name in ("magnitude", "phase")})

    def take(self, intensity: Tensor, measured: Tensor) -> Tensor:
        import torch

        x = torch.fft.fftshift(quartic_root(intensity, measured), dim=(-2, -1))
        x = x.unsqueeze(1) if self.form == 32 else folded(x)
        return x.contiguous(memory_format=torch.channels_last)

    def image(self, output: Tensor) -> Tensor:
        import torch

        return torch.polar(output[:, 0].sigmoid(), 2 * torch.pi * output[:, 1].sigmoid() - torch.pi)

    def fit(self, output: Tensor, truth: Tensor) -> Tensor:
        return self.entropies(output, truth).mean(0).sum()

    def entropies(self, output: Tensor, truth: Tensor) -> Tensor:
        """Binary cross-entropy per pixel of each sample, (batch, 2): magnitude, phase."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(output, self.targets(truth), reduction="none").flatten(2).mean(2)

    def floor(self, truth: Tensor) -> Tensor:
        """The least that `entropies` can be: the entropy of the targets themselves, (batch, 2)."""
        import torch

        t = self.targets(truth).double()
        return -(torch.xlogy(t, t) + torch.xlogy(1 - t, 1 - t)).flatten(2).mean(2)

    def targets(self, truth: Tensor) -> Tensor:
        """(batch, 2, *box), 0 to 1."""
        import torch

        return torch.stack([truth.abs().clamp(max=1), (truth.angle() + torch.pi) / (2 * torch.pi)], 1)


@dataclass(frozen=True, repr=False)
class RealUNet(Architecture):
    """A U-Net for real objects between 0 and 1 in the central half of the array (`unet.unet`): the net of DNN-V and DNN-P (Manekar et al.,
    2020), on the 2 x 2 interleaved patterns. Asked for: the binary cross-entropy per pixel, which has its minimum at the mean as the square
    error has, and a gradient where the sigmoid is flat.

    form: pixels of the pattern along each axis, a multiple of 32. width: channels at the top.
    """

    form: int = 64
    width: int = 16

    def __post_init__(self) -> None:
        require_int(self, "form", 32, 512, multiple=32)
        require_int(self, "width", 1, 256)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.form, self.form)

    @property
    def box(self) -> tuple[int, ...]:
        return (self.form // 2, self.form // 2)

    def build(self, generator: Generator | None = None) -> Module:
        from untwin.model.networks.unet import unet

        return unet(4, 1, self.form // 2, self.width, generator=generator)

    def take(self, intensity: Tensor, measured: Tensor) -> Tensor:
        import torch

        return folded(torch.fft.fftshift(quartic_root(intensity, measured), dim=(-2, -1))).contiguous(memory_format=torch.channels_last)

    def image(self, output: Tensor) -> Tensor:
        return output[:, 0].sigmoid()

    def fit(self, output: Tensor, truth: Tensor) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(output[:, 0], truth.abs().clamp(max=1))


@dataclass(frozen=True, repr=False)
class Volume(Architecture):
    """3D: an encoder and two decoders (`volume.volume`), complex objects in the central half of the array. As in AutoPhaseNN, magnitude =
    sigmoid and phase = π tanh; unlike there nothing is cut off below a tenth, since a net that falls below it everywhere would get no
    gradient any more. Asked for: the binary cross-entropy of the magnitude, plus 1 − |<x̂, x>|² / (|x̂|² |x|²).

    form: pixels along each axis, a multiple of 16: 64 as published, 32 for a CPU. width: channels at the top (32 as published).
    """

    form: int = 64
    width: int = 32

    def __post_init__(self) -> None:
        require_int(self, "form", 16, 256, multiple=16)
        require_int(self, "width", 1, 256)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.form,) * 3

    @property
    def box(self) -> tuple[int, ...]:
        return (self.form // 2,) * 3

    def build(self, generator: Generator | None = None) -> Module:
        from untwin.model.networks.volume import volume

        return volume(8, self.width, generator)

    def take(self, intensity: Tensor, measured: Tensor) -> Tensor:
        import torch

        x = folded(torch.fft.fftshift(quartic_root(intensity, measured), dim=(-3, -2, -1)))
        return x.contiguous(memory_format=torch.channels_last_3d)

    def image(self, output: Tensor) -> Tensor:
        import torch

        return torch.polar(output[:, 0].sigmoid(), torch.pi * output[:, 1].tanh())

    def fit(self, output: Tensor, truth: Tensor) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        outline = binary_cross_entropy_with_logits(output[:, 0], truth.abs().clamp(max=1))
        image, truth = self.image(output).flatten(1), truth.flatten(1)
        overlap = (image.conj() * truth).sum(1).abs().square()
        power = image.abs().square().sum(1) * truth.abs().square().sum(1)
        return outline + (1 - overlap / power.clamp(min=1e-30)).mean()


def folded(x: Tensor) -> Tensor:
    """(batch, *grid) -> (batch, 2^d, *grid / 2): every other pixel, from each of the 2^d first ones. Of a pattern, the first is that of the
    object in half the field of view, the others belong to it with half a period of phase across."""
    import itertools

    import torch

    d = x.ndim - 1
    return torch.stack([x[(slice(None), *(slice(k, None, 2) for k in at))] for at in itertools.product((0, 1), repeat=d)], 1)


def padded(image: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Objects (batch, *box), centred, in the middle of arrays of this shape."""
    import torch

    if tuple(image.shape[1:]) == shape:
        return image
    array = torch.zeros((len(image), *shape), dtype=image.dtype, device=image.device)
    array[(slice(None), *(slice(n // 2 - b // 2, n // 2 - b // 2 + b) for n, b in zip(shape, image.shape[1:])))] = image
    return array


def quartic_root(intensity: Tensor, measured: Tensor) -> Tensor:
    """I^(1/4), 0 where not measured, brought to mean 1: free of the scale, and no pixel towers above the others."""
    root = intensity.clamp(min=0).sqrt().sqrt().where(measured, intensity.new_zeros(()))
    d = root.ndim - 1
    return root / root.flatten(1).mean(1).clamp(min=1e-30).reshape((-1,) + (1,) * d)


@lru_cache(maxsize=1)
def _side_by_side() -> Callable[[dict[str, Module]], Module]:
    import torch
    from torch import nn

    class SideBySide(nn.Module):
        """Networks with the same input; their outputs, one after the other along the channels."""

        def __init__(self, nets: dict[str, nn.Module]):
            super().__init__()
            self.nets = nn.ModuleDict(nets)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([net(x) for net in self.nets.values()], 1)

    return SideBySide


ARCHITECTURES: dict[str, type[Architecture]] = {c.__name__: c for c in (CdiNN, RealUNet, Volume)}
MODELS = {"cdi-nn": "cdi-nn", "cdi-nn-64": "cdi-nn-64", "volume": "crystals-3d"}  # models by name, and the recipe that each is trained on
_MODELS: dict[str, Architecture] = {"cdi-nn": CdiNN(), "cdi-nn-64": CdiNN(64), "volume": Volume()}


def architecture(text: str) -> Architecture:
    """The architecture of a model by name, or that a text describes, such as CdiNN(form=64). Raises InputError."""
    if text in _MODELS:
        return _MODELS[text]
    if "(" not in text and text not in ARCHITECTURES:
        near = difflib.get_close_matches(text, _MODELS, n=1)
        raise InputError(f"no model {text!r}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(_MODELS)}"))
    described = expression.read(text, ARCHITECTURES)
    if not isinstance(described, Architecture):
        raise InputError(f"{text!r} is no architecture; known: {', '.join(ARCHITECTURES)}")
    return described
