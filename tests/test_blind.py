"""Blind deblurring: kernels, their verdict, and the run from the front door and the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin as ut
from test_restore import ran
from untwin.data.image import write_image
from untwin.errors import InputError
from untwin.judge.blur import BlurEvidence, blur_verdict, shift_between
from untwin.runs.blind import Blind
from untwin.solve.kernels import centred, cleaned, consensus, resized, surrounded, trimmed
from untwin.solve.marginal import Marginal

QUICK = Blind(shares=(0.5, 1.0), batches=1, steps=2, rounds=1, noise=0.01, search=Marginal(iterations=3, inner=2, first_inner=3))


def line() -> torch.Tensor:
    k = torch.zeros(7, 7)
    k[3, 1:6] = 0.2
    return k


def blocks(shape=(48, 48), seed: int = 3, noise: float = 0.005, kernel: torch.Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Bright rectangles, blurred along a line: what was measured, and the truth in its frame."""
    g = np.random.default_rng(seed)
    kernel = line() if kernel is None else kernel
    pad = kernel.shape[0] - 1
    x = np.full((shape[0] + pad, shape[1] + pad), 0.3, np.float32)
    for _ in range(14):
        a, b = g.integers(0, shape[0]), g.integers(0, shape[1])
        x[a : a + g.integers(4, 18), b : b + g.integers(4, 18)] = g.random()
    y = ut.physics.Blur(kernel)(torch.from_numpy(x)[None, None])[0, 0].numpy()
    y = y + noise * g.standard_normal(y.shape)
    return np.clip(y, 0, 1).astype(np.float32), x[pad // 2 : -(pad // 2), pad // 2 : -(pad // 2)]


# kernels


def test_similarity_knows_no_shift_and_no_scale():
    k, big = line(), surrounded(line(), (15, 17))
    assert ut.metrics.kernel_similarity(k, 3 * big.roll((4, -2), (0, 1))) == pytest.approx(1)
    assert ut.metrics.kernel_similarity(k, k.T) == pytest.approx(0.2, abs=1e-6)


def test_a_trimmed_kernel_is_centred_of_odd_sizes_and_sum_one():
    k = surrounded(line(), (21, 21)).roll((5, -6), (0, 1)) + 0.001
    k[0, 0] = 0.015
    t = trimmed(k / k.sum())
    assert t.shape == (1, 5) and float(t.sum()) == pytest.approx(1) and torch.allclose(t, t.flip(1))
    away = surrounded(line(), (21, 21)).roll((5, -6), (0, 1))
    assert torch.allclose(centred(away), surrounded(line(), (21, 21)), atol=1e-6)


def test_what_is_faint_stays_beside_what_is_strong_and_goes_elsewhere():
    k = surrounded(line(), (21, 21))
    k[10, 13], k[2, 2] = 0.006, 0.006
    t = trimmed(k)
    assert int((t > 0).sum()) == 6 and t.shape[0] == 1


def test_a_kernel_of_another_size_is_as_long_as_many_times():
    k = resized(surrounded(line(), (9, 9)), 2.0)
    assert k.shape == (19, 19) and float(k.sum()) == pytest.approx(1) and int((k[9] > 0.02).sum()) in (9, 10, 11)
    assert int((cleaned(k, 0.6)[:, 9] > 0).sum()) == 1


def test_a_kernel_near_the_truth_comes_nearer():
    y, _ = blocks((64, 64), noise=0.002)
    first = torch.zeros(7, 11)
    first[3] = torch.tensor([0.02, 0.06, 0.05, 0.12, 0.1, 0.3, 0.1, 0.12, 0.05, 0.06, 0.02])
    k = Marginal(noise=0.005).improved(torch.from_numpy(y), torch.ones(64, 64, dtype=torch.bool), first, (31, 31))
    assert ut.metrics.kernel_similarity(first, line()) < 0.9 < ut.metrics.kernel_similarity(trimmed(k), line())
    assert float(k.sum()) == pytest.approx(1) and float(k.min()) >= 0


def test_a_kernel_is_moved_onto_another():
    a, b = surrounded(line(), (9, 9)), surrounded(line(), (15, 13)).roll((3, -2), (0, 1))
    dy, dx = shift_between(a, b)
    at, to = (k.nonzero().float().mean(0) for k in (a, b))
    assert torch.equal(at + torch.tensor([dy, dx]), to)


def test_kernels_that_agree_are_averaged_and_others_left_out():
    alike = [surrounded(line(), (9, 9)), surrounded(line(), (15, 13)).roll((3, -2), (0, 1)), line()]
    kernel, agreement, members = consensus([line().T.contiguous(), *alike])
    assert len(members) == 3
    assert torch.allclose(kernel, trimmed(line()), atol=1e-6)
    assert agreement == pytest.approx((1 + 1 + 0.2) / 3, abs=1e-6)
    assert consensus([line()])[1] == 0.0


def test_pixels_that_were_not_measured_are_not_looked_at():
    y, _ = blocks((40, 40))
    known = torch.ones(40, 40, dtype=torch.bool)
    known[10:14, 20:26] = False
    spoilt = torch.from_numpy(y).clone()
    spoilt[~known] = 9.0
    clean = torch.from_numpy(y).clone()
    clean[~known] = 0.0
    one = Marginal(iterations=3)
    first = torch.full((5, 5), 0.04)
    assert torch.equal(one.improved(spoilt, known, first, (9, 9)), one.improved(clean, known, first, (9, 9)))


# the verdict


@pytest.mark.parametrize(
    ("evidence", "trusted"),
    [
        (BlurEvidence(0.9, 0.95, 0.9, 1.0, 0.3, 0.03, 0.6), True),
        (BlurEvidence(0.9, 0.95, 0.9, 1.0, 0.3, 0.03, 0.7), None),
        (BlurEvidence(0.9, 0.75, 0.9, 1.0, 0.3, 0.03, 0.6), None),
        (BlurEvidence(0.9, 0.95, 0.8, 1.0, 0.3, 0.03, 0.6), None),
        (BlurEvidence(0.9, 0.95, 0.9, 1.0, 0.3, 0.1, 0.6), None),
        (BlurEvidence(0.6, 0.95, 0.9, 1.0, 0.3, 0.03, 0.6), False),
        (BlurEvidence(0.9, 0.3, 0.9, 1.0, 0.3, 0.03, 0.6), False),
        (BlurEvidence(0.9, 0.95, 0.5, 1.0, 0.3, 0.03, 0.6), False),
        (BlurEvidence(0.9, 0.95, 0.9, 2.0, 0.3, 0.03, 0.6), False),
        (BlurEvidence(0.9, 0.95, 0.9, 1.0, 1.0, 0.03, 0.6), False),
        (BlurEvidence(0.9, 1.0, 0.9, 1.0, 0.1, 0.8, 0.6), False),
    ],
)
def test_the_verdict_needs_agreement_an_explained_picture_and_room_in_the_box(evidence, trusted):
    assert blur_verdict(evidence).trusted is trusted


def test_where_the_verdict_is_no_the_blurred_picture_is_given_back(monkeypatch):
    import untwin.runs.blind as module

    y, _ = blocks((32, 32))
    monkeypatch.setattr(module, "blur_verdict", lambda e: ut.results.Verdict(False, "no: as a test wants it"))
    result = ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown()), QUICK)
    assert torch.equal(result.image, torch.from_numpy(y[None])) and any("is the blurred picture" in w for w in result.warnings)
    assert result.attempt.shape == (1, 32, 32) and not torch.equal(result.attempt, result.image)


def test_of_a_large_picture_a_window_is_fitted_and_a_larger_one_where_kernels_do_not_agree(monkeypatch):
    import untwin.runs.blind as module

    sizes: list[tuple[int, ...]] = []
    real = module.iterate

    def watched(problem, *rest):
        sizes.append((*problem.pixels, *problem.unknown_shapes["kernel"]))
        return real(problem, *rest)

    monkeypatch.setattr(module, "iterate", watched)
    y, _ = blocks((128, 136))
    ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=41), replace(QUICK, window=64, batches=2, enough=1.0, steps=1))
    assert sizes == [(32, 32, 11, 11), (32, 32, 15, 15), (32, 32, 5, 5), (32, 32, 11, 11)]


def test_kernels_that_agree_make_no_second_batch(monkeypatch):
    y, _ = blocks((32, 32))
    some = replace(QUICK, batches=2, steps=1)
    assert ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), replace(some, enough=0.0)).numbers["fits"] == 2
    assert ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), replace(some, enough=1.0)).numbers["fits"] == 4


# the run


def test_a_run_repeats_and_goes_on_from_its_checkpoint(tmp_path):
    y, _ = blocks((32, 34))
    first = ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), QUICK, seed=2)
    reports: list[int] = []

    def interrupt(count, *_):
        reports.append(count)
        if sum(reports) > 0.8 * first.numbers["steps"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), QUICK, seed=2, checkpoint=tmp_path / "c", report=interrupt)
    again = ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), QUICK, seed=2, checkpoint=tmp_path / "c")
    assert torch.equal(first.image, again.image) and torch.equal(first.kernel, again.kernel) and first.verdict == again.verdict
    assert first.image.shape == (1, 32, 34) and max(first.kernel.shape) <= 9


def test_colours_and_saturated_pixels():
    y, _ = blocks((32, 32))
    colour = np.stack([y, 0.8 * y, 0.6 * y])
    colour[:, 8:11, 8:11] = 1.0
    colour = np.minimum(colour, 1.0).astype(np.float32)
    result = ut.restore(colour, ut.physics.Blur(ut.physics.Unknown(), box=9), QUICK)
    assert result.image.shape == (3, 32, 32) and result.kernel.ndim == 2
    assert result.numbers["saturated_fraction"] == pytest.approx(9 / 1024)
    assert any("saturated" in w for w in result.warnings)


def test_a_named_method_is_a_joint_fit_with_a_kernel_of_its_own():
    y, _ = blocks((32, 32))
    fit = ut.algorithms.Fit(
        ut.priors.Untrained(ut.priors.Skip(depth=1, width=4, inputs=3)), kernel=ut.priors.Softmax(), later=ut.losses.SSIM(), after=1
    )
    result = ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=7), fit, steps=3, stop=ut.rules.Plateau())
    assert result.kernel.shape == (7, 7) and float(result.kernel.sum()) == pytest.approx(1) and result.verdict is None


def test_the_folder_holds_the_kernel_and_the_page_the_verdict(tmp_path, monkeypatch, capsys):
    import untwin.runs.restore as module

    y, _ = blocks((32, 32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_blind", lambda *_: QUICK)
    write_image(tmp_path / "y.png", y[None])
    assert ran(["restore", "y.png", "--task", "deblur", "--box", "9"]) == 0
    folder = tmp_path / "y_restored"
    assert {p.name for p in folder.iterdir()} >= {"kernel.npy", "kernel.png", "result.png", "summary.json", "report.html"}
    assert np.load(folder / "kernel.npy").sum() == pytest.approx(1, abs=1e-4)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verdict"]["text"] in (folder / "report.html").read_text()
    assert "verdict: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--box", "33"], "from 1 to the smaller side"),
        (["--box", "9", "--kernel", "k.npy"], "leave one of them out"),
        (["--prior", "dip"], "priors of its own"),
        (["--noise", "shot"], "for gaussian noise"),
        (["--stop", "EMV()"], "has no rule"),
    ],
)
def test_what_does_not_fit_ends_with_two_before_anything_is_computed(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "y.png", blocks((32, 32))[0][None])
    np.save(tmp_path / "k.npy", line().numpy())
    assert ran(["restore", "y.png", "--task", "deblur", *arguments]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prior": QUICK, "physics": ut.physics.Blur(line())}, "is for a blur that is not known"),
        ({"prior": "drp"}, "of a blur that is not known"),
        ({"steps": 5}, r"steps= \(--steps\) are for a fit"),
        ({"loss": ut.losses.Poisson(0.1)}, "white Gaussian noise"),
    ],
)
def test_settings_of_others_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        ut.restore(blocks((32, 32))[0][None], **{"physics": ut.physics.Blur(ut.physics.Unknown()), **arguments})


@pytest.mark.parametrize("settings", [{"shares": ()}, {"shares": (2.0,)}, {"steps": -1}, {"fits": (ut.algorithms.Fit(),)}, {"noise": -1.0}])
def test_settings_that_are_none(settings):
    with pytest.raises(InputError):
        Blind(**settings)


def test_a_method_for_two_unknowns_is_refused_where_the_kernel_is_known():
    with pytest.raises(InputError, match="leave the kernel out"):
        ut.restore(blocks((32, 32))[0][None], ut.physics.Blur(line()), "selfdeblur")


def test_where_the_verdict_is_no_pixels_that_were_not_measured_are_filled(monkeypatch):
    import untwin.runs.blind as module

    y, _ = blocks((32, 32))
    known = np.ones((32, 32), bool)
    known[4:8, 4:8], y[4:8, 4:8] = False, 0.0
    monkeypatch.setattr(module, "blur_verdict", lambda e: ut.results.Verdict(False, "no: as a test wants it"))
    result = ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), QUICK, measured=known)
    assert torch.equal(result.image[0][~known], result.attempt[0][~known]) and torch.equal(
        result.image[0][known], torch.from_numpy(y)[known]
    )


def test_the_noise_is_that_of_each_channel_and_the_brightness_has_less():
    y, _ = blocks((64, 64), noise=0.0)
    g = np.random.default_rng(2)
    colour = np.clip(0.2 + 0.5 * np.stack([y, y, y]) + 0.02 * g.standard_normal((3, 64, 64)), 0, 1).astype(np.float32)
    result = ut.restore(colour, ut.physics.Blur(ut.physics.Unknown(), box=9), replace(QUICK, noise=None))
    assert result.numbers["noise"] == pytest.approx(0.02, rel=0.15)


def test_a_kernel_one_pixel_thick_stays_thin_at_another_resolution():
    k = resized(torch.tensor([[0.2, 0.6, 0.2]]), 2.0)
    assert torch.allclose(k[0], k[1] / 2) and torch.allclose(k[2], k[1] / 2)


def test_a_picture_that_is_hardly_blurred_is_given_back(monkeypatch):
    import untwin.runs.blind as module

    y, _ = blocks((64, 64))
    monkeypatch.setattr(module, "trimmed", lambda k: torch.ones(1, 1))  # every fit ends at a point
    result = ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown(), box=9), QUICK)
    assert "nearly a point" in result.verdict.text and torch.equal(result.image[0], torch.from_numpy(y))
