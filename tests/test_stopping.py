"""Rules that follow the images: their statistics are those of the papers, they keep the least of them, and they do not see what the
physics cannot tell apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import untwin as ut
from samples import lopsided, pattern, problem, state, thing, wave
from test_fit import DIP, SMALL, blank, far, last, picture
from untwin.errors import InputError
from untwin.model.constraints import Nonnegative, Support
from untwin.model.problem import Problem
from untwin.runs.names import parse, parse_rule
from untwin.solve.heldout import HeldOut, Thinned
from untwin.solve.recipe import Algorithm, Until
from untwin.solve.run import iterate
from untwin.solve.selfvalidation import SelfValidation
from untwin.solve.state import State
from untwin.solve.stopping import Plateau
from untwin.solve.variance import EMV, WMV


@dataclass(frozen=True)
class Film(Algorithm):
    """Step k shows frame k of each start; the image is the frame, too, plus `beside`."""

    frames: object
    beside: float = 0.0

    def __hash__(self):
        return 1

    def step(self, problem, state):
        x = self.frames[:, state.step]
        return state.replace(x=x, image=x + self.beside)


def film(n: int = 60, starts: int = 2, shape=(1, 5, 6), seed: int = 0) -> torch.Tensor:
    """Noise around a picture, loud, quiet, loud again: quietest at two thirds for start 0, at one third for start 1."""
    g = torch.Generator().manual_seed(seed)
    k = torch.arange(n)
    centre = torch.tensor([2 * n / 3, n / 3, n / 2])[:starts, None]
    loud = 0.05 + ((k - centre).abs() / n)
    return 0.5 + loud.reshape(starts, n, 1, 1, 1) * torch.randn((starts, n, *shape), generator=g)


def shown(rule, frames: torch.Tensor, beside: float = 0.0) -> list[State]:
    p = ut.Picture(torch.zeros(frames.shape[2:]))
    return list(iterate(p, Until(rule, frames.shape[1] * Film(frames, beside)), blank(p, tuple(range(len(frames))))))


def test_wmv_is_the_variance_of_the_window():
    frames = film()
    states = shown(WMV(window=7, patience=1000, burn_in=0), frames)
    for k, s in enumerate(states[:-1]):
        value = s.rule_state.value
        if k < 6:
            assert bool(value.isnan().all())
            continue
        window = frames[:, k - 6 : k + 1].double()
        direct = (window - window.mean(1, keepdim=True)).square().sum((2, 3, 4)).mean(1) / 30
        assert torch.allclose(value, direct, rtol=1e-6)


def test_the_running_sums_of_wmv_stay_exact_over_many_frames():
    frames = 1000 + film(400, 1)
    value = shown(WMV(window=20, patience=1000), frames)[-2].rule_state.value
    window = frames[:, -20:].double()
    direct = (window - window.mean(1, keepdim=True)).square().sum((2, 3, 4)).mean(1) / 30
    assert torch.allclose(value, direct, rtol=1e-5)


def test_emv_is_its_recursion():
    frames = film()
    mean, variance = frames[:, 0], torch.zeros(2, dtype=torch.float64)
    states = shown(EMV(alpha=0.2, burn_in=3, patience=1000), frames)
    for k, s in enumerate(states[:-1]):
        if k:
            away = frames[:, k] - mean
            variance = 0.8 * (variance + 0.2 * away.double().square().sum((1, 2, 3)) / 30)
            mean = 0.8 * mean + 0.2 * frames[:, k]
        assert bool(s.rule_state.value.isnan().all()) if k < 3 else torch.allclose(s.rule_state.value, variance, rtol=1e-5)


@pytest.mark.parametrize(
    "rule", [WMV(window=8, patience=1000, tolerance=0.0, burn_in=0), EMV(patience=1000, tolerance=0.0, burn_in=5)], ids=repr
)
def test_a_rule_keeps_the_image_of_the_least_of_its_statistic_for_each_start(rule):
    frames = film()
    states = shown(rule, frames, beside=3.0)
    values = torch.stack([s.rule_state.value for s in states[:-1]]).nan_to_num(nan=math.inf)
    at = values.argmin(0)
    assert abs(int(at[0]) - 40) < 14 and abs(int(at[1]) - 20) < 14, "the quiet part of each film"
    for row in range(2):
        assert torch.equal(states[-1].image[row], frames[row, at[row]] + 3) and torch.equal(states[-1].x[row], frames[row, at[row]])
        assert int(states[-2].rule_state.at[row]) == int(at[row]) + 1, "step 1 shows frame 0"


def test_the_window_mean_is_that_of_the_best_window():
    frames = film()
    states = shown(WMV(window=8, patience=1000, tolerance=0.0, burn_in=0, mean=True), frames)
    at = torch.stack([s.rule_state.value for s in states[:-1]]).nan_to_num(nan=math.inf).argmin(0)
    for row in range(2):
        assert torch.allclose(states[-1].image[row], frames[row, int(at[row]) - 7 : int(at[row]) + 1].mean(0), atol=1e-6)


@pytest.mark.parametrize("rule", [WMV(window=8, patience=6), EMV(patience=6, burn_in=2), WMV(window=4, patience=3, tolerance=0.05)])
def test_a_rule_stops_after_its_patience_and_each_start_on_its_own(rule):
    frames = film()
    together = shown(rule, frames)
    assert together[-2].step < 60 and bool(together[-2].rule_state.stopped.all())
    for row in range(2):
        alone = shown(rule, frames[row : row + 1])
        assert torch.equal(alone[-1].image[0], together[-1].image[row])
        stop = next(k for k, s in enumerate(alone[:-1]) if bool(s.rule_state.stopped.all()))
        assert alone[stop].step - int(alone[stop].rule_state.at[0]) == rule.patience


def test_until_there_is_a_statistic_the_last_image_is_kept():
    frames = film(10)
    assert torch.equal(shown(WMV(window=50), frames)[-1].image, frames[:, -1])


def test_a_burn_in_is_waited_for():
    frames = film()
    states = shown(WMV(window=5, patience=1000, burn_in=30), frames)
    assert int(states[-2].rule_state.at.min()) >= 30


def test_the_numbers_of_the_papers_have_a_name():
    paper = WMV.published()
    assert (paper.window, paper.patience, paper.tolerance, paper.burn_in) == (100, 1000, 0, 0)
    paper = EMV.published()
    assert (paper.alpha, paper.patience, paper.tolerance, paper.burn_in) == (0.1, 1000, 0, 100)
    assert all(parse_rule(repr(r)) == r for r in (WMV(), EMV(), WMV.published(), EMV.published()))
    assert (SelfValidation().window, SelfValidation().patience, SelfValidation().rate) == (256, 500, 1e-3)


@pytest.mark.parametrize("rule", [WMV(window=6, patience=1000, mean=True), EMV(patience=1000, burn_in=3, mean=True)], ids=repr)
def test_what_the_far_field_cannot_tell_apart_is_no_variance(rule):
    shape = (14, 15)
    p = problem(pattern(thing(shape, 1)))
    g = torch.Generator().manual_seed(1)
    still = thing(shape, 1) + 0.05 * torch.stack([wave(shape, 10 + k) for k in range(20)])
    turned = torch.stack(
        [
            x.roll((int(torch.randint(-4, 5, (), generator=g)), int(torch.randint(-4, 5, (), generator=g))), (0, 1))
            * torch.polar(torch.tensor(1.0).double(), 6 * torch.rand((), generator=g, dtype=torch.float64))
            for x in still
        ]
    )
    values = []
    for frames in (still, turned):
        states = list(iterate(p, Until(rule, 20 * Film(frames[None])), state(still[:1], lopsided(shape))))
        values.append([float(s.rule_state.value[0]) for s in states[:-1] if not bool(s.rule_state.value.isnan())])
        error = float(ut.align(states[-1].image, thing(shape, 1), 2).error[0])
        assert error < 0.1, "the mean of a drifting film is sharp"
    assert np.allclose(*values, rtol=0.05)


# data that the steps do not see


def test_held_out_values_are_not_seen_by_the_steps_and_the_statistic_sees_nothing_else():
    p, _ = picture()
    rule = HeldOut(share=0.2)
    hidden = rule.hidden(p)
    assert torch.equal(hidden[0], hidden[1]) and 0.05 < float(hidden.double().mean()) < 0.4
    spoilt = replace(p, y=torch.where(hidden, torch.full_like(p.y, 0.3), p.y))
    recipe = Until(rule, 4 * ut.algorithms.Fit(DIP))
    a, b = list(iterate(p, recipe, blank(p))), list(iterate(spoilt, recipe, blank(p)))
    assert all(torch.equal(s.x, t.x) for s, t in zip(a[:-1], b[:-1])), "what is hidden cannot matter"
    want = (a[0].image - p.y)[0][hidden].double().square().sum()
    assert float(a[0].rule_state.value[0]) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.parametrize("rule", [HeldOut(share=0.1), Thinned(share=0.2)], ids=repr)
def test_the_data_of_the_rule_and_of_the_steps_are_two(rule):
    q, s = far((16, 15))
    given = rule.problem_for_steps(q)
    if isinstance(rule, HeldOut):
        assert not bool((given.measured & rule.hidden(q)).any()) and bool((given.measured | rule.hidden(q) | ~q.measured).all())
    else:
        back = q.counts.intensity - given.counts.intensity
        assert float(back.min()) >= 0 and float((back - back.round()).abs().max()) == 0
        assert float(back.sum() / q.counts.intensity.sum()) == pytest.approx(0.2, abs=0.02)
        assert torch.allclose(given.counts.amplitude.square(), given.counts.intensity, rtol=1e-4)
    after = last(q, Until(rule, 6 * ut.algorithms.Fit(ut.priors.DoubleDIP(SMALL))), s)
    assert bool(after.image.isfinite().all())


def test_an_image_from_thinned_counts_is_as_bright_as_all_of_them():
    q, s = far((16, 15))
    q = Problem(pattern(thing((16, 15), 1), photons=2e4))
    after = last(q, Until(Thinned(share=0.3), 6 * ut.algorithms.Fit(ut.priors.DoubleDIP(SMALL))), s)
    assert float(q.predict(after.image)[0].sum() / q.counts.intensity.sum()) == pytest.approx(1, abs=0.03)


def test_a_real_pattern_is_held_out_with_its_mirror_image():
    q, _ = far((12, 13), real=True)
    given = HeldOut(share=0.2).problem_for_steps(q)
    hidden = q.counts.imposed & ~given.counts.imposed
    assert torch.equal(hidden, hidden.flip((0, 1)).roll((1, 1), (0, 1))) and bool(hidden.any())


PROBLEMS = {
    "picture": lambda: picture(shape=(3, 16, 20))[0],
    "complex": lambda: problem(pattern(thing((18, 15), 1), hide=0.1, photons=1e5)),
    "real": lambda: problem(pattern(thing((64, 64), 1, real=True), hide=0.1, photons=1e5), Support() & Nonnegative()),
    "real, small": lambda: problem(pattern(thing((32, 32), 1, real=True), photons=1e5), Support() & Nonnegative()),
    "real, half a pixel off": lambda: problem(pattern(thing((17, 16), 1, real=True), (0.5, 0.5), photons=1e5), Support() & Nonnegative()),
}


def disturbed(p, where):
    """The problem with other data there."""
    if isinstance(p, ut.Picture):
        return replace(p, y=p.y + where)
    return p.recounted(p.pattern.intensity + 9.0 * (where & p.measured).numpy())


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_the_statistic_sees_exactly_what_the_steps_do_not(kind, share):
    p = PROBLEMS[kind]()
    rule = HeldOut(share=share)
    x = torch.rand(2, *p.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x if p.real or kind == "picture" else x.to(torch.complex128)
    s = rule.begin(p, State.of(x))
    hidden, shown = s.rule_state.aux["hidden"], rule.problem_for_steps(p).measured
    assert torch.equal(hidden, p.measured & ~shown) and torch.equal(p.measured, hidden | shown)
    assert int(hidden.sum()) >= 0.6 * share * int(p.measured.sum()), "the statistic rests on as many values as the share says"
    value = rule.statistic(p, s, s.rule_state.aux)[0]
    assert bool((value > 0).all())
    other_steps, other_rule = disturbed(p, shown), disturbed(p, hidden)
    assert torch.equal(rule.statistic(other_steps, s, s.rule_state.aux)[0], value), "what the steps are fitted to does not count"
    assert bool((rule.statistic(other_rule, s, s.rule_state.aux)[0] != value).all()), "what is hidden from them does"
    assert torch.equal(rule.problem_for_steps(other_rule).misfit(x), rule.problem_for_steps(p).misfit(x)), "and they do not see it"


@pytest.mark.parametrize("rule", [Plateau(), WMV(window=3), EMV()], ids=repr)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_rule_that_hides_nothing_hands_the_steps_the_problem_itself(kind, rule):
    p = PROBLEMS[kind]()
    assert rule.problem_for_steps(p) is p


@pytest.mark.parametrize("kind", ["complex", "real"])
def test_thinned_photons_are_divided_and_none_is_seen_twice(kind):
    p = PROBLEMS[kind]()
    rule = Thinned(share=0.2)
    s = rule.begin(p, State.of(torch.ones(1, *p.shape)))
    assert torch.equal(s.rule_state.aux["back"] + rule.problem_for_steps(p).counts.intensity, p.counts.intensity)


def test_thinned_counts_that_are_almost_whole_leave_no_negative_ones():
    counts = pattern(thing((12, 12)))
    almost = replace(counts, intensity=(counts.intensity.round() * 0.9999).astype(np.float32))
    assert float(Thinned(share=0.9).problem_for_steps(problem(almost)).counts.intensity.min()) >= 0


def test_held_out_values_tell_when_noise_is_being_fitted():
    """A grid with a smoothness that is let go: the free loss falls and rises while the loss of what is fitted falls throughout."""
    p, truth = picture(noise=0.3, shape=(1, 40, 40))
    fit = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=2, width=24, inputs=8), jitter=0.0, rate=0.02))
    states = list(iterate(p, Until(HeldOut(share=0.2, patience=100), 400 * fit), blank(p, (3,))))
    assert states[-2].step < 400, "it has stopped"
    errors = [float((s.image[0] - truth).square().mean()) for s in states]
    assert errors[-1] < errors[-2], "what is kept is better than the last"
    assert errors[-1] < 1.4 * min(errors)


def test_a_picture_of_counts_is_thinned_and_comes_back_as_bright():
    x = 0.2 + 0.6 * torch.rand(1, 12, 14, generator=torch.Generator().manual_seed(0))
    y = torch.poisson(500 * x, generator=torch.Generator().manual_seed(1))
    p, rule = ut.Picture(y, lambda v: v, loss=ut.losses.Poisson(0.1)), Thinned(share=0.25)
    with pytest.raises(InputError, match="linear physics"):
        last(p, Until(rule, 2 * ut.algorithms.Fit(DIP)), blank(p))
    p = ut.Picture(y, loss=ut.losses.Poisson(0.1))
    left = rule.problem_for_steps(p).y
    assert float(left.sum() / y.sum()) == pytest.approx(0.75, abs=0.01) and bool((left == left.round()).all()) and bool((left <= y).all())
    shown_left = last(p, Until(rule, 3 * Film(left.expand(1, 3, 1, 12, 14))), blank(p))
    assert torch.allclose(shown_left.image[0], left / 0.75)
    assert bool((last(p, Until(rule, 30 * ut.algorithms.Fit(ut.priors.Grid())), blank(p)).image > 0).all())


def test_thinning_needs_a_pattern_of_counts():
    p, _ = picture()
    with pytest.raises(InputError, match="whole counts and the loss Poisson"):
        last(p, Until(Thinned(), 2 * ut.algorithms.Fit(DIP)), blank(p))
    q = problem(pattern(thing((12, 12))))
    with pytest.raises(InputError, match="whole counts"):
        last(q, Until(Thinned(), 2 * ut.algorithms.ER()), state(thing((12, 12))[None], lopsided((12, 12))))
    with pytest.raises(InputError, match="larger share"):
        last(p, Until(HeldOut(share=1e-9), 2 * ut.algorithms.Fit(DIP)), blank(p))


def test_self_validation_is_least_where_frames_are_like_those_before():
    frames = film(40, 1, (1, 16, 16)).clamp(0, 1)
    states = shown(SelfValidation(window=8, patience=1000, size=16, rate=0.01), frames)
    values = torch.stack([s.rule_state.value for s in states[:-1]])
    assert bool(values[:7].isnan().all()) and bool(values[7:].isfinite().all())
    assert 14 <= int(values.nan_to_num(nan=math.inf).argmin()) <= 39
    with pytest.raises(InputError, match="two dimensions"):
        shown(SelfValidation(window=8, size=16), torch.rand(1, 4, 1, 5, 5, 5))


@pytest.mark.parametrize("text", ["WMV(window=30, mean=True)", "EMV(alpha=0.3)", "HeldOut(share=0.1, seed=3)", "Thinned()"])
def test_the_text_of_a_rule_is_the_rule(text):
    recipe = parse(f"Until({text}, 20*Fit(prior=DoubleDIP()))")
    assert parse(repr(recipe)) == recipe and repr(recipe.rule) == text


@pytest.mark.parametrize(
    "text",
    [
        "WMV(patience=0)",
        "WMV(window=2.5)",
        "EMV(alpha=0)",
        "EMV(burn_in=-1)",
        "HeldOut(share=0)",
        "Thinned(share=2)",
        "SelfValidation(size=40)",
    ],
)
def test_settings_out_of_range_are_refused(text):
    with pytest.raises(InputError):
        parse(f"Until({text}, 3*ER)")
