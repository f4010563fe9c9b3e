"""What is known beforehand as the start and the support of an iterative reconstruction: a network's prediction, or an earlier result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
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
    from untwin.data.object import ObjectFile
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
        predicted = next(predict([problem.pattern], _loaded(self.model), problem.device))
        return _begun(self, problem, state, predicted.image, predicted.support)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Guess(Algorithm):
    """x = the object in a result of untwin, support = its support, widened: for a pattern that differs little from the one of that result,
    such as its neighbour in a time series.

    file: a result.cxi. sha256: how the SHA-256 of this file begins, if it is to be the same one. variety, widen, every: as of Predict.
    """

    needs: ClassVar = Problem

    file: str = "result.cxi"
    sha256: str = ""
    variety: Setting = 0.3
    widen: int = 1
    every: int = 2

    def __post_init__(self) -> None:
        require_setting(self, "variety", 0, 1)
        require_int(self, "every", 1, 1000)
        require_number(self, "widen", 0, 50)

    def check(self, problem: Problem) -> None:
        stored = _stored(self.file, self.sha256)
        if stored.image.shape != problem.shape:
            raise InputError(f"the object in {self.file} has shape {stored.image.shape}, this one {problem.shape}; expected the same")

    def informs(self, family: int) -> bool:
        """True where the starts of a family begin from the result."""
        return family % int(self.every) == 0

    def step(self, problem: Problem, state: State) -> State:
        stored = _stored(self.file, self.sha256)
        assert stored.support is not None
        return _begun(self, problem, state, stored.image, stored.support)

    def __repr__(self) -> str:
        return expression.write(self)


@lru_cache(maxsize=4)
def _stored(file: str, sha256: str) -> ObjectFile:
    """Raises InputError where it is no result, or another one than it was."""
    from untwin.data import atomic
    from untwin.data.object import read_object

    if not atomic.sha256(Path(file)).startswith(sha256):
        raise InputError(f"{file} is not the file that it was (its SHA-256 began with {sha256}); begin from what it holds now, or randomly")
    stored = read_object(file)
    if stored.support is None:
        raise InputError(f"{file} holds no support; expected a result.cxi that untwin has written")
    return stored


def _begun(step: Predict | Guess, problem: Problem, state: State, image: np.ndarray, support: np.ndarray) -> State:
    """The state whose families that are informed begin from an object. image, support: (*grid), centred."""
    import torch
    from scipy import ndimage

    d, one = problem.ndim, (-1,) + (1,) * problem.ndim
    inside = ndimage.binary_dilation(support, iterations=int(step.widen)) if step.widen else support
    around = fourier.cornered(torch.from_numpy(np.asarray(inside, dtype=bool)), d).to(state.x.device) & state.bounds
    empty = ~around.flatten(1).any(1).reshape(one)
    around = torch.where(empty, state.bounds, around)  # an object that lies elsewhere says nothing about the support
    x = fourier.cornered(torch.from_numpy(np.ascontiguousarray(image)), d).to(state.x.device)
    x = x.abs() if problem.real else x
    x = x.to(state.x.dtype).where(around, state.x.new_zeros(()))
    share = value(step.variety, state, f"{type(step).__name__}.variety") * torch.tensor(
        [float(m.number % 4 > 0) for m in state.members], dtype=torch.float64, device=state.x.device
    )
    share = share.to(x.real.dtype).reshape(one)
    x = (1 - share) * x + share * random_object(problem, around, state.seeds)
    begun = torch.tensor([step.informs(m.family) for m in state.members], device=x.device).reshape(one)
    return state.replace(
        x=torch.where(begun, x, state.x),
        image=torch.where(begun, x, state.image),
        support=torch.where(begun, around, state.support),
    )


def started(text: str) -> Predict | Guess | None:
    """What `--start` names: None for random, a Predict for predict or predict:MODEL, a Guess for a folder of results or its result.cxi.
    Raises InputError (no such model, too)."""
    if text == "random":
        return None
    if (path := result_file(text)) is not None:
        from untwin.data import atomic

        return Guess(str(path.absolute()), atomic.sha256(path)[:16])
    kind, _, model = text.partition(":")
    if kind != "predict" or text.endswith(":"):
        raise InputError(f"start {text!r}; expected random, predict, predict:MODEL or the folder of a result")
    weights.check(model or Predict().model)
    return Predict(model) if model else Predict()


def result_file(text: str) -> Path | None:
    """The result.cxi of a folder of results, or a file of this ending; None where there is none."""
    path = Path(text)
    path = path / "result.cxi" if path.is_dir() else path
    return path if path.suffix == ".cxi" and path.is_file() else None
