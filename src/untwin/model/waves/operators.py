"""A linear map and its adjoint, whatever they were given as: a matrix, an operator of SciPy or PyLops, two functions of torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Operator(ABC):
    """A, from x (starts, *grid) to w (starts, *shape)."""

    grid: tuple[int, ...]
    shape: tuple[int, ...]

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, w: Tensor) -> Tensor:
        """A* w."""

    def pseudoinverse(self, w: Tensor, real: bool) -> Tensor | None:
        """A⁺ w, onto real objects where asked for; None where only iterations find it."""
        return None


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """A matrix (measurements, unknowns), real or complex."""

    matrix: Tensor
    grid: tuple[int, ...]
    shape: tuple[int, ...]
    _cast: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def forward(self, x: Tensor) -> Tensor:
        a = self._as("A", x)
        return (x.flatten(1).to(a.dtype) @ a.T).reshape(-1, *self.shape)

    def adjoint(self, w: Tensor) -> Tensor:
        a = self._as("A", w)
        return (w.flatten(1).to(a.dtype) @ a.conj()).reshape(-1, *self.grid)

    def pseudoinverse(self, w: Tensor, real: bool) -> Tensor:
        """Once, in double precision; for real x that of the real and the imaginary parts, one below the other."""
        import torch

        if not real:
            a = self._as("A+", w)
            return (w.flatten(1).to(a.dtype) @ a.T).reshape(-1, *self.grid)
        if self.matrix.is_complex():
            parts = torch.cat([w.real.flatten(1), w.imag.flatten(1)], 1) if w.is_complex() else torch.cat([w, torch.zeros_like(w)], 1)
        else:
            parts = (w.real if w.is_complex() else w).flatten(1)
        return (parts @ self._as("A+ real", parts).T).reshape(-1, *self.grid)

    def _as(self, name: str, like: Tensor) -> Tensor:
        """A, A⁺ or that of real objects, in the precision and on the device of a tensor, complex where either is."""
        key = (name, like.dtype, str(like.device))
        if key not in self._cast:
            m = {"A": lambda: self.matrix, "A+": lambda: self._inverse, "A+ real": lambda: self._real_inverse}[name]()
            kind = like.dtype.to_complex() if m.is_complex() and not like.is_complex() else like.dtype
            self._cast[key] = m.to(like.device, kind)
        return self._cast[key]

    @cached_property
    def _inverse(self) -> Tensor:
        import torch

        return torch.linalg.pinv(_double(self.matrix))

    @cached_property
    def _real_inverse(self) -> Tensor:
        import torch

        a = _double(self.matrix)
        return torch.linalg.pinv(torch.cat([a.real, a.imag]) if a.is_complex() else a)


@dataclass(frozen=True, eq=False)
class External(Operator):
    """An operator with matmat and rmatmat, as SciPy's LinearOperator and PyLops' have them; on the CPU."""

    operator: Any
    grid: tuple[int, ...]
    shape: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return _applied(x, self.operator.matmat, self.operator.rmatmat, self.shape)

    def adjoint(self, w: Tensor) -> Tensor:
        return _applied(w, self.operator.rmatmat, self.operator.matmat, self.grid)


@dataclass(frozen=True, eq=False)
class Functions(Operator):
    """Two functions of torch: of (starts, *grid), and of (starts, *shape), complex."""

    function: Callable[[Tensor], Tensor]
    adjoint_function: Callable[[Tensor], Tensor]
    grid: tuple[int, ...]
    shape: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return self._of(self.function, "A", x, self.shape)

    def adjoint(self, w: Tensor) -> Tensor:
        return self._of(self.adjoint_function, "adjoint", w, self.grid)

    def _of(self, function: Callable[[Tensor], Tensor], name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        import torch

        try:
            y = function(x if x.is_complex() else x.to(x.dtype.to_complex()))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"{name} fails on a complex tensor of shape {tuple(x.shape)}, starts first: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(y, torch.Tensor) or tuple(y.shape) != (len(x), *shape):
            came = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
            raise InputError(f"{name} makes {came} of {tuple(x.shape)}; expected a tensor of shape {(len(x), *shape)}, starts first")
        return y


def operator_of(a: Any, adjoint: Any, grid: tuple[int, ...] | None, shape: tuple[int, ...]) -> Operator:
    """What a user has given, for measurements of this shape. Raises InputError where it is none of these, or does not fit."""
    import torch

    if callable(a) and not hasattr(a, "matmat") and not isinstance(a, torch.Tensor | np.ndarray):
        if adjoint is None or grid is None:
            raise InputError("a function needs its adjoint and the shape of the object; expected Linear(A, adjoint, grid=(64, 64))")
        return Functions(cast("Callable[[Tensor], Tensor]", a), adjoint, grid, shape)
    if adjoint is not None:
        raise InputError("a matrix or an operator has its own adjoint; leave adjoint out")
    if hasattr(a, "tocsr") or hasattr(a, "rmatmat"):
        from scipy.sparse.linalg import aslinearoperator

        a = aslinearoperator(a) if hasattr(a, "tocsr") else a
        return External(a, _grid(a.shape, grid, shape), shape)
    matrix = a.detach() if isinstance(a, torch.Tensor) else torch.from_numpy(np.asarray(a)) if _is_matrix(a) else None
    if matrix is None or matrix.ndim != 2 or matrix.dtype == torch.bool:
        raise InputError(
            f"A is {type(a).__name__}; expected a matrix (measurements, unknowns), a LinearOperator, or a function and its adjoint"
        )
    if not bool(torch.view_as_real(matrix).isfinite().all() if matrix.is_complex() else matrix.isfinite().all()):
        raise InputError("A has NaN or infinite values; expected finite ones")
    if not bool(matrix.any()):
        raise InputError("A is 0 everywhere, so that nothing is measured; expected numbers in it")
    matrix = matrix if matrix.is_complex() or matrix.is_floating_point() else matrix.double()
    return Dense(matrix, _grid(tuple(matrix.shape), grid, shape), shape)


def require_adjoint(operator: Operator, grid: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """<A x, w> = <x, A* w> of random x and w, or InputError."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *grid, generator=generator, dtype=torch.complex64)
    w = torch.randn(1, *shape, generator=generator, dtype=torch.complex64)
    y, z = operator.forward(x), operator.adjoint(w)
    measured, returned = ((a.to(torch.complex128).conj() * b.to(torch.complex128)).sum() for a, b in ((w, y), (z, x)))
    if not abs(complex(measured) - complex(returned)) <= 1e-3 * float(y.norm() * w.norm()):
        raise InputError(
            f"A and adjoint do not belong together: of random x and w, <w, A x> = {complex(measured):.4g} and <adjoint w, x> = "
            f"{complex(returned):.4g}. Expected is the conjugate transpose of A (for a Fourier transform with norm='ortho' its inverse)"
        )


def _double(a: Tensor) -> Tensor:
    import torch

    return a.to(torch.complex128 if a.is_complex() else torch.float64)


def _is_matrix(a: Any) -> bool:
    return isinstance(a, np.ndarray | list | tuple) and np.asarray(a).dtype.kind in "iufc"


def _grid(matrix: tuple[int, ...], grid: tuple[int, ...] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of the object. Raises InputError where the sizes do not fit."""
    m, n = matrix
    if m != math.prod(shape):
        raise InputError(f"A has {m} rows for {math.prod(shape)} measured numbers of shape {shape}; expected one row for each")
    grid = (n,) if grid is None else grid
    if math.prod(grid) != n:
        raise InputError(f"A has {n} columns for an object of shape {grid}, which has {math.prod(grid)} pixels; expected one for each")
    return grid


def _applied(x: Tensor, function: Callable, adjoint: Callable, shape: tuple[int, ...]) -> Tensor:
    """function(x) of arrays whose columns are starts; adjoint gives the derivative."""
    import torch

    class Applied(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.grid = x.shape[1:]
            return _columns(function, x).reshape(-1, *shape)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return _columns(adjoint, slope).reshape(-1, *ctx.grid)

    y = Applied.apply(x)
    assert isinstance(y, torch.Tensor)
    return y


def _columns(function: Callable, x: Tensor) -> Tensor:
    import torch

    y = np.asarray(function(x.detach().flatten(1).cpu().numpy().T)).T
    kind = x.real.dtype if x.is_complex() else x.dtype
    result = torch.from_numpy(np.ascontiguousarray(y)).to(x.device)
    return result.to(kind.to_complex() if result.is_complex() else kind)
