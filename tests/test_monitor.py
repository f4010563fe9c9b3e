"""A beam that varies from frame to frame, and pixels that are blind after every count: both scale the model, and the counts stay counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.cli import main
from untwin.data.flat import BLIND, DEAD, beam, live, share_of_exposure
from untwin.errors import InputError
from untwin.runs.archive import load
from untwin.simulate.detector import Detector, Total
from untwin.simulate.streams import Streams

SHAPE = (12, 16, 16)


def light(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Expected counts of a lopsided peak in the middle."""
    rng = np.random.default_rng(seed)
    r = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    peak = np.exp(-sum(a**2 for a in r) / 12) + 0.4 * np.exp(-sum((a - 3) ** 2 for a in r) / 4)
    return 900 * peak + 3 * rng.random(shape)


def uneven_beam(frames: int, seed: int = 1) -> np.ndarray:
    return np.exp(0.3 * np.random.default_rng(seed).normal(size=frames))


@pytest.fixture
def scan(tmp_path):
    """The file of a scan under an uneven beam, its counts, and the monitor."""
    monitor = uneven_beam(SHAPE[0])
    counts = np.random.default_rng(2).poisson(light() * monitor[:, None, None]).astype(np.int32)
    np.save(tmp_path / "scan.npy", counts)
    return tmp_path / "scan.npy", counts, monitor


# the monitor


@pytest.mark.parametrize("unit", [1, 3e4, 1e-12])
def test_the_monitor_is_relative_and_scales_every_pixel_of_its_frame(scan, unit):
    path, counts, monitor = scan
    p, plain = ut.read(path, monitor=unit * monitor), ut.read(path)
    assert np.array_equal(p.intensity, plain.intensity) and np.array_equal(p.measured, plain.measured) and p.dark is None
    assert p.warnings == plain.warnings and p.shape == SHAPE
    share = np.fft.fftshift(p.sensitivity)
    np.testing.assert_allclose(share, np.broadcast_to((monitor / monitor.mean())[:, None, None], SHAPE), rtol=1e-6)
    np.testing.assert_allclose(np.fft.fftshift(p.corrected().intensity), counts / share, rtol=1e-6)


def test_monitor_and_flat_multiply_and_go_with_their_counts_where_the_array_is_cropped(tmp_path):
    """The peak is off the middle of an odd number of frames."""
    monitor, flat = uneven_beam(15), np.exp(0.2 * np.random.default_rng(4).normal(size=(16, 16)))
    expected = np.roll(light(shape=(15, 16, 16)), 1, 0)
    counts = np.random.default_rng(3).poisson(expected * monitor[:, None, None] * flat)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ut.GuessWarning)
        p = ut.read(counts, monitor=monitor, flat=flat, centre=(8, 8, 8))
        plain = ut.read(counts, centre=(8, 8, 8))
    assert np.array_equal(p.intensity, plain.intensity)
    both = monitor[:, None, None] * flat
    middle = np.array(p.shape) // 2
    c, s, m = (np.fft.fftshift(v) for v in (p.intensity, p.sensitivity, p.measured))
    ratios = [
        s[i, j, k] / both[i - middle[0] + 8, j - middle[1] + 8, k - middle[2] + 8]
        for i, j, k in np.argwhere(m)
        if c[i, j, k] == counts[i - middle[0] + 8, j - middle[1] + 8, k - middle[2] + 8]
    ]
    assert len(ratios) == m.sum() > 2000 and np.ptp(ratios) < 1e-5 * np.mean(ratios)
    assert p.sensitivity[p.measured].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("nothing", [0.0, np.nan, 0.9 * DEAD])
def test_frames_without_a_beam_are_not_measured_and_named(scan, nothing):
    path, _, _ = scan
    monitor = np.ones(SHAPE[0])
    monitor[[2, 9]] = nothing
    with pytest.warns(ut.GuessWarning, match=r"below 0\.05 of its median in 2 of 12 frames \(2, 9\): not measured"):
        p = ut.read(path, monitor=monitor)
    frames = np.fft.fftshift(p.measured).any((1, 2))
    assert np.flatnonzero(~frames).tolist() == [2, 9] and not p.intensity[~p.measured].any()
    np.testing.assert_allclose(p.sensitivity, 1), "the mean is over the frames that have a beam"


def test_it_comes_from_a_file_a_dataset_of_it_or_of_the_pattern_s_own(scan, tmp_path):
    import h5py

    path, counts, monitor = scan
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/data"], file["entry/ic"], file["monitor"] = counts, monitor[:, None, None], monitor
    np.savez(tmp_path / "m.npz", time=np.arange(12.0), monitor=monitor)
    np.save(tmp_path / "m.npy", monitor)
    np.savetxt(tmp_path / "m.txt", monitor, header="one number in each line")
    first = ut.read(path, monitor=monitor)
    assert first.source.options == {}
    inside = {"data": "entry/data"}
    for source, name, options in [
        (path, str(tmp_path / "m.npy"), {}),
        (path, str(tmp_path / "m.npz"), {}),
        (path, str(tmp_path / "m.txt"), {}),
        (path, f"{tmp_path / 'scan.h5'}::monitor", {}),
        (tmp_path / "scan.h5", "entry/ic", inside),
        (tmp_path / "scan.h5", "monitor", inside),
    ]:
        p = ut.read(source, monitor=name, **options)
        assert np.array_equal(p.sensitivity, first.sensitivity) and p.source.options == {"monitor": name}


@pytest.mark.parametrize(
    ("monitor", "words"),
    [
        (np.ones(11), r"shape \(11,\).*expected one number for each of the 12 frames"),
        (np.ones((12, 16)), "one number for each of the 12 frames"),
        (np.zeros(12), "0 or NaN in every frame"),
        (np.full(12, np.nan), "0 or NaN in every frame"),
        (-np.ones(12), "negative in 12 of 12 frames"),
        (np.ones(12, bool), "real numbers, one for each frame"),
        (np.ones(12) * 1j, "real numbers"),
        ("nowhere.npy", "neither a file nor an array"),
    ],
)
def test_a_monitor_that_cannot_be_one_is_refused(scan, tmp_path, monitor, words, capsys):
    path, *_ = scan
    with pytest.raises(InputError, match=words):
        ut.read(path, monitor=monitor)
    if not isinstance(monitor, str):
        np.save(tmp_path / "m.npy", monitor)
        monitor = str(tmp_path / "m.npy")
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(path), "--monitor", monitor])
    assert stop.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_one_frame_has_no_monitor():
    with pytest.raises(InputError, match="expected a stack"):
        beam(np.ones(16), (16, 16), 0, "the array", [])


# the dead time


def read_out(rate: float, blind: float, pixels: int, seed: int = 0) -> np.ndarray:
    """What each of some pixels counts in a frame: arrivals at random, of which those within `blind` after a count are lost."""
    rng = np.random.default_rng(seed)
    n, clock = np.zeros(pixels, int), rng.exponential(1 / rate, pixels)
    while (on := clock < 1).any():
        n += on
        clock = clock + blind + rng.exponential(1 / rate, pixels)
    return n


@pytest.mark.parametrize("rate", [40, 200])
@pytest.mark.parametrize("product", [0.02, 0.1, 0.3])
def test_the_counts_of_blind_pixels_are_poisson_about_the_share_of_time_in_which_they_could_count(rate, product):
    """Mean and variance of n − (1 − n t) λ, and the most likely λ of all pixels together; dividing the counts instead fails."""
    pixels = 40_000
    n = read_out(rate, product / rate, pixels)
    share, blind = live(n.astype(np.float32), np.ones(pixels, bool), product / rate, True, "it", [])
    expected = share * rate
    likely = n.sum() / share.sum()
    noise = np.sqrt((1 + product) / (rate * pixels))  # of the most likely one, relative, by its curvature
    assert abs(likely / rate - 1) < 4 * noise + product**2 / rate, "the end of the frame: an order below what is corrected"
    assert not blind.any() and abs(n.mean() / rate - 1) > 0.8 * product / (1 + product), "without, it is far off"
    square = float(((n - expected) ** 2 / expected).mean())
    assert square == pytest.approx(1, abs=4 * np.sqrt(2 / pixels) + 0.5 * product / rate + product**2 / 4)
    groups = n.reshape(-1, 20)
    spread = (groups.sum(1) / (1 - groups * product / rate).sum(1)).var() * 20 / (rate * (1 + product))
    assert spread == pytest.approx(1, abs=0.12), "as well known as the curvature of the likelihood says"
    if product == 0.3:
        assert ((n / share - rate) ** 2 / rate).mean() > 1.25 > 1.1 > square, "divided counts are not Poisson"


def blinded(seed: int = 0, share: float = 2e-4) -> tuple[np.ndarray, np.ndarray]:
    """(counts, expected counts of an ideal detector) of a frame."""
    expected = 3 * light(seed, (24, 24))
    return np.array([[read_out(v, share, 1, 7 * i + 100 * j)[0] for j, v in enumerate(row)] for i, row in enumerate(expected)]), expected


def test_the_light_that_was_lost_is_in_the_model_and_the_counts_stay():
    counts, expected = blinded()
    p, plain = ut.read(counts, dead_time=2e-4, centre=(12, 12)), ut.read(counts, centre=(12, 12))
    assert np.array_equal(p.intensity, plain.intensity) and p.measured.all()
    share = 1 - 2e-4 * p.intensity
    np.testing.assert_allclose(p.sensitivity, share / share.mean(), rtol=1e-5)
    bright = np.fft.ifftshift(expected) > 1000
    factor = share.mean()
    back = (p.corrected().intensity / factor)[bright].sum() / np.fft.ifftshift(expected)[bright].sum()
    lost = plain.intensity[bright].sum() / np.fft.ifftshift(expected)[bright].sum()
    assert abs(back - 1) < 0.02 and lost < 0.8


def test_the_dark_loses_as_the_light_does():
    counts, _ = blinded()
    p = ut.read(counts, dead_time=2e-4, dark=np.full((24, 24), 2.0), centre=(12, 12))
    np.testing.assert_allclose(p.dark, 2 * (1 - 2e-4 * p.intensity), rtol=1e-5)


def test_pixels_that_were_blind_for_half_of_the_time_are_saturated():
    counts = np.random.default_rng(0).poisson(light(shape=(24, 24)))
    share = 0.75 / counts.max()
    number = int((counts * share >= BLIND).sum())
    with pytest.warns(ut.GuessWarning, match=f"{number} pixels were blind for half"):
        p = ut.read(counts, dead_time=share, centre=(12, 12))
    assert (~p.measured).sum() == number > 1 and not p.intensity[~p.measured].any() and p.sensitivity.min() > 0.4


@pytest.mark.parametrize(("text", "share"), [("1.2e-7/0.5", 2.4e-7), (" 1e-6 / 2 ", 5e-7), ("3e-5", 3e-5), (3e-5, 3e-5), (0, 0)])
def test_a_dead_time_is_seconds_over_seconds(text, share):
    assert share_of_exposure(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["1e-7/0", "a/b", "1/2/3", "", "-1e-7/1", "120/0.5", "nan", "1e-7/-1", -0.1, 1.0, None])
def test_a_dead_time_that_cannot_be_one_is_refused(text):
    with pytest.raises(InputError, match=r"over the seconds of a frame, such as 1\.2e-7/0\.5"):
        share_of_exposure(text)


def test_numbers_that_are_no_counts_and_more_counts_than_can_be_are_refused(scan):
    path, counts, _ = scan
    with pytest.raises(InputError, match="needs counts of photons"):
        ut.read(counts * 2.5, dead_time=1e-5, values="intensity")
    with pytest.raises(InputError, match="no more than 100 can be counted"):
        ut.read(path, dead_time="0.005/0.5")


def test_nothing_that_takes_no_time_changes_anything(scan):
    path, *_ = scan
    a, b = ut.read(path), ut.read(path, dead_time=0)
    assert b.sensitivity is None and np.array_equal(a.intensity, b.intensity) and a.warnings == b.warnings


# whole runs


def crystal(seed: int, n: int = 24) -> torch.Tensor:
    """(1, n, n, n): facets and a phase, centred."""
    rng = np.random.default_rng(seed)
    r = np.meshgrid(*[(np.arange(n) - n // 2) / n] * 3, indexing="ij")
    body = sum(a * a for a in r) < 0.2**2
    for _ in range(9):
        v = rng.normal(size=3)
        body &= sum(a * b for a, b in zip(v / np.linalg.norm(v), r)) < 0.18 * rng.uniform(0.7, 1)
    phase = 1.2 * np.sin(9 * r[-1] + rng.uniform(0, 6)) * np.cos(8 * r[0] + rng.uniform(0, 6))
    return torch.from_numpy((body * np.exp(1j * phase)).astype(np.complex64))[None]


@pytest.mark.filterwarnings("ignore::untwin.GuessWarning")
@pytest.mark.parametrize("seed", range(2))
def test_with_its_monitor_a_crystal_is_as_good_as_under_a_steady_beam_and_without_it_is_not(seed):
    x, n = crystal(seed), 24
    errors = {}
    for name, spread, used in (("steady", 0.0, False), ("with", 0.3, True), ("without", 0.3, False)):
        e = Detector(exposure=Total(3e7), monitor=spread).expose(x, Streams(seed, [0]))
        counts = np.fft.fftshift(e.intensity[0].numpy()).astype(np.int32)
        p = ut.read(counts, centre=(n // 2,) * 3, monitor=np.fft.fftshift(e.monitor[0].numpy()) if used else None)
        run = ut.reconstruct(p, "60*RAAR + 40*ER", support=np.abs(x[0].numpy()) > 0, seed=seed, starts=2, workers=1)
        errors[name] = ut.compare(run.image.numpy(), e.x[0].numpy()).error
    assert errors["with"] < 1.3 * errors["steady"] + 0.01 and errors["without"] > 2 * errors["with"]


def test_a_run_says_both_and_repeats_them(scan, tmp_path, capsys):
    path, _, monitor = scan
    np.save(tmp_path / "m.npy", monitor)
    options = ["--monitor", str(tmp_path / "m.npy"), "--dead-time", "1e-7/0.01"]
    run = ["reconstruct", str(path), *options, "--recipe", "20*ER", "--starts", "2", "-o", str(tmp_path / "a")]
    for command in (["inspect", str(path), *options], run):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code in (0, 3)
    out = capsys.readouterr().out
    assert "sensitivity  98 % of the pixels count" in out and "--dead-time 1e-7/0.01" in out.split("next")[1].splitlines()[0]
    text = (tmp_path / "a" / "run.toml").read_text()
    assert 'dead_time = "1e-7/0.01"' in text and f'monitor = "{tmp_path / "m.npy"}"' in text
    with pytest.raises(SystemExit):
        main(["reconstruct", "--config", str(tmp_path / "a" / "run.toml"), "-o", str(tmp_path / "b")])
    first, second = load(tmp_path / "a"), load(tmp_path / "b")
    assert torch.equal(first.image, second.image) and np.array_equal(first.pattern.sensitivity, second.pattern.sensitivity)
    assert first.pattern.source.options == {"monitor": str(tmp_path / "m.npy"), "dead_time": "1e-7/0.01"}
    first.save(tmp_path / "c")
    assert 'dead_time = "1e-7/0.01"' in (tmp_path / "c" / "run.toml").read_text(), "from Python as well"
