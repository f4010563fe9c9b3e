"""The linear algebra of a picture's data: A and A* where something was measured, its norm, and least squares beside a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from untwin.errors import InputError
from untwin.model.image.base import Linear
from untwin.model.losses import Squared

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.picture import Picture
    from untwin.solve.recipe import Algorithm

Map = Callable[["Tensor"], "Tensor"]

TOLERANCE = 1e-6  # of the residual of conjugate gradients, of the right side: single precision


def require_linear(step: Algorithm, problem: Picture) -> None:
    """Raise InputError unless the physics is linear and the loss Squared(), for which the steps of this file are made. A physics that
    does not say so is tried on two pictures and a combination of them."""
    import torch

    if not isinstance(problem.loss, Squared):
        raise InputError(f"{step!r} is for white Gaussian noise, Squared(), and the loss is {problem.loss!r}; try Fit(Untrained())")
    if isinstance(problem.physics, Linear):
        return
    n = problem.shape
    a = torch.linspace(0, 1, max(1, n[0] * int(torch.tensor(n[1:]).prod())), device=problem.device).reshape(1, *n)
    b = torch.cos(40 * a)
    fa, fb, f = problem.predict(a), problem.predict(b), problem.predict(2 * a - 3 * b)  # 2 - 3 is not 1: an offset is seen, too
    if not torch.allclose(f, 2 * fa - 3 * fb, rtol=1e-3, atol=1e-4 * max(float(f.abs().max()), 1e-30)):
        raise InputError(f"{step!r} needs a linear physics, and {problem.physics!r} is none; try Fit(Untrained())")


def maps(problem: Picture, x: Tensor) -> tuple[Map, Map]:
    """A, (starts, *shape) -> what would be measured, 0 where nothing was, and its adjoint; for pictures like x."""
    import torch

    def forward(x: Tensor) -> Tensor:
        f = problem.predict(x)
        return f.where(problem.measured, f.new_zeros(()))

    pullback = torch.func.vjp(forward, torch.zeros_like(x))[1]
    return forward, lambda w: pullback(w)[0]


def norm(problem: Picture, x: Tensor, iterations: int = 30) -> float:
    """The largest eigenvalue of A* A, to about 1 % from below, by the power method from a picture with every frequency."""
    import torch

    forward, adjoint = maps(problem, x[:1])
    v = torch.zeros_like(x[:1])
    v.view(-1)[:: max(1, v.numel() // 7)] = 1
    v = v + 1
    size = 0.0
    for _ in range(iterations):
        v = v / v.norm().clamp(min=1e-30)
        v = adjoint(forward(v))
        size = float(v.norm())
    return size


def least_squares(
    problem: Picture, z: Tensor, weight: float, iterations: int, first: Tensor | None = None, prior: Map | None = None
) -> Tensor:
    """argmin over x of |A x - y|^2 + weight <x - z, P (x - z)>, by conjugate gradients from z (or first), each start for itself.

    weight: above 0. prior: P, the identity by default. Exact after two iterations where A* A has two eigenvalues (nothing, a mask, the
    k-space of one coil), and where the residual is small it ends.
    """
    forward, adjoint = maps(problem, z)
    apply: Map = prior or (lambda v: v)
    x = z if first is None else first
    r = adjoint(problem.y - forward(x)) + weight * apply(z - x)
    p, square = r, _dot(r, r)
    goal = TOLERANCE**2 * square.clamp(min=_dot(z, z) * weight**2)
    for _ in range(iterations):
        if bool((square <= goal).all()):
            break
        q = adjoint(forward(p)) + weight * apply(p)
        step = square / _dot(p, q).clamp(min=1e-30)
        x, r = x + step * p, r - step * q
        new = _dot(r, r)
        p, square = r + new / square.clamp(min=1e-30) * p, new
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(starts, 1, ..., 1)"""
    return (a.conj() * b).real.sum(tuple(range(1, a.ndim)), keepdim=True)


def laplacian(x: Tensor) -> Tensor:
    """Minus the sum of second differences over the grid, with borders through which nothing flows. x: (starts, channels, *grid)."""
    import torch

    out = torch.zeros_like(x)
    for axis in range(2, x.ndim):
        d = x.diff(dim=axis)
        edge = torch.zeros_like(x.narrow(axis, 0, 1))
        out = out + torch.cat([edge, d], axis) - torch.cat([d, edge], axis)
    return out
