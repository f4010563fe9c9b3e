"""Everything that moves: the State of some starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.unknown import Nuisance

CHECK = 10  # steps between two looks whether starts still hold numbers


@dataclass(frozen=True)
class Member:
    """One start of a population.

    seed: every random choice of the start is a function of it. number: its place among its peers, by which settings are dealt (Deal).
    family: starts of two families never see one another. role: start, child (of a guided generation), candidate (of a finish), refinement.
    """

    seed: int
    number: int = 0
    family: int = 0
    role: str = "start"

    def __str__(self) -> str:
        return f"{self.role} {self.number}"


@dataclass(frozen=True, eq=False)
class State:
    """Where the starts stand. Tensors have the starts first and the grid last, in FFT order.

    x: (starts, *grid) complex, the iterate.
    image: (starts, *grid) complex, P_M x of the last step: what the data make of the iterate. The object that it stands for
        is P_S of it; supports are cut from it.
    support: (starts, *grid) bool. bounds: (starts, *grid) bool, where the object can be at all; every support that a step draws
        from nothing lies in it.
    error: (starts,) float64, Σ (|F x| − √I)² over the imposed pixels, of the object that the last modulus projection was given; not
        finite where a start has gone wrong.
    members: one per start: its seed, number and family.
    nuisance: what moves beside x and belongs to the physics (model.unknown), by name, (starts,) float64 each, of tensors
        (starts, *shape) float32.
    progress: how far the step now taken is through its own repetitions in the recipe, 0 at its first and 1 at its last.
    step: steps taken. at: position in the flattened recipe, from where a run goes on.
    memory: what the current algorithm carries from step to step. rule_state: the same for the current stopping rule.
    """

    x: Tensor
    image: Tensor
    support: Tensor
    bounds: Tensor
    members: tuple[Member, ...]
    error: Tensor | None = None
    nuisance: Nuisance = field(default_factory=dict)
    progress: float = 0.0
    step: int = 0
    at: int = 0
    memory: Any = None
    rule_state: Any = None

    @classmethod
    def of(cls, x: Tensor, support: Tensor | None = None, seeds: Sequence[int] | None = None) -> State:
        """The state that stands at x (starts, *grid). support: (*grid) or like x, by default everywhere. seeds: by default 0, 1, ..."""
        import torch

        inside = torch.ones_like(x, dtype=torch.bool) if support is None else (support != 0).expand(x.shape)
        members = tuple(Member(seed, number) for number, seed in enumerate(range(len(x)) if seeds is None else seeds))
        return cls(x=x, image=x, support=inside, bounds=inside, members=members)

    def __repr__(self) -> str:
        starts = f"{len(self.x)} {'start' if len(self.x) == 1 else 'starts'}"
        return f"State({starts} of {' x '.join(map(str, self.x.shape[1:]))}, step {self.step})"

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per start."""
        return tuple(m.seed for m in self.members)

    def replace(self, **changes: Any) -> State:
        """dataclasses.replace, at a tenth of its cost: it is called several times in every iteration."""
        if not changes.keys() <= _FIELDS:
            raise TypeError(f"a State has no {', '.join(sorted(changes.keys() - _FIELDS))}; it has {', '.join(sorted(_FIELDS))}")
        new = object.__new__(State)
        new.__dict__.update(self.__dict__, **changes)
        return new

    def finite(self) -> Tensor:
        """(starts,) bool: False where a start has come to NaN or infinity, by the error that the last projection has met; without one,
        by x."""
        import torch

        if self.error is not None:
            return self.error.isfinite()
        x = self.x.detach()
        return (torch.view_as_real(x) if x.is_complex() else x).isfinite().flatten(1).all(1)

    @staticmethod
    def concatenate(states: Sequence[State]) -> State:
        """One state of all the starts, in order; the moving parts of an algorithm (memory, rule_state) are left behind. Of a single state
        nothing is copied."""
        return _of_parts(states, lambda name: _joined([getattr(s, name) for s in states]))

    def __getitem__(self, rows: list[int]) -> State:
        """The state of some of the starts, in the order given, without memory and rule_state. Rows that follow one another are views."""
        return _of_parts([self], lambda name: _chosen(getattr(self, name), rows), rows)


def _of_parts(states: Sequence[State], part: Callable[[str], Tensor], rows: list[int] | None = None) -> State:
    """A state of the parts of others, with what is one and the same tensor in all of them kept so."""
    members = tuple(m for s in states for m in s.members)
    x = part("x")
    image = x if all(s.image is s.x for s in states) else part("image")
    support = part("support")
    bounds = support if all(s.bounds is s.support for s in states) else part("bounds")
    names = states[0].nuisance
    nuisance = {name: _joined([s.nuisance[name] for s in states]) for name in names}
    if rows is not None:
        members, nuisance = tuple(members[r] for r in rows), {name: value[rows] for name, value in nuisance.items()}
    return State(x=x, image=image, support=support, bounds=bounds, members=members, nuisance=nuisance)


def _joined(tensors: list[Tensor]) -> Tensor:
    import torch

    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _chosen(tensor: Tensor, rows: list[int]) -> Tensor:
    if rows and rows == list(range(rows[0], rows[0] + len(rows))) and rows[0] >= 0:
        view = tensor[rows[0] : rows[0] + len(rows)]
        if view.is_contiguous():
            return view
    return tensor[rows]


_FIELDS = frozenset(f.name for f in fields(State))
