"""A slow background of maps: a polynomial surface in each channel."""

from __future__ import annotations

import numpy as np


def without_surface(values: np.ndarray, order: int, measured: np.ndarray) -> np.ndarray:
    """The same without a polynomial in row and column of this order, by least squares over measured pixels in each channel; the mean stays.

    values: (channels, height, width). measured: (height, width) bool.
    """
    if order < 1:
        return values
    rows, columns = (np.linspace(-1, 1, n) for n in measured.shape)
    terms = [np.outer(rows**i, columns**j)[measured] for i in range(order + 1) for j in range(order + 1 - i)]
    matrix = np.stack([terms[0], *(t - t.mean() for t in terms[1:])], axis=1)
    amounts = np.linalg.lstsq(matrix, values[:, measured].T.astype(np.float64), rcond=None)[0]
    amounts[0] = 0
    flat = values.copy()
    flat[:, measured] -= (matrix @ amounts).T.astype(values.dtype)
    return flat
