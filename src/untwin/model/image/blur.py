"""Blur by a kernel that is known, or is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin.checks import is_int
from untwin.errors import InputError
from untwin.model.image.base import Linear, as_tensor
from untwin.model.symmetry import NoSymmetry, ShiftAndScale, Symmetry
from untwin.model.unknown import Unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from untwin.model.unknown import Nuisance


@dataclass(frozen=True, eq=False)
class Blur(Linear):
    """y(r) = Σ_s kernel(s) x(r − s), where the whole kernel lies on x: x is larger than y by the kernel's size less one, so that nothing
    is assumed of what lies beyond the border.

    kernel: real, any odd or even size, and of any sum; Unknown() where it is to be found, too: non-negative, of sum 1, in a box.
    box: of an unknown kernel, pixels along each axis, one number for all; by default the largest odd number within half the picture.
    """

    kernel: Tensor | Unknown = field(repr=False)
    box: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.kernel, Unknown):
            if self.kernel.first is not None:
                raise InputError(f"Blur({self.kernel!r}): a kernel is more than a number; expected Blur(Unknown()) or Blur(kernel)")
        else:
            object.__setattr__(self, "kernel", as_tensor(self.kernel, "Blur(kernel)"))
        if self.box is not None and not isinstance(self.kernel, Unknown):
            raise InputError(f"Blur(kernel, box={self.box!r}): a box belongs to an unknown kernel; expected Blur(Unknown(), box=31)")
        sizes = self.box if isinstance(self.box, tuple) else (self.box,)
        if self.box is not None and not (sizes and all(isinstance(n, int) and is_int(n) and n > 0 for n in sizes)):
            raise InputError(f"Blur(box={self.box!r}): expected pixels, such as 31 or (31, 25), each at least 1")

    @property
    def axes(self) -> int:
        if isinstance(self.kernel, Unknown):
            return len(self.box) if isinstance(self.box, tuple) else 2
        return self.kernel.ndim

    def for_grid(self, measured: tuple[int, ...]) -> Blur:
        if not isinstance(self.kernel, Unknown):
            return self
        usual = tuple(max(1, n // 2 - 1 + n // 2 % 2) for n in measured)
        box = usual if self.box is None else self.box if isinstance(self.box, tuple) else (self.box,) * len(measured)
        if len(box) != len(measured) or any(k > n for k, n in zip(box, measured)):
            raise InputError(
                f"Blur(box={self.box!r}): the box of the kernel is larger than the picture {tuple(measured)}, or has other axes. Expected "
                f"is at most the picture, such as {usual}, which is the default"
            )
        return self if box == self.box else Blur(self.kernel, box)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return {"kernel": self.kernel} if isinstance(self.kernel, Unknown) else {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"kernel": self.box} if isinstance(self.kernel, Unknown) and isinstance(self.box, tuple) else {}

    def first_values(self) -> Nuisance:
        """The same everywhere in the box."""
        import torch

        return {name: torch.full(shape, 1 / math.prod(shape)) for name, shape in self.shapes().items()}

    def holding(self, values: Nuisance) -> Blur:
        return Blur(values["kernel"]) if isinstance(self.kernel, Unknown) and "kernel" in values else self

    @property
    def symmetry(self) -> Symmetry:
        """Of an unknown kernel: to move the picture is to move the kernel the other way, and a factor goes from one to the other."""
        return ShiftAndScale() if isinstance(self.kernel, Unknown) else NoSymmetry()

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(self.kernel, Unknown):
            box = self.for_grid(measured).box
            return tuple(n + k - 1 for n, k in zip(measured, box if isinstance(box, tuple) else ()))
        if len(measured) != self.kernel.ndim or any(k > n for k, n in zip(self.kernel.shape, measured)):
            raise InputError(
                f"the kernel has shape {tuple(self.kernel.shape)}, the image {tuple(measured)}; expected a kernel of as many axes "
                "that is no larger than the image; crop its dark border"
            )
        return tuple(n + k - 1 for n, k in zip(measured, self.kernel.shape))

    def __call__(self, x: Tensor) -> Tensor:
        import torch

        kernel = self._known
        d = kernel.ndim
        grid, axes = tuple(x.shape[-d:]), tuple(range(-d, 0))
        real = x.real.dtype if x.is_complex() else x.dtype
        k = self._transform(grid, real)
        parts = (x.real, x.imag) if x.is_complex() else (x,)
        y = [torch.fft.irfftn(torch.fft.rfftn(p, dim=axes) * k, s=grid, dim=axes) for p in parts]
        convolved = torch.complex(*y) if x.is_complex() else y[0]
        return convolved[(..., *(slice(n - 1, None) for n in kernel.shape))]  # what did not wrap around

    def _transform(self, grid: tuple[int, ...], real: torch.dtype) -> Tensor:
        """Of the kernel on a grid, worked out once for it; in each call where the kernel itself is differentiated."""
        import torch

        kernel = self._known

        def transform() -> Tensor:
            return torch.fft.rfftn(kernel.to(real), s=grid, dim=tuple(range(-len(grid), 0)))

        if kernel.requires_grad:
            return transform()
        if (grid, real) not in self._transforms:
            with torch.inference_mode(False), torch.no_grad():  # what stays must serve other calls, too
                self._transforms[grid, real] = torch.func.debug_unwrap(transform())
        return self._transforms[grid, real]

    @cached_property
    def _transforms(self) -> dict[tuple[tuple[int, ...], torch.dtype], Tensor]:
        return {}

    @property
    def _known(self) -> Tensor:
        if isinstance(self.kernel, Unknown):
            raise InputError("Blur(Unknown()) has no kernel yet; expected physics.holding({'kernel': kernel}), or Blur(kernel)")
        return self.kernel

    def on(self, device: Any) -> Blur:
        return self if isinstance(self.kernel, Unknown) else Blur(self.kernel.to(device))
