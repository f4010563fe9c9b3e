"""A result as files for other programs: ParaView, ImageJ, a mesh viewer, numpy."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from untwin.bragg.strain import ISOSURFACE, level
from untwin.data.atomic import atomic_write_bytes
from untwin.data.paraview import NM, write_vti, write_vts
from untwin.data.stl import write_stl
from untwin.errors import InputError
from untwin.show.style import axis_names, without_mean_phase
from untwin.show.surface import steps_of, surface_of

if TYPE_CHECKING:
    from untwin.runs.solution import Reconstruction

KINDS = ("vti", "vts", "npz", "tiff", "stl")
EVERY = 10**9  # triangles of a surface, at most: all


def export(solution: Reconstruction, path: str | Path, kind: str | None = None) -> tuple[Path, ...]:
    """Write the object of a solution for another program; the paths of what was written.

    kind: by default the ending of the path.
    vti: magnitude, phase and support on a regular grid, for ParaView; only where the grid is one. vts: the same where each voxel is, in the
    laboratory for a scan about a Bragg peak. Both in nm, or in pixels where no geometry is known; a 2D object is a volume of one plane.
    npz: image (complex64), support, about (JSON), and where they are known voxel_size and voxel_vectors (row a the step x, y, z along
    axis a) in m.
    tiff: two stacks of float32, NAME_magnitude.tiff (√photons) and NAME_phase.tiff (radians, 0 outside the support).
    stl: the surface at half the bulk's magnitude, in nm or pixels; of a volume.
    Phases are those of an object whose mean phase is 0. Files that exist are replaced. Raises InputError.
    """
    path = Path(path)
    kind = kind or {"tif": "tiff"}.get(path.suffix[1:].lower(), path.suffix[1:].lower())
    if kind not in KINDS:
        raise InputError(f"cannot export to {kind or path.name!r}; expected one of {', '.join(KINDS)}")
    support = solution.support.numpy()
    image = without_mean_phase(solution.image.numpy(), support)
    if image.ndim not in (2, 3):
        raise InputError(f"an object of shape {image.shape}; expected one in 2 or 3 dimensions")
    write = {"vti": _write_vti, "vts": _write_vts, "npz": _write_npz, "tiff": _write_tiff, "stl": _write_stl}[kind]
    return write(solution, image, support, path)


def _grid(solution: Reconstruction) -> tuple[np.ndarray, str]:
    """(3, 3) in units of the file, row a the step (x, y, z) along axis a of a volume; a 2D object is one plane of it."""
    if solution.image.ndim == 3:
        steps, unit, _ = steps_of(solution)
        return steps, unit
    voxel = solution.pattern.voxel_size
    y, x = (NM * v for v in voxel) if voxel else (1.0, 1.0)
    return np.diag([x, y, x])[::-1], "nm" if voxel else "pixels"


def _fields(image: np.ndarray, support: np.ndarray) -> dict[str, np.ndarray]:
    shape = (1,) * (3 - image.ndim) + image.shape
    phase = np.where(support, np.angle(image), 0).astype(np.float32)
    fields = {"magnitude": np.abs(image).astype(np.float32), "phase": phase, "support": support.astype(np.uint8)}
    return {name: values.reshape(shape) for name, values in fields.items()}


def _about(solution: Reconstruction, unit: str) -> dict[str, str]:
    frame = "laboratory: z downstream, y up" if solution.pattern.geometry.sampling else "array: x to the right, y down, as the detector"
    return {
        "program": "untwin",
        "lengths": unit,
        "frame": frame,
        "magnitude": "√photons" if solution.pattern.counted else "√intensity",
        "phase": "radians, 0 outside the support, mean 0",
        "verdict": solution.verdict.text,
    }


def _write_vti(solution: Reconstruction, image: np.ndarray, support: np.ndarray, path: Path) -> tuple[Path, ...]:
    steps, unit = _grid(solution)
    spacing = steps[::-1].diagonal()
    if not np.allclose(steps[::-1], np.diag(spacing), atol=1e-9 * np.abs(steps).max()):
        raise InputError(
            "the voxels of this scan are oblique, which a .vti cannot hold; export to vts, or see untwin strain, whose "
            "strain/laboratory.vti is on a regular grid"
        )
    fields = _fields(image, support)
    origin = -(np.array(fields["phase"].shape) // 2)[::-1] * spacing
    return (write_vti(path, fields, origin=origin / NM, spacing=spacing / NM, texts=_about(solution, unit)),)


def _write_vts(solution: Reconstruction, image: np.ndarray, support: np.ndarray, path: Path) -> tuple[Path, ...]:
    steps, unit = _grid(solution)
    fields = _fields(image, support)
    origin = -(np.array(fields["phase"].shape) // 2) @ steps
    return (write_vts(path, fields, origin=origin / NM, steps=steps / NM, texts=_about(solution, unit)),)


def _write_npz(solution: Reconstruction, image: np.ndarray, support: np.ndarray, path: Path) -> tuple[Path, ...]:
    arrays = {"image": image, "support": support}
    if solution.pattern.voxel_size:
        arrays["voxel_size"] = np.array(solution.pattern.voxel_size)
        arrays["voxel_vectors"] = _grid(solution)[0][-image.ndim :] / NM
    buffer = io.BytesIO()
    about = _about(solution, "m" if solution.pattern.voxel_size else "pixels")
    np.savez_compressed(buffer, about=np.array(json.dumps(about, ensure_ascii=False)), **arrays)  # pyright: ignore[reportArgumentType]
    atomic_write_bytes(path, buffer.getvalue())
    return (path,)


def _write_tiff(solution: Reconstruction, image: np.ndarray, support: np.ndarray, path: Path) -> tuple[Path, ...]:
    import tifffile

    voxel, names = solution.pattern.voxel_size, axis_names(image.ndim).upper()
    metadata: dict[str, object] = {"axes": names}
    if voxel:
        metadata |= {f"PhysicalSize{name}": NM * size for name, size in zip(names, voxel)}
        metadata |= {f"PhysicalSize{name}Unit": "nm" for name in names}
    fields, paths = _fields(image, support), []
    for name in ("magnitude", "phase"):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, fields[name].reshape(image.shape), metadata=metadata, ome=True, photometric="minisblack")
        paths.append(path.with_name(f"{path.stem}_{name}{path.suffix or '.tiff'}"))
        atomic_write_bytes(paths[-1], buffer.getvalue())
    return tuple(paths)


def _write_stl(solution: Reconstruction, image: np.ndarray, support: np.ndarray, path: Path) -> tuple[Path, ...]:
    if image.ndim != 3:
        raise InputError("a surface is that of a volume, and this object has two dimensions; expected vti, vts, npz or tiff")
    steps, unit = _grid(solution)
    surface = surface_of(image, ISOSURFACE * level(image, support), steps, EVERY)
    if surface is None:
        raise InputError("the object is 0 everywhere; there is no surface to export")
    return (write_stl(path, surface.points, surface.faces, f"untwin, surface at half the bulk's magnitude, in {unit}"),)
