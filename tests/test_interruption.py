"""How a run is interrupted, what is kept of it, and how the command line goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from events import LIMIT, alive, children, dies, forks, until
from short_runs import same, thing
from untwin import cli
from untwin.processes import stoppable
from untwin.runs import checkpoint, launch
from untwin.runs.checkpoint import Checkpoint
from untwin.runs.launch import run_here

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def test_an_interrupted_part_is_kept_where_it_stood(tmp_path):
    problem, recipe = ut.Problem.of(thing()), ut.parse("30*ADMM")
    state, run = ut.begin(problem, (0, 1)), Checkpoint(tmp_path)
    run.begin({})
    iterate = launch.iterate
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def interrupted(*arguments):
            for after in iterate(*arguments):
                yield after
                if after.step == 17:
                    raise KeyboardInterrupt

        patch.setattr(launch, "iterate", interrupted)
        run_here(problem, recipe, state, 30, run, "part")
    held = Checkpoint(tmp_path, run=run.run).read("part")
    assert held is not None and held.state.step == 17 and [step for step, _ in held.trace] == [10] and not held.ended
    again, whole = run_here(problem, recipe, state, 30, run, "part"), run_here(problem, recipe, state, 30)
    assert torch.equal(again.state.image, whole.state.image) and again.traces == whole.traces


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_a_loop_is_asked_to_stop_between_two_steps(handlers, number):
    handlers(signal.default_int_handler)
    steps = []
    with pytest.raises(KeyboardInterrupt), stoppable() as asked:
        for step in range(5):
            if step == 2:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)
            steps.append(step)
            if asked():
                raise KeyboardInterrupt
    assert steps == [0, 1, 2]


def test_a_loop_is_made_to_stop_where_a_step_lasts(handlers, monkeypatch):
    handlers(signal.default_int_handler)
    monkeypatch.setattr("untwin.processes.GRACE_PERIOD", 0.05)
    lasted = []
    with pytest.raises(KeyboardInterrupt), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
        until(lambda: False, "the step is made to stop")
        lasted.append(True)
    assert not lasted
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A pattern, a picture, and what undisturbed runs make of them, by the command line."""
    folder = tmp_path_factory.mktemp("house")
    np.savez(folder / "pattern.npz", intensity=np.fft.fftshift(thing().intensity))
    rng = np.random.default_rng(0)
    np.save(folder / "picture.npy", np.clip(0.5 + 0.2 * rng.standard_normal((24, 24)), 0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS.values():
            assert ran([*command, "-o", f"{command[0]}_whole"]) == 0
    return folder


LONG = "150*(15*HIO + ShrinkWrap) + 10*ER"
COMMANDS = {
    "reconstruct": ["reconstruct", "pattern.npz", "--recipe", LONG, "--starts", "14", "--seed", "5"],
    "restore": ["restore", "picture.npy", "--steps", "150", "--stop", "EMV(patience=150)", "--seed", "5"],
}


def ran(arguments: list[str]) -> int:
    """The exit code; pages are not drawn, which takes longer than the runs."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr("untwin.cli.reconstruct.present", lambda solution, folder, run: solution)
        patch.setattr("untwin.show.restored.restored_page", lambda result, page, name: page)
        cli.main(arguments)
    return stop.value.code or 0


def equal(command: str, folder: Path) -> bool:
    if command == "restore":
        a, b = (np.load(f / "result.npy") for f in (folder, Path("restore_whole")))
        curves = [json.loads((f / "summary.json").read_text())["statistic"] for f in (folder, Path("restore_whole"))]
        return np.array_equal(a, b) and curves[0] == curves[1]
    return same(ut.load(folder), ut.load("reconstruct_whole"))


@contextmanager
def signalled(number: int, step: int) -> Iterator[list[str]]:
    """Inside, a run is kept after every step, and this process gets a signal while it takes its `step`-th. Yields what was taken."""
    part, taken = Checkpoint.part, []

    @contextmanager
    def counted(self, name, look):
        with part(self, name, look) as reached:

            def count(*where):
                taken.append(name)
                if len(taken) == step:
                    os.kill(os.getpid(), number)
                reached(*where)

            yield count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "part", counted)
        patch.setattr(checkpoint, "EVERY", 0.0)
        patch.setattr(checkpoint, "SHARE", 0.0)
        yield taken


@pytest.mark.parametrize("number, step", list(zip(SIGNALS, (3, 90))), ids=lambda n: getattr(n, "name", n))
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_keeps_what_is_done_and_says_how_to_go_on(house, handlers, monkeypatch, capsys, command, number, step):
    handlers()
    monkeypatch.chdir(house)
    folder = f"{command}_{number.name}"
    with signalled(number, step) as taken:
        assert ran([*COMMANDS[command], "-o", folder]) == 130
    assert len(taken) == step, "not one step more"
    assert capsys.readouterr().err == f"untwin: interrupted; what is done is kept; go on with: untwin {command} --resume {folder}\n"
    assert ran([*COMMANDS[command], "-o", folder]) == 2
    assert f"go on with: untwin {command} --resume {folder}, or begin anew" in capsys.readouterr().err
    assert ran([command, "--resume", folder]) == 0
    assert equal(command, Path(folder)) and not Path(folder, "checkpoint").exists()


def killed(command: str, folder: str, step: int) -> None:
    with signalled(signal.SIGKILL, step):
        ran([*COMMANDS[command], "-o", folder])


@forks
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_was_killed_goes_on_to_the_same_bits(house, monkeypatch, command):
    monkeypatch.chdir(house)
    folder = f"{command}_killed"
    assert dies(killed, command, folder, 60) == -signal.SIGKILL
    assert Checkpoint(Path(folder, "checkpoint")).has_parts()
    assert ran([command, "--resume", folder]) == 0
    assert equal(command, Path(folder)) and not Path(folder, "checkpoint").exists()


def test_a_run_that_fails_at_once_leaves_nothing_behind(house, monkeypatch, capsys):
    monkeypatch.chdir(house)
    assert ran(["reconstruct", "pattern.npz", "--recipe", "Until(HeldOut(share=1e-9), 9*ER)", "-o", "failed"]) == 2
    assert "hides no pixel" in capsys.readouterr().err and not Path("failed").exists()


def test_what_cannot_be_gone_on_with_is_said(house, monkeypatch, capsys):
    monkeypatch.chdir(house)

    def said(*arguments: str, code: int = 2) -> str:
        assert ran(list(arguments)) == code
        return "".join(capsys.readouterr())

    whole = "reconstruct_whole"
    assert said("reconstruct", "--resume", whole, code=0) == f"{whole} holds a finished run; nothing to do\n"
    for flag in (("--steps", "9"), ("--seed", "7"), ("--prior", "dip"), ("--mask", "m.npy"), ("--task", "mri")):
        assert f"leave {flag[0]} out" in said("restore", "--resume", "nowhere", *flag)
    assert "no run in nowhere to go on with; begin with: untwin restore FILE -o nowhere" in said("restore", "--resume", "nowhere")
    assert "takes everything from x; leave --seed out" in said("reconstruct", "--resume", "x", "--seed", "3")
    assert "takes everything from x; leave FILE out" in said("reconstruct", "pattern.npz", "--resume", "x")
    Checkpoint(Path("other/checkpoint"), {"command": "restore"}).begin({})
    assert "other holds a run of untwin restore to go on with" in said("reconstruct", "--resume", "other")
    Path("hollow/checkpoint").mkdir(parents=True)
    assert "hollow holds nothing to go on with; begin anew with --overwrite" in said("reconstruct", "--resume", "hollow")
    Path("torn/checkpoint").mkdir(parents=True)
    Path("torn/checkpoint/run.untwin").write_bytes(b"{")
    assert re.search(r"run\.untwin is damaged .*; begin anew", said("reconstruct", "--resume", "torn"))


POOL = """
import os, sys, time
from pathlib import Path
from untwin import cli
from untwin.runs import checkpoint, launch

def held(*part):  # travels to the workers by value: there step 40 of a part lasts until the file `go` is there
    checkpoint.SHARE = checkpoint.POLL_INTERVAL = 0.0
    iterate = launch.iterate

    def lasting(*run):
        for after in iterate(*run):
            if after.step == 40:
                Path(f"held-{os.getpid()}").touch()
                end = time.monotonic() + LIMIT
                while not Path("go").exists() and time.monotonic() < end:
                    time.sleep(0.01)
            yield after

    launch.iterate = lasting
    ended = launch._work_in_worker(*part)
    Path(f"ended-{os.getpid()}").write_text("done" if ended else "interrupted")
    return ended

checkpoint.EVERY = 0.0
launch._work_in_worker = held
cli.main(sys.argv[1:])
""".replace("LIMIT", str(LIMIT))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this test finds the workers as Linux lists them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_pool_goes_on_after_its_end(house, monkeypatch, tmp_path, number):
    """In the middle of a part: SIGTERM as Slurm sends it, to every process of the job; SIGKILL to the run alone, whose workers notice."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(house / "pattern.npz", "pattern.npz")
    command = [sys.executable, "-c", POOL, *COMMANDS["reconstruct"], "--workers", "2", "-o", "pool"]
    env = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=env)
    try:
        until(lambda: len(list(Path().glob("held-*"))) == 2 or process.poll() is not None, "two workers reach step 40")
        workers = children(process.pid)
        if number == signal.SIGTERM:
            os.killpg(process.pid, number)
            until(Path("pool/checkpoint/stop").exists, "the run asks its workers to stop")
        else:
            process.kill()
            process.wait(LIMIT)
        Path("go").touch()
        if number == signal.SIGTERM:
            _, said = process.communicate(timeout=LIMIT)
            assert process.returncode == 130
            assert said == "untwin: interrupted; what is done is kept; go on with: untwin reconstruct --resume pool\n"
            until(lambda: not any(map(alive, workers)), "the workers end")
        else:
            until(lambda: len(list(Path().glob("ended-*"))) == 2, "the workers notice that nobody wants them")
        assert {path.read_text() for path in Path().glob("ended-*")} <= {"interrupted"}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert ran(["reconstruct", "--resume", "pool"]) == 0
    assert same(ut.load("pool"), ut.load(house / "reconstruct_whole"))


# provenance


def test_a_result_says_where_it_comes_from_and_its_file_alone_repeats_it(house, monkeypatch):
    from untwin.data.read import read_object

    monkeypatch.chdir(house)
    process = read_object("reconstruct_whole/result.cxi").process
    names = (
        "version commit device threads seed recipe input_file input_sha256 axis_order centre_convention mask_meaning torch_version engine"
    )
    assert all(name in process for name in names.split()) and process["threads"] == 1 and str(process["device"]).startswith("cpu")
    from untwin.data.atomic import sha256

    assert process["input_sha256"] == sha256(house / "pattern.npz") and process["input_file"] == "pattern.npz"
    given = json.loads(str(process["parameters"]))
    assert given["seed"] == 5 and given["recipe"] == process["recipe"]
    first = ut.load("reconstruct_whole")
    again = ut.reconstruct(ut.read("reconstruct_whole/result.cxi"), given["recipe"], seed=given["seed"])
    assert same(first, again) and first.made["torch"] == torch.__version__
    told = json.loads(Path("restore_whole/summary.json").read_text())
    assert told["made"]["torch"] == torch.__version__ and told["options"]["image_sha256"] == sha256(house / "picture.npy")
