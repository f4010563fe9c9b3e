"""untwin: phase retrieval for coherent diffraction. `untwin.read` a pattern, `untwin.reconstruct` the object, believe the verdict or not."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "read": "data.read",
    "Pattern": "data.measurement",
    "Geometry": "data.measurement",
    "InputError": "errors",
    "GuessWarning": "errors",
    "State": "solve.state",
    "Solution": "solve.state",
    "Start": "solve.state",
    "Verdict": "judge.trust",
    "Curve": "judge.resolution",
}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"untwin.{_HOME[name]}"), name)
    raise AttributeError(f"module 'untwin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
