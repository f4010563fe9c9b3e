"""Which result is shown: the plain ones or the refined ones, and the mean of those that are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin.judge import metrics, trust
from untwin.runs.population import Population, aligned, errors, gather, objects
from untwin.runs.stages.plan import Outcome, Plan
from untwin.runs.stages.refine import Refine

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

MEAN_SCORE_WINDOW = 100.0  # of the score (log-likelihood): who enters the mean (unmeasured)
MAX_DEVIANCE_RISE = 1.25  # times the half deviance of the plain results; above it refined ones are given up (docs/deep-priors.md, The rule)
MAX_R_FACTOR_RISE = 1.2  # times the R-factor of the best candidate, from which on their mean is given up (unmeasured)


@dataclass(frozen=True)
class Refinement:
    """What a refinement came to. plain, refined: half deviance per pixel before and after it. agreement: E between the best refined result
    and the one most like it, NaN of a single one. deviance_ratio: `refined` over what is expected of the truth, where a limit was set.
    accepted: it is what is shown."""

    plain: float
    refined: float
    agreement: float
    deviance_ratio: float | None
    accepted: bool

    def numbers(self) -> dict[str, float]:
        """As a Reconstruction lists them."""
        numbers = {"log_likelihood_plain": self.plain, "log_likelihood_refined": self.refined, "refined_agreement": self.agreement}
        ratio = {} if self.deviance_ratio is None else {"refined_explained": self.deviance_ratio}
        return numbers | ratio | {"refined": float(self.accepted)}


@dataclass(frozen=True, eq=False)
class Choice:
    """image: (*grid) complex, what is shown. outcome: what it is of, its results the best one first. refinement: where there was one."""

    image: Tensor
    outcome: Outcome
    refinement: Refinement | None = None

    @property
    def best(self) -> Population:
        return self.outcome.results.rows([0])


def choose(problem: Problem, plan: Plan, outcome: Outcome) -> Choice:
    """The plain results, or the mean of the refined ones.

    Families never see one another. Where two of them are alike after a prior has redrawn each from random numbers, what they share is
    the object and not the prior's doing, and their mean is nearer to it than either. And one that explains the counts as the truth
    would (Refine.max_deviance_ratio) is the object even where no other is like it: a prior does not redraw a wrong one so well. Where
    neither is so, or where the prior smooths the counts away, the plain results stand. A single family is kept where its half deviance
    falls (docs/deep-priors.md).
    """
    plain = mean(problem, outcome, math.inf if outcome.contained or outcome.averaged else MEAN_SCORE_WINDOW)
    if outcome.refined is None:
        return Choice(plain, outcome)
    results = outcome.refined.rows(outcome.refined.deviance.argsort(stable=True).tolist())
    unrefined = [i for i, s in enumerate(outcome.results.seeds) if s not in results.seeds]  # families that were not refined
    refined_outcome = replace(
        outcome, results=gather([results, outcome.results.rows(unrefined)]) if unrefined else results, candidates=results
    )
    refined = mean(problem, refined_outcome, math.inf)
    before, _ = _half_deviance(problem, outcome.results, plain)
    after, expected = _half_deviance(problem, results, refined)
    others = errors(problem, results.rows(list(range(1, len(results)))), objects(problem, results.rows([0]))[0])
    nearest = min(others.nan_to_num(nan=1.0).tolist(), default=math.nan)
    accepted = after < before if math.isnan(nearest) else nearest < trust.SIMILAR_ERROR and after <= MAX_DEVIANCE_RISE * before
    refine, deviance_ratio = plan.stage(Refine), None
    if refine and refine.max_deviance_ratio and problem.pattern.counted:
        deviance_ratio = after / expected
        accepted = accepted or after <= refine.max_deviance_ratio * expected
    refinement = Refinement(before, after, nearest, deviance_ratio, accepted)
    return Choice(refined, refined_outcome, refinement) if accepted else Choice(plain, outcome, refinement)


def _half_deviance(problem: Problem, results: Population, image: Tensor) -> tuple[float, float]:
    """Half deviance per pixel of an image, infinite where that is no number, and what is expected of the truth."""
    t = problem.counts
    f = problem.holding(results.singles[0].nuisance).predict(image.unsqueeze(0))
    half = metrics.log_likelihood(f, t.intensity, t.measured).nan_to_num(nan=math.inf)
    return float(half), float(metrics.expected_half_deviance(f.nan_to_num(), t.measured) / t.measured.sum())


def mean(problem: Problem, outcome: Outcome, score_window: float) -> Tensor:
    """The mean of the candidates that are like the best result and whose scores are within `score_window` of the best one's.

    They share the counts and not the search, so that their mean is expected nearer to the truth than the best of them. It is cut to the
    best one's support, and given up where its R-factor is worse by more than a fifth.
    """
    import torch

    best = objects(problem, outcome.results.rows([0]))[0]
    scores = outcome.candidates.scores(problem).cpu()
    near = (scores <= scores.min() + score_window).nonzero().flatten().tolist()
    alike = [a.x for a in aligned(problem, outcome.candidates.rows(near), best) if float(a.error) < trust.SIMILAR_ERROR]
    if len(alike) < 2:
        return best
    mean = problem.project_object(torch.cat(alike).mean(0, keepdim=True), outcome.results.singles[0].support)
    t, calibrated = problem.counts, problem.holding(outcome.results.singles[0].nuisance)
    r = [float(metrics.r_factor(calibrated.predict(x), t.intensity, t.measured)) for x in (mean, best.unsqueeze(0))]
    mean = mean if mean.is_complex() else mean.to(best.dtype)
    return mean[0] if r[0] < MAX_R_FACTOR_RISE * r[1] else best
