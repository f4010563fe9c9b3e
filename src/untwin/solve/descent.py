"""One step downhill, as a function: the old numbers are left as they were, so that any state of a run can be gone on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin import expression
from untwin.checks import require_int, require_number

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]
Slope = Callable[[Tensors], tuple["Tensor", Tensors, Any]]  # loss, gradient, whatever else was computed


class Descent(ABC):
    """A method of descent. Its memory is a dictionary of tensors, numbers and tuples of them."""

    @abstractmethod
    def begin(self, numbers: Tensors, random: bool = True) -> dict[str, Any]:
        """The memory before the first step. random: the slope at the same numbers may be another one in each step."""

    @abstractmethod
    def step(self, numbers: Tensors, memory: dict[str, Any], slope: Slope, rates: dict[str, float]) -> tuple[Tensors, dict[str, Any], Any]:
        """New numbers, new memory, and what `slope` gave beside them at the old numbers."""

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Adam(Descent):
    """Adam (Kingma and Ba, ICLR 2015). m = β1 m + (1 − β1) g, v = β2 v + (1 − β2) g², θ −= rate m̂ / (√v̂ + ε)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_number(self, "beta1", 0, 1)
        require_number(self, "beta2", 0, 1)
        require_number(self, "epsilon", 0)

    def begin(self, numbers: Tensors, random: bool = True) -> dict[str, Any]:
        import torch

        size, some = sum(t.numel() for t in numbers.values()), next(iter(numbers.values()))
        zero = torch.zeros(size, dtype=some.dtype, device=some.device)
        return {"m": zero, "v": zero, "count": 0}

    def step(self, numbers: Tensors, memory: dict[str, Any], slope: Slope, rates: dict[str, float]) -> tuple[Tensors, dict[str, Any], Any]:
        """All numbers as one row: a network has dozens of small tensors, and a call for each would cost more than what it computes."""
        import torch

        _, gradient, output = slope(numbers)
        g = torch.empty_like(memory["m"])
        for n, part in _parts(g, numbers):
            part.copy_(gradient[n])
        count = memory["count"] + 1
        first, second = 1 - self.beta1**count, (1 - self.beta2**count) ** 0.5
        m = torch.lerp(memory["m"], g, 1 - self.beta1)
        v = (memory["v"] * self.beta2).addcmul_(g, g, value=1 - self.beta2)
        down = m / v.sqrt().div_(second).add_(self.epsilon)
        new = {n: torch.add(numbers[n], part, alpha=-rates[n] / first) for n, part in _parts(down, numbers)}
        return new, {"m": m, "v": v, "count": count}, output


def _parts(flat: Tensor, numbers: Tensors) -> Iterator[tuple[str, Tensor]]:
    """Views of a row as the tensors of the same names, each with the order in memory that those have."""
    at = 0
    for n, t in numbers.items():
        yield n, flat.as_strided(t.shape, t.stride(), at)
        at += t.numel()


@dataclass(frozen=True, repr=False)
class LBFGS(Descent):
    """Limited-memory BFGS with a backtracking line search (Nocedal, Math. Comput. 35, 1980; Armijo, Pacific J. Math. 16, 1966).

    history: pairs of steps and slopes that are kept. trials: of the step length in one iteration, each half of the one before.
    The learning rates weigh the parts against each other; the longest first trial step is the largest rate.
    """

    history: int = 10
    trials: int = 8

    def __post_init__(self) -> None:
        require_int(self, "history", 1, 1000)
        require_int(self, "trials", 1, 50)

    def begin(self, numbers: Tensors, random: bool = True) -> dict[str, Any]:
        """here: loss, gradient and what comes beside them at the numbers of the next step, which the last trial has worked out."""
        return {"pairs": (), "before": None, "point": None, "random": random}

    def step(self, numbers: Tensors, memory: dict[str, Any], slope: Slope, rates: dict[str, float]) -> tuple[Tensors, dict[str, Any], Any]:
        import torch

        names = list(numbers)
        largest = max(rates.values(), default=0.0) or 1.0
        weight = {n: rates[n] / largest for n in names}  # coordinates θ = weight u, in which the parts are alike

        def flat(tensors: Tensors) -> Tensor:
            return torch.cat([(weight[n] * tensors[n]).flatten() for n in names])

        loss, gradient, output = point = memory["point"] or slope(numbers)
        g = flat(gradient)
        pairs = memory["pairs"]
        if memory["before"] is not None:
            s, before = memory["before"]
            y = g - before
            if float(s @ y) > 1e-10 * float(s.norm() * y.norm()):
                pairs = (*pairs[max(0, len(pairs) - self.history + 1) :], (s, y))
        q, weights = g, []
        for s, y in reversed(pairs):
            a = (s @ q) / (y @ s)
            q = q - a * y
            weights.append(a)
        if pairs:
            s, y = pairs[-1]
            q = q * ((s @ y) / (y @ y))
        for (s, y), a in zip(pairs, reversed(weights)):
            q = q + s * (a - (y @ q) / (y @ s))
        down, slant = -q, -float(g @ q)
        t = 1.0 if pairs else largest / max(float(q.abs().max()), 1e-30)
        best = numbers
        displacement = torch.zeros_like(g)
        for _ in range(self.trials):
            trial = {}
            at = 0
            for n in names:
                size = numbers[n].numel()
                trial[n] = numbers[n] + weight[n] * t * down[at : at + size].reshape(numbers[n].shape)
                at += size
            trial_point = slope(trial)
            if float(trial_point[0]) <= float(loss) + 1e-4 * t * slant:
                best, displacement, point = trial, t * down, trial_point
                break
            t /= 2
        stuck = best is numbers  # no step goes down: the next iteration begins from the slope alone
        new = {"pairs": () if stuck else pairs, "before": None if stuck else (displacement, g)}
        return best, {**memory, **new, "point": None if memory["random"] else point}, output
