"""Supports that follow the estimate: by a threshold (ShrinkWrap) or by a given area (AreaWrap)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import engine, expression, fourier
from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm, Setting, extremes, require_setting, value

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State

LEVELS = ("rms", "weighted", "max")


def magnitude(x: Tensor) -> Tensor:
    """|x|, without the slow complex abs."""
    return (x.real.square().addcmul_(x.imag, x.imag)).sqrt_() if x.is_complex() else x.abs()


def _each(v: Tensor, like: Tensor) -> Tensor:
    return v.to(like).reshape((-1,) + (1,) * (like.ndim - 1))


def _pixels(mask: Tensor) -> Tensor:
    """(starts,) int64: how many are set. A sum of bools by torch takes ten times as long."""
    import numpy as np
    import torch

    if not mask.is_cpu:
        return mask.flatten(1).sum(1)
    one = mask[:1] if mask.stride(0) == 0 else mask  # the same for all
    return torch.tensor([np.count_nonzero(row) for row in one.numpy()]).expand(len(mask))


def largest(m: Tensor, pixels: Tensor) -> Tensor:
    """bool, like m: the `pixels` (starts,) largest values of each start, as far as they are positive."""
    import numpy as np
    import torch

    flat = m.flatten(1).cpu().numpy()
    ranks = (flat.shape[1] - pixels.long().clamp(1, flat.shape[1])).tolist()
    level = torch.tensor([np.partition(row, k)[k] for row, k in zip(flat, ranks)])  # a hundredth of the cost of sorting with torch
    above = m >= _each(level, m)
    return above if bool((level > 0).all()) else above & (m > 0)


def without_islands(support: Tensor, share: float) -> Tensor:
    """The support without its connected parts (face neighbours, periodic array) below `share` of its pixels."""
    import numpy as np
    import torch
    from scipy import ndimage, sparse

    supports = []
    for mask in support.cpu().numpy():
        labels, n = ndimage.label(mask)  # type: ignore[misc]
        faces = [(labels.take(0, axis).ravel(), labels.take(-1, axis).ravel()) for axis in range(mask.ndim)]
        a, b = (np.concatenate(f) for f in zip(*faces))
        across = (a > 0) & (b > 0)  # parts that go on at the opposite face
        graph = sparse.coo_matrix((np.ones(across.sum()), (a[across], b[across])), shape=(n + 1, n + 1))
        part = sparse.csgraph.connected_components(graph, directed=False)[1][labels]
        size = np.bincount(part[mask], minlength=n + 1)
        supports.append(mask & (size >= share * size.sum())[part])
    return torch.from_numpy(np.stack(supports)).to(support.device)


@dataclass(frozen=True, repr=False)
class ShrinkWrap(Algorithm):
    """Support = where the blurred magnitude of the estimate is above a threshold (Marchesini et al., Phys. Rev. B 68, 2003).

    threshold: relative to `level`, above 0. Draw(0.12, 0.32) lets each start draw its own.
    sigma: blur, pixels, 0 or more. Ramp(2, 0.5) shrinks it over all the repetitions of this step.
    level: "rms" inside the present support, "weighted" (amplitude-weighted rms, sqrt(Σ m⁴ / Σ m²), there), or "max".
    smallest, largest: the area stays between these multiples of the area of the bounds (state.bounds).
    islands: connected parts below this share of the support are dropped; 0 keeps all.
    """

    needs: ClassVar = Problem
    brief: ClassVar = True

    threshold: Setting = 0.2
    sigma: Setting = 1.0
    level: str = "rms"
    smallest: float = 0.02
    largest: float = 1.0
    islands: float = 0.0

    def __post_init__(self) -> None:
        require_setting(self, "threshold", 0, 10, above=True)
        require_setting(self, "sigma", 0, 100)
        require_number(self, "islands", 0, 1)
        if self.level not in LEVELS:
            raise InputError(f"ShrinkWrap(level={self.level!r}): expected one of {', '.join(LEVELS)}")
        if self.level == "max" and max(extremes(self.threshold)) >= 1:
            raise InputError("ShrinkWrap(level='max') with a threshold of 1 or more leaves nothing; expected below 1")
        if not 0 <= self.smallest < self.largest:
            raise InputError(f"ShrinkWrap areas from {self.smallest} to {self.largest}: expected 0 <= smallest < largest")

    def step(self, problem: Problem, state: State) -> State:
        import torch

        blurred, level = self._blurred(problem, state)
        cut = _each(value(self.threshold, state, "threshold"), blurred) * _each(level, blurred)
        support = blurred > cut
        pixels, area = _pixels(state.bounds).double(), _pixels(support)
        bound = area.clamp((self.smallest * pixels).long().clamp(min=1), (self.largest * pixels).long().clamp(1, blurred[0].numel()))
        outside = bound != area
        if bool(outside.any()):
            clipped = largest(blurred, bound)
            support = clipped if bool(outside.all()) else torch.where(_each(outside, blurred).bool(), clipped, support)
        if self.islands:
            support = without_islands(support, self.islands)
        return state.replace(support=support)

    def _blurred(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        """The blurred magnitude, (starts, *grid), and the level that the threshold is relative to, (starts,)."""
        sigma = value(self.sigma, state, "sigma")
        if (code := engine.blur_for(state.image, state.support)) is None:
            blurred = fourier.blur(magnitude(state.image), sigma, problem.ndim)
            return blurred, self._level(blurred, state.support)
        blurred, figures = code.run(state.image, sigma.expand(len(state.image)).tolist(), state.support)
        square, fourth, most = figures.unbind(1)
        if self.level == "max":
            return blurred, most
        if self.level == "rms":
            return blurred, (square / _pixels(state.support).clamp(min=1)).sqrt()
        return blurred, (fourth / square.clamp(min=1e-30)).sqrt()

    def _level(self, m: Tensor, support: Tensor) -> Tensor:
        if self.level == "max":
            return m.flatten(1).amax(1)
        square = m.square().where(support, m.new_zeros(())).flatten(1)
        if self.level == "rms":
            return (square.sum(1) / support.flatten(1).sum(1).clamp(min=1)).sqrt()
        return (square.square().sum(1) / square.sum(1).clamp(min=1e-30)).sqrt()

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class AreaWrap(Algorithm):
    """Support = the largest pixels of the blurred estimate (for real objects: of its positive part), so many that they fill
    `area` of the bounds of the object (state.bounds). For objects whose haze would move any threshold, such as behind a large stop.

    area: share, above 0 and at most 1; Ramp(0.9, 0.3). sigma: blur, pixels; Ramp(3, 0.7).
    """

    needs: ClassVar = Problem
    brief: ClassVar = True

    area: Setting = 0.5
    sigma: Setting = 1.0

    def __post_init__(self) -> None:
        require_setting(self, "area", 0, 1, above=True)
        require_setting(self, "sigma", 0, 100)

    def step(self, problem: Problem, state: State) -> State:
        m = state.image.clamp(min=0) if problem.real else magnitude(state.image)
        blurred = fourier.blur(m, value(self.sigma, state, "sigma"), problem.ndim)
        pixels = value(self.area, state, "area") * state.bounds.flatten(1).sum(1).double()
        return state.replace(support=largest(blurred.where(state.bounds, blurred.new_zeros(())), pixels))

    def __repr__(self) -> str:
        return expression.write(self)
