"""A wavefront over a round pupil: a few numbers instead of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.priors.base import Parts, Single

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST = 500  # modes: 31 radial orders


def orders(modes: int) -> list[tuple[int, int]]:
    """(n, m) of the first modes in the order of Noll (J. Opt. Soc. Am. 66, 1976), piston first; m < 0 for the sines."""
    pairs: list[tuple[int, int]] = []
    n = 0
    while len(pairs) < modes:
        for m in range(n % 2, n + 1, 2):
            for _ in range(2 if m else 1):
                cosine = (len(pairs) + 1) % 2 == 0  # an even number of Noll's
                pairs.append((n, m if cosine else -m))
        n += 1
    return pairs[:modes]


def zernike(shape: tuple[int, ...], modes: int, first: int = 1) -> np.ndarray:
    """(modes, *shape) float64: Zernike polynomials first, first + 1, ... of Noll, of mean square 1 over the disk.

    The disk is centred in the array, (N − 1) / 2, and its diameter is the shorter side. Z = R_nm(r) times √(n + 1), √(2 n + 2) cos mφ or
    √(2 n + 2) sin |m|φ, φ from the second axis to the first; R by Jacobi's polynomials, (−1)^k r^m P_k^(m, 0)(1 − 2 r²), k = (n − m) / 2.
    """
    from scipy.special import eval_jacobi

    rows, columns = ((np.arange(n) - (n - 1) / 2) * 2 / min(shape) for n in shape)
    r, angle = np.hypot(rows[:, None], columns[None]), np.arctan2(rows[:, None], columns[None])
    maps = []
    for n, m in orders(first + modes - 1)[first - 1 :]:
        k = (n - abs(m)) // 2
        radial = (-1) ** k * r ** abs(m) * eval_jacobi(k, abs(m), 0, 1 - 2 * r**2)
        turn = np.ones_like(r) if m == 0 else np.sqrt(2) * (np.cos(m * angle) if m > 0 else np.sin(-m * angle))
        maps.append(np.sqrt(n + 1) * radial * turn)
    return np.stack(maps)


@lru_cache(maxsize=4)
def _maps(shape: tuple[int, ...], modes: int, first: int, device: torch.device) -> Tensor:
    """(modes, pixels)."""
    import torch

    return torch.from_numpy(zernike(shape, modes, first)).float().flatten(1).to(device)


@dataclass(frozen=True, repr=False)
class Zernike(Single):
    """φ = Σ c_j Z_j, j = first, ..., first + modes − 1 in the order of Noll: the aberrations of a telescope or a lens, in radians, c_j the
    root mean square of a mode over the disk (`zernike`). For a pupil that is known, with its phase unknown:
    Fit(Polar(Uniform(), Zernike(40), vector=False), LBFGS(), box=1).

    modes: how many. first: number of the first one; 1 is piston, 2 and 3 are tip and tilt, 4 is defocus. spread: deviation of the first
    coefficients, for starts that differ. rate: learning rate, radians.
    """

    modes: int = 35
    first: int = 2
    spread: float = 0.01
    rate: float = 0.1

    def __post_init__(self) -> None:
        require_int(self, "modes", 1, MOST)
        require_int(self, "first", 1, MOST)
        require_number(self, "spread", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        if len(grid) != 2:
            raise InputError(f"{self!r} on a grid of shape {grid}: expected two axes, such as (64, 64)")

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        return Parts({"coefficients": self.spread * torch.randn((outputs, self.modes), generator=generator)}, {})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        c = parts.trained["coefficients"]
        return (c @ _maps(tuple(grid), self.modes, self.first, c.device)).reshape(outputs, *grid)

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs)

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False
