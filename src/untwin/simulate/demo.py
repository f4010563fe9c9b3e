"""The crystal of `untwin demo`: strained, behind a beamstop, with the counting noise of a good exposure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untwin.simulate import shapes
from untwin.simulate.detector import measure


def write_demo(folder: Path, seed: int) -> tuple[Path, Path]:
    """Write pattern.npz (intensity, mask) and truth.npz (image) into the folder; returns their paths."""
    rng = np.random.default_rng(seed)
    pattern, truth = measure(shapes.poly((96, 96), rng), 3e6, rng, stop=2.5)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "pattern.npz", folder / "truth.npz"
    counts = np.fft.fftshift(pattern.intensity)
    np.savez_compressed(paths[0], intensity=counts, mask=np.fft.fftshift(~pattern.measured))
    np.savez_compressed(paths[1], image=truth)
    return paths
