"""What holds nothing: parts of an HDF5 dataset that were never written, and frames without a count between frames that have some."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError

if TYPE_CHECKING:
    import h5py

_CHUNKS = 1_000_000  # more are not looked at
_SURE = 20.0  # counts that an honest frame would have had: one without any is not by chance (e^-20)


def never_written(dataset: h5py.Dataset) -> np.ndarray | None:
    """bool in the dataset's shape: HDF5 has nothing there and gives its fill value. None where all was written. Raises InputError where
    nothing was."""
    shape = dataset.shape
    if not shape or not dataset.size:
        return None
    if dataset.is_virtual:
        missing = _unmapped(dataset)
    elif dataset.chunks:
        missing = _without_chunk(dataset)
    elif dataset.external or dataset.id.get_storage_size():
        return None
    else:
        missing = np.ones(shape, bool)
    if missing is not None and missing.all():
        raise InputError(f"{dataset.name} was never written: the file holds its shape {shape} and no values; choose another array")
    return missing if missing is not None and missing.any() else None


def _without_chunk(dataset: h5py.Dataset) -> np.ndarray | None:
    chunks, shape = tuple(dataset.chunks or ()), tuple(dataset.shape or ())
    expected = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    stored = dataset.id.get_num_chunks()
    if stored >= expected or expected > _CHUNKS:
        return None
    missing = np.ones(shape, bool)

    def mark(info: object) -> None:
        missing[tuple(slice(o, o + c) for o, c in zip(info.chunk_offset, chunks, strict=True))] = False  # pyright: ignore[reportAttributeAccessIssue]

    dataset.id.chunk_iter(mark)
    return missing


def _unmapped(dataset: h5py.Dataset) -> np.ndarray:
    """Of a virtual dataset: what lies in no box of a source."""
    missing = np.ones(dataset.shape, bool)
    for source in dataset.virtual_sources():
        if source.vspace.get_select_npoints():
            low, high = source.vspace.get_select_bounds()
            missing[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = False
    return missing


def empty_frames(values: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """bool: the frames along axis 0 that hold nothing: everything masked or a code (NaN, negative, the largest integer), one and the same
    value in every pixel, or 0 where their neighbours have so many counts that a frame without any is none. Frames that may honestly be dark
    are not among them."""
    n = len(values)
    gone, zero, counts = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n)
    unit = np.inf
    for k in range(n):
        frame = _values(values[k], bad[k])
        low, high = (frame.min(), frame.max()) if frame.size else (0, 0)
        zero[k] = frame.size > 0 and high == 0
        gone[k] = not frame.size or (low == high and not zero[k])
        if low < high:
            positive = frame[frame > 0]
            counts[k], unit = positive.sum(dtype=np.float64), min(unit, float(positive.min()))
    if not counts.any():
        return np.zeros(n, bool)
    return gone | _implausible(zero, counts / unit)


def _values(frame: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Without what is masked and what is a code."""
    good = ~bad if bad.any() else np.ones(frame.shape, bool)
    if frame.dtype.kind == "f":
        good &= np.isfinite(frame)
    elif frame.dtype.itemsize >= 2:
        good &= frame != np.iinfo(frame.dtype).max
    if frame.dtype.kind in "if":
        good &= frame >= 0
    return frame[good]


def _implausible(zero: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The frames of 0 whose neighbours foretell counts. The fringes of a prism along the axis have honest zeros: they come in pairs about
    the peak."""
    if not zero.any():
        return zero
    n, root = len(zero), np.sqrt(counts)
    empty = np.zeros(n, bool)
    inside = False
    for first, last in _runs(zero):
        sides = [_foretold(root, first, -1), _foretold(root, last, 1)]
        known = [s for s in sides if s is not None]
        ended = len(known) < 2  # the run reaches an end of the stack
        slope = min((s[0] for s in known), default=0.0)
        # A run of one at the end may be the first zero of a fringe; over a longer one the curve falls as before, or rises again
        level = max((s[1] for s in known), default=0.0) if ended and last > first else slope
        if level >= _SURE:
            empty[first : last + 1] = True
            inside |= not ended
    peak = int(np.argmax(counts))
    mirrored = [2 * peak - k for k in np.flatnonzero(empty)]
    within = [k for k in mirrored if 0 <= k < n]
    if inside and len(within) > 1 and all(zero[k] for k in within):
        return np.zeros(n, bool)
    return empty


def _foretold(root: np.ndarray, at: int, step: int) -> tuple[float, float] | None:
    """Counts of the frame at an end of a run, from the two beyond it: by the line through their amplitudes (which is straight through the
    zero of a fringe), and of the two that follow if the curve falls as steeply as before. None at the end of the stack."""
    k, beyond = at + step, at + 2 * step
    if not 0 <= k < len(root) or not root[k]:
        return None
    if not 0 <= beyond < len(root) or not root[beyond]:
        return float(root[k] ** 2), float(root[k] ** 2)
    line = max(2 * root[k] - root[beyond], 0.0)
    fall = min(1.0, (root[k] / root[beyond]) ** 2)
    return float(line**2), float(root[k] ** 2 * fall**2)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def numbered(frames: np.ndarray, total: int) -> str:
    """'frames 17 to 23 of 24', for a sentence. frames: bool."""
    runs = _runs(frames)
    parts = [str(a) if a == b else f"{a} to {b}" for a, b in runs[:6]] + (["..."] if len(runs) > 6 else [])
    text = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return f"frame{'s' if np.count_nonzero(frames) > 1 else ''} {text} of {total}"
