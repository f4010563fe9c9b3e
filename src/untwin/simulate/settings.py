"""Settings of a recipe: a number, or one that is drawn for each sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from untwin import expression
from untwin.checks import is_number
from untwin.errors import InputError


@dataclass(frozen=True, repr=False)
class Between:
    """A setting drawn for each sample: uniform from low to high (whole numbers: both included), or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (is_number(self.low) and is_number(self.high)) or self.low > self.high or (self.log and self.low <= 0):
            raise InputError(
                f"Between({self.low!r}, {self.high!r}{', log=True' if self.log else ''}): expected two numbers, the smaller one first"
                + (" and above 0" if self.log else "")
            )

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class OneOf:
    """A setting drawn for each sample from a few values, each as likely as the others."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values or not all(is_number(v) for v in self.values):
            raise InputError(f"OneOf({self.values!r}): expected one or more numbers, such as OneOf((0, 3))")

    def __repr__(self) -> str:
        return expression.write(self)


Setting = float | Between | OneOf


def bounds_of(setting: Setting) -> tuple[float, float]:
    """The smallest and the largest value of a setting."""
    if isinstance(setting, Between):
        return setting.low, setting.high
    if isinstance(setting, OneOf):
        return min(setting.values), max(setting.values)
    return setting, setting


def require_within(owner: object, name: str, low: float, high: float = float("inf"), integer: bool = False, fixed: bool = False) -> None:
    """Raise InputError unless the setting `name` of `owner` stays in [low, high] (and is made of whole numbers). fixed: it is the same
    number for all samples."""
    v = getattr(owner, name)
    numbers = v.values if isinstance(v, OneOf) else (v.low, v.high) if isinstance(v, Between) else (v,)
    varies = isinstance(v, Between | OneOf)
    valid = all(is_number(n) and low <= n <= high and (not integer or n == int(n)) for n in numbers)
    if not valid or (fixed and (varies or (integer and not isinstance(v, int)))) or (integer and isinstance(v, Between) and v.log):
        span = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
        kind = "a whole number" if integer else "a number"
        alternatives = "" if fixed else ", or Between(a, b) or OneOf((a, b, ...)) of such"
        raise InputError(f"{type(owner).__name__}({name}={v!r}): expected {kind}, {span}{alternatives}")


def draw(setting: Setting, generator: np.random.Generator) -> float:
    """A setting, drawn from one generator."""
    if isinstance(setting, Between):
        u = generator.random()
        return float(setting.low * (setting.high / setting.low) ** u if setting.log else setting.low + u * (setting.high - setting.low))
    if isinstance(setting, OneOf):
        return float(setting.values[int(generator.random() * len(setting.values))])
    return float(setting)


def draw_integer(setting: Setting, generator: np.random.Generator) -> int:
    """A setting of whole numbers, drawn from one generator, both ends included."""
    if isinstance(setting, Between):
        return int(setting.low + math.floor(generator.random() * (setting.high - setting.low + 1)))
    return int(draw(setting, generator))
