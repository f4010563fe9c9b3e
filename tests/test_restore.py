"""untwin.restore and untwin restore: every task makes the picture better than what was given; bad input is refused before anything runs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import untwin as ut
from untwin import cli
from untwin.data.image import read_array, read_image, write_image
from untwin.errors import GuessWarning, InputError
from untwin.runs.restore import fit_for, restore
from untwin.runs.tasks import NOISES, job

TINY = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=2, width=12, inputs=8)), average=0.95)


def scene(shape=(1, 33, 40)) -> np.ndarray:
    y, x = np.mgrid[: shape[1], : shape[2]]
    plane = 0.2 + 0.5 * ((y - 15) ** 2 + (x - 18) ** 2 < 90) + 0.2 * (x > 28)
    return np.broadcast_to(plane, shape).astype(np.float32).copy()


def psnr(a, b) -> float:
    return -10 * math.log10(float(np.mean((np.asarray(a) - np.asarray(b)) ** 2)))


def noisy(x: np.ndarray, sigma: float = 0.15, seed: int = 0) -> np.ndarray:
    return np.clip(x + sigma * np.random.default_rng(seed).normal(size=x.shape), 0, 1).astype(np.float32)


# from Python


def test_a_noisy_picture_is_restored_and_the_fit_stops_by_itself():
    truth = scene()
    y = noisy(truth)
    done = restore(y, prior=TINY, stop=ut.rules.HeldOut(patience=40), steps=1500)
    assert done.image.shape == truth.shape and done.image.dtype == torch.float32
    assert psnr(done.image, truth) > psnr(y, truth) + 4
    assert done.numbers["stopped_itself"] == 1 and done.numbers["best_at"] <= done.numbers["steps"] == len(done.statistic)
    stopped = restore(y, prior=TINY, stop=ut.rules.Discrepancy(1e-3, patience=3), steps=60)
    assert stopped.numbers["best_at"] == stopped.numbers["steps"], "Discrepancy keeps the last image, whatever its misfit was"
    few = [restore(data, prior=TINY, steps=10, seed=s) for data, s in ((y, 0), (torch.from_numpy(y), 0), (y, 1))]
    assert torch.equal(few[0].image, few[1].image) and bool(few[2].image.ne(few[0].image).any())
    assert ut.parse(few[0].recipe).rule == ut.rules.HeldOut(patience=100) and few[0].numbers["stopped_itself"] == 0 and few[0].warnings


def test_the_projector_is_the_default_and_stops_by_emv():
    truth = scene((3, 32, 33))
    y = noisy(truth)
    done = restore(y, prior=ut.priors.Projector(ut.priors.Skip(depth=1, width=16, inputs=3)), steps=150)
    assert psnr(done.image, truth) > psnr(y, truth) + 4 and ut.parse(done.recipe).rule == ut.rules.EMV(patience=50)
    assert "Projector()" in repr(fit_for("drp", (64, 64)))


def test_a_physics_of_ones_own():
    truth = torch.from_numpy(scene())
    forward = ut.physics.Forward(lambda x: x[..., ::2], grid=(33, 40))
    done = ut.restore(truth[..., ::2], forward, TINY, steps=150)
    assert done.image.shape == truth.shape and psnr(done.image, truth) > 15


def test_a_volume_is_restored_too():
    truth = np.zeros((1, 9, 10, 11), np.float32)
    truth[:, 2:6, 3:7, 3:8] = 0.8
    y = noisy(truth, 0.1)
    done = restore(y, prior=ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=1, width=8, inputs=4)), average=0.9), steps=120)
    assert done.image.shape == truth.shape and psnr(done.image, truth) > psnr(y, truth)


def test_what_is_restored_is_a_solution(tmp_path):
    y = noisy(scene())
    done = restore(y, prior=TINY, steps=3)
    assert (
        isinstance(done, ut.results.Solution) and issubclass(ut.results.Reconstruction, ut.results.Solution) and done.image.shape == y.shape
    )
    folder = done.save(tmp_path / "out")
    assert np.array_equal(np.load(folder / "result.npy"), done.image[0].numpy())
    told = json.loads((folder / "summary.json").read_text())
    assert told["recipe"] == done.recipe and told["numbers"] == done.numbers and told["warnings"] == list(done.warnings)
    with pytest.raises(InputError, match="exists and is not empty"):
        done.save(folder)
    assert done.save(folder, overwrite=True) == folder


def test_a_complex_picture_is_saved_as_magnitude_phase_and_complex_numbers(tmp_path):
    done = restore(*kspace(), ut.priors.Cartesian(ut.priors.Grid(), ut.priors.Grid()), steps=30)
    folder = done.save(tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {"result.png", "phase.png", "result.npy", "summary.json"}
    image = np.load(folder / "result.npy")
    assert image.dtype == np.complex64 and np.array_equal(image, done.image[0].numpy())
    magnitude = np.abs(image)
    assert np.allclose(read_image(folder / "result.png").values[0], magnitude / max(1, magnitude.max()), atol=0.003)
    colours = read_image(folder / "phase.png").values
    assert colours.shape == (3, 16, 20) and done.plot().axes
    turned = replace(done, image=done.image * np.exp(2j * np.pi * 0.999)).save(tmp_path / "turned")
    assert np.abs(read_image(turned / "phase.png").values - colours).max() < 0.05, "the colours are cyclic"
    assert {p.name for p in replace(done, image=done.image.real).save(folder, overwrite=True).iterdir()} == {
        "result.png",
        "result.npy",
        "summary.json",
    }


@pytest.mark.parametrize("shape", [(2, 16, 20), (1, 5, 16, 20), (3, 4, 16, 20)], ids=str)
def test_pictures_of_any_shape_are_saved_and_drawn(shape, tmp_path):
    y = np.random.default_rng(0).random(shape).astype(np.float32)
    done = restore(y, prior=ut.algorithms.Fit(ut.priors.Grid()), steps=2)
    folder = done.save(tmp_path / "out")
    assert read_image(folder / "result.png").values.shape == (3 if shape[0] == 3 else 1, 16, 20) and done.plot().axes
    assert np.load(folder / "result.npy").shape == (shape[1:] if shape[0] == 1 else (*shape[1:], shape[0]))


@pytest.mark.parametrize(
    ("stop", "jitter", "said"), [(ut.rules.EMV(), 1 / 30, 1), (ut.rules.WMV(), 0.0, 0), (ut.rules.HeldOut(), 1 / 30, 0)]
)
def test_a_variance_that_the_priors_own_noise_hides_is_said(stop, jitter, said):
    one = ut.priors.Untrained(ut.priors.Skip(depth=2, width=12, inputs=8), jitter=jitter)
    done = restore(noisy(scene()), prior=ut.algorithms.Fit(one), stop=stop, steps=2)
    assert sum("hides the variance" in w for w in done.warnings) == said


def test_the_variance_of_a_kernel_is_not_that_of_the_image():
    one = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=2, width=12, inputs=8), jitter=1 / 30), kernel=ut.priors.Softmax())
    blur = ut.physics.Blur(ut.physics.Unknown(), box=5)
    done = restore(noisy(scene()), blur, prior=one, stop=ut.rules.EMV(of="kernel"), steps=2)
    assert not any("hides the variance" in w for w in done.warnings)


def test_the_noise_of_a_prior_is_seen_within_a_pair():
    small = ut.priors.Skip(depth=1, width=6, inputs=4)
    for jitter, count in ((0.05, 1), (0.0, 0)):
        for prior in (
            ut.priors.DoubleDIP(small, jitter=jitter),
            ut.priors.Polar(ut.priors.Uniform(), ut.priors.Untrained(small, jitter=jitter)),
        ):
            done = restore(kspace()[0], kspace()[1], prior=prior, stop=ut.rules.EMV(), steps=2)
            assert sum("hides the variance" in w for w in done.warnings) == count


def kspace() -> tuple[torch.Tensor, ut.physics.MRI]:
    """(1, 16, 20) complex and the physics that gave it."""
    physics = ut.physics.MRI(torch.rand(16, 20, generator=torch.Generator().manual_seed(1)) > 0.3)
    magnitude = torch.from_numpy(scene((1, 16, 20)))
    return physics(torch.polar(magnitude, 3 * magnitude)), physics


@pytest.mark.parametrize("pair", [ut.priors.Polar, ut.priors.Cartesian])
def test_a_projector_within_a_pair_is_stopped_by_emv(pair):
    small = ut.priors.Projector(ut.priors.Skip(depth=1, width=6, inputs=3))
    for first, second in ((small, small), (ut.priors.Grid(), small)):
        done = restore(*kspace(), pair(first, second), steps=2)
        assert ut.parse(done.recipe).rule == ut.rules.EMV(patience=50)
    assert ut.parse(restore(*kspace(), pair(ut.priors.Grid(), ut.priors.Grid()), steps=2).recipe).rule == ut.rules.HeldOut(patience=100)


def test_a_pair_of_projectors_by_hand_is_the_one_that_has_a_name():
    by_hand = restore(*kspace(), ut.priors.Cartesian(ut.priors.Projector(), ut.priors.Projector()), steps=3)
    named = restore(*kspace(), "drp", steps=3)
    assert by_hand.recipe == named.recipe and torch.equal(by_hand.image, named.image) and "TV()" in named.recipe


@pytest.mark.parametrize("stop", [ut.rules.EMV(patience=4), ut.rules.EMV(alpha=0.1), ut.rules.WMV(window=2), ut.rules.HeldOut()], ids=repr)
def test_the_moving_variance_is_the_same_beside_every_rule(stop):
    """Of the same iterates, whether the rule works it out itself or not; HeldOut's steps see fewer pixels."""
    few = ut.algorithms.Fit(ut.priors.Grid())
    y = noisy(scene((1, 16, 20)))
    done, other = (restore(y, prior=few, stop=rule, steps=6) for rule in (stop, ut.rules.Plateau()))
    assert len(done.variance) == len(done.statistic) == 6 and done.variance[0] == 0
    if not isinstance(stop, ut.rules.HeldOut):
        assert done.variance == other.variance


@pytest.mark.parametrize("stop", [ut.rules.EMV(burn_in=2), ut.rules.EMV(alpha=0.1), ut.rules.HeldOut()], ids=repr)
def test_an_interrupted_restoration_goes_on_with_the_same_numbers(stop, tmp_path):
    y = noisy(scene((1, 16, 20)))

    def interrupt(*_):
        reports.append(1)
        if len(reports) == 7:
            raise KeyboardInterrupt

    reports: list[int] = []
    prior = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=1, width=6, inputs=4)), average=0.9)
    whole = restore(y, prior=prior, stop=stop, steps=12)
    with pytest.raises(KeyboardInterrupt):
        restore(y, prior=prior, stop=stop, steps=12, checkpoint=tmp_path / "c", report=interrupt)
    again = restore(y, prior=prior, stop=stop, steps=12, checkpoint=tmp_path / "c", report=lambda *a: reports.append(a[0]))
    assert torch.equal(again.image, whole.image) and again.variance == whole.variance and len(whole.variance) == 12
    assert np.array_equal(again.statistic, whole.statistic, equal_nan=True) and sum(reports[7:]) == 12 and reports[7] > 1


@dataclass(frozen=True)
class AtOnce(ut.rules.Rule):
    """Keeps the first image; its watch has no statistic."""

    def begin(self, problem, state):
        return state.replace(rule_state=())

    def observe(self, problem, state):
        return state.replace(rule_state=(*state.rule_state, state.image))

    def done(self, state):
        return torch.tensor([len(state.rule_state) >= 3])

    def restore_best(self, state):
        return state.replace(image=state.rule_state[0], rule_state=None)


def test_a_rule_of_ones_own_needs_no_statistic():
    reports = []
    y = noisy(scene((1, 16, 20)))
    done = restore(y, prior=ut.algorithms.Fit(ut.priors.Grid()), stop=AtOnce(), steps=9, report=lambda *a: reports.append(a))
    assert np.isnan(done.statistic).all() and len(done.variance) == 3 and done.variance[2] > 0
    assert reports == [(1, None, 9)] * 3 and done.numbers["steps"] == done.numbers["best_at"] == 3


def test_the_figure_shows_the_stop():
    done = restore(noisy(scene()), prior=TINY, steps=12)
    figure = done.plot()
    assert [a.get_title() for a in figure.axes[:2]] == ["given, 33 x 40", "restored, 33 x 40"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prior": "unet"}, "unknown prior 'unet'"),
        ({"prior": 3}, "prior=3"),
        ({"stop": "EMV"}, "stop='EMV'"),
        ({"seed": -1}, "seed=-1"),
        ({"steps": 0}, "steps=0"),
        ({"device": "nosuch"}, "no device 'nosuch'"),
        ({"measured": np.ones((1, 4, 4))}, "mask"),
        ({"physics": ut.physics.Mask(torch.ones(5, 5, dtype=torch.bool))}, "mask has shape"),
        ({"physics": ut.physics.Blur(torch.ones(50, 50))}, "no larger than the image"),
        ({"physics": ut.physics.MRI(torch.ones(33, 40, dtype=torch.bool)), "loss": ut.losses.Poisson()}, "a loss of counts"),
        ({"prior": ut.algorithms.Fit(ut.priors.Grid(), imitate=3)}, "leave imitate out"),
        ({"prior": ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=6)))}, "scales needs 65 pixels"),
        pytest.param({"physics": lambda x: x[..., :-1]}, "the physics gives", id="a physics that loses a column"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_the_fit(given, says):
    with pytest.raises(InputError, match=says):
        restore(scene(), **given)


def test_a_pattern_is_none_of_its_pictures():
    one = ut.Pattern(np.ones((8, 8), np.float32), np.ones((8, 8), bool))
    for what in (one, ut.Problem(one)):
        with pytest.raises(InputError, match=rf"got a {type(what).__name__}: try untwin.reconstruct"):
            restore(what)


@pytest.mark.parametrize("y", [[torch.rand(1, 20, 20)] * 2, None, {"y": 1}], ids=["a list of tensors", "nothing", "a dictionary"])
def test_what_is_no_array_is_refused(y):
    with pytest.raises(InputError, match=rf"y is a {type(y).__name__}; expected one array"):
        ut.restore(y)


def test_the_share_that_the_message_names_hides_something():
    with pytest.raises(InputError, match=r"hides no pixel of \(1, 16\); take a larger share, such as HeldOut\(share=0.2\)"):
        ut.restore(torch.rand(1, 16), steps=2)
    ut.restore(torch.rand(1, 16), steps=2, stop=ut.rules.HeldOut(share=0.2))


# tasks


@pytest.mark.parametrize(
    ("task", "floor"),
    [("denoise", 20.5), ("inpaint", 20.0), ("superres", 17.0), ("deblur", 17.0), ("mri", 20.0)],
)
def test_every_task_gives_the_picture_back(task, floor):
    truth = scene((1, 24, 28))
    options, y = {}, truth
    rng = np.random.default_rng(1)
    if task == "denoise":
        y = noisy(truth)
    elif task == "inpaint":
        hole = rng.random(truth.shape[1:]) < 0.5
        options["mask"], y = hole.astype(np.uint8), np.where(hole, 0.0, truth).astype(np.float32)
    elif task == "superres":
        options["factor"], y = 2, ut.physics.Downsample(2)(torch.from_numpy(truth)[None])[0].numpy()
    elif task == "deblur":
        kernel = np.ones((3, 5))
        options["kernel"] = 7 * kernel  # of any sum
        padded = np.pad(truth[0], ((1, 1), (2, 2)), mode="edge")
        y = sum(padded[i : i + 24, j : j + 28] for i in range(3) for j in range(5))[None].astype(np.float32) / 15
    else:
        sampled = rng.random((24, 28)) < 0.5
        sampled[8:16, 10:18] = True
        options["sampling"] = sampled.astype(np.uint8)
    made = job(y, task, "drp", **options)
    done = made.run(0, 70, "cpu", None)
    assert done.image.shape == truth.shape
    image = done.image.numpy()
    image = image * (image * truth).sum() / (image * image).sum() if task == "mri" else image
    assert psnr(image, truth) > floor


# files and the command line


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "rgb.png", "deep.png", "alpha.png"])
def test_pictures_are_read_as_they_are(name, tmp_path):
    import tifffile
    from skimage.io import imsave

    rng = np.random.default_rng(0)
    path = tmp_path / name
    if name == "a.npy":
        a = rng.random((9, 11)).astype(np.float32)
        np.save(path, a)
        want = a[None]
    elif name == "a.tif":
        a = rng.integers(0, 65536, (9, 11)).astype(np.uint16)
        tifffile.imwrite(path, a)
        want = a[None] / 65535
    elif name == "deep.png":
        a = rng.integers(0, 65536, (9, 11)).astype(np.uint16)
        imsave(path, a, check_contrast=False)
        want = a[None] / 65535
    else:
        a = rng.integers(0, 256, {"a.png": (9, 11), "rgb.png": (9, 11, 3), "alpha.png": (9, 11, 4)}[name]).astype(np.uint8)
        imsave(path, a, check_contrast=False)
        want = np.moveaxis(a.reshape(9, 11, -1)[..., : 1 if name == "a.png" else 3], -1, 0) / 255
    if name == "alpha.png":
        with pytest.warns(GuessWarning, match="transparency"):
            found = read_image(path)
    else:
        found = read_image(path)
    assert np.allclose(found.values, want, atol=1e-6) and found.values.dtype == np.float32
    if name == "rgb.png":
        write_image(tmp_path / "again.png", found.values)
        assert np.array_equal(read_image(tmp_path / "again.png").values, found.values)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["again.png", "rgb.png"]


def test_numbers_of_another_range_are_scaled_and_scaled_back(tmp_path, monkeypatch, capsys):
    a = (100 + 400 * noisy(scene())[0]).astype(np.float32)
    np.save(tmp_path / "counts.npy", a)
    monkeypatch.chdir(tmp_path)
    assert ran(["restore", "counts.npy", "--steps", "8", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert "scaled to 0..1" in said.err and "its steps ran out after 8 steps" in said.out
    assert "prior: drp, an untrained network, because a stop or a number of steps was given" in said.out
    back = np.load(tmp_path / "out" / "result.npy")
    assert back.shape == a.shape and back.min() >= 100 and 150 < back.max() <= 500


@pytest.mark.parametrize("looks", [1, 6])
def test_speckle_is_taken_for_what_it_is(tmp_path, monkeypatch, looks):
    """Stored as it is, bright tail and all, the picture is found better than with the loss of Gaussian noise; what is dark gains most."""
    truth = scene((1, 36, 40))
    np.save(tmp_path / "y.npy", truth[0] * np.random.default_rng(3).gamma(looks, 1 / looks, truth.shape[1:]))
    monkeypatch.chdir(tmp_path)
    errors = {}
    for noise in ("gaussian", "speckle"):
        assert ran(["restore", "y.npy", "--noise", noise, "--steps", "250", "-o", noise]) == 0
        errors[noise] = np.load(tmp_path / noise / "result.npy") - truth[0]
    assert (errors["speckle"] ** 2).mean() < 0.8 * (errors["gaussian"] ** 2).mean()
    told = json.loads((tmp_path / "speckle" / "summary.json").read_text())
    assert told["numbers"]["stopped_itself"] == 1


def test_every_noise_has_a_loss_of_its_own():
    assert len({repr(loss) for loss in NOISES.values()}) == len(NOISES)


def ran(arguments: list[str]) -> int:
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_command_writes_pictures_numbers_and_a_page(tmp_path, monkeypatch, capsys):
    write_image(tmp_path / "noisy.png", noisy(scene((3, 31, 37))))
    monkeypatch.chdir(tmp_path)
    assert ran(["restore", "noisy.png", "--prior", "dip", "--stop", "EMV(patience=3, burn_in=5)", "--steps", "30"]) == 0
    folder = tmp_path / "noisy_restored"
    assert {p.name for p in folder.iterdir()} == {"result.png", "result.npy", "summary.json", "report.html", "figures", "live"}
    assert read_image(folder / "result.png").values.shape == (3, 31, 37) and np.load(folder / "result.npy").shape == (31, 37, 3)
    told = json.loads((folder / "summary.json").read_text())
    assert told["numbers"]["steps"] == len(told["statistic"]) == len(told["variance"]) and "Untrained" in told["recipe"]
    page = (folder / "report.html").read_text()
    assert "Untrained(network=Skip(depth=3, width=32))" in page and "data:image/png;base64" in page
    assert ran(["restore", "noisy.png"]) == 2 and "exists and is not empty" in capsys.readouterr().err


def test_masks_of_one_bit_and_the_first_of_several_images_are_read(tmp_path):
    import tifffile
    from PIL import Image

    known = np.random.default_rng(0).random((13, 21)) > 0.5
    Image.fromarray(known).save(tmp_path / "one-bit.tif")
    assert (read_array(tmp_path / "one-bit.tif", "mask") != 0).tolist() == known.tolist()
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        for n in (12, 6):
            file.write(np.full((n, n), n, np.uint8))
    assert read_array(tmp_path / "two.tif", "picture").shape == (12, 12)


def test_a_series_takes_a_prior_for_one_axis_and_a_projector_is_warned_of():
    y = 0.5 + 0.1 * torch.randn(1, 40, generator=torch.Generator().manual_seed(0))
    done = ut.restore(y, steps=3)
    assert "hourglass without short cuts" in done.choice and "skip=0" in done.recipe and done.image.shape == y.shape
    assert any("one axis" in text for text in ut.restore(y, prior="drp", steps=3).warnings)


@pytest.mark.parametrize("prior", [None, "pnp", "drp"])
def test_numbers_far_beyond_white_are_refused(prior):
    y = np.tile(np.linspace(0, 255, 32), (1, 32, 1))
    with pytest.raises(InputError, match="divide it, 8 bits by 255"):
        ut.restore(y.astype(np.uint8), prior=prior)
    with pytest.raises(InputError, match="divide it"):
        ut.restore(y, ut.physics.Blur(np.full((3, 3), 1 / 9, np.float32)), prior)
    with pytest.raises(InputError, match="divide it"):
        ut.restore(y, ut.physics.Blur(ut.physics.Unknown(), box=5), ut.plans.Blind() if prior is None else None)
    with pytest.raises(InputError, match="divide it"):
        ut.restore(np.fft.fftshift(np.fft.fft2(y, norm="ortho"), axes=(1, 2)), ut.physics.MRI(torch.ones(32, 32, dtype=torch.bool)), prior)
    assert ut.restore(y, prior=ut.priors.Denoiser(white=255.0), sigma=0).image.max() == pytest.approx(255, rel=1e-5)


def test_counts_that_a_network_cannot_reach_are_refused_and_a_physics_makes_them():
    y, prior = 30 * torch.rand(1, 20, 20).round(decimals=1), ut.priors.Untrained(ut.priors.Skip(depth=1, width=8))
    poisson = {"loss": ut.losses.Poisson(0.01), "stop": ut.rules.Thinned(patience=2), "steps": 3}
    for one in (prior, ut.algorithms.Fit(prior), ut.priors.Implicit()):
        with pytest.raises(InputError, match="a physics that makes such numbers"):
            ut.restore(y.round(), prior=one, **poisson)
    assert ut.restore(y.round(), ut.physics.Blur(torch.tensor([[30.0]])), prior, **poisson).image.shape == y.shape
    assert ut.restore(y.round(), prior=ut.priors.Grid(), **poisson).image.shape == y.shape


def test_the_shape_of_a_picture_is_told_from_others():
    with pytest.raises(InputError, match="channels first"):
        ut.restore(np.zeros((32, 40, 3)))
    with pytest.warns(GuessWarning, match="a grey picture is y"):
        ut.restore(np.random.default_rng(0).random((32, 40)), steps=1)
    with pytest.raises(InputError, match="nothing of the picture is measured"):
        ut.restore(np.zeros((1, 32, 32)), measured=np.zeros((1, 32, 32), bool))


def test_arrays_do_for_tensors_in_a_physics():
    kernel, known, x = np.ones((3, 2)) / 6, np.random.default_rng(0).random((16, 16)) > 0.5, torch.rand(1, 1, 16, 16)
    assert torch.equal(ut.physics.Blur(kernel)(x), ut.physics.Blur(torch.from_numpy(kernel))(x))
    assert torch.equal(ut.physics.Mask(known)(x), ut.physics.Mask(torch.from_numpy(known))(x))
    with pytest.raises(InputError, match="a tensor or an array"):
        ut.physics.Blur("kernel.png")


@pytest.mark.parametrize("task", ["denoise", "deblur"])
def test_noise_in_units_of_8_bits_is_refused(task):
    with pytest.raises(InputError, match="sigma=20 .--sigma.: expected 0 to 1"):
        job(scene(), task, sigma=20.0)
