"""Make it: objects and detectors, each sample a function of its seed."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "dataset": ("Crystals", "write"),
    "crystals": ("RECIPES", "Copies", "Samples", "Simulation", "crystal", "simulation"),
    "detector": ("Detector", "Peak", "Total"),
    "scan": ("RockingScan",),
    "interference": ("Quasiparticles", "quasiparticles"),
    "settings": ("Between", "OneOf"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        return getattr(importlib.import_module(f"untwin.simulate.{_MODULE[name]}"), name)
    crystals = importlib.import_module("untwin.simulate.crystals")
    if not name.startswith("_") and name in crystals.NAMES:
        return crystals.NAMES[name]  # bodies and parts: whatever a recipe can be made of
    raise AttributeError(f"module 'untwin.simulate' has no attribute {name!r}")


def __dir__() -> list[str]:
    from untwin.simulate.crystals import NAMES

    return sorted({*_MODULE, *NAMES})
