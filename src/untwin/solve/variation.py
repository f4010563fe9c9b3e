"""Total variation of a picture under its data: the classical prior, with no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.model.picture import Picture
from untwin.solve.normal import maps, norm, require_linear
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class PrimalDual(Algorithm):
    """One step towards argmin |A x - y|^2 / 2 + weight TV(x), by the primal-dual splitting of Condat (J. Optim. Theory Appl. 158, 2013) and
    Vu (Adv. Comput. Math. 38, 2013): x' = x - t (A*(A x - y) + D* p); p' = p + s D (2 x' - x), where longer than the weight cut to it.

    TV(x): the sum over pixels of the length of the gradient D x, isotropic, over all channels at once (Bresson and Chan, Inverse Probl.
    Imaging 2, 2008), of complex x over both parts. weight: in the unit of x times that of A* A, above 0. With t = 1 / |A|^2 and s = |A|^2 /
    (2 |D|^2) it converges for any linear physics.
    """

    needs: ClassVar = Picture

    weight: float = 0.01

    def __post_init__(self) -> None:
        require_number(self, "weight", 0, above=True)

    def check(self, problem: Picture) -> None:
        require_linear(self, problem)

    def begin(self, problem: Picture, state: State) -> State:
        square = max(1.01 * norm(problem, state.x), 1e-30)  # which comes from below
        return state.replace(memory=(square, state.x.new_zeros(state.x.ndim - 2, *state.x.shape)))

    def step(self, problem: Picture, state: State) -> State:
        square, p = state.memory
        forward, adjoint = maps(problem, state.x)
        x = state.x - (adjoint(forward(state.x) - problem.y) + divergence(p)) / square
        p = p + square / (8 * len(p)) * gradient(2 * x - state.x)
        length = p.abs().square().sum((0, 2), keepdim=True).sqrt()
        return state.replace(x=x, image=x, memory=(square, p / (length / self.weight).clamp(min=1)))

    def objective(self, problem: Picture, x: Tensor) -> float:
        """|A x - y|^2 / 2 + weight TV(x) of one start."""
        length = gradient(x).abs().square().sum((0, 2)).sqrt()
        return float(problem.misfit(x)[0]) / 2 + self.weight * float(length.double().sum())

    def __repr__(self) -> str:
        return expression.write(self)


def gradient(x: Tensor) -> Tensor:
    """(axes, starts, channels, *grid): forward differences of x (starts, channels, *grid), 0 at the end of each axis."""
    import torch

    return torch.stack([torch.cat([x.diff(dim=a), torch.zeros_like(x.narrow(a, 0, 1))], a) for a in range(2, x.ndim)])


def divergence(p: Tensor) -> Tensor:
    """(starts, channels, *grid): the adjoint of the gradient, minus the divergence. p: (axes, starts, channels, *grid)."""
    import torch

    out = torch.zeros_like(p[0])
    for axis, v in zip(range(2, p.ndim - 1), p):
        inside = v.narrow(axis, 0, v.shape[axis] - 1)
        edge = torch.zeros_like(v.narrow(axis, 0, 1))
        out = out + torch.cat([edge, inside], axis) - torch.cat([inside, edge], axis)
    return out
