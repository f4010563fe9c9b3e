"""Flat field and dark: which share of its photons a pixel of the detector counts, and what it counts without any."""

from __future__ import annotations

import numpy as np

from untwin.errors import InputError

DEAD = 0.05  # of the median sensitivity: below it a pixel counts too little to be trusted


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
        guesses.append(f"{n} pixels of the flat ({100 * dead.mean():.2g} %) are 0, NaN or below {DEAD:g} of its median: dead, masked")
    return _in_shape("flat", np.where(dead, 1.0, flat), shape, what), _in_shape("flat", dead, shape, what)


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


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or not values.size:
        raise InputError(f"the {name} is of {values.dtype} and shape {values.shape}; expected real numbers, one for each pixel")
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
