"""Gaussian random fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from untwin.simulate.grid import PixelGrid
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor


def gaussian_field(grid: PixelGrid, power: np.ndarray, streams: Streams) -> Tensor:
    """(samples, P) Gaussian random fields, periodic, of spectral density |k|^−power, mean 0; any scale."""
    import torch
    from scipy import fft

    noise = streams.normal(*grid.shape).cpu().numpy()
    k2 = sum(
        (np.fft.fftfreq(n) if a < grid.ndim - 1 else np.fft.rfftfreq(n)).reshape([-1 if b == a else 1 for b in range(grid.ndim)]) ** 2
        for a, n in enumerate(grid.shape)
    )
    k2 = np.asarray(k2)
    k2.flat[0] = np.inf
    fields = []
    for white, p in zip(noise, power, strict=True):  # one at a time: the same bits in every batch
        fields.append(fft.irfftn(fft.rfftn(white) * (k2 ** (-p / 4)).astype(np.float32), s=grid.shape))
    return grid.list(torch.from_numpy(np.stack(fields)).to(grid.device))


def standardised(field: Tensor, weight: Tensor) -> Tensor:
    """The field with mean 0 and rms 1 over the weight, each sample for itself."""
    import torch

    rows = []
    for f, w in zip(field, weight, strict=True):  # one sum at a time, in float64: the same bits in every batch
        w = w.double()
        total = w.sum().clamp(min=1e-30)
        f = f.double()
        f = f - (f * w).sum() / total
        rows.append((f / ((f.square() * w).sum() / total).sqrt().clamp(min=1e-30)).float())
    return torch.stack(rows)
