"""The problem of a picture: numbers on a grid, a physics, a loss. It has no moduli, so a fit is the way to its solution."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.model.losses import Loss, Squared
from untwin.model.physics.image import Identity, ImagePhysics

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Picture:
    """y = physics(x) + noise, to be solved for x (starts, channels, *grid).

    y: (channels, *grid), real or complex. physics: an ImagePhysics; any other callable is taken as Forward. measured: bool like y, False
    where nothing is known; by default everything is. channels: of x, by default those of y. loss: Squared, Absolute, Huber, Poisson.
    """

    y: Tensor = field(repr=False)
    physics: ImagePhysics = field(default_factory=Identity)
    measured: Tensor | None = field(default=None, repr=False)
    channels: int | None = None
    loss: Loss = field(default_factory=Squared)

    def __post_init__(self) -> None:
        import torch

        if self.y.ndim < 2:
            raise InputError(f"a picture has shape {tuple(self.y.shape)}; expected (channels, height, width)")
        if not isinstance(self.physics, ImagePhysics):
            from untwin.model.physics.image import Forward

            if not callable(self.physics):
                raise InputError(f"{self.physics!r} is no physics; expected one such as Blur(kernel), or a function of torch")
            object.__setattr__(self, "physics", Forward(self.physics))
        object.__setattr__(self, "physics", self.physics.on(self.y.device))
        measured = torch.ones_like(self.y, dtype=torch.bool) if self.measured is None else self.measured.to(self.y.device)
        try:
            measured = measured.expand(self.y.shape)
        except RuntimeError:
            raise InputError(
                f"the mask has shape {tuple(measured.shape)}, the picture {tuple(self.y.shape)}; crop or pad one of them"
            ) from None
        object.__setattr__(self, "measured", measured)
        if self.channels is None:
            object.__setattr__(self, "channels", self.y.shape[0])
        if not bool(torch.isfinite(self.y[self.seen]).all()):
            raise InputError("the picture holds NaN or infinity; replace them, or leave those pixels out with a mask")
        object.__setattr__(self, "y", self.y.where(self.seen, self.y.new_zeros(())))

    @property
    def seen(self) -> Tensor:
        """bool like y: what was measured."""
        assert self.measured is not None  # made in __post_init__
        return self.measured

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
    def symmetric(self) -> bool:
        """False: another shift or phase is another picture."""
        return False

    def predict(self, x: Tensor) -> Tensor:
        """(starts, *y's shape) what would be measured."""
        f = self.physics(x)
        if tuple(f.shape[1:]) != tuple(self.y.shape):
            raise InputError(
                f"the physics gives {tuple(f.shape[1:])} for an image of {tuple(x.shape[1:])}, measured is {tuple(self.y.shape)}"
            )
        return f

    def misfit(self, x: Tensor) -> Tensor:
        """(starts,) the loss over what was measured, in float64."""
        return self.loss(self.predict(x), self.y, self.seen)

    def project_object(self, x: Tensor, support: Tensor) -> Tensor:
        """x: nothing is known of it beside the picture."""
        return x

    def project_modulus(self, x: Tensor) -> Tensor:
        return self.impose(x)[0]

    def impose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise InputError(
            f"projections need a physics that measures magnitudes, such as FarField(); {type(self.physics).__name__} does not: "
            "try 1000*Fit(Untrained())"
        )

    def advance(self, x: Tensor, support: Tensor, row: object, steps: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        return (x, *self.impose(x))

    def without(self, hidden: Tensor) -> Picture:
        """The same picture with some values declared unmeasured. hidden: bool like y."""
        return replace(self, measured=self.seen & ~hidden)

    def within(self, **changes: Any) -> Picture:
        return replace(self, **changes)
