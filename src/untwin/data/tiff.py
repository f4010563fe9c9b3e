"""TIFF images and stacks: pages are the slowest axis."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from untwin.data.header import Entry, affordable, entry_named, unpacked
from untwin.errors import InputError

_INKS = {5: "inks (CMYK)", 8: "CIE L*a*b*", 9: "ICC L*a*b*"}  # photometric interpretation; what is no light of three colours


def entries(path: Path) -> list[Entry]:
    """One entry where all pages have one shape; otherwise one for each series of pages, named by its number."""
    with _opened(path) as file:
        return _entries(file, path.name)


def load(path: Path, name: str, colour: bool = False) -> np.ndarray:
    """The pages of one series as an array. colour: a picture, of several samples per pixel if it likes; the first series where no name says
    which."""
    size = path.stat().st_size
    with _opened(path) as file:
        headers = _entries(file, path.name, colour)
        entry = headers[0] if colour and not name else entry_named(headers, name, path.name)
        affordable(entry, path.name)
        unpacked(entry, size, path.name)
        series = file.series[headers.index(entry)]
        packed = _bits(series.keyframe) / (8 * series.keyframe.dtype.itemsize)  # masks of one bit, detectors of twelve
        for page in series.pages:
            if page is None:
                raise InputError(f"{path.name} lacks some of its pages; write the stack again")
            if page.compression == 1 and (sum(page.databytecounts) < int(page.nbytes * packed) or entry.nbytes * packed > size):
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


def axes_of_pages(path: Path, name: str) -> tuple[str, ...]:
    """What the file calls the axes of a series: T (time), Z (depth), C (channel) of ImageJ and OME; the others have no names."""
    with _opened(path) as file:
        headers = _entries(file, path.name, True)
        series = file.series[headers.index(entry_named(headers, name, path.name))]
        axes = [a if a in "TZC" else "" for a in series.axes]
        sizes = {
            a: int(n) for a, n in re.findall(r'\bSize([TZC])="(\d{1,6})"', file.pages[0].description or "")
        }  # of OME, a dialect of XML
    stacks = [a for a, n in sizes.items() if n > 1]
    if len(axes) == 3 and not any(axes) and len(stacks) == 1 and sizes[stacks[0]] == headers[0].shape[0]:
        axes[0] = stacks[0]
    return tuple(axes)


def _bits(page: Any) -> int:
    """Of one sample in the file."""
    bits = page.bitspersample
    return bits if isinstance(bits, int) else max(bits)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, without the formats that take pages from other files. What tifffile would log of it is not said, since it comes out as an
    error or does not matter."""
    import tifffile

    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with tifffile.TiffFile(path, is_ome=False, is_ndtiff=False, is_mmstack=False) as file:
            one_by_one = len(file.series) > 1 and {s.kind for s in file.series} == {"shaped"}
            if not one_by_one or len({(s.shape, s.dtype) for s in file.series}) > 1:
                yield file
                return
        # pages that tifffile wrote one by one: its own description makes each a series
        with tifffile.TiffFile(path, is_shaped=False, is_ome=False, is_ndtiff=False, is_mmstack=False) as file:
            yield file
    finally:
        logger.setLevel(level)


def _entries(file: Any, what: str, colour: bool = False) -> list[Entry]:
    headers = []
    if not file.series:
        raise InputError(f"{what} is a TIFF file without any image; copy or write it again")
    for number, series in enumerate(file.series):
        if series.keyframe.samplesperpixel > 1 and not colour:
            raise InputError(f"{what} is a colour image (shape {series.shape}); expected one number for each detector pixel")
        if series.keyframe.samplesperpixel > 1 and series.keyframe.photometric in _INKS:
            raise InputError(f"{what} is a TIFF in {_INKS[series.keyframe.photometric]}; expected grey or colours (RGB): convert it")
        if series.dtype is None:
            raise InputError(f"{what} does not say what kind of numbers it holds; write it again as integers or floats")
        name = "" if len(file.series) == 1 else str(number)
        headers.append(Entry(name, tuple(series.shape), np.dtype(series.dtype)))
    return headers
