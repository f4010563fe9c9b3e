"""Whether an array that came as a pattern is an object in real space."""

from __future__ import annotations

import numpy as np

from untwin.data import hdf5
from untwin.data.cxi import IMAGE
from untwin.errors import InputError

# Measured on 300 drawn objects, 2D and 3D: of their magnitudes 240 are named, of the squares 141; of their patterns as counts, square
# roots, logarithms, 8 bits and clipped, a third of them cut to a disc, 1 of 1500.
_FILL = 0.5  # of the pixels above 0 have only such neighbours: single counts have not
_EDGE = 0.5  # median at the border of the object over its median: patterns fade away
_LEVEL = 0.3  # median over maximum: a pattern has a peak
_RADIAL = 0.4  # correlation of value and distance from the middle, with its sign turned: a logarithm of a pattern falls off outwards

_VALUES = 32  # different ones: few counts have less


def require_diffraction(tree: hdf5.Tree, dataset: object, what: str) -> None:
    """Raise InputError where the dataset is the object of a CXI file, by its own word."""
    if tree.find(f"{IMAGE}/data") == dataset and (tree.text(f"{IMAGE}/data_space") or "").strip() == "real":
        raise InputError(
            f"{what} is a reconstructed object (data_space: real), not a measured intensity; choose the pattern with data= (--data), or "
            "read the object with untwin.read_object"
        )


def resembles_object(intensity: np.ndarray, measured: np.ndarray) -> bool:
    """True for magnitudes of an object: one body with sharp edges in an array of zeros, about equally bright everywhere, without a peak."""
    inside = intensity > 0
    if not 1e-3 < inside.mean() < 0.6 or not measured.all():
        return False
    core = inside.copy()
    for axis in range(inside.ndim):
        for step in (-1, 1):
            core &= np.roll(inside, step, axis)
    values = intensity[inside]
    median = float(np.median(values))
    border = inside & ~core
    if core.sum() < _FILL * values.size or median < _LEVEL * values.max() or not border.any():
        return False
    if np.median(intensity[border]) <= _EDGE * median or 2 < np.unique(values).size < _VALUES:
        return False
    at = np.argwhere(core)
    radius = np.linalg.norm(at - at.mean(0), axis=1)
    bright = intensity[core]
    if not radius.std() > 0 or not bright.std() > 0:
        return bool(radius.std() > 0)
    return bool(-np.corrcoef(radius, bright)[0, 1] < _RADIAL)
