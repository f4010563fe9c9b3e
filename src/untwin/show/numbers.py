"""What the page says in words and numbers: of a solution, of its data, of how it was made, of its starts."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from typing import TYPE_CHECKING

from untwin.judge.trust import SAME_ERROR
from untwin.show.page import digits
from untwin.show.runs import agrees, living_starts

if TYPE_CHECKING:
    from untwin.bragg.maps import StrainMap
    from untwin.runs.solution import Reconstruction

ONLY_TRUSTED = {"resolution_pixels", "resolution_metres", "first_mode_weight"}  # they compare results that may be wrong together

# name in Reconstruction.numbers -> what a person calls it, what it means, factor to the screen's unit, unit
NUMBERS: dict[str, tuple[str, str, float, str]] = {
    "r_factor": (
        "R-factor",
        "distance of calculated from measured amplitudes; 0 is perfect, noise sets the floor",
        1,
        "",
    ),
    "chi_square_amplitude": ("chi-square of amplitudes", "0.7 to 1.2 in right results; more means that something is not explained", 1, ""),
    "chi_square_intensity": ("chi-square of intensities", "0.3 to 1.1 in right results: the less, the darker the pattern", 1, ""),
    "log_likelihood": (
        "log-likelihood",
        "Poisson half deviance per pixel; 0.28 to 0.5 in right results: the less, the darker the pattern",
        1,
        "",
    ),
    "log_likelihood_expected": ("log-likelihood, expected", "what counting noise alone would give", 1, ""),
    "working_log_likelihood": (
        "log-likelihood, working",
        "of the pixels used, in a run that hides a few others",
        1,
        "",
    ),
    "free_log_likelihood": (
        "log-likelihood, free",
        "of those hidden; 1.1 to 4 times the working one in right results",
        1,
        "",
    ),
    "misfit": (
        "misfit",
        "half deviance over what noise alone would give; about 1 where the object (of a mean: a likely one beside it) explains the counts",
        1,
        "",
    ),
    "worst_shell_misfit": ("misfit, worst shell", "the same of the spatial frequencies that are explained worst", 1, ""),
    "noise_error": (
        "noise",
        "error that noise alone leaves: from two halves of the photons, or of other numbers from what the fit leaves",
        1,
        "",
    ),
    "rounding_error": ("rounding", "error that is left where faint numbers were rounded to 0; only of numbers that are no counts", 1, ""),
    "symmetric_error": (
        "symmetric object",
        "error between the result and a point-symmetric object that explains the counts better with a blur of the pattern",
        1,
        "",
    ),
    "twin_error": ("twin", "error between the result and its twin behind masks, which explains the data as well", 1, ""),
    "likely_error": ("likely object", "error between the mean that is shown and the more likely object that the misfit is of", 1, ""),
    "replicas": ("replicas", "results of counts drawn anew, for the error of the strain", 1, ""),
    "worst_shell": ("worst shell", "where that is", 1, "cycles per pixel"),
    "background": ("background", "flat, found in the counts and in the model", 1, "counts per pixel"),
    "background_error": ("background, error", "one standard deviation", 1, "counts per pixel"),
    "coherence_ratio": ("coherence, half likelihood ratio", "of a blurred pattern to a sharp one; below 10 the beam is coherent", 1, ""),
    "coherence_explained": (
        "coherence, share of the misfit",
        "that a blur explains; 1 where little is left; below 0.3 it is something else",
        1,
        "",
    ),
    "coherence_sigma": ("coherence, blur of the pattern", "standard deviation, the mean over the axes, in the model", 1, "pixels"),
    "coherence_major": ("coherence, widest blur", "along its principal axis", 1, "pixels"),
    "coherence_minor": ("coherence, narrowest blur", "along its principal axis", 1, "pixels"),
    "phase_deviations": (
        "phase, standard deviations",
        "by which a complex object explains the data better than chance would; above 6 the object is not real",
        1,
        "",
    ),
    "phase_explained": ("phase, share of the misfit", "that it explains", 1, ""),
    "outliers": ("outliers", "hot and saturated pixels, masked", 1, "pixels"),
    "strays": ("strays", "pixels with light that no object explains, masked", 1, "pixels"),
    "refined": ("refined", "1: the mean of the families after a deep prior is shown; 0: it is not", 1, ""),
    "log_likelihood_plain": ("log-likelihood, plain", "before the refinement", 1, ""),
    "log_likelihood_refined": ("log-likelihood, refined", "after it", 1, ""),
    "refined_agreement": ("agreement, refined", "error between the families after the refinement", 1, ""),
    "refined_explained": ("log-likelihood, refined, over the expected", "up to 1.3 right, even if no other family is like it", 1, ""),
    "score": ("score", "half deviance plus the number of unknowns; lower is better", 1, ""),
    "agreement": ("agreement", "error between independent results: 0 the same, 1 unrelated", 1, ""),
    "starts": ("starts", "independent, each from its own seed", 1, ""),
    "starts_agreeing": (
        "starts that agree",
        f"single ones, within {SAME_ERROR:g} of the object shown after alignment; 0 to all in right results",
        1,
        "",
    ),
    "twins_turned": ("twins", "of those, how many came out turned and conjugate, which the data cannot tell", 1, ""),
    "families": ("families", "groups of starts that share nothing", 1, ""),
    "families_agreeing": ("families that agree", f"whose result is within {SAME_ERROR:g} of the solution, with its own", 1, ""),
    "families_overruled": ("families overruled", "whose most likely start the others are not like", 1, ""),
    "runs_kept": ("runs kept", "results and starts that ended at the same object: for modes and PRTF", 1, ""),
    "first_mode_weight": (
        "first mode",
        "share of the power that the results of one object have in common; it does not say that they are right",
        1,
        "",
    ),
    "support_pixels": ("support", "pixels in which the object may be", 1, "pixels"),
    "support_fraction": ("support, share of the array", "", 1, ""),
    "resolution_pixels": ("resolution, full period", "from the PRTF", 1, "object pixels"),
    "resolution_metres": ("resolution, full period", "from the PRTF", 1e9, "nm"),
    "photons": ("photons", "counted on the measured pixels; the sum of the intensity where the numbers are no counts", 1, ""),
    "measured_fraction": ("measured share", "of the detector's pixels", 1, ""),
    "hidden_speckles": ("hidden speckles", "variations of which nothing was measured, behind a stop or in gaps", 1, ""),
    "power_unmeasured": (
        "unmeasured power",
        "calculated where nothing was measured, relative to the photons counted; up to 2.4 in right results behind a stop",
        1,
        "",
    ),
    "seconds": ("time", "on the clock", 1, "s"),
    "cpu_seconds": ("processor time", "all cores together", 1, "s"),
}

# name in StrainMap.numbers -> what a person calls it, factor to the screen's unit, unit
STRAIN: dict[str, tuple[str, float, str]] = {
    "strain_rms": ("strain, rms in the bulk", 1, ""),
    "strain_error": ("strain, standard error (median in the bulk)", 1, ""),
    "strain_rms_surface": ("strain, rms at the surface", 1, ""),
    "strain_error_surface": ("strain, standard error at the surface (median)", 1, ""),
    "replicas": ("independent results", 1, ""),
    "dislocations": ("dislocation lines", 1, ""),
    "volume": ("volume", 1e27, " nm³"),
    "diameter": ("diameter of the sphere of this volume", 1e9, " nm"),
    "extent_x": ("extent along x", 1e9, " nm"),
    "extent_y": ("extent along y", 1e9, " nm"),
    "extent_z": ("extent along z", 1e9, " nm"),
    "phase_range": ("phase, range", 1, " rad"),
    "q": ("q", 1e-9, " 1/nm"),
    "d_spacing": ("2π/q", 1e9, " nm"),
}


def number_rows(solution: Reconstruction) -> list[dict[str, str]]:
    """Of the table of numbers. What means nothing without agreement is left out of a result that is not trusted."""
    rows = []
    for name, value in solution.numbers.items():
        if name in ONLY_TRUSTED and solution.verdict.trusted is not True:
            continue
        title, meaning, factor, unit = NUMBERS.get(name, (name.replace("_", " "), "", 1, ""))
        text = digits(value * factor) if math.isfinite(value) else "cannot tell"
        rows.append({"name": name, "title": title, "value": text, "unit": unit, "meaning": meaning})
    return rows


def crystal_rows(strain: StrainMap) -> dict[str, str]:
    known = {name: row for name, row in STRAIN.items() if name in strain.numbers}
    return {title: digits(strain.numbers[name] * factor) + unit for name, (title, factor, unit) in known.items()}


def data_rows(solution: Reconstruction) -> dict[str, str]:
    pattern, geometry = solution.pattern, solution.pattern.geometry
    rows = {
        "file": pattern.source.path or "given as an array",
        "dataset": pattern.source.dataset or "",
        "sha256": pattern.source.sha256 or "",
        "mask": pattern.source.mask or "",
        "flat": pattern.source.flat or "",
        **{name.replace("_", " "): str(value) for name, value in pattern.source.options.items()},
        "sensitivity": "" if pattern.sensitivity is None else "in the model",
        "dark": pattern.source.dark or ("" if pattern.dark is None else "in the model"),
        "shape": " × ".join(map(str, pattern.shape)),
        "photons" if pattern.counted else "intensity": digits(pattern.photons) + ("" if pattern.counted else ", no counts of photons"),
        "measured pixels": f"{100 * float(pattern.measured.mean()):.4g} %",
        "zero frequency": ", ".join(f"{c:g}" for c in pattern.source.centre) if pattern.source.centre else "",
    }
    for name, value in solution.numbers.items():
        if name.startswith("oversampling"):
            rows[name.replace("_", " ")] = f"{value:.3g}"
    if geometry.wavelength:
        rows["wavelength"] = f"{1e10 * geometry.wavelength:.5g} Å"
    if geometry.distance:
        rows["detector distance"] = f"{geometry.distance:.5g} m"
    if geometry.pixel_size:
        rows["detector pixel"] = " × ".join(f"{1e6 * p:.4g}" for p in geometry.pixel_size) + " µm"
    voxel = pattern.voxel_size
    rows["object pixel"] = " × ".join(f"{1e9 * v:.4g}" for v in voxel) + " nm" if voxel else "not known: no geometry was given"
    return {name: text for name, text in rows.items() if text}


def parameter_rows(solution: Reconstruction) -> dict[str, str]:
    rows = {
        "seed": str(solution.seed),
        "starts": str(len(living_starts(solution))),
        "constraint": solution.conditions.constraint or ("real and not negative" if solution.positivity else "complex, inside the support"),
        "convention": "forward transform Σ x exp(−2πi k·r/N), unitary; object oriented as the detector, axis 0 down",
    }
    for package in ("untwin", "torch", "numpy", "scipy", "matplotlib"):
        rows[package] = _version(package)
    rows["Python"] = platform.python_version()
    return rows


def _version(package: str) -> str:
    if package == "untwin":
        import untwin

        return untwin.__version__
    return importlib.metadata.version(package)


def start_rows(solution: Reconstruction) -> list[dict[str, str]]:
    """Of the table of starts, best first; what failed at the end."""
    rows = []
    for s in [*living_starts(solution), *(s for s in solution.starts if s.reason)]:
        remark = s.reason or ("" if math.isnan(s.error) else "✘ another object")
        if agrees(s):
            remark = "✔ like the object shown" + (", as its twin" if s.twin else "")
        row = {"seed": str(s.seed), "r_factor": _finite(s.r_factor, ".4f"), "score": _finite(s.score, ".6g"), "support": str(s.support)}
        rows.append(row | {"error": _finite(s.error, ".3f"), "remark": remark})
    return rows


def _finite(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"
