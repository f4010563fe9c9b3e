"""What was measured, and with which geometry. Data only: no reading, no physics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data import centre
from untwin.data.counts import counted
from untwin.data.noise import Noise
from untwin.data.optics import Optics
from untwin.errors import InputError
from untwin.notebook import InNotebooks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST = 24  # pixels along an axis: in a smaller array the light of a few pixels decides where it is bright


@dataclass(frozen=True)
class Geometry:
    """The experiment, in SI units; what is unknown is None.

    wavelength: of the beam, m.
    distance: from the object to the detector, m.
    pixel_size: of the detector, m, one number per axis of the array (slowest first).
    sampling: of a scan about a Bragg peak, rad/m: for each axis of the array (slowest first) how the wave vector changes from one index to
        the next, (x, y, z) in the laboratory (CXI: z downstream, y up, x = y × z), the crystal as it stands at the peak.
    q: of the same, rad/m: the wave vector transfer k_f − k_i at the zero frequency of the array.
    """

    wavelength: float | None = None
    distance: float | None = None
    pixel_size: tuple[float, ...] | None = None
    sampling: tuple[tuple[float, float, float], ...] | None = None
    q: tuple[float, float, float] | None = None

    def voxel_vectors(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """(3, 3) m: A, row a the step (x, y, z) in the laboratory from one voxel of the object to the next along axis a of an array of this
        shape, A Bᵀ = 2π diag(1/N) with B the sampling. None where the geometry is not that of a 3D scan."""
        if self.sampling is None or len(shape) != 3:
            return None
        return 2 * np.pi * np.linalg.inv(np.asarray(shape)[:, None] * np.asarray(self.sampling)).T

    def voxel_size(self, shape: tuple[int, ...]) -> tuple[float, ...] | None:
        """Size of an object pixel, m per axis: λ z / (N p), or the lengths of the voxel vectors of a scan about a Bragg peak. None where
        the geometry does not say."""
        if (vectors := self.voxel_vectors(shape)) is not None:
            return tuple(float(v) for v in np.linalg.norm(vectors, axis=1))
        if self.wavelength is None or self.distance is None or self.pixel_size is None:
            return None
        if len(self.pixel_size) != len(shape):
            return None
        return tuple(self.wavelength * self.distance / (n * p) for n, p in zip(shape, self.pixel_size, strict=True))

    def voxel_volume(self, shape: tuple[int, ...]) -> float | None:
        """m² or m³ of an object pixel. None where the geometry does not say."""
        if (vectors := self.voxel_vectors(shape)) is not None:
            return abs(float(np.linalg.det(vectors)))
        sizes = self.voxel_size(shape)
        return None if sizes is None else math.prod(sizes)


def is_sound(geometry: Geometry) -> bool:
    """False where a scan's sampling or wave vector is no finite vector, or the sampling does not span space."""
    vectors = [*(geometry.sampling or ()), *([geometry.q] if geometry.q else [])]
    if not np.isfinite(vectors).all() or (geometry.q is not None and not any(geometry.q)):
        return False
    b = np.array(geometry.sampling) if geometry.sampling else np.eye(3)
    lengths = np.linalg.norm(b, axis=1)
    return b.shape == (3, 3) and bool(lengths.all()) and abs(np.linalg.det(b / lengths[:, None])) > 1e-3


@dataclass(frozen=True)
class Source:
    """Where a pattern came from, so that its object can be put back and the run repeated.

    path: the file, as given; dataset: the array in it; sha256: of the file's bytes.
    shape: of the array in the file; centre: where its zero frequency is, in the file's pixels (half pixels allowed).
    mask, flat, dark: their files or datasets, as given. options: further options of `read` by name, as given.
    """

    path: str | None = None
    dataset: str | None = None
    sha256: str | None = None
    shape: tuple[int, ...] | None = None
    centre: tuple[float, ...] | None = None
    mask: str | None = None
    flat: str | None = None
    dark: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Pattern(InNotebooks):
    """A far-field diffraction pattern in FFT order (zero frequency first), or other numbers |W x|² (optics).

    intensity: float32, 2D or 3D, photons where the file counts photons; finite and not negative, 0 where not measured. Some are counted.
    measured: bool, same shape, True where the pixel can be trusted.
    offset: where the true zero frequency lies relative to index 0, in pixels per axis: 0 or 0.5.
    asymmetry: how far the pattern is from its own mirror image about its centre, in excess of counting noise: 0 for a real
        object, of order 1 for two unrelated patterns; NaN where nobody has looked.
    warnings: every guess that was made on the way in, as sentences.
    sensitivity: float32, same shape and order, how many of the photons that fall on a pixel are counted, relative (`read`: its mean over
        the measured pixels is 1). dark: float32, counts that a pixel is expected to have without any light. They scale the model and not
        the data: sensitivity times light + dark counts are expected (model.detection.Sensitivity). None: all pixels are alike; no counts.
        Those of one frame hold for all of a 3D pattern. Above 0, and at least 0, where measured.
    noise: of the intensity; None where nobody has looked: then `counted` looks at the values.
    doubts: what the numbers may not be, as clauses: with one of them no result is trusted.
    preparation: what was done to the frames of a raw scan, one sentence for each step.
    optics: where it is not one far field: what is known of W. The array may then have any shape: exposures of one object come first, each
        in the order of its waves, which is FFT order for far fields (Masked) and that of a picture else (Fresnel).

    Lists and tensors become arrays. Raises InputError where one does not fit, and where the array is centred (`untwin.read` takes either).
    """

    intensity: np.ndarray
    measured: np.ndarray
    geometry: Geometry = field(default_factory=Geometry)
    source: Source = field(default_factory=Source)
    offset: tuple[float, ...] = ()
    asymmetry: float = float("nan")
    warnings: tuple[str, ...] = ()
    sensitivity: np.ndarray | None = None
    dark: np.ndarray | None = None
    noise: Noise | None = None
    doubts: tuple[str, ...] = ()
    preparation: tuple[str, ...] = ()
    optics: Optics | None = None

    def __post_init__(self) -> None:
        intensity, measured = numbers("intensity", self.intensity), numbers("measured", self.measured).astype(bool, copy=False)
        if self.optics is None and intensity.ndim not in (2, 3):
            raise InputError(f"a pattern is 2D or 3D, this array has shape {intensity.shape}; choose one frame or volume")
        if not intensity.size:
            raise InputError(f"intensity has shape {intensity.shape}, without a pixel; expected some along every axis, such as 64 x 64")
        if intensity.shape != measured.shape:
            raise InputError(f"intensity has shape {intensity.shape}, the mask {measured.shape}; crop or pad one of them")
        _require_counts(intensity[measured])
        if self.optics is None and min(intensity.shape) >= SMALLEST and centre.is_centred(intensity, measured):
            raise InputError(
                f"this pattern of shape {intensity.shape} is bright in the middle and dark at its corners: it is centred. A Pattern is in "
                "FFT order (zero frequency first): use untwin.read(array), which takes either, or np.fft.ifftshift on both arrays"
            )
        object.__setattr__(self, "intensity", intensity)
        object.__setattr__(self, "measured", measured)
        object.__setattr__(self, "offset", _offset(self.offset, intensity.ndim))
        for name, least in (("sensitivity", "above 0"), ("dark", "at least 0")):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _of_detector(name, value, measured, least))

    def __repr__(self) -> str:
        light = f"{self.photons:,.0f} photons" if self.counted else f"intensity {self.photons:.4g}"
        source = f", {self.source.path!r}" if self.source.path else ""
        return f"Pattern({' x '.join(map(str, self.shape))}, {light}, {100 * float(self.measured.mean()):.4g} % measured{source})"

    def plot(self) -> Figure:
        """A matplotlib Figure: the intensity, zero frequency in the middle, log scale; unmeasured pixels have a colour of their own."""
        from untwin.show.exposures import plot_exposures  # an upward import: a method that users expect here
        from untwin.show.pattern import plot_pattern

        return plot_pattern(self) if self.optics is None else plot_exposures(self)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.intensity.shape

    @property
    def ndim(self) -> int:
        return self.intensity.ndim

    def centred(self, values: np.ndarray) -> np.ndarray:
        """An array like the intensity, with the zero frequency in the middle (for people and files)."""
        return self.optics.centred(values) if self.optics else np.fft.fftshift(values)

    @property
    def photons(self) -> float:
        """Sum of the intensity over the measured pixels."""
        return float(self.intensity[self.measured].sum(dtype=np.float64))

    @property
    def signal(self) -> float:
        """The photons, less the counts that `dark` expects without any light: what tells of an object."""
        dark = 0.0 if self.dark is None else float(self.dark[self.measured].sum(dtype=np.float64))
        return max(0.0, self.photons - dark)

    @property
    def counted(self) -> bool:
        """True where the intensity is a count of photons: only then may a statistic presume that its noise is Poisson."""
        return counted(self.intensity[self.measured]) if self.noise is None else self.noise.kind == "photons"

    @property
    def voxel_size(self) -> tuple[float, ...] | None:
        """None where it is not one far field."""
        return None if self.optics else self.geometry.voxel_size(self.shape)

    def corrected(self) -> Pattern:
        """As a detector without dark counts, whose pixels are alike, would have shown it: max(I − dark, 0) / sensitivity. To look at: its
        values are no counts. Itself where neither is known."""
        if self.sensitivity is None and self.dark is None:
            return self
        return replace(self, intensity=light(self.intensity, self.sensitivity, self.dark), sensitivity=None, dark=None)

    @classmethod
    def of_waves(cls, intensity: Any, measured: Any = None, optics: Optics | None = None) -> Pattern:
        """Numbers |W x|² of any shape, for waves that a Problem is given: `Problem(Pattern.of_waves(y), Gaussian(256))`.

        intensity: an array, a tensor, a list; measured: bool, same shape, by default everywhere."""
        values = numbers("intensity", intensity)
        everywhere = np.ones(values.shape, dtype=bool)
        return cls(intensity=values, measured=everywhere if measured is None else measured, optics=optics or Optics())


def light(intensity: np.ndarray, sensitivity: np.ndarray | None, dark: np.ndarray | None) -> np.ndarray:
    """max(I − dark, 0) / sensitivity, of the intensity's type; the intensity itself where there is neither."""
    if sensitivity is None and dark is None:
        return intensity
    rest = intensity if dark is None else np.maximum(intensity - dark, 0)
    return np.asarray(rest if sensitivity is None else rest / sensitivity, dtype=intensity.dtype)


def numbers(name: str, value: Any) -> np.ndarray:
    """As an array of real numbers. value: an array, a tensor wherever it is, a list. Raises InputError."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception as error:
        raise InputError(f"{name} is no array ({type(error).__name__}: {error}); expected one such as np.asarray({name}) gives") from error
    if array.dtype.kind not in "fiub":
        kind = f"{type(value).__name__} {array.dtype if array.dtype.kind == 'c' else 'without numbers'}"
        raise InputError(f"{name} is of {kind}; expected an array of real numbers, such as np.abs(wave) ** 2")
    return array


def _of_detector(name: str, value: Any, measured: np.ndarray, least: str) -> np.ndarray:
    """float32 in the pattern's shape; where nothing is measured, what no number can be is 1 (sensitivity) or 0 (dark)."""
    array = np.asarray(numbers(name, value), dtype=np.float32)
    if measured.ndim == 3 and array.shape == measured.shape[1:]:
        array = np.broadcast_to(array, measured.shape)
    if array.shape != measured.shape:
        raise InputError(f"{name} has shape {array.shape}, the pattern {measured.shape}; crop or pad one of them")
    sound = np.isfinite(array) & (array > 0 if name == "sensitivity" else array >= 0)
    if bad := int((measured & ~sound).sum()):
        raise InputError(
            f"{name} is not {least}, or not finite, in {bad:,} of {int(measured.sum()):,} measured pixels; set their measured to False"
        )
    return np.ascontiguousarray(array if sound.all() else np.where(sound, array, np.float32(name == "sensitivity")))


def _require_counts(counts: np.ndarray) -> None:
    """Of the measured pixels."""
    if not counts.size:
        raise InputError("no pixel is measured; expected True in measured where a pixel can be trusted (a mask of bad pixels: ~mask)")
    if not (counts.min() >= 0 and counts.max() < np.inf):
        bad = int((~(counts >= 0) | ~np.isfinite(counts)).sum())
        raise InputError(
            f"intensity is negative, NaN or infinite in {bad:,} of {counts.size:,} measured pixels; "
            f"expected counts of at least 0: set these to 0 and their measured to False"
        )
    if not counts.any():
        raise InputError(
            f"nothing was counted in {counts.size:,} measured pixels; expected an intensity above 0 in some: check data and mask"
        )


def _offset(offset: Any, ndim: int) -> tuple[float, ...]:
    """As floats, zeros where there is none."""
    try:
        values = tuple(float(v) for v in offset) or (0.0,) * ndim
    except (TypeError, ValueError):
        values = ()
    if len(values) != ndim or not all(math.isfinite(v) and (2 * v).is_integer() for v in values):
        raise InputError(f"offset={offset!r}: expected {ndim} whole or half numbers of pixels, such as {(0.0,) * (ndim - 1) + (0.5,)}")
    return values
