"""An image drawn by a network that was trained on images of its kind; what is fitted is what it draws from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.networks import weights
from untwin.model.priors.base import Parts, Single, Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Generator(Single):
    """Image = sigmoid G(z), z fitted, G as it was trained (Bora, Jalal, Price and Dimakis, ICML 2017). Far fewer numbers than pixels: what
    is no image of its kind it cannot draw, and there is nothing to overfit.

    A descent in z ends in a valley near its start: take several, State.of(zeros(8, 1, 28, 28)), and the one with the least misfit.

    weights: a file that `untwin.learn.generator.save` has written. spread: deviation of the first z; 1 is what G was trained with. rate:
        learning rate (Adam).
    """

    weights: str
    spread: float = 0.5
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str | Path):
            raise InputError(f"Generator({self.weights!r}): expected a file of weights")
        object.__setattr__(self, "weights", str(self.weights))
        require_number(self, "spread", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        _, shape = _load(self.weights)
        if tuple(grid) != shape:
            raise InputError(f"{self!r} draws images of {shape}, this one has {tuple(grid)}; crop it, or take another prior")

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        tensors, _ = _load(self.weights)
        z = torch.randn((outputs, tensors["weight.0"].shape[1]), generator=generator)
        return Parts({"z": self.spread * z}, dict(tensors))

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return draw(parts.fixed, parts.trained["z"]).reshape(outputs, *grid)

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs).sigmoid()

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False


def draw(tensors: Tensors, z: Tensor) -> Tensor:
    """(batch, latent) -> (batch, pixels), unbounded: layers of weight.i and bias.i with ReLU between them."""
    import torch

    last = len(tensors) // 2 - 1
    for i in range(last + 1):
        z = torch.nn.functional.linear(z, tensors[f"weight.{i}"], tensors[f"bias.{i}"])
        z = z.relu() if i < last else z
    return z


@lru_cache(maxsize=4)
def _load(path: str) -> tuple[Tensors, tuple[int, ...]]:
    """The layers, and the grid of the images. Raises InputError where the file holds no generator."""
    file = weights.existing(Path(path))
    tensors, card = weights.read(file)
    try:
        grid, layers = tuple(int(n) for n in card["generator"]), len(tensors) // 2
        sizes = [tensors["weight.0"].shape[1]]
        for i in range(layers):
            sizes.append(len(tensors[f"bias.{i}"]))
            if tuple(tensors[f"weight.{i}"].shape) != (sizes[-1], sizes[-2]):
                raise ValueError(f"weight.{i} does not fit")
        if sizes[-1] != math.prod(grid):
            raise ValueError(f"{sizes[-1]} pixels for {grid}")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{file} holds no generator ({error}); expected a file that untwin.learn.generator has written") from None
    return tensors, grid
