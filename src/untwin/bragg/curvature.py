"""Where the array of a prepared scan lies in reciprocal space, and how far the scan's voxels are from a straight grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from untwin.bragg.crop import AXES, Crop
from untwin.bragg.instrument import AIMED, Instrument
from untwin.bragg.scan import Scan
from untwin.data.measurement import Geometry, is_sound
from untwin.errors import InputError

STILL = 1e-4  # of the change of q from pixel to pixel: motors that move it by less from frame to frame stand still
NOTABLE = 1.0  # voxel, of a corner, from which on the bent grid is worth a word


def geometry_of(scan: Scan, at: tuple[int, int, int], box: Crop, steps: list[str], guesses: list[str]) -> Geometry:
    """Of an array whose zero frequency lies in the pixel `at` (frame, row, column) of a scan. Raises InputError."""
    instrument = pointed(scan.instrument, at)
    if instrument is not scan.instrument:
        guesses.append(AIMED)
    geometry = instrument.geometry(at[0], at[1], at[2], box.binning)
    step, *pixels = np.linalg.norm(np.array(geometry.sampling), axis=1)
    if not is_sound(geometry) or step < STILL * min(pixels):
        raise InputError(
            f"the angles of {scan.label or 'the scan'} span no space: from one frame to the next q changes by "
            f"{step:.3g} rad/m, from one pixel to the next by {min(pixels):.3g}. Do the motors move, and is the right one in the log?"
        )
    b, q = np.array(geometry.sampling), np.array(geometry.q)
    q = q + ((np.array(box.binning) - 1) / (2 * np.array(box.binning))) @ b  # the middle of the pixels that became one
    geometry = replace(geometry, q=(float(q[0]), float(q[1]), float(q[2])))
    handed = "right-handed" if np.linalg.det(b) > 0 else "left-handed"
    size = geometry.voxel_size(box.array) or ()
    steps.append(
        f"Voxels of {_each([f'{1e9 * s:.3g}' for s in size])} nm along the axes of the array, which are {handed}; nothing was flipped."
    )
    off = deviation(instrument, at, box)
    text = (
        f"the voxels of the crop lie up to {_each([f'{d:.2g}' for d in off])} voxels ({_each(AXES)}) from the straight grid of its middle"
    )
    if max(off) > NOTABLE:
        guesses.append(f"{text} (the Ewald sphere is bent, or the motors step unevenly): the reconstruction takes them as straight")
    else:
        steps.append(f"{text[0].upper()}{text[1:]}.")
    return geometry


def pointed(instrument: Instrument, at: tuple[int, int, int]) -> Instrument:
    """With the direct beam where the detector's angles are those of a pixel (frame, row, column), if nobody knows where it falls."""
    beam = instrument.direct_beam
    if np.isfinite(beam).all():
        return instrument
    row, column = (float(b) if np.isfinite(b) else float(c) for b, c in zip(beam, at[1:]))
    return replace(instrument, direct_beam=(row, column))


def deviation(instrument: Instrument, at: tuple[int, int, int], box: Crop) -> tuple[float, ...]:
    """(3,) voxels of the array: how far a voxel of the box is at most, along each axis, from the straight grid of the middle."""
    b = instrument.sampling(at[0], at[1], at[2])
    q0 = instrument.q(at[0], np.array(at[1]), np.array(at[2]), at[0])
    frames = np.arange(max(0, box.start[0]), min(instrument.frames, box.start[0] + box.shape[0]))
    rows, columns = (np.array([s, c, s + n - 1]) for s, n, c in zip(box.start[1:], box.shape[1:], at[1:]))
    row, column = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
    most = np.zeros(3)
    for k in frames:
        index = np.stack([np.full(row.shape, k - at[0]), row - at[1], column - at[2]], 1)
        off = (instrument.q(int(k), row, column, at[0]) - q0) @ np.linalg.inv(b) - index
        most = np.maximum(most, np.abs(off).max(0))
    return tuple(float(m / n) for m, n in zip(most, box.binning))


def _each(parts: list[str] | tuple[str, ...]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
