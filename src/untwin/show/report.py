"""The report: one page that stands alone, and the same figures as files for a paper."""

from __future__ import annotations

import base64
import importlib.metadata
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.atomic import atomic_write_bytes
from untwin.judge.trust import SAME_ERROR
from untwin.show.exposures import plot_fitted_exposures
from untwin.show.object import plot_isosurface, plot_magnitude, plot_object, plot_profiles
from untwin.show.pattern import plot_intensity
from untwin.show.runs import plot_convergence, plot_resolution, plot_starts
from untwin.show.strain import plot_strain, plot_strain_surface
from untwin.show.style import encoded, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from untwin.bragg.maps import StrainMap
    from untwin.runs.solution import Reconstruction


@dataclass(frozen=True)
class Drawing:
    """A figure of the report. draw, of a Reconstruction or of a StrainMap, returns None where it does not apply. caption: one sentence on
    how to read it. alt: what is in it, for someone who cannot see it."""

    draw: Callable[[Any], Figure | None]
    title: str
    caption: str
    alt: str


FIGURES: dict[str, Drawing] = {
    "object": Drawing(
        plot_object,
        "The object",
        "What was reconstructed, zoomed to its support: magnitude (how strongly a point scatters) in grey, phase "
        "in cyclic colours (a full turn ends where it began; for a Bragg peak it is the displacement of the "
        "lattice), the mean phase set to 0.",
        "Magnitude and phase of the reconstructed object with a scale bar.",
    ),
    "isosurface": Drawing(
        plot_isosurface,
        "The surface",
        "Where the magnitude falls to half that of the bulk, coloured by the phase there and seen from two "
        "opposite sides; a crystal should show flat facets and no holes.",
        "Three-dimensional surface of the object from two sides, coloured by phase.",
    ),
    "intensity": Drawing(
        plot_intensity,
        "Measured and calculated intensity",
        "The detector's counts, the counts that the object would give (also where nothing was measured), and the "
        "difference of their square roots: pure noise without rings or stripes, about ±0.5 where counts are many,"
        " means that the object explains the data.",
        "Measured intensity, calculated intensity and their residual on the detector.",
    ),
    "exposures": Drawing(
        plot_fitted_exposures,
        "Measured and calculated exposures",
        "What was measured, what the object would give, and the difference of their square roots: pure noise without structure, about ±0.5 "
        "where counts are many, means that the object explains the data.",
        "Measured and calculated intensity and their residual for the first exposures.",
    ),
    "convergence": Drawing(
        plot_convergence,
        "Convergence",
        "R-factor (relative distance between calculated and measured amplitudes, lower is better) against "
        "iteration: lines that end flat have converged, lines that end at different heights found different "
        "answers.",
        "R-factor against iteration for the starts, log scale.",
    ),
    "starts": Drawing(
        plot_starts,
        "Agreement between starts",
        "Each mark is a reconstruction from other random phases, best score first, and below how far its object "
        "is from the solution after shift, twin and phase are taken out (0 the same, 1 unrelated): an answer that"
        " many starts find is one to believe.",
        "Score of every start and its error to the solution, agreeing and disagreeing starts marked.",
    ),
    "resolution": Drawing(
        plot_resolution,
        "Resolution",
        "How reproducible each spatial frequency is: the phase retrieval transfer function compares the mean of "
        "the starts with the data, the Fourier shell correlation two independent results; where a curve falls "
        "below its level (dot) is the finest full period to believe, and half of it is the smallest feature.",
        "PRTF and FSC against spatial frequency with their threshold levels and crossings.",
    ),
    "magnitude": Drawing(
        plot_magnitude,
        "Magnitudes in the support",
        "A uniform object gives one narrow peak; what lies left of the dashed line is outside the drawn surface, "
        "so a large part there means a support that is too loose, and no clear peak means varying density or "
        "noise.",
        "Histogram of the magnitude inside the support with the surface level.",
    ),
    "profiles": Drawing(
        plot_profiles,
        "Profiles through the centre",
        "Magnitude along each axis through the centre of the support (grey band), with the distance of the 10 to "
        "90 % rise at both edges; the support cuts the object, so widths of one or two pixels show the support "
        "and not the resolution.",
        "Line profiles of the magnitude along each axis.",
    ),
}

STRAIN_FIGURES: dict[str, Drawing] = {
    "strain": Drawing(
        plot_strain,
        "Strain",
        "Three planes through the middle of the crystal in the laboratory (z downstream, y up): the displacement of the lattice along q, "
        "its strain (red is tension), and by how much the strain differs between independent results; what is grey is not known.",
        "Displacement, strain and standard error of the strain in three planes, with scale bars.",
    ),
    "strain_surface": Drawing(
        plot_strain_surface,
        "Strain on the surface",
        "Where the magnitude falls to half that of the bulk, in the laboratory, coloured by the strain of the nearest voxel inside.",
        "Three-dimensional surface of the crystal from two sides, coloured by strain.",
    ),
}

# name in Reconstruction.numbers -> what a person calls it, what it means, factor to the screen's unit, unit
_NUMBERS: dict[str, tuple[str, str, float, str]] = {
    "r_factor": (
        "R-factor",
        "distance of calculated from measured amplitudes; 0 is perfect, noise sets the floor",
        1,
        "",
    ),
    "chi_square_amplitude": ("chi-square of amplitudes", "about 1 where only counting noise is left", 1, ""),
    "chi_square_intensity": ("chi-square of intensities", "about 1 where only counting noise is left", 1, ""),
    "log_likelihood": (
        "log-likelihood",
        "Poisson half deviance per pixel; about 0.5 at the noise, lower where dark",
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
    "free_log_likelihood": ("log-likelihood, free", "of those hidden: much larger means fitted to noise", 1, ""),
    "misfit": (
        "misfit",
        "half deviance over what noise alone would give; about 1 where the object (of a mean: a likely one beside it) explains the counts",
        1,
        "",
    ),
    "worst_shell_misfit": ("misfit, worst shell", "the same of the spatial frequencies that are explained worst", 1, ""),
    "noise_error": ("noise", "error that counting noise alone leaves, from two halves of the photons", 1, ""),
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
    "refined": ("refined", "1 where the mean of the families after a deep prior is shown, 0 where it was given up", 1, ""),
    "log_likelihood_plain": ("log-likelihood, plain", "before the refinement", 1, ""),
    "log_likelihood_refined": ("log-likelihood, refined", "after it", 1, ""),
    "refined_agreement": ("agreement, refined", "error between the families after the refinement", 1, ""),
    "refined_explained": ("log-likelihood, refined, over the expected", "up to 1.3 right, even if no other family is like it", 1, ""),
    "score": ("score", "half deviance plus the number of unknowns; lower is better", 1, ""),
    "agreement": ("agreement", "error between independent results: 0 the same, 1 unrelated", 1, ""),
    "starts": ("starts", "independent, each from its own seed", 1, ""),
    "starts_agreeing": ("starts that agree", f"within {SAME_ERROR:g} of the solution after alignment", 1, ""),
    "twins_turned": ("twins", "of those, how many came out turned and conjugate, which the data cannot tell", 1, ""),
    "families": ("families", "groups of starts that never saw one another", 1, ""),
    "families_agreeing": ("families that agree", f"whose result is within {SAME_ERROR:g} of the solution, with its own", 1, ""),
    "families_overruled": ("families overruled", "whose most likely start the others are not like", 1, ""),
    "runs_kept": ("runs kept", "results and starts that ended alike: for modes and PRTF", 1, ""),
    "first_mode_weight": ("first mode", "share of the power that the runs have in common; 1 is perfect", 1, ""),
    "support_pixels": ("support", "pixels in which the object may be", 1, "pixels"),
    "support_fraction": ("support, share of the array", "", 1, ""),
    "resolution_pixels": ("resolution, full period", "from the PRTF", 1, "object pixels"),
    "resolution_metres": ("resolution, full period", "from the PRTF", 1e9, "nm"),
    "photons": ("photons", "counted on the measured pixels; the sum of the intensity where the numbers are no counts", 1, ""),
    "measured_fraction": ("measured share", "of the detector's pixels", 1, ""),
    "hidden_speckles": ("hidden speckles", "variations of which nothing was measured, behind a stop or in gaps", 1, ""),
    "power_unmeasured": (
        "unmeasured power",
        "calculated where nothing was measured, relative to the photons counted",
        1,
        "",
    ),
    "seconds": ("time", "on the clock", 1, "s"),
    "cpu_seconds": ("processor time", "all cores together", 1, "s"),
}

# name in StrainMap.numbers -> what a person calls it, factor to the screen's unit, unit
_STRAIN: dict[str, tuple[str, float, str]] = {
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

VERDICTS = {  # colour is never the only sign: each has its symbol and its words
    True: ("trusted", "✔", "Trusted"),
    False: ("doubted", "✘", "Do not trust"),
    None: ("unknown", "?", "Cannot say"),
}

STYLE_SHEET = """
:root { color-scheme: light dark; --ink: #1d2530; --paper: #ffffff; --soft: #5a6675; --line: #d5dbe2; --box: #f4f6f8;
  --good: #0b6b4f; --bad: #a83c00; --open: #7a5600; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --paper: #14181d; --soft: #a3aebb; --line: #39424d;
  --box: #1e242b; --good: #3fc79a; --bad: #ff9056; --open: #f0bf4c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.sub, figcaption, .note { color: var(--soft); }
.verdict { border-left: .5rem solid var(--state); background: var(--box); padding: .8rem 1.1rem; margin: 1rem 0; }
.verdict strong { color: var(--state); font-size: 1.3rem; } .verdict p { margin: .3rem 0; }
.trusted { --state: var(--good); } .doubted { --state: var(--bad); } .unknown { --state: var(--open); }
.warnings { border: 1px solid var(--open); padding: .2rem 1.1rem; margin: 1rem 0; } .warnings h2 { margin: .6rem 0 0; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; background: #fff;
  border: 1px solid var(--line); border-radius: 4px; padding: 4px; }
figcaption { margin: .5rem 0 0; max-width: 80ch; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--box); padding: .7rem 1rem; }
td { overflow-wrap: anywhere; }
@media print { :root { --ink: #000; --paper: #fff; --soft: #333; --line: #bbb; --box: #f4f4f4;
  --good: #0b6b4f; --bad: #a83c00; --open: #7a5600; } body { font-size: 11pt; max-width: none; padding: 0; }
  section, figure, .verdict { break-inside: avoid; }
  .verdict { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def report(solution: Reconstruction, path: str | Path, strain: StrainMap | None = None) -> Path:
    """Write the report to `path` (an .html file, or a folder that gets report.html) and every figure beside it as
    figures/NAME.png and figures/NAME.pdf. strain: of the same crystal, on a regular grid. Returns the page's path. The page needs no other
    file and no network. Raises InputError where it cannot be written."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        path = path / "report.html"
    drawn = [(name, drawing, drawing.draw(solution)) for name, drawing in FIGURES.items()]
    if strain is not None:
        drawn[1:1] = [(name, drawing, drawing.draw(strain)) for name, drawing in STRAIN_FIGURES.items()]
    sections = [_section(name, drawing, figure, path.parent / "figures") for name, drawing, figure in drawn if figure is not None]
    atomic_write_bytes(path, _page(solution, sections, strain).encode("utf-8", "backslashreplace"))
    return path


def _section(name: str, drawing: Drawing, figure: Figure, folder: Path) -> str:
    """Of the page; the figure as files, too."""
    png = encoded(figure, "png")
    atomic_write_bytes(folder / f"{name}.png", png)
    save_figure(figure, folder / f"{name}.pdf")
    return (
        f'<section id="{name}"><h2>{escape(drawing.title)}</h2><figure>'
        f'<img alt="{escape(drawing.alt)}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
        f"<figcaption>{escape(drawing.caption)}</figcaption></figure></section>"
    )


def _page(solution: Reconstruction, sections: list[str], strain: StrainMap | None) -> str:
    source = solution.pattern.source.path or "pattern"
    kind, symbol, words = VERDICTS[solution.verdict.trusted]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(words)}: {escape(Path(source).name)} (untwin)</title><style>{STYLE_SHEET}</style></head><body>
<header><h1>{escape(Path(source).name)}</h1><div class="sub">Phase retrieval by untwin</div></header>
<main><div class="verdict {kind}" role="status"><strong><span aria-hidden="true">{symbol}</span> {words}</strong>
<p>{escape(solution.verdict.text)}</p></div>
{_warnings_section(solution)}
{"".join(sections)}
{_strain_section(strain)}{_preparation(solution.pattern.preparation)}<section><h2>Numbers</h2>{_numbers_section(solution)}</section>
<section><h2>Data</h2>{table(_data(solution))}</section>
<section><h2>How it was made</h2><pre>{escape(solution.recipe)}</pre>{table(_parameters(solution))}
<p class="note">Versions are those that wrote this page.</p></section>
{_starts_section(solution)}
</main></body></html>
"""


def _warnings_section(solution: Reconstruction) -> str:
    warnings = list(dict.fromkeys((*solution.pattern.warnings, *solution.warnings)))
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(w)}</li>" for w in warnings)
    return f'<section class="warnings"><h2>⚠ Guesses and doubts</h2><ul>{items}</ul></section>'


def _strain_section(strain: StrainMap | None) -> str:
    """Its numbers, and every sentence that goes with them."""
    if strain is None:
        return ""
    rows = {
        title: digits(strain.numbers[name] * factor) + unit for name, (title, factor, unit) in _STRAIN.items() if name in strain.numbers
    }
    notes = "".join(f"<li>{escape(sentence)}</li>" for sentence in strain.notes)
    return f"<section><h2>The crystal</h2>{table(rows)}<ul>{notes}</ul></section>\n"


def _preparation(steps: tuple[str, ...]) -> str:
    items = "".join(f"<li>{escape(step)}</li>" for step in steps)
    return f"<section><h2>From the frames to the pattern</h2><ol>{items}</ol></section>\n" if steps else ""


def _numbers_section(solution: Reconstruction) -> str:
    rows = []
    for name, value in solution.numbers.items():
        title, meaning, factor, unit = _NUMBERS.get(name, (name.replace("_", " "), "", 1, ""))
        scaled = value * factor
        text = digits(scaled) if math.isfinite(scaled) else "cannot tell"
        rows.append(f'<tr><th>{escape(title)}</th><td class="n">{text}</td><td>{unit}</td><td class="note">{meaning}</td></tr>')
    if not rows:
        return '<p class="note">None were recorded.</p>'
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def _data(solution: Reconstruction) -> dict[str, str]:
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


def _parameters(solution: Reconstruction) -> dict[str, str]:
    rows = {
        "seed": str(solution.seed),
        "starts": str(len(solution.starts)),
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


def _starts_section(solution: Reconstruction) -> str:
    if not solution.starts:
        return ""
    numeric = ("seed", "R-factor", "score", "support", "error to the solution")
    head = "".join(f'<th class="n">{h}</th>' for h in numeric) + "<th>twin</th><th>remark</th>"
    rows = []
    for s in sorted(solution.starts, key=lambda s: (bool(s.reason), s.score if math.isfinite(s.score) else math.inf)):
        cells = [
            str(s.seed),
            _finite(s.r_factor, ".4f"),
            _finite(s.score, ".6g"),
            str(s.support),
            _finite(s.error, ".3f"),
        ]
        agree = s.error < SAME_ERROR and not s.reason
        remark = s.reason or ("✔ agrees" if agree else "" if math.isnan(s.error) else "✘ does not agree")
        rows.append(
            "<tr>"
            + "".join(f'<td class="n">{c}</td>' for c in cells)
            + f"<td>{'turned back' if s.twin else ''}</td><td>{escape(remark)}</td></tr>"
        )
    return (
        f'<section><h2>Starts, best first</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def digits(value: float) -> str:
    """Four digits that count; large numbers whole, in groups of three."""
    return f"{value:,.0f}".replace(",", "\u2009") if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def _finite(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def table(rows: dict[str, str]) -> str:
    body = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<div class="scroll"><table>{body}</table></div>'
