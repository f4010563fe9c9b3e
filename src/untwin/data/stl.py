"""Surfaces as STL files, which programs for meshes and for printing read: triangles and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untwin.data.atomic import atomic_write_bytes
from untwin.errors import InputError

_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(path: str | Path, points: np.ndarray, faces: np.ndarray, title: str = "") -> Path:
    """Binary STL (3D Systems, 1989): 80 bytes of title, the number of triangles, 50 bytes for each. points: (p, 3) in the unit that the
    title names, as the format has none. faces: (f, 3), corners counter-clockwise as seen from outside. The file appears whole or not at
    all. Raises InputError."""
    corners = np.asarray(points)[np.asarray(faces)]
    if corners.ndim != 3 or corners.shape[1:] != (3, 3) or not np.isfinite(corners).all():
        raise InputError(f"triangles of shape {corners.shape}; expected (f, 3, 3), all finite")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facets = np.zeros(len(corners), _FACET)
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    facets["corners"] = corners
    head = title.encode("ascii", "replace")[:80].ljust(80)
    atomic_write_bytes(Path(path), head + len(facets).to_bytes(4, "little") + facets.tobytes())
    return Path(path)
