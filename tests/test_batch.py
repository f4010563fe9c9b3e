"""Many patterns: what a batch is made of, that one of them stops no other, and that what is done is done."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

import untwin as ut
from events import dies
from short_runs import same, thing
from untwin import batch, cli, fourier, many
from untwin.batch import Batch, Crew, Ended, Item, Means, Row, alone
from untwin.data.cxi import write_pattern
from untwin.data.series import members
from untwin.errors import InputError, NotEnoughMemory
from untwin.judge.trust import Verdict
from untwin.live import files
from untwin.live.watched import Folder
from untwin.model.alignment import twin
from untwin.runs.archive import load
from untwin.runs.follow import aligned
from untwin.show.batch import write_page, write_thumbnail
from untwin.solve.state import Member

QUICK = ["--recipe", "2*(10*HIO + ShrinkWrap) + 5*ER", "--starts", "2", "--no-report"]


def scans(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [write_pattern(folder / f"{name}.cxi", thing(), process={}) for name in names]


def main(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", *map(str, arguments)])
    return stop.value.code


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


# What a batch is made of


def test_members_are_files_in_the_order_of_their_numbers(tmp_path):
    scans(tmp_path / "scans", "scan_10", "scan_9", "scan_100")
    pattern = str(tmp_path / "scans" / "scan_*.cxi")
    assert [m.name for m in members([pattern])] == ["scan_9", "scan_10", "scan_100"]
    assert members([tmp_path / "scans"]) == members([pattern])
    assert [m.name for m in members([tmp_path / "scans" / "scan_9.cxi"] * 2)] == ["scan_9"], "each once"


def test_archives_of_a_folder_are_a_pattern_each_and_arrays_are_frames(tmp_path):
    (tmp_path / "archives").mkdir()
    (tmp_path / "arrays").mkdir()
    for k in range(2):
        np.savez(tmp_path / "archives" / f"{k}.npz", intensity=np.ones((8, 8)))
        np.save(tmp_path / "arrays" / f"{k}.npy", np.ones((8, 8)))
    assert [m.name for m in members([tmp_path / "archives"])] == ["0", "1"] == [m.name for m in members([f"{tmp_path}/archives/*.npz"])]
    assert [m.name for m in members([tmp_path / "arrays"])] == ["arrays"]
    (tmp_path / "archives" / "notes.txt").write_text("not a pattern")
    (tmp_path / "archives" / "2.npz").write_text("torn")
    (tmp_path / "archives" / "3.h5").touch()
    assert [m.name for m in members([tmp_path / "archives"])] == ["0", "1", "2", "3"], "what is torn is reported and not passed over"


def test_what_is_empty_or_torn_among_others_is_a_member_and_what_is_not_there_is_not(tmp_path):
    good, empty, torn = (tmp_path / name for name in ("good.npy", "empty.npy", "torn.h5"))
    np.save(good, np.ones((8, 8)))
    empty.touch()
    torn.write_bytes(b"\x89HDF\r\n\x1a\n" + 200 * b"x")
    assert [m.name for m in members([good, empty, f"{torn}::scan_*/data"])] == ["good", "empty", "torn-scan__data"]
    for sources in ([empty], [f"{torn}::scan_*/data"], [good, tmp_path / "nowhere.npy"]):
        with pytest.raises(InputError):
            members(sources)


def test_members_of_one_name_are_told_by_their_folders(tmp_path):
    files = [scans(tmp_path / day, "scan")[0] for day in ("monday", "tuesday")]
    assert [m.name for m in members(files)] == ["monday-scan", "tuesday-scan"]


def test_members_are_datasets_and_frames(tmp_path):
    values = np.random.default_rng(0).poisson(20, (3, 5, 16, 16))
    with h5py.File(tmp_path / "run.h5", "w") as file:
        for k in (2, 10):
            file[f"scan_{k}/data"] = values[0, 0]
        file["stack"] = values[0]
        file["volumes"] = values
    run = tmp_path / "run.h5"
    assert [m.source.rpartition("::")[2] for m in members([f"{run}::scan_*/data"])] == ["/scan_2/data", "/scan_10/data"]
    assert [(m.name, m.frame) for m in members([f"{run}::volumes"], "each")] == [(f"run-volumes-{k}", k) for k in range(3)]
    assert [m.frame for m in members([f"{run}::volumes"], "1:")] == [1, 2]
    assert [m.frame for m in members([f"{run}::stack"], "each")] == [0, 1, 2, 3, 4]
    assert [m.frame for m in members([f"{run}::stack"], "1:3")] == [None], "slices of one volume, or exposures of one pattern"
    with pytest.raises(InputError, match="no dataset of run.h5 fits spectra"):
        members([f"{run}::spectra*"])
    with pytest.raises(InputError, match="has 2 axes and no frames"):
        members([f"{run}::scan_2/data"], "each")


def test_a_file_without_frames_stops_no_other(tmp_path):
    np.save(tmp_path / "good.npy", np.ones((4, 16, 16)))
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert [m.frame for m in members([tmp_path / "bad.npy", tmp_path / "good.npy"], "each")] == [None, 0, 1, 2, 3]
    with pytest.raises(InputError):
        members([tmp_path / "bad.npy"], "each")


def test_a_folder_of_frames_is_one_and_one_of_such_folders_is_several(tmp_path):
    for scan in ("s1", "s2"):
        (tmp_path / "all" / scan).mkdir(parents=True)
        for k in range(3):
            np.save(tmp_path / "all" / scan / f"f_{k}.npy", np.ones((16, 16)))
    assert [m.name for m in members([tmp_path / "all" / "s1"])] == ["s1"]
    assert [m.name for m in members([tmp_path / "all"])] == ["s1", "s2"]
    assert [m.source for m in members([str(tmp_path / "all" / "s1" / "*.npy")])] == [str(tmp_path / "all" / "s1" / "*.npy")]
    with pytest.raises(InputError, match="nothing fits"):
        members([str(tmp_path / "none" / "*.h5")])


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
@pytest.mark.parametrize("kind", ["npy", "h5", "array"])
def test_a_volume_of_four_axes_is_read_as_a_file_of_its_own(tmp_path, kind):
    volumes = np.random.default_rng(1).poisson(5 + 100 * (np.indices((2, 12, 12, 12))[1:] == 6).all(0))
    if kind == "npy":
        np.save(tmp_path / "v.npy", volumes)
    elif kind == "h5":
        with h5py.File(tmp_path / "v.h5", "w") as file:
            file["data"] = volumes
    source = volumes if kind == "array" else tmp_path / f"v.{kind}"
    one, other = ut.read(source, frames=1), ut.read(volumes[1], frames="volume")
    assert np.array_equal(one.intensity, other.intensity) and one.shape == (12, 12, 12)
    with pytest.raises(InputError, match="2 volumes, 0 to 1"):
        ut.read(source, frames=2)


# The command line


def test_a_bad_file_stops_no_other_and_what_is_done_is_left_alone(tmp_path, capsys, monkeypatch):
    files = scans(tmp_path / "scans", "a", "b")
    bad = tmp_path / "scans" / "c.h5"
    bad.write_bytes(b"no file")
    out = tmp_path / "out"
    assert main(*files, bad, "-o", out, "--workers", "1", *QUICK) == 3
    table = rows(out)
    assert [(name, row["status"]) for name, row in table.items()] == [("a", "done"), ("b", "done"), ("c", "failed")]
    assert "c.h5" in table["c"]["message"] and float(table["a"]["r_factor"]) > 0 and table["a"]["file"] == str(files[0])
    said = capsys.readouterr()
    assert "1 of 3 patterns failed: c" in said.err and "1 failed" in said.out
    page = (out / "index.html").read_text()
    assert all(f'src="{name}/figures/thumbnail.png"' in page for name in "ab") and (out / "a" / "figures" / "thumbnail.png").is_file()
    before = {name: (out / name / "result.cxi").stat().st_mtime_ns for name in "ab"}
    write_pattern(bad, thing(), process={})
    assert main(*files, bad, *scans(tmp_path / "scans", "d"), "-o", out, *QUICK) == 0, "files may be added, and what failed is tried again"
    assert before == {name: (out / name / "result.cxi").stat().st_mtime_ns for name in "ab"}
    assert [row["status"] for row in rows(out).values()] == ["done"] * 4
    assert all(same(load(out / "a"), load(out / name)) for name in "bcd"), "in one process and in two: the same bits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "4"], "holds a batch with seed 0, this is 4"),
        (["--resume", "out", "--starts", "3"], "--resume takes everything from out; leave --starts out"),
    ],
)
def test_another_batch_in_the_folder_is_refused(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    files = scans(tmp_path / "scans", "a", "b")
    assert main(*files, "-o", "out", *QUICK) == 0
    resumed = "--resume" in arguments
    assert main(*([] if resumed else [*files, "-o", "out", *QUICK]), *arguments) == 2
    assert message in capsys.readouterr().err


def test_two_at_a_time_are_refused(tmp_path):
    with alone(tmp_path), pytest.raises(InputError, match="another process works on the batch"), alone(tmp_path):
        pass


def test_a_folder_with_other_things_is_no_batch(tmp_path, capsys):
    files = scans(tmp_path / "scans", "a", "b")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    assert main(*files, "-o", tmp_path / "out", *QUICK) == 2
    assert "not empty and holds no batch" in capsys.readouterr().err
    assert main(*files, "-o", tmp_path / "out", "--overwrite", *QUICK) == 0 and (tmp_path / "out" / "thesis.tex").read_text() == "years"


def test_an_option_that_nobody_could_use_is_refused_before_anything_is_read(tmp_path, capsys):
    files = scans(tmp_path / "scans", "a", "b")
    assert main(*files, "-o", tmp_path / "out", "--recipe", "20*HI0") == 2
    assert "did you mean HIO" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(files[0], "--follow", "-o", tmp_path / "out") == 2


def test_frames_whose_names_the_shell_has_written_out_are_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        np.save(tmp_path / f"f_{k}.npy", thing().intensity)
    assert main(*sorted(tmp_path.glob("f_*.npy")), "-o", "out", "--values", "photons", *QUICK) == 0
    assert "in quotation marks: '" in capsys.readouterr().err


def interrupted(folder: Path) -> None:
    """A batch whose second pattern is interrupted by Ctrl-C."""
    os.chdir(folder)
    perform = many.perform
    many.perform = lambda run, *rest: _interrupt() if "b.cxi" in str(run.file) else perform(run, *rest)
    main("scans/a.cxi", "scans/b.cxi", "-o", "out", "--workers", "1", *QUICK)


def _interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_batch_goes_on(tmp_path, monkeypatch, capfd):
    scans(tmp_path / "scans", "a", "b")
    dies(interrupted, tmp_path)
    assert "1 of 2 patterns are done" in capfd.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main("--resume", "out") == 0
    assert [row["status"] for row in rows(tmp_path / "out").values()] == ["done", "done"]


def test_a_batch_goes_on_without_reports_where_none_are_wanted_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr("untwin.show.report.FIGURES", {})
    good, bad, out = *scans(tmp_path / "scans", "a"), tmp_path / "scans" / "b.cxi", tmp_path / "out"
    bad.write_text("no pattern")
    assert main(good, bad, "-o", out, "--workers", "1", *(word for word in QUICK if word != "--no-report")) == 3
    write_pattern(bad, thing(), process={})
    assert main("--resume", out, "--workers", "1", "--no-report") == 0
    assert (out / "a" / "report.html").is_file() and not (out / "b" / "report.html").exists()
    page = (out / "index.html").read_text()
    assert 'href="a/report.html"' in page and 'href="b/figures/thumbnail.png"' in page


def test_a_batch_without_a_page_for_each_has_none(tmp_path):
    files = scans(tmp_path / "scans", "a", "b")
    assert main(*files, "-o", tmp_path / "out", *QUICK) == 0
    assert not (tmp_path / "out" / "a" / "report.html").exists()
    assert main(files[0], "-o", tmp_path / "one", *QUICK) == 0 and not (tmp_path / "one" / "report.html").exists()


# Workers that are ended from outside


def solution(reason: str = "") -> SimpleNamespace:
    return SimpleNamespace(reason=reason, verdict=Verdict(True, "alike"), numbers={"r_factor": 0.1})


def killed_once(item: Item, means: Means):
    """The first time that it is tried, the work ends its process."""
    if item.source is not None and not item.source.exists():
        item.source.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return solution()


def killed_always(item: Item, means: Means):
    if item.source:
        os.kill(os.getpid(), signal.SIGKILL)
    return solution()


def greedy(item: Item, means: Means):
    if item.source and means.workers == 1:
        raise NotEnoughMemory("too little beside others")
    return solution()


def crew(work, sources: list) -> Crew:
    items = [Item(str(n), "", source) for n, source in enumerate(sources)]
    return Crew(work, items, [None] * len(items), 2)


def ended(crew: Crew) -> dict[int, Ended]:
    results = list(crew.run(range(len(crew.items))))
    assert sorted(number for number, _ in results) == list(range(len(crew.items))), "each once"
    return dict(results)


def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    results = ended(crew(killed_once, [tmp_path / "x", None, tmp_path / "y", None, None]))
    assert all(result.row.status == "done" for result in results.values())


def test_a_pattern_that_ends_its_worker_each_time_has_failed_and_the_others_not():
    results = ended(crew(killed_always, [False, True, False, False]))
    assert [results[n].row.status for n in range(4)] == ["done", "failed", "done", "done"]
    assert "ended from outside" in results[1].row.message


def test_what_does_not_fit_beside_others_runs_alone():
    results = ended(crew(greedy, [True, False, False]))
    assert [results[n].row.status for n in range(3)] == ["done"] * 3


def test_a_fault_of_the_program_stops_no_other():
    results = ended(crew(lambda item, means: solution() if item.source else 1 / 0, [True, False, True]))
    assert [results[n].row.status for n in range(3)] == ["done", "failed", "done"] and "bug in untwin" in results[1].row.message


def test_a_pattern_that_somebody_leaves_out_is_skipped(tmp_path):
    files.ask(tmp_path, files.SKIP, 1)
    waiting = Item("a", "", None, 1)
    assert batch.attempt(lambda *rest: pytest.fail("it is skipped"), waiting, Means(1, 0), tmp_path / "a").row.status == "skipped"

    def at_work(*rest):
        files.ask(tmp_path / "b", files.SKIP)
        raise KeyboardInterrupt

    assert batch.attempt(at_work, Item("b", "", None), Means(1, 0), tmp_path / "b").row.status == "skipped"
    with pytest.raises(KeyboardInterrupt):
        batch.attempt(lambda *rest: _interrupt(), Item("c", "", None), Means(1, 0), tmp_path / "c")


def test_a_batch_shows_itself(tmp_path):
    scans(tmp_path / "scans", "a", "b")
    assert main(tmp_path / "scans", "-o", tmp_path / "out", "--workers", "1", *QUICK) == 0
    status = files.read_json(tmp_path / "out" / "live" / "status.json")
    assert (status["state"], status["steps"], status["foreseen"], status["unit"]) == ("ended", 2, 2, "patterns")
    assert Folder(tmp_path / "out").table()[1]["status"] == "done"


def test_a_partial_result_has_failed():
    assert batch.attempt(lambda *rest: solution("most starts failed"), Item("a", "", None), Means(1, 0), None).row.status == "failed"


def test_a_partial_result_is_tried_again(tmp_path):
    ut.reconstruct(thing(), QUICK[1], starts=2).save(tmp_path / "a")
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    (tmp_path / "a" / "summary.json").write_text(json.dumps(summary | {"reason": "most starts failed"}))
    tried = []
    batch.attempt(lambda item, means: tried.append(item.name) or solution(), Item("a", "", None), Means(1, 0), tmp_path / "a")
    assert tried == ["a"]


def test_no_cell_of_the_table_is_a_formula(tmp_path):
    listed = Batch(tmp_path, [], {}, [Row("a", "=1+1", "failed", message="@SUM(1)"), Row("b", "b", "failed")])
    listed.write()
    assert rows(tmp_path)["a"]["file"] == "'=1+1" and rows(tmp_path)["a"]["message"] == "'@SUM(1)"
    assert rows(tmp_path)["b"]["message"] == "", "a cell without text stays empty"


@pytest.mark.parametrize("content", ["{", "[]", '{"options": 3}'])
def test_a_damaged_record_is_said(tmp_path, content):
    (tmp_path / "batch.json").write_text(content)
    with pytest.raises(InputError, match="is not the record of a batch"):
        batch.read_record(tmp_path)


# From Python


def test_what_is_no_option_of_reconstruct_is_refused_before_any_pattern():
    with pytest.raises(InputError, match="mask= is not an option of untwin.reconstruct"):
        ut.reconstruct_many([thing()], mask=np.zeros((8, 8)))


def test_many_patterns_in_memory_come_in_their_order():
    results = list(ut.reconstruct_many([thing(), np.zeros((3, 3)), thing()], workers=2, recipe=ut.parse(QUICK[1]), starts=2))
    assert [r.name for r in results] == ["pattern-0", "pattern-1", "pattern-2"] and [bool(r.error) for r in results] == [False, True, False]
    alone = ut.reconstruct(thing(), QUICK[1], starts=2)
    assert same(results[0].solution, alone) and results[1].solution is None and results[0].folder is None


def test_many_files_are_read_again_where_they_are_done(tmp_path, monkeypatch):
    files = scans(tmp_path / "scans", "a", "b")
    options = {"output": tmp_path / "out", "workers": 1, "recipe": QUICK[1], "starts": 2, "report": False}
    first = list(ut.reconstruct_many(files, **options))
    monkeypatch.setattr(many, "_phase", lambda *rest, **more: pytest.fail("it is done"))
    again = list(ut.reconstruct_many(files, **options))
    assert all(torch.equal(a.solution.image, b.solution.image) for a, b in zip(first, again))


@pytest.mark.parametrize(
    ("patterns", "options", "message"),
    [
        ([], {}, "no patterns"),
        (["a"], {}, "does not exist"),
        ([0], {"follow": True}, "output="),
        ([0], {"checkpoint": 1}, "checkpoint="),
        ([0], {"live": "x"}, "live="),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused_at_once(patterns, options, message):
    with pytest.raises(InputError, match=message):
        ut.reconstruct_many(patterns, **options)


def test_a_file_that_has_changed_since_is_refused_and_one_that_was_copied_again_is_not(tmp_path):
    (file,) = scans(tmp_path / "scans", "a")
    options = {"output": tmp_path / "out", "workers": 1, "recipe": QUICK[1], "starts": 2, "report": False}
    list(ut.reconstruct_many([file], **options))
    content = file.read_bytes()
    file.write_bytes(content)
    assert [bool(r.error) for r in ut.reconstruct_many([file], **options)] == [False], "the same bytes"
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match="a.cxi has changed since .*a was made of it"):
        list(ut.reconstruct_many([file], **options))


def test_frames_of_a_batch_in_python_are_those_of_read(tmp_path):
    frames = np.random.default_rng(0).poisson(50, (4, 24, 20))
    np.save(tmp_path / "f.npy", frames)
    for source in (str(tmp_path / "f.npy"), frames):
        (one,) = ut.reconstruct_many([source], frames=1, recipe=QUICK[1], starts=2, workers=1)
        assert one.solution.pattern.photons == frames[1].sum()
    with pytest.raises(InputError, match="frames='each' is for files"):
        ut.reconstruct_many([frames], frames="each")


# A time series


def test_half_of_the_families_begin_at_the_result_before(tmp_path):
    ut.reconstruct(thing(), QUICK[1], starts=2).save(tmp_path / "before")
    solved = ut.reconstruct(thing(), QUICK[1], starts=4, start=str(tmp_path / "before"))
    assert solved.recipe.startswith("Plan(Search(Guess(") and "sha256=" in solved.recipe
    former = ut.reconstruct(thing(), QUICK[1], starts=4)
    assert {s.seed for s in solved.starts}.isdisjoint(s.seed for s in former.starts), "the others are no repetition of it"
    problem = ut.Problem.of(thing())
    guess = ut.algorithms.Guess(str(tmp_path / "before" / "result.cxi"))
    state = ut.begin(problem, [Member(k, k, k % 2) for k in range(4)])
    begun = guess.step(problem, state)
    earlier = fourier.cornered(load(tmp_path / "before").image, 2)
    assert torch.equal(begun.image[1], state.image[1]) and torch.equal(begun.image[3], state.image[3]), "the others know nothing of it"
    inside = begun.support[0]
    assert torch.equal(begun.image[0], earlier.where(inside, earlier.new_zeros(()))) and not torch.equal(begun.image[2], begun.image[0])


def test_a_result_that_has_changed_since_is_not_begun_from(tmp_path):
    ut.reconstruct(thing(), QUICK[1], starts=2).save(tmp_path / "before")
    path = tmp_path / "before" / "result.cxi"
    with pytest.raises(InputError, match="is not the file that it was"):
        ut.reconstruct(thing(), ut.parse(f"Guess({str(path)!r}, sha256='0123') + 5*ER"), starts=2)
    big = ut.Pattern(np.ones((48, 48)), np.ones((48, 48), bool))
    with pytest.raises(InputError, match=r"has shape \(32, 32\), this one \(48, 48\)"):
        ut.reconstruct(big, ut.parse(f"Guess({str(path)!r}) + 5*ER"), starts=2)


@pytest.mark.parametrize("turned_over", [False, True])
def test_a_result_is_moved_onto_the_one_before_and_gives_the_same_counts(turned_over):
    solved = ut.reconstruct(thing(), QUICK[1], starts=2)
    x = fourier.cornered(solved.image, 2)
    other = (twin(x, 2) if turned_over else x).roll((3, -5), (0, 1)) * torch.exp(torch.tensor(0.7j))
    result = aligned(solved, fourier.centred(other, 2))
    assert torch.allclose(result.image, fourier.centred(other, 2), atol=1e-4)
    counts = [torch.fft.fft2(fourier.cornered(s.image, 2)).abs() for s in (solved, result)]
    assert torch.allclose(*counts, rtol=1e-3, atol=1e-2) and result.support.sum() == solved.support.sum()
    assert bool((result.image.abs()[~result.support] <= 1e-6).all()) == bool((solved.image.abs()[~solved.support] <= 1e-6).all())
    assert torch.allclose(result.modes[0].abs().sum(), solved.modes[0].abs().sum(), rtol=1e-4)


def test_a_series_in_the_order_of_the_shell_is_noted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("untwin.cli.batch._worked", lambda *arguments: None)
    files = scans(tmp_path / "scans", "t_1", "t_10", "t_2")
    assert main(*files, "--follow", "-o", tmp_path / "out") == 0 and "begins t_1, t_2, t_10" in capsys.readouterr().err
    assert main(tmp_path / "scans" / "t_*.cxi", "--follow", "-o", tmp_path / "out") == 0 and "order" not in capsys.readouterr().err


def test_a_series_begins_each_at_the_last_that_is_not_doubted(tmp_path, monkeypatch):
    files = scans(tmp_path / "scans", *"abcd")
    started = []
    verdicts = iter([True, False, None, True])
    reconstruct = ut.reconstruct

    @wraps(reconstruct)
    def with_verdict(pattern, **options):
        started.append(Path(options["start"]).name if "start" in options else None)
        return replace(reconstruct(pattern, **options), verdict=Verdict(next(verdicts), ""))

    monkeypatch.setattr("untwin.runs.reconstruct.reconstruct", with_verdict)
    options = {"recipe": QUICK[1], "starts": 2, "report": False, "workers": 1}
    list(ut.reconstruct_many(files, output=tmp_path / "out", follow=True, **options))
    assert started == [None, "a", "a", "c"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "The series" in page and json.loads((tmp_path / "out" / "batch.json").read_text())["options"]["follow"] is True


# The page, in a browser


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    playwright = pytest.importorskip("playwright.sync_api")
    if not chromium:
        pytest.skip("no chromium: the page of a batch is not tried in a browser")
    with playwright.sync_playwright() as programs:
        program = programs.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield program
        program.close()


@pytest.mark.parametrize("width", [1400, 375])
def test_the_page_is_sorted_by_a_click_and_by_a_key(tmp_path, browser, width):
    solved = ut.reconstruct(thing(), QUICK[1], starts=2)
    listed = [Row(name, "", "done", True, r_factor=r) for name, r in (("a_9", 0.2), ("<b>", 0.01), ("c", 0.1))]
    for row in listed:
        write_thumbnail(solved, tmp_path / row.name)
    write_page(tmp_path, [*listed, Row("d", "", "failed", message="no <i>file</i>")])
    page = browser.new_page(viewport={"width": width, "height": 700})
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((tmp_path / "index.html").as_uri())

    def names() -> list[str]:
        return page.locator("#results tbody td.name").all_inner_texts()

    assert names() == ["a_9", "<b>", "c", "d"] and page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="R", exact=True).click()
    assert names() == ["<b>", "c", "a_9", "d"], "what has none comes last"
    page.keyboard.press("Enter")
    assert names() == ["a_9", "c", "<b>", "d"] and page.locator("th[aria-sort=descending]").inner_text() == "R"
    assert all(page.locator("#results img").evaluate_all("images => images.map(i => i.complete && i.naturalWidth > 50)"))
    assert "no <i>file</i>" in page.locator("#results").inner_text() and not errors
    page.close()
