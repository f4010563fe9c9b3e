"""An image drawn by a network that was never trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.networks.base import Network, layout, on_device
from untwin.model.networks.siren import Siren, coordinates
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Parts, Prior, Single

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Untrained(Single):
    """Deep image prior (Ulyanov, Vedaldi and Lempitsky, CVPR 2018): image = sigmoid G_θ(z), z fixed and random, θ fitted.

    network: G. spread: z is uniform from 0 to this. jitter: deviation of the normal noise that is added to z anew in each step; it slows
    overfitting, delays the best image and pays off with averaged outputs. rate: learning rate (Adam).
    """

    network: Network = field(default_factory=Skip)
    spread: float = 0.1
    jitter: float = 1 / 30
    rate: float = 0.01

    def __post_init__(self) -> None:
        _a_network(self, self.network)
        require_number(self, "spread", 0)
        require_number(self, "jitter", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        self.network.check(grid)

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        weights = self.network.weights(grid, outputs, generator)
        z = torch.rand((1, *self.network.input_shape(grid)), generator=generator)
        z = (self.spread * z).contiguous(memory_format=layout(z.shape, self.network.module(grid, outputs)))
        return Parts(weights, {"z": z})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        z = parts.fixed["z"]
        if generator is not None and self.jitter:
            noise = torch.empty_like(z, device="cpu").normal_(0, self.jitter, generator=generator)
            z = z + on_device(noise, z.device)
        return torch.func.functional_call(self.network.module(grid, outputs), parts.trained, (z,), tie_weights=False)[0]

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs, generator).sigmoid()

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return self.jitter > 0


@dataclass(frozen=True, repr=False)
class Implicit(Single):
    """Coordinate network: image = sigmoid G_θ(place). Nothing in it is random after the first weights.

    network: a Siren. rate: learning rate (Adam).
    """

    network: Siren = field(default_factory=Siren)
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.network, Siren):
            raise InputError(f"Implicit(network={self.network!r}): expected a network of coordinates, such as Siren()")
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        self.network.check(grid)

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        weights = self.network.weights(grid, outputs, generator)
        return Parts(weights, {"place": coordinates(grid).unsqueeze(0)})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        return torch.func.functional_call(self.network.module(grid, outputs), parts.trained, (parts.fixed["place"],), tie_weights=False)[0]

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs).sigmoid()

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False


def _a_network(owner: Prior, network: object) -> None:
    if not isinstance(network, Network) or isinstance(network, Siren):
        hint = "; a Siren goes into Implicit(Siren())" if isinstance(network, Siren) else ", such as Skip(depth=3)"
        raise InputError(f"{type(owner).__name__}(network={network!r}): expected a network of images{hint}")
