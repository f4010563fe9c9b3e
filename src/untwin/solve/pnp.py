"""Plug-and-play: a denoiser in the place of the proximal map of a prior. Steps for a picture with a linear physics and Gaussian noise.

A is the physics, D(x, s) the denoiser for noise of deviation s, y what was measured, `noise` its deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.denoiser import Denoiser
from untwin.model.picture import Picture
from untwin.solve.normal import laplacian, least_squares, maps, norm, require_linear
from untwin.solve.recipe import Algorithm, Ramp, Setting, require_setting, value

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State

FIRST = 49 / 255  # level at which the schedule begins (Zhang et al., DPIR)


class _Step(Algorithm):
    """What the steps of this file share."""

    needs: ClassVar = Picture
    denoiser: Denoiser

    def check(self, problem: Picture) -> None:
        require_linear(self, problem)
        self.denoiser.check(problem)

    def __repr__(self) -> str:
        return expression.write(self)


def _require_denoiser(step: _Step) -> None:
    if not isinstance(step.denoiser, Denoiser):
        raise InputError(f"{type(step).__name__}(denoiser={step.denoiser!r}): expected Denoiser(), or Denoiser(function)")


def _level(setting: Setting, state: State) -> float:
    """The same for all starts."""
    return float(value(setting, state, "level")[0])


def reoriented(denoiser: Denoiser, x: Tensor, level: float, count: int) -> Tensor:
    """D of x in one of its eight orientations, and back: what the network does to one is not done in every step (as in DPIR)."""
    flips = [axis for bit, axis in enumerate((x.ndim - 1, x.ndim - 2)) if count >> bit & 1 and axis >= 2]
    swap = count >> 2 & 1 and x.ndim == 4
    y = x.flip(flips) if flips else x
    y = denoiser(y.transpose(-1, -2) if swap else y, level)
    y = y.transpose(-1, -2) if swap else y
    return y.flip(flips) if flips else y


@dataclass(frozen=True, repr=False)
class Smooth(Algorithm):
    """x = argmin |A x - y|^2 + weight |gradient of x|^2 (Tikhonov), by conjugate gradients from x: where a search among pictures may begin.

    weight: above 0. iterations: at most. order: 2 for the Laplacian of x in the place of its gradient: biharmonic.
    """

    needs: ClassVar = Picture

    weight: float = 0.01
    iterations: int = 100
    order: int = 1

    def __post_init__(self) -> None:
        require_number(self, "weight", 0, above=True)
        require_int(self, "iterations", 1, 100_000)
        require_int(self, "order", 1, 2)

    def check(self, problem: Picture) -> None:
        require_linear(self, problem)

    def step(self, problem: Picture, state: State) -> State:
        import torch

        rough = laplacian if self.order == 1 else lambda v: laplacian(laplacian(v))
        x = least_squares(problem, torch.zeros_like(state.x), self.weight, self.iterations, state.x, rough)
        return state.replace(x=x, image=x)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class PnP(_Step):
    """Plug-and-play proximal gradient: x' = D(x - step_size / |A|^2 A*(A x - y), level) (Venkatakrishnan et al., GlobalSIP 2013; Kamilov
    et al., IEEE Signal Process. Lett. 24, 2017). Of a picture that was only made noisy, one step from 0 is D(y, level).

    level: deviation of the noise for the denoiser. step_size: above 0 and at most 2.
    """

    denoiser: Denoiser = field(default_factory=Denoiser)
    level: Setting = 0.02
    step_size: float = 1.0

    def __post_init__(self) -> None:
        _require_denoiser(self)
        require_setting(self, "level", 0, 1e6)
        require_number(self, "step_size", 0, 2, above=True)

    def begin(self, problem: Picture, state: State) -> State:
        return state.replace(memory=norm(problem, state.x))

    def step(self, problem: Picture, state: State) -> State:
        forward, adjoint = maps(problem, state.x)
        x = state.x - self.step_size / state.memory * adjoint(forward(state.x) - problem.y)
        x = self.denoiser(x, _level(self.level, state))
        return state.replace(x=x, image=x)


@dataclass(frozen=True, repr=False)
class HQS(_Step):
    """Half-quadratic splitting with the schedule of DPIR (Zhang et al., IEEE TPAMI 44, 2022), s the level of this step:
    z = argmin |A x - y|^2 / noise^2 + weight |x - x_k|^2 / s^2; x_{k+1} = D(z, s).

    noise: deviation of the noise of y, above 0. level: s; by default from 49/255 geometrically down to the noise over all repetitions.
    weight: lambda of DPIR. iterations: of conjugate gradients, at most. polish: the last step leaves z, what least squares make of it.
    """

    denoiser: Denoiser = field(default_factory=Denoiser)
    noise: float = 0.01
    level: Setting | None = None
    weight: float = 0.23
    iterations: int = 15
    polish: bool = False

    def __post_init__(self) -> None:
        _require_denoiser(self)
        require_number(self, "noise", 0, above=True)
        require_number(self, "weight", 0, above=True)
        require_int(self, "iterations", 1, 100_000)
        if self.level is not None:
            require_setting(self, "level", 0, 1e6, above=True)

    def begin(self, problem: Picture, state: State) -> State:
        return state.replace(memory=0)

    def step(self, problem: Picture, state: State) -> State:
        level = _level(Ramp(max(FIRST, self.noise), self.noise) if self.level is None else self.level, state)
        z = least_squares(problem, state.x, self.weight * self.noise**2 / level**2, self.iterations)
        if self.polish and state.progress == 1:
            return state.replace(x=z, image=z, memory=state.memory + 1)
        x = reoriented(self.denoiser, z, level, state.memory)
        return state.replace(x=x, image=x, memory=state.memory + 1)


@dataclass(frozen=True, repr=False)
class PnPADMM(_Step):
    """Plug-and-play ADMM (Chan, Wang and Elgendy, IEEE Trans. Comput. Imaging 3, 2017), scaled dual u:
    x = argmin |A x - y|^2 / noise^2 + weight |x - (v - u)|^2 / level^2; v' = D(x + u, level); u' = u + x - v'. The image is v.

    noise, level, weight, iterations: as for HQS.
    """

    denoiser: Denoiser = field(default_factory=Denoiser)
    noise: float = 0.01
    level: Setting = 0.05
    weight: float = 0.23
    iterations: int = 15

    def __post_init__(self) -> None:
        _require_denoiser(self)
        require_number(self, "noise", 0, above=True)
        require_number(self, "weight", 0, above=True)
        require_setting(self, "level", 0, 1e6, above=True)
        require_int(self, "iterations", 1, 100_000)

    def begin(self, problem: Picture, state: State) -> State:
        return state.replace(memory=(state.x, state.x.new_zeros(state.x.shape)))

    def step(self, problem: Picture, state: State) -> State:
        v, u = state.memory
        level = _level(self.level, state)
        x = least_squares(problem, v - u, self.weight * self.noise**2 / level**2, self.iterations)
        v = self.denoiser(x + u, level)
        return state.replace(x=x, image=v, memory=(v, u + x - v))


@dataclass(frozen=True, repr=False)
class RED(_Step):
    """Regularisation by denoising (Romano, Elad and Milanfar, SIAM J. Imaging Sci. 10, 2017):
    x' = x - step_size / (|A|^2 + weight) (A*(A x - y) + weight (x - D(x, level))).

    weight: above 0. level: deviation of the noise for the denoiser. step_size: above 0 and at most 2.
    """

    denoiser: Denoiser = field(default_factory=Denoiser)
    weight: float = 0.1
    level: Setting = 0.02
    step_size: float = 1.0

    def __post_init__(self) -> None:
        _require_denoiser(self)
        require_number(self, "weight", 0, above=True)
        require_setting(self, "level", 0, 1e6)
        require_number(self, "step_size", 0, 2, above=True)

    def begin(self, problem: Picture, state: State) -> State:
        return state.replace(memory=norm(problem, state.x))

    def step(self, problem: Picture, state: State) -> State:
        forward, adjoint = maps(problem, state.x)
        slope = adjoint(forward(state.x) - problem.y) + self.weight * (state.x - self.denoiser(state.x, _level(self.level, state)))
        x = state.x - self.step_size / (state.memory + self.weight) * slope
        return state.replace(x=x, image=x)


@dataclass(frozen=True, repr=False)
class GradientStep(_Step):
    """Proximal gradient descent on an objective that the denoiser defines (Hurault, Leclaire and Papadakis, ICLR 2022):
    F(x) = |A x - y|^2 / 2 + weight g(x), g(x) = |x - D(x, level)|^2 / 2, x' = prox of the first at x - t weight grad g(x), with t halved
    until F falls by a tenth of |x' - x|^2 / t. F never rises; where no t is short enough x stays.

    The state's error is F. D must be a network or a function of torch, for its gradient. weight: above 0. level: fixed. step_size: t at
    first, in units of 1 / weight. iterations: of conjugate gradients, at most.
    """

    denoiser: Denoiser = field(default_factory=Denoiser)
    weight: float = 0.1
    level: float = 0.02
    step_size: float = 1.0
    iterations: int = 15

    def __post_init__(self) -> None:
        _require_denoiser(self)
        require_number(self, "weight", 0, above=True)
        require_number(self, "level", 0, above=True)
        require_number(self, "step_size", 0, 1e6, above=True)
        require_int(self, "iterations", 1, 100_000)

    def begin(self, problem: Picture, state: State) -> State:
        import torch

        return state.replace(memory=torch.full((len(state.x),), self.step_size / self.weight, dtype=torch.float64))

    def step(self, problem: Picture, state: State) -> State:
        import torch

        rows = [self._descend(problem, state.x[i : i + 1], float(t)) for i, t in enumerate(state.memory)]
        x = torch.cat([row[0] for row in rows])
        error = torch.tensor([row[1] for row in rows], dtype=torch.float64, device=x.device)
        return state.replace(x=x, image=x, error=error, memory=torch.tensor([row[2] for row in rows], dtype=torch.float64))

    def objective(self, problem: Picture, x: Tensor) -> float:
        """F(x) of one start."""
        residual = x - self.denoiser(x, self.level)
        return float(problem.misfit(x)[0]) / 2 + self.weight * float((residual.abs() ** 2).double().sum()) / 2

    def _slope(self, x: Tensor) -> Tensor:
        """grad g(x)."""
        import torch

        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            denoised = self.denoiser(leaf, self.level)
            if not denoised.requires_grad:
                raise InputError(f"{self!r} needs the gradient of its denoiser, which is no function of torch; try HQS() or PnP()")
            return torch.autograd.grad(((leaf - denoised).abs() ** 2).sum() / 2, leaf)[0]

    def _descend(self, problem: Picture, x: Tensor, t: float) -> tuple[Tensor, float, float]:
        """x', F(x') and the t with which it was reached."""
        before, slope = self.objective(problem, x), self._slope(x)
        for _ in range(30):
            new = least_squares(problem, x - t * self.weight * slope, 1 / t, self.iterations)
            after = self.objective(problem, new)
            if before - after >= 0.1 / t * float((new - x).abs().double().square().sum()):
                return new, after, t
            t /= 2
        return x, before, t
