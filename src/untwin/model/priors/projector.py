"""An image drawn by a network whose convolutions stay as they were drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.checks import require_number
from untwin.model.networks.base import Network, layout, norm_names
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Parts, Single
from untwin.model.priors.untrained import _a_network

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Projector(Single):
    """Deep random projector (Li, Zhuang, Liang, Le, Wang and Sun, CVPR 2023): image = sigmoid G(norm(z)); the convolutions of G keep their
    random weights, and the input z, its normalisation and those within G are fitted. With TV and the square root of the mean loss:
    Fit(Projector(), regularizer=TV(0.45), root=True).

    network: G, shallow. spread: deviation of the first z. rate: learning rate (Adam).
    """

    network: Network = field(default_factory=lambda: Skip(depth=1, width=64, inputs=3))
    spread: float = 0.1
    rate: float = 0.1

    def __post_init__(self) -> None:
        _a_network(self, self.network)
        require_number(self, "spread", 0)
        require_number(self, "rate", 0)

    def check(self, grid: tuple[int, ...]) -> None:
        self.network.check(grid)

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        import torch

        weights = self.network.weights(grid, outputs, generator)
        z = torch.randn((1, *self.network.input_shape(grid)), generator=generator)
        module = self.network.module(grid, outputs)
        free = norm_names(module)
        z = (self.spread * z).contiguous(memory_format=layout(z.shape, module))
        trained = {"z": z, "gain": z.new_ones(z.shape[1]), "offset": z.new_zeros(z.shape[1])}
        return Parts(trained | {n: w for n, w in weights.items() if n in free}, {n: w for n, w in weights.items() if n not in free})

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        own = {"z", "gain", "offset"}
        t = parts.trained
        z = torch.nn.functional.batch_norm(t["z"], None, None, t["gain"], t["offset"], training=True)
        weights = {n: w for n, w in t.items() if n not in own} | parts.fixed
        return torch.func.functional_call(self.network.module(grid, outputs), weights, (z,))[0]

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.values(parts, grid, outputs).sigmoid()

    def rates(self, names: list[str]) -> dict[str, float]:
        return dict.fromkeys(names, self.rate)

    @property
    def random(self) -> bool:
        return False
