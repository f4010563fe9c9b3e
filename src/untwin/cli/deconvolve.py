"""untwin deconvolve, untwin simulate stm: what repeats in maps of a scanning tunnelling microscope, and where."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from untwin.cli.notes import guesses_noted, note
from untwin.cli.progress import Count, displayed
from untwin.data.typed import amount, typed
from untwin.errors import InputError
from untwin.live.record import Record


@dataclass(frozen=True, kw_only=True)
class DeconvolveOptions:
    """The options of untwin deconvolve.

    Parameters
    ----------
    size
        Of a motif, pixels, roughly: 15, or rows,columns such as 15,21. What comes back has a size of its own.
    motifs
        How many kinds of defects.
    output
        Folder for the results; by default FILE_deconvolved in the current folder. It must be new or empty.
    channel
        Of a .3ds file: its name, or how it begins; by default the first of a lock-in amplifier, else the derivative of the current.
    energies
        Of a .3ds file: points of the sweep, such as -0.1,0.05 in its unit; by default all, averaged in 12 groups.
    mask
        File with the pixels that mean nothing, nonzero = bad (.npy, PNG or TIFF).
    signed
        A motif may occur with both signs; by default strengths are positive.
    periodic
        The picture goes on at the opposite border; by default motifs may stand outside and reach in.
    lattice
        Take an atomic lattice out first.
    flatten
        Order of a polynomial that is taken out of every channel first, such as 2; by default none.
    starts
        At most; fewer where they agree.
    seed
        Of the starts; the same seed repeats the run.
    overwrite
        Replace the results of an earlier run.
    """

    size: str
    motifs: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=16))] = 1
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
    channel: str | None = None
    energies: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    mask: Path | None = None
    signed: bool = False
    periodic: bool = False
    lattice: bool = False
    flatten: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=8))] = 0
    starts: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000))] = 15
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0
    overwrite: bool = False


@dataclass
class StartCount(Count):
    """Starts, and the lowest objective among them."""

    number: int = 0
    total: int | None = None
    lowest: float | None = None
    began: float = field(default_factory=time.monotonic)

    def add(self, starts: int, value: float | None, total: int) -> None:
        self.number, self.total = self.number + starts, total
        self.lowest = value if value is not None else self.lowest

    def labels(self) -> tuple[str, ...]:
        return ("deconvolving",) if self.lowest is None else (f"deconvolving  objective = {self.lowest:.6g}", "deconvolving")

    def facts(self) -> list[tuple[str, ...]]:
        count = f"{self.number}" if self.total is None else f"{self.number} of at most {self.total}"
        return [(f"{count} starts", count)]

    def line(self) -> str:
        return f"{time.monotonic() - self.began:.0f} s: {self.facts()[0][0]}"


def deconvolve(file: Path, *, options: Annotated[DeconvolveOptions, Parameter(name="*")]) -> None:
    """Find what repeats in maps, and its places: one motif for each kind of defect, in every channel, and a map of its places.

    The folder gets motifs.npy, maps.npy, residual.npy, summary.json, figures and report.html.

    Parameters
    ----------
    file
        Maps of one field of view: .npy (channels, height, width) or (height, width), or a grid of Nanonis, .3ds.
    """
    from untwin.data.maps import read_maps
    from untwin.runs.archive import fresh, save_deconvolved
    from untwin.runs.deconvolve import deconvolve_sparse
    from untwin.show.deconvolved import deconvolved_page

    folder = fresh(options.output or Path(f"{file.stem}_deconvolved"), options.overwrite)
    size, energies = _size(options.size), _energies(options.energies)
    with guesses_noted():
        maps = read_maps(file, options.channel, energies)
        measured = maps.measured if options.mask is None else maps.measured & _unmasked(options.mask, maps.measured.shape)
    count = StartCount()
    with Record(folder, "deconvolve", file.name, figure="objective") as live, displayed(count) as changed:

        def report(starts: int, value: float | None, total: int) -> None:
            count.add(starts, value, total)
            changed()

        result = deconvolve_sparse(
            maps.values,
            size,
            options.motifs,
            starts=options.starts,
            seed=options.seed,
            nonnegative=not options.signed,
            periodic=options.periodic,
            lattice=options.lattice,
            flatten=options.flatten,
            measured=measured,
            report=report,
            live=live,
        )
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items() if k not in ("output", "overwrite")}
    save_deconvolved(result, folder, {"command": "deconvolve", "file": str(file.absolute()), **settings, "channels": list(maps.names)})
    page = deconvolved_page(result, folder / "report.html", file.name, maps.names)
    for text in result.warnings:
        note(text)
    n = result.numbers
    print(f"{ {True: 'trusted', False: 'NOT trusted', None: 'cannot say'}[result.verdict.trusted] }: {result.verdict.text}")
    print(f"motif: {n['size_rows']:.0f} x {n['size_columns']:.0f} pixels, {len(result.data)} channels; {n['seconds']:.1f} s")
    print(f"results: {folder}/motifs.npy, maps.npy, residual.npy, summary.json\nreport:  {page}")


def _size(text: str) -> int | tuple[int, int]:
    try:
        numbers = [int(n) for n in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise InputError(f"--size {text}: expected a whole number of pixels, such as 15, or rows,columns such as 15,21")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _energies(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(e) for e in text.split(","))
    except ValueError:
        raise InputError(f"--energies {text}: expected numbers in the unit of the sweep, such as -0.1,0.05") from None


def _unmasked(path: Path, shape: tuple[int, ...]):
    from untwin.data.image import read_plane

    mask = read_plane(path, "the mask")
    if mask.shape != shape:
        raise InputError(f"the mask has shape {mask.shape}, the maps {shape}; expected the same")
    return mask == 0


@dataclass(frozen=True, kw_only=True)
class StmOptions:
    """What defects, and what microscope.

    Parameters
    ----------
    size
        Pixels of the maps, such as 128,128.
    channels
        Energies.
    motif
        Pixels of a motif.
    density
        Defects of each kind for each pixel.
    snr
        Variance of the signal over that of the noise, for each pixel.
    kinds
        Of defects.
    spread
        Of their strengths, relative.
    lattice
        Amplitude of an atomic lattice, in standard deviations of the signal.
    drift
        Largest displacement of a line of the scan, pixels.
    seed
        Which defects, and which noise.
    """

    size: str = "128,128"
    channels: int = 5
    motif: int = 15
    density: float = 0.005
    snr: float = 4.0
    kinds: int = 1
    spread: float = 0.0
    lattice: float = 0.0
    drift: float = 0.0
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0


def simulate_stm(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("stm.npy"),
    truth: Path | None = None,
    options: Annotated[StmOptions | None, Parameter(name="*")] = None,
    overwrite: bool = False,
) -> None:
    """Write maps of quasi-particle interference around point defects at several energies, and the truth into a file of its own.

    Parameters
    ----------
    output
        The maps, .npy (channels, height, width), which untwin deconvolve takes as any other.
    truth
        .npz with motifs, maps, energies and sigma; by default OUTPUT_truth.npz.
    overwrite
        Replace files of these names.
    """
    import numpy as np

    from untwin.data.atomic import new_file
    from untwin.data.maps import write_array, write_maps
    from untwin.simulate.interference import quasiparticles

    o = options or StmOptions()
    truth = truth or output.with_name(f"{output.stem}_truth.npz")
    new_file(output, (".npy", ".NPY"), overwrite)
    new_file(truth, (".npz", ".NPZ"), overwrite)
    size = _size(o.size)
    shape = size if isinstance(size, tuple) else (size, size)
    drawn = quasiparticles(
        shape, o.channels, o.motif, o.density, o.snr, o.kinds, spread=o.spread, lattice=o.lattice, drift=o.drift, seed=o.seed
    )
    write_array(output, drawn.values)
    write_maps(truth, motifs=drawn.motifs, maps=drawn.maps, energies=drawn.energies, sigma=np.asarray(drawn.sigma))
    defects = int((drawn.maps > 0).sum())
    size_text = " x ".join(map(str, drawn.values.shape))
    print(f"simulated: {output}  {size_text}, {amount(defects, 'defect')}, {drawn.overlap:.2g} motifs on a pixel")
    print(f"the truth: {truth}")
    kinds = f" --motifs {o.kinds}" if o.kinds > 1 else ""
    print(f"next: untwin deconvolve {typed(output)} --size {o.motif}{kinds}")
