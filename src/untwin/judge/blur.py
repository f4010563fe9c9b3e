"""Whether to believe a kernel that was found with its picture, and how alike two kernels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin.judge.trust import Verdict

if TYPE_CHECKING:
    from torch import Tensor

# Five pictures (camera and astronaut; seeds 777 and 20263 of benchmarks/blind.py, paths 0 and 1). Noise 0.01: agreement 0.87 to 0.93 of
# kernels with similarities of 0.88 to 0.92, gains of 5.3 to 7.3 dB. Noise 0.05: 0.86 to 0.9 of two with 0.7, gains of 1.5 and 3 dB.
GOOD = 0.86  # agreement, from which a kernel is good
MAX_NOISE = 0.03  # above which none is called good: agreement does not tell there
UNSURE = 0.5  # agreement below which a kernel is not trusted (one with 0.63 gained 0.7 dB)
MAX_MISFIT = 1.3  # 0.95 to 1.1 in all of them; one kernel larger than its box left 90 times the noise
WIDE = 0.9  # of the box; of kernels that were right 0.3, of one that was not 1.1

POINT = 0.5  # in one pixel of the kernel: there is hardly a blur (a path of 13 pixels has 0.1), and taking it out costs what is fine


def kernel_similarity(a: Tensor, b: Tensor) -> float:
    """The largest normalised correlation of two kernels over shifts by whole pixels, 0 to 1 (Hu and Yang, ECCV 2012)."""
    import torch

    size = [m + n - 1 for m, n in zip(a.shape, b.shape)]
    a, b = a.double(), b.double()
    c = torch.fft.irfft2(torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b.flip((0, 1)), s=size), s=size)
    return float(c.max() / (a.norm() * b.norm()).clamp(min=1e-300))


@dataclass(frozen=True)
class BlurEvidence:
    """agreement: similarity of two independent kernels, of all pairs the greatest. misfit: what is left of the picture over its noise (root
    mean square). reach: the largest extent of the kernel over that of its box. noise: its deviation, black to white being 1. peak: the
    largest value of the kernel, whose sum is 1."""

    agreement: float
    misfit: float
    reach: float
    noise: float
    peak: float = 0.0


def blur_verdict(e: BlurEvidence) -> Verdict:
    """good (True), cannot say (None) or no (False), with the reason."""
    facts = f"two independent kernels agree to {e.agreement:.2f}, what is left of the picture is {e.misfit:.2f} times its noise"
    if e.reach > WIDE:
        return Verdict(False, f"no: the kernel fills its box, as one that was not found does; {facts}: do not trust this")
    if e.agreement < UNSURE:
        return Verdict(False, f"no: independent kernels do not agree; {facts}: do not trust this")
    if e.misfit > MAX_MISFIT:
        return Verdict(False, f"no: the picture is not explained; {facts}: do not trust this")
    if e.peak > POINT:
        return Verdict(False, f"no: the kernel is nearly a point, the picture hardly blurred; {facts}: nothing is to be gained")
    if e.agreement < GOOD:
        return Verdict(None, f"cannot say: {facts}: trust what is coarse")
    if e.noise > MAX_NOISE:
        return Verdict(None, f"cannot say: {facts}, but with noise of {e.noise:.2g} two kernels may agree and be too short")
    return Verdict(True, f"good: {facts}")
