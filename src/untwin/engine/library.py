"""The shared library that torch computes with on a CPU: its MKL and its OpenMP pool can be asked directly where they are visible."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path


@lru_cache
def library(*names: str) -> ctypes.CDLL | None:
    """torch's CPU library where it has all of these C functions (Linux wheels of torch), or None."""
    import torch

    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        handle = ctypes.CDLL(str(path))
    except OSError:
        return None
    return handle if all(hasattr(handle, name) for name in names) else None
