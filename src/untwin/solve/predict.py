"""A trained network's guess as the start and the support of an iterative reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin import expression, fourier
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.inference import predict
from untwin.model.networks import weights
from untwin.model.networks.weights import Trained
from untwin.model.problem import Problem
from untwin.solve.begin import random_object, require_outline
from untwin.solve.recipe import Algorithm, Setting, require_setting, value

if TYPE_CHECKING:
    from untwin.solve.state import State


@lru_cache(maxsize=4)
def _loaded(model: str) -> Trained:
    return weights.load(model)


@dataclass(frozen=True, repr=False)
class Predict(Algorithm):
    """x = what a trained network says, support = where its magnitude is above a tenth of the largest, widened.

    model: the name of a shipped one, or a file of weights. variety: each start adds a random object of its own inside that support, with
    this share of the amplitude, in [0, 1]; one start of every four (number 0, 4, ...) adds none. widen: pixels by which the support grows,
    whole. Outside of the bounds of the start there is nothing.
    every: starts of families whose number is a multiple of it begin so, the others stay as they are. With 2, one of two families knows
        nothing of the prediction, so that their agreement is evidence; with 1 all starts share it, and their agreement is none.
    """

    needs: ClassVar = Problem

    model: str = "cdi-nn"
    variety: Setting = 0.3
    widen: int = 1
    every: int = 2

    def __post_init__(self) -> None:
        require_setting(self, "variety", 0, 1)
        require_int(self, "every", 1, 1000)
        require_number(self, "widen", 0, 50)

    def check(self, problem: Problem) -> None:
        require_outline(problem, repr(self))  # networks were trained on far fields

    def informs(self, family: int) -> bool:
        """True where the starts of a family begin from the prediction."""
        return family % int(self.every) == 0

    def step(self, problem: Problem, state: State) -> State:
        import torch
        from scipy import ndimage

        d = problem.ndim
        predicted = next(predict([problem.pattern], _loaded(self.model), problem.device))
        inside = ndimage.binary_dilation(predicted.support, iterations=int(self.widen)) if self.widen else predicted.support
        support = fourier.cornered(torch.from_numpy(np.asarray(inside)), d).to(state.x.device) & state.bounds
        empty = ~support.flatten(1).any(1).reshape((-1,) + (1,) * d)
        support = torch.where(empty, state.bounds, support)  # a prediction that lies elsewhere says nothing about the support
        image = fourier.cornered(torch.from_numpy(predicted.image), d).to(state.x.device)
        image = image.abs() if problem.real else image
        image = image.to(state.x.dtype).where(support, state.x.new_zeros(()))
        share = value(self.variety, state, "Predict.variety") * torch.tensor(
            [float(m.number % 4 > 0) for m in state.members], dtype=torch.float64, device=state.x.device
        )
        other = random_object(problem, support, state.seeds)
        share = share.to(image.real.dtype).reshape((-1,) + (1,) * d)
        x = (1 - share) * image + share * other
        begun = torch.tensor([self.informs(m.family) for m in state.members], device=x.device).reshape((-1,) + (1,) * d)
        return state.replace(
            x=torch.where(begun, x, state.x),
            image=torch.where(begun, x, state.image),
            support=torch.where(begun, support, state.support),
        )

    def __repr__(self) -> str:
        return expression.write(self)


def started(text: str) -> Predict | None:
    """What `--start` names: None for random, a Predict for predict or predict:MODEL. Raises InputError (no such model, too)."""
    kind, _, model = text.partition(":")
    if text == "random":
        return None
    if kind != "predict" or text.endswith(":"):
        raise InputError(f"start {text!r}; expected random, predict or predict:MODEL")
    weights.check(model or Predict().model)
    return Predict(model) if model else Predict()
