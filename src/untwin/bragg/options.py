"""How a scan is to be prepared: the options of `prepare`, as they were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from untwin.bragg.crop import LARGEST
from untwin.data.noise import Values
from untwin.data.stored import Named


@dataclass(frozen=True, eq=False, kw_only=True)
class Preparation:
    """`prepare` says what they mean."""

    crop: Sequence[int] | None = None
    centre: Sequence[float] | None = None
    mask: Named = None
    flat: Named | bool = True
    dark: Named | bool = True
    monitor: Named | bool = True
    window: Sequence[int] | None = None
    binning: Sequence[int] | None = None
    largest: int = LARGEST
    keep_strays: bool = False
    dead_time: float | str | None = None
    values: Values | None = None
    gain: float | None = None
    offset: float | None = None
