"""Two objects side by side after alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from untwin.errors import InputError
from untwin.judge.resolution import Curve, fsc
from untwin.notebook import InNotebooks

# A ramp is taken out where E falls by this much, about what a ramp of 0.02 pixels does to two equal objects, and E² by this share.
# Pairs of real nonnegative objects: E falls by 0 in 24 of 24; two runs that differ by E = 0.05: by less than 0.001.
FALL, SHARE = 0.01, 0.2


@dataclass(frozen=True, eq=False)
class Comparison(InNotebooks):
    """aligned: the first object on the second, rescaled to its power, centred. error: E. correlation: sqrt(1 − E²).
    twin: the twin was nearer. phase_rms: difference of phase, rad, weighted by the product of the magnitudes. fsc: between the two.
    ramp: detector pixels along each axis, the phase ramp that was taken out of the first: so far does the far field of the second lie from
    that of the first; 0 where none matters. error_with_ramp: E without taking it out."""

    aligned: np.ndarray
    error: float
    correlation: float
    twin: bool
    phase_rms: float
    fsc: Curve
    ramp: tuple[float, ...]
    error_with_ramp: float

    def __repr__(self) -> str:
        twin = ", of the twin" if self.twin else ""
        return f"Comparison({' x '.join(map(str, self.aligned.shape))}, error {self.error:.3g}, phase {self.phase_rms:.3g} rad rms{twin})"


def compare(a: Any, b: Any) -> Comparison:
    """Align a onto b over shift, twin, global phase and, where it matters, a phase ramp, all by fractions of a pixel: in a Bragg
    measurement a ramp says no more than where the zero frequency was taken to be.

    a, b: (*grid) real or complex arrays of one shape, centred at N // 2, as `Reconstruction.image` is. Raises InputError.
    """
    import torch

    from untwin import fourier
    from untwin.model.ramp import superpose

    a, b = _object("first", a), _object("second", b)
    if a.shape != b.shape:
        raise InputError(f"the first object has shape {a.shape}, the second {b.shape}; expected the same")
    d = b.ndim
    x, y = (fourier.cornered(torch.from_numpy(v), d) for v in (a, b))
    best = still = superpose(x, y, ramp=False)
    if still.error > FALL:
        free = superpose(x, y, ramp=True)
        best = free if still.error - free.error > FALL and free.error**2 < (1 - SHARE) * still.error**2 else still
    aligned = best.x * (y.abs().square().sum() / best.x.abs().square().sum()).sqrt()
    aligned = aligned * torch.exp(1j * torch.angle(torch.vdot(aligned.flatten(), y.flatten())))
    weight = aligned.abs() * y.abs()
    phase = float(((weight * torch.angle(aligned * y.conj()).square()).sum() / weight.sum()).sqrt())
    return Comparison(
        aligned=fourier.centred(aligned, d).to(torch.complex64).numpy(),
        error=best.error,
        correlation=float(np.sqrt(max(0.0, 1 - best.error**2))),
        twin=best.twin,
        phase_rms=phase,
        fsc=fsc(fourier.forward(aligned, d), fourier.forward(y, d)),
        ramp=(0.0,) * d if best is still else tuple(best.ramp.tolist()),
        error_with_ramp=still.error,
    )


def _object(name: str, value: Any) -> np.ndarray:
    """complex128."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiubc" or not array.size or not array.ndim:
        raise InputError(f"the {name} object is of {array.dtype} and shape {array.shape}; expected an array of complex numbers")
    if bad := int((~np.isfinite(array)).sum()):
        raise InputError(f"the {name} object is NaN or infinite in {bad:,} of {array.size:,} pixels; expected numbers: set these to 0")
    if not array.any():
        raise InputError(f"the {name} object is zero everywhere; nothing can be compared")
    return array.astype(np.complex128)
