"""The vocabulary of recipes: an Algorithm is one step; `n * a` repeats, `a + b` is then; Until stops by a rule.

A recipe is a Python expression, and its repr is the same expression as text: parse(repr(recipe)) == recipe.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from untwin import expression
from untwin.checks import field, is_int, is_number, numbers, within
from untwin.errors import InputError
from untwin.model.inverse import InverseProblem
from untwin.random import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from untwin.solve.state import State


class Recipe(ABC):  # noqa: B024 (the operators are the interface)
    """An expression of steps: + and * build larger ones."""

    def __add__(self, other: Recipe) -> Then:
        if not isinstance(other, Recipe):
            return NotImplemented
        return Then((*_parts(self), *_parts(other)))

    def __mul__(self, times: int) -> Repeat:
        if not is_int(times):
            return NotImplemented
        return Repeat(times, self)

    __rmul__ = __mul__


class Algorithm(Recipe):
    """One step of a method: frozen numbers, and `step`. What moves is in the state.

    needs: the kind of problem that it is a step for. Another kind is an InputError before the first step.
    cost: what it takes about, in iterations of a projection algorithm on one start, for the time that is left.
    brief: whether a step is as short as one of these, and leaves Python to others meanwhile: starts may then run in threads of one process.
    """

    needs: ClassVar[type[InverseProblem]] = InverseProblem
    cost: ClassVar[float] = 1.0
    brief: ClassVar[bool] = False

    def parts(self) -> tuple[Algorithm, ...]:
        """The step, and those that it holds."""
        return (self,)

    def check(self, problem: Any) -> None:
        """Raise InputError where the step does not suit a problem of its kind."""

    def begin(self, problem: Any, state: State) -> State:
        """Called before the first of a run of equal steps; algorithms that carry memory start it here."""
        return state

    @abstractmethod
    def step(self, problem: Any, state: State) -> State:
        """The state after one iteration of all starts. The old state stays as it is."""

    @property
    def steady(self) -> bool:
        """True where every step does the same, whatever the progress: several may then be taken at once."""
        return False

    def stretch(self, problem: Any, state: State, steps: int) -> State:
        """The state after so many steps: what `step` would come to."""
        for _ in range(steps):
            state = self.step(problem, state)
        return state


class Rule(ABC):
    """When to stop and which image to keep. Same shape as an algorithm; its own tensors live in state.rule_state.

    After each step of its segment: `observe` returns the state with rule_state brought up to date; `done` says which starts have stopped,
    (starts,) bool; `restore_best` puts the kept images into the state at the end of the segment, those of a start that has stopped as
    they were when it did, whatever steps followed. `problem_for_steps` is the problem that the steps of the segment are handed: a rule may
    hide some of the data from them. needs: as for an Algorithm. every: it looks at each so many-th step of its segment alone, and steady
    steps between two looks are taken together.
    """

    needs: ClassVar[type[InverseProblem]] = InverseProblem
    every: int = 1

    def problem_for_steps(self, problem: Any) -> Any:
        """A function of the problem alone, so that a run can be resumed."""
        return problem

    @abstractmethod
    def begin(self, problem: Any, state: State) -> State:
        """The state with the rule_state that the segment begins with."""

    @abstractmethod
    def observe(self, problem: Any, state: State) -> State:
        """The state with rule_state brought up to date, after a step."""

    @abstractmethod
    def done(self, state: State) -> Tensor:
        """Which starts have stopped: (starts,) bool."""

    @abstractmethod
    def restore_best(self, state: State) -> State:
        """The state with the images that the rule keeps, at the end of the segment."""


def _parts(recipe: Recipe) -> tuple[Recipe, ...]:
    return recipe.parts if isinstance(recipe, Then) else (recipe,)


@dataclass(frozen=True, repr=False)
class Then(Recipe):
    """One after the other, left to right."""

    parts: tuple[Recipe, ...]

    def __post_init__(self) -> None:
        _bounded(self)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


@dataclass(frozen=True, repr=False)
class Repeat(Recipe):
    """The same again, `times` times (0 leaves it out)."""

    times: int
    recipe: Recipe

    def __post_init__(self) -> None:
        if self.times < 0:
            raise InputError(f"{self.times} repetitions of {self.recipe!r}: expected 0 or more")
        _bounded(self)

    def __repr__(self) -> str:
        inner = repr(self.recipe)
        return f"{self.times}*({inner})" if isinstance(self.recipe, Then | Repeat) else f"{self.times}*{inner}"


@dataclass(frozen=True, repr=False)
class Until(Recipe):
    """The recipe, cut short by a rule: each start is stopped by its own decision, and the image that the rule kept goes on."""

    rule: Rule
    recipe: Recipe

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):
            raise InputError(f"Until needs a rule first, such as Until(Plateau(), 500*ER); got {self.rule!r}")
        if not isinstance(self.recipe, Recipe):
            raise InputError(f"Until needs a recipe second, such as Until(Plateau(), 500*ER); got {self.recipe!r}")
        if _holds_until(self.recipe):
            raise InputError("Until inside Until: a step can obey one rule only; write one after the other")

    def __repr__(self) -> str:
        return f"Until({self.rule!r}, {self.recipe!r})"


@dataclass(frozen=True, repr=False)
class Draw:
    """A setting that each start draws for itself, uniformly from low to high, as a function of its seed."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise InputError(f"Draw({self.low}, {self.high}): expected two numbers, the smaller first")

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Ramp:
    """A setting that moves from `begin` to `end` over all the repetitions of its step in the recipe; geometrically, or in
    equal steps with linear=True. Either end may be a Draw."""

    begin: float | Draw
    end: float | Draw
    linear: bool = False

    def __post_init__(self) -> None:
        for v in extremes(self):
            if not math.isfinite(v) or (v <= 0 and not self.linear):
                raise InputError(f"{self!r}: expected numbers above 0 (or linear=True)")

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Deal:
    """A setting of which start number s takes the value number s (modulo how many there are): Deal((0.1, 0.2, 0.3))."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values:
            raise InputError(f"Deal({self.values!r}): expected one or more numbers, such as Deal((0.1, 0.2))")
        for v in self.values:
            extremes(v)

    def __repr__(self) -> str:
        return expression.write(self)


Setting = float | Draw | Ramp | Deal


def extremes(setting: Setting) -> tuple[float, ...]:
    """The numbers between which a setting stays, for checking."""
    if isinstance(setting, Draw):
        return (setting.low, setting.high)
    if isinstance(setting, Deal):
        return setting.values
    if isinstance(setting, Ramp):
        return (*extremes(setting.begin), *extremes(setting.end))
    if not is_number(setting):
        raise InputError(f"expected a number, Draw(low, high) or Ramp(begin, end), got {setting!r}")
    return (float(setting),)


def require_setting(owner: Any, name: str, low: float, high: float, *, above: bool = False) -> None:
    """Raise unless every value that a setting can take is in [low, high]; above: not low itself. It may be a Draw, Ramp or Deal."""
    setting = getattr(owner, name)
    values = extremes(setting) if isinstance(setting, Draw | Ramp | Deal) else (setting,)
    if not all(within(v, low, high, above) for v in values):
        raise InputError(f"{field(owner, name)}: expected {numbers(low, high, above)}, or a Draw, Ramp or Deal of such")


def value(setting: Setting, state: State, label: str) -> Tensor:
    """(starts,) float64, on the state's device: the setting's value for each start now. `label` tells one draw from another."""
    import torch

    if isinstance(setting, Ramp):
        begin, end = value(setting.begin, state, label), value(setting.end, state, label + "'")
        if setting.linear:
            return begin + (end - begin) * state.progress
        return begin * (end / begin) ** state.progress
    if isinstance(setting, Draw):
        u = [_uniform(seed, label) for seed in state.seeds]
        return _on_device(tuple(setting.low + (setting.high - setting.low) * v for v in u), state.x.device)
    if isinstance(setting, Deal):
        return _on_device(tuple(setting.values[m.number % len(setting.values)] for m in state.members), state.x.device)
    return torch.full((len(state.seeds),), float(setting), dtype=torch.float64, device=state.x.device)


@lru_cache(maxsize=256)
def _on_device(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """(starts,) float64. Copied once: a GPU would have to wait for it in each step."""
    import torch

    return torch.tensor(numbers, dtype=torch.float64, device=device)


@lru_cache(maxsize=4096)
def _uniform(seed: int, label: str) -> float:
    """A number in [0, 1) that is a function of the start's seed and of what is drawn."""
    return np.random.default_rng(derive(seed, label)).random()


LONGEST = 2_000_000  # steps of one recipe


def _bounded(recipe: Recipe) -> None:
    if isinstance(recipe, Repeat) and recipe.times > LONGEST or length(recipe) > LONGEST:
        raise InputError(f"this recipe has more than {LONGEST:,} steps; repeat less often")


def _holds_until(recipe: Recipe) -> bool:
    if isinstance(recipe, Then):
        return any(map(_holds_until, recipe.parts))
    return isinstance(recipe, Until) or (isinstance(recipe, Repeat) and _holds_until(recipe.recipe))


def require_suited(problem: InverseProblem, recipe: Recipe) -> None:
    """Raise InputError for the first step or rule that does not suit the problem."""
    if not isinstance(recipe, Recipe):
        raise InputError(f"{recipe!r} is no recipe; expected steps such as 20*ER() + 180*HIO(), or ut.parse(text)")
    for rule, algorithms in segments(recipe):
        for part in (*((rule,) if rule else ()), *dict.fromkeys(algorithms)):
            if not isinstance(problem, part.needs):
                kinds = {"Problem": "a pattern (Problem)", "Picture": "a picture (Picture)"}
                raise InputError(
                    f"{part!r} is a step for {kinds.get(part.needs.__name__, part.needs.__name__)}, and this is "
                    f"{kinds.get(type(problem).__name__, type(problem).__name__)}; leave it out, or try Fit(Untrained())"
                )
            if isinstance(part, Algorithm):
                part.check(problem)


def length(recipe: Recipe) -> int:
    """Number of steps, at most."""
    if isinstance(recipe, Then):
        return sum(map(length, recipe.parts))
    if isinstance(recipe, Repeat):
        return recipe.times * length(recipe.recipe)
    if isinstance(recipe, Until):
        return length(recipe.recipe)
    return 1


def steps(recipe: Recipe) -> Iterator[Algorithm]:
    """Every step in order, rules left aside."""
    if isinstance(recipe, Then):
        for part in recipe.parts:
            yield from steps(part)
    elif isinstance(recipe, Repeat):
        for _ in range(recipe.times):
            yield from steps(recipe.recipe)
    elif isinstance(recipe, Until):
        yield from steps(recipe.recipe)
    elif isinstance(recipe, Algorithm):
        yield recipe


def all_steps(recipe: Recipe) -> Iterator[Algorithm]:
    """Every step in order, and within wrappers, too."""
    for step in steps(recipe):
        yield from step.parts()


def segments(recipe: Recipe) -> Iterator[tuple[Rule | None, tuple[Algorithm, ...]]]:
    """The flattened recipe: runs of steps, each with the rule that may cut it short. A rule inside a rule is an error."""
    plain: list[Algorithm] = []

    def walk(node: Recipe) -> Iterator[tuple[Rule | None, tuple[Algorithm, ...]]]:
        if isinstance(node, Then):
            for part in node.parts:
                yield from walk(part)
        elif isinstance(node, Repeat):
            for _ in range(node.times):
                yield from walk(node.recipe)
        elif isinstance(node, Until):
            if plain:
                yield None, tuple(plain)
                plain.clear()
            yield node.rule, tuple(steps(node.recipe))
        elif isinstance(node, Algorithm):
            plain.append(node)

    yield from walk(recipe)
    if plain:
        yield None, tuple(plain)
