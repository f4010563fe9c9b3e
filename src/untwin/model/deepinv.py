"""Operators of deepinv (Tachella et al., BSD-3-Clause) as a physics of pictures or as waves.

Nothing of it is imported: an object says what it is by the names of its classes, and is asked what deepinv's documentation promises of
them: Physics.A, LinearPhysics.A_adjoint, PhaseRetrieval.B. Written for deepinv 0.5; docs/deepinv.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.model.image.base import Forward, ImagePhysics, Linear
from untwin.model.waves import linear

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.waves.base import Waves


def from_deepinv(physics: Any, grid: tuple[int, ...] | None = None) -> ImagePhysics | Waves:
    """What a physics of deepinv is to untwin, without its noise model:

    LinearPhysics: a linear physics of pictures; y is what A gives, without its batch axis, and (1, m) where that is a vector.
    PhaseRetrieval: Waves by its linear operator B, of one channel; the pattern is |B x|².
    another Physics: a Forward, y = A(x).

    grid: of x; by default its img_size says it, or what is measured has the same. Raises InputError for anything else. A denoiser needs no
    such function: Denoiser(model).
    """
    kinds = {c.__name__ for c in type(physics).__mro__}
    if not {"Physics", "LinearPhysics", "PhaseRetrieval"} & kinds:
        text = "a denoiser is a prior: Denoiser(model)" if "Denoiser" in kinds else "untwin takes any function of torch as it is"
        raise InputError(f"{type(physics).__name__} is no Physics of deepinv; {text}")
    grid = _grid_of(physics) if grid is None else grid
    if "PhaseRetrieval" in kinds:
        if grid is None:
            raise InputError(f"{type(physics).__name__} does not say the shape of its object; give grid=(height, width)")
        return _waves(physics.B, grid)
    return Operator(physics, grid) if "LinearPhysics" in kinds else Forward(lambda x: _measured(physics, x), grid)


@dataclass(frozen=True, eq=False)
class Operator(Linear):
    """y = A x of a LinearPhysics of deepinv. grid: of x; by default that of y."""

    physics: Any
    grid: tuple[int, ...] | None = None

    @property
    def axes(self) -> int:
        return 2 if self.grid is None else len(self.grid)

    def __call__(self, x: Tensor) -> Tensor:
        return _measured(self.physics, x)

    def adjoint(self, w: Tensor) -> Tensor:
        return self.physics.A_adjoint(w)

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        return measured if self.grid is None else self.grid

    def for_grid(self, measured: tuple[int, ...]) -> Operator:
        return replace(self, grid=self.object_grid(measured))

    def on(self, device: Any) -> Operator:
        import torch

        tensors = [*self.physics.parameters(), *self.physics.buffers()]
        if all(t.device == torch.device(device) for t in tensors):
            return self
        return replace(self, physics=self.physics.clone().to(device))


def _waves(operator: Any, grid: tuple[int, ...]) -> Waves:
    """W of a LinearPhysics with one channel, in its own precision."""
    kind = next((t.dtype for t in operator.buffers() if t.is_complex()), None)

    def applied(function: Any, values: Tensor) -> Tensor:
        complex_ = values.dtype if values.is_complex() else values.dtype.to_complex()
        return function(values.to(kind or complex_)).to(complex_)

    return linear.Linear(lambda x: applied(operator.A, x.unsqueeze(1)), lambda w: applied(operator.A_adjoint, w).squeeze(1), grid)


def _measured(physics: Any, x: Tensor) -> Tensor:
    """A(x), a vector with an axis for its one channel. Raises InputError where it is no tensor."""
    import torch

    y = physics.A(x)
    if not isinstance(y, torch.Tensor):
        raise InputError(f"{type(physics).__name__} gives a {type(y).__name__}; expected one tensor: take its parts one by one")
    return y.unsqueeze(1) if y.ndim == 2 else y


def _grid_of(physics: Any) -> tuple[int, ...] | None:
    """img_size without the channels, where it has any: (channels, *grid). That of an MRI may have the batch before them."""
    size = getattr(physics, "img_size", None)
    if isinstance(size, tuple | list) and hasattr(physics, "three_d"):
        return tuple(int(n) for n in size[-3 if physics.three_d else -2 :])
    return tuple(int(n) for n in size[1:]) if isinstance(size, tuple | list) and len(size) > 2 else None
