"""Is the object real? Said from the counts, with the error that counting leaves, and not where they cannot tell."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import untwin as ut
from untwin.data.framing import Grids, centred
from untwin.data.noise import Noise
from untwin.data.realness import COMPLEX, PHASE, SHARE, Realness, _Pairs, realness
from untwin.errors import InputError
from untwin.judge.trust import NO_COUNTS, Evidence, verdict
from untwin.model.problem import require_real
from untwin.runs.phase import freed

UNKNOWN = Noise("unknown")


def crystal(phase: float, shape=(64, 64), size: float = 0.3, seed: int = 0) -> np.ndarray:
    """A lopsided body around index 0, `size` of the array long, with a smooth phase of `phase` rad peak to peak, free of a ramp."""
    rng = np.random.default_rng(seed)
    u = [x / (size * n / 2) for x, n in zip(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), shape)]
    normals = rng.normal(size=(5 + 2 * len(shape), len(shape)))
    inside = np.prod([abs(a) < 1 for a in u], axis=0).astype(bool)
    for normal in normals / np.linalg.norm(normals, axis=1)[:, None]:
        inside &= sum(n * a for n, a in zip(normal, u)) < rng.uniform(0.5, 1)
    smooth = sum(rng.normal() * a**3 + rng.normal() * a * b for a, b in zip(u, u[1:] + u[:1])) + np.sin(2 * u[0] + 1) * np.cos(3 * u[-1])
    flat = np.stack([np.ones(inside.sum()), *(a[inside] for a in u)], 1)
    values = smooth[inside] - flat @ np.linalg.lstsq(flat, smooth[inside], rcond=None)[0]
    x = np.zeros(shape, dtype=complex)
    x[inside] = np.exp(1j * phase * values / np.ptp(values))
    return np.fft.ifftshift(x)


def mean_of(x: np.ndarray, photons: float, offset: float = 0.0) -> np.ndarray:
    ramp = np.exp(-2j * np.pi * offset * sum(np.ix_(*(np.fft.fftfreq(n) for n in x.shape)), np.zeros(x.shape)))
    light = np.abs(np.fft.fftn(x * np.conj(ramp))) ** 2
    return light * photons / light.sum()


def counts(x: np.ndarray, photons: float, seed: int = 1, **options) -> ut.Pattern:
    mean = mean_of(x, photons)
    return ut.Pattern(np.random.default_rng(seed).poisson(mean), np.ones(mean.shape, bool), **options)


def rms(x: np.ndarray) -> float:
    return float(np.angle(x[np.abs(x) > 0]).std())


# the statistic


@pytest.mark.parametrize("detector", ["even", "flat and dark"])
def test_the_asymmetry_of_a_real_object_is_0_within_its_error_whatever_it_is(detector):
    rng = np.random.default_rng(3)
    mean = mean_of(np.abs(crystal(0, (24, 24), seed=2)), 2e4)
    s, d = (rng.uniform(0.5, 1.5, mean.shape), np.full(mean.shape, 1.5)) if detector != "even" else (None, None)
    expected = mean if s is None else s * mean + d
    deviations = []
    for _ in range(300):
        found = realness(ut.Pattern(rng.poisson(expected), np.ones(mean.shape, bool), sensitivity=s, dark=d))
        deviations.append(found.asymmetry / found.error)
    assert abs(np.mean(deviations)) < 4 / 300**0.5 and np.std(deviations) == pytest.approx(1, abs=0.15)


def test_chance_is_the_chance_of_so_much_for_a_real_object():
    """At most: it is that of three sums, which are not independent."""
    rng, mean = np.random.default_rng(4), mean_of(np.abs(crystal(0, (24, 24), seed=2)), 2e4)
    chances = np.array([_Pairs.of(ut.Pattern(rng.poisson(mean), np.ones(mean.shape, bool))).chance() for _ in range(400)])
    for level in (0.3, 0.1, 0.03):
        assert (chances < level).mean() < level + 4 * (level / 400) ** 0.5
    assert chances.min() > COMPLEX and (chances < 0.5).mean() > 0.1  # and it is no bound that cannot be reached


def test_a_centre_between_two_pixels_is_no_asymmetry():
    x = np.abs(crystal(0)).astype(complex)
    mean = mean_of(x, 1e7, offset=0.5)
    pattern = ut.Pattern(np.random.default_rng(0).poisson(mean), np.ones(mean.shape, bool), offset=(0.5, 0.5))
    assert realness(pattern).real
    assert realness(replace(pattern, offset=(0.0, 0.0))).answer == "complex"


# the three answers


@pytest.mark.parametrize(("shape", "enough"), [((64, 64), 3e6), ((32, 32, 32), 1e8)])
def test_a_real_object_is_called_real_where_photons_are_many_and_never_complex(shape, enough):
    for seed in range(6):
        x = np.abs(crystal(0, shape, size=0.2 + 0.03 * seed, seed=seed))
        assert realness(counts(x, enough)).answer != "complex" and realness(counts(x, 1e4)).answer == "unknown"
    assert sum(realness(counts(np.abs(crystal(0, shape, seed=s)), enough)).real for s in range(6)) >= 5


@pytest.mark.parametrize("photons", [1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("phase", [0.02, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(64, 64), (32, 32, 32)])
def test_a_strained_crystal_is_called_real_only_where_its_phase_is_below_what_is_said(shape, phase, photons):
    for seed in range(4):
        x = crystal(phase, shape, size=0.12 + 0.08 * seed, seed=seed)
        answer = realness(counts(x, photons, seed))
        assert not answer.real or rms(x) < answer.phase <= PHASE, answer
        assert phase < 0.1 or not answer.real


@pytest.mark.parametrize("shape", [(64, 64), (32, 32, 32)])
def test_a_strain_of_a_third_of_a_radian_is_seen_in_a_million_photons(shape):
    answers = [realness(counts(crystal(0.3, shape, 0.1 + 0.06 * s, s), 1e6)).answer for s in range(5)]
    assert answers == ["complex"] * 5


def test_the_error_falls_as_the_photons_grow():
    x = np.abs(crystal(0))
    few, many = (realness(counts(x, n)) for n in (1e5, 1e7))
    assert few.error / 150 < many.error < few.error / 50 and many.phase < few.phase / 3


def test_where_most_of_it_has_no_measured_mirror_image_nobody_can_tell():
    p = counts(np.abs(crystal(0)), 1e8)
    half = np.fft.ifftshift(np.indices(p.shape)[0] >= 28)
    assert realness(p).real
    answer = realness(replace(p, measured=half, intensity=p.intensity * half))
    assert answer.answer == "unknown" and "mirror" in answer.reason


def test_a_pattern_whose_autocorrelation_is_negative_is_that_of_no_nonnegative_object():
    """A point-symmetric body with an even phase: its pattern is its own mirror image."""
    r = np.hypot(*np.meshgrid(*2 * (np.fft.fftfreq(64, 1 / 64),), indexing="ij"))
    strong = (r < 11) * np.exp(6j * (r / 11) ** 2)
    assert realness(counts((r < 11).astype(complex), 1e7)).real
    answer = realness(counts(strong, 1e7))
    assert answer.answer == "unknown" and "autocorrelation" in answer.reason


# a noise that nobody knows


def test_without_counts_nothing_is_taken_off_and_no_unit_matters():
    p = counts(crystal(0.6), 1e6)
    said = [realness(replace(p, intensity=p.intensity * g, noise=UNKNOWN)) for g in (1.0, 1e-5, 37.0)]
    assert all(s.asymmetry == pytest.approx(said[0].asymmetry, rel=1e-4) and s.answer == "unknown" for s in said)
    assert said[0].asymmetry > realness(p).asymmetry and all(np.isnan(s.error) for s in said)


@pytest.mark.parametrize("photons", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("phase", [0.1, 0.3, 1.0])
def test_a_complex_crystal_without_counts_is_not_called_real(phase, photons):
    for seed in range(3):
        x = counts(crystal(phase, size=0.15 + 0.1 * seed, seed=seed), photons).intensity
        scale = x.max() / 255
        for stored in (x / x.max(), np.sqrt(x), np.sqrt(x / x.max()), np.round(x / scale), np.round(np.sqrt(x / scale)) ** 2):
            assert not realness(ut.Pattern(stored, np.ones(x.shape, bool), noise=UNKNOWN)).real


def test_a_real_object_without_counts_is_real_where_it_is_so_with_all_of_its_noise():
    x = np.abs(crystal(0))
    assert realness(replace(counts(x, 1e10), noise=UNKNOWN)).real
    assert realness(replace(counts(x, 1e6), noise=UNKNOWN)).answer == "unknown"


def test_without_counts_a_complex_pattern_stays_where_it_is():
    """About some point nearly every bright peak is its own mirror image; with counting noise taken off that was never counted, exactly."""
    for seed in range(4):
        x = np.fft.fftshift(counts(crystal(2.5, seed=seed), 1e6).intensity)
        eight_bits = np.round(x / x.max() * 255).astype(np.float32)
        assert centred(Grids(eight_bits, np.ones(x.shape, bool)), None, [], counts=False).centre == (32, 32)


# what follows


def test_positivity_is_refused_where_the_asymmetry_is_beyond_what_counting_makes():
    with pytest.raises(InputError, match="differs from its mirror image"):
        require_real(counts(crystal(2.0), 1e6))
    with pytest.raises(InputError, match="differs from its mirror image by 0.40"):
        require_real(replace(counts(crystal(0), 1e6), asymmetry=0.4))
    for photons in (3e2, 1e4, 1e6):
        require_real(counts(np.abs(crystal(0)), photons))
    require_real(replace(counts(np.abs(crystal(0)), 1e4), noise=UNKNOWN))


def test_the_sentence_says_how_sure_it_is():
    assert "± 0.0001)" in str(Realness("real", 1e-4, 1e-4, 0.01)) and "--positivity" in str(Realness("real", 1e-4, 1e-4, 0.01))
    assert "--positivity" not in str(Realness("complex", 0.1, 1e-4, 0.01)) + str(Realness("unknown", 0.1, float("nan"), 0.4, "why"))
    assert "noise included" in str(Realness("unknown", 0.1, float("nan"), 0.4, "why"))
    assert SHARE > 1


@pytest.mark.parametrize(("phase", "advised"), [(0.0, True), (0.5, False)])
def test_inspect_goes_on_with_positivity_only_where_it_is_advised(tmp_path, capsys, phase, advised):
    from untwin.cli.inspect import inspect

    file = tmp_path / "crystal.npy"
    np.save(file, np.fft.fftshift(counts(crystal(phase), 1e7).intensity).astype(np.int32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inspect(file)
    shown = capsys.readouterr().out
    assert ("--positivity" in shown.split("next")[1]) == advised
    assert ("complex" in shown) != advised


# after the run


def fitted(x: np.ndarray, photons: float, seed: int = 1, noise: Noise | None = None, gain: float = 1.0):
    """The problem of a nonnegative object, its magnitude as bright as the counts, and its support."""
    import torch

    p = counts(x, photons, seed)
    problem = ut.Problem.of(replace(p, intensity=p.intensity * gain, noise=noise), positivity=True)
    image = torch.from_numpy(np.abs(x)).float()
    image = image * problem.brightness(problem.predict(image[None])).sqrt()
    return problem, image, torch.from_numpy(np.abs(x) > 0)


@pytest.mark.parametrize("photons", [1e4, 1e6, 1e8])
def test_a_real_object_has_no_phase_that_explains_more(photons):
    for seed in range(4):
        f = freed(*fitted(np.abs(crystal(0, seed=seed)) * (1 + 0.3 * np.arange(64) / 64), photons, seed))
        assert f is not None and not f.doubts(True) and f.deviations < 4, f


@pytest.mark.parametrize(("phase", "photons"), [(0.1, 1e6), (0.3, 1e6), (0.3, 1e5), (1.0, 1e4)])
def test_a_phase_that_positivity_erases_is_missed(phase, photons):
    for seed in range(3):
        f = freed(*fitted(crystal(phase, seed=seed), photons, seed))
        assert f is not None and f.doubts(True), f


def test_a_point_symmetric_phase_is_missed_though_the_pattern_is_its_own_mirror_image():
    y, x = np.meshgrid(*2 * (np.fft.fftfreq(64, 1 / 64),), indexing="ij")
    body = (abs(y) < 9) & (abs(x) < 12) & (abs(x + y) < 15)
    strained = body * np.exp(0.7j * ((x / 12) ** 2 - x * y / 100))
    problem, image, support = fitted(strained, 4e6)
    assert realness(problem.pattern).real, "or the symmetry alone tells"
    f, real = freed(problem, image, support), freed(*fitted(body.astype(complex), 4e6))
    assert f is not None and f.doubts(True) and real is not None and not real.doubts(True)


@pytest.mark.parametrize("gain", [1e-6, 1.0, 50.0])
def test_without_counts_a_phase_is_missed_all_the_same_whatever_the_unit(gain):
    for phase, doubted in ((0.0, False), (0.6, True)):
        f = freed(*fitted(crystal(phase), 1e6, noise=UNKNOWN, gain=gain))
        assert f is not None and f.doubts(False) == doubted, f


def test_a_noiseless_real_object_is_not_doubted():
    import torch

    x = np.abs(crystal(0)) * (1 + 0.3 * np.arange(64) / 64)
    p = ut.Pattern(np.abs(np.fft.fftn(x)) ** 2, np.ones(x.shape, bool), noise=UNKNOWN)
    f = freed(ut.Problem.of(p, positivity=True), torch.from_numpy(x / 64).float() * 1.01, torch.from_numpy(x > 0))
    assert f is not None and not f.doubts(False), f


def test_complex_objects_and_further_constraints_are_not_asked():
    problem, image, support = fitted(crystal(0.3), 1e5)
    assert freed(ut.Problem.of(problem.pattern), image.to(problem.counts.amplitude.dtype), support) is None
    capped = ut.Problem(problem.pattern, constraint=ut.constraints.Support() & ut.constraints.Nonnegative() & ut.constraints.MagnitudeCap())
    assert freed(capped, image, support) is None


@pytest.mark.parametrize(("phase", "trusted"), [(0.0, True), (0.2, None)])
def test_the_verdict_on_a_run_with_positivity_doubts_it_where_there_is_a_phase(phase, trusted):
    solution = ut.reconstruct(counts(crystal(phase, size=0.35), 1e6), positivity=True, starts=4, workers=1)
    assert solution.verdict.trusted is trusted, solution.verdict
    assert ("positivity erases it; leave it out" in solution.verdict.text) == (trusted is None)
    assert (solution.numbers["phase_deviations"] > 6) == (trusted is None)


# statistics of counting, where there are no counts


def test_the_outline_does_not_depend_on_the_unit_where_the_noise_is_unknown():
    from untwin.model.outline import hull_by_noise

    p = counts(crystal(1.0), 1e5)
    known = hull_by_noise(p)
    assert known is not None
    for gain in (0.3, 0.6, 1.0):
        hull = hull_by_noise(replace(p, intensity=p.intensity * gain, noise=UNKNOWN))
        assert hull is not None
        np.testing.assert_allclose(hull.heights, known.heights, atol=1.5)


def test_nothing_that_presumes_counting_is_said_of_other_numbers():
    from untwin.data.outliers import outliers
    from untwin.model.background import flat_background
    from untwin.model.frame import frame_widths
    from untwin.model.fringes import blur_bound
    from untwin.runs.stages.inspect import testable

    x = np.abs(crystal(1.0)) + 0j
    p = counts(x, 1e5)
    hot = replace(p, intensity=np.where(np.arange(p.intensity.size).reshape(p.shape) == 1234, 5e3, p.intensity))
    assert outliers(hot).hot.sum() == 1 and flat_background(p) is not None and blur_bound(p) is not None
    other = replace(hot, noise=UNKNOWN)
    assert not outliers(other).any and flat_background(other) is None and blur_bound(other) is None and frame_widths(other) is None
    assert testable(ut.Problem(p)) and not testable(ut.Problem(other))


def test_a_run_on_other_numbers_says_so_and_gives_no_statistic_of_counts(tmp_path):
    import json

    from untwin.runs.assess import STATISTICS

    p = counts(crystal(1.0, size=0.35), 1e6)
    plan = "Plan(Search(3*(20*HIO + ShrinkWrap(threshold=0.15, sigma=1.0)) + 20*ER, starts=4, families=2))"
    known, other = (ut.reconstruct(replace(p, noise=n), ut.parse(plan), workers=1) for n in (Noise(), UNKNOWN))
    assert NO_COUNTS in other.verdict.text and NO_COUNTS not in known.verdict.text
    assert all(np.isfinite(known.numbers[name]) for name in STATISTICS)
    assert all(np.isnan(other.numbers[name]) for name in STATISTICS)
    assert np.isfinite(other.numbers["r_factor"])
    folder = other.save(tmp_path / "run")
    numbers = json.loads((folder / "summary.json").read_text())["numbers"]
    assert numbers["misfit"] is None and numbers["free_log_likelihood"] is None
    page = ut.report(other, tmp_path / "report.html").read_text()
    assert "cannot tell" in page and "no counts of photons" in page


def test_agreement_is_all_that_trust_rests_on_where_there_are_no_counts():
    e = Evidence(0.1, (0.02,), 8, 8, 0, counts=False)
    assert verdict(e).trusted and NO_COUNTS in verdict(e).text
    assert verdict(replace(e, errors=(0.4,))).trusted is False
    assert verdict(replace(e, photons=0.0)).trusted is None and "nobody knows how many photons" in verdict(replace(e, photons=0.0)).text
