"""A scan about a Bragg peak as a beamline wrote it: frames, and where each of them was taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.bragg.instrument import Instrument

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of a scan, loaded one after the other when they are asked for: a stack of them need never be in memory.

    shape: (frames, rows, columns). dtype: of the file's numbers. load: frame number -> (rows, columns), as the file has it.
    bad: bool (rows, columns), True for pixels that the files themselves mark as bad, or None.
    names: of the file, or file::dataset, that each frame comes from. absent: (frames,) bool, True for a point of the scan whose frame is
    not there, between others that are: load gives zeros for it, which nobody has measured; or None. saturation: counts from which a pixel
    of one frame is not to be trusted, by the file or by the kind of detector, or None.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    load: Callable[[int], np.ndarray]
    bad: np.ndarray | None = None
    names: tuple[str, ...] = ()
    absent: np.ndarray | None = None
    saturation: float | None = None


@dataclass(frozen=True, eq=False)
class Scan:
    """What a beamline's files say. Arrays over the frames are in their order.

    frames: they. instrument: where each was taken. window: (first row, rows, first column, columns) of the detector that the frames show,
    or None. dark, flat: (rows, columns) of the frames or of the whole detector, or None. monitor: (frames,), the intensity of the beam, in
    any unit, or None. exposure: s, or None. detector: its name, or nothing. label: sample and number of the scan, for titles and names of
    files. files: where all this comes from. notes: every guess and doubt, as
    sentences.
    """

    frames: Frames
    instrument: Instrument
    window: tuple[int, int, int, int] | None = None
    dark: np.ndarray | None = None
    flat: np.ndarray | None = None
    monitor: np.ndarray | None = None
    exposure: float | None = None
    detector: str = ""
    label: str = ""
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def prepare(self, **options: Any) -> Pattern:
        """The diffraction pattern about its Bragg peak. options: see `untwin.bragg.prepare`. Raises InputError."""
        from untwin.bragg.prepare import prepare

        return prepare([self], **options)
