"""A rule that keeps the image of the least value of a statistic, and the plainest of them."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.solve.recipe import Rule
from untwin.solve.state import CHECK

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem
    from untwin.model.unknown import Nuisance
    from untwin.solve.state import State


@dataclass(frozen=True, eq=False)
class RuleState:
    """value: (starts,) the statistic now, NaN while there is none; best: (starts,) the lowest so far; since: (starts,) looks since then;
    at: (starts,) the step it belonged to; image, x, support: (starts, *grid), nuisance: (starts, ...) each, what is kept of it;
    stopped: (starts,) bool; aux: the rule's own."""

    value: Tensor
    best: Tensor
    since: Tensor
    at: Tensor
    image: Tensor
    x: Tensor
    support: Tensor
    stopped: Tensor
    aux: Any = None
    nuisance: Nuisance = field(default_factory=dict)


class Keeper(Rule):
    """A rule whose state is a RuleState: it says which starts have stopped, and holds the images that go on."""

    @abstractmethod
    def first(self, problem: InverseProblem, state: State) -> Any:
        """What the rule needs to remember, before the first step."""

    def begin(self, problem: InverseProblem, state: State) -> State:
        import torch

        n = len(state.seeds)
        best = torch.full((n,), math.inf, dtype=torch.float64, device=state.x.device)
        zero = torch.zeros(n, dtype=torch.long, device=state.x.device)
        aux = self.first(problem, state)
        rule_state = RuleState(
            best * math.nan, best, zero, zero, state.image, state.x, state.support, zero.bool(), aux, dict(state.nuisance)
        )
        return state.replace(rule_state=rule_state)

    def done(self, state: State) -> Tensor:
        return state.rule_state.stopped

    def restore_best(self, state: State) -> State:
        w: RuleState = state.rule_state
        return state.replace(image=w.image, x=w.x, support=w.support, nuisance=w.nuisance, memory=None, rule_state=None)

    def __repr__(self) -> str:
        return expression.write(self)


class KeepBest(Keeper):
    """Stops a start when its statistic has not fallen by `tolerance` (relative) for `patience` looks, or when it has come to NaN."""

    patience: int
    tolerance: float

    @abstractmethod
    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        """(starts,) float64, NaN where there is none yet; and what it remembers now."""

    @abstractmethod
    def candidate(self, state: State, aux: Any) -> Tensor:
        """(starts, *grid): the image to keep if the statistic is at its least."""

    def observe(self, problem: InverseProblem, state: State) -> State:
        import torch

        w: RuleState = state.rule_state
        value, aux = self.statistic(problem, state, w.aux)
        lower = (value < w.best * (1 - self.tolerance)) & ~w.stopped
        latest = value.isnan() & w.best.isinf() & ~w.stopped  # until there is a statistic, the last image
        latest = latest & state.image.flatten(1).isfinite().all(1)
        better = lower | latest
        wide = better.reshape((-1,) + (1,) * (state.x.ndim - 1))
        since = torch.where(lower, torch.zeros_like(w.since), w.since + ~w.best.isinf())
        stopped = w.stopped | (since >= self.patience)
        if state.step % CHECK == 0:
            stopped = stopped | ~state.finite()
        rule_state = RuleState(
            value=value,
            best=torch.where(lower, value, w.best),
            since=since,
            at=torch.where(lower, torch.full_like(w.at, state.step), w.at),
            image=torch.where(wide, self.candidate(state, aux), w.image),
            x=torch.where(wide, state.x, w.x),
            support=torch.where(wide, state.support, w.support),
            stopped=stopped,
            aux=aux,
            nuisance={
                name: torch.where(better.reshape((-1,) + (1,) * (values.ndim - 1)), values, w.nuisance[name])
                for name, values in state.nuisance.items()
            },
        )
        return state.replace(rule_state=rule_state)


def require_steps(rule: KeepBest, **least: int) -> None:
    for name, low in {"patience": 1, **least}.items():
        require_int(rule, name, low)
    require_number(rule, "tolerance", 0, 1)


@dataclass(frozen=True, repr=False)
class Plateau(KeepBest):
    """Stop a start when its misfit has not fallen by `tolerance` (relative) for `patience` steps; keep the image of the lowest.

    The misfit is that of P_S of the estimate, looked at after every step.
    """

    patience: int = 50
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        require_steps(self)

    def first(self, problem: InverseProblem, state: State) -> Any:
        return None

    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        misfit = problem.misfit(problem.project_object(state.image, state.support))
        return misfit.nan_to_num(nan=math.inf), None  # a start that has come to NaN does not fall

    def candidate(self, state: State, aux: Any) -> Tensor:
        return state.image
