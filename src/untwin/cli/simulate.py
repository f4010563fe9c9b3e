"""untwin simulate: one crystal with its truth, a raw scan of one as its beamline writes it, or a data set of any size."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter, validators

from untwin.cli import progress
from untwin.data.atomic import PART, require_writable
from untwin.data.typed import amount, typed
from untwin.errors import InputError

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern
    from untwin.simulate.crystals import Simulation

simulate = App(name="simulate", help="Make crystals, their patterns and the truth: one measurement, a raw scan, or a data set of any size.")


@dataclass(frozen=True, kw_only=True)
class CrystalOptions:
    """What crystal, and on what detector: the options of untwin simulate crystal that a recipe stands for.

    Parameters
    ----------
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
    coherence
        Sigma of the partial coherence's blur, pixels; by default full coherence. 0.3 is a good beamline.
    background
        Expected counts per pixel that are not the object's, flat; by default none.
    stray
        Light of another crystal, a share of the photons, in 1 to 3 spots away from the centre that no mask hides; by default none.
    hot
        How many pixels read 1000 counts, whatever falls on them, and are in no mask; by default none.
    clipped
        Share of the measured pixels, the brightest, that are clipped and in no mask; by default none.
    """

    dislocations: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None
    faults: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None
    photons: float | None = None
    beamstop: float | None = None
    oversampling: float | None = None
    coherence: float | None = None
    background: float | None = None
    stray: float | None = None
    hot: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None
    clipped: float | None = None


@simulate.command(name="crystal")
def simulate_crystal(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("crystal.cxi"),
    truth: Path | None = None,
    size: str | None = None,
    options: Annotated[CrystalOptions | None, Parameter(name="*")] = None,
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
    recipe
        A recipe of a data set instead of crystal and detector options: crystals-2d, crystals-3d, cdi-nn, cells, textures,
        a regime such as crystals-2d/strong-phase, or a recipe's text.
    seed
        Which crystal, and which noise.
    index
        Which sample of this recipe and seed: --recipe R --seed S --index I is sample I of that data set.
    overwrite
        Replace files of these names.
    """
    from untwin.data.atomic import new_file

    truth = truth or output.with_name(f"{output.stem}_truth.cxi")
    if output.absolute() == truth.absolute():
        raise InputError(f"{output} cannot hold both the measurement and the truth; expected two names")
    for path in (output, truth):
        new_file(path, (".cxi", ".h5", ".hdf5"), overwrite)
    settings = {name: value for name, value in vars(options or CrystalOptions()).items() if value is not None}
    simulation = _simulation(recipe, _shape_of(size), settings)
    pattern = _write_crystal(simulation, seed, index, output, truth)
    hidden = amount(int((~pattern.measured).sum()), "pixel")
    print(f"simulated: {output}  {' x '.join(map(str, pattern.shape))}, {pattern.photons:.3g} photons, {hidden} not measured")
    print(f"the truth: {truth}")
    print(f"next: untwin reconstruct {typed(output)}; untwin compare {typed(f'{output.stem}_out')} {typed(truth)}")


def _simulation(recipe: str | None, shape: tuple[int, ...] | None, options: dict[str, Any]) -> Simulation:
    """That of a recipe, or a crystal with these options."""
    from untwin.simulate.crystals import crystal, simulation

    if recipe is None:
        return crystal(shape or (64, 64), **options)
    if options:
        raise InputError(f"--recipe says it all; leave --{next(iter(options))} out, or leave --recipe out")
    return simulation(recipe, **({"shape": shape} if shape else {}))


def _write_crystal(simulation: Simulation, seed: int, index: int, output: Path, truth: Path) -> Pattern:
    from untwin.data.cxi import write_object, write_pattern
    from untwin.data.dataset import simulated

    sample = simulation.draw(seed, [index])
    pattern = simulated(sample.intensity[0].numpy(), sample.measured[0].numpy())
    origin = {"recipe": repr(simulation), "seed": seed, "index": index}
    write_object(truth, image=sample.image[0].numpy(), support=sample.support[0].numpy(), process={**origin, "labels": sample.labels[0]})
    write_pattern(output, pattern, process=origin)
    return pattern


def _shape_of(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(n) for n in text.split(","))
    except ValueError:
        raise InputError(f"--size {text}: expected whole numbers, slowest axis first, such as 64,64 or 64,64,64") from None


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What crystal, and what scan.

    Parameters
    ----------
    diameter
        Of the crystal, nm; by default 300.
    strain
        Its rms along Q; by default 3e-4.
    dislocation
        A screw dislocation runs through the crystal.
    counts
        Expected from the crystal in all frames; by default 1e7.
    frames
        How many; by default 111.
    step
        Degrees from frame to frame; by default 0.01.
    aliens
        How many other crystals scatter into the frames; by default none.
    seed
        Which crystal, camera and noise.
    """

    diameter: float | None = None
    strain: float | None = None
    dislocation: Annotated[bool, Parameter(negative=())] = False
    counts: float | None = None
    frames: int | None = None
    step: float | None = None
    aliens: int | None = None
    seed: int = 0


@simulate.command(name="scan")
def simulate_scan(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    beamline: str = "34idc",
    size: str | None = None,
    ideal: Annotated[bool, Parameter(negative=())] = False,
    options: Annotated[ScanOptions | None, Parameter(name="*")] = None,
) -> None:
    """Write a raw rocking scan of a strained crystal as its beamline does: frames, log, at 34idc flat and dark field; and truth.npz.

    Parameters
    ----------
    output
        Folder for the files: a new or an empty one.
    beamline
        34idc, id01, p10, nanomax, cristal, sixs or id27.
    size
        Rows and columns of the frames, such as 128,128.
    ideal
        Full coherence, a perfect detector, an even beam, no noise.
    """
    from untwin.simulate.beamline_files import require_writer, unsaid, write_scan
    from untwin.simulate.scan import RockingScan
    from untwin.simulate.truth import write_truth

    settings = {name: value for name, value in vars(options or ScanOptions()).items() if value is not None}
    if "diameter" in settings:
        settings["size"] = settings.pop("diameter") * 1e-9
    if (shape := _shape_of(size)) is not None:
        settings["window"] = shape
    recipe = RockingScan(beamline, **settings)
    require_writer(recipe.key)
    with new_folder(output) as folder:
        scan, truth = (recipe.ideal() if ideal else recipe).draw()
        write_scan(folder, recipe.key, scan)
        write_truth(folder / "truth.npz", truth, recipe=repr(recipe))
    shape = " x ".join(map(str, scan.frames.shape))
    print(f"simulated: {output}  {shape} of {scan.instrument.diffractometer.name}, {truth.expected.sum():.3g} counts from the crystal")
    print(f"the truth: {output / 'truth.npz'}")
    print(f"next: untwin bragg {typed(output)}{_stated(unsaid(recipe.key, scan))}")


def _stated(options: dict[str, Any]) -> str:
    """As they are typed behind a command."""
    texts = {name: ",".join(f"{v:.12g}" for v in value) if isinstance(value, tuple) else value for name, value in options.items()}
    return "".join(f" --{name.replace('_', '-')} {text}" for name, text in texts.items())


@simulate.command(name="exposures")
def simulate_exposures(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("exposures.h5"),
    truth: Path | None = None,
    kind: str = "coded",
    size: Annotated[int, Parameter(validator=validators.Number(gte=16, lte=8192))] = 128,
    exposures: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=1000))] = None,
    photons: float | None = None,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    overwrite: bool = False,
) -> None:
    """Write several exposures of one object, which untwin reconstruct takes as they are, and the truth into a file of its own.

    Parameters
    ----------
    output
        The exposures, HDF5, with their masks or Fresnel numbers.
    truth
        The object and its support, CXI, for untwin compare; by default OUTPUT_truth.cxi.
    kind
        coded (random masks), chirp (one curved wave), defocus (a segmented pupil in and out of focus) or near (several distances of
        the near field). The object of chirp is real: reconstruct with --positivity and --support TRUTH.
    size
        Pixels along each axis.
    exposures
        How many; by default 3, 1, 2 or 4.
    photons
        Expected in all; by default 1e7, defocus 1e6, near 1e8.
    seed
        Which object, masks and noise.
    overwrite
        Replace files of these names.
    """
    from untwin.data.atomic import new_file
    from untwin.data.cxi import write_object
    from untwin.data.exposures import write_exposures
    from untwin.simulate.exposures import exposures as draw

    truth = truth or output.with_name(f"{output.stem}_truth.cxi")
    if output.absolute() == truth.absolute():
        raise InputError(f"{output} cannot hold both the exposures and the truth; expected two names")
    new_file(output, (".h5", ".hdf5"), overwrite)
    new_file(truth, (".cxi", ".h5", ".hdf5"), overwrite)
    drawn = draw(kind, size, exposures, photons, seed)
    write_object(truth, image=drawn.image, support=drawn.support, process={"kind": kind, "seed": seed})
    write_exposures(output, drawn.counts, drawn.optics)
    print(f"simulated: {output}  {amount(len(drawn.counts), 'exposure')} of {size} x {size} pixels, {drawn.counts.sum():.3g} photons")
    print(f"the truth: {truth}")
    options = f" --positivity --support {typed(truth)}" if drawn.real else ""
    print(f"next: untwin reconstruct {typed(output)}{options}; untwin compare {typed(f'{output.stem}_out')} {typed(truth)}")


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write in. At the end of the block it takes the name of `output`; where the block raises, nothing is there."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is no empty folder; choose another name")
    require_writable(output)
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}{PART}")
    part.mkdir(parents=True)
    try:
        yield part
        if output.exists():
            output.rmdir()
        part.rename(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)


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

    shape = _shape_of(size)
    resized = simulation(recipe, **({"shape": shape} if shape else {}))
    source = resized if shape and repr(resized) != repr(simulation(recipe)) else recipe
    manifest = planned(output, source, seed, count, shard=shard, objects=objects)
    if (output / "manifest.json").exists() and not manifest.missing(output):
        print(f"{output} is complete: {count:,} samples in {_shards(manifest.shards)}; nothing to do")
        return
    try:
        with progress.samples() as report:
            write(output, source, seed, count, shard=shard, workers=workers or cores(), objects=objects, report=report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("complete shards stay; the same command goes on") from None
    print(f"{output}: {count:,} samples of {' x '.join(map(str, manifest.shape))} in {_shards(manifest.shards)}")
    print(f"next: untwin inspect {output}")


def _shards(n: int) -> str:
    return f"{n:,} shard" + ("s" if n != 1 else "")
