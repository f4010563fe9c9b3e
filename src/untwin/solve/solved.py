"""The rule that ends a search when there is a solution: an object that the data allow and that is in the constraint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from untwin.checks import require_int, require_number
from untwin.model.problem import Problem
from untwin.solve.state import CHECK
from untwin.solve.stopping import Keeper, RuleState

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class Solved(Keeper):
    """Stop a start when its estimate y = P_M x lies in the constraint but for a small share of its power, |P_S y|² ≥ power |y|²: the
    criterion of Elser, Lan and Bendory (SIAM J. Imaging Sci. 11, 2018), whose power is 0.95. A search by reflections says by nothing else
    that it has come to its end: its iterate does not fall towards the data, and its misfit is that of any other step before.

    power: above 0 and below 1; as near to 1 as noise and the constraint allow. enough: all starts that are computed together stop when so
    many of them have; 0, each by itself. every: steps from one look to the next.
    """

    needs: ClassVar = Problem

    power: float = 0.95
    enough: int = 0
    every: int = 2 * CHECK

    def __post_init__(self) -> None:
        require_number(self, "power", 0, 1, above=True, below=True)
        require_int(self, "enough", 0)
        require_int(self, "every", 1)

    def first(self, problem: InverseProblem, state: State) -> Any:
        return None

    def observe(self, problem: Problem, state: State) -> State:
        import torch

        w: RuleState = state.rule_state
        share = power_share(problem, state)
        going = ~w.stopped
        wide = going.reshape((-1,) + (1,) * (state.x.ndim - 1))
        best = torch.where(going, -share, w.best)
        stopped = w.stopped | (share >= self.power) | ~state.finite()
        if self.enough:
            stopped = stopped | ((-best >= self.power).sum() >= self.enough)
        rule_state = replace(
            w,
            value=share,
            at=torch.where(going, torch.full_like(w.at, state.step), w.at),
            image=torch.where(wide, state.image, w.image),
            x=torch.where(wide, state.x, w.x),
            support=torch.where(wide, state.support, w.support),
            stopped=stopped,
            best=best,
            nuisance=dict(state.nuisance),
        )
        return state.replace(rule_state=rule_state)


def power_share(problem: Problem, state: State) -> Tensor:
    """|P_S y|² / |y|² of the estimates, (starts,) float64: 1 where one is in the constraint."""
    inside = problem.project_object(state.image, state.support)
    return _power(inside) / _power(state.image).clamp(min=1e-30)


def _power(x: Tensor) -> Tensor:
    import torch

    return (torch.view_as_real(x) if x.is_complex() else x).flatten(1).square().sum(1, dtype=torch.float64)
