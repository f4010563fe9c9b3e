"""The engine: a Fourier transform and two passes over memory make an iteration; here the fastest form of each is chosen.

| | plain | fast |
| transform | torch.fft | torch's own MKL, asked directly (engine.mkl): Linux wheels, complex64 |
| modulus, update, fienup | torch (engine.plain), also on a GPU | compiled loops (engine.loops): CPU, single precision, extra [fast] |

All forms agree to rounding (tests/test_engine.py). UNTWIN_ENGINE=plain leaves the fast ones aside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor


@dataclass(frozen=True)
class Coefficients:
    """x' = a x + c y + s P(u x + v y), with y = P_M x and P the projection onto the constraint."""

    a: float
    c: float
    s: float
    u: float
    v: float


@dataclass(frozen=True)
class Rule:
    """P inside the support, beside zero outside of it. positive: negative values become zero (real arrays only). capped: no
    magnitude above c = sqrt(Σ m⁴ / Σ m²) of the start."""

    positive: bool = False
    capped: bool = False


PLAIN = os.environ.get("UNTWIN_ENGINE") == "plain"  # the user wants the plain forms


@lru_cache
def _loops() -> ModuleType | None:
    """The compiled loops; None where numba is not there or does not go with this NumPy (untwin doctor says which)."""
    try:
        from untwin.engine import loops
    except ImportError:
        return None
    return loops


def _fast(*tensors: Tensor) -> ModuleType | None:
    """The compiled loops where they can take these tensors."""
    import torch

    loops = None if PLAIN else _loops()
    for t in tensors:
        if not (t.is_cpu and t.dtype in (torch.complex64, torch.float32) and t.is_contiguous()) or t.requires_grad:
            return None
    return loops


@lru_cache(maxsize=64)
def _numbers(*values: float) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32)


def _step(support: Tensor) -> int | None:
    """Pixels from one start's support to the next, 0 where all share one; None where the loops cannot read it."""
    if support.is_contiguous():
        return support[0].numel()
    return 0 if support.stride(0) == 0 and support[0].is_contiguous() else None


def _threads(loops: ModuleType, pixels: int) -> int:
    import torch

    return torch.get_num_threads() if loops.MANY and pixels > 100_000 else 1  # waking a thread costs as much as 100,000 pixels


def modulus(w: Tensor, target: Tensor, rho: float = 0.0, hole: float | Tensor = 1.0, width: int = 0) -> Tensor:
    """Impose the data on w (starts, *grid) complex, in place; returns the error Σ (|w| − target)² over what is imposed, (starts,) float64.

    target: (*grid), the modulus, negative where nothing is imposed. There w is multiplied by hole: a number, or (starts,) numbers.
    rho: 0 sets |w| to the target; above 0 it is the Poisson proximal step (model.problem.Modulus).
    width: above 0, w is the half spectrum of a real array that is so wide (rfftn): what stands for its mirror image counts twice.
    """
    import torch

    loops = _fast(w, target)
    if loops is None:
        from untwin.engine import plain as reference

        return reference.modulus(w, target, rho, hole, width)
    n, starts = target.numel(), w.numel() // target.numel()
    holes = hole.to(torch.float32).contiguous() if isinstance(hole, torch.Tensor) else _numbers(*(starts * (float(hole),)))
    rhos = _numbers(rho)
    k = _threads(loops, w.numel())
    error = torch.empty(k, starts, dtype=torch.float64)
    loops.MODULUS(k, (starts, n, *(t.data_ptr() for t in (w, target, holes, rhos, error)), width))
    return error.sum(0) if k > 1 else error[0]


def update(x: Tensor, y: Tensor, support: Tensor, row: Coefficients, rule: Rule) -> Tensor:
    """x' of a row of the table, a new tensor. x, y: (starts, *grid), real or complex. support: (starts, *grid) bool."""
    import torch

    from untwin.engine import memory
    from untwin.engine import plain as reference

    loops, step = _fast(x, y), _step(support)
    real = not x.is_complex()
    if loops is None or step is None or (rule.positive and not real):
        return reference.update(x, y, support, row, rule)
    starts, n = x.shape[0], x[0].numel()
    k = _threads(loops, x.numel())
    numbers = _numbers(row.a, row.c, row.s, row.u, row.v)
    flags = real + 2 * rule.positive + 4 * rule.capped
    level = numbers  # not read unless capped
    arrays = [t.data_ptr() for t in (x, y, support, numbers)]
    if rule.capped:
        sums = torch.empty(k, starts, 2, dtype=torch.float64)
        loops.MOMENTS(k, (starts, n, *arrays, sums.data_ptr(), flags, step))
        two, four = sums.sum(0).unbind(1)
        level = (four / two.clamp(min=1e-30) * (1 + 1e-5)).float()
    out = memory.empty(x.shape, x.dtype)
    loops.UPDATE(k, (starts, n, *arrays, level.data_ptr(), out.data_ptr(), flags, step))
    return out


def fienup(x: Tensor, y: Tensor, support: Tensor, beta: float) -> Tensor:
    """x' of HIO for real nonnegative objects: y where it satisfies both, x − β y elsewhere; a new tensor. Shapes as for `update`."""
    from untwin.engine import memory
    from untwin.engine import plain as reference

    loops, step = _fast(x, y), _step(support)
    if loops is None or step is None or x.is_complex():
        return reference.fienup(x, y, support, beta)
    out, numbers = memory.empty(x.shape, x.dtype), _numbers(beta)
    block = (x.shape[0], x[0].numel(), *(t.data_ptr() for t in (x, y, support, numbers, out)), step)
    loops.FIENUP(_threads(loops, x.numel()), block)
    return out
