"""How a pattern is to be read: the options of `untwin.read`, as they were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.noise import Values

if TYPE_CHECKING:
    import numpy as np

GEOMETRY = ("energy", "wavelength", "distance", "pixel_size")


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """The options of `untwin.read`, which says what they mean."""

    data: str | None = None
    mask: str | Path | np.ndarray | None = None
    centre: Sequence[float] | None = None
    flat: str | Path | np.ndarray | None = None
    dark: str | Path | np.ndarray | None = None
    monitor: str | Path | np.ndarray | None = None
    dead_time: float | str | None = None
    frames: str | int | None = None
    energy: str | float | None = None
    wavelength: str | float | None = None
    distance: str | float | None = None
    pixel_size: str | float | Sequence[str | float] | None = None
    keep_strays: bool = False
    values: Values | None = None
    gain: float | None = None
    offset: float | None = None

    @property
    def is_plain(self) -> bool:
        """Nothing is asked of the pixels: a pattern that untwin has stored is taken as it is."""
        return all(getattr(self, f.name) is None for f in fields(self) if f.name not in (*GEOMETRY, "keep_strays"))

    def recorded(self) -> dict[str, Any]:
        """The options that `Source` has no field of its own for, as a run.toml holds them; arrays are in no run.toml."""
        from untwin.data.units import plain

        own = ("data", "mask", "centre", "flat", "dark")
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        plain_text = {"monitor": str, "frames": str} | dict.fromkeys(GEOMETRY, plain)
        return {
            k: plain_text.get(k, lambda v: v)(v) for k, v in named.items() if v is not None and v is not False and not hasattr(v, "shape")
        }
