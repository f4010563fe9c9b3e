"""Whether to believe a kernel that was found with its picture, and how alike two kernels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin.judge.trust import Verdict

if TYPE_CHECKING:
    from torch import Tensor

# Twelve pictures (benchmarks/blind.py, seed 20261, path 0, and six on which the search was tuned). Noise 0.01: agreement 0.945 to 0.954 of
# those that gained 5 to 9 dB, 0.926 and 0.933 of two that gained -0.3 and 1.4. Noise 0.05: 0.95 and 0.97 of two kernels that were short.
GOOD = 0.94  # agreement, from which a kernel is good
MAX_NOISE = 0.03  # above which none is called good: agreement does not tell there
UNSURE = 0.5  # agreement below which a kernel is not trusted (a picture with 0.59 gained 4 dB)
MAX_MISFIT = 1.3  # 1.00 to 1.17 in all of them (what fails by it was not met)
WIDE = 0.9  # of the box (not met, either)


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
    mean square). reach: the largest extent of the kernel over that of its box. noise: its deviation, black to white being 1."""

    agreement: float
    misfit: float
    reach: float
    noise: float


def blur_verdict(e: BlurEvidence) -> Verdict:
    """good (True), cannot say (None) or no (False), with the reason."""
    facts = f"two independent kernels agree to {e.agreement:.2f}, what is left of the picture is {e.misfit:.2f} times its noise"
    if e.reach > WIDE:
        return Verdict(False, f"no: the kernel fills its box, as one that was not found does; {facts}: do not trust this")
    if e.agreement < UNSURE:
        return Verdict(False, f"no: independent kernels do not agree; {facts}: do not trust this")
    if e.misfit > MAX_MISFIT:
        return Verdict(False, f"no: the picture is not explained; {facts}: do not trust this")
    if e.agreement < GOOD:
        return Verdict(None, f"cannot say: {facts}: trust what is coarse")
    if e.noise > MAX_NOISE:
        return Verdict(None, f"cannot say: {facts}, but with noise of {e.noise:.2g} two kernels may agree and be too short")
    return Verdict(True, f"good: {facts}")
