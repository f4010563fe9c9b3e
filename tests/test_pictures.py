"""Real nonnegative objects that fill their box: the box from the counts, the penalized step, effort."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.data.dataset import simulated
from untwin.errors import InputError
from untwin.judge.trust import Evidence, verdict
from untwin.model.frame import frame, frame_widths
from untwin.runs import auto, pictures
from untwin.runs.population import Population, children
from untwin.runs.stages.guide import Guide
from untwin.runs.stages.reserve import Reserve
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.run import iterate
from untwin.solve.state import Member

GRID = 48


def pattern_of(a, photons=1e6, grid=GRID, seed=0):
    """The pattern of an array in a larger one, and the object in √counts, FFT order."""
    x = np.zeros((grid, grid))
    x[: a.shape[0], : a.shape[1]] = a
    f = np.abs(np.fft.fft2(x, norm="ortho")) ** 2
    scale = photons / f.sum()
    counts = np.random.default_rng(seed).poisson(scale * f).astype(np.float32)
    return simulated(counts, np.ones((grid, grid), dtype=bool)), torch.from_numpy(x * np.sqrt(scale)).float()


def blocks(shape, seed=0):
    """A picture of a few even patches."""
    coarse = np.random.default_rng(seed).uniform(0.2, 1, (4, 4))
    return coarse[np.ix_(np.arange(shape[0]) * 4 // shape[0], np.arange(shape[1]) * 4 // shape[1])]


def half_deviance(problem, x):
    return float(problem.loss(problem.predict(x), problem.counts.intensity, problem.measured)[0])


# the box


@pytest.mark.parametrize("shape", [(24, 24), (23, 17), (12, 24)])
def test_the_box_that_a_picture_fills_is_known_to_the_pixel(shape):
    pattern, _ = pattern_of(blocks(shape))
    assert frame_widths(pattern) == shape
    box = frame(pattern)
    assert box is not None and box.sum() == shape[0] * shape[1] and box[0, 0]


def test_no_crystal_fills_its_box_for_it():
    for kind in CLASSES:
        for seed in range(4):
            for photons in (1e4, 1e6):
                rng = np.random.default_rng([11, seed])
                assert frame_widths(measure(CLASSES[kind]((64, 64), rng), photons, rng, 0)[0]) is None


def test_neither_discs_nor_too_large_objects_nor_hidden_pixels_have_a_box():
    y, x = np.mgrid[-12:12, -12:12] + 0.5
    assert frame_widths(pattern_of((x**2 + y**2 < 144).astype(float))[0]) is None
    assert frame_widths(pattern_of((abs(x) + abs(y) < 12).astype(float))[0]) is None
    assert frame_widths(pattern_of(blocks((36, 36)))[0]) is None
    pattern, _ = pattern_of(blocks((24, 24)))
    measured = pattern.measured.copy()
    measured[3, 4] = False
    assert frame_widths(replace(pattern, measured=measured)) is None


# the step


def test_the_penalized_step_lowers_what_it_says_and_keeps_the_constraint():
    pattern, truth = pattern_of(blocks((16, 16)), grid=32)
    problem = ut.Problem.of(pattern, positivity=True)
    inside = truth > 0
    noisy = (truth + 3 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))).clamp(min=0).where(inside, torch.zeros(()))

    def total(x, weight):
        rows, columns = x[:15, :16] - x[1:16, :16], x[:16, :15] - x[:16, 1:16]
        return half_deviance(problem, x[None]) + weight * float(rows.abs().sum() + columns.abs().sum())

    ends = {}
    for weight in (0.0, 0.5):
        for state in iterate(problem, ut.parse(f"200*Penalized(weight={weight})"), ut.State.of(noisy[None], inside)):
            assert float(state.x.min()) >= 0 and not state.x[0][~inside].any()
        ends[weight] = state.x[0]
        assert total(state.x[0], weight) < total(noisy, weight)
    errors = [float((ends[weight] - truth).norm() / truth.norm()) for weight in (0.0, 0.5)]
    assert errors[1] < errors[0] < float((noisy - truth).norm() / truth.norm())


def test_the_penalized_step_treats_every_start_alone():
    pattern, truth = pattern_of(blocks((16, 16)), grid=32)
    problem = ut.Problem.of(pattern, positivity=True)
    both = torch.stack([truth, truth.flip(0, 1).roll((16, 16), (0, 1))]) + 1
    inside = torch.stack([x > 1 for x in both])
    recipe = ut.parse("20*Penalized(weight=Ramp(5, 0.5))")
    together = list(iterate(problem, recipe, ut.State.of(both, inside)))[-1]
    for i in range(2):
        alone = list(iterate(problem, recipe, ut.State.of(both[[i]], inside[[i]])))[-1]
        torch.testing.assert_close(together.x[i], alone.x[0], rtol=1e-4, atol=1e-3)


def test_the_penalized_step_is_for_real_objects():
    pattern, _ = pattern_of(blocks((16, 16)), grid=32)
    with pytest.raises(InputError, match="real object"):
        ut.reconstruct(pattern, "10*Penalized", starts=1, workers=1)
    for text in ("Penalized(weight=-1)", "Penalized(rate=0)"):
        with pytest.raises(InputError):
            ut.parse(text)


# the plan


def test_a_mixed_child_is_the_mean_of_two_parents():
    pattern, truth = pattern_of(blocks((16, 16)), grid=32)
    problem = ut.Problem.of(pattern, positivity=True)
    noise = torch.rand((4, 32, 32), generator=torch.Generator().manual_seed(1))
    state = ut.State.of((truth + noise).where(truth > 0, torch.zeros(())), truth > 0)
    parents = Population.of(problem, state)
    members = tuple(Member(seed, i) for i, seed in enumerate((5, 6, 7)))
    plain, mixed = (children(problem, parents, members, mix).x for mix in (False, True))
    best = parents.order(problem)[:2]
    torch.testing.assert_close(plain[0], state.x[best[0]])
    for child in mixed:
        torch.testing.assert_close(child, state.x[best].mean(0))


def test_generations_end_where_families_agree():
    pattern, truth = pattern_of(blocks((16, 16)), grid=32)
    support = np.fft.fftshift((truth > 0).numpy())
    plan = "Plan(Search(ER, starts=4, families=2), Guide((ER,), generations=50, max_disagreement={}))"
    taken = []
    for limit in (0.0, 0.9):
        steps = []
        ut.reconstruct(pattern, plan.format(limit), support=support, positivity=True, workers=1, report=lambda n, *_, s=steps: s.append(n))
        taken.append(sum(steps))
    assert taken[1] < taken[0]


def test_the_plan_of_a_picture_and_only_of_that():
    pattern, _ = pattern_of(blocks((24, 24)))
    real, unknown = ut.Problem.of(pattern, positivity=True), ut.Problem.of(pattern)
    assert "FrameSupport() + RandomStart()" in repr(auto.plan(real))
    assert "Penalized" in repr(auto.plan(real, fixed=True)) and "FrameSupport" not in repr(auto.plan(real, fixed=True))
    assert "Penalized" not in repr(auto.plan(unknown)) + repr(auto.plan(unknown, fixed=True))


def test_effort_is_a_factor_on_what_doubt_may_cost():
    pattern, _ = pattern_of(blocks((64, 64)), grid=128)
    problem = ut.Problem.of(pattern, positivity=True)

    def most(plan):
        """Iterations times pixels where no two families ever agree."""
        size = plan.size()
        reserve = plan.stage(Reserve)
        assert reserve is not None
        family = sum(s.steps(size) for s in plan.stages[1:4]) / size.families
        return (plan.steps() + family * reserve.families) * problem.pattern.intensity.size

    work = [most(auto.plan(problem, effort=effort)) for effort in (0.5, 1, 2, 4)]
    assert all(a < b for a, b in pairwise(work))
    assert all(w <= e * pictures.WORK.value for w, e in zip(work, (0.5, 1, 2, 4)))
    assert auto.plan(problem, effort=1) == auto.plan(problem)
    assert auto.plan(problem, starts=6).stage(Reserve) is None
    assert auto.plan(problem, effort=0.01).stages[3] == replace(auto.plan(problem).stages[3], generations=0)


def test_elsewhere_effort_is_a_factor_on_starts_and_on_families_in_reserve():
    problem = ut.Problem.of(pattern_of(blocks((64, 64)), grid=128)[0])
    plans = [auto.plan(problem, effort=effort) for effort in (0.01, 1, 3)]
    assert [p.search.starts for p in plans] == [2, 24, 72]
    assert [p.stage(Reserve).families for p in plans] == [0, 2, 6]
    assert plans[1] == auto.plan(problem)
    assert auto.plan(problem, starts=6, effort=3) == auto.plan(problem, starts=6)


@pytest.mark.parametrize("effort", [0, -1, float("nan"), float("inf"), True, "2"])
def test_an_effort_of_nothing_is_refused(effort):
    pattern, _ = pattern_of(blocks((16, 16)), grid=32)
    with pytest.raises(InputError, match="effort"):
        ut.reconstruct(pattern, effort=effort)
    with pytest.raises(InputError, match="effort"):
        ut.reconstruct(pattern, "10*ER", effort=2)
    with pytest.raises(InputError, match="effort"):
        ut.reconstruct(pattern, method="drp", effort=2)


def test_a_picture_is_found_with_and_without_its_square():
    pattern, truth = pattern_of(blocks((20, 20), seed=3), grid=40)
    support = np.fft.fftshift((truth > 0).numpy())
    for given in (support, None):
        found = ut.reconstruct(pattern, positivity=True, support=given, starts=6, workers=1)
        error = float(ut.align(torch.fft.ifftshift(found.image)[None], truth.to(torch.complex64), 2).error[0])
        assert error < 0.12
        assert isinstance(ut.parse(found.recipe).stage(Guide), Guide)


# the verdict


def test_a_picture_behind_a_blur_is_found_with_the_blur_in_the_model():
    pattern, truth = pattern_of(blocks((24, 24)))
    f = torch.fft.fft2(truth, norm="ortho").abs().double() ** 2
    q = torch.fft.fftfreq(GRID, dtype=torch.float64)
    envelope = torch.exp(-2 * (torch.pi * 0.4) ** 2 * (q[:, None] ** 2 + q**2))
    counts = np.random.default_rng(1).poisson(torch.fft.ifft2(torch.fft.fft2(f) * envelope).real.clamp(min=0).numpy())
    box = np.fft.fftshift(truth.numpy() > 0)
    s = ut.reconstruct(simulated(counts.astype(np.float32), np.ones_like(box)), positivity=True, support=box, starts=6, seed=2, workers=1)
    error = float(ut.align(torch.fft.ifftshift(s.image)[None].to(torch.complex64), truth.to(torch.complex64), 2).error[0])
    assert error < 0.05 and s.numbers["coherence_sigma"] == pytest.approx(0.4, abs=0.03)


def test_a_picture_is_judged_by_its_contrast_and_by_its_photons():
    evidence = Evidence(r_factor=0.05, errors=(0.04,), starts=8, agreeing=8, twins=0, contrast=1.0)
    assert verdict(evidence).trusted is True
    assert verdict(replace(evidence, contrast=0.5)).trusted is True
    assert verdict(replace(evidence, contrast=0.3)).trusted is None
    assert verdict(replace(evidence, contrast=0.1)).trusted is False
    even = verdict(replace(evidence, contrast=0.003, errors=(0.0004,)))
    assert even.trusted is True and "error 0.020 in units of 0.02" in even.text, "a uniform object has no details"
    assert verdict(replace(evidence, contrast=0.003, errors=(0.004,))).trusted is None
    few = verdict(replace(evidence, photons=20.0))
    assert few.trusted is None and "20 photons" in few.text
