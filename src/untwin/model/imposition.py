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

    from untwin.model.constraints import Constraint
    from untwin.model.counts import Counts, Modulus
    from untwin.model.physics import Physics

Row = Coefficients | Fienup
STILL = Coefficients(0, 0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Sets:
    """The two sets that a projection goes between: the objects that give the counts, and those in the constraint."""

    physics: Physics
    counts: Counts
    modulus: Modulus
    constraint: Constraint


class Engine(ABC):
    """y = P_M x, and iterations x' = update(x, y)."""

    @abstractmethod
    def impose(self, sets: Sets, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, a new tensor; and the error of x that it has met, Σ (√D(|W x|²) − √I)² over the imposed pixels, (starts,) float64."""

    @abstractmethod
    def advance(self, sets: Sets, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """x after so many iterations, and the y and the error of the last one."""


def engine_for(sets: Sets, x: Tensor, support: Tensor | None, row: Row) -> Engine:
    """The fastest that does it.

    | engine       | waves                  | detection | constraint                                   | x              |
    | Compiled     | far field, no offset   | ideal     | support, real or positive, magnitude cap     | CPU, float32   |
    | HalfSpectrum | far field, no offset   | ideal     | any that makes x real                        | any, real      |
    | General      | any that are unitary   | any       | any                                          | any            |

    support: None where only `impose` is asked for. Raises InputError for waves that are not unitary, which go by `advance_wave`.
    """
    waves, detection, constraint = sets.physics.waves, sets.physics.detection, sets.constraint
    if not waves.unitary:
        raise InputError(
            f"projections between objects need waves whose adjoint is their inverse; {waves!r} are not: try RAAR, or 1000*Fit(Untrained())"
        )
    if type(waves) is FarField and not any(waves.offset) and type(detection) is Ideal:  # one of the user's may be another physics
        flags = constraint.flags
        if flags is not None and x.is_complex() != sets.constraint.real:
            fits = not isinstance(as_row(row, flags), Fienup) or flags == ConstraintFlags(positive=True)
            if fits and (compiled := engine.compiled_for(x, support, flags)) is not None:
                return Compiled(compiled, flags)
        if sets.constraint.real and not x.is_complex():
            return HalfSpectrum()
    return General()


@dataclass(frozen=True)
class Compiled(Engine):
    """Machine code for the grid at hand (engine.iterations)."""

    code: ModuleType
    flags: ConstraintFlags

    def impose(self, sets: Sets, x: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        nowhere = x.new_zeros((1, *x.shape[1:]), dtype=torch.bool).expand(x.shape)
        return self.advance(sets, x, nowhere, STILL, 1)[1:]

    def advance(self, sets: Sets, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        m = sets.modulus
        return self.code.run(x, support, sets.counts.arranged, as_row(row, self.flags), self.flags, m.rho, m.damping, steps)


@dataclass(frozen=True)
class HalfSpectrum(Engine):
    """Half of the transform of a real x."""

    def impose(self, sets: Sets, x: Tensor) -> tuple[Tensor, Tensor]:
        grid = tuple(x.shape[1:])
        w = fourier.forward_half(x, len(grid))
        error = sets.modulus(w, sets.counts.half, grid[-1])
        return fourier.inverse_half(w, grid), error

    def advance(self, sets: Sets, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return _one_by_one(self, sets, x, support, row, steps)


@dataclass(frozen=True)
class General(Engine):
    """W, the modulus, W*: any waves, any detection."""

    def impose(self, sets: Sets, x: Tensor) -> tuple[Tensor, Tensor]:
        waves, detection = sets.physics.waves, sets.physics.detection
        kind = x.dtype if x.is_complex() else x.dtype.to_complex()
        w = waves.propagate(x).to(kind)  # unknowns are in double precision
        error = sets.modulus(w, sets.counts.target, detection=detection)
        y = waves.backpropagate(w, spent=True).to(kind)
        return (y.real.contiguous() if sets.constraint.real else y), error

    def advance(self, sets: Sets, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return _one_by_one(self, sets, x, support, row, steps)


# between waves


def propagated(sets: Sets, x: Tensor) -> Tensor:
    """W x, complex."""
    w = sets.physics.waves.propagate(x)
    return w if w.is_complex() else w.to(w.dtype.to_complex())


def nearest_object(sets: Sets, w: Tensor) -> Tensor:
    """W⁺ w, real where the constraint says so."""
    x = sets.physics.waves.pseudoinverse(w, sets.constraint.real)
    if sets.constraint.real:
        return (x.real if x.is_complex() else x).contiguous()
    return x if x.is_complex() else x.to(x.dtype.to_complex())


def advance_wave(sets: Sets, w: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Iterations w' = a w + c b + s W P_C W⁺ (u w + v b), b = P_M w, between the waves that have the measured moduli and those of objects
    in the constraint C. Returns w', W⁺ b and the error of the last one.

    W P_C W⁺ is the projection where W* W is diagonal, or C a linear space that W⁺ knows. Fienup's form is its row of the table here."""
    if isinstance(row, Fienup):
        row = Coefficients(a=1, c=-row.beta, s=1, u=-1, v=1 + row.beta)
    b = error = w
    for _ in range(steps):
        b = w.clone()
        error = sets.modulus(b, sets.counts.target, detection=sets.physics.detection)
        z = nearest_object(sets, total(((row.v, b), (row.u, w))))
        z = propagated(sets, sets.constraint.project(z, support)).to(w.dtype)
        w = total(((row.s, z), (row.a, w), (row.c, b)))
    return w, nearest_object(sets, b), error


def _one_by_one(engine: Engine, sets: Sets, x: Tensor, support: Tensor, row: Row, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    for _ in range(steps - 1):
        x = update(sets, x, engine.impose(sets, x)[0], support, row)
    y, error = engine.impose(sets, x)
    return update(sets, x, y, support, row), y, error


def update(sets: Sets, x: Tensor, y: Tensor, support: Tensor, row: Row) -> Tensor:
    """x' = a x + c y + s P_S(u x + v y), or Fienup's form, a new tensor."""
    flags = sets.constraint.flags
    row = as_row(row, flags)
    if isinstance(row, Fienup):
        if flags == ConstraintFlags(positive=True) and not x.is_complex():
            return plain.fienup(x, y, support, row.beta)
        return y.where(sets.constraint.satisfied(y, support), x.add(y, alpha=-row.beta))
    if flags is not None and x.is_complex() != sets.constraint.real:
        return plain.update(x, y, support, row, flags)
    z = sets.constraint.project(total(((row.v, y), (row.u, x))), support)
    return total(((row.s, z), (row.a, x), (row.c, y)))


def as_row(row: Row, flags: ConstraintFlags | None) -> Row:
    """Under a plain support Fienup's form is a row of the table (HPR)."""
    if isinstance(row, Fienup) and flags == ConstraintFlags():
        return Coefficients(a=1, c=-row.beta, s=1, u=-1, v=1 + row.beta)
    return row
