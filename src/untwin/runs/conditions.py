"""What a run was made under beside its pattern, recipe and seed: as texts that a run.toml holds, and the Problem of such texts."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.errors import InputError
from untwin.model.constraints import Constraint, Nonnegative, Sparse, Support
from untwin.model.counts import Counts, Modulus
from untwin.model.losses import Loss, Poisson
from untwin.model.physics import Physics, default_physics
from untwin.model.problem import Problem, require_real
from untwin.runs.device import device_name
from untwin.runs.names import parse, parse_model

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.runs.stages.plan import Plan

KINDS: dict[str, type] = {"constraint": Constraint, "loss": Loss, "modulus": Modulus, "physics": Physics}  # what texts describe


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a run was made under. Texts are empty where a run has it by default.

    positivity: the option says it all of the constraint. device: such as "cuda". support: (*grid) bool, centred, where one was handed in.
    obstacle: why these do not repeat the run, as a sentence, or nothing.
    """

    positivity: bool = False
    constraint: str = ""
    loss: str = ""
    modulus: str = ""
    physics: str = ""
    device: str = ""
    support: np.ndarray | None = None
    obstacle: str = ""

    @classmethod
    def of(cls, problem: Problem, plan: Plan, support: Tensor | None = None) -> Conditions:
        """support: in FFT order, as it was handed in."""
        positive = [type(c) for c in problem.constraint.parts()] == [Support, Nonnegative] and _is_real(problem.pattern)
        plain = positive or [type(c) for c in problem.constraint.parts()] == [Support]
        texts = {
            "constraint": "" if plain else repr(problem.constraint),
            "loss": "" if _same(problem.loss, Poisson()) else repr(problem.loss),
            "modulus": "" if _same(problem.modulus, Modulus()) else repr(problem.modulus),
            "physics": "" if _is_default(problem) else repr(problem.physics),
        }
        inside = None if support is None else problem.centred(support.cpu()).numpy()
        return cls(
            positivity=positive,
            **texts,
            device="" if problem.device == "cpu" else problem.device,
            support=inside,
            obstacle=_obstacle(problem, plan, texts, inside),
        )

    def texts(self) -> dict[str, Any]:
        """What is not the default, as options of a run (the support aside)."""
        options = {"positivity": self.positivity, "constraint": self.constraint, "loss": self.loss, "modulus": self.modulus}
        options |= {"physics": self.physics, "device": self.device}
        return {name: value for name, value in options.items() if value}


def problem_of(
    pattern: Pattern,
    positivity: bool = False,
    constraint: str | None = None,
    loss: str | None = None,
    modulus: str | None = None,
    physics: str | None = None,
    device: str | None = None,
    sparse: int | None = None,
) -> Problem:
    """The Problem that texts describe. sparse: how many values of a real nonnegative object are not 0. Raises InputError where one cannot
    be read, or positivity contradicts the pattern."""
    if positivity or sparse is not None:
        require_real(pattern)
    default: Constraint = Support() & Nonnegative() if positivity else Support()
    default = default if sparse is None else Nonnegative() & Sparse(sparse)
    return Problem(
        pattern,
        physics=parse_model(physics, Physics) if physics else default_physics(pattern),
        constraint=parse_model(constraint, Constraint) if constraint else default,
        loss=parse_model(loss, Loss) if loss else Poisson(),
        modulus=parse_model(modulus, Modulus) if modulus else Modulus(),
        device=device_name(device or "cpu"),
    )


def _is_default(problem: Problem) -> bool:
    try:
        return _same(problem.physics, default_physics(problem.pattern).on(problem.pattern))
    except InputError:
        return False


def _is_real(pattern: Pattern) -> bool:
    try:
        require_real(pattern)
    except InputError:
        return False
    return True


def _obstacle(problem: Problem, plan: Plan, texts: dict[str, str], support: np.ndarray | None) -> str:
    """Why a run.toml could not repeat this run, or nothing."""
    for name, text in texts.items():
        if text and not reads_back(getattr(problem, name), KINDS[name]):
            return f"its {name} {text} has names that a run.toml does not know"
    try:
        repeats = parse(repr(plan)) == plan
    except InputError:
        repeats = False
    if not repeats:
        return "its recipe has steps that a run.toml does not know"
    if problem.nuisance:
        return "its Problem began with values of its own for what is unknown in the physics"
    if not _is_of_its_pattern(problem):
        return "its Problem had other counts, pixels or precision than its pattern"
    if support is not None and bool(support.all()):
        return "its support covered the whole array, which a file with a support may not"
    return ""


def reads_back(value: Any, kind: type) -> bool:
    """True where its text describes this very constraint, loss, modulus or physics, and not one of the same name."""
    parts = value.parts() if isinstance(value, Constraint) else (value,)
    try:
        described = parse_model(" & ".join(map(repr, parts)), kind)
    except InputError:
        return False
    others = described.parts() if isinstance(described, Constraint) else (described,)
    return len(parts) == len(others) and all(map(_same, parts, others))


def _same(value: Any, other: Any) -> bool:
    """Of the same classes through and through, with the same numbers; what is bound by a pattern is that of the pattern."""
    value, other = (v.item() if isinstance(v, np.generic) else v for v in (value, other))
    if type(value) is not type(other) or repr(value) != repr(other):
        return False
    return not is_dataclass(value) or all(_same(getattr(value, f.name), getattr(other, f.name)) for f in fields(value) if f.compare)


def _is_of_its_pattern(problem: Problem) -> bool:
    """The tensors are those that a Problem makes of this pattern as a file holds it, in float32."""
    import torch

    counts, pattern = problem.counts, problem.pattern
    own = Counts.of(replace(pattern, intensity=pattern.intensity.astype(np.float32)), problem._mirror)
    tensors = ("intensity", "measured", "amplitude", "imposed")
    pairs = [(getattr(counts, name).cpu(), getattr(own, name)) for name in tensors]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
