"""Two objects from files, side by side after alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.errors import InputError
from untwin.judge.resolution import Curve, fsc
from untwin.model.alignment import align


@dataclass(frozen=True, eq=False)
class Comparison:
    """aligned: the first object on the second, rescaled to its power, centred. error: E. correlation: sqrt(1 − E²).
    twin: the twin was nearer. phase_rms: difference of phase, rad, weighted by the product of the magnitudes. fsc: between the two."""

    aligned: np.ndarray
    error: float
    correlation: float
    twin: bool
    phase_rms: float
    fsc: Curve


def compared(a: np.ndarray, b: np.ndarray) -> Comparison:
    """Align a onto b; both (*grid) complex, centred, of one shape."""
    import torch

    from untwin import fourier

    if not np.any(a) or not np.any(b):
        raise InputError("one of the two objects is zero everywhere; nothing can be compared")
    d = b.ndim
    x, y = (fourier.cornered(torch.from_numpy(np.asarray(v, dtype=np.complex64)), d) for v in (a, b))
    alignment = align(x[None], y, d)
    aligned = alignment.x[0] * (y.abs().square().sum() / alignment.x[0].abs().square().sum()).sqrt()
    weight = (aligned.abs() * y.abs()).double()
    difference = torch.angle(aligned * y.conj()).double()
    phase = float(((weight * difference.square()).sum() / weight.sum()).sqrt())
    error = float(alignment.error[0])
    return Comparison(
        aligned=fourier.centred(aligned, d).numpy(),
        error=error,
        correlation=float(np.sqrt(1 - error**2)),
        twin=bool(alignment.twin[0]),
        phase_rms=phase,
        fsc=fsc(fourier.forward(aligned, d), fourier.forward(y, d)),
    )
