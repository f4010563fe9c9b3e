"""From the numbers in a file to photons and trusted pixels: gaps, negatives, amplitudes, saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from untwin.data.kinds import Kind, kind_of, stated
from untwin.data.noise import UNSTATED, Noise, Stated
from untwin.errors import InputError

BRIGHTEST = 1e30  # photons in a pixel: single precision holds the sum of as many pixels as there can be
_LEAST_PHOTONS = 1e-30  # in the brightest pixel: squares of less leave single precision
_TOO_MANY = 0.2  # of the pixels: more than this masked by the values themselves is not a pattern any more
_SAME = 4  # pixels that share one extreme value: not by chance,
_PIECES = 10_000  # of touching ones that are looked at
_LEAST = 255  # where that is at least so large (the smallest top of a detector's range)
_INTEGERS = 0.99  # of counts are whole numbers
_ALONE = 10.0  # times the next negative value, and further from zero: a code that stands alone among noise
_WRAPPED = 1000  # below the top of an unsigned type (an eighth of its range at most): negatives that wrapped
_NEIGHBOURS = 0.8  # of the pixels around one that wrapped are dark or wrapped, too
_HIGHER, _HALF, _MOST = 1.5, 0.6, 0.95  # times the depth of noise about zero; of the pixels; of the sum of the others: or it is no noise
_SCATTERED = 0.01  # of the pixels: of fewer negatives nothing is expected elsewhere
_AROUND = {2: 7, 3: 5}  # pixels along an axis: the mean of 49 or 125 errs by a tenth of what a pixel scatters
_DARK = 0.25  # of the pixels around are negative where there is little light: half of them are where there is none
_OVER = 0.5  # of what was set to 0, where little light is: so far below 0 is the mean of no noise about it
_PEAK = 0.3  # of the largest number that a type holds: a neighbour so bright shows a peak that was scaled to it, and no code


@dataclass(frozen=True, eq=False)
class Light:
    """What there is of each pixel, (*grid). intensity: float32 photons, 0 where not measured. measured: bool. floor: float32, how much more
    than the light is expected of a pixel, whose negatives are 0 now; None where none is. guesses: each choice as a sentence."""

    intensity: np.ndarray
    measured: np.ndarray
    noise: Noise
    floor: np.ndarray | None
    guesses: list[str]


def photons(values: np.ndarray, bad: np.ndarray, what: str, by_user: Stated = UNSTATED) -> Light:
    """values: the array as stored. bad: True where the mask says so. Raises InputError where the values cannot be a pattern."""
    _require_pattern(values, bad, what)
    guesses: list[str] = []
    if bad.mean() > 0.5:
        guesses.append(f"the mask marks {_percent(bad)} of the pixels as bad (nonzero = bad); invert it if it marks the good ones")
    values = _unwrapped(values, bad, guesses)
    kind, measured = _kind(values, bad, what, by_user, guesses)
    raw = np.where(measured, values, 0)
    if not raw.any():
        raise InputError(f"{what} is 0 in every trusted pixel: nothing was measured; choose another array or check the mask")
    if raw[measured].min() == raw.max():
        raise InputError(f"{what} is {raw.max():g} in every trusted pixel: no diffraction; choose another array")
    wide = np.float64 if values.dtype.itemsize > 4 else np.float32
    with np.errstate(over="ignore"):
        intensity = raw.astype(wide) if kind.intensity is None else kind.intensity
    if intensity.max() > BRIGHTEST:
        raise InputError(f"{what} goes up to {intensity.max():.3g}; expected photons per pixel, fewer than {BRIGHTEST:g}")
    if kind.sentence:
        guesses.append(kind.sentence)
    intensity, floor = _nonnegative(intensity, measured, kind.noise, what, guesses)
    shown = raw.astype(wide) if kind.noise.form == "intensity" and raw.max() >= _LEAST else intensity
    measured = _unsaturated(shown, measured, guesses)
    with np.errstate(under="ignore"):
        intensity = np.ascontiguousarray(np.where(measured, intensity, 0), dtype=np.float32)
    if not intensity.max() > _LEAST_PHOTONS:
        raise InputError(
            f"{what} has at most {intensity.max():.2g} photons in a trusted pixel: a mask, or a picture of two values? Check its numbers"
        )
    return Light(intensity, measured, kind.noise, floor, guesses)


def _require_pattern(values: np.ndarray, bad: np.ndarray, what: str) -> None:
    """Raise InputError where the values cannot be an intensity."""
    if values.dtype.kind == "c":
        raise InputError(
            f"{what} is complex ({values.dtype}): an object or a wave, not a measured intensity. Give the intensity |FFT|², or use "
            "untwin.read_object for an object"
        )
    if values.dtype.kind == "b":
        raise InputError(f"{what} is boolean: a mask or a support, not an intensity; choose another array")
    if bad.all():
        raise InputError(f"the mask marks every pixel of {what} as bad; nonzero means bad: invert the mask if it marks good ones")
    if values.dtype.kind in "iuf" and (least := values.min()) == values.max():  # before anything takes memory
        raise InputError(f"{what} is {least:g} in every pixel: no diffraction, nothing was measured; choose another array")


def _kind(values: np.ndarray, bad: np.ndarray, what: str, by_user: Stated, guesses: list[str]) -> tuple[Kind, np.ndarray]:
    """What the numbers are, and where they are measured."""
    zeros = np.isneginf(values) & ~bad if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if zeros.any() and by_user.form in (None, "logarithm") and np.isfinite(values).any():
        rest: list[str] = []
        measured = ~(bad | _gaps(np.where(zeros, 0, values), bad, rest, codes=False))
        kind = _looked_at(np.where(zeros, 0, values), measured, by_user, zeros)
        if kind.noise.form == "logarithm":
            guesses += rest
            return kind, measured
    gaps = _gaps(values, bad, guesses, codes=by_user.form != "logarithm", below=min(by_user.offset or 0.0, 0.0))
    if gaps.mean() > _TOO_MANY:
        raise InputError(
            f"{what}: {int(gaps.sum())} pixels ({_percent(gaps)}) are NaN, infinite or gap codes; more than "
            f"{100 * _TOO_MANY:.0f} % is too much to be guessed at. Set them to 0 and give them as mask= (--mask), or choose another "
            'array; where a negative number is what no light gives, say so with offset= (--offset), or with values="logarithm" '
            "(--values logarithm)"
        )
    measured = ~(bad | gaps)
    if measured.any() and (most := values[measured].max()) > BRIGHTEST:
        raise InputError(f"{what} goes up to {most:.3g}; expected photons per pixel. Divide by the detector's gain")
    peak = _peak_at_top(values, measured)
    kind = None
    if peak.any():
        kind = _looked_at(values, measured, by_user)
        if kind.noise == Noise():  # counts: the detector can count no further
            kind, measured = None, measured & ~peak
            guesses.append(_top_sentence(values, peak))
    if not measured.any():
        raise InputError(f"{what} has no trusted pixel left: every one is masked, NaN or a gap code; check the mask")
    return kind or _looked_at(values, measured, by_user), measured


def _looked_at(values: np.ndarray, measured: np.ndarray, by_user: Stated, zeros: np.ndarray | None = None) -> Kind:
    return kind_of(values, measured, zeros=zeros) if by_user == UNSTATED else stated(values, measured, by_user, zeros)


def _unwrapped(values: np.ndarray, bad: np.ndarray, guesses: list[str]) -> np.ndarray:
    """Unsigned numbers from which too much was subtracted, as negative numbers: they lie just below the largest that the type holds,
    nothing lies below them, and the pixels around them are dark."""
    if values.dtype.kind != "u" or values.dtype.itemsize > 4:
        return values
    from scipy import ndimage

    size = np.iinfo(values.dtype).max + 1
    reach = min(_WRAPPED, size // 8)
    high = (values >= size - reach) & ~bad
    levels = np.unique(values[high])
    if len(levels) < 3 or high.sum() < 2 * _SAME:
        return values
    deepest = size - int(levels[0])
    between = (values >= size - max(3 * deepest, deepest + 16)) & ~high & ~bad
    dark = high | (values <= 4 * deepest + 16)
    around = ndimage.uniform_filter(dark.astype(np.float32), 3, mode="nearest")[high]
    if between.sum() > 0.01 * high.sum() or np.median(around) < _NEIGHBOURS:
        return values
    guesses.append(
        f"{int(high.sum())} pixels ({_percent(high)}) hold {int(levels[0])} to {int(levels[-1])} amid dark ones: negative numbers that "
        f"wrapped in {values.dtype}, as after a dark was subtracted; read as {int(levels[0]) - size} to {int(levels[-1]) - size}"
    )
    return np.where(high, values.astype(np.int64) - size, values.astype(np.int64))


def _peak_at_top(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The few pixels at the largest 16-bit number whose neighbours are nearly as bright: a pattern that was scaled to it, or saturation."""
    none = np.zeros(values.shape, bool)
    if values.dtype.kind not in "iu" or values.dtype.itemsize != 2:
        return none
    top = (values == np.iinfo(values.dtype).max) & measured
    return top if 0 < top.sum() < _SAME and _beside_bright(values, top) else none


def _beside_bright(values: np.ndarray, top: np.ndarray) -> bool:
    """Whether each of a few pixels has a neighbour that is nearly as bright, and not at the top."""
    for at in np.argwhere(top):
        around = tuple(slice(max(0, i - 1), i + 2) for i in at)
        if not (values[around][~top[around]] > _PEAK * values[tuple(at)]).any():
            return False
    return True


def _gaps(values: np.ndarray, bad: np.ndarray, guesses: list[str], codes: bool = True, below: float = 0.0) -> np.ndarray:
    """bool: NaN, infinite, the largest number of a type, and codes: negative, and below what no light gives."""
    gaps = np.zeros(values.shape, bool)
    if values.dtype.kind == "f":
        gaps = ~np.isfinite(values) & ~bad
        if gaps.any():
            guesses.append(f"{int(gaps.sum())} NaN or infinite pixels ({_percent(gaps)}) are masked")
    elif values.dtype.itemsize >= 2:
        top = (values == np.iinfo(values.dtype).max) & ~bad & ~_peak_at_top(values, ~bad)
        if top.any():
            guesses.append(_top_sentence(values, top))
        gaps |= top
    if codes and values.dtype.kind in "if":
        negative = (values < below) & ~bad & ~gaps
        if alone := _codes(values, negative):
            code = np.isin(values, alone) & negative
            text = ", ".join(f"{v:g}" for v in alone)
            guesses.append(f"{int(code.sum())} negative pixels ({_percent(code)}) hold the gap code {text}: masked")
            gaps |= code
    return gaps


def _top_sentence(values: np.ndarray, top: np.ndarray) -> str:
    return (
        f"{int(top.sum())} pixels ({_percent(top)}) hold the largest {values.dtype} ({np.iinfo(values.dtype).max}), which stands for a gap "
        "or for saturation: masked"
    )


def _codes(values: np.ndarray, negative: np.ndarray) -> list[float]:
    """The negative values that stand for a gap: they stand alone. Noise about zero has others beside them."""
    if not negative.any():
        return []
    levels, count = np.unique(values[negative], return_counts=True)
    if len(levels) == 1 and levels[0] not in (-1, -2):
        return list(levels) if count[0] >= _SAME else []
    if np.isin(levels, (-1, -2)).all():
        return [] if _is_noise(values, negative) else list(levels)
    return [levels[0]] if count[0] >= _SAME and levels[0] < _ALONE * levels[1] else []


def _is_noise(values: np.ndarray, negative: np.ndarray) -> bool:
    """Whether −1 and −2 lie as by chance among the zeros and ones: many, and no more of them beside each other than elsewhere."""
    dark = values <= 1
    share = negative.sum() / dark.sum()
    if share < 0.02 or (values[dark] == 1).sum() < 0.3 * negative.sum():
        return False
    pairs, both = 0, 0
    for axis in range(values.ndim):
        one, next_to = (np.take(a, range(n, values.shape[axis] - 1 + n), axis) for a, n in ((negative, 0), (dark, 1)))
        pairs += int((one & next_to).sum())
        both += int((one & np.take(negative, range(1, values.shape[axis]), axis)).sum())
    return both < min(2 * share, (1 + share) / 2) * pairs + 4 * np.sqrt(share * pairs + 1)


def _nonnegative(
    intensity: np.ndarray, measured: np.ndarray, noise: Noise, what: str, guesses: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(intensity, floor): negatives are noise about zero, and become 0. Not where counts are too few by one or two here and there."""
    negative = intensity < 0
    if not negative.any():
        return intensity, None
    negative_sum = -float(intensity[negative].sum(dtype=np.float64))
    positive = float(intensity[~negative].sum(dtype=np.float64))
    if not positive > 0:
        raise InputError(f"{what} is nowhere above 0, down to {intensity.min():g}; expected an intensity. Choose another array")
    # noise about zero is as deep as it is high, and a pattern higher
    about_zero = -_HIGHER * float(intensity.min()) < float(intensity.max()) and negative.mean() < _HALF and negative_sum < _MOST * positive
    if negative_sum > 0.2 * positive and not about_zero:
        raise InputError(
            f"{what}: {int(negative.sum())} pixels ({_percent(negative)}) are negative, down to {intensity.min():g}, and sum to "
            f"{100 * negative_sum / positive:.0f} % of the rest; expected an intensity. Subtract less background, or choose another array"
        )
    noisy = noise.kind == "unknown" and negative.mean() > _SCATTERED
    floor, mean = _floor(intensity, negative, measured) if noisy else (None, 0.0)
    guesses.append(
        f"{int(negative.sum())} pixels ({_percent(negative)}) are negative, down to {intensity.min():.4g}, as after a background "
        f"subtraction: set to 0, which adds {100 * negative_sum / max(positive - negative_sum, 1e-30):.2g} % to the sum"
        + (", as the model expects (Pattern.dark)" if floor is not None else "")
    )
    if noisy and floor is None:
        guesses.append(
            f"where there is little light the mean is {mean:.3g}, below 0: too much was subtracted, and dim light is lost. "
            "If you know what no light gives, say so with offset= (--offset)"
        )
    return np.where(negative, 0, intensity), floor


def _floor(intensity: np.ndarray, negative: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray | None, float]:
    """(floor, mean): by how much more than the light is expected of max(v, 0): of numbers v whose mean is the light, by the mean of
    max(−v, 0), whatever their noise. It is taken from the pixels around. mean: of v where many are negative; below 0 too much was
    subtracted, and the floor is lower by so much; None where that is most of it."""
    from scipy import ndimage

    def around(values: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(values.astype(np.float32), _AROUND[values.ndim], mode="nearest")

    many = 1.0 if measured.all() else np.maximum(around(measured), 1e-3)
    dark = (around(negative) > _DARK * many) & measured
    cut = np.where(negative, -intensity, 0)
    mean = float(intensity[dark].mean(dtype=np.float64)) if dark.any() else 0.0
    if dark.any() and -mean > _OVER * cut[dark].mean(dtype=np.float64):
        return None, mean
    return np.where(measured, np.maximum(around(cut) / many + min(mean, 0.0), 0), 0).astype(np.float32), mean


def _unsaturated(intensity: np.ndarray, measured: np.ndarray, guesses: list[str]) -> np.ndarray:
    """Without the pixels that share the largest value, where so many cannot share it by chance."""
    top = clipped(intensity, measured)
    if not top.any() and (many := clipped(intensity, measured, 1.0)).any():
        guesses.append(
            f"{int(many.sum())} pixels ({_percent(many)}) sit at exactly {intensity[many].max():.6g}, the largest value: too many to be "
            "masked as saturated. If the detector counts no further, mask them yourself, or give an attenuated frame"
        )
    hot = _isolated(np.where(measured, intensity, 0), measured, top) if top.any() else top
    if hot.any():
        which = f"{int(hot.sum())} pixels" if hot.sum() > 1 else "1 pixel"
        guesses.append(f"{which} at exactly {intensity[hot].max():.6g}, apart from each other and beside dark ones: masked as hot")
    if (top & ~hot).any():
        guesses.append(saturation_sentence(intensity, top & ~hot))
    return measured & ~top


def _isolated(intensity: np.ndarray, measured: np.ndarray, top: np.ndarray) -> np.ndarray:
    """bool: of the pixels at the top those that touch only few others, and whose neighbours in their frame are so dark that no light makes
    them. intensity: 0 where not measured."""
    from scipy import ndimage

    frame = np.ones((3, 3), bool) if top.ndim == 2 else np.pad(np.ones((1, 3, 3), bool), ((1, 1), (0, 0), (0, 0)))
    pieces, number = ndimage.label(top, frame)  # type: ignore[misc]
    isolated = np.zeros_like(top)
    for k, window in enumerate(ndimage.find_objects(pieces) if number <= _PIECES else [], 1):
        window = tuple(slice(max(0, s.start - w), s.stop + w) for s, w in zip(window, (0, 1, 1)[-top.ndim :]))
        piece = pieces[window] == k
        around = np.asarray(ndimage.binary_dilation(piece, frame)) & ~piece
        dark = intensity[window][around].max(initial=0) < intensity[window][piece].max() / _ALONE
        if piece.sum() <= _SAME and dark and measured[window][around].mean() > 0.6:
            isolated[window] |= piece
    return isolated


def clipped(intensity: np.ndarray, measured: np.ndarray, most: float = _TOO_MANY) -> np.ndarray:
    """bool: the measured pixels that share the largest value, where so many cannot share it by chance; none otherwise, or where they are
    more than this share of all."""
    brightest = intensity[measured].max(initial=0)
    top = measured & (intensity == brightest)
    return top if brightest >= _LEAST and top.sum() >= _SAME and top.mean() <= most else np.zeros_like(top)


def saturation_sentence(intensity: np.ndarray, top: np.ndarray) -> str:
    """What is said of the pixels that are clipped. intensity: unmeasured ones 0."""
    brightest = intensity[top].max()
    share = float(intensity[top].sum(dtype=np.float64) / intensity.sum(dtype=np.float64))
    power = np.log2(brightest + 1)
    name = f" (2^{power:.0f} − 1)" if power == round(power) else ""
    return (
        f"{int(top.sum())} pixels sit at exactly {brightest:.0f}{name}: masked as saturated, {100 * share:.0f} % of "
        "all photons; mask "
        "them yourself, or give an attenuated frame, to decide otherwise"
    )


def counted(values: np.ndarray) -> bool:
    """Are these counts: whole numbers but for a few, and not all multiples of a gain? values: of the measured pixels."""
    some = values[values > 0]
    some = some[:: max(1, len(some) // 100_000)].astype(np.float64)
    if not len(some) or values.max() >= 2**31:
        return False
    integers = some == np.rint(some)
    return bool(integers.mean() >= _INTEGERS and math.gcd(*np.unique(some[integers]).astype(np.int64).tolist()) == 1)


def _percent(pixels: np.ndarray) -> str:
    share = 100 * pixels.mean()
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
