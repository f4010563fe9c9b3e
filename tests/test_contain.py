"""Under a wrong model supports run away, and Contain holds them; under a right one it changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

import untwin as ut
from untwin.runs import auto
from untwin.runs.conditions import problem_of
from untwin.runs.launch import launcher
from untwin.runs.population import Population, start
from untwin.runs.stages.base import Cohort, Context
from untwin.runs.stages.contain import Contain, deviance_ratio, nearest
from untwin.simulate import shapes
from untwin.simulate.detector import measure

SIZE = 48
SEARCH = (
    "Search(5*(20*HIO + ShrinkWrap(threshold=0.1, sigma=Ramp(2.0, 0.7))) + 5*(20*RAAR + ShrinkWrap(threshold=0.1, sigma=0.7)) + 20*ER, "
    "starts=6, families=2)"
)
CONTAIN = (
    "Contain(5*(20*HIO + ShrinkWrap(threshold=0.23, sigma=Ramp(2.0, 0.7), level='weighted')) + "
    "5*(20*RAAR + ShrinkWrap(threshold=0.23, sigma=0.7, level='weighted')) + 20*ER)"
)


def crystal() -> np.ndarray:
    return shapes.poly((SIZE, SIZE), np.random.default_rng(0))


def pattern(sensitivity: float = 0.0) -> ut.Pattern:
    """Of the crystal, 1e6 photons. sensitivity: of the detector's pixels, relative variation (log-normal, neighbours alike)."""
    rng = np.random.default_rng(0)
    ideal = measure(shapes.poly((SIZE, SIZE), rng), 1e6, rng)[0]
    if not sensitivity:
        return ideal
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(SIZE, SIZE)), 0.7)
    uneven = np.fft.ifftshift(np.exp(sensitivity * noise / noise.std()))
    return replace(ideal, intensity=np.random.default_rng(2).poisson(ideal.intensity * uneven).astype(np.float32))


def solved(p: ut.Pattern, *stages: str) -> ut.results.Reconstruction:
    return ut.reconstruct(p, ut.parse(f"Plan({', '.join(stages)})"), seed=0, workers=1)


def test_a_support_that_ran_away_under_a_wrong_model_is_held():
    truth = torch.from_numpy(crystal())
    area = int((truth.abs() > 0).sum())
    p = pattern(0.3)
    loose, held = solved(p, SEARCH), solved(p, SEARCH, CONTAIN)
    errors = [float(ut.align(r.image[None], truth, 2).error[0]) for r in (loose, held)]
    pixels = [r.numbers["support_pixels"] for r in (loose, held)]
    assert pixels[0] > 1.7 * area, "the likelihood alone prefers a runaway here, or this test says nothing"
    assert loose.numbers["r_factor"] < held.numbers["r_factor"], "and so does R"
    assert pixels[1] < 1.25 * area and errors[1] < 0.7 * errors[0]
    assert held.numbers["agreement"] < loose.numbers["agreement"]
    assert len(held.starts) == 12 and any("contradict the model" in w for w in held.warnings)


def test_nothing_changes_where_the_model_is_right_though_families_do_not_agree():
    p = pattern()
    plain, held = solved(p, SEARCH), solved(p, SEARCH, CONTAIN)
    assert plain.numbers["agreement"] > 0.1, "or the other condition alone explains it"
    assert torch.equal(plain.image, held.image) and torch.equal(plain.support, held.support)
    assert plain.starts == held.starts and plain.verdict == held.verdict and not held.warnings


def cohort(problem: ut.Problem, *objects: np.ndarray) -> Cohort:
    """Results that have ended at these objects, one of each family."""
    x = torch.from_numpy(np.stack(objects)).to(torch.complex64)
    x = x * problem.brightness(problem.predict(x)).sqrt()[:, None, None]
    members = tuple(start(0, i, i) for i in range(len(x)))
    state = replace(ut.begin(problem, members), x=x, image=x, support=x != 0)
    results = Population.of(problem, state)
    return Cohort(results=results.rows(results.order(problem)), starts=len(x), raised=len(x))


def test_it_asks_the_counts_the_families_and_what_it_has_reached():
    truth = crystal()
    other = np.roll(truth, 9, 0) + 0.5 * truth
    plan = ut.parse(f"Plan({SEARCH}, {CONTAIN})")
    stage = plan.stage(Contain)
    ideal, uneven = problem_of(pattern(), False), problem_of(pattern(0.3), False)

    def runs(problem: ut.Problem, before: Cohort, stage: Contain = stage) -> Cohort:
        return stage.run(before, Context(problem, 0, launcher(problem, 1), before=plan.stages[:1]))

    right = cohort(ideal, truth, other)
    assert deviance_ratio(ideal, right.best(ideal)) == pytest.approx(1, abs=0.1) and nearest(ideal, right.best(ideal)) > 0.1
    assert runs(ideal, right) is right
    alike = cohort(uneven, truth, truth)
    assert deviance_ratio(uneven, alike.best(uneven)) > 2 and runs(uneven, alike) is alike, "two families agree"
    lone = cohort(uneven, truth)
    assert runs(uneven, lone) is lone, "a single family says nothing"
    assert runs(uneven, replace(alike, broken=True)).contained is False
    apart = cohort(uneven, truth, other)
    contained = runs(uneven, apart)
    assert contained.contained and nearest(uneven, contained.best(uneven)) < nearest(uneven, apart.best(uneven))
    assert {m.family for m in contained.best(uneven).state.members} == {2, 3}, "families that have seen none of the others"
    short = replace(stage, recipe=ut.parse("ER"))
    again = runs(uneven, apart, short)
    assert not again.contained and again.results is apart.results and again.firsts == apart.firsts, "random starts agree even less"


def test_the_automatic_plan_of_a_large_array_has_one_and_every_number_a_source():
    p = ut.Pattern(np.ones((36, 36, 36), np.float32), np.ones((36, 36, 36), bool))
    plan = auto.plan(problem_of(p, False))
    stage = plan.stage(Contain)
    assert stage is not None and "level='weighted'" in repr(stage)
    assert auto.plan(problem_of(p, False), starts=4).stage(Contain) == stage
