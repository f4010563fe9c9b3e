"""D: from the intensity of the wave at the detector to the counts that are expected of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from untwin import expression, fourier
from untwin.checks import is_number
from untwin.errors import InputError
from untwin.model.unknown import Unknown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from untwin.data.measurement import Pattern


class Detection(ABC):
    """A frozen dataclass with one function. Fields may be `Unknown`; when `expected` is called they are tensors (starts, 1, ..., 1)."""

    @abstractmethod
    def expected(self, f: Tensor) -> Tensor:
        """D(f), counts, from the intensity f = |W x|² (starts, *grid), both at least zero; differentiable by torch."""

    def adjoint_derivative(self, f: Tensor, r: Tensor) -> Tensor:
        """D'(f)* r, like f: the derivative of Σ r D(f), by torch."""
        import torch

        return torch.func.vjp(self.expected, f)[1](r)[0]

    def check(self, ndim: int) -> None:  # noqa: B027 (most suit every pattern)
        """Raise InputError where the settings do not suit a pattern of so many axes."""

    def on(self, pattern: Pattern) -> Detection:
        """The same for a pattern: itself, where nothing of it is taken from there. Raises InputError where it does not suit."""
        self.check(pattern.ndim)
        return self

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Ideal(Detection):
    """D(f) = f: coherent waves, a detector that only counts."""

    def expected(self, f: Tensor) -> Tensor:
        return f


@dataclass(frozen=True, repr=False)
class Coherent(Detection):
    """Partial coherence of Gaussian (Schell model) beams, or a Gaussian point spread of the detector: D(f) = f convolved with a Gaussian.

    It multiplies the object's autocorrelation, r pixels apart along axes of N pixels, by exp(−2π² Σ_jk C_jk r_j r_k / (N_j N_k)): the
    degree of coherence of two points of the object (Vartanyants and Robinson, J. Phys.: Condens. Matter 13, 2001).
    covariance: C in pixels² of the pattern. One number, the same along every axis (σ² of the Gaussian; may be Unknown); a tuple of d
        numbers, one for each axis; or of d (d + 1) / 2: the diagonal of C, then the elements above it, row by row.
    """

    covariance: float | Unknown | tuple[float, ...]

    def __post_init__(self) -> None:
        if isinstance(self.covariance, list):
            object.__setattr__(self, "covariance", tuple(self.covariance))
        for value in self.numbers:
            if not _is_open(value) and not (is_number(value) and math.isfinite(value)):
                raise InputError(f"{self!r}: expected numbers, pixels², such as Coherent(0.09) for a σ of 0.3 pixels")
        known = {1: 1, 2: 2, 6: 3}  # three numbers are an ellipse in 2D, and three axes in 3D
        if (ndim := known.get(len(self.numbers))) is not None:
            self._require_covariance(ndim)

    @property
    def numbers(self) -> tuple[Any, ...]:
        """Of the covariance, always a tuple."""
        return self.covariance if isinstance(self.covariance, tuple) else (self.covariance,)

    def check(self, ndim: int) -> None:
        n = len(self.numbers)
        if n not in (1, ndim, ndim * (ndim + 1) // 2):
            raise InputError(
                f"{self!r}: {n} numbers for a pattern of {ndim} axes; expected 1, {ndim} or {ndim * (ndim + 1) // 2}. They are one σ² "
                "for all axes, one for each, or the diagonal of the covariance and the elements above it"
            )
        self._require_covariance(ndim)

    def _require_covariance(self, ndim: int) -> None:
        import numpy as np

        c = self.numbers
        if not any(map(_is_open, c)) and np.linalg.eigvalsh(matrix(c, ndim)).min() < -1e-9 * max(map(abs, c)):
            raise InputError(
                f"{self!r} is no covariance: it is negative in some direction; expected σ² along each axis, in pixels², at least 0"
            )

    def expected(self, f: Tensor) -> Tensor:
        return _convolved(f, fourier.gaussian_of(f.shape[1:], self.numbers, f))


@dataclass(frozen=True, repr=False)
class CoherentFactor(Detection):
    """`Coherent` by the factor L of its covariance C = L Lᵀ, for a search: whatever L is, C is a covariance.

    factor: the lower triangle of L row by row, pixels, d (d + 1) / 2 numbers; each may be Unknown.
    """

    factor: tuple[float | Unknown, ...]

    def check(self, ndim: int) -> None:
        if not isinstance(self.factor, tuple) or len(self.factor) != ndim * (ndim + 1) // 2:
            raise InputError(f"{self!r}: expected {ndim * (ndim + 1) // 2} numbers for a pattern of {ndim} axes: L row by row")

    def expected(self, f: Tensor) -> Tensor:
        return _convolved(f, fourier.gaussian_of(f.shape[1:], of_factor(self.factor), f))  # type: ignore[arg-type]


@dataclass(frozen=True, repr=False)
class Background(Detection):
    """D(f) = f + b: counts that do not come from the object, the same in every pixel.

    level: b, counts per pixel.
    """

    level: float | Unknown

    def __post_init__(self) -> None:
        level: Any = self.level
        if not _is_open(level) and not (is_number(level) and 0 <= level < math.inf):
            raise InputError(f"Background({self.level!r}): expected counts per pixel, at least 0, such as Background(2.5)")

    def expected(self, f: Tensor) -> Tensor:
        return f + self.level  # type: ignore[operator]


@dataclass(frozen=True, repr=False, eq=False)
class Sensitivity(Detection):
    """D(f) = s f + d: each pixel counts its own share s of the photons, and d without any. Last of all, and added by itself where a pattern
    has either; both are the pattern's (Pattern.sensitivity, Pattern.dark) and no settings."""

    flat: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    dark: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    _tensors: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on(self, pattern: Pattern) -> Sensitivity:
        if pattern.sensitivity is None and pattern.dark is None:
            raise InputError("Sensitivity(): this pattern has neither flat nor dark; give them to untwin.read (--flat, --dark)")
        if pattern.sensitivity is self.flat and pattern.dark is self.dark:
            return self
        bound = replace(self)
        object.__setattr__(bound, "flat", pattern.sensitivity)
        object.__setattr__(bound, "dark", pattern.dark)
        return bound

    def expected(self, f: Tensor) -> Tensor:
        s, d = self._as("flat", f), self._as("dark", f)
        f = f if s is None else f * s
        return f if d is None else f + d

    def adjoint_derivative(self, f: Tensor, r: Tensor) -> Tensor:
        s = self._as("flat", f)
        return r if s is None else r * s

    def _as(self, name: str, f: Tensor) -> Tensor | None:
        """(1, *grid), of the type of f and where it is."""
        import torch

        if (values := getattr(self, name)) is None:
            return None
        key = (name, f.dtype, f.device)
        if key not in self._tensors:
            self._tensors[key] = torch.tensor(values, dtype=f.dtype, device=f.device).unsqueeze(0)
        return self._tensors[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tensors": {}}


@dataclass(frozen=True, repr=False)
class Series(Detection):
    """One detection after the other: Series((Coherent(0.09), Background(2))) is D(f) = K f + 2."""

    parts: tuple[Detection, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or not all(isinstance(part, Detection) for part in self.parts):
            raise InputError(f"Series({self.parts!r}): expected detections in a tuple, such as Series((Coherent(0.09), Background(2)))")

    def check(self, ndim: int) -> None:
        for part in self.parts:
            part.check(ndim)

    def on(self, pattern: Pattern) -> Series:
        parts = tuple(part.on(pattern) for part in self.parts)
        return self if all(a is b for a, b in zip(parts, self.parts)) else Series(parts)

    def expected(self, f: Tensor) -> Tensor:
        for part in self.parts:
            f = part.expected(f)
        return f


def matrix(covariance: Sequence[float], ndim: int) -> list[list[float]]:
    """C (d, d) of 1, d or d (d + 1) / 2 numbers."""
    diagonal = list(covariance[:ndim]) if len(covariance) > 1 else [covariance[0]] * ndim
    c = [[diagonal[i] if i == j else 0.0 for j in range(ndim)] for i in range(ndim)]
    pairs = [(i, j) for i in range(ndim) for j in range(i + 1, ndim)]
    for (row, column), value in zip(pairs, covariance[ndim:]):
        c[row][column] = c[column][row] = value
    return c


def of_factor(factor: tuple[float, ...]) -> tuple[float, ...]:
    """The d (d + 1) / 2 numbers of C = L Lᵀ; L row by row, numbers or tensors."""
    d = round((math.sqrt(8 * len(factor) + 1) - 1) / 2)
    row = [factor[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2] for i in range(d)]
    pairs = [(i, i) for i in range(d)] + [(i, j) for i in range(d) for j in range(i + 1, d)]
    return tuple(sum(a * b for a, b in zip(row[i], row[j])) for i, j in pairs)


def _is_open(value: object) -> bool:
    """True for what is to be found, and for the tensors that stand in for it."""
    return isinstance(value, Unknown) or hasattr(value, "requires_grad")


def _convolved(f: Tensor, transfer: Tensor) -> Tensor:
    """What rounding, or the lobes of a band-limited Gaussian, bring below zero is zero."""
    import torch

    axes = tuple(range(1, f.ndim))
    return torch.fft.irfftn(torch.fft.rfftn(f, dim=axes) * transfer, s=tuple(f.shape[1:]), dim=axes).clamp(min=0)
