"""The report: one page that stands alone, and the same figures as files for a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.atomic import atomic_write_bytes
from untwin.show.advice import advice
from untwin.show.exposures import plot_fitted_exposures
from untwin.show.numbers import crystal_rows, data_rows, number_rows, parameter_rows, start_rows
from untwin.show.object import loose_support, plot_magnitude, plot_object, plot_profiles
from untwin.show.orientation import Orientation
from untwin.show.page import VERDICTS, page, picture
from untwin.show.pattern import plot_intensity
from untwin.show.runs import plot_convergence, plot_resolution, plot_starts
from untwin.show.strain import plot_strain, plot_strain_surface
from untwin.show.style import encoded, save_figure
from untwin.show.surface import plot_isosurface
from untwin.show.view import object_view, strain_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from untwin.bragg.maps import StrainMap
    from untwin.runs.solution import Reconstruction


@dataclass(frozen=True)
class Drawing:
    """A figure of the report. draw, of a Reconstruction or of a StrainMap, returns None where it does not apply. caption: one sentence on
    how to read it. alt: what is in it, for someone who cannot see it. oriented: draw takes the orientation, too. view: what the page needs
    to let one turn it. remark: of a Reconstruction, a sentence more, or nothing; where there is no figure, it stands alone."""

    draw: Callable[..., Figure | None]
    title: str
    caption: str
    alt: str
    oriented: bool = False
    view: Callable[..., dict[str, Any] | None] | None = None
    remark: Callable[[Any], str] = lambda solution: ""


def _no_course(solution: Reconstruction) -> str:
    return "" if solution.course or not solution.history else "The stages after the starts were not recorded in this result."


def _no_resolution(solution: Reconstruction) -> str:
    if solution.verdict.trusted is True or (solution.prtf is None and solution.fsc is None):
        return ""
    return (
        "Not shown: PRTF and FSC say how similar results are, and results that are not trusted may be similar and wrong. "
        "The curves are in summary.json."
    )


FIGURES: dict[str, Drawing] = {
    "object": Drawing(
        plot_object,
        "The object",
        "What was reconstructed, zoomed to its support: magnitude (how strongly a point scatters; 1 is the level of the bulk) in grey, "
        "and the phase, its mean set to 0. Where the phase stays within a quarter of a turn, its colours end where it does; else they "
        "are cyclic: a full turn ends where it began. For a Bragg peak the phase is the displacement of the lattice.",
        "Magnitude and phase of the reconstructed object with a scale bar.",
        oriented=True,
    ),
    "isosurface": Drawing(
        plot_isosurface,
        "The surface",
        "Where the magnitude falls to half that of the bulk, coloured by the phase there; a crystal should show flat facets and no holes. "
        "Slices are planes of the array, grey where nothing is known.",
        "Three-dimensional surface of the object, coloured by phase.",
        oriented=True,
        view=object_view,
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
        "R-factor (relative distance between calculated and measured amplitudes, lower is better): of the starts against iteration, and"
        " of the best of every family after each stage of the plan. A line that ends flat has stopped at some object, right or wrong: "
        "what tells them apart is whether independent results agree.",
        "R-factor against iteration for the starts and after each stage, log scale.",
        remark=_no_course,
    ),
    "starts": Drawing(
        plot_starts,
        "Agreement between starts",
        "Each mark is a single start as the search left it, best score first, and below how far its object is from the one that is "
        "shown after shift, twin and phase are taken out (0 the same, 1 unrelated). An object that many starts find is one to believe; "
        "that few do says little, because the later stages improve them: the verdict compares the families after all stages.",
        "Score of every start and its error to the object that is shown, agreeing and disagreeing starts marked.",
    ),
    "resolution": Drawing(
        plot_resolution,
        "Resolution",
        "How reproducible each spatial frequency is: the phase retrieval transfer function compares the mean of the similar "
        "results with the data, the Fourier shell correlation two independent results; where a curve falls below its level (dot) is the "
        "finest full period to believe, and half of it is the smallest feature.",
        "PRTF and FSC against spatial frequency with their threshold levels and crossings.",
        remark=_no_resolution,
    ),
    "magnitude": Drawing(
        plot_magnitude,
        "Magnitudes in the support",
        "An object of one density gives one narrow peak; several densities give a broad one. What lies left of the dashed line is outside "
        "the drawn surface: faint parts of the object, or a support that is too loose.",
        "Histogram of the magnitude inside the support with the surface level.",
        remark=loose_support,
    ),
    "profiles": Drawing(
        plot_profiles,
        "Profiles through the centre",
        "Magnitude along each axis through the centre of the support (grey band), with the distance of the 10 to "
        "90 % rise at both edges; the support cuts the object, so widths of one or two pixels show the support "
        "and not the resolution.",
        "Line profiles of the magnitude along each axis.",
        oriented=True,
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
        "Three-dimensional surface of the crystal, coloured by strain.",
        view=strain_view,
    ),
}


def report(
    solution: Reconstruction,
    path: str | Path,
    strain: StrainMap | None = None,
    *,
    pdf: bool = False,
    twin: bool = False,
    flip: str = "",
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report to `path` (an .html file, or a folder that gets report.html) and every figure beside it as figures/NAME.png.

    strain: of the same crystal, on a regular grid. pdf: figures/NAME.pdf, too. twin: show the twin of the object. flip: axes that are
    drawn in the other direction, such as "y"; both change nothing but the page, which says so. options: of the run, for the command that
    the page advises.
    Returns the page's path. The page needs no other file and no network. Raises InputError where it cannot be written, or where the object
    cannot be shown so.
    """
    path, shown = Path(path), Orientation(twin, flip)
    shown.require(solution, strain)
    if path.suffix.lower() not in (".html", ".htm"):
        path = path / "report.html"
    drawings: list[tuple[str, Drawing, Any]] = [(name, drawing, solution) for name, drawing in FIGURES.items()]
    if strain is not None:
        strain = shown.applied_to_strain(strain)
        drawings[1:1] = [(name, drawing, strain) for name, drawing in STRAIN_FIGURES.items()]
    sections = [_section(name, drawing, subject, shown, path.parent / "figures", pdf) for name, drawing, subject in drawings]
    if strain is not None:  # one view of a crystal, the one that knows more
        sections = [s | {"view": None} if s and s["name"] == "isosurface" else s for s in sections]
    kind, symbol, words = VERDICTS[solution.verdict.trusted]
    text = page(
        "report.html",
        scripts=("zoom.js", *(("view.js",) if any(s and s["view"] for s in sections) else ())),
        name=Path(solution.pattern.source.path or "pattern").name,
        verdict={"kind": kind, "symbol": symbol, "words": words, "text": solution.verdict.text},
        advice=advice(solution, path.parent, options, strain is not None),
        shown=shown.sentence,
        warnings=list(dict.fromkeys((*solution.pattern.warnings, *solution.warnings))),
        sections=[s for s in sections if s],
        crystal=None if strain is None else {"rows": crystal_rows(strain), "notes": strain.notes},
        preparation=solution.pattern.preparation,
        numbers=number_rows(solution),
        data=data_rows(solution),
        recipe=solution.recipe,
        parameters=parameter_rows(solution),
        starts=start_rows(solution),
    )
    atomic_write_bytes(path, text.encode("utf-8", "backslashreplace"))
    return path


def _section(name: str, drawing: Drawing, subject: Any, shown: Orientation, folder: Path, pdf: bool) -> dict[str, Any] | None:
    """Of the page; the figure as files, too. None where it does not apply."""
    orientation = {"shown": shown} if drawing.oriented else {}
    figure, remark = drawing.draw(subject, **orientation), drawing.remark(subject)
    row = {
        "name": name,
        "title": drawing.title,
        "alt": drawing.alt,
        "caption": drawing.caption,
        "remark": remark,
        "view": None,
        "source": "",
    }
    if figure is None:
        for ending in ("png", "pdf"):  # of an earlier report
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
        return row if remark else None
    png = encoded(figure, "png")
    atomic_write_bytes(folder / f"{name}.png", png)
    if pdf:
        save_figure(figure, folder / f"{name}.pdf")
    width, height = (round(v * figure.dpi) for v in figure.get_size_inches())
    view = drawing.view(subject, **orientation) if drawing.view else None
    return row | {"source": picture(png), "width": width, "height": height, "view": view}
