"""The array about its zero frequency: in FFT order, in a size that transforms fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from untwin.data import centre as centring
from untwin.data.counts import counted
from untwin.data.measurement import SMALLEST, light
from untwin.data.oversampling import undersampled_axes
from untwin.data.typed import amount
from untwin.errors import InputError
from untwin.fourier import fast_size

_STAY = 0.05  # of an axis: a smaller shift keeps the size of the array and loses pixels at one edge
_GROW = 0.05  # of an axis: padding to a fast size costs no more than this; otherwise the axis is cropped
_LOSS = 0.25  # of the pixels: what crops about a peak far from the middle may cost, else it is padded (benchmarks/off_centre.py)
_DARK = 0.002  # of the light: what crops may always cost, an error of its root, 0.045 (unmeasured)
_MOST = 4  # times as many pixels, which padding may cost


@dataclass(frozen=True, eq=False)
class Grids:
    """What there is of each pixel."""

    intensity: np.ndarray
    measured: np.ndarray
    flat: np.ndarray | None = None
    dark: np.ndarray | None = None

    @property
    def light(self) -> np.ndarray:
        """The intensity as a detector whose pixels are alike would show it."""
        return light(self.intensity, self.flat, self.dark)

    def each(self, move: Callable[[np.ndarray], np.ndarray]) -> Grids:
        """Each of them moved; `move` brings zeros in at the edges."""
        flat = None if self.flat is None else move(self.flat - 1) + 1
        return Grids(move(self.intensity), move(self.measured), flat, None if self.dark is None else move(self.dark))


@dataclass(frozen=True, eq=False)
class Centred(Grids):
    """A pattern in FFT order. centre: in the file's pixels."""

    centre: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    asymmetry: float = float("nan")


def centred(grids: Grids, requested: Sequence[float] | None, guesses: list[str], counts: bool | None = None) -> Centred:
    """counts: the intensity is in photons, whose noise is known; None: look at the values."""
    shape = grids.intensity.shape
    middle = tuple(n // 2 for n in shape)
    if not (grids.light[grids.measured] > 0).any():
        raise InputError(
            f"no light is left: all {int(grids.measured.sum()):,} pixels that are trusted are 0. Take hot pixels and stray light as "
            "measured (--keep-strays, keep_strays=True), or give another mask"
        )
    if requested is not None:
        requested = _checked_centre(requested, shape)
    cornered = not any(requested) if requested is not None else centring.is_cornered(grids.light, grids.measured)
    if cornered:
        grids = grids.each(np.fft.fftshift)
        if requested is None:
            guesses.append("the peak is at a corner: taken as FFT order (zero frequency first); centre= (--centre) says otherwise")
        else:
            requested = tuple(float(c) for c in middle)
    visible, measured = grids.light, grids.measured
    counts = counted(grids.intensity[measured]) if counts is None else counts
    if requested is not None:
        c, asymmetry = requested, centring.asymmetry_about(visible, measured, requested, counts)
    else:
        c, asymmetry = _centre_of(visible, measured, counts, guesses)
    in_file = tuple(x - m for x, m in zip(c, middle)) if cornered else c
    pixel = tuple(int(np.floor(x)) for x in c)
    size = _sizes(visible, measured, pixel)
    trusted = int(grids.measured.sum())
    grids = grids.each(lambda a: _recentred(a, pixel, size))
    if size != shape:
        guesses.append(_size_sentence(shape, size, pixel, in_file, 1 - int(grids.measured.sum()) / trusted))
    if not grids.intensity.any():
        raise InputError(f"no photons are left around the centre {_point(in_file)}; choose another with centre= (--centre)")
    grids = grids.each(lambda a: np.ascontiguousarray(np.fft.ifftshift(a)))
    if requested is not None and min(size) >= SMALLEST and centring.is_centred(grids.intensity, grids.measured):
        raise InputError(_wrong_centre(in_file, shape, cornered))
    offset = tuple(float(x - w) for x, w in zip(c, pixel))
    return Centred(**vars(grids), centre=tuple(in_file), offset=offset, asymmetry=asymmetry)


def _centre_of(intensity: np.ndarray, measured: np.ndarray, counts: bool, guesses: list[str]) -> tuple[tuple[float, ...], float]:
    """The centre that the pattern shows, with its asymmetry."""
    middle = tuple(n // 2 for n in intensity.shape)
    symmetry = centring.centre_of_symmetry(intensity, measured, counts)
    if symmetry.asymmetry < centring.REAL:
        if symmetry.centre != middle:
            guesses.append(
                f"the pattern is its own mirror image about {_point(symmetry.centre)} (asymmetry "
                f"{max(0, symmetry.asymmetry):.1g}), "
                f"not about the array's centre {_point(middle)}: this is taken as its centre; centre= (--centre) says otherwise"
            )
        return symmetry.centre, symmetry.asymmetry
    bright = centring.bright_centre(intensity, measured)
    if centring.is_near(bright, middle, intensity.shape):
        return tuple(float(x) for x in middle), symmetry.asymmetry
    c = tuple(float(round(x)) for x in bright)
    guesses.append(
        f"the peak is at {_point(c)}, the array's centre is {_point(middle)}: the peak is taken as zero frequency; "
        "centre= (--centre) says otherwise"
    )
    return c, symmetry.asymmetry


def _wrong_centre(centre: tuple[float, ...], shape: tuple[int, ...], cornered: bool) -> str:
    """What is wrong with a centre half an array away from which the pattern is bright."""
    claim = f"centre={','.join(f'{c:g}' for c in centre)}"
    claim += " says FFT order (zero frequency first), but the pattern is" if cornered else ": the pattern is dark there, and"
    middle = ",".join(str(n // 2) for n in shape)
    return f"{claim} bright half an array away; leave centre= (--centre) out, and it is sought, or give it: the array's middle is {middle}"


def _checked_centre(centre: Sequence[float], shape: tuple[int, ...]) -> tuple[float, ...]:
    try:
        c = tuple(float(x) for x in centre)
    except (TypeError, ValueError) as error:
        raise InputError(f"centre is {centre!r}; expected {len(shape)} pixel coordinates, slowest axis first") from error
    if len(c) != len(shape):
        raise InputError(f"centre has {amount(len(c), 'coordinate')}, the pattern {len(shape)} axes {shape}; give one per axis")
    if not all(0 <= x <= n - 1 for x, n in zip(c, shape)):
        raise InputError(f"centre {_point(c)} is outside the pattern {shape}; expected pixel coordinates that start at 0")
    return tuple(round(2 * x) / 2 for x in c)


def look_at_sampling(pattern: Centred, guesses: list[str]) -> None:
    for axis in undersampled_axes(pattern.light, pattern.measured):
        guesses.append(
            f"the object fills more than half of the field of view along axis {axis}: oversampling below 2, where a support alone gives no "
            "unique answer. Move the detector back, do not bin this axis, or say what else is known (--sparse, --positivity)"
        )


def _sizes(light: np.ndarray, measured: np.ndarray, centre: tuple[int, ...]) -> tuple[int, ...]:
    """The new lengths of the axes, with the zero frequency at `centre`: that of a peak far from the middle is cropped about it, or padded
    where crops would lose more than a quarter of the pixels, and light on them. In a padded band the object is free."""
    shape = light.shape
    far = [abs(c - n // 2) > max(2, _STAY * n) for n, c in zip(shape, centre)]
    least = [max(2 * min(c, n - c), n // 2, 8) if off else n for n, c, off in zip(shape, centre, far)]
    padded = [2 * max(c, n - c) if off else n for n, c, off in zip(shape, centre, far)]
    cropped, pixels = tuple(map(_fast_size, least)), math.prod(shape)
    if math.prod(least) >= (1 - _LOSS) * pixels or math.prod(padded) > _MOST * pixels:
        return cropped
    light = np.where(measured, light, 0)
    if _recentred(light, centre, cropped).sum() >= (1 - _DARK) * light.sum():
        return cropped
    return tuple(fast_size(n) if off else _fast_size(n) for n, off in zip(padded, far))


def _fast_size(n: int) -> int:
    """Padded by a few pixels, or else cropped."""
    up = fast_size(n)
    if up == n or up - n <= _GROW * n:
        return up
    down = n - n % 2
    while fast_size(down) != down:
        down -= 2
    return down


def _size_sentence(
    shape: tuple[int, ...], size: tuple[int, ...], centre: tuple[int, ...], in_file: tuple[float, ...], left_out: float
) -> str:
    """left_out: share of the measured pixels."""
    lost = f"; {100 * left_out:.0f} % of the measured pixels are left out" if left_out >= 0.005 else ""
    why = "even sizes without large prime factors transform fast and nothing may wrap"
    if any(abs(c - n // 2) > max(2, _STAY * n) for n, c in zip(shape, centre)):
        why = "this is far from the middle and nothing may wrap"
    return (
        f"the array goes from {_times(shape)} to {_times(size)} pixels about its centre {_point(in_file)}, because {why}; "
        f"pixels beyond the edge are unmeasured{lost}"
    )


def _recentred(a: np.ndarray, centre: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """The array in another size with `centre` at N//2: cropped and padded with zeros, never wrapped."""
    result = np.zeros(size, a.dtype)
    to, start = [], []
    for n, c, m in zip(a.shape, centre, size):
        first = c - m // 2  # the pixel of a that comes to index 0
        low, high = max(0, first), min(n, first + m)
        start.append(slice(low, high))
        to.append(slice(low - first, high - first))
    result[tuple(to)] = a[tuple(start)]
    return result


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _point(c: Sequence[float]) -> str:
    return "(" + ", ".join(f"{x:g}" for x in c) + ")"
