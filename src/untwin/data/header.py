"""One array in a file: what its header says, before anything is read; and which of several is meant."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from untwin.errors import InputError

BUDGET = 8 * 2**30  # bytes that one array may declare
RATIO, LARGE = 1000, 2**28  # deflate reaches 1032, of a constant, such as a mask without bad pixels

# NXdetector: pixel_mask, pixel_mask_N; mask: CXI and silx; the others: what beamlines write. NXdata: DATANAME_mask (belongings.py)
MASK = re.compile(r"((bad_?)?pixel_?|detector_?|(bad|dead|hot)_?)?mask(_\d+)?|(bad|dead|hot)_?pixels?", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """name: of the array in its file; empty where a file holds one array only. shape, dtype: as declared."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def is_number(self) -> bool:
        return self.dtype.kind in "biufc"

    @property
    def is_grid(self) -> bool:
        """Numbers on two or three axes (axes of length 1 do not count)."""
        return self.is_number and sum(n > 1 for n in self.shape) in (2, 3)

    @property
    def companion(self) -> str:
        """mask or support, where it is one by its name; empty of any other array."""
        last = self.name.rsplit("/", 1)[-1].lower()
        kinds = (kind for kind in ("mask", "support") if last.startswith(kind) or last.endswith(f"_{kind}"))
        return "mask" if MASK.fullmatch(last) else next(kinds, "")

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "a single value"
        return f"{self.name or 'array'} ({shape}, {self.dtype})"


def listed(entries: Sequence[Entry], most: int = 12) -> str:
    """The arrays in a sentence."""
    rest = f", and {len(entries) - most} more" if len(entries) > most else ""
    return (", ".join(map(str, entries[:most])) or "no arrays") + rest


def entry_named(entries: Sequence[Entry], name: str, what: str) -> Entry:
    """The entry of this name, or an error that lists what there is and the nearest name."""
    for entry in entries:
        if entry.name.strip("/") == name.strip("/"):
            return entry
    near = difflib.get_close_matches(name, [e.name for e in entries], n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    grids = [e for e in entries if e.is_grid] or list(entries)
    raise InputError(f"{what} has no dataset {name}.{hint} It holds {listed(grids)}.")


def unpacked(entry: Entry, stored: int, what: str) -> None:
    """Raise InputError where an array is larger than LARGE and RATIO times what the file stores of it."""
    if entry.nbytes > LARGE and entry.nbytes > RATIO * max(stored, 1):
        raise InputError(
            f"{what}: {entry} unpacks to {entry.nbytes / 2**20:.0f} MB from {stored} bytes: nothing was measured, or it is a decompression "
            "bomb. If it is real, cut out the region around the peak"
        )


def affordable(entry: Entry, what: str) -> None:
    """Raise InputError where an array declares more than BUDGET bytes or holds Python objects."""
    if entry.dtype.hasobject:
        raise InputError(f"{what}: {entry} holds Python objects, which untwin never loads (they can run code); save plain numbers instead")
    if not entry.is_number:
        raise InputError(f"{what}: {entry} does not hold plain numbers; expected integers or floats")
    if any(n < 0 for n in entry.shape) or entry.nbytes > BUDGET:
        raise InputError(
            f"{what}: {entry} declares {entry.nbytes / 2**30:.1f} GiB, the limit is {BUDGET / 2**30:.0f} GiB; "
            "cut out the region around the peak first"
        )
