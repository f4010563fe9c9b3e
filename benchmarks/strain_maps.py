"""Strain of a known crystal by several ways from phase to strain, in the geometry of a scan at 34-ID-C; and what thresholds cost.

    python benchmarks/strain_maps.py --json benchmarks/results/strain_maps.json

A crystal with {111} and {100} facets, about 300 nm, 111 along q, edges soft over one voxel, computed on a grid of half the voxels; its far
field is cropped to 96^3 and transformed back: the image that a perfect reconstruction of a cropped, noiseless, coherent pattern has. No
phase retrieval. The support is what is above 0.1 of the amplitude, as a reconstruction would leave it. Errors: rms over the bulk (one voxel
in), both maps referred to their means; wrong: voxels off by 1e-3. With a dislocation (phase winds by 2 pi about a line across q): 40 nm and
more from its line. Bulk of a laboratory map: at least one voxel inside, in that grid.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion
from skimage.restoration import unwrap_phase

from untwin.bragg.beamlines import TABLE
from untwin.bragg.frame import Resampling, regular
from untwin.bragg.instrument import Instrument
from untwin.bragg.strain import strain_of
from untwin.data.measurement import Geometry

SHAPE = (96, 96, 96)
AWAY = 40e-9  # m, from a dislocation
WRONG = 1e-3
CASES = (("smooth", None, 6.6e-4), ("three times that, with wraps", None, 2e-3), ("a dislocation", np.array([20e-9, 0.0, 15e-9]), 3e-4))


def scan_54() -> Geometry:
    """Angles, energy and distance as the header of a published scan at 34-ID-C has them."""
    frames = 201
    sample = np.column_stack([np.linspace(-0.279996, 0.720004, frames), np.full(frames, 90.0), np.full(frames, -5.0)])
    detector = np.tile([32.174, 12.6346], (frames, 1))
    return Instrument(TABLE["34idc"], sample, detector, np.full(frames, 9000.0), 0.5, (55e-6, 55e-6), (127.0, 127.0)).geometry(99, 127, 127)


@dataclass(frozen=True, eq=False)
class Crystal:
    """q: rad/m. line: a point of a dislocation across q, in `axes`, m; or None."""

    q: np.ndarray
    line: np.ndarray | None

    @property
    def axes(self) -> np.ndarray:
        """Rows: along q, and two across it."""
        z = self.q / np.linalg.norm(self.q)
        x = np.cross([0.0, 1.0, 0.0], z)
        x /= np.linalg.norm(x)
        return np.array([x, np.cross(z, x), z])

    def facets(self) -> tuple[np.ndarray, np.ndarray]:
        cube = np.eye(3)
        signs = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)]) / np.sqrt(3)
        miller = np.concatenate([cube, -cube, signs])
        heights = np.array([165e-9] * 6 + [140e-9, 150e-9, 145e-9, 150e-9, 140e-9, 155e-9, 150e-9, 130e-9])
        z = np.ones(3) / np.sqrt(3)  # 111 is along q
        x = np.array([1.0, -1.0, 0]) / np.sqrt(2)
        return miller @ np.array([x, np.cross(z, x), z]).T @ self.axes, heights

    def amplitude(self, r: np.ndarray, width: float) -> np.ndarray:
        normals, heights = self.facets()
        depth = np.full(r.shape[:-1], np.inf)
        for n, h in zip(normals, heights, strict=True):
            np.minimum(depth, h - r @ n, out=depth)
        return np.clip(0.5 + depth / width, 0, 1)

    def fields(self, r: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """u along q, m, and its strain."""
        x, y, z = np.moveaxis(r @ self.axes.T, -1, 0)
        k1, k2, k3 = 2 * np.pi / 420e-9, 2 * np.pi / 500e-9, 2 * np.pi / 700e-9
        u = strength * (z * z / 300e-9 + 40e-9 * np.sin(k1 * x + 0.3) * np.sin(k2 * z) + 30e-9 * np.cos(k3 * (x + y - z)))
        strain = strength * (2 * z / 300e-9 + 40e-9 * k2 * np.sin(k1 * x + 0.3) * np.cos(k2 * z) + 30e-9 * k3 * np.sin(k3 * (x + y - z)))
        if self.line is not None:
            px, pz = x - self.line[0], z - self.line[2]
            u = u + np.arctan2(pz, px) / np.linalg.norm(self.q)
            strain = strain + px / (px * px + pz * pz + 1e-30) / np.linalg.norm(self.q)
        return u, strain

    def away(self, r: np.ndarray) -> np.ndarray:
        if self.line is None:
            return np.full(r.shape[:-1], np.inf)
        x, _, z = np.moveaxis(r @ self.axes.T, -1, 0)
        return np.hypot(x - self.line[0], z - self.line[2])


def positions(shape: tuple[int, ...], vectors: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"), axis=-1)
    return index @ vectors


def image_of(crystal: Crystal, vectors: np.ndarray, strength: float) -> np.ndarray:
    """(*SHAPE): band-limited, as the crop of the far field leaves it."""
    fine = tuple(2 * n for n in SHAPE)
    r = positions(fine, vectors / 2)
    body = crystal.amplitude(r, float(np.linalg.norm(vectors / 2, axis=1).min()))
    u, _ = crystal.fields(r, strength)
    x = body * np.exp(-1j * np.linalg.norm(crystal.q) * u)
    far = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))
    crop = tuple(slice(n - n // 2, n - n // 2 + n) for n in SHAPE)
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(far[crop]))) * np.prod(SHAPE) / np.prod(fine)


def rms(values: np.ndarray, truth: np.ndarray, where: np.ndarray) -> tuple[float, int, int]:
    where = where & np.isfinite(values)
    error = (values - truth)[where]
    error = error - error.mean()
    return float(np.sqrt((error**2).mean())), int((np.abs(error) > WRONG).sum()), int(where.sum())


def gradient(phase: np.ndarray, vectors: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Strain from an unwrapped phase, by differences with the wrong neighbours where the crystal ends: for the bulk."""
    weights = np.linalg.solve(vectors.T, q) / (q @ q)
    return -np.einsum("a,a...->...", weights, np.stack(np.gradient(phase)))


def ways(crystal: Crystal, image: np.ndarray, support: np.ndarray, vectors: np.ndarray, strength: float) -> dict[str, list[float]]:
    q = crystal.q
    native = strain_of(image, support, vectors, q)
    r = positions(SHAPE, vectors)
    truth = crystal.fields(r, strength)[1]
    far = crystal.away(r) > AWAY
    bulk = native.bulk & far
    unwrapped = np.asarray(unwrap_phase(np.ma.masked_array(np.angle(native.image), ~native.support), rng=0))
    rows = {
        "native differences": rms(native.strain, truth, bulk),
        "native, surface voxels": rms(native.strain, truth, native.surface & far),
        "unwrap, then gradient": rms(gradient(unwrapped, vectors, native.q), truth, binary_erosion(native.support) & far),
    }
    laboratory = native.in_frame("laboratory", voxel=13e-9)
    at = laboratory.origin + np.stack(np.meshgrid(*map(np.arange, laboratory.support.shape), indexing="ij"), -1) @ laboratory.vectors
    truth, far = crystal.fields(at, strength)[1], crystal.away(at) > AWAY
    inside = binary_erosion(laboratory.bulk)
    rows["native, then linear to the laboratory"] = rms(laboratory.strain, truth, inside & far)
    again = strain_of(laboratory.image, laboratory.support, laboratory.vectors, laboratory.q)
    rows["complex image to the laboratory, then differences"] = rms(again.strain, truth, inside & far)
    grid = regular(native.grid, native.support, 13e-9)
    resampling = Resampling.between(native.grid, grid)
    parts = resampling.linear(np.abs(native.image)) * np.exp(1j * resampling.linear(np.angle(native.image)))
    apart = strain_of(parts, laboratory.support, laboratory.vectors, laboratory.q)
    rows["magnitude and phase apart, then differences"] = rms(apart.strain, truth, inside & far)
    if crystal.line is None:
        u = crystal.fields(r, strength)[0]
        k = native.displacement - u
        design = np.column_stack([r[bulk], np.ones(int(bulk.sum()))])
        rest = k[bulk] - design @ np.linalg.lstsq(design, k[bulk], rcond=None)[0]
        rows["displacement, nm"] = (float(rest.std() * 1e9), 0, int(bulk.sum()))
    return {key: [float(v) for v in value] for key, value in rows.items()}


def about_the_core(crystal: Crystal, image: np.ndarray, support: np.ndarray, vectors: np.ndarray, strength: float) -> list[list[float]]:
    """[voxels from the line, rms error, worst, voxels] with nothing excluded; the last row: how far the detected line is off, voxels."""
    result = strain_of(image, support, vectors, crystal.q, radius=0)
    r = positions(SHAPE, vectors)
    truth = crystal.fields(r, strength)[1]
    index = np.concatenate([(line - result.origin) @ np.linalg.inv(vectors) for line in result.dislocations])
    from scipy.spatial import KDTree

    at = np.argwhere(result.bulk)
    distance = KDTree(index).query(at)[0]
    error = (result.strain - truth)[tuple(at.T)]
    error = error - np.median(error)
    rows = []
    for k in range(6):
        ring = error[(distance >= k) & (distance < k + 1)]
        rows.append([k, float(np.sqrt((ring**2).mean())), float(np.abs(ring).max()), len(ring)])
    step = float(np.linalg.norm(vectors, axis=1).min())
    off = crystal.away(np.concatenate(result.dislocations)) / step
    return [*rows, [len(result.dislocations), float(off.mean()), float(off.max()), len(off)]]


def thresholds(crystal: Crystal, image: np.ndarray, support: np.ndarray, vectors: np.ndarray, strength: float) -> list[list[float]]:
    """[isosurface, volume / truth, rms in the bulk, at the surface]."""
    r = positions(SHAPE, vectors)
    truth = crystal.fields(r, strength)[1]
    fine = positions((192, 192, 192), vectors / 2)
    volume = float(crystal.amplitude(fine, 1e-9).sum() * abs(np.linalg.det(vectors / 2)))
    rows = []
    for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        m = strain_of(image, support, vectors, crystal.q, isosurface=level)
        rows.append([level, m.numbers["volume"] / volume, rms(m.strain, truth, m.bulk)[0], rms(m.strain, truth, m.surface)[0]])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    geometry = scan_54()
    vectors, q = geometry.voxel_vectors(SHAPE), np.array(geometry.q)
    assert vectors is not None
    show: Callable[[list[float]], str] = lambda v: f"{v[0]:.2g}, {int(v[1])} of {int(v[2]):,} wrong"  # noqa: E731
    results: dict[str, object] = {}
    columns = {}
    for name, line, strength in CASES:
        crystal = Crystal(q, line)
        image = image_of(crystal, vectors, strength)
        support = np.abs(image) > 0.1 * np.abs(image).max() / 1.2
        m = strain_of(image, support, vectors, q)
        print(name, {k: f"{v:.4g}" for k, v in m.numbers.items()})
        columns[name] = ways(crystal, image, support, vectors, strength)
        results[name] = {"numbers": m.numbers, "ways": columns[name]}
        if name == "smooth":
            results["isosurface"] = thresholds(crystal, image, support, vectors, strength)
        if line is not None:
            results["core"] = about_the_core(crystal, image, support, vectors, strength)
    print(f"\n| way | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for key in columns["smooth"]:
        print(f"| {key} | {' | '.join(show(c[key]) if key in c else '' for c in columns.values())} |")
    print("\n| isosurface | volume / truth | bulk | surface |\n|---|---|---|---|")
    for row in results["isosurface"]:  # type: ignore[union-attr]
        print("| {:.1f} | {:.3f} | {:.1e} | {:.1e} |".format(*row))
    print("\n| voxels from the line | rms | worst | voxels |\n|---|---|---|---|")
    for row in results["core"]:  # type: ignore[union-attr]
        print("| {} | {:.1e} | {:.1e} | {} |".format(*row))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
