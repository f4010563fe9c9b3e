"""D: from the intensity of the wave at the detector to the counts that are expected of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin import expression

if TYPE_CHECKING:
    from torch import Tensor


class Detection(ABC):
    """A frozen dataclass with one function. Fields may be `Unknown`; when `expected` is called they are tensors (starts, 1, ..., 1)."""

    @abstractmethod
    def expected(self, f: Tensor) -> Tensor:
        """D(f), counts, from the intensity f = |W x|² (starts, *grid), both at least zero; differentiable by torch."""

    def adjoint_derivative(self, f: Tensor, r: Tensor) -> Tensor:
        """D'(f)* r, like f: the derivative of Σ r D(f), by torch."""
        import torch

        return torch.func.vjp(self.expected, f)[1](r)[0]

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Ideal(Detection):
    """D(f) = f: coherent waves, a detector that only counts."""

    def expected(self, f: Tensor) -> Tensor:
        return f
