"""From the numbers in a file to photons and trusted pixels: gaps, negatives, amplitudes, saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from untwin.data.kinds import Kind, kind_of, stated
from untwin.data.noise import Form, Noise, Values
from untwin.errors import InputError

BRIGHTEST = 1e30  # photons in a pixel: single precision holds the sum of as many pixels as there can be
_LEAST_PHOTONS = 1e-30  # in the brightest pixel: squares of less leave single precision
_TOO_MANY = 0.2  # of the pixels: more than this masked by the values themselves is not a pattern any more
_SAME = 4  # pixels that share one extreme value: not by chance,
_LEAST = 255  # where that is at least so large (the smallest top of a detector's range)
_INTEGERS = 0.99  # of counts are whole numbers
_ALONE = 10.0  # times the next negative value, and further from zero: a code that stands alone among noise
_WRAPPED = 1000  # below the top of an unsigned type (an eighth of its range at most): negatives that wrapped
_NEIGHBOURS = 0.8  # of the pixels around one that wrapped are dark or wrapped, too
_HIGHER, _HALF, _MOST = 1.5, 0.6, 0.95  # times the depth of noise about zero; of the pixels; of the sum of the others: or it is no noise
_PEAK = 0.3  # of the largest number that a type holds: a neighbour so bright shows a peak that was scaled to it, and no code


@dataclass(frozen=True)
class Stated:
    """What the user says of the numbers in a file; None where nothing is said. Raises InputError.

    values: "photons", "intensity" (of a noise that is not known), "amplitudes" or "logarithm". gain, offset: after an amplitude or a
    logarithm is undone, photons are (value − offset) / gain.
    """

    values: Values | None = None
    gain: float | None = None
    offset: float | None = None

    def __post_init__(self) -> None:
        if self.values is not None and self.values not in get_args(Values):
            raise InputError(f"values={self.values!r}; expected photons, intensity, amplitudes or logarithm")
        for name in ("gain", "offset"):
            object.__setattr__(self, name, _number(name, getattr(self, name), "above 0" if name == "gain" else "finite"))

    @property
    def form(self) -> Form | None:
        return "intensity" if self.values == "photons" else "amplitude" if self.values == "amplitudes" else self.values


def _number(name: str, value: Any, expected: str) -> float | None:
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value is not None and (number is None or not math.isfinite(number) or (expected == "above 0" and not number > 0)):
        raise InputError(f"{name}={value!r}; expected a number, {expected}")
    return number


def photons(values: np.ndarray, bad: np.ndarray, what: str, by_user: Stated = Stated()) -> tuple[np.ndarray, np.ndarray, Noise, list[str]]:
    """(intensity, measured, noise, guesses): float32 photons, 0 where not measured, and each choice as a sentence.

    values: the array as stored. bad: True where the mask says so. Raises InputError where the values cannot be a
    pattern.
    """
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
    intensity = _nonnegative(intensity, what, guesses)
    shown = raw.astype(wide) if kind.noise.form == "intensity" and raw.max() >= _LEAST else intensity
    measured = _unsaturated(shown, measured, guesses)
    with np.errstate(under="ignore"):
        intensity = np.ascontiguousarray(np.where(measured, intensity, 0), dtype=np.float32)
    if not intensity.max() > _LEAST_PHOTONS:
        raise InputError(
            f"{what} has at most {intensity.max():.2g} photons in a trusted pixel: a mask, or a picture of two values? Check its numbers"
        )
    return intensity, measured, kind.noise, guesses


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
    gaps = _gaps(values, bad, guesses, codes=by_user.form != "logarithm")
    if gaps.mean() > _TOO_MANY:
        raise InputError(
            f"{what}: {int(gaps.sum())} pixels ({_percent(gaps)}) are NaN, infinite or gap codes; more than "
            f"{100 * _TOO_MANY:.0f} % is too much to be guessed at. Set them to 0 and give them as mask= (--mask), or choose another array"
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
    if by_user == Stated():
        return kind_of(values, measured, zeros=zeros)
    return stated(values, measured, by_user.values, by_user.gain, by_user.offset, zeros)


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


def _gaps(values: np.ndarray, bad: np.ndarray, guesses: list[str], codes: bool = True) -> np.ndarray:
    """bool: NaN, infinite, the largest number of a type, and negative codes."""
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
        negative = (values < 0) & ~bad & ~gaps
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
    return both < 2 * share * pairs + 4 * np.sqrt(share * pairs + 1)


def _nonnegative(intensity: np.ndarray, what: str, guesses: list[str]) -> np.ndarray:
    """Negatives are noise about zero: 0."""
    negative = intensity < 0
    if not negative.any():
        return intensity
    negative_sum = -float(intensity[negative].sum(dtype=np.float64))
    positive = float(intensity[~negative].sum(dtype=np.float64))
    if not positive > 0:
        raise InputError(f"{what} is nowhere above 0, down to {intensity.min():g}; expected an intensity. Choose another array")
    # noise about zero is as deep as it is high, and a pattern higher
    noise = -_HIGHER * float(intensity.min()) < float(intensity.max()) and negative.mean() < _HALF and negative_sum < _MOST * positive
    if negative_sum > 0.2 * positive and not noise:
        raise InputError(
            f"{what}: {int(negative.sum())} pixels ({_percent(negative)}) are negative, down to {intensity.min():g}, and sum to "
            f"{100 * negative_sum / positive:.0f} % of the rest; expected an intensity. Subtract less background, or choose another array"
        )
    guesses.append(
        f"{int(negative.sum())} pixels ({_percent(negative)}) are negative, down to {intensity.min():.4g}, as after a background "
        f"subtraction: set to 0, which adds {100 * negative_sum / max(positive - negative_sum, 1e-30):.2g} % to the sum"
    )
    return np.where(negative, 0, intensity)


def _unsaturated(intensity: np.ndarray, measured: np.ndarray, guesses: list[str]) -> np.ndarray:
    """Without the pixels that share the largest value, where so many cannot share it by chance."""
    top = clipped(intensity, measured)
    if top.any():
        guesses.append(saturation_sentence(intensity, top))
    return measured & ~top


def clipped(intensity: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """bool: the measured pixels that share the largest value, where so many cannot share it by chance; none otherwise."""
    brightest = intensity[measured].max(initial=0)
    top = measured & (intensity == brightest)
    return top if brightest >= _LEAST and top.sum() >= _SAME and top.mean() <= _TOO_MANY else np.zeros_like(top)


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
    some = values[values > 0][:100_000].astype(np.float64)
    if not len(some) or values.max() >= 2**31:
        return False
    integers = some == np.rint(some)
    return bool(integers.mean() >= _INTEGERS and math.gcd(*np.unique(some[integers]).astype(np.int64).tolist()) == 1)


def _percent(pixels: np.ndarray) -> str:
    share = 100 * pixels.mean()
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
