"""The figures of a strain map and of its facets as a table for a spreadsheet: one line for each, with its unit and what it means."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from untwin.bragg.facets import Facet
from untwin.bragg.maps import StrainMap
from untwin.data.atomic import atomic_write_text

# name: unit, meaning
MEANINGS = {
    "volume": ("m^3", "of the crystal"),
    "diameter": ("m", "of the ball of the same volume"),
    "extent_x": ("m", "of the crystal along x of the laboratory"),
    "extent_y": ("m", "of the crystal along y of the laboratory"),
    "extent_z": ("m", "of the crystal along z of the laboratory"),
    "support_voxels": ("", "voxels of the crystal in the reconstruction's grid"),
    "bulk_voxels": ("", "of them, away from the surface and from dislocations"),
    "core_voxels": ("", "of them, about dislocations: no strain there"),
    "hole_voxels": ("", "dark voxels that the crystal encloses: no strain there"),
    "pieces": ("", "of the crystal"),
    "support_share": ("", "share of the result's support that is in the crystal"),
    "voxel_volume": ("m^3", "of the reconstruction's grid"),
    "voxel_0": ("m", "step of the reconstruction's grid along axis 0"),
    "voxel_1": ("m", "step of the reconstruction's grid along axis 1"),
    "voxel_2": ("m", "step of the reconstruction's grid along axis 2"),
    "voxel": ("m", "step of this map's regular grid"),
    "strain_mean": ("", "mean strain of the bulk: the reference, 0 but for rounding"),
    "strain_rms": ("", "rms strain of the bulk about its mean"),
    "strain_mean_surface": ("", "mean strain of the surface voxels"),
    "strain_rms_surface": ("", "rms strain of the surface voxels about their mean"),
    "strain_error": ("", "median standard error of the strain of a voxel of the bulk"),
    "strain_error_surface": ("", "median standard error of the strain of a voxel of the surface"),
    "strain_error_limit": ("", "standard error above which a voxel is marked"),
    "uncertain_share": ("", "share of the bulk above that limit, or without strain"),
    "replicas": ("", "independent results that the standard error comes from"),
    "phase_range": ("rad", "largest minus smallest phase, unwrapped"),
    "large_steps": ("", "share of phase steps in the bulk above 0.8 pi"),
    "dislocations": ("", "lines about which the phase winds"),
    "dislocation_length": ("m", "of these lines together"),
    "q": ("rad/m", "length of the reference, ramp included"),
    "d_spacing": ("m", "2 pi / q: nominal unless the direct beam was calibrated"),
    "ramp_strain": ("", "mean strain that the removed ramp stands for"),
    "ramp_tilt": ("rad", "tilt of the lattice that the removed ramp stands for"),
}
OF_A_FACET = {
    "area": ("m^2", "of the facet"),
    "share": ("", "of the crystal's surface"),
    "distance": ("m", "from the centre of mass to the facet's plane"),
    "angle": ("degrees", "between the normal and q"),
    "spread": ("degrees", "rms of the directions of its middle about the normal"),
}


def table(result: StrainMap, facets: Sequence[Facet] = ()) -> list[tuple[str, str, str, str]]:
    """(quantity, value, unit, meaning) of every number of a map, and of facets, largest first."""
    rows = [(name, f"{value:.6g}", *MEANINGS.get(name, ("", ""))) for name, value in result.numbers.items()]
    for k, facet in enumerate(facets, 1):
        rows += [(f"facet_{k}_{name}", f"{getattr(facet, name):.6g}", *meaning) for name, meaning in OF_A_FACET.items()]
        axes = zip("xyz", result.axes, facet.normal, strict=True)
        rows += [(f"facet_{k}_normal_{x}", f"{n:.4f}", "", f"of its outward normal along {axis} ({result.frame})") for x, axis, n in axes]
        if facet.hkl is not None:
            hkl = " ".join(str(i) for i in facet.hkl)
            rows += [(f"facet_{k}_hkl", hkl, "", f"nearest small Miller indices, {facet.off:.1f} degrees off")]
    return rows


def write_numbers(path: Path, result: StrainMap, facets: Sequence[Facet] = ()) -> Path:
    """The table as a CSV file, UTF-8, a line of names first. Raises InputError where it cannot be written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("quantity", "value", "unit", "meaning"))
    writer.writerows(table(result, facets))
    atomic_write_text(path, text.getvalue())
    return path
