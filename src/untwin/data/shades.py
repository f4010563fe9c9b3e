"""Masks that are stored as pictures: what of them counts, where they are not black and white."""

from __future__ import annotations

import numpy as np

from untwin.errors import InputError

HALF = 127  # of the 255 of a JPEG
MANY = 16  # numbers besides 0: flags and labels have fewer
FEW = 0.01  # of the pixels are neither 0 nor the largest: the edges of what is black and white are no more


def cut_at_half(a: np.ndarray, what: str) -> tuple[np.ndarray, str]:
    """bool: where a JPEG, 8 bits, is brighter than half of white, and the sentence of it. Raises InputError where it nowhere is, and not
    black."""
    if 0 < a.max() <= HALF:
        raise InputError(f"{what} is a JPEG that reaches only {a.max()} of 255; expected black and white: write it as PNG")
    high = a > HALF
    share = f"{100 * high.mean():.0f} % of the pixels"
    return high, f"{what} is a JPEG, whose compression leaves no zeros: what is above {HALF} counts as nonzero, {share}"


def sentence_of_shades(a: np.ndarray, what: str) -> str:
    """What is to be said where the numbers look like a picture, or like black and white that was blurred or compressed; else empty."""
    if a.dtype == bool or not (a != 0).any():
        return ""
    between = a[(a != 0) & (a != a.max())]
    if between.size <= FEW * a.size or (levels := len(np.unique(between))) <= MANY:
        return ""
    return (
        f"{what} holds {levels} numbers besides 0 and {a.max():g}, and nonzero is what counts, "
        f"{100 * (a != 0).mean():.0f} % of its pixels: if it is a picture, or was blurred or a JPEG once, make it black and white"
    )
