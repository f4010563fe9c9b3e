"""What a measurement cannot tell apart, as an object of the physics: alignment, following and presentation are asked of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from untwin.model import alignment, translation
from untwin.model.alignment import Alignment

if TYPE_CHECKING:
    from torch import Tensor


class Symmetry(ABC):
    """Transformations of x that leave what is measured as it is. x: (batch, *grid), in FFT order where the grid is periodic."""

    @abstractmethod
    def align(self, x: Tensor, reference: Tensor, subpixel: bool = True) -> Alignment:
        """Each x moved onto the reference (*grid), and the error that is left. subpixel: shifts by fractions of a pixel, too."""

    @abstractmethod
    def follow(self, x: Tensor, reference: Tensor) -> Tensor:
        """Each x held in place on its own reference (like x): between two steps of a run nothing has changed but what could be seen."""

    @abstractmethod
    def canonical(self, x: Tensor) -> Tensor:
        """One representative of all that look alike."""

    @abstractmethod
    def origin(self, x: Tensor) -> list[int]:
        """The roll, pixels for each axis of x (*grid), that brings the object to index 0."""

    @property
    @abstractmethod
    def global_phase(self) -> bool:
        """True where a phase common to all pixels cannot be told."""

    def distances(self, x: Tensor) -> Tensor:
        """(batch, batch) float64: the error between every two, after alignment."""
        import torch

        n = len(x)
        table = torch.zeros(n, n, dtype=torch.float64)
        for i in range(n - 1):
            e = self.align(x[i + 1 :], x[i]).error.cpu()
            table[i, i + 1 :] = e
            table[i + 1 :, i] = e
        return table


@dataclass(frozen=True)
class FarFieldSymmetry(Symmetry):
    """Shift on the periodic grid, the twin (conjugate and inverted), a global phase. ndim: dimensions of the grid."""

    ndim: int

    def align(self, x: Tensor, reference: Tensor, subpixel: bool = True) -> Alignment:
        return alignment.align(x, reference, self.ndim, subpixel)

    def follow(self, x: Tensor, reference: Tensor) -> Tensor:
        """By whole pixels and a phase; the twin is not looked for."""
        return alignment.follow(x, reference, self.ndim)

    def canonical(self, x: Tensor) -> Tensor:
        return alignment.canonical(x, self.ndim)[0]

    def origin(self, x: Tensor) -> list[int]:
        """Of the centre of mass."""
        return alignment.centring(x)

    @property
    def global_phase(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class GlobalPhase(Symmetry):
    """A phase common to all pixels, and nothing else: near fields, coded masks.

    view: (*grid) bool, the field of view: two objects are the same where they are the same inside of it; None for everywhere.
    """

    view: Tensor | None = field(default=None, repr=False)

    def align(self, x: Tensor, reference: Tensor, subpixel: bool = True) -> Alignment:
        if self.view is None:
            return alignment.turn(x, reference)
        view = self.view.to(x.device)
        common = alignment.turn(x * view, reference * view)
        factor = common.factor.reshape((-1,) + (1,) * (x.ndim - 1))
        return replace(common, x=x * factor.to(x.dtype) if x.is_complex() else x)

    def follow(self, x: Tensor, reference: Tensor) -> Tensor:
        return x if not x.is_complex() else alignment.turn(x, reference).x.to(x.dtype)

    def canonical(self, x: Tensor) -> Tensor:
        """The phase of Σ |x| x is 0."""
        return alignment.without_phase(x)

    def origin(self, x: Tensor) -> list[int]:
        return [0] * x.ndim

    @property
    def global_phase(self) -> bool:
        return True


@dataclass(frozen=True)
class ShiftAndScale(Symmetry):
    """A picture behind an unknown blur: shifted one way, with the kernel shifted the other way, or brighter, with a kernel of a smaller
    sum, it is measured the same. Not periodic: what leaves on one side does not come back.

    x is (batch, ..., *grid) with two or more axes of space last; a kernel is (*box).
    """

    axes: int = 2

    def align(self, x: Tensor, reference: Tensor, subpixel: bool = True) -> Alignment:
        """The shift of least error where both are known, then the factor."""
        return translation.shifted_and_scaled(x, reference, self.axes, subpixel)

    def follow(self, x: Tensor, reference: Tensor) -> Tensor:
        """As it is: the kernel would have to follow, and between two steps both hardly move."""
        return x

    def canonical(self, x: Tensor) -> Tensor:
        """As it is: only the kernel says where its middle is (`canonical_pair`)."""
        return x

    def canonical_pair(self, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """The same pair with the kernel's sum 1 and its centre of mass in the middle of its box, to half a pixel; x (..., *grid) is cut on
        one side and repeats its border on the other, as does the kernel with zeros."""
        import torch

        d = kernel.ndim
        total = kernel.sum()
        by = []
        for axis in range(d):
            line = kernel.sum([a for a in range(d) if a != axis]) if d > 1 else kernel
            mean = (line * torch.arange(len(line), dtype=line.dtype, device=line.device)).sum() / total
            by.append(round(float((len(line) - 1) / 2 - mean)))
        centred = translation.translated(kernel, by, zero=True) / total
        return translation.translated(x, [-b for b in by]) * total, centred

    def origin(self, x: Tensor) -> list[int]:
        return [0] * x.ndim

    @property
    def global_phase(self) -> bool:
        return False


@dataclass(frozen=True)
class NoSymmetry(Symmetry):
    """Every change can be seen: pictures."""

    def align(self, x: Tensor, reference: Tensor, subpixel: bool = True) -> Alignment:
        return alignment.compare(x, reference)

    def follow(self, x: Tensor, reference: Tensor) -> Tensor:
        return x

    def canonical(self, x: Tensor) -> Tensor:
        return x

    def origin(self, x: Tensor) -> list[int]:
        return [0] * x.ndim

    @property
    def global_phase(self) -> bool:
        return False
