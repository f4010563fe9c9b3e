"""Is the beam coherent? A likelihood-ratio test of the results; and where it is not, the width of the coherence and the whole plan with it.

A blur of the intensity is absorbed by a larger support: neither the R-factor nor chi-square shows it. But the width of the blur, fitted
together with the object in its support, shows it at a tenth of a pixel.

Point-symmetric objects (an aperture, say) are the exception. The transform of such a one is real, and has zeros that a blur fills. An
object that is not quite symmetric fills them as well, without a blur. So a symmetric object is fitted, too, where the result is nearly one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin.checks import numbers, require_int, require_number, within
from untwin.errors import InputError, NumericalFailure
from untwin.judge import metrics, trust
from untwin.model.detection import Background, Coherent, CoherentFactor, matrix, of_factor
from untwin.model.sharpen import ITERATIONS
from untwin.model.symmetric import inversion
from untwin.model.unknown import Unknown
from untwin.runs.population import Population
from untwin.runs.stages.base import Arrays, Cohort, Context, Rank, Size, Stage, Unforeseen
from untwin.runs.stages.finish import Finish
from untwin.runs.stages.inspect import testable
from untwin.runs.stages.search import Search
from untwin.solve.likelihood import most_likely

if TYPE_CHECKING:
    from untwin.model.problem import Problem

FIRST = 0.1  # pixels: σ from which the fit begins; from 0 it does not move
LARGEST = 3.0  # pixels: a wider blur leaves no fringes
MOVED = 0.03  # pixels: what σ may still move when the plan has been run with it
NARROWEST = 0.05  # pixels: below it coherence is full
SYMMETRIC = 0.7  # E of a result and its own twin, below which a symmetric object may stand behind it (benchmarks/apertures.py)
SYMMETRIC_FIRST = 0.3  # pixels: σ from which the fit of a symmetric object begins (0.1, 0.3 and 0.5 end at the same in four cases)


@dataclass(frozen=True, eq=False)
class Modelled:
    """A covariance (the diagonal, then the elements above it), the best object for it, and the penalised half deviance of both."""

    covariance: tuple[float, ...]
    score: float


@dataclass(frozen=True, repr=False)
class Coherence(Unforeseen):
    """Tests whether partial coherence explains the best result better, and runs all stages before this one again where it does.

    limit: on half the likelihood ratio of σ > 0 against σ = 0, both fitted with the object, over the dispersion; and of any covariance
    against a round one. scan: widths from which the search for the covariance begins, pixels; from the result alone σ comes out low.
    least_explained: where the blur, too, misses the counts by more than three times what noise does: the share of the misfit beyond noise
    that it must explain; with less, it is something else that is wrong.
    starts: of the short search for each width. rounds: of the whole plan, at most; there are more than one only where the covariance still
    moves. iterations: of a fit. sharpening: of the deconvolution of the counts (model.sharpen).
    """

    limit: float = 10.0
    least_explained: float = 0.3
    scan: tuple[float, ...] = (0.25, 0.5)
    starts: int = 6
    rounds: int = 3
    iterations: int = 200
    sharpening: int = ITERATIONS

    rank: ClassVar[Rank] = Rank.MODEL
    title: ClassVar[str] = "coherence"

    def __post_init__(self) -> None:
        require_number(self, "limit", 0, above=True)
        require_number(self, "least_explained", 0, 1)
        if not isinstance(self.scan, tuple) or not all(within(s, 0, LARGEST, above=True) for s in self.scan):
            raise InputError(f"Coherence(scan={self.scan!r}): expected widths in a tuple, each {numbers(0, LARGEST, above=True)} pixels")
        require_int(self, "starts", 1, 1000)
        require_int(self, "rounds", 1, 100)
        require_int(self, "iterations", 1, 100_000)
        require_int(self, "sharpening", 1, 100_000)

    def arrays(self, size: Size) -> Arrays:
        """The fit is in double precision and keeps twenty pairs of vectors, as long as the support is large."""
        return Arrays(size.start_arrays + 30)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        cohort = replace(cohort, results=cohort.best(problem), families=())
        if not testable(problem, Background):
            return cohort
        plain, ratio, explained = self._tested(problem, cohort.best(problem))
        cohort = replace(cohort, numbers=cohort.numbers | {"coherence_ratio": ratio, "coherence_explained": explained})
        if not self.rings(cohort.numbers):
            return self._beside_symmetric(cohort, problem, plain)
        try:
            return self._modelled(cohort, context, plain)
        except NumericalFailure:  # no start came to anything with a blur: the cohort stands as it is
            return cohort

    def _modelled(self, cohort: Cohort, context: Context, plain: float) -> Cohort:
        """What the plan comes to with the covariance that it finds, or the cohort where that explains no more. plain: its score."""
        problem, again = context.problem, cohort
        if cohort.contained:  # the support did not run away, so that it tells the width by itself
            modelled = self._fitted(problem, cohort.best(problem), _round(FIRST, problem.ndim))
        else:
            modelled = min((self._scanned(context, sigma) for sigma in self.scan), key=lambda m: m.score)
        for turn in range(self.rounds):
            covariance = modelled.covariance
            again = context.again(problem.with_detection(Coherent(covariance)).sharpened(self.sharpening), f"round {turn} of coherence")
            modelled = self._fitted(problem, again.best(again.problem or problem), covariance)
            if np.abs(_widths(modelled.covariance) - _widths(covariance)).max() < MOVED:
                break
        gain = (plain - modelled.score) / _dispersion(problem, modelled.score)
        if gain < self.limit or _widths(covariance).max() < NARROWEST:
            return cohort
        cohort = self._beside_symmetric(cohort.replaced(again), problem, modelled.score)
        return replace(cohort, numbers=cohort.numbers | _numbers(covariance), notes=(*cohort.notes, _sentence(problem, covariance)))

    def _beside_symmetric(self, cohort: Cohort, problem: Problem, score: float) -> Cohort:
        """How far the best result is from a point-symmetric object that explains the counts better with a blur; nothing, if none does."""
        result = cohort.best(problem).singles[0]
        image, support = result.image[0], result.support[0]
        twin, asymmetry = inversion(image)
        if not 0 < asymmetry < SYMMETRIC:
            return cohort
        support = support & twin.inverted(support)
        blurred = problem.with_detection(Coherent(Unknown(SYMMETRIC_FIRST**2, 0.0, LARGEST**2)))
        x, values, loss = most_likely(blurred, image, support, blurred.first_values(1), self.iterations, twin.even)
        error = float(problem.symmetry.align(x[None], image).error[0])
        halved = float(metrics.unknowns(x[None], support[None])[0]) / 2  # each number stands at two places
        if float(values["covariance"]) < FIRST**2 or loss + halved > score or error < trust.SAME_ERROR:
            return cohort
        return replace(cohort, numbers=cohort.numbers | {"symmetric_error": error})

    def rings(self, numbers: dict[str, float]) -> bool:
        """Whether the test says that a blur is what is wrong."""
        return numbers.get("coherence_ratio", 0.0) >= self.limit and numbers["coherence_explained"] >= self.least_explained

    def _tested(self, problem: Problem, results: Population) -> tuple[float, float, float]:
        """The score of the best result as it is, half the likelihood ratio over the dispersion, and its share of what noise leaves open."""
        image, support = results.singles[0].image[0], results.singles[0].support[0]
        x, _, coherent = most_likely(problem, image, support, iterations=self.iterations)
        open_ = problem.with_detection(Coherent(Unknown(FIRST**2, 0.0, LARGEST**2)))
        first = open_.first_values(1)
        blurred, values, partial = most_likely(open_, x, support, {"covariance": first["covariance"]}, iterations=self.iterations)
        f = open_.holding(values).predict(blurred[None])
        noise, gain = float(metrics.expected_half_deviance(f, problem.measured)), max(0.0, coherent - partial)
        if gain >= self.limit * _dispersion(problem, partial):  # the blurred fit went on from the other: as many steps without a blur
            x, _, coherent = most_likely(problem, x, support, iterations=self.iterations)
            gain = max(0.0, coherent - partial)
        explained = 1.0 if partial < trust.MAX_MISFIT * noise else gain / (coherent - noise)
        score = coherent + float(metrics.unknowns(x[None], support[None])[0])
        return score, gain / _dispersion(problem, partial), explained

    def _scanned(self, context: Context, sigma: float) -> Modelled:
        """A short search with the counts sharpened by one width, and the covariance that fits its best result."""
        problem = context.problem
        stages: list[Stage] = []
        for stage in context.before:
            if isinstance(stage, Search):
                stages.append(replace(stage, starts=min(self.starts, stage.starts), families=1))
            elif isinstance(stage, Finish):
                stages.append(replace(stage, rounds=1))
        covariance = _round(sigma, problem.ndim)
        modelled = problem.with_detection(Coherent(covariance)).sharpened(self.sharpening)
        cohort = context.again(modelled, f"coherence of {sigma:g}", tuple(stages))
        return self._fitted(problem, cohort.best(modelled), covariance)

    def _fitted(self, problem: Problem, results: Population, covariance: tuple[float, ...]) -> Modelled:
        """The covariance that fits the best result, from this one: a round one, unless another is clearly more likely."""
        image, support, d = results.singles[0].image[0], results.singles[0].support[0], problem.ndim
        width = max(FIRST, float(_widths(covariance).mean()))
        round_ = problem.with_detection(Coherent(Unknown(width**2, 0.0, LARGEST**2)))
        x, values, loss = most_likely(round_, image, support, round_.first_values(1), self.iterations)
        variance = float(values["covariance"])
        best = Modelled(_round(variance**0.5, d), loss)
        factor = np.linalg.cholesky(np.array(matrix(covariance, d)) + FIRST**2 / 4 * np.eye(d))
        first = tuple(float(factor[i, j]) for i in range(d) for j in range(i + 1))
        any_ = problem.with_detection(CoherentFactor(tuple(Unknown(v, -LARGEST, LARGEST) for v in first)))
        y, values, loss = most_likely(any_, image, support, any_.first_values(1), self.iterations)
        if best.score - loss > self.limit * _dispersion(problem, loss):
            x, best = y, Modelled(of_factor(tuple(float(values[f"factor_{i}"]) for i in range(len(first)))), loss)
        return replace(best, score=best.score + float(metrics.unknowns(x[None], support[None])[0]))


def _round(sigma: float, ndim: int) -> tuple[float, ...]:
    """The covariance of a round Gaussian."""
    return (sigma**2,) * ndim + (0.0,) * (ndim * (ndim - 1) // 2)


def _dispersion(problem: Problem, loss: float) -> float:
    """Twice the half deviance per measured pixel, 1 at least: a model that is wrong otherwise makes every ratio large."""
    return max(1.0, 2 * loss / int(problem.counts.measured.sum()))


def _widths(covariance: tuple[float, ...]) -> np.ndarray:
    """σ along the principal axes, pixels, the largest first. covariance: d (d + 1) / 2 numbers."""
    d = round((np.sqrt(8 * len(covariance) + 1) - 1) / 2)
    return np.sqrt(np.linalg.eigvalsh(np.array(matrix(covariance, d))).clip(min=0))[::-1]


def _numbers(covariance: tuple[float, ...]) -> dict[str, float]:
    widths = _widths(covariance)
    return {
        "coherence_sigma": float(np.sqrt((widths**2).mean())),
        "coherence_major": float(widths[0]),
        "coherence_minor": float(widths[-1]),
    }


def _sentence(problem: Problem, covariance: tuple[float, ...]) -> str:
    """The coherence length is where the degree of coherence has fallen to exp(−½): N / (2π σ) pixels of the object."""
    widths, pixel = _widths(covariance), problem.pattern.voxel_size
    length = float(np.mean(problem.shape)) / (2 * np.pi * float(widths[0]))
    text = f"{length * float(np.mean(pixel)) * 1e9:.3g} nm" if pixel else f"{length:.3g} pixels of the object"
    sigma = " x ".join(f"{w:.2f}" for w in (widths if widths[0] - widths[-1] > MOVED else widths[:1]))
    return f"fringes washed out, coherence length {text} (a blur of the pattern by {sigma} pixels, in the model)"
