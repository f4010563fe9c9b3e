"""When the images stop moving: the moving variance of the iterates is least where the image is best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin.checks import require_number
from untwin.errors import InputError
from untwin.solve.parts import IMAGE
from untwin.solve.stopping import KeepBest, require_steps

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class WMV(KeepBest):
    """Windowed moving variance of the iterates (Wang, Li, Zhuang, Chen, Liang and Sun, TMLR 2023):

        WMV = 1/(W n) Σ_j |x_j − mean|² over the last W iterates x_j of n pixels,

    from their running sum and sum of squares, in O(n) for each step. KeepBest where the image is best: before, it still moves towards the
    object, afterwards towards the noise. In a far-field problem the iterates are held in place first (shift, global phase).

    window: W. patience: looks without a new least. tolerance: a new least is lower by this share. burn_in: steps before the first look
    counts. mean: keep the mean of the window instead of the image of its last step. of: what is looked at, the image or an unknown of the
    physics by its name, such as kernel. The defaults are those that were measured to end near
    the best image (docs/deep-priors.md); `WMV.published()` has the paper's.
    """

    window: int = 20
    patience: int = 100
    tolerance: float = 0.02
    burn_in: int = 20
    mean: bool = False
    of: str = "image"

    @classmethod
    def published(cls) -> WMV:
        """The numbers of the paper, whose fits are long: W = 100, patience 1000, any new least counts."""
        return cls(window=100, patience=1000, tolerance=0.0, burn_in=0)

    def __post_init__(self) -> None:
        require_steps(self, window=2, burn_in=0)

    def first(self, problem: InverseProblem, state: State) -> Any:
        _moving(state, self.of)
        return {"frames": (), "sum": None, "square": None, "count": 0}

    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        import torch

        frames, total = aux["frames"], aux["sum"]
        x = _moving(state, self.of)
        x = x if total is None or self.of != IMAGE else problem.symmetry.follow(x, (total / len(frames)).to(x.dtype))
        power = _power(x)
        if total is None:
            total, square = x.to(_double(x)), power
        else:
            total, square = total + x, aux["square"] + power
        frames = (*frames, x)
        if len(frames) > self.window:
            total, square = total - frames[0], square - _power(frames[0])
            frames = frames[1:]
        count = aux["count"] + 1
        aux = {"frames": frames, "sum": total, "square": square, "count": count}
        w = len(frames)
        if w < self.window or count <= self.burn_in:
            return torch.full_like(power, math.nan), aux
        return ((square / w - _power(total) / w**2) / x[0].numel()).clamp(min=0), aux

    def candidate(self, state: State, aux: Any) -> Tensor:
        return (aux["sum"] / len(aux["frames"])).to(state.x.dtype) if self.mean and self.of == IMAGE else state.image


@dataclass(frozen=True, repr=False)
class EMV(KeepBest):
    """Exponential moving variance of the iterates (Wang et al., TMLR 2023), with the memory of two images:

        mean' = (1 − α) mean + α x;   EMV' = (1 − α) (EMV + α |x − mean|² / n).

    alpha: α. patience, tolerance, burn_in: as in WMV. mean: keep the moving mean instead of the image. of: as in WMV.
    `EMV.published()` has the paper's numbers.
    """

    alpha: float = 0.2
    patience: int = 100
    tolerance: float = 0.02
    burn_in: int = 20
    mean: bool = False
    of: str = "image"

    @classmethod
    def published(cls) -> EMV:
        """The numbers of the paper: α = 0.1, patience 1000, any new least after 100 steps counts."""
        return cls(alpha=0.1, patience=1000, tolerance=0.0, burn_in=100)

    def __post_init__(self) -> None:
        require_steps(self, burn_in=0)
        require_number(self, "alpha", 0, 1, above=True)

    def first(self, problem: InverseProblem, state: State) -> Any:
        _moving(state, self.of)
        return {"mean": None, "variance": None, "count": 0}

    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        import torch

        mean = aux["mean"]
        x = _moving(state, self.of)
        if mean is None:
            mean, variance = x, torch.zeros(len(x), dtype=torch.float64, device=x.device)
        else:
            away = (problem.symmetry.follow(x, mean) if self.of == IMAGE else x) - mean
            variance = (1 - self.alpha) * (aux["variance"] + self.alpha * _power(away) / away[0].numel())
            mean = mean + self.alpha * away
        count = aux["count"] + 1
        value = variance if count > self.burn_in else torch.full_like(variance, math.nan)
        return value, {"mean": mean, "variance": variance, "count": count}

    def candidate(self, state: State, aux: Any) -> Tensor:
        return aux["mean"] if self.mean and self.of == IMAGE else state.image


def _moving(state: State, name: str) -> Tensor:
    """(starts, ...) what is looked at. Raises InputError where the state has none of the name."""
    if name == IMAGE:
        return state.x
    if name not in state.nuisance:
        known = ", ".join([IMAGE, *sorted(state.nuisance)])
        raise InputError(f"a rule that looks at {name!r}: the physics has no such unknown; expected one of {known}")
    return state.nuisance[name]


def _power(x: Tensor) -> Tensor:
    """(starts,) Σ |x|², float64."""
    import torch

    flat = torch.view_as_real(x).flatten(1) if x.is_complex() else x.flatten(1)
    norm = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
    return norm.square()


def _double(x: Tensor) -> Any:
    import torch

    return torch.complex128 if x.is_complex() else torch.float64
