"""The passes in plain torch: the reference that machine code is held against, and the form for any device and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from untwin.engine.rows import Coefficients, ConstraintFlags

STRIPE = 2**17  # pixels


def _square(x: Tensor) -> Tensor:
    return (x * x.conj()).real if x.is_complex() else x.square()  # twice as fast as squares of both parts


def _stripes(starts: int, n: int, like: Tensor) -> Iterator[slice]:
    """Stretches of the pixels, so short that what is made of them on the way stays in the cache; a GPU takes all at once."""
    size = max(1024, STRIPE // starts) if like.device.type == "cpu" else n
    yield from (slice(j, min(j + size, n)) for j in range(0, n, size))


def modulus(w: Tensor, target: Tensor, rho: float = 0.0, damping: float | Tensor = 1.0, width: int = 0) -> Tensor:
    """Impose the data on w (starts, *grid) complex, in place; returns the error Σ (|w| − target)² over what is imposed, (starts,) float64.

    target: (*grid), the modulus, negative where nothing is imposed. There w is multiplied by damping: a number, or (starts,) numbers.
    rho: 0 sets |w| to the target; above 0 it is the Poisson proximal step (model.problem.Modulus).
    width: above 0, w is the half spectrum of a real array that is so wide (rfftn): what stands for its mirror image counts twice.
    """
    import torch

    starts = w.numel() // target.numel()
    error = w.new_zeros(starts, dtype=torch.float64)
    # Half spectrum: the error of the whole is twice the sum over the columns here, except that the first column and, for an even width,
    # the last are their own mirror images and count once. So half of theirs is subtracted before, and everything is doubled at the end.
    if width:
        for column in (0, -1) if width % 2 == 0 else (0,):
            f, a = _modulus(w[..., column]), target[..., column]
            error -= ((f - a) * (a >= 0)).square().reshape(starts, -1).sum(1, dtype=torch.float64) / 2
    flat, goal = w.view(starts, -1), target.reshape(-1)
    free = (
        damping.reshape(-1, 1).to(target) if isinstance(damping, torch.Tensor) else target.new_full((), damping)
    )  # filled where it is used
    everywhere = w.is_cpu and bool((goal >= 0).all())  # a GPU is not asked: it would have to wait for the answer
    for stripe in _stripes(starts, goal.numel(), w):
        part, a = flat[:, stripe], goal[stripe]
        f = _modulus(part)
        imposed = None if everywhere else (a >= 0).to(a)
        missing = f - a if imposed is None else (f - a).mul_(imposed)
        error += missing.square_().sum(1, dtype=torch.float64)
        if rho == 0:
            factor = a / f
        else:
            m = (f.square().mul_(rho * rho) + 4 * (1 + rho) * a.square()).sqrt_().add_(f, alpha=rho)
            factor = m.div_(f).mul_(1 / (2 * (1 + rho)))
        if imposed is not None:  # faster than where
            factor = torch.lerp(free.expand_as(factor), factor, imposed.expand_as(factor))
        part.mul_(factor)
    return error * 2 if width else error


def _modulus(w: Tensor) -> Tensor:
    return _square(w).add(1e-30).sqrt_()


def total(terms: tuple[tuple[float, Tensor], ...]) -> Tensor:
    """Σ factor · tensor, without the terms whose factor is 0 and without a product by 1."""
    (factor, result), *rest = tuple(t for t in terms if t[0] != 0) or ((0.0, terms[0][1].new_zeros(())),)
    owned = factor != 1
    result = result * factor if owned else result
    for factor, tensor in rest:
        result = result.add_(tensor, alpha=factor) if owned else result.add(tensor, alpha=factor)
        owned = True
    return result


def update(x: Tensor, y: Tensor, support: Tensor, row: Coefficients, flags: ConstraintFlags) -> Tensor:
    """x' of a row of the table, a new tensor. x, y: (starts, *grid), real or complex. support: (starts, *grid) bool."""
    from untwin.engine import memory

    starts, n = x.shape[0], x[0].numel()
    xs, ys, supports = (t.reshape(starts, n) for t in (x, y, support))
    level = _level(xs, ys, supports, row, flags) if flags.capped else None
    if flags.largest:
        z = largest(_inside(xs, ys, supports, row, flags), flags.largest)
        return total(((row.s, z), (row.a, xs), (row.c, ys))).view(x.shape)
    if x.device.type != "cpu":
        return _update(xs, ys, supports, row, flags, level).view(x.shape)
    out = memory.empty(tuple(x.shape), x.dtype)
    for stripe in _stripes(starts, n, x):
        out.view(starts, n)[:, stripe] = _update(xs[:, stripe], ys[:, stripe], supports[:, stripe], row, flags, level)
    return out


def _update(x: Tensor, y: Tensor, support: Tensor, row: Coefficients, flags: ConstraintFlags, level: Tensor | None) -> Tensor:
    if not (flags.positive or flags.capped):  # P is 0 or 1 there: one sum inside the support (y alone, mostly), one outside
        within = total(((round(row.a + row.s * row.u, 12), x), (round(row.c + row.s * row.v, 12), y)))
        return within.where(support, total(((row.a, x), (row.c, y))))
    z = _inside(x, y, support, row, flags)
    z = z if level is None else z * _below(z, level)
    return total(((row.s, z), (row.a, x), (row.c, y)))


def _inside(x: Tensor, y: Tensor, support: Tensor, row: Coefficients, flags: ConstraintFlags) -> Tensor:
    z = total(((row.v, y), (row.u, x)))
    z = z.where(support, z.new_zeros(()))
    return z.clamp(min=0) if flags.positive else z


def _level(x: Tensor, y: Tensor, support: Tensor, row: Coefficients, flags: ConstraintFlags) -> Tensor:
    """(starts, 1) c² of `magnitude_cap`."""
    import torch

    sums = x.new_zeros(2, len(x), dtype=torch.float64)
    for stripe in _stripes(x.shape[0], x.shape[1], x):
        square = _square(_inside(x[:, stripe], y[:, stripe], support[:, stripe], row, flags))
        sums[0] += square.sum(1, dtype=torch.float64)
        sums[1] += square.square_().sum(1, dtype=torch.float64)
    return (sums[1] / sums[0].clamp(min=1e-30)).to(x.real.dtype).unsqueeze(1)


def _below(x: Tensor, level: Tensor) -> Tensor:
    return (level * (1 + 1e-5) / _square(x).clamp(min=1e-30)).clamp(max=1).sqrt_()  # rounding is no excess


def magnitude_cap(inside: Tensor, x: Tensor) -> Tensor:
    """Factors, at most 1, that bring the magnitudes of x (starts, *grid) under c = sqrt(Σ m⁴ / Σ m²) of `inside`, like x."""
    each = _square(inside).flatten(1)
    level = each.square().sum(1) / each.sum(1).clamp(min=1e-30)
    return _below(x, level.reshape((-1,) + (1,) * (x.ndim - 1)))


def largest(x: Tensor, k: int) -> Tensor:
    """x (starts, n), or its k values of the largest magnitude and 0 elsewhere; of equal ones the first."""
    if k >= x.shape[1]:
        return x
    magnitude = x.abs()
    least = magnitude.kthvalue(x.shape[1] - k + 1, dim=1, keepdim=True).values
    above, equal = magnitude > least, magnitude == least
    first = equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True))
    return x.where(above | first, x.new_zeros(()))


def fienup(x: Tensor, y: Tensor, support: Tensor, beta: float) -> Tensor:
    """x' of HIO for real nonnegative objects: y where it satisfies both, x − β y elsewhere; a new tensor. Shapes as for `update`."""
    satisfied = (support & (y >= 0)) | (y == 0)
    return y.where(satisfied, x.add(y, alpha=-beta))
