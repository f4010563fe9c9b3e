"""A run repeats itself from its folder, bit for bit, or its run.toml says why it cannot."""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from untwin import cli
from untwin.data.measurement import Pattern
from untwin.runs.names import parse_model
from untwin.simulate import shapes
from untwin.simulate.detector import measure
from untwin.solve.recipe import Algorithm

SHORT = "2*(15*HIO + ShrinkWrap) + 10*ER"


def pattern(real: bool = False, shape: tuple[int, ...] = (32, 32), stop: float = 1.5) -> Pattern:
    rng = np.random.default_rng(3)
    x = shapes.poly(shape, rng)
    return measure(np.abs(x).astype(complex) if real else x, 1e6, rng, stop)[0]


def inside(shape: tuple[int, ...] = (32, 32)) -> np.ndarray:
    support = np.zeros(shape, bool)
    support[tuple(slice(n // 4, 3 * n // 4) for n in shape)] = True
    return support


def halfway() -> Pattern:
    """Centred between two pixels."""
    return replace(pattern(), offset=(0.5, 0.5))


CALLS = {
    "a recipe": lambda: ut.reconstruct(pattern(), SHORT, starts=4, seed=5),
    "the automatic plan": lambda: ut.reconstruct(pattern(), starts=2, method="classical"),
    "a plan": lambda: ut.reconstruct(pattern(), f"Plan(Search({SHORT}, starts=4, families=2), Guide((20*RAAR,)), Refine(5*ER))"),
    "positivity": lambda: ut.reconstruct(pattern(True), SHORT, starts=2, positivity=True),
    "a support": lambda: ut.reconstruct(pattern(), "20*HIO + 10*ER", starts=2, support=inside()),
    "a support of one's own and the automatic plan": lambda: ut.reconstruct(pattern(), starts=2, support=inside()),
    "a volume": lambda: ut.reconstruct(pattern(shape=(16, 16, 16)), SHORT, starts=2),
    "predicted starts": lambda: ut.reconstruct(pattern(shape=(64, 64)), "5*HIO + 5*ER", start="predict", starts=2),
    "a centre between pixels": lambda: ut.reconstruct(halfway(), SHORT, starts=2),
    "real-valued": lambda: ut.reconstruct(
        ut.Problem(pattern(True), constraint=ut.constraints.Support() & ut.constraints.RealValued()), SHORT, starts=2, support=inside()
    ),
    "nonnegative, the other way round": lambda: ut.reconstruct(
        ut.Problem(pattern(True), constraint=ut.constraints.Nonnegative() & ut.constraints.Support()), SHORT, starts=2
    ),
    "positive, of a pattern that is none of a real object": lambda: ut.reconstruct(
        ut.Problem(pattern(), constraint=ut.constraints.Support() & ut.constraints.Nonnegative()), SHORT, starts=2
    ),
    "a ceiling, a loss and a modulus": lambda: ut.reconstruct(
        ut.Problem(
            pattern(),
            constraint=ut.constraints.Support() & ut.constraints.MagnitudeCap(),
            loss=ut.losses.Poisson(offset=0.5),
            modulus=ut.physics.Modulus(rho=0.3, damping=0.98),
        ),
        "10*HIO + 10*Fit(Grid()) + ShrinkWrap + 5*ER",
        starts=2,
    ),
    "a physics": lambda: ut.reconstruct(ut.Problem(pattern(), ut.physics.FarField(2, (0.5, 0.0))), SHORT, starts=2),
}


def repeated(folder: Path, out: Path) -> ut.results.Reconstruction:
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", "--config", str(folder / "run.toml"), "-o", str(out)])
    assert stop.value.code == 0
    return ut.load(out)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    from untwin.cli import reconstruct

    monkeypatch.setattr(reconstruct, "present", lambda solution, folder, run: None)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CALLS)
def test_a_python_call_repeats_itself_from_its_folder(name, tmp_path):
    first = CALLS[name]()
    folder = first.save(tmp_path / "first")
    again = repeated(folder, tmp_path / "again")
    assert torch.equal(first.image, again.image) and torch.equal(first.support, again.support)
    assert first.starts == again.starts and first.verdict == again.verdict and first.history == again.history
    assert first.positivity == again.positivity and first.conditions.texts() == again.conditions.texts()
    assert repr(first.physics) == repr(again.physics)
    third = repeated(tmp_path / "again", tmp_path / "third")
    assert torch.equal(third.image, first.image), "what the command line has written repeats, too"


def test_a_folder_that_was_moved_and_one_that_was_saved_again_repeat(tmp_path):
    first = CALLS["a support"]()
    first.save(tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "moved")
    ut.load(tmp_path / "moved").save(tmp_path / "copy")
    shutil.rmtree(tmp_path / "moved")
    os.chdir("/")
    assert torch.equal(repeated(tmp_path / "copy", tmp_path / "again").image, first.image)


def table(folder: Path) -> dict:
    return tomllib.loads((folder / "run.toml").read_text())


def test_a_real_object_without_positivity_is_not_called_positive(tmp_path):
    first = CALLS["real-valued"]()
    run = table(first.save(tmp_path / "first"))
    assert not first.positivity and "positivity" not in run and run["constraint"] == "Support() & RealValued()"


def test_a_pattern_of_a_file_is_named_by_it_as_long_as_it_gives_the_same(tmp_path):
    np.savez("p.npz", intensity=np.fft.fftshift(pattern(stop=0).intensity), mask=np.zeros((32, 32), bool))
    read = ut.read("p.npz", centre=(16, 16))
    first = ut.reconstruct(read, "5*ER", starts=1)
    run = table(first.save(tmp_path / "first"))
    assert run["file"] == str(tmp_path / "p.npz") and run["centre"] == [16, 16]
    changed = ut.reconstruct(replace(read, intensity=read.intensity + 1), "5*ER", starts=1)
    assert table(changed.save(tmp_path / "changed"))["file"] == "result.cxi"
    assert torch.equal(repeated(tmp_path / "changed", tmp_path / "again").image, changed.image)
    Path("p.npz").unlink()
    assert table(first.save(tmp_path / "gone"))["file"] == "result.cxi"


@dataclass(frozen=True)
class Own(Algorithm):
    def step(self, problem, state):
        return state


class Loss(ut.losses.Loss):
    def __call__(self, f, intensity, where):
        return ut.losses.Poisson()(f, intensity, where)

    def __repr__(self):
        return "Mine()"


@dataclass(frozen=True)
class Poisson(ut.losses.Loss):
    """Another one, of the same name."""

    offset: float = 0.0

    def __call__(self, f, intensity, where):
        return 2 * ut.losses.Poisson()(f, intensity, where)


@dataclass(frozen=True, repr=False)
class FarField(ut.physics.FarField):
    """Another one, of the same name."""

    def propagate(self, x):
        return 1j * ut.physics.FarField.propagate(self, x)

    def backpropagate(self, w, spent=False):
        return ut.physics.FarField.backpropagate(self, -1j * w)


@dataclass(frozen=True, repr=False)
class Doubled(ut.physics.Detection):
    def expected(self, f):
        return 2 * f


def thirds() -> Pattern:
    """float64, whose roots are others than those of float32."""
    return replace(pattern(), intensity=pattern().intensity.astype(np.float64) / 3)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: ut.reconstruct(ut.Problem(pattern(), loss=Poisson()), "3*ER", starts=1), r"loss Poisson\(.*\) has names"),
        (lambda: ut.reconstruct(ut.Problem(pattern(), FarField()), "3*ER", starts=1), r"physics Physics\(waves=FarField.*has names"),
        (lambda: ut.reconstruct(thirds(), "3*ER", starts=1), "other counts, pixels or precision"),
        (lambda: ut.reconstruct(pattern(), Own() + ut.algorithms.ER(), starts=1), "recipe has steps that a run.toml does not know"),
        (lambda: ut.reconstruct(ut.Problem(pattern(), loss=Loss()), "3*ER", starts=1), r"loss Mine\(\) has names"),
        (lambda: ut.reconstruct(pattern(), "3*ER", starts=1, support=np.ones((32, 32))), "covered the whole array"),
        (lambda: ut.reconstruct(ut.Problem.of(pattern()).to(dtype=torch.float64), "3*ER", starts=1), "other counts, pixels or precision"),
    ],
)
def test_what_no_file_repeats_is_said_in_its_place(call, why, tmp_path):
    first = call()
    folder = first.save(tmp_path / "first")
    assert not table(folder)
    with pytest.raises(ut.InputError, match=f"cannot be repeated from its file: its {why.removeprefix('its ')}|{why}"):
        from untwin.config import resolved

        resolved(folder / "run.toml", {})
    assert torch.equal(ut.load(folder).image, first.image)
    assert ut.load(folder).conditions.obstacle == first.conditions.obstacle != ""


@pytest.mark.parametrize("physics", [ut.physics.Physics(ut.physics.FarField(), Doubled()), FarField()], ids=repr)
def test_a_physics_of_ones_own_is_not_shown_as_another(physics, tmp_path):
    from untwin.show.pattern import plot_intensity

    first = ut.reconstruct(ut.Problem(pattern(), physics), "3*ER", starts=1)
    assert plot_intensity(first) is not None
    for i in range(2):  # a loaded one that is saved again, too
        loaded = ut.load(first.save(tmp_path / str(i)))
        doubts = [w for w in loaded.warnings if "is not known here; the calculated intensity is not shown" in w]
        assert loaded.physics is None and len(doubts) == 1 and plot_intensity(loaded) is None
        assert ut.report(loaded, tmp_path / f"report{i}")
        first = loaded


def test_former_names_on_the_command_line_are_one_note(tmp_path, capsys):
    folder = ut.reconstruct(pattern(), SHORT, starts=1).save(tmp_path / "first")
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", str(folder / "result.cxi"), "--recipe", "Whole + 5*ER + Settle", "--starts", "1", "-o", "out"])
    notes = [line for line in capsys.readouterr().err.splitlines() if "earlier release" in line]
    assert stop.value.code == 0
    assert notes == ["note: names of an earlier release: Settle is called Rescale now, Whole is called ResetSupport now"]


def test_waves_alone_are_a_physics():
    from untwin.model.physics import Physics

    assert parse_model("FarField(2)", Physics) == Physics(ut.physics.FarField(2))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--positivity", "--constraint", "Support()"], "say the same twice"),
        (["--constraint", "Suport()"], "did you mean Support"),
        (["--constraint", "Support() & Poisson()"], "is no constraint; known: Support"),
        (["--loss", "Support()"], "is no loss; known: Amplitude"),
        (["--physics", "ER"], "unknown name 'ER'"),
        (["--modulus", "Modulus(wrong=1)"], "no setting 'wrong'"),
    ],
)
def test_texts_of_a_problem_are_checked_first(options, match, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", "missing.npz", *options])
    assert stop.value.code == 2
    assert match in capsys.readouterr().err.replace("\n", " ")
