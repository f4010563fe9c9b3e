"""Pictures of a training and of a prediction: loss curves, what the network sees inside."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.atomic import atomic_write_bytes, atomic_write_text
from untwin.show.page import STYLE_SHEET, table
from untwin.show.style import encoded, new_figure, phase_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {
    "loss": "loss of the training samples, mean since the row before",
    "excess_magnitude": "magnitude: cross-entropy above its floor, nat per pixel",
    "excess_phase": "phase: cross-entropy above its floor, nat per pixel",
    "iou": "overlap of the outlines (intersection over union)",
    "iou_half": "overlap of the outlines at half of the largest magnitude",
    "phase_gain": "phase: rms error below that of the best constant, share",
    "error": "error modulo shift, twin and phase, median",
    "raw_error": "error as it stands, median",
    "misfit": "misfit of the amplitudes, relative, median",
}


def curves_figure(rows: list[dict[str, Any]]) -> Figure:
    """Loss and validation against the samples seen, one panel each."""
    names = [name for name in _TITLES if any(name in r for r in rows)]
    lines = -(-len(names) // 2)
    figure = new_figure(10.0, 2.4 * lines + 0.4)
    axes = figure.subplots(lines, 2, squeeze=False)
    for axis, name in zip(axes.flat, names):
        points = [r for r in rows if name in r]
        axis.plot([r["samples"] for r in points], [r[name] for r in points], color="#0072B2", marker="." if len(points) < 40 else "")
        axis.set_title(_TITLES[name], fontsize=9)
        axis.set_xlabel("samples seen", fontsize=8)
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_axis_off()
    return figure


def training_report(folder: Path, card: dict[str, Any], rows: list[dict[str, Any]]) -> Path:
    """Write curves.json, figures/curves.png and report.html, which stands alone, into the folder; returns the page."""
    atomic_write_text(folder / "curves.json", json.dumps(rows, indent=1) + "\n")
    png = encoded(curves_figure(rows), "png")
    atomic_write_bytes(folder / "figures" / "curves.png", png)
    last = {_TITLES.get(k, k.replace("_", " ")): f"{v:.4g}" for k, v in (rows[-1] if rows else {}).items()}
    settings = {k.replace("_", " "): str(v) for k, v in card.get("training", {}).items()}
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Training (untwin)</title><style>{STYLE_SHEET}</style></head><body>
<header><h1>Training</h1><div class="sub">{escape(str(card.get("architecture", settings.get("architecture", ""))))}</div></header>
<main><section><h2>Curves</h2><figure><img alt="Loss and validation against samples seen"
src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}"><figcaption>Validation samples are never trained on; each object
is moved onto the prediction by shift and twin before errors are taken. A small misfit with a large error is a
wrong object that explains its pattern.</figcaption></figure></section>
<section><h2>At the end</h2>{table(last)}</section><section><h2>Settings</h2>{table(settings)}</section></main></body></html>
"""
    atomic_write_text(folder / "report.html", page)
    return folder / "report.html"


def samples_seen(card: dict[str, Any]) -> int:
    """Samples that a model has seen, those of the weights it began with included."""
    return int(card.get("samples", 0)) + (samples_seen(card["origin"]) if card.get("origin") else 0)


def card_text(name: str, card: dict[str, Any]) -> str:
    """The model card as Markdown."""
    run, metrics = card.get("training", {}), card.get("metrics", {})
    lines = [
        f"# {name}",
        "",
        f"Architecture `{card.get('architecture')}`, licence {card.get('licence')}, made with untwin {card.get('untwin')}.",
        "",
        f"Trained on {card.get('samples', 0):,} samples of `{run.get('data')}` (seed {run.get('seed')}), "
        f"objective `{run.get('objective')}`, {run.get('steps'):,} steps of {run.get('batch')}, Adam {run.get('rate')}."
        + (f" Begun with `{run['start']}`, which had seen {samples_seen(card['origin']):,} samples." if card.get("origin") else ""),
        "",
        f"On {card.get('validation_samples'):,} samples of the same recipe that it has not seen, "
        "each moved onto the prediction by shift and twin:",
        "",
        "| what | value |",
        "|---|---|",
        *(f"| {_TITLES.get(k, k.replace('_', ' '))} | {v:.4g} |" for k, v in metrics.items()),
    ]
    return "\n".join(lines) + "\n"


def activations_figure(maps: list[tuple[str, np.ndarray]], pattern: np.ndarray, image: np.ndarray, most: int = 8) -> Figure:
    """What each convolution of a network makes of a 2D pattern. maps: (name, (channels, n, n)), of which the `most` strongest channels are
    shown, strongest first, each on its own scale. pattern: centred intensity. image: the prediction, centred, complex."""
    half = len(maps) // 2
    columns = [maps[:half], maps[half:]] if len(maps) > 14 else [maps]  # one net beside the other
    lines = max(map(len, columns))
    figure = new_figure(6.0 * len(columns), 1.5 + 0.75 * lines)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.5, 0.75 * lines])
    upper, lower = parts
    axes = upper.subplots(1, 3)
    first = [
        ("pattern, log", np.log10(1 + pattern), "inferno"),
        ("magnitude", np.abs(image), "gray"),
        ("phase", np.angle(image), phase_colours()),
    ]
    for axis, (title, values, colours) in zip(axes, first):
        axis.imshow(values, cmap=colours, interpolation="nearest")
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
    table = lower.subplots(lines, len(columns), squeeze=False)
    for axis in table.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_frame_on(False)
    for column, part in enumerate(columns):
        for axis, (name, channels) in zip(table[:, column], part):
            axis.imshow(_strip(channels, most), cmap="viridis", interpolation="nearest")
            axis.set_ylabel(f"{name}\n{channels.shape[1]} x {channels.shape[2]}", fontsize=5, rotation=0, ha="right", va="center")
    return figure


def _strip(channels: np.ndarray, most: int) -> np.ndarray:
    """The strongest channels in a row, each from 0 to 1, gaps between them."""
    strongest = np.argsort(-channels.reshape(len(channels), -1).std(1))[:most]
    gap = np.full((channels.shape[1], max(1, channels.shape[2] // 16)), np.nan)
    parts = [part for k in strongest for part in (channels[k] / max(float(channels[k].max()), 1e-12), gap)]
    return np.concatenate(parts[:-1], axis=1)
