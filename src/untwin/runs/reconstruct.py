"""From a pattern to a Reconstruction: the plan is run, its best is chosen, aligned with the others, and judged."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin import fourier
from untwin.data.measurement import Pattern
from untwin.errors import InputError, NumericalFailure, WorkerLost
from untwin.judge import metrics, trust
from untwin.judge.resolution import Curve, fsc, prtf
from untwin.model.inference import fitted
from untwin.model.networks import weights
from untwin.model.outline import hidden
from untwin.model.problem import Problem, require_real
from untwin.provenance import made_with
from untwin.random import derive
from untwin.runs import auto, memory
from untwin.runs.checkpoint import EVERY, Checkpoint, digest
from untwin.runs.device import boolean, named, trusted
from untwin.runs.failure import Failure, counted, reasons
from untwin.runs.launch import launcher, one_thread, run_here
from untwin.runs.names import parse
from untwin.runs.population import Population, gather, objects
from untwin.runs.solution import History, Reconstruction, Start
from untwin.runs.stages.plan import Outcome, Plan, Report
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.solve.begin import Whole
from untwin.solve.predict import Predict, started
from untwin.solve.recipe import Recipe, steps
from untwin.solve.state import Member, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NEARLY = 100.0  # units of the score (log-likelihood) within which candidates enter the mean
WORSE = 1.25  # times the half deviance of the plain results, above which refined ones are given up
FREE_SHARE = 0.03  # of the measured pixels, held out for the free log-likelihood


def reconstruct(
    pattern: Pattern | Problem,
    recipe: Recipe | Plan | str | None = None,
    *,
    start: str = "random",
    method: str = "auto",
    starts: int | None = None,
    seed: int = 0,
    positivity: bool = False,
    support: np.ndarray | Tensor | None = None,
    device: str | torch.device | None = None,
    workers: int | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    report: Report | None = None,
) -> Reconstruction:
    """The object behind a far-field pattern.

    pattern: what `untwin.read` returns, or a Problem. recipe: steps, a Plan, or the text of either; by default the automatic plan.
    start: "random", or "predict" or "predict:MODEL", where a trained network gives every second
        start, one of two families, its object and its support (`Predict`).
    method: instead of a recipe, the name of a plan: auto, classical, refine, double-dip, siren or drp (docs/deep-priors.md).
    starts: independent starts. seed: of the first; the same seed gives the same result on the same machine.
    positivity: the object is real and at least zero. support: (*grid) bool, centred at N//2, kept as it is by the automatic plan.
    device: "cpu" (default), "cuda", "cuda:1" or a torch.device; a GPU is first held against the CPU in a short run.
    workers: processes on a CPU; by default all cores.
    checkpoint: a folder in which the run keeps what it has done, so that the same call after a kill goes on from there and ends with
        the same bits (same machine, versions, device). It stays until you delete it.
    report: called with the steps taken since the last call, the lowest R known (or None), and the number of steps foreseen.
    Raises InputError where something does not fit, or the folder holds another run; NumericalFailure where no start comes to anything.
    """
    problem = _problem(pattern, positivity, device)
    given = _support(problem, support)
    plan = _begun(problem, _plan(problem, recipe, method, starts, given is not None), start, given is not None)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**62:
        raise InputError(f"seed={seed!r}: expected a whole number, 0 or more")
    clock, cpu = time.perf_counter(), time.process_time()
    kept = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(None if checkpoint is None else Path(checkpoint))
    launch = launcher(problem, workers, kept, memory.arrays(problem, plan))
    needed = memory.require(problem, plan, launch)
    made = made_with(problem.device)
    kept.begin(_identity(problem, plan, seed, given, {**made, "batch": launch.batch}))
    with one_thread():
        try:
            outcome = plan.run(problem, seed, launch, support=given, report=report)
        except BaseException as error:
            if isinstance(error, WorkerLost) or not isinstance(error, InputError | NumericalFailure):
                kept.keep()
            raise
        if time.perf_counter() - clock > EVERY:
            kept.keep()
        return _judged(
            problem, plan, outcome, seed, (clock, cpu - launch.elsewhere), {**made, "workers": launch.workers, "memory_estimated": needed}
        )


def _identity(problem: Problem, plan: Plan, seed: int, support: Tensor | None, made: dict[str, Any]) -> dict[str, Any]:
    """What a run is: where this is the same, its bits are."""
    p, t = problem.pattern, problem.counts
    return {
        **{k: v for k, v in made.items() if k != "threads"},  # one is used
        "input file of SHA-256": p.source.sha256,
        "pattern of SHA-256": digest(p.intensity, p.measured, t.intensity, t.measured, t.amplitude, t.imposed),
        "centre": p.offset,
        "constraint": repr(problem.constraint),
        "loss": repr(problem.loss),
        "modulus": repr(problem.modulus),
        "physics": repr(problem.physics),
        "support of SHA-256": digest(support),
        "recipe": repr(plan),
        "seed": seed,
    }


def _problem(pattern: Pattern | Problem, positivity: bool, device: str | torch.device | None) -> Problem:
    if isinstance(pattern, Problem):
        if device is not None and str(device) != pattern.device:
            raise InputError(f"device={str(device)!r} with a Problem on {pattern.device!r}; make the Problem with device={str(device)!r}")
        if positivity and not pattern.real:
            raise InputError("positivity=True with a Problem that has no Nonnegative() constraint; put it into the Problem")
        trusted(pattern.device)
        return pattern
    if not isinstance(pattern, Pattern):
        raise InputError(f"reconstruct takes a Pattern or a Problem, got {type(pattern).__name__}; untwin.read(path) makes a Pattern")
    if positivity:
        require_real(pattern)
    device = named("cpu" if device is None else device)
    trusted(device)
    return Problem.of(pattern, positivity=positivity, device=device)


def _support(problem: Problem, support: np.ndarray | Tensor | None) -> Tensor | None:
    if support is None:
        return None
    mask = boolean(support)
    if tuple(mask.shape) != problem.pattern.shape:
        raise InputError(f"support has shape {tuple(mask.shape)}, pattern {problem.pattern.shape}; crop or pad one of them")
    if not bool(mask.any()):
        raise InputError("the support is empty; expected nonzero where the object is")
    return fourier.cornered(mask, problem.ndim).to(problem.device)


def _plan(problem: Problem, recipe: Recipe | Plan | str | None, method: str, starts: int | None, fixed: bool) -> Plan:
    if starts is not None and (isinstance(starts, bool) or not isinstance(starts, int) or starts < 1):
        raise InputError(f"starts={starts!r}: expected a whole number, 1 or more")
    if isinstance(recipe, str):
        recipe = parse(recipe)
    if method != "auto":
        auto.known(method)
        if recipe is not None or fixed:
            other = "recipe" if recipe is not None else "support"
            raise InputError(f"method={method!r} is a plan of its own and takes no {other}; leave one of them out")
        return auto.method(method, problem, starts)
    if recipe is None:
        return auto.plan(problem, starts, fixed)
    if isinstance(recipe, Plan):
        return recipe.with_starts(starts) if starts else recipe
    if isinstance(recipe, Recipe):
        n = 8 if starts is None else starts
        return Plan(Search(recipe, starts=n, families=2 if n > 1 else 1))
    raise InputError(f"recipe is a text, steps or a Plan, got {type(recipe).__name__}; try '20*ER + 180*HIO'")


def _begun(problem: Problem, plan: Plan, start: str, fixed: bool) -> Plan:
    """The plan, its first recipe begun as `start` says. Families in reserve would mix predicted and random starts: there are none then."""
    first = started(start)
    if first is None:
        return plan
    fitted(problem.pattern, weights.load(first.model))
    search = plan.search
    return plan.without(Reserve).with_stage(replace(search, first=first + Whole() + search.first if fixed else first + search.first))


def _judged(
    problem: Problem, plan: Plan, outcome: Outcome, seed: int, began: tuple[float, float], made: dict[str, str | int]
) -> Reconstruction:
    import torch

    p = problem.pattern
    outcome, image, refinement = _kept(problem, plan, outcome)
    final, best = outcome.results, outcome.results.rows([0])
    others = list(range(1, len(final.state.seeds)))
    chosen = objects(problem, best)[0]
    independent = problem.symmetry.align(objects(problem, final), chosen)
    errors = tuple(float(independent.error[i]) for i in others)
    strangers = [i for i in others if _independent(plan, final.state.members[0], final.state.members[i])]
    evidence = tuple(errors[i - 1] for i in strangers)
    agreement = min(evidence, default=math.nan)
    first = problem.symmetry.align(objects(problem, outcome.first), image)
    scores = gather([outcome.first, outcome.results]).scores(problem)
    table = _starts(outcome.first, scores, first.error, first.turned)
    lost = tuple(Start(m.seed, math.nan, math.inf, 0, reason=str(why), number=m.number, role=m.role) for m, why in outcome.failures)
    agreeing = [s for s in table if s.error < trust.AGREE]

    # Kept for modes and the transfer function: every run that ended alike, families' results (the solution first) and the single starts
    # that are not such results themselves.
    alike = [i for i, s in enumerate(table) if s.error < trust.ALIKE and s.seed not in final.state.seeds]
    runs = torch.cat([independent.x[[0, *(i for i in others if errors[i - 1] < trust.ALIKE)]], first.x[alike]])
    modes, weights = _modes(runs)
    waves = problem.model.waves.propagate(runs)
    transfer = prtf(waves, problem.counts.measured) if len(runs) > 1 else None
    nearest = independent.x[strangers[evidence.index(agreement)]] if strangers else None
    shell = fsc(waves[0], problem.model.waves.propagate(nearest)) if nearest is not None else None

    numbers = _numbers(problem, best, image) | refinement
    numbers |= {
        "score": float(scores[len(table)]),
        "agreement": agreement,
        "starts": float(len(table)),
        "starts_failed": float(sum(s.role == "start" for s in lost)),
        "runs_failed": float(len(lost)),
        "starts_agreeing": float(len(agreeing)),
        "twins_turned": float(sum(s.twin for s in agreeing)),
        "families": float(1 + len(errors)),
        "families_agreeing": float(1 + sum(e < trust.AGREE for e in evidence)),
        "runs_kept": float(len(runs)),
        "first_mode_weight": weights[0],
    }
    if transfer:
        numbers["resolution_pixels"] = transfer.pixels
        if p.voxel_size:
            numbers["resolution_metres"] = transfer.pixels * max(p.voxel_size)
    numbers |= {"seconds": time.perf_counter() - began[0], "cpu_seconds": time.process_time() - began[1]}
    judgement = trust.verdict(
        numbers["r_factor"],
        evidence,
        len(agreeing),
        len(table),
        int(numbers["twins_turned"]),
        _resolution(p, transfer),
        numbers["hidden_speckles"],
        bool(refinement["refined"]) if refinement else None,
        refinement.get("refined_explained") if refinement.get("refined") else None,
    )
    reason, said = _failures(outcome)
    if reason:
        judgement = trust.Verdict(None, f"{judgement.text}; {reason}: do not trust this before you know why")
    shown, mask = _presented(problem, image, best.state.support[0])
    lines = [History(str(m), *t) for m, t in zip(outcome.first.state.members, outcome.traces)]
    return Reconstruction(
        image=shown,
        support=mask,
        pattern=p,
        recipe=repr(plan),
        seed=seed,
        positivity=problem.real,
        physics=problem.physics.known({n: float(v[0]) for n, v in best.state.nuisance.items()}),
        verdict=judgement,
        numbers=numbers,
        starts=table + lost,
        history=tuple(lines),
        prtf=transfer,
        fsc=shell,
        modes=_presented_modes(problem, image, modes),
        mode_weights=tuple(weights),
        warnings=p.warnings + said,
        reason=reason,
        made=made,
    )


def _failures(outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    """Why the solution is partial, or nothing; and what there is to say of starts that failed."""
    if not outcome.failures:
        return "", ()
    why = reasons(outcome.failures)
    if outcome.broken:
        reason = Failure.MOST.format(count=len(outcome.failures), reasons=why, living=len(outcome.first.state.seeds))
        return reason, (reason,)
    return "", (Failure.SOME.format(parts=counted(m for m, _ in outcome.failures), reasons=why),)


def _independent(plan: Plan, one: Member, other: Member) -> bool:
    """False where both began from the same prediction of a network: that they agree is then no evidence."""
    return not any(isinstance(a, Predict) and a.informs(one.family) and a.informs(other.family) for a in steps(plan.search.first))


def _kept(problem: Problem, plan: Plan, outcome: Outcome) -> tuple[Outcome, Tensor, dict[str, float]]:
    """What is shown, (*grid) complex: of the plain results, or the mean of the refined ones. Also the outcome that it is of, and the
    numbers that say so.

    Families never see one another. Where two of them are alike after a prior has redrawn each from random numbers, what they share is
    the object and not the prior's doing, and their mean is nearer to it than either. And one that explains the counts as the truth
    would (Refine.explained) is the object even where no other is like it: a prior does not redraw a wrong one so well. Where neither is so,
    or where the prior smooths the counts away, the plain results stand. A single family is kept where its half deviance falls
    (docs/deep-priors.md).
    """
    import torch

    plain = _mean(problem, outcome, NEARLY)
    if outcome.refined is None:
        return outcome, plain, {}
    results = outcome.refined.rows(outcome.refined.deviance.argsort(stable=True).tolist())
    rest = [i for i, s in enumerate(outcome.results.state.seeds) if s not in results.state.seeds]  # families that were not refined
    again = replace(outcome, results=gather([results, outcome.results.rows(rest)]) if rest else results, candidates=results)
    refined, x, t = _mean(problem, again, math.inf), objects(problem, results), problem.counts
    f = problem.predict(torch.stack([plain, refined]))
    before, after = metrics.log_likelihood(f, t.intensity, t.measured).nan_to_num(nan=math.inf).tolist()
    nearest = min(problem.symmetry.align(x[1:], x[0]).error.nan_to_num(nan=1.0).tolist()) if len(x) > 1 else math.nan
    told = {"log_likelihood_plain": before, "log_likelihood_refined": after, "refined_agreement": nearest}
    kept = after < before if math.isnan(nearest) else nearest < trust.ALIKE and after <= WORSE * before
    refine = plan.stage(Refine)
    if refine and refine.explained:
        expected = float(metrics.expected_half_deviance(f[1:].nan_to_num(), t.measured) / t.measured.sum())
        told["refined_explained"] = after / expected
        kept = kept or after <= refine.explained * expected
    told["refined"] = float(kept)
    return (again, refined, told) if kept else (outcome, plain, told)


def _mean(problem: Problem, outcome: Outcome, nearly: float) -> Tensor:
    """The mean of the candidates that are like the best result and whose scores are within `nearly` of the best one's.

    They share the counts and not the search, so that their mean is nearer to the truth than the best of them, most of all where photons
    are few (docs/benchmarks.md). It is cut to the best one's support, and given up where its R-factor is worse by more than a fifth.
    """
    best = objects(problem, outcome.results.rows([0]))[0]
    found = problem.symmetry.align(objects(problem, outcome.candidates), best)
    scores = outcome.candidates.scores(problem)
    alike = (found.error.cpu() < trust.ALIKE) & (scores.cpu() <= scores.min().cpu() + nearly)
    if int(alike.sum()) < 2:
        return best
    mean = problem.project_object(found.x[alike.to(best.device)].mean(0, keepdim=True), outcome.results.state.support[:1])
    t = problem.counts
    r = [float(metrics.r_factor(problem.predict(x), t.intensity, t.measured)) for x in (mean, best.unsqueeze(0))]
    mean = mean if mean.is_complex() else mean.to(best.dtype)
    return mean[0] if r[0] < 1.2 * r[1] else best


def _starts(first: Population, scores: Tensor, error: Tensor, turned: Tensor) -> tuple[Start, ...]:
    return tuple(
        Start(
            seed=first.state.seeds[i],
            number=first.state.members[i].number,
            r_factor=float(first.r_factor[i]),
            score=float(scores[i]),
            support=int(first.pixels[i]),
            error=float(error[i]),
            twin=bool(turned[i]),
        )
        for i in range(len(first.state.seeds))
    )


def _numbers(problem: Problem, best: Population, image: Tensor) -> dict[str, float]:
    t, p = problem.counts, problem.pattern
    f = problem.predict(image.unsqueeze(0))
    expected = metrics.expected_half_deviance(f, t.measured)
    working, free = free_log_likelihood(problem, best.state)
    unmeasured = float((f[0].where(~t.measured, f.new_zeros(()))).sum(dtype=f.dtype))
    return {
        "r_factor": float(metrics.r_factor(f, t.intensity, t.measured)),
        "chi_square_amplitude": float(metrics.chi_square_amplitude(f, t.intensity, t.measured)),
        "chi_square_intensity": float(metrics.chi_square_intensity(f, t.intensity, t.measured)),
        "log_likelihood": float(metrics.log_likelihood(f, t.intensity, t.measured)),
        "log_likelihood_expected": float(expected / t.measured.sum()),
        "working_log_likelihood": working,
        "free_log_likelihood": free,
        "support_pixels": float(best.pixels[0]),
        "support_fraction": float(best.pixels[0]) / f[0].numel(),
        "photons": p.photons,
        "measured_fraction": float(p.measured.mean()),
        "hidden_speckles": len(hidden(p)) * float(best.pixels[0]) / f[0].numel(),
        "power_unmeasured": unmeasured / p.photons,
    }


def free_log_likelihood(problem: Problem, state: State) -> tuple[float, float]:
    """Half deviance per pixel of the pixels that were used, and of a few that were not, after a short run without those.

    Cross-validation by deletion: 3 % of the measured pixels (and, for a real object, their mirror images) are declared unmeasured, their
    wave is set to zero, and 100 RAAR + 50 ER in the solution's support grow it again from all the others. The two figures are
    alike where the object explains the data, and the free one is larger where it has been fitted to noise. Reported, never used to choose.
    """
    import torch

    seen = problem.measured
    without = problem.without(
        torch.from_numpy(np.random.default_rng(derive(0, "free likelihood")).random(seen.shape) < FREE_SHARE).to(seen.device)
    )
    hidden = seen & ~without.measured
    if not bool(hidden.any()) or bool((hidden == seen).all()):
        return math.nan, math.nan
    wave = problem.model.waves.propagate(problem.project_object(state.image, state.support))
    x = problem.model.waves.backpropagate(wave.where(~hidden, wave.new_zeros(())))
    x = x.real if problem.real else x
    ended = run_here(without, parse("100*RAAR + 50*ER"), replace(state, x=x, image=x, at=0)).state
    f = problem.predict(problem.project_object(ended.image, ended.support))
    t = problem.counts
    return (
        float(metrics.log_likelihood(f, t.intensity, without.measured)),
        float(metrics.log_likelihood(f, t.intensity, hidden)),
    )


def _modes(runs: Tensor, count: int = 5) -> tuple[Tensor, list[float]]:
    """Orthogonal modes of aligned runs (singular vectors) and their shares of the power; the first is their best common object."""
    import torch

    flat = runs.flatten(1)
    gram = flat.conj() @ flat.T
    power, vectors = torch.linalg.eigh(gram)
    order = power.argsort(descending=True)[:count]
    modes = (vectors[:, order].T.to(flat.dtype) @ flat).reshape(-1, *runs.shape[1:]) / math.sqrt(len(runs))
    shares = (power / power.sum().clamp(min=1e-30)).clamp(min=0)[order]
    return modes, [float(s) for s in shares]


def _presented(problem: Problem, image: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """The object in the middle of the array, its mean phase 0 (a real one stays real)."""
    import torch

    d = problem.ndim
    axes, by = tuple(range(d)), problem.symmetry.origin(image)
    if problem.symmetry.global_phase and not problem.real:
        total = (image * image.abs()).sum()
        image = image * torch.where(total.abs() > 0, total.conj() / total.abs().clamp(min=1e-30), torch.ones_like(total))
    shown = fourier.centred(image.roll(by, axes), d).to(torch.complex64).cpu()
    return shown, fourier.centred(support.roll(by, axes), d).cpu()


def _presented_modes(problem: Problem, image: Tensor, modes: Tensor) -> Tensor:
    """The modes, moved as the object is."""
    d = problem.ndim
    return fourier.centred(modes.roll([0, *problem.symmetry.origin(image)], tuple(range(d + 1))), d).to(image.dtype).cpu()


def _resolution(pattern: Pattern, transfer: Curve | None) -> str:
    if transfer is None:
        return ""
    at = "PRTF 1/e" if transfer.crossing is not None else "PRTF above 1/e up to the edge of the detector"
    if pattern.voxel_size:
        return f"resolution {1e9 * transfer.pixels * max(pattern.voxel_size):.3g} nm ({at})"
    return f"resolution {transfer.pixels:.2g} object pixels ({at})"
