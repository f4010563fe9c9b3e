"""The recipe of a simulated data set: a body, what happens in it, a detector. Sample i is a function of (recipe, seed, i).

Simulation(Polygon(Between(4, 10)), (Waves(Between(0, 2)), Dislocations(Between(0, 3))), shape=(64, 64), detector=Detector(Total(1e6)))
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin import expression
from untwin.checks import is_int
from untwin.errors import InputError
from untwin.processes import one_thread
from untwin.simulate.bodies import Blob, Body, Hull, Polygon, Polyhedron, Wulff
from untwin.simulate.composites import Joined, Mix, Notched
from untwin.simulate.defects import Dislocations, Faults, Twin
from untwin.simulate.density import Organelles, Texture
from untwin.simulate.detector import Detector, Peak, Total
from untwin.simulate.domains import Domains
from untwin.simulate.grid import PixelGrid, check_size, half_extents
from untwin.simulate.scene import Part, Scene
from untwin.simulate.settings import Between, OneOf, Setting, require_within
from untwin.simulate.strain import Bend, Gratings, Relaxation, Tilt, Waves
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

PARTS: tuple[type[Part], ...] = (
    Waves, Relaxation, Bend, Tilt, Gratings, Dislocations, Faults, Twin, Domains, Texture, Organelles,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Samples:
    """A batch. image: (samples, *shape) complex64, centred at N//2, scaled so that |F image|² are the expected counts
    (of a coherent beam, without background and stray light). support: likewise,
    bool. intensity: float32 counts in FFT order, 0 where not measured. measured: bool, FFT order. labels: one JSON-able dict each."""

    image: Tensor
    support: Tensor
    intensity: Tensor
    measured: Tensor
    labels: list[dict[str, Any]]


@dataclass(frozen=True, repr=False)
class Copies:
    """Symmetric copies, which leave the pattern as it is (a flip exchanges twins, which have the same): each sample is one of them.

    shift: by whole pixels, up to this many along each axis, as far as the object stays inside the array. flip: conjugate flip, in half of
    the samples. phase: a global phase, anywhere on the circle. What was done stands in the label "copy"; the places and directions of
    defects in the other labels are those before it.
    """

    shift: int = 0
    flip: bool = False
    phase: bool = False

    def __post_init__(self) -> None:
        require_within(self, "shift", 0, 10_000, integer=True, fixed=True)
        if not isinstance(self.flip, bool) or not isinstance(self.phase, bool):
            raise InputError(f"{self!r}: flip and phase are True or False")

    def __repr__(self) -> str:
        return expression.write(self)

    def apply(self, x: Tensor, streams: Streams, labels: list[dict]) -> Tensor:
        """x: (samples, *shape) complex, centred. Adds what was done to the labels."""
        import torch

        rows = []
        for row, g, label in zip(x, streams.generators, labels, strict=True):
            copy: dict[str, Any] = {}
            if self.flip and g.random() < 0.5:
                axes = tuple(range(row.ndim))
                row = row.flip(axes).roll([1 - n % 2 for n in row.shape], axes).conj().resolve_conj()
                copy["flip"] = True
            if self.shift:
                by = self._random_shift(row, g)
                row = row.roll(by, tuple(range(row.ndim)))
                copy["shift"] = by
            if self.phase:
                turn = float(2 * np.pi * g.random())
                row = row * complex(np.cos(turn), np.sin(turn))
                copy["phase"] = turn
            if copy:
                label["copy"] = copy
            rows.append(row)
        return torch.stack(rows)

    def _random_shift(self, x: Tensor, g: np.random.Generator) -> list[int]:
        by = []
        for axis, n in enumerate(x.shape):
            line = (x != 0).any(dim=tuple(a for a in range(x.ndim) if a != axis)) if x.ndim > 1 else x != 0
            filled = np.flatnonzero(line.cpu().numpy())
            low, high = (int(filled[0]), n - 1 - int(filled[-1])) if len(filled) else (0, 0)
            by.append(int(np.floor(g.random() * (min(self.shift, low) + min(self.shift, high) + 1))) - min(self.shift, low))
        return by


@dataclass(frozen=True, repr=False)
class Simulation:
    """The recipe of a data set. Its repr is its text, which `simulation` reads back.

    body: where the object is. parts: what happens in it, in order. shape: of the array, 2D or 3D. oversampling: array over object, along
    each axis drawn for itself, 1 or more; below 2 the pattern does not determine the object. real: nonnegative objects, whose phase is
    dropped. detector, copies: what measures it; which of its symmetric copies is shown.
    """

    body: Body
    parts: tuple[Part, ...] = ()
    shape: tuple[int, ...] = (64, 64)
    oversampling: Setting = 2.5
    detector: Detector = Detector()
    copies: Copies = Copies()
    real: bool = False

    def __post_init__(self) -> None:
        for name, kind in (("body", Body), ("detector", Detector), ("copies", Copies)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"Simulation({name}={getattr(self, name)!r}): expected a {kind.__name__}")
        if not isinstance(self.parts, tuple) or not all(isinstance(p, Part) for p in self.parts):
            names = ", ".join(p.__name__ for p in PARTS)
            raise InputError(
                f"Simulation(parts={self.parts!r}): expected a tuple of parts, such as (Waves(), Dislocations(2)); known: {names}"
            )
        if not isinstance(self.shape, tuple) or not all(is_int(n) and n > 0 for n in self.shape):
            raise InputError(f"Simulation(shape={self.shape!r}): expected whole numbers, such as (64, 64)")
        if not isinstance(self.real, bool):
            raise InputError(f"Simulation(real={self.real!r}): expected True or False")
        require_within(self, "oversampling", 1, 1000)
        check_size(self.shape, self.oversampling)
        self.body.check(len(self.shape))
        self.detector.check(self.shape)

    def __repr__(self) -> str:
        return expression.write(self)

    def draw(self, seed: int, indices: Sequence[int], device: str = "cpu") -> Samples:
        """The samples of these indices. On a CPU, sample i has the same bits in every batch; on a GPU it is the same to rounding (and may
        have other counts where a mean was rounded otherwise)."""
        import torch

        with one_thread():  # the same bits, however many there are
            streams = Streams(seed, indices, device)
            grid = PixelGrid(self.shape, device)
            half = half_extents(self.shape, self.oversampling, streams)
            scene = Scene.of(grid, self.body.place(grid, half, streams), half, streams)
            for part in self.parts:
                part.add(scene, streams)
            x = scene.magnitude.to(torch.complex64) if self.real else torch.polar(scene.magnitude, scene.phase)
            x = grid.array(x)
            size = (2 * half + 1).round(3)
            labels = [{"index": int(i), "seed": seed, "extent": s.tolist(), **label} for i, s, label in zip(indices, size, scene.labels)]
            x = self.copies.apply(x, streams, labels)
            exposure = self.detector.expose(x, streams)
            labels = [{**label, "detector": d} for label, d in zip(labels, exposure.labels, strict=True)]
            return Samples(exposure.x, exposure.x != 0, exposure.intensity, exposure.measured, labels)


NAMES: dict[str, type] = {
    c.__name__: c
    for c in (
        *(Simulation, Copies, Detector, Total, Peak, Between, OneOf),
        *(Polygon, Polyhedron, Wulff, Hull, Blob, Notched, Joined, Mix),
        *PARTS,
    )
}

_PI = float(np.pi)
_STRAIN = (Waves(Between(0.0, 2.0), Between(4.0, 6.0)), Relaxation(Between(0.0, 1.0), Between(2.0, 5.0)), Bend(Between(0.0, 4.0)))
_DEFECTS = (Dislocations(Between(0, 3)), Faults(Between(0, 1)))
_EXPOSED = Detector(Total(Between(1e5, 1e7, log=True)), beamstop=OneOf((0, 0, 2, 3)))
_CRYSTALS_2D = Simulation(Polygon(Between(4, 10)), (*_STRAIN, *_DEFECTS), oversampling=Between(2.1, 3.5), detector=_EXPOSED)
_CRYSTALS_3D = replace(
    _CRYSTALS_2D,
    parts=(Waves(Between(0.0, 2.0), Between(5.0, 7.0)), *_STRAIN[1:], *_DEFECTS),
    body=Mix((Wulff(Between(1.0, 1.3), Between(1.05, 1.4), substrate=0.3), Polyhedron(Between(4, 9)))),
    shape=(64, 64, 64),
    detector=Detector(Total(Between(3e6, 1e8, log=True)), beamstop=OneOf((0, 0, 2, 3))),
)
_CDI_NN = Simulation(
    Hull(Between(3, 12), Between(0.4, 1.0)),
    (Gratings(Between(0, 3), Between(0, 4), Between(8.0, 64.0), Between(2.0, 12.0), Between(0.0, 2 * _PI)),),
    shape=(32, 32),
    oversampling=1.0,
    detector=Detector(Total(1e6), noise=False),
)


def _regimes(name: str, base: Simulation) -> dict[str, Simulation]:
    """A recipe and the regimes that are held out of it, so that training and test can differ by more than the sample."""
    flat = len(base.shape) == 2
    faceted = Polygon(Between(4, 10)) if flat else Wulff(Between(1.0, 1.3), Between(1.05, 1.4))
    return {
        name: base,
        f"{name}/strong-phase": replace(
            base, parts=(Waves(Between(2.5, 5.0), Between(4.0, 6.0) if flat else Between(5.0, 7.0)), *base.parts[1:])
        ),
        f"{name}/many-defects": replace(base, parts=(*base.parts[:3], Dislocations(Between(4, 8)), Faults(Between(1, 3)))),
        f"{name}/non-convex": replace(base, body=Mix((Notched(faceted), Joined(faceted)))),
        f"{name}/oversampling": replace(base, oversampling=Between(3.8, 5.5)),
        f"{name}/domains": replace(base, parts=(Waves(Between(0.0, 0.5)), Domains(Between(6, 19)))),
        f"{name}/inversion-twins": replace(base, parts=(*base.parts[:2], Domains(Between(3, 8), values=2))),
        f"{name}/twins": replace(base, parts=(*base.parts[:3], Twin(1.0))),
        f"{name}/low-dose": replace(base, detector=Detector(Total(Between(1e4, 1e5, log=True) if flat else Between(3e5, 3e6, log=True)))),
    }


#: The recipes of data sets, by name: "crystals-2d" and others.
RECIPES: dict[str, Simulation] = {
    **_regimes("crystals-2d", _CRYSTALS_2D),
    **_regimes("crystals-3d", _CRYSTALS_3D),
    "cdi-nn": _CDI_NN,
    "cdi-nn-64": replace(_CDI_NN, shape=(64, 64), oversampling=2.0),
    "cells": Simulation(
        Blob(Between(0.03, 0.12)), (Organelles(Between(4, 16)),), oversampling=Between(2.1, 3.5), detector=_EXPOSED, real=True
    ),
    "textures": Simulation(
        Blob(Between(0.03, 0.12)),
        (Texture(Between(0.3, 0.9), Between(2.0, 4.0)), Waves(Between(0.5, 3.0), Between(3.0, 5.0))),
        oversampling=Between(2.1, 3.5),
        detector=_EXPOSED,
    ),
}


def simulation(recipe: str | Simulation, **changes: Any) -> Simulation:
    """A recipe by its name in RECIPES, by its text, or as it is; with some of its settings changed, such as shape=(128, 128)."""
    if isinstance(recipe, str):
        if recipe.strip() in RECIPES:
            recipe = RECIPES[recipe.strip()]
        elif "(" in recipe:
            recipe = expression.read(recipe, NAMES)
        else:
            near = difflib.get_close_matches(recipe, RECIPES, n=1)
            hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(RECIPES)
            raise InputError(f"no recipe {recipe!r}; {hint} (or write one out, as Simulation(Polygon(6), (Waves(1.0),)))")
    if not isinstance(recipe, Simulation):
        raise InputError(f"{recipe!r} is no Simulation; take a name, such as crystals-2d, or write one out, as Simulation(Polygon(6))")
    return replace(recipe, **changes) if changes else recipe


def crystal(
    shape: tuple[int, ...],
    dislocations: int = 0,
    faults: int = 0,
    photons: float = 3e7,
    beamstop: float = 0.0,
    oversampling: float = 2.5,
    strain: float = 1.0,
    coherence: float = 0.0,
    background: float = 0.0,
    stray: float = 0.0,
    hot: int = 0,
    clipped: float = 0.0,
) -> Simulation:
    """One faceted, smoothly strained crystal with so many dislocations (visible ones) and faults. strain: rms of its phase, rad.

    coherence, background, stray, clipped: as in `Detector`. hot: pixels that read 1000 counts and are in no mask (its hot_unmasked).
    """
    body: Body = Polygon(Between(5, 8)) if len(shape) == 2 else Wulff(Between(1.0, 1.3), Between(1.05, 1.4), substrate=0.3)
    parts: tuple[Part, ...] = (Waves(strain, 5.0 if len(shape) == 2 else 6.0), Relaxation(Between(0.0, 0.5)))
    parts += (Dislocations(dislocations, visible=1.0),) if dislocations else ()
    parts += (Faults(faults),) if faults else ()
    detector = Detector(Total(photons), True, coherence, background, stray, beamstop, hot_unmasked=hot, clipped=clipped)
    return Simulation(body, parts, shape, oversampling, detector)
