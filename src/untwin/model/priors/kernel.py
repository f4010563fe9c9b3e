"""Priors of a kernel: non-negative, of sum 1, in a box."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.priors.base import Parts, Prior, Single
from untwin.model.priors.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-3  # of the greatest value of a kernel to begin at: what of it is zero may grow again


class KernelPrior(Single):
    """A prior whose image is a kernel."""

    @abstractmethod
    def shifted_to(self, value: Tensor, parts: Parts) -> Parts:
        """The numbers, with what is fixed such that the first kernel is about this one, (outputs, *grid), non-negative."""


@dataclass(frozen=True, repr=False)
class Softmax(KernelPrior):
    """kernel = softmax over the box of the values of another prior, so that it is non-negative and its sum 1.

    of: free numbers (Grid), a Perceptron as in SelfDeblur, or the coordinate network Implicit(Siren(64)). The fit begins at the kernel that
    the state comes with: its logarithm is added to the values.
    """

    of: Prior = field(default_factory=lambda: Grid(spread=0.01))

    def __post_init__(self) -> None:
        if not isinstance(self.of, Prior) or self.of.complex or isinstance(self.of, KernelPrior):
            raise InputError(f"Softmax(of={self.of!r}): expected a real prior, such as Grid(), Perceptron() or Implicit(Siren(64))")

    def check(self, grid: tuple[int, ...]) -> None:
        self.of.check(grid)

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        parts = self.of.begin(grid, outputs, generator)
        return Parts(parts.trained, {**parts.fixed, "first": torch.zeros(outputs, *grid)})

    def shifted_to(self, value: Tensor, parts: Parts) -> Parts:
        logits = (value + FLOOR * value.amax().clamp(min=1e-30)).log()
        return Parts(parts.trained, {**parts.fixed, "first": (logits - logits.amax()).to(parts.fixed["first"])})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.of.values(parts, grid, outputs, generator) + parts.fixed["first"]

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        values = self.values(parts, grid, outputs, generator).float()
        return values.flatten(1).softmax(1).reshape(values.shape)

    def rates(self, names: list[str]) -> dict[str, float]:
        return self.of.rates(names)

    @property
    def random(self) -> bool:
        return self.of.random


@dataclass(frozen=True, repr=False)
class Perceptron(Single):
    """Values from one hidden layer: `inputs` random numbers, `width` units with ReLU6, one value per pixel: the kernel network of
    SelfDeblur (Ren, Zhang, Wang, Hu and Zuo, CVPR 2020), which goes through Softmax.

    spread: the inputs are uniform from 0 to this. rate: learning rate (Adam); SelfDeblur has 1e-4.
    """

    inputs: int = 200
    width: int = 1000
    spread: float = 0.1
    rate: float = 1e-3

    def __post_init__(self) -> None:
        require_int(self, "inputs", 1, 100_000)
        require_int(self, "width", 1, 100_000)
        require_number(self, "spread", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Any grid will do."""

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        """Weights U(−1, 1) / √fan-in."""
        import torch

        def drawn(*shape: int, fan: int) -> Tensor:
            return (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(fan)

        pixels = outputs * math.prod(grid)
        trained = {
            "hidden": drawn(self.width, self.inputs, fan=self.inputs),
            "hidden_bias": drawn(self.width, fan=self.inputs),
            "last": drawn(pixels, self.width, fan=self.width),
            "last_bias": drawn(pixels, fan=self.width),
        }
        return Parts(trained, {"z": self.spread * torch.rand(self.inputs, generator=generator)})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        t = parts.trained
        hidden = torch.nn.functional.relu6(t["hidden"] @ parts.fixed["z"] + t["hidden_bias"])
        return (t["last"] @ hidden + t["last_bias"]).reshape(outputs, *grid)

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs).sigmoid()

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False
