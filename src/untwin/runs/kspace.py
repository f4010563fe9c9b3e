"""What k-space tells of its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from untwin.model.image.mri import MRI

if TYPE_CHECKING:
    from untwin.model.picture import Picture

PAIRS = 200  # at least
# Of the mean |difference|^2 among the strongest tenth of the pairs to that among the weaker half; of noise alone 1, with a deviation of
# 0.25 for 200 pairs. Camera, coins, moon at 64 and 127 pixels, noise of 0 to 0.05: real 24 of 24; with a phase of 0.1 or 1 rad 0 of
# 48, with 0.02 rad 3 of 24, all with noise of 0.05, in which it hardly matters
RATIO = 2.0
ROUNDING = 1e-9  # of the mean |pair|^2: single precision without noise


def real_in_kspace(problem: Picture) -> bool:
    """Whether the picture is real: k-space of one coil in which opposite numbers are conjugate, but for noise that is no stronger where
    they are strong. Too few pairs tell nothing."""
    import torch

    physics, y = problem.physics, problem.y
    if not isinstance(physics, MRI) or physics.sensitivities is not None or len(y) != 1 or not y.is_complex():
        return False

    def opposite(a: torch.Tensor) -> torch.Tensor:
        """a (grid) at minus the frequency, which is 0 at N // 2."""
        axes = tuple(range(a.ndim))
        return a.flip(axes).roll(tuple(1 - n % 2 for n in a.shape), axes)

    index = torch.arange(y[0].numel(), device=y.device).reshape(y.shape[1:])
    measured = problem.measured[0] & physics.sampled
    pairs = measured & opposite(measured) & (index < opposite(index))
    if int(pairs.sum()) < PAIRS:
        return False
    a, b = y[0][pairs], opposite(y[0])[pairs].conj()
    difference = (a - b).abs().double().square()
    power = (a.abs().double().square() + b.abs().double().square()) / 2
    order = power.argsort()
    weak, strong = difference[order[: len(order) // 2]].mean(), difference[order[-(len(order) // 10) :]].mean()
    return bool(strong <= RATIO * weak + ROUNDING * power.mean())
