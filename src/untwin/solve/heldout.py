"""What the steps never see says when they begin to follow the noise: pixels held out, and photons held back."""

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
class HeldOut(KeepBest):
    """The steps never see a few measured values; the loss there says when the image begins to follow the noise.

    The statistic is the loss of the estimate, cut to the constraint, on the hidden values, which no iterate was fitted to. Whole pixels
    of a picture are hidden, in all channels together.

    share: of the pixels that is hidden. patience, tolerance, burn_in: as in WMV. seed: which are hidden.
    """

    share: float = 0.05
    patience: int = 200
    tolerance: float = 1e-3
    burn_in: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require_steps(self, burn_in=0, seed=0)
        require_number(self, "share", 0, 0.9, above=True)

    def hidden(self, problem: InverseProblem) -> Tensor:
        """bool like the measured values."""
        import torch

        chosen = torch.from_numpy(np.random.default_rng(derive(self.seed, "held out")).random(problem.pixels) < self.share)
        return chosen.to(problem.measured.device).expand(problem.measured.shape)

    def problem_for_steps(self, problem: InverseProblem) -> InverseProblem:
        return problem.without(self.hidden(problem))

    def first(self, problem: InverseProblem, state: State) -> Any:
        hidden = problem.measured & ~self.problem_for_steps(problem).measured
        if not bool(hidden.any()):
            larger = f"; take a larger share, such as HeldOut(share={4 * self.share:g})" if self.share < 0.2 else "; take another rule"
            raise InputError(f"{self!r} hides no pixel of {tuple(problem.measured.shape)}{larger}")
        return {"hidden": hidden, "count": 0}

    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        import torch

        value = problem.misfit(problem.project_object(state.image, state.support), aux["hidden"]).nan_to_num(nan=math.inf)
        count = aux["count"] + 1
        return (value if count > self.burn_in else torch.full_like(value, math.nan)), {**aux, "count": count}

    def candidate(self, state: State, aux: Any) -> Tensor:
        return state.image


@dataclass(frozen=True, repr=False)
class Thinned(KeepBest):
    """Poisson thinning: every photon goes to one of two patterns by chance, which makes them exactly independent Poisson patterns. The
    steps see one; the statistic is the half deviance of the estimate from the other. Whole counts only: patterns, and pictures with the
    loss Poisson whose physics is linear (no background in it).

    share: of the photons that is kept back. patience, tolerance, burn_in: as in WMV. seed: of the chance.
    """

    share: float = 0.1
    patience: int = 200
    tolerance: float = 1e-3
    burn_in: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require_steps(self, burn_in=0, seed=0)
        require_number(self, "share", 0, 0.9, above=True)

    def _kept_back(self, problem: InverseProblem) -> np.ndarray:
        counts = np.rint(problem.photons()).clip(min=0).astype(np.int64)
        return np.random.default_rng(derive(self.seed, "thinned")).binomial(counts, self.share).astype(np.float64)

    def problem_for_steps(self, problem: InverseProblem) -> InverseProblem:
        left = problem.photons() - self._kept_back(problem)
        return problem.recounted(left.clip(min=0))  # counts may be almost whole

    def first(self, problem: InverseProblem, state: State) -> Any:
        import torch

        back = torch.from_numpy(self._kept_back(problem)).to(problem.measured.device, state.x.real.dtype)
        return {"back": back, "count": 0, "scale": problem.brightened(1.0, 1 / (1 - self.share))}

    def statistic(self, problem: InverseProblem, state: State, aux: Any) -> tuple[Tensor, Any]:
        import torch

        from untwin.model.losses import Poisson

        f = problem.predict(problem.project_object(state.image, state.support)) * (self.share / (1 - self.share))
        value = Poisson(0.01)(f, aux["back"], problem.measured).nan_to_num(nan=math.inf)
        count = aux["count"] + 1
        return (value if count > self.burn_in else torch.full_like(value, math.nan)), {**aux, "count": count}

    def candidate(self, state: State, aux: Any) -> Tensor:
        return state.image * aux["scale"]  # as bright as all the photons
