"""The names that a recipe, a plan or a model in text may use: what the namespaces hold, and the stages."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, TypeVar

import untwin
from untwin import algorithms, constraints, expression, losses, priors, rules
from untwin.errors import InputError
from untwin.model.constraints import Both, Constraint
from untwin.model.counts import Modulus
from untwin.model.detection import Background, Coherent, CoherentFactor, Ideal, Sensitivity, Series
from untwin.model.losses import Loss
from untwin.model.physics import Physics
from untwin.model.unknown import Unknown
from untwin.model.waves.base import Waves
from untwin.model.waves.farfield import FarField
from untwin.model.waves.fresnel import Fresnel
from untwin.model.waves.linear import Gaussian
from untwin.model.waves.masked import Masked
from untwin.runs.plugins import WithPlugins
from untwin.runs.stages.average import Average
from untwin.runs.stages.coherence import Coherence
from untwin.runs.stages.contain import Contain
from untwin.runs.stages.count_values import CountValues
from untwin.runs.stages.finish import Finish
from untwin.runs.stages.guide import Guide
from untwin.runs.stages.inspect import Inspect, Release
from untwin.runs.stages.plan import Plan
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.runs.stages.strays import Strays
from untwin.solve.recipe import Recipe, Repeat, Rule, Then


def _public(*spaces: ModuleType) -> list[type]:
    """The classes of a namespace of which there can be instances."""
    return [c for s in spaces for c in (getattr(s, name) for name in s.__all__) if not inspect.isabstract(c)]


STAGES: tuple[type, ...] = (
    *(Plan, Inspect, CountValues, Search, Guide, Reserve, Release, Finish, Contain, Average, Coherence, Strays, Refine),
)
_OPERATORS = (Recipe, Then, Repeat)  # written as + and *
_BOUNDS = [c for c in _public(constraints) if not issubclass(c, Constraint)]
NAMES: dict[str, type] = {c.__name__: c for c in (*_public(algorithms, priors, losses, rules), *_BOUNDS, *STAGES) if c not in _OPERATORS}
# of the physics those that numbers describe
PHYSICS: tuple[type, ...] = (
    *(Physics, FarField, Masked, Fresnel, Gaussian),
    *(Ideal, Coherent, CoherentFactor, Background, Sensitivity, Series, Unknown),
)
MODEL: dict[str, type] = {
    c.__name__: c for c in (*_public(constraints, losses), Modulus, *PHYSICS) if issubclass(c, Constraint | Loss | Modulus) or c in PHYSICS
}
Kind = TypeVar("Kind")
# former name -> present one, of classes and of settings, for one release
FORMER = {
    **untwin.FORMER,
    "Refine.apart": "min_disagreement",
    "Refine.explained": "max_deviance_ratio",
    "Reserve.near": "max_disagreement",
    "Modulus.hole": "damping",
}


def parse(text: str) -> Any:
    """The recipe or plan that a text describes. cohere's strings are read unchanged: "3*(20*ER+180*HIO)+20*ER"."""
    recipe = expression.read(text, WithPlugins(NAMES), FORMER)
    if not isinstance(recipe, Recipe | Plan):
        raise InputError(f"{text!r} is not a recipe; expected steps such as 20*ER + 180*HIO(beta=0.9)")
    return recipe


def parse_rule(text: str) -> Rule:
    """The rule that a text describes, such as "EMV(patience=300)"."""
    rule = expression.read(text, WithPlugins(NAMES), FORMER)
    if not isinstance(rule, Rule):
        raise InputError(f"{text!r} is not a rule; expected such as EMV(patience=300), WMV or HeldOut")
    return rule


def parse_model(text: str, kind: type[Kind]) -> Kind:
    """The constraint, loss, modulus or physics that a text describes, such as "Support() & RealValued()". Waves alone are a physics."""
    value = expression.read(text, WithPlugins(MODEL), FORMER)
    part: Any = Physics.of(value) if kind is Physics and isinstance(value, Waves) else value
    if not isinstance(part, kind) or (isinstance(part, Both) and not _sound(part)):
        names = ", ".join(name for name, c in MODEL.items() if issubclass(c, kind))
        raise InputError(f"{text!r} is no {kind.__name__.lower()}; known: {names}")
    return part


def _sound(part: object) -> bool:
    """Constraints through and through."""
    return _sound(part.first) and _sound(part.second) if isinstance(part, Both) else isinstance(part, Constraint)
