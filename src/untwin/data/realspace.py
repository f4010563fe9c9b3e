"""Whether an array that came as a pattern is an object in real space."""

from __future__ import annotations

import numpy as np

from untwin.data import hdf5
from untwin.data.cxi import IMAGE
from untwin.errors import InputError

# Of 680 drawn objects (10 shapes, 2D and 3D, 17 ways: exact, with noise, as counts, 8 and 16 bits, clipped, squared) 63 % are named, no
# Gaussians and few pairs of slits among them; of 800 patterns (the same shapes, 20 ways: counts, roots, logarithms, 8 bits, clipped, cut
# to a disc, with a background), each whole, with a gap, with a stop and with hot pixels, none.
_FILL = 0.5  # of the pixels above 0 have only such neighbours: single counts have not
_EDGE = 0.5  # median at the border of the object over its median: patterns fade away
_LEVEL = 0.3  # median over maximum: a pattern has a peak
_RADIAL = 0.4  # correlation of value and distance from the middle, with its sign turned: a logarithm of a pattern falls off outwards

_VALUES = 32  # different ones: few counts have less

_HOT = 0.005  # of the pixels may be masked anywhere
_BODY = 0.35  # of the mean of the brightest 1/200: what is brighter
_SHARE = 0.01, 0.6  # of the array
_ONE = 0.9  # of it in one piece,
_CORE = 0.3  # so much of which is left without its border
_OUTSIDE = 0.5  # of the body's median: 95 % of what lies 3 to 5 pixels from it, where patterns have fringes
_LEVEL_OUTSIDE = 0.01  # of the body's median: how much brighter than the rest that is; patterns fade away, noise does not
_ALIKE = 0.1  # correlation of neighbours in the rest: speckles are two pixels wide
_CLIPPED = 0.3  # of the body at one value: a clipped peak is a plateau, too


def require_diffraction(tree: hdf5.Tree, dataset: object, what: str) -> None:
    """Raise InputError where the dataset is the object of a CXI file, by its own word."""
    if tree.find(f"{IMAGE}/data") == dataset and (tree.text(f"{IMAGE}/data_space") or "").strip() == "real":
        raise InputError(
            f"{what} is a reconstructed object (data_space: real), not a measured intensity; choose the pattern with data= (--data), or "
            "read the object with untwin.read_object"
        )


def resembles_object(intensity: np.ndarray, measured: np.ndarray) -> bool:
    """True for magnitudes of an object: one body with sharp edges, about equally bright everywhere, without a peak, in an array of zeros or
    of noise. What is not measured counts as bright as the brightest (magnitudes that share one value look saturated); False where much
    of that comes to the edge of the array, as gaps of a detector do."""
    if not measured.any() or measured.mean() < 1 - _SHARE[1]:
        return False
    values = intensity
    if not measured.all():
        faces = [face for axis in range(measured.ndim) for face in (measured.take(0, axis), measured.take(-1, axis))]
        if measured.mean() < 1 - _HOT and not all(face.all() for face in faces):
            return False
        values = np.where(measured, intensity, intensity[measured].max())
    return _on_zeros(values) or _on_noise(values)


def _on_zeros(intensity: np.ndarray) -> bool:
    """One body of all the pixels above 0."""
    inside = intensity > 0
    if not 1e-3 < inside.mean() < 0.6:
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
    return _is_level(intensity, core)


def _on_noise(intensity: np.ndarray) -> bool:
    """One bright body, and outside neither its fringes nor speckles."""
    from scipy import ndimage

    number = max(8, intensity.size // 200)
    level = _BODY * float(np.partition(intensity, intensity.size - number, axis=None)[-number:].mean())
    bright = intensity > level
    low, high = _SHARE
    if not (level > 0 and low < bright.mean() < high):
        return False
    pieces, _ = ndimage.label(bright)  # type: ignore[misc]
    sizes = np.bincount(pieces.ravel())[1:]
    body = pieces == 1 + sizes.argmax()
    core = np.asarray(ndimage.binary_erosion(body))
    near = np.asarray(ndimage.binary_dilation(body, iterations=2), dtype=bool)
    rest = ~np.asarray(ndimage.binary_dilation(near, iterations=3), dtype=bool)
    ring = ~near & ~rest
    if sizes.max() < _ONE * bright.sum() or core.sum() < _CORE * sizes.max() or min(ring.sum(), rest.sum()) < 20:
        return False
    values = intensity[body]
    median, mean = float(np.median(values)), float(intensity[rest].mean(dtype=np.float64))
    if (values == values.max()).mean() > _CLIPPED or np.quantile(intensity[ring], 0.95) > _OUTSIDE * median:
        return False
    if abs(float(intensity[ring].mean(dtype=np.float64)) - mean) > _LEVEL_OUTSIDE * median:
        return False
    return _alike(np.where(rest, intensity - mean, 0)) < _ALIKE and _is_level(intensity, core)


def _alike(rest: np.ndarray) -> float:
    """Correlation of neighbours; 0 elsewhere."""
    square = float((rest.astype(np.float64) ** 2).sum())
    products = [float((rest * np.roll(rest, 1, axis)).sum(dtype=np.float64)) for axis in range(rest.ndim)]
    return float(np.mean(products)) / square if square else 0.0


def _is_level(intensity: np.ndarray, core: np.ndarray) -> bool:
    """Does the brightness not fall off from the middle?"""
    at = np.argwhere(core)
    radius = np.linalg.norm(at - at.mean(0), axis=1)
    bright = intensity[core].astype(np.float64)
    if not radius.std() > 0 or not np.ptp(bright) > 1e-6 * bright.max():
        return bool(radius.std() > 0)
    return bool(-np.corrcoef(radius, bright)[0, 1] < _RADIAL)
