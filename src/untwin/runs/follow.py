"""Results along a time series: each is moved onto the one before it, by what the far field cannot tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from untwin import fourier
from untwin.errors import InputError
from untwin.model import alignment
from untwin.model.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.runs.solution import Reconstruction


def aligned(solution: Reconstruction, reference: Tensor) -> Reconstruction:
    """The solution moved onto an object: turned to its twin and conjugated, shifted by whole pixels, multiplied by a phase, as fits best.
    The counts that it gives stay the same, and so does every figure.

    reference: (*grid), centred. Raises InputError where its shape is another, or the physics is not the far field's.
    """
    if solution.physics is None or not Problem(solution.pattern, physics=solution.physics).model.waves.unitary:
        raise InputError("results are aligned along a series for far fields alone; leave follow (--follow) out")
    if reference.shape != solution.image.shape:
        raise InputError(f"the object before has shape {tuple(reference.shape)}, this one {tuple(solution.image.shape)}; expected the same")
    d = solution.image.ndim
    image = fourier.cornered(solution.image, d)[None]
    fit = alignment.align(image, fourier.cornered(reference, d), d, subpixel=False)
    by = [int(round(v)) for v in fit.by[0].tolist()]

    def transformed(x: Tensor) -> Tensor:
        """x: (batch, *grid), centred."""
        y = fourier.cornered(x, d)
        y = alignment.twin(y, d) if bool(fit.twin[0]) else y
        return fourier.centred(y.roll(by, tuple(range(-d, 0))), d).contiguous()

    factor = 1 if solution.positivity else fit.factor[0].to(solution.image.dtype)
    stacks = {name: transformed(x) * factor for name in ("modes", "replicas") if (x := getattr(solution, name)) is not None}
    support = transformed(solution.support[None].to(solution.image.real.dtype))[0] > 0.5
    return replace(solution, image=transformed(solution.image[None])[0] * factor, support=support, **stacks)
