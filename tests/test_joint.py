"""A picture and the kernel that blurred it, fitted together: two priors, one fit, whatever else knows of neither."""

from __future__ import annotations

import pytest
import torch

import untwin as ut
from test_fit import blank, last
from test_run import resumed_like, same
from untwin.errors import InputError
from untwin.runs.checkpoint import load_state, save_state
from untwin.runs.names import parse, parse_rule
from untwin.solve.recipe import Until
from untwin.solve.run import iterate

SMALL = ut.priors.Skip(depth=1, width=5, skip=2, inputs=3)
KERNELS = [
    ut.priors.Softmax(),
    ut.priors.Softmax(ut.priors.Perceptron(8, 16)),
    ut.priors.Softmax(ut.priors.Implicit(ut.priors.Siren(8, 1))),
]


def blurred(box=5, shape=(1, 14, 15)) -> tuple[ut.Picture, torch.Tensor]:
    kernel = torch.zeros(5, 5)
    kernel[1, 1:4] = 0.3
    kernel[3, 2] = 0.1
    x = torch.zeros(shape[0], shape[1] + 4, shape[2] + 4)
    x[:, 5:10, 4:12] = 0.9
    x[:, 12:, 3:7] = 0.5
    return ut.Picture(ut.physics.Blur(kernel)(x[None])[0], ut.physics.Blur(ut.physics.Unknown(), box=box)), kernel


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_both_parts_go_on_from_any_state_bit_for_bit(kernel, tmp_path):
    p, _ = blurred()
    fit = ut.algorithms.Fit(ut.priors.Untrained(SMALL), kernel=kernel, average=0.9)
    resumed_like(p, 5 * fit, blank(p, (0, 3)))
    recipe = Until(ut.rules.EMV(burn_in=1), 6 * fit)
    states = list(iterate(p, recipe, blank(p, (0, 3))))
    save_state(states[2], tmp_path / "state.pt")
    again = list(iterate(p, recipe, load_state(tmp_path / "state.pt")))
    assert same(again[-1], states[-1]) and torch.equal(again[-1].nuisance["kernel"], states[-1].nuisance["kernel"])


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_a_kernel_is_nonnegative_of_sum_one_and_moves(kernel):
    p, _ = blurred()
    few, many = (last(p, n * ut.algorithms.Fit(ut.priors.Grid(), kernel=kernel), blank(p, (0, 1))).nuisance["kernel"] for n in (1, 30))
    assert many.shape == (2, 5, 5) and float(many.min()) >= 0 and torch.allclose(many.sum((1, 2)), torch.ones(2))
    assert not torch.equal(few, many) and not torch.equal(many[0], many[1])


def test_two_starts_are_two_single_runs():
    p, _ = blurred()
    fit = 4 * ut.algorithms.Fit(ut.priors.Untrained(SMALL), kernel=ut.priors.Softmax())
    both = last(p, fit, blank(p, (0, 3)))
    for row, seed in enumerate((0, 3)):
        one = last(p, fit, blank(p, (seed,)))
        assert torch.equal(one.x[0], both.x[row]) and torch.equal(one.nuisance["kernel"][0], both.nuisance["kernel"][row])


def test_the_image_begins_as_it_does_alone():
    """The same seed draws the same image whether a kernel moves beside it or not."""
    p, kernel = blurred()
    joint = last(p, 1 * ut.algorithms.Fit(ut.priors.Untrained(SMALL), kernel=ut.priors.Softmax()), blank(p))
    known = ut.Picture(p.y, ut.physics.Blur(kernel))
    assert torch.equal(joint.x, last(known, 1 * ut.algorithms.Fit(ut.priors.Untrained(SMALL)), blank(known)).x)


def test_a_fit_begins_at_the_kernel_of_the_state():
    p, kernel = blurred()
    s = blank(p).replace(nuisance={"kernel": kernel[None]})
    for prior in KERNELS[:1]:
        first = last(p, 1 * ut.algorithms.Fit(ut.priors.Grid(), kernel=prior), s).nuisance["kernel"][0]
        assert float((first - kernel).abs().max()) < 0.05


def test_rates_are_each_ones_own():
    p, _ = blurred()
    still = ut.algorithms.Fit(ut.priors.Grid(rate=0.0), kernel=ut.priors.Softmax())
    a, b = (last(p, n * still, blank(p)) for n in (1, 6))
    assert torch.equal(a.x, b.x) and not torch.equal(a.nuisance["kernel"], b.nuisance["kernel"])
    frozen = ut.algorithms.Fit(ut.priors.Grid(), kernel=ut.priors.Softmax(ut.priors.Grid(rate=0.0)))
    a, b = (last(p, n * frozen, blank(p)) for n in (1, 6))
    assert not torch.equal(a.x, b.x) and torch.equal(a.nuisance["kernel"], b.nuisance["kernel"])


def test_a_joint_fit_explains_the_picture_with_both():
    p, _ = blurred()
    fit = ut.algorithms.Fit(ut.priors.Grid(rate=0.05), kernel=ut.priors.Softmax(ut.priors.Grid(rate=0.05)))
    few, many = (last(p, n * fit, blank(p)) for n in (1, 200))
    assert float(p.holding(many.nuisance).misfit(many.x)) < 0.05 * float(p.holding(few.nuisance).misfit(few.x))


def test_a_rule_may_look_at_the_kernel():
    p, _ = blurred()
    fit = ut.algorithms.Fit(ut.priors.Grid(), kernel=ut.priors.Softmax())
    states = list(iterate(p, Until(ut.rules.EMV(burn_in=0, of="kernel"), 6 * fit), blank(p)))
    assert states[0].rule_state.aux["mean"].shape == (1, 5, 5) and states[-1].nuisance["kernel"].shape == (1, 5, 5)
    assert parse_rule("WMV(of='kernel')").of == "kernel"
    with pytest.raises(InputError, match="no such unknown; expected one of image, kernel"):
        list(iterate(p, Until(ut.rules.EMV(of="gain"), 2 * fit), blank(p)))


def test_what_a_rule_keeps_is_one_pair():
    """The kernel that is given back is that of the image that is given back."""
    p, _ = blurred()
    fit = ut.algorithms.Fit(ut.priors.Grid(rate=0.3), kernel=ut.priors.Softmax(ut.priors.Grid(rate=0.3)))
    states = list(iterate(p, Until(ut.rules.EMV(burn_in=2, patience=4), 40 * fit), blank(p)))
    step = int(states[-2].rule_state.at[0])
    assert torch.equal(states[-1].x, states[step - 1].x)
    assert torch.equal(states[-1].nuisance["kernel"], states[step - 1].nuisance["kernel"])


def test_the_text_of_a_joint_fit_reads_back():
    recipe = 3 * ut.algorithms.Fit(ut.priors.Untrained(SMALL), kernel=ut.priors.Softmax(ut.priors.Perceptron(20)), loss=ut.losses.SSIM())
    assert parse(repr(recipe)) == recipe


def test_the_box_is_half_the_picture_and_the_object_larger():
    assert ut.Picture(torch.zeros(1, 20, 31), ut.physics.Blur(ut.physics.Unknown())).unknown_shapes == {"kernel": (9, 15)}
    p = ut.Picture(torch.zeros(1, 20, 31), ut.physics.Blur(ut.physics.Unknown(), box=7))
    assert p.grid == (26, 37) and p.predict(torch.ones(2, 1, 26, 37)).shape == (2, 1, 20, 31)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ut.Picture(torch.zeros(1, 8, 9), ut.physics.Blur(ut.physics.Unknown(), box=9)), "larger than the picture"),
        (lambda: ut.physics.Blur(ut.physics.Unknown(), box=-3), "expected pixels"),
        (lambda: ut.physics.Blur(ut.physics.Unknown(), box=(3, 0)), "expected pixels"),
        (lambda: ut.physics.Blur(torch.ones(3, 3), box=3), "belongs to an unknown kernel"),
        (lambda: ut.physics.Blur(ut.physics.Unknown(0.5)), "more than a number"),
        (lambda: ut.physics.Unknown(low=0, high=1), "limits without a first value"),
        (lambda: ut.physics.Physics(detection=ut.physics.Coherent(ut.physics.Unknown())), "searched from a first value"),
        (lambda: ut.algorithms.Fit(kernel=ut.priors.Grid()), "expected the prior of a kernel"),
        (lambda: ut.priors.Softmax(ut.priors.Softmax()), "expected a real prior"),
        (lambda: ut.physics.Blur(ut.physics.Unknown())(torch.zeros(1, 1, 9, 9)), "has no kernel yet"),
        (lambda: ut.algorithms.Fit(ut.priors.Grid()).check(blurred()[0]), "expected a prior for it"),
        (
            lambda: ut.algorithms.Fit(ut.priors.Grid(), kernel=ut.priors.Softmax()).check(ut.Picture(torch.zeros(1, 40, 40))),
            "the physics knows it",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_the_fit(make, says):
    with pytest.raises(InputError, match=says):
        make()


# the symmetry


@pytest.mark.parametrize("by", [(2, -1), (0, 3), (-2, 0)])
def test_a_pair_moved_and_scaled_is_measured_the_same_and_aligned_back(by):
    g = torch.Generator().manual_seed(1)
    x = torch.rand(1, 40, 44, generator=g)
    x = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    kernel = torch.zeros(9, 9)
    kernel[3:6, 4] = torch.tensor([0.2, 0.5, 0.3])
    kernel[4, 5] = 0.2
    kernel = kernel / kernel.sum()
    shifted = torch.roll(kernel, by, (0, 1))
    other = torch.roll(x, [-b for b in by], (1, 2)) / 2
    y, z = ut.physics.Blur(kernel)(x[None])[0], ut.physics.Blur(2 * shifted)(other[None])[0]
    inside = (slice(None), slice(4, -4), slice(4, -4))
    assert torch.allclose(y[inside], z[inside], atol=1e-5)
    symmetry = ut.physics.ShiftAndScale()
    aligned = symmetry.align(other[None], x, subpixel=False)
    assert aligned.by[0].tolist() == list(by) and float(aligned.factor[0]) == pytest.approx(2, rel=1e-4)
    assert float(aligned.error[0]) < 1e-3
    image, middle = symmetry.canonical_pair(other, 2 * shifted)
    first, expected = symmetry.canonical_pair(x, kernel)
    assert torch.allclose(middle, expected, atol=1e-6) and float(middle.sum()) == pytest.approx(1)
    assert torch.allclose(image[inside], first[inside], atol=1e-5)


# SSIM


def test_ssim_is_zero_for_equal_pictures_and_that_of_skimage_inside():
    from skimage.metrics import structural_similarity

    g = torch.Generator().manual_seed(0)
    a = torch.rand(1, 1, 40, 40, generator=g, dtype=torch.float64)
    b = (a + 0.1 * torch.randn(a.shape, generator=g, dtype=torch.float64)).clamp(0, 1)
    known = torch.ones(1, 40, 40, dtype=torch.bool)
    assert float(ut.losses.SSIM()(a, a[0], known)) == pytest.approx(0, abs=1e-9)
    inside = torch.zeros_like(known)
    inside[:, 5:-5, 5:-5] = True
    ours = 1 - float(ut.losses.SSIM()(a, b[0], known)) / 1600
    theirs = structural_similarity(a[0, 0].numpy(), b[0, 0].numpy(), gaussian_weights=True, use_sample_covariance=False, data_range=1.0)
    assert ours == pytest.approx(theirs, abs=0.01)


def test_ssim_leaves_out_what_was_not_measured():
    a = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(3))
    known = torch.ones(1, 30, 30, dtype=torch.bool)
    known[:, 10:14, 8:20] = False
    spoilt = a[0].clone()
    spoilt[~known] = 7.0
    f = a.clone()
    f[0][~known] = -3.0
    assert float(ut.losses.SSIM()(f, torch.where(known, a[0], torch.zeros(())), known)) == pytest.approx(
        float(ut.losses.SSIM()(a, torch.where(known, a[0], torch.zeros(())), known)), abs=1e-5
    )
