"""What a notebook shows of an object: a card with verdict, a small picture and numbers. Its figure is what plot() gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from untwin.bragg.maps import StrainMap
from untwin.data.measurement import Pattern
from untwin.judge.compare import Comparison
from untwin.judge.trust import Verdict
from untwin.model.picture import Picture
from untwin.runs.archive import plane
from untwin.runs.deconvolve import Deconvolved
from untwin.runs.solution import Reconstruction, Restored
from untwin.show.exposures import frames
from untwin.show.numbers import crystal_rows, number_rows
from untwin.show.page import VERDICTS, digits, fragment, picture
from untwin.show.pattern import intensity_style
from untwin.show.strain import slices
from untwin.show.style import colour_map, planes_through
from untwin.show.thumbnail import coloured, grey, object_panels, strip

HEIGHT = 180  # pixels of a picture
BACKGROUNDS = {"trusted": "#0b6b4f", "doubted": "#a83c00", "unknown": "#7a5600"}  # white is read on them, whatever the page behind is
NUMBERS = (
    *("r_factor", "chi_square_amplitude", "agreement", "families_agreeing", "resolution_metres", "resolution_pixels", "support_pixels"),
    *("photons", "measured_fraction", "seconds"),
)  # of a Reconstruction

Panels = Sequence[np.ndarray]


@dataclass(frozen=True)
class Card:
    """title: what it is. rows: numbers by name. panels: the picture; it is drawn last, and left out where it cannot be. alt: what is in it.
    remarks: guesses and doubts, as sentences."""

    title: str
    verdict: Verdict | None = None
    rows: dict[str, str] = field(default_factory=dict)
    panels: Callable[[], Panels] | None = None
    alt: str = ""
    remarks: tuple[str, ...] = ()


def html(value: Any) -> str | None:
    """The card of a value; None where it has none or that cannot be written: a cell that shows a value does not fail."""
    with suppress(Exception):
        return written(card(value))
    return None


def written(c: Card) -> str:
    """As HTML that stands in somebody else's page, light or dark. What came from files is escaped."""
    source = None
    if c.panels is not None:
        with suppress(Exception):  # the numbers stand without it
            panels = c.panels()
            source = picture(strip(panels, HEIGHT)) if panels else None
    verdict = None
    if c.verdict is not None:
        kind, symbol, words = VERDICTS[c.verdict.trusted]
        verdict = {
            "colour": BACKGROUNDS[kind],
            "symbol": symbol,
            "words": words,
            "texts": [c.verdict.decision or c.verdict.text, c.verdict.reasons],
        }
    return fragment("card.html", title=c.title, verdict=verdict, source=source, alt=c.alt, rows=c.rows, remarks=c.remarks)


@singledispatch
def card(value: Any) -> Card:
    """Raises TypeError for what has none."""
    raise TypeError(f"no card of a {type(value).__name__}")


@card.register
def _(value: Verdict) -> Card:
    return Card("Verdict", value)


@card.register
def _(pattern: Pattern) -> Card:
    g, source = pattern.geometry, pattern.source
    rows = {
        "photons" if pattern.counted else "intensity": digits(pattern.photons) + ("" if pattern.counted else ", no counts of photons"),
        "brightest pixel": digits(float(pattern.intensity.max(initial=0.0, where=pattern.measured))),
        "measured": share(float(pattern.measured.mean())),
        "unlike its mirror image by": "" if math.isnan(pattern.asymmetry) else f"{pattern.asymmetry:.2g} (0: a real object)",
        "wavelength": f"{1e10 * g.wavelength:.5g} Å" if g.wavelength else "",
        "distance": f"{g.distance:.5g} m" if g.distance else "",
        "object pixel": " × ".join(f"{1e9 * v:.3g}" for v in pattern.voxel_size) + " nm" if pattern.voxel_size else "",
        "file": (source.path or "") + (f" :: {source.dataset}" if source.path and source.dataset else ""),
    }
    what = "Pattern" if pattern.optics is None else "Exposures"
    alt = "intensity, log scale" + (", in the planes through zero" if pattern.optics is None and pattern.ndim == 3 else "")
    return Card(
        f"{what}, {by(pattern.shape)}",
        rows={name: text for name, text in rows.items() if text},
        panels=lambda: pattern_panels(pattern),
        alt=alt if pattern.optics is None else "intensity of the first exposures",
        remarks=(*pattern.warnings, *pattern.doubts),
    )


def pattern_panels(pattern: Pattern) -> Panels:
    """As plot_pattern and plot_exposures colour them, of which only what is shown is touched."""
    if pattern.optics is not None:
        values, measured = frames(pattern, pattern.intensity), frames(pattern, pattern.measured)
        if values.ndim == 1:
            return []
        style = intensity_style(values, measured)
        return [coloured(np.ma.masked_array(v, ~m), style) for v, m in zip(values, measured)]
    planes = [p.index for p in planes_through(pattern.shape, (0,) * pattern.ndim)]  # zero frequency first
    pairs = [tuple(np.fft.fftshift(a[index]) for a in (pattern.intensity, pattern.measured)) for index in planes]
    style = intensity_style(*(np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1)))
    return [coloured(np.ma.masked_array(v, ~m), style) for v, m in pairs]


@card.register
def _(solution: Reconstruction) -> Card:
    by_name = {row["name"]: row for row in number_rows(solution)}
    rows = {by_name[n]["title"]: f"{by_name[n]['value']} {by_name[n]['unit']}".strip() for n in NUMBERS if n in by_name}
    n = solution.numbers
    if "families" in n and "families_agreeing" in n:
        rows["families that agree"] = f"{n['families_agreeing']:.0f} of {n['families']:.0f}"
    if "measured_fraction" in n:
        rows["measured share"] = share(n["measured_fraction"])
    name = Path(solution.pattern.source.path).name if solution.pattern.source.path else ""
    return Card(
        f"Reconstruction, {by(tuple(solution.image.shape))}" + (f", of {name}" if name else ""),
        solution.verdict,
        rows,
        lambda: object_panels(solution.image.numpy(), solution.support.numpy()),
        "magnitude; phase in cyclic colours" + (", in the middle plane of axis 0" if solution.image.ndim == 3 else ""),
        tuple(dict.fromkeys((*solution.pattern.warnings, *solution.warnings, *([solution.reason] if solution.reason else [])))),
    )


@card.register
def _(restored: Restored) -> Card:
    titles = {"steps": "steps", "best_at": "image of step", "sigma": "noise, deviation", "misfit": "misfit for each number",
              "misfit_over_noise": "misfit over noise", "kernel_agreement": "kernel, agreement", "seconds": "time, s"}  # fmt: skip
    rows = {"prior": restored.choice} if restored.choice else {}
    rows |= {title: digits(restored.numbers[name]) for name, title in titles.items() if math.isfinite(restored.numbers.get(name, math.nan))}
    if restored.kernel is not None:
        rows["kernel"] = f"{by(tuple(restored.kernel.shape))} pixels"

    def panels() -> Panels:
        data, kernel = restored.data.numpy(), restored.kernel
        first = [] if np.iscomplexobj(data) or data.ndim != 3 else [picture_panel(data)]
        last = [] if kernel is None or kernel.ndim != 2 else [grey(kernel.numpy(), 0, float(kernel.max()))]
        return [*first, picture_panel(restored.image.numpy()), *last]

    alt = "restored" if restored.data.is_complex() else "given; restored"
    return Card(
        f"Restored picture, {by(tuple(restored.image.shape))}",
        restored.verdict,
        rows,
        panels,
        alt + ("; kernel" if restored.kernel is not None else ""),
        restored.warnings,
    )


def picture_panel(image: np.ndarray) -> np.ndarray:
    """image: (channels, *grid), drawn from 0 to 1, or to its largest value where that is above; of a complex one the magnitude."""
    visible = plane(np.abs(image) if np.iscomplexobj(image) else image)
    if visible.shape[0] == 3:
        return np.moveaxis(visible, 0, -1)
    return grey(visible[0], 0, max(1.0, float(visible[0].max())))


@card.register
def _(result: Deconvolved) -> Card:
    titles = {"defects": "defects", "overlap": "motifs on a pixel", "agreement": "agreement of two starts",
              "starts_agreeing": "starts that agree", "explained": "variance explained", "gain_over_chance": "gain over chance",
              "residual_over_noise": "residual over noise", "seconds": "time, s"}  # fmt: skip
    channel = int(np.argmax(np.square(result.motifs).sum((0, 2, 3)) / np.maximum(np.square(result.noise), 1e-30)))

    def panels() -> Panels:
        data = np.where(result.measured, result.data[channel], np.nan)
        low, high = (float(v) for v in np.nanpercentile(data, (1, 99)))
        model = np.where(result.measured, result.model[channel], low)
        return [grey(np.nan_to_num(data, nan=low), low, high), grey(model, low, high), *map(signed_panel, result.motifs[:3, channel])]

    motifs = "motif" if len(result.motifs) == 1 else "motifs"
    return Card(
        f"Deconvolved, {len(result.motifs)} {motifs} in {by(result.data.shape)}",
        result.verdict,
        {title: digits(result.numbers[n]) for n, title in titles.items() if math.isfinite(result.numbers.get(n, math.nan))},
        panels,
        f"data and model of channel {channel}; {motifs}",
        result.warnings,
    )


def signed_panel(values: np.ndarray) -> np.ndarray:
    top = float(np.abs(values).max()) or 1.0
    return coloured(np.ma.masked_array(values), {"cmap": colour_map("CET_D1A"), "vmin": -top, "vmax": top})


@card.register
def _(strain: StrainMap) -> Card:
    rows = dict(list(crystal_rows(strain).items())[:8])
    style, planes = slices(strain)
    return Card(
        f"Strain map, {by(strain.support.shape)}, frame: {strain.frame}",
        rows=rows,
        panels=lambda: [np.flipud(coloured(p, style)) for p in planes],
        alt=f"strain in three planes, red is tension, ±{style['vmax']:.2g} at most; grey is not known",
        remarks=strain.notes,
    )


@card.register
def _(comparison: Comparison) -> Card:
    rows = {
        "error E": f"{comparison.error:.3g} (0: the same, 1: unrelated)",
        "correlation": f"{comparison.correlation:.4g}",
        "difference of phase": f"{comparison.phase_rms:.3g} rad rms",
        "nearer as": "the twin" if comparison.twin else "it is",
    }
    if any(comparison.ramp):
        rows["phase ramp taken out"] = f"{by([f'{r:.2g}' for r in comparison.ramp])} pixels; with it E = {comparison.error_with_ramp:.3g}"
    magnitude = np.abs(comparison.aligned)
    return Card(
        f"Comparison, {by(comparison.aligned.shape)}",
        rows=rows,
        panels=lambda: object_panels(comparison.aligned, magnitude > 0.1 * magnitude.max()),
        alt="the first object on the second: magnitude; phase in cyclic colours",
    )


@card.register
def _(problem: Picture) -> Card:
    rows = {"physics": repr(problem.physics), "loss": repr(problem.loss), "measured": share(float(problem.measured.double().mean()))}
    return Card(
        f"Picture to be restored, {by(problem.shape)} from {by(tuple(problem.y.shape))}",
        rows={name: short(text) for name, text in rows.items()},
        panels=lambda: [picture_panel(problem.y.detach().cpu().numpy())] if problem.y.ndim == 3 else [],
        alt="what was measured",
    )


def batch_html(name: str, solution: Reconstruction | None, error: str) -> str | None:
    """The card of a pattern of a batch, with its name; of one that failed, why."""
    if solution is None:
        return written(Card(f"{name}: failed", remarks=(error,) if error else ()))
    return html(solution)


def by(shape: Sequence[Any]) -> str:
    return " × ".join(map(str, shape))


def share(fraction: float) -> str:
    return f"{100 * fraction:.4g} %"


def short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:115]} ..."
