"""The command line: options -> the objects of the package -> one call. No numerics, and no torch before an input has been checked."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter, validators

import untwin
from untwin.errors import GuessWarning, InputError, NumericalFailure

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern
    from untwin.solve.ensemble import Report
    from untwin.solve.state import Solution

app = App(
    name="untwin",
    help="Phase retrieval for coherent diffraction: a pattern in, an object one may trust out.",
    version=untwin.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes: 0 done, 2 the input or an option is wrong, 3 no start came to anything, 130 interrupted."""
    try:
        app(sys.argv[1:] if arguments is None else arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _stop(str(error).strip() + "\nSee untwin --help.", 2)
    except InputError as error:
        _stop(str(error), 2)
    except NumericalFailure as error:
        _stop(str(error), 3)
    except MemoryError:
        _stop("out of memory; try --workers 1, fewer --starts or a smaller array", 2)
    except BrokenPipeError:
        sys.stderr.close()
    except KeyboardInterrupt:
        _stop("interrupted; what is complete stays, nothing is half-written", 130)
    except OSError as error:
        _stop(f"{error.strerror or error}: {error.filename or 'the file system'}; check the path, the space and the permissions", 2)


def _stop(message: str, code: int) -> None:
    print(f"untwin: {message}", file=sys.stderr)
    raise SystemExit(code)


@app.command
def reconstruct(
    file: Path | None = None,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    data: str | None = None,
    mask: str | None = None,
    centre: str | None = None,
    positivity: bool | None = None,
    support: str | None = None,
    recipe: str | None = None,
    starts: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    config: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Phase a far-field pattern, 2D or 3D: the complex object, a verdict on it, and pictures.

    No option is needed. The folder gets result.cxi, run.toml, summary.json, report.html and figures/.

    Parameters
    ----------
    file
        The pattern: .npz, .npy, CXI, HDF5, NeXus or TIFF, told by content.
    output
        Folder for the results; by default FILE_out beside you. It must not exist.
    data
        Dataset (HDF5) or array (npz) to take, where there are several.
    mask
        File or dataset with the bad pixels, nonzero = bad.
    centre
        Zero frequency in the file's pixels, slowest axis first, such as 90,128,128.5; by default found.
    positivity
        The object is real and nowhere negative. Only where it is true: nothing helps more.
    support
        File with the object's support; the automatic plan keeps it as it is.
    recipe
        Such as "3*(20*ER+180*HIO+ShrinkWrap)+20*ER"; by default the automatic plan.
    starts
        Independent random starts.
    seed
        Of the first start; the same seed repeats the run.
    device
        cpu, cuda or cuda:1; by default a GPU where there is one.
    workers
        Processes on a CPU; by default all cores.
    config
        A run.toml; options given here come before it.
    overwrite
        Replace the results of an earlier run.
    """
    from untwin.config import Run, resolved

    given = {
        "file": file, "data": data, "mask": mask, "centre": centre and centre.split(","), "positivity": positivity,
        "support": support, "recipe": recipe, "starts": starts, "seed": seed, "device": device, "workers": workers, "output": output,
    }  # fmt: skip
    run: Run = resolved(config, {k: v for k, v in given.items() if v is not None})
    _reconstruct(run, overwrite)


def _reconstruct(run: Any, overwrite: bool) -> Solution:
    from untwin.model.problem import require_real
    from untwin.solve.archive import fresh, save
    from untwin.solve.recipe import parse

    folder = fresh(run.output or Path(f"{run.file.stem}_out"), overwrite)
    plan = parse(run.recipe) if run.recipe is not None else None
    pattern = _read(run.file, run.data, run.mask, run.centre)
    if run.positivity:
        require_real(pattern)
    support = None
    if run.support is not None:
        from untwin.data.object import read_support

        support = read_support(run.support, pattern)
    if plan is not None and "ShrinkWrap" not in repr(plan) and "AreaWrap" not in repr(plan) and support is None:
        _note("the recipe has no ShrinkWrap, so the support stays the outline of the autocorrelation")
    with _progress() as show:
        solution = untwin.reconstruct(
            pattern, plan, starts=run.starts, seed=run.seed, positivity=run.positivity, support=support,
            device=run.device, workers=run.workers, report=show,
        )  # fmt: skip
    save(solution, folder, overwrite, run.table(solution.recipe))
    return _show(solution, folder)


def _show(solution: Solution, folder: Path) -> Solution:
    from untwin.show.report import report as write_report

    _say(solution)
    page = write_report(solution, folder / "report.html")
    print(f"results: {folder}/result.cxi (silx view), summary.json, run.toml, figures/\nreport:  {page}")
    return solution


def _say(solution: Solution) -> None:
    mark = {True: "TRUST", False: "DO NOT TRUST", None: "CANNOT SAY"}[solution.verdict.trusted]
    print(f"{mark}: {solution.verdict.text}")


def _read(file: Path, data: str | None = None, mask: str | None = None, centre: tuple[float, ...] | None = None) -> Pattern:
    """The pattern, with every guess said aloud."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pattern = untwin.read(file, data=data, mask=mask, centre=centre)
    for w in caught:
        if issubclass(w.category, GuessWarning):
            _note(str(w.message))
    return pattern


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on a terminal, a line every ten seconds elsewhere."""
    began, taken, lowest = time.monotonic(), 0, None

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} iterations"),
            TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task("phasing", total=None)

            def show(steps: int, r: float | None, total: int) -> None:
                nonlocal lowest
                lowest = r if lowest is None or (r is not None and r < lowest) else lowest
                text = "phasing" if lowest is None else f"phasing  R = {lowest:.3f}"
                bar.update(task, advance=steps, description=text, total=max(total, bar.tasks[0].completed + steps))

            yield show
        return

    said = began

    def tell(steps: int, r: float | None, total: int) -> None:
        nonlocal taken, lowest, said
        taken += steps
        lowest = r if lowest is None or (r is not None and r < lowest) else lowest
        if time.monotonic() - said > 10:
            said = time.monotonic()
            known = "" if lowest is None else f", R = {lowest:.3f}"
            print(f"{said - began:.0f} s: {taken:,} of about {max(total, taken):,} iterations{known}", file=sys.stderr, flush=True)

    yield tell


@app.command
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
    from untwin.simulate.demo import write_demo
    from untwin.solve.archive import fresh

    fresh(output, overwrite)
    pattern, truth = write_demo(output, seed)
    print(f"simulated a strained crystal: {pattern} (the truth: {truth})")
    _reconstruct(Run(file=pattern, output=output), True)
    _compare(output, truth, output / "figures" / "truth.png", ("reconstruction", "truth"))


@app.command
def inspect(
    file: Path,
    *,
    data: str | None = None,
    mask: str | None = None,
    centre: str | None = None,
    picture: Path | None = None,
) -> None:
    """Say what is in a file and what untwin would make of it.

    Parameters
    ----------
    file
        The pattern.
    data
        Dataset (HDF5) or array (npz) to take.
    mask
        File or dataset with the bad pixels, nonzero = bad.
    centre
        Zero frequency in the file's pixels, such as 40,40.5; by default found.
    picture
        Draw the pattern into this PNG.
    """
    from untwin.config import resolved
    from untwin.data.centre import REAL

    _drawable(picture)
    given = {"file": file, "data": data, "mask": mask, "centre": centre and centre.split(",")}
    run = resolved(None, {k: v for k, v in given.items() if v is not None})
    pattern = _read(run.file, run.data, run.mask, run.centre)
    source, bad = pattern.source, int((~pattern.measured).sum())
    at = ", ".join(f"{c:g}" for c in source.centre or ())
    rows = [
        ("file", f"{file}" + (f" :: {source.dataset}" if source.dataset else "")),
        ("shape", " x ".join(map(str, source.shape or pattern.shape)) + f", used as {' x '.join(map(str, pattern.shape))}"),
        ("photons", f"{pattern.photons:.3g} in all, {float(pattern.intensity.max()):,.0f} in the brightest pixel"),
        ("not measured", f"{bad:,} pixels ({100 * bad / pattern.measured.size:.3g} %)"),
        ("centre", f"({at}) in the file's pixels"),
    ]
    if pattern.asymmetry < REAL:
        rows.append(("symmetry", f"its own mirror image (asymmetry {pattern.asymmetry:.2g}): the object is real, try --positivity"))
    elif pattern.asymmetry == pattern.asymmetry:
        rows.append(("symmetry", f"not its own mirror image (asymmetry {pattern.asymmetry:.2g}): the object is complex"))
    g = pattern.geometry
    if g.wavelength:
        rows.append(("wavelength", f"{g.wavelength * 1e10:.4g} angstrom"))
    if pattern.voxel_size:
        rows.append(("object pixel", " x ".join(f"{v * 1e9:.3g}" for v in pattern.voxel_size) + " nm"))
    for name, text in rows:
        print(f"{name:>13}  {text}")
    print(f"{'next':>13}  untwin reconstruct {file}" + (" --positivity" if pattern.asymmetry < REAL else ""))
    if picture:
        from untwin.show.figures import plot_pattern

        picture.parent.mkdir(parents=True, exist_ok=True)
        plot_pattern(pattern).savefig(picture, dpi=120)
        print(f"{'picture':>13}  {picture}")


def _drawable(picture: Path | None) -> None:
    if picture and picture.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"cannot draw into {picture}; expected a name that ends in .png (or .pdf, .svg)")


@app.command
def compare(
    a: Path,
    b: Path,
    *,
    picture: Annotated[Path | None, Parameter(name=["--picture", "-o"])] = None,
) -> None:
    """Align two objects (shift, twin, global phase) and say how far apart they are.

    Parameters
    ----------
    a
        A result folder, a result.cxi, or an .npy or .npz with a complex object.
    b
        The same; a is moved onto it.
    picture
        Draw both, aligned, into this PNG.
    """
    _compare(a, b, picture, (a.name, b.name))


def _compare(a: Path, b: Path, picture: Path | None, names: tuple[str, str]) -> None:
    from untwin.data.object import read_object

    _drawable(picture)
    first, second = (read_object(p / "result.cxi" if p.is_dir() else p) for p in (a, b))
    if first.image.shape != second.image.shape:
        raise InputError(f"{a} holds an object of shape {first.image.shape}, {b} of {second.image.shape}; expected the same")
    from untwin.judge.compare import compared

    c = compared(first.image, second.image)
    turned = "the twin, turned" if c.turned else "not turned"
    print(f"error after alignment {c.error:.4f} (correlation {c.correlation:.4f}, {turned}); phase differs by {c.phase_rms:.3f} rad rms")
    print(f"Fourier shell correlation above 0.5 up to {0.5 if c.fsc.crossing is None else c.fsc.crossing:.3f} cycles per pixel")
    if picture:
        from untwin.show.figures import compare_figure

        picture.parent.mkdir(parents=True, exist_ok=True)
        compare_figure(c.moved, second.image, second.voxel_size or first.voxel_size, names).savefig(picture, dpi=120)
        print(f"picture: {picture}")


@app.command
def report(folder: Path) -> None:
    """Write report.html and figures/ again from a result folder.

    Parameters
    ----------
    folder
        What untwin reconstruct has written.
    """
    from untwin.solve.archive import load

    _show(load(folder), folder if folder.is_dir() else folder.parent)


@app.command
def doctor() -> None:
    """Say what this machine offers, and what would help."""
    from untwin.doctor import findings

    for name, text in findings():
        print(f"{name:>18}  {text}")
