"""Rules: when to stop and which image to keep. Each keeps the image that belongs to the least value of a statistic of its own."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.random import derive
from untwin.solve.recipe import Rule
from untwin.solve.state import CHECK, alive

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem
    from untwin.solve.state import State


@dataclass(frozen=True, eq=False)
class Watch:
    """value: (starts,) the statistic now, NaN while there is none; best: (starts,) the lowest so far; since: (starts,) looks since then;
    at: (starts,) the step it belonged to; image, x, support: (starts, *grid) what is kept of it; stopped: (starts,) bool; more: the rule's
    own."""

    value: Tensor
    best: Tensor
    since: Tensor
    at: Tensor
    image: Tensor
    x: Tensor
    support: Tensor
    stopped: Tensor
    more: Any = None


class Least(Rule):
    """Stops a start when its statistic has not fallen by `tolerance` (relative) for `patience` looks, or when it has come to NaN."""

    patience: int
    tolerance: float

    @abstractmethod
    def first(self, problem: InverseProblem, state: State) -> Any:
        """What the statistic needs to remember, before the first step."""

    @abstractmethod
    def statistic(self, problem: InverseProblem, state: State, more: Any) -> tuple[Tensor, Any]:
        """(starts,) float64, NaN where there is none yet; and what it remembers now."""

    @abstractmethod
    def offered(self, state: State, more: Any) -> Tensor:
        """(starts, *grid): the image to keep if the statistic is at its least."""

    def begin(self, problem: InverseProblem, state: State) -> State:
        import torch

        n = len(state.seeds)
        best = torch.full((n,), math.inf, dtype=torch.float64, device=state.x.device)
        zero = torch.zeros(n, dtype=torch.long, device=state.x.device)
        watch = Watch(best * math.nan, best, zero, zero, state.image, state.x, state.support, zero.bool(), self.first(problem, state))
        return replace(state, watch=watch)

    def look(self, problem: InverseProblem, state: State) -> State:
        import torch

        w: Watch = state.watch
        value, more = self.statistic(problem, state, w.more)
        lower = (value < w.best * (1 - self.tolerance)) & ~w.stopped
        latest = value.isnan() & w.best.isinf() & ~w.stopped  # until there is a statistic, the last image
        latest = latest & state.image.flatten(1).isfinite().all(1)
        wide = (lower | latest).reshape((-1,) + (1,) * (state.x.ndim - 1))
        since = torch.where(lower, torch.zeros_like(w.since), w.since + ~w.best.isinf())
        stopped = w.stopped | (since >= self.patience)
        if state.step % CHECK == 0:
            stopped = stopped | ~alive(state)
        watch = Watch(
            value=value,
            best=torch.where(lower, value, w.best),
            since=since,
            at=torch.where(lower, torch.full_like(w.at, state.step), w.at),
            image=torch.where(wide, self.offered(state, more), w.image),
            x=torch.where(wide, state.x, w.x),
            support=torch.where(wide, state.support, w.support),
            stopped=stopped,
            more=more,
        )
        return replace(state, watch=watch)

    def done(self, state: State) -> Tensor:
        return state.watch.stopped

    def keep(self, state: State) -> State:
        w: Watch = state.watch
        return replace(state, image=w.image, x=w.x, support=w.support, memory=None, watch=None)

    def __repr__(self) -> str:
        return expression.write(self)


def _check(rule: Least, **least: int) -> None:
    for name, low in {"patience": 1, **least}.items():
        require_int(rule, name, low)
    require_number(rule, "tolerance", 0, 1)


@dataclass(frozen=True, repr=False)
class Plateau(Least):
    """Stop a start when its misfit has not fallen by `tolerance` (relative) for `patience` steps; keep the image of the lowest.

    The misfit is that of P_S of the estimate, looked at after every step.
    """

    patience: int = 50
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        _check(self)

    def first(self, problem: InverseProblem, state: State) -> Any:
        return None

    def statistic(self, problem: InverseProblem, state: State, more: Any) -> tuple[Tensor, Any]:
        misfit = problem.misfit(problem.project_object(state.image, state.support))
        return misfit.nan_to_num(nan=math.inf), None  # a start that has come to NaN does not fall

    def offered(self, state: State, more: Any) -> Tensor:
        return state.image


@dataclass(frozen=True, repr=False)
class WMV(Least):
    """Windowed moving variance of the iterates (Wang, Li, Zhuang, Chen, Liang and Sun, TMLR 2023):

        WMV = 1/(W n) Σ_j |x_j − mean|² over the last W iterates x_j of n pixels,

    from their running sum and sum of squares, in O(n) for each step. Least where the image is best: before, it still moves towards the
    object, afterwards towards the noise. In a far-field problem the iterates are held in place first (shift, global phase).

    window: W. patience: looks without a new least. tolerance: a new least is lower by this share. burn_in: steps before the first look
    counts. mean: keep the mean of the window instead of the image of its last step. The defaults are those that were measured to end near
    the best image (docs/deep-priors.md); `WMV.published()` has the paper's.
    """

    window: int = 20
    patience: int = 100
    tolerance: float = 0.02
    burn_in: int = 20
    mean: bool = False

    @classmethod
    def published(cls) -> WMV:
        """The numbers of the paper, whose fits are long: W = 100, patience 1000, any new least counts."""
        return cls(window=100, patience=1000, tolerance=0.0, burn_in=0)

    def __post_init__(self) -> None:
        _check(self, window=2, burn_in=0)

    def first(self, problem: InverseProblem, state: State) -> Any:
        return {"frames": (), "sum": None, "square": None, "count": 0}

    def statistic(self, problem: InverseProblem, state: State, more: Any) -> tuple[Tensor, Any]:
        import torch

        frames, total = more["frames"], more["sum"]
        x = state.x if total is None else problem.symmetry.follow(state.x, (total / len(frames)).to(state.x.dtype))
        power = _power(x)
        if total is None:
            total, square = x.to(_double(x)), power
        else:
            total, square = total + x, more["square"] + power
        frames = (*frames, x)
        if len(frames) > self.window:
            total, square = total - frames[0], square - _power(frames[0])
            frames = frames[1:]
        count = more["count"] + 1
        more = {"frames": frames, "sum": total, "square": square, "count": count}
        w = len(frames)
        if w < self.window or count <= self.burn_in:
            return torch.full_like(power, math.nan), more
        return ((square / w - _power(total) / w**2) / x[0].numel()).clamp(min=0), more

    def offered(self, state: State, more: Any) -> Tensor:
        return (more["sum"] / len(more["frames"])).to(state.x.dtype) if self.mean else state.image


@dataclass(frozen=True, repr=False)
class EMV(Least):
    """Exponential moving variance of the iterates (Wang et al., TMLR 2023), with the memory of two images:

        mean' = (1 − α) mean + α x;   EMV' = (1 − α) (EMV + α |x − mean|² / n).

    alpha: α. patience, tolerance, burn_in: as in WMV. mean: keep the moving mean instead of the image. `EMV.published()` has the paper's
    numbers.
    """

    alpha: float = 0.2
    patience: int = 100
    tolerance: float = 0.02
    burn_in: int = 20
    mean: bool = False

    @classmethod
    def published(cls) -> EMV:
        """The numbers of the paper: α = 0.1, patience 1000, any new least after 100 steps counts."""
        return cls(alpha=0.1, patience=1000, tolerance=0.0, burn_in=100)

    def __post_init__(self) -> None:
        _check(self, burn_in=0)
        require_number(self, "alpha", 0, 1, above=True)

    def first(self, problem: InverseProblem, state: State) -> Any:
        return {"mean": None, "variance": None, "count": 0}

    def statistic(self, problem: InverseProblem, state: State, more: Any) -> tuple[Tensor, Any]:
        import torch

        mean = more["mean"]
        if mean is None:
            mean, variance = state.x, torch.zeros(len(state.x), dtype=torch.float64, device=state.x.device)
        else:
            away = problem.symmetry.follow(state.x, mean) - mean
            variance = (1 - self.alpha) * (more["variance"] + self.alpha * _power(away) / away[0].numel())
            mean = mean + self.alpha * away
        count = more["count"] + 1
        value = variance if count > self.burn_in else torch.full_like(variance, math.nan)
        return value, {"mean": mean, "variance": variance, "count": count}

    def offered(self, state: State, more: Any) -> Tensor:
        return more["mean"] if self.mean else state.image


@dataclass(frozen=True, repr=False)
class HeldOut(Least):
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
        _check(self, burn_in=0, seed=0)
        require_number(self, "share", 0, 0.9, above=True)

    def hidden(self, problem: InverseProblem) -> Tensor:
        """bool like the measured values."""
        import torch

        chosen = torch.from_numpy(np.random.default_rng(derive(self.seed, "held out")).random(problem.pixels) < self.share)
        return chosen.to(problem.measured.device).expand(problem.measured.shape)

    def given(self, problem: InverseProblem) -> InverseProblem:
        return problem.without(self.hidden(problem))

    def first(self, problem: InverseProblem, state: State) -> Any:
        hidden = problem.measured & ~self.given(problem).measured
        if not bool(hidden.any()):
            raise InputError(f"{self!r} hides no pixel of {tuple(problem.measured.shape)}; expected a larger share")
        return {"hidden": hidden, "count": 0}

    def statistic(self, problem: InverseProblem, state: State, more: Any) -> tuple[Tensor, Any]:
        import torch

        value = problem.misfit(problem.project_object(state.image, state.support), more["hidden"]).nan_to_num(nan=math.inf)
        count = more["count"] + 1
        return (value if count > self.burn_in else torch.full_like(value, math.nan)), {**more, "count": count}

    def offered(self, state: State, more: Any) -> Tensor:
        return state.image


@dataclass(frozen=True, repr=False)
class Thinned(Least):
    """Poisson thinning: every photon goes to one of two patterns by chance, which makes them exactly independent Poisson patterns. The
    steps see one; the statistic is the half deviance of the estimate from the other. Far-field patterns in whole counts only.

    share: of the photons that is kept back. patience, tolerance, burn_in: as in WMV. seed: of the chance.
    """

    needs: ClassVar = Problem

    share: float = 0.1
    patience: int = 200
    tolerance: float = 1e-3
    burn_in: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self, burn_in=0, seed=0)
        require_number(self, "share", 0, 0.9, above=True)

    def _kept_back(self, problem: Problem) -> np.ndarray:
        counts = problem.pattern.intensity
        whole = np.rint(counts)
        if float(np.abs(counts - whole).sum()) > 1e-3 * float(counts.sum()):
            raise InputError("Thinned needs whole counts, and this pattern has fractions of a photon; try HeldOut()")
        return (
            np.random.default_rng(derive(self.seed, "thinned")).binomial(whole.clip(min=0).astype(np.int64), self.share).astype(np.float64)
        )

    def given(self, problem: Problem) -> Problem:
        return problem.recounted(problem.pattern.intensity - self._kept_back(problem))

    def first(self, problem: Problem, state: State) -> Any:
        import torch

        back = torch.from_numpy(self._kept_back(problem)).to(problem.counts.intensity)
        return {"back": back, "count": 0}

    def statistic(self, problem: Problem, state: State, more: Any) -> tuple[Tensor, Any]:
        import torch

        from untwin.model.losses import Poisson

        f = problem.predict(problem.project_object(state.image, state.support)) * (self.share / (1 - self.share))
        value = Poisson(0.01)(f, more["back"], problem.measured).nan_to_num(nan=math.inf)
        count = more["count"] + 1
        return (value if count > self.burn_in else torch.full_like(value, math.nan)), {**more, "count": count}

    def offered(self, state: State, more: Any) -> Tensor:
        return state.image / math.sqrt(1 - self.share)  # as bright as all the photons


@dataclass(frozen=True, repr=False)
class SelfValidation(Least):
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
        _check(self, window=2, size=16, batch=2)
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

    def statistic(self, problem: InverseProblem, state: State, more: Any) -> tuple[Tensor, Any]:
        import torch

        from untwin.model.networks.autoencoder import Autoencoder
        from untwin.solve.descent import Adam

        x = self._frames(problem, state)
        assert x is not None  # `first` has checked it
        module = Autoencoder(x.shape[1]).module((self.size, self.size), x.shape[1])
        frames, count = (*more["frames"], x)[-self.window :], more["count"] + 1
        values, weights, memory = [], [], []
        for row, seed in enumerate(state.seeds):
            w, m = more["weights"][row], more["adam"][row]
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
        more = {"frames": frames, "weights": tuple(weights), "adam": tuple(memory), "count": count}
        return (value if len(frames) == self.window else torch.full_like(value, math.nan)), more

    def offered(self, state: State, more: Any) -> Tensor:
        return state.image


def _power(x: Tensor) -> Tensor:
    """(starts,) Σ |x|², float64."""
    import torch

    flat = torch.view_as_real(x).flatten(1) if x.is_complex() else x.flatten(1)
    norm = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
    return norm.square()


def _double(x: Tensor) -> Any:
    import torch

    return torch.complex128 if x.is_complex() else torch.float64
