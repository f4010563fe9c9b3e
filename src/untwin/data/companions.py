"""What lies beside a pattern: the mask, the flat field and the dark that the user names, or else the file's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from untwin.data import formats, text
from untwin.data.belongings import is_bad, without_nan
from untwin.data.measurement import numbers
from untwin.data.nexus import CXI_DETECTOR
from untwin.data.shades import cut_at_half, sentence_of_shades
from untwin.data.stored import Named, Stored, location
from untwin.errors import InputError


def bad_pixels(stored: Stored, mask: Named, guesses: list[str]) -> np.ndarray | None:
    """True where bad, by the user's mask or else by the file's own; None where neither is there."""
    if mask is None:
        return stored.mask
    coded = stored.mask if stored.mask_name is None else None  # no mask that lies beside the values, but codes among them
    if stored.mask is not None and coded is None:
        guesses.append(f"the file's own mask is not used, because {mask if isinstance(mask, str | Path) else 'another'} was given")
    detector = "/entry/instrument/detector"
    prefer = ("mask", f"{CXI_DETECTOR}/mask", "pixel_mask", f"{detector}/detectorSpecific/pixel_mask", f"{detector}/pixel_mask")
    kind, name, values = _companion(stored, mask, "mask", prefer)
    if values.dtype.kind not in "biuf":
        raise InputError(f"the mask {name} is of {values.dtype}; expected 0 for good pixels and 1 for bad ones")
    values = without_nan(values, name, guesses)
    if kind == "jpeg":
        bad, sentence = cut_at_half(values, f"the mask {name}")
        guesses.append(sentence)
    else:
        if sentence := sentence_of_shades(values, f"the mask {name}"):
            guesses.append(sentence)
        bad = is_bad(values, name) if kind == "hdf5" else values != 0
    if coded is not None and bad.shape in (coded.shape, coded.shape[1:]):
        return bad | coded
    return bad


def flat_and_dark(stored: Stored, named: Sequence[Named], guesses: list[str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """As the user names them, or else as the file has them."""
    pair = []
    preferred = {"flat": ("flat", "whitefield", "sensitivity"), "dark": ("dark",)}
    for (purpose, prefer), value, own in zip(preferred.items(), named, (stored.flat, stored.dark)):
        if value is not None and own is not None:
            guesses.append(f"the file's own {purpose} is not used, because another was given")
        pair.append(own if value is None else _companion(stored, value, purpose, prefer)[2])
    return pair[0], pair[1]


def frames_of(stored: Stored, monitor: Named) -> np.ndarray:
    """The monitor as the user names it: the array of that name, however many axes it has, or a text of one number in each line."""
    if isinstance(monitor, str | Path) and (values := text.column(Path(monitor))) is not None:
        return values
    return _companion(stored, monitor, "monitor", ("monitor", "ic0", "i0"))[2]


def in_shape(values: np.ndarray, bad: np.ndarray | None, what: str, guesses: list[str]) -> np.ndarray:
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


def _companion(stored: Stored, named: Named, purpose: str, prefer: Sequence[str]) -> tuple[str, str, np.ndarray]:
    """(format, name, array) of what lies beside the pattern: a file, FILE::NAME, a dataset of the pattern's own file, or an array."""
    if not isinstance(named, str | Path):
        return "memory", "array", numbers(purpose, named)
    path, name = location(named, stored.file, stored.format)
    kind = formats.kind(path)
    if path == stored.file and name is not None and not formats.holds(path, stored.format, name):
        raise InputError(f"the {purpose} {named} is neither a file nor an array in {path.name}; check its path")
    name, values = formats.array(path, kind, name, prefer, purpose, f"{purpose}={path.name}::NAME instead of data")
    return kind, name or path.name, values
