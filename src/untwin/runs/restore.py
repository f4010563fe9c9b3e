"""Restored pictures: a fit that stops by itself, for any physics of pictures."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import int_argument, number_argument, seed_argument
from untwin.data.measurement import Pattern
from untwin.errors import GuessWarning, InputError, NumericalFailure
from untwin.live.record import Record, recorded
from untwin.live.view import View
from untwin.model.denoiser import Denoiser
from untwin.model.losses import Loss, Squared
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Prior
from untwin.model.priors.combine import Cartesian
from untwin.model.priors.projector import Projector
from untwin.model.priors.untrained import Implicit, Untrained
from untwin.model.problem import Problem
from untwin.model.regularizers import TV
from untwin.provenance import made_with
from untwin.runs import blind, plugplay
from untwin.runs.blind import Blind
from untwin.runs.blind_methods import METHODS
from untwin.runs.checkpoint import Checkpoint, PartState, checkpoint_in, digest
from untwin.runs.device import as_mask, device_name
from untwin.runs.live import image_panels, picture_view
from untwin.runs.solution import Restored
from untwin.solve.fit import Fit
from untwin.solve.heldout import HeldOut
from untwin.solve.parts import IMAGE
from untwin.solve.recipe import Rule, Until
from untwin.solve.run import iterate
from untwin.solve.state import CHECK, State
from untwin.solve.stopping import RuleState
from untwin.solve.variance import EMV, WMV

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from untwin.model.picture import Picture

PRIORS = ("auto", "pnp", "tv", "dip", "drp")
UNTRAINED = ("dip", "drp")
STEPS = 5000
FITTED = "stop= (--stop) and steps= (--steps) are for a fit"
BEYOND = 4.0  # times white: noise of that deviation leaves nothing of a picture, and 8 bits have a root mean square of 5 where nearly black

Report = Callable[[int, float | None, int], None]


def fit_for(prior: str, grid: tuple[int, ...], complex_: bool = False) -> Fit:
    """The settings that have a name, for an image of this grid. dip: deep image prior, an hourglass of 32 channels, its scales as many as
    the image allows, five at most. drp: deep random projector. Raises InputError for another name, and for an image that is too small."""
    if prior not in UNTRAINED:
        raise InputError(f"unknown prior {prior!r}; expected one of {', '.join(UNTRAINED)}")
    if prior == "dip":
        depth = max((d for d in range(1, 6) if min(grid) > 2 * 2**d), default=1)
        base: Prior = Untrained(Skip(depth=depth, width=32))
    else:
        base = Projector()
    fit = _fit_of(Cartesian(base, base) if complex_ else base)
    fit.prior.check(grid)
    return fit


def along_one_axis(n: int) -> Fit:
    """For a series of so many samples, which a projector does not suit: docs/defaults.md, One axis."""
    depth = max((d for d in range(1, 6) if n > 2 * 2**d), default=1)
    return _fit_of(Untrained(Skip(depth=depth, width=32, skip=0)))


def restore(
    y: Any,
    physics: Any = None,
    prior: Prior | Fit | Denoiser | Blind | str | None = None,
    stop: Rule | None = None,
    seed: int = 0,
    *,
    sigma: float | None = None,
    measured: Any = None,
    loss: Loss | None = None,
    channels: int | None = None,
    steps: int | None = None,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | str | Path | None = None,
    report: Report | None = None,
    live: Record | str | Path | None = None,
    progress: bool = True,
) -> Restored:
    """The picture behind y.

    y: (channels, height, width), 0 to 1, tensor or array; complex for k-space. physics: by default the identity; Mask, Blur, Downsample,
        MRI, Forward, or any function of torch.
    prior: None or "auto": for a grey or coloured picture with a linear physics and Gaussian noise a trained denoiser, for one axis an
        hourglass without short cuts, for all else a deep random projector; the result's `choice` says which and why. "pnp" or a
        Denoiser: plug-and-play (docs/denoisers.md). "tv": total variation, classical, its weight from sigma. "drp", "dip", a Prior, or
        a Fit with everything: an untrained one. Of Blur(Unknown()) the kernel is found, too (docs/deblurring.md): by default Blind(),
        a Blind with settings, "selfdeblur" or "siren" (published settings), or a Fit(kernel=Softmax()). seed: of the prior.
    stop: a rule, which only a fit has; by default EMV(patience=50) for a deep random projector and HeldOut(patience=100) for others
        (docs/deep-priors.md). sigma: deviation of the noise (of complex y, of |noise|), which only "pnp" and "tv" ask for; by default
        estimated from y, 0 for none.
    measured: bool like y, False where nothing is known. loss: by default Squared().
    channels: of the image, by default those of y. steps: of a fit, at most; by default 5000. device: "cpu", "cuda", a torch.device.
    checkpoint: a folder in which the fit is kept while it works, so that the same call after a kill goes on from there and ends with the
        same bits (same machine, versions, device, threads). It stays until you delete it.
    report: called with the steps since the last call, the rule's statistic (or None), and the steps at most.
    live: a folder in which the run shows itself while it goes on: `untwin watch FOLDER` (docs/watch.md).
    progress: in a notebook a line shows how far it is; elsewhere nothing does.
    Raises InputError where something does not fit, or the folder holds another run; NumericalFailure where the fit comes to nothing.
    """
    device = device_name(device)
    problem = _picture(y, physics, measured, channels, loss, device)
    seed, fitted = seed_argument(seed), stop is not None or steps is not None
    steps = STEPS if steps is None else int_argument("steps", steps, 1)
    with checkpoint_in(checkpoint) as store, recorded(live, "restore", figure="statistic", progress=progress) as record:
        store.live = record
        restored = _restored(problem, prior, stop, seed, sigma, steps, fitted, made_with(device), store, record.reporting(report))
        if restored.verdict is not None:
            record.set(verdict={"trusted": restored.verdict.trusted, "text": restored.verdict.text})
        record.set(numbers={"seconds": restored.numbers["seconds"]})
        record.show(lambda: View(image_panels(restored.image, restored.kernel), caption="the result"))
    return restored


def _restored(
    problem: Picture,
    prior: Prior | Fit | Denoiser | Blind | str | None,
    stop: Rule | None,
    seed: int,
    sigma: float | None,
    steps: int,
    fitted: bool,
    provenance: dict[str, str | int],
    checkpoint: Checkpoint,
    report: Report | None,
) -> Restored:
    """By the method that the prior stands for. fitted: something was given that only a fit has."""
    about = {"data of SHA-256": _problem_digest(problem), "loss": repr(problem.loss)}
    _require_scale(problem, prior)
    if isinstance(prior, Blind) or (problem.unknown_shapes and not isinstance(prior, Prior | Fit)):
        prior = _blind(prior, problem, fitted, sigma)
        if isinstance(prior, Blind):
            return blind.restored(problem, prior, seed, provenance, checkpoint, report, about)
    automatic = prior is None or prior == "auto"
    prior, choice = _chosen(prior, problem, fitted)
    if isinstance(prior, Denoiser) or prior == "tv":
        if fitted:
            raise InputError(f"{FITTED}; leave them out, or take a prior that is fitted, such as drp")
        denoiser = prior if isinstance(prior, Denoiser) else None
        return plugplay.restored(problem, denoiser, sigma, seed, choice, automatic, provenance, checkpoint, report, about)
    if sigma is not None:
        raise InputError(
            f"sigma={sigma!r} is for a denoiser or total variation, and the prior is {prior!r}; leave it out, or take prior='pnp'"
        )
    return _fitted(problem, _fit(prior, problem), stop, seed, steps, choice, provenance, checkpoint, report, about)


def _fitted(
    problem: Picture,
    fit: Fit,
    stop: Rule | None,
    seed: int,
    steps: int,
    choice: str,
    provenance: dict[str, str | int],
    checkpoint: Checkpoint,
    report: Report | None,
    about: dict[str, str],
) -> Restored:
    """The picture by a fit. about: what the run is, beside its recipe."""
    fit.check(problem)
    rule = _rule(fit) if stop is None else stop
    if not isinstance(rule, Rule):
        raise InputError(f"stop={stop!r}: expected a rule, such as EMV() or HeldOut()")
    recipe = Until(rule, steps * fit)
    clock, cpu = time.perf_counter(), time.process_time()
    checkpoint.begin({**provenance, **about, "recipe": repr(recipe), "seed": seed})
    result = _run_fit(problem, recipe, seed, steps, checkpoint, report)
    seconds = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
    image = result.state.image[0].detach().cpu()
    if not bool(image.isfinite().all()):
        raise NumericalFailure("the fit failed (NaN); try a smaller learning rate or another prior")
    return Restored(
        image=image,
        recipe=repr(recipe),
        seed=seed,
        numbers=_fit_numbers(problem, result, steps) | seconds,
        warnings=_fit_warnings(fit, rule, result, steps),
        made=provenance,
        data=problem.y.cpu(),
        choice=choice,
        kernel=result.state.nuisance["kernel"][0].cpu() if "kernel" in problem.unknown_shapes else None,
        statistic=result.statistic,
        variance=result.variance,
    )


def _picture(y: Any, physics: Any, measured: Any, channels: int | None, loss: Loss | None, device: str) -> Picture:
    """What `restore` was asked, in single precision on the device. Raises InputError where physics or loss do not fit."""
    import torch

    from untwin.model.image.base import Identity
    from untwin.model.picture import Picture

    if isinstance(y, Pattern | Problem):
        raise InputError(f"restore takes a picture, an array (channels, height, width); got a {type(y).__name__}: try untwin.reconstruct")
    try:
        y = torch.as_tensor(np.ascontiguousarray(y) if isinstance(y, np.ndarray) else y)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"y is a {type(y).__name__}; expected one array (channels, height, width): take several one by one") from None
    y = y.to(device, torch.complex64 if y.is_complex() else torch.float32)
    measured = None if measured is None else as_mask(measured)
    _require_channels_first(tuple(y.shape), physics)
    physics = Identity(axes=y.ndim - 1) if physics is None else physics
    problem = Picture(y, physics, measured, channels, loss or Squared())
    problem.misfit(torch.zeros(1, *problem.shape, device=y.device))
    return problem


def _require_channels_first(shape: tuple[int, ...], physics: Any) -> None:
    """Raise InputError for what can only be a colour picture with its channels last; a GuessWarning for what may be a grey one without."""
    if len(shape) == 3 and shape[-1] <= 4 < min(shape[:2]):
        raise InputError(f"y has shape {shape}; expected (channels, height, width): np.moveaxis(y, -1, 0) puts the channels first")
    if len(shape) == 2 and physics is None and min(shape) >= 16:
        text = f"y of shape {shape} is taken as {shape[0]} series of {shape[1]} samples each; a grey picture is y[None]"
        warnings.warn(text, GuessWarning, stacklevel=4)


def _require_scale(problem: Picture, prior: Prior | Fit | Denoiser | Blind | str | None) -> None:
    """Raise InputError where the numbers go far beyond white (8 bits that were not divided by 255, say): a named prior draws 0 to 1, and so
    does a network."""
    import torch

    from untwin.model.image.base import Identity
    from untwin.model.image.blur import Blur
    from untwin.model.image.downsample import Downsample
    from untwin.model.image.mask import Mask
    from untwin.model.image.mri import MRI

    drawn = prior.prior if isinstance(prior, Fit) else prior
    unbounded = isinstance(drawn, Prior) and not isinstance(drawn, Untrained | Implicit | Projector)
    if unbounded or not isinstance(problem.physics, Identity | Mask | Blur | Downsample | MRI):
        return
    white = max(abs(prior.black), abs(prior.white)) if isinstance(prior, Denoiser) else 1.0
    y, f = (v.abs().double().square().mean().sqrt().item() for v in (
        problem.y[problem.measured], problem.predict(torch.full((1, *problem.shape), white, device=problem.y.device)),
    ))  # fmt: skip
    if y > BEYOND * max(white, f):
        text = f"the picture has a root mean square of {y:.3g}, and white is {white:g}; divide it, 8 bits by 255, say"
        raise InputError(f"{text}, or give a physics that makes such numbers of an image of 0 to 1")


def _problem_digest(problem: Picture) -> str:
    """Of the data and the physics, which what it does to a ramp tells from another."""
    import torch

    ramp = torch.linspace(0, 1, math.prod(problem.shape), device=problem.y.device).reshape(1, *problem.shape)
    return digest(problem.y, problem.measured, problem.predict(ramp))


def _chosen(prior: Prior | Fit | Denoiser | str | None, problem: Picture, fitted: bool) -> tuple[Prior | Fit | Denoiser | str, str]:
    """The prior that is meant, and why it is that one: "auto" and None take a denoiser for what may be a photograph (docs/denoisers.md).
    fitted: something was given that only a fit has."""
    if isinstance(prior, str) and prior in METHODS:
        raise InputError(f"prior={prior!r} is for a blur that is not known; leave the kernel out, or expected one of {', '.join(PRIORS)}")
    if isinstance(prior, str) and prior not in PRIORS:
        raise InputError(f"unknown prior {prior!r}; expected one of {', '.join(PRIORS)}")
    if prior == "pnp":
        return Denoiser(), "pnp, a trained denoiser, as asked for"
    if prior == "tv":
        return "tv", "tv, total variation, as asked for"
    if prior is not None and prior != "auto":
        return prior, f"{prior.prior if isinstance(prior, Fit) else prior!s}, as asked for"
    why = "a stop or a number of steps was given, which only a fit has" if fitted else plugplay.unsuited(problem)
    if why and len(problem.grid) == 1 and not problem.y.is_complex():
        return along_one_axis(problem.grid[0]), f"an untrained hourglass without short cuts, because {why}"
    if why:
        return "drp", f"drp, an untrained network, because {why}"
    return Denoiser(), "pnp, a trained denoiser, because it is a grey or coloured picture with a linear physics and Gaussian noise"


def _blind(prior: Denoiser | Blind | str | None, problem: Picture, fitted: bool, sigma: float | None) -> Blind | Fit:
    """How a kernel that is not known is found. fitted: something was given that only a fit has. sigma: of the noise."""
    if not problem.unknown_shapes:
        raise InputError(
            f"{prior!r} is for a blur that is not known; expected the physics ut.physics.Blur(ut.physics.Unknown()), or leave it out"
        )
    if isinstance(prior, str) and prior in METHODS:
        return METHODS[prior]()
    if isinstance(prior, str) and prior not in ("auto", "pnp"):
        raise InputError(f"prior={prior!r} of a blur that is not known: expected Blind(), a Fit(kernel=Softmax()) or {', '.join(METHODS)}")
    if fitted:
        raise InputError(f"{FITTED}; leave them out of a deblurring without a kernel, or in Python give prior=Fit(kernel=Softmax())")
    settings = prior if isinstance(prior, Blind) else Blind(denoiser=prior) if isinstance(prior, Denoiser) else Blind()
    return settings if sigma is None else replace(settings, noise=number_argument("sigma", sigma, 0, 1))


def _fit(prior: Prior | Fit | str, problem: Picture) -> Fit:
    if isinstance(prior, str):
        return fit_for(prior, problem.grid, problem.y.is_complex())
    if isinstance(prior, Fit):
        return prior
    if not isinstance(prior, Prior):
        raise InputError(f"prior={prior!r}: expected one of {', '.join(PRIORS)}, a prior such as Untrained(), a Denoiser, or a Fit")
    return _fit_of(prior)


def _fit_of(prior: Prior) -> Fit:
    """A projector with the settings of its authors, others with the mean of their outputs."""
    return Fit(prior, regularizer=TV(0.45), root=True, average=0.9) if _projects(prior) else Fit(prior, average=0.99)


def _rule(fit: Fit) -> Rule:
    """A projector's input has numbers of its own for every pixel, which hidden ones would leave unfitted: EMV there, HeldOut elsewhere."""
    return EMV(patience=50) if _projects(fit.prior) else HeldOut(patience=100)


def _projects(prior: Prior) -> bool:
    return any(isinstance(part, Projector) for part in prior.parts())


@dataclass(frozen=True, eq=False)
class _FitResult:
    """The last state; after each step the rule's statistic (NaN where there is none) and the moving variance of the outputs; whether
    it ended with finite numbers; the step of the image that the rule kept, 0 where it does not tell."""

    state: State
    statistic: tuple[float, ...]
    variance: tuple[float, ...]
    finite: bool
    at: int = 0

    @property
    def best_at(self) -> int:
        """The step of the image that was kept; where the rule does not tell, of the least statistic, the last where there is none."""
        if self.at:
            return self.at
        values = np.asarray(self.statistic, dtype=float)
        return int(np.nanargmin(values)) + 1 if values.size and not np.isnan(values).all() else values.size


def _run_fit(problem: Picture, recipe: Until, seed: int, steps: int, checkpoint: Checkpoint, report: Report | None) -> _FitResult:
    """The recipe from zeros, or from where the checkpoint stands."""
    import torch

    dtype = torch.complex64 if _complex(recipe) else torch.float32
    x = torch.zeros(1, *problem.shape, device=problem.y.device, dtype=dtype)
    variance = _Variance.for_rule(recipe.rule)
    name = checkpoint.name("fit")
    part = checkpoint.read(name, problem.device) or PartState(State.of(x, seeds=(seed,)), [])
    state, trace, aux, finite = part.state, part.trace, part.aux, True
    fetched, pending = 1 if x.is_cpu else CHECK, []  # a GPU would have to wait for numbers that are fetched one by one
    if report and trace:
        report(len(trace), None, steps)
    with checkpoint.part(name, picture_view) as reached:
        for state in iterate(problem, recipe, state):  # noqa: B020
            if state.rule_state is not None:
                finite = bool(state.finite().all()) if state.step % CHECK == 0 else finite
                moving, aux = variance.update(problem, state, aux)
                statistic = state.rule_state.value if isinstance(state.rule_state, RuleState) else moving * math.nan
                at = state.rule_state.at if isinstance(state.rule_state, RuleState) else torch.zeros_like(moving)
                pending.append(torch.stack([statistic[0], moving[0], at[0].to(moving.dtype)]))
            if pending and (state.rule_state is None or state.step % fetched == 0):
                trace.extend(map(tuple, torch.stack(pending).tolist()))
                if report:
                    report(len(pending), None if math.isnan(trace[-1][0]) else trace[-1][0], steps)
                pending = []
            if not pending:
                reached(state, trace, aux)
    at = int(trace[-1][2]) if trace else 0
    return _FitResult(state, tuple(row[0] for row in trace), tuple(row[1] for row in trace), finite, at)


@dataclass(frozen=True)
class _Variance:
    """The moving variance of the outputs: the rule's own where that is an EMV of the same numbers, or one that runs beside it."""

    emv: EMV
    own: bool

    @classmethod
    def for_rule(cls, rule: Rule) -> _Variance:
        emv = EMV(burn_in=0)
        return cls(emv, isinstance(rule, EMV) and rule.alpha == emv.alpha)

    def update(self, problem: Picture, state: State, aux: Any) -> tuple[Tensor, Any]:
        """(starts,) now, and what it remembers. aux: what it remembered after the step before, None at first."""
        if self.own:
            return state.rule_state.aux["variance"], None
        return self.emv.statistic(problem, state, self.emv.first(problem, state) if aux is None else aux)


def _fit_numbers(problem: Picture, result: _FitResult, steps: int) -> dict[str, float]:
    return {
        "steps": float(result.state.step),
        "best_at": float(result.best_at),
        "stopped_itself": float(result.state.step < steps),
        "misfit": float((problem.misfit(result.state.image) / problem.measured.sum())[0]),
        "measured_fraction": float(problem.measured.double().mean()),
    }


def _fit_warnings(fit: Fit, rule: Rule, result: _FitResult, steps: int) -> tuple[str, ...]:
    texts = []
    if not result.finite:
        texts.append(f"the fit came to NaN or infinity before step {result.state.step}; what is shown is the best image before that")
    elif result.state.step == steps:
        texts.append(f"the rule had not stopped after {steps} steps; what is shown is its best so far")
    if _projects(fit.prior) and result.state.x.ndim == 3:
        texts.append("a deep random projector is made for pictures, and gains little along one axis; leave prior= out")
    if isinstance(rule, EMV | WMV) and rule.of == IMAGE and fit.prior.random:
        texts.append("the noise that this prior adds to its input hides the variance that the rule follows; try HeldOut(), or jitter=0")
    return tuple(texts)


def _complex(recipe: Until) -> bool:
    from untwin.solve.recipe import steps as each

    return any(isinstance(a, Fit) and a.prior.complex for a in each(recipe))
