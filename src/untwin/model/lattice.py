"""A lattice in maps: plane waves that all channels share, each a sharp peak of the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

PEAK = 50.0  # power over the median of its neighbourhood: speckle of defects at random exceeds it with a chance of exp(-35)
NEIGHBOURHOOD = 9  # pixels of the spectrum
MOST = 12  # waves


def plane_waves(values: np.ndarray) -> np.ndarray:
    """(waves, 2): cycles per pixel along rows and columns, the strongest first; the zero frequency and its neighbours are none.

    values: (channels, height, width), finite.
    """
    from scipy.ndimage import median_filter
    from scipy.optimize import minimize

    window = np.hanning(values.shape[1])[:, None] * np.hanning(values.shape[2])
    windowed = (values - values.mean((1, 2), keepdims=True)) * window
    power = (np.abs(np.fft.fft2(windowed)) ** 2).sum(0)
    ratio = power / np.maximum(median_filter(power, NEIGHBOURHOOD, mode="wrap"), 1e-30)
    fy, fx = (np.fft.fftfreq(n) for n in power.shape)
    clear = (np.abs(fy)[:, None] > 3 / power.shape[0]) | (np.abs(fx) > 3 / power.shape[1])
    half = (fx > 0) | ((fx == 0) & (fy[:, None] > 0))
    waves: list[np.ndarray] = []
    for at in np.argsort(np.where(clear & half, ratio, 0), axis=None)[::-1]:
        i, j = np.unravel_index(int(at), power.shape)
        if ratio[i, j] < PEAK or len(waves) == MOST:
            break
        first = np.array([fy[i], fx[j]])
        if all(np.abs((first - w) * power.shape).max() > 3 for w in waves):
            options = {"initial_simplex": _simplex(first, power.shape)}
            waves.append(minimize(lambda q: -_power(windowed, q), first, method="Nelder-Mead", options=options).x)
    return np.array(waves).reshape(-1, 2)


def without(values: np.ndarray, waves: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The same without these plane waves, each channel with its own amplitudes and phases, by least squares over measured pixels."""
    if not len(waves):
        return values
    y, x = np.nonzero(measured)
    phase = 2 * np.pi * (np.outer(y, waves[:, 0]) + np.outer(x, waves[:, 1]))
    matrix = np.concatenate([np.ones((len(y), 1)), np.cos(phase), np.sin(phase)], axis=1)
    amounts = np.linalg.lstsq(matrix, values[:, measured].T.astype(np.float64), rcond=None)[0]
    amounts[0] = 0
    cleaned = values.copy()
    cleaned[:, measured] -= (matrix @ amounts).T.astype(values.dtype)
    return cleaned


def _power(values: np.ndarray, q: Any) -> float:
    rows, columns = (np.exp(-2j * np.pi * f * np.arange(n)) for f, n in zip(q, values.shape[1:]))
    return float(np.square(np.abs(rows @ values @ columns)).sum())


def _simplex(q: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([q, q + (0.3 / shape[0], 0), q + (0, 0.3 / shape[1])])
