"""Dislocations in the image of a crystal: lines about which its phase winds by 2π.

The phase steps about an elementary square of four voxels add up to a multiple of 2π, its winding number (a Burgers circuit, times Q; Clark
et al., Nature Materials 14, 2015). Windings form lines that end only at the surface. Noise makes windings, too, in small rings where the
amplitude is low: so a square counts where the phase also winds along a wider circuit about it, that of 3 x 3 squares, whose twelve voxels
are bright and whose steps are small. A dislocation with Q·b = 0 has no winding and stays unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BRIGHT = 0.3  # of the crystal's amplitude: each voxel of the wider circuit
# rad: the largest step on it. 3,000 lines at random in oblique voxels of 32 x 13 x 13 nm have 1.1 (median) to 1.9 at most on the best of
# the three circuits about them; a wall between opposite phases has π
STEP = 2.0
LEAST = 3  # such squares make a line
ENDS = 4.0  # voxels: so far beyond the wider circuits a line is followed to the surface
BLOCK = 4  # voxels: over so many a line counts as straight when its length is measured


@dataclass(frozen=True, eq=False)
class Line:
    """points: (n, 3), its squares' middles, indices. steps: (n, 3), the signed step of the line through each of them, indices."""

    points: np.ndarray
    steps: np.ndarray

    def length(self, vectors: np.ndarray) -> float:
        """m: steps add up over blocks of voxels, so that a stair counts as the slope that it stands for."""
        _, block = np.unique((self.points // BLOCK).astype(int), axis=0, return_inverse=True)
        total = np.zeros((block.max() + 1, 3))
        np.add.at(total, block.reshape(-1), self.steps)
        return float(np.linalg.norm(total @ vectors, axis=1).sum())


def lines(image: np.ndarray, support: np.ndarray, amplitude: float) -> tuple[Line, ...]:
    """Of an image (*grid) complex in its support, longest first. amplitude: of the crystal."""
    from scipy.ndimage import binary_closing, label
    from scipy.spatial import KDTree

    size = np.abs(image)
    phased = np.where(size > 0, image, 1)
    inside = binary_closing(np.pad(support, 2), iterations=2)[2:-2, 2:-2, 2:-2] | support  # a tight support may have a hole at a core
    bright = support & (size > BRIGHT * amplitude)
    steps = [np.angle(phased[_cut(a, 1, None)] * phased[_cut(a, None, -1)].conj()) for a in range(3)]
    points, windings, sure = [], [], []
    for normal in range(3):
        a, b = (k for k in range(3) if k != normal)
        number = _winding(steps, a, b)
        inner = _corners(inside, a, b)
        at = np.argwhere((number != 0) & inner)
        if not len(at):
            continue
        points.append(at + 0.5 * np.isin(np.arange(3), (a, b)))
        sign = 1 if (normal - a) % 3 == 2 else -1  # (a, b, normal) cyclic or not
        windings.append(sign * number[tuple(at.T)][:, None] * np.eye(3)[normal])
        sure.append(_wide(steps, number, bright, a, b)[tuple(at.T)])
    if not points or not np.concatenate(sure).any():
        return ()
    at, step, certain = np.concatenate(points), np.concatenate(windings), np.concatenate(sure)
    marks = np.zeros(np.array(image.shape) + 1, dtype=bool)
    marks[tuple(np.ceil(at[certain]).astype(int).T)] = marks[tuple(np.floor(at[certain]).astype(int).T)] = True
    labels, count = label(marks, np.ones((3, 3, 3)))  # type: ignore[misc]
    member = labels[tuple(np.floor(at).astype(int).T)] * certain
    result = []
    for k in range(1, count + 1):
        if int((member == k).sum()) >= LEAST:
            near = KDTree(at[member == k]).query(at, distance_upper_bound=ENDS)[0] < ENDS
            mine = (member == k) | (near & ~certain)
            result.append(Line(at[mine], step[mine]))
    return tuple(sorted(result, key=lambda line: -len(line.points)))


def core(lines: tuple[Line, ...], support: np.ndarray, radius: float) -> np.ndarray:
    """bool: voxels of the support within so many voxels of a line."""
    from scipy.spatial import KDTree

    near = np.zeros(support.shape, dtype=bool)
    if lines and radius > 0:
        at = np.argwhere(support)
        distance = KDTree(np.concatenate([line.points for line in lines])).query(at, distance_upper_bound=radius * 1.001)[0]
        near[tuple(at[np.isfinite(distance)].T)] = True
    return near


def _cut(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))


def _winding(steps: list[np.ndarray], a: int, b: int) -> np.ndarray:
    """Of the squares in the plane of two axes, by their first corner: one fewer along both."""
    total = steps[a][_cut(b, None, -1)] + steps[b][_cut(a, 1, None)] - steps[a][_cut(b, 1, None)] - steps[b][_cut(a, None, -1)]
    return np.rint(total / (2 * np.pi)).astype(np.int8)


def _corners(inside: np.ndarray, a: int, b: int) -> np.ndarray:
    """bool: squares whose four corners are in the mask."""
    pairs = inside[_cut(a, 1, None)] & inside[_cut(a, None, -1)]
    return pairs[_cut(b, 1, None)] & pairs[_cut(b, None, -1)]


def _wide(steps: list[np.ndarray], number: np.ndarray, bright: np.ndarray, a: int, b: int) -> np.ndarray:
    """bool, of the squares: the phase winds along the circuit of the 3 x 3 squares about each, through bright voxels and in small steps."""
    from scipy.ndimage import convolve

    block = np.ones([3 if k in (a, b) else 1 for k in range(3)], dtype=np.int8)
    winds = convolve(number, block, mode="constant") != 0
    fine = np.zeros(number.shape, dtype=bool)
    ring = np.ones(tuple(n - 2 if k in (a, b) else n for k, n in enumerate(number.shape)), dtype=bool)
    if not ring.size:
        return fine
    for along, across in ((a, b), (b, a)):
        good = (np.abs(steps[along]) < STEP) & bright[_cut(along, 1, None)] & bright[_cut(along, None, -1)]
        side = good[_cut(along, None, -2)] & good[_cut(along, 1, -1)] & good[_cut(along, 2, None)]  # three edges in a row
        ring &= side[_cut(across, None, -3)] & side[_cut(across, 3, None)]
    fine[tuple(slice(1, -1) if k in (a, b) else slice(None) for k in range(3))] = ring
    return fine & winds
