"""The one door: a file becomes a Pattern. Every check of an input lies behind it; every guess is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from untwin.data import centre as centring
from untwin.data import cxi, formats, hdf5
from untwin.data import flat as detector
from untwin.data.atomic import sha256
from untwin.data.counts import photons
from untwin.data.measurement import Geometry, Pattern, Source, light
from untwin.data.object import ObjectFile, read_object, read_support, split
from untwin.data.oversampling import undersampled_axes
from untwin.errors import GuessWarning, InputError, readable_errors
from untwin.fourier import fast_size

Named = str | Path | np.ndarray | None  # what there is beside a pattern: a file, an array of one, or an array

__all__ = ["ObjectFile", "read", "read_object", "read_support"]

_STAY = 0.05  # of an axis: a smaller shift keeps the size of the array and loses pixels at one edge
_GROW = 0.05  # of an axis: padding to a fast size costs no more than this; otherwise the axis is cropped


def read(
    path: str | Path,
    data: str | None = None,
    mask: str | Path | None = None,
    *,
    centre: Sequence[float] | None = None,
    flat: Named = None,
    dark: Named = None,
) -> Pattern:
    """The diffraction pattern in a CXI, HDF5, NeXus, .npy, .npz or TIFF file, told apart by content.

    data: the dataset's path (HDF5) or the array's name (.npz), where the file leaves a choice.
    mask: a file of any of these formats (FILE::NAME chooses in it) or a dataset of the same file; nonzero is a bad
        pixel, in the pattern's shape or (for a stack) one frame's. It replaces the file's own mask.
    centre: the zero frequency in the file's pixels, whole or half, one number per axis; all 0 says FFT order. Without it: the centre of
        symmetry of a real object, else FFT order, the array's middle or the peak, whichever the pattern shows.
    flat: what the detector counts where the same light falls on every pixel, in any unit: a file as for mask, or an array. Where it is 0,
        NaN or below a twentieth of its median the pixel is dead: not measured.
    dark: counts of a pixel without light in the time of one frame, likewise. Neither changes the counts (Pattern.sensitivity, dark).

    The pattern comes back in FFT order; axes are cropped or padded with unmeasured pixels, never wrapped, to even sizes
    that transform fast. A result or a simulation of untwin gives back its measurement as it was stored. Every guess is a GuessWarning
    and stands in Pattern.warnings. Raises InputError.
    """
    file = formats.existing(path)
    format = formats.kind(file)
    guesses: list[str] = []
    if format == "hdf5":
        with readable_errors(file, "HDF5"), hdf5.opened(file) as tree:
            if all(v is None for v in (data, mask, centre, flat, dark)) and (stored := cxi.read_pattern(tree)) is not None:
                own = {} if cxi.holds_object(tree) else {"path": str(path), "sha256": sha256(file)}
                return replace(stored, source=replace(stored.source, **own)) if own else stored
            raw = _pattern_from_hdf5(tree, file, data, mask, guesses)
    else:
        raw = _from_array(file, format, data, mask)
    grids = _grids(file, format, raw, (mask, flat, dark), guesses)
    centred = _centred(grids, centre, guesses)
    _look_at_sampling(centred, guesses)
    for guess in guesses:
        warnings.warn(guess, GuessWarning, stacklevel=2)
    return Pattern(
        intensity=centred.intensity,
        measured=centred.measured,
        geometry=raw.geometry,
        source=Source(
            path=str(path),
            dataset=raw.name or None,
            sha256=sha256(file),
            shape=grids.intensity.shape,
            centre=centred.centre,
            mask=str(mask) if mask is not None else raw.mask_name,
            flat=_name_of(flat),
            dark=_name_of(dark),
        ),
        offset=centred.offset,
        asymmetry=centred.asymmetry,
        warnings=tuple(guesses),
        sensitivity=None if centred.flat is None else detector.normalised(centred.flat, centred.measured),
        dark=centred.dark,
    )


def _name_of(named: Named) -> str | None:
    """An array has none."""
    return str(named) if isinstance(named, str | Path) else None


@dataclass(frozen=True, eq=False)
class _Raw:
    """What a file holds, before any decision. mask: True where bad. flat, dark: of a pattern that untwin has stored."""

    name: str
    values: np.ndarray
    mask: np.ndarray | None = None
    mask_name: str | None = None
    geometry: Geometry = field(default_factory=Geometry)
    flat: np.ndarray | None = None
    dark: np.ndarray | None = None


def _pattern_from_hdf5(tree: hdf5.Tree, file: Path, data: str | None, mask: str | Path | None, guesses: list[str]) -> _Raw:
    import h5py

    name = data or cxi.data_path(tree)
    if name is None:
        default = tree.default()
        if default is not None and default.dtype.kind in "biuf" and sum(n > 1 for n in default.shape or ()) in (2, 3):
            name, dataset = str(default.name), default
        elif cxi.holds_object(tree):
            raise InputError(
                f"{file.name} holds a reconstruction and no measurement; choose a dataset with data= (--data), or use "
                "untwin.data.read.read_object for the object"
            )
        else:
            name = formats.choose_entry(tree.entries(), None, (), file.name, "intensity", "data").name
            dataset = tree.find(name)
    else:
        dataset = tree.find(name)
        if isinstance(dataset, h5py.Group) and "signal" in dataset.attrs:
            dataset = tree.find(str(dataset.attrs["signal"]), dataset)
        if not isinstance(dataset, h5py.Dataset):
            dataset = tree.find(formats.choose_entry(tree.entries(), name, (), file.name, "intensity", "data").name)
    values = tree.load(dataset)
    path = cxi.mask_path(tree, name if name.startswith("/") else f"/{name}") if mask is None else None
    bad = cxi.is_bad(_without_nan(tree.load(tree.find(path)))) if path else None
    return _Raw(name, values, bad, path, cxi.geometry(tree, guesses), *cxi.stored_flat_and_dark(tree, name))


def _from_array(file: Path, format: str, data: str | None, mask: str | Path | None) -> _Raw:
    name, values = formats.array(file, format, data, ("intensity",), "intensity", "data")
    if format != "numpy" or not name:
        return _Raw(name, values)
    from untwin.data import arrays

    with readable_errors(file, "NumPy"):
        has_mask = name != "mask" and any(e.name == "mask" for e in arrays.entries(file))
        bad = _without_nan(arrays.load(file, "mask")) != 0 if has_mask else None
    return _Raw(name, values, bad, "mask" if has_mask else None)


def _bad_pixels(file: Path, format: str, raw: _Raw, mask: str | Path | None, guesses: list[str]) -> np.ndarray | None:
    """True where bad, by the user's mask or else by the file's own; None where neither is there."""
    if mask is None:
        return raw.mask
    if raw.mask is not None:
        guesses.append(f"the file's own mask is not used, because {mask} was given")
    return _read_mask(file, format, mask)


def _read_mask(file: Path, format: str, mask: str | Path) -> np.ndarray:
    """The mask that the user names: a file, FILE::NAME, or a dataset of the input itself."""
    prefer = ("mask", "/entry_1/instrument_1/detector_1/mask", "pixel_mask")
    kind, name, values = _companion(file, format, mask, "mask", prefer)
    if values.dtype.kind == "c":
        raise InputError(f"the mask {name} is complex; expected 0 for good pixels and 1 for bad ones")
    values = _without_nan(values)
    return cxi.is_bad(values) if kind == "hdf5" else values != 0


def _companion(file: Path, format: str, text: str | Path, purpose: str, prefer: Sequence[str]) -> tuple[str, str, np.ndarray]:
    """(format, name, array) that the user names beside the pattern: a file, FILE::NAME, or a dataset of the input itself."""
    text = str(text)
    if "::" in text or text.startswith("~") or Path(text).exists() or format == "tiff":
        path, name = split(text)
    else:
        path, name = file, text
    kind = formats.kind(path)
    if path == file and name is not None and not _holds(file, format, name):
        raise InputError(f"the {purpose} {text} is neither a file nor an array in {file.name}; check its path")
    name, values = formats.array(path, kind, name, prefer, purpose, f"{purpose}={path.name}::NAME instead of data")
    return kind, name or path.name, values


def _grids(file: Path, format: str, raw: _Raw, others: tuple[str | Path | None, Named, Named], guesses: list[str]) -> _Grids:
    """What there is of each pixel, as the file has it. others: mask, flat and dark."""
    what = f"{raw.name or 'the array'} in {file.name}"
    values = formats.squeezed_grid(raw.values, what)
    bad = _mask_for(values, _bad_pixels(file, format, raw, others[0], guesses), what, guesses)
    flat, dark = _flat_and_dark(file, format, raw, others[1:], guesses)
    if flat is not None:
        flat, dead = detector.flat_field(flat, values.shape, what, guesses)
        bad = bad | dead
    dark = None if dark is None else detector.dark_counts(dark, values.shape, what)
    intensity, measured, choices = photons(values, bad, what)
    guesses += choices
    if dark is not None:
        detector.require_light(intensity, measured, dark, guesses)
    return _Grids(intensity, measured, flat, dark)


def _flat_and_dark(
    file: Path, format: str, raw: _Raw, named: Sequence[Named], guesses: list[str]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """As the user names them, or else as the file has them."""
    pair = []
    preferred = {"flat": ("flat", "whitefield", "sensitivity"), "dark": ("dark",)}
    for (purpose, prefer), value, own in zip(preferred.items(), named, (raw.flat, raw.dark)):
        if value is not None and own is not None:
            guesses.append(f"the file's own {purpose} is not used, because another was given")
        if isinstance(value, str | Path):
            pair.append(_companion(file, format, value, purpose, prefer)[2])
        else:
            pair.append(own if value is None else np.asarray(value))
    return pair[0], pair[1]


def _holds(file: Path, format: str, name: str) -> bool:
    from untwin.data import arrays

    if format == "hdf5":
        with readable_errors(file, "HDF5"), hdf5.opened(file) as tree:
            return tree.find(name) is not None
    with readable_errors(file, "NumPy"):
        return any(e.name == name for e in arrays.entries(file))


def _without_nan(mask: np.ndarray) -> np.ndarray:
    """NaN in a mask of floats is a bad pixel."""
    return np.nan_to_num(mask, nan=1.0) if mask.dtype.kind == "f" else mask


def _mask_for(values: np.ndarray, bad: np.ndarray | None, what: str, guesses: list[str]) -> np.ndarray:
    """The mask in the shape of the values."""
    if bad is None:
        return np.zeros(values.shape, bool)
    if bad.ndim > 2:
        bad = bad.reshape([n for n in bad.shape if n != 1] or [1])
    if bad.shape != values.shape and bad.shape == values.shape[1:]:
        guesses.append(f"the mask has the shape of one frame {bad.shape}: used for all {values.shape[0]}")
        bad = np.broadcast_to(bad, values.shape)
    if bad.shape != values.shape:
        raise InputError(f"the mask has shape {bad.shape}, {what} {values.shape}; crop or pad one of them")
    return bad


@dataclass(frozen=True, eq=False)
class _Grids:
    """What there is of each pixel."""

    intensity: np.ndarray
    measured: np.ndarray
    flat: np.ndarray | None = None
    dark: np.ndarray | None = None

    @property
    def light(self) -> np.ndarray:
        """The intensity as a detector whose pixels are alike would show it."""
        return light(self.intensity, self.flat, self.dark)

    def each(self, move: Callable[[np.ndarray], np.ndarray]) -> _Grids:
        """Each of them moved; `move` brings zeros in at the edges."""
        flat = None if self.flat is None else move(self.flat - 1) + 1
        return _Grids(move(self.intensity), move(self.measured), flat, None if self.dark is None else move(self.dark))


@dataclass(frozen=True, eq=False)
class _Centred(_Grids):
    """A pattern in FFT order. centre: in the file's pixels."""

    centre: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    asymmetry: float = float("nan")


def _centred(grids: _Grids, requested: Sequence[float] | None, guesses: list[str]) -> _Centred:
    shape = grids.intensity.shape
    middle = tuple(n // 2 for n in shape)
    if requested is not None:
        requested = _checked_centre(requested, shape)
    cornered = not any(requested) if requested is not None else centring.is_cornered(grids.light, grids.measured)
    if cornered:
        grids = grids.each(np.fft.fftshift)
        if requested is None:
            guesses.append("the peak is at a corner: taken as FFT order (zero frequency first); centre= (--centre) says otherwise")
        else:
            requested = tuple(float(c) for c in middle)
    visible, measured = grids.light, grids.measured
    if requested is not None:
        c, asymmetry = requested, centring.asymmetry_about(visible, measured, requested)
    else:
        c, asymmetry = _centre_of(visible, measured, middle, guesses)
    in_file = tuple(x - m for x, m in zip(c, middle)) if cornered else c
    pixel = tuple(int(np.floor(x)) for x in c)
    size = tuple(_fast_size(n, w) for n, w in zip(shape, pixel))
    if size != shape:
        guesses.append(
            f"the array goes from {_times(shape)} to {_times(size)} pixels about its centre {_point(in_file)}, "
            "because even sizes "
            "without large prime factors transform fast and nothing may wrap; pixels beyond the edge are unmeasured"
        )
    grids = grids.each(lambda a: _recentred(a, pixel, size))
    if not grids.intensity.any():
        raise InputError(f"no photons are left around the centre {_point(in_file)}; choose another with centre= (--centre)")
    grids = grids.each(lambda a: np.ascontiguousarray(np.fft.ifftshift(a)))
    offset = tuple(float(x - w) for x, w in zip(c, pixel))
    return _Centred(**vars(grids), centre=tuple(in_file), offset=offset, asymmetry=asymmetry)


def _centre_of(intensity: np.ndarray, measured: np.ndarray, middle: tuple[int, ...], guesses: list[str]) -> tuple[tuple[float, ...], float]:
    """The centre that the pattern shows, with its asymmetry."""
    symmetry = centring.centre_of_symmetry(intensity, measured)
    if symmetry.asymmetry < centring.REAL:
        if symmetry.centre != middle:
            guesses.append(
                f"the pattern is its own mirror image about {_point(symmetry.centre)} (asymmetry "
                f"{max(0, symmetry.asymmetry):.1g}), "
                f"not about the array's centre {_point(middle)}: this is taken as its centre; centre= (--centre) says otherwise"
            )
        return symmetry.centre, symmetry.asymmetry
    bright = centring.bright_centre(intensity, measured)
    if centring.is_near(bright, middle, intensity.shape):
        return tuple(float(x) for x in middle), symmetry.asymmetry
    c = tuple(float(round(x)) for x in bright)
    guesses.append(
        f"the peak is at {_point(c)}, the array's centre is {_point(middle)}: the peak is taken as zero frequency; "
        "centre= (--centre) says otherwise"
    )
    return c, symmetry.asymmetry


def _checked_centre(centre: Sequence[float], shape: tuple[int, ...]) -> tuple[float, ...]:
    try:
        c = tuple(float(x) for x in centre)
    except (TypeError, ValueError) as error:
        raise InputError(f"centre is {centre!r}; expected {len(shape)} pixel coordinates, slowest axis first") from error
    if len(c) != len(shape):
        raise InputError(f"centre has {len(c)} coordinates, the pattern {len(shape)} axes {shape}; give one per axis")
    if not all(0 <= x <= n - 1 for x, n in zip(c, shape)):
        raise InputError(f"centre {_point(c)} is outside the pattern {shape}; expected pixel coordinates that start at 0")
    return tuple(round(2 * x) / 2 for x in c)


def _look_at_sampling(pattern: _Centred, guesses: list[str]) -> None:
    for axis in undersampled_axes(pattern.light, pattern.measured):
        guesses.append(
            f"the object fills more than half of the field of view along axis {axis}: oversampling below 2, no unique answer; "
            "move the detector back or do not bin this axis"
        )


def _fast_size(n: int, c: int) -> int:
    """The new length of an axis of n pixels with its centre at c."""
    if abs(c - n // 2) > max(2, _STAY * n):
        n = max(2 * min(c, n - c), n // 2, 8)
    up = fast_size(n)
    if up == n or up - n <= _GROW * n:
        return up
    down = n - n % 2
    while fast_size(down) != down:
        down -= 2
    return down


def _recentred(a: np.ndarray, centre: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """The array in another size with `centre` at N//2: cropped and padded with zeros, never wrapped."""
    result = np.zeros(size, a.dtype)
    to, start = [], []
    for n, c, m in zip(a.shape, centre, size):
        first = c - m // 2  # the pixel of a that comes to index 0
        low, high = max(0, first), min(n, first + m)
        start.append(slice(low, high))
        to.append(slice(low - first, high - first))
    result[tuple(to)] = a[tuple(start)]
    return result


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _point(c: Sequence[float]) -> str:
    return "(" + ", ".join(f"{x:g}" for x in c) + ")"
