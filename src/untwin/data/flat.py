"""Flat field, monitor and dead time: which share of the photons a pixel counts; and the dark: what it counts without any.

The counts stay what they are, so that their noise stays known; all of this scales what is expected of them.
"""

from __future__ import annotations

import numpy as np

from untwin.data.typed import amount
from untwin.errors import InputError

DEAD = 0.05  # of the median sensitivity (of the beam): below it a pixel (a frame) counts too little to be trusted
BLIND = 0.5  # of the exposure: a pixel that is dead for longer counts hardly more when more light falls on it


def flat_field(values: np.ndarray, shape: tuple[int, ...], what: str, guesses: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The flat in the shape of the pattern, its median 1, float64, and where it is dead, bool (there it is 1). Raises InputError."""
    flat = _numbers("flat", values)
    dead = ~np.isfinite(flat) | (flat == 0)
    if dead.all():
        raise InputError("the flat is 0 or NaN in every pixel; expected what the detector counts where the same light falls on every pixel")
    if bad := int((flat[~dead] < 0).sum()):
        raise InputError(f"the flat is negative in {bad:,} of {flat.size:,} pixels; expected counts: set dead pixels to 0, or mask them")
    flat = flat / np.median(flat[~dead])
    dead |= ~(flat >= DEAD)
    if n := int(dead.sum()):
        pixels = f"{amount(n, 'pixel')} of the flat ({100 * dead.mean():.2g} %) {'is' if n == 1 else 'are'}"
        guesses.append(f"{pixels} 0, NaN or below {DEAD:g} of its median: dead, masked")
    return _in_shape("flat", np.where(dead, 1.0, flat), shape, what), _in_shape("flat", dead, shape, what)


def beam(values: np.ndarray, shape: tuple[int, ...], axis: int, what: str, guesses: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The intensity of the beam in each frame (along `axis`) of a stack, its mean over the frames 1, float64, and in which frames there was
    none, bool (there it is 1); both in the shape of the pattern. Raises InputError."""
    monitor = _numbers("monitor", values, "frame").reshape(-1)
    if len(shape) != 3:
        raise InputError(f"a monitor was given, and {what} is one frame of shape {shape}; expected a stack: leave the monitor out")
    if len(monitor) != shape[axis] or np.size(values) != max(np.shape(values)):
        raise InputError(
            f"the monitor has shape {np.shape(values)}, {what} {shape}; expected one number for each of the {shape[axis]} frames"
        )
    dead = ~np.isfinite(monitor) | (monitor == 0)
    if dead.all():
        raise InputError("the monitor is 0 or NaN in every frame; expected the intensity of the beam, in any unit")
    if bad := int((monitor[~dead] < 0).sum()):
        raise InputError(f"the monitor is negative in {bad} of {len(monitor)} frames; expected an intensity: take its offset out first")
    dead |= ~(monitor >= DEAD * np.median(monitor[~dead]))
    if dead.any():
        at = ", ".join(map(str, np.flatnonzero(dead)[:10])) + (", ..." if dead.sum() > 10 else "")
        guesses.append(f"the monitor is 0, NaN or below {DEAD:g} of its median in {dead.sum()} of {len(dead)} frames ({at}): not measured")
    monitor = np.where(dead, 1.0, monitor / monitor[~dead].mean())
    column = tuple(n if a == axis else 1 for a, n in enumerate(shape))
    return np.broadcast_to(monitor.reshape(column), shape), np.broadcast_to(dead.reshape(column), shape)


def share_of_exposure(dead_time: float | str) -> float:
    """After each count a pixel is blind for this share of the exposure of a frame; a text such as "1.2e-7/0.5" divides seconds by seconds.
    Raises InputError."""
    parts = str(dead_time).split("/")
    try:
        share = float(parts[0]) / float(parts[1]) if len(parts) == 2 else float(dead_time)
    except (TypeError, ValueError, ZeroDivisionError):
        share = -1.0
    if not 0 <= share < 1:
        raise InputError(
            f"dead_time={dead_time!r}: expected the seconds that a pixel is blind after a count over the seconds of a frame, such as "
            "1.2e-7/0.5"
        )
    return share


def live(
    counts: np.ndarray, measured: np.ndarray, share: float, photons: bool, what: str, guesses: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """For which share of the exposure each pixel could count, 1 − n t, float64, and where that is too little, bool (there it is 1).

    counts: n; photons: they are that. share: t, `share_of_exposure`. The detector is not paralysable: light that comes while it is blind is
    lost, and lengthens nothing. Its own counts belong here, not smoothed ones: of arrivals at a rate λ per frame, the probability of n
    counts at the times that they came is λ^n exp(−λ (1 − n t)), as every instant at which the pixel could count and did not is a factor of
    its own. As a function of λ that is the Poisson likelihood of n counts where (1 − n t) λ are expected, but for the end of the frame,
    behind which the last count's blindness may reach. Both moments stay right, too (renewal theory: n has mean λ / (1 + λ t) and variance
    λ / (1 + λ t)³): n − (1 − n t) λ = n (1 + λ t) − λ has mean 0, and its variance is λ / (1 + λ t), which is what is expected.

    Raises InputError.
    """
    n = np.where(measured, counts, 0).astype(np.float64)
    if not photons:
        raise InputError(
            f"a dead time needs counts of photons, and {what} holds other numbers: say their gain= (--gain), or leave dead_time out"
        )
    most = float(n.max())
    if most * share > 1:
        raise InputError(
            f"a pixel counts {most:,.0f}; with a dead time of {share:.3g} of the exposure no more than {1 / share:,.0f} can be counted. "
            "Give both in seconds, the exposure of all that was added up, or mask the pixel"
        )
    blind = n * share >= BLIND
    if number := int(blind.sum()):
        pixels = f"{amount(number, 'pixel')} {'was' if number == 1 else 'were'}"
        guesses.append(f"{pixels} blind for half of the exposure or longer, by their counts and the dead time: saturated, masked")
    return np.where(blind, 1.0, 1 - n * share), blind


def dark_counts(values: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The dark in the shape of the pattern, float64. Raises InputError."""
    dark = _numbers("dark", values)
    if bad := int((~np.isfinite(dark) | (dark < 0)).sum()):
        raise InputError(
            f"the dark is negative, NaN or infinite in {bad:,} of {dark.size:,} pixels; expected the counts of a pixel without light: set "
            "these to 0 and mask the pixels"
        )
    return _in_shape("dark", dark, shape, what)


def require_light(intensity: np.ndarray, measured: np.ndarray, dark: np.ndarray, guesses: list[str]) -> None:
    """Raise InputError where the dark leaves nothing of the pattern."""
    total, counts = float(dark[measured].sum()), float(intensity[measured].sum(dtype=np.float64))
    if not (measured & (intensity > dark)).any():
        raise InputError(
            f"the dark leaves nothing of the pattern: it has {total:.3g} counts, the pattern {counts:.3g}; expected the counts of a pixel "
            "without light in the time of one frame"
        )
    if total > counts:
        guesses.append(f"the dark has {total:.3g} counts, the pattern {counts:.3g}: is it of the exposure of one frame?")


def normalised(flat: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """float32 with a mean of 1 over the measured pixels."""
    return (flat / flat[measured].mean(dtype=np.float64)).astype(np.float32)


def _numbers(name: str, values: np.ndarray, each: str = "pixel") -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or not values.size:
        raise InputError(f"the {name} is of {values.dtype} and shape {values.shape}; expected real numbers, one for each {each}")
    return values.astype(np.float64)


def _in_shape(name: str, values: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    """That of one frame holds for all of a 3D pattern."""
    if values.ndim > 2:
        values = values.reshape([n for n in values.shape if n != 1] or [1])
    if values.shape == shape or (len(shape) == 3 and values.shape == shape[1:]):
        return np.broadcast_to(values, shape)
    frame = shape[-values.ndim :]
    window = ", ".join(f"0:{n}" for n in frame)
    larger = 2 <= values.ndim <= len(shape) and all(n >= m for n, m in zip(values.shape, frame))
    way = f"crop it to the window of the detector that was read out, such as {name}[{window}]" if larger else "crop or pad one of them"
    raise InputError(f"the {name} has shape {values.shape}, {what} {shape}; {way}")
