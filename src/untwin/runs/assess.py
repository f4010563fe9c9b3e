"""What there is to say of an outcome: how its runs compare, every number, the verdict, and the object as it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin import fourier
from untwin.judge import metrics, trust
from untwin.judge.resolution import Curve, fsc, prtf
from untwin.judge.twin import twin_numbers
from untwin.model.alignment import Alignment, carried
from untwin.model.unmeasured import unconstrained_modes
from untwin.random import derive
from untwin.runs.choose import Choice, choose
from untwin.runs.failure import Failure, counted, reasons
from untwin.runs.halves import noise_error
from untwin.runs.launch import run_here
from untwin.runs.names import parse
from untwin.runs.phase import FreedPhase, freed
from untwin.runs.population import Population, aligned, gather, objects
from untwin.runs.solution import History, Reconstruction, StageEnd, Start
from untwin.runs.stages.coherence import Coherence
from untwin.runs.stages.plan import Outcome, Plan
from untwin.solve.calibrate import uncertainty
from untwin.solve.likelihood import most_likely
from untwin.solve.penalized import Penalized
from untwin.solve.predict import Guess, Predict
from untwin.solve.spectral import Spectral

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem
    from untwin.solve.state import Member, State

FREE_SHARE = 0.03  # of the measured pixels, held out for the free log-likelihood (unmeasured),
CONTAINED = "the starts did not agree: their supports were held at a share of the object's magnitude; its faint parts may be missing"
CONTRADICTED = "the counts contradict the model (coherence, background, sensitivity, a crop?) and "
FREE_RECIPE = "100*RAAR + 50*ER"  # which grows them again (unmeasured)
STATISTICS = (
    *("chi_square_amplitude", "chi_square_intensity", "log_likelihood", "log_likelihood_expected"),
    *("working_log_likelihood", "free_log_likelihood", "misfit", "worst_shell_misfit", "worst_shell"),
)
LIKELY = 10  # steps from an average to a likely object: 30 and 60 take a hundredth more off the half deviance (one crystal, 64^3)
FEW_PHOTONS = 50.0  # for each pixel of the support: with more, noise leaves less than E = 0.1 (benchmarks/few_photons.py)
STRIPE = 2**20  # pixels that are looked at together
MODES = 5  # orthogonal modes that are kept, at most (unmeasured)


def assess(plan: Plan, outcome: Outcome, seed: int, provenance: dict[str, str | int]) -> Reconstruction:
    """The Reconstruction that an outcome comes to. provenance: what computed it."""
    problem = outcome.problem
    choice = choose(problem, plan, outcome)
    problem = problem.holding(choice.best.state.nuisance)
    comparison = compare_runs(problem, plan, choice)
    transfer, shell = _curves(problem, comparison)
    modes, weights = _modes(comparison.runs)
    numbers = _object_numbers(problem, choice) | (choice.refinement.numbers() if choice.refinement else {})
    numbers |= (
        _unknowns(problem, choice)
        | _run_counts(comparison, outcome)
        | {"first_mode_weight": weights[0]}
        | _resolutions(problem.pattern, transfer)
        | outcome.numbers
        | twin_numbers(problem, choice.image, choice.best.state.support[0])
    )
    reason, warnings = _failures(outcome)
    phase = freed(problem, choice.image, choice.best.state.support[0])
    numbers |= phase.numbers() if phase else {}
    if problem.pattern.optics or _photons_are_few(problem, choice, numbers):
        numbers["noise_error"] = noise_error(problem, choice.image, choice.best.state.support[0])
    if not problem.pattern.counted:
        numbers["rounding_error"] = metrics.rounding_error(problem.counts.intensity, problem.counts.measured)
    verdict = trust.verdict(_evidence(problem, plan, choice, comparison, numbers, transfer, phase))
    if reason:
        verdict = verdict.but(f"{verdict.text}; {reason}: do not trust this before you know why", reason, trust.Cause.FAILED)
    image, support = _presented(problem, choice.image, choice.best.state.support[0])
    return Reconstruction(
        image=image,
        support=support,
        pattern=problem.pattern,
        recipe=repr(plan),
        seed=seed,
        positivity=problem.constraint.positive,
        physics=problem.physics.known({n: float(v[0]) for n, v in choice.best.state.nuisance.items()}),
        verdict=verdict,
        numbers=numbers,
        starts=comparison.starts + comparison.failed,
        history=tuple(History(str(m), *t) for m, t in zip(outcome.first.members, outcome.traces)),
        course=tuple(StageEnd(*end) for end in outcome.course),
        prtf=transfer,
        fsc=shell,
        modes=_presented_modes(problem, choice.image, modes),
        mode_weights=tuple(weights),
        replicas=_presented_replicas(problem, choice.image, comparison.replicas),
        warnings=problem.pattern.warnings + warnings,
        reason=reason,
        made=provenance,
    )


@dataclass(frozen=True, eq=False)
class RunComparison:
    """The runs beside the one that is shown, all aligned to it.

    families: E of the result of each other family. independent: of those among them that share nothing with it. score: its own.
    starts: the independent starts; failed: what failed.
    runs: (*grid) each, every run that ended alike, the solution first. nearest: (*grid), the independent result most like it.
    replicas: (k, *grid), of a scan about a Bragg peak: the independent starts (where they were averaged) or families that ended
        alike, each on its own support; None of other patterns, whose phase nobody takes for a displacement.
    """

    families: tuple[float, ...]
    independent: tuple[float, ...]
    score: float
    starts: tuple[Start, ...]
    failed: tuple[Start, ...]
    runs: tuple[Tensor, ...]
    nearest: Tensor | None
    replicas: Tensor | None = None

    @property
    def agreement(self) -> float:
        """E of the independent result most like the one that is shown; NaN where there is none."""
        return min(self.independent, default=math.nan)

    @property
    def agreeing(self) -> tuple[Start, ...]:
        return tuple(s for s in self.starts if s.error < trust.SAME_ERROR)


def compare_runs(problem: Problem, plan: Plan, choice: Choice) -> RunComparison:
    """How the runs of an outcome compare with what is shown of it."""
    outcome, final = choice.outcome, choice.outcome.results
    others, members = range(1, len(final)), final.members
    predictions = [a for a in plan.algorithms() if isinstance(a, Predict | Guess | Spectral)]
    strangers = [i for i in others if _share_nothing(predictions, members[0], members[i]) and not final.same_bits(0, i)]
    runs, errors, nearest = [], [], None
    for i, a in enumerate(aligned(problem, final, objects(problem, choice.best)[0])):
        errors.append(float(a.error))
        if i == 0 or errors[i] < trust.SIMILAR_ERROR:
            runs.append(a.x[0])
        if i in strangers and errors[i] == min(errors[k] for k in strangers if k <= i):
            nearest = a.x[0]
    scores, starts, kin = gather([outcome.first, final]).scores(problem), [], [m.family for m in outcome.first.members]
    for i, a in enumerate(aligned(problem, outcome.first, choice.image)):
        starts.append(_start_record(outcome.first, i, scores, a))
        # Left out: starts that are families' results already, and the only start of a family, of which its result was made
        if starts[i].error < trust.SIMILAR_ERROR and starts[i].seed not in final.seeds and kin.count(kin[i]) > 1:
            runs.append(a.x[0])
    return RunComparison(
        families=tuple(errors[1:]),
        independent=tuple(errors[i] for i in strangers),
        score=float(scores[len(starts)]),
        starts=tuple(starts),
        failed=tuple(Start(m.seed, math.nan, math.inf, 0, reason=str(why), number=m.number, role=m.role) for m, why in outcome.failures),
        runs=tuple(runs),
        nearest=nearest,
        replicas=_replicas(problem, choice, outcome.candidates if outcome.averaged else final.rows([0, *strangers])),
    )


def _replicas(problem: Problem, choice: Choice, independent: Population) -> Tensor | None:
    """(k, *grid): those that are like the image, aligned with it, 0 outside the support of each."""
    if problem.pattern.geometry.sampling is None:
        return None
    import torch

    each = zip(independent.singles, aligned(problem, independent, choice.image), strict=True)
    alike = [a.x * carried(s.support, a, problem.ndim) for s, a in each if float(a.error) < trust.SIMILAR_ERROR]
    return torch.cat(alike) if alike else torch.zeros((0, *problem.shape), dtype=choice.image.dtype)


def _share_nothing(predictions: list[Predict | Guess | Spectral], member: Member, other: Member) -> bool:
    """False where both were handed the same object to begin with: that they agree is then no evidence."""
    return not any(a.informs(member.family) and a.informs(other.family) for a in predictions)


def _start_record(first: Population, i: int, scores: Tensor, alignment: Alignment) -> Start:
    return Start(
        seed=first.seeds[i],
        number=first.members[i].number,
        r_factor=float(first.r_factor[i]),
        score=float(scores[i]),
        support=int(first.pixels[i]),
        error=float(alignment.error),
        twin=bool(alignment.twin),
    )


def _failures(outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    """Why the solution is partial, or nothing; and what there is to say of starts that failed, or of supports that were contained."""
    contained = ((CONTRADICTED if outcome.problem.pattern.counted else "") + CONTAINED,) if outcome.contained else ()
    if not outcome.failures:
        return "", contained
    why = reasons(outcome.failures)
    if outcome.broken:
        reason = Failure.MOST.format(count=len(outcome.failures), reasons=why, living=len(outcome.first))
        return reason, (reason, *contained)
    return "", (Failure.SOME.format(parts=counted(m for m, _ in outcome.failures), reasons=why), *contained)


# numbers


def _run_counts(comparison: RunComparison, outcome: Outcome) -> dict[str, float]:
    """Of starts, families and runs."""
    failed = comparison.failed
    return {
        "score": comparison.score,
        "agreement": comparison.agreement,
        "starts": float(len(comparison.starts)),
        "starts_failed": float(sum(s.role == "start" for s in failed)),
        "runs_failed": float(len(failed)),
        "starts_agreeing": float(len(comparison.agreeing)),
        "twins_turned": float(sum(s.twin for s in comparison.agreeing)),
        "families": float(1 + len(comparison.families)),
        "families_agreeing": float(1 + sum(e < trust.SAME_ERROR for e in comparison.independent)),
        "runs_kept": float(len(comparison.runs)),
    }


def _resolutions(pattern: Pattern, transfer: Curve | None) -> dict[str, float]:
    if transfer is None:
        return {}
    metres = {"resolution_metres": transfer.pixels * max(pattern.voxel_size)} if pattern.voxel_size else {}
    return {"resolution_pixels": transfer.pixels} | metres


def _object_numbers(problem: Problem, choice: Choice) -> dict[str, float]:
    """Of the object that is shown. Statistics of counting noise are NaN where the numbers are no counts: they tell nothing there."""
    t, p, best = problem.counts, problem.pattern, choice.best
    f = problem.predict(choice.image.unsqueeze(0))
    explained, distance = _explained(problem, choice, f)
    unmeasured = float((f[0].where(~t.measured, f.new_zeros(()))).sum(dtype=f.dtype))
    return {
        "r_factor": float(metrics.r_factor(f, t.intensity, t.measured)),
        **_statistics(problem, f, best.state, explained),
        **(_exposures_misfit(problem, explained, choice) if p.optics and p.counted else {}),
        **distance,
        "support_pixels": float(best.pixels[0]),
        "support_fraction": float(best.pixels[0]) / choice.image.numel(),
        "photons": p.photons,
        "measured_fraction": float(p.measured.mean()),
        "hidden_speckles": 0.0 if p.optics else unconstrained_modes(p, best.state.support[0].cpu().numpy()),
        "power_unmeasured": unmeasured / p.photons,
    }


def _explained(problem: Problem, choice: Choice, f: Tensor) -> tuple[Tensor, dict[str, float]]:
    """(1, *grid): the prediction by which the model is judged. That of the object that is shown, f; and where it is an average, which
    damps what is faint, that of a more likely object beside it, or else the damping would pass for a fault of the model. How far that one
    is from the object that is shown is a number of its own: of another object the counts say nothing of this one."""
    if not choice.outcome.averaged:
        return f, {}
    x, _, _ = most_likely(problem, choice.image, choice.best.state.support[0], iterations=LIKELY)
    return problem.predict(x[None]), {"likely_error": float(problem.symmetry.align(x[None], choice.image).error[0])}


def _statistics(problem: Problem, f: Tensor, state: State, explained: Tensor) -> dict[str, float]:
    """How far the counts are from what noise alone would do. f: (1, *grid), of the object that is shown; state: its start.
    explained: (1, *grid), what the model can explain of the counts."""
    if not problem.pattern.counted:
        return dict.fromkeys(STATISTICS, math.nan)
    t = problem.counts
    expected = metrics.expected_half_deviance(f, t.measured)
    values = (
        float(metrics.chi_square_amplitude(f, t.intensity, t.measured)),
        float(metrics.chi_square_intensity(f, t.intensity, t.measured)),
        float(metrics.log_likelihood(f, t.intensity, t.measured)),
        float(expected / t.measured.sum()),
        *free_log_likelihood(problem, state),
        *metrics.misfits(explained[0], t.intensity, t.measured),
    )
    return dict(zip(STATISTICS, values, strict=True))


def _exposures_misfit(problem: Problem, explained: Tensor, choice: Choice) -> dict[str, float]:
    """Half deviance over what noise leaves beside the unknowns of the object, NaN where no numbers are left; exposures have no shells."""
    t = problem.counts
    share = _freedom(problem, choice) / float(t.measured.sum())
    expected = share * metrics.expected_half_deviance(explained, t.measured).clamp(min=1e-30)
    misfit = float(metrics.half_deviance(explained, t.intensity, t.measured) / expected) if share > 0 else math.nan
    return {"misfit": misfit, "worst_shell_misfit": math.nan, "worst_shell": math.nan}


def _freedom(problem: Problem, choice: Choice) -> float:
    """Measured numbers less the unknowns of the object that is shown."""
    x, support = problem.project_object(choice.image[None], choice.best.state.support[:1]), choice.best.state.support[:1]
    return float(problem.measured.sum()) - float(metrics.unknowns(x, support))


def _largest_misfit(problem: Problem, choice: Choice) -> float:
    """Above it the data contradict the model."""
    if problem.pattern.optics is None:
        return trust.MAX_MISFIT
    return max(trust.MAX_EXPOSURES_MISFIT, 1 + 5 * math.sqrt(2 / max(1.0, _freedom(problem, choice))))


def _contradictions(
    plan: Plan, numbers: dict[str, float], phase: FreedPhase | None, counts: bool, most: float = trust.MAX_MISFIT
) -> tuple[str, ...]:
    """What of the data the physics does not explain. most: the largest misfit that noise may leave."""
    clauses = [trust.ERASED] if phase and phase.doubts(counts) else []
    coherence = plan.stage(Coherence)
    if coherence and coherence.rings(numbers) and "coherence_sigma" not in numbers:
        clauses.append("a blur of the pattern would explain the counts better, but none that was tried holds")
    if error := numbers.get("symmetric_error"):
        clauses.append(f"a point-symmetric object explains the counts better, with a blur of the pattern (error {error:.2f})")
    if numbers.get("families_overruled", 0.0) > 0:
        clauses.append("a start that the others of its family are not like explains the counts better than they do")
    if numbers.get("likely_error", 0.0) >= trust.SIMILAR_ERROR:
        clauses.append(f"a few steps towards the most likely object lead to another one (error {numbers['likely_error']:.2f})")
    if numbers.get("misfit", 0.0) > most:
        clauses.append(f"it misses the counts by {numbers['misfit']:.1f} times what noise would")
    elif numbers.get("worst_shell_misfit", 0.0) > trust.MAX_SHELL_MISFIT:
        at = numbers["worst_shell"]
        clauses.append(
            f"around {at:.2g} cycles per pixel it misses the counts by {numbers['worst_shell_misfit']:.1f} times what noise would"
        )
    return tuple(clauses)


def _unknowns(problem: Problem, choice: Choice) -> dict[str, float]:
    """What was found for each unknown of the physics, and one standard deviation of it."""
    nuisance = choice.best.state.nuisance
    deviation = uncertainty(problem, choice.image.unsqueeze(0), nuisance)
    return {name: float(value[0]) for name, value in nuisance.items()} | {f"{name}_error": float(d[0]) for name, d in deviation.items()}


def free_log_likelihood(problem: Problem, state: State) -> tuple[float, float]:
    """Half deviance per pixel of the pixels that were used, and of a few that were not, after a short run without those.

    Cross-validation by deletion: 3 % of the measured pixels (and, for a real object, their mirror images) are declared unmeasured, their
    wave is set to zero, and 100 RAAR + 50 ER in the solution's support grow it again from all the others. The free one
    is 1.1 to 4 times the other in right results, and in wrong ones 1.4 to 9 (benchmarks/hints.py). Reported, never used to choose.
    NaN where there is none: too few pixels, or waves without an inverse, which RAAR needs.
    """
    import torch

    measured = problem.measured
    without = problem.without(
        torch.from_numpy(np.random.default_rng(derive(0, "free likelihood")).random(measured.shape) < FREE_SHARE).to(measured.device)
    )
    hidden = measured & ~without.measured
    if not problem.model.waves.unitary or not bool(hidden.any()) or bool((hidden == measured).all()):
        return math.nan, math.nan
    wave = problem.model.waves.propagate(problem.project_object(state.image, state.support))
    x = problem.model.waves.backpropagate(wave.where(~hidden, wave.new_zeros(())))
    x = x.real if problem.real else x
    final = run_here(without, parse(FREE_RECIPE), state.replace(x=x, image=x, at=0)).state
    f = problem.predict(problem.project_object(final.image, final.support))
    t = problem.counts
    return (
        float(metrics.log_likelihood(f, t.intensity, without.measured)),
        float(metrics.log_likelihood(f, t.intensity, hidden)),
    )


def _evidence(
    problem: Problem,
    plan: Plan,
    choice: Choice,
    comparison: RunComparison,
    numbers: dict[str, float],
    transfer: Curve | None,
    phase: FreedPhase | None,
) -> trust.Evidence:
    """What the verdict rests on."""
    counts = problem.pattern.counted
    refinement, penalized = choice.refinement, any(isinstance(a, Penalized) for a in plan.algorithms())
    return trust.Evidence(
        r_factor=numbers["r_factor"],
        errors=comparison.independent,
        starts=len(comparison.starts),
        agreeing=len(comparison.agreeing),
        twins=sum(s.twin for s in comparison.agreeing),
        resolution=_resolution(problem.pattern, transfer),
        hidden=numbers["hidden_speckles"],
        refined=None if refinement is None else refinement.accepted,
        deviance_ratio=refinement.deviance_ratio if refinement is not None and refinement.accepted else None,
        counts=counts,
        contrast=_contrast(choice) if penalized else 1.0,
        noise_error=numbers.get("noise_error", math.nan),
        rounding_error=numbers.get("rounding_error", 0.0),
        twin_error=numbers.get("twin_error", 0.0),
        photons=(problem.pattern.signal / max(1.0, numbers["support_pixels"]) if counts else 0.0) if penalized else math.inf,
        findings=choice.outcome.notes,
        contradictions=problem.pattern.doubts + _contradictions(plan, numbers, phase, counts, _largest_misfit(problem, choice)),
    )


def _photons_are_few(problem: Problem, choice: Choice, numbers: dict[str, float]) -> bool:
    """Do starts agree because they fit the same noise? Asked where nothing but the counts has made the object: a deep prior takes noise
    out, and so does it matter less than the halves of the photons say."""
    refined = choice.refinement is not None and choice.refinement.accepted
    asked = not refined and problem.pattern.counted and not problem.constraint.everywhere and problem.model.waves.unitary
    return asked and problem.pattern.signal < FEW_PHOTONS * numbers["support_pixels"]


def _contrast(choice: Choice) -> float:
    """Of a picture in its box, which is what a plan with `Penalized` is for: deviation over root mean square inside the support."""
    inside = choice.image.real[choice.best.state.support[0]].double()
    size = float(inside.square().mean().sqrt()) if len(inside) else 0.0
    return min(1.0, float(inside.std(correction=0)) / size) if size > 0 else 1.0


# curves, modes, the object as it is shown


def _curves(problem: Problem, comparison: RunComparison) -> tuple[Curve | None, Curve | None]:
    """The transfer function of the runs that ended alike, and the shell correlation with the nearest independent result."""
    if problem.pattern.optics:
        return None, _shell_correlation(comparison)
    waves = problem.model.waves
    shown = (waves.propagate(x[None])[0] for x in comparison.runs)
    transfer = prtf(shown, problem.counts.measured) if len(comparison.runs) > 1 else None
    if comparison.nearest is None:
        return transfer, None
    best, other = (waves.propagate(x[None])[0] for x in (*comparison.runs[:1], comparison.nearest))
    return transfer, fsc(best, other)


def _shell_correlation(comparison: RunComparison) -> Curve | None:
    """Of an object that is no far field's, between the transforms of two results; None where there are not two, or no two dimensions."""
    runs, d = comparison.runs, comparison.runs[0].ndim
    if comparison.nearest is None or d < 2:
        return None
    return fsc(fourier.forward(runs[0], d), fourier.forward(comparison.nearest, d))


def _modes(runs: tuple[Tensor, ...], count: int = MODES) -> tuple[Tensor, list[float]]:
    """Orthogonal modes of aligned runs (singular vectors) and their shares of the power; the first is their best common object. Some
    pixels at a time, so that the runs are never in memory twice."""
    import torch

    pixels, flat = runs[0].numel(), [x.flatten() for x in runs]
    stripes = [slice(j, j + STRIPE) for j in range(0, pixels, STRIPE)]
    gram = torch.zeros(len(runs), len(runs), dtype=torch.complex128, device=runs[0].device)
    for stripe in stripes:
        part = torch.stack([x[stripe] for x in flat])
        gram += part.conj() @ part.T
    power, vectors = torch.linalg.eigh(gram)
    order = power.argsort(descending=True)[:count]
    weights = (vectors[:, order].T / math.sqrt(len(runs))).to(runs[0].dtype)
    modes = torch.empty((len(order), pixels), dtype=runs[0].dtype, device=runs[0].device)
    for stripe in stripes:
        modes[:, stripe] = weights @ torch.stack([x[stripe] for x in flat])
    shares = (power / power.sum().clamp(min=1e-30)).clamp(min=0)[order]
    return modes.reshape(-1, *runs[0].shape), [float(s) for s in shares]


def _presented(problem: Problem, image: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """The object in the middle of the array, its mean phase 0 (a real one stays real)."""
    import torch

    d = problem.ndim
    axes, by = tuple(range(d)), problem.symmetry.origin(image)
    if problem.symmetry.global_phase and not problem.real:
        total = (image * image.abs()).sum()
        image = image * torch.where(total.abs() > 0, total.conj() / total.abs().clamp(min=1e-30), torch.ones_like(total))
    presented = problem.centred(image.roll(by, axes)).to(torch.complex64).cpu()
    return presented, problem.centred(support.roll(by, axes)).cpu()


def _presented_modes(problem: Problem, image: Tensor, modes: Tensor) -> Tensor:
    """The modes, moved as the object is, in their place."""
    axes, by = tuple(range(problem.ndim)), problem.symmetry.origin(image)
    for row, mode in enumerate(modes):
        modes[row] = problem.centred(mode.roll(by, axes))
    return modes.to(image.dtype).cpu()


def _presented_replicas(problem: Problem, image: Tensor, replicas: Tensor | None) -> Tensor | None:
    """The replicas, moved and turned as the object is."""
    if replicas is None:
        return None
    import torch

    shown, _ = _presented(problem, image, image != 0)
    x = _presented_modes(problem, image, replicas)
    inner = (x.conj() * shown).flatten(1).sum(1)
    return (x * torch.sgn(inner).reshape(-1, *(1 for _ in problem.shape))).to(torch.complex64)


def _resolution(pattern: Pattern, transfer: Curve | None) -> str:
    """How far the starts repeat one another, which is no distance from the truth."""
    if transfer is None:
        return ""
    length = f"{transfer.pixels:.2g} object pixels"
    if pattern.voxel_size:
        length = f"{1e9 * transfer.pixels * max(pattern.voxel_size):.3g} nm"
    if transfer.crossing is None:
        return f"PRTF above 1/e up to the edge of the detector ({length})"
    return f"PRTF resolution {length} (1/e)"
