"""The pixels of an array as a list of points, and the box that an object is given in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError
from untwin.simulate.settings import Setting, bounds_of
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

FAR = 1e4  # pixels: a facet that cuts nothing
MULTIPLE = 64  # points per sample are padded to a multiple of it, so that a sample's bits do not depend on its place in a batch


class PixelGrid:
    """The pixels of an array as a list. points: (d, P) float32, pixels from the centre N//2; P is padded by far points."""

    def __init__(self, shape: tuple[int, ...], device: str = "cpu"):
        import torch

        self.shape, self.size, self.device = shape, int(np.prod(shape)), device
        index = np.indices(shape).reshape(len(shape), -1) - np.array([n // 2 for n in shape])[:, None]
        padded = np.full((len(shape), -(-self.size // MULTIPLE) * MULTIPLE), FAR, np.float32)
        padded[:, : self.size] = index
        self.points = torch.from_numpy(padded).to(device)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def list(self, array: Tensor) -> Tensor:
        """(samples, *shape) as (samples, P), padded by 0."""
        import torch

        flat = torch.zeros((len(array), self.points.shape[1]), dtype=array.dtype, device=array.device)
        flat[:, : self.size] = array.reshape(len(array), -1)
        return flat

    def array(self, values: Tensor) -> Tensor:
        """(samples, P) as (samples, *shape)."""
        return values[:, : self.size].reshape(-1, *self.shape)

    def along(self, vectors: np.ndarray) -> Tensor:
        """(samples, P) scalar products of vectors (samples, d), float64, with the points, rounded alike for every sample."""
        import torch

        v = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)).to(self.device)
        total = v[:, :1] * self.points[0]
        for axis in range(1, self.ndim):
            total = total + v[:, axis : axis + 1] * self.points[axis]
        return total

    def column(self, values: list[float] | np.ndarray) -> Tensor:
        """(samples, 1) float32."""
        import torch

        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self.device)[:, None]


class ShiftedGrid(PixelGrid):
    """The grid as seen from points `by` (samples, d), pixels from the centre."""

    def __init__(self, grid: PixelGrid, by: np.ndarray):
        self.shape, self.size, self.device, self.points = grid.shape, grid.size, grid.device, grid.points
        self.by = by

    def along(self, vectors: np.ndarray) -> Tensor:
        return super().along(vectors) - self.column((vectors * self.by).sum(1))


def half_extents(shape: tuple[int, ...], oversampling: Setting, streams: Streams) -> np.ndarray:
    """(samples, d) half extents of the object's box, pixels: N / (2 σ), each axis with its own σ; the soft edge pixel lies within."""
    sigma = streams.setting(oversampling, len(shape)).cpu().numpy()
    return np.maximum(np.array(shape) / (2 * sigma) - 0.5, 0.5)


def check_size(shape: tuple[int, ...], oversampling: Setting) -> None:
    """Raise InputError where the array is too small for an object of at least 6 pixels."""
    if len(shape) not in (2, 3):
        raise InputError(f"shape {shape}: expected two or three sizes, such as 64,64 or 64,64,64")
    least = min(shape) / bounds_of(oversampling)[1]
    if not least >= 6:
        raise InputError(
            f"an array of {' x '.join(map(str, shape))} at an oversampling of up to {bounds_of(oversampling)[1]:g} leaves {least:.1f} "
            f"pixels for the object. Expected are 6 at least: take a larger size or a smaller oversampling"
        )


def blurred(array: Tensor, sigma: float) -> Tensor:
    """(samples, *shape) convolved with a Gaussian, zero beyond the border; weights beyond 4 sigma are left out."""
    reach = max(1, round(4 * sigma))
    weight = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weight /= weight[0] + 2 * weight[1:].sum()
    for axis in range(1, array.ndim):
        n = array.shape[axis]
        total = array * float(weight[0])
        for k in range(1, min(reach, n - 1) + 1):
            low, high = total.narrow(axis, 0, n - k), total.narrow(axis, k, n - k)
            low.add_(array.narrow(axis, k, n - k) * float(weight[k]))
            high.add_(array.narrow(axis, 0, n - k) * float(weight[k]))
        array = total
    return array
