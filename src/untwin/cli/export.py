"""untwin export: a result for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def export(
    folder: Path,
    *,
    to: Literal["vti", "vts", "npz", "tiff", "stl"] | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    overwrite: bool = False,
) -> None:
    """Write the object of a result for ParaView (vti, vts), numpy (npz), ImageJ (tiff) or a viewer of meshes (stl).

    Strain maps are written by untwin bragg and untwin strain, into FOLDER/strain.

    Parameters
    ----------
    folder
        What untwin reconstruct has written.
    to
        vti: magnitude, phase and support on a regular grid. vts: the same where each voxel is, also of an oblique grid. npz: image,
        support, voxel sizes. tiff: two stacks, magnitude and phase. stl: the surface at half the bulk's magnitude. By default the ending
        of --output.
    output
        The file; by default object.vti and so on in the folder.
    overwrite
        Replace files of these names.
    """
    from untwin.data.atomic import new_file
    from untwin.errors import InputError
    from untwin.runs.archive import load

    if to is None and output is None:
        raise InputError("export to what? Give --to vti, vts, npz, tiff or stl, or a file name with -o")
    root = folder if folder.is_dir() else folder.parent
    path = output or root / f"object.{to}"
    kind = to or {"tif": "tiff"}.get(path.suffix[1:].lower(), path.suffix[1:].lower())
    endings = {"tiff": (".tiff", ".tif")}.get(kind, (f".{kind}",) if to else (".vti", ".vts", ".npz", ".tiff", ".tif", ".stl"))
    for target in [path.with_name(f"{path.stem}_{name}{path.suffix}") for name in ("magnitude", "phase")] if kind == "tiff" else [path]:
        new_file(target, endings, overwrite)
    from untwin.show.export import export as write

    for target in write(load(folder), path, kind):
        print(f"written: {target}")
