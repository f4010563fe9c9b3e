"""What kind of numbers a file holds: counts are read as they are, everything else is turned into photons or called unknown."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.config import resolved
from untwin.data.noise import Noise
from untwin.data.scatter import scatter_of
from untwin.errors import GuessWarning, InputError
from untwin.model.outline import outline
from untwin.simulate.detector import Detector, Total
from untwin.simulate.shapes import CLASSES
from untwin.simulate.streams import Streams

GRIDS = [(96, 96), (40, 40, 40)]


def counts(shape=(96, 96), photons=3e5, seed=0, **detector):
    """(counts, measured) of a complex body, centred."""
    streams = Streams(170, [seed])
    body = torch.from_numpy(CLASSES["complex"](shape, streams.generators[0]))[None]
    seen = Detector(Total(photons), **detector).expose(body, streams)
    return np.fft.fftshift(seen.intensity[0].numpy()), np.fft.fftshift(seen.measured[0].numpy())


def quiet(array, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return ut.read(array, **options)


def says(pattern, text):
    return any(text in w for w in pattern.warnings)


def plain(pattern):
    """As the array was."""
    return np.fft.fftshift(pattern.intensity)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("photons", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("kind", [np.int32, np.uint16, np.float32, np.float64])
def test_counts_are_read_without_a_word_and_with_the_same_bits(shape, photons, kind):
    I, _ = counts(shape, photons)
    I = np.minimum(I, 60_000 + np.arange(I.size).reshape(shape) % 1000)  # as uint16 has it, nothing shared
    p = ut.read(I.astype(kind), centre=[n // 2 for n in shape])
    assert p.noise == Noise() and p.counted and not p.warnings
    assert np.array_equal(plain(p), I)


@pytest.mark.parametrize(
    "detector",
    [
        {"background": 5.0},
        {"coherence": 0.5},
        {"threshold": 3.0},
        {"hot_unmasked": 10},
        {"streak": 0.02},
        {"gaps": 3, "beamstop": 3.0},
        {"sensitivity": 0.05},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", GRIDS)
def test_counts_of_a_real_detector_stay_counts(shape, detector):
    I, measured = counts(shape, 1e5, 1, **detector)
    p = quiet(I, mask=~measured, centre=[n // 2 for n in shape])
    used = measured & np.fft.fftshift(p.measured)  # hot pixels are masked
    assert p.noise == Noise() and used.sum() > 0.99 * measured.sum() and np.array_equal(plain(p)[used], I[used])


def ways(I, rng):
    with np.errstate(divide="ignore"):
        return {
            "x 0.37": (I * 0.37, Noise(gain=0.37)),
            "x 17": ((I * 17).astype(np.int32), Noise(gain=17)),
            "/ maximum": (I / I.max(), Noise(gain=1 / I.max())),
            "mean of 25": (I / 25, Noise(gain=0.04)),
            "+ 300": ((I + 300).astype(np.int32), Noise(offset=300)),
            "camera": ((40 * I + 500 + rng.normal(0, 3, I.shape)).round().astype(np.int32), Noise(gain=40, offset=500)),
            "camera, float": (4 * I + 50 + rng.normal(0, 0.3, I.shape), Noise(gain=4, offset=50)),
            "roots": (np.sqrt(I), Noise(form="amplitude")),
            "scaled roots": (np.sqrt(I / I.max()), Noise(gain=1 / I.max(), form="amplitude")),
            "log(1 + n)": (np.log1p(I), Noise(offset=1, form="logarithm")),
            "log10(1 + n)": (np.log10(1 + I), Noise(offset=1, form="logarithm")),
            "log10(n), -inf": (np.log10(I), Noise(form="logarithm")),
            "16 bits": ((I / I.max() * 65535).round().astype(np.uint16), Noise(gain=65535 / I.max())),
        }


@pytest.mark.parametrize("way", list(ways(np.ones((2, 2)), np.random.default_rng(0))))
@pytest.mark.parametrize("shape", GRIDS)
def test_what_still_are_photons_is_turned_back_into_them(shape, way):
    I = counts(shape)[0].astype(float)
    values, noise = ways(I, np.random.default_rng(1))[way]
    p = quiet(values.astype(np.float32) if values.dtype.kind == "f" else values)
    assert says(p, "taken") and p.counted and p.noise.form == noise.form
    assert p.noise.gain == pytest.approx(noise.gain, rel=1e-3) and p.noise.offset == pytest.approx(noise.offset, abs=0.1 * noise.gain)
    assert np.mean(plain(p) != I) < 1e-3  # of a camera one count in thousands is rounded to the next


def others(I, rng):
    flat = rng.normal(1, 0.05, I.shape)
    return {
        "flat-fielded": (I / flat, "intensity"),
        "roots, flat-fielded": (np.sqrt(I / flat), "amplitude"),
        "log, flat-fielded": (np.log1p(I / flat), "logarithm"),
        "8 bits": ((I / I.max() * 255).round().astype(np.uint8), "intensity"),
        "0 to 1 in 8 bits": (((I / I.max() * 255).round() / 255).astype(np.float32), "intensity"),
        "two decimals": (np.round(I / I.max() * 20, 2), "intensity"),
        "read noise": ((I + rng.normal(0, 2, I.shape).round()).astype(np.int32), "intensity"),
        "read noise, float": (I + rng.normal(0, 2, I.shape), "intensity"),
        "camera, much read noise": ((20 * I + 500 + rng.normal(0, 12, I.shape)).round().astype(np.int32), "intensity"),
    }


@pytest.mark.parametrize("way", list(others(np.ones((2, 2)), np.random.default_rng(0))))
@pytest.mark.parametrize("shape", GRIDS)
def test_what_are_no_photons_any_more_is_never_called_so(shape, way):
    I, _ = counts(shape, 1e6)
    values, form = others(I, np.random.default_rng(1))[way]
    p = quiet(values)
    assert says(p, "cannot be told") and p.noise.kind == "unknown" and not p.counted and p.noise.form == form
    assert p.measured.mean() > 0.99


def test_an_unknown_noise_is_scaled_to_photons():
    I, _ = counts(photons=1e6)
    rng = np.random.default_rng(2)
    for gain in (1e-4, 0.05, 30.0):
        p = quiet(I / rng.normal(1, 0.03, I.shape) * gain)
        assert not p.counted and p.noise.gain == pytest.approx(gain, rel=0.25)
        assert p.photons == pytest.approx(I.sum(), rel=0.25)
    as_it_is = I / rng.normal(1, 0.03, I.shape) * 0.4  # near enough to a photon each
    assert quiet(as_it_is).noise == Noise("unknown") and quiet(as_it_is).photons == pytest.approx(as_it_is.sum(), rel=1e-5)


def test_a_flat_background_is_no_offset():
    rng = np.random.default_rng(3)
    I = rng.poisson(counts()[0] + 40.0)  # 40 everywhere: never below 10
    p = quiet(I)
    assert I.min() > 10 and p.noise == Noise() and np.array_equal(plain(p), I)


@pytest.mark.parametrize("top", [1e-3, 0.05, 0.1, 1.0, 1e4])
def test_every_scale_is_read_alike(top):
    I, _ = counts((64, 64), 1e6)
    assert np.array_equal(plain(quiet((I / I.max() * top).astype(np.float32))), I)


@pytest.mark.parametrize("gain", [3.74, 4.93, 5.12, 7.57, 8.3, 13.48])
@pytest.mark.parametrize("shape", [(96, 96), (40, 40, 40)])
def test_counts_times_a_fraction_in_whole_numbers_are_never_read_with_another_gain(shape, gain):
    """Their lowest number is not that of a threshold, and a step that rounding hides is none."""
    for seed in range(3):
        noise = quiet(np.rint(counts(shape, 6e4, seed)[0] * gain).astype(np.uint16)).noise
        assert noise is not None and (noise.kind == "unknown" or noise.gain == pytest.approx(gain, rel=0.05))


def test_a_simulation_without_noise_is_unknown_and_unchanged():
    for shape in GRIDS:
        I, _ = counts(shape, noise=False)
        p = quiet(I)
        assert not p.counted and p.noise == Noise("unknown") and np.array_equal(plain(p), I)
        assert quiet(I / I.max()).photons > 1e6


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_negatives_that_wrapped_are_negative_again(kind):
    rng = np.random.default_rng(4)
    I, _ = counts((64, 64), 3e3)
    dark = rng.poisson(4, (2, *I.shape))
    raw = (np.minimum(I, 100) + dark[0]).astype(kind) - dark[1].astype(kind)
    assert raw.max() > np.iinfo(kind).max - 3
    p = quiet(raw)
    assert says(p, "wrapped") and p.measured.all() and np.array_equal(plain(p), np.maximum(np.minimum(I, 100) + dark[0] - dark[1], 0))


def test_codes_stand_alone_and_noise_does_not():
    rng = np.random.default_rng(5)
    I, _ = counts((64, 64), 3e4)
    stripes = I.astype(np.int32)
    stripes[:, 20:22], stripes[30] = -1, -2
    p = quiet(stripes)
    assert np.array_equal(np.fft.fftshift(p.measured), stripes >= 0) and p.counted
    for noise in (0.4, 2.0):
        noisy = (I + rng.normal(0, noise, I.shape).round()).astype(np.int32)
        assert (noisy == -1).mean() > 0.05 and quiet(noisy).measured.all()
    noisy[:, 20:22] = -9999
    assert np.array_equal(np.fft.fftshift(quiet(noisy).measured), noisy > -9999)


def test_weak_patterns_in_read_noise_are_read_and_empty_ones_are_not():
    rng = np.random.default_rng(6)
    I, _ = counts((96, 96), 3e3)
    p = quiet((I + rng.normal(0, 2, I.shape)).astype(np.float32))
    assert p.intensity.min() == 0 and not p.counted
    with pytest.raises(InputError, match="are negative"):
        quiet(rng.poisson(20, (32, 32)) - 25)


def noises(shape, rng):
    return {
        "normal": rng.normal(0, 2, shape),
        "whole numbers": rng.normal(0, 2, shape).round(),
        "uniform": rng.uniform(-4, 4, shape),
        "a dark subtracted": rng.poisson(3, shape) - 3.0,
        "two frames": rng.poisson(3, shape) - rng.poisson(3, shape),
        "stronger along a side": rng.normal(0, 1, shape) * np.linspace(1, 3, shape[-1]),
    }


@pytest.mark.parametrize("noise", list(noises((1, 1), np.random.default_rng(0))))
@pytest.mark.parametrize("shape", GRIDS)
def test_the_model_expects_what_setting_negatives_to_zero_adds(shape, noise):
    """Whatever the noise about zero, where there is little light, in the middle range, and where there is much."""
    I, _ = counts(shape, 3e4)
    v = I + noises(shape, np.random.default_rng(9))[noise]
    p = quiet(v)
    assert (
        not p.counted
        and says(p, "as the model expects")
        and p.dark is not None
        and np.array_equal(plain(p), np.maximum(v, 0).astype(np.float32))
    )
    added, expected = plain(p) - v, np.fft.fftshift(p.dark)
    usual = added[I == 0].mean()
    assert usual > 0.5 and abs((added - expected)[I == 0].mean()) < 0.15 * usual
    assert expected[I > 10].mean() < 0.4 * usual  # dark pixels beside them have a little say


def test_where_too_much_was_subtracted_and_where_little_is_negative_the_model_expects_no_more():
    I, _ = counts((96, 96), 1e6, 4)
    p = quiet(I - 5)  # the light in a dark pixel is 5 more than its number, and no noise
    assert says(p, "too much was subtracted") and p.dark is None
    assert not says(quiet(I + np.random.default_rng(12).normal(0, 2, I.shape)), "too much")
    few = I.copy()
    few[::12, ::12] = -1
    assert quiet(few).dark is None and quiet(I).dark is None and quiet(few).counted


@pytest.mark.parametrize("seed", range(6))
def test_the_outline_of_a_few_photons_is_no_wider_where_their_noise_is_not_known(seed):
    I, _ = counts((64, 64), 1.2e4, seed)
    p = quiet(I, centre=(32, 32))
    known, unknown = outline(p), outline(replace(p, noise=Noise("unknown")))
    assert unknown.bounds.sum() < 1.12 * known.bounds.sum() and unknown.support.sum() < 1.12 * known.support.sum()
    assert known.bounds.sum() < 1.12 * unknown.bounds.sum()


def test_a_dark_and_what_negatives_add_are_both_expected():
    rng = np.random.default_rng(11)
    I, _ = counts((96, 96), 1e5)
    v = I + rng.normal(0, 2, I.shape)
    alone, both = quiet(v, centre=(48, 48)), quiet(v, centre=(48, 48), dark=np.full(I.shape, 0.5))
    assert np.allclose(both.dark, alone.dark + 0.5)
    bad = np.zeros(I.shape, bool)
    bad[40:44] = bad[:, 10] = True
    masked = quiet(np.where(bad, -7, v), mask=bad, centre=(48, 48))
    used = masked.measured
    assert not masked.dark[~used].any() and abs(masked.dark[used].mean() / alone.dark[used].mean() - 1) < 0.05


def test_what_the_user_says_is_taken():
    I, _ = counts()
    p = quiet(np.sqrt(I / 7).astype(np.float32), values="amplitudes")
    assert p.counted and np.array_equal(plain(p), I)
    p = ut.read(7 * I + 30, gain=7, offset=30)
    assert p.noise == Noise("photons", 7, 30) and np.allclose(plain(p), I) and p.source.options == {"gain": 7.0, "offset": 30.0}
    assert not quiet(I, values="intensity").counted
    p = quiet((I / np.random.default_rng(7).normal(1, 0.05, I.shape)).astype(np.float32), values="photons")
    assert says(p, "as you say") and p.counted
    assert np.allclose(plain(quiet(np.log1p(I), values="logarithm", gain=1)), I, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, value", [("gain", 0), ("gain", -1), ("gain", np.nan), ("offset", np.inf), ("gain", "x"), ("values", "counts")]
)
def test_what_makes_no_sense_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name}="):
        ut.read(counts()[0], **{name: value})


def test_the_options_reach_the_run(tmp_path):
    run = resolved(None, {"file": tmp_path / "p.npy", "values": "amplitudes", "gain": 2.5, "offset": 1})
    assert {k: v for k, v in run.reading().items() if v not in (None, False)} == {"values": "amplitudes", "gain": 2.5, "offset": 1}
    with pytest.raises(InputError, match="values"):
        resolved(None, {"file": tmp_path / "p.npy", "values": "counts"})


@pytest.mark.parametrize("shape", GRIDS)
def test_the_scatter_of_counts_is_their_mean_whatever_the_object(shape):
    for seed in range(3):
        I, measured = counts(shape, 1e6, seed)
        fano, error = scatter_of(I, measured).fano()
        assert abs(fano - 1) < 5 * error and error < 0.2
        p, error = scatter_of(I, measured).power()
        assert abs(p - 1) < 0.15 + 4 * error


@pytest.mark.parametrize("shape", [(8, 8), (8, 200), (16, 9), (8, 8, 8), (9, 30, 40)])
def test_small_and_pierced_arrays_are_read_in_every_form(shape):
    """Too few blocks, or none, tell nothing of the scatter; the spacing still does."""
    rng = np.random.default_rng(8)
    I = rng.poisson(20, shape) + 5 * rng.poisson(0.1, shape)
    pierced = np.indices(shape).sum(0) % 4 == 0
    centre = [n // 2 for n in shape]
    for mask in (np.zeros(shape, bool), pierced):
        assert quiet(I, mask=mask, centre=centre).noise == Noise()
        for values, form in ((I * 0.37, "intensity"), (np.sqrt(I), "amplitude"), (np.log1p(I), "logarithm")):
            assert quiet(values, mask=mask, centre=centre).noise.form == form
        quiet(I + rng.normal(0, 0.2, shape), mask=mask, centre=centre)
        quiet(rng.random(shape), mask=mask, centre=centre)


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_negative_arrays_are_refused_and_one_negative_is_not(kind):
    I = counts((64, 64), 3e4)[0]
    with pytest.raises(InputError, match="negative|nowhere above 0"):
        quiet((-3.0 * I - 5).astype(kind))
    I[3, 4] = -7
    assert quiet(I.astype(kind)).measured.mean() > 0.99


def test_what_the_user_says_is_taken_and_doubted_where_the_numbers_look_otherwise():
    I, _ = counts((96, 96), 1e6, 4)
    cases = (
        (I, {"values": "amplitudes"}, "taken as amplitudes, as you say; but they look like counts"),
        (I, {"values": "logarithm"}, "the values cannot be a logarithm, as you say"),
        (I, {"gain": 40.0}, "taken as photons with a gain of 40, as you say; but they look like counts"),
        (np.sqrt(I), {"values": "photons"}, "taken as photons, as you say; but values are square roots of counts"),
        (40 * I + 500, {"gain": 40.0}, "as you say; but the values are photons times 40 on an offset of 500"),
        (I, {"offset": -5.0}, "an offset of -5 is subtracted, as you say; but they look like counts of photons as they are"),
        (I + 300, {"offset": 200.0}, "an offset of 200 is subtracted, as you say; but the values are photons on an offset of 300"),
    )
    for values, options, sentence in cases:
        assert any(w.startswith(("taken", "the values", "an offset")) and sentence in w for w in quiet(values, **options).warnings), options
        assert not any("as you say; but" in w and w.endswith("subtracted") for w in quiet(values, **options).warnings)
    for values, options in (
        (np.sqrt(I), {"values": "amplitudes"}),
        (40 * I + 500, {"gain": 40.0, "offset": 500.0}),
        (I, {"values": "photons"}),
    ):
        assert not any("as you say" in w for w in quiet(values, **options).warnings), options


def test_an_offset_below_zero_is_taken_out_and_its_number_is_no_code():
    I, _ = counts((96, 96), 1e6, 4)
    for gain, offset in ((1, -5), (40, -30)):
        values = gain * I + offset
        p = ut.read(values, offset=offset)
        assert p.noise == Noise("photons", gain, offset) and p.measured.all() and np.array_equal(plain(p), I)
        assert ut.read(values, gain=gain, offset=offset).noise == p.noise
    with pytest.raises(InputError, match=r"say so with offset="):
        quiet(values)


def test_zeros_of_a_logarithm_of_counts_and_a_small_number_are_said_to_be_no_codes_by_the_user():
    I, _ = counts((96, 96), 1e5, 4)
    values = np.log10(I + 1e-10)
    with pytest.raises(InputError, match=r'with values="logarithm" \(--values logarithm\)'):
        quiet(values)
    p = ut.read(values, values="logarithm")
    assert p.measured.all() and np.array_equal(plain(p), I)


def test_light_in_a_pixel_or_two_is_no_pattern():
    I = np.zeros((64, 64))
    I[32, 32] = 7
    with pytest.raises(InputError, match="light in 1 of 4,096 pixels alone"):
        ut.read(I)


def test_the_mask_of_a_masked_array_is_one():
    I, _ = counts((96, 96), 1e6, 4)
    bad = np.zeros(I.shape, bool)
    bad[10:20] = True
    p = quiet(np.ma.masked_array(np.where(bad, 10**6, I), bad), centre=(48, 48))
    assert np.array_equal(np.fft.fftshift(~p.measured), bad)
