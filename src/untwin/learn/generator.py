"""Train a generator of small images: the decoder of a variational autoencoder (Kingma and Welling, ICLR 2014)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import int_argument, seed_argument
from untwin.errors import InputError
from untwin.model.networks import weights
from untwin.model.priors.generator import draw
from untwin.random import derive

if TYPE_CHECKING:
    from torch import Tensor


def train(images: np.ndarray, latent: int = 20, width: int = 400, steps: int = 5000, batch: int = 128, seed: int = 0) -> dict[str, Tensor]:
    """The layers of a generator, latent -> width -> pixels, from images (count, *grid), 0 to 1: Adam 1e-3 on the cross-entropy plus the
    divergence of the code from N(0, 1). Raises InputError where there are no such images."""
    import torch
    from torch import nn

    data = np.asarray(images, dtype=np.float32)
    if data.ndim < 2 or not len(data) or not np.isfinite(data).all() or data.min() < 0 or data.max() > 1:
        raise InputError(f"images of shape {data.shape}: expected (count, *grid) of numbers from 0 to 1")
    latent, width, steps, batch = (
        int_argument(n, v, 1) for n, v in (("latent", latent), ("width", width), ("steps", steps), ("batch", batch))
    )
    pixels = math.prod(data.shape[1:])
    x = torch.from_numpy(data.reshape(len(data), pixels))
    generator = torch.Generator().manual_seed(derive(seed_argument(seed), "generator"))
    sizes = {"in": (pixels, width), "code": (width, 2 * latent), "0": (latent, width), "1": (width, pixels)}
    numbers: dict[str, Tensor] = {}
    for name, (inputs, outputs) in sizes.items():
        numbers[f"weight.{name}"] = torch.randn((outputs, inputs), generator=generator) / math.sqrt(inputs)
        numbers[f"bias.{name}"] = torch.zeros(outputs)
    for t in numbers.values():
        t.requires_grad_()
    descent = torch.optim.Adam(numbers.values(), 1e-3)
    for _ in range(steps):
        some = x[torch.randint(len(x), (batch,), generator=generator)]
        hidden = nn.functional.linear(some, numbers["weight.in"], numbers["bias.in"]).relu()
        mean, log_variance = nn.functional.linear(hidden, numbers["weight.code"], numbers["bias.code"]).chunk(2, 1)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        drawn = draw({k: v for k, v in numbers.items() if k[-1].isdigit()}, z)
        entropy = nn.functional.binary_cross_entropy_with_logits(drawn, some, reduction="sum")
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
        descent.zero_grad()
        ((entropy + divergence) / batch).backward()
        descent.step()
    return {k: v.detach() for k, v in numbers.items() if k[-1].isdigit()}


def save(path: str | Path, layers: dict[str, Tensor], grid: tuple[int, ...], card: dict[str, Any] | None = None) -> Path:
    """Write a generator for `Generator(path)`. card: plain values that say what it was trained on."""
    weights.write(Path(path), layers, {**(card or {}), "generator": list(grid)})
    return Path(path)
