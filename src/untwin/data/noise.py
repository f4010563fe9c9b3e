"""What scatters the numbers of a pattern: the counting of photons, or nobody knows what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
