"""Fit: the image as a function of numbers that go downhill on the misfit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from untwin import expression
from untwin.checks import require_int, require_number
from untwin.errors import InputError
from untwin.model.inverse import InverseProblem
from untwin.model.losses import Loss
from untwin.model.networks.base import single_precision
from untwin.model.priors.base import Parts, Prior
from untwin.model.priors.kernel import KernelPrior
from untwin.model.priors.untrained import Untrained
from untwin.model.regularizers import Regularizer
from untwin.random import derive
from untwin.solve.constrained import Bound, bounded_loss, excesses, penalties, require_bounds, require_room, updated
from untwin.solve.descent import LBFGS, Adam, Descent
from untwin.solve.parts import IMAGE, Part, joined, separated
from untwin.solve.recipe import Algorithm
from untwin.solve.state import State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.parts import Tensors


@dataclass(frozen=True, repr=False)
class Fit(Algorithm):
    """One iteration of min over θ of ℓ(y, f(G_θ)) + λ R(G_θ), ℓ the problem's loss for each measured number. Every start has its own θ.

    In a far-field problem G fills a box around index 0 and nothing else is known of the support; its scale is that which gives as many
    photons as were counted, in each iteration. In a picture G is the picture.

    prior: G. kernel: the prior of a kernel that the physics does not know (Blur(Unknown())), such as Softmax(); it moves beside the image,
        each with its own rates. descent: Adam() or LBFGS(). regularizer: λ R, such as TV(0.45). loss: instead of the problem's.
    root: the square root of the mean loss instead of it, so that λ does not depend on the noise (deep random projector).
    average: the state's image is the mean of the outputs with this weight on the past, 0 for the output itself; the state's x is always
        the output.
    box: of a far-field problem, its share of the array along each axis.
    grow: the support is the state's, grown by so many pixels; by default the whole box.
    imitate: iterations at first in which G is fitted to the image that the state comes with, with the prior's rates, a warm start of 20
        iterations and a cosine to a tenth. Then the descent begins anew, on the data.
    rate: factor on the prior's learning rates on the data. warm: iterations until it is reached. decay: share of it that is left at the
        end, by a cosine.
    later: the loss from iteration `after` on (SSIM() in SelfDeblur, after squares).
    bfloat16: networks compute in that precision, numbers and physics stay as they are. For processors with units for it.
    constraints: bounds that the image is brought to meet, such as [AtMost(Squared(), sigma**2)] (solve.constrained). A loss that is bounded
        is no part of what is minimised: that is the regulariser alone.
    """

    cost: ClassVar[float] = 200.0  # at 64 x 64 on a CPU: 4.7 ms against 26 us of an iteration with [fast]

    prior: Prior = field(default_factory=Untrained)
    descent: Descent = field(default_factory=Adam)
    regularizer: Regularizer | None = None
    loss: Loss | None = None
    root: bool = False
    average: float = 0.0
    box: float = 0.5
    grow: int | None = None
    imitate: int = 0
    rate: float = 1.0
    warm: int = 0
    decay: float = 1.0
    bfloat16: bool = False
    kernel: KernelPrior | None = None
    later: Loss | None = None
    after: int = 0
    constraints: Sequence[Bound] = ()

    def __post_init__(self) -> None:
        for name, kind, example in (("prior", Prior, "Untrained()"), ("descent", Descent, "Adam()")):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"Fit({name}={getattr(self, name)!r}): expected such as {example}")
        if self.kernel is not None and not isinstance(self.kernel, KernelPrior):
            raise InputError(f"Fit(kernel={self.kernel!r}): expected the prior of a kernel, such as Softmax()")
        if self.regularizer is not None and not isinstance(self.regularizer, Regularizer):
            raise InputError(f"Fit(regularizer={self.regularizer!r}): expected such as TV(0.45)")
        if self.loss is not None and not isinstance(self.loss, Loss):
            raise InputError(f"Fit(loss={self.loss!r}): expected such as Poisson(0.1) or Amplitude()")
        if self.later is not None and not isinstance(self.later, Loss):
            raise InputError(f"Fit(later={self.later!r}): expected a loss, such as SSIM()")
        require_number(self, "average", 0, 0.99999)
        require_int(self, "after", 0, 1_000_000)
        require_number(self, "box", 0.05, 1)
        require_number(self, "rate", 0)
        require_number(self, "decay", 0, 1)
        require_int(self, "imitate", 0, 1_000_000)
        require_int(self, "warm", 0, 1_000_000)
        if self.grow is not None:
            require_int(self, "grow", 0, 1000)
        self._require_constraints()

    def _require_constraints(self) -> None:
        object.__setattr__(self, "constraints", require_bounds(self.constraints))  # a list is what users write
        if self.constraints and not isinstance(self.descent, Adam):
            raise InputError(f"Fit(descent={self.descent!r}): what is minimised changes with every step of a constraint; expected Adam()")
        if bounded_loss(self.constraints) is not None and self.regularizer is None:
            raise InputError("Fit(constraints=...) bounds the loss, and nothing is left to minimise; give a regularizer, such as TV(1.0)")

    def __repr__(self) -> str:
        return expression.write(self)

    def check(self, problem: InverseProblem) -> None:
        if problem.real and self.prior.complex:
            raise InputError(f"{self.prior!r} is complex, and the object is real; take a real prior, such as Untrained()")
        if self.imitate and not problem.imitable:
            raise InputError(f"{self!r} would imitate an image, and a picture comes without one; leave imitate out")
        self.prior.check(problem.canvas(self.box)[1:])
        shapes, priors = problem.unknown_shapes, self._others()
        if without := sorted(shapes.keys() - priors.keys()):
            wanted = (
                "a prior for it, such as Fit(kernel=Softmax())"
                if without[0] == "kernel"
                else "the name kernel: Fit has a prior for no other"
            )
            raise InputError(f"{without[0]} of the physics is unknown; expected {wanted}")
        if known := sorted(priors.keys() - shapes.keys()):
            raise InputError(f"Fit({known[0]}={priors[known[0]]!r}): the physics knows it; leave it out, or try Blur(Unknown())")
        for name, prior in priors.items():
            prior.check(shapes[name])
        require_room(self.constraints, math.prod(problem.shape))

    def _others(self) -> dict[str, KernelPrior]:
        """The priors of what the physics does not know, by name."""
        return {} if self.kernel is None else {"kernel": self.kernel}

    def _parts(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Part]:
        """What is drawn, by name. shapes: (channels, *grid) of each."""
        return {name: Part(prior, shapes[name]) for name, prior in {IMAGE: self.prior, **self._others()}.items()}

    def begin(self, problem: InverseProblem, state: State) -> State:

        self.check(problem)
        shape = problem.canvas(self.box)
        mask, target = problem.window(state.image, state.support, shape, self.grow, self.imitate > 0)
        shape = shape if mask is None else (shape[0], *mask.shape[1:])
        shapes = {IMAGE: tuple(shape), **{name: (1, *box) for name, box in problem.unknown_shapes.items()}}
        parts = self._parts(shapes)
        first = [self._first(parts, state, row) for row in range(len(state.seeds))]
        trained = tuple({name: p.trained for name, p in row.items()} for row in first)
        memory = {
            "count": 0,
            "shapes": shapes,
            "trained": trained,
            "fixed": tuple({name: p.fixed for name, p in row.items()} for row in first),
            "descent": tuple(self._descent(row) for row in trained),
            "mask": mask,
            "target": target,
            "mean": None,
            "multipliers": tuple((None,) * len(self.constraints) for _ in state.seeds),
        }
        if mask is None:
            return state.replace(memory=memory)
        support = problem.placed(mask)
        return state.replace(memory=memory, support=support, bounds=support)

    def _first(self, parts: dict[str, Part], state: State, row: int) -> dict[str, Parts]:
        """First numbers of one start, by name."""
        seed, device = state.seeds[row], state.x.device
        first = {IMAGE: parts[IMAGE].begin(seed, IMAGE, device)}
        return first | {name: parts[name].begin_at(state.nuisance[name][row], seed, name, device) for name in self._others()}

    def _descent(self, numbers: dict[str, Tensors]) -> dict[str, Any]:
        return self.descent.begin(joined(numbers), self.prior.random)

    def _rates(self, parts: dict[str, Part], numbers: dict[str, Tensors], factor: float) -> dict[str, float]:
        """Of each number, by its joint name."""
        own = {name: part.prior.rates(list(numbers[name])) for name, part in parts.items()}
        return {f"{name}.{n}": r * factor for name, rates in own.items() for n, r in rates.items()}

    def step(self, problem: InverseProblem, state: State) -> State:
        import torch

        m = state.memory
        count, parts = m["count"], self._parts(m["shapes"])
        fresh = (self.imitate > 0 and count == self.imitate) or (self._changes(count) and isinstance(self.descent, LBFGS))
        factor = self._factor(count, state.progress)
        trained, descents, drawn, multipliers = [], [], [], []
        for row, seed in enumerate(state.seeds):
            numbers = m["trained"][row]
            rates = self._rates(parts, numbers, factor)
            memory = self._descent(numbers) if fresh else m["descent"][row]
            slope = partial(self._slope, problem, m, row, seed)
            new, memory, (output, c) = self.descent.step(joined(numbers), memory, slope, rates)
            multipliers.append(updated(self.constraints, m["multipliers"][row], c) if c else m["multipliers"][row])
            trained.append(separated(new))
            descents.append(memory)
            drawn.append(output)
        x = torch.stack([output[IMAGE] for output in drawn])
        nuisance = {**state.nuisance, **{name: torch.stack([output[name] for output in drawn]) for name in self._others()}}
        mean = x
        if self.average:
            before = m["mean"]
            if before is not None:
                mean = torch.lerp(before, problem.symmetry.follow(x, before), max(1 - self.average, 1 / (count + 1)))
        memory = {**m, "count": count + 1, "trained": tuple(trained), "descent": tuple(descents), "mean": mean if self.average else None}
        memory["multipliers"] = tuple(multipliers)
        return state.replace(x=x, image=mean, error=None, memory=memory, nuisance=nuisance)

    def _changes(self, count: int) -> bool:
        """True where the loss is another one from here on: what a line search remembers of the old one would hold up the new."""
        return self.later is not None and count == self.after > 0

    def _factor(self, count: int, progress: float) -> float:
        """On the learning rates."""
        if count < self.imitate:
            return min(1.0, (count + 1) / 20) * _cosine(count / max(1, self.imitate - 1), 0.1)
        k = count - self.imitate
        share = 0.0
        if self.decay < 1 and progress > 0 and count > 0:
            last = count / progress  # the last count of this run
            share = min(1.0, max(0.0, k / max(1.0, last - self.imitate)))
        return self.rate * min(1.0, (k + 1) / self.warm if self.warm else 1.0) * _cosine(share, self.decay)

    def _slope(self, problem: InverseProblem, m: dict[str, Any], row: int, seed: int, numbers: dict[str, Tensor]) -> Any:
        """Loss, gradient and, at some numbers, what is drawn, by name, and by how much it misses each of the constraints."""
        import torch

        parts, count = self._parts(m["shapes"]), m["count"]
        with torch.enable_grad(), single_precision():
            leaves = {n: t.detach().requires_grad_() for n, t in numbers.items()}
            some = next(iter(leaves.values()))
            own, fixed = separated(leaves), m["fixed"][row]
            generator = torch.Generator().manual_seed(derive(seed, "jitter", count))
            with torch.autocast(some.device.type, torch.bfloat16, enabled=self.bfloat16):
                drawn = {name: part.draw(Parts(own[name], fixed[name]), generator) for name, part in parts.items()}
            g, others = drawn[IMAGE], {name: drawn[name].float() for name in self._others()}
            problem = problem.start(row).holding(others) if others else problem.start(row)
            g = g if g.is_complex() else g.float()
            if m["mask"] is not None:
                g = g.where(m["mask"][row], g.new_zeros(()))
            c: tuple[Tensor, ...] = ()
            if count < self.imitate:
                target = m["target"][row].reshape(g.shape)
                loss = (g - target).abs().square().sum() / target.abs().square().sum().clamp(min=1e-30)
                x, _ = problem.render(g, self.loss)
            else:
                later = self.later is not None and count >= self.after
                x, loss = problem.render(g, self.later if later else self.loss)
                loss = (loss + 1e-12).sqrt() if self.root else loss
                loss = loss if bounded_loss(self.constraints) is None else loss.new_zeros(())
                loss = loss if self.regularizer is None else loss + self.regularizer(g)
                c = excesses(self.constraints, problem, g, x)
                loss = loss + penalties(self.constraints, m["multipliers"][row], c) if c else loss
            slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        gradient = {n: torch.zeros_like(t) if s is None else s for (n, t), s in zip(leaves.items(), slopes)}
        output = {IMAGE: x.detach(), **{name: k[0].detach() for name, k in others.items()}}
        return loss.detach(), gradient, (output, tuple(v.detach() for v in c))


def _cosine(share: float, end: float) -> float:
    return end + (1 - end) * (1 + math.cos(math.pi * share)) / 2
