"""What every prior can do. G(θ) is the image; θ are tensors by name that the caller owns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin import expression

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Tensors = dict[str, "Tensor"]


@dataclass(frozen=True, eq=False)
class Parts:
    """trained: the numbers that a fit moves. fixed: those that it leaves, such as the input of a network. Float32, by name."""

    trained: Tensors
    fixed: Tensors

    def to(self, device: torch.device) -> Parts:
        return Parts(*({n: t.to(device) for n, t in tensors.items()} for tensors in (self.trained, self.fixed)))


class Prior(ABC):
    """A frozen description of how an image is parametrised. grid: pixels, any dimension; outputs: channels."""

    @abstractmethod
    def check(self, grid: tuple[int, ...]) -> None:
        """Raise InputError where the grid does not suit it, before anything is computed."""

    @abstractmethod
    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        """First numbers, a function of the torch generator alone, a CPU one; on the CPU."""

    @abstractmethod
    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        """(outputs, *grid): unbounded. generator: a CPU one, for what is random in each step; without it, nothing is."""

    @abstractmethod
    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        """(outputs, *grid): the image, within the bounds that it has."""

    @abstractmethod
    def rates(self, names: list[str]) -> dict[str, float]:
        """The learning rate of each trained tensor."""

    @abstractmethod
    def parts(self) -> tuple[Prior, ...]:
        """The priors that it is made of, themselves made of no others; itself where there are none."""

    @property
    @abstractmethod
    def complex(self) -> bool:
        """True where the image is complex."""

    @property
    @abstractmethod
    def random(self) -> bool:
        """True where the generator changes the image: the same numbers give another one in each step."""

    def __repr__(self) -> str:
        return expression.write(self)


class Single(Prior):
    """A real image from a prior that is made of no others."""

    def parts(self) -> tuple[Prior, ...]:
        return (self,)

    @property
    def complex(self) -> bool:
        return False
