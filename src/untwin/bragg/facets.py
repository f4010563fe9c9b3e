"""Facets of a crystal: the directions that much of its surface has in common, with their areas.

The surface is where the amplitude is half of the crystal's: marching cubes in the map's own grid, oblique or not, vertices put where they
lie. Each triangle has the mean normal of its neighbourhood. The areas over the sphere of directions, smoothed, have peaks where there are
facets; mean shift brings every direction to its peak (Comaniciu and Meer, IEEE PAMI 24, 2002). A rounded edge between two facets is shared
out to the nearer one, projected, which gives each r sin θ/2 of a rounding of radius r where the sharp edge has r tan θ/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.bragg.maps import StrainMap
from untwin.bragg.strain import level
from untwin.errors import InputError

DIRECTIONS = 3000  # on the sphere: one for each 3.7 degrees square
WIDTH = np.radians(6.0)  # of the smoothing over directions; {111} and {100} are 55 degrees apart, {111} and {311} 29
APART = np.radians(18.0)  # nearer peaks are one facet
REACH = np.radians(40.0)  # farther from every facet's normal a triangle belongs to none
# Times the area per direction of a ball: less is no facet. Balls of 160 to 270 nm in voxels of 32 x 13 x 13 nm, as a crop of the far field
# leaves them, have peaks up to 2.1; facets with 3.1 to 3.5 % of a crystal's surface 2.7 to 3.6 in the laboratory's grid,
# 2.2 to 3.3 in the array's
FLAT = 2.4
SHARE = 0.01  # of the surface: smaller facets are not listed
# Voxels of the reconstruction: a smaller crystal is given none. Balls of 55 to 69 cubes have up to twelve, of 85 one in two of five, of 118
# and more none; in oblique voxels those of 80 have up to four, of 138 and more none (five balls of each size)
FEWEST = 150
SOFT = 0.7  # voxels, of the amplitude: without, a ball's peaks go up to 2.6
NEAR = 1.5  # steps of the grid: over so much the normals are averaged
STAIR = 0.65  # of the longest step of the reconstruction's grid, and at least over so much: a cut in voxels of 15 x 5 x 5 nm has stairs
FITS = np.radians(10.0)  # of a cubic crystal's small Miller indices: farther off, a facet has none
FAMILIES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (2, 2, 1), (3, 1, 0), (3, 1, 1), (3, 2, 1), (3, 3, 1))


@dataclass(frozen=True)
class Facet:
    """normal: outwards, (x, y, z) in the map's frame. area: m². share: of the surface. distance: from the crystal's centre of mass to the
    plane, m. angle: between the normal and q, degrees. spread: rms of the directions of its triangles about the normal, degrees.
    hkl: the small Miller indices nearest to the normal, in Miller axes of a cubic crystal; and how far off, degrees. Otherwise None, NaN.
    """

    normal: tuple[float, float, float]
    area: float
    share: float
    distance: float
    angle: float
    spread: float
    hkl: tuple[int, int, int] | None = None
    off: float = float("nan")


def facets(result: StrainMap, isosurface: float = 0.5) -> tuple[Facet, ...]:
    """Of the crystal in a map of any frame, largest first. isosurface: of the amplitude that half of its power lies above.

    None of a crystal of fewer than 150 voxels: they would be the grid's. Best from a map in the laboratory or the crystal, whose voxels
    are cubes: coarse steps of an oblique grid hide small facets. Raises InputError."""
    centres, normals, areas = surface(result, isosurface)
    if result.numbers.get("support_voxels", np.inf) < FEWEST:
        return ()
    longest = max(result.numbers.get(f"voxel_{k}", 0.0) for k in range(3))  # of the reconstruction's grid: there are its stairs
    smooth = _averaged(centres, normals, areas, max(STAIR * longest, NEAR * float(np.cbrt(result.grid.cell))))
    peaks = _peaks(smooth, areas)
    if not len(peaks):
        return ()
    middle = result.grid.positions(result.support).mean(axis=0)
    cosines = smooth @ peaks.T
    owner = np.where(cosines.max(axis=1) > np.cos(REACH), cosines.argmax(axis=1), -1)
    q = result.q / np.linalg.norm(result.q)
    rows = []
    for k, normal in enumerate(peaks):
        own = owner == k
        core = own & (cosines[:, k] > np.cos(APART / 2))
        area = float((areas[own] * np.clip(normals[own] @ normal, 0, None)).sum())
        if not core.any() or area < SHARE * areas.sum():
            continue
        distance = float(_median((centres[core] - middle) @ normal, areas[core]))
        spread = float(np.sqrt(np.average(np.arccos(np.clip(cosines[core, k], -1, 1)) ** 2, weights=areas[core])))
        hkl, off = _indices(normal) if result.axes == ("100", "010", "001") else (None, float("nan"))
        rows.append(
            Facet(
                normal=(float(normal[0]), float(normal[1]), float(normal[2])),
                area=area,
                share=area / float(areas.sum()),
                distance=distance,
                angle=float(np.degrees(np.arccos(np.clip(normal @ q, -1, 1)))),
                spread=float(np.degrees(spread)),
                hkl=hkl,
                off=off,
            )
        )
    return tuple(sorted(rows, key=lambda facet: -facet.area))


def surface(result: StrainMap, isosurface: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of the crystal's outer surface: centres (n, 3) m, unit normals outwards (n, 3), areas (n,) m², in the map's frame."""
    from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter
    from skimage.measure import marching_cubes

    size = np.abs(result.image).astype(np.float64)
    edge = isosurface * level(size, result.support)
    size = np.where(binary_dilation(result.support, iterations=2), size, 0)
    filled = np.asarray(binary_fill_holes(size >= edge))
    if not filled.any():
        raise InputError("no voxel of the support is above the isosurface; there is no surface to look for facets on")
    size = np.pad(np.where(filled, np.maximum(size, edge), size), 1)  # what the surface encloses is full; closed at the array's faces
    size = gaussian_filter(size, SOFT)
    at, triangles, _, _ = marching_cubes(size, edge, allow_degenerate=False)
    points = result.origin + (at - 1) @ result.vectors
    a, b, c = (points[triangles[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    centres = (a + b + c) / 3
    volume = float((centres * cross).sum())  # six times that of the body where the cross products point outwards
    cross *= np.sign(volume)
    double = np.linalg.norm(cross, axis=1)
    real = double > 0
    return centres[real], cross[real] / double[real, None], double[real] / 2


def _averaged(centres: np.ndarray, normals: np.ndarray, areas: np.ndarray, radius: float) -> np.ndarray:
    """Unit mean normals of the triangles within a radius of each."""
    from scipy.sparse import diags_array
    from scipy.spatial import KDTree

    tree = KDTree(centres)
    near = tree.sparse_distance_matrix(tree, radius, output_type="coo_matrix").tocsr()
    near.data[:] = 1
    near = near + diags_array(np.ones(len(centres)))
    total = near @ (normals * areas[:, None])
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def _peaks(normals: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(n, 3) unit vectors where the area per direction has a peak that a ball has not."""
    k = np.arange(DIRECTIONS) + 0.5
    z, turn = 1 - 2 * k / DIRECTIONS, np.pi * (1 + 5**0.5) * k
    sphere = np.column_stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z])  # a Fibonacci spiral
    weight = np.zeros(DIRECTIONS)
    from scipy.spatial import KDTree

    np.add.at(weight, KDTree(sphere).query(normals)[1], areas / areas.sum())
    lit = sphere[weight > 0]
    weight = weight[weight > 0]

    def kernel(at: np.ndarray) -> np.ndarray:
        return np.exp((at @ lit.T - 1) / WIDTH**2) * weight

    density = kernel(lit).sum(axis=1)
    near = lit @ lit.T > np.cos(APART / 2)
    at = lit[density >= np.where(near, density, 0).max(axis=1)]
    for _ in range(60):  # moves by less than 1e-6 rad after 40
        mean = kernel(at) @ lit
        at = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    # of a ball: the mean of the kernel over the sphere, 2π ∫ exp((cos θ − 1) / w²) sin θ dθ / 4π = w² / 2
    contrast = kernel(at).sum(axis=1) / (WIDTH**2 / 2)
    chosen: list[np.ndarray] = []
    for i in np.argsort(-contrast):
        if contrast[i] > FLAT and all(at[i] @ other < np.cos(APART) for other in chosen):
            chosen.append(at[i])
    return np.array(chosen).reshape(-1, 3)


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _indices(normal: np.ndarray) -> tuple[tuple[int, int, int] | None, float]:
    """The small Miller indices nearest to a direction in cubic axes, and how far off, degrees."""
    from itertools import permutations, product

    signs = list(product((1, -1), repeat=3))
    members = sorted({tuple(s * i for s, i in zip(sign, order)) for f in FAMILIES for order in permutations(f) for sign in signs})
    unit = np.array(members) / np.linalg.norm(members, axis=1, keepdims=True)
    best = int(np.argmax(unit @ normal))
    off = float(np.arccos(np.clip(unit[best] @ normal, -1, 1)))
    h, k, last = members[best]
    return ((int(h), int(k), int(last)) if off < FITS else None), float(np.degrees(off))
