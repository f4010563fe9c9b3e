"""Frames of a crystal: the array's oblique grid, the laboratory, the crystal; and maps brought from one grid to another.

A grid is (shape, vectors, origin): voxel m lies at origin + m @ vectors. An oblique grid keeps its handedness: positions decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.checks import number_argument
from untwin.errors import InputError

FRAMES = ("array", "laboratory", "crystal")
MOST = 2**28  # voxels of a regular grid: 1 GiB for each real map
PARALLEL = 0.02  # rad, between q and a second direction: below, noise decides where it points
WHOLE = 0.1  # Miller indices of a measured peak are nearer to whole numbers: detector zeros cost about 1 % (0.84 % on a measured gold 111)


@dataclass(frozen=True, eq=False)
class Grid:
    """shape: slowest axis first. vectors: (3, 3) m, row a the step (x, y, z) along axis a. origin: (3,) m, where voxel (0, 0, 0) is."""

    shape: tuple[int, ...]
    vectors: np.ndarray
    origin: np.ndarray

    @property
    def cell(self) -> float:
        """Volume of a voxel, m³."""
        return float(abs(np.linalg.det(self.vectors)))

    def rotated(self, rotation: np.ndarray) -> Grid:
        """The same voxels in other axes: r' = rotation @ r."""
        return Grid(self.shape, self.vectors @ rotation.T, rotation @ self.origin)

    def positions(self, inside: np.ndarray) -> np.ndarray:
        """(n, 3) m: where the voxels of a mask are."""
        return self.origin + np.argwhere(inside) @ self.vectors


def orientation(
    frame: str, q: np.ndarray, second: tuple[float, float, float] | None, ub: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, str, str], list[str]]:
    """(3, 3) rotation from the laboratory to a frame, the names of its axes, and what is to be said. Raises InputError.

    second: (x, y, z) in the laboratory; the crystal's x lies in the plane of q and this, on its side. Without: the laboratory's x, or its
    y where q is along x. ub: (3, 3), UB (h, k, l) = q in the laboratory as the crystal stands at the peak, with or without 2π: x along a*,
    y in the plane of a* and b*, z along c (Busing and Levy, Acta Cryst. 22, 1967); for cubic crystals 100, 010, 001.
    """
    if frame not in FRAMES[1:]:
        raise InputError(f"frame {frame!r} is not known; expected one of {', '.join(FRAMES)}")
    if frame == "laboratory":
        if second is not None or ub is not None:
            raise InputError("second and ub say how the crystal lies; the laboratory needs neither: expected frame 'crystal'")
        return np.eye(3), ("x", "y", "z"), []
    if second is not None and ub is not None:
        raise InputError("second and ub both say how the crystal lies; expected one of them")
    if ub is not None:
        return _miller(np.asarray(ub, dtype=np.float64), q)
    z = q / np.linalg.norm(q)
    notes = []
    if second is None:
        direction = np.eye(3)[0] if abs(z[0]) < 0.9 else np.eye(3)[1]
        notes = [f"x of the crystal's frame is the laboratory's {'xy'[int(direction[1])]} across q: second= or ub= decide otherwise."]
    else:
        direction = _vector("second", second)
    across = direction - (direction @ z) * z
    if np.linalg.norm(across) < PARALLEL * np.linalg.norm(direction):
        along, other = (",".join(f"{v:.6g}" for v in vector) for vector in (direction, np.eye(3)[np.abs(z).argmin()]))
        raise InputError(f"second={along} is along q; expected a direction across it, such as {other}")
    x = across / np.linalg.norm(across)
    return np.array([x, np.cross(z, x), z]), ("across q", "across q", "q"), notes


def _miller(ub: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, tuple[str, str, str], list[str]]:
    if ub.shape != (3, 3) or not np.isfinite(ub).all() or abs(np.linalg.det(ub)) < 1e-9 * np.linalg.norm(ub) ** 3:
        raise InputError(f"ub has shape {ub.shape}; expected 3 x 3 finite numbers whose columns span space")
    if np.linalg.det(ub) < 0:
        raise InputError("ub is left-handed; expected one of a right-handed crystal: has one of its axes the wrong sign?")
    lengths = np.linalg.norm(ub, axis=0)
    a, b, c = (ub / lengths).T
    z = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    cubic = max(abs(a @ b), abs(b @ c), abs(c @ a), np.ptp(lengths) / lengths.mean()) < 1e-3
    hkl = np.linalg.solve(ub, q) * 1e-10  # UB is in 1/Å everywhere
    choices = [v for v in (hkl, hkl / (2 * np.pi)) if np.abs(v).max() > 0.5 and np.abs(v - np.round(v)).max() < WHOLE]
    if not choices:
        shown = ", ".join(f"{v:.3f}" for v in hkl)
        raise InputError(f"ub gives the Miller indices ({shown}) to q; expected whole numbers: UB (h, k, l) = q in the laboratory, 1/Å")
    shown = ", ".join(f"{v:.3f}" for v in choices[0])
    names = ("100", "010", "001") if cubic else ("a*", "b* across a*", "c")
    return np.array([a, np.cross(z, a), z]), names, [f"The Miller indices of q are ({shown}) by this UB."]


def _vector(name: str, value: tuple[float, float, float]) -> np.ndarray:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise InputError(f"{name}={value!r}: expected a direction (x, y, z) in the laboratory")
    return vector


def regular(grid: Grid, inside: np.ndarray, voxel: float | None) -> Grid:
    """A grid along z, y, x just around the voxels of a mask, with one voxel to spare. voxel: m; None: the shortest step of the old grid.

    The old grid's middle voxel, r = 0 of a reconstruction, stays on a point. Raises InputError."""
    if not inside.any():
        raise InputError("the support is empty; there is no crystal to put on a grid")
    steps = np.linalg.norm(grid.vectors, axis=1)
    step = float(steps.min()) if voxel is None else number_argument("voxel", voxel, 0, above=True)
    at = grid.positions(inside)
    reach = np.abs(grid.vectors).sum(axis=0) / 2  # of a voxel about its middle
    low = np.floor((at.min(axis=0) - reach) / step) - 1
    shape = np.ceil((at.max(axis=0) + reach) / step) + 2 - low
    if shape.prod() > MOST:
        raise InputError(f"voxel={step:.3g} m: the grid would have {shape.prod():.3g} voxels; expected at most {MOST:.3g}: a larger voxel")
    return Grid(tuple(int(n) for n in shape[::-1]), step * np.eye(3)[::-1], low * step)


@dataclass(frozen=True, eq=False)
class Resampling:
    """Maps of one grid on another, linear between voxels. at: (3, *shape), where the new voxels are in the old grid's indices."""

    at: np.ndarray

    @classmethod
    def between(cls, old: Grid, new: Grid) -> Resampling:
        offset = (new.origin - old.origin) @ np.linalg.inv(old.vectors)
        matrix = new.vectors @ np.linalg.inv(old.vectors)  # row a: the change of the old indices along the new axis a
        index = [np.arange(n, dtype=np.float64).reshape([-1 if a == k else 1 for a in range(3)]) for k, n in enumerate(new.shape)]
        return cls(np.stack([sum(index[a] * matrix[a, k] for a in range(3)) + offset[k] for k in range(3)]))

    def linear(self, values: np.ndarray) -> np.ndarray:
        """float64 or complex128; 0 outside the old grid."""
        from scipy.ndimage import map_coordinates

        if np.iscomplexobj(values):
            return self.linear(np.real(values)) + 1j * self.linear(np.imag(values))
        return map_coordinates(np.asarray(values, dtype=np.float64), self.at, order=1, mode="constant")

    def within(self, values: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """float64: the mean of those neighbours in the old grid that are in the mask and finite, with linear weights; NaN without any."""
        valid = inside & np.isfinite(values)
        weight = self.linear(valid)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 1e-9, self.linear(np.where(valid, values, 0)) / weight, np.nan)
