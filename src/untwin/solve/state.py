"""Everything that moves (State), and what is left when it has stopped (Solution)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.judge.resolution import Curve
    from untwin.judge.trust import Verdict

CHECK = 10  # steps between two looks whether starts still hold numbers


@dataclass(frozen=True)
class State:
    """Where the starts stand. Tensors have the starts first and the grid last, in FFT order.

    x: (starts, *grid) complex, the iterate.
    image: (starts, *grid) complex, P_M x of the last step: what the data make of the iterate. The object that it stands for
        is P_S of it; supports are cut from it.
    support: (starts, *grid) bool. bounds: (starts, *grid) bool, where the object can be at all; every support that a step draws
        from nothing lies in it.
    error: (starts,) float64, Σ (|F x| − √I)² over the imposed pixels, of the object that the last modulus projection was given; not
        finite where a start has gone wrong.
    seeds: one per start; every random choice of a start is a function of its seed.
    progress: how far the step now taken is through its own repetitions in the recipe, 0 at its first and 1 at its last.
    step: steps taken. at: position in the flattened recipe, from where a run goes on.
    memory: what the current algorithm carries from step to step. watch: the same for the current stopping rule.
    """

    x: Tensor
    image: Tensor
    support: Tensor
    bounds: Tensor
    seeds: tuple[int, ...]
    error: Tensor | None = None
    progress: float = 0.0
    step: int = 0
    at: int = 0
    memory: Any = None
    watch: Any = None


def moved(state: State, **changes: Any) -> State:
    """dataclasses.replace for a State, at a tenth of its cost: it is called several times in every iteration."""
    new = object.__new__(State)
    new.__dict__.update(state.__dict__, **changes)
    return new


def alive(state: State) -> Tensor:
    """(starts,) bool: False where a start has come to NaN or infinity, by the error that the last projection has met; without one, by x."""
    import torch

    if state.error is not None:
        return state.error.isfinite()
    x = state.x.detach()
    return (torch.view_as_real(x) if x.is_complex() else x).isfinite().flatten(1).all(1)


def join(states: list[State]) -> State:
    """One state of all the starts, in order; the moving parts of an algorithm (memory, watch) are left behind."""
    import torch

    return State(
        x=torch.cat([s.x for s in states]),
        image=torch.cat([s.image for s in states]),
        support=torch.cat([s.support for s in states]),
        bounds=torch.cat([s.bounds for s in states]),
        seeds=tuple(seed for s in states for seed in s.seeds),
    )


def take(state: State, rows: list[int]) -> State:
    """The state of some of the starts, in the order given."""
    return State(
        x=state.x[rows],
        image=state.image[rows],
        support=state.support[rows],
        bounds=state.bounds[rows],
        seeds=tuple(state.seeds[r] for r in rows),
    )


@dataclass(frozen=True)
class Start:
    """One independent start, as the report lists it.

    error: of its result against the solution, after alignment (0 the same, 1 unrelated). twin: it came out as the twin.
    r_factor, score (penalised half deviance, lower is better), support (pixels): its own.
    reason: why it failed, or nothing.
    """

    seed: int
    r_factor: float
    score: float
    support: int
    error: float = math.nan
    twin: bool = False
    reason: str = ""


@dataclass(frozen=True)
class History:
    """R-factor against iteration: one line of the convergence figure."""

    label: str
    steps: tuple[int, ...]
    r_factor: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Solution(ABC):
    """What a run leaves, whatever was measured: a Reconstruction of a far-field pattern, or a Restored picture.

    image: what was sought. recipe: the text of what was done; with the same data and seed it repeats the run.
    numbers: every figure by name. warnings: every guess and doubt, as sentences.
    made: what computed it (provenance.made_with).
    """

    image: Tensor
    recipe: str
    seed: int
    numbers: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    made: dict[str, str | int] = field(default_factory=dict)

    @abstractmethod
    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write it into a folder that does not exist yet (or, with overwrite, replace its files there). Raises InputError where the
        folder exists."""

    @abstractmethod
    def plot(self) -> Figure:
        """A matplotlib Figure of it."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Solution):
    """The object behind a far-field pattern, what it rests on, and whether to believe it.

    image: (*grid) complex64, centred at N//2, in the detector's orientation, scaled so that |FFT(image, ortho)|² is in photons.
    support: (*grid) bool, centred likewise.
    numbers: r_factor, chi_square_amplitude, chi_square_intensity, log_likelihood, free_log_likelihood,
        agreement, support_pixels, support_fraction, resolution_pixels, resolution_metres, photons, seconds, cpu_seconds ...
    starts: the independent starts. history: R-factor curves. prtf, fsc: with their crossings.
    modes: (k, *grid) complex64, centred: the orthogonal modes of the aligned runs that were kept; mode_weights: their shares.
    reason: why the result is partial (more than half of the starts failed), or nothing.
    """

    support: Tensor
    pattern: Pattern
    positivity: bool
    verdict: Verdict
    starts: tuple[Start, ...] = ()
    history: tuple[History, ...] = ()
    prtf: Curve | None = None
    fsc: Curve | None = None
    modes: Tensor | None = None
    mode_weights: tuple[float, ...] = ()
    reason: str = ""

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """result.cxi, run.toml and summary.json."""
        from untwin.solve.archive import save

        return save(self, Path(folder), overwrite)

    def plot(self) -> Figure:
        """Magnitude and phase of the object through its centre."""
        from untwin.show.object import plot_object  # the one upward import: a method that users expect here

        return plot_object(self)
