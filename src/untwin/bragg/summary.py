"""What a strain map amounts to: its figures by name, and what must be said with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from untwin.bragg.maps import StrainMap

OFTEN = 0.005  # of the steps in the bulk: more of them near π are said
DARK = 0.5  # of the result's support: a larger share outside the crystal is said. A rim of one voxel about 330 nm has 0.27, of two 0.45


def described(
    result: StrainMap,
    extra: dict[str, float],
    *,
    twin: bool | None,
    isosurface: float,
    radius: float,
    calibrated: bool,
    notes: Sequence[str],
) -> StrainMap:
    """With numbers and notes. extra: further numbers."""
    numbers = {**sizes(result), **strains(result), **extra}
    sentences = [
        *notes,
        *_reference(numbers, calibrated),
        *_voxels(numbers, isosurface),
        *_lines(result, numbers, radius),
        *_certainty(result, numbers),
        _twin(twin),
    ]
    return replace(result, numbers=numbers, notes=tuple(sentences))


def sizes(result: StrainMap) -> dict[str, float]:
    """volume m³; diameter m, of the sphere of the same volume; extents m along the frame's axes; of a voxel its volume and its edges."""
    at = result.grid.positions(result.support)
    steps = np.abs(result.vectors)
    spans = [float(np.ptp(at[:, k]) + min(s for s in steps[:, k] if s > 0.01 * steps[:, k].max())) for k in range(3)]
    volume = float(result.support.sum() * result.grid.cell)
    edges = np.linalg.norm(result.vectors, axis=1)
    return {
        "volume": volume,
        "diameter": float((6 * volume / np.pi) ** (1 / 3)),
        **{f"extent_{axis}": span for axis, span in zip("xyz", spans, strict=True)},
        "voxel_volume": result.grid.cell,
        **{f"voxel_{k}": float(edge) for k, edge in enumerate(edges)},
        "support_voxels": float(result.support.sum()),
        "bulk_voxels": float(result.bulk.sum()),
        "core_voxels": float(result.core.sum()),
    }


def strains(result: StrainMap) -> dict[str, float]:
    """Of strain (mean and rms about the mean, bulk and surface), its error (median over the bulk), phase (range, rad) and q."""
    bulk, surface = result.strain[result.bulk], result.strain[result.surface & ~result.core]
    surface = surface[np.isfinite(surface)]
    phase = result.displacement[np.isfinite(result.displacement)] * float(np.linalg.norm(result.q))
    numbers = {
        "strain_mean": float(bulk.mean(dtype=np.float64)),
        "strain_rms": float(bulk.std(dtype=np.float64)),
        "strain_mean_surface": float(surface.mean(dtype=np.float64)) if surface.size else np.nan,
        "strain_rms_surface": float(surface.std(dtype=np.float64)) if surface.size else np.nan,
        "phase_range": float(np.ptp(phase)) if phase.size else np.nan,
        "dislocations": float(len(result.dislocations)),
        "q": float(np.linalg.norm(result.q)),
        "d_spacing": float(2 * np.pi / np.linalg.norm(result.q)),
    }
    if result.error is not None:
        numbers["strain_error"] = float(np.median(result.error[result.bulk]))
        numbers["strain_error_surface"] = float(np.nanmedian(result.error[result.surface])) if surface.size else np.nan
    if result.error is not None and result.limit is not None:
        numbers["strain_error_limit"] = result.limit
        numbers["uncertain_share"] = float(result.uncertain[result.bulk].mean())
    return numbers


def _reference(numbers: dict[str, float], calibrated: bool) -> list[str]:
    shift, tilt = numbers["ramp_strain"], np.degrees(numbers["ramp_tilt"])
    spacing = (
        f"2π/|q| there is a spacing of {numbers['d_spacing'] * 1e9:.5f} nm, by the calibration of the direct beam."
        if calibrated
        else f"2π/|q| there is {numbers['d_spacing'] * 1e9:.5f} nm, a nominal spacing: zeros of angles and energy are in it. "
        "calibrated=True (--calibrated) says that the direct beam was measured."
    )
    return [
        "Strain is referred to its mean over the bulk of the crystal, and displacement to its own.",
        f"A linear phase was removed: against the array's zero frequency it stands for a mean strain of {shift:.2e} and a tilt of "
        f"{tilt:.4f} degrees.",
        spacing,
    ]


def _voxels(numbers: dict[str, float], isosurface: float) -> list[str]:
    sentences = []
    if (dark := 1 - numbers["support_share"]) > DARK:
        sentences.append(
            f"{dark:.0%} of the result's support is darker than isosurface={isosurface:g} of the crystal's amplitude: it counts as outside."
        )
    if holes := int(numbers["hole_voxels"]):
        sentences.append(
            f"{holes:,} voxels inside the crystal are darker than isosurface={isosurface:g} of its amplitude, and have no strain."
        )
    if (large := numbers["large_steps"]) > OFTEN:
        sentences.append(
            f"{large:.1%} of the phase steps in the bulk are near π, and may be off by 2π: do not rely on the strain where it is large."
        )
    if numbers["pieces"] > 1:
        sentences.append(f"The crystal is in {int(numbers['pieces'])} pieces; the displacement of one against another is not known.")
    return sentences


def _lines(result: StrainMap, numbers: dict[str, float], radius: float) -> list[str]:
    if not result.dislocations:
        return []
    one = len(result.dislocations) == 1
    where = "; ".join("({:.0f}, {:.0f}, {:.0f})".format(*(line.mean(axis=0) * 1e9)) for line in result.dislocations[:5])
    more = len(result.dislocations) - 5
    return [
        f"The phase winds about {'a dislocation line' if one else f'{len(result.dislocations)} dislocation lines'}, "
        f"{numbers['dislocation_length'] * 1e9:.0f} nm of them in the crystal, their middles at x, y, z = {where} nm in the laboratory"
        f"{f' and {more} more' if more > 0 else ''}.",
        f"Within {radius:g} voxels of a line no strain is given, and the displacement has a cut that ends on it.",
    ]


def _certainty(result: StrainMap, numbers: dict[str, float]) -> list[str]:
    if result.error is None:
        unused = [] if result.limit is None else ["The limit of the standard error is not used: there is none."]
        return ["There is one result only: how far this strain can be believed is not known.", *unused]
    sentences = [
        f"The strain of this crystal is known to {numbers['strain_error']:.1e}: the median standard error of a voxel in the bulk, from "
        f"{int(numbers['replicas'])} independent results."
    ]
    if numbers["strain_error"] > numbers["strain_rms"]:
        sentences.append(f"That is more than the strain itself, {numbers['strain_rms']:.1e} rms in the bulk.")
    if result.limit is not None:
        sentences.append(f"{numbers['uncertain_share']:.0%} of the bulk are known less well than the limit of {result.limit:.1e}.")
    return sentences


def _twin(twin: bool | None) -> str:
    if twin is None:
        return (
            "A crystal and its twin, with the same strain at mirrored places, have one and the same pattern, which cannot tell which of "
            "the two this is. twin=True (--twin) gives the other one."
        )
    return f"This is the {'twin of the reconstruction' if twin else 'reconstruction and not its twin'}, by choice and not by the pattern."
