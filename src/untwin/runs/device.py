"""Devices: what a text or a torch.device names, and whether it computes what the CPU computes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from untwin.data.measurement import Pattern
from untwin.errors import InputError
from untwin.random import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOLERANCE = 1e-3  # relative; rounding in single precision comes to a few 1e-6 in these steps


def device_name(device: str | torch.device) -> str:
    """Its text: "cpu", "cuda", "cuda:1". Raises InputError where this torch has no such device."""
    import torch

    try:
        torch.fft.fft(torch.ones(2, device=device)).to(torch.complex128).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise InputError(f"no device {str(device)!r} with this torch ({torch.__version__}); try cpu") from None
    text = str(device)
    return "cpu" if text.startswith("cpu") else text


def as_mask(mask: np.ndarray | Tensor) -> Tensor:
    """True where a mask is not 0, on the CPU: of an array, a list, or a tensor on any device."""
    import torch

    array = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    return torch.from_numpy(np.asarray(array != 0))


def require_agreement(device: str) -> None:
    """Raise InputError where a short run on the device ends elsewhere than on the CPU. Asked once in a process."""
    if device == "cpu":
        return
    difference = disagreement(device)
    if not difference < TOLERANCE:
        raise InputError(
            f"device {device!r} does not compute what the CPU does: after 5 RAAR and 5 ER the images differ by {difference:.2g}, "
            f"relative, and rounding stays below {TOLERANCE:g}. Take device='cpu', and tell us of this GPU, its driver and its torch"
        )


@lru_cache
def disagreement(device: str) -> float:
    """|image − image on the CPU| / |image on the CPU|: a known object behind a stop, two starts."""
    on_cpu, on_device = short_run("cpu"), short_run(device)
    return float((on_cpu - on_device).norm() / on_cpu.norm())


def short_run(device: str) -> Tensor:
    """(2, *grid) on the CPU: what 5 RAAR and 5 ER on a known object end with."""
    import torch

    from untwin.model.problem import Problem
    from untwin.solve.begin import begin
    from untwin.solve.projections import ER, RAAR
    from untwin.solve.run import iterate

    grid, rng = (24, 32), np.random.default_rng(derive(0, "device"))
    support = np.zeros(grid, bool)
    support[:9, :13] = True
    density = np.where(support, rng.random(grid) * np.exp(1j * rng.random(grid)), 0)
    intensity = 1000 * np.abs(np.fft.fft2(density, norm="ortho")) ** 2
    measured = np.ones(grid, bool)
    measured[:2, :2] = False
    problem = Problem.of(Pattern(intensity.astype(np.float32), measured), device=device)
    state = begin(problem, (0, 1), torch.from_numpy(support))
    *_, state = iterate(problem, 5 * RAAR() + 5 * ER(), state)
    return state.image.cpu()
