"""End to end: a pattern goes in, an object comes out in the right place and orientation, and everything on disk says the same."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from events import LIMIT
from untwin import cli
from untwin.data.measurement import Pattern
from untwin.data.read import read_object
from untwin.errors import GuessWarning, InputError
from untwin.fourier import cornered
from untwin.model.alignment import twin
from untwin.model.problem import Problem
from untwin.runs.launch import BATCH_PIXELS
from untwin.simulate import shapes
from untwin.simulate.detector import measure

SHORT = "2*(15*HIO + ShrinkWrap) + 10*ER"
PHASING = "3*(20*HIO + ShrinkWrap) + 10*ER"


def crystal(shape: tuple[int, ...] = (32, 32), seed: int = 0, photons: float = 1e6) -> tuple[Pattern, np.ndarray]:
    """The pattern of a faceted crystal, and the crystal."""
    rng = np.random.default_rng(seed)
    return measure(shapes.poly(shape, rng), photons, rng)


def letter() -> np.ndarray:
    """An F, 12 pixels high, near the middle of 32 x 32, brighter towards its foot: no symmetry whatever."""
    f = np.zeros((32, 32))
    f[10:22, 12:14] = f[10:12, 12:20] = f[15:17, 12:18] = 1
    return f * np.linspace(1, 2, 32)[:, None]


def box(image: np.ndarray) -> np.ndarray:
    """bool: the smallest box around the object, which holds its twin as well."""
    inside = np.zeros(image.shape, bool)
    found = np.argwhere(image)
    inside[tuple(slice(low, high + 1) for low, high in zip(found.min(0), found.max(0)))] = True
    return inside


def stored(pattern: Pattern, folder: Path) -> Path:
    """The pattern as a file, zero frequency in the middle."""
    np.savez(folder / "pattern.npz", intensity=np.fft.fftshift(pattern.intensity))
    return folder / "pattern.npz"


def aligned(solution: ut.results.Reconstruction, truth: np.ndarray):
    d = truth.ndim
    return ut.align(cornered(solution.image, d).unsqueeze(0), cornered(torch.from_numpy(truth), d), d)


def same_bits(a: ut.results.Reconstruction, b: ut.results.Reconstruction) -> bool:
    return torch.equal(a.image, b.image) and torch.equal(a.support, b.support)


def same_pattern(a: Pattern, b: Pattern) -> None:
    np.testing.assert_array_equal(a.intensity, b.intensity)
    np.testing.assert_array_equal(a.measured, b.measured)
    assert (a.geometry, a.source, a.offset, a.warnings) == (b.geometry, b.source, b.offset, b.warnings)
    assert a.asymmetry == b.asymmetry or math.isnan(a.asymmetry) and math.isnan(b.asymmetry)


def same_figures(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == b[name] or math.isnan(a[name]) and math.isnan(b[name]), name


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A pattern, and the folder that the command line made of it."""
    folder = tmp_path_factory.mktemp("run")
    path, out = stored(crystal()[0], folder), folder / "out"
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", str(path), "--recipe", SHORT, "--starts", "4", "--seed", "7", "-o", str(out)])
    assert stop.value.code == 0
    return path, out


# the object


def test_the_automatic_plan_recovers_a_crystal_and_trusts_it():
    pattern, truth = crystal((64, 64))
    found = ut.reconstruct(pattern)
    assert float(aligned(found, truth).error[0]) < 0.12
    assert found.verdict.trusted is True and "agree" in found.verdict.text
    assert found.numbers["r_factor"] < 0.06 and found.numbers["agreement"] < 0.1


def test_the_image_is_in_photons_and_in_the_middle():
    pattern, truth = crystal()
    found = ut.reconstruct(pattern, PHASING, starts=4)
    assert float(aligned(found, truth).error[0]) < 0.2
    power = float(found.image.abs().square().sum())
    assert power == pytest.approx(pattern.photons, rel=0.05)
    weight = found.image.abs().square().numpy()
    centre = [float((weight * np.arange(32).reshape(s)).sum() / weight.sum()) for s in ((-1, 1), (1, -1))]
    assert centre == pytest.approx([16, 16], abs=0.6)
    assert found.image.dtype == torch.complex64 and found.support.dtype == torch.bool
    assert bool((found.image[~found.support] == 0).all())


def test_the_letter_keeps_its_orientation_through_files(tmp_path):
    pattern, truth = measure(letter().astype(np.complex64), 1e9, np.random.default_rng(0))
    read = ut.read(stored(pattern, tmp_path))
    np.testing.assert_array_equal(read.intensity, pattern.intensity)
    seen = set()
    for seed in range(12):
        found = ut.reconstruct(read, "3*(40*HIO + 10*ER) + 30*ER", starts=1, seed=seed, positivity=True, support=box(truth))
        near = aligned(found, truth)
        if float(near.error[0]) > 0.02:
            continue  # this start has not come to the object at all
        folder = found.save(tmp_path / f"out{seed}")
        image = torch.from_numpy(read_object(folder / "result.cxi").image)
        assert torch.equal(image, found.image) and bool((image.imag == 0).all())
        turned = bool(near.twin[0])
        if turned:
            image = torch.fft.fftshift(twin(torch.fft.ifftshift(image), 2))
        by = tuple(int(n) for n in near.by[0].round())
        np.testing.assert_allclose(image.real.roll(by, (0, 1)).numpy(), truth.real, atol=0.05 * truth.real.max())
        seen.add(turned)
        if len(seen) == 2:
            break
    assert seen, "no start has found the letter"
    assert seen == {True, False}, "both orientations have been looked at"


def test_the_support_fixes_the_orientation():
    pattern, truth = measure(letter().astype(np.complex64), 1e9, np.random.default_rng(0))
    found = ut.reconstruct(pattern, "3*(40*HIO + 10*ER) + 30*ER", starts=4, positivity=True, support=letter() > 0)
    near = aligned(found, truth)
    assert float(near.error[0]) < 0.02 and not bool(near.twin[0])


def test_a_pattern_centred_between_pixels_is_solved(tmp_path):
    n, centre = 32, 16.5
    wave = np.exp(-2j * np.pi * np.outer(np.arange(n) - centre, np.arange(n) - n // 2) / n)
    truth = letter().astype(np.complex64)
    intensity = np.abs(wave @ truth @ wave.T) ** 2
    np.savez(tmp_path / "half.npz", intensity=np.round(intensity * (1e8 / intensity.sum())).astype(np.float32))
    pattern = ut.read(tmp_path / "half.npz", centre=(centre, centre), values="intensity")
    assert pattern.offset == (0.5, 0.5) and pattern.shape == (n, n) and pattern.asymmetry < 1e-3
    found = ut.reconstruct(pattern, "3*(40*HIO + 10*ER) + 30*ER", starts=4, positivity=True, support=box(letter()))
    assert float(aligned(found, truth).error[0]) < 0.02 and found.numbers["r_factor"] < 0.02


@pytest.mark.parametrize("shape", [(33, 31), (24, 24, 24)])
def test_odd_sizes_and_volumes_are_solved(shape):
    pattern, truth = crystal(shape, 1)
    found = ut.reconstruct(pattern, PHASING, starts=4)
    assert found.image.shape == found.support.shape == shape and bool(found.image.isfinite().all())
    assert float(aligned(found, truth).error[0]) < 0.35
    assert all(math.isfinite(v) for v in found.numbers.values())


def test_an_odd_file_becomes_even_without_wrapping_and_is_solved(tmp_path):
    pattern, truth = crystal((45, 43), 2)
    with pytest.warns(GuessWarning, match="goes from 45×43 to"):
        read = ut.read(stored(pattern, tmp_path))
    assert all(n % 2 == 0 for n in read.shape)
    found = ut.reconstruct(read, SHORT, starts=2)
    assert found.image.shape == read.shape and found.warnings == read.warnings != ()
    assert found.numbers["r_factor"] < 0.2


# what goes in


def test_the_same_seed_gives_the_same_bits_and_another_gives_others():
    pattern, _ = crystal()
    a, b, c = (ut.reconstruct(pattern, SHORT, starts=4, seed=s) for s in (3, 3, 1000))
    assert same_bits(a, b) and not same_bits(a, c)
    assert a.verdict == b.verdict and a.starts == b.starts and a.history == b.history
    assert [s.number for s in a.starts] == [0, 1, 2, 3] and len({s.seed for s in (*a.starts, *c.starts)}) == 8


def test_a_recipe_as_steps_as_text_and_as_a_plan_gives_the_same_bits():
    pattern, _ = crystal()
    steps = 2 * (15 * ut.algorithms.HIO() + ut.algorithms.ShrinkWrap()) + 10 * ut.algorithms.ER()
    a = ut.reconstruct(pattern, steps, starts=4)
    assert same_bits(a, ut.reconstruct(pattern, SHORT, starts=4))
    assert same_bits(a, ut.reconstruct(pattern, a.recipe)) and isinstance(ut.parse(a.recipe), ut.plans.Plan)
    assert same_bits(a, ut.reconstruct(pattern, ut.parse(a.recipe)))


@pytest.mark.parametrize("positivity", [False, True])
def test_a_problem_gives_the_same_bits_as_its_pattern(positivity):
    pattern, _ = measure(letter().astype(np.complex64), 1e6, np.random.default_rng(0))
    problem = Problem.of(pattern, positivity=positivity)
    a, b = ut.reconstruct(problem, SHORT, starts=2), ut.reconstruct(pattern, SHORT, starts=2, positivity=positivity)
    assert same_bits(a, b) and a.positivity == b.positivity == positivity


@pytest.mark.parametrize("starts, families", [(1, 1), (2, 2), (5, 2)])
def test_so_many_starts_are_made(starts, families):
    found = ut.reconstruct(crystal()[0], SHORT, starts=starts)
    assert len(found.starts) == found.numbers["starts"] == len(found.history) == starts
    assert found.numbers["families"] == families
    if starts == 1:
        assert found.verdict.trusted is None and "nothing independent to compare with" in found.verdict.text
        assert math.isnan(found.numbers["agreement"]) and found.fsc is None


def test_a_given_support_is_kept():
    pattern, truth = crystal(seed=3)
    given = np.zeros((32, 32), bool)
    given[np.abs(truth) > 0.05 * np.abs(truth).max()] = True
    for recipe in (None, SHORT.replace(" + ShrinkWrap", "")):
        found = ut.reconstruct(pattern, recipe, starts=2, support=given)
        assert int(found.support.sum()) == given.sum() == found.numbers["support_pixels"]
        overlap = np.fft.ifftn(np.fft.fftn(found.support.numpy()) * np.fft.fftn(given).conj()).real
        assert round(overlap.max()) == given.sum(), "moved as a whole at most"


def test_a_report_of_the_progress_adds_up():
    told = []
    ut.reconstruct(crystal()[0], SHORT, starts=4, report=lambda steps, r, total: told.append((steps, r, total)))
    assert sum(steps for steps, _, _ in told) == told[-1][2] == 4 * (2 * 16 + 10)
    assert all(r is None or 0 < r < 2 for _, r, _ in told)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"recipe": "20*HOI"}, "did you mean HIO"),
        ({"recipe": 3}, "recipe is a text, steps or a Plan, got int"),
        ({"recipe": "ER", "starts": 0}, "starts=0"),
        ({"seed": -1}, "seed=-1: expected a whole number"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"seed": True}, "seed=True"),
        ({"support": np.ones((16, 16))}, r"support has shape \(16, 16\), pattern \(32, 32\); crop or pad"),
        ({"support": np.zeros((32, 32))}, "the support is empty"),
        ({"device": "nosuch"}, "no device 'nosuch'.*try cpu"),
    ],
)
def test_wrong_arguments_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        ut.reconstruct(crystal()[0], **options)


def test_only_patterns_and_problems_are_reconstructed():
    pattern, _ = crystal()
    with pytest.raises(InputError, match="takes a Pattern or a Problem, got ndarray; untwin.read"):
        ut.reconstruct(pattern.intensity)
    with pytest.raises(InputError, match=r"no Nonnegative\(\) constraint"):
        ut.reconstruct(Problem.of(pattern), positivity=True)
    with pytest.raises(InputError, match="differs from its mirror image by 0.40"):
        ut.reconstruct(replace(pattern, asymmetry=0.4), positivity=True)


# what is left on disk


def test_a_result_folder_is_complete(run):
    _, out = run
    assert {p.name for p in out.iterdir()} == {"result.cxi", "run.toml", "summary.json", "report.html", "figures", "live"}
    assert len(list((out / "figures").iterdir())) > 3
    page = (out / "report.html").read_text(encoding="utf-8")
    told = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert told["verdict"]["text"] in page.replace("&lt;", "<") and len(told["starts"]) == 4 and told["seed"] == 7
    table = tomllib.loads((out / "run.toml").read_text(encoding="utf-8"))
    assert table["seed"] == 7 and table["recipe"] == told["recipe"] and Path(table["file"]).is_absolute()


def test_a_run_repeats_from_its_own_file(run, monkeypatch, tmp_path):
    _, out = run
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("untwin.cli.reconstruct.present", lambda solution, folder, run: None)
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", "--config", str(out / "run.toml"), "-o", "again"])
    assert stop.value.code == 0
    first, again = ut.load(out), ut.load("again")
    assert same_bits(first, again) and first.starts == again.starts and first.verdict == again.verdict
    assert (out / "run.toml").read_text() == Path("again/run.toml").read_text()


def test_python_and_the_command_line_give_the_same_bits(run):
    path, out = run
    found = ut.reconstruct(ut.read(path), SHORT, starts=4, seed=7)
    assert same_bits(found, ut.load(out))


def test_the_report_is_written_again(run, capsys):
    _, out = run
    (out / "report.html").unlink()
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", str(out)])
    assert stop.value.code == 0 and str(out / "report.html") in capsys.readouterr().out
    assert (out / "report.html").stat().st_size > 10_000
    assert ut.load(out).method == "recipe"


def test_every_option_of_a_run_is_repeated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("untwin.cli.reconstruct.present", lambda solution, folder, run: None)
    pattern, _ = measure(letter().astype(np.complex64), 1e6, np.random.default_rng(0))
    counts = np.fft.fftshift(pattern.intensity)
    np.savez("two.npz", a=counts, b=counts * 2)
    np.savez("masks.npz", bad=np.arange(32 * 32).reshape(32, 32) % 97 == 0)
    np.save("support.npy", box(letter()))
    options = "--data b --mask masks.npz::bad --centre 16,16 --positivity --support support.npy --starts 2 --seed 4 --device cpu"
    for command in (["two.npz", *options.split(), "-o", "one"], ["--config", "one/run.toml", "-o", "other"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["reconstruct", *command])
        assert stop.value.code == 0
    one, other = ut.load("one"), ut.load("other")
    assert same_bits(one, other) and one.positivity and one.seed == 4 and len(one.starts) == 2
    assert one.pattern.source.dataset == "b" and not one.pattern.measured.all()
    assert one.numbers["support_pixels"] == box(letter()).sum()


def test_a_result_opens_as_the_pattern_that_it_rests_on(run):
    path, out = run
    same_pattern(ut.read(out / "result.cxi"), ut.read(path))


def test_a_loaded_solution_equals_the_saved_one(tmp_path):
    pattern, _ = crystal(seed=1)
    pattern = replace(pattern, geometry=ut.Geometry(1e-10, 2.0, (5e-5, 5e-5)), warnings=("taken as it is",))
    for starts in (1, 4):
        found = ut.reconstruct(pattern, SHORT, starts=starts, seed=5)
        back = ut.load(found.save(tmp_path / str(starts)))
        assert same_bits(found, back)
        same_pattern(found.pattern, back.pattern)
        same_figures(found.numbers, back.numbers)
        for a, b in zip(found.starts, back.starts, strict=True):
            a, b = asdict(a), asdict(b)
            assert a.pop("reason") == b.pop("reason")
            same_figures(a, b)
        for name in ("recipe", "seed", "positivity", "verdict", "history", "prtf", "fsc", "mode_weights", "warnings"):
            assert getattr(found, name) == getattr(back, name), name
        assert found.warnings == ("taken as it is",)
    assert found.prtf is not None and found.fsc is not None


def test_nothing_is_overwritten_unasked(tmp_path):
    found = ut.reconstruct(crystal()[0], "5*ER", starts=1)
    found.save(tmp_path / "out")
    before = (tmp_path / "out" / "result.cxi").read_bytes()
    with pytest.raises(InputError, match=r"out exists and is not empty; choose another folder or overwrite=True \(--overwrite\)"):
        found.save(tmp_path / "out")
    assert (tmp_path / "out" / "result.cxi").read_bytes() == before
    found.save(tmp_path / "out", overwrite=True)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"result.cxi", "run.toml", "summary.json"}


def test_a_file_that_is_no_result_is_not_loaded(tmp_path):
    np.savez(tmp_path / "object.npz", image=np.ones((32, 32), complex))
    with pytest.raises(InputError, match=r"object\.npz is not a result of untwin"):
        ut.load(tmp_path / "object.npz")
    with pytest.raises(InputError, match="no result.cxi in"):
        ut.load(tmp_path)


def test_a_solution_draws_itself():
    from matplotlib.figure import Figure

    assert isinstance(ut.reconstruct(crystal()[0], "5*ER", starts=1).plot(), Figure)


def test_a_plain_script_may_use_several_processes(tmp_path):
    side = math.isqrt(BATCH_PIXELS) + 4
    (tmp_path / "script.py").write_text(
        "import numpy as np\n"
        "import untwin as ut\n"
        "from untwin.simulate import shapes\n"
        "from untwin.simulate.detector import measure\n"
        "print('begun')\n"
        f"rng = np.random.default_rng(0)\npattern, _ = measure(shapes.poly(({side}, {side}), rng), 1e6, rng)\n"
        "here = ut.reconstruct(pattern, '3*ER', starts=2, workers=1)\n"
        "pool = ut.reconstruct(pattern, '3*ER', starts=2, workers=2)\n"
        "print(float((here.image - pool.image).abs().max() / here.image.abs().max()))\n"
    )
    ended = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    begun, apart = ended.stdout.split()
    assert begun == "begun" and float(apart) < 1e-4


# what is wrong with it today


@pytest.mark.parametrize("recipe", [SHORT, f"Plan(Search({PHASING}), Guide((20*RAAR + 5*ER,)))"])
def test_a_run_is_not_compared_with_its_own_start(recipe, tmp_path):
    found = ut.reconstruct(crystal()[0], recipe, starts=1)
    assert found.prtf is None and "resolution_pixels" not in found.numbers and found.numbers["runs_kept"] == 1
    assert "PRTF" not in found.verdict.text
    summary = json.loads((found.save(tmp_path / "out") / "summary.json").read_text())
    assert summary["prtf"] is None and "resolution_pixels" not in summary["numbers"]


@pytest.mark.parametrize("recipe", [None, "Plan(Search(ER, starts=2))"])
def test_no_starts_at_all_are_refused(recipe):
    with pytest.raises(InputError, match="starts"):
        ut.reconstruct(crystal((16, 16))[0], recipe, starts=0, support=np.eye(16))


def test_a_plan_of_two_families_can_be_run_with_one_start():
    found = ut.reconstruct(crystal()[0], "Plan(Search(ER, starts=4, families=2))", starts=1)
    assert len(found.starts) == found.numbers["families"] == 1 and found.verdict.trusted is not True


def test_a_device_that_holds_no_data_is_refused():
    with pytest.raises(InputError, match="no device"):
        ut.reconstruct(crystal()[0], "ER", starts=1, device="meta")


def test_a_solution_saved_from_python_says_where_its_centre_was(tmp_path):
    path = stored(crystal()[0], tmp_path)
    found = ut.reconstruct(ut.read(path, centre=(15, 16)), "5*ER", starts=1)
    assert tomllib.loads((found.save(tmp_path / "out") / "run.toml").read_text())["centre"] == [15, 16]
