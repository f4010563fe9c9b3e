"""untwin reconstruct, untwin demo, untwin report: phase a pattern and show what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from untwin.batch import RECORD
from untwin.cli import progress
from untwin.cli.batch import BatchOptions, batch_members, reconstruct_batch, resume_batch
from untwin.cli.inspect import print_comparison
from untwin.cli.notes import note, read_pattern, say
from untwin.cli.reading import ReadOptions
from untwin.cli.resume import unfinished_options
from untwin.data.series import EACH
from untwin.errors import InputError, NumericalFailure
from untwin.task import Task, perform

if TYPE_CHECKING:
    from untwin.bragg.maps import StrainMap
    from untwin.config import Run
    from untwin.runs.solution import Reconstruction


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions:
    """The options of untwin reconstruct.

    Parameters
    ----------
    output
        Folder for the results; by default FILE_out in the current folder. It must be new or empty.
    positivity
        The object is real and nowhere negative. Only where this is true.
    sparse
        The object is real and nowhere negative, and so many of its values are not 0, such as 800. They may lie anywhere: atoms in a
        cell that repeats itself. Nothing has to be empty around it.
    support
        File with the object's support; the automatic plan keeps it as it is.
    constraint
        Instead of positivity, such as "Support() & RealValued()".
    loss
        Such as "Amplitude()"; by default Poisson().
    modulus
        Such as "Modulus(rho=0.3)": how the data are imposed.
    physics
        Such as "FarField()", the default.
    recipe
        Such as "3*(20*ER+180*HIO+ShrinkWrap)+20*ER"; by default the automatic plan.
    start
        random, or predict (predict:MODEL): a trained network gives every second start its object and its support; the others stay
        random, so that agreement is evidence.
    method
        auto (projections, and a deep prior at the end if it helps), classical (projections alone), refine (always with the deep prior).
        double-dip, siren, drp: untrained networks from random numbers, with nothing known of the support.
    starts
        Independent starts.
    effort
        Factor on the work of the automatic plan: 2 doubles the number of starts. In pictures and sparse objects it doubles what may be
        spent where starts do not agree.
    seed
        Of all random numbers; the same seed repeats the run, and another has no start in common with it.
    device
        cpu (default), cuda or cuda:1.
    workers
        Starts that run at once on a CPU, in threads or processes; by default as many as there are cores.
    scheduler
        Of a Dask cluster that takes the starts: tcp://host:8786, a scheduler file.json, or local (as many workers here). The same bits.
    config
        A run.toml; options given here come before it.
    resume
        Go on with a run that was cut short: the folder of its results. It ends with the bits that it would have had.
    overwrite
        Replace the results of an earlier run.
    follow
        Of several patterns: they are a time series, in this order. Half of the families of each start at the result before it, and the
        results are aligned.
    report
        Write report.html and figures/, which takes seconds.
    """

    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
    positivity: bool | None = None
    sparse: int | None = None
    support: str | None = None
    constraint: str | None = None
    loss: str | None = None
    modulus: str | None = None
    physics: str | None = None
    recipe: str | None = None
    start: str | None = None
    method: str | None = None
    starts: int | None = None
    effort: float | None = None
    seed: int | None = None
    device: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    config: Path | None = None
    resume: Path | None = None
    overwrite: bool = False
    follow: bool = False
    report: bool = True

    def settings(self) -> dict[str, Any]:
        """The settings of a Run; None where nothing was said."""
        return {k: v for k, v in vars(self).items() if k not in ("config", "resume", "overwrite", "follow", "report")}


def reconstruct(
    *files: Path,
    reading: Annotated[ReadOptions | None, Parameter(name="*")] = None,
    options: Annotated[ReconstructOptions | None, Parameter(name="*")] = None,
) -> None:
    """Phase a far-field pattern, 2D or 3D, or several exposures of one object: the object, a verdict on it, and pictures.

    No option is needed. The folder gets result.cxi, run.toml, summary.json, report.html and figures/.
    Several patterns are a batch: each gets a folder of its own in that of the results, which has index.html and summary.csv of all.
    What is done is left alone, so that the same command goes on with a batch. Exit code 3 where any has failed.

    Parameters
    ----------
    files
        The pattern: CXI, HDF5, NeXus, .npz, .npy, TIFF, EDF, CBF, .mat, PNG, JPEG, .txt or .csv, by content. FILE::NAME is one of
        its datasets. A folder of frames, or 'scan_*.tif' in quotation marks, is a stack in the order of the numbers in the names.
    """
    options = options or ReconstructOptions()
    reading = reading or ReadOptions()
    settings = reading.settings(files[0] if files else None) | options.settings()
    if options.resume is not None:
        anew = {"workers": settings.pop("workers"), "scheduler": settings.pop("scheduler")}
        others = {("FILE" if k == "file" else f"--{k}"): v for k, v in settings.items()}
        others |= {"--config": options.config, "--overwrite": options.overwrite, "--follow": options.follow}
        if (options.resume / RECORD).is_file():
            resume_batch(options.resume, anew, others, options.report)
        else:
            resumed(options.resume, anew, others, None if options.report else WITHOUT_REPORT)
        return
    from untwin.config import resolved

    settings = {k: v for k, v in settings.items() if v is not None}
    several = batch_members(files, reading.frames, reading.data)
    if several is not None:
        choices = BatchOptions(follow=options.follow, report=options.report, overwrite=options.overwrite)
        reconstruct_batch(several, {k: v for k, v in settings.items() if k != "frames" or reading.frames != EACH}, options.config, choices)
        return
    if options.follow:
        raise InputError("--follow is for several patterns, and this is one; leave it out")
    reconstructed(resolved(options.config, settings), options.overwrite, task=None if options.report else WITHOUT_REPORT)


def resumed(folder: Path, anew: dict[str, Any], others: dict[str, Any], task: Task | None = None) -> Reconstruction | None:
    """Go on with the run of a folder; None where it had come to its end. anew: settings of a Run that may be others than before, None where
    nothing was said. others: further options by the name that a user types, none of which may be set."""
    from untwin.config import resolved

    task = task or RECONSTRUCT
    unfinished = unfinished_options(task.command, folder, others)
    if unfinished is None:
        return None
    run = resolved(None, {**unfinished, "output": folder, **{k: v for k, v in anew.items() if v is not None}})
    return reconstructed(run, True, True, task)


def reconstructed(run: Run, overwrite: bool, resume: bool = False, task: Task | None = None) -> Reconstruction:
    """The solution of a run, its files and its report written. Raises NumericalFailure where most of its starts failed."""
    solution = perform(run, task or RECONSTRUCT, overwrite, resume)
    if solution.reason:
        raise NumericalFailure(solution.reason)
    return solution


def present(
    solution: Reconstruction,
    folder: Path,
    run: Run | None,
    strain: StrainMap | None = None,
    full_report: bool = True,
    **drawing: bool | str,
) -> None:
    """Write the report, unless it is not wanted; print the warnings, the verdict in three lines, and where everything lies. run: what was
    asked for; None where nobody knows. strain: in the laboratory. drawing: pdf, twin, flip of show.report."""
    from untwin.show.advice import advice
    from untwin.show.report import report as write_report

    for text in solution.warnings[len(solution.pattern.warnings) :]:  # those of the pattern were noted when it was read
        note(text)
    verdict, options = solution.verdict, None if run is None else run.options() | {"file": str(run.file)}
    following = advice(solution, folder, options, strain is not None)
    colour = {True: "green", False: "red", None: "yellow"}[verdict.trusted]
    say(verdict.mark, verdict.decision or verdict.text, style=f"bold {colour}")
    if verdict.decision and verdict.reasons:
        say("why", verdict.reasons)
    say("next", following.text, following.command)
    if full_report:
        say("report", str(write_report(solution, folder / "report.html", strain, options=options, **drawing)))  # pyright: ignore[reportArgumentType]
    say("results", f"{folder}/result.cxi, summary.json, run.toml" + (", figures/" if full_report else ""))


RECONSTRUCT = Task(
    present=lambda solution, folder, run: present(solution, folder, run), read=read_pattern, note=note, progress=progress.run
)
WITHOUT_REPORT = replace(RECONSTRUCT, present=lambda solution, folder, run: present(solution, folder, run, full_report=False))


def report(folder: Path, *, pdf: bool = False, twin: bool = False, flip: str = "") -> None:
    """Write report.html and figures/ again from a result folder, with the strain where untwin bragg or untwin strain has written it.

    Parameters
    ----------
    folder
        What untwin reconstruct has written.
    pdf
        Write every figure as PDF, too.
    twin
        Show the twin: the conjugate of the object, inverted, which the data cannot tell from it.
    flip
        Axes that are drawn in the other direction, such as y or yx: for a detector that was read from below. Both change the page alone,
        which says so; the stored result stays as it is.
    """
    from untwin.bragg.export import FOLDER, MAP, read_map
    from untwin.runs.archive import load

    solution, root = load(folder), folder if folder.is_dir() else folder.parent
    path = root / FOLDER / MAP
    strain = read_map(path).in_frame("laboratory") if path.is_file() else None
    present(solution, root, _run_of(root), strain, pdf=pdf, twin=twin, flip=flip)


def _run_of(folder: Path) -> Run | None:
    """What a result was made with, as its run.toml has it; None where there is none."""
    from untwin.config import resolved

    try:
        return resolved(folder / "run.toml", {})
    except InputError:
        return None


def demo(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("untwin_demo"),
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 1,
    overwrite: bool = False,
) -> None:
    """Simulate a strained crystal behind a beamstop, phase it without the answer, compare with the truth, write the report.

    Parameters
    ----------
    output
        Folder for the results. It must be new or empty.
    seed
        Which crystal, and which noise.
    overwrite
        Replace an earlier demo.
    """
    from untwin.config import Run
    from untwin.runs.archive import fresh
    from untwin.simulate.demo import write_demo

    fresh(output, overwrite)
    pattern, truth = write_demo(output, seed)
    print(f"simulated a strained crystal: {pattern} (the truth: {truth})")
    perform(Run(file=pattern, output=output), RECONSTRUCT, True)
    print_comparison(output, truth, output / "figures" / "truth.png", ("reconstruction", "truth"))
