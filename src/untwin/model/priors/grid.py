"""Pixels, and nothing behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin.checks import require_number
from untwin.model.priors.base import Parts, Single

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Grid(Single):
    """Every pixel is a number of its own, without bounds: what a network has to beat.

    spread: of the first values, around 0.5. rate: learning rate.
    """

    spread: float = 0.1
    rate: float = 0.01

    def __post_init__(self) -> None:
        require_number(self, "spread", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Any grid will do."""

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        noise = torch.randn((outputs, *grid), generator=generator)
        return Parts({"pixels": 0.5 + self.spread * noise}, {})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return parts.trained["pixels"]

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return parts.trained["pixels"]

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False


@dataclass(frozen=True, repr=False)
class Uniform(Single):
    """The same value everywhere, not fitted: the magnitude of a crystal of uniform density, inside its support."""

    value: float = 1.0

    def __post_init__(self) -> None:
        require_number(self, "value", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Any grid will do."""

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        return Parts({}, {"value": torch.full((outputs,) + (1,) * len(grid), float(self.value))})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return parts.fixed["value"].expand(outputs, *grid)

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs)

    def rates(self, names: list[str]) -> dict[str, float]:
        return {}

    @property
    def random(self) -> bool:
        return False
