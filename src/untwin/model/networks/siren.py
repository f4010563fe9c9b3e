"""A coordinate network: the image is a function of the place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from untwin.checks import require_int, require_number
from untwin.model.networks.base import Network

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, repr=False)
class Siren(Network):
    """SIREN (Sitzmann et al., NeurIPS 2020): sin(w0 (W x + b)), linear at its end. The input is the coordinates, −1 to 1 along each axis.

    width: units of a layer. layers: hidden layers. w0: frequency of the first and the hidden layers; how fine a detail it begins with.
    """

    width: int = 256
    layers: int = 3
    w0: float = 30.0

    def __post_init__(self) -> None:
        require_int(self, "width", 1, 4096)
        require_int(self, "layers", 1, 12)
        require_number(self, "w0", 1e-3, 1e4)

    def input_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        return (len(grid), *grid)

    def check(self, grid: tuple[int, ...]) -> None:
        """Any grid will do."""

    def make(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        return _modules()[0](self, len(grid), outputs)


def coordinates(grid: tuple[int, ...]) -> Tensor:
    """(d, *grid): the places of the pixels, −1 to 1 along each axis."""
    import torch

    return torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid), indexing="ij"))


@cache
def _modules() -> tuple[type, ...]:
    import torch
    from torch import nn

    class Sines(nn.Module):
        def __init__(self, network: Siren, d: int, outputs: int) -> None:
            super().__init__()
            self.w0 = network.w0
            sizes = [d, *[network.width] * (network.layers + 1)]
            self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
            self.last = nn.Linear(network.width, outputs)
            for k, layer in enumerate(self.hidden):
                layer.bound = 1 / d if k == 0 else math.sqrt(6 / network.width) / network.w0  # type: ignore[assignment]
            self.last.bound = math.sqrt(6 / network.width) / network.w0  # type: ignore[assignment]

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            y = z.movedim(1, -1)
            for layer in self.hidden:
                y = torch.sin(self.w0 * layer(y))
            return self.last(y).movedim(-1, 1)

    return (Sines,)
