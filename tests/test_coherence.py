"""The detector as it is: detections, what an ideal one would have counted, the most likely object, and the stages that find it all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin as ut
from samples import close, lopsided, pattern, problem, run, thing, wave
from untwin import fourier
from untwin.errors import InputError
from untwin.judge.trust import Evidence, verdict
from untwin.model.detection import Background, Coherent, CoherentFactor, Series, matrix, of_factor
from untwin.model.physics import Physics
from untwin.model.sharpen import sharpened
from untwin.model.symmetric import inversion
from untwin.model.unknown import Unknown
from untwin.model.waves.farfield import FarField
from untwin.runs.auto import method
from untwin.runs.launch import Launcher
from untwin.runs.names import parse, parse_model
from untwin.runs.stages.coherence import Coherence
from untwin.runs.stages.inspect import Inspect, Release
from untwin.runs.stages.strays import Strays
from untwin.simulate.shapes import CLASSES
from untwin.solve.likelihood import most_likely

ELLIPSE = (0.25, 0.09, 0.05)  # 2D, pixels²
ELLIPSOID = (0.2, 0.3, 0.1, 0.05, -0.02, 0.04)  # 3D


def blurred_by_numpy(f: np.ndarray, covariance: tuple[float, ...]) -> np.ndarray:
    """By the formula, in the autocorrelation."""
    c = np.array(matrix(covariance, f.ndim))
    r = np.stack(np.meshgrid(*(np.fft.fftfreq(n) for n in f.shape), indexing="ij"))
    return np.fft.ifftn(np.fft.fftn(f) * np.exp(-2 * np.pi**2 * np.einsum("i...,ij,j...", r, c, r))).real


def crystal(kind: str = "poly", seed: int = 5, change=lambda mean: mean, photons: float = 1e6) -> tuple[ut.Pattern, torch.Tensor]:
    """Counts of `change` of the exact pattern, 64 x 64, and the object, in FFT order."""
    rng = np.random.default_rng(seed)
    x = CLASSES[kind]((64, 64), rng)
    mean = np.abs(np.fft.fftn(np.fft.ifftshift(x), norm="ortho")) ** 2
    mean = mean * photons / mean.sum()
    counts = rng.poisson(np.clip(change(mean), 0, None)).astype(np.float32)
    return ut.Pattern(counts, np.ones(counts.shape, bool)), torch.fft.ifftshift(torch.from_numpy(x).to(torch.complex64))


def error(solution: ut.results.Reconstruction, truth: torch.Tensor) -> float:
    return float(ut.align(torch.fft.ifftshift(solution.image)[None], truth, 2).error)


# detections


@pytest.mark.parametrize(("shape", "covariance"), [((16, 15), (0.3,)), ((15, 9), (0.2, 0.4)), ((16, 12), ELLIPSE), ((8, 7, 6), ELLIPSOID)])
def test_partial_coherence_is_the_gaussian_of_its_covariance(shape, covariance):
    f = np.abs(np.fft.fftn(thing(shape).numpy())) ** 2
    wanted = blurred_by_numpy(f, covariance).clip(min=0)
    detection = Coherent(covariance if len(covariance) > 1 else covariance[0])
    assert np.allclose(detection.expected(torch.from_numpy(f)[None])[0].numpy(), wanted, rtol=1e-12, atol=1e-12 * f.max())
    assert detection.expected(torch.from_numpy(f)[None]).sum() == pytest.approx(f.sum(), rel=1e-3), "no photons are lost"
    if len(covariance) == len(shape) * (len(shape) + 1) // 2 and len(covariance) > 1:
        lower = np.linalg.cholesky(np.array(matrix(covariance, len(shape))))
        factor = tuple(float(lower[i, j]) for i in range(len(shape)) for j in range(i + 1))
        assert np.allclose(of_factor(factor), covariance)
        by_factor = CoherentFactor(factor).expected(torch.from_numpy(f)[None])
        assert close(by_factor, detection.expected(torch.from_numpy(f)[None])) < 1e-13


@pytest.mark.parametrize(
    "detection", [Coherent(0.3), CoherentFactor((0.5, 0.1, 0.3)), Background(2.0), Series((Coherent(0.2), Background(3.0)))]
)
def test_the_adjoint_derivative_is_that_of_central_differences(detection):
    f, r, step = wave((9, 14), 1, 2).abs() + 2, wave((9, 14), 2, 2).real, 1e-6 * wave((9, 14), 3, 2).real
    change = detection.expected(f + step) - detection.expected(f - step)
    assert float((change * r).sum()) == pytest.approx(2 * float((step * detection.adjoint_derivative(f, r)).sum()), rel=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "Physics(detection=Coherent(0.09))",
        "Physics(detection=Coherent((0.1, 0.2, 0.05)))",
        "Physics(detection=Series((CoherentFactor((Unknown(0.3), Unknown(0.0), Unknown(0.3))), Background(Unknown(1.0, low=0)))))",
    ],
)
def test_a_detection_is_a_text_that_reads_back(text):
    physics = parse_model(text, Physics)
    assert parse_model(repr(physics), Physics) == physics


def test_unknowns_in_a_series_have_names_and_take_values():
    physics = parse_model(
        "Physics(detection=Series((CoherentFactor((Unknown(0.3), 0.1, Unknown(0.4))), Background(Unknown(1.0)))))", Physics
    )
    assert list(physics.unknowns) == ["factor_0", "factor_2", "level"]
    values = {"factor_0": 0.5, "factor_2": 0.2, "level": 2.0}
    assert physics.known(values).detection == Series((CoherentFactor((0.5, 0.1, 0.2)), Background(2.0)))
    x = wave((12, 12), starts=1)
    open_ = physics.holding({n: torch.tensor([v], dtype=torch.float64) for n, v in values.items()}, 2)
    assert close(open_(x), physics.known(values)(x)) < 1e-13
    with pytest.raises(InputError, match="two unknowns of the name level"):
        ut.Problem(pattern(thing((12, 12))), Physics(detection=Series((Background(Unknown(1.0)), Background(Unknown(2.0))))))


@pytest.mark.parametrize(
    ("detection", "match"),
    [
        (lambda: Coherent(-0.1), "no covariance: it is negative"),
        (lambda: Coherent((0.1, 0.1, 0.5)), "no covariance: it is negative"),
        (lambda: Coherent("wide"), "expected numbers, pixels²"),
        (lambda: Coherent((0.1, 0.1, 0.0, 0.0)), "4 numbers for a pattern of 2 axes; expected 1, 2 or 3"),
        (lambda: CoherentFactor((0.1,)), "expected 3 numbers for a pattern of 2 axes"),
        (lambda: Background(-1.0), "counts per pixel, at least 0"),
        (lambda: Background(float("nan")), "counts per pixel, at least 0"),
        (lambda: Series((3,)), "expected detections in a tuple"),
    ],
)
def test_impossible_detections_are_refused(detection, match):
    with pytest.raises(InputError, match=match):
        ut.Problem(pattern(thing((12, 12))), Physics(detection=detection()))


# sharpened counts


def test_sharpening_undoes_a_background_exactly_and_a_blur_nearly():
    f = np.abs(np.fft.fftn(thing((32, 32)).numpy(), norm="ortho")) ** 2
    f *= 1e6 / f.sum()
    measured = np.ones(f.shape, bool)
    assert np.allclose(sharpened(Background(7.0), f + 7, measured), f, rtol=1e-6, atol=1e-6)
    blurred = blurred_by_numpy(f, (0.16,)).clip(min=0)
    before, after = (np.abs(np.sqrt(a) - np.sqrt(f)).sum() for a in (blurred, sharpened(Coherent(0.16), blurred, measured)))
    assert after < 0.2 * before
    measured[3:6] = False
    hidden = sharpened(Coherent(0.16), np.where(measured, blurred, 0), measured)
    assert (hidden >= 0).all() and np.abs(np.sqrt(hidden) - np.sqrt(f))[measured].sum() < 0.3 * before


def test_projections_impose_sharpened_counts_and_losses_ask_the_physics():
    x = thing((24, 24))
    p = pattern(x)
    b = problem(replace(p, intensity=p.intensity + 5), physics=Physics(FarField(), Background(5.0)))
    s = b.sharpened()
    assert close(s.project_modulus(x[None]), x[None]) < 1e-6, "the object is a fixed point"
    assert float(s.misfit(x[None])) < 1e-6 and close(s.predict(x[None]), b.predict(x[None])) == 0
    assert float(s.brightness(s.predict(2 * x[None]))) == pytest.approx(0.25), "the background does not grow with the object"
    assert problem(p).sharpened().counts.sharpened is False
    real = problem(
        replace(p, intensity=p.intensity + 5),
        ut.constraints.Support() & ut.constraints.Nonnegative(),
        physics=Physics(FarField(), Background(5.0)),
    )
    assert real.sharpened().counts.mirrored and real.sharpened().to(dtype=torch.float32).counts.sharpened
    assert torch.equal(s.with_detection(Coherent(0.1)).counts.intensity, b.counts.intensity)


# the most likely object


@pytest.mark.parametrize("real", [False, True])
def test_the_most_likely_object_of_exact_counts_is_the_true_one(real):
    x = thing((24, 24), real=real)
    p = problem(pattern(x), ut.constraints.Support() & ut.constraints.Nonnegative() if real else None)
    near = (x + 0.05 * wave((24, 24)).to(x.dtype) if not real else x + 0.05 * wave((24, 24)).real).where(lopsided((24, 24)), 0 * x)
    y, _, loss = most_likely(p, near, lopsided((24, 24)), iterations=300)
    assert loss < 1e-4 * float(p.misfit(near[None])) and close(y.abs(), x.abs()) < 0.01
    after = run(p, parse("MaximumLikelihood(300)"), ut.State.of(near[None], lopsided((24, 24))))
    assert torch.equal(after.image[0], y)


def test_an_unknown_is_found_with_the_object():
    x = 30 * thing((32, 32))
    exact = problem(pattern(x)).counts.intensity
    blurred = fourier.blur(exact[None], torch.tensor([0.4], dtype=torch.float64), 2)[0].clamp(min=0) + 2
    detection = Series((Coherent(Unknown(0.01, 0.0, 9.0)), Background(Unknown(0.5, 0.0))))
    p = problem(ut.Pattern(blurred.numpy(), np.ones((32, 32), bool)), physics=Physics(FarField(), detection))
    _, values, _ = most_likely(p, x, lopsided((32, 32)), p.first_values(1), iterations=300)
    assert float(values["covariance"]) == pytest.approx(0.16, abs=0.002) and float(values["level"]) == pytest.approx(2, abs=0.05)
    after = run(p, parse("MaximumLikelihood(300)"), ut.State.of(x[None], lopsided((32, 32))))
    assert float(after.nuisance["covariance"][0]) == float(values["covariance"])


# what the plan finds


def test_a_coherent_pattern_is_left_as_it_is_to_the_bit():
    p, truth = crystal("defect")
    automatic = method("classical", ut.Problem(p))
    bare = automatic.without(Coherence).without(Strays).without(Inspect).without(Release)
    s, t = (ut.reconstruct(p, plan, seed=3, workers=1) for plan in (automatic, bare))
    assert torch.equal(s.image, t.image) and torch.equal(s.support, t.support) and s.verdict.trusted and error(s, truth) < 0.08
    assert s.numbers["coherence_ratio"] < 5 and "coherence_sigma" not in s.numbers and "strays" not in s.numbers
    assert s.physics == t.physics == Physics().on(p)


def test_a_blur_is_found_and_the_object_with_it():
    p, truth = crystal("poly", change=lambda mean: blurred_by_numpy(mean, (0.25,)))
    s = ut.reconstruct(p, method="classical", seed=3, workers=1)
    assert s.numbers["coherence_ratio"] > 20 and s.numbers["coherence_sigma"] == pytest.approx(0.5, abs=0.03)
    assert error(s, truth) < 0.12 and "fringes washed out, coherence length" in s.verdict.text
    plain = ut.reconstruct(p, method("classical", ut.Problem(p)).without(Coherence), seed=3, workers=1)
    assert error(plain, truth) > 0.2, "what it is without"
    assert s.physics is not None and isinstance(s.physics.detection, Coherent)


@pytest.mark.parametrize("shape", [(16,), (15, 12), (8, 9, 10)])
def test_the_even_part_is_the_object_that_is_its_own_twin(shape):
    x, axes = thing(shape).to(torch.complex128), tuple(range(len(shape)))
    even = (x + x.flip(axes).roll([1 + n // 3 for n in shape], axes).conj()) * np.exp(0.7j)
    twin, asymmetry = inversion(even)
    assert close(twin.even(even), even) < 1e-12 and asymmetry < 1e-6 and twin.shift == tuple(n // 3 for n in shape)
    for y in (x, x.real):
        twin, asymmetry = inversion(y)
        part = twin.even(y)
        assert asymmetry > 0.1 and inversion(part)[1] < 1e-6 and part.is_complex() == y.is_complex()
        assert close(twin.even(part), part) < 1e-12 and close(twin.inverted(twin.inverted(y)), y) == 0


def test_a_fit_may_be_of_a_part_of_the_object():
    p, _ = crystal("poly")
    problem = ut.Problem(p)
    s = ut.reconstruct(p, "50*RAAR + 20*ER", starts=2, seed=1, workers=1)
    image, support = torch.fft.ifftshift(s.image), torch.fft.ifftshift(torch.as_tensor(s.support))
    twin, _ = inversion(image)
    x, _, loss = most_likely(problem, image, support & twin.inverted(support), iterations=20, part=twin.even)
    assert inversion(x)[1] < 1e-3 and loss == pytest.approx(float(problem.misfit(x[None])[0]), rel=1e-3)


def test_an_aperture_behind_a_blur_is_not_trusted_where_a_symmetric_one_is_more_likely():
    inside = np.zeros((64, 64), bool)
    inside[26:39, 24:41] = True
    truth = torch.from_numpy(np.fft.ifftshift(inside)).to(torch.complex64)
    mean = np.abs(np.fft.fft2(np.fft.ifftshift(inside), norm="ortho")) ** 2
    for sigma, trusted in ((0.0, True), (0.35, None)):
        counts = np.random.default_rng(3).poisson(1e6 / mean.sum() * blurred_by_numpy(mean, (sigma**2,) * 2 + (0.0,)).clip(0))
        p = ut.Pattern(counts.astype(np.float32), np.ones((64, 64), bool))
        s = ut.reconstruct(p, support=inside, positivity=sigma > 0, starts=6, seed=3, workers=1)
        assert s.verdict.trusted is trusted, s.verdict
        assert (error(s, truth) < 0.05) == (sigma == 0) == ("symmetric_error" not in s.numbers)
    assert "a point-symmetric object explains the counts better" in s.verdict.text


def test_a_background_is_found_in_the_counts():
    p, truth = crystal("complex", change=lambda mean: mean + 5)
    s = ut.reconstruct(p, method="classical", seed=3, workers=1)
    assert s.numbers["background"] == pytest.approx(5, abs=1) and error(s, truth) < 0.08 and "background" in s.verdict.text


def test_hot_pixels_and_clipped_ones_are_masked():
    p, truth = crystal("complex")
    counts = p.intensity.copy()
    rng = np.random.default_rng(0)
    counts[rng.integers(16, 48, 8), rng.integers(16, 48, 8)] = 1000  # away from the brightest light
    counts = np.minimum(counts, np.floor(np.quantile(counts, 0.99)))
    s = ut.reconstruct(replace(p, intensity=counts), method="classical", seed=3, workers=1)
    assert error(s, truth) < 0.1 and s.numbers["outliers"] >= 40 and not s.pattern.measured[counts == counts.max()].any()


def test_a_stray_pixel_in_the_bright_part_is_masked():
    """Among bright speckles, where its neighbours alone do not show it."""
    p, truth = crystal("poly")
    counts = p.intensity.copy()
    at = divmod(int(np.argsort(counts.ravel())[-20]), 64)
    counts[at] = 0
    s = ut.reconstruct(replace(p, intensity=counts), method="classical", seed=3, workers=1)
    assert error(s, truth) < 0.06 and 1 <= s.numbers["strays"] <= 5 and not s.pattern.measured[at]


def test_what_is_no_count_is_not_tested():
    p, _ = crystal("poly")
    s = ut.reconstruct(replace(p, intensity=0.37 * p.intensity), method="classical", seed=3, workers=1)
    assert not {"coherence_ratio", "background", "outliers"} & s.numbers.keys() and np.isnan(s.numbers["misfit"])


def test_a_physics_that_is_known_is_sharpened_by_the_automatic_plan_and_not_tested():
    p, truth = crystal("poly", change=lambda mean: blurred_by_numpy(mean, (0.25,)))
    s = ut.reconstruct(ut.Problem(p, Physics(detection=Coherent(0.25))), method="classical", seed=3, workers=1)
    assert error(s, truth) < 0.1 and "coherence_ratio" not in s.numbers and s.conditions.physics == repr(s.physics)
    assert s.physics is not None and s.physics.detection == Coherent(0.25)


def test_keeping_strays_masks_nothing():
    p, _ = crystal("complex")
    counts = p.intensity.copy()
    counts[30, 31] = 5000
    s = ut.reconstruct(replace(p, intensity=counts), method="classical", seed=3, workers=1, keep_strays=True)
    assert s.pattern.measured.all() and "outliers" not in s.numbers and "keep_strays=True" in s.recipe


def test_light_of_another_crystal_is_masked_where_a_run_without_it_does_not_predict_it():
    def streak(mean):
        at = [np.fft.fftfreq(64, 1 / 64)[:, None] - 14, np.fft.fftfreq(64, 1 / 64)[None, :] - 17]
        spot = np.exp(-(at[0] ** 2) / (2 * 4.0**2) - at[1] ** 2 / (2 * 1.5**2))
        return mean + 1e4 * spot / spot.sum()

    p, truth = crystal("poly", seed=2, change=streak)
    s = ut.reconstruct(p, method="classical", seed=3, workers=1)
    assert error(s, truth) < 0.06 and s.numbers["strays"] > 40 and not s.pattern.measured[14, 17]
    assert error(ut.reconstruct(p, method="classical", seed=3, workers=1, keep_strays=True), truth) > 0.07


@pytest.mark.parametrize("scan", ["0.3", "(0.3, 'wide')", "(0.0,)"])
def test_a_scan_of_impossible_widths_is_refused(scan):
    with pytest.raises(InputError, match="expected widths in a tuple"):
        parse(f"Plan(Search(2*ER), Coherence(scan={scan}))")


def test_nothing_is_trusted_while_the_counts_contradict_the_model():
    """Two families that agree on an object of too small a support."""
    p, truth = crystal("poly")
    inside = np.fft.fftshift(truth.abs().numpy() > 0)
    inside[: inside.shape[0] // 2] = False  # half of the crystal
    s = ut.reconstruct(p, "200*ER", support=inside, starts=4, workers=1)
    assert s.numbers["misfit"] > 3 and s.verdict.trusted is not True
    evidence = Evidence(r_factor=0.1, errors=(0.01,), starts=4, agreeing=4, twins=0)
    assert verdict(evidence).trusted is True
    doubted = verdict(replace(evidence, contradictions=("it misses the counts by 4.0 times what noise would",)))
    assert doubted.trusted is None and "the data contradict the model: it misses the counts" in doubted.text


def test_a_background_above_all_counts_is_a_clear_error():
    p, _ = crystal("poly")
    with pytest.raises(InputError, match="leaves no light for the object; expected less background"):
        ut.reconstruct(ut.Problem(p, Physics(detection=Background(1e9))), starts=2, workers=1)


def test_a_run_that_is_cut_short_while_it_looks_for_the_coherence_ends_with_the_same_bits(tmp_path, monkeypatch):
    p, _ = crystal("poly", change=lambda mean: blurred_by_numpy(mean, (0.16,)))
    options = {"method": "classical", "starts": 4, "seed": 2, "workers": 1}
    calls, plain = [], Launcher.map

    def counted(self, *arguments, **more):
        calls.append(arguments[-1])
        if len(calls) == cut:
            raise KeyboardInterrupt
        return plain(self, *arguments, **more)

    monkeypatch.setattr(Launcher, "map", counted)
    cut = 0
    whole = ut.reconstruct(p, **options)
    assert any("round 0 of coherence" in purpose for purpose in calls) and len(set(calls)) > 6
    cut, done = next(i for i, purpose in enumerate(calls) if "round 0 of coherence" in purpose) + 2, len(calls)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        ut.reconstruct(p, **options, checkpoint=tmp_path / "run")
    cut = 0
    calls.clear()
    again = ut.reconstruct(p, **options, checkpoint=tmp_path / "run")
    assert len(calls) == done and torch.equal(again.image, whole.image) and again.numbers["score"] == whole.numbers["score"]
