"""Rules: when to stop and which image to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin import expression
from untwin.errors import InputError
from untwin.solve.recipe import Rule, require

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem
    from untwin.solve.state import State


@dataclass(frozen=True)
class Watch:
    """best: (starts,) the lowest misfit so far; since: (starts,) looks since then; image, x, support: (starts, *grid) what it belonged to;
    stopped: (starts,) bool."""

    best: Tensor
    since: Tensor
    image: Tensor
    x: Tensor
    support: Tensor
    stopped: Tensor


@dataclass(frozen=True, repr=False)
class Plateau(Rule):
    """Stop a start when its misfit has not fallen by `tolerance` (relative) for `patience` steps; keep the image of the lowest.

    The misfit is that of P_S of the estimate, looked at after every step.
    """

    patience: int = 50
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.patience, int) or self.patience < 1:
            raise InputError(f"Plateau(patience={self.patience!r}): expected a whole number of steps, 1 or more")
        require(self, "tolerance", 0, 1)

    def begin(self, problem: Problem, state: State) -> State:
        import torch

        n = len(state.seeds)
        best = torch.full((n,), math.inf, dtype=torch.float64, device=state.x.device)
        zero = torch.zeros(n, dtype=torch.long, device=state.x.device)
        return replace(state, watch=Watch(best, zero, state.image, state.x, state.support, zero.bool()))

    def look(self, problem: Problem, state: State) -> State:
        import torch

        w: Watch = state.watch
        misfit = problem.misfit(problem.project_object(state.image, state.support))
        lower = (misfit < w.best * (1 - self.tolerance)) & ~w.stopped
        wide = lower.reshape((-1,) + (1,) * problem.ndim)
        since = torch.where(lower, torch.zeros_like(w.since), w.since + 1)
        return replace(
            state,
            watch=Watch(
                best=torch.where(lower, misfit, w.best),
                since=since,
                image=torch.where(wide, state.image, w.image),
                x=torch.where(wide, state.x, w.x),
                support=torch.where(wide, state.support, w.support),
                stopped=w.stopped | (since >= self.patience),
            ),
        )

    def done(self, state: State) -> Tensor:
        return state.watch.stopped

    def keep(self, state: State) -> State:
        w: Watch = state.watch
        return replace(state, image=w.image, x=w.x, support=w.support, memory=None, watch=None)

    def __repr__(self) -> str:
        return expression.write(self)
