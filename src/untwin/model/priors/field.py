"""A smooth field: pixels that know their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.priors.base import Parts, Single

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@lru_cache(maxsize=4)
def _spectrum(grid: tuple[int, ...], order: float, corner: float, device: torch.device) -> Tensor:
    """(1 + |f|² / corner²)^(−order / 2), the half of it that a real field needs."""
    import torch

    square = torch.zeros((), dtype=torch.float64)
    for axis, n in enumerate(grid):
        f = torch.fft.rfftfreq(n, dtype=torch.float64) if axis == len(grid) - 1 else torch.fft.fftfreq(n, dtype=torch.float64)
        square = square + (f**2).reshape([-1 if a == axis else 1 for a in range(len(grid))])
    return (1 + square / corner**2).pow(-order / 2).float().to(device)


@dataclass(frozen=True, repr=False)
class RandomField(Single):
    """φ = F⁻¹ (1 + |f|² / corner²)^(−order/2) F u, one number u per pixel: if u is white noise, φ is a random field of Matérn's
    covariance (Whittle, Biometrika 41, 1954). In these numbers large structures are as easy to find as small ones, and a fit that is
    stopped early is smooth: by a rule such as HeldOut(), which needs no weight. The fit never ends by itself at a smooth field.

    order: how fast small structures become rare; 3.5 for a smooth phase. corner: frequency from which they do, cycles per pixel.
    margin: pixels along each edge where the field is 0, such as the padding of a near field. spread: deviation of the first u.
    rate: learning rate.
    """

    order: float = 3.5
    corner: float = 0.03
    margin: int = 0
    spread: float = 0.01
    rate: float = 0.1

    def __post_init__(self) -> None:
        require_number(self, "order", 0, 20)
        require_number(self, "corner", 0, 1, above=True)
        require_int(self, "margin", 0, 100_000)
        require_number(self, "spread", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        if 2 * self.margin >= min(grid):
            raise InputError(f"{self!r} on a grid of shape {grid}: nothing is left between the margins; expected margin={min(grid) // 4}")

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        return Parts({"white": self.spread * torch.randn((outputs, *grid), generator=generator)}, {})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        u, axes = parts.trained["white"], tuple(range(1, 1 + len(grid)))
        spectrum = _spectrum(tuple(grid), self.order, self.corner, u.device)
        field = torch.fft.irfftn(torch.fft.rfftn(u, dim=axes) * spectrum, s=grid, dim=axes)
        if not self.margin:
            return field
        inside = field[(..., *(slice(self.margin, n - self.margin) for n in grid))]
        return torch.nn.functional.pad(inside, (self.margin,) * (2 * len(grid)))

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs)

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False
