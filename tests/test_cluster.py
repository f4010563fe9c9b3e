"""Starts on a Dask cluster: the same bits as here, whatever dies on the way, and one clear message where it cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import events
import short_runs
import untwin as ut
from untwin import cluster
from untwin.cli.app import _end, main
from untwin.errors import ClusterWarning, InputError, SchedulerLost, WorkerLost
from untwin.processes import opened, sealed, stoppable
from untwin.runs.checkpoint import Checkpoint
from untwin.runs.cluster import afar
from untwin.runs.launch import Launcher
from untwin.solve.begin import begin
from untwin.solve.recipe import Algorithm
from untwin.solve.run import iterate
from untwin.solve.state import State

distributed = pytest.importorskip("distributed", reason="pip install 'untwin[cluster]'")


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    """Of two worker processes with one thread each, which are begun again when they die."""
    with cluster._local(2) as local, distributed.Client(local, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def undisturbed() -> ut.results.Reconstruction:
    return short_runs.solved()


def processes(client: distributed.Client) -> list[int]:
    return list(client.run(os.getpid, on_error="ignore").values())


# What travels


def bits(a: torch.Tensor) -> tuple:
    return a.dtype, a.shape, a.detach().contiguous().resolve_conj().numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128, torch.int64, torch.uint8, torch.bool])
def test_tensors_travel_bit_for_bit(dtype):
    g = torch.Generator().manual_seed(0)
    dense = (10 * torch.randn(5, 7, generator=g, dtype=torch.float64)).to(dtype)
    sparse = dense.where(torch.rand(5, 7, generator=g) < 0.2, torch.zeros((), dtype=dtype))
    odd = [dense[:, ::2], sparse[1:2].expand(4, 7), sparse[:0], torch.zeros(3, 3, dtype=dtype)]
    if dtype.is_floating_point:
        odd += [-torch.zeros(4, 4, dtype=dtype), torch.tensor([0.0, float("nan"), 0.0, -0.0, float("inf")], dtype=dtype)]
    for tensor in [dense, sparse, *odd]:
        assert bits(opened(sealed(tensor))) == bits(tensor)
    assert torch.equal(opened(sealed(dense[0, 0])), dense[0, 0]), "a single number"


def test_a_start_travels_without_its_zeros_and_a_problem_without_what_follows_from_it():
    problem = ut.Problem(short_runs.thing())
    state = begin(problem, (0,))
    few = len(sealed(problem))
    assert len(sealed(state)) < state.x.nbytes / 2, "x lies in its support, image is x, a bool is a bit"
    problem.counts.target, problem.counts.arranged  # noqa: B018 (worked out when somebody asks)
    assert len(sealed(problem)) == few
    assert torch.equal(opened(sealed(problem)).counts.target, problem.counts.target)


# The same bits


def test_a_cluster_gives_the_same_bits(client, undisturbed, tmp_path):
    assert short_runs.same(short_runs.solved(scheduler=client), undisturbed)
    assert client.status == "running", "a client that was handed in stays open"
    assert not client.futures, "and holds nothing of the run"


@pytest.mark.parametrize("output", [False, True], ids=["in memory", "in files"])
def test_patterns_of_a_batch_go_to_the_workers(client, tmp_path, output):
    recipe, patterns = ut.parse("2*(10*HIO + ShrinkWrap) + 5*ER"), [short_runs.thing(), np.zeros((3, 3)), short_runs.thing()]
    settings = {"output": tmp_path / "out", "report": False} if output else {}
    results = list(ut.reconstruct_many(patterns, scheduler=client, workers=2, recipe=recipe, starts=2, **settings))
    here = ut.reconstruct(patterns[0], recipe, starts=2)
    assert [bool(r.error) for r in results] == [False, True, False]
    assert all(torch.equal(results[n].solution.image, here.image) for n in (0, 2))


def test_the_problem_travels_once(client, monkeypatch):
    problem, travelled = ut.Problem(short_runs.thing()), []
    monkeypatch.setattr("untwin.parcel.sealed", lambda content: travelled.append(type(content)) or sealed(content))
    state, recipe = begin(problem, range(7)), ut.parse("5*ER")
    with afar(client, None) as elsewhere:
        launch = Launcher(2, 1, elsewhere=elsewhere)
        ended = launch.map(problem, [(recipe, state)])[0]
        again = launch.map(problem, [(recipe, state)])[0]
    here = Launcher(1, 1).map(problem, [(recipe, state)])[0]
    assert bits(ended.state.x) == bits(again.state.x) == bits(here.state.x) and bits(ended.state.image) == bits(here.state.image)
    assert bits(ended.state.support) == bits(here.state.support) and launch.cpu_seconds > 0
    assert travelled.count(ut.Problem) == 1 and travelled.count(tuple) == 14


def test_workers_that_are_killed_cost_time_and_nothing_else(client, undisturbed):
    killed = []

    def kill(*report: object) -> None:
        if len(killed) < 2:  # at the first two parts that end, whichever they are
            killed.extend(processes(client)[:1])
            os.kill(killed[-1], signal.SIGKILL)

    assert short_runs.same(short_runs.solved(scheduler=client, report=kill), undisturbed)
    assert len(set(killed)) == 2


def dying(path: Path, deaths: int) -> str:
    """Kills its own process so many times."""
    count = len(path.read_text()) if path.exists() else 0
    if count < deaths:
        path.write_text("x" * (count + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def allow(failures: int, dask_scheduler: distributed.Scheduler) -> None:
    dask_scheduler.allowed_failures = failures


def test_a_task_that_kills_its_workers_is_begun_anew_and_at_last_blamed(client, monkeypatch, tmp_path):
    with cluster.executor(client) as tasks:
        assert tasks.submit(dying, tmp_path / "once", 1).result(events.LIMIT) == "done", "Dask begins it anew"
        monkeypatch.setattr(cluster, "LOSSES", 2)
        client.run_on_scheduler(allow, 0)  # Dask gives up at once, and the executor begins it anew
        with pytest.raises(WorkerLost, match=r"2 workers were lost over one task \(dying\), the last tcp://.*more memory than a worker"):
            tasks.submit(dying, tmp_path / "always", 100).result(events.LIMIT)
        client.run_on_scheduler(allow, 3)
        assert tasks.submit(pow, 2, 3).result(events.LIMIT) == 8, "and others go on"


def failing() -> None:
    raise InputError("the file is bad")


def test_an_error_of_a_task_is_that_of_its_future(client):
    with cluster.executor(client) as tasks, pytest.raises(InputError, match="the file is bad"):
        tasks.submit(failing).result(events.LIMIT)


# Stopping


def stepping(path: Path) -> str:
    path.write_text("begun")
    with suppress(KeyboardInterrupt), stoppable() as stop_requested:
        events.until(stop_requested, "nobody stopped it")
        path.write_text("stopped")
    return "what it has"


def reads(path: Path, text: str) -> None:
    events.until(lambda: path.exists() and path.read_text() == text, f"{path.name} {text}")


def test_an_interruption_stops_tasks_at_their_next_step(client, tmp_path):
    with pytest.raises(KeyboardInterrupt), cluster.executor(client) as tasks:
        futures = [tasks.submit(stepping, tmp_path / "a"), tasks.submit(stepping, tmp_path / "b")]
        for name in "ab":
            reads(tmp_path / name, "begun")
        raise KeyboardInterrupt
    for name, future in zip("ab", futures):
        reads(tmp_path / name, "stopped")
        assert future.done()
    events.until(lambda: not any(client.processing().values()), "the workers are free")


def test_what_is_done_when_a_task_is_asked_to_stop_comes_back(client, tmp_path):
    with cluster.executor(client) as tasks:
        future = tasks.submit(stepping, tmp_path / "a")
        reads(tmp_path / "a", "begun")
        tasks.stop()
        assert future.result(events.LIMIT) == "what it has"


@pytest.mark.parametrize("scheduler", [None, "client"])
def test_an_interrupted_run_goes_on_with_or_without_a_cluster(client, undisturbed, tmp_path, monkeypatch, scheduler):
    parts = []

    def interrupt(*report: object) -> None:
        parts.append(report)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short_runs.solved(tmp_path / "run", scheduler=client, report=interrupt)
    assert Checkpoint(tmp_path / "run").has_parts(), "also of what had ended and nobody had asked for yet"
    reports = []
    ended = short_runs.solved(tmp_path / "run", scheduler=client if scheduler else None, report=lambda *report: reports.append(report))
    assert short_runs.same(ended, undisturbed)


@dataclass(frozen=True, repr=False)
class Announced(Algorithm):
    """Does nothing, and says so: an empty file for each start and step."""

    folder: str

    def step(self, problem: ut.Problem, state: State) -> State:
        (Path(self.folder) / f"{state.members[0].number}_{state.step}").touch()
        return state

    def __repr__(self) -> str:
        return "Announced()"


def test_a_part_that_was_under_way_goes_on_from_where_it_stood(client, tmp_path, handlers):
    """Without a disk that the workers share: where they stood comes back to the client, and goes out again."""
    problem, checkpoint = ut.Problem(short_runs.thing()), Checkpoint(tmp_path / "run")
    handlers()
    checkpoint.begin({"what": "a test"})
    recipe, state = 1000 * (1000 * ut.algorithms.RAAR() + Announced(str(tmp_path))), begin(problem, (0, 1))
    names = [checkpoint.name("", 0, i, recipe, state[[i]].members, 0) for i in (0, 1)]

    def steps() -> dict[int, int]:
        """The first that each start has announced."""
        pairs = sorted((int(s), int(n)) for n, s in (path.name.split("_") for path in tmp_path.glob("[01]_*")))
        return {number: step for step, number in reversed(pairs)}

    def interrupt() -> None:
        events.until(lambda: len(steps()) == 2, "both are under way")
        os.kill(os.getpid(), signal.SIGINT)

    reached = [0, 0]
    for _ in range(2):
        for path in tmp_path.glob("[01]_*"):
            path.unlink()
        asked = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt), afar(client, None) as elsewhere:
            asked.start()
            Launcher(2, 1, checkpoint, elsewhere=elsewhere).map(problem, [(recipe, state)])
        asked.join()
        parts = [checkpoint.read(name) for name in names]
        assert all(part and not part.ended for part in parts)
        assert all(steps()[i] >= reached[i] for i in (0, 1)), "nothing is done twice"
        reached = [part.state.step for part in parts]
    here = begin(problem, (0, 1))[[0]]
    for stands in iterate(problem, recipe, here, 10):
        if stands.step == reached[0]:
            assert bits(stands.x) == bits(parts[0].state.x)
            return


# What cannot be


@contextmanager
def scheduler_process(path: Path) -> Iterator[list[subprocess.Popen]]:
    """A scheduler and a worker that are processes of their own."""
    commands = (
        ["scheduler", "--scheduler-file", str(path), "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        ["worker", "--scheduler-file", str(path), "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"],
    )
    running = []
    try:
        for command in commands:
            running.append(subprocess.Popen([sys.executable, "-m", "dask", *command], stderr=subprocess.DEVNULL, cwd=path.parent))
            events.until(path.exists, "a scheduler file")
        with distributed.Client(scheduler_file=str(path), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=events.LIMIT)
        yield running
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def test_a_scheduler_that_is_lost_ends_the_run_and_it_goes_on_without(tmp_path, undisturbed):
    with scheduler_process(tmp_path / "s.json") as running:
        with pytest.raises(SchedulerLost, match="the scheduler at tcp://127.0.0.1:.* no longer answers"):
            short_runs.solved(tmp_path / "run", scheduler=str(tmp_path / "s.json"), report=lambda *report: running[0].kill())
        running[1].wait(events.LIMIT)  # a worker without a scheduler ends
    assert Checkpoint(tmp_path / "run").has_parts()
    assert short_runs.same(short_runs.solved(tmp_path / "run"), undisturbed)


def test_a_lost_scheduler_is_an_interruption_for_the_command_line(capsys):
    with pytest.raises(SystemExit) as end:
        _end(SchedulerLost("the scheduler at tcp://x:1 no longer answers; go on with: untwin reconstruct --resume out"))
    assert end.value.code == 130 and "interrupted; the scheduler at" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["untwin", "torch", "numpy", "python", "engine", "commit", "distributed"])
def test_versions_that_differ_are_refused_with_their_names(client, monkeypatch, name):
    own = {**cluster.versions(), name: "0.1"}
    monkeypatch.setattr(cluster, "versions", lambda: own)
    expected = rf"the worker tcp://\S+ has {name} \S+.* \(here 0\.1\); expected what this process has"
    with pytest.raises(InputError, match=expected):
        short_runs.solved(scheduler=client)
    tasks = cluster.ClusterExecutor(client, 2)  # a worker that came later
    with pytest.raises(InputError, match=expected):
        tasks.submit(pow, 2, 3).result(events.LIMIT)
    tasks.shutdown()


def test_workers_without_untwin_are_refused(client, monkeypatch):
    missing = Exception("ModuleNotFoundError(\"No module named 'untwin'\")")  # as Dask hands it on
    monkeypatch.setattr(client, "run", lambda *arguments, **settings: coroutine({"tcp://far:1": missing}))
    with pytest.raises(InputError, match="the worker tcp://far:1 has no untwin .*; start the workers from the environment"):
        short_runs.solved(scheduler=client)


async def coroutine(value: object) -> object:
    return value


def test_a_scheduler_without_workers_is_refused(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 0.3)
    expected = pytest.raises(InputError, match=r"no worker at tcp://\S+ within 0.3 s; start some with: dask worker tcp://")
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as local, expected:
        short_runs.solved(scheduler=local)


@pytest.mark.parametrize(
    "scheduler, expected",
    [
        ("nowhere.json", 'no scheduler file nowhere.json; expected "tcp://host:8786"'),
        ("bad.json", "bad.json is no scheduler file of Dask; start the scheduler with: dask scheduler --scheduler-file bad.json"),
        ("other.json", "other.json is no scheduler file of Dask"),
        ("gone.json", r"no Dask scheduler answers at tcp://127.0.0.1:1 \(gone.json\)"),
        ("tcp://127.0.0.1:1", r"no Dask scheduler answers at tcp://127.0.0.1:1 \(.*; start one with: dask scheduler"),
        ("127.0.0.1:1", "no Dask scheduler answers at 127.0.0.1:1"),
        ("fax://x", "no Dask scheduler answers at fax://x"),
        (5, "scheduler is a int; expected"),
    ],
)
def test_who_is_no_scheduler_is_refused_at_once(tmp_path, monkeypatch, scheduler, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "ANSWER", 0.3)
    Path("bad.json").write_text("{]")
    Path("other.json").write_text("[1]")
    Path("gone.json").write_text('{"type": "Scheduler", "address": "tcp://127.0.0.1:1"}')
    with pytest.raises(InputError, match=expected):
        short_runs.solved(scheduler=scheduler)


def test_somebody_else_who_answers_is_no_scheduler(client, monkeypatch):
    worker = next(iter(client.nthreads()))
    with pytest.raises(InputError, match="no Dask scheduler answers at tcp://.* \\(a Worker of Dask does\\)"):
        short_runs.solved(scheduler=worker)


def test_a_client_that_is_closed_is_refused():
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as local:
        client = distributed.Client(local, set_as_default=False)
        client.close()
        with pytest.raises(InputError, match="scheduler is a Client that is closed"):
            short_runs.solved(scheduler=client)


def test_a_second_gpu_is_refused(client):
    with pytest.raises(InputError, match="take 'cuda': each worker sees its own GPU"), afar(client, None, "cuda:1"):
        pass


def test_a_worker_that_rounds_otherwise_is_named(client, monkeypatch, undisturbed):
    monkeypatch.setattr("untwin.runs.cluster.bits", lambda: "others")
    with pytest.warns(ClusterWarning, match=r"the worker tcp://\S+ \(\w+\) rounds otherwise than this process"):
        ended = short_runs.solved(scheduler=client)
    assert short_runs.same(ended, undisturbed)


# The command line


def test_the_command_line_takes_a_scheduler_and_keeps_it_out_of_the_run(client, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("good.npz", intensity=np.fft.fftshift(short_runs.thing().intensity))
    command = ["reconstruct", "good.npz", "--recipe", "20*ER", "--starts", "2", "-o", "out", "--scheduler", client.scheduler.address]
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 0 and "scheduler" not in Path("out/run.toml").read_text()
    with pytest.raises(SystemExit) as end:
        main([*command[:-1], "nowhere.json", "--overwrite"])
    assert end.value.code == 2 and "no scheduler file nowhere.json" in capsys.readouterr().err
