"""The problem of a picture: numbers on a grid, a physics, a loss. It has no moduli, so a fit is the way to its solution."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError
from untwin.model.image.base import Identity, ImagePhysics, Linear
from untwin.model.inverse import InverseProblem
from untwin.model.losses import Loss, Poisson, Squared
from untwin.model.noise_level import noise_of_picture, relative_misfit
from untwin.notebook import InNotebooks

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.noise_level import Noise
    from untwin.model.symmetry import Symmetry
    from untwin.model.unknown import Nuisance, Unknown


@dataclass(frozen=True, eq=False)
class Picture(InNotebooks, InverseProblem):
    """y = physics(x) + noise, to be solved for x (starts, channels, *grid).

    y: (channels, *grid), real or complex; an array of numpy is taken in single precision. physics: an ImagePhysics; any other callable is
        taken as Forward. measured: bool like y, False where nothing is known; by default everything is.
    channels: of x, by default those of y. loss: Squared, Absolute, Huber, Poisson, Gamma, SSIM. nuisance: values for what is unknown in
        the physics, (starts, *shape) each; by default its first values.
    """

    y: Tensor = field(repr=False)
    physics: ImagePhysics = field(default_factory=Identity)
    measured: Tensor = field(default=None, repr=False)  # type: ignore[assignment]
    channels: int | None = None
    loss: Loss = field(default_factory=Squared)
    nuisance: Nuisance = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        import torch

        for name, value in (("y", self.y), ("measured", self.measured)):
            if isinstance(value, np.ndarray):
                kind = bool if name == "measured" else np.complex64 if np.iscomplexobj(value) else np.float32
                object.__setattr__(self, name, torch.from_numpy(np.array(value, kind)))
        if self.y.ndim < 2:
            raise InputError(f"a picture has shape {tuple(self.y.shape)}; expected (channels, height, width)")
        if not isinstance(self.physics, ImagePhysics):
            from untwin.model.image.base import Forward

            if not callable(self.physics):
                raise InputError(f"{self.physics!r} is no physics; expected one such as Blur(kernel), or a function of torch")
            if hasattr(self.physics, "noise_model"):
                raise InputError(
                    f"{type(self.physics).__name__} of deepinv adds noise to what it measures; expected physics.from_deepinv(...)"
                )
            object.__setattr__(self, "physics", Forward(self.physics))
        object.__setattr__(self, "physics", self.physics.on(self.y.device).for_grid(tuple(self.y.shape[1:])))
        measured = torch.ones_like(self.y, dtype=torch.bool) if self.measured is None else self.measured.to(self.y.device)
        try:
            measured = measured.expand(self.y.shape)
        except RuntimeError:
            raise InputError(
                f"the mask has shape {tuple(measured.shape)}, the picture {tuple(self.y.shape)}; crop or pad one of them"
            ) from None
        if not bool(measured.any()):
            raise InputError("nothing of the picture is measured; expected True in measured where a pixel is known")
        object.__setattr__(self, "measured", measured)
        if self.channels is None:
            object.__setattr__(self, "channels", self.y.shape[0])
        if not bool(torch.isfinite(self.y[self.measured]).all()):
            raise InputError("the picture holds NaN or infinity; replace them, or leave those pixels out with a mask")
        object.__setattr__(self, "y", self.y.where(self.measured, self.y.new_zeros(())))

    def __repr__(self) -> str:
        sizes = (" x ".join(map(str, shape)) for shape in (self.shape, self.y.shape))
        return f"Picture({' from '.join(sizes)}, {self.physics!r}, {self.loss!r})"

    @property
    def device(self) -> str:
        return str(self.y.device)

    @property
    def grid(self) -> tuple[int, ...]:
        """Of x."""
        return self.physics.object_grid(tuple(self.y.shape[1:]))

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, *grid) of x."""
        return (int(self.channels or 1), *self.grid)

    @property
    def ndim(self) -> int:
        """Axes of one x, the channels among them."""
        return self.y.ndim

    @property
    def real(self) -> bool:
        """False: nothing is known of it beside the picture."""
        return False

    @property
    def pixels(self) -> tuple[int, ...]:
        return tuple(self.y.shape[1:])

    @property
    def symmetry(self) -> Symmetry:
        return self.physics.symmetry

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return self.physics.unknowns

    @property
    def unknown_shapes(self) -> dict[str, tuple[int, ...]]:
        return self.physics.shapes()

    @property
    def precision(self) -> None:
        return None

    def first_values(self, starts: int) -> Nuisance:
        first = {n: v.to(self.y.device).expand(starts, *v.shape).clone() for n, v in self.physics.first_values().items()}
        return first | {n: v.expand(starts, *v.shape[1:]) for n, v in self.nuisance.items() if len(v) in (1, starts)}

    def holding(self, nuisance: Nuisance) -> Picture:
        if not nuisance:
            return self
        other = copy.copy(self)  # what was checked and filled need not be again
        object.__setattr__(other, "nuisance", nuisance)
        return other

    def start(self, row: int) -> Picture:
        return self.holding({n: v[row : row + 1] for n, v in self.nuisance.items()})

    def predict(self, x: Tensor) -> Tensor:
        """(starts, *y's shape) what would be measured."""
        f = self._modelled(x)
        if tuple(f.shape[1:]) != tuple(self.y.shape):
            raise InputError(
                f"the physics gives {tuple(f.shape[1:])} for an image of {tuple(x.shape[1:])}, measured is {tuple(self.y.shape)}"
            )
        return f

    def _modelled(self, x: Tensor) -> Tensor:
        """physics(x), each start with its own values of the unknowns."""
        import torch

        if not self.unknowns:
            return self.physics(x)
        values = self.first_values(len(x))
        rows = [self.physics.holding({n: v[row] for n, v in values.items()})(x[row : row + 1]) for row in range(len(x))]
        return torch.cat(rows)

    def misfit(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        return self.loss(self.predict(x), self.y, self.measured if where is None else where)

    def noise(self, sigma: float | None) -> Noise:
        return noise_of_picture(self.y, self.measured, self.loss, sigma)

    def photons(self) -> np.ndarray:
        y = self.y.real.cpu().double().numpy()
        fractions = float(np.abs(y - np.rint(y)).sum()) > 1e-3 * float(np.abs(y).sum())
        if self.y.is_complex() or fractions or not isinstance(self.loss, Poisson):
            raise InputError(f"whole counts and the loss Poisson are needed; this picture has {self.loss!r}: try HeldOut()")
        if not isinstance(self.physics, Linear):
            raise InputError(f"counts of {self.physics!r} may not grow with the image; expected a linear physics, or try HeldOut()")
        return y

    def recounted(self, intensity: np.ndarray) -> Picture:
        import torch

        other = copy.copy(self)
        object.__setattr__(other, "y", torch.from_numpy(np.asarray(intensity)).to(self.y).where(self.measured, self.y.new_zeros(())))
        return other

    def brightened(self, image: float, by: float) -> float:
        return image * by

    def relative_misfit(self, x: Tensor, noise: Noise) -> Tensor:
        return relative_misfit(self.predict(x), self.y, self.measured, noise)

    def project_object(self, x: Tensor, support: Tensor) -> Tensor:
        """x: nothing is known of it beside the picture."""
        return x

    def without(self, hidden: Tensor) -> Picture:
        fewer = copy.copy(self)  # what was checked and filled need not be again
        object.__setattr__(fewer, "measured", self.measured & ~hidden)
        object.__setattr__(fewer, "y", self.y.where(fewer.measured, self.y.new_zeros(())))
        return fewer

    def frames(self, x: Tensor) -> Tensor:
        return x.abs() if x.is_complex() else x

    # drawn by a prior, which draws the whole picture

    @property
    def imitable(self) -> bool:
        return False

    def canvas(self, share: float) -> tuple[int, ...]:
        return self.shape

    def window(self, image: Tensor, support: Tensor, canvas: tuple[int, ...], grow: int | None, imitate: bool) -> tuple[None, None]:
        return None, None

    def placed(self, g: Tensor) -> Tensor:
        return g

    def render(self, g: Tensor, loss: Loss | None) -> tuple[Tensor, Tensor]:
        return g, (loss or self.loss)(self.predict(g.unsqueeze(0)), self.y, self.measured)[0] / self.measured.sum()
