"""Phase retrieval by priors: methods are plans, a refinement starts from every family's result, the verdict is that of any plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.errors import InputError
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve import auto
from untwin.solve.ensemble import Plan
from untwin.solve.recipe import length, parse

TINY = "DoubleDIP(Skip(depth=1, width=6, inputs=4, padding='replicate'))"


def crystal(shape=(32, 32), photons=1e5, seed=3):
    rng = np.random.default_rng(seed)
    return measure(CLASSES["defect"](shape, rng), photons, rng)


@pytest.mark.parametrize("name", auto.METHODS)
@pytest.mark.parametrize("shape", [(64, 64), (48, 48, 48)], ids=str)
def test_a_method_is_a_plan_and_its_text_is_the_plan(name, shape):
    problem = ut.Problem.of(crystal(shape)[0])
    plan = auto.method(name, problem)
    assert parse(repr(plan)) == plan and plan.families == 2 and plan.steps() > 100
    if name != "auto":
        assert "Fit(" in repr(plan)
        fits = [a for r in (plan.first, plan.refine) if r for a in _steps(r) if isinstance(a, ut.Fit)]
        assert fits[0].canvas(problem)[1:] == tuple(n // 2 for n in shape), "a box of half the array"


def _steps(recipe):
    from untwin.solve.recipe import steps

    return list(dict.fromkeys(steps(recipe)))


@pytest.mark.parametrize("shape", [(32, 32), (24, 24, 24)], ids=str)
def test_a_refinement_starts_from_the_results_and_is_judged_like_them(shape):
    pattern, truth = crystal(shape)
    first = parse("3*(15*HIO + ShrinkWrap(threshold=0.15, sigma=1.0)) + 20*ER")
    fit = parse(f"12*Fit({TINY}, imitate=6, grow=1, loss=Poisson(0.1), regularizer=TV(0.5))")
    plain = Plan(first, starts=2, families=2)
    solution = ut.reconstruct(pattern, replace(plain, refine=fit), workers=1)
    assert solution.image.shape == shape and bool(torch.view_as_real(solution.image).isfinite().all())
    assert solution.verdict.text and solution.numbers["families"] == 2 and "imitate=6" in solution.recipe
    assert bool((solution.image[~solution.support] == 0).all())
    other = ut.reconstruct(pattern, plain, workers=1)
    assert not torch.equal(solution.image, other.image)
    assert replace(plain, refine=fit).steps() == plain.steps() + 2 * length(fit)


def test_a_refinement_brings_a_good_solution_nearer_to_the_truth():
    """Few photons: the object with counting noise in it goes in, a smoother one comes out."""
    pattern, truth = crystal((48, 48), 3e4, seed=5)
    wanted = torch.fft.ifftshift(torch.from_numpy(truth))
    problem = ut.Problem.of(pattern)
    inside = wanted.abs()[None] > 1e-2 * wanted.abs().max()
    from untwin.solve.launch import run_here

    state = ut.State(x=wanted[None], image=wanted[None], support=inside, bounds=inside, seeds=(0,))
    noisy = run_here(problem, parse("50*ER"), state).state
    noisy = replace(noisy, x=problem.project_object(noisy.image, noisy.support), at=0)
    fit = parse(auto._REFINE.replace("350*", "150*").replace("imitate=100", "imitate=60"))
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
    until, *polish = plan.first.parts
    fit = until.recipe.recipe
    short = Plan(ut.Until(ut.EMV(patience=5, burn_in=2), 8 * fit) + ut.Settle() + 5 * ut.ER(), starts=2, families=2)
    solution = ut.reconstruct(pattern, short, workers=1)
    assert polish and solution.verdict.text and len(solution.starts) == 2
    assert int(solution.support.sum()) == 16 * 16, "nothing is known of the support but the box"
