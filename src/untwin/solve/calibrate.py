"""Unknown numbers of the physics, found with the object as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_int
from untwin.errors import InputError
from untwin.model.inverse import InverseProblem
from untwin.model.losses import Poisson
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.unknown import Nuisance
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class Calibrate(Algorithm):
    """One Newton step on the unknowns n of the physics: towards the minimum over n of ℓ(I, D_n(|W_n x|²)), x = P_S of the image.

    halvings: how often the step is halved, at most, until the loss falls; where it does not fall the values stay as they are.
    Each start has values of its own, between the limits of `Unknown`.
    """

    halvings: int = 6

    needs: ClassVar = Problem
    brief: ClassVar = True

    def __post_init__(self) -> None:
        require_int(self, "halvings", 0, 30)

    def check(self, problem: InverseProblem) -> None:
        if not problem.unknowns:
            raise InputError(f"{self!r}: nothing of the physics is unknown; leave it out, or write Unknown(0.5, 0, 3) for a number of it")

    def step(self, problem: Problem, state: State) -> State:
        import torch

        names = sorted(state.nuisance)
        limits = torch.tensor([(problem.unknowns[n].low, problem.unknowns[n].high) for n in names], dtype=torch.float64)
        low, high = limits.to(state.x.device).T
        x = problem.project_object(state.image, state.support)
        values = torch.stack([state.nuisance[n] for n in names], 1)
        loss, slope, curvature = derivatives(problem, x, names, values)
        size, axes = torch.linalg.eigh(curvature)
        size = size.abs().clamp(min=1e-12 * size.abs().amax(1, keepdim=True).clamp(min=1e-300))  # downhill, where it is no valley
        step = -torch.einsum("bij,bj,bkj,bk->bi", axes, 1 / size, axes, slope)
        best = values
        for halving in range(self.halvings + 1):
            trial = (values + step / 2**halving).clamp(low, high)
            lower = _loss(problem, x, names, trial) < loss
            improved = (best != values).any(1)
            best = torch.where((lower & ~improved)[:, None], trial, best)
        return state.replace(nuisance={n: best[:, i] for i, n in enumerate(names)})

    def __repr__(self) -> str:
        return expression.write(self)


def _loss(problem: Problem, x: Tensor, names: list[str], values: Tensor) -> Tensor:
    return problem.holding({n: values[:, i] for i, n in enumerate(names)}).misfit(x)


def derivatives(problem: Problem, x: Tensor, names: list[str], values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each start, its gradient (starts, k) and its Hessian (starts, k, k) in k unknowns, by torch. values: (starts, k)."""
    import torch

    with torch.enable_grad():
        v = values.detach().requires_grad_()
        loss = _loss(problem, x.detach(), names, v)
        slope = _gradient(loss.sum(), v, True)
        rows = [_gradient(slope[:, i].sum(), v) for i in range(len(names))]
    return loss.detach(), slope.detach(), torch.stack(rows, 1)


def _gradient(value: Tensor, v: Tensor, again: bool = False) -> Tensor:
    """Zeros where the value does not depend on v."""
    import torch

    if not value.requires_grad:
        return torch.zeros_like(v)
    (slope,) = torch.autograd.grad(value, v, create_graph=again, retain_graph=True, allow_unused=True)
    return torch.zeros_like(v) if slope is None else slope


def uncertainty(problem: Problem, x: Tensor, nuisance: Nuisance) -> Nuisance:
    """One standard deviation of each unknown, (starts,), for the object as it is: √ of the diagonal of the inverse of the curvature of the
    likelihood (Cramér and Rao). NaN where the loss is no likelihood of counts, or its minimum is not there."""
    import torch

    names = sorted(nuisance)
    if not names:
        return {}
    values = torch.stack([nuisance[n] for n in names], 1)
    if not isinstance(problem.loss, Poisson):
        return {n: torch.full_like(nuisance[n], torch.nan) for n in names}
    curvature = derivatives(problem, x, names, values)[2]
    inverse, failed = torch.linalg.inv_ex(curvature)
    variance = torch.diagonal(inverse, dim1=1, dim2=2)
    variance = variance.where((variance > 0) & (failed == 0)[:, None], torch.nan)
    return {n: variance[:, i].sqrt() for i, n in enumerate(names)}
