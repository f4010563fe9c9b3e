"""The laws, each a function that a test hands one member of a family after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch

from samples import close, run, state, wave
from untwin.model.alignment import twin
from untwin.model.problem import Problem
from untwin.solve.recipe import Recipe

Map = Callable[[torch.Tensor], torch.Tensor]


def inner(a: torch.Tensor, b: torch.Tensor) -> complex:
    return complex(torch.vdot(a.flatten(), b.flatten()))


def adjoint(forward: Map, backward: Map, x: torch.Tensor, w: torch.Tensor, within: float = 1e-12) -> None:
    """<A x, w> = <x, A* w>."""
    there, back = inner(forward(x), w), inner(x, backward(w))
    assert abs(there - back) <= within * float(x.norm() * w.norm())


def idempotent(project: Map, x: torch.Tensor, within: float = 1e-12) -> None:
    """P P x = P x."""
    once = project(x)
    assert close(project(once), once) <= within


def nearest(project: Map, x: torch.Tensor, others: list[torch.Tensor]) -> None:
    """No other point of the set is nearer to x than P x."""
    far = float((project(x) - x).abs().square().sum())
    assert all(far <= float((z - x).abs().square().sum()) * (1 + 1e-12) for z in others)


def fixed_point(problem: Problem, recipe: Recipe, truth: torch.Tensor, support: torch.Tensor, within: float = 1e-10) -> None:
    """The true object stays where it is, and is its own estimate."""
    after = run(problem, recipe, state(truth.unsqueeze(0), support))
    assert close(after.x[0], truth) <= within
    assert close(problem.project_object(after.image, after.support)[0], truth) <= within


def batch_is_single_runs(problem: Problem, recipe: Recipe, support: torch.Tensor, starts: int = 3) -> None:
    """k starts at once = k starts one after the other."""
    x = wave(problem.pattern.shape, 5, starts)
    x = x.real.abs() if problem.real else x
    seeds = tuple(range(10, 10 + starts))
    together = run(problem, recipe, state(x, support, seeds))
    for row in range(starts):
        alone = run(problem, recipe, state(x[row : row + 1], support, seeds[row : row + 1]))
        assert close(together.x[row], alone.x[0]) <= 1e-10
        assert close(together.image[row], alone.image[0]) <= 1e-10
        assert torch.equal(together.support[row], alone.support[0])


def equivariant(problem: Problem, recipe: Recipe, support: torch.Tensor, within: float = 1e-9) -> None:
    """What the far field cannot tell apart, the solver does not either: it moves with its start."""
    d = problem.ndim
    x = wave(problem.pattern.shape, 6, 1)
    x = x.real.abs() if problem.real else x
    axes, by = tuple(range(-d, 0)), tuple(range(2, 2 + d))
    turn = complex(torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)))
    moves: list[tuple[Map, Map]] = [
        (lambda a: a.roll(by, axes), lambda s: s.roll(by, axes)),
        (lambda a: twin(a, d), lambda s: s.flip(axes).roll((1,) * d, axes)),
    ]
    if not problem.real:
        moves.append((lambda a: a * turn, lambda s: s))
    plain = run(problem, recipe, state(x, support))
    for move, carry in moves:
        moved = run(problem, recipe, state(move(x), carry(support)))
        assert close(moved.x, move(plain.x)) <= within
        assert close(moved.image, move(plain.image)) <= within
        assert torch.equal(moved.support, carry(plain.support))
