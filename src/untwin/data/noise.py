"""What scatters the numbers of a pattern: the counting of photons, or nobody knows what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from untwin.errors import InputError

Form = Literal["intensity", "amplitude", "logarithm"]
Values = Literal["photons", "intensity", "amplitudes", "logarithm"]  # what a user may say that a file's numbers are


@dataclass(frozen=True)
class Noise:
    """kind: "photons" where the pattern's intensity counts them, so that it is Poisson; "unknown" where no statistic may presume that.

    Of the file's numbers v, from which the intensity was made: form is "intensity", "amplitude" or "logarithm"; after that has been undone,
    photons are (v − offset) / gain. Of an unknown noise the gain is that at which it is most nearly that of photons, or 1.
    """

    kind: Literal["photons", "unknown"] = "photons"
    gain: float = 1.0
    offset: float = 0.0
    form: Form = "intensity"


@dataclass(frozen=True)
class Stated:
    """What the user says of the numbers in a file; None where nothing is said. Raises InputError.

    values: "photons", "intensity" (of a noise that is not known), "amplitudes" or "logarithm". gain, offset: after an amplitude or a
    logarithm is undone, photons are (value − offset) / gain.
    """

    values: Values | None = None
    gain: float | None = None
    offset: float | None = None

    def __post_init__(self) -> None:
        if self.values is not None and self.values not in get_args(Values):
            raise InputError(f"values={self.values!r}; expected photons, intensity, amplitudes or logarithm")
        for name in ("gain", "offset"):
            object.__setattr__(self, name, _number(name, getattr(self, name), "above 0" if name == "gain" else "finite"))

    @property
    def form(self) -> Form | None:
        return "intensity" if self.values == "photons" else "amplitude" if self.values == "amplitudes" else self.values


def _number(name: str, value: Any, expected: str) -> float | None:
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value is not None and (number is None or not math.isfinite(number) or (expected == "above 0" and not number > 0)):
        raise InputError(f"{name}={value!r}; expected a number, {expected}")
    return number


UNSTATED = Stated()
