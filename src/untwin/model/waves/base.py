"""What every propagation of waves can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from untwin import expression

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.outline import Outline
    from untwin.model.symmetry import Symmetry


class Waves(ABC):
    """W, linear: from the object x (starts, *grid) to the complex wave at the detector, of the same shape, both in FFT order."""

    @abstractmethod
    def propagate(self, x: Tensor) -> Tensor:
        """W x, a new tensor."""

    @abstractmethod
    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        """W* w, the adjoint: <W x, w> = <x, W* w>. spent: w is not needed any more, so that its memory may be used."""

    @property
    @abstractmethod
    def unitary(self) -> bool:
        """True where W* is also the inverse of W. Projections onto the data need it."""

    @property
    @abstractmethod
    def symmetry(self) -> Symmetry:
        """What the detector cannot tell apart."""

    @abstractmethod
    def on(self, pattern: Pattern) -> Waves:
        """The same for the grid of a pattern. Raises InputError where the two do not fit."""

    def outline(self, pattern: Pattern) -> Outline | None:
        """Where the object lies, from its pattern alone, before anything is known of it; None where these waves do not tell."""
        return None

    def mirror(self, pattern: Tensor) -> Tensor | None:
        """A pattern (*grid) as a real object would have to repeat it, turned about its centre; None where real objects have no such
        pattern."""
        return None

    def __call__(self, x: Tensor) -> Tensor:
        """|W x|², the intensity at the detector, (starts, *grid) real."""
        w = self.propagate(x)
        return w.real.square() + w.imag.square()

    def __repr__(self) -> str:
        return expression.write(self)
