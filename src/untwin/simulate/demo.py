"""The crystal of `untwin demo`: strained, behind a beamstop, with the counting noise of a good exposure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from untwin.data.atomic import atomic_write_bytes
from untwin.simulate import shapes
from untwin.simulate.detector import measure


def write_demo(folder: Path, seed: int) -> tuple[Path, Path]:
    """Write pattern.npz (intensity, mask) and truth.npz (image) into the folder; returns their paths."""
    rng = np.random.default_rng(seed)
    pattern, truth = measure(shapes.poly((96, 96), rng), 3e6, rng, stop=2.5)
    paths = folder / "pattern.npz", folder / "truth.npz"
    counts = np.fft.fftshift(pattern.intensity)
    contents: list[dict[str, Any]] = [{"intensity": counts, "mask": np.fft.fftshift(~pattern.measured)}, {"image": truth}]
    for path, arrays in zip(paths, contents):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        atomic_write_bytes(path, buffer.getvalue())
    return paths
