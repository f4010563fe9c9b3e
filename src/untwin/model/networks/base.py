"""What every network description can do: say its sizes, build the module, draw its first weights from a generator.

A description is frozen numbers. `module` is a skeleton without memory (device "meta"); the weights are a dictionary beside it, so that
who trains them owns them: torch.func.functional_call(module, weights, input).
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from untwin import expression

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Weights = dict[str, "Tensor"]


class Network(ABC):
    """A frozen description. grid: the pixels of the output, any dimension from 1 to 3 and any size that `check` lets through."""

    @abstractmethod
    def input_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """(channels, *grid) of the input that the network turns into an output of this grid."""

    @abstractmethod
    def make(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        """The module: (batch, *input_shape) -> (batch, outputs, *grid), linear at its end."""

    @abstractmethod
    def check(self, grid: tuple[int, ...]) -> None:
        """Raise InputError where the grid is too small for the network."""

    def module(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        """The skeleton, made once in every thread of Python: while functional_call works, a skeleton holds the weights of the caller."""
        self.check(grid)
        return _skeleton(self, tuple(grid), outputs, threading.get_ident())

    def weights(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Weights:
        """First weights, drawn from a CPU generator, on the CPU: convolutions and linear layers U(−1, 1) / √fan-in, normalisations 1 and
        0."""
        return drawn(self.module(grid, outputs), generator)

    def __repr__(self) -> str:
        return expression.write(self)


@lru_cache(maxsize=64)
def _skeleton(network: Network, grid: tuple[int, ...], outputs: int, thread: int) -> nn.Module:
    import torch

    with torch.device("meta"):
        return network.make(grid, outputs)


def drawn(module: nn.Module, generator: Any) -> Weights:
    """Weights for a skeleton, on the CPU: the same ones wherever they go from there. A layer with an attribute `bound` is drawn from
    U(−bound, bound)."""
    import torch

    weights: Weights = {}
    for prefix, layer in module.named_modules():
        for name, p in layer.named_parameters(prefix, recurse=False):
            if is_norm(layer):
                weights[name] = torch.ones(p.shape) if name.endswith("weight") else torch.zeros(p.shape)
                continue
            fan = math.prod(getattr(layer, "weight").shape[1:])  # noqa: B009 (torch types it as a module or a tensor)
            bound = getattr(layer, "bound", 1 / math.sqrt(fan)) if name.endswith("weight") else 1 / math.sqrt(fan)
            u = torch.rand(p.shape, generator=generator)
            weights[name] = (2 * bound * u - bound).contiguous(memory_format=layout(p.shape, module))
    return weights


def on_device(t: Tensor, device: torch.device) -> Tensor:
    """t on a device; to a GPU from pinned memory, so that neither waits for the other."""
    return t if t.device == device else t.pin_memory().to(device, non_blocking=True)


@contextmanager
def single_precision() -> Iterator[None]:
    """Convolutions on a GPU in float32, not in the 10 bits of TF32 that cuDNN takes by default: results would differ in the third digit.
    Where the user has set a precision of his own (torch's fp32_precision), that one is left."""
    import torch

    try:
        with _lock:
            _inside.append(_inside[0] if _inside else torch.backends.cudnn.allow_tf32)
            torch.backends.cudnn.allow_tf32 = False
    except RuntimeError:  # one for convolutions, another for the rest
        yield
        return
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                torch.backends.cudnn.allow_tf32 = before


_lock = threading.Lock()
_inside: list[bool] = []  # for each block that is open, in whatever thread: what was set before the first of them


def is_norm(layer: nn.Module) -> bool:
    from torch import nn

    return isinstance(layer, nn.modules.batchnorm._BatchNorm)


def norm_names(module: nn.Module) -> set[str]:
    """Names of the parameters of the normalisations."""
    return {n for prefix, layer in module.named_modules() if is_norm(layer) for n, _ in layer.named_parameters(prefix, recurse=False)}


def layout(shape: tuple[int, ...], module: nn.Module) -> Any:
    """The order in memory of a tensor of this shape: channels last where that is the faster one (benchmarks/fit.py).

    On processors with AVX-512 it is, and on others for networks of fewer than 64 channels; with 64 it takes twice as long there.
    """
    import torch

    wide = max((p.shape[0] for p in module.parameters()), default=0) >= 64
    if wide and not torch.cuda.is_available() and not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return torch.contiguous_format
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(len(shape), torch.contiguous_format)


def layer(kind: str, d: int, *args: Any, **named: Any) -> nn.Module:
    """nn.Conv2d, nn.BatchNorm3d, ... for d dimensions."""
    from torch import nn

    return (_conv3d() if (kind, d) == ("Conv", 3) else getattr(nn, f"{kind}{d}d"))(*args, **named)


@cache
def _conv3d() -> type[nn.Module]:
    import torch
    from torch import nn

    class Conv3d(nn.Conv3d):
        """On a CPU torch hands a single volume of few channels to its own convolution; oneDNN's takes two fifths of the time."""

        def forward(self, input: Tensor) -> Tensor:
            usual = input.device.type != "cpu" or input.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
            if usual or not torch.backends.mkldnn.is_available():
                return super().forward(input)
            pad = [p for p in map(int, self.padding[::-1]) for _ in (0, 1)]
            x = nn.functional.pad(input, pad, "constant" if self.padding_mode == "zeros" else self.padding_mode)
            return nn.functional.conv3d(x.to_mkldnn(), self.weight, self.bias, self.stride).to_dense()

    return Conv3d


def norm(d: int, channels: int) -> nn.Module:
    """Batch normalisation that never looks back: the statistics are always those of the image at hand."""
    return layer("BatchNorm", d, channels, track_running_stats=False)


def smooth(d: int) -> str:
    """The linear interpolation for d dimensions, by torch's name."""
    return ("linear", "bilinear", "trilinear")[d - 1]
