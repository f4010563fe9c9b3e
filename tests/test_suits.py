"""Every step and rule that a recipe can name, on every kind of problem: it takes its steps, or an InputError says why not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import untwin as ut
from samples import lopsided, pattern, thing
from untwin.errors import InputError
from untwin.model.constraints import Nonnegative, RealValued, Support
from untwin.model.detection import Detection
from untwin.model.inverse import InverseProblem
from untwin.model.losses import Loss
from untwin.model.physics import Physics
from untwin.model.priors.base import Prior
from untwin.model.problem import Problem
from untwin.model.regularizers import Regularizer
from untwin.model.unknown import Unknown
from untwin.runs.names import NAMES, parse
from untwin.solve.descent import Descent
from untwin.solve.recipe import Algorithm, Rule
from untwin.solve.wrap import Wrapper

SHAPE = (16, 18)
SMALL = "Skip(depth=1, width=4, skip=2, inputs=3)"
ARGUMENTS = {
    "Untrained": SMALL,
    "Projector": "Skip(depth=1, width=4, inputs=3)",
    "Implicit": "Siren(width=4, layers=1)",
    "DoubleDIP": SMALL,
    "Polar": f"Untrained({SMALL}), Grid",
    "Cartesian": f"Grid, Untrained({SMALL})",
    "WMV": "window=2, burn_in=0",
    "SelfValidation": "window=2, size=16, batch=2",
}


def named(kind: type, less: type | tuple[()] = ()) -> list[str]:
    """What a recipe can name of a kind, with settings that suit small arrays."""
    names = [n for n, c in NAMES.items() if issubclass(c, kind) and not issubclass(c, less)]
    return [f"{n}({ARGUMENTS[n]})" if n in ARGUMENTS else n for n in names]


STEPS = [*(s for s in named(Algorithm, Wrapper) if s != "Fit"), "Fit(Grid)", "Fit(Polar(Grid, Grid))"]
WRAPPERS = named(Wrapper)
RULES = named(Rule)
FITS = [
    *(f"Fit({prior})" for prior in named(Prior)),
    *(f"Fit({prior}, imitate=1, grow=1)" for prior in ("Grid", "Polar(Grid, Grid)")),
    *(f"Fit({prior}, {descent})" for prior in ("Grid", "Polar(Grid, Grid)") for descent in named(Descent)),
    *(f"Fit({prior}, regularizer={r})" for prior in ("Grid", "Cartesian(Grid, Grid)") for r in named(Regularizer)),
    *(f"Fit({prior}, loss={loss}, root=True, average=0.5)" for prior in ("Grid", "Polar(Uniform, Grid)") for loss in named(Loss)),
    f"Fit(Untrained({SMALL}), bfloat16=True, decay=0.1, warm=1)",
]
RECIPES = [
    *(f"2*{step}" for step in STEPS),
    *(f"2*{wrapper}({step})" for wrapper in WRAPPERS for step in STEPS),
    *(f"2*{outer}({inner}(HIO))" for outer in WRAPPERS for inner in WRAPPERS),
    *(f"Until({rule}, 2*{step})" for rule in RULES for step in ("HIO", "ShrinkWrap", "Mean(ER)", "Fit(Grid)", "Fit(Polar(Grid, Grid))")),
    *(f"2*{fit}" for fit in FITS),
    "2*ShrinkWrap(sigma=Ramp(2, 0.5), threshold=Draw(0.1, 0.3), level='weighted', islands=0.1)",
    "2*AreaWrap(area=Deal((0.3, 0.5)))",
]


@dataclass(frozen=True, repr=False)
class Blurred(Detection):
    """Of neighbours along the first axis."""

    def expected(self, f):
        return 0.5 * f + 0.25 * (f.roll(1, -2) + f.roll(-1, -2))


@dataclass(frozen=True, repr=False)
class Background(Detection):
    level: float | Unknown = Unknown(0.5, 0, 10)

    def expected(self, f):
        return f + self.level


def far(
    constraint=None, detection: Detection | None = None, real: bool = False, photons: float | None = 1e4, shape=SHAPE, hide=0.05
) -> Problem:
    p = pattern(thing(shape, 1, real), photons=photons, hide=hide)
    if detection is None:
        return Problem(p, constraint=constraint or Support())
    return Problem(p, Physics(ut.physics.FarField(2), detection), constraint=constraint or Support())


def picture(channels: int, physics: object = None) -> ut.Picture:
    y = torch.from_numpy(np.random.default_rng(0).random((channels, *SHAPE)).astype(np.float32))
    return ut.Picture(y) if physics is None else ut.Picture(physics(y[None])[0], physics)  # type: ignore[operator]


SAMPLED = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) > 0.3
PROBLEMS = {
    "grey picture": lambda: picture(1),
    "colour picture": lambda: picture(3),
    "k-space": lambda: picture(1, ut.physics.MRI(SAMPLED)),
    "complex": far,
    "real nonnegative": lambda: far(Support() & Nonnegative(), real=True),
    "real": lambda: far(Support() & RealValued(), real=True),
    "complex, blurred": lambda: far(detection=Blurred()),
    "real nonnegative, blurred": lambda: far(Support() & Nonnegative(), Blurred(), real=True),
    "complex, unknown background": lambda: far(detection=Background()),
    "complex, fractions of photons": lambda: far(photons=None),
}


def first(problem: InverseProblem) -> ut.State:
    if isinstance(problem, Problem):
        return ut.begin(problem, seeds=(0, 1), support=lopsided(problem.shape))
    return ut.State.of(torch.zeros(2, *problem.shape), seeds=(0, 1))


def steps_taken(problem: InverseProblem, recipe: ut.algorithms.Recipe) -> ut.State | str:
    """The last state, or what the InputError says, which must come before the first step is over."""
    states = [first(problem)]
    try:
        states.extend(ut.iterate(problem, recipe, states[0]))
    except InputError as error:
        assert len(states) == 1, f"refused after {len(states) - 1} steps: {error}"
        return str(error)
    return states[-1]


def _steps(text: str) -> tuple[int, ...]:
    """That may be taken: one is enough where this picture is noise to the rule."""
    return (1, 2) if "Discrepancy" in text else (2,)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_recipe_takes_its_steps_or_says_why_not(kind):
    problem = PROBLEMS[kind]()
    wrong, taken = [], 0
    for text in RECIPES:
        try:
            after = steps_taken(problem, parse(text))
        except InputError as error:  # no recipe at all
            after = str(error)
        except Exception as error:
            wrong.append(f"{text}: {type(error).__name__}: {error}")
            continue
        if isinstance(after, str):
            continue
        taken += 1
        if after.x.shape != first(problem).x.shape or after.image.shape != after.x.shape or after.step not in _steps(text):
            wrong.append(f"{text}: x {tuple(after.x.shape)}, image {tuple(after.image.shape)} after {after.step} steps")
        elif not bool(after.x.isfinite().all() & after.image.isfinite().all()):
            wrong.append(f"{text}: NaN or infinity")
        elif problem.real and (after.x.is_complex() or after.image.is_complex()):
            wrong.append(f"{text}: complex")
    assert not wrong, "\n".join(wrong)
    assert taken > 20


def test_every_name_that_a_recipe_can_use_is_tried():
    words = " ".join(RECIPES)
    kinds = (Algorithm, Rule, Prior, Descent, Regularizer, Loss)
    assert not [n for n, c in NAMES.items() if issubclass(c, kinds) and n not in words]


@pytest.mark.parametrize("text", ["2*Predict", "2*Capped(Predict)", "2*Mean(Predict)", "Until(HeldOut, HIO + Predict)"])
def test_arrays_that_suit_the_network_are_predicted(text):
    for problem in (
        far(shape=(64, 64), hide=0.01),
        far(Support() & Nonnegative(), real=True, shape=(64, 64), hide=0.01),
        far(detection=Background(), shape=(64, 64), hide=0.01),
    ):
        after = steps_taken(problem, parse(text))
        assert not isinstance(after, str) and after.step == 2 and bool(after.image.isfinite().all())


@pytest.mark.parametrize("text", ["2*ShrinkWrap", "2*AreaWrap", "2*Mean(ShrinkWrap)", "Until(EMV, Fit(Grid) + 2*ShrinkWrap)"])
def test_no_support_is_blurred_across_colours(text):
    assert "is a step for a pattern" in str(steps_taken(PROBLEMS["colour picture"](), parse(text)))
