"""What every propagation of waves can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from untwin import expression

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.outline import Outline
    from untwin.model.symmetry import Symmetry

CG_STEPS = 200  # of conjugate gradients, at most
CG_TOLERANCE = 1e-6  # of the residual, relative: float32


class Waves(ABC):
    """W, linear: from the object x (starts, *grid) to the complex wave w where it is measured, (starts, *shape of the pattern)."""

    @abstractmethod
    def propagate(self, x: Tensor) -> Tensor:
        """W x, a new tensor."""

    @abstractmethod
    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        """W* w, the adjoint: <W x, w> = <x, W* w>. spent: w is not needed any more, so that its memory may be used."""

    @property
    @abstractmethod
    def unitary(self) -> bool:
        """True where W* is also the inverse of W, so that projections can go between objects. Elsewhere they go between waves."""

    @property
    @abstractmethod
    def symmetry(self) -> Symmetry:
        """What the detector cannot tell apart."""

    @abstractmethod
    def on(self, pattern: Pattern) -> Waves:
        """The same for the grid of a pattern. Raises InputError where the two do not fit."""

    def recorded(self, pattern: Pattern) -> Pattern:
        """The pattern, with what a file must hold beside it to know these waves again."""
        return pattern

    def object_shape(self, pattern: Pattern) -> tuple[int, ...]:
        """The grid of the object; by default that of the pattern."""
        return pattern.shape

    @property
    def fft_order(self) -> bool:
        """True where index 0 of the object's grid is its origin; False where it is a corner, as in a picture."""
        return True

    def pseudoinverse(self, w: Tensor, real: bool = False) -> Tensor:
        """W⁺ w: the object x whose W x is nearest to w; real: among real objects. By default conjugate gradients on W* W x = W* w."""
        return least_squares(self, w, real)

    def outline(self, pattern: Pattern) -> Outline | None:
        """Where the object lies, from its pattern alone, before anything is known of it; None where these waves do not tell."""
        return None

    def illuminated(self, pattern: Pattern) -> np.ndarray | None:
        """(*grid) bool: where light comes to the object at all; None for everywhere."""
        return None

    def mirror(self, pattern: Tensor) -> Tensor | None:
        """A pattern (*grid) as a real object would have to repeat it, turned about its centre; None where real objects have no such
        pattern."""
        return None

    def __call__(self, x: Tensor) -> Tensor:
        """|W x|², the intensity where it is measured, (starts, *shape of the pattern) real."""
        w = self.propagate(x)
        return w.real.square() + w.imag.square() if w.is_complex() else w.square()

    def __repr__(self) -> str:
        return expression.write(self)


def least_squares(waves: Waves, w: Tensor, real: bool) -> Tensor:
    """Conjugate gradients (Hestenes and Stiefel, J. Res. Natl. Bur. Stand. 49, 1952) on the normal equations, each start on its own."""

    def normal(x: Tensor) -> Tensor:
        y = waves.backpropagate(waves.propagate(x))
        return y.real if real and y.is_complex() else y

    def square(a: Tensor) -> Tensor:
        a = a.flatten(1)
        return (a.real.square() + a.imag.square() if a.is_complex() else a.square()).sum(1).reshape((-1,) + (1,) * (r.ndim - 1))

    b = waves.backpropagate(w)
    r = (b.real if real and b.is_complex() else b).clone()
    x, p, size = r.new_zeros(r.shape), r, square(r)
    least = CG_TOLERANCE**2 * size
    for _ in range(CG_STEPS):
        if bool((size <= least).all()):
            break
        q = normal(p)
        curvature = (p.conj() * q).flatten(1).sum(1).reshape(size.shape)
        step = size / (curvature.real if curvature.is_complex() else curvature).clamp(min=1e-30)
        x, r = x + step * p, r - step * q
        new = square(r)
        p, size = r + new / size.clamp(min=1e-30) * p, new
    return x
