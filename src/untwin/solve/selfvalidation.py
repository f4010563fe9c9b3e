"""An autoencoder that learns the iterates while they come: the reference that moving variances replace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import require_number
from untwin.errors import InputError
from untwin.random import derive
from untwin.solve.stopping import KeepBest, require_steps

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class SelfValidation(KeepBest):
    """Self-validation (Li, Zhuang, Liang, Le, Wang and Sun, BMVC 2021), the reference that WMV and EMV replace: an autoencoder learns the
    last iterates while they come; its error on each new one, before learning it, is least where the image is best. Many times as dear as
    the fit itself. Pictures and 2D patterns (their magnitude) only.

    window: iterates that it learns. patience, tolerance: as in WMV. size: pixels that an iterate is brought to along each axis, a power of
    two; 512 is the paper's. batch: iterates in one step of its Adam. rate: of its Adam.
    """

    window: int = 256
    patience: int = 500
    tolerance: float = 0.0
    size: int = 64
    batch: int = 32
    rate: float = 1e-3

    def __post_init__(self) -> None:
        require_steps(self, window=2, size=16, batch=2)
        require_number(self, "rate", 0, 1, above=True)
        if self.size & (self.size - 1):
            raise InputError(f"SelfValidation(size={self.size}): expected a power of two, such as 64")

    def first(self, problem: InverseProblem, state: State) -> Any:
        import torch

        from untwin.model.networks.autoencoder import Autoencoder
        from untwin.solve.descent import Adam

        frame = self._frames(problem, state)
        if frame is None:
            raise InputError(f"SelfValidation follows images in two dimensions, this one has shape {tuple(state.x.shape[1:])}; try EMV()")
        network = Autoencoder(frame.shape[1])
        drawn = (
            network.weights((self.size, self.size), frame.shape[1], torch.Generator().manual_seed(derive(s, "autoencoder")))
            for s in state.seeds
        )
        weights = [{n: w.to(state.x.device) for n, w in one.items()} for one in drawn]
        return {"frames": (), "weights": tuple(weights), "adam": tuple(Adam().begin(w) for w in weights), "count": 0}

    def _frames(self, problem: InverseProblem, state: State) -> Tensor | None:
        """(starts, channels, size, size), 0 to 1; None for images that are not in two dimensions."""
        import torch

        x = problem.frames(state.x)
        if x.ndim != 4:
            return None
        return torch.nn.functional.interpolate(
            x.float(), (self.size, self.size), mode="bilinear", align_corners=False, antialias=True
        ).clamp(0, 1)

    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        import torch

        from untwin.model.networks.autoencoder import Autoencoder
        from untwin.solve.descent import Adam

        x = self._frames(problem, state)
        assert x is not None  # `first` has checked it
        module = Autoencoder(x.shape[1]).module((self.size, self.size), x.shape[1])
        frames, count = (*aux["frames"], x)[-self.window :], aux["count"] + 1
        values, weights, memory = [], [], []
        for row, seed in enumerate(state.seeds):
            w, m = aux["weights"][row], aux["adam"][row]
            with torch.no_grad():
                values.append((torch.func.functional_call(module, w, (x[row : row + 1],)) - x[row]).double().norm())
            order = np.random.default_rng(derive(seed, "order", count)).permutation(len(frames))
            for at in range(0, len(order) if len(order) > 1 else 0, self.batch):
                some = torch.stack([frames[i][row] for i in order[at : at + self.batch]])

                def slope(numbers: dict[str, Tensor], some: Tensor = some) -> Any:
                    with torch.enable_grad():
                        leaves = {n: t.detach().requires_grad_() for n, t in numbers.items()}
                        loss = (torch.func.functional_call(module, leaves, (some,)) - some).square().mean()
                        return loss.detach(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())))), None

                w, m, _ = Adam().step(w, m, slope, dict.fromkeys(w, self.rate))
            weights.append(w)
            memory.append(m)
        value = torch.stack(values)
        aux = {"frames": frames, "weights": tuple(weights), "adam": tuple(memory), "count": count}
        return (value if len(frames) == self.window else torch.full_like(value, math.nan)), aux

    def candidate(self, state: State, aux: Any) -> Tensor:
        return state.image
