"""Chance, one generator per sample: what sample i gets depends on (seed, i) and on nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin import expression
from untwin.checks import is_number
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Between:
    """A setting drawn for each sample: uniform from low to high (whole numbers: both included), or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (is_number(self.low) and is_number(self.high)) or self.low > self.high or (self.log and self.low <= 0):
            raise InputError(
                f"Between({self.low!r}, {self.high!r}{', log=True' if self.log else ''}): expected two numbers, the smaller one first"
                + (" and above 0" if self.log else "")
            )

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class OneOf:
    """A setting drawn for each sample from a few values, each as likely as the others."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values or not all(is_number(v) for v in self.values):
            raise InputError(f"OneOf({self.values!r}): expected one or more numbers, such as OneOf((0, 3))")

    def __repr__(self) -> str:
        return expression.write(self)


Setting = float | Between | OneOf


def extremes(setting: Setting) -> tuple[float, float]:
    """The smallest and the largest value of a setting."""
    if isinstance(setting, Between):
        return setting.low, setting.high
    if isinstance(setting, OneOf):
        return min(setting.values), max(setting.values)
    return setting, setting


def within(owner: object, name: str, low: float, high: float = float("inf"), whole: bool = False, fixed: bool = False) -> None:
    """Raise InputError unless the setting `name` of `owner` stays in [low, high] (and is made of whole numbers). fixed: it is the same
    number for all samples."""
    v = getattr(owner, name)
    numbers = v.values if isinstance(v, OneOf) else (v.low, v.high) if isinstance(v, Between) else (v,)
    drawn = isinstance(v, Between | OneOf)
    right = all(is_number(n) and low <= n <= high and (not whole or n == int(n)) for n in numbers)
    if not right or (fixed and (drawn or (whole and not isinstance(v, int)))) or (whole and isinstance(v, Between) and v.log):
        span = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
        kind = "a whole number" if whole else "a number"
        more = "" if fixed else ", or Between(a, b) or OneOf((a, b, ...)) of such"
        raise InputError(f"{type(owner).__name__}({name}={v!r}): expected {kind}, {span}{more}")


class Dice:
    """The generators of some samples. Draws are (samples, ...), each row from its own generator, in the order of the calls."""

    def __init__(self, seed: int, indices: Sequence[int], device: str = "cpu"):
        if seed < 0 or any(i < 0 for i in indices):
            raise InputError(f"seed {seed} and the indices of samples: expected whole numbers, 0 or more")
        self.generators = [np.random.default_rng((seed, int(i))) for i in indices]
        self.device = device

    def __len__(self) -> int:
        return len(self.generators)

    def rows(self, rows: Sequence[int]) -> Dice:
        """The same generators of some of the samples."""
        some = Dice(0, (), self.device)
        some.generators = [self.generators[r] for r in rows]
        return some

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

    def whole(self, setting: Setting, *shape: int) -> Tensor:
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


def drawn(setting: Setting, generator: np.random.Generator) -> float:
    """A setting, drawn from one generator."""
    if isinstance(setting, Between):
        u = generator.random()
        return float(setting.low * (setting.high / setting.low) ** u if setting.log else setting.low + u * (setting.high - setting.low))
    if isinstance(setting, OneOf):
        return float(setting.values[int(generator.random() * len(setting.values))])
    return float(setting)


def counted(setting: Setting, generator: np.random.Generator) -> int:
    """A setting of whole numbers, drawn from one generator, both ends included."""
    if isinstance(setting, Between):
        return int(setting.low + math.floor(generator.random() * (setting.high - setting.low + 1)))
    return int(drawn(setting, generator))
