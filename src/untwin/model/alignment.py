"""What the far field cannot tell apart: a shift, the twin (conjugate and inverted), a global phase. Alignment removes all three.

Grids are periodic, in FFT order, on the last d axes; leading axes are a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from untwin import fourier

if TYPE_CHECKING:
    from torch import Tensor


LARGE = 4_000_000  # pixels above which a batch is aligned one by one


def twin(x: Tensor, d: int) -> Tensor:
    """conj x(−r): the object with the same far field."""
    axes = tuple(range(-d, 0))
    return x.flip(axes).roll((1,) * d, axes).conj().resolve_conj()


def shift(x: Tensor, by: Tensor, d: int) -> Tensor:
    """x moved by `by` (batch, d) pixels, fractions allowed, on the periodic grid."""
    return fourier.inverse(fourier.forward(x, d) * _ramps(x.shape[-d:], by, x), d)


def _ramps(grid: tuple[int, ...], by: Tensor, like: Tensor) -> Tensor:
    import torch

    real = torch.float64 if like.dtype in (torch.complex128, torch.float64) else torch.float32
    by = by.to(like.device)
    angle = torch.zeros((len(by),) + (1,) * len(grid), dtype=torch.float64, device=like.device)
    for axis, n in enumerate(grid):
        k = torch.fft.fftfreq(n, dtype=torch.float64, device=like.device)
        column = by[:, axis].double().reshape((-1,) + (1,) * len(grid))
        angle = angle + column * k.reshape([1] + [-1 if a == axis else 1 for a in range(len(grid))])
    return torch.polar(torch.ones((), dtype=real, device=like.device), (-2 * torch.pi * angle).to(real))


@dataclass(frozen=True, eq=False)
class Alignment:
    """x: (batch, *grid) the moved copies. error: (batch,) E to the reference. twin: (batch,) bool, the twin was the nearer one.
    by: (batch, d) shift applied, pixels. factor: (batch,) complex of magnitude 1 applied."""

    x: Tensor
    error: Tensor
    twin: Tensor
    by: Tensor
    factor: Tensor


def carried(mask: Tensor, alignment: Alignment, d: int) -> Tensor:
    """Masks (batch, *grid) bool, each moved as its x was by an alignment: what is more than half inside stays inside."""
    import torch

    m = mask.to(torch.float32)
    m = torch.where(alignment.twin.reshape((-1,) + (1,) * d), twin(m, d), m)
    return shift(m, alignment.by, d).real > 0.5


def align(x: Tensor, reference: Tensor, d: int, subpixel: bool = True) -> Alignment:
    """Move each x (batch, *grid) onto the reference (*grid): shift, twin, global phase, whichever fit best.

    error E = sqrt(1 − |<reference, T x>|² / (|reference|² |x|²)), 0 to 1. The shift maximises the cross-correlation: whole pixels by FFT,
    then halving steps on the correlation's own trigonometric polynomial to 1/512 pixel (Guizar-Sicairos et al., Opt. Lett. 33, 2008,
    for the idea of the second stage).
    """
    import torch

    if len(x) > 1 and x.numel() > LARGE:
        rows = [align(one.unsqueeze(0), reference, d, subpixel) for one in x]
        return Alignment(*(torch.cat([getattr(r, f.name) for r in rows]) for f in fields(Alignment)))
    x = x if x.is_complex() else x.to(x.dtype.to_complex())
    reference = reference if reference.is_complex() else reference.to(reference.dtype.to_complex())
    norm = (_power(x, d) * _power(reference.unsqueeze(0), d)).sqrt().clamp(min=1e-300)
    best = None
    for is_twin in (False, True):
        y = twin(x, d) if is_twin else x
        peak, by = correlation_peak(y, reference, d, subpixel)
        if best is None:
            best = (peak, by, torch.zeros(len(x), dtype=torch.bool, device=x.device), y)
        else:
            better = peak.abs() > best[0].abs() * (1 + 1e-9)
            best = (
                torch.where(better, peak, best[0]),
                torch.where(better[:, None], by, best[1]),
                better,
                torch.where(better.reshape((-1,) + (1,) * d), y, best[3]),
            )
    assert best is not None
    peak, by, is_twin, y = best
    error = (1 - (peak.abs() / norm).square()).clamp(min=0).sqrt().nan_to_num(nan=1.0)
    factor = torch.where(peak.abs() > 0, peak.conj() / peak.abs().clamp(min=1e-300), torch.ones_like(peak))
    if not subpixel:
        aligned = rolled(y, by.round(), d)
    else:
        aligned = shift(y, by, d)
    aligned = aligned * factor.to(aligned.dtype).reshape((-1,) + (1,) * d)
    return Alignment(aligned, error, is_twin, by, factor)


def _power(x: Tensor, d: int) -> Tensor:
    square = x.real.double().square() + x.imag.double().square() if x.is_complex() else x.double().square()
    return square.flatten(-d).sum(-1)


def correlation_peak(y: Tensor, reference: Tensor, d: int, subpixel: bool) -> tuple[Tensor, Tensor]:
    """The largest value of c(s) = Σ_r conj(reference(r)) y(r − s) over shifts s, and that shift: (batch,) complex128, (batch, d)."""
    import torch

    grid = y.shape[-d:]
    cross = fourier.forward(y, d).to(torch.complex128) * fourier.forward(reference, d).to(torch.complex128).conj()
    # c(s) = Σ_k cross(k) exp(−2πi k s / N): a forward transform over s
    c = torch.fft.fftn(cross, dim=tuple(range(-d, 0)))
    flat = c.flatten(1)
    where = flat.abs().argmax(1)
    index = unravelled(where, tuple(grid)).double()
    size = torch.tensor(grid, dtype=torch.float64, device=y.device)
    by = torch.where(index > size / 2, index - size, index)
    peak = flat.gather(1, where[:, None]).squeeze(1)
    if not subpixel:
        return peak, by
    step = 0.5
    offsets = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, device=y.device)
    while step > 1 / 1024:
        values = cross
        for axis in range(d):  # contract the first grid axis each time; the trial shifts come last
            n = grid[axis]
            k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=y.device)
            trial = by[:, axis, None] + step * offsets
            kernel = torch.exp(-2j * torch.pi * k[None, :, None] * trial[:, None, :] / n)
            values = torch.einsum("bk...,bks->b...s", values, kernel)
        flat = values.flatten(1)
        where = flat.abs().argmax(1)
        peak = flat.gather(1, where[:, None]).squeeze(1)
        move = unravelled(where, (3,) * d)
        by = by + step * offsets[move]
        step /= 2
    return peak, by


def unravelled(flat: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(batch, d) indices of flat ones (batch,). torch.unravel_index would import sympy, which takes a second."""
    import torch

    columns = []
    for n in reversed(grid):
        columns.append(flat % n)
        flat = flat // n
    return torch.stack(columns[::-1], 1)


def centring(x: Tensor) -> list[int]:
    """The roll by whole pixels that brings the centre of mass of |x|² to index 0 of a periodic grid, the centre for people. x: (*grid)."""
    import torch

    weight = x.real.double().square() + (x.imag.double().square() if x.is_complex() else 0)
    by = []
    for axis, n in enumerate(x.shape):
        line = weight.sum(dim=tuple(a for a in range(x.ndim) if a != axis))
        angle = 2 * torch.pi * torch.arange(n, dtype=torch.float64, device=x.device) / n
        mean = torch.atan2((line * angle.sin()).sum(), (line * angle.cos()).sum())
        by.append(-int(torch.round(mean * n / (2 * torch.pi))))
    return by


def follow(x: Tensor, reference: Tensor, d: int) -> Tensor:
    """Each x (batch, *grid) on its own reference (like x): moved by whole pixels and turned by a global phase."""
    import torch

    axes = tuple(range(-d, 0))
    c = torch.fft.ifftn(torch.fft.fftn(reference, dim=axes) * torch.fft.fftn(x, dim=axes).conj(), dim=axes)  # Σ ref(r + s) conj x(r)
    flat = c.flatten(1)
    where = flat.abs().argmax(1)
    peak = flat.gather(1, where[:, None])[:, 0]
    x = rolled(x, unravelled(where, tuple(x.shape[-d:])), d)
    return x * _phase(peak).to(x.dtype).reshape((-1,) + (1,) * d) if x.is_complex() else x


def _phase(peak: Tensor) -> Tensor:
    """peak / |peak|, 1 where it is 0."""
    import torch

    return torch.where(peak.abs() > 0, peak / peak.abs().clamp(min=1e-30), torch.ones_like(peak))


def turn(x: Tensor, reference: Tensor) -> Alignment:
    """Each x (batch, *grid) turned by the global phase that brings it nearest to the reference (*grid)."""
    import torch

    x = x if x.is_complex() else x.to(x.dtype.to_complex())
    return _placed(x, reference, _phase((x.conj() * reference).flatten(1).sum(1).to(torch.complex128)))


def compare(x: Tensor, reference: Tensor) -> Alignment:
    """Each x (batch, *grid) as it is, and its error to the reference (*grid)."""
    import torch

    return _placed(x, reference, torch.ones(len(x), dtype=torch.complex128, device=x.device))


def _placed(x: Tensor, reference: Tensor, factor: Tensor) -> Alignment:
    """x times its factor; error sqrt(Σ |factor x c − reference|² / Σ |reference|²) with the best scale c of each."""
    import torch

    d = x.ndim - 1
    y = x * factor.to(x.dtype).reshape((-1,) + (1,) * d) if x.is_complex() else x
    inner = (y.conj() * reference).flatten(1).sum(1).real.double()
    norm = (_power(y, d) * _power(reference.unsqueeze(0), d)).sqrt().clamp(min=1e-300)
    error = (1 - (inner / norm).clamp(-1, 1).square()).clamp(min=0).sqrt().nan_to_num(nan=1.0)
    error = torch.where(inner > 0, error, torch.ones_like(error))
    still = torch.zeros((len(x), d), dtype=torch.float64, device=x.device)
    return Alignment(y, error, torch.zeros(len(x), dtype=torch.bool, device=x.device), still, factor)


def without_phase(x: Tensor) -> Tensor:
    """Each x (batch, *grid) turned so that the phase of Σ |x| x is 0."""
    if not x.is_complex():
        return x
    total = (x * x.abs()).flatten(1).sum(1)
    return x * _phase(total.conj()).reshape((-1,) + (1,) * (x.ndim - 1))


def rolled(x: Tensor, by: Tensor, d: int) -> Tensor:
    """Each x (batch, *grid) moved by its own whole number of pixels, `by` (batch, d), on the periodic grid."""
    import torch

    for axis in range(d):
        n = x.shape[axis - d]
        index = (torch.arange(n, device=x.device) - by[:, axis, None].long()) % n
        index = index.reshape(len(x), *(n if a == axis else 1 for a in range(d)))
        x = torch.take_along_dim(x, index, axis - d)
    return x


def extent(x: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """First and last index, (batch, d) each, of what is above a twentieth of the largest magnitude, of each x (batch, *grid)."""
    import torch

    m = x.abs()
    inside = m > 0.05 * m.flatten(1).amax(1).reshape((-1,) + (1,) * d)
    low, high = [], []
    for axis, n in enumerate(x.shape[-d:]):
        line = inside.any(dim=[a + 1 for a in range(d) if a != axis]) if d > 1 else inside
        k = torch.arange(n, device=x.device)
        low.append(k.where(line, k.new_tensor(n)).amin(1))
        high.append(k.where(line, k.new_tensor(-1)).amax(1))
    return torch.stack(low, 1), torch.stack(high, 1)


def flipped(x: Tensor, d: int) -> Tensor:
    """The twin of each x (batch, *grid), centred, turned about the middle of the grid, so that nothing goes around an edge: `twin` up to a
    shift."""
    return x.flip(tuple(range(-d, 0))).conj()


def _without_wrap(x: Tensor, d: int) -> Tensor:
    """bool (batch, *grid): shifts, FFT order, that carry nothing of x (`extent`) around an edge of the grid, whose middle is index 0."""
    import torch

    shape = x.shape[-d:]
    low, high = extent(fourier.centred(x, d), d)
    allowed = torch.ones((len(x), *shape), dtype=torch.bool, device=x.device)
    for axis, n in enumerate(shape):
        s = torch.arange(n, device=x.device)
        line = (s <= n - 1 - high[:, axis, None]) | (n - s <= low[:, axis, None])
        allowed &= line.reshape(len(x), *(n if a == axis else 1 for a in range(d)))
    return allowed


def nearest(x: Tensor, reference: Tensor, d: int, turn: bool = True, wrap: bool = True) -> Tensor:
    """The symmetric copy of each x (batch, *grid) that is nearest to its own reference (batch, *grid): whole pixels, twin and (turn) a
    global phase, all at once: of the copies T x, those of one norm, the one with the largest Re <reference, T x>.

    c(s) = Σ_r reference(r) conj x(r − s) comes from two transforms, its largest modulus gives the shift and its angle the phase.
    Real x: the twin is the object turned by 180 degrees, and the phase, a sign, is left alone. wrap: False where the grid is a box in a
    larger array, in which a shift is a symmetry only as long as it carries nothing (`extent`) around an edge of the box.
    """
    import torch

    axes = tuple(range(-d, 0))
    turn = turn and x.is_complex()
    wave = torch.fft.fftn(reference, dim=axes)
    candidates = []
    other = fourier.cornered(flipped(fourier.centred(x, d), d), d)
    for y in (x, other):
        c = torch.fft.ifftn(wave * torch.fft.fftn(y, dim=axes).conj(), dim=axes).flatten(1)
        score = c.abs() if turn else c.real
        if not wrap:
            score = score.where(_without_wrap(y, d).flatten(1), -torch.inf)
        score, where = score.max(1)
        candidates.append((y, score, where, c.gather(1, where[:, None])))
    (first, a, peak_first, c), (second, b, peak_second, e) = candidates
    better = b > a * (1 + 1e-6)
    column = better.reshape((-1,) + (1,) * d)
    by = unravelled(torch.where(better, peak_second, peak_first), tuple(x.shape[-d:]))
    shifted = rolled(torch.where(column, second, first), by, d)
    if not turn:
        return shifted
    peak = torch.where(better[:, None], e, c)
    return shifted * (peak / peak.abs().clamp(min=1e-30)).reshape(column.shape).to(x.dtype)


def canonical(x: Tensor, d: int, turn: bool = True) -> tuple[Tensor, Tensor]:
    """One representative of each orbit under shifts by whole pixels, twin and (turn) global phase: (batch, *grid), and how far each x is
    from the cut, (batch,): 0 where the choice between it and its twin hangs on nothing.

    Shift: the centre of mass of |x|², on the circle, goes to the pixel nearest to index 0. Twin: a statistic that shift and phase leave
    alone and that the twin turns round is made positive: the skewness of |x|² along a fixed oblique direction, or, where this is
    below 0.02, an invariant of four waves, Im F(k) F(l) F*(m) F*(k + l − m), summed over small k, l, m. Phase: of Σ |x| x, or, where this
    mean is below a tenth of Σ |x|², of the same sum near the centre, is made 0.
    No choice can be continuous everywhere: objects near a cut jump under noise (docs/learn.md has the share).
    """
    import torch

    x = at_origin(x, d)
    statistic = handedness(x, d)
    x = torch.where((statistic < 0).reshape((-1,) + (1,) * d), twin(x, d), x)
    if turn and x.is_complex():
        m = x.abs()
        mean, power = (m * x).flatten(1).sum(1), m.square().flatten(1).sum(1)
        near = (m * x * _bell(m, d)).flatten(1).sum(1)
        chosen = torch.where(mean.abs() < 0.1 * power, near, mean)
        x = x * (chosen.conj() / chosen.abs().clamp(min=1e-30)).reshape((-1,) + (1,) * d)
    return x, statistic.abs()


def handedness(x: Tensor, d: int) -> Tensor:
    """(batch,) float64: the statistic of `canonical`, positive for one of an object and its twin. x: (batch, *grid), its centre of mass
    near index 0."""

    skew = _skewness(x, d)
    flat = skew.abs() < FLAT
    if bool(flat.any()):
        skew = skew.clone()
        skew[flat] = _four_waves(x[flat], d)
    return skew


FLAT = 0.02  # skewness below which the four-wave invariant decides
_OBLIQUE = (1.0, 0.618, 0.382)


def _distances(n: int, like: Tensor) -> Tensor:
    """Signed distance of each index from index 0 on the circle; the index opposite to it, its own mirror image, counts as 0."""
    import torch

    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=like.device)
    return k.where(k.abs() * 2 != n, k.new_zeros(()))


def standing(x: Tensor) -> Tensor:
    """Vectors (batch, n) times the sign, or the phase, that makes their last entry positive: one of each orbit of Gaussian phase retrieval,
    y = |A x|² (Tayal et al., arXiv 2003.09077)."""
    last = x[:, -1:]
    return x * (last.conj() / last.abs().clamp(min=1e-30))


def at_origin(x: Tensor, d: int) -> Tensor:
    """Each x (batch, *grid) moved so that its centre of mass, on the circle, lies nearest to index 0."""
    import torch

    power = x.abs().double().square()
    by = []
    for axis, n in enumerate(x.shape[-d:]):
        line = power.sum(dim=[a + 1 for a in range(d) if a != axis]) if d > 1 else power
        angle = 2 * torch.pi * torch.arange(n, dtype=torch.float64, device=x.device) / n
        at = torch.atan2((line * angle.sin()).sum(1), (line * angle.cos()).sum(1)) * n / (2 * torch.pi)
        by.append(-torch.round(at))
    return rolled(x, torch.stack(by, 1).long(), d)


def _skewness(x: Tensor, d: int) -> Tensor:
    """Σ |x|² t³ / Σ |x|² |t|³, t along an oblique direction from the centre of mass; x is centred."""
    power = x.abs().double().square()
    t = sum(
        _OBLIQUE[axis] * _distances(n, power).reshape([-1 if a == axis else 1 for a in range(d)]) for axis, n in enumerate(x.shape[-d:])
    )
    total = power.flatten(1).sum(1).clamp(min=1e-300)
    mean = (power * t).flatten(1).sum(1) / total
    cube = (t - mean.reshape((-1,) + (1,) * d)) ** 3
    return (power * cube).flatten(1).sum(1) / (power * cube.abs()).flatten(1).sum(1).clamp(min=1e-300)


def _four_waves(x: Tensor, d: int) -> Tensor:
    """Im Σ F(k) F(l) F*(m) F*(k + l − m) / Σ |...| over small wave vectors k, l, m (for real x, m = 0 makes it the bispectrum)."""
    import itertools

    import torch

    axes = tuple(range(-d, 0))
    wave = torch.fft.fftn(x.to(torch.complex128), dim=axes)
    total, size = 0, 1e-300
    small = list(itertools.product((-1, 0, 1, 2), repeat=d))[:: 3 if d == 2 else 11]
    at = {v: wave[(slice(None), *v)] for v in itertools.product(range(-4, 7), repeat=d) if all(abs(i) < n for i, n in zip(v, x.shape[-d:]))}
    for k, l, m in itertools.product(small, repeat=3):
        end = tuple(a + b - c for a, b, c in zip(k, l, m))
        if k == m or l == m or k > l or not {k, l, m, end} <= at.keys():
            continue
        term = at[k] * at[l] * (at[m] * at[end]).conj()
        total, size = total + term.imag, size + term.abs()
    return total / size if isinstance(total, torch.Tensor) else torch.zeros(len(x), dtype=torch.float64, device=x.device)


def _bell(m: Tensor, d: int) -> Tensor:
    """A Gaussian about index 0, half as wide as the object."""
    square = sum(_distances(n, m).reshape([-1 if a == axis else 1 for a in range(d)]).square() for axis, n in enumerate(m.shape[-d:]))
    power = m.double().square()
    spread = (power * square).flatten(1).sum(1) / power.flatten(1).sum(1).clamp(min=1e-300)
    return (-2 * square / spread.clamp(min=1e-6).reshape((-1,) + (1,) * d)).exp().to(m.dtype)
