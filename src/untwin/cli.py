"""The command line: options -> the objects of the package -> one call. No numerics, and no torch before an input has been checked."""

from __future__ import annotations

import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter, validators

import untwin
from untwin.errors import CheckpointWarning, GuessWarning, InputError, NumericalFailure, WorkerLost

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern
    from untwin.runs.checkpoint import Checkpoint
    from untwin.runs.solution import Reconstruction
    from untwin.runs.stages.plan import Report

app = App(
    name="untwin",
    help="Phase retrieval for coherent diffraction: a pattern in, an object one may trust out.\n\n"
    "Exit codes: 0 done, 2 the input or an option is wrong, 3 no start came to anything, 70 a bug in untwin, 130 interrupted. "
    "With --debug, any command shows the traceback of an error.",
    version=untwin.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


BUG = 70  # the exit code of what nobody has foreseen
RESULT = 100  # bytes that a result takes for each pixel, uncompressed, with up to six modes


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes: 0 done, 2 the input or an option is wrong, 3 no start came to anything, or too few, 70 a bug in untwin,
    130 interrupted. With --debug anywhere, a traceback before the message."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _signals(), warnings.catch_warnings():
        warnings.showwarning = _warned(warnings.showwarning)
        warnings.simplefilter("always", CheckpointWarning)
        _run([a for a in arguments if a != "--debug"], "--debug" in arguments)


def _run(arguments: list[str], debug: bool) -> None:
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        _ended(error)
    except KeyboardInterrupt as asked:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it is heard
        _stop(f"interrupted; {str(asked) or 'what is complete stays, nothing is half-written'}", 130)


def _ended(error: Exception) -> None:
    """The one message and the exit code of what went wrong."""
    try:
        raise error
    except CycloptsError as error:
        _stop(str(error).strip() + "\nSee untwin --help.", 2)
    except InputError as error:
        _stop(str(error), 2)
    except NumericalFailure as error:
        _stop(str(error), 3)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _stop(f"{error.strerror or error}: {error.filename or 'the file system'}; check the path, the space and the permissions", 2)
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError":  # torch's
            _stop("out of memory; try --workers 1, fewer --starts or a smaller array", 2)
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        _stop(f"this is a bug in untwin ({what}); run the command again with --debug and report what it says", BUG)


def _stop(message: str, code: int) -> None:
    print(f"untwin: {message}", file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM is heard as Ctrl-C is: by a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _warned(show: Callable[..., None]) -> Callable[..., None]:
    """How a warning is shown: one about checkpoints as a note."""

    def shown(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CheckpointWarning):
            _note(str(message))
        else:
            show(message, category, *where, **more)

    return shown


@contextmanager
def _kept(command: str, kept: Checkpoint, folder: Path, resume: bool) -> Iterator[None]:
    """Inside, an interruption says how to go on, where anything is kept. That goes when the block is done, or has failed for good."""
    if not resume:
        kept.clear()
    try:
        yield
    except (KeyboardInterrupt, WorkerLost) as error:
        if not kept.begun():
            raise
        how = f"what is done is kept; go on with: untwin {command} --resume {folder}"
        raise type(error)("; ".join([*map(str, error.args), how])) from None
    except (InputError, NumericalFailure) as error:
        if isinstance(error, NumericalFailure) or not (resume or kept.done()):
            kept.clear()
            with suppress(OSError):
                folder.rmdir()  # if there is nothing in it
        raise
    kept.clear()


def _resumed(command: str, folder: Path, given: dict[str, Any]) -> dict[str, Any] | None:
    """The options of the run that a folder holds unfinished; None where it is finished, and that is said."""
    from untwin.runs.archive import CHECKPOINT, unfinished
    from untwin.runs.checkpoint import told

    other = next((name for name, value in given.items() if value is not None and value is not False), None)
    if other:
        raise InputError(f"--resume takes everything from {folder}; leave {other} out")
    if not unfinished(folder):
        if (folder / "summary.json").exists():
            print(f"{folder} holds a finished run; nothing to do")
            return None
        raise InputError(f"no run in {folder} to go on with; begin with: untwin {command} FILE -o {folder}")
    found = told(folder / CHECKPOINT)
    if found is None or found["options"].get("command") != command:
        what = "nothing" if found is None else f"a run of untwin {found['options'].get('command')}"
        raise InputError(f"{folder} holds {what} to go on with; begin anew with --overwrite")
    return {k: v for k, v in found["options"].items() if k != "command"}


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
    start: str | None = None,
    method: str | None = None,
    starts: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    config: Path | None = None,
    resume: Path | None = None,
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
    start
        random, or predict (predict:MODEL): a trained network gives every second start its object and its support; the others stay
        random, so that agreement is evidence.
    method
        auto; classical (projections alone: auto without the deep prior that it ends with where that helps); refine (always with it);
        double-dip, siren, drp (untrained networks from random numbers, with nothing known of the support).
    starts
        Independent starts.
    seed
        Of the first start; the same seed repeats the run.
    device
        cpu (default), cuda or cuda:1.
    workers
        Processes on a CPU; by default all cores.
    config
        A run.toml; options given here come before it.
    resume
        Go on with a run that was cut short: the folder of its results. It ends with the bits that it would have had.
    overwrite
        Replace the results of an earlier run.
    """
    from untwin.config import Run, resolved

    given = {
        "file": file, "data": data, "mask": mask, "centre": centre and centre.split(","), "positivity": positivity,
        "support": support, "recipe": recipe, "start": start, "method": method, "starts": starts, "seed": seed, "device": device,
        "workers": workers, "output": output,
    }  # fmt: skip
    if resume is None:
        run: Run = resolved(config, {k: v for k, v in given.items() if v is not None})
        _complete(_reconstruct(run, overwrite))
        return
    named = {("FILE" if k == "file" else f"--{k}"): v for k, v in given.items() if k != "workers"}
    options = _resumed("reconstruct", resume, {**named, "--config": config, "--overwrite": overwrite})
    if options is not None:
        run = resolved(None, {**options, "output": resume, **({"workers": workers} if workers else {})})
        _complete(_reconstruct(run, True, resume=True))


def _complete(solution: Reconstruction) -> None:
    if solution.reason:
        raise NumericalFailure(solution.reason)


def _reconstruct(run: Any, overwrite: bool, resume: bool = False) -> Reconstruction:
    from untwin.data.atomic import require_writable
    from untwin.model.problem import require_real
    from untwin.runs.archive import CHECKPOINT, fresh, save
    from untwin.runs.checkpoint import Checkpoint
    from untwin.runs.names import parse

    folder = fresh(run.output or Path(f"{run.file.stem}_out"), overwrite)
    kept = Checkpoint(folder / CHECKPOINT, {"command": "reconstruct", **run.options()})
    plan = parse(run.recipe) if run.recipe is not None else None
    if run.start is not None:
        from untwin.solve.predict import started

        started(run.start)
    method = run.method or "auto"
    for name in ("recipe", "support", "positivity"):
        if method != "auto" and getattr(run, name) and (method, name) != ("classical", "positivity"):
            raise InputError(f"--method {method} is a plan of its own and takes no --{name}; leave one of them out")
    pattern = _read(run.file, run.data, run.mask, run.centre)
    require_writable(folder, RESULT * pattern.intensity.size)
    if run.positivity:
        require_real(pattern)
    support = None
    if run.support is not None:
        from untwin.data.object import read_support

        support = read_support(run.support, pattern)
    if plan is not None and "ShrinkWrap" not in repr(plan) and "AreaWrap" not in repr(plan) and support is None:
        _note("the recipe has no ShrinkWrap, so the support stays the outline of the autocorrelation")
    with _kept("reconstruct", kept, folder, resume):
        with _progress() as show:
            solution = untwin.reconstruct(
                pattern, plan, start=run.start or "random", method=method, starts=run.starts, seed=run.seed, positivity=run.positivity,
                support=support, device=run.device, workers=run.workers, checkpoint=kept, report=show,
            )  # fmt: skip
        save(solution, folder, True, run.table(solution.recipe))
        _show(solution, folder)
    return solution


def _show(solution: Reconstruction, folder: Path) -> Reconstruction:
    from untwin.show.report import report as write_report

    _say(solution)
    page = write_report(solution, folder / "report.html")
    print(f"results: {folder}/result.cxi (silx view), summary.json, run.toml, figures/\nreport:  {page}")
    return solution


def _say(solution: Reconstruction) -> None:
    for text in solution.warnings[len(solution.pattern.warnings) :]:  # those of the pattern were said when it was read
        _note(text)
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
def _progress(doing: str = "phasing", figure: str = "R") -> Iterator[Report]:
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
            task = bar.add_task(doing, total=None)

            def show(steps: int, r: float | None, total: int) -> None:
                nonlocal lowest
                lowest = r if lowest is None or (r is not None and r < lowest) else lowest
                text = doing if lowest is None else f"{doing}  {figure} = {lowest:.3g}"
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
            known = "" if lowest is None else f", {figure} = {lowest:.3g}"
            print(f"{said - began:.0f} s: {taken:,} of about {max(total, taken):,} iterations{known}", file=sys.stderr, flush=True)

    yield tell


@app.command
def restore(
    image: Path | None = None,
    *,
    task: str | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    mask: Path | None = None,
    factor: str | None = None,
    kernel: Path | None = None,
    sampling: Path | None = None,
    prior: str | None = None,
    noise: str | None = None,
    stop: str | None = None,
    steps: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=1_000_000))] = None,
    seed: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    device: str | None = None,
    resume: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Restore a picture with an untrained network that knows when to stop: PNG, TIFF or .npy, grey or colour.

    The folder gets result.png, result.npy, summary.json and report.html.

    Parameters
    ----------
    image
        The picture; for mri complex k-space as .npy (height, width) or (coils, height, width), zero frequency in the middle.
    task
        denoise (by default), inpaint (with --mask), superres (--factor), deblur (--kernel) or mri.
    output
        Folder for the results; by default IMAGE_restored beside you. It must not exist.
    mask
        File with the pixels of which nothing is known, nonzero = unknown.
    factor
        How many times more pixels along each axis.
    kernel
        File with the blur, centred, no larger than the image.
    sampling
        File with the coefficients of k-space that were measured, nonzero = measured; by default those that are not 0.
    prior
        drp (deep random projector, fast, by default) or dip (deep image prior).
    noise
        gaussian (by default), impulse, shot or speckle: which loss suits it.
    stop
        A rule, such as "EMV(patience=300)" or "WMV"; by default EMV for drp, HeldOut for dip.
    steps
        At most; by default 5000.
    seed
        Of the network, by default 0; the same seed repeats the run.
    device
        cpu (by default), cuda or cuda:1.
    resume
        Go on with a run that was cut short: the folder of its results. It ends with the bits that it would have had.
    overwrite
        Replace the results of an earlier run.
    """
    given: dict[str, Any] = {
        "image": image, "task": task, "mask": mask, "factor": factor, "kernel": kernel, "sampling": sampling, "prior": prior,
        "noise": noise, "stop": stop, "steps": steps, "seed": seed, "device": device,
    }  # fmt: skip
    if resume is not None:
        named = {("IMAGE" if k == "image" else f"--{k}"): v for k, v in given.items()}
        options = _resumed("restore", resume, {**named, "--output": output, "--overwrite": overwrite})
        if options is not None:
            taken = {k: v for k, v in options.items() if not k.endswith("_sha256")}
            paths = {k: Path(taken[k]) for k in ("image", "mask", "kernel", "sampling") if taken[k] is not None}
            _restore(resume, **{**taken, **paths}, resume=True)
        return
    if image is None:
        raise InputError("no picture given; expected untwin restore IMAGE")
    from untwin.runs.archive import fresh

    folder = fresh(output or Path(f"{image.stem}_restored"), overwrite)
    usual: dict[str, Any] = {"task": "denoise", "prior": "drp", "noise": "gaussian", "steps": 5000, "seed": 0, "device": "cpu"}
    given |= {k: v for k, v in usual.items() if given[k] is None}
    _restore(folder, **given)


def _restore(
    folder: Path, *, image: Path, task: str, mask: Path | None, factor: str | None, kernel: Path | None, sampling: Path | None, prior: str,
    noise: str, stop: str | None, steps: int, seed: int, device: str, resume: bool = False,
) -> None:  # fmt: skip
    import numpy as np

    from untwin.data.atomic import sha256
    from untwin.data.image import Image, read_array, read_image, read_plane
    from untwin.runs.archive import CHECKPOINT, save_restored
    from untwin.runs.checkpoint import Checkpoint
    from untwin.runs.names import parse_rule
    from untwin.runs.tasks import job

    options = {
        "command": "restore", "task": task, "factor": factor, "prior": prior, "noise": noise, "stop": stop, "steps": steps, "seed": seed,
        "device": device,
    }  # fmt: skip
    files = {"image": image, "mask": mask, "kernel": kernel, "sampling": sampling}
    options |= {name: None if path is None else str(path.absolute()) for name, path in files.items()}
    kept = Checkpoint(folder / CHECKPOINT, options)
    rule = parse_rule(stop) if stop is not None else None
    planes = {"mask": mask, "kernel": kernel, "sampling": sampling}
    read = {name: read_plane(path, f"the {name}") for name, path in planes.items() if path is not None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given = Image(np.empty(0))
        if task == "mri" and image.suffix == ".npy" and np.iscomplexobj(a := read_array(image, "the image")):
            if a.ndim not in (2, 3):
                raise InputError(f"{image} has shape {a.shape}; expected k-space (height, width) or (coils, height, width)")
            if not np.isfinite(a).all():
                raise InputError(f"{image} holds NaN or infinity; replace them by 0, which means not measured")
            values = a if a.ndim == 3 else a[None]
        else:
            given = read_image(image)
            values = given.values
    for w in caught:
        if issubclass(w.category, GuessWarning):
            _note(str(w.message))
    planned = job(values, task, prior, noise, rule, factor=_factor(factor), **read)
    options |= {f"{name}_sha256": sha256(path) for name, path in files.items() if path is not None}
    with _kept("restore", kept, folder, resume):
        with _progress("restoring", "statistic") as show:
            result = planned.run(seed, steps, device, show, kept)
        scale, offset = (1.0, 0.0) if task == "mri" else (given.scale, given.offset)
        save_restored(result, folder, scale, offset, options)
        from untwin.show.restored import restored_page

        page = restored_page(result, folder / "report.html", image.name)
    n = result.numbers
    for text in result.warnings:
        _note(text)
    print(f"restored: stopped after {n['steps']:.0f} steps, the image is that of step {n['best_at']:.0f}; {n['seconds']:.1f} s")
    print(f"results: {folder}/result.png, result.npy, summary.json\nreport:  {page}")


def _factor(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise InputError(f"--factor {text}: expected a whole number from 2 to 16") from None


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
    from untwin.runs.archive import fresh
    from untwin.simulate.demo import write_demo

    fresh(output, overwrite)
    pattern, truth = write_demo(output, seed)
    print(f"simulated a strained crystal: {pattern} (the truth: {truth})")
    _reconstruct(Run(file=pattern, output=output), True)
    _compare(output, truth, output / "figures" / "truth.png", ("reconstruction", "truth"))


simulate = App(name="simulate", help="Make crystals, their patterns and the truth: one measurement, or a data set of any size.")
app.command(simulate)


@simulate.command(name="crystal")
def simulate_crystal(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("crystal.cxi"),
    truth: Path | None = None,
    size: str | None = None,
    dislocations: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    faults: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    photons: float | None = None,
    beamstop: float | None = None,
    oversampling: float | None = None,
    recipe: str | None = None,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    index: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    overwrite: bool = False,
) -> None:
    """Write one measurement, which untwin reconstruct takes as any other, and the truth into a file of its own.

    Parameters
    ----------
    output
        The measurement, CXI: counts, mask.
    truth
        The object and its support, CXI, for untwin compare; by default OUTPUT_truth.cxi.
    size
        Pixels per axis, slowest first, such as 64,64 or 64,64,64; by default 64,64 or the recipe's.
    dislocations
        How many, visible ones; by default none.
    faults
        Planar faults; by default none.
    photons
        Expected in all on the measured pixels; by default 3e7.
    beamstop
        Radius of the beamstop, pixels; by default none.
    oversampling
        Array over object along each axis; by default 2.5.
    recipe
        A recipe of a data set instead of the options above (except --size): crystals-2d, crystals-3d, cdi-nn, cells, textures,
        a regime such as crystals-2d/strong-phase, or a recipe's text.
    seed
        Which crystal, and which noise.
    index
        Which sample of this recipe and seed: --recipe R --seed S --index I is sample I of that data set.
    overwrite
        Replace files of these names.
    """
    from untwin.data.atomic import new_file
    from untwin.simulate.crystals import crystal, simulation

    truth = truth or output.with_name(f"{output.stem}_truth.cxi")
    if output.absolute() == truth.absolute():
        raise InputError(f"{output} cannot hold both the measurement and the truth; expected two names")
    for path in (output, truth):
        new_file(path, (".cxi", ".h5", ".hdf5"), overwrite)
    options = {"dislocations": dislocations, "faults": faults, "photons": photons, "beamstop": beamstop, "oversampling": oversampling}
    given = {name: value for name, value in options.items() if value is not None}
    if recipe is not None and given:
        raise InputError(f"--recipe says it all; leave --{next(iter(given))} out, or leave --recipe out")
    shape = _size(size)
    if recipe is None:
        made = crystal(shape or (64, 64), **given)
    else:
        made = simulation(recipe, **({"shape": shape} if shape else {}))
    from untwin.data.cxi import write_object, write_pattern
    from untwin.data.dataset import simulated

    drawn = made.draw(seed, [index])
    pattern = simulated(drawn.intensity[0].numpy(), drawn.measured[0].numpy())
    origin = {"recipe": repr(made), "seed": seed, "index": index}
    write_object(truth, image=drawn.image[0].numpy(), support=drawn.support[0].numpy(), process={**origin, "labels": drawn.labels[0]})
    write_pattern(output, pattern, process=origin)
    hidden = int((~pattern.measured).sum())
    print(f"simulated: {output}  {' x '.join(map(str, pattern.shape))}, {pattern.photons:.3g} photons, {hidden:,} pixels not measured")
    print(f"the truth: {truth}")
    print(f"next: untwin reconstruct {output}; untwin compare {output.stem}_out {truth}")


def _size(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(n) for n in text.split(","))
    except ValueError:
        raise InputError(f"--size {text}: expected whole numbers, slowest axis first, such as 64,64 or 64,64,64") from None


@simulate.command(name="dataset")
def simulate_dataset(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    recipe: str = "crystals-2d",
    count: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 100_000,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    size: str | None = None,
    objects: bool = True,
    shard: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    workers: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=1024))] = None,
) -> None:
    """Write a data set: manifest.json and shards of HDF5. After a kill at any moment, the same command goes on where it stopped.

    Sample i is a function of recipe, seed and i; the bytes do not depend on the workers.
    untwin simulate crystal --recipe R --seed S --index I writes sample I alone, as CXI.

    Parameters
    ----------
    output
        Folder of the data set: new, empty, or one to go on with.
    recipe
        crystals-2d, crystals-3d, cdi-nn, cells, textures, a regime such as crystals-2d/strong-phase, or a recipe's text.
    count
        Samples.
    seed
        The same seed makes the same data set.
    size
        Pixels per axis, such as 64,64; by default the recipe's.
    objects
        Write the objects and supports as well, not only patterns, masks and labels.
    shard
        Samples per file; by default 1024, fewer where they are large.
    workers
        Processes; by default all cores.
    """
    from untwin.processes import cores
    from untwin.simulate.crystals import simulation
    from untwin.simulate.dataset import planned, write

    shape = _size(size)
    made = simulation(recipe, **({"shape": shape} if shape else {}))
    asked = made if shape and repr(made) != repr(simulation(recipe)) else recipe
    manifest = planned(output, asked, seed, count, shard=shard, objects=objects)
    if (output / "manifest.json").exists() and not manifest.missing(output):
        print(f"{output} is complete: {count:,} samples in {_shards(manifest.shards)}; nothing to do")
        return
    try:
        with _samples() as show:
            write(output, asked, seed, count, shard=shard, workers=workers or cores(), objects=objects, report=show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("complete shards stay; the same command goes on") from None
    print(f"{output}: {count:,} samples of {' x '.join(map(str, manifest.shape))} in {_shards(manifest.shards)}")
    print(f"next: untwin inspect {output}")


def _shards(n: int) -> str:
    return f"{n:,} shard" + ("s" if n != 1 else "")


@contextmanager
def _samples() -> Iterator[Callable[[int, int], None]]:
    """How many samples are there: a bar on a terminal, a line every ten seconds elsewhere."""
    began, first, said = time.monotonic(), 0, 0.0

    def rate(done: int) -> float:
        return (done - first) / max(time.monotonic() - began, 1e-9)

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("samples"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}  {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        with bar:

            def show(done: int, total: int) -> None:
                nonlocal first, began
                if not bar.tasks:
                    first, began = done, time.monotonic()
                    bar.add_task("", total=total, completed=done, rate=0.0)
                else:
                    bar.update(bar.tasks[0].id, completed=done, rate=rate(done))

            yield show
        return

    def tell(done: int, total: int) -> None:
        nonlocal first, began, said
        if not said:
            first, began, said = done, time.monotonic(), time.monotonic()
            if done:
                _note(f"{done:,} of {total:,} samples are there already")
        elif time.monotonic() - said > 10:
            said = time.monotonic()
            left = (total - done) / max(rate(done), 1e-9)
            text = f"{said - began:.0f} s: {done:,} of {total:,} samples, {rate(done):,.0f} per second, {left:,.0f} s left"
            print(text, file=sys.stderr, flush=True)

    yield tell


@app.command
def inspect(
    file: Path,
    *,
    data: str | None = None,
    mask: str | None = None,
    centre: str | None = None,
    picture: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Say what is in a file and what untwin would make of it; of a data set, what it is, with a contact sheet.

    Parameters
    ----------
    file
        The pattern, or the folder of a data set.
    data
        Dataset (HDF5) or array (npz) to take.
    mask
        File or dataset with the bad pixels, nonzero = bad.
    centre
        Zero frequency in the file's pixels, such as 40,40.5; by default found.
    picture
        Draw the pattern into this PNG; of a data set, the contact sheet: without it, into contact.png in its folder.
    overwrite
        Replace a picture of this name.
    """
    from untwin.config import resolved
    from untwin.data.centre import REAL
    from untwin.data.dataset import is_dataset

    _drawable(picture, overwrite)
    if is_dataset(file):
        _inspect_dataset(file, picture)
        return
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
        from untwin.show.figures import plot_pattern, save_figure

        save_figure(plot_pattern(pattern), picture)
        print(f"{'picture':>13}  {picture}")


def _inspect_dataset(folder: Path, picture: Path | None) -> None:
    from untwin.data.dataset import Shards, read_manifest

    m = read_manifest(folder)
    missing = m.missing(folder)
    shape = " x ".join(map(str, m.shape))
    complete = f"{m.shards:,}, complete" if not missing else f"{m.shards - len(missing):,} of {m.shards:,}"
    rows = [
        ("data set", str(folder)),
        ("recipe", m.recipe if m.recipe == m.text else f"{m.recipe}: {m.text}"),
        ("samples", f"{m.count:,} of {shape}, seed {m.seed}" + ("" if m.objects else ", without objects")),
        ("shards", f"{complete}, {m.shard:,} samples each"),
        ("made with", ", ".join(f"{name} {version}" for name, version in m.versions.items())),
    ]
    if missing:
        rows.append(("go on with", m.command(folder)))
    for name, text in rows:
        print(f"{name:>13}  {text}")
    if missing:
        return
    from untwin.show.contact import contact_sheet
    from untwin.show.figures import save_figure

    shards = Shards(folder)
    n = min(m.count, 24 if len(m.shape) == 2 else 12)
    planes = "" if len(m.shape) == 2 else ": the planes z, y, x through the middle"
    title = f"samples 0 to {n - 1} of {m.count:,}, {shape}, seed {m.seed}{planes}"
    place = picture or folder / "contact.png"
    save_figure(contact_sheet([shards[i] for i in range(n)], (m.recipe if len(m.recipe) < 40 else "a recipe") + "  " + title), place)
    print(f"{'picture':>13}  {place}")


def _drawable(picture: Path | None, overwrite: bool) -> None:
    from untwin.data.atomic import new_file

    if picture:
        new_file(picture, (".png", ".pdf", ".svg"), overwrite)


@app.command
def compare(
    a: Path,
    b: Path,
    *,
    picture: Annotated[Path | None, Parameter(name=["--picture", "-o"])] = None,
    overwrite: bool = False,
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
    overwrite
        Replace a picture of this name.
    """
    _drawable(picture, overwrite)
    _compare(a, b, picture, (a.name, b.name))


def _compare(a: Path, b: Path, picture: Path | None, names: tuple[str, str]) -> None:
    from untwin.data.object import read_object

    first, second = (read_object(p / "result.cxi" if p.is_dir() else p) for p in (a, b))
    if first.image.shape != second.image.shape:
        raise InputError(f"{a} holds an object of shape {first.image.shape}, {b} of {second.image.shape}; expected the same")
    from untwin.judge.compare import compared

    c = compared(first.image, second.image)
    turned = "the twin, turned" if c.turned else "not turned"
    print(f"error after alignment {c.error:.4f} (correlation {c.correlation:.4f}, {turned}); phase differs by {c.phase_rms:.3f} rad rms")
    print(f"Fourier shell correlation above 0.5 up to {0.5 if c.fsc.crossing is None else c.fsc.crossing:.3f} cycles per pixel")
    if picture:
        from untwin.show.figures import compare_figure, save_figure

        save_figure(compare_figure(c.moved, second.image, second.voxel_size or first.voxel_size, names), picture)
        print(f"picture: {picture}")


@app.command
def report(folder: Path) -> None:
    """Write report.html and figures/ again from a result folder.

    Parameters
    ----------
    folder
        What untwin reconstruct has written.
    """
    from untwin.runs.archive import load

    _show(load(folder), folder if folder.is_dir() else folder.parent)


@app.command
def doctor() -> None:
    """Say what this machine offers, and what would help."""
    from untwin.doctor import findings

    for name, text in findings():
        print(f"{name:>18}  {text}")


@app.command
def train(
    model: str,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    data: str | None = None,
    steps: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 20_000,
    batch: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65_536))] = 64,
    objective: str = "invariant",
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    rate: float = 1e-3,
    start: Annotated[str, Parameter(name="--from")] = "",
    check: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 500,
    held: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 512,
    device: str | None = None,
    resume: bool = False,
) -> None:
    """Train a network on simulated patterns; with --resume, go on after a kill: on a CPU the result has the same bits.

    The folder gets checkpoint.safetensors, weights.safetensors (untwin predict --model takes it), card.md and report.html with the curves.
    Several processes: torchrun --nproc-per-node 2 -m untwin train ... (--batch is divided among them).

    Parameters
    ----------
    model
        cdi-nn (32 x 32 patterns), cdi-nn-64 (64 x 64), volume (64 x 64 x 64), or an architecture's text, such as "Volume(form=32)".
    output
        Folder of the run: new or empty, or with --resume one to go on with.
    data
        A recipe of samples drawn on the fly (cdi-nn, cdi-nn-64, crystals-2d, ... or a recipe's text), or the folder of a data set; by
        default the model's own recipe.
    steps
        Of the optimiser; samples seen = steps x batch.
    batch
        Samples in a step.
    objective
        supervised, canonical (one of each object's symmetric copies), invariant (the nearest of them), or passive (the pattern alone).
    seed
        Of weights and samples.
    rate
        The highest learning rate; reached after 200 steps (a tenth of the run if this is less), then down along a cosine.
    start
        Go on from the weights of a model, by its name (cdi-nn) or file, instead of random ones: on data of your own, or for
        longer, with another --seed (the same would draw the same samples again).
    check
        Steps between checkpoints, each with a validation.
    held
        Samples of the validation, which are never trained on.
    device
        cpu, cuda or cuda:1; by default a GPU where there is one.
    resume
        Go on from the folder's checkpoint.
    """
    from untwin.data.atomic import atomic_write_text, require_writable
    from untwin.data.dataset import is_dataset
    from untwin.learn.pairs import VALIDATION, Fresh, Stored
    from untwin.learn.train import CHECKPOINT, WEIGHTS, Training, Worker, begun
    from untwin.model.networks.architecture import MODELS, architecture
    from untwin.simulate.crystals import simulation

    of = architecture(model)
    wanted = data or MODELS.get(model, "")
    if not wanted:
        raise InputError(f"--data is needed with {model}: a recipe, or the folder of a data set")
    written_out = "(" in wanted  # a recipe's text, which no path is
    stored = Path(wanted) if not written_out and is_dataset(Path(wanted)) else None
    if stored is None and not written_out and Path(wanted).is_dir():
        raise InputError(f"{wanted} is a folder without manifest.json; expected a data set that untwin simulate dataset has written")
    shape = Stored(stored).shape if stored else simulation(wanted).shape
    run = Training(
        architecture=repr(of), data=wanted, objective=objective, steps=steps, batch=batch, seed=seed, rate=rate,
        rising=min(200, max(1, steps // 10)), warm=0 if start else steps // 5, check=check, held=held, start=start,
    )  # fmt: skip
    if shape != of.shape:
        raise InputError(f"{model} takes patterns of {of.shape}, {wanted} has {shape}; choose another --data or model")
    require_writable(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; expected a folder for the run")
    if not resume and output.exists() and any(output.iterdir()):
        more = "add --resume to go on, or choose" if begun(output) else "choose"
        raise InputError(f"{output} is not empty; {more} another folder")
    if resume and not begun(output):
        raise InputError(f"no {CHECKPOINT} in {output}; leave --resume out to begin")
    if stored is not None and not Stored(stored).shards.manifest.objects:
        raise InputError(f"{stored} holds no objects, which training and validation need; write it again without --no-objects")
    import torch

    from untwin.learn.train import train
    from untwin.model.networks import weights
    from untwin.show.learning import card_text, training_report
    from untwin.simulate.dataset import Crystals

    pairs = Stored(stored, seed) if stored else Fresh(Crystals(wanted, seed, 2**62), Crystals(wanted, seed + VALIDATION, 2**62))
    worker = Worker()
    chosen = device or (f"cuda:{worker.local}" if torch.cuda.is_available() else "cpu")

    def tell(row: dict[str, Any]) -> None:
        known = "  ".join(f"{k} {row[k]:.4g}" for k in ("loss", "error", "iou", "phase_gain", "misfit") if k in row)
        print(f"{row['step']:>8,} steps  {row['samples']:>11,} samples  {row['seconds']:>7,.0f} s  {known}", flush=True)

    try:
        rows = train(run, pairs, output, resume=resume, device=chosen, report=tell)
    except KeyboardInterrupt:
        kept = "what is done is kept; the same command with --resume goes on" if begun(output) else "nothing had been done yet"
        raise KeyboardInterrupt(kept) from None
    if worker.rank:
        return
    told = weights.opened(output / WEIGHTS)[1]
    atomic_write_text(output / "card.md", card_text(model, told))
    page = training_report(output, told, rows)
    print(f"weights: {output / WEIGHTS}\nreport:  {page}\nnext: untwin predict PATTERN --model {output / WEIGHTS}")


@app.command
def predict(
    *patterns: Path,
    model: str = "cdi-nn",
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("predictions"),
    activations: Path | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """What a trained network says about patterns, in milliseconds each: a first guess, not an answer. One CXI per pattern.

    untwin reconstruct PATTERN --start predict goes on from there.

    Parameters
    ----------
    patterns
        Files as untwin reconstruct takes them, or folders of data sets.
    model
        The name of a shipped model, or a weights.safetensors that untwin train has written.
    output
        Folder for the predictions.
    activations
        Draw what each layer makes of the first pattern into this PNG.
    device
        cpu, cuda or cuda:1.
    overwrite
        Replace predictions of the same name, and the picture.
    """
    from untwin.data.atomic import require_writable
    from untwin.data.dataset import Shards, is_dataset
    from untwin.model.networks import weights

    _drawable(activations, overwrite)
    weights.check(model)
    if not patterns:
        raise InputError("no pattern given; expected untwin predict FILE...")
    require_writable(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; expected a folder for the predictions")
    found: list[tuple[str, Pattern]] = []
    for path in patterns:
        if is_dataset(path):
            shards = Shards(path)
            found += [(f"{path.name}-{i:06d}", shards.pattern(i)) for i in range(len(shards))]
        else:
            found.append((path.stem, _read(path)))
    names = [name for name, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice:
        raise InputError(f"two patterns are called {twice}; their predictions would have one name")
    there = next((name for name in names if (output / f"{name}.cxi").exists()), None)
    if there and not overwrite:
        raise InputError(f"{output / f'{there}.cxi'} exists; choose another folder or --overwrite")
    from untwin.data.cxi import write_object
    from untwin.model import inference

    trained = weights.load(model)
    began = time.perf_counter()
    said = inference.predict([p for _, p in found], trained, device)
    strange, misfits = [], []
    for (name, pattern), one in zip(found, said):
        process = {"model": trained.name, "architecture": repr(trained.architecture), "misfit": one.misfit, "warnings": list(one.warnings)}
        write_object(output / f"{name}.cxi", image=one.image, support=one.support, process=process, voxel_size=pattern.voxel_size)
        misfits.append(one.misfit)
        if one.warnings:
            strange.append(f"{name}: {one.warnings[0]}")
    seconds = time.perf_counter() - began
    for text in strange[:5]:
        _note(text)
    if len(strange) > 5:
        _note(f"and {len(strange) - 5} more like these")
    middle = sorted(misfits)[len(misfits) // 2]
    print(f"{len(found):,} in {output}: misfit {middle:.3f} (median), {1e3 * seconds / len(found):.1f} ms each with writing")
    if activations:
        from untwin.show.figures import save_figure
        from untwin.show.learning import activations_figure

        save_figure(activations_figure(*inference.activations(found[0][1], trained)), activations)
        print(f"picture: {activations}")
    print(f"next: untwin reconstruct {patterns[0]} --start predict:{model}")
