"""From the numbers in a file to photons and trusted pixels: gaps, negatives, amplitudes, saturation."""

from __future__ import annotations

import math

import numpy as np

from untwin.errors import InputError

BRIGHTEST = 1e30  # photons in a pixel: single precision holds the sum of as many pixels as there can be
_TOO_MANY = 0.2  # of the pixels: more than this masked by the values themselves is not a pattern any more
_SAME = 4  # pixels that share one extreme value: not by chance,
_LEAST = 255  # where that is at least so large (the smallest top of a detector's range)
_INTEGERS = 0.99  # of counts are whole numbers


def photons(values: np.ndarray, bad: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(intensity, measured, guesses): float32 photons, 0 where not measured, and each choice as a sentence.

    values: the array as stored. bad: True where the mask says so. Raises InputError where the values cannot be a
    pattern.
    """
    if values.dtype.kind == "c":
        raise InputError(
            f"{what} is complex ({values.dtype}): an object or a wave, not a measured intensity. Give the intensity "
            "|FFT|², or use "
            "untwin.data.read.read_object for an object"
        )
    if values.dtype.kind == "b":
        raise InputError(f"{what} is boolean: a mask or a support, not an intensity; choose another array")
    if bad.all():
        raise InputError(f"the mask marks every pixel of {what} as bad; nonzero means bad: invert the mask if it marks good ones")
    if values.dtype.kind in "iuf" and (least := values.min()) == values.max():  # before anything takes memory
        raise InputError(f"{what} is {least:g} in every pixel: no diffraction, nothing was measured; choose another array")
    guesses: list[str] = []
    if bad.mean() > 0.5:
        guesses.append(f"the mask marks {_percent(bad)} of the pixels as bad (nonzero = bad); invert it if it marks the good ones")
    gaps = _gaps(values, bad, guesses)
    if gaps.mean() > _TOO_MANY:
        raise InputError(
            f"{what}: {int(gaps.sum())} pixels ({_percent(gaps)}) are NaN, infinite or gap codes; more than "
            f"{100 * _TOO_MANY:.0f} % is too much to be guessed at. Set them to 0 and give them as mask= (--mask), or "
            "choose another array"
        )
    measured = ~(bad | gaps)
    if not measured.any():
        raise InputError(f"{what} has no trusted pixel left: every one is masked, NaN or a gap code; check the mask")
    with np.errstate(over="ignore"):
        intensity = np.where(measured, values, 0).astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
    intensity = _nonnegative(intensity, what, guesses)
    brightest = intensity.max()
    if brightest == 0:
        raise InputError(f"{what} is 0 in every trusted pixel: nothing was measured; choose another array or check the mask")
    if intensity[measured].min() == brightest:
        raise InputError(f"{what} is {brightest:g} in every trusted pixel: no diffraction; choose another array")
    intensity = _squared(intensity, measured, guesses)
    if intensity.max() > BRIGHTEST:
        raise InputError(f"{what} goes up to {brightest:.3g}; expected photons per pixel. Divide by the detector's gain")
    measured = _unsaturated(intensity, measured, guesses)
    intensity[~measured] = 0
    return np.ascontiguousarray(intensity, dtype=np.float32), measured, guesses


def _gaps(values: np.ndarray, bad: np.ndarray, guesses: list[str]) -> np.ndarray:
    gaps = np.zeros(values.shape, bool)
    if values.dtype.kind == "f":
        gaps = ~np.isfinite(values) & ~bad
        if gaps.any():
            guesses.append(f"{int(gaps.sum())} NaN or infinite pixels ({_percent(gaps)}) are masked")
    elif values.dtype.itemsize >= 2:
        top = (values == np.iinfo(values.dtype).max) & ~bad
        if top.any():
            guesses.append(
                f"{int(top.sum())} pixels ({_percent(top)}) hold the largest {values.dtype} "
                f"({np.iinfo(values.dtype).max}), which "
                "stands for a gap or for saturation: masked"
            )
        gaps |= top
    if values.dtype.kind in "if":
        negative = (values < 0) & ~bad & ~gaps
        levels, count = np.unique(values[negative], return_counts=True) if negative.any() else ([], [])
        single = len(levels) == 1 and (count[0] >= _SAME or levels[0] in (-1, -2))
        codes = [v for v, n in zip(levels, count) if single or (v in (-1, -2) and (n >= _SAME or len(levels) <= 2))]
        if codes:
            code = np.isin(values, codes) & negative
            text = ", ".join(f"{v:g}" for v in codes)
            guesses.append(f"{int(code.sum())} negative pixels ({_percent(code)}) hold the gap code {text}: masked")
            gaps |= code
    return gaps


def _nonnegative(intensity: np.ndarray, what: str, guesses: list[str]) -> np.ndarray:
    negative = intensity < 0
    if not negative.any():
        return intensity
    negative_sum = -float(intensity[negative].sum(dtype=np.float64))
    positive = float(intensity[~negative].sum(dtype=np.float64))
    if not positive > 0:
        raise InputError(f"{what} is nowhere above 0, down to {intensity.min():g}; expected an intensity. Choose another array")
    if negative_sum > 0.2 * positive:
        raise InputError(
            f"{what}: {int(negative.sum())} pixels ({_percent(negative)}) are negative, down to {intensity.min():g}, "
            "and sum to "
            f"{100 * negative_sum / positive:.0f} % of the rest; expected an intensity. Subtract less background, "
            "or choose another "
            "array"
        )
    guesses.append(
        f"{int(negative.sum())} pixels ({_percent(negative)}) are negative, down to {intensity.min():g}, as after a "
        "background "
        "subtraction: set to 0"
    )
    return np.where(negative, 0, intensity)


def _squared(intensity: np.ndarray, measured: np.ndarray, guesses: list[str]) -> np.ndarray:
    """Square roots of counts (as cohere stores them) become counts."""
    some = intensity[measured & (intensity > 0)][:1_000_000].astype(np.float64)
    fraction = np.abs(some - np.round(some)) > 1e-3
    if fraction.mean() <= 0.01:
        return intensity
    small = some[fraction & (some < 300)]
    square = small**2
    if small.size >= 16 and np.mean(np.abs(square - np.round(square)) < 0.01 + 1e-6 * square) > 0.99:
        guesses.append("values are square roots of counts (integers only after squaring): taken as amplitudes and squared")
        squared = intensity.astype(np.float64) ** 2
        return np.where(squared < 2**24, np.round(squared), squared)
    guesses.append(f"{100 * fraction.mean():.0f} % of the values are not integers: not counts, so that likelihoods are approximate")
    return intensity


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
