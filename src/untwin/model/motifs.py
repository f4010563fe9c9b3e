"""Motifs and the maps of where they occur, and what no data can tell of them: shift, sign and scale.

A picture is the sum of motifs, each convolved with its map. A motif that moves one way while its map moves the other leaves the picture
as it is; so does a factor on the motif whose inverse is on the map, -1 included. This file is the only one that knows of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from untwin.errors import InputError


def correlation(a: Any, b: Any) -> float:
    """Of two motifs, (channels, height, width) each: the largest magnitude of their normalised correlation over all shifts, 0 to 1.

    Both may have boxes of their own size. Raises InputError where the channels differ, or a motif is zero.
    """
    return abs(_best(*_pair(a, b))[0])


def paired(motifs: Any, others: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Which of the others belongs to each motif, one to one, and their correlations. motifs, others: (motifs, channels, height, width)."""
    from scipy.optimize import linear_sum_assignment

    table = np.array([[correlation(a, b) for b in others] for a in motifs])
    rows, columns = linear_sum_assignment(-table)
    return tuple(int(c) for c in columns), tuple(float(table[r, c]) for r, c in zip(rows, columns))


def offset(a: Any, b: Any) -> tuple[int, int, int]:
    """(rows, columns, sign): a, shifted by so many pixels within a common corner and multiplied by the sign, is most like b."""
    value, shift = _best(*_pair(a, b))
    return shift[0], shift[1], 1 if value >= 0 else -1


def demixing(maps: np.ndarray, size: tuple[int, int]) -> float:
    """1 minus the mean over pairs of maps of their largest normalised correlation over shifts up to a motif's size, after a blur by a
    pixel: 1 where nothing of one map is in another, up to what chance gives.

    maps: (motifs, height, width). size: of a motif, rows and columns.
    """
    from scipy.ndimage import gaussian_filter

    soft = [gaussian_filter(np.abs(m).astype(np.float64), 1) for m in maps]
    soft = [m - m.mean() for m in soft]
    rows, columns = (np.r_[0 : n + 1, -n:0] for n in size)
    values = []
    for a, b in ((a, b) for i, a in enumerate(soft) for b in soft[i + 1 :]):
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        c = _inverse(_forward(a, a.shape).conj() * _forward(b, a.shape), a.shape)[np.ix_(rows, columns)]
        values.append(float(c.max()) / norm if norm > 0 else 1.0)
    return 1 - float(np.mean(values))


def scaled(motifs: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same picture with maps whose typical value is 1 (the mean of a map, each pixel weighted by its own value) and whose sum is not
    negative; the motifs then have the unit of the data. A map of zeros stays."""
    top = np.square(maps).sum((1, 2))
    sums = maps.sum((1, 2))
    factor = np.where(top > 0, np.where(sums < 0, -1.0, 1.0) * top / np.maximum(np.abs(maps).sum((1, 2)), 1e-30), 1.0).astype(maps.dtype)
    return motifs * factor[:, None, None, None], maps / factor[:, None, None]


def unit(motifs: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same picture with motifs of norm 1, all channels together. A motif of zeros stays."""
    norm = np.sqrt(np.square(motifs).sum((1, 2, 3)))
    factor = np.where(norm > 0, norm, 1).astype(motifs.dtype)
    return motifs / factor[:, None, None, None], maps * factor[:, None, None]


def centred(motifs: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre of energy of every motif in the middle of its box, by whole pixels; the map moves the other way. What leaves the box is
    lost. maps: for motifs whose origin is their first pixel."""
    recentred, rolled = [], []
    for motif, m in zip(motifs, maps):
        energy = np.square(motif).sum(0)
        shift = []
        for axis in (0, 1):
            line = energy.sum(1 - axis)
            middle = float(line @ np.arange(len(line))) / max(float(line.sum()), 1e-30)
            shift.append(round((len(line) - 1) / 2 - middle))
        recentred.append(shifted(motif, shift[0], shift[1]))
        rolled.append(np.roll(m, (-shift[0], -shift[1]), (0, 1)))
    return np.stack(recentred), np.stack(rolled)


def shifted(motif: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Shifted in its box; what leaves it is lost, what comes in is 0."""
    out = np.zeros_like(motif)
    h, w = motif.shape[1:]
    out[:, max(rows, 0) : h + min(rows, 0), max(columns, 0) : w + min(columns, 0)] = motif[
        :, max(-rows, 0) : h + min(-rows, 0), max(-columns, 0) : w + min(-columns, 0)
    ]
    return out


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(v, dtype=np.float64) for v in (a, b))
    if a.ndim != 3 or b.ndim != 3 or len(a) != len(b):
        raise InputError(f"motifs of shapes {a.shape} and {b.shape}; expected (channels, height, width) with equally many channels")
    if not a.any() or not b.any():
        raise InputError("a motif is zero everywhere; nothing can be compared")
    return a, b


def _best(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The normalised correlation of largest magnitude, and the shift of a at which it lies."""
    n = tuple(p + q for p, q in zip(a.shape[1:], b.shape[1:]))
    c = _inverse((_forward(a, n).conj() * _forward(b, n)).sum(0), n)
    at = np.unravel_index(int(np.abs(c).argmax()), c.shape)
    shift = tuple(int(i) if i < q else int(i) - m for i, q, m in zip(at, b.shape[1:], n))
    return float(min(1.0, max(-1.0, c[at] / (np.linalg.norm(a) * np.linalg.norm(b))))), (shift[0], shift[1])


def _forward(a: np.ndarray, shape: Any) -> np.ndarray:
    from scipy.fft import rfft2

    return np.asarray(rfft2(a, s=shape))


def _inverse(a: np.ndarray, shape: Any) -> np.ndarray:
    from scipy.fft import irfft2

    return np.asarray(irfft2(a, s=shape))
