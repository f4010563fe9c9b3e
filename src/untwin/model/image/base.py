"""What every physics of pictures can do; the identity, and any function of torch.

x is (..., channels, *grid); what is measured is physics(x). `object_grid` says which grid of x gives a measured grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.errors import InputError
from untwin.model.symmetry import NoSymmetry, Symmetry

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.unknown import Nuisance, Unknown


def as_tensor(values: Any, what: str) -> Tensor:
    """A tensor as it is, of an array or a list a new one. Raises InputError for anything else; `what` names it in the message."""
    import torch

    if isinstance(values, torch.Tensor):
        return values
    try:
        return torch.from_numpy(np.array(values))
    except (TypeError, ValueError):
        raise InputError(f"{what}: expected a tensor or an array of numbers, got {values!r}") from None


class ImagePhysics(ABC):
    """y = physics(x)."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        """The grid of x for measurements of this grid. Raises InputError where there is none."""
        return measured

    def on(self, device: Any) -> ImagePhysics:
        """The same physics with its tensors on a device."""
        return self

    def for_grid(self, measured: tuple[int, ...]) -> ImagePhysics:
        """The same for measurements of this grid, with the sizes that follow from it. Raises InputError where it does not suit."""
        return self

    @property
    def unknowns(self) -> dict[str, Unknown]:
        """Tensors of the physics of which nothing is known, by name."""
        return {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the unknowns, once the grid is known (for_grid)."""
        return {}

    def first_values(self) -> Nuisance:
        """Where the search for the unknowns begins, *shape each; without an opinion."""
        return {}

    def holding(self, values: Nuisance) -> ImagePhysics:
        """The same with values for its unknowns, *shape each."""
        return self

    @property
    def symmetry(self) -> Symmetry:
        """What of x and of the unknowns the measurement cannot tell apart."""
        return NoSymmetry()


class Linear(ImagePhysics):
    """A linear physics."""

    @property
    @abstractmethod
    def axes(self) -> int:
        """Dimensions of the grid."""

    def adjoint(self, w: Tensor) -> Tensor:
        """A* w, by the reverse of what A does: <A x, w> = <x, A* w>."""
        import torch

        x = torch.zeros(
            (*w.shape[: w.ndim - self.axes], *self.object_grid(tuple(w.shape[w.ndim - self.axes :]))), dtype=w.dtype, device=w.device
        )
        return torch.func.vjp(self.__call__, x)[1](w)[0]


@dataclass(frozen=True)
class Identity(Linear):
    """y = x: denoising. axes: dimensions of the grid."""

    axes: int = 2

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Forward(ImagePhysics):
    """Any function of torch: y = function(x), gradients by torch. x is (1, channels, *grid), y (1, *the measurement's shape).

    grid: of x; by default that of y.
    """

    function: Callable[[Any], Any]
    grid: tuple[int, ...] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        return measured if self.grid is None else self.grid
