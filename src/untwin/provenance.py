"""What computes here: versions, commit, device, threads. Every result holds it, and a run goes on only where it is the same."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import untwin


def made_with(device: str = "cpu") -> dict[str, str | int]:
    """Plain values by name. commit: of untwin, empty where it does not run from a clone."""
    import numpy as np
    import scipy
    import torch

    name = torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else platform.machine()
    return {
        "untwin": untwin.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "torch": str(torch.__version__),
        "device": f"{device.partition(':')[0]} ({name})",
        "threads": torch.get_num_threads(),
        "engine": engine(device),
    }


def engine(device: str = "cpu") -> str:
    """Which form of iterations and transforms is in use: they agree to rounding, and not to the last bit."""
    from untwin import engine
    from untwin.engine import mkl

    if device.startswith("cuda"):
        import torch

        return f"torch, CUDA {torch.version.cuda}"
    if not engine.PLAIN and engine._compiled():
        return "machine code"
    return "torch, MKL in place" if mkl.usable() and not engine.PLAIN else "torch"


@lru_cache
def commit() -> str:
    """The commit that is checked out where the package lies, read from .git; changes to it are not seen."""
    root = Path(untwin.__file__).parents[2]
    try:
        head = (root / ".git" / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        loose = root / ".git" / reference
        if loose.exists():
            return loose.read_text(encoding="ascii").strip()
        packed = (root / ".git" / "packed-refs").read_text(encoding="ascii").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), "")
    except (OSError, ValueError):
        return ""
