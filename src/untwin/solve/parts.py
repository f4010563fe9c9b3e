"""The numbers that a Fit moves: those of several priors, by name, as one row for a descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.model.priors.base import Parts, Prior
from untwin.model.priors.kernel import KernelPrior
from untwin.random import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Tensors = dict[str, "Tensor"]
IMAGE = "image"  # the name of what stands for x; the others are those of the physics' unknowns


@dataclass(frozen=True)
class Part:
    """What one prior draws. shape: (channels, *grid)."""

    prior: Prior
    shape: tuple[int, ...]

    def begin(self, seed: int, name: str, device: torch.device) -> Parts:
        """First numbers, a function of the seed and of the name alone. Raises InputError where there are none to fit."""
        import torch

        stream = derive(seed, "network") if name == IMAGE else derive(seed, "network", name)
        parts = self.prior.begin(self.shape[1:], self.shape[0], torch.Generator().manual_seed(stream)).to(device)
        if not parts.trained:
            raise InputError(f"{self.prior!r} has nothing to fit")
        return parts

    def begin_at(self, value: Tensor, seed: int, name: str, device: torch.device) -> Parts:
        """First numbers that stand near a value (*grid) of what is drawn."""
        parts = self.begin(seed, name, device)
        return self.prior.shifted_to(value.unsqueeze(0), parts) if isinstance(self.prior, KernelPrior) else parts

    def draw(self, parts: Parts, generator: Any) -> Tensor:
        """(channels, *grid)."""
        return self.prior.image(parts, self.shape[1:], self.shape[0], generator)


def joined(tensors: dict[str, Tensors]) -> Tensors:
    """{"image": {"z": t}} as {"image.z": t}."""
    return {f"{name}.{n}": t for name, own in tensors.items() for n, t in own.items()}


def separated(row: Tensors) -> dict[str, Tensors]:
    """The reverse of `joined`; names of parts have no full stop."""
    tensors: dict[str, Tensors] = {}
    for joint, t in row.items():
        name, _, n = joint.partition(".")
        tensors.setdefault(name, {})[n] = t
    return tensors
