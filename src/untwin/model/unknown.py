"""Numbers of the physics that nobody knows: found beside the object, one of each for every start."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from untwin import expression
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Nuisance = dict[str, "Tensor"]  # by name: (starts,) float64, what moves beside x


@dataclass(frozen=True, repr=False)
class Unknown:
    """A setting of waves or detection that is to be found, such as Coherent(sigma=Unknown(0.5, 0, 3)).

    first: where the search begins. low, high: it stays between them.
    """

    first: float
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (self.first, self.low, self.high))
        if not numbers or not (self.low <= self.first <= self.high and math.isfinite(self.first)):
            raise InputError(
                f"Unknown({self.first!r}, {self.low!r}, {self.high!r}): expected a first value between the lowest and the highest"
            )

    def __repr__(self) -> str:
        return expression.write(self)


P = TypeVar("P")


def unknowns(part: Any) -> dict[str, Unknown]:
    """The fields of a frozen description that are Unknown."""
    return {f.name: v for f in dataclasses.fields(part) if isinstance(v := getattr(part, f.name), Unknown)}


def known(part: P, values: dict[str, float]) -> P:
    """The description with plain numbers in place of its unknowns."""
    return dataclasses.replace(part, **{n: values[n] for n in unknowns(part)})  # type: ignore[type-var]


def holding(part: P, values: Nuisance, ndim: int) -> P:
    """The description with values for its unknowns, each (starts, 1, ..., 1) so that it broadcasts over the grid."""
    names = [f.name for f in dataclasses.fields(part) if f.name in values]  # type: ignore[arg-type]
    if not names:
        return part
    return dataclasses.replace(part, **{n: values[n].reshape((-1,) + (1,) * ndim) for n in names})  # type: ignore[type-var]
