"""A restored picture, drawn, and its page."""

from __future__ import annotations

import base64
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.atomic import atomic_write_bytes
from untwin.data.image import write_image
from untwin.runs.archive import plane
from untwin.show.page import STYLE_SHEET, digits
from untwin.show.style import encoded, new_figure, phase_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from untwin.runs.solution import Restored

_MEANINGS = {
    "steps": "iterations until it stopped, patience included",
    "best_at": "the iteration whose image is shown",
    "stopped_itself": "1: the rule stopped the fit; 0: the steps ran out",
    "sigma": "deviation of the noise",
    "sigma_estimated": "1: estimated from the picture; 0: given",
    "misfit": "loss of the image for each measured number",
    "measured_fraction": "share of the numbers that were measured",
    "noise": "deviation of the noise, as given or estimated",
    "fits": "of picture and kernel together, each with other random numbers",
    "fit_agreement": "similarity of their kernels, the one in their midst to the nearest three, 0 to 1",
    "kernel_agreement": "similarity of two kernels, each improved from half of the fits, 0 to 1",
    "kernel_change": "similarity of the improved kernel to the first, the mean of the fits, 0 to 1",
    "first_peak": "largest value of the first kernel, whose sum is 1",
    "gradient_ratio": "of the picture without its noise: small for few strong edges, 0.71 for texture",
    "kernel_height": "pixels",
    "kernel_width": "pixels",
    "misfit_over_noise": "root mean square of what is left of the picture, over the noise",
    "saturated_fraction": "share of the pixels that were left out while the kernel was sought",
    "seconds": "on the clock",
    "cpu_seconds": "all cores together",
}


def figure(restored: Restored) -> Figure:
    """What was given (of k-space the magnitude), the image, and where the rule stopped, if there was one."""
    stopped, third = bool(restored.statistic), bool(restored.statistic) or restored.kernel is not None
    f = new_figure(12.0 if third else 8.0, 4.0)
    axes = f.subplots(1, 3 if third else 2)
    _draw_image(axes[0], _displayable(restored.data.numpy()), "given")
    _draw_image(axes[1], restored.image.numpy(), "restored")
    if not stopped:
        if restored.kernel is not None:
            _draw_kernel(axes[2], restored.kernel.numpy())
        return f
    steps = np.arange(1, len(restored.statistic) + 1)
    statistic, variance = (np.array(v, dtype=float) for v in (restored.statistic, restored.variance))
    axes[2].plot(steps, statistic, color="#0072B2", label="statistic of the rule")
    right = axes[2].twinx()
    right.plot(steps, variance, color="#D55E00", linestyle="--", label="moving variance (right)")
    for axis, values in ((axes[2], statistic), (right, variance)):
        if np.nanmax(values, initial=0) > 0:
            axis.set_yscale("log")
    axes[2].axvline(restored.numbers["best_at"], color="black", linewidth=1, linestyle=":", label="image kept")
    lines = [*axes[2].get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    axes[2].legend(handles=lines, fontsize=8, loc="upper right")
    axes[2].set_xlabel("iteration")
    axes[2].set_title("when to stop")
    return f


def _displayable(y: np.ndarray) -> np.ndarray:
    if not np.iscomplexobj(y):
        return y
    magnitude = np.log10(np.abs(y).sum(0, keepdims=True) + 1e-6)
    return (magnitude - magnitude.min()) / max(float(np.ptp(magnitude)), 1e-30)


def _draw_image(axis: Any, image: np.ndarray, title: str) -> None:
    visible = plane(np.abs(image) if np.iscomplexobj(image) else image)
    if visible.shape[0] == 3:
        axis.imshow(np.clip(np.moveaxis(visible, 0, -1), 0, 1), interpolation="nearest")
    else:
        axis.imshow(np.abs(visible[0]), cmap="gray", vmin=0, vmax=max(1.0, float(np.abs(visible[0]).max())), interpolation="nearest")
    axis.set_title(f"{title}, {' x '.join(map(str, image.shape[1:]))}")
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_kernel(axis: Any, kernel: np.ndarray) -> None:
    axis.imshow(kernel, cmap="gray", vmin=0, interpolation="nearest")
    axis.set_title(f"kernel, {' x '.join(map(str, kernel.shape))}")
    axis.set_xticks([])
    axis.set_yticks([])


def save_phase(restored: Restored, path: Path) -> None:
    """The phase of a complex image as a PNG, −π to π once around the colours; of several channels the first."""
    phase = np.angle(plane(restored.image.numpy())[0])
    write_image(path, np.moveaxis(phase_colours()((phase + np.pi) / (2 * np.pi))[..., :3], -1, 0))


def restored_page(restored: Restored, path: Path, name: str) -> Path:
    """Write the page and, beside it, figures/restored.png."""
    png = encoded(figure(restored), "png")
    atomic_write_bytes(path.parent / "figures" / "restored.png", png)
    rows = "".join(
        f'<tr><th>{escape(n.replace("_", " "))}</th><td class="n">{digits(v) if math.isfinite(v) else "not known"}</td>'
        f'<td class="note">{_MEANINGS.get(n, "")}</td></tr>'
        for n, v in restored.numbers.items()
    )
    items = "".join(f"<li>{escape(w)}</li>" for w in restored.warnings)
    doubts = f'<section class="warnings"><h2>⚠ Guesses and doubts</h2><ul>{items}</ul></section>' if items else ""
    picture = base64.b64encode(png).decode("ascii")
    what, caption = "The picture as given and as restored", "Taken by a denoiser that was trained on other pictures."
    if restored.statistic:
        what += ", and the statistic of the stopping rule against the iteration"
        caption = "The image belongs to the least of the rule's statistic (dotted). Before it the image still moves towards the picture, "
        caption += "afterwards towards the noise."
    verdict = ""
    if restored.kernel is not None:
        what += ", and the kernel of the blur"
    if restored.verdict is not None:
        verdict = f"<section><h2>Verdict</h2><p>{escape(restored.verdict.text)}</p></section>"
        caption = "The kernel was found in the picture alone, the picture by a denoiser that was trained on other pictures."
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)} (untwin restore)</title><style>{STYLE_SHEET}</style></head><body>
<header><h1>{escape(name)}</h1><div class="sub">Restored by untwin</div></header><main>{verdict}{doubts}
<section><figure><img alt="{what}" src="data:image/png;base64,{picture}"><figcaption>{caption}</figcaption></figure></section>
<section><h2>Numbers</h2><div class="scroll"><table>{rows}</table></div></section>
<section><h2>How it was made</h2><p>Prior: {escape(restored.choice)}</p>
<pre>{escape(restored.recipe)}</pre><p class="note">seed {restored.seed}</p></section>
</main></body></html>
"""
    atomic_write_bytes(path, page.encode("utf-8", "backslashreplace"))
    return path
