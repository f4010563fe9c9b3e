"""Phase retrieval by priors: methods are plans, a refinement starts from their results, the verdict is that of any plan."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.errors import InputError
from untwin.judge.trust import Evidence, verdict
from untwin.runs import auto
from untwin.runs.names import parse
from untwin.runs.population import Population, children_of, survivors
from untwin.runs.stages.plan import Plan
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.search import Search
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.recipe import length

TINY = "DoubleDIP(Skip(depth=1, width=6, inputs=4, padding='replicate'))"


def crystal(shape=(32, 32), photons=1e5, seed=3):
    rng = np.random.default_rng(seed)
    return measure(CLASSES["defect"](shape, rng), photons, rng)


@pytest.mark.parametrize("name", auto.METHODS)
@pytest.mark.parametrize("shape", [(64, 64), (48, 48, 48)], ids=str)
def test_a_method_is_a_plan_and_its_text_is_the_plan(name, shape):
    problem = ut.Problem.of(crystal(shape)[0])
    plan = auto.method(name, problem)
    assert parse(repr(plan)) == plan and plan.search.families == 2 and plan.steps() > 100
    if name == "classical":
        assert "Fit(" not in repr(plan)
    elif name != "auto":
        assert "Fit(" in repr(plan)
        fits = [a for r in plan.recipes for a in _steps(r) if isinstance(a, ut.algorithms.Fit)]
        assert problem.canvas(fits[0].box)[1:] == tuple(n // 2 for n in shape), "a box of half the array"


NUMBER = r"(?<![\w{])\d"


@pytest.mark.parametrize("row", auto.ROWS, ids=lambda row: row.condition[:40])
def test_every_number_of_the_automatic_plan_says_where_it_comes_from(row):
    """A measurement (a file that is there), a paper with its year, a reason, or "unmeasured"."""
    assert not re.search(NUMBER, row.text), "a number in the text instead of in the table"
    assert set(re.findall(r"{(\w+)}", row.text)) <= set(row.numbers)
    separating = {k: v for k, v in vars(auto).items() if isinstance(v, auto.Number)}
    root = Path(__file__).parents[1]
    for name, number in {**row.numbers, **separating}.items():
        assert number.source, f"{name} has no source"
        for path in re.findall(r"(?:docs|benchmarks)/[\w/-]+\.\w+", number.source):
            assert (root / path).is_file(), f"{name}: {path} is not there"


def test_a_single_start_has_one_child_and_a_family_keeps_its_size():
    assert [children_of(n) for n in range(1, 9)] == [1, 1, 2, 3, 4, 5, 6, 6]
    assert all(children_of(n) + survivors(n) == n for n in range(2, 100))


def _steps(recipe):
    from untwin.solve.recipe import steps

    return list(dict.fromkeys(steps(recipe)))


@pytest.mark.parametrize("shape", [(32, 32), (24, 24, 24)], ids=str)
def test_a_refinement_starts_from_the_results_and_is_judged_like_them(shape):
    pattern, truth = crystal(shape)
    first = parse("3*(15*HIO + ShrinkWrap(threshold=0.15, sigma=1.0)) + 20*ER")
    fit = parse(f"12*Fit({TINY}, imitate=6, grow=1, loss=Poisson(0.1), regularizer=TV(0.5))")
    plain = Plan(Search(first, starts=2, families=2))
    refined = plain.with_stage(Refine(fit))
    solution = ut.reconstruct(pattern, refined, workers=1)
    assert solution.image.shape == shape and bool(torch.view_as_real(solution.image).isfinite().all())
    assert solution.verdict.text and solution.numbers["families"] == 2 and "imitate=6" in solution.recipe
    assert bool((solution.image[~solution.support] == 0).all())
    assert refined.steps() == plain.steps() + 2 * length(fit)
    again = ut.reconstruct(pattern, refined, workers=2)
    assert (
        torch.equal(again.image, solution.image) and again.numbers["log_likelihood_refined"] == solution.numbers["log_likelihood_refined"]
    )


@pytest.mark.parametrize(("apart", "refined"), [(0.0, True), (0.99, False)])
def test_families_that_hardly_differ_are_not_refined(apart, refined):
    search = Search(parse("3*(15*HIO + ShrinkWrap(threshold=0.15, sigma=1.0)) + 20*ER"), starts=2, families=2)
    plan = Plan(search, Refine(parse("2*ER"), min_disagreement=apart))
    solution = ut.reconstruct(crystal((32, 32))[0], plan, workers=1)
    assert ("log_likelihood_refined" in solution.numbers) == refined
    with pytest.raises(InputError, match="min_disagreement"):
        Refine(parse("2*ER"), min_disagreement=1.5)


def test_families_that_were_not_refined_stay_in_the_verdict():
    plan = Plan(Search(parse("6*(20*HIO + ShrinkWrap(threshold=0.15, sigma=1.0)) + 20*ER"), starts=3, families=3))
    pattern = crystal(photons=1e6)[0]
    plain = ut.reconstruct(pattern, plan, workers=1, seed=3)
    solution = ut.reconstruct(pattern, plan.with_stage(Refine(parse("20*RAAR + 20*ER"))), workers=1, seed=3)
    assert solution.numbers["refined"] == 1 and solution.numbers["families"] == plain.numbers["families"] == 3


SEARCH = parse(
    "4*(40*HIO + ShrinkWrap(threshold=0.15, sigma=Ramp(2.0, 0.7))) + 4*(30*RAAR + ShrinkWrap(threshold=0.15, sigma=0.7)) + 20*ER"
)


@pytest.mark.parametrize(("explained", "kept"), [(0.0, False), (0.01, False), (20.0, True)])
def test_where_none_is_alike_the_one_that_explains_the_counts_is_kept(explained, kept):
    pattern, truth = crystal(photons=1e6, seed=6)
    plan, refine = Plan(Search(SEARCH, starts=2, families=2)), Refine(parse("40*RAAR + 40*ER"), max_deviance_ratio=explained)
    plain = ut.reconstruct(pattern, plan, workers=1)
    assert plain.verdict.trusted is False and plain.numbers["agreement"] > 0.25
    solution = ut.reconstruct(pattern, plan.with_stage(refine), workers=1)
    n = solution.numbers
    assert n["refined_agreement"] > 0.25 and n["refined"] == kept == (n.get("refined_explained", 9) <= explained)
    assert solution.verdict.trusted is False, "kept by a limit of one's own, which is no reason to trust it"
    assert torch.equal(solution.image, plain.image) != kept and n["families"] == 2
    with pytest.raises(InputError, match="max_deviance_ratio"):
        replace(refine, max_deviance_ratio=-1)


@pytest.mark.parametrize(
    ("errors", "explained", "hidden", "trusted"),
    [
        ((0.6,), 0.9, 0, True),
        ((0.6,), 1.5, 0, False),
        ((0.6,), None, 0, False),
        ((0.15,), 0.9, 0, True),
        ((0.15,), None, 0, None),
        ((0.6,), 0.9, 20, None),
        ((), 0.9, 0, None),
    ],
)
def test_what_explains_the_counts_is_trusted_though_no_other_ends_there(errors, explained, hidden, trusted):
    said = verdict(Evidence(0.03, errors, 8, 0, 0, hidden=hidden, refined=True, deviance_ratio=explained))
    assert said.trusted is trusted and ("explains the counts" in said.text) == (bool(errors) and explained == 0.9)
    assert verdict(Evidence(0.6, errors, 8, 0, 0, deviance_ratio=explained)).trusted is (False if errors else None)


@pytest.mark.parametrize(
    ("apart", "explained", "near", "rows"),
    [
        (0.0, 0.0, 0.1, [0, 2]),
        (0.0, 1.3, 0.1, [0, 2]),
        (0.0, 0.0, 3.0, [0, 2]),
        (0.0, 1.3, 3.0, [0, 1, 2]),
        (0.2, 1.3, 0.1, []),
        (0.2, 1.3, 0.0, []),
    ],
)
def test_all_are_refined_where_no_other_is_like_the_best(apart, explained, near, rows):
    """Three results: an object, another one, and the first with so much noise in it."""
    pattern, truth = crystal(photons=1e6)
    problem, x = ut.Problem.of(pattern), torch.fft.ifftshift(torch.from_numpy(truth))
    noise = torch.randn(2, *x.shape, 2, generator=torch.Generator().manual_seed(0))
    noise = torch.view_as_complex(noise) * x.abs().square().mean().sqrt()
    images = torch.stack([x, 9 * noise[0] + x, x + near * noise[1]])
    results = Population.of(problem, ut.State.of(images))
    refine = Refine(parse("2*ER"), min_disagreement=apart, max_deviance_ratio=explained)
    assert refine.rows_to_refine(problem, results) == rows
    assert refine.rows_to_refine(problem, results.rows([1])) == [0]
    plan = Plan(Search(SEARCH, starts=3, families=3), refine)
    assert plan.steps() == 3 * length(SEARCH) + (3 if explained else 2) * 2


@pytest.mark.parametrize(
    ("seed", "refine", "kept"),
    [
        (3, "20*RAAR + 20*ER", True),  # families that agree, and go on to do so
        (6, "20*RAAR + 20*ER", False),  # families that do not
        (3, f"2*Fit({TINY}, rate=0.0)", False),  # as drawn: nothing of the object
        (3, f"3*Fit({TINY}, rate=1e30)", False),  # nothing at all
        # alike, and cut away
        (3, "ShrinkWrap(threshold=0.5, sigma=0.5) + ResetSupport + 3*ER + ShrinkWrap(threshold=1.2, sigma=0.5)", False),
    ],
)
def test_a_refinement_is_kept_where_families_are_alike_after_it_and_given_up_elsewhere(seed, refine, kept):
    pattern, _ = crystal(photons=1e6, seed=seed)
    poor = Plan(Search(SEARCH, starts=2, families=2))
    plain = ut.reconstruct(pattern, poor, workers=1)
    solution = ut.reconstruct(pattern, poor.with_stage(Refine(parse(refine))), workers=1)
    n = solution.numbers
    assert n["refined"] == kept == (n["refined_agreement"] < 0.25 and n["log_likelihood_refined"] <= 1.25 * n["log_likelihood_plain"])
    assert n["log_likelihood_plain"] == plain.numbers["log_likelihood"] and "refined" not in plain.numbers
    assert n["log_likelihood"] == n["log_likelihood_refined" if kept else "log_likelihood_plain"]
    assert torch.equal(solution.image, plain.image) != kept
    assert ("refined by a deep prior" if kept else "given up") in solution.verdict.text


@pytest.mark.parametrize(("refine", "kept"), [("40*RAAR + 40*ER", True), (f"2*Fit({TINY}, rate=0.0)", False)])
def test_the_refinement_of_a_single_family_is_kept_where_the_half_deviance_falls(refine, kept):
    pattern, _ = crystal(photons=1e6)
    solution = ut.reconstruct(pattern, Plan(Search(SEARCH, starts=1), Refine(parse(refine))), workers=1)
    n = solution.numbers
    assert n["refined"] == kept == (n["log_likelihood_refined"] < n["log_likelihood_plain"]) and math.isnan(n["refined_agreement"])


def test_dark_counts_are_no_photons_of_the_object():
    rng = np.random.default_rng(5)
    pattern = measure(CLASSES["real"]((64, 64), rng), 1e5, rng, 2)[0]
    dark = np.full(pattern.shape, 220, np.float32)
    within = replace(pattern, intensity=np.where(pattern.measured, pattern.intensity + 220, 0).astype(np.float32), dark=dark)
    assert within.signal == pytest.approx(pattern.photons, rel=1e-5) and within.photons > 9 * within.signal
    assert auto.plan(ut.Problem.of(within)).stage(Refine) == auto.plan(ut.Problem.of(pattern)).stage(Refine)


def test_arrays_of_few_rows_get_no_deep_prior():
    rng = np.random.default_rng(5)
    pattern = measure(CLASSES["complex"]((8, 64), rng), 1e5, rng, 0)[0]
    assert auto.plan(ut.Problem.of(pattern)).stage(Refine) is None


@pytest.mark.parametrize(
    ("shape", "photons", "stop", "positivity", "refined"),
    [
        ((64, 64), 1e5, 0, False, True),
        ((64, 64), 1e4, 0, False, True),
        ((64, 64), 1e6, 0, False, True),
        ((64, 64), 1e6, 3, False, True),
        ((64, 64), 4e5, 0, False, True),
        ((32, 32, 32), 1e7, 0, False, True),
        ((64, 64), 1e6, 0, True, False),
        ((64, 64), 1e3, 0, False, False),
        ((64, 64), 1e5, 2, False, False),
        ((64, 64), 1e5, 0, True, False),
        ((128, 128), 2e5, 0, False, False),
        ((32, 32, 32), 3e5, 0, False, True),
        ((40, 40, 40), 3e6, 0, False, False),
    ],
)
def test_the_automatic_plan_refines_where_that_was_measured_to_help(shape, photons, stop, positivity, refined):
    rng = np.random.default_rng(5)
    pattern = measure(CLASSES["real"](shape, rng), photons, rng, stop)[0]
    problem = ut.Problem.of(pattern, positivity=positivity)
    refine = auto.plan(problem).stage(Refine)
    assert (refine is not None) == refined
    assert auto.plan(problem, fixed=True).stage(Refine) is None
    if not positivity:
        always = auto.method("refine", problem).stage(Refine)
        assert always is not None and always.min_disagreement == 0
    assert auto.method("classical", problem) == auto.plan(problem).without(Refine)
    assert (refine is not None and refine.min_disagreement > 0) == (refined and photons > 1e5), (
        "with many photons and in 3D only families that differ"
    )
    many = len(shape) == 2 and photons >= 1e6
    assert (refine is not None and refine.max_deviance_ratio > 0) == (refined and many), (
        "only with many photons, and in 2D, was the half deviance seen to tell"
    )


def test_a_refinement_brings_a_good_solution_nearer_to_the_truth():
    """Few photons: the object with counting noise in it goes in, a smoother one comes out."""
    pattern, truth = crystal((48, 48), 3e4, seed=5)
    wanted = torch.fft.ifftshift(torch.from_numpy(truth))
    problem = ut.Problem.of(pattern)
    inside = wanted.abs()[None] > 1e-2 * wanted.abs().max()
    from untwin.runs.launch import run_here

    state = ut.State.of(wanted[None], inside, seeds=(1,))
    noisy = run_here(problem, parse("50*ER"), state).state
    noisy = replace(noisy, x=problem.project_object(noisy.image, noisy.support), at=0)
    fit = parse(f"Plan(Search(ER), {auto.REFINE_ALWAYS.filled(steps=220, imitate=80)})").stage(Refine).recipe
    after = run_here(problem, fit, replace(noisy, image=noisy.x)).state
    before, now = (float(ut.align(x, wanted, 2).error[0]) for x in (noisy.x, after.image))
    assert now < 0.95 * before


def test_a_method_does_not_take_what_it_would_ignore():
    pattern, _ = crystal()
    with pytest.raises(InputError, match="unknown method 'dip'"):
        ut.reconstruct(pattern, method="dip")
    with pytest.raises(InputError, match="takes no recipe"):
        ut.reconstruct(pattern, "20*ER", method="refine")
    with pytest.raises(InputError, match="takes no support"):
        ut.reconstruct(pattern, method="siren", support=np.eye(32))
    with pytest.raises(InputError, match="complex object"):
        auto.method("double-dip", ut.Problem.of(pattern, positivity=True))


@pytest.mark.parametrize("name", ["double-dip", "siren", "drp"])
def test_a_prior_from_random_numbers_is_polished_and_judged(name):
    pattern, _ = crystal()
    plan = auto.method(name, ut.Problem.of(pattern), starts=2)
    _, *polish = plan.search.first.parts
    fit = next(a for a in _steps(plan.search.first) if isinstance(a, ut.algorithms.Fit))
    short = Plan(
        Search(
            ut.algorithms.Until(ut.rules.EMV(patience=5, burn_in=2), 8 * fit) + ut.algorithms.Rescale() + 5 * ut.algorithms.ER(),
            starts=2,
            families=2,
        )
    )
    solution = ut.reconstruct(pattern, short, workers=1)
    assert polish and solution.verdict.text and len(solution.starts) == 2
    assert int(solution.support.sum()) == 16 * 16, "nothing is known of the support but the box"
