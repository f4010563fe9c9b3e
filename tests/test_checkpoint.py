"""Long runs: what a kill costs (nothing but time), how a run is interrupted, and what it takes to go on."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from untwin import cli
from untwin.data import checksummed
from untwin.data.atomic import PART
from untwin.errors import CheckpointWarning, InputError
from untwin.processes import stoppable
from untwin.runs import checkpoint, launch, reconstruct
from untwin.runs.checkpoint import Checkpoint, told
from untwin.runs.launch import Launcher, run_here
from untwin.simulate import shapes
from untwin.simulate.detector import measure
from untwin.solve.state import State

PLAN = ut.parse(
    "Plan(Search(4*(10*HIO + ShrinkWrap(sigma=Ramp(2.0, 0.5))) + 10*ER, starts=14, families=2), "
    "Guide((20*RAAR + 10*Mean(ER),), generations=1), "
    "Finish((ShrinkWrap(threshold=Deal((0.1, 0.2))) + 20*ADMM + Until(Plateau(patience=5), 20*ER),), deal=2, rounds=2))"
)
forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="a process that is killed here is a fork of this one"
)


def thing(positivity: bool = False) -> ut.Pattern:
    rng = np.random.default_rng(0)
    return measure(shapes.poly((32, 32), rng).real.astype(complex) if positivity else shapes.poly((32, 32), rng), 1e6, rng)[0]


def solved(folder: Path | None = None, positivity: bool = False, workers: int = 1, **more) -> ut.Reconstruction:
    return ut.reconstruct(thing(positivity), PLAN, seed=3, positivity=positivity, workers=workers, checkpoint=folder, **more)


@pytest.fixture(scope="module")
def undisturbed() -> ut.Reconstruction:
    return solved()


def same(a: ut.Reconstruction, b: ut.Reconstruction) -> bool:
    bits = all(torch.equal(x, y) for x, y in ((a.image, b.image), (a.support, b.support), (a.modes, b.modes)))
    seconds = ("seconds", "cpu_seconds")
    numbers = all(v == b.numbers[k] or v != v for k, v in a.numbers.items() if k not in seconds)
    return bits and numbers and a.starts == b.starts and a.history == b.history and a.verdict == b.verdict


def often(every: float = 0.0) -> None:
    """Checkpoints whenever there is something to keep."""
    checkpoint.EVERY = reconstruct.EVERY = every
    checkpoint.SHARE = 0.0


def dies(work, *arguments, after: float | None = None) -> int:
    """The exit code of a fork of this process that does the work, killed from outside after so many seconds."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(after)
    if process.exitcode is None and after is not None:
        process.kill()
    process.join()
    return process.exitcode


# kills


def aimed(moment: str, folder: Path) -> None:
    """Reconstructs, and kills itself at the moment, in the third file that is kept."""
    often()
    replace, save, kept = os.replace, torch.save, []

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def count(now: str) -> None:
        if len(kept) >= 3 and moment == now:
            die()

    def replaced(a, b):
        count("before rename")
        replace(a, b)
        count("after rename")

    def saved(content, file):
        kept.append(1)
        count("before write")
        save(content, file)
        count("before the seal")

    checkpoint.os.replace, torch.save = replaced, saved
    if moment == "while it is judged":
        reconstruct.assess = lambda *a: die()
    solved(folder)


@forks
@pytest.mark.parametrize("moment", ["before write", "before the seal", "before rename", "after rename", "while it is judged"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path, undisturbed, moment):
    assert dies(aimed, moment, tmp_path / "kept") == -signal.SIGKILL
    assert len(list((tmp_path / "kept").iterdir())) >= 2
    assert same(solved(tmp_path / "kept"), undisturbed)


@forks
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, undisturbed):
    """At random moments, until it gets through. Each time it has come further."""
    dice, kills, known = random.Random(2), 0, set()

    def work() -> None:
        often()
        solved(tmp_path / "kept")

    while dies(work, after=0.15 + 0.3 * dice.random()):
        kills += 1
        now = {p.name.removesuffix(checksummed.BEFORE) for p in (tmp_path / "kept").iterdir() if p.suffix != PART}
        assert known <= now
        known = now
    assert kills >= 2, "this test aims badly: the run got through"
    assert same(solved(tmp_path / "kept"), undisturbed)


@forks
def test_what_was_done_is_not_done_again(tmp_path, undisturbed):
    assert dies(aimed, "while it is judged", tmp_path / "kept") == -signal.SIGKILL
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "run_here", lambda *a: taken.append(a))
        assert same(solved(tmp_path / "kept"), undisturbed) and not taken


@forks
def test_damaged_checkpoints_cost_time_and_nothing_else(tmp_path, undisturbed):
    assert dies(aimed, "while it is judged", tmp_path / "kept") == -signal.SIGKILL
    files = sorted(p for p in (tmp_path / "kept").iterdir() if p.suffix != checksummed.BEFORE and p.suffix != ".untwin")
    for i, path in enumerate(files):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content[: len(content) // 2] if i % 2 else content)
        if i % 3 == 0:
            checksummed.before(path).unlink(missing_ok=True)
    with pytest.warns(CheckpointWarning) as said:
        assert same(solved(tmp_path / "kept"), undisturbed)
    text = " ".join(str(w.message) for w in said)
    assert "the one before it is used" in text and "this part of the run is worked out again" in text


# the same bits, wherever and in whatever order


@pytest.mark.parametrize("positivity", [False, True], ids=["complex", "real"])
def test_neither_the_number_of_workers_nor_the_order_changes_a_bit(monkeypatch, positivity):
    alone = solved(positivity=positivity)
    here = Launcher._here
    for seed in range(1 + positivity):
        dice = random.Random(seed)

        def shuffled(self, problem, parts, samples, came, dice=dice):
            here(self, problem, dict(dice.sample(list(parts.items()), len(parts))), samples, came)

        monkeypatch.setattr(Launcher, "_here", shuffled)
        assert same(solved(positivity=positivity), alone)
    monkeypatch.undo()
    if not positivity:  # these are the ones whose last bits a batch of another size changes
        return
    assert same(solved(positivity=positivity, workers=2), alone)
    from loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


def test_every_start_draws_from_its_own_seed():
    """Start k of a run with seed s is start 0 of a run with seed s + k: nothing else goes into it."""
    problem = ut.Problem.of(thing())
    recipe = ut.parse("Random + 5*HIO + ShrinkWrap(threshold=Draw(0.1, 0.4)) + 5*ER")
    many = run_here(problem, recipe, ut.begin(problem, tuple(range(40, 52)))).state
    for k in (0, 5, 11):
        one = run_here(problem, recipe, ut.begin(problem, (40 + k,))).state
        assert torch.equal(one.image[0], many.image[k]) and torch.equal(one.support[0], many.support[k])


# another run is refused


def test_another_run_does_not_go_on_from_it(tmp_path, monkeypatch):
    pattern, recipe = thing(), "5*ER"
    ut.reconstruct(pattern, recipe, starts=2, checkpoint=tmp_path)
    ut.reconstruct(pattern, recipe, starts=2, checkpoint=tmp_path)
    from dataclasses import replace

    brighter = replace(pattern, intensity=pattern.intensity + 1)
    for other, options, what in (
        (pattern, {"seed": 1}, "seed 0, this is 1"),
        (pattern, {"starts": 3}, "recipe Plan"),
        (brighter, {}, "pattern of SHA-256"),
        (pattern, {"support": np.ones((32, 32))}, "support of SHA-256"),
    ):
        with pytest.raises(InputError, match=rf"was begun with {what}.*begin anew in another folder"):
            ut.reconstruct(other, recipe, **{"starts": 2, **options}, checkpoint=tmp_path)
    made = reconstruct.made_with
    for name in ("torch", "untwin", "device", "engine"):
        monkeypatch.setattr(reconstruct, "made_with", lambda device, name=name: {**made(device), name: "another"})
        with pytest.raises(InputError, match=f"was begun with {name} .*, this is another"):
            ut.reconstruct(pattern, recipe, starts=2, checkpoint=tmp_path)


# time


def test_checkpoints_take_no_more_than_their_share_and_lose_no_more_than_half_a_minute(tmp_path, monkeypatch):
    """By a clock that the steps and the disk advance."""
    x = torch.zeros(1, 4, 4)
    state = State(x, x, x > 0, x > 0, (0,))
    for cost, most in ((0.01, 30.0), (0.4, 30.0), (2.0, 104.0)):
        clock, spent, kept = [0.0], [0.0], [0.0]

        def written(target, fill, cost=cost, clock=clock, spent=spent, kept=kept):
            clock[0] += cost
            spent[0] += cost
            kept.append(clock[0])

        monkeypatch.setattr(checkpoint.time, "monotonic", lambda clock=clock: clock[0])
        monkeypatch.setattr(checksummed, "write", written)
        run = Checkpoint(tmp_path / str(cost))
        run.begin({})
        kept[:], spent[0], clock[0] = [0.0], 0.0, 0.0
        run.due = checkpoint.EVERY
        with run.part("part") as reached:
            for _ in range(20_000):
                clock[0] += 0.1
                reached(state, [])
        assert spent[0] <= 0.021 * clock[0] + cost
        assert max(b - a for a, b in zip(kept, kept[1:])) <= most


def test_a_short_run_writes_down_what_it_is_and_nothing_else(tmp_path):
    seen = []
    solved(tmp_path, report=lambda *a: seen.append([p.name for p in tmp_path.iterdir()]))
    assert seen and all(names == ["run.untwin"] for names in seen)
    assert told(tmp_path)["about"]["seed"] == 3


def test_a_disk_that_is_full_does_not_end_the_run(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 0.0)
    write = checksummed.write

    def full(target, fill):
        if target.name != "run.untwin":
            raise InputError(f"cannot write {target}: No space left on device")
        write(target, fill)

    monkeypatch.setattr(checksummed, "write", full)
    with pytest.warns(CheckpointWarning, match="no checkpoint: cannot write .* No space left on device"):
        assert same(solved(tmp_path), undisturbed)


# interruptions


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
    assert held is not None and held.state.step == 17 and len(held.trace) == 17 and not held.ended
    again, whole = run_here(problem, recipe, state, 30, run, "part"), run_here(problem, recipe, state, 30)
    assert torch.equal(again.state.image, whole.state.image) and again.traces == whole.traces


def test_a_loop_is_asked_to_stop_between_two_steps_and_made_to_where_a_step_lasts(monkeypatch):
    # a job in the background of a shell ignores the first
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
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
        monkeypatch.setattr("untwin.processes.PATIENCE", 0.05)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            while time.monotonic() < began + 5:
                pass
        assert time.monotonic() < began + 1
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A pattern, a picture, and what undisturbed runs make of them, by the command line."""
    folder = tmp_path_factory.mktemp("house")
    np.savez(folder / "pattern.npz", intensity=np.fft.fftshift(thing().intensity))
    rng = np.random.default_rng(0)
    np.save(folder / "picture.npy", np.clip(0.5 + 0.2 * rng.standard_normal((24, 24)), 0, 1))
    os.chdir(folder)
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
        patch.setattr(cli, "_show", lambda solution, folder: solution)
        patch.setattr("untwin.show.restored.restored_page", lambda result, page, name: page)
        cli.main(arguments)
    return stop.value.code or 0


def equal(command: str, folder: Path) -> bool:
    if command == "restore":
        a, b = (np.load(f / "result.npy") for f in (folder, Path("restore_whole")))
        curves = [json.loads((f / "summary.json").read_text())["statistic"] for f in (folder, Path("restore_whole"))]
        return np.array_equal(a, b) and curves[0] == curves[1]
    return same(ut.load(folder), ut.load("reconstruct_whole"))


def running(command: str, folder: str, said: Path) -> None:
    """In a fork: the command, what it says into a file; its exit code is the process's."""
    often(0.05)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with said.open("w") as file:
        sys.stderr = sys.stdout = file
        code = ran([*COMMANDS[command], "-o", folder])
    os._exit(code)


@forks
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_keeps_what_is_done_and_says_how_to_go_on(house, monkeypatch, capsys, command, number):
    monkeypatch.chdir(house)
    folder = f"{command}_{number.name}"
    process = multiprocessing.get_context("fork").Process(target=running, args=(command, folder, Path("said")))
    process.start()
    while not Path(folder, "checkpoint", "run.untwin").exists():
        assert process.is_alive(), Path("said").read_text()
        time.sleep(0.005)
    time.sleep(0.1 if number == signal.SIGINT else 0.35)
    os.kill(process.pid, number)
    began = time.monotonic()
    process.join()
    assert process.exitcode == 130, Path("said").read_text()
    assert time.monotonic() - began < 5
    assert Path("said").read_text() == f"untwin: interrupted; what is done is kept; go on with: untwin {command} --resume {folder}\n"
    with pytest.raises(SystemExit) as stop:
        cli.main([*COMMANDS[command], "-o", folder])
    assert stop.value.code == 2 and f"go on with: untwin {command} --resume {folder}, or begin anew" in capsys.readouterr().err
    assert ran([command, "--resume", folder]) == 0
    assert equal(command, Path(folder)) and not Path(folder, "checkpoint").exists()


@forks
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_was_killed_goes_on_to_the_same_bits(house, monkeypatch, command):
    monkeypatch.chdir(house)
    folder = f"{command}_killed"
    process = multiprocessing.get_context("fork").Process(target=running, args=(command, folder, Path("said")))
    process.start()
    while not Path(folder, "checkpoint", "run.untwin").exists():
        time.sleep(0.005)
    time.sleep(0.25)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
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


POOL = "import sys; from untwin.runs import checkpoint; checkpoint.EVERY = 0.2; from untwin import cli; cli.main(sys.argv[1:])"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this test finds the workers as Linux lists them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_pool_goes_on_after_its_end(house, monkeypatch, number):
    """In the middle of a part: SIGTERM as Slurm sends it, to every process of the job; SIGKILL to the run alone, whose workers notice."""
    monkeypatch.chdir(house)
    folder = Path(f"pool_{number.name}")
    command = [sys.executable, "-c", POOL, *COMMANDS["reconstruct"], "--workers", "2", "-o", str(folder)]
    env = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    with Path("said").open("w") as file:
        process = subprocess.Popen(command, stderr=file, start_new_session=True, env=env)
    while len(list(folder.glob("checkpoint/*"))) < 2:
        assert process.poll() is None, Path("said").read_text()
        time.sleep(0.02)
    workers = _children(process.pid)
    if number == signal.SIGTERM:
        os.killpg(process.pid, number)
    else:
        process.kill()
    began = time.monotonic()
    code = process.wait(30)
    assert time.monotonic() - began < 5
    if number == signal.SIGTERM:
        assert code == 130
        assert Path("said").read_text() == f"untwin: interrupted; what is done is kept; go on with: untwin reconstruct --resume {folder}\n"
    while any(_working(worker) for worker in workers):
        assert time.monotonic() - began < 10, "a worker goes on without its run"
        time.sleep(0.05)
    assert ran(["reconstruct", "--resume", str(folder)]) == 0
    assert same(ut.load(folder), ut.load("reconstruct_whole"))


def _working(process: int) -> bool:
    """True while a process uses the CPU."""

    def ticks() -> int:
        try:
            return sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
        except FileNotFoundError:
            return 0

    before = ticks()
    time.sleep(0.3)
    return ticks() > before + 5


def _children(parent: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


# provenance


def test_a_result_says_where_it_comes_from_and_its_file_alone_repeats_it(house):
    from untwin.data.read import read_object

    os.chdir(house)
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


def test_states_in_files_are_sealed(tmp_path):
    problem = ut.Problem.of(thing())
    state = ut.begin(problem, (0, 1))
    ut.save_state(state, tmp_path / "state")
    assert torch.equal(ut.load_state(tmp_path / "state").x, state.x)
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        ut.load_state(tmp_path / "state")
    checksummed.write(tmp_path / "state", lambda file: file.write(b"not a state"))
    with pytest.raises(InputError, match="this holds no state"):
        ut.load_state(tmp_path / "state")
