"""The engine: what an iteration of a projection algorithm costs, which is two Fourier transforms and two passes over memory.

| form | where |
| engine.iterations: many iterations in one call, as machine code | CPU, single precision, even sizes, extra [fast] |
| engine.blur: the blurred magnitude of a volume and its figures, as machine code | the same, 3D |
| engine.plain: the passes in torch, between transforms of untwin.fourier | everything else, GPUs too; the reference |

Both agree to rounding (tests/test_engine.py). UNTWIN_ENGINE=plain leaves the first aside, and engine.mkl as well.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from untwin.engine.rows import Coefficients, ConstraintFlags, Fienup

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor


__all__ = ["Coefficients", "ConstraintFlags", "Fienup", "PLAIN", "blur_for", "compiled_for"]

PLAIN = os.environ.get("UNTWIN_ENGINE") == "plain"  # the user wants torch alone


@lru_cache
def _compiled() -> ModuleType | None:
    """engine.iterations; None where llvmlite is not there (untwin doctor says so)."""
    try:
        from untwin.engine import iterations
    except ImportError:
        return None
    return iterations


def blur_for(x: Tensor, support: Tensor) -> ModuleType | None:
    """engine.blur where machine code can blur the magnitudes of these starts, else None."""
    import torch

    if PLAIN or not x.is_cpu or x.dtype not in (torch.complex64, torch.float32) or not x.is_contiguous() or x.requires_grad or x.is_conj():
        return None
    if _compiled() is None or not support[0].is_contiguous():
        return None
    from untwin.engine import blur

    return blur if blur.takes(x) else None


def compiled_for(x: Tensor, support: Tensor | None, flags: ConstraintFlags) -> ModuleType | None:
    """engine.iterations where machine code can iterate these starts, else None. support: None where none is used."""
    import torch

    if PLAIN or not x.is_cpu or x.dtype not in (torch.complex64, torch.float32) or not x.is_contiguous() or x.requires_grad or x.is_conj():
        return None
    if (support is not None and not support[0].is_contiguous()) or (flags.positive and x.is_complex()):
        return None
    if flags.largest and not (flags.positive and x.ndim == 3):
        return None
    module = _compiled()
    return module if module and module.takes(x) else None
