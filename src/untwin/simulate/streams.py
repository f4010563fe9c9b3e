"""Random streams, one generator per sample: what sample i gets depends on (seed, i) and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError
from untwin.simulate.settings import Between, OneOf, Setting

if TYPE_CHECKING:
    from torch import Tensor


class Streams:
    """The generators of some samples. Draws are (samples, ...), each row from its own generator, in the order of the calls."""

    def __init__(self, seed: int, indices: Sequence[int], device: str = "cpu"):
        if seed < 0 or any(i < 0 for i in indices):
            raise InputError(f"seed {seed} and the indices of samples: expected whole numbers, 0 or more")
        self.generators = [np.random.default_rng((seed, int(i))) for i in indices]
        self.device = device

    def __len__(self) -> int:
        return len(self.generators)

    def rows(self, rows: Sequence[int]) -> Streams:
        """The same generators of some of the samples."""
        subset = Streams(0, (), self.device)
        subset.generators = [self.generators[r] for r in rows]
        return subset

    def uniform(self, *shape: int) -> Tensor:
        """(samples, *shape) float64 in [0, 1)."""
        return self._gather(np.stack([g.random(shape) for g in self.generators]))

    def normal(self, *shape: int) -> Tensor:
        """(samples, *shape) float32, standard normal."""
        return self._gather(np.stack([g.standard_normal(shape, np.float32) for g in self.generators]))

    def poisson(self, mean: Tensor) -> Tensor:
        """Counts with these means, (samples, ...) float32; drawn on the CPU wherever the means are."""
        means = mean.detach().cpu().double().numpy()
        return self._gather(np.stack([g.poisson(m) for g, m in zip(self.generators, means, strict=True)]).astype(np.float32))

    def setting(self, setting: Setting, *shape: int) -> Tensor:
        """(samples, *shape) float64: the setting, drawn."""
        import torch

        if not isinstance(setting, Between | OneOf):
            return torch.full((len(self), *shape), float(setting), dtype=torch.float64, device=self.device)
        u = self.uniform(*shape)
        if isinstance(setting, OneOf):
            return torch.tensor(setting.values, dtype=torch.float64, device=self.device)[(u * len(setting.values)).long()]
        if setting.log:
            return setting.low * (u * np.log(setting.high / setting.low)).exp()
        return setting.low + u * (setting.high - setting.low)

    def integer(self, setting: Setting, *shape: int) -> Tensor:
        """(samples, *shape) int64: a setting of whole numbers, drawn, both ends included."""
        if isinstance(setting, Between):
            return (setting.low + (self.uniform(*shape) * (setting.high - setting.low + 1)).floor()).long()
        return self.setting(setting, *shape).long()

    def choice(self, weights: Sequence[float]) -> Tensor:
        """(samples,) int64: an option, as likely as its weight."""
        import torch

        edges = torch.tensor(np.cumsum(np.asarray(weights, dtype=float)) / np.sum(weights), device=self.device)
        return torch.searchsorted(edges, self.uniform(), right=True).clamp(max=len(weights) - 1)

    def _gather(self, a: np.ndarray) -> Tensor:
        import torch

        return torch.from_numpy(a).to(self.device)
