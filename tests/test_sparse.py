"""Sparse blind deconvolution: its laws, what comes back, bad input; simulated maps of a microscope; the command."""

import json

import numpy as np
import pytest
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter

import untwin as ut
from untwin.cli import main
from untwin.errors import InputError
from untwin.model import motifs as symmetry
from untwin.runs.deconvolve import noise_level
from untwin.simulate.interference import quasiparticles
from untwin.solve import sparse

SMALL = {"shape": (64, 60), "channels": 2, "size": 9, "density": 0.01, "snr": 4.0}


@pytest.fixture(scope="module")
def drawn():
    return quasiparticles(seed=3, **SMALL)


@pytest.fixture(scope="module")
def result(drawn):
    return ut.deconvolve_sparse(drawn.values, 9, seed=1)


def observation(values, border=16):
    h, w = values.shape[1:]
    return sparse.Observation(values.astype(np.float32), np.ones((h, w), bool), (h + border, w + border))


# symmetries


def test_correlation_does_not_see_shift_sign_and_scale():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 7, 9))
    b = np.zeros((2, 15, 14))
    b[:, 3:10, 1:10] = -2.5 * a
    assert symmetry.correlation(a, b) == pytest.approx(1)
    assert symmetry.offset(a, b) == (3, 1, -1)
    assert symmetry.correlation(a, rng.standard_normal((2, 7, 9))) < 0.5
    with pytest.raises(InputError, match="equally many channels"):
        symmetry.correlation(a, a[:1])


def picture(motifs, maps):
    return irfft2((rfft2(motifs, s=maps.shape[1:]) * rfft2(maps)[:, None]).sum(0), s=maps.shape[1:])


def test_scale_norm_and_centre_leave_the_picture_as_it_is():
    rng = np.random.default_rng(1)
    motifs, maps = np.zeros((2, 3, 11, 11)), np.where(rng.random((2, 32, 30)) < 0.02, 1.5, 0.0)
    motifs[:, :, 1:5, 6:10] = rng.standard_normal((2, 3, 4, 4))
    maps[1] *= -1
    for change in (symmetry.scaled, symmetry.unit, symmetry.centred):
        a, x = change(motifs, maps)
        np.testing.assert_allclose(picture(a, x), picture(motifs, maps), atol=1e-9)
    a, x = symmetry.scaled(motifs, maps)
    assert x.min() >= 0 and x[1].max() == pytest.approx(1)
    middles = (np.square(symmetry.centred(motifs, maps)[0]).sum((1, 3)) * np.arange(11)).sum(1) / np.square(motifs).sum((1, 2, 3))
    assert np.abs(middles - 5).max() <= 0.5


def test_motifs_are_paired_whatever_their_order():
    rng = np.random.default_rng(2)
    motifs = rng.standard_normal((3, 1, 6, 6))
    order, values = symmetry.paired(motifs, motifs[[2, 0, 1]])
    assert order == (1, 2, 0) and min(values) == pytest.approx(1)


def test_demixing_is_one_minus_what_maps_share():
    rng = np.random.default_rng(3)
    a = (rng.random((64, 64)) < 0.005).astype(float)
    assert symmetry.demixing(np.stack([a, np.roll(a, 3, 0)]), (9, 9)) < 0.05
    assert symmetry.demixing(np.stack([a, (rng.random((64, 64)) < 0.005).astype(float)]), (9, 9)) > 0.7


# the descent


def test_no_sweep_of_the_maps_raises_the_objective(drawn):
    """Unmeasured border, three lambdas, one motif and two; the motifs as they are, since their norm is restored after a fit."""
    observed = observation(drawn.values / drawn.sigma)
    for count in (1, 2):
        estimate = sparse.start(observed, [(10, 12), (30, 20)][:count], (9, 9))
        top = sparse.largest_penalty(observed, estimate)
        for share in (0.8, 0.4, 0.2):
            values = []
            for _ in range(6):
                estimate = sparse.descend(observed, estimate, share * top, sparse.Descent(sweeps=1, solves=0, tolerance=0))
                values.append(estimate.objective)
            assert all(b <= a * (1 + 1e-3) for a, b in zip(values, values[1:]))


def test_above_the_largest_penalty_the_maps_are_zero(drawn):
    observed = observation(drawn.values)
    estimate = sparse.start(observed, [(10, 12)], (9, 9))
    top = sparse.largest_penalty(observed, estimate)
    assert not sparse.descend(observed, estimate, 1.01 * top, sparse.Descent()).maps.any()
    assert sparse.descend(observed, estimate, 0.9 * top, sparse.Descent()).maps.any()


def test_motifs_are_the_least_squares_fit_of_an_independent_matrix():
    """Periodic, the true maps: conjugate gradients end where numpy.linalg.lstsq does."""
    rng = np.random.default_rng(4)
    grid, box = (16, 15), (3, 4)
    maps = np.where(rng.random((2, *grid)) < 0.1, rng.uniform(0.5, 1, (2, *grid)), 0).astype(np.float32)
    data = rng.standard_normal((1, *grid)).astype(np.float32)
    columns = [np.roll(m, (i, j), (0, 1)).ravel() for m in maps for i in range(3) for j in range(4)]
    matrix = np.stack([*columns, np.ones(grid).ravel()], 1)
    expected = np.linalg.lstsq(matrix, data[0].ravel(), rcond=None)[0][:-1].reshape(2, 1, 3, 4)
    fitted = sparse._motifs_step(grid, np.zeros((2, 1, *box), np.float32), rfft2(maps), rfft2(data), 60)
    np.testing.assert_allclose(fitted, expected, atol=2e-4)


def test_another_box_holds_the_same_motif(drawn):
    observed = observation(drawn.values, 32)
    estimate = sparse.start(observed, [(10, 12)], (9, 9))
    estimate = sparse.descend(observed, estimate, 0.3 * sparse.largest_penalty(observed, estimate), sparse.Descent())
    large = sparse.boxed(estimate, (16, 15))
    np.testing.assert_allclose(sparse.model(observed, large), sparse.model(observed, estimate), atol=1e-4)
    np.testing.assert_allclose(sparse.model(observed, sparse.cut(large, (9, 9))), sparse.model(observed, estimate), atol=1e-4)


# the call


def test_motif_and_map_are_those_that_were_drawn(drawn, result):
    assert symmetry.correlation(result.motifs[0], drawn.motifs[0]) > 0.97
    assert result.verdict.trusted is True and result.numbers["agreement"] > 0.9
    rows, columns, _ = symmetry.offset(drawn.motifs[0], result.motifs[0])
    shift = [r + 9 // 2 - n // 2 for r, n in zip((rows, columns), result.motifs.shape[2:])]
    middle = np.s_[4:-4, 4:-4]
    truth, shown = np.roll(drawn.maps[0], [-s for s in shift], (0, 1)) > 0, result.maps[0] > 0.5
    assert (truth & shown)[middle].sum() >= 0.8 * truth[middle].sum()
    np.testing.assert_allclose(result.model + result.residual, drawn.values, atol=1e-5)
    assert result.noise == pytest.approx([drawn.sigma] * 2, rel=0.15)


def test_the_same_seed_repeats_and_units_do_not_matter(drawn, result):
    again = ut.deconvolve_sparse(drawn.values, 9, seed=1)
    assert np.array_equal(again.motifs, result.motifs) and np.array_equal(again.maps, result.maps)
    scaled = ut.deconvolve_sparse(1e-12 * drawn.values + 3e-12, 9, seed=1)
    assert symmetry.correlation(scaled.motifs[0], result.motifs[0]) > 0.999
    assert scaled.bias == pytest.approx(1e-12 * result.bias + 3e-12, rel=1e-2)
    assert np.abs(scaled.motifs).max() == pytest.approx(1e-12 * np.abs(result.motifs).max(), rel=0.05)


def test_tensors_one_channel_masks_signs_and_periodic_maps():
    import torch

    drawn = quasiparticles(seed=5, periodic=True, **(SMALL | {"channels": 1}))
    measured = np.ones(drawn.values.shape[1:], bool)
    measured[20:23] = False
    values = torch.from_numpy(np.where(measured, drawn.values[0], np.nan))
    r = ut.deconvolve_sparse(values, (9, 9), measured=torch.from_numpy(measured), periodic=True, seed=2, starts=6)
    assert symmetry.correlation(r.motifs[0], drawn.motifs[0]) > 0.9
    assert not r.residual[:, 20:23].any() and np.isnan(r.model[:, 20:23]).all()
    signs = np.where(np.random.default_rng(0).random(drawn.maps.shape) < 0.5, -1, 1) * drawn.maps
    both = picture(drawn.motifs, np.roll(signs, (-4, -4), (1, 2))) + drawn.sigma * np.random.default_rng(1).standard_normal((1, 64, 60))
    r = ut.deconvolve_sparse(both, 9, nonnegative=False, periodic=True, seed=2)
    assert symmetry.correlation(r.motifs[0], drawn.motifs[0]) > 0.9 and r.maps.min() < -0.5 < 0.5 < r.maps.max()


def test_a_lattice_and_a_slow_background_are_seen_and_taken_out(drawn):
    y, x = np.mgrid[-1:1:64j, -1:1:60j]
    wave = np.cos(2 * np.pi * (0.21 * np.arange(64)[:, None] + 0.137 * np.arange(60)))
    for disturbed, setting, number in (
        (drawn.values + drawn.values.std() * 1.5 * wave, {"lattice": True}, "lattice_fraction"),
        (drawn.values + drawn.values.std() * 2 * (x + y * y), {"flatten": 2}, "surface_fraction"),
    ):
        seen = ut.deconvolve_sparse(disturbed, 9, seed=1, starts=5)
        assert seen.verdict.trusted is not True and seen.numbers[number] > 0.3 and "--" in " ".join(seen.warnings)
        mended = ut.deconvolve_sparse(disturbed, 9, seed=1, **setting)
        assert mended.verdict.trusted is True and mended.numbers[number] < 0.02
        assert symmetry.correlation(mended.motifs[0], drawn.motifs[0]) > 0.97


def test_two_kinds_come_apart():
    both = quasiparticles((72, 72), channels=3, size=9, density=0.004, kinds=2, seed=8)
    r = ut.deconvolve_sparse(both.values, 9, 2, seed=0, starts=8)
    assert min(symmetry.paired(r.motifs, both.motifs)[1]) > 0.95 and r.numbers["demixing"] > 0.7


def test_a_single_point_and_a_grid_of_points_are_not_trusted():
    point = np.zeros((40, 40))
    point[20, 20] = 1
    assert ut.deconvolve_sparse(point, 5, starts=5).verdict.trusted is not True
    assert ut.deconvolve_sparse(np.tile(np.eye(16), (3, 3)), 8, starts=5).verdict.trusted is not True


def test_noise_alone_is_not_trusted():
    r = ut.deconvolve_sparse(np.random.default_rng(0).standard_normal((2, 48, 48)), 9, seed=1, starts=6)
    assert r.verdict.trusted is not True
    rng = np.random.default_rng(7)
    rng.standard_normal((2, 40, 40))
    r = ut.deconvolve_sparse(rng.standard_normal((2, 40, 40)), 7)
    assert r.numbers["agreement"] > 0.99 and r.verdict.trusted is None and "noise alone" in r.verdict.text


def test_a_channel_in_which_nothing_can_repeat_is_a_sentence(drawn):
    with pytest.raises(InputError, match="channel 1, counted from 0, is constant"):
        ut.deconvolve_sparse(np.stack([drawn.values[0], np.full(drawn.values.shape[1:], 3.0)]), 9)
    y, x = np.mgrid[:32, :32]
    with pytest.raises(InputError, match="flatten=2: a channel is nothing but a polynomial"):
        ut.deconvolve_sparse(x + y + x * y / 10, 7, flatten=2)


def test_a_smooth_field_without_a_motif_is_not_trusted():
    rng = np.random.default_rng(5)
    field = gaussian_filter(rng.standard_normal((64, 64)), 2)
    values = np.stack([field, 0.7 * field, -0.5 * field]) / field.std() + 0.1 * rng.standard_normal((3, 64, 64))
    r = ut.deconvolve_sparse(values, size=9, seed=5, nonnegative=False)
    assert r.numbers["active_fraction"] > 0.1 and r.verdict.trusted is not True


def test_noise_that_is_correlated_is_not_trusted():
    noise = gaussian_filter(np.random.default_rng(6).standard_normal((3, 64, 64)), (0, 1.5, 1.5)).astype(np.float32)
    seen = ut.deconvolve_sparse(noise, 9)
    assert seen.numbers["residual_over_noise"] > 1.5 and seen.verdict.trusted is not True


def test_one_start_says_that_nothing_can_be_said(drawn):
    assert ut.deconvolve_sparse(drawn.values, 9, starts=1).verdict.trusted is None


def test_the_noise_is_known_from_pixel_to_pixel():
    y, x = np.mgrid[:64, :64]
    smooth = np.sin(y / 9) + np.cos(x / 11)
    values = np.stack([smooth + s * np.random.default_rng(0).standard_normal((64, 64)) for s in (0.1, 0.5)]).astype(np.float32)
    assert noise_level(values, np.ones((64, 64), bool)) == pytest.approx([0.1, 0.5], rel=0.1)


@pytest.mark.parametrize(
    "values, size, motifs, words",
    [
        (np.zeros((2, 32, 32)), 9, 1, "constant"),
        (np.ones((32, 32)) * 1j, 9, 1, "complex"),
        (np.full((32, 32), np.nan), 9, 1, "NaN"),
        (np.ones((2, 2, 32, 32)), 9, 1, "shape"),
        (np.ones(32), 9, 1, "shape"),
        (np.eye(32), 17, 1, "does not repeat"),
        (np.eye(32), (9, 40), 1, "does not repeat"),
        (np.eye(32), 0, 1, "whole number"),
        (np.eye(32), 7.5, 1, "whole number"),
        (np.eye(32), (1, 2, 3), 1, "rows, columns"),
        (np.eye(32), 9, 0, "motifs"),
        (np.eye(32), 9, 2.0, "motifs"),
        (np.eye(4), 3, 1, "8 x 8"),
        (1e60 * np.eye(32), 9, 1, "single precision"),
        (np.array([["a"]]), 9, 1, "type"),
    ],
)
def test_bad_input_is_a_sentence(values, size, motifs, words):
    with pytest.raises(InputError, match=words):
        ut.deconvolve_sparse(values, size, motifs)


@pytest.mark.parametrize("measured", [np.ones((3, 3), bool), np.ones((32, 32)), np.zeros((32, 32), bool)])
def test_a_mask_that_does_not_fit_is_a_sentence(measured):
    with pytest.raises(InputError, match="measured"):
        ut.deconvolve_sparse(np.eye(32), 9, measured=measured)


def test_saved_and_drawn(result, tmp_path):
    folder = result.save(tmp_path / "out")
    assert np.array_equal(np.load(folder / "motifs.npy"), result.motifs) and np.array_equal(np.load(folder / "maps.npy"), result.maps)
    stored = json.loads((folder / "summary.json").read_text())
    assert stored["verdict"]["trusted"] is True and stored["numbers"]["defects"] > 3
    with pytest.raises(InputError, match="not empty"):
        result.save(tmp_path / "out")
    result.save(tmp_path / "out", overwrite=True)
    assert len(result.plot().axes) == 8


# the simulator


def test_maps_follow_their_settings(drawn):
    assert drawn.values.shape == (2, 64, 60) and drawn.motifs.shape == (1, 2, 9, 9) and drawn.maps.shape == (1, 64, 60)
    again, other = quasiparticles(seed=3, **SMALL), quasiparticles(seed=4, **SMALL)
    assert np.array_equal(drawn.values, again.values) and not np.array_equal(drawn.values, other.values)
    assert np.linalg.norm(drawn.motifs[0]) == pytest.approx(1)


def test_a_periodic_map_is_the_convolution_and_the_noise_has_its_variance():
    q = quasiparticles((96, 96), channels=2, size=9, snr=4.0, periodic=True, seed=1)
    noise = q.values - picture(q.motifs, np.roll(q.maps, (-4, -4), (1, 2)))
    assert noise.std() == pytest.approx(q.sigma, rel=0.05)
    assert (q.values - noise).var((1, 2)).mean() / noise.var() == pytest.approx(4, rel=0.1)


def test_rings_get_narrower_with_energy():
    from untwin.simulate.interference import motif

    a = motif(41, 3, np.random.default_rng(0))
    spectra = np.abs(np.fft.fft2(a))
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(41), np.fft.fftfreq(41)))
    mean = [(s**2 * f).sum() / (s**2).sum() for s in spectra]
    assert mean[0] < mean[1] < mean[2]


def test_drift_lattice_and_kinds():
    plain = {"shape": (48, 48), "channels": 2, "size": 9, "density": 0.01, "seed": 2}
    drifted = quasiparticles(**plain, drift=2.0, lattice=1.0, kinds=2, spread=0.2)
    assert drifted.maps.shape == (2, 48, 48) and np.isfinite(drifted.values).all() and len(set(drifted.maps[drifted.maps > 0])) > 3
    for wrong in (
        {"size": 60},
        {"snr": 0},
        {"drift": 99},
        {"kinds": 0},
        {"shape": (48,)},
        {"drift": 1, "periodic": True},
        {"channels": 4096, "shape": (4096, 4096)},
    ):
        with pytest.raises(InputError):
            quasiparticles(**(plain | wrong))


# the command


def run(*arguments):
    """Its exit code."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as end:
        return end.code
    return 0


def test_simulated_deconvolved_and_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    setting = ("--size", "64,60", "--channels", 2, "--motif", 9, "--density", 0.01, "--seed", 3)
    assert run("simulate", "stm", "-o", "a.npy", *setting) == 0
    assert run("deconvolve", "a.npy", "--size", "9", "-o", "out", "--seed", "1") == 0
    out = capsys.readouterr().out
    assert "next: untwin deconvolve a.npy --size 9" in out and "trusted: " in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "motifs.npy",
        "maps.npy",
        "residual.npy",
        "summary.json",
        "report.html",
        "figures",
        "live",
    }
    assert {p.name for p in (tmp_path / "out" / "figures").iterdir()} == {"channels.png", "motifs.png", "maps.png"}
    truth = np.load("a_truth.npz")["motifs"]
    assert symmetry.correlation(np.load("out/motifs.npy")[0], truth[0]) > 0.97
    assert "Trusted" in (tmp_path / "out" / "report.html").read_text()
    assert run("deconvolve", "a.npy", "--size", "9", "-o", "out") == 2
    assert run("simulate", "stm", "-o", "a.npy") == 2


@pytest.mark.parametrize(
    "arguments",
    [("none.npy", "--size", "9"), ("a.npy", "--size", "nine"), ("a.npy", "--size", "40"), ("a.npy", "--size", "9", "--motifs", "0"),
     ("a.npy",), ("a.npy", "--size", "9", "--channel", "LI"), ("b.txt", "--size", "9"), ("c.npy", "--size", "9"),
     ("a.npy", "--size", "9", "--mask", "c.npy"), ("a.npy", "--size", "9", "--energies", "x")],
)  # fmt: skip
def test_bad_input_ends_with_2_and_leaves_nothing(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.eye(32))
    np.save("c.npy", np.full((32, 30), np.nan))
    (tmp_path / "b.txt").write_text("maps")
    assert run("deconvolve", *arguments, "-o", "out") == 2
    assert not (tmp_path / "out").exists()


def test_maps_without_a_defect_are_refused():
    with pytest.raises(InputError, match="no defect of kind 1 lies on 48 x 48 pixels"):
        quasiparticles((48, 48), channels=2, size=9, density=1e-9)
