"""Where the samples of a training come from: drawn on the fly, or read from a data set on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from untwin.data.dataset import Shards
from untwin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

VALIDATION = 1_000_003  # added to the seed: samples that are never trained on


@dataclass(frozen=True, eq=False)
class Batch:
    """image: (samples, *shape) complex64 or float32, centred at N//2, or None where the set holds no objects. intensity: float32 and
    measured: bool, FFT order."""

    image: Tensor | None
    intensity: Tensor
    measured: Tensor


class Data(Protocol):
    """Samples by number, the same ones whenever they are asked for. What comes back has the fields of Batch."""

    def batch(self, indices: Sequence[int], device: str = "cpu") -> Any: ...

    def validation_batch(self, count: int, device: str = "cpu") -> Any:
        """Samples that `batch` never gives, for validation."""
        ...


@dataclass(frozen=True)
class Fresh:
    """Every sample is new. training, validation: anything with `batch`, such as untwin.simulate.Crystals of two seeds."""

    training: Any
    validation: Any

    def batch(self, indices: Sequence[int], device: str = "cpu") -> Any:
        return self.training.batch(indices, device)

    def validation_batch(self, count: int, device: str = "cpu") -> Any:
        return self.validation.batch(range(count), device)


class Stored:
    """A data set that untwin simulate dataset has written. Its last tenth is kept for validation; the others come in a new order in each
    epoch, a function of the seed: shard after shard, shuffled, and shuffled within. Raises InputError where it is not complete."""

    def __init__(self, folder: str | Path, seed: int = 0):
        self.shards, self.seed = Shards(folder), seed
        self.count = len(self.shards)
        self.trained = self.count - max(1, self.count // 10)
        if self.trained < 1:
            raise InputError(f"{folder} has {self.count} sample; expected 2 or more, one for validation")
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))
        self._open: tuple[int, dict[str, Any]] = (-1, {})

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shards.manifest.shape

    def batch(self, indices: Sequence[int], device: str = "cpu") -> Batch:
        return self._batch_of([self._stored_index(int(i)) for i in indices], device)

    def validation_batch(self, count: int, device: str = "cpu") -> Batch:
        return self._batch_of(range(self.trained, min(self.count, self.trained + count)), device)

    def _stored_index(self, i: int) -> int:
        epoch, within = divmod(i, self.trained)
        if self._order[0] != epoch:
            rng, size = np.random.default_rng([self.seed, epoch]), self.shards.manifest.shard
            runs = [np.arange(k, min(k + size, self.trained)) for k in range(0, self.trained, size)]
            self._order = (epoch, np.concatenate([rng.permutation(runs[k]) for k in rng.permutation(len(runs))]))
        return int(self._order[1][within])

    def _row(self, i: int) -> dict[str, Any]:
        k, row = divmod(i, self.shards.manifest.shard)
        if self._open[0] != k:
            self._open = (k, self.shards.shard(k))
        return {name: values[row] for name, values in self._open[1].items()}

    def _batch_of(self, stored: Sequence[int], device: str) -> Batch:
        import torch

        rows = [self._row(i) for i in stored]
        axes = tuple(range(1, len(self.shape) + 1))

        def stack(name: str, dtype: type) -> np.ndarray:
            return np.stack([r[name] for r in rows]).astype(dtype)

        measured = np.fft.ifftshift(stack("mask", np.uint8) == 0, axes)
        counts = np.fft.ifftshift(stack("counts", np.float32), axes)
        image = torch.from_numpy(stack("image", np.complex64)).to(device) if self.shards.manifest.objects else None
        return Batch(image, torch.from_numpy(counts).to(device), torch.from_numpy(measured).to(device))
