"""How light came from the object to what was measured, where that was not one far field: several exposures of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from untwin.checks import is_number
from untwin.errors import InputError


@dataclass(frozen=True, eq=False)
class Optics:
    """What a set of numbers |W x|² says of W. Nothing where only the user knows it.

    masks: complex64 (exposures, *grid), what the object is multiplied by before each far field, in the order of a picture (nothing is
        rolled). fresnel_numbers: of each exposure in a near field, Δ² / (λ z) with Δ the size of a pixel: dimensionless.
    """

    masks: np.ndarray | None = None
    fresnel_numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.masks is not None and self.fresnel_numbers:
            raise InputError("masks and Fresnel numbers in one file; expected one of them: exposures of a far field, or of a near field")
        if self.masks is not None:
            object.__setattr__(self, "masks", require_masks(self.masks))
        if self.fresnel_numbers:
            object.__setattr__(self, "fresnel_numbers", require_fresnel_numbers(self.fresnel_numbers))

    def centred(self, values: np.ndarray) -> np.ndarray:
        """From the order of the waves to that of people and files: the zero frequency of each far field goes to the middle."""
        return values if self.masks is None else np.fft.fftshift(values, tuple(range(1, values.ndim)))

    def cornered(self, values: np.ndarray) -> np.ndarray:
        """Undoes `centred`."""
        return values if self.masks is None else np.fft.ifftshift(values, tuple(range(1, values.ndim)))

    def __repr__(self) -> str:
        if self.masks is not None:
            return f"Optics(masks of shape {self.masks.shape})"
        return f"Optics(fresnel_numbers={self.fresnel_numbers})" if self.fresnel_numbers else "Optics()"


def require_masks(masks: Any) -> np.ndarray:
    """As complex64 (exposures, *grid). Raises InputError where they are none."""
    array = np.asarray(masks.detach().cpu() if hasattr(masks, "detach") else masks)
    if array.dtype.kind not in "biufc" or array.ndim not in (3, 4) or not array.size:
        raise InputError(f"masks of shape {array.shape} and type {array.dtype}; expected numbers of shape (exposures, height, width)")
    if not np.isfinite(array).all():
        raise InputError("masks have NaN or infinite values; expected what the object is multiplied by, such as exp(1j * phase)")
    if not (array != 0).any():
        raise InputError("masks are 0 everywhere, so that no light comes through; expected such as exp(1j * phase)")
    return np.ascontiguousarray(array, dtype=np.complex64)


def require_fresnel_numbers(numbers: Any) -> tuple[float, ...]:
    """As floats. Raises InputError where they are none."""
    numbers = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    values = tuple(numbers) if isinstance(numbers, tuple | list) else (numbers,)
    if not values or not all(is_number(v) and v != 0 and np.isfinite(v) for v in values):
        raise InputError(
            f"Fresnel numbers {numbers!r}: expected one for each distance, pixel size² / (wavelength x distance), such as (0.01,)"
        )
    return tuple(float(v) for v in values)
