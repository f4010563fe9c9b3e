"""The most likely object in its support, and with it what is unknown in the physics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin import expression
from untwin.checks import require_int
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.unknown import Nuisance
    from untwin.solve.state import State

MEMORY = 20  # pairs that L-BFGS keeps
TOLERANCE = 1e-12  # of the loss


@dataclass(frozen=True, repr=False)
class MaximumLikelihood(Algorithm):
    """x' = image' = the minimum of the problem's loss over the objects in the constraint, from the image, and over the unknowns of the
    physics, from where they stand: L-BFGS-B (Byrd et al., SIAM J. Sci. Comput. 16, 1995), in double precision, each start on its own.

    iterations: at most. The physics itself is asked, not its sharpened counts.
    """

    iterations: int = 100

    needs: ClassVar = Problem

    def __post_init__(self) -> None:
        require_int(self, "iterations", 1, 100_000)

    def step(self, problem: Problem, state: State) -> State:
        import torch

        rows, values = [], []
        for row in range(len(state.seeds)):
            nuisance = {n: v[row : row + 1] for n, v in state.nuisance.items()}
            x, nuisance, _ = most_likely(problem, state.image[row], state.support[row], nuisance, self.iterations)
            rows.append(x)
            values.append(nuisance)
        x = torch.stack(rows)
        nuisance = {n: torch.cat([v[n] for v in values]) for n in state.nuisance}
        return state.replace(x=x, image=x, nuisance=nuisance)

    def __repr__(self) -> str:
        return expression.write(self)


def most_likely(
    problem: Problem,
    image: Tensor,
    support: Tensor,
    nuisance: Nuisance | None = None,
    iterations: int = 100,
    part: Callable[[Tensor], Tensor] | None = None,
    pairs: int = MEMORY,
    tolerance: float = TOLERANCE,
) -> tuple[Tensor, Nuisance, float]:
    """The object (*grid), the unknowns (1,) and their loss. image, support: (*grid). nuisance: (1,) each, where the unknowns begin; None
    holds them at what they are in the problem. part: the object is this part of what is varied. pairs: that L-BFGS keeps. tolerance: a
    step that lowers the loss by no more than this share of it is the last one. Where a constraint is more than support, real or positive,
    the object is projected at last.
    """
    import torch
    from scipy.optimize import minimize

    begin = problem.project_object(image[None], support[None])[0]
    real, names = not begin.is_complex(), sorted(nuisance or {})
    inside = support.flatten().nonzero().flatten()
    x0 = begin.flatten()[inside].to(torch.float64 if real else torch.complex128)
    scale = float(x0.abs().square().mean().sqrt()) if len(x0) else 0.0
    if not scale > 0 or not np.isfinite(scale):
        return begin, dict(nuisance or {}), float("inf")
    size = [max(abs(float(nuisance[n])), 0.1) for n in names] if nuisance else []
    n = len(x0) if real else 2 * len(x0)

    def unpacked(p: Tensor) -> tuple[Tensor, Nuisance]:
        v = p[:n] * scale if real else torch.view_as_complex(p[:n].reshape(-1, 2)) * scale
        x = v.new_zeros(support.numel()).index_put((inside,), v).reshape(1, *support.shape)
        return x if part is None else part(x), {name: p[n + i : n + i + 1] * s for i, (name, s) in enumerate(zip(names, size))}

    def value(p: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            t = torch.from_numpy(p).to(begin.device).requires_grad_()
            x, values = unpacked(t)
            loss = (problem.holding(values) if values else problem).misfit(x)[0]
            (slope,) = torch.autograd.grad(loss, t)
        return float(loss.detach()), slope.cpu().numpy()

    flat = x0 if real else torch.view_as_real(x0).flatten()
    first = np.concatenate([(flat / scale).cpu().numpy(), [float(nuisance[name]) / s for name, s in zip(names, size)] if nuisance else []])
    low = 0 if problem.constraint.positive else None
    limits = [(problem.unknowns[name].low / s, problem.unknowns[name].high / s) for name, s in zip(names, size)]
    bounds = [(low, None)] * n + limits if low is not None or limits else None
    options = {"maxiter": iterations, "maxcor": pairs, "maxfun": 3 * iterations, "ftol": tolerance, "gtol": 1e-8}
    result = minimize(value, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    x, values = unpacked(torch.from_numpy(result.x).to(begin.device))
    x = problem.project_object(x.to(begin.dtype), support[None])[0]
    return x, {name: v.clone() for name, v in values.items()}, float(result.fun)
