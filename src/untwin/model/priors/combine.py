"""Complex images from two real priors. Double DIP is the sentence Polar(Untrained(), Untrained())."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.networks.base import Network
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Parts, Prior
from untwin.model.priors.untrained import Untrained

if TYPE_CHECKING:
    from torch import Tensor


class _Pair(Prior):
    """Two priors under two names; their tensors are kept as "name.tensor"."""

    @abstractmethod
    def pair(self) -> tuple[tuple[str, Prior, int], tuple[str, Prior, int]]:
        """(name, prior, outputs for each channel) of both."""

    def check(self, grid: tuple[int, ...]) -> None:
        for _, prior, _ in self.pair():
            prior.check(grid)

    def begin(self, grid: tuple[int, ...], outputs: int, generator: Any) -> Parts:
        trained, fixed = {}, {}
        for name, prior, each in self.pair():
            parts = prior.begin(grid, each * outputs, generator)
            trained |= {f"{name}.{n}": t for n, t in parts.trained.items()}
            fixed |= {f"{name}.{n}": t for n, t in parts.fixed.items()}
        return Parts(trained, fixed)

    def rates(self, names: list[str]) -> dict[str, float]:
        rates = {}
        for name, prior, _ in self.pair():
            own = [n.removeprefix(f"{name}.") for n in names if n.startswith(f"{name}.")]
            rates |= {f"{name}.{n}": r for n, r in prior.rates(own).items()}
        return rates

    def parts(self) -> tuple[Prior, ...]:
        return tuple(part for _, prior, _ in self.pair() for part in prior.parts())

    @property
    def complex(self) -> bool:
        return True

    @property
    def random(self) -> bool:
        return any(part.random for part in self.parts())

    def values(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        raise InputError(f"{self!r} is complex and cannot be a part of another complex prior; expected a real one, such as Untrained()")

    def require_real_parts(self) -> None:
        for name, prior, _ in self.pair():
            if not isinstance(prior, Prior) or prior.complex:
                raise InputError(f"{type(self).__name__}({name}={prior!r}): expected a real prior, such as Untrained()")


def _part(parts: Parts, name: str) -> Parts:
    def cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {n.removeprefix(f"{name}."): t for n, t in tensors.items() if n.startswith(f"{name}.")}

    return Parts(cut(parts.trained), cut(parts.fixed))


def _single(t: Tensor) -> Tensor:
    """bfloat16 as float32: there are no complex numbers of it."""
    import torch

    return t.float() if t.dtype == torch.bfloat16 else t


@dataclass(frozen=True, repr=False)
class Polar(_Pair):
    """m exp(iφ), m the image of one prior, φ from another.

    vector: the phase is a unit vector, (c + i s) / (√(c² + s²) + 1e-3), from two outputs: no wrap, and vortices are allowed. With
    vector=False it is one angle without bounds.
    """

    magnitude: Prior = field(default_factory=Untrained)
    phase: Prior = field(default_factory=Untrained)
    vector: bool = True

    def __post_init__(self) -> None:
        self.require_real_parts()

    def pair(self) -> tuple[tuple[str, Prior, int], tuple[str, Prior, int]]:
        return ("magnitude", self.magnitude, 1), ("phase", self.phase, 2 if self.vector else 1)

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        m = self.magnitude.image(_part(parts, "magnitude"), grid, outputs, generator)
        v = self.phase.values(_part(parts, "phase"), grid, (2 if self.vector else 1) * outputs, generator)
        m, v = _single(m), _single(v)
        if not self.vector:
            return torch.complex(m * v.cos(), m * v.sin())
        c, s = v[:outputs], v[outputs:]
        scale = m / ((c.square() + s.square() + 1e-12).sqrt() + 1e-3)
        return torch.complex(scale * c, scale * s)


@dataclass(frozen=True, repr=False)
class Cartesian(_Pair):
    """a + i b from two priors, without bounds. positive: a is the bounded image of its prior and so at least zero."""

    real: Prior = field(default_factory=Untrained)
    imaginary: Prior = field(default_factory=Untrained)
    positive: bool = False

    def __post_init__(self) -> None:
        self.require_real_parts()

    def pair(self) -> tuple[tuple[str, Prior, int], tuple[str, Prior, int]]:
        return ("real", self.real, 1), ("imaginary", self.imaginary, 1)

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        import torch

        first = self.real.image if self.positive else self.real.values
        a = first(_part(parts, "real"), grid, outputs, generator)
        b = self.imaginary.values(_part(parts, "imaginary"), grid, outputs, generator)
        return torch.complex(_single(a), _single(b))


@dataclass(frozen=True, repr=False)
class DoubleDIP(_Pair):
    """Polar(Untrained(network), Untrained(network)) with one setting for both: double deep image prior for phase retrieval (Zhuang, Yang,
    Hofmann, Barmherzig and Sun, ICASSP 2023), with the phase as a unit vector. Two nets of 16 channels and 8 inputs by default.
    """

    network: Network = field(default_factory=lambda: Skip(depth=2, width=16, skip=4, inputs=8, padding="replicate"))
    jitter: float = 0.0
    rate: float = 0.01

    def __post_init__(self) -> None:
        require_number(self, "jitter", 0)
        require_number(self, "rate", 0)
        self.require_real_parts()

    @property
    def polar(self) -> Polar:
        half = Untrained(self.network, jitter=self.jitter, rate=self.rate)
        return Polar(half, half)

    def pair(self) -> tuple[tuple[str, Prior, int], tuple[str, Prior, int]]:
        return self.polar.pair()

    def image(self, parts: Parts, grid: tuple[int, ...], outputs: int, generator: Any = None) -> Tensor:
        return self.polar.image(parts, grid, outputs, generator)
