"""What of a run others may look at: from its states, small pictures and curves. Nothing here changes a state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.live.record import SHARE
from untwin.live.view import POINTS, Line, Plane, View, object_panels, picture_panel
from untwin.solve.stopping import RuleState

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem
    from untwin.solve.state import Member, State

MARGIN = 1.15  # of the object, beside which nothing is shown
MOST_VOXELS = 2**20  # that are asked where the middle of the object is

Traces = tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]


@dataclass(eq=False)
class StartsLook:
    """A batch of starts. residual: of a state, the R-factor of each start, for those whose trace has none; it is asked for where it takes
    no more than a hundredth of the time."""

    problem: Problem
    residual: Callable[[Problem, State], tuple[float, ...]] | None = None
    rows: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    first: tuple[float, int] | None = None
    due: float = 0.0

    def __call__(self, state: State, trace: list[tuple[int, tuple[float, ...]]]) -> View:
        rows = trace if self.residual is None else self._looked_at(state)
        r = rows[-1][1] if rows else ()
        row = min((i for i, v in enumerate(r) if math.isfinite(v)), key=lambda i: r[i], default=0)
        value = r[row] if r and math.isfinite(r[row]) else None
        member = state.members[row]
        caption = (
            label(member) + (f", iteration {state.step:,}" if state.step else "") + (f", R = {value:.3g}" if value is not None else "")
        )
        steps = tuple(step for step, _ in rows)
        lines = tuple(Line(label(m), steps, tuple(v[i] for _, v in rows), m.family) for i, m in enumerate(state.members)) if rows else ()
        return View(panels_of(self.problem, state, row), lines, caption, value, state.step * len(state.members))

    def _looked_at(self, state: State) -> list[tuple[int, tuple[float, ...]]]:
        clock = time.monotonic()
        if self.first is None:
            self.first = clock, state.step
        elapsed, steps = clock - self.first[0], state.step - self.first[1]
        if self.residual is not None and steps and SHARE * elapsed / steps <= elapsed and clock >= self.due:
            self.rows.append((state.step, self.residual(self.problem, state)))
            self.due = time.monotonic() + SHARE * (time.monotonic() - clock)
        return self.rows


def label(member: Member) -> str:
    return f"{member}" if member.role == "start" else f"{member} of family {member.family}"


def lines_of(members: tuple[Member, ...], traces: Traces) -> list[Line]:
    """The curves of starts that have ended."""
    return [Line(label(m), steps, values, m.family) for m, (steps, values) in zip(members, traces)]


def panels_of(problem: Problem, state: State, row: int = 0) -> tuple[Any, ...]:
    """Of one start: its image in its support, the middle of this in the middle of the picture, and no more around it than can hold it."""
    image, support, bounds = state.image[row].detach(), state.support[row], state.bounds[row]
    d = problem.ndim
    everywhere = bool(support.all())
    k = max(1, math.ceil((support.numel() / MOST_VOXELS) ** (1 / d)))  # of a volume every k-th voxel tells where its middle is
    few = support[(slice(None, None, k),) * d]
    by = [0] * d if everywhere else [k * b for b in problem.symmetry.origin(few.to(image.real.dtype))]
    shape = tuple(image.shape)
    room = shape if everywhere else tuple(min(n, math.ceil(MARGIN * _extent(bounds, axis)) + 4) for axis, n in enumerate(shape))
    order = problem.physics.waves.fft_order
    return object_panels(_planes(image, support, [_indices(n, r, b, order) for n, r, b in zip(shape, room, by)]))


def _extent(inside: Tensor, axis: int) -> int:
    """Positions along an axis where there is anything."""
    for other in reversed([a for a in range(inside.ndim) if a != axis]):
        inside = inside.any(other)
    return int(inside.sum())


def _indices(n: int, room: int, by: int, fft_order: bool) -> list[int]:
    """Positions along an axis of which the middle one is the middle of the object, as many as there is room for."""
    first = n // 2 - room // 2
    return [(i - by - (n // 2 if fft_order else 0)) % n for i in range(first, first + room)]


def _planes(image: Tensor, support: Tensor, indices: list[list[int]]) -> list[Plane]:
    """The array itself in 2D, three planes through the middle in 3D; without a phase that is common to all."""
    import torch

    planes = []
    for normal in range(3) if image.ndim == 3 else (None,) if image.ndim == 2 else ():
        x, inside, axis = image, support, 0
        for a, index in enumerate(indices):
            if a == normal:
                middle = index[len(index) // 2]
                x, inside = x.select(axis, middle), inside.select(axis, middle)
            else:
                at = torch.tensor(index, device=image.device)
                x, inside, axis = x.index_select(axis, at), inside.index_select(axis, at), axis + 1
        values, mask = (x * inside).cpu().numpy(), inside.cpu().numpy()
        planes.append(("" if normal is None else f" across {'zyx'[normal]}", values, mask))
    total = sum((complex((x * np.abs(x)).sum()) for _, x, _ in planes), 0j)
    if planes and np.iscomplexobj(planes[0][1]) and abs(total) > 0:
        planes = [(title, x * np.conj(total / abs(total)), mask) for title, x, mask in planes]
    return planes


def object_view(image: Tensor, support: Tensor) -> View:
    """What is shown at the end. image, support: (*grid), centred."""
    room = tuple(min(n, math.ceil(MARGIN * _extent(support, axis)) + 4) for axis, n in enumerate(image.shape))
    indices = [_indices(n, r, 0, False) for n, r in zip(image.shape, room)]
    return View(object_panels(_planes(image, support, indices)), caption="the result")


def picture_view(state: State, trace: list[tuple[float, ...]]) -> View:
    """Of a fit of a picture: the image that its rule would keep, the kernel, and the rule's statistic."""
    image = state.rule_state.image if isinstance(state.rule_state, RuleState) else state.image
    at = int(trace[-1][2]) if trace and len(trace[-1]) > 2 else 0
    caption = f"the image of step {at:,}, the best so far" if at else f"the image of step {state.step:,}"
    indices = np.unique(np.linspace(0, len(trace) - 1, POINTS).round().astype(int)) if trace else ()
    points = [(int(i) + 1, trace[i][0]) for i in indices if math.isfinite(trace[i][0])]
    lines = (Line("statistic", tuple(s for s, _ in points), tuple(v for _, v in points)),) if points else ()
    kernel = state.nuisance.get("kernel")
    return View(image_panels(image[0], None if kernel is None else kernel[0]), lines, caption)


def image_panels(image: Tensor, kernel: Tensor | None = None) -> tuple[Any, ...]:
    """image: (channels, *grid); of several complex ones the root of the sum of squares. kernel: (rows, columns)."""
    values = image.detach().cpu().numpy()
    panels: tuple[Any, ...] = ()
    if values.ndim == 3 and np.iscomplexobj(values):
        panels = object_panels([("", values[0] if len(values) == 1 else np.sqrt((np.abs(values) ** 2).sum(0)), None)])
    elif values.ndim == 3:
        panels = (picture_panel("picture", values, 0.0, 1.0),)
    if kernel is not None and kernel.ndim == 2:
        panels += (picture_panel("kernel", kernel.detach().cpu().numpy()[None], 0.0),)
    return panels
