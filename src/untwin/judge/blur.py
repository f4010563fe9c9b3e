"""Whether to believe a kernel that was found with its picture, and how alike two kernels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin.judge.trust import Verdict

if TYPE_CHECKING:
    from torch import Tensor

GOOD = 0.8
UNSURE = 0.5
MAX_MISFIT = 1.3
WIDE = 0.9


def kernel_similarity(a: Tensor, b: Tensor) -> float:
    """The largest normalised correlation of two kernels over shifts by whole pixels, 0 to 1 (Hu and Yang, ECCV 2012)."""
    import torch

    size = [m + n - 1 for m, n in zip(a.shape, b.shape)]
    a, b = a.double(), b.double()
    c = torch.fft.irfft2(torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b.flip((0, 1)), s=size), s=size)
    return float(c.max() / (a.norm() * b.norm()).clamp(min=1e-300))


@dataclass(frozen=True)
class BlurEvidence:
    """agreement: similarity of the kernels of independent searches, the least. misfit: what is left of the picture over its noise (root
    mean square). reach: the largest extent of the kernel over that of its box. point: share of the sum that its greatest value holds."""

    agreement: float
    misfit: float
    reach: float
    point: float


def blur_verdict(e: BlurEvidence) -> Verdict:
    """good (True), cannot say (None) or no (False), with the reason."""
    facts = f"two searches agree on the kernel to {e.agreement:.2f}, what is left of the picture is {e.misfit:.2f} times its noise"
    if e.reach > WIDE:
        return Verdict(False, f"no: the kernel fills its box, as one that was not found does; {facts}: do not trust this")
    if e.agreement < UNSURE:
        return Verdict(False, f"no: the searches do not agree; {facts}: do not trust this")
    if e.misfit > MAX_MISFIT:
        return Verdict(False, f"no: the picture is not explained; {facts}: do not trust this")
    if e.agreement < GOOD:
        return Verdict(None, f"cannot say: {facts}: trust what is coarse")
    return Verdict(True, f"good: {facts}")
