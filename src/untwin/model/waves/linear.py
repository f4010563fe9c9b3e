"""Any linear map of the object, and the random one of theory: Gaussian phase retrieval."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from untwin.checks import is_int, require_int
from untwin.errors import InputError
from untwin.model.symmetry import GlobalPhase, Symmetry
from untwin.model.waves.base import Waves, least_squares
from untwin.model.waves.operators import Dense, Operator, operator_of, require_adjoint

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern


class Operated(Waves):
    """Waves by an Operator."""

    @property
    @abstractmethod
    def operator(self) -> Operator: ...

    def propagate(self, x: Tensor) -> Tensor:
        return self.operator.forward(x)

    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        return self.operator.adjoint(w)

    def pseudoinverse(self, w: Tensor, real: bool = False) -> Tensor:
        x = self.operator.pseudoinverse(w, real)
        return least_squares(self, w, real) if x is None else x

    @property
    def unitary(self) -> bool:
        return False

    @property
    def fft_order(self) -> bool:
        return False

    @property
    def symmetry(self) -> Symmetry:
        return GlobalPhase()


@dataclass(frozen=True, repr=False, eq=False)
class Linear(Operated):
    """W = A, any linear map.

    A: a matrix (measurements, unknowns), an operator with matmat and rmatmat (SciPy, PyLops; on the CPU), a sparse matrix of SciPy, or a
        function of torch, from (starts, *grid) to (starts, *shape of the pattern). adjoint: of a function, A*. grid: shape of the object;
        by default one axis. The adjoint is tried on random numbers.
    """

    A: Any = field(default=None, repr=False)
    adjoint: Any = field(default=None, repr=False)
    grid: tuple[int, ...] | None = field(default=None, repr=False)
    measurements: tuple[int, ...] | None = field(default=None, repr=False, init=False)

    def __post_init__(self) -> None:
        if self.A is None:
            raise InputError("Linear without A; expected Linear(matrix) or Linear(function, adjoint, grid=(64, 64))")
        if self.grid is not None and not (isinstance(self.grid, tuple) and self.grid and all(is_int(n) and n > 0 for n in self.grid)):
            raise InputError(f"Linear(grid={self.grid!r}): expected the shape of the object, such as (64, 64)")

    def on(self, pattern: Pattern) -> Linear:
        if pattern.shape == self.measurements:
            return self
        operator = operator_of(self.A, self.adjoint, self.grid, pattern.shape)
        require_adjoint(operator, operator.grid, pattern.shape)
        bound = Linear(self.A, self.adjoint, operator.grid)
        object.__setattr__(bound, "measurements", pattern.shape)
        object.__setattr__(bound, "operator", operator)
        return bound

    def object_shape(self, pattern: Pattern) -> tuple[int, ...]:
        return self.grid or operator_of(self.A, self.adjoint, None, pattern.shape).grid

    @cached_property
    def operator(self) -> Operator:
        if self.measurements is None:
            raise InputError("these waves know no measurement yet; expected them in a Problem(pattern, Linear(A))")
        return operator_of(self.A, self.adjoint, self.grid, self.measurements)


@lru_cache(maxsize=4)
def _drawn(measurements: int, unknowns: int, seed: int, real: bool) -> Any:
    import torch

    from untwin.random import derive

    generator = torch.Generator().manual_seed(derive(seed, "Gaussian waves", measurements, unknowns))
    kind = torch.float64 if real else torch.complex128
    return torch.randn(measurements, unknowns, generator=generator, dtype=kind)


@dataclass(frozen=True, repr=False)
class Gaussian(Operated):
    """W = A with independent normal entries of mean square 1, complex or real: the phase retrieval of theory.

    measurements, unknowns: its size; measurements are by default those of the pattern. seed: of the matrix. real: A is real.
    """

    unknowns: int
    measurements: int | None = None
    seed: int = 0
    real: bool = False

    def __post_init__(self) -> None:
        require_int(self, "unknowns", 1, 100_000)
        if self.measurements is not None:
            require_int(self, "measurements", 1, 1_000_000)
        require_int(self, "seed", 0)
        if not isinstance(self.real, bool):
            raise InputError(f"Gaussian(real={self.real!r}): expected True or False")

    def on(self, pattern: Pattern) -> Gaussian:
        m = math.prod(pattern.shape)
        if self.measurements not in (None, m) or len(pattern.shape) != 1:
            raise InputError(f"{self!r} with measurements of shape {pattern.shape}; expected ({self.measurements or 'm'},)")
        return self if self.measurements else replace(self, measurements=m)

    def object_shape(self, pattern: Pattern) -> tuple[int, ...]:
        return (self.unknowns,)

    @property
    def matrix(self) -> Tensor:
        """(measurements, unknowns) float64 or complex128."""
        if self.measurements is None:
            raise InputError(f"{self!r} knows no number of measurements; expected such as Gaussian(64, 256)")
        return _drawn(self.measurements, self.unknowns, self.seed, self.real)

    @cached_property
    def operator(self) -> Operator:
        return Dense(self.matrix, (self.unknowns,), (len(self.matrix),))
