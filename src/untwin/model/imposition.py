"""Which engine imposes the data on x and takes iterations: one function of waves, detection and constraint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from untwin import engine, fourier
from untwin.engine import Coefficients, ConstraintFlags, Fienup, plain
from untwin.engine.plain import total
from untwin.errors import InputError
from untwin.model.detection import Ideal
from untwin.model.waves.farfield import FarField

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

Row = Coefficients | Fienup
STILL = Coefficients(0, 0, 0, 0, 0)


class Engine(ABC):
    """y = P_M x, and iterations x' = update(x, y)."""

    @abstractmethod
    def impose(self, problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, a new tensor; and the error of x that it has met, Σ (√D(|W x|²) − √I)² over the imposed pixels, (starts,) float64."""

    @abstractmethod
    def advance(self, problem: Problem, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """x after so many iterations, and the y and the error of the last one."""


def engine_for(problem: Problem, x: Tensor, support: Tensor | None, row: Row) -> Engine:
    """The fastest that does it.

    | engine       | waves                  | detection | constraint                                   | x              |
    | Compiled     | far field, no offset   | ideal     | support, real or positive, magnitude cap     | CPU, float32   |
    | HalfSpectrum | far field, no offset   | ideal     | any that makes x real                        | any, real      |
    | General      | any that are unitary   | any       | any                                          | any            |

    support: None where only `impose` is asked for. Raises InputError for waves that are not unitary.
    """
    waves, detection, constraint = problem.model.waves, problem.model.detection, problem.constraint
    if not waves.unitary:
        raise InputError(f"projections need waves whose adjoint is their inverse; {waves!r} are not: try 1000*Fit(Untrained())")
    if isinstance(waves, FarField) and not any(waves.offset) and isinstance(detection, Ideal):
        flags = constraint.flags
        if flags is not None and x.is_complex() != problem.real:
            fits = not isinstance(as_row(row, flags), Fienup) or flags == ConstraintFlags(positive=True)
            if fits and (compiled := engine.compiled_for(x, support, flags)) is not None:
                return Compiled(compiled, flags)
        if problem.real and not x.is_complex():
            return HalfSpectrum()
    return General()


@dataclass(frozen=True)
class Compiled(Engine):
    """Machine code for the grid at hand (engine.iterations)."""

    code: ModuleType
    flags: ConstraintFlags

    def impose(self, problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        nowhere = x.new_zeros((1, *x.shape[1:]), dtype=torch.bool).expand(x.shape)
        return self.advance(problem, x, nowhere, STILL, 1)[1:]

    def advance(self, problem: Problem, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        m = problem.modulus
        return self.code.run(x, support, problem.counts.arranged, as_row(row, self.flags), self.flags, m.rho, m.damping, steps)


@dataclass(frozen=True)
class HalfSpectrum(Engine):
    """Half of the transform of a real x."""

    def impose(self, problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
        grid = tuple(x.shape[1:])
        w = fourier.forward_half(x, len(grid))
        error = problem.modulus(w, problem.counts.half, grid[-1])
        return fourier.inverse_half(w, grid), error

    def advance(self, problem: Problem, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return _one_by_one(self, problem, x, support, row, steps)


@dataclass(frozen=True)
class General(Engine):
    """W, the modulus, W*: any waves, any detection."""

    def impose(self, problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
        waves, detection = problem.model.waves, problem.model.detection
        w = waves.propagate(x)
        error = problem.modulus(w, problem.counts.target, detection=detection)
        y = waves.backpropagate(w, spent=True)
        return (y.real.contiguous() if problem.real else y), error

    def advance(self, problem: Problem, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return _one_by_one(self, problem, x, support, row, steps)


def _one_by_one(engine: Engine, problem: Problem, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    for _ in range(steps - 1):
        x = update(problem, x, engine.impose(problem, x)[0], support, row)
    y, error = engine.impose(problem, x)
    return update(problem, x, y, support, row), y, error


def update(problem: Problem, x: Tensor, y: Tensor, support: Tensor, row: Row) -> Tensor:
    """x' = a x + c y + s P_S(u x + v y), or Fienup's form, a new tensor."""
    flags = problem.constraint.flags
    row = as_row(row, flags)
    if isinstance(row, Fienup):
        if flags == ConstraintFlags(positive=True) and not x.is_complex():
            return plain.fienup(x, y, support, row.beta)
        return y.where(problem.constraint.satisfied(y, support), x.add(y, alpha=-row.beta))
    if flags is not None and x.is_complex() != problem.real:
        return plain.update(x, y, support, row, flags)
    z = problem.project_object(total(((row.v, y), (row.u, x))), support)
    return total(((row.s, z), (row.a, x), (row.c, y)))


def as_row(row: Row, flags: ConstraintFlags | None) -> Row:
    """Under a plain support Fienup's form is a row of the table (HPR)."""
    if isinstance(row, Fienup) and flags == ConstraintFlags():
        return Coefficients(a=1, c=-row.beta, s=1, u=-1, v=1 + row.beta)
    return row
