"""How well an object explains its pattern. Everything per start, over measured pixels, from the calculated intensity f."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from untwin.model.losses import Amplitude, Intensity, Poisson

if TYPE_CHECKING:
    from torch import Tensor

SHELLS = 16  # up to half a cycle per pixel
HIDDEN_BY_ZERO = 0.05  # of the least number above 0, by each 0 (benchmarks/levels.py)


def r_factor(f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
    """sqrt( Σ (√f − √I)² / Σ I ): relative amplitude residual, (starts,)."""
    return (Amplitude()(f, intensity, measured) / _photons(intensity, measured)).sqrt()


def chi_square_amplitude(f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
    """4 Σ (√f − √I)² / pixels: near 1 where only counting noise is left and counts are many."""
    return 4 * Amplitude()(f, intensity, measured) / measured.sum()


def chi_square_intensity(f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
    """Σ (f − I)² / max(I, 1) / pixels."""
    return Intensity()(f, intensity, measured) / measured.sum()


def half_deviance(f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
    """Poisson log-likelihood of the counts themselves minus that of f, (starts,): 0 is perfect, larger is worse."""
    return Poisson()(f, intensity, measured)


def log_likelihood(f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
    """Half deviance per measured pixel, (starts,): about 0.5 where only counting noise is left and counts are many."""
    return half_deviance(f, intensity, measured) / measured.sum()


def expected_half_deviance(f: Tensor, measured: Tensor) -> Tensor:
    """What `half_deviance` would be, in the mean, if f were the true intensity, (starts,): ½ per pixel with many photons, less in the dark.

    Exact sums over the Poisson distribution on a grid of means up to 30, ½ + 1/(12 f) above.
    """
    import torch

    means = torch.logspace(-5, 1.4772, 400, dtype=torch.float64)
    k = torch.arange(0, 120, dtype=torch.float64)
    weight = torch.exp(k * means[:, None].log() - means[:, None] - torch.lgamma(k + 1))
    table = (weight * (means[:, None] - k + torch.xlogy(k, k) - k * means[:, None].log())).sum(1).to(f.device)
    f = f.double().clamp(min=1e-5)
    position = ((f.log10() + 5) / (1.4772 + 5) * 399).clamp(0, 398.999)
    low = position.long()
    inside = table[low] + (table[low + 1] - table[low]) * (position - low)
    each = torch.where(f > 30, 0.5 + 1 / (12 * f), inside)
    return each.where(measured, each.new_zeros(())).flatten(1).sum(1)


def misfits(f: Tensor, intensity: Tensor, measured: Tensor) -> tuple[float, float, float]:
    """Half deviance over what is expected if f were true: of all measured pixels; of the worst of SHELLS shells of spatial frequency; and
    the middle of that shell, cycles per pixel. f: (*grid), FFT order. Shells of less than a fiftieth of the pixels do not count."""
    import torch

    square = torch.zeros((), device=f.device)
    for axis, n in enumerate(f.shape):
        square = square + torch.fft.fftfreq(n, device=f.device).reshape([-1 if a == axis else 1 for a in range(f.ndim)]) ** 2
    shell = (square.sqrt() * SHELLS / 0.5).long()

    def ratio(where: Tensor) -> float:
        return float(half_deviance(f[None], intensity, where) / expected_half_deviance(f[None], where).clamp(min=1e-30))

    rings = [(measured & (shell == k), (k + 0.5) * 0.5 / SHELLS) for k in range(int(shell.max()) + 1)]
    worst = max(((ratio(ring), at) for ring, at in rings if int(ring.sum()) >= int(measured.sum()) / 50), default=(float("nan"), 0.0))
    return ratio(measured), *worst


def unknowns(x: Tensor, support: Tensor) -> Tensor:
    """Real numbers that an object was free to choose, (starts,) float64: two per pixel of its support; where it is real, one per pixel
    that positivity does not hold at zero; and one less for every pixel that shares the largest magnitude with others (to 1e-4), as under
    a ceiling. A constraint that is active leaves nothing to fit (as in the lasso: Zou, Hastie and Tibshirani, Ann. Statist. 35, 2007).
    """
    import torch

    m = x.real.square() + x.imag.square() if x.is_complex() else x.square()
    m = m.where(support, m.new_zeros(())).flatten(1)
    tied = (m >= (1 - 2e-4) * m.amax(1, keepdim=True)) & (m > 0)
    free = 2 * support if x.is_complex() else support & (x != 0)
    return free.flatten(1).sum(1).to(torch.float64) - (tied.sum(1) - 1).clamp(min=0)


def scores(deviance: Tensor, unknowns: Tensor, measured: int, counts: bool = True) -> Tensor:
    """Penalised half deviance of candidates for one pattern: half deviance / c + unknowns (Akaike's count), lower is better.

    c, at least 1, is the dispersion of the best candidate, so that a pattern with more than counting noise in it (every measured one)
    does not buy unknowns to fit that excess. Of numbers that are no counts it may be less: 8 bits, or a pattern divided by its maximum,
    would else have so little deviance that the fewest unknowns are the best (a crystal as 8 bits: correlation 0.84, and trusted).
    """
    dispersion = (2 * deviance.min() / measured).clamp(min=1 if counts else 1e-30)
    return deviance / dispersion + unknowns


def rounding_error(intensity: Tensor, measured: Tensor) -> float:
    """E that is left where faint numbers were rounded to nothing, as in a file of 8 bits: about sqrt(zeros * least / 20 / sum).

    zeros: measured pixels that are 0; least: the least number above 0. A 0 hides less than half of it, and the support gives back a part.
    """
    values = intensity[measured]
    positive = values[values > 0]
    if not len(positive):
        return 0.0
    return math.sqrt(float((values <= 0).sum()) * HIDDEN_BY_ZERO * float(positive.min()) / float(positive.double().sum()))


def _photons(intensity: Tensor, measured: Tensor) -> Tensor:
    import torch

    return intensity.where(measured, intensity.new_zeros(())).sum(dtype=torch.float64)
