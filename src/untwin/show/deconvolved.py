"""Motifs and maps of a sparse blind deconvolution, drawn, and their page."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.atomic import atomic_write_bytes
from untwin.show.page import STYLE_SHEET, VERDICTS, digits
from untwin.show.style import colour_map, encoded, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from untwin.runs.deconvolve import Deconvolved

MOST = 8  # channels of a figure: more are taken at even distances

_MEANINGS = {
    "starts": "random windows of the data from which a fit began",
    "starts_agreeing": "of these, how many came to the motifs that are shown (correlation above 0.9)",
    "agreement": "correlation of the motifs of the two best starts, any shift and sign",
    "defects": "places where a motif stands",
    "defects_per_pixel": "the same, divided by the pixels",
    "overlap": "motifs that lie on a pixel, in the mean",
    "active_fraction": "share of the maps' pixels that is occupied",
    "size_rows": "of the motif, pixels",
    "size_columns": "likewise",
    "explained": "share of the variance that the model explains, mean of the channels",
    "gain_over_chance": "what the model explains, in units of what as many motifs and places would fit to noise alone",
    "penalty": "lambda of the search, in standard deviations of the residual",
    "residual_over_noise": "residual, in standard deviations of what scatters from pixel to pixel",
    "demixing": "1 minus the largest correlation between the maps of two motifs",
    "lattice_fraction": "share of the variance in plane waves that stand sharply in the spectrum and were not taken out",
    "surface_fraction": "share of the variance in a surface of second order, which no motif is",
    "seconds": "on the clock",
    "cpu_seconds": "all cores together",
}


def figure(result: Deconvolved, names: Sequence[str] = ()) -> Figure:
    """A row for each channel: data, model, residual, and the motifs; below them the maps. names: of the channels."""
    shown = _channels(len(result.data))
    kinds = len(result.motifs)
    f = new_figure(3.0 * (3 + kinds), 2.7 * len(shown))
    axes = f.subplots(len(shown), 3 + kinds, squeeze=False)
    for row, channel in zip(axes, shown):
        data = np.where(result.measured, result.data[channel], np.nan)
        limits = _limits(data)
        texts = ("data", "model", "residual") if channel == shown[0] else ("", "", "")
        residual = np.where(result.measured, result.residual[channel], np.nan)
        half = (limits[1] - limits[0]) / 2
        for axis, picture, text in zip(row, (data, result.model[channel]), texts):
            axis.imshow(picture, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
            axis.set_title(text)
        row[2].imshow(residual, cmap=colour_map("CET_D1A"), vmin=-half, vmax=half, interpolation="nearest")
        row[2].set_title(texts[2])
        row[0].set_ylabel(names[channel] if channel < len(names) else f"channel {channel}")
        for k, axis in enumerate(row[3:]):
            _motif(axis, result.motifs[k, channel])
            axis.set_title((f"motif {k + 1}" if kinds > 1 else "motif") if channel == shown[0] else "")
        for axis in row:
            axis.set(xticks=[], yticks=[])
    return f


def map_figure(result: Deconvolved) -> Figure:
    """The maps, and where their defects stand on the channel of largest contrast."""
    kinds = len(result.maps)
    f = new_figure(5.0 * (kinds + 1), 5.0)
    axes = f.subplots(1, kinds + 1, squeeze=False)[0]
    channel = int(np.argmax([np.square(result.motifs[:, c]).sum() / float(n) ** 2 if n > 0 else 0 for c, n in enumerate(result.noise)]))
    data = np.where(result.measured, result.data[channel], np.nan)
    low, high = _limits(data)
    axes[0].imshow(data, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes[0].set_title(f"channel {channel} and the defects")
    for k, (axis, strength) in enumerate(zip(axes[1:], result.maps)):
        rows, columns = np.nonzero(np.abs(strength) > 0.25)
        colour = f"C{k}"
        axes[0].scatter(columns, rows, s=30, facecolors="none", edgecolors=colour, linewidths=1)
        size = 60 * np.clip(np.abs(strength[rows, columns]), 0.1, 3)
        axis.scatter(columns, rows, s=size, color=colour, edgecolors="none")
        axis.set(xlim=(-0.5, strength.shape[1] - 0.5), ylim=(strength.shape[0] - 0.5, -0.5), aspect="equal")
        axis.set_title(f"map {k + 1}: strength by area" if kinds > 1 else "map: strength by area")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return f


def motif_figure(result: Deconvolved, names: Sequence[str] = ()) -> Figure:
    """The motifs, all that fit: a row for each motif, a column for each channel."""
    shown = _channels(len(result.data))
    f = new_figure(2.4 * len(shown) + 0.6, 2.6 * len(result.motifs))
    for k, row in enumerate(f.subplots(len(result.motifs), len(shown), squeeze=False)):
        for axis, channel in zip(row, shown):
            _motif(axis, result.motifs[k, channel])
            axis.set(xticks=[], yticks=[])
            if k == 0:
                axis.set_title(names[channel] if channel < len(names) else f"channel {channel}", fontsize=10)
        row[0].set_ylabel(f"motif {k + 1}")
    return f


def deconvolved_page(result: Deconvolved, path: Path, name: str, names: Sequence[str] = ()) -> Path:
    """Write the page and, beside it, figures/channels.png, motifs.png and maps.png. name: of the data. names: of the channels."""
    drawings = {
        "channels": (figure(result, names), "Channels", "Data, model and residual of each channel, and the motif that repeats in it. "
                     "A good fit leaves a residual without structure."),
        "motifs": (motif_figure(result, names), "Motifs", "What surrounds a defect, in the unit of the data, channel by channel; red is "
                   "above the mean of the data, blue below."),
        "maps": (map_figure(result), "Maps", "Where the motifs stand: the middle of each, and how strong it is; 1 is typical."),
    }  # fmt: skip
    sections = []
    for key, (drawing, title, caption) in drawings.items():
        png = encoded(drawing, "png")
        atomic_write_bytes(path.parent / "figures" / f"{key}.png", png)
        picture = base64.b64encode(png).decode("ascii")
        sections.append(
            f'<section id="{key}"><h2>{title}</h2><figure><img alt="{escape(caption)}" src="data:image/png;base64,{picture}">'
            f"<figcaption>{escape(caption)}</figcaption></figure></section>"
        )
    atomic_write_bytes(path, _page(result, name, sections).encode("utf-8", "backslashreplace"))
    return path


def _page(result: Deconvolved, name: str, sections: list[str]) -> str:
    kind, symbol, words = VERDICTS[result.verdict.trusted]
    rows = "".join(
        f'<tr><th>{escape(n.replace("_", " "))}</th><td class="n">{digits(v) if math.isfinite(v) else "not known"}</td>'
        f'<td class="note">{_MEANINGS.get(n, "")}</td></tr>'
        for n, v in result.numbers.items()
    )
    starts = "".join(
        f'<tr><td class="n">{number}</td><td class="n">{digits(cost)}</td><td class="n">{likeness:.3f}</td></tr>'
        for cost, number, likeness in result.starts
    )
    items = "".join(f"<li>{escape(w)}</li>" for w in result.warnings)
    doubts = f'<section class="warnings"><h2>⚠ Guesses and doubts</h2><ul>{items}</ul></section>' if items else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(words)}: {escape(name)} (untwin deconvolve)</title><style>{STYLE_SHEET}</style></head><body>
<header><h1>{escape(name)}</h1><div class="sub">Sparse blind deconvolution by untwin</div></header>
<main><div class="verdict {kind}" role="status"><strong><span aria-hidden="true">{symbol}</span> {words}</strong>
<p>{escape(result.verdict.text)}</p></div>{doubts}
{"".join(sections)}
<section><h2>Numbers</h2><div class="scroll"><table>{rows}</table></div></section>
<section><h2>Starts, best first</h2><div class="scroll"><table><thead><tr><th class="n">start</th><th class="n">objective</th>
<th class="n">correlation with the motifs above</th></tr></thead><tbody>{starts}</tbody></table></div></section>
<section><h2>How it was made</h2><pre>{escape(", ".join(f"{k}={v}" for k, v in result.settings.items()))}</pre></section>
</main></body></html>
"""


def _channels(count: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, MOST))})


def _limits(a: np.ndarray) -> tuple[float, float]:
    """All but a hundredth at each end."""
    low, high = np.nanpercentile(a, (1, 99))
    return (float(low), float(high)) if high > low else (float(low) - 1, float(low) + 1)


def _motif(axis: Any, motif: np.ndarray) -> None:
    top = float(np.abs(motif).max()) or 1.0
    axis.imshow(motif, cmap=colour_map("CET_D1A"), vmin=-top, vmax=top, interpolation="nearest")
