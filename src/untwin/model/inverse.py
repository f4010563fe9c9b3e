"""What every inverse problem offers to algorithms, rules and priors, whatever was measured: a pattern (Problem) or a picture (Picture)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from untwin.model.losses import Loss
    from untwin.model.noise_level import Noise
    from untwin.model.symmetry import Symmetry
    from untwin.model.unknown import Nuisance, Unknown


class InverseProblem(ABC):
    """Data, physics, constraint, loss. x is (starts, *shape)."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one x: the grid, or (channels, *grid)."""

    @property
    @abstractmethod
    def real(self) -> bool:
        """True where x must be real."""

    @property
    @abstractmethod
    def device(self) -> str:
        """Where its tensors are, as torch names it."""

    @property
    @abstractmethod
    def measured(self) -> Tensor:
        """bool, like the data: what was measured."""

    @property
    @abstractmethod
    def pixels(self) -> tuple[int, ...]:
        """The grid of the data, without channels."""

    @property
    @abstractmethod
    def symmetry(self) -> Symmetry:
        """What the measurement cannot tell apart."""

    @property
    @abstractmethod
    def unknowns(self) -> dict[str, Unknown]:
        """Numbers of the physics that are found beside x, by name; State.nuisance holds their values."""

    @property
    @abstractmethod
    def unknown_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of those of the unknowns that are tensors: each needs a prior of its own in a fit."""

    @property
    @abstractmethod
    def precision(self) -> torch.dtype | None:
        """Real type that x must have; None where any will do."""

    @abstractmethod
    def first_values(self, starts: int) -> Nuisance:
        """Where the search for the unknowns begins, (starts,) float64 each, of tensors (starts, *shape)."""

    @abstractmethod
    def holding(self, nuisance: Nuisance) -> InverseProblem:
        """The same problem with values for the unknowns, (starts,) each, of tensors (starts, *shape)."""

    @abstractmethod
    def start(self, row: int) -> InverseProblem:
        """The same problem for one of the starts whose values it holds."""

    @abstractmethod
    def predict(self, x: Tensor) -> Tensor:
        """(starts, *data): what the detector would read."""

    @abstractmethod
    def misfit(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        """(starts,) float64: the loss of x over what was measured; where: bool like the data, over that instead."""

    @abstractmethod
    def noise(self, sigma: float | None) -> Noise:
        """What is known of the noise of the data. sigma: its deviation; None where the data must tell. Raises InputError."""

    @abstractmethod
    def relative_misfit(self, x: Tensor, noise: Noise) -> Tensor:
        """(starts,) float64: the mean squared misfit of x in units of the variance of the noise: about 1 for the truth."""

    @abstractmethod
    def without(self, hidden: Tensor) -> InverseProblem:
        """The same problem with some of the data declared unmeasured, and what repeats them. hidden: bool, like the data."""

    @abstractmethod
    def photons(self) -> np.ndarray:
        """The data, like them, where they are whole counts of photons. Raises InputError where they are not."""

    @abstractmethod
    def recounted(self, intensity: np.ndarray) -> InverseProblem:
        """The same problem with other counts."""

    @abstractmethod
    def brightened(self, image: float, by: float) -> float:
        """What an image becomes that gives so many times the counts."""

    @abstractmethod
    def project_object(self, x: Tensor, support: Tensor) -> Tensor:
        """P_S x: the nearest object that satisfies the constraint."""

    @abstractmethod
    def frames(self, x: Tensor) -> Tensor:
        """What a person would look at: (starts, channels, *grid) real, about 0 to 1."""

    @property
    @abstractmethod
    def imitable(self) -> bool:
        """True where a state comes with an image of the object, which a prior can be fitted to before the data."""

    @abstractmethod
    def canvas(self, share: float) -> tuple[int, ...]:
        """(channels, *grid) of the image that a prior draws. share: of the array along each axis, where the object fills a part of it."""

    @abstractmethod
    def window(
        self, image: Tensor, support: Tensor, canvas: tuple[int, ...], grow: int | None, imitate: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Where in its canvas a prior may draw, (starts, *grid) bool, or None for everywhere; and the image to imitate, on the canvas,
        None where there is none (imitable).

        grow: the support, grown by so many pixels; None for the whole canvas."""

    @abstractmethod
    def placed(self, g: Tensor) -> Tensor:
        """An image (starts, *grid of a canvas) where it lies in x, (starts, *shape)."""

    @abstractmethod
    def render(self, g: Tensor, loss: Loss | None) -> tuple[Tensor, Tensor]:
        """The x (*shape) that an image g (*canvas) stands for, and its loss for each measured number. loss: instead of the problem's."""
