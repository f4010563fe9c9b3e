"""Maps of one field of view, several channels: a grid of Nanonis (.3ds) or an array (.npy)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untwin.data import arrays, nanonis
from untwin.data.nanonis import Spectra
from untwin.data.typed import user_path
from untwin.errors import InputError, readable_errors


def read_maps(path: str | Path, channel: str | None = None, energies: tuple[float, ...] | None = None) -> Spectra:
    """(channels, height, width). channel, energies: of a .3ds file, as `nanonis.read_grid` has them. Raises InputError."""
    file = user_path(path)
    if not file.is_file():
        raise InputError(f"{path} {'is a folder' if file.is_dir() else 'does not exist'}; expected a file, .npy or .3ds")
    with file.open("rb") as opened:
        start = opened.read(6)
    if start == b"\x93NUMPY":
        if channel is not None or energies is not None:
            raise InputError(
                f"{file.name} has no names of channels; leave --channel and --energies out, or pick channels before it is saved"
            )
        with readable_errors(file, "a NumPy file"):
            values = arrays.load(file, "")
        values = values[None] if values.ndim == 2 else values
        count = len(values) if values.ndim == 3 else 0
        known = np.ones(values.shape[1:], bool)
        return Spectra(values, tuple(f"channel {i}" for i in range(count)) if count > 1 else ("data",), known)
    if file.suffix.lower() == ".3ds":
        with readable_errors(file, "a grid of Nanonis"):
            return nanonis.read_grid(file, channel, energies)
    raise InputError(f"{file.name} is neither .npy nor .3ds (it starts with {start!r}); save (channels, height, width) with numpy.save")


def write_maps(path: Path, **stored: np.ndarray) -> None:
    """An .npz of these arrays; complete or not there. Raises InputError where it cannot be written."""
    import io

    from untwin.data.atomic import atomic_write_bytes

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **stored)  # pyright: ignore[reportArgumentType]
    atomic_write_bytes(path, buffer.getvalue())


def write_array(path: Path, values: np.ndarray) -> None:
    """An .npy. Raises InputError where it cannot be written."""
    import io

    from untwin.data.atomic import atomic_write_bytes

    buffer = io.BytesIO()
    np.save(buffer, values)
    atomic_write_bytes(path, buffer.getvalue())
