"""Light of something else on the detector: pixels that the best object in a narrow support cannot explain are not trusted any more.

A streak is absorbed by a larger support: the residual of the result itself hardly shows it. In a support that is cut closely around the
object it stands out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin.checks import require_int, require_number
from untwin.errors import NumericalFailure
from untwin.judge import metrics
from untwin.model.detection import Background, Coherent
from untwin.runs.population import Population, objects
from untwin.runs.stages.base import Arrays, Cohort, Context, Rank, Size, Unforeseen
from untwin.runs.stages.inspect import imposing, testable, without_pixels
from untwin.solve.likelihood import most_likely
from untwin.solve.shrinkwrap import ShrinkWrap

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem

NARROW = ShrinkWrap(threshold=0.25, sigma=0.7, level="weighted")  # the support of the fit
GROWN = 3.0  # standard deviations: a stray reaches as far as this, and a pixel more
INEXACT = 0.05  # of the light in a pixel, how well a fit in a rough support knows it (unmeasured)
MEDIAN = 0.455  # of chi-square with one degree of freedom
MOST_DISPERSED = 3.0  # times the variance of counting, of a typical lit pixel: it is the model that is wrong, and no pixel (unmeasured)
STRONGEST = 0.5  # of the largest residual: what is masked at once
SUSPECTS = 0.12  # of the pixels: more light without a mirror image is the object's
EXCESS = 2.0  # times the predicted light: a held-out region of a right object is predicted to some tenths
SURE = 5.0  # standard deviations
MOST_LIGHT = 0.1  # of all photons: where strays would hold more, it is the model that is wrong (a flat field of 20 % put 70 % there)
LOOKS = 8  # how often what is left is looked at


@dataclass(frozen=True, repr=False)
class Strays(Unforeseen):
    """Pixels with too much light are masked, and all stages before this one are run once more without them.

    limit: standard deviations of the residual, summed over 3 pixels along each axis, of what is never noise. share: of the pixels, at most;
    where there are more, it is the model that is wrong and nothing is masked. gain: what the score must fall by, beyond one for each
    masked pixel. iterations: of a fit. rounds: of looking and finishing.
    """

    limit: float = 4.5
    share: float = 0.04
    gain: float = 10.0
    iterations: int = 40
    rounds: int = 2

    rank: ClassVar[Rank] = Rank.MODEL
    title: ClassVar[str] = "stray light"

    def __post_init__(self) -> None:
        require_number(self, "limit", GROWN)
        require_number(self, "share", 0, 1)
        require_number(self, "gain", 0)
        require_int(self, "iterations", 1, 100_000)
        require_int(self, "rounds", 1, 100)

    def arrays(self, size: Size) -> Arrays:
        """The fit is in double precision and keeps twenty pairs of vectors, as long as the support is large."""
        return Arrays(size.start_arrays + 40)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        cohort = replace(cohort, results=cohort.best(problem), families=())
        if not testable(problem, Background, Coherent):
            return cohort
        cohort = self._without_one_sided(cohort, context)
        problem, results = cohort.problem or problem, cohort.best(cohort.problem or problem)
        before = self._score(problem, results)
        for turn in range(self.rounds):
            strays = self._searched(cohort.problem or problem, results, context.problem.pattern.measured)
            if strays is None:
                break
            if light(context.problem.pattern, strays) > MOST_LIGHT:
                break
            rest = without_pixels(cohort.problem or problem, strays)
            rest = rest.sharpened() if problem.counts.sharpened else rest
            finished = run_again(context, rest, f"{turn} without strays")
            if finished is None:
                break
            results = finished.best(rest)
            after = self._score(rest, results)
            if before - after <= self.gain + int(strays.sum()):
                break
            cohort, before = cohort.replaced(finished), after
        return self._reported(cohort, context.problem.pattern)

    def _without_one_sided(self, cohort: Cohort, context: Context) -> Cohort:
        """The cohort of a run without the light that has no mirror image, where that run does not predict it; or the same cohort."""
        from untwin.data.outliers import one_sided

        problem = context.problem
        suspects, mirror = one_sided(problem.pattern)
        if not 0 < suspects.sum() <= SUSPECTS * suspects.size or light(problem.pattern, suspects) > MOST_LIGHT:
            return cohort
        rest = without_pixels(problem, suspects)
        rest = imposing(rest.sharpened() if problem.counts.sharpened else rest, suspects, mirror)
        finished = run_again(context, rest, "without one-sided light")
        if finished is None:
            return cohort
        x = objects(problem, finished.best(rest).rows([0]))
        predicted = float(problem.predict(x)[0].cpu().double().numpy()[suspects].sum())
        measured = float(problem.pattern.intensity[suspects].sum(dtype=np.float64))
        if measured < EXCESS * predicted or measured - predicted < SURE * measured**0.5:
            return cohort
        return cohort.replaced(finished)

    def _reported(self, cohort: Cohort, pattern: Pattern) -> Cohort:
        strays = pattern.measured & ~cohort.problem.pattern.measured if cohort.problem else np.zeros(0, dtype=bool)
        if not (n := int(strays.sum())):
            return cohort
        note = f"{n} pixels with {100 * light(pattern, strays):.2g} % of the photons that no object explains (masked)"
        return replace(cohort, numbers=cohort.numbers | {"strays": float(n)}, notes=(*cohort.notes, note))

    def _searched(self, problem: Problem, results: Population, measured: np.ndarray) -> np.ndarray | None:
        """(*grid) bool, further pixels that are not to be trusted; None where there are none, or too many. measured: those at first."""
        x, trusted = results.singles[0].image[0], problem.pattern.measured
        narrow = narrowed(problem, x, results.singles[0].support[0])
        strays = np.zeros_like(trusted)
        for _ in range(LOOKS):
            x, _, _ = most_likely(without_pixels(problem, strays), x, narrow, iterations=self.iterations)
            more = self._strange(problem, x, trusted & ~strays) & trusted & ~strays
            if not more.any():
                break
            strays |= more
        masked = int((measured & ~(trusted & ~strays)).sum())
        return strays if strays.any() and masked <= self.share * measured.sum() else None

    def _score(self, problem: Problem, results: Population) -> float:
        """Penalised half deviance of the most likely object in the support of the best result."""
        support = results.singles[0].support[0]
        x, _, loss = most_likely(problem, results.singles[0].image[0], support, iterations=self.iterations)
        return loss + float(metrics.unknowns(x[None], support[None])[0])

    def _strange(self, problem: Problem, x: Tensor, trusted: np.ndarray) -> np.ndarray:
        """(*grid) bool: where the residual is more than noise, in a pixel or over 3 along each axis, and what hangs together with it. Only
        the strongest: one strange pixel draws the object away from its neighbours, too."""
        from scipy import ndimage

        f = problem.predict(x[None])[0].cpu().double().numpy()
        lit = trusted & (f > 1)
        typical = float(np.median((problem.pattern.intensity - f)[lit] ** 2 / (f[lit] + 1))) / MEDIAN if lit.any() else 1.0
        if typical > MOST_DISPERSED:
            return np.zeros_like(trusted)
        dispersion = max(1.0, typical)
        deviation = np.sqrt(dispersion * (f + 1) + (INEXACT * f) ** 2)
        z = np.where(trusted, (problem.pattern.intensity - f) / deviation, 0.0)
        known = ndimage.uniform_filter(trusted.astype(float), 3, mode="wrap").clip(min=3.0**-z.ndim)
        mean = 3 ** (z.ndim / 2) * ndimage.uniform_filter(z, 3, mode="wrap") / np.sqrt(known)
        single = np.abs(z) > max(self.limit + 1, STRONGEST * np.abs(z).max())
        pieces, _ = ndimage.label(np.fft.fftshift(np.abs(mean) > max(GROWN, STRONGEST * GROWN / self.limit * np.abs(mean).max())))  # type: ignore[misc]
        seeds = np.fft.fftshift(np.abs(mean) > max(self.limit, STRONGEST * np.abs(mean).max()))
        wide = np.fft.ifftshift(np.isin(pieces, np.setdiff1d(np.unique(pieces[seeds]), 0)))
        if single.any() and np.abs(z).max() > np.abs(mean).max():
            return single
        return np.asarray(ndimage.binary_dilation(wide)) if wide.any() else single


def light(pattern: Pattern, pixels: np.ndarray) -> float:
    """Their share of all photons."""
    return float(pattern.intensity[pixels].sum(dtype=np.float64) / pattern.photons)


def narrowed(problem: Problem, image: Tensor, support: Tensor) -> Tensor:
    """A support that is cut closely around the object, within what it was."""
    from untwin.solve.state import State

    return NARROW.step(problem, State.of(image[None], support)).support[0]


def run_again(context: Context, problem: Problem, purpose: str) -> Cohort | None:
    """Context.again; None where no start came to anything."""
    try:
        return context.again(problem, purpose)
    except NumericalFailure:
        return None
