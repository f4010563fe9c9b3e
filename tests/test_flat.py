"""Flat field and dark scale the model and not the data: what is expected, what is imposed, what comes back from a file, and what helps."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin as ut
from laws import idempotent
from members import PROJECTIONS
from samples import close, lopsided, pattern, problem, state, thing, wave
from untwin.cli.app import main
from untwin.data.flat import DEAD
from untwin.errors import InputError
from untwin.model.imposition import Compiled, General, engine_for
from untwin.model.sharpen import sharpened
from untwin.runs.archive import load
from untwin.runs.conditions import reads_back
from untwin.runs.names import parse_model
from untwin.runs.stages.inspect import testable as may_test
from untwin.solve.run import iterate

pytestmark = pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")

GRIDS = [(16, 16), (15, 9), (8, 6, 10)]


def uneven(shape, seed=0, spread=0.2):
    rng = np.random.default_rng(seed)
    return np.exp(spread * rng.normal(size=shape)).astype(np.float32), rng.uniform(0, 2, shape).astype(np.float32)


def with_flat(p, seed=0, flat=True, dark=True):
    s, d = uneven(p.shape, seed)
    return replace(p, sensitivity=s if flat else None, dark=d if dark else None)


# the model


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("kinds", [(True, True), (True, False), (False, True)])
def test_the_expected_counts_are_sensitivity_times_light_and_dark(shape, kinds):
    p = with_flat(pattern(thing(shape)), 1, *kinds)
    s = p.sensitivity if kinds[0] else np.ones(shape)
    d = p.dark if kinds[1] else np.zeros(shape)
    x = wave(shape, 1, 3)
    f = np.abs(np.fft.fftn(x.numpy(), axes=tuple(range(1, x.ndim)), norm="ortho")) ** 2
    assert np.allclose(ut.Problem(p).predict(x).numpy(), s * f + d, rtol=1e-12)
    modelled = ut.Problem(p, ut.physics.Physics(detection=ut.physics.Series((ut.physics.Coherent(0.09), ut.physics.Background(2.0)))))
    without = ut.Problem(replace(p, sensitivity=None, dark=None), ut.physics.Physics(detection=ut.physics.Coherent(0.09)))
    assert np.allclose(modelled.predict(x).numpy(), s * (without.predict(x).numpy() + 2.0) + d, rtol=1e-12)
    assert ut.Problem(p).predict(x.to(torch.complex64)).dtype == torch.float32


@pytest.mark.parametrize("shape", GRIDS)
def test_the_adjoint_derivative_is_that_of_central_differences(shape):
    detection = ut.physics.Sensitivity().on(with_flat(pattern(thing(shape))))
    f, r, step = wave(shape, 1, 2).abs() + 1, wave(shape, 2, 2).real, 1e-6 * wave(shape, 3, 2).real
    change = detection.expected(f + step) - detection.expected(f - step)
    assert float((change * r).sum()) == pytest.approx(2 * float((step * detection.adjoint_derivative(f, r)).sum()), rel=1e-6)
    assert close(detection.adjoint_derivative(f, r), ut.physics.Detection.adjoint_derivative(detection, f, r)) < 1e-14


@pytest.mark.parametrize("is_sharp", [False, True])
def test_the_true_object_gives_its_counts_and_stays_where_it_is(is_sharp):
    x = thing((18, 18), 2)
    p = with_flat(pattern(x))
    p = replace(p, intensity=ut.Problem(p).predict(x.unsqueeze(0))[0].numpy())
    q = problem(p)
    q = q.sharpened() if is_sharp else q
    s = state(x.unsqueeze(0), lopsided((18, 18)))
    assert float(q.misfit(s.x)) == pytest.approx(0, abs=1e-9 * p.intensity.sum())
    for algorithm in PROJECTIONS:
        *_, after = iterate(q, 3 * algorithm(), s)
        assert close(q.project_object(after.image, after.support), s.x) < 1e-7, algorithm.__name__
    y = q.project_modulus(wave((18, 18), 4, 2))
    if is_sharp:
        idempotent(q.project_modulus, y)


def test_the_physics_of_a_pattern_has_its_flat_and_dark_once_and_a_short_text():
    p = with_flat(pattern(thing((16, 16))))
    physics = ut.Problem(p).physics
    assert [type(part) for part in physics.parts] == [ut.physics.Sensitivity]
    assert "Sensitivity()" in repr(physics) and len(repr(physics)) < 150
    assert physics.on(p).detection is physics.detection, "bound once"
    again = parse_model(repr(physics), ut.physics.Physics).on(p)
    assert again.detection.flat is p.sensitivity and repr(again) == repr(physics) and reads_back(physics, ut.physics.Physics)
    assert [type(part) for part in physics.with_detection(ut.physics.Background(1)).on(p).parts] == [
        ut.physics.Background,
        ut.physics.Sensitivity,
    ]
    again = copy.deepcopy(physics)
    x = wave((16, 16), 1, 1)
    assert torch.equal(again(x), physics(x))
    with pytest.raises(InputError, match="neither flat nor dark"):
        ut.Problem(pattern(thing((16, 16))), physics)
    with pytest.raises(InputError, match="no setting"):
        parse_model("Sensitivity(flat=3)", ut.physics.Physics)


def test_sharpened_counts_are_divided_and_the_fast_engine_takes_them():
    p = with_flat(pattern(thing((16, 16)), hide=0.1, photons=1e5))
    q = ut.Problem(p)
    x, inside = torch.zeros(1, 16, 16, dtype=torch.complex64), torch.ones(1, 16, 16, dtype=torch.bool)
    assert type(engine_for(q.sets, x, inside, _row())) is General
    assert type(engine_for(q.sharpened().sets, x, inside, _row())) is Compiled
    light = np.where(p.measured, np.maximum(p.intensity - p.dark.astype(np.float64), 0) / p.sensitivity, 0)
    assert np.allclose(sharpened(q.physics.detection, p.intensity, p.measured), light, rtol=1e-12)
    with_floor = q.physics.with_detection(ut.physics.Background(1.5)).detection
    assert np.allclose(sharpened(with_floor, p.intensity, p.measured), np.maximum(light - 1.5, 0) * p.measured, atol=1e-9)
    assert may_test(ut.Problem(replace(p, intensity=np.rint(p.intensity)))), "flat and dark are known"


def _row():
    from untwin.engine import Coefficients

    return Coefficients(0, 0, 1, 0, 1)


def test_a_pattern_has_sound_flats_where_it_is_measured():
    counts, measured = np.ones((8, 8)), np.ones((8, 8), bool)
    measured[0, 0] = False
    flat = np.ones((8, 8))
    flat[0, 0] = np.nan
    assert ut.Pattern(counts, measured, sensitivity=flat, dark=flat).sensitivity[0, 0] == 1
    assert ut.Pattern(counts, measured, dark=flat).dark[0, 0] == 0
    assert ut.Pattern(np.ones((9, 8, 8)), np.ones((9, 8, 8), bool), dark=np.ones((8, 8))).dark.shape == (9, 8, 8)
    for wrong, words in [(0 * flat, "above 0"), (-flat, "above 0"), (np.ones((8, 9)), "has shape"), (np.ones(8), "has shape")]:
        with pytest.raises(InputError, match=words):
            ut.Pattern(counts, measured, sensitivity=wrong)
    with pytest.raises(InputError, match="at least 0"):
        ut.Pattern(counts, measured, dark=-np.ones((8, 8)))


# from files


@pytest.fixture
def scan(tmp_path):
    """A 3D pattern off the centre of its array, with a flat and a dark of one frame: the file, and all as arrays."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*(np.arange(n) - c for n, c in ((13, 6), (32, 12), (32, 18))), indexing="ij")
    light = 3000 * np.exp(-(z**2 / 8 + y**2 / 30 + x**2 / 30)) + 20 * rng.random(z.shape)
    flat, dark = uneven((32, 32), 5)
    dark[5, 5] = 500
    counts = rng.poisson(light * flat + dark).astype(np.int32)
    np.save(tmp_path / "scan.npy", counts)
    np.savez(tmp_path / "detector.npz", flat=1000 * flat, dark=dark)
    return tmp_path / "scan.npy", counts, flat, dark


def test_flat_and_dark_take_the_way_of_the_mask(scan, tmp_path):
    path, counts, flat, dark = scan
    flat = flat.copy()
    flat[3, 4], flat[20, 21], flat[9, 9] = 0, np.nan, 0.9 * DEAD * np.median(flat)
    np.save(tmp_path / "flat.npy", 7 * flat)
    with pytest.warns(ut.GuessWarning, match="3 pixels of the flat"):
        p = ut.read(path, flat=tmp_path / "flat.npy", dark=f"{tmp_path / 'detector.npz'}::dark", centre=(6, 12, 18))
    plain = ut.read(path, centre=(6, 12, 18), keep_strays=True)
    assert plain.sensitivity is None and plain.dark is None and plain.shape == p.shape
    assert p.source.flat == str(tmp_path / "flat.npy")
    bad = plain.measured & ~p.measured
    assert bad.sum() == 3 * p.shape[0]
    where = np.flatnonzero(p.measured)
    assert np.array_equal(p.intensity.flat[where], plain.intensity.flat[where]), "counts stay counts"
    expected = {"flat": np.broadcast_to(flat, counts.shape), "dark": np.broadcast_to(dark, counts.shape)}
    for k in np.random.default_rng(0).choice(where, 50, replace=False):  # every pixel has taken the way of its count
        at = tuple((np.array(np.unravel_index(k, p.shape)) + np.array(p.shape) // 2) % np.array(p.shape) - np.array(p.shape) // 2)
        origin = tuple(int(a + c) for a, c in zip(at, (6, 12, 18)))
        assert p.intensity.flat[k] == counts[origin]
        assert p.dark.flat[k] == pytest.approx(expected["dark"][origin])
        ratio = p.sensitivity.flat[k] / p.sensitivity.flat[where[0]]
        first = np.array(np.unravel_index(where[0], p.shape))
        assert ratio == pytest.approx(expected["flat"][origin] / expected["flat"][tuple(first + (6, 12, 18))], rel=1e-5)
    assert p.sensitivity[p.measured].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_arrays_and_other_formats_say_the_same(scan, tmp_path):
    import h5py
    import tifffile

    path, counts, flat, dark = scan
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["white"], file["dark"] = flat, dark
    tifffile.imwrite(tmp_path / "flat.tif", flat)
    first = ut.read(path, flat=flat, dark=dark)
    assert first.source.flat is None
    for f, d in [(tmp_path / "flat.tif", f"{tmp_path / 'd.h5'}::dark"), (f"{tmp_path / 'd.h5'}::white", tmp_path / "detector.npz")]:
        other = ut.read(path, flat=f, dark=f"{d}::dark" if str(d).endswith("npz") else d)
        assert np.array_equal(other.sensitivity, first.sensitivity) and np.array_equal(other.dark, first.dark)
        assert np.array_equal(other.intensity, first.intensity)


def test_the_centre_is_that_of_the_light(tmp_path):
    """A hot column of the dark, and a bright half of the detector, would move it."""
    y, x = np.mgrid[:64, :64] - 32.0
    light = 500 * np.exp(-((y - 14) ** 2 + x**2) / 20)
    dark = np.zeros((64, 64))
    dark[:, 60] = 3000
    counts = np.random.default_rng(0).poisson(light + dark)
    np.save(tmp_path / "a.npy", counts)
    with pytest.warns(ut.GuessWarning):
        p = ut.read(tmp_path / "a.npy", dark=dark)
    assert np.abs(np.array(p.source.centre) - (46, 32)).max() <= 1
    assert p.corrected().intensity[0, 0] > 400 and p.corrected().corrected() is not None and p.corrected().dark is None


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("flat", lambda f: np.ones((64, 64)), r"flat\[0:32, 0:32\]"),
        ("flat", lambda f: np.ones((30, 30)), "crop or pad"),
        ("flat", lambda f: np.ones(32), "crop or pad"),
        ("flat", lambda f: 0 * f, "0 or NaN in every pixel"),
        ("flat", lambda f: np.nan * f, "0 or NaN in every pixel"),
        ("flat", lambda f: f - 1, "negative"),
        ("flat", lambda f: f > 0, "real numbers"),
        ("flat", lambda f: 1j * f, "real numbers"),
        ("dark", lambda f: np.ones((64, 64)), r"dark\[0:32, 0:32\]"),
        ("dark", lambda f: -f, "negative"),
        ("dark", lambda f: np.nan * f, "negative, NaN"),
        ("dark", lambda f: 1e9 * f, "leaves nothing"),
        ("flat", lambda f: "nowhere.npy", "neither a file nor an array"),
    ],
)
def test_bad_input_is_one_clear_message(scan, tmp_path, name, change, words, capsys):
    path, _, flat, _ = scan
    value = change(flat)
    with pytest.raises(InputError, match=words):
        ut.read(path, **{name: value})
    if not isinstance(value, str):
        np.save(tmp_path / "x.npy", value)
        value = str(tmp_path / "x.npy")
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(path), f"--{name}", value])
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


# a whole run


def exposed(sensitivity, photons=1e6):
    from untwin.simulate.detector import Detector, Total
    from untwin.simulate.streams import Streams

    grid = np.mgrid[:32, :32] - 16
    inside = (abs(grid[0]) < 6) & (abs(grid[1]) < 5) & (grid.sum(0) < 7)
    phase = np.sin(grid[0] / 3.0) + 0.7 * np.cos(grid[1] / 2.0 + 1)
    x = torch.from_numpy((inside * np.exp(1j * phase)).astype(np.complex64))[None]
    return Detector(exposure=Total(photons), sensitivity=sensitivity).expose(x, Streams(5, [0]))


RECIPE = "4*(20*HIO + ShrinkWrap(threshold=0.2)) + 40*RAAR + 20*ER"


def error(solution, e):
    return ut.compare(solution.image.numpy(), e.x[0].numpy()).error


@pytest.fixture(scope="module")
def solved():
    """The automatic plan with an even detector, an uneven one whose flat is given, and the bits of the first with a flat of ones."""
    even, e = exposed(0.0), exposed(0.2)
    p = ut.Pattern(even.intensity[0].numpy(), even.measured[0].numpy())
    q = ut.Pattern(e.intensity[0].numpy(), e.measured[0].numpy(), sensitivity=e.flat[0].numpy())
    return even, e, ut.reconstruct(p, seed=1, workers=1), ut.reconstruct(q, seed=1, workers=1)


def test_with_the_flat_the_object_is_as_good_as_on_an_even_detector(solved):
    even, e, ideal, given = solved
    assert error(ideal, even) < 0.1 and error(given, e) < 1.3 * error(ideal, even) + 0.005
    raw = ut.Pattern(e.intensity[0].numpy(), e.measured[0].numpy())
    inside = np.abs(e.x[0].numpy()) > 0
    kept, bare = (ut.reconstruct(x, "60*RAAR + 40*ER", support=inside, seed=1, workers=1) for x in (given.pattern, raw))
    assert error(kept, e) < 0.5 * error(bare, e), "the general engine, in a recipe of one's own"
    assert kept.numbers["r_factor"] < 0.5 * bare.numbers["r_factor"]


def test_a_result_keeps_flat_and_dark(solved, tmp_path):
    *_, given = solved
    given.save(tmp_path / "out")
    again = load(tmp_path / "out")
    assert np.array_equal(again.pattern.sensitivity, given.pattern.sensitivity) and again.pattern.dark is None
    assert repr(again.physics) == repr(given.physics)
    x = wave((32, 32), 1, 1)
    assert torch.equal(again.physics.on(again.pattern)(x), given.physics.on(given.pattern)(x))
    from untwin.show.pattern import plot_intensity

    assert plot_intensity(again) is not None


def test_the_command_line_repeats_a_run_with_flat_and_dark(scan, tmp_path):
    path, *_ = scan
    detector = tmp_path / "detector.npz"
    options = ["--flat", f"{detector}::flat", "--dark", f"{detector}::dark", "--recipe", RECIPE, "--starts", "2", "--workers", "1"]
    _succeeds(["reconstruct", str(path), *options, "-o", str(tmp_path / "a")])
    run = (tmp_path / "a" / "run.toml").read_text()
    assert f'flat = "{detector}::flat"' in run and f'dark = "{detector}::dark"' in run
    _succeeds(["reconstruct", "--config", str(tmp_path / "a" / "run.toml"), "-o", str(tmp_path / "b")])
    a, b = load(tmp_path / "a"), load(tmp_path / "b")
    assert torch.equal(a.image, b.image) and np.array_equal(a.pattern.dark, b.pattern.dark)
    from untwin.runs.archive import settings

    assert settings(a)["flat"] == f"{detector}::flat"
    p = ut.read(tmp_path / "a" / "result.cxi", centre=[n // 2 for n in a.pattern.shape])
    assert np.allclose(p.sensitivity, a.pattern.sensitivity, rtol=1e-5) and np.array_equal(p.dark, a.pattern.dark)


def test_inspect_says_them(scan, tmp_path, capsys):
    path, *_ = scan
    _succeeds(
        [
            "inspect",
            str(path),
            "--frames",
            "volume",
            "--flat",
            f"{tmp_path / 'detector.npz'}::flat",
            "--dark",
            f"{tmp_path / 'detector.npz'}::dark",
        ]
    )
    text = capsys.readouterr().out
    assert "of the mean (in the model)" in text and "counts per pixel, up to 500" in text and "--flat" in text


def _succeeds(arguments):
    try:
        main(arguments)
    except SystemExit as stop:
        assert stop.code in (0, None), arguments


def test_a_plan_divides_by_the_flat_and_fills_what_is_saturated():
    """Clipped pixels are filled in as an even detector would have counted them, and released again."""
    from untwin.runs.stages.base import Cohort, Context
    from untwin.runs.stages.inspect import Inspect, Release

    e = exposed(0.2, 1e6)
    counts = e.intensity[0].numpy()
    top = np.sort(counts.ravel())[-12]
    p = ut.Pattern(np.minimum(counts, top), np.ones((32, 32), bool), sensitivity=e.flat[0].numpy())
    context = Context(ut.Problem(p).divided(), 0, launch=None)
    cohort = Inspect().run(Cohort(), context)
    q = cohort.problem
    hidden = ~q.pattern.measured
    assert hidden.sum() >= 12 and q.counts.sharpened
    filled = hidden & q.counts.imposed.numpy()
    if filled.any():
        truth = counts / p.sensitivity
        assert np.median(q.counts.amplitude.numpy()[filled] ** 2 / truth[filled]) == pytest.approx(1, abs=0.5)
    released = Release().run(cohort, replace(context, problem=q)).problem or q
    assert released.counts.sharpened and bool((released.counts.imposed == released.measured).all())


def test_a_floor_beside_the_dark_goes_into_the_model_before_the_flat():
    from untwin.runs.stages.base import Cohort, Context
    from untwin.runs.stages.inspect import Inspect
    from untwin.simulate.detector import Detector, Total
    from untwin.simulate.streams import Streams

    grid = np.mgrid[:64, :64] - 32
    inside = (abs(grid[0]) < 11) & (abs(grid[1]) < 9) & (grid.sum(0) < 13)
    x = torch.from_numpy((inside * np.exp(1j * np.sin(grid[0] / 3.0))).astype(np.complex64))[None]
    e = Detector(exposure=Total(1e6), background=5.0, sensitivity=0.2).expose(x, Streams(2, [0]))
    dark = np.full((64, 64), 2.0)
    counts = e.intensity[0].numpy() + np.random.default_rng(0).poisson(dark)
    levels = {}
    for name, known in (("no dark", None), ("dark", dark), ("all of it", np.full((64, 64), 7.0))):
        p = ut.Pattern(counts, e.measured[0].numpy(), sensitivity=e.flat[0].numpy(), dark=known)
        context = Context(ut.Problem(p).divided(), 0, launch=None)
        cohort = Inspect().run(Cohort(), context)
        q = cohort.problem or context.problem
        levels[name] = cohort.numbers.get("background", 0.0)
        assert q.counts.sharpened and type(q.physics.parts[-1]) is ut.physics.Sensitivity
    assert levels["no dark"] == pytest.approx(7, abs=1) and levels["dark"] == pytest.approx(5, abs=1) and levels["all of it"] == 0, levels


def test_the_flat_of_scan_54_is_cropped_by_hand_and_the_peak_is_found(measured, tmp_path):
    import tifffile

    flat = tifffile.imread(measured("real/34idc_scan54/whitefield.tif"))
    frames = sorted(measured("real/34idc_scan54/frames").glob("*.tif"))
    counts = np.stack([tifffile.imread(f)[78:174, 79:175] for f in frames[51:147]])
    np.save(tmp_path / "crop.npy", counts)
    with pytest.raises(InputError, match=r"\(512, 512\).*flat\[0:96, 0:96\]"):
        ut.read(tmp_path / "crop.npy", flat=flat)
    p, raw = ut.read(tmp_path / "crop.npy", flat=flat[78:174, 79:175]), ut.read(tmp_path / "crop.npy")
    assert p.source.centre == raw.source.centre == (48, 48, 48) and p.shape == (96, 96, 96)
    assert np.array_equal(p.intensity, raw.intensity) and p.asymmetry < 0.7 * raw.asymmetry
    low, high = np.quantile(p.sensitivity, (0.01, 0.99))
    assert low == pytest.approx(0.63, abs=0.02) and high == pytest.approx(1.47, abs=0.02)
