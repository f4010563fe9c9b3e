"""Missing pixels: inpainting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.model.image.base import Linear, as_tensor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Mask(Linear):
    """y = x where measured, 0 elsewhere: inpainting. measured: (*grid) bool."""

    measured: Tensor = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", as_tensor(self.measured, "Mask(measured)") != 0)

    @property
    def axes(self) -> int:
        return self.measured.ndim

    def __call__(self, x: Tensor) -> Tensor:
        return x.where(self.measured, x.new_zeros(()))

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        if tuple(self.measured.shape) != tuple(measured):
            raise InputError(f"the mask has shape {tuple(self.measured.shape)}, the image {tuple(measured)}; crop or pad one of them")
        return measured

    def on(self, device: Any) -> Mask:
        return Mask(self.measured.to(device))
