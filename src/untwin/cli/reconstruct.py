"""untwin reconstruct, untwin demo, untwin report: phase a pattern and show what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

import untwin
from untwin.cli import progress
from untwin.cli.inspect import print_comparison
from untwin.cli.notes import note, read_pattern
from untwin.cli.reading import ReadOptions
from untwin.cli.resume import checkpointed, unfinished_options
from untwin.errors import InputError, NumericalFailure

if TYPE_CHECKING:
    import numpy as np

    from untwin.bragg.maps import StrainMap
    from untwin.config import Run
    from untwin.data.measurement import Pattern
    from untwin.runs.solution import Reconstruction
    from untwin.solve.recipe import Recipe

RESULT = 100  # bytes that a result takes for each pixel, uncompressed, with up to six modes


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions:
    """The options of untwin reconstruct.

    Parameters
    ----------
    output
        Folder for the results; by default FILE_out beside you. It must not exist.
    positivity
        The object is real and nowhere negative. Only where it is true: nothing helps more.
    sparse
        The object is real, nowhere negative, and so many of its values are not 0, such as 800, wherever they lie: atoms in a cell that
        repeats itself. Nothing has to be empty around it.
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
        auto; classical (projections alone: auto without the deep prior that it ends with where that helps); refine (always with it);
        double-dip, siren, drp (untrained networks from random numbers, with nothing known of the support).
    starts
        Independent starts.
    effort
        Factor on the work that the automatic plan may spend where its starts do not agree: 2 doubles it. By default about a minute of
        CPU at 128 x 128 pixels.
    seed
        Of all random numbers; the same seed repeats the run, and another has no start in common with it.
    device
        cpu (default), cuda or cuda:1.
    workers
        Processes on a CPU; by default all cores.
    scheduler
        Of a Dask cluster that takes the starts: tcp://host:8786, a scheduler file.json, or local (as many workers here). The same bits.
    config
        A run.toml; options given here come before it.
    resume
        Go on with a run that was cut short: the folder of its results. It ends with the bits that it would have had.
    overwrite
        Replace the results of an earlier run.
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

    def settings(self) -> dict[str, Any]:
        """The settings of a Run; None where nothing was said."""
        return {k: v for k, v in vars(self).items() if k not in ("config", "resume", "overwrite")}


def reconstruct(
    file: Path | None = None,
    *,
    reading: Annotated[ReadOptions | None, Parameter(name="*")] = None,
    options: Annotated[ReconstructOptions | None, Parameter(name="*")] = None,
) -> None:
    """Phase a far-field pattern, 2D or 3D, or several exposures of one object: the object, a verdict on it, and pictures.

    No option is needed. The folder gets result.cxi, run.toml, summary.json, report.html and figures/.

    Parameters
    ----------
    file
        The pattern: CXI, HDF5, NeXus, .npz, .npy, TIFF, EDF, CBF, .mat, PNG, JPEG, .txt or .csv, told by content; FILE::NAME for one of
        its datasets. A folder of frames, or 'scan_*.tif' in quotation marks, is a stack in the order of the numbers in the names.
    """
    options = options or ReconstructOptions()
    settings = (reading or ReadOptions()).settings(file) | options.settings()
    if options.resume is not None:
        anew = {"workers": settings.pop("workers"), "scheduler": settings.pop("scheduler")}
        others = {("FILE" if k == "file" else f"--{k}"): v for k, v in settings.items()}
        resumed(options.resume, anew, {**others, "--config": options.config, "--overwrite": options.overwrite})
        return
    from untwin.config import resolved

    reconstructed(resolved(options.config, {k: v for k, v in settings.items() if v is not None}), options.overwrite)


@dataclass(frozen=True)
class Task:
    """What a command makes of a reconstruction. command: its name, for --resume. completed: of the solution, before it is saved.
    present: shows it in its folder."""

    command: str
    completed: Callable[[Reconstruction], Reconstruction]
    present: Callable[[Reconstruction, Path], None]


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
    solution = _reconstruct(run, overwrite, resume, task or RECONSTRUCT)
    if solution.reason:
        raise NumericalFailure(solution.reason)
    return solution


def _reconstruct(run: Run, overwrite: bool, resume: bool, task: Task) -> Reconstruction:
    from untwin.data.atomic import require_writable
    from untwin.runs.archive import CHECKPOINT, fresh, save
    from untwin.runs.checkpoint import Checkpoint

    folder = fresh(run.output or Path(f"{run.stem}_out"), overwrite)
    checkpoint = Checkpoint(folder / CHECKPOINT, {"command": task.command, **run.options()})
    recipe = _recipe(run)
    pattern = read_pattern(run)
    require_writable(folder, RESULT * pattern.intensity.size)
    support = _support_from_file(run, pattern)
    problem = run.problem(pattern)
    fixed = support is not None or problem.constraint.everywhere or pattern.optics is not None
    if recipe is not None and "ShrinkWrap" not in repr(recipe) and "AreaWrap" not in repr(recipe) and not fixed:
        note("the recipe has no ShrinkWrap, so the support stays the outline of the autocorrelation")
    with checkpointed(task.command, checkpoint, folder, resume):
        with progress.iterations() as report:
            solution = untwin.reconstruct(
                problem, recipe, start=run.start or "random", method=run.method or "auto", starts=run.starts,
                effort=run.effort, seed=run.seed, support=support, workers=run.workers, scheduler=run.scheduler,
                keep_strays=run.keep_strays and recipe is None, checkpoint=checkpoint, report=report,
            )  # fmt: skip
        solution = task.completed(solution)
        save(solution, folder, True, run.table(solution.recipe))
        task.present(solution, folder)
    return solution


def _recipe(run: Run) -> Recipe | None:
    """The recipe of a run, its options checked for what does not go together. All of it before the file is read and torch is loaded."""
    from untwin.runs.names import parse

    recipe = parse(run.recipe) if run.recipe is not None else None
    run.require_readable()
    if run.start is not None:
        from untwin.solve.predict import started

        started(run.start)
    method = run.method or "auto"
    for name in ("recipe", "support", "positivity"):
        if method != "auto" and getattr(run, name) and (method, name) != ("classical", "positivity"):
            raise InputError(f"--method {method} is a plan of its own and takes no --{name}; leave one of them out")
    return recipe


def _support_from_file(run: Run, pattern: Pattern) -> np.ndarray | None:
    if run.positivity:
        from untwin.model.problem import require_real

        require_real(pattern)  # untwin.reconstruct asks the same, once torch is loaded
    if run.support is None:
        return None
    from untwin.data.object import read_support

    return read_support(run.support, pattern)


def present(solution: Reconstruction, folder: Path, strain: StrainMap | None = None) -> None:
    """Write the report; print the warnings, the verdict and where everything lies. strain: in the laboratory."""
    from untwin.show.report import report as write_report

    for text in solution.warnings[len(solution.pattern.warnings) :]:  # those of the pattern were noted when it was read
        note(text)
    mark = {True: "TRUST", False: "DO NOT TRUST", None: "CANNOT SAY"}[solution.verdict.trusted]
    print(f"{mark}: {solution.verdict.text}")
    page = write_report(solution, folder / "report.html", strain)
    print(f"results: {folder}/result.cxi (silx view), summary.json, run.toml, figures/\nreport:  {page}")


RECONSTRUCT = Task("reconstruct", lambda solution: solution, lambda solution, folder: present(solution, folder))


def report(folder: Path) -> None:
    """Write report.html and figures/ again from a result folder, with the strain where untwin bragg or untwin strain has written it.

    Parameters
    ----------
    folder
        What untwin reconstruct has written.
    """
    from untwin.bragg.export import FOLDER, MAP, read_map
    from untwin.runs.archive import load

    solution, root = load(folder), folder if folder.is_dir() else folder.parent
    path = root / FOLDER / MAP
    present(solution, root, read_map(path).in_frame("laboratory") if path.is_file() else None)


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
        Folder for the results; it must not exist.
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
    _reconstruct(Run(file=pattern, output=output), True, False, RECONSTRUCT)
    print_comparison(output, truth, output / "figures" / "truth.png", ("reconstruction", "truth"))
