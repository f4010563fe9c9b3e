"""untwin bragg, prepare, strain, geometry: from the frames of a beamline to a strain map."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from untwin.cli.notes import guesses_noted, note
from untwin.cli.reconstruct import RECONSTRUCT, present, reconstructed, resumed
from untwin.errors import InputError

if TYPE_CHECKING:
    from untwin.config import Run
    from untwin.data.measurement import Pattern
    from untwin.runs.solution import Reconstruction
    from untwin.task import Task

PATTERN = "pattern.cxi"


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What the files do not say, or say wrongly.

    Parameters
    ----------
    number
        Of the scan in the log, such as 54; 54,55,57 are repeats of one scan.
    beamline
        A row of untwin's table: 34idc, id01, p10, nanomax, cristal, sixs, id27, bm02; by default recognised.
    geometry
        A geometry.toml, for every other beamline (untwin geometry --new writes one).
    energy
        Of the photons, such as 9keV.
    distance
        From the sample to the detector, such as 500mm.
    pixel_size
        Of the detector, such as 55um.
    direct_beam
        Row and column of the direct beam, with all detector angles at 0, such as 127.5,127.5.
    flat
        File with the white field, of the frames or of the whole detector.
    dark
        File with the counts of a pixel without light.
    mask
        File with the bad pixels, nonzero = bad.
    """

    number: str | None = None
    beamline: str | None = None
    geometry: Path | None = None
    energy: str | None = None
    distance: str | None = None
    pixel_size: str | None = None
    direct_beam: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    flat: str | None = None
    dark: str | None = None
    mask: str | None = None


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How the frames become a pattern.

    Parameters
    ----------
    crop
        Frames, rows and columns to keep about the peak, such as 96,96,96; by default what carries signal.
    centre
        Frame, row and column of the Bragg peak, such as 99,126,127; by default found.
    binning
        Frames, rows and columns that become one, such as 1,2,2. By default none; in an array that is too large, an axis that is sampled
        six times or more.
    window
        First row, rows, first column, columns of the detector that the frames show, such as 0,256,0,256. By default as the log or the flat
        says.
    largest
        Voxels of the pattern, where no crop is given; by default 884736.
    keep_strays
        Mask nothing that looks like light of another crystal, and no hot pixel.
    """

    crop: str | None = None
    centre: str | None = None
    binning: str | None = None
    window: str | None = None
    largest: int | None = None
    keep_strays: bool = False


@dataclass(frozen=True, kw_only=True)
class StrainOptions:
    """How strain is shown.

    Parameters
    ----------
    voxel
        Of the laboratory and crystal frames, such as 10nm; by default the shortest step of the array.
    second
        A direction of the crystal in the laboratory, x,y,z. It lies in the plane of x and z of the crystal's frame. z is along q.
    twin
        Turn the crystal around (--no-twin: it is right as it is): one pattern cannot tell a crystal from its twin.
    limit
        Standard error of the strain above which a voxel is greyed, such as 2e-4.
    calibrated
        The direct beam was measured: 2 pi/q is a lattice spacing and not only a nominal one.
    """

    voxel: str | None = None
    second: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    twin: bool | None = None
    limit: float | None = None
    calibrated: bool = False


@dataclass(frozen=True, kw_only=True)
class PhaseOptions:
    """How the phases are found; by the automatic plan.

    Parameters
    ----------
    starts
        Independent starts.
    effort
        Factor on the work of the automatic plan: 2 doubles the number of starts.
    seed
        Of all random numbers.
    device
        cpu (default), cuda or cuda:1.
    """

    starts: int | None = None
    effort: float | None = None
    seed: int | None = None
    device: str | None = None


def bragg(
    *scans: str,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    scan: Annotated[ScanOptions | None, Parameter(name="*")] = None,
    preparing: Annotated[PrepareOptions | None, Parameter(name="*")] = None,
    phasing: Annotated[PhaseOptions | None, Parameter(name="*")] = None,
    showing: Annotated[StrainOptions | None, Parameter(name="*")] = None,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: Path | None = None,
    overwrite: bool = False,
) -> None:
    """From the frames of a rocking scan to a strain map with its error: prepare, phase, orthogonalise, strain, report, files.

    No option is needed where the beamline is in the table. The folder gets pattern.cxi, result.cxi, report.html and strain/.

    Parameters
    ----------
    scans
        A folder with frames and a log; frames by a pattern in quotation marks, with a log; FILE.h5::SCAN; a master file. Several are
        repeats of one scan, which are aligned and added up; a log among them is that of each.
    output
        Folder for the results; by default SCAN_bragg in the current folder. It must be new or empty.
    workers
        Starts that run at once on a CPU, in threads or processes; by default as many as there are cores.
    scheduler
        Of a Dask cluster that takes the starts: tcp://host:8786, a scheduler file.json, or local (as many workers here). The same bits.
    resume
        Go on with a run that was cut short: the folder of its results. Options that say how strain is shown are given again.
    overwrite
        Replace the results of an earlier run.
    """
    from untwin.config import resolved
    from untwin.runs.archive import fresh
    from untwin.runs.device import device_name

    scan, preparing = scan or ScanOptions(), preparing or PrepareOptions()
    phasing, showing = phasing or PhaseOptions(), showing or StrainOptions()
    _settings(showing)
    task = _task(showing, workers, scheduler)
    if resume is not None:
        if (resume / PATTERN).is_file() and showing.second is not None:
            from untwin.data.read import read

            _require_across(read(resume / PATTERN), showing)
        options = {**vars(scan), **vars(preparing), **vars(phasing), "output": output, "overwrite": overwrite}
        others = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        resumed(resume, {"workers": workers, "scheduler": scheduler}, {"the scan": scans or None, **others}, task)
        return
    folder = fresh(output or Path(f"{_stem(scans)}_bragg"), overwrite)
    settings = {**vars(phasing), "workers": workers, "scheduler": scheduler, "keep_strays": preparing.keep_strays or None}
    run = resolved(None, {"file": folder / PATTERN, "output": folder} | {k: v for k, v in settings.items() if v is not None})
    if run.device is not None:
        device_name(run.device)
    pattern = _prepared(scans, scan, preparing)
    _require_across(pattern, showing)
    _write(pattern, folder / PATTERN)
    reconstructed(run, True, task=task)


def _task(showing: StrainOptions, workers: int | None, scheduler: str | None) -> Task:
    """What is made of the reconstruction of a scan."""
    return replace(
        RECONSTRUCT,
        command="bragg",
        completed=lambda solution: _replicated(solution, workers, scheduler),
        present=lambda solution, folder, run: _strain(solution, folder, showing, run),
    )


def prepare(
    *scans: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path(PATTERN),
    scan: Annotated[ScanOptions | None, Parameter(name="*")] = None,
    preparing: Annotated[PrepareOptions | None, Parameter(name="*")] = None,
    overwrite: bool = False,
) -> None:
    """The frames of a rocking scan as one pattern: flat field, mask, crop and geometry, which untwin reconstruct takes.

    Parameters
    ----------
    scans
        As for untwin bragg.
    output
        The pattern, CXI.
    overwrite
        Replace a file of that name.
    """
    from untwin.data.atomic import new_file
    from untwin.data.typed import typed

    new_file(output, (".cxi", ".h5", ".hdf5"), overwrite)
    _write(_prepared(scans, scan or ScanOptions(), preparing or PrepareOptions()), output)
    print(f"{output}\nnext: untwin reconstruct {typed(output)} -o result, then: untwin strain result")


def strain(folder: Path, *, showing: Annotated[StrainOptions | None, Parameter(name="*")] = None) -> None:
    """Displacement and strain of a result, with its error: files for ParaView and numbers in FOLDER/strain, and the report again.

    Of a result without replicas of counts drawn anew these are made first, which takes a minute or so.

    Parameters
    ----------
    folder
        What untwin bragg has written, or untwin reconstruct of a pattern that untwin prepare has.
    """
    from untwin.runs.archive import load, save

    showing = showing or StrainOptions()
    _settings(showing)
    solution, root = load(folder), folder if folder.is_dir() else folder.parent
    _require_across(solution.pattern, showing)
    if "replicas" not in solution.numbers and solution.replicas is not None and len(solution.replicas):
        solution = _replicated(solution)
        save(solution, root, True)
    _strain(solution, root, showing)


def geometry(file: Path | None = None, *, new: bool = False, beamline: str = "34idc", overwrite: bool = False) -> None:
    """The beamlines that untwin knows; with --new, a geometry.toml for another one; with FILE, whether it holds together.

    Parameters
    ----------
    file
        A geometry.toml.
    new
        Write FILE, by default geometry.toml, with comments.
    beamline
        The row of the table to begin with.
    overwrite
        Replace a file of that name.
    """
    from untwin.bragg.beamlines import TABLE
    from untwin.bragg.beamlines import beamline as row_of
    from untwin.bragg.geometry_file import geometry_text, read_geometry

    if new:
        from untwin.data.atomic import atomic_write_text
        from untwin.data.typed import typed

        target = file or Path("geometry.toml")
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists; choose another name or --overwrite")
        row = row_of(beamline)
        atomic_write_text(target, geometry_text(row, next(key for key, value in TABLE.items() if value is row)))
        name = typed(target)
        print(f"{target}: fill it in, check it with untwin geometry {name}, then: untwin bragg SCAN --geometry {name}")
        return
    rows = {"": read_geometry(file).diffractometer} if file else TABLE
    for key, row in rows.items():
        print(f"{key + ': ' if key else ''}{row.name}")
        for what, circles in (("sample", row.sample), ("detector", row.detector)):
            print(f"  {what}: {', '.join(f'{c.name} {c.axis}' for c in circles) or 'fixed'}")
        print(f"  rows {row.slow}, columns {row.fast} ({row.source})")
        if row.doubt:
            print(f"  in doubt: {row.doubt}")


def _stem(scans: tuple[str, ...]) -> str:
    if not scans:
        raise InputError("no scan given; expected untwin bragg SCAN, such as a folder with frames and a log")
    name = Path(scans[0].partition("::")[0])
    return (name.name if name.is_dir() else name.stem).strip("*?[]_-. ") or "scan"


def _prepared(scans: tuple[str, ...], scan: ScanOptions, preparing: PrepareOptions) -> Pattern:
    """With every note of the scans, every guess noted and every step printed."""
    from untwin.bragg.prepare import prepare as prepared
    from untwin.bragg.reading import is_log, read_scan

    _stem(scans)
    options = {k: v for k, v in vars(scan).items() if v is not None and k != "number"}
    if scan.geometry is not None:
        from untwin.bragg.geometry_file import read_geometry

        options["geometry"] = read_geometry(scan.geometry)
    if "direct_beam" in options:
        options["direct_beam"] = _vector("direct_beam", options["direct_beam"], 2)
    how: dict[str, Any] = {"keep_strays": preparing.keep_strays}
    for name, count in (("crop", 3), ("binning", 3), ("window", 4)):
        if (text := getattr(preparing, name)) is not None:
            how[name] = tuple(int(v) for v in _vector(name, text, count, integers=True))
    if preparing.largest is not None:
        how["largest"] = preparing.largest
    if preparing.centre is not None:
        how["centre"] = _vector("centre", preparing.centre, 3)
    with guesses_noted():
        logs = [path for path in scans if is_log(path)] if len(scans) > 1 else []
        frames = [path for path in scans if path not in logs] or [logs.pop()]
        numbers = [None] if scan.number is None else [n.strip() for n in scan.number.split(",")]
        for name, values, own in (("number", numbers, numbers), ("scan", frames, [os.path.realpath(path) for path in frames])):
            if "" in values or len(set(own)) < len(own):
                raise InputError(f"{name} {', '.join(map(str, values))}: expected each once, as repeats of one scan are added up")
        repeats = [read_scan(path, *logs, number=number, **options) for path in frames for number in numbers]
        pattern = prepared(repeats, **how)
        for sentence in dict.fromkeys(sentence for repeat in repeats for sentence in repeat.notes):
            note(sentence)
    for sentence in pattern.preparation:
        print(f"  {sentence}")
    return pattern


def _write(pattern: Pattern, path: Path) -> None:
    from untwin.data.cxi import write_pattern

    write_pattern(path, pattern, process={"command": "prepare", "preparation": "\n".join(pattern.preparation)})


def _settings(showing: StrainOptions) -> dict[str, Any]:
    """Of `StrainMap.in_frame`; all of what is shown is checked. Raises InputError."""
    from untwin.checks import number_argument
    from untwin.data.units import detector_pixel

    settings: dict[str, Any] = {}
    try:
        settings["voxel"] = None if showing.voxel is None else float(detector_pixel([showing.voxel])[0])
    except InputError:
        raise InputError(f"voxel={showing.voxel}: expected one length, such as 10nm") from None
    settings["second"] = None if showing.second is None else _vector("second", showing.second, 3)
    if settings["second"] is not None and not any(settings["second"]):
        raise InputError(f"second={showing.second}: expected a direction, such as 1,0,0")
    if showing.limit is not None:
        number_argument("limit", showing.limit, 0, above=True)
    return settings


def _require_across(pattern: Pattern, showing: StrainOptions) -> None:
    """Raise InputError where the second direction is along the pattern's wave vector."""
    import numpy as np

    from untwin.bragg.frame import orientation

    second, q = _settings(showing)["second"], pattern.geometry.q
    if second is not None and q is not None:
        orientation("crystal", np.array(q), second, None)


def _replicated(solution: Reconstruction, workers: int | None = None, scheduler: str | None = None) -> Reconstruction:
    """With results of counts drawn anew, whose spread is the error of the strain; as it is where there are none to begin from."""
    from untwin.errors import NumericalFailure
    from untwin.runs.replicate import REPLICAS, replicate

    if solution.reason or solution.replicas is None or not len(solution.replicas):
        return solution
    print(f"how far the strain is known: {REPLICAS} results from counts that are drawn anew")
    try:
        return replicate(solution, seed=solution.seed, workers=workers, scheduler=scheduler)
    except NumericalFailure as failure:
        doubt = f"{failure}; the strain has no error"
        verdict = solution.verdict
        verdict = verdict.but(f"{verdict.text}; but {doubt}", doubt) if verdict.trusted else verdict
        return replace(solution, replicas=None, verdict=verdict, warnings=(*solution.warnings, doubt))


def _strain(solution: Reconstruction, folder: Path, showing: StrainOptions, run: Run | None = None) -> None:
    """Write the maps, and the report with them."""
    from untwin.bragg.export import FOLDER, write_maps
    from untwin.bragg.strain import strain as strain_of

    settings = _settings(showing)
    try:
        native = strain_of(solution, twin=showing.twin, limit=showing.limit, calibrated=showing.calibrated)
    except InputError:
        present(solution, folder, run)
        raise
    laboratory = native.in_frame("laboratory", voxel=settings["voxel"])
    crystal = native.in_frame("crystal", voxel=settings["voxel"], second=settings["second"])
    paths = write_maps(folder / FOLDER, native, laboratory, crystal)
    present(solution, folder, run, laboratory)
    for sentence in native.notes:
        print(f"  {sentence}")
    print("strain:  " + ", ".join(str(p) for p in paths))


def _vector(name: str, text: str, count: int, integers: bool = False) -> tuple[float, ...]:
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(v.is_integer() if integers else isfinite(v) for v in values):
        raise InputError(
            f"{name}={text}: expected {count} {'whole ' * integers}numbers with commas between them, such as {','.join(['1'] * count)}"
        )
    return values
