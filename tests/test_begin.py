"""Where a start begins: settings that are drawn, dealt or moved, supports drawn from nothing, and a random object in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samples import REAL, close, lopsided, pattern, problem, run, state, thing, wave
from untwin.errors import InputError
from untwin.model.outline import box_widths, outline
from untwin.model.problem import Problem
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.begin import BoxSupport, RandomStart, ResetSupport, TriangleSupport, begin, random_object
from untwin.solve.detwin import Detwin
from untwin.solve.recipe import Deal, Draw, Ramp, value


def at(progress: float, seeds=(0, 1, 2)):
    return replace(state(torch.zeros(len(seeds), 4, 4), lopsided((4, 4)), seeds), progress=progress)


# settings


def test_a_ramp_is_geometric_or_linear():
    assert value(Ramp(2.0, 0.5), at(0), "s").tolist() == [2, 2, 2]
    assert value(Ramp(2.0, 0.5), at(0.5), "s").tolist() == pytest.approx([1, 1, 1])
    assert value(Ramp(2.0, 0.5), at(1), "s").tolist() == pytest.approx([0.5] * 3)
    assert value(Ramp(2.0, 0.5, linear=True), at(0.5), "s").tolist() == pytest.approx([1.25] * 3)
    assert value(Ramp(-1.0, 1.0, linear=True), at(0.25), "s").tolist() == pytest.approx([-0.5] * 3)


@given(st.integers(0, 2**31), st.floats(-5, 5), st.floats(0, 5))
def test_a_draw_is_a_function_of_the_seed_and_of_its_label_only(seed, low, width):
    d = Draw(low, low + width)
    one = value(d, at(0.3, (seed, seed + 1)), "sigma")
    two = value(d, at(0.9, (seed + 1, 7, seed)), "sigma")
    assert one[0] == two[2] and one[1] == two[0]
    assert low <= float(one.min()) and float(one.max()) <= low + width
    if width > 1e-3:
        assert one[0] != one[1] and one[0] != value(d, at(0.3, (seed,)), "threshold")[0]


def test_draws_fill_their_interval():
    v = value(Draw(2, 4), at(0, tuple(range(500))), "x")
    assert v.dtype == torch.float64
    assert abs(float(v.mean()) - 3) < 0.1 and float(v.min()) < 2.05 and float(v.max()) > 3.95


def test_a_ramp_draws_its_ends_once():
    r = Ramp(Draw(1, 2), Draw(0.1, 0.2))
    first, last = value(r, at(0), "s"), value(r, at(1), "s")
    assert torch.equal(first, value(Draw(1, 2), at(0.7), "s"))
    assert bool(((last > 0.1) & (last < 0.2)).all()) and len(set(last.tolist())) == 3
    middle = value(r, at(0.5), "s")
    assert middle.tolist() == pytest.approx((first * last).sqrt().tolist())


def test_a_deal_goes_by_the_number_of_the_start():
    assert value(Deal((0.1, 0.2, 0.3)), at(0.4, (5, 9, 7, 3, 8)), "t").tolist() == pytest.approx([0.1, 0.2, 0.3, 0.1, 0.2])
    assert value(0.25, at(0.4), "t").tolist() == [0.25] * 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Draw(2, 1),
        lambda: Draw(0, float("inf")),
        lambda: Ramp(0, 1),
        lambda: Ramp(1, float("nan")),
        lambda: Ramp(True, 2),
        lambda: Deal(()),
        lambda: Deal([1, 2]),
        lambda: Deal(("a",)),
    ],
)
def test_settings_that_mean_nothing_are_refused(make):
    with pytest.raises(InputError):
        make()


# supports that are drawn from nothing


def simulated(name: str, seed: int = 0):
    return measure(CLASSES[name]((64, 64), np.random.default_rng(seed)), 1e6, np.random.default_rng(100 + seed))


def test_a_box_is_as_wide_as_it_says_and_a_triangle_is_half_of_it():
    p, _ = simulated("complex")
    q = Problem(p)
    s = run(q, BoxSupport(), state(torch.zeros(2, 64, 64), torch.ones(64, 64, dtype=torch.bool)))
    box = np.fft.fftshift(s.support[0].numpy())
    for axis, w in enumerate(box_widths(p, 1.05)):
        assert np.ptp(np.argwhere(box)[:, axis]) + 1 == 2 * (w // 2) + 1
    assert box.sum() == np.prod(np.ptp(np.argwhere(box), axis=0) + 1) and torch.equal(s.support, s.bounds)
    t = run(q, TriangleSupport(), s)
    assert int(t.support[0].sum()) / box.sum() == pytest.approx(0.5, abs=0.03)
    assert not bool((t.support & ~t.bounds).any()) and torch.equal(t.bounds, s.bounds)
    turned = t.support.flip((1, 2)).roll((1, 1), (1, 2))
    assert float((turned & t.support).sum()) / float(t.support.sum()) < 0.1  # the twin does not fit
    assert torch.equal(run(q, ResetSupport(), t).support, s.bounds)


def test_a_triangle_halves_a_box_in_3d_too():
    p = problem(pattern(thing((14, 15, 12))))
    bounds = torch.zeros(14, 15, 12, dtype=torch.bool)
    bounds[:4, :5, :3] = bounds[:4, :5, -2:] = True
    t = TriangleSupport().step(p, state(torch.zeros(1, 14, 15, 12), bounds))
    assert float(t.support.sum()) / float(bounds.sum()) == pytest.approx(0.5, abs=0.1)


# the object


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("shape", [(16, 15), (8, 7, 9)])
def test_a_random_object_is_its_seeds_in_the_support_and_as_bright_as_the_data(shape, real):
    p = problem(pattern(thing(shape, 1, real), hide=0.1), REAL if real else None)
    s = lopsided(shape).expand(3, *shape)
    x = random_object(p, s, (5, 6, 5))
    assert torch.equal(x[0], x[2]) and close(x[1], x[0]) > 0.3
    assert torch.equal(x, random_object(p, s, (5, 6, 5))) and x.is_complex() is not real
    assert not bool((x.where(~s, x.new_zeros(())) != 0).any())
    power = float(p.counts.amplitude[p.counts.imposed].square().sum())
    assert x.abs().square().flatten(1).sum(1).tolist() == pytest.approx([power] * 3, rel=1e-6)
    if real:
        assert float(x.min()) >= 0
    else:
        assert float((x[0][s[0]] / x[0][s[0]].abs()).mean().abs()) < 0.5


def test_a_start_begins_with_the_outline_or_with_what_it_is_given():
    p, _ = simulated("poly")
    q = Problem(p)
    s = begin(q, (3, 4))
    found = outline(p)
    assert np.array_equal(s.support[1].numpy(), found.support) and np.array_equal(s.bounds[0].numpy(), found.bounds)
    assert torch.equal(s.x, random_object(q, s.support, (3, 4))) and s.at == s.step == 0 and s.seeds == (3, 4)
    given_support = lopsided((64, 64))
    x = wave((64, 64), 1, 2)
    s = begin(q, (3, 4), given_support, x)
    assert s.x is x and torch.equal(s.support[1], given_support) and torch.equal(s.bounds, s.support)


def test_random_starts_afresh_in_the_present_support():
    p = problem(pattern(thing((16, 15))))
    s = run(p, RandomStart(), state(wave((16, 15), 1, 2), lopsided((16, 15)), (8, 9)))
    assert torch.equal(s.x, random_object(p, s.support, (8, 9))) and s.image is s.x


# detwin


@pytest.mark.parametrize("shape", [(16, 15), (15, 9), (8, 7, 9)])
def test_detwin_keeps_one_side_of_the_support_for_one_step(shape):
    p = problem(pattern(thing(shape)))
    s = state(wave(shape, 2, 2), lopsided(shape))
    d = run(p, Detwin(), s)
    y = p.project_modulus(s.x)
    assert torch.equal(d.support, s.support) and close(d.image, y) < 1e-14
    kept = d.x != 0
    share = float(kept.sum()) / float(s.support.sum())
    assert 0.35 < share < 0.75 and torch.equal(d.x[kept], y[kept]) and not bool((kept & ~s.support).any())
    rows = [bool(r.any()) for r in kept[0].movedim(0, 0).flatten(1)]
    assert sum(rows) < sum(bool(r.any()) for r in s.support[0].flatten(1))


def test_detwin_moves_with_the_support():
    p = problem(pattern(thing((16, 15))))
    x, s = wave((16, 15), 2, 1), lopsided((16, 15))
    plain = run(p, Detwin(), state(x, s))
    moved = run(p, Detwin(), state(x.roll((7, 3), (1, 2)), s.roll((7, 3), (0, 1))))
    assert close(moved.x, plain.x.roll((7, 3), (1, 2))) < 1e-12


@pytest.mark.parametrize("margin", [0.9, 11])
def test_a_margin_out_of_range_is_refused(margin):
    with pytest.raises(InputError, match="margin"):
        BoxSupport(margin=margin)
