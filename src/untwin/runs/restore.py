"""Restored pictures: a fit that stops by itself, for any physics of pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import int_argument, seed_argument
from untwin.errors import InputError, NumericalFailure
from untwin.model.losses import Loss, Squared
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Prior
from untwin.model.priors.combine import Cartesian
from untwin.model.priors.projector import Projector
from untwin.model.priors.untrained import Untrained
from untwin.model.regularizers import TV
from untwin.provenance import made_with
from untwin.runs.checkpoint import Checkpoint, Held, digest
from untwin.runs.device import boolean, named
from untwin.runs.solution import Restored
from untwin.solve.fit import Fit
from untwin.solve.recipe import Rule, Until
from untwin.solve.run import iterate
from untwin.solve.state import CHECK, State, alive
from untwin.solve.stopping import EMV, WMV, HeldOut

if TYPE_CHECKING:
    import torch

    from untwin.model.picture import Picture

PRIORS = ("dip", "drp")
STEPS = 5000

Report = Callable[[int, float | None, int], None]


def fit_for(prior: str, grid: tuple[int, ...], complex_: bool = False) -> Fit:
    """The settings that have a name, for an image of this grid. dip: deep image prior, an hourglass of 32 channels, its scales as many as
    the image allows, five at most. drp: deep random projector. Raises InputError for another name, and for an image that is too small."""
    if prior not in PRIORS:
        raise InputError(f"unknown prior {prior!r}; expected one of {', '.join(PRIORS)}")
    if prior == "dip":
        depth = max((d for d in range(1, 6) if min(grid) > 2 * 2**d), default=1)
        one: Prior = Untrained(Skip(depth=depth, width=32))
        fit = Fit(one, average=0.99)
    else:
        one = Projector()
        fit = Fit(one, regularizer=TV(0.45), root=True, average=0.9)
    fit = replace(fit, prior=Cartesian(one, one)) if complex_ else fit
    fit.prior.check(grid)
    return fit


def restore(
    y: Any,
    physics: Any = None,
    prior: Prior | Fit | str | None = None,
    stop: Rule | None = None,
    seed: int = 0,
    *,
    measured: Any = None,
    loss: Loss | None = None,
    channels: int | None = None,
    steps: int = STEPS,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | str | Path | None = None,
    report: Report | None = None,
) -> Restored:
    """The picture behind y.

    y: (channels, height, width), 0 to 1, tensor or array; complex for k-space. physics: by default the identity; Mask, Blur, Downsample,
        MRI, Forward, or any function of torch.
    prior: "drp" (default), "dip", a Prior, or a Fit with everything. seed: of the prior. stop: a rule; by default
        EMV(patience=50) for a deep random projector and HeldOut(patience=100) for others (docs/deep-priors.md).
    measured: bool like y, False where nothing is known. loss: by default Squared().
    channels: of the image, by default those of y. steps: at most. device: "cpu", "cuda", a torch.device.
    checkpoint: a folder in which the fit is kept while it works, so that the same call after a kill goes on from there and ends with the
        same bits (same machine, versions, device, threads). It stays until you delete it.
    report: called with the steps since the last call, the rule's statistic (or None), and the steps at most.
    Raises InputError where something does not fit, or the folder holds another run; NumericalFailure where the fit comes to nothing.
    """
    import torch

    from untwin.model.image.base import Identity
    from untwin.model.picture import Picture

    y = torch.as_tensor(np.ascontiguousarray(y) if isinstance(y, np.ndarray) else y)
    device = named(device)
    y = y.to(device, torch.complex64 if y.is_complex() else torch.float32)
    measured = None if measured is None else boolean(measured)
    physics = Identity(axes=y.ndim - 1) if physics is None else physics
    problem = Picture(y, physics, measured, channels, loss or Squared())
    problem.predict(torch.zeros(1, *problem.shape, device=y.device))  # does it fit at all
    fit = _fit(prior, problem)
    fit.check(problem)
    rule = _rule(fit) if stop is None else stop
    if not isinstance(rule, Rule):
        raise InputError(f"stop={stop!r}: expected a rule, such as EMV() or HeldOut()")
    seed, steps = seed_argument(seed), int_argument("steps", steps, 1)
    recipe = Until(rule, steps * fit)
    clock, cpu = time.perf_counter(), time.process_time()
    kept = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(None if checkpoint is None else Path(checkpoint))
    made = made_with(device)
    ramp = torch.linspace(0, 1, math.prod(problem.shape), device=y.device).reshape(1, *problem.shape)
    data = digest(problem.y, problem.measured, problem.predict(ramp))  # what a physics does to a picture tells it from another
    kept.begin({**made, "data of SHA-256": data, "recipe": repr(recipe), "loss": repr(problem.loss), "seed": seed})
    last, trace, alive = _run(problem, recipe, seed, steps, kept, report)
    statistic, variance = ([row[i] for row in trace] for i in (0, 1))
    image = last.image[0].detach().cpu()
    if not bool(torch.isfinite(torch.view_as_real(image) if image.is_complex() else image).all()):
        raise NumericalFailure("the fit came to nothing (NaN); try a smaller learning rate or another prior")
    found = problem.misfit(last.image) / problem.measured.sum()
    numbers = {
        "steps": float(last.step),
        "best_at": float(_best(statistic)),
        "stopped_itself": float(last.step < steps),
        "misfit": float(found[0]),
        "measured_fraction": float(problem.measured.double().mean()),
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": time.process_time() - cpu,
    }
    said = () if last.step < steps else (f"the rule had not stopped after {steps} steps; what is shown is its best so far",)
    if not alive:
        said = (f"the fit came to NaN or infinity before step {last.step}; what is shown is the best image before that",)
    if isinstance(rule, EMV | WMV) and any(isinstance(p, Untrained) and p.jitter for p in _parts(fit)):
        said += ("the noise that this prior adds to its input hides the variance that the rule follows; try HeldOut(), or jitter=0",)
    return Restored(
        image=image,
        recipe=repr(recipe),
        seed=seed,
        numbers=numbers,
        warnings=said,
        made=made,
        data=y.cpu(),
        statistic=tuple(statistic),
        variance=tuple(variance),
    )


def _fit(prior: Prior | Fit | str | None, problem: Picture) -> Fit:
    if prior is None or isinstance(prior, str):
        return fit_for(prior or "drp", problem.grid, problem.y.is_complex())
    if isinstance(prior, Fit):
        return prior
    if not isinstance(prior, Prior):
        raise InputError(f"prior={prior!r}: expected one of {', '.join(PRIORS)}, a prior such as Untrained(), or a Fit")
    if isinstance(prior, Projector):
        return Fit(prior, regularizer=TV(0.45), root=True, average=0.9)
    return Fit(prior, average=0.99)


def _rule(fit: Fit) -> Rule:
    """A projector's input has numbers of its own for every pixel, which hidden ones would leave unfitted: EMV there, HeldOut elsewhere."""
    return EMV(patience=50) if any(isinstance(p, Projector) for p in _parts(fit)) else HeldOut(patience=100)


def _parts(fit: Fit) -> tuple[Prior, ...]:
    return (fit.prior.real, fit.prior.imaginary) if isinstance(fit.prior, Cartesian) else (fit.prior,)


def _run(
    problem: Picture, recipe: Until, seed: int, steps: int, kept: Checkpoint, report: Report | None
) -> tuple[State, list[tuple[float, float]], bool]:
    """The last state; after each step the rule's statistic and the moving variance of the outputs; whether it ended with numbers."""
    import torch

    dtype = torch.complex64 if _complex(recipe) else torch.float32
    x = torch.zeros(1, *problem.shape, device=problem.y.device, dtype=dtype)
    other = EMV(burn_in=0)
    name = kept.name("fit")
    held = kept.read(name, str(problem.y.device))
    if held is None:
        first = State.of(x, seeds=(seed,))
        held = Held(first, [], other.begin(problem, first).watch)  # type: ignore[arg-type]
    state, trace, look, fine = held.state, held.trace, held.beside, True
    fetched, pending = 1 if x.is_cpu else CHECK, []  # a GPU would have to wait for numbers that are fetched one by one
    if report and trace:
        report(len(trace), None, steps)
    with kept.part(name) as reached:
        for state in iterate(problem, recipe, state):  # type: ignore[arg-type]  # noqa: B020
            if state.watch is not None:
                fine = bool(alive(state).all()) if state.step % CHECK == 0 else fine
                look = other.look(problem, replace(state, watch=look)).watch  # type: ignore[arg-type]
                pending.append(torch.stack([getattr(state.watch, "value", look.value)[0], look.value[0]]))
            if pending and (state.watch is None or state.step % fetched == 0):
                trace.extend((value, variance) for value, variance in torch.stack(pending).tolist())
                if report:
                    report(len(pending), None if math.isnan(trace[-1][0]) else trace[-1][0], steps)
                pending = []
            if not pending:
                reached(state, trace, look)
    return state, trace, fine


def _complex(recipe: Until) -> bool:
    from untwin.solve.recipe import steps as each

    return any(isinstance(a, Fit) and a.prior.complex for a in each(recipe))


def _best(statistic: list[float]) -> int:
    values = np.asarray(statistic, dtype=float)
    return int(np.nanargmin(values)) + 1 if values.size and not np.isnan(values).all() else len(statistic)
