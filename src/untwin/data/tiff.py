"""TIFF images and stacks: pages are the slowest axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from untwin.data.entry import Entry, affordable, named
from untwin.errors import InputError


def entries(path: Path) -> list[Entry]:
    """One entry where all pages have one shape; otherwise one for each series of pages, named by its number."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return _entries(file, path.name)


def load(path: Path, name: str) -> np.ndarray:
    """The pages of one series as an array."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        found = _entries(file, path.name)
        entry = named(found, name, path.name)
        affordable(entry, path.name)
        series = file.series[found.index(entry)]
        for page in series.pages:
            if page is None:
                raise InputError(f"{path.name} lacks some of its pages; write the stack again")
            if page.compression == 1 and sum(page.databytecounts) < page.nbytes:
                raise InputError(f"{path.name} is cut short: a page needs {page.nbytes} bytes; copy the file again")
        try:
            return series.asarray()
        except (ImportError, ValueError) as error:
            if "imagecodecs" not in str(error):
                raise
            raise InputError(
                f"{path.name} is compressed in a way that needs another package: pip install imagecodecs, or save "
                "the TIFF "
                "without compression"
            ) from error


def _entries(file: Any, what: str) -> list[Entry]:
    found = []
    if not file.series:
        raise InputError(f"{what} is a TIFF file without any image; copy or write it again")
    for number, series in enumerate(file.series):
        if series.keyframe.samplesperpixel > 1:
            raise InputError(f"{what} is a colour image (shape {series.shape}); expected one number for each detector pixel")
        if series.dtype is None:
            raise InputError(f"{what} does not say what kind of numbers it holds; write it again as integers or floats")
        name = "" if len(file.series) == 1 else str(number)
        found.append(Entry(name, tuple(series.shape), np.dtype(series.dtype)))
    return found
