"""Behind masks: does the twin of the wave explain the data as well as the object?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from untwin.judge.metrics import r_factor
from untwin.judge.trust import SAME_ERROR
from untwin.model.symmetric import Inversion

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

AS_WELL, ROUNDED = 1.05, 1e-4  # times the R-factor of the object, and added to it: up to there the twin explains the data as well


def twin_numbers(problem: Problem, x: Tensor, support: Tensor) -> dict[str, float]:
    """twin_error: E between an object behind masks and that whose waves there are its twins, nothing where this is the same object or does
    not explain the data: one that is not 0 outside of the support, say, or not real. x: (*grid), support: (*grid) bool."""
    import torch

    optics, t = problem.pattern.optics, problem.counts
    if optics is None or optics.masks is None:
        return {}
    masks = torch.from_numpy(optics.masks).to(x.device, torch.complex128)
    x = problem.project_object(x[None], support[None])[0]
    limit = AS_WELL * float(r_factor(problem.predict(x[None]), t.intensity, t.measured)) + ROUNDED
    largest = 0.0
    for inversion in _inversions(x, masks, support, problem.pixels[1:]):
        twin = _twin(x.to(torch.complex128), masks, inversion, problem.pixels[1:])
        twin = (twin.real if problem.real else twin).to(x.dtype)
        twin = problem.project_object(twin[None], support[None])
        if float(r_factor(problem.predict(twin), t.intensity, t.measured)) <= limit:
            largest = max(largest, float(problem.symmetry.align(twin, x).error[0]))
    return {"twin_error": largest} if largest >= SAME_ERROR else {}


def _inversions(x: Tensor, masks: Tensor, support: Tensor, detector: tuple[int, ...]) -> list[Inversion]:
    """Where twins lie: as much of the object's light as can be is in the support and behind the masks, or the masks, each times the
    conjugate of the first one, are most like their own twins."""
    import torch

    axes = tuple(range(-x.ndim, 0))

    def spectrum(a: Tensor) -> Tensor:
        return torch.fft.fftn(a, detector, axes)

    lit = (support & (masks != 0).any(0)).to(torch.complex128)
    ratios = spectrum(lit * masks * masks[:1].conj())
    overlaps = (spectrum((lit * x).abs().square()) * spectrum(lit), ratios.square())
    most = [torch.fft.ifftn(a, dim=axes).abs().reshape(-1, *detector).sum(0).argmax() for a in overlaps]
    return [Inversion(tuple(int(i) for i in torch.unravel_index(at, detector)), torch.ones(())) for at in most]


def _twin(x: Tensor, masks: Tensor, inversion: Inversion, detector: tuple[int, ...]) -> Tensor:
    """(*grid): the object whose waves behind the masks are nearest to the twins of those of x, each of which may have a phase factor of its
    own; itself as real as can be, and rather above 0. Masks that let more light through come first."""
    import torch

    pad = [v for n, m in zip(reversed(detector), reversed(x.shape)) for v in (0, n - m)]
    waves = inversion.inverted(torch.nn.functional.pad((masks * x).conj(), pad))[(..., *(slice(0, n) for n in x.shape))]
    twin, power = torch.zeros_like(x), torch.zeros_like(x.real)
    for k in waves.abs().square().flatten(1).sum(1).argsort(descending=True, stable=True).tolist():
        inner = (waves[k].conj() * masks[k] * twin).sum()
        turn = inner.sgn() if inner.abs() > 0 else torch.ones_like(inner)
        total = power * twin + masks[k].conj() * waves[k] * turn
        power = power + masks[k].abs().square()
        twin = torch.where(power > 0, total / power.clamp(min=1e-30), torch.zeros_like(total))
    twin = twin * twin.square().sum().sgn().sqrt().conj()
    return -twin if float(twin.real.sum()) < 0 else twin
