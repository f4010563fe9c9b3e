"""The first look at a pattern, before any reconstruction: what its values say of the detector, the beam and the sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from untwin.data.outliers import FAINT, LOCAL, one_sided, outliers
from untwin.data.oversampling import endless_axes
from untwin.model.background import Background, flat_background
from untwin.model.fringes import blur_bound
from untwin.model.outline import box_widths, profile_widths

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern

LARGE = 1_000_000  # pixels, beyond which the object's width is that of the autocorrelation's profile, hidden pixels or not
WINDOW = 20_000  # pixels that are looked at for fringes: less than a second
SLAB = 64  # planes, or rows times 8, through the middle of a large pattern that are looked at for a background
MARGIN = 8  # pixels about the window that is looked at for fringes: their light may come from outside of it
FACE = 2  # pixels deep is the edge of the array


@dataclass(frozen=True, eq=False)
class Look:
    """hot, clipped, gaps: a sentence for each kind of pixels that are masked: brighter than light can be, saturated, without any light.

    background: None where the values cannot tell. blur: σ in pixels that the fringes allow at most, inf where they allow any, None where
    nobody looked. oversampling: N / width of the object, per axis; NaN where the autocorrelation goes on at N/2. strays: share of the
    photons that lie opposite of darkness. faces: mean of the values on the outermost pixels of each axis, above a flat background; NaN
    where none is measured.
    """

    hot: tuple[str, ...]
    clipped: tuple[str, ...]
    gaps: tuple[str, ...]
    background: Background | None
    blur: float | None
    oversampling: tuple[float, ...]
    strays: float
    faces: tuple[float, ...]


def look(pattern: Pattern) -> Look:
    """The first look."""
    strange = outliers(pattern)
    rest = strange.masked(pattern)
    floor = flat_background(_slab(rest))
    return Look(
        hot=_named(rest, "masked as hot"),
        clipped=_named(rest, "saturat"),
        gaps=_named(rest, "gap", "hold nothing", "margin"),
        background=floor,
        blur=blur_bound(_window(rest)),
        oversampling=_oversampling(rest),
        strays=_strays(rest) if rest.counted else float("nan"),
        faces=_faces(rest, floor.level if floor else 0.0),
    )


def _named(pattern: Pattern, *words: str) -> tuple[str, ...]:
    return tuple(sentence for sentence in pattern.warnings if any(word in sentence for word in words))


def _oversampling(pattern: Pattern) -> tuple[float, ...]:
    widths = box_widths(pattern, 1.0) if pattern.intensity.size <= LARGE else profile_widths(pattern)
    endless = endless_axes(pattern.corrected().intensity, pattern.measured)
    return tuple(float("nan") if axis in endless else n / max(w, 1) for axis, (n, w) in enumerate(zip(pattern.shape, widths)))


def _faces(pattern: Pattern, floor: float) -> tuple[float, ...]:
    means = []
    for axis, n in enumerate(pattern.shape):
        rows = np.arange(n // 2 - FACE, n // 2 + FACE) % n  # in FFT order the edges lie side by side
        trusted = pattern.measured.take(rows, axis)
        values = pattern.intensity.take(rows, axis)[trusted]
        means.append(float(values.mean(dtype=np.float64)) - floor if values.size else float("nan"))
    return tuple(means)


def _strays(pattern: Pattern) -> float:
    """Looked for in the box about the zero frequency outside of which no pixel is bright enough."""
    bright = np.fft.fftshift(pattern.measured & (pattern.intensity > FAINT))
    sides = []
    for axis, n in enumerate(pattern.shape):
        at = np.flatnonzero(bright.any(axis=tuple(a for a in range(pattern.ndim) if a != axis)))
        half = int(np.abs(at - n // 2).max(initial=0)) + 2 * LOCAL
        sides.append(n if 2 * half >= n else 2 * half)
    box = _middle(pattern, tuple(sides))
    return float(box.intensity[one_sided(box)[0]].sum(dtype=np.float64)) / pattern.photons


def _slab(pattern: Pattern) -> Pattern:
    """Of a large pattern what lies about the zero frequency along its first axis."""
    if pattern.intensity.size <= LARGE:
        return pattern
    return _middle(pattern, (min(pattern.shape[0], SLAB if pattern.ndim == 3 else 8 * SLAB), *pattern.shape[1:]))


def _window(pattern: Pattern) -> Pattern:
    """Of a large pattern the brightest part, about the zero frequency, with a margin that is not measured."""
    if pattern.intensity.size <= 2 * WINDOW:
        return pattern
    most = round(WINDOW ** (1 / pattern.ndim)) // 2 * 2
    return _middle(pattern, tuple(min(n, most) for n in pattern.shape), MARGIN)


def _middle(pattern: Pattern, sides: tuple[int, ...], margin: int = 0) -> Pattern:
    """The part of these sides about the zero frequency, without a margin where an axis is cut; the pattern itself where that is dark."""
    if sides == pattern.shape:
        return pattern
    part = tuple(slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(pattern.shape, sides))
    inner = np.zeros(sides, dtype=bool)
    inner[tuple(slice(margin, m - margin) if m < n else slice(None) for n, m in zip(pattern.shape, sides))] = True
    arrays = ("intensity", "measured", "sensitivity", "dark")
    own = {name: np.fft.fftshift(a)[part] for name in arrays if (a := getattr(pattern, name)) is not None}
    own["measured"] = own["measured"] & inner
    if not own["intensity"][own["measured"]].any():
        return pattern
    return replace(pattern, **{name: np.ascontiguousarray(np.fft.ifftshift(a)) for name, a in own.items()})
