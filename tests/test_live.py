"""What a run shows of itself changes nothing of it, costs next to nothing, never ends it; and what others ask of it is heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from events import LIMIT, dies, forks, until
from short_runs import PLAN, same, solved, thing
from untwin import cli
from untwin.errors import CheckpointWarning, InputError, NumericalFailure
from untwin.live import files, record
from untwin.live.record import Glimpse, Pace, Record, recorded
from untwin.live.view import SIDE, Line, View, decoded, encoded, object_panels, picture_panel, signed_panel
from untwin.live.watched import Folder, Watched
from untwin.runs import live as looks
from untwin.runs.checkpoint import Checkpoint


@pytest.fixture
def always(monkeypatch):
    """A picture after every step, and R of every look."""
    monkeypatch.setattr(record, "INTERVAL", 0.0)
    monkeypatch.setattr(record, "SHARE", 0.0)
    monkeypatch.setattr(looks, "SHARE", 0.0)


def status(results: Path) -> dict:
    return files.read_json(results / files.FOLDER / files.STATUS)


def names(results: Path) -> set[str]:
    return {p.name for p in (results / files.FOLDER).iterdir()}


# the run


def test_a_run_that_is_watched_has_the_same_bits(tmp_path, always):
    a, b = solved(live=tmp_path / "run"), solved()
    assert same(a, b)
    said = status(tmp_path / "run")
    assert said["state"] == "ended" and said["verdict"]["text"] == a.verdict.text and said["stage"] == ""
    assert [text for _, text in said["log"]] == ["begun", "Search", "Guide", "Finish", "verdict", "ended"]
    assert said["families"]["labels"] == ["family 0", "family 1"] or said["families"]["labels"] == ["family 1", "family 0"]
    assert names(tmp_path / "run") == {files.STATUS, files.CURVES, files.PREVIEW}
    lines = Watched(tmp_path / "run").curves(said)[1]
    assert {line["stage"] for line in lines} == {"Search", "Guide", "Finish"}
    searched = {line["label"]: line for line in lines if line["stage"] == "Search"}
    assert len(searched) == 14 and {h.label: tuple(h.steps) for h in a.history} == {k: tuple(v["steps"]) for k, v in searched.items()}
    assert {v["group"] for v in searched.values()} == {0, 1}
    assert sum(p.stat().st_size for p in (tmp_path / "run" / files.FOLDER).iterdir()) < 200_000


def test_a_run_of_two_workers_shows_what_they_work_on(tmp_path, always):
    shown = []

    class Listening(Record):
        def finished(self, part, lines, look):
            shown.extend(names(tmp_path / "run"))
            super().finished(part, lines, look)

    with Listening(tmp_path / "run") as live:
        assert same(solved(workers=2, live=live), solved())
    assert names(tmp_path / "run") == {files.STATUS, files.CURVES, files.PREVIEW}, "what workers have written is gone"
    assert {files.STATUS} <= set(shown)


def test_a_restoration_that_is_watched_has_the_same_bits(tmp_path, always):
    y = np.clip(0.5 + 0.2 * np.random.default_rng(0).standard_normal((1, 24, 24)), 0, 1)
    settings = {"prior": "dip", "stop": ut.rules.EMV(patience=5, burn_in=5), "steps": 20}
    a, b = ut.restore(y, live=tmp_path, **settings), ut.restore(y, **settings)
    assert torch.equal(a.image, b.image) and np.array_equal(a.statistic, b.statistic, equal_nan=True)
    line = Watched(tmp_path).curves(status(tmp_path))[1][0]
    finite = [(i + 1, v) for i, v in enumerate(a.statistic) if np.isfinite(v)]
    assert line["label"] == "statistic" and list(zip(line["steps"], line["values"])) == finite
    view, _ = decoded((tmp_path / files.FOLDER / files.PREVIEW).read_bytes())
    assert [p.kind for p in view.panels] == ["picture"] and view.panels[0].pixels.shape == (24, 24)


def test_a_deconvolution_shows_its_motif_and_each_start(tmp_path, always):
    from untwin.simulate.interference import quasiparticles

    drawn = quasiparticles((48, 48), 1, 7, 0.01, 8.0, 1, seed=1)
    a, b = ut.deconvolve_sparse(drawn.values, 7, starts=2, live=tmp_path), ut.deconvolve_sparse(drawn.values, 7, starts=2)
    assert np.array_equal(a.motifs, b.motifs)
    said = status(tmp_path)
    assert said["steps"] == 2 and said["unit"] == "starts" and said["verdict"]["text"] == a.verdict.text
    view, _ = decoded((tmp_path / files.FOLDER / files.PREVIEW).read_bytes())
    assert [p.kind for p in view.panels] == ["signed", "signed"]


def test_without_a_folder_nothing_is_written_and_no_thread_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = threading.active_count()
    with recorded(None, "reconstruct") as live:
        assert not live.active and threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_a_short_run_writes_its_status_and_what_it_ended_with(tmp_path):
    ut.reconstruct(thing(), "20*ER", starts=2, live=tmp_path)
    assert names(tmp_path) == {files.STATUS, files.PREVIEW} or names(tmp_path) == {files.STATUS, files.CURVES, files.PREVIEW}


def test_a_disk_that_is_full_is_a_note(tmp_path, monkeypatch, always):
    def full(path, content):
        raise InputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(files, "write", full)
    with pytest.warns(CheckpointWarning, match="the run went on, but could not be watched: .*No space left") as caught:
        assert same(solved(live=tmp_path / "run"), solved())
    assert len(caught) == 1


def test_a_look_that_fails_is_a_line_in_the_log(tmp_path, monkeypatch, always):
    def broken(*arguments):
        raise MemoryError("none left")

    monkeypatch.setattr(looks, "panels_of", broken)
    solved(live=tmp_path)
    assert any(text == "no picture: MemoryError: none left" for _, text in status(tmp_path)["log"])


@pytest.mark.parametrize("error, state", [(NumericalFailure("nothing came of it"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_how_a_run_ended_is_said(tmp_path, error, state):
    live = Record(tmp_path, "reconstruct", "a.cxi", "untwin reconstruct --resume x")
    with pytest.raises(type(error)), live:
        live.begun = live.resumable = True
        raise error
    said = status(tmp_path)
    assert said["state"] == state and said["message"] == str(error) and said["resume"] == "untwin reconstruct --resume x"


def test_a_run_that_is_taken_up_again_and_stopped_before_it_began_is_still_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), Record(tmp_path) as live:
        live.begun = True
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), Record(tmp_path):
        raise KeyboardInterrupt
    assert status(tmp_path)["state"] == "interrupted"


def test_a_run_that_never_began_leaves_nothing(tmp_path):
    (tmp_path / "other").write_text("mine")
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(InputError), Record(folder):
            raise InputError("no such file")
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def test_a_picture_is_due_after_two_seconds_and_after_a_hundred_times_what_the_last_one_took(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(record.time, "monotonic", lambda: clock[0])
    pace = Pace()
    assert not pace.now()
    clock[0] = 101.9
    assert not pace.now()
    clock[0] = 102.0
    assert pace.now()
    pace.took(0.5)
    clock[0] = 151.9
    assert not pace.now()
    clock[0] = 152.0
    assert pace.now()


def test_r_of_a_start_is_asked_for_only_where_a_hundred_steps_were_taken(monkeypatch):
    clock, asked = [0.0], []
    monkeypatch.setattr(looks.time, "monotonic", lambda: clock[0])
    problem = ut.Problem.of(thing())
    state = ut.begin(problem, (0, 1))

    def residual(problem, state):
        asked.append(state.step)
        clock[0] += 1.0
        return (0.3, 0.2)

    look = looks.StartsLook(problem, residual)
    for step in (0, 50, 99, 100, 150, 250):
        clock[0] = max(clock[0], float(step))
        view = look(state.replace(step=step), [])
    assert asked == [100, 250], "one of a second after a hundred of a second each, the next a hundred seconds later"
    assert view.value == 0.2 and view.caption == "start 1, iteration 250, R = 0.2"
    assert view.lines[1] == Line("start 1", (100, 250), (0.2, 0.2), 0)


# pictures


@pytest.mark.parametrize("shape", [(32, 30), (16, 18, 20)])
def test_what_is_shown_on_the_way_is_what_is_shown_at_the_end(shape):
    """The middle of the object is the middle of the picture, whatever the order of the array."""
    rng = np.random.default_rng(0)
    x = torch.zeros(shape, dtype=torch.complex64)
    inner = tuple(slice(n // 2 - 3, n // 2 + 4) for n in shape)
    x[inner] = torch.from_numpy(rng.normal(size=(7,) * len(shape)) + 1j * rng.normal(size=(7,) * len(shape))).to(x.dtype)
    support = x != 0
    counts = np.abs(np.fft.fftn(x.numpy())).astype(np.float32) ** 2
    problem = ut.Problem(ut.Pattern(counts, np.ones(shape, bool)))
    axes = tuple(range(len(shape)))
    corner, inside = (problem.cornered(v).roll((5, -4, 2)[: len(shape)], axes)[None] for v in (x, support))
    state = ut.State.of(corner, inside)
    on_the_way, at_the_end = looks.panels_of(problem, state), looks.object_view(x, support).panels
    planes = 1 if len(shape) == 2 else 3
    assert len(on_the_way) == len(at_the_end) == 2 * planes
    for a, b in zip(on_the_way, at_the_end):
        middle = tuple(slice(n // 2 - 3, n // 2 + 4) for n in a.pixels.shape)
        other = tuple(slice(n // 2 - 3, n // 2 + 4) for n in b.pixels.shape)
        assert a.kind == b.kind and np.array_equal(a.pixels[middle] if a.kind == "magnitude" else a.pixels[middle] > 0,
                                                   b.pixels[other] if b.kind == "magnitude" else b.pixels[other] > 0)  # fmt: skip
        if a.kind == "phase":
            assert np.abs(a.pixels[middle].astype(int) - b.pixels[other]).max() <= 1 and a.pixels[0, 0] == 0


def test_pictures_are_small():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 300)) + 1j
    panels = [*object_panels([("", x, np.ones(x.shape, bool))]), picture_panel("a", rng.random((3, 700, 600))), signed_panel("b", x.real)]
    assert all(max(p.pixels.shape[:2]) <= SIDE and p.pixels.dtype == np.uint8 for p in panels)
    assert panels[2].pixels.shape[2] == 3 and [p.kind for p in panels] == ["magnitude", "phase", "picture", "signed"]
    flat = object_panels([("", np.zeros((8, 8)), None)]) + (picture_panel("a", np.full((1, 8, 8), np.nan)),)
    assert all(not p.pixels.any() for p in flat)


def test_a_view_is_read_as_it_was_written_and_nothing_else_is():
    panels = object_panels([("", np.ones((4, 5), complex), None)])
    view = View(panels, (Line("start 1", tuple(range(1000)), tuple(np.linspace(0, 1, 1000)), 1),), "words", 0.25, 7, "part")
    back, record = decoded(encoded(view, stage="Search"))
    assert (back.caption, back.value, back.steps, back.part, record["stage"]) == ("words", 0.25, 7, "part", "Search")
    assert [p.title for p in back.panels] == ["magnitude", "phase"] and np.array_equal(back.panels[0].pixels, panels[0].pixels)
    assert len(back.lines[0].steps) == 200 and back.lines[0].steps[0] == 0 and back.lines[0].steps[-1] == 999
    content = encoded(view)
    for n in range(0, len(content), 97):
        assert decoded(content[:n]) is None
    import io

    buffer = io.BytesIO()
    np.savez(buffer, about=np.array([{"a": 1}], dtype=object))
    assert decoded(buffer.getvalue()) is None and decoded(b"") is None


# requests


COMMAND = ["reconstruct", "pattern.npz", "--recipe", "150*(15*HIO + ShrinkWrap) + 10*ER", "--starts", "14", "--seed", "5"]
RUN = """
import signal, sys
from pathlib import Path
from untwin import cli
from untwin.live import record
for name in IGNORED.split():
    signal.signal(getattr(signal, name), signal.SIG_IGN)
record.INTERVAL = record.SHARE = record.POLL = 0.01
from untwin.runs import checkpoint, launch
checkpoint.SHARE = checkpoint.POLL_INTERVAL = checkpoint.EVERY = 0.0
def slow(*part):  # travels to the workers by value: there a step lasts as long as it must for the run to be stopped within
    record.INTERVAL = record.SHARE = 0.0
    iterate = launch.iterate
    def lasting(*run):
        import time
        for after in iterate(*run):
            yield after
            end = time.monotonic() + LIMIT
            while after.step == 40 and not Path("out/checkpoint/stop").exists() and time.monotonic() < end:
                Path("waits").touch()
                time.sleep(0.01)
    launch.iterate = lasting
    return work(*part)
work = launch._work_in_worker
launch._work_in_worker = slow
sys.argv[0] = "untwin"
cli.main(sys.argv[1:])
""".replace("LIMIT", str(LIMIT))


@pytest.fixture(scope="module")
def patterned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("patterned")
    np.savez(folder / "pattern.npz", intensity=np.fft.fftshift(thing().intensity))
    return folder


def ran(arguments: list[str]) -> int:
    """The exit code; the page is not drawn."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr("untwin.show.report.report", lambda solution, path, strain=None, options=None: path)
        cli.main(arguments)
    return stop.value.code or 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ignored", ["", "SIGINT"], ids=["heard", "behind nohup"])
def test_a_run_that_is_asked_to_stop_keeps_what_is_done(patterned, tmp_path, monkeypatch, workers, ignored):
    monkeypatch.chdir(tmp_path)
    Path("pattern.npz").write_bytes((patterned / "pattern.npz").read_bytes())
    script = RUN.replace("IGNORED", repr(ignored))
    command = [sys.executable, "-c", script, *COMMAND, "--workers", str(workers), "-o", "out"]
    env = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True)
    try:
        sign = Path("waits") if workers == 2 else Path("out/live/preview.npz")
        until(lambda: sign.exists() or process.poll() is not None, "the run is under way")
        if workers == 2:
            until(lambda: list(Path("out/live").glob("worker-*.npz")), "a worker shows what it works on")
            said = Watched(Path("out")).status()
            assert said["state"] == "running" and said["steps"] > 0, "steps of parts under way count"
            assert Watched(Path("out")).shown(said).view.panels
        files.ask(Path("out"), files.STOP)
        _, error = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130, error
    assert "untwin: interrupted; what is done is kept; go on with: untwin reconstruct --resume out\n" in error
    said = status(Path("out"))
    assert said["state"] == "interrupted" and said["resume"] == f"untwin reconstruct --resume {tmp_path / 'out'}"
    assert not list(Path("out/live").glob("worker-*"))
    assert ran(["reconstruct", "--resume", "out"]) == 0 and ran([*COMMAND, "-o", "whole"]) == 0
    assert same(ut.load("out"), ut.load("whole")) and status(Path("out"))["state"] == "ended"
    assert names(Path("out")) == {files.STATUS, files.CURVES, files.PREVIEW}, "the request is gone"


def test_where_no_signal_is_heard_a_part_stops_at_its_next_step(tmp_path, monkeypatch, always):
    """A pattern of a batch, in a worker or in a thread: KeyboardInterrupt within the part, and the record knows what was asked."""
    monkeypatch.setattr(record, "POLL", 0.001)
    outcome = []

    def work():
        live = Record(tmp_path, "reconstruct")
        try:
            with live:
                files.ask(tmp_path, files.SKIP)
                ut.reconstruct(thing(), "100000*ER", starts=1, live=live)
        except KeyboardInterrupt:
            outcome.append((live.request, status(tmp_path)["state"]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LIMIT)
    assert outcome == [("skip", "interrupted")]


def test_requests_of_a_batch_are_named_by_its_row(tmp_path):
    (tmp_path / "b").mkdir()
    files.write_json(tmp_path / files.BATCH, {"rows": [{"name": "a"}, {"name": "b"}, {"name": "../c"}, 3]})
    folder = Folder(tmp_path)
    folder.skip(0)
    folder.skip(1)
    folder.stop(None)
    assert files.requested(tmp_path, 0) == "skip" and files.requested(tmp_path, 1) == ""
    assert files.requested(tmp_path / "b") == "skip" and files.requested(tmp_path) == "stop"
    for number in (2, 3, 4, -1):
        with pytest.raises(InputError, match="there is no pattern"):
            folder.skip(number)
    files.clear(tmp_path)
    assert files.requested(tmp_path) == files.requested(tmp_path, 0) == ""


# what is read


@forks
def test_a_run_that_was_killed_is_lost(tmp_path):
    def killed() -> None:
        live = Record(tmp_path, "reconstruct", "a.cxi", "untwin reconstruct --resume x")
        with live:
            live.begun = live.resumable = True
            live._write()
            os.kill(os.getpid(), signal.SIGKILL)

    assert dies(killed) == -signal.SIGKILL
    said = Watched(tmp_path).status()
    assert said["state"] == "lost" and said["resume"] == "untwin reconstruct --resume x" and said["left"] is None
    assert status(tmp_path)["state"] == "running", "it had no time to say more"


def test_a_process_of_the_same_number_is_not_the_run(tmp_path):
    with Record(tmp_path):
        assert Watched(tmp_path).status()["state"] == "running"
        said = status(tmp_path)
        files.write_json(tmp_path / files.FOLDER / files.STATUS, {**said, "process": "1"})
        assert Watched(tmp_path).status()["state"] == ("lost" if said["process"] else "running")


def test_a_run_on_another_machine_is_lost_where_its_pulse_stops(tmp_path, monkeypatch):
    from untwin.live import watched

    clock = [1000.0]
    monkeypatch.setattr(watched.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(watched.time, "time", lambda: 5000.0)

    def beat(number: int, updated: float) -> None:
        said = {"state": "running", "host": "elsewhere", "pid": 1, "beat": number, "updated": updated}
        files.write_json(tmp_path / files.FOLDER / files.STATUS, said)

    beat(1, 4950.0)
    run = Watched(tmp_path)
    assert run.status()["state"] == "running"
    clock[0] += 29
    assert run.status()["state"] == "running"
    clock[0] += 2
    assert run.status()["state"] == "lost"
    beat(2, 4950.0)
    assert run.status()["state"] == "running", "a clock that is wrong does not matter"
    beat(3, 4000.0)
    assert Watched(tmp_path).status()["state"] == "lost", "silent for long at first sight"


def test_what_strangers_have_written_is_no_run(tmp_path):
    folder = tmp_path / files.FOLDER
    folder.mkdir()
    for content in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"state": "<b>"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"state": "running", "steps": "x", "pid": "y"}',
    ):
        (folder / files.STATUS).write_bytes(content)
        (folder / files.CURVES).write_bytes(content)
        (folder / files.PREVIEW).write_bytes(content)
        run = Watched(tmp_path)
        said = run.status()
        assert said == {} or said["steps"] == 0
        assert run.curves(said)[1] == [] and run.shown(said) is None


def test_a_worker_shows_nothing_where_it_does_not_share_the_disk(tmp_path, always):
    glimpse = Glimpse(tmp_path / "elsewhere", "Search")
    view = View(object_panels([("", np.ones((4, 4)), None)]), value=0.5)
    glimpse.reached("part", lambda: view)
    glimpse.left("part")
    assert list(tmp_path.iterdir()) == []
    with Record(tmp_path / "run") as live:
        live.plan(["Search"], ["random starts"], [(10, 1.0)])
        live.stage("Search", 0)
        glimpse = live.for_worker()
        glimpse.reached("part", lambda: view)
        live._write()
        run = Watched(tmp_path / "run")
        assert run.shown(run.status()).view.part == "part"
        glimpse.left("part")
        assert names(tmp_path / "run") == {files.STATUS}
    assert Record().for_worker().results is None


def test_the_best_of_a_stage_is_shown(tmp_path, always):
    panels = object_panels([("", np.ones((4, 4)), None)])
    with Record(tmp_path) as live:
        live.plan(["Search", "Guide"], ["random starts", "guided generations"], [(10, 1.0), (10, 1.0)])
        live.stage("Search", 0)
        for part, value in (("a", 0.5), ("b", 0.7), ("c", 0.4), ("c", 0.6), ("b", 0.55)):
            live.reached(part, lambda part=part, value=value: View(panels, caption=f"{part} {value}", value=value))
        live._write()
        assert Watched(tmp_path).shown(live._status).view.caption == "b 0.55", "c has become worse, and b better than that"
        live.stage("Guide", 1)
        live.reached("d", lambda: View(panels, caption="d", value=0.9))
        live._write()
        assert Watched(tmp_path).shown(live._status).view.caption == "d"


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        Folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no run; expected the folder of results"):
        Folder(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="has shown nothing of itself"):
        Folder(tmp_path)


def test_what_a_failed_run_has_shown_is_in_nobodys_way(tmp_path):
    from untwin.runs.archive import fresh

    live = Record(tmp_path / "out")
    with pytest.raises(NumericalFailure), live:
        live.begun = True
        raise NumericalFailure("nothing")
    assert fresh(tmp_path / "out", False) == tmp_path / "out"
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match="not empty"):
        fresh(tmp_path / "out", False)


def test_a_training_shows_its_curves(tmp_path):
    from untwin.learn.pairs import VALIDATION, Fresh
    from untwin.learn.train import Training, train
    from untwin.simulate.dataset import Crystals

    run = Training("CdiNN(form=32)", "cdi-nn", steps=4, batch=2, check=2, held=2, rising=1, warm=0)
    data = Fresh(Crystals(run.data, 0, 100), Crystals(run.data, VALIDATION, 100))
    with Record(tmp_path, "train") as live:
        train(run, data, tmp_path, live=live)
    said = status(tmp_path)
    assert said["steps"] == 4 and said["foreseen"] == 4
    lines = {c["label"]: c["steps"] for c in json.loads((tmp_path / files.FOLDER / files.CURVES).read_text())["curves"]}
    assert lines["loss"] == [2, 4]


def test_a_checkpoint_hands_its_record_on(tmp_path):
    with Record(tmp_path / "run") as live:
        checkpoint = Checkpoint(tmp_path / "kept", live=live)
        checkpoint.begin({})
        assert live.resumable and checkpoint.for_worker().live.results == tmp_path / "run"
    assert PLAN.search.starts == 14
