"""What the values show of a detector's faults before anything is guessed from them: hot pixels, and masks that are the wrong way round.

An object that fills at most half of the array along an axis casts speckles at least two pixels wide: a pixel, or a few that touch, far
above all pixels around them are not its light. A 3D pattern is a stack of frames along its first axis, and each frame is the pattern of a
projection, so that the same holds in every frame: a hot pixel is one although it is hot in all of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from untwin.data.centre import is_cornered
from untwin.data.counts import counted
from untwin.data.gaps import holes
from untwin.errors import InputError

# Of patterns without noise of 9 shapes in 2D and 3D (6 and 3 of each), a pixel is at most 5.7 times its brightest neighbour where the
# object fills up to 50 % of the field, and up to four touching ones are 4.0 times what is around them; where it fills 70 %, 12 and 9.5.
# (Where every other sample of a rectangle is 0, single pixels stand alone, but for those two pixels away.)
ALONE = 10.0
FEW = 20.0
MOST_TOUCHING = 4
NEIGHBOUR = 0.2  # of a pixel's light, the brightest neighbour has: 0.27 at least at an oversampling of 2 (random objects of 24 pixels),
CHANCE = 1e-6  # and so few are counted there by this chance
NOISE = 10.0  # times the median light within 3 pixels: Gaussian noise cut off at 0 does not reach 7 of its standard deviations
ALIKE = 0.5  # of the value that a tenth of those above 0 are below, 1 % are above
SQUARE = 8  # pixels, of the squares in which the noise is looked at
MEASURED = 5  # of the 8 neighbours
MOST_HOT = 0.01  # of the pixels: more are not a detector's faults but a pattern with such peaks
REPEATED = 0.5  # of a pixel's light: so much opposite to it, and it is no fault
EVEN = 0.5  # of the light that a tenth of the far half of a column has, another tenth has less: in streaks at most 0.38 of it
LINE = 8  # pixels along a column or row, twice in succession far above what lies beside them
STEADY = 0.5  # of the frames: a pixel that is hot in so many is masked in all
# A mask that hides more than half, of 100 patterns (4 classes, 2D and 3D, 1e3 to 1e8 photons; counts, scaled, on an offset, as roots or
# logarithms, in FFT order): of 745 inverted ones (bands at the edge, corners, a side, stops, hot pixels) 98 % are refused, on an offset
# 86 %; of 862 upright ones (rings, discs, halves, sectors, quarters, strewn pixels) none.
NEARBY = 0.1  # of the array, over which light is averaged: single hot pixels and few counts decide nothing
MOST_DARK = 0.95  # of what the mask trusts is darker
BRIGHTER = 0.15  # than so much of what it hides,
DARKER = 0.6  # of which no more is darker than half of what it trusts: light that is hidden in the middle of a ring has darkness around it
SCATTERED = 0.05  # of the array
WAY_OUT = "keep_strays=True (--keep-strays) keeps them"


def require_upright_mask(values: np.ndarray, bad: np.ndarray, what: str) -> None:
    """Raise InputError where a mask hides more than half of the array and can only be the wrong way round: the pixels that it trusts are
    dark where the others show the pattern (hot ones do not hide this), or are single pixels here and there."""
    if not bad.mean() > 0.5 or bad.all() or values.dtype.kind not in "iuf":
        return
    light = np.where(np.isfinite(values), values, 0).clip(0, np.finfo(np.float32).max).astype(np.float32)
    if values.dtype.kind in "iu":
        light[values == np.iinfo(values.dtype).max] = 0
    hidden = light[bad]
    if not hidden.any():
        return
    light = np.minimum(light, max(np.quantile(hidden, MOST_DARK), hidden[hidden > 0].min()))
    trusted, hidden = _nearby(light, ~bad), _nearby(light, bad)
    brighter = float((hidden > np.quantile(trusted, MOST_DARK)).mean())
    dark = brighter > BRIGHTER and (hidden < np.median(trusted)).mean() < DARKER
    compact = sum(float((~bad & ~np.roll(bad, 1, axis)).sum()) for axis in range(bad.ndim)) / trusted.size  # 1 per axis inside an area
    scattered = trusted.size < SCATTERED * bad.size and compact < 0.5
    if dark or scattered:
        as_bright = f"which are darker than {100 * brighter:.0f} % of the others"
        which = as_bright if dark else "single ones here and there"
        raise InputError(
            f"the mask trusts {trusted.size:,} pixels of {what} ({100 * trusted.size / bad.size:.2g} %), {which}, and hides the pattern: "
            "it marks the good pixels, where nonzero has to mean bad; invert it"
        )


def _nearby(light: np.ndarray, those: np.ndarray) -> np.ndarray:
    """For each of those pixels the mean light of those around it. The array is periodic."""
    from scipy import ndimage

    sides: Any = [max(3, round(NEARBY * n)) for n in light.shape]
    total, number = (ndimage.uniform_filter(a.astype(np.float32), sides, mode="wrap") for a in (np.where(those, light, 0), those))
    return (total[those] / np.maximum(number[those], 1e-6)).clip(0)


def without_faults(
    intensity: np.ndarray,
    measured: np.ndarray,
    what: str,
    guesses: list[str],
    dark: np.ndarray | None = None,
    origin: tuple[int, int] = (0, 0),
) -> tuple[np.ndarray, np.ndarray]:
    """Both without hot pixels, gaps, stops and modules that hold one value. Each kind is a sentence in `guesses`.

    intensity: (*grid), 0 where not measured, as it is afterwards, too. dark: likewise, counts without light, which are no fault.
    origin: (row, column) of the detector that the first pixel is, for the sentences. Raises InputError where holes take more than can be
    guessed at.
    """
    frames = intensity.reshape(-1, *intensity.shape[-2:])
    good = measured.reshape(frames.shape).copy()
    unit = unit_of(frames, good)
    light, usual = frames, np.ones_like(good)
    if dark is not None:
        dark = np.rint(dark).reshape(frames.shape)
        light = np.maximum(frames - dark, 0).astype(frames.dtype)
        usual = dark <= ALONE * (1 + np.median(dark))  # what else the dark has tells nothing of its neighbours
    good &= ~hot_pixels(light, good, unit, guesses, origin)
    good &= ~holes(frames, good & usual, unit, what, guesses, origin)
    if good.sum() == measured.sum():
        return intensity, measured
    measured = good.reshape(intensity.shape)
    return np.where(measured, intensity, 0), measured


def unit_of(frames: np.ndarray, good: np.ndarray) -> float:
    """One photon in the units of the frames, or more.

    Of counts 1; of any values that were set to 0 below a threshold, the threshold. Where the least above 0 are nearly alike, these: of
    scaled or flat-fielded counts the gain. Else noise makes them, or no pixel is dark: no less than they are, nor than variance over mean
    (of counts times a gain the gain) in the dimmest squares that have some light.
    """
    values = frames[good & (frames > 0)]
    some = values[:: 1 + values.size // 1_000_000]
    if not some.size:
        return 1.0
    least, low, dim = (float(q) for q in np.quantile(some, (0.01, 0.1, 0.3)))
    if counted(values):
        return max(1.0, least)
    if least > ALIKE * low:
        return least
    unit, side = dim, SQUARE
    y, x = (n // side * side for n in frames.shape[1:])
    squares = frames[:, :y, :x].reshape(len(frames), y // side, side, x // side, side)[:: 1 + frames.size // 4_000_000]
    mean, most = squares.mean((2, 4), dtype=np.float64), squares.max((2, 4))
    lit = most > 8 * unit
    if not lit.any():
        return unit
    variance = squares.var((2, 4), dtype=np.float64)[lit]
    return max(unit, float(np.quantile(variance / mean[lit], 0.2)))


def hot_pixels(frames: np.ndarray, good: np.ndarray, unit: float, guesses: list[str], origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """(frames, y, x) bool: isolated pixels, columns and rows far above all around them. All but those at the middle of the pattern."""
    hot = isolated(frames, good, unit)
    if hot.mean() > MOST_HOT:
        return np.zeros_like(hot)
    total = _summed(frames, good & ~hot)
    columns, rows = _bright_lines(total, unit)
    lines = columns | rows
    if len(frames) > 1:
        steady = isolated(total[None], np.asarray(good.any(0))[None], unit)[0] | (hot.sum(0) > max(1.0, STEADY * len(frames)))
        hot |= steady & good
    if not (hot.any() or lines.any()):
        return hot
    rest = _summed(frames, good & ~hot & ~lines)
    centre = _centre(rest)
    middle, light = _middle(rest, centre), _repeated(_summed(frames, good), centre)
    lines = _hot_columns(columns, total, light, centre) | _hot_columns(rows.T, total.T, light.T, centre[::-1]).T
    if (hot & middle).any():
        _say_direct_beam(frames, hot & middle, guesses, origin)
        hot &= ~middle
    if len(frames) == 1 and hot.any() and light[hot[0]].mean() > 0.5:  # of several frames, what lies opposite is in another
        hot &= ~light  # few of many hot pixels are opposite to one another by chance
    if hot.any():
        _say_hot(frames, good, hot, guesses, origin)
    if lines.any():
        number = int(lines.sum())
        guesses.append(
            f"{number} pixels in lines along the rows or columns of the detector are more than {ALONE:g} times as bright as those beside "
            f"them: masked as hot; {WAY_OUT}"
        )
    return hot | (lines & good)


def _summed(frames: np.ndarray, good: np.ndarray) -> np.ndarray:
    """(y, x) float64, of the good pixels of all frames."""
    return np.where(good, frames, 0).sum(0, dtype=np.float64)


def _about(values: np.ndarray, steps: list[tuple[int, int]]) -> np.ndarray:
    """The largest of the values at these steps from each pixel; a frame is periodic."""
    largest = np.zeros_like(values)
    for step in steps:
        np.maximum(largest, np.roll(values, step, (-2, -1)), out=largest)
    return largest


def _ring(radius: int) -> list[tuple[int, int]]:
    """Steps to the pixels at the distance `radius`, in the plane, along the farther axis."""
    steps = range(-radius, radius + 1)
    return [(a, b) for a, b in itertools.product(steps, steps) if max(abs(a), abs(b)) == radius]


def isolated(frames: np.ndarray, good: np.ndarray, unit: float) -> np.ndarray:
    """(frames, y, x) bool: pixels, or up to MOST_TOUCHING of them, far above all around them in their frame. unit: see `unit_of`."""
    none = np.zeros(frames.shape, dtype=bool)
    least = -np.log(CHANCE) / NEIGHBOUR * unit
    light = np.where(good, frames, 0)
    bright = light > least
    alone = np.argwhere(bright & (light > ALONE * _about(light, _ring(1))))
    few = np.argwhere(bright & (light > FEW * _about(light, [(a, b) for a in (-3, 0, 3) for b in (-3, 0, 3) if a or b])))
    if max(len(alone), len(few)) > MOST_HOT * frames.size:
        return none
    for at, those in ((alone, _alone), (few, _few)):
        if len(at):
            none[tuple(those(light, good, at, unit).T)] = True
    return none


def _window(values: np.ndarray, at: np.ndarray, steps: list[tuple[int, int]]) -> np.ndarray:
    """(pixels, steps) the values at these steps from each of the pixels."""
    shape = np.array(values.shape[1:])
    y, x = np.moveaxis((at[:, None, 1:] + np.array(steps)) % shape, -1, 0)
    return values[at[:, :1], y, x]


def _is_beyond_noise(light: np.ndarray, at: np.ndarray, brightest: np.ndarray, unit: float) -> np.ndarray:
    """bool for each pixel: neither counting nor any other noise makes it of what its neighbours have."""
    from scipy import special

    value = light[tuple(at.T)]
    counting = special.pdtr(np.floor(brightest / unit + 0.5), NEIGHBOUR * value / unit) < CHANCE
    near = _window(light, at, _ring(1) + _ring(2) + _ring(3))
    with np.errstate(invalid="ignore"):
        above = np.sort(np.where(near > 0, near, np.inf), axis=1)
    number = np.maximum((near > 0).sum(1), 1)
    typical = np.take_along_axis(above, ((number - 1) // 2)[:, None], 1)[:, 0]
    return counting & (value > NOISE * np.where(np.isfinite(typical), typical, 0))


def _alone(light: np.ndarray, good: np.ndarray, at: np.ndarray, unit: float) -> np.ndarray:
    """Those of the pixels that are. Not where two pixels at a distance of two have a share of its light: so looks a rectangle oversampled
    by exactly 2, every other sample of which is 0."""
    value, near = light[tuple(at.T)], _window(light, at, _ring(1))
    second = np.sort(_window(light, at, _ring(2)), axis=1)[:, -2]
    enough = _window(good, at, _ring(1)).sum(1) >= MEASURED
    return at[enough & (ALONE * second < value) & _is_beyond_noise(light, at, near.max(1), unit)]


def _few(light: np.ndarray, good: np.ndarray, at: np.ndarray, unit: float) -> np.ndarray:
    """Those of the pixels of which up to MOST_TOUCHING within two of them are far above the others there and at a distance of three; and
    all of these few. Of four that touch one pixel at least is within two of the others."""
    value, steps = light[tuple(at.T)], [(0, 0), *_ring(1), *_ring(2)]
    near, far = _window(light, at, steps), _window(light, at, _ring(3)).max(1)
    ordered = np.sort(near, axis=1)[:, ::-1]
    around = np.maximum(ordered[:, MOST_TOUCHING], far)
    enough = (_window(good, at, _ring(2)).sum(1) >= 10) & (_window(good, at, _ring(3)).sum(1) >= 15)
    gap = ordered[:, :MOST_TOUCHING]
    level = np.where(gap > FEW * around[:, None], gap, np.inf).min(1)  # the dimmest of the few
    seeds = np.flatnonzero(enough & (value >= level) & (FEW * around < level) & _is_beyond_noise(light, at, around, unit))
    which, step = np.nonzero(near[seeds] >= level[seeds, None])
    few = (at[seeds[which]] + np.pad(steps, ((0, 0), (1, 0)))[step]) % light.shape
    return few[_is_beyond_noise(light, few, around[seeds[which]], unit)]


def _bright_lines(total: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) bool, columns and rows: two blocks of LINE pixels and more in succession along one, far above the two on either side."""
    columns, rows = np.zeros((2, *total.shape), dtype=bool)
    for image, target in ((total, columns), (total.T, rows.T)):
        blocks = np.add.reduceat(image, np.arange(0, len(image), LINE), axis=0)
        lateral = np.maximum.reduce([np.roll(blocks, step, 1) for step in (-2, -1, 1, 2)])
        bright = (blocks > ALONE * lateral) & (blocks > -np.log(CHANCE) / NEIGHBOUR * unit)
        twice = np.zeros_like(bright)
        twice[1:] |= bright[:-1]
        twice[:-1] |= bright[1:]
        parts = image[: len(image) // LINE * LINE].reshape(-1, LINE, image.shape[1])
        bright &= twice
        bright[: len(parts)] &= 2 * np.sort(parts, axis=1)[:, -2:].sum(1) < blocks[: len(parts)]  # not of a few hot pixels
        for j in np.flatnonzero(bright.any(0)):
            at = np.flatnonzero(bright[:, j])
            between = slice(at[0] * LINE, (at[-1] + 1) * LINE)
            target[between, j] |= 2 * len(at) >= at[-1] + 1 - at[0]
    return columns, rows


def _hot_columns(columns: np.ndarray, total: np.ndarray, light: np.ndarray, centre: tuple[int, ...]) -> np.ndarray:
    """(y, x) bool: those of the columns that are no light, of which half is repeated (see `_repeated`). The columns at the middle and at
    the edge are opposite to themselves: at the edge is no streak; at the middle, light has fringes and falls off, and a hot column is
    even."""
    hot, (height, width) = columns.copy(), columns.shape
    far = np.abs((np.arange(height) - centre[0] + height // 2) % height - height // 2) > height / 4
    for j in np.flatnonzero(columns.any(0)):
        offset = abs((j - centre[1] + width // 2) % width - width // 2)
        streak = 2 * offset < width - 1 and light[columns[:, j], j].mean() >= 0.5
        if streak and offset == 0:
            dim, bright = np.quantile((total[:, j] - (total[:, j - 2] + total[:, (j + 2) % width]) / 2)[far], (0.1, 0.9))
            streak = dim < EVEN * bright
        hot[:, j] &= not streak
    return hot


def _centre(rest: np.ndarray) -> tuple[int, ...]:
    """(y, x): the array's middle, or its corner where the rest of the pattern is about that."""
    return (0, 0) if rest.any() and is_cornered(rest, np.ones(rest.shape, dtype=bool)) else tuple(n // 2 for n in rest.shape)


def _repeated(total: np.ndarray, centre: tuple[int, ...]) -> np.ndarray:
    """(y, x) bool: opposite to the centre, to a pixel, there is a share of the pixel's light. A detector's faults do not repeat themselves
    there. The light of an object without a phase does, and where it fills nearly the field pixels and lines of it stand alone."""
    around = np.maximum(total, _about(total, _ring(1)))
    opposite = np.roll(np.flip(around), [2 * c + 1 for c in centre], (0, 1))
    y, x = (2 * np.minimum((np.arange(n) - c) % n, (c - np.arange(n)) % n) >= n - 1 for n, c in zip(total.shape, centre))
    return (opposite > REPEATED * total) & ~(y[:, None] & x)  # the corner is opposite to itself, and on no streak


def _middle(rest: np.ndarray, centre: tuple[int, ...]) -> np.ndarray:
    """(y, x) bool: within a pixel of the zero frequency, as far as the rest of the pattern tells: the centre, and where the rest is
    brightest."""
    near = np.zeros(rest.shape, dtype=bool)
    if not rest.any():
        return near
    blurred = sum(np.roll(rest, step, (0, 1)) for step in itertools.product((-1, 0, 1), repeat=2))
    for y, x in (centre, np.unravel_index(np.argmax(blurred), rest.shape)):
        near[np.ix_(np.arange(y - 1, y + 2) % rest.shape[0], np.arange(x - 1, x + 2) % rest.shape[1])] = True
    return near


def _points(pixels: np.ndarray, origin: tuple[int, int], most: int = 3) -> str:
    """Of the detector: (y, x)."""
    at = [f"({y + origin[0]}, {x + origin[1]})" for y, x in np.argwhere(pixels)[:most]]
    return ", ".join(at) + (", ..." if pixels.sum() > most else "")


def _ratio(frames: np.ndarray, good: np.ndarray, hot: np.ndarray) -> float:
    """How many times its brightest neighbour that is not hot, at the median."""
    at = np.argwhere(hot)[:10_000]
    around = _window(np.where(good & ~hot, frames, 0), at, _ring(1)).max(1)
    return float(np.median(frames[tuple(at.T)].astype(np.float64) / np.maximum(around, frames[frames > 0].min())))


def _say_hot(frames: np.ndarray, good: np.ndarray, hot: np.ndarray, guesses: list[str], origin: tuple[int, int]) -> None:
    pixels = np.asarray(hot.any(0))
    number, most = int(pixels.sum()), float(frames[hot].max())
    what = "1 isolated pixel" if number == 1 else f"{number} isolated pixels"
    stack = "" if len(frames) == 1 else f" of the detector, in up to {int(hot.sum(0).max())} of {len(frames)} frames,"
    guesses.append(
        f"{what}{stack} at {_points(pixels, origin)} {'is' if number == 1 else 'are'} brighter than light beside such neighbours can be "
        f"({_ratio(frames, good, hot):.2g} times, up to {most:.6g}): masked as hot; {WAY_OUT}"
    )


def _say_direct_beam(frames: np.ndarray, hot: np.ndarray, guesses: list[str], origin: tuple[int, int]) -> None:
    pixels = np.asarray(hot.any(0))
    guesses.append(
        f"{_points(pixels, origin)}, at the middle of the pattern, is {_ratio(frames, np.ones_like(hot), hot):.2g} times as bright as its "
        "neighbours, as light of an object is not. It is the direct beam or a hot pixel, the values cannot tell; mask it (mask=, --mask)"
    )
