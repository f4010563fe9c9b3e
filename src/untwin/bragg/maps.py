"""Displacement and strain of a crystal along one wave vector transfer, voxel by voxel, in one of three frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from untwin.bragg.frame import Grid, Resampling, orientation, regular
from untwin.errors import InputError
from untwin.notebook import InNotebooks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONVENTION = "image phase = -q.u under exp(-i q.r) from object to detector; strain = d(u.q/|q|) / d(along q), tension positive"


@dataclass(frozen=True, eq=False, kw_only=True)
class StrainMap(InNotebooks):
    """Maps of one crystal. Arrays (*grid), slowest axis first; lengths in m; NaN outside the support and where nothing can be said.

    image: complex64, its linear phase and its offset removed. support: bool, the crystal: what is bright enough in the result's support.
    surface: bool, voxels of the support whose strain rests on a one-sided difference along some axis. core: bool, around the lines of
    dislocations: no strain is given there.
    displacement: float32, u·q/|q|, m, referred to its mean. strain: float32, a plain number, referred to its mean over the bulk.
    error: float32, standard error of the strain of each voxel; None where there is a single result. limit: of the error, or None.
    vectors: (3, 3) m, row a the step (x, y, z) in `frame` from one voxel to the next along axis a. origin: (3,) m, where the voxel
    (0, 0, 0) is. q: (3,) rad/m in `frame`, the reference that the strain is measured against, ramp included.
    frame: "array" (the oblique grid of the reconstruction, vectors in the laboratory), "laboratory" (CXI: z downstream, y up; axes of the
    arrays z, y, x) or "crystal" (z along q; or Miller axes). axes: names of the frame's x, y, z.
    dislocations: points (n, 3) m in `frame` of each line. rotation: (3, 3), from the laboratory to `frame`.
    notes: every guess and doubt, as sentences. numbers: every figure by name.
    """

    image: np.ndarray
    support: np.ndarray
    surface: np.ndarray
    core: np.ndarray
    displacement: np.ndarray
    strain: np.ndarray
    error: np.ndarray | None
    vectors: np.ndarray
    origin: np.ndarray
    q: np.ndarray
    frame: str = "array"
    axes: tuple[str, str, str] = ("x", "y", "z")
    limit: float | None = None
    dislocations: tuple[np.ndarray, ...] = ()
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    notes: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        bulk = self.strain[self.bulk]
        rms = f", strain {float(np.sqrt(np.nanmean(np.square(bulk)))):.2g} rms" if np.isfinite(bulk).any() else ""
        return f"StrainMap({' x '.join(map(str, self.support.shape))}, frame {self.frame}, {int(self.support.sum()):,} voxels{rms})"

    def plot(self) -> Figure:
        """A matplotlib Figure: displacement, strain and its standard error in three planes of the laboratory or of the crystal."""
        from untwin.show.strain import plot_strain  # an upward import: a method that users expect here

        return plot_strain(self)

    @property
    def bulk(self) -> np.ndarray:
        """bool: voxels of the support away from the surface and from cores."""
        return self.support & ~self.surface & ~self.core

    @property
    def uncertain(self) -> np.ndarray:
        """bool: voxels of the support whose standard error is above the limit, or that have no strain. Pictures grey them."""
        doubtful = self.support & ~np.isfinite(self.strain)
        if self.error is None or self.limit is None:
            return doubtful
        return doubtful | (self.support & ~(self.error <= self.limit))

    @property
    def spacing(self) -> np.ndarray:
        """float32, m: 2π/|q| (1 + strain), of the lattice planes. As good as the calibration of q: `notes` say whether it is nominal."""
        return (2 * np.pi / float(np.linalg.norm(self.q)) * (1 + self.strain.astype(np.float64))).astype(np.float32)

    @property
    def grid(self) -> Grid:
        return Grid(self.support.shape, self.vectors, self.origin)

    def in_frame(
        self,
        frame: str,
        *,
        voxel: float | None = None,
        second: tuple[float, float, float] | None = None,
        ub: np.ndarray | None = None,
    ) -> StrainMap:
        """On a regular grid just around the crystal, axes of the arrays z, y, x of the laboratory or of the crystal.

        voxel: its edge, m; None: the shortest step of the array's grid. second, ub: how the crystal lies (`frame.orientation`): without
        either its z is along q, and its x the laboratory's across q. Strain, displacement and error are means of the neighbours in the
        crystal with linear weights, and the strain is never differentiated again; the image is interpolated as a complex number.
        Raises InputError.
        """
        if frame == self.frame == "array":
            return self
        if self.frame != "array":
            raise InputError(f"this map is in the frame {self.frame!r}, interpolated already; expected the one that strain() gives")
        rotation, axes, notes = orientation(frame, self.q, second, ub)
        old = self.grid.rotated(rotation)
        new = regular(old, self.support, voxel)
        at = Resampling.between(old, new)
        support = at.linear(self.support) >= 0.5
        core = support & (at.within(self.core, self.support) > 0.5)
        bulk = at.within(self.bulk, self.support & ~self.core) > 0.5
        valid = support & ~core
        step = float(new.vectors[0, 2])
        choice = "the shortest step of the array's grid" if voxel is None else "chosen"
        notes.append(f"In the frame {frame} the voxels are cubes of {step * 1e9:.4g} nm, {choice}.")

        def carried(values: np.ndarray) -> np.ndarray:
            return np.where(valid, at.within(values, self.support & ~self.core), np.nan).astype(np.float32)

        return replace(
            self,
            image=at.linear(self.image).astype(np.complex64),
            support=support,
            surface=valid & ~bulk,
            core=core,
            displacement=carried(self.displacement),
            strain=carried(self.strain),
            error=None if self.error is None else carried(self.error),
            vectors=new.vectors,
            origin=new.origin,
            q=rotation @ self.q,
            frame=frame,
            axes=axes,
            dislocations=tuple(line @ rotation.T for line in self.dislocations),
            rotation=rotation,
            notes=(*self.notes, *notes),
            numbers={**self.numbers, "voxel": step},
        )
