"""The options that say how a pattern is to be read, the same for every command that reads one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from untwin.data.noise import Values
from untwin.data.typed import typed_options


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a pattern is to be read.

    Parameters
    ----------
    data
        Dataset (HDF5) or array (npz, mat) to take, where there are several; FILE::NAME says the same.
    mask
        File or dataset with the bad pixels, nonzero = bad; a PNG will do.
    flat
        File or dataset with what the detector counts where the same light falls on every pixel; 0 or NaN = dead.
    dark
        File or dataset with the counts of a pixel without light, in the time of one frame.
    monitor
        File or dataset with the intensity of the beam in each frame of a stack, in any unit.
    dead_time
        Seconds that a pixel is blind after a count, over the seconds of a frame's exposure, such as 1.2e-7/0.5.
    centre
        Zero frequency in the file's pixels, slowest axis first, such as 90,128,128.5; by default found.
    energy
        Of the photons, such as 8.5keV or 8500 (eV), in place of the file's; with the next three, sizes come in nanometres.
    wavelength
        Instead of the energy, such as 1.54angstrom or 13.5nm.
    distance
        From the object to the detector, such as 2m or 850mm.
    pixel_size
        Of the detector, such as 55um, or 50um,100um: slowest axis first.
    keep_strays
        Mask no hot pixel, and no zeros that look like gaps or a stop. In a reconstruction, mask no light that no object explains
        either. What the file shows to be saturated is masked all the same.
    frames
        What the frames of a stack are: volume, or sum (exposures of one pattern); or which to take: 4, or 3:8. By default found.
    values
        What the numbers are: photons, intensity (not counts), amplitudes (square roots) or logarithm; by default found.
    gain
        Photons are (value - offset) / gain, after amplitudes or a logarithm are undone.
    offset
        What a pixel without light reads.
    """

    data: str | None = None
    mask: str | None = None
    flat: str | None = None
    dark: str | None = None
    monitor: str | None = None
    dead_time: str | None = None
    centre: str | None = None
    energy: str | None = None
    wavelength: str | None = None
    distance: str | None = None
    pixel_size: str | None = None
    keep_strays: bool | None = None
    frames: str | None = None
    values: Values | None = None
    gain: float | None = None
    offset: float | None = None

    def settings(self, file: Path | None) -> dict[str, Any]:
        """The settings of a Run; None where nothing was said."""
        return {"file": file, **vars(self), "centre": self.centre and self.centre.split(",")}

    def text(self) -> str:
        """The same options again, as they are typed."""
        return typed_options(vars(self))
