"""NeXus files as beamlines write them, for tests: a pattern whose truth is known, groups with their classes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from untwin.data.measurement import Pattern
from untwin.data.read import read
from untwin.errors import GuessWarning


def counts(shape: tuple[int, ...] = (64, 48), photons: float = 1e6, seed: int = 0) -> np.ndarray:
    """Poisson counts of a complex body, zero frequency at N//2: read without a word where nothing lies beside them."""
    rng = np.random.default_rng(seed)
    x = np.meshgrid(*[(np.arange(n) - n // 2) / n for n in shape], indexing="ij")
    inside = sum((v / s) ** 2 for v, s in zip(x, (0.14, 0.17, 0.15))) < 1
    phase = 1.5 * np.sin(14 * x[-1] + 1) + 2 * x[0] ** 2 * 40 + 5 * x[-1] * x[0]
    wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(inside * np.exp(1j * phase))))
    return rng.poisson(np.abs(wave) ** 2 * photons / (np.abs(wave) ** 2).sum()).astype(np.int32)


def stripe(row: int, shape: tuple[int, ...] = (64, 48), dtype: str = "u4") -> np.ndarray:
    """A mask of one row."""
    mask = np.zeros(shape, dtype)
    mask[..., row, :] = 1
    return mask


def group(parent: h5py.Group, name: str, nx_class: str | None = None, **values: Any) -> h5py.Group:
    """A group of a class, with datasets; a pair is a value with its units."""
    child = parent.require_group(name)
    if nx_class:
        child.attrs["NX_class"] = nx_class
    for key, value in values.items():
        number, units = value if isinstance(value, tuple) else (value, None)
        child[key] = number
        if units is not None:
            child[key].attrs["units"] = units
    return child


def nexus(path: Path, intensity: np.ndarray, **detector: Any) -> h5py.File:
    """Open for more: NXentry with an NXdetector that holds the data, and an NXdata that links to them; no default is named."""
    file = h5py.File(path, "w")
    entry = group(file, "entry", "NXentry")
    instrument = group(entry, "instrument", "NXinstrument")
    group(instrument, "eiger", "NXdetector", data=intensity, **detector)
    data = group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    data["data"] = h5py.SoftLink("/entry/instrument/eiger/data")
    return file


def quiet(path: Path | str, **options: Any) -> Pattern:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return read(path, **options)


def bad(pattern: Pattern) -> np.ndarray:
    """In the order of the file."""
    return ~np.fft.fftshift(pattern.measured)
