"""The spectral start: the object that the largest of the measured numbers point at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from untwin import expression
from untwin.checks import require_int, require_one_of
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.random import derive
from untwin.solve.begin import random_object
from untwin.solve.recipe import Algorithm, Setting, require_setting, value

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State

WEIGHTS = ("optimal", "trimmed", "truncated")
TRIM = 9.0  # times the mean: Candès, Li and Soltanolkotabi, IEEE Trans. Inf. Theory 61, 2015
LARGEST = 3 / 13  # of the measurements: Wang, Giannakis and Eldar, IEEE Trans. Inf. Theory 64, 2018
LEAST = -5.0  # of the optimal weight, which has no limit where measurements are as few as unknowns (unmeasured)
TOLERANCE = 1e-3  # of the eigenvector (unmeasured)


@dataclass(frozen=True, repr=False)
class Spectral(Algorithm):
    """x = the leading eigenvector of W* T(I) W, as bright as the data, T a weight for each measured number y = I / mean I.

    weights: optimal, T = (y − 1) / (y + √δ − 1), δ measurements for each unknown, twice as many for real objects (Mondelli and Montanari,
        Found. Comput. Math. 19, 2019; Luo, Alghamdi and Lu, IEEE Trans. Signal Process. 67, 2019); trimmed, T = y where it is below 9
        (Wirtinger flow); truncated, T = 1 for the largest 3/13 (truncated amplitude flow).
    variety: each start adds a random object with this share of the amplitude, in [0, 1]; one start of every four adds none.
    every: starts of families whose number is a multiple of it begin so, the others stay as they are: with 2, one of two families knows
        nothing of it, so that their agreement is evidence.

    For waves that mix all of the object into every number (Gaussian, coded masks). In one far field it tells nothing.
    """

    needs: ClassVar = Problem

    weights: str = "optimal"
    variety: Setting = 0.3
    every: int = 2

    def __post_init__(self) -> None:
        require_one_of(self, "weights", *WEIGHTS)
        require_setting(self, "variety", 0, 1)
        require_int(self, "every", 1, 1000)

    def check(self, problem: Problem) -> None:
        if problem.outline is not None:
            raise InputError(f"{self!r} tells nothing of one far field, whose largest number is the zero frequency; leave it out")

    def informs(self, family: int) -> bool:
        """True where the starts of a family begin so."""
        return family % self.every == 0

    def step(self, problem: Problem, state: State) -> State:
        import torch

        one = (-1,) + (1,) * problem.ndim
        x = leading(problem, state.support[0], self.weights).expand(state.x.shape)
        share = value(self.variety, state, "Spectral.variety") * torch.tensor(
            [float(m.number % 4 > 0) for m in state.members], dtype=torch.float64, device=x.device
        )
        share = share.to(x.real.dtype).reshape(one)
        x = (1 - share) * x + share * random_object(problem, state.support, state.seeds)
        begun = torch.tensor([self.informs(m.family) for m in state.members], device=x.device).reshape(one)
        x = torch.where(begun, x, state.x)
        return state.replace(x=x, image=torch.where(begun, x, state.image))

    def __repr__(self) -> str:
        return expression.write(self)


def leading(problem: Problem, support: Tensor, weights: str = "optimal") -> Tensor:
    """(1, *grid): the eigenvector, inside the support, as bright as the data."""
    import torch
    from scipy.sparse.linalg import LinearOperator, eigsh

    counts, waves, real = problem.counts, problem.model.waves, problem.real
    inside = support.flatten().nonzero().flatten()
    n, kind = len(inside), counts.amplitude.dtype if real else counts.amplitude.dtype.to_complex()
    weight = _weights(counts.intensity, counts.measured, n, weights, real).to(counts.amplitude.dtype)

    def placed(v: Tensor) -> Tensor:
        return v.new_zeros(support.numel()).index_put((inside,), v).reshape(1, *support.shape)

    def product(v: np.ndarray) -> np.ndarray:
        w = problem.propagate(placed(torch.from_numpy(v.reshape(-1)).to(support.device, kind)))
        back = waves.backpropagate(w * weight).flatten()[inside]
        return (back.real if real and back.is_complex() else back).to(kind).cpu().numpy()

    first = np.random.default_rng(derive(0, "spectral start")).normal(size=n)
    dtype = np.dtype(str(kind).removeprefix("torch."))
    if n < 3:
        v = np.ones(n)
    else:
        operator: Any = LinearOperator((n, n), matvec=product, dtype=dtype)  # type: ignore[call-arg]  # the stubs know the class alone
        v = eigsh(operator, k=1, which="LA", v0=first.astype(dtype), tol=TOLERANCE, maxiter=max(1000, 10 * n))[1][:, 0]  # type: ignore[arg-type]
    x = problem.project_object(placed(torch.from_numpy(np.ascontiguousarray(v)).to(support.device, kind)), support[None])
    return x * problem.brightness(problem.predict(x)).sqrt().to(x.real.dtype).reshape((1,) + (1,) * problem.ndim)


def _weights(intensity: Tensor, measured: Tensor, unknowns: int, weights: str, real: bool) -> Tensor:
    import torch

    y = intensity.double()
    values = y[measured]
    y = y / values.mean().clamp(min=1e-30)
    if weights == "trimmed":
        t = y.where(y < TRIM, y.new_zeros(()))
    elif weights == "truncated":
        t = (y >= torch.quantile(y[measured].flatten()[: 2**24], 1 - LARGEST)).double()
    else:
        delta = (2 if real else 1) * len(values) / max(1, unknowns)
        below = y + math.sqrt(max(delta, 1.0)) - 1
        t = ((y - 1) / below.clamp(min=1e-6)).clamp(min=LEAST)
    return t.where(measured, t.new_zeros(()))
