"""Where a start begins: bounds of the object from the autocorrelation, and a random object inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.random import derive
from untwin.solve.recipe import Algorithm, Setting, require_setting, value
from untwin.solve.state import Member, State

if TYPE_CHECKING:
    from torch import Tensor


def require_outline(problem: Problem, owner: str, instead: str = "give a recipe without it") -> None:
    """Raise InputError where the waves do not tell from the pattern alone where the object lies."""
    if problem.outline is None:
        raise InputError(
            f"{owner} needs the far field, whose pattern tells the outline of its object; {problem.physics.waves!r} does not: {instead}"
        )


@dataclass(frozen=True, repr=False)
class BoxSupport(Algorithm):
    """Support and bounds = a box of the object's extents, from the autocorrelation.

    margin: factor on the extents, at least 1.
    """

    needs: ClassVar = Problem
    brief: ClassVar = True

    margin: float = 1.05

    def __post_init__(self) -> None:
        require_number(self, "margin", 1, 10)

    def check(self, problem: Problem) -> None:
        require_outline(problem, repr(self))

    def step(self, problem: Problem, state: State) -> State:
        import torch

        from untwin.model.outline import box

        support = torch.from_numpy(box(problem.pattern, self.margin)).to(state.x.device).expand(state.support.shape)
        return state.replace(support=support, bounds=support)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class FrameSupport(Algorithm):
    """Support and bounds = the box that a nonnegative object fills, to the pixel, from the counts (model.frame); where they do not tell
    one, nothing changes."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    def step(self, problem: Problem, state: State) -> State:
        import torch

        from untwin.model.frame import frame

        inside = frame(problem.pattern)
        if inside is None:
            return state
        support = torch.from_numpy(inside).to(state.x.device).expand(state.support.shape)
        return state.replace(support=support, bounds=support)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class TriangleSupport(Algorithm):
    """Support = one half of the bounds' box, cut along its diagonal: an object and its twin do not both fit, so one of them wins."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    def step(self, problem: Problem, state: State) -> State:
        import torch

        total = torch.zeros(problem.shape)
        for axis, n in enumerate(problem.shape):
            line = state.bounds[0].any(dim=tuple(a for a in range(problem.ndim) if a != axis)) if problem.ndim > 1 else state.bounds[0]
            k = torch.fft.fftfreq(n, 1 / n)
            inside = k[line.cpu()]
            low, width = inside.min(), (inside.max() - inside.min()).clamp(min=1)
            total = total + ((k - low) / width).reshape([-1 if a == axis else 1 for a in range(problem.ndim)])
        return state.replace(support=state.bounds & (total < problem.ndim / 2).to(state.x.device))

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class ResetSupport(Algorithm):
    """Support = the bounds."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    def step(self, problem: Problem, state: State) -> State:
        return state.replace(support=state.bounds)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class ObjectSupport(Algorithm):
    """Support = where the object, P_S of the estimate, is not 0: of a sparse one the pixels that it takes."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    def step(self, problem: Problem, state: State) -> State:
        inside = problem.project_object(state.image, state.support) != 0
        return state.replace(support=inside & state.support)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class RandomStart(Algorithm):
    """x = random magnitudes and phases (real objects: random magnitudes) inside the support, as bright as the data."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    def step(self, problem: Problem, state: State) -> State:
        x = random_object(problem, state.support, state.seeds)
        return state.replace(x=x, image=x)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class FlatStart(Algorithm):
    """x = one magnitude in the support, as bright as the data, and a smooth random phase: for the near field, where random pixels lead
    nowhere. Of a real object its real part. What is smooth is what a near field tells last, so that starts which differ there and end
    alike are evidence.

    phase: root mean square of the random phase, rad; its amplitudes fall as |k|^−1.5.
    """

    needs: ClassVar = Problem
    brief: ClassVar = True

    phase: Setting = 1.0

    def __post_init__(self) -> None:
        require_setting(self, "phase", 0, 100)

    def step(self, problem: Problem, state: State) -> State:
        import torch

        one = (-1,) + (1,) * problem.ndim
        smooth = torch.stack([_smooth(problem.shape, seed) for seed in state.seeds]).to(state.x.device)
        phase = (value(self.phase, state, "FlatStart.phase").reshape(one).to(smooth) * smooth).to(state.x.real.dtype)
        x = torch.polar(torch.ones_like(phase), phase) if state.x.is_complex() else phase.cos()
        x = x.where(state.support, x.new_zeros(()))
        x = x * problem.brightness(problem.predict(x)).sqrt().to(x.real.dtype).reshape(one)
        return state.replace(x=x, image=x)

    def __repr__(self) -> str:
        return expression.write(self)


def _smooth(grid: tuple[int, ...], seed: int) -> Tensor:
    """(*grid) float64 of mean 0 and rms 1."""
    import torch

    noise = torch.fft.fftn(torch.randn(grid, generator=torch.Generator().manual_seed(derive(seed, "smooth phase")), dtype=torch.float64))
    square = torch.zeros((), dtype=torch.float64)
    for axis, n in enumerate(grid):
        square = square + torch.fft.fftfreq(n, dtype=torch.float64).reshape([-1 if a == axis else 1 for a in range(len(grid))]) ** 2
    square.flatten()[0] = torch.inf
    field = torch.fft.ifftn(noise * square**-0.75).real
    return field / field.square().mean().sqrt().clamp(min=1e-30)


def random_object(problem: Problem, support: Tensor, seeds: tuple[int, ...]) -> Tensor:
    """(starts, *grid): uniform magnitudes and phases inside the support, each start from its own seed, scaled to the data."""
    import torch

    d = problem.counts
    kind = d.amplitude.dtype if problem.real else d.amplitude.dtype.to_complex()
    objects = torch.empty((len(seeds), *problem.shape), dtype=kind, device=d.amplitude.device)
    power = d.amplitude.where(d.imposed, d.amplitude.new_zeros(())).square().sum()
    for row, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        m = torch.rand(problem.shape, generator=generator, dtype=torch.float32)
        if not problem.real:
            m = torch.polar(m, 2 * torch.pi * torch.rand(problem.shape, generator=generator, dtype=torch.float32))
        x = m[None].to(d.amplitude.device, kind)
        x = x.where(support[row : row + 1], x.new_zeros(()))
        if problem.between_waves:  # W changes the power
            factor = problem.brightness(problem.predict(x)).sqrt().to(x.real.dtype)
        else:
            norm = (x.real.square() + (x.imag.square() if x.is_complex() else 0)).flatten(1).sum(1)
            factor = (power / norm.clamp(min=1e-30)).sqrt()
        objects[row] = x[0] * factor
    return objects


def begin(problem: Problem, seeds: Sequence[int | Member], support: Tensor | None = None, x: Tensor | None = None) -> State:
    """The state before the first step.

    seeds: one per start, or the Members themselves.
    support: (*grid) or (starts, *grid) bool, FFT order; by default what the pattern tells of the object's outline, or everywhere.
    x: (starts, *grid); by default random.
    """
    import torch

    if not isinstance(problem, Problem):
        raise InputError(f"begin is for a pattern (Problem), and this is a {type(problem).__name__}; for a picture take State.of(zeros)")
    starts = tuple(s if isinstance(s, Member) else Member(s, number) for number, s in enumerate(seeds))
    grid = (len(starts), *problem.shape)
    if support is not None:
        support = bounds = (torch.as_tensor(support) != 0).to(problem.device).expand(grid)
    elif problem.constraint.everywhere or problem.outline is None:
        lit = problem.physics.waves.illuminated(problem.pattern)
        everywhere = torch.ones(problem.shape, dtype=torch.bool) if lit is None else torch.from_numpy(lit)
        support = bounds = everywhere.to(problem.device).expand(grid)
    else:
        outline = problem.outline
        support, bounds = (torch.from_numpy(a).to(problem.device).expand(grid) for a in (outline.support, outline.bounds))
    if x is None:
        x = random_object(problem, support, tuple(m.seed for m in starts))
    return State(x=x, image=x, support=support, bounds=bounds, members=starts, nuisance=problem.first_values(len(starts)))
