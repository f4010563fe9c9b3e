"""Facets of a crystal with known ones, and the table of its numbers."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from untwin.bragg.facets import Facet, facets, surface
from untwin.bragg.maps import StrainMap
from untwin.bragg.numbers import MEANINGS, table, write_numbers
from untwin.bragg.strain import strain_of
from untwin.errors import InputError

VECTORS = np.array([[26e-9, 3e-9, -2e-9], [4e-9, 14e-9, 2e-9], [1e-9, -3e-9, 13e-9]])
SHAPE = (36, 64, 64)
Q = np.array([0.36, -0.64, 0.48]) / np.sqrt(0.36**2 + 0.64**2 + 0.48**2) * 2.7e10


def axes() -> np.ndarray:
    """Rows: the crystal's cubic axes in the laboratory, 111 along q."""
    z = Q / np.linalg.norm(Q)
    x = np.cross(z, [0.1, 0.2, 0.9])
    x /= np.linalg.norm(x)
    miller = np.array([[1, -1, 0], [1, 1, -2], [1, 1, 1]]) / np.sqrt([[2], [6], [3]])
    return miller.T @ np.array([x, np.cross(z, x), z])


def wulff(octahedral: float, cubic: float) -> tuple[np.ndarray, np.ndarray]:
    """Normals (14, 3) in cubic axes and heights, m."""
    corners = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)]) / np.sqrt(3)
    return np.concatenate([corners, np.eye(3), -np.eye(3)]), np.array([octahedral] * 8 + [cubic] * 6)


def areas(normals: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """m², of the faces of a convex polyhedron."""
    from scipy.spatial import ConvexHull, HalfspaceIntersection

    corners = HalfspaceIntersection(np.column_stack([normals, -heights * 1e9]), np.zeros(3)).intersections
    result = []
    for n, h in zip(normals, heights * 1e9, strict=True):
        across = np.linalg.svd(n[None])[2][1:]
        result.append(ConvexHull(corners[np.abs(corners @ n - h) < 1e-6] @ across.T, qhull_options="QJ").volume * 1e-18)
    return np.array(result)


def image(depth, hand: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude of a body, positive depth (m) inside, as a cropped far field leaves it: computed on half the voxels. And the vectors."""
    vectors = VECTORS * np.array([[hand], [1], [1]])
    fine = tuple(2 * n for n in SHAPE)
    r = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in fine], indexing="ij"), axis=-1) @ (vectors / 2)
    x = np.clip(0.5 + depth(r) / 7e-9, 0, 1)
    far = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))[tuple(slice(n // 2, n // 2 + n) for n in SHAPE)]
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(far))) / 8, vectors


def polyhedron(normals: np.ndarray, heights: np.ndarray):
    return lambda r: np.min([h - r @ n for n, h in zip(normals, heights, strict=True)], axis=0)


def mapped(x: np.ndarray, vectors: np.ndarray) -> StrainMap:
    return strain_of(x, np.abs(x) > 0.1 * np.abs(x).max(), vectors, Q)


@pytest.mark.parametrize("hand", [1, -1])
def test_the_facets_of_a_wulff_crystal_have_their_normals_areas_and_distances(hand):
    normals, heights = wulff(145e-9, 155e-9)
    heights = heights * np.linspace(0.95, 1.05, 14)
    x, vectors = image(polyhedron(normals @ axes(), heights), hand)
    m = mapped(x, vectors).in_frame("crystal", ub=axes().T * np.linalg.norm(Q) / np.sqrt(3) * 1e-10)
    listed = facets(m)
    truth = areas(normals, heights)
    assert len(listed) == 14 and sum(f.share for f in listed) == pytest.approx(1, abs=0.1)
    for n, h, area in zip(normals, heights, truth, strict=True):
        f = max(listed, key=lambda f: float(np.dot(f.normal, n)))
        assert np.degrees(np.arccos(min(1, np.dot(f.normal, n)))) < 2
        assert f.area == pytest.approx(area, rel=0.12) and f.distance == pytest.approx(h, abs=8e-9)
        assert f.hkl is not None and np.allclose(np.array(f.hkl) / np.linalg.norm(f.hkl), n) and f.off < 2
        assert f.angle == pytest.approx(np.degrees(np.arccos(np.clip(n.sum() / np.sqrt(3), -1, 1))), abs=2)
    assert [f.area for f in listed] == sorted((f.area for f in listed), reverse=True)


@pytest.mark.parametrize("radius", [80e-9, 120e-9])
def test_a_ball_has_no_facets_and_its_surface(radius):
    x, vectors = image(lambda r: radius - np.linalg.norm(r - 4e-9, axis=-1))
    m = mapped(x, vectors).in_frame("laboratory")
    centres, normals, size = surface(m)
    assert facets(m) == () and size.sum() == pytest.approx(4 * np.pi * radius**2, rel=0.06)
    out = centres - 4e-9
    assert (np.einsum("ij,ij->i", out, normals) > 0).all()


def test_a_crystal_of_a_few_voxels_has_no_facets():
    x, vectors = image(lambda r: 50e-9 - np.linalg.norm(r - 4e-9, axis=-1))
    m = mapped(x, vectors)
    assert 60 < m.support.sum() < 150 and facets(m) == facets(m.in_frame("laboratory")) == ()


def test_a_cavity_is_no_facet():
    normals, heights = wulff(140e-9, 150e-9)
    outside = polyhedron(normals @ axes(), heights)
    solid, _ = image(outside)
    hollow, vectors = image(lambda r: np.minimum(outside(r), np.linalg.norm(r, axis=-1) - 60e-9))
    both = [facets(mapped(x, vectors).in_frame("laboratory")) for x in (solid, hollow)]
    assert len(both[0]) == len(both[1]) and np.allclose([f.area for f in both[0]], [f.area for f in both[1]], rtol=0.05)


def test_nothing_above_the_isosurface_is_refused():
    x, vectors = image(lambda r: 100e-9 - np.linalg.norm(r, axis=-1))
    with pytest.raises(InputError, match="isosurface"):
        facets(mapped(x, vectors), isosurface=10)


def test_every_number_has_a_unit_and_a_meaning_and_comes_back_from_the_file(tmp_path):
    x, vectors = image(lambda r: 100e-9 - np.linalg.norm(r, axis=-1))
    body = np.abs(x) > 0.1
    m = strain_of(x, body, vectors, Q, replicas=np.stack([x, x]), limit=1e-4).in_frame("laboratory")
    assert set(m.numbers) == set(MEANINGS)
    facet = Facet((0.6, 0.0, 0.8), 2e-14, 0.3, 1e-7, 12.0, 3.0, (1, 1, 1), 0.7)
    path = write_numbers(tmp_path / "numbers.csv", m, (facet,))
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["quantity"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(table(m, (facet,))) == len(m.numbers) + 9
    assert float(rows["volume"]["value"]) == pytest.approx(m.numbers["volume"], rel=1e-5) and rows["volume"]["unit"] == "m^3"
    assert rows["facet_1_hkl"]["value"] == "1 1 1" and float(rows["facet_1_normal_z"]["value"]) == 0.8
    assert float(rows["facet_1_area"]["value"]) == 2e-14 and all(row["meaning"] for row in rows.values())
