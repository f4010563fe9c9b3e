"""Flows: steps down the slope of a misfit of amplitudes or of intensities. For waves that mix all of the object into every number.

With a = W x, y the measured intensities and L the largest gain of W (the greatest eigenvalue of W* W):

| AmplitudeFlow           | x' = x − μ/L W* [a − √y a/|a|]                                    |
| TruncatedAmplitudeFlow  | the same, where |a| ≥ √y / (1 + γ)                                |
| ReweightedAmplitudeFlow | the same, each number with the weight q / (q + β), q = |a| / √y   |
| WirtingerFlow           | x' = x − μ/(L ȳ) W* [(|a|² − y) a], ȳ the mean of y               |

Then x is cut to the constraint. Momentum is Nesterov's: the slope is taken where the last step, `momentum` times, would lead.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.model.problem import Problem
from untwin.random import derive
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State

POWER = 30  # iterations that find L (unmeasured)


class Flow(Algorithm):
    """A step down the slope, from where the last one has led."""

    needs: ClassVar = Problem
    rate: float
    momentum: float

    @abstractmethod
    def residual(self, a: Tensor, amplitude: Tensor, measured: Tensor) -> Tensor:
        """What W* makes the slope of: a (starts, *shape), amplitude and measured (*shape)."""

    @property
    def steady(self) -> bool:
        return True

    def begin(self, problem: Problem, state: State) -> State:
        return state.replace(memory=(state.x, gain(problem)))

    def step(self, problem: Problem, state: State) -> State:
        before, largest = state.memory
        x, counts = state.x, problem.counts
        y = x + self.momentum * (x - before)
        a = problem.propagate(y)
        error = (a.abs() - counts.amplitude).where(counts.imposed, a.real.new_zeros(())).square().flatten(1).sum(1).double()
        slope = problem.model.waves.backpropagate(self.residual(a, counts.amplitude, counts.imposed).to(a.dtype), spent=True)
        slope = slope.real if problem.real and slope.is_complex() else slope
        new = problem.project_object(y - self.rate / largest * slope.to(x.dtype), state.support)
        return state.replace(x=new, image=new, error=error, memory=(x, largest))

    def __repr__(self) -> str:
        return expression.write(self)

    def _require_rates(self) -> None:
        require_number(self, "rate", 0, 100, above=True)
        require_number(self, "momentum", 0, 1, below=True)


@dataclass(frozen=True, repr=False)
class AmplitudeFlow(Flow):
    """Gradient descent on Σ (|a| − √y)² (Wang, Giannakis and Eldar, IEEE Trans. Inf. Theory 64, 2018, without truncation).

    rate: μ, in units of 1 / L, below 4/3 (Nesterov's form is stable up to there). momentum: from 0 to below 1.
    """

    rate: float = 1.0
    momentum: float = 0.8

    def __post_init__(self) -> None:
        self._require_rates()

    def residual(self, a: Tensor, amplitude: Tensor, measured: Tensor) -> Tensor:
        return (a - amplitude * _sign(a)).where(measured, a.new_zeros(()))


@dataclass(frozen=True, repr=False)
class TruncatedAmplitudeFlow(Flow):
    """Amplitude flow without the numbers whose phase is doubtful (Wang, Giannakis and Eldar, IEEE Trans. Inf. Theory 64, 2018).

    gamma: the larger, the more numbers count; 0.7 is theirs. rate, momentum: as for AmplitudeFlow.
    """

    gamma: float = 0.7
    rate: float = 1.0
    momentum: float = 0.8

    def __post_init__(self) -> None:
        require_number(self, "gamma", 0, 1e6, above=True)
        self._require_rates()

    def residual(self, a: Tensor, amplitude: Tensor, measured: Tensor) -> Tensor:
        sure = measured & (a.abs() * (1 + self.gamma) >= amplitude)
        return (a - amplitude * _sign(a)).where(sure, a.new_zeros(()))


@dataclass(frozen=True, repr=False)
class ReweightedAmplitudeFlow(Flow):
    """Amplitude flow in which doubtful numbers count less (Wang, Giannakis, Saad and Chen, IEEE Trans. Signal Process. 66, 2018).

    beta: a number whose modulus is β times too small counts half as much as its most. rate, momentum: as for AmplitudeFlow; the weights are
    divided by that of a number that fits.
    """

    beta: float = 1.0
    rate: float = 1.0
    momentum: float = 0.8

    def __post_init__(self) -> None:
        require_number(self, "beta", 0, 1e6, above=True)
        self._require_rates()

    def residual(self, a: Tensor, amplitude: Tensor, measured: Tensor) -> Tensor:
        modulus = a.abs()
        weight = (1 + self.beta) * modulus / (modulus + self.beta * amplitude).clamp(min=1e-30)
        return (weight * (a - amplitude * _sign(a))).where(measured, a.new_zeros(()))


@dataclass(frozen=True, repr=False)
class WirtingerFlow(Flow):
    """Gradient descent on Σ (|a|² − y)² (Candès, Li and Soltanolkotabi, IEEE Trans. Inf. Theory 61, 2015).

    rate: μ, in units of 1 / (L ȳ); theirs grows to 0.2 of 1 / ȳ per row. momentum: from 0 to below 1.
    """

    rate: float = 0.2
    momentum: float = 0.8

    def __post_init__(self) -> None:
        self._require_rates()

    def residual(self, a: Tensor, amplitude: Tensor, measured: Tensor) -> Tensor:
        y = amplitude.square()
        mean = y.where(measured, y.new_zeros(())).sum() / measured.sum().clamp(min=1)
        return ((a.real.square() + a.imag.square() - y) / mean.clamp(min=1e-30) * a).where(measured, a.new_zeros(()))


def gain(problem: Problem) -> float:
    """L, the greatest eigenvalue of W* W, by the power method from a fixed start: 1 where W is unitary."""
    import torch

    waves = problem.model.waves
    if waves.unitary:
        return 1.0
    generator = torch.Generator().manual_seed(derive(0, "gain of waves"))
    kind = problem.counts.amplitude.dtype
    x = torch.complex(*torch.randn(2, 1, *problem.shape, generator=generator, dtype=kind)).to(problem.device)
    size = 1.0
    for _ in range(POWER):
        x = x / x.norm().clamp(min=1e-30)
        x = waves.backpropagate(waves.propagate(x))
        size = float(x.norm())
    return max(size, 1e-30)


def _sign(a: Tensor) -> Tensor:
    return a / a.abs().clamp(min=1e-30)
