"""untwin: phase retrieval for coherent diffraction. `read` a pattern, `reconstruct` the object, believe the verdict or not.

The names of the top level and their homes stand in `__init__.pyi`; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import lazy_loader

__version__ = "0.2.0.dev0"

_lazy, _, _attached = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_attached, "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]
# former name -> present one, for one release; recipes and run.toml know them, too (runs.names.FORMER)
FORMER = {
    "Ceiling": "MagnitudeCap",
    "Whole": "ResetSupport",
    "Box": "BoxSupport",
    "Triangle": "TriangleSupport",
    "Random": "RandomStart",
    "Settle": "Rescale",
}
# where names of 0.1 are now that stood at the top then, for one release
_NAMESPACES = ("algorithms", "rules", "priors", "physics", "constraints", "losses", "plans", "metrics", "results", "simulate")
_FUNCTIONS = ("twin", "prtf", "fsc", "kernel_similarity", "estimate_sigma")


def __getattr__(name: str) -> Any:
    if name in __all__ or name.startswith("__"):
        return _lazy(name)
    if not (name[0].isupper() or name in _FUNCTIONS):  # a module, of which Python asks here first
        raise AttributeError(f"module 'untwin' has no attribute {name!r}")
    present = FORMER.get(name, name)
    for space in _NAMESPACES:
        module = importlib.import_module(f"untwin.{space}")
        if present in getattr(module, "__all__", ("Crystals",)):
            warnings.warn(f"untwin.{name} is untwin.{space}.{present} now", DeprecationWarning, stacklevel=2)
            return getattr(module, present)
    raise AttributeError(f"module 'untwin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
