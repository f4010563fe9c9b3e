"""An image that drifts, held in place: what a physics cannot tell apart is no change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.picture import Picture
    from untwin.model.problem import Problem


def followed(problem: Problem | Picture, x: Tensor, reference: Tensor) -> Tensor:
    """x (starts, *grid) on its reference (the same shape): in a far-field problem moved by whole pixels and turned by a global phase, in
    others as it is."""
    if not problem.symmetric:
        return x
    import torch

    from untwin.model.alignment import rolled, unravelled

    d = problem.ndim
    axes = tuple(range(-d, 0))
    c = torch.fft.ifftn(torch.fft.fftn(reference, dim=axes) * torch.fft.fftn(x, dim=axes).conj(), dim=axes)  # Σ ref(r + s) conj x(r)
    flat = c.flatten(1)
    where = flat.abs().argmax(1)
    peak = flat.gather(1, where[:, None])[:, 0]
    moved = rolled(x, unravelled(where, tuple(x.shape[-d:])), d)
    if not x.is_complex():
        return moved
    turn = torch.where(peak.abs() > 0, peak / peak.abs().clamp(min=1e-30), torch.ones_like(peak))
    return moved * turn.to(x.dtype).reshape((-1,) + (1,) * d)
