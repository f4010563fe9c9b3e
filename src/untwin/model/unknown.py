"""What of the physics nobody knows: numbers that are found beside the object, one of each for every start, and whole tensors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from untwin import expression
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Nuisance = dict[str, "Tensor"]  # by name: (starts,) float64, or (starts, *shape) float32 of a tensor: what moves beside x


@dataclass(frozen=True, repr=False)
class Unknown:
    """A setting of waves or detection that is to be found, such as Coherent(covariance=Unknown(0.5, 0, 3)); without numbers a tensor of
    which nothing is known, such as Blur(Unknown()).

    first: where the search begins; None for a tensor. low, high: it stays between them.
    """

    first: float | None = None
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if self.first is None:
            if (self.low, self.high) != (-math.inf, math.inf):
                raise InputError(f"{self!r}: limits without a first value; expected such as Unknown(0.5, 0, 3), or Unknown() for a tensor")
            return
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (self.first, self.low, self.high))
        if not numbers or not (self.low <= self.first <= self.high and math.isfinite(self.first)):
            raise InputError(
                f"Unknown({self.first!r}, {self.low!r}, {self.high!r}): expected a first value between the lowest and the highest"
            )

    def __repr__(self) -> str:
        return expression.write(self)


P = TypeVar("P")


def unknowns(part: Any) -> dict[str, Unknown]:
    """What of a frozen description is Unknown, by the name of its field; in a tuple with its place, such as factor_0. The parts of a Series
    have their own names. Raises InputError where a number has no first value."""
    collected: dict[str, Unknown] = {}

    def collect(name: str, unknown: Unknown) -> Unknown:
        if unknown.first is None:
            raise InputError(f"{name}=Unknown(): a number is searched from a first value; expected such as Unknown(0.5, 0, 3)")
        if name in collected:
            raise InputError(f"{part!r} has two unknowns of the name {name}; make one of them a number")
        collected[name] = unknown
        return unknown

    _changed(part, collect)
    return collected


def known(part: P, values: dict[str, float]) -> P:
    """The description with plain numbers in place of its unknowns."""
    return _changed(part, lambda name, _: values[name])


def holding(part: P, values: Nuisance, ndim: int) -> P:
    """The description with values for its unknowns, each (starts, 1, ..., 1) so that it broadcasts over the grid."""
    return _changed(part, lambda name, unknown: values[name].reshape((-1,) + (1,) * ndim) if name in values else unknown)


def _changed(part: P, change: Callable[[str, Unknown], Any]) -> P:
    """The description with something else for each unknown; itself where there is none."""

    def changed(name: str, value: Any) -> Any:
        if isinstance(value, Unknown):
            return change(name, value)
        if isinstance(value, tuple):
            items = tuple(changed(f"{name}_{i}", item) for i, item in enumerate(value))
            return value if all(a is b for a, b in zip(items, value)) else items
        return _changed(value, change) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value

    fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}  # type: ignore[arg-type]
    new = {name: changed(name, value) for name, value in fields.items()}
    changes = {name: value for name, value in new.items() if value is not fields[name]}
    return dataclasses.replace(part, **changes) if changes else part  # type: ignore[type-var]
