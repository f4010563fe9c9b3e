"""What the counts alone tell of the detector, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin.model.detection import Background, Detection, Sensitivity
from untwin.runs.stages.base import Arrays, Cohort, Context, Rank, Size, Unforeseen

if TYPE_CHECKING:
    from untwin.data.outliers import Outliers
    from untwin.model.problem import Problem


@dataclass(frozen=True, repr=False)
class Inspect(Unforeseen):
    """Isolated hot pixels and saturation that nobody masked are masked, and a flat background becomes part of the physics, where the counts
    show them; of a crop the outermost pixels are masked. What is known of the physics is sharpened. keep_strays: nothing is masked."""

    keep_strays: bool = False

    rank: ClassVar[Rank] = Rank.DETECTOR
    title: ClassVar[str] = "detector"

    def arrays(self, size: Size) -> Arrays:
        return Arrays(12)  # in double precision: the intensity, its surroundings, and the sharpened one

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        from untwin.data.outliers import outliers
        from untwin.model.background import flat_background
        from untwin.model.seam import outermost, seam

        problem = context.problem
        if problem.physics.parts and not problem.unknowns and not problem.counts.sharpened:
            problem = problem.sharpened()
            cohort = replace(cohort, problem=problem)
        edges = seam(problem.pattern)
        if edges.parts and ideal(problem) and not self.keep_strays:
            problem = without_pixels(problem, outermost(problem.pattern)).divided()
            cohort = replace(cohort, problem=problem, notes=(*cohort.notes, edges.sentence))
        if not testable(problem):
            return cohort
        strange = outliers(problem.pattern)
        if strange.any and not self.keep_strays:
            pixels, clauses = strange.hot | strange.saturated, _clauses(strange, problem)
            least = float(problem.pattern.intensity[strange.saturated].min()) if strange.saturated.any() else 0.0
            problem = without_pixels(problem, pixels).divided()
            problem = filled_in(problem, least) if least else problem
            numbers = cohort.numbers | {"outliers": float(pixels.sum())}
            cohort = replace(cohort, problem=problem, numbers=numbers, notes=(*cohort.notes, *clauses))
        floor = flat_background(problem.pattern)
        if floor is None or not floor.level:
            return cohort
        problem = problem.with_detection(Background(floor.level)).sharpened()
        note = f"background {floor} (in the model)"
        numbers = cohort.numbers | {"background": floor.level, "background_error": floor.error}
        return replace(cohort, problem=problem, numbers=numbers, notes=(*cohort.notes, note))


def _clauses(strange: Outliers, problem: Problem) -> list[str]:
    """What was masked, for the verdict."""
    hot, saturated, p = int(strange.hot.sum()), int(strange.saturated.sum()), problem.pattern
    share = 100 * float(p.intensity[strange.saturated].sum() / p.photons)
    clauses = [f"{hot} isolated hot {'pixel' if hot == 1 else 'pixels'} (masked)"] if hot else []
    return clauses + ([f"{saturated} saturated pixels with {share:.2g} % of the photons (masked)"] if saturated else [])


def without_pixels(problem: Problem, pixels: np.ndarray) -> Problem:
    """The problem without some of its pixels, its counts not sharpened. pixels: (*grid) bool."""
    if not pixels.any():
        return problem
    p = problem.pattern
    pattern = replace(p, measured=p.measured & ~pixels, intensity=np.where(pixels, 0, p.intensity))
    return replace(problem, pattern=pattern, counts=None)


def filled_in(problem: Problem, least: float) -> Problem:
    """The problem whose projections impose what the autocorrelation tells of the unmeasured pixels, at least `least` counts each; its
    losses do not. Itself where it tells nothing."""
    from untwin.model.outline import filled

    p = problem.pattern.corrected()
    full = filled(p, least)
    if full is None:
        return problem
    return imposing(problem, ~p.measured, full)


def imposing(problem: Problem, pixels: np.ndarray, intensity: np.ndarray) -> Problem:
    """The problem whose projections impose other intensities in some pixels, until a Release; its losses do not."""
    import torch

    c = problem.counts
    if c.mirrored:
        return problem
    inside, amplitude = torch.from_numpy(pixels).to(c.amplitude.device), torch.from_numpy(np.sqrt(intensity.clip(min=0))).to(c.amplitude)
    return replace(problem, counts=replace(c, amplitude=amplitude.where(inside, c.amplitude), imposed=c.imposed | inside))


@dataclass(frozen=True, repr=False)
class Release(Unforeseen):
    """From here on the projections impose what was measured, and nothing that was filled in."""

    rank: ClassVar[Rank] = Rank.RESULTS
    title: ClassVar[str] = "released pixels"

    def arrays(self, size: Size) -> Arrays:
        return Arrays(4)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        c = problem.counts
        if c.mirrored or bool((c.imposed == c.measured).all()):
            return cohort
        return replace(cohort, problem=replace(problem, counts=replace(c, imposed=c.imposed & c.measured)))


def ideal(problem: Problem, *known: type[Detection]) -> bool:
    """Whether its pixels are all those of the pattern, with no unknown of the user's, and nothing in the detection that is
    not `known`; flat and dark are."""
    own = bool((problem.counts.measured.cpu().numpy() == problem.pattern.measured).all())
    return own and not problem.unknowns and all(type(p) in (*known, Sensitivity) for p in problem.physics.parts)


def testable(problem: Problem, *known: type[Detection]) -> bool:
    """Whether a likelihood of the detector's settings means something: `ideal`, and photons that were counted."""
    return ideal(problem, *known) and problem.pattern.counted
