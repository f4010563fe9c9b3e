"""Whether to believe a kernel that was found with its picture, and how alike two kernels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin.judge.trust import Verdict

if TYPE_CHECKING:
    from torch import Tensor

# Camera, chelsea, astronaut and brick x 5 trajectories x noise 0.01 and 0.05 (benchmarks/blind.py --seed 902 and --seed 20270)
GOOD = 0.89  # agreement of kernels from disjoint fits, from which they are good; with 0.84 three of brick with similarities of 0.6 were
UNSURE = 0.6  # agreement below which a kernel is not trusted
LASTING = 0.83  # similarity of an improved kernel to the first, from which it is good
LOST = 0.7  # below which it is not trusted; of fits, that they do not agree
MAX_MISFIT = 1.3  # 0.95 to 1.2 in those runs
WIDE = 0.9  # of the box
BLUNT = (
    0.675  # |∇|₁ / (|∇|₂ √n) of the blurred picture without its noise, above which it has texture and hardly an edge (Laplace: 0.71). At
)
# noise 0.01 (seeds 902 and 20270): camera and astronaut 0.55 to 0.67, one 0.69 that gained 1 dB; chelsea 0.68 to 0.72, -1 to 6 dB
SHORT = 0.065  # in one pixel of the first kernel: hardly longer than a pixel of the fits (all of brick, 0.066 to 0.16; others to 0.061)
POINT = 0.5  # in one pixel of a kernel: no blur


def kernel_similarity(a: Tensor, b: Tensor) -> float:
    """The largest normalised correlation of two kernels over shifts by whole pixels, 0 to 1 (Hu and Yang, ECCV 2012)."""
    return float(_correlation(a, b).max() / (a.double().norm() * b.double().norm()).clamp(min=1e-300))


def shift_between(a: Tensor, b: Tensor) -> tuple[int, int]:
    """By how many pixels kernel a has to be moved to be most similar to b, (rows, columns), counted from the first pixel of each."""
    c = _correlation(a, b)
    at = int(c.argmax())
    return b.shape[0] - 1 - at // c.shape[1], b.shape[1] - 1 - at % c.shape[1]


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """At [b.shape − 1 − shift], for every shift of a at which it meets b."""
    import torch

    size = [m + n - 1 for m, n in zip(a.shape, b.shape)]
    a, b = a.double(), b.double()
    return torch.fft.irfft2(torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b.flip((0, 1)), s=size), s=size)


@dataclass(frozen=True)
class BlurEvidence:
    """fits: mean similarity of independent fits, the one in their midst to the nearest three. agreement: similarity of two kernels, each
    improved from half of those fits. change: similarity of the improved kernel to the first, the mean of the fits. misfit: what is left of
    the picture over its noise (root mean square). reach: the largest extent of the kernel over that of its box. peak: the largest value of
    the first kernel, whose sum is 1. ratio: |∇|₁ / (|∇|₂ √n) of the picture without its noise."""

    fits: float
    agreement: float
    change: float
    misfit: float
    reach: float
    peak: float
    ratio: float


def blur_verdict(e: BlurEvidence) -> Verdict:
    """good (True), cannot say (None) or no (False), with the reason."""
    facts = f"independent kernels agree to {e.agreement:.2f}, what is left of the picture is {e.misfit:.2f} times its noise"
    if e.reach > WIDE:
        return Verdict(False, f"no: the kernel fills its box, as one that was not found does; {facts}: do not trust this")
    if e.peak > POINT:
        return Verdict(False, f"no: the kernel is nearly a point, the picture hardly blurred; {facts}: nothing is to be gained")
    if e.fits < LOST or e.agreement < UNSURE:
        return Verdict(False, f"no: independent kernels do not agree; {facts}: do not trust this")
    if e.change < LOST:
        return Verdict(False, f"no: the kernel does not last when it is improved; {facts}: do not trust this")
    if e.misfit > MAX_MISFIT:
        return Verdict(False, f"no: the picture is not explained; {facts}: do not trust this")
    if e.peak > SHORT:
        return Verdict(None, f"cannot say: the kernel is so short that most of the blur may be left in the picture; {facts}")
    if e.ratio > BLUNT:
        return Verdict(
            None, f"cannot say: the picture has texture and few edges, where independent kernels may agree and be wrong; {facts}"
        )
    if e.agreement < GOOD or e.change < LASTING:
        return Verdict(None, f"cannot say: {facts}: trust what is coarse")
    return Verdict(True, f"good: {facts}")
