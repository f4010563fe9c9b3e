"""The detector: what it counts, what it hides and what it says about it, each a function of the sample's own generator."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from untwin import expression
from untwin.errors import InputError
from untwin.simulate import detector as detector_module
from untwin.simulate.detector import Detector, Exposure, Peak, Total, beamstop, measure
from untwin.simulate.settings import Between, OneOf
from untwin.simulate.streams import Streams

NAMES = {c.__name__: c for c in (Detector, Total, Peak, Between, OneOf)}
SHAPES = [(64, 64), (63, 50), (12, 17, 18)]
EVERYTHING = Detector(
    Peak(Between(1e3, 1e5, log=True)),
    coherence=Between(0.1, 0.5),
    background=Between(0, 0.1),
    stray=OneOf((0, 0.02)),
    beamstop=Between(0, 3),
    gaps=Between(0, 2),
    gap_width=Between(1, 3),
    hot=0.01,
    dead=Between(0.0, 0.02),
    threshold=OneOf((0, 2)),
    saturation=Between(5e3, 5e4),
)
DISTURBED = replace(
    EVERYTHING,
    saturation=None,
    coherence_across=Between(0.0, 0.3),
    coherence_angle=Between(-90, 90),
    air_scatter=Between(0, 5),
    air_scatter_width=Between(0.2, 0.5),
    air_scatter_slope=Between(-1, 1),
    streak=OneOf((0, 0.02)),
    sensitivity=Between(0, 0.1),
    hot_unmasked=Between(0, 9),
    hot_counts=Between(100, 5000),
    clipped=Between(0.0, 0.02),
)


def objects(shape: tuple[int, ...], samples: int = 1, seed: int = 0) -> torch.Tensor:
    """Complex noise in a box of a third of the array, centred at N//2."""
    rng = np.random.default_rng(seed)
    x = np.zeros((samples, *shape), np.complex64)
    box = (slice(None), *(slice(n // 2 - n // 6, n // 2 + n // 6 + 1) for n in shape))
    x[box] = rng.normal(size=x[box].shape) + 1j * rng.normal(size=x[box].shape)
    return torch.from_numpy(x)


def expose(detector: Detector, x: torch.Tensor, seed: int = 0) -> Exposure:
    return detector.expose(x, Streams(seed, range(len(x))))


def expected(x: torch.Tensor) -> np.ndarray:
    """|F x|², FFT order, by NumPy in double precision."""
    axes = tuple(range(1, x.ndim))
    return np.abs(np.fft.fftn(np.fft.ifftshift(x.numpy().astype(complex), axes), axes=axes, norm="ortho")) ** 2


def points(shape: tuple[int, ...], *places: tuple[int, ...]) -> torch.Tensor:
    """Equal points this far from the centre."""
    x = torch.zeros((1, *shape), dtype=torch.complex64)
    for place in places:
        x[(0, *(n // 2 + p for n, p in zip(shape, place)))] = 1
    return x


# laws


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("detector", [Detector(beamstop=2), EVERYTHING, DISTURBED], ids=["plain", "everything", "disturbed"])
def test_a_sample_does_not_depend_on_its_batch(detector, shape):
    x = objects(shape, 7)
    together = detector.expose(x, Streams(3, range(7)))
    for i in range(7):
        alone = detector.expose(x[i : i + 1], Streams(3, [i]))
        assert torch.equal(alone.intensity[0], together.intensity[i]) and torch.equal(alone.measured[0], together.measured[i])
        assert torch.equal(alone.x[0], together.x[i]) and alone.labels[0] == together.labels[i]
        assert alone.flat is together.flat is None or torch.equal(alone.flat[0], together.flat[i])
    assert not torch.equal(together.intensity[0], detector.expose(x[:1], Streams(4, [0])).intensity[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("detector", [EVERYTHING, DISTURBED], ids=["everything", "disturbed"])
def test_all_rows_at_once_as_on_a_gpu_are_the_rows_one_by_one(shape, detector, monkeypatch):
    """To rounding, so without noise and thresholds."""
    x, quiet = objects(shape, 5), replace(detector, noise=False, threshold=0, saturation=None)
    one = expose(quiet, x)
    monkeypatch.setattr(detector_module, "_each", lambda function, *rows: function(*rows))
    two = expose(quiet, x)
    assert torch.equal(one.measured, two.measured) and torch.allclose(one.x, two.x, rtol=1e-5)
    assert (one.intensity - two.intensity).abs().max() < 1e-5 * one.intensity.max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [True, False])
def test_an_exposure_is_whole_numbers_in_single_precision_and_zero_where_not_measured(shape, noise):
    x = objects(shape, 4)
    e = Detector(Peak(3e3), noise=noise, beamstop=2, gaps=1, hot=0.02, background=0.3, stray=0.1).expose(x, Streams(0, range(4)))
    assert e.intensity.dtype == torch.float32 and e.measured.dtype == torch.bool and e.x.dtype == torch.complex64
    assert e.intensity.shape == e.measured.shape == e.x.shape == x.shape
    assert (e.intensity >= 0).all() and not e.intensity[~e.measured].any()
    assert torch.equal(e.intensity, e.intensity.round()) == noise
    assert json.loads(json.dumps(e.labels)) == e.labels and {type(v) for label in e.labels for v in label.values()} == {int, float}


@pytest.mark.parametrize("shape", SHAPES)
def test_without_noise_the_counts_are_the_intensity_of_the_scaled_object(shape):
    x = objects(shape, 3)
    e = expose(Detector(Total(Between(1e3, 1e6, log=True)), noise=False), x)
    mean = expected(e.x)
    assert np.abs(e.intensity.numpy() - mean).max() < 1e-5 * mean.max() and e.measured.all()
    ratio = e.x[x != 0] / x[x != 0]
    assert ratio.imag.abs().max() < 1e-6 * ratio.abs().max() and ratio.real.min() > 0 and not e.x[x == 0].any()
    assert len({label["photons"] for label in e.labels}) == 3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coherence", [0.0, 0.4])
def test_totals_and_peaks_are_as_asked_on_the_measured_pixels(shape, coherence):
    x, more = objects(shape, 3), {"noise": False, "coherence": coherence, "beamstop": 2.5, "gaps": 1, "dead": 0.02}
    total = expose(Detector(Total(Between(1e4, 1e5)), **more), x)
    peak = expose(Detector(Peak(Between(1e2, 1e3)), **more), x)
    for i in range(3):
        sums = [float(e.intensity[i].double().sum()) for e in (total, peak)]
        tops = [float(e.intensity[i].max()) for e in (total, peak)]
        assert 1e4 <= total.labels[i]["photons"] <= 1e5 and 1e2 <= peak.labels[i]["peak"] <= 1e3
        assert sums == pytest.approx([e.labels[i]["photons"] for e in (total, peak)], rel=1e-5)
        assert tops == pytest.approx([e.labels[i]["peak"] for e in (total, peak)], rel=1e-5)


def test_a_plane_wave_lands_where_its_frequency_says():
    """FFT order, zero first: exp(+2πi k·r/N) is the pixel k, and negative frequencies lie at the end."""
    i, j = np.ogrid[-32:32, -25:25]
    x = np.exp(2j * np.pi * (5 * i / 64 - 3 * j / 50) - (i**2 + j**2) / 50)
    e = expose(Detector(), torch.from_numpy(x.astype(np.complex64))[None])
    assert np.unravel_index(int(e.intensity[0].argmax()), (64, 50)) == (5, 50 - 3)


# noise


def test_the_counts_of_many_exposures_are_poisson():
    """Bright pixels by their scatter (chi-square, and too little of it fails as well); dim ones by the frequency of each count."""
    samples = 300
    e = expose(Detector(Total(3e4), beamstop=1), objects((32, 32)).expand(samples, 32, 32).contiguous())
    mean, counts, seen = expected(e.x[:1])[0], e.intensity.numpy().astype(float), e.measured[0].numpy()
    bright = seen & (mean > 5)
    z = ((counts - mean) ** 2 / mean)[:, bright]
    assert bright.sum() > 200 and 1e-4 < stats.chi2.cdf(z.sum(), z.size) < 1 - 1e-4
    low, high = np.quantile(stats.chi2.cdf(z.sum(0), samples), [0.1, 0.9])
    assert low == pytest.approx(0.1, abs=0.06) and high == pytest.approx(0.9, abs=0.06)
    dim = seen & (mean > 0.2) & (mean < 3)
    found = [(counts[:, dim] == n).sum() for n in range(5)]
    awaited = [samples * stats.poisson.pmf(n, mean[dim]).sum() for n in range(5)]
    rest = counts[:, dim].size
    assert dim.sum() > 20 and stats.chisquare([*found, rest - sum(found)], [*awaited, rest - sum(awaited)]).pvalue > 1e-4


def test_the_background_is_poisson_too_and_does_not_count_as_exposure():
    x = points((64, 64), (0, 0))  # flat: 1 photon per pixel
    e = expose(Detector(Total(64 * 64), background=2.5), x)
    counts = e.intensity[0].numpy().astype(int).ravel()
    edges = [(counts == n).sum() for n in range(9)]
    awaited = counts.size * stats.poisson.pmf(range(9), 3.5)
    assert stats.chisquare([*edges, counts.size - sum(edges)], [*awaited, counts.size - awaited.sum()]).pvalue > 1e-4
    assert e.labels[0]["photons"] == 4096 and e.labels[0]["background"] == 2.5 and e.measured.all()
    assert np.allclose(expose(Detector(Total(4096), noise=False, background=2.5), x).intensity, 3.5)


# coherence


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("shape", "axis", "distance"), [((64, 64), 0, 8), ((64, 48), 1, 4), ((16, 18, 24), 2, 6)])
def test_partial_coherence_lowers_the_visibility_of_two_points_by_the_formula(shape, axis, distance, sigma):
    """1 + cos(2π k d / N), blurred, keeps its mean and loses exp(−2π² σ² d² / N²) of its fringes."""
    place = tuple(distance if a == axis else 0 for a in range(len(shape)))
    i = expose(Detector(noise=False, coherence=sigma), points(shape, (0,) * len(shape), place)).intensity[0].double()
    visibility = (i.max() - i.min()) / (i.max() + i.min())
    assert float(visibility) == pytest.approx(np.exp(-2 * (np.pi * sigma * distance / shape[axis]) ** 2), rel=1e-5, abs=2e-7)
    assert float(i.sum()) == pytest.approx(1e6, rel=1e-6)


def test_dark_pixels_stay_dark_where_the_blur_rounds_below_zero():
    x = torch.zeros((1, 64, 64), dtype=torch.complex64)
    x[:, 24:40, 24:40] = 1  # a square aperture: every fourth row and column is dark
    e = expose(Detector(coherence=1e-6), x)
    assert (e.intensity >= 0).all() and not e.intensity[0, 4::4].any() and e.intensity[0, 0, 0] > 1000


def test_partial_coherence_is_a_gaussian_blur_of_the_pattern():
    x = objects((48, 40))
    blurred = expose(Detector(Total(1e6), noise=False, coherence=1.5), x).intensity[0].numpy()
    sharp = expose(Detector(Total(1e6), noise=False), x).intensity[0].numpy().astype(float)
    assert np.abs(blurred - ndimage.gaussian_filter(sharp, 1.5, mode="wrap", truncate=8)).max() < 1e-4 * blurred.max()
    assert np.abs(blurred - sharp).max() > 0.1 * sharp.max()


# stray light


@pytest.mark.parametrize("shape", [(64, 64), (63, 50), (24, 25, 26)])
def test_stray_light_is_a_few_spots_away_from_the_centre_and_nobody_masks_it(shape):
    x, photons, samples = objects(shape, 8), 1e5, 8
    e = expose(Detector(Total(photons), noise=False, stray=0.2), x)
    extra = e.intensity.numpy() - expected(e.x)
    assert e.measured.all() and {label["blobs"] for label in e.labels} == {1, 2, 3}
    assert extra.reshape(samples, -1).sum(1) == pytest.approx(np.full(samples, 0.2 * photons), rel=1e-3)
    assert extra.min() > -1e-4 * extra.max()
    far = np.sqrt(sum(np.square(k) for k in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    assert (extra * (far < 0.1)).reshape(samples, -1).sum(1).max() < 0.01 * 0.2 * photons
    brightest = np.sort(extra.reshape(samples, -1), 1)[:, -far.size // 10 :]
    assert brightest.sum(1).min() > 0.9 * 0.2 * photons
    some = expose(Detector(Total(photons), noise=False, stray=OneOf((0, 0.2))), x)
    assert np.array_equal(some.x, e.x) and {label["stray"] for label in some.labels} == {0, 0.2}
    assert all((label["blobs"] > 0) == (label["stray"] > 0) for label in some.labels)


# masks


@pytest.mark.parametrize("shape", SHAPES)
def test_the_beamstop_is_a_ball_of_the_drawn_radius(shape):
    e = expose(Detector(beamstop=Between(0, 4)), objects(shape, 5))
    for measured, label in zip(e.measured.numpy(), e.labels, strict=True):
        assert np.array_equal(measured, beamstop(shape, label["beamstop"])) and label["measured"] == pytest.approx(measured.mean())
    off = expose(Detector(beamstop=OneOf((0, 3))), objects(shape, 12))
    for measured, label in zip(off.measured.numpy(), off.labels, strict=True):
        assert measured[(0,) * len(shape)] == (label["beamstop"] == 0)
    assert {label["beamstop"] for label in off.labels} == {0, 3}


def stripes(hidden: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gap_is_one_straight_band_of_the_detector(shape):
    """In a 3D pattern it runs through all frames, and is never a missing frame."""
    e = expose(Detector(gaps=1, gap_width=3), objects(shape, 40))
    across, starts = [], set()
    for measured in np.fft.fftshift(e.measured.numpy(), axes=tuple(range(1, len(shape) + 1))):
        frames = measured.reshape(-1, *shape[-2:])
        assert (frames == frames[0]).all()
        rows, columns = ~frames[0].any(1), ~frames[0].any(0)
        assert np.array_equal(frames[0], ~(rows[:, None] | columns[None, :])) and stripes(rows) + stripes(columns) == [3]
        across.append(bool(rows.any()))
        starts.add(int(np.flatnonzero(rows if rows.any() else columns)[0]))
    assert 8 <= sum(across) <= 32 and len(starts) > 8


def test_gaps_are_as_many_and_as_wide_as_drawn():
    e = expose(Detector(gaps=Between(0, 3), gap_width=Between(1, 2)), objects((64, 64), 60))
    numbers = set()
    for measured, label in zip(np.fft.fftshift(e.measured.numpy(), axes=(1, 2)), e.labels, strict=True):
        found = stripes(~measured.any(1)) + stripes(~measured.any(0))
        assert sum(found) <= 2 * label["gaps"] and len(found) <= label["gaps"]  # they may touch
        numbers.add((len(found), label["gaps"]))
        assert label["gaps"] <= 1 or found
    assert {(n, n) for n in range(4)} <= numbers


@pytest.mark.parametrize("shape", [(64, 64), (6, 63, 50)])
@pytest.mark.parametrize("kind", ["hot", "dead"])
def test_bad_pixels_are_masked_in_every_frame_and_counted_in_the_label(kind, shape):
    e = expose(Detector(**{kind: 0.05}), objects(shape, 10))
    bad = ~e.measured.numpy().reshape(10, -1, *shape[-2:])
    assert (bad == bad[:, :1]).all() and len({b.tobytes() for b in bad}) == 10
    assert [label[kind] for label in e.labels] == bad[:, 0].sum((1, 2)).tolist()
    assert not any(label["dead" if kind == "hot" else "hot"] for label in e.labels)
    pixels = bad[:, 0].size
    assert 1e-4 < stats.binom.cdf(bad[:, 0].sum(), pixels, 0.05) < 1 - 1e-4


def test_hot_and_dead_pixels_are_different_pixels():
    e = expose(Detector(hot=0.4, dead=0.5), objects((64, 64)))
    assert e.labels[0]["hot"] + e.labels[0]["dead"] == int((~e.measured).sum()) and e.labels[0]["hot"] > 1000 < e.labels[0]["dead"]


def test_saturated_pixels_are_masked_and_dim_ones_read_zero():
    x = objects((64, 64), 3)
    free = expose(Detector(Peak(1e4)), x)
    limit = float(free.intensity[0].flatten().sort().values[-20])  # one pixel reads exactly this, and no longer counts
    e = expose(Detector(Peak(1e4), threshold=20, saturation=limit), x)
    assert torch.equal(e.measured, free.intensity < limit) and not e.measured.all()
    assert torch.equal(e.intensity, free.intensity.where((free.intensity >= 20) & (free.intensity < limit), torch.zeros(())))
    assert (e.measured & (free.intensity > 0) & (e.intensity == 0)).any()
    assert [label["saturated"] for label in e.labels] == (~e.measured).sum((1, 2)).tolist()
    assert e.labels[0]["saturation"] == limit and "saturation" not in free.labels[0]


# text and refusals


@pytest.mark.parametrize(
    "detector",
    [
        Detector(),
        EVERYTHING,
        DISTURBED,
        Detector(Total(OneOf((1e4, 1e6))), noise=False),
        Detector(Peak(), gaps=2, saturation=65535),
        Detector(Total(7)),
    ],
)
def test_a_detector_is_its_own_text(detector):
    assert expression.read(repr(detector), NAMES) == detector
    assert repr(Detector(Peak(Between(10, 1000)), beamstop=3)) == "Detector(exposure=Peak(counts=Between(10, 1000)), beamstop=3)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Total(-1), r"Total\(photons=-1\): expected a number, 1 to 1e\+12"),
        (lambda: Total(float("nan")), "photons=nan"),
        (lambda: Peak(Between(0, 10)), r"Peak\(counts=Between\(0, 10\)\)"),
        (lambda: Detector(1e6), r"exposure=1000000.0\): expected Total\(photons\) or Peak\(counts\)"),  # type: ignore[arg-type]
        (lambda: Detector(noise=1), "noise=1"),  # type: ignore[arg-type]
        (lambda: Detector(coherence=-0.1), "coherence=-0.1"),
        (lambda: Detector(background=float("inf")), "background=inf"),
        (lambda: Detector(stray=2), "stray=2.*0 to 1"),
        (lambda: Detector(beamstop=Between(-1, 3)), "beamstop=Between"),
        (lambda: Detector(gaps=1.5), "gaps=1.5.*whole"),
        (lambda: Detector(gap_width=0), "gap_width=0.*whole"),
        (lambda: Detector(hot=0.6), "hot=0.6"),
        (lambda: Detector(dead=OneOf((0.1, -0.1))), "dead=OneOf"),
        (lambda: Detector(threshold=-1), "threshold=-1"),
        (lambda: Detector(saturation=0), "saturation=0"),
        (lambda: Detector(coherence_across=-0.1), "coherence_across=-0.1.*0 or more"),
        (lambda: Detector(coherence=0.3, coherence_angle=35), "a round blur has no angle; give coherence_across"),
        (lambda: Detector(coherence_across=0.1, coherence_angle=400), "coherence_angle=400.*-360 to 360"),
        (lambda: Detector(air_scatter=-1), "air_scatter=-1"),
        (lambda: Detector(air_scatter_width=0), "air_scatter_width=0"),
        (lambda: Detector(air_scatter_slope=1.5), "air_scatter_slope=1.5.*-1 to 1"),
        (lambda: Detector(streak=1.5), "streak=1.5.*0 to 1"),
        (lambda: Detector(sensitivity=-0.1), "sensitivity=-0.1"),
        (lambda: Detector(monitor=1.1), "monitor=1.1"),
        (lambda: Detector(hot_unmasked=1.5), "hot_unmasked=1.5.*whole"),
        (lambda: Detector(hot_counts=0), "hot_counts=0"),
        (lambda: Detector(clipped=0.6), "clipped=0.6.*0 to 0.5"),
        (lambda: expose(Detector(hot_unmasked=Between(0, 2000)), objects((63, 50))), "hot_unmasked=.*at most half of the detector's 3150"),
        (lambda: expose(Detector(gaps=1, gap_width=50), objects((63, 50))), "gap_width=50.*50 pixels; narrow"),
        (lambda: expose(Detector(), objects((64, 64)).real), "float32.*expected complex64"),
        (lambda: expose(Detector(), objects((64, 64))[0]), r"\(64, 64\).*samples"),
        (lambda: Detector().expose(objects((64, 64)), Streams(0, range(2))), "1 samples, the streams 2"),
        (lambda: Detector().expose(objects((64, 64)), Streams(0, [0], "meta")), "on cpu, the streams on meta"),
        (lambda: expose(Detector(), 0 * objects((64, 64), 2)), "sample 0 of the batch has an intensity of 0 on its 4096"),
        (lambda: expose(Detector(), float("nan") * objects((64, 64))), "intensity of nan"),
        (lambda: expose(Detector(beamstop=99), objects((64, 64))), "0 measured pixels.*smaller beamstop"),
        (lambda: expose(Detector(background=100, saturation=1), objects((64, 64))), "saturates every pixel"),
    ],
)
def test_what_cannot_be_is_refused_and_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


# disturbances that no mask knows of


def frequencies(shape: tuple[int, ...]) -> list[np.ndarray]:
    return list(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij"))


def quiet(x: torch.Tensor, **settings) -> tuple[np.ndarray, Exposure]:
    """Expected counts beyond those of the object, and the exposure."""
    e = expose(Detector(Total(1e5), noise=False, **settings), x)
    return e.intensity.numpy() - expected(e.x), e


@pytest.mark.parametrize("setting", ["air_scatter", "streak", "sensitivity", "monitor", "hot_unmasked", "clipped"])
def test_what_is_off_draws_no_random_number_and_has_no_label(setting):
    """A recipe of an earlier release keeps its bits: settings at nothing change none, and nor do those that would say of what kind."""
    x = objects((64, 64), 3)
    before, after = (
        expose(EVERYTHING, x),
        expose(replace(EVERYTHING, **{setting: 0}, hot_counts=7, air_scatter_width=Between(0.1, 0.9)), x),
    )
    assert torch.equal(before.intensity, after.intensity) and torch.equal(before.x, after.x) and before.labels == after.labels
    assert set(before.labels[0]) == {
        *("coherence", "background", "stray", "threshold", "saturation", "photons", "peak", "blobs"),
        *("beamstop", "gaps", "hot", "dead", "saturated", "measured"),
    }
    assert before.flat is None


def test_the_order_of_the_draws_is_that_of_the_first_release():
    """Of everything that it had, drawn again from a generator by hand: the labels, and what the generator gives next."""
    x, streams, g = objects((64, 64)), Streams(5, [0]), np.random.default_rng((5, 0))
    label = replace(EVERYTHING, noise=False).expose(x, streams).labels[0]
    u = g.random(6)  # peak, coherence, background, stray, threshold, saturation
    assert (label["peak"], label["coherence"]) == pytest.approx((1e3 * 100 ** u[0], 0.1 + 0.4 * u[1]))
    assert (label["background"], label["stray"], label["threshold"]) == pytest.approx((0.1 * u[2], 0.02 * (u[3] >= 0.5), 2 * (u[4] >= 0.5)))
    assert label["saturation"] == pytest.approx(5e3 + 4.5e4 * u[5])
    u = g.random(2)
    assert label["beamstop"] == pytest.approx(3 * u[0]) and label["gaps"] == int(3 * u[1])
    g.random(6)  # of two gaps the width, the axis, the place
    dead, u = 0.02 * g.random(), g.random((64, 64))
    assert label["hot"] == (u < 0.01).sum() and label["dead"] == (u >= 1 - dead).sum()
    number = 1 + int(3 * g.random())
    assert label["blobs"] == (number if label["stray"] else 0)
    for _ in range(2):
        g.standard_normal((3, 2), np.float32)
    g.random((3, 3))
    assert streams.generators[0].random() == g.random()


@pytest.mark.parametrize("detector", [Detector(hot_unmasked=5), Detector(clipped=0.01)])
def test_what_happens_after_the_counting_leaves_the_noise_as_it_was(detector):
    x = objects((64, 64))
    one, two = expose(Detector(), x).intensity, expose(detector, x).intensity
    assert 0 < int((one != two).sum()) <= 41


@pytest.mark.parametrize("shape", [(64, 64), (63, 50), (16, 18, 20)])
@pytest.mark.parametrize("angle", [0.0, 35.0, -60.0])
def test_partial_coherence_has_the_axes_and_the_angle_that_are_asked_for(shape, angle):
    """Of two points at r, the fringes keep exp(−2π² Σ_jk C_jk r_j r_k / N_j N_k); C from a rotation matrix."""
    along, across, d = 1.2, 0.4, len(shape)
    r = np.array([2, 3, -4][-d:])
    e = expose(Detector(noise=False, coherence=along, coherence_across=across, coherence_angle=angle), points(shape, (0,) * d, tuple(r)))
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.eye(d)
    turn[-2:, -2:] = [[c, -s], [s, c]]
    covariance = turn @ np.diag([*[across**2] * (d - 2), along**2, across**2]) @ turn.T
    k = frequencies(shape)
    fringe = np.cos(2 * np.pi * sum(f * v / n for f, v, n in zip(k, r, shape)))
    reciprocal = r / np.array(shape)
    mean = 1 + fringe * np.exp(-2 * np.pi**2 * reciprocal @ covariance @ reciprocal)
    np.testing.assert_allclose(e.intensity[0].numpy(), mean * 1e6 / mean.sum(), rtol=2e-5)
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
    assert e.labels[0]["covariance"] == pytest.approx([*np.diag(covariance), *(covariance[p] for p in pairs)], abs=1e-12)
    assert (e.labels[0]["coherence"], e.labels[0]["coherence_across"], e.labels[0]["coherence_angle"]) == (along, across, angle)


@pytest.mark.parametrize("shape", SHAPES)
def test_coherence_with_equal_axes_is_the_round_one(shape):
    x = objects(shape, 2)
    one = expose(Detector(noise=False, coherence=0.4), x).intensity
    two = expose(Detector(noise=False, coherence=0.4, coherence_across=0.4, coherence_angle=Between(0, 90)), x).intensity
    assert torch.allclose(one, two, rtol=1e-5, atol=1e-5 * float(one.max()))


@pytest.mark.parametrize("shape", SHAPES)
def test_air_scatter_is_a_broad_hill_with_a_slope(shape):
    extra, e = quiet(objects(shape, 2), air_scatter=5, air_scatter_width=Between(0.2, 0.4), air_scatter_slope=0.5)
    k = frequencies(shape)
    for difference, label in zip(extra, e.labels, strict=True):
        hill = np.exp(-sum((f / n) ** 2 for f, n in zip(k, shape)) / (2 * label["air_scatter_width"] ** 2))
        awaited = 5 * hill * (1 + 0.5 * k[-1] / (shape[-1] / 2))
        np.testing.assert_allclose(difference, awaited, atol=1e-6 * float(e.intensity.max()))
        assert label["air_scatter"] == 5 and label["air_scatter_slope"] == 0.5 and label["photons"] == 1e5
    assert e.labels[0]["air_scatter_width"] != e.labels[1]["air_scatter_width"] and e.measured.all()


@pytest.mark.parametrize("shape", [(64, 64), (63, 50), (24, 25, 26)])
def test_a_streak_is_one_long_spot_with_the_drawn_share_of_the_photons(shape):
    """Weighted moments in the middle of it: 6/64 and 1/64 of the shortest axis, 0.7 pixels at least, 0.35 from the centre."""
    extra, e = quiet(objects(shape, 6), streak=Between(0.1, 0.5))
    k, n = np.stack(frequencies(shape)), min(shape)
    for difference, label in zip(extra.astype(float), e.labels, strict=True):
        assert difference.sum() == pytest.approx(label["streak"] * 1e5, rel=1e-3)
        top = k[(slice(None), *np.unravel_index(difference.argmax(), shape))]
        assert np.linalg.norm(top / np.array(shape)) == pytest.approx(0.35, abs=2.5 / n)
        near = (difference > 0.02 * difference.max()) & (np.square(k.reshape(len(shape), -1).T - top).sum(1) < (0.3 * n) ** 2).reshape(
            shape
        )
        offset, weight = k[:, near], difference[near] / difference[near].sum()
        offset = offset - (offset * weight).sum(1, keepdims=True)
        spread = np.sqrt(np.linalg.eigvalsh((offset * weight) @ offset.T))
        assert spread[-2] == pytest.approx(max(n / 64, 0.7), rel=0.25) and 2 * spread[-2] < spread[-1] < 1.1 * 6 / 64 * n
    assert e.measured.all() and len({int(difference.argmax()) for difference in extra}) == 6


@pytest.mark.parametrize("shape", SHAPES)
def test_sensitivities_scale_what_is_expected_and_are_the_same_in_every_frame(shape):
    x, settings = objects(shape, 3), {"noise": False, "background": 2.0, "sensitivity": Between(0.02, 0.2)}
    e = expose(Detector(Total(1e5), **settings), x)
    even = expected(e.x) + 2
    flat = e.flat.numpy().reshape(3, *(1,) * (len(shape) - 2), *shape[-2:])
    np.testing.assert_allclose(e.intensity.numpy(), flat * even, rtol=1e-4, atol=1e-6 * even.max())
    pixels = shape[-2] * shape[-1]
    for row, label in zip(e.flat.numpy(), e.labels, strict=True):
        assert 0.02 <= label["sensitivity"] <= 0.2 and row.shape == shape[-2:] and row.min() > 0 and label["photons"] == 1e5
        assert np.log(row).std() == pytest.approx(label["sensitivity"], rel=4 / np.sqrt(2 * pixels))
        assert abs(row.mean() - 1) < 5 * label["sensitivity"] / np.sqrt(pixels)
    assert not torch.equal(e.flat[0], e.flat[1]) and e.measured.all()


def test_the_beam_scales_whole_frames_and_everything_in_them():
    x, settings = objects((24, 30, 28), 3), {"noise": False, "background": 2.0, "sensitivity": 0.1}
    steady, e = (expose(Detector(Total(1e5), **settings, monitor=m), x) for m in (0, 0.3))
    assert steady.monitor is None and e.monitor.shape == (3, 24) and torch.equal(steady.flat, e.flat) and torch.equal(steady.x, e.x)
    np.testing.assert_allclose(e.intensity, steady.intensity * e.monitor[:, :, None, None], rtol=1e-4)
    for row, label in zip(e.monitor.log().numpy(), e.labels, strict=True):
        assert row.std() == pytest.approx(label["monitor"], rel=4 / np.sqrt(2 * 24)) and label["monitor"] == 0.3
    with pytest.raises(InputError, match="is one frame; expected 3D"):
        expose(Detector(monitor=0.1), objects((64, 64), 1))


@pytest.mark.parametrize("shape", [(64, 64), (6, 63, 50)])
def test_hot_pixels_that_nobody_masked_read_what_is_asked_in_every_frame(shape):
    x = objects(shape, 8)
    e = expose(Detector(hot_unmasked=Between(0, 9), hot_counts=12345, gaps=2, gap_width=9), x)
    for counts, measured, label in zip(e.intensity.numpy(), e.measured.numpy(), e.labels, strict=True):
        hot = (counts == 12345).reshape(-1, *shape[-2:])
        assert (hot == hot[:1]).all() and int(hot[0].sum()) == label["hot_unmasked"] and label["hot_counts"] == 12345
        assert measured[counts == 12345].all()
    assert len({label["hot_unmasked"] for label in e.labels}) > 2 and all(label["hot"] == 0 for label in e.labels)
    places = {tuple(np.flatnonzero(c == 12345)) for c in expose(Detector(hot_unmasked=3, hot_counts=12345), x).intensity.numpy()}
    assert len(places) == 8


def test_hot_pixels_reach_only_as_far_as_there_are_measured_ones():
    e = expose(Detector(hot_unmasked=1500, hot_counts=777, dead=0.5, hot=0.4), objects((64, 64)))
    assert e.labels[0]["hot_unmasked"] == int(e.measured.sum()) < 1500 and (e.intensity[e.measured] == 777).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_clipped_pixels_read_the_most_that_the_others_do_and_are_measured(shape):
    x = objects(shape, 3)
    free, e = expose(Detector(Total(1e6), beamstop=2), x), expose(Detector(Total(1e6), beamstop=2, clipped=Between(0.01, 0.05)), x)
    for before, after, measured, label in zip(*(t.numpy() for t in (free.intensity, e.intensity, e.measured)), e.labels, strict=True):
        values = np.sort(before[measured])[::-1]
        limit = values[round(label["clipped"] * measured.sum())]
        assert label["clipped_at"] == limit and label["clipped_pixels"] == (before > limit).sum() > 0
        assert np.array_equal(after, np.minimum(before, limit))
    assert torch.equal(free.measured, e.measured) and len({label["clipped"] for label in e.labels}) == 3
    one = expose(Detector(Total(1e6), clipped=1e-9), x)  # of 4096 pixels none
    assert torch.equal(one.intensity, expose(Detector(Total(1e6)), x).intensity) and one.labels[0]["clipped_pixels"] == 0


def test_a_pattern_that_is_dark_is_not_clipped_to_nothing():
    e = expose(Detector(Total(100), clipped=0.5), objects((64, 64)))
    assert e.labels[0]["clipped_at"] == 1 and e.intensity.max() == 1


def test_a_clipped_or_hot_pixel_at_the_saturation_is_masked():
    e = expose(Detector(Total(1e6), hot_unmasked=4, hot_counts=1e6, saturation=9e5), objects((64, 64)))
    assert e.labels[0]["saturated"] == 4 == int((~e.measured).sum())


# the function that the examples and benchmarks use


@pytest.mark.parametrize("shape", SHAPES)
def test_measure_blurs_the_pattern_as_the_detector_does(shape):
    x, sigma = objects(shape)[0], 0.4
    blurred, _ = measure(x.numpy(), float("inf"), np.random.default_rng(7), coherence=sigma)
    other = expose(Detector(noise=False, coherence=sigma), x[None]).intensity[0].numpy()
    np.testing.assert_allclose(blurred.intensity / blurred.intensity.sum(), other / other.sum(), atol=1e-6 * (other / other.sum()).max())
    with pytest.raises(InputError, match="coherence"):
        measure(x.numpy(), 1e5, np.random.default_rng(7), coherence=-1)
    sharp, _ = measure(x.numpy(), float("inf"), np.random.default_rng(7))
    assert np.abs(blurred.intensity - sharp.intensity).max() > 0.01 * sharp.intensity.max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stop", [0.0, 2.5])
def test_measure_is_its_formula_bit_for_bit(shape, stop):
    x = objects(shape)[0].numpy()
    pattern, scaled = measure(x, 1e5, np.random.default_rng(7), stop)
    mean = np.abs(np.fft.fftn(np.fft.ifftshift(x.astype(complex)), norm="ortho")) ** 2
    seen = sum(np.square(k) for k in np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")) > (stop**2 if stop else -1)
    scale = 1e5 / mean[seen].sum()
    counts = np.random.default_rng(7).poisson(mean * scale)
    assert np.array_equal(pattern.intensity, np.where(seen, counts, 0).astype(np.float32)) and np.array_equal(pattern.measured, seen)
    assert np.array_equal(scaled, (x * np.sqrt(scale)).astype(np.complex64))
