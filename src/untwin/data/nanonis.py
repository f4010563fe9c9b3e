"""Nanonis grids (.3ds): a spectrum at every pixel of a field of view, as a scanning tunnelling microscope measures it.

The layout, as the manual of Nanonis has it: lines NAME=VALUE up to :HEADER_END:, then big-endian floats of 4 bytes, pixel after pixel,
lines from the bottom upwards: the parameters of the pixel, then every channel with all points of the sweep. Nothing of a file is run, and
nothing is allocated before the sizes that its header declares were compared with the bytes that are there.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data.header import Entry, affordable
from untwin.errors import GuessWarning, InputError

_END = b":HEADER_END:"
_HEADER = 2**20  # bytes of a header, at most
_LOCK_IN = re.compile(r"\bLI|lock-?in|dI/?dV|omega", re.IGNORECASE)
_CURRENT = re.compile(r"^current\b", re.IGNORECASE)
GROUPS = 12  # energies that are taken by default, each the mean of its neighbours (unmeasured)


@dataclass(frozen=True)
class Grid:
    """What the header of a grid says. shape: (rows, columns) as declared; rows: of which so many are complete. parameters: of a pixel.
    start, stop: of the sweep, NaN where the file does not say. offset: bytes of the header."""

    path: Path
    shape: tuple[int, int]
    rows: int
    parameters: int
    points: int
    channels: tuple[str, ...]
    sweep: str
    limits: tuple[float, float]
    offset: int

    @property
    def numbers(self) -> int:
        """Of a pixel."""
        return self.parameters + self.points * len(self.channels)

    @property
    def energies(self) -> np.ndarray:
        """(points,), of the sweep."""
        return np.linspace(*self.limits, self.points)


@dataclass(frozen=True, eq=False)
class Spectra:
    """values: (channels, height, width) float32, the top line first. names: of the channels, such as 0.05 V. measured: (height, width)."""

    values: np.ndarray
    names: tuple[str, ...]
    measured: np.ndarray


def read_header(path: Path) -> Grid:
    """What is in a grid. Raises InputError where it is none, or is cut short."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    text, end, _ = head.partition(_END)
    if not end:
        raise InputError(f"{path.name} has no line :HEADER_END: in its first MB; expected a grid of Nanonis (.3ds)")
    offset = len(text) + len(end)
    offset += 2 if head[offset : offset + 2] == b"\r\n" else 1 if head[offset : offset + 1] == b"\n" else 0
    fields: dict[str, str] = {}
    for line in str(text, "utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        fields[key.strip().lower()] = value.strip().strip('"')
    dim = re.fullmatch(r"(\d{1,6}) ?x ?(\d{1,6})", fields.get("grid dim", ""))
    if not dim:
        raise InputError(f'{path.name}: Grid dim={fields.get("grid dim", "")!r}; expected such as "128 x 128"')
    columns, rows = int(dim[1]), int(dim[2])
    parameters, points = (_count(path, fields, n) for n in ("# parameters (4 byte)", "points"))
    channels = tuple(c.strip() for c in fields.get("channels", "").split(";") if c.strip())
    if min(rows, columns, points, len(channels)) < 1:
        raise InputError(
            f"{path.name} declares {columns} x {rows} pixels, {points} points and {len(channels)} channels; expected 1 of each at least"
        )
    pixel = 4 * (parameters + points * len(channels))
    complete = (path.stat().st_size - offset) // (pixel * columns)
    if complete < 1:
        raise InputError(f"{path.name} is cut short: one line of the grid needs {pixel * columns:,} bytes; copy the file again")
    if complete < rows:
        text_rows = f"{path.name}: {complete} of {rows} lines are there; the others were not measured, or the file is cut short"
        warnings.warn(text_rows, GuessWarning, stacklevel=2)
    limits = _limits(path, offset, parameters)
    return Grid(
        path,
        (rows, columns),
        min(int(complete), rows),
        parameters,
        points,
        channels,
        fields.get("sweep signal", "Bias (V)"),
        limits,
        offset,
    )


def read_grid(path: Path, channel: str | None = None, energies: tuple[float, ...] | None = None) -> Spectra:
    """Maps of one channel at some energies.

    channel: its name, or the beginning of it; by default the first of a lock-in amplifier, else the derivative of the current by the sweep.
    energies: in the unit of the sweep, the nearest points are taken; by default all points in 12 groups.
    What is chosen is a GuessWarning. Raises InputError where the file has no such channel, or is broken.
    """
    grid = read_header(path)
    index, derivative = _channel(grid, channel)
    entry = Entry(grid.channels[index], (grid.rows, grid.shape[1], grid.points), np.dtype(">f4"))
    affordable(entry, path.name)
    every = np.memmap(path, dtype=">f4", mode="r", offset=grid.offset, shape=(grid.rows, grid.shape[1], grid.numbers))
    first = grid.parameters + index * grid.points
    spectra = np.asarray(every[:, :, first : first + grid.points], dtype=np.float32)
    del every
    if derivative:
        spectra = _derivative(grid, spectra)
    values, names = _chosen(grid, spectra, energies)
    values = np.moveaxis(values, -1, 0)[:, ::-1].copy()
    measured = np.asarray(np.isfinite(values).all(0))
    if not measured.all():
        text = f"{path.name}: {int((~measured).sum()):,} pixels are NaN or infinite and are left out"
        warnings.warn(text, GuessWarning, stacklevel=2)
        values[:, ~measured] = 0
    return Spectra(values, names, measured)


def _count(path: Path, fields: dict[str, str], name: str) -> int:
    if not re.fullmatch(r"\d{1,7}", fields.get(name, "")):
        raise InputError(f"{path.name}: {name}={fields.get(name, '')!r}; expected a whole number")
    return int(fields[name])


def _limits(path: Path, offset: int, parameters: int) -> tuple[float, float]:
    """Start and end of the sweep: the first two parameters of the first pixel. (0, 1) where there are none."""
    if parameters < 2:
        return 0.0, 1.0
    start, stop = (float(v) for v in np.fromfile(path, dtype=">f4", count=2, offset=offset))
    return (start, stop) if np.isfinite([start, stop]).all() and start != stop else (0.0, 1.0)


def _channel(grid: Grid, wanted: str | None) -> tuple[int, bool]:
    """Its number, and whether it has to be differentiated."""
    names = ", ".join(grid.channels)
    if wanted is not None:
        exact = [i for i, c in enumerate(grid.channels) if c == wanted]
        hits = exact or [i for i, c in enumerate(grid.channels) if c.lower().startswith(wanted.lower())]
        if not hits:
            raise InputError(f"{grid.path.name} has no channel {wanted!r}; it has {names}")
        return hits[0], False
    forward = [i for i, c in enumerate(grid.channels) if "[bwd]" not in c.lower()] or list(range(len(grid.channels)))
    lock_in = [i for i in forward if _LOCK_IN.search(grid.channels[i])]
    current = [i for i in forward if _CURRENT.search(grid.channels[i])]
    derivative = not lock_in and bool(current) and grid.points > 2
    index = (lock_in or current or forward)[0]
    what = f"the derivative of {grid.channels[index]} by {grid.sweep}" if derivative else grid.channels[index]
    if len(grid.channels) > 1 or derivative:
        text = f"{grid.path.name}: taken is {what}; it has {names}; channel= (--channel) takes another"
        warnings.warn(text, GuessWarning, stacklevel=3)
    return index, derivative


def _derivative(grid: Grid, spectra: np.ndarray) -> np.ndarray:
    return np.gradient(spectra, grid.energies.astype(np.float32), axis=-1)


def _chosen(grid: Grid, spectra: np.ndarray, energies: tuple[float, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(rows, columns, channels) and the names."""
    unit = (re.search(r"\(([^)]*)\)", grid.sweep) or ["", ""])[1]
    if energies is not None:
        low, high = sorted(grid.limits)
        step = (high - low) / max(grid.points - 1, 1)
        outside = [e for e in energies if not low - step <= e <= high + step]
        if outside or not energies:
            raise InputError(
                f"{grid.path.name} has no energy {', '.join(f'{e:g}' for e in outside)}; its sweep goes from {low:g} to {high:g} {unit}"
            )
        at = sorted({int(np.abs(grid.energies - e).argmin()) for e in energies})
        return spectra[..., at], tuple(f"{grid.energies[i]:.4g} {unit}" for i in at)
    groups = np.array_split(np.arange(grid.points), min(GROUPS, grid.points))
    if len(groups) < grid.points:
        text = (
            f"{grid.path.name}: {grid.points} points of the sweep are averaged in {len(groups)} groups; energies= (--energies) picks points"
        )
        warnings.warn(text, GuessWarning, stacklevel=3)
    means = np.stack([spectra[..., g].mean(-1) for g in groups], axis=-1)
    return means, tuple(f"{grid.energies[g].mean():.4g} {unit}" for g in groups)
