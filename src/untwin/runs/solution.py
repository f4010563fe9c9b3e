"""What is left when a run has stopped: a Reconstruction of a pattern, or a Restored picture."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from untwin.model.physics import Physics
from untwin.notebook import InNotebooks
from untwin.runs.conditions import Conditions

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.judge.resolution import Curve
    from untwin.judge.trust import Verdict


_NUMBERS = """
r_factor chi_square_amplitude chi_square_intensity log_likelihood log_likelihood_expected log_likelihood_plain log_likelihood_refined
working_log_likelihood free_log_likelihood score agreement refined refined_agreement refined_explained support_pixels support_fraction
photons measured_fraction hidden_speckles power_unmeasured resolution_pixels resolution_metres first_mode_weight starts starts_failed
misfit worst_shell_misfit worst_shell outliers strays coherence_ratio coherence_explained coherence_sigma coherence_major coherence_minor
background background_error starts_agreeing twins_turned runs_kept runs_failed replicas likely_error families families_agreeing
families_overruled noise_error rounding_error symmetric_error twin_error seconds cpu_seconds
"""
NUMBERS = frozenset(_NUMBERS.split())  # of a Reconstruction, beside what is unknown in its physics


@dataclass(frozen=True)
class Start:
    """One independent start, as the report lists it.

    number: of the start (0, 1, ...). seed: of its random numbers. role: start; of those that failed also child, candidate, refinement.
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
    number: int = 0
    role: str = "start"


@dataclass(frozen=True)
class History:
    """R-factor against iteration: one line of the convergence figure."""

    label: str
    steps: tuple[int, ...]
    r_factor: tuple[float, ...]


@dataclass(frozen=True)
class StageEnd:
    """What a stage of the plan has left: its name, and the R-factors of the best of every family."""

    stage: str
    r_factor: tuple[float, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Solution(InNotebooks, ABC):
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction(Solution):
    """The object behind a far-field pattern, what it rests on, and whether to believe it.

    image: (*grid) complex64, centred at N//2, in the detector's orientation, scaled so that |FFT(image, ortho)|² is in photons.
    support: (*grid) bool, centred likewise. positivity: the object is real and at least zero. conditions: what the run was made under.
    physics: with the values that were found for its unknowns; None where a file names one that is not known here.
    method: the plan by its name, or "recipe" where one was given; effort: factor on its work, as `reconstruct` took it. "auto" and 1 where
        a file of an earlier version says neither.
    numbers: r_factor, chi_square_amplitude, chi_square_intensity, log_likelihood, free_log_likelihood,
        agreement, support_pixels, support_fraction, resolution_pixels, resolution_metres, photons, seconds, cpu_seconds ...
    starts: the independent starts. history: R-factor curves of theirs. course: how each stage of the plan ended, from the search on.
    prtf, fsc: with their crossings.
    modes: (k, *grid) complex64, centred: the orthogonal modes of the aligned runs that were kept; mode_weights: their shares.
    replicas: (k, *grid) complex64, centred, aligned with the image (shift, twin, phase), 0 outside the support of each: results that share
        the counts and nothing else, of a scan about a Bragg peak; after `replicate` results of counts that were drawn anew. Their spread
        about the image is its standard error. None where nobody has kept any.
    reason: why the result is partial (more than half of the starts failed), or nothing.
    """

    support: Tensor
    pattern: Pattern
    positivity: bool
    physics: Physics | None = field(default_factory=Physics)
    conditions: Conditions = field(default_factory=Conditions)
    method: str = "auto"
    effort: float = 1.0
    verdict: Verdict
    starts: tuple[Start, ...] = ()
    history: tuple[History, ...] = ()
    course: tuple[StageEnd, ...] = ()
    prtf: Curve | None = None
    fsc: Curve | None = None
    modes: Tensor | None = None
    mode_weights: tuple[float, ...] = ()
    replicas: Tensor | None = None
    reason: str = ""

    def __repr__(self) -> str:
        r = f", R = {self.numbers['r_factor']:.3g}" if "r_factor" in self.numbers else ""
        kind = "real, not negative" if self.positivity else "complex"
        return f"Reconstruction({' x '.join(map(str, self.image.shape))}, {kind}, {self.verdict.mark}{r})"

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """result.cxi, run.toml and summary.json."""
        from untwin.runs.archive import save

        return save(self, Path(folder), overwrite)

    def plot(self, *, twin: bool = False, flip: str = "") -> Figure:
        """Magnitude and phase of the object through its centre. twin: of its twin. flip: axes that are drawn in the other direction, such
        as "y". The picture says so, and the solution stays as it is. Raises InputError where it cannot be shown so."""
        from untwin.show.object import plot_object  # an upward import: a method that users expect here
        from untwin.show.orientation import Orientation

        return plot_object(self, Orientation(twin, flip))


@dataclass(frozen=True, eq=False, kw_only=True)
class Restored(Solution):
    """A restored picture.

    image: (channels, *grid) float32, 0 to 1 where the prior is bounded, or complex64. data: y, as it was given.
    recipe: the fit and its rule. numbers: steps, best_at, stopped_itself, misfit, seconds, ...
    choice: which prior was taken, and why.
    kernel: (height, width) of an unknown blur, of sum 1, its centre of mass in the middle. verdict: whether to believe it; where it says
        no, the image is the blurred one, and attempt is what was not believed, None elsewhere.
    statistic, variance: the rule's statistic (NaN where there is none) and the moving variance of the outputs (EMV) after each step.
    """

    data: Tensor
    choice: str = ""
    statistic: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()
    kernel: Tensor | None = None
    verdict: Verdict | None = None
    attempt: Tensor | None = None

    def __repr__(self) -> str:
        mark = "" if self.verdict is None else f", {self.verdict.mark}"
        numbers = "".join(f", {name} = {self.numbers[name]:.4g}" for name in ("steps", "misfit") if name in self.numbers)
        return f"Restored({' x '.join(map(str, self.image.shape))}{mark}{numbers})"

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """result.png, result.npy and summary.json; kernel.png and kernel.npy of a kernel that was sought, attempt.png of a picture
        that was not believed. Of a complex image result.png is the magnitude, and phase.png the phase in cyclic colours, −π to π."""
        from untwin.runs.archive import fresh, save_restored

        folder = save_restored(self, fresh(Path(folder), overwrite))
        if self.image.is_complex():
            from untwin.show.restored import save_phase

            save_phase(self, folder / "phase.png")
        else:
            (folder / "phase.png").unlink(missing_ok=True)  # of an earlier run
        return folder

    def plot(self) -> Figure:
        """What was given, what was made of it, and where it stopped."""
        from untwin.show.restored import figure  # the second upward import: a method that users expect here

        return figure(self)
