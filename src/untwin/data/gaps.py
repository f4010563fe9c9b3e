"""Pixels that were not measured and hold a number all the same: gaps, stops, margins and modules that are stored as 0, or as one value.

Light is continuous: where an object fills at most half of the array, the light beside a dark line or area falls off towards it, over more
than a pixel. Zeros right beside light that does not fall off were not measured. The proof is a count of photons: those that are to be
expected in the first line of the zeros, the light beside them times the square of its decline from the line before (no faster than a
Gaussian falls), and none came.

A 3D pattern is a stack of frames along its first axis: a hole in the detector is there in all of them.
"""

from __future__ import annotations

import numpy as np

from untwin.data.typed import amount
from untwin.errors import InputError

SURE = 1.5  # photons: of a rounded or cut off value below it, as smooth a neighbour may be 0
EXPECTED = 60.0  # photons in zeros beside a straight edge
LIT, MOST = 0.5, 0.7  # of its pixels, so many have this share of the mean that gives so many photons
EDGE = 8  # pixels, of a straight edge that is looked at
SIDES = 3.0  # times as many on both sides of a line that is not a whole one
THIN = 2  # pixels, of a gap that is no area: light must lie on both sides of it
SURROUNDED, BRIGHT = (
    0.7,
    20.0,
)  # of the pixels around a small area of zeros have so many photons: a dark spot of the pattern has few around it
MIRRORED = 0.1  # of the light beside it: a line that is darker than this where the mirror image of a dark line lies is the pattern's own
BLOCK = 5  # pixels along an area of one value, other than 0
UNLIKE = 3.0  # times higher or lower than that value is what lies around it
TOO_MANY = 0.2  # of the pixels: larger holes are asked for (margins apart)
WAY_OUT = "keep_strays=True (--keep-strays) takes them as measured"


def holes(frames: np.ndarray, good: np.ndarray, unit: float, what: str, guesses: list[str], origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """(y, x) bool: where no frame was measured although it holds a number, with a sentence for each kind.

    frames, good: (frames, y, x), 0 where not good; unit: one photon, in their units. origin: (row, column) of the
    detector that the first pixel is, for the sentences. Raises InputError where holes take more than can be
    guessed at.
    """
    measured = good.any(0)
    total = np.where(good, frames, 0).sum(0, dtype=np.float64) / unit
    one_value = _one_value(total, measured & (total > 0))
    measured &= ~one_value
    zero = (total == 0) & measured
    hole, margin = np.zeros_like(zero), np.zeros_like(zero)
    if zero.any():
        light = np.where(good & ~one_value & (frames >= SURE * unit), frames, 0).sum(0, dtype=np.float64) / unit
        hole, margin = _lines(light, zero, measured)
        hole |= _thin(light, zero & ~hole & ~margin)
        hole |= _areas(light, zero & ~hole & ~margin, hole | margin | ~measured)
    if (hole | one_value).mean() > TOO_MANY:
        raise InputError(
            f"{what}: {100 * (hole | one_value).mean():.0f} % of the pixels hold 0 or another single value beside pixels with light. They "
            f"are not measured, and more than {100 * TOO_MANY:.0f} % is too much to be guessed at. Give them as mask= (--mask); {WAY_OUT}"
        )
    for pixels, text in ((hole, "a gap of the detector, a stop"), (margin, "a gap or a margin at the border"), (one_value, "")):
        if pixels.any():
            guesses.append(_sentence(pixels, text, frames[:, pixels].max(), origin))
    return hole | margin | one_value


def _sentence(pixels: np.ndarray, text: str, value: float, origin: tuple[int, int]) -> str:
    rows, columns = (_ranges(np.flatnonzero(np.asarray(pixels.all(1 - axis))) + origin[axis]) for axis in (0, 1))
    lines = [f"{name} {ranges}" for name, ranges in (("rows", rows), ("columns", columns)) if ranges]
    y, x = (at + first for at, first in zip(np.nonzero(pixels), origin))
    where = " and ".join(lines) if lines and _only_lines(pixels) else f"rows {y.min()} to {y.max()}, columns {x.min()} to {x.max()}"
    share = f"{amount(int(pixels.sum()), 'pixel')} ({100 * pixels.mean():.2g} %; {where})"
    if not text:
        return f"{share} hold one value in areas, such as {value:.6g}, unlike what lies around them: not measured, masked; {WAY_OUT}"
    return f"{share} are 0 right beside light that does not fall off: {text}; not measured, masked; {WAY_OUT}"


def _only_lines(pixels: np.ndarray) -> bool:
    rows, columns = np.asarray(pixels.all(1)), np.asarray(pixels.all(0))
    return bool((pixels == (rows[:, None] | columns)).all())


def _ranges(numbers: np.ndarray) -> str:
    """3, 7 to 9."""
    pieces = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
    return ", ".join(f"{p[0]}" if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in pieces)


def _decline(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Photons to be expected in the line beyond `near`, by its decline from `far`, the line before."""
    return near * np.minimum(1, near / np.maximum(far, 1e-30)) ** 2


def _lit(image: np.ndarray, length: int) -> np.ndarray:
    """bool: most of `length` pixels along the last axis have light, from each on; one hot pixel beside zeros is no edge of a hole."""
    return _boxes(image >= LIT * EXPECTED / length, length, np.int32) >= MOST * length - 0.5


def _lines(total: np.ndarray, zero: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole rows and columns of zeros: between light, and at the border of the array."""
    from scipy import ndimage

    hole, margin = np.zeros_like(zero), np.zeros_like(zero)
    for axis in (0, 1):
        image, dark, measured = (a if axis == 0 else a.T for a in (total, zero, good))
        sums, n, empty = image.sum(1), len(image), (dark | ~measured).all(1)
        for (run,) in ndimage.find_objects(ndimage.label(empty)[0]):  # type: ignore[misc]
            a, b = run.start, run.stop
            sides = [(i, j) for i, j in ((a - 1, a - 2), (b, b + 1)) if 0 <= i < n and 0 <= j < n]
            if not sides or not measured[a:b].any() or (b - a <= THIN and _is_own(image, a, b, slice(None))):
                continue
            if any(_decline(sums[i], sums[j]) < EXPECTED or (image[i] > 0).sum() < EDGE for i, j in sides):
                continue
            lines = margin if len(sides) == 1 else hole
            (lines if axis == 0 else lines.T)[a:b] |= (zero if axis == 0 else zero.T)[a:b]
    return hole, margin & ~hole


def _is_own(image: np.ndarray, start: int, stop: int, stretch: slice) -> bool:
    """Is the dark stretch of these lines the pattern's own? So it is where its mirror image about the brightest lines is dark, too: real
    objects have such lines, a rectangle whole ones. A line that is its own mirror image, N/2 from the brightest, may be one. (A frame is
    periodic.)"""
    n, columns = len(image), np.arange(image.shape[1])[stretch]
    y, x = (int(np.argmax(image.sum(axis))) for axis in (1, 0))
    sums = image[:, (2 * x - columns) % image.shape[1]].sum(1)
    mirror = 2 * y - np.arange(start, stop)[::-1]
    far = len(columns) == image.shape[1] and abs((start - y + n // 2) % n - n // 2) > n // 4
    for lines in (mirror - 1, mirror, mirror + 1):
        if np.isin(lines % n, np.arange(start, stop)).any():
            if far:
                return True
            continue
        near = (sums[np.arange(k, k + 3) % n].max() for k in (lines[0] - 3, lines[-1] + 1))
        if sums[lines % n].max() < MIRRORED * min(near):
            return True
    return False


def _boxes(values: np.ndarray, length: int, dtype: type = np.float64) -> np.ndarray:
    """Sums of `length` values along the last axis, from each on."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype)
    np.cumsum(values, -1, out=sums[..., 1:])
    return np.maximum(sums[..., length:] - sums[..., :-length], 0)


def _unbroken(dark: np.ndarray, length: int) -> np.ndarray:
    """bool: `length` pixels along the last axis are all dark, from each on."""
    reach = 1
    while reach < length:
        step = min(reach, length - reach)
        dark = dark[..., :-step] & dark[..., step:]
        reach += step
    return dark


def _thin(total: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Stretches of zeros along a row or column, one or two pixels wide, between light on both sides."""
    from scipy import ndimage

    hole = np.zeros_like(zero)
    for axis in (0, 1):
        image, dark, target = (a if axis == 0 else a.T for a in (total, zero, hole))
        n, length, sums = len(image), 2 * EDGE + image.shape[1] // 32, image.sum(1)
        for width in range(1, THIN + 1) if image.shape[1] >= length else ():
            start = np.arange(2, n - width - 1)
            start = start[np.minimum(sums[start - 1], sums[start + width]) > SIDES * EXPECTED]
            inner = np.logical_and.reduce([dark[start + k] for k in range(width)])
            proven = _unbroken(inner, length)  # first: that takes least, and leaves few lines
            some = proven.any(1)
            start, inner, proven = start[some], inner[some], proven[some]
            proven &= _lit(image[start - 1], length) & _lit(image[start + width], length)
            some = proven.any(1)
            start, inner, proven = start[some], inner[some], proven[some]
            up = _decline(_boxes(image[start - 1], length), _boxes(image[start - 2], length))
            down = _decline(_boxes(image[start + width], length), _boxes(image[start + width + 1], length))
            proven &= np.minimum(up, down) > SIDES * EXPECTED
            for i in np.flatnonzero(proven.any(1)):
                pieces, _ = ndimage.label(inner[i])  # type: ignore[misc]
                for piece in np.unique(pieces[np.flatnonzero(proven[i])]):
                    stretch = np.flatnonzero(pieces == piece)
                    if not _is_own(image, start[i], start[i] + width, slice(stretch[0], stretch[-1] + 1)):
                        target[start[i] : start[i] + width, stretch] = True
    return hole


def _eroded(a: np.ndarray, block: int) -> np.ndarray:
    """True at the first corner of each block × block all True."""
    for axis in (0, 1):
        n = a.shape[axis] - block + 1
        a = np.logical_and.reduce([a.take(range(k, k + n), axis) for k in range(block)])
    return a


def _blocks(a: np.ndarray, block: int) -> np.ndarray:
    """The pixels of all blocks that are True throughout."""
    corners, result = _eroded(a, block), np.zeros_like(a)
    if corners.any():
        for i in range(block):
            for j in range(block):
                result[i : i + corners.shape[0], j : j + corners.shape[1]] |= corners
    return result


def _areas(total: np.ndarray, zero: np.ndarray, unmeasured: np.ndarray) -> np.ndarray:
    """Areas of zeros, three pixels wide and more: from a straight edge in the light as far as they go, and those with light all around."""
    from scipy import ndimage

    hole, lit = np.zeros_like(zero), np.argwhere(total >= min(BRIGHT, EXPECTED / EDGE))
    if not len(lit) or not (area := _blocks(zero, 3)).any():
        return hole
    hole = _edged(total, zero, area)
    window = tuple(slice(max(0, a - 3), b + 4) for a, b in zip(lit.min(0), lit.max(0)))  # no hole has light all around it outside
    hole[window] |= _enclosed(total[window], (area & ~hole)[window], (unmeasured | hole)[window])
    for _ in range(2) if hole.any() else ():  # the corners of what is round
        hole |= np.asarray(ndimage.binary_dilation(hole, np.ones((3, 3)))) & zero
    return hole


def _enclosed(total: np.ndarray, area: np.ndarray, unmeasured: np.ndarray) -> np.ndarray:
    """The connected areas around which most pixels are bright."""
    pieces, around = _pieces(area)
    rim = (around > 0) & ~area & ~unmeasured
    rims, bright = (np.bincount(around[rim & lit], minlength=pieces.max() + 1) for lit in (True, total >= BRIGHT))
    return area & ((bright >= SURROUNDED * rims) & (rims >= 8))[pieces]


def _pieces(area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) integers: the number of the connected area that each pixel belongs to, and that it belongs to or touches (one, of several)."""
    from scipy import ndimage

    pieces = np.asarray(ndimage.label(area, np.ones((3, 3)))[0], dtype=np.int64)  # type: ignore[misc]
    return pieces, np.asarray(ndimage.maximum_filter(pieces, 3))


def _edged(total: np.ndarray, zero: np.ndarray, area: np.ndarray) -> np.ndarray:
    """The zeros beyond straight edges in the light, as deep as all pixels of the edge are followed by zeros."""
    hole = np.zeros_like(area)
    for axis in (0, 1):
        bright, wide = ((a if axis == 0 else a.T).sum(1) for a in (total, area))
        for flip in (1, -1):
            image, dark, inside, target = ((a if axis == 0 else a.T)[::flip] for a in (total, zero, area, hole))
            at = np.flatnonzero((bright[::flip][1:-1] > EXPECTED) & (wide[::flip][2:] >= EDGE)) + 2
            if not len(at) or image.shape[1] < EDGE:
                continue
            edges = _unbroken(inside[at], EDGE) & _lit(image[at - 1], EDGE)
            some = edges.any(1)
            at, edges = at[some], edges[some]
            edges &= _decline(_boxes(image[at - 1], EDGE), _boxes(image[at - 2], EDGE)) > EXPECTED
            for i, j in np.argwhere(edges):
                end = np.argmin(np.append(dark[at[i] :, j : j + EDGE].all(1), False))
                target[at[i] : at[i] + end, j : j + EDGE] = True
    return hole


def _one_value(total: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """Areas of one value above 0, unlike what lies around them."""
    same = np.zeros_like(lit)
    same[:-1, :-1] = lit[:-1, :-1] & (total[:-1, :-1] == total[1:, :-1]) & (total[:-1, :-1] == total[:-1, 1:])
    core = _blocks(same, BLOCK - 1)
    if not core.any():
        return core
    area = core.copy()  # and the last row and column of each block
    area[1:] |= core[:-1]
    area[:, 1:] |= core[:, :-1]
    area[1:, 1:] |= core[:-1, :-1]
    pieces, around = _pieces(area)
    value = np.zeros(pieces.max() + 1)
    value[pieces[area]] = total[area]
    rim, c = (around > 0) & ~area & (lit | (total == 0)), value[around]
    unlike = (total > UNLIKE * c + 10) | (UNLIKE * total < c - 10)
    rims, differing = (np.bincount(around[rim & those], minlength=len(value)) for those in (True, unlike))
    return area & ((differing >= SURROUNDED * rims) & (rims > 0))[pieces]
